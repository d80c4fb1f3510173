/* SPDX-License-Identifier: MIT */
/*
 * test_metrics.c - histograms, the registry of metrics, and the text that Prometheus reads.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/histogram.h"
#include "core/worker.h"

static void every_value_is_in_a_bucket_at_most_a_32nd_wide(void **state)
{
	unsigned bit, i, index, last = 0;

	(void)state;
	for (bit = 0; bit < 64; bit++)
		for (i = 0; i < 64; i++) {
			uint64_t value = (UINT64_C(1) << bit) + ((UINT64_C(1) << bit) / 64) * i;

			index = weir__histogram_index(value);
			assert_true(index < WEIR__HISTOGRAM_BUCKETS);
			assert_true(index >= last);
			last = index;
			assert_true(weir__histogram_top(index) >= value);
			assert_true(weir__histogram_top(index) - value <= value / 32);
			assert_true(index == 0 || weir__histogram_top(index - 1) < value);
		}
	assert_true(weir__histogram_top(WEIR__HISTOGRAM_BUCKETS - 1) == UINT64_MAX);
	assert_int_equal(weir__histogram_index(UINT64_MAX), WEIR__HISTOGRAM_BUCKETS - 1);
	for (i = 0; i < WEIR__HISTOGRAM_BUCKETS; i++)
		assert_int_equal(weir__histogram_index(weir__histogram_top(i)), i);
}

static struct weir_histogram *histogram_new(void)
{
	struct weir_histogram *histogram;

	assert_int_equal(weir_histogram_create(&histogram), 0);
	return histogram;
}

static void percentiles_are_at_most_a_32nd_above_the_true_value_never_below(void **state)
{
	static const double percents[] = { 0, 1, 25, 50, 90, 99, 99.9, 99.99, 100 };
	struct weir_histogram *histogram = histogram_new();
	uint64_t value, sum = 0;
	unsigned i;

	(void)state;
	for (value = 1; value <= 100000; value++) {
		weir_histogram_observe(histogram, value * 7);
		sum += value * 7;
	}
	for (i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		uint64_t rank = (uint64_t)(percents[i] * 1000 + 0.5);
		uint64_t exact = (rank ? rank : 1) * 7;
		uint64_t got = weir_histogram_percentile(histogram, percents[i]);

		assert_true(got >= exact);
		assert_true(got - exact <= exact / 32);
	}
	assert_true(weir_histogram_percentile(histogram, 100) == 700000);
	assert_true(weir_histogram_count(histogram) == 100000);
	assert_true(weir_histogram_sum(histogram) == sum);
	assert_true(weir_histogram_min(histogram) == 7);
	assert_true(weir_histogram_max(histogram) == 700000);
	weir_histogram_destroy(histogram);
}

static void a_percentile_of_a_thousand_values_is_one_of_them_not_the_next(void **state)
{
	struct weir_histogram *histogram = histogram_new();

	(void)state;
	weir_histogram_observe_n(histogram, 10, 999);
	weir_histogram_observe(histogram, 1000000);
	assert_true(weir_histogram_percentile(histogram, 99.9) == 10);
	assert_true(weir_histogram_percentile(histogram, 99.91) == 1000000);
	weir_histogram_destroy(histogram);
}

static void an_empty_histogram_is_all_zero(void **state)
{
	struct weir_histogram *histogram = histogram_new();

	(void)state;
	weir_histogram_observe_n(histogram, 5, 0);
	assert_true(weir_histogram_percentile(histogram, 50) == 0);
	assert_true(weir_histogram_count(histogram) == 0);
	assert_true(weir_histogram_min(histogram) == 0);
	assert_true(weir_histogram_max(histogram) == 0);
	weir_histogram_observe(histogram, 77);
	weir_histogram_reset(histogram);
	assert_true(weir_histogram_count(histogram) == 0);
	assert_true(weir_histogram_min(histogram) == 0);
	weir_histogram_destroy(histogram);
	weir_histogram_destroy(NULL);
}

static void merging_is_as_if_one_had_seen_both(void **state)
{
	struct weir_histogram *a = histogram_new(), *b = histogram_new(), *both = histogram_new();
	uint64_t random = 88172645463325252u;
	unsigned i;

	(void)state;
	for (i = 0; i < 10000; i++) {
		uint64_t value;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		value = random >> (random % 64);
		weir_histogram_observe(i % 3 ? a : b, value);
		weir_histogram_observe(both, value);
	}
	weir_histogram_merge(a, b);
	assert_memory_equal(a, both, sizeof(*a));
	weir_histogram_destroy(a);
	weir_histogram_destroy(b);
	weir_histogram_destroy(both);
}

/* A thread that observes 1, 2, 3... until told to stop. */
struct writer {
	struct weir_histogram *histogram;
	bool stop;
	uint64_t wrote;
};

