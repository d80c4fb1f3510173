/* SPDX-License-Identifier: MIT */
/*
 * machine.c - the fibers, their memory, and how they follow a graph.
 */
#include "tests/model/machine.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/switch.h"
#include "tests/model/races.h"

#define STACK_SIZE (128 * 1024)
#define ARENA_SIZE (1024 * 1024)
#define NAMES_MAX 64
#define CHECK MODEL_THREADS_MAX		/* the fiber that runs check() */
#define NOBODY (-1)
#define NO_EVENT (-1)

struct thread {
	struct weir_context context;
	enum machine_state state;
	unsigned count;			/* events made */
	int last_read;
	int waits_for;			/* a write that another thread is about to make */
	struct clock view;
	struct event wanted;
};

struct machine machine;

static struct thread threads[MODEL_THREADS_MAX + 1];
static _Alignas(16) char stacks[MODEL_THREADS_MAX + 1][STACK_SIZE];
static struct weir_context outside;
static int current = NOBODY;

static _Alignas(64) char arena[ARENA_SIZE];
static size_t arena_used;

static struct {
	const void *ptr;
	const char *name;
} names[NAMES_MAX];
static unsigned name_count;

/* Of machine.graph: where each thread's events are, and which have been made. */
static int16_t ids[MODEL_THREADS_MAX][GRAPH_EVENTS_MAX];
static bool is_made[GRAPH_EVENTS_MAX];
static uint16_t made[GRAPH_EVENTS_MAX];		/* in that order */
static unsigned made_count;

/* --- memory and names --- */

void *model_alloc(size_t size)
{
	void *ptr = arena + arena_used;

	arena_used += (size + 63) & ~(size_t)63;
	assert(arena_used <= ARENA_SIZE);
	return ptr;
}

void model_name(const void *ptr, const char *name)
{
	assert(name_count < NAMES_MAX);
	names[name_count].ptr = ptr;
	names[name_count++].name = name;
}

const char *machine_name(const void *ptr)
{
	for (unsigned i = 0; i < name_count; i++)
		if (names[i].ptr == ptr)
			return names[i].name;
	return NULL;
}

const struct word *machine_find(const void *ptr)
{
	for (unsigned i = 0; i < machine.word_count; i++)
		if (machine.words[i].ptr == ptr)
			return &machine.words[i];
	return NULL;
}

/* Which granules of 8 bytes may hold an atomic word: plain accesses ask for each of theirs. */
static bool maybe_word[4096];

static bool *may_be_word(uintptr_t address)
{
	return &maybe_word[(address / 8) * 0x9e3779b1u % 4096];
}

static uint64_t load_native(const void *ptr, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, ptr, size);
	return value;
}

static struct word *get_word(const void *ptr, unsigned size)
{
	struct word *word = (struct word *)machine_find(ptr);

	if (!word) {
		assert(machine.word_count < MACHINE_WORDS_MAX);
		word = &machine.words[machine.word_count++];
		*word = (struct word){ .ptr = ptr, .size = size };
		*may_be_word((uintptr_t)ptr) = true;
	}
	if (word->size != size)
		machine_error("an atomic access of %u bytes to a word of %u", size, word->size);
	if (!word->is_known) {
		word->is_known = true;
		word->first_value = load_native(ptr, size);
	}
	return word;
}

uint64_t machine_final(const struct word *word)
{
	unsigned index = (unsigned)(word - machine.words);
	uint64_t value = word->first_value;
	unsigned max = 0;

	for (unsigned i = 0; i < made_count; i++) {
		const struct event *event = &machine.graph->events[made[i]];

		if (event->kind == EVENT_WRITE && event->word == index && event->rank > max) {
			max = event->rank;
			value = event->value;
		}
	}
	return value;
}

uint64_t model_final(const void *ptr)
{
	const struct word *word = machine_find(ptr);

	assert(word && word->is_known);
	return machine_final(word);
}

/* --- errors --- */

static __attribute__((noreturn)) void leave_for_good(enum machine_state state)
{
	int self = current;

	threads[self].state = state;
	current = NOBODY;
	weir__context_switch(&threads[self].context, &outside);
	abort();
}

