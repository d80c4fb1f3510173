/* SPDX-License-Identifier: MIT */
/*
 * serve.c - the direct style of serving: a coroutine for each connection that has
 * something to say, none for those that are silent.
 */
#include "core/waiting.h"
#include "core/weir_coro.h"
#include "core/worker.h"
#include "net/listener.h"

/* On the stack of the coroutine in weir_serve(). */
struct server {
	struct weir_wait wait;
	struct weir_listener *listener;
	struct weir_node sessions;
	weir_conn_fn handler;
	void *arg;
	struct weir_serve_opts opts;
	bool ended;		/* the listener is gone */
};

/* On the stack of a coroutine that serves. */
struct session {
	struct weir_node node;
	struct weir_coro *coro;
};

static int session_run(void *arg)
{
	struct weir_conn *conn = arg;
	struct server *server = weir__conn_listener_arg(conn);
	struct session session = { .coro = weir_coro_self() };

	weir__list_push(&server->sessions, &session.node);
	server->handler(conn, server->arg);
	weir__node_remove(&session.node);
	weir_conn_close(conn);
	return 0;
}

static void start(struct server *server, struct weir_conn *conn)
{
	const struct weir_coro_opts opts = { .name = server->opts.name, .detached = true };

	if (weir_coro_spawn(&opts, session_run, conn, NULL) < 0)
		weir__conn_refuse(conn);
}

static void on_ready(struct weir_conn *conn)
{
	if (!conn->in_count) {	/* it ended without a byte: nobody needs to know */
		weir_conn_close(conn);
		return;
	}
	weir_conn_set_ready(conn, NULL);
	start(weir__conn_listener_arg(conn), conn);
}

static void on_accept(struct weir_conn *conn, void *arg)
{
	struct server *server = arg;

	if (server->opts.at_accept)
		start(server, conn);
	else
		weir_conn_set_ready(conn, on_ready);
}

static void on_end(void *arg)
{
	struct server *server = arg;

	server->ended = true;
	weir__wait_wake(&server->wait, server->wait.reason);
}

static void serve_cancel(struct weir_wait *wait, int reason)
{
	struct server *server = weir_container_of(wait, struct server, wait);

	(void)reason;	/* on_end() gives it on */
	for (struct weir_node *node = server->sessions.next; node != &server->sessions;
	     node = node->next)
		weir_coro_cancel(weir_container_of(node, struct session, node)->coro);
	if (!server->ended && !weir_listener_is_stopping(server->listener))
		weir_listener_stop(server->listener);
}

static const struct weir_listener_events serve_events = {
	.on_accept = on_accept,
	.on_end = on_end,
};

int weir_serve(const char *address, const struct weir_serve_opts *opts, weir_conn_fn handler,
	       void *arg)
{
	struct server server = { .handler = handler, .arg = arg };
	int r = weir__wait_check(WEIR_NEVER);

	if (r < 0)
		return r;
	weir_precond(handler, -EINVAL);
	if (opts)
		server.opts = *opts;
	if (!server.opts.name)
		server.opts.name = "connection";
	weir__list_init(&server.sessions);
	weir__wait_init(&server.wait);
	r = weir__listener_create(address, opts, &serve_events, &server, (const void *)handler,
				  &server.listener);
	if (r < 0)
		return r;
	if (server.opts.on_listen)
		server.opts.on_listen(server.listener, arg);
	return weir__wait_park(&server.wait, "serve", serve_cancel, WEIR_NEVER);
}