static void *write_on(void *arg)
{
	struct writer *writer = arg;

	while (!__atomic_load_n(&writer->stop, __ATOMIC_RELAXED) && writer->wrote < 3000000)
		weir_histogram_observe(writer->histogram, ++writer->wrote);
	return NULL;
}

static void a_histogram_can_be_read_while_it_is_written(void **state)
{
	struct writer writer = { .histogram = histogram_new() };
	uint64_t count = 0, last = 0;
	pthread_t thread;
	unsigned i;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
	for (i = 0; i < 1000; i++) {
		count = weir_histogram_count(writer.histogram);
		assert_true(count >= last);
		assert_true(weir_histogram_percentile(writer.histogram, 50) <= 3000000);
		last = count;
	}
	__atomic_store_n(&writer.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(weir_histogram_count(writer.histogram) == writer.wrote);
	weir_histogram_destroy(writer.histogram);
}

static void names_are_checked(void **state)
{
	static const char *const bad[] = {
		"", "Upper", "9lives", "has space", "dash-ed", "dot.ted", "caf\xc3\xa9",
		"requests_total", "latency_bucket", "x_sum", "x_count", "_total", "new\nline",
	};
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(weir_metric_counter(bad[i], "Bad."), -EINVAL);
	assert_int_equal(weir_metric_gauge(NULL, "Bad."), -EINVAL);
	assert_int_equal(weir_metric_gauge("no_help", NULL), -EINVAL);
	assert_true(weir_metric_gauge("_x9", "Good.") >= 0);
}

static void a_name_has_one_id_and_one_kind(void **state)
{
	int id = weir_metric_counter("one_id", "First.");

	(void)state;
	assert_true(id >= WEIR__M_COUNT);
	assert_int_equal(weir_metric_counter("one_id", "Again."), id);
	assert_int_equal(weir_metric_gauge("one_id", "Other kind."), -EEXIST);
	assert_int_equal(weir_metric_histogram("one_id", "Other kind."), -EEXIST);
	assert_int_equal(weir_metric_counter("weir_turns", "The library's."), WEIR__M_TURNS);
	assert_true(weir_metric_counter("another_id", "Second.") != id);
}

static struct weir_worker *workers[2];

static int workers_setup(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		workers[i] = calloc(1, sizeof(*workers[i]));
		if (!workers[i])
			return -1;
		weir__metrics_init(&workers[i]->metrics, (int)i);
	}
	return 0;
}

static int workers_teardown(void **state)
{
	unsigned i;

	(void)state;
	weir__self = NULL;
	for (i = 0; i < 2; i++) {
		weir__metrics_fini(&workers[i]->metrics);
		free(workers[i]);
	}
	return 0;
}

/* Collects the page; refuses after calls_max pieces. */
struct page {
	char text[64 * 1024];
	size_t size;
	unsigned calls;
	unsigned calls_max;
};

static struct page page;

static int page_write(void *arg, const char *data, size_t size)
{
	struct page *to = arg;

	if (to->calls_max && to->calls == to->calls_max)
		return -EPIPE;
	to->calls++;
	assert_true(size > 0 && size <= 1024);
	assert_true(to->size + size < sizeof(to->text));
	memcpy(to->text + to->size, data, size);
	to->size += size;
	to->text[to->size] = '\0';
	return 0;
}

static int page_read(unsigned calls_max)
{
	const struct weir_metrics *cores[] = { &workers[0]->metrics, &workers[1]->metrics };

	memset(&page, 0, sizeof(page));
	page.calls_max = calls_max;
	return weir__metrics_write_prometheus(page_write, &page, cores, 2);
}

static void assert_page_has(const char *lines)
{
	if (!strstr(page.text, lines))
		fail_msg("missing:\n%s\nin:\n%s", lines, page.text);
}

