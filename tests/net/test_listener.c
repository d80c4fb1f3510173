/* SPDX-License-Identifier: MIT */
/*
 * test_listener.c - serving and connecting over the real kernel: server and clients are
 * coroutines of one worker, so that every wait is for an event.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/conn.h"
#include "net/weir_listener.h"
#include "ring/weir_run.h"
#include "tests/support/ring_fixture.h"

/* --- a server in a coroutine of its own --- */

struct server {
	const char *address;
	struct weir_serve_opts opts;
	weir_conn_fn handler;
	struct weir_coro *coro;
	struct weir_listener *listener;
	char bound[WEIR_ADDR_TEXT];
	int handlers;		/* that run now */
	int started;		/* that ever ran */
	int last;		/* what the last read of the last handler returned */
};

static void echo(struct weir_conn *conn, void *arg)
{
	struct server *server = arg;
	char buf[256];
	ssize_t n;

	server->handlers++;
	server->started++;
	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0)
		if (weir_conn_write_all(conn, buf, (size_t)n) < 0)
			break;
	server->last = (int)n;
	server->handlers--;
}

static void greet(struct weir_conn *conn, void *arg)
{
	(void)arg;
	weir_conn_write_all(conn, "hello", 5);
}

static void listening(struct weir_listener *listener, void *arg)
{
	struct server *server = arg;

	server->listener = listener;
	strcpy(server->bound, weir_listener_address(listener));
}

static int serve(void *arg)
{
	struct server *server = arg;

	server->opts.on_listen = listening;
	return weir_serve(server->address, &server->opts, server->handler ? server->handler : echo,
			  server);
}

static void start(struct server *server)
{
	const struct weir_coro_opts opts = { .name = "server" };

	assert_int_equal(weir_coro_spawn(&opts, serve, server, &server->coro), 0);
	assert_int_equal(weir_yield(), 0);
	assert_non_null(server->listener);
}

static int join(struct server *server)
{
	int res = 1;

	assert_int_equal(weir_coro_join(server->coro, WEIR_NEVER, &res), 0);
	return res;
}

static int stop(struct server *server)
{
	weir_listener_stop(server->listener);
	return join(server);
}

/* --- clients --- */

static struct weir_conn *connect_to(const char *address)
{
	struct weir_conn *conn = NULL;

	assert_int_equal(weir_connect(address, NULL, &conn), 0);
	return conn;
}

/* Connected in the kernel's queue, with an ordinary descriptor: no turn in between accepts it. */
static struct weir_conn *raw_connect(const char *address)
{
	struct weir_net *home = weir__self->net;
	struct weir_kernel *kernel = home->ring->kernel;
	int fd = kernel->ops->socket(kernel, AF_INET, SOCK_STREAM, 0);
	struct weir_conn *conn = NULL;
	struct weir_addr addr;

	assert_true(fd >= 0);
	assert_int_equal(weir_addr_parse(address, &addr, NULL), 0);
	assert_int_equal(kernel->ops->connect(kernel, fd, &addr.sock.any, addr.size), 0);
	assert_int_equal(weir__conn_create(home, fd, false, NULL, &conn), 0);
	return conn;
}

