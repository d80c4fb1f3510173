/* SPDX-License-Identifier: MIT */
/*
 * http_reply.c - answers, formatted straight into the connection's output.
 *
 * The most frequent beginning (200, HTTP/1.1, the connection stays) is kept ready and made anew
 * when the second changes, so a small answer is three copies and a number.
 */
#include <string.h>

#include "net/http.h"

/* All of a head but the fields: status line, Date, Connection, length, empty line. */
#define HEAD_ROOM 256

/* What is written in one go: the peer has write_ns for each. */
#define PIECE_MAX (64 << 10)

/* The lines around a chunk: 16 digits and two line ends. */
#define CHUNK_ROOM 20

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static inline char *put(char *to, const char *from, size_t size)
{
	memcpy(to, from, size);
	return to + size;
}

/* --- the lead --- */

static void make_lead(struct weir_http_server *server)
{
	int64_t real = server->kernel->ops->realtime(server->kernel);
	char *to = server->lead;

	weir_http_date_format(real / WEIR_S, server->date);
	to = PUT(to, "HTTP/1.1 200 OK\r\nDate: ");
	to = put(to, server->date, WEIR_HTTP_DATE_SIZE);
	to = PUT(to, "\r\nContent-Length: ");
	server->lead_size = (unsigned)(to - server->lead);
	weir_assert(server->lead_size <= sizeof(server->lead));
	server->lead_until = weir_now() + WEIR_S - real % WEIR_S;
}

/* --- room in the output --- */

/* Waits until the peer has taken enough, write_ns at most. */
static int wait_writable(struct weir_http_req *req)
{
	int64_t own = weir_coro_deadline();
	int64_t deadline = weir_in(req->server->opts.write_ns);
	int r;

	weir_coro_set_deadline(deadline < own ? deadline : own);
	r = weir_conn_wait_writable(req->conn);
	weir_coro_set_deadline(own);
	return r;
}

static __attribute__((noinline)) int reserve_slow(struct weir_http_req *req, size_t size,
						  char **ret_to)
{
	int r = wait_writable(req);

	if (r < 0)
		return r;
	*ret_to = weir_conn_reserve(req->conn, size);
	return *ret_to ? 0 : -ENOBUFS;
}

static inline int reserve(struct weir_http_req *req, size_t size, char **ret_to)
{
	*ret_to = weir_conn_reserve(req->conn, size);
	return weir_likely(*ret_to) ? 0 : reserve_slow(req, size, ret_to);
}

static int write_piece(struct weir_http_req *req, const void *data, size_t size)
{
	int64_t own = weir_coro_deadline();
	int64_t deadline = weir_in(req->server->opts.write_ns);
	int r;

	weir_coro_set_deadline(deadline < own ? deadline : own);
	r = weir_conn_write_all(req->conn, data, size);
	weir_coro_set_deadline(own);
	return r;
}

/* Copies data, or lends it and waits: write_ns at most for each piece, not for all of it. */
static int write_all(struct weir_http_req *req, const void *data, size_t size)
{
	const char *from = data;
	int r = 0;

	while (size && !r) {
		size_t n = size < PIECE_MAX ? size : PIECE_MAX;

		r = write_piece(req, from, n);
		from += n;
		size -= n;
	}
	return r;
}

int weir__http_flush(struct weir_http_req *req)
{
	uint64_t before;
	int r;

	do {
		before = weir_conn_bytes_out(req->conn);
		weir_coro_set_deadline(weir_in(req->server->opts.write_ns));
		r = weir_conn_flush(req->conn);
		weir_coro_set_deadline(WEIR_NEVER);
	} while (r == -ETIMEDOUT && weir_conn_bytes_out(req->conn) != before);
	return r;
}

/* What was begun cannot be ended properly. */
static int cut(struct weir_http_req *req, int res)
{
	if (res < 0)
		req->broken = true;
	return res;
}

/* --- heads --- */

static char *put_status(struct weir_http_server *server, char *to, int status)
{
	const char *name = weir_http_status_name(status);

	to = PUT(to, "HTTP/1.1 ");
	to = weir__http_put_number(to, (uint64_t)status);
	*to++ = ' ';
	to = put(to, name, strlen(name));
	to = PUT(to, "\r\nDate: ");
	to = put(to, server->date, WEIR_HTTP_DATE_SIZE);
	return PUT(to, "\r\n");
}

