# SPDX-License-Identifier: MIT
"""tree.py - what the other checks know of the tree: its folders, files and headers."""

import os
import re

# A folder includes only folders to its left; tools and tests include all of them.
LAYERS = ["core", "ring", "futures", "net", "actors", "tools", "tests"]
LIBRARY = LAYERS[:5]


def files(root, folders, *suffixes):
    """Paths below root of all files in folders that end so, sorted."""
    found = []
    for folder in folders:
        for where, dirs, names in os.walk(os.path.join(root, folder)):
            dirs[:] = [d for d in dirs if d != "__pycache__"]
            found += [os.path.relpath(os.path.join(where, n), root)
                      for n in names if not suffixes or n.endswith(suffixes)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def public_headers(root):
    """{name: path} of every weir_*.h of the library."""
    return {os.path.basename(p): p for p in files(root, LIBRARY, ".h")
            if os.path.basename(p).startswith("weir_")}


def without_comments(text):
    """The same lines, with comments blanked."""
    blank = lambda m: re.sub(r"[^\n]", " ", m.group())
    return re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.S)


def main(check):
    """Runs check(root) as a program: prints what it yields, exit code 1 when any."""
    import sys
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    complaints = list(check(root, *sys.argv[2:]))
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)
