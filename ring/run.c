/* SPDX-License-Identifier: MIT */
/*
 * run.c - weir_run(): a ring for each core on the chosen kernel, then core/'s runtime.
 *
 * All rings are made here, disabled, before any worker runs: every ring's descriptor is
 * known to every worker from its first turn, and they are closed here after the last worker has
 * left, so a wake never meets a ring that is gone.
 */
#include "ring/weir_run.h"

#include "core/alloc.h"
#include "core/cpus.h"
#include "core/runtime.h"
#include "core/world.h"
#include "ring/choose.h"
#include "ring/ring.h"

#define SQ_SIZE 1024
#define CQ_SIZE 8192

struct rings {
	unsigned count;
	struct weir_driver **drivers;
	int *cpus;
};

static void rings_destroy(struct rings *rings, unsigned count)
{
	for (unsigned i = 0; rings->drivers && i < count; i++)
		weir__ring_destroy(
			weir_container_of(rings->drivers[i], struct weir_ring, driver));
	weir__free(rings->drivers, rings->count * sizeof(struct weir_driver *));
	weir__free(rings->cpus, rings->count * sizeof(int));
}

static int rings_create(struct rings *rings, const struct weir_opts *o, struct weir_kernel *kernel,
			const struct weir_kernel_info *info)
{
	struct weir_ring_opts opts = {
		.kernel = kernel,
		.kernel_info = info,
		.depth = o->depth,
		.armed_max = o->conns_max + 64,	/* and the listeners' accepts */
		.direct_max = o->conns_max + 64,
		.bufs = o->bufs,
		.buf_size = o->buf_size,
		.sq_size = SQ_SIZE,
		.cq_size = o->depth * 2 > CQ_SIZE ? o->depth * 2 : CQ_SIZE,
	};

	rings->count = o->cores;
	rings->drivers = weir__calloc(o->cores, sizeof(struct weir_driver *));
	rings->cpus = weir__calloc(o->cores, sizeof(int));
	if (!rings->drivers || !rings->cpus) {
		rings_destroy(rings, 0);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < o->cores; i++) {
		struct weir_ring *ring;
		int r = weir__ring_create(&opts, &ring);

		if (r < 0) {
			rings_destroy(rings, i);
			return r;
		}
		rings->drivers[i] = &ring->driver;
	}
	if (!weir__world)
		weir__cpus_list(rings->cpus, o->cores);
	return 0;
}

static struct weir__runtime_plan plan_of(const struct weir_opts *o, const struct rings *rings)
{
	return (struct weir__runtime_plan){
		.core_count = o->cores,
		.drivers = rings->drivers,
		.cpus = o->no_pin ? NULL : rings->cpus,
		.worker = {
			.spin_ns_max = o->spin_ns > 0 ? o->spin_ns : -1,
			.coros = { .coros_max = o->coros_max, .stack_size = o->stack_size },
			.futures_max = o->futures_max,
		},
		.mesh_depth = o->mesh_depth,
		.drain_ns = o->drain_ns,
		.stall_ns = o->stall_ns,
		.no_signals = o->no_signals,
		.on_stall = o->on_stall,
		.on_dump = o->on_dump,
		.hook_arg = o->arg,
	};
}

/* Sizes at which every bound is met soon; right all the same. */
static void shrink(struct weir_opts *o)
{
	if (weir__buggify("tiny-depth"))
		o->depth = 16;
	if (weir__buggify("tiny-bufs"))
		o->bufs = 8;
	if (weir__buggify("tiny-buf-size"))
		o->buf_size = 64;
	if (weir__buggify("tiny-mesh"))
		o->mesh_depth = 16;
}

static void enter_world(struct weir__runtime_plan *plan)
{
	plan->threads = weir__world->threads;
	plan->cpus = NULL;
	if (weir__buggify("tiny-budget"))
		plan->worker.budget_tasks = 1;
}

int weir_run(const struct weir_opts *opts, weir_service_fn service, void *arg)
{
	struct weir_opts o = { 0 };
	struct weir_kernel *kernel;
	struct weir_kernel_info info;
	struct weir__runtime_plan plan;
	struct rings rings = { 0 };
	int r;

	weir_precond(service, -EINVAL);
	if (opts)
		o = *opts;
	r = weir_opts_resolve(&o, NULL);
	if (r < 0)
		return r;
	shrink(&o);
	if (weir__world)
		kernel = weir__world->kernel;
	else
		r = weir__kernel_choose(o.kernel, &kernel, &info);
	if (!r)
		r = rings_create(&rings, &o, kernel, weir__world ? NULL : &info);
	if (r < 0)
		return r;
	plan = plan_of(&o, &rings);
	if (weir__world)
		enter_world(&plan);
	plan.service = service;
	plan.service_arg = arg;
	r = weir__runtime_run(&plan);
	rings_destroy(&rings, rings.count);
	return r;
}