/* Everything before the fields. */
static char *put_head(struct weir_http_req *req, char *to, int status, int64_t size)
{
	struct weir_http_server *server = req->server;
	bool has_length = size >= 0 && status != 204 && status != 304;

	if (weir_unlikely(weir_now() >= server->lead_until))
		make_lead(server);
	if (weir_likely(status == 200 && has_length && !req->close && req->head.minor)) {
		to = put(to, server->lead, server->lead_size);
		to = weir__http_put_number(to, (uint64_t)size);
		return PUT(to, "\r\n");
	}
	to = put_status(server, to, status);
	if (req->close)
		to = PUT(to, "Connection: close\r\n");
	else if (!req->head.minor)
		to = PUT(to, "Connection: keep-alive\r\n");
	if (has_length) {
		to = PUT(to, "Content-Length: ");
		to = weir__http_put_number(to, (uint64_t)size);
		to = PUT(to, "\r\n");
	} else if (req->reply_chunked) {
		to = PUT(to, "Transfer-Encoding: chunked\r\n");
	}
	return to;
}

bool weir__http_may_keep(struct weir_http_req *req)
{
	const struct weir_http_opts *opts = &req->server->opts;

	if (req->close || !req->head.keep_alive || req->body_res < 0 ||
	    weir_listener_is_stopping(req->server->listener))
		return false;
	if (opts->requests_max && req->hc->requests >= opts->requests_max)
		return false;
	if (req->body_done)
		return true;
	/* Whether the rest comes at all is open when it was not asked for. */
	if (req->head.expects && !req->body_begun)
		return false;
	return req->head.chunked || req->body_left <= opts->drain_max;
}

/* What an answer can be refused for, and what follows from its status. */
static int begin(struct weir_http_req *req, int status, const struct weir_http_fields *fields,
		 int64_t size)
{
	weir_precond(!req->answered, -EBUSY);
	weir_precond(status >= 200 && status <= 599 && size >= WEIR_HTTP_CHUNKED, -EINVAL);
	if (fields && fields->error_)
		return fields->error_;
	req->skip_body = req->head.method == WEIR_HTTP_HEAD || status == 204 || status == 304;
	req->close = !weir__http_may_keep(req);
	req->reply_chunked = size < 0 && req->head.minor && status != 204 && status != 304;
	if (size < 0 && !req->head.minor)
		req->close = true;	/* its end is the connection's */
	return 0;
}

/* A head whose fields do not fit into one reservation. */
static int write_large_head(struct weir_http_req *req, int status,
			    const struct weir_http_fields *fields, int64_t size)
{
	char *to;
	int r = reserve(req, HEAD_ROOM, &to);

	if (r < 0)
		return r;
	weir_conn_commit(req->conn, (size_t)(put_head(req, to, status, size) - to));
	r = write_all(req, fields->text_, fields->size_);
	return cut(req, r < 0 ? r : write_all(req, "\r\n", 2));
}

/* The head, and behind it what of the body is copied along. */
static int write_head(struct weir_http_req *req, int status, const struct weir_http_fields *fields,
		      int64_t size, struct weir_http_text body)
{
	size_t fields_size = fields ? fields->size_ : 0;
	size_t room = HEAD_ROOM + fields_size + body.size;
	char *to, *end;
	int r;

	if (weir_unlikely(room > WEIR_CONN_RESERVE_MAX)) {
		r = write_large_head(req, status, fields, size);
		return r < 0 || !body.size ? r : cut(req, write_all(req, body.data, body.size));
	}
	r = reserve(req, room, &to);
	if (weir_unlikely(r < 0))
		return r;
	end = put_head(req, to, status, size);
	if (fields_size)
		end = put(end, fields->text_, fields_size);
	end = PUT(end, "\r\n");
	if (body.size)
		end = put(end, body.data, body.size);
	weir_conn_commit(req->conn, (size_t)(end - to));
	return 0;
}

/* --- answers --- */

int weir_http_reply(struct weir_http_req *req, int status, const struct weir_http_fields *fields,
		    const void *body, size_t size)
{
	struct weir_http_text copied = { body, size };
	int r = begin(req, status, fields, (int64_t)size);

	if (weir_unlikely(r < 0))
		return r;
	if (req->skip_body || size > WEIR_HTTP_COPY_MAX)
		copied.size = 0;
	r = write_head(req, status, fields, (int64_t)size, copied);
	if (weir_unlikely(r < 0))
		return r;
	req->answered = true;
	if (copied.size == size || req->skip_body)
		return 0;
	return cut(req, write_all(req, body, size));
}

