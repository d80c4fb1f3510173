/* SPDX-License-Identifier: MIT */
/*
 * micro_future.c - what a promise costs, on a worker without a kernel: to await a
 * result that is there, to wake who waits for one, a link of a chain, a part of a join or of a map,
 * what is retried, hedged or shared without need.
 */
#include <stdlib.h>

#include "core/ensure.h"
#include "core/weir_coro.h"
#include "core/worker.h"
#include "futures/weir_future.h"
#include "futures/weir_retry.h"
#include "futures/weir_share.h"
#include "tests/bench/micro.h"
#include "tests/support/fake_driver.h"

#define BATCH 100u
#define ROUNDS 20000u
#define LINKS 100u
#define PARTS 1000000u

struct pair {
	struct weir_promise promise;
	struct weir_future *future;
};

static micro_report_fn report;

/* The best round is reported: what disturbs the others is not ours. */
static double least(double best, double ns)
{
	return best == 0 || ns < best ? ns : best;
}

static void make(struct pair *pairs, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		weir_assert(weir_promise_create(&pairs[i].promise, &pairs[i].future) == 0);
}

static void await_ready(void)
{
	static struct pair pairs[BATCH];
	double made = 0, awaited = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		double begin = micro_now_ns(), middle;
		ssize_t sum = 0;

		make(pairs, BATCH);
		for (unsigned i = 0; i < BATCH; i++)
			weir_promise_resolve(&pairs[i].promise, 1);
		middle = micro_now_ns();
		for (unsigned i = 0; i < BATCH; i++)
			sum += weir_await(pairs[i].future, WEIR_NEVER, NULL);
		weir_assert(sum == BATCH);
		awaited = least(awaited, micro_now_ns() - middle);
		made = least(made, middle - begin);
	}
	report("promise: create + resolve", made / BATCH, 0);
	report("await: ready future", awaited / BATCH, 3);
}

/* One of two that resolve each other's futures in turn. */
struct player {
	struct pair pairs[BATCH + 1];	/* the last is never made: resolving it does nothing */
	struct pair *theirs;
};

static int play(void *arg)
{
	struct player *player = arg;

	for (unsigned i = 0; i < BATCH; i++) {
		weir_await(player->pairs[i].future, WEIR_NEVER, NULL);
		weir_promise_resolve(&player->theirs[i].promise, 1);
	}
	return 0;
}

/* A hop is a resolve, the resolver's own next await, and the other one's return from his. */
static void resolve_to_awaiter(void)
{
	static struct player players[2];
	double spent = 0;

	players[0].theirs = players[1].pairs;
	players[1].theirs = players[0].pairs + 1;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct weir_coro *coros[2];
		double begin;

		for (unsigned i = 0; i < 2; i++) {
			make(players[i].pairs, BATCH);
			weir_assert(weir_coro_spawn(NULL, play, &players[i], &coros[i]) == 0);
		}
		weir_yield();
		begin = micro_now_ns();
		weir_promise_resolve(&players[0].pairs[0].promise, 1);
		weir_coro_join(coros[1], WEIR_NEVER, NULL);
		spent = least(spent, micro_now_ns() - begin);
		weir_coro_join(coros[0], WEIR_NEVER, NULL);
	}
	report("resolve: to awaiter running", spent / BATCH / 2, 25);
}

static struct weir_promise duty;

static int server(void *arg)
{
	while (duty.future_) {
		weir_promise_resolve(&duty, 1);
		weir_yield();
	}
	return 0;
}

/* Made, awaited, resolved by another coroutine, back: a promise and two switches. */
static void promise_two_switches(void)
{
	struct weir_future *future;
	struct weir_coro *coro;
	double spent = 0;

	weir_assert(weir_promise_create(&duty, &future) == 0);
	weir_assert(weir_coro_spawn(NULL, server, NULL, &coro) == 0);
	weir_await(future, WEIR_NEVER, NULL);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double begin = micro_now_ns();

		for (unsigned i = 0; i < BATCH; i++) {
			weir_assert(weir_promise_create(&duty, &future) == 0);
			weir_await(future, WEIR_NEVER, NULL);
		}
		spent = least(spent, micro_now_ns() - begin);
	}
	report("promise: create, await, resolve", spent / BATCH, 60);
	weir_coro_join(coro, WEIR_NEVER, NULL);
}

static ssize_t step(struct weir_result *result, void *arg)
{
	return result->res + 1;
}

static void then_link(const char *name, ssize_t res)
{
	double run = 0, made = 0;

	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		struct pair pair;
		struct weir_future *future;
		double begin = micro_now_ns(), middle;

		make(&pair, 1);
		future = pair.future;
		for (unsigned i = 0; i < LINKS; i++)
			future = weir_then(future, step, NULL);
		middle = micro_now_ns();
		weir_promise_resolve(&pair.promise, res);
		weir_assert(weir_await(future, WEIR_NEVER, NULL) == (res < 0 ? res : LINKS));
		run = least(run, micro_now_ns() - middle);
		made = least(made, middle - begin);
	}
	if (res >= 0)
		report("then: create", made / LINKS, 0);
	report(name, run / LINKS, 15);
}

static void all_1m(void)
{
	struct pair *pairs = calloc(PARTS, sizeof(*pairs));
	struct weir_future **parts = calloc(PARTS, sizeof(*parts)), *future;
	double spent = 0;

	weir_assert(pairs && parts);
	weir_futures_set_max(PARTS + 1);
	for (unsigned round = 0; round < 5; round++) {
		double begin = micro_now_ns();

		make(pairs, PARTS);
		for (unsigned i = 0; i < PARTS; i++)
			parts[i] = pairs[i].future;
		future = weir_all(parts, PARTS);
		for (unsigned i = 0; i < PARTS; i++)
			weir_promise_resolve(&pairs[i].promise, 1);
		weir_assert(weir_await(future, WEIR_NEVER, NULL) == 0);
		spent = least(spent, micro_now_ns() - begin);
		if (round == 0)
			report("all: 1 M futures, fresh memory", spent / PARTS, 0);
	}
	report("all: 1 M futures", spent / PARTS, 40);
	free(pairs);
	free(parts);
}