static void say_and_hear(struct weir_conn *conn, const char *text)
{
	char buf[64];

	assert_int_equal(weir_conn_write_all(conn, text, strlen(text)), 0);
	assert_int_equal(weir_conn_read_exact(conn, buf, strlen(text)), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void hear_the_end(struct weir_conn *conn)
{
	char buf[16];
	ssize_t n = weir_conn_read(conn, buf, sizeof(buf));

	assert_true(n == 0 || n == -ECONNRESET);
	weir_conn_close(conn);
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static struct weir_net *net(void)
{
	return weir__self->net;
}

static void wait_closed(void)
{
	while (net()->conns.in_use)
		assert_int_equal(weir_sleep(100 * WEIR_US), 0);
}

/* --- serving --- */

static void an_echo_round_trip_over(const char *address)
{
	struct server server = { .address = address };
	struct weir_conn *conn;

	start(&server);
	conn = connect_to(server.bound);
	say_and_hear(conn, "one");
	say_and_hear(conn, "and two");
	weir_conn_close(conn);
	assert_int_equal(stop(&server), 0);
	assert_int_equal(server.last, 0);
	wait_closed();
}

static void every_family_is_served(void)
{
	char path[64];

	snprintf(path, sizeof(path), "unix:/tmp/weir-test-%d.sock", getpid());
	an_echo_round_trip_over("tcp://127.0.0.1:0");
	an_echo_round_trip_over("tcp://[::1]:0");
	an_echo_round_trip_over(path);
	assert_int_equal(access(path + 5, F_OK), -1);
	snprintf(path, sizeof(path), "unix:@weir-test-%d", getpid());
	an_echo_round_trip_over(path);
}

static int count_coro(const struct weir_coro_info *info, void *arg)
{
	(void)info;
	++*(int *)arg;
	return 0;
}

static void an_idle_connection_has_no_coroutine(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *conn;
	int coros = 0;

	start(&server);
	conn = connect_to(server.bound);
	while (net()->conns.in_use != 2)
		assert_int_equal(weir_sleep(100 * WEIR_US), 0);
	weir_coro_list(count_coro, &coros);
	assert_int_equal(coros, 2);	/* the server's and this one */
	say_and_hear(conn, "x");
	assert_int_equal(server.handlers, 1);
	weir_conn_close(conn);
	/* One that ends without a byte never meets the handler. */
	weir_conn_close(connect_to(server.bound));
	wait_closed();
	assert_int_equal(server.started, 1);
	assert_int_equal(stop(&server), 0);
}

static void the_server_may_speak_first(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0", .handler = greet };
	struct weir_conn *conn;
	char buf[8];

	server.opts.at_accept = true;
	start(&server);
	conn = connect_to(server.bound);
	assert_int_equal(weir_conn_read_exact(conn, buf, 5), 5);
	assert_memory_equal(buf, "hello", 5);
	hear_the_end(conn);
	assert_int_equal(stop(&server), 0);
}

static void a_drain_ends_idle_and_busy_connections(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *idle, *busy;

	start(&server);
	idle = connect_to(server.bound);
	busy = connect_to(server.bound);
	say_and_hear(busy, "x");
	weir__worker_drain(weir__self);
	assert_true(weir_listener_is_stopping(server.listener));
	hear_the_end(idle);
	hear_the_end(busy);
	assert_int_equal(join(&server), 0);
	assert_int_equal(server.last, 0);
	assert_int_equal(weir_serve("tcp://127.0.0.1:0", NULL, echo, NULL), -ESHUTDOWN);
}

static void cancelling_the_server_cancels_its_handlers(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *conn;

	start(&server);
	conn = connect_to(server.bound);
	say_and_hear(conn, "x");
	weir_coro_cancel(server.coro);
	assert_int_equal(join(&server), -ECANCELED);
	assert_int_equal(server.last, -ECANCELED);
	assert_int_equal(server.handlers, 0);
	hear_the_end(conn);
}

/* monoio#318, tokio#7983: an accept that succeeded although cancelled leaked its descriptor. */
static void an_accept_that_raced_with_the_stop_is_closed(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *conns[8];
	unsigned fds = count_fds();

	weir_conn_close(connect_to((start(&server), server.bound)));
	wait_closed();
	for (int i = 0; i < 8; i++)
		conns[i] = connect_to(server.bound);
	assert_int_equal(stop(&server), 0);
	for (int i = 0; i < 8; i++)
		hear_the_end(conns[i]);
	wait_closed();
	assert_int_equal(count_fds(), fds);
}

/* --- bounds --- */

/* talon#569: a limit that admitted fewer than the benchmark claimed, silently. */
static void a_limit_pauses_accepting_until_a_connection_ends(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *conns[5];
	struct weir_listener_info info;

	server.opts.conns_max = 2;
	start(&server);
	for (int i = 0; i < 5; i++) {
		conns[i] = connect_to(server.bound);
		assert_int_equal(weir_conn_write_all(conns[i], "x", 1), 0);
	}
	for (int i = 0; i < 2; i++) {
		char c;

		assert_int_equal(weir_conn_read_exact(conns[i], &c, 1), 1);
	}
	weir_listener_info(server.listener, &info);
	assert_int_equal(info.conns, 2);
	assert_int_equal(info.paused, 1);
	assert_int_equal(info.refused, 0);
	for (int i = 0; i < 5; i++) {
		char c;

		if (i >= 2)
			assert_int_equal(weir_conn_read_exact(conns[i], &c, 1), 1);
		weir_listener_info(server.listener, &info);
		assert_true(info.conns <= 2);
		weir_conn_close(conns[i]);
	}
	wait_closed();
	weir_listener_info(server.listener, &info);
	assert_int_equal(info.accepted, 5);
	assert_int_equal(info.refused, 0);
	assert_int_equal(stop(&server), 0);
}

/*
 * A direct accept that finds the ring's table full has lost its connection: it is limited before
 * that.
 */
static int run_with_few_slots(void *arg)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *conns[8];
	struct weir_listener_info info;

	(void)arg;
	start(&server);
	for (int i = 0; i < 8; i++)
		conns[i] = raw_connect(server.bound);
	for (int i = 0; i < 8; i++) {
		say_and_hear(conns[i], "served");
		weir_listener_info(server.listener, &info);
		assert_true(info.conns <= 8);
		weir_conn_close(conns[i]);
	}
	wait_closed();
	weir_listener_info(server.listener, &info);
	assert_int_equal(info.accepted, 8);
	assert_int_equal(info.refused, 0);
	assert_true(info.paused > 0);
	return stop(&server);
}

static void accepting_outlives_a_full_table_of_direct_descriptors(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();

	(void)state;
	fixture.ring.direct_max = 18;	/* nine connections */
	assert_int_equal(on_ring_with(&fixture, run_with_few_slots, NULL), 0);
}

/*
 * The multishot accept ends with -EMFILE: a server that re-arms at once spins, one that does not
 * is deaf for ever.
 */
static int run_with_few_fds(void *arg)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *conns[12];
	struct weir_listener_info info;
	struct rlimit limit;
	uint64_t enters;
	rlim_t soft;

	(void)arg;
	start(&server);
	for (int i = 0; i < 12; i++)
		conns[i] = raw_connect(server.bound);
	getrlimit(RLIMIT_NOFILE, &limit);
	soft = limit.rlim_cur;
	limit.rlim_cur = count_fds() + 4;
	setrlimit(RLIMIT_NOFILE, &limit);
	do {
		assert_int_equal(weir_sleep(WEIR_MS), 0);
		weir_listener_info(server.listener, &info);
	} while (!info.paused);
	assert_int_equal(info.pause_error, -EMFILE);
	assert_true(info.conns < 12);
	say_and_hear(conns[0], "served on");
	/* It rests: a tenth of a second at a time. */
	enters = net()->ring->enters;
	assert_int_equal(weir_sleep(250 * WEIR_MS), 0);
	assert_true(net()->ring->enters - enters < 20);
	/* Each that leaves lets another in. */
	for (int i = 0; i < 12; i++) {
		say_and_hear(conns[i], "served");
		weir_conn_close(conns[i]);
	}
	wait_closed();
	limit.rlim_cur = soft;
	setrlimit(RLIMIT_NOFILE, &limit);
	return stop(&server);
}

static void accepting_outlives_emfile(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();

	(void)state;
	fixture.ring.direct_max = 0;
	assert_int_equal(on_ring_with(&fixture, run_with_few_fds, NULL), 0);
}

static int run_with_few_coros(void *arg)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *one, *two;
	struct weir_listener_info info;

	(void)arg;
	start(&server);
	one = connect_to(server.bound);
	say_and_hear(one, "x");		/* now three coroutines live: no fourth */
	two = connect_to(server.bound);
	assert_int_equal(weir_conn_write_all(two, "x", 1), 0);
	hear_the_end(two);
	say_and_hear(one, "still served");
	weir_listener_info(server.listener, &info);
	assert_int_equal(info.refused, 1);
	weir_conn_close(one);
	wait_closed();
	one = connect_to(server.bound);
	say_and_hear(one, "served again");
	weir_conn_close(one);
	return stop(&server);
}

