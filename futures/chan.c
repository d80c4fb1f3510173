/* SPDX-License-Identifier: MIT */
/*
 * chan.c - channels: items of a QUEUE from senders to receivers.
 *
 * Who comes second does the work of both: a sender that finds a receiver waiting copies its item
 * straight to it, a receiver that takes an item lets the first waiting sender's take its place. So
 * a woken coroutine has its result already and looks at nothing again.
 */
#include "futures/chan.h"

#include "core/alloc.h"
#include "core/handover.h"
#include "core/jump_return.h"
#include "core/credit.h"

#define ACROSS_CAPACITY_MAX (1u << 24)

static void chan_check(const struct weir_chan *chan)
{
	weir_assert(chan->lane.count + chan->lane.reserved <= chan->capacity);
	weir_assert(weir__waiters_is_empty(&chan->receivers) || !chan->lane.count);
}

static inline char *item_at(const struct weir_chan *chan, const struct chan_lane *lane,
			    unsigned index)
{
	return lane->items + (size_t)index * chan->item_size;
}

static inline unsigned room(const struct weir_chan *chan, const struct chan_lane *lane)
{
	return chan->capacity - lane->count - lane->reserved;
}

/* Behind the last. */
static inline void put(struct weir_chan *chan, struct chan_lane *lane, const void *item)
{
	unsigned index = lane->head + lane->count;

	if (index >= chan->capacity)
		index -= chan->capacity;
	chan_copy(item_at(chan, lane, index), item, chan->item_size);
	lane->count++;
}

/* Of count items as many as there is room for. Returns how many. */
static unsigned put_n(struct weir_chan *chan, struct chan_lane *lane, const char *items,
		      unsigned count)
{
	unsigned done = 0;

	while (done < count && room(chan, lane)) {
		unsigned index = lane->head + lane->count, n = count - done;

		if (index >= chan->capacity)
			index -= chan->capacity;
		if (n > chan->capacity - index)
			n = chan->capacity - index;
		if (n > room(chan, lane))
			n = room(chan, lane);
		memcpy(item_at(chan, lane, index), items + done * chan->item_size,
		       n * chan->item_size);
		lane->count += n;
		done += n;
	}
	chan->sent += done;
	return done;
}

static inline void take(struct weir_chan *chan, struct chan_lane *lane, void *item)
{
	chan_copy(item, item_at(chan, lane, lane->head), chan->item_size);
	lane->count--;
	if (++lane->head == chan->capacity)
		lane->head = 0;
}

static void give_credit(struct weir_chan *chan, unsigned count)
{
	if (weir_unlikely(chan->credit != NULL))
		weir_credit_give(chan->credit, count, count * chan->item_size);
}

/* It is w's coroutine that received, though another one runs. */
static void give_credit_for(struct weir_chan *chan, const struct weir_chan_wait *w)
{
	const struct chan_party *party = w->party_;

	if (weir_unlikely(chan->credit != NULL))
		weir__credit_give_for(chan->credit, party->wait.coro, 1, chan->item_size);
}

/* --- who waits --- */

static void leave(struct weir_wait *wait, int reason);

struct waiting {
	struct chan_party party;
	struct weir_chan *chan;
	struct weir_chan_wait w;
};

/*
 * The running coroutine waits in line with item (*left of them; NULL: one), or for the room of
 * count items. Returns what it was fired with, or why it left; *left is how many did not move.
 * Inlined: the fewer calls between a switch and who asked for it, the fewer returns are
 * mispredicted after it (core/handover.h).
 */
