/* SPDX-License-Identifier: MIT */
/*
 * stream_merge.c - several streams as one: merge, flat_map, concat_map, switch_map.
 *
 * Each has slots; a slot has a stream and a ring for what of it was not asked for yet. Slots are
 * served in turn, an item each, so none is starved. A slot of merge has its stream for good. Those
 * of the others have an arena of their own, in which the stream for an item is made; it is emptied
 * and used again once everything in it has ended:
 *
 *	FREE --an item--> LIVE --its stream ended--> DRAINS --ring empty--> ENDING --nothing runs-->
 *	LENT --memory that it sent is back--> FREE
 *
 * As many items are asked for above as slots are free. switch_map has two slots, so that the
 * latest stream need not wait for the end of the one before it.
 */
#include "futures/stream.h"

#define ROOM 8
#define STREAMS 4
#define ARENA_SIZE 1024

enum slot_state { FREE, LIVE, DRAINS, ENDING, LENT };

struct slot {
	struct weir__input input;
	struct weir__ring ring;
	unsigned asked;			/* of its stream: on the way, or in the ring */
	enum slot_state state;
	struct weir_arena *arena;	/* NULL: of merge */
	struct weir_item item;		/* what its stream was made for */
	bool has_item;
};

struct merge {
	struct weir__stage stage;
	struct slot *slots;
	unsigned count;
	unsigned turn;			/* whose item is next */
	unsigned busy_slots;		/* LIVE, DRAINS, ENDING */
	weir_stream_inner_fn fn;	/* NULL: merge */
	void *arg;
	bool switches;
	bool outer_over;
	bool busy;			/* serve() is on the stack */
	struct weir_item waits;		/* switch_map: for a slot */
	bool has_waiting;
};

static struct merge *merge_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct merge, stage);
}

static struct slot *slot_of(struct weir_subscriber *in)
{
	return weir_container_of(in, struct slot, input.in);
}

static void fill(struct merge *merge);

/* Nothing of slot runs. One slot more: an item more is welcome. */
static void slot_quiet(struct merge *merge, struct slot *slot)
{
	if (slot->arena && slot->arena->keeps) {
		slot->state = LENT;
		weir_arena_keep(merge->stage.stream.arena);
		return;
	}
	slot->state = FREE;
	if (merge->fn && !merge->switches)
		weir__stage_ask(&merge->stage, 1);
}

/* slot's stream has ended and all of it was sent. */
static void slot_end(struct merge *merge, struct slot *slot)
{
	if (slot->has_item)
		weir__item_drop(merge->stage.source, slot->item);
	slot->has_item = false;
	if (slot->arena && slot->arena->holds) {
		slot->state = ENDING;
		weir__arena_hold(merge->stage.stream.arena);
		return;
	}
	merge->busy_slots--;
	slot_quiet(merge, slot);
}

/* From an arena that became idle, whose stages are on the stack. */
static void slot_idle(struct weir_arena *arena)
{
	struct slot *slot = arena->idle_arg;
	struct merge *merge = merge_of(slot->input.stage);
	enum slot_state state = slot->state;

	if (state == ENDING) {
		merge->busy_slots--;
		slot_quiet(merge, slot);
		fill(merge);
		weir__arena_release(merge->stage.stream.arena);
	} else if (state == LENT && !arena->keeps) {
		slot_quiet(merge, slot);
		fill(merge);
		weir_arena_drop(merge->stage.stream.arena);
	}
}

static void slot_cancel(struct merge *merge, struct slot *slot)
{
	if (slot->state != LIVE && slot->state != DRAINS)
		return;
	weir__input_cancel(&slot->input);
	weir__ring_clear(&slot->ring, slot->input.source);
	slot_end(merge, slot);
}

