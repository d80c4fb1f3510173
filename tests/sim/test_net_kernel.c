/* SPDX-License-Identifier: MIT */
/*
 * test_net_kernel.c - what single operations and calls on simulated sockets say. The expected
 * numbers were seen on Linux 6.18.
 */
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/un.h>

#include <cmocka.h>

#include "tests/sim/bare_host.h"

#define CHECK(x) weir_sim_check(x, #x)
/* With what was seen instead. */
#define EQUAL(a, b)                                                                                \
	do {                                                                                       \
		long long seen_ = (long long)(a);                                                  \
		weir_sim_checkf(seen_ == (long long)(b), #a, "line %d: %lld, not %s", __LINE__,    \
				seen_, #b);                                                        \
	} while (0)

#define SERVER "10.0.0.1"

static struct weir_sim_report report;
static unsigned ended;

static int (*bodies[3])(void);

static int bare_main(void *arg)
{
	bare_begin();
	bodies[(uintptr_t)arg]();
	bare_end();
	ended++;
	return 0;
}

static int build(struct weir_sim *sim, void *arg)
{
	(void)arg;
	weir_sim_host(sim, "server", NULL, bare_main, (void *)0);
	if (bodies[1])
		weir_sim_host(sim, "client", NULL, bare_main, (void *)1);
	if (bodies[2])
		weir_sim_host(sim, "third", NULL, bare_main, (void *)2);
	return 0;
}

/* Runs server, and client when it is not NULL, each on its host, without faults. */
static void play_for(int (*server)(void), int (*client)(void), int64_t ns)
{
	struct weir_sim_scenario scenario = { .name = "net", .build = build, .faults_ns = ns };
	struct weir_sim_opts opts = { .seed = 3, .faults_given = true };
	int r;

	bodies[0] = server;
	bodies[1] = client;
	bodies[2] = NULL;
	ended = 0;
	r = weir_sim_run(&scenario, &opts, &report);
	if (r)
		print_error("%s: %s\n", report.failed, report.message);
	assert_int_equal(r, 0);
	assert_int_equal(ended, client ? 2 : 1);
}

static void play(int (*server)(void), int (*client)(void))
{
	play_for(server, client, 10 * 3600 * WEIR_S);
}

static int64_t now(void)
{
	return weir_sim_now(weir_sim_world());
}

/* --- what is not connected --- */

static int unconnected(void)
{
	int fd = bare_socket(AF_INET, SOCK_STREAM);
	char byte;
	uint64_t accept;
	struct io_uring_sqe *sqe;

	EQUAL(bare_do(bare_send(fd, "x", 1, MSG_NOSIGNAL)).res, -EPIPE);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -ENOTCONN);
	EQUAL(bare_shutdown(fd, SHUT_RDWR), -ENOTCONN);
	EQUAL(bare_shutdown(fd, 7), -EINVAL);
	EQUAL(bare_poll(fd, POLLIN | POLLOUT), POLLOUT | POLLHUP);
	EQUAL(bare_accept(fd), -EINVAL);
	EQUAL(bare_kernel()->ops->listen(bare_kernel(), fd, 1), 0);
	sqe = bare_sqe();
	io_uring_prep_accept(sqe, fd, NULL, NULL, 0);
	accept = bare_go(sqe);
	EQUAL(bare_wait_for(accept, WEIR_MS).res, BARE_NOTHING);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -ENOTCONN);
	EQUAL(bare_shutdown(fd, SHUT_RDWR), 0);
	EQUAL(bare_wait(accept).res, -EINVAL);
	EQUAL(bare_do(bare_send(fd, "x", 1, MSG_NOSIGNAL)).res, -EPIPE);
	bare_close(fd);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -EBADF);
	EQUAL(bare_socket(AF_INET, SOCK_RAW), -ESOCKTNOSUPPORT);
	EQUAL(bare_socket(AF_NETLINK, SOCK_DGRAM), -EAFNOSUPPORT);
	return 0;
}

static void a_socket_without_a_peer_says_what_linux_says(void **state)
{
	(void)state;
	play(unconnected, NULL);
}

/* --- connecting --- */

