/* SPDX-License-Identifier: MIT */
/*
 * weir_http.h - an HTTP/1.1 and HTTP/1.0 server.
 *
 *	static int hello(struct weir_http_req *req, void *arg)
 *	{
 *		return weir_http_reply(req, 200, NULL, "Hello, World!\n", 14);
 *	}
 *
 *	static int service(void *arg)
 *	{
 *		return weir_http_serve("tcp://127.0.0.1:8080", NULL, hello, NULL);
 *	}
 *
 * The handler runs in a coroutine: it may wait. A connection between two requests has no
 * coroutine, no buffer and no parser. Pipelined requests are handled one after the other, their
 * answers leave together; parsing stops while the peer does not take its answers.
 *
 * What is not exactly HTTP is refused and the connection closed (RFC 9110, 9112; the choices are
 * listed in net/README.md). The server writes Content-Length, Transfer-Encoding, Connection and
 * Date itself.
 *
 * A request belongs to the coroutine of its handler and is gone when that returns.
 */
#ifndef WEIR_HTTP_H
#define WEIR_HTTP_H

#include "weir_admit.h"
#include "weir_conn.h"
#include "weir_core.h"
#include "weir_listener.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_http_req;

/* Bytes somewhere else, not ended by a NUL. data is NULL: there is none. */
struct weir_http_text {
	const char *data;
	size_t size;
};

enum weir_http_method {
	WEIR_HTTP_OTHER,
	WEIR_HTTP_GET,
	WEIR_HTTP_HEAD,
	WEIR_HTTP_POST,
	WEIR_HTTP_PUT,
	WEIR_HTTP_DELETE,
	WEIR_HTTP_OPTIONS,
	WEIR_HTTP_PATCH,
	WEIR_HTTP_TRACE
};

/* A body without a length, in weir_http_req_body_size() and weir_http_reply_start(). */
#define WEIR_HTTP_CHUNKED (-1)

/*
 * Answers req, with one weir_http_reply() or weir_http_reply_start() .. _end(). Returns 0, or a
 * negative errno: if nothing was answered yet it becomes the status -- -ENOENT 404, -EACCES and
 * -EPERM 403, -EINVAL and -EPROTO 400, -EMSGSIZE 413, -ETIMEDOUT 408 while the request's body was
 * read, 503 else; -EAGAIN, -ENOBUFS, -ENOMEM, -ESHUTDOWN 503; all others 500 -- and if a streamed
 * answer has begun, the connection is cut so that the peer cannot take it for whole. 0 without an
 * answer is a 500.
 */
typedef int (*weir_http_fn)(struct weir_http_req *req, void *arg);

/*
 * The class of req in opts.admit, or WEIR_HTTP_NO_TICKET: it goes on whatever the load. Must not
 * wait or answer. arg is the handler's.
 */
#define WEIR_HTTP_NO_TICKET (-1)
typedef int (*weir_http_class_fn)(struct weir_http_req *req, void *arg);

/* Zero means the default for every member. */
struct weir_http_opts {
	struct weir_serve_opts serve;	/* where and how to listen; at_accept means nothing */
	size_t head_max;	/* bytes of request line and headers, above: 431; default 16 KiB, at
				 * most 60 KiB */
	size_t target_max;	/* bytes of the request target, above: 414; default 8 KiB */
	unsigned fields_max;	/* headers, above: 431; default and at most WEIR_HTTP_FIELDS_MAX */
	int64_t body_max;	/* bytes of a request's body, above: 413; default 1 MiB;
				 * negative: any */
	size_t drain_max;	/* bytes of a body that the handler left unread which are read
				 * and dropped to keep the connection; default 64 KiB */
	uint32_t requests_max;	/* per connection, then it is closed; default: any number */
	int64_t head_ns;	/* from a request's first byte to the end of its head, else 408;
				 * default 10 s */
	int64_t idle_ns;	/* between requests; default 60 s */
	int64_t body_ns;	/* grace of a body, beside rate_min; default 10 s */
	uint32_t rate_min;	/* bytes a second that a body must bring after that; default 1024 */
	int64_t write_ns;	/* how long a peer may take for what is sent at once, at most
				 * the output's high mark and one lent piece; default 60 s */
	int64_t request_ns;	/* deadline of the handler's waiting calls; default: none. From the
				 * head on: a wait for a ticket counts */

