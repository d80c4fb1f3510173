/* SPDX-License-Identifier: MIT */
/*
 * test_pool_threads.c - the threads of a pool come and go, and die; ranges in pieces; the end of a
 * pool; what it tells about itself; many at once.
 */
#include "core/pool.h"
#include "tests/core/pool_play.h"

/* --- threads --- */

static int death_scenario(void)
{
	struct weir_pool_info info;
	struct weir_strand strand;

	check(weir_strand_init(&strand, pool, 0) == 0);
	for (int i = 0; i < 20; i++) {
		job_init(&jobs[i], i);
		jobs[i].dies = i % 2;
		check(weir_strand_submit(&strand, &jobs[i].work, WEIR_NEVER) == 0);
	}
	check(await_ends(20) == 0);
	for (int i = 0; i < 20; i++)
		check(jobs[i].ended == 1 && jobs[i].res == (i % 2 ? -EOWNERDEAD : i));
	weir_pool_info(pool, &info);
	check(info.died == 10 && info.started >= 10);
	return 0;
}

static int die_at_once(void *arg)
{
	(void)arg;
	pthread_exit(NULL);
}

static int for_dies(size_t first, size_t end, void *arg)
{
	(void)end;
	(void)arg;
	if (first == 3)
		pthread_exit(NULL);
	return 0;
}

static int awaiter_scenario(void)
{
	int res = 0, n = 1;

	check(weir_pool_run(pool, 0, die_at_once, NULL, WEIR_NEVER, &res) == -EOWNERDEAD);
	check(weir_pool_run(pool, 0, add_one, &n, WEIR_NEVER, &res) == 0 && res == 2);
	check(weir_pool_for(pool, 0, 8, 1, for_dies, NULL) == -EOWNERDEAD);
	return 0;
}

static void a_thread_that_dies_is_an_error_to_who_waits_and_is_replaced(void **state)
{
	struct weir_pool_opts opts = { .threads_max = 1 };

	(void)state;
	reset();
	assert_int_equal(with_pool(&opts, death_scenario), 0);
	assert_int_equal(with_pool(&opts, awaiter_scenario), 0);
}

static int elastic_scenario(void)
{
	struct weir_pool_info info;

	for (int i = 0; i < 5; i++) {
		job_init(&jobs[i], 0);
		jobs[i].waits = true;
		check(submit(&jobs[i], 0) == 0);
	}
	await_at_door(4);
	weir_pool_info(pool, &info);
	check(info.threads == 4 && info.threads_max == 4 && info.idle == 0);
	open_door();
	check(await_ends(5) == 0);
	do {
		check(weir_yield() == 0);
		weir_pool_info(pool, &info);
	} while (info.threads > 2);
	check(info.started == 4);
	return 0;
}

static unsigned began, finished_threads;

static void on_start(void *arg)
{
	__atomic_add_fetch((unsigned *)arg, 1, __ATOMIC_SEQ_CST);
}

static void on_end(void *arg)
{
	(void)arg;
	__atomic_add_fetch(&finished_threads, 1, __ATOMIC_SEQ_CST);
}

static void threads_come_with_work_and_leave_when_idle(void **state)
{
	struct weir_pool_opts opts = { .threads_min = 2, .threads_max = 4, .idle_ns = WEIR_MS,
				       .thread_start = on_start, .thread_end = on_end,
				       .arg = &began };

	(void)state;
	reset();
	began = finished_threads = 0;
	assert_int_equal(with_pool(&opts, elastic_scenario), 0);
	assert_int_equal(began, 4);
	assert_int_equal(finished_threads, 4);
}

static int lifo_scenario(void)
{
	pthread_t last = pthread_self();

	/* All four rest; then one at a time: it is always the one that rested last. */
	for (int i = 0; i < 4; i++) {
		job_init(&jobs[i], 0);
		jobs[i].waits = true;
		check(submit(&jobs[i], 0) == 0);
	}
	await_at_door(4);
	open_door();
	check(await_ends(4) == 0);
	for (int i = 4; i < 24; i++) {
		struct weir_pool_info info;

		do
			weir_pool_info(pool, &info);
		while (info.idle < 4);
		job_init(&jobs[i], 0);
		check(submit(&jobs[i], 0) == 0);
		check(await_ends((unsigned)i + 1) == 0);
		if (i > 4)
			check(pthread_equal(jobs[i].thread, last));
		last = jobs[i].thread;
	}
	return 0;
}

