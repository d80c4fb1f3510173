# SPDX-License-Identifier: MIT
"""seam.py ROOT BUILD - only the seam reaches outside: in the objects of the library, what reads
a clock, draws a random number or talks to the system stands in the files named here.

A simulated run depends on its seed alone because of this; at run time ring/sim/guard.c catches
what is called, here also what never was. An entry that is not needed is a complaint too.
"""

import glob
import os
import re
import subprocess

import tree

# Looked for among the symbols that an object needs; 64 at the end, _chk and the like are off.
SYMBOLS = {
    "clock": """clock clock_getres clock_gettime clock_nanosleep ctime ftime gettimeofday gmtime
        gmtime_r localtime localtime_r mktime nanosleep sleep time timer_create timerfd_create
        times timespec_get usleep""",
    "chance": """arc4random arc4random_buf arc4random_uniform drand48 erand48 getentropy getrandom
        jrand48 lrand48 mkstemp mrand48 nrand48 rand rand_r random random_r srand srand48
        srandom""",
    "system": """accept accept4 bind close connect creat dup dup2 dup3 epoll_create
        epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd execv execve fallocate fcntl
        fdatasync fopen fork fstat fstatfs fsync ftruncate getaddrinfo getcpu gethostname
        getpeername getpid getppid getrlimit getsockname getsockopt gettid
        io_uring_enter io_uring_queue_exit
        io_uring_queue_init_params io_uring_register io_uring_setup ioctl kill linkat listen
        lseek lstat mkdir mkdirat open openat openat2 pidfd_open pipe pipe2 poll ppoll pread
        preadv preadv2 pthread_create pwrite pwritev pwritev2 read readlink readv recv recvfrom
        recvmmsg recvmsg rename renameat renameat2 sched_getaffinity sched_getcpu select send
        sendfile sendmmsg sendmsg sendto setsockopt shutdown sigaction signalfd socket socketpair
        splice stat statx symlinkat sync_file_range sysconf syscall sysinfo tee truncate uname
        unlink unlinkat wait4 waitpid write writev""",
}
INSTRUCTIONS = {
    "clock": "rdtsc rdtscp",
    "chance": "rdrand rdseed",
    "system": "syscall sysenter svc int80",
}
OF_SYMBOL = {name: group for group, names in SYMBOLS.items() for name in names.split()}
OF_INSTRUCTION = {n: group for group, names in INSTRUCTIONS.items() for n in names.split()}

# file or folder: (groups, why it may)
ALLOWED = {
    "core/clock.c": ("clock chance", "asks the simulated world first"),
    "core/cpus.c": ("system", "counts CPUs where there is no simulated world"),
    "core/ensure.c": ("system", "says which assertion failed"),
    "core/overflow.c": ("system", "reports a stack overflow: the process is about to die"),
    "core/pool_posix.c": ("system", "threads of a pool, where there is no simulated world"),
    "core/signals.c": ("system", "signals of real processes"),
    "core/stack.c": ("system", "page size; how many mappings this process may have"),
    "core/threads_posix.c": ("system", "workers as threads"),
    "core/watchdog.c": ("clock system", "watches real time; a simulated world has none"),
    "futures/process_chan_posix.c": ("system", "memory shared with real processes"),
    "ring/choose.c": ("system", "why io_uring is refused on this host"),
    "ring/kernel_uring.c": ("clock chance system", "the seam: the Linux kernel"),
    "ring/opts.c": ("system", "RLIMIT_NOFILE, where there is no simulated world"),
    "ring/poll/": ("clock system", "the seam: the poll kernel"),
    "ring/probe.c": ("system", "what this host offers"),
    "ring/sim/": ("system", "the command line, its processes and the guard"),
}


def sources(root):
    """{as the object's file begins: path} of what the library is made of."""
    return {path.replace("/", "_"): path for path in tree.files(root, tree.LIBRARY, ".c", ".S")}


def objects(root, build):
    """{path of the source: path of its object}."""
    known = sources(root)
    paths = sorted(glob.glob(os.path.join(build, "libweir*.p", "*.o")))
    names = {os.path.basename(path)[:-2]: path for path in paths}
    return {known[name]: path for name, path in names.items() if name in known}


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def plain(symbol):
    """The name in C of a symbol: __read_chk, open64, statx@GLIBC_2.28."""
    symbol = re.sub(r"@.*", "", symbol)
    symbol = re.sub(r"^_+(\w+?)(_chk|_2)$", r"\1", symbol)
    return re.sub(r"64(v2)?$", lambda m: "2" if m.group(1) else "", symbol)


def needs(path):
    """(group, name) of all that an object reaches outside with."""
    for line in run("nm", "-u", path).splitlines():
        name = plain(line.split()[-1])
        if name in OF_SYMBOL:
            yield OF_SYMBOL[name], name
    code = run("objdump", "-d", "--no-show-raw-insn", path)
    for name in set(re.findall(r"^\s*[0-9a-f]+:\s+(\w+)", code, re.M)):
        if name in OF_INSTRUCTION:
            yield OF_INSTRUCTION[name], name


def entry_of(source, group):
    """The entry of ALLOWED by which source may, or None."""
    for entry, (groups, _) in ALLOWED.items():
        whole = source.startswith(entry) if entry.endswith("/") else source == entry
        if whole and group in groups.split():
            return entry
    return None


def check(root, build):
    used, seen = set(), objects(root, build)
    for source, path in seen.items():
        for group, name in sorted(set(needs(path))):
            entry = entry_of(source, group)
            used.add((entry, group))
            if not entry:
                yield f"{source}: calls {name} ({group}): that goes through the seam"
    if not seen:
        yield f"{build}: no object of the library"
    for entry, (groups, _) in ALLOWED.items():
        for group in groups.split():
            if (entry, group) not in used and any(s.startswith(entry) for s in seen):
                yield f"tests/check/seam.py: {entry} does not need {group} any more"


if __name__ == "__main__":
    tree.main(check)
