/* SPDX-License-Identifier: MIT */
/*
 * arm.h - an arm is a kernel on which cases run; and who judges what comes out.
 */
#ifndef WEIR_TESTS_CONFORMANCE_ARM_H
#define WEIR_TESTS_CONFORMANCE_ARM_H

#include "tests/conformance/conform.h"

struct cf_result {
	char text[CF_TEXT];
	const char *skipped;	/* the reason, or NULL */
};

struct cf_arm {
	const char *name;
	unsigned on;		/* CF_ON_... */
	unsigned rounds;	/* how often each case is run */
	bool is_complete;	/* that many reach all that is reachable */
	/* Runs test once. Rounds differ in what the arm has to differ: schedules, seeds. */
	void (*run)(const struct cf_case *test, unsigned round, struct cf_result *ret);
};

extern const struct cf_arm cf_arm_uring, cf_arm_poll, cf_arm_sim;

/* The arm called name, or NULL. */
const struct cf_arm *cf_arm(const char *name);

/* All cases, by number; NULL beyond the last. */
const struct cf_case *cf_case(unsigned number);

/* Of the ring in this round. */
unsigned cf_setup_flags(const struct cf_case *test, unsigned round);

enum cf_verdict { CF_GREEN, CF_RED, CF_SKIPPED };

/*
 * Runs test rounds times on arm. ret_why says what is wrong, or why it was skipped. That an outcome
 * was never reached is only wrong after all of the arm's rounds.
 */
enum cf_verdict cf_judge(const struct cf_arm *arm, const struct cf_case *test, unsigned rounds,
			 char *ret_why, size_t size);

/*
 * The same in a process of its own: one that dies, or takes longer than seconds, is red.
 */
enum cf_verdict cf_judge_apart(const struct cf_arm *arm, const struct cf_case *test,
			       unsigned rounds, unsigned seconds, char *ret_why, size_t size);

/* Whether some case's own SQEs had this opcode: what it only prepares with does not count. */
bool cf_has_seen(unsigned opcode);

/*
 * mutate.c: the rules of ring/soft/rules.h. cf_rule(): what it says; NULL beyond the last. The
 * other: the first case that notices that it is broken, or NULL.
 */
const char *cf_rule(unsigned number);
const struct cf_case *cf_who_notices(unsigned number, char *ret_why, size_t size);

#endif
