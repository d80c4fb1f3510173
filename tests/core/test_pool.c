/* SPDX-License-Identifier: MIT */
/*
 * test_pool.c - the thread pool: work comes back to who submitted it, exactly once and with the
 * truth; bounds hold, classes keep to their quota, what expired or was taken back is not run.
 * Threads are held by a door, never by time.
 */
#include "tests/core/pool_play.h"

/* --- running --- */

static void results_come_back_to_the_worker_that_asked(void **state)
{
	struct weir_pool_class_info info;

	(void)state;
	reset();
	assert_int_equal(weir_pool_create(NULL, &pool), 0);
	assert_int_equal(run_on(2, results_scenario), 0);
	assert_int_equal(weir_pool_class_info(pool, 0, &info), 0);
	assert_int_equal(info.done, 3);
	assert_int_equal(info.failed, 1);
	assert_int_equal(info.queued + info.running + info.parked, 0);
	assert_true(info.delay_p99_ns > 0 && info.run_max_ns > 0);
	assert_int_equal(weir_pool_class_info(pool, 1, &info), -EINVAL);
	assert_int_equal(weir_pool_destroy(pool), 0);
}

/* Nobody waits for it: the worker stays all the same. */
static struct job lonely;

static int lonely_scenario(void)
{
	job_init(&lonely, 5);
	lonely.waits = true;
	return submit(&lonely, 0);
}

static void a_worker_stays_until_its_work_has_come_back(void **state)
{
	pthread_t opener;

	(void)state;
	reset();
	pthread_create(&opener, NULL, open_when_it_waits, NULL);
	assert_int_equal(with_pool(NULL, lonely_scenario), 0);
	assert_int_equal(lonely.ended, 1);
	assert_int_equal(lonely.res, 5);
	assert_true(lonely.on_worker);
	pthread_join(opener, NULL);
}

static void a_thread_that_is_no_worker_submits_and_is_told_on_the_pools(void **state)
{
	struct weir_work *works[16];

	(void)state;
	reset();
	assert_int_equal(weir_pool_create(NULL, &pool), 0);
	for (int i = 0; i < 16; i++) {
		job_init(&jobs[i], i);
		works[i] = &jobs[i].work;
	}
	assert_int_equal(weir_pool_submit(pool, 0, works[0], WEIR_NEVER), 0);
	assert_int_equal(weir_pool_submit_many(pool, 0, works + 1, 15, WEIR_NEVER), 15);
	while (__atomic_load_n(&ends, __ATOMIC_SEQ_CST) < 16)
		sched_yield();
	assert_int_equal(weir_pool_destroy(pool), 0);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(jobs[i].ended, 1);
		assert_int_equal(jobs[i].res, i);
		assert_false(jobs[i].on_worker);
	}
}

static int run_outside(void *arg)
{
	int n = 1;

	(void)arg;
	return weir_pool_run(pool, 0, add_one, &n, WEIR_NEVER, NULL);
}

