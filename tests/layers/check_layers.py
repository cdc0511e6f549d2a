#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who includes whom.

    check_layers.py [ROOT]

Reads the include lines under src/ and apps/ and the USES lists of their CMakeLists.txt. An error is
  - an include of a module that stands above or beside the includer's own in LAYERS,
  - an include of a module that the includer's USES do not name,
  - a module in USES that stands above or beside,
  - a generated header (*.pb.h) below layer 3, which knows nothing of the wire, unless OWN_FORMATS names it,
  - a heavy library in a header, except in the module that wraps it, and except its forward declarations (_fwd.hpp),
  - a folder of src/ that LAYERS does not place.
Prints one line each, as file:line: reason, and exits 1 when there is any.
"""

import os
import re
import sys

# A module may use the layers below its own, and beside it only what BESIDE names.
LAYERS = {
    "base": 1,
    "runtime": 2, "telemetry": 2, "config": 2,
    "rpc": 3, "http": 3, "db": 3, "redis": 3,
    "storage": 4, "source": 4, "vortex": 4, "jobs": 4, "oci": 4, "tracing": 4,
    "daemon": 5, "scheduler": 5, "manager": 5, "nydus": 5, "cli": 5,
}
BESIDE = {}
APPS_LAYER = 6
GENERATED_FROM_LAYER = 3
# Formats of other projects that one lower module writes.
OWN_FORMATS = {"telemetry": ("opentelemetry/", "perftools/")}

# Include prefix of a library that costs every includer seconds -> the modules whose headers may show it.
HEAVY = {
    "grpcpp/": {"rpc"},
    "grpc/": {"rpc"},
    "boost/beast": {"http"},
    "nlohmann/": set(),
    "yaml-cpp/": set(),
    "prometheus/": {"telemetry"},
    "curl/": {"http"},
    "hiredis/": set(),
    "rocksdb/": set(),
    "soci/": {"db"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# A call of one of our CMake functions; none of them has parentheses inside.
CMAKE_CALL = re.compile(r"\bdf_(module|program|command_line_program)\s*\(([^)]*)\)", re.S)
# Modules that a CMake function links by itself.
IMPLIED_USES = {"command_line_program": {"cli"}}


def module_of_library(name):
    """The module of a library that USES names: df_rpc_unix is a part of rpc."""
    while name and name not in LAYERS:
        name = name.rpartition("_")[0]
    return name


def uses_lists(path):
    """(line, kind, first argument, names behind USES) of every df_* call in a CMakeLists.txt."""
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"#[^\n]*", "", file.read())
    for call in CMAKE_CALL.finditer(text):
        words = call.group(2).split()
        uses = []
        section = None
        for word in words[1:]:
            if word.isupper() and word.isalpha():
                section = word
            elif section == "USES":
                uses.append(word)
        yield text.count("\n", 0, call.start()) + 1, call.group(1), words[0] if words else "", uses


def may_use(user, user_layer, used):
    return LAYERS[used] < user_layer or used in BESIDE.get(user, ())


def source_files(folder):
    for directory, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.endswith((".h", ".cc")):
                yield os.path.join(directory, name)


class Checker:
    def __init__(self, root):
        self.root = root
        self.errors = []

    def error(self, path, line, reason):
        self.errors.append(f"{os.path.relpath(path, self.root)}:{line}: {reason}")

    def uses_of(self, folder, owner, layer):
        """The modules that the CMakeLists.txt of `folder` lets its files include."""
        path = os.path.join(folder, "CMakeLists.txt")
        if not os.path.exists(path):
            return set()
        allowed = set()
        for line, kind, _, names in uses_lists(path):
            allowed |= IMPLIED_USES.get(kind, set())
            for name in names:
                used = module_of_library(name)
                if not used:
                    self.error(path, line, f"USES {name}, which is no module")
                elif used != owner and not may_use(owner, layer, used):
                    self.error(path, line, f"{owner} must not use {name}: it stands above or beside")
                else:
                    allowed.add(used)
        return allowed

    def check_file(self, path, owner, layer, allowed):
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                include = INCLUDE.match(text)
                if include is None:
                    continue
                bracket, target = include.groups()
                if path.endswith(".h"):
                    for prefix, wrappers in HEAVY.items():
                        if target.startswith(prefix) and owner not in wrappers and not target.endswith("_fwd.hpp"):
                            self.error(path, number, f"header includes {target}; include it in the .cc file")
                if bracket == "<":
                    continue
                if target.endswith(".pb.h"):
                    if layer < GENERATED_FROM_LAYER and not target.startswith(OWN_FORMATS.get(owner, ())):
                        self.error(path, number, f"{owner} must not know the wire: includes {target}")
                    continue
                used = target.split("/")[0] if "/" in target else ""
                if used not in LAYERS or used == owner:
                    continue
                if not may_use(owner, layer, used):
                    self.error(path, number, f"{owner} must not include {target}: {used} stands above or beside")
                elif used not in allowed:
                    self.error(path, number, f"includes {target}, but the USES of {owner} do not name {used}")

    def check(self):
        src = os.path.join(self.root, "src")
        for module in sorted(os.listdir(src)):
            folder = os.path.join(src, module)
            if not os.path.isdir(folder):
                continue
            if module not in LAYERS:
                self.error(folder, 1, "has no layer; place it in tests/layers/check_layers.py")
                continue
            allowed = self.uses_of(folder, module, LAYERS[module])
            for path in source_files(folder):
                self.check_file(path, module, LAYERS[module], allowed)

        apps = os.path.join(self.root, "apps")
        for program in sorted(os.listdir(apps)) if os.path.isdir(apps) else []:
            folder = os.path.join(apps, program)
            if os.path.isdir(folder):
                owner = f"apps/{program}"
                allowed = self.uses_of(folder, owner, APPS_LAYER)
                for path in source_files(folder):
                    self.check_file(path, owner, APPS_LAYER, allowed)
        return self.errors


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(here))
    errors = Checker(root).check()
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
