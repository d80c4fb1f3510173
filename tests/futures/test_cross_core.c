/* SPDX-License-Identifier: MIT */
/*
 * test_cross_core.c - promises that another core, or a thread that is no worker, resolves.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/runtime.h"
#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_future.h"
#include "futures/weir_retry.h"
#include "futures/weir_share.h"
#include "tests/support/thread_driver.h"

#define CORES 2
#define MANY 20000

/* cmocka's assertions belong to the main thread. */
#define must(x)                                                                                   \
	do {                                                                                      \
		if (!(x)) {                                                                       \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                   \
			abort();                                                                  \
		}                                                                                 \
	} while (0)

static int run(int (*service)(void *), void *arg)
{
	static struct thread_driver drivers[CORES];
	struct weir_driver *list[CORES];
	struct weir__runtime_plan plan = {
		.core_count = CORES,
		.drivers = list,
		.mesh_depth = 16,
		.drain_ns = WEIR_NEVER,
		.no_signals = true,
		.service = service,
		.service_arg = arg,
	};
	int r;

	for (int i = 0; i < CORES; i++) {
		thread_driver_init(&drivers[i]);
		list[i] = &drivers[i].driver;
	}
	r = weir__runtime_run(&plan);
	for (int i = 0; i < CORES; i++)
		thread_driver_fini(&drivers[i]);
	return r;
}

static int place;
static int dropped_on;

static void note_drop(void *value)
{
	must(value == &place);
	dropped_on = weir_core();
}

static bool nothing_is_left(void)
{
	struct weir_futures_info info;

	return weir_futures_info(&info) == 0 && info.count == 0;
}

/* --- one --- */

static int resolve_there(void *arg)
{
	struct weir_promise *promise = arg;

	must(weir_core() == 1);
	must(weir_promise_resolve_any(promise, 5, &place, note_drop) == 0);
	must(weir_promise_resolve_any(promise, 6, NULL, NULL) == -EALREADY);
	return 0;
}

static int await_from_there(void *arg)
{
	struct weir_promise promise;
	struct weir_future *future;
	void *value = NULL;
	int res;

	if (weir_core() != 0)
		return 0;
	must(weir_promise_create_any(&promise, &future) == 0);
	must(weir_call(1, resolve_there, &promise, WEIR_NEVER, &res) == 0);
	must(weir_await(future, WEIR_NEVER, &value) == 5);
	must(value == &place);
	must(nothing_is_left());
	return 0;
}

static void another_core_resolves_and_the_value_comes_home(void **state)
{
	(void)state;
	assert_int_equal(run(await_from_there, NULL), 0);
}

/* --- what is not allowed there --- */

static int break_rules_there(void *arg)
{
	struct weir_promise *promises = arg;

	must(weir_promise_resolve(&promises[0], 1) == -EPROTO);
	must(weir_promise_resolve_any(&promises[0], 1, NULL, NULL) == -EPROTO);
	must(weir_promise_resolve(&promises[1], 1) == -EPROTO);
	must(weir_promise_follow(&promises[1], weir_future_of(1)) == -EPROTO);
	must(weir_promise_resolve_any(&promises[1], -EIO, &place, NULL) == -EINVAL);
	weir_promise_drop(&promises[1]);
	return 0;
}

static int refuse_there(void *arg)
{
	struct weir_promise promises[2];
	struct weir_future *futures[2];
	int res;

	if (weir_core() != 0)
		return 0;
	must(weir_promise_create(&promises[0], &futures[0]) == 0);
	must(weir_promise_create_any(&promises[1], &futures[1]) == 0);
	must(weir_call(1, break_rules_there, promises, WEIR_NEVER, &res) == 0);
	must(weir_promise_resolve(&promises[0], 3) == 0);
	must(weir_await(futures[0], WEIR_NEVER, NULL) == 3);
	must(weir_await(futures[1], WEIR_NEVER, NULL) == -EPIPE);
	must(nothing_is_left());
	return 0;
}

static int use_there(void *arg)
{
	struct weir_future *future = *(struct weir_future **)arg;
	struct weir_tap tap;

	must(weir_await(future, WEIR_NEVER, NULL) == -EPROTO);
	must(weir_await(weir_then(future, NULL, NULL), WEIR_NEVER, NULL) == -EPROTO);
	must(weir_future_cancel(future) == -EPROTO);
	must(weir_future_tap(future, &tap, NULL) == -EPROTO);
	weir_future_drop(future);
	return 0;
}

