/* SPDX-License-Identifier: MIT */
/*
 * http_conn.c - a connection from the arrival of a request's first byte until nothing is
 * left to do on it.
 *
 * A head is parsed where it was received. Only one that came in parts is copied: into a stash of
 * head_max bytes, where it grows until it is whole. So the usual request touches no memory but
 * the receive buffer and this coroutine's stack.
 *
 * A connection that ends in an error lingers: what the peer still sends is read away for a moment,
 * since closing with unread data makes the kernel send a reset, which can overtake the answer.
 */
#include <string.h>
#include <strings.h>

#include "net/http.h"

#define LINGER_NS (2 * WEIR_S)
#define LINGER_MAX (256 << 10)

/* Closing gives output so little time that more of it is waited for before. */
#define CLOSE_PENDING_MAX (16 << 10)

enum next { NEXT_REQUEST, NEXT_IDLE, NEXT_LINGER, NEXT_CLOSE, NEXT_CUT };

/* --- memory of a request --- */

static void drop_stash(struct weir_http_req *req)
{
	if (req->stash)
		weir__slab_put(&req->server->heads, req->stash);
	req->stash = NULL;
}

/* The head is not needed any more. */
static void drop_head(struct weir_http_req *req)
{
	if (req->kept.data)
		weir_conn_release(req->conn, &req->kept);
	req->kept.data = NULL;
	req->head_leased = false;
	drop_stash(req);
}

static void drop_input(struct weir_http_req *req)
{
	drop_head(req);
	if (req->lease.data)
		weir_conn_release(req->conn, &req->lease);
	req->lease.data = NULL;
	req->in = req->in_end = NULL;
}

/*
 * A handler that waits keeps the buffer that its head lies in from everybody else. When they
 * are getting scarce the head moves to memory of its own first.
 */
static void spare_buffer(struct weir_http_req *req)
{
	const struct weir_bufs *bufs = &req->conn->net->ring->bufs;

	if (weir_likely(bufs->lent < bufs->count / 2) || !req->head_leased)
		return;
	req->stash = weir__slab_get(&req->server->heads);
	if (!req->stash)
		return;
	memcpy(req->stash, req->base, req->head.size);
	req->base = req->stash;
	req->head_leased = false;
	if (req->in == req->in_end) {
		weir_conn_release(req->conn, &req->lease);
		req->lease.data = NULL;
	}
}

/* --- heads --- */

/* As if a request had come of which nothing is known: for an answer to what is none. */
static void forget_head(struct weir_http_req *req)
{
	req->head = (struct weir_http_head){ .minor = 1 };
}

static void begin_answer(struct weir_http_req *req)
{
	req->body_seen = 0;
	req->body_left = req->head.chunked ? 0 : req->head.length;
	req->body_done = !req->head.chunked && !req->head.length;
	req->body_begun = false;
	req->body_res = 0;
	req->answered = req->streaming = req->reply_chunked = false;
	req->close = req->broken = false;
}

/* What came is not a request. */
static enum next refuse(struct weir_http_req *req, int status)
{
	weir_metric_add(req->server->metric_bad, 1);
	forget_head(req);
	begin_answer(req);
	req->close = true;
	return weir__http_reply_plain(req, status) < 0 ? NEXT_CLOSE : NEXT_LINGER;
}

/* More of a head that has begun, in time. */
static int fill_head(struct weir_http_req *req, int64_t since)
{
	int r;

	weir_coro_set_deadline(since + req->server->opts.head_ns);
	r = weir__http_fill(req);
	weir_coro_set_deadline(WEIR_NEVER);
	return r;
}

static enum next head_ended(struct weir_http_req *req, int res)
{
	return res == -ETIMEDOUT ? refuse(req, 408) : NEXT_CLOSE;
}

/* A head that does not end within head_max: of what is there too much? */
static enum next too_large(struct weir_http_req *req, const char *head, size_t size)
{
	return refuse(req, memchr(head, '\n', size) ? 431 : 414);
}

/* The head goes on in the next buffer: it is put together in the stash. */
static enum next assemble(struct weir_http_req *req)
{
	size_t head_max = req->server->limits.head_max;
	size_t size = (size_t)(req->in_end - req->in);
	int64_t since = weir_now();
	int r = 0;

