/* SPDX-License-Identifier: MIT */
/*
 * test_ensure.c - what a failed assertion and a broken contract do.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/ensure.h"

/* Runs fn in a child; its stderr comes back in text, its wait status is returned. */
static int run_in_child(void (*fn)(void), char *text, size_t size)
{
	struct rlimit no_core = { 0, 0 };
	size_t used = 0;
	ssize_t n;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(fds[1], STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(fds[1]);
	while (used < size - 1 && (n = read(fds[0], text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void fail_at_a_known_line(void)
{
	weir__assert_failed("slots_free + slots_taken == depth", "ring/slots.c", 120);
}

static void fail_with_a_long_text(void)
{
	static char what[4000];

	memset(what, 'x', sizeof(what) - 1);
	weir__assert_failed(what, "a.c", 0);
}

static unsigned evaluated;

static void hold_what_is_true(void)
{
	weir_assert(++evaluated == 1);
	_exit(evaluated == 1 ? 0 : 1);
}

static int contract(int value)
{
	weir_precond(value >= 0, -22);
	return value;
}

static void break_the_contract(void)
{
	_exit(contract(-1) == -22 ? 3 : 4);
}

static void a_failed_assertion_says_what_and_where_and_aborts(void **state)
{
	char text[1024];
	int status = run_in_child(fail_at_a_known_line, text, sizeof(text));

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_string_equal(text, "weir: assertion failed: slots_free + slots_taken == depth "
				  "at ring/slots.c:120\n");
}

static void a_text_longer_than_the_line_is_cut(void **state)
{
	char text[1024];
	int status = run_in_child(fail_with_a_long_text, text, sizeof(text));

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_int_equal(strlen(text), 512);
}

static void an_assertion_that_holds_is_evaluated_once(void **state)
{
	char text[1024];
	int status = run_in_child(hold_what_is_true, text, sizeof(text));

	(void)state;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_string_equal(text, "");
}

static void a_broken_contract_aborts_a_debug_build_and_is_an_error_in_a_release(void **state)
{
	char text[1024];
	int status = run_in_child(break_the_contract, text, sizeof(text));

	(void)state;
#ifdef WEIR_DEBUG
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(text, "value >= 0"));
#else
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
#endif
	assert_int_equal(contract(5), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_assertion_says_what_and_where_and_aborts),
		cmocka_unit_test(a_text_longer_than_the_line_is_cut),
		cmocka_unit_test(an_assertion_that_holds_is_evaluated_once),
		cmocka_unit_test(
			a_broken_contract_aborts_a_debug_build_and_is_an_error_in_a_release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
