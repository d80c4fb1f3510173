/* SPDX-License-Identifier: MIT */
/*
 * choices.c - chance. A choice is named by its site, its host and how often that pair came
 * before, and its value is a hash of the seed and that name: so setting one choice to 0 leaves
 * the values of all others as they were, which is what makes shrinking work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/sim/world.h"

#define SITES 512
#define SITE_SIZE 40
#define WORLD WEIR_SIM_HOSTS	/* in place of a host */

struct site {
	const char *pointer;	/* as last asked for */
	char name[SITE_SIZE];
	uint64_t hash;
	uint64_t counts[WEIR_SIM_HOSTS + 1];
};

struct choice {
	uint64_t nth;
	uint32_t value;
	uint16_t site;
	uint16_t host;
};

struct weir_sim_choices {
	struct site sites[SITES];
	unsigned sites_count;
	unsigned short by_pointer[4096];	/* site + 1; a cache */
	struct choice *made;		/* those that are not 0 */
	size_t made_count, made_size;
	struct choice *given;		/* to be replayed: a hash table, value 0 is empty */
	size_t given_size;
	bool replays;
};

/* Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return mix(hash);
}

static unsigned site_by_name(struct weir_sim_choices *choices, const char *name)
{
	struct site *site;
	unsigned i;

	for (i = 0; i < choices->sites_count; i++)
		if (!strcmp(choices->sites[i].name, name))
			return i;
	if (i == SITES)
		return SITES - 1;
	site = &choices->sites[choices->sites_count++];
	snprintf(site->name, sizeof(site->name), "%s", name);
	site->hash = hash_text(site->name);
	return i;
}

static unsigned site_of(struct weir_sim_choices *choices, const char *name)
{
	unsigned short *slot = &choices->by_pointer[((uintptr_t)name >> 2) % 4096];

	if (!*slot || choices->sites[*slot - 1].pointer != name) {
		unsigned site = site_by_name(choices, name);

		*slot = (unsigned short)(site + 1);
		choices->sites[site].pointer = name;
	}
	return *slot - 1u;
}

/* --- replay --- */

static size_t place_of(const struct weir_sim_choices *choices, const struct choice *name)
{
	size_t place = mix(name->nth * 31 + name->site * 1009u + name->host) %
		       choices->given_size;

	while (choices->given[place].value &&
	       (choices->given[place].nth != name->nth ||
		choices->given[place].site != name->site ||
		choices->given[place].host != name->host))
		place = (place + 1) % choices->given_size;
	return place;
}

static uint32_t replayed(const struct weir_sim_choices *choices, const struct choice *name)
{
	return choices->given_size ? choices->given[place_of(choices, name)].value : 0;
}

/* "site@host#nth=value": host is a number, or - for the world. */
static int parse_one(struct weir_sim_choices *choices, const char *text, struct choice *ret)
{
	char site[SITE_SIZE];
	char host[8];

	if (sscanf(text, "%39[^@ ]@%7[^# ]#%" SCNu64 "=%" SCNu32, site, host, &ret->nth,
		   &ret->value) != 4 ||
	    !ret->value)
		return -EINVAL;
	ret->site = (uint16_t)site_by_name(choices, site);
	ret->host = host[0] == '-' ? WORLD : (uint16_t)strtoul(host, NULL, 10);
	return ret->host > WORLD ? -EINVAL : 0;
}

static int parse(struct weir_sim_choices *choices, const char *text)
{
	size_t count = 1;
	const char *p;

	choices->replays = true;
	for (p = text; *p; p++)
		count += *p == '=';
	choices->given = calloc(count * 2, sizeof(*choices->given));
	if (!choices->given)
		return -ENOMEM;
	choices->given_size = count * 2;
	for (p = text; *(p += strspn(p, " ,\n")); p += strcspn(p, " ,\n")) {
		struct choice one;
		int r = parse_one(choices, p, &one);

		if (r < 0)
			return r;
		choices->given[place_of(choices, &one)] = one;
	}
	return 0;
}

/* --- life --- */

int weir__sim_choices_create(struct weir_sim *sim)
{
	struct weir_sim_choices *choices = calloc(1, sizeof(*choices));
	int r;

	if (!choices)
		return -ENOMEM;
	sim->choices = choices;
	sim->random_state = mix(sim->opts.seed ^ UINT64_C(0x9e3779b97f4a7c15));
	r = sim->opts.choices ? parse(choices, sim->opts.choices) : 0;
	if (r < 0)
		weir__sim_choices_destroy(sim);
	return r;
}

void weir__sim_choices_destroy(struct weir_sim *sim)
{
	if (!sim->choices)
		return;
	free(sim->choices->made);
	free(sim->choices->given);
	free(sim->choices);
	sim->choices = NULL;
}

