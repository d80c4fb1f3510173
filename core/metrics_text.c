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
#include <pthread.h>
#include <string.h>

#include "core/ensure.h"
#include "core/histogram.h"
#include "core/metrics.h"

#define TEXT_SIZE 1024
#define LE_BITS_SECONDS 10 /* the first bucket ends at 2^10 - 1 ns */

struct weir__text {
	weir__sink_fn sink;
	void *arg;
	int error; /* the first; nothing is written after it */
	size_t used;
	char data[TEXT_SIZE];
};

static void text_flush(struct weir__text *text)
{
	if (!text->error && text->used)
		text->error = text->sink(text->arg, text->data, text->used);
	text->used = 0;
}

static void put_bytes(struct weir__text *text, const char *data, size_t size)
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

static void put(struct weir__text *text, const char *string)
{
	put_bytes(text, string, strlen(string));
}

/* value in at least digits_min digits. */
static void put_digits(struct weir__text *text, uint64_t value, unsigned digits_min)
{
	char digits[20];
	size_t at = sizeof(digits);

	while (value || sizeof(digits) - at < digits_min) {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	}
	put_bytes(text, digits + at, sizeof(digits) - at);
}

static void put_signed(struct weir__text *text, int64_t value)
{
	if (value < 0)
		put(text, "-");
	put_digits(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

/* A histogram's number: nanoseconds are shown in seconds, exactly. */
static void put_value(struct weir__text *text, uint64_t value, bool is_seconds)
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
static void put_help(struct weir__text *text, const char *help)
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

static void put_head(struct weir__text *text, const struct weir__metric_entry *entry,
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

static void put_sample(struct weir__text *text, const char *name, bool is_counter,
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

static void put_values(struct weir__text *text, unsigned id,
		       const struct weir_metrics *const *cores, size_t count)
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

static void reduced_add(struct weir__reduced *reduced, const struct weir_histogram *histogram)
{
	unsigned i;

	if (!histogram)
		return;
	reduced->sum += weir_histogram_sum(histogram);
	for (i = 0; i < WEIR__HISTOGRAM_BUCKETS; i++) {
		uint64_t top = weir__histogram_top(i);
		unsigned bits = top ? 64 - (unsigned)__builtin_clzll(top) : 0;
		unsigned n = bits > reduced->le_bits ? bits - reduced->le_bits : 0;

		reduced->counts[n < WEIR__LES ? n : WEIR__LES] +=
			__atomic_load_n(&histogram->counts[i], __ATOMIC_RELAXED);
	}
}

static const struct weir__label no_labels[2];

/* a="x",b="y", of those that are there; whether there were any. */
static bool put_labels(struct weir__text *text, const struct weir__label labels[2])
{
	unsigned i;

	for (i = 0; i < 2 && labels[i].name; i++) {
		const char *value = labels[i].value;

		put(text, i ? "," : "");
		put(text, labels[i].name);
		put(text, "=\"");
		for (; *value; value++) {
			if (*value == '\n')
				put(text, "\\n");
			else if (*value == '\\' || *value == '"')
				put(text, "\\");
			if (*value != '\n')
				put_bytes(text, value, 1);
		}
		put(text, "\"");
	}
	return i;
}

static void put_braced(struct weir__text *text, const struct weir__label labels[2])
{
	if (!labels[0].name)
		return;
	put(text, "{");
	put_labels(text, labels);
	put(text, "}");
}

static void put_reduced(struct weir__text *text, const char *name,
			const struct weir__label labels[2], const struct weir__reduced *reduced)
{
	bool is_seconds = reduced->le_bits;
	uint64_t below = 0;
	unsigned n;

	for (n = 0; n <= WEIR__LES; n++) {
		below += reduced->counts[n];
		put(text, name);
		put(text, "_bucket{");
		put(text, put_labels(text, labels) ? ",le=\"" : "le=\"");
		if (n < WEIR__LES)
			put_value(text, (UINT64_C(1) << (reduced->le_bits + n)) - 1, is_seconds);
		else
			put(text, "+Inf");
		put(text, "\"} ");
		put_digits(text, below, 1);
		put(text, "\n");
	}
	put(text, name);
	put(text, "_sum");
	put_braced(text, labels);
	put(text, " ");
	put_value(text, reduced->sum, is_seconds);
	put(text, "\n");
	put(text, name);
	put(text, "_count");
	put_braced(text, labels);
	put(text, " ");
	put_digits(text, below, 1);
	put(text, "\n");
}

/* Nanoseconds are shown in seconds. */
static struct weir__reduced reduced_of(const struct weir__metric_entry *entry)
{
	size_t name_size = strlen(entry->name);
	size_t unit_size = strlen("_seconds");
	bool is_seconds = name_size > unit_size &&
			  !strcmp(entry->name + name_size - unit_size, "_seconds");

	return (struct weir__reduced){ .le_bits = is_seconds ? LE_BITS_SECONDS : 0 };
}

static void put_histogram(struct weir__text *text, unsigned id,
			  const struct weir_metrics *const *cores, size_t count)
{
	const struct weir__metric_entry *entry = weir__metric_entry(id);
	struct weir__reduced reduced = reduced_of(entry);
	size_t i;

	for (i = 0; i < count; i++)
		reduced_add(&reduced, __atomic_load_n(&cores[i]->histograms[id], __ATOMIC_ACQUIRE));
	reduced_add(&reduced,
		    __atomic_load_n(&weir__metrics_outside()->histograms[id], __ATOMIC_ACQUIRE));
	put_head(text, entry, "", "histogram");
	put_reduced(text, entry->name, no_labels, &reduced);
}

/* --- what has names of its own --- */

static struct weir__exporter *exporters;
static pthread_mutex_t exporters_lock = PTHREAD_MUTEX_INITIALIZER;

void weir__exporter_add(struct weir__exporter *exporter)
{
	struct weir__exporter **at = &exporters;

	pthread_mutex_lock(&exporters_lock);
	while (*at && *at != exporter)
		at = &(*at)->next;
	if (!*at)
		__atomic_store_n(at, exporter, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&exporters_lock);
}

void weir__text_family(struct weir__text *text, const struct weir__metric_entry *family)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	put_head(text, family, family->kind == WEIR__COUNTER ? "_total" : "", types[family->kind]);
}

void weir__text_value(struct weir__text *text, const struct weir__metric_entry *family,
		      const struct weir__label labels[2], uint64_t value)
{
	put(text, family->name);
	if (family->kind == WEIR__COUNTER)
		put(text, "_total");
	put_braced(text, labels);
	put(text, " ");
	put_digits(text, value, 1);
	put(text, "\n");
}

struct weir__reduced weir__reduced_of(const struct weir__metric_entry *family,
				      const struct weir_histogram *histogram)
{
	struct weir__reduced reduced = reduced_of(family);

	reduced_add(&reduced, histogram);
	return reduced;
}

void weir__text_histogram(struct weir__text *text, const struct weir__metric_entry *family,
			  const struct weir__label labels[2], const struct weir__reduced *reduced)
{
	put_reduced(text, family->name, labels, reduced);
}

int weir__metrics_write_prometheus(weir__sink_fn sink, void *arg,
				   const struct weir_metrics *const *cores, size_t count)
{
	struct weir__text text = { .sink = sink, .arg = arg };
	struct weir__exporter *exporter;
	unsigned id, ids = weir__metric_count();

	for (id = 0; id < ids && !text.error; id++) {
		if (weir__metric_entry(id)->kind == WEIR__HISTOGRAM)
			put_histogram(&text, id, cores, count);
		else
			put_values(&text, id, cores, count);
	}
	exporter = __atomic_load_n(&exporters, __ATOMIC_ACQUIRE);
	for (; exporter && !text.error;
	     exporter = __atomic_load_n(&exporter->next, __ATOMIC_ACQUIRE))
		exporter->write(&text);
	text_flush(&text);
	return text.error;
}
