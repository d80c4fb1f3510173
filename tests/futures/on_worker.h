/* SPDX-License-Identifier: MIT */
/*
 * on_worker.h - runs a test's body in a coroutine of a worker without a kernel: the clock
 * is virtual, and at the end no future may be left.
 */
#ifndef WEIR_TESTS_FUTURES_ON_WORKER_H
#define WEIR_TESTS_FUTURES_ON_WORKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/worker.h"
#include "futures/future.h"
#include "tests/support/fake_driver.h"

#define MILLION 1000000

struct pair {
	struct weir_promise promise;
	struct weir_future *future;
};

static inline struct pair pair(void)
{
	struct pair pair;

	assert_int_equal(weir_promise_create(&pair.promise, &pair.future), 0);
	return pair;
}

static inline struct weir_futures_info info(void)
{
	struct weir_futures_info levels;

	assert_int_equal(weir_futures_info(&levels), 0);
	return levels;
}

/* Lets what is ready run, and what it readies, count times. */
static inline void turns(unsigned count)
{
	while (count--)
		weir_yield();
}

static inline struct weir_coro *start(weir_coro_fn fn, void *arg)
{
	struct weir_coro *coro;

	assert_int_equal(weir_coro_spawn(NULL, fn, arg, &coro), 0);
	return coro;
}

static inline void go(weir_coro_fn fn, void *arg)
{
	const struct weir_coro_opts opts = { .detached = true };

	assert_int_equal(weir_coro_spawn(&opts, fn, arg, NULL), 0);
}

static inline int on_worker_body(void *arg)
{
	void (*const *body)(void) = arg;

	(*body)();
	return 0;
}

static inline void on_worker_run(void **state)
{
	static struct fake_driver fake;
	static struct weir_worker worker;
	const struct weir_coro_opts coro_opts = { .name = "test", .detached = true };
	const struct weir_worker_opts opts = { .index = 0 };
	void (*body)(void) = *state;

	fake_driver_init(&fake);
	assert_int_equal(weir__worker_init(&worker, &fake.driver, &opts), 0);
	weir__self = &worker;
	assert_int_equal(weir_coro_spawn(&coro_opts, on_worker_body, &body, NULL), 0);
	weir__self = NULL;
	assert_int_equal(weir__worker_loop(&worker), 0);
	weir__self = &worker;
	assert_int_equal(info().count, 0);
	weir__self = NULL;
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
}

#define on_worker(body)                                                                           \
	{                                                                                         \
		.name = #body, .test_func = on_worker_run,                                        \
		.initial_state = (void *)(uintptr_t)(body),                                       \
	}

#endif
