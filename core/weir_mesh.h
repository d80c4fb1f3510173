/* SPDX-License-Identifier: MIT */
/*
 * weir_mesh.h - cores talk to each other: post a function, or call one and await it.
 *
 * Between every ordered pair of cores runs one bounded ring with a single producer
 * and a single consumer. What a turn posts is published at the end of the turn, and a
 * peer is woken only when it sleeps. Messages from one core to another arrive in order.
 */
#ifndef WEIR_MESH_H
#define WEIR_MESH_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs on the receiving core. Must not wait: spawn a coroutine for what does. */
typedef void (*weir_post_fn)(void *arg);

/* This worker's core number, from 0; -1 outside a worker. Any thread. */
WEIR_API int weir_core(void);

/* How many cores the runtime runs; 0 outside a worker. */
WEIR_API unsigned weir_core_count(void);

/*
 * Runs fn(arg) on core (may be one's own: then it runs once the calling task has ended). Waits,
 * in order, while the ring to that core is full. arg must stay valid until fn ran.
 * Returns 0, -EINVAL for a core that is not there, -ESHUTDOWN when the runtime has ended its
 * work, -ECANCELED, -ETIMEDOUT, -EDEADLK outside a coroutine.
 */
WEIR_API int weir_post(unsigned core, weir_post_fn fn, void *arg, int64_t deadline_ns);

/*
 * The same without waiting: -EAGAIN when the ring to that core is full, or others wait for room
 * in it. Callable outside a coroutine.
 */
WEIR_API int weir_post_try(unsigned core, weir_post_fn fn, void *arg);

/*
 * What any thread (one that is no worker too) posts to a core: memory the caller lends
 * until fn(post) runs there. Never full, since the caller brings the memory.
 */
struct weir_post {
	void *next_;
	void (*fn_)(struct weir_post *post);
};

struct weir_runtime;

/* The runtime of this worker, to be handed to other threads. NULL outside a worker. */
WEIR_API struct weir_runtime *weir_runtime_self(void);

/*
 * Runs fn(post) on core. Any thread, but not in a signal handler. Posts to one core run in the
 * order in which they were posted. They do not keep the runtime running: hold on to a coroutine
 * there that waits for them. A thread that outlives weir_run() keeps the runtime first
 * (weir_runtime_keep()).
 * Returns 0, -EINVAL for a core that is not there, -ESHUTDOWN once the runtime has ended its
 * work (then nothing was lent).
 */
WEIR_API int weir_post_any(struct weir_runtime *runtime, unsigned core, struct weir_post *post,
			   void (*fn)(struct weir_post *post));

/* What it returns is what weir_call() gives. Runs in a coroutine of that core: may wait. */
typedef int (*weir_call_fn)(void *arg);

/*
 * Runs fn(arg) in a coroutine on core and waits for its result. The deadline (or the caller's
 * own, when that is earlier) travels with the call and counts while it is queued: a call
 * whose deadline passed before it started is not run. Once fn has started the caller stays
 * until it has ended (arg may be on the caller's stack): the deadline is the one of the
 * coroutine that runs fn, and cancelling the caller cancels that coroutine.
 * *ret_res is what fn returned, set when 0 is returned.
 * Returns 0, -EINVAL, -ESHUTDOWN, -ECANCELED or -ETIMEDOUT (fn was not started), -ENOBUFS /
 * -ENOMEM (that core has no coroutine left for it), -EDEADLK outside a coroutine.
 */
WEIR_API int weir_call(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns,
		       int *ret_res);

/* The same for a function that never waits: no coroutine is taken for it. */
WEIR_API int weir_call_quick(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns,
			     int *ret_res);

#ifdef __cplusplus
}
#endif

#endif
