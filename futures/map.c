/* SPDX-License-Identifier: MIT */
/*
 * map.c - many, but not at once: a bound on how many futures of a series are under way.
 *
 * The map's task starts parts while there is room; a part that ends readies the task. As in a
 * join the parts under way are linked through themselves, so a map is one cell and needs no array.
 * A part that ended stays linked until half of the linked ones have; then the list is swept: no
 * part costs more than a few steps, and at most twice the bound take memory.
 *
 * One run of the task starts no more than BURST parts: when all of a million give their result at
 * once, others have their turn in between.
 */
#include "futures/future.h"

#define BURST 64

/* What was asked for. */
struct plan {
	unsigned count;
	unsigned pending_max;
	weir_start_fn start;
	void *arg;
	struct weir_result *results;
};

struct map {
	struct weir_future future;
	struct plan plan;
	struct weir_future *parts;	/* under way, and some that ended */
	unsigned started;
	unsigned settled;
	unsigned fulfilled;
	unsigned pending;
	unsigned linked;
	int error;			/* of the rejection that decided, or 0 */
	bool asked;			/* the parts to end */
};

static_assert(sizeof(struct map) <= FUTURE_SIZE_LARGE, "a large future");

static struct map *map_of(const struct weir_future *future)
{
	return weir_container_of(future, struct map, future);
}

static struct weir_future *map_source(const struct weir_future *future)
{
	(void)future;
	return NULL;
}

static struct weir_future *map_cancel(struct weir_future *future)
{
	weir__ready(future->home, &future->task);
	return NULL;
}

static void map_input(struct weir_future *future, struct weir_future *part);

#define MAP_KIND                                                                                  \
	{                                                                                         \
		.is_large = true, .has_parts = true, .source = map_source, .cancel = map_cancel,  \
		.input = map_input,                                                               \
	}

static const struct weir_future_kind map_kind = MAP_KIND;
static const struct weir_future_kind map_settled_kind = MAP_KIND;

/* Nothing more is started. */
static bool is_stopped(const struct map *map)
{
	return map->future.flags & (FUTURE_DECIDED | FUTURE_CANCELLED);
}

/* A part has ended with result, or could not be started. */
static void map_count(struct map *map, struct weir_result *result, uint32_t index,
		      const char *origin)
{
	struct weir_future *future = &map->future;

	result->rank = map->settled++;
	map->fulfilled += result->res >= 0;
	if (map->plan.results)
		map->plan.results[index] = *result;
	else
		weir__value_drop(result->value, result->drop);
	if (result->res >= 0 || future->kind == &map_settled_kind ||
	    (future->flags & FUTURE_DECIDED))
		return;
	future->flags |= FUTURE_DECIDED;
	future->origin = origin;
	map->error = (int)result->res;
}

/* part stays linked until it is swept. */
static void map_input(struct weir_future *future, struct weir_future *part)
{
	struct map *map = map_of(future);
	struct weir_result result = {
		.res = part->res,
		.value = part->value,
		.drop = part->value ? part->drop : NULL,
	};

	map->pending--;
	map_count(map, &result, part->index, part->origin);
	weir__ready(future->home, &future->task);
}

/* --- starting --- */

/* part was checked, and is settled. */
static void part_take(struct map *map, struct weir_future *part, uint32_t index)
{
	const char *origin = map->future.origin;
	struct weir_result result;

	weir__source_take(&part, &result, &origin);
	map_count(map, &result, index, origin);
}

static void part_start(struct map *map)
{
	uint32_t index = map->started++;
	struct weir_future *part = map->plan.start(index, map->plan.arg);
	struct weir_result result = { .res = weir__future_check_next(&map->future, part) };

	if (result.res) {
		map_count(map, &result, index, map->future.origin);
		return;
	}
	if (weir__source_is_over(part)) {
		part_take(map, part, index);
		return;
	}
	part->index = index;
	part->sibling = map->parts;
	map->parts = part;
	map->linked++;
	map->pending++;
	weir__future_consume(&map->future, part);
}

/* Unlinks the parts that have ended, once they are the most. */
static void sweep(struct map *map)
{
	struct weir_future **link = &map->parts, *part;

	if (map->linked <= 2 * map->pending)
		return;
	while ((part = *link)) {
		if (part->state == FUTURE_READY) {
			*link = part->sibling;
			map->linked--;
			weir__future_unref(part);
		} else {
			link = &part->sibling;
		}
	}
}

/* --- ending --- */

/* What was not started is cancelled. */
static void leave_out(struct map *map)
{
	for (; map->started < map->plan.count; map->started++) {
		if (!map->plan.results)
			continue;
		map->plan.results[map->started] = (struct weir_result){
			.res = -ECANCELED,
			.rank = map->settled++,
		};
	}
}

static void map_end(struct map *map)
{
	struct weir_future *future = &map->future;
	ssize_t res = map->error;

	if (future->kind == &map_settled_kind)
		res = map->fulfilled;
	else if (!res && map->started < map->plan.count)
		res = -ECANCELED;
	leave_out(map);
	weir__future_settle(future, res, NULL, NULL);
	weir__future_unref(future);
}

/* Once, after the last part was started. */
static void stop_parts(struct map *map)
{
	if (!is_stopped(map) || map->asked)
		return;
	map->asked = true;
	for (struct weir_future *part = map->parts; part; part = part->sibling)
		weir_future_cancel(part);
}

static void map_run(struct weir_task *task)
{
	struct weir_future *future = weir_container_of(task, struct weir_future, task);
	struct map *map = map_of(future);
	unsigned burst;

	sweep(map);
	for (burst = BURST; burst && map->started < map->plan.count; burst--) {
		if (is_stopped(map) || map->pending == map->plan.pending_max)
			break;
		part_start(map);
	}
	stop_parts(map);
	if (!burst)
		weir__ready(future->home, task);
	/* Whoever was settled while this ran has readied the task. */
	if (!map->pending && !task->queued_)
		map_end(map);
}

static struct weir_future *map_create(const struct weir_future_kind *kind, const char *origin,
				      const struct plan *plan)
{
	struct weir_future *future;
	struct map *map;
	int r;

	if (!plan->start || !plan->pending_max)
		return weir_future_of(-EINVAL);
	if (!plan->count)
		return weir_future_of(0);
	r = weir__future_create(kind, origin, &future);
	if (weir_unlikely(r))
		return weir_future_of(r);
	weir_task_init(&future->task, map_run);
	map = map_of(future);
	map->plan = *plan;
	map->parts = NULL;
	map->started = map->settled = map->fulfilled = map->pending = map->linked = 0;
	map->error = 0;
	map->asked = false;
	weir__ready(future->home, &future->task);
	return future;
}

struct weir_future *weir_map(unsigned count, unsigned in_flight_max, weir_start_fn start,
			     void *arg, struct weir_result *results)
{
	const struct plan plan = { count, in_flight_max, start, arg, results };

	return map_create(&map_kind, "weir_map", &plan);
}

struct weir_future *weir_map_settled(unsigned count, unsigned in_flight_max, weir_start_fn start,
				     void *arg, struct weir_result *results)
{
	const struct plan plan = { count, in_flight_max, start, arg, results };

	return map_create(&map_settled_kind, "weir_map_settled", &plan);
}
