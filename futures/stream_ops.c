/* SPDX-License-Identifier: MIT */
/*
 * stream_ops.c - what happens to items one by one: map, filter, scan, take, skip, and their like.
 */
#include "futures/stream.h"

enum step { MAP, FILTER, SCAN };

/* What asks nothing but a function. */
struct applies {
	struct weir__stage stage;
	struct applies *below;		/* a fused step that takes what this one makes, or NULL */
	enum step step;
	union {
		weir_stream_map_fn map;
		weir_stream_test_fn test;
		weir_stream_fold_fn fold;
		weir_stream_key_fn key;
	};
	void *arg;
	struct weir_item acc;
	struct weir_item start;		/* acc at first */
	uint64_t count;
	uint64_t left;
	bool flag;
};

static inline struct applies *applies_of(struct weir_subscriber *in)
{
	return weir_container_of(in, struct applies, stage.in);
}

static struct applies *make(struct weir_stream *source, const struct weir__stage_kind *kind,
			    const struct weir_subscriber_ops *in, void *arg)
{
	struct applies *applies =
		weir__stage_on(source, sizeof(*applies), kind, in, &weir__stage_out);

	if (applies)
		applies->arg = arg;
	return applies;
}

static struct weir_stream *stream_of(struct applies *applies, const struct weir_stream *source)
{
	return applies ? &applies->stage.stream : &source->arena->broken.stream;
}

/* Every next() begins so: nothing is sent once it is over. */
static inline bool is_lost(struct weir__stage *stage, struct weir_item item)
{
	if (weir_likely(!stage->over))
		return false;
	weir__stage_lose(stage, item);
	return true;
}

/* item is not for below: it is made up for. */
static inline void skip_item(struct weir__stage *stage, struct weir_item item)
{
	weir__item_drop(&stage->stream, item);
	weir__stage_ask(stage, 1);
}

/* --- map, filter, scan: fused --- */

/*
 * What has such a step below it hands the item on in a loop, not by a call: a step costs its
 * function and little else. All else (demand, the end, listings) goes from stage to stage.
 */

static void start_over(struct weir__stage *stage)
{
	struct applies *applies = weir_container_of(stage, struct applies, stage);

	applies->acc = applies->start;
	applies->left = applies->count;
	applies->flag = false;
}

static void fused_next(struct weir_subscriber *in, struct weir_item item);

static void start_fused(struct weir__stage *stage)
{
	struct applies *applies = weir_container_of(stage, struct applies, stage);

	start_over(stage);
	applies->below = stage->send == fused_next ? applies_of(stage->down) : NULL;
}

/* step failed with item in hand. */
static void step_fails(struct applies *step, struct weir_item item, int error)
{
	weir__stage_lose(&step->stage, item);
	weir__stage_end(&step->stage, error);
}

/* False: item goes no further. */
static inline bool step_run(struct applies *step, struct weir_item *item)
{
	int r;

	switch (step->step) {
	case MAP:
		r = step->map(item, step->arg);
		if (weir_likely(r >= 0))
			return true;
		step_fails(step, *item, r);
		return false;
	case FILTER:
		if (step->test(*item, step->arg))
			return true;
		skip_item(&step->stage, *item);
		return false;
	default:
		r = step->fold(&step->acc, *item, step->arg);
		if (weir_unlikely(r < 0)) {
			step_fails(step, *item, r);
			return false;
		}
		weir__stage_lose(&step->stage, *item);
		/* By halves: fold has just written one, and a load of both would wait for it. */
		item->number = __atomic_load_n(&step->acc.number, __ATOMIC_RELAXED);
		item->size = __atomic_load_n(&step->acc.size, __ATOMIC_RELAXED);
		return true;
	}
}

static void fused_next(struct weir_subscriber *in, struct weir_item item)
{
	struct applies *step = applies_of(in);

	if (is_lost(&step->stage, item))
		return;
	while (step_run(step, &item)) {
		if (step->below) {
			step = step->below;
			continue;
		}
		/* A function may have cancelled it all. */
		if (weir_unlikely(step->stage.over))
			weir__item_drop(&step->stage.stream, item);
		else
			weir__stage_send(&step->stage, item);
		return;
	}
}

static const struct weir_subscriber_ops fused_in = WEIR__STAGE_IN(fused_next);

struct weir_stream *weir_stream_map(struct weir_stream *stream, weir_stream_map_fn fn, void *arg,
				    weir_item_drop_fn drop)
{
	static const struct weir__stage_kind kind = { .name = "map", .start = start_fused };
	struct applies *map = make(stream, &kind, &fused_in, arg);

	if (!fn)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (map) {
		map->step = MAP;
		map->map = fn;
		map->stage.stream.drop = drop;
	}
	return stream_of(map, stream);
}

