/* SPDX-License-Identifier: MIT */
/*
 * A connection over a socket pair: the test holds the other end and plays the peer with
 * plain system calls.
 */
#include <errno.h>
#include <pthread.h>
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
#include "net/conn.h"
#include "net/weir_conn_async.h"
#include "tests/support/ring_fixture.h"

struct pair {
	struct weir_net *net;
	struct weir_conn *conn;
	int peer;
	bool gone;
};

static void mark_gone(void *user)
{
	((struct pair *)user)->gone = true;
}

static void open_pair(struct pair *pair, const struct weir_conn_opts *opts)
{
	int fds[2];

	pair->gone = false;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(weir__net_self(&pair->net), 0);
	assert_int_equal(weir__conn_create(pair->net, fds[0], false, opts, &pair->conn), 0);
	weir_conn_set_user(pair->conn, pair);
	weir_conn_set_gone(pair->conn, mark_gone);
	pair->peer = fds[1];
}

static void wait_gone(struct pair *pair)
{
	while (!pair->gone)
		assert_int_equal(weir_yield(), 0);
}

static void close_pair(struct pair *pair)
{
	weir_conn_close(pair->conn);
	wait_gone(pair);
	if (pair->peer >= 0)
		close(pair->peer);
	assert_int_equal(weir__ring_self()->bufs.lent, 0);
	assert_int_equal(pair->net->chunks.in_use, 0);
	assert_int_equal(pair->net->refs.in_use, 0);
	assert_int_equal(pair->net->msgs.in_use, 0);
	assert_int_equal(weir__ring_self()->taken[WEIR_ARMED], 0);
}

static void peer_sends(struct pair *pair, const char *data, size_t size)
{
	assert_int_equal(send(pair->peer, data, size, MSG_DONTWAIT | MSG_NOSIGNAL), (ssize_t)size);
}

/* Reads exactly size bytes at the peer. */
static void peer_reads(struct pair *pair, char *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = recv(pair->peer, buf + done, size - done, MSG_DONTWAIT);

		assert_true(n > 0 || (n < 0 && errno == EAGAIN));
		if (n > 0)
			done += (size_t)n;
		else
			assert_int_equal(weir_yield(), 0);
	}
}

/* Yields run within one turn's budget; this lets the worker enter the kernel. */
static void next_turn(void)
{
	assert_int_equal(weir_sleep(1), 0);
}

static char pattern(size_t i)
{
	return (char)(i * 31 + i / 251);
}

static void fill(char *buf, size_t size, size_t from)
{
	for (size_t i = 0; i < size; i++)
		buf[i] = pattern(from + i);
}

static void is_pattern(const char *buf, size_t size, size_t from)
{
	for (size_t i = 0; i < size; i++)
		if (buf[i] != pattern(from + i))
			fail_msg("byte %zu is wrong", from + i);
}

/* --- reading --- */

static void a_read_gets_what_arrived_and_then_the_end_of_file(void)
{
	struct pair pair;
	char buf[16] = "";

	open_pair(&pair, NULL);
	peer_sends(&pair, "hello", 5);
	assert_int_equal(weir_conn_read(pair.conn, buf, 2), 2);
	assert_int_equal(weir_conn_read(pair.conn, buf + 2, sizeof(buf) - 2), 3);
	assert_string_equal(buf, "hello");
	assert_int_equal(weir__ring_self()->bufs.lent, 0);
	close(pair.peer);
	pair.peer = -1;
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), 0);
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), 0);
	assert_true(weir_conn_is_readable(pair.conn));
	close_pair(&pair);
}

static void a_read_of_nothing_is_refused(void)
{
#ifndef WEIR_DEBUG
	struct pair pair;
	char buf[1];

	open_pair(&pair, NULL);
	assert_int_equal(weir_conn_read(pair.conn, buf, 0), -EINVAL);
	close_pair(&pair);
#endif
}

