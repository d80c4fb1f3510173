/* SPDX-License-Identifier: MIT */
/*
 * test_http_server.c - how the HTTP server behaves: answers, connections that stay or
 * end, time, bounds, drains.
 */
#include <stdio.h>
#include <unistd.h>

#include "core/weir_coro.h"
#include "net/http.h"
#include "tests/net/http_fixture.h"

/* --- a handler for everything; the path says what it does --- */

static struct weir_wait *held;	/* whoever came to /hold */
static char big[300000];
static int released;

static void count_release(void *arg)
{
	(void)arg;
	released++;
}

static int hold(struct weir_http_req *req)
{
	struct weir_wait wait;

	weir__wait_init(&wait);
	held = &wait;
	weir__wait_park(&wait, "hold", NULL, WEIR_NEVER);
	held = NULL;
	return weir_http_reply(req, 200, NULL, "held", 4);
}

static int stream(struct weir_http_req *req, int64_t size, int parts)
{
	int r = weir_http_reply_start(req, 200, NULL, size);

	for (int i = 0; !r && i < parts; i++)
		r = weir_http_reply_write(req, "0123456789", 10);
	return r < 0 ? r : weir_http_reply_end(req);
}

static int lend(struct weir_http_req *req, int64_t size)
{
	int r = weir_http_reply_start(req, 200, NULL, size);

	if (!r)
		r = weir_http_reply_lend(req, big, sizeof(big), count_release, NULL);
	return r < 0 ? r : weir_http_reply_end(req);
}

static int swallow(struct weir_http_req *req, struct http_server *server)
{
	char buf[1000];
	ssize_t n;

	server->seen = 0;
	while ((n = weir_http_req_read(req, buf, sizeof(buf))) > 0)
		server->seen += (size_t)n;
	server->last = (int)n;
	return n < 0 ? (int)n : weir_http_reply(req, 200, NULL, "done", 4);
}

static int locals(struct weir_http_req *req)
{
	const char *was = weir_coro_local_get(0) ? "kept" : "none";

	weir_coro_local_set(0, &released, NULL);
	return weir_http_reply(req, 200, NULL, was, 4);
}

static int handle(struct weir_http_req *req, void *arg)
{
	struct http_server *server = arg;
	struct weir_http_text path = weir_http_req_path(req);
	char name[32];

	server->requests++;
	snprintf(name, sizeof(name), "%.*s", (int)path.size, path.data);
	if (name[1] == '-')
		return -atoi(name + 2);
	if (name[1] >= '2' && name[1] <= '5')
		return weir_http_reply(req, atoi(name + 1), NULL, "text", 4);
	if (!strcmp(name, "/hold"))
		return hold(req);
	if (!strcmp(name, "/big"))
		return weir_http_reply(req, 200, NULL, big, sizeof(big));
	if (!strcmp(name, "/lend"))
		return lend(req, sizeof(big));
	if (!strcmp(name, "/lend-chunk"))
		return lend(req, WEIR_HTTP_CHUNKED);
	if (!strcmp(name, "/stream"))
		return stream(req, 30, 3);
	if (!strcmp(name, "/chunks"))
		return stream(req, WEIR_HTTP_CHUNKED, 3);
	if (!strcmp(name, "/short"))
		return server->last = stream(req, 30, 2);
	if (!strcmp(name, "/long"))
		return server->last = stream(req, 15, 2);
	if (!strcmp(name, "/swallow"))
		return swallow(req, server);
	if (!strcmp(name, "/locals"))
		return locals(req);
	if (!strcmp(name, "/nothing"))
		return 0;
	return weir_http_reply(req, 200, NULL, "hello", 5);
}

#define HOST " HTTP/1.1\r\nHost: a\r\n"
#define GET(path) "GET " path HOST "\r\n"

/* Asks on a connection of its own, and reads to its end. Returns the status. */
static int ask(struct http_server *server, const char *request, char *buf, size_t size)
{
	struct weir_conn *conn = http_connect(server);

	http_say(conn, request);
	weir_conn_shutdown(conn);
	http_hear_all(conn, buf, size);
	weir_conn_close(conn);
	http_wait_closed();
	return strlen(buf) > 12 ? atoi(buf + 9) : 0;
}