static inline __attribute__((always_inline)) int wait_in(struct weir_chan *chan,
							 struct weir_waiters *line, void *item,
							 unsigned *left, unsigned count,
							 int64_t deadline_ns)
{
	struct weir_coro *coro = weir__self->coros.current;
	struct waiting waiting;
	int r;

	if (weir_unlikely(!coro || coro->cancelled || deadline_ns <= weir__self->now_ns ||
			  coro->deadline_ns <= weir__self->now_ns)) {
		r = weir__wait_check(deadline_ns);
		if (r)
			return r;
	}
	waiting.party.wait = (struct weir_wait){ .coro = coro };
	waiting.party.unlink = NULL;
	waiting.chan = chan;
	waiting.w.party_ = &waiting.party;
	waiting.w.item_ = item;
	waiting.w.count_ = count;
	waiting.w.left_ = left ? *left : 1;
	weir__list_push(weir__waiters_head(line), chan_wait_node(&waiting.w));
	if (weir_unlikely(chan->flags & CHAN_ACROSS))
		weir__across_waits(chan, line);
	r = weir__wait_park_hot(&waiting.party.wait, chan->name, leave, deadline_ns);
	if (left)
		*left = waiting.w.left_;
	return r;
}

int weir__chan_wait(struct weir_chan *chan, struct weir_waiters *line, const void *item,
		    unsigned *left, int64_t deadline_ns)
{
	return wait_in(chan, line, (void *)(uintptr_t)item, left, 0, deadline_ns);
}

/* Lets those in who wait for room, while there is some. */
static void feed(struct weir_chan *chan, struct chan_lane *lane)
{
	struct weir_chan_wait *w;

	while (room(chan, lane) && (w = chan_wait_first(&lane->senders))) {
		if (!w->count_) {
			unsigned n = put_n(chan, lane, w->item_, w->left_);

			w->item_ = (char *)w->item_ + n * chan->item_size;
			w->left_ -= n;
			if (w->left_)
				return;
		} else if (w->count_ <= room(chan, lane)) {
			lane->reserved += w->count_;
		} else {
			return;
		}
		chan_fire(w, 0);
		if ((chan->flags & CHAN_ONESHOT) && lane->count)
			weir_chan_close(chan);
	}
}

/* Those behind one who waited for more room than there is may go on. */
static void leave(struct weir_wait *wait, int reason)
{
	struct waiting *waiting = weir_container_of(wait, struct waiting, party.wait);

	chan_fire(&waiting->w, reason);
	if (waiting->w.count_)
		feed(waiting->chan, &waiting->chan->lane);
}

static void fire_all(struct weir_waiters *line, int res)
{
	struct weir_chan_wait *w;

	while ((w = chan_wait_first(line)))
		chan_fire(w, res);
}

/* --- sending --- */

/* An item that has its room, or needs none. */
static inline void push(struct weir_chan *chan, struct chan_lane *lane, const void *item)
{
	struct weir_chan_wait *w = chan_wait_first(&chan->receivers);

	chan->sent++;
	if (w) {
		chan_copy(w->item_, item, chan->item_size);
		w->left_--;
		give_credit_for(chan, w);
		chan_fire(w, 0);
	} else {
		put(chan, lane, item);
	}
}

static inline bool may_send(const struct weir_chan *chan, const struct chan_lane *lane)
{
	if (weir_unlikely((chan->flags & CHAN_ONESHOT) && lane->reserved))
		return false;
	return !weir__waiters_is_empty(&chan->receivers) ||
	       (room(chan, lane) && weir__waiters_is_empty(&lane->senders));
}

static int send_now(struct weir_chan *chan, struct chan_lane *lane, const void *item)
{
	if (chan->flags & CHAN_CLOSED)
		return -EPIPE;
	if (chan->flags & CHAN_READ)
		return weir__chan_publish_now(chan, item);
	if (!may_send(chan, lane))
		return -EAGAIN;
	push(chan, lane, item);
	if (chan->flags & CHAN_ONESHOT)
		weir_chan_close(chan);
	return 0;
}

static int send_or_wait(struct weir_chan *chan, struct chan_lane *lane, const void *item,
			int64_t deadline_ns)
{
	int r = send_now(chan, lane, item);

	if (r != -EAGAIN)
		return r;
	return wait_in(chan, &lane->senders, (void *)(uintptr_t)item, NULL, 0, deadline_ns);
}