static int wrong_scenario(void)
{
	struct weir_pool_opts tiny = { .threads_min = 3, .threads_max = 2 };
	struct weir_pool_opts bad_cpu = { .cpus = (int[]){ -1 }, .cpu_count = 1 };
	struct weir_pool_opts huge = { .threads_max = WEIR_POOL_THREADS_MAX + 1 };
	struct weir_pool_class bad_full = { .full = 9 };
	struct weir_pool_opts bad_class = { .classes = &bad_full, .class_count = 1 };
	struct weir_pool_opts many = { .classes = &bad_full,
				       .class_count = WEIR_POOL_CLASSES_MAX + 1 };
	struct weir_pool *none = NULL;
	struct weir_strand strand;
	struct job job;
	int res = 0;

	check(weir_pool_create(&tiny, &none) == -EINVAL);
	check(weir_pool_create(&bad_cpu, &none) == -EINVAL);
	check(weir_pool_create(&huge, &none) == -EINVAL);
	check(weir_pool_create(&bad_class, &none) == -EINVAL);
	check(weir_pool_create(&many, &none) == -EINVAL && !none);
	check(weir_pool_destroy(NULL) == 0);
	job_init(&job, 0);
	check(submit(&job, 1) == -EINVAL);
	check(weir_pool_cancel(&job.work) == -ENOENT);
	check(weir_strand_init(&strand, pool, 1) == -EINVAL);
	check(weir_pool_run(pool, 1, add_one, &res, WEIR_NEVER, NULL) == -EINVAL);
	check(weir_pool_for(pool, 1, 1, 1, NULL, NULL) == -EINVAL);
	/* What waits for the pool on one of its own threads would wait for itself. */
	check(weir_pool_run(pool, 0, run_outside, NULL, WEIR_NEVER, &res) == 0 && res == -EDEADLK);
	check(weir_pool_run(pool, 0, destroy_inside, NULL, WEIR_NEVER, &res) == 0 &&
	      res == -EDEADLK);
	check(weir_pool_run(pool, 0, add_one, &res, weir_now(), NULL) == -ETIMEDOUT);
	job.waits = true;
	check(submit(&job, 0) == 0 && submit(&job, 0) == -EBUSY);
	await_at_door(1);
	check(weir_pool_cancel(&job.work) == -EALREADY);
	open_door();
	check(await_ends(1) == 0 && job.res == 0);
	check(weir_pool_cancel(&job.work) == -ENOENT);
	return 0;
}

static void wrong_calls_are_told_so(void **state)
{
	int n = 1;

	(void)state;
	reset();
	assert_int_equal(with_pool(NULL, wrong_scenario), 0);
	assert_int_equal(weir_pool_create(NULL, &pool), 0);
	assert_int_equal(weir_pool_run(pool, 0, add_one, &n, WEIR_NEVER, NULL), -EDEADLK);
	assert_int_equal(weir_pool_destroy(pool), 0);
}

/* --- bounds --- */

static int full_reject(void)
{
	struct weir_pool_class_info info;
	struct weir_work *works[4];

	hold_the_thread(&jobs[0]);
	for (int i = 1; i < 8; i++)
		job_init(&jobs[i], i);
	for (int i = 0; i < 4; i++)
		works[i] = &jobs[i + 3].work;
	check(submit(&jobs[1], 0) == 0 && submit(&jobs[2], 0) == 0);
	check(weir_pool_submit_many(pool, 0, works, 4, WEIR_NEVER) == 1);
	check(weir_pool_submit_many(pool, 0, works + 1, 3, WEIR_NEVER) == -EAGAIN);
	check(submit(&jobs[7], 0) == -EAGAIN);
	weir_pool_class_info(pool, 0, &info);
	check(info.queued == 3 && info.depth_max == 3 && info.refused == 3 && info.running == 1);
	open_door();
	check(await_ends(4) == 0);
	for (int i = 0; i < 4; i++)
		check(jobs[i].ended == 1 && jobs[i].res == i);
	for (int i = 4; i < 8; i++)
		check(jobs[i].ended == 0);
	return 0;
}

static void work_above_the_bound_is_refused_and_stays_the_callers(void **state)
{
	(void)state;
	reset();
	one_class[0] = (struct weir_pool_class){ .depth_max = 3, .full = WEIR_POOL_REJECT };
	assert_int_equal(with_pool(&one_thread, full_reject), 0);
}

static int full_drop(void)
{
	bool old = one_class[0].full == WEIR_POOL_DROP_OLD;
	struct weir_pool_class_info info;

	hold_the_thread(&jobs[0]);
	for (int i = 1; i <= 3; i++) {
		job_init(&jobs[i], i);
		check(submit(&jobs[i], 0) == 0);
	}
	check(jobs[old ? 1 : 3].ended == 0);	/* not before this worker's next turn */
	check(await_ends(1) == 0);
	check(jobs[old ? 1 : 3].res == -ENOBUFS);
	open_door();
	check(await_ends(4) == 0);
	check(jobs[old ? 3 : 1].res == (old ? 3 : 1) && jobs[2].res == 2);
	weir_pool_class_info(pool, 0, &info);
	check(info.dropped == 1 && info.done == 3);
	return 0;
}

