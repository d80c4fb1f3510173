/* SPDX-License-Identifier: MIT */
/*
 * load_answer.c - what is sent, and whether what comes back is right.
 *
 * Echo: each connection sends the pattern, from a place of its own; what comes back must be
 * the same bytes in the same order, so bytes lost, repeated, or of another connection show.
 *
 * HTTP: status 200, a Content-Length that is the first answer's, that many bytes of body; and
 * with --expect, or after a POST, these bytes. A head that is byte for byte the one before
 * needs no parser: that is what makes the client cheaper than the servers it measures.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/bench/load.h"

#define HEAD_MAX 4096
#define BATCH_MAX (16u << 20)

char *load_batch;
uint32_t load_batch_size;

static char template[HEAD_MAX]; /* the last head that was parsed */
static uint32_t template_size;
static uint64_t body_size; /* of every answer */
static bool body_size_known;
static const char *body; /* what it must be, or NULL */

static char *allocate(size_t size)
{
	char *memory = malloc(size);

	if (!memory)
		load_die("no memory for %zu bytes", size);
	return memory;
}

static void fill_pattern(char *to, size_t size)
{
	uint32_t state = 2463534242u;

	for (size_t i = 0; i < size; i++) {
		if (i >= LOAD_PERIOD) {
			to[i] = to[i - LOAD_PERIOD];
			continue;
		}
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		to[i] = (char)state;
	}
}

static void read_expected(void)
{
	FILE *file = fopen(load_opts.expect, "re");
	long size = -1;
	char *bytes;

	if (file && !fseek(file, 0, SEEK_END))
		size = ftell(file);
	if (size < 0)
		load_die("%s: %s", load_opts.expect, strerror(errno));
	rewind(file);
	bytes = allocate((size_t)size + 1);
	if (fread(bytes, 1, (size_t)size, file) != (size_t)size)
		load_die("%s: %s", load_opts.expect, strerror(errno));
	fclose(file);
	body = bytes;
	body_size = (uint64_t)size;
	body_size_known = true;
}

/* One request, depth times. */
static void make_requests(void)
{
	bool post = !strcmp(load_opts.method, "POST");
	char head[2048], length[64] = "";
	size_t size, body_in = post ? load_opts.size : 0;
	int n;

	if (post)
		snprintf(length, sizeof(length), "Content-Length: %u\r\n", load_opts.size);
	n = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
		     load_opts.method, load_opts.path, length);
	if (n < 0 || (size_t)n >= sizeof(head))
		load_die("the path is too long");
	size = (size_t)n + body_in;
	if (size * load_opts.depth > BATCH_MAX)
		load_die("depth times size is more than %u bytes", BATCH_MAX);
	load_batch = allocate(size * load_opts.depth);
	load_batch_size = (uint32_t)(size * load_opts.depth);
	for (unsigned i = 0; i < load_opts.depth; i++) {
		memcpy(load_batch + i * size, head, (size_t)n);
		fill_pattern(load_batch + i * size + n, body_in);
	}
	if (post) {
		body = load_batch + n;
		body_size = body_in;
		body_size_known = true;
	}
}

void load_answer_init(void)
{
	if (load_opts.http) {
		make_requests();
		if (load_opts.expect)
			read_expected();
		return;
	}
	if ((uint64_t)load_opts.size * load_opts.depth > BATCH_MAX)
		load_die("depth times size is more than %u bytes", BATCH_MAX);
	load_batch_size = load_opts.size * load_opts.depth;
	load_batch = allocate(load_batch_size + LOAD_PERIOD);
	fill_pattern(load_batch, load_batch_size + LOAD_PERIOD);
}

static unsigned answer_echo(struct load_conn *conn, const char *data, uint32_t size)
{
	uint32_t before = conn->got / load_opts.size;

	if (!conn->waiting || size > load_batch_size - conn->got) {
		load_fail(conn, "more came back than was sent");
		return 0;
	}
	if (memcmp(data, load_batch + conn->at + conn->got, size)) {
		load_fail(conn, "other bytes came back than were sent");
		return 0;
	}
	conn->got += size;
	return conn->got / load_opts.size - before;
}

/* The value of a header, behind name with its colon; or NULL. head ends with an empty line. */
static const char *header(const char *head, const char *name)
{
	size_t size = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (!strncasecmp(line + 2, name, size))
			return line + 2 + size;
	return NULL;
}

/* Takes a whole head, which becomes the template. */
static bool parse_head(struct load_conn *conn, const char *head, uint32_t size)
{
	const char *value;
	uint64_t length;

	memcpy(template, head, size);
	template[size] = '\0';
	template_size = 0;
	if (strncmp(template, "HTTP/1.1 200", 12)) {
		load_fail(conn, "answered '%.*s'", (int)strcspn(template, "\r\n"), template);
		return false;
	}
	value = header(template, "Content-Length:");
	if (!value) {
		load_fail(conn, "an answer has no Content-Length");
		return false;
	}
	length = strtoull(value, NULL, 10);
	if (!body_size_known) {
		body_size_known = true;
		body_size = length;
	}
	if (length != body_size) {
		load_fail(conn, "a body has %llu bytes, not %llu", (unsigned long long)length,
			  (unsigned long long)body_size);
		return false;
	}
	template_size = size;
	return true;
}

/* A head that differs from the last, or comes in pieces. Returns how much of data it took. */
static uint32_t take_head(struct load_conn *conn, const char *data, uint32_t size)
{
	uint32_t had = conn->head_size, n = HEAD_MAX - 1 - had;
	const char *end;

	if (!conn->head)
		conn->head = allocate(HEAD_MAX);
	if (n > size)
		n = size;
	memcpy(conn->head + had, data, n);
	end = memmem(conn->head, had + n, "\r\n\r\n", 4);
	if (!end) {
		conn->head_size += n;
		if (conn->head_size == HEAD_MAX - 1)
			load_fail(conn, "a head of more than %d bytes", HEAD_MAX - 1);
		return n;
	}
	conn->head_size = 0;
	conn->in_body = parse_head(conn, conn->head, (uint32_t)(end + 4 - conn->head));
	return (uint32_t)(end + 4 - conn->head) - had;
}

static uint32_t take_body(struct load_conn *conn, const char *data, uint32_t size)
{
	uint32_t n = conn->body_left < size ? (uint32_t)conn->body_left : size;

	if (body && memcmp(data, body + (body_size - conn->body_left), n))
		load_fail(conn, "a body has other bytes than expected");
	conn->body_left -= n;
	return n;
}

static unsigned answer_http(struct load_conn *conn, const char *data, uint32_t size)
{
	uint64_t to_come = strcmp(load_opts.method, "HEAD") ? UINT64_MAX : 0;
	unsigned answers = 0;

	while (size && !conn->dead) {
		uint32_t n;

		if (answers == conn->waiting) {
			load_fail(conn, "more answers than requests");
			break;
		}
		if (conn->in_body) {
			n = take_body(conn, data, size);
		} else {
			if (!conn->head_size && template_size && size >= template_size &&
			    !memcmp(data, template, template_size)) {
				n = template_size;
				conn->in_body = true;
			} else {
				n = take_head(conn, data, size);
			}
			conn->body_left = body_size & to_come;
		}
		data += n;
		size -= n;
		if (conn->in_body && !conn->body_left) {
			conn->in_body = false;
			answers++;
		}
	}
	return answers;
}

unsigned load_answer(struct load_conn *conn, const char *data, uint32_t size)
{
	if (conn->dead)
		return 0;
	return load_opts.http ? answer_http(conn, data, size) : answer_echo(conn, data, size);
}
