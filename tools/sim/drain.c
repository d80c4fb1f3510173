/* SPDX-License-Identifier: MIT */
/*
 * drain.c - a service that is told to end while it is busy: what it has accepted is answered
 * whole, or its connection ends; it is gone within its grace; and started again it serves again.
 *
 * Clients ask all the time, on connections they keep, and some only connect and stay silent.
 * At any moment the operator sends SIGTERM, waits for the end, and starts the service again, some
 * times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/sim/http_client.h"
#include "tools/sim/scenario.h"

#define PORT 8081
#define CLIENTS_MAX 8
#define GRACE_NS (3 * WEIR_S)

/* What may stand still meanwhile: a core for 30 s, an operation, a lingering connection. */
#define SLACK_NS (60 * WEIR_S)

static struct {
	struct weir_opts opts;
	struct weir_http_opts http;
	unsigned clients, drains;
	uint64_t begun, ended;	/* requests */
	bool over;
} world;

/* --- the service --- */

static int handle(struct weir_http_req *req, void *arg)
{
	struct weir_http_text query = weir_http_req_query(req);
	char body[9000];
	uint32_t size = 0;
	int r;

	(void)arg;
	for (size_t i = 0; i < query.size; i++)
		size = size * 10 + (uint32_t)(query.data[i] - '0');
	world.begun++;
	r = scenario_pause("drain-work", 400);
	if (!r && scenario_once_in("drain-works-long", 16))
		r = scenario_pause("drain-long", 6000);
	if (!r && size <= sizeof(body)) {
		scenario_fill(body, size, size, 0);
		r = weir_http_reply(req, 200, NULL, body, size);
	}
	world.ended++;
	weir_sim_sometimes(r == -ECANCELED, "drain: the grace ends before a request does");
	weir_sim_sometimes(!r && weir_is_draining(), "drain: a request is answered in the grace");
	return r;
}

static int service(void *arg)
{
	int r;

	do {
		r = weir_http_serve("tcp://0.0.0.0:8081", &world.http, handle, arg);
	} while (r < 0 && r != -ECANCELED && r != -ESHUTDOWN && !weir_sleep(100 * WEIR_MS));
	return 0;
}

static int server_main(void *arg)
{
	world.begun = world.ended = 0;
	weir_run(&world.opts, service, arg);
	weir_sim_checkf(world.begun == world.ended, "drain: every handler has ended",
			"%u begun, %u ended", (unsigned)world.begun, (unsigned)world.ended);
	return 0;
}

/* --- clients --- */

static int ask(struct weir_conn *conn, bool *ret_closes)
{
	uint32_t size = scenario_draw("drain-size", 0, 9000);
	struct http_answer answer;
	char text[96];
	int n = snprintf(text, sizeof(text), "GET /?%u HTTP/1.1\r\nHost: x\r\n\r\n", size);
	int r = weir_conn_write_all(conn, text, (size_t)n);

	if (!r)
		r = http_read_answer(conn, false, &answer);
	if (r < 0)
		return r;
	weir_sim_checkf(answer.status >= 500 ||
				(answer.status == 200 && answer.size == size &&
				 scenario_matches(answer.body, size, size, 0)),
			"drain: an answer is whole", "status %d, %zu of %u bytes", answer.status,
			answer.size, size);
	free(answer.memory);
	*ret_closes = answer.closes;
	return 0;
}

/* Says nothing, until a drain ends it or it leaves. */
static void be_silent(struct weir_conn *conn)
{
	int64_t own_ns = weir_coro_set_deadline(weir_in(5 * WEIR_S));
	char nothing;
	ssize_t n = weir_conn_read(conn, &nothing, 1);

	weir_coro_set_deadline(own_ns);
	weir_sim_sometimes(!n, "drain: a silent connection is closed");
}

static int visit(bool must_pass)
{
	unsigned asks = must_pass + scenario_draw("drain-asks", 0, 6);
	struct weir_conn *conn;
	bool closes = false;
	char address[64];
	int64_t own_ns;
	int r = weir_connect(scenario_address("server", PORT, address), NULL, &conn);

	if (r < 0)
		return r;
	own_ns = weir_coro_set_deadline(scenario_patience());
	if (!asks)
		be_silent(conn);
	for (unsigned i = 0; !r && !closes && i < asks; i++)
		r = ask(conn, &closes);
	weir_coro_set_deadline(own_ns);
	weir_sim_checkf(r != -ETIMEDOUT, "drain: a connection is served, or ends", "%d", r);
	weir_conn_close(conn);
	return r;
}

static int client(void *arg)
{
	(void)arg;
	while (!world.over) {
		visit(false);
		if (weir_sleep(10 * WEIR_MS) || scenario_pause("drain-between", 200))
			break;
	}
	return 0;
}

