/* SPDX-License-Identifier: MIT */
/*
 * stream_group.c - one stream as many: group_by and window. What is sent are streams (outlets),
 * each with a ring for what its subscriber has not asked for yet. One item at a time is asked for
 * above, and none while an outlet is full or, for lack of a free one, a new window could not be
 * opened.
 *
 *	FREE --first item--> NEW --sent below--> OPEN --last in--> CLOSED --all taken--> FREE
 *
 * Outlets that are NEW wait for demand below; there are never more of them than outlets.
 */
#include "futures/stream.h"

enum outlet_state { FREE, NEW, OPEN, CLOSED };

struct split;

struct outlet {
	struct weir__stage stage;	/* whose stream is sent */
	struct weir__ring ring;
	struct split *split;
	struct outlet *next_new;	/* in order of opening */
	int64_t key;
	enum outlet_state state;
	int error;
	bool is_last;			/* what is in the ring is all */
	bool is_sent;
	bool unwanted;			/* it was cancelled: what comes is dropped */
	bool busy;
};

struct split {
	struct weir__stage stage;
	struct outlet **outlets;
	unsigned count;
	struct outlet *new_first, **new_last;
	weir_stream_key_fn key;		/* NULL: windows */
	void *arg;
	struct weir_timer timer;
	int64_t ns;
	unsigned size;			/* of a window */
	unsigned filled;
	struct outlet *window;		/* that is being filled */
	bool asked;
	bool is_last;
};

static struct split *split_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct split, stage);
}

static struct outlet *outlet_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct outlet, stage);
}

static void split_move(struct split *split);

/* --- outlets --- */

static void outlet_free(struct outlet *outlet)
{
	outlet->state = FREE;
	outlet->is_sent = false;
}

static void outlet_send(struct outlet *outlet)
{
	struct weir__stage *stage = &outlet->stage;

	if (outlet->busy)
		return;
	outlet->busy = true;
	while (stage->down && !stage->over && stage->demand > 0 && outlet->ring.count)
		weir__stage_give(stage, weir__ring_pop(&outlet->ring));
	outlet->busy = false;
	if (stage->down && !stage->over && outlet->is_last && !outlet->ring.count)
		weir__stage_end(stage, outlet->error);
}

static void outlet_request(struct weir_subscription *out, int64_t n)
{
	struct outlet *outlet = outlet_of(weir__stage_of_out(out));

	if (!weir__stage_demand(&outlet->stage, n))
		return;
	outlet_send(outlet);
	split_move(outlet->split);
}

static void outlet_begin(struct weir__stage *stage)
{
	outlet_send(outlet_of(stage));
}

/* Over: cancelled, or all was sent. */
static void outlet_stop(struct weir__stage *stage)
{
	struct outlet *outlet = outlet_of(stage);

	weir__ring_clear(&outlet->ring, &stage->stream);
	outlet->unwanted = true;
	if (outlet->is_last)
		outlet_free(outlet);
	split_move(outlet->split);
}

/* It was sent, and nobody subscribed. */
static void outlet_dispose(struct weir__stage *stage)
{
	weir__ring_clear(&outlet_of(stage)->ring, &stage->stream);
}

static unsigned outlet_buffered(const struct weir__stage *stage)
{
	return outlet_of((struct weir__stage *)(uintptr_t)stage)->ring.count;
}

/* Nothing more comes for outlet. */
static void outlet_close(struct outlet *outlet, int error)
{
	if (outlet->state == FREE || outlet->is_last)
		return;
	outlet->is_last = true;
	outlet->error = error;
	if (outlet->state == OPEN)
		outlet->state = CLOSED;
	if (outlet->stage.down)
		outlet_send(outlet);
	else if (outlet->unwanted)
		outlet_free(outlet);
}

static void outlet_take(struct outlet *outlet, struct weir_item item)
{
	if (outlet->unwanted || weir__ring_is_full(&outlet->ring)) {
		weir__item_drop(&outlet->stage.stream, item);
		return;
	}
	weir__ring_push(&outlet->ring, item);
	outlet_send(outlet);
}