static int count_coro(const struct weir_coro_info *info, void *arg)
{
	(void)info;
	++*(int *)arg;
	return 0;
}

/* --- connections --- */

static void an_idle_connection_holds_no_stack_and_no_buffer(void)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *conn;
	char buf[1024];
	int coros = 0;

	static_assert(sizeof(struct weir_http_conn) <= 64, "one cache line a connection");
	static_assert(sizeof(struct weir_conn) + 64 <= 512, "an idle connection in 512 bytes");
	http_start(&server);
	conn = http_connect(&server);
	for (int i = 0; i < 3; i++) {
		http_say(conn, GET("/"));
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
	}
	assert_int_equal(weir_yield(), 0);
	weir_coro_list(count_coro, &coros);
	assert_int_equal(coros, 2);	/* this one and the server's */
	assert_int_equal(http_net()->ring->bufs.lent, 0);
	assert_int_equal(http_net()->chunks.in_use, 0);
	weir_conn_close(conn);
	http_wait_closed();
	assert_int_equal(http_stop(&server), 0);
}

static void a_connection_stays_or_ends_as_was_agreed(void)
{
	static const struct {
		const char *request;
		const char *connection;	/* header of the answer */
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", NULL },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "close" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", "close" },
		{ "GET / HTTP/1.0\r\n\r\n", "close" },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "keep-alive" },
	};
	struct http_server server = { .handler = handle };

	http_start(&server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct weir_conn *conn = http_connect(&server);
		char buf[1024], want[64] = "";
		bool stays = !cases[i].connection || strcmp(cases[i].connection, "close");

		http_say(conn, cases[i].request);
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
		if (cases[i].connection) {
			snprintf(want, sizeof(want), "\r\nConnection: %s\r\n", cases[i].connection);
			assert_non_null(strstr(buf, want));
		} else {
			assert_null(strstr(buf, "Connection:"));
		}
		if (stays) {
			http_say(conn, GET("/"));
			assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
		} else {
			assert_int_equal(weir_conn_read(conn, buf, 1), 0);
		}
		weir_conn_close(conn);
		http_wait_closed();
	}
	assert_int_equal(http_stop(&server), 0);
}

static void a_connection_ends_after_requests_max(void)
{
	struct http_server server = { .handler = handle, .opts = { .requests_max = 3 } };
	struct weir_conn *conn;
	char buf[4096];

	http_start(&server);
	conn = http_connect(&server);
	http_say(conn, GET("/") GET("/") GET("/") GET("/"));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
		assert_int_equal(!strstr(buf, "Connection: close"), i < 2);
	}
	assert_int_equal(weir_conn_read(conn, buf, 1), 0);
	assert_int_equal(server.requests, 3);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

/* --- answers --- */

static void answers_have_the_body_their_status_and_method_allow(void)
{
	struct http_server server = { .handler = handle };
	char buf[4096];

	http_start(&server);
	assert_int_equal(ask(&server, GET("/200"), buf, sizeof(buf)), 200);
	assert_string_equal(strstr(buf, "\r\n\r\n"), "\r\n\r\ntext");
	assert_non_null(strstr(buf, "\r\nContent-Length: 4\r\n"));
	assert_non_null(strstr(buf, "\r\nDate: "));
	assert_int_equal(ask(&server, "HEAD /200" HOST "\r\n", buf, sizeof(buf)), 200);
	assert_string_equal(strstr(buf, "\r\n\r\n"), "\r\n\r\n");
	assert_non_null(strstr(buf, "\r\nContent-Length: 4\r\n"));
	assert_int_equal(ask(&server, GET("/204"), buf, sizeof(buf)), 204);
	assert_string_equal(strstr(buf, "\r\n\r\n"), "\r\n\r\n");
	assert_null(strstr(buf, "Content-Length"));
	assert_int_equal(ask(&server, GET("/304"), buf, sizeof(buf)), 304);
	assert_string_equal(strstr(buf, "\r\n\r\n"), "\r\n\r\n");
	assert_int_equal(ask(&server, GET("/503"), buf, sizeof(buf)), 503);
	assert_non_null(strstr(buf, "HTTP/1.1 503 Service Unavailable\r\n"));
	/* A status without a name. */
	assert_int_equal(ask(&server, GET("/299"), buf, sizeof(buf)), 299);
	assert_non_null(strstr(buf, "HTTP/1.1 299 \r\n"));
	assert_int_equal(http_stop(&server), 0);
}

