/* SPDX-License-Identifier: MIT */
/*
 * future.h - what a future is inside, for the files that make futures.
 *
 * Two who know nothing of each other meet here: the producer, who settles the future
 * once, and the holder, who consumes it. The memory goes when both are done with it.
 *
 *	producer: a promise, an op, or the future itself when it is composed of others
 *	holder:   HELD --await--> AWAITED --its coroutine wakes--> gone
 *		  HELD --then, timeout, join, follow--> INPUT of a parent --> gone
 *		  HELD --drop--> DROPPED --settled--> gone
 *
 * PENDING --settle--> READY, by way of TAPPED when there are taps: READY is when the
 * holder learns of it.
 *
 * To tell the holder never runs code of others and never settles another future: it
 * wakes a coroutine, counts, or readies the parent's task. That is why nothing recurses.
 */
#ifndef WEIR_FUTURES_FUTURE_H
#define WEIR_FUTURES_FUTURE_H

#include <assert.h>

#include "core/alloc.h"
#include "core/queue.h"
#include "core/waiting.h"
#include "core/worker.h"
#include "futures/weir_future.h"

enum { FUTURE_PENDING, FUTURE_TAPPED, FUTURE_READY };		/* state */
enum { FUTURE_HELD, FUTURE_AWAITED, FUTURE_INPUT, FUTURE_DROPPED };	/* use */

enum {
	FUTURE_CANCELLED = 1,	/* its end was asked for */
	FUTURE_ABANDONED = 2,	/* settled by a cancel; its promise is still out */
	FUTURE_OBSERVED = 4,	/* a tap has seen or will see it: taps is set */
	FUTURE_FOLLOWING = 8,	/* a step or promise that waits for another future's result */
	FUTURE_DECIDED = 16,	/* a join whose result is known; a timeout that has fired */
	FUTURE_HOOKED = 16,	/* a promise that is told of a cancel */
	FUTURE_STARVED = 32,	/* stands in for a combinator for which there was no memory */
	FUTURE_BLOCKER = 64,	/* a part of such a one */
	FUTURE_LARGE = 128,	/* of the slab of large ones */
};

struct weir_future;

struct weir_future_kind {
	bool is_large;		/* which slab */
	bool has_parts;		/* a join */
	bool is_shared;		/* nobody holds it: several wait for it (share.c) */

	/* The one future it waits for, or NULL. */
	struct weir_future *(*source)(const struct weir_future *future);

	/*
	 * Asked to end while PENDING. Returns the future to ask next, or NULL. May settle
	 * its own future. NULL: its source is asked.
	 */
	struct weir_future *(*cancel)(struct weir_future *future);

	/*
	 * part, consumed by future, is READY. May ready future's task, no more. NULL: the task
	 * is readied.
	 */
	void (*input)(struct weir_future *future, struct weir_future *part);
};

/* Creating, settling and awaiting a plain one touches the first cache line only. */
struct weir_future {
	union {
		struct {		/* READY; while PENDING the kind's own: a value there
					 * is dropped when the future is starved */
			ssize_t res;
			void *value;
		};
		struct {		/* PENDING and STARVED */
			size_t ends;	/* that must still come */
			int error;
		};
	};
	union {
		struct weir_wait *waiter;	/* AWAITED */
		struct weir_future *parent;	/* INPUT */
	};
	struct weir_future *sibling;	/* the join's next part */
	const struct weir_future_kind *kind;
	struct weir_worker *home;
	const char *origin;		/* where it was made; once rejected: where that was */
	uint8_t state, use, flags;
	uint8_t refs;			/* producer and holder */
	uint32_t index;			/* in its join */

	void (*drop)(void *value);	/* not set without a value */
	struct weir_task task;		/* of a composed one: takes what its inputs gave */
	struct weir_tap *taps;		/* OBSERVED: a ring, the last of it */
};

/* A worker's futures. */
struct weir_futures {
	struct weir_slab small, large;
	struct weir_slab scopes;	/* scope.c */
	size_t count_soft;		/* the lower of the next two: nothing to do below */
	size_t count_high;
	size_t count_max;
	uint64_t refused;
	uint64_t unobserved;
	struct weir_unobserved places[WEIR_UNOBSERVED_MAX + 1];	/* the last: others */
	unsigned place_count;
	struct weir_node arenas;	/* stream.c */
	struct weir_worker_exit exit;
};

#define FUTURE_SIZE 128
#define FUTURE_SIZE_LARGE 256
#define SCOPE_SIZE 192

/* --- numbers: a settled result inside the pointer --- */

static inline bool weir__future_is_number(const struct weir_future *future)
{
	return (uintptr_t)future & 1;
}

static inline ssize_t weir__future_number(const struct weir_future *future)
{
	return (intptr_t)future >> 1;
}

/* --- cells.c: memory --- */

/* This worker's futures, made on first use. Returns 0, -EDEADLK outside a worker, -ENOMEM. */
int weir__futures_self(struct weir_futures **ret_futures);

/* What weir__future_create() does when the count reaches its bound or a new high. */
int weir__future_create_slow(const struct weir_future_kind *kind, const char *origin,
			     struct weir_future **ret_future);

static inline size_t weir__futures_count(const struct weir_futures *futures)
{
	return futures->small.in_use + futures->large.in_use;
}

