/* SPDX-License-Identifier: MIT */
/*
 * mutate.c - does the suite notice? Each rule of ring/soft/rules.h is broken in turn, and the cases
 * run on the simulated kernel until one is red. Most need no fault, so all cases have a few rounds
 * before any has all of them.
 */
#include "ring/soft/rules.h"
#include "tests/conformance/arm.h"

#define FEW_ROUNDS 2
#define CASE_SECONDS 10

static const char *const rules[] = {
#define TEXT(name_, text_) [WEIR_RULE_##name_] = text_,
	WEIR_RULES(TEXT)
#undef TEXT
};

const char *cf_rule(unsigned number)
{
	return number + 1 < WEIR_RULES_END ? rules[number + 1] : NULL;
}

static enum cf_verdict judge(const struct cf_case *test, unsigned rounds, enum weir__rule broken,
			     char *ret_why, size_t size)
{
	enum cf_verdict verdict;

	weir__rule_broken = broken;
	verdict = cf_judge_apart(&cf_arm_sim, test, rounds, CASE_SECONDS, ret_why, size);
	weir__rule_broken = WEIR_RULE_NONE;
	return verdict;
}

/* Red, and it is the rule's doing. */
static const struct cf_case *find(unsigned rounds, enum weir__rule rule, char *ret_why, size_t size)
{
	const struct cf_case *test;
	char why[64];

	for (unsigned i = 0; (test = cf_case(i)); i++)
		if (judge(test, rounds, rule, ret_why, size) == CF_RED &&
		    judge(test, rounds, WEIR_RULE_NONE, why, sizeof(why)) == CF_GREEN)
			return test;
	return NULL;
}

const struct cf_case *cf_who_notices(unsigned number, char *ret_why, size_t size)
{
	enum weir__rule rule = (enum weir__rule)(number + 1);
	const struct cf_case *test = find(FEW_ROUNDS, rule, ret_why, size);

	return test ? test : find(cf_arm_sim.rounds, rule, ret_why, size);
}