static void an_error_of_the_handler_becomes_a_status(void)
{
	static const struct {
		int error, status;
	} cases[] = {
		{ ENOENT, 404 }, { EACCES, 403 }, { EPERM, 403 },    { EINVAL, 400 },
		{ EPROTO, 400 }, { EMSGSIZE, 413 }, { ETIMEDOUT, 503 }, { EAGAIN, 503 },
		{ ENOBUFS, 503 }, { ENOMEM, 503 }, { EIO, 500 },	  { EPIPE, 500 },
	};
	struct http_server server = { .handler = handle };
	char buf[4096], request[64];

	http_start(&server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(request, sizeof(request), GET("/-%d"), cases[i].error);
		assert_int_equal(ask(&server, request, buf, sizeof(buf)), cases[i].status);
	}
	assert_int_equal(ask(&server, GET("/nothing"), buf, sizeof(buf)), 500);
	assert_int_equal(http_stop(&server), 0);
}

static void large_and_lent_bodies_arrive_whole(void)
{
	static const char *const requests[] = { GET("/big"), GET("/lend") };
	static char buf[400000];
	struct http_server server = { .handler = handle };

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 23);
	http_start(&server);
	for (int i = 0; i < 2; i++) {
		struct weir_conn *conn = http_connect(&server);
		char *body;

		http_say(conn, requests[i]);
		http_say(conn, GET("/"));
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
		body = strstr(buf, "\r\n\r\n") + 4;
		assert_int_equal(strlen(body), sizeof(big));
		assert_memory_equal(body, big, sizeof(big));
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
		assert_int_equal(released, i);
		weir_conn_close(conn);
		http_wait_closed();
	}
	/* HEAD: told that it is over, nothing is sent. */
	assert_int_equal(ask(&server, "HEAD /lend" HOST "\r\n", buf, sizeof(buf)), 200);
	assert_int_equal(released, 2);
	assert_int_equal(ask(&server, GET("/lend-chunk"), buf, sizeof(buf)), 200);
	assert_non_null(strstr(buf, "\r\n\r\n493e0\r\nabcdefgh"));
	assert_non_null(strstr(buf, "\r\n0\r\n\r\n"));
	assert_int_equal(released, 3);
	assert_int_equal(http_stop(&server), 0);
}

static void streams_are_framed_for_whom_they_are(void)
{
	struct http_server server = { .handler = handle };
	char buf[4096];

	http_start(&server);
	ask(&server, GET("/stream"), buf, sizeof(buf));
	assert_string_equal(strstr(buf, "\r\n\r\n"),
			    "\r\n\r\n012345678901234567890123456789");
	ask(&server, GET("/chunks"), buf, sizeof(buf));
	assert_non_null(strstr(buf, "\r\nTransfer-Encoding: chunked\r\n"));
	assert_null(strstr(buf, "Content-Length"));
	assert_string_equal(strstr(buf, "\r\n\r\n") + 4,
			    "a\r\n0123456789\r\na\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n");
	ask(&server, "HEAD /chunks" HOST "\r\n", buf, sizeof(buf));
	assert_string_equal(strstr(buf, "\r\n\r\n"), "\r\n\r\n");
	/* An HTTP/1.0 peer knows no chunks: the end is the connection's. */
	ask(&server, "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", buf, sizeof(buf));
	assert_null(strstr(buf, "Transfer-Encoding"));
	assert_non_null(strstr(buf, "\r\nConnection: close\r\n"));
	assert_string_equal(strstr(buf, "\r\n\r\n"),
			    "\r\n\r\n012345678901234567890123456789");
	assert_int_equal(http_stop(&server), 0);
}

