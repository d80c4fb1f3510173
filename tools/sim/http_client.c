/* SPDX-License-Identifier: MIT */
/*
 * http_client.c - answers, read byte by byte where it matters: a head, then a body by its length or
 * in chunks. Nothing beyond the answer is read, so that pipelined ones need no buffer in between.
 */
#include "tools/sim/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_MAX_SIZE 512
#define BODY_MAX (1u << 20)
#define NO_LENGTH (-2)

static void malformed(const char *what)
{
	weir_sim_checkf(false, "http: what comes is an HTTP answer", "%s", what);
}

/* A line without its end. Returns its size or as weir_conn_read_exact(). */
static int read_line(struct weir_conn *conn, char line[LINE_MAX_SIZE])
{
	int size = 0;

	for (;;) {
		ssize_t n = weir_conn_read_exact(conn, line + size, 1);

		if (n < 0)
			return (int)n;
		if (size && line[size - 1] == '\r' && line[size] == '\n') {
			line[size - 1] = '\0';
			return size - 1;
		}
		if (++size == LINE_MAX_SIZE) {
			malformed("a long line");
			return -EPROTO;
		}
	}
}

/* Body is behind *size bytes of memory already. */
static int read_part(struct weir_conn *conn, struct http_answer *answer, size_t size)
{
	char *memory = size <= BODY_MAX ? realloc(answer->memory, answer->size + size + 1) : NULL;
	ssize_t n;

	if (!memory)
		return -ENOMEM;
	answer->memory = answer->body = memory;
	n = size ? weir_conn_read_exact(conn, memory + answer->size, size) : 0;
	if (n < 0)
		return (int)n;
	answer->size += size;
	return 0;
}

static int read_chunks(struct weir_conn *conn, struct http_answer *answer)
{
	char line[LINE_MAX_SIZE];

	for (;;) {
		unsigned size;
		int r = read_line(conn, line);

		if (r < 0)
			return r;
		if (sscanf(line, "%x", &size) != 1) {
			malformed(line);
			return -EPROTO;
		}
		r = read_part(conn, answer, size);
		if (r < 0)
			return r;
		r = read_line(conn, line);
		if (r > 0)
			malformed(line);
		if (r || !size)
			return r < 0 ? r : 0;
	}
}

static int read_fields(struct weir_conn *conn, struct http_answer *answer, int64_t *ret_length)
{
	char line[LINE_MAX_SIZE];
	unsigned length;
	int r;

	*ret_length = NO_LENGTH;
	while ((r = read_line(conn, line)) > 0) {
		if (sscanf(line, "Content-Length: %u", &length) == 1)
			*ret_length = length;
		else if (!strcasecmp(line, "Transfer-Encoding: chunked"))
			*ret_length = WEIR_HTTP_CHUNKED;
		else if (!strcasecmp(line, "Connection: close"))
			answer->closes = true;
	}
	return r;
}

int http_read_answer(struct weir_conn *conn, bool head_only, struct http_answer *ret_answer)
{
	struct http_answer answer = { 0 };
	char line[LINE_MAX_SIZE];
	int64_t length;
	int r = read_line(conn, line);

	if (r < 0)
		return r;
	if (sscanf(line, "HTTP/1.1 %d ", &answer.status) != 1) {
		malformed(line);
		return -EPROTO;
	}
	r = read_fields(conn, &answer, &length);
	if (!r && (head_only || answer.status == 304))
		length = 0;
	if (!r && length == NO_LENGTH)
		malformed("no length");
	if (!r)
		r = length == WEIR_HTTP_CHUNKED ? read_chunks(conn, &answer) :
						  read_part(conn, &answer, (size_t)length);
	if (r < 0) {
		free(answer.memory);
		return r;
	}
	*ret_answer = answer;
	return 0;
}
