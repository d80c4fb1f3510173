/* SPDX-License-Identifier: MIT */
/*
 * weir_stream_net.h - connections as streams: what arrives, who connects, what is sent.
 *
 * Demand reaches the kernel: while nothing is asked for, the connection's receive is not armed, its
 * socket buffer fills, and the window that TCP shows the peer closes.
 */
#ifndef WEIR_STREAM_NET_H
#define WEIR_STREAM_NET_H

#include "weir_conn.h"
#include "weir_listener.h"
#include "weir_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_future;

/*
 * What arrives at conn: ptr and size, in the buffer it arrived in, to be read until the item is
 * dropped. At most leases (at least 1) of them are out; then nothing is received. The end of input
 * completes the stream, an error of the connection ends it with that. conn is lent, in direct
 * style, until the pipeline is over and the last item was dropped.
 */
WEIR_API struct weir_stream *weir_stream_conn(struct weir_arena *arena, struct weir_conn *conn,
					      unsigned leases);

/*
 * Who connects to address: ptr is a struct weir_conn, the receiver's to close. A connection that
 * was not asked for waits, up to room of them; more are closed at once, and counted as dropped.
 * opts as of weir_listener_create(). Cancelling, or draining the service, stops listening; the
 * pipeline is over when the last connection is gone. Ends with the errors of
 * weir_listener_create().
 */
WEIR_API struct weir_stream *weir_stream_listen(struct weir_arena *arena, const char *address,
						const struct weir_serve_opts *opts, unsigned room);

/*
 * Writes each item (ptr and size) to conn, which is lent: asks for more when the output is below
 * its mark. Fulfilled with how many items there were, when all are in the output (weir_conn_flush()
 * waits for the kernel); rejected with the errors of weir_conn_write_all(). Neither ends nor closes
 * conn.
 */
WEIR_API struct weir_future *weir_stream_to_conn(struct weir_stream *stream,
						 struct weir_conn *conn);

#ifdef __cplusplus
}
#endif

#endif
