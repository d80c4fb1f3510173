/* SPDX-License-Identifier: MIT */
/*
 * metrics.h - one core's counters, the library's own names, and the text in which
 * Prometheus reads them.
 *
 * One thread writes a struct weir_metrics, with plain loads and relaxed stores; any thread
 * reads it meanwhile. The registry of names is the process's.
 */
#ifndef WEIR_CORE_METRICS_H
#define WEIR_CORE_METRICS_H

#include "core/weir_metrics.h"

struct weir_histogram;

/*
 * The library's own: X(id, kind, name, help). Append here, count with
 * weir__metric_add(&weir__self->metrics, WEIR__M_<id>, 1).
 */
#define WEIR__METRICS(X)                                                                          \
	X(TURNS, COUNTER, "weir_turns", "Turns of the worker's loop.")                            \
	X(TASKS_RUN, COUNTER, "weir_tasks_run", "Tasks run, coroutines included.")                \
	X(COROS, GAUGE, "weir_coros", "Coroutines that live.")                                    \
	X(COROS_HIGH, GAUGE, "weir_coros_high", "The most coroutines that lived at once.")        \
	X(COROS_REFUSED, COUNTER, "weir_coros_refused", "Spawns refused: coros_max or no memory.") \
	X(WAKES_SENT, COUNTER, "weir_wakes_sent", "Wakes sent to sleeping cores.")                \
	X(WAKES_SKIPPED, COUNTER, "weir_wakes_skipped", "Wakes saved: the core was awake.")       \
	X(SLEEPS, COUNTER, "weir_sleeps", "Times the worker slept in the kernel.")                \
	X(SPINS_HIT, COUNTER, "weir_spins_hit", "Spins that found work before sleeping.")         \
	X(POSTS, COUNTER, "weir_posts", "Messages posted to other cores.")                        \
	X(POSTS_FULL, COUNTER, "weir_posts_full", "Posts that found the ring to a core full.")    \
	X(TIMERS_ARMED, GAUGE, "weir_timers_armed", "Timers that are armed.")                     \
	X(TIMERS_FIRED, COUNTER, "weir_timers_fired", "Timers that fired.")                       \
	X(STALLS, COUNTER, "weir_stalls", "Tasks that held their core too long.")                 \
	X(CREDIT_RINGS, COUNTER, "weir_credit_rings", "Rings of waits for credit, most likely.")   \
	X(OPS, COUNTER, "weir_ops", "Operations submitted to the kernel.")                        \
	X(ENTERS, COUNTER, "weir_enters", "System calls that entered the ring.")                  \
	X(CQES, COUNTER, "weir_cqes", "Completions reaped.")                                      \
	X(STALE_CQES, COUNTER, "weir_stale_cqes", "Completions whose slot had moved on.")         \
	X(SLOTS_TAKEN, GAUGE, "weir_slots_taken", "Slots of the ring in use.")                    \
	X(SLOTS_HIGH, GAUGE, "weir_slots_high", "The most slots in use at once.")                 \
	X(SLOTS_PARKED, COUNTER, "weir_slots_parked", "Waits for a free slot.")                   \
	X(CQ_OVERFLOW, COUNTER, "weir_cq_overflow", "Overflows of the completion queue.")         \
	X(BUFS_LENT, GAUGE, "weir_bufs_lent", "Receive buffers lent to connections.")             \
	X(FUTURES, GAUGE, "weir_futures", "Futures that take memory.")                            \
	X(FUTURES_HIGH, GAUGE, "weir_futures_high", "The most of them at once.")                  \
	X(FUTURES_REFUSED, COUNTER, "weir_futures_refused", "Futures refused: max or no memory.") \
	X(UNOBSERVED, COUNTER, "weir_rejections_unobserved", "Rejections nobody looked at.")      \
	X(RETRIES, COUNTER, "weir_retries", "Attempts of retried futures after the first.")       \
	X(HEDGES, COUNTER, "weir_hedges", "Second attempts of hedged futures.")                   \
	X(HEDGES_WON, COUNTER, "weir_hedges_won", "Of them, the first to be fulfilled.")          \
	X(MEMO_HITS, COUNTER, "weir_memo_hits", "Results that were kept or under way already.")   \
	X(MEMO_MISSES, COUNTER, "weir_memo_misses", "Results that had to be started.")            \
	X(MEMO_EVICTED, COUNTER, "weir_memo_evicted", "Kept results that made room for others.")  \
	X(SCOPES, GAUGE, "weir_scopes", "Scopes that are open.")                                  \
	X(SCOPES_ABANDONED, COUNTER, "weir_scopes_abandoned", "Scopes that nobody joined.")       \
	X(STREAMS, GAUGE, "weir_streams", "Arenas of streams.")                                   \
	X(STREAM_DROPS, COUNTER, "weir_stream_drops", "Items that streams lost on purpose.")      \
	X(MULTISHOT_REARMED, COUNTER, "weir_multishot_rearmed", "Multishot operations rearmed.")  \
	X(FILES_OPEN, GAUGE, "weir_files_open", "Files and directories that are open.")           \
	X(FILES_HOT, COUNTER, "weir_files_hot", "Reads and writes of files without the ring.")    \
	X(COMMIT_APPENDS, COUNTER, "weir_commit_appends", "Appends that became durable.")         \
	X(COMMIT_GROUPS, COUNTER, "weir_commit_groups", "Writes that made them durable.")         \
	X(COMMIT_PARKED, COUNTER, "weir_commit_parked", "Appends that waited for a place in one.")