static int send_paid(struct weir_chan *chan, struct chan_lane *lane, const void *item,
		     int64_t deadline_ns)
{
	int r;

	if (chan->flags & CHAN_CLOSED)
		return -EPIPE;
	r = weir_credit_take(chan->credit, 1, chan->item_size, deadline_ns);
	if (r)
		return r;
	r = send_or_wait(chan, lane, item, deadline_ns);
	if (r)
		give_credit(chan, 1);
	return r;
}

static __attribute__((noinline)) int send_slow(struct weir_chan *chan, unsigned lane,
					       const void *item, int64_t deadline_ns)
{
	if (chan->flags & CHAN_ACROSS) {
		ssize_t r = lane ? -EINVAL : weir__across_send_n(chan, item, 1, deadline_ns);

		return r < 0 ? (int)r : 0;
	}
	if (chan->home != weir__self)
		return -EPROTO;
	if (lane >= chan->lane_count)
		return -EINVAL;
	if (chan->credit)
		return send_paid(chan, &chan->lanes[lane], item, deadline_ns);
	return send_or_wait(chan, &chan->lanes[lane], item, deadline_ns);
}

WEIR__JUMP_RETURN int weir_chan_send(struct weir_chan *chan, const void *item, int64_t deadline_ns)
{
	if (weir_unlikely(chan->home != weir__self || chan->flags))
		return send_slow(chan, 0, item, deadline_ns);
	if (may_send(chan, &chan->lane)) {
		push(chan, &chan->lane, item);
		return 0;
	}
	return wait_in(chan, &chan->lane.senders, (void *)(uintptr_t)item, NULL, 0, deadline_ns);
}

int weir_chan_send_lane(struct weir_chan *chan, unsigned lane, const void *item,
			int64_t deadline_ns)
{
	return send_slow(chan, lane, item, deadline_ns);
}

int weir__chan_send_now(struct weir_chan *chan, const void *item)
{
	if (chan->flags & CHAN_ACROSS)
		return weir__across_send_now(chan, item);
	return send_now(chan, chan->lanes, item);
}

/* To the first who waits, as many as it takes. */
static unsigned hand_n(struct weir_chan *chan, const char *items, unsigned count)
{
	struct weir_chan_wait *w = chan_wait_first(&chan->receivers);

	if (count > w->left_)
		count = w->left_;
	memcpy(w->item_, items, count * chan->item_size);
	w->left_ -= count;
	chan->sent += count;
	chan_fire(w, 0);
	return count;
}

/* Without lanes, credit and readers. */
static ssize_t send_plain_n(struct weir_chan *chan, const char *items, unsigned count,
			    int64_t deadline_ns)
{
	struct chan_lane *lane = &chan->lane;
	unsigned done = 0;
	int r;

	while (done < count && !weir__waiters_is_empty(&chan->receivers))
		done += hand_n(chan, items + done * chan->item_size, count - done);
	if (done < count && weir__waiters_is_empty(&lane->senders))
		done += put_n(chan, lane, items + done * chan->item_size, count - done);
	if (done < count) {
		unsigned left = count - done;

		r = wait_in(chan, &lane->senders,
			    (void *)(uintptr_t)(items + done * chan->item_size), &left, 0,
			    deadline_ns);
		if (left == count)
			return r;
		return count - left;
	}
	return done;
}

ssize_t weir_chan_send_n(struct weir_chan *chan, const void *items, unsigned count,
			 int64_t deadline_ns)
{
	const char *item = items;
	unsigned done;
	int r;

	if (chan->flags & CHAN_ACROSS)
		return count ? weir__across_send_n(chan, items, count, deadline_ns) : 0;
	if (weir_unlikely(chan->home != weir__self))
		return -EPROTO;
	if (!chan->flags)
		return send_plain_n(chan, items, count, deadline_ns);
	for (done = 0; done < count; done++) {
		r = weir_chan_send(chan, item + done * chan->item_size, deadline_ns);
		if (r)
			return done ? (ssize_t)done : r;
	}
	return count;
}

