/* SPDX-License-Identifier: MIT */
/*
 * chan_across.c - channels whose senders are on any core, or on threads that are no worker.
 *
 * Every sending core has a ring of its own to the receiving core (one producer, one consumer), and
 * all other threads share one more, under a lock. So the order of each sender holds, and no two
 * cores ever write the same word in turn.
 *
 *	lane of core k			home
 *	items, tail	  --------->	takes items, moves head
 *	want_room	  --------->	posts room to core k
 *			  <---------	waits: the next who sends posts a wake to home
 *
 * Waiting is the protocol of the mesh (core/mesh.h), both ways: who waits stores that he does, then
 * looks again; who publishes stores what he publishes, then looks whether somebody waits; all four
 * sequentially consistent. Who takes the flag back (an exchange) posts, so a post is never out
 * twice and its memory can be part of the channel.
 *
 * The end is agreed upon: closing asks every sending core to end its lane, which it does between
 * two sends, and the last one tells home. So nothing that send() has taken is ever missed by the
 * receiver, and when home has heard, nobody touches the channel any more.
 */
#include "futures/chan.h"

#include <pthread.h>
#include <time.h>

#include "core/alloc.h"
#include "core/mesh.h"
#include "core/weir_mesh.h"
#include "core/weir_runtime.h"

#define SHOW_EVERY 16

/* Each side's own words, and what it shows the other, have cache lines of their own. */
struct across_lane {
	/* The producer's own. */
	uint32_t tail_own WEIR__CACHE_ALIGNED;
	uint32_t tail_told;		/* home was looked after when it was here */
	uint32_t head_seen;
	bool wants;			/* want_room was set, and the post about it has not come */
	bool ending;			/* as soon as it has, and flush has run */
	struct weir_waiters senders;
	struct weir_task flush;		/* at the end of the turn: whether home waits */

	/* What the producer shows. */
	uint32_t tail WEIR__CACHE_ALIGNED;
	uint32_t want_room;

	/* The consumer's own. */
	uint32_t head_own WEIR__CACHE_ALIGNED;
	uint32_t head_told;		/* the producer was looked after when it was here */
	uint32_t tail_seen;

	/* What the consumer shows. */
	uint32_t head WEIR__CACHE_ALIGNED;

	/* Never changed. */
	char *items WEIR__CACHE_ALIGNED;
	unsigned core;
	struct weir_chan *chan;
	struct weir_post room_post;	/* home to core: there is room */
	struct weir_post close_post;	/* whoever closes to core */
};

struct weir_across {
	struct weir_runtime *runtime;
	unsigned home_core;
	unsigned lane_count;		/* cores, and one for all other threads: the last */
	unsigned next_lane;		/* the consumer's: looked at first */
	uint32_t mask;
	uint32_t show_every; /* items between two looks of the other side, within a turn */
	uint32_t waits WEIR__CACHE_ALIGNED;	/* home wants a post when something comes */
	uint32_t closed;
	uint32_t lanes_left;		/* that have not ended */
	struct weir_task flush;		/* home's, at the end of the turn: who wants room */
	bool armed;			/* home's: waits was set, and wake_post has not come */
	bool over;			/* home's: every lane has ended */
	bool hung_up;			/* home's */
	bool dying;			/* home's: freed once it is over */
	bool dropped;			/* home's: and what was inside was dropped */
	struct weir_chan *chan;
	struct weir_post wake_post;
	struct weir_post over_post;
	pthread_mutex_t lock;		/* of the last lane's producers */
	pthread_cond_t room;
	struct across_lane lanes[];
};

static inline char *slot(const struct weir_chan *chan, const struct across_lane *lane,
			 uint32_t number)
{
	return lane->items + (size_t)(number & chan->across->mask) * chan->item_size;
}

