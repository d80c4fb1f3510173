/* SPDX-License-Identifier: MIT */
/*
 * model.h - every execution that C11 allows of a few threads that run real code.
 *
 * A model is up to four small threads. What they call is compiled with -fsanitize=thread, and
 * so calls __tsan_*() for each access to memory: here those functions belong to a checker
 * (hooks.c) instead of to ThreadSanitizer. Atomic accesses become events of an execution graph
 * (graph.h), and the checker runs the threads again and again, once for each graph that the
 * memory model allows (explore.h): every value that a load may see under its memory order,
 * not only those that this processor shows. Plain accesses are checked for races, which the
 * memory model leaves undefined.
 *
 *	model_explore(&model, NULL, &result);
 *	assert_null(result.error);
 *
 * Found, and reported with the whole execution: a data race, model_fail(), a failed
 * weir_assert(), and threads that all wait for what nobody will write any more.
 *
 * What threads of a model may do: anything that is deterministic but for what atomics give it.
 * No fences, no accesses of two sizes to one atomic: the checker ends the program on these.
 */
#ifndef WEIR_TESTS_MODEL_H
#define WEIR_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_THREADS_MAX 4
#define MODEL_ERROR_SIZE 8192
#define MODEL_SITES_MAX 64

enum model_op { MODEL_LOAD, MODEL_STORE, MODEL_RMW };

/* The kind of access that a weakening changes, and the order that it gets instead. */
struct model_site {
	const char *name;	/* of the word, as model_name() said */
	enum model_op op;
	int order;		/* __ATOMIC_*, as the code says */
};

struct model_weakening {
	struct model_site site;
	int order;
};

/* Ends a list of weakenings. */
#define MODEL_END { { NULL, MODEL_LOAD, 0 }, 0 }

struct model {
	const char *name;
	unsigned threads;
	void (*setup)(void);			/* before each execution, on no thread */
	void (*run[MODEL_THREADS_MAX])(void);
	void (*check)(void);			/* after each; NULL: nothing to look at */
};

struct model_result {
	const char *error;		/* NULL: none; valid until the next model_explore() */
	uint64_t executions;		/* graphs in which every thread ended */
	uint64_t blocked;		/* in which one waits for what it would see later */
	uint64_t graphs;		/* tried, with those that turned out impossible */
	unsigned events_max;		/* atomic accesses in one execution */
	double seconds;
	unsigned site_count;
	struct model_site sites[MODEL_SITES_MAX];	/* every kind of access that was made */
};

/* weakening: NULL, or what to weaken. */
void model_explore(const struct model *model, const struct model_weakening *weakening,
		   struct model_result *result);

/* --- in setup() --- */

/* Memory for one execution, filled with nonsense. */
void *model_alloc(size_t size);

/* Errors and sites call the word at ptr so. Needs not be unique: fields of an array share one. */
void model_name(const void *ptr, const char *name);

/* --- on a model's threads --- */

unsigned model_thread(void);

__attribute__((noreturn, format(printf, 1, 2))) void model_fail(const char *format, ...);

#define model_assert(x)                                                                           \
	do {                                                                                      \
		if (!(x))                                                                         \
			model_fail("%s:%d: %s", __FILE__, __LINE__, #x);                          \
	} while (0)

/*
 * Waits until the word is not value, and returns what it is; order is of the load that sees
 * it. Nobody writing it any more is an error.
 */
uint32_t model_await_not(uint32_t *word, uint32_t value, int order);

/* Atomic accesses whose orders are known at run time only. The last two give what was there. */
uint32_t model_load(uint32_t *word, int order);
void model_store(uint32_t *word, uint32_t value, int order);
uint32_t model_add(uint32_t *word, uint32_t value, int order);
uint32_t model_compare(uint32_t *word, uint32_t expected, uint32_t value, int order,
		       int failure_order);

/* What an atomic word is at the end. In check() only. */
uint64_t model_final(const void *ptr);

#endif
