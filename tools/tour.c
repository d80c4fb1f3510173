/* SPDX-License-Identifier: MIT */
/*
 * tour.c - weir tour: what weir does, shown in about twenty seconds on real files and real
 * sockets. A child process serves a directory exactly as `weir serve` does; this one is its
 * load, and then demonstrates back-pressure. Every number was measured in this run, and
 * every byte checked.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/weir_runtime.h"
#include "ring/weir_run.h"
#include "tools/command.h"
#include "tools/tour.h"

#define CONNS 64

static struct tour_file files[TOUR_FILES] = {
	{ "index.html", 3000, NULL },	{ "style.css", 12000, NULL }, { "app.js", 48000, NULL },
	{ "small.txt", 100, NULL },	{ "page.html", 9000, NULL },  { "data.json", 1024, NULL },
	{ "picture.png", 100 << 10, NULL }, { "icon.svg", 700, NULL },
};

struct tour {
	char directory[64], www[80], port_file[80];
	char address[128], admin[128];
	pid_t child;
	double cpu_before;
	double enters_before;
};

/* --- the directory --- */

static int write_file(const char *directory, struct tour_file *file)
{
	char path[160];
	int fd;
	ssize_t n;

	file->content = malloc(file->size);
	if (!file->content)
		return -ENOMEM;
	for (uint32_t i = 0; i < file->size; i++)
		file->content[i] = (char)(' ' + (i * 7 + i / 97) % 94);
	snprintf(path, sizeof(path), "%s/%s", directory, file->name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	n = write(fd, file->content, file->size);
	close(fd);
	return n == (ssize_t)file->size ? 0 : -ENOSPC;
}

static int make_directory(struct tour *tour)
{
	int r = 0;

	strcpy(tour->directory, "/tmp/weir-tour-XXXXXX");
	if (!mkdtemp(tour->directory))
		return -errno;
	snprintf(tour->www, sizeof(tour->www), "%s/www", tour->directory);
	snprintf(tour->port_file, sizeof(tour->port_file), "%s/port", tour->directory);
	if (mkdir(tour->www, 0755) < 0)
		return -errno;
	for (int i = 0; !r && i < TOUR_FILES; i++)
		r = write_file(tour->www, &files[i]);
	return r;
}

static void remove_directory(const struct tour *tour)
{
	char path[160];

	for (int i = 0; i < TOUR_FILES; i++) {
		snprintf(path, sizeof(path), "%s/%s", tour->www, files[i].name);
		unlink(path);
		free(files[i].content);
	}
	unlink(tour->port_file);
	rmdir(tour->www);
	rmdir(tour->directory);
}

/* --- the server --- */

static int start_server(struct tour *tour)
{
	char *argv[] = { "weir", "serve", "--listen", "tcp://127.0.0.1:0", "--admin",
			 "tcp://127.0.0.1:0", "--port-file", tour->port_file, tour->www, NULL };
	struct timespec pause = { .tv_nsec = 10000000 };
	FILE *file = NULL;
	int status;

	tour->child = fork();
	if (tour->child < 0)
		return -errno;
	if (!tour->child) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);	/* it does not outlive the tour */
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	for (int i = 0; i < 1000 && !file; i++) {
		nanosleep(&pause, NULL);
		if (waitpid(tour->child, &status, WNOHANG) > 0) {
			tour->child = 0;
			return -ECHILD;
		}
		file = fopen(tour->port_file, "re");
	}
	if (!file)
		return -ETIMEDOUT;
	status = fscanf(file, "%127s admin %127s", tour->address, tour->admin);
	fclose(file);
	return status == 2 ? 0 : -EPROTO;
}

