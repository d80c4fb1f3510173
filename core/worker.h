/* SPDX-License-Identifier: MIT */
/*
 * worker.h - one core's worker: its run queue, its clock, its timers, its
 * coroutines, its ports to the other cores, its counters, and the loop over them.
 *
 * A turn:
 *
 *	run ready tasks within a budget -> run the tasks kept for the end of the
 *	turn -> publish messages to other cores -> driver turn (submit, wait, reap)
 *	-> take what other cores and threads sent -> fire timers
 *
 * Only the worker's own thread touches any of it, except the inboxes (mesh.h) and
 * the sleep word, which say so.
 */
#ifndef WEIR_CORE_WORKER_H
#define WEIR_CORE_WORKER_H

#include "core/driver.h"
#include "core/queue.h"
#include "core/weir_task.h"
#include "core/wheel.h"		/* struct weir_wheel */
#include "core/coro.h"		/* struct weir_coros: all about this worker's coroutines */
#include "core/mesh.h"		/* struct weir_port: this worker's end of the mesh */
#include "core/metrics.h"	/* struct weir_metrics: this worker's counters */

struct weir_runtime;

struct weir_worker_opts {
	unsigned index;			/* its core number in the runtime, from 0 */
	unsigned budget_tasks;		/* tasks run between two driver turns; default 256 */
	int64_t budget_ns;		/* and time; default 100 us, checked every 16 tasks */
	int64_t spin_ns_max;		/* adaptive spin before sleeping; default 50 us, 0 never spins */
	struct weir_coros_opts coros;
	struct weir_runtime *runtime;	/* NULL: a worker on its own (tests) */
};

struct weir_worker {
	/* Hot: one or two cache lines. */
	int64_t now_ns;			/* the clock, read once a turn */
	struct weir_queue ready;	/* QUEUED tasks, FIFO */
	struct weir_queue last;		/* tasks for the end of the turn */
	struct weir_driver *driver;
	uint64_t turns;			/* relaxed atomic for the watchdog */

	struct weir_wheel wheel;
	struct weir_coros coros;
	struct weir_port port;
	struct weir_metrics metrics;

	struct weir_worker_opts opts;
	struct weir_runtime *runtime;
	unsigned index;
	unsigned live;			/* coroutines and holds: at 0 the worker has ended its work */
	bool stopping;			/* every coroutine was cancelled; new ones are refused */
	void *ring;			/* ring/'s own: struct weir_ring of this worker */
	void *net;			/* net/'s own per-core state, NULL until used */
	void *futures;			/* futures/'s own per-core state, NULL until used */
	struct weir_queue exits;	/* weir__worker_at_exit() */

	/* Adaptive spin, see worker.c. */
	int64_t spin_ns;		/* the next wait's spin */
	int64_t idle_since_ns;
};

/* The worker whose thread this is (under the simulated kernel: whose turn it is), or NULL. */
extern _Thread_local struct weir_worker *weir__self;

int weir__worker_init(struct weir_worker *worker, struct weir_driver *driver,
		      const struct weir_worker_opts *opts);
void weir__worker_fini(struct weir_worker *worker);

/*
 * What a layer above core keeps per worker ends with it: run() is called by
 * weir__worker_fini(), before anything of the worker is gone. Lent until run().
 */
struct weir_worker_exit {
	struct weir_link link;
	void (*run)(struct weir_worker_exit *hook);
};

static inline void weir__worker_at_exit(struct weir_worker *worker, struct weir_worker_exit *hook)
{
	weir__queue_push(&worker->exits, &hook->link);
}

/* Runs turns on the calling thread until the worker has ended its work (live is 0 and the runtime agrees). */
int weir__worker_loop(struct weir_worker *worker);

/* One turn; waits no longer than wait_until_ns. For loop, tests and the simulated kernel. */
int weir__worker_turn(struct weir_worker *worker, int64_t wait_until_ns);

/* Keep the worker alive although no coroutine lives: a listener with callbacks. */
void weir__worker_hold(struct weir_worker *worker);
void weir__worker_release(struct weir_worker *worker);

/*
 * What happens when the service is asked to stop. run() is called on the hook's own
 * worker, once, when draining starts; at once if it has. Linked until removed.
 */
struct weir_drain_hook {
	struct weir_node node;
	void (*run)(struct weir_drain_hook *hook);
};

void weir__worker_on_drain(struct weir_worker *worker, struct weir_drain_hook *hook);
void weir__worker_off_drain(struct weir_worker *worker, struct weir_drain_hook *hook);

#endif
