/* SPDX-License-Identifier: MIT */
/*
 * http_body.c - the body of a request, straight out of the receive buffers.
 *
 * The time a body may take grows with what it brought: a slow one is served as long as it is
 * not slower than rate_min, and one that stops is noticed after body_ns.
 */
#include <string.h>

#include "net/http.h"

static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

int weir__http_fill(struct weir_http_req *req)
{
	ssize_t n;

	weir_assert(req->in == req->in_end);
	if (req->lease.data && req->head_leased) {
		req->kept = req->lease;
		req->head_leased = false;
	} else if (req->lease.data) {
		weir_conn_release(req->conn, &req->lease);
	}
	req->lease.data = NULL;
	n = weir_conn_lease(req->conn, &req->lease);
	if (n <= 0) {
		req->lease.data = NULL;
		return (int)n;
	}
	req->in = req->lease.data;
	req->in_end = req->in + n;
	return 1;
}

static int body_fill(struct weir_http_req *req)
{
	const struct weir_http_opts *opts = &req->server->opts;
	int64_t grace = opts->body_ns + (int64_t)(req->body_seen / opts->rate_min) * WEIR_S;
	int64_t own = weir_coro_deadline();
	int64_t begin = weir_now();
	int64_t deadline = weir_in(grace - req->body_waited);
	int r;

	weir_coro_set_deadline(deadline < own ? deadline : own);
	r = weir__http_fill(req);
	weir_coro_set_deadline(own);
	req->body_waited += weir_now() - begin;
	return r ? r : -EPIPE;
}

static int body_begin(struct weir_http_req *req)
{
	req->body_begun = true;
	req->body_waited = 0;
	if (!req->head.expects || req->answered || req->in < req->in_end)
		return 0;
	return weir_conn_write_all(req->conn, go_on, sizeof(go_on) - 1);
}

/* Parses until there is a piece, the end, or no more input. Returns 0 or -errno. */
static int next_chunk_piece(struct weir_http_req *req)
{
	struct weir_http_parser *parser = &req->parser;

	while (!parser->data_size && !parser->body_done && req->in < req->in_end) {
		ssize_t used =
			weir__http_chunks_parse(parser, req->in, (size_t)(req->in_end - req->in));

		if (used < 0)
			return (int)used;
		req->in += used;
	}
	if (req->server->opts.body_max >= 0 &&
	    parser->chunks_size > (uint64_t)req->server->opts.body_max)
		return -EMSGSIZE;
	req->body_done = !parser->data_size && parser->body_done;
	return 0;
}

/* Takes up to size bytes of what is there. Returns the count, 0: nothing is there, or -errno. */
static ssize_t take(struct weir_http_req *req, char *buf, size_t size)
{
	const char **from = &req->in;
	size_t there = (size_t)(req->in_end - req->in);

	if (req->head.chunked) {
		int r = next_chunk_piece(req);

		if (r < 0)
			return r;
		from = &req->parser.data;
		there = req->parser.data_size;
	} else if (there > req->body_left) {
		there = (size_t)req->body_left;
	}
	if (size > there)
		size = there;
	if (!size)
		return 0;
	memcpy(buf, *from, size);
	*from += size;
	req->body_seen += size;
	if (req->head.chunked) {
		req->parser.data_size -= size;
	} else {
		req->body_left -= size;
		req->body_done = !req->body_left;
	}
	return (ssize_t)size;
}

static ssize_t fail(struct weir_http_req *req, ssize_t res)
{
	req->body_res = (int)res;
	req->close = true;
	return res;
}

ssize_t weir_http_req_read(struct weir_http_req *req, void *buf, size_t size)
{
	ssize_t n;
	int r;

	weir_precond(size > 0, -EINVAL);
	if (req->body_res < 0)
		return req->body_res;
	if (!req->body_begun && !req->body_done) {
		r = body_begin(req);
		if (r < 0)
			return fail(req, r);
	}
	while (!req->body_done) {
		n = take(req, buf, size);
		if (n)
			return n < 0 ? fail(req, n) : n;
		if (req->body_done)
			break;
		r = body_fill(req);
		if (r < 0)
			return fail(req, r);
	}
	return 0;
}

ssize_t weir_http_req_read_all(struct weir_http_req *req, void *buf, size_t size)
{
	size_t done = 0;
	char more;
	ssize_t n;

	if (!req->head.chunked && req->head.length > size)
		return -EMSGSIZE;
	while (done < size) {
		n = weir_http_req_read(req, (char *)buf + done, size - done);
		if (n <= 0)
			return n < 0 ? n : (ssize_t)done;
		done += (size_t)n;
	}
	n = weir_http_req_read(req, &more, 1);
	return n < 0 ? n : n ? -EMSGSIZE : (ssize_t)done;
}

int weir__http_body_drop(struct weir_http_req *req, size_t size)
{
	char buf[1024];
	size_t done = 0;

	while (done <= size) {
		ssize_t n = weir_http_req_read(req, buf, sizeof(buf));

		if (n <= 0)
			return n < 0 ? (int)n : 1;
		done += (size_t)n;
	}
	return 0;
}