static inline uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* A word that its writer shows the other side; at the latest at the end of the turn. */
static inline void show(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Published: seen before what is looked at next. */
static inline void publish(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* Whether somebody waited, and it is now for the caller to tell him. */
static inline bool take_flag(uint32_t *flag)
{
	return __atomic_load_n(flag, __ATOMIC_SEQ_CST) &&
	       __atomic_exchange_n(flag, 0, __ATOMIC_SEQ_CST);
}

/* --- the producer's side --- */

static uint32_t room_of(const struct weir_chan *chan, struct across_lane *lane, uint32_t wanted)
{
	uint32_t room = chan->capacity - (lane->tail_own - lane->head_seen);

	if (room < wanted) {
		lane->head_seen = __atomic_load_n(&lane->head, __ATOMIC_SEQ_CST);
		room = chan->capacity - (lane->tail_own - lane->head_seen);
	}
	return room;
}

/* The lane that the caller sends in; NULL: it is the one of other threads. */
static struct across_lane *lane_of(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;

	if (weir__self && weir__self->runtime == across->runtime)
		return &across->lanes[weir__self->index];
	return NULL;
}

static void on_wake(struct weir_post *post);

/* What was published is seen before this looks. */
static void wake_home(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;

	if (!take_flag(&across->waits))
		return;
	/* Refused when home has ended its work: nobody waits there any more. */
	(void)weir_post_any(across->runtime, across->home_core, &across->wake_post, on_wake);
}

static void tell_home(struct across_lane *lane)
{
	publish(&lane->tail, lane->tail_own);
	lane->tail_told = lane->tail_own;
	wake_home(lane->chan);
}

/*
 * Of count items as many as there is room for; home is told at the end of the turn, or when half of
 * the room is full. Returns how many.
 */
static unsigned put_n(struct weir_chan *chan, struct across_lane *lane, const char *items,
		      unsigned count)
{
	uint32_t n = room_of(chan, lane, count), first;

	if (n > count)
		n = count;
	if (!n)
		return 0;
	first = chan->capacity - (lane->tail_own & chan->across->mask);
	if (first > n)
		first = n;
	memcpy(slot(chan, lane, lane->tail_own), items, first * chan->item_size);
	memcpy(lane->items, items + first * chan->item_size, (n - first) * chan->item_size);
	lane->tail_own += n;
	if (lane->tail_own - lane->tail >= chan->across->show_every)
		show(&lane->tail, lane->tail_own);
	if (lane->tail_own - lane->tail_told >= (chan->capacity + 1) / 2)
		tell_home(lane);
	return n;
}

/* As much as fits of those who wait on the lane's core. */
static void feed(struct weir_chan *chan, struct across_lane *lane)
{
	struct weir_chan_wait *w;
	unsigned n;

	while ((w = chan_wait_first(&lane->senders))) {
		n = put_n(chan, lane, w->item_, w->left_);
		if (!n)
			return;
		w->item_ = (char *)w->item_ + n * chan->item_size;
		w->left_ -= n;
		if (!w->left_)
			chan_fire(w, 0);
		weir_task_ready_last(&lane->flush);
	}
}

/* Feeds until all are in, or home knows that somebody waits. */
static void feed_or_want(struct weir_chan *chan, struct across_lane *lane)
{
	feed(chan, lane);
	while (!weir__waiters_is_empty(&lane->senders) && !lane->wants) {
		show(&lane->tail, lane->tail_own);
		lane->wants = true;
		publish(&lane->want_room, 1);
		if (!room_of(chan, lane, 1))
			return;
		/* Home has taken something since. If it has the flag too, its post is on the way.
		 */
		if (take_flag(&lane->want_room))
			lane->wants = false;
		feed(chan, lane);
	}
}

static void on_over(struct weir_post *post);

/* Nothing is sent in lane from now on. Of those who end one, the last tells home. */
static void end_lane(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;

	if (__atomic_sub_fetch(&across->lanes_left, 1, __ATOMIC_ACQ_REL))
		return;
	(void)weir_post_any(across->runtime, across->home_core, &across->over_post, on_over);
}

static void fire_all(struct weir_waiters *line, int res)
{
	struct weir_chan_wait *w;

	while ((w = chan_wait_first(line)))
		chan_fire(w, res);
}

static void end_if_quiet(struct across_lane *lane)
{
	if (lane->ending && !lane->wants && !lane->flush.queued_)
		end_lane(lane->chan);
}

static void flush_lane(struct weir_task *task)
{
	struct across_lane *lane = weir_container_of(task, struct across_lane, flush);

	tell_home(lane);
	end_if_quiet(lane);
}

static void on_room(struct weir_post *post)
{
	struct across_lane *lane = weir_container_of(post, struct across_lane, room_post);

	lane->wants = false;
	if (!lane->ending)
		feed_or_want(lane->chan, lane);
	end_if_quiet(lane);
}

/* On the lane's core. */
static void on_close(struct weir_post *post)
{
	struct across_lane *lane = weir_container_of(post, struct across_lane, close_post);

	fire_all(&lane->senders, -EPIPE);
	if (lane->wants && take_flag(&lane->want_room))
		lane->wants = false;	/* else the post about it is on the way */
	lane->ending = true;
	end_if_quiet(lane);
}

/* Until absolute deadline_ns of the library's clock. Under the lock; returns 0 or -ETIMEDOUT. */
static int thread_wait(struct weir_across *across, int64_t deadline_ns)
{
	struct timespec at = { .tv_sec = deadline_ns / WEIR_S, .tv_nsec = deadline_ns % WEIR_S };

	if (deadline_ns == WEIR_NEVER)
		return -pthread_cond_wait(&across->room, &across->lock);
	return -pthread_cond_timedwait(&across->room, &across->lock, &at);
}

static ssize_t thread_send_n(struct weir_chan *chan, const char *items, unsigned count,
			     int64_t deadline_ns)
{
	struct weir_across *across = chan->across;
	struct across_lane *lane = &across->lanes[across->lane_count - 1];
	unsigned done = 0;
	int r = 0;

	pthread_mutex_lock(&across->lock);
	for (;;) {
		if (load(&across->closed)) {
			r = -EPIPE;
			break;
		}
		done += put_n(chan, lane, items + done * chan->item_size, count - done);
		if (done)
			tell_home(lane);
		if (done == count || r)
			break;
		publish(&lane->want_room, 1);
		if (!room_of(chan, lane, 1))
			r = thread_wait(across, deadline_ns);
	}
	pthread_mutex_unlock(&across->lock);
	return done ? (ssize_t)done : r;
}

ssize_t weir__across_send_n(struct weir_chan *chan, const char *items, unsigned count,
			    int64_t deadline_ns)
{
	struct across_lane *lane = lane_of(chan);
	unsigned done = 0, left;
	int r;

	if (!lane)
		return weir__self ? -EPROTO : thread_send_n(chan, items, count, deadline_ns);
	if (weir_unlikely(load(&chan->across->closed)))
		return -EPIPE;
	if (weir_likely(weir__waiters_is_empty(&lane->senders)))
		done = put_n(chan, lane, items, count);
	if (done)
		weir_task_ready_last(&lane->flush);
	if (weir_likely(done == count))
		return count;
	left = count - done;
	r = weir__chan_wait(chan, &lane->senders, items + done * chan->item_size, &left,
			    deadline_ns);
	return left == count ? r : (ssize_t)(count - left);
}

int weir__across_send_now(struct weir_chan *chan, const void *item)
{
	struct across_lane *lane = lane_of(chan);

	if (load(&chan->across->closed))
		return -EPIPE;
	if (!weir__waiters_is_empty(&lane->senders) || !put_n(chan, lane, item, 1))
		return -EAGAIN;
	weir_task_ready_last(&lane->flush);
	return 0;
}

struct weir_waiters *weir__across_senders(struct weir_chan *chan)
{
	struct across_lane *lane = lane_of(chan);

	return lane ? &lane->senders : NULL;
}

/* --- home's side --- */

static void tell_room(struct across_lane *lane)
{
	struct weir_across *across = lane->chan->across;

	publish(&lane->head, lane->head_own);
	lane->head_told = lane->head_own;
	if (!take_flag(&lane->want_room))
		return;
	if (lane->core < across->lane_count - 1) {
		(void)weir_post_any(across->runtime, lane->core, &lane->room_post, on_room);
		return;
	}
	pthread_mutex_lock(&across->lock);
	pthread_cond_broadcast(&across->room);
	pthread_mutex_unlock(&across->lock);
}

static void free_if_over(struct weir_chan *chan);

static void flush_home(struct weir_task *task)
{
	struct weir_across *across = weir_container_of(task, struct weir_across, flush);

	for (unsigned i = 0; i < across->lane_count; i++)
		if (across->lanes[i].head_told != across->lanes[i].head_own)
			tell_room(&across->lanes[i]);
	free_if_over(across->chan);
}

static void move_head(struct across_lane *lane, uint32_t n)
{
	struct weir_across *across = lane->chan->across;

	lane->head_own += n;
	if (lane->head_own - lane->head >= across->show_every)
		show(&lane->head, lane->head_own);
	if (lane->head_own - lane->head_told >= (lane->chan->capacity + 1) / 2)
		tell_room(lane);
	weir_task_ready_last(&across->flush);
}

static bool has_item(struct across_lane *lane)
{
	if (lane->tail_seen == lane->head_own)
		lane->tail_seen = __atomic_load_n(&lane->tail, __ATOMIC_SEQ_CST);
	return lane->tail_seen != lane->head_own;
}

/* Up to count items of one lane. */
static unsigned take_n(struct weir_chan *chan, struct across_lane *lane, char *items,
		       unsigned count)
{
	uint32_t n = lane->tail_seen - lane->head_own, first;

	if (n > count)
		n = count;
	first = chan->capacity - (lane->head_own & chan->across->mask);
	if (first > n)
		first = n;
	memcpy(items, slot(chan, lane, lane->head_own), first * chan->item_size);
	memcpy(items + first * chan->item_size, lane->items, (n - first) * chan->item_size);
	chan->sent += n;
	move_head(lane, n);
	return n;
}

/* The lanes in turn. */
static unsigned take_any(struct weir_chan *chan, char *items, unsigned count)
{
	struct weir_across *across = chan->across;
	unsigned done = 0;

	for (unsigned i = 0; i < across->lane_count && done < count; i++) {
		struct across_lane *lane = &across->lanes[across->next_lane];

		if (has_item(lane))
			done += take_n(chan, lane, items + done * chan->item_size, count - done);
		if (++across->next_lane == across->lane_count)
			across->next_lane = 0;
	}
	return done;
}

ssize_t weir__across_receive_now(struct weir_chan *chan, char *items, unsigned count)
{
	unsigned n;

	if (chan->across->hung_up)
		return -EPIPE;
	n = take_any(chan, items, count);
	if (n)
		return n;
	return chan->across->over ? -EPIPE : -EAGAIN;
}

/* To those who wait, what is there. */
static void hand_out(struct weir_chan *chan)
{
	struct weir_chan_wait *w;
	ssize_t n;

	while ((w = chan_wait_first(&chan->receivers))) {
		n = weir__across_receive_now(chan, w->item_, w->left_);
		if (n == -EAGAIN)
			return;
		if (n > 0)
			w->left_ -= (unsigned)n;
		chan_fire(w, n < 0 ? (int)n : 0);
	}
}

/* Somebody stands in the line of receivers: the next who sends is to say so. */
static void arm(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;

	if (across->armed || weir__waiters_is_empty(&chan->receivers))
		return;
	across->armed = true;
	publish(&across->waits, 1);
	hand_out(chan);
}

void weir__across_waits(struct weir_chan *chan, struct weir_waiters *line)
{
	if (line == &chan->receivers)
		arm(chan);
	else
		feed_or_want(chan, weir_container_of(line, struct across_lane, senders));
}

static void free_if_over(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;

	if (!across->dying || !across->over)
		return;
	if (!across->dropped) {
		across->dropped = true;
		weir__across_drop(chan);
	}
	if (across->flush.queued_)
		return;
	if (across->armed && !take_flag(&across->waits))
		return;			/* wake_post is on the way */
	weir__chan_free(chan);
	weir__worker_release(weir__self);
}

static void on_wake(struct weir_post *post)
{
	struct weir_across *across = weir_container_of(post, struct weir_across, wake_post);

	across->armed = false;
	hand_out(across->chan);
	arm(across->chan);
	free_if_over(across->chan);
}

static void on_over(struct weir_post *post)
{
	struct weir_across *across = weir_container_of(post, struct weir_across, over_post);

	across->over = true;
	hand_out(across->chan);
	free_if_over(across->chan);
}

/* --- the end --- */

void weir__across_close(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;
	unsigned others = across->lane_count - 1;

	if (__atomic_exchange_n(&across->closed, 1, __ATOMIC_SEQ_CST))
		return;
	for (unsigned i = 0; i < others; i++)
		if (weir_post_any(across->runtime, i, &across->lanes[i].close_post, on_close))
			end_lane(chan);		/* that core has ended its work */
	/* Whoever is inside the lock has looked at closed before it, or will. */
	pthread_mutex_lock(&across->lock);
	pthread_cond_broadcast(&across->room);
	pthread_mutex_unlock(&across->lock);
	end_lane(chan);
}

bool weir__across_is_closed(const struct weir_chan *chan)
{
	return load(&chan->across->closed);
}

bool weir__across_is_hung_up(const struct weir_chan *chan)
{
	return chan->across->hung_up;
}

void weir__across_hang_up(struct weir_chan *chan)
{
	weir__across_close(chan);
	if (chan->across->hung_up)
		return;
	chan->across->hung_up = true;
	hand_out(chan);
	weir__across_drop(chan);
}

void weir__across_drop(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;

	for (unsigned i = 0; i < across->lane_count; i++) {
		struct across_lane *lane = &across->lanes[i];

		while (has_item(lane)) {
			weir__chan_drop_item(chan, slot(chan, lane, lane->head_own));
			move_head(lane, 1);
		}
	}
}

void weir__across_destroy(struct weir_chan *chan)
{
	/* Posts alone do not keep the runtime running until every core has heard of it. */
	weir__worker_hold(weir__self);
	weir__across_close(chan);
	chan->across->dying = true;
	free_if_over(chan);
}

/* What other cores have sent in their present turns may be missing. */
unsigned weir__across_count(const struct weir_chan *chan)
{
	unsigned count = 0;

	for (unsigned i = 0; i < chan->across->lane_count; i++) {
		const struct across_lane *lane = &chan->across->lanes[i];

		count += i == chan->across->home_core ? lane->tail_own : load(&lane->tail);
		count -= lane->head_own;
	}
	return count;
}

/* --- life --- */

static size_t across_size(unsigned lane_count)
{
	return sizeof(struct weir_across) + lane_count * sizeof(struct across_lane);
}

static size_t items_size(const struct weir_chan *chan)
{
	return (size_t)chan->capacity * chan->item_size;
}

void weir__across_free(struct weir_chan *chan)
{
	struct weir_across *across = chan->across;

	if (!across)
		return;
	for (unsigned i = 0; i < across->lane_count; i++)
		weir__free(across->lanes[i].items, items_size(chan));
	pthread_mutex_destroy(&across->lock);
	pthread_cond_destroy(&across->room);
	weir_runtime_drop(across->runtime);
	weir__free(across, across_size(across->lane_count));
}

static void lock_init(struct weir_across *across)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&across->room, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&across->lock, NULL);
}