static int refuse_futures_there(void *arg)
{
	struct weir_promise promise;
	struct weir_future *future;
	int res;

	if (weir_core() != 0)
		return 0;
	must(weir_promise_create(&promise, &future) == 0);
	must(weir_call(1, use_there, &future, WEIR_NEVER, &res) == 0);
	must(weir_promise_resolve(&promise, 3) == 0);
	must(weir_await(future, WEIR_NEVER, NULL) == 3);
	return 0;
}

static void on_another_core_only_resolve_any_and_drop_are_allowed(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_there, NULL), 0);
	assert_int_equal(run(refuse_futures_there, NULL), 0);
}

/* What is shared, and a memo, belong to a core as futures do. */
struct shared {
	struct weir_share *share;
	struct weir_memo *memo;
};

static struct weir_future *answer_key(const void *key, size_t key_size, void *arg)
{
	return weir_future_of(*(const char *)key == 'k');
}

static int read_there(void *arg)
{
	struct shared *shared = arg;
	struct weir_memo_info info;

	must(weir_await(weir_share_read(shared->share), WEIR_NEVER, NULL) == -EPROTO);
	must(weir_share_hold(shared->share) == NULL);
	must(weir_share_release(shared->share) == -EPROTO);
	must(weir_await(weir_memo_get(shared->memo, "k", 1), WEIR_NEVER, NULL) == -EPROTO);
	must(weir_memo_forget(shared->memo, "k", 1) == -EPROTO);
	must(weir_memo_info(shared->memo, &info) == -EPROTO);
	must(weir_memo_destroy(shared->memo) == -EPROTO);
	return 0;
}

static int refuse_readers_there(void *arg)
{
	const struct weir_memo_opts opts = { .start = answer_key };
	struct weir_promise promise;
	struct weir_future *future;
	struct shared shared;
	int res;

	if (weir_core() != 0)
		return 0;
	must(weir_promise_create(&promise, &future) == 0);
	must(weir_share_create(future, &shared.share) == 0);
	must(weir_memo_create(&opts, &shared.memo) == 0);
	must(weir_call(1, read_there, &shared, WEIR_NEVER, &res) == 0);
	must(weir_promise_resolve(&promise, 3) == 0);
	must(weir_await(weir_share_read(shared.share), WEIR_NEVER, NULL) == 3);
	must(weir_share_release(shared.share) == 0);
	must(weir_await(weir_memo_get(shared.memo, "k", 1), WEIR_NEVER, NULL) == 1);
	must(weir_memo_destroy(shared.memo) == 0);
	must(nothing_is_left());
	return 0;
}

static void what_is_shared_is_read_on_its_own_core_only(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_readers_there, NULL), 0);
}

static struct weir_future *give(unsigned index, void *arg)
{
	return *(struct weir_future **)arg;
}

static int give_to_map_there(void *arg)
{
	struct weir_future **future = arg;

	/* A map, retry or hedge of this core cannot wait for a future of another one. */
	must(weir_await(weir_map(1, 1, give, future, NULL), WEIR_NEVER, NULL) == -EPROTO);
	must(weir_await(weir_retry(NULL, give, future), WEIR_NEVER, NULL) == -EPROTO);
	must(weir_await(weir_hedge(0, give, future), WEIR_NEVER, NULL) == -EPROTO);
	return 0;
}

static int start_far_futures(void *arg)
{
	struct weir_promise promise;
	struct weir_future *future;
	int res;

	if (weir_core() != 0)
		return 0;
	must(weir_promise_create(&promise, &future) == 0);
	must(weir_call(1, give_to_map_there, &future, WEIR_NEVER, &res) == 0);
	must(weir_promise_resolve(&promise, 3) == 0);
	must(weir_await(future, WEIR_NEVER, NULL) == 3);
	return 0;
}

static void what_is_started_must_be_of_the_same_core(void **state)
{
	(void)state;
	assert_int_equal(run(start_far_futures, NULL), 0);
}

/* --- too late --- */

static int resolve_late(void *arg)
{
	must(weir_promise_resolve_any(arg, 5, &place, note_drop) == 0);
	return 0;
}

static int cancel_first(void *arg)
{
	struct weir_promise promise;
	struct weir_future *future;
	int res;

	if (weir_core() != 0)
		return 0;
	must(weir_promise_create_any(&promise, &future) == 0);
	must(weir_future_cancel(future) == 0);
	must(weir_await(future, WEIR_NEVER, NULL) == -ECANCELED);
	must(weir_call(1, resolve_late, &promise, WEIR_NEVER, &res) == 0);
	return 0;
}

static void a_value_that_comes_too_late_is_dropped_at_home(void **state)
{
	(void)state;
	dropped_on = -1;
	assert_int_equal(run(cancel_first, NULL), 0);
	assert_int_equal(dropped_on, 0);
}

