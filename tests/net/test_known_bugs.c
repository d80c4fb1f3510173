/* SPDX-License-Identifier: MIT */
/*
 * test_known_bugs.c - bugs that other runtimes shipped and connections must not have, as far as
 * no other unit's test is about them. Each test names the public report. Where the order of
 * completions is the bug, a scripted kernel gives that order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "core/weir_metrics.h"
#include "net/conn.h"
#include "net/weir_listener.h"
#include "ring/weir_run.h"
#include "tests/support/conn_scene.h"
#include "tests/support/ring_fixture.h"

/* --- a connection whose completions are written by hand --- */

/* io_uring_prep_recv_multishot(3): without F_MORE it has ended, and who does not look is deaf. */
static void a_receive_that_ended_with_data_is_armed_again(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, NULL);
	assert_int_equal(taken(scene.s, IORING_OP_RECV, NULL), 1);
	answer(scene.s, IORING_OP_RECV, 10, in_buffer(0) | IORING_CQE_F_MORE);
	script_turn(scene.s);
	assert_int_equal(taken(scene.s, IORING_OP_RECV, NULL), 1);
	answer(scene.s, IORING_OP_RECV, 10, in_buffer(1));
	script_turn(scene.s);
	assert_int_equal(taken(scene.s, IORING_OP_RECV, NULL), 2);
	close_scene(&scene);
}

/* liburing#1275: the buffer ring ran dry, and the receive was over for good. */
static void a_receive_that_found_no_buffer_is_armed_again(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, NULL);
	answer(scene.s, IORING_OP_RECV, -ENOBUFS, 0);
	script_turn(scene.s);
	script_turn(scene.s);
	assert_int_equal(taken(scene.s, IORING_OP_RECV, NULL), 2);
	assert_false(weir_conn_is_readable(scene.conn));
	close_scene(&scene);
}

/* compio#746: a cancelled receive that had got a buffer kept it. */
static void data_that_comes_while_closing_gives_its_buffer_back_once(void **state)
{
	struct scene scene;
	struct script *s;

	(void)state;
	open_scene(&scene, NULL);
	s = scene.s;
	weir_conn_close(scene.conn);
	scene.conn = NULL;
	script_turn(s);
	answer(s, IORING_OP_RECV, 10, in_buffer(3) | IORING_CQE_F_MORE);
	assert_int_equal(s->ring->bufs.lent, 0);
	answer(s, IORING_OP_RECV, 10, in_buffer(4));
	assert_int_equal(s->ring->bufs.lent, 0);
	answer(s, IORING_OP_ASYNC_CANCEL, -EALREADY, 0);
	script_turn(s);
	answer(s, IORING_OP_CLOSE, 0, 0);
	close_scene(&scene);
}

static void close_in_order(bool cancel_first)
{
	struct scene scene;
	struct script *s;

	open_scene(&scene, NULL);
	s = scene.s;
	weir_conn_close(scene.conn);
	scene.conn = NULL;
	script_turn(s);
	assert_int_equal(taken(s, IORING_OP_ASYNC_CANCEL, NULL), 1);
	assert_int_equal(taken(s, IORING_OP_CLOSE, NULL), 0);
	answer(s, cancel_first ? IORING_OP_ASYNC_CANCEL : IORING_OP_RECV,
	       cancel_first ? 0 : -ECANCELED, 0);
	script_turn(s);
	assert_int_equal(taken(s, IORING_OP_CLOSE, NULL), 0);
	answer(s, cancel_first ? IORING_OP_RECV : IORING_OP_ASYNC_CANCEL,
	       cancel_first ? -ECANCELED : 0, 0);
	script_turn(s);
	assert_int_equal(taken(s, IORING_OP_CLOSE, NULL), 1);
	answer(s, IORING_OP_CLOSE, 0, 0);
	close_scene(&scene);
}

/*
 * A close under an armed receive took data that was meant for nobody, and the number of the
 * descriptor, used again at once, got the completions of the one before.
 */
static void a_descriptor_is_closed_after_its_receive_and_its_cancel_have_retired(void **state)
{
	(void)state;
	close_in_order(true);
	close_in_order(false);
}

/* send(2): a short write treated as done loses the rest. */
static void a_short_send_goes_on_where_it_ended(void **state)
{
	struct scene scene;
	struct script *s;
	unsigned first = 0, second = 0;

	(void)state;
	open_scene(&scene, NULL);
	s = scene.s;
	assert_int_equal(weir_conn_write_try(scene.conn, "0123456789", 10), 0);
	script_turn(s);
	assert_int_equal(taken(s, IORING_OP_SEND, &first), 1);
	assert_int_equal(s->taken[first].len, 10);
	answer(s, IORING_OP_SEND, 4, 0);
	script_turn(s);
	assert_int_equal(taken(s, IORING_OP_SEND, &second), 2);
	assert_int_equal(s->taken[second].len, 6);
	assert_int_equal(s->taken[second].addr, s->taken[first].addr + 4);
	assert_int_equal(weir_conn_pending(scene.conn), 6);
	answer(s, IORING_OP_SEND, 6, 0);
	assert_int_equal(weir_conn_pending(scene.conn), 0);
	close_scene(&scene);
}

