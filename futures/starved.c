/* SPDX-License-Identifier: MIT */
/*
 * starved.c - when there is no memory for a combinator.
 *
 * Its inputs are consumed already, and their operations may be writing into the caller's
 * buffers. To answer at once would break the promise that nothing is in use after an
 * await, so the inputs are asked to end and one of them, turned into a counter of ends,
 * stands in for the future that could not be made. It needs no memory: a PENDING future
 * has room where its result would be.
 */
#include "futures/future.h"

static void starve(struct weir_future *future, int error)
{
	if (!(future->flags & FUTURE_STARVED)) {
		weir__value_drop(future->value, future->drop);
		future->flags |= FUTURE_STARVED;
		future->ends = 1;
		future->error = error;
	}
}

void weir__future_starved_end(struct weir_future *future)
{
	int error = future->error;

	weir_assert(future->ends);
	if (--future->ends)
		return;
	future->flags &= ~FUTURE_STARVED;
	weir__future_settle(future, error, NULL, NULL);
}

/* part is asked to end; future ends after it. */
static void block(struct weir_future *future, struct weir_future *part)
{
	future->ends++;
	part->flags |= FUTURE_BLOCKER;
	weir__future_consume(future, part);
	weir_future_cancel(part);
}

struct weir_future *weir__future_starve(struct weir_future *const *parts, unsigned count,
					int error)
{
	struct weir_future *future = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (weir__future_check(parts[i]) || parts[i] == future)
			continue;
		if (weir_future_is_settled(parts[i])) {
			weir_future_drop(parts[i]);
		} else if (future) {
			block(future, parts[i]);
		} else {
			future = parts[i];
			starve(future, error);
			future->ends++;		/* until all parts are counted */
		}
	}
	if (!future)
		return weir_future_of(error);
	weir_future_cancel(future);
	weir__future_starved_end(future);
	return future;
}