/* Whoever reads it must not take it for whole, and the next answer must not be read as its rest. */
static void an_answer_that_breaks_its_promise_is_cut(void)
{
	struct http_server server = { .handler = handle };
	char buf[4096];

	http_start(&server);
	ask(&server, GET("/short") GET("/"), buf, sizeof(buf));
	assert_int_equal(server.last, -EPROTO);
	assert_null(strstr(buf, "hello"));
	ask(&server, GET("/long") GET("/"), buf, sizeof(buf));
	assert_int_equal(server.last, -EPROTO);
	assert_null(strstr(buf, "hello"));
	assert_int_equal(server.requests, 2);
	assert_int_equal(http_stop(&server), 0);
}

/* --- bodies --- */

static void a_body_is_asked_for_when_it_is_read(void)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *conn;
	char buf[4096];

	http_start(&server);
	conn = http_connect(&server);
	http_say(conn, "POST /swallow" HOST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n");
	assert_int_equal(http_hear(conn, buf, sizeof(buf), false), 100);
	assert_string_equal(buf, "HTTP/1.1 100 Continue\r\n\r\n");
	http_say(conn, "hello");
	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
	assert_int_equal(server.seen, 5);
	weir_conn_close(conn);
	/* Not asked for: whether it comes is open, so nothing can follow. */
	assert_int_equal(ask(&server, "POST /" HOST "Expect: 100-continue\r\n"
				      "Content-Length: 5\r\n\r\n", buf, sizeof(buf)),
			 200);
	assert_non_null(strstr(buf, "Connection: close"));
	assert_int_equal(ask(&server, "POST /" HOST "Expect: 100-continue\r\n"
				      "Transfer-Encoding: chunked\r\n\r\n", buf, sizeof(buf)),
			 200);
	assert_non_null(strstr(buf, "Connection: close"));
	assert_int_equal(http_stop(&server), 0);
}

static void a_small_unread_body_is_dropped_and_a_large_one_ends_the_connection(void)
{
	struct http_server server = { .handler = handle, .opts = { .drain_max = 1000 } };
	struct weir_conn *conn;
	static char body[200000];
	char buf[4096];

	memset(body, 'x', sizeof(body));
	http_start(&server);
	conn = http_connect(&server);
	http_say(conn, "POST /" HOST "Content-Length: 1000\r\n\r\n");
	http_send(conn, body, 1000);
	http_say(conn, "POST /" HOST "Transfer-Encoding: chunked\r\n\r\n3e8\r\n");
	http_send(conn, body, 1000);
	http_say(conn, "\r\n0\r\n\r\n" GET("/"));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
		assert_null(strstr(buf, "Connection: close"));
	}
	/* The answer must arrive although much of what we send is never read. */
	http_say(conn, "POST /" HOST "Content-Length: 200000\r\n\r\n");
	weir_conn_write_all(conn, body, sizeof(body));
	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
	assert_non_null(strstr(buf, "Connection: close"));
	assert_int_equal(weir_conn_read(conn, buf, 1), 0);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

