/* SPDX-License-Identifier: MIT */
/*
 * stream.c - pipelines drawn from the seed, read by a subscriber that asks, waits and leaves when
 * it likes: demand is never exceeded, signals come one after the other, there is one end and
 * nothing after it, every item is freed once, and a pipeline that is over holds nothing.
 */
#include <string.h>

#include "tools/sim/scenario.h"

#define ROUNDS_MAX 10
#define STAGES_MAX 4
#define ITEMS 40

static struct {
	struct weir_opts opts;
	unsigned rounds;
	unsigned made, freed;		/* items that are counted */
} world;

/* --- items that are counted --- */

static void freed(struct weir_item item)
{
	weir_sim_checkf(item.size == sizeof(world), "stream: what is freed is an item", "%zu",
			item.size);
	world.freed++;
}

static struct weir_item make_item(int64_t number)
{
	struct weir_item item = weir_item_number(number);

	item.size = sizeof(world);
	world.made++;
	return item;
}

/* --- sources --- */

static int emit_numbers(struct weir_emitter *emitter, void *arg)
{
	unsigned count = weir_sim_choose("stream-emits", ITEMS);
	int r = 0;

	(void)arg;
	for (unsigned i = 0; i < count && !r; i++) {
		struct weir_item item = make_item(i);

		r = weir_emit(emitter, item);
		if (r < 0)
			freed(item);
		else if (scenario_once_in("stream-pauses", 4))
			r = weir_sleep(scenario_draw_size("stream-pause", 24));
	}
	if (!r && scenario_once_in("stream-source-fails", 6))
		r = -EBADMSG;
	return r;
}

static struct weir_stream *source(struct weir_arena *arena)
{
	return weir_stream_generate(arena, emit_numbers, NULL, freed);
}

/* --- operators --- */

static int same(struct weir_item *item, void *arg)
{
	(void)arg;
	if (!scenario_once_in("stream-map-fails", 60))
		return item->number >= 0 ? 0 : -EINVAL;
	return -EBADMSG;
}

static bool is_even(struct weir_item item, void *arg)
{
	(void)arg;
	return !(item.number & 1);
}

static struct weir_stream *inner(struct weir_arena *arena, struct weir_item item, void *arg)
{
	(void)arg;
	(void)item;
	return weir_sim_choose("stream-inner", 3) ? source(arena) : NULL;
}

static const struct weir_inner_opts inner_opts = { .size = 2048, .drop = freed };

static struct weir_stream *several(struct weir_stream *stream, struct weir_arena *arena)
{
	struct weir_stream *streams[] = { stream, source(arena), source(arena) };
	unsigned count = 1 + weir_sim_choose("stream-count", 3);

	switch (weir_sim_choose("stream-several", 3)) {
	case 0:
		return weir_stream_merge(streams, count);
	case 1:
		return weir_stream_concat(streams, count);
	default:
		return weir_stream_amb(streams, count);
	}
}

static struct weir_stream *timed(struct weir_stream *stream)
{
	int64_t ns = 1 + (int64_t)scenario_draw_size("stream-ns", 24);

	switch (weir_sim_choose("stream-timed", 6)) {
	case 0:
		return weir_stream_delay(stream, ns, 4);
	case 1:
		return weir_stream_debounce(stream, ns);
	case 2:
		return weir_stream_throttle(stream, ns);
	case 3:
		return weir_stream_timeout(stream, ns * 8);
	case 4:
		return weir_stream_rate_limit(stream, 3, ns + 3);
	default:
		return weir_stream_take_time(stream, ns * 4);
	}
}

static struct weir_stream *operate(struct weir_stream *stream, struct weir_arena *arena)
{
	unsigned n = 1 + weir_sim_choose("stream-n", 6);

	switch (weir_sim_choose("stream-operator", 14)) {
	case 0:
		return weir_stream_map(stream, same, NULL, freed);
	case 1:
		return weir_stream_filter(stream, is_even, NULL);
	case 2:
		return weir_stream_take(stream, n);
	case 3:
		return weir_stream_skip(stream, n);
	case 4:
		return several(stream, arena);
	case 5:
		return timed(stream);
	case 6:
		return weir_stream_flat_map(stream, inner, NULL, &inner_opts);
	case 7:
		return weir_stream_concat_map(stream, inner, NULL, &inner_opts);
	case 8:
		return weir_stream_switch_map(stream, inner, NULL, &inner_opts);
	case 9:
		return weir_stream_retry(stream, n);
	case 10:
		return weir_stream_on_error_resume(stream, source(arena));
	case 11:
		return weir_stream_limit_rate(stream, n + 1, 1);
	case 12:
		return weir_stream_on_overflow(stream, WEIR_OVERFLOW_DROP_OLD, n);
	default:
		return weir_stream_distinct_until_changed(stream, NULL, NULL);
	}
}

/* --- the subscriber --- */

struct reader {
	struct weir_subscriber in;
	struct weir_subscription *up;
	int64_t demand;
	unsigned subscribed, ended;
	bool inside, left;
};

static struct reader *reader_of(struct weir_subscriber *in)
{
	return weir_container_of(in, struct reader, in);
}

static void reader_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct reader *reader = reader_of(in);

	reader->subscribed++;
	weir_sim_checkf(reader->subscribed == 1, "stream: subscribed is called once", "%u",
			reader->subscribed);
	reader->up = up;
}

