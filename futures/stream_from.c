/* SPDX-License-Identifier: MIT */
/*
 * stream_from.c - streams that begin from nothing but numbers, arrays, time and futures.
 *
 * What can be produced at once is produced in a task, BURST items at a time, and never inside
 * request(): the stack stays flat however demand comes (rule 3.3), and others have their turn.
 */
#include "futures/stream.h"

#define BURST 256

/* --- from an array, or numbers --- */

struct from {
	struct weir__stage stage;
	struct weir_task task;
	const struct weir_item *items;	/* NULL: numbers */
	struct weir_item one;
	int64_t first;
	uint64_t count;
	uint64_t at;
};

static void from_start(struct weir__stage *stage)
{
	struct from *from = weir_container_of(stage, struct from, stage);

	from->at = 0;
	if (!from->count)	/* an empty stream ends without being asked (rule 2.9) */
		weir__stage_ready(stage->stream.arena, &from->task);
}

static void from_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);

	if (weir__stage_demand(stage, n))
		weir__stage_ready(stage->stream.arena,
				  &weir_container_of(stage, struct from, stage)->task);
}

/* Up to BURST items. Whether there is more to send. */
static bool from_send(struct from *from)
{
	struct weir__stage *stage = &from->stage;
	unsigned burst;

	for (burst = 0; burst < BURST && stage->demand > 0 && from->at < from->count; burst++) {
		uint64_t at = from->at++;

		weir__stage_give(stage, from->items ? from->items[at] :
						      weir_item_number(from->first + (int64_t)at));
		if (stage->over)
			return false;
	}
	if (from->at == from->count)
		weir__stage_end(stage, 0);
	return !stage->over && stage->demand > 0;
}

static void from_run(struct weir_task *task)
{
	struct from *from = weir_container_of(task, struct from, task);
	struct weir_arena *arena = from->stage.stream.arena;

	if (!from->stage.over && from_send(from))
		weir__stage_ready(arena, task);
	weir__stage_ran(arena);
}

static const struct weir_subscription_ops from_out = { from_request, weir__stage_cancel };

static struct from *make_from(struct weir_arena *arena, const struct weir__stage_kind *kind)
{
	struct from *from = weir__stage_new(arena, sizeof(*from), kind, NULL, &from_out);

	if (!from)
		return NULL;
	from->stage.counts = true;
	weir_task_init(&from->task, from_run);
	return from;
}

static struct weir_stream *stream_of(struct from *from, struct weir_arena *arena)
{
	return from ? &from->stage.stream : &arena->broken.stream;
}

struct weir_stream *weir_stream_range(struct weir_arena *arena, int64_t first, uint64_t count)
{
	static const struct weir__stage_kind kind = { .name = "range", .start = from_start };
	struct from *from = make_from(arena, &kind);

	if (from) {
		from->first = first;
		from->count = count;
	}
	return stream_of(from, arena);
}

struct weir_stream *weir_stream_array(struct weir_arena *arena, const struct weir_item *items,
				      size_t count)
{
	static const struct weir__stage_kind kind = { .name = "array", .start = from_start };
	struct from *from = make_from(arena, &kind);

	if (count && !items)
		return weir__arena_fail(arena, -EINVAL);
	if (from) {
		from->items = items;
		from->count = count;
	}
	return stream_of(from, arena);
}

struct weir_stream *weir_stream_value(struct weir_arena *arena, struct weir_item item)
{
	static const struct weir__stage_kind kind = { .name = "value", .start = from_start };
	struct from *from = make_from(arena, &kind);

	if (from) {
		from->one = item;
		from->items = &from->one;
		from->count = 1;
	}
	return stream_of(from, arena);
}

/* --- the end, at once or never --- */

struct end {
	struct weir__stage stage;
	struct weir_task task;
	int error;
};

static void end_start(struct weir__stage *stage)
{
	weir__stage_ready(stage->stream.arena, &weir_container_of(stage, struct end, stage)->task);
}