static int clients(void *arg)
{
	char none[CLIENTS_MAX];

	(void)arg;
	return scenario_crowd(world.clients, client, none, 1);
}

/* --- the operator --- */

static int visit_once(void *arg)
{
	(void)arg;
	visit(false);
	return 0;
}

/* Some come just now: their accepts race with the stop. */
static void rush(const struct weir_scope *scope)
{
	unsigned count = scenario_draw("drain-rush", 0, 6);

	for (unsigned i = 0; i < count; i++)
		weir_scope_go(scope, visit_once, NULL);
	if (count)
		weir_sleep(scenario_draw("drain-rush-us", 0, 1000) * WEIR_US);
}

/* SIGTERM, and the end. */
static int end_service(struct weir_sim_host *host, const struct weir_scope *scope)
{
	int64_t since_ns;
	int r = scenario_pause("drain-when", 3000);

	rush(scope);
	weir_sim_terminate(host);
	since_ns = weir_now();
	while (!r && weir_sim_is_running(host) && weir_now() - since_ns < GRACE_NS + SLACK_NS)
		r = weir_sleep(50 * WEIR_MS);
	weir_sim_checkf(r || !weir_sim_is_running(host), "drain: the service ends in its grace",
			"%d s after SIGTERM", (int)((weir_now() - since_ns) / WEIR_S));
	weir_sim_sometimes(weir_now() - since_ns >= GRACE_NS, "drain: it takes the whole grace");
	return r;
}

static int drain_once(struct weir_sim_host *host)
{
	struct weir_scope scope;
	int r = weir_scope_open(&scope, WEIR_COLLECT, WEIR_NEVER);

	if (r)
		return r;
	r = end_service(host, &scope);
	weir_scope_join(&scope, NULL);
	return r;
}

/* In a world without faults, who waits for nothing is told at once, not when the grace ends. */
static int idle_is_told(struct weir_sim_host *host)
{
	struct weir_conn *conn;
	int64_t since_ns;
	char address[64], nothing;
	ssize_t n;
	int r = weir_connect(scenario_address("server", PORT, address), NULL, &conn);

	if (!r)
		r = weir_sleep(WEIR_S);
	if (r)
		return r;
	weir_sim_terminate(host);
	since_ns = weir_now();
	n = weir_conn_read(conn, &nothing, 1);
	/* Reset: it was never accepted. */
	weir_sim_checkf((n == 0 || n == -ECONNRESET) && weir_now() - since_ns < GRACE_NS / 2,
			"drain: an idle connection is told at once", "%d after %d ms", (int)n,
			(int)((weir_now() - since_ns) / WEIR_MS));
	weir_conn_close(conn);
	return 0;
}

static int serves_again(void)
{
	int64_t until_ns = weir_in(SLACK_NS);
	int r;

	do {
		r = visit(true);
	} while (r && weir_now() < until_ns && !weir_sleep(100 * WEIR_MS));
	weir_sim_checkf(!r, "drain: started again it serves again", "%d", r);
	return 0;
}

static int operate(void *arg)
{
	struct weir_sim_host *host = weir_sim_find("server");
	int r = 0;

	(void)arg;
	for (unsigned i = 0; !r && i < world.drains; i++) {
		r = drain_once(host);
		if (!r)
			weir_sim_restart(host, 100 * WEIR_MS);
	}
	if (!r)
		r = scenario_wait_healed();
	if (!r)
		r = serves_again();
	world.over = true;
	if (!r)
		r = idle_is_told(host);
	return r;
}

/* --- the world --- */

static int build(struct weir_sim *sim, void *arg)
{
	/* With so few there are no direct descriptors: one that is forgotten is seen. */
	struct weir_sim_host_opts few = { .fds_max = scenario_once_in("drain-few", 3) ? 15 : 0 };
	struct weir_sim_host_opts one_core = { .cores = 1 };
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	world.opts = scenario_opts(scenario_draw("drain-cores", 1, 2));
	world.opts.drain_ns = GRACE_NS;
	world.http = (struct weir_http_opts){
		.serve = { .backlog = 64 },
		.idle_ns = 300 * WEIR_S,
		.head_ns = 300 * WEIR_S,
		.write_ns = 300 * WEIR_S,
	};
	world.clients = scenario_draw("drain-clients", 1, CLIENTS_MAX);
	world.drains = scenario_draw("drain-drains", 1, 3);
	if (!weir_sim_host(sim, "server", &few, server_main, NULL) ||
	    !weir_sim_workload(sim, "clients", &one_core, clients, NULL) ||
	    !weir_sim_workload(sim, "operator", &reliable, operate, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_drain = {
	.name = "drain",
	.about = "told to end while busy: answers what it has accepted, ends, and starts again",
	.build = build,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
