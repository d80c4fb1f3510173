/* SPDX-License-Identifier: MIT */
/*
 * metrics.c - the registry of names, and counting from the public side.
 *
 * The registry only grows: an entry is written under the lock, before the count that covers
 * it is published, and never changes. So readers take no lock.
 */
#include "core/metrics.h"

#include <pthread.h>
#include <string.h>

#include "core/ensure.h"
#include "core/weir_histogram.h"
#include "core/worker.h"

static struct {
	pthread_mutex_t lock;
	unsigned count;
	struct weir__metric_entry entries[WEIR_METRICS_MAX];
} registry = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.count = WEIR__M_COUNT,
	.entries = {
#define X(id, kind, name, help) { name, help, WEIR__##kind },
		WEIR__METRICS(X)
#undef X
	},
};

/* Threads that are no worker: added to by atomic operations, histograms under the lock. */
static struct {
	pthread_mutex_t lock;
	struct weir_metrics metrics;
} outside = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.metrics = { .core = -1 },
};

unsigned weir__metric_count(void)
{
	return __atomic_load_n(&registry.count, __ATOMIC_ACQUIRE);
}

const struct weir__metric_entry *weir__metric_entry(unsigned id)
{
	weir_assert(id < WEIR_METRICS_MAX);
	return &registry.entries[id];
}

const struct weir_metrics *weir__metrics_outside(void)
{
	return &outside.metrics;
}

static bool ends_with(const char *name, const char *end)
{
	size_t size = strlen(name), end_size = strlen(end);

	return size >= end_size && !strcmp(name + size - end_size, end);
}

static bool is_name(const char *name)
{
	static const char *const taken[] = { "_total", "_bucket", "_sum", "_count" };
	size_t i;

	if (!name || !((*name >= 'a' && *name <= 'z') || *name == '_'))
		return false;
	if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
		return false;
	for (i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (ends_with(name, taken[i]))
			return false;
	return true;
}

/* Under the lock. */
static int find_or_add(const char *name, const char *help, enum weir__metric_kind kind)
{
	unsigned id;

	for (id = 0; id < registry.count; id++)
		if (!strcmp(registry.entries[id].name, name))
			return registry.entries[id].kind == kind ? (int)id : -EEXIST;
	if (id == WEIR_METRICS_MAX)
		return -ENOBUFS;
	registry.entries[id] = (struct weir__metric_entry){ name, help, kind };
	__atomic_store_n(&registry.count, id + 1, __ATOMIC_RELEASE);
	return (int)id;
}

static int metric_register(const char *name, const char *help, enum weir__metric_kind kind)
{
	int res;

	if (!is_name(name) || !help)
		return -EINVAL;
	pthread_mutex_lock(&registry.lock);
	res = find_or_add(name, help, kind);
	pthread_mutex_unlock(&registry.lock);
	return res;
}

int weir_metric_counter(const char *name, const char *help)
{
	return metric_register(name, help, WEIR__COUNTER);
}

int weir_metric_gauge(const char *name, const char *help)
{
	return metric_register(name, help, WEIR__GAUGE);
}

int weir_metric_histogram(const char *name, const char *help)
{
	return metric_register(name, help, WEIR__HISTOGRAM);
}

void weir__metrics_init(struct weir_metrics *metrics, int core)
{
	memset(metrics, 0, sizeof(*metrics));
	metrics->core = core;
}

void weir__metrics_fini(struct weir_metrics *metrics)
{
	unsigned id;

	for (id = 0; id < WEIR_METRICS_MAX; id++)
		weir_histogram_destroy(metrics->histograms[id]);
	memset(metrics->histograms, 0, sizeof(metrics->histograms));
}

/* The first value of id here: makes its histogram. NULL when id has none or memory is out. */
static struct weir_histogram *histogram_add(struct weir_metrics *metrics, unsigned id)
{
	struct weir_histogram *histogram;

	if (id >= weir__metric_count() || weir__metric_entry(id)->kind != WEIR__HISTOGRAM)
		return NULL;
	if (weir_histogram_create(&histogram))
		return NULL;
	__atomic_store_n(&metrics->histograms[id], histogram, __ATOMIC_RELEASE);
	return histogram;
}

void weir__metric_observe(struct weir_metrics *metrics, unsigned id, uint64_t value)
{
	struct weir_histogram *histogram = metrics->histograms[id];

	if (weir_unlikely(!histogram)) {
		histogram = histogram_add(metrics, id);
		if (!histogram)
			return;
	}
	weir_histogram_observe(histogram, value);
}

void weir_metric_add(int id, int64_t n)
{
	if (weir_unlikely((unsigned)id >= WEIR_METRICS_MAX))
		return;
	if (weir_likely(weir__self != NULL))
		weir__metric_add(&weir__self->metrics, (unsigned)id, (uint64_t)n);
	else
		__atomic_fetch_add(&outside.metrics.values[id], (uint64_t)n, __ATOMIC_RELAXED);
}

void weir_metric_set(int id, int64_t value)
{
	if (weir_unlikely((unsigned)id >= WEIR_METRICS_MAX))
		return;
	weir__metric_set(weir__self ? &weir__self->metrics : &outside.metrics, (unsigned)id,
			 (uint64_t)value);
}

void weir_metric_observe(int id, uint64_t value)
{
	if (weir_unlikely((unsigned)id >= WEIR_METRICS_MAX))
		return;
	if (weir_likely(weir__self != NULL)) {
		weir__metric_observe(&weir__self->metrics, (unsigned)id, value);
		return;
	}
	pthread_mutex_lock(&outside.lock);
	weir__metric_observe(&outside.metrics, (unsigned)id, value);
	pthread_mutex_unlock(&outside.lock);
}
