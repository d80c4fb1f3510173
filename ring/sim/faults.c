/* SPDX-License-Identifier: MIT */
/*
 * faults.c - the classes of faults, which of them a seed arms, and how often each strikes.
 *
 * Not all at once: with everything armed the rare combinations never come up, for the common
 * faults end each run early (Groce et al., "Swarm testing", ISSTA 2012).
 */
#include <string.h>

#include "ring/sim/world.h"

static const struct {
	const char *name;
	const char *arm;	/* sites */
	const char *rate;
	unsigned ppm[4];	/* the seed picks one */
} classes[WEIR_SIM_CLASSES] = {
#define CLASS(name, ...) { name, "arm-" name, "rate-" name, { __VA_ARGS__ } }
	CLASS("order", 50000, 200000, 500000, 900000),
	CLASS("late", 1000, 10000, 100000, 300000),
	CLASS("enter", 1000, 10000, 50000, 200000),
	CLASS("overflow", 1000000, 1000000, 1000000, 1000000),
	CLASS("multishot", 1000, 10000, 50000, 200000),
	CLASS("cancel", 50000, 200000, 500000, 900000),
	CLASS("link", 50000, 200000, 500000, 900000),
	CLASS("sq-full", 1000000, 1000000, 1000000, 1000000),
	CLASS("bufs", 1000, 10000, 50000, 200000),
	CLASS("notif", 50000, 200000, 500000, 900000),
	CLASS("scribble", 1000000, 1000000, 1000000, 1000000),
	CLASS("reuse", 1000000, 1000000, 1000000, 1000000),
	CLASS("old", 1000000, 1000000, 1000000, 1000000),
	CLASS("wake", 1000, 10000, 100000, 300000),
	CLASS("short", 10000, 100000, 300000, 900000),
	CLASS("reset", 100, 1000, 10000, 30000),
	CLASS("connect", 1000, 10000, 100000, 300000),
	CLASS("fds", 1000, 10000, 100000, 300000),
	CLASS("latency", 10000, 100000, 300000, 900000),
	CLASS("partition", 100, 1000, 5000, 20000),
	CLASS("window", 1000, 10000, 50000, 200000),
	CLASS("datagram", 1000, 10000, 100000, 300000),
	CLASS("half-open", 100, 1000, 5000, 20000),
	CLASS("file-short", 1000, 10000, 100000, 300000),
	CLASS("file-error", 100, 1000, 10000, 100000),
	CLASS("fsync", 1000, 10000, 50000, 200000),
	CLASS("power", 10000, 50000, 200000, 500000),
	CLASS("corrupt", 100, 1000, 10000, 50000),
	CLASS("swap", 1000, 10000, 50000, 200000),
	CLASS("clock", 1000, 10000, 100000, 300000),
	CLASS("pause", 10, 100, 1000, 5000),
	CLASS("kill", 10000, 50000, 200000, 500000),
	CLASS("memory", 10, 100, 1000, 10000),
	CLASS("random", 10000, 100000, 500000, 900000),
	CLASS("buggify", 10000, 50000, 250000, 500000),
#undef CLASS
};

const char *weir_sim_class_name(unsigned number)
{
	return number < WEIR_SIM_CLASSES ? classes[number].name : NULL;
}

static int class_number(const char *name, size_t size)
{
	for (unsigned i = 0; i < WEIR_SIM_CLASSES; i++)
		if (strlen(classes[i].name) == size && !memcmp(classes[i].name, name, size))
			return (int)i;
	return -EINVAL;
}

int weir_sim_classes_parse(const char *text, uint64_t *ret_mask)
{
	uint64_t mask = 0;

	weir_precond(text && ret_mask, -EINVAL);
	for (bool is_first = true; *text; is_first = false) {
		size_t size = strcspn(text, ",");
		bool away = *text == '-';
		int number;

		if (away && is_first)
			mask = WEIR_SIM_ALL;
		number = class_number(text + away, size - away);
		if (!away && size == 3 && !memcmp(text, "all", 3))
			mask = WEIR_SIM_ALL;
		else if (!away && size == 4 && !memcmp(text, "none", 4))
			mask = 0;
		else if (number < 0)
			return number;
		else if (away)
			mask &= ~WEIR_SIM_BIT(number);
		else
			mask |= WEIR_SIM_BIT(number);
		text += size;
		if (*text == ',' && !*++text)
			return -EINVAL;
	}
	*ret_mask = mask;
	return 0;
}

void weir__sim_faults_arm(struct weir_sim *sim)
{
	uint64_t allowed = sim->scenario->faults ? sim->scenario->faults : WEIR_SIM_DEFAULT;

	if (sim->opts.faults_given)
		allowed &= sim->opts.faults;
	for (unsigned i = 0; i < WEIR_SIM_CLASSES; i++) {
		bool is_armed;

		if (!(allowed >> i & 1))
			continue;
		is_armed = sim->opts.every_class ||
			   weir__sim_chance(sim, NULL, classes[i].arm, 300000);
		if (!is_armed)
			continue;
		sim->armed |= WEIR_SIM_BIT(i);
		sim->ppm[i] = classes[i].ppm[weir__sim_choose(sim, NULL, classes[i].rate, 4)];
	}
	sim->report->faults = sim->armed;
}

bool weir__sim_fault(struct weir_sim *sim, const struct weir_sim_host *host, uint64_t one_class,
		     const char *site)
{
	unsigned number = (unsigned)__builtin_ctzll(one_class);

	if (weir_likely(!(sim->armed & one_class)) || sim->healed)
		return false;
	if (host && host->opts.reliable)
		return false;
	if (!weir__sim_chance(sim, host, site, sim->ppm[number]))
		return false;
	sim->report->hits[number]++;
	return true;
}

void weir_sim_rate(struct weir_sim *sim, uint64_t one_class, unsigned ppm)
{
	weir_assert(one_class && !(one_class & (one_class - 1)) && one_class <= WEIR_SIM_ALL);
	sim->ppm[__builtin_ctzll(one_class)] = ppm;
	if (ppm)
		sim->armed |= one_class;
	else
		sim->armed &= ~one_class;
}
