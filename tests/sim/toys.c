/* SPDX-License-Identifier: MIT */
/*
 * toys.c - small scenarios that do what test_cli.py wants to see the command line say: one is in
 * order, each of the others breaks one thing.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "weir_conn.h"
#include "weir_coro.h"
#include "weir_listener.h"
#include "weir_run.h"
#include "weir_runtime.h"
#include "weir_sim.h"

#define PORT 7000

static volatile unsigned sink;

/* --- in order: a peer that says what it is told --- */

static void answer(struct weir_conn *conn, void *arg)
{
	char text[64];
	ssize_t n;

	(void)arg;
	while ((n = weir_conn_read(conn, text, sizeof(text))) > 0)
		if (weir_conn_write_all(conn, text, (size_t)n) < 0)
			break;
}

static int serve(void *arg)
{
	return weir_serve("tcp://0.0.0.0:7000", NULL, answer, arg);
}

static int server(void *arg)
{
	return weir_run(&(struct weir_opts){ .cores = 1 }, serve, arg);
}

static int ask(void *arg)
{
	struct weir_conn *conn;
	char address[64], text[5];
	bool same = false;

	(void)arg;
	snprintf(address, sizeof(address), "tcp://%s:%d",
		 weir_sim_host_address(weir_sim_find("server")), PORT);
	for (int i = 0; i < 50 && !same; i++) {
		weir_sleep(100 * WEIR_MS);
		if (weir_connect(address, NULL, &conn) < 0)
			continue;
		same = !weir_conn_write_all(conn, "hello", 5) &&
		       weir_conn_read(conn, text, sizeof(text)) == 5 && !memcmp(text, "hello", 5);
		weir_conn_close(conn);
	}
	weir_sim_sometimes(same, "an answer came");
	return 0;
}

static int build_fine(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_host(sim, "server", NULL, server, NULL);
	weir_sim_workload(sim, "client", NULL, ask, NULL);
	return 0;
}

/* --- a bug that needs three things of many --- */

static int needs_three(void *arg)
{
	unsigned ones = 0;

	(void)arg;
	for (int i = 0; i < 300; i++) {
		unsigned drawn = weir_sim_choose("draw", 4);

		ones += drawn && (i == 20 || i == 150 || i == 280);
		sink += weir_sim_choose("noise", 2);
		weir_sleep(WEIR_MS);
	}
	weir_sim_check(ones < 3, "never all three");
	return 0;
}

/* --- what a run must not do --- */

static int wait_then(void (*bad)(void))
{
	weir_sleep(WEIR_S);
	bad();
	return 0;
}

static void crash(void)
{
	raise(SIGSEGV);
}

static void give_up(void)
{
	fprintf(stderr, "toys: giving up\n");
	abort();
}

static void leave(void)
{
	exit(3);
}

static void hang(void)
{
	for (;;)
		sink++;
}

static void read_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	sink = (unsigned)ts.tv_nsec;
}

static void read_seconds(void)
{
	sink = (unsigned)time(NULL);
}

static void seed_by_time(void)
{
	srand((unsigned)time(NULL));
	sink = (unsigned)rand();
}

static void read_tsc(void)
{
#if defined(__x86_64__)
	sink = (unsigned)__builtin_ia32_rdtsc();
#else
	read_clock();
#endif
}

static void draw_random(void)
{
	unsigned drawn = 0;

	if (getrandom(&drawn, sizeof(drawn), 0) > 0)
		sink = drawn;
}

static void open_file(void)
{
	sink = (unsigned)open("/etc/passwd", O_RDONLY);
}

static void close_number(void)
{
	close(5);
}

static int body(void *arg)
{
	void (**bad)(void) = arg;

	return wait_then(*bad);
}

static int build_bad(struct weir_sim *sim, void *arg)
{
	weir_sim_workload(sim, "client", NULL, body, arg);
	return 0;
}

static int build_three(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_workload(sim, "client", NULL, needs_three, NULL);
	return 0;
}

/* The process's number is what the guard lets through and differs. */
static int depends(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < (unsigned)getpid() % 7 + 1; i++)
		weir_sleep(WEIR_MS * (1 + (unsigned)getpid() % 101));
	return 0;
}

static int build_depends(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_workload(sim, "client", NULL, depends, NULL);
	return 0;
}

static int build_refused(struct weir_sim *sim, void *arg)
{
	(void)sim;
	(void)arg;
	return -ENOSPC;
}

static int unmarked(void *arg)
{
	(void)arg;
	weir_sim_sometimes(false, "never seen");
	return 0;
}

static int build_unmarked(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_workload(sim, "client", NULL, unmarked, NULL);
	return 0;
}

/* --- the list --- */

#define BAD(toy)                                                                                   \
	static void (*toy##_bad)(void) = toy;                                                      \
	static const struct weir_sim_scenario toy##_toy = {                                        \
		.name = #toy,                                                                      \
		.build = build_bad,                                                                \
		.arg = &toy##_bad,                                                                 \
	}

BAD(crash);
BAD(give_up);
BAD(leave);
BAD(hang);
BAD(read_clock);
BAD(read_seconds);
BAD(seed_by_time);
BAD(read_tsc);
BAD(draw_random);
BAD(open_file);
BAD(close_number);

static const struct weir_sim_scenario fine_toy = {
	.name = "fine",
	.about = "a peer that says what it is told",
	.build = build_fine,
};
static const struct weir_sim_scenario three_toy = { .name = "three", .build = build_three };
static const struct weir_sim_scenario depends_toy = { .name = "depends", .build = build_depends };
static const struct weir_sim_scenario refused_toy = { .name = "refused", .build = build_refused };
static const struct weir_sim_scenario unmarked_toy = {
	.name = "unmarked",
	.build = build_unmarked,
};

int main(int argc, char **argv)
{
	static const struct weir_sim_scenario *const toys[] = {
		&fine_toy,
		&three_toy,
		&crash_toy,
		&give_up_toy,
		&leave_toy,
		&hang_toy,
		&read_clock_toy,
		&read_seconds_toy,
		&seed_by_time_toy,
		&read_tsc_toy,
		&draw_random_toy,
		&open_file_toy,
		&close_number_toy,
		&depends_toy,
		&refused_toy,
		&unmarked_toy,
		NULL,
	};

	return weir_sim_main(argc, argv, toys);
}
