/* SPDX-License-Identifier: MIT */
/*
 * weir_conn.h - a stream connection (TCP or Unix), in direct, future and callback style.
 *
 * Reading: one multishot receive per connection brings data in buffers of the core's own
 * ring, so an idle connection holds none. A read copies out of them; a lease lends one.
 * When a connection holds more than its quota unread, or the core's buffers run low, the
 * receive is disarmed: the peer's TCP window closes, no byte is lost, and reading arms it again.
 *
 * Writing: what a turn writes to a connection is collected and leaves in one ordered send
 * at the end of the turn, one send in flight at a time. Above the high mark writers wait until
 * the peer has taken enough: output is bounded.
 *
 *	OPEN --peer ends--> reads return 0, writes still go
 *	OPEN --weir_conn_shutdown()--> the peer reads end of file, reads still come
 *	OPEN --weir_conn_close()--> CLOSING: output leaves, ops retire, descriptor closes --> gone
 *
 * A connection belongs to the core that accepted or opened it.
 */
#ifndef WEIR_CONN_H
#define WEIR_CONN_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_conn;

/* A lent piece of received data. It stays valid until weir_conn_release(). */
struct weir_lease {
	const char *data;
	size_t size;
	uint32_t id_;
};

/* Zero means the default for every member. */
struct weir_conn_opts {
	unsigned bufs_max; /* receive buffers held unread before the receive is disarmed; default 16
			    */
	size_t out_high;	/* bytes of output above which writers wait; default 256 KiB */
	size_t out_low;		/* below which they go on; default a quarter of out_high, at most
				 * out_high */
	int64_t idle_ns; /* nothing read and nothing written for so long ends the connection with
			  * -ETIMEDOUT; default: never */
	size_t zc_min;	 /* sends of at least so many bytes are zero-copy; default: never (see
			  * net/README.md for where it pays) */
};

/* --- direct style: inside a coroutine; its deadline counts --- */

/*
 * Waits for data and copies up to size bytes into buf. One reader at a time.
 * Returns the count, 0 at the peer's end of file (or when the service drains and nothing
 * is left to read), or -ECANCELED, -ETIMEDOUT (the coroutine's deadline, or the idle
 * deadline), -ECONNRESET and the like from the peer, what writing failed with, -EBUSY (somebody
 * else reads), -EINVAL (size 0), -EDEADLK outside a coroutine. Nothing that arrived is lost by a
 * read that ended early.
 */
WEIR_API ssize_t weir_conn_read(struct weir_conn *conn, void *buf, size_t size);

/* Reads exactly size bytes. Returns size, -EPIPE when the peer ended before, or as
 * weir_conn_read(). */
WEIR_API ssize_t weir_conn_read_exact(struct weir_conn *conn, void *buf, size_t size);

/*
 * Waits for data and lends the buffer it arrived in: nothing is copied. Give it back with
 * weir_conn_release() before long: it counts against the connection's quota. Leases come
 * in order; several may be held.
 * Returns the size of the lease, or as weir_conn_read() (then nothing is lent).
 */
WEIR_API ssize_t weir_conn_lease(struct weir_conn *conn, struct weir_lease *ret_lease);

/* Gives a lease back. Every lease is given back before weir_conn_close(). */
WEIR_API void weir_conn_release(struct weir_conn *conn, struct weir_lease *lease);

/* Whether a read would return at once: data, end of file or an error is there. */
WEIR_API bool weir_conn_is_readable(const struct weir_conn *conn);

/*
 * Queues size bytes, copied; they leave at the end of the turn, in order. Waits while the
 * output is above the high mark. A large buffer (16 KiB and more) is not copied: then the
 * call returns when the kernel has taken all of it.
 * Returns 0, or -EPIPE / -ECONNRESET (the peer is gone; also of earlier writes), -ECANCELED,
 * -ETIMEDOUT (part of it may have been sent: the stream is broken, close it), -ESHUTDOWN after
 * weir_conn_shutdown(), -ENOBUFS (the core's output memory is at its bound), -EDEADLK.
 */
WEIR_API int weir_conn_write_all(struct weir_conn *conn, const void *buf, size_t size);

/*
 * The same without waiting: all or nothing. -EAGAIN above the high mark. Also outside a
 * coroutine.
 */
WEIR_API int weir_conn_write_try(struct weir_conn *conn, const void *buf, size_t size);

/*
 * Queues memory that is not copied: lent until release(arg) (may be NULL) is called, when it was
 * sent or the connection ended. Does not wait. On error nothing was lent. Returns 0, -EAGAIN above
 * the high mark, and as weir_conn_write_all().
 */
