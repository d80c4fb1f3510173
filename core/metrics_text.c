/* SPDX-License-Identifier: MIT */
/*
 * metrics_text.c - the text that Prometheus scrapes.
 *
 * Counters and gauges are written per core: the imbalance between cores is what one looks
 * for, and sum() gives the rest. Writing the sum too would count everything twice in every
 * query over the name. Histograms are written once, over all cores: a quantile is
 * wanted of the service, and 29 lines per core and name would be most of the page.
 *
 * A histogram's 1,920 buckets become 28 by powers of two: up to 2^n - 1, which is where
 * ours end too, so the reduced counts are exact. The set never depends on the values, or
 * rates over it would break. From 0 to 134 million, or from 1 us to 137 s.
 */
#include <string.h>

#include "core/ensure.h"
#include "core/histogram.h"
#include "core/metrics.h"

#define TEXT_SIZE 1024
#define LES 28
#define LE_BITS_SECONDS 10 /* the first bucket ends at 2^10 - 1 ns */

struct text {
	weir__sink_fn sink;
	void *arg;
	int error; /* the first; nothing is written after it */
	size_t used;
	char data[TEXT_SIZE];
};

static void text_flush(struct text *text)
{
	if (!text->error && text->used)
		text->error = text->sink(text->arg, text->data, text->used);
	text->used = 0;
}

static void put_bytes(struct text *text, const char *data, size_t size)
{
	while (size) {
		size_t part = TEXT_SIZE - text->used;

		if (part > size)
			part = size;
		memcpy(text->data + text->used, data, part);
		text->used += part;
		data += part;
		size -= part;
		if (text->used == TEXT_SIZE)
			text_flush(text);
	}
}

static void put(struct text *text, const char *string)
{
	put_bytes(text, string, strlen(string));
}

/* value in at least digits_min digits. */
static void put_digits(struct text *text, uint64_t value, unsigned digits_min)
{
	char digits[20];
	size_t at = sizeof(digits);

	while (value || sizeof(digits) - at < digits_min) {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	}
	put_bytes(text, digits + at, sizeof(digits) - at);
}

static void put_signed(struct text *text, int64_t value)
{
	if (value < 0)
		put(text, "-");
	put_digits(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

/* A histogram's number: nanoseconds are shown in seconds, exactly. */
static void put_value(struct text *text, uint64_t value, bool is_seconds)
{
	if (!is_seconds) {
		put_digits(text, value, 1);
		return;
	}
	put_digits(text, value / 1000000000, 1);
	put(text, ".");
	put_digits(text, value % 1000000000, 9);
}

/* HELP escapes backslash and line feed, nothing else. */
static void put_help(struct text *text, const char *help)
{
	for (; *help; help++) {
		if (*help == '\\')
			put(text, "\\\\");
		else if (*help == '\n')
			put(text, "\\n");
		else
			put_bytes(text, help, 1);
	}
}

static void put_head(struct text *text, const struct weir__metric_entry *entry,
		     const char *suffix, const char *type)
{
	put(text, "# HELP ");
	put(text, entry->name);
	put(text, suffix);
	put(text, " ");
	put_help(text, entry->help);
	put(text, "\n# TYPE ");
	put(text, entry->name);
	put(text, suffix);
	put(text, " ");
	put(text, type);
	put(text, "\n");
}

static void put_sample(struct text *text, const char *name, bool is_counter,
		       const struct weir_metrics *core, uint64_t value)
{
	put(text, name);
	put(text, is_counter ? "_total{core=\"" : "{core=\"");
	if (core->core < 0)
		put(text, "none");
	else
		put_digits(text, (uint64_t)core->core, 1);
	put(text, "\"} ");
	if (is_counter)
		put_digits(text, value, 1);
	else
		put_signed(text, (int64_t)value);
	put(text, "\n");
}

static void put_values(struct text *text, unsigned id, const struct weir_metrics *const *cores,
		       size_t count)
{
	const struct weir__metric_entry *entry = weir__metric_entry(id);
	bool is_counter = entry->kind == WEIR__COUNTER;
	const struct weir_metrics *outside = weir__metrics_outside();
	size_t i;

	put_head(text, entry, is_counter ? "_total" : "", is_counter ? "counter" : "gauge");
	for (i = 0; i < count; i++)
		put_sample(text, entry->name, is_counter, cores[i], weir__metric_get(cores[i], id));
	if (weir__metric_get(outside, id))
		put_sample(text, entry->name, is_counter, outside, weir__metric_get(outside, id));
}

/* The reduced histogram: counts[n] of values below 2^(le_bits + n), counts[LES] of the rest. */
struct reduced {
	unsigned le_bits;
	uint64_t sum;
	uint64_t counts[LES + 1];
};

static void reduced_add(struct reduced *reduced, const struct weir_metrics *core, unsigned id)
{
	const struct weir_histogram *histogram =
		__atomic_load_n(&core->histograms[id], __ATOMIC_ACQUIRE);
	unsigned i;

	if (!histogram)
		return;
	reduced->sum += weir_histogram_sum(histogram);
	for (i = 0; i < WEIR__HISTOGRAM_BUCKETS; i++) {
		uint64_t top = weir__histogram_top(i);
		unsigned bits = top ? 64 - (unsigned)__builtin_clzll(top) : 0;
		unsigned n = bits > reduced->le_bits ? bits - reduced->le_bits : 0;

		reduced->counts[n < LES ? n : LES] +=
			__atomic_load_n(&histogram->counts[i], __ATOMIC_RELAXED);
	}
}

static void put_reduced(struct text *text, const char *name, const struct reduced *reduced,
			bool is_seconds)
{
	uint64_t below = 0;
	unsigned n;

	for (n = 0; n <= LES; n++) {
		below += reduced->counts[n];
		put(text, name);
		put(text, "_bucket{le=\"");
		if (n < LES)
			put_value(text, (UINT64_C(1) << (reduced->le_bits + n)) - 1, is_seconds);
		else
			put(text, "+Inf");
		put(text, "\"} ");
		put_digits(text, below, 1);
		put(text, "\n");
	}
	put(text, name);
	put(text, "_sum ");
	put_value(text, reduced->sum, is_seconds);
	put(text, "\n");
	put(text, name);
	put(text, "_count ");
	put_digits(text, below, 1);
	put(text, "\n");
}

static void put_histogram(struct text *text, unsigned id, const struct weir_metrics *const *cores,
			  size_t count)
{
	const struct weir__metric_entry *entry = weir__metric_entry(id);
	size_t name_size = strlen(entry->name);
	size_t unit_size = strlen("_seconds");
	bool is_seconds = name_size > unit_size &&
			  !strcmp(entry->name + name_size - unit_size, "_seconds");
	struct reduced reduced = { .le_bits = is_seconds ? LE_BITS_SECONDS : 0 };
	size_t i;

	for (i = 0; i < count; i++)
		reduced_add(&reduced, cores[i], id);
	reduced_add(&reduced, weir__metrics_outside(), id);
	put_head(text, entry, "", "histogram");
	put_reduced(text, entry->name, &reduced, is_seconds);
}

int weir__metrics_write_prometheus(weir__sink_fn sink, void *arg,
				   const struct weir_metrics *const *cores, size_t count)
{
	struct text text = { .sink = sink, .arg = arg };
	unsigned id, ids = weir__metric_count();

	for (id = 0; id < ids && !text.error; id++) {
		if (weir__metric_entry(id)->kind == WEIR__HISTOGRAM)
			put_histogram(&text, id, cores, count);
		else
			put_values(&text, id, cores, count);
	}
	text_flush(&text);
	return text.error;
}
