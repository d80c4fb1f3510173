/* SPDX-License-Identifier: MIT */
/*
 * micro_across.c - channels between two cores on real rings: one way, item by item and in batches,
 * and there and back. micro_mesh.c measures beside what two bare threads reach on the machine.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/ensure.h"
#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_chan.h"
#include "ring/weir_run.h"
#include "tests/bench/micro.h"

#define ITEMS 4000000u
#define ROUNDS 5
#define BATCH 64u
#define TRIPS 200000u
#define CAPACITY 1024u

static micro_report_fn report_line;
static struct weir_chan *there, *back;

static struct weir_chan *make(void)
{
	const struct weir_chan_opts opts = { .item_size = 8, .capacity = CAPACITY,
					     .across = true };
	struct weir_chan *chan;

	weir_assert(weir_chan_create(&opts, &chan) == 0);
	return chan;
}

static int receives(void *arg)
{
	uint64_t values[BATCH];

	(void)arg;
	for (unsigned left = ITEMS; left;) {
		ssize_t n = weir_chan_receive_n(there, values, BATCH, WEIR_NEVER);

		weir_assert(n > 0);
		left -= (unsigned)n;
	}
	return 0;
}

static int sends_one_by_one(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < ITEMS; i++)
		weir_assert(weir_chan_send(there, &i, WEIR_NEVER) == 0);
	return 0;
}

static int sends_batches(void *arg)
{
	uint64_t values[BATCH] = { 0 };

	(void)arg;
	for (unsigned i = 0; i < ITEMS; i += BATCH)
		weir_assert(weir_chan_send_n(there, values, BATCH, WEIR_NEVER) == BATCH);
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Core 1 sends while this one receives. */
static void one_way(const char *name, weir_call_fn sender, double target_ns)
{
	double rounds[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		struct weir_coro *coro;
		double begin;

		weir_assert(weir_coro_spawn(NULL, receives, NULL, &coro) == 0);
		begin = micro_now_ns();
		weir_assert(weir_call(1, sender, NULL, WEIR_NEVER, NULL) == 0);
		weir_coro_join(coro, WEIR_NEVER, NULL);
		rounds[i] = (micro_now_ns() - begin) / ITEMS;
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	report_line(name, rounds[ROUNDS / 2], target_ns);
}

/* On core 1: there comes in, back goes out. */
static int answers(void *arg)
{
	uint64_t value = 1;

	(void)arg;
	while (value) {
		weir_assert(weir_chan_receive(back, &value, WEIR_NEVER) == 0);
		weir_assert(weir_chan_send(there, &value, WEIR_NEVER) == 0);
	}
	weir_chan_destroy(back);
	return 0;
}

static int makes_back(void *arg)
{
	(void)arg;
	back = make();
	return 0;
}

static int calls_answers(void *arg)
{
	(void)arg;
	return weir_call(1, answers, NULL, WEIR_NEVER, NULL);
}

static void there_and_back(void)
{
	static double trips[TRIPS];
	struct weir_coro *coro;

	weir_assert(weir_call(1, makes_back, NULL, WEIR_NEVER, NULL) == 0);
	weir_assert(weir_coro_spawn(NULL, calls_answers, NULL, &coro) == 0);
	for (unsigned i = 0; i < TRIPS; i++) {
		uint64_t value = TRIPS - 1 - i;
		double begin = micro_now_ns();

		weir_assert(weir_chan_send(back, &value, WEIR_NEVER) == 0);
		weir_assert(weir_chan_receive(there, &value, WEIR_NEVER) == 0);
		trips[i] = micro_now_ns() - begin;
	}
	weir_coro_join(coro, WEIR_NEVER, NULL);
	qsort(trips, TRIPS, sizeof(trips[0]), compare);
	report_line("channel across: there and back, awake", trips[TRIPS / 2], 500);
}

static int service(void *arg)
{
	(void)arg;
	if (weir_core())
		return 0;
	there = make();
	there_and_back();	/* first: short gaps keep both cores awake from here on */
	one_way("channel across: one way, send by send", sends_one_by_one, 33);
	one_way("channel across: one way, batch of 64, per item", sends_batches, 33);
	weir_chan_destroy(there);
	return 0;
}

int micro_across(micro_report_fn report)
{
	struct weir_opts opts = { .cores = 2, .no_signals = true, .stall_ns = -1 };

	report_line = report;
	if (weir_cpus() < 2) {
		fprintf(stderr, "micro: across needs two CPUs\n");
		return 0;
	}
	return weir_run(&opts, service, NULL);
}