static void the_oldest_or_the_newest_is_dropped_as_the_class_says(void **state)
{
	(void)state;
	reset();
	one_class[0] = (struct weir_pool_class){ .depth_max = 2, .full = WEIR_POOL_DROP_OLD };
	assert_int_equal(with_pool(&one_thread, full_drop), 0);
	reset();
	one_class[0] = (struct weir_pool_class){ .depth_max = 2, .full = WEIR_POOL_DROP_NEW };
	assert_int_equal(with_pool(&one_thread, full_drop), 0);
}

static int full_park(void)
{
	struct weir_pool_class_info info;
	struct weir_coro *coros[8];
	int res;

	hold_the_thread(&jobs[0]);
	job_init(&jobs[1], 1);
	check(submit(&jobs[1], 0) == 0);	/* the bound is reached */
	for (int i = 2; i <= 4; i++) {
		job_init(&jobs[i], i);
		check(spawn(submit_one, i, &coros[i]) == 0);
	}
	check(spawn(run_one, 5, &coros[5]) == 0);
	for (int i = 0; i < 3; i++)
		weir_yield();
	weir_pool_class_info(pool, 0, &info);
	check(info.parked == 4 && info.queued == 1 && results[2] == 1);
	/* One gives up, one is taken back by its coroutine's end: neither is run. */
	weir_coro_cancel(coros[3]);
	check(weir_coro_join(coros[3], WEIR_NEVER, NULL) == 0 && results[3] == -ECANCELED);
	check(jobs[3].ended == 0 && weir_pool_cancel(&jobs[3].work) == -ENOENT);
	open_door();
	for (int i = 2; i <= 4; i += 2)
		check(weir_coro_join(coros[i], WEIR_NEVER, NULL) == 0 && results[i] == 0);
	check(weir_coro_join(coros[5], WEIR_NEVER, &res) == 0 && results[5] == 0 && res == 11);
	check(await_ends(4) == 0);
	check(jobs[2].res == 2 && jobs[4].res == 4 && jobs[2].ran_as < jobs[4].ran_as);
	weir_pool_class_info(pool, 0, &info);
	check(info.parked == 0 && info.queued == 0 && info.refused == 0);
	return 0;
}

static void who_finds_no_room_waits_in_line(void **state)
{
	(void)state;
	reset();
	one_class[0] = (struct weir_pool_class){ .depth_max = 1 };
	assert_int_equal(with_pool(&one_thread, full_park), 0);
}

static int park_many_refuses(void)
{
	struct weir_work *works[2] = { &jobs[2].work, &jobs[3].work };

	hold_the_thread(&jobs[0]);
	for (int i = 1; i < 4; i++)
		job_init(&jobs[i], i);
	check(submit(&jobs[1], 0) == 0);
	check(weir_pool_submit_many(pool, 0, works, 2, WEIR_NEVER) == -EAGAIN);
	/* A deadline ends the wait for room. */
	check(weir_pool_submit(pool, 0, &jobs[2].work, weir_in(WEIR_MS)) == -ETIMEDOUT);
	check(jobs[2].ended == 0);
	open_door();
	return await_ends(2);
}

static void waiting_for_room_has_a_deadline_and_a_batch_never_waits(void **state)
{
	(void)state;
	reset();
	one_class[0] = (struct weir_pool_class){ .depth_max = 1 };
	assert_int_equal(with_pool(&one_thread, park_many_refuses), 0);
}

/* --- who is next --- */