static void a_connection_without_a_coroutine_is_closed_and_counted(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();

	(void)state;
	fixture.worker.coros.coros_max = 3;
	assert_int_equal(on_ring_with(&fixture, run_with_few_coros, NULL), 0);
}

/* --- addresses in use --- */

static void an_address_in_use_is_refused(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };

	start(&server);
	assert_int_equal(weir_serve(server.bound, NULL, greet, NULL), -EADDRINUSE);
	assert_int_equal(stop(&server), 0);
	assert_int_equal(weir_serve("tcp://192.0.2.1:0", NULL, greet, NULL), -EADDRNOTAVAIL);
	assert_int_equal(weir_serve("tcp://localhost:0", NULL, greet, NULL), -EINVAL);
}

static void two_services_on_port_0_get_two_ports(void)
{
	struct server one = { .address = "tcp://127.0.0.1:0" };
	struct server two = { .address = "tcp://127.0.0.1:0" };
	struct server shared = { .address = "tcp://127.0.0.1:0", .opts = { .shared = true } };

	start(&one);
	start(&two);
	start(&shared);
	assert_string_not_equal(one.bound, two.bound);
	assert_string_not_equal(one.bound, shared.bound);
	assert_int_equal(stop(&one), 0);
	assert_int_equal(stop(&two), 0);
	assert_int_equal(stop(&shared), 0);
}