static void read_exactly_says_when_the_peer_ended_before(void)
{
	struct pair pair;
	char buf[8];

	open_pair(&pair, NULL);
	peer_sends(&pair, "1234567890", 10);
	assert_int_equal(weir_conn_read_exact(pair.conn, buf, 8), 8);
	shutdown(pair.peer, SHUT_WR);
	assert_int_equal(weir_conn_read_exact(pair.conn, buf, 8), -EPIPE);
	close_pair(&pair);
}

static void leases_come_in_order_and_count_against_the_connection(void)
{
	struct pair pair;
	struct weir_lease one, two;

	open_pair(&pair, NULL);
	peer_sends(&pair, "one", 3);
	assert_int_equal(weir_conn_lease(pair.conn, &one), 3);
	peer_sends(&pair, "two!", 4);
	assert_int_equal(weir_conn_lease(pair.conn, &two), 4);
	assert_memory_equal(one.data, "one", 3);
	assert_memory_equal(two.data, "two!", 4);
	assert_int_equal(weir__ring_self()->bufs.lent, 2);
	weir_conn_release(pair.conn, &one);
	weir_conn_release(pair.conn, &two);
	assert_int_equal(weir__ring_self()->bufs.lent, 0);
	close_pair(&pair);
}

static int read_into(void *arg)
{
	struct pair *pair = arg;
	char buf[16];

	return (int)weir_conn_read(pair->conn, buf, sizeof(buf));
}

/* tokio's select! tables, monoio#226: a cancelled read lost what had arrived. */
static void a_cancelled_read_loses_no_byte(void)
{
	struct pair pair;
	struct weir_coro *coro;
	char buf[16];
	int res = 0;

	open_pair(&pair, NULL);
	assert_int_equal(weir_coro_spawn(NULL, read_into, &pair, &coro), 0);
	weir_yield();
	weir_coro_cancel(coro);
	peer_sends(&pair, "kept", 4);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ECANCELED);
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "kept", 4);
	close_pair(&pair);
}

static void a_read_ends_at_the_coroutine_s_deadline(void)
{
	struct pair pair;
	char buf[16];
	int64_t deadline;

	open_pair(&pair, NULL);
	deadline = weir_coro_set_deadline(weir_in(WEIR_MS));
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), -ETIMEDOUT);
	weir_coro_set_deadline(deadline);
	peer_sends(&pair, "x", 1);
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), 1);
	close_pair(&pair);
}

static void a_second_reader_is_refused(void)
{
#ifndef WEIR_DEBUG
	struct pair pair;
	struct weir_coro *coro;
	char buf[16];
	int res;

	open_pair(&pair, NULL);
	assert_int_equal(weir_coro_spawn(NULL, read_into, &pair, &coro), 0);
	weir_yield();
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), -EBUSY);
	peer_sends(&pair, "x", 1);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 1);
	close_pair(&pair);
#endif
}

