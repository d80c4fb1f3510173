/* SPDX-License-Identifier: MIT */
/*
 * test_limit.c - each kind of limiter against a service that is a formula: so many calls at once
 * it answers in service_ns, more of them only wait for each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "futures/weir_limit.h"

struct service {
	double places;		/* calls at once that it answers in service_ns */
	double service_ns;
	double wanted;		/* calls that would like to be in progress */
	unsigned refused_above;	/* in progress: more are dropped after 1 us. 0: never */
	int64_t now_ns;
};

static struct service busy(double places)
{
	return (struct service){ .places = places, .service_ns = 1e6, .wanted = 1e9, .now_ns = 1 };
}

static struct weir_limiter make(const struct weir_limiter_opts *opts)
{
	struct weir_limiter limiter;

	assert_int_equal(weir_limiter_init(&limiter, opts), 0);
	return limiter;
}

/* One round: as many calls as the limit allows, all begun at once. */
static void play_round(struct weir_limiter *limiter, struct service *service)
{
	unsigned limit = weir_limiter_limit(limiter);
	unsigned n = service->wanted < limit ? (unsigned)service->wanted : limit;
	double slow = n > service->places ? n / service->places : 1;
	int64_t rtt_ns = (int64_t)(service->service_ns * slow);

	for (unsigned i = service->refused_above; service->refused_above && i < n; i++)
		weir_limiter_sample(limiter, service->now_ns + WEIR_US, WEIR_US, n, true);
	if (service->refused_above && n > service->refused_above)
		n = service->refused_above;
	service->now_ns += rtt_ns;
	for (unsigned i = 0; i < n; i++)
		weir_limiter_sample(limiter, service->now_ns, rtt_ns, n, false);
}

static void play(struct weir_limiter *limiter, struct service *service, int64_t ns)
{
	int64_t until_ns = service->now_ns + ns;

	while (service->now_ns < until_ns)
		play_round(limiter, service);
}

static const enum weir_limiter_kind learning[] = {
	WEIR_LIMITER_VEGAS, WEIR_LIMITER_GRADIENT2, WEIR_LIMITER_PID,
};

static void options_out_of_range_are_refused(void **state)
{
	static const struct weir_limiter_opts bad[] = {
		{ .kind = 5 },
		{ .limit_min = 10, .limit_max = 5 },
		{ .limit_max = 5, .limit_initial = 6 },
		{ .limit_min = 5, .limit_initial = 4 },
		{ .backoff = 1 },
		{ .tolerance = 1 },
		{ .smoothing = 1.1 },
		{ .alpha = 3, .beta = 2 },
		{ .ki = -1 },
		{ .window_ns = -1 },
	};
	struct weir_limiter limiter;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(weir_limiter_init(&limiter, &bad[i]), -EINVAL);
	assert_int_equal(weir_limiter_init(&limiter, NULL), 0);
	assert_int_equal(weir_limiter_limit(&limiter), 64);
}

static void a_fixed_limit_stays_whatever_happens(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){ .limit_initial = 7 });
	struct service service = busy(2);

	(void)state;
	service.refused_above = 3;
	play(&limiter, &service, WEIR_S);
	assert_int_equal(weir_limiter_limit(&limiter), 7);
}

static void a_limit_that_is_learned_fills_the_service_and_lets_little_wait_inside(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (double places = 1; places <= 400; places *= 20) {
			struct weir_limiter limiter =
				make(&(struct weir_limiter_opts){ .kind = learning[i] });
			struct service service = busy(places);

			play(&limiter, &service, 3 * WEIR_S);
			assert_true(weir_limiter_limit(&limiter) >= places);
			assert_true(weir_limiter_limit(&limiter) <= 3 * places + 8);
		}
	}
}

/* concurrency-limits#35: Vegas by steps of log10 alone takes minutes to get to thousands. */
static void a_service_of_many_places_is_filled_within_two_dozen_rounds(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct weir_limiter limiter = make(
			&(struct weir_limiter_opts){ .kind = learning[i], .limit_max = 100000 });
		struct service service = busy(5000);

		play(&limiter, &service, 24 * WEIR_MS);
		assert_true(weir_limiter_limit(&limiter) >= 5000);
	}
}

static void bounds_hold(void **state)
{
	(void)state;
	for (int kind = WEIR_LIMITER_AIMD; kind <= WEIR_LIMITER_PID; kind++) {
		const struct weir_limiter_opts opts = {
			.kind = (enum weir_limiter_kind)kind, .limit_min = 3, .limit_max = 9,
		};
		struct weir_limiter limiter = make(&opts);
		struct service wide = busy(1000), drops = busy(1);

		play(&limiter, &wide, WEIR_S);
		assert_int_equal(weir_limiter_limit(&limiter), 9);
		drops.refused_above = 1;
		drops.now_ns = wide.now_ns;
		play(&limiter, &drops, WEIR_S);
		assert_int_equal(weir_limiter_limit(&limiter), 3);
	}
}

