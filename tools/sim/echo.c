/* SPDX-License-Identifier: MIT */
/*
 * echo.c - echo in its three styles: every byte comes back in order, or the connection fails.
 *
 * A client writes a stream in pieces of any size while it reads what comes back, byte for
 * byte; then it ends its side and reads to the end, or leaves in the middle. While the world is
 * bad a connection may break, and what came until then is right; after it has healed each must
 * go through.
 */
#include <stdlib.h>

#include "tools/sim/scenario.h"

#define PORT 7000
#define CLIENTS_MAX 6

enum style { COROUTINE, CALLBACK, FUTURE };

static struct {
	enum style style;
	struct weir_opts opts;
	struct weir_serve_opts serve;
	unsigned clients, rounds;
	uint64_t streams;	/* so far: the next one's name */
	uint64_t accepted, gone;
} world;

/* --- the server --- */

static void count_gone(void *user)
{
	(void)user;
	world.gone++;
}

static void accepted(struct weir_conn *conn)
{
	world.accepted++;
	weir_conn_set_gone(conn, count_gone);
}

static void echo_coroutine(struct weir_conn *conn, void *arg)
{
	struct weir_lease lease;
	int r = 0;

	(void)arg;
	accepted(conn);
	while (!r && weir_conn_lease(conn, &lease) > 0) {
		r = weir_conn_write_all(conn, lease.data, lease.size);
		weir_conn_release(conn, &lease);
	}
}

static void callback_data(struct weir_conn *conn, const char *data, size_t size, int res)
{
	(void)res;
	if (!size || weir_conn_write_try(conn, data, size) < 0) {
		weir_conn_close(conn);
		return;
	}
	if (weir_conn_pending(conn) > world.serve.conn.out_high) {
		weir_sim_sometimes(true, "echo: input pauses while output is full");
		weir_conn_pause(conn);
	}
}

static const struct weir_conn_events callback_events = { callback_data, weir_conn_resume };

static void callback_accept(struct weir_conn *conn, void *arg)
{
	(void)arg;
	accepted(conn);
	weir_conn_set_events(conn, &callback_events);
}

/* A chain of futures that begins anew with each piece. */
struct future_echo {
	struct weir_conn *conn;
	char buf[1500];
};

static void future_read(struct future_echo *echo);

static ssize_t future_written(struct weir_result *result, void *arg)
{
	struct future_echo *echo = arg;

	if (result->res > 0) {
		future_read(echo);
	} else {
		weir_conn_close(echo->conn);
		free(echo);
	}
	return 0;
}

static ssize_t future_got(struct weir_result *result, void *arg)
{
	struct future_echo *echo = arg;

	if (result->res <= 0)
		return result->res ? result->res : -EPIPE;
	return weir_follow(result,
			   weir_conn_write_async(echo->conn, echo->buf, (size_t)result->res));
}

static void future_read(struct future_echo *echo)
{
	struct weir_future *got = weir_conn_read_async(echo->conn, echo->buf, sizeof(echo->buf));

	weir_future_drop(
		weir_recover(weir_then(weir_then(got, future_got, echo), future_written, echo),
			     future_written, echo));
}

static void future_accept(struct weir_conn *conn, void *arg)
{
	struct future_echo *echo = malloc(sizeof(*echo));

	(void)arg;
	accepted(conn);
	if (!echo) {
		weir_conn_abort(conn);
		return;
	}
	echo->conn = conn;
	future_read(echo);
}

static void listener_end(void *arg)
{
	weir_promise_resolve(arg, 0);
}

/* A listener with callbacks does not block: this coroutine waits for its end. */
static int serve_events(void (*accept)(struct weir_conn *conn, void *arg))
{
	const struct weir_listener_events events = { .on_accept = accept, .on_end = listener_end };
	struct weir_promise promise;
	struct weir_listener *listener;
	struct weir_future *future;
	int r = weir_promise_create(&promise, &future);

	if (r < 0)
		return r;
	r = weir_listener_create("tcp://0.0.0.0:7000", &world.serve, &events, &promise, &listener);
	if (r < 0) {
		weir_promise_drop(&promise);
		weir_future_drop(future);
		return r;
	}
	weir_coro_shield();	/* the listener refers to this stack until its end */
	weir_await(future, WEIR_NEVER, NULL);
	weir_coro_unshield();
	return 0;
}

