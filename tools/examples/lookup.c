/* SPDX-License-Identifier: MIT */
/*
 * lookup.c - names are looked up at replicas that are slow at times, and at times fail: a few at a
 * time (map), asked again after an error (retry), asked twice when it takes too long (hedge), and
 * each name once although it is asked for again and again (memo).
 *
 *	lookup			prints "NAME: NUMBER" for each, and how many were looked up
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir.h>

static const char *const names[] = { "weir", "lock", "sluice", "weir", "lock", "ford", "weir" };

#define COUNT (sizeof(names) / sizeof(names[0]))

struct query {
	const char *name;
	size_t name_size;
	unsigned refused;
};

static struct weir_memo *memo;

/* Replicas, each call in a coroutine on another core. */
static int quick_replica(void *arg)
{
	const struct query *query = arg;

	return (int)query->name_size;
}

static int slow_replica(void *arg)
{
	int r = weir_sleep(10 * WEIR_S);

	return r < 0 ? r : quick_replica(arg);
}

/* Who is asked first for a name with an l is slow, for one with an s it is down. */
static struct weir_future *ask(unsigned attempt, void *arg)
{
	struct query *query = arg;
	weir_call_fn replica = quick_replica;

	if (query->name[0] == 's' && !query->refused++)
		return weir_future_of(-ECONNREFUSED);
	if (query->name[0] == 'l' && attempt == 0)
		replica = slow_replica;
	return weir_call_async((attempt + 1) % weir_core_count(), replica, query, WEIR_NEVER);
}

static struct weir_future *ask_twice_if_slow(unsigned attempt, void *arg)
{
	(void)attempt;
	return weir_hedge(20 * WEIR_MS, ask, arg);
}

static ssize_t query_end(struct weir_result *result, void *arg)
{
	free(arg);
	return result->res;
}

/* What the memo does for a name that it does not have. */
static struct weir_future *look_up(const void *key, size_t key_size, void *arg)
{
	const struct weir_retry_opts opts = { .attempts_max = 4,
					      .deadline_ns = weir_in(5 * WEIR_S) };
	struct query *query = malloc(sizeof(*query));

	(void)arg;
	if (!query)
		return weir_future_of(-ENOMEM);
	*query = (struct query){ .name = key, .name_size = key_size };
	return weir_finally(weir_retry(&opts, ask_twice_if_slow, query), query_end, query);
}

static struct weir_future *start(unsigned index, void *arg)
{
	(void)arg;
	return weir_memo_get(memo, names[index], strlen(names[index]));
}

static int service(void *arg)
{
	const struct weir_memo_opts opts = { .start = look_up, .ttl_ns = 60 * WEIR_S };
	struct weir_result results[COUNT];
	struct weir_memo_info info;
	int r;

	(void)arg;
	if (weir_core() != 0)
		return 0;
	r = weir_memo_create(&opts, &memo);
	if (r < 0)
		return r;
	r = (int)weir_await(weir_map(COUNT, 3, start, NULL, results), weir_in(5 * WEIR_S), NULL);
	if (r == 0) {
		for (size_t i = 0; i < COUNT; i++)
			printf("%s: %zd\n", names[i], results[i].res);
		weir_memo_info(memo, &info);
		printf("%zu asked for, %u looked up\n", COUNT, (unsigned)info.misses);
	}
	weir_memo_destroy(memo);
	return r;
}

int main(void)
{
	int r = weir_run(NULL, service, NULL);

	if (r < 0)
		fprintf(stderr, "lookup: %s\n", strerror(-r));
	return r < 0;
}
