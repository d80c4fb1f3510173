/* SPDX-License-Identifier: MIT */
/*
 * test_gather.c - gate, barrier, once, event: who meets whom, and who leaves early.
 */
#include "on_worker.h"

#include "futures/weir_sync.h"

static unsigned ended;

/* --- gate --- */

static struct weir_gate gate;

static int stays(void *arg)
{
	int64_t *ns = arg;

	if (weir_gate_enter(&gate))
		return -ESHUTDOWN;
	weir_sleep(*ns);
	ended++;
	return weir_gate_leave(&gate);
}

static void closing_a_gate_waits_for_those_inside_and_lets_nobody_in(void)
{
	int64_t ns[] = { 5 * WEIR_MS, 10 * WEIR_MS };
	struct weir_coro *late;
	int res;

	ended = 0;
	assert_int_equal(weir_gate_init(&gate), 0);
	go(stays, &ns[0]);
	go(stays, &ns[1]);
	turns(1);
	assert_int_equal(weir_gate_fini(&gate), -EBUSY);
	assert_int_equal(weir_gate_close(&gate, weir_in(7 * WEIR_MS)), -ETIMEDOUT);
	assert_int_equal(ended, 1);
	late = start(stays, &ns[0]);
	assert_int_equal(weir_coro_join(late, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ESHUTDOWN);
	assert_int_equal(weir_gate_close(&gate, WEIR_NEVER), 0);
	assert_int_equal(ended, 2);
	assert_int_equal(weir_gate_close(&gate, 0), 0);
	assert_int_equal(weir_gate_leave(&gate), -EPERM);
	assert_int_equal(weir_gate_fini(&gate), 0);
	gate.home_ = NULL;
	assert_int_equal(weir_gate_enter(&gate), -EPROTO);
	assert_int_equal(weir_gate_leave(&gate), -EPROTO);
	assert_int_equal(weir_gate_close(&gate, 0), -EPROTO);
}

/* --- barrier --- */

static struct weir_barrier barrier;

static int meets(void *arg)
{
	int r = weir_barrier_wait(&barrier, arg ? *(int64_t *)arg : WEIR_NEVER);

	ended++;
	return r;
}

static void the_last_at_a_barrier_lets_all_go_and_again(void)
{
	struct weir_coro *coros[2];
	int res;

	assert_int_equal(weir_barrier_init(&barrier, 0), -EINVAL);
	assert_int_equal(weir_barrier_init(&barrier, 3), 0);
	for (int round = 0; round < 2; round++) {
		ended = 0;
		for (int i = 0; i < 2; i++)
			coros[i] = start(meets, NULL);
		turns(2);
		assert_int_equal(ended, 0);
		assert_int_equal(weir_barrier_fini(&barrier), -EBUSY);
		assert_int_equal(weir_barrier_wait(&barrier, 0), 1);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(weir_coro_join(coros[i], WEIR_NEVER, &res), 0);
			assert_int_equal(res, 0);
		}
	}
	assert_int_equal(weir_barrier_fini(&barrier), 0);
}

