/* SPDX-License-Identifier: MIT */
/*
 * hooks.c - what -fsanitize=thread makes of accesses to memory, answered by the checker.
 *
 * The functions are those of ThreadSanitizer's runtime, which is not linked. Outside a model's
 * threads accesses are what they always are, except that a word's value at the end is in the
 * graph and not in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ensure.h"
#include "tests/model/machine.h"

/* --- plain accesses --- */

#define PLAIN(name, size, is_write)                                                               \
	void __tsan_##name(void *ptr);                                                            \
	void __tsan_##name(void *ptr)                                                             \
	{                                                                                         \
		if (machine_is_thread())                                                          \
			machine_plain(ptr, size, is_write);                                       \
	}
#define PLAIN_SIZE(size)                                                                          \
	PLAIN(read##size, size, false)                                                            \
	PLAIN(write##size, size, true)                                                            \
	PLAIN(volatile_read##size, size, false)                                                   \
	PLAIN(volatile_write##size, size, true)                                                   \
	PLAIN(unaligned_read##size, size, false)                                                  \
	PLAIN(unaligned_write##size, size, true)

PLAIN_SIZE(1)
PLAIN_SIZE(2)
PLAIN_SIZE(4)
PLAIN_SIZE(8)
PLAIN_SIZE(16)

#define RANGE(name, is_write)                                                                     \
	void __tsan_##name(void *ptr, size_t size);                                               \
	void __tsan_##name(void *ptr, size_t size)                                                \
	{                                                                                         \
		if (machine_is_thread())                                                          \
			machine_plain(ptr, (unsigned)size, is_write);                             \
	}

RANGE(read_range, false)
RANGE(write_range, true)

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

/* --- atomic accesses --- */

static uint64_t set(uint64_t old, uint64_t operand)
{
	(void)old;
	return operand;
}

static uint64_t add(uint64_t old, uint64_t operand)
{
	return old + operand;
}

static uint64_t sub(uint64_t old, uint64_t operand)
{
	return old - operand;
}

static uint64_t and(uint64_t old, uint64_t operand)
{
	return old & operand;
}

static uint64_t or(uint64_t old, uint64_t operand)
{
	return old | operand;
}

static uint64_t xor(uint64_t old, uint64_t operand)
{
	return old ^ operand;
}

/* Values are as wide as the word; on no thread memory is brought up to date first. */
static uint64_t access_word(void *ptr, struct access access)
{
	uint64_t mask = access.size == 8 ? UINT64_MAX : (1ull << access.size * 8) - 1;
	const struct word *word;
	uint64_t old = 0;
	uint64_t now;

	access.order &= 0xff;
	access.operand &= mask;
	access.expected &= mask;
	if (machine_is_thread())
		return machine_access(ptr, access);
	word = machine_find(ptr);
	memcpy(&old, ptr, access.size);
	if (word && word->is_known)
		old = machine_final(word);
	if (access.op == MODEL_LOAD || (access.is_compare && old != access.expected))
		return old;
	now = access.op == MODEL_STORE ? access.operand : access.change(old, access.operand);
	memcpy(ptr, &now, access.size);
	return old;
}

#define RMW(bits, name, how)                                                                      \
	uint##bits##_t __tsan_atomic##bits##_##name(void *ptr, uint##bits##_t value, int order);  \
	uint##bits##_t __tsan_atomic##bits##_##name(void *ptr, uint##bits##_t value, int order)   \
	{                                                                                         \
		struct access access = { .op = MODEL_RMW, .order = order, .size = bits / 8,       \
					 .change = how, .operand = value };                       \
		return (uint##bits##_t)access_word(ptr, access);                                  \
	}

#define COMPARE(bits, name)                                                                       \
	int __tsan_atomic##bits##_##name(void *ptr, uint##bits##_t *expected,                     \
					 uint##bits##_t value, int order, int failure_order);     \
	int __tsan_atomic##bits##_##name(void *ptr, uint##bits##_t *expected,                     \
					 uint##bits##_t value, int order, int failure_order)      \
	{                                                                                         \
		struct access access = { .op = MODEL_RMW, .order = order,                         \
					 .failure_order = failure_order & 0xff,                   \
					 .size = bits / 8, .change = set, .is_compare = true,     \
					 .expected = *expected, .operand = value };               \
		uint##bits##_t old = (uint##bits##_t)access_word(ptr, access);                    \
		int is_same = old == *expected;                                                   \
		*expected = old;                                                                  \
		return is_same;                                                                   \
	}

#define ATOMIC(bits)                                                                              \
	uint##bits##_t __tsan_atomic##bits##_load(void *ptr, int order);                          \
	uint##bits##_t __tsan_atomic##bits##_load(void *ptr, int order)                           \
	{                                                                                         \
		struct access access = { .op = MODEL_LOAD, .order = order, .size = bits / 8 };    \
		return (uint##bits##_t)access_word(ptr, access);                                  \
	}                                                                                         \
	void __tsan_atomic##bits##_store(void *ptr, uint##bits##_t value, int order);             \
	void __tsan_atomic##bits##_store(void *ptr, uint##bits##_t value, int order)              \
	{                                                                                         \
		struct access access = { .op = MODEL_STORE, .order = order, .size = bits / 8,     \
					 .operand = value };                                      \
		access_word(ptr, access);                                                         \
	}                                                                                         \
	RMW(bits, exchange, set)                                                                  \
	RMW(bits, fetch_add, add)                                                                 \
	RMW(bits, fetch_sub, sub)                                                                 \
	RMW(bits, fetch_and, and)                                                                 \
	RMW(bits, fetch_or, or)                                                                   \
	RMW(bits, fetch_xor, xor)                                                                 \
	COMPARE(bits, compare_exchange_strong)                                                    \
	COMPARE(bits, compare_exchange_weak)                                                      \
	/* Clang's: gives what was there. */                                                      \
	uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                \
		void *ptr, uint##bits##_t expected, uint##bits##_t value, int order, int failed); \
	uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                \
		void *ptr, uint##bits##_t expected, uint##bits##_t value, int order, int failed)  \
	{                                                                                         \
		__tsan_atomic##bits##_compare_exchange_strong(ptr, &expected, value, order,       \
							      failed);                            \
		return expected;                                                                  \
	}

ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
	(void)order;
	if (machine_is_thread())
		machine_error("a fence: the checker knows none");
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

uint32_t model_load(uint32_t *word, int order)
{
	return __tsan_atomic32_load(word, order);
}

void model_store(uint32_t *word, uint32_t value, int order)
{
	__tsan_atomic32_store(word, value, order);
}

uint32_t model_add(uint32_t *word, uint32_t value, int order)
{
	return __tsan_atomic32_fetch_add(word, value, order);
}

uint32_t model_compare(uint32_t *word, uint32_t expected, uint32_t value, int order,
		       int failure_order)
{
	__tsan_atomic32_compare_exchange_strong(word, &expected, value, order, failure_order);
	return expected;
}

/* --- what waits --- */

uint32_t model_await_not(uint32_t *word, uint32_t value, int order)
{
	struct access access = { .op = MODEL_LOAD, .order = order, .size = sizeof(*word),
				 .is_await = true, .expected = value };

	return (uint32_t)access_word(word, access);
}

/* A loop around it has no other effect: it ends in the execution whose last load is another. */
int sched_yield(void);
int sched_yield(void)
{
	if (machine_is_thread())
		machine_block();
	return 0;
}

void weir__assert_failed(const char *what, const char *file, int line)
{
	if (machine_is_thread())
		machine_error("%s:%d: weir_assert(%s)", file, line, what);
	fprintf(stderr, "%s:%d: weir_assert(%s)\n", file, line, what);
	abort();
}
