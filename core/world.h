/* SPDX-License-Identifier: MIT */
/*
 * world.h - what a simulation puts in place of the system, for the thread it runs on. The
 * code that runs there cannot tell: clock, randomness, processors, memory and threads come
 * from here where the library would otherwise ask the system.
 */
#ifndef WEIR_CORE_WORLD_H
#define WEIR_CORE_WORLD_H

#include "core/ensure.h"

struct weir__threads;
struct weir_kernel;

struct weir__world {
	int64_t (*now)(const struct weir__world *world);
	uint64_t (*random)(const struct weir__world *world);
	bool (*refuses_memory)(const struct weir__world *world);
	/* What weir__alloc() gave to whoever runs, and what came back. */
	void (*took)(const struct weir__world *world, void *ptr, size_t size);
	void (*gave)(const struct weir__world *world, void *ptr);
	/* The library's own rare branch at site is to be taken now. */
	bool (*buggify)(const struct weir__world *world, const char *site);
	unsigned cpus;
	unsigned fds_max;	/* RLIMIT_NOFILE */
	struct weir_kernel *kernel;
	const struct weir__threads *threads;
};

/* NULL: this is the real one. */
extern _Thread_local const struct weir__world *weir__world;

/*
 * A rare branch that is always right to take (a small buffer, an early flush), taken
 * often under a seed that asks for it. Not for hot paths.
 */
static inline bool weir__buggify(const char *site)
{
	return weir_unlikely(weir__world) && weir__world->buggify(weir__world, site);
}

#endif
