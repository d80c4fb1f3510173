# SPDX-License-Identifier: MIT
"""all.py - every test in every configuration; see tools/test, which calls it.

A configuration is a build directory in .build/ and a way to run its tests. The unit of
counting is one cmocka case; a program that is not cmocka's, or dies on the way, counts
as one. Each check of the tree counts as one.
"""

import argparse
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILDS = os.path.join(ROOT, ".build")

SANITIZED = ["-Ddebug_checks=true", "-Db_lundef=false", "-Doptimization=1"]
# name: (compiler, meson options, how many times longer a test may take)
CONFIGS = {
    "plain": ("gcc", ["--werror"], 1),
    "clang": ("clang", ["--werror", "-Ddebug_checks=true"], 1),
    "asan": ("gcc", ["-Db_sanitize=address,undefined", *SANITIZED], 4),
    "tsan": ("gcc", ["-Db_sanitize=thread", *SANITIZED], 8),
}
# The plain build's tests where io_uring is not what serves: asked for, by a seccomp filter that
# denies its system calls, and by the sysctl, which holds for the whole machine meanwhile.
KERNELS = {
    "poll": "poll",
    "denied": "auto",
    "sysctl": "auto",
}
NO_KERNEL = ["core", "model", "sim"]     # suites to which it makes no difference
SYSCTL = "/proc/sys/kernel/io_uring_disabled"
CONFIGS.update({name: CONFIGS["plain"] for name in KERNELS})
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
# Not what sums up: "2 test(s), listed below:".
CASE = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] ([\w ,-]+)$", re.M)
RAN = re.compile(r"^\[=+\] Running \d+ test", re.M)


class Count:
    def __init__(self):
        self.passed = self.failed = 0
        self.skips = []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skips += other.skips

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {len(self.skips)} skipped"


def say(text):
    print(text, flush=True)


def environment(name):
    options = ENVIRONMENT.copy()
    suppressions = os.path.join(HERE, "tsan.supp")
    if os.path.exists(suppressions):
        options["TSAN_OPTIONS"] += ":suppressions=" + suppressions
    if name in KERNELS:
        options["WEIR_KERNEL"] = KERNELS[name]
    return dict(os.environ, WEIR_TEST_CONFIG=name, CC=CONFIGS[name][0], **options)


def directory(name):
    return os.path.join(BUILDS, "plain" if name in KERNELS else name)


def is_current(build):
    """Whether build was configured for this place, and after .deps/ was made."""
    mark, deps = os.path.join(build, ".root"), os.path.join(ROOT, ".deps/lib")
    if not os.path.exists(os.path.join(build, "build.ninja")) or not os.path.exists(mark):
        return False
    with open(mark, encoding="utf-8") as f:
        if f.read() != ROOT:
            return False
    return not os.path.exists(deps) or os.path.getmtime(deps) < os.path.getmtime(mark)


def run_quietly(command, env, seconds_max=1500):
    """True when it worked; else what it said is printed."""
    done = subprocess.run(command, env=env, text=True, errors="replace", timeout=seconds_max,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        say(f"{' '.join(command)}\n{done.stdout}")
    return done.returncode == 0


def build_config(name):
    compiler, options, _ = CONFIGS[name]
    build = directory(name)
    if not is_current(build):
        shutil.rmtree(build, ignore_errors=True)
        if not run_quietly(["meson", "setup", build, ROOT, "--prefix", build + "/stage",
                            "-Dtests=enabled", *options], environment(name)):
            return False
        with open(os.path.join(build, ".root"), "w", encoding="utf-8") as f:
            f.write(ROOT)
    return run_quietly(["ninja", "-C", build], environment(name))


def wrapper(name):
    """What the tests of a configuration must be run under, or None: cannot run here.

    ThreadSanitizer's fixed memory map does not fit every address randomisation.
    """
    if name == "denied":
        return [sys.executable, os.path.join(HERE, "deny_uring.py")]
    if name != "tsan":
        return []
    with tempfile.TemporaryDirectory() as work:
        source, program = os.path.join(work, "t.c"), os.path.join(work, "t")
        with open(source, "w", encoding="utf-8") as f:
            f.write("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-fsanitize=thread", source, "-o", program], check=True)
        for before in ([], ["setarch", "-R"]):
            if all(subprocess.run([*before, program], stderr=subprocess.DEVNULL).returncode == 0
                   for _ in range(8)):
                return before
    return None