/* io_uring_prep_send_zc(3): a buffer that was written before its notification went out changed. */
static void lent_output_comes_back_with_the_notification_and_not_before(void **state)
{
	const struct weir_conn_opts opts = { .zc_min = 1 };
	struct scene scene;

	(void)state;
	open_scene(&scene, &opts);
	assert_int_equal(weir_conn_write_ref(scene.conn, "0123456789", 10, mark_released, &scene),
			 0);
	script_turn(scene.s);
	answer(scene.s, IORING_OP_SEND_ZC, 10, IORING_CQE_F_MORE);
	assert_int_equal(scene.released, 0);
	assert_int_equal(weir_conn_pending(scene.conn), 10);
	answer(scene.s, IORING_OP_SEND_ZC, 0, IORING_CQE_F_NOTIF);
	assert_int_equal(scene.released, 1);
	close_scene(&scene);

	/* The error's completion announces a notification, too. */
	open_scene(&scene, &opts);
	assert_int_equal(weir_conn_write_ref(scene.conn, "0123456789", 10, mark_released, &scene),
			 0);
	script_turn(scene.s);
	answer(scene.s, IORING_OP_SEND_ZC, -EPIPE, IORING_CQE_F_MORE);
	assert_int_equal(scene.released, 0);
	answer(scene.s, IORING_OP_SEND_ZC, 0, IORING_CQE_F_NOTIF);
	assert_int_equal(scene.released, 1);
	close_scene(&scene);
}

/* --- a listener whose completions are written by hand --- */

static int some_fd(struct weir_kernel *kernel, int domain, int type, int protocol)
{
	(void)kernel;
	(void)domain;
	(void)type;
	(void)protocol;
	return FD;
}

static int bound(struct weir_kernel *kernel, int fd, const struct sockaddr *addr, socklen_t size)
{
	(void)kernel;
	(void)fd;
	(void)addr;
	(void)size;
	return 0;
}

static int listens(struct weir_kernel *kernel, int fd, int backlog)
{
	(void)kernel;
	(void)fd;
	(void)backlog;
	return 0;
}

static int option_set(struct weir_kernel *kernel, int fd, int level, int name, const void *value,
		      socklen_t size)
{
	(void)kernel;
	(void)fd;
	(void)level;
	(void)name;
	(void)value;
	(void)size;
	return 0;
}

static int named(struct weir_kernel *kernel, int fd, struct sockaddr *addr, socklen_t *size)
{
	struct sockaddr_in sock = { .sin_family = AF_INET, .sin_port = 80 };

	(void)kernel;
	(void)fd;
	memcpy(addr, &sock, sizeof(sock));
	*size = sizeof(sock);
	return 0;
}

static void accepted(struct weir_conn *conn, void *arg)
{
	(void)arg;
	weir_conn_abort(conn);
}

static void listener_ended(void *arg)
{
	*(bool *)arg = true;
}

struct listening {
	struct script *s;
	struct weir_kernel_ops ops;
	struct weir_listener *listener;
	bool ended;
};

static void open_listening(struct listening *l)
{
	static const struct weir_listener_events events = { .on_accept = accepted,
							    .on_end = listener_ended };
	const struct weir_serve_opts opts = { .backlog = 1 };

	*l = (struct listening){ .s = script_start(16, 16, 8), .ops = script_ops };
	l->ops.socket = some_fd;
	l->ops.bind = bound;
	l->ops.listen = listens;
	l->ops.setsockopt = option_set;
	l->ops.getsockname = named;
	l->s->kernel.ops = &l->ops;
	assert_int_equal(weir_listener_create("tcp://127.0.0.1:0", &opts, &events, &l->ended,
					      &l->listener),
			 0);
	script_turn(l->s);
	assert_int_equal(taken(l->s, IORING_OP_ACCEPT, NULL), 1);
}

static void close_listening(struct listening *l)
{
	weir_listener_stop(l->listener);
	script_turn(l->s);
	if (!l->ended) {
		answer(l->s, IORING_OP_ACCEPT, -ECANCELED, 0);
		answer(l->s, IORING_OP_ASYNC_CANCEL, 0, 0);
	}
	assert_true(l->ended);
	script_stop(l->s);
}