static void slot_serve(struct merge *merge, struct slot *slot)
{
	struct weir_item item = weir__ring_pop(&slot->ring);

	weir__stage_give(&merge->stage, item);
	if (merge->stage.over)
		return;
	slot->asked--;
	if (slot->state == LIVE && slot->asked <= slot->ring.size / 2) {
		unsigned more = slot->ring.size - slot->asked;

		slot->asked += more;
		weir__input_ask(&slot->input, more);
	}
	if (!merge->stage.over && slot->state == DRAINS && !slot->ring.count)
		slot_end(merge, slot);
}

/* The next in turn that has an item, or NULL. */
static struct slot *next_slot(struct merge *merge)
{
	unsigned i;

	for (i = 0; i < merge->count; i++) {
		struct slot *slot = &merge->slots[merge->turn];

		merge->turn = merge->turn + 1 == merge->count ? 0 : merge->turn + 1;
		if (slot->ring.count)
			return slot;
	}
	return NULL;
}

static bool is_done(const struct merge *merge)
{
	return merge->outer_over && !merge->busy_slots && !merge->has_waiting;
}

/* Sends what is there and asked for. Not within itself. */
static void serve(struct merge *merge)
{
	struct weir__stage *stage = &merge->stage;
	struct slot *slot;

	if (merge->busy)
		return;
	merge->busy = true;
	while (!stage->over && stage->demand > 0 && (slot = next_slot(merge)))
		slot_serve(merge, slot);
	merge->busy = false;
	if (stage->over)
		return;
	if (is_done(merge))
		weir__stage_end(stage, 0);
	else
		fill(merge);
}

static void merge_request(struct weir_subscription *out, int64_t n)
{
	if (weir__stage_demand(weir__stage_of_out(out), n))
		serve(merge_of(weir__stage_of_out(out)));
}

static void slot_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct slot *slot = slot_of(in);

	weir__input_subscribed(in, up);
	slot->asked = slot->ring.size;
	weir__input_ask(&slot->input, slot->ring.size);
}

static void slot_next(struct weir_subscriber *in, struct weir_item item)
{
	struct slot *slot = slot_of(in);
	struct merge *merge = merge_of(slot->input.stage);

	if (slot->input.over || merge->stage.over) {
		weir__item_drop(slot->input.source, item);
	} else if (weir__ring_is_full(&slot->ring)) {	/* it was not asked for */
		weir__item_drop(slot->input.source, item);
		weir__stage_end(&merge->stage, -EPROTO);
	} else {
		weir__ring_push(&slot->ring, item);
		serve(merge);
	}
}

static void slot_ended(struct weir_subscriber *in, int error)
{
	struct slot *slot = slot_of(in);
	struct merge *merge = merge_of(slot->input.stage);

	if (!weir__input_end(&slot->input))
		return;
	if (error) {
		weir__stage_end(&merge->stage, error);
		return;
	}
	slot->state = DRAINS;
	if (!slot->ring.count)
		slot_end(merge, slot);
	serve(merge);
}

static const struct weir_subscriber_ops slot_in = { slot_subscribed, slot_next, slot_ended };

static void slot_start(struct merge *merge, struct slot *slot, struct weir_stream *source)
{
	slot->state = LIVE;
	slot->input.source = source;
	merge->busy_slots++;
	weir__input_start(&slot->input, &slot_in);
}

static void merge_start(struct weir__stage *stage)
{
	struct merge *merge = merge_of(stage);
	unsigned i;

	merge->turn = 0;
	merge->outer_over = !merge->fn;
	merge->has_waiting = false;
	/* merge: what is asked for before the first begins is not the end. */
	merge->busy_slots = !merge->fn;
	for (i = 0; i < merge->count; i++) {
		struct slot *slot = &merge->slots[i];

		/* Of the last time, and not idle yet. */
		merge->busy_slots += slot->state == ENDING;
		slot->input.stage = stage;
		slot->input.index = i;
		slot->input.up = NULL;
		slot->input.over = true;
	}
}

static void merge_stop(struct weir__stage *stage)
{
	struct merge *merge = merge_of(stage);
	unsigned i;

	for (i = 0; i < merge->count; i++)
		slot_cancel(merge, &merge->slots[i]);
	if (merge->has_waiting)
		weir__item_drop(stage->source, merge->waits);
	merge->has_waiting = false;
}