static void each_core_counts_for_itself(void **state)
{
	int hits = weir_metric_counter("hits", "Times \\ it\nhit.");
	int level = weir_metric_gauge("level", "How high.");

	(void)state;
	weir__self = workers[0];
	weir_metric_add(hits, 3);
	weir_metric_add(hits, 4);
	weir_metric_set(level, 10);
	weir_metric_add(level, -12);
	weir__self = workers[1];
	weir_metric_add(hits, 1);
	weir__metric_raise(&workers[1]->metrics, WEIR__M_COROS_HIGH, 9);
	weir__metric_raise(&workers[1]->metrics, WEIR__M_COROS_HIGH, 8);
	assert_int_equal(page_read(0), 0);
	assert_page_has("# HELP hits_total Times \\\\ it\\nhit.\n# TYPE hits_total counter\n"
			"hits_total{core=\"0\"} 7\nhits_total{core=\"1\"} 1\n");
	assert_page_has("# TYPE level gauge\nlevel{core=\"0\"} -2\nlevel{core=\"1\"} 0\n");
	assert_page_has("weir_coros_high{core=\"0\"} 0\nweir_coros_high{core=\"1\"} 9\n");
	assert_page_has("# HELP weir_turns_total Turns of the worker's loop.\n");
	assert_null(strstr(page.text, "none"));
}

static void an_id_that_is_an_error_counts_nothing(void **state)
{
	int refused = weir_metric_counter("Refused", "Bad name.");

	(void)state;
	assert_int_equal(refused, -EINVAL);
	weir__self = workers[0];
	weir_metric_add(refused, 1);
	weir_metric_set(refused, 1);
	weir_metric_observe(refused, 1);
	weir_metric_observe(WEIR__M_TURNS, 1); /* no histogram: none is made */
	weir_metric_add(WEIR_METRICS_MAX, 1);
	assert_null(workers[0]->metrics.histograms[WEIR__M_TURNS]);
}

static void a_histogram_is_shown_cumulative_and_over_all_cores(void **state)
{
	int batch = weir_metric_histogram("batch", "Size of a batch.");

	(void)state;
	weir__self = workers[0];
	weir_metric_observe(batch, 0);
	weir_metric_observe(batch, 1);
	weir_metric_observe(batch, 7);
	weir__self = workers[1];
	weir_metric_observe(batch, 8);
	weir_metric_observe(batch, UINT64_C(1) << 40);
	assert_int_equal(page_read(0), 0);
	assert_page_has("# TYPE batch histogram\n"
			"batch_bucket{le=\"0\"} 1\nbatch_bucket{le=\"1\"} 2\n"
			"batch_bucket{le=\"3\"} 2\nbatch_bucket{le=\"7\"} 3\n"
			"batch_bucket{le=\"15\"} 4\n");
	assert_page_has("batch_bucket{le=\"134217727\"} 4\nbatch_bucket{le=\"+Inf\"} 5\n"
			"batch_sum 1099511627792\nbatch_count 5\n");
}

static void a_histogram_of_seconds_observes_nanoseconds(void **state)
{
	int wait = weir_metric_histogram("wait_seconds", "How long.");

	(void)state;
	weir__self = workers[0];
	weir_metric_observe(wait, 1023);
	weir_metric_observe(wait, 1024);
	weir_metric_observe(wait, 3 * WEIR_S + 5);
	assert_int_equal(page_read(0), 0);
	assert_page_has("wait_seconds_bucket{le=\"0.000001023\"} 1\n"
			"wait_seconds_bucket{le=\"0.000002047\"} 2\n");
	assert_page_has("wait_seconds_bucket{le=\"2.147483647\"} 2\n"
			"wait_seconds_bucket{le=\"4.294967295\"} 3\n");
	assert_page_has("wait_seconds_sum 3.000002052\nwait_seconds_count 3\n");
}

static void a_thread_that_is_no_worker_is_counted_too(void **state)
{
	int jobs = weir_metric_counter("jobs", "Jobs done.");
	int job_size = weir_metric_histogram("job_size", "Their size.");

	(void)state;
	assert_null(weir__self);
	weir_metric_add(jobs, 5);
	weir_metric_observe(job_size, 3);
	assert_int_equal(page_read(0), 0);
	assert_page_has("jobs_total{core=\"1\"} 0\njobs_total{core=\"none\"} 5\n");
	assert_page_has("job_size_sum 3\njob_size_count 1\n");
}

