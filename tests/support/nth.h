/* SPDX-License-Identifier: MIT */
/*
 * nth.h - the same scenario again and again, in which the first, second, third ... allocation or
 * kernel call fails, until it ends without having come so far. (SQLite calls these "anomaly
 * tests": https://www.sqlite.org/testing.html.)
 *
 *	static int scenario(void *arg) { ... return r; }	0, or a negative errno
 *
 *	nth_allocations("files", scenario, NULL);
 *	nth_calls("files", FAULT_SQE, scenario, NULL);
 *
 * Whatever fails, each run ends with success or an error, and leaves no byte, no descriptor and
 * no mapping behind. It does not hang: waiting calls in a scenario have a deadline (nth_in()),
 * -ETIMEDOUT counts as a hang, and an alarm ends what waits for ever. A run that dies says which
 * it was.
 */
#ifndef WEIR_TESTS_NTH_H
#define WEIR_TESTS_NTH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/weir_coro.h"

#define NTH_RUNS_MAX 20000
#define NTH_ALARM_S 20
#define NTH_WAIT_NS (8 * WEIR_S)
#define NTH_PATIENCE_NS (20 * WEIR_MS)

typedef int (*nth_fn)(void *arg);

static struct {
	/* Memory. */
	uint64_t at;		/* the Nth allocation fails; 0: none */
	bool sticky;		/* and all after it */
	uint64_t count;		/* atomic, as are the next two */
	unsigned hits;
	int64_t bytes;		/* that were not freed */
	/* What runs now: for those who look at what died. */
	char run[160];
	unsigned runs;
} nth;

/* --- memory --- */

