/* SPDX-License-Identifier: MIT */
/*
 * credit.c - room that is taken on all levels or on none, and given to the first in line.
 *
 * Everybody waits in the line of the credit he asked. Where it is a parent that has no room, the
 * child stands in that parent's line of stalled children, once, and is looked at again when the
 * parent gets room: children in turn, so none is served twice before another was once.
 */
#include "core/credit.h"

#define HIGH_PERCENT 75
#define LOW_PERCENT 50

static struct weir_node *sibling_of(struct weir_credit *credit)
{
	return weir__waiters_head(&credit->sibling_);
}

/* --- room --- */

static inline bool has_room(const struct weir_credit *credit, uint64_t items, uint64_t bytes,
			    bool reserve)
{
	uint64_t items_max = credit->items_max_ - (reserve ? 0 : credit->items_reserve_);
	uint64_t bytes_max = credit->bytes_max_ - (reserve ? 0 : credit->bytes_reserve_);

	return items <= items_max && credit->items_ <= items_max - items && bytes <= bytes_max &&
	       credit->bytes_ <= bytes_max - bytes;
}

/* The first level that has no room, or NULL. */
static inline struct weir_credit *lacking(struct weir_credit *credit, uint64_t items,
					  uint64_t bytes, bool reserve)
{
	while (credit && has_room(credit, items, bytes, reserve))
		credit = credit->parent_;
	return credit;
}

static bool is_above(uint64_t level, uint64_t max, unsigned percent)
{
	return max != UINT64_MAX && level > max / 100 * percent + max % 100 * percent / 100;
}

static bool is_at(uint64_t level, uint64_t max, unsigned percent)
{
	return max != UINT64_MAX && level >= max / 100 * percent + max % 100 * percent / 100;
}

struct weir_credit *weir__credit_lacking(const struct weir_credit_taker *taker)
{
	return lacking(taker->waiter.of, taker->items, taker->bytes, false);
}

static void press(struct weir_credit *credit)
{
	bool pressed = credit->pressed_;

	if (pressed)
		pressed = is_above(credit->items_, credit->items_max_, credit->low_percent_) ||
			  is_above(credit->bytes_, credit->bytes_max_, credit->low_percent_);
	else
		pressed = is_at(credit->items_, credit->items_max_, credit->high_percent_) ||
			  is_at(credit->bytes_, credit->bytes_max_, credit->high_percent_);
	if (pressed == credit->pressed_)
		return;
	credit->pressed_ = pressed;
	if (credit->watch_)
		weir_task_ready(&credit->watch_->task_);
}

static inline uint64_t number_of(const struct weir_coro *coro)
{
	return coro ? coro->number : 0;
}

static inline void charge(struct weir_credit *credit, const struct weir_coro *coro, uint64_t items,
			  uint64_t bytes)
{
	for (; credit; credit = credit->parent_) {
		credit->taker_ = number_of(coro);
		credit->items_ += items;
		credit->bytes_ += bytes;
		press(credit);
	}
}

/* --- those who wait --- */

static void stall(struct weir_credit *credit, struct weir_credit *at)
{
	if (credit != at && !weir__node_is_linked(sibling_of(credit)))
		weir__list_push(weir__waiters_head(&at->stalled_), sibling_of(credit));
}

/* Serves the line of credit itself. */
static void feed_line(struct weir_credit *credit)
{
	struct weir_waiter *waiter;

	while ((waiter = weir__waiters_first(&credit->waiters_))) {
		struct weir_credit_taker *taker =
			weir_container_of(waiter, struct weir_credit_taker, waiter);
		struct weir_credit *at = weir__credit_lacking(taker);

		if (at) {
			stall(credit, at);
			return;
		}
		charge(credit, waiter->wait.coro, taker->items, taker->bytes);
		weir__waiter_wake(waiter, 0);
	}
}

/*
 * credit has room again: its own line, then the stalled children in turn. A child that was served
 * and stalls again is the last then; the first that is not served keeps its place, and ends it.
 */
