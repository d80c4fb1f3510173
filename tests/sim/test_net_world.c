/* SPDX-License-Identifier: MIT */
/*
 * test_net_world.c - the simulated network when it is not a plain TCP connection between two
 * machines that live: datagrams, AF_UNIX, addresses, partitions, machines that go.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <cmocka.h>

#include "tests/sim/bare_host.h"

#define CHECK(x) weir_sim_check(x, #x)
#define EQUAL(a, b)                                                                                \
	do {                                                                                       \
		long long seen_ = (long long)(a);                                                  \
		weir_sim_checkf(seen_ == (long long)(b), #a, "line %d: %lld, not %s", __LINE__,    \
				seen_, #b);                                                        \
	} while (0)

#define SERVER "10.0.0.1"

static struct weir_sim_report report;
static struct weir_sim_host *hosts[3];
static int (*bodies[3])(void);
static unsigned ended;
static char sheet[300 << 10];

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
	static const char *const names[] = { "server", "client", "third" };

	(void)arg;
	for (uintptr_t i = 0; i < 3; i++)
		if (bodies[i])
			hosts[i] = weir_sim_host(sim, names[i], NULL, bare_main, (void *)i);
	return 0;
}

static void play_with(const struct weir_sim_opts *opts, int (*server)(void), int (*client)(void))
{
	struct weir_sim_scenario scenario = {
		.name = "net", .build = build, .faults_ns = 10 * 3600 * WEIR_S
	};

	bodies[0] = server;
	bodies[1] = client;
	ended = 0;
	if (weir_sim_run(&scenario, opts, &report))
		print_error("%s: %s\n", report.failed, report.message);
	assert_int_equal(report.result, 0);
}

static void play(int (*server)(void), int (*client)(void))
{
	play_with(&(struct weir_sim_opts){ .seed = 5, .faults_given = true }, server, client);
	assert_int_equal(ended, client ? 2 : 1);
}

static int64_t now(void)
{
	return weir_sim_now(weir_sim_world());
}

/* --- ports --- */

static int tcp_with(int name)
{
	int fd = bare_socket(AF_INET, SOCK_STREAM);

	if (name)
		EQUAL(bare_set(fd, SOL_SOCKET, name, 1), 0);
	return fd;
}

static int listen_on(int fd)
{
	return bare_kernel()->ops->listen(bare_kernel(), fd, 8);
}

static int ports(void)
{
	int a = tcp_with(0);
	int b = tcp_with(0);
	int c, d;

	EQUAL(bare_bind(a, "0.0.0.0", 80), 0);
	EQUAL(bare_bind(a, "0.0.0.0", 81), -EINVAL);
	EQUAL(bare_bind(b, "127.0.0.1", 80), -EADDRINUSE);
	EQUAL(bare_bind(b, "10.0.0.2", 80), -EADDRNOTAVAIL);
	EQUAL(bare_bind(b, "0.0.0.0", 0), 0);
	bare_close(a);
	a = tcp_with(0);
	c = tcp_with(0);
	EQUAL(bare_bind(a, "127.0.0.1", 80), 0);
	EQUAL(bare_bind(c, "10.0.0.1", 80), 0);
	bare_close(a);
	bare_close(c);
	/* SO_REUSEADDR: until one of them listens. */
	a = tcp_with(SO_REUSEADDR);
	c = tcp_with(SO_REUSEADDR);
	d = tcp_with(SO_REUSEADDR);
	EQUAL(bare_bind(a, "0.0.0.0", 80), 0);
	EQUAL(bare_bind(c, "0.0.0.0", 80), 0);
	EQUAL(listen_on(a), 0);
	EQUAL(listen_on(c), -EADDRINUSE);
	EQUAL(bare_bind(d, "0.0.0.0", 80), -EADDRINUSE);
	bare_close(a);
	bare_close(c);
	/* SO_REUSEPORT: all or none. */
	a = tcp_with(SO_REUSEPORT);
	c = tcp_with(SO_REUSEPORT);
	EQUAL(bare_bind(a, "0.0.0.0", 80), 0);
	EQUAL(bare_bind(c, "0.0.0.0", 80), 0);
	EQUAL(listen_on(a), 0);
	EQUAL(listen_on(c), 0);
	EQUAL(bare_bind(d, "0.0.0.0", 80), -EADDRINUSE);
	return 0;
}

