/* SPDX-License-Identifier: MIT */
/*
 * test_coro.c - the life of coroutines, on a worker without a kernel and virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/waiting.h"
#include "core/worker.h"
#include "tests/support/fake_driver.h"

static struct fake_driver fake;
static struct weir_worker worker;
static char trace[128];

static int setup_with(const struct weir_coros_opts *coros)
{
	const struct weir_worker_opts opts = { .coros = *coros };

	trace[0] = '\0';
	fake_driver_init(&fake);
	return weir__worker_init(&worker, &fake.driver, &opts);
}

static int setup(void **state)
{
	const struct weir_coros_opts coros = { .coros_max = 64 };

	return setup_with(&coros);
}

static int teardown(void **state)
{
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
	return 0;
}

static void note(const char *what)
{
	strcat(trace, what);
}

static struct weir_coro *spawn(weir_coro_fn fn, void *arg)
{
	struct weir_coro *coro = NULL;

	assert_int_equal(weir_coro_spawn(NULL, fn, arg, &coro), 0);
	assert_non_null(coro);
	return coro;
}

static struct weir_coro *spawn_until(weir_coro_fn fn, void *arg, int64_t deadline_ns)
{
	const struct weir_coro_opts opts = { .deadline_ns = deadline_ns };
	struct weir_coro *coro = NULL;

	assert_int_equal(weir_coro_spawn(&opts, fn, arg, &coro), 0);
	return coro;
}

static void go(weir_coro_fn fn, void *arg)
{
	const struct weir_coro_opts opts = { .detached = true };

	assert_int_equal(weir_coro_spawn(&opts, fn, arg, NULL), 0);
}

static void run(void)
{
	assert_int_equal(weir__worker_loop(&worker), 0);
}

static int join(struct weir_coro *coro)
{
	int res = -1000;

	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	return res;
}

static int noted(void *arg)
{
	note(arg);
	return (int)strlen(arg);
}

static int sleeper(void *arg)
{
	return weir_sleep(*(int64_t *)arg);
}

static int64_t one_ms = WEIR_MS;
static int64_t one_hour = 3600 * WEIR_S;
static int64_t for_ever = WEIR_NEVER;

/* --- spawn and join --- */

static void coroutines_start_in_the_order_in_which_they_were_spawned(void **state)
{
	go(noted, "a");
	go(noted, "b");
	go(noted, "c");
	assert_string_equal(trace, "");
	run();
	assert_string_equal(trace, "abc");
	assert_int_equal(worker.coros.count, 0);
}

static void join_gives_what_the_function_returned(void **state)
{
	struct weir_coro *coro = spawn(noted, "four");

	run();
	assert_int_equal(join(coro), 4);
}

static int parent(void *arg)
{
	struct weir_coro *left = spawn(sleeper, &one_hour);
	struct weir_coro *right = spawn(noted, "x");

	assert_int_equal(join(left), 0);
	return join(right);
}

static void join_waits_for_the_end(void **state)
{
	struct weir_coro *coro = spawn(parent, NULL);
	int64_t start_ns = fake.now_ns;

	run();
	assert_int_equal(join(coro), 1);
	assert_true(fake.now_ns >= start_ns + one_hour);
}

static int impatient(void *arg)
{
	struct weir_coro *coro = spawn(sleeper, &one_hour);

	assert_int_equal(weir_coro_join(coro, weir_in(WEIR_MS), NULL), -ETIMEDOUT);
	assert_int_equal(weir_coro_join(coro, weir_in(WEIR_MS), NULL), -ETIMEDOUT);
	return join(coro);
}

static void a_join_that_timed_out_can_be_repeated(void **state)
{
	struct weir_coro *coro = spawn(impatient, NULL);

	run();
	assert_int_equal(join(coro), 0);
	assert_int_equal(worker.coros.count, 0);
}

static int joins_itself(void *arg)
{
	return weir_coro_join(weir_coro_self(), WEIR_NEVER, NULL);
}

static void joining_oneself_is_refused(void **state)
{
	struct weir_coro *coro = spawn(joins_itself, NULL);

	run();
	assert_int_equal(join(coro), -EDEADLK);
}

static int cancelled_joiner(void *arg)
{
	struct weir_coro **child = arg;

	*child = spawn(sleeper, &one_hour);
	return weir_coro_join(*child, WEIR_NEVER, NULL);
}