static void feed(struct weir_credit *credit)
{
	struct weir_node *head = weir__waiters_head(&credit->stalled_);
	struct weir_node *node;

	feed_line(credit);
	while ((node = weir__list_pop(head))) {
		struct weir_credit *child =
			weir_container_of((void *)node, struct weir_credit, sibling_);
		struct weir_waiter *first = weir__waiters_first(&child->waiters_);

		feed_line(child);
		if (!first || first != weir__waiters_first(&child->waiters_))
			continue;
		if (node->next == head) {	/* stalled here again, as the last */
			weir__node_remove(node);
			weir__list_push(head->next, node);
		}
		return;
	}
}

/* From the root down, for who waits for a parent's room has waited for it like others. */
static void feed_levels(struct weir_credit *credit)
{
	if (credit->parent_)
		feed_levels(credit->parent_);
	if (!weir__waiters_is_empty(&credit->waiters_) ||
	    !weir__waiters_is_empty(&credit->stalled_))
		feed(credit);
}

static void left(struct weir_waiter *waiter)
{
	feed_line(waiter->of);
}

/* --- the calls --- */

static uint64_t max_of(uint64_t max)
{
	return max ? max : UINT64_MAX;
}

static bool opts_are_sound(const struct weir_credit_opts *opts)
{
	unsigned high = opts->high_percent ? opts->high_percent : HIGH_PERCENT;
	unsigned low = opts->low_percent ? opts->low_percent : LOW_PERCENT;

	return high <= 100 && low <= high &&
	       (!opts->items_reserve || opts->items_reserve < opts->items_max) &&
	       (!opts->bytes_reserve || opts->bytes_reserve < opts->bytes_max);
}

int weir_credit_init(struct weir_credit *credit, const struct weir_credit_opts *opts)
{
	static const struct weir_credit_opts defaults;

	if (!opts)
		opts = &defaults;
	if (!opts_are_sound(opts))
		return -EINVAL;
	if (!weir__self)
		return -EDEADLK;
	if (opts->parent && opts->parent->home_ != weir__self)
		return -EPROTO;
	*credit = (struct weir_credit){
		.items_max_ = max_of(opts->items_max),
		.bytes_max_ = max_of(opts->bytes_max),
		.items_reserve_ = opts->items_reserve,
		.bytes_reserve_ = opts->bytes_reserve,
		.high_percent_ = opts->high_percent ? opts->high_percent : HIGH_PERCENT,
		.low_percent_ = opts->low_percent ? opts->low_percent : LOW_PERCENT,
		.parent_ = opts->parent,
		.name_ = opts->name ? opts->name : "credit",
		.home_ = weir__self,
	};
	weir__waiters_init(&credit->waiters_);
	weir__waiters_init(&credit->stalled_);
	if (credit->parent_)
		credit->parent_->children_++;
	return 0;
}

int weir_credit_fini(struct weir_credit *credit)
{
	if (credit->home_ != weir__self)
		return -EPROTO;
	if (credit->items_ || credit->bytes_ || credit->children_ || credit->watch_ ||
	    !weir__waiters_is_empty(&credit->waiters_))
		return -EBUSY;
	if (weir__node_is_linked(sibling_of(credit)))
		weir__node_remove(sibling_of(credit));
	if (credit->parent_)
		credit->parent_->children_--;
	credit->home_ = NULL;
	return 0;
}

/* Whether it would fit if nothing were out. */
static bool is_possible(const struct weir_credit *credit, uint64_t items, uint64_t bytes)
{
	for (; credit; credit = credit->parent_)
		if (items > credit->items_max_ - credit->items_reserve_ ||
		    bytes > credit->bytes_max_ - credit->bytes_reserve_)
			return false;
	return true;
}

static int take_slow(struct weir_credit *credit, uint64_t items, uint64_t bytes,
		     int64_t deadline_ns)
{
	struct weir_credit_taker taker = {
		.waiter = { .of = credit, .left = left }, .items = items, .bytes = bytes,
	};
	struct weir_credit *at;
	int r;

	if (credit->home_ != weir__self)
		return -EPROTO;
	if (!is_possible(credit, items, bytes))
		return -EINVAL;
	credit->waits_++;
	at = lacking(credit, items, bytes, false);
	if (at)
		stall(credit, at);
	weir__credit_wait_begin(&taker);
	r = weir__waiters_wait(&credit->waiters_, &taker.waiter, credit->name_, deadline_ns);
	weir__credit_wait_end(&taker);
	return r;
}

