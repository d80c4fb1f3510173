/* SPDX-License-Identifier: MIT */
/*
 * cells.c - the memory of futures: two slabs a worker, one bound, made on first use and
 * gone with the worker.
 *
 * Two sizes, because a million plain futures should not pay for a timer or an op that
 * few of them have.
 */
#include "futures/future.h"

#define COUNT_MAX_DEFAULT (1u << 20)

static void futures_exit(struct weir_worker_exit *hook)
{
	struct weir_futures *futures = weir_container_of(hook, struct weir_futures, exit);

	/* What is still held then is held by nobody who runs. */
	futures->small.in_use = 0;
	futures->large.in_use = 0;
	weir__slab_fini(&futures->small);
	weir__slab_fini(&futures->large);
	weir__free(futures, sizeof(*futures));
}

static int futures_create(struct weir_worker *worker)
{
	struct weir_futures *futures = weir__calloc(1, sizeof(*futures));

	if (!futures)
		return -ENOMEM;
	futures->count_max = COUNT_MAX_DEFAULT;
	weir_assert(weir__slab_init(&futures->small, FUTURE_SMALL, SIZE_MAX) == 0);
	weir_assert(weir__slab_init(&futures->large, FUTURE_LARGE, SIZE_MAX) == 0);
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

static int refuse(struct weir_futures *futures, int error)
{
	futures->refused++;
	weir__metric_add(&weir__self->metrics, WEIR__M_FUTURES_REFUSED, 1);
	return error;
}

static void count_set(struct weir_worker *worker, struct weir_futures *futures, size_t count)
{
	futures->count = count;
	weir__metric_set(&worker->metrics, WEIR__M_FUTURES, count);
	if (weir_unlikely(count > futures->count_high)) {
		futures->count_high = count;
		weir__metric_set(&worker->metrics, WEIR__M_FUTURES_HIGH, count);
	}
}

int weir__future_create(const struct weir_future_kind *kind, const char *origin,
			struct weir_future **ret_future)
{
	struct weir_futures *futures;
	struct weir_future *future;
	int r;

	if ((r = weir__futures_self(&futures)))
		return r;
	if (weir_unlikely(futures->count >= futures->count_max))
		return refuse(futures, -ENOBUFS);
	future = weir__slab_get(kind->is_large ? &futures->large : &futures->small);
	if (weir_unlikely(!future))
		return refuse(futures, -ENOMEM);
	count_set(weir__self, futures, futures->count + 1);

	future->kind = kind;
	future->value = NULL;
	future->taps = NULL;
	future->home = weir__self;
	future->origin = origin;
	future->state = FUTURE_PENDING;
	future->use = FUTURE_HELD;
	future->flags = 0;
	future->refs = 2;
	*ret_future = future;
	return 0;
}

void weir__future_free(struct weir_future *future)
{
	struct weir_worker *worker = future->home;
	struct weir_futures *futures = worker->futures;

	count_set(worker, futures, futures->count - 1);
	weir__slab_put(future->kind->is_large ? &futures->large : &futures->small, future);
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
	return 0;
}

int weir_futures_info(struct weir_futures_info *ret_info)
{
	struct weir_worker *worker = weir__self;
	const struct weir_futures *futures;

	if (!worker)
		return -EDEADLK;
	*ret_info = (struct weir_futures_info){ .count_max = COUNT_MAX_DEFAULT };
	futures = worker->futures;
	if (!futures)
		return 0;
	ret_info->count = futures->count;
	ret_info->count_high = futures->count_high;
	ret_info->count_max = futures->count_max;
	ret_info->refused = futures->refused;
	ret_info->unobserved = futures->unobserved;
	return 0;
}
