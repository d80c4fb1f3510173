/* SPDX-License-Identifier: MIT */
/*
 * invariant.c - what must hold, when it is looked at, and the marks of what should sometimes
 * be seen.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/sim/world.h"

#define INVARIANTS 64
#define MARKS 256

enum when { ALWAYS, EVENTUALLY, FINALLY };

struct invariant {
	const char *name;
	const char *(*look)(void *arg);
	void *arg;
	enum when when;
	bool held;
};

struct weir_sim_invariants {
	struct invariant list[INVARIANTS];
	unsigned count;
	unsigned always;	/* how many of them are looked at after each step */
	struct {
		char name[96];
		bool reached;
	} marks[MARKS];
	unsigned marks_count;
};

int weir__sim_invariants_create(struct weir_sim *sim)
{
	sim->invariants = calloc(1, sizeof(*sim->invariants));
	return sim->invariants ? 0 : -ENOMEM;
}

void weir__sim_invariants_destroy(struct weir_sim *sim)
{
	free(sim->invariants);
	sim->invariants = NULL;
}

static int add(struct weir_sim *sim, const char *name, const char *(*look)(void *arg), void *arg,
	       enum when when)
{
	struct weir_sim_invariants *all = sim->invariants;

	if (all->count == INVARIANTS)
		return -ENOSPC;
	all->list[all->count++] =
		(struct invariant){ .name = name, .look = look, .arg = arg, .when = when };
	all->always += when == ALWAYS;
	return 0;
}

int weir_sim_always(struct weir_sim *sim, const char *name, const char *(*look)(void *arg),
		    void *arg)
{
	return add(sim, name, look, arg, ALWAYS);
}

int weir_sim_eventually(struct weir_sim *sim, const char *name, const char *(*look)(void *arg),
			void *arg)
{
	return add(sim, name, look, arg, EVENTUALLY);
}

int weir_sim_finally(struct weir_sim *sim, const char *name, const char *(*look)(void *arg),
		     void *arg)
{
	return add(sim, name, look, arg, FINALLY);
}

void weir__sim_invariants_step(struct weir_sim *sim)
{
	struct weir_sim_invariants *all = sim->invariants;

	if (!all->always)
		return;
	for (unsigned i = 0; i < all->count; i++) {
		struct invariant *one = &all->list[i];
		const char *seen = one->when == ALWAYS ? one->look(one->arg) : NULL;

		if (seen)
			weir__sim_fail(sim, one->name, "%s", seen);
	}
}

bool weir__sim_invariants_settled(struct weir_sim *sim)
{
	struct weir_sim_invariants *all = sim->invariants;
	bool settled = true;

	for (unsigned i = 0; i < all->count; i++) {
		struct invariant *one = &all->list[i];

		if (one->when != EVENTUALLY || one->held)
			continue;
		one->held = sim->healed && !one->look(one->arg);
		settled &= one->held;
	}
	return settled;
}

void weir__sim_invariants_end(struct weir_sim *sim)
{
	struct weir_sim_invariants *all = sim->invariants;

	for (unsigned i = 0; i < all->count; i++) {
		struct invariant *one = &all->list[i];
		const char *seen = NULL;

		if (one->when != ALWAYS && !one->held)
			seen = one->look(one->arg);
		if (seen)
			weir__sim_fail(sim, one->name, "%s", seen);
	}
}

void weir__sim_fail(struct weir_sim *sim, const char *name, const char *format, ...)
{
	struct weir_sim_report *report = sim->report;
	va_list args;

	if (report->result)
		return;
	report->result = -EPROTO;
	sim->over = true;
	snprintf(report->failed, sizeof(report->failed), "%s", name);
	va_start(args, format);
	vsnprintf(report->message, sizeof(report->message), format, args);
	va_end(args);
}

void weir_sim_check(bool holds, const char *name)
{
	if (!holds && weir__sim)
		weir__sim_fail(weir__sim, name, "it does not hold on %s",
			       weir_sim_self() ? weir_sim_self()->name : "the world");
}

void weir_sim_checkf(bool holds, const char *name, const char *format, ...)
{
	char seen[256];
	va_list args;

	if (holds || !weir__sim)
		return;
	va_start(args, format);
	vsnprintf(seen, sizeof(seen), format, args);
	va_end(args);
	weir__sim_fail(weir__sim, name, "%s", seen);
}

void weir_sim_sometimes(bool holds, const char *name)
{
	struct weir_sim_invariants *all = weir__sim ? weir__sim->invariants : NULL;
	unsigned i = 0;

	if (!all)
		return;
	while (i < all->marks_count && strcmp(all->marks[i].name, name))
		i++;
	if (i == MARKS)
		return;
	if (i == all->marks_count) {
		snprintf(all->marks[i].name, sizeof(all->marks[i].name), "%s", name);
		all->marks_count++;
	}
	all->marks[i].reached |= holds;
}

const char *weir__sim_mark(const struct weir_sim *sim, unsigned number, bool *ret_reached)
{
	const struct weir_sim_invariants *all = sim->invariants;

	if (!all || number >= all->marks_count)
		return NULL;
	*ret_reached = all->marks[number].reached;
	return all->marks[number].name;
}
