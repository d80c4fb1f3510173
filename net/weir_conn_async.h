/* SPDX-License-Identifier: MIT */
/*
 * weir_conn_async.h - reading and writing a connection as futures.
 *
 *	struct weir_future *line = weir_conn_read_async(conn, buf, sizeof(buf));
 *	...
 *	n = weir_await(weir_timeout(line, weir_in(WEIR_S)), WEIR_NEVER, NULL);
 *
 * What is lent stays lent until the future is settled. On the connection's core. Close the
 * connection when its futures are settled.
 */
#ifndef WEIR_CONN_ASYNC_H
#define WEIR_CONN_ASYNC_H

#include "weir_conn.h"
#include "weir_future.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The future of weir_conn_read(): res is what that returns. buf is lent. Cancelling it
 * loses no byte: what arrives later is for the next read.
 * Adds -ENOBUFS at futures_max or 65,536 reads and writes of this core.
 */
WEIR_API struct weir_future *weir_conn_read_async(struct weir_conn *conn, void *buf, size_t size);

/*
 * Queues size bytes (1 to INT32_MAX) of buf, which is lent and not copied. res is size once the
 * kernel has taken all of it, else why it has not (-EPIPE, -ECONNRESET). It cannot be taken back:
 * cancelling it does nothing. Rejected with -EAGAIN above the high mark: write when an earlier
 * write is settled.
 */
WEIR_API struct weir_future *weir_conn_write_async(struct weir_conn *conn, const void *buf,
						   size_t size);

#ifdef __cplusplus
}
#endif

#endif
