/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the inside of a thread pool: what pool.c decides under the lock, and what carries it
 * out, threads (pool_posix.c) or, under the simulated kernel, workers (pool_virtual.c).
 *
 * Who wakes whom: of the threads that were woken, or started, and have not looked at the queues
 * yet, there is at most one (pool->searcher). Work that is submitted while there is one wakes
 * nobody; the one that finds work wakes the next as long as there is more. A burst costs its
 * submitter one wake however long it is, and no thread is woken in vain.
 *
 * No work is forgotten: whoever puts work into a queue under the lock, or makes room for its
 * class to run, sees to it before the lock is dropped that a thread looks (weir__pool_seek()) or
 * is itself a thread about to look.
 */
#ifndef WEIR_CORE_POOL_H
#define WEIR_CORE_POOL_H

#include <pthread.h>

#include "core/histogram.h"
#include "core/mesh.h"
#include "core/queue.h"
#include "core/weir_pool.h"
#include "core/waiting.h"
#include "core/weir_task.h"

enum weir__work_state {
	WEIR__WORK_IDLE,	/* the caller's */
	WEIR__WORK_PARKED,	/* in its class's line: there was no room */
	WEIR__WORK_STRANDED,	/* in its strand: the one before has not ended */
	WEIR__WORK_QUEUED,	/* in its class's ready */
	WEIR__WORK_RUNNING,	/* on a thread */
	WEIR__WORK_ENDED,	/* done() is on the way */
};

struct weir__pool_class {
	struct weir_pool_class opts;	/* defaults filled in */
	struct weir_node ready;		/* QUEUED, oldest first */
	struct weir_node line;		/* PARKED, oldest first; empty unless queued is depth_max */
	unsigned queued;		/* QUEUED and STRANDED */
	unsigned parked;		/* in line */
	unsigned running;
	uint64_t done, failed, refused, dropped, expired, cancelled;
	struct weir_histogram *delay;
	struct weir_histogram *run;
};

/* A place for a thread; places are never freed before the pool. */
struct weir__pool_thread {
	struct weir_node node;		/* in pool->resting, or pool->vacant */
	struct weir_pool *pool;
	struct weir_work *work;		/* RUNNING */
	bool woken;
	pthread_cond_t wake;
	/* of a virtual one: */
	struct weir_worker *worker;
	struct weir_task task;
	struct weir_timer timer;
	int64_t since_ns;
	int res;
};

struct weir__pool_parked;

struct weir_pool {
	pthread_mutex_t lock;
	struct weir_pool_opts opts;
	struct weir__pool_class *classes;
	struct weir__pool_thread *threads;
	struct weir_node resting;	/* the one that rested last is last */
	struct weir_node vacant;
	unsigned thread_count;		/* places that are taken */
	unsigned leaving;		/* threads that have left theirs, and are not gone */
	unsigned resting_count;
	bool searcher;			/* one was woken or started and has not looked yet */
	bool closing;
	uint64_t started, died;
	pthread_t gone;			/* ended and not joined */
	bool has_gone;
	struct weir__pool_parked *destroyer;	/* told when the last thread leaves */
	pthread_cond_t empty;		/* so is one that is no coroutine */
	struct weir_node node;		/* among all pools, for metrics */
};

/* What is to be done once the lock was dropped. */
struct weir__pool_after {
	struct weir_queue ended;	/* work to deliver */
	struct weir_queue admitted;	/* struct weir__pool_parked: who waited for room */
	struct weir__pool_thread *wake;
	struct weir__pool_thread *start;
};

/* A coroutine that waits to be told something by another thread. */
struct weir__pool_parked {
	struct weir_post post;		/* its first word also links it in admitted */
	struct weir_wait wait;
	struct weir_mesh *mesh;
	unsigned core;
	int res;
};

static inline void weir__pool_after_init(struct weir__pool_after *after)
{
	weir__queue_init(&after->ended);
	weir__queue_init(&after->admitted);
	after->wake = NULL;
	after->start = NULL;
}

/* Called without the lock: wakes, starts, delivers; after is empty then. */
void weir__pool_carry_out(struct weir__pool_after *after);

static inline bool weir__pool_after_is_empty(const struct weir__pool_after *after)
{
	return !after->wake && !after->start && weir__queue_is_empty(&after->ended) &&
	       weir__queue_is_empty(&after->admitted);
}

/* Under the lock: when there is work for a thread and none seeks it, one shall. */
void weir__pool_seek(struct weir_pool *pool, struct weir__pool_after *after);

/* Under the lock: the work that is next, RUNNING; or NULL. */
struct weir_work *weir__pool_take(struct weir_pool *pool, struct weir__pool_after *after);

/* Under the lock: work ran for run_ns and returned res. */
void weir__pool_finish(struct weir_work *work, int64_t run_ns, int res,
		       struct weir__pool_after *after);

/* Under the lock: thread leaves its place. */
void weir__pool_vacate(struct weir__pool_thread *thread);

/*
 * work, IDLE, becomes this worker's (or thread's) to submit. Returns 0, -EINVAL, -EBUSY,
 * -ESHUTDOWN.
 */
int weir__pool_prepare(struct weir_pool *pool, unsigned class_index, struct weir_work *work,
		       int64_t deadline_ns);

/*
 * Lends count works that are prepared. may_park (of one only): it waits in line when there is no
 * room. Returns how many, or the error of the first; 0 when it was parked.
 */
int weir__pool_put(struct weir_pool *pool, struct weir_work *const *works, unsigned count,
		   bool may_park);

/* As weir_pool_cancel(), with the result that work shall have. */
int weir__pool_take_back(struct weir_work *work, int res);

/* work, that parked waits to submit, is its again: true. False: parked will be told. */
bool weir__pool_unpark(struct weir_work *work);

/* Under the lock of a pool that is closing: ends all that waits. */
void weir__pool_clear(struct weir_pool *pool, struct weir__pool_after *after);

/* Tells parked, whose wait ends with res. Without the lock. */
void weir__pool_tell(struct weir__pool_parked *parked, int res);

/* thread is to run. Returns 0, or an error and it will not. */
int weir__pool_thread_start(struct weir__pool_thread *thread);
int weir__pool_thread_start_virtual(struct weir__pool_thread *thread);

/* The pool of which the calling thread is one, or NULL. */
struct weir_pool *weir__pool_of_thread(void);

/* Pools as metrics. */
void weir__pool_publish(struct weir_pool *pool);
void weir__pool_withdraw(struct weir_pool *pool);

#endif
