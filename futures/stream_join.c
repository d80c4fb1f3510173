/* SPDX-License-Identifier: MIT */
/*
 * stream_join.c - several streams at once, whose items meet: amb, zip, combine_latest,
 * with_latest_from. (merge, where they do not, is in stream_merge.c.)
 */
#include "futures/stream.h"

struct leg {
	struct weir__input input;
	struct weir_item item;		/* zip: of this round; combine_latest: not looked at yet */
	struct weir_item latest;
	bool has_item, has_latest;
};

struct join {
	struct weir__stage stage;
	struct leg *legs;
	struct weir_item *row;		/* for fn */
	unsigned count;
	unsigned winner;		/* amb: index + 1; 0: none yet */
	void (*pair)(struct join *join);	/* zip, combine_latest: sends what can be sent */
	weir_stream_join_fn fn;
	void *arg;
	bool busy;			/* pairing is on the stack */
};

static struct join *join_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct join, stage);
}

static struct leg *leg_of(struct weir_subscriber *in)
{
	return weir_container_of(in, struct leg, input.in);
}

static struct join *join_of_in(struct weir_subscriber *in)
{
	return join_of(leg_of(in)->input.stage);
}

static bool is_lost(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__input *input = &leg_of(in)->input;

	if (!input->over && !input->stage->over)
		return false;
	weir__item_drop(input->source, item);
	return true;
}

static void join_start(struct weir__stage *stage)
{
	struct join *join = join_of(stage);
	unsigned i;

	join->winner = 0;
	for (i = 0; i < join->count; i++) {
		struct leg *leg = &join->legs[i];

		leg->input.stage = stage;
		leg->input.index = i;
		leg->input.up = NULL;
		leg->input.over = false;
		leg->has_item = leg->has_latest = false;
	}
}

static void leg_clear(struct leg *leg)
{
	if (leg->has_item)
		weir__item_drop(leg->input.source, leg->item);
	if (leg->has_latest)
		weir__item_drop(leg->input.source, leg->latest);
	leg->has_item = leg->has_latest = false;
}

static void join_stop(struct weir__stage *stage)
{
	struct join *join = join_of(stage);
	unsigned i;

	for (i = 0; i < join->count; i++) {
		weir__input_cancel(&join->legs[i].input);
		if (!join->busy)
			leg_clear(&join->legs[i]);
	}
}

static unsigned join_buffered(const struct weir__stage *stage)
{
	const struct join *join = weir_container_of((void *)(uintptr_t)stage, struct join, stage);
	unsigned i, count = 0;

	for (i = 0; i < join->count; i++)
		count += join->legs[i].has_item;
	return count;
}

static void begin(struct join *join, const struct weir_subscriber_ops *ops)
{
	unsigned i;

	/* The first may end the others before they begin. */
	for (i = 0; i < join->count && !join->stage.over; i++)
		if (!join->legs[i].input.over)
			weir__input_start(&join->legs[i].input, ops);
}

static struct join *make_join(struct weir_stream *const *streams, unsigned count,
			      const struct weir__stage_kind *kind,
			      const struct weir_subscription_ops *out)
{
	struct weir_arena *arena = streams[0]->arena;
	struct join *join = weir__stage_new(arena, sizeof(*join), kind, NULL, out);
	unsigned i;

	if (!join)
		return NULL;
	join->legs = weir_arena_alloc(arena, count * sizeof(*join->legs));
	join->row = weir_arena_alloc(arena, count * sizeof(*join->row));
	if (!join->legs || !join->row)
		return NULL;
	for (i = 0; i < count; i++)
		join->legs[i].input.source = streams[i];
	join->count = count;
	join->stage.counts = true;
	join->stage.stream.drop = streams[0]->drop;
	return join;
}

static struct weir_stream *stream_of(struct join *join, struct weir_stream *const *streams)
{
	return join ? &join->stage.stream : &streams[0]->arena->broken.stream;
}

/* --- amb --- */

static void amb_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct join *join = join_of(stage);
	unsigned i;

	if (!weir__stage_demand(stage, n))
		return;
	for (i = 0; i < join->count && !stage->over; i++)
		weir__input_ask(&join->legs[i].input, n);
}

static void amb_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__input *input = &leg_of(in)->input;

	weir__input_subscribed(in, up);
	if (input->stage->demand)
		weir__input_ask(input, input->stage->demand);
}

/* Whoever signals first wins. */
static void amb_won(struct join *join, unsigned index)
{
	unsigned i;

	if (join->winner)
		return;
	join->winner = index + 1;
	for (i = 0; i < join->count; i++)
		if (i != index)
			weir__input_cancel(&join->legs[i].input);
}

static void amb_next(struct weir_subscriber *in, struct weir_item item)
{
	struct join *join = join_of_in(in);

	if (is_lost(in, item))
		return;
	amb_won(join, leg_of(in)->input.index);
	weir__stage_give(&join->stage, item);
}

static void amb_ended(struct weir_subscriber *in, int error)
{
	struct join *join = join_of_in(in);

	if (!weir__input_end(&leg_of(in)->input))
		return;
	amb_won(join, leg_of(in)->input.index);
	weir__stage_end(&join->stage, error);
}

