/* SPDX-License-Identifier: MIT */
/*
 * micro_stream.c - what an item costs on its way through a pipeline; on a worker without a kernel.
 */
#include "core/ensure.h"
#include "core/weir_coro.h"
#include "core/worker.h"
#include "futures/weir_future.h"
#include "futures/weir_stream_from.h"
#include "futures/weir_stream_ops.h"
#include "futures/weir_stream_to.h"
#include "tests/bench/micro.h"
#include "tests/support/fake_driver.h"

#define ITEMS 2000000u
#define ROUNDS 7

static micro_report_fn report;

static int add_one(struct weir_item *item, void *arg)
{
	(void)arg;
	item->number++;
	return 0;
}

static bool is_positive(struct weir_item item, void *arg)
{
	(void)arg;
	return item.number > 0;
}

static bool is_odd(struct weir_item item, void *arg)
{
	(void)arg;
	return item.number & 1;
}

static int sum(struct weir_item *acc, struct weir_item item, void *arg)
{
	(void)arg;
	acc->number += item.number;
	return 0;
}

static struct weir_arena *new_arena(void)
{
	struct weir_arena *arena;

	weir_assert(weir_arena_create(NULL, &arena) == 0);
	return arena;
}

static struct weir_stream *numbers(struct weir_arena *arena)
{
	return weir_stream_range(arena, 1, ITEMS);
}

static struct weir_stream *five(struct weir_arena *arena)
{
	struct weir_stream *stream = weir_stream_map(numbers(arena), add_one, NULL, NULL);

	stream = weir_stream_filter(stream, is_positive, NULL);
	stream = weir_stream_map(stream, add_one, NULL, NULL);
	stream = weir_stream_scan(stream, weir_item_number(0), sum, NULL);
	return weir_stream_map(stream, add_one, NULL, NULL);
}

static struct weir_stream *half(struct weir_arena *arena)
{
	return weir_stream_filter(numbers(arena), is_odd, NULL);
}

static struct weir_stream *prefetched(struct weir_arena *arena)
{
	return weir_stream_limit_rate(numbers(arena), 64, 16);
}

static struct weir_stream *merged(struct weir_arena *arena)
{
	struct weir_stream *streams[] = { weir_stream_range(arena, 0, ITEMS / 2),
					  weir_stream_range(arena, 0, ITEMS / 2) };

	return weir_stream_merge(streams, 2);
}

static struct weir_stream *batched(struct weir_arena *arena)
{
	return weir_stream_buffer(numbers(arena), 64, WEIR_NEVER, 2);
}

static struct weir_stream *inner(struct weir_arena *arena, struct weir_item item, void *arg)
{
	(void)arg;
	return weir_stream_value(arena, item);
}

static struct weir_stream *mapped_flat(struct weir_arena *arena)
{
	return weir_stream_flat_map(numbers(arena), inner, NULL, NULL);
}

static void measure(const char *name, struct weir_stream *(*make)(struct weir_arena *arena),
		    double target_ns)
{
	double best = 0;

	for (int i = 0; i < ROUNDS; i++) {
		double begin = micro_now_ns();
		double ns;

		weir_assert(weir_await(weir_stream_count(make(new_arena())), WEIR_NEVER, NULL) > 0);
		ns = (micro_now_ns() - begin) / ITEMS;
		if (!best || ns < best)
			best = ns;
		weir_yield();
	}
	report(name, best, target_ns);
}

static int body(void *arg)
{
	(void)arg;
	measure("stream: source to sink, per item", numbers, 0);
	measure("stream: five fused stages, per item", five, 12);
	measure("stream: filter that drops half, per item", half, 0);
	measure("stream: limit_rate 64, per item", prefetched, 0);
	measure("stream: merge of two, per item", merged, 0);
	measure("stream: buffer of 64, per item", batched, 0);
	measure("stream: flat_map to one value, per item", mapped_flat, 0);
	return 0;
}

int micro_stream(micro_report_fn report_line)
{
	static struct fake_driver fake;
	static struct weir_worker worker;
	const struct weir_coro_opts opts = { .name = "micro", .detached = true };
	int r;

	report = report_line;
	fake_driver_init(&fake);
	r = weir__worker_init(&worker, &fake.driver, NULL);
	if (r < 0)
		return r;
	weir_assert(weir_coro_spawn(&opts, body, NULL, NULL) == 0);
	r = weir__worker_loop(&worker);
	weir__worker_fini(&worker);
	return r;
}