static void end_run(struct weir_task *task)
{
	struct end *end = weir_container_of(task, struct end, task);
	struct weir_arena *arena = end->stage.stream.arena;

	weir__stage_end(&end->stage, end->error);
	weir__stage_ran(arena);
}

static struct weir_stream *make_end(struct weir_arena *arena, const struct weir__stage_kind *kind,
				    int error)
{
	struct end *end = weir__stage_new(arena, sizeof(*end), kind, NULL, &weir__stage_out);

	if (!end)
		return &arena->broken.stream;
	weir_task_init(&end->task, end_run);
	end->error = error;
	return &end->stage.stream;
}

struct weir_stream *weir_stream_empty(struct weir_arena *arena)
{
	static const struct weir__stage_kind kind = { .name = "empty", .start = end_start };

	return make_end(arena, &kind, 0);
}

struct weir_stream *weir_stream_never(struct weir_arena *arena)
{
	static const struct weir__stage_kind kind = { .name = "never" };

	return make_end(arena, &kind, 0);
}

struct weir_stream *weir_stream_error(struct weir_arena *arena, int error)
{
	static const struct weir__stage_kind kind = { .name = "error", .start = end_start };

	return error < 0 ? make_end(arena, &kind, error) : weir__arena_fail(arena, -EINVAL);
}

/* --- time --- */

struct ticks {
	struct weir__stage stage;
	struct weir_timer timer;
	int64_t period_ns;
	int64_t number;
	int64_t due;		/* of a timer: its item waits to be asked for */
};

static struct ticks *ticks_of(struct weir_timer *timer)
{
	return weir_container_of(timer, struct ticks, timer);
}

static void ticks_start(struct weir__stage *stage)
{
	struct ticks *ticks = weir_container_of(stage, struct ticks, stage);

	ticks->number = 0;
	ticks->due = 0;
	weir_timer_arm(&ticks->timer, weir_in(ticks->period_ns));
}

static void ticks_stop(struct weir__stage *stage)
{
	weir_timer_cancel(&weir_container_of(stage, struct ticks, stage)->timer);
}

static void interval_fire(struct weir_timer *timer)
{
	struct ticks *ticks = ticks_of(timer);
	struct weir__stage *stage = &ticks->stage;
	int64_t number = ticks->number++;

	/* From when it was due: late ticks do not add up. */
	weir_timer_arm(timer, timer->deadline_ns + ticks->period_ns);
	if (stage->demand > 0)
		weir__stage_give(stage, weir_item_number(number));
	else
		stage->dropped++;
}

static void ticks_request(struct weir_subscription *out, int64_t n)
{
	weir__stage_demand(weir__stage_of_out(out), n);
}

static void timer_give(struct ticks *ticks)
{
	weir__stage_give(&ticks->stage, weir_item_number(0));
	weir__stage_end(&ticks->stage, 0);
}

static void timer_fire(struct weir_timer *timer)
{
	struct ticks *ticks = ticks_of(timer);

	ticks->due = 1;
	if (ticks->stage.demand > 0)
		timer_give(ticks);
}

static void timer_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct ticks *ticks = weir_container_of(stage, struct ticks, stage);

	if (weir__stage_demand(stage, n) && ticks->due)
		timer_give(ticks);
}

static struct weir_stream *make_ticks(struct weir_arena *arena,
				      const struct weir__stage_kind *kind,
				      const struct weir_subscription_ops *out, weir_timer_fn fire,
				      int64_t ns)
{
	struct ticks *ticks = weir__stage_new(arena, sizeof(*ticks), kind, NULL, out);

	if (!ticks)
		return &arena->broken.stream;
	ticks->stage.counts = true;
	ticks->period_ns = ns;
	weir_timer_init(&ticks->timer, fire);
	return &ticks->stage.stream;
}

struct weir_stream *weir_stream_interval(struct weir_arena *arena, int64_t period_ns)
{
	static const struct weir_subscription_ops out = { ticks_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "interval", .start = ticks_start,
						      .stop = ticks_stop };

	if (period_ns <= 0)
		return weir__arena_fail(arena, -EINVAL);
	return make_ticks(arena, &kind, &out, interval_fire, period_ns);
}