static void ports_are_shared_as_linux_shares_them(void **state)
{
	(void)state;
	play(ports, NULL);
}

static int bind_v6(int fd, const char *ip, uint16_t port)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	inet_pton(AF_INET6, ip, &addr.sin6_addr);
	return bare_kernel()->ops->bind(bare_kernel(), fd, (void *)&addr, sizeof(addr));
}

static int both_families(void)
{
	int v6 = bare_socket(AF_INET6, SOCK_STREAM);
	int v4 = bare_socket(AF_INET, SOCK_STREAM);
	struct sockaddr_in6 peer;
	socklen_t size = sizeof(peer);
	char text[INET6_ADDRSTRLEN];
	int client, conn;

	EQUAL(bind_v6(v6, "::", 80), 0);
	EQUAL(bare_bind(v4, "0.0.0.0", 80), -EADDRINUSE);
	EQUAL(listen_on(v6), 0);
	client = bare_connected("127.0.0.1", 80);
	conn = bare_accept(v6);
	EQUAL(bare_kernel()->ops->getpeername(bare_kernel(), conn, (void *)&peer, &size), 0);
	inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof(text));
	CHECK(!strcmp(text, "::ffff:127.0.0.1"));
	bare_close(client);
	bare_close(v6);
	v6 = bare_socket(AF_INET6, SOCK_STREAM);
	EQUAL(bare_set(v6, IPPROTO_IPV6, IPV6_V6ONLY, 1), 0);
	EQUAL(bind_v6(v6, "::", 80), 0);
	EQUAL(bare_bind(v4, "0.0.0.0", 80), 0);
	EQUAL(listen_on(v6), 0);
	/* No longer for v4. */
	EQUAL(bare_connect(bare_socket(AF_INET, SOCK_STREAM), "127.0.0.1", 80), -ECONNREFUSED);
	EQUAL(bare_bind(bare_socket(AF_INET6, SOCK_STREAM), "127.0.0.1", 0), -EINVAL);
	return 0;
}

static void a_v6_socket_takes_v4_unless_told_not_to(void **state)
{
	(void)state;
	play(both_families, NULL);
}

static int group_counts[4];

static int serves_in_groups(void)
{
	uint64_t ids[4];
	int fds[4];

	for (int i = 0; i < 4; i++) {
		fds[i] = tcp_with(SO_REUSEPORT);
		bare_bind(fds[i], "0.0.0.0", 80);
		listen_on(fds[i]);
	}
	for (int i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = bare_sqe();

		io_uring_prep_multishot_accept(sqe, fds[i], NULL, NULL, 0);
		ids[i] = bare_go(sqe);
		group_counts[i] = 0;
	}
	bare_wait_for(0, WEIR_S);
	for (int i = 0; i < 4; i++)
		while (bare_wait_for(ids[i], 0).res >= 0)
			group_counts[i]++;
	return 0;
}

static int connects_to_groups(void)
{
	bare_sleep(WEIR_MS);
	for (int i = 0; i < 40; i++)
		bare_connected(SERVER, 80);
	bare_sleep(WEIR_S);
	return 0;
}

static void a_reuseport_group_shares_connections_evenly_enough(void **state)
{
	int total = 0;

	(void)state;
	play(serves_in_groups, connects_to_groups);
	for (int i = 0; i < 4; i++) {
		assert_in_range(group_counts[i], 2, 25);
		total += group_counts[i];
	}
	assert_int_equal(total, 40);
}

/* --- UDP --- */

