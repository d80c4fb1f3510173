/* SPDX-License-Identifier: MIT */
/*
 * campaign.c - a range of seeds: run several at a time, told in order, summed up.
 *
 * Results wait in a window until those before them are there; a seed that takes long holds
 * back what is printed, and no more than a window of others is begun meanwhile.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/sim/cli.h"

#define WINDOW 1024
#define SAID_MAX 4096
#define TELL_NS (100 * WEIR_MS)
#define FAILED_SHOWN 20

struct result {
	bool done;
	bool stopped; /* at --until */
	uint64_t hash;
	struct weir_sim_verdict verdict;
	size_t said_size;
	char said[SAID_MAX];
};

struct total {
	uint64_t runs, failed, cqes, steps, choices;
	double virtual_s, cpu_s;
	uint64_t hits[WEIR_SIM_CLASSES];
	uint64_t armed[WEIR_SIM_CLASSES]; /* in how many runs */
	struct weir_sim_mark marks[WEIR_SIM_MARKS];
	unsigned marks_count;
	uint64_t failed_seeds[FAILED_SHOWN];
};

static struct campaign {
	const struct weir_sim_cli *cli;
	struct weir_sim_job jobs[WEIR_SIM_JOBS_MAX];
	bool second[WEIR_SIM_JOBS_MAX]; /* the job runs its seed for the second time */
	uint64_t first_hash[WEIR_SIM_JOBS_MAX];
	struct result *window;	     /* WINDOW of them */
	uint64_t count, begun, told; /* seeds */
	bool stops;		     /* no other is begun */
	int error;
	int64_t began_ns, told_ns;
	bool progress;
	struct weir_sim_verdict verdict; /* of the first that failed */
	struct total total;
} campaign;

/* --- one line each --- */

static void print_quoted_option(const char *name, const char *value)
{
	if (value)
		printf(" --%s \"%s\"", name, value);
}

void weir__sim_print_replay(const struct weir_sim_cli *cli, uint64_t seed, const char *choices)
{
	printf("  %s %s --seed %" PRIu64, cli->name, cli->scenario->name, seed);
	if (cli->faults)
		printf(" --faults %s", cli->faults);
	if (cli->opts.profile)
		printf(" --profile %s", cli->opts.profile);
	if (cli->opts.every_class)
		printf(" --every-class");
	print_quoted_option("choices", choices);
	printf("\n");
}

void weir__sim_print_verdict(uint64_t seed, const struct weir_sim_verdict *verdict)
{
	printf("seed %" PRIu64 ": FAILED invariant \"%s\" (%s) at %.3f s, choice %" PRIu64 "\n",
	       seed, verdict->name, verdict->seen, (double)verdict->at_ns / 1e9, verdict->choice);
}

/* What a process said, as lines that begin with a bar. */
static void print_said(const char *text, size_t size)
{
	while (size) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		printf("  | %.*s\n", (int)length, text);
		length += end ? 1 : 0;
		text += length;
		size -= length;
	}
}

static void clear_progress(void)
{
	if (campaign.progress)
		fprintf(stderr, "\r\033[K");
}

static void print_progress(void)
{
	int64_t now_ns = weir_clock();
	double seconds = (double)(now_ns - campaign.began_ns) / 1e9;

	if (now_ns - campaign.told_ns < TELL_NS)
		return;
	campaign.told_ns = now_ns;
	fflush(stdout);
	if (campaign.progress)
		fprintf(stderr,
			"\r\033[K%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " failed, %.0f/s",
			campaign.told, campaign.count, campaign.total.failed,
			(double)campaign.total.runs / (seconds > 0 ? seconds : 1));
}

/* --- sums --- */

static void add_mark(struct total *total, const struct weir_sim_mark *mark)
{
	unsigned i = 0;

	while (i < total->marks_count && strcmp(total->marks[i].name, mark->name))
		i++;
	if (i == WEIR_SIM_MARKS)
		return;
	if (i == total->marks_count)
		total->marks[total->marks_count++] = (struct weir_sim_mark){ 0 };
	strcpy(total->marks[i].name, mark->name);
	total->marks[i].reached |= mark->reached;
}

static void add_run(struct total *total, const struct weir_sim_job *job)
{
	const struct weir_sim_outcome *outcome = job->outcome;
	const struct weir_sim_report *report = &outcome->report;

	total->runs++;
	total->cqes += report->cqes;
	total->steps += report->steps;
	total->choices += report->choices_made;
	total->virtual_s += (double)report->virtual_ns / 1e9;
	total->cpu_s += (double)job->cpu_ns / 1e9;
	for (unsigned i = 0; i < WEIR_SIM_CLASSES; i++) {
		total->hits[i] += report->hits[i];
		total->armed[i] += report->faults >> i & 1;
	}
	for (unsigned i = 0; i < outcome->marks_count; i++)
		add_mark(total, &outcome->marks[i]);
}

