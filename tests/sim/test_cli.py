# SPDX-License-Identifier: MIT
"""test_cli.py TOYS - the command line of the simulator as its user meets it: toys.c is a program
of small scenarios with weir_sim_main().

Prints what cmocka prints, so that each case is counted.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback

TOYS = os.path.abspath(sys.argv[1])
TIMEOUT = 120
# Under a sanitizer the guard lets through what its runtime does: see ring/sim/guard.c.
CONFIG = os.environ.get("WEIR_TEST_CONFIG")
SANITIZED = CONFIG in ("asan", "tsan")


class Run:
    """What `toys WORDS` said, and its exit code."""

    def __init__(self, *words, **kwargs):
        done = subprocess.run([TOYS, *words], text=True, errors="replace", timeout=TIMEOUT,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              **kwargs)
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.lines = self.out.splitlines()

    def hashes(self):
        return dict(re.findall(r"^seed (\d+): ok, trace hash ([0-9a-f]{16})$", self.out, re.M))

    def __str__(self):
        return f"exit code {self.code}\n{self.out}{self.err}"


def expect(run, code, *texts):
    assert run.code == code, f"wants {code}\n{run}"
    for text in texts:
        assert text in run.out + run.err, f"wants '{text}'\n{run}"
    return run


# --- usage ---

def a_wrong_word_is_named_with_its_remedy():
    for words, text in (
            ([], "which scenario? --list shows them"),
            (["fone"], "no scenario 'fone'; the nearest is 'fine'"),
            (["fine", "three"], "'three' is one scenario too many"),
            (["fine", "--seed", "x"], "a range with the larger last, as 7 or 1..200"),
            (["fine", "--seed", "9..3"], "a range with the larger last"),
            (["fine", "--seed", "-1"], "a range with the larger last"),
            (["fine", "--seed", "99999999999999999999"], "a range with the larger last"),
            (["fine", "--faults", "shrt"], "all none order late"),
            (["fine", "--profile", "4.4"], "one of 5.15, 6.1, 6.6, 6.12, 6.18"),
            (["fine", "--trace", "/nowhere/t"], "No such file or directory; name a file"),
            (["fine", "--trace", "/dev/null", "--seed", "1..2"], "give one --seed, or --shrink"),
            (["fine", "--choices", "a@1#2"], "'a@1#2' is no choice: site@host#nth=value"),
            (["fine", "--choices", "a@1#2=1", "--seed", "1..2"], "of one run: give one --seed"),
            (["fine", "--until", "0"], "a number from 1 to"),
            (["fine", "--jobs", "65"], "a number from 1 to 64"),
            (["fine", "--shrink", "--twice"], "--shrink goes neither with --twice"),
            (["fine", "--bogus"], "--help shows the options")):
        run = expect(Run(*words), 64, text)
        assert not run.out, f"{words} prints on stdout\n{run}"


def the_list_names_every_scenario():
    run = expect(Run("--list"), 0)
    assert re.search(r"^fine +a peer that says what it is told$", run.out, re.M), run
    assert re.search(r"^three *$", run.out, re.M), run


def help_names_every_class():
    expect(Run("--help"), 0, "--choices", "partition", "half-open")


# --- seeds ---

def a_seed_has_its_hash_alone_and_in_a_campaign():
    many = expect(Run("fine", "--seed", "1..30", "--jobs", "3"), 0).hashes()
    assert list(many) == [str(seed) for seed in range(1, 31)], many
    assert len(set(many.values())) > 20, many
    for seed in ("1", "17", "30"):
        alone = expect(Run("fine", "--seed", seed), 0).hashes()
        assert alone[seed] == many[seed], f"seed {seed}: {alone} and {many[seed]}"


def equal_runs_are_equal_and_others_are_told_apart():
    expect(Run("fine", "--seed", "1..20", "--twice"), 0)
    expect(Run("depends", "--faults", "none", "--twice"), 1,
           'FAILED invariant "equal runs are equal" (not deterministic: record ')


def a_run_stops_at_its_choice():
    run = expect(Run("fine", "--seed", "3", "--until", "60"), 0)
    assert re.search(r"^seed 3: stopped at choice 60, \d\.\d{6} s, trace hash ", run.out, re.M), run


def the_summary_counts_what_was_seen():
    run = expect(Run("fine", "--seed", "1..40"), 0, "fine: 40 seeds, 0 failed")
    assert re.search(r"^virtual time : CPU time \d+ : 1; [\d.]+ M compl", run.out, re.M), run
    assert re.search(r"^faults: .*short \d+", run.out, re.M), run
    assert "marks: 1 of 1 reached" in run.out, run


def coverage_fails_for_what_was_never_reached():
    expect(Run("fine", "--faults", "none", "--coverage"), 0, 'mark "an answer came": reached')
    expect(Run("unmarked", "--faults", "none", "--coverage"), 1,
           'mark "never seen": never reached')
    run = expect(Run("unmarked", "--faults", "datagram", "--every-class", "--coverage"), 1)
    assert re.search(r"^datagram +1 +0  never hit$", run.out, re.M), run


# --- failures ---

def printed_command(run):
    """The first command that a run says replays it."""
    command = re.search(r"^  (\S*toys .*)$", run.out, re.M)
    assert command, run
    return shlex.split(command.group(1))[1:]


def a_failure_names_its_invariant_and_the_command_that_replays_it():
    run = expect(Run("three", "--seed", "1..5", "--faults", "order,late"), 1)
    failed = re.findall(r'^seed (\d+): FAILED invariant "never all three" \(.*\) at 0\.\d{3} s, '
                        r"choice \d+$", run.out, re.M)
    assert failed, run
    words = printed_command(run)
    assert words == ["three", "--seed", failed[0], "--faults", "order,late"], words
    again = expect(Run(*words), 1)
    assert again.lines[0] in run.lines, f"{again}\n{run}"


def a_process_that_ends_is_a_failed_seed_and_the_others_go_on():
    crash = "it exited with" if SANITIZED else "signal 11"
    for toy, text in (("crash", crash), ("give_up", "signal 6"), ("leave", "it exited with 3")):
        run = expect(Run(toy, "--seed", "1..3", "--faults", "none"), 1, "3 seeds, 3 failed")
        found = re.findall(r'^seed (\d): FAILED invariant "the process survives" \((.*)\) at 1\.',
                           run.out, re.M)
        assert [seed for seed, _ in found] == ["1", "2", "3"], run
        assert all(text in seen for _, seen in found), run
    expect(Run("give_up"), 1, "  | toys: giving up")


def a_run_that_hangs_is_ended():
    where = [] if CONFIG == "tsan" else ["  | "]    # which holds signals back until a call
    expect(Run("hang", "--timeout", "1", "--faults", "none"), 1,
           'FAILED invariant "the run ends"', "at 1.000 s", *where)


def a_world_that_is_not_built_is_a_failed_seed():
    expect(Run("refused"), 1, 'FAILED invariant "the world is built" (No space left on device)')


# --- the guard ---

def what_leaves_the_seam_is_caught():
    toys = {
        "read_clock": "the clock was read",
        "read_seconds": "the clock was read",
        "seed_by_time": "the clock was read",
        "read_tsc": "the clock was read",
        "open_file": "(openat)",
        "close_number": "(close)",
        "draw_random": "(getrandom)",
    }
    if SANITIZED:
        toys = {"draw_random": toys["draw_random"]}
    for toy, text in toys.items():
        run = expect(Run(toy, "--faults", "none"), 1,
                     'FAILED invariant "nothing leaves the seam" (', text, "at 1.000 s")
        assert len(re.findall(r"^  \| .*\[0x[0-9a-f]+\]$", run.out, re.M)) > 2, run


# --- shrinking ---

def a_failing_run_is_shrunk_to_what_matters():
    run = expect(Run("three", "--seed", "1..20", "--shrink"), 1)
    found = re.search(r"^shrunk to (\d+) choices of (\d+), in (\d+) runs", run.out, re.M)
    assert found, run
    small, large, trials = map(int, found.groups())
    assert small == 3 and large > 100 and trials < 2000, run
    sites = re.findall(r"^  draw@0#(\d+)=1 +at 0\.\d+ s, choice \d+: draw on client, time \d+$",
                       run.out, re.M)
    assert sites == ["20", "150", "280"], run
    command = re.search(r"^  \S*toys (three --seed \d+ --choices .*)$", run.out, re.M)
    again = expect(Run(*shlex.split(command.group(1))), 1,
                   'FAILED invariant "never all three"')
    assert again.lines[0] in run.lines, f"{again}\n{run}"


def a_crash_is_shrunk_too():
    expect(Run("give_up", "--shrink"), 1, "shrunk to 0 choices of ")


def shrinking_is_bounded():
    run = expect(Run("three", "--seed", "1..20", "--shrink", "--trials", "5"), 1,
                 "(no more are allowed)")
    assert int(re.search(r" in (\d+) runs", run.out).group(1)) < 5 + 64, run


# --- the trace ---

def check_trace(path):
    with open(path, encoding="utf-8") as f:
        events = json.load(f)
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    last, open_ops = 0.0, set()
    for event in events:
        assert event["pid"] in names, event
        if event["ph"] == "M":
            continue
        assert event["ts"] >= last, event
        last = event["ts"]
        if event["ph"] in "be":
            assert (event["id"] in open_ops) == (event["ph"] == "e"), event
            (open_ops.add if event["ph"] == "b" else open_ops.remove)(event["id"])
    return events, set(names.values())


def a_trace_has_operations_hosts_and_choices():
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "trace.json")
        first = expect(Run("fine", "--seed", "5", "--every-class", "--faults", "short,latency",
                           "--trace", path), 0).hashes()
        events, hosts = check_trace(path)
        assert hosts >= {"server", "client"}, hosts
        ops = {e["name"] for e in events if e["ph"] == "b"}
        assert ops >= {"ACCEPT", "CONNECT", "SEND", "RECV"}, ops
        results = [e["args"]["res"] for e in events if e["ph"] == "n" and e["name"] == "SEND"]
        assert 5 in results or sum(r for r in results if r > 0) >= 5, results
        choices = [e["args"]["choice"] for e in events if e["ph"] == "i" and e["args"]["b"]]
        assert choices and choices == sorted(choices) and choices[-1] > 0, choices
        without = expect(Run("fine", "--seed", "5", "--every-class", "--faults", "short,latency"),
                         0).hashes()
        assert first == without, "writing a trace changes the run"


def a_run_that_dies_leaves_its_trace():
    for toy in ("give_up", "hang"):
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "trace.json")
            expect(Run(toy, "--faults", "none", "--timeout", "1", "--trace", path), 1)
            events, _ = check_trace(path)
            assert any(e["name"] == "start" for e in events), events


CASES = [
    a_wrong_word_is_named_with_its_remedy,
    the_list_names_every_scenario,
    help_names_every_class,
    a_seed_has_its_hash_alone_and_in_a_campaign,
    equal_runs_are_equal_and_others_are_told_apart,
    a_run_stops_at_its_choice,
    the_summary_counts_what_was_seen,
    coverage_fails_for_what_was_never_reached,
    a_failure_names_its_invariant_and_the_command_that_replays_it,
    a_process_that_ends_is_a_failed_seed_and_the_others_go_on,
    a_run_that_hangs_is_ended,
    a_world_that_is_not_built_is_a_failed_seed,
    what_leaves_the_seam_is_caught,
    a_failing_run_is_shrunk_to_what_matters,
    a_crash_is_shrunk_too,
    shrinking_is_bounded,
    a_trace_has_operations_hosts_and_choices,
    a_run_that_dies_leaves_its_trace,
]


def main():
    failed = 0
    print(f"[==========] Running {len(CASES)} test(s).")
    for case in CASES:
        name = case.__name__
        print(f"[ RUN      ] {name}", flush=True)
        try:
            case()
            print(f"[       OK ] {name}", flush=True)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            print(f"[  FAILED  ] {name}", flush=True)
            failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