static int joins_later(void *arg)
{
	struct weir_coro *child = NULL;
	struct weir_coro *coro = spawn(cancelled_joiner, &child);

	weir_yield();
	weir_yield();
	weir_coro_cancel(coro);
	assert_int_equal(join(coro), -ECANCELED);
	return join(child);
}

static void a_cancelled_join_leaves_the_coroutine_to_be_joined(void **state)
{
	struct weir_coro *coro = spawn(joins_later, NULL);

	run();
	assert_int_equal(join(coro), 0);
	assert_int_equal(worker.coros.count, 0);
}

static void waiting_outside_a_coroutine_is_refused(void **state)
{
	struct weir_coro *coro = spawn(noted, "x");

	assert_int_equal(weir_yield(), -EDEADLK);
	assert_int_equal(weir_sleep(WEIR_MS), -EDEADLK);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, NULL), -EDEADLK);
	assert_null(weir_coro_self());
	assert_false(weir_coro_is_cancelled());
	assert_true(weir_coro_deadline() == WEIR_NEVER);
	run();
	assert_int_equal(join(coro), 1);
}

static void a_detached_coroutine_is_gone_when_it_ends(void **state)
{
	weir_coro_detach(spawn(noted, "x"));
	assert_int_equal(worker.coros.count, 1);
	run();
	assert_string_equal(trace, "x");
	assert_int_equal(worker.coros.count, 0);
}

static void detaching_what_has_ended_frees_it(void **state)
{
	struct weir_coro *coro = spawn(noted, "x");

	run();
	assert_int_equal(worker.coros.count, 1);
	weir_coro_detach(coro);
	assert_int_equal(worker.coros.count, 0);
}

/* Photon#1044: at 3,000 coroutines spawn returned NULL, silently. */
static void the_bound_is_a_clear_error_and_the_function_is_not_called(void **state)
{
	const struct weir_coro_opts detached = { .detached = true };
	struct weir_coro *refused = NULL;
	int i;

	for (i = 0; i < 64; i++)
		go(noted, "");
	assert_int_equal(weir_coro_spawn(NULL, noted, "never", &refused), -ENOBUFS);
	assert_null(refused);
	assert_int_equal(weir__metric_get(&worker.metrics, WEIR__M_COROS_REFUSED), 1);
	assert_int_equal(weir__metric_get(&worker.metrics, WEIR__M_COROS_HIGH), 64);
	run();
	assert_string_equal(trace, "");
	assert_int_equal(weir__metric_get(&worker.metrics, WEIR__M_COROS), 0);
	worker.stopping = false;
	assert_int_equal(weir_coro_spawn(&detached, noted, "again", NULL), 0);
	while (worker.live)
		weir__worker_turn(&worker, 0);
	assert_string_equal(trace, "again");
}

static void spawning_when_the_work_has_ended_is_refused(void **state)
{
	struct weir_coro *coro = NULL;

	go(noted, "x");
	run();
	assert_int_equal(weir_coro_spawn(NULL, noted, "y", &coro), -ESHUTDOWN);
	assert_null(coro);
}

/* --- yield and sleep --- */

static int twice(void *arg)
{
	note(arg);
	assert_int_equal(weir_yield(), 0);
	note(arg);
	return 0;
}

static void yield_lets_everything_that_is_ready_run_first(void **state)
{
	go(twice, "a");
	go(twice, "b");
	go(twice, "c");
	run();
	assert_string_equal(trace, "abcabc");
}

static int spins(void *arg)
{
	bool *flag = arg;

	while (!*flag)
		weir_yield();
	return 0;
}

static int reap_flag(struct fake_driver *driver)
{
	bool *flag = driver->arg;

	*flag = true;
	return 1;
}

static void yielding_in_a_loop_does_not_keep_the_driver_from_its_turn(void **state)
{
	bool flag = false;

	fake.reap = reap_flag;
	fake.arg = &flag;
	go(spins, &flag);
	go(spins, &flag);
	run();
	assert_int_equal(worker.coros.count, 0);
	fake.reap = NULL;
}

static int sleeps(void *arg)
{
	int64_t start_ns = weir_clock();

	assert_int_equal(weir_sleep(10 * WEIR_S), 0);
	assert_true(weir_clock() >= start_ns + 10 * WEIR_S);
	assert_true(weir_clock() < start_ns + 10 * WEIR_S + WEIR_MS);
	assert_int_equal(weir_sleep(0), 0);
	assert_int_equal(weir_sleep(-1), 0);
	return 0;
}

static void sleep_takes_its_time_and_no_turns(void **state)
{
	struct weir_coro *coro = spawn(sleeps, NULL);

	run();
	assert_int_equal(join(coro), 0);
	assert_true(fake.turns < 10);
}

