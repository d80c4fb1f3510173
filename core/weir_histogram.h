/* SPDX-License-Identifier: MIT */
/*
 * weir_histogram.h - how values are distributed: latencies, sizes, depths.
 *
 * Log-linear, after HdrHistogram (Gil Tene): 32 buckets of equal width per power of two,
 * over the whole range of uint64_t. A value is known to 1/32 (3.1 %) and the memory is
 * always the same, about 15 KiB. Observing costs a few nanoseconds.
 *
 * One thread writes; any thread may read or merge meanwhile and sees each value
 * that was observed before, perhaps some of those observed during the call.
 */
#ifndef WEIR_HISTOGRAM_H
#define WEIR_HISTOGRAM_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_histogram;

/* An empty one, the caller's to destroy. Any thread. Returns 0 or -ENOMEM. */
WEIR_API int weir_histogram_create(struct weir_histogram **ret_histogram);

/* histogram may be NULL. */
WEIR_API void weir_histogram_destroy(struct weir_histogram *histogram);

/* Counts value once. */
WEIR_API void weir_histogram_observe(struct weir_histogram *histogram, uint64_t value);

/* Counts value count times. */
WEIR_API void weir_histogram_observe_n(struct weir_histogram *histogram, uint64_t value,
				       uint64_t count);

/* Adds what from counted to to: writes to, reads from. */
WEIR_API void weir_histogram_merge(struct weir_histogram *to, const struct weir_histogram *from);

/* Forgets everything. Of the writing thread. */
WEIR_API void weir_histogram_reset(struct weir_histogram *histogram);

/*
 * The value that percent (0 to 100) of the values do not exceed: at most 3.2 % above the
 * true one, never below it, never above the maximum. 0 when nothing was observed. Any thread.
 */
WEIR_API uint64_t weir_histogram_percentile(const struct weir_histogram *histogram,
					    double percent);

/* How many values; their sum (wraps), exact; the smallest and the largest, exact. Any thread. */
WEIR_API uint64_t weir_histogram_count(const struct weir_histogram *histogram);
WEIR_API uint64_t weir_histogram_sum(const struct weir_histogram *histogram);
WEIR_API uint64_t weir_histogram_min(const struct weir_histogram *histogram);
WEIR_API uint64_t weir_histogram_max(const struct weir_histogram *histogram);

#ifdef __cplusplus
}
#endif

#endif
