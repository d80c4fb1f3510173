/* SPDX-License-Identifier: MIT */
/*
 * cli.c - the command line of `weir sim`: words into options, each wrong one named with its
 * remedy.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cpus.h"
#include "core/weir_runtime.h"
#include "ring/sim/cli.h"

#define EXIT_USAGE 64 /* EX_USAGE of sysexits(3) */
#define TIMEOUT_S 60
#define TRIALS 2000
#define NAME_MAX_SIZE 64

static const char *const abouts[WEIR_SIM_CLASSES] = {
	"CQEs shuffled, one operation starved",
	"operations that complete inline, late, or very late",
	"enters that submit less, EINTR, EAGAIN, EBUSY",
	"a tiny CQ",
	"multishots that end early",
	"cancels that lose the race, EALREADY, CQEs in either order",
	"link timeouts that race with the end",
	"a tiny SQ, as if always full",
	"ENOBUFS at will, receives of 1 byte",
	"zero-copy notifications seconds later, or a copy",
	"buffers of failed receives and consumed SQEs are overwritten",
	"the descriptor closed last comes next",
	"an older kernel",
	"ring messages that fail, eventfds that merge",
	"sends and receives of a part, down to 1 byte",
	"RST, FIN, half-close at any moment",
	"connects refused or timed out, accepts aborted",
	"EMFILE and ENFILE at accept, open, socket",
	"exponential delays and jitter",
	"partitions, one-way, two-way, clogged, for a while",
	"peers that read nothing, or a byte a second",
	"datagrams lost, doubled, reordered, cut short",
	"peers that are gone without a word",
	"short reads and writes of files, EINTR, EAGAIN",
	"EIO, ENOSPC, EROFS, once or for good",
	"fsync fails once with its data gone, or is slow",
	"power cuts: unsynced writes kept, lost, torn, garbage",
	"bit rot, stale and misdirected data",
	"files replaced or truncated between calls",
	"the wall clock jumps, timers are late",
	"cores that stand still for up to 30 s",
	"the process dies, or gets SIGTERM",
	"allocations fail, once or from then on",
	"random numbers repeat",
	"the library's own rare branches",
};

const char *weir__sim_class_about(unsigned number)
{
	return abouts[number];
}

/* --- what is wrong --- */

__attribute__((format(printf, 2, 3))) static int wrong(const struct weir_sim_cli *cli,
						       const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", cli->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	return -EINVAL;
}

/* How many letters must change to make b of a (Levenshtein); names that long are cut. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_SIZE + 1];
	size_t size = strnlen(b, NAME_MAX_SIZE);

	for (size_t j = 0; j <= size; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; a[i]; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < size; j++) {
			unsigned best = corner + (a[i] != b[j]);

			corner = row[j + 1];
			if (best > corner + 1)
				best = corner + 1;
			if (best > row[j] + 1)
				best = row[j] + 1;
			row[j + 1] = best;
		}
	}
	return row[size];
}

static int wrong_scenario(const struct weir_sim_cli *cli, const char *name)
{
	const char *nearest = NULL;
	unsigned least = UINT32_MAX;

	for (unsigned i = 0; cli->scenarios[i]; i++) {
		unsigned d = distance(name, cli->scenarios[i]->name);

		if (d < least) {
			least = d;
			nearest = cli->scenarios[i]->name;
		}
	}
	if (!nearest)
		return wrong(cli, "there is no scenario '%s', and no other", name);
	return wrong(cli, "there is no scenario '%s'; the nearest is '%s', --list shows all", name,
		     nearest);
}

static int wrong_faults(const struct weir_sim_cli *cli, const char *text)
{
	wrong(cli, "--faults %s: names of classes with commas, '-name' takes one away:", text);
	fprintf(stderr, "all none");
	for (unsigned i = 0; i < WEIR_SIM_CLASSES; i++)
		fprintf(stderr, "%s%s", i % 10 == 8 ? "\n" : " ", weir_sim_class_name(i));
	fprintf(stderr, "\n");
	return -EINVAL;
}

/* --- numbers --- */

static bool parse_number(const char *text, uint64_t *ret_number, const char **ret_end)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret_number = strtoull(text, &end, 0);
	*ret_end = end;
	return !errno;
}

static int parse_seeds(struct weir_sim_cli *cli, const char *text)
{
	const char *end;

	if (!parse_number(text, &cli->seed_first, &end))
		goto bad;
	cli->seed_last = cli->seed_first;
	if (!strncmp(end, "..", 2) && !parse_number(end + 2, &cli->seed_last, &end))
		goto bad;
	if (*end || cli->seed_last < cli->seed_first || cli->seed_last == UINT64_MAX)
		goto bad;
	return 0;
bad:
	return wrong(cli, "--seed %s: a number or a range with the larger last, as 7 or 1..200",
		     text);
}