/* --- cancelling --- */

static int needs_yield(void *arg)
{
	note("ran");
	return weir_yield();
}

static void cancelled_before_it_started_it_runs_and_its_first_wait_says_so(void **state)
{
	struct weir_coro *coro = spawn(needs_yield, NULL);

	weir_coro_cancel(coro);
	run();
	assert_string_equal(trace, "ran");
	assert_int_equal(join(coro), -ECANCELED);
}

static int waits_again(void *arg)
{
	assert_int_equal(weir_sleep(WEIR_NEVER), -ECANCELED);
	assert_true(weir_coro_is_cancelled());
	assert_int_equal(weir_sleep(WEIR_MS), -ECANCELED);
	assert_int_equal(weir_yield(), -ECANCELED);
	return 7;
}

static int canceller(void *arg)
{
	weir_coro_cancel(arg);
	weir_coro_cancel(arg);
	return 0;
}

static void cancelled_while_waiting_every_later_wait_says_so_too(void **state)
{
	struct weir_coro *coro = spawn(waits_again, NULL);

	go(canceller, coro);
	run();
	assert_int_equal(join(coro), 7);
}

static void cancelling_what_has_ended_does_nothing(void **state)
{
	struct weir_coro *coro = spawn(noted, "x");

	run();
	weir_coro_cancel(coro);
	assert_int_equal(join(coro), 1);
}

static int cancels_itself(void *arg)
{
	weir_coro_cancel(weir_coro_self());
	return weir_sleep(WEIR_S);
}

static void a_coroutine_may_cancel_itself(void **state)
{
	struct weir_coro *coro = spawn(cancels_itself, NULL);

	run();
	assert_int_equal(join(coro), -ECANCELED);
}

static void cancel_all_reaches_every_coroutine_whatever_it_does(void **state)
{
	struct weir_coro *waiting = spawn(sleeper, &for_ever);
	struct weir_coro *ended = spawn(noted, "x");
	struct weir_coro *ready;

	weir__worker_turn(&worker, 0);
	ready = spawn(needs_yield, NULL);
	weir__coros_cancel_all(&worker.coros);
	run();
	assert_int_equal(join(waiting), -ECANCELED);
	assert_int_equal(join(ended), 1);
	assert_int_equal(join(ready), -ECANCELED);
}

/* --- shields and deadlines --- */

static int shielded(void *arg)
{
	weir_coro_shield();
	weir_coro_shield();
	assert_int_equal(weir_sleep(WEIR_S), 0);
	weir_coro_unshield();
	assert_int_equal(weir_sleep(WEIR_S), 0);
	weir_coro_unshield();
	return weir_sleep(WEIR_S);
}

static void a_shield_holds_off_cancelling_until_it_is_lowered(void **state)
{
	struct weir_coro *coro = spawn(shielded, NULL);

	go(canceller, coro);
	run();
	assert_int_equal(join(coro), -ECANCELED);
	assert_true(fake.now_ns >= 3 * WEIR_S);
}

static void a_shield_holds_off_the_coroutines_own_deadline(void **state)
{
	struct weir_coro *coro = spawn_until(shielded, NULL, weir_in(WEIR_MS));

	run();
	assert_int_equal(join(coro), -ETIMEDOUT);
	assert_true(fake.now_ns >= 3 * WEIR_S);
}

static void a_deadline_ends_the_wait_it_falls_into(void **state)
{
	struct weir_coro *coro = spawn_until(sleeper, &one_hour, weir_in(WEIR_S));

	run();
	assert_int_equal(join(coro), -ETIMEDOUT);
	assert_true(fake.now_ns < 2 * WEIR_S + WEIR_MS);
}

static void a_sleep_that_ends_before_the_deadline_is_not_disturbed(void **state)
{
	struct weir_coro *coro = spawn_until(sleeper, &one_ms, weir_in(WEIR_S));

	run();
	assert_int_equal(join(coro), 0);
}

static void a_deadline_that_has_passed_ends_every_wait(void **state)
{
	struct weir_coro *coro = spawn_until(needs_yield, NULL, 1);

	run();
	assert_int_equal(join(coro), -ETIMEDOUT);
}

static int heir(void *arg)
{
	int64_t *deadline_ns = arg;

	*deadline_ns = weir_coro_deadline();
	return weir_sleep(WEIR_NEVER);
}

static int bequeaths(void *arg)
{
	struct weir_coro *coro;

	coro = spawn(heir, arg);
	weir_coro_shield();
	return join(coro);
}

