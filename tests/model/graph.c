/* SPDX-License-Identifier: MIT */
/*
 * graph.c - clocks, coherence, atomicity and the order of seq_cst events, for one event
 * that was added to a graph which was right before.
 *
 * The event is the last of its thread and nothing depends on it, so nothing happens after it:
 * it can break the rules only by itself, and a cycle in the seq_cst order goes through it.
 */
#include "tests/model/graph.h"

#include <assert.h>
#include <string.h>

/* --- clocks --- */

static void join(struct clock *clock, const struct clock *other)
{
	for (unsigned i = 0; i < MODEL_THREADS_MAX; i++)
		if (clock->of[i] < other->of[i])
			clock->of[i] = other->of[i];
}

const struct event *graph_last(const struct graph *graph, unsigned thread, unsigned end)
{
	while (end--)
		if (graph->events[end].thread == thread)
			return &graph->events[end];
	return NULL;
}

static void read_clocks(const struct graph *graph, struct event *read)
{
	const struct event *write;

	if (read->from == GRAPH_INIT)
		return;
	write = &graph->events[read->from];
	join(&read->porf, &write->porf);
	if (read->porf.of[write->thread] <= write->index)
		read->porf.of[write->thread] = write->index + 1;
	if (graph_is_acquire(graph_order(graph, read)))
		join(&read->hb, &write->release);
}

/* A read-modify-write goes on with the release sequence of what it read. */
static void write_clocks(const struct graph *graph, struct event *write)
{
	const struct event *read;

	memset(&write->release, 0, sizeof(write->release));
	if (graph_is_release(write->order)) {
		write->release = write->hb;
		write->release.of[write->thread] = write->index + 1;
	}
	if (!write->is_rmw)
		return;
	read = &graph->events[write->from];
	if (read->from != GRAPH_INIT)
		join(&write->release, &graph->events[read->from].release);
}

void graph_set_clocks(struct graph *graph, unsigned id, const struct event *previous)
{
	struct event *event = &graph->events[id];

	memset(&event->hb, 0, sizeof(event->hb));
	memset(&event->porf, 0, sizeof(event->porf));
	if (previous) {
		event->hb = previous->hb;
		event->porf = previous->porf;
	}
	event->hb.of[event->thread] = event->index;
	event->porf.of[event->thread] = event->index;
	if (event->kind == EVENT_READ)
		read_clocks(graph, event);
	else
		write_clocks(graph, event);
}

unsigned graph_append(struct graph *graph, const struct event *event)
{
	unsigned id = graph->count++;

	assert(id < GRAPH_EVENTS_MAX);
	graph->events[id] = *event;
	graph_set_clocks(graph, id, graph_last(graph, event->thread, id));
	return id;
}

/* --- coherence and atomicity --- */

/* The highest rank that what happens before event has written or read. */
static unsigned rank_seen(const struct graph *graph, const struct event *event)
{
	unsigned max = 0;

	for (unsigned i = 0; i < graph->count; i++) {
		const struct event *other = &graph->events[i];
		unsigned rank;

		if (other == event || other->word != event->word ||
		    !graph_happens_before(other, event))
			continue;
		rank = other->kind == EVENT_READ ? graph_rank_read(graph, other) : other->rank;
		if (rank > max)
			max = rank;
	}
	return max;
}

bool graph_is_coherent_read(const struct graph *graph, const struct event *read)
{
	return rank_seen(graph, read) <= graph_rank_read(graph, read);
}

unsigned graph_ranks(const struct graph *graph, const struct event *write, unsigned *ret_min)
{
	unsigned max = 1;

	if (write->is_rmw) {
		*ret_min = graph_rank_read(graph, &graph->events[write->from]) + 1;
		return rank_seen(graph, write) < *ret_min ? *ret_min : 0;
	}
	for (unsigned i = 0; i < graph->count; i++) {
		const struct event *other = &graph->events[i];

		if (other != write && other->kind == EVENT_WRITE && other->word == write->word)
			max++;
	}
	*ret_min = rank_seen(graph, write) + 1;
	return max;
}

