/* SPDX-License-Identifier: MIT */
/*
 * micro_coro.c - what a coroutine costs, on a worker without a kernel: a switch, a life,
 * a turn of yielding, a wait with and without a deadline.
 */
#include "core/handover.h"
#include "core/waiting.h"
#include "tests/bench/micro.h"
#include "tests/support/fake_driver.h"

#define ROUNDS 100000u		/* one or a few milliseconds: often undisturbed */
#define REPEATS 60		/* the best is reported */
#define MANY 1000u

static struct fake_driver fake;
static struct weir_worker worker;

/* Runs the worker until its coroutines have ended, REPEATS times; ns of one of count. */
static double run(void (*prepare)(void), double count)
{
	double best = 0;

	for (int i = 0; i < REPEATS; i++) {
		double begin, ns;

		prepare();
		begin = micro_now_ns();
		while (worker.live || !weir__queue_is_empty(&worker.ready))
			weir__worker_turn(&worker, 0);
		ns = (micro_now_ns() - begin) / count;
		if (i == 0 || ns < best)
			best = ns;
	}
	return best;
}

static void go(weir_coro_fn fn, void *arg)
{
	const struct weir_coro_opts opts = { .detached = true };

	weir_assert(weir_coro_spawn(&opts, fn, arg, NULL) == 0);
}

/* --- the switch alone: two contexts, no scheduler --- */

static struct weir_context here, there;

static void bounce(void)
{
	for (;;)
		weir__context_switch(&there, &here);
}

static double context_switch(void)
{
	static struct {
		char stack[16384];
		struct weir_context_root root;
	} memory __attribute__((aligned(64)));
	double best = 0;

	weir__context_make(&there, &memory.root, bounce);
	for (int i = 0; i < REPEATS; i++) {
		double begin = micro_now_ns(), ns;

		for (unsigned k = 0; k < ROUNDS; k++)
			weir__context_switch(&here, &there);
		ns = (micro_now_ns() - begin) / ROUNDS / 2;
		if (i == 0 || ns < best)
			best = ns;
	}
	return best;
}

/* --- a life --- */

static int nothing(void *arg)
{
	return 0;
}

static int spawner(void *arg)
{
	for (unsigned i = 0; i < ROUNDS / 100; i++) {
		for (unsigned k = 0; k < 100; k++)
			go(nothing, NULL);
		weir_yield();
	}
	return 0;
}

static void prepare_spawn(void)
{
	go(spawner, NULL);
}

static int joiner(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct weir_coro *coro;

		weir_assert(weir_coro_spawn(NULL, nothing, NULL, &coro) == 0);
		weir_assert(weir_coro_join(coro, WEIR_NEVER, NULL) == 0);
	}
	return 0;
}

static void prepare_join(void)
{
	go(joiner, NULL);
}

/* --- yielding --- */

static int yielder(void *arg)
{
	unsigned rounds = *(unsigned *)arg;

	while (rounds--)
		weir_yield();
	return 0;
}

static void prepare_two(void)
{
	static unsigned rounds = ROUNDS / 2;

	go(yielder, &rounds);
	go(yielder, &rounds);
}

static void prepare_many(void)
{
	static unsigned rounds = ROUNDS / MANY;

	for (unsigned i = 0; i < MANY; i++)
		go(yielder, &rounds);
}

/* Tasks that are no coroutines in between: every switch goes by way of the loop. */
static struct weir_task tasks[2];

static void run_task(struct weir_task *task)
{
	if (worker.live)
		weir_task_ready(task);
}

static void prepare_by_loop(void)
{
	static unsigned rounds = ROUNDS / 2;

	for (unsigned i = 0; i < 2; i++) {
		go(yielder, &rounds);
		weir_task_init(&tasks[i], run_task);
		weir_task_ready(&tasks[i]);
	}
}

/* --- waiting: one parks, a task wakes it, as a completion does --- */

static struct weir_wait *parked;
static int64_t park_deadline_ns;

static void wake_parked(struct weir_task *task)
{
	if (parked)
		weir__wait_wake(parked, 0);
	parked = NULL;
}

static void cancel_parked(struct weir_wait *wait, int reason)
{
	parked = NULL;
	weir__wait_wake(wait, reason);
}

static int parker(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct weir_wait wait;

		weir_assert(weir__wait_check(park_deadline_ns) == 0);
		weir__wait_init(&wait);
		parked = &wait;
		weir_task_ready(&tasks[0]);
		weir_assert(weir__wait_park(&wait, "bench", cancel_parked, park_deadline_ns) == 0);
	}
	return 0;
}

static void prepare_park(void)
{
	weir_task_init(&tasks[0], wake_parked);
	go(parker, NULL);
}

static unsigned resolved;

static int partner(void *arg)
{
	struct weir_wait wait;

	while (resolved < ROUNDS) {
		struct weir_wait *other = parked;

		resolved++;
		weir__wait_init(&wait);
		parked = &wait;
		if (other)
			weir__wait_wake(other, 0);
		weir__wait_park(&wait, "bench", NULL, WEIR_NEVER);
	}
	if (parked)
		weir__wait_wake(parked, 0);
	parked = NULL;
	return 0;
}

static void prepare_partners(void)
{
	resolved = 0;
	parked = NULL;
	go(partner, NULL);
	go(partner, NULL);
}

int micro_coro(micro_report_fn report)
{
	const struct weir_worker_opts opts = { .index = 0 };
	int r;

	fake_driver_init(&fake);
	r = weir__worker_init(&worker, &fake.driver, &opts);
	if (r)
		return r;
	report("coroutine: switch", context_switch(), 3);
	report("coroutine: spawn + exit", run(prepare_spawn, ROUNDS), 60);
	report("coroutine: spawn + exit + join", run(prepare_join, ROUNDS), 0);
	report("coroutine: yield, 2 of them", run(prepare_two, ROUNDS), 12);
	report("coroutine: yield, 1,000 of them", run(prepare_many, ROUNDS), 0);
	report("coroutine: yield, by way of the loop", run(prepare_by_loop, ROUNDS), 0);
	report("wait: wake the other, park", run(prepare_partners, ROUNDS), 0);
	park_deadline_ns = WEIR_NEVER;
	report("wait: park, woken by a task", run(prepare_park, ROUNDS), 0);
	park_deadline_ns = weir_in(3600 * WEIR_S);
	report("wait: park with a deadline, woken by a task", run(prepare_park, ROUNDS), 0);
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
	return 0;
}
