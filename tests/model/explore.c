/* SPDX-License-Identifier: MIT */
/*
 * explore.c - every execution graph of a model, each once.
 *
 * The algorithm is TruSt (Kokologiannakis, Marmanis, Gladstein, Vafeiadis: "Truly Stateless,
 * Optimal Dynamic Partial Order Reduction", POPL 2022). Threads add events in a fixed order. A
 * read branches over the writes there are; a write branches over its places in the word's order
 * and, for the sake of reads that came too early to see it, over these: each such read, with
 * what came after it deleted unless the write depends on it, reads from the write (a revisit).
 * A revisit is made only when what it deletes was added in the one canonical way (each read the
 * latest write, each write the latest place), so no graph is reached twice, and nothing needs
 * be remembered but the graphs still to be tried.
 *
 * The canonical branch goes on at once; each other one is a copy of the graph, kept for later,
 * and begins with a replay.
 */
#include "tests/model/explore.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/model/machine.h"

#define NO_THREAD (-1)

static struct {
	struct graph **graphs;
	size_t count;
	size_t size;
} todo;

static struct graph *graph;	/* that is being tried */
static struct graph *scratch;	/* a revisit's */
static struct explore_log *visited;
static char error[MODEL_ERROR_SIZE];

/* --- graphs for later --- */

static size_t graph_size(unsigned count)
{
	return sizeof(struct graph) + count * sizeof(struct event);
}

static void keep(const struct graph *from)
{
	struct graph *copy = malloc(graph_size(from->count));

	if (todo.count == todo.size) {
		todo.size = todo.size ? todo.size * 2 : 1024;
		todo.graphs = realloc(todo.graphs, todo.size * sizeof(*todo.graphs));
	}
	if (!copy || !todo.graphs)
		abort();
	memcpy(copy, from, graph_size(from->count));
	todo.graphs[todo.count++] = copy;
}

static bool take_next(void)
{
	struct graph *next;

	if (!todo.count)
		return false;
	next = todo.graphs[--todo.count];
	memcpy(graph, next, graph_size(next->count));
	free(next);
	return true;
}

/* --- one event more --- */

/* Whether a write to the read's word; its id is a read's from. */
static bool is_source(const struct event *write, const struct event *read)
{
	return write->kind == EVENT_WRITE && write->word == read->word;
}

static bool read_from(struct graph *in, unsigned id, int from)
{
	struct event *read = &in->events[id];

	read->from = (int16_t)from;
	graph_set_clocks(in, id, graph_last(in, read->thread, id));
	return graph_is_coherent_read(in, read) && graph_is_ordered(in, id);
}

static int latest(const struct event *read)
{
	unsigned max = 0;
	int from = GRAPH_INIT;

	for (unsigned i = 0; i < graph->count; i++)
		if (is_source(&graph->events[i], read) && graph->events[i].rank > max) {
			max = graph->events[i].rank;
			from = (int)i;
		}
	return from;
}

/* Goes on with the latest write, and keeps the others that the read may see. */
static void add_read(struct event *event)
{
	int best = latest(event);
	unsigned id;
	bool ok;

	event->from = GRAPH_INIT;
	id = graph_append(graph, event);
	for (int from = GRAPH_INIT; from < (int)id; from++) {
		if (from == best || (from != GRAPH_INIT &&
				     !is_source(&graph->events[from], event)))
			continue;
		if (read_from(graph, id, from))
			keep(graph);
	}
	ok = read_from(graph, id, best);
	assert(ok);
}

/* Keeps in for each place that its last event, a write, may get; but not for_now. */
static void keep_places(struct graph *in, unsigned read, unsigned for_now)
{
	unsigned id = in->count - 1;
	unsigned min;
	unsigned max = graph_ranks(in, &in->events[id], &min);

	for (unsigned rank = min; rank <= max; rank++) {
		if (rank == for_now || !graph_is_atomic(in, &in->events[id], rank))
			continue;
		graph_place(in, id, rank);
		if (graph_is_ordered(in, id) &&
		    (read == id || (graph_is_coherent_read(in, &in->events[read]) &&
				    graph_is_ordered(in, read))))
			keep(in);
		graph_displace(in, id);
	}
}

/* --- revisits --- */

/* Whether event number i was there before event number until, or write depends on it. */
static bool is_previous(unsigned i, unsigned until, const struct event *write)
{
	return i <= until || graph_depends_on(write, &graph->events[i]);
}

/* Whether event number id was added in the canonical way, seen from a revisit by write. */
static bool is_canonical(unsigned id, const struct event *write)
{
	const struct event *event = &graph->events[id];
	int last = event->kind == EVENT_READ ? event->from : (int)id;
	unsigned rank = last == GRAPH_INIT ? 0 : graph->events[last].rank;

	if (last != GRAPH_INIT && !is_previous((unsigned)last, id, write))
		return false;
	for (unsigned i = 0; i < graph->count; i++) {
		const struct event *other = &graph->events[i];

		if (other == write || other->word != event->word || !is_previous(i, id, write))
			continue;
		if (other->kind == EVENT_WRITE && other->rank > rank)
			return false;
		if (event->kind == EVENT_WRITE && other->kind == EVENT_READ &&
		    other->from == (int)id)
			return false;
	}
	return true;
}

