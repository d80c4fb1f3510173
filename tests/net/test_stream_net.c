/* SPDX-License-Identifier: MIT */
/*
 * test_stream_net.c - connections and listeners as streams, over real sockets: demand reaches the
 * kernel, and TCP's window shows it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "futures/weir_future.h"
#include "futures/weir_stream_from.h"
#include "futures/weir_stream_ops.h"
#include "futures/weir_stream_to.h"
#include "net/conn.h"
#include "net/weir_stream_net.h"
#include "tests/support/ring_fixture.h"

static struct weir_arena *arena;
static struct weir_conn *conn;
static int peer = -1;
static bool gone;

static void mark_gone(void *user)
{
	*(bool *)user = true;
}

static void adopt(int fd)
{
	struct weir_net *net;

	gone = false;
	assert_int_equal(weir__net_self(&net), 0);
	assert_int_equal(weir__conn_create(net, fd, false, NULL, &conn), 0);
	weir_conn_set_user(conn, &gone);
	weir_conn_set_gone(conn, mark_gone);
	assert_int_equal(weir_arena_create(NULL, &arena), 0);
}

static void open_unix(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[1];
	adopt(fds[0]);
}

static void open_tcp(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	socklen_t size = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	assert_int_equal(bind(listener, (struct sockaddr *)&addr, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &size), 0);
	peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(peer, (struct sockaddr *)&addr, size), 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	close(listener);
	adopt(fd);
}

static void close_all(void)
{
	weir_conn_close(conn);
	while (!gone)
		assert_int_equal(weir_yield(), 0);
	if (peer >= 0)
		close(peer);
	peer = -1;
	assert_int_equal(weir__ring_self()->bufs.lent, 0);
}

/* --- a subscriber by hand --- */

struct taker {
	struct weir_subscriber in;
	struct weir_subscription *up;
	struct weir_stream *stream;
	size_t bytes;
	unsigned items;
	int error;
	bool ended;
	bool keeps;		/* the last item */
	struct weir_item kept;
};

static void taker_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	weir_container_of(in, struct taker, in)->up = up;
}

static void taker_next(struct weir_subscriber *in, struct weir_item item)
{
	struct taker *taker = weir_container_of(in, struct taker, in);

	taker->items++;
	taker->bytes += item.size;
	if (taker->keeps)
		taker->kept = item;
	else
		taker->stream->drop(item);
}

static void taker_ended(struct weir_subscriber *in, int error)
{
	struct taker *taker = weir_container_of(in, struct taker, in);

	taker->ended = true;
	taker->error = error;
}

static struct taker taker;

static void take(struct weir_stream *stream)
{
	static const struct weir_subscriber_ops ops = { taker_subscribed, taker_next,
							taker_ended };

	taker = (struct taker){ .in.ops = &ops, .stream = stream };
	assert_int_equal(weir_stream_subscribe(stream, &taker.in), 0);
}

static void ask(int64_t n)
{
	taker.up->ops->request(taker.up, n);
}

/* --- bytes --- */

static char text[64];
static size_t text_size;

static int gather(struct weir_item item, void *arg)
{
	memcpy(text + text_size, item.ptr, item.size);
	text_size += item.size;
	return 0;
}

static int sends_hello(void *arg)
{
	send(peer, "hello ", 6, MSG_NOSIGNAL);
	weir_sleep(WEIR_MS);
	send(peer, "world", 5, MSG_NOSIGNAL);
	shutdown(peer, SHUT_WR);
	return 0;
}

static void what_arrives_is_a_stream_until_the_end(void)
{
	struct weir_coro *coro;
	ssize_t n;

	open_unix();
	text_size = 0;
	assert_int_equal(weir_coro_spawn(NULL, sends_hello, NULL, &coro), 0);
	n = weir_await(weir_stream_for_each(weir_stream_conn(arena, conn, 4), gather, NULL),
		       WEIR_NEVER, NULL);
	assert_in_range(n, 1, 2);
	assert_int_equal(text_size, 11);
	assert_memory_equal(text, "hello world", 11);
	weir_coro_join(coro, WEIR_NEVER, NULL);
	close_all();
}

static void no_more_leases_are_out_than_were_allowed(void)
{
	open_unix();
	take(weir_stream_conn(arena, conn, 1));
	taker.keeps = true;
	assert_int_equal(send(peer, "one", 3, MSG_NOSIGNAL), 3);
	ask(9);
	while (!taker.items)
		weir_sleep(WEIR_MS);
	assert_int_equal(send(peer, "two", 3, MSG_NOSIGNAL), 3);
	for (int i = 0; i < 20; i++)
		weir_sleep(WEIR_MS / 4);
	assert_int_equal(taker.items, 1);
	taker.stream->drop(taker.kept);
	while (taker.items < 2)
		weir_sleep(WEIR_MS);
	taker.up->ops->cancel(taker.up);
	taker.stream->drop(taker.kept);
	while (weir_arena_destroy(arena) == -EBUSY)
		weir_yield();
	close_all();
}

static unsigned window_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
	if (size < offsetof(struct tcp_info, tcpi_snd_wnd) + sizeof(info.tcpi_snd_wnd))
		ring_test_skip("the kernel does not tell the window");
	return info.tcpi_snd_wnd;
}

