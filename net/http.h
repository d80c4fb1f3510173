/* SPDX-License-Identifier: MIT */
/*
 * http.h - the parts of the HTTP server as they see each other.
 *
 *	http_server.c	a core's server: connections, who is idle, who is ready, coroutines
 *	http_conn.c	one connection while requests are in progress: input, requests in turn
 *	http_admit.c	tickets for requests
 *	http_head.c	bytes to a parsed head
 *	http_body.c	the body of a request
 *	http_reply.c	the answer
 *	http_text.c	statuses, dates, header fields: what needs no connection
 */
#ifndef WEIR_NET_HTTP_H
#define WEIR_NET_HTTP_H

#include <llhttp.h>

#include "core/alloc.h"
#include "core/queue.h"
#include "core/waiting.h"
#include "core/weir_coro.h"
#include "core/worker.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/weir_http.h"

struct weir_http_server;

/* --- a parsed head: places relative to its first byte, so that it may move --- */

struct weir_http_span {
	uint16_t at;
	uint16_t size;
};

struct weir_http_field_at {
	struct weir_http_span name;
	struct weir_http_span value;
};

struct weir_http_head {
	uint16_t size;			/* bytes of all of it, the empty line included */
	uint8_t method;			/* enum weir_http_method */
	uint8_t minor;
	bool keep_alive;
	bool expects;			/* Expect: 100-continue */
	bool chunked;
	bool has_query;
	uint16_t count;
	struct weir_http_span name;	/* of the method */
	struct weir_http_span target;
	struct weir_http_span path;
	struct weir_http_span query;
	uint64_t length;		/* of the body */
	struct weir_http_field_at fields[WEIR_HTTP_FIELDS_MAX];
};

struct weir_http_limits {
	uint32_t head_max;
	uint32_t target_max;
	uint32_t fields_max;
};

/* A parser with what its callbacks need. Callbacks reach it by its first member. */
struct weir_http_parser {
	llhttp_t llhttp;
	struct weir_http_head *head;
	const char *base;		/* first byte of the head that is being parsed */
	const struct weir_http_limits *limits;
	int status;			/* an error that we found, as the answer's status */
	bool in_field;			/* the name or value that came last may go on */
	bool in_value;
	bool head_done, body_done;
	bool in_body;
	const char *data;		/* a piece of the body */
	size_t data_size;
	uint64_t chunks_size;		/* of all chunks that were announced */
	uint32_t extra;			/* bytes of chunk extensions and trailers */
};

void weir__http_parser_init(struct weir_http_parser *parser, struct weir_http_head *head,
			    const struct weir_http_limits *limits);

/* The next head begins at base. */
void weir__http_head_begin(struct weir_http_parser *parser, const char *base);

/*
 * Parses size more bytes at data, which follow those before (base was told where they begin).
 * Returns 1 when the head is complete (head->size says where it ends), 0 when more is needed, or
 * minus the status of the answer.
 */
int weir__http_head_parse(struct weir_http_parser *parser, const char *data, size_t size);

/*
 * Parses chunks up to the next piece of the body. Returns how many of size bytes were used; a piece
 * is in parser->data (of these bytes), body_done says that it was the last. Negative: malformed.
 */
ssize_t weir__http_chunks_parse(struct weir_http_parser *parser, const char *data, size_t size);

/*
 * The last head that was parsed. Peers that keep a connection mostly ask the same again, and
 * comparing bytes costs a tenth of parsing them.
 */
#define WEIR_HTTP_MEMO_MAX 1024

struct weir_http_memo {
	uint32_t misses;		/* since the last hit */
	uint32_t size;			/* 0: none */
	char bytes[WEIR_HTTP_MEMO_MAX];
	struct weir_http_head head;
};

/* Whether the bytes at data begin with the head that is remembered: then it is copied to head. */
bool weir__http_memo_recall(struct weir_http_memo *memo, const char *data, size_t size,
			    struct weir_http_head *head);

/* head was parsed from data. */
void weir__http_memo_keep(struct weir_http_memo *memo, const char *data,
			  const struct weir_http_head *head);

/* --- a core's server --- */

enum weir_http_state { HTTP_IDLE, HTTP_READY, HTTP_BUSY };