static void who_leaves_a_barrier_early_is_not_counted(void)
{
	int64_t soon = weir_in(WEIR_MS);
	struct weir_coro *first, *second;
	int res;

	weir_barrier_init(&barrier, 2);
	assert_int_equal(weir_barrier_wait(&barrier, 0), -ETIMEDOUT);
	first = start(meets, &soon);
	assert_int_equal(weir_coro_join(first, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ETIMEDOUT);
	first = start(meets, NULL);
	turns(2);
	second = start(meets, NULL);
	assert_int_equal(weir_coro_join(first, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 0);
	assert_int_equal(weir_coro_join(second, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 1);
	barrier.home_ = NULL;
	assert_int_equal(weir_barrier_wait(&barrier, 0), -EPROTO);
}

/* --- once --- */

static struct weir_once once;
static int calls;
static int fails_left;

static int work(void *arg)
{
	(void)arg;
	assert_int_equal(weir_once_run(&once, work, NULL, WEIR_NEVER), -EDEADLK);
	calls++;
	weir_sleep(WEIR_MS);
	return fails_left-- > 0 ? -EIO : 42;
}

static int runs_once(void *arg)
{
	return weir_once_run(&once, work, NULL, arg ? *(int64_t *)arg : WEIR_NEVER);
}

static void the_first_does_it_and_all_have_its_result(void)
{
	struct weir_coro *coros[3];
	int res;

	calls = 0;
	fails_left = 0;
	assert_int_equal(weir_once_init(&once), 0);
	for (int i = 0; i < 3; i++)
		coros[i] = start(runs_once, NULL);
	turns(2);
	assert_int_equal(weir_once_fini(&once), -EBUSY);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(weir_coro_join(coros[i], WEIR_NEVER, &res), 0);
		assert_int_equal(res, 42);
	}
	assert_int_equal(calls, 1);
	assert_int_equal(weir_once_run(&once, work, NULL, 0), 42);
	assert_int_equal(weir_once_fini(&once), 0);
}

static void a_failure_is_its_callers_and_the_next_in_line_tries(void)
{
	struct weir_coro *coros[4];
	int64_t soon = weir_in(WEIR_MS / 2);
	int expected[] = { -EIO, -ETIMEDOUT, -EIO, 42 };
	int res;

	calls = 0;
	fails_left = 2;
	weir_once_init(&once);
	for (int i = 0; i < 4; i++)
		coros[i] = start(runs_once, i == 1 ? &soon : NULL);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(weir_coro_join(coros[i], WEIR_NEVER, &res), 0);
		assert_int_equal(res, expected[i]);
	}
	assert_int_equal(calls, 3);
	once.home_ = NULL;
	assert_int_equal(weir_once_run(&once, work, NULL, 0), -EPROTO);
}

/* --- event --- */

static struct weir_event event;

static int hears(void *arg)
{
	int r = weir_event_wait(&event, arg ? *(int64_t *)arg : WEIR_NEVER);

	ended++;
	return r;
}

static void an_event_lets_all_go_until_it_is_cleared(void)
{
	int64_t soon = weir_in(WEIR_MS);
	struct weir_coro *late = NULL;
	int res;

	ended = 0;
	assert_int_equal(weir_event_init(&event), 0);
	assert_int_equal(weir_event_wait(&event, 0), -ETIMEDOUT);
	late = start(hears, &soon);
	assert_int_equal(weir_coro_join(late, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ETIMEDOUT);
	go(hears, NULL);
	go(hears, NULL);
	turns(2);
	assert_int_equal(ended, 1);
	assert_int_equal(weir_event_fini(&event), -EBUSY);
	weir_event_set(&event);
	/* Who waited hears it, although it is cleared before it has run. */
	weir_event_clear(&event);
	turns(2);
	assert_int_equal(ended, 3);
	assert_false(weir_event_is_set(&event));
	weir_event_set(&event);
	weir_event_set(&event);
	assert_true(weir_event_is_set(&event));
	assert_int_equal(weir_event_wait(&event, 0), 0);
	assert_int_equal(weir_event_fini(&event), 0);
	event.home_ = NULL;
	assert_int_equal(weir_event_set(&event), -EPROTO);
	assert_int_equal(weir_event_clear(&event), -EPROTO);
	assert_int_equal(weir_event_wait(&event, 0), -EPROTO);
}

static void outside_a_worker_nothing_is_made(void **state)
{
	struct weir_semaphore semaphore;
	struct weir_rwlock rwlock;
	struct weir_mutex mutex;
	struct weir_cond cond;

	(void)state;
	assert_int_equal(weir_mutex_init(&mutex), -EDEADLK);
	assert_int_equal(weir_cond_init(&cond), -EDEADLK);
	assert_int_equal(weir_rwlock_init(&rwlock), -EDEADLK);
	assert_int_equal(weir_semaphore_init(&semaphore, 1, 1), -EDEADLK);
	assert_int_equal(weir_gate_init(&gate), -EDEADLK);
	assert_int_equal(weir_barrier_init(&barrier, 1), -EDEADLK);
	assert_int_equal(weir_once_init(&once), -EDEADLK);
	assert_int_equal(weir_event_init(&event), -EDEADLK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(closing_a_gate_waits_for_those_inside_and_lets_nobody_in),
		on_worker(the_last_at_a_barrier_lets_all_go_and_again),
		on_worker(who_leaves_a_barrier_early_is_not_counted),
		on_worker(the_first_does_it_and_all_have_its_result),
		on_worker(a_failure_is_its_callers_and_the_next_in_line_tries),
		on_worker(an_event_lets_all_go_until_it_is_cleared),
		cmocka_unit_test(outside_a_worker_nothing_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