static void amb_begin(struct weir__stage *stage)
{
	static const struct weir_subscriber_ops in = { amb_subscribed, amb_next, amb_ended };

	begin(join_of(stage), &in);
}

struct weir_stream *weir_stream_amb(struct weir_stream *const *streams, unsigned count)
{
	static const struct weir_subscription_ops out = { amb_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = {
		.name = "amb", .start = join_start, .begin = amb_begin, .stop = join_stop
	};

	if (weir__streams_bad(streams, count))
		return weir__streams_bad(streams, count);
	return stream_of(make_join(streams, count, &kind, &out), streams);
}

/* --- rows: what zip and combine_latest have in common --- */

static void rows_request(struct weir_subscription *out, int64_t n)
{
	struct join *join = join_of(weir__stage_of_out(out));

	if (weir__stage_demand(&join->stage, n))
		join->pair(join);
}

static void rows_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	weir__input_subscribed(in, up);
	weir__input_ask(weir__input_of(in), 1);
}

static void rows_next(struct weir_subscriber *in, struct weir_item item)
{
	struct leg *leg = leg_of(in);

	if (is_lost(in, item))
		return;
	leg->item = item;
	leg->has_item = true;
	join_of_in(in)->pair(join_of_in(in));
}

static void rows_ended(struct weir_subscriber *in, int error)
{
	struct join *join = join_of_in(in);

	if (!weir__input_end(&leg_of(in)->input))
		return;
	if (error)
		weir__stage_end(&join->stage, error);
	else
		join->pair(join);
}

static void rows_begin(struct weir__stage *stage)
{
	static const struct weir_subscriber_ops in = { rows_subscribed, rows_next, rows_ended };

	begin(join_of(stage), &in);
}

static const struct weir_subscription_ops rows_out = { rows_request, weir__stage_cancel };

/* --- zip --- */

/* Calls fn with the row, and sends what it makes of it. */
static void give_row(struct join *join)
{
	struct weir_item item = { .size = 0 };
	int r = join->fn(join->row, join->count, &item, join->arg);

	if (r < 0)
		weir__stage_end(&join->stage, r);
	else
		weir__stage_give(&join->stage, item);
}

static bool has_row(const struct join *join)
{
	unsigned i;

	for (i = 0; i < join->count; i++)
		if (!join->legs[i].has_item)
			return false;
	return true;
}

/* One that has ended and has no item for this round: there will be no more rows. */
static bool is_short(const struct join *join)
{
	unsigned i;

	for (i = 0; i < join->count; i++)
		if (join->legs[i].input.over && !join->legs[i].has_item)
			return true;
	return false;
}

static void zip_row(struct join *join)
{
	unsigned i;

	for (i = 0; i < join->count; i++) {
		join->row[i] = join->legs[i].item;
		join->legs[i].has_item = false;
	}
	give_row(join);
	for (i = 0; i < join->count; i++)
		weir__item_drop(join->legs[i].input.source, join->row[i]);
	for (i = 0; i < join->count && !join->stage.over; i++)
		weir__input_ask(&join->legs[i].input, 1);
}

/* Rows, while they are there and asked for. Not within itself. */
static void zip_pair(struct join *join)
{
	struct weir__stage *stage = &join->stage;
	unsigned i;

	if (join->busy)
		return;
	join->busy = true;
	while (!stage->over && stage->demand > 0 && has_row(join))
		zip_row(join);
	if (!stage->over && is_short(join))
		weir__stage_end(stage, 0);
	join->busy = false;
	if (stage->over)
		for (i = 0; i < join->count; i++)
			leg_clear(&join->legs[i]);
}

static struct weir_stream *make_rows(struct join *join, struct weir_stream *const *streams,
				     weir_stream_join_fn fn, void *arg, weir_item_drop_fn drop)
{
	if (!fn)
		return weir__arena_fail(streams[0]->arena, -EINVAL);
	if (join) {
		join->fn = fn;
		join->arg = arg;
		join->stage.stream.drop = drop;
	}
	return stream_of(join, streams);
}

struct weir_stream *weir_stream_zip(struct weir_stream *const *streams, unsigned count,
				    weir_stream_join_fn fn, void *arg, weir_item_drop_fn drop)
{
	static const struct weir__stage_kind kind = { .name = "zip",
						      .start = join_start,
						      .begin = rows_begin,
						      .stop = join_stop,
						      .buffered = join_buffered };
	struct join *join;

	if (weir__streams_bad(streams, count))
		return weir__streams_bad(streams, count);
	join = make_join(streams, count, &kind, &rows_out);
	if (join)
		join->pair = zip_pair;
	return make_rows(join, streams, fn, arg, drop);
}

/* --- combine_latest --- */

static bool has_all_latest(const struct join *join, const struct leg *but)
{
	unsigned i;

	for (i = 0; i < join->count; i++)
		if (!join->legs[i].has_latest && &join->legs[i] != but)
			return false;
	return true;
}

