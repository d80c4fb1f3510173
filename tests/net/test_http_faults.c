/* SPDX-License-Identifier: MIT */
/*
 * test_http_faults.c - HTTP requests with bodies, and answers from a file, with the Nth
 * allocation, call, operation or transfer failing: an answer is whole, or the client can tell
 * that it is not.
 */
#include <fcntl.h>
#include <stdio.h>

#include "core/weir_coro.h"
#include "net/weir_http.h"
#include "ring/weir_file.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/nth.h"
#include "tests/support/ring_fixture.h"

#define BODY 1000	/* several buffers */

struct server {
	struct weir_listener *listener;
	struct weir_coro *coro;
	char address[WEIR_ADDR_TEXT];
};

/* --- the server --- */

static int echo_body(struct weir_http_req *req)
{
	char body[BODY];
	ssize_t n = weir_http_req_read_all(req, body, sizeof(body));

	return n < 0 ? (int)n : weir_http_reply(req, 200, NULL, body, (size_t)n);
}

/* A file of BODY bytes 'f', in pieces. */
static int send_file(struct weir_http_req *req)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_TMPFILE, .mode = 0600 };
	struct weir_file *file;
	char buf[BODY];
	int r = weir_file_open(NULL, "/tmp", &opts, &file);

	if (r < 0)
		return r;
	memset(buf, 'f', sizeof(buf));
	r = weir_file_write_all(file, buf, sizeof(buf), 0);
	if (!r)
		r = weir_http_reply_start(req, 200, NULL, WEIR_HTTP_CHUNKED);
	for (int64_t at = 0; !r && at < BODY;) {
		ssize_t n = weir_file_read(file, buf, 300, at);

		r = n > 0 ? weir_http_reply_write(req, buf, (size_t)n) : n ? (int)n : -EIO;
		at += n;
	}
	if (!r)
		r = weir_http_reply_end(req);
	weir_file_close(file);
	return r;
}

static int handle(struct weir_http_req *req, void *arg)
{
	(void)arg;
	return weir_http_req_is_path(req, "/file") ? send_file(req) : echo_body(req);
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
	const struct weir_http_opts opts = { .serve.on_listen = listening, .serve.backlog = 4 };
	int r = weir_http_serve("tcp://127.0.0.1:0", &opts, handle, server);

	server->listener = NULL;
	return r;
}

/* --- the client --- */

/* Whether text is one whole answer with what was asked for: a server's error is an error. */
static int check(const char *text, size_t size, char byte, bool chunked)
{
	const char *body = strstr(text, "\r\n\r\n");
	unsigned count = 0;

	if (!size)
		return -ECONNRESET;
	if (size < 12 || memcmp(text, "HTTP/1.1 ", 9) || !body)
		return -EPIPE;
	if (memcmp(text + 9, "200", 3))
		return -EREMOTEIO;
	for (const char *at = body + 4; *at; at++)
		count += *at == byte;
	if (chunked) {	/* a chunk's size may have an f in it */
		if (size < 5 || strcmp(text + size - 5, "0\r\n\r\n"))
			return -EPIPE;
		return count >= BODY ? 0 : -EPROTO;
	}
	return count == BODY ? 0 : -EPIPE;
}

static int ask(const char *address, const char *head, char byte, bool with_body)
{
	char text[2 * BODY], answer[4 * BODY];
	struct weir_conn *conn;
	size_t size = strlen(head), done = 0;
	ssize_t n;
	int r = weir_connect(address, NULL, &conn);

	if (r < 0)
		return r;
	memcpy(text, head, size);
	memset(text + size, byte, BODY);
	r = weir_conn_write_all(conn, text, with_body ? size + BODY : size);
	while (!r && (n = weir_conn_read(conn, answer + done, sizeof(answer) - 1 - done))) {
		if (n < 0)
			r = (int)n;
		else
			done += (size_t)n;
	}
	weir_conn_close(conn);
	answer[done] = '\0';
	return r < 0 ? r : check(answer, done, byte, !with_body);
}

static int client(void *arg)
{
	const struct server *server = arg;
	int r = ask(server->address,
		    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
		    "Connection: close\r\n\r\n",
		    'e', true);

	if (r < 0)
		return r;
	return ask(server->address, "GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		   'f', false);
}

static int with_client(struct server *server)
{
	struct weir_coro *coro;
	int r = weir_coro_spawn(NULL, client, server, &coro);

	return r < 0 ? r : nth_join(coro);
}

static int talk(void *arg)
{
	struct server server = { .listener = NULL };
	int stopped, r = weir_coro_spawn(NULL, serve, &server, &server.coro);

	(void)arg;
	if (r < 0)
		return r;
	r = weir_yield();
	if (!r && server.listener)
		r = with_client(&server);
	if (server.listener && !weir_listener_is_stopping(server.listener))
		weir_listener_stop(server.listener);
	stopped = nth_join(server.coro);
	return r ? r : stopped;
}

static int http(void *arg)
{
	struct ring_fixture fixture = ring_fixture_small();

	fixture.timeout_ns = NTH_WAIT_NS;
	return on_ring_with(&fixture, talk, arg);
}

/* --- the tests --- */

static void each_allocation_of_http_may_fail(void **state)
{
	(void)state;
	nth_allocations("http", http, NULL);
}

static void each_call_operation_and_enter_of_http_may_fail(void **state)
{
	(void)state;
	nth_calls("http", FAULT_CALL, http, NULL);
	nth_calls("http", FAULT_SQE, http, NULL);
	nth_calls("http", FAULT_ENTER, http, NULL);
	nth_calls("http", FAULT_SHORT, http, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_of_http_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_http_may_fail),
	};

	skip_if_refused();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
