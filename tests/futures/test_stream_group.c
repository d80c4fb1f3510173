/* SPDX-License-Identifier: MIT */
/*
 * test_stream_group.c - one stream as many: groups and windows, read in turn and at once.
 */
#include "marbles.h"

static int64_t by_case(struct weir_item item, void *arg)
{
	(void)arg;
	return item.number < 'a';
}

/* All items of each stream, with a dot after its end: streams are read at once, 4 at most. */
static struct weir_stream *read_it(struct weir_arena *in, struct weir_item item, void *arg)
{
	static const struct weir_item dot = { .number = '.' };
	struct weir_stream *parts[2];

	(void)arg;
	parts[0] = weir_stream_import(in, item.ptr);
	parts[1] = weir_stream_value(in, dot);
	return weir_stream_concat(parts, 2);
}

static const struct weir_inner_opts opts = { .drop = count_drop, .size = 2048 };

static void groups_are_streams_by_key(void)
{
	new_arena();
	expect(weir_stream_flat_map(weir_stream_group_by(cold("aB-bC|"), by_case, NULL, 2, 4),
				    read_it, NULL, &opts),
	       "aB-bC(..|)");
	expect(weir_stream_flat_map(weir_stream_group_by(cold("|"), by_case, NULL, 2, 4), read_it,
				    NULL, &opts),
	       "|");
	expect(weir_stream_flat_map(weir_stream_group_by(cold("aB#"), by_case, NULL, 2, 4), read_it,
				    NULL, &opts),
	       "aB#");
	end_arena();
}

static void more_groups_than_there_may_be_are_an_error(void)
{
	new_arena();
	expect(weir_stream_flat_map(weir_stream_group_by(cold("abA|"), by_case, NULL, 1, 4),
				    read_it, NULL, &opts),
	       "ab!");
	end_arena();
}

/* Nobody reads the group: it holds two, and nothing more is asked for. */
static void a_full_group_holds_up_the_source(void)
{
	static struct recorder groups;
	struct weir_stream *stream;

	new_arena();
	stream = weir_stream_group_by(cold("(abcdefg)|"), by_case, NULL, 2, 2);
	recorder_start(&groups, stream, WEIR_UNBOUNDED);
	weir_sleep(2 * FRAME);
	assert_int_equal(groups.got, 1);
	assert_int_equal(made, 2);
	groups.up->ops->cancel(groups.up);
	end_arena();
	assert_int_equal(made, freed);	/* what was in a group that nobody read went with it */
}

static void windows_are_closed_by_count_and_time(void)
{
	new_arena();
	expect(weir_stream_concat_map(weir_stream_window(cold("abcde|"), 2, WEIR_NEVER), read_it,
				      NULL, &opts),
	       "a(b.)c(d.)e(.|)");
	expect(weir_stream_concat_map(weir_stream_window(cold("ab---c-|"), 9,
							 3 * FRAME + FRAME / 2),
				      read_it, NULL, &opts),
	       "ab-.-c-(.|)");
	end_arena();
}

static struct weir_stream *ignore_it(struct weir_arena *in, struct weir_item item, void *arg)
{
	(void)arg;
	return weir_stream_take(weir_stream_import(in, item.ptr), 0);
}

static void a_window_that_is_cancelled_drops_what_comes(void)
{
	new_arena();
	expect(weir_stream_flat_map(weir_stream_window(cold("abcdefghijkl|"), 2, WEIR_NEVER),
				    ignore_it, NULL, &opts),
	       "------------|");
	end_arena();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(groups_are_streams_by_key),
		on_worker(more_groups_than_there_may_be_are_an_error),
		on_worker(a_full_group_holds_up_the_source),
		on_worker(windows_are_closed_by_count_and_time),
		on_worker(a_window_that_is_cancelled_drops_what_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
