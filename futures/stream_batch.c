/* SPDX-License-Identifier: MIT */
/*
 * stream_batch.c - many items as one: buffer. Batches are memory of the arena, given back by drop;
 * while all are out, nothing is asked for.
 */
#include "futures/stream.h"

struct buffer;

struct batch {
	struct weir_batch batch;	/* what is sent: first */
	struct buffer *of;
	struct batch *next;		/* free */
};

struct buffer {
	struct weir__stage stage;
	struct weir_timer timer;
	int64_t ns;
	unsigned size;
	struct batch *free;
	struct batch *filling;		/* NULL: none was free, or nothing came yet */
	struct batch *full;		/* waits to be asked for */
	int64_t asked;			/* items, of above, that have not come */
	bool is_last;
};

static struct buffer *buffer_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct buffer, stage);
}

static void buffer_move(struct buffer *buffer);

static void put_back(struct batch *batch)
{
	struct buffer *buffer = batch->of;
	unsigned i;

	for (i = 0; i < batch->batch.count; i++)
		weir__item_drop(buffer->stage.source, batch->batch.items[i]);
	batch->batch.count = 0;
	batch->next = buffer->free;
	buffer->free = batch;
}

/* Of a batch that was sent: it kept the arena. */
static void batch_drop(struct weir_item item)
{
	struct batch *batch = item.ptr;
	struct buffer *buffer = batch->of;

	put_back(batch);
	buffer_move(buffer);
	weir_arena_drop(buffer->stage.stream.arena);
}

static void give(struct buffer *buffer, struct batch *batch)
{
	weir_arena_keep(buffer->stage.stream.arena);
	weir__stage_give(&buffer->stage, weir_item_ptr(batch, sizeof(batch->batch)));
}

/* The batch that is being filled is not filled any further. */
static void close_batch(struct buffer *buffer)
{
	weir_timer_cancel(&buffer->timer);
	buffer->full = buffer->filling;
	buffer->filling = NULL;
}

/* Sends what is full and asked for; asks for what there is room for. */
static void buffer_move(struct buffer *buffer)
{
	struct weir__stage *stage = &buffer->stage;
	struct batch *full = buffer->full;
	unsigned count;

	if (stage->over)
		return;
	if (full && stage->demand > 0) {
		buffer->full = NULL;
		give(buffer, full);
		if (stage->over)
			return;
	}
	if (buffer->is_last && !buffer->full && buffer->filling)
		close_batch(buffer);
	if (buffer->is_last && buffer->full) {
		if (stage->demand > 0)
			buffer_move(buffer);
		return;
	}
	if (buffer->is_last) {
		weir__stage_end(stage, 0);
		return;
	}
	if (!buffer->filling && buffer->free) {
		buffer->filling = buffer->free;
		buffer->free = buffer->free->next;
	}
	if (!buffer->filling || buffer->full)
		return;
	count = buffer->size - buffer->filling->batch.count;
	if (buffer->asked < count) {
		int64_t more = count - buffer->asked;

		buffer->asked = count;
		weir__stage_ask(stage, more);
	}
}

static void buffer_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);

	if (weir__stage_demand(stage, n))
		buffer_move(buffer_of(stage));
}

static void buffer_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct buffer *buffer = buffer_of(stage);
	struct batch *batch = buffer->filling;

	if (stage->over || !batch) {
		weir__stage_lose(stage, item);
		weir__stage_end(stage, -EPROTO);	/* it was not asked for; unless over */
		return;
	}
	buffer->asked--;
	batch->batch.items[batch->batch.count++] = item;
	if (batch->batch.count == 1 && buffer->ns != WEIR_NEVER)
		weir_timer_arm(&buffer->timer, weir_in(buffer->ns));
	if (batch->batch.count < buffer->size)
		return;
	close_batch(buffer);
	buffer_move(buffer);
}

/* In time: even when one is waiting, this one goes on being filled, until that has gone. */
static void buffer_fire(struct weir_timer *timer)
{
	struct buffer *buffer = weir_container_of(timer, struct buffer, timer);

	if (buffer->full) {
		weir_timer_arm(timer, weir_in(buffer->ns));
		return;
	}
	close_batch(buffer);
	buffer_move(buffer);
}

static void buffer_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct buffer *buffer = buffer_of(stage);

	stage->up = NULL;
	if (stage->over)
		return;
	buffer->is_last = true;
	if (buffer->filling && !buffer->filling->batch.count) {
		put_back(buffer->filling);
		buffer->filling = NULL;
	}
	if (error)
		weir__stage_end(stage, error);
	else
		buffer_move(buffer);
}

static void buffer_start(struct weir__stage *stage)
{
	struct buffer *buffer = buffer_of(stage);

	buffer->asked = 0;
	buffer->is_last = false;
}

static void buffer_stop(struct weir__stage *stage)
{
	struct buffer *buffer = buffer_of(stage);

	weir_timer_cancel(&buffer->timer);
	if (buffer->filling)
		put_back(buffer->filling);
	if (buffer->full)
		put_back(buffer->full);
	buffer->filling = buffer->full = NULL;
}

static unsigned buffer_buffered(const struct weir__stage *stage)
{
	const struct buffer *buffer = buffer_of((struct weir__stage *)(uintptr_t)stage);

	return (buffer->filling ? buffer->filling->batch.count : 0) +
	       (buffer->full ? buffer->full->batch.count : 0);
}

static bool make_batches(struct buffer *buffer, unsigned batches)
{
	struct weir_arena *arena = buffer->stage.stream.arena;
	unsigned i;

	for (i = 0; i < batches; i++) {
		struct batch *batch = weir_arena_alloc(arena, sizeof(*batch));
		struct weir_item *items =
			weir_arena_alloc(arena, buffer->size * sizeof(struct weir_item));

		if (!batch || !items)
			return false;
		batch->batch.items = items;
		batch->of = buffer;
		batch->next = buffer->free;
		buffer->free = batch;
	}
	return true;
}

struct weir_stream *weir_stream_buffer(struct weir_stream *stream, unsigned count, int64_t ns,
				       unsigned batches)
{
	static const struct weir_subscriber_ops in = { weir__stage_subscribed, buffer_next,
						       buffer_ended };
	static const struct weir_subscription_ops out = { buffer_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "buffer",
						      .start = buffer_start,
						      .stop = buffer_stop,
						      .buffered = buffer_buffered };
	struct buffer *buffer = weir__stage_on(stream, sizeof(*buffer), &kind, &in, &out);

	if (!count || !batches || ns <= 0)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (!buffer)
		return &stream->arena->broken.stream;
	buffer->stage.counts = true;
	buffer->size = count;
	buffer->ns = ns;
	weir_timer_init(&buffer->timer, buffer_fire);
	if (!make_batches(buffer, batches))
		return &stream->arena->broken.stream;
	buffer->stage.stream.drop = batch_drop;
	return &buffer->stage.stream;
}
