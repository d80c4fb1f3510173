/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - makes a failing run small: the fewest choices that are not 0 and still break the
 * same invariant.
 *
 * First what takes much away at once: the tail, then all choices of a site (with "arm-reset" goes
 * every reset). Then delta debugging: ranges, from halves down to single choices (Zeller,
 * Hildebrandt, IEEE TSE 28(2), 2002). Then smaller values. A trial that still fails is
 * adopted as it was recorded: what it did not come to is gone as well. Several are tried at a
 * time, and the first in order that fails is taken, so the result does not depend on how
 * many.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ring/sim/cli.h"

#define TIME_MAX_NS (600 * WEIR_S)
#define CHOICE_TEXT 96 /* "site@host#nth=value " */

enum cut_kind { CUT_NOTHING, CUT_RANGE, CUT_SITE, CUT_VALUE };

/* What a trial leaves out of the choices that are known to fail. */
struct cut {
	enum cut_kind kind;
	uint32_t from, to; /* of a range; of a site or value: from alone, its index */
	uint32_t value;
};

/* Allocated far away, at once: see cli.h. */
struct shrink {
	struct weir_sim_cli cli; /* with a shorter timeout */
	struct weir_sim_job *jobs;
	uint64_t seed;
	struct weir_sim_verdict wanted;
	struct weir_sim_verdict found; /* of the smallest run */
	unsigned trials;
	int64_t until_ns;
	int error;
	uint32_t count;
	struct weir_sim_made list[WEIR_SIM_RECORDED_MAX];
	char hosts[WEIR_SIM_HOSTS][32];
	char *texts[WEIR_SIM_JOBS_MAX];
};

/* --- trials --- */

static bool is_cut(const struct shrink *shrink, const struct cut *cut, uint32_t index)
{
	if (cut->kind == CUT_RANGE)
		return index >= cut->from && index < cut->to;
	return cut->kind == CUT_SITE &&
	       !strcmp(shrink->list[index].site, shrink->list[cut->from].site);
}

static size_t print_choice(char *text, const struct weir_sim_made *made, uint32_t value)
{
	char host[16] = "-";

	if (made->host >= 0)
		snprintf(host, sizeof(host), "%d", made->host);
	return (size_t)snprintf(text, CHOICE_TEXT, "%s@%s#%" PRIu64 "=%" PRIu32, made->site, host,
				made->nth, value);
}

/* The choices but for cut, as --choices takes them. */
static void print_choices(const struct shrink *shrink, const struct cut *cut, char *text)
{
	size_t size = 0;

	for (uint32_t i = 0; i < shrink->count; i++) {
		const struct weir_sim_made *made = &shrink->list[i];
		bool other = cut->kind == CUT_VALUE && cut->from == i;

		if (is_cut(shrink, cut, i))
			continue;
		if (size)
			text[size++] = ' ';
		size += print_choice(text + size, made, other ? cut->value : made->value);
	}
	text[size] = '\0';
}

static bool fails_alike(const struct shrink *shrink, const struct weir_sim_job *job)
{
	struct weir_sim_verdict verdict;

	weir__sim_job_judge(job, &verdict);
	return verdict.failed && !strcmp(verdict.name, shrink->wanted.name) &&
	       job->outcome->made_count <= WEIR_SIM_RECORDED_MAX;
}

static void adopt(struct shrink *shrink, const struct weir_sim_job *job)
{
	const struct weir_sim_outcome *outcome = job->outcome;

	shrink->count = (uint32_t)outcome->made_count;
	memcpy(shrink->list, outcome->made, shrink->count * sizeof(outcome->made[0]));
	memcpy(shrink->hosts, outcome->hosts, sizeof(shrink->hosts));
	weir__sim_job_judge(job, &shrink->found);
}

static void wait_all(struct weir_sim_job *jobs, unsigned count)
{
	unsigned running;

	do {
		running = 0;
		weir__sim_jobs_wait(jobs, count);
		for (unsigned i = 0; i < count; i++)
			running += jobs[i].pid != 0;
	} while (running);
}

static int start(struct shrink *shrink, unsigned index, const char *choices, bool trace)
{
	struct weir_sim_opts opts = shrink->cli.opts;
	struct weir_sim_wish wish = { .record = true, .trace = trace };

	opts.seed = shrink->seed;
	opts.choices = choices;
	shrink->trials++;
	return weir__sim_job_start(&shrink->jobs[index], &shrink->cli, &opts, wish);
}

static bool may_try(const struct shrink *shrink)
{
	return !shrink->error && shrink->trials < shrink->cli.trials_max &&
	       weir_clock() < shrink->until_ns;
}