static void *nth_alloc(void *arg, size_t size, size_t align)
{
	uint64_t n = __atomic_add_fetch(&nth.count, 1, __ATOMIC_RELAXED);
	void *ptr;

	(void)arg;
	if (nth.at && (n == nth.at || (n > nth.at && nth.sticky))) {
		__atomic_add_fetch(&nth.hits, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	ptr = aligned_alloc(align, (size + align - 1) & ~(align - 1));
	if (ptr)
		__atomic_add_fetch(&nth.bytes, (int64_t)size, __ATOMIC_RELAXED);
	return ptr;
}

static void nth_free(void *arg, void *ptr, size_t size)
{
	(void)arg;
	__atomic_sub_fetch(&nth.bytes, (int64_t)size, __ATOMIC_RELAXED);
	free(ptr);
}

/* --- what may be left behind --- */

struct nth_state {
	int64_t bytes;
	unsigned fds;
	size_t mapped;
};

static inline unsigned nth_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static inline struct nth_state nth_look(void)
{
	return (struct nth_state){
		.bytes = __atomic_load_n(&nth.bytes, __ATOMIC_RELAXED),
		.fds = nth_count_fds(),
#ifdef WEIR_TESTS_FAULT_KERNEL_H
		.mapped = __atomic_load_n(&fault.mapped, __ATOMIC_RELAXED),
#endif
	};
}

/* --- dying --- */

static void nth_say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(3);
}

static void nth_died(int sig)
{
	nth_say(sig == SIGALRM ? "a run that does not end: " : "a run that died: ");
	nth_say(nth.run);
#ifdef WEIR_TESTS_FAULT_KERNEL_H
	nth_say(fault.what);
#endif
	nth_say("\n");
	signal(SIGABRT, SIG_DFL);
	if (sig == SIGALRM)
		abort();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* The absolute deadline that waiting calls of a scenario have. */
static inline int64_t nth_in(void)
{
	return weir_in(NTH_WAIT_NS);
}

/* --- one run --- */

static inline void nth_check(const struct nth_state *before, bool struck, int r)
{
	struct nth_state after = nth_look();

	if (after.bytes != before->bytes)
		fail_msg("%lld bytes leaked: %s", (long long)(after.bytes - before->bytes),
			 nth.run);
	if (after.fds != before->fds)
		fail_msg("%d descriptors leaked: %s", (int)(after.fds - before->fds), nth.run);
	if (after.mapped != before->mapped)
		fail_msg("%zu mapped bytes leaked: %s", after.mapped - before->mapped, nth.run);
	if (r == -ETIMEDOUT)
		fail_msg("waited in vain: %s", nth.run);
	if (r > 0 || (r < 0 && !struck))
		fail_msg("ended with %d: %s", r, nth.run);
}

static inline int nth_run(nth_fn fn, void *arg)
{
	int r;

	alarm(NTH_ALARM_S);
	r = fn(arg);
	alarm(0);
	nth.runs++;
	return r;
}

/* What is made once and kept (a registry's table) is made by a first run. Returns what is kept. */
static inline struct nth_state nth_begin(const char *name, nth_fn fn, void *arg)
{
	const struct weir_allocator allocator = { .alloc = nth_alloc, .free = nth_free };
	struct nth_state state;

	memset(&nth, 0, sizeof(nth));
	signal(SIGALRM, nth_died);
	signal(SIGABRT, nth_died);
	signal(SIGSEGV, nth_died);
	snprintf(nth.run, sizeof(nth.run), "%s, nothing fails", name);
	assert_int_equal(weir_set_allocator(&allocator), 0);
	assert_int_equal(nth_run(fn, arg), 0);
	state = nth_look();
	nth_check(&state, false, nth_run(fn, arg));
	return state;
}

/* What is kept goes back to the default allocator, which frees in the same way. */
static inline void nth_end(void)
{
	print_message("%s: %u runs\n", nth.run, nth.runs);
	assert_int_equal(weir_set_allocator(NULL), 0);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
}

/* --- the series --- */

static inline void nth_allocations_how(const char *name, bool sticky, nth_fn fn, void *arg)
{
	struct nth_state state = nth_begin(name, fn, arg);
	unsigned hits;
	uint64_t n = 0;
	int r;

	do {
		assert_true(++n < NTH_RUNS_MAX);
		nth.at = n;
		nth.sticky = sticky;
		nth.count = 0;
		nth.hits = 0;
		snprintf(nth.run, sizeof(nth.run), "%s, allocation %llu%s fails", name,
			 (unsigned long long)n, sticky ? " and every later one" : "");
		r = nth_run(fn, arg);
		hits = nth.hits;
		nth_check(&state, hits, r);
	} while (hits);
	assert_true(n > 1);
	nth_end();
}

/* Each allocation of fn(arg) fails once, then each with all after it. */
static inline void nth_allocations(const char *name, nth_fn fn, void *arg)
{
	nth_allocations_how(name, false, fn, arg);
	nth_allocations_how(name, true, fn, arg);
}

#ifdef WEIR_TESTS_FAULT_KERNEL_H

/*
 * Joins coro. Where everything goes on failing a peer may wait for what never comes, and that is no
 * hang: it is cancelled after a while.
 */
static inline int nth_join(struct weir_coro *coro)
{
	int res = 0;

	weir_coro_shield();
	while (weir_coro_join(coro, weir_in(NTH_PATIENCE_NS), &res) == -ETIMEDOUT)
		if (fault.sticky && __atomic_load_n(&fault.hits, __ATOMIC_RELAXED))
			weir_coro_cancel(coro);
	weir_coro_unshield();
	return res;
}

static inline void nth_calls_how(const char *name, enum fault_kind kind, bool sticky,
				 unsigned variant, nth_fn fn, void *arg)
{
	static const char *const kinds[] = {
		[FAULT_CALL] = "call",	 [FAULT_SQE] = "operation", [FAULT_ENTER] = "enter",
		[FAULT_SHORT] = "short", [FAULT_WAKE] = "wake",
	};
	struct nth_state state;
	uint64_t n = 0;
	int r;

	fault_install();
	state = nth_begin(name, fn, arg);
	do {
		assert_true(++n < NTH_RUNS_MAX);
		fault_plan(kind, n, sticky, variant);
		snprintf(nth.run, sizeof(nth.run), "%s, %s %llu%s, variant %u", name,
			 kinds[kind], (unsigned long long)n, sticky ? " and every later one" : "",
			 variant);
		r = nth_run(fn, arg);
		snprintf(nth.run + strlen(nth.run), sizeof(nth.run) - strlen(nth.run), " (%s)",
			 fault.what);
		nth_check(&state, fault.hits, r);
	} while (fault.hits);
	nth_end();
	fault_remove();
}

/*
 * Each call of kind fails once, with each errno that is plausible; operations and calls also
 * with all after it.
 */
static inline void nth_calls(const char *name, enum fault_kind kind, nth_fn fn, void *arg)
{
	for (unsigned variant = 0; variant < FAULT_VARIANTS; variant++) {
		nth_calls_how(name, kind, false, variant, fn, arg);
		if (kind == FAULT_SHORT || kind == FAULT_WAKE)
			break;
	}
	if (kind == FAULT_CALL || kind == FAULT_SQE || kind == FAULT_SHORT)
		nth_calls_how(name, kind, true, 0, fn, arg);
}

#endif

#endif
