/* SPDX-License-Identifier: MIT */
/*
 * stream.h - what stages of a stream are made of.
 *
 * A stage is a subscriber to what is above it (in), a stream to what is below it, and once that has
 * subscribed, its subscription (out). Most of what a stage does is the same for all and stands
 * in stream.c; an operator brings next(), and of the rest what differs.
 *
 * Over. A stage is over once it was cancelled or has sent its end; it then sends nothing, and drops
 * what still comes (rules 1.7, 1.8, 2.8). weir__stage_end() and the cancel of out are the only ways
 * there, and both run the operator's stop(), which gives back what it holds.
 *
 * Nothing of a pipeline is freed while any of its functions is on the stack: the arena goes in a
 * task of its own.
 */
#ifndef WEIR_FUTURES_STREAM_H
#define WEIR_FUTURES_STREAM_H

#include <string.h>

#include "core/ensure.h"
#include "core/queue.h"
#include "core/weir_task.h"
#include "core/worker.h"
#include "futures/weir_future.h"
#include "futures/weir_stream.h"
#include "futures/weir_stream_from.h"
#include "futures/weir_stream_ops.h"
#include "futures/weir_stream_to.h"

struct weir__stage;

/* What an operator brings; NULL: what all do. */
struct weir__stage_kind {
	const char *name;
	/* Somebody has subscribed: start anew. */
	void (*start)(struct weir__stage *stage);
	/* He knows; demand may be there. Of a stage without source: subscribe to others now. */
	void (*begin)(struct weir__stage *stage);
	/* Over: timers, what is held. Called once a subscription. */
	void (*stop)(struct weir__stage *stage);
	unsigned (*buffered)(const struct weir__stage *stage);
	/* The arena goes. */
	void (*dispose)(struct weir__stage *stage);
};

struct weir__stage {
	struct weir_stream stream;
	struct weir_subscriber in;
	struct weir_subscription out;
	struct weir_subscription *up;	/* NULL before subscribed(), and once it is over */
	struct weir_subscriber *down;	/* NULL: nobody has subscribed */
	void (*send)(struct weir_subscriber *down, struct weir_item item);	/* down's next() */
	struct weir_stream *source; /* what it subscribes to; NULL for what has none, or several */
	const struct weir__stage_kind *kind;
	const char *name;		/* NULL: the kind's */
	int64_t demand;			/* of down, of stages that count it */
	bool over;
	bool counts;			/* demand and items are kept */
	uint64_t items, dropped;
	struct weir_link link;		/* in the arena's list */
};

/* An arena, and what runs in it. */
struct weir_arena {
	const char *name;
	size_t size, used, needed;
	int error;
	unsigned keeps;			/* weir_arena_keep(), batches that are in use */
	unsigned holds;			/* what has not ended: coroutines, other arenas */
	unsigned running;		/* terminal operations */
	bool is_given;			/* to one: it is freed when all are over */
	unsigned stage_count;
	struct weir_worker *home;
	struct weir_queue stages;
	struct weir_queue sinks;	/* struct weir__sink, that are run */
	struct weir_task task;		/* settles futures, frees */
	struct weir__stage broken;	/* stands for what could not be made */
	/* Of an inner arena: nothing runs any more; or, after that, memory has come back. */
	void (*idle)(struct weir_arena *arena);
	void *idle_arg;
	struct weir_node node;		/* among the worker's; inner ones are in none */
	char *memory;
};

/* --- making stages --- */

/* A zeroed stage of size bytes, or NULL: weir_arena_error() says why. */
void *weir__stage_new(struct weir_arena *arena, size_t size, const struct weir__stage_kind *kind,
		      const struct weir_subscriber_ops *in,
		      const struct weir_subscription_ops *out);

/* The same on top of source, whose drop it inherits. source may be broken: NULL. */
void *weir__stage_on(struct weir_stream *source, size_t size, const struct weir__stage_kind *kind,
		     const struct weir_subscriber_ops *in, const struct weir_subscription_ops *out);

