/* SPDX-License-Identifier: MIT */
/*
 * weir_fds.h - descriptors travel: from process to process over a Unix socket (SCM_RIGHTS,
 *unix(7)).
 *
 *	r = weir_fds_send(socket, fds, 3, WEIR_NEVER);		here
 *	n = weir_fds_receive(socket, fds, 3, WEIR_NEVER);	there: other numbers, the same files
 *
 * Between cores of one process a descriptor is a number: send it through a channel, and let one
 *core at a time use it. Direct descriptors (weir_file.h) belong to one ring and do not travel.
 */
#ifndef WEIR_FDS_H
#define WEIR_FDS_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_FDS_MAX 64

/*
 * Sends count descriptors (1 to WEIR_FDS_MAX) as one message over socket, a connected Unix socket;
 * waits while it is full. They stay the caller's: the message has references of its own.
 * Returns 0, -EINVAL, -EBADF (one of them is none, or socket is), -EPIPE / -ECONNRESET (the peer is
 * gone), -ETOOMANYREFS (too many are on their way), -EOPNOTSUPP (not a Unix socket), -ECANCELED,
 * -ETIMEDOUT, -EDEADLK outside a coroutine, -ENOSYS in a simulated world.
 */
WEIR_API int weir_fds_send(int socket, const int *fds, unsigned count, int64_t deadline_ns);

/*
 * Receives one message of at most max descriptors into ret_fds; they are CLOEXEC, and the caller's
 * to close. Returns how many; -EPIPE when the peer has ended; -EPROTO: a message without
 * descriptors, or with more than max, or the process has no room for all (RLIMIT_NOFILE): what came
 * was closed; else as weir_fds_send().
 */
WEIR_API int weir_fds_receive(int socket, int *ret_fds, unsigned max, int64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
