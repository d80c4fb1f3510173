/* SPDX-License-Identifier: MIT */
/*
 * conn.h - what the rest of net/ needs of a connection: making one from a descriptor,
 * its per-core home, its place among its listener's.
 */
#ifndef WEIR_NET_CONN_H
#define WEIR_NET_CONN_H

#include "core/alloc.h"
#include "core/queue.h"
#include "core/waiting.h"
#include "core/weir_task.h"
#include "core/worker.h"
#include "futures/weir_future.h"
#include "net/weir_conn.h"
#include "ring/ring.h"

/* A piece of output. An inline one is followed by its bytes; a reference lends them. */
struct weir_piece {
	struct weir_piece *next;
	const char *data;
	uint32_t size;			/* bytes of data */
	uint32_t sent;			/* of them the kernel has */
	void (*release)(void *arg);	/* reference: told when it is over */
	void *arg;
	bool is_ref;
};

/* Bytes of an inline piece, header included. */
#define WEIR_OUT_CHUNK 8192

/* What one send takes at most; kept with the connections that need it, not in each. */
#define WEIR_PIECE_IOVS 16
struct weir_piece_msg {
	struct msghdr hdr;
	struct iovec iov[WEIR_PIECE_IOVS];
};

/* One per core, made with the first connection or listener. */
struct weir_net {
	struct weir_ring *ring;
	struct weir_slab conns;		/* struct weir_conn */
	struct weir_slab chunks;	/* inline output: OUT_CHUNK bytes each */
	struct weir_slab refs;		/* struct weir_piece of references */
	struct weir_slab msgs;		/* struct weir_piece_msg */
	struct weir_slab asyncs;	/* struct weir_conn_async: reads and writes as futures */
	struct weir_node all;		/* every connection of this core */
	struct weir_worker_exit exit;
	uint64_t accepted, closed, refused;
};

/* One who waits for data: told once, with a count, 0 at the end, or -errno. */
struct weir_reader {
	void (*done)(struct weir_reader *reader, int res);
	void *buf;			/* copy into it, or NULL: lease */
	size_t size;
	struct weir_lease *lease;
};

/* A read or a write as a future. */
struct weir_conn_async {
	struct weir_reader reader;
	struct weir_promise promise;
	struct weir_conn *conn;
	size_t size;
};

struct weir_conn_owner;

/* Told about its connections: the listener. */
struct weir_conn_owner {
	void (*gone)(struct weir_conn_owner *owner);
};

enum weir_in_state {
	IN_ARMED,	/* the multishot receive is in flight */
	IN_DISARMING,	/* its cancel was sent: by quota, low buffers, pause or close */
	IN_IDLE,	/* nothing in flight: over quota, paused, or not yet started */
	IN_STARVED,	/* waits for buffers to come back */
	IN_ENDED,	/* end of file or an error: nothing more will come */
};

struct weir_conn {
	struct weir_op recv_op;
	struct weir_op send_op;
	struct weir_task flush_task;
	struct weir_net *net;

	/* Input: a list of lent buffers. */
	uint16_t in_head, in_tail;	/* ids, WEIR_BUF_NONE: empty */
	uint16_t in_count;		/* in the list */
	uint16_t leased;		/* handed out by weir_conn_lease() */
	uint8_t in_state;
	bool paused, ready_told, eof_soon;
	int in_res;			/* ENDED: 0 or -errno */
	uint64_t bytes_in;
	struct weir_reader *reader;	/* who waits for data */
	void (*ready)(struct weir_conn *conn);
	const struct weir_conn_events *events;
	struct weir_bufs_wait starve;

	/* Output. */
	struct weir_piece *out_head, *out_tail;
	struct weir_piece_msg *msg;	/* while a send of several pieces is in flight */
	size_t out_pending;		/* bytes queued and not yet taken */
	uint64_t bytes_out;
	struct weir_node writers;	/* coroutines that wait for the output to move */
	struct unsent *unsent;		/* those who must see the send in flight end */
	struct weir_slot_wait send_slot; /* in line for a slot while waits_slot */
	int out_res;			/* 0, or why writing is over */
	bool shutdown_sent, want_writable, waits_slot;

	/* Life. */
	int fd;
	uint8_t sqe_flags;		/* IOSQE_FIXED_FILE for a direct descriptor */
	bool closing, graceful, close_sent;
	uint8_t send_purse; /* enum weir_purse: WEIR_RESERVED answers while the core is full */
	struct weir_timer timer;	/* idle deadline; while closing: the linger */
	int64_t active_ns;		/* last time something moved */
	struct weir_conn_opts opts;
	struct weir_conn_owner *owner;
	struct weir_node node;		/* net->all */
	void *user;
	void (*gone)(void *user);
};

/*
 * Connections this core can have: below the armed slots, which listeners need too, and below
 * the direct descriptors, which files need too. An accept that finds no direct descriptor free has
 * lost its connection, so it must not come to that.
 */
#define WEIR_NET_SPARE 64

static inline unsigned weir__net_conns_max(const struct weir_net *net)
{
	const struct weir_ring *ring = net->ring;
	unsigned max = ring->limit[WEIR_ARMED];

	if (ring->has_direct && ring->opts.direct_max < max)
		max = ring->opts.direct_max;
	return max > 2 * WEIR_NET_SPARE ? max - WEIR_NET_SPARE : max - max / 2;
}

/* This core's home of connections, made when first asked for. Returns 0 or -ENOMEM. */
int weir__net_self(struct weir_net **ret_net);

/*
 * A connection of fd (direct slot when is_direct), reading at once. fd is the connection's
 * on success only. Returns 0, -ENOBUFS (conns_max live on this core), -ENOMEM.
 */
int weir__conn_create(struct weir_net *net, int fd, bool is_direct,
		      const struct weir_conn_opts *opts, struct weir_conn **ret_conn);

/*
 * Reads what is there at once: its size, 0 at the end, or -errno; -EINPROGRESS: reader will be
 * told, unless conn->reader is set to NULL before. -EBUSY: somebody else reads, or conn is closing.
 */
int weir__conn_read_start(struct weir_conn *conn, struct weir_reader *reader);

/* The service drains: what was received is still read, then the input ends. */
void weir__conn_drain(struct weir_conn *conn);

#endif
