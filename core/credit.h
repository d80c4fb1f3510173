/* SPDX-License-Identifier: MIT */
/*
 * credit.h - a coroutine that waits for credit: credit.c serves it, credit_ring.c looks at it.
 */
#ifndef WEIR_CORE_CREDIT_H
#define WEIR_CORE_CREDIT_H

#include "core/waiters.h"
#include "core/weir_credit.h"

/* On the waiting coroutine's stack. */
struct weir_credit_taker {
	struct weir_waiter waiter;	/* of: the credit */
	uint64_t items, bytes;
	struct weir_coro *coro;
	int64_t since_ns;
	struct weir_node node;		/* worker->credit_waits */
	struct weir_timer timer;	/* looks for a ring */
};

/* The level that has no room for taker, or NULL: it is next. */
struct weir_credit *weir__credit_lacking(const struct weir_credit_taker *taker);

/* weir_credit_give() for coro (may be NULL), who is served by somebody else. */
int weir__credit_give_for(struct weir_credit *credit, const struct weir_coro *coro, uint64_t items,
			  uint64_t bytes);

/* Around the wait of the running coroutine, if there is one. */
void weir__credit_wait_begin(struct weir_credit_taker *taker);
void weir__credit_wait_end(struct weir_credit_taker *taker);

#endif
