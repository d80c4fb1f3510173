/* SPDX-License-Identifier: MIT */
/*
 * weir_coro.h - coroutines: functions that wait without holding their core.
 *
 * A coroutine has a stack of its own, runs on the worker that spawned it and never
 * moves. It runs until it waits; every function of the library that can wait says so,
 * and waits in the calling coroutine only. Between two waits nothing else runs on the
 * core, so no lock is needed.
 *
 *	READY --the worker picks it--> RUNNING --a waiting call--> WAITING
 *	  ^----------what it waited for happened-----------------------'
 *	RUNNING --fn returns--> ENDED (gone as soon as it is joined, or was detached)
 *
 * Cancelling is asking. weir_coro_cancel() makes the current waiting call of the
 * coroutine, and every later one, return -ECANCELED, each once what it had started has
 * really ended: no buffer is in use by the kernel when a waiting call has returned.
 * Deadlines work the same way with -ETIMEDOUT.
 *
 * The stack is small (64 KiB by default) and guarded: one that overflows ends the process
 * with SIGSEGV, after a line on stderr that names the coroutine. Floating-point control words
 * (fesetround()) are the thread's: put them back before the next waiting call.
 */
#ifndef WEIR_CORO_H
#define WEIR_CORO_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_coro;

/* A coroutine's body. What it returns is what weir_coro_join() gives. */
typedef int (*weir_coro_fn)(void *arg);

/* Zero means the default for every member. */
struct weir_coro_opts {
	const char *name;	/* shown in dumps, metrics and reports; borrowed: a literal, or
				 * outlives the coroutine. Default "coroutine". */
	int64_t deadline_ns;	/* absolute: waiting calls return -ETIMEDOUT after it. Default (0):
				 * the spawning coroutine's own deadline. */
	bool detached;		/* nobody joins it: gone when it ends */
};

/*
 * Starts fn(arg) in a new coroutine on this worker, READY behind what is ready already.
 * opts may be NULL. With opts->detached, ret may be NULL; else *ret is the caller's to
 * join (once). Stacks come from the worker's pool, their size and number are options of
 * weir_run().
 * Returns 0, -ENOBUFS when coros_max coroutines live on this worker (one that has ended but
 * was not joined counts), -ENOMEM, -ESHUTDOWN when the worker has ended its work or this
 * thread is none, -EINVAL without fn, or without ret when not detached. On error fn was
 * not and will not be called.
 */
WEIR_API int weir_coro_spawn(const struct weir_coro_opts *opts, weir_coro_fn fn, void *arg,
			     struct weir_coro **ret);

/*
 * Waits until coro has ended and frees it. *ret_res (may be NULL) is what its function
 * returned. When the wait itself ends early (the caller was cancelled, deadline_ns
 * passed) coro is still the caller's to join. What has ended is joined without waiting,
 * even by a cancelled coroutine or outside of one.
 * Returns 0, -ECANCELED, -ETIMEDOUT, -EDEADLK (it would wait, for oneself or outside a
 * coroutine), -EBUSY when somebody else joins coro or it was detached.
 */
WEIR_API int weir_coro_join(struct weir_coro *coro, int64_t deadline_ns, int *ret_res);

/* Nobody will join coro: it is gone when it ends, or now if it has. Once, and not while joined. */
WEIR_API void weir_coro_detach(struct weir_coro *coro);

/*
 * Asks coro to end: its present and all its later waiting calls return -ECANCELED.
 * Does not wait. Cancelling twice, or what has ended, does nothing. May be oneself.
 */
WEIR_API void weir_coro_cancel(struct weir_coro *coro);

/* Whether the calling coroutine was asked to end. False outside a coroutine. */
WEIR_API bool weir_coro_is_cancelled(void);

/*
 * Shields the calling coroutine: until the matching weir_coro_unshield() its waiting
 * calls ignore cancellation and the coroutine's deadline (their own deadlines count).
 * For the last words of a handler. Nests.
 */
WEIR_API void weir_coro_shield(void);
WEIR_API void weir_coro_unshield(void);

/*
 * Sets the deadline of the calling coroutine (absolute; WEIR_NEVER: none) and returns
 * the one it had. Every waiting call ends by the earlier of this and its own deadline.
 */
WEIR_API int64_t weir_coro_set_deadline(int64_t deadline_ns);

/* The calling coroutine's deadline; WEIR_NEVER outside a coroutine. */
WEIR_API int64_t weir_coro_deadline(void);

/*
 * Lets everything that is ready run first. Returns 0, or -ECANCELED / -ETIMEDOUT as a waiting
 * call would (it still has let others run), -EDEADLK outside a coroutine.
 */
WEIR_API int weir_yield(void);

/*
 * Waits ns nanoseconds; 0 and less is weir_yield(). Returns 0, -ECANCELED, -ETIMEDOUT (the
 * coroutine's deadline came first), -EDEADLK outside a coroutine.
 */
WEIR_API int weir_sleep(int64_t ns);

/* The running coroutine, or NULL outside of one. */
WEIR_API struct weir_coro *weir_coro_self(void);

/* A coroutine's name. */
WEIR_API const char *weir_coro_name(const struct weir_coro *coro);

/* Renames coro; name is borrowed as in weir_coro_opts. */
WEIR_API void weir_coro_set_name(struct weir_coro *coro, const char *name);

#define WEIR_CORO_LOCALS 4

/*
 * Local data of the calling coroutine: WEIR_CORO_LOCALS pointers, NULL at start, that follow
 * it wherever it waits. index < WEIR_CORO_LOCALS. drop (may be NULL) is called with a value
 * that is not NULL when the coroutine ends, in the coroutine; replacing a value does not drop it.
 * set returns 0, -EINVAL for an index out of range, -EDEADLK outside a coroutine; get returns NULL
 * then.
 */
WEIR_API int weir_coro_local_set(unsigned index, void *value, void (*drop)(void *value));
WEIR_API void *weir_coro_local_get(unsigned index);

/* One coroutine in a listing. Strings live as long as the coroutine. */
struct weir_coro_info {
	const char *name;
	const char *state;	/* "running", "ready", "ended", or the wait: "sleep", "read" */
	int64_t since_ns;	/* when it entered that state, the weir_now() clock */
	int64_t deadline_ns;
	size_t stack_used;	/* bytes of stack in use now */
	size_t stack_high;	/* the most its stack was ever in use, bytes (whole pages) */
	bool cancelled;
};

/*
 * Calls visit for each coroutine of this worker, oldest first, until it returns
 * non-zero, and returns that; else 0. visit must not wait or spawn.
 */
WEIR_API int weir_coro_list(int (*visit)(const struct weir_coro_info *info, void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
