/* SPDX-License-Identifier: MIT */
/*
 * weir_listener.h - serving an address, and connecting to one.
 *
 *	static void echo(struct weir_conn *conn, void *arg)
 *	{
 *		char buf[4096];
 *		ssize_t n;
 *
 *		while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0)
 *			if (weir_conn_write_all(conn, buf, n) < 0)
 *				break;
 *	}
 *
 *	static int service(void *arg)
 *	{
 *		return weir_serve("tcp://127.0.0.1:7000", NULL, echo, NULL);
 *	}
 *
 * Every core that calls weir_serve() with the same address serves it. By default each has a
 * listening socket of its own (SO_REUSEPORT): the kernel spreads connections by a hash, so they
 * are even in number and not in load. Shared, all cores accept from one socket: whoever is awake
 * takes the next. A Unix socket is always shared.
 *
 * A listener never spins and never dies: at its limit, and when the kernel has no descriptor or
 * memory left (EMFILE, ENFILE, ENOBUFS, ENOMEM), accepting pauses, those connected are served on,
 * and it resumes when a connection ends, at the latest after a tenth of a second.
 */
#ifndef WEIR_LISTENER_H
#define WEIR_LISTENER_H

#include "weir_addr.h"
#include "weir_conn.h"
#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_listener;

/* Zero means the default for every member. */
struct weir_serve_opts {
	const char *name;	/* of the coroutines that serve, in dumps; borrowed; default
				 * "connection" */
	int backlog;		/* connections the kernel keeps until they are accepted; default
				 * 4096, at most net.core.somaxconn */
	unsigned conns_max;	/* connections of this listener on this core, above which accepting
				 * pauses; default: conns_max of weir_run() */
	bool shared;		/* one socket for all cores */
	bool share_port;	/* other processes of this user may listen on the port as well */
	bool at_accept;		/* take the coroutine when the connection is accepted, for
				 * protocols in which the server speaks first; default: when its
				 * first byte arrives, so that an idle connection holds no stack */
	bool nagle;		/* leave TCP's small-packet delay on */
	int defer_s;		/* TCP_DEFER_ACCEPT: hide a connection until it sent something or
				 * so many seconds passed */
	struct weir_conn_opts conn;
	/* Called with the handler's arg once this core listens. */
	void (*on_listen)(struct weir_listener *listener, void *arg);
};

/*
 * Serves one connection in a coroutine of its own. The connection is closed when it returns: do
 * not close it here. Its waiting calls end when the service drains (reads return 0 after what was
 * received) or is cancelled.
 */
typedef void (*weir_conn_fn)(struct weir_conn *conn, void *arg);

/*
 * Serves address (weir_addr.h) on this core until the service drains: accepting stops, each
 * connection ends its input after what was received, and the call returns when the last is gone.
 * opts may be NULL. In a coroutine; cancelling it, or its deadline, stops the same way and
 * cancels the handlers too. A connection whose coroutine cannot be started (coros_max, memory) is
 * closed and counted.
 *
 * Returns 0 after a drain, -ECANCELED, -ETIMEDOUT, -EDEADLK; before anything was served: -EINVAL
 * (weir_addr_parse() says why, or an option is negative), -EADDRINUSE (somebody listens there:
 * choose another port, or share_port in both), -EADDRNOTAVAIL (not an address of this machine),
 * -EACCES (a port below 1024, a directory without write permission), -ESHUTDOWN, -EMFILE,
 * -ENOMEM, -ENOBUFS.
 */
WEIR_API int weir_serve(const char *address, const struct weir_serve_opts *opts,
			weir_conn_fn handler, void *arg);

/* --- callback style --- */

/* Called on the listener's core, outside any coroutine; must not wait. on_accept is required. */
struct weir_listener_events {
	/* conn is the callee's: to close it, later or now. */
	void (*on_accept)(struct weir_conn *conn, void *arg);
	/* The listener stops: for each of its connections. Default: its input ends after what was
	 * received. */
	void (*on_drain)(struct weir_conn *conn, void *arg);
	/* The listener and its last connection are gone. */
	void (*on_end)(void *arg);
};

/*
 * Listens on address. The worker lives as long as the listener. events is borrowed until on_end.
 * Of opts, name, at_accept and on_listen mean nothing here. Returns 0, or as weir_serve().
 */
WEIR_API int weir_listener_create(const char *address, const struct weir_serve_opts *opts,
				  const struct weir_listener_events *events, void *arg,
				  struct weir_listener **ret_listener);

/*
 * Stops listening, as a drain does: on_drain for each connection, and on_end (perhaps within this
 * call) when the last is gone. listener is given up. Once; a listener that drains is stopping
 * already.
 */
WEIR_API void weir_listener_stop(struct weir_listener *listener);

/* Whether it was stopped, or the service drains. */
WEIR_API bool weir_listener_is_stopping(const struct weir_listener *listener);

/* Where it listens, with the real port: "tcp://127.0.0.1:41234". As long as it lives. */
WEIR_API const char *weir_listener_address(const struct weir_listener *listener);

/* What a listener counted on this core. */
struct weir_listener_info {
	unsigned conns;		/* open now */
	unsigned conns_max;
	uint64_t accepted;
	uint64_t refused;	/* closed at once: no memory, no coroutine, raced past the limit */
	uint64_t paused;	/* times accepting paused, by the limit or for want of
				 * descriptors */
	int pause_error;	/* why it paused last: -EMFILE, ...; 0: the limit */
};

WEIR_API void weir_listener_info(const struct weir_listener *listener,
				 struct weir_listener_info *ret_info);

/* --- connecting --- */

/*
 * Connects to address. opts may be NULL. In a coroutine; its deadline counts. The connection is
 * the caller's to close. Returns 0, -EINVAL (weir_addr_parse() says why), -ECONNREFUSED, -ENOENT
 * (no such Unix socket), -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT (the deadline, or the
 * network's), -ECANCELED, -EDEADLK, -EMFILE, -ENOBUFS (conns_max of weir_run()), -ENOMEM.
 */
WEIR_API int weir_connect(const char *address, const struct weir_conn_opts *opts,
			  struct weir_conn **ret_conn);

#ifdef __cplusplus
}
#endif

#endif