/* Returns whether it drained and exited with 0. */
static bool stop_server(struct tour *tour)
{
	int status = 1;

	if (!tour->child)
		return false;
	kill(tour->child, SIGTERM);
	waitpid(tour->child, &status, 0);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static double server_cpu(const struct tour *tour)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(tour->child, &clock) || clock_gettime(clock, &ts))
		return 0;
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The sum (or, for slots, the largest) of a metric over all cores. */
static double metric(const char *text, const char *name, bool largest)
{
	size_t size = strlen(name);
	double result = 0;

	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *value;

		line += *line == '\n';
		if (strncmp(line, name, size) || (line[size] != '{' && line[size] != ' '))
			continue;
		value = strchr(line, ' ');
		if (!value)
			break;
		if (largest)
			result = strtod(value, NULL) > result ? strtod(value, NULL) : result;
		else
			result += strtod(value, NULL);
	}
	return result;
}

static double enters(const struct tour *tour, double *ret_slots)
{
	char *text;
	double value = 0;

	if (tour_get(tour->admin, "/metrics", &text) < 0)
		return 0;
	value = metric(text, "weir_enters_total", false);
	if (ret_slots)
		*ret_slots = metric(text, "weir_slots_high", true);
	free(text);
	return value;
}

/* --- output --- */

static void progress(double left_s, double rate)
{
	if (isatty(STDOUT_FILENO))
		printf("\r  %4.1f s left, %9.0f requests/s   ", left_s, rate);
	else
		printf("  %.1f s left, %.0f requests/s\n", left_s, rate);
	fflush(stdout);
}

static void begin(void *arg)
{
	struct tour *tour = arg;

	tour->enters_before = enters(tour, NULL);
	tour->cpu_before = server_cpu(tour);
}

static void print_row(const char *name, int decimals, double value)
{
	printf("  %-34s %.*f\n", name, decimals, value);
}

struct after {
	const struct tour *tour;
	double enters, slots;
};

static int look_after(void *arg)
{
	struct after *after = arg;

	after->enters = enters(after->tour, &after->slots);
	return 0;
}

static void print_load(const struct tour_load *load, double cpu)
{
	print_row("requests/s", 0, (double)load->requests / load->seconds);
	print_row("MiB/s", 0, (double)load->bytes / load->seconds / 1048576);
	print_row("server CPU us per request", 2, cpu * 1e6 / (double)load->requests);
	print_row("latency p50 us", 0, (double)weir_histogram_percentile(load->latency, 50) / 1e3);
	print_row("latency p99 us", 0, (double)weir_histogram_percentile(load->latency, 99) / 1e3);
	print_row("latency p99.9 us", 0,
		  (double)weir_histogram_percentile(load->latency, 99.9) / 1e3);
}

static int show_load(struct tour *tour, double seconds)
{
	struct tour_load load = {
		.address = tour->address,
		.files = files,
		.conns = CONNS,
		.warmup_ns = WEIR_S / 2,
		.run_ns = (int64_t)(seconds * 1e9),
		.progress = progress,
		.begin = begin,
		.arg = tour,
	};
	struct after after = { .tour = tour };
	struct weir_opts opts = { .cores = 1, .no_pin = true };
	double cpu;
	int r;

	printf("1. %d files of 100 bytes to 100 KiB, served by `weir serve` on %u cores,\n"
	       "   asked for by %d connections; every byte of every answer is compared.\n",
	       TOUR_FILES, weir_cpus(), CONNS);
	r = tour_load(&load);
	cpu = server_cpu(tour) - tour->cpu_before;
	if (!r)
		r = weir_run(&opts, look_after, &after);
	if (isatty(STDOUT_FILENO))
		printf("\r%60s\r", "");
	if (r < 0 || load.errors || !load.requests) {
		printf("  failed: %lu requests answered, %lu connections ended with an error\n",
		       (unsigned long)load.requests, (unsigned long)load.errors);
		return r < 0 ? r : -EPROTO;
	}
	print_load(&load, cpu);
	weir_histogram_destroy(load.latency);
	print_row("ring system calls per request", 3,
		  (after.enters - tour->enters_before) / (double)load.requests);
	print_row("slots, most ever taken (of 4096)", 0, after.slots);
	return 0;
}