/* What an operator returns: stage's stream, or the one that ends with the error. */
static inline struct weir_stream *weir__stage_stream(struct weir__stage *stage,
						     struct weir_arena *arena)
{
	return stage ? &stage->stream : &arena->broken.stream;
}

/* arena ends with error instead of running. */
struct weir_stream *weir__arena_fail(struct weir_arena *arena, int error);

/* What takes several streams has none of them, or of several arenas: what it returns. NULL: fine.
 */
struct weir_stream *weir__streams_bad(struct weir_stream *const *streams, unsigned count);

/* An arena within memory of another one: memory is at least WEIR__ARENA_MIN bytes. */
#define WEIR__ARENA_MIN (sizeof(struct weir_arena) + 128)
struct weir_arena *weir__arena_inner(struct weir_arena *outer, void *memory, size_t size);

/* Forgets everything in an inner arena, that is not busy. */
void weir__arena_reset(struct weir_arena *arena);

/* Something in it runs, or memory of it is out. */
static inline bool weir__arena_is_busy(const struct weir_arena *arena)
{
	return arena->holds || arena->keeps;
}

static inline void weir__arena_hold(struct weir_arena *arena)
{
	arena->holds++;
}
void weir__arena_release(struct weir_arena *arena);

/*
 * Readies task, a member of a stage in arena, which is held until weir__stage_ran(): the memory of
 * an inner arena may be used anew as soon as nothing holds it.
 */
static inline void weir__stage_ready(struct weir_arena *arena, struct weir_task *task)
{
	if (task->queued_)
		return;
	arena->holds++;
	weir__ready(arena->home, task);
}

/* The last thing that such a task does: its stage may be gone. */
static inline void weir__stage_ran(struct weir_arena *arena)
{
	weir__arena_release(arena);
}

/* The futures of sinks that are over are settled, and arena is freed, when it is time. */
void weir__arena_check(struct weir_arena *arena);

/* --- what all stages do --- */

/* Rule 1.9: subscribed() comes first, then ended(error). */
void weir__refuse(struct weir_subscriber *subscriber, int error);

void weir__stage_subscribe(struct weir_stream *stream, struct weir_subscriber *down);
void weir__stage_subscribed(struct weir_subscriber *in, struct weir_subscription *up);
void weir__stage_ended(struct weir_subscriber *in, int error);
void weir__stage_request(struct weir_subscription *out, int64_t n);	/* passes it on */
void weir__stage_cancel(struct weir_subscription *out);
extern const struct weir_subscription_ops weir__stage_out;

#define WEIR__STAGE_IN(next_fn)                                                                   \
	{                                                                                         \
		.subscribed = weir__stage_subscribed, .next = next_fn, .ended = weir__stage_ended, \
	}

static inline struct weir__stage *weir__stage_of_in(struct weir_subscriber *in)
{
	return weir_container_of(in, struct weir__stage, in);
}

static inline struct weir__stage *weir__stage_of_out(struct weir_subscription *out)
{
	return weir_container_of(out, struct weir__stage, out);
}

static inline void weir__item_drop(const struct weir_stream *stream, struct weir_item item)
{
	if (stream->drop)
		stream->drop(item);
}

/* item, of what is above, comes to nobody. */
static inline void weir__stage_lose(struct weir__stage *stage, struct weir_item item)
{
	if (stage->source)
		weir__item_drop(stage->source, item);
}

static inline void weir__stage_send(struct weir__stage *stage, struct weir_item item)
{
	stage->send(stage->down, item);
}

/* Asks what is above for n more, unless it is over. */
static inline void weir__stage_ask(struct weir__stage *stage, int64_t n)
{
	if (stage->up)
		stage->up->ops->request(stage->up, n);
}

/* Sends the end: 0 or an error. Cancels what is above if it has not ended. Again: nothing. */
void weir__stage_end(struct weir__stage *stage, int error);

/* a + n, at most WEIR_UNBOUNDED. */
static inline int64_t weir__demand_add(int64_t a, int64_t n)
{
	int64_t sum;

	return __builtin_add_overflow(a, n, &sum) ? WEIR_UNBOUNDED : sum;
}