/* Tries count cuts at once, adopts the first that fails alike: its index, or -1. */
static int try_cuts(struct shrink *shrink, const struct cut *cuts, unsigned count)
{
	unsigned started = 0;

	while (started < count && !shrink->error) {
		print_choices(shrink, &cuts[started], shrink->texts[started]);
		shrink->error = start(shrink, started, shrink->texts[started], false);
		started += !shrink->error;
	}
	wait_all(shrink->jobs, started);
	for (unsigned i = 0; i < started; i++) {
		if (!fails_alike(shrink, &shrink->jobs[i]))
			continue;
		adopt(shrink, &shrink->jobs[i]);
		return (int)i;
	}
	return -1;
}

static bool try_one(struct shrink *shrink, struct cut cut)
{
	return may_try(shrink) && !try_cuts(shrink, &cut, 1);
}

/* --- what is tried --- */

static void cut_tail(struct shrink *shrink)
{
	uint32_t part = shrink->count / 2;

	while (part) {
		struct cut cut = { CUT_RANGE, shrink->count - part, shrink->count, 0 };

		if (shrink->count <= part || !try_one(shrink, cut))
			part /= 2;
	}
}

static bool is_first_of_site(const struct shrink *shrink, uint32_t index)
{
	for (uint32_t i = 0; i < index; i++)
		if (!strcmp(shrink->list[i].site, shrink->list[index].site))
			return false;
	return true;
}

/* The next index from which a whole site can be cut; count: none. */
static uint32_t next_site(const struct shrink *shrink, uint32_t index)
{
	while (index < shrink->count && !is_first_of_site(shrink, index))
		index++;
	return index;
}

/*
 * Sites whose name is so long that it begins with prefix ("arm-": the classes), or all. What is
 * adopted has lost a site, so those not tried yet move to the front: begin again where we were.
 */
static void cut_sites(struct shrink *shrink, const char *prefix)
{
	uint32_t at = 0;

	while (may_try(shrink)) {
		struct cut cuts[WEIR_SIM_JOBS_MAX];
		unsigned count = 0;
		uint32_t index = at;
		int taken;

		while (count < shrink->cli.jobs &&
		       (index = next_site(shrink, index)) < shrink->count) {
			if (!strncmp(shrink->list[index].site, prefix, strlen(prefix)))
				cuts[count++] = (struct cut){ CUT_SITE, index, 0, 0 };
			index++;
		}
		if (!count)
			return;
		taken = try_cuts(shrink, cuts, count);
		at = taken < 0 ? index : cuts[taken].from;
	}
}

/* Cuts ranges of size, each once. Whether any was taken. */
static bool cut_ranges(struct shrink *shrink, uint32_t size)
{
	uint32_t at = 0;
	bool any = false;

	while (at < shrink->count && may_try(shrink)) {
		struct cut cuts[WEIR_SIM_JOBS_MAX];
		unsigned count = 0;
		int taken;

		for (uint32_t from = at; count < shrink->cli.jobs && from < shrink->count;
		     from += size)
			cuts[count++] = (struct cut){ CUT_RANGE, from, from + size, 0 };
		taken = try_cuts(shrink, cuts, count);
		any |= taken >= 0;
		at = taken >= 0 ? cuts[taken].from : cuts[count - 1].to;
	}
	return any;
}

static void cut_all_ranges(struct shrink *shrink)
{
	uint32_t size;

	for (size = (shrink->count + 1) / 2; size > 1; size = (size + 1) / 2) {
		cut_ranges(shrink, size);
		if (size > shrink->count)
			size = shrink->count + 1;
	}
	while (shrink->count && cut_ranges(shrink, 1))
		;
}

static void cut_values(struct shrink *shrink)
{
	for (uint32_t i = 0; i < shrink->count && may_try(shrink); i++) {
		struct weir_sim_made *made = &shrink->list[i];

		if (made->value > 1)
			try_one(shrink, (struct cut){ CUT_VALUE, i, 0, 1 });
		while (i < shrink->count && made->value > 1 &&
		       try_one(shrink, (struct cut){ CUT_VALUE, i, 0, made->value / 2 }))
			;
	}
}

/* --- telling --- */

