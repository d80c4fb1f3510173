# SPDX-License-Identifier: MIT
"""layers.py ROOT - includes point left: core, ring, futures, net, actors, tools, tests.

Only ring/ (and the bare loops in tests/bench/ that we compare ourselves with) includes
liburing; examples include only what is installed; private headers are named with their
folder, public ones without.
"""

import os
import re

import tree

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
URING = ("liburing.h", "liburing/", "linux/io_uring")
TOP = {"core", "ring", "futures", "net", "actors", "tools", "tests", "meson.build",
       "meson_options.txt", "README.md", "LICENSE", "CHANGELOG.md", "build"}


def may_include_uring(path):
    return path.startswith(("ring/", "tests/bench/"))


def complain(path, name, public):
    """Why path must not include "name", or None."""
    folder = path.split("/")[0]
    target = name.split("/")[0] if "/" in name else None
    if name == "weir.h" or name in public:
        target = "public"
    if path.startswith("tools/examples/"):
        return None if target == "public" else "an example includes only public headers"
    if target == "public":
        if name == "weir.h":
            return None if folder in ("tools", "tests") else "the library has no use for weir.h"
        target = public[name].split("/")[0]
    elif target is None:
        if folder == "tests" or name == "config.h":
            return None
        return "a private header is named with its folder"
    if target not in tree.LAYERS:
        return None if folder == "tests" else "not a folder of the project"
    if tree.LAYERS.index(target) > tree.LAYERS.index(folder):
        return f"{folder}/ must not know {target}/"
    return None


def check(root):
    public = tree.public_headers(root)
    for path in tree.files(root, tree.LAYERS, ".c", ".h", ".S", ".cc"):
        text = tree.without_comments(tree.read(root, path))
        for match in INCLUDE.finditer(text):
            name = match.group(2)
            line = text.count("\n", 0, match.start()) + 1
            if name.startswith(URING) and not may_include_uring(path):
                yield f"{path}:{line}: only ring/ includes {name}"
            elif match.group(1) == '"':
                why = complain(path, name, public)
                if why:
                    yield f"{path}:{line}: includes {name}: {why}"
    for name in sorted(os.listdir(root)):
        if name not in TOP and not name.startswith("."):
            yield f"{name}: does not belong at the top level"


if __name__ == "__main__":
    tree.main(check)
