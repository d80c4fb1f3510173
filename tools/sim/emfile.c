/* SPDX-License-Identifier: MIT */
/*
 * emfile.c - accepting without descriptors: the server never stops for good, and never spins.
 *
 * More clients than the host has descriptors for connect, say a few words and stay a while;
 * meanwhile the server opens files, which take descriptors too. It may let them wait, but when
 * descriptors come free it serves the next; and while it waits it does next to nothing, which
 * is counted in system calls.
 */
#include <fcntl.h>
#include <string.h>

#include "tools/sim/scenario.h"

#define PORT 7300
#define CLIENTS_MAX 40

/* Per virtual second: generous for what one has to do, far below what spinning takes. */
#define ENTERS_MAX 20000

static struct {
	struct weir_opts opts;
	struct weir_serve_opts serve;
	unsigned clients;
	bool hoards;
	struct weir_listener *listener;	/* NULL: not yet, or no more */
} world;

/* --- the server --- */

static void listening(struct weir_listener *listener, void *arg)
{
	(void)arg;
	world.listener = listener;
}

static void greet(struct weir_conn *conn, void *arg)
{
	char buf[64];
	ssize_t n;

	(void)arg;
	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0)
		if (weir_conn_write_all(conn, buf, (size_t)n) < 0)
			break;
}

/* Takes descriptors for itself, and gives them back. */
static int hoard(void *arg)
{
	static const struct weir_open_opts create = { .flags = O_RDWR | O_CREAT };
	struct weir_file *files[32];
	unsigned count = 0;

	(void)arg;
	while (!weir_is_draining() && !scenario_is_healed()) {
		while (count < 32 && !weir_file_open(NULL, "/hoard", &create, &files[count]))
			count++;
		weir_sim_sometimes(count < 32, "emfile: an open finds no descriptor");
		scenario_pause("emfile-hoards", 1000);
		while (count)
			weir_file_close(files[--count]);
		if (weir_sleep(100 * WEIR_MS) || scenario_pause("emfile-rests", 1000))
			break;
	}
	return 0;
}

static void mark(void)
{
	struct weir_listener_info info;

	if (!world.listener)
		return;
	weir_listener_info(world.listener, &info);
	weir_sim_sometimes(info.paused && info.pause_error == -EMFILE,
			   "emfile: accepting pauses for want of descriptors");
	weir_sim_sometimes(info.paused && !info.pause_error,
			   "emfile: accepting pauses at its limit");
}

/* Counts system calls, second by second. */
static int watch(void *arg)
{
	struct weir_ring_info before, now;

	(void)arg;
	weir_ring_info(&before);
	while (!weir_is_draining()) {
		int64_t since_ns = weir_now();

		if (weir_sleep(WEIR_S))
			break;
		weir_ring_info(&now);
		weir_sim_checkf((int64_t)(now.enters - before.enters) <
					ENTERS_MAX * ((weir_now() - since_ns) / WEIR_S + 1),
				"emfile: who waits for descriptors does not spin",
				"%u system calls", (unsigned)(now.enters - before.enters));
		before = now;
		mark();
	}
	return 0;
}

static int serve(void *arg)
{
	int r;

	(void)arg;
	do {
		r = weir_serve("tcp://0.0.0.0:7300", &world.serve, greet, NULL);
		world.listener = NULL;
	} while (r < 0 && r != -ECANCELED && r != -ESHUTDOWN && !weir_sleep(100 * WEIR_MS));
	return 0;
}

static int service(void *arg)
{
	struct weir_coro *server, *watcher, *hoarder = NULL;
	int r = weir_coro_spawn(NULL, serve, arg, &server);

	if (!r)
		r = weir_coro_spawn(NULL, watch, NULL, &watcher);
	if (!r && world.hoards)
		r = weir_coro_spawn(NULL, hoard, NULL, &hoarder);
	if (r < 0)
		return r;
	scenario_join(server);
	weir_coro_cancel(watcher);
	scenario_join(watcher);
	if (hoarder) {
		weir_coro_cancel(hoarder);
		scenario_join(hoarder);
	}
	return 0;
}

static int server_main(void *arg)
{
	return weir_run(&world.opts, service, arg);
}

/* --- clients --- */

static int talk(struct weir_conn *conn, bool must_pass)
{
	char out[32], in[32];
	unsigned words = scenario_draw("emfile-words", 1, 4);
	int64_t own_ns = weir_coro_set_deadline(scenario_patience());
	int r = 0;

	for (unsigned i = 0; !r && i < words; i++) {
		scenario_fill(out, sizeof(out), i, 0);
		r = weir_conn_write_all(conn, out, sizeof(out));
		if (!r)
			r = (int)weir_conn_read_exact(conn, in, sizeof(in));
		if (r > 0) {
			weir_sim_check(!memcmp(in, out, sizeof(in)),
				       "emfile: who is served is served right");
			r = must_pass ? 0 : scenario_pause("emfile-stays", 800);
		}
	}
	weir_coro_set_deadline(own_ns);
	return r;
}

static int visit(bool must_pass)
{
	struct weir_conn *conn;
	char address[64];
	int r = scenario_connect(scenario_address("server", PORT, address), NULL, &conn);

	weir_sim_checkf(!r, "emfile: a connection is to be had", "%d", r);
	if (r < 0)
		return 0;
	r = talk(conn, must_pass);
	weir_sim_checkf(r != -ETIMEDOUT,
			"emfile: who is accepted is served, in the end", "%d", r);
	weir_sim_checkf(!must_pass || !r, "emfile: with descriptors everybody is served", "%d", r);
	weir_conn_close(conn);
	return 0;
}

static int client(void *arg)
{
	unsigned visits = scenario_draw("emfile-visits", 1, 6);
	int r = scenario_pause("emfile-comes", 2000);

	(void)arg;
	for (unsigned i = 0; !r && i < visits && !scenario_is_healed(); i++)
		r = visit(false);
	return r;
}

static int clients(void *arg)
{
	char none[CLIENTS_MAX];
	int r = scenario_crowd(world.clients, client, none, 1);

	(void)arg;
	if (!r)
		r = scenario_wait_healed();
	return r ? r : visit(true);
}

/* --- the world --- */

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts few = { .cores = 1 };
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	/* Below 16 there are no direct descriptors either: each connection takes one of these. */
	few.fds_max = weir_sim_choose("emfile-direct", 2) ? scenario_draw("emfile-fds", 16, 40) :
							    15;
	world.opts = scenario_opts(1);
	world.serve.backlog = scenario_draw("emfile-backlog", 1, 64);
	world.serve.conns_max = scenario_once_in("emfile-limited", 4) ? 5 : 0;
	world.serve.at_accept = weir_sim_choose("emfile-at-accept", 2);
	world.serve.on_listen = listening;
	world.hoards = weir_sim_choose("emfile-hoard", 2);
	world.clients = scenario_draw("emfile-clients", 1, CLIENTS_MAX);
	if (!weir_sim_host(sim, "server", &few, server_main, NULL) ||
	    !weir_sim_workload(sim, "clients", &reliable, clients, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_emfile = {
	.name = "emfile",
	.about = "without descriptors a server neither stops accepting nor spins",
	.build = build,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