int weir_credit_take(struct weir_credit *credit, uint64_t items, uint64_t bytes,
		     int64_t deadline_ns)
{
	if (weir_unlikely(credit->home_ != weir__self ||
			  !weir__waiters_is_empty(&credit->waiters_) ||
			  lacking(credit, items, bytes, false)))
		return take_slow(credit, items, bytes, deadline_ns);
	charge(credit, weir__self->coros.current, items, bytes);
	return 0;
}

int weir_credit_try(struct weir_credit *credit, uint64_t items, uint64_t bytes)
{
	if (weir_unlikely(credit->home_ != weir__self))
		return -EPROTO;
	if (weir_unlikely(!is_possible(credit, items, bytes)))
		return -EINVAL;
	if (!weir__waiters_is_empty(&credit->waiters_) || lacking(credit, items, bytes, false)) {
		credit->refused_++;
		return -EAGAIN;
	}
	charge(credit, weir__self->coros.current, items, bytes);
	return 0;
}

int weir_credit_take_reserve(struct weir_credit *credit, uint64_t items, uint64_t bytes)
{
	if (weir_unlikely(credit->home_ != weir__self))
		return -EPROTO;
	if (lacking(credit, items, bytes, true)) {
		credit->refused_++;
		return -EAGAIN;
	}
	charge(credit, weir__self->coros.current, items, bytes);
	return 0;
}

int weir__credit_give_for(struct weir_credit *credit, const struct weir_coro *coro, uint64_t items,
			  uint64_t bytes)
{
	struct weir_credit *level;

	if (weir_unlikely(credit->home_ != weir__self))
		return -EPROTO;
	if (weir_unlikely(items > credit->items_ || bytes > credit->bytes_))
		return -EINVAL;
	for (level = credit; level; level = level->parent_) {
		level->giver_ = number_of(coro);
		level->items_ -= items;
		level->bytes_ -= bytes;
		press(level);
	}
	feed_levels(credit);
	return 0;
}

int weir_credit_give(struct weir_credit *credit, uint64_t items, uint64_t bytes)
{
	return weir__credit_give_for(credit, weir__self ? weir__self->coros.current : NULL, items,
				     bytes);
}

/* --- watching --- */

static void tell(struct weir_task *task)
{
	struct weir_credit_watch *watch = weir_container_of(task, struct weir_credit_watch, task_);
	bool pressed = watch->credit_->pressed_;

	if (pressed == watch->told_)
		return;
	watch->told_ = pressed;
	watch->fn_(watch, pressed);
}

int weir_credit_watch(struct weir_credit *credit, struct weir_credit_watch *watch,
		      weir_credit_watch_fn fn)
{
	if (credit->home_ != weir__self)
		return -EPROTO;
	if (credit->watch_)
		return -EBUSY;
	*watch = (struct weir_credit_watch){ .fn_ = fn, .credit_ = credit };
	weir_task_init(&watch->task_, tell);
	credit->watch_ = watch;
	if (credit->pressed_)
		weir_task_ready(&watch->task_);
	return 0;
}

int weir_credit_unwatch(struct weir_credit *credit, struct weir_credit_watch *watch)
{
	if (credit->home_ != weir__self)
		return -EPROTO;
	if (credit->watch_ != watch)
		return -EINVAL;
	if (watch->task_.queued_)
		return -EAGAIN;
	credit->watch_ = NULL;
	return 0;
}

int weir_credit_info(const struct weir_credit *credit, struct weir_credit_info *ret_info)
{
	const struct weir_node *head = (const void *)&credit->waiters_;
	unsigned waiting = 0;

	if (credit->home_ != weir__self)
		return -EPROTO;
	for (const struct weir_node *node = head->next; node != head; node = node->next)
		waiting++;
	*ret_info = (struct weir_credit_info){
		.name = credit->name_,
		.items = credit->items_,
		.bytes = credit->bytes_,
		.items_max = credit->items_max_ == UINT64_MAX ? 0 : credit->items_max_,
		.bytes_max = credit->bytes_max_ == UINT64_MAX ? 0 : credit->bytes_max_,
		.waits = credit->waits_,
		.refused = credit->refused_,
		.waiting = waiting,
		.is_pressed = credit->pressed_,
	};
	return 0;
}