static void the_thread_that_rested_last_is_woken_first(void **state)
{
	struct weir_pool_opts opts = { .threads_min = 4, .threads_max = 4 };

	(void)state;
	reset();
	assert_int_equal(with_pool(&opts, lifo_scenario), 0);
}

static int cpu_of_thread(void *arg)
{
	cpu_set_t set;

	(void)arg;
	if (pthread_getaffinity_np(pthread_self(), sizeof(set), &set))
		return -1;
	return CPU_COUNT(&set);
}

static int affinity_scenario(void)
{
	int res = 0;

	check(weir_pool_run(pool, 0, cpu_of_thread, NULL, WEIR_NEVER, &res) == 0);
	return res;
}

static void threads_run_on_the_cpus_that_were_asked_for(void **state)
{
	cpu_set_t set;
	int cpu = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(getpid(), sizeof(set), &set), 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	assert_int_equal(with_pool(&(struct weir_pool_opts){ .cpus = &cpu, .cpu_count = 1 },
				   affinity_scenario),
			 1);
	assert_int_equal(with_pool(NULL, affinity_scenario), CPU_COUNT(&set));
}

/* --- pieces --- */

static unsigned char touched[10007];

static int touch(size_t first, size_t end, void *arg)
{
	(void)arg;
	for (; first < end; first++)
		touched[first]++;
	return 0;
}

static int fail_at(size_t first, size_t end, void *arg)
{
	__atomic_add_fetch(&ran_total, 1, __ATOMIC_SEQ_CST);
	return *(size_t *)arg >= first && *(size_t *)arg < end ? -EIO : 0;
}

static int pieces_at_door(size_t first, size_t end, void *arg)
{
	(void)first;
	(void)end;
	(void)arg;
	__atomic_add_fetch(&ran_total, 1, __ATOMIC_SEQ_CST);
	pass_door();
	return 0;
}

static int for_at_door(void *arg)
{
	(void)arg;
	return weir_pool_for(pool, 0, 1000, 1, pieces_at_door, NULL);
}

static int for_scenario(void)
{
	static const size_t grains[] = { 0, 1, 7, 10006, 10007, SIZE_MAX };
	struct weir_coro *coro;
	size_t bad = 5;
	int res;

	for (size_t g = 0; g < sizeof(grains) / sizeof(grains[0]); g++) {
		memset(touched, 0, sizeof(touched));
		check(weir_pool_for(pool, 0, sizeof(touched), grains[g], touch, NULL) == 0);
		for (size_t i = 0; i < sizeof(touched); i++)
			check(touched[i] == 1);
	}
	check(weir_pool_for(pool, 0, 0, 1, touch, NULL) == 0);
	ran_total = 0;
	check(weir_pool_for(pool, 0, 1000000, 1, fail_at, &bad) == -EIO);
	check(ran_total < 1000000);
	ran_total = 0;
	check(weir_coro_spawn(NULL, for_at_door, NULL, &coro) == 0);
	weir_yield();
	await_at_door(1);
	weir_coro_cancel(coro);
	open_door();
	check(weir_coro_join(coro, WEIR_NEVER, &res) == 0 && res == -ECANCELED);
	check(ran_total < 1000);
	return 0;
}

static void a_range_is_run_once_in_pieces_and_its_first_error_ends_it(void **state)
{
	(void)state;
	reset();
	assert_int_equal(with_pool(NULL, for_scenario), 0);
}

static int for_full_scenario(void)
{
	hold_the_thread(&jobs[0]);
	job_init(&jobs[1], 0);
	check(submit(&jobs[1], 0) == 0);
	check(weir_pool_for(pool, 0, 10, 1, touch, NULL) == -EAGAIN);
	open_door();
	return await_ends(2);
}

static void a_range_that_finds_the_class_full_is_refused(void **state)
{
	(void)state;
	reset();
	one_class[0] = (struct weir_pool_class){ .depth_max = 1, .full = WEIR_POOL_REJECT };
	assert_int_equal(with_pool(&one_thread, for_full_scenario), 0);
}