/* --- many, against cancels and drops --- */

struct flood {
	struct weir_promise promises[MANY];
	struct weir_future *futures[MANY];
	pthread_t thread;
};

static ssize_t sum_of;

static void *resolve_all(void *arg)
{
	struct flood *flood = arg;

	for (int i = 0; i < MANY; i++) {
		if (i % 7 == 0)
			weir_promise_drop(&flood->promises[i]);
		else
			must(weir_promise_resolve_any(&flood->promises[i], 1, &place, NULL) == 0);
	}
	return NULL;
}

static int resolve_all_there(void *arg)
{
	resolve_all(arg);
	return 0;
}

static void consume_all(struct flood *flood)
{
	for (int i = 0; i < MANY; i++) {
		ssize_t res;

		if (i % 5 == 0)
			weir_future_cancel(flood->futures[i]);
		if (i % 11 == 0) {
			weir_future_drop(flood->futures[i]);
			continue;
		}
		res = weir_await(flood->futures[i], WEIR_NEVER, NULL);
		must(res == 1 || (res == -EPIPE && i % 7 == 0) ||
		     (res == -ECANCELED && i % 5 == 0));
		sum_of += res == 1;
	}
}

static void fill(struct flood *flood)
{
	for (int i = 0; i < MANY; i++)
		must(weir_promise_create_any(&flood->promises[i], &flood->futures[i]) == 0);
}

static int many_from_a_thread(void *arg)
{
	struct flood *flood = arg;

	if (weir_core() != 0)
		return 0;
	fill(flood);
	must(pthread_create(&flood->thread, NULL, resolve_all, flood) == 0);
	consume_all(flood);
	return 0;
}

static int start_resolving(void *arg)
{
	const struct weir_coro_opts opts = { .detached = true };

	return weir_coro_spawn(&opts, resolve_all_there, arg, NULL);
}

static int many_from_a_core(void *arg)
{
	struct flood *flood = arg;
	int res;

	if (weir_core() != 0)
		return 0;
	fill(flood);
	must(weir_call(1, start_resolving, flood, WEIR_NEVER, &res) == 0 && res == 0);
	consume_all(flood);
	return 0;
}

static void many_from_a_thread_race_with_cancels_and_drops(void **state)
{
	struct flood *flood = calloc(1, sizeof(*flood));

	(void)state;
	assert_non_null(flood);
	sum_of = 0;
	assert_int_equal(run(many_from_a_thread, flood), 0);
	pthread_join(flood->thread, NULL);
	assert_true(sum_of > 0);
	free(flood);
}

static void many_from_a_core_race_with_cancels_and_drops(void **state)
{
	struct flood *flood = calloc(1, sizeof(*flood));

	(void)state;
	assert_non_null(flood);
	sum_of = 0;
	assert_int_equal(run(many_from_a_core, flood), 0);
	assert_true(sum_of > 0);
	free(flood);
}

/* --- the runtime waits for it --- */

static sem_t may_resolve;

static void *resolve_when_told(void *arg)
{
	sem_wait(&may_resolve);
	must(weir_promise_resolve_any(arg, 1, &place, note_drop) == 0);
	return NULL;
}

static struct weir_promise kept;
static pthread_t keeper;

static int leave_a_promise_out(void *arg)
{
	struct weir_future *future;

	if (weir_core() != 0)
		return 0;
	must(weir_promise_create_any(&kept, &future) == 0);
	weir_future_drop(future);
	must(pthread_create(&keeper, NULL, resolve_when_told, &kept) == 0);
	sem_post(&may_resolve);
	return 0;
}

static void the_runtime_does_not_end_before_a_promise_that_is_out(void **state)
{
	(void)state;
	sem_init(&may_resolve, 0, 0);
	dropped_on = -1;
	assert_int_equal(run(leave_a_promise_out, NULL), 0);
	assert_int_equal(dropped_on, 0);
	pthread_join(keeper, NULL);
	sem_destroy(&may_resolve);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_core_resolves_and_the_value_comes_home),
		cmocka_unit_test(on_another_core_only_resolve_any_and_drop_are_allowed),
		cmocka_unit_test(what_is_shared_is_read_on_its_own_core_only),
		cmocka_unit_test(what_is_started_must_be_of_the_same_core),
		cmocka_unit_test(a_value_that_comes_too_late_is_dropped_at_home),
		cmocka_unit_test(many_from_a_thread_race_with_cancels_and_drops),
		cmocka_unit_test(many_from_a_core_race_with_cancels_and_drops),
		cmocka_unit_test(the_runtime_does_not_end_before_a_promise_that_is_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
