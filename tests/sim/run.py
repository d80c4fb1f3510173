# SPDX-License-Identifier: MIT
"""run.py WEIR [--seeds N] [--nightly] [SCENARIO...] - the shipped scenarios, the kept regressions.

Each scenario runs over N seeds (200), each twice: both runs must leave the same trace. Then every
line of regress/*.seed, which is what follows `weir sim` on the command line that found a bug, and
a comment that says which. Prints one line each; exit code 1 when one fails.

With --nightly each scenario runs once over N seeds (5000), and it fails too when a class of faults
never struck in any of them, or a mark (weir_sim_sometimes()) was never reached.
"""

import argparse
import glob
import os
import re
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def scenarios(weir):
    listed = subprocess.run([weir, "sim", "--list"], check=True, text=True, stdout=subprocess.PIPE)
    return [line.split()[0] for line in listed.stdout.splitlines() if line]


def regressions():
    """(what to show, arguments) of each kept run."""
    for path in sorted(glob.glob(os.path.join(HERE, "regress", "*.seed"))):
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                words = shlex.split(line, comments=True)
                if words:
                    yield f"{os.path.basename(path)}:{number}", words


def run(name, weir, arguments):
    """Prints one line, and all that was said when it failed. Returns whether it went well."""
    begin = time.monotonic()
    done = subprocess.run([weir, "sim", *arguments], text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seconds = time.monotonic() - begin
    if done.returncode == 0:
        print(f"ok     {name} ({seconds:.1f} s)", flush=True)
        return True
    said = re.sub(r"^seed \d+: ok.*\n", "", done.stdout, flags=re.M)
    print(f"FAILED {name} (exit code {done.returncode})\n{said}", flush=True)
    return False


def classes(weir):
    """The names of all classes of faults."""
    said = subprocess.run([weir, "sim", "--help"], check=True, text=True, stdout=subprocess.PIPE)
    return re.findall(r"^  ([a-z][a-z-]*) ", said.stdout.split("classes of faults:")[1], re.M)


def nightly(weir, names, seeds):
    """Everything once, and what was never reached. Returns whether it went well."""
    missing, marks, good = set(classes(weir)), [], True
    for name in names:
        begin = time.monotonic()
        done = subprocess.run([weir, "sim", name, "--seed", f"1..{seeds}"], text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        struck = re.search(r"^faults: (.*)$", done.stdout, re.M)
        missing -= {word.split()[0] for word in struck.group(1).split(", ")} if struck else set()
        marks += re.findall(r"^  not reached: (.*)$", done.stdout, re.M)
        good &= done.returncode == 0
        said = re.sub(r"^seed \d+: ok.*\n", "", done.stdout, flags=re.M)
        print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {name}: {seeds} seeds "
              f"({time.monotonic() - begin:.0f} s)" + (f"\n{said}" if done.returncode else ""),
              flush=True)
    for what in sorted(missing):
        print(f"FAILED the class {what} never struck")
    for mark in marks:
        print(f"FAILED the mark \"{mark}\" was never reached")
    return good and not missing and not marks


def main():
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.split("\n")[0])
    parser.add_argument("weir")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--nightly", action="store_true")
    args = parser.parse_args()
    if args.nightly:
        sys.exit(not nightly(args.weir, args.scenarios or scenarios(args.weir),
                             args.seeds or 5000))
    args.seeds = args.seeds or 200
    good = [run(name, args.weir, [name, "--seed", f"1..{args.seeds}", "--twice"])
            for name in args.scenarios or scenarios(args.weir)]
    if not args.scenarios:
        good += [run(name, args.weir, words) for name, words in regressions()]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
