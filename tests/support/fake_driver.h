/* SPDX-License-Identifier: MIT */
/*
 * fake_driver.h - a driver without a kernel, for the tests of core/: its clock is virtual
 * and moves only when the worker would sleep, so a test of an hour takes a microsecond and
 * always goes the same way.
 *
 *	struct fake_driver fake;
 *	struct weir_worker worker;
 *
 *	fake_driver_init(&fake);
 *	weir__worker_init(&worker, &fake.driver, NULL);
 */
#ifndef WEIR_TESTS_FAKE_DRIVER_H
#define WEIR_TESTS_FAKE_DRIVER_H

#include <semaphore.h>

#include "core/driver.h"

struct fake_driver {
	struct weir_driver driver;
	int64_t now_ns;		/* starts at one second, so that 0 is a deadline in the past */
	uint64_t seed;
	unsigned turns;
	unsigned sleeps;	/* turns that were allowed to wait */
	unsigned wakes;		/* atomic: wake() comes from other threads */
	bool blocks;		/* WEIR_NEVER waits for a wake() from another thread; else nothing
				 * could ever happen, and turn() answers -EDEADLK */
	int pending_turns;	/* is_drained() becomes true after that many calls */
	bool started;
	bool stopped;
	bool woken;		/* atomic */
	sem_t wake;
	/* Runs in every turn() if set: what completes there. Returns how many completions. */
	int (*reap)(struct fake_driver *fake);
	void *arg;		/* reap's */
};

static inline struct fake_driver *fake_driver_of(struct weir_driver *driver)
{
	return weir_container_of(driver, struct fake_driver, driver);
}

static inline int fake_driver_start(struct weir_driver *driver)
{
	fake_driver_of(driver)->started = true;
	return 0;
}

static inline int fake_driver_turn(struct weir_driver *driver, int64_t wait_until_ns)
{
	struct fake_driver *fake = fake_driver_of(driver);
	int count = fake->reap ? fake->reap(fake) : 0;

	fake->turns++;
	if (__atomic_exchange_n(&fake->woken, false, __ATOMIC_ACQUIRE)) {
		sem_wait(&fake->wake);
		return count;
	}
	if (count || wait_until_ns <= fake->now_ns)
		return count;
	fake->sleeps++;
	if (wait_until_ns != WEIR_NEVER) {
		fake->now_ns = wait_until_ns;
		return 0;
	}
	if (!fake->blocks)
		return -EDEADLK;
	sem_wait(&fake->wake);
	__atomic_store_n(&fake->woken, false, __ATOMIC_RELEASE);
	return 0;
}

static inline bool fake_driver_is_ready(struct weir_driver *driver)
{
	return __atomic_load_n(&fake_driver_of(driver)->woken, __ATOMIC_ACQUIRE);
}

static inline void fake_driver_wake(struct weir_driver *driver, struct weir_driver *from)
{
	struct fake_driver *fake = fake_driver_of(driver);

	__atomic_add_fetch(&fake->wakes, 1, __ATOMIC_RELAXED);
	if (!__atomic_exchange_n(&fake->woken, true, __ATOMIC_ACQ_REL))
		sem_post(&fake->wake);
}

static inline int64_t fake_driver_now(struct weir_driver *driver)
{
	return fake_driver_of(driver)->now_ns;
}

/* splitmix64, Steele and others (OOPSLA 2014). */
static inline uint64_t fake_driver_random(struct weir_driver *driver)
{
	uint64_t z = fake_driver_of(driver)->seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline bool fake_driver_is_drained(struct weir_driver *driver)
{
	return fake_driver_of(driver)->pending_turns-- <= 0;
}

static inline void fake_driver_stop(struct weir_driver *driver)
{
	fake_driver_of(driver)->stopped = true;
}

static inline void fake_driver_init(struct fake_driver *fake)
{
	static const struct weir_driver_ops ops = {
		.start = fake_driver_start,
		.turn = fake_driver_turn,
		.is_ready = fake_driver_is_ready,
		.wake = fake_driver_wake,
		.now = fake_driver_now,
		.random = fake_driver_random,
		.is_drained = fake_driver_is_drained,
		.stop = fake_driver_stop,
	};

	*fake = (struct fake_driver){.driver.ops = &ops, .now_ns = WEIR_S, .seed = 1};
	sem_init(&fake->wake, 0, 0);
}

static inline void fake_driver_fini(struct fake_driver *fake)
{
	sem_destroy(&fake->wake);
}

#endif
