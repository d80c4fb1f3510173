/* SPDX-License-Identifier: MIT */
/*
 * weir_core.h - the words every other header uses: errors, time, memory, version.
 *
 * Errors are values. A function that can fail returns int or ssize_t: 0 or a
 * count, or a negative errno; an operation's result is the same number that the
 * kernel's completion carried. What a number means everywhere:
 *
 *	-EAGAIN		full now; a plain (not _try) call would have waited
 *	-ENOBUFS	a hard bound was reached: raise the option that names it
 *	-ECANCELED	somebody asked this coroutine, scope or op to end
 *	-ETIMEDOUT	the deadline passed
 *	-ESHUTDOWN	the runtime, listener or pool is stopping
 *	-EPIPE		the other end is gone
 *	-EDEADLK	the call would wait for itself, or waits outside a coroutine
 *	-EPROTO		a contract between two sides was broken
 *	-EINVAL		an argument is out of its documented range
 *	-EBUSY		the object is in a state in which this call is not allowed
 *	-ENOSYS		this kernel lacks what the call needs: `weir doctor` says what
 *	-ENOMEM		memory; only from calls that create something
 *
 * A header lists what a function adds to these. Ownership moves on success only:
 * whatever was passed to a call that failed is still the caller's.
 *
 * Threads: an object belongs to the worker (core) that made it, and every
 * function is to be called there unless its comment says "any thread".
 */
#ifndef WEIR_CORE_H
#define WEIR_CORE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_API __attribute__((visibility("default")))

/* Durations, in nanoseconds: 50 * WEIR_MS. */
#define WEIR_US INT64_C(1000)
#define WEIR_MS INT64_C(1000000)
#define WEIR_S INT64_C(1000000000)

/* As a deadline: wait without limit (a coroutine's own deadline still counts). */
#define WEIR_NEVER INT64_MAX

/* The struct that holds member, from a pointer to member. */
#define weir_container_of(ptr, type, member)                                                      \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/*
 * Memory for everything the library keeps. size and the old size are bytes;
 * align is a power of two, at least 16 is always given. alloc returns NULL when
 * it has none. Called from every worker at once: the functions must be
 * thread-safe. No hot path calls them per operation.
 */
struct weir_allocator {
	void *(*alloc)(void *arg, size_t size, size_t align);
	void (*free)(void *arg, void *ptr, size_t size);
	void *arg;
};

/*
 * Replaces the allocator (aligned_alloc and free by default). Call it before
 * anything else of the library, from one thread; what was allocated through the
 * old one must be gone. NULL restores the default. The struct is copied.
 * Returns 0, or -EINVAL when a function is NULL.
 */
WEIR_API int weir_set_allocator(const struct weir_allocator *allocator);

/*
 * The library's clock, in nanoseconds: monotonic, read once a turn of the
 * worker, so it costs a load; virtual under the simulated kernel. It lags behind
 * weir_clock() by the age of the turn. Outside a worker it reads the clock.
 * Any thread.
 */
WEIR_API int64_t weir_now(void);

/* The same clock read now, about 20 ns. Any thread. */
WEIR_API int64_t weir_clock(void);

/*
 * The deadline ns nanoseconds from now; WEIR_NEVER when it would overflow or ns
 * is WEIR_NEVER; a negative ns is a deadline already passed. Any thread.
 */
WEIR_API int64_t weir_in(int64_t ns);

/* 64 random bits from the runtime's source: seeded under the simulated kernel. Any thread. */
WEIR_API uint64_t weir_random(void);

/* The version of the library that is linked, "major.minor.patch". Any thread. */
WEIR_API const char *weir_version(void);

#ifdef __cplusplus
}
#endif

#endif