static int udp_server(void)
{
	int fd = bare_socket(AF_INET, SOCK_DGRAM);
	struct sockaddr_in name = { 0 };
	char buf[8];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_name = &name, .msg_namelen = sizeof(name), .msg_iov = &iov,
			      .msg_iovlen = 1 };
	struct io_uring_sqe *sqe = bare_sqe();

	EQUAL(bare_bind(fd, "0.0.0.0", 53), 0);
	EQUAL(bare_bind(bare_socket(AF_INET, SOCK_STREAM), "0.0.0.0", 53), 0);
	io_uring_prep_recvmsg(sqe, fd, &msg, 0);
	EQUAL(bare_do(sqe).res, 4);
	EQUAL(ntohl(name.sin_addr.s_addr), 0x0a000002);
	EQUAL(msg.msg_flags, 0);
	msg.msg_namelen = sizeof(name);
	sqe = bare_sqe();
	io_uring_prep_recvmsg(sqe, fd, &msg, 0);
	EQUAL(bare_do(sqe).res, 8);
	EQUAL(msg.msg_flags, MSG_TRUNC);
	EQUAL(bare_do(bare_recv(fd, buf, 2, MSG_TRUNC)).res, 10);
	EQUAL(bare_do(bare_recv(fd, buf, 8, 0)).res, 0);
	sqe = bare_send(fd, "pong", 4, 0);
	io_uring_prep_send_set_addr(sqe, (void *)&name, sizeof(name));
	EQUAL(bare_do(sqe).res, 4);
	bare_sleep(WEIR_S);
	return 0;
}

static int udp_client(void)
{
	int fd = bare_socket(AF_INET, SOCK_DGRAM);
	char buf[16];

	EQUAL(bare_do(bare_send(fd, "ping", 4, 0)).res, -EDESTADDRREQ);
	EQUAL(bare_connect(fd, SERVER, 53), 0);
	bare_sleep(WEIR_MS);
	EQUAL(bare_do(bare_send(fd, "ping", 4, 0)).res, 4);
	EQUAL(bare_do(bare_send(fd, "0123456789", 10, 0)).res, 10);
	bare_sleep(WEIR_MS);
	EQUAL(bare_do(bare_send(fd, "0123456789", 10, 0)).res, 10);
	bare_sleep(WEIR_MS);
	EQUAL(bare_do(bare_send(fd, "", 0, 0)).res, 0);
	EQUAL(bare_do(bare_recv(fd, buf, 16, 0)).res, 4);
	CHECK(!memcmp(buf, "pong", 4));
	/* Nobody at that port: known at the next call. */
	EQUAL(bare_connect(fd, SERVER, 54), 0);
	EQUAL(bare_do(bare_send(fd, "ping", 4, 0)).res, 4);
	EQUAL(bare_do(bare_recv(fd, buf, 16, 0)).res, -ECONNREFUSED);
	EQUAL(bare_do(bare_send(fd, sheet, 65508, 0)).res, -EMSGSIZE);
	return 0;
}

static void datagrams_keep_their_bounds_and_tell_their_senders(void **state)
{
	(void)state;
	play(udp_server, udp_client);
}