static int refused(void)
{
	int fd = bare_socket(AF_INET, SOCK_STREAM);
	int64_t from;
	char byte;

	EQUAL(bare_connect(fd, "127.0.0.1", 1), -ECONNREFUSED);
	EQUAL(bare_connect(fd, "127.0.0.1", 1), -ECONNREFUSED);
	EQUAL(bare_get(fd, SOL_SOCKET, SO_ERROR), 0);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, 0);
	from = now();
	EQUAL(bare_connect(fd, "10.0.0.77", 80), -EHOSTUNREACH);
	CHECK(now() - from >= 3 * WEIR_S);
	EQUAL(bare_connect(fd, "8.8.8.8", 80), -ENETUNREACH);
	bare_close(fd);
	return 0;
}

static void nobody_there_is_refused_and_nowhere_is_unreachable(void **state)
{
	(void)state;
	play(refused, NULL);
}

static int accepts_two(void)
{
	int fd = bare_listen(80);
	int a = bare_accept(fd);
	int b = bare_accept(fd);
	char buf[8];

	EQUAL(bare_do(bare_recv(a, buf, 8, 0)).res, 3);
	CHECK(!memcmp(buf, "one", 3));
	EQUAL(bare_do(bare_recv(b, buf, 8, 0)).res, 3);
	CHECK(!memcmp(buf, "two", 3));
	bare_sleep(WEIR_S);
	return 0;
}

static int connects_two(void)
{
	struct sockaddr_in own, peer, at_server = bare_v4(SERVER, 80);
	socklen_t size = sizeof(own);
	int64_t from;
	int a, b;

	bare_sleep(WEIR_MS);
	from = now();
	a = bare_connected(SERVER, 80);
	/* SYN and SYN ACK. */
	CHECK(now() - from >= 100 * WEIR_US && now() - from < 300 * WEIR_US);
	EQUAL(bare_connect(a, SERVER, 80), -EISCONN);
	EQUAL(bare_bind(a, "0.0.0.0", 0), -EINVAL);
	EQUAL(bare_kernel()->ops->listen(bare_kernel(), a, 1), -EINVAL);
	EQUAL(bare_accept(a), -EINVAL);
	EQUAL(bare_kernel()->ops->getsockname(bare_kernel(), a, (void *)&own, &size), 0);
	EQUAL(ntohl(own.sin_addr.s_addr), 0x0a000002);
	CHECK(ntohs(own.sin_port) >= 32768);
	EQUAL(bare_kernel()->ops->getpeername(bare_kernel(), a, (void *)&peer, &size), 0);
	CHECK(!memcmp(&peer, &at_server, sizeof(peer)));
	EQUAL(bare_do(bare_send(a, "one", 3, 0)).res, 3);
	b = bare_connected(SERVER, 80);
	EQUAL(bare_do(bare_send(b, "two", 3, 0)).res, 3);
	bare_sleep(WEIR_S);
	return 0;
}

static void connections_are_told_apart_and_know_their_names(void **state)
{
	(void)state;
	play(accepts_two, connects_two);
}