/* --- the end --- */

/* Not before the end has begun: what waits would be run. */
static void *open_when_it_ends(void *arg)
{
	bool is_closing;

	do {
		sched_yield();
		pthread_mutex_lock(&pool->lock);
		is_closing = pool->closing;
		pthread_mutex_unlock(&pool->lock);
	} while (!is_closing);
	open_door();
	return arg;
}

static int destroy_scenario(void)
{
	struct weir_pool_opts opts = { .threads_max = 1, .classes = one_class, .class_count = 1 };
	struct weir_coro *parked, *runs, *coro;
	pthread_t opener;
	int res;

	check(weir_pool_create(&opts, &pool) == 0);
	hold_the_thread(&jobs[0]);
	job_init(&jobs[1], 1);
	job_init(&jobs[2], 2);
	check(submit(&jobs[1], 0) == 0);
	check(spawn(submit_one, 2, &parked) == 0);
	check(spawn(run_one, 3, &runs) == 0);
	weir_yield();
	check(pthread_create(&opener, NULL, open_when_it_ends, NULL) == 0);
	check(weir_coro_spawn(NULL, destroy_inside, NULL, &coro) == 0);
	check(weir_coro_join(coro, WEIR_NEVER, &res) == 0 && res == 0);
	check(weir_coro_join(parked, WEIR_NEVER, NULL) == 0 && results[2] == -ESHUTDOWN);
	check(weir_coro_join(runs, WEIR_NEVER, NULL) == 0 && results[3] == -ESHUTDOWN);
	check(await_ends(2) == 0);
	check(jobs[0].res == 0 && jobs[1].res == -ESHUTDOWN && jobs[2].ended == 0);
	pthread_join(opener, NULL);
	return 0;
}

static void the_end_of_a_pool_waits_for_what_runs_and_ends_what_waits(void **state)
{
	(void)state;
	reset();
	one_class[0] = (struct weir_pool_class){ .depth_max = 1 };
	assert_int_equal(run_on(1, destroy_scenario), 0);
}

/* --- many at once --- */

#define STORM 2000

static int storm_core(void *arg)
{
	static _Thread_local struct job mine[64];
	struct weir_work *works[64];
	unsigned done = 0;

	(void)arg;
	for (unsigned round = 0; round < STORM / 64; round++) {
		int lent;

		for (int i = 0; i < 64; i++) {
			job_init(&mine[i], i);
			works[i] = &mine[i].work;
		}
		for (unsigned at = 0; at < 64; at += (unsigned)lent) {
			lent = weir_pool_submit_many(pool, round % 2, works + at, 64 - at,
						     WEIR_NEVER);
			if (lent < 0)
				lent = 0;
			weir_yield();
		}
		for (int i = 0; i < 64; i += 3)
			weir_pool_cancel(works[i]);
		for (int i = 0; i < 64; i++) {
			while (!mine[i].ended)
				weir_yield();
			check(mine[i].ended == 1);
			check(mine[i].res == i || (i % 3 == 0 && mine[i].res == -ECANCELED));
			done++;
		}
	}
	return done == STORM / 64 * 64 ? 0 : -__LINE__;
}

static void nothing_is_lost_or_doubled_when_cores_submit_and_cancel_at_once(void **state)
{
	struct weir_pool_class classes[2] = { { .name = "a", .depth_max = 32, .threads_max = 2 },
					      { .name = "b", .depth_max = 16 } };
	struct weir_pool_opts opts = { .threads_max = 3, .idle_ns = 1, .classes = classes,
				       .class_count = 2 };
	struct weir_pool_class_info info[2];

	(void)state;
	reset();
	assert_int_equal(weir_pool_create(&opts, &pool), 0);
	thread_runtime_init(&rt, 3, storm_core, NULL);
	assert_int_equal(thread_runtime_run(&rt), 0);
	for (unsigned i = 0; i < 2; i++) {
		weir_pool_class_info(pool, i, &info[i]);
		assert_int_equal(info[i].queued + info[i].running + info[i].parked, 0);
	}
	assert_int_equal(info[0].done + info[0].cancelled + info[1].done + info[1].cancelled,
			 3 * (STORM / 64 * 64));
	assert_int_equal(weir_pool_destroy(pool), 0);
}