bool graph_is_atomic(const struct graph *graph, const struct event *write, unsigned rank)
{
	for (unsigned i = 0; i < graph->count; i++) {
		const struct event *other = &graph->events[i];

		if (other != write && other->kind == EVENT_WRITE && other->word == write->word &&
		    other->rank == rank)
			return !other->is_rmw;
	}
	return true;
}

static void shift(struct graph *graph, const struct event *write, unsigned from, int by)
{
	for (unsigned i = 0; i < graph->count; i++) {
		struct event *other = &graph->events[i];

		if (other != write && other->kind == EVENT_WRITE && other->word == write->word &&
		    other->rank >= from)
			other->rank = (uint16_t)(other->rank + by);
	}
}

void graph_place(struct graph *graph, unsigned id, unsigned rank)
{
	shift(graph, &graph->events[id], rank, 1);
	graph->events[id].rank = (uint16_t)rank;
}

void graph_displace(struct graph *graph, unsigned id)
{
	unsigned rank = graph->events[id].rank;

	graph->events[id].rank = GRAPH_NO_RANK;
	shift(graph, &graph->events[id], rank + 1, -1);
}

/* --- the order of seq_cst events --- */

#define NONE UINT16_MAX

/* For each event, in its thread: the nearest of another word. */
static uint16_t next_other[GRAPH_EVENTS_MAX];	/* an index in the thread */
static uint16_t last_other[GRAPH_EVENTS_MAX];	/* an id */

static void find_others(const struct graph *graph)
{
	uint16_t near[MODEL_THREADS_MAX];
	unsigned i;

	memset(near, 0xff, sizeof(near));
	for (i = 0; i < graph->count; i++) {
		const struct event *event = &graph->events[i];
		uint16_t last = near[event->thread];

		if (last != NONE && graph->events[last].word == event->word)
			last = last_other[last];
		last_other[i] = last;
		near[event->thread] = (uint16_t)i;
	}
	memset(near, 0xff, sizeof(near));
	while (i--) {
		const struct event *event = &graph->events[i];
		uint16_t next = near[event->thread];

		if (next == NONE)
			next_other[i] = NONE;
		else if (graph->events[next].word == event->word)
			next_other[i] = next_other[next];
		else
			next_other[i] = graph->events[next].index;
		near[event->thread] = (uint16_t)i;
	}
}

/* RC11's scb between two seq_cst events. */
static bool comes_before(const struct graph *graph, unsigned before, unsigned after)
{
	const struct event *a = &graph->events[before];
	const struct event *b = &graph->events[after];

	if (a->thread == b->thread)
		return a->index < b->index;
	if (a->word == b->word) {
		unsigned rank = a->kind == EVENT_READ ? graph_rank_read(graph, a) : a->rank;

		if (b->kind == EVENT_WRITE && rank < b->rank)
			return true;
		return graph_happens_before(a, b);
	}
	/* Not every happens-before counts: it must leave and arrive over other words. */
	return next_other[before] != NONE && last_other[after] != NONE &&
	       graph->events[last_other[after]].hb.of[a->thread] > next_other[before];
}

bool graph_is_ordered(const struct graph *graph, unsigned id)
{
	static uint16_t reached[GRAPH_EVENTS_MAX];
	static bool is_reached[GRAPH_EVENTS_MAX];
	unsigned count = 0;

	if (graph_order(graph, &graph->events[id]) != __ATOMIC_SEQ_CST)
		return true;
	find_others(graph);
	memset(is_reached, 0, graph->count * sizeof(is_reached[0]));
	reached[count++] = (uint16_t)id;
	for (unsigned i = 0; i < count; i++) {
		for (unsigned j = 0; j < graph->count; j++) {
			if (is_reached[j] || j == reached[i] ||
			    graph_order(graph, &graph->events[j]) != __ATOMIC_SEQ_CST ||
			    !comes_before(graph, reached[i], j))
				continue;
			if (j == id)
				return false;
			is_reached[j] = true;
			reached[count++] = (uint16_t)j;
		}
	}
	return true;
}
