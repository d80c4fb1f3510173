/* SPDX-License-Identifier: MIT */
/*
 * thread_runtime.h - a runtime of real threads on drivers without a ring.
 *
 *	struct thread_runtime rt;
 *
 *	thread_runtime_init(&rt, 2, service, arg);
 *	rt.plan.drain_ns = WEIR_MS;
 *	assert_int_equal(thread_runtime_run(&rt), 0);
 */
#ifndef WEIR_TESTS_THREAD_RUNTIME_H
#define WEIR_TESTS_THREAD_RUNTIME_H

#include "core/runtime.h"
#include "tests/support/thread_driver.h"

#define THREAD_RUNTIME_CORES_MAX 8

struct thread_runtime {
	struct thread_driver thread_drivers[THREAD_RUNTIME_CORES_MAX];
	struct weir_driver *drivers[THREAD_RUNTIME_CORES_MAX];
	struct weir__runtime_plan plan;
};

static inline void thread_runtime_init(struct thread_runtime *rt, unsigned cores,
				       int (*service)(void *arg), void *arg)
{
	unsigned i;

	for (i = 0; i < cores; i++) {
		thread_driver_init(&rt->thread_drivers[i]);
		rt->drivers[i] = &rt->thread_drivers[i].driver;
	}
	rt->plan = (struct weir__runtime_plan){
		.core_count = cores,
		.drivers = rt->drivers,
		.worker.spin_ns_max = -1,
		.worker.coros.coros_max = 1024,
		.mesh_depth = 64,
		.drain_ns = 10 * WEIR_S,
		.no_signals = true,
		.service = service,
		.service_arg = arg,
	};
}

static inline int thread_runtime_run(struct thread_runtime *rt)
{
	int r = weir__runtime_run(&rt->plan);
	unsigned i;

	for (i = 0; i < rt->plan.core_count; i++)
		thread_driver_fini(&rt->thread_drivers[i]);
	return r;
}

#endif
