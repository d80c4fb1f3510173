/* SPDX-License-Identifier: MIT */
/*
 * test_world.c - the simulated world itself: virtual time, choices and their replay, faults,
 * invariants, processes that die and come back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weir_coro.h"
#include "weir_mesh.h"
#include "weir_run.h"
#include "weir_runtime.h"
#include "weir_sim.h"

static struct weir_sim_report report;

static int run_opts(int (*build)(struct weir_sim *sim, void *arg),
		    const struct weir_sim_opts *opts)
{
	struct weir_sim_scenario scenario = { .name = "test", .build = build };

	free(report.choices);
	return weir_sim_run(&scenario, opts, &report);
}

/* Without faults. */
static int run(int (*build)(struct weir_sim *sim, void *arg))
{
	return run_opts(build, &(struct weir_sim_opts){ .seed = 7, .faults_given = true });
}

static int run_bad(int (*build)(struct weir_sim *sim, void *arg), uint64_t seed, uint64_t faults)
{
	return run_opts(build, &(struct weir_sim_opts){ .seed = seed, .faults = faults,
							.faults_given = true, .every_class = true,
							.record_choices = true });
}

/* --- time --- */

static int sleep_long(void *arg)
{
	int64_t from_ns = weir_now();

	(void)arg;
	for (int i = 0; i < 24; i++)
		weir_sleep(3600 * WEIR_S);
	return weir_now() - from_ns >= 24 * 3600 * WEIR_S ? 0 : -ETIME;
}

static int build_sleepers(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_workload(sim, "one", NULL, sleep_long, NULL);
	weir_sim_workload(sim, "two", NULL, sleep_long, NULL);
	return 0;
}

static void a_day_of_sleep_passes_at_once_and_both_hosts_see_it(void **state)
{
	struct weir_sim_scenario scenario = {
		.name = "sleep", .build = build_sleepers, .heal_ns = 48 * 3600 * WEIR_S
	};

	(void)state;
	assert_int_equal(weir_sim_run(&scenario, NULL, &report), 0);
	assert_true(report.virtual_ns >= 24 * 3600 * WEIR_S);
	assert_true(report.steps < 10000);
}

/* --- cores, choices, hashes --- */

static char order[65];

static int note(void *arg)
{
	size_t used = strlen(order);

	if (used < sizeof(order) - 1)
		order[used] = *(char *)arg;
	return 0;
}

static int racer(void *arg)
{
	char letter = (char)('a' + weir_core());

	(void)arg;
	for (int i = 0; i < 8; i++) {
		int r = weir_call_quick(0, note, &letter, weir_in(WEIR_S), NULL);

		if (r < 0)
			return r;
	}
	return 0;
}

static int four_cores(void *arg)
{
	return weir_run(&(struct weir_opts){ .cores = 4 }, racer, arg);
}

static int rest(void *arg)
{
	(void)arg;
	return weir_sleep(WEIR_S);
}

static int build_race(struct weir_sim *sim, void *arg)
{
	(void)arg;
	memset(order, 0, sizeof(order));
	weir_sim_host(sim, "server", &(struct weir_sim_host_opts){ .cores = 4 }, four_cores, NULL);
	weir_sim_workload(sim, "rest", NULL, rest, NULL);
	return 0;
}

static void the_same_seed_is_the_same_run(void **state)
{
	uint64_t hash;
	char first[sizeof(order)];

	(void)state;
	assert_int_equal(run_bad(build_race, 3, WEIR_SIM_DEFAULT), 0);
	hash = report.hash;
	memcpy(first, order, sizeof(order));
	assert_int_equal(strlen(order), 32);
	assert_int_equal(run_bad(build_race, 3, WEIR_SIM_DEFAULT), 0);
	assert_true(report.hash == hash);
	assert_string_equal(order, first);
}

