/* SPDX-License-Identifier: MIT */
/*
 * pool.c - the few threads of a ring that wait for disks and servers in its place.
 *
 * They are started by the first jobs that find no thread idle, sleep on a condition when there is
 * nothing to do, and end with the ring. A job that no thread has begun can be taken back; one
 * that has begun ends by itself. Where no thread can be started the worker does the job: it waits,
 * but the result is the same.
 */
#include "ring/poll/parts.h"

#include <sched.h>
#include <unistd.h>

#include "core/signals.h"

static struct weir_poll_req *next_job(struct weir_poll_pool *pool)
{
	struct weir_poll_req *p;
	struct weir_node *node;

	pool->idle++;
	while (weir__list_is_empty(&pool->queue) && !pool->stopping)
		pthread_cond_wait(&pool->work, &pool->lock);
	pool->idle--;
	node = weir__list_pop(&pool->queue);
	if (!node)
		return NULL;
	pool->queued--;
	p = weir_container_of(node, struct weir_poll_req, job);
	p->begun = true;
	return p;
}

static void *thread_main(void *arg)
{
	struct weir_poll_pool *pool = arg;
	struct weir_poll_req *p;

	pthread_setname_np(pthread_self(), "weir/poll");
	pthread_mutex_lock(&pool->lock);
	while ((p = next_job(pool))) {
		pthread_mutex_unlock(&pool->lock);
		p->job_res = weir__poll_carry_out(p);
		weir__poll_return(p);		/* p is the worker's from here on */
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* On the CPUs of the process, and not on the one that the worker is pinned to. */
static void unpin(pthread_attr_t *attr)
{
	cpu_set_t set;

	if (!sched_getaffinity(getpid(), sizeof(set), &set))
		pthread_attr_setaffinity_np(attr, sizeof(set), &set);
}

/* Under the lock. Refused is no reason to fail. */
static void start_thread(struct weir_poll_pool *pool)
{
	sigset_t mask, before;
	pthread_attr_t attr;

	if (pthread_attr_init(&attr))
		return;
	unpin(&attr);
	weir__signals_worker_mask(&mask);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	if (!pthread_create(&pool->threads[pool->count], &attr, thread_main, pool))
		pool->count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

int weir__poll_hand_over(struct weir_poll_req *p)
{
	struct weir_poll_pool *pool = &weir__poll_ring(&p->req)->pool;
	bool queued;

	pthread_mutex_lock(&pool->lock);
	if (pool->idle <= pool->queued && pool->count < WEIR_POLL_THREADS)
		start_thread(pool);
	queued = pool->count;
	if (queued) {
		p->handed_over = true;
		p->begun = false;
		weir__list_push(&pool->queue, &p->job);
		pool->queued++;
		pthread_cond_signal(&pool->work);
	}
	pthread_mutex_unlock(&pool->lock);
	if (queued)
		return WEIR_SOFT_LATER;
	p->job_res = weir__poll_carry_out(p);
	return weir__poll_carried_out(p);
}

int weir__poll_take_back(struct weir_poll_req *p)
{
	struct weir_poll_pool *pool = &weir__poll_ring(&p->req)->pool;
	bool queued;

	pthread_mutex_lock(&pool->lock);
	queued = !p->begun;
	if (queued) {
		weir__node_remove(&p->job);
		pool->queued--;
		p->handed_over = false;
	}
	pthread_mutex_unlock(&pool->lock);
	return queued ? 0 : -EALREADY;
}

int weir__poll_pool_init(struct weir_poll_pool *pool)
{
	weir__list_init(&pool->queue);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	return 0;
}

/* What is queued is left undone; what has begun is waited for. */
void weir__poll_pool_fini(struct weir_poll_pool *pool)
{
	struct weir_node *node;

	pthread_mutex_lock(&pool->lock);
	while ((node = weir__list_pop(&pool->queue)))
		weir_container_of(node, struct weir_poll_req, job)->handed_over = false;
	pool->queued = 0;
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->count; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
}