static int frames(void)
{
	int fd = bare_socket(AF_INET, SOCK_DGRAM);
	struct bare_group group = bare_provide(8, 256, 0);
	struct msghdr msg = { .msg_namelen = sizeof(struct sockaddr_in) };
	struct io_uring_sqe *sqe = bare_sqe();
	uint64_t id;

	EQUAL(bare_bind(fd, "0.0.0.0", 53), 0);
	io_uring_prep_recvmsg_multishot(sqe, fd, &msg, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	id = bare_go(sqe);
	for (int i = 0; i < 3; i++) {
		struct bare_cqe cqe = bare_wait(id);
		struct io_uring_recvmsg_out *out;
		struct sockaddr_in *name;

		CHECK(cqe.flags & IORING_CQE_F_MORE);
		out = io_uring_recvmsg_validate(
			group.memory + (cqe.flags >> IORING_CQE_BUFFER_SHIFT) * group.size, cqe.res,
			&msg);
		CHECK(out != NULL);
		if (!out)
			return 0;
		name = io_uring_recvmsg_name(out);
		EQUAL(out->namelen, sizeof(*name));
		EQUAL(ntohl(name->sin_addr.s_addr), 0x0a000002);
		EQUAL(out->payloadlen, 5);
		EQUAL(cqe.res, sizeof(*out) + sizeof(*name) + 5);
		CHECK(!memcmp(io_uring_recvmsg_payload(out, &msg), "hello", 5));
	}
	bare_take_back(&group);
	return 0;
}

static int sends_frames(void)
{
	int fd = bare_socket(AF_INET, SOCK_DGRAM);

	bare_connect(fd, SERVER, 53);
	bare_sleep(WEIR_MS);
	for (int i = 0; i < 3; i++)
		EQUAL(bare_do(bare_send(fd, "hello", 5, 0)).res, 5);
	bare_sleep(WEIR_S);
	return 0;
}

static void a_multishot_recvmsg_frames_name_and_payload(void **state)
{
	(void)state;
	play(frames, sends_frames);
}

/* --- AF_UNIX --- */

static struct sockaddr_un name_of(const char *name, socklen_t *ret_size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memcpy(addr.sun_path, name, strlen(name));
	*ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	if (name[0] == '@')
		addr.sun_path[0] = '\0';
	else
		++*ret_size;
	return addr;
}

static int unix_bind(int fd, const char *name)
{
	socklen_t size;
	struct sockaddr_un addr = name_of(name, &size);

	return bare_kernel()->ops->bind(bare_kernel(), fd, (void *)&addr, size);
}

static uint64_t unix_connect(int fd, const char *name)
{
	static struct sockaddr_un addr;
	struct io_uring_sqe *sqe = bare_sqe();
	socklen_t size;

	addr = name_of(name, &size);
	io_uring_prep_connect(sqe, fd, (void *)&addr, size);
	return bare_go(sqe);
}

static int unix_streams(void)
{
	int fd = bare_socket(AF_UNIX, SOCK_STREAM);
	int a = bare_socket(AF_UNIX, SOCK_STREAM);
	int b = bare_socket(AF_UNIX, SOCK_STREAM);
	struct sockaddr_un peer;
	socklen_t size = sizeof(peer);
	uint64_t waits;
	char buf[32];
	int conn;

	EQUAL(bare_wait(unix_connect(a, "@x")).res, -ECONNREFUSED);
	EQUAL(listen_on(fd), -EINVAL);
	EQUAL(unix_bind(fd, "@x"), 0);
	EQUAL(unix_bind(b, "@x"), -EADDRINUSE);
	EQUAL(bare_wait(unix_connect(a, "@x")).res, -ECONNREFUSED);
	EQUAL(bare_kernel()->ops->listen(bare_kernel(), fd, 0), 0);
	EQUAL(bare_do(bare_send(a, "x", 1, MSG_NOSIGNAL)).res, -ENOTCONN);
	EQUAL(bare_do(bare_recv(a, buf, 1, 0)).res, -EINVAL);
	EQUAL(bare_wait(unix_connect(a, "@x")).res, 0);
	/* What is sent before it was accepted is there. */
	EQUAL(bare_do(bare_send(a, "early", 5, 0)).res, 5);
	waits = unix_connect(b, "@x");
	EQUAL(bare_wait_for(waits, WEIR_S).res, BARE_NOTHING);
	conn = bare_accept(fd);
	EQUAL(bare_wait(waits).res, 0);
	EQUAL(bare_do(bare_recv(conn, buf, 32, 0)).res, 5);
	EQUAL(bare_kernel()->ops->getpeername(bare_kernel(), a, (void *)&peer, &size), 0);
	EQUAL(size, offsetof(struct sockaddr_un, sun_path) + 2);
	size = sizeof(peer);
	EQUAL(bare_kernel()->ops->getpeername(bare_kernel(), conn, (void *)&peer, &size), 0);
	EQUAL(size, sizeof(peer.sun_family));
	/* A close with data unread resets; without, ends. */
	EQUAL(bare_do(bare_send(a, "lost", 4, 0)).res, 4);
	bare_close(conn);
	EQUAL(bare_do(bare_recv(a, buf, 1, 0)).res, -ECONNRESET);
	EQUAL(bare_do(bare_recv(a, buf, 1, 0)).res, 0);
	EQUAL(bare_do(bare_send(a, "x", 1, MSG_NOSIGNAL)).res, -EPIPE);
	conn = bare_accept(fd);
	bare_close(conn);
	EQUAL(bare_poll(b, POLLIN | POLLOUT | POLLRDHUP),
	      POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	EQUAL(bare_do(bare_recv(b, buf, 1, 0)).res, 0);
	EQUAL(bare_do(bare_send(b, "x", 1, MSG_NOSIGNAL)).res, -EPIPE);
	return 0;
}

static void unix_streams_connect_at_once_and_know_each_end(void **state)
{
	(void)state;
	play(unix_streams, NULL);
}

static int unix_paths(void)
{
	struct weir_kernel *kernel = bare_kernel();
	int a = bare_socket(AF_UNIX, SOCK_STREAM);
	int b = bare_socket(AF_UNIX, SOCK_STREAM);
	int c = bare_socket(AF_UNIX, SOCK_STREAM);

	EQUAL(bare_wait(unix_connect(c, "/app.sock")).res, -ENOENT);
	EQUAL(unix_bind(a, "/app.sock"), 0);
	EQUAL(unix_bind(b, "/app.sock"), -EADDRINUSE);
	EQUAL(listen_on(a), 0);
	EQUAL(bare_wait(unix_connect(c, "/app.sock")).res, 0);
	/* The name stays behind, and is nobody's. */
	bare_close(a);
	EQUAL(kernel->ops->is_socket(kernel, "/app.sock"), 1);
	c = bare_socket(AF_UNIX, SOCK_STREAM);
	EQUAL(bare_wait(unix_connect(c, "/app.sock")).res, -ECONNREFUSED);
	EQUAL(unix_bind(b, "/app.sock"), -EADDRINUSE);
	EQUAL(kernel->ops->unlink(kernel, "/app.sock"), 0);
	EQUAL(unix_bind(b, "/app.sock"), 0);
	EQUAL(listen_on(b), 0);
	EQUAL(bare_wait(unix_connect(c, "/app.sock")).res, 0);
	/* Who unlinks a path takes it from its listener. */
	EQUAL(kernel->ops->unlink(kernel, "/app.sock"), 0);
	EQUAL(bare_wait(unix_connect(bare_socket(AF_UNIX, SOCK_STREAM), "/app.sock")).res,
	      -ENOENT);
	return 0;
}

static void a_unix_path_outlives_its_socket(void **state)
{
	(void)state;
	play(unix_paths, NULL);
}

static int unix_flow(void)
{
	int fd = bare_socket(AF_UNIX, SOCK_STREAM);
	int a = bare_socket(AF_UNIX, SOCK_STREAM);
	uint64_t all;
	size_t done, total;
	int conn, n;

	unix_bind(fd, "@flow");
	listen_on(fd);
	EQUAL(bare_wait(unix_connect(a, "@flow")).res, 0);
	conn = bare_accept(fd);
	n = bare_do(bare_send(a, sheet, sizeof(sheet), MSG_DONTWAIT)).res;
	CHECK(n > 100000 && n < (int)sizeof(sheet));
	total = (size_t)n + sizeof(sheet);
	/* A byte of room is not worth waking for. */
	EQUAL(bare_do(bare_recv(conn, sheet, 1, 0)).res, 1);
	EQUAL(bare_poll(a, POLLOUT), BARE_NOTHING);
	done = 1;
	all = bare_go(bare_send(a, sheet, sizeof(sheet), MSG_WAITALL));
	EQUAL(bare_wait_for(all, WEIR_S).res, BARE_NOTHING);
	while (done < total) {
		n = bare_do(bare_recv(conn, sheet, 65536, 0)).res;
		CHECK(n > 0);
		if (n <= 0)
			return 0;
		done += (size_t)n;
	}
	EQUAL(bare_wait(all).res, sizeof(sheet));
	return 0;
}

static void a_unix_writer_waits_for_its_reader(void **state)
{
	(void)state;
	play(unix_flow, NULL);
}

static int unix_dgrams(void)
{
	int a = bare_socket(AF_UNIX, SOCK_DGRAM);
	int b = bare_socket(AF_UNIX, SOCK_DGRAM);
	char buf[16];

	EQUAL(unix_bind(a, "@a"), 0);
	EQUAL(unix_bind(b, "@b"), 0);
	EQUAL(bare_do(bare_send(b, "x", 1, 0)).res, -ENOTCONN);
	EQUAL(bare_wait(unix_connect(b, "@a")).res, 0);
	EQUAL(bare_do(bare_send(b, "one", 3, 0)).res, 3);
	EQUAL(bare_do(bare_send(b, "two", 3, 0)).res, 3);
	EQUAL(bare_do(bare_recv(a, buf, 16, 0)).res, 3);
	CHECK(!memcmp(buf, "one", 3));
	EQUAL(bare_do(bare_recv(a, buf, 16, 0)).res, 3);
	bare_close(a);
	EQUAL(bare_do(bare_send(b, "x", 1, 0)).res, -ECONNREFUSED);
	return 0;
}

static void unix_datagrams_arrive_in_order(void **state)
{
	(void)state;
	play(unix_dgrams, NULL);
}

/* --- partitions --- */

static int echoes_slowly(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	char buf[64];
	int n;

	while ((n = bare_do(bare_recv(conn, buf, sizeof(buf), 0)).res) > 0)
		bare_do(bare_send(conn, buf, (size_t)n, MSG_NOSIGNAL));
	return 0;
}

static int survives_a_partition(void)
{
	int fd = bare_connected(SERVER, 80);
	uint64_t recv;
	char buf[8];

	weir_sim_partition(hosts[1], hosts[0], true);
	EQUAL(bare_do(bare_send(fd, "hello", 5, 0)).res, 5);
	recv = bare_go(bare_recv(fd, buf, 8, 0));
	EQUAL(bare_wait_for(recv, 20 * WEIR_S).res, BARE_NOTHING);
	weir_sim_partition(hosts[1], hosts[0], false);
	EQUAL(bare_wait_for(recv, 60 * WEIR_S).res, 5);
	/* The other way: the request arrives, the answer does not. */
	weir_sim_partition(hosts[0], hosts[1], true);
	EQUAL(bare_do(bare_send(fd, "again", 5, 0)).res, 5);
	recv = bare_go(bare_recv(fd, buf, 8, 0));
	EQUAL(bare_wait_for(recv, 20 * WEIR_S).res, BARE_NOTHING);
	weir_sim_partition(NULL, NULL, false);
	EQUAL(bare_wait_for(recv, 60 * WEIR_S).res, 5);
	bare_close(fd);
	return 0;
}

static void what_a_partition_holds_up_arrives_after_it(void **state)
{
	(void)state;
	play(echoes_slowly, survives_a_partition);
}

static int stays(void)
{
	int fd = bare_listen(80);
	int a = bare_accept(fd);
	int b = bare_accept(fd);
	char byte;

	/* Who only listens learns nothing. */
	EQUAL(bare_wait_for(bare_go(bare_recv(a, &byte, 1, 0)), 1800 * WEIR_S).res,
	      BARE_NOTHING);
	bare_close(b);
	return 0;
}

static int gives_up(void)
{
	int fd = bare_connected(SERVER, 80);
	int impatient = bare_connected(SERVER, 80);
	int64_t from = now();
	char byte;

	EQUAL(bare_set(impatient, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000), 0);
	weir_sim_partition(hosts[1], hosts[0], true);
	bare_do(bare_send(fd, "x", 1, 0));
	bare_do(bare_send(impatient, "x", 1, 0));
	EQUAL(bare_do(bare_recv(impatient, &byte, 1, 0)).res, -ETIMEDOUT);
	CHECK(now() - from >= 5 * WEIR_S && now() - from < 15 * WEIR_S);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -ETIMEDOUT);
	CHECK(now() - from > 900 * WEIR_S && now() - from < 1200 * WEIR_S);
	EQUAL(bare_connect(bare_socket(AF_INET, SOCK_STREAM), SERVER, 80), -ETIMEDOUT);
	CHECK(now() - from > 1000 * WEIR_S);
	return 0;
}

static void unanswered_data_times_out_and_the_other_end_never_knows(void **state)
{
	(void)state;
	play(stays, gives_up);
}

static int hears(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	char byte;

	EQUAL(bare_do(bare_recv(conn, &byte, 1, 0)).res, 1);
	/* It answers, in vain, and gives up as well. */
	EQUAL(bare_do(bare_send(conn, &byte, 1, 0)).res, 1);
	EQUAL(bare_do(bare_recv(conn, &byte, 1, 0)).res, -ETIMEDOUT);
	return 0;
}

static int is_heard(void)
{
	int fd = bare_connected(SERVER, 80);
	char byte;

	weir_sim_partition(hosts[0], hosts[1], true);
	EQUAL(bare_do(bare_send(fd, "x", 1, 0)).res, 1);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -ETIMEDOUT);
	EQUAL(bare_do(bare_send(fd, "x", 1, MSG_NOSIGNAL)).res, -EPIPE);
	return 0;
}

