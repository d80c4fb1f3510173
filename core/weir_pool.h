/* SPDX-License-Identifier: MIT */
/*
 * weir_pool.h - a thread pool: long-lived threads take what blocks or computes off the workers, and
 * the result comes back into a turn of the worker that asked.
 *
 *	struct weir_pool_class classes[] = {
 *		{ .name = "dns", .threads_max = 2 },
 *		{ .name = "zip", .priority = 1, .depth_max = 64, .full = WEIR_POOL_REJECT },
 *	};
 *	struct weir_pool_opts opts = { .classes = classes, .class_count = 2 };
 *
 *	r = weir_pool_create(&opts, &pool);
 *	...
 *	in a coroutine:
 *	r = weir_pool_run(pool, 0, look_up, &query, weir_in(WEIR_S), &found);
 *
 * Work is memory that the caller lends:
 *
 *	IDLE --submit--> QUEUED --taken--> RUNNING --fn returned--> ENDED --done()--> IDLE
 *	  (full: parked)   '--cancelled, expired, dropped, the pool ends----^
 *
 * Each class has a bound on what waits, an answer for when that is reached, a bound on the threads
 * that it may hold at once (so that names that do not resolve cannot keep files waiting) and a
 * priority. Threads are started when work finds none idle, the one that rested last is woken
 * first, and one that finds nothing to do for idle_ns ends. What was submitted by a worker keeps
 * that worker running until done() was called.
 *
 * Any thread may call anything here, work's own functions included, unless it says otherwise. A
 * lock protects a pool: it is held for list operations, never while work runs. Under the
 * simulated kernel work runs in the worker that started its thread, takes as long as the seed
 * says, and sees no worker, as on a thread.
 */
#ifndef WEIR_POOL_H
#define WEIR_POOL_H

#include "weir_core.h"
#include "weir_mesh.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_pool;
struct weir_strand;
struct weir_work;

#define WEIR_POOL_CLASSES_MAX 16
#define WEIR_POOL_THREADS_MAX 1024

/* Runs on a thread of the pool; may block; what it returns is what done() is given. No function of
 * the library that belongs to a worker works there: each returns its error. */
typedef int (*weir_work_fn)(struct weir_work *work);

/*
 * work is IDLE when this runs: it may be submitted again, or freed. On the worker that submitted
 * it, and must not wait; on a thread of the pool, or the one that cancels, if no worker did.
 * res is what fn returned, or fn was not run and res is -ECANCELED, -ETIMEDOUT (its deadline passed
 * while it was queued), -ENOBUFS (dropped), -ESHUTDOWN (the pool ended) or -EAGAIN (the pool has no
 * thread left, and the system starts none); or -EOWNERDEAD: fn ended its thread (pthread_exit()).
 */
typedef void (*weir_work_done_fn)(struct weir_work *work, int res);

/* The caller's memory. */
struct weir_work {
	weir_work_fn fn_;
	weir_work_done_fn done_;
	struct weir_post post_;
	void *next_, *prev_;
	struct weir_pool *pool_;
	struct weir_strand *strand_;
	void *parked_;		/* the coroutine that waits to submit it */
	void *mesh_;		/* of the worker that submitted it; NULL: none did */
	int64_t deadline_ns_;
	int64_t since_ns_;	/* queued */
	int res_;
	unsigned core_;
	unsigned class_;
	unsigned state_;
	bool cancelled_;
};

/* Makes work IDLE. Neither function is NULL. */
WEIR_API void weir_work_init(struct weir_work *work, weir_work_fn fn, weir_work_done_fn done);

/* Whether work that runs was asked to end: for a fn that takes long to look at. */
WEIR_API bool weir_work_is_cancelled(const struct weir_work *work);

/* What happens to work that finds depth_max of its class waiting. */
enum weir_pool_full {
	WEIR_POOL_PARK,		/* who submits it in a coroutine waits; else as REJECT */
	WEIR_POOL_REJECT,	/* -EAGAIN: nothing was taken */
	WEIR_POOL_DROP_OLD,	/* the one that waits longest ends with -ENOBUFS */
	WEIR_POOL_DROP_NEW,	/* it ends with -ENOBUFS itself */
};

/* Zero means the default for every member. */
struct weir_pool_class {
	const char *name;	/* for metrics; borrowed. Default "default" */
	unsigned threads_max;	/* that run this class at once. Default: those of the pool */
	unsigned depth_max;	/* work that waits. Default 1024 */
	int priority;		/* higher first; among equals, what waits longest. Default 0 */
	enum weir_pool_full full;
};

/* Zero means the default for every member. */
struct weir_pool_opts {
	const char *name;	/* for metrics and threads; borrowed. Default "pool" */
	unsigned threads_min;	/* that stay. Default 1 */
	unsigned threads_max;	/* default: weir_cpus(), at least 4 */
	int64_t idle_ns;	/* until a thread above the minimum ends. Default 10 s */
	const struct weir_pool_class *classes;	/* copied. Default: one of defaults */
	unsigned class_count;	/* at most WEIR_POOL_CLASSES_MAX */
	const int *cpus;	/* that the threads run on; copied. Default: those of the process */
	unsigned cpu_count;
	void (*thread_start)(void *arg);	/* on each thread, first; may be NULL */
	void (*thread_end)(void *arg);		/* last */
	void *arg;
};

/*
 * Starts a pool with threads_min threads. opts may be NULL. *ret_pool is the caller's to destroy.
 * Returns 0, -EINVAL (threads_min above threads_max, or above WEIR_POOL_THREADS_MAX, too many
 * classes, no such CPU), -ENOMEM, -EAGAIN when the system starts no thread.
 */