static int parse_bounded(const struct weir_sim_cli *cli, const char *option, const char *text,
			 uint64_t max, uint64_t *ret_number)
{
	const char *end;

	if (parse_number(text, ret_number, &end) && !*end && *ret_number && *ret_number <= max)
		return 0;
	return wrong(cli, "--%s %s: a number from 1 to %" PRIu64, option, text, max);
}

/* Only that it reads as choices: what each names is known when the world is there. */
static int check_choices(const struct weir_sim_cli *cli, const char *text)
{
	const char *word = text;

	while (*(word += strspn(word, " ,\n"))) {
		int size = (int)strcspn(word, " ,\n"), read = 0;

		sscanf(word, "%*39[^@ ]@%*7[-0-9]#%*[0-9]=%*[1-9]%n%*[0-9]%n", &read, &read);
		if (read != size)
			return wrong(cli,
				     "--choices: '%.*s' is no choice: site@host#nth=value, "
				     "value not 0, with blanks between",
				     size, word);
		word += size;
	}
	return 0;
}

/* --- options --- */

enum option_code {
	OPT_SEED = 256,
	OPT_FAULTS,
	OPT_PROFILE,
	OPT_EVERY,
	OPT_SHRINK,
	OPT_TRACE,
	OPT_CHOICES,
	OPT_UNTIL,
	OPT_TWICE,
	OPT_COVERAGE,
	OPT_LIST,
	OPT_TIMEOUT,
	OPT_TRIALS,
};