static unsigned merge_buffered(const struct weir__stage *stage)
{
	const struct merge *merge = merge_of((struct weir__stage *)(uintptr_t)stage);
	unsigned i, count = 0;

	for (i = 0; i < merge->count; i++)
		count += merge->slots[i].ring.count;
	return count;
}

static const struct weir_subscription_ops merge_out = { merge_request, weir__stage_cancel };

/* merge is a new stage of size for its streams. */
static bool make_slots(struct merge *merge, unsigned count, unsigned room, size_t arena_size)
{
	struct weir_arena *arena = merge->stage.stream.arena;
	unsigned i;

	merge->count = count;
	merge->stage.counts = true;
	merge->slots = weir_arena_alloc(arena, count * sizeof(*merge->slots));
	for (i = 0; merge->slots && i < count; i++) {
		struct slot *slot = &merge->slots[i];
		void *memory;

		if (!weir__ring_init(&slot->ring, arena, room))
			return false;
		if (!arena_size)
			continue;
		memory = weir_arena_alloc(arena, sizeof(struct weir_arena) + 16 + arena_size);
		if (!memory)
			return false;
		slot->arena = weir__arena_inner(arena, memory,
						sizeof(struct weir_arena) + 16 + arena_size);
		slot->arena->idle = slot_idle;
		slot->arena->idle_arg = slot;
	}
	return merge->slots;
}

/* --- merge --- */

static void merge_begin(struct weir__stage *stage)
{
	struct merge *merge = merge_of(stage);
	unsigned i;

	for (i = 0; i < merge->count && !stage->over; i++)
		slot_start(merge, &merge->slots[i], merge->slots[i].input.source);
	if (stage->over)
		return;
	merge->busy_slots--;
	serve(merge);
}

struct weir_stream *weir_stream_merge(struct weir_stream *const *streams, unsigned count)
{
	static const struct weir__stage_kind kind = { .name = "merge",
						      .start = merge_start,
						      .begin = merge_begin,
						      .stop = merge_stop,
						      .buffered = merge_buffered };
	struct merge *merge;
	unsigned i;

	if (weir__streams_bad(streams, count))
		return weir__streams_bad(streams, count);
	merge = weir__stage_new(streams[0]->arena, sizeof(*merge), &kind, NULL, &merge_out);
	if (!merge || !make_slots(merge, count, ROOM, 0))
		return &streams[0]->arena->broken.stream;
	for (i = 0; i < count; i++)
		merge->slots[i].input.source = streams[i];
	merge->stage.stream.drop = streams[0]->drop;
	return &merge->stage.stream;
}

/* --- a stream for each item --- */

static struct slot *free_slot(struct merge *merge)
{
	unsigned i;

	for (i = 0; i < merge->count; i++)
		if (merge->slots[i].state == FREE)
			return &merge->slots[i];
	return NULL;
}

static void begin_inner(struct merge *merge, struct slot *slot, struct weir_item item)
{
	struct weir_stream *inner;

	weir__arena_reset(slot->arena);
	/* It may end while it begins: not before its functions have left the stack. */
	weir__arena_hold(slot->arena);
	slot->item = item;
	slot->has_item = true;
	inner = merge->fn(slot->arena, item, merge->arg);
	slot_start(merge, slot, inner ? inner : weir_stream_empty(slot->arena));
	weir__arena_release(slot->arena);
}

/* What waits for a slot begins when there is one. */
static void fill(struct merge *merge)
{
	struct slot *slot;

	if (merge->stage.over)
		return;
	if (merge->has_waiting && (slot = free_slot(merge))) {
		merge->has_waiting = false;
		begin_inner(merge, slot, merge->waits);
	}
	if (!merge->stage.over && is_done(merge) && !merge->busy)
		weir__stage_end(&merge->stage, 0);
}

