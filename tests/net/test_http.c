/* SPDX-License-Identifier: MIT */
/*
 * test_http.c - what is a request and what is not. Every case is sent whole and split in two
 * at every byte, since where TCP splits must not change what is understood.
 */
#include <stdio.h>

#include "net/http.h"
#include "tests/net/http_fixture.h"

/* Answers with all that was understood of the request. */
static int describe(struct weir_http_req *req, void *arg)
{
	struct weir_http_text method = weir_http_req_method_name(req);
	struct weir_http_text path = weir_http_req_path(req);
	struct weir_http_text query = weir_http_req_query(req);
	struct weir_http_text x = weir_http_req_header(req, "x-test");
	struct http_server *server = arg;
	char body[512];
	static char text[20000];
	ssize_t n;
	int size;

	server->requests++;
	n = weir_http_req_read_all(req, body, sizeof(body));
	if (n < 0)
		return (int)n;
	size = snprintf(text, sizeof(text), "%.*s|%.*s|%.*s|%.*s|%.*s", (int)method.size,
			method.data, (int)path.size, path.data, (int)query.size,
			query.data ? query.data : "", (int)x.size, x.data ? x.data : "", (int)n,
			body);
	return weir_http_reply(req, 200, NULL, text, (size_t)size);
}

#define STEP INT64_C(86399977)

static struct http_server server = { .handler = describe };

/* --- requests that are understood --- */

#define HOST "Host: a.example:80\r\n"

static const struct {
	const char *request;
	const char *answer;
} good[] = {
	{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET|/|||" },
	{ "GET /a%20b/..?c=d&e HTTP/1.1\r\n" HOST "X-Test:  v w \t\r\n\r\n",
	  "GET|/a%20b/..|c=d&e|v w|" },
	{ "GET /? HTTP/1.1\r\n" HOST "x-TEST:\r\n\r\n", "GET|/|||" },
	{ "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "GET|/|||" },
	{ "HEAD / HTTP/1.1\r\n" HOST "\r\n", "" },
	{ "DELETE /x HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", "DELETE|/x|||" },
	{ "MKCOL /x HTTP/1.1\r\n" HOST "\r\n", "MKCOL|/x|||" },
	{ "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS|*|||" },
	{ "GET http://b.example/x?y HTTP/1.1\r\n" HOST "\r\n", "GET|/x|y||" },
	{ "GET http://b.example HTTP/1.1\r\n" HOST "\r\n", "GET|/|||" },
	{ "GET http://b.example?q HTTP/1.1\r\n" HOST "\r\n", "GET|/|q||" },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", "POST|/|||hello" },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 0005\r\n\r\nhello", "POST|/|||hello" },
	{ "PUT / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", "PUT|/|||" },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	  "5\r\nhello\r\n1\r\n \r\n00a;x=\"y\";z\r\n0123456789\r\n0\r\n\r\n",
	  "POST|/|||hello 0123456789" },
	{ "POST / HTTP/1.1\r\n" HOST "TRANSFER-ENCODING: Chunked\r\n\r\n"
	  "1\r\nx\r\n0\r\nTrailer: dropped\r\nX-Test: too\r\n\r\n",
	  "POST|/|||x" },
	{ "GET / HTTP/1.1\r\n" HOST "X-Test: \xc3\xa4\r\n\r\n", "GET|/||\xc3\xa4|" },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET|/|||" },
	{ "GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	  "GET|/|||" },
};

static void exchange(struct weir_conn *conn, const char *request, size_t split, const char *answer)
{
	size_t before = weir_conn_bytes_out(conn);
	size_t size = strlen(request);
	bool is_head = !strncmp(request, "HEAD", 4);
	char buf[4096];
	int status;

	http_send(conn, request, split);
	if (split)
		http_wait_received(before + split);
	http_send(conn, request + split, size - split);
	status = http_hear(conn, buf, sizeof(buf), !is_head);
	if (status != 200 || strcmp(strstr(buf, "\r\n\r\n") + 4, answer))
		fail_msg("%s\nsplit at %zu gave\n%s", request, split, buf);
}

static void good_requests_are_understood_wherever_they_are_split(void)
{
	http_start(&server);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct weir_conn *conn = http_connect(&server);

		for (size_t split = 0; split < strlen(good[i].request); split++)
			exchange(conn, good[i].request, split, good[i].answer);
		weir_conn_close(conn);
		http_wait_closed();
	}
	assert_int_equal(http_stop(&server), 0);
}