WEIR_API int weir_pool_create(const struct weir_pool_opts *opts, struct weir_pool **ret_pool);

/*
 * Ends what is queued with -ESHUTDOWN, waits for what runs, frees the pool. pool may be NULL.
 * In a coroutine it waits there, whatever deadline and cancellation say; a thread that is no
 * worker is blocked. From the first call on nobody else may use the pool.
 * Returns 0, -EDEADLK on a worker outside a coroutine, or on one of the pool's own threads: then
 * nothing has changed.
 */
WEIR_API int weir_pool_destroy(struct weir_pool *pool);

/*
 * Lends work, IDLE, to pool. It is not run once deadline_ns has passed (WEIR_NEVER: no deadline).
 * Waits for room as the class says; waiting ends with the coroutine's own deadline and
 * cancellation too.
 * Returns 0: done() will be called, once; on a worker not before its next turn. On error nothing
 * was lent: -EINVAL (no such class), -EBUSY (work is not IDLE), -EAGAIN (full), -ESHUTDOWN (the
 * pool is being destroyed, or the calling worker's runtime has ended its work), -ECANCELED,
 * -ETIMEDOUT.
 */
WEIR_API int weir_pool_submit(struct weir_pool *pool, unsigned class_index, struct weir_work *work,
			      int64_t deadline_ns);

/*
 * Lends count of them at once, in order, with one lock and one wake; never waits. Returns how many
 * were lent, the first ones; or an error as above when it was none.
 */
WEIR_API int weir_pool_submit_many(struct weir_pool *pool, unsigned class_index,
				   struct weir_work *const *works, unsigned count,
				   int64_t deadline_ns);

/*
 * Takes back what has not begun: done() comes with -ECANCELED. Returns 0; -EALREADY when it runs
 * (it is told, see weir_work_is_cancelled()) or its end is on the way; -ENOENT when it is IDLE.
 */
WEIR_API int weir_pool_cancel(struct weir_work *work);

/* What weir_pool_run() runs, on a thread of the pool. */
typedef int (*weir_pool_fn)(void *arg);

/*
 * Runs fn(arg) on a thread and waits for it in the calling coroutine. *ret_res (may be NULL) is
 * what fn returned, set when 0 is returned. Once fn has begun the caller stays until it has
 * ended: arg may be on its stack.
 * Returns 0, or fn was not run: -ECANCELED, -ETIMEDOUT, -EAGAIN (full), -ENOBUFS (dropped),
 * -ESHUTDOWN, -EINVAL, -EDEADLK outside a coroutine; -EOWNERDEAD: fn ended its thread.
 */
WEIR_API int weir_pool_run(struct weir_pool *pool, unsigned class_index, weir_pool_fn fn, void *arg,
			   int64_t deadline_ns, int *ret_res);

/* One piece of weir_pool_for(): [first, end). */
typedef int (*weir_pool_for_fn)(size_t first, size_t end, void *arg);

/*
 * Runs fn over [0, count) in pieces of up to grain (0: sixteen pieces a thread) on as many threads
 * as the class may have and can be had at once; waits in the calling coroutine. The first error
 * that fn returns ends it: pieces not begun are not run. So does cancelling the caller.
 * Returns 0 when every piece returned 0; the error; -ENOMEM; else as weir_pool_run().
 */
WEIR_API int weir_pool_for(struct weir_pool *pool, unsigned class_index, size_t count, size_t grain,
			   weir_pool_for_fn fn, void *arg);

/*
 * A strand: work submitted through it runs one after the other, in order, on whatever thread. The
 * caller's memory. Counts in its class's depth.
 */
struct weir_strand {
	void *next_, *prev_;	/* work that waits for the one before it */
	struct weir_pool *pool_;
	unsigned class_;
	unsigned count_;	/* lent and not ended */
	bool busy_;		/* one is queued or runs */
};

/* Returns 0, -EINVAL (no such class). strand must not move afterwards. */
WEIR_API int weir_strand_init(struct weir_strand *strand, struct weir_pool *pool,
			      unsigned class_index);

/* Returns 0, -EBUSY while work of it waits or runs. */
WEIR_API int weir_strand_fini(struct weir_strand *strand);

/* As weir_pool_submit(). */
WEIR_API int weir_strand_submit(struct weir_strand *strand, struct weir_work *work,
				int64_t deadline_ns);

struct weir_pool_info {
	const char *name;
	unsigned threads, threads_max;
	unsigned idle;
	uint64_t started;	/* threads, ever */
	uint64_t died;		/* of them, by the work they ran */
	unsigned class_count;
};

struct weir_pool_class_info {
	const char *name;
	unsigned queued, depth_max;
	unsigned parked;	/* who waits for room */
	unsigned running, threads_max;
	uint64_t done;		/* fn returned 0 or more */
	uint64_t failed;	/* it returned an error, or ended its thread */
	uint64_t refused, dropped, expired, cancelled;
	int64_t delay_p50_ns, delay_p99_ns, delay_max_ns;	/* queued until it ran */
	int64_t run_p50_ns, run_p99_ns, run_max_ns;
};

/* What there is now. */
WEIR_API void weir_pool_info(struct weir_pool *pool, struct weir_pool_info *ret_info);

/* Returns 0, -EINVAL (no such class). The same numbers are metrics: weir_pool_*. */
WEIR_API int weir_pool_class_info(struct weir_pool *pool, unsigned class_index,
				  struct weir_pool_class_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