static void a_body_larger_than_all_buffers_is_read(void)
{
	struct http_server server = { .handler = handle, .opts = { .body_max = -1 } };
	struct weir_conn *conn;
	char buf[4096];

	http_start(&server);
	conn = http_connect(&server);
	http_say(conn, "POST /swallow" HOST "Content-Length: 3000000\r\n\r\n");
	for (int i = 0; i < 10; i++)
		assert_int_equal(weir_conn_write_all(conn, big, sizeof(big)), 0);
	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
	assert_int_equal(server.seen, 3000000);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

static void a_body_that_ends_early_is_an_error(void)
{
	struct http_server server = { .handler = handle };
	char buf[4096];

	http_start(&server);
	assert_int_equal(ask(&server, "POST /swallow" HOST "Content-Length: 6\r\n\r\nhello", buf,
			     sizeof(buf)),
			 400);
	assert_int_equal(server.last, -EPIPE);
	assert_int_equal(ask(&server,
			     "POST /swallow" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhe", buf,
			     sizeof(buf)),
			 400);
	assert_int_equal(server.last, -EPIPE);
	assert_int_equal(http_stop(&server), 0);
}

/* --- time --- */

/* Slowloris: a byte now and then must not buy more time. */
static void a_head_has_an_absolute_deadline(void)
{
	struct http_server server = { .handler = handle, .opts = { .head_ns = 40 * WEIR_MS } };
	struct weir_conn *conn;
	int64_t begin = weir_now();
	char buf[4096];

	http_start(&server);
	conn = http_connect(&server);
	http_say(conn, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	while (!weir_conn_is_readable(conn)) {
		assert_int_equal(weir_conn_write_all(conn, "y", 1), 0);
		assert_int_equal(weir_sleep(5 * WEIR_MS), 0);
		assert_true(weir_now() - begin < 5 * WEIR_S);
	}
	assert_true(weir_now() - begin >= 40 * WEIR_MS);
	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 408);
	assert_int_equal(weir_conn_read(conn, buf, 1), 0);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

static void an_idle_connection_ends_in_time(void)
{
	struct http_server server = { .handler = handle, .opts = { .idle_ns = 30 * WEIR_MS } };
	struct weir_conn *silent, *conn;
	int64_t begin;
	char buf[4096];

	http_start(&server);
	begin = weir_now();
	silent = http_connect(&server);
	conn = http_connect(&server);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(weir_sleep(10 * WEIR_MS), 0);
		http_say(conn, GET("/"));
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
	}
	assert_int_equal(weir_conn_read(silent, buf, 1), 0);
	assert_true(weir_now() - begin >= 30 * WEIR_MS);
	begin = weir_now();
	assert_int_equal(weir_conn_read(conn, buf, 1), 0);
	assert_true(weir_now() - begin < 5 * WEIR_S);
	assert_int_equal(server.requests, 4);
	weir_conn_close(silent);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

static void a_body_that_stops_is_noticed(void)
{
	struct http_server server = { .handler = handle, .opts = { .body_ns = 30 * WEIR_MS } };
	struct weir_conn *conn;
	char buf[4096];

	http_start(&server);
	conn = http_connect(&server);
	http_say(conn, "POST /swallow" HOST "Content-Length: 6\r\n\r\nhello");
	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 408);
	assert_int_equal(server.last, -ETIMEDOUT);
	assert_int_equal(weir_conn_read(conn, buf, 1), 0);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

static void a_peer_that_does_not_read_is_cut(void)
{
	struct http_server server = { .handler = handle, .opts = { .write_ns = 50 * WEIR_MS } };
	struct weir_conn *conn;

	http_start(&server);
	conn = http_connect(&server);
	weir_conn_pause(conn);
	/* More than the sockets' buffers take. */
	for (int i = 0; i < 40; i++)
		http_say(conn, GET("/big"));
	while (http_net()->conns.in_use > 1)
		assert_int_equal(weir_sleep(WEIR_MS), 0);
	assert_true(server.requests < 40);
	weir_conn_abort(conn);
	assert_int_equal(http_stop(&server), 0);
}

/* The server's end, also when it is closing already. */
static struct weir_conn *server_end(void)
{
	struct weir_node *all = &http_net()->all;

	for (struct weir_node *node = all->next; node != all; node = node->next) {
		struct weir_conn *conn = weir_container_of(node, struct weir_conn, node);

		if (conn->owner)
			return conn;
	}
	return NULL;
}

/* Closing gives what is left 5 s: a slow download would be cut. */
static void a_slow_peer_gets_all_of_its_answers(void)
{
	struct http_server server = { .handler = handle, .opts = { .idle_ns = 20 * WEIR_MS } };
	static char buf[64 << 10];
	size_t got = 0, wanted = 0;
	char address[64];

	/* A Unix socket takes 200 KiB and not, as TCP learns to, all that there is. */
	snprintf(address, sizeof(address), "unix:@weir-slow-%d", getpid());
	server.address = address;
	http_start(&server);
	for (int ends = 0; ends < 2; ends++) {
		struct weir_conn *conn = http_connect(&server);
		ssize_t n;

		weir_conn_pause(conn);
		for (int i = 0; i < 29; i++)
			http_say(conn, GET("/lend"));
		http_say(conn, ends ? "GET /lend HTTP/1.0\r\n\r\n" : GET("/lend"));
		wanted = 30 * sizeof(big);
		for (got = 0; got < wanted; got += (size_t)n) {
			struct weir_conn *peer = server_end();
			/* All was answered, the last of it still waits for room. */
			bool slow = peer && server.requests % 30 == 0;

			assert_true(!peer || !peer->closing || peer->out_pending <= 16 << 10);
			weir_conn_resume(conn);
			n = weir_conn_read(conn, buf, slow ? 4096 : sizeof(buf));
			assert_true(n > 0);
			weir_conn_pause(conn);
			if (slow)
				assert_int_equal(weir_sleep(WEIR_MS), 0);
		}
		weir_conn_close(conn);
		http_wait_closed();
	}
	assert_int_equal(http_stop(&server), 0);
}

/* --- bounds --- */

/* dragonfly#4182: one client that pipelines and does not read made the server's memory grow. */
static void parsing_stops_while_answers_are_not_taken(void)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *conn, *peer;
	static char buf[400000];
	unsigned high = 0;

	http_start(&server);
	conn = http_connect(&server);
	weir_conn_pause(conn);
	for (int i = 0; i < 60; i++)
		assert_int_equal(weir_conn_write_all(conn, GET("/lend"), strlen(GET("/lend"))), 0);
	http_wait_received(60 * strlen(GET("/lend")));
	peer = http_peer();
	for (int i = 0; i < 50; i++) {
		assert_int_equal(weir_sleep(WEIR_MS), 0);
		if (weir_conn_pending(peer) > high)
			high = (unsigned)weir_conn_pending(peer);
	}
	assert_true(server.requests < 60);
	/* The high mark, and what the last answer put on top of it. */
	assert_true(high < (256 << 10) + sizeof(big) + 4096);
	weir_conn_resume(conn);
	for (int i = 0; i < 60; i++)
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
	assert_int_equal(server.requests, 60);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

/* dragonfly#6192: the answers of one read leave in one send. */
static void pipelined_answers_leave_together(void)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *conn;
	char all[16 * 64] = "", buf[4096];
	ssize_t n;

	http_start(&server);
	conn = http_connect(&server);
	for (int i = 0; i < 16; i++)
		strcat(all, GET("/"));
	http_say(conn, all);
	n = weir_conn_read(conn, buf, sizeof(buf));
	assert_int_equal(n % 16, 0);
	assert_true(n > 16 * 60);
	assert_int_equal(server.requests, 16);
	weir_conn_close(conn);
	assert_int_equal(http_stop(&server), 0);
}

static void a_handler_that_waits_holds_up_nobody_else(void)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *waiting, *others[8];
	char buf[4096];

	http_start(&server);
	waiting = http_connect(&server);
	for (int i = 0; i < 8; i++)
		others[i] = http_connect(&server);
	http_wait_accepted(18);
	/* All become ready in one turn; the first served waits. */
	assert_int_equal(weir_conn_write_all(waiting, GET("/hold"), strlen(GET("/hold"))), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(weir_conn_write_all(others[i], GET("/"), strlen(GET("/"))), 0);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(http_hear(others[i], buf, sizeof(buf), true), 200);
		weir_conn_close(others[i]);
	}
	assert_non_null(held);
	assert_false(weir_conn_is_readable(waiting));
	weir__wait_wake(held, 0);
	assert_int_equal(http_hear(waiting, buf, sizeof(buf), true), 200);
	weir_conn_close(waiting);
	assert_int_equal(http_stop(&server), 0);
}