static void good_requests_are_understood_byte_by_byte(void)
{
	http_start(&server);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct weir_conn *conn = http_connect(&server);
		const char *request = good[i].request;
		size_t size = strlen(request);
		char buf[4096];

		for (size_t at = 0; at < size; at++) {
			http_send(conn, request + at, 1);
			http_wait_received(at + 1);
		}
		assert_int_equal(http_hear(conn, buf, sizeof(buf), strncmp(request, "HEAD", 4)),
				 200);
		assert_string_equal(strstr(buf, "\r\n\r\n") + 4, good[i].answer);
		weir_conn_close(conn);
		http_wait_closed();
	}
	assert_int_equal(http_stop(&server), 0);
}

/* All of them in one write, and again with the borders between writes everywhere. */
static void pipelined_requests_are_answered_in_order(void)
{
	char all[8192] = "", buf[4096];
	size_t size;

	http_start(&server);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		strcat(all, good[i].request);
	size = strlen(all);
	for (size_t step = 1; step <= size; step += step < 40 ? 1 : 37) {
		struct weir_conn *conn = http_connect(&server);

		for (size_t at = 0; at < size; at += step) {
			http_send(conn, all + at, size - at < step ? size - at : step);
			if (step > 8)
				http_wait_received(at);
		}
		for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
			http_hear(conn, buf, sizeof(buf), strncmp(good[i].request, "HEAD", 4));
			assert_string_equal(strstr(buf, "\r\n\r\n") + 4, good[i].answer);
		}
		weir_conn_close(conn);
		http_wait_closed();
	}
	assert_int_equal(http_stop(&server), 0);
}

/* --- what is refused --- */

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

#define BAD(text, status) { text, sizeof(text) - 1, status }

