/* SPDX-License-Identifier: MIT */
/*
 * weir_process_chan.h - a channel between two processes: memory that both have mapped, in which one
 * sends and one receives. No daemon, no system call while both are awake.
 *
 *	int fds[WEIR_PROCESS_CHAN_FDS];
 *
 *	r = weir_process_chan_create(&opts, fds);		before fork(), or by anybody
 *	...							each process, on one of its workers:
 *	r = weir_process_chan_attach(fds, WEIR_SENDS, &chan);	and WEIR_RECEIVES in the other
 *	r = weir_process_chan_send(chan, &job, WEIR_NEVER);
 *
 * The descriptors go to the other process by fork(), or over a Unix socket (SCM_RIGHTS). The memory
 * is sealed: neither can take it from the other. Neither believes what the other writes there.
 *
 * When a process dies, the other is told so by a pidfd: what the dead had sent completely is still
 * received, then -EPIPE; sending is -EPIPE at once. Another process may then attach in its
 * place, and goes on where it was; one that was replaced while it lived is told -EPIPE. Process ids
 * are those of one pid namespace.
 *
 * A channel belongs to the worker that attached it (-EPROTO elsewhere) and to one coroutine at a
 * time
 * (-EBUSY). In a simulated world there are no other processes: -ENOSYS.
 */
#ifndef WEIR_PROCESS_CHAN_H
#define WEIR_PROCESS_CHAN_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_process_chan;

#define WEIR_PROCESS_CHAN_FDS 3
#define WEIR_PROCESS_CHAN_SIZE_MAX (1u << 30)

enum weir_process_chan_side { WEIR_SENDS, WEIR_RECEIVES };

/* Zero means the default where there is one. */
struct weir_process_chan_opts {
	uint32_t item_size;	/* bytes of each; required */
	uint32_t capacity;	/* items; made a power of two. Default 64 */
};

/*
 * Makes the memory (ret_fds[0]) and two sockets, the caller's to close; all are CLOEXEC. Any
 * thread. Returns 0, -EINVAL (no item_size, or more than WEIR_PROCESS_CHAN_SIZE_MAX bytes in all),
 * -ENOSYS, -EMFILE, -ENFILE, -ENOMEM.
 */
WEIR_API int weir_process_chan_create(const struct weir_process_chan_opts *opts,
				      int ret_fds[WEIR_PROCESS_CHAN_FDS]);

/*
 * Becomes the side of the channel behind fds, which are the channel's on success. *ret_chan is the
 * caller's to destroy.
 * Returns 0, -EBUSY (a process that lives has that side), -EPROTO (that is no such memory, or it
 * is not sealed), -EINVAL, -ENOMEM, -EMFILE, -ENOSYS (also a kernel without pidfds, before 5.3),
 * -EDEADLK outside a worker.
 */
WEIR_API int weir_process_chan_attach(const int fds[WEIR_PROCESS_CHAN_FDS],
				      enum weir_process_chan_side side,
				      struct weir_process_chan **ret_chan);

/*
 * Closes the side and frees chan; NULL is fine. What was sent is still received by the other. In a
 * coroutine: waits until its operations have retired, whatever deadline and cancellation say.
 * Returns 0, -EBUSY while a coroutine waits at it, -EPROTO, -EDEADLK outside a coroutine.
 */
WEIR_API int weir_process_chan_destroy(struct weir_process_chan *chan);

/*
 * Sends *item; waits while the channel is full. Returns 0, -EPIPE (the receiver has closed or died,
 * or another process has taken our place), -EPROTO (the peer has written nonsense: destroy chan),
 * -EINVAL (this is the receiving side), -EBUSY, -ENOBUFS (no slot to wait in), -ECANCELED,
 * -ETIMEDOUT (deadline_ns 0: it is full), -EDEADLK outside a coroutine when it would wait.
 */
WEIR_API int weir_process_chan_send(struct weir_process_chan *chan, const void *item,
				    int64_t deadline_ns);

/* Sends count items, told to the peer as they fit. Returns how many, or the error when none. */
WEIR_API ssize_t weir_process_chan_send_n(struct weir_process_chan *chan, const void *items,
					  unsigned count, int64_t deadline_ns);

/* Receives into *item. Returns 0, -EPIPE when all was received and the sender has closed or died;
 * else as weir_process_chan_send(). */
WEIR_API int weir_process_chan_receive(struct weir_process_chan *chan, void *item,
				       int64_t deadline_ns);

/* Up to count items, at least one; waits for the first only. Returns how many, or the error. */
WEIR_API ssize_t weir_process_chan_receive_n(struct weir_process_chan *chan, void *items,
					     unsigned count, int64_t deadline_ns);

/* Says that nothing more will be sent, or received. Again, it does nothing. Returns 0, -EPROTO. */
WEIR_API int weir_process_chan_close(struct weir_process_chan *chan);

struct weir_process_chan_info {
	uint32_t item_size, capacity;
	uint32_t count;			/* items inside */
	uint32_t generation;		/* which process this is in its side, from 1 */
	int64_t peer_pid;		/* 0: nobody has attached there */
	bool peer_is_gone;		/* closed, or dead */
	uint64_t wakes;			/* of the peer, by us */
	uint64_t sleeps;
};

/* Levels. Returns 0, -EPROTO. */
WEIR_API int weir_process_chan_info(const struct weir_process_chan *chan,
				    struct weir_process_chan_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