/* compio#746, dragonfly#3523: what nobody reads must not pile up in buffers. */
static void unread_data_is_bounded_by_the_quota_and_all_of_it_arrives_later(void)
{
	struct weir_conn_opts opts = { .bufs_max = 4 };
	size_t sent = 0, got = 0, total = 1 << 20;
	static char out[1 << 20], in[1 << 20];
	struct pair pair;

	fill(out, total, 0);
	open_pair(&pair, &opts);
	for (int idle = 0; idle < 50;) {
		size_t left = total - sent < 4096 ? total - sent : 4096;
		ssize_t n = send(pair.peer, out + sent, left, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		idle = n > 0 ? 0 : idle + 1;
		next_turn();
	}
	/* The peer was stopped by its own socket buffer; we hold the quota and what was under way.
	 */
	assert_true(sent < total);
	assert_true(pair.conn->in_count >= 4 && pair.conn->in_count <= 4 + 2);
	assert_int_equal(pair.conn->in_state, IN_IDLE);
	while (got < total) {
		ssize_t n = send(pair.peer, out + sent, total - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		n = weir_conn_read(pair.conn, in + got, total - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	is_pattern(in, total, 0);
	close_pair(&pair);
}

/* liburing#1275: the buffer ring ran dry and everybody's receive ended for good. */
static void connections_that_starve_for_buffers_go_on_when_there_are_some(void)
{
	enum { PAIRS = 12, SIZE = 8 * 4096 };
	struct weir_conn_opts opts = { .bufs_max = 64 };
	static char buf[SIZE];
	struct pair pairs[PAIRS];
	struct weir_bufs *bufs = &weir__ring_self()->bufs;

	assert_int_equal(bufs->count, 64);
	fill(buf, SIZE, 0);
	for (int i = 0; i < PAIRS; i++) {
		open_pair(&pairs[i], &opts);
		peer_sends(&pairs[i], buf, SIZE);
	}
	for (int i = 0; i < 50; i++)
		next_turn();
	assert_true(bufs->lent >= 56 && bufs->lent <= 64);
	for (int i = 0; i < PAIRS; i++) {
		static char in[SIZE];

		assert_int_equal(weir_conn_read_exact(pairs[i].conn, in, SIZE), SIZE);
		is_pattern(in, SIZE, 0);
	}
	for (int i = 0; i < PAIRS; i++) {
		peer_sends(&pairs[i], "again", 5);
		assert_int_equal(weir_conn_read_exact(pairs[i].conn, buf, 5), 5);
	}
	for (int i = 0; i < PAIRS; i++) {
		weir_conn_close(pairs[i].conn);
		wait_gone(&pairs[i]);
		close(pairs[i].peer);
	}
	assert_int_equal(bufs->lent, 0);
}

/* --- writing --- */

static void writes_of_one_turn_leave_in_one_send(void)
{
	struct pair pair;
	char buf[16] = "";
	uint64_t ops;

	open_pair(&pair, NULL);
	next_turn();
	ops = weir__ring_self()->ops;
	assert_int_equal(weir_conn_write_all(pair.conn, "one ", 4), 0);
	assert_int_equal(weir_conn_write_all(pair.conn, "two ", 4), 0);
	memcpy(weir_conn_reserve(pair.conn, 5), "three", 5);
	weir_conn_commit(pair.conn, 5);
	assert_int_equal(weir_conn_pending(pair.conn), 13);
	assert_int_equal(weir_conn_flush(pair.conn), 0);
	assert_int_equal(weir__ring_self()->ops, ops + 1);
	peer_reads(&pair, buf, 13);
	assert_string_equal(buf, "one two three");
	assert_int_equal(weir_conn_bytes_out(pair.conn), 13);
	close_pair(&pair);
}

static unsigned released;

static void count_release(void *arg)
{
	released += (unsigned)(uintptr_t)arg;
}

static void copied_lent_and_reserved_pieces_keep_their_order(void)
{
	enum { SIZE = 60000 };
	static char out[SIZE], in[SIZE];
	struct pair pair;
	size_t at = 0;

	released = 0;
	fill(out, SIZE, 0);
	open_pair(&pair, NULL);
	while (at < SIZE) {
		size_t n = at % 700 + 1;

		n = n < SIZE - at ? n : SIZE - at;
		if (at % 3 == 0) {
			assert_int_equal(weir_conn_write_try(pair.conn, out + at, n), 0);
		} else if (at % 3 == 1) {
			assert_int_equal(weir_conn_write_ref(pair.conn, out + at, n, count_release,
							     (void *)1), 0);
			released -= 1;
		} else {
			memcpy(weir_conn_reserve(pair.conn, n + 10), out + at, n);
			weir_conn_commit(pair.conn, n);
		}
		at += n;
	}
	peer_reads(&pair, in, SIZE);
	is_pattern(in, SIZE, 0);
	assert_int_equal(weir_conn_flush(pair.conn), 0);
	assert_int_equal(released, 0);
	close_pair(&pair);
}

static void a_reservation_of_which_nothing_is_used_sends_nothing(void)
{
	struct pair pair;
	char buf[4] = "";

	open_pair(&pair, NULL);
	assert_non_null(weir_conn_reserve(pair.conn, 100));
	weir_conn_commit(pair.conn, 0);
	assert_int_equal(weir_conn_flush(pair.conn), 0);
	assert_int_equal(weir_conn_write_ref(pair.conn, "abc", 3, NULL, NULL), 0);
	peer_reads(&pair, buf, 3);
	assert_string_equal(buf, "abc");
	assert_null(weir_conn_reserve(pair.conn, WEIR_CONN_RESERVE_MAX + 1));
	close_pair(&pair);
}

static int write_much(void *arg)
{
	struct pair *pair = arg;
	static char out[4 << 20];
	int r = 0;

	fill(out, sizeof(out), 0);
	for (size_t at = 0; at < sizeof(out) && !r; at += 8192)
		r = weir_conn_write_all(pair->conn, out + at, 8192);
	return r;
}

/* dragonfly#4182: the output of a client that does not read grew without bound. */
static void a_writer_waits_above_the_high_mark_and_no_byte_is_lost(void)
{
	struct weir_conn_opts opts = { .out_high = 64 << 10 };
	static char in[4 << 20];
	struct pair pair;
	struct weir_coro *coro;
	int res = 1;

	open_pair(&pair, &opts);
	assert_int_equal(weir_coro_spawn(NULL, write_much, &pair, &coro), 0);
	for (int i = 0; i < 100; i++) {
		next_turn();
		assert_true(weir_conn_pending(pair.conn) <= (64 << 10) + 8192);
	}
	assert_true(weir_conn_bytes_out(pair.conn) < sizeof(in));
	assert_int_equal(weir_conn_write_try(pair.conn, "x", 1), -EAGAIN);
	assert_null(weir_conn_reserve(pair.conn, 1));
	peer_reads(&pair, in, sizeof(in));
	is_pattern(in, sizeof(in), 0);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 0);
	close_pair(&pair);
}

static int write_large(void *arg)
{
	struct pair *pair = arg;
	static char out[1 << 20];

	fill(out, sizeof(out), 0);
	return weir_conn_write_all(pair->conn, out, sizeof(out));
}

static void a_large_write_is_lent_and_returns_once_all_of_it_was_taken(void)
{
	static char in[1 << 20];
	struct pair pair;
	struct weir_coro *coro;
	int res = 1;

	open_pair(&pair, NULL);
	assert_int_equal(weir_coro_spawn(NULL, write_large, &pair, &coro), 0);
	next_turn();
	assert_int_equal(pair.net->chunks.in_use, 0);
	peer_reads(&pair, in, sizeof(in));
	is_pattern(in, sizeof(in), 0);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 0);
	assert_int_equal(weir_conn_pending(pair.conn), 0);
	close_pair(&pair);
}

static void a_cancelled_large_write_returns_when_its_memory_is_free_again(void)
{
	struct pair pair;
	struct weir_coro *coro;
	int res = 1;

	open_pair(&pair, NULL);
	assert_int_equal(weir_coro_spawn(NULL, write_large, &pair, &coro), 0);
	for (int i = 0; i < 10; i++)
		next_turn();
	weir_coro_cancel(coro);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ECANCELED);
	assert_false(weir_op_is_inflight(&pair.conn->send_op));
	assert_int_equal(pair.net->refs.in_use, 0);
	assert_int_equal(weir_conn_write_try(pair.conn, "x", 1), -ECANCELED);
	close_pair(&pair);
}

static void a_write_to_a_peer_that_is_gone_is_an_error_and_stays_one(void)
{
	struct pair pair;

	open_pair(&pair, NULL);
	close(pair.peer);
	pair.peer = -1;
	assert_int_equal(weir_conn_write_all(pair.conn, "x", 1), 0);
	assert_int_equal(weir_conn_flush(pair.conn), -EPIPE);
	assert_int_equal(weir_conn_write_all(pair.conn, "x", 1), -EPIPE);
	assert_int_equal(weir_conn_pending(pair.conn), 0);
	close_pair(&pair);
}

static void after_a_half_close_the_peer_sees_the_end_and_can_still_answer(void)
{
	struct pair pair;
	char buf[8];

	open_pair(&pair, NULL);
	assert_int_equal(weir_conn_write_all(pair.conn, "bye", 3), 0);
	assert_int_equal(weir_conn_shutdown(pair.conn), 0);
	assert_int_equal(recv(pair.peer, buf, sizeof(buf), 0), 3);
	assert_int_equal(recv(pair.peer, buf, sizeof(buf), 0), 0);
	assert_int_equal(weir_conn_write_all(pair.conn, "x", 1), -ESHUTDOWN);
	peer_sends(&pair, "answer", 6);
	assert_int_equal(weir_conn_read_exact(pair.conn, buf, 6), 6);
	close_pair(&pair);
}

static void the_peer_of_a_socket_pair_has_no_name(void)
{
	struct pair pair;
	char text[128];

	open_pair(&pair, NULL);
	assert_int_equal(weir_conn_peer(pair.conn, text, sizeof(text)), 0);
	assert_string_equal(text, "unix:");
	assert_int_equal(weir_conn_peer(pair.conn, text, 3), -ENOSPC);
	close_pair(&pair);
}

/* --- the end --- */

static void closing_sends_what_was_written_first(void)
{
	static char in[40000], out[40000];
	struct pair pair;

	fill(out, sizeof(out), 0);
	open_pair(&pair, NULL);
	for (size_t at = 0; at < sizeof(out); at += 10000)
		assert_int_equal(weir_conn_write_try(pair.conn, out + at, 10000), 0);
	weir_conn_close(pair.conn);
	peer_reads(&pair, in, sizeof(in));
	is_pattern(in, sizeof(in), 0);
	wait_gone(&pair);
	assert_int_equal(recv(pair.peer, in, 1, 0), 0);
	close(pair.peer);
}

/* liburing#1192: the peer never saw the close because an armed op held the file. */
static void the_peer_sees_the_close_although_a_receive_was_armed(void)
{
	struct pair pair;
	char buf[1];

	open_pair(&pair, NULL);
	weir_yield();
	assert_int_equal(pair.conn->in_state, IN_ARMED);
	weir_conn_close(pair.conn);
	wait_gone(&pair);
	assert_int_equal(recv(pair.peer, buf, 1, MSG_DONTWAIT), 0);
	close(pair.peer);
}

static void aborting_with_output_that_nobody_takes_ends_at_once(void)
{
	static char out[8192];
	struct pair pair;
	int r;

	open_pair(&pair, NULL);
	while (!(r = weir_conn_write_try(pair.conn, out, sizeof(out))))
		weir_yield();
	assert_int_equal(r, -EAGAIN);
	weir_conn_abort(pair.conn);
	wait_gone(&pair);
	assert_int_equal(pair.net->chunks.in_use, 0);
	close(pair.peer);
}

static void an_idle_connection_ends_with_a_time_out(void)
{
	struct weir_conn_opts opts = { .idle_ns = 2 * WEIR_MS };
	struct pair pair;
	char buf[4];

	open_pair(&pair, &opts);
	peer_sends(&pair, "x", 1);
	assert_int_equal(weir_conn_read(pair.conn, buf, 1), 1);
	assert_int_equal(weir_conn_read(pair.conn, buf, 1), -ETIMEDOUT);
	assert_int_equal(weir_conn_write_all(pair.conn, "x", 1), -ETIMEDOUT);
	close_pair(&pair);
}

static void draining_ends_the_input_after_what_was_received(void)
{
	struct pair pair;
	char buf[4];

	open_pair(&pair, NULL);
	peer_sends(&pair, "ab", 2);
	while (!weir_conn_is_readable(pair.conn))
		weir_yield();
	weir__conn_drain(pair.conn);
	assert_int_equal(weir_conn_read(pair.conn, buf, 1), 1);
	assert_int_equal(weir_conn_read(pair.conn, buf, 4), 1);
	assert_int_equal(weir_conn_read(pair.conn, buf, 4), 0);
	assert_int_equal(weir_conn_write_all(pair.conn, "last", 4), 0);
	peer_reads(&pair, buf, 4);
	close_pair(&pair);
}

/* dragonfly#3523: each idle connection pinned a receive buffer. */
static void an_idle_connection_holds_no_buffer(void)
{
	struct pair pair;
	char buf[8];

	open_pair(&pair, NULL);
	peer_sends(&pair, "ping", 4);
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), 4);
	assert_int_equal(weir_conn_write_all(pair.conn, "pong", 4), 0);
	peer_reads(&pair, buf, 4);
	assert_int_equal(weir_conn_flush(pair.conn), 0);
	assert_int_equal(weir__ring_self()->bufs.lent, 0);
	assert_int_equal(pair.net->chunks.in_use, 0);
	assert_true(sizeof(struct weir_conn) + sizeof(struct weir_slot) <= 512);
	close_pair(&pair);
}