struct weir_stream *weir_stream_filter(struct weir_stream *stream, weir_stream_test_fn test,
				       void *arg)
{
	static const struct weir__stage_kind kind = { .name = "filter", .start = start_fused };
	struct applies *filter = make(stream, &kind, &fused_in, arg);

	if (!test)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (filter) {
		filter->step = FILTER;
		filter->test = test;
	}
	return stream_of(filter, stream);
}

struct weir_stream *weir_stream_scan(struct weir_stream *stream, struct weir_item acc,
				     weir_stream_fold_fn fn, void *arg)
{
	static const struct weir__stage_kind kind = { .name = "scan", .start = start_fused };
	struct applies *scan = make(stream, &kind, &fused_in, arg);

	if (!fn)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (scan) {
		scan->step = SCAN;
		scan->fold = fn;
		scan->start = acc;
		scan->stage.stream.drop = NULL;
	}
	return stream_of(scan, stream);
}

/* --- take --- */

/* Asks for no more than it will take. */
static void take_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct applies *take = weir_container_of(stage, struct applies, stage);
	int64_t before = stage->demand;

	if (!weir__stage_demand(stage, n))
		return;
	if ((uint64_t)stage->demand > take->left)
		stage->demand = (int64_t)take->left;
	if (stage->demand > before)
		weir__stage_ask(stage, stage->demand - before);
}

static void take_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	weir__stage_subscribed(in, up);
	if (!applies_of(in)->count)
		weir__stage_end(&applies_of(in)->stage, 0);
}

static void take_next(struct weir_subscriber *in, struct weir_item item)
{
	struct applies *take = applies_of(in);

	if (is_lost(&take->stage, item))
		return;
	take->left--;
	weir__stage_give(&take->stage, item);
	if (!take->left)
		weir__stage_end(&take->stage, 0);
}

struct weir_stream *weir_stream_take(struct weir_stream *stream, uint64_t count)
{
	static const struct weir_subscriber_ops in = { take_subscribed, take_next,
						       weir__stage_ended };
	static const struct weir_subscription_ops out = { take_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "take", .start = start_over };
	struct applies *take = make(stream, &kind, &in, NULL);

	if (count > INT64_MAX)
		count = INT64_MAX;
	if (take) {
		take->stage.out.ops = &out;
		take->stage.counts = true;
		take->count = count;
	}
	return stream_of(take, stream);
}

static void take_while_next(struct weir_subscriber *in, struct weir_item item)
{
	struct applies *take = applies_of(in);

	if (is_lost(&take->stage, item))
		return;
	if (take->test(item, take->arg)) {
		weir__stage_send(&take->stage, item);
		return;
	}
	weir__stage_lose(&take->stage, item);
	weir__stage_end(&take->stage, 0);
}

struct weir_stream *weir_stream_take_while(struct weir_stream *stream, weir_stream_test_fn test,
					   void *arg)
{
	static const struct weir_subscriber_ops in = WEIR__STAGE_IN(take_while_next);
	static const struct weir__stage_kind kind = { .name = "take_while" };
	struct applies *take = make(stream, &kind, &in, arg);

	if (!test)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (take)
		take->test = test;
	return stream_of(take, stream);
}

/* --- skip --- */

static void skip_next(struct weir_subscriber *in, struct weir_item item)
{
	struct applies *skip = applies_of(in);

	if (is_lost(&skip->stage, item))
		return;
	if (!skip->left) {
		weir__stage_send(&skip->stage, item);
		return;
	}
	skip->left--;
	skip_item(&skip->stage, item);
}

struct weir_stream *weir_stream_skip(struct weir_stream *stream, uint64_t count)
{
	static const struct weir_subscriber_ops in = WEIR__STAGE_IN(skip_next);
	static const struct weir__stage_kind kind = { .name = "skip", .start = start_over };
	struct applies *skip = make(stream, &kind, &in, NULL);

	if (skip)
		skip->count = count;
	return stream_of(skip, stream);
}

static void skip_while_next(struct weir_subscriber *in, struct weir_item item)
{
	struct applies *skip = applies_of(in);

	if (is_lost(&skip->stage, item))
		return;
	if (!skip->flag && skip->test(item, skip->arg)) {
		skip_item(&skip->stage, item);
		return;
	}
	skip->flag = true;
	weir__stage_send(&skip->stage, item);
}

struct weir_stream *weir_stream_skip_while(struct weir_stream *stream, weir_stream_test_fn test,
					   void *arg)
{
	static const struct weir_subscriber_ops in = WEIR__STAGE_IN(skip_while_next);
	static const struct weir__stage_kind kind = { .name = "skip_while", .start = start_over };
	struct applies *skip = make(stream, &kind, &in, arg);

	if (!test)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (skip)
		skip->test = test;
	return stream_of(skip, stream);
}

/* --- distinct_until_changed --- */

static int64_t number_of(struct weir_item item, void *arg)
{
	(void)arg;
	return item.number;
}