static void the_error_of_the_sink_is_returned_and_ends_the_writing(void **state)
{
	(void)state;
	assert_int_equal(page_read(2), -EPIPE);
	assert_int_equal(page.calls, 2);
}

static void *no_memory(void *arg, size_t size, size_t align)
{
	(void)arg;
	(void)size;
	(void)align;
	return NULL;
}

static void no_free(void *arg, void *ptr, size_t size)
{
	(void)arg;
	(void)ptr;
	(void)size;
}

static void without_memory_values_are_dropped_and_the_page_is_written(void **state)
{
	struct weir_allocator none = { no_memory, no_free, NULL };
	struct weir_histogram *histogram;
	int starved = weir_metric_histogram("starved", "No memory for it.");

	(void)state;
	weir__self = workers[0];
	assert_int_equal(weir_set_allocator(&none), 0);
	weir_metric_observe(starved, 3);
	assert_int_equal(weir_histogram_create(&histogram), -ENOMEM);
	assert_int_equal(page_read(0), 0);
	weir_set_allocator(NULL);
	assert_page_has("starved_bucket{le=\"+Inf\"} 0\nstarved_sum 0\nstarved_count 0\n");
}

/* The grammar of the format, as far as we write it: no line is anything else. */
static void every_line_of_the_page_is_a_comment_or_a_sample(void **state)
{
	char *line, *rest = page.text;

	(void)state;
	assert_int_equal(page_read(0), 0);
	assert_int_equal(page.text[page.size - 1], '\n');
	while ((line = strsep(&rest, "\n")) && rest) {
		char *value;

		if (!strncmp(line, "# HELP ", 7) || !strncmp(line, "# TYPE ", 7))
			continue;
		value = strrchr(line, ' ');
		assert_non_null(value);
		assert_int_equal(strspn(value + 1, "-.0123456789"), strlen(value + 1));
		assert_true(strlen(value + 1) > 0);
		assert_true(line[strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '{' ||
			    strchr(line, ' ') == value);
	}
}

static char *more_names[WEIR_METRICS_MAX];

static void the_bound_on_names_is_refused_and_known_names_are_still_found(void **state)
{
	int id = 0;
	unsigned i;

	(void)state;
	for (i = 0; i < WEIR_METRICS_MAX && id >= 0; i++) {
		more_names[i] = calloc(1, 16);
		assert_non_null(more_names[i]);
		snprintf(more_names[i], 16, "more_%u", i);
		id = weir_metric_counter(more_names[i], "One more.");
	}
	assert_int_equal(id, -ENOBUFS);
	assert_int_equal(weir__metric_count(), WEIR_METRICS_MAX);
	assert_true(weir_metric_counter("more_0", "Known.") > 0);
	assert_int_equal(weir_metric_counter("weir_turns", "Known."), WEIR__M_TURNS);
	assert_int_equal(page_read(0), 0);
	assert_page_has("more_0_total{core=\"0\"} 0\n");
}

#define worker_test(name) cmocka_unit_test_setup_teardown(name, workers_setup, workers_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_value_is_in_a_bucket_at_most_a_32nd_wide),
		cmocka_unit_test(percentiles_are_at_most_a_32nd_above_the_true_value_never_below),
		cmocka_unit_test(a_percentile_of_a_thousand_values_is_one_of_them_not_the_next),
		cmocka_unit_test(an_empty_histogram_is_all_zero),
		cmocka_unit_test(merging_is_as_if_one_had_seen_both),
		cmocka_unit_test(a_histogram_can_be_read_while_it_is_written),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(a_name_has_one_id_and_one_kind),
		worker_test(each_core_counts_for_itself),
		worker_test(an_id_that_is_an_error_counts_nothing),
		worker_test(a_histogram_is_shown_cumulative_and_over_all_cores),
		worker_test(a_histogram_of_seconds_observes_nanoseconds),
		worker_test(a_thread_that_is_no_worker_is_counted_too),
		worker_test(the_error_of_the_sink_is_returned_and_ends_the_writing),
		worker_test(without_memory_values_are_dropped_and_the_page_is_written),
		worker_test(every_line_of_the_page_is_a_comment_or_a_sample),
		worker_test(the_bound_on_names_is_refused_and_known_names_are_still_found),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unsigned i;

	for (i = 0; i < WEIR_METRICS_MAX; i++)
		free(more_names[i]);
	return failed;
}