static void reader_next(struct weir_subscriber *in, struct weir_item item)
{
	struct reader *reader = reader_of(in);

	weir_sim_checkf(!reader->inside, "stream: signals come one after the other", "%d", 1);
	weir_sim_checkf(reader->demand > 0, "stream: no item comes that was not asked for",
			"item %lld", (long long)item.number);
	weir_sim_checkf(!reader->ended && !reader->left, "stream: nothing comes after the end",
			"item %lld", (long long)item.number);
	reader->inside = true;
	reader->demand--;
	freed(item);
	reader->inside = false;
	if (scenario_once_in("stream-asks-inside", 4)) {
		reader->demand++;
		weir_subscription_request(reader->up, 1);
	} else if (scenario_once_in("stream-leaves-inside", 30)) {
		reader->left = true;
		weir_subscription_cancel(reader->up);
	}
}

static void reader_ended(struct weir_subscriber *in, int error)
{
	struct reader *reader = reader_of(in);

	reader->ended++;
	weir_sim_checkf(reader->ended == 1 && !reader->left, "stream: there is one end", "%u",
			reader->ended);
	weir_sim_checkf(error <= 0, "stream: the end is 0 or an error", "%d", error);
	weir_sim_sometimes(error == 0, "stream: a pipeline completes");
	weir_sim_sometimes(error == -EBADMSG, "stream: a pipeline fails");
	weir_sim_sometimes(error == -ETIMEDOUT, "stream: a pipeline times out");
}

static void read_some(struct reader *reader)
{
	for (unsigned i = 0; i < 200 && !reader->ended && !reader->left; i++) {
		if (reader->demand < 3) {
			int64_t n = 1 + weir_sim_choose("stream-asks", 4);

			reader->demand += n;
			weir_subscription_request(reader->up, n);
		}
		weir_sleep(scenario_draw_size("stream-waits", 26));
		if (scenario_once_in("stream-leaves", 60) && !reader->ended && !reader->left) {
			reader->left = true;
			weir_subscription_cancel(reader->up);
		}
	}
	if (!reader->ended && !reader->left) {
		reader->left = true;
		weir_subscription_cancel(reader->up);
	}
}

static int round_of(void)
{
	static const struct weir_subscriber_ops ops = { reader_subscribed, reader_next,
							reader_ended };
	struct reader reader = { .in.ops = &ops };
	unsigned stages = weir_sim_choose("stream-stages", STAGES_MAX + 1);
	const struct weir_arena_opts opts = { .size = 64 << 10 };
	struct weir_arena *arena;
	struct weir_stream *stream;
	int r = weir_arena_create(&opts, &arena);

	if (r < 0)
		return r;
	stream = source(arena);
	for (unsigned i = 0; i < stages; i++)
		stream = operate(stream, arena);
	if (weir_arena_error(arena))
		weir_sim_sometimes(true, "stream: an arena is too small");
	weir_stream_subscribe(stream, &reader.in);
	read_some(&reader);
	/* Coroutines below may be in a shielded wait, but all end. */
	while ((r = weir_arena_destroy(arena)) == -EBUSY)
		weir_sleep(WEIR_MS);
	return r;
}

static int each(struct weir_item item, void *arg)
{
	unsigned *count = arg;

	(void)item;
	(*count)++;
	if (scenario_once_in("stream-each-fails", 40))
		return -EBADMSG;
	return scenario_once_in("stream-each-waits", 3) ? weir_sleep(WEIR_MS) : 0;
}

/* A terminal operation, cancelled now and then: the future is settled when all is over. */
static int run_one(void)
{
	struct weir_arena *arena;
	unsigned count = 0;
	ssize_t n;
	int r = weir_arena_create(NULL, &arena);

	if (r < 0)
		return r;
	n = weir_await(weir_stream_each(operate(source(arena), arena), 2, each, &count),
		       weir_in(scenario_draw_size("stream-patience", 30)), NULL);
	weir_sim_checkf(n < 0 || (unsigned)n == count, "stream: a result counts what was taken",
			"%zd and %u", n, count);
	weir_sim_sometimes(n == -ETIMEDOUT, "stream: a terminal operation is cancelled");
	return 0;
}

static int service(void *arg)
{
	(void)arg;
	if (weir_core())
		return 0;
	for (unsigned i = 0; i < world.rounds; i++) {
		if (weir_sim_choose("stream-runs", 2))
			round_of();
		else
			run_one();
		/* An arena goes in a task of its own. */
		weir_sleep(WEIR_MS);
		weir_sim_checkf(world.made == world.freed, "stream: every item is freed once",
				"%u made, %u freed", world.made, world.freed);
	}
	return 0;
}

static int subject_main(void *arg)
{
	int r = weir_run(&world.opts, service, arg);

	weir_sim_checkf(!r, "stream: the runtime ends well", "%d", r);
	return 0;
}

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts subject = { .cores = 2 };
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	world.opts = scenario_opts(1);
	world.rounds = scenario_draw("stream-rounds", 1, ROUNDS_MAX);
	if (!weir_sim_host(sim, "subject", &subject, subject_main, NULL) ||
	    !weir_sim_workload(sim, "judge", &reliable, scenario_wait_end, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_stream = {
	.name = "stream",
	.about = "pipelines: demand is never exceeded, one end, every item freed once",
	.build = build,
	.faults = WEIR_SIM_DEFAULT,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