/* --- receiving --- */

/* Of the first who waits with an item, not for room. */
static bool take_from_sender(struct weir_chan *chan, struct chan_lane *lane, void *item)
{
	struct weir_node *head = weir__waiters_head(&lane->senders);

	for (struct weir_node *node = head->next; node != head; node = node->next) {
		struct weir_chan_wait *w = (struct weir_chan_wait *)(void *)node;

		if (w->count_)
			continue;
		chan_copy(item, w->item_, chan->item_size);
		chan->sent++;
		w->item_ = (char *)w->item_ + chan->item_size;
		if (!--w->left_)
			chan_fire(w, 0);
		return true;
	}
	return false;
}

static bool is_reserved(const struct weir_chan *chan)
{
	for (unsigned i = 0; i < chan->lane_count; i++)
		if (chan->lanes[i].reserved)
			return true;
	return false;
}

static int receive_now(struct weir_chan *chan, void *item)
{
	if (chan->flags & CHAN_ACROSS) {
		ssize_t n = weir__across_receive_now(chan, item, 1);

		return n < 0 ? (int)n : 0;
	}
	for (unsigned i = 0; i < chan->lane_count; i++) {
		struct chan_lane *lane = &chan->lanes[i];

		if (lane->count) {
			take(chan, lane, item);
			feed(chan, lane);
		} else if ((chan->flags & CHAN_ONESHOT) || !take_from_sender(chan, lane, item)) {
			continue;
		}
		give_credit(chan, 1);
		return 0;
	}
	if ((chan->flags & CHAN_CLOSED) && !is_reserved(chan))
		return -EPIPE;
	return -EAGAIN;
}

static __attribute__((noinline)) int receive_slow(struct weir_chan *chan, void *item,
						  int64_t deadline_ns)
{
	int r;

	if (chan->home != weir__self)
		return -EPROTO;
	if (chan->flags & CHAN_READ)
		return -EINVAL;
	r = receive_now(chan, item);
	if (r != -EAGAIN)
		return r;
	return wait_in(chan, &chan->receivers, item, NULL, 0, deadline_ns);
}

WEIR__JUMP_RETURN int weir_chan_receive(struct weir_chan *chan, void *item, int64_t deadline_ns)
{
	struct chan_lane *lane = &chan->lane;

	if (weir_unlikely(chan->home != weir__self || (chan->flags & ~CHAN_CLOSED)))
		return receive_slow(chan, item, deadline_ns);
	if (lane->count) {
		take(chan, lane, item);
		if (!weir__waiters_is_empty(&lane->senders))
			feed(chan, lane);
		return 0;
	}
	if (weir_unlikely(chan->flags || !weir__waiters_is_empty(&lane->senders)))
		return receive_slow(chan, item, deadline_ns);
	return wait_in(chan, &chan->receivers, item, NULL, 0, deadline_ns);
}

int weir__chan_receive_now(struct weir_chan *chan, void *item)
{
	return receive_now(chan, item);
}

static unsigned take_n(struct weir_chan *chan, char *items, unsigned count)
{
	struct chan_lane *lane = &chan->lane;
	unsigned done = 0;

	while (done < count && lane->count) {
		unsigned n = count - done;

		if (n > chan->capacity - lane->head)
			n = chan->capacity - lane->head;
		if (n > lane->count)
			n = lane->count;
		memcpy(items + done * chan->item_size, item_at(chan, lane, lane->head),
		       n * chan->item_size);
		lane->count -= n;
		lane->head += n;
		if (lane->head == chan->capacity)
			lane->head = 0;
		done += n;
	}
	return done;
}

/* The first count items, or those that are there; lets senders in. */
static ssize_t receive_plain_n(struct weir_chan *chan, void *items, unsigned count)
{
	unsigned done = take_n(chan, items, count);

	if (!weir__waiters_is_empty(&chan->lane.senders))
		feed(chan, &chan->lane);
	return done;
}

