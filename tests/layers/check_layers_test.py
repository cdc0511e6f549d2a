#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The layer check on small trees: it finds each kind of mistake and nothing else."""

import os
import tempfile
import unittest

from check_layers import Checker


class CheckLayersTest(unittest.TestCase):
    def errors_of(self, files):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "src"))
            for name, text in files.items():
                path = os.path.join(root, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            return Checker(root).check()

    def test_accepts_downward_includes_that_uses_name(self):
        self.assertEqual([], self.errors_of({
            "src/base/CMakeLists.txt": "df_module(base SOURCES a.cc)",
            "src/base/a.cc": '#include "base/a.h"\n#include "absl/status/status.h"\n#include <nlohmann/json.hpp>\n',
            "src/storage/CMakeLists.txt": "# USES daemon\ndf_module(storage\n  SOURCES b.cc\n  USES base\n  LIBS x)\n",
            "src/storage/b.h": '#include "base/a.h"\n#include "storage/c.h"\n',
            "src/cli/CMakeLists.txt": "df_module(cli SOURCES c.cc USES base rpc_unix)",
            "src/cli/c.cc": '#include "rpc/unix_client.h"\n#include "scheduler/v2/scheduler.pb.h"\n',
            "apps/dfget/CMakeLists.txt": "df_command_line_program(dfget SOURCES main.cc)",
            "apps/dfget/main.cc": '#include "cli/dfget.h"\n',
        }))

    def assert_one_error(self, files, text):
        errors = self.errors_of(files)
        self.assertEqual(1, len(errors), errors)
        self.assertIn(text, errors[0])

    def test_refuses_an_upward_include(self):
        self.assert_one_error({
            "src/base/CMakeLists.txt": "df_module(base SOURCES a.cc)",
            "src/base/a.cc": '\n#include "runtime/clock.h"\n',
        }, "src/base/a.cc:2: base must not include runtime/clock.h")

    def test_refuses_a_sideways_include(self):
        for user, used in (("daemon", "scheduler"), ("storage", "vortex"), ("http", "rpc"), ("runtime", "config")):
            self.assert_one_error({f"src/{user}/a.h": f'#include "{used}/b.h"\n'}, f"{used} stands above or beside")

    def test_refuses_an_include_that_uses_does_not_name(self):
        self.assert_one_error({
            "src/storage/CMakeLists.txt": "df_module(storage SOURCES a.cc USES base)",
            "src/storage/a.cc": '#include "runtime/clock.h"\n',
        }, "the USES of storage do not name runtime")
        self.assert_one_error({
            "apps/x/CMakeLists.txt": "df_program(x SOURCES main.cc USES base)",
            "apps/x/main.cc": '#include "daemon/daemon.h"\n',
        }, "the USES of apps/x do not name daemon")

    def test_refuses_uses_of_what_stands_above_or_is_no_module(self):
        self.assert_one_error({"src/base/CMakeLists.txt": "df_module(base USES rpc)"}, "base must not use rpc")
        self.assert_one_error({"src/base/CMakeLists.txt": "df_module(base USES nothing)"}, "is no module")

    def test_refuses_generated_headers_in_the_lower_layers(self):
        self.assert_one_error({"src/runtime/a.cc": '#include "common/v2/common.pb.h"\n'}, "must not know the wire")
        self.assert_one_error({"src/telemetry/a.cc": '#include "common/v2/common.pb.h"\n'}, "must not know the wire")
        self.assertEqual([], self.errors_of({"src/telemetry/a.cc": '#include "perftools/profile.pb.h"\n'}))

    def test_refuses_heavy_libraries_in_headers(self):
        self.assert_one_error({"src/daemon/a.h": "#include <grpcpp/grpcpp.h>\n"}, "include it in the .cc file")
        self.assertEqual([], self.errors_of({"src/rpc/a.h": "#include <grpcpp/grpcpp.h>\n"}))

    def test_refuses_a_module_without_a_layer(self):
        self.assert_one_error({"src/utils/a.h": ""}, "has no layer")


if __name__ == "__main__":
    unittest.main()