int weir_http_reply_start(struct weir_http_req *req, int status,
			  const struct weir_http_fields *fields, int64_t size)
{
	const struct weir_http_text none = { NULL, 0 };
	int r = begin(req, status, fields, size);

	if (!r)
		r = write_head(req, status, fields, size, none);
	if (r < 0)
		return r;
	req->answered = true;
	req->streaming = true;
	req->reply_left = size < 0 ? UINT64_MAX : (uint64_t)size;
	return 0;
}

/* Counts what is to be written. Returns 1: write it, 0: it is left out, or -errno. */
static int account(struct weir_http_req *req, size_t size)
{
	weir_precond(req->streaming, -EBUSY);
	if (size > req->reply_left)
		return -EPROTO;
	if (req->reply_left != UINT64_MAX)
		req->reply_left -= size;
	return size && !req->skip_body;
}

static char *put_hex_line(char *to, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	unsigned shift = 60;

	while (shift && !(n >> shift))
		shift -= 4;
	for (;; shift -= 4) {
		*to++ = digits[n >> shift & 15];
		if (!shift)
			break;
	}
	return PUT(to, "\r\n");
}

static int write_chunk(struct weir_http_req *req, const void *data, size_t size)
{
	bool small = size <= WEIR_HTTP_COPY_MAX;
	char *to, *end;
	int r = reserve(req, CHUNK_ROOM + (small ? size : 0), &to);

	if (r < 0)
		return r;
	end = put_hex_line(to, size);
	if (small)
		end = PUT(put(end, data, size), "\r\n");
	weir_conn_commit(req->conn, (size_t)(end - to));
	if (small)
		return 0;
	r = write_all(req, data, size);
	return r < 0 ? r : write_all(req, "\r\n", 2);
}

int weir_http_reply_write(struct weir_http_req *req, const void *data, size_t size)
{
	int r = account(req, size);

	if (r <= 0)
		return r;
	if (req->reply_chunked)
		return cut(req, write_chunk(req, data, size));
	return cut(req, write_all(req, data, size));
}

/* Lends data to the output, waiting until that takes it. */
static int lend(struct weir_http_req *req, const struct weir_http_text *data,
		void (*release)(void *arg), void *arg)
{
	int r = weir_conn_write_ref(req->conn, data->data, data->size, release, arg);

	if (weir_likely(r != -EAGAIN))
		return r;
	r = wait_writable(req);
	return r < 0 ? r : weir_conn_write_ref(req->conn, data->data, data->size, release, arg);
}

int weir_http_reply_lend(struct weir_http_req *req, const void *data, size_t size,
			 void (*release)(void *arg), void *arg)
{
	const struct weir_http_text text = { data, size };
	int r = account(req, size);
	char *to;

	if (r < 0)
		return r;
	if (!r) {
		if (release)
			release(arg);
		return 0;
	}
	if (!req->reply_chunked)
		return cut(req, lend(req, &text, release, arg));
	r = reserve(req, CHUNK_ROOM, &to);
	if (r < 0)
		return cut(req, r);
	weir_conn_commit(req->conn, (size_t)(put_hex_line(to, size) - to));
	r = lend(req, &text, release, arg);
	if (!r)
		cut(req, write_all(req, "\r\n", 2));	/* the data is lent all the same */
	return cut(req, r);
}

int weir_http_reply_end(struct weir_http_req *req)
{
	weir_precond(req->streaming, -EBUSY);
	req->streaming = false;
	if (req->broken)
		return -EPIPE;
	if (req->reply_chunked)
		return req->skip_body ? 0 : cut(req, write_all(req, "0\r\n\r\n", 5));
	if (req->reply_left && req->reply_left != UINT64_MAX && !req->skip_body)
		return cut(req, -EPROTO);
	return 0;
}

int weir__http_reply_plain(struct weir_http_req *req, int status)
{
	const char *name = weir_http_status_name(status);
	struct weir_http_fields fields;
	char text[64];
	char body[64];
	char *end = put(body, name, strlen(name));

	*end++ = '\n';
	weir_http_fields_init(&fields, text, sizeof(text));
	weir_http_fields_add(&fields, "Content-Type", "text/plain");
	return weir_http_reply(req, status, &fields, body, (size_t)(end - body));
}

bool weir_http_req_is_answered(const struct weir_http_req *req)
{
	return req->answered;
}