static const struct option long_options[] = {
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "faults", required_argument, NULL, OPT_FAULTS },
	{ "profile", required_argument, NULL, OPT_PROFILE },
	{ "every-class", no_argument, NULL, OPT_EVERY },
	{ "shrink", no_argument, NULL, OPT_SHRINK },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "choices", required_argument, NULL, OPT_CHOICES },
	{ "until", required_argument, NULL, OPT_UNTIL },
	{ "twice", no_argument, NULL, OPT_TWICE },
	{ "coverage", no_argument, NULL, OPT_COVERAGE },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "trials", required_argument, NULL, OPT_TRIALS },
	{ "jobs", required_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void print_help(const struct weir_sim_cli *cli)
{
	printf("usage: %s SCENARIO [--seed N|A..B] [OPTIONS]\n"
	       "       %s --list\n\n"
	       "Runs a service and its peers in a simulated world, once for each seed, which\n"
	       "decides all that is left to chance. Exit code 1: a seed has failed, and the\n"
	       "command that replays it is printed.\n\n"
	       "  --seed N|A..B      which seeds (1)\n"
	       "  --faults LIST      the classes that may be armed: all, none, or names with\n"
	       "                     commas, -name takes away (what the scenario allows)\n"
	       "  --every-class      arm all of them, in each seed\n"
	       "  --profile K        the kernel: 5.15, 6.1, 6.6, 6.12 or 6.18\n"
	       "  --shrink           make the first failing run small\n"
	       "  --trials N         runs that shrinking may take (%u)\n"
	       "  --trace FILE       write what happened; ui.perfetto.dev opens it\n"
	       "  --choices \"...\"    replay these choices, all others are 0\n"
	       "  --until N          stop at choice N\n"
	       "  --twice            run each seed twice: both must do the same\n"
	       "  --coverage         fail if an armed class never struck, or a mark is missing\n"
	       "  --timeout S        real seconds that a run may take (%u)\n"
	       "  -j, --jobs N       runs at a time (as many as CPUs)\n"
	       "  --list             the scenarios\n\n"
	       "classes of faults:\n",
	       cli->name, cli->name, TRIALS, TIMEOUT_S);
	for (unsigned i = 0; i < WEIR_SIM_CLASSES; i++)
		printf("  %-12s %s\n", weir_sim_class_name(i), abouts[i]);
}

static int open_trace(struct weir_sim_cli *cli, const char *path)
{
	cli->sink = weir__sim_far_alloc(sizeof(*cli->sink));
	if (!cli->sink)
		return -ENOMEM;
	cli->sink->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (cli->sink->fd < 0)
		return wrong(cli, "--trace %s: %s; name a file that can be written", path,
			     strerror(errno));
	return 0;
}

static int parse_count(struct weir_sim_cli *cli, int code, const char *text)
{
	static const struct {
		int code;
		const char *name;
		uint64_t max;
	} counts[] = {
		{ OPT_TIMEOUT, "timeout", 86400 },
		{ OPT_TRIALS, "trials", 1000000 },
		{ OPT_UNTIL, "until", UINT64_MAX - 1 },
		{ 'j', "jobs", WEIR_SIM_JOBS_MAX },
	};
	uint64_t number = 0;
	int r = 0;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (counts[i].code == code)
			r = parse_bounded(cli, counts[i].name, text, counts[i].max, &number);
	if (r)
		return r;
	if (code == OPT_TIMEOUT)
		cli->timeout_ns = (int64_t)number * WEIR_S;
	else if (code == OPT_TRIALS)
		cli->trials_max = (unsigned)number;
	else if (code == OPT_UNTIL)
		cli->opts.stop_at = number;
	else
		cli->jobs = (unsigned)number;
	return 0;
}

static int parse_option(struct weir_sim_cli *cli, int code, const char *text)
{
	switch (code) {
	case OPT_SEED:
		return parse_seeds(cli, text);
	case OPT_FAULTS:
		cli->faults = text;
		cli->opts.faults_given = true;
		if (weir_sim_classes_parse(text, &cli->opts.faults))
			return wrong_faults(cli, text);
		return 0;
	case OPT_PROFILE:
		cli->opts.profile = text;
		if (!weir__sim_profile(text))
			return wrong(cli, "--profile %s: one of 5.15, 6.1, 6.6, 6.12, 6.18", text);
		return 0;
	case OPT_EVERY:
		cli->opts.every_class = true;
		return 0;
	case OPT_SHRINK:
		cli->shrink = true;
		return 0;
	case OPT_TRACE:
		cli->opts.trace = text;
		return 0;
	case OPT_CHOICES:
		cli->opts.choices = text;
		return check_choices(cli, text);
	case OPT_TWICE:
		cli->twice = true;
		return 0;
	case OPT_COVERAGE:
		cli->coverage = true;
		return 0;
	case OPT_LIST:
		cli->list = true;
		return 0;
	case 'h':
		cli->help = true;
		return 0;
	case '?':
		return wrong(cli, "--help shows the options");
	default:
		return parse_count(cli, code, text);
	}
}

static int find_scenario(struct weir_sim_cli *cli, const char *name)
{
	for (unsigned i = 0; cli->scenarios[i]; i++)
		if (!strcmp(cli->scenarios[i]->name, name))
			cli->scenario = cli->scenarios[i];
	return cli->scenario ? 0 : wrong_scenario(cli, name);
}

/* What each option allows, and together they do not. */
static int check(struct weir_sim_cli *cli)
{
	bool many = cli->seed_first != cli->seed_last;

	if (!cli->scenario)
		return wrong(cli, "which scenario? --list shows them");
	if (many && cli->opts.trace && !cli->shrink)
		return wrong(cli, "--trace is of one run: give one --seed, or --shrink");
	if (many && (cli->opts.choices || cli->opts.stop_at))
		return wrong(cli, "--choices and --until are of one run: give one --seed");
	if (cli->shrink && (cli->twice || cli->opts.stop_at))
		return wrong(cli, "--shrink goes neither with --twice nor with --until");
	return 0;
}

static int parse(struct weir_sim_cli *cli, int argc, char **argv)
{
	int code, r = 0;

	optind = 1;
	while (!r && (code = getopt_long(argc, argv, "j:h", long_options, NULL)) != -1)
		r = parse_option(cli, code, optarg);
	if (r || cli->help || cli->list)
		return r;
	if (optind < argc)
		r = find_scenario(cli, argv[optind++]);
	if (!r && optind < argc)
		r = wrong(cli, "'%s' is one scenario too many", argv[optind]);
	r = r ? r : check(cli);
	if (!r && cli->opts.trace)
		r = open_trace(cli, cli->opts.trace);
	cli->opts.trace = NULL; /* runs get the open file */
	return r;
}

static void print_list(const struct weir_sim_cli *cli)
{
	for (unsigned i = 0; cli->scenarios[i]; i++)
		printf("%-20s %s\n", cli->scenarios[i]->name,
		       cli->scenarios[i]->about ? cli->scenarios[i]->about : "");
}

int weir_sim_main(int argc, char **argv, const struct weir_sim_scenario *const *scenarios)
{
	struct weir_sim_cli cli = {
		.name = argv[0],
		.scenarios = scenarios,
		.seed_first = 1,
		.seed_last = 1,
		.jobs = weir_cpus(),
		.timeout_ns = TIMEOUT_S * WEIR_S,
		.trials_max = TRIALS,
	};

	if (cli.jobs > WEIR_SIM_JOBS_MAX)
		cli.jobs = WEIR_SIM_JOBS_MAX;
	if (parse(&cli, argc, argv))
		return EXIT_USAGE;
	if (cli.help) {
		print_help(&cli);
		return 0;
	}
	if (cli.list) {
		print_list(&cli);
		return 0;
	}
	weir__sim_guard_fix_addresses();
	weir__sim_guard_prepare();
	if (cli.seed_first == cli.seed_last)
		cli.jobs = cli.shrink ? cli.jobs : 1;
	return weir__sim_campaign(&cli);
}
