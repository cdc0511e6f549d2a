#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that each thing users of the original know has a test, a reason why it differs, or stands open for all to see.

    check_tables.py ROOT PROGRAM...

The tables are docs/compatibility/[scheduler-]{configuration,calls,metrics,spans}.tsv, flags.tsv, of the scheduler errors
and states, too, and of the manager configuration, calls, metrics and routes: lines of fields with tabs between them, '#' begins a
comment. The last field is the coverage:
  Suite.Name [Suite.Name...]  tests that cover it; each must stand in a file below tests/
  difference: REASON          ours is different on purpose, or does without
  open                        nobody has it yet; counted and printed
PROGRAM are the built programs: the flags in their help and the keys that `dfdaemon config keys` and `scheduler config
keys` (and `manager config keys`) list must have rows, as must the calls in api/{dfdaemon,scheduler,manager}/v2, the
metrics and spans named in src/daemon, and the states, events and errors in src/scheduler (its metrics, and those of the manager, are compared by unit tests). What a table
says is tested must be there. docs/[scheduler-|manager-]configuration.md must have each key once, with the names, kind and
default that the program tells.
Prints one line for each contradiction and exits 1 when there is any.
"""

import os
import re
import subprocess
import sys

COLUMNS = {
    "configuration": ("key",),
    "flags": ("program", "flag", "variable"),
    "calls": ("service", "call"),
    "metrics": ("metric",),
    "spans": ("span",),
    "scheduler-configuration": ("key",),
    "scheduler-calls": ("service", "call"),
    "scheduler-metrics": ("metric", "labels"),
    "scheduler-spans": ("span",),
    "scheduler-states": ("of", "kind", "name"),
    "scheduler-errors": ("code", "text"),
    "manager-configuration": ("key",),
    "manager-calls": ("service", "call"),
    "manager-routes": ("method", "path"),
    "manager-metrics": ("metric", "labels"),
}
# How many of the first columns name the thing.
NAMED_BY = {"configuration": 1, "flags": 2, "calls": 2, "metrics": 1, "spans": 1, "scheduler-configuration": 1,
            "scheduler-calls": 2, "scheduler-metrics": 1, "scheduler-spans": 1, "scheduler-states": 3, "scheduler-errors": 2,
            "manager-configuration": 1, "manager-calls": 2, "manager-routes": 2,
            "manager-metrics": 1}

TEST = re.compile(r"\b(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
TEST_NAME = re.compile(r"^\w+\.\w+$")
FLAG = re.compile(r"^\s+(?:-\w\s*,\s*)?(--[a-z][a-z0-9-]*)")
SUBCOMMAND = re.compile(r"^  ([a-z][a-z-]*)\s{2,}\S")
PROTO_BLOCK = re.compile(r"\bservice\s+(\w+)\s*\{(.*?)\n\}", re.S)
PROTO_CALL = re.compile(r"\brpc\s+(\w+)\s*\(")
# Of the sources that register metrics.
REGISTERS_METRICS = re.compile(r"#include <prometheus/|\btelemetry::Metrics\b")
METRIC = re.compile(r'"(?:dragonfly_client_)?([a-z][a-z0-9_]*_(?:total|traffic|milliseconds))"')
METRIC_NAME = re.compile(r'"dragonfly_client_([a-z0-9_]+)"')
SPAN = re.compile(r'(?:\bServerSpan|\bStartSpan|[.>]Start)\(\s*(?:[\w.>&*()-]+,\s*)*"([a-z][a-z0-9_]*)"')

# One of several names for a span, chosen by a condition: Start(tunnel ? "a" : "b", SpanKind::kServer).
SPAN_CHOICE = re.compile(r'[?:]\s*"([a-z][a-z0-9_]*)"')

# stub->async()->StatTask(...), and &Stub::async::StatTask, of which it is made later.
CALL_MADE = re.compile(r"(?:async\(\)->|&Stub::async::)(\w+)")
# kPeerStates = {"Pending", ...} in src/scheduler/state.cc and persistent_model.cc.
NAMES = re.compile(r"\bk(Peer|Task)(State|Event)s\s*=\s*\{([^}]*)\}")
# What src/scheduler/ says to its callers: the code, and the text up to its first variable part.
ERROR = re.compile(r'absl::(\w+)Error\(\s*(?:StrCat\(\s*)?"([^"]+)"')
# Of its files, those that answer calls.
ANSWERS = ("announce_stream.cc", "dispatcher.cc", "service.cc", "shard.cc", "state.cc")


class Checker:
    def __init__(self, root):
        self.root = root
        self.problems = []
        self.tests = self.read_tests()
        self.tables = {name: self.read_table(name) for name in COLUMNS}

    def fail(self, text):
        self.problems.append(text)

    def sources(self, folder, *suffixes):
        for path, folders, files in os.walk(os.path.join(self.root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(suffixes):
                    with open(os.path.join(path, name), encoding="utf-8") as file:
                        yield file.read()

    def read_tests(self):
        tests = set()
        for text in self.sources("tests", ".cc", ".h"):
            tests.update(".".join(found) for found in TEST.findall(text))
        return tests

    def read_table(self, name):
        """{key: (coverage, line)}; the key is a text of the naming columns."""
        rows = {}
        path = f"docs/compatibility/{name}.tsv"
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip("\n")
                if not line or line.startswith("#"):
                    continue
                fields = line.split("\t")
                if len(fields) != len(COLUMNS[name]) + 1:
                    self.fail(f"{path}:{number}: {len(fields)} fields, not {len(COLUMNS[name]) + 1}")
                    continue
                key = " ".join(fields[:NAMED_BY[name]])
                if key in rows:
                    self.fail(f"{path}:{number}: {key} stands in line {rows[key][1]} already")
                rows[key] = (fields[-1], number)
                self.check_coverage(f"{path}:{number}: {key}", fields[-1])
        return rows

    def check_coverage(self, where, coverage):
        if coverage == "open":
            return
        if coverage.startswith("difference: "):
            if len(coverage) < len("difference: ") + 8:
                self.fail(f"{where}: says not why it differs")
            return
        for test in coverage.split(" "):
            if not TEST_NAME.match(test):
                self.fail(f"{where}: '{test}' is no name of a test, nor 'open', nor 'difference: <reason>'")
            elif test not in self.tests:
                self.fail(f"{where}: there is no test {test}")

    def compare(self, table, ours, perhaps=frozenset()):
        """`ours` are the keys that the code knows; `perhaps` those that it may know."""
        rows = self.tables[table]
        for key in sorted(ours - rows.keys()):
            self.fail(f"docs/compatibility/{table}.tsv: no row for {key}, which our code has")
        for key, (coverage, number) in rows.items():
            tested = coverage != "open" and not coverage.startswith("difference: ")
            if tested and key not in ours and key not in perhaps:
                self.fail(f"docs/compatibility/{table}.tsv:{number}: {key} is tested, but our code does not have it")

    def compare_documentation(self, path, described):
        """`described` are the lines of `<program> config keys`."""
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            text = file.read()
        rows = re.findall(r"^\| (`[^|]*`[^|]*) \| ([^|]*) \| ([^|]*) \|", text[text.index("## Keys"):text.index("## Command line")], re.M)
        documented = {}
        for name, kind, default in rows:
            if name in documented:
                self.fail(f"{path}: {name} stands there twice")
            documented[name] = (kind, default)
        for line in described:
            key, kind, default, older = line.split("\t")
            name = f"`{key}`" + "".join(f", formerly `{other}`" for other in older.split())
            default = "–" if default in ('""', "[]", "{}", "null") else f"`{default}`"
            found = documented.pop(name, None)
            if found is None:
                self.fail(f"{path}: there is no row for {name}")
            elif found != (kind, default):
                self.fail(f"{path}: {name}: it says {' | '.join(found)}, the program {kind} | {default}")
        for name in documented:
            self.fail(f"{path}: the program does not know {name}")

    def compare_errors(self, ours):
        """`ours` are pairs of a code and the beginning of a text."""
        for code, begin in sorted(ours):
            if not any(key.startswith(f"{code} {begin.rstrip()}") for key in self.tables["scheduler-errors"]):
                self.fail(f"docs/compatibility/scheduler-errors.tsv: no row for {code} {begin}, which our code says")

    def print_open(self):
        for table, rows in self.tables.items():
            missing = [key for key, (coverage, _) in rows.items() if coverage == "open"]
            different = sum(coverage.startswith("difference: ") for coverage, _ in rows.values())
            print(f"{table}: {len(rows)} rows, {len(rows) - len(missing) - different} tested, "
                  f"{different} different on purpose, {len(missing)} open")
            for key in missing:
                print(f"  open: {key}")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def flags_of(program):
    """Flags of a program and its subcommands, as "program sub --flag"."""
    name = os.path.basename(program)
    flags = set()

    def collect(words):
        text = run(program, *words, "--help")
        here = " ".join([name, *words])
        in_subcommands = False
        # An example that goes on in a second line is one line.
        for line in text.replace("\\\n", "").splitlines():
            if re.match(r"^sub-?commands:", line, re.I):
                in_subcommands = True
            elif line and not line.startswith(" "):
                in_subcommands = False
            found = FLAG.match(line)
            if found:
                flags.add(f"{here} {found.group(1)}")
            found = SUBCOMMAND.match(line) if in_subcommands else None
            if found and len(words) < 3:
                collect([*words, found.group(1)])

    collect([])
    return flags


def keys_of(described):
    keys = set()
    for line in described:
        path, _, _, older = line.split("\t")
        keys.update([path, *older.split()])
    return keys


def calls_of(checker, package):
    calls = set()
    for text in checker.sources(f"api/{package}/v2", ".proto"):
        for service, body in PROTO_BLOCK.findall(text):
            calls.update(f"{service} {call}" for call in PROTO_CALL.findall(body))
    return calls


def states_of(checker):
    """"peer state Running" for each name in the tables of src/scheduler/."""
    states = set()
    for file, prefix in (("state.cc", ""), ("persistent_model.cc", "persistent cache ")):
        for text in checker.sources("src/scheduler", file):
            for of, kind, names in NAMES.findall(text):
                states.update(f"{prefix}{of} {kind} ".lower() + name for name in re.findall(r'"(\w+)"', names))
    return states


def errors_of(checker):
    errors = set()
    for code, text in ERROR.findall("".join(checker.sources("src/scheduler", *ANSWERS))):
        errors.add((re.sub(r"(?<=.)([A-Z])", r"_\1", code).upper(), text))
    return errors


def span_of(call):
    """Every call that is answered or made has a span, named after it (src/rpc/tracing.cc)."""
    return re.sub(r"(?<=.)[A-Z](?=[a-z])|(?<=[a-z])[A-Z]", lambda found: "_" + found[0], call).lower()


def main(root, programs):
    checker = Checker(root)
    flags = set()
    for program in programs:
        flags |= flags_of(program)
        name = os.path.basename(program)
        if name in ("dfdaemon", "scheduler", "manager"):
            prefix = "" if name == "dfdaemon" else f"{name}-"
            described = run(program, "config", "keys").splitlines()
            checker.compare(f"{prefix}configuration", keys_of(described))
            checker.compare_documentation(f"docs/{prefix}configuration.md", described)
    checker.compare("flags", flags)
    checker.compare("calls", calls_of(checker, "dfdaemon"))
    checker.compare("scheduler-calls", calls_of(checker, "scheduler"))
    checker.compare("manager-calls", calls_of(checker, "manager"))
    checker.compare("scheduler-states", states_of(checker))
    checker.compare_errors(errors_of(checker))
    metrics, spans, choices = set(), set(), set()
    for text in checker.sources("src/daemon", ".cc"):
        if REGISTERS_METRICS.search(text):
            metrics.update(METRIC.findall(text) + METRIC_NAME.findall(text))
        spans.update(SPAN.findall(text))
        if "SpanKind::" in text:
            choices.update(SPAN_CHOICE.findall(text))
        spans.update(span_of(call) for call in CALL_MADE.findall(text))
        # One of several names, chosen before the span begins.
        spans.update(name for name in checker.tables["spans"] if f'"{name}"' in text)
    spans |= {span_of(call.split(" ")[1]) for call in calls_of(checker, "dfdaemon")}
    checker.compare("metrics", metrics)
    checker.compare("spans", spans, choices)
    spans = {span_of(call.split(" ")[1]) for call in calls_of(checker, "scheduler")}
    for text in [*checker.sources("src/scheduler", ".cc"), *checker.sources("src/rpc", "manager_presence.cc")]:
        spans.update(span_of(call) for call in CALL_MADE.findall(text))
    checker.compare("scheduler-spans", spans)
    checker.print_open()
    for problem in checker.problems:
        print(problem, file=sys.stderr)
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
