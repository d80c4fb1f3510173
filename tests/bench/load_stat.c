/* SPDX-License-Identifier: MIT */
/*
 * load_stat.c - what is measured: a histogram of latencies, and from outside what the server's
 * processes used.
 *
 * The histogram is log-linear: values below 2 * SUB one by one, then SUB buckets for each
 * power of two, so a value is known to 1 / SUB of itself.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

#define SUB_BITS 7
#define SUB (1u << SUB_BITS)
#define BUCKETS ((65 - SUB_BITS) * SUB)
#define COUNTERS_MAX 256

static uint64_t buckets[BUCKETS];
static uint64_t recorded;
static int64_t greatest_ns;
static int counters[COUNTERS_MAX];
static unsigned counter_count;

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift = ns < 2 * SUB ? 0 : 63 - SUB_BITS - (unsigned)__builtin_clzll(ns);

	return shift * SUB + (unsigned)(ns >> shift);
}

/* The middle of what falls into a bucket. */
static double value_of(unsigned bucket)
{
	unsigned shift = bucket < 2 * SUB ? 0 : bucket / SUB - 1;

	return ((double)(bucket - shift * SUB) + (shift ? 0.5 : 0)) * (double)(1ull << shift);
}

void load_record(int64_t ns, unsigned count)
{
	if (ns < 0)
		ns = 0;
	buckets[bucket_of((uint64_t)ns)] += count;
	recorded += count;
	if (ns > greatest_ns)
		greatest_ns = ns;
}

void load_record_reset(void)
{
	memset(buckets, 0, sizeof(buckets));
	recorded = 0;
	greatest_ns = 0;
}

uint64_t load_recorded(void)
{
	return recorded;
}

double load_percentile_us(double p)
{
	double value = (double)greatest_ns;
	uint64_t sum = 0;

	if (p < 1) {
		for (unsigned i = 0; i < BUCKETS; i++) {
			sum += buckets[i];
			if ((double)sum >= p * (double)recorded && sum) {
				value = value_of(i);
				break;
			}
		}
	}
	return (value < (double)greatest_ns ? value : (double)greatest_ns) / 1000;
}

static double clock_s(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		load_die("a process that is measured: %s", strerror(errno));
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double load_own_cpu_s(void)
{
	return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

/* Calls each(thread id, arg) for every thread of a process. */
static void for_each_thread(int pid, void (*each)(int, void *), void *arg)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		load_die("%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			each(atoi(entry->d_name), arg);
	closedir(dir);
}

static void add_switches(int thread, void *arg)
{
	struct load_usage *usage = arg;
	unsigned long long n;
	char text[128];
	FILE *file;

	snprintf(text, sizeof(text), "/proc/%d/status", thread);
	file = fopen(text, "re");
	while (file && fgets(text, sizeof(text), file)) {
		if (sscanf(text, "voluntary_ctxt_switches: %llu", &n) == 1)
			usage->voluntary += n;
		else if (sscanf(text, "nonvoluntary_ctxt_switches: %llu", &n) == 1)
			usage->involuntary += n;
	}
	if (file)
		fclose(file);
}

struct load_usage load_server_usage(void)
{
	struct load_usage usage = { 0 };

	for (unsigned i = 0; i < load_opts.pid_count; i++) {
		clockid_t clock;
		int r = clock_getcpuclockid(load_opts.pids[i], &clock);

		if (r)
			load_die("process %d: %s", load_opts.pids[i], strerror(r));
		usage.cpu_s += clock_s(clock);
		for_each_thread(load_opts.pids[i], add_switches, &usage);
	}
	return usage;
}

int64_t load_server_memory(void)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < load_opts.pid_count; i++) {
		char text[128];
		FILE *file;
		long kib;

		snprintf(text, sizeof(text), "/proc/%d/smaps_rollup", load_opts.pids[i]);
		file = fopen(text, "re");
		if (!file)
			load_die("%s: %s", text, strerror(errno));
		while (fgets(text, sizeof(text), file))
			if (sscanf(text, "Private_Dirty: %ld", &kib) == 1 ||
			    sscanf(text, "Private_Clean: %ld", &kib) == 1)
				sum += kib * INT64_C(1024);
		fclose(file);
	}
	return sum;
}

static int tracepoint_id(void)
{
	static const char *const paths[] = {
		"/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
		"/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
	};
	int id = -1;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && id < 0; i++) {
		FILE *file = fopen(paths[i], "re");

		if (!file)
			continue;
		if (fscanf(file, "%d", &id) != 1)
			id = -1;
		fclose(file);
	}
	return id;
}

static void count_thread(int thread, void *arg)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = *(unsigned long long *)arg,
	};
	int fd;

	if (counter_count == COUNTERS_MAX)
		return;
	fd = (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd >= 0)
		counters[counter_count++] = fd;
}

int load_syscalls_start(void)
{
	int id = tracepoint_id();
	unsigned long long config = (unsigned)id;

	if (id < 0)
		return -1;
	for (unsigned i = 0; i < load_opts.pid_count; i++)
		for_each_thread(load_opts.pids[i], count_thread, &config);
	return counter_count ? 0 : -1;
}

int64_t load_syscalls(void)
{
	int64_t sum = 0, n;

	for (unsigned i = 0; i < counter_count; i++)
		if (read(counters[i], &n, sizeof(n)) == sizeof(n))
			sum += n;
	return counter_count ? sum : -1;
}
