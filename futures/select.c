/* SPDX-License-Identifier: MIT */
/*
 * select.c - one wait for several channels, futures and a time.
 *
 * Each case that cannot go on at once stands in the line of what it waits for, with memory of the
 * caller's. Whoever makes the first of them go on carries it out and takes the others out of their
 * lines in the same step (chan_fire()), so no second one can be carried out.
 */
#include "core/weir_coro.h"
#include "core/weir_task.h"
#include "futures/chan.h"
#include "futures/future.h"

struct selection {
	struct chan_party party;
	struct weir_case *cases;
	unsigned count;
	struct weir_timer timer;	/* the earliest WEIR_CASE_TIME */
	struct weir_case *timed;	/* which it is, or NULL */
	unsigned late_taps;		/* of futures that were settled when another case fired */
};

static struct selection *selection_of(struct chan_party *party)
{
	return weir_container_of(party, struct selection, party);
}

/* --- a case at once --- */

static struct weir_chan *chan_of(const struct weir_case *c)
{
	return c->kind == WEIR_CASE_READ ? c->reader->chan_ : c->chan;
}

static int case_check(const struct weir_case *c)
{
	const struct weir_chan *chan;

	switch (c->kind) {
	case WEIR_CASE_NONE:
	case WEIR_CASE_TIME:
		return 0;
	case WEIR_CASE_FUTURE:
		return weir__future_check(c->future);
	case WEIR_CASE_SEND:
	case WEIR_CASE_RECEIVE:
	case WEIR_CASE_READ:
		chan = chan_of(c);
		if (!chan || !c->item)
			return -EINVAL;
		if (c->kind == WEIR_CASE_SEND && (chan->flags & CHAN_ACROSS))
			return weir__across_senders(c->chan) ? 0 : -EPROTO;
		if (chan->home != weir__self)
			return -EPROTO;
		if (chan->flags & CHAN_CREDIT)
			return -EINVAL;
		if (c->kind == WEIR_CASE_READ && c->reader->waits_)
			return -EBUSY;
		return c->kind == WEIR_CASE_RECEIVE && (chan->flags & CHAN_READ) ? -EINVAL : 0;
	}
	return -EINVAL;
}

static bool is_ready(const struct weir_future *future)
{
	return weir__future_is_number(future) || future->state == FUTURE_READY;
}

/* 0 when it was done, -EPIPE: ready, too; -EAGAIN: not yet. */
static int case_now(struct weir_case *c)
{
	int r;

	switch (c->kind) {
	case WEIR_CASE_NONE:
		return -EAGAIN;
	case WEIR_CASE_TIME:
		return c->at_ns <= weir_now() ? 0 : -EAGAIN;
	case WEIR_CASE_FUTURE:
		return is_ready(c->future) ? 0 : -EAGAIN;
	case WEIR_CASE_SEND:
		return weir__chan_send_now(c->chan, c->item);
	case WEIR_CASE_RECEIVE:
		return weir__chan_receive_now(c->chan, c->item);
	case WEIR_CASE_READ:
		r = weir__chan_read_now(c->reader, c->item);
		if (!r)
			weir__chan_make_room(c->reader->chan_);
		return r;
	}
	return -EINVAL;
}

/* --- waiting --- */

static void future_is_settled(struct weir_tap *tap, ssize_t res, void *value)
{
	struct weir_case *c = weir_container_of(tap, struct weir_case, tap_);
	struct chan_party *party = c->wait_.party_;

	(void)res;
	(void)value;
	c->tapped_ = false;
	if (party->wait.woken) {
		selection_of(party)->late_taps--;
		return;
	}
	party->fired = &c->wait_;
	party->unlink(party);
	weir__wait_wake(&party->wait, 0);
}

static void time_has_come(struct weir_timer *timer)
{
	struct selection *selection = weir_container_of(timer, struct selection, timer);

	selection->party.fired = &selection->timed->wait_;
	selection->party.unlink(&selection->party);
	weir__wait_wake(&selection->party.wait, 0);
}