static void local_data_of_a_request_is_not_the_next_ones(void)
{
	static const char request[] = GET("/locals");
	struct http_server server = { .handler = handle };
	struct weir_conn *conns[4];
	char buf[4096];

	http_start(&server);
	for (int i = 0; i < 4; i++)
		conns[i] = http_connect(&server);
	http_wait_accepted(8);
	for (int i = 0; i < 4; i++)
		assert_int_equal(weir_conn_write_all(conns[i], request, strlen(request)), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(http_hear(conns[i], buf, sizeof(buf), true), 200);
		assert_non_null(strstr(buf, "none"));
		weir_conn_close(conns[i]);
	}
	assert_int_equal(http_stop(&server), 0);
}

static int run_with_few_coros(void *arg)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *one, *two;
	struct weir_listener_info info;
	char buf[4096];

	(void)arg;
	http_start(&server);
	one = http_connect(&server);
	http_say(one, GET("/hold"));
	http_wait_received(1);
	while (!held)
		assert_int_equal(weir_yield(), 0);
	two = http_connect(&server);
	weir_conn_write_all(two, GET("/"), strlen(GET("/")));
	assert_true(weir_conn_read(two, buf, 1) <= 0);
	weir_conn_close(two);
	weir_listener_info(server.listener, &info);
	assert_int_equal(info.refused, 1);
	weir__wait_wake(held, 0);
	assert_int_equal(http_hear(one, buf, sizeof(buf), true), 200);
	http_say(one, GET("/"));
	assert_int_equal(http_hear(one, buf, sizeof(buf), true), 200);
	weir_conn_close(one);
	return http_stop(&server);
}