static __attribute__((noreturn, format(printf, 2, 0))) void fail(const char *what,
								 const char *format, va_list args)
{
	size_t used = (size_t)snprintf(machine.error, MODEL_ERROR_SIZE, "%s", what);

	vsnprintf(machine.error + used, MODEL_ERROR_SIZE - used, format, args);
	if (current != NOBODY)
		leave_for_good(MACHINE_ENDED);
	fprintf(stderr, "%s\n", machine.error);
	abort();
}

void machine_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fail("", format, args);
}

void model_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fail("failed: ", format, args);
}

static const char *order_name(int order)
{
	static const char *const all[] = { "relaxed", "consume", "acquire",
					   "release", "acq_rel", "seq_cst" };

	return all[order];
}

static void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void print(const char *format, ...)
{
	size_t used = strlen(machine.error);
	va_list args;

	va_start(args, format);
	vsnprintf(machine.error + used, MODEL_ERROR_SIZE - used, format, args);
	va_end(args);
}

static void print_word(unsigned index)
{
	const char *name = machine_name(machine.words[index].ptr);

	if (name)
		print("%s", name);
	else
		print("%p", machine.words[index].ptr);
}

void machine_describe(void)
{
	for (unsigned i = 0; i < made_count; i++) {
		const struct event *event = &machine.graph->events[made[i]];
		bool reads = event->kind == EVENT_READ;

		print("\n%4u  thread %u  %-8s", made[i], event->thread,
		      reads ? "reads" : event->is_rmw ? "changes" : "writes");
		print_word(event->word);
		print(" %s %#llx (%s)", reads ? "=" : "to",
		      (unsigned long long)(reads ? graph_value_read(machine.graph, event) :
						   event->value),
		      order_name(graph_order(machine.graph, event)));
		if (reads && event->from == GRAPH_INIT)
			print(" as it was at first");
		else if (reads)
			print(" of %d", event->from);
	}
}

/* --- running --- */

static void enter(void)
{
	if (current == CHECK)
		machine.model->check();
	else
		machine.model->run[current]();
	leave_for_good(MACHINE_ENDED);
}

static void prepare(unsigned i)
{
	struct weir_context_root *root =
		(void *)(stacks[i] + STACK_SIZE - sizeof(struct weir_context_root));

	threads[i] = (struct thread){ .state = MACHINE_RUNS, .last_read = NO_EVENT,
				      .waits_for = NO_EVENT };
	weir__context_make(&threads[i].context, root, enter);
}

static __attribute__((noinline)) void resume(unsigned i)
{
	threads[i].state = MACHINE_RUNS;
	current = (int)i;
	weir__context_switch(&outside, &threads[i].context);
}

static __attribute__((noinline)) void pause_as(enum machine_state state)
{
	int self = current;

	threads[self].state = state;
	current = NOBODY;
	weir__context_switch(&threads[self].context, &outside);
}

static void index_graph(const struct graph *graph)
{
	unsigned counts[MODEL_THREADS_MAX] = { 0 };

	memset(is_made, 0, sizeof(is_made));
	made_count = 0;
	for (unsigned i = 0; i < graph->count; i++) {
		unsigned thread = graph->events[i].thread;

		assert(graph->events[i].index == counts[thread]);
		ids[thread][counts[thread]++] = (int16_t)i;
	}
	for (unsigned i = 0; i < MODEL_THREADS_MAX; i++)
		ids[i][counts[i]] = NO_EVENT;
}

static void reset(const struct model *model)
{
	memset(arena, 0xa5, arena_used);
	arena_used = 0;
	name_count = 0;
	for (unsigned i = 0; i < machine.word_count; i++)
		machine.words[i].is_known = false;
	races_reset();
	model->setup();
	for (unsigned i = 0; i < model->threads; i++)
		prepare(i);
}

bool machine_replay(const struct model *model, struct graph *graph)
{
	bool moved = true;

	machine.model = model;
	machine.graph = graph;
	index_graph(graph);
	reset(model);
	while (moved) {
		moved = false;
		for (unsigned i = 0; i < model->threads; i++) {
			struct thread *thread = &threads[i];

			if (thread->state != MACHINE_RUNS ||
			    (thread->waits_for != NO_EVENT && !is_made[thread->waits_for]))
				continue;
			resume(i);
			moved = true;
			if (machine.error[0])
				return false;
		}
	}
	assert(made_count == graph->count);
	return true;
}