static struct outlet *outlet_open(struct split *split, int64_t key)
{
	struct outlet *outlet = NULL;
	unsigned i;

	for (i = 0; i < split->count && !outlet; i++)
		if (split->outlets[i]->state == FREE)
			outlet = split->outlets[i];
	if (!outlet)
		return NULL;
	outlet->state = NEW;
	outlet->key = key;
	outlet->error = 0;
	outlet->is_last = outlet->unwanted = false;
	outlet->next_new = NULL;
	*split->new_last = outlet;
	split->new_last = &outlet->next_new;
	return outlet;
}

/* --- what splits --- */

/* What is not taken by whoever gets it is dropped: it will not be subscribed to later. */
static void send_new(struct split *split)
{
	struct weir__stage *stage = &split->stage;

	while (!stage->over && stage->demand > 0 && split->new_first) {
		struct outlet *outlet = split->new_first;

		split->new_first = outlet->next_new;
		if (!split->new_first)
			split->new_last = &split->new_first;
		outlet->state = outlet->is_last ? CLOSED : OPEN;
		outlet->is_sent = true;
		weir__stage_give(stage, weir_item_ptr(&outlet->stage.stream, (size_t)outlet->key));
	}
}

static bool has_room(const struct split *split)
{
	bool has_free = false;
	unsigned i;

	for (i = 0; i < split->count; i++) {
		const struct outlet *outlet = split->outlets[i];

		has_free |= outlet->state == FREE;
		if (outlet->state != FREE && !outlet->is_last && !outlet->unwanted &&
		    weir__ring_is_full(&outlet->ring))
			return false;
	}
	return split->key || split->window || has_free;
}

static void split_move(struct split *split)
{
	struct weir__stage *stage = &split->stage;

	if (stage->over)
		return;
	send_new(split);
	if (stage->over)
		return;
	if (split->is_last && !split->new_first) {
		weir__stage_end(stage, 0);
		return;
	}
	if (split->is_last || split->asked || !has_room(split) ||
	    (split->new_first && !stage->demand))
		return;
	split->asked = true;
	weir__stage_ask(stage, 1);
}

static void split_request(struct weir_subscription *out, int64_t n)
{
	if (weir__stage_demand(weir__stage_of_out(out), n))
		split_move(split_of(weir__stage_of_out(out)));
}

static void close_window(struct split *split)
{
	struct outlet *window = split->window;

	weir_timer_cancel(&split->timer);
	split->window = NULL;
	split->filled = 0;
	if (window)
		outlet_close(window, 0);
}

static void window_fire(struct weir_timer *timer)
{
	struct split *split = weir_container_of(timer, struct split, timer);

	close_window(split);
	split_move(split);
}

static struct outlet *window_for(struct split *split)
{
	if (split->window)
		return split->window;
	split->window = outlet_open(split, 0);
	if (split->window && split->ns != WEIR_NEVER)
		weir_timer_arm(&split->timer, weir_in(split->ns));
	return split->window;
}

static struct outlet *group_for(struct split *split, int64_t key)
{
	unsigned i;

	for (i = 0; i < split->count; i++)
		if (split->outlets[i]->state != FREE && split->outlets[i]->key == key)
			return split->outlets[i];
	return outlet_open(split, key);
}

static void split_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct split *split = split_of(stage);
	struct outlet *outlet;

	if (stage->over) {
		weir__stage_lose(stage, item);
		return;
	}
	split->asked = false;
	outlet = split->key ? group_for(split, split->key(item, split->arg)) : window_for(split);
	if (!outlet) {
		weir__stage_lose(stage, item);
		weir__stage_end(stage, split->key ? -ENOBUFS : -EPROTO);
		return;
	}
	outlet_take(outlet, item);
	if (!split->key && ++split->filled == split->size)
		close_window(split);
	split_move(split);
}

static void close_all(struct split *split, int error)
{
	unsigned i;

	for (i = 0; i < split->count; i++)
		outlet_close(split->outlets[i], error);
}

