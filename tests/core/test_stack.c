/* SPDX-License-Identifier: MIT */
/*
 * test_stack.c - the pool of stacks: its bounds and guards, what it gives back and what it
 * measures; and the last words of a coroutine whose stack was too small.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/worker.h"
#include "tests/support/fake_driver.h"

#define KIB ((size_t)1 << 10)

/* A sanitizer's own memory and mappings are not ours to count. */
#if defined(WEIR__ASAN) || defined(WEIR__TSAN)
static const bool is_sanitized = true;
#else
static const bool is_sanitized;
#endif

static struct fake_driver fake;
static struct weir_worker worker;

static void start(struct weir_coros_opts coros)
{
	const struct weir_worker_opts opts = { .coros = coros };

	fake_driver_init(&fake);
	assert_int_equal(weir__worker_init(&worker, &fake.driver, &opts), 0);
}

static void stop(void)
{
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
}

/* --- bounds --- */

static void sizes_out_of_range_are_refused(void **state)
{
	struct weir_stacks stacks;
	struct weir_stacks_opts opts = { .count_max = 4, .stack_size = 16 * KIB - 1 };

	assert_int_equal(weir__stacks_init(&stacks, &opts), -EINVAL);
	opts.stack_size = WEIR__STACK_SIZE_MAX + 1;
	assert_int_equal(weir__stacks_init(&stacks, &opts), -EINVAL);
	opts.stack_size = 64 * KIB;
	opts.count_max = 0;
	assert_int_equal(weir__stacks_init(&stacks, &opts), -EINVAL);
	opts.count_max = WEIR__STACKS_MAX + 1;
	assert_int_equal(weir__stacks_init(&stacks, &opts), -EINVAL);
	weir__stacks_fini(&stacks);
}

static void at_the_bound_there_is_no_stack_until_one_comes_back(void **state)
{
	const struct weir_stacks_opts opts = { .count_max = 2, .stack_size = 20000 };
	struct weir_stacks stacks;
	uint32_t first, second, third;

	assert_int_equal(weir__stacks_init(&stacks, &opts), 0);
	assert_int_equal(stacks.stack_size, 20 * KIB);
	assert_string_equal(stacks.limit_note, "");
	assert_int_equal(weir__stacks_get(&stacks, &first), 0);
	assert_int_equal(weir__stacks_get(&stacks, &second), 0);
	assert_int_equal(weir__stacks_get(&stacks, &third), -ENOBUFS);
	weir__stacks_put(&stacks, first);
	assert_int_equal(weir__stacks_get(&stacks, &third), 0);
	assert_int_equal(third, first);
	weir__stacks_fini(&stacks);
}

/* The least a process may map is what it has: the pool is made smaller until it fits. */
static void without_addresses_the_pool_is_smaller_and_says_why(void **state)
{
	const struct weir_stacks_opts opts = { .count_max = 65536, .stack_size = 64 * KIB };
	struct weir_stacks stacks;
	struct rlimit old, low;
	int r;

	if (is_sanitized) {
		print_message("a sanitizer's shadow takes more addresses than any limit leaves\n");
		skip();
	}
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)1 << 30;
	assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
	r = weir__stacks_init(&stacks, &opts);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_int_equal(r, 0);
	assert_in_range(stacks.count_max, 16, 13107);
	assert_non_null(strstr(stacks.limit_note, "instead of"));
	assert_non_null(strstr(stacks.limit_note, "RLIMIT_AS"));
	weir__stacks_fini(&stacks);
}

/* --- 40,000 of them --- */

static int parks(void *arg)
{
	volatile char frame[512];

	frame[0] = 1;
	return weir_sleep(WEIR_S) + frame[0] - 1;
}

static unsigned maps_count(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned count = 0;
	int c;

	assert_non_null(file);
	while ((c = fgetc(file)) != EOF)
		count += c == '\n';
	fclose(file);
	return count;
}

