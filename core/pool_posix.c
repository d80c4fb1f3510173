/* SPDX-License-Identifier: MIT */
/*
 * pool_posix.c - the threads of a pool: each takes work until there is none, rests until it is
 * woken, and leaves when it has rested too long.
 *
 * Work may end its thread (pthread_exit(), pthread_cancel()): a clean-up handler then ends the work
 * with an error, and the place is free for another thread. A thread that leaves joins the one that
 * left before it, so never more than one is left to join.
 */
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/pool.h"
#include "core/signals.h"
#include "core/worker.h"

static _Thread_local struct weir_pool *pool_of_thread;

struct weir_pool *weir__pool_of_thread(void)
{
	return pool_of_thread;
}

/* Until woken, or the deadline has passed: false. */
static bool sleep_until(struct weir__pool_thread *thread, int64_t deadline_ns)
{
	struct timespec ts = { .tv_sec = deadline_ns / WEIR_S, .tv_nsec = deadline_ns % WEIR_S };
	struct weir_pool *pool = thread->pool;
	int r = 0;

	while (!thread->woken && !pool->closing && !r) {
		if (deadline_ns == WEIR_NEVER)
			r = pthread_cond_wait(&thread->wake, &pool->lock);
		else
			r = pthread_cond_timedwait(&thread->wake, &pool->lock, &ts);
	}
	return thread->woken || pool->closing;
}

/* Under the lock. Whether thread shall look for work again. */
static bool rest(struct weir__pool_thread *thread)
{
	struct weir_pool *pool = thread->pool;
	bool may_leave, stays;

	do {
		if (pool->closing)
			return false;
		may_leave = pool->thread_count > pool->opts.threads_min;
		thread->woken = false;
		weir__list_push(&pool->resting, &thread->node);
		pool->resting_count++;
		stays = sleep_until(thread, may_leave ? weir_in(pool->opts.idle_ns) : WEIR_NEVER);
		if (thread->woken) {
			pool->searcher = false;
			return true;
		}
		weir__node_remove(&thread->node);
		pool->resting_count--;
	} while (stays || pool->thread_count <= pool->opts.threads_min);
	return false;
}

/*
 * Under the lock, which is dropped. thread's place is another's at once, who is started if there is
 * work left; the pool stays until this thread has been counted out.
 */
static void leave(struct weir__pool_thread *thread)
{
	struct weir_pool *pool = thread->pool;
	struct weir__pool_after after;
	bool has_before, is_last;
	pthread_t before;

	weir__pool_after_init(&after);
	weir__pool_vacate(thread);
	pool->leaving++;
	weir__pool_seek(pool, &after);
	pthread_mutex_unlock(&pool->lock);
	weir__pool_carry_out(&after);
	if (pool->opts.thread_end)
		pool->opts.thread_end(pool->opts.arg);
	pthread_mutex_lock(&pool->lock);
	before = pool->gone;
	has_before = pool->has_gone;
	pool->gone = pthread_self();
	pool->has_gone = true;
	pool->leaving--;
	is_last = pool->closing && !pool->thread_count && !pool->leaving;
	if (is_last && pool->destroyer)
		weir__pool_tell(pool->destroyer, 0);
	else if (is_last)
		pthread_cond_broadcast(&pool->empty);
	pthread_mutex_unlock(&pool->lock);
	if (has_before)
		pthread_join(before, NULL);
}

static int run(struct weir__pool_thread *thread, struct weir_work *work, int64_t *ret_ns)
{
	int64_t since_ns = weir_clock();
	int res;

	thread->work = work;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	res = work->fn_(work);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	thread->work = NULL;
	*ret_ns = weir_clock() - since_ns;
	return res;
}

/* Under the lock, and again when it returns. */
static void take_and_rest(struct weir__pool_thread *thread)
{
	struct weir_pool *pool = thread->pool;
	struct weir__pool_after after;

	weir__pool_after_init(&after);
	for (;;) {
		struct weir_work *work = weir__pool_take(pool, &after);
		int64_t run_ns = 0;
		int res = 0;

		/* Rests with the lock held since it looked, and not after it was dropped. */
		if (!work && weir__pool_after_is_empty(&after)) {
			if (!rest(thread))
				return;
			continue;
		}
		if (work)
			weir__pool_seek(pool, &after);
		pthread_mutex_unlock(&pool->lock);
		weir__pool_carry_out(&after);
		if (work)
			res = run(thread, work, &run_ns);
		pthread_mutex_lock(&pool->lock);
		if (work)
			weir__pool_finish(work, run_ns, res, &after);
	}
}

/* thread is ended by the work that it runs. */
static void die(void *arg)
{
	struct weir__pool_thread *thread = arg;
	struct weir_pool *pool = thread->pool;
	struct weir__pool_after after;

	weir__pool_after_init(&after);
	pthread_mutex_lock(&pool->lock);
	pool->died++;
	weir__pool_finish(thread->work, 0, -EOWNERDEAD, &after);
	thread->work = NULL;
	pthread_mutex_unlock(&pool->lock);
	weir__pool_carry_out(&after);
	pthread_mutex_lock(&pool->lock);
	leave(thread);
}

static void *thread_main(void *arg)
{
	struct weir__pool_thread *thread = arg;
	struct weir_pool *pool = thread->pool;
	char name[16];

	snprintf(name, sizeof(name), "weir/%s", pool->opts.name);
	pthread_setname_np(pthread_self(), name);
	pool_of_thread = pool;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	if (pool->opts.thread_start)
		pool->opts.thread_start(pool->opts.arg);
	pthread_mutex_lock(&pool->lock);
	pool->searcher = false;
	pthread_cleanup_push(die, thread);
	take_and_rest(thread);
	pthread_cleanup_pop(0);
	leave(thread);
	return NULL;
}

/* On the CPUs that were asked for, or those of the process: never on a worker's alone. */
static void place(const struct weir_pool *pool, pthread_attr_t *attr)
{
	cpu_set_t set;
	unsigned i;

	CPU_ZERO(&set);
	for (i = 0; i < pool->opts.cpu_count; i++)
		CPU_SET(pool->opts.cpus[i], &set);
	if (!pool->opts.cpu_count && sched_getaffinity(getpid(), sizeof(set), &set) < 0)
		return;
	pthread_attr_setaffinity_np(attr, sizeof(set), &set);
}

int weir__pool_thread_start(struct weir__pool_thread *thread)
{
	sigset_t mask, before;
	pthread_attr_t attr;
	pthread_t id;
	int r = -pthread_attr_init(&attr);

	if (r < 0)
		return r;
	place(thread->pool, &attr);
	weir__signals_worker_mask(&mask);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	r = -pthread_create(&id, &attr, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return r == -ENOMEM ? -EAGAIN : r;
}