static void other_seeds_interleave_the_cores_in_other_ways(void **state)
{
	char first[sizeof(order)];
	unsigned others = 0;

	(void)state;
	assert_int_equal(run_bad(build_race, 1, 0), 0);
	memcpy(first, order, sizeof(order));
	for (uint64_t seed = 2; seed < 12; seed++) {
		assert_int_equal(run_bad(build_race, seed, 0), 0);
		others += strcmp(order, first) != 0;
	}
	assert_true(others >= 5);
}

static void the_recorded_choices_alone_make_the_same_run(void **state)
{
	struct weir_sim_opts opts = { .faults = WEIR_SIM_DEFAULT, .faults_given = true,
				      .every_class = true };
	uint64_t hash;
	char *choices;

	(void)state;
	assert_int_equal(run_bad(build_race, 5, WEIR_SIM_DEFAULT), 0);
	hash = report.hash;
	choices = report.choices;
	report.choices = NULL;
	assert_true(strlen(choices) > 0);
	opts.choices = choices;
	opts.seed = 5;
	assert_int_equal(run_opts(build_race, &opts), 0);
	assert_true(report.hash == hash);
	free(choices);
}

static void malformed_choices_and_profiles_are_refused(void **state)
{
	static const char *const wrong[] = { "x", "a@1#2", "a@99#1=1", "@-#1=1", "a@-#1=0" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(run_opts(build_race, &(struct weir_sim_opts){
							      .choices = wrong[i] }),
				 -EINVAL);
	assert_int_equal(run_opts(build_race, &(struct weir_sim_opts){ .profile = "2.4" }),
			 -EINVAL);
}

static void a_run_stops_at_the_choice_that_was_asked_for(void **state)
{
	(void)state;
	assert_int_equal(run_opts(build_race, &(struct weir_sim_opts){ .stop_at = 60 }), -EINTR);
	assert_in_range(report.choices_made, 60, 70);
}

/* --- classes --- */

static void classes_are_parsed_by_name(void **state)
{
	uint64_t mask;

	(void)state;
	assert_int_equal(weir_sim_classes_parse("all", &mask), 0);
	assert_true(mask == WEIR_SIM_ALL);
	assert_int_equal(weir_sim_classes_parse("none", &mask), 0);
	assert_true(mask == 0);
	assert_int_equal(weir_sim_classes_parse("short,reset", &mask), 0);
	assert_true(mask == (WEIR_SIM_SHORT | WEIR_SIM_RESET));
	assert_int_equal(weir_sim_classes_parse("-kill", &mask), 0);
	assert_true(mask == (WEIR_SIM_ALL & ~WEIR_SIM_KILL));
	assert_int_equal(weir_sim_classes_parse("short,", &mask), -EINVAL);
	assert_int_equal(weir_sim_classes_parse("sharks", &mask), -EINVAL);
	assert_string_equal(weir_sim_class_name(0), "order");
	assert_null(weir_sim_class_name(WEIR_SIM_CLASSES));
}

/* --- invariants --- */

static const char *never(void *arg)
{
	return arg;
}

static const char *late(void *arg)
{
	(void)arg;
	return weir_sim_now(weir_sim_world()) < WEIR_S ? "too early" : NULL;
}

static int build_always(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_workload(sim, "rest", NULL, rest, NULL);
	return weir_sim_always(sim, "nothing is wrong", never, (void *)(uintptr_t) "all is");
}

static int build_eventually(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_workload(sim, "rest", NULL, rest, NULL);
	weir_sim_eventually(sim, "it is late", late, NULL);
	return weir_sim_eventually(sim, "pigs fly", never, (void *)(uintptr_t) "on foot");
}

static int build_finally(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_workload(sim, "rest", NULL, rest, NULL);
	weir_sim_finally(sim, "it is late", late, NULL);
	return weir_sim_finally(sim, "all is well", never, (void *)(uintptr_t) "it is not");
}

static int check_wrong(void *arg)
{
	(void)arg;
	weir_sim_check(true, "truth holds");
	weir_sim_checkf(false, "two is three", "%d is not %d", 2, 3);
	return 0;
}

static int build_check(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return weir_sim_workload(sim, "checks", NULL, check_wrong, NULL) ? 0 : -ENOMEM;
}

static int fail_with(void *arg)
{
	(void)arg;
	return -EIO;
}

static int build_failing(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return weir_sim_workload(sim, "poor", NULL, fail_with, NULL) ? 0 : -ENOMEM;
}

static int build_endless(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return weir_sim_workload(sim, "slow", NULL, sleep_long, NULL) ? 0 : -ENOMEM;
}

static void broken_invariants_end_the_run_and_are_named(void **state)
{
	(void)state;
	assert_int_equal(run(build_always), -EPROTO);
	assert_string_equal(report.failed, "nothing is wrong");
	assert_string_equal(report.message, "all is");
	assert_int_equal(run(build_eventually), -EPROTO);
	assert_string_equal(report.failed, "pigs fly");
	assert_int_equal(run(build_finally), -EPROTO);
	assert_string_equal(report.failed, "all is well");
	assert_int_equal(run(build_check), -EPROTO);
	assert_string_equal(report.failed, "two is three");
	assert_string_equal(report.message, "2 is not 3");
	assert_int_equal(run(build_failing), -EPROTO);
	assert_string_equal(report.failed, "workloads succeed");
}

static void a_workload_that_does_not_end_in_time_is_named(void **state)
{
	(void)state;
	assert_int_equal(run(build_endless), -ETIME);
	assert_non_null(strstr(report.message, "slow"));
}

static int spin(void *arg)
{
	(void)arg;
	while (!weir_sleep(1))
		;
	return 0;
}

static int build_live_lock(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return weir_sim_workload(sim, "spins", NULL, spin, NULL) ? 0 : -ENOMEM;
}

static void a_live_lock_is_bounded_by_steps(void **state)
{
	(void)state;
	assert_int_equal(run_opts(build_live_lock, &(struct weir_sim_opts){ .steps_max = 5000 }),
			 -ELOOP);
}

/* --- processes --- */

static unsigned begun, drained;

static int serve_rest(void *arg)
{
	(void)arg;
	begun++;
	while (!weir_is_draining())
		weir_sleep(WEIR_MS);
	drained++;
	return 0;
}

static int server(void *arg)
{
	return weir_run(&(struct weir_opts){ .cores = 1 }, serve_rest, arg);
}

static int killer(void *arg)
{
	struct weir_sim_host *host = weir_sim_find("server");

	(void)arg;
	weir_sleep(10 * WEIR_MS);
	weir_sim_check(weir_sim_is_running(host), "it runs");
	weir_sim_kill(host);
	weir_sim_check(!weir_sim_is_running(host), "it was killed");
	weir_sleep(WEIR_S);
	weir_sim_check(weir_sim_is_running(host), "it was restarted");
	weir_sim_power_cut(host);
	weir_sleep(WEIR_S);
	return 0;
}

static int build_kill(struct weir_sim *sim, void *arg)
{
	(void)arg;
	begun = drained = 0;
	weir_sim_host(sim, "server", &(struct weir_sim_host_opts){ .restarts = true }, server,
		      NULL);
	return weir_sim_workload(sim, "killer", NULL, killer, NULL) ? 0 : -ENOMEM;
}

static void a_killed_process_comes_back_and_the_last_one_drains(void **state)
{
	(void)state;
	assert_int_equal(run(build_kill), 0);
	assert_int_equal(begun, 3);
	assert_int_equal(drained, 1);
}

static int suicide(void *arg)
{
	(void)arg;
	weir_sim_kill(weir_sim_self());
	weir_sleep(WEIR_S);
	weir_sim_check(false, "a dead process does not go on");
	return 0;
}

static int suicidal(void *arg)
{
	return weir_run(&(struct weir_opts){ .cores = 1 }, suicide, arg);
}

static int build_suicide(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_host(sim, "poor", NULL, suicidal, NULL);
	return weir_sim_workload(sim, "rest", NULL, rest, NULL) ? 0 : -ENOMEM;
}

static void a_process_can_kill_itself(void **state)
{
	(void)state;
	assert_int_equal(run(build_suicide), 0);
}

static int pauser(void *arg)
{
	(void)arg;
	weir_sim_pause(weir_sim_self(), 5 * WEIR_S);
	weir_sleep(WEIR_MS);
	return weir_sim_now(weir_sim_world()) >= 5 * WEIR_S ? 0 : -ETIME;
}

static int build_pause(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return weir_sim_workload(sim, "pauser", NULL, pauser, NULL) ? 0 : -ENOMEM;
}

static void a_host_that_is_paused_stands_still(void **state)
{
	(void)state;
	assert_int_equal(run(build_pause), 0);
}

/* --- kernels --- */

static int too_old;

static int try_run(void *arg)
{
	too_old = weir_run(&(struct weir_opts){ .cores = 2 }, serve_rest, arg);
	return 0;
}

static int build_old(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_host(sim, "old", NULL, try_run, NULL);
	return 0;
}

static void a_kernel_below_the_floor_is_an_error_and_leaks_nothing(void **state)
{
	(void)state;
	assert_int_equal(run_opts(build_old, &(struct weir_sim_opts){ .profile = "5.15" }), 0);
	assert_int_equal(too_old, -EINVAL);
}

static void every_kernel_from_the_floor_on_runs_the_mesh(void **state)
{
	static const char *const profiles[] = { "6.1", "6.6", "6.12", "6.18" };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(run_opts(build_race, &(struct weir_sim_opts){
							      .profile = profiles[i] }),
				 0);
		assert_int_equal(strlen(order), 32);
	}
}