static void combine(struct join *join)
{
	unsigned i;

	for (i = 0; i < join->count; i++)
		join->row[i] = join->legs[i].latest;
	give_row(join);
}

/* Looks at leg's item, if that may be done now. */
static bool combine_take(struct join *join, struct leg *leg)
{
	bool completes = has_all_latest(join, leg);

	if (!leg->has_item || (completes && !join->stage.demand))
		return false;
	if (leg->has_latest)
		weir__item_drop(leg->input.source, leg->latest);
	leg->latest = leg->item;
	leg->has_latest = true;
	leg->has_item = false;
	if (completes)
		combine(join);
	if (!join->stage.over)
		weir__input_ask(&leg->input, 1);
	return true;
}

/* Nothing can come any more: all have ended, or one did without an item. */
static bool is_combined(const struct join *join)
{
	unsigned i, over = 0;

	for (i = 0; i < join->count; i++) {
		const struct leg *leg = &join->legs[i];

		if (!leg->input.over || leg->has_item)
			continue;
		over++;
		if (!leg->has_latest)
			return true;
	}
	return over == join->count;
}

static void combine_pair(struct join *join)
{
	struct weir__stage *stage = &join->stage;
	bool moved = true;
	unsigned i;

	if (join->busy)
		return;
	join->busy = true;
	while (moved && !stage->over) {
		moved = false;
		for (i = 0; i < join->count && !stage->over; i++)
			moved |= combine_take(join, &join->legs[i]);
	}
	if (!stage->over && is_combined(join))
		weir__stage_end(stage, 0);
	join->busy = false;
	if (stage->over)
		for (i = 0; i < join->count; i++)
			leg_clear(&join->legs[i]);
}

struct weir_stream *weir_stream_combine_latest(struct weir_stream *const *streams, unsigned count,
					       weir_stream_join_fn fn, void *arg,
					       weir_item_drop_fn drop)
{
	static const struct weir__stage_kind kind = { .name = "combine_latest",
						      .start = join_start,
						      .begin = rows_begin,
						      .stop = join_stop,
						      .buffered = join_buffered };
	struct join *join;

	if (weir__streams_bad(streams, count))
		return weir__streams_bad(streams, count);
	join = make_join(streams, count, &kind, &rows_out);
	if (join)
		join->pair = combine_pair;
	return make_rows(join, streams, fn, arg, drop);
}

/* --- with_latest_from --- */

/* Leg 0 is the one that counts; leg 1 only has a latest. */
static void latest_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);

	if (weir__stage_demand(stage, n))
		weir__input_ask(&join_of(stage)->legs[0].input, n);
}

static void latest_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct leg *leg = leg_of(in);

	weir__input_subscribed(in, up);
	if (leg->input.index)
		weir__input_ask(&leg->input, WEIR_UNBOUNDED);
	else if (leg->input.stage->demand)
		weir__input_ask(&leg->input, leg->input.stage->demand);
}

static void latest_other(struct leg *leg, struct weir_item item)
{
	if (leg->has_latest)
		weir__item_drop(leg->input.source, leg->latest);
	leg->latest = item;
	leg->has_latest = true;
}

static void latest_next(struct weir_subscriber *in, struct weir_item item)
{
	struct join *join = join_of_in(in);
	struct leg *leg = leg_of(in);

	if (is_lost(in, item))
		return;
	if (leg->input.index) {
		latest_other(leg, item);
		return;
	}
	if (!join->legs[1].has_latest) {
		weir__item_drop(leg->input.source, item);
		weir__input_ask(&leg->input, 1);
		return;
	}
	join->row[0] = item;
	join->row[1] = join->legs[1].latest;
	join->busy = true;
	give_row(join);
	join->busy = false;
	weir__item_drop(leg->input.source, item);
	if (join->stage.over)
		leg_clear(&join->legs[1]);
}

static void latest_ended(struct weir_subscriber *in, int error)
{
	struct leg *leg = leg_of(in);
	struct join *join = join_of_in(in);

	if (weir__input_end(&leg->input) && (error || !leg->input.index))
		weir__stage_end(&join->stage, error);
}

static void latest_begin(struct weir__stage *stage)
{
	static const struct weir_subscriber_ops in = { latest_subscribed, latest_next,
						       latest_ended };
	struct join *join = join_of(stage);

	/* other first: what it has at once is there for the first item. */
	weir__input_start(&join->legs[1].input, &in);
	if (!stage->over)
		weir__input_start(&join->legs[0].input, &in);
}

struct weir_stream *weir_stream_with_latest_from(struct weir_stream *stream,
						 struct weir_stream *other, weir_stream_join_fn fn,
						 void *arg, weir_item_drop_fn drop)
{
	static const struct weir_subscription_ops out = { latest_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "with_latest_from",
						      .start = join_start,
						      .begin = latest_begin,
						      .stop = join_stop };
	struct weir_stream *streams[] = { stream, other };

	if (weir__streams_bad(streams, 2))
		return weir__streams_bad(streams, 2);
	return make_rows(make_join(streams, 2, &kind, &out), streams, fn, arg, drop);
}