	if (size >= head_max)
		return too_large(req, req->in, head_max);
	req->stash = weir__slab_get(&req->server->heads);
	if (!req->stash)
		return refuse(req, 503);
	memcpy(req->stash, req->in, size);
	req->in = req->in_end;
	req->base = req->parser.base = req->stash;
	while (!r) {
		size_t had = size, n;

		r = fill_head(req, since);
		if (r <= 0)
			return head_ended(req, r);
		n = (size_t)(req->in_end - req->in);
		if (n > head_max - had)
			n = head_max - had;
		memcpy(req->stash + had, req->in, n);
		size += n;
		r = weir__http_head_parse(&req->parser, req->stash + had, n);
		if (r < 0)
			return refuse(req, -r);
		req->in += r ? req->head.size - had : n;
		if (!r && size == head_max)
			return too_large(req, req->stash, size);
	}
	return NEXT_REQUEST;
}

static bool refuse_line(struct weir_http_req *req, enum next *ret_next)
{
	*ret_next = refuse(req, 400);
	return false;
}

/* One empty line before a request is forgiven (RFC 9112, 2.2). Returns whether more follows. */
static bool skip_empty_line(struct weir_http_req *req, enum next *ret_next)
{
	if (*req->in != '\r' && *req->in != '\n')
		return true;
	if (*req->in == '\n' || req->hc->had_empty_line)
		return refuse_line(req, ret_next);
	if (++req->in == req->in_end) {
		int r = fill_head(req, weir_now());

		if (r <= 0) {
			*ret_next = head_ended(req, r);
			return false;
		}
	}
	if (*req->in != '\n')
		return refuse_line(req, ret_next);
	req->in++;
	req->hc->had_empty_line = true;
	*ret_next = NEXT_IDLE;
	return req->in < req->in_end && skip_empty_line(req, ret_next);
}

static enum next next_head(struct weir_http_req *req)
{
	struct weir_http_memo *memo = &req->server->memo;
	size_t size;
	enum next next;
	int r;

	if (req->in == req->in_end) {
		if (!weir_conn_is_readable(req->conn))
			return NEXT_IDLE;
		if (weir__http_fill(req) <= 0)
			return NEXT_CLOSE;
	}
	if (weir_unlikely(*req->in <= '\r') && !skip_empty_line(req, &next))
		return next;
	size = (size_t)(req->in_end - req->in);
	req->base = req->in;
	if (!weir__http_memo_recall(memo, req->in, size, &req->head)) {
		if (size > req->server->limits.head_max)
			size = req->server->limits.head_max;
		weir__http_head_begin(&req->parser, req->in);
		r = weir__http_head_parse(&req->parser, req->in, size);
		if (weir_unlikely(r < 0))
			return refuse(req, -r);
		if (weir_unlikely(!r))
			return assemble(req);
		weir__http_memo_keep(memo, req->base, &req->head);
	}
	req->in += req->head.size;
	req->head_leased = true;
	return NEXT_REQUEST;
}

/* --- one request --- */

/* The status for a handler that failed before it answered. */
static int status_for(const struct weir_http_req *req, int res)
{
	switch (res) {
	case -ENOENT:
		return 404;
	case -EACCES:
	case -EPERM:
		return 403;
	case -EINVAL:
	case -EPROTO:
		return 400;
	case -EMSGSIZE:
		return 413;
	case -EPIPE:
		return req->body_res == -EPIPE ? 400 : 500;
	case -ETIMEDOUT:
		return req->body_res == -ETIMEDOUT ? 408 : 503;
	case -EAGAIN:
	case -ENOBUFS:
	case -ENOMEM:
	case -ESHUTDOWN:
		return 503;
	default:
		return 500;
	}
}

/* Whether the next request can be found behind this one's body. */
static bool reach_end_of_body(struct weir_http_req *req)
{
	if (weir_likely(req->body_done))
		return true;
	if (!weir__http_may_keep(req))
		return false;
	return weir__http_body_drop(req, req->server->opts.drain_max) == 1;
}

static enum next finish(struct weir_http_req *req, int res)
{
	if (weir_unlikely(!req->answered && !req->broken)) {
		if (weir__http_reply_plain(req, status_for(req, res)) < 0)
			req->broken = true;
	}
	if (weir_unlikely(req->streaming || req->broken))
		return NEXT_CUT;
	if (weir_unlikely(!reach_end_of_body(req)))
		return NEXT_LINGER;
	drop_head(req);
	if (weir_likely(!req->close))
		return NEXT_REQUEST;
	/* A peer that asked for the end sends nothing more. */
	return req->head.keep_alive || req->in < req->in_end || weir_conn_is_readable(req->conn) ?
		       NEXT_LINGER :
		       NEXT_CLOSE;
}

static enum next handle(struct weir_http_req *req)
{
	struct weir_http_server *server = req->server;
	const struct weir_http_opts *opts = &server->opts;
	uint64_t body_max = opts->body_max < 0 ? INT64_MAX : (uint64_t)opts->body_max;
	int r;