static void outer_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct merge *merge = merge_of(stage);
	unsigned i, n = 0;

	weir__stage_subscribed(in, up);
	if (stage->up != up || stage->over)
		return;
	if (merge->switches) {
		weir__stage_ask(stage, WEIR_UNBOUNDED);
		return;
	}
	for (i = 0; i < merge->count; i++)
		n += merge->slots[i].state == FREE;
	if (n)
		weir__stage_ask(stage, n);
}

static void outer_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct merge *merge = merge_of(stage);
	struct slot *slot;
	unsigned i;

	if (stage->over) {
		weir__stage_lose(stage, item);
		return;
	}
	for (i = 0; merge->switches && i < merge->count; i++)
		slot_cancel(merge, &merge->slots[i]);
	slot = free_slot(merge);
	if (slot) {
		begin_inner(merge, slot, item);
		return;
	}
	if (!merge->switches) {		/* it was not asked for */
		weir__stage_lose(stage, item);
		weir__stage_end(stage, -EPROTO);
		return;
	}
	if (merge->has_waiting) {
		weir__stage_lose(stage, merge->waits);
		stage->dropped++;
	}
	merge->waits = item;
	merge->has_waiting = true;
}

static void outer_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct merge *merge = merge_of(stage);

	stage->up = NULL;
	if (stage->over)
		return;
	merge->outer_over = true;
	if (error || is_done(merge))
		weir__stage_end(stage, error);
}

static struct weir_stream *make_inner(struct weir_stream *stream, weir_stream_inner_fn fn,
				      void *arg, const struct weir_inner_opts *opts,
				      const struct weir__stage_kind *kind)
{
	static const struct weir_subscriber_ops in = { outer_subscribed, outer_next, outer_ended };
	unsigned count = opts && opts->streams ? opts->streams : STREAMS;
	unsigned room = opts && opts->room ? opts->room : ROOM;
	size_t size = opts && opts->size ? opts->size : ARENA_SIZE;
	struct merge *merge = weir__stage_on(stream, sizeof(*merge), kind, &in, &merge_out);

	if (!fn || count > UINT16_MAX)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (!merge || !make_slots(merge, count, room, size))
		return &stream->arena->broken.stream;
	merge->fn = fn;
	merge->arg = arg;
	merge->stage.stream.drop = opts ? opts->drop : NULL;
	return &merge->stage.stream;
}

#define INNER_KIND(name_)                                                                         \
	{                                                                                         \
		.name = name_, .start = merge_start, .stop = merge_stop,                          \
		.buffered = merge_buffered,                                                       \
	}

struct weir_stream *weir_stream_flat_map(struct weir_stream *stream, weir_stream_inner_fn fn,
					 void *arg, const struct weir_inner_opts *opts)
{
	static const struct weir__stage_kind kind = INNER_KIND("flat_map");

	return make_inner(stream, fn, arg, opts, &kind);
}

struct weir_stream *weir_stream_concat_map(struct weir_stream *stream, weir_stream_inner_fn fn,
					   void *arg, const struct weir_inner_opts *opts)
{
	static const struct weir__stage_kind kind = INNER_KIND("concat_map");
	struct weir_inner_opts one = opts ? *opts : (struct weir_inner_opts){ 0 };

	one.streams = 1;
	return make_inner(stream, fn, arg, &one, &kind);
}

struct weir_stream *weir_stream_switch_map(struct weir_stream *stream, weir_stream_inner_fn fn,
					   void *arg, const struct weir_inner_opts *opts)
{
	static const struct weir__stage_kind kind = INNER_KIND("switch_map");
	struct weir_inner_opts two = opts ? *opts : (struct weir_inner_opts){ 0 };
	struct weir_stream *switched;

	two.streams = 2;
	switched = make_inner(stream, fn, arg, &two, &kind);
	if (switched != &stream->arena->broken.stream)
		weir_container_of(switched, struct merge, stage.stream)->switches = true;
	return switched;
}