/* --- one at a time --- */

static int nested(struct weir_sim *sim, void *arg)
{
	struct weir_sim_scenario scenario = { .name = "inner", .build = build_race };
	struct weir_sim_report inner;

	(void)sim;
	(void)arg;
	return weir_sim_run(&scenario, NULL, &inner);
}

static void a_world_within_a_world_is_refused(void **state)
{
	(void)state;
	assert_int_equal(run(nested), -EBUSY);
}

static void outside_a_world_checks_do_nothing(void **state)
{
	(void)state;
	assert_null(weir_sim_world());
	assert_null(weir_sim_self());
	assert_null(weir_sim_find("server"));
	weir_sim_check(false, "nobody looks");
	weir_sim_sometimes(true, "nobody counts");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_day_of_sleep_passes_at_once_and_both_hosts_see_it),
		cmocka_unit_test(the_same_seed_is_the_same_run),
		cmocka_unit_test(other_seeds_interleave_the_cores_in_other_ways),
		cmocka_unit_test(the_recorded_choices_alone_make_the_same_run),
		cmocka_unit_test(malformed_choices_and_profiles_are_refused),
		cmocka_unit_test(a_run_stops_at_the_choice_that_was_asked_for),
		cmocka_unit_test(classes_are_parsed_by_name),
		cmocka_unit_test(broken_invariants_end_the_run_and_are_named),
		cmocka_unit_test(a_workload_that_does_not_end_in_time_is_named),
		cmocka_unit_test(a_live_lock_is_bounded_by_steps),
		cmocka_unit_test(a_killed_process_comes_back_and_the_last_one_drains),
		cmocka_unit_test(a_process_can_kill_itself),
		cmocka_unit_test(a_host_that_is_paused_stands_still),
		cmocka_unit_test(a_kernel_below_the_floor_is_an_error_and_leaks_nothing),
		cmocka_unit_test(every_kernel_from_the_floor_on_runs_the_mesh),
		cmocka_unit_test(a_world_within_a_world_is_refused),
		cmocka_unit_test(outside_a_world_checks_do_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