static void print_hits(const struct total *total)
{
	const char *before = "faults: ";

	for (unsigned i = 0; i < WEIR_SIM_CLASSES; i++) {
		if (!total->hits[i])
			continue;
		printf("%s%s %" PRIu64, before, weir_sim_class_name(i), total->hits[i]);
		before = ", ";
	}
	printf("%s\n", before[0] == ',' ? "" : "faults: none");
}

/* Every class that was armed, and every mark. How many were never hit, never reached. */
static unsigned print_coverage(const struct total *total)
{
	unsigned missing = 0;

	printf("\n%-12s %12s %12s\n", "class", "armed in", "hits");
	for (unsigned i = 0; i < WEIR_SIM_CLASSES; i++) {
		if (!total->armed[i])
			continue;
		printf("%-12s %12" PRIu64 " %12" PRIu64 "%s\n", weir_sim_class_name(i),
		       total->armed[i], total->hits[i], total->hits[i] ? "" : "  never hit");
		missing += !total->hits[i];
	}
	for (unsigned i = 0; i < total->marks_count; i++) {
		const struct weir_sim_mark *mark = &total->marks[i];

		printf("mark \"%s\": %s\n", mark->name,
		       mark->reached ? "reached" : "never reached");
		missing += !mark->reached;
	}
	return missing;
}

static void print_marks(const struct total *total)
{
	unsigned reached = 0;

	if (!total->marks_count)
		return;
	for (unsigned i = 0; i < total->marks_count; i++)
		reached += total->marks[i].reached;
	printf("marks: %u of %u reached\n", reached, total->marks_count);
	for (unsigned i = 0; i < total->marks_count; i++)
		if (!total->marks[i].reached)
			printf("  not reached: %s\n", total->marks[i].name);
}

static void print_summary(void)
{
	const struct weir_sim_cli *cli = campaign.cli;
	const struct total *total = &campaign.total;
	double cpu_s = total->cpu_s > 0 ? total->cpu_s : 1e-6;
	double wall_s = (double)(weir_clock() - campaign.began_ns) / 1e9;

	clear_progress();
	printf("\n%s: %" PRIu64 " seed%s, %" PRIu64 " failed, in %.1f s, %u at a time\n",
	       cli->scenario->name, campaign.told, campaign.told == 1 ? "" : "s", total->failed,
	       wall_s, cli->jobs);
	printf("virtual time : CPU time %.0f : 1; %.2f M completions/s, %.2f M steps/s of a core\n",
	       total->virtual_s / cpu_s, (double)total->cqes / cpu_s / 1e6,
	       (double)total->steps / cpu_s / 1e6);
	print_hits(total);
	print_marks(total);
	if (!total->failed)
		return;
	printf("to replay what failed:\n");
	for (uint64_t i = 0; i < total->failed && i < FAILED_SHOWN; i++)
		weir__sim_print_replay(cli, total->failed_seeds[i], cli->opts.choices);
	if (total->failed > FAILED_SHOWN)
		printf("  and %" PRIu64 " more\n", total->failed - FAILED_SHOWN);
}

/* --- a seed's end --- */

static void describe(char *text, size_t size, const struct weir_sim_record *record)
{
	snprintf(text, size, "\"%s\" %" PRId64 " %" PRId64 ", host %d core %d, at %.6f s",
		 record->name, record->a, record->b, record->host, record->core,
		 (double)record->at_ns / 1e9);
}

/* What the two runs of a seed first did otherwise. */
static void judge_pair(const struct weir_sim_log *log, struct weir_sim_verdict *verdict)
{
	char one[96] = "nothing more", other[96] = "nothing more";

	verdict->failed = true;
	strcpy(verdict->name, "equal runs are equal");
	if (!log->differs) {
		snprintf(verdict->seen, sizeof(verdict->seen),
			 "not deterministic: they differ after record %" PRIu64, log->count);
		return;
	}
	if (!log->longer)
		describe(one, sizeof(one), &log->records[log->count]);
	if (!log->shorter)
		describe(other, sizeof(other), &log->found);
	snprintf(verdict->seen, sizeof(verdict->seen),
		 "not deterministic: record %" PRIu64 " is %s; then %s", log->count + 1, one,
		 other);
}

static void settle(unsigned index)
{
	struct weir_sim_job *job = &campaign.jobs[index];
	struct result *result = &campaign.window[(job->seed - campaign.cli->seed_first) % WINDOW];
	const struct weir_sim_outcome *outcome = job->outcome;

	add_run(&campaign.total, job);
	weir__sim_job_judge(job, &result->verdict);
	if (campaign.second[index] && outcome->finished &&
	    outcome->report.hash != campaign.first_hash[index])
		judge_pair(&outcome->log, &result->verdict);
	if (campaign.cli->twice && !campaign.second[index] && !result->verdict.failed) {
		struct weir_sim_opts opts = campaign.cli->opts;

		opts.seed = job->seed;
		campaign.first_hash[index] = outcome->report.hash;
		campaign.second[index] = true;
		campaign.error =
			weir__sim_job_start(job, campaign.cli, &opts,
					    (struct weir_sim_wish){ .log = true, .compare = true });
		return;
	}
	result->said_size = weir__sim_job_said(job, result->said, sizeof(result->said));
	result->hash = outcome->report.hash;
	result->stopped = outcome->finished && outcome->report.result == -EINTR;
	result->done = true;
}

