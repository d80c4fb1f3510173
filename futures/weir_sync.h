/* SPDX-License-Identifier: MIT */
/*
 * weir_sync.h - coroutines of one core wait for each other: mutex, condition, rwlock, semaphore,
 * gate, barrier, once, event.
 *
 * Between two waiting calls nothing else runs on the core, so most state needs no lock at all.
 * These are for state that is inconsistent *across* a waiting call, and for rendezvous. All of it
 * belongs to one worker: nothing locks, nothing is atomic, no thread ever blocks. What one core is
 * to tell another goes by weir_mesh.h or a channel.
 *
 * Rules for all of them:
 *
 * - The memory is the caller's and starts with init. fini succeeds only when nobody holds it or
 *   waits for it, else it is -EBUSY and nothing has changed.
 * - Who waits is served first come, first served; what becomes free goes to the first in line,
 * never to one who came later. Lines are bounded by coros_max.
 * - What can be had at once is had at once, whatever the deadline and cancellation say; only a call
 *   that has to wait returns -ETIMEDOUT (deadline_ns or the coroutine's own) or -ECANCELED, and
 *   then it has taken nothing. -EDEADLK where it would wait outside a coroutine. Pass 0 as deadline
 *   to try: -ETIMEDOUT when it would wait.
 * - On another worker than the one that called init, every call returns -EPROTO.
 */
#ifndef WEIR_SYNC_H
#define WEIR_SYNC_H

#include "weir_core.h"
#include "weir_waiters.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- mutex: one at a time --- */

struct weir_mutex {
	struct weir_waiters waiters_;
	void *holder_;
	void *home_;
};

/* Returns 0, -EDEADLK outside a worker. */
WEIR_API int weir_mutex_init(struct weir_mutex *mutex);

/* Returns 0, -EBUSY. */
WEIR_API int weir_mutex_fini(struct weir_mutex *mutex);

/* Returns 0, -EDEADLK outside a coroutine or when the caller holds it; waiting adds its errors. */
WEIR_API int weir_mutex_lock(struct weir_mutex *mutex, int64_t deadline_ns);

/* The first in line has it then. Returns 0, -EPERM when another coroutine holds it or none. */
WEIR_API int weir_mutex_unlock(struct weir_mutex *mutex);

/* --- condition: until somebody says so --- */

struct weir_cond {
	struct weir_waiters waiters_;
	void *home_;
};

/* Returns 0, -EDEADLK outside a worker. */
WEIR_API int weir_cond_init(struct weir_cond *cond);

/* Returns 0, -EBUSY. */
WEIR_API int weir_cond_fini(struct weir_cond *cond);

/*
 * Unlocks mutex, waits for a signal, and has mutex again when it returns, whatever it returns
 * (that part of the wait cannot be cancelled). Look at what you wait for again: others may
 * have come first.
 * Returns 0, -EPERM when the caller does not hold mutex, and the errors of waiting.
 */
WEIR_API int weir_cond_wait(struct weir_cond *cond, struct weir_mutex *mutex, int64_t deadline_ns);

/* Lets the first in line go on; everybody. Nobody there: nothing happens. Returns 0. */
WEIR_API int weir_cond_signal(struct weir_cond *cond);
WEIR_API int weir_cond_broadcast(struct weir_cond *cond);

/* --- rwlock: many read, or one writes --- */

struct weir_rwlock {
	struct weir_waiters waiters_;
	void *writer_;
	unsigned readers_;
	void *home_;
};

/* Returns 0, -EDEADLK outside a worker. */
WEIR_API int weir_rwlock_init(struct weir_rwlock *rwlock);

/* Returns 0, -EBUSY. */
WEIR_API int weir_rwlock_fini(struct weir_rwlock *rwlock);

/*
 * A reader that finds a writer in line stands behind it: neither starves. Reading twice at once in
 * one coroutine may so wait for oneself: do not.
 * Returns 0, -EDEADLK outside a coroutine or when the caller writes; waiting adds its errors.
 */
WEIR_API int weir_rwlock_read(struct weir_rwlock *rwlock, int64_t deadline_ns);
WEIR_API int weir_rwlock_write(struct weir_rwlock *rwlock, int64_t deadline_ns);

/* Ends the caller's reading or writing. Returns 0, -EPERM when nobody reads and it does not write.
 */
WEIR_API int weir_rwlock_unlock(struct weir_rwlock *rwlock);

/* --- semaphore: so many at a time --- */

struct weir_semaphore {
	struct weir_waiters waiters_;
	unsigned count_;
	unsigned count_max_;
	void *home_;
};