/* Sends until the kernel takes no more and the peer's window is closed; how much. */
static size_t fill(int fd)
{
	static char block[65536];
	size_t sent = 0;
	int quiet = 0;

	while (quiet < 5) {
		ssize_t n = send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			quiet = 0;
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		quiet += window_of(fd) < 65536;
		assert_int_equal(weir_sleep(2 * WEIR_MS), 0);
	}
	return sent;
}

static void without_demand_nothing_is_received_and_the_window_closes(void)
{
	size_t sent;
	unsigned before;

	open_tcp();
	take(weir_stream_conn(arena, conn, 4));
	before = window_of(peer);
	ask(1);
	sent = fill(peer);
	/* One item, and what its receive had taken before it was disarmed. */
	assert_int_equal(taker.items, 1);
	assert_true(weir_conn_bytes_in(conn) < sent);
	assert_int_not_equal(conn->in_state, IN_ARMED);
	assert_true(window_of(peer) < before);
	/* Demand opens it again: all of it comes. */
	ask(WEIR_UNBOUNDED);
	shutdown(peer, SHUT_WR);
	while (!taker.ended)
		assert_int_equal(weir_sleep(WEIR_MS), 0);
	assert_int_equal(taker.error, 0);
	assert_int_equal(taker.bytes, sent);
	while (weir_arena_destroy(arena) == -EBUSY)
		weir_yield();
	close_all();
}

static void an_error_of_the_connection_ends_the_stream(void)
{
	const struct linger reset = { .l_onoff = 1 };

	open_tcp();
	take(weir_stream_conn(arena, conn, 4));
	ask(1);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(peer);
	peer = -1;
	while (!taker.ended)
		assert_int_equal(weir_sleep(WEIR_MS), 0);
	assert_int_equal(taker.error, -ECONNRESET);
	while (weir_arena_destroy(arena) == -EBUSY)
		weir_yield();
	close_all();
}

static void items_are_written_to_a_connection(void)
{
	static const struct weir_item items[] = { { .text = "ab", .size = 2 },
						  { .text = "cde", .size = 3 } };
	char got[8];

	open_unix();
	assert_int_equal(weir_await(weir_stream_to_conn(weir_stream_array(arena, items, 2), conn),
				    WEIR_NEVER, NULL),
			 2);
	assert_int_equal(weir_conn_flush(conn), 0);
	assert_int_equal(recv(peer, got, sizeof(got), MSG_DONTWAIT), 5);
	assert_memory_equal(got, "abcde", 5);
	close_all();
}

static struct weir_item forever;

static int emits_forever(struct weir_emitter *emitter, void *arg)
{
	int r;

	do
		r = weir_emit(emitter, forever);
	while (!r);
	return r;
}

static void a_connection_that_is_gone_is_an_error_to_who_writes(void)
{
	open_unix();
	close(peer);
	peer = -1;
	forever = (struct weir_item){ .text = "x", .size = 1 };
	assert_int_equal(weir_await(weir_stream_to_conn(weir_stream_generate(arena, emits_forever,
									     NULL, NULL),
							conn),
				    WEIR_NEVER, NULL),
			 -EPIPE);
	close_all();
}

/* --- who connects --- */

static int dial(const char *path)
{
	struct sockaddr_un {
		sa_family_t family;
		char path[108];
	} addr = { .family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void connections_are_items_and_those_nobody_asked_for_wait_or_are_closed(void)
{
	char path[64], address[80], byte;
	int fds[3];

	snprintf(path, sizeof(path), "/tmp/weir-listen-%d", getpid());
	snprintf(address, sizeof(address), "unix:%s", path);
	assert_int_equal(weir_arena_create(NULL, &arena), 0);
	take(weir_stream_listen(arena, address, NULL, 1));
	taker.keeps = true;
	ask(1);
	fds[0] = dial(path);
	while (taker.items < 1)
		assert_int_equal(weir_sleep(WEIR_MS), 0);
	weir_conn_close(taker.kept.ptr);
	fds[1] = dial(path);	/* waits */
	fds[2] = dial(path);	/* one too many */
	while (recv(fds[2], &byte, 1, MSG_DONTWAIT) != 0 && errno != ECONNRESET)
		assert_int_equal(weir_sleep(WEIR_MS), 0);
	assert_int_equal(taker.items, 1);
	ask(1);
	assert_int_equal(taker.items, 2);
	weir_conn_close(taker.kept.ptr);
	taker.up->ops->cancel(taker.up);
	while (weir_arena_destroy(arena) == -EBUSY)
		assert_int_equal(weir_sleep(WEIR_MS), 0);
	assert_false(taker.ended);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	unlink(path);
}

static void an_address_that_is_none_is_the_streams_error(void)
{
	assert_int_equal(weir_arena_create(NULL, &arena), 0);
	assert_int_equal(weir_await(weir_stream_count(weir_stream_listen(arena, "nowhere", NULL,
									 4)),
				    WEIR_NEVER, NULL),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(what_arrives_is_a_stream_until_the_end),
		ring_test(no_more_leases_are_out_than_were_allowed),
		ring_test(without_demand_nothing_is_received_and_the_window_closes),
		ring_test(an_error_of_the_connection_ends_the_stream),
		ring_test(items_are_written_to_a_connection),
		ring_test(a_connection_that_is_gone_is_an_error_to_who_writes),
		ring_test(connections_are_items_and_those_nobody_asked_for_wait_or_are_closed),
		ring_test(an_address_that_is_none_is_the_streams_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
