# SPDX-License-Identifier: MIT
"""selftest.py - every rule of the other checks finds the bad example planted for it.

Each example is a small tree; the rule must name the planted line, and must be silent on
the same tree without it.
"""

import os
import subprocess
import sys
import tempfile

import all as runner
import exports
import headers
import install
import layers
import readme
import seam
import style

HEAD = "/* SPDX-License-Identifier: MIT */\n/*\n * x - an example.\n */\n"
PUBLIC = HEAD + """#pragma once
#define WEIR_API __attribute__((visibility("default")))

/* Answers. */
WEIR_API int weir_answer(void);

/* Its bound is a constant. */
#define WEIR_BOUND 1

WEIR_API int weir_bounded(void);

/* What it counted. */
struct weir_counts {
	int count;
};

WEIR_API void weir_counts(struct weir_counts *ret_counts);
"""
GOOD = {
    "core/weir_core.h": PUBLIC,
    "core/answer.c": HEAD + '#include "core/weir_core.h"\n\nint weir_answer(void)\n{\n'
                            "\treturn 42;\n}\n",
    "ring/ring.c": HEAD + '#include <liburing.h>\n#include "core/weir_core.h"\n',
    "tools/examples/hello.c": HEAD + '#include "weir.h"\n',
    "tests/core/test_answer.c": HEAD + '#include "core/weir_core.h"\n',
    "net/net.h": HEAD,
    "README.md": "Text.\n```c\n#include \"weir.h\"\n```\n",
    **{f"{folder}/README.md": "" for folder in ("core", "ring", "net", "tools", "tests")},
}


def long_function(lines):
    return "int weir__long(void)\n{\n" + "\tcall();\n" * (lines - 2) + "}\n"


# (rule, file, what it holds more, what the complaint says)
BAD = [
    (layers, "core/up.c", '#include "net/net.h"\n', "core/ must not know net/"),
    (layers, "core/up.c", '#  include "tests/x.h"\n', "core/ must not know tests/"),
    (layers, "core/up.c", '#include "weir.h"\n', "no use for weir.h"),
    (layers, "core/up.c", '#include "net.h"\n', "named with its folder"),
    (layers, "net/up.c", "#include <liburing.h>\n", "only ring/ includes liburing.h"),
    (layers, "tools/up.c", "#include <liburing/io_uring.h>\n", "only ring/ includes"),
    (layers, "tools/examples/up.c", '#include "net/net.h"\n', "only public headers"),
    (layers, "stray.txt", "", "top level"),
    (style, "core/a.c", "int a; /* TO" "DO */\n", "core/a.c:5: says that it is not finished"),
    (style, "core/a.c", "\t" + "x" * 93 + "\n", "core/a.c:5: 101 columns"),
    (style, "core/a.c", "int a; \n", "core/a.c:5: space at the end"),
    (style, "core/a.c", "        int a;\n", "core/a.c:5: indent with tabs"),
    (style, "core/a.c", long_function(71), "core/a.c:weir__long: 71 lines"),
    (style, "core/a.c", "int a;\n" * 1001, "core/a.c: 1005 lines"),
    (style, "core/a.c", "int a;", "no newline at the end"),
    (style, "core/stdio.h", "", "name of a header of libc"),
    (style, "tests/core/test_a.c", "void f(void) { usleep (1); }\n", "does not sleep"),
    (style, "core/weir_a.h", "/* A. */\n\nWEIR_API int weir_a(void);\n", "without its doc"),
    (style, "core/weir_a.h", "/* A. */\nstruct a {\n\tint b;\n};\n\nWEIR_API int c(void);\n",
     "without its doc"),
    (headers, "core/weir_a.h", "_Atomic int a;\n", "-std=c++11 refuses it"),
    (headers, "core/weir_a.h", "struct s { struct { int a, a; }; };\n", "-std=c11 refuses it"),
    (headers, "core/weir_a.h", "size_t f(void);\n", "refuses it"),
]
WHOLE = [
    (style, "tests/check/ratchet.txt", "# SPDX-License-Identifier: MIT\ncore/a.c:f 80\n",
     "needs 0 lines now, not 80"),
    (style, "core/a.c", "/* nothing */\nint a;\n", "no SPDX line"),
    (style, "core/a.c", "/* SPDX-License-Identifier: MIT */\nint a;\n", "no comment that gives"),
    (readme, "README.md", "```c\nint other;\n```\n", "README.md:1: this code stands in no"),
    (readme, "README.md", "x\n" * 201, "201 lines"),
    (readme, "futures/a.c", "", "futures/: has no README.md"),
    (readme, "tests/README.md", "| `core/test_answer.c`: `no_such_test` |\n",
     "is called no_such_test"),
    (readme, "tests/README.md", "| `core/test_gone.c` |\n", "there is no core/test_gone.c"),
]


def plant(root, files):
    for path, text in files.items():
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


def complaints(rule, extra):
    with tempfile.TemporaryDirectory() as root:
        plant(root, {**GOOD, **extra})
        return "\n".join(rule.check(root))


