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
#include "core/spin.h"		/* struct weir_spin: whether to poll before sleeping */

struct weir_runtime;

struct weir_worker_opts {
	unsigned index;			/* its core number in the runtime, from 0 */
	unsigned budget_tasks;		/* tasks run between two driver turns; default 256 */
	int64_t budget_ns;		/* and time; default 100 us, checked every 16 tasks */
	int64_t spin_ns_max;		/* of a spin before sleeping; default 50 us; < 0: never */
	struct weir_coros_opts coros;
	unsigned futures_max;		/* for futures/; default 1,048,576 */
	struct weir_runtime *runtime;	/* NULL: a worker on its own (tests) */
};

struct weir_worker {
	/* Hot: two cache lines. */
	int64_t now_ns;			/* the clock, read once a turn */
	struct weir_queue ready;	/* QUEUED tasks, FIFO */
	struct weir_queue last;		/* tasks for the end of the turn */
	struct weir_driver *driver;
	unsigned tasks_left;		/* before the next look at the budget: the loop counts it,
					 * and coroutines that hand over directly (handover.h) */
	uint64_t progress;		/* grows with each task and callback: for the watchdog */
	uint64_t turns;
	uint64_t completions;		/* the driver's, and the mesh's batches */
	uint64_t active_bits;		/* bit (slot & 63): a source that completed lately */
	bool waiting;			/* in the driver's wait; the watchdog reads it */
	bool awake;			/* weir__worker_awake() was called in this turn */

	struct weir_spin spin;
	struct weir_port port;
	struct weir_metrics metrics;
	struct weir_coros coros;
	struct weir_wheel wheel;

	struct weir_worker_opts opts;
	struct weir_runtime *runtime;	/* NULL: a worker on its own */
	struct weir_mesh *own_mesh;	/* of a worker on its own, else NULL */
	unsigned index;
	unsigned live;			/* coroutines and holds; at 0 its work has ended */
	bool looping;			/* in weir__worker_loop(): sleeping may end the work */
	bool draining;			/* the drain hooks ran */
	bool stopping;			/* every coroutine was cancelled; new ones are refused */
	struct weir_node drain_hooks;
	struct weir_node credit_waits;	/* core/credit.h: who waits for credit, oldest first */
	void *ring;			/* ring/'s own: struct weir_ring of this worker */
	void *net;			/* net/'s own per-core state, NULL until used */
	void *futures;			/* futures/'s own per-core state, NULL until used */
	struct weir_queue exits;	/* weir__worker_at_exit() */
};

/* The worker whose thread this is (under the simulated kernel: whose turn it is), or NULL. */
extern _Thread_local struct weir_worker *weir__self;

/*
 * On the worker's own thread. opts may be NULL: the defaults, on its own. A worker
 * with a runtime takes its place in the runtime's mesh, one without gets a mesh of one core.
 * Makes worker weir__self. Returns 0, -EINVAL or -ENOMEM.
 */
int weir__worker_init(struct weir_worker *worker, struct weir_driver *driver,
		      const struct weir_worker_opts *opts);

/* Nothing lives on it any more. weir__self is NULL afterwards. */
void weir__worker_fini(struct weir_worker *worker);

/* Each task and each callback is one step: what the watchdog sees move. */
static inline void weir__worker_progress(struct weir_worker *worker)
{
	__atomic_store_n(&worker->progress, worker->progress + 1, __ATOMIC_RELAXED);
}

/* Something from this source (a slot, a core) was completed. */
static inline void weir__worker_completed(struct weir_worker *worker, unsigned source)
{
	worker->active_bits |= UINT64_C(1) << (source & 63);
	worker->completions++;
}

/*
 * A driver calls it in turn(), after its wait and before the first completion: reads the
 * clock, and the core is awake for others.
 */
void weir__worker_awake(struct weir_worker *worker);

static inline void weir__ready(struct weir_worker *worker, struct weir_task *task)
{
	if (task->queued_)
		return;
	task->queued_ = true;
	weir__queue_push(&worker->ready, (struct weir_link *)(void *)&task->next_);
}

static inline void weir__ready_last(struct weir_worker *worker, struct weir_task *task)
{
	if (task->queued_)
		return;
	task->queued_ = true;
	weir__queue_push(&worker->last, (struct weir_link *)(void *)&task->next_);
}

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

/*
 * Runs turns on the calling thread until the worker has ended its work (live is 0 and the
 * runtime agrees) and the driver is drained. Returns 0, or what the driver failed with.
 */
int weir__worker_loop(struct weir_worker *worker);

/*
 * One turn; waits no longer than wait_until_ns (0: not at all). Makes worker weir__self. For
 * loop, tests and the simulated kernel. Returns 0, or what the driver failed with.
 */
int weir__worker_turn(struct weir_worker *worker, int64_t wait_until_ns);

/* Whether nothing lives, nothing is ready and no message waits to be published. */
bool weir__worker_is_quiet(const struct weir_worker *worker);

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

/* hook may have run, or never have been linked (zeroed). */
void weir__worker_off_drain(struct weir_worker *worker, struct weir_drain_hook *hook);

/* Runs the drain hooks, once. */
void weir__worker_drain(struct weir_worker *worker);

/* Drains, refuses new coroutines and cancels those that live. */
void weir__worker_stop(struct weir_worker *worker);

#endif