/* --- callback style --- */

static struct {
	char data[64];
	size_t size;
	int ends;
	int res;
	int writable;
} seen;

static void on_data(struct weir_conn *conn, const char *data, size_t size, int res)
{
	(void)conn;
	if (!size) {
		seen.ends++;
		seen.res = res;
		return;
	}
	assert_true(seen.size + size <= sizeof(seen.data));
	memcpy(seen.data + seen.size, data, size);
	seen.size += size;
}

static void on_writable(struct weir_conn *conn)
{
	(void)conn;
	seen.writable++;
}

static const struct weir_conn_events events = { on_data, on_writable };

static void events_get_what_was_queued_what_comes_and_the_end_once(void)
{
	struct pair pair;

	memset(&seen, 0, sizeof(seen));
	open_pair(&pair, NULL);
	peer_sends(&pair, "early ", 6);
	while (!weir_conn_is_readable(pair.conn))
		weir_yield();
	assert_int_equal(weir_conn_set_events(pair.conn, &events), 0);
	assert_int_equal(seen.size, 6);
	peer_sends(&pair, "late", 4);
	while (seen.size < 10)
		weir_yield();
	assert_memory_equal(seen.data, "early late", 10);
	assert_int_equal(weir__ring_self()->bufs.lent, 0);
	shutdown(pair.peer, SHUT_WR);
	while (!seen.ends)
		weir_yield();
	weir_yield();
	assert_int_equal(seen.ends, 1);
	assert_int_equal(seen.res, 0);
	close_pair(&pair);
}

