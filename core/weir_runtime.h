/* SPDX-License-Identifier: MIT */
/*
 * weir_runtime.h - the runtime a worker belongs to: draining, stopping, stalls.
 *
 *	running --SIGTERM, SIGINT or weir_drain()--> draining: listeners stop accepting,
 *		connections finish what they have begun
 *	draining --everything ended--> weir_run() returns
 *	draining --the grace passed, or a second signal--> every coroutine is cancelled
 */
#ifndef WEIR_RUNTIME_H
#define WEIR_RUNTIME_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A stall: a task that held its core too long. Strings and frames live during the call. */
struct weir_stall {
	unsigned core;
	const char *name;	/* of the coroutine, or "task" */
	int64_t held_ns;	/* so far */
	void *const *frames;	/* backtrace, innermost first: backtrace_symbols() reads it */
	int frame_count;
};

/* Starts draining, as SIGTERM does. Returns at once. On a worker of the runtime. */
WEIR_API void weir_drain(void);

/* Cancels every coroutine of every core now, as a second signal does. On a worker. */
WEIR_API void weir_stop(void);

/* Whether draining has started. False outside a worker. */
WEIR_API bool weir_is_draining(void);

struct weir_runtime;

/*
 * Keeps the memory of runtime until the matching drop, so that a thread that is no worker can
 * post to it and be refused (-ESHUTDOWN) once weir_run() has returned. Keeps nothing
 * running. The first keep is to be called on a worker, or by who has kept already. Any thread.
 */
WEIR_API void weir_runtime_keep(struct weir_runtime *runtime);
WEIR_API void weir_runtime_drop(struct weir_runtime *runtime);

/*
 * How many workers a runtime has by default: the CPUs of the process's affinity mask, at
 * most the cgroup's CPU quota rounded up, at least 1. Any thread.
 */
WEIR_API unsigned weir_cpus(void);

#ifdef __cplusplus
}
#endif

#endif