ssize_t weir_chan_receive_n(struct weir_chan *chan, void *items, unsigned count,
			    int64_t deadline_ns)
{
	char *item = items;
	unsigned done = 0, left = count;
	int r = 0;

	if (weir_unlikely(chan->home != weir__self))
		return -EPROTO;
	if (!count || (chan->flags & CHAN_READ))
		return -EINVAL;
	if (!(chan->flags & ~CHAN_CLOSED) && chan->lane.count)
		return receive_plain_n(chan, items, count);
	if (chan->flags & CHAN_ACROSS) {
		ssize_t n = weir__across_receive_now(chan, items, count);

		if (n != -EAGAIN)
			return n;
		r = -EAGAIN;
	}
	while (!r && done < count && !(r = receive_now(chan, item + done * chan->item_size)))
		done++;
	if (done || r != -EAGAIN)
		return done ? (ssize_t)done : r;
	r = wait_in(chan, &chan->receivers, items, &left, 0, deadline_ns);
	return r ? r : (ssize_t)(count - left);
}

/* --- the end --- */

void weir__chan_drop_item(struct weir_chan *chan, void *item)
{
	chan->dropped++;
	if (chan->drop)
		chan->drop(item, chan->drop_arg);
}

static void drop_all(struct weir_chan *chan)
{
	if (chan->flags & CHAN_READ) {
		weir__chan_published_drop(chan);
		return;
	}
	for (unsigned i = 0; i < chan->lane_count; i++) {
		struct chan_lane *lane = &chan->lanes[i];

		while (lane->count) {
			char *item = item_at(chan, lane, lane->head);

			lane->count--;
			if (++lane->head == chan->capacity)
				lane->head = 0;
			give_credit(chan, 1);
			weir__chan_drop_item(chan, item);
		}
	}
}

static bool is_empty(const struct weir_chan *chan)
{
	for (unsigned i = 0; i < chan->lane_count; i++)
		if (chan->lanes[i].count || chan->lanes[i].reserved)
			return false;
	return true;
}

/* Once nothing can come any more, those who wait for it learn of it. */
static void end_receivers(struct weir_chan *chan)
{
	if ((chan->flags & CHAN_CLOSED) && is_empty(chan))
		fire_all(&chan->receivers, -EPIPE);
}

int weir_chan_close(struct weir_chan *chan)
{
	if (chan->flags & CHAN_ACROSS) {
		weir__across_close(chan);
		return 0;
	}
	if (chan->home != weir__self)
		return -EPROTO;
	if (chan->flags & CHAN_CLOSED)
		return 0;
	chan->flags |= CHAN_CLOSED;
	for (unsigned i = 0; i < chan->lane_count; i++)
		fire_all(&chan->lanes[i].senders, -EPIPE);
	if (chan->flags & CHAN_READ)
		weir__chan_readers_end(chan, -EPIPE);
	else
		end_receivers(chan);
	return 0;
}

int weir_chan_hang_up(struct weir_chan *chan)
{
	int r;

	if (chan->home != weir__self)
		return -EPROTO;
	if (chan->flags & CHAN_ACROSS) {
		weir__across_hang_up(chan);
		return 0;
	}
	r = weir_chan_close(chan);
	if (r || (chan->flags & CHAN_HUNG_UP))
		return r;
	chan->flags |= CHAN_HUNG_UP;
	fire_all(&chan->receivers, -EPIPE);
	drop_all(chan);
	return 0;
}

/* --- room first --- */

static int reserve(struct weir_chan *chan, unsigned count, int64_t deadline_ns)
{
	struct chan_lane *lane = &chan->lane;

	if (room(chan, lane) < count || !weir__waiters_is_empty(&lane->senders))
		return wait_in(chan, &lane->senders, NULL, NULL, count, deadline_ns);
	lane->reserved += count;
	return 0;
}

int weir_chan_reserve(struct weir_chan *chan, unsigned count, int64_t deadline_ns,
		      struct weir_chan_room *ret_room)
{
	int r;