static void a_paused_connection_delivers_nothing_until_it_is_resumed(void)
{
	struct pair pair;

	memset(&seen, 0, sizeof(seen));
	open_pair(&pair, NULL);
	assert_int_equal(weir_conn_set_events(pair.conn, &events), 0);
	weir_conn_pause(pair.conn);
	peer_sends(&pair, "held", 4);
	for (int i = 0; i < 20; i++)
		next_turn();
	assert_int_equal(seen.size, 0);
	weir_conn_resume(pair.conn);
	while (seen.size < 4)
		weir_yield();
	assert_memory_equal(seen.data, "held", 4);
	close_pair(&pair);
}

static void events_are_told_when_the_output_has_room_again(void)
{
	struct weir_conn_opts opts = { .out_high = 32 << 10 };
	static char buf[8192];
	struct pair pair;
	size_t sent = 0;
	int r;

	memset(&seen, 0, sizeof(seen));
	open_pair(&pair, &opts);
	assert_int_equal(weir_conn_set_events(pair.conn, &events), 0);
	while (!(r = weir_conn_write_try(pair.conn, buf, sizeof(buf)))) {
		sent += sizeof(buf);
		weir_yield();
	}
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(seen.writable, 0);
	while (sent) {
		size_t n = sent < sizeof(buf) ? sent : sizeof(buf);

		peer_reads(&pair, buf, n);
		sent -= n;
	}
	while (!seen.writable)
		weir_yield();
	assert_int_equal(weir_conn_write_try(pair.conn, buf, 1), 0);
	close_pair(&pair);
}

