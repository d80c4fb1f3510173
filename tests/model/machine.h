/* SPDX-License-Identifier: MIT */
/*
 * machine.h - runs the threads of a model, as fibers, along an execution graph.
 *
 * machine_replay() starts them anew and lets each run until it asks for an access that the graph
 * does not hold yet; the explorer adds the event and lets that thread go on. A read waits for
 * its write, so what runs is an order that agrees with the graph, and plain memory holds what
 * the graph says that it does, unless there is a race (races.h).
 */
#ifndef WEIR_TESTS_MODEL_MACHINE_H
#define WEIR_TESTS_MODEL_MACHINE_H

#include "tests/model/graph.h"

#define MACHINE_WORDS_MAX 128

/* An atomic access, as far as its thread knows it. */
struct access {
	enum model_op op;
	int order;
	int failure_order;	/* of a compare-and-exchange */
	unsigned size;
	uint64_t (*change)(uint64_t old, uint64_t operand);	/* a read-modify-write's */
	bool is_compare;	/* changes only when the word is expected */
	bool is_await;		/* blocks its thread while the word is expected */
	bool is_lock;		/* blocks its thread unless the word is expected */
	uint64_t expected;
	uint64_t operand;
};

struct word {
	const void *ptr;
	unsigned size;
	uint64_t first_value;
	bool is_known;		/* first_value is this execution's */
};

enum machine_state { MACHINE_RUNS, MACHINE_WANTS_EVENT, MACHINE_WANTS_WRITE, MACHINE_BLOCKED,
		     MACHINE_ENDED };

extern struct machine {
	const struct model *model;
	const struct model_weakening *weakening;
	struct model_result *result;
	struct graph *graph;
	char *error;			/* MODEL_ERROR_SIZE; "" while there is none */
	struct word words[MACHINE_WORDS_MAX];
	unsigned word_count;
} machine;

/* Runs every thread to the end of graph. False: there is an error. */
bool machine_replay(const struct model *model, struct graph *graph);

/* The event that thread wants to add: all but from or rank is set. Of MACHINE_WANTS_*. */
enum machine_state machine_state(unsigned thread);
void machine_wanted(unsigned thread, struct event *ret_event);

/* thread's wanted event was added: it runs until it wants the next. False: there is an error. */
bool machine_go_on(unsigned thread);

/* Nobody runs any more. False: there is an error, or the model's check found one. */
bool machine_end(void);

/* Whether each blocked thread waits for more than what it will ever see. */
bool machine_is_stuck(void);

/* Appends what happened so far to the error. */
void machine_describe(void);

/* --- for hooks.c; on a model's thread --- */

/* Whether a model's thread runs, and not the checker, setup() or check(). */
bool machine_is_thread(void);

/* Returns what was in the word; of a load, what it is. */
uint64_t machine_access(void *ptr, struct access access);

/* A plain access, which is about to happen. */
void machine_plain(const void *ptr, unsigned size, bool is_write);

/* The thread read a word that it waits to see changed: it goes on in another execution. */
void machine_block(void);

/* What a word is to check() and to plain reads. */
uint64_t machine_final(const struct word *word);

const struct word *machine_find(const void *ptr);

const char *machine_name(const void *ptr);

void machine_error(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