static void a_unix_path_is_taken_over_only_from_the_dead(void)
{
	struct server server;
	char path[64], other[64];
	struct stat st;
	int fd;

	memset(&server, 0, sizeof(server));
	snprintf(path, sizeof(path), "unix:/tmp/weir-stale-%d.sock", getpid());
	snprintf(other, sizeof(other), "unix:/tmp/weir-file-%d", getpid());
	server.address = path;
	/* Left behind by a process that was killed. */
	{
		struct sockaddr_un sock = { .sun_family = AF_UNIX };

		strcpy(sock.sun_path, path + 5);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&sock, sizeof(sock)), 0);
		close(fd);
	}
	start(&server);
	/* Alive: refused. */
	assert_int_equal(weir_serve(path, NULL, greet, NULL), -EADDRINUSE);
	weir_conn_close(connect_to(path));
	assert_int_equal(stop(&server), 0);
	assert_int_equal(stat(path + 5, &st), -1);
	/* Not a socket: refused, and left alone. */
	fd = open(other + 5, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(weir_serve(other, NULL, greet, NULL), -EADDRINUSE);
	assert_int_equal(stat(other + 5, &st), 0);
	unlink(other + 5);
}

/* --- callback style --- */

struct callbacks {
	struct weir_wait wait;
	int accepted, drained;
};

static void callback_data(struct weir_conn *conn, const char *data, size_t size, int res)
{
	(void)res;
	if (size)
		assert_int_equal(weir_conn_write_try(conn, data, size), 0);
	else
		weir_conn_close(conn);
}

static const struct weir_conn_events callback_conn = { .on_data = callback_data };

static void callback_accept(struct weir_conn *conn, void *arg)
{
	((struct callbacks *)arg)->accepted++;
	weir_conn_set_events(conn, &callback_conn);
}

static void callback_drain(struct weir_conn *conn, void *arg)
{
	((struct callbacks *)arg)->drained++;
	weir_conn_close(conn);
}

static void callback_end(void *arg)
{
	weir__wait_wake(&((struct callbacks *)arg)->wait, 7);
}

static void callbacks_serve_without_a_coroutine(void)
{
	static const struct weir_listener_events events = {
		.on_accept = callback_accept,
		.on_drain = callback_drain,
		.on_end = callback_end,
	};
	struct callbacks callbacks = { .accepted = 0 };
	struct weir_listener *listener;
	struct weir_conn *conn;

	assert_int_equal(weir_listener_create("tcp://127.0.0.1:0", NULL, &events, &callbacks,
					      &listener),
			 0);
	conn = connect_to(weir_listener_address(listener));
	say_and_hear(conn, "called back");
	weir__wait_init(&callbacks.wait);
	weir_listener_stop(listener);
	assert_int_equal(weir__wait_park(&callbacks.wait, "end", NULL, WEIR_NEVER), 7);
	assert_int_equal(callbacks.accepted, 1);
	assert_int_equal(callbacks.drained, 1);
	hear_the_end(conn);
}

/* --- connecting --- */

static void connecting_to_nobody_is_refused(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0" };
	struct weir_conn *conn = NULL;

	start(&server);
	assert_int_equal(stop(&server), 0);
	assert_int_equal(weir_connect(server.bound, NULL, &conn), -ECONNREFUSED);
	assert_int_equal(weir_connect("unix:/nonexistent/x", NULL, &conn), -ENOENT);
	assert_int_equal(weir_connect("tcp://nowhere:1", NULL, &conn), -EINVAL);
	assert_null(conn);
}

static void a_connect_that_times_out_leaks_nothing(void)
{
	struct sockaddr_un sock = { .sun_family = AF_UNIX };
	struct weir_conn *first, *conn = NULL;
	char address[32];
	unsigned fds;
	int fd;

	/* One waits in the queue of a server that accepts nobody: the next has to wait. */
	snprintf(address, sizeof(address), "unix:@weir-full-%d", getpid());
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sock.sun_path + 1, address + 6);
	assert_int_equal(bind(fd, (struct sockaddr *)&sock,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address) -
					  5)),
			 0);
	assert_int_equal(listen(fd, 0), 0);
	first = connect_to(address);
	fds = count_fds();
	weir_coro_set_deadline(weir_in(20 * WEIR_MS));
	assert_int_equal(weir_connect(address, NULL, &conn), -ETIMEDOUT);
	weir_coro_set_deadline(weir_in(20 * WEIR_S));
	assert_int_equal(count_fds(), fds);
	assert_null(conn);
	close(fd);
	weir_conn_close(first);
}

/* --- cores --- */

static struct {
	unsigned cores;
	char bound[8][WEIR_ADDR_TEXT];
	unsigned listening;
	unsigned served;
} shared;

