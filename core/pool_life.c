/* SPDX-License-Identifier: MIT */
/*
 * pool_life.c - how a pool begins and ends, and what it tells about itself.
 */
#include <sched.h>
#include <string.h>

#include "core/alloc.h"
#include "core/coro.h"
#include "core/pool.h"
#include "core/weir_runtime.h"
#include "core/worker.h"
#include "core/world.h"

#define THREADS_LEAST 4		/* of a default threads_max: most of them wait */
#define DEPTH 1024
#define IDLE_NS (10 * WEIR_S)

static unsigned default_threads(unsigned least)
{
	unsigned cpus = weir_cpus();
	unsigned count = cpus < THREADS_LEAST ? THREADS_LEAST : cpus;

	if (count > WEIR_POOL_THREADS_MAX)
		count = WEIR_POOL_THREADS_MAX;
	return count < least ? least : count;
}

static int check_cpus(const struct weir_pool_opts *opts)
{
	unsigned i;

	for (i = 0; i < opts->cpu_count; i++)
		if (!opts->cpus || opts->cpus[i] < 0 || opts->cpus[i] >= CPU_SETSIZE)
			return -EINVAL;
	return 0;
}

/* Zero becomes the default. */
static int fill_in(struct weir_pool_opts *opts)
{
	static const struct weir_pool_class one;

	if (!opts->name)
		opts->name = "pool";
	if (!opts->threads_min)
		opts->threads_min = 1;
	if (!opts->threads_max)
		opts->threads_max = default_threads(opts->threads_min);
	if (!opts->idle_ns)
		opts->idle_ns = IDLE_NS;
	if (!opts->class_count) {
		opts->classes = &one;
		opts->class_count = 1;
	}
	if (opts->threads_min > opts->threads_max || opts->threads_max > WEIR_POOL_THREADS_MAX ||
	    opts->class_count > WEIR_POOL_CLASSES_MAX || !opts->classes || opts->idle_ns < 0)
		return -EINVAL;
	return check_cpus(opts);
}

static int class_init(struct weir__pool_class *class, const struct weir_pool_opts *opts,
		      unsigned index)
{
	int r;

	class->opts = opts->classes[index];
	if (!class->opts.name)
		class->opts.name = "default";
	if (!class->opts.threads_max || class->opts.threads_max > opts->threads_max)
		class->opts.threads_max = opts->threads_max;
	if (!class->opts.depth_max)
		class->opts.depth_max = DEPTH;
	if (class->opts.full > WEIR_POOL_DROP_NEW)
		return -EINVAL;
	weir__list_init(&class->ready);
	weir__list_init(&class->line);
	r = weir_histogram_create(&class->delay);
	return r < 0 ? r : weir_histogram_create(&class->run);
}

static void thread_init(struct weir_pool *pool, struct weir__pool_thread *thread)
{
	pthread_condattr_t attr;

	thread->pool = pool;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&thread->wake, &attr);
	pthread_condattr_destroy(&attr);
	weir__list_push(&pool->vacant, &thread->node);
}

static size_t cpus_size(const struct weir_pool *pool)
{
	return pool->opts.cpu_count * sizeof(*pool->opts.cpus);
}

/* No thread is left. pool may be half made. */
static void free_pool(struct weir_pool *pool)
{
	unsigned i;

	for (i = 0; pool->classes && i < pool->opts.class_count; i++) {
		weir_histogram_destroy(pool->classes[i].delay);
		weir_histogram_destroy(pool->classes[i].run);
	}
	for (i = 0; pool->threads && i < pool->opts.threads_max; i++)
		pthread_cond_destroy(&pool->threads[i].wake);
	weir__free(pool->classes, pool->opts.class_count * sizeof(*pool->classes));
	weir__free(pool->threads, pool->opts.threads_max * sizeof(*pool->threads));
	weir__free((void *)(uintptr_t)pool->opts.cpus, cpus_size(pool));
	pthread_cond_destroy(&pool->empty);
	pthread_mutex_destroy(&pool->lock);
	weir__free(pool, sizeof(*pool));
}

static int make_cpus(struct weir_pool *pool, const int *cpus)
{
	int *copy;

	pool->opts.cpus = NULL;
	if (!pool->opts.cpu_count)
		return 0;
	copy = weir__alloc(cpus_size(pool));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, cpus, cpus_size(pool));
	pool->opts.cpus = copy;
	return 0;
}

static int make_parts(struct weir_pool *pool)
{
	const struct weir_pool_opts opts = pool->opts;
	unsigned i;
	int r = make_cpus(pool, opts.cpus);

	pool->classes = weir__calloc(opts.class_count, sizeof(*pool->classes));
	pool->threads = weir__calloc(opts.threads_max, sizeof(*pool->threads));
	for (i = 0; pool->threads && i < opts.threads_max; i++)
		thread_init(pool, &pool->threads[i]);
	if (r < 0 || !pool->classes || !pool->threads)
		return -ENOMEM;
	for (i = 0; i < opts.class_count && !r; i++)
		r = class_init(&pool->classes[i], &opts, i);
	return r;
}