	if (chan->home != weir__self)
		return -EPROTO;
	if (!count || count > chan->capacity ||
	    (chan->flags & (CHAN_READ | CHAN_LANES | CHAN_ACROSS)))
		return -EINVAL;
	if (chan->flags & CHAN_CLOSED)
		return -EPIPE;
	if (chan->credit) {
		r = weir_credit_take(chan->credit, count, count * chan->item_size, deadline_ns);
		if (r)
			return r;
	}
	r = chan->flags & CHAN_CLOSED ? -EPIPE : reserve(chan, count, deadline_ns);
	if (r)
		give_credit(chan, count);
	else
		*ret_room = (struct weir_chan_room){ .chan_ = chan, .count_ = count };
	return r;
}

int weir_chan_commit(struct weir_chan_room *room, const void *item)
{
	struct weir_chan *chan = room->chan_;

	if (!chan || !room->count_)
		return -EINVAL;
	if (chan->home != weir__self)
		return -EPROTO;
	chan->lane.reserved--;
	room->count_--;
	if (chan->flags & CHAN_HUNG_UP) {
		chan->sent++;
		give_credit(chan, 1);
		weir__chan_drop_item(chan, (void *)(uintptr_t)item);
		return 0;
	}
	push(chan, &chan->lane, item);
	if (chan->flags & CHAN_ONESHOT)
		weir_chan_close(chan);
	end_receivers(chan);
	return 0;
}

void weir_chan_abort(struct weir_chan_room *room)
{
	struct weir_chan *chan = room->chan_;

	room->chan_ = NULL;
	if (!chan || !room->count_)
		return;
	weir_assert(chan->home == weir__self);
	chan->lane.reserved -= room->count_;
	give_credit(chan, room->count_);
	room->count_ = 0;
	feed(chan, &chan->lane);
	end_receivers(chan);
}

/* --- life --- */

static int options_check(const struct weir_chan_opts *opts)
{
	bool is_queue = opts->kind == WEIR_QUEUE;

	if (!weir__self)
		return -EDEADLK;
	if (opts->kind > WEIR_WATCH || !opts->item_size ||
	    opts->item_size > WEIR_CHAN_ITEM_SIZE_MAX || opts->lanes > WEIR_CHAN_LANES_MAX)
		return -EINVAL;
	if (!is_queue && (opts->lanes > 1 || opts->credit || opts->across))
		return -EINVAL;
	if (opts->across && (opts->lanes > 1 || opts->credit || !opts->capacity ||
			     opts->capacity > ACROSS_CAPACITY_MAX))
		return -EINVAL;
	return opts->kind == WEIR_BROADCAST && !opts->capacity ? -EINVAL : 0;
}

static unsigned flags_of(const struct weir_chan_opts *opts)
{
	unsigned flags = 0;

	flags |= opts->lanes > 1 ? CHAN_LANES : 0;
	flags |= opts->credit ? CHAN_CREDIT : 0;
	flags |= opts->kind == WEIR_ONESHOT ? CHAN_ONESHOT : 0;
	flags |= opts->kind >= WEIR_BROADCAST ? CHAN_READ : 0;
	flags |= opts->kind == WEIR_WATCH ? CHAN_WATCH : 0;
	flags |= opts->across ? CHAN_ACROSS : 0;
	return flags;
}

static int lanes_create(struct weir_chan *chan)
{
	size_t size = chan->capacity * chan->item_size;
	char *items = NULL;

	if (chan->lane_count > 1)
		chan->lanes = weir__calloc(chan->lane_count, sizeof(*chan->lanes));
	if (!chan->lanes || __builtin_mul_overflow(size, chan->lane_count, &chan->memory))
		return -ENOMEM;
	if (chan->memory && !(items = weir__alloc(chan->memory)))
		return -ENOMEM;
	for (unsigned i = 0; i < chan->lane_count; i++) {
		chan->lanes[i].items = items ? items + i * size : NULL;
		weir__waiters_init(&chan->lanes[i].senders);
	}
	return 0;
}