static bool may_revisit(unsigned read, unsigned write)
{
	const struct event *by = &graph->events[write];

	for (unsigned i = read; i < write; i++)
		if ((i == read || !graph_depends_on(by, &graph->events[i])) &&
		    !is_canonical(i, by))
			return false;
	return true;
}

/* Ranks without gaps, in the order that they have. */
static void close_ranks(struct graph *in)
{
	static uint16_t ranks[GRAPH_EVENTS_MAX];
	unsigned i;

	for (i = 0; i < in->count; i++) {
		const struct event *event = &in->events[i];

		ranks[i] = event->rank;
		if (event->kind != EVENT_WRITE || event->rank == GRAPH_NO_RANK)
			continue;
		ranks[i] = 1;
		for (unsigned j = 0; j < in->count; j++)
			if (is_source(&in->events[j], event) && in->events[j].rank &&
			    in->events[j].rank < event->rank)
				ranks[i]++;
	}
	for (i = 0; i < in->count; i++)
		in->events[i].rank = ranks[i];
}

/* scratch becomes what a revisit leaves of graph. Returns what id the read has there. */
static unsigned cut(unsigned read, unsigned write)
{
	static int16_t new_ids[GRAPH_EVENTS_MAX];
	const struct event *by = &graph->events[write];

	scratch->count = 0;
	for (unsigned i = 0; i <= write; i++) {
		if (i > read && i != write && !graph_depends_on(by, &graph->events[i]))
			continue;
		new_ids[i] = (int16_t)scratch->count;
		scratch->events[scratch->count++] = graph->events[i];
	}
	for (unsigned i = 0; i < scratch->count; i++) {
		struct event *event = &scratch->events[i];

		if ((event->kind == EVENT_READ || event->is_rmw) && event->from != GRAPH_INIT)
			event->from = new_ids[event->from];
	}
	close_ranks(scratch);
	return (unsigned)new_ids[read];
}

/* Gives each read that came too early the write that was just appended. */
static void revisit(unsigned write)
{
	const struct event *by = &graph->events[write];

	for (unsigned i = 0; i < write; i++) {
		struct event *event = &graph->events[i];
		unsigned read;

		if (event->kind != EVENT_READ || event->word != by->word ||
		    graph_depends_on(by, event) || !may_revisit(i, write))
			continue;
		read = cut(i, write);
		event = &scratch->events[read];
		event->from = (int16_t)(scratch->count - 1);
		graph_set_clocks(scratch, read, graph_last(scratch, event->thread, read));
		keep_places(scratch, read, GRAPH_NO_RANK);
	}
}

/* False: it has no place here. */
static bool add_write(const struct event *event)
{
	unsigned id = graph_append(graph, event);
	unsigned min;
	unsigned max = graph_ranks(graph, &graph->events[id], &min);

	revisit(id);
	keep_places(graph, id, max);
	if (max < min || !graph_is_atomic(graph, &graph->events[id], max))
		return false;
	graph_place(graph, id, max);
	return graph_is_ordered(graph, id);
}

/* --- one graph --- */

