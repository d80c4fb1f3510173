/* SPDX-License-Identifier: MIT */
/*
 * pool_virtual.c - the threads of a pool under the simulated kernel: each is a task of the worker
 * that started it. It runs work when the worker's turn comes, holds its place for as long as the
 * seed says, and leaves when there is nothing to do. What is decided under the lock is the same.
 */
#include "core/pool.h"

#include "core/worker.h"

/* While work runs: whose thread it would be. */
static _Thread_local struct weir_worker *host;

static int64_t time_taken(void)
{
	uint64_t random = weir_random();

	return (int64_t)(random >> 8) % (random & 3 ? 50 * WEIR_US : 5 * WEIR_MS);
}

static void run(struct weir__pool_thread *thread)
{
	/* Work finds itself on a thread that is no worker. */
	host = weir__self;
	weir__self = NULL;
	thread->res = thread->work->fn_(thread->work);
	weir__self = host;
	host = NULL;
	thread->since_ns = weir_now();
	weir_timer_arm(&thread->timer, weir_in(time_taken()));
}

static void leave(struct weir__pool_thread *thread)
{
	struct weir_pool *pool = thread->pool;
	struct weir__pool_after after;
	struct weir__pool_parked *destroyer = NULL;

	weir__pool_after_init(&after);
	weir__pool_vacate(thread);
	weir__pool_seek(pool, &after);
	if (pool->closing && !pool->thread_count)
		destroyer = pool->destroyer;
	pthread_mutex_unlock(&pool->lock);
	weir__pool_carry_out(&after);
	if (destroyer)
		weir__pool_tell(destroyer, 0);
	weir__worker_release(weir__self);
}

/* Under the lock, which is dropped. */
static void look(struct weir__pool_thread *thread, struct weir__pool_after *after)
{
	struct weir_pool *pool = thread->pool;

	thread->work = weir__pool_take(pool, after);
	if (thread->work)
		weir__pool_seek(pool, after);
	pthread_mutex_unlock(&pool->lock);
	weir__pool_carry_out(after);
	if (thread->work) {
		run(thread);
		return;
	}
	pthread_mutex_lock(&pool->lock);
	leave(thread);
}

static void finished(struct weir_timer *timer)
{
	struct weir__pool_thread *thread =
		weir_container_of(timer, struct weir__pool_thread, timer);
	struct weir__pool_after after;

	weir__pool_after_init(&after);
	pthread_mutex_lock(&thread->pool->lock);
	weir__pool_finish(thread->work, weir_now() - thread->since_ns, thread->res, &after);
	look(thread, &after);
}

static void begin(struct weir_task *task)
{
	struct weir__pool_thread *thread = weir_container_of(task, struct weir__pool_thread, task);
	struct weir__pool_after after;

	weir__pool_after_init(&after);
	pthread_mutex_lock(&thread->pool->lock);
	thread->pool->searcher = false;
	look(thread, &after);
}

int weir__pool_thread_start_virtual(struct weir__pool_thread *thread)
{
	struct weir_worker *worker = weir__self ? weir__self : host;

	if (!worker || worker->port.ended)
		return -EAGAIN;
	weir_task_init(&thread->task, begin);
	weir_timer_init(&thread->timer, finished);
	weir__worker_hold(worker);
	weir__ready(worker, &thread->task);
	return 0;
}
