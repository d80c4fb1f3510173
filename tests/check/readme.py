# SPDX-License-Identifier: MIT
"""readme.py ROOT - what README.md shows is what was compiled and run.

Each block of C in it stands word for word in an example, which the tests compile and run; it
stays short; and every folder of the library has a README of its own.
"""

import os
import re

import tree

LINES_MAX = 200
BLOCK = re.compile(r"^```c\n(.*?)^```", re.M | re.S)


def check(root):
    text = tree.read(root, "README.md") if os.path.exists(os.path.join(root, "README.md")) else ""
    examples = [tree.read(root, path) for path in tree.files(root, ["tools/examples"], ".c")]
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if not any(match.group(1) in example for example in examples):
            yield f"README.md:{line}: this code stands in no example"
    if text.count("\n") > LINES_MAX:
        yield f"README.md: {text.count(chr(10))} lines, {LINES_MAX} allowed"
    for folder in tree.LIBRARY + ["tools", "tests"]:
        if (os.path.isdir(os.path.join(root, folder))
                and not os.path.exists(os.path.join(root, folder, "README.md"))):
            yield f"{folder}/: has no README.md"


if __name__ == "__main__":
    tree.main(check)