/* concurrency-limits#165: base, once the least RTT ever, is not that of the service any more. */
static void a_service_that_became_slower_is_measured_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct weir_limiter limiter = make(&(struct weir_limiter_opts){
			.kind = learning[i], .probe_ns = WEIR_S });
		struct service service = busy(100);

		play(&limiter, &service, WEIR_S / 2);
		service.service_ns *= 5;
		play(&limiter, &service, 4 * WEIR_S);
		assert_true(weir_limiter_limit(&limiter) >= 100);
		assert_in_range(weir_limiter_base_ns(&limiter), 5 * WEIR_MS, 5 * WEIR_MS);
	}
}

/* And the other way: begun in the midst of overload, the queue is not taken for the service. */
static void a_standing_queue_is_not_taken_for_normal(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct weir_limiter limiter = make(&(struct weir_limiter_opts){
			.kind = learning[i], .limit_initial = 400, .probe_ns = WEIR_S });
		struct service service = busy(2);

		play(&limiter, &service, 10 * WEIR_S);
		assert_in_range(weir_limiter_base_ns(&limiter), WEIR_MS, 2 * WEIR_MS);
		assert_true(weir_limiter_limit(&limiter) <= 2 * 3 + 8);
	}
}

static void a_measurement_without_calls_to_learn_from_ends_by_time(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_VEGAS, .limit_initial = 80, .probe_ns = WEIR_S });
	int64_t now_ns = 1;

	(void)state;
	weir_limiter_sample(&limiter, now_ns, 0, 60, false);
	assert_int_equal(weir_limiter_limit(&limiter), 10);
	weir_limiter_sample(&limiter, now_ns += WEIR_MS, WEIR_MS / 2, 60, false);
	assert_int_equal(weir_limiter_limit(&limiter), 10);
	weir_limiter_sample(&limiter, now_ns += WEIR_S / 8, 0, 1, false);
	assert_int_equal(weir_limiter_limit(&limiter), 80);
}

/* concurrency-limits#134: a limit that nobody uses says nothing about the service. */
static void a_limit_that_is_not_used_does_not_grow(void **state)
{
	(void)state;
	for (int kind = WEIR_LIMITER_AIMD; kind <= WEIR_LIMITER_PID; kind++) {
		struct weir_limiter limiter = make(&(struct weir_limiter_opts){
			.kind = (enum weir_limiter_kind)kind, .limit_initial = 20 });
		struct service service = busy(1000);

		service.wanted = 9;
		play(&limiter, &service, 20 * WEIR_S);
		assert_int_equal(weir_limiter_limit(&limiter), 20);
		service.wanted = 1000;
		play(&limiter, &service, 9 * WEIR_S);
		assert_true(weir_limiter_limit(&limiter) > 20);
	}
}

/*
 * concurrency-limits#134: the long-term RTT follows a modest overload up, until it is the standard
 * and the limit grows again, and so on.
 */
static void modest_overload_for_long_does_not_become_the_standard(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_GRADIENT2, .limit_max = 100000, .probe_ns = -1 });
	struct service service = busy(10);
	unsigned high = 0;

	(void)state;
	for (int i = 0; i < 600; i++) {
		service.wanted = (i % 2) ? 1e9 : 14;
		play(&limiter, &service, WEIR_S);
		if (weir_limiter_limit(&limiter) > high)
			high = weir_limiter_limit(&limiter);
	}
	assert_true(high <= 3 * 10 + 8);
}

/* concurrency-limits#176: refused within a microsecond, so the service seems fast. */
static void what_was_dropped_is_not_learned_from(void **state)
{
	(void)state;
	for (int kind = WEIR_LIMITER_AIMD; kind <= WEIR_LIMITER_PID; kind++) {
		struct weir_limiter limiter = make(&(struct weir_limiter_opts){
			.kind = (enum weir_limiter_kind)kind, .limit_initial = 200,
			.probe_ns = WEIR_S / 10 });
		struct service service = busy(1000);

		service.refused_above = 20;
		play(&limiter, &service, 2 * WEIR_S);
		assert_int_equal(weir_limiter_base_ns(&limiter), WEIR_MS);
		assert_true(weir_limiter_limit(&limiter) <= 40);
		assert_true(weir_limiter_limit(&limiter) >= 10);
	}
}

static void what_was_dropped_is_not_taken_for_the_unloaded_service(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_VEGAS, .limit_initial = 80 });

	(void)state;
	for (int i = 1; i <= 9; i++) {	/* the first began too early */
		weir_limiter_sample(&limiter, i * WEIR_MS, WEIR_US, 1, true);
		weir_limiter_sample(&limiter, i * WEIR_MS, WEIR_MS / 2, 1, false);
	}
	assert_int_equal(weir_limiter_limit(&limiter), 80);
	assert_int_equal(weir_limiter_base_ns(&limiter), WEIR_MS / 2);
}