static void split_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct split *split = split_of(stage);

	stage->up = NULL;
	if (stage->over)
		return;
	weir_timer_cancel(&split->timer);
	split->window = NULL;
	close_all(split, error);
	split->is_last = true;
	if (error)
		weir__stage_end(stage, error);
	else
		split_move(split);
}

static void split_start(struct weir__stage *stage)
{
	struct split *split = split_of(stage);

	split->asked = split->is_last = false;
	split->window = NULL;
	split->filled = 0;
	split->new_first = NULL;
	split->new_last = &split->new_first;
}

/* Outlets that nobody was sent go; the others end, by -ECANCELED if more was to come. */
static void split_stop(struct weir__stage *stage)
{
	struct split *split = split_of(stage);
	unsigned i;

	weir_timer_cancel(&split->timer);
	close_all(split, -ECANCELED);
	for (i = 0; i < split->count; i++) {
		struct outlet *outlet = split->outlets[i];

		if (outlet->state == FREE || outlet->is_sent)
			continue;
		weir__ring_clear(&outlet->ring, &outlet->stage.stream);
		outlet_free(outlet);
	}
}

/* --- making them --- */

static bool make_outlets(struct split *split, unsigned count, unsigned room)
{
	static const struct weir_subscription_ops out = { outlet_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "outlet",
						      .begin = outlet_begin,
						      .stop = outlet_stop,
						      .buffered = outlet_buffered,
						      .dispose = outlet_dispose };
	struct weir_arena *arena = split->stage.stream.arena;
	unsigned i;

	split->outlets = weir_arena_alloc(arena, count * sizeof(struct outlet *));
	for (i = 0; split->outlets && i < count; i++) {
		struct outlet *outlet = weir__stage_new(arena, sizeof(*outlet), &kind, NULL, &out);

		if (!outlet || !weir__ring_init(&outlet->ring, arena, room))
			return false;
		outlet->split = split;
		outlet->stage.counts = true;
		outlet->stage.stream.drop = split->stage.source->drop;
		split->outlets[split->count++] = outlet;
	}
	return split->outlets;
}

static const struct weir_subscriber_ops split_in = { weir__stage_subscribed, split_next,
						     split_ended };
static const struct weir_subscription_ops split_out = { split_request, weir__stage_cancel };

static struct weir_stream *make_split(struct weir_stream *stream,
				      const struct weir__stage_kind *kind, unsigned outlets,
				      unsigned room, struct split **ret_split)
{
	struct split *split =
		weir__stage_on(stream, sizeof(*split), kind, &split_in, &split_out);

	*ret_split = split;
	if (!split)
		return &stream->arena->broken.stream;
	split->stage.counts = true;
	split->stage.stream.drop = NULL;
	split->ns = WEIR_NEVER;
	weir_timer_init(&split->timer, window_fire);
	if (!make_outlets(split, outlets, room))
		return &stream->arena->broken.stream;
	return &split->stage.stream;
}

struct weir_stream *weir_stream_group_by(struct weir_stream *stream, weir_stream_key_fn key,
					 void *arg, unsigned groups, unsigned room)
{
	static const struct weir__stage_kind kind = { .name = "group_by",
						      .start = split_start,
						      .stop = split_stop };
	struct weir_stream *made;
	struct split *split;

	if (!key || !groups || !room)
		return weir__arena_fail(stream->arena, -EINVAL);
	made = make_split(stream, &kind, groups, room, &split);
	if (split) {
		split->key = key;
		split->arg = arg;
	}
	return made;
}

/* Windows that are read while others are filled. */
#define WINDOWS 4

struct weir_stream *weir_stream_window(struct weir_stream *stream, unsigned count, int64_t ns)
{
	static const struct weir__stage_kind kind = { .name = "window",
						      .start = split_start,
						      .stop = split_stop };
	struct weir_stream *made;
	struct split *split;

	if (!count || ns <= 0)
		return weir__arena_fail(stream->arena, -EINVAL);
	made = make_split(stream, &kind, WINDOWS, count, &split);
	if (split) {
		split->size = count;
		split->ns = ns;
	}
	return made;
}