enum weir__metric {
#define X(id, kind, name, help) WEIR__M_##id,
	WEIR__METRICS(X)
#undef X
	WEIR__M_COUNT
};

enum weir__metric_kind { WEIR__COUNTER, WEIR__GAUGE, WEIR__HISTOGRAM };

/* What is known of an id. */
struct weir__metric_entry {
	const char *name;
	const char *help;
	enum weir__metric_kind kind;
};

struct weir_metrics {
	int core; /* the label; -1: no worker's */
	uint64_t values[WEIR_METRICS_MAX];
	struct weir_histogram *histograms[WEIR_METRICS_MAX]; /* NULL until observed */
};

void weir__metrics_init(struct weir_metrics *metrics, int core);

/* No reader is left. Frees the histograms. */
void weir__metrics_fini(struct weir_metrics *metrics);

/* The writer's thread only. id: enum weir__metric or a registered one. */
static inline void weir__metric_set(struct weir_metrics *metrics, unsigned id, uint64_t value)
{
	__atomic_store_n(&metrics->values[id], value, __ATOMIC_RELAXED);
}

static inline uint64_t weir__metric_get(const struct weir_metrics *metrics, unsigned id)
{
	return __atomic_load_n(&metrics->values[id], __ATOMIC_RELAXED);
}

static inline void weir__metric_add(struct weir_metrics *metrics, unsigned id, uint64_t n)
{
	weir__metric_set(metrics, id, weir__metric_get(metrics, id) + n);
}

/* For a high-water mark. */
static inline void weir__metric_raise(struct weir_metrics *metrics, unsigned id, uint64_t value)
{
	if (value > weir__metric_get(metrics, id))
		weir__metric_set(metrics, id, value);
}

void weir__metric_observe(struct weir_metrics *metrics, unsigned id, uint64_t value);

/* How many ids are registered, and each of them. Any thread. */
unsigned weir__metric_count(void);
const struct weir__metric_entry *weir__metric_entry(unsigned id);

/* What threads that are no worker counted; each word is read relaxed. */
const struct weir_metrics *weir__metrics_outside(void);

/* --- what has names of its own: pools, say, with a label for each --- */

struct weir__text;

/*
 * write() puts whole families of metrics into text. Linked for good; on the reading thread. What
 * puts into text may wait, in a coroutine: no lock is held across it.
 */
struct weir__exporter {
	void (*write)(struct weir__text *text);
	struct weir__exporter *next;
};

/* Adding one twice does nothing. Any thread. */
void weir__exporter_add(struct weir__exporter *exporter);

/* A family begins: kind and name as registered ones have them. */
void weir__text_family(struct weir__text *text, const struct weir__metric_entry *family);

/* A label of the samples that follow, {a="x",b="y"}; value is escaped. Names are literals. */
struct weir__label {
	const char *name;
	const char *value;
};

void weir__text_value(struct weir__text *text, const struct weir__metric_entry *family,
		      const struct weir__label labels[2], uint64_t value);

/* A histogram as it is shown: counts of values below 2^(le_bits + n), the last one of the rest. */
#define WEIR__LES 28

struct weir__reduced {
	unsigned le_bits;
	uint64_t sum;
	uint64_t counts[WEIR__LES + 1];
};

struct weir__reduced weir__reduced_of(const struct weir__metric_entry *family,
				      const struct weir_histogram *histogram);
void weir__text_histogram(struct weir__text *text, const struct weir__metric_entry *family,
			  const struct weir__label labels[2], const struct weir__reduced *reduced);

/* Takes size bytes of data; 0, or what weir__metrics_write_prometheus() shall return. */
typedef int (*weir__sink_fn)(void *arg, const char *data, size_t size);

/*
 * Writes the text exposition format 0.0.4 of everything registered, read from
 * cores[0..count) while they run, and from the threads that are no worker. sink is
 * called with up to 1 KiB at a time; allocates nothing, so it also answers when memory is
 * out. Any thread. Returns 0 or sink's error.
 * Format: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
int weir__metrics_write_prometheus(weir__sink_fn sink, void *arg,
				   const struct weir_metrics *const *cores, size_t count);

#endif
