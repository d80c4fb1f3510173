/* SPDX-License-Identifier: MIT */
/*
 * credit_ring.c - credits whose takers wait for each other.
 *
 * A wait points to the credit that lacks room, a credit to the two coroutines that took and gave
 * last, by number, so that one that has ended is no one: a number is followed to a coroutine that
 * waits for credit itself, in the list of all those waits. The ring closes with the youngest of its
 * waits; that one's timer finds it, so each ring is counted once. Precise knowledge (all who hold
 * room) would cost memory for each item that is out.
 */
#include "core/credit.h"

#define WAITED_NS WEIR_S

/* Waits looked at in one search. */
#define STEPS_MAX 65536
#define TIMER_STEPS_MAX 4096

struct search {
	struct weir_credit_taker *path[WEIR_CREDIT_RING_MAX];
	unsigned count, steps;
	int64_t before_ns;		/* waits that began later do not count */
	const struct weir_credit_taker *last;	/* nor those after it in the list; may be NULL */
};

static struct weir_credit_taker *taker_of(struct weir_node *node)
{
	return weir_container_of(node, struct weir_credit_taker, node);
}

/* The wait of coroutine number, if it is old enough. The list is in order of age. */
static struct weir_credit_taker *wait_of(struct search *search, uint64_t number)
{
	struct weir_node *head = &weir__self->credit_waits;

	for (struct weir_node *node = head->next; number && node != head; node = node->next) {
		struct weir_credit_taker *taker = taker_of(node);

		if (taker->since_ns > search->before_ns || !search->steps)
			return NULL;
		search->steps--;
		if (taker->coro->number == number)
			return taker;
		if (taker == search->last)
			return NULL;
	}
	return NULL;
}

static bool is_on_path(const struct search *search, const struct weir_credit_taker *taker)
{
	for (unsigned i = 0; i < search->count; i++)
		if (search->path[i] == taker)
			return true;
	return false;
}

/* Whether a ring goes through taker back to the first. At most WEIR_CREDIT_RING_MAX deep. */
static bool closes(struct search *search, struct weir_credit_taker *taker)
{
	struct weir_credit *at = weir__credit_lacking(taker);
	uint64_t numbers[2];

	if (!at || search->count == WEIR_CREDIT_RING_MAX)
		return false;
	numbers[0] = at->giver_;
	numbers[1] = at->taker_;
	search->path[search->count++] = taker;
	for (int i = 0; i < 2; i++) {
		struct weir_credit_taker *next = wait_of(search, numbers[i]);

		/* For oneself one does not wait: others hold room, too, or did so. */
		if (next && next != taker &&
		    (next == search->path[0] ||
		     (!is_on_path(search, next) && closes(search, next))))
			return true;
	}
	search->count--;
	return false;
}

static void look(struct weir_timer *timer)
{
	struct weir_credit_taker *taker =
		weir_container_of(timer, struct weir_credit_taker, timer);
	struct search search = {
		.steps = TIMER_STEPS_MAX, .before_ns = taker->since_ns, .last = taker,
	};

	if (closes(&search, taker))
		weir__metric_add(&weir__self->metrics, WEIR__M_CREDIT_RINGS, 1);
}

void weir__credit_wait_begin(struct weir_credit_taker *taker)
{
	taker->coro = weir__self->coros.current;
	if (!taker->coro)
		return;
	taker->since_ns = weir_now();
	weir__list_push(&weir__self->credit_waits, &taker->node);
	weir_timer_init(&taker->timer, look);
	weir_timer_arm(&taker->timer, taker->since_ns + WAITED_NS);
}

void weir__credit_wait_end(struct weir_credit_taker *taker)
{
	if (!taker->coro)
		return;
	weir_timer_cancel(&taker->timer);
	weir__node_remove(&taker->node);
}

int weir_credit_ring_find(int64_t waited_ns, struct weir_credit_ring *ret_ring)
{
	struct search search = { .steps = STEPS_MAX, .before_ns = weir_now() - waited_ns };
	struct weir_node *head;

	if (!weir__self)
		return -EDEADLK;
	head = &weir__self->credit_waits;
	for (struct weir_node *node = head->next; node != head && search.steps; node = node->next) {
		search.count = 0;
		search.steps--;
		if (!closes(&search, taker_of(node)))
			continue;
		*ret_ring = (struct weir_credit_ring){ .count = search.count };
		for (unsigned i = 0; i < search.count; i++) {
			ret_ring->links[i].coro = search.path[i]->coro->name;
			ret_ring->links[i].credit = weir__credit_lacking(search.path[i])->name_;
			ret_ring->links[i].since_ns = search.path[i]->since_ns;
		}
		return 0;
	}
	return -ENOENT;
}