/* What a connection keeps between requests. */
struct weir_http_conn {
	struct weir_node node;		/* IDLE: server->idle; READY: server->ready */
	struct weir_http_server *server;
	struct weir_conn *conn;
	struct weir_coro *in_line;	/* waits for a ticket, or NULL */
	int64_t idle_since;
	uint32_t requests;
	uint32_t out_seen;		/* bytes sent when the idle timer last looked */
	uint32_t idle_rounds;		/* how often it found no more */
	uint8_t state;
	bool had_empty_line;		/* before the next request */
};

/* The constant part of the most frequent answer, made anew each second. */
#define WEIR_HTTP_LEAD_MAX 96

/* On the stack of the coroutine in weir_http_serve(). */
struct weir_http_server {
	struct weir_wait wait;
	struct weir_listener *listener;
	struct weir_kernel *kernel;
	weir_http_fn handler;
	void *arg;
	struct weir_http_opts opts;
	struct weir_http_limits limits;

	struct weir_node idle;		/* longest first */
	struct weir_node ready;		/* FIFO: data came, no coroutine yet */
	struct weir_node runners;	/* coroutines that serve */
	struct weir_task pump;
	struct weir_timer timer;	/* looks at the longest idle */
	struct weir_slab conns;
	struct weir_slab heads;		/* head_max bytes each */
	bool ended;			/* the listener is gone */

	int64_t lead_until;		/* weir_now() when the date changes */
	unsigned lead_size;
	char lead[WEIR_HTTP_LEAD_MAX];	/* "HTTP/1.1 200 OK\r\nDate: ...\r\nContent-Length: " */
	char date[WEIR_HTTP_DATE_SIZE];
	struct weir_http_memo memo;

	int metric_requests, metric_bad;
};

/* hc leaves the server, its connection ends: what was written is still sent, unless cut. */
void weir__http_conn_close(struct weir_http_conn *hc, bool cut);

/* Serves what has arrived on hc, until it is idle again or gone. Only req->server is set before. */
void weir__http_conn_serve(struct weir_http_req *req, struct weir_http_conn *hc);

/* hc has nothing to do: it waits for its next request. */
void weir__http_conn_idle(struct weir_http_conn *hc);

/* --- a request, and the connection while it is in progress; on a coroutine's stack --- */

struct weir_http_req {
	struct weir_http_server *server;
	struct weir_http_conn *hc;
	struct weir_conn *conn;

	/* Input: the rest of the buffer that is lent. */
	const char *in;
	const char *in_end;
	struct weir_lease lease;	/* data NULL: none */
	struct weir_lease kept;		/* the head lies in it; input has moved on */
	bool head_leased;		/* the head lies in lease */
	char *stash;			/* the head, put together; NULL: it lies in a lease */
	uint32_t stash_size;

	const char *base;		/* first byte of the head */
	struct weir_http_parser parser;
	struct weir_http_head head;

	struct weir_ticket ticket;	/* with opts.admit only */

	/* The body. */
	uint64_t body_left;		/* with a length: to come */
	uint64_t body_seen;
	int64_t body_waited;		/* for the peer, not what the handler took in between */
	bool body_done;
	bool body_begun;		/* somebody has read */
	int body_res;			/* < 0: why it cannot be read on */

	/* The answer. */
	bool answered;
	bool streaming;			/* started and not ended */
	bool reply_chunked;
	bool skip_body;			/* HEAD, 204, 304 */
	bool close;			/* the connection does not outlive it */
	bool broken;			/* cut it: what was sent is not whole */
	uint64_t reply_left;
};

/* Calls the handler, or answers instead, where the server has an admit. Returns as the handler. */
int weir__http_admit(struct weir_http_req *req);

/* Something came, perhaps the end, while hc is in line. */
void weir__http_admit_ended(struct weir_http_conn *hc);

/* More input into in .. in_end, waiting. Returns 1, 0 at its end, or -errno. */
int weir__http_fill(struct weir_http_req *req);

/* Reads the body away up to size bytes. Returns 1 when it is over, 0: too much, or -errno. */
int weir__http_body_drop(struct weir_http_req *req, size_t size);

/* Whether the connection may go on after this request, as far as is known now. */
bool weir__http_may_keep(struct weir_http_req *req);

/* Bodies up to this size are copied behind their head. */
#define WEIR_HTTP_COPY_MAX 2048

/* Waits until all output was taken, as long as the peer takes some of it each write_ns. */
int weir__http_flush(struct weir_http_req *req);

/* Answers with no more than the status. */
int weir__http_reply_plain(struct weir_http_req *req, int status);

/* --- text --- */

/* Writes n in decimal; returns the end. */
char *weir__http_put_number(char *to, uint64_t n);

#endif