/* count units are there, at most count_max ever. Returns 0, -EINVAL for count > count_max or 0. */
WEIR_API int weir_semaphore_init(struct weir_semaphore *semaphore, unsigned count,
				 unsigned count_max);

/* -EBUSY only while somebody waits: units that are out do not count. */
WEIR_API int weir_semaphore_fini(struct weir_semaphore *semaphore);

/* Takes n units, all at once. Returns 0, -EINVAL for 0 or more than count_max; waiting adds its. */
WEIR_API int weir_semaphore_acquire(struct weir_semaphore *semaphore, unsigned n,
				    int64_t deadline_ns);

/* Gives n units. Returns 0, -EINVAL when there would be more than count_max: none was given. */
WEIR_API int weir_semaphore_release(struct weir_semaphore *semaphore, unsigned n);

/* How many units are there now. */
WEIR_API unsigned weir_semaphore_count(const struct weir_semaphore *semaphore);

/* --- gate: who is inside is waited for --- */

struct weir_gate {
	struct weir_waiters waiters_;
	unsigned inside_;
	bool closed_;
	void *home_;
};

/* Returns 0, -EDEADLK outside a worker. */
WEIR_API int weir_gate_init(struct weir_gate *gate);

/* Returns 0, -EBUSY. */
WEIR_API int weir_gate_fini(struct weir_gate *gate);

/* Never waits. Returns 0, -ESHUTDOWN once it is closed. */
WEIR_API int weir_gate_enter(struct weir_gate *gate);

/* Returns 0, -EPERM when nobody is inside. */
WEIR_API int weir_gate_leave(struct weir_gate *gate);

/*
 * Nobody enters from now on; waits until everybody has left. Several may wait. A wait that ended
 * early leaves the gate closed: close again to go on waiting.
 * Returns 0; waiting adds its errors.
 */
WEIR_API int weir_gate_close(struct weir_gate *gate, int64_t deadline_ns);

/* --- barrier: until all are there --- */

struct weir_barrier {
	struct weir_waiters waiters_;
	unsigned count_;
	unsigned there_;
	void *home_;
};

/* For count coroutines at a time. Returns 0, -EINVAL for 0, -EDEADLK outside a worker. */
WEIR_API int weir_barrier_init(struct weir_barrier *barrier, unsigned count);

/* Returns 0, -EBUSY. */
WEIR_API int weir_barrier_fini(struct weir_barrier *barrier);

/*
 * Waits until count coroutines are there; then all go on, and the barrier is as new. Whose wait
 * ends early is not there any more.
 * Returns 1 to the one that came last, 0 to the others; waiting adds its errors.
 */
WEIR_API int weir_barrier_wait(struct weir_barrier *barrier, int64_t deadline_ns);

/* --- once: the first does it, all others wait for it --- */

struct weir_once {
	struct weir_waiters waiters_;
	void *runner_;
	bool done_;
	int res_;
	void *home_;
};

/* Returns 0, -EDEADLK outside a worker. */
WEIR_API int weir_once_init(struct weir_once *once);

/* Returns 0, -EBUSY. */
WEIR_API int weir_once_fini(struct weir_once *once);

/*
 * Calls fn(arg) if nobody has succeeded yet; waits for it if somebody is at it. fn may wait. What
 * it returned (0 or more) is the result from then on; a negative errno goes to its caller only,
 * and the next in line tries.
 * Returns fn's result, -EDEADLK from inside fn; waiting adds its errors.
 */
WEIR_API int weir_once_run(struct weir_once *once, int (*fn)(void *arg), void *arg,
			   int64_t deadline_ns);

/* --- event: set or not --- */

struct weir_event {
	struct weir_waiters waiters_;
	bool set_;
	void *home_;
};

/* Returns 0, -EDEADLK outside a worker. */
WEIR_API int weir_event_init(struct weir_event *event);

/* Returns 0, -EBUSY. */
WEIR_API int weir_event_fini(struct weir_event *event);

/* Lets all who wait go on, and those who come until it is cleared. Returns 0. */
WEIR_API int weir_event_set(struct weir_event *event);

/* Those who come from now on wait. Returns 0. */
WEIR_API int weir_event_clear(struct weir_event *event);

/* Whether who comes now would not wait. */
WEIR_API bool weir_event_is_set(const struct weir_event *event);

/* Returns 0 when it is set, or was since the wait began; waiting adds its errors. */
WEIR_API int weir_event_wait(struct weir_event *event, int64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
