/* SPDX-License-Identifier: MIT */
/*
 * peer_pool.c - what micro_pool.c measures, by libuv's pool and by GLib's: work that does nothing,
 * and its result back in the thread that asked; one at a time and 64 at once. Lines as micro.c's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/micro.h"

#define TRIPS 20000u
#define EACH 2000u
#define SUBMITTERS 64u
#define ROUNDS 5

static double ns[TRIPS];

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

static void line(const char *name, double value)
{
	printf("{\"name\":\"%s\",\"ns\":%.2f}\n", name, value);
}

#ifdef PEER_UV
#include <uv.h>

static uv_work_t works[SUBMITTERS];
static unsigned left[SUBMITTERS];

static void nothing(uv_work_t *work)
{
	(void)work;
}

static void ended(uv_work_t *work, int status)
{
	unsigned i = (unsigned)(work - works);

	(void)status;
	if (--left[i])
		uv_queue_work(uv_default_loop(), work, nothing, ended);
}

static double uv_round(unsigned submitters, unsigned each)
{
	double begin = micro_now_ns();

	for (unsigned i = 0; i < submitters; i++) {
		left[i] = each;
		uv_queue_work(uv_default_loop(), &works[i], nothing, ended);
	}
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	return (micro_now_ns() - begin) / submitters / each;
}

static void uv(void)
{
	double rounds[ROUNDS];

	uv_round(1, 100);
	for (unsigned i = 0; i < TRIPS; i++)
		ns[i] = uv_round(1, 1);
	line("libuv: submit to result, idle pool", median(ns, TRIPS));
	line("libuv: one submitter, per work", uv_round(1, TRIPS));
	for (int i = 0; i < ROUNDS; i++)
		rounds[i] = uv_round(SUBMITTERS, EACH);
	line("libuv: 64 submitters, per work", median(rounds, ROUNDS));
}
#endif

#ifdef PEER_GLIB
#include <glib.h>

static GAsyncQueue *results;

static void give_back(gpointer data, gpointer user_data)
{
	(void)user_data;
	g_async_queue_push(results, data);
}

/* Keeps in_flight works with the pool until count have come back. */
static double glib_round(GThreadPool *pool, unsigned in_flight, unsigned count)
{
	double begin = micro_now_ns();
	unsigned pushed = 0;

	for (; pushed < in_flight; pushed++)
		g_thread_pool_push(pool, results, NULL);
	for (unsigned i = 0; i < count; i++) {
		g_async_queue_pop(results);
		if (pushed < count) {
			g_thread_pool_push(pool, results, NULL);
			pushed++;
		}
	}
	return (micro_now_ns() - begin) / count;
}

static void glib(void)
{
	GThreadPool *pool = g_thread_pool_new(give_back, NULL, 4, TRUE, NULL);
	double rounds[ROUNDS];

	results = g_async_queue_new();
	glib_round(pool, 1, 100);
	for (unsigned i = 0; i < TRIPS; i++)
		ns[i] = glib_round(pool, 1, 1);
	line("glib: submit to result, idle pool", median(ns, TRIPS));
	line("glib: one submitter, per work", glib_round(pool, 1, TRIPS));
	for (int i = 0; i < ROUNDS; i++)
		rounds[i] = glib_round(pool, SUBMITTERS, SUBMITTERS * EACH);
	line("glib: 64 submitters, per work", median(rounds, ROUNDS));
	g_thread_pool_free(pool, FALSE, TRUE);
	g_async_queue_unref(results);
}
#endif

int main(void)
{
#ifdef PEER_UV
	uv();
#endif
#ifdef PEER_GLIB
	glib();
#endif
	return 0;
}
