/* SPDX-License-Identifier: MIT */
/*
 * load.c - the load generator of the comparisons: one thread, one ring, N connections, echo
 * or HTTP, as fast as answers come or at a fixed rate, every answer checked.
 *
 *	load echo tcp://127.0.0.1:7000 --conns 256 --pid 4711
 *	load http tcp://127.0.0.1:8080 --depth 16 --rate 100000 --pid 4711
 *	load http tcp://127.0.0.1:8080 --conns 10000 --hold 3 --pid 4711
 *
 * With --depth D a connection sends D requests at once and waits for all their answers; each
 * is measured. At a fixed rate latency counts from the moment when a request should have
 * left, so a server that stalls is charged for all that waited (coordinated omission, Tene).
 * Before anything is measured each connection must have been answered once: a connection that
 * merely sits in the backlog is none. --hold then does nothing and looks at the server.
 *
 * Output: one line of JSON. *_us of server and client are CPU time for each request; a client
 * that is busy all the time (client_busy, less what it spent looking) measures itself. Exit
 * code 1 when anything was wrong.
 *
 * Why not wrk: its latencies are wrong when requests are pipelined, its own core is full
 * before a good server's is, and it does not look at the server's CPU time.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/load.h"

#define GREET_LIMIT_S 15
#define DRAIN_LIMIT_S 3
#define SETTLE_S 1 /* the server is idle when it was for a second */

struct load_opts load_opts = {
	.conns = 64,
	.depth = 1,
	.size = 64,
	.method = "GET",
	.path = "/",
	.seconds = 2,
	.warmup_seconds = 0.5,
	.buf_size = 4096,
};

void load_die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "load: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

static __attribute__((noreturn)) void usage(void)
{
	fprintf(stderr,
		"usage: load echo|http tcp://IPv4:PORT [OPTION]...\n"
		"  --conns N        connections (64)\n"
		"  --depth N        requests that a connection sends at once (1)\n"
		"  --size BYTES     of an echo message, or of the body of a POST (64)\n"
		"  --method M       GET, HEAD, or POST: then the body must come back (GET)\n"
		"  --path PATH      (/)\n"
		"  --expect FILE    what every body must be\n"
		"  --rate N         requests a second of all connections (as fast as answered)\n"
		"  --seconds S      how long to measure (2)\n"
		"  --warm-up S      how long to run before that (0.5)\n"
		"  --hold S         after one answer each, hold the connections that long\n"
		"  --buf-size BYTES of receive buffers (4096)\n"
		"  --spin-us US     look that long before sleeping (0)\n"
		"  --pid PID        a process of the server; may be repeated\n");
	exit(2);
}

static void parse_address(const char *text)
{
	char host[64];
	unsigned port;

	load_opts.addr.sin_family = AF_INET;
	if (sscanf(text, "tcp://%63[0-9.]:%u", host, &port) != 2 || !port || port > 65535 ||
	    inet_pton(AF_INET, host, &load_opts.addr.sin_addr) != 1)
		load_die("'%s' is not tcp://IPv4:PORT", text);
	load_opts.addr.sin_port = htons((uint16_t)port);
}

static double number(const char *text, double min, double max)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= min && value <= max))
		load_die("'%s' is not a number from %g to %g", text, min, max);
	return value;
}

static void set_option(int c, const char *text)
{
	if (c == 'c')
		load_opts.conns = (unsigned)number(text, 1, 1e6);
	else if (c == 'd')
		load_opts.depth = (unsigned)number(text, 1, 1024);
	else if (c == 's')
		load_opts.size = (unsigned)number(text, 1, 1 << 20);
	else if (c == 'm')
		load_opts.method = text;
	else if (c == 'p')
		load_opts.path = text;
	else if (c == 'e')
		load_opts.expect = text;
	else if (c == 'r')
		load_opts.rate = number(text, 1, 1e8);
	else if (c == 't')
		load_opts.seconds = number(text, 0.001, 86400);
	else if (c == 'w')
		load_opts.warmup_seconds = number(text, 0, 3600);
	else if (c == 'h')
		load_opts.hold_seconds = number(text, 0.001, 86400);
	else if (c == 'b')
		load_opts.buf_size = (unsigned)number(text, 64, 1 << 20);
	else if (c == 'S')
		load_opts.spin_us = (unsigned)number(text, 0, 1e6);
	else if (c == 'P' && load_opts.pid_count < LOAD_PIDS_MAX)
		load_opts.pids[load_opts.pid_count++] = (int)number(text, 1, 1 << 22);
	else
		usage();
}

static void parse_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "conns", 1, NULL, 'c' },    { "depth", 1, NULL, 'd' },
		{ "size", 1, NULL, 's' },     { "method", 1, NULL, 'm' },
		{ "path", 1, NULL, 'p' },     { "expect", 1, NULL, 'e' },
		{ "rate", 1, NULL, 'r' },     { "seconds", 1, NULL, 't' },
		{ "warm-up", 1, NULL, 'w' },  { "hold", 1, NULL, 'h' },
		{ "buf-size", 1, NULL, 'b' }, { "spin-us", 1, NULL, 'S' },
		{ "pid", 1, NULL, 'P' },      { NULL, 0, NULL, 0 },
	};
	int c;

	if (argc < 3 || (strcmp(argv[1], "echo") && strcmp(argv[1], "http")))
		usage();
	load_opts.http = !strcmp(argv[1], "http");
	parse_address(argv[2]);
	while ((c = getopt_long(argc - 2, argv + 2, "", longs, NULL)) != -1)
		set_option(c, optarg);
	if (optind + 2 != argc)
		usage();
	if (strcmp(load_opts.method, "GET") && strcmp(load_opts.method, "HEAD") &&
	    strcmp(load_opts.method, "POST"))
		load_die("the method is GET, HEAD or POST, not '%s'", load_opts.method);
}

