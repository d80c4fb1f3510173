/* SPDX-License-Identifier: MIT */
/*
 * events.c - what happens when: a heap of events, by time and then by the order in which they
 * were armed. Virtual time moves only here.
 */
#include <stdlib.h>

#include "ring/sim/world.h"

static bool is_before(const struct weir_sim_event *a, const struct weir_sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->serial < b->serial;
}

static void put(struct weir_sim_events *events, unsigned place, struct weir_sim_event *event)
{
	events->heap[place] = event;
	event->place = place;
}

static void sift_up(struct weir_sim_events *events, struct weir_sim_event *event, unsigned place)
{
	while (place > 1 && is_before(event, events->heap[place / 2])) {
		put(events, place, events->heap[place / 2]);
		place /= 2;
	}
	put(events, place, event);
}

static void sift_down(struct weir_sim_events *events, struct weir_sim_event *event, unsigned place)
{
	for (;;) {
		unsigned child = place * 2;

		if (child > events->count)
			break;
		if (child < events->count &&
		    is_before(events->heap[child + 1], events->heap[child]))
			child++;
		if (!is_before(events->heap[child], event))
			break;
		put(events, place, events->heap[child]);
		place = child;
	}
	put(events, place, event);
}

static bool make_room(struct weir_sim_events *events)
{
	unsigned size = events->size ? events->size * 2 : 256;
	void *heap;

	if (events->count + 1 < events->size)
		return true;
	heap = realloc(events->heap, size * sizeof(struct weir_sim_event *));
	if (!heap)
		return false;
	events->heap = heap;
	events->size = size;
	return true;
}

void weir__sim_event_arm(struct weir_sim *sim, struct weir_sim_event *event, int64_t at_ns)
{
	struct weir_sim_events *events = &sim->events;

	if (event->place)
		weir__sim_event_disarm(sim, event);
	if (!make_room(events)) {
		weir__sim_fail(sim, "the simulator has memory", "no room for another event");
		return;
	}
	event->at_ns = at_ns < sim->now_ns ? sim->now_ns : at_ns;
	event->serial = ++events->serial;
	sift_up(events, event, ++events->count);
}

void weir__sim_event_disarm(struct weir_sim *sim, struct weir_sim_event *event)
{
	struct weir_sim_events *events = &sim->events;
	struct weir_sim_event *last;
	unsigned place = event->place;

	if (!place)
		return;
	event->place = 0;
	last = events->heap[events->count--];
	if (last == event)
		return;
	if (place > 1 && is_before(last, events->heap[place / 2]))
		sift_up(events, last, place);
	else
		sift_down(events, last, place);
}

bool weir__sim_events_step(struct weir_sim *sim)
{
	struct weir_sim_event *event;

	if (!sim->events.count)
		return false;
	event = sim->events.heap[1];
	weir__sim_event_disarm(sim, event);
	sim->now_ns = event->at_ns;
	sim->report->virtual_ns = sim->now_ns - sim->began_ns;
	event->run(event);
	return true;
}

void weir__sim_events_fini(struct weir_sim *sim)
{
	free(sim->events.heap);
}