def last_line(text):
    lines = [line for line in text.strip().splitlines() if not line.startswith("[")]
    return lines[-1].strip() if lines else "gives no reason"


def skip_reason(output, case):
    """What a test printed before it skipped."""
    run = re.search(rf"\] {case}\n(.*?)\[ +SKIPPED +\] {case}", output, re.S)
    return last_line(run.group(1)) if run else "gives no reason"


def count_test(name, test):
    """Counts one program of testlog.json; prints what it said when it failed."""
    count = Count()
    output = test.get("stdout", "") + test.get("stderr", "")
    label = f"{name}: {test['name']}"
    if test["result"] == "SKIP":
        count.skips.append(f"{label}: {last_line(output)}")
        return count
    cases = dict((case, how) for how, case in CASE.findall(output))
    count.passed = sum(how == "OK" for how in cases.values())
    count.failed = sum(how == "FAILED" for how in cases.values())
    count.skips = [f"{label}: {case}: {skip_reason(output, case)}"
                   for case, how in cases.items() if how == "SKIPPED"]
    if test["result"] not in ("OK", "EXPECTEDFAIL"):
        count.failed = max(count.failed, 1)
        say(f"--- {label}: {test['result']} (exit code {test.get('returncode')})\n{output}")
    elif not cases:
        count.passed = 1
        if RAN.search(output):
            count.passed, count.failed = 0, 1
            say(f"--- {label}: a cmocka program that ran no test\n{output}")
    return count


@contextlib.contextmanager
def uring_disabled():
    """Nobody on this machine makes a ring meanwhile."""
    def end(*_):
        sys.exit(1)     # not without putting it back

    with open(SYSCTL, encoding="ascii") as f:
        was = f.read()
    handler = signal.signal(signal.SIGTERM, end)
    try:
        with open(SYSCTL, "w", encoding="ascii") as f:
            f.write("2")
        yield
    finally:
        with open(SYSCTL, "w", encoding="ascii") as f:
            f.write(was)
        signal.signal(signal.SIGTERM, handler)


def run_sysctl():
    why = None
    if os.environ.get("WEIR_TEST_SYSCTL") != "1":
        why = "WEIR_TEST_SYSCTL=1 allows it: it refuses io_uring to the whole machine meanwhile"
    elif not os.access(SYSCTL, os.W_OK):
        why = "kernel.io_uring_disabled cannot be set here"
    if not why:
        with uring_disabled():
            return run_config("sysctl")
    count = Count()
    count.skips.append(f"sysctl: {why}")
    return count


