/* SPDX-License-Identifier: MIT */
/*
 * chan_read.c - BROADCAST and WATCH: every reader has a cursor into one ring of items.
 *
 * Items are numbered. Those inside are first_number to next_number - 1; a BROADCAST keeps an item
 * until no reader needs it, a WATCH until there is another. So what a reader costs is a number, and
 * an item is stored once, however many read it.
 */
#include "futures/chan.h"

static struct weir_chan_reader *reader_of(struct weir_node *node)
{
	return weir_container_of((void *)node, struct weir_chan_reader, next_);
}

static struct weir_node *node_of(struct weir_chan_reader *reader)
{
	return (struct weir_node *)(void *)&reader->next_;
}

static char *item_of(const struct weir_chan *chan, uint64_t number)
{
	return chan->lane.items + number % chan->capacity * chan->item_size;
}

/* The first item inside goes. */
static void drop_first(struct weir_chan *chan)
{
	char *item = item_of(chan, chan->first_number++);

	if (chan->drop)
		chan->drop(item, chan->drop_arg);
}

void weir__chan_published_drop(struct weir_chan *chan)
{
	while (chan->first_number < chan->next_number)
		drop_first(chan);
}

static bool is_needed(struct weir_chan *chan, uint64_t number)
{
	struct weir_node *head = weir__waiters_head(&chan->readers);

	for (struct weir_node *node = head->next; node != head; node = node->next)
		if (reader_of(node)->next_number_ <= number)
			return true;
	return false;
}

static bool is_full(const struct weir_chan *chan)
{
	return chan->next_number - chan->first_number == chan->capacity;
}

/* item is the next; those who wait for it have it. */
static void publish(struct weir_chan *chan, const void *item)
{
	struct weir_node *head = weir__waiters_head(&chan->readers);

	chan->sent++;
	chan->dropped += !chan->reader_count && !(chan->flags & CHAN_WATCH);
	chan_copy(item_of(chan, chan->next_number++), item, chan->item_size);
	for (struct weir_node *node = head->next; node != head; node = node->next) {
		struct weir_chan_reader *reader = reader_of(node);
		struct weir_chan_wait *w = reader->waits_;

		if (!w)
			continue;
		reader->waits_ = NULL;
		weir_assert(weir__chan_read_now(reader, w->item_) == 0);
		chan_fire(w, 0);
	}
}

/* What no reader of a BROADCAST needs any more makes room for those who wait to send. */
void weir__chan_make_room(struct weir_chan *chan)
{
	struct weir_chan_wait *w;

	if (chan->flags & CHAN_WATCH)
		return;
	for (;;) {
		while (chan->first_number < chan->next_number &&
		       !is_needed(chan, chan->first_number))
			drop_first(chan);
		if (is_full(chan) || !(w = chan_wait_first(&chan->lane.senders)))
			return;
		publish(chan, w->item_);
		chan_fire(w, 0);
	}
}

int weir__chan_publish_now(struct weir_chan *chan, const void *item)
{
	if (chan->flags & CHAN_WATCH)
		weir__chan_published_drop(chan);
	else if (is_full(chan))
		return -EAGAIN;
	publish(chan, item);
	weir__chan_make_room(chan);
	return 0;
}

/* Leaves what was read where it is: the caller makes room. */
int weir__chan_read_now(struct weir_chan_reader *reader, void *item)
{
	struct weir_chan *chan = reader->chan_;

	if (chan->flags & CHAN_HUNG_UP)
		return -EPIPE;
	if (reader->next_number_ < chan->first_number)
		reader->next_number_ = chan->first_number;
	if (reader->next_number_ == chan->next_number)
		return chan->flags & CHAN_CLOSED ? -EPIPE : -EAGAIN;
	chan_copy(item, item_of(chan, reader->next_number_++), chan->item_size);
	return 0;
}

void weir__chan_readers_end(struct weir_chan *chan, int res)
{
	struct weir_node *head = weir__waiters_head(&chan->readers);

	for (struct weir_node *node = head->next; node != head; node = node->next) {
		struct weir_chan_reader *reader = reader_of(node);

		if (reader->waits_)
			chan_fire(reader->waits_, res);
		reader->waits_ = NULL;
	}
}

/* --- the calls --- */

int weir_chan_read_from(struct weir_chan *chan, struct weir_chan_reader *reader)
{
	if (chan->home != weir__self)
		return -EPROTO;
	if (!(chan->flags & CHAN_READ))
		return -EINVAL;
	*reader = (struct weir_chan_reader){
		.chan_ = chan,
		.next_number_ = chan->flags & CHAN_WATCH ? chan->first_number : chan->next_number,
	};
	weir__list_push(weir__waiters_head(&chan->readers), node_of(reader));
	chan->reader_count++;
	return 0;
}

int weir_chan_unread(struct weir_chan_reader *reader)
{
	struct weir_chan *chan = reader->chan_;

	if (!chan)
		return 0;
	if (chan->home != weir__self)
		return -EPROTO;
	if (reader->waits_)
		return -EBUSY;
	weir__node_remove(node_of(reader));
	chan->reader_count--;
	reader->chan_ = NULL;
	weir__chan_make_room(chan);
	return 0;
}

struct reading {
	struct chan_party party;
	struct weir_chan_reader *reader;
};

static void stop_reading(struct weir_wait *wait, int reason)
{
	weir_container_of(wait, struct reading, party.wait)->reader->waits_ = NULL;
	weir__wait_wake(wait, reason);
}

static int read_wait(struct weir_chan_reader *reader, void *item, int64_t deadline_ns)
{
	struct reading reading = { .reader = reader };
	struct weir_chan_wait w = { .item_ = item, .party_ = &reading.party };
	int r = weir__wait_check(deadline_ns);

	if (r)
		return r;
	weir__wait_init(&reading.party.wait);
	weir__list_init(chan_wait_node(&w));
	reader->waits_ = &w;
	return weir__wait_park(&reading.party.wait, reader->chan_->name, stop_reading, deadline_ns);
}

int weir_chan_read(struct weir_chan_reader *reader, void *item, int64_t deadline_ns)
{
	struct weir_chan *chan = reader->chan_;
	int r;

	if (!chan)
		return -EINVAL;
	if (chan->home != weir__self)
		return -EPROTO;
	if (reader->waits_)
		return -EBUSY;
	r = weir__chan_read_now(reader, item);
	if (r == -EAGAIN)
		return read_wait(reader, item, deadline_ns);
	if (!r)
		weir__chan_make_room(chan);
	return r;
}
