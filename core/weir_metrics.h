/* SPDX-License-Identifier: MIT */
/*
 * weir_metrics.h - named numbers that a service shows to Prometheus.
 *
 * Register a name once, count on the id from then on:
 *
 *	static int requests;
 *
 *	requests = weir_metric_counter("requests", "Requests answered.");
 *	...
 *	weir_metric_add(requests, 1);
 *
 * Each core counts in memory of its own, so counting takes a few nanoseconds; a reader adds
 * the cores up while they run. A counter is shown as <name>_total and a gauge as
 * <name>, each with a label for the core; a histogram as <name>_bucket, <name>_sum
 * and <name>_count over all cores.
 */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Names that can be registered, the library's own included. */
#define WEIR_METRICS_MAX 256

/*
 * Registers a counter (only grows), a gauge (a level; the sum over cores should make sense)
 * or a histogram (a distribution, see weir_histogram.h). Any thread, before or during
 * the run. name and help are borrowed for good: literals. name matches [a-z_][a-z0-9_]*
 * and does not end in _total, _bucket, _sum or _count, which the exposition appends. A
 * histogram whose name ends in _seconds observes nanoseconds and is shown in seconds.
 * Returns the id, the same one again for the same name and kind; -EINVAL for such a name
 * or a NULL; -EEXIST when the name is registered as another kind; -ENOBUFS when
 * WEIR_METRICS_MAX names are.
 */
WEIR_API int weir_metric_counter(const char *name, const char *help);
WEIR_API int weir_metric_gauge(const char *name, const char *help);
WEIR_API int weir_metric_histogram(const char *name, const char *help);

/*
 * Adds n to a counter or gauge of this core (to a gauge n may be negative). An id that is
 * an error counts nothing. Any thread: those that are no worker share one place, shown as
 * core="none".
 */
WEIR_API void weir_metric_add(int id, int64_t n);

/* Sets a gauge of this core. Else as weir_metric_add(). */
WEIR_API void weir_metric_set(int id, int64_t value);

/*
 * Counts value in a histogram. The first value on a core allocates the histogram there (about
 * 15 KiB); when there is no memory the value is not counted. Else as weir_metric_add().
 */
WEIR_API void weir_metric_observe(int id, uint64_t value);

#ifdef __cplusplus
}
#endif

#endif