/* A read-modify-write is not torn apart; else the first thread that can, goes on. */
static int pick(const struct model *model)
{
	int first = NO_THREAD;

	for (unsigned i = 0; i < model->threads; i++) {
		enum machine_state state = machine_state(i);

		if (state == MACHINE_WANTS_WRITE)
			return (int)i;
		if (state == MACHINE_WANTS_EVENT && first == NO_THREAD)
			first = (int)i;
	}
	return first;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

/* The same for equal graphs, in whatever order their events were added. */
static uint64_t hash_graph(const struct model *model)
{
	uint64_t hash = 1;

	for (unsigned thread = 0; thread < model->threads; thread++) {
		hash = mix(hash, 1000 + thread);
		for (unsigned i = 0; i < graph->count; i++) {
			const struct event *event = &graph->events[i];
			const struct event *from;

			if (event->thread != thread)
				continue;
			hash = mix(hash, (uintptr_t)machine.words[event->word].ptr);
			if (event->kind == EVENT_WRITE) {
				hash = mix(mix(hash, event->value), event->rank);
			} else if (event->from == GRAPH_INIT) {
				hash = mix(hash, UINT64_MAX);
			} else {
				from = &graph->events[event->from];
				hash = mix(hash, from->thread * 1000u + from->index);
			}
		}
	}
	return hash;
}

static void log_graph(const struct model *model)
{
	if (!visited)
		return;
	if (visited->count == visited->size) {
		visited->size = visited->size ? visited->size * 2 : 1024;
		visited->hashes = realloc(visited->hashes,
					  visited->size * sizeof(*visited->hashes));
		if (!visited->hashes)
			abort();
	}
	visited->hashes[visited->count++] = hash_graph(model);
}

/* Nobody can go on. False: that is an error. */
static bool end_graph(const struct model *model, struct model_result *result)
{
	bool is_blocked = false;

	if (graph->count > result->events_max)
		result->events_max = graph->count;
	log_graph(model);
	for (unsigned i = 0; i < model->threads; i++)
		is_blocked |= machine_state(i) == MACHINE_BLOCKED;
	if (!is_blocked) {
		result->executions++;
		return machine_end();
	}
	result->blocked++;
	if (!machine_is_stuck())
		return true;
	strcpy(error, "stuck: every thread that has not ended waits for what nobody will write");
	return false;
}

/* From graph to an end of it, along the canonical branches. False: there is an error. */
static bool run_graph(const struct model *model, struct model_result *result)
{
	struct event event;
	int thread;

	if (!machine_replay(model, graph))
		return false;
	while ((thread = pick(model)) != NO_THREAD) {
		machine_wanted((unsigned)thread, &event);
		if (event.kind == EVENT_READ)
			add_read(&event);
		else if (!add_write(&event))
			return true;
		if (!machine_go_on((unsigned)thread))
			return false;
	}
	return end_graph(model, result);
}

/* --- the slow way --- */

static uint64_t *seen;		/* open addressing; 0: free */
#define SEEN_MAX (1u << 22)

/* Whether graph is new. */
static bool see(const struct model *model)
{
	uint64_t hash = hash_graph(model) | 1;
	size_t i = hash / 2 % SEEN_MAX;

	while (seen[i] && seen[i] != hash)
		i = (i + 1) % SEEN_MAX;
	if (seen[i])
		return false;
	seen[i] = hash;
	return true;
}

static void keep_new(const struct model *model)
{
	if (see(model))
		keep(graph);
}

static void extend_by_read(const struct model *model, unsigned id)
{
	for (int from = GRAPH_INIT; from < (int)id; from++)
		if ((from == GRAPH_INIT ||
		     is_source(&graph->events[from], &graph->events[id])) &&
		    read_from(graph, id, from))
			keep_new(model);
}

static void extend_by_write(const struct model *model, unsigned id)
{
	unsigned min;
	unsigned max = graph_ranks(graph, &graph->events[id], &min);

	for (unsigned rank = min; rank <= max; rank++) {
		if (!graph_is_atomic(graph, &graph->events[id], rank))
			continue;
		graph_place(graph, id, rank);
		if (graph_is_ordered(graph, id))
			keep_new(model);
		graph_displace(graph, id);
	}
}

static bool run_naively(const struct model *model, struct model_result *result)
{
	int first;

	if (!machine_replay(model, graph))
		return false;
	first = pick(model);
	if (first == NO_THREAD)
		return end_graph(model, result);
	for (unsigned i = 0; i < model->threads; i++) {
		struct event event;
		unsigned id;

		if (machine_state(i) != MACHINE_WANTS_WRITE &&
		    (machine_state(i) != MACHINE_WANTS_EVENT ||
		     machine_state((unsigned)first) == MACHINE_WANTS_WRITE))
			continue;
		machine_wanted(i, &event);
		if (event.kind == EVENT_READ)
			event.from = GRAPH_INIT;
		id = graph_append(graph, &event);
		if (event.kind == EVENT_READ)
			extend_by_read(model, id);
		else
			extend_by_write(model, id);
		graph->count--;
	}
	return true;
}

/* --- all of them --- */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void explore(const struct model *model, struct model_result *result,
		    bool (*run)(const struct model *model, struct model_result *result))
{
	double start = now();
	bool ok = true;

	graph = graph ? graph : malloc(graph_size(GRAPH_EVENTS_MAX));
	scratch = scratch ? scratch : malloc(graph_size(GRAPH_EVENTS_MAX));
	if (!graph || !scratch)
		abort();
	*result = (struct model_result){ 0 };
	machine.result = result;
	machine.error = error;
	machine.word_count = 0;
	error[0] = 0;
	graph->count = 0;
	do {
		ok = run(model, result);
		if (++result->graphs == EXPLORE_GRAPHS_MAX && ok) {
			strcpy(error, "too many executions");
			ok = false;
		}
	} while (ok && take_next());
	if (!ok) {
		machine_describe();
		result->error = error;
	}
	while (todo.count)
		free(todo.graphs[--todo.count]);
	result->seconds = now() - start;
}

void model_explore(const struct model *model, const struct model_weakening *weakening,
		   struct model_result *result)
{
	machine.weakening = weakening;
	explore(model, result, run_graph);
}

void explore_naively(const struct model *model, struct model_result *result)
{
	seen = calloc(SEEN_MAX, sizeof(*seen));
	if (!seen)
		abort();
	machine.weakening = NULL;
	explore(model, result, run_naively);
	free(seen);
}

void explore_log(struct explore_log *log)
{
	visited = log;
}
