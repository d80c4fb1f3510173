/* SPDX-License-Identifier: MIT */
/*
 * ensure.h - weir_assert() for what we have proof of, weir_precond() for what
 * callers promised. Both stay on in a release; neither may have side effects.
 */
#ifndef WEIR_CORE_ENSURE_H
#define WEIR_CORE_ENSURE_H

#include <assert.h>

#include "core/weir_core.h"

#define weir_likely(x) __builtin_expect(!!(x), 1)
#define weir_unlikely(x) __builtin_expect(!!(x), 0)

/* Prints the place and aborts. */
__attribute__((noreturn, cold)) void weir__assert_failed(const char *what, const char *file,
							 int line);

#define weir_assert(x)                                                                            \
	do {                                                                                      \
		if (weir_unlikely(!(x)))                                                          \
			weir__assert_failed(#x, __FILE__, __LINE__);                              \
	} while (0)

/* A caller's broken contract: aborts a debug build, is the error err in a release build. */
#ifdef WEIR_DEBUG
#define weir_precond(x, err) weir_assert(x)
#else
#define weir_precond(x, err)                                                                      \
	do {                                                                                      \
		if (weir_unlikely(!(x)))                                                          \
			return (err);                                                             \
	} while (0)
#endif

#endif