static void data_that_arrives_without_an_answer_times_out_too(void **state)
{
	(void)state;
	play(hears, is_heard);
}

static int waits_half_open(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);
	char byte;

	/* The faults are over after a minute; until then nobody says anything. */
	EQUAL(bare_do(bare_recv(conn, &byte, 1, 0)).res, -ECONNRESET);
	CHECK(now() >= 60 * WEIR_S);
	return 0;
}

static int talks_half_open(void)
{
	int fd = bare_connected(SERVER, 80);
	char byte;

	EQUAL(bare_do(bare_send(fd, "x", 1, 0)).res, 1);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -ECONNRESET);
	CHECK(now() >= 60 * WEIR_S);
	return 0;
}

static int build_half_open(struct weir_sim *sim, void *arg)
{
	weir_sim_rate(sim, WEIR_SIM_HALF_OPEN, 1000000);
	return build(sim, arg);
}

static void half_open_connections_are_silent_until_the_faults_are_over(void **state)
{
	struct weir_sim_scenario scenario = {
		.name = "half-open", .build = build_half_open, .faults_ns = 60 * WEIR_S
	};

	(void)state;
	bodies[0] = waits_half_open;
	bodies[1] = talks_half_open;
	ended = 0;
	if (weir_sim_run(&scenario, &(struct weir_sim_opts){ .faults_given = true }, &report))
		print_error("%s: %s\n", report.failed, report.message);
	assert_int_equal(report.result, 0);
	assert_int_equal(ended, 2);
}