static void tell_failure(uint64_t seed, const struct result *result)
{
	struct total *total = &campaign.total;

	weir__sim_print_verdict(seed, &result->verdict);
	weir__sim_print_replay(campaign.cli, seed, campaign.cli->opts.choices);
	if (!total->failed)
		campaign.verdict = result->verdict;
	if (total->failed < FAILED_SHOWN)
		total->failed_seeds[total->failed] = seed;
	total->failed++;
	if (campaign.cli->shrink)
		campaign.stops = true;
}

static void tell(uint64_t seed, const struct result *result)
{
	clear_progress();
	if (result->verdict.failed)
		tell_failure(seed, result);
	else if (result->stopped)
		printf("seed %" PRIu64 ": stopped at choice %" PRIu64
		       ", %.6f s, trace hash %016" PRIx64 "\n",
		       seed, campaign.cli->opts.stop_at, (double)result->verdict.at_ns / 1e9,
		       result->hash);
	else
		printf("seed %" PRIu64 ": ok, trace hash %016" PRIx64 "\n", seed, result->hash);
	if (result->verdict.failed || campaign.count == 1)
		print_said(result->said, result->said_size);
	if (result->verdict.failed)
		fflush(stdout);
}

static void tell_in_order(void)
{
	while (campaign.told < campaign.begun) {
		struct result *result = &campaign.window[campaign.told % WINDOW];

		if (!result->done || (campaign.cli->shrink && campaign.total.failed))
			return;
		tell(campaign.cli->seed_first + campaign.told, result);
		result->done = false;
		campaign.told++;
	}
}

/* --- all of them --- */

static bool begin_next(unsigned index)
{
	const struct weir_sim_cli *cli = campaign.cli;
	struct weir_sim_opts opts = cli->opts;
	struct weir_sim_wish wish = { .log = cli->twice, .trace = cli->sink && !cli->shrink };

	if (campaign.stops || campaign.error || campaign.begun == campaign.count ||
	    campaign.begun - campaign.told == WINDOW)
		return false;
	opts.seed = cli->seed_first + campaign.begun;
	campaign.second[index] = false;
	campaign.error = weir__sim_job_start(&campaign.jobs[index], cli, &opts, wish);
	if (campaign.error)
		return false;
	campaign.begun++;
	return true;
}

static void run_all(void)
{
	unsigned running;

	do {
		running = 0;
		for (unsigned i = 0; i < campaign.cli->jobs; i++)
			running += campaign.jobs[i].pid || begin_next(i);
		if (running) {
			int index = weir__sim_jobs_wait(campaign.jobs, campaign.cli->jobs);

			if (index >= 0)
				settle((unsigned)index);
		}
		tell_in_order();
		print_progress();
	} while (running);
}

static int shrink_first(void)
{
	const struct weir_sim_cli *cli = campaign.cli;

	clear_progress();
	return weir__sim_shrink(cli, campaign.jobs, campaign.total.failed_seeds[0],
				&campaign.verdict);
}

/* What a run that died had not yet written is written here. */
static bool end_trace(const struct weir_sim_cli *cli)
{
	int r = cli->sink ? weir__sim_sink_end(cli->sink) : 0;

	if (r)
		fprintf(stderr, "%s: the trace is not whole: %s\n", cli->name, strerror(-r));
	return !r;
}

int weir__sim_campaign(const struct weir_sim_cli *cli)
{
	unsigned missing = 0;
	int r = weir__sim_jobs_create(campaign.jobs, cli->jobs);

	campaign.cli = cli;
	campaign.count = cli->seed_last - cli->seed_first + 1;
	campaign.progress = isatty(STDERR_FILENO);
	campaign.began_ns = weir_clock();
	campaign.window = weir__sim_far_alloc(WINDOW * sizeof(struct result));
	if (!r && !campaign.window)
		r = -ENOMEM;
	if (!r) {
		run_all();
		r = campaign.error;
	}
	if (!r && cli->shrink && campaign.total.failed)
		r = shrink_first();
	if (r) {
		fflush(stdout);
		fprintf(stderr, "%s: a run could not be started: %s\n", cli->name, strerror(-r));
		return 1;
	}
	print_summary();
	if (cli->coverage)
		missing = print_coverage(&campaign.total);
	fflush(stdout);
	return !end_trace(cli) || campaign.total.failed || missing;
}
