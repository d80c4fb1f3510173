/* SPDX-License-Identifier: MIT */
/*
 * combine.c - several at once: all, all_settled, any, race.
 *
 * The parts are linked through themselves, so a join is one cell whatever their number. A
 * part that is settled counts itself out; nothing else happens then. The join's task runs
 * when something is to be done: when a part has decided (the others are asked to
 * end) and when the last one has ended (the join is settled).
 *
 * The parts stay linked until then: a list that only grows shorter at its end may be
 * walked while asking a part to end settles it and its neighbours.
 */
#include "futures/future.h"

struct join {
	struct weir_future future;
	struct weir_future *parts;	/* that were PENDING when the join was made */
	struct weir_result *results;
	unsigned pending;		/* parts that have not ended; 1 more while it is made */
	unsigned settled;		/* parts that have; until then ranks */
};

static_assert(sizeof(struct join) <= FUTURE_SIZE, "a small future");

static struct join *join_of(const struct weir_future *future)
{
	return weir_container_of(future, struct join, future);
}

static struct weir_future *join_source(const struct weir_future *future)
{
	(void)future;
	return NULL;
}

static struct weir_future *join_cancel(struct weir_future *future)
{
	weir__ready(future->home, &future->task);
	return NULL;
}

static void join_input(struct weir_future *future, struct weir_future *part);

#define JOIN_KIND                                                                                 \
	{                                                                                         \
		.has_parts = true, .source = join_source, .cancel = join_cancel,                  \
		.input = join_input,                                                              \
	}

static const struct weir_future_kind join_kinds[] = {
	[WEIR_ALL] = JOIN_KIND,
	[WEIR_ALL_SETTLED] = JOIN_KIND,
	[WEIR_ANY] = JOIN_KIND,
	[WEIR_RACE] = JOIN_KIND,
};

static enum weir_how how_of(const struct join *join)
{
	return (enum weir_how)(join->future.kind - join_kinds);
}

/* Whether a part that ended with res settles the matter. */
static bool decides(enum weir_how how, ssize_t res)
{
	switch (how) {
	case WEIR_ALL:
		return res < 0;
	case WEIR_ANY:
		return res >= 0;
	case WEIR_RACE:
		return true;
	default:
		return false;
	}
}

/* What the join's result is so far, kept in the future that is PENDING. */
static void join_note(struct join *join, const struct weir_result *result, const char *origin)
{
	struct weir_future *future = &join->future;

	future->res = result->res;
	if (result->res < 0)
		future->origin = origin;
	if (join->results)
		return;
	future->value = result->value;
	future->drop = result->drop;
}

/* A part has ended with result. */
static void join_count(struct join *join, struct weir_result *result, uint32_t index,
		       const char *origin)
{
	struct weir_future *future = &join->future;
	enum weir_how how = how_of(join);
	bool is_kept = false;

	result->rank = join->settled++;
	if (join->results)
		join->results[index] = *result;
	if (!(future->flags & (FUTURE_STARVED | FUTURE_DECIDED))) {
		if (how == WEIR_ALL_SETTLED) {
			future->res += result->res >= 0;
		} else if (decides(how, result->res)) {
			join_note(join, result, origin);
			is_kept = true;
			future->flags |= FUTURE_DECIDED;
			weir__ready(future->home, &future->task);
		} else if (how == WEIR_ANY) {
			join_note(join, result, origin);
		}
	}
	if (!join->results && !is_kept)
		weir__value_drop(result->value, result->drop);
	if (--join->pending == 0)
		weir__ready(future->home, &future->task);
}

/* part stays linked; its memory goes with the join. */
static void join_input(struct weir_future *future, struct weir_future *part)
{
	struct weir_result result = {
		.res = part->res,
		.value = part->value,
		.drop = part->value ? part->drop : NULL,
	};

	join_count(join_of(future), &result, part->index, part->origin);
}

static void join_end(struct join *join)
{
	struct weir_future *future = &join->future, *part, *next;

	for (part = join->parts; part; part = next) {
		next = part->sibling;
		weir__future_unref(part);
	}
	if (future->flags & FUTURE_STARVED)
		weir__future_settle(future, 0, NULL, NULL);
	else
		weir__future_settle(future, future->res, future->value, future->drop);
	weir__future_unref(future);
}

static void join_run(struct weir_task *task)
{
	struct weir_future *future = weir_container_of(task, struct weir_future, task);
	struct join *join = join_of(future);

	if (join->pending == 0) {
		join_end(join);
		return;
	}
	for (struct weir_future *part = join->parts; part; part = part->sibling)
		weir_future_cancel(part);
}

/* part is the join's from now on. *link is where the next PENDING one is linked. */
static void join_add(struct join *join, struct weir_future *part, uint32_t index,
		     struct weir_future ***link)
{
	struct weir_result result = { .res = weir__future_check(part) };

	join->pending++;
	if (result.res == 0 && !weir__future_is_number(part) && part->state != FUTURE_READY) {
		part->index = index;
		**link = part;
		*link = &part->sibling;
		weir__future_consume(&join->future, part);
		return;
	}
	if (result.res == 0) {
		const char *origin = join->future.origin;

		if (weir__future_is_number(part))
			result.res = weir__future_number(part);
		else
			weir__future_take(part, &result, &origin);
		join_count(join, &result, index, origin);
		return;
	}
	join_count(join, &result, index, join->future.origin);
}

static struct weir_future *join_at(enum weir_how how, struct weir_future *const *parts,
				   unsigned count, struct weir_result *results, const char *origin)
{
	struct weir_future *future, **link;
	struct join *join;
	int r;

	if (!count)
		return weir_future_of(how == WEIR_ANY || how == WEIR_RACE ? -EINVAL : 0);
	if (how > WEIR_RACE)
		return weir__future_starve(parts, count, -EINVAL);
	r = weir__future_create(&join_kinds[how], origin, &future);
	if (weir_unlikely(r))
		return weir__future_starve(parts, count, r);
	weir_task_init(&future->task, join_run);
	future->res = 0;
	join = join_of(future);
	join->parts = NULL;
	join->results = results;
	join->pending = 1;
	join->settled = 0;
	link = &join->parts;
	for (unsigned i = 0; i < count; i++)
		join_add(join, parts[i], i, &link);
	*link = NULL;
	if (--join->pending == 0)
		weir__ready(future->home, &future->task);
	return future;
}

struct weir_future *weir_join(enum weir_how how, struct weir_future *const *parts, unsigned count,
			      struct weir_result *results)
{
	return join_at(how, parts, count, results, "weir_join");
}

struct weir_future *weir_all(struct weir_future *const *parts, unsigned count)
{
	return join_at(WEIR_ALL, parts, count, NULL, "weir_all");
}

struct weir_future *weir_any(struct weir_future *const *parts, unsigned count)
{
	return join_at(WEIR_ANY, parts, count, NULL, "weir_any");
}

struct weir_future *weir_race(struct weir_future *const *parts, unsigned count)
{
	return join_at(WEIR_RACE, parts, count, NULL, "weir_race");
}

struct weir_future *weir_all_settled(struct weir_future *const *parts, unsigned count,
				     struct weir_result *results)
{
	return join_at(WEIR_ALL_SETTLED, parts, count, results, "weir_all_settled");
}