	req->hc->requests++;
	req->hc->had_empty_line = false;
	weir__metric_add(&weir__self->metrics, (unsigned)server->metric_requests, 1);
	begin_answer(req);
	if (weir_unlikely(req->body_left > body_max))
		return refuse(req, 413);
	spare_buffer(req);
	if (opts->request_ns)
		weir_coro_set_deadline(weir_in(opts->request_ns));
	r = weir_likely(!opts->admit) ? server->handler(req, server->arg) : weir__http_admit(req);
	weir_coro_set_deadline(WEIR_NEVER);
	return finish(req, r);
}

/* --- the connection --- */

static void linger(struct weir_http_req *req)
{
	size_t seen = 0;

	req->in = req->in_end;
	if (weir__http_flush(req) < 0)
		return;
	weir_coro_set_deadline(weir_in(LINGER_NS));
	if (!weir_conn_shutdown(req->conn))
		while (seen < LINGER_MAX && weir__http_fill(req) > 0) {
			seen += (size_t)(req->in_end - req->in);
			req->in = req->in_end;
		}
	weir_coro_set_deadline(WEIR_NEVER);
}

void weir__http_conn_serve(struct weir_http_req *req, struct weir_http_conn *hc)
{
	enum next next;

	req->hc = hc;
	req->conn = hc->conn;
	hc->state = HTTP_BUSY;
	weir__http_parser_init(&req->parser, &req->head, &req->server->limits);
	do {
		next = next_head(req);
		if (weir_likely(next == NEXT_REQUEST))
			next = handle(req);
	} while (next == NEXT_REQUEST);
	drop_head(req);
	if (next == NEXT_LINGER)
		linger(req);
	else if (next == NEXT_CLOSE && weir_conn_pending(req->conn) > CLOSE_PENDING_MAX)
		weir__http_flush(req);
	drop_input(req);
	if (next == NEXT_IDLE)
		weir__http_conn_idle(hc);
	else
		weir__http_conn_close(hc, next == NEXT_CUT);
}

/* --- what a handler sees of it --- */

static struct weir_http_text text_of(const struct weir_http_req *req, struct weir_http_span span)
{
	return (struct weir_http_text){ req->base + span.at, span.size };
}

enum weir_http_method weir_http_req_method(const struct weir_http_req *req)
{
	return (enum weir_http_method)req->head.method;
}

struct weir_http_text weir_http_req_method_name(const struct weir_http_req *req)
{
	return text_of(req, req->head.name);
}

struct weir_http_text weir_http_req_target(const struct weir_http_req *req)
{
	return text_of(req, req->head.target);
}

struct weir_http_text weir_http_req_path(const struct weir_http_req *req)
{
	static const struct weir_http_text root = { "/", 1 };

	return req->head.path.size ? text_of(req, req->head.path) : root;
}

struct weir_http_text weir_http_req_query(const struct weir_http_req *req)
{
	const struct weir_http_text none = { NULL, 0 };

	return req->head.has_query ? text_of(req, req->head.query) : none;
}

bool weir_http_req_is_path(const struct weir_http_req *req, const char *text)
{
	struct weir_http_text path = weir_http_req_path(req);

	return !strncmp(path.data, text, path.size) && !text[path.size];
}

struct weir_http_text weir_http_req_header(const struct weir_http_req *req, const char *name)
{
	const struct weir_http_text none = { NULL, 0 };
	size_t size = strlen(name);

	for (unsigned i = 0; i < req->head.count; i++) {
		const struct weir_http_field_at *field = &req->head.fields[i];

		if (field->name.size == size &&
		    !strncasecmp(req->base + field->name.at, name, size))
			return text_of(req, field->value);
	}
	return none;
}

bool weir_http_req_header_at(const struct weir_http_req *req, unsigned index,
			     struct weir_http_text *ret_name, struct weir_http_text *ret_value)
{
	if (index >= req->head.count)
		return false;
	*ret_name = text_of(req, req->head.fields[index].name);
	*ret_value = text_of(req, req->head.fields[index].value);
	return true;
}

unsigned weir_http_req_minor(const struct weir_http_req *req)
{
	return req->head.minor;
}

int64_t weir_http_req_body_size(const struct weir_http_req *req)
{
	return req->head.chunked ? WEIR_HTTP_CHUNKED : (int64_t)req->head.length;
}

struct weir_conn *weir_http_req_conn(const struct weir_http_req *req)
{
	return req->conn;
}