/* --- futures --- */

static void a_read_as_a_future_is_there_at_once_or_later(void)
{
	struct weir_future *future;
	struct pair pair;
	char buf[8];

	open_pair(&pair, NULL);
	future = weir_conn_read_async(pair.conn, buf, sizeof(buf));
	next_turn();
	assert_false(weir_future_is_settled(future));
	peer_sends(&pair, "later", 5);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 5);
	peer_sends(&pair, "now", 3);
	while (!weir_conn_is_readable(pair.conn))
		next_turn();
	future = weir_conn_read_async(pair.conn, buf, sizeof(buf));
	assert_true(weir_future_is_settled(future));
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 3);
	assert_memory_equal(buf, "now", 3);
	assert_int_equal(pair.net->asyncs.in_use, 0);
	close_pair(&pair);
}

static void a_cancelled_read_as_a_future_loses_no_byte(void)
{
	struct weir_future *future;
	struct pair pair;
	char buf[8];

	open_pair(&pair, NULL);
	future = weir_conn_read_async(pair.conn, buf, sizeof(buf));
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	peer_sends(&pair, "kept", 4);
	assert_int_equal(weir_conn_read(pair.conn, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "kept", 4);
	close_pair(&pair);
}

static void a_write_as_a_future_is_settled_when_the_kernel_took_it_or_the_peer_is_gone(void)
{
	struct weir_future *future;
	struct pair pair;
	char buf[8] = "";

	open_pair(&pair, NULL);
	future = weir_conn_write_async(pair.conn, "hello", 5);
	assert_false(weir_future_is_settled(future));
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 5);
	peer_reads(&pair, buf, 5);
	assert_string_equal(buf, "hello");
	close(pair.peer);
	pair.peer = -1;
	assert_int_equal(weir_await(weir_conn_write_async(pair.conn, "x", 1), WEIR_NEVER, NULL),
			 -EPIPE);
	assert_int_equal(pair.net->asyncs.in_use, 0);
	close_pair(&pair);
}

