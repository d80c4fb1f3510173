/* SPDX-License-Identifier: MIT */
/*
 * runtime.h - the workers of a service as one thing: they start together, drain and stop
 * together, and none leaves before all have nothing left to do.
 *
 *	RUNNING --all rest, no message between them--> ENDED: posts and coroutines are
 *		refused, drivers ask what is in flight to end
 *	ENDED --all rest again, every driver drained--> OVER: the workers leave
 *
 * A worker rests when nothing lives on it, nothing is ready and it is about to sleep. It then
 * adds the numbers of messages it has sent and received to the runtime's under a lock,
 * and takes them away before it handles anything new. So when all rest, the numbers are exact,
 * and when they are equal no message is under way: nothing can ever happen again (Mattern,
 * "Algorithms for distributed termination detection", 1987, with a lock for the second wave).
 */
#ifndef WEIR_CORE_RUNTIME_H
#define WEIR_CORE_RUNTIME_H

#include <pthread.h>

#include "core/weir_runtime.h"
#include "core/worker.h"

enum weir_runtime_state { WEIR_RUNNING, WEIR_ENDED, WEIR_OVER };

/*
 * What runs the workers: threads, or fibers of one thread under a simulated kernel. start()
 * makes body(ctx, index) run somewhere; join() returns when all that were started have
 * returned; pause() lets others run, in a worker that must wait for another.
 */
struct weir__threads {
	int (*start)(void *arg, unsigned index, void (*body)(void *ctx, unsigned index), void *ctx);
	void (*join)(void *arg);
	void (*pause)(void *arg);
	void *arg;
};

struct weir__runtime_plan {
	unsigned core_count;
	struct weir_driver *const *drivers;	/* one per core, not started */
	const int *cpus;		/* one per core; NULL: not pinned */
	struct weir_worker_opts worker;	/* of each; index and runtime are set here */
	unsigned mesh_depth;		/* messages in a lane, a power of two */
	int64_t drain_ns;		/* grace; WEIR_NEVER: no limit */
	int64_t stall_ns;		/* 0 or less: no watchdog */
	bool no_signals;
	void (*on_stall)(const struct weir_stall *stall, void *arg);
	void (*on_dump)(void *arg);
	void *hook_arg;
	int (*service)(void *arg);	/* in a coroutine on each core */
	void *service_arg;
	const struct weir__threads *threads;	/* NULL: POSIX; else no signals, no watchdog */
};

/*
 * Runs the plan until all has ended. The drivers are stopped when it returns, and are the
 * caller's. Returns 0; the first non-zero result of a service; what a driver failed with (then
 * none is stopped, and they are never free again); or -EINVAL, -ENOMEM, -EAGAIN (no thread),
 * -EMFILE, -EBUSY (signals are another runtime's).
 */
int weir__runtime_run(const struct weir__runtime_plan *plan);

struct weir_watchdog;

/* One core's place in the runtime. */
struct weir_seat {
	struct weir_runtime *runtime;
	struct weir_worker *worker;	/* NULL until begun */
	pthread_t thread;
	bool watched;			/* the worker is in its loop; the watchdog reads it */
	bool rests;			/* its numbers are in the runtime's; under the lock */
	uint64_t sent, received;	/* those numbers */
	struct weir_post drain;
	struct weir_post stop;
	struct weir_timer grace;
};

struct weir_runtime {
	/* Read by every worker in every turn, written a few times in its life. */
	unsigned state WEIR__CACHE_ALIGNED;	/* enum weir_runtime_state */
	bool watchdog_dozes;
	bool draining;
	bool stopping;
	struct weir_mesh *mesh;

	struct weir__runtime_plan plan;
	struct weir_seat *seats;
	struct weir_watchdog *watchdog;		/* NULL: none */
	struct weir_post dump;
	unsigned dump_core;
	bool dumping;
	int result;
	unsigned keepers;
	bool is_wreck;			/* a driver failed */
	struct weir_runtime *next_wreck;

	pthread_mutex_t lock WEIR__CACHE_ALIGNED;
	pthread_cond_t moved;
	unsigned resting;
	uint64_t sent, received;		/* of those that rest */
	unsigned begun;
	unsigned left;
	int begin_error;
};

static inline enum weir_runtime_state weir__runtime_state(const struct weir_runtime *runtime)
{
	return (enum weir_runtime_state)__atomic_load_n(&runtime->state, __ATOMIC_ACQUIRE);
}

static inline struct weir_mesh *weir__runtime_mesh(struct weir_runtime *runtime)
{
	return runtime->mesh;
}

/* The worker of core, while that core's seat is watched. */
static inline struct weir_worker *weir__runtime_worker(struct weir_runtime *runtime, unsigned core)
{
	return runtime->seats[core].worker;
}

/*
 * worker is about to sleep and at rest. True when that moved the runtime's state: then it
 * must not sleep, nor rise. weir__runtime_rise() comes before anything new is handled.
 */
bool weir__runtime_rest(struct weir_worker *worker);
void weir__runtime_rise(struct weir_worker *worker);

void weir__watchdog_wake(struct weir_watchdog *watchdog);

/* After each sleep. The watchdog sleeps as well while nothing happens. */
static inline void weir__runtime_note_awake(struct weir_runtime *runtime)
{
	if (weir_unlikely(__atomic_load_n(&runtime->watchdog_dozes, __ATOMIC_SEQ_CST)))
		weir__watchdog_wake(runtime->watchdog);
}

/* As weir_drain() and weir_stop(), from any thread while the runtime lives. */
void weir__runtime_drain(struct weir_runtime *runtime);
void weir__runtime_stop(struct weir_runtime *runtime);

/* Runs plan.on_dump on each core in turn, unless it is still at it. Any thread. */
void weir__runtime_dump(struct weir_runtime *runtime);

#endif
