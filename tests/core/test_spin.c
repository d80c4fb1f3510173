/* SPDX-License-Identifier: MIT */
/*
 * test_spin.c - when an idle worker polls: sequences of gaps as they were measured on a
 * loopback, replayed against the decision. A gap has two lengths: the worker that slept
 * sees it longer by its own wake-up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/spin.h"

#define SPIN_NS (50 * WEIR_US)
#define WAKE_NS (25 * WEIR_US)

struct core {
	struct weir_spin spin;
	uint64_t completions;
	uint64_t active;
	unsigned waits;
	unsigned spins;
	unsigned hits;
	int64_t polled_ns;
	int64_t asleep_ns;
};

static void core_init(struct core *core)
{
	*core = (struct core){ 0 };
	weir__spin_init(&core->spin, SPIN_NS);
}

static void reset_counts(struct core *core)
{
	core->waits = 0;
	core->spins = 0;
	core->hits = 0;
	core->polled_ns = 0;
	core->asleep_ns = 0;
}

/* The core has nothing to do for gap_ns, as one that polls sees it. */
static void idle(struct core *core, int64_t gap_ns)
{
	int64_t spin_ns;

	weir__spin_observe(&core->spin, core->completions, &core->active);
	spin_ns = weir__spin_plan(&core->spin);
	core->waits++;
	core->spins += spin_ns > 0;
	if (spin_ns >= gap_ns) {
		core->hits++;
		core->polled_ns += gap_ns;
		weir__spin_learn(&core->spin, gap_ns, WEIR_SPIN_HIT);
		return;
	}
	core->polled_ns += spin_ns;
	core->asleep_ns += gap_ns - spin_ns;
	weir__spin_learn(&core->spin, gap_ns + WAKE_NS, spin_ns ? WEIR_SPIN_MISS : WEIR_SPIN_NONE);
}

/* A request on a connection: its receive and its send complete. */
static void serve(struct core *core, unsigned conn)
{
	core->active |= UINT64_C(1) << (conn & 63);
	core->active |= 1;	/* the send's slot is free again each time */
	core->completions += 2;
}

static void ping_pong(struct core *core, unsigned rounds)
{
	while (rounds--) {
		idle(core, 17 * WEIR_US);
		serve(core, 5);
	}
}

/* 1..1000, the same each time. */
static unsigned random_1000(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8) % 1000 + 1;
}

static void one_connection_in_ping_pong_is_polled_after_a_few_rounds(void **state)
{
	struct core core;

	core_init(&core);
	ping_pong(&core, 20);
	reset_counts(&core);
	ping_pong(&core, 1000);
	assert_int_equal(core.hits, 1000);
}

static void two_thousand_requests_a_second_over_many_connections_never_spin(void **state)
{
	uint32_t random = 1;
	struct core core;
	unsigned i;

	core_init(&core);
	for (i = 0; i < 4000; i++) {
		idle(&core, (int64_t)random_1000(&random) * WEIR_US);
		serve(&core, i * 7);
	}
	assert_int_equal(core.spins, 0);
}

static void two_thousand_requests_a_second_over_one_connection_never_spin(void **state)
{
	uint32_t random = 1;
	struct core core;
	unsigned i;

	core_init(&core);
	for (i = 0; i < 4000; i++) {
		idle(&core, (int64_t)random_1000(&random) * WEIR_US);
		serve(&core, 3);
	}
	assert_true(core.polled_ns < core.asleep_ns / 100);
}

static void a_hundred_thousand_requests_a_second_over_many_connections_do_not_spin(void **state)
{
	uint32_t random = 1;
	struct core core;
	unsigned i;

	core_init(&core);
	for (i = 0; i < 100000; i++) {
		idle(&core, (int64_t)random_1000(&random) * 12);
		serve(&core, i * 7);
	}
	/* Only before 9 connections were seen. */
	assert_true(core.spins <= 8);
}

static void a_burst_of_many_connections_ends_the_polling_for_one(void **state)
{
	struct core core;
	unsigned i;

	core_init(&core);
	ping_pong(&core, 100);
	for (i = 0; i < 9; i++)
		serve(&core, i);
	reset_counts(&core);
	idle(&core, 17 * WEIR_US);
	assert_int_equal(core.spins, 0);
}

static void an_idle_second_costs_one_spin(void **state)
{
	struct core core;
	unsigned i;

	core_init(&core);
	ping_pong(&core, 100);
	reset_counts(&core);
	for (i = 0; i < 100; i++)
		idle(&core, 10 * WEIR_MS);
	assert_true(core.spins <= 1);
	assert_true(core.polled_ns <= SPIN_NS);
}

static void polling_resumes_soon_after_an_idle_second(void **state)
{
	struct core core;

	core_init(&core);
	ping_pong(&core, 100);
	idle(&core, WEIR_S);
	ping_pong(&core, 5);
	reset_counts(&core);
	ping_pong(&core, 100);
	assert_int_equal(core.hits, 100);
}

static void cores_that_call_each_other_poll(void **state)
{
	struct core core;
	unsigned i;

	core_init(&core);
	for (i = 0; i < 1000; i++) {
		idle(&core, 200);
		core.active |= 2;
		core.completions++;
	}
	assert_true(core.hits > 980);
}

static void spins_in_vain_become_rare(void **state)
{
	struct core core;
	unsigned i;

	core_init(&core);
	for (i = 0; i < 100; i++) {
		idle(&core, 20 * WEIR_US);
		serve(&core, 1);
	}
	reset_counts(&core);
	/* Short in the average, yet each time longer than the spin. */
	for (i = 0; i < 10000; i++)
		weir__spin_plan(&core.spin) ? idle(&core, SPIN_NS + 1)
					    : weir__spin_learn(&core.spin, 40 * WEIR_US,
							       WEIR_SPIN_NONE);
	assert_true(core.hits == 0);
	assert_true(core.spins < 10000 / 50);
}

static void a_limit_of_zero_never_spins(void **state)
{
	struct core core;

	core_init(&core);
	weir__spin_init(&core.spin, -1);
	ping_pong(&core, 1000);
	assert_int_equal(core.spins, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_connection_in_ping_pong_is_polled_after_a_few_rounds),
		cmocka_unit_test(two_thousand_requests_a_second_over_many_connections_never_spin),
		cmocka_unit_test(two_thousand_requests_a_second_over_one_connection_never_spin),
		cmocka_unit_test(
			a_hundred_thousand_requests_a_second_over_many_connections_do_not_spin),
		cmocka_unit_test(a_burst_of_many_connections_ends_the_polling_for_one),
		cmocka_unit_test(an_idle_second_costs_one_spin),
		cmocka_unit_test(polling_resumes_soon_after_an_idle_second),
		cmocka_unit_test(cores_that_call_each_other_poll),
		cmocka_unit_test(spins_in_vain_become_rare),
		cmocka_unit_test(a_limit_of_zero_never_spins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