/* The threads that stay. Virtual ones come when there is work. */
static int start_threads(struct weir_pool *pool)
{
	struct weir__pool_thread *thread;
	unsigned i;
	int r = 0;

	for (i = 0; i < pool->opts.threads_min && !weir__world; i++) {
		pthread_mutex_lock(&pool->lock);
		thread = weir_container_of(weir__list_pop(&pool->vacant), struct weir__pool_thread,
					   node);
		pool->thread_count++;
		pool->started++;
		pthread_mutex_unlock(&pool->lock);
		r = weir__pool_thread_start(thread);
		if (r < 0) {
			pthread_mutex_lock(&pool->lock);
			weir__pool_vacate(thread);
			pthread_mutex_unlock(&pool->lock);
			break;
		}
	}
	return r;
}

/* Ends what waits, and lets the threads leave. Whether one is there yet, who then tells. */
static bool close_pool(struct weir_pool *pool, struct weir__pool_parked *destroyer)
{
	struct weir__pool_after after;
	unsigned i;
	bool has_threads;

	weir__pool_after_init(&after);
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pool->destroyer = destroyer;
	weir__pool_clear(pool, &after);
	for (i = 0; i < pool->opts.threads_max; i++)
		pthread_cond_signal(&pool->threads[i].wake);
	has_threads = pool->thread_count || pool->leaving;
	pthread_mutex_unlock(&pool->lock);
	weir__pool_carry_out(&after);
	return has_threads;
}

static void join_last(struct weir_pool *pool)
{
	if (pool->has_gone)
		pthread_join(pool->gone, NULL);
}

static void end_in_coroutine(struct weir_pool *pool)
{
	struct weir__pool_parked destroyer = {
		.mesh = weir__self->port.mesh,
		.core = weir__self->index,
	};

	weir__wait_init(&destroyer.wait);
	if (close_pool(pool, &destroyer))
		weir__wait_park(&destroyer.wait, "pool_destroy", NULL, WEIR_NEVER);
	join_last(pool);
}

static void end_on_thread(struct weir_pool *pool)
{
	close_pool(pool, NULL);
	pthread_mutex_lock(&pool->lock);
	while (pool->thread_count || pool->leaving)
		pthread_cond_wait(&pool->empty, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	join_last(pool);
}

int weir_pool_create(const struct weir_pool_opts *opts, struct weir_pool **ret_pool)
{
	struct weir_pool *pool = weir__calloc(1, sizeof(*pool));
	int r;

	if (!pool)
		return -ENOMEM;
	if (opts)
		pool->opts = *opts;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->empty, NULL);
	weir__list_init(&pool->resting);
	weir__list_init(&pool->vacant);
	r = fill_in(&pool->opts);
	if (r < 0) {
		pool->opts = (struct weir_pool_opts){ 0 };
		free_pool(pool);
		return r;
	}
	r = make_parts(pool);
	if (r < 0) {
		free_pool(pool);
		return r;
	}
	r = start_threads(pool);
	if (r < 0) {
		end_on_thread(pool);
		free_pool(pool);
		return r;
	}
	weir__pool_publish(pool);
	*ret_pool = pool;
	return 0;
}

int weir_pool_destroy(struct weir_pool *pool)
{
	if (!pool)
		return 0;
	if (weir__pool_of_thread() == pool || (weir__self && !weir_coro_self()))
		return -EDEADLK;
	weir__pool_withdraw(pool);
	if (weir__self)
		end_in_coroutine(pool);
	else
		end_on_thread(pool);
	free_pool(pool);
	return 0;
}

void weir_pool_info(struct weir_pool *pool, struct weir_pool_info *ret_info)
{
	pthread_mutex_lock(&pool->lock);
	*ret_info = (struct weir_pool_info){
		.name = pool->opts.name,
		.threads = pool->thread_count,
		.threads_max = pool->opts.threads_max,
		.idle = pool->resting_count,
		.started = pool->started,
		.died = pool->died,
		.class_count = pool->opts.class_count,
	};
	pthread_mutex_unlock(&pool->lock);
}

static int64_t percentile(const struct weir_histogram *histogram, double percent)
{
	return (int64_t)weir_histogram_percentile(histogram, percent);
}

int weir_pool_class_info(struct weir_pool *pool, unsigned class_index,
			 struct weir_pool_class_info *ret_info)
{
	const struct weir__pool_class *class;

	if (class_index >= pool->opts.class_count)
		return -EINVAL;
	class = &pool->classes[class_index];
	pthread_mutex_lock(&pool->lock);
	*ret_info = (struct weir_pool_class_info){
		.name = class->opts.name,
		.queued = class->queued,
		.depth_max = class->opts.depth_max,
		.parked = class->parked,
		.running = class->running,
		.threads_max = class->opts.threads_max,
		.done = class->done,
		.failed = class->failed,
		.refused = class->refused,
		.dropped = class->dropped,
		.expired = class->expired,
		.cancelled = class->cancelled,
	};
	pthread_mutex_unlock(&pool->lock);
	ret_info->delay_p50_ns = percentile(class->delay, 50);
	ret_info->delay_p99_ns = percentile(class->delay, 99);
	ret_info->delay_max_ns = (int64_t)weir_histogram_max(class->delay);
	ret_info->run_p50_ns = percentile(class->run, 50);
	ret_info->run_p99_ns = percentile(class->run, 99);
	ret_info->run_max_ns = (int64_t)weir_histogram_max(class->run);
	return 0;
}
