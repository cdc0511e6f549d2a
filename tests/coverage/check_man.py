#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the manual page of each program that has one names its commands and flags, and no others.

    check_man.py ROOT PROGRAM...

Prints one line for each contradiction and exits 1 when there is any.
"""

import os
import re
import sys

from check_tables import flags_of


def main(root, programs):
    problems = []
    for program in programs:
        name = os.path.basename(program)
        path = os.path.join(root, "docs", "man", name + ".1")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            page = file.read().replace("\\-", "-")
        commands_and_flags = {line.rsplit(" ", 1)[0] for line in flags_of(program)}
        flags = {line.rsplit(" ", 1)[1] for line in flags_of(program)}
        # Examples run other programs, too.
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", page))
        for flag in sorted(flags - named):
            problems.append(f"docs/man/{name}.1 does not name {flag}")
        for flag in sorted(named - flags):
            problems.append(f"docs/man/{name}.1 names {flag}, which {name} does not have")
        for command in sorted(commands_and_flags):
            if command not in page and command.removeprefix(name + " ") not in page:
                problems.append(f"docs/man/{name}.1 does not name the command {command}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