/* --- what starts futures itself --- */

static struct weir_future *start_settled(unsigned index, void *arg)
{
	return weir_future_of(1);
}

/* Each part is resolved when the 15th after it is started: as many are under way as may be. */
#define UNDER_WAY 16

static struct weir_promise under_way[UNDER_WAY];
static unsigned started;

static struct weir_future *start_part(unsigned index, void *arg)
{
	struct weir_future *future;

	started++;
	weir_promise_resolve(&under_way[(index + 1) % UNDER_WAY], 1);
	weir_assert(weir_promise_create(&under_way[index % UNDER_WAY], &future) == 0);
	return future;
}

static void map_parts(const char *name, weir_start_fn start)
{
	const unsigned count = 10000;
	double spent = 0;

	for (unsigned round = 0; round < ROUNDS / 100; round++) {
		double begin = micro_now_ns();
		struct weir_future *future = weir_map(count, UNDER_WAY, start, NULL, NULL);

		for (started = 0; start == start_part && started < count;)
			weir_yield();
		for (unsigned i = 0; i < UNDER_WAY; i++)
			weir_promise_resolve(&under_way[i], 1);
		weir_assert(weir_await(future, WEIR_NEVER, NULL) == 0);
		spent = least(spent, micro_now_ns() - begin);
	}
	report(name, spent / count, 0);
}

typedef struct weir_future *(*attempt_fn)(void);

static struct weir_future *retry_one(void)
{
	return weir_retry(NULL, start_settled, NULL);
}

static struct weir_future *hedge_one(void)
{
	return weir_hedge(WEIR_S, start_settled, NULL);
}

/* A hundred at once, each awaited: one that is not needed in the end. */
static void in_vain(const char *name, attempt_fn attempt)
{
	struct weir_future *futures[BATCH];
	double spent = 0;

	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		double begin = micro_now_ns();

		for (unsigned i = 0; i < BATCH; i++)
			futures[i] = attempt();
		for (unsigned i = 0; i < BATCH; i++)
			weir_await(futures[i], WEIR_NEVER, NULL);
		spent = least(spent, micro_now_ns() - begin);
	}
	report(name, spent / BATCH, 0);
}

static int shared_value;

static struct weir_future *start_key(const void *key, size_t key_size, void *arg)
{
	struct pair pair;

	make(&pair, 1);
	weir_promise_resolve_value(&pair.promise, 1, arg, NULL);
	return pair.future;
}

static void memo_hit(const char *name, void *value)
{
	const struct weir_memo_opts opts = {
		.start = start_key,
		.arg = value,
		.ttl_ns = WEIR_NEVER,
	};
	struct weir_share *mine = NULL;
	struct weir_memo *memo;
	double spent = 0;

	weir_assert(weir_memo_create(&opts, &memo) == 0);
	for (unsigned round = 0; round <= ROUNDS; round++) {
		double begin = micro_now_ns();

		for (unsigned i = 0; i < BATCH; i++) {
			weir_await(weir_memo_get(memo, "a key of some bytes", 19), WEIR_NEVER,
				   (void **)&mine);
			weir_share_release(mine);
		}
		if (round)
			spent = least(spent, micro_now_ns() - begin);
	}
	report(name, spent / BATCH, 0);
	weir_memo_destroy(memo);
}

static void share_readers(void)
{
	struct weir_future *readers[BATCH];
	struct weir_share *share, *mine;
	double spent = 0;

	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		struct pair pair;
		double begin;

		make(&pair, 1);
		weir_assert(weir_share_create(pair.future, &share) == 0);
		begin = micro_now_ns();
		for (unsigned i = 0; i < BATCH; i++)
			readers[i] = weir_share_read(share);
		weir_promise_resolve_value(&pair.promise, 1, &shared_value, NULL);
		for (unsigned i = 0; i < BATCH; i++) {
			weir_await(readers[i], WEIR_NEVER, (void **)&mine);
			weir_share_release(mine);
		}
		spent = least(spent, micro_now_ns() - begin);
		weir_share_release(share);
	}
	report("share: one of 100 readers", spent / BATCH, 0);
}

static void starters(void)
{
	map_parts("map: a part that is there", start_settled);
	map_parts("map: a part, 16 under way", start_part);
	in_vain("retry: without failure", retry_one);
	in_vain("hedge: without need", hedge_one);
	share_readers();
	memo_hit("memo: hit, a number", NULL);
	memo_hit("memo: hit, a value", &shared_value);
}

static int body(void *arg)
{
	await_ready();
	resolve_to_awaiter();
	promise_two_switches();
	then_link("then: link, resolve to run", 0);
	then_link("then: link, rejection passes", -EIO);
	starters();
	all_1m();
	return 0;
}

int micro_future(micro_report_fn report_fn)
{
	static struct fake_driver fake;
	static struct weir_worker worker;
	const struct weir_worker_opts opts = { .index = 0 };
	const struct weir_coro_opts coro_opts = { .name = "bench", .detached = true };
	int r;

	report = report_fn;
	fake_driver_init(&fake);
	r = weir__worker_init(&worker, &fake.driver, &opts);
	if (r < 0)
		return r;
	r = weir_coro_spawn(&coro_opts, body, NULL, NULL);
	if (r == 0)
		r = weir__worker_loop(&worker);
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
	return r;
}
