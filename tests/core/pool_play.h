/* SPDX-License-Identifier: MIT */
/*
 * pool_play.h - what the tests of the thread pool play with: a door that holds threads, and work
 * that says what became of it. Included once by each.
 */
#ifndef WEIR_TESTS_CORE_POOL_PLAY_H
#define WEIR_TESTS_CORE_POOL_PLAY_H

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/metrics.h"
#include "core/weir_coro.h"
#include "core/weir_pool.h"
#include "tests/support/thread_runtime.h"

/* Not every file needs all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

static struct thread_runtime rt;
static struct weir_pool *pool;
static int (*scenario)(void);

/* In a service: fails the run by the line where it broke. */
#define check(x)                                                                                  \
	do {                                                                                      \
		if (!(x))                                                                         \
			return -__LINE__;                                                         \
	} while (0)

static int service(void *arg)
{
	(void)arg;
	return weir_core() == 0 ? scenario() : 0;
}

static int run_on(unsigned cores, int (*fn)(void))
{
	scenario = fn;
	thread_runtime_init(&rt, cores, service, NULL);
	return thread_runtime_run(&rt);
}

/* Runs fn in a coroutine of core 0, with pool made of opts. */
static int with_pool(const struct weir_pool_opts *opts, int (*fn)(void))
{
	int r;

	assert_int_equal(weir_pool_create(opts, &pool), 0);
	r = run_on(2, fn);
	assert_int_equal(weir_pool_destroy(pool), 0);
	return r;
}

/* --- a door: who comes is counted and waits until it is opened --- */

static pthread_mutex_t door_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t door_moved = PTHREAD_COND_INITIALIZER;
static unsigned at_door, inside_max, inside;
static bool door_open;

static void close_door(void)
{
	door_open = false;
	at_door = inside = inside_max = 0;
}

static void open_door(void)
{
	pthread_mutex_lock(&door_lock);
	door_open = true;
	pthread_cond_broadcast(&door_moved);
	pthread_mutex_unlock(&door_lock);
}

static void pass_door(void)
{
	pthread_mutex_lock(&door_lock);
	at_door++;
	inside++;
	if (inside > inside_max)
		inside_max = inside;
	pthread_cond_broadcast(&door_moved);
	while (!door_open)
		pthread_cond_wait(&door_moved, &door_lock);
	inside--;
	pthread_mutex_unlock(&door_lock);
}

static void await_at_door(unsigned count)
{
	pthread_mutex_lock(&door_lock);
	while (at_door < count)
		pthread_cond_wait(&door_moved, &door_lock);
	pthread_mutex_unlock(&door_lock);
}

/* --- work that says what became of it --- */

static unsigned order, ends, ran_total;

struct job {
	struct weir_work work;
	int give;
	int res;
	unsigned ended;		/* done() was called so often */
	unsigned ran_as;	/* the how-manieth it was run */
	unsigned ended_as;
	pthread_t thread;
	bool on_worker;		/* done() was */
	bool waits;		/* at the door */
	bool dies;
};

static int job_fn(struct weir_work *work)
{
	struct job *job = weir_container_of(work, struct job, work);

	job->thread = pthread_self();
	job->ran_as = __atomic_add_fetch(&order, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&ran_total, 1, __ATOMIC_SEQ_CST);
	if (job->waits)
		pass_door();
	if (job->dies)
		pthread_exit(NULL);
	return job->give;
}

static void job_done(struct weir_work *work, int res)
{
	struct job *job = weir_container_of(work, struct job, work);

	job->res = res;
	job->ended++;
	job->on_worker = weir_core() >= 0;
	job->ended_as = __atomic_add_fetch(&ends, 1, __ATOMIC_SEQ_CST);
}

static void job_init(struct job *job, int give)
{
	*job = (struct job){ .give = give };
	weir_work_init(&job->work, job_fn, job_done);
}

static void reset(void)
{
	order = ends = ran_total = 0;
	close_door();
}

/* In a coroutine: until count works have ended. */
static int await_ends(unsigned count)
{
	while (__atomic_load_n(&ends, __ATOMIC_SEQ_CST) < count)
		if (weir_yield() < 0)
			return -1;
	return 0;
}

static int submit(struct job *job, unsigned class_index)
{
	return weir_pool_submit(pool, class_index, &job->work, WEIR_NEVER);
}

static struct job jobs[64];

static void hold_the_thread(struct job *job)
{
	job_init(job, 0);
	job->waits = true;
	submit(job, 0);
	await_at_door(1);
}

static struct weir_pool_class one_class[1];
static const struct weir_pool_opts one_thread = { .threads_max = 1, .classes = one_class,
						  .class_count = 1 };

static int add_one(void *arg)
{
	return weir_core() < 0 && weir_coro_self() == NULL ? *(int *)arg + 1 : -1;
}

static void *open_when_it_waits(void *arg)
{
	(void)arg;
	await_at_door(1);
	open_door();
	return NULL;
}

static int destroy_inside(void *arg)
{
	(void)arg;
	return weir_pool_destroy(pool);
}

static int results[8];

static int submit_one(void *arg)
{
	int i = (int)(intptr_t)arg;

	results[i] = submit(&jobs[i], 0);
	return 0;
}

static int run_one(void *arg)
{
	int i = (int)(intptr_t)arg, res = 0, n = 10;

	results[i] = weir_pool_run(pool, 0, add_one, &n, WEIR_NEVER, &res);
	return res;
}

static int spawn(int (*fn)(void *), int i, struct weir_coro **ret)
{
	results[i] = 1;
	return weir_coro_spawn(NULL, fn, (void *)(intptr_t)i, ret);
}

static int results_scenario(void)
{
	struct job job;
	int n = 41, res = 0;

	check(weir_pool_run(pool, 0, add_one, &n, WEIR_NEVER, &res) == 0 && res == 42);
	check(weir_pool_run(pool, 0, add_one, &n, WEIR_NEVER, NULL) == 0);
	job_init(&job, -EIO);
	check(submit(&job, 0) == 0);
	check(job.ended == 0);
	check(await_ends(1) == 0);
	check(job.ended == 1 && job.res == -EIO && job.on_worker);
	/* Once more with the same memory. */
	job.give = 7;
	check(submit(&job, 0) == 0);
	check(await_ends(2) == 0 && job.res == 7 && job.ended == 2);
	return 0;
}

#endif