WEIR_API int weir_conn_write_ref(struct weir_conn *conn, const void *data, size_t size,
				 void (*release)(void *arg), void *arg);

/*
 * Space for size bytes (at most WEIR_CONN_RESERVE_MAX) at the end of the output, to be written by
 * the caller now: what was used is queued by weir_conn_commit(). NULL above the high mark or when
 * the core's output memory is at its bound. Nothing may come in between.
 */
#define WEIR_CONN_RESERVE_MAX 4096
WEIR_API char *weir_conn_reserve(struct weir_conn *conn, size_t size);
WEIR_API void weir_conn_commit(struct weir_conn *conn, size_t used);

/* Waits until the kernel has taken everything written so far. Errors as weir_conn_write_all(). */
WEIR_API int weir_conn_flush(struct weir_conn *conn);

/* Waits until the output is below the low mark. Errors as weir_conn_write_all(). */
WEIR_API int weir_conn_wait_writable(struct weir_conn *conn);

/*
 * Half-close: sends what was written, then end of file. Later writes return -ESHUTDOWN. Waits.
 * Returns 0 or as weir_conn_write_all().
 */
WEIR_API int weir_conn_shutdown(struct weir_conn *conn);

/*
 * Ends the connection and gives conn up: what was written is still sent (at most 5 s), ops
 * retire, the descriptor is closed, the memory goes back. Does not wait; outside a coroutine
 * too. After an error nothing more is sent.
 */
WEIR_API void weir_conn_close(struct weir_conn *conn);

/* The same without sending what is queued; the peer sees a reset when it was still sending. */
WEIR_API void weir_conn_abort(struct weir_conn *conn);

/* --- callback style --- */

/* Called on the connection's core, outside any coroutine; must not wait. */
struct weir_conn_events {
	/*
	 * size bytes arrived (data is lent during the call), or the input ended: size 0 with res
	 * 0 (end of file) or -errno. After the end nothing comes any more: close the connection.
	 */
	void (*on_data)(struct weir_conn *conn, const char *data, size_t size, int res);
	/* The output was above the high mark and is below the low mark. May be NULL. */
	void (*on_writable)(struct weir_conn *conn);
};

/*
 * Sends what arrives to events (borrowed, as long as the connection lives) from now on; what
 * is queued already is delivered within this call. NULL returns to direct style. Not while a
 * coroutine reads (-EBUSY).
 */
WEIR_API int weir_conn_set_events(struct weir_conn *conn, const struct weir_conn_events *events);

/* Stops and resumes reading in callback style: the receive is disarmed, the TCP window closes. */
WEIR_API void weir_conn_pause(struct weir_conn *conn);
WEIR_API void weir_conn_resume(struct weir_conn *conn);

/*
 * Calls ready(conn) when data, an end or an error arrives while nobody reads: the moment to
 * take a coroutine for a connection that has been idle without one. Called again only after
 * something was read or leased. NULL: off.
 */
WEIR_API void weir_conn_set_ready(struct weir_conn *conn, void (*ready)(struct weir_conn *conn));

/* --- about a connection --- */

/* A pointer of the caller's, kept for him. */
WEIR_API void weir_conn_set_user(struct weir_conn *conn, void *user);
WEIR_API void *weir_conn_user(const struct weir_conn *conn);

/* Called when the connection is gone for good: last use of user. NULL: nobody. */
WEIR_API void weir_conn_set_gone(struct weir_conn *conn, void (*gone)(void *user));

/* Sets the idle deadline; 0 or less: never. */
WEIR_API void weir_conn_set_idle(struct weir_conn *conn, int64_t idle_ns);

/* Bytes written that the kernel has not taken yet. */
WEIR_API size_t weir_conn_pending(const struct weir_conn *conn);

/* Bytes received and sent so far. */
WEIR_API uint64_t weir_conn_bytes_in(const struct weir_conn *conn);
WEIR_API uint64_t weir_conn_bytes_out(const struct weir_conn *conn);

/*
 * Writes the peer's address ("tcp://10.0.0.7:51234", "unix:") into text of size bytes. A direct
 * descriptor is installed for it as a plain one for a moment: two operations, not for every
 * request. In a coroutine. Returns 0, -ENOSPC when it does not fit (WEIR_ADDR_TEXT is always
 * enough), -ENOTCONN (the peer is gone), -EMFILE, -ECANCELED, -ETIMEDOUT, -EINVAL (a kernel
 * before 6.8), -EDEADLK.
 */
WEIR_API int weir_conn_peer(struct weir_conn *conn, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