/* As BBR: what quiet times show anyway is not measured at the expense of calls. */
static void a_service_that_was_quiet_lately_is_not_measured_anew(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_VEGAS, .limit_initial = 80, .probe_ns = WEIR_S });
	struct service service = busy(100);

	(void)state;
	service.wanted = 10;
	play(&limiter, &service, WEIR_S / 2);
	for (int i = 0; i < 5000; i++) {
		play_round(&limiter, &service);
		assert_int_equal(weir_limiter_limit(&limiter), 80);
	}
}

static void many_drops_at_once_are_one_reason_to_step_back(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_AIMD, .limit_initial = 100 });
	int64_t now_ns = 1;

	(void)state;
	weir_limiter_sample(&limiter, now_ns, 10, 1, false);
	for (int i = 0; i < 500; i++)
		weir_limiter_sample(&limiter, now_ns + 2 * WEIR_MS, 10, 100, true);
	assert_int_equal(weir_limiter_limit(&limiter), 90);
}

static void calls_that_began_before_a_step_do_not_cause_another(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_AIMD, .limit_initial = 100, .timeout_ns = WEIR_MS });
	int64_t now_ns = 10 * WEIR_MS;

	(void)state;
	for (int i = 0; i < 100; i++)
		weir_limiter_sample(&limiter, now_ns + i, 9 * WEIR_MS, 100, false);
	assert_int_equal(weir_limiter_limit(&limiter), 90);
}

static void aimd_steps_back_for_calls_longer_than_its_timeout(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_AIMD, .timeout_ns = 4 * WEIR_MS, .probe_ns = -1 });
	struct service service = busy(10);

	(void)state;
	play(&limiter, &service, WEIR_S);
	for (int i = 0; i < 100; i++) {
		play_round(&limiter, &service);
		assert_in_range(weir_limiter_limit(&limiter), 35, 42);
	}
}

static void vegas_far_above_its_place_comes_back_in_a_few_rounds(void **state)
{
	struct weir_limiter limiter = make(&(struct weir_limiter_opts){
		.kind = WEIR_LIMITER_VEGAS, .probe_ns = -1 });
	struct service service = busy(300);

	(void)state;
	play(&limiter, &service, WEIR_S);
	assert_true(weir_limiter_limit(&limiter) >= 300);
	service.places = 30;
	for (int i = 0; i < 14; i++)
		play_round(&limiter, &service);
	assert_true(weir_limiter_limit(&limiter) <= 60);
}

static void nonsense_keeps_the_limit_within_its_bounds(void **state)
{
	static const int64_t values[] = { INT64_MIN / 4, -1, 0, 1, 1000, WEIR_S, INT64_MAX / 4 };
	uint64_t seed = 1;

	(void)state;
	for (int kind = WEIR_LIMITER_FIXED; kind <= WEIR_LIMITER_PID; kind++) {
		struct weir_limiter limiter = make(&(struct weir_limiter_opts){
			.kind = (enum weir_limiter_kind)kind, .limit_min = 2, .limit_max = 50,
			.limit_initial = 5, .window_samples = 1 });

		for (int i = 0; i < 100000; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			weir_limiter_sample(&limiter, values[(seed >> 33) % 7],
					    values[(seed >> 40) % 7], (unsigned)(seed >> 60) * 10,
					    seed >> 50 & 1);
			assert_in_range(weir_limiter_limit(&limiter), 2, 50);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_out_of_range_are_refused),
		cmocka_unit_test(a_fixed_limit_stays_whatever_happens),
		cmocka_unit_test(
			a_limit_that_is_learned_fills_the_service_and_lets_little_wait_inside),
		cmocka_unit_test(a_service_of_many_places_is_filled_within_two_dozen_rounds),
		cmocka_unit_test(bounds_hold),
		cmocka_unit_test(a_service_that_became_slower_is_measured_anew),
		cmocka_unit_test(a_standing_queue_is_not_taken_for_normal),
		cmocka_unit_test(a_measurement_without_calls_to_learn_from_ends_by_time),
		cmocka_unit_test(a_limit_that_is_not_used_does_not_grow),
		cmocka_unit_test(modest_overload_for_long_does_not_become_the_standard),
		cmocka_unit_test(what_was_dropped_is_not_learned_from),
		cmocka_unit_test(what_was_dropped_is_not_taken_for_the_unloaded_service),
		cmocka_unit_test(a_service_that_was_quiet_lately_is_not_measured_anew),
		cmocka_unit_test(many_drops_at_once_are_one_reason_to_step_back),
		cmocka_unit_test(calls_that_began_before_a_step_do_not_cause_another),
		cmocka_unit_test(aimd_steps_back_for_calls_longer_than_its_timeout),
		cmocka_unit_test(nonsense_keeps_the_limit_within_its_bounds),
		cmocka_unit_test(vegas_far_above_its_place_comes_back_in_a_few_rounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