def run_config(name):
    count = Count()
    before = wrapper(name)
    if before is None:
        count.skips.append(f"{name}: its runtime does not start on this kernel")
        return count
    if not build_config(name):
        count.failed = 1
        return count
    logs = os.path.join(directory(name), "meson-logs/testlog*.json")    # named after the wrapper
    for log in glob.glob(logs):
        os.remove(log)
    command = ["meson", "test", "-C", directory(name), "--no-rebuild", "--timeout-multiplier",
               str(CONFIGS[name][2])]
    if before:
        command += ["--wrapper", " ".join(before)]
    for suite in NO_KERNEL if name in KERNELS else []:
        command += ["--no-suite", suite]
    done = subprocess.run(command, env=environment(name), text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    written = glob.glob(logs)
    if len(written) != 1:
        say(f"--- {name}: meson test wrote no log\n{done.stdout}")
        count.failed = 1
        return count
    with open(written[0], encoding="utf-8") as f:
        for line in f:
            count.add(count_test(name, json.loads(line)))
    if done.returncode and not count.failed:
        say(f"--- {name}: meson test ended with {done.returncode}\n{done.stdout}")
        count.failed = 1
    return count


# Bugs of core/plant.h that are found within seconds, of different classes.
PLANTS = ["CANCEL_RETURNS", "SEND_SHORT", "RECV_ENDED", "COMMIT_EARLY", "ACCEPT_EMFILE"]


def build_planted():
    """The command with bugs in it, or None."""
    build = os.path.join(BUILDS, "plants")
    if not is_current(build):
        shutil.rmtree(build, ignore_errors=True)
        if not run_quietly(["meson", "setup", build, ROOT, "-Dtests=disabled", "-Dplants=true"],
                           environment("plain")):
            return None
        with open(os.path.join(build, ".root"), "w", encoding="utf-8") as f:
            f.write(ROOT)
    weir = os.path.join(build, "tools/weir")
    return weir if run_quietly(["ninja", "-C", build, "tools/weir"], environment("plain")) else None


def run_sim(seeds=200):
    """Every scenario over some seeds, each twice; kept seeds; and bugs that must be found."""
    count = Count()
    planted = build_planted()
    if not build_config("plain") or not planted:
        count.failed = 1
        return count
    for script, *args in [["run.py", os.path.join(directory("plain"), "tools/weir"),
                           "--seeds", str(seeds)],
                          ["plants.py", planted, *PLANTS]]:
        command = [sys.executable, "-B", os.path.join(ROOT, "tests/sim", script), *args]
        done = subprocess.run(command, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        good = done.stdout.count("\nok ") + done.stdout.startswith("ok ")
        good += sum(done.stdout.count(f"\n{plant} ") for plant in PLANTS)
        count.passed += good
        if done.returncode:
            say(f"--- sim: {script}\n{done.stdout}")
            count.failed += 1
    return count


def run_checks():
    """Each program of tests/check; those that look at a build look at the plain one."""
    count = Count()
    plain = directory("plain")
    built = build_config("plain")
    checks = [["layers.py", ROOT], ["style.py", ROOT], ["headers.py", ROOT],
              ["readme.py", ROOT],
              ["exports.py", ROOT, plain], ["seam.py", ROOT, plain],
              ["install.py", ROOT, plain], ["selftest.py"]]
    if os.path.exists(os.path.join(ROOT, "tests/bench/meson.build")):
        ok = built and run_quietly(["ninja", "-C", plain, "bench"], environment("plain"))
        count.passed, count.failed = int(ok), int(not ok)
        say(f"checks: the benchmarks compile: {'ok' if ok else 'FAILED'}")
    for script, *args in checks:
        if plain in args and not built:
            ok = False
        else:
            ok = run_quietly([sys.executable, "-B", os.path.join(HERE, script), *args],
                             dict(os.environ))
        count.passed += ok
        count.failed += not ok
        say(f"checks: {script[:-3]}: {'ok' if ok else 'FAILED'}")
    return count


def arguments():
    names = [*CONFIGS, "sim", "checks"]
    about = "plain: gcc, as released; clang: with contract checks; asan, tsan: sanitizers; " \
            "poll: plain on the poll kernel; denied: plain where seccomp denies io_uring; " \
            "sysctl: plain where kernel.io_uring_disabled is 2; " \
            "sim: scenarios under seeds, each twice, and planted bugs that must be found; " \
            "checks: headers, layers, style, exported symbols, installation"
    parser = argparse.ArgumentParser(prog="tools/test", epilog=about)
    parser.add_argument("--quick", action="store_true", help="the plain build's tests only")
    parser.add_argument("--only", action="append", choices=names, help="may be repeated")
    parser.add_argument("--list", action="store_true", help="names the configurations")
    args = parser.parse_args()
    if args.list:
        say("\n".join(names))
        sys.exit(0)
    return ["plain"] if args.quick else args.only or names


def main():
    total = Count()
    for name in arguments():
        begin = time.monotonic()
        say(f"{name}: ...")
        other = {"checks": run_checks, "sim": run_sim, "sysctl": run_sysctl}
        count = other[name]() if name in other else run_config(name)
        say(f"{name}: {count} ({time.monotonic() - begin:.0f} s)")
        total.add(count)
    for reason in total.skips:
        say(f"skipped: {reason}")
    say(str(total))
    sys.exit(1 if total.failed or not total.passed else 0)


if __name__ == "__main__":
    main()
