# SPDX-License-Identifier: MIT
"""headers.py ROOT - each public header compiles alone, as strict C11 and as C++11."""

import os
import subprocess
import tempfile

import tree

FLAGS = ["-Wall", "-Wextra", "-Werror", "-pedantic-errors", "-fsyntax-only"]
LANGUAGES = [
    ("gcc", ["-xc", "-std=c11", "-Wstrict-prototypes", "-Wshadow"]),
    ("clang", ["-xc", "-std=c11", "-Wstrict-prototypes", "-Wshadow"]),
    ("g++", ["-xc++", "-std=c++11"]),
    ("clang++", ["-xc++", "-std=c++11"]),
]


def check(root):
    headers = tree.public_headers(root)
    if not headers:
        yield "no public header found"
    with tempfile.TemporaryDirectory() as flat:
        # As installed: one flat folder, and nothing else on the include path.
        for name, path in headers.items():
            os.symlink(os.path.abspath(os.path.join(root, path)), os.path.join(flat, name))
        for name, path in headers.items():
            for compiler, flags in LANGUAGES:
                run = subprocess.run(
                    [compiler, *flags, *FLAGS, "-I", flat, "-"], text=True,
                    input=f'#include "{name}"\n#include "{name}"\nint weir_unused;\n',
                    stderr=subprocess.PIPE)
                if run.returncode:
                    yield f"{path}: {compiler} {flags[1]} refuses it:\n{run.stderr}"


if __name__ == "__main__":
    tree.main(check)
