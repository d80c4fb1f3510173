/* SPDX-License-Identifier: MIT */
/*
 * histogram.c - counting in log-linear buckets, and reading them while they are counted.
 *
 * A reader takes the count of values from the buckets alone, so its percentiles and
 * counts agree with each other at whatever moment it looks.
 */
#include "core/histogram.h"

#include "core/alloc.h"

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

int weir_histogram_create(struct weir_histogram **ret_histogram)
{
	struct weir_histogram *histogram = weir__alloc(sizeof(*histogram));

	if (!histogram)
		return -ENOMEM;
	weir_histogram_reset(histogram);
	*ret_histogram = histogram;
	return 0;
}

void weir_histogram_destroy(struct weir_histogram *histogram)
{
	weir__free(histogram, sizeof(*histogram));
}

void weir_histogram_reset(struct weir_histogram *histogram)
{
	unsigned i;

	for (i = 0; i < WEIR__HISTOGRAM_BUCKETS; i++)
		store(&histogram->counts[i], 0);
	store(&histogram->sum, 0);
	store(&histogram->min, UINT64_MAX);
	store(&histogram->max, 0);
}

void weir_histogram_observe_n(struct weir_histogram *histogram, uint64_t value, uint64_t count)
{
	uint64_t *bucket = &histogram->counts[weir__histogram_index(value)];

	if (!count)
		return;
	if (value < load(&histogram->min))
		store(&histogram->min, value);
	if (value > load(&histogram->max))
		store(&histogram->max, value);
	store(&histogram->sum, load(&histogram->sum) + value * count);
	store(bucket, load(bucket) + count);
}

void weir_histogram_observe(struct weir_histogram *histogram, uint64_t value)
{
	weir_histogram_observe_n(histogram, value, 1);
}

void weir_histogram_merge(struct weir_histogram *to, const struct weir_histogram *from)
{
	unsigned i;

	for (i = 0; i < WEIR__HISTOGRAM_BUCKETS; i++) {
		uint64_t count = load(&from->counts[i]);

		if (count)
			store(&to->counts[i], load(&to->counts[i]) + count);
	}
	store(&to->sum, load(&to->sum) + load(&from->sum));
	if (load(&from->min) < load(&to->min))
		store(&to->min, load(&from->min));
	if (load(&from->max) > load(&to->max))
		store(&to->max, load(&from->max));
}

uint64_t weir_histogram_count(const struct weir_histogram *histogram)
{
	uint64_t count = 0;
	unsigned i;

	for (i = 0; i < WEIR__HISTOGRAM_BUCKETS; i++)
		count += load(&histogram->counts[i]);
	return count;
}

/* Which value, counted from 1 in ascending order, has percent of count at or below it. */
static uint64_t rank_of(double percent, uint64_t count)
{
	double exact = percent / 100 * (double)count;
	uint64_t rank;

	if (!(exact > 1))
		return 1;
	if (exact >= (double)count)
		return count;
	rank = (uint64_t)exact;
	if (exact - (double)rank > exact * 1e-12) /* 99.9 % of 1000 is 999, whatever doubles say */
		rank++;
	return rank;
}

uint64_t weir_histogram_percentile(const struct weir_histogram *histogram, double percent)
{
	uint64_t count = weir_histogram_count(histogram);
	uint64_t rank, top, max, seen = 0;
	unsigned i;

	if (!count)
		return 0;
	rank = rank_of(percent, count);
	for (i = 0; i < WEIR__HISTOGRAM_BUCKETS - 1; i++) {
		seen += load(&histogram->counts[i]);
		if (seen >= rank)
			break;
	}
	top = weir__histogram_top(i);
	max = load(&histogram->max);
	return top < max ? top : max;
}

uint64_t weir_histogram_sum(const struct weir_histogram *histogram)
{
	return load(&histogram->sum);
}

uint64_t weir_histogram_min(const struct weir_histogram *histogram)
{
	uint64_t min = load(&histogram->min);

	return min == UINT64_MAX ? 0 : min;
}

uint64_t weir_histogram_max(const struct weir_histogram *histogram)
{
	return load(&histogram->max);
}