static int quota_scenario(void)
{
	struct weir_pool_class_info info;

	for (int i = 0; i < 8; i++) {
		job_init(&jobs[i], 0);
		jobs[i].waits = true;
		check(submit(&jobs[i], 0) == 0);
	}
	await_at_door(2);
	/* Two hold their quota; the third thread is there for the others. */
	job_init(&jobs[8], 0);
	check(submit(&jobs[8], 1) == 0);
	check(await_ends(1) == 0 && jobs[8].ended == 1);
	weir_pool_class_info(pool, 0, &info);
	check(info.running == 2 && info.queued == 6);
	open_door();
	check(await_ends(9) == 0);
	return inside_max == 2 ? 0 : -__LINE__;
}

static void a_class_never_holds_more_threads_than_its_quota(void **state)
{
	struct weir_pool_class classes[2] = { { .name = "slow", .threads_max = 2 },
					      { .name = "quick" } };
	struct weir_pool_opts opts = { .threads_max = 3, .classes = classes, .class_count = 2 };

	(void)state;
	reset();
	assert_int_equal(with_pool(&opts, quota_scenario), 0);
}

static int priority_scenario(void)
{
	static const unsigned class_of[] = { 0, 0, 1, 2, 1, 2 };
	static const unsigned expected[] = { 0, 6, 2, 3, 4, 5 };	/* after the first */

	hold_the_thread(&jobs[0]);
	for (unsigned i = 1; i < 6; i++) {
		job_init(&jobs[i], 0);
		check(submit(&jobs[i], class_of[i]) == 0);
	}
	open_door();
	check(await_ends(6) == 0);
	for (unsigned i = 1; i < 6; i++)
		check(jobs[i].ran_as == expected[i]);
	return 0;
}

static void higher_classes_run_first_and_equals_in_order_of_submission(void **state)
{
	struct weir_pool_class classes[3] = { { .name = "low", .priority = -1 },
					      { .name = "a" },
					      { .name = "b" } };
	struct weir_pool_opts opts = { .threads_max = 1, .classes = classes, .class_count = 3 };

	(void)state;
	reset();
	assert_int_equal(with_pool(&opts, priority_scenario), 0);
}

static int strand_scenario(void)
{
	struct weir_strand strand;

	check(weir_strand_init(&strand, pool, 0) == 0);
	for (int i = 0; i < 40; i++) {
		job_init(&jobs[i], i);
		jobs[i].waits = true;
		check(weir_strand_submit(&strand, &jobs[i].work, WEIR_NEVER) == 0);
	}
	check(weir_strand_fini(&strand) == -EBUSY);
	await_at_door(1);
	/* One in the middle is taken back, and one has expired when its turn comes. */
	check(weir_pool_cancel(&jobs[20].work) == 0);
	job_init(&jobs[40], 0);
	check(weir_strand_submit(&strand, &jobs[40].work, weir_now()) == 0);
	job_init(&jobs[41], 0);
	check(weir_strand_submit(&strand, &jobs[41].work, WEIR_NEVER) == 0);
	open_door();
	check(await_ends(42) == 0);
	check(inside_max == 1);
	for (int i = 1; i < 40; i++)
		check(i == 20 || jobs[i].ran_as == (unsigned)(i < 20 ? i + 1 : i));
	check(jobs[20].res == -ECANCELED && jobs[40].res == -ETIMEDOUT && jobs[41].res == 0);
	return weir_strand_fini(&strand);
}

static void a_strand_runs_one_after_the_other_in_order(void **state)
{
	struct weir_pool_opts opts = { .threads_max = 4 };

	(void)state;
	reset();
	assert_int_equal(with_pool(&opts, strand_scenario), 0);
}

/* --- not run --- */