void weir__chan_free(struct weir_chan *chan)
{
	weir__across_free(chan);
	if (chan->lanes && chan->lanes->items)
		weir__free(chan->lanes->items, chan->memory);
	if (chan->lane_count > 1)
		weir__free(chan->lanes, chan->lane_count * sizeof(*chan->lanes));
	weir__free(chan, sizeof(*chan));
}

int weir_chan_create(const struct weir_chan_opts *opts, struct weir_chan **ret_chan)
{
	struct weir_chan *chan;
	int r = options_check(opts);

	if (r)
		return r;
	chan = weir__calloc(1, sizeof(*chan));
	if (!chan)
		return -ENOMEM;
	chan->home = weir__self;
	chan->flags = flags_of(opts);
	chan->capacity = opts->capacity;
	if (opts->kind == WEIR_ONESHOT || opts->kind == WEIR_WATCH)
		chan->capacity = 1;
	chan->item_size = opts->item_size;
	chan->lane_count = opts->lanes ? opts->lanes : 1;
	chan->lanes = chan->lane_count > 1 ? NULL : &chan->lane;
	chan->name = opts->name ? opts->name : "channel";
	chan->drop = opts->drop;
	chan->drop_arg = opts->drop_arg;
	chan->credit = opts->credit;
	weir__waiters_init(&chan->receivers);
	weir__waiters_init(&chan->readers);
	weir__waiters_init(&chan->lane.senders);
	if (opts->across)
		chan->capacity = 1u << (32 - __builtin_clz(opts->capacity * 2 - 1) - 1);
	r = opts->across ? weir__across_create(chan) : lanes_create(chan);
	if (r) {
		weir__chan_free(chan);
		return r;
	}
	*ret_chan = chan;
	return 0;
}

static bool is_in_use(const struct weir_chan *chan)
{
	if (!weir__waiters_is_empty(&chan->receivers) || chan->reader_count)
		return true;
	for (unsigned i = 0; i < chan->lane_count; i++)
		if (chan->lanes[i].reserved || !weir__waiters_is_empty(&chan->lanes[i].senders))
			return true;
	return false;
}

int weir_chan_destroy(struct weir_chan *chan)
{
	if (!chan)
		return 0;
	if (chan->home != weir__self)
		return -EPROTO;
	if (is_in_use(chan))
		return -EBUSY;
	if (chan->flags & CHAN_ACROSS) {
		weir__across_destroy(chan);
		return 0;
	}
	chan_check(chan);
	drop_all(chan);
	weir__chan_free(chan);
	return 0;
}

static unsigned length(const struct weir_waiters *line)
{
	const struct weir_node *head = (const void *)line;
	unsigned n = 0;

	for (const struct weir_node *node = head->next; node != head; node = node->next)
		n++;
	return n;
}

int weir_chan_info(const struct weir_chan *chan, struct weir_chan_info *ret_info)
{
	struct weir_chan_info info = {
		.name = chan->name,
		.capacity = chan->capacity,
		.receivers = length(&chan->receivers),
		.sent = chan->sent,
		.dropped = chan->dropped,
		.is_closed = chan->flags & CHAN_CLOSED,
		.is_hung_up = chan->flags & CHAN_HUNG_UP,
	};

	if (chan->home != weir__self)
		return -EPROTO;
	for (unsigned i = 0; i < chan->lane_count; i++) {
		info.count += chan->lanes[i].count;
		info.senders += length(&chan->lanes[i].senders);
	}
	if (chan->flags & CHAN_ACROSS) {
		info.count = weir__across_count(chan);
		info.senders = length(weir__across_senders((struct weir_chan *)(uintptr_t)chan));
		info.is_closed = weir__across_is_closed(chan);
		info.is_hung_up = weir__across_is_hung_up(chan);
	}
	if (chan->flags & CHAN_READ)
		info.count = (unsigned)(chan->next_number - chan->first_number);
	*ret_info = info;
	return 0;
}
