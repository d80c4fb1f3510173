/* SPDX-License-Identifier: MIT */
/*
 * test_faults.c - a server and its clients over real sockets, with the Nth allocation, call,
 * operation, enter or transfer failing: peers get their bytes or an error, and nothing stays open.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/weir_coro.h"
#include "net/conn.h"
#include "net/weir_conn_async.h"
#include "net/weir_listener.h"
#include "ring/weir_run.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/nth.h"
#include "tests/support/ring_fixture.h"

#define MESSAGE 600	/* more than a buffer */
#define ROUNDS 3
#define CLIENTS 2

/* --- servers --- */

struct server {
	weir_conn_fn handler;			/* NULL: by callbacks */
	struct weir_listener *listener;
	struct weir_coro *coro;			/* runs serve() */
	char address[WEIR_ADDR_TEXT];
};

static void echo_copied(struct weir_conn *conn, void *arg)
{
	char buf[400];
	ssize_t n;

	(void)arg;
	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0)
		if (weir_conn_write_all(conn, buf, (size_t)n) < 0)
			break;
}

static void echo_lent(struct weir_conn *conn, void *arg)
{
	struct weir_lease lease;
	ssize_t n;

	(void)arg;
	while ((n = weir_conn_lease(conn, &lease)) > 0) {
		int r = weir_conn_write_ref(conn, lease.data, lease.size, NULL, NULL);

		/* The lease goes back when the kernel has what is in it, and not before. */
		weir_coro_shield();
		if (!r)
			r = weir_conn_flush(conn);
		weir_coro_unshield();
		weir_conn_release(conn, &lease);
		if (r < 0)
			break;
	}
}

/* Neither is given up before it is settled: its buffer is ours. */
static ssize_t settled(struct weir_future *future)
{
	return weir_await(future, nth_in(), NULL);
}

static void echo_as_futures(struct weir_conn *conn, void *arg)
{
	char buf[400];
	ssize_t n;

	(void)arg;
	while ((n = settled(weir_conn_read_async(conn, buf, sizeof(buf)))) > 0)
		if (settled(weir_conn_write_async(conn, buf, (size_t)n)) < 0)
			break;
}

static void listening(struct weir_listener *listener, void *arg)
{
	struct server *server = arg;

	server->listener = listener;
	strcpy(server->address, weir_listener_address(listener));
}

static int serve(void *arg)
{
	struct server *server = arg;
	const struct weir_serve_opts opts = { .on_listen = listening, .backlog = 4 };
	int r = weir_serve("tcp://127.0.0.1:0", &opts, server->handler, server);

	server->listener = NULL;
	return r;
}

/* --- by callbacks --- */

static void data_came(struct weir_conn *conn, const char *data, size_t size, int res)
{
	(void)res;
	if (!size || weir_conn_write_try(conn, data, size) < 0)
		weir_conn_close(conn);
}

static void accepted(struct weir_conn *conn, void *arg)
{
	static const struct weir_conn_events events = { .on_data = data_came };

	(void)arg;
	weir_conn_set_events(conn, &events);
}

static void ended(void *arg)
{
	struct server *server = arg;

	server->listener = NULL;
}

static int start(struct server *server)
{
	static const struct weir_listener_events events = { .on_accept = accepted,
							    .on_end = ended };
	int r;

	if (server->handler) {
		r = weir_coro_spawn(NULL, serve, server, &server->coro);
		return r < 0 ? r : weir_yield();
	}
	r = weir_listener_create("tcp://127.0.0.1:0", NULL, &events, server, &server->listener);
	if (!r)
		strcpy(server->address, weir_listener_address(server->listener));
	return r;
}

/* Stops it when it runs; what it ended with. */
static int stop(struct server *server)
{
	int res = 0;

	if (server->listener && !weir_listener_is_stopping(server->listener))
		weir_listener_stop(server->listener);
	weir_coro_shield();
	if (server->coro)
		weir_coro_join(server->coro, WEIR_NEVER, &res);
	while (server->listener)
		weir_sleep(10 * WEIR_US);
	weir_coro_unshield();
	return res;
}

/* --- clients --- */

static int round_trip(struct weir_conn *conn, unsigned seed)
{
	char out[MESSAGE], back[MESSAGE];
	int r;

	for (unsigned i = 0; i < MESSAGE; i++)
		out[i] = (char)(i * 7 + seed);
	r = weir_conn_write_all(conn, out, sizeof(out));
	if (!r)
		r = (int)weir_conn_read_exact(conn, back, sizeof(back));
	if (r < 0)
		return r;
	return memcmp(out, back, sizeof(out)) ? -EPROTO : 0;
}

static int client(void *arg)
{
	struct server *server = arg;
	struct weir_conn *conn;
	char buf[8];
	int r = weir_connect(server->address, NULL, &conn);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < ROUNDS && !r; i++)
		r = round_trip(conn, i);
	if (!r)
		r = weir_conn_shutdown(conn);
	if (!r)
		r = (int)weir_conn_read(conn, buf, sizeof(buf));
	weir_conn_close(conn);
	return r > 0 ? -EPROTO : r;
}

