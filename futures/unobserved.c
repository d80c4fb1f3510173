/* SPDX-License-Identifier: MIT */
/*
 * unobserved.c - rejections that nobody looked at, by the place they came from.
 *
 * An error that is dropped is either meant or a bug, and only the author of that place
 * can tell. So each is counted, with the origin the rejection carries, in a table of
 * fixed size; what finds no room there counts as "others".
 */
#include <string.h>

#include "futures/future.h"

/* The same line may have several literals, one in each translation unit that includes it. */
static struct weir_unobserved *find(struct weir_futures *futures, const char *origin)
{
	for (unsigned i = 0; i < futures->place_count; i++) {
		struct weir_unobserved *place = &futures->places[i];

		if (place->origin == origin || strcmp(place->origin, origin) == 0)
			return place;
	}
	return NULL;
}

static struct weir_unobserved *add(struct weir_futures *futures, const char *origin)
{
	struct weir_unobserved *place = &futures->places[WEIR_UNOBSERVED_MAX];

	if (futures->place_count == WEIR_UNOBSERVED_MAX) {
		place->origin = "others";
		return place;
	}
	place = &futures->places[futures->place_count++];
	place->origin = origin;
	return place;
}

void weir__unobserved_count(struct weir_futures *futures, const char *origin, ssize_t res)
{
	struct weir_unobserved *place = find(futures, origin);

	if (!place)
		place = add(futures, origin);
	place->count++;
	place->res = (int)res;
	futures->unobserved++;
	weir__metric_add(&weir__self->metrics, WEIR__M_UNOBSERVED, 1);
}

int weir_unobserved_list(int (*visit)(const struct weir_unobserved *place, void *arg), void *arg)
{
	const struct weir_futures *futures = weir__self ? weir__self->futures : NULL;
	int r;

	if (!futures)
		return 0;
	for (unsigned i = 0; i < futures->place_count; i++)
		if ((r = visit(&futures->places[i], arg)))
			return r;
	if (futures->places[WEIR_UNOBSERVED_MAX].count)
		return visit(&futures->places[WEIR_UNOBSERVED_MAX], arg);
	return 0;
}