static void a_deadline_is_inherited(void **state)
{
	int64_t inherited_ns = 0;
	int64_t deadline_ns = weir_in(WEIR_S);
	struct weir_coro *coro = spawn_until(bequeaths, &inherited_ns, deadline_ns);

	run();
	assert_true(inherited_ns == deadline_ns);
	assert_int_equal(join(coro), -ETIMEDOUT);
}

static int changes_its_deadline(void *arg)
{
	int64_t soon_ns = weir_in(WEIR_MS);

	assert_true(weir_coro_set_deadline(soon_ns) == WEIR_NEVER);
	assert_int_equal(weir_sleep(WEIR_S), -ETIMEDOUT);
	assert_true(weir_coro_set_deadline(WEIR_NEVER) == soon_ns);
	return weir_sleep(WEIR_S);
}

static void a_coroutine_sets_and_restores_its_deadline(void **state)
{
	struct weir_coro *coro = spawn(changes_its_deadline, NULL);

	run();
	assert_int_equal(join(coro), 0);
}

/* --- local data --- */

static void drop(void *value)
{
	note(value);
}

static int keeps_locals(void *arg)
{
	assert_null(weir_coro_local_get(0));
	assert_int_equal(weir_coro_local_set(0, "one", drop), 0);
	assert_int_equal(weir_coro_local_set(1, "two", NULL), 0);
	assert_int_equal(weir_coro_local_set(2, "three", drop), 0);
	assert_int_equal(weir_coro_local_set(2, NULL, drop), 0);
	assert_int_equal(weir_coro_local_set(3, arg, drop), 0);
	weir_yield();
	assert_string_equal(weir_coro_local_get(0), "one");
	assert_string_equal(weir_coro_local_get(1), "two");
	assert_null(weir_coro_local_get(2));
	assert_string_equal(weir_coro_local_get(3), arg);
	assert_int_equal(weir_coro_local_set(WEIR_CORO_LOCALS, "x", drop), -EINVAL);
	assert_null(weir_coro_local_get(WEIR_CORO_LOCALS));
	return 0;
}

static void locals_follow_their_coroutine_and_are_dropped_at_its_end(void **state)
{
	assert_int_equal(weir_coro_local_set(0, "x", drop), -EDEADLK);
	assert_null(weir_coro_local_get(0));
	go(keeps_locals, "A");
	go(keeps_locals, "B");
	run();
	assert_string_equal(trace, "oneAoneB");
}

static void *revived;

static void revive(void *value)
{
	note("d");
	weir_coro_local_set(0, revived, revive);
}

static int keeps_a_phoenix(void *arg)
{
	revived = "x";
	return weir_coro_local_set(0, revived, revive);
}

static void a_drop_that_sets_its_local_again_does_not_keep_the_coroutine(void **state)
{
	go(keeps_a_phoenix, NULL);
	run();
	assert_string_equal(trace, "dddd");
}

/* --- what a switch keeps --- */

static int computes(void *arg)
{
	volatile double seed = *(int *)arg;
	double a = seed + 0.25, b = seed * 3, c = seed / 7;
	long double d = seed + 0.125L;
	long k = (long)seed, l = k * 3, m = k * 5, n = k * 7, o = k * 11;

	for (int i = 0; i < 100; i++) {
		weir_yield();
		assert_true(a == seed + 0.25 && b == seed * 3 && c == seed / 7);
		assert_true(d == seed + 0.125L);
		assert_true(l == k * 3 && m == k * 5 && n == k * 7 && o == k * 11);
	}
	return 0;
}

static void numbers_in_registers_survive_switches(void **state)
{
	static int seeds[] = { 1, 2, 3, 5, 8, 13 };

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		go(computes, &seeds[i]);
	run();
}

static int reaches_down(void *arg)
{
	char deep[8192];

	memset(deep, (int)(intptr_t)arg, sizeof(deep));
	weir_yield();
	for (size_t i = 0; i < sizeof(deep); i++)
		assert_int_equal(deep[i], (char)(intptr_t)arg);
	return 0;
}

static void stacks_do_not_overlap(void **state)
{
	for (intptr_t i = 1; i <= 64; i++)
		go(reaches_down, (void *)i);
	run();
}

/* --- names and listing --- */

struct seen {
	unsigned count;
	struct weir_coro_info infos[8];
};

static int visit(const struct weir_coro_info *info, void *arg)
{
	struct seen *seen = arg;

	seen->infos[seen->count++] = *info;
	return seen->count == 5 ? 42 : 0;
}