enum machine_state machine_state(unsigned thread)
{
	return threads[thread].state;
}

void machine_wanted(unsigned thread, struct event *ret_event)
{
	*ret_event = threads[thread].wanted;
}

bool machine_go_on(unsigned thread)
{
	unsigned id = machine.graph->count - 1;

	assert(machine.graph->events[id].thread == thread);
	ids[thread][threads[thread].count] = (int16_t)id;
	ids[thread][threads[thread].count + 1] = NO_EVENT;
	resume(thread);
	return !machine.error[0];
}

bool machine_end(void)
{
	if (!machine.model->check)
		return true;
	prepare(CHECK);
	resume(CHECK);
	return !machine.error[0];
}

bool machine_is_stuck(void)
{
	unsigned blocked = 0;

	for (unsigned i = 0; i < machine.model->threads; i++) {
		const struct event *read;

		if (threads[i].state != MACHINE_BLOCKED)
			continue;
		blocked++;
		read = &machine.graph->events[threads[i].last_read];
		if (graph_value_read(machine.graph, read) !=
		    machine_final(&machine.words[read->word]))
			return false;
	}
	return blocked;
}

/* --- on a thread --- */

bool machine_is_thread(void)
{
	return current != NOBODY && current != CHECK;
}

unsigned model_thread(void)
{
	assert(machine_is_thread());
	return (unsigned)current;
}

void machine_block(void)
{
	assert(threads[current].last_read != NO_EVENT);
	leave_for_good(MACHINE_BLOCKED);
}

static void check_same(const struct event *old, const struct event *now)
{
	if (old->kind != now->kind || old->word != now->word || old->order != now->order ||
	    old->is_rmw != now->is_rmw || old->value != now->value)
		machine_error("thread %d did something else the second time", current);
}

/* Makes the thread's next event, which is in the graph or is added to it now. Returns its id. */
static unsigned make(const struct event *wanted)
{
	struct thread *self = &threads[current];
	int id = ids[current][self->count];
	const struct event *event;

	if (id == NO_EVENT) {
		self->wanted = *wanted;
		pause_as(wanted->is_rmw ? MACHINE_WANTS_WRITE : MACHINE_WANTS_EVENT);
		id = ids[current][self->count];
	} else {
		event = &machine.graph->events[id];
		check_same(event, wanted);
		while (event->kind == EVENT_READ && event->from != GRAPH_INIT &&
		       !is_made[event->from]) {
			self->waits_for = event->from;
			pause_as(MACHINE_RUNS);
			self->waits_for = NO_EVENT;
		}
	}
	event = &machine.graph->events[id];
	is_made[id] = true;
	made[made_count++] = (uint16_t)id;
	self->count++;
	self->view = event->hb;
	self->view.of[current] = (uint16_t)self->count;
	if (event->kind == EVENT_READ)
		self->last_read = id;
	return (unsigned)id;
}

static void note_site(const struct model_site *site)
{
	struct model_result *result = machine.result;
	unsigned i;

	for (i = 0; i < result->site_count; i++)
		if (result->sites[i].name == site->name && result->sites[i].op == site->op &&
		    result->sites[i].order == site->order)
			return;
	assert(i < MODEL_SITES_MAX);
	result->sites[result->site_count++] = *site;
}

static void weaken(const void *ptr, struct access *access)
{
	struct model_site site = { machine_name(ptr), access->op, access->order };
	const struct model_weakening *weakening = machine.weakening;

	if (!site.name)
		return;
	note_site(&site);
	if (!weakening || strcmp(site.name, weakening->site.name) ||
	    site.op != weakening->site.op || site.order != weakening->site.order)
		return;
	access->order = weakening->order;
	if (access->is_compare)
		access->failure_order = graph_is_acquire(access->order) ? __ATOMIC_ACQUIRE :
									  __ATOMIC_RELAXED;
}