struct weir_stream *weir_stream_timer(struct weir_arena *arena, int64_t delay_ns)
{
	static const struct weir_subscription_ops out = { timer_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "timer", .start = ticks_start,
						      .stop = ticks_stop };

	return make_ticks(arena, &kind, &out, timer_fire, delay_ns);
}

/* --- a future --- */

struct awaits {
	struct weir__stage stage;
	struct weir_future *future;	/* NULL: consumed */
	struct weir_tap tap;
	struct weir_task task;
	bool tapped;
	bool holds;			/* the arena, until the future is settled */
};

static struct awaits *awaits_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct awaits, stage);
}

/* The future is settled: gives what is asked for. */
static void awaits_give(struct awaits *awaits)
{
	struct weir__stage *stage = &awaits->stage;
	void *value = NULL;
	ssize_t res;

	if (stage->over || !awaits->future || awaits->tapped)
		return;
	if (!stage->demand && weir_future_is_settled(awaits->future))
		return;		/* it waits to be asked for; a rejection too */
	res = weir_await(awaits->future, 0, &value);
	awaits->future = NULL;
	if (res >= 0)
		weir__stage_give(stage, value ? weir_item_ptr(value, (size_t)res) :
						weir_item_number(res));
	weir__stage_end(stage, res < 0 ? (int)res : 0);
}

static void awaits_run(struct weir_task *task)
{
	struct awaits *awaits = weir_container_of(task, struct awaits, task);
	struct weir_arena *arena = awaits->stage.stream.arena;

	awaits_give(awaits);
	if (awaits->holds && !awaits->tapped) {
		awaits->holds = false;
		weir__arena_release(arena);
	}
	weir__stage_ran(arena);
}

/* The future may not be consumed in here. */
static void awaits_tapped(struct weir_tap *tap, ssize_t res, void *value)
{
	struct awaits *awaits = weir_container_of(tap, struct awaits, tap);

	(void)res;
	(void)value;
	awaits->tapped = false;
	weir__stage_ready(awaits->stage.stream.arena, &awaits->task);
}

static void awaits_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct awaits *awaits = awaits_of(stage);

	if (weir__stage_demand(stage, n) && !awaits->tapped)
		weir__stage_ready(stage->stream.arena, &awaits->task);
}

static void awaits_start(struct weir__stage *stage)
{
	struct awaits *awaits = awaits_of(stage);
	int r;

	if (!awaits->future || awaits->holds)
		return;
	r = weir_future_tap(awaits->future, &awaits->tap, awaits_tapped);
	weir_assert(!r);	/* ours, and not consumed */
	awaits->tapped = true;
	awaits->holds = true;
	weir__arena_hold(stage->stream.arena);
}

static void awaits_stop(struct weir__stage *stage)
{
	struct awaits *awaits = awaits_of(stage);

	if (awaits->future)
		weir_future_cancel(awaits->future);
}

static void awaits_dispose(struct weir__stage *stage)
{
	struct awaits *awaits = awaits_of(stage);

	if (awaits->future) {
		weir_future_cancel(awaits->future);
		weir_future_drop(awaits->future);
		awaits->future = NULL;
	}
}

struct weir_stream *weir_stream_future(struct weir_arena *arena, struct weir_future *future,
				       weir_item_drop_fn drop)
{
	static const struct weir_subscription_ops out = { awaits_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "future", .start = awaits_start,
						      .stop = awaits_stop,
						      .dispose = awaits_dispose };
	struct awaits *awaits;

	if (!future)
		return weir__arena_fail(arena, -EINVAL);
	awaits = weir__stage_new(arena, sizeof(*awaits), &kind, NULL, &out);
	if (!awaits) {
		weir_future_cancel(future);
		weir_future_drop(future);
		return &arena->broken.stream;
	}
	awaits->stage.counts = true;
	awaits->stage.stream.drop = drop;
	awaits->future = future;
	weir_task_init(&awaits->task, awaits_run);
	return &awaits->stage.stream;
}
