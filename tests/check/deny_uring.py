# SPDX-License-Identifier: MIT
"""deny_uring.py PROGRAM [ARGS...] - becomes PROGRAM behind a seccomp filter that answers the
three io_uring system calls with EPERM, as the default profiles of container engines do.
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
CALLS = (425, 426, 427)     # io_uring_setup, _enter, _register: the same on every architecture
EPERM = 1


def deny():
    """For subprocess's preexec_fn, too. Returns whether it was possible."""
    code = [(0x20, 0, 0, 0)]                                # load the system call's number
    for i, call in enumerate(CALLS):
        code.append((0x15, len(CALLS) - i, 0, call))        # equal: to the last instruction
    code += [(0x06, 0, 0, 0x7fff0000),                      # allow
             (0x06, 0, 0, 0x00050000 | EPERM)]              # errno
    libc = ctypes.CDLL(None, use_errno=True)
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *op) for op in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
    return not libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) and \
        not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program)


if __name__ == "__main__":
    if not deny():
        print("no seccomp filters here", file=sys.stderr)
        sys.exit(77)
    os.execvp(sys.argv[1], sys.argv[1:])
