# SPDX-License-Identifier: MIT
"""readme.py ROOT - what README.md shows is what was compiled and run.

Each block of C in it stands word for word in an example, which the tests compile and run; it
stays short; and every folder of the library has a README of its own. The tests that a row of a
table in tests/README.md names are in the files that it names.
"""

import os
import re

import tree

LINES_MAX = 200
BLOCK = re.compile(r"^```c\n(.*?)^```", re.M | re.S)


TEST_FILE = re.compile(r"`(\w+/test_\w+\.\w+)`")
TEST_NAME = re.compile(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`")


def check_rows(root):
    path = os.path.join("tests", "README.md")
    if not os.path.exists(os.path.join(root, path)):
        return
    for number, line in enumerate(tree.read(root, path).splitlines(), 1):
        if not line.startswith("|"):
            continue
        text = ""
        for name in TEST_FILE.findall(line):
            if os.path.exists(os.path.join(root, "tests", name)):
                text += tree.read(root, os.path.join("tests", name))
            else:
                yield f"{path}:{number}: there is no {name}"
        for name in TEST_NAME.findall(line):
            if not re.search(rf"\b{name}\b", text):
                yield f"{path}:{number}: no test is called {name}"


def check(root):
    yield from check_rows(root)
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
