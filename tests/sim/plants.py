# SPDX-License-Identifier: MIT
"""plants.py WEIR [--seeds N] [--shrink] [--jobs N] [PLANT...] - does the simulator find bugs?

WEIR is the command built with -Dplants=true. For each bug of core/plant.h its scenario is run seed
by seed until it fails; with --shrink failing runs are made small. Prints a table. Exit code 1 when
a bug was not found within N seeds (10000), or none of its first runs is small (SMALL choices).
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SMALL = 10
TRIES = 8       # failing seeds that are made small to find one that becomes so

# Which scenario looks for it.
PLANTS = {
    "CANCEL_RETIRES": "cancel",
    "CANCEL_RETURNS": "cancel",
    "CANCEL_DROPPED": "cancel",
    "CANCEL_HIDES": "cancel",
    "NOTIF_IGNORED": "echo-coroutine",
    "SHORT_SUBMIT": "mesh",
    "ENTER_EINTR": "mesh",
    "WAKE_FAILED": "mesh",
    "RECV_ENDED": "echo-callback",
    "RECV_ENOBUFS": "echo-callback",
    "BUF_LEAKED": "echo-callback",
    "ACCEPT_ENDED": "echo-coroutine",
    "ACCEPT_EMFILE": "emfile",
    "ACCEPT_SPINS": "emfile",
    "SEND_SHORT": "echo-future",
    "WRITE_SHORT": "commit",
    "CALL_LATE": "mesh",
    "MESH_ROOM": "mesh",
    "COMMIT_EARLY": "commit",
    "COMMIT_RETRIED": "commit",
    "FSYNC_RETRIED": "commit",
    "DIR_SYNC": "commit",
    "DRAIN_FORGETS": "drain",
    "TIMER_OUTLIVES": "cancel",
}

FAILED = re.compile(r'^seed (\d+): FAILED invariant "(.*?)" ', re.M)
SHRUNK = re.compile(r"^shrunk to (\d+) choices? of (\d+)", re.M)


def planted():
    """The bugs that the header has, with what it says of each."""
    with open(os.path.join(ROOT, "core/plant.h"), encoding="utf-8") as f:
        return dict(re.findall(r"\tX\((\w+)\)\s*/\* (.*?) \*/", f.read()))


def hunt_from(args, plant, first):
    """(seed, invariant, choices or None) of the first that fails; None: none does."""
    command = [args.weir, "sim", PLANTS[plant], "--seed", f"{first}..{args.seeds}", "--shrink",
               "--trials", str(args.trials if args.shrink else 1)]
    if args.jobs:
        command += ["--jobs", str(args.jobs)]
    done = subprocess.run(command, env=dict(os.environ, WEIR_PLANT=plant), text=True,
                          errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = FAILED.search(done.stdout)
    if not found:
        return None
    shrunk = SHRUNK.findall(done.stdout)
    choices = int(shrunk[-1][0]) if shrunk and args.shrink else None
    if args.verbose:
        print(done.stdout[found.start():])
    return int(found.group(1)), found.group(2), choices


def hunt(args, plant):
    """The first that fails, with the choices of the smallest of the first few."""
    first = best = last = hunt_from(args, plant, 1)
    for _ in range(TRIES if first and args.shrink else 0):
        if best[2] is not None and best[2] <= SMALL:
            break
        last = hunt_from(args, plant, last[0] + 1)
        if not last:
            break
        if last[2] is not None and (best[2] is None or last[2] < best[2]):
            best = last
    return first and (first[0], best[1], best[2])


def arguments():
    parser = argparse.ArgumentParser(prog="plants.py", description=__doc__.split("\n")[0])
    parser.add_argument("weir")
    parser.add_argument("plants", nargs="*", metavar="PLANT")
    parser.add_argument("--seeds", type=int, default=10000)
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_intermixed_args()


def main():
    args = arguments()
    about = planted()
    if set(about) != set(PLANTS):
        sys.exit(f"plants.py and core/plant.h differ: {sorted(set(about) ^ set(PLANTS))}")
    bad, seeds = 0, []
    print(f"{'bug':<16} {'scenario':<15} {'seeds':>6} {'choices':>7} {'s':>5}  invariant")
    for plant in args.plants or PLANTS:
        begin = time.monotonic()
        found = hunt(args, plant)
        seconds = time.monotonic() - begin
        if not found:
            bad += 1
            print(f"{plant:<16} {PLANTS[plant]:<15} not found in {args.seeds} ({seconds:.0f} s): "
                  f"{about[plant]}", flush=True)
            continue
        seed, invariant, choices = found
        seeds.append(seed)
        large = args.shrink and (choices is None or choices > SMALL)
        bad += bool(large)
        print(f"{plant:<16} {PLANTS[plant]:<15} {seed:>6} "
              f"{'-' if choices is None else choices:>7} {seconds:>5.0f}  {invariant}"
              f"{'  NOT SMALL' if large else ''}", flush=True)
    if seeds:
        print(f"{len(seeds)} found, median {statistics.median(seeds):.0f} seeds, "
              f"at most {max(seeds)}; {bad} not found or not small")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
