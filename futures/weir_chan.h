/* SPDX-License-Identifier: MIT */
/*
 * weir_chan.h - channels: values from those who send to those who receive, in order and bounded.
 *
 *	struct weir_chan *jobs;
 *
 *	const struct weir_chan_opts opts = { .item_size = sizeof(struct job), .capacity = 64 };
 *
 *	r = weir_chan_create(&opts, &jobs);
 *	r = weir_chan_send(jobs, &job, WEIR_NEVER);		waits while 64 are inside
 *	r = weir_chan_receive(jobs, &job, WEIR_NEVER);		waits while none is
 *
 * Items are copied, item_size bytes each; to pass something large, send a pointer, and say by
 * drop() how to free what nobody receives. An item is the channel's once send() has returned 0,
 * and the receiver's once receive() has; whatever else they return, nothing has moved.
 *
 * Kinds:
 *	QUEUE		each item to one receiver, first in first out; capacity 0 is a rendezvous:
 *			send() returns when a receiver has the item
 *	ONESHOT		one item, ever: the second send() is -EPIPE
 *	BROADCAST	each item to each reader (struct weir_chan_reader) that is there when it is
 *			sent; the slowest one holds up the senders
 *	WATCH		the latest item to each reader; sending never waits
 *
 * Both sides may be many coroutines. Who waits is served first come, first served, and what is
 * there is had at once, whatever the deadline and cancellation say. A deadline of 0 tries:
 * -ETIMEDOUT when it would wait.
 *
 * A channel ends from either side. weir_chan_close() is the senders' end: what is inside is still
 * received, then receiving is -EPIPE. weir_chan_hang_up() is the receivers': what is inside is
 * dropped, and sending is -EPIPE. Sending to a closed channel is an error, never a crash.
 *
 * A channel belongs to the worker that made it: other workers' calls return -EPROTO. But one that
 * was made with .across is sent to and closed on any core of the runtime, and on threads that are
 * no worker (whose calls block them); received from at home. Every sending core has room for
 * capacity items of its own, and so have all other threads together; what one sender sends stays in
 * order.
 */
#ifndef WEIR_CHAN_H
#define WEIR_CHAN_H

#include "weir_core.h"
#include "weir_future.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_chan;
struct weir_credit;

enum weir_chan_kind { WEIR_QUEUE, WEIR_ONESHOT, WEIR_BROADCAST, WEIR_WATCH };

#define WEIR_CHAN_LANES_MAX 8
#define WEIR_CHAN_ITEM_SIZE_MAX 65536

/* Zero means the default for every member but item_size. */
struct weir_chan_opts {
	const char *name;	/* for dumps; borrowed for good. Default "channel" */
	enum weir_chan_kind kind;	/* default WEIR_QUEUE */
	size_t item_size;	/* bytes, 1 to WEIR_CHAN_ITEM_SIZE_MAX */
	unsigned capacity;	/* items in each lane; ONESHOT and WATCH hold 1 whatever it says.
				 * Default 0: rendezvous; BROADCAST needs at least 1 */
	unsigned lanes;		/* of a QUEUE: lane 0 is received before lane 1. Default 1 */
	void (*drop)(void *item, void *arg);	/* for items that nobody receives. Default: none */
	void *drop_arg;
	bool across; /* a QUEUE that any core and thread sends to. Capacity 1 to 2^24, rounded
		      * up to a power of two; without lanes, credit, reserved room */
	struct weir_credit *credit; /* of a QUEUE, of the same worker: an item takes 1 and item_size
				     * of it while it waits or is inside. Default: none */
};

/*
 * Returns 0, -EINVAL for options out of range (or .across without a runtime), -ENOMEM, -EDEADLK
 * outside a worker. All memory that the channel will use is allocated here. *ret_chan is to be
 * destroyed.
 */
WEIR_API int weir_chan_create(const struct weir_chan_opts *opts, struct weir_chan **ret_chan);

/*
 * Drops what is inside and frees chan. NULL is allowed. Other cores' and threads' calls must have
 * returned; one that is .across is freed once all cores have heard of it.
 * Returns 0, -EBUSY while somebody waits, has reserved room or reads (close it, let them end).
 */
WEIR_API int weir_chan_destroy(struct weir_chan *chan);

/*
 * Sends a copy of *item in lane 0.
 * Returns 0, -EPIPE when chan is closed or hung up, -ECANCELED, -ETIMEDOUT, -EDEADLK outside a
 * coroutine (where it would wait), -EPROTO on another worker.
 */
WEIR_API int weir_chan_send(struct weir_chan *chan, const void *item, int64_t deadline_ns);

/* The same in a lane of a QUEUE. Adds -EINVAL for a lane that is not there. */
WEIR_API int weir_chan_send_lane(struct weir_chan *chan, unsigned lane, const void *item,
				 int64_t deadline_ns);

/*
 * Sends count items, one behind the other, in lane 0: as many as there is room for, waiting where
 * there is none. Returns how many were sent: all, or less when the wait for the next ended; if none
 * was, the error.
 */
WEIR_API ssize_t weir_chan_send_n(struct weir_chan *chan, const void *items, unsigned count,
				  int64_t deadline_ns);

/*
 * Receives the next item into *item. Not of BROADCAST and WATCH: -EINVAL, they are read.
 * Returns 0, -EPIPE when chan is closed and empty or hung up, and as weir_chan_send().
 */
WEIR_API int weir_chan_receive(struct weir_chan *chan, void *item, int64_t deadline_ns);

