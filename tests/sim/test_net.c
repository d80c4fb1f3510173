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

/* --- under faults --- */

#define ROUNDS 100

static unsigned answers, errors;

/* One round trip of many bytes. What comes back is what was sent, or an error. */
static int round_trip(struct weir_conn *conn, unsigned nth)
{
	static const unsigned sizes[] = { 1, 10, 4000, 5000, 20000 };
	char out[20000], in[20000];
	unsigned size = sizes[nth % 5];
	ssize_t n;
	int r;

	for (unsigned i = 0; i < size; i++)
		out[i] = (char)(i * 31 + nth);
	r = weir_conn_write_all(conn, out, size);
	if (r < 0)
		return r;
	n = weir_conn_read_exact(conn, in, size);
	if (n < 0)
		return (int)n;
	weir_sim_check(!memcmp(in, out, size), "an answer is what was sent");
	answers++;
	return 0;
}

static int stubborn_client(void *arg)
{
	struct weir_conn *conn = NULL;

	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		int64_t before = weir_coro_set_deadline(weir_in(2 * WEIR_S));
		int r = conn ? 0 : weir_connect("tcp://10.0.0.1:80", NULL, &conn);

		if (!r)
			r = round_trip(conn, i);
		weir_coro_set_deadline(before);
		if (!r)
			continue;
		errors++;
		if (conn)
			weir_conn_abort(conn);
		conn = NULL;
		weir_sleep(50 * WEIR_MS);
	}
	if (conn)
		weir_conn_close(conn);
	/* The world is well by now: it must work. */
	for (int i = 0; i < 600; i++) {
		int64_t before = weir_coro_set_deadline(weir_in(2 * WEIR_S));
		int r = weir_connect("tcp://10.0.0.1:80", NULL, &conn);

		if (!r) {
			r = round_trip(conn, 1);
			weir_conn_abort(conn);
		}
		weir_coro_set_deadline(before);
		if (!r)
			return 0;
		weir_sleep(WEIR_S / 2);
	}
	return -ETIMEDOUT;
}

static int serve_stubborn(void *arg)
{
	struct weir_serve_opts opts = { .conn.idle_ns = 10 * WEIR_S };
	int r = -EAGAIN;

	(void)arg;
	/* A fault may refuse the listener: a service tries again. */
	for (int i = 0; i < 100 && r < 0 && r != -ECANCELED; i++) {
		r = weir_serve("tcp://0.0.0.0:80", &opts, echo, NULL);
		if (r < 0)
			weir_sleep(100 * WEIR_MS);
	}
	return r;
}

static int stubborn_main(void *arg)
{
	return weir_run(&(struct weir_opts){ .cores = 2 }, serve_stubborn, arg);
}

static int build_faulty(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_host(sim, "server", NULL, stubborn_main, NULL);
	weir_sim_workload(sim, "one", NULL, stubborn_client, NULL);
	weir_sim_workload(sim, "two", NULL, stubborn_client, NULL);
	return 0;
}

static const uint64_t classes[] = {
	WEIR_SIM_MULTISHOT, WEIR_SIM_BUFS,	WEIR_SIM_SHORT,	    WEIR_SIM_RESET,
	WEIR_SIM_CONNECT,   WEIR_SIM_FDS,	WEIR_SIM_LATENCY,   WEIR_SIM_PARTITION,
	WEIR_SIM_WINDOW,    WEIR_SIM_HALF_OPEN,
};

static void each_class_strikes_and_echoes_stay_right(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		unsigned number = (unsigned)__builtin_ctzll(classes[i]);
		int64_t longest_ns = 0;
		uint64_t hits = 0;

		answers = 0;
		for (uint64_t seed = 1; seed <= 12; seed++) {
			assert_int_equal(run_with(build_faulty, seed, classes[i]), 0);
			hits += report.hits[number];
			if (report.virtual_ns > longest_ns)
				longest_ns = report.virtual_ns;
		}
		if (!hits)
			print_error("%s never struck\n", weir_sim_class_name(number));
		assert_true(hits > 0);
		assert_true(answers > 100);
		/* What holds packets up takes its time: a round trip is 0.1 ms. */
		if (classes[i] & (WEIR_SIM_LATENCY | WEIR_SIM_PARTITION | WEIR_SIM_WINDOW |
				  WEIR_SIM_HALF_OPEN))
			assert_true(longest_ns > 150 * WEIR_MS);
	}
}

static void all_classes_at_once_and_each_run_is_the_same_again(void **state)
{
	uint64_t all = 0;
	uint64_t hash, choices;

	(void)state;
	for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		all |= classes[i];
	for (uint64_t seed = 1; seed <= 12; seed++) {
		assert_int_equal(run_with(build_faulty, seed, all), 0);
		hash = report.hash;
		choices = report.choices_made;
		assert_int_equal(run_with(build_faulty, seed, all), 0);
		assert_true(report.hash == hash && report.choices_made == choices);
	}
}

static void without_faults_nothing_ever_fails(void **state)
{
	(void)state;
	answers = errors = 0;
	assert_int_equal(run(build_faulty), 0);
	assert_int_equal(answers, 2 * ROUNDS + 2);
	/* Only while the server was starting. */
	assert_in_range(errors, 0, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_hosts_talk_over_the_simulated_network),
		cmocka_unit_test(without_faults_nothing_ever_fails),
		cmocka_unit_test(each_class_strikes_and_echoes_stay_right),
		cmocka_unit_test(all_classes_at_once_and_each_run_is_the_same_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
