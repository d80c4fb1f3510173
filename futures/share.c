/* SPDX-License-Identifier: MIT */
/*
 * share.c - one result, many readers.
 *
 *	source --> trunk --> reader, reader, reader ...
 *
 * The trunk is a future that consumes the source and that nobody holds; each reader is a future of
 * its own with one holder, so everything that takes a future takes a reader. The trunk's task
 * settles them, oldest first. The result stays in the trunk's cell, which lives as long as somebody
 * has a reference: the creator, the source while it is under way, and every reader's value.
 */
#include "futures/share.h"

static_assert(sizeof(struct weir_share) <= FUTURE_SIZE_LARGE, "a large future");

struct reader {
	struct weir_future future;
	struct weir_node node;		/* share->readers */
	struct weir_share *share;
};

static_assert(sizeof(struct reader) <= FUTURE_SIZE, "a small future");

static struct reader *reader_of(const struct weir_future *future)
{
	return weir_container_of(future, struct reader, future);
}

static struct weir_share *share_of(const struct weir_future *trunk)
{
	return weir_container_of(trunk, struct weir_share, trunk);
}

/* --- references --- */

static void put(struct weir_share *share)
{
	struct weir_future *trunk = &share->trunk;
	void (*drop)(void *value) = trunk->drop;
	void *value = trunk->value;

	weir_assert(share->refs);
	if (--share->refs)
		return;
	if (!share->is_read && trunk->res < 0)
		weir__unobserved_count(trunk->home->futures, trunk->origin, trunk->res);
	weir__future_free(trunk);
	weir__value_drop(value, drop);
}

static void put_value(void *share)
{
	put(share);
}

struct weir_share *weir_share_hold(struct weir_share *share)
{
	if (!share || share->trunk.home != weir__self)
		return NULL;
	share->refs++;
	return share;
}

int weir_share_release(struct weir_share *share)
{
	if (!share)
		return 0;
	if (share->trunk.home != weir__self)
		return -EPROTO;
	put(share);
	return 0;
}

void *weir_share_value(const struct weir_share *share)
{
	return share && share->trunk.state == FUTURE_READY ? share->trunk.value : NULL;
}

/* --- readers --- */

static struct weir_future *reader_source(const struct weir_future *future)
{
	return &reader_of(future)->share->trunk;
}

/* reader has left the list; share has its result. */
static void reader_settle(struct reader *reader)
{
	struct weir_share *share = reader->share;
	struct weir_future *trunk = &share->trunk;

	if (trunk->res < 0)
		reader->future.origin = trunk->origin;
	if (trunk->value)
		share->refs++;
	weir__future_settle(&reader->future, trunk->res, trunk->value ? share : NULL, put_value);
	weir__future_unref(&reader->future);
}

/* One of several leaves; the last one stays, and what is shared is asked. */
static struct weir_future *reader_cancel(struct weir_future *future)
{
	struct reader *reader = reader_of(future);
	struct weir_share *share = reader->share;

	if (share->readers.next == share->readers.prev)
		return &share->trunk;
	weir__node_remove(&reader->node);
	weir__future_settle(future, -ECANCELED, NULL, NULL);
	weir__future_unref(future);
	return NULL;
}

static const struct weir_future_kind reader_kind = {
	.source = reader_source,
	.cancel = reader_cancel,
};

struct weir_future *weir_share_read_at(struct weir_share *share, const char *origin)
{
	struct weir_future *future;
	struct reader *reader;
	int r;

	if (!share)
		return weir_future_of(-EINVAL);
	if (weir_unlikely(share->trunk.home != weir__self))
		return weir_future_of(weir__self ? -EPROTO : -EDEADLK);
	share->is_read = true;
	if (share->trunk.state == FUTURE_READY && !share->trunk.value)
		return weir_future_of(share->trunk.res);
	r = weir__future_create(&reader_kind, origin, &future);
	if (weir_unlikely(r))
		return weir_future_of(r);
	reader = reader_of(future);
	reader->share = share;
	if (share->trunk.state == FUTURE_READY)
		reader_settle(reader);
	else
		weir__list_push(&share->readers, &reader->node);
	return future;
}

/* --- the trunk --- */

static struct weir_future *trunk_source(const struct weir_future *trunk)
{
	return share_of(trunk)->source;
}

static const struct weir_future_kind trunk_kind = {
	.is_large = true,
	.is_shared = true,
	.source = trunk_source,
};

static void trunk_run(struct weir_task *task)
{
	struct weir_future *trunk = weir_container_of(task, struct weir_future, task);
	struct weir_share *share = share_of(trunk);
	struct weir_result result;
	struct weir_node *node;

	weir__source_take(&share->source, &result, &trunk->origin);
	trunk->res = result.res;
	trunk->value = result.value;
	trunk->drop = result.drop;
	trunk->state = FUTURE_READY;
	while ((node = weir__list_pop(&share->readers)))
		reader_settle(weir_container_of(node, struct reader, node));
	put(share);
}

int weir__share_create(const char *origin, struct weir_share **ret_share)
{
	struct weir_future *trunk;
	struct weir_share *share;
	int r = weir__future_create(&trunk_kind, origin, &trunk);

	if (r)
		return r;
	weir_task_init(&trunk->task, trunk_run);
	trunk->res = 0;
	trunk->drop = NULL;
	share = share_of(trunk);
	share->source = NULL;
	weir__list_init(&share->readers);
	share->refs = 1;
	share->is_read = false;
	*ret_share = share;
	return 0;
}

void weir__share_begin(struct weir_share *share, struct weir_future *source)
{
	share->refs++;
	weir__source_set(&share->trunk, &share->source, source);
}

int weir_share_create_at(struct weir_future *future, struct weir_share **ret_share,
			 const char *origin)
{
	int r = weir__future_check(future);

	if (!r)
		r = weir__share_create(origin, ret_share);
	if (r)
		return r;
	weir__share_begin(*ret_share, future);
	return 0;
}