static int in_progress(void)
{
	struct sockaddr_in addr = bare_v4("10.0.0.77", 80);
	struct weir_kernel *kernel = bare_kernel();
	int fd = kernel->ops->socket(kernel, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	EQUAL(kernel->ops->connect(kernel, fd, (void *)&addr, sizeof(addr)), -EINPROGRESS);
	EQUAL(kernel->ops->connect(kernel, fd, (void *)&addr, sizeof(addr)), -EALREADY);
	EQUAL(bare_poll(fd, POLLOUT), BARE_NOTHING);
	bare_sleep(4 * WEIR_S);
	EQUAL(bare_get(fd, SOL_SOCKET, SO_ERROR), EHOSTUNREACH);
	EQUAL(bare_get(fd, SOL_SOCKET, SO_ERROR), 0);
	bare_close(fd);
	/* One that blocks does. */
	fd = bare_socket(AF_INET, SOCK_STREAM);
	EQUAL(kernel->ops->connect(kernel, fd, (void *)&addr, sizeof(addr)), -EHOSTUNREACH);
	bare_close(fd);
	return 0;
}

static void a_connect_of_the_seam_blocks_or_is_in_progress(void **state)
{
	(void)state;
	play(in_progress, NULL);
}

static int accepts_late(void)
{
	int fd = bare_listen_with(80, 1);

	bare_sleep(60 * WEIR_S);
	/* backlog + 1 have completed; the others keep knocking. */
	for (int i = 0; i < 4; i++)
		CHECK(bare_accept(fd) >= 0);
	bare_sleep(WEIR_S);
	return 0;
}

static int knocks(void)
{
	struct sockaddr_in addr = bare_v4(SERVER, 80);
	uint64_t ids[4];
	int64_t from;

	bare_sleep(WEIR_MS);
	from = now();
	for (int i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = bare_sqe();

		io_uring_prep_connect(sqe, bare_socket(AF_INET, SOCK_STREAM), (void *)&addr,
				      sizeof(addr));
		ids[i] = bare_go(sqe);
	}
	EQUAL(bare_wait(ids[0]).res, 0);
	EQUAL(bare_wait(ids[1]).res, 0);
	CHECK(now() - from < WEIR_MS);
	EQUAL(bare_wait_for(ids[2], WEIR_S).res, BARE_NOTHING);
	EQUAL(bare_wait(ids[2]).res, 0);
	EQUAL(bare_wait(ids[3]).res, 0);
	CHECK(now() - from > 59 * WEIR_S);
	return 0;
}

static void a_full_backlog_drops_syns_which_come_again(void **state)
{
	(void)state;
	play(accepts_late, knocks);
}

static int many_fds;

static int accepts_all(void)
{
	struct io_uring_sqe *sqe;
	struct bare_cqe cqe;
	int fd = bare_listen(80);
	int more = 0;

	bare_sleep(10 * WEIR_MS);
	/* Until the descriptors run out: three are taken, by nobody, the ring and the listener. */
	sqe = bare_sqe();
	io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, 0);
	cqe.data = bare_go(sqe);
	many_fds = 0;
	while ((cqe = bare_wait(cqe.data)).flags & IORING_CQE_F_MORE) {
		CHECK(cqe.res >= 0);
		more += !!(cqe.flags & IORING_CQE_F_SOCK_NONEMPTY);
		many_fds++;
	}
	EQUAL(cqe.res, -EMFILE);
	EQUAL(more, many_fds);
	return 0;
}

static int connects_many(void)
{
	bare_sleep(WEIR_MS);
	for (int i = 0; i < 20; i++)
		bare_connected(SERVER, 80);
	bare_sleep(WEIR_S);
	return 0;
}

static int build_few(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts few = { .fds_max = 16 };

	(void)arg;
	weir_sim_host(sim, "server", &few, bare_main, (void *)0);
	weir_sim_host(sim, "client", NULL, bare_main, (void *)1);
	return 0;
}

static void a_multishot_accept_ends_when_descriptors_run_out(void **state)
{
	struct weir_sim_scenario scenario = { .name = "few", .build = build_few };

	(void)state;
	bodies[0] = accepts_all;
	bodies[1] = connects_many;
	assert_int_equal(weir_sim_run(&scenario,
				      &(struct weir_sim_opts){ .faults_given = true }, &report),
			 0);
	assert_int_equal(many_fds, 16 - 3 - 2);
}

/* --- ends --- */

static int closes_unread(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);

	EQUAL(bare_do(bare_send(conn, "12345", 5, 0)).res, 5);
	bare_sleep(10 * WEIR_MS);
	bare_close(conn);
	bare_sleep(WEIR_S);
	return 0;
}

static int is_reset(void)
{
	int fd = bare_connected(SERVER, 80);
	char buf[8];

	EQUAL(bare_do(bare_send(fd, "abc", 3, 0)).res, 3);
	bare_sleep(20 * WEIR_MS);
	EQUAL(bare_poll(fd, POLLIN | POLLOUT | POLLRDHUP),
	      POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
	EQUAL(bare_do(bare_recv(fd, buf, 2, 0)).res, 2);
	EQUAL(bare_do(bare_recv(fd, buf, 2, 0)).res, 2);
	EQUAL(bare_do(bare_recv(fd, buf, 2, 0)).res, 1);
	EQUAL(bare_do(bare_recv(fd, buf, 2, 0)).res, -ECONNRESET);
	EQUAL(bare_do(bare_recv(fd, buf, 2, 0)).res, 0);
	EQUAL(bare_do(bare_send(fd, buf, 2, MSG_NOSIGNAL)).res, -EPIPE);
	EQUAL(bare_shutdown(fd, SHUT_WR), -ENOTCONN);
	EQUAL(bare_connect(fd, SERVER, 80), -EISCONN);
	bare_close(fd);
	return 0;
}

static void closing_with_data_unread_resets_after_what_was_sent(void **state)
{
	(void)state;
	play(closes_unread, is_reset);
}

static int closes(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);

	bare_close(conn);
	bare_sleep(WEIR_S);
	return 0;
}

