/* SPDX-License-Identifier: MIT */
/*
 * test_http_faults.c - HTTP requests with bodies, and answers from files, with the Nth
 * allocation, call, operation or transfer failing: an answer is whole, or the client can tell
 * that it is not.
 */
#include <fcntl.h>
#include <stdio.h>

#include "core/weir_coro.h"
#include "net/weir_http.h"
#include "net/weir_http_files.h"
#include "ring/weir_file.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/nth.h"
#include "tests/support/ring_fixture.h"

#define BODY 1000	/* several buffers */
#define LARGE 3000	/* above file_max */

static char root_path[] = "/tmp/weir-test-http-faults-XXXXXX";

/* One file that the cache keeps, and one that is read while it is sent. */
static int make_root(void **state)
{
	static const struct {
		const char *name;
		size_t size;
	} files[] = { { "small", BODY }, { "large", LARGE } };
	char path[64];

	(void)state;
	if (!mkdtemp(root_path))
		return -1;
	for (unsigned i = 0; i < 2; i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", root_path, files[i].name);
		file = fopen(path, "w");
		if (!file)
			return -1;
		for (size_t n = 0; n < files[i].size; n++)
			putc('f', file);
		fclose(file);
	}
	return 0;
}

static int remove_root(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root_path);
	return system(command);
}

struct server {
	struct weir_http_files *files;
	struct weir_listener *listener;
	struct weir_coro *coro;
	bool ended;
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
	struct server *server = arg;

	if (weir_http_req_is_path(req, "/echo"))
		return echo_body(req);
	if (weir_http_req_is_path(req, "/file"))
		return send_file(req);
	return weir_http_files(req, server->files);
}

static void listening(struct weir_listener *listener, void *arg)
{
	struct server *server = arg;

	server->listener = listener;
	strcpy(server->address, weir_listener_address(listener));
}

static int serve_files(struct server *server)
{
	const struct weir_http_opts opts = { .serve.on_listen = listening, .serve.backlog = 4 };
	const struct weir_http_files_opts files_opts = { .file_max = 2 * BODY };
	int r = weir_http_files_create(root_path, &files_opts, &server->files);

	if (r < 0)
		return r;
	r = weir_http_serve("tcp://127.0.0.1:0", &opts, handle, server);
	server->listener = NULL;
	weir_http_files_destroy(server->files);
	return r;
}

static int serve(void *arg)
{
	struct server *server = arg;
	int r = serve_files(server);

	server->ended = true;
	return r;
}

/* --- the client --- */

struct question {
	const char *head;
	bool with_body;
	char byte;		/* of which the answer's body consists */
	size_t size;		/* so many */
	bool chunked;
};

#define HEADERS " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"

static const struct question questions[] = {
	{ "POST /echo" HEADERS "Content-Length: 1000\r\n\r\n", true, 'e', BODY, false },
	{ "GET /file" HEADERS "\r\n", false, 'f', BODY, true },
	{ "GET /small" HEADERS "\r\n", false, 'f', BODY, false },
	{ "GET /large" HEADERS "\r\n", false, 'f', LARGE, false },
};

/* Whether text is one whole answer with what was asked for: a server's error is an error. */
static int check(const struct question *question, const char *text, size_t size)
{
	const char *body = strstr(text, "\r\n\r\n");
	size_t count = 0;

	if (!size)
		return -ECONNRESET;
	if (size < 12 || memcmp(text, "HTTP/1.1 ", 9) || !body)
		return -EPIPE;
	if (memcmp(text + 9, "200", 3))
		return -EREMOTEIO;
	for (const char *at = body + 4; *at; at++)
		count += *at == question->byte;
	if (question->chunked && strcmp(text + size - 5, "0\r\n\r\n"))
		return -EPIPE;
	if (count < question->size)	/* Content-Length promised more */
		return question->chunked ? -EPROTO : -EPIPE;
	return question->chunked || count == question->size ? 0 : -EPROTO;
}

static int ask(const char *address, const struct question *question)
{
	char text[2 * BODY], answer[2 * LARGE];
	struct weir_conn *conn;
	size_t size = strlen(question->head), done = 0;
	ssize_t n;
	int r = weir_connect(address, NULL, &conn);

	if (r < 0)
		return r;
	memcpy(text, question->head, size);
	memset(text + size, question->byte, BODY);
	r = weir_conn_write_all(conn, text, question->with_body ? size + BODY : size);
	while (!r && (n = weir_conn_read(conn, answer + done, sizeof(answer) - 1 - done))) {
		if (n < 0)
			r = (int)n;
		else
			done += (size_t)n;
	}
	weir_conn_close(conn);
	answer[done] = '\0';
	return r < 0 ? r : check(question, answer, done);
}

static int client(void *arg)
{
	const struct server *server = arg;
	int r = 0;

	for (unsigned i = 0; i < sizeof(questions) / sizeof(questions[0]) && !r; i++)
		r = ask(server->address, &questions[i]);
	return r;
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
	while (!r && !server.listener && !server.ended)
		r = weir_sleep(10 * WEIR_US);
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

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
