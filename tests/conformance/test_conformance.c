/* SPDX-License-Identifier: MIT */
/*
 * test_conformance.c - every case on one arm; and what the suite itself is worth.
 *
 *	test_conformance ARM			all cases, as tests
 *	test_conformance ARM PART [ROUNDS]	what the cases called *PART* see in each round
 *	test_conformance rules			each rule of the simulator that is broken is noticed
 *	test_conformance opcodes		each operation that weir uses has a case
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "ring/ring.h"
#include "ring/soft/rules.h"
#include "tests/conformance/arm.h"

#define CASE_SECONDS 50

static const struct cf_arm *arm;

static void run_case(void **state)
{
	const struct cf_case *test = *state;
	char why[8192];

	switch (cf_judge_apart(arm, test, arm->rounds, CASE_SECONDS, why, sizeof(why))) {
	case CF_GREEN:
		return;
	case CF_SKIPPED:
		print_message("%s\n", why);
		skip();
		return;
	case CF_RED:
		fail_msg("%s", why);
	}
}

static int run_all(void)
{
	struct CMUnitTest *tests;
	unsigned count = 0;
	int failed;

	while (cf_case(count))
		count++;
	tests = calloc(count, sizeof(*tests));
	if (!tests)
		return 1;
	for (unsigned i = 0; i < count; i++) {
		tests[i].name = cf_case(i)->name;
		tests[i].test_func = run_case;
		tests[i].initial_state = (void *)(uintptr_t)cf_case(i);
	}
	failed = _cmocka_run_group_tests(arm->name, tests, count, NULL, NULL);
	free(tests);
	return failed ? 1 : 0;
}

/* --- the suite itself --- */

static void break_rule(void **state)
{
	unsigned number = (unsigned)(uintptr_t)*state;
	const struct cf_case *test;
	char why[8192] = "";

	test = cf_who_notices(number, why, sizeof(why));
	if (!test)
		fail_msg("broken, and nobody notices: %s", cf_rule(number));
	else
		print_message("%s\n", why);
}

static int run_rules(void)
{
	static struct CMUnitTest tests[WEIR_RULES_END];
	unsigned count;

	for (count = 0; cf_rule(count); count++) {
		tests[count].name = cf_rule(count);
		tests[count].test_func = break_rule;
		tests[count].initial_state = (void *)(uintptr_t)count;
	}
	return _cmocka_run_group_tests("rules", tests, count, NULL, NULL) ? 1 : 0;
}

/* Where inflight.c has a name for it, weir uses it. */
static void each_operation_that_weir_uses_has_a_case(void **state)
{
	static struct cf_result result;
	const struct cf_case *test;
	unsigned missing = 0;

	(void)state;
	for (unsigned i = 0; (test = cf_case(i)); i++)
		cf_arm_sim.run(test, 0, &result);
	for (unsigned opcode = 0; opcode < IORING_OP_LAST; opcode++) {
		if (!strcmp(weir__opcode_name(opcode), "OP") || cf_has_seen(opcode))
			continue;
		print_message("no case for %s\n", weir__opcode_name(opcode));
		missing++;
	}
	assert_int_equal(missing, 0);
}

static int run_opcodes(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_operation_that_weir_uses_has_a_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}

/* --- by hand --- */

static int show(const char *part, unsigned rounds)
{
	static struct cf_result result;
	const struct cf_case *test;

	for (unsigned i = 0; (test = cf_case(i)); i++) {
		if (!strstr(test->name, part))
			continue;
		printf("%s\n", test->name);
		for (unsigned round = 0; round < rounds; round++) {
			arm->run(test, round, &result);
			printf("  %u: %s%s%s\n", round, result.text,
			       result.skipped ? " skipped: " : "",
			       result.skipped ? result.skipped : "");
		}
	}
	return 0;
}

/* Whether this host lets anybody have a ring. */
static bool has_uring(void)
{
	struct weir_kernel *kernel = weir__kernel_uring();
	struct io_uring_params params = { 0 };
	struct io_uring uring;
	int r = kernel->ops->ring_setup(kernel, 4, &uring, &params);

	if (r >= 0)
		kernel->ops->ring_teardown(kernel, &uring);
	else
		fprintf(stderr, "io_uring is refused: %s\n", cf_res(r));
	return r >= 0;
}

int main(int argc, char **argv)
{
	arm = argc > 1 ? cf_arm(argv[1]) : NULL;
	if (argc == 2 && !strcmp(argv[1], "rules"))
		return run_rules();
	if (argc == 2 && !strcmp(argv[1], "opcodes"))
		return run_opcodes();
	if (!arm) {
		fprintf(stderr, "usage: test_conformance uring|poll|sim [PART [ROUNDS]]\n"
				"       test_conformance rules|opcodes\n");
		return 64;
	}
	if (arm == &cf_arm_uring && !has_uring())
		return 77;
	if (argc > 2)
		return show(argv[2], argc > 3 ? (unsigned)atoi(argv[3]) : arm->rounds);
	return run_all();
}