static void without_a_coroutine_a_request_is_refused_and_others_are_served(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();

	(void)state;
	fixture.worker.coros.coros_max = 3;
	assert_int_equal(on_ring_with(&fixture, run_with_few_coros, NULL), 0);
}

/* 64 receive buffers, and more handlers than that which keep their request while they wait. */
static int slow(struct weir_http_req *req, void *arg)
{
	struct weir_http_text x = weir_http_req_header(req, "X");
	struct http_server *server = arg;
	char text[8];

	if (++server->requests < 90)
		while (server->requests < 90)
			weir_sleep(WEIR_MS);
	memcpy(text, x.data, 3);
	return weir_http_reply(req, 200, NULL, text, 3);
}

static int raw_client(struct http_server *server)
{
	struct weir_addr addr;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(weir_addr_parse(server->bound, &addr, NULL), 0);
	assert_int_equal(connect(fd, &addr.sock.any, addr.size), 0);
	return fd;
}

static void waiting_handlers_do_not_use_up_the_receive_buffers(void)
{
	struct http_server server = { .handler = slow };
	char buf[4096], want[16];
	int fds[90];

	/* The clients' sockets are not in the ring: they take none of its buffers. */
	http_start(&server);
	for (int i = 0; i < 90; i++) {
		int size = snprintf(buf, sizeof(buf), "GET /" HOST "X: %03d\r\n\r\n", i);

		fds[i] = raw_client(&server);
		assert_int_equal(write(fds[i], buf, (size_t)size), size);
	}
	for (int i = 0; i < 90; i++) {
		ssize_t n;

		while ((n = recv(fds[i], buf, sizeof(buf) - 1, MSG_DONTWAIT)) < 0)
			assert_int_equal(weir_yield(), 0);
		buf[n] = '\0';
		snprintf(want, sizeof(want), "\r\n\r\n%03d", i);
		assert_string_equal(strstr(buf, "\r\n\r\n"), want);
		close(fds[i]);
	}
	assert_int_equal(http_stop(&server), 0);
}

/* --- the end --- */

