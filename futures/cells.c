/* SPDX-License-Identifier: MIT */
/*
 * cells.c - the memory of futures: two slabs a worker, one bound, made on first use and
 * gone with the worker.
 *
 * Two sizes, because a million plain futures should not pay for a timer or an op that
 * few of them have.
 */
#include "futures/future.h"

static size_t count_max_of(const struct weir_worker *worker)
{
	return worker->opts.futures_max ? worker->opts.futures_max : 1u << 20;
}

static void futures_exit(struct weir_worker_exit *hook)
{
	struct weir_futures *futures = weir_container_of(hook, struct weir_futures, exit);

	/* What is still held then is held by nobody who runs. */
	futures->small.in_use = 0;
	futures->large.in_use = 0;
	futures->scopes.in_use = 0;
	weir__slab_fini(&futures->scopes);
	weir__slab_fini(&futures->small);
	weir__slab_fini(&futures->large);
	weir__free(futures, sizeof(*futures));
}

static int futures_create(struct weir_worker *worker)
{
	struct weir_futures *futures = weir__calloc(1, sizeof(*futures));

	if (!futures)
		return -ENOMEM;
	futures->count_max = count_max_of(worker);
	weir_assert(weir__slab_init(&futures->small, FUTURE_SIZE, SIZE_MAX) == 0);
	weir_assert(weir__slab_init(&futures->large, FUTURE_SIZE_LARGE, SIZE_MAX) == 0);
	weir_assert(weir__slab_init(&futures->scopes, SCOPE_SIZE, futures->count_max) == 0);
	weir__list_init(&futures->arenas);
	futures->exit.run = futures_exit;
	weir__worker_at_exit(worker, &futures->exit);
	worker->futures = futures;
	return 0;
}

int weir__futures_self(struct weir_futures **ret_futures)
{
	struct weir_worker *worker = weir__self;
	int r;

	if (weir_unlikely(!worker))
		return -EDEADLK;
	if (weir_unlikely(!worker->futures) && (r = futures_create(worker)))
		return r;
	*ret_futures = worker->futures;
	return 0;
}

static int refuse(struct weir_worker *worker, struct weir_futures *futures, int error)
{
	futures->refused++;
	weir__metric_add(&worker->metrics, WEIR__M_FUTURES_REFUSED, 1);
	return error;
}

static void soften(struct weir_futures *futures)
{
	futures->count_soft = futures->count_high < futures->count_max ? futures->count_high :
									  futures->count_max;
}

int weir__future_create_slow(const struct weir_future_kind *kind, const char *origin,
			     struct weir_future **ret_future)
{
	struct weir_worker *worker = weir__self;
	struct weir_futures *futures;
	struct weir_future *future;
	int r;

	if ((r = weir__futures_self(&futures)))
		return r;
	if (weir__futures_count(futures) >= futures->count_max)
		return refuse(worker, futures, -ENOBUFS);
	future = weir__slab_get(kind->is_large ? &futures->large : &futures->small);
	if (!future)
		return refuse(worker, futures, -ENOMEM);
	if (weir__futures_count(futures) > futures->count_high) {
		futures->count_high = weir__futures_count(futures);
		weir__metric_set(&worker->metrics, WEIR__M_FUTURES_HIGH, futures->count_high);
		soften(futures);
	}
	weir__futures_note(worker);
	weir__future_init(future, worker, kind, origin);
	*ret_future = future;
	return 0;
}

int weir_futures_set_max(unsigned count)
{
	struct weir_futures *futures;
	int r;

	if (!count)
		return -EINVAL;
	if ((r = weir__futures_self(&futures)))
		return r;
	futures->count_max = count;
	soften(futures);
	return 0;
}

int weir_futures_info(struct weir_futures_info *ret_info)
{
	struct weir_worker *worker = weir__self;
	const struct weir_futures *futures;

	if (!worker)
		return -EDEADLK;
	*ret_info = (struct weir_futures_info){ .count_max = count_max_of(worker) };
	futures = worker->futures;
	if (!futures)
		return 0;
	ret_info->count = weir__futures_count(futures);
	ret_info->count_high = futures->count_high;
	ret_info->count_max = futures->count_max;
	ret_info->refused = futures->refused;
	ret_info->unobserved = futures->unobserved;
	return 0;
}
