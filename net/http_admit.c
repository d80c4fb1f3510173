/* SPDX-License-Identifier: MIT */
/*
 * http_admit.c - requests that need a ticket before they are handled.
 *
 * Between the head and the handler: who is shed gets his 503 before anything was done for him,
 * and keeps his connection, so that coming back costs him no handshake. While a request is in line
 * the connection's end is looked for: on_ready() of the server calls weir__http_admit_ended().
 */
#include <string.h>

#include "net/http.h"

static bool needs_no_ticket(struct weir_http_req *req)
{
	const char *const *path = req->server->opts.admit_always;

	for (; path && *path; path++)
		if (weir_http_req_is_path(req, *path))
			return true;
	return false;
}

static bool has_left(const struct weir_conn *conn)
{
	return conn->in_state == IN_ENDED;
}

void weir__http_admit_ended(struct weir_http_conn *hc)
{
	hc->conn->ready_told = false;	/* tell me again: what came may be the next request */
	if (has_left(hc->conn) && hc->in_line->wait)
		weir__wait_end(hc->in_line->wait, -ECANCELED);
}

static int enter(struct weir_http_req *req, unsigned index)
{
	struct weir_http_conn *hc = req->hc;
	int r;

	hc->in_line = weir_coro_self();
	req->conn->ready_told = false;
	r = weir_admit_enter(req->server->opts.admit, index, WEIR_NEVER, &req->ticket);
	hc->in_line = NULL;
	return r;
}

/* --- the answer to who is shed --- */

static uint64_t retry_after_s(const struct weir_http_server *server)
{
	int64_t ns = server->opts.retry_after_ns;
	struct weir_admit_info info;

	if (!weir_admit_info(server->opts.admit, &info) && info.delay_ns > ns)
		ns = info.delay_ns;
	return (uint64_t)(ns / WEIR_S + (ns % WEIR_S != 0));
}

static int reply_shed(struct weir_http_req *req)
{
	struct weir_http_fields fields;
	char buf[64], number[24];

	*weir__http_put_number(number, retry_after_s(req->server)) = '\0';
	weir_http_fields_init(&fields, buf, sizeof(buf));
	weir_http_fields_add(&fields, "Retry-After", number);
	return weir_http_reply(req, 503, &fields, "Service Unavailable\n", 20);
}

/* --- the request --- */

/* What the handler's result says about the service: what becomes a 503 is overload further down. */
static enum weir_ticket_outcome outcome_of(int res)
{
	switch (res) {
	case -EAGAIN:
	case -ENOBUFS:
	case -ENOMEM:
	case -ETIMEDOUT:
		return WEIR_TICKET_DROP;
	default:
		return res < 0 ? WEIR_TICKET_IGNORE : WEIR_TICKET_OK;
	}
}

int weir__http_admit(struct weir_http_req *req)
{
	struct weir_http_server *server = req->server;
	int index = WEIR_HTTP_NO_TICKET, r;

	req->ticket.admit_ = NULL;
	if (!needs_no_ticket(req))
		index = server->opts.admit_class ? server->opts.admit_class(req, server->arg) : 0;
	if (index == WEIR_HTTP_NO_TICKET)
		return server->handler(req, server->arg);
	r = enter(req, (unsigned)index);
	if (r == -ECANCELED && has_left(req->conn)) {
		req->broken = true;
		return -EPIPE;
	}
	if (r == -EINVAL || r == -EPROTO)
		return -EIO;		/* no such class, not this core's: a 500, not the peer's */
	if (r < 0)
		return reply_shed(req);
	r = server->handler(req, server->arg);
	weir_ticket_done(&req->ticket, outcome_of(r));
	return r;
}

struct weir_ticket *weir_http_req_ticket(struct weir_http_req *req)
{
	return req->server->opts.admit && req->ticket.admit_ ? &req->ticket : NULL;
}