	/*
	 * Admission (weir_admit.h): a request is handled once it has a ticket. Who is shed is
	 * answered 503 with Retry-After. A peer that ends its connection, or only its sending half,
	 * while its request is in line is taken for gone. The ticket goes back when the handler
	 * returns, with OK; DROP where that was -EAGAIN, -ENOBUFS, -ENOMEM or -ETIMEDOUT; else
	 * IGNORE.
	 */
	struct weir_admit *admit;	/* of this core, outlives the service. Default: all go on */
	weir_http_class_fn admit_class;	/* default: class 0 for all */
	const char *const *admit_always; /* paths that need no ticket, literals, then NULL: health.
					  * Default: none */
	int64_t retry_after_ns;	/* at least; rounded up to seconds, longer when the line is.
				 * Default 1 s */
};

/*
 * Serves address on this core until the service drains: idle connections are closed at once,
 * requests that have begun are answered with Connection: close. Else as weir_serve().
 */
WEIR_API int weir_http_serve(const char *address, const struct weir_http_opts *opts,
			     weir_http_fn handler, void *arg);

/* --- the request --- */

/* What is to be done. */
WEIR_API enum weir_http_method weir_http_req_method(const struct weir_http_req *req);

/* "GET", and what WEIR_HTTP_OTHER stands for. */
WEIR_API struct weir_http_text weir_http_req_method_name(const struct weir_http_req *req);

/* As it was sent: "/a%20b?c=d", "http://host/a", or "*". */
WEIR_API struct weir_http_text weir_http_req_target(const struct weir_http_req *req);

/* Its path, not decoded: "/a%20b"; begins with '/', or is "*". */
WEIR_API struct weir_http_text weir_http_req_path(const struct weir_http_req *req);

/* What follows the '?'; data is NULL without one. */
WEIR_API struct weir_http_text weir_http_req_query(const struct weir_http_req *req);

/* Whether the path is text (a literal, compared byte by byte). */
WEIR_API bool weir_http_req_is_path(const struct weir_http_req *req, const char *text);

/*
 * The value of the first header of that name (in any case), without the space around it; data is
 * NULL when there is none.
 */
WEIR_API struct weir_http_text weir_http_req_header(const struct weir_http_req *req,
						    const char *name);

/* Header number index, from 0. Returns false when there are no more. */
#define WEIR_HTTP_FIELDS_MAX 100
WEIR_API bool weir_http_req_header_at(const struct weir_http_req *req, unsigned index,
				      struct weir_http_text *ret_name,
				      struct weir_http_text *ret_value);

/* HTTP/1.minor. */
WEIR_API unsigned weir_http_req_minor(const struct weir_http_req *req);

/* Bytes of the body, 0: none, or WEIR_HTTP_CHUNKED: unknown. */
WEIR_API int64_t weir_http_req_body_size(const struct weir_http_req *req);

/*
 * Waits for the body and copies up to size bytes of it into buf. The first call answers an
 * Expect: 100-continue, unless an answer has begun: then the peer, who still waits for it, may
 * send the body late or not at all. So read before you answer.
 * Returns the count, 0 at the end of the body, -EMSGSIZE above body_max, -EPROTO (malformed
 * chunks), -EPIPE (the peer ended inside the body), -ETIMEDOUT (too slow), or as
 * weir_conn_read(). Any error but -EINVAL breaks the connection: only an answer can follow.
 */
WEIR_API ssize_t weir_http_req_read(struct weir_http_req *req, void *buf, size_t size);

/*
 * Waits for all of the body, which must fit into size bytes. Returns its size, -EMSGSIZE when it
 * does not fit, or as weir_http_req_read().
 */