struct quiet {
	double cpu_percent, switches_per_s, syscalls_per_s; /* syscalls: < 0 when unknown */
};

/* What the server does in a time in which nobody asks for anything. */
static struct quiet watch(double seconds)
{
	struct load_usage before = load_server_usage(), after;
	int64_t calls = load_syscalls();
	struct quiet quiet;

	load_run(seconds);
	quiet.syscalls_per_s = calls < 0 ? -1 : (double)(load_syscalls() - calls) / seconds;
	after = load_server_usage();
	quiet.cpu_percent = 100 * (after.cpu_s - before.cpu_s) / seconds;
	quiet.switches_per_s = (double)(after.voluntary - before.voluntary) / seconds;
	return quiet;
}

static void print_quiet(const char *name, const struct quiet *quiet)
{
	printf("\"%s_cpu_percent\": %.4f, \"%s_switches_per_s\": %.2f, ", name, quiet->cpu_percent,
	       name, quiet->switches_per_s);
	if (quiet->syscalls_per_s >= 0)
		printf("\"%s_syscalls_per_s\": %.2f, ", name, quiet->syscalls_per_s);
}

static void hold(int64_t memory_before)
{
	struct quiet settling, idle;
	int64_t memory;

	fprintf(stderr, "holding %u connections\n", load_counts.alive);
	load_syscalls_start();
	settling = watch(SETTLE_S);
	memory = load_server_memory();
	idle = watch(load_opts.hold_seconds);
	printf("{\"mode\": \"hold\", \"conns\": %u, \"established\": %u, \"alive\": %u, "
	       "\"memory_before\": %lld, \"memory\": %lld, \"bytes_per_conn\": %.1f, "
	       "\"idle_seconds\": %.3f, ",
	       load_opts.conns, load_opts.conns, load_counts.alive, (long long)memory_before,
	       (long long)memory, (double)(memory - memory_before) / load_opts.conns,
	       load_opts.hold_seconds);
	print_quiet("settling", &settling);
	print_quiet("idle", &idle);
	printf("\"errors\": %llu}\n", (unsigned long long)load_counts.errors);
}

static void report(double seconds, const struct load_usage *server, double client_s)
{
	double n = (double)load_recorded(), spun_s = (double)load_counts.spun_ns / 1e9;

	printf("{\"mode\": \"%s\", \"conns\": %u, \"established\": %u, \"alive\": %u, "
	       "\"depth\": %u, \"requests\": %.0f, \"seconds\": %.4f, \"rate\": %.0f, ",
	       load_opts.http ? "http" : "echo", load_opts.conns, load_opts.conns,
	       load_counts.alive, load_opts.depth, n, seconds, n / seconds);
	if (load_opts.pid_count)
		printf("\"server_us\": %.4f, \"server_busy\": %.4f, \"server_voluntary\": %.5f, "
		       "\"server_involuntary\": %.5f, ",
		       server->cpu_s * 1e6 / n, server->cpu_s / seconds,
		       (double)server->voluntary / n, (double)server->involuntary / n);
	printf("\"client_us\": %.4f, \"client_busy\": %.4f, \"client_spun\": %.4f, "
	       "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f, ",
	       (client_s - spun_s) * 1e6 / n, client_s / seconds, spun_s / seconds,
	       load_percentile_us(0.5), load_percentile_us(0.99), load_percentile_us(0.999),
	       load_percentile_us(1));
}

static void measure(void)
{
	struct load_usage before, after;
	int64_t begin_ns;
	double client_s, seconds;

	load_start();
	load_run(load_opts.warmup_seconds);
	load_record_reset();
	load_counts.spun_ns = 0;
	before = load_server_usage();
	client_s = load_own_cpu_s();
	begin_ns = load_now_ns();
	load_run(load_opts.seconds);
	seconds = (double)(load_now_ns() - begin_ns) / 1e9;
	client_s = load_own_cpu_s() - client_s;
	after = load_server_usage();
	after.cpu_s -= before.cpu_s;
	after.voluntary -= before.voluntary;
	after.involuntary -= before.involuntary;
	if (!load_recorded())
		load_die("no request was answered in %.3f s", seconds);
	report(seconds, &after, client_s);
	load_drain(DRAIN_LIMIT_S);
	load_counts.errors += load_counts.waiting;
	printf("\"unanswered\": %u, \"errors\": %llu}\n", load_counts.waiting,
	       (unsigned long long)load_counts.errors);
}

int main(int argc, char **argv)
{
	int64_t memory_before;
	unsigned greeted;

	parse_options(argc, argv);
	memory_before = load_opts.hold_seconds > 0 ? load_server_memory() : 0;
	load_answer_init();
	load_connect_all();
	greeted = load_greet(GREET_LIMIT_S);
	if (greeted != load_opts.conns)
		load_die("%u of %u connections were answered", greeted, load_opts.conns);
	if (load_opts.hold_seconds > 0)
		hold(memory_before);
	else
		measure();
	return load_counts.errors > 0;
}