static int closes_on_the_way(void)
{
	int fd = bare_listen(80);
	int conn = bare_accept(fd);

	/* One has arrived, one is on its way. */
	bare_sleep(120 * WEIR_MS);
	bare_close(conn);
	bare_sleep(WEIR_S);
	return 0;
}

static int sends_on_the_way(void)
{
	int fd;
	char byte;

	weir_sim_link(hosts[1], hosts[0], 100 * WEIR_MS, 0);
	fd = bare_connected(SERVER, 80);
	EQUAL(bare_do(bare_send(fd, "abc", 3, 0)).res, 3);
	bare_sleep(150 * WEIR_MS);
	EQUAL(bare_do(bare_send(fd, "def", 3, 0)).res, 3);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, -ECONNRESET);
	EQUAL(bare_do(bare_recv(fd, &byte, 1, 0)).res, 0);
	return 0;
}

static void what_arrives_for_a_closed_socket_is_dropped(void **state)
{
	(void)state;
	play(closes_on_the_way, sends_on_the_way);
}

static int accepts_the_dead(void)
{
	int fd = bare_listen(80);
	char byte;

	for (int i = 0; i < 20; i++) {
		int conn = bare_accept(fd);

		EQUAL(bare_do(bare_recv(conn, &byte, 1, 0)).res, -ECONNRESET);
		bare_close(conn);
	}
	return 0;
}

