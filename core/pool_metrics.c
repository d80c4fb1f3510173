/* SPDX-License-Identifier: MIT */
/*
 * pool_metrics.c - every pool of the process, as metrics with the pool's and the class's name.
 */
#include <stdio.h>

#include "core/metrics.h"
#include "core/pool.h"

static struct {
	pthread_mutex_t lock;
	struct weir_node pools;
} all = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.pools = { &all.pools, &all.pools },
};

/* Of a pool. */
static const struct weir__metric_entry threads = { "weir_pool_threads", "Threads of a pool.",
						   WEIR__GAUGE };
static const struct weir__metric_entry idle = { "weir_pool_idle", "Of them, those that rest.",
						WEIR__GAUGE };
static const struct weir__metric_entry died = {
	"weir_pool_died", "Threads ended by the work that they ran.", WEIR__COUNTER
};

/* Of a class. */
#define CLASS_VALUES(X)                                                                           \
	X(queued, GAUGE, "Work that waits for a thread.")                                         \
	X(parked, GAUGE, "Submissions that wait for room.")                                 \
	X(running, GAUGE, "Work that runs.")                                                      \
	X(done, COUNTER, "Work that returned 0 or more.")                                         \
	X(failed, COUNTER, "Work that returned an error.")                                        \
	X(refused, COUNTER, "Submissions that found the class full.")                             \
	X(dropped, COUNTER, "Work dropped because its class was full.")                           \
	X(expired, COUNTER, "Work whose deadline passed while it was queued.")                    \
	X(cancelled, COUNTER, "Work taken back before it ran.")

static const struct weir__metric_entry delay = { "weir_pool_delay_seconds",
						 "Queued until it ran.", WEIR__HISTOGRAM };
static const struct weir__metric_entry run = { "weir_pool_run_seconds", "Time that work took.",
					       WEIR__HISTOGRAM };

/* What is copied under the locks: what writes it may wait, and the pool may end meanwhile. */
struct sample {
	char pool[64];
	char class[64];
	uint64_t value;
	struct weir__reduced reduced;
};

typedef void (*get_fn)(const struct weir_pool *pool, const struct weir__pool_class *class,
		       struct sample *ret_sample);

/* Counts n down to 0 over what family has a sample for. */
static bool find(unsigned n, bool per_class, const struct weir_pool **ret_pool,
		 const struct weir__pool_class **ret_class)
{
	struct weir_node *node;

	for (node = all.pools.next; node != &all.pools; node = node->next) {
		const struct weir_pool *pool = weir_container_of(node, struct weir_pool, node);
		unsigned count = per_class ? pool->opts.class_count : 1;

		*ret_pool = pool;
		*ret_class = per_class ? &pool->classes[n] : NULL;
		if (n < count)
			return true;
		n -= count;
	}
	return false;
}

/* The sample number n of a family, from 0; false: there are no more. */
static bool get_sample(unsigned n, bool per_class, get_fn get, struct sample *ret_sample)
{
	const struct weir__pool_class *class;
	const struct weir_pool *pool;
	bool found;

	pthread_mutex_lock(&all.lock);
	found = find(n, per_class, &pool, &class);
	if (found) {
		pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&pool->lock;

		snprintf(ret_sample->pool, sizeof(ret_sample->pool), "%s", pool->opts.name);
		if (class)
			snprintf(ret_sample->class, sizeof(ret_sample->class), "%s",
				 class->opts.name);
		pthread_mutex_lock(lock);
		get(pool, class, ret_sample);
		pthread_mutex_unlock(lock);
	}
	pthread_mutex_unlock(&all.lock);
	return found;
}

static void write_family(struct weir__text *text, const struct weir__metric_entry *family,
			 bool per_class, get_fn get)
{
	struct sample sample;
	unsigned n;

	weir__text_family(text, family);
	for (n = 0; get_sample(n, per_class, get, &sample); n++) {
		const struct weir__label labels[2] = {
			{ "pool", sample.pool },
			{ per_class ? "class" : NULL, sample.class },
		};

		if (family->kind == WEIR__HISTOGRAM)
			weir__text_histogram(text, family, labels, &sample.reduced);
		else
			weir__text_value(text, family, labels, sample.value);
	}
}

static void get_threads(const struct weir_pool *pool, const struct weir__pool_class *class,
			struct sample *ret_sample)
{
	(void)class;
	ret_sample->value = pool->thread_count;
}

static void get_idle(const struct weir_pool *pool, const struct weir__pool_class *class,
		     struct sample *ret_sample)
{
	(void)class;
	ret_sample->value = pool->resting_count;
}

static void get_died(const struct weir_pool *pool, const struct weir__pool_class *class,
		     struct sample *ret_sample)
{
	(void)class;
	ret_sample->value = pool->died;
}

#define X(member, kind, help)                                                                     \
	static void get_##member(const struct weir_pool *pool,                                    \
				 const struct weir__pool_class *class, struct sample *ret_sample) \
	{                                                                                         \
		(void)pool;                                                                       \
		ret_sample->value = class->member;                                                \
	}
CLASS_VALUES(X)
#undef X

static void get_delay(const struct weir_pool *pool, const struct weir__pool_class *class,
		      struct sample *ret_sample)
{
	(void)pool;
	ret_sample->reduced = weir__reduced_of(&delay, class->delay);
}

static void get_run(const struct weir_pool *pool, const struct weir__pool_class *class,
		    struct sample *ret_sample)
{
	(void)pool;
	ret_sample->reduced = weir__reduced_of(&run, class->run);
}

/* A process without pools has none of these names. */
static void write_all(struct weir__text *text)
{
#define X(member, kind, help)                                                                     \
	static const struct weir__metric_entry member = { "weir_pool_" #member, help,             \
							  WEIR__##kind };
	CLASS_VALUES(X)
#undef X

	write_family(text, &threads, false, get_threads);
	write_family(text, &idle, false, get_idle);
	write_family(text, &died, false, get_died);
#define X(member, kind, help) write_family(text, &member, true, get_##member);
	CLASS_VALUES(X)
#undef X
	write_family(text, &delay, true, get_delay);
	write_family(text, &run, true, get_run);
}

void weir__pool_publish(struct weir_pool *pool)
{
	static struct weir__exporter exporter = { .write = write_all };

	pthread_mutex_lock(&all.lock);
	weir__list_push(&all.pools, &pool->node);
	pthread_mutex_unlock(&all.lock);
	weir__exporter_add(&exporter);
}

void weir__pool_withdraw(struct weir_pool *pool)
{
	pthread_mutex_lock(&all.lock);
	weir__node_remove(&pool->node);
	pthread_mutex_unlock(&all.lock);
}