/* --- told --- */

static char text[65536];
static size_t text_size;

static int gather(void *arg, const char *data, size_t size)
{
	(void)arg;
	memcpy(text + text_size, data, size);
	text_size += size;
	text[text_size] = '\0';
	return 0;
}

static void metrics_name_pool_and_class(void **state)
{
	struct weir_pool_class classes[2] = { { .name = "dns" }, { .name = "a\"b\\c" } };
	struct weir_pool_opts opts = { .name = "back", .classes = classes, .class_count = 2 };

	(void)state;
	reset();
	assert_int_equal(weir_pool_create(&opts, &pool), 0);
	assert_int_equal(run_on(1, results_scenario), 0);
	text_size = 0;
	assert_int_equal(weir__metrics_write_prometheus(gather, NULL, NULL, 0), 0);
	assert_non_null(strstr(text, "# TYPE weir_pool_done_total counter\n"));
	assert_non_null(strstr(text, "weir_pool_done_total{pool=\"back\",class=\"dns\"} 3\n"));
	assert_non_null(strstr(text, "weir_pool_failed_total{pool=\"back\",class=\"dns\"} 1\n"));
	assert_non_null(
		strstr(text, "weir_pool_done_total{pool=\"back\",class=\"a\\\"b\\\\c\"} 0\n"));
	assert_non_null(strstr(text, "weir_pool_threads{pool=\"back\"} "));
	assert_non_null(strstr(text, "weir_pool_delay_seconds_bucket{pool=\"back\",class=\"dns\","
				     "le=\"+Inf\"} 4\n"));
	assert_non_null(
		strstr(text, "weir_pool_run_seconds_count{pool=\"back\",class=\"dns\"} 4\n"));
	assert_int_equal(weir_pool_destroy(pool), 0);
	text_size = 0;
	assert_int_equal(weir__metrics_write_prometheus(gather, NULL, NULL, 0), 0);
	assert_null(strstr(text, "pool=\"back\""));
}

/* --- no memory --- */

static size_t allocations_left;

static void *counted_alloc(void *arg, size_t size, size_t align)
{
	(void)arg;
	if (!allocations_left)
		return NULL;
	allocations_left--;
	return aligned_alloc(align, (size + align - 1) / align * align);
}

static void counted_free(void *arg, void *ptr, size_t size)
{
	(void)arg;
	(void)size;
	free(ptr);
}

static void each_allocation_of_a_pool_may_fail(void **state)
{
	const struct weir_allocator allocator = { counted_alloc, counted_free, NULL };
	int cpu = 0;
	struct weir_pool_opts opts = { .cpus = &cpu, .cpu_count = 1 };
	size_t n = 0;
	int r;

	(void)state;
	assert_int_equal(weir_set_allocator(&allocator), 0);
	do {
		allocations_left = n++;
		pool = NULL;
		r = weir_pool_create(&opts, &pool);
		assert_true(r == 0 || (r == -ENOMEM && !pool));
	} while (r < 0);
	assert_true(n > 4);
	assert_int_equal(weir_pool_destroy(pool), 0);
	assert_int_equal(weir_set_allocator(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_that_dies_is_an_error_to_who_waits_and_is_replaced),
		cmocka_unit_test(threads_come_with_work_and_leave_when_idle),
		cmocka_unit_test(the_thread_that_rested_last_is_woken_first),
		cmocka_unit_test(threads_run_on_the_cpus_that_were_asked_for),
		cmocka_unit_test(a_range_is_run_once_in_pieces_and_its_first_error_ends_it),
		cmocka_unit_test(a_range_that_finds_the_class_full_is_refused),
		cmocka_unit_test(the_end_of_a_pool_waits_for_what_runs_and_ends_what_waits),
		cmocka_unit_test(nothing_is_lost_or_doubled_when_cores_submit_and_cancel_at_once),
		cmocka_unit_test(metrics_name_pool_and_class),
		cmocka_unit_test(each_allocation_of_a_pool_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
