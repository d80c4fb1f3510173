/* SPDX-License-Identifier: MIT */
/*
 * graph.h - an execution as the C11 memory model sees it, and what the model allows.
 *
 * Events are the atomic accesses of all threads. A read knows the write it reads from, a write
 * its place (rank) among the writes of its word. A read-modify-write is two events, a read and
 * the write that follows it directly. The model is RC11 (Lahav, Vafeiadis, Kang, Hur, Dreyer:
 * "Repairing Sequential Consistency in C/C++11", PLDI 2017) without fences:
 *
 *	coherence	what happens before an access does not read or write later in the
 *			order of the word's writes than it does
 *	atomicity	nothing comes between a read-modify-write and what it read
 *	SC		the seq_cst events have a single order that agrees with the program's
 *			and with what they read and overwrite
 *	no thin air	nothing reads from its own future
 *
 * with C++20's release sequences (a later plain store of the same thread is not part of one).
 */
#ifndef WEIR_TESTS_MODEL_GRAPH_H
#define WEIR_TESTS_MODEL_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/model/model.h"

#define GRAPH_EVENTS_MAX 600
#define GRAPH_INIT (-1)		/* the write that gave a word its first value; rank 0 */
#define GRAPH_NO_RANK 0		/* of a write that has no place yet */

/* Of each thread, how many of its events. */
struct clock {
	uint16_t of[MODEL_THREADS_MAX];
};

enum { EVENT_READ, EVENT_WRITE };

struct event {
	uint8_t thread;
	uint8_t kind;
	uint8_t order;		/* __ATOMIC_* */
	uint8_t order_failed;	/* of a read that compares and finds another value */
	bool is_compare;	/* that is a read that compares */
	bool is_rmw;		/* a write that follows its read */
	uint16_t index;		/* in its thread */
	uint16_t word;
	int16_t from;		/* a read: the write; a read-modify-write's write: its read */
	uint16_t rank;		/* a write's */
	uint64_t value;		/* a write's; a read's that compares: expected */
	uint64_t first_value;	/* of a read's word */
	struct clock hb;	/* what happens before it; of its own thread, what precedes it */
	struct clock porf;	/* what it depends on: program order and reads-from */
	struct clock release;	/* a write: what its readers synchronise with */
};

/* In the order in which they were added, which agrees with the threads' program order. */
struct graph {
	unsigned count;
	struct event events[];
};

static inline bool graph_is_acquire(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME ||
	       order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static inline bool graph_is_release(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

/* Whether graph's event a happens before b. */
static inline bool graph_happens_before(const struct event *a, const struct event *b)
{
	return b->hb.of[a->thread] > a->index;
}

/* Whether b depends on a, which may not be b itself. */
static inline bool graph_depends_on(const struct event *b, const struct event *a)
{
	return b->porf.of[a->thread] > a->index;
}

static inline uint64_t graph_value_read(const struct graph *graph, const struct event *read)
{
	return read->from == GRAPH_INIT ? read->first_value : graph->events[read->from].value;
}

/* The order that an event has: of a read that compares it depends on what it reads. */
static inline int graph_order(const struct graph *graph, const struct event *event)
{
	if (event->kind == EVENT_READ && event->is_compare &&
	    graph_value_read(graph, event) != event->value)
		return event->order_failed;
	return event->order;
}

/* The rank of the write that a read reads from. */
static inline unsigned graph_rank_read(const struct graph *graph, const struct event *read)
{
	return read->from == GRAPH_INIT ? 0 : graph->events[read->from].rank;
}

/* Appends event, of which all but the clocks is set, and sets these. Returns its id. */
unsigned graph_append(struct graph *graph, const struct event *event);

/* Sets a read's or write's clocks anew; previous is its thread's event before it, or NULL. */
void graph_set_clocks(struct graph *graph, unsigned id, const struct event *previous);

/* The last event of thread before the graph's event number end, or NULL. */
const struct event *graph_last(const struct graph *graph, unsigned thread, unsigned end);

/* Whether the read, whose from and clocks are set, may read that. */
bool graph_is_coherent_read(const struct graph *graph, const struct event *read);

/* The ranks that a write, whose clocks are set, may get: from *ret_min to what is returned. */
unsigned graph_ranks(const struct graph *graph, const struct event *write, unsigned *ret_min);

/* Whether rank is not between a read-modify-write and what it read; in the range above. */
bool graph_is_atomic(const struct graph *graph, const struct event *write, unsigned rank);

/* Gives the write its rank, and one more to those that had it or a higher one. */
void graph_place(struct graph *graph, unsigned id, unsigned rank);
void graph_displace(struct graph *graph, unsigned id);

/* Whether the single order of seq_cst events exists, as far as it goes through event id. */
bool graph_is_ordered(const struct graph *graph, unsigned id);

#endif
