/* SPDX-License-Identifier: MIT */
/*
 * micro_process.c - channels between two processes on real rings: one way, and there and back; and
 * what a Unix socket needs for the same, with blocking calls.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/ensure.h"
#include "core/weir_runtime.h"
#include "futures/weir_process_chan.h"
#include "ring/weir_run.h"
#include "tests/bench/micro.h"

#define SIZE 1024
#define ITEMS 400000u
#define BATCH 16u
#define TRIPS 20000u
#define CAPACITY 256

static micro_report_fn report_line;
static int there_fds[WEIR_PROCESS_CHAN_FDS], back_fds[WEIR_PROCESS_CHAN_FDS];
static char items[BATCH][SIZE];

static struct weir_process_chan *attach(const int *fds, enum weir_process_chan_side side)
{
	struct weir_process_chan *chan;

	weir_assert(weir_process_chan_attach(fds, side, &chan) == 0);
	return chan;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The other process: takes all of one way twice, then sends back what comes. */
static int child(void *arg)
{
	struct weir_process_chan *there = attach(there_fds, WEIR_RECEIVES);
	struct weir_process_chan *back = attach(back_fds, WEIR_SENDS);

	(void)arg;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned left = ITEMS; left;) {
			ssize_t n = weir_process_chan_receive_n(there, items, BATCH, WEIR_NEVER);

			weir_assert(n > 0 && n <= left);
			left -= (unsigned)n;
		}
		weir_assert(weir_process_chan_send(back, items, WEIR_NEVER) == 0);
	}
	while (weir_process_chan_receive(there, items, WEIR_NEVER) == 0)
		weir_assert(weir_process_chan_send(back, items, WEIR_NEVER) == 0);
	weir_process_chan_destroy(back);
	return weir_process_chan_destroy(there);
}

static double one_way(struct weir_process_chan *there, struct weir_process_chan *back, unsigned n)
{
	double begin = micro_now_ns();

	for (unsigned i = 0; i < ITEMS; i += n)
		weir_assert(weir_process_chan_send_n(there, items, n, WEIR_NEVER) == n);
	weir_assert(weir_process_chan_receive(back, items, WEIR_NEVER) == 0);
	return (micro_now_ns() - begin) / ITEMS;
}

static int parent(void *arg)
{
	struct weir_process_chan *there = attach(there_fds, WEIR_SENDS);
	struct weir_process_chan *back = attach(back_fds, WEIR_RECEIVES);
	static double trips[TRIPS];

	(void)arg;
	report_line("process channel: 1 KiB one way, send by send", one_way(there, back, 1), 1000);
	report_line("process channel: 1 KiB one way, batch of 16, per item",
		    one_way(there, back, BATCH), 1000);
	for (unsigned i = 0; i < TRIPS; i++) {
		double begin = micro_now_ns();

		weir_assert(weir_process_chan_send(there, items, WEIR_NEVER) == 0);
		weir_assert(weir_process_chan_receive(back, items, WEIR_NEVER) == 0);
		trips[i] = micro_now_ns() - begin;
	}
	qsort(trips, TRIPS, sizeof(trips[0]), compare);
	report_line("process channel: 1 KiB there and back", trips[TRIPS / 2], 0);
	weir_process_chan_destroy(there);
	return weir_process_chan_destroy(back);
}

/* --- a socket --- */

static void all(ssize_t (*move)(int, void *, size_t), int fd, unsigned count)
{
	for (size_t done = 0, size = (size_t)count * SIZE; done < size;) {
		size_t at = done % sizeof(items), part = sizeof(items) - at;
		ssize_t n = move(fd, (char *)items + at, part < size - done ? part : size - done);

		weir_assert(n > 0);
		done += (size_t)n;
	}
}

static ssize_t writes(int fd, void *buf, size_t size)
{
	return write(fd, buf, size < SIZE ? size : SIZE);
}

static void echo_socket(int fd)
{
	all(read, fd, ITEMS);
	all(writes, fd, 1);
	for (unsigned i = 0; i < TRIPS; i++) {
		all(read, fd, 1);
		all(writes, fd, 1);
	}
	_exit(0);
}

static void measure_socket(void)
{
	static double trips[TRIPS];
	int fds[2];
	double begin;
	pid_t pid;

	weir_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	pid = fork();
	if (pid == 0)
		echo_socket(fds[1]);
	begin = micro_now_ns();
	all(writes, fds[0], ITEMS);
	all(read, fds[0], 1);
	report_line("unix socket: 1 KiB one way", (micro_now_ns() - begin) / ITEMS, 0);
	for (unsigned i = 0; i < TRIPS; i++) {
		begin = micro_now_ns();
		all(writes, fds[0], 1);
		all(read, fds[0], 1);
		trips[i] = micro_now_ns() - begin;
	}
	qsort(trips, TRIPS, sizeof(trips[0]), compare);
	report_line("unix socket: 1 KiB there and back", trips[TRIPS / 2], 0);
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
}

int micro_process(micro_report_fn report)
{
	const struct weir_process_chan_opts chan_opts = { SIZE, CAPACITY };
	struct weir_opts opts = { .cores = 1, .no_signals = true, .no_pin = true, .stall_ns = -1 };
	pid_t pid;
	int r;

	report_line = report;
	if (weir_cpus() < 2) {
		fprintf(stderr, "micro: process needs two CPUs\n");
		return 0;
	}
	r = weir_process_chan_create(&chan_opts, there_fds);
	if (!r)
		r = weir_process_chan_create(&chan_opts, back_fds);
	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		_exit(weir_run(&opts, child, NULL) ? 1 : 0);
	r = weir_run(&opts, parent, NULL);
	waitpid(pid, NULL, 0);
	measure_socket();
	return r;
}