/* io_uring_prep_multishot_accept(3): without F_MORE it has ended; a listener looked alive. */
static void an_accept_that_ended_is_armed_again(void **state)
{
	static const int results[] = { -ECONNABORTED, -EPROTO, -EAGAIN, -EINTR, -ECANCELED };
	struct listening l;

	(void)state;
	open_listening(&l);
	for (unsigned i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		answer(l.s, IORING_OP_ACCEPT, results[i], 0);
		script_turn(l.s);
		assert_int_equal(taken(l.s, IORING_OP_ACCEPT, NULL), i + 2);
	}
	close_listening(&l);
}

/* accept(2), EMFILE: the loop span, since the listening socket stays ready. */
static void without_descriptors_accepting_rests_and_does_not_spin(void **state)
{
	static const int errors[] = { -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM };
	struct listening l;
	unsigned armed = 1;

	(void)state;
	open_listening(&l);
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		answer(l.s, IORING_OP_ACCEPT, errors[i], 0);
		for (unsigned ms = 0; ms < 90; ms++) {
			l.s->now += WEIR_MS;
			script_turn(l.s);
			assert_int_equal(taken(l.s, IORING_OP_ACCEPT, NULL), armed);
		}
		for (unsigned ms = 0; ms < 20; ms++) {
			l.s->now += WEIR_MS;
			script_turn(l.s);
		}
		assert_int_equal(taken(l.s, IORING_OP_ACCEPT, NULL), ++armed);
	}
	close_listening(&l);
}

/* --- the real kernel --- */

static struct weir_listener *listening_now;

static void keep_listener(struct weir_listener *listener, void *arg)
{
	(void)arg;
	listening_now = listener;
}

static void hang_up(struct weir_conn *conn, void *arg)
{
	char c;

	(void)arg;
	weir_conn_read(conn, &c, 1);
}

static int serve_hang_up(void *arg)
{
	const struct weir_serve_opts opts = { .on_listen = keep_listener };

	return weir_serve("tcp://127.0.0.1:0", &opts, hang_up, arg);
}

static int raw_client(const char *address)
{
	struct weir_addr addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(weir_addr_parse(address, &addr, NULL), 0);
	assert_int_equal(connect(fd, &addr.sock.any, addr.size), 0);
	return fd;
}

/*
 * liburing#1192: a direct descriptor and an armed operation each hold the file, so that the peer
 * never saw the close.
 */
static void the_peer_of_a_direct_descriptor_sees_the_close(void)
{
	struct weir_coro *coro;
	ssize_t n;
	char c;
	int fd;

	assert_true(weir__ring_self()->has_direct);
	assert_int_equal(weir_coro_spawn(NULL, serve_hang_up, NULL, &coro), 0);
	assert_int_equal(weir_yield(), 0);
	fd = raw_client(weir_listener_address(listening_now));
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	while ((n = recv(fd, &c, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN)
		assert_int_equal(weir_sleep(100 * WEIR_US), 0);
	assert_int_equal(n, 0);
	close(fd);
	weir_listener_stop(listening_now);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, NULL), 0);
}

#define IDLE_CONNS 1000

static unsigned idle_done;

static void idle_data(struct weir_conn *conn, const char *data, size_t size, int res)
{
	(void)conn;
	(void)data;
	(void)res;
	idle_done += (unsigned)size;
}

static int thousand_idle(void *arg)
{
	static const struct weir_conn_events events = { .on_data = idle_data };
	static struct weir_conn *conns[IDLE_CONNS];
	static int peers[IDLE_CONNS];
	struct weir_ring_info before, info;
	struct weir_net *net;

	(void)arg;
	assert_int_equal(weir__net_self(&net), 0);
	idle_done = 0;
	for (unsigned i = 0; i < IDLE_CONNS; i++) {
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		peers[i] = fds[1];
		assert_int_equal(weir__conn_create(net, fds[0], false, NULL, &conns[i]), 0);
		assert_int_equal(weir_conn_set_events(conns[i], &events), 0);
		assert_int_equal(send(peers[i], "x", 1, MSG_NOSIGNAL), 1);
		if (i % 32 == 31)
			assert_int_equal(weir_sleep(1), 0);
	}
	while (idle_done < IDLE_CONNS)
		assert_int_equal(weir_sleep(100 * WEIR_US), 0);
	assert_int_equal(weir_ring_info(&before), 0);
	assert_int_equal(before.bufs_lent, 0);
	assert_int_equal(before.bufs, 64);
	assert_int_equal(before.armed, IDLE_CONNS);
	assert_int_equal(weir_sleep(50 * WEIR_MS), 0);
	assert_int_equal(weir_ring_info(&info), 0);
	assert_int_equal(info.bufs_lent, 0);
	assert_int_equal(info.cq_overflow, 0);
	assert_true(info.enters - before.enters <= 4);
	for (unsigned i = 0; i < IDLE_CONNS; i++) {
		weir_conn_close(conns[i]);
		close(peers[i]);
	}
	return 0;
}