static int connects_and_resets(void)
{
	struct linger zero = { .l_onoff = 1 };

	bare_sleep(WEIR_MS);
	for (int i = 0; i < 20; i++) {
		int fd = bare_connected(SERVER, 80);

		bare_kernel()->ops->setsockopt(bare_kernel(), fd, SOL_SOCKET, SO_LINGER, &zero,
					       sizeof(zero));
		bare_close(fd);
	}
	bare_sleep(WEIR_S);
	return 0;
}

/* The reset leaves right behind the ACK, and must not overtake it. */
static void a_connection_reset_at_once_is_accepted_and_reset(void **state)
{
	(void)state;
	play(accepts_the_dead, connects_and_resets);
}

static int idle(void)
{
	bare_sleep(WEIR_S);
	return 0;
}

static int measures(void)
{
	int fd = bare_socket(AF_INET, SOCK_STREAM);
	int64_t from = now();

	weir_sim_link(hosts[1], hosts[0], 10 * WEIR_MS, 0);
	weir_sim_link(hosts[0], hosts[1], 30 * WEIR_MS, 0);
	EQUAL(bare_connect(fd, SERVER, 80), -ECONNREFUSED);
	CHECK(now() - from >= 40 * WEIR_MS && now() - from < 41 * WEIR_MS);
	return 0;
}