static int show_pressure(double seconds)
{
	struct tour_pressure p = { .run_ns = (int64_t)(seconds * 1e9) };
	bool bounded, slowed;
	int r;

	printf("\n2. Back-pressure: a producer that never stops writes to a consumer that reads\n"
	       "   at once, then to one that pauses after every 64 KiB.\n");
	r = tour_pressure(&p);
	if (r < 0)
		return r;
	bounded = p.held_high <= p.held_bound;
	slowed = p.slowed_rate < p.free_rate / 2;
	print_row("producer, free, MiB/s", 1, p.free_rate / 1048576);
	print_row("producer, slow consumer, MiB/s", 1, p.slowed_rate / 1048576);
	print_row("slow consumer, MiB/s", 1, p.consumer_rate / 1048576);
	print_row("memory held, most, KiB", 0, (double)p.held_high / 1024);
	print_row("its bound, KiB", 0, (double)p.held_bound / 1024);
	print_row("bytes sent", 0, (double)p.sent);
	print_row("bytes received", 0, (double)p.received);
	printf("  the bound %s, the producer %s, %s\n", bounded ? "held" : "WAS BROKEN",
	       slowed ? "was slowed" : "WAS NOT SLOWED",
	       p.intact ? "no byte was lost" : "BYTES WERE LOST");
	return bounded && slowed && p.intact ? 0 : -EPROTO;
}

/* Says so, and why, when it is not io_uring; an exit code when it is refused, else -1. */
static int find_kernel(void)
{
	struct weir_kernel_info info;
	int r = weir_kernel_info(NULL, &info);

	if (r < 0) {
		fprintf(stderr,
			"weir tour: this host cannot run it: io_uring: %s; remedy: %s, or "
			"--kernel poll\n",
			info.reason, info.remedy);
		return EXIT_HOST;
	}
	if (strcmp(info.name, "uring") != 0)
		printf("On the %s kernel: %s.\n\n", info.name, info.reason);
	return -1;
}

static int run_tour(double seconds)
{
	struct tour tour = { .child = 0 };
	int r = make_directory(&tour);
	bool drained;

	if (!r)
		r = start_server(&tour);
	if (!r)
		r = show_load(&tour, seconds * 0.6);
	drained = stop_server(&tour);
	if (!r)
		printf("  the server drained and exited with 0: %s\n", drained ? "yes" : "NO");
	if (!r && drained)
		r = show_pressure(seconds * 0.15);
	remove_directory(&tour);
	if (r < 0)
		fprintf(stderr, "weir tour: %s\n", strerror(-r));
	return r < 0 || !drained ? EXIT_FAILED : EXIT_OK;
}

int tour_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", 1, NULL, 's' },
		{ "kernel", 1, NULL, 'k' },
		{ "help", 0, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *kernel = NULL;
	double seconds = 18;
	char *end = "";
	int c, code;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			printf("usage: weir tour [--seconds S] [--kernel uring|poll|auto]\n\n"
			       "Serves real files, loads them, and shows what was measured; then\n"
			       "demonstrates back-pressure. About S seconds; default 18.\n");
			return EXIT_OK;
		}
		if (c == 'k') {
			kernel = optarg;
			continue;
		}
		if (c == 's')
			seconds = strtod(optarg, &end);
		if (c != 's' || *end || seconds < 1 || seconds > 3600)
			return usage_error("tour", "--seconds takes a number from 1 to 3600");
	}
	if (optind < argc)
		return usage_error("tour", "it takes no argument, but got '%s'", argv[optind]);
	if (check_kernel("tour", kernel))
		return EXIT_USAGE;
	if (kernel)			/* the server's too */
		setenv("WEIR_KERNEL", kernel, 1);
	code = find_kernel();
	return code >= 0 ? code : run_tour(seconds);
}
