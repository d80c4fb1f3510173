/* SPDX-License-Identifier: MIT */
/*
 * driver.h - what a worker needs from the outside: time, a place to wait, a way
 * to be woken. ring/ implements it; the tests of core/ implement it in ten
 * lines. core/ knows nothing of io_uring because of this file.
 */
#ifndef WEIR_CORE_DRIVER_H
#define WEIR_CORE_DRIVER_H

#include "core/weir_core.h"

struct weir_driver;
struct weir_worker;

struct weir_driver_ops {
	/* On the worker's own thread, before its first turn. Returns 0 or -errno. */
	int (*start)(struct weir_driver *driver);

	/*
	 * One system call at most: hand over what is queued, wait until something
	 * happens or wait_until_ns (0: do not wait; WEIR_NEVER: no limit), then call
	 * weir__worker_awake(), then run what completed. Completions ready tasks on the
	 * driver's worker. May return early. Returns how many completions ran, or -errno
	 * for a driver that cannot go on.
	 */
	int (*turn)(struct weir_driver *driver, int64_t wait_until_ns);

	/* Whether turn() would find something without waiting. A load or two: it is spun on. */
	bool (*is_ready)(struct weir_driver *driver);

	/*
	 * Ends the current or the next wait of driver. from is the driver of the
	 * calling worker, whose next turn may carry the wake, or NULL on a thread
	 * that has none (then the wake happens before wake() returns).
	 */
	void (*wake)(struct weir_driver *driver, struct weir_driver *from);

	int64_t (*now)(struct weir_driver *driver);
	uint64_t (*random)(struct weir_driver *driver);

	/*
	 * True once nothing is in flight any more. Called repeatedly while the
	 * worker stops; the first call asks everything that is left to end.
	 */
	bool (*is_drained)(struct weir_driver *driver);

	/* On the worker's own thread, after its last turn. Frees nothing. */
	void (*stop)(struct weir_driver *driver);
};

/* The implementer embeds it. */
struct weir_driver {
	const struct weir_driver_ops *ops;
	struct weir_worker *worker; /* set by weir__worker_init() */
};

#endif
