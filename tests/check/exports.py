# SPDX-License-Identifier: MIT
"""exports.py ROOT BUILD - what libweir.so exports is what the public headers declare.

And every public header is in weir.h, thus installed.
"""

import os
import re
import subprocess

import tree

DECLARED = re.compile(r"\bWEIR_API\b[^;{#]*?\b(weir_\w+)\s*[(;\[]")
INCLUDED = re.compile(r'^#include "(weir_\w+\.h)"', re.M)


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    symbols = [line.split() for line in out.splitlines()]
    return {s[2].split("@")[0] for s in symbols if len(s) == 3 and s[1] != "A"}


def without_http(build):
    """Headers that this build leaves out, because it found no llhttp."""
    with open(os.path.join(build, "meson-logs/meson-log.txt"), encoding="utf-8") as f:
        return {"weir_http.h"} if "HTTP is off" in f.read() else set()


def check(root, build):
    public = tree.public_headers(root)
    with open(os.path.join(build, "weir.h"), encoding="utf-8") as f:
        umbrella = set(INCLUDED.findall(f.read()))
    for name in sorted(set(public) - umbrella - without_http(build)):
        yield f"{public[name]}: not in weir_headers of its meson.build, so not installed"
    declared = {}
    for name in umbrella & set(public):
        text = tree.without_comments(tree.read(root, public[name]))
        declared.update({symbol: public[name] for symbol in DECLARED.findall(text)})
    symbols = exported(os.path.join(build, "libweir.so"))
    if not symbols:
        yield "libweir.so exports nothing"
    for symbol in sorted(symbols - set(declared)):
        yield f"libweir.so exports {symbol}, which no public header declares"
    for symbol in sorted(set(declared) - symbols):
        yield f"{declared[symbol]}: declares {symbol}, which libweir.so does not export"


if __name__ == "__main__":
    tree.main(check)