/* Up to count items, at least one; waits for the first only. Returns how many, or the error. */
WEIR_API ssize_t weir_chan_receive_n(struct weir_chan *chan, void *items, unsigned count,
				     int64_t deadline_ns);

/* The senders are done: what is inside is still received. Again, it does nothing. Returns 0. */
WEIR_API int weir_chan_close(struct weir_chan *chan);

/* The receivers are gone: what is inside is dropped. Again, it does nothing. Returns 0. */
WEIR_API int weir_chan_hang_up(struct weir_chan *chan);

/* --- room first --- */

/* The caller's memory. Room for items that is taken and not yet filled. */
struct weir_chan_room {
	struct weir_chan *chan_;	/* NULL: none */
	unsigned count_;
	unsigned lane_;
};

/*
 * Takes room for count items in lane 0 of a QUEUE or ONESHOT with a capacity; waits for it. What
 * is sent by weir_chan_commit() then cannot fail: take the room before what cannot be undone.
 * Returns 0, -EINVAL for more than the capacity, or none; else as weir_chan_send().
 */
WEIR_API int weir_chan_reserve(struct weir_chan *chan, unsigned count, int64_t deadline_ns,
			       struct weir_chan_room *ret_room);

/*
 * Sends *item with room that was reserved. Never waits. If chan was closed meanwhile, the item is
 * still received; if it was hung up, it is dropped. Returns 0, -EINVAL when room has no more.
 */
WEIR_API int weir_chan_commit(struct weir_chan_room *room, const void *item);

/* Gives the rest of room back. Without a rest, it does nothing. */
WEIR_API void weir_chan_abort(struct weir_chan_room *room);

/* One who waits at a channel: the library's. */
struct weir_chan_wait {
	void *next_, *prev_;
	void *party_;
	void *item_;
	unsigned left_;		/* items that are still to move */
	unsigned count_;	/* a reservation: of how many; else 0 */
};

/* --- readers of BROADCAST and WATCH --- */

/* The caller's memory. One reader; in one coroutine at a time. */
struct weir_chan_reader {
	struct weir_chan *chan_;
	uint64_t next_number_;	/* of the item that it reads next */
	void *next_, *prev_;
	struct weir_chan_wait *waits_;
};

/*
 * Reads chan from now on: a BROADCAST the items that are sent from here on, a WATCH first the item
 * that is there, if any. reader is lent until weir_chan_unread().
 * Returns 0, -EINVAL for another kind, -EPROTO.
 */
WEIR_API int weir_chan_read_from(struct weir_chan *chan, struct weir_chan_reader *reader);

/* Reads no more: senders do not wait for this one. Returns 0, -EBUSY while it waits. */
WEIR_API int weir_chan_unread(struct weir_chan_reader *reader);

/*
 * Copies the next item into *item. An item is dropped once every reader has read it or gone; a
 * WATCH's when the next is sent. With a drop(), the item is lent: read it before you wait.
 * Returns 0, -EPIPE when chan is closed and all was read, or hung up; else as weir_chan_receive().
 */
WEIR_API int weir_chan_read(struct weir_chan_reader *reader, void *item, int64_t deadline_ns);

/* --- several at once --- */

enum weir_case_kind {
	WEIR_CASE_NONE,		/* never ready: to switch a case off */
	WEIR_CASE_SEND,		/* *item is sent to chan, lane 0 */
	WEIR_CASE_RECEIVE,	/* into *item */
	WEIR_CASE_READ,		/* of reader, into *item */
	WEIR_CASE_FUTURE,	/* future is settled: weir_await() it, it will not wait */
	WEIR_CASE_TIME		/* at_ns has come */
};

/* The caller's memory, filled by the caller up to the line. */
struct weir_case {
	enum weir_case_kind kind;
	union {
		struct weir_chan *chan;
		struct weir_chan_reader *reader;
		struct weir_future *future;	/* stays the caller's */
		int64_t at_ns;
	};
	void *item;
	/* --- */
	int res;		/* of the case that was chosen: 0, or -EPIPE of its channel */
	bool tapped_;
	struct weir_chan_wait wait_;
	struct weir_tap tap_;
};

enum {
	WEIR_SELECT_FAIR,	/* of several that are ready, any: each gets its share */
	WEIR_SELECT_ORDERED	/* the first in the array */
};

#define WEIR_SELECT_MAX 64

/*
 * Waits until one of the cases can go on, does it, and returns its index; the others have done
 * nothing: no value is lost, none taken by two. A closed channel is ready, with -EPIPE in res.
 * An operation of the kernel takes part as the future of its _async call.
 *
 * Returns the index, -EINVAL for more than WEIR_SELECT_MAX cases or one that is not filled rightly,
 * -EBUSY for a future that is consumed, -ECANCELED, -ETIMEDOUT (deadline_ns 0: nothing was ready),
 * -EDEADLK outside a coroutine, -EPROTO for a channel of another worker.
 */
WEIR_API int weir_select(struct weir_case *cases, unsigned count, int order, int64_t deadline_ns);

/* --- levels --- */

struct weir_chan_info {
	const char *name;
	unsigned count;		/* items inside */
	unsigned capacity;	/* of each lane */
	unsigned senders;	/* who wait */
	unsigned receivers;	/* who wait */
	uint64_t sent;		/* items, ever */
	uint64_t dropped;	/* items that nobody received */
	bool is_closed;
	bool is_hung_up;
};

/* Returns 0. */
WEIR_API int weir_chan_info(const struct weir_chan *chan, struct weir_chan_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