WEIR_API ssize_t weir_http_req_read_all(struct weir_http_req *req, void *buf, size_t size);

/*
 * The ticket of a request that was admitted, to be given back before the handler returns: where a
 * long answer to a slow peer follows, which says nothing about the service. NULL when it holds
 * none.
 */
WEIR_API struct weir_ticket *weir_http_req_ticket(struct weir_http_req *req);

/* The connection it came on. Its output and input are the server's. */
WEIR_API struct weir_conn *weir_http_req_conn(const struct weir_http_req *req);

/* --- headers of an answer --- */

/* Headers as text, in memory of the caller's; made once, used in any number of answers. */
struct weir_http_fields {
	char *text_;
	uint32_t size_;
	uint32_t max_;
	int error_;
};

/* No headers yet; size bytes of buf hold the text of those to come: name + value + 4 bytes each. */
WEIR_API void weir_http_fields_init(struct weir_http_fields *fields, char *buf, size_t size);

/*
 * Adds a header. Both are NUL-terminated. Returns 0, -ENOSPC when buf is full, -EINVAL: name is
 * no token, value has a control character (a line break would let whoever wrote it split the
 * answer), or the header is one that the server writes itself. An error sticks: answers with
 * fields return it.
 */
WEIR_API int weir_http_fields_add(struct weir_http_fields *fields, const char *name,
				  const char *value);

/* The same with texts. */
WEIR_API int weir_http_fields_add_text(struct weir_http_fields *fields, const char *name,
				       struct weir_http_text value);

/* --- the answer --- */

/*
 * Answers with status (200..599), fields (may be NULL) and a body of size bytes, which is copied.
 * For HEAD the body is left out, its length is not; 204 and 304 have none. Waits while the output
 * is above its high mark. Returns 0, the error of fields, -EINVAL (status), -EBUSY (answered
 * already), or as weir_conn_write_all().
 */
WEIR_API int weir_http_reply(struct weir_http_req *req, int status,
			     const struct weir_http_fields *fields, const void *body,
			     size_t size);

/*
 * Begins an answer whose body follows: exactly size bytes, or WEIR_HTTP_CHUNKED (for an HTTP/1.0
 * peer the body then ends with the connection). Errors as weir_http_reply().
 */
WEIR_API int weir_http_reply_start(struct weir_http_req *req, int status,
				   const struct weir_http_fields *fields, int64_t size);

/*
 * A part of the body, copied; a large one is lent and the call waits until it was sent. Returns
 * 0, -EBUSY when no answer was started, -EPROTO (nothing was written) when it would exceed the
 * size, or as weir_conn_write_all().
 */
WEIR_API int weir_http_reply_write(struct weir_http_req *req, const void *data, size_t size);

/*
 * A part of the body that is not copied but lent, until release(arg) (may be NULL) is called.
 * Errors as weir_http_reply_write(); then nothing was lent. For HEAD release is called at once.
 */
WEIR_API int weir_http_reply_lend(struct weir_http_req *req, const void *data, size_t size,
				  void (*release)(void *arg), void *arg);

/* Ends it. -EPROTO when fewer bytes than promised were written: the connection will be cut. */
WEIR_API int weir_http_reply_end(struct weir_http_req *req);

/* Whether weir_http_reply() or weir_http_reply_start() has succeeded. */
WEIR_API bool weir_http_req_is_answered(const struct weir_http_req *req);

/* "Not Found"; "" for a status without a name. Any thread. */
WEIR_API const char *weir_http_status_name(int status);

/* --- dates --- */

#define WEIR_HTTP_DATE_SIZE 29

/*
 * Writes seconds since 1970 as "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7): 29 bytes, no
 * NUL. Any thread.
 */
WEIR_API void weir_http_date_format(int64_t seconds, char text[WEIR_HTTP_DATE_SIZE]);

/* Reads such a date; the two obsolete forms are not read. Returns 0 or -EINVAL. */
WEIR_API int weir_http_date_parse(struct weir_http_text text, int64_t *ret_seconds);

#ifdef __cplusplus
}
#endif

#endif