char *weir__sim_choices_text(const struct weir_sim *sim)
{
	const struct weir_sim_choices *choices = sim->choices;
	size_t size = choices->made_count * (SITE_SIZE + 48) + 1;
	char *text = malloc(size);
	size_t used = 0;

	if (!text)
		return NULL;
	text[0] = '\0';
	for (size_t i = 0; i < choices->made_count; i++) {
		const struct choice *c = &choices->made[i];
		const char *name = choices->sites[c->site].name;

		used += (size_t)snprintf(text + used, size - used, "%s%s@", i ? " " : "", name);
		if (c->host == WORLD)
			used += (size_t)snprintf(text + used, size - used, "-");
		else
			used += (size_t)snprintf(text + used, size - used, "%u", c->host);
		used += (size_t)snprintf(text + used, size - used, "#%" PRIu64 "=%" PRIu32, c->nth,
					 c->value);
	}
	return text;
}

/* --- making them --- */

void (*weir__sim_choice_made)(const struct weir_sim *sim, const char *site, int host, uint64_t nth,
			      uint32_t value);

static void record(struct weir_sim *sim, const struct choice *choice)
{
	struct weir_sim_choices *choices = sim->choices;

	sim->report->choices_set++;
	if (weir__sim_choice_made)
		weir__sim_choice_made(sim, choices->sites[choice->site].name,
				      choice->host == WORLD ? -1 : choice->host, choice->nth,
				      choice->value);
	if (!sim->opts.record_choices)
		return;
	if (choices->made_count == choices->made_size) {
		size_t size = choices->made_size ? choices->made_size * 2 : 1024;
		void *made = realloc(choices->made, size * sizeof(*choices->made));

		if (!made)
			return;
		choices->made = made;
		choices->made_size = size;
	}
	choices->made[choices->made_count++] = *choice;
}

/* Names the next choice of site and host; its 64 random bits. */
static uint64_t draw(struct weir_sim *sim, const struct weir_sim_host *host, const char *name,
		     struct choice *ret)
{
	unsigned index = site_of(sim->choices, name);
	struct site *site = &sim->choices->sites[index];

	ret->site = (uint16_t)index;
	ret->host = host ? (uint16_t)host->index : WORLD;
	ret->nth = site->counts[ret->host]++;
	sim->report->choices_made++;
	if (sim->opts.stop_at && sim->report->choices_made == sim->opts.stop_at)
		sim->over = true;
	return mix(sim->opts.seed ^ mix(site->hash + ret->host) ^
		   (ret->nth + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static uint32_t settle(struct weir_sim *sim, const struct weir_sim_host *host,
		       struct choice *choice, const char *site)
{
	if (!choice->value)
		return 0;
	record(sim, choice);
	weir__sim_trace(sim, host, site, (int64_t)choice->nth, choice->value);
	return choice->value;
}

uint32_t weir__sim_choose(struct weir_sim *sim, const struct weir_sim_host *host,
			  const char *site, uint32_t n)
{
	struct choice choice;
	uint64_t bits;

	if (n < 2)
		return 0;
	bits = draw(sim, host, site, &choice);
	choice.value = sim->choices->replays ? replayed(sim->choices, &choice) % n :
					       (uint32_t)(bits % n);
	return settle(sim, host, &choice, site);
}

bool weir__sim_chance(struct weir_sim *sim, const struct weir_sim_host *host, const char *site,
		      unsigned ppm)
{
	struct choice choice;
	uint64_t bits = draw(sim, host, site, &choice);

	choice.value = sim->choices->replays ? replayed(sim->choices, &choice) & 1 :
					       bits % 1000000 < ppm;
	return settle(sim, host, &choice, site);
}

/* Each half of the range is half as likely as the one below it. In 4096ths. */
int64_t weir__sim_delay(struct weir_sim *sim, const struct weir_sim_host *host, const char *site,
			int64_t max_ns)
{
	struct choice choice;
	uint64_t bits = draw(sim, host, site, &choice);
	unsigned halvings = bits ? (unsigned)__builtin_ctzll(bits) : 12;

	if (halvings > 12)
		halvings = 12;
	/* Most bits shift it down: rare ones are long. */
	choice.value = sim->choices->replays ? replayed(sim->choices, &choice) & 4095 :
					       (uint32_t)(bits >> 40 & 4095) >> (12 - halvings);
	settle(sim, host, &choice, site);
	return max_ns / 4096 * choice.value;
}

uint64_t weir__sim_random(struct weir_sim *sim)
{
	sim->random_state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(sim->random_state);
}

uint32_t weir_sim_choose(const char *site, uint32_t n)
{
	weir_precond(weir__sim, 0);
	return weir__sim_choose(weir__sim, weir_sim_self(), site, n);
}