static int lists(void *arg)
{
	weir_coro_set_name(weir_coro_self(), "lister");
	assert_string_equal(weir__coros_current_name(), "lister");
	return weir_coro_list(visit, arg);
}

static void a_listing_shows_names_and_what_each_waits_in(void **state)
{
	const struct weir_coro_opts opts = { .name = "waits", .deadline_ns = weir_in(WEIR_S) };
	struct seen seen = { .count = 0 };
	struct weir_coro *waits, *lister, *cancelled;

	assert_null(weir__coros_current_name());
	assert_int_equal(weir_coro_spawn(&opts, sleeper, &one_hour, &waits), 0);
	lister = spawn(lists, &seen);
	cancelled = spawn(noted, "x");
	weir_coro_cancel(cancelled);
	assert_string_equal(weir_coro_name(cancelled), "coroutine");
	weir__worker_turn(&worker, 0);
	assert_int_equal(seen.count, 3);
	assert_string_equal(seen.infos[0].name, "waits");
	assert_string_equal(seen.infos[0].state, "sleep");
	assert_true(seen.infos[0].deadline_ns == opts.deadline_ns);
	assert_int_equal(seen.infos[0].since_ns, WEIR_S);
	assert_in_range(seen.infos[0].stack_used, sizeof(struct weir_coro), 16384);
	assert_string_equal(seen.infos[1].name, "lister");
	assert_string_equal(seen.infos[1].state, "running");
	assert_string_equal(seen.infos[2].state, "ready");
	assert_true(seen.infos[2].cancelled);
	seen.count = 0;
	assert_int_equal(weir_coro_list(visit, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_string_equal(seen.infos[1].state, "ended");
	seen.count = 4;
	assert_int_equal(weir_coro_list(visit, &seen), 42);
	run();
	assert_int_equal(join(waits), -ETIMEDOUT);
	assert_int_equal(join(lister), 0);
	assert_int_equal(join(cancelled), 1);
}

/* ThreadSanitizer and backtraces count calls: a stack that is reused must not add to them. */
static int spawner(void *arg)
{
	for (int i = 0; i < 100000; i++) {
		go(noted, "");
		weir_yield();
	}
	return 0;
}

static void a_stack_can_be_reused_for_ever(void **state)
{
	go(spawner, NULL);
	run();
	assert_int_equal(worker.coros.spawned, 100001);
	assert_int_equal(worker.coros.stacks.carved, 2);
}

#define life(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		life(coroutines_start_in_the_order_in_which_they_were_spawned),
		life(join_gives_what_the_function_returned),
		life(join_waits_for_the_end),
		life(a_join_that_timed_out_can_be_repeated),
		life(joining_oneself_is_refused),
		life(a_cancelled_join_leaves_the_coroutine_to_be_joined),
		life(waiting_outside_a_coroutine_is_refused),
		life(a_detached_coroutine_is_gone_when_it_ends),
		life(detaching_what_has_ended_frees_it),
		life(the_bound_is_a_clear_error_and_the_function_is_not_called),
		life(spawning_when_the_work_has_ended_is_refused),
		life(yield_lets_everything_that_is_ready_run_first),
		life(yielding_in_a_loop_does_not_keep_the_driver_from_its_turn),
		life(sleep_takes_its_time_and_no_turns),
		life(cancelled_before_it_started_it_runs_and_its_first_wait_says_so),
		life(cancelled_while_waiting_every_later_wait_says_so_too),
		life(cancelling_what_has_ended_does_nothing),
		life(a_coroutine_may_cancel_itself),
		life(cancel_all_reaches_every_coroutine_whatever_it_does),
		life(a_shield_holds_off_cancelling_until_it_is_lowered),
		life(a_shield_holds_off_the_coroutines_own_deadline),
		life(a_deadline_ends_the_wait_it_falls_into),
		life(a_sleep_that_ends_before_the_deadline_is_not_disturbed),
		life(a_deadline_that_has_passed_ends_every_wait),
		life(a_deadline_is_inherited),
		life(a_coroutine_sets_and_restores_its_deadline),
		life(locals_follow_their_coroutine_and_are_dropped_at_its_end),
		life(a_drop_that_sets_its_local_again_does_not_keep_the_coroutine),
		life(numbers_in_registers_survive_switches),
		life(stacks_do_not_overlap),
		life(a_listing_shows_names_and_what_each_waits_in),
		life(a_stack_can_be_reused_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