static inline void weir__futures_note(struct weir_worker *worker)
{
	weir__metric_set(&worker->metrics, WEIR__M_FUTURES, weir__futures_count(worker->futures));
}

static inline void weir__future_init(struct weir_future *future, struct weir_worker *home,
				     const struct weir_future_kind *kind, const char *origin)
{
	future->value = NULL;
	future->kind = kind;
	future->home = home;
	future->state = FUTURE_PENDING;
	future->use = FUTURE_HELD;
	future->flags = kind->is_large ? FUTURE_LARGE : 0;
	future->refs = 2;
	future->origin = origin;
}

/* A future with both references, HELD and PENDING. Returns 0, -ENOBUFS, -ENOMEM, -EDEADLK. */
static inline int weir__future_create(const struct weir_future_kind *kind, const char *origin,
				      struct weir_future **ret_future)
{
	struct weir_worker *worker = weir__self;
	struct weir_futures *futures = worker ? worker->futures : NULL;
	struct weir_future *future;

	if (weir_unlikely(!futures || weir__futures_count(futures) >= futures->count_soft))
		return weir__future_create_slow(kind, origin, ret_future);
	future = weir__slab_get_hot(kind->is_large ? &futures->large : &futures->small);
	if (weir_unlikely(!future))
		return weir__future_create_slow(kind, origin, ret_future);
	weir__futures_note(worker);
	weir__future_init(future, worker, kind, origin);
	*ret_future = future;
	return 0;
}

/* Producer and holder are done with it. */
static inline void weir__future_free(struct weir_future *future)
{
	struct weir_worker *worker = future->home;
	struct weir_futures *futures = worker->futures;

	weir__slab_put_hot(future->flags & FUTURE_LARGE ? &futures->large : &futures->small,
			   future);
	weir__futures_note(worker);
}

static inline void weir__future_unref(struct weir_future *future)
{
	weir_assert(future->refs);
	if (--future->refs == 0)
		weir__future_free(future);
}

/* --- future.c: how a future is settled and consumed --- */

/* The producer's result. Takes value, also when nobody wants it. The producer unrefs after it. */
void weir__future_settle(struct weir_future *future, ssize_t res, void *value,
			 void (*drop)(void *value));

/* The holder's: the result of a READY future, which is gone after it; its origin if rejected. */
static inline void weir__future_take(struct weir_future *future, struct weir_result *ret_result,
				     const char **ret_origin)
{
	weir_assert(future->state == FUTURE_READY);
	*ret_result = (struct weir_result){ .res = future->res };
	if (future->res < 0)
		*ret_origin = future->origin;
	if (weir_unlikely(future->value != NULL)) {
		ret_result->value = future->value;
		ret_result->drop = future->drop;
	}
	weir__future_unref(future);
}

/*
 * Why future cannot be consumed here: 0, -EINVAL for NULL, -EDEADLK outside a worker, -EPROTO
 * on another core, -EBUSY when it is consumed already.
 */
int weir__future_check(const struct weir_future *future);

/* parent consumes part, which is no number and was checked: input() comes now or later. */
void weir__future_consume(struct weir_future *parent, struct weir_future *part);

/* Whether target waiting for next would wait for itself. next is no number. */
bool weir__future_is_cycle(const struct weir_future *target, const struct weir_future *next);

/*
 * Why parent cannot wait for next, which a function of the user's gave: as weir__future_check(),
 * and -EDEADLK when next waits for parent; it is dropped then.
 */
int weir__future_check_next(struct weir_future *parent, struct weir_future *next);

/* --- the one future that a composed one waits for, a number too: its place in it --- */

/* Whether it can be taken. */
static inline bool weir__source_is_over(const struct weir_future *source)
{
	return weir__future_is_number(source) || source->state == FUTURE_READY;
}

/* The result of *source, which is gone then. */
static inline void weir__source_take(struct weir_future **source, struct weir_result *ret_result,
				      const char **ret_origin)
{
	struct weir_future *taken = *source;

	*source = NULL;
	if (!weir__future_is_number(taken)) {
		weir__future_take(taken, ret_result, ret_origin);
		return;
	}
	*ret_result = (struct weir_result){ .res = weir__future_number(taken) };
}

/* future is to wait for source, which was checked; its task runs when it is there. */
static inline void weir__source_set(struct weir_future *future, struct weir_future **place,
				     struct weir_future *source)
{
	*place = source;
	if (weir__future_is_number(source))
		weir__ready(future->home, &future->task);
	else
		weir__future_consume(future, source);
}

/* The same for what a function of the user's gave: 0, or as weir__future_check_next(). */
int weir__source_adopt(struct weir_future *future, struct weir_future **place,
		       struct weir_future *next);

/* --- starved.c --- */

/*
 * What a combinator returns when there was no memory for it: consumes and cancels the
 * parts and gives a future that is rejected with error once all of them have ended.
 */
struct weir_future *weir__future_starve(struct weir_future *const *parts, unsigned count,
					int error);

/* One of the ends that a starved future waits for. */
void weir__future_starved_end(struct weir_future *future);

/* --- unobserved.c --- */

void weir__unobserved_count(struct weir_futures *futures, const char *origin, ssize_t res);

/* Frees value, unless it is NULL. */
static inline void weir__value_drop(void *value, void (*drop)(void *value))
{
	if (value && drop)
		drop(value);
}

#endif