static size_t resident_size(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long total, resident;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
	fclose(file);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

#ifdef WEIR__TSAN
#define MANY 1500u /* it counts fibers as threads, and has 8,128 */
#else
#define MANY 40000u
#endif

/*
 * srs#509: two mappings for each guarded stack end at 32,700 coroutines. And the idle ones are
 * to be cheap: one page each.
 */
static void forty_thousand_guarded_coroutines_live_at_once(void **state)
{
	const struct weir_coro_opts opts = { .detached = true };
	size_t before;

	start((struct weir_coros_opts){ .coros_max = MANY });
	if (worker.coros.stacks.mprotect_guards) {
		stop();
		fprintf(stderr, "skipped: this kernel has no MADV_GUARD_INSTALL (Linux 6.13)\n");
		skip();
	}
	before = resident_size();
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(weir_coro_spawn(&opts, parks, NULL, NULL), 0);
	for (unsigned i = 0; i < MANY / 64; i++)
		weir__worker_turn(&worker, 0);
	assert_int_equal(worker.wheel.count, MANY);
	if (!is_sanitized) {
		assert_in_range((resident_size() - before) / MANY, 1, 6 * KIB);
		assert_in_range(maps_count(), 1, 5000);
	}
	while (worker.live)
		assert_int_equal(weir__worker_turn(&worker, weir_in(WEIR_S)), 0);
	assert_int_equal(worker.coros.count_high, MANY);
	stop();
}

/* --- guards that split the mapping --- */

static void with_guards_that_split_the_mapping_the_bound_is_lower_and_says_why(void **state)
{
	const struct weir_coro_opts opts = { .detached = true };

	start((struct weir_coros_opts){ .coros_max = 1000, .mprotect_guards = true,
					.maps_max = 40 });
	assert_int_equal(worker.coros.stacks.count_max, 20);
	assert_non_null(strstr(worker.coros.stacks.limit_note, "20 coroutines a core instead of"));
	assert_non_null(strstr(worker.coros.stacks.limit_note, "vm.max_map_count"));
	for (int i = 0; i < 20; i++)
		assert_int_equal(weir_coro_spawn(&opts, parks, NULL, NULL), 0);
	assert_int_equal(weir_coro_spawn(&opts, parks, NULL, NULL), -ENOBUFS);
	while (worker.live)
		assert_int_equal(weir__worker_turn(&worker, weir_in(WEIR_S)), 0);
	stop();
}

static void pools_share_the_mappings_that_there_are(void **state)
{
	const struct weir_stacks_opts opts = { .count_max = 20, .stack_size = 16 * KIB,
					       .mprotect_guards = true, .maps_max = 40 };
	struct weir_stacks left, right;
	uint32_t index;

	assert_int_equal(weir__stacks_init(&left, &opts), 0);
	assert_int_equal(weir__stacks_init(&right, &opts), 0);
	for (int i = 0; i < 15; i++)
		assert_int_equal(weir__stacks_get(&left, &index), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(weir__stacks_get(&right, &index), 0);
	assert_int_equal(weir__stacks_get(&right, &index), -ENOBUFS);
	assert_int_equal(right.count_max, 5);
	assert_non_null(strstr(right.limit_note, "5 coroutines a core instead of 20"));
	weir__stacks_fini(&left);
	weir__stacks_fini(&right);
	assert_int_equal(weir__stacks_init(&right, &opts), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(weir__stacks_get(&right, &index), 0);
	weir__stacks_fini(&right);
}

/* --- measuring and trimming --- */

static void the_high_water_is_what_was_touched_and_measuring_touches_nothing(void **state)
{
	const struct weir_stacks_opts opts = { .count_max = 2, .stack_size = 2048 * KIB };
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct weir_stacks stacks;
	uint32_t index;
	char *top;

	assert_int_equal(weir__stacks_init(&stacks, &opts), 0);
	assert_int_equal(weir__stacks_get(&stacks, &index), 0);
	top = weir__stack_low(&stacks, index) + stacks.stack_size;
	assert_int_equal(weir__stack_high(&stacks, index), 0);
	top[-1] = 1;
	assert_int_equal(weir__stack_high(&stacks, index), page);
	top[-1500 * (long)KIB] = 1;
	assert_int_equal(weir__stack_high(&stacks, index), 1500 * KIB);
	assert_int_equal(weir__stack_high(&stacks, index), 1500 * KIB);
	assert_int_equal(weir__stacks_high(&stacks), 1500 * KIB);
	weir__stacks_fini(&stacks);
}

static int digs(void *arg)
{
	char deep[30000];

	memset(deep, 1, sizeof(deep));
	__asm__ volatile("" : : "r"(deep) : "memory");
	return weir_yield();
}

static void a_coroutines_depth_shows_in_the_pools_high_water(void **state)
{
	const struct weir_coro_opts opts = { .detached = true };

	start((struct weir_coros_opts){ .coros_max = 4 });
	assert_int_equal(weir_coro_spawn(&opts, digs, NULL, NULL), 0);
	assert_int_equal(weir__worker_loop(&worker), 0);
	assert_in_range(weir__stacks_high(&worker.coros.stacks), 30000, 45000);
	stop();
}

static size_t warm_stacks(void)
{
	size_t count = 0;

	for (uint32_t i = 0; i < worker.coros.stacks.carved; i++)
		count += weir__stack_high(&worker.coros.stacks, i) > 0;
	return count;
}

/* Photon#486, #1599: pools that only grow hold gigabytes after a peak. */
static void idle_stacks_go_back_after_a_second_and_the_warm_ones_stay(void **state)
{
	const struct weir_coro_opts opts = { .detached = true };

	start((struct weir_coros_opts){ .coros_max = 500, .stacks_warm = 10 });
	weir__worker_hold(&worker);
	for (int i = 0; i < 500; i++)
		assert_int_equal(weir_coro_spawn(&opts, digs, NULL, NULL), 0);
	for (int i = 0; i < 100; i++)
		weir__worker_turn(&worker, 0);
	assert_int_equal(worker.coros.count, 0);
	assert_int_equal(warm_stacks(), 500);
	while (worker.wheel.count)
		assert_int_equal(weir__worker_turn(&worker, WEIR_NEVER), 0);
	assert_in_range(fake.now_ns, 2 * WEIR_S, 12 * WEIR_S);
	assert_int_equal(warm_stacks(), 10);
	assert_true(worker.coros.stacks.high >= 30000);
	assert_true(weir__stacks_high(&worker.coros.stacks) >= 30000);
	for (int i = 0; i < 500; i++)
		assert_int_equal(weir_coro_spawn(&opts, digs, NULL, NULL), 0);
	weir__worker_release(&worker);
	assert_int_equal(weir__worker_loop(&worker), 0);
	stop();
}

static void stacks_in_use_within_the_period_are_not_trimmed(void **state)
{
	const struct weir_stacks_opts opts = { .count_max = 8, .stack_size = 16 * KIB,
					       .warm_count = 1 };
	struct weir_stacks stacks;
	uint32_t index[8];

	assert_int_equal(weir__stacks_init(&stacks, &opts), 0);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(weir__stacks_get(&stacks, &index[i]), 0);
		*weir__stack_low(&stacks, index[i]) = 1;
	}
	for (int i = 0; i < 8; i++)
		weir__stacks_put(&stacks, index[i]);
	assert_int_equal(weir__stacks_trim(&stacks, 8), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(weir__stacks_get(&stacks, &index[i]), 0);
	for (int i = 0; i < 5; i++)
		weir__stacks_put(&stacks, index[i]);
	assert_int_equal(weir__stacks_trim(&stacks, 2), 2);
	assert_int_equal(weir__stacks_trim(&stacks, 8), 5);
	assert_int_equal(weir__stacks_trim(&stacks, 8), 0);
	assert_int_equal(stacks.cold_count, 7);
	weir__stacks_fini(&stacks);
}

/* --- overflow --- */

static __attribute__((noinline)) int recurse(volatile int depth)
{
	volatile char frame[1000];

	frame[0] = (char)depth;
	if (depth == 0)
		return 0;
	return recurse(depth - 1) + frame[0];
}

static int overflows(void *arg)
{
	return recurse(1000000);
}

static int touches_nothing(void *arg)
{
	return *(volatile int *)arg;
}

static int touches_anothers_guard(void *arg)
{
	return weir__stack_low(&worker.coros.stacks, 0)[-1];
}

typedef void (*fault_fn)(int signal, siginfo_t *info, void *ucontext);

/*
 * Runs fn in a coroutine of a child process that had the handler on_fault (NULL: none) for
 * SIGSEGV before; gives how it died and what it said.
 */
static int die(weir_coro_fn fn, bool mprotect_guards, fault_fn on_fault, char *said, size_t size)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	const struct weir_coro_opts opts = { .name = "deep thought", .detached = true };
	int fds[2];
	int status;
	pid_t pid;
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		dup2(fds[1], STDERR_FILENO);
		if (on_fault) {
			action.sa_sigaction = on_fault;
			action.sa_flags = SA_SIGINFO;
		}
		sigaction(SIGSEGV, &action, NULL);
		start((struct weir_coros_opts){ .coros_max = 4, .stack_size = 64 * KIB,
						.mprotect_guards = mprotect_guards });
		weir_coro_spawn(&opts, parks, NULL, NULL);
		weir_coro_spawn(&opts, fn, (void *)(uintptr_t)64, NULL);
		weir__worker_loop(&worker);
		_exit(99);
	}
	assert_true(pid > 0);
	close(fds[1]);
	for (*said = '\0'; (n = read(fds[0], said, size - 1)) > 0; size -= (size_t)n) {
		said += n;
		*said = '\0';
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void an_overflow_is_reported_by_the_coroutines_name(void **state)
{
	char said[4096];

	for (int i = 0; i < 2; i++) {
		int status = die(overflows, i, NULL, said, sizeof(said));

		assert_string_equal(said, "weir: stack overflow in coroutine 'deep thought' "
					  "(64 KiB): raise stack_size\n");
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSEGV);
	}
}

static void any_other_fault_is_not_called_an_overflow(void **state)
{
	static const weir_coro_fn faults[] = { touches_nothing, touches_anothers_guard };
	char said[4096];

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		int status = die(faults[i], false, NULL, said, sizeof(said));

		assert_string_equal(said, "");
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSEGV);
	}
}

