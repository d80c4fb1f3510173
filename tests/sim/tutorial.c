/* SPDX-License-Identifier: MIT */
/*
 * tutorial.c - the example of tests/sim/README.md: a counter over TCP, its scenario, and a fault of
 * its own. A program of its own: weir_sim_main() makes it a `weir sim` for these scenarios.
 *
 * Clients add numbers. One whose connection breaks before the answer came does not know whether
 * its number was added, and asks again. A server that adds whatever comes ("counter-naive") then
 * counts some twice; one that remembers what it has added ("counter") does not.
 */
#include <string.h>

#include <weir.h>

#define CLIENTS 3
#define NUMBERS_MAX 20

struct request {
	uint32_t client, serial;	/* which number of which client */
	uint32_t number;
};

static struct {
	bool remembers;
	uint64_t sum;			/* the server's */
	uint32_t last[CLIENTS];		/* serial that was added last, of each client */
	uint64_t asked, answered;	/* sums of what clients have sent, and know to be added */
} world;

/* --- the service: what is tested; it knows nothing of the simulation --- */

static void add(const struct request *request)
{
	if (world.remembers && request->serial <= world.last[request->client])
		return;
	world.last[request->client] = request->serial;
	world.sum += request->number;
}

static void counter(struct weir_conn *conn, void *arg)
{
	struct request request;

	(void)arg;
	while (weir_conn_read_exact(conn, &request, sizeof(request)) > 0) {
		if (request.client >= CLIENTS)
			return;
		add(&request);
		if (weir_conn_write_all(conn, &request.serial, sizeof(request.serial)) < 0)
			return;
	}
}

static int service(void *arg)
{
	int r;

	do {	/* the fault `fds` may refuse the first socket */
		r = weir_serve("tcp://0.0.0.0:9000", NULL, counter, arg);
	} while (r < 0 && r != -ECANCELED && r != -ESHUTDOWN && !weir_sleep(100 * WEIR_MS));
	return 0;
}

static int server_main(void *arg)
{
	return weir_run(NULL, service, arg);
}

/* --- the workload --- */

/* One attempt: 0 when the answer came. */
static int ask(struct weir_conn **conn, const struct request *request)
{
	uint32_t serial = 0;
	int r = 0;

	weir_coro_set_deadline(weir_in(5 * WEIR_S));	/* a peer may be gone without a word */
	if (!*conn)
		r = weir_connect("tcp://10.0.0.1:9000", NULL, conn);
	if (!r)
		r = weir_conn_write_all(*conn, request, sizeof(*request));
	if (!r)
		r = (int)weir_conn_read_exact(*conn, &serial, sizeof(serial));
	weir_coro_set_deadline(WEIR_NEVER);
	if (r > 0) {
		weir_sim_check(serial == request->serial, "the answer is to what was asked");
		return 0;
	}
	if (*conn)
		weir_conn_abort(*conn);
	*conn = NULL;
	return r ? r : -EPIPE;
}

static int client(void *arg)
{
	struct request request = { .client = *(const uint32_t *)arg };
	uint32_t count = 1 + weir_sim_choose("count", NUMBERS_MAX);
	struct weir_conn *conn = NULL;

	while (request.serial < count) {
		request.serial++;
		request.number = 1 + weir_sim_choose("number", 100);
		world.asked += request.number;
		while (ask(&conn, &request)) {
			weir_sim_sometimes(true, "a client asks again");
			weir_sleep(100 * WEIR_MS);
		}
		world.answered += request.number;
		weir_sleep(weir_sim_choose("pause", 500) * WEIR_MS);
	}
	if (conn)
		weir_conn_close(conn);
	return 0;
}

/* --- a fault of its own: the network goes away now and then --- */

static void mend(void *arg)
{
	weir_sim_partition(NULL, arg, false);
}

static void cut(void *arg)
{
	struct weir_sim *sim = weir_sim_world();

	if (weir_sim_is_healed(sim))
		return;
	if (weir_sim_choose("cut", 4) == 3) {
		weir_sim_partition(NULL, arg, true);
		weir_sim_at(sim, WEIR_S, mend, arg);
	}
	weir_sim_at(sim, 2 * WEIR_S, cut, arg);
}

/* --- what must hold --- */

static const char *sum_is_plausible(void *arg)
{
	(void)arg;
	if (world.sum > world.asked)
		return "more was added than anybody asked for";
	return world.sum < world.answered ? "something was answered and not added" : NULL;
}

/* --- the world --- */

static int build(struct weir_sim *sim, void *arg)
{
	static const uint32_t clients[CLIENTS] = { 0, 1, 2 };
	static const char *const names[CLIENTS] = { "ann", "bob", "eve" };
	struct weir_sim_host *server;

	memset(&world, 0, sizeof(world));
	world.remembers = arg;
	server = weir_sim_host(sim, "server", NULL, server_main, NULL);
	for (unsigned i = 0; server && i < CLIENTS; i++)
		if (!weir_sim_workload(sim, names[i], NULL, client, (void *)&clients[i]))
			server = NULL;
	if (!server || weir_sim_at(sim, WEIR_S, cut, server))
		return -ENOMEM;
	return weir_sim_always(sim, "each number is added once", sum_is_plausible, NULL);
}

static const struct weir_sim_scenario naive = {
	.name = "counter-naive",
	.about = "a counter that adds whatever comes: wrong",
	.build = build,
};

static const struct weir_sim_scenario right = {
	.name = "counter",
	.about = "a counter that remembers what it has added",
	.build = build,
	.arg = &world,
};

static const struct weir_sim_scenario *const scenarios[] = { &right, &naive, NULL };

int main(int argc, char **argv)
{
	return weir_sim_main(argc, argv, scenarios);
}
