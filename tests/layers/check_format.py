#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every .h and .cc file of ours is formatted by .clang-format.

    check_format.py [CLANG_FORMAT] ROOT

CLANG_FORMAT is clang-format-19 when it is not given.
"""

import concurrent.futures
import os
import subprocess
import sys

FOLDERS = ("src", "apps", "tests", "bench")
BATCH = 25


def files_of(root):
    for folder in FOLDERS:
        for directory, subdirectories, names in os.walk(os.path.join(root, folder)):
            subdirectories[:] = sorted(name for name in subdirectories if name != "build")
            for name in sorted(names):
                if name.endswith((".h", ".cc")):
                    yield os.path.relpath(os.path.join(directory, name), root)


def main():
    clang_format, root = ["clang-format-19", *sys.argv[1:]][-2:]
    files = list(files_of(root))
    batches = [files[i:i + BATCH] for i in range(0, len(files), BATCH)]

    def check(batch):
        return subprocess.run([clang_format, "--dry-run", "-Werror", *batch], cwd=root, stderr=subprocess.PIPE, text=True)

    failed = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(check, batches):
            if result.returncode != 0:
                failed = True
                sys.stderr.write(result.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