static void say_own(int signal, siginfo_t *info, void *ucontext)
{
	if (write(STDERR_FILENO, "mine", 4) == 4)
		_exit(5);
}

static void a_handler_that_was_there_before_gets_the_other_faults(void **state)
{
	char said[4096];
	int status = die(touches_nothing, false, say_own, said, sizeof(said));

	assert_string_equal(said, "mine");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 5);
}

/* The first three fork before this process has a handler of its own. */
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_overflow_is_reported_by_the_coroutines_name),
		cmocka_unit_test(any_other_fault_is_not_called_an_overflow),
		cmocka_unit_test(a_handler_that_was_there_before_gets_the_other_faults),
		cmocka_unit_test(sizes_out_of_range_are_refused),
		cmocka_unit_test(at_the_bound_there_is_no_stack_until_one_comes_back),
		cmocka_unit_test(without_addresses_the_pool_is_smaller_and_says_why),
		cmocka_unit_test(forty_thousand_guarded_coroutines_live_at_once),
		cmocka_unit_test(
			with_guards_that_split_the_mapping_the_bound_is_lower_and_says_why),
		cmocka_unit_test(pools_share_the_mappings_that_there_are),
		cmocka_unit_test(
			the_high_water_is_what_was_touched_and_measuring_touches_nothing),
		cmocka_unit_test(a_coroutines_depth_shows_in_the_pools_high_water),
		cmocka_unit_test(idle_stacks_go_back_after_a_second_and_the_warm_ones_stay),
		cmocka_unit_test(stacks_in_use_within_the_period_are_not_trimmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
