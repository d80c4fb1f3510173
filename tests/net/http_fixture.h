/* SPDX-License-Identifier: MIT */
/*
 * http_fixture.h - an HTTP server and its client as coroutines of one worker, over real
 * sockets: what a test waits for is an event, and where input is split is decided, not hoped.
 */
#ifndef WEIR_TESTS_HTTP_FIXTURE_H
#define WEIR_TESTS_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/conn.h"
#include "net/weir_http.h"
#include "tests/support/ring_fixture.h"

struct http_server {
	const char *address;	/* default: a free port of 127.0.0.1 */
	struct weir_http_opts opts;
	weir_http_fn handler;
	struct weir_coro *coro;
	struct weir_listener *listener;
	char bound[WEIR_ADDR_TEXT];
	int requests;
	int last;		/* what the handler last noted */
	size_t seen;
};

static inline void http_listening(struct weir_listener *listener, void *arg)
{
	struct http_server *server = arg;

	server->listener = listener;
	strcpy(server->bound, weir_listener_address(listener));
}

static inline int http_serve(void *arg)
{
	struct http_server *server = arg;

	server->opts.serve.on_listen = http_listening;
	return weir_http_serve(server->address ? server->address : "tcp://127.0.0.1:0",
			       &server->opts, server->handler, server);
}

static inline void http_start(struct http_server *server)
{
	const struct weir_coro_opts opts = { .name = "server" };

	assert_int_equal(weir_coro_spawn(&opts, http_serve, server, &server->coro), 0);
	assert_int_equal(weir_yield(), 0);
	assert_non_null(server->listener);
}

static inline int http_join(struct http_server *server)
{
	int res = 1;

	assert_int_equal(weir_coro_join(server->coro, WEIR_NEVER, &res), 0);
	server->listener = NULL;
	return res;
}

static inline int http_stop(struct http_server *server)
{
	weir_listener_stop(server->listener);
	return http_join(server);
}

static inline struct weir_conn *http_connect(struct http_server *server)
{
	struct weir_conn *conn = NULL;

	assert_int_equal(weir_connect(server->bound, NULL, &conn), 0);
	return conn;
}

static inline struct weir_net *http_net(void)
{
	return weir__self->net;
}

/* The server's end of the newest connection, or NULL. */
static inline struct weir_conn *http_peer(void)
{
	struct weir_node *all = &http_net()->all;

	for (struct weir_node *node = all->prev; node != all; node = node->prev) {
		struct weir_conn *conn = weir_container_of(node, struct weir_conn, node);

		if (conn->owner)
			return conn->closing ? NULL : conn;
	}
	return NULL;
}

/* Lets turns pass until the server has received size bytes, or closed. */
static inline void http_wait_received(size_t size)
{
	struct weir_conn *peer;

	do {
		assert_int_equal(weir_yield(), 0);
		peer = http_peer();
	} while (peer && weir_conn_bytes_in(peer) < size);
}

static inline void http_wait_accepted(unsigned conns)
{
	struct weir_listener_info info;

	(void)info;
	while (http_net()->conns.in_use < conns)
		assert_int_equal(weir_yield(), 0);
}

static inline void http_wait_closed(void)
{
	while (http_net()->conns.in_use)
		assert_int_equal(weir_yield(), 0);
}

static inline void http_send(struct weir_conn *conn, const void *data, size_t size)
{
	assert_int_equal(weir_conn_write_all(conn, data, size), 0);
	assert_int_equal(weir_conn_flush(conn), 0);
}

static inline void http_say(struct weir_conn *conn, const char *text)
{
	http_send(conn, text, strlen(text));
}

/* Reads to the end of the connection. Returns the size; buf gets a NUL. */
static inline size_t http_hear_all(struct weir_conn *conn, char *buf, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size - 1 && (n = weir_conn_read(conn, buf + done, size - 1 - done)) > 0)
		done += (size_t)n;
	buf[done] = '\0';
	return done;
}

/* Reads one answer with a Content-Length (or without a body) into buf. Returns its status. */
static inline int http_hear(struct weir_conn *conn, char *buf, size_t size, bool has_body)
{
	size_t done = 0, length;
	char *end, *line;

	do {
		assert_int_equal(weir_conn_read_exact(conn, buf + done, 1), 1);
		buf[++done] = '\0';
		assert_true(done < size - 1);
	} while (!(end = strstr(buf, "\r\n\r\n")));
	line = strstr(buf, "Content-Length: ");
	length = line && has_body ? strtoul(line + 16, NULL, 10) : 0;
	assert_true(done + length < size);
	if (length)
		assert_int_equal(weir_conn_read_exact(conn, buf + done, length), length);
	buf[done + length] = '\0';
	return atoi(buf + 9);
}

#endif