int weir__across_create(struct weir_chan *chan)
{
	unsigned lane_count = weir_core_count() + 1;
	struct weir_across *across;

	if (!weir__self->runtime)
		return -EINVAL;
	across = weir__alloc_aligned(across_size(lane_count), WEIR__CACHE_LINE);
	if (!across)
		return -ENOMEM;
	memset(across, 0, across_size(lane_count));
	chan->across = across;
	across->chan = chan;
	weir_task_init(&across->flush, flush_home);
	across->runtime = weir__self->runtime;
	across->home_core = weir__self->index;
	across->lane_count = lane_count;
	across->lanes_left = lane_count;
	across->mask = chan->capacity - 1;
	across->show_every = chan->capacity < 4 * SHOW_EVERY ? (chan->capacity + 3) / 4
							     : SHOW_EVERY;
	weir_runtime_keep(across->runtime);
	lock_init(across);
	for (unsigned i = 0; i < lane_count; i++) {
		struct across_lane *lane = &across->lanes[i];

		weir_task_init(&lane->flush, flush_lane);
		lane->core = i;
		lane->chan = chan;
		weir__waiters_init(&lane->senders);
		lane->items = weir__alloc(items_size(chan));
		if (!lane->items)
			return -ENOMEM;
	}
	return 0;
}