static void check_race(const void *ptr, unsigned size, bool is_write)
{
	unsigned self = (unsigned)current;
	int with = races_atomic(ptr, size, is_write, &threads[self].view, self);
	const char *name = machine_name(ptr);

	if (with >= 0)
		machine_error("data race: thread %u's atomic access to %s at %p and thread %d's "
			      "plain one", self, name ? name : "the word", ptr, with);
}

static uint64_t change(const struct access *access, struct event *event, unsigned read)
{
	uint64_t old = graph_value_read(machine.graph, &machine.graph->events[read]);

	if (access->is_compare && old != access->expected)
		return old;
	event->kind = EVENT_WRITE;
	event->order = (uint8_t)access->order;
	event->order_failed = 0;
	event->is_compare = false;
	event->is_rmw = true;
	event->index++;
	event->from = (int16_t)read;
	event->value = access->change(old, access->operand);
	make(event);
	return old;
}

uint64_t machine_access(void *ptr, struct access access)
{
	struct event event = { .thread = (uint8_t)current };
	const struct word *word = get_word(ptr, access.size);
	unsigned id;
	uint64_t value;

	weaken(ptr, &access);
	check_race(ptr, access.size, access.op != MODEL_LOAD);
	event.index = (uint16_t)threads[current].count;
	event.word = (uint16_t)(word - machine.words);
	event.order = (uint8_t)access.order;
	event.first_value = word->first_value;
	if (access.op == MODEL_STORE) {
		event.kind = EVENT_WRITE;
		event.value = access.operand;
		make(&event);
		return 0;
	}
	event.kind = EVENT_READ;
	event.is_compare = access.is_compare;
	event.order_failed = (uint8_t)access.failure_order;
	event.value = access.is_compare ? access.expected : 0;
	id = make(&event);
	value = graph_value_read(machine.graph, &machine.graph->events[id]);
	if ((access.is_await && value == access.expected) ||
	    (access.is_lock && value != access.expected))
		machine_block();
	return access.op == MODEL_RMW ? change(&access, &event, id) : value;
}

/* --- plain accesses --- */

/* Of an atomic word: everything that happened to it must be over, and memory is what it is. */
static void plain_word(const struct word *word, bool is_write)
{
	const struct thread *self = &threads[current];
	unsigned index = (unsigned)(word - machine.words);
	const char *name = machine_name(word->ptr);
	unsigned count = 0;
	uint64_t value;

	for (unsigned i = 0; i < made_count; i++) {
		const struct event *event = &machine.graph->events[made[i]];

		if (event->word != index || (!is_write && event->kind == EVENT_READ))
			continue;
		count++;
		if (self->view.of[event->thread] <= event->index)
			machine_error("data race: thread %d's plain access to %s at %p and thread "
				      "%u's atomic one", current, name ? name : "the word",
				      word->ptr, event->thread);
	}
	if (is_write && count)
		machine_error("a plain write to an atomic word in its life: not supported");
	if (is_write)
		machine_error("data race: thread %d's plain write to %s at %p, which another "
			      "thread is about to access", current, name ? name : "the word",
			      word->ptr);
	value = machine_final(word);
	memcpy((void *)word->ptr, &value, word->size);
}

static void plain_words(uintptr_t address, unsigned size, bool is_write)
{
	for (unsigned i = 0; i < machine.word_count; i++) {
		const struct word *word = &machine.words[i];

		if (word->is_known && (uintptr_t)word->ptr < address + size &&
		    address < (uintptr_t)word->ptr + word->size)
			plain_word(word, is_write);
	}
}

void machine_plain(const void *ptr, unsigned size, bool is_write)
{
	uintptr_t address = (uintptr_t)ptr;
	unsigned self = (unsigned)current;
	int with;

	for (uintptr_t at = address & ~(uintptr_t)7; at < address + size; at += 8)
		if (*may_be_word(at)) {
			plain_words(address, size, is_write);
			break;
		}
	with = races_plain(ptr, size, is_write, &threads[self].view, self);
	if (with >= 0)
		machine_error("data race: thread %u %s %u bytes at %p, as thread %d does", self,
			      is_write ? "writes" : "reads", size, ptr, with);
}
