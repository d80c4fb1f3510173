# SPDX-License-Identifier: MIT
"""style.py ROOT - the part of our style that a program can see.

Lengths have a ratchet: tests/check/ratchet.txt may allow a function or file more, by
name and number; a number that became larger than needed is a complaint too, so that it
only ever goes down.
"""

import os
import re

import tree

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
COLUMNS_MAX = 100
CODE = (".c", ".h", ".S", ".cc")
SCRIPTS = (".py", ".sh", "meson.build", ".txt", ".map", ".in")

# What libc puts directly into /usr/include: our folders are on the include path.
LIBC = set("""aio aliases alloca ar argp argz assert byteswap complex cpio crypt ctype dirent
dlfcn elf endian envz err errno error execinfo fcntl features fenv fmtmsg fnmatch fstab fts ftw
gconv getopt glob grp gshadow iconv ifaddrs inttypes langinfo lastlog libgen libintl limits link
locale malloc math mcheck memory mntent monetary mqueue netdb nl_types nss obstack paths poll
printf proc_service pthread pty pwd re_comp regex regexp resolv sched search semaphore setjmp
sgtty shadow signal spawn stab stdatomic stdbool stdc-predef stddef stdint stdio stdio_ext stdlib
string strings syscall sysexits syslog tar termio termios tgmath thread_db threads time ttyent
uchar ucontext ulimit unistd utime utmp utmpx values wait wchar wctype wordexp""".split())

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
SLEEP = re.compile(r"\b(sleep|usleep|nanosleep|clock_nanosleep|thrd_sleep)\s*\(")
NAME = re.compile(r"\b(\w+)\s*\(")


def functions(lines):
    """(name, first line, how many lines from { to }) of what begins with { in column 0."""
    begin = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            begin = number
        elif line.startswith("}") and begin:
            head = " ".join(lines[max(0, begin - 8):begin - 1])
            head = head[max(head.rfind("}"), head.rfind(";")) + 1:]
            names = NAME.findall(re.sub(r"__attribute__\s*\(\(.*?\)\)", "", head))
            yield (names[0] if names else "?"), begin, number - begin + 1
            begin = None


def width(line):
    return len(line.expandtabs(8))


def check_lines(path, lines):
    code = path.endswith(CODE)
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if width(line) > COLUMNS_MAX:
            yield f"{where}: {width(line)} columns, {COLUMNS_MAX} allowed"
        if line != line.rstrip():
            yield f"{where}: space at the end of the line"
        if code and re.match(r"\t* {8}| +\t", line):
            yield f"{where}: indent with tabs"
        if UNFINISHED.search(line):
            yield f"{where}: says that it is not finished"


def check_first_lines(path, text):
    if "SPDX-License-Identifier: MIT" not in "\n".join(text.split("\n")[:3]):
        yield f"{path}:1: no SPDX line"
    elif path.endswith((".c", ".h")):
        rest = text.split("\n", 1)[1]
        if not rest.startswith(("/*\n * ", "/* ")):
            yield f"{path}:2: no comment that gives the reason why the file exists"
    if text and not text.endswith("\n"):
        yield f"{path}: no newline at the end"


def speaks_for(paragraph, code):
    """What a documented paragraph, if it has only this, documents in the one after it."""
    if not paragraph.strip().startswith("/*"):
        return None
    lines = [line for line in code.replace("\\\n", " ").split("\n") if line.strip()]
    if lines and all(re.match(r"\s*#\s*define ", line) for line in lines):
        return r"\w"
    struct = re.fullmatch(r"\s*struct (\w+) {.*};\s*", code, re.S)
    return rf"\b{struct.group(1)}\b" if struct else None


def check_prototypes(path, text):
    """In a public header a paragraph with a WEIR_API begins with its comment.

    Or the paragraph before it is a comment and the constants, or the struct, it is about.
    """
    line, about = 1, None
    for paragraph in re.split(r"\n(?=\n)", text):
        code = tree.without_comments(paragraph)
        at = re.search(r"^[^#\n]*\bWEIR_API\b", code, re.M)
        if at and "*/" not in paragraph[:at.start()] and not (about and re.search(about, code)):
            number = line + paragraph.count("\n", 0, at.end())
            yield f"{path}:{number}: an exported function without its documentation"
        about = speaks_for(paragraph, code)
        line += paragraph.count("\n") + 1


def check_lengths(path, lines, ratchet, used):
    """What is longer than allowed; notes in used what the ratchet was needed for."""
    things = [(path, 1, len(lines), FILE_LINES_MAX)]
    if path.endswith((".c", ".h")):
        things += [(f"{path}:{name}", first, count, FUNCTION_LINES_MAX)
                   for name, first, count in functions(lines)]
    for name, first, count, limit in things:
        if count <= limit:
            continue
        used[name] = count
        if count > ratchet.get(name, limit):
            yield f"{name}: {count} lines (from line {first}), {ratchet.get(name, limit)} allowed"


def check_file(root, path, ratchet, used):
    text = tree.read(root, path)
    lines = text.split("\n")[:-1]
    base = os.path.basename(path)
    yield from check_first_lines(path, text)
    yield from check_lines(path, lines)
    yield from check_lengths(path, lines, ratchet, used)
    if base.startswith("weir_") and path.endswith(".h"):
        yield from check_prototypes(path, text)
    if path.endswith(".h") and base[:-2] in LIBC:
        yield f"{path}: bears the name of a header of libc"
    if path.startswith("tests/") and not path.startswith("tests/bench/"):
        for match in SLEEP.finditer(tree.without_comments(text)):
            number = text.count("\n", 0, match.start()) + 1
            if path.endswith(CODE):
                yield f"{path}:{number}: a test waits for the event, it does not sleep"


def read_ratchet(root):
    path = os.path.join(root, "tests/check/ratchet.txt")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        pairs = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return {name: int(count) for name, count in pairs}


def check(root):
    ratchet, used = read_ratchet(root), {}
    for path in tree.files(root, tree.LAYERS):
        if path.endswith((*CODE, *SCRIPTS)) or "." not in os.path.basename(path):
            yield from check_file(root, path, ratchet, used)
    for name, allowed in ratchet.items():
        if used.get(name, 0) < allowed:
            yield f"ratchet.txt: {name} needs {used.get(name, 0)} lines now, not {allowed}"


if __name__ == "__main__":
    tree.main(check)