/* One less of what is bounded. */
static inline void weir__demand_use(int64_t *demand)
{
	if (*demand != WEIR_UNBOUNDED)
		(*demand)--;
}

/*
 * request() of a stage that counts demand itself: adds n. False: nothing to do (over), or n was
 * wrong and the stage has ended.
 */
bool weir__stage_demand(struct weir__stage *stage, int64_t n);

/* stage counts demand: sends, and one less is wanted. */
static inline void weir__stage_give(struct weir__stage *stage, struct weir_item item)
{
	weir__demand_use(&stage->demand);
	stage->items++;
	stage->send(stage->down, item);
}

/* --- a bounded queue of items, in memory of the arena --- */

struct weir__ring {
	struct weir_item *items;
	unsigned size;		/* any */
	unsigned head, count;
};

/* False when the arena is full. */
bool weir__ring_init(struct weir__ring *ring, struct weir_arena *arena, unsigned size);

static inline bool weir__ring_is_full(const struct weir__ring *ring)
{
	return ring->count == ring->size;
}

static inline void weir__ring_push(struct weir__ring *ring, struct weir_item item)
{
	unsigned at = ring->head + ring->count++;

	ring->items[at < ring->size ? at : at - ring->size] = item;
}

static inline struct weir_item weir__ring_pop(struct weir__ring *ring)
{
	struct weir_item item = ring->items[ring->head];

	ring->head = ring->head + 1 == ring->size ? 0 : ring->head + 1;
	ring->count--;
	return item;
}

/* Drops what is inside, items of stream. */
void weir__ring_clear(struct weir__ring *ring, const struct weir_stream *stream);

/* --- an input of a stage that has several --- */

struct weir__input {
	struct weir_subscriber in;
	struct weir_subscription *up;	/* NULL before subscribed() and once it is over */
	struct weir_stream *source;
	struct weir__stage *stage;
	unsigned index;
	bool over;
};

void weir__input_subscribed(struct weir_subscriber *in, struct weir_subscription *up);

static inline struct weir__input *weir__input_of(struct weir_subscriber *in)
{
	return weir_container_of(in, struct weir__input, in);
}

/* Marks input as over; false when it was already, or its stage is. */
bool weir__input_end(struct weir__input *input);

/* Subscribes input to its source, anew. */
void weir__input_start(struct weir__input *input, const struct weir_subscriber_ops *ops);

static inline void weir__input_ask(struct weir__input *input, int64_t n)
{
	if (input->up)
		input->up->ops->request(input->up, n);
}

void weir__input_cancel(struct weir__input *input);

/* --- a coroutine that sends --- */

/* Waits until an item is asked for: 0, or as weir_emit(). */
int weir__emit_wait(struct weir_emitter *emitter);

/* weir_stream_generate() by another name. */
struct weir_stream *weir__stream_generate(struct weir_arena *arena, const char *name,
					  weir_emit_fn fn, void *arg);

/* --- a sink: what runs a pipeline --- */

struct weir__sink {
	struct weir_subscriber in;
	struct weir_subscription *up;
	struct weir_arena *arena;
	struct weir_stream *source;
	struct weir_promise promise;
	struct weir_link link;		/* in arena->sinks */
	void (*stop)(struct weir__sink *sink);	/* over; may be NULL */
	ssize_t res;
	int64_t ask;			/* what for at first */
	bool over;
};

/* A zeroed sink for stream, or NULL and *ret_future is why. */
void *weir__sink_new(struct weir_stream *stream, size_t size,
		     const struct weir_subscriber_ops *ops, struct weir_future **ret_future);

/* Subscribes, and asks for n. */
void weir__sink_run(struct weir__sink *sink, int64_t n);

/* The pipeline's result is res; what is above is cancelled if it has not ended. Again: nothing. */
void weir__sink_end(struct weir__sink *sink, ssize_t res);
void weir__sink_subscribed(struct weir_subscriber *in, struct weir_subscription *up);
void weir__sink_ended(struct weir_subscriber *in, int error);	/* with sink->res, or the error */

#endif