static int readies;

static void count_ready(struct weir_conn *conn)
{
	(void)conn;
	readies++;
}

static void ready_is_called_once_until_something_was_read(void)
{
	struct pair pair;
	char buf[8];

	readies = 0;
	open_pair(&pair, NULL);
	weir_conn_set_ready(pair.conn, count_ready);
	peer_sends(&pair, "a", 1);
	while (!readies)
		weir_yield();
	peer_sends(&pair, "b", 1);
	for (int i = 0; i < 20; i++)
		next_turn();
	assert_int_equal(readies, 1);
	while (weir_conn_is_readable(pair.conn))
		assert_true(weir_conn_read(pair.conn, buf, sizeof(buf)) > 0);
	peer_sends(&pair, "c", 1);
	while (readies < 2)
		weir_yield();
	close_pair(&pair);
}

/* --- closing as the last thing that a worker does --- */

#define LAST_SIZE (1 << 20)

static char last_words[LAST_SIZE];

static void *hear_last_words(void *arg)
{
	struct pair *pair = arg;
	static char buf[65536];
	size_t done = 0;
	ssize_t n;

	while ((n = recv(pair->peer, buf, sizeof(buf), 0)) > 0)
		done += (size_t)n;
	return (void *)done;
}

static pthread_t last_listener;