static int cancel_scenario(void)
{
	struct weir_pool_class_info info;
	struct weir_coro *coro;

	hold_the_thread(&jobs[0]);
	job_init(&jobs[1], 1);
	check(submit(&jobs[1], 0) == 0);
	check(weir_pool_cancel(&jobs[1].work) == 0);
	check(weir_pool_cancel(&jobs[1].work) == -EALREADY);
	check(await_ends(1) == 0 && jobs[1].res == -ECANCELED && jobs[1].ran_as == 0);
	job_init(&jobs[2], 2);
	check(weir_pool_submit(pool, 0, &jobs[2].work, weir_now()) == 0);
	check(spawn(run_one, 3, &coro) == 0);
	weir_yield();
	weir_coro_cancel(coro);
	check(weir_coro_join(coro, WEIR_NEVER, NULL) == 0 && results[3] == -ECANCELED);
	open_door();
	check(await_ends(3) == 0 && jobs[2].res == -ETIMEDOUT && jobs[2].ran_as == 0);
	weir_pool_class_info(pool, 0, &info);
	check(info.cancelled == 2 && info.expired == 1 && info.done == 1);
	return 0;
}

static void what_was_cancelled_or_expired_in_the_queue_is_not_run(void **state)
{
	(void)state;
	reset();
	one_class[0] = (struct weir_pool_class){ 0 };
	assert_int_equal(with_pool(&one_thread, cancel_scenario), 0);
}

static bool saw_cancel;

static int until_cancelled(struct weir_work *work)
{
	pass_door();
	while (!weir_work_is_cancelled(work))
		sched_yield();
	saw_cancel = true;
	return -ECANCELED;
}

static int told_scenario(void)
{
	job_init(&jobs[0], 0);
	weir_work_init(&jobs[0].work, until_cancelled, job_done);
	open_door();
	check(submit(&jobs[0], 0) == 0);
	await_at_door(1);
	check(weir_pool_cancel(&jobs[0].work) == -EALREADY);
	return await_ends(1);
}

static void work_that_runs_is_told_that_it_was_cancelled(void **state)
{
	(void)state;
	reset();
	saw_cancel = false;
	assert_int_equal(with_pool(NULL, told_scenario), 0);
	assert_true(saw_cancel);
}

static int at_the_door(void *arg)
{
	*(bool *)arg = true;
	pass_door();
	*(bool *)arg = false;
	return 3;
}

static int run_at_door(void *arg)
{
	bool inside_fn = false;
	int res = 0;
	int r = weir_pool_run(pool, 0, at_the_door, &inside_fn, weir_in(50 * WEIR_MS), &res);

	(void)arg;
	return r || inside_fn ? -1 : res;
}

static int borrowed_scenario(void)
{
	struct weir_coro *coro;
	int res = 0;

	check(weir_coro_spawn(NULL, run_at_door, NULL, &coro) == 0);
	weir_yield();
	await_at_door(1);
	weir_coro_cancel(coro);
	for (int i = 0; i < 100; i++)
		weir_yield();
	open_door();
	check(weir_coro_join(coro, WEIR_NEVER, &res) == 0);
	return res == 3 ? 0 : -__LINE__;
}

static void who_waits_for_work_that_runs_stays_until_it_has_ended(void **state)
{
	(void)state;
	reset();
	assert_int_equal(with_pool(NULL, borrowed_scenario), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_come_back_to_the_worker_that_asked),
		cmocka_unit_test(a_worker_stays_until_its_work_has_come_back),
		cmocka_unit_test(a_thread_that_is_no_worker_submits_and_is_told_on_the_pools),
		cmocka_unit_test(wrong_calls_are_told_so),
		cmocka_unit_test(work_above_the_bound_is_refused_and_stays_the_callers),
		cmocka_unit_test(the_oldest_or_the_newest_is_dropped_as_the_class_says),
		cmocka_unit_test(who_finds_no_room_waits_in_line),
		cmocka_unit_test(waiting_for_room_has_a_deadline_and_a_batch_never_waits),
		cmocka_unit_test(a_class_never_holds_more_threads_than_its_quota),
		cmocka_unit_test(higher_classes_run_first_and_equals_in_order_of_submission),
		cmocka_unit_test(a_strand_runs_one_after_the_other_in_order),
		cmocka_unit_test(what_was_cancelled_or_expired_in_the_queue_is_not_run),
		cmocka_unit_test(work_that_runs_is_told_that_it_was_cancelled),
		cmocka_unit_test(who_waits_for_work_that_runs_stays_until_it_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
