/* SPDX-License-Identifier: MIT */
/*
 * thread_driver.h - a driver that waits on a condition variable, for tests of core/ with real
 * threads and real time and without a ring. Nothing ever completes in it.
 */
#ifndef WEIR_TESTS_THREAD_DRIVER_H
#define WEIR_TESTS_THREAD_DRIVER_H

#include <pthread.h>
#include <time.h>

#include "core/driver.h"
#include "core/worker.h"

struct thread_driver {
	struct weir_driver driver;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool woken;		/* atomic: is_ready() looks at it without the lock */
	unsigned sleeps;	/* waits that really waited */
	unsigned wakes;		/* under the lock */
	uint64_t seed;
	int start_error;	/* what start() answers */
	int fail_at_turn;	/* the turn that answers -EIO; 0: none */
	int turns;
	bool stopped;
};

static inline struct thread_driver *thread_driver_of(struct weir_driver *driver)
{
	return weir_container_of(driver, struct thread_driver, driver);
}

static inline int64_t thread_driver_now(struct weir_driver *driver)
{
	struct timespec ts;

	(void)driver;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * WEIR_S + ts.tv_nsec;
}

static inline int thread_driver_start(struct weir_driver *driver)
{
	return thread_driver_of(driver)->start_error;
}

static inline void thread_driver_wait(struct thread_driver *self, int64_t until_ns)
{
	struct timespec until = { .tv_sec = until_ns / WEIR_S, .tv_nsec = until_ns % WEIR_S };
	int r = 0;

	pthread_mutex_lock(&self->lock);
	self->sleeps += !self->woken;
	while (!self->woken && !r) {
		if (until_ns == WEIR_NEVER)
			r = pthread_cond_wait(&self->changed, &self->lock);
		else
			r = pthread_cond_timedwait(&self->changed, &self->lock, &until);
	}
	pthread_mutex_unlock(&self->lock);
}

static inline int thread_driver_turn(struct weir_driver *driver, int64_t wait_until_ns)
{
	struct thread_driver *self = thread_driver_of(driver);

	if (++self->turns == self->fail_at_turn)
		return -EIO;
	if (wait_until_ns)
		thread_driver_wait(self, wait_until_ns);
	__atomic_store_n(&self->woken, false, __ATOMIC_SEQ_CST);
	weir__worker_awake(driver->worker);
	return 0;
}

static inline bool thread_driver_is_ready(struct weir_driver *driver)
{
	return __atomic_load_n(&thread_driver_of(driver)->woken, __ATOMIC_RELAXED);
}

static inline void thread_driver_wake(struct weir_driver *driver, struct weir_driver *from)
{
	struct thread_driver *self = thread_driver_of(driver);

	(void)from;
	pthread_mutex_lock(&self->lock);
	__atomic_store_n(&self->woken, true, __ATOMIC_SEQ_CST);
	self->wakes++;
	pthread_cond_signal(&self->changed);
	pthread_mutex_unlock(&self->lock);
}

static inline uint64_t thread_driver_random(struct weir_driver *driver)
{
	return thread_driver_of(driver)->seed += UINT64_C(0x9e3779b97f4a7c15);
}

static inline bool thread_driver_is_drained(struct weir_driver *driver)
{
	(void)driver;
	return true;
}

static inline void thread_driver_stop(struct weir_driver *driver)
{
	thread_driver_of(driver)->stopped = true;
}

static inline void thread_driver_init(struct thread_driver *self)
{
	static const struct weir_driver_ops ops = {
		.start = thread_driver_start,
		.turn = thread_driver_turn,
		.is_ready = thread_driver_is_ready,
		.wake = thread_driver_wake,
		.now = thread_driver_now,
		.random = thread_driver_random,
		.is_drained = thread_driver_is_drained,
		.stop = thread_driver_stop,
	};
	pthread_condattr_t attr;

	*self = (struct thread_driver){ .driver.ops = &ops, .seed = 1 };
	pthread_mutex_init(&self->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&self->changed, &attr);
	pthread_condattr_destroy(&attr);
}

static inline void thread_driver_fini(struct thread_driver *self)
{
	pthread_cond_destroy(&self->changed);
	pthread_mutex_destroy(&self->lock);
}

#endif