static void a_link_is_as_slow_as_it_was_made(void **state)
{
	(void)state;
	play(idle, measures);
}

/* --- machines that go --- */

static bool by_power;
static int lives;

static int dies(void)
{
	int fd = bare_listen(80);
	int conn;

	lives++;
	conn = bare_accept(fd);
	bare_accept(fd);
	bare_do(bare_send(conn, "hello", 5, 0));
	bare_sleep(3600 * WEIR_S);
	return 0;
}

static int watches_it_die(void)
{
	int fd = bare_connected(SERVER, 80);
	int idle_fd = bare_connected(SERVER, 80);
	uint64_t recv, idle_recv;
	char buf[8];

	EQUAL(bare_do(bare_recv(fd, buf, 8, 0)).res, 5);
	idle_recv = bare_go(bare_recv(idle_fd, buf, 8, 0));
	recv = bare_go(bare_recv(fd, buf, 8, 0));
	if (!by_power) {
		weir_sim_kill(hosts[0]);
		EQUAL(bare_wait_for(recv, WEIR_S).res, 0);
		EQUAL(bare_connect(bare_socket(AF_INET, SOCK_STREAM), SERVER, 80), -ECONNREFUSED);
		return 0;
	}
	weir_sim_power_cut(hosts[0]);
	EQUAL(bare_wait_for(recv, 60 * WEIR_S).res, BARE_NOTHING);
	/* Sent into nothing; when the machine is back, it knows of nothing. */
	EQUAL(bare_do(bare_send(fd, "x", 1, 0)).res, 1);
	EQUAL(bare_wait_for(recv, 60 * WEIR_S).res, BARE_NOTHING);
	weir_sim_restart(hosts[0], 0);
	EQUAL(bare_wait_for(recv, 300 * WEIR_S).res, -ECONNRESET);
	EQUAL(bare_wait_for(idle_recv, 300 * WEIR_S).res, BARE_NOTHING);
	EQUAL(lives, 2);
	weir_sim_kill(hosts[0]);
	return 0;
}

static void play_death(bool power)
{
	by_power = power;
	lives = 0;
	play_with(&(struct weir_sim_opts){ .seed = 5, .faults_given = true }, dies,
		  watches_it_die);
	assert_int_equal(ended, 1);
}

static void a_process_that_is_killed_closes_its_connections(void **state)
{
	(void)state;
	play_death(false);
}

static void a_machine_without_power_is_silent_and_knows_nothing_afterwards(void **state)
{
	(void)state;
	play_death(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_shared_as_linux_shares_them),
		cmocka_unit_test(a_v6_socket_takes_v4_unless_told_not_to),
		cmocka_unit_test(a_reuseport_group_shares_connections_evenly_enough),
		cmocka_unit_test(datagrams_keep_their_bounds_and_tell_their_senders),
		cmocka_unit_test(a_multishot_recvmsg_frames_name_and_payload),
		cmocka_unit_test(unix_streams_connect_at_once_and_know_each_end),
		cmocka_unit_test(a_unix_path_outlives_its_socket),
		cmocka_unit_test(a_unix_writer_waits_for_its_reader),
		cmocka_unit_test(unix_datagrams_arrive_in_order),
		cmocka_unit_test(what_a_partition_holds_up_arrives_after_it),
		cmocka_unit_test(unanswered_data_times_out_and_the_other_end_never_knows),
		cmocka_unit_test(data_that_arrives_without_an_answer_times_out_too),
		cmocka_unit_test(half_open_connections_are_silent_until_the_faults_are_over),
		cmocka_unit_test(what_arrives_for_a_closed_socket_is_dropped),
		cmocka_unit_test(a_connection_reset_at_once_is_accepted_and_reset),
		cmocka_unit_test(a_link_is_as_slow_as_it_was_made),
		cmocka_unit_test(a_process_that_is_killed_closes_its_connections),
		cmocka_unit_test(a_machine_without_power_is_silent_and_knows_nothing_afterwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
