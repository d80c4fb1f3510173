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

/* --- chan_read.c: BROADCAST and WATCH --- */

int weir__chan_publish_now(struct weir_chan *chan, const void *item);
/* weir__chan_make_room() is due afterwards. */
int weir__chan_read_now(struct weir_chan_reader *reader, void *item);
/* What no reader needs any more makes room for those who wait to send. */
void weir__chan_make_room(struct weir_chan *chan);
void weir__chan_readers_end(struct weir_chan *chan, int res);
void weir__chan_published_drop(struct weir_chan *chan);

#endif
