/* SPDX-License-Identifier: MIT */
/*
 * test_net.c - the simulated network: what services see of it through the ordinary library, and
 * what the seam and single operations say where the library never looks.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "core/worker.h"
#include "net/weir_conn.h"
#include "net/weir_listener.h"
#include "ring/ring.h"
#include "ring/weir_run.h"
#include "weir_coro.h"
#include "weir_sim.h"

static struct weir_sim_report report;

static void print_failure(void)
{
	if (report.result)
		print_error("%s: %s\n", report.failed, report.message);
}

static int run_with(int (*build)(struct weir_sim *sim, void *arg), uint64_t seed, uint64_t faults)
{
	struct weir_sim_scenario scenario = { .name = "net", .build = build };
	struct weir_sim_opts opts = {
		.seed = seed, .faults = faults, .faults_given = true, .every_class = true
	};
	int r = weir_sim_run(&scenario, &opts, &report);

	print_failure();
	return r;
}

static int run(int (*build)(struct weir_sim *sim, void *arg))
{
	return run_with(build, 1, 0);
}

#define CHECK(x) weir_sim_check(x, #x)

/* --- an echo server and its clients --- */

static void echo(struct weir_conn *conn, void *arg)
{
	char buf[4096];
	ssize_t n;

	(void)arg;
	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0)
		if (weir_conn_write_all(conn, buf, (size_t)n) < 0)
			break;
}

static int serve_echo(void *arg)
{
	(void)arg;
	return weir_serve("tcp://0.0.0.0:80", NULL, echo, NULL);
}

static int echo_main(void *arg)
{
	return weir_run(&(struct weir_opts){ .cores = 2 }, serve_echo, arg);
}

/* The server may still be starting. */
static int connect_soon(const char *address, struct weir_conn **ret_conn)
{
	int r = -EAGAIN;

	for (int i = 0; i < 100 && r < 0; i++) {
		r = weir_connect(address, NULL, ret_conn);
		if (r < 0)
			weir_sleep(10 * WEIR_MS);
	}
	return r;
}

static int echo_client(void *arg)
{
	const char *text = "the quick brown fox";
	struct weir_conn *conn;
	char buf[64];
	int r = connect_soon("tcp://10.0.0.1:80", &conn);

	(void)arg;
	if (r < 0)
		return r;
	for (int i = 0; i < 100; i++) {
		CHECK(weir_conn_write_all(conn, text, strlen(text)) == 0);
		CHECK(weir_conn_read_exact(conn, buf, strlen(text)) == (ssize_t)strlen(text));
		CHECK(!memcmp(buf, text, strlen(text)));
	}
	weir_conn_close(conn);
	return 0;
}

static int build_echo(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_host(sim, "server", NULL, echo_main, NULL);
	weir_sim_workload(sim, "one", NULL, echo_client, NULL);
	weir_sim_workload(sim, "two", NULL, echo_client, NULL);
	return 0;
}

static void two_hosts_talk_over_the_simulated_network(void **state)
{
	uint64_t hash;

	(void)state;
	assert_int_equal(run(build_echo), 0);
	/* A hundred round trips of twice 50 us, and not on the real clock. */
	assert_true(report.virtual_ns >= 10 * WEIR_MS);
	hash = report.hash;
	assert_int_equal(run(build_echo), 0);
	assert_true(report.hash == hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_hosts_talk_over_the_simulated_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