static void on_core(struct weir_listener *listener, void *arg)
{
	(void)arg;
	strcpy(shared.bound[weir__self->index], weir_listener_address(listener));
	__atomic_add_fetch(&shared.listening, 1, __ATOMIC_SEQ_CST);
}

static void serve_one(struct weir_conn *conn, void *arg)
{
	char c;

	(void)arg;
	if (weir_conn_read(conn, &c, 1) == 1)
		weir_conn_write_all(conn, &c, 1);
	__atomic_add_fetch(&shared.served, 1, __ATOMIC_SEQ_CST);
}

static int drive(void *arg)
{
	while (__atomic_load_n(&shared.listening, __ATOMIC_SEQ_CST) < shared.cores)
		weir_sleep(WEIR_MS);
	for (unsigned i = 1; i < shared.cores; i++)
		assert_string_equal(shared.bound[0], shared.bound[i]);
	for (int i = 0; i < 64; i++) {
		struct weir_conn *conn = connect_to(shared.bound[0]);

		say_and_hear(conn, "z");
		weir_conn_close(conn);
	}
	(void)arg;
	weir_drain();
	return 0;
}

static int service(void *arg)
{
	struct weir_serve_opts opts = { .on_listen = on_core, .shared = arg != NULL };
	const struct weir_coro_opts coro = { .name = "driver", .detached = true };

	if (!weir__self->index)
		assert_int_equal(weir_coro_spawn(&coro, drive, NULL, NULL), 0);
	return weir_serve("tcp://127.0.0.1:0", &opts, serve_one, NULL);
}

static void port_0_is_the_same_on_every_core(void **state)
{
	const struct weir_opts opts = { .no_signals = true };

	(void)state;
	shared.cores = weir_cpus() < 8 ? weir_cpus() : 8;
	if (shared.cores < 2) {
		fprintf(stderr, "one CPU only: nothing to share\n");
		skip();
	}
	for (int i = 0; i < 2; i++) {
		shared.listening = shared.served = 0;
		assert_int_equal(weir_run(&opts, service, i ? &shared : NULL), 0);
		assert_int_equal(shared.served, 64);
	}
}

static void tell_the_peer(struct weir_conn *conn, void *arg)
{
	char text[WEIR_ADDR_TEXT] = "";

	(void)arg;
	assert_int_equal(weir_conn_peer(conn, text, sizeof(text)), 0);
	weir_conn_write_all(conn, text, sizeof(text));
}

static void a_connection_knows_its_peer(void)
{
	struct server server = { .address = "tcp://127.0.0.1:0", .handler = tell_the_peer };
	struct weir_kernel *kernel = host_kernel();
	char told[WEIR_ADDR_TEXT], own[WEIR_ADDR_TEXT];
	struct sockaddr_storage sock;
	socklen_t size = sizeof(sock);
	struct weir_addr addr;
	struct weir_conn *conn;

	server.opts.at_accept = true;
	start(&server);
	conn = raw_connect(server.bound);
	assert_int_equal(
		kernel->ops->getsockname(kernel, conn->fd, (struct sockaddr *)&sock, &size), 0);
	assert_int_equal(weir_addr_from_sockaddr((struct sockaddr *)&sock, size, &addr), 0);
	assert_int_equal(weir_addr_format(&addr, own, sizeof(own)), 0);
	assert_int_equal(weir_conn_read_exact(conn, told, sizeof(told)), sizeof(told));
	assert_string_equal(told, own);
	weir_conn_close(conn);
	assert_int_equal(stop(&server), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(a_connection_knows_its_peer),
		ring_test(every_family_is_served),
		ring_test(an_idle_connection_has_no_coroutine),
		ring_test(the_server_may_speak_first),
		ring_test(a_drain_ends_idle_and_busy_connections),
		ring_test(cancelling_the_server_cancels_its_handlers),
		ring_test(an_accept_that_raced_with_the_stop_is_closed),
		ring_test(a_limit_pauses_accepting_until_a_connection_ends),
		cmocka_unit_test(accepting_outlives_a_full_table_of_direct_descriptors),
		cmocka_unit_test(accepting_outlives_emfile),
		cmocka_unit_test(a_connection_without_a_coroutine_is_closed_and_counted),
		ring_test(an_address_in_use_is_refused),
		ring_test(two_services_on_port_0_get_two_ports),
		ring_test(a_unix_path_is_taken_over_only_from_the_dead),
		ring_test(callbacks_serve_without_a_coroutine),
		ring_test(connecting_to_nobody_is_refused),
		ring_test(a_connect_that_times_out_leaks_nothing),
		cmocka_unit_test(port_0_is_the_same_on_every_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