/* dragonfly#3523: each idle connection pinned 64 KiB of receive buffer. Nor do they cost calls. */
static void a_thousand_idle_connections_hold_no_buffer_and_make_no_calls(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();
	struct rlimit limit, more;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	more = limit;
	more.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &more);
	if (more.rlim_cur < 2 * IDLE_CONNS + 100) {
		print_message("skipped: RLIMIT_NOFILE is below %d\n", 2 * IDLE_CONNS + 100);
		skip();
	}
	fixture.ring.armed_max = IDLE_CONNS + 100;
	assert_int_equal(on_ring_with(&fixture, thousand_idle, NULL), 0);
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- who accepted --- */

#define MANY 64

static struct {
	unsigned cores;
	unsigned listening;
	uint64_t accepted[2];	/* by core, as its metric says */
	char address[WEIR_ADDR_TEXT];
} spread;

static void core_listens(struct weir_listener *listener, void *arg)
{
	(void)arg;
	if (!weir_core())
		strcpy(spread.address, weir_listener_address(listener));
	__atomic_add_fetch(&spread.listening, 1, __ATOMIC_SEQ_CST);
}

static void say_one(struct weir_conn *conn, void *arg)
{
	(void)arg;
	weir_conn_write_all(conn, "1", 1);
}

static int connect_many(void *arg)
{
	int r = 0;

	(void)arg;
	while (!r && __atomic_load_n(&spread.listening, __ATOMIC_SEQ_CST) < spread.cores)
		r = weir_sleep(WEIR_MS);
	for (unsigned i = 0; i < MANY && !r; i++) {
		struct weir_conn *conn;
		char c;

		r = weir_connect(spread.address, NULL, &conn);
		if (r < 0)
			break;
		if (weir_conn_read_exact(conn, &c, 1) != 1)
			r = -EPIPE;
		weir_conn_close(conn);
	}
	weir_drain();
	return r;
}

static int serve_and_count(void *arg)
{
	const struct weir_serve_opts opts = { .on_listen = core_listens, .at_accept = true };
	struct weir_coro *coro = NULL;
	int id, res = 0, r = 0;

	if (!weir_core())
		r = weir_coro_spawn(NULL, connect_many, arg, &coro);
	if (!r)
		r = weir_serve("tcp://127.0.0.1:0", &opts, say_one, NULL);
	if (coro)
		weir_coro_join(coro, WEIR_NEVER, &res);
	id = weir_metric_counter("weir_accepted", "Connections accepted.");
	spread.accepted[weir_core()] = weir__metric_get(&weir__self->metrics, (unsigned)id);
	return r ? r : res;
}

/* seastar#3526: everything was accepted on core 0; granian#849: and nobody could see it. */
static void each_core_shows_how_many_connections_it_accepted(void **state)
{
	const struct weir_opts opts = {
		.cores = weir_cpus() < 2 ? 1 : 2,
		.conns_max = 256,
		.no_signals = true,
		.no_pin = true,
	};

	(void)state;
	memset(&spread, 0, sizeof(spread));
	spread.cores = opts.cores;
	assert_int_equal(weir_run(&opts, serve_and_count, NULL), 0);
	assert_int_equal(spread.accepted[0] + spread.accepted[1], MANY);
	/* All 64 on one core of two by a fair hash: once in 2^63 runs. */
	assert_true(opts.cores == 1 || (spread.accepted[0] && spread.accepted[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_receive_that_ended_with_data_is_armed_again),
		cmocka_unit_test(a_receive_that_found_no_buffer_is_armed_again),
		cmocka_unit_test(data_that_comes_while_closing_gives_its_buffer_back_once),
		cmocka_unit_test(
			a_descriptor_is_closed_after_its_receive_and_its_cancel_have_retired),
		cmocka_unit_test(a_short_send_goes_on_where_it_ended),
		cmocka_unit_test(lent_output_comes_back_with_the_notification_and_not_before),
		cmocka_unit_test(an_accept_that_ended_is_armed_again),
		cmocka_unit_test(without_descriptors_accepting_rests_and_does_not_spin),
		ring_test(the_peer_of_a_direct_descriptor_sees_the_close),
		cmocka_unit_test(a_thousand_idle_connections_hold_no_buffer_and_make_no_calls),
		cmocka_unit_test(each_core_shows_how_many_connections_it_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
