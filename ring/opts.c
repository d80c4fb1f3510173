/* SPDX-License-Identifier: MIT */
/*
 * opts.c - what the options of weir_run() become on this machine.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/world.h"
#include "ring/weir_run.h"

#define CONNS_MAX 16384

/* Descriptors kept for everything that is not a connection. */
#define FDS_RESERVED 64

static bool is_power_of_two(unsigned n)
{
	return n && !(n & (n - 1));
}

static unsigned round_up_to_power(unsigned n)
{
	unsigned power = 1;

	while (power < n)
		power *= 2;
	return power;
}

/* Connections of one core: direct descriptors are bounded by RLIMIT_NOFILE for each ring alone. */
static unsigned default_conns(void)
{
	struct rlimit limit;
	unsigned n = CONNS_MAX;
	int r = 0;

	if (weir__world)
		limit.rlim_cur = weir__world->fds_max;
	else
		r = getrlimit(RLIMIT_NOFILE, &limit);
	if (!r && limit.rlim_cur < n + FDS_RESERVED)
		n = limit.rlim_cur > 2 * FDS_RESERVED ? (unsigned)limit.rlim_cur - FDS_RESERVED :
							FDS_RESERVED;
	return n;
}

static bool is_kernel(const char *name)
{
	return !strcmp(name, "uring") || !strcmp(name, "poll") || !strcmp(name, "auto");
}

static void set_defaults(struct weir_opts *o)
{
	if (!o->kernel)
		o->kernel = secure_getenv("WEIR_KERNEL");
	if (!o->kernel || !*o->kernel)
		o->kernel = "auto";
	if (!o->cores)
		o->cores = weir_cpus();
	if (!o->depth)
		o->depth = 4096;
	if (!o->conns_max)
		o->conns_max = default_conns();
	if (!o->bufs)
		o->bufs = 2048;
	if (!o->buf_size)
		o->buf_size = 4096;
	if (!o->coros_max)
		o->coros_max = 65536;
	if (!o->futures_max)
		o->futures_max = 1u << 20;
	if (!o->stack_size)
		o->stack_size = 64 << 10;
	if (!o->mesh_depth)
		o->mesh_depth = 4096;
	if (!o->spin_ns)
		o->spin_ns = 50 * WEIR_US;
	if (!o->drain_ns)
		o->drain_ns = 10 * WEIR_S;
	if (!o->stall_ns)
		o->stall_ns = 100 * WEIR_MS;
}

static const char *first_wrong(const struct weir_opts *o)
{
	if (o->cores > weir_cpus())
		return "cores: more than the CPUs this process may use";
	if (!is_kernel(o->kernel))
		return "kernel: \"uring\", \"poll\" or \"auto\"";
	if (o->depth < 16 || o->depth > 32768)
		return "depth: 16 to 32768 operations in flight per core";
	if (o->conns_max < 1 || o->conns_max > 1 << 20)
		return "conns_max: 1 to 1048576 connections per core";
	if (!is_power_of_two(o->bufs) || o->bufs < 8 || o->bufs > 32768)
		return "bufs: a power of two from 8 to 32768";
	if (o->buf_size < 64 || o->buf_size > 1 << 20)
		return "buf_size: 64 to 1048576 bytes";
	if (o->coros_max < 1 || o->coros_max > 1 << 24)
		return "coros_max: 1 to 16777216 coroutines per core";
	if (o->futures_max > 1u << 28)
		return "futures_max: 1 to 268435456 futures per core";
	if (o->stack_size < 16 << 10 || o->stack_size > 64 << 20)
		return "stack_size: 16 KiB to 64 MiB";
	if (!is_power_of_two(o->mesh_depth) || o->mesh_depth < 16 || o->mesh_depth > 1 << 20)
		return "mesh_depth: a power of two from 16 to 1048576";
	return NULL;
}

int weir_opts_resolve(struct weir_opts *opts, const char **ret_why)
{
	struct weir_opts o = *opts;
	const char *why;

	set_defaults(&o);
	o.stack_size = (o.stack_size + 4095) & ~(size_t)4095;
	why = first_wrong(&o);
	if (why) {
		if (ret_why)
			*ret_why = why;
		return -EINVAL;
	}
	o.depth = round_up_to_power(o.depth);
	*opts = o;
	return 0;
}
