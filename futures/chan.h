/* SPDX-License-Identifier: MIT */
/*
 * chan.h - a channel inside: the ring of items, and who waits at it.
 *
 * A party is a coroutine that waits at one channel, or by weir_select() at several. Whoever makes
 * it go on carries out its case first (copies the item), and takes all its other cases out of
 * their lines before the coroutine is woken: exactly one case is ever carried out.
 *
 * Of a QUEUE, receivers wait only while nothing is inside and no sender waits with an item; senders
 * wait only while no receiver does and there is no room (chan_check()).
 */
#ifndef WEIR_FUTURES_CHAN_H
#define WEIR_FUTURES_CHAN_H

#include <string.h>

#include "core/waiters.h"
#include "futures/weir_chan.h"

enum {
	CHAN_CLOSED = 1,
	CHAN_HUNG_UP = 2,
	CHAN_LANES = 4,		/* more than one */
	CHAN_CREDIT = 8,
	CHAN_ONESHOT = 16,
	CHAN_READ = 32,		/* BROADCAST or WATCH */
	CHAN_WATCH = 64,
	CHAN_ACROSS = 128,	/* senders on other cores and threads; flags never change */
};

struct chan_party {
	struct weir_wait wait;
	struct weir_chan_wait *fired;	/* the case that was carried out, or NULL */
	/* Takes all cases out of their lines; NULL: there is but the one that fired. */
	void (*unlink)(struct chan_party *party);
};

struct chan_lane {
	char *items;
	unsigned head;			/* index of the oldest item */
	unsigned count;
	unsigned reserved;
	struct weir_waiters senders;	/* weir_chan_wait; with count_: reservations */
};

struct weir_chan {
	void *home;
	unsigned flags;
	unsigned capacity;
	size_t item_size;
	struct chan_lane *lanes;
	struct weir_waiters receivers;	/* of a QUEUE */
	struct chan_lane lane;		/* lanes, when there is one */
	unsigned lane_count;
	uint64_t sent, dropped;

	/* BROADCAST and WATCH: items first_number to next_number - 1 are inside. */
	uint64_t first_number, next_number;
	struct weir_waiters readers;	/* weir_chan_reader */
	unsigned reader_count;

	const char *name;
	void (*drop)(void *item, void *arg);
	void *drop_arg;
	struct weir_credit *credit;
	struct weir_across *across;	/* CHAN_ACROSS */
	size_t memory;			/* bytes of the items of all lanes */
};

static inline struct weir_node *chan_wait_node(struct weir_chan_wait *w)
{
	return (struct weir_node *)(void *)&w->next_;
}

static inline struct weir_chan_wait *chan_wait_first(struct weir_waiters *line)
{
	struct weir_node *head = weir__waiters_head(line);

	return head->next == head ? NULL : (struct weir_chan_wait *)(void *)head->next;
}

/* w has been carried out, or will never be (res < 0): its party goes on. */
static inline void chan_fire(struct weir_chan_wait *w, int res)
{
	struct chan_party *party = w->party_;

	weir__node_remove(chan_wait_node(w));
	party->fired = w;
	if (weir_unlikely(party->unlink != NULL))
		party->unlink(party);
	weir__wait_wake(&party->wait, res);
}

static inline void chan_copy(void *to, const void *from, size_t size)
{
	if (weir_likely(size == 8))
		memcpy(to, from, 8);
	else
		memcpy(to, from, size);
}

/*
 * What can be done at once, for weir_select(), in lane 0: 0 when it was, -EPIPE, or -EAGAIN when it
 * would wait.
 */
int weir__chan_send_now(struct weir_chan *chan, const void *item);
int weir__chan_receive_now(struct weir_chan *chan, void *item);

/*
 * The running coroutine waits in line with item (*left of them; NULL: one). Returns what it was
 * fired with, or why it left; *left is how many did not move.
 */
int weir__chan_wait(struct weir_chan *chan, struct weir_waiters *line, const void *item,
		    unsigned *left, int64_t deadline_ns);

/* Nobody received item. */
void weir__chan_drop_item(struct weir_chan *chan, void *item);

/* Nothing is inside, nobody knows chan any more. */
void weir__chan_free(struct weir_chan *chan);

/* --- chan_across.c: senders on other cores and threads --- */

/* chan is home's, its capacity a power of two. Returns 0, -ENOMEM, -EINVAL without a runtime. */
int weir__across_create(struct weir_chan *chan);
void weir__across_free(struct weir_chan *chan);

/* Any thread. As weir_chan_send_n(). */
ssize_t weir__across_send_n(struct weir_chan *chan, const char *items, unsigned count,
			    int64_t deadline_ns);
int weir__across_send_now(struct weir_chan *chan, const void *item);

/* Home's. How many were received, -EAGAIN, -EPIPE. */
ssize_t weir__across_receive_now(struct weir_chan *chan, char *items, unsigned count);

/* The line of the calling core's senders; NULL on a thread that is no worker of the runtime. */
struct weir_waiters *weir__across_senders(struct weir_chan *chan);

/* Somebody has come to stand in line: of the receivers, or of this core's senders. May fire it. */
void weir__across_waits(struct weir_chan *chan, struct weir_waiters *line);

/* Any thread. */
void weir__across_close(struct weir_chan *chan);
bool weir__across_is_closed(const struct weir_chan *chan);
unsigned weir__across_count(const struct weir_chan *chan);

/* Home's. Destroying frees chan once every core has ended its lane. */
void weir__across_hang_up(struct weir_chan *chan);
bool weir__across_is_hung_up(const struct weir_chan *chan);
void weir__across_drop(struct weir_chan *chan);
void weir__across_destroy(struct weir_chan *chan);

/* --- chan_read.c: BROADCAST and WATCH --- */

int weir__chan_publish_now(struct weir_chan *chan, const void *item);
/* weir__chan_make_room() is due afterwards. */
int weir__chan_read_now(struct weir_chan_reader *reader, void *item);
/* What no reader needs any more makes room for those who wait to send. */
void weir__chan_make_room(struct weir_chan *chan);
void weir__chan_readers_end(struct weir_chan *chan, int res);
void weir__chan_published_drop(struct weir_chan *chan);

#endif