static int service(void *arg)
{
	int r;

	(void)arg;
	do {	/* without descriptors there is no listening socket either */
		if (world.style == CALLBACK)
			r = serve_events(callback_accept);
		else if (world.style == FUTURE)
			r = serve_events(future_accept);
		else
			r = weir_serve("tcp://0.0.0.0:7000", &world.serve, echo_coroutine, NULL);
	} while (r < 0 && r != -ECANCELED && r != -ESHUTDOWN && !weir_sleep(100 * WEIR_MS));
	return 0;
}

static int server_main(void *arg)
{
	return weir_run(&world.opts, service, arg);
}

/* --- a client --- */

struct session {
	struct weir_conn *conn;
	uint64_t stream;
	uint32_t size;		/* bytes of the stream */
	uint32_t leave_at;	/* having read so many, it leaves; above size: never */
	uint32_t read;
	int write_res;
};

static int write_stream(void *arg)
{
	struct session *session = arg;
	char piece[8192];
	uint32_t at = 0;

	while (!session->write_res && at < session->size) {
		uint32_t size = 1 + scenario_draw_size("echo-piece", 13) % sizeof(piece);

		if (size > session->size - at)
			size = session->size - at;
		scenario_fill(piece, size, session->stream, at);
		session->write_res = weir_conn_write_all(session->conn, piece, size);
		at += size;
		if (!session->write_res && scenario_once_in("echo-pauses", 8))
			session->write_res = scenario_pause("echo-pause", 200);
	}
	if (!session->write_res)
		session->write_res = weir_conn_shutdown(session->conn);
	return 0;
}

/* Returns 0 at the end, 1 when it leaves before, or -errno. */
static int read_stream(struct session *session)
{
	char buf[4096];

	while (session->read < session->leave_at) {
		size_t size = 1 + scenario_draw_size("echo-read", 12) % sizeof(buf);
		ssize_t n = weir_conn_read(session->conn, buf, size);

		if (n <= 0)
			return (int)n;
		weir_sim_checkf(session->read + (size_t)n <= session->size,
				"echo: no more comes back than was sent", "%u of %u",
				session->read + (unsigned)n, session->size);
		weir_sim_checkf(
			scenario_matches(buf, (size_t)n, session->stream, session->read),
			"echo: every byte comes back in order", "stream %u, %u bytes from %u",
			(unsigned)session->stream, (unsigned)n, session->read);
		session->read += (uint32_t)n;
	}
	return 1;
}

/* One connection. Returns 0 when it went through, 1 when it left on purpose, -errno. */
static int converse(struct session *session, bool leaves)
{
	struct weir_coro *writer;
	int64_t own_ns = weir_coro_set_deadline(scenario_patience());
	int r;

	session->leave_at = UINT32_MAX;
	if (leaves)
		session->leave_at = scenario_draw("echo-leave", 0, session->size);
	r = weir_coro_spawn(NULL, write_stream, session, &writer);
	if (!r) {
		r = read_stream(session);
		if (r)
			weir_coro_cancel(writer);
		scenario_join(writer);
	}
	if (!r && session->read < session->size)
		r = session->write_res < 0 ? session->write_res : -EPIPE;
	weir_coro_set_deadline(own_ns);
	return r;
}