static int say_last_words(void *arg)
{
	struct pair *pair = arg;

	open_pair(pair, NULL);
	assert_int_equal(weir_conn_write_ref(pair->conn, last_words, LAST_SIZE, NULL, NULL), 0);
	weir_conn_close(pair->conn);
	assert_int_equal(pthread_create(&last_listener, NULL, hear_last_words, pair), 0);
	return 0;
}

static void the_worker_stays_until_what_was_written_before_a_close_has_left(void **state)
{
	struct pair pair;
	void *heard;

	(void)state;
	assert_int_equal(on_ring(say_last_words, &pair), 0);
	assert_int_equal(pthread_join(last_listener, &heard), 0);
	assert_int_equal((size_t)heard, LAST_SIZE);
	assert_true(pair.gone);
	close(pair.peer);
}

#define MANY 400	/* more than can be closing in the ring at once */

static int close_many(void *arg)
{
	static struct pair pairs[MANY];

	(void)arg;
	for (unsigned i = 0; i < MANY; i++) {
		open_pair(&pairs[i], NULL);
		close(pairs[i].peer);
		while (!weir_conn_is_readable(pairs[i].conn))
			assert_int_equal(weir_yield(), 0);
	}
	for (unsigned i = 0; i < MANY; i++)
		weir_conn_close(pairs[i].conn);
	return 0;
}

static void the_worker_stays_until_many_connections_have_closed(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();

	(void)state;
	fixture.ring.armed_max = MANY + 10;
	assert_int_equal(on_ring_with(&fixture, close_many, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(a_read_gets_what_arrived_and_then_the_end_of_file),
		ring_test(a_read_of_nothing_is_refused),
		ring_test(read_exactly_says_when_the_peer_ended_before),
		ring_test(leases_come_in_order_and_count_against_the_connection),
		ring_test(a_cancelled_read_loses_no_byte),
		ring_test(a_read_ends_at_the_coroutine_s_deadline),
		ring_test(a_second_reader_is_refused),
		ring_test(unread_data_is_bounded_by_the_quota_and_all_of_it_arrives_later),
		ring_test(connections_that_starve_for_buffers_go_on_when_there_are_some),
		ring_test(writes_of_one_turn_leave_in_one_send),
		ring_test(copied_lent_and_reserved_pieces_keep_their_order),
		ring_test(a_reservation_of_which_nothing_is_used_sends_nothing),
		ring_test(a_writer_waits_above_the_high_mark_and_no_byte_is_lost),
		ring_test(a_large_write_is_lent_and_returns_once_all_of_it_was_taken),
		ring_test(a_cancelled_large_write_returns_when_its_memory_is_free_again),
		ring_test(a_write_to_a_peer_that_is_gone_is_an_error_and_stays_one),
		ring_test(after_a_half_close_the_peer_sees_the_end_and_can_still_answer),
		ring_test(the_peer_of_a_socket_pair_has_no_name),
		ring_test(closing_sends_what_was_written_first),
		ring_test(the_peer_sees_the_close_although_a_receive_was_armed),
		ring_test(aborting_with_output_that_nobody_takes_ends_at_once),
		ring_test(an_idle_connection_ends_with_a_time_out),
		ring_test(draining_ends_the_input_after_what_was_received),
		ring_test(an_idle_connection_holds_no_buffer),
		ring_test(events_get_what_was_queued_what_comes_and_the_end_once),
		ring_test(a_paused_connection_delivers_nothing_until_it_is_resumed),
		ring_test(events_are_told_when_the_output_has_room_again),
		ring_test(ready_is_called_once_until_something_was_read),
		cmocka_unit_test(
			the_worker_stays_until_what_was_written_before_a_close_has_left),
		cmocka_unit_test(the_worker_stays_until_many_connections_have_closed),
		ring_test(a_read_as_a_future_is_there_at_once_or_later),
		ring_test(a_cancelled_read_as_a_future_loses_no_byte),
		ring_test(
			a_write_as_a_future_is_settled_when_the_kernel_took_it_or_the_peer_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