static int writes_to_the_closed(void)
{
	int fd = bare_connected(SERVER, 80);
	struct bare_cqe cqe;
	char buf[8];

	bare_sleep(10 * WEIR_MS);
	EQUAL(bare_poll(fd, POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
	EQUAL(bare_do(bare_send(fd, buf, 2, MSG_NOSIGNAL)).res, 2);
	bare_sleep(10 * WEIR_MS);
	EQUAL(bare_do(bare_send(fd, buf, 2, MSG_NOSIGNAL)).res, -EPIPE);
	cqe = bare_do(bare_recv(fd, buf, 2, 0));
	EQUAL(cqe.res, 0);
	EQUAL(cqe.flags, IORING_CQE_F_SOCK_NONEMPTY);
	bare_close(fd);
	return 0;
}

static void the_second_write_to_a_closed_peer_is_a_broken_pipe(void **state)
{
	(void)state;
	play(closes, writes_to_the_closed);
}

static int half_closes(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	char buf[8];
	uint64_t recv;

	EQUAL(bare_shutdown(conn, SHUT_WR), 0);
	EQUAL(bare_shutdown(conn, SHUT_WR), 0);
	EQUAL(bare_do(bare_send(conn, "x", 1, MSG_NOSIGNAL)).res, -EPIPE);
	EQUAL(bare_poll(conn, POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
	EQUAL(bare_do(bare_recv(conn, buf, 8, 0)).res, 4);
	recv = bare_go(bare_recv(conn, buf, 8, 0));
	EQUAL(bare_wait_for(recv, WEIR_MS).res, BARE_NOTHING);
	EQUAL(bare_shutdown(conn, SHUT_RD), 0);
	EQUAL(bare_wait(recv).res, 0);
	bare_sleep(2 * WEIR_S);
	/* Linux takes what comes after it all the same. */
	EQUAL(bare_do(bare_recv(conn, buf, 8, 0)).res, 5);
	EQUAL(bare_do(bare_recv(conn, buf, 8, 0)).res, 0);
	bare_close(conn);
	return 0;
}

static int answers_after_the_end(void)
{
	int fd = bare_connected(SERVER, 80);
	char buf[8];

	EQUAL(bare_do(bare_recv(fd, buf, 8, 0)).res, 0);
	EQUAL(bare_do(bare_send(fd, "late", 4, 0)).res, 4);
	bare_sleep(WEIR_S);
	EQUAL(bare_do(bare_send(fd, "later", 5, 0)).res, 5);
	bare_sleep(4 * WEIR_S);
	bare_close(fd);
	return 0;
}

static void each_direction_ends_on_its_own(void **state)
{
	(void)state;
	play(half_closes, answers_after_the_end);
}

static int lingers_zero(void)
{
	struct linger zero = { .l_onoff = 1 };
	int fd = bare_listen(80);
	int conn = bare_accept(fd);

	EQUAL(bare_kernel()->ops->setsockopt(bare_kernel(), conn, SOL_SOCKET, SO_LINGER, &zero,
					     sizeof(zero)),
	      0);
	bare_close(conn);
	/* And who was never accepted. */
	bare_sleep(WEIR_S);
	bare_close(fd);
	bare_sleep(WEIR_S);
	return 0;
}

static int gets_rst(void)
{
	int fd = bare_connected(SERVER, 80);
	int other = bare_connected(SERVER, 80);
	char byte;

	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -ECONNRESET);
	EQUAL(bare_do(bare_recv(other, &byte, 1, 0)).res, -ECONNRESET);
	CHECK(now() > WEIR_S);
	return 0;
}

static void linger_zero_and_a_listener_that_goes_reset(void **state)
{
	(void)state;
	play(lingers_zero, gets_rst);
}

static int closes_armed(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	char buf[8];
	uint64_t recv = bare_go(bare_recv(conn, buf, 8, 0));

	EQUAL(bare_close(conn), 0);
	/* The operation holds the socket: it takes what comes after the close. */
	EQUAL(bare_wait(recv).res, 4);
	CHECK(!memcmp(buf, "data", 4));
	bare_sleep(WEIR_S);
	return 0;
}

static int sends_to_the_closing(void)
{
	int fd = bare_connected(SERVER, 80);
	char byte;

	bare_sleep(WEIR_S);
	EQUAL(bare_do(bare_send(fd, "data", 4, 0)).res, 4);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, 0);
	bare_close(fd);
	return 0;
}

static void a_closed_descriptor_receives_as_long_as_an_op_is_armed(void **state)
{
	(void)state;
	play(closes_armed, sends_to_the_closing);
}

/* --- windows --- */

#define BULK (1 << 20)

static char bulk[BULK], got[BULK];

static int reads_late(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	size_t done = 0;

	bare_sleep(5 * WEIR_S);
	while (done < BULK) {
		int n = bare_do(bare_recv(conn, got + done, 50000, 0)).res;

		CHECK(n > 0);
		if (n <= 0)
			return n;
		done += (size_t)n;
	}
	CHECK(!memcmp(bulk, got, BULK));
	EQUAL(bare_do(bare_recv(conn, got, 1, 0)).res, 0);
	return 0;
}

static int sends_bulk(void)
{
	int fd = bare_connected(SERVER, 80);
	size_t taken = 0;
	uint64_t all;

	for (size_t i = 0; i < BULK; i++)
		bulk[i] = (char)(i * 7 + i / 251);
	/* Without MSG_WAITALL a part is taken: the buffer here, and there. */
	for (;;) {
		uint64_t id = bare_go(bare_send(fd, bulk + taken, BULK - taken, 0));
		int n = bare_wait_for(id, WEIR_S).res;

		if (n == BARE_NOTHING) {
			EQUAL(bare_poll(fd, POLLOUT), BARE_NOTHING);
			/* It goes on when there is room. */
			n = bare_wait(id).res;
			CHECK(n > 0 && now() > 4 * WEIR_S);
			taken += (size_t)n;
			break;
		}
		taken += (size_t)n;
	}
	CHECK(taken > 128 << 10 && taken < 800 << 10);
	all = bare_go(bare_send(fd, bulk + taken, BULK - taken, MSG_WAITALL));
	EQUAL(bare_wait(all).res, BULK - taken);
	bare_close(fd);
	return 0;
}

static void a_slow_reader_stops_the_writer_and_nothing_is_lost(void **state)
{
	(void)state;
	play(reads_late, sends_bulk);
}

static int waits_for_all(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	char buf[16];

	EQUAL(bare_do(bare_recv(conn, buf, 10, MSG_DONTWAIT)).res, -EAGAIN);
	EQUAL(bare_do(bare_recv(conn, buf, 10, MSG_WAITALL)).res, 10);
	CHECK(!memcmp(buf, "aaaaabbbbb", 10));
	EQUAL(bare_do(bare_recv(conn, buf, 4, MSG_PEEK)).res, 4);
	EQUAL(bare_do(bare_recv(conn, buf, 4, MSG_TRUNC)).res, 4);
	EQUAL(bare_do(bare_recv(conn, buf, 10, MSG_WAITALL)).res, 1);
	CHECK(buf[0] == 'e');
	EQUAL(bare_do(bare_recv(conn, buf, 0, 0)).res, 0);
	return 0;
}

static int sends_in_parts(void)
{
	int fd = bare_connected(SERVER, 80);

	bare_sleep(WEIR_S);
	EQUAL(bare_do(bare_send(fd, "aaaaa", 5, 0)).res, 5);
	bare_sleep(WEIR_S);
	EQUAL(bare_do(bare_send(fd, "bbbbbcccc", 9, 0)).res, 9);
	EQUAL(bare_do(bare_send(fd, "e", 1, 0)).res, 1);
	bare_sleep(WEIR_S);
	bare_close(fd);
	return 0;
}

static void a_receive_waits_for_all_when_told_so(void **state)
{
	(void)state;
	play(waits_for_all, sends_in_parts);
}

/* --- multishots --- */

static int receives_many(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	struct bare_group group = bare_provide(4, 64, 0);
	uint64_t id = bare_go(bare_recv_many(conn));
	struct bare_cqe cqe = bare_wait(id);

	EQUAL(cqe.res, 5);
	EQUAL(cqe.flags, IORING_CQE_F_BUFFER | IORING_CQE_F_MORE);
	CHECK(!memcmp(group.memory, "hello", 5));
	/* 200 bytes: three buffers are left. */
	for (unsigned i = 1; i < 4; i++) {
		cqe = bare_wait(id);
		EQUAL(cqe.res, 64);
		EQUAL(cqe.flags >> IORING_CQE_BUFFER_SHIFT, i);
		CHECK(cqe.flags & IORING_CQE_F_SOCK_NONEMPTY);
	}
	cqe = bare_wait(id);
	EQUAL(cqe.res, -ENOBUFS);
	EQUAL(cqe.flags & IORING_CQE_F_MORE, 0);
	/* At once, though there is data. */
	EQUAL(bare_do(bare_recv_many(conn)).res, -ENOBUFS);
	bare_give(&group, 2);
	id = bare_go(bare_recv_many(conn));
	cqe = bare_wait(id);
	EQUAL(cqe.res, 8);
	EQUAL(cqe.flags >> IORING_CQE_BUFFER_SHIFT, 2);
	EQUAL(bare_wait(id).res, -ENOBUFS);
	bare_give(&group, 3);
	cqe = bare_do(bare_recv_many(conn));
	EQUAL(cqe.res, 0);
	EQUAL(cqe.flags, IORING_CQE_F_SOCK_NONEMPTY);
	/* The end took no buffer. */
	cqe = bare_do(bare_recv_many(conn));
	EQUAL(cqe.res, 0);
	bare_take_back(&group);
	return 0;
}

static int sends_for_many(void)
{
	int fd = bare_connected(SERVER, 80);

	bare_sleep(WEIR_S);
	EQUAL(bare_do(bare_send(fd, "hello", 5, 0)).res, 5);
	bare_sleep(WEIR_S);
	EQUAL(bare_do(bare_send(fd, bulk, 200, 0)).res, 200);
	bare_close(fd);
	return 0;
}

static void a_multishot_receive_ends_without_buffers_and_at_the_end(void **state)
{
	(void)state;
	play(receives_many, sends_for_many);
}

static int receives_wrongly(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	struct io_uring_sqe *sqe = bare_sqe();
	char buf[16];

	io_uring_prep_recv_multishot(sqe, conn, buf, 10, 0);
	EQUAL(bare_do(sqe).res, -EINVAL);
	sqe = bare_recv_many(conn);
	sqe->msg_flags = MSG_WAITALL;
	EQUAL(bare_do(sqe).res, -EINVAL);
	sqe = bare_sqe();
	io_uring_prep_write(sqe, conn, buf, 10, 5);
	EQUAL(bare_do(sqe).res, -ESPIPE);
	sqe = bare_sqe();
	io_uring_prep_write(sqe, conn, buf, 10, 0);
	EQUAL(bare_do(sqe).res, 10);
	sqe = bare_sqe();
	io_uring_prep_fsync(sqe, conn, 0);
	EQUAL(bare_do(sqe).res, -EINVAL);
	sqe = bare_sqe();
	io_uring_prep_read(sqe, conn, buf, 16, 0);
	EQUAL(bare_do(sqe).res, 3);
	return 0;
}

static int sends_three(void)
{
	int fd = bare_connected(SERVER, 80);

	EQUAL(bare_do(bare_send(fd, "abc", 3, 0)).res, 3);
	bare_sleep(WEIR_S);
	return 0;
}

static void reads_and_writes_work_and_nonsense_is_refused(void **state)
{
	(void)state;
	play(receives_wrongly, sends_three);
}

static int overflows(void)
{
	int fd, conn, count = 0;
	struct bare_group group;
	struct bare_cqe cqe;
	uint64_t id;

	bare_end();
	bare_begin_with(2, 4);
	fd = bare_listen(80);
	conn = bare_accept(fd);
	group = bare_provide(32, 64, 0);
	bare_sleep(WEIR_S);
	id = bare_go(bare_recv_many(conn));
	/* Ten buffers of data, a CQ of four: the fifth overflowed, and was the last. */
	do {
		cqe = bare_wait(id);
		EQUAL(cqe.res, 64);
		count++;
	} while (cqe.flags & IORING_CQE_F_MORE);
	EQUAL(count, 5);
	EQUAL(bare_wait_for(id, WEIR_MS).res, BARE_NOTHING);
	EQUAL(bare_do(bare_recv(conn, got, 64, 0)).res, 64);
	bare_take_back(&group);
	return 0;
}

static int sends_ten(void)
{
	int fd = bare_connected(SERVER, 80);

	EQUAL(bare_do(bare_send(fd, bulk, 640, 0)).res, 640);
	bare_sleep(2 * WEIR_S);
	return 0;
}

static void a_multishot_that_overflows_ends_with_data_left(void **state)
{
	(void)state;
	play(overflows, sends_ten);
}

/* --- zero copy --- */

static int sends_without_copy(void)
{
	int fd = bare_connected(SERVER, 80);
	struct io_uring_sqe *sqe = bare_sqe();
	int64_t from = now();
	struct bare_cqe cqe;

	io_uring_prep_send_zc(sqe, fd, bulk, 100, 0, IORING_SEND_ZC_REPORT_USAGE);
	cqe = bare_do(sqe);
	EQUAL(cqe.res, 100);
	EQUAL(cqe.flags, IORING_CQE_F_MORE);
	cqe = bare_wait(cqe.data);
	EQUAL(cqe.res, 0);
	EQUAL(cqe.flags, IORING_CQE_F_NOTIF);
	CHECK(now() - from >= 100 * WEIR_US);
	bare_shutdown(fd, SHUT_WR);
	sqe = bare_sqe();
	io_uring_prep_send_zc(sqe, fd, bulk, 100, MSG_NOSIGNAL, 0);
	cqe = bare_do(sqe);
	EQUAL(cqe.res, -EPIPE);
	EQUAL(cqe.flags, IORING_CQE_F_MORE);
	EQUAL(bare_wait(cqe.data).flags, IORING_CQE_F_NOTIF);
	fd = bare_socket(AF_UNIX, SOCK_STREAM);
	sqe = bare_sqe();
	io_uring_prep_send_zc(sqe, fd, bulk, 100, 0, 0);
	cqe = bare_do(sqe);
	EQUAL(cqe.res, -EOPNOTSUPP);
	EQUAL(cqe.flags, IORING_CQE_F_MORE);
	EQUAL(bare_wait(cqe.data).flags, IORING_CQE_F_NOTIF);
	return 0;
}

static void a_zero_copy_send_notifies_later_and_after_errors_too(void **state)
{
	(void)state;
	play(closes_unread, sends_without_copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_socket_without_a_peer_says_what_linux_says),
		cmocka_unit_test(nobody_there_is_refused_and_nowhere_is_unreachable),
		cmocka_unit_test(connections_are_told_apart_and_know_their_names),
		cmocka_unit_test(a_connect_of_the_seam_blocks_or_is_in_progress),
		cmocka_unit_test(a_full_backlog_drops_syns_which_come_again),
		cmocka_unit_test(a_multishot_accept_ends_when_descriptors_run_out),
		cmocka_unit_test(closing_with_data_unread_resets_after_what_was_sent),
		cmocka_unit_test(the_second_write_to_a_closed_peer_is_a_broken_pipe),
		cmocka_unit_test(each_direction_ends_on_its_own),
		cmocka_unit_test(linger_zero_and_a_listener_that_goes_reset),
		cmocka_unit_test(a_closed_descriptor_receives_as_long_as_an_op_is_armed),
		cmocka_unit_test(a_slow_reader_stops_the_writer_and_nothing_is_lost),
		cmocka_unit_test(a_receive_waits_for_all_when_told_so),
		cmocka_unit_test(a_multishot_receive_ends_without_buffers_and_at_the_end),
		cmocka_unit_test(reads_and_writes_work_and_nonsense_is_refused),
		cmocka_unit_test(a_multishot_that_overflows_ends_with_data_left),
		cmocka_unit_test(a_zero_copy_send_notifies_later_and_after_errors_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
