/* SPDX-License-Identifier: MIT */
/*
 * judge.c - which cases there are, and whether an arm's outcomes are those a case allows: all of
 * them legal, and on an arm that can tell, each of the legal ones reached.
 */
#include "tests/conformance/arm.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTCOMES_MAX 64

static const struct cf_case *const lists[] = {
	cf_cases_ring,
	cf_cases_link,
	cf_cases_cancel,
	cf_cases_time,
	cf_cases_poll,
	cf_cases_message,
	cf_cases_direct,
	cf_cases_file,
	cf_cases_path,
	cf_cases_stream,
	cf_cases_end,
	cf_cases_accept,
	cf_cases_recv,
	cf_cases_bufs,
	cf_cases_zc,
	cf_cases_dgram,
	cf_cases_wake,
};

const struct cf_case *cf_case(unsigned number)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (const struct cf_case *test = lists[i]; test->name; test++)
			if (!number--)
				return test;
	return NULL;
}

const struct cf_arm *cf_arm(const char *name)
{
	static const struct cf_arm *const arms[] = { &cf_arm_uring, &cf_arm_poll, &cf_arm_sim };

	for (size_t i = 0; i < sizeof(arms) / sizeof(arms[0]); i++)
		if (!strcmp(arms[i]->name, name))
			return arms[i];
	return NULL;
}

unsigned cf_setup_flags(const struct cf_case *test, unsigned round)
{
	unsigned rings = test->rings ? test->rings : CF_DEFER | CF_PLAIN;

	if (rings == CF_PLAIN || (round % 2 && (rings & CF_PLAIN)))
		return IORING_SETUP_SUBMIT_ALL;
	return IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
	       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN;
}

static bool is_legal_on(const struct cf_outcome *outcome, const struct cf_arm *arm)
{
	unsigned where = outcome->where & (CF_ON_URING | CF_ON_SIM | CF_ON_POLL);

	return !where || (where & arm->on);
}

/* The number of the legal outcome that text is, or -1. */
static int find(const struct cf_case *test, const struct cf_arm *arm, const char *text)
{
	for (int i = 0; test->legal[i].text; i++)
		if (is_legal_on(&test->legal[i], arm) && !strcmp(test->legal[i].text, text))
			return i;
	return -1;
}

static void explain(const struct cf_case *test, const struct cf_arm *arm, char *why, size_t size)
{
	size_t used = strlen(why);

	for (int i = 0; test->legal[i].text && used < size; i++)
		if (is_legal_on(&test->legal[i], arm))
			used += (size_t)snprintf(why + used, size - used, "\n    legal: %s",
						 test->legal[i].text);
}

static bool is_missing(const struct cf_case *test, const struct cf_arm *arm, uint64_t reached,
		       int number)
{
	const struct cf_outcome *outcome = &test->legal[number];

	return !(outcome->where & CF_RARE) && is_legal_on(outcome, arm) &&
	       !(reached >> number & 1);
}

enum cf_verdict cf_judge(const struct cf_arm *arm, const struct cf_case *test, unsigned rounds,
			 char *ret_why, size_t size)
{
	struct cf_result result;
	uint64_t reached = 0;

	if (test->arms && !(test->arms & arm->on)) {
		snprintf(ret_why, size, "this is not promised on this kernel");
		return CF_SKIPPED;
	}
	for (unsigned round = 0; round < rounds; round++) {
		int number;

		arm->run(test, round, &result);
		if (result.skipped) {
			snprintf(ret_why, size, "%s", result.skipped);
			return CF_SKIPPED;
		}
		number = find(test, arm, result.text);
		if (number < 0) {
			snprintf(ret_why, size, "%s on %s, round %u:\n    saw:   %s", test->name,
				 arm->name, round, result.text);
			explain(test, arm, ret_why, size);
			return CF_RED;
		}
		reached |= UINT64_C(1) << number;
	}
	if (!arm->is_complete || rounds < arm->rounds)
		return CF_GREEN;
	for (int i = 0; test->legal[i].text && i < OUTCOMES_MAX; i++) {
		if (!is_missing(test, arm, reached, i))
			continue;
		snprintf(ret_why, size, "%s on %s: never reached in %u rounds: %s", test->name,
			 arm->name, rounds, test->legal[i].text);
		return CF_RED;
	}
	return CF_GREEN;
}

struct answer {
	enum cf_verdict verdict;
	char why[8192];
};

static void judge_and_exit(const struct cf_arm *arm, const struct cf_case *test, unsigned rounds,
			   struct answer *answer)
{
	/* What a test framework would make of them is not what happens here. */
	signal(SIGSEGV, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
	answer->verdict = cf_judge(arm, test, rounds, answer->why, sizeof(answer->why));
	_exit(0);
}

enum cf_verdict cf_judge_apart(const struct cf_arm *arm, const struct cf_case *test,
			       unsigned rounds, unsigned seconds, char *ret_why, size_t size)
{
	struct answer *answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	enum cf_verdict verdict = CF_RED;
	int status = 0;
	pid_t pid;

	snprintf(ret_why, size, "no process or no memory for %s", test->name);
	if (answer == MAP_FAILED)
		return CF_RED;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		alarm(seconds);
		judge_and_exit(arm, test, rounds, answer);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid) {
		verdict = answer->verdict;
		snprintf(ret_why, size, "%s", answer->why);
		if (status)
			verdict = CF_RED;
		if (WIFSIGNALED(status))
			snprintf(ret_why, size, "%s on %s: killed by signal %d", test->name,
				 arm->name, WTERMSIG(status));
		else if (status)
			snprintf(ret_why, size, "%s on %s: its process ended with %d", test->name,
				 arm->name, WEXITSTATUS(status));
	}
	munmap(answer, sizeof(*answer));
	return verdict;
}