static void a_drain_finishes_what_has_begun_and_closes_the_idle(void)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *idle, *busy, *upload;
	char buf[4096];

	http_start(&server);
	idle = http_connect(&server);
	busy = http_connect(&server);
	upload = http_connect(&server);
	http_say(idle, GET("/"));
	assert_int_equal(http_hear(idle, buf, sizeof(buf), true), 200);
	http_say(busy, GET("/hold"));
	http_say(upload, "POST /swallow" HOST "Content-Length: 10\r\n\r\nhello");
	while (!held || server.requests < 3)
		assert_int_equal(weir_yield(), 0);
	weir__worker_drain(weir__self);
	assert_int_equal(weir_conn_read(idle, buf, 1), 0);
	weir__wait_wake(held, 0);
	http_say(upload, "world");
	assert_int_equal(http_hear(upload, buf, sizeof(buf), true), 200);
	assert_non_null(strstr(buf, "Connection: close"));
	assert_int_equal(server.seen, 10);
	assert_int_equal(http_hear(busy, buf, sizeof(buf), true), 200);
	assert_non_null(strstr(buf, "Connection: close"));
	weir_conn_close(idle);
	weir_conn_close(busy);
	weir_conn_close(upload);
	assert_int_equal(http_join(&server), 0);
}

static void cancelling_the_server_ends_waiting_requests(void)
{
	struct http_server server = { .handler = handle };
	struct weir_conn *upload;
	char buf[64];

	http_start(&server);
	upload = http_connect(&server);
	http_say(upload, "POST /swallow" HOST "Content-Length: 10\r\n\r\nhello");
	while (server.seen < 5)
		assert_int_equal(weir_yield(), 0);
	weir_coro_cancel(server.coro);
	assert_int_equal(http_join(&server), -ECANCELED);
	assert_int_equal(server.last, -ECANCELED);
	http_hear_all(upload, buf, sizeof(buf));
	weir_conn_close(upload);
}

static void options_out_of_range_are_refused(void)
{
	struct weir_http_opts opts = { .head_max = 61 << 10 };

	assert_int_equal(weir_http_serve("tcp://127.0.0.1:0", &opts, handle, NULL), -EINVAL);
	opts = (struct weir_http_opts){ .fields_max = 101 };
	assert_int_equal(weir_http_serve("tcp://127.0.0.1:0", &opts, handle, NULL), -EINVAL);
	opts = (struct weir_http_opts){ .idle_ns = -1 };
	assert_int_equal(weir_http_serve("tcp://127.0.0.1:0", &opts, handle, NULL), -EINVAL);
	assert_int_equal(weir_http_serve("tcp://nowhere", NULL, handle, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(an_idle_connection_holds_no_stack_and_no_buffer),
		ring_test(a_connection_stays_or_ends_as_was_agreed),
		ring_test(a_connection_ends_after_requests_max),
		ring_test(answers_have_the_body_their_status_and_method_allow),
		ring_test(an_error_of_the_handler_becomes_a_status),
		ring_test(large_and_lent_bodies_arrive_whole),
		ring_test(streams_are_framed_for_whom_they_are),
		ring_test(an_answer_that_breaks_its_promise_is_cut),
		ring_test(a_body_is_asked_for_when_it_is_read),
		ring_test(a_small_unread_body_is_dropped_and_a_large_one_ends_the_connection),
		ring_test(a_body_larger_than_all_buffers_is_read),
		ring_test(a_body_that_ends_early_is_an_error),
		ring_test(a_head_has_an_absolute_deadline),
		ring_test(an_idle_connection_ends_in_time),
		ring_test(a_body_that_stops_is_noticed),
		ring_test(a_peer_that_does_not_read_is_cut),
		ring_test(a_slow_peer_gets_all_of_its_answers),
		ring_test(parsing_stops_while_answers_are_not_taken),
		ring_test(pipelined_answers_leave_together),
		ring_test(a_handler_that_waits_holds_up_nobody_else),
		ring_test(local_data_of_a_request_is_not_the_next_ones),
		cmocka_unit_test(without_a_coroutine_a_request_is_refused_and_others_are_served),
		ring_test(waiting_handlers_do_not_use_up_the_receive_buffers),
		ring_test(a_drain_finishes_what_has_begun_and_closes_the_idle),
		ring_test(cancelling_the_server_ends_waiting_requests),
		ring_test(options_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