static int clients(struct server *server)
{
	struct weir_coro *coros[CLIENTS];
	unsigned count = 0;
	int r = 0;

	while (!r && count < CLIENTS)
		r = weir_coro_spawn(NULL, client, server, &coros[count++]);
	if (r < 0)
		count--;
	for (unsigned i = 0; i < count; i++) {
		int res = nth_join(coros[i]);

		r = r ? r : res;
	}
	return r;
}

static int talk(void *arg)
{
	struct server server = { .handler = *(weir_conn_fn *)arg };
	int r = start(&server), stopped;

	if (!r && server.listener)
		r = clients(&server);
	stopped = stop(&server);
	return r ? r : stopped;
}

static int with_handler(weir_conn_fn handler, bool direct)
{
	struct ring_fixture fixture = ring_fixture_small();

	if (!direct)
		fixture.ring.direct_max = 0;
	fixture.timeout_ns = NTH_WAIT_NS;
	return on_ring_with(&fixture, talk, &handler);
}

static int copying(void *arg)
{
	(void)arg;
	return with_handler(echo_copied, true);
}

/* With descriptors that can be seen to leak. */
static int plain(void *arg)
{
	(void)arg;
	return with_handler(echo_copied, false);
}

static int lending(void *arg)
{
	(void)arg;
	return with_handler(echo_lent, true);
}

static int futures(void *arg)
{
	(void)arg;
	return with_handler(echo_as_futures, true);
}

static int callbacks(void *arg)
{
	(void)arg;
	return with_handler(NULL, true);
}

/* --- two cores that serve one address --- */

static struct {
	unsigned listening;
	char address[WEIR_ADDR_TEXT];
} shared;

static void core_listens(struct weir_listener *listener, void *arg)
{
	(void)arg;
	if (!weir_core())
		strcpy(shared.address, weir_listener_address(listener));
	__atomic_add_fetch(&shared.listening, 1, __ATOMIC_SEQ_CST);
}

static int ask_and_drain(void *arg)
{
	struct server server = { .handler = echo_copied };
	int r = 0;

	(void)arg;
	while (!r && __atomic_load_n(&shared.listening, __ATOMIC_SEQ_CST) < weir_core_count())
		r = weir_sleep(10 * WEIR_US);
	strcpy(server.address, shared.address);
	if (!r)
		r = clients(&server);
	weir_drain();
	return r;
}

static int service(void *arg)
{
	const struct weir_serve_opts opts = { .on_listen = core_listens, .backlog = 4 };
	struct weir_coro *coro = NULL;
	int asked = 0, r = 0;

	weir_coro_set_deadline(nth_in());
	if (!weir_core())
		r = weir_coro_spawn(NULL, ask_and_drain, NULL, &coro);
	if (!r)
		r = weir_serve("tcp://127.0.0.1:0", &opts, echo_copied, arg);
	if (coro && r < 0)
		weir_coro_cancel(coro);
	if (coro)
		asked = nth_join(coro);
	return r ? r : asked;
}

static int cores(void *arg)
{
	const struct weir_opts opts = {
		.cores = weir_cpus() < 2 ? 1 : 2,
		.depth = 16,
		.conns_max = 64,
		.bufs = 8,
		.buf_size = 256,
		.coros_max = 64,
		.mesh_depth = 16,
		.drain_ns = NTH_PATIENCE_NS,
		.spin_ns = -1,
		.stall_ns = -1,
		.no_pin = true,
		.no_signals = true,
	};

	memset(&shared, 0, sizeof(shared));
	return weir_run(&opts, service, arg);
}

/* --- the tests --- */

#define faults_of(scenario)                                                                       \
	static void each_allocation_of_##scenario##_may_fail(void **state)                        \
	{                                                                                         \
		(void)state;                                                                      \
		nth_allocations(#scenario, scenario, NULL);                                       \
	}                                                                                         \
	static void each_call_operation_and_enter_of_##scenario##_may_fail(void **state)          \
	{                                                                                         \
		(void)state;                                                                      \
		nth_calls(#scenario, FAULT_CALL, scenario, NULL);                                 \
		nth_calls(#scenario, FAULT_SQE, scenario, NULL);                                  \
		nth_calls(#scenario, FAULT_ENTER, scenario, NULL);                                \
		nth_calls(#scenario, FAULT_SHORT, scenario, NULL);                                \
		nth_calls(#scenario, FAULT_WAKE, scenario, NULL);                                 \
	}

faults_of(copying)
faults_of(plain)
faults_of(lending)
faults_of(futures)
faults_of(callbacks)
faults_of(cores)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_of_copying_may_fail),
		cmocka_unit_test(each_allocation_of_plain_may_fail),
		cmocka_unit_test(each_allocation_of_lending_may_fail),
		cmocka_unit_test(each_allocation_of_futures_may_fail),
		cmocka_unit_test(each_allocation_of_callbacks_may_fail),
		cmocka_unit_test(each_allocation_of_cores_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_copying_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_plain_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_lending_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_futures_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_callbacks_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_cores_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