static const struct {
	const char *request;
	size_t size;
	int status;
} bad[] = {
	/* The request line. */
	BAD("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
	BAD(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
	BAD("\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("OPTIONS * RTSP/1.0\r\nHost: a\r\n\r\n", 400),
	BAD("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
	BAD("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
	BAD("NOSUCHMETHOD / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
	BAD("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
	BAD("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
	BAD("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
	BAD("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
	BAD("GET /\r\n\r\n", 505),
	BAD("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
	/* Headers. */
	BAD("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
	BAD(GET "A : b\r\n\r\n", 400),
	BAD(GET " A: b\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
	BAD(GET "A: b\r\n c\r\n\r\n", 400),
	BAD(GET "A: b\r\n\tc\r\n\r\n", 400),
	BAD(GET "A: b\0c\r\n\r\n", 400),
	BAD(GET "A: b\x01\r\n\r\n", 400),
	BAD(GET "A: b\x7f\r\n\r\n", 400),
	BAD(GET "A\0: b\r\n\r\n", 400),
	BAD(GET "A\x80: b\r\n\r\n", 400),
	BAD(GET ": b\r\n\r\n", 400),
	BAD(GET "AB\r\n\r\n", 400),
	BAD(GET "A[]: b\r\n\r\n", 400),
	/* Host. */
	BAD("GET / HTTP/1.1\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
	BAD("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
	BAD("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
	/* Lengths. */
	BAD(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
	BAD(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
	BAD(POST "Content-Length: 5, 5\r\n\r\nhello", 400),
	BAD(POST "Content-Length: +5\r\n\r\nhello", 400),
	BAD(POST "Content-Length: -5\r\n\r\nhello", 400),
	BAD(POST "Content-Length: 0x5\r\n\r\nhello", 400),
	BAD(POST "Content-Length: 5 5\r\n\r\nhello", 400),
	BAD(POST "Content-Length:\r\n\r\nhello", 400),
	BAD(POST "Content-Length: 18446744073709551616\r\n\r\nhello", 400),
	BAD(POST "Content-Length: 18446744073709551615\r\n\r\nhello", 413),
	BAD(POST "Content-Length: 1048577\r\n\r\nhello", 413),
	/* Two ways to find the end of a body is one too many: request smuggling. */
	BAD(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	BAD(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
	BAD(POST "Transfer-Encoding: gzip\r\n\r\n", 501),
	BAD(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
	BAD(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
	BAD(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	BAD(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
	BAD(POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n", 400),
	BAD("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	/* Chunks. CVE-2025-55315: a lone CR or LF in an extension. */
	BAD(CHUNKED "5\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "5\rhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "5;a=\"x\ny\"\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "-5\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "5\r\nhello\n0\r\n\r\n", 400),
	BAD(CHUNKED "5\r\nhelloX\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", 400),
	BAD(CHUNKED "ffffffffffffffff\r\nhello\r\n", 413),
	BAD(CHUNKED "0\r\n\n", 400),
	BAD(CHUNKED "0\r\nA: b\n\r\n", 400),
	BAD(CHUNKED "0\r\nA : b\r\n\r\n", 400),
	/* Expectations. */
	BAD(GET "Expect: 200-ok\r\n\r\n", 417),
};

static void refused(size_t i, size_t split)
{
	struct weir_conn *conn = http_connect(&server);
	char buf[1024];
	int got;

	http_send(conn, bad[i].request, split);
	if (split)
		http_wait_received(split);
	/* The answer may come, and the connection end, before all of it was sent. */
	weir_conn_write_all(conn, bad[i].request + split, bad[i].size - split);
	weir_conn_shutdown(conn);
	http_hear_all(conn, buf, sizeof(buf));
	got = strlen(buf) > 12 ? atoi(buf + 9) : 0;
	if (got != bad[i].status)
		fail_msg("%s\nsplit at %zu of %zu: %d and not %d", bad[i].request, split,
			 bad[i].size, got, bad[i].status);
	assert_non_null(strstr(buf, "Connection: close\r\n"));
	/* One answer and nothing after it. */
	assert_null(strstr(buf + 9, "HTTP/1.1 "));
	weir_conn_close(conn);
	http_wait_closed();
}

static void what_is_not_http_is_refused_wherever_it_is_split(void)
{
	server.opts.body_max = 1 << 20;
	http_start(&server);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (size_t split = 0; split < bad[i].size; split++)
			refused(i, split);
	assert_int_equal(http_stop(&server), 0);
}

/* --- bounds --- */

static int status_of(const char *request, size_t size)
{
	struct weir_conn *conn = http_connect(&server);
	static char buf[65536];
	int status;

	weir_conn_write_all(conn, request, size);
	weir_conn_shutdown(conn);
	http_hear_all(conn, buf, sizeof(buf));
	status = strlen(buf) > 12 ? atoi(buf + 9) : 0;
	weir_conn_close(conn);
	http_wait_closed();
	return status;
}

/* A request whose target, or one header, or number of headers is as long as wanted. */
static size_t build(char *buf, size_t target, size_t value, unsigned fields)
{
	char *to = buf + sprintf(buf, "GET /");

	memset(to, 'a', target - 1);
	to += target - 1;
	to += sprintf(to, " HTTP/1.1\r\nHost: a\r\nX: ");
	memset(to, 'b', value);
	to += value;
	to += sprintf(to, "\r\n");
	for (unsigned i = 2; i < fields; i++)
		to += sprintf(to, "Y: z\r\n");
	to += sprintf(to, "\r\n");
	return (size_t)(to - buf);
}

static void limits_hold_to_the_byte(void)
{
	static char buf[40000];
	size_t size;

	memset(&server.opts, 0, sizeof(server.opts));
	server.opts.head_max = 2000;
	server.opts.target_max = 1000;
	server.opts.fields_max = 20;
	http_start(&server);
	assert_int_equal(status_of(buf, build(buf, 1000, 10, 2)), 200);
	assert_int_equal(status_of(buf, build(buf, 1001, 10, 2)), 414);
	assert_int_equal(status_of(buf, build(buf, 10000, 10, 2)), 414);
	assert_int_equal(status_of(buf, build(buf, 30000, 10, 2)), 414);
	size = build(buf, 1, 10, 2);
	assert_int_equal(status_of(buf, build(buf, 1, 2000 - size + 10, 2)), 200);
	assert_int_equal(status_of(buf, build(buf, 1, 2000 - size + 11, 2)), 431);
	assert_int_equal(status_of(buf, build(buf, 1, 30000, 2)), 431);
	assert_int_equal(status_of(buf, build(buf, 1, 10, 20)), 200);
	assert_int_equal(status_of(buf, build(buf, 1, 10, 21)), 431);
	assert_int_equal(status_of(buf, build(buf, 1, 10, 300)), 431);
	assert_int_equal(http_stop(&server), 0);
	memset(&server.opts, 0, sizeof(server.opts));
}

static void a_head_larger_than_a_receive_buffer_is_put_together(void)
{
	static char buf[40000];

	http_start(&server);
	assert_int_equal(status_of(buf, build(buf, 5000, 9000, 100)), 200);
	assert_int_equal(http_stop(&server), 0);
}

/* picohttpparser#78 #81: extensions without end; here trailers too. */
static void floods_of_chunk_extensions_and_trailers_are_refused(void)
{
	static char buf[20000];
	char *to = buf + sprintf(buf, CHUNKED "5;");

	http_start(&server);
	memset(to, 'x', 10000);
	strcpy(to + 10000, "\r\nhello\r\n0\r\n\r\n");
	assert_int_equal(status_of(buf, strlen(buf)), 400);
	to = buf + sprintf(buf, CHUNKED "0\r\n");
	for (int i = 0; i < 1000; i++)
		to += sprintf(to, "A: %d\r\n", i);
	strcpy(to, "\r\n");
	assert_int_equal(status_of(buf, strlen(buf)), 400);
	assert_int_equal(http_stop(&server), 0);
}

static void a_chunked_body_above_the_limit_is_refused(void)
{
	memset(&server.opts, 0, sizeof(server.opts));
	server.opts.body_max = 8;
	http_start(&server);
	assert_int_equal(status_of(CHUNKED "8\r\n12345678\r\n0\r\n\r\n", strlen(CHUNKED) + 18),
			 200);
	assert_int_equal(status_of(CHUNKED "4\r\n1234\r\n5\r\n12345\r\n0\r\n\r\n",
				   strlen(CHUNKED) + 24),
			 413);
	assert_int_equal(http_stop(&server), 0);
	memset(&server.opts, 0, sizeof(server.opts));
}

/* --- the parser alone, with random input --- */

static void parse_random(const char *data, size_t size, unsigned *seed)
{
	static const struct weir_http_limits limits = { 2048, 1024, 20 };
	struct weir_http_parser parser;
	struct weir_http_head head;
	char copy[2048];
	size_t at = 0;
	int r = 0;

	weir__http_parser_init(&parser, &head, &limits);
	weir__http_head_begin(&parser, copy);
	while (at < size && !r) {
		size_t n = 1 + (unsigned)rand_r(seed) % (unsigned)(size - at);

		memcpy(copy + at, data + at, n);
		r = weir__http_head_parse(&parser, copy + at, n);
		at += n;
	}
	if (r < 0)
		assert_true(r <= -400 && r >= -505);
	if (r <= 0)
		return;
	/* Whatever was understood lies inside. */
	assert_true(head.size <= at && head.count <= 20);
	assert_memory_equal(copy + head.size - 4, "\r\n\r\n", 4);
	assert_true(head.path.at + head.path.size <= head.size);
	for (unsigned i = 0; i < head.count; i++) {
		assert_true(head.fields[i].name.at + head.fields[i].name.size <= head.size);
		assert_true(head.fields[i].value.at + head.fields[i].value.size <= head.size);
		assert_null(memchr(copy + head.fields[i].value.at, '\n',
				   head.fields[i].value.size));
	}
}

static void random_changes_of_requests_never_escape_the_buffer(void **state)
{
	unsigned seed = 5;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		const char *from = good[(unsigned)rand_r(&seed) % (sizeof(good) / sizeof(good[0]))]
					   .request;
		char text[512];
		size_t size = strlen(from);

		memcpy(text, from, size);
		for (int i = rand_r(&seed) % 4; i > 0; i--) {
			size_t at = (unsigned)rand_r(&seed) % size;

			switch (rand_r(&seed) % 3) {
			case 0:
				text[at] = (char)rand_r(&seed);
				break;
			case 1:
				memmove(text + at, text + at + 1, size - at - 1);
				size -= size > 1;
				break;
			default:
				text[at] = "\r\n :\t,;#\0"[rand_r(&seed) % 9];
			}
		}
		parse_random(text, size, &seed);
	}
}

/* --- the same head again --- */

static bool recall(struct weir_http_memo *memo, const char *text, struct weir_http_head *head)
{
	memset(head, 0x55, sizeof(*head));
	return weir__http_memo_recall(memo, text, strlen(text), head);
}

static void a_head_is_recalled_only_for_the_same_bytes(void **state)
{
	static const struct weir_http_limits limits = { 2048, 1024, 20 };
	static const char text[] = "GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
	static const char with_body[] = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
	static struct weir_http_memo memo;
	struct weir_http_parser parser;
	struct weir_http_head head, again;
	char other[sizeof(text) + 8];

	(void)state;
	assert_false(recall(&memo, text, &again));
	weir__http_parser_init(&parser, &head, &limits);
	weir__http_head_begin(&parser, text);
	assert_int_equal(weir__http_head_parse(&parser, text, strlen(text)), 1);
	weir__http_memo_keep(&memo, text, &head);
	assert_true(recall(&memo, text, &again));
	assert_memory_equal(&head, &again, offsetof(struct weir_http_head, fields));
	assert_memory_equal(head.fields, again.fields, 2 * sizeof(head.fields[0]));
	/* Something else follows. */
	assert_true(recall(&memo, strcat(strcpy(other, text), "GET"), &again));
	/* One byte is another, or missing. */
	for (size_t i = 0; i < strlen(text); i++) {
		strcpy(other, text);
		other[i] ^= 1;
		assert_false(recall(&memo, other, &again));
		other[i] = '\0';
		assert_false(recall(&memo, other, &again));
	}
	/* What has a body is never kept: where the next head begins differs. */
	weir__http_head_begin(&parser, with_body);
	assert_int_equal(weir__http_head_parse(&parser, with_body, strlen(with_body)), 1);
	weir__http_memo_keep(&memo, with_body, &head);
	assert_false(recall(&memo, with_body, &again));
	assert_true(recall(&memo, text, &again));
}

/* --- text --- */

static void dates_are_those_of_the_calendar(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} dates[] = {
		{ 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" },
		{ 951782399, "Mon, 28 Feb 2000 23:59:59 GMT" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
		{ 4107542400, "Mon, 01 Mar 2100 00:00:00 GMT" },
		{ 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT" },
	};
	static const char *const wrong[] = {
		"", "Sun, 06 Nov 1994 08:49:37 UTC", "Mon, 06 Nov 1994 08:49:37 GMT",
		"Sun, 6 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994", "Fri, 31 Jun 2000 00:00:00 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
		"Wed, 31 Dec 1969 23:59:59 GMT",
	};
	char text[WEIR_HTTP_DATE_SIZE];
	int64_t seconds;

	(void)state;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		weir_http_date_format(dates[i].seconds, text);
		assert_memory_equal(text, dates[i].text, sizeof(text));
		assert_int_equal(weir_http_date_parse((struct weir_http_text){ text, sizeof(text) },
						      &seconds),
				 0);
		assert_int_equal(seconds, dates[i].seconds);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct weir_http_text from = { wrong[i], strlen(wrong[i]) };

		assert_int_equal(weir_http_date_parse(from, &seconds), -EINVAL);
	}
	for (int64_t s = 0; s < STEP * 2900; s += STEP) {
		weir_http_date_format(s, text);
		assert_int_equal(weir_http_date_parse((struct weir_http_text){ text, sizeof(text) },
						      &seconds),
				 0);
		assert_int_equal(seconds, s);
	}
}

static void header_fields_cannot_split_an_answer(void **state)
{
	static const struct {
		const char *name, *value;
	} wrong[] = {
		{ "A", "b\r\nSet-Cookie: c" }, { "A", "b\nc" }, { "A", "b\rc" }, { "A", "b\x7f" },
		{ "A\r\nB", "c" }, { "A B", "c" }, { "A:", "c" }, { "", "c" }, { NULL, "c" },
		{ "A", NULL }, { "Content-Length", "5" }, { "transfer-encoding", "chunked" },
		{ "Connection", "close" }, { "DATE", "today" },
	};
	struct weir_http_fields fields;
	char buf[32];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		weir_http_fields_init(&fields, buf, sizeof(buf));
		assert_int_equal(weir_http_fields_add(&fields, wrong[i].name, wrong[i].value),
				 -EINVAL);
		assert_int_equal(fields.size_, 0);
		/* It sticks. */
		assert_int_equal(weir_http_fields_add(&fields, "A", "b"), -EINVAL);
	}
	weir_http_fields_init(&fields, buf, sizeof(buf));
	assert_int_equal(weir_http_fields_add(&fields, "A", "b\tc \xc3\xa4"), 0);
	assert_int_equal(fields.size_, 11);
	assert_int_equal(weir_http_fields_add(&fields, "Name", "1234567890123"), 0);
	assert_int_equal(fields.size_, 32);
	assert_int_equal(weir_http_fields_add(&fields, "A", ""), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(good_requests_are_understood_wherever_they_are_split),
		ring_test(good_requests_are_understood_byte_by_byte),
		ring_test(pipelined_requests_are_answered_in_order),
		ring_test(what_is_not_http_is_refused_wherever_it_is_split),
		ring_test(limits_hold_to_the_byte),
		ring_test(a_head_larger_than_a_receive_buffer_is_put_together),
		ring_test(floods_of_chunk_extensions_and_trailers_are_refused),
		ring_test(a_chunked_body_above_the_limit_is_refused),
		cmocka_unit_test(random_changes_of_requests_never_escape_the_buffer),
		cmocka_unit_test(a_head_is_recalled_only_for_the_same_bytes),
		cmocka_unit_test(dates_are_those_of_the_calendar),
		cmocka_unit_test(header_fields_cannot_split_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