def check_planted():
    for rule in (layers, style, headers, readme):
        said = complaints(rule, {})
        if said:
            yield f"{rule.__name__}: complains of the good tree:\n{said}"
    examples = [(r, p, HEAD + t, s) for r, p, t, s in BAD] + WHOLE
    for rule, path, text, expected in examples:
        said = complaints(rule, {path: text})
        if expected not in said:
            yield f"{rule.__name__}: misses in {path}: {expected}\nsays: {said}"


def library(root, source):
    """A build directory as exports.py wants it, whose libweir.so is made of source."""
    build = os.path.join(root, "b")
    plant(build, {"meson-logs/meson-log.txt": "", "weir.h": '#include "weir_core.h"\n',
                  "x.c": source})
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", build + "/libweir.so", build + "/x.c"],
                   check=True)
    return build


def check_exports():
    answer = "int weir_answer(void) { return 1; }\nint weir_bounded(void) { return 1; }\n" \
             "void weir_counts(void) { }\n"
    other = "int other(void) { return 1; }\n"
    for source, extra, expected in (
            (answer, {}, ""),
            (answer + other, {}, "exports other, which no public header declares"),
            ("", {}, "declares weir_answer, which libweir.so does not export"),
            (answer, {"net/weir_new.h": PUBLIC}, "not in weir_headers")):
        with tempfile.TemporaryDirectory() as root:
            plant(root, {**GOOD, **extra})
            said = "\n".join(exports.check(root, library(root, source)))
            if expected not in said or (not expected and said):
                yield f"exports: wants '{expected}', says: {said}"


def check_seam():
    """A clock, a random number, a system call or an instruction outside of the seam is found."""
    clock = "#include <time.h>\nlong f(void) { return time(0); }\n"
    for path, source, expected in (
            ("core/a.c", "int f(void) { return 1; }\n", ""),
            ("core/clock.c", clock + "long random(void);\nlong g(void) { return random(); }\n", ""),
            ("core/a.c", clock, "core/a.c: calls time (clock)"),
            ("net/a.c", "int rand(void);\nint f(void) { return rand(); }\n", "calls rand (chance)"),
            ("ring/sim/a.c", clock, "ring/sim/a.c: calls time (clock)"),
            ("futures/a.c", "int close(int);\nint f(void) { return close(3); }\n",
             "calls close (system)"),
            ("net/a.c", "int openat64(void);\nint f(void) { return openat64(); }\n",
             "calls openat (system)"),
            ("net/a.c", "long __read_chk(void);\nlong f(void) { return __read_chk(); }\n",
             "calls read (system)"),
            ("core/clock.c", clock, "core/clock.c does not need chance any more"),
            *([("core/a.c", "long f(void) { return __builtin_ia32_rdtsc(); }\n", "calls rdtsc"),
               ("core/a.c", 'void f(void) { __asm__ volatile("syscall"); }\n', "calls syscall")]
              if os.uname().machine == "x86_64" else [])):
        with tempfile.TemporaryDirectory() as root:
            plant(root, {**GOOD, path: HEAD + source, "b/libweir.so.0.p/x": ""})
            subprocess.run(["gcc", "-O1", "-c", os.path.join(root, path), "-o", os.path.join(
                root, "b/libweir.so.0.p", path.replace("/", "_") + ".o")], check=True)
            said = "\n".join(seam.check(root, os.path.join(root, "b")))
            if expected not in said or (not expected and said):
                yield f"seam: wants '{expected}', says: {said}"


def check_install():
    """A weir.pc that names no header folder, or a library without its symbols, is found."""
    with tempfile.TemporaryDirectory() as root:
        pc = os.path.join(root, "lib/pkgconfig/weir.pc")
        plant(root, {"lib/pkgconfig/weir.pc": "Name: weir\nDescription: x\nVersion: 1\n"})
        said = install.build_and_run(pc, root, ["gcc"], "c", "shared", [])
        if not said or "does not build" not in said:
            yield f"install: accepts what cannot be built: {said}"


def check_counting():
    """A failure, a crash, a skip and an empty run are counted as what they are."""
    ran = "[==========] Running 2 test(s).\n"
    for result, output, expected in (
            ("OK", ran + "[ RUN      ] a\n[       OK ] a\n", (1, 0, 0)),
            ("OK", ran + "[ RUN      ] a\nno ring\n[  SKIPPED ] a\n", (0, 0, 1)),
            ("FAIL", ran + "[  FAILED  ] a\n[       OK ] b\n[  FAILED  ] a\n", (1, 1, 0)),
            ("FAIL", ran + "[       OK ] a\n", (1, 1, 0)),
            ("TIMEOUT", "", (0, 1, 0)),
            ("SKIP", "no io_uring here\n", (0, 0, 1)),
            ("OK", "", (1, 0, 0)),
            ("OK", ran, (0, 1, 0))):
        with open(os.devnull, "w", encoding="utf-8") as sys.stdout:
            count = runner.count_test("x", {"name": "t", "result": result, "stdout": output})
        sys.stdout = sys.__stdout__
        if (count.passed, count.failed, len(count.skips)) != expected:
            yield f"counting: {result} {output!r} is {count}, wants {expected}"


if __name__ == "__main__":
    found = [*check_planted(), *check_exports(), *check_seam(), *check_install(), *check_counting()]
    for complaint in found:
        print(complaint)
    sys.exit(1 if found else 0)
