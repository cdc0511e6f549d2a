#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_tables.py must find each kind of contradiction."""

import os
import stat
import subprocess
import sys
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_tables.py")

# A dfdaemon with one flag, one subcommand and two keys.
PROGRAM = """#!/bin/sh
case "$*" in
  "config keys") printf 'a.b\\tsize\\t5\\ta.old\\nc\\ttext\\t""\\t\\n' ;;
  "config --help") printf 'Usage: dfdaemon config\\n\\nOptions:\\n  -h,--help  Print\\n' ;;
  *) printf 'Usage: dfdaemon\\n\\nOptions:\\n  -f,--flag TEXT  What it does\\n\\nSubcommands:\\n  config    Check\\n' ;;
esac
"""


class CheckTables(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.files = {
            "tests/unit/a_test.cc": "TEST(Suite, Works) {}\nTEST_F(Fixture, Works) {}\n",
            "docs/compatibility/configuration.tsv": "# comment\na.b\tSuite.Works\na.old\tSuite.Works\nc\topen\n",
            "docs/compatibility/flags.tsv":
                "dfdaemon\t--flag\t-\tFixture.Works\ndfdaemon config\t--help\t-\tSuite.Works Fixture.Works\n",
            "docs/compatibility/calls.tsv": "S\tCall\tdifference: there is none like it\n",
            "docs/compatibility/metrics.tsv": "one_total\tSuite.Works\ntwo\tSuite.Works\n",
            "docs/compatibility/spans.tsv": "task\tSuite.Works\ncall\tSuite.Works\nother\topen\n",
            "docs/compatibility/scheduler-configuration.tsv": "d\topen\n",
            "docs/compatibility/manager-configuration.tsv": "e\topen\n",
            "docs/compatibility/manager-calls.tsv": "M\tTell\topen\n",
            "docs/compatibility/manager-routes.tsv": "GET\t/path\topen\n",
            "docs/compatibility/manager-metrics.tsv": "four_total\t-\topen\n",
            "api/manager/v2/m.proto": "service M {\n  rpc Tell(A) returns (B);\n}\n",
            "docs/compatibility/scheduler-calls.tsv": "T\tAsk\topen\n",
            "docs/compatibility/scheduler-metrics.tsv": "three_total\t-\tSuite.Works\n",
            "docs/compatibility/scheduler-spans.tsv": "ask\topen\n",
            "docs/compatibility/scheduler-states.tsv": "peer\tstate\tPending\tSuite.Works\n",
            "docs/compatibility/scheduler-errors.tsv": "NOT_FOUND\tpeer <id> not found\tSuite.Works\n",
            "api/scheduler/v2/t.proto": "service T {\n  rpc Ask(A) returns (B);\n}\n",
            "src/scheduler/state.cc": 'kPeerStates = {\n "Pending"};',
            "src/scheduler/shard.cc": 'absl::NotFoundError(StrCat("peer ", id, " not found"));',
            "docs/configuration.md": "## Keys\n\n| `a.b`, formerly `a.old` | size | `5` | x |\n| `c` | text | – | x |\n\n## Command line\n",
            "api/dfdaemon/v2/s.proto": "service S {\n  rpc Call(A) returns (B);\n}\n",
            "src/daemon/p.cc": '#include <prometheus/counter.h>\nCount(metrics, "one_total", "x"); AddGauge(metrics, "dragonfly_client_two");\n'
                               'auto span = parent.Start("task", kServer);\n',
        }
        self.program = os.path.join(self.folder.name, "dfdaemon")

    def check(self):
        for name, text in {**self.files, "dfdaemon": PROGRAM}.items():
            path = os.path.join(self.folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        os.chmod(self.program, stat.S_IRWXU)
        return subprocess.run([sys.executable, CHECK, self.folder.name, self.program], capture_output=True, text=True)

    def change(self, name, before, after):
        self.assertIn(before, self.files[name])
        self.files[name] = self.files[name].replace(before, after)

    def expect(self, text):
        done = self.check()
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)

    def test_takes_tables_that_agree_and_prints_what_is_open(self):
        done = self.check()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("configuration: 3 rows, 2 tested, 0 different on purpose, 1 open\n  open: c\n", done.stdout)

    def test_finds_a_test_that_does_not_exist(self):
        self.change("tests/unit/a_test.cc", "TEST(Suite, Works)", "TEST(Suite, Worked)")
        self.expect("docs/compatibility/configuration.tsv:2: a.b: there is no test Suite.Works")

    def test_finds_a_coverage_that_means_nothing(self):
        self.change("docs/compatibility/configuration.tsv", "c\topen", "c\tlater")
        self.expect("'later' is no name of a test")
        self.change("docs/compatibility/calls.tsv", "there is none like it", "no")
        self.expect("says not why it differs")

    def test_finds_what_has_no_row(self):
        for table, row, missing in [("configuration", "a.old\tSuite.Works\n", "a.old"),
                                    ("flags", "dfdaemon\t--flag\t-\tFixture.Works\n", "dfdaemon --flag"),
                                    ("flags", "dfdaemon config\t--help\t-\tSuite.Works Fixture.Works\n", "dfdaemon config --help"),
                                    ("calls", "S\tCall\tdifference: there is none like it\n", "S Call"),
                                    ("metrics", "one_total\tSuite.Works\n", "one_total"),
                                    ("metrics", "two\tSuite.Works\n", "two"),
                                    ("spans", "task\tSuite.Works\n", "task")]:
            name = f"docs/compatibility/{table}.tsv"
            before = self.files[name]
            self.change(name, row, "")
            self.expect(f"{name}: no row for {missing}, which our code has")
            self.files[name] = before

    def test_finds_states_and_errors_of_the_scheduler_that_have_no_row(self):
        self.change("src/scheduler/state.cc", '"Pending"', '"Pending", "Lost"')
        self.expect("docs/compatibility/scheduler-states.tsv: no row for peer state Lost, which our code has")
        self.change("src/scheduler/shard.cc", "NotFound", "FailedPrecondition")
        self.expect("scheduler-errors.tsv: no row for FAILED_PRECONDITION peer , which our code says")

    def test_finds_a_tested_thing_that_is_not_there(self):
        self.change("docs/compatibility/spans.tsv", "other\topen", "other\tSuite.Works")
        self.expect("other is tested, but our code does not have it")

    def test_finds_documentation_that_is_wrong(self):
        name = "docs/configuration.md"
        before = self.files[name]
        for old, new, text in [("`5`", "`6`", "`a.b`, formerly `a.old`: it says size | `6`, the program size | `5`"),
                               ("| `c` | text | – | x |\n", "", "there is no row for `c`"),
                               ("`c`", "`d`", "the program does not know `d`")]:
            self.change(name, old, new)
            self.expect(text)
            self.files[name] = before


if __name__ == "__main__":
    unittest.main()