static int one_round(bool must_pass)
{
	struct weir_conn_opts opts = { .out_high = weir_sim_choose("echo-high", 2) ? 1000 : 0 };
	struct session session = { .stream = ++world.streams };
	bool leaves = !must_pass && scenario_once_in("echo-leaves", 4);
	char address[64];
	int r = scenario_connect(scenario_address("server", PORT, address), &opts, &session.conn);

	weir_sim_checkf(!r, "echo: a connection is to be had", "%d", r);
	if (r < 0)
		return 0;
	session.size = scenario_draw_size("echo-size", 17);
	r = converse(&session, leaves);
	weir_sim_checkf(r != -ETIMEDOUT,
			"echo: what was sent comes back, or fails", "%u of %u bytes came",
			session.read, session.size);
	weir_sim_checkf(!must_pass || !r, "echo: in a healed world nothing fails", "%d", r);
	weir_sim_sometimes(r < 0, "echo: a connection fails");
	weir_sim_sometimes(r == 1, "echo: a client leaves in the middle");
	weir_sim_sometimes(!r && session.size > 65536, "echo: a large stream comes back");
	if (r)
		weir_conn_abort(session.conn);
	else
		weir_conn_close(session.conn);
	return 0;
}

static int client(void *arg)
{
	unsigned rounds = scenario_draw("echo-rounds", 1, world.rounds);
	int r = 0;

	(void)arg;
	for (unsigned i = 0; !r && i < rounds && !scenario_is_healed(); i++) {
		r = one_round(false);
		if (!r)
			r = scenario_pause("echo-between", 500);
	}
	return r;
}

static int clients(void *arg)
{
	char none[CLIENTS_MAX];
	int r = scenario_crowd(world.clients, client, none, 1);

	(void)arg;
	if (!r)
		r = scenario_wait_healed();
	return r ? r : one_round(true);
}

/* --- the world --- */

static const char *all_gone(void *arg)
{
	(void)arg;
	return world.accepted == world.gone ? NULL : "a connection was accepted and never closed";
}

static int build(struct weir_sim *sim, enum style style)
{
	struct weir_sim_host_opts one_core = { .cores = 1 };

	world.style = style;
	world.streams = world.accepted = world.gone = 0;
	world.opts = scenario_opts(scenario_draw("echo-cores", 1, 2));
	world.serve = (struct weir_serve_opts){
		.shared = scenario_once_in("echo-shared", 4),
		.at_accept = scenario_once_in("echo-at-accept", 4),
		.conns_max = scenario_once_in("echo-limited", 4) ? 2 : 0,
		.backlog = scenario_once_in("echo-backlog", 4) ? 2 : 64,
		.conn = {
			.bufs_max = scenario_draw("echo-bufs", 0, 2),
			.out_high = scenario_once_in("echo-out-high", 2) ? 1000 : 65536,
			.zc_min = scenario_once_in("echo-zc", 3) ? 512 : 0,
		},
	};
	world.clients = scenario_draw("echo-clients", 1, CLIENTS_MAX);
	world.rounds = scenario_draw("echo-rounds-max", 1, 6);
	if (!weir_sim_host(sim, "server", NULL, server_main, NULL) ||
	    !weir_sim_workload(sim, "near", &one_core, clients, NULL))
		return -ENOMEM;
	if (scenario_once_in("echo-two", 2) &&
	    !weir_sim_workload(sim, "far", &one_core, clients, NULL))
		return -ENOMEM;
	return weir_sim_finally(sim, "echo: every connection ends", all_gone, NULL);
}

static int build_coroutine(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return build(sim, COROUTINE);
}

static int build_callback(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return build(sim, CALLBACK);
}

static int build_future(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return build(sim, FUTURE);
}

#define ABOUT "every byte comes back in order, or the connection fails; echo by "

const struct weir_sim_scenario scenario_echo_coroutine = {
	.name = "echo-coroutine",
	.about = ABOUT "coroutines",
	.build = build_coroutine,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};

const struct weir_sim_scenario scenario_echo_callback = {
	.name = "echo-callback",
	.about = ABOUT "callbacks",
	.build = build_callback,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};

const struct weir_sim_scenario scenario_echo_future = {
	.name = "echo-future",
	.about = ABOUT "futures",
	.build = build_future,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