static void enlist(struct selection *selection, struct weir_case *c)
{
	struct weir_waiters *line = NULL;

	switch (c->kind) {
	case WEIR_CASE_NONE:
		return;
	case WEIR_CASE_TIME:
		if (!selection->timed || c->at_ns < selection->timed->at_ns)
			selection->timed = c;
		return;
	case WEIR_CASE_FUTURE:
		c->tapped_ = weir_future_tap(c->future, &c->tap_, future_is_settled) == 0;
		return;
	case WEIR_CASE_READ:
		weir__list_init(chan_wait_node(&c->wait_));
		if (!c->reader->waits_)
			c->reader->waits_ = &c->wait_;
		return;
	case WEIR_CASE_SEND:
		line = c->chan->flags & CHAN_ACROSS ? weir__across_senders(c->chan) :
						      &c->chan->lanes[0].senders;
		break;
	case WEIR_CASE_RECEIVE:
		line = &c->chan->receivers;
		break;
	}
	weir__list_push(weir__waiters_head(line), chan_wait_node(&c->wait_));
	if (c->chan->flags & CHAN_ACROSS)
		weir__across_waits(c->chan, line);
}

/* A tap of a future that is settled already cannot be taken back: it is waited for. */
static void untap(struct selection *selection, struct weir_case *c)
{
	if (!c->tapped_)
		return;
	if (weir_future_untap(&c->tap_))
		selection->late_taps++;
	else
		c->tapped_ = false;
}

static void delist(struct selection *selection, struct weir_case *c)
{
	switch (c->kind) {
	case WEIR_CASE_NONE:
	case WEIR_CASE_TIME:
		break;
	case WEIR_CASE_FUTURE:
		untap(selection, c);
		break;
	case WEIR_CASE_READ:
		if (c->reader->waits_ == &c->wait_)
			c->reader->waits_ = NULL;
		break;
	case WEIR_CASE_SEND:
	case WEIR_CASE_RECEIVE:
		if (weir__node_is_linked(chan_wait_node(&c->wait_)))
			weir__node_remove(chan_wait_node(&c->wait_));
		break;
	}
}

static void unlink_all(struct chan_party *party)
{
	struct selection *selection = selection_of(party);

	weir_timer_cancel(&selection->timer);
	for (unsigned i = 0; i < selection->count; i++)
		delist(selection, &selection->cases[i]);
}

static void give_up(struct weir_wait *wait, int reason)
{
	struct chan_party *party = weir_container_of(wait, struct chan_party, wait);

	unlink_all(party);
	weir__wait_wake(wait, reason);
}

/* --- the call --- */

static int wait_for_one(struct weir_case *cases, unsigned count, int64_t deadline_ns)
{
	struct selection selection = {
		.party = { .unlink = unlink_all }, .cases = cases, .count = count,
	};
	int r = weir__wait_check(deadline_ns);

	if (r)
		return r;
	weir__wait_init(&selection.party.wait);
	weir_timer_init(&selection.timer, time_has_come);
	for (unsigned i = 0; i < count; i++)
		cases[i].wait_ = (struct weir_chan_wait){ .item_ = cases[i].item, .left_ = 1,
							  .party_ = &selection.party };
	/* One that can go on across cores fires here. */
	for (unsigned i = 0; i < count && !selection.party.wait.woken; i++)
		enlist(&selection, &cases[i]);
	if (selection.timed && !selection.party.wait.woken)
		weir_timer_arm(&selection.timer, selection.timed->at_ns);
	r = weir__wait_park(&selection.party.wait, "select", give_up, deadline_ns);
	while (selection.late_taps)
		weir_yield();
	if (!selection.party.fired)
		return r;
	for (unsigned i = 0; i < count; i++)
		if (selection.party.fired == &cases[i].wait_) {
			cases[i].res = r;
			return (int)i;
		}
	weir_assert(!"a case of this selection");
	return -EINVAL;
}

int weir_select(struct weir_case *cases, unsigned count, int order, int64_t deadline_ns)
{
	unsigned first = order == WEIR_SELECT_FAIR && count > 1 ? weir_random() % count : 0;
	int r;

	if (count > WEIR_SELECT_MAX || (unsigned)order > WEIR_SELECT_ORDERED)
		return -EINVAL;
	if (!weir__self)
		return -EDEADLK;
	for (unsigned i = 0; i < count; i++) {
		cases[i].tapped_ = false;
		r = case_check(&cases[i]);
		if (r)
			return r;
	}
	for (unsigned n = 0; n < count; n++) {
		unsigned i = (first + n) % count;

		r = case_now(&cases[i]);
		if (r == -EAGAIN)
			continue;
		cases[i].res = r;
		return (int)i;
	}
	return wait_for_one(cases, count, deadline_ns);
}
