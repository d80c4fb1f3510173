/* SPDX-License-Identifier: MIT */
/*
 * clock.c - time and randomness: the driver's on a worker, so that a simulated kernel
 * decides both; the system's, or the simulated world's, on any other thread.
 */
#include <sys/random.h>
#include <time.h>

#include "core/worker.h"
#include "core/world.h"

_Thread_local const struct weir__world *weir__world;

static int64_t system_clock(void)
{
	struct timespec ts;

	if (weir__world)
		return weir__world->now(weir__world);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * WEIR_S + ts.tv_nsec;
}

int64_t weir_now(void)
{
	return weir__self ? weir__self->now_ns : system_clock();
}

int64_t weir_clock(void)
{
	return weir__self ? weir__self->driver->ops->now(weir__self->driver) : system_clock();
}

int64_t weir_in(int64_t ns)
{
	int64_t deadline_ns;

	if (ns == WEIR_NEVER || __builtin_add_overflow(weir_now(), ns, &deadline_ns))
		return ns < 0 ? 0 : WEIR_NEVER;
	return deadline_ns;
}

uint64_t weir_random(void)
{
	uint64_t bits;

	if (weir__self)
		return weir__self->driver->ops->random(weir__self->driver);
	if (weir__world)
		return weir__world->random(weir__world);
	/* Eight bytes are never cut short; only before the pool is seeded at boot does it wait. */
	while (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
		;
	return bits;
}
