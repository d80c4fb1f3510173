/* SPDX-License-Identifier: MIT */
/*
 * annotate.h - tells AddressSanitizer, ThreadSanitizer and valgrind about stacks and
 * switches. Without this the first takes a foreign stack for a corrupt one, the second
 * takes coroutines for one thread with a broken call stack. Nothing in a plain build.
 */
#ifndef WEIR_CORE_ANNOTATE_H
#define WEIR_CORE_ANNOTATE_H

#include <stddef.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define WEIR__ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define WEIR__TSAN 1
#include <sanitizer/tsan_interface.h>
#endif

/*
 * For a function that is left by a switch and never returned from: ThreadSanitizer would
 * push its call and never pop it, once for every coroutine that ran on the stack.
 */
#if defined(WEIR__TSAN) && defined(__clang__)
#define WEIR__NEVER_RETURNS __attribute__((disable_sanitizer_instrumentation))
#elif defined(WEIR__TSAN)
#define WEIR__NEVER_RETURNS __attribute__((no_sanitize_thread))
#else
#define WEIR__NEVER_RETURNS
#endif

/* Memory that nothing may touch until it is unpoisoned. */
static inline void weir__notes_poison(const void *low, size_t size)
{
#ifdef WEIR__ASAN
	__asan_poison_memory_region(low, size);
#endif
	(void)low;
	(void)size;
}

static inline void weir__notes_unpoison(const void *low, size_t size)
{
#ifdef WEIR__ASAN
	__asan_unpoison_memory_region(low, size);
#endif
	(void)low;
	(void)size;
}

/* What the sanitizers keep of a stack that can be switched to. */
struct weir_notes {
#ifdef WEIR__ASAN
	const void *low; /* NULL: not known yet */
	size_t size;
	void *fake_stack;
#endif
#ifdef WEIR__TSAN
	void *fiber;
#endif
};

/* The running thread's own stack, which is about to be left. */
static inline void weir__notes_thread(struct weir_notes *thread)
{
#ifdef WEIR__TSAN
	thread->fiber = __tsan_get_current_fiber();
#else
	(void)thread;
#endif
}

/* A stack that was not run on since it was given out. */
static inline void weir__notes_fresh(struct weir_notes *notes, const void *low, size_t size,
				     void *fiber)
{
#ifdef WEIR__ASAN
	notes->low = low;
	notes->size = size;
	notes->fake_stack = NULL;
#endif
#ifdef WEIR__TSAN
	notes->fiber = fiber;
#endif
	(void)notes;
	(void)low;
	(void)size;
	(void)fiber;
}

/* Directly before a switch. from is NULL when it will never be switched to again. */
static inline __attribute__((always_inline)) void weir__notes_leave(struct weir_notes *from,
								    struct weir_notes *to)
{
#ifdef WEIR__ASAN
	__sanitizer_start_switch_fiber(from ? &from->fake_stack : NULL, to->low, to->size);
#endif
#ifdef WEIR__TSAN
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
	(void)from;
	(void)to;
}

/*
 * Directly after a switch to self. The first switch of all comes from the thread, whose stack
 * is learnt here.
 */
static inline __attribute__((always_inline)) void weir__notes_arrive(struct weir_notes *self,
								     struct weir_notes *thread)
{
#ifdef WEIR__ASAN
	const void *low;
	size_t size;

	__sanitizer_finish_switch_fiber(self->fake_stack, &low, &size);
	if (!thread->low) {
		thread->low = low;
		thread->size = size;
	}
#endif
	(void)self;
	(void)thread;
}

#endif
