/* SPDX-License-Identifier: MIT */
/*
 * micro_pool.c - the thread pool, on real rings: from submitting work that does nothing to its
 * result in the worker, one at a time and 64 at once. peer_pool.c is the same by libuv and GLib.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/ensure.h"
#include "core/weir_coro.h"
#include "core/weir_pool.h"
#include "core/weir_runtime.h"
#include "ring/weir_run.h"
#include "tests/bench/micro.h"

#define TRIPS 20000u
#define EACH 2000u
#define SUBMITTERS 64u
#define ROUNDS 5
#define PIECES 100000u

static micro_report_fn report_line;
static struct weir_pool *pool;

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static double trip(void)
{
	double begin = micro_now_ns();

	weir_assert(weir_pool_run(pool, 0, nothing, NULL, WEIR_NEVER, NULL) == 0);
	return micro_now_ns() - begin;
}

/* The median of trips that find every thread at rest. */
static double trips_at_rest(void)
{
	static double ns[TRIPS];

	for (unsigned i = 0; i < TRIPS; i++) {
		struct weir_pool_info info;

		do
			weir_pool_info(pool, &info);
		while (info.idle < info.threads);
		ns[i] = trip();
	}
	qsort(ns, TRIPS, sizeof(ns[0]), compare);
	return ns[TRIPS / 2];
}

/* One after the other: the thread has often not rested yet. */
static double trips_in_a_row(void)
{
	double since = micro_now_ns();

	for (unsigned i = 0; i < TRIPS; i++)
		trip();
	return (micro_now_ns() - since) / TRIPS;
}

static int submits(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < EACH; i++)
		weir_assert(weir_pool_run(pool, 0, nothing, NULL, WEIR_NEVER, NULL) == 0);
	return 0;
}

static double many(void)
{
	double rounds[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		struct weir_coro *coros[SUBMITTERS];
		double begin = micro_now_ns();

		for (unsigned i = 0; i < SUBMITTERS; i++)
			weir_assert(weir_coro_spawn(NULL, submits, NULL, &coros[i]) == 0);
		for (unsigned i = 0; i < SUBMITTERS; i++)
			weir_coro_join(coros[i], WEIR_NEVER, NULL);
		rounds[round] = (micro_now_ns() - begin) / (SUBMITTERS * EACH);
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	return rounds[ROUNDS / 2];
}

static int piece(size_t first, size_t end, void *arg)
{
	(void)first;
	(void)end;
	(void)arg;
	return 0;
}

static int service(void *arg)
{
	struct weir_pool_opts opts = { .threads_max = *(unsigned *)arg };
	double mean, begin;

	if (weir_pool_create(&opts, &pool) < 0)
		return -EAGAIN;
	report_line("pool: submit to result, idle pool", trips_at_rest(), 10000);
	mean = trips_in_a_row();
	report_line("pool: one submitter, per work", mean, 0);
	report_line("pool: 64 submitters, per work", many(), mean * 1.5);
	begin = micro_now_ns();
	weir_assert(weir_pool_for(pool, 0, PIECES, 1, piece, NULL) == 0);
	report_line("pool: for, per piece", (micro_now_ns() - begin) / PIECES, 0);
	return weir_pool_destroy(pool);
}

int micro_pool(micro_report_fn report)
{
	struct weir_opts opts = { .cores = 1, .no_signals = true, .stall_ns = -1 };
	unsigned threads = 4;	/* as libuv has */

	report_line = report;
	return weir_run(&opts, service, &threads);
}