static void distinct_next(struct weir_subscriber *in, struct weir_item item)
{
	struct applies *distinct = applies_of(in);
	int64_t key;

	if (is_lost(&distinct->stage, item))
		return;
	key = distinct->key(item, distinct->arg);
	if (distinct->flag && key == distinct->acc.number) {
		skip_item(&distinct->stage, item);
		return;
	}
	distinct->flag = true;
	distinct->acc.number = key;
	weir__stage_send(&distinct->stage, item);
}

struct weir_stream *weir_stream_distinct_until_changed(struct weir_stream *stream,
						       weir_stream_key_fn key, void *arg)
{
	static const struct weir_subscriber_ops in = WEIR__STAGE_IN(distinct_next);
	static const struct weir__stage_kind kind = { .name = "distinct_until_changed",
						      .start = start_over };
	struct applies *distinct = make(stream, &kind, &in, arg);

	if (distinct)
		distinct->key = key ? key : number_of;
	return stream_of(distinct, stream);
}

/* --- until something else happens, or time has passed --- */

struct until {
	struct weir__stage stage;
	struct weir__input other;
	struct weir_timer timer;
	int64_t ns;
	bool has_other;
	bool skips;			/* until then; else it takes */
	bool is_open;			/* items pass */
};

static struct until *until_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct until, stage);
}

/* What was waited for has happened. */
static void happened(struct until *until)
{
	weir__input_cancel(&until->other);
	if (until->skips)
		until->is_open = true;
	else
		weir__stage_end(&until->stage, 0);
}

static void until_fire(struct weir_timer *timer)
{
	happened(weir_container_of(timer, struct until, timer));
}

static void other_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	weir__input_subscribed(in, up);
	weir__input_ask(weir__input_of(in), 1);
}

static void other_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__input *other = weir__input_of(in);
	bool was_over = other->over || other->stage->over;

	weir__item_drop(other->source, item);
	if (!was_over)
		happened(until_of(other->stage));
}

/* Its end alone is nothing; its error is everybody's. */
static void other_ended(struct weir_subscriber *in, int error)
{
	struct weir__input *other = weir__input_of(in);

	if (weir__input_end(other) && error)
		weir__stage_end(other->stage, error);
}

static const struct weir_subscriber_ops other_in = { other_subscribed, other_next, other_ended };

static void until_start(struct weir__stage *stage)
{
	struct until *until = until_of(stage);

	until->is_open = !until->skips;
	until->other.stage = stage;
	until->other.over = true;
}

/* other, or time, begins with the subscription, before the first item can come. */
static void until_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct until *until = until_of(stage);

	weir__stage_subscribed(in, up);
	if (stage->over || stage->up != up)
		return;
	if (until->has_other)
		weir__input_start(&until->other, &other_in);
	else
		weir_timer_arm(&until->timer, weir_in(until->ns));
}

static void until_stop(struct weir__stage *stage)
{
	struct until *until = until_of(stage);

	weir__input_cancel(&until->other);
	weir_timer_cancel(&until->timer);
}

static void until_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	if (is_lost(stage, item))
		return;
	if (!until_of(stage)->is_open)
		skip_item(stage, item);
	else
		weir__stage_send(stage, item);
}

static struct weir_stream *make_until(struct weir_stream *stream,
				      const struct weir__stage_kind *kind,
				      struct weir_stream *other, int64_t ns, bool skips)
{
	static const struct weir_subscriber_ops in = { until_subscribed, until_next,
						       weir__stage_ended };
	struct until *until = weir__stage_on(stream, sizeof(*until), kind, &in, &weir__stage_out);

	if (!until)
		return &stream->arena->broken.stream;
	until->has_other = other;
	until->skips = skips;
	until->other.source = other;
	until->ns = ns;
	weir_timer_init(&until->timer, until_fire);
	return &until->stage.stream;
}

struct weir_stream *weir_stream_take_until(struct weir_stream *stream, struct weir_stream *other)
{
	static const struct weir__stage_kind kind = { .name = "take_until", .start = until_start,
						      .stop = until_stop };

	return make_until(stream, &kind, other, 0, false);
}

struct weir_stream *weir_stream_take_time(struct weir_stream *stream, int64_t ns)
{
	static const struct weir__stage_kind kind = { .name = "take_time", .start = until_start,
						      .stop = until_stop };

	return make_until(stream, &kind, NULL, ns, false);
}

struct weir_stream *weir_stream_skip_until(struct weir_stream *stream, struct weir_stream *other)
{
	static const struct weir__stage_kind kind = { .name = "skip_until", .start = until_start,
						      .stop = until_stop };

	return make_until(stream, &kind, other, 0, true);
}

struct weir_stream *weir_stream_skip_time(struct weir_stream *stream, int64_t ns)
{
	static const struct weir__stage_kind kind = { .name = "skip_time", .start = until_start,
						      .stop = until_stop };

	return make_until(stream, &kind, NULL, ns, true);
}