static void print_what(const struct shrink *shrink, const struct weir_sim_made *made)
{
	const char *host = made->host < 0 ? "the world" : shrink->hosts[made->host];
	const char *class = strchr(made->site, '-');

	for (unsigned i = 0; class && i < WEIR_SIM_CLASSES; i++) {
		if (strcmp(class + 1, weir_sim_class_name(i)))
			continue;
		if (!strncmp(made->site, "arm-", 4)) {
			printf("%s is armed: %s\n", class + 1, weir__sim_class_about(i));
			return;
		}
		if (!strncmp(made->site, "rate-", 5)) {
			printf("%s strikes more often, %" PRIu32 " of 3\n", class + 1, made->value);
			return;
		}
	}
	printf("at %.6f s, choice %" PRIu64 ": ", (double)made->at_ns / 1e9, made->number);
	if (!strcmp(made->site, "schedule"))
		printf("of those ready to run, number %" PRIu32 " comes first\n", made->value);
	else
		printf("%s on %s, time %" PRIu64 "\n", made->site, host, made->nth + 1);
}

static void print_result(const struct shrink *shrink, uint32_t before, int64_t began_ns)
{
	const struct cut nothing = { CUT_NOTHING, 0, 0, 0 };

	printf("\nshrunk to %" PRIu32 " choice%s of %" PRIu32 ", in %u runs and %.1f s%s:\n",
	       shrink->count, shrink->count == 1 ? "" : "s", before, shrink->trials,
	       (double)(weir_clock() - began_ns) / 1e9,
	       may_try(shrink) ? "" : " (no more are allowed)");
	for (uint32_t i = 0; i < shrink->count; i++) {
		char text[CHOICE_TEXT];

		print_choice(text, &shrink->list[i], shrink->list[i].value);
		printf("  %-32s ", text);
		print_what(shrink, &shrink->list[i]);
	}
	print_choices(shrink, &nothing, shrink->texts[0]);
	weir__sim_print_verdict(shrink->seed, &shrink->found);
	weir__sim_print_replay(&shrink->cli, shrink->seed, shrink->texts[0]);
	fflush(stdout);
}

/* --- the whole --- */

/* Runs the seed again, its choices recorded, and then by its choices alone. */
static bool record(struct shrink *shrink)
{
	const struct weir_sim_job *job = &shrink->jobs[0];

	shrink->error = start(shrink, 0, shrink->cli.opts.choices, false);
	if (shrink->error)
		return false;
	wait_all(shrink->jobs, 1);
	if (job->outcome->made_count > WEIR_SIM_RECORDED_MAX) {
		printf("not shrunk: it makes %" PRIu64 " choices, %u can be recorded\n",
		       job->outcome->made_count, WEIR_SIM_RECORDED_MAX);
		return false;
	}
	if (!fails_alike(shrink, job)) {
		printf("not shrunk: run again it does not fail so; --twice tells why\n");
		return false;
	}
	adopt(shrink, job);
	shrink->cli.timeout_ns = 4 * (job->ended_ns - job->began_ns) + 2 * WEIR_S;
	if (try_one(shrink, (struct cut){ CUT_NOTHING, 0, 0, 0 }))
		return true;
	printf("not shrunk: by its choices alone it does not fail so\n");
	return false;
}

static void make_small(struct shrink *shrink)
{
	uint32_t before;

	cut_tail(shrink);
	cut_sites(shrink, "arm-");
	cut_sites(shrink, "");
	cut_all_ranges(shrink);
	cut_values(shrink);
	do {
		before = shrink->count;
		cut_sites(shrink, "");
		cut_all_ranges(shrink);
	} while (shrink->count < before);
}

static void write_trace(struct shrink *shrink)
{
	const struct cut nothing = { CUT_NOTHING, 0, 0, 0 };

	print_choices(shrink, &nothing, shrink->texts[0]);
	shrink->error = start(shrink, 0, shrink->texts[0], true);
	if (!shrink->error)
		wait_all(shrink->jobs, 1);
}

int weir__sim_shrink(const struct weir_sim_cli *cli, struct weir_sim_job *jobs, uint64_t seed,
		     const struct weir_sim_verdict *verdict)
{
	struct shrink *shrink = weir__sim_far_alloc(sizeof(*shrink));
	int64_t began_ns = weir_clock();
	uint32_t before;

	if (!shrink)
		return -ENOMEM;
	shrink->cli = *cli;
	shrink->jobs = jobs;
	shrink->seed = seed;
	shrink->wanted = *verdict;
	shrink->until_ns = began_ns + TIME_MAX_NS;
	for (unsigned i = 0; i < cli->jobs; i++) {
		shrink->texts[i] = weir__sim_far_alloc((size_t)WEIR_SIM_RECORDED_MAX * CHOICE_TEXT);
		if (!shrink->texts[i])
			return -ENOMEM;
	}
	if (!record(shrink))
		return shrink->error;
	before = shrink->count;
	make_small(shrink);
	print_result(shrink, before, began_ns);
	if (cli->sink)
		write_trace(shrink);
	return shrink->error;
}
