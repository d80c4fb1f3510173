/* SPDX-License-Identifier: MIT */
/*
 * test_stream_ops.c - operators on single items, drawn as marbles.
 */
#include "marbles.h"

static int upper(struct weir_item *item, void *arg)
{
	(void)arg;
	if (item->number == 'x')
		return -EIO;
	item->number += 'A' - 'a';
	return 0;
}

static bool is_not(struct weir_item item, void *arg)
{
	return item.number != *(char *)arg;
}

static int latest_max(struct weir_item *acc, struct weir_item item, void *arg)
{
	(void)arg;
	if (item.number == 'x')
		return -EIO;
	if (item.number > acc->number)
		acc->number = item.number;
	return 0;
}

static void a_map_changes_each_item(void)
{
	new_arena();
	expect(weir_stream_map(cold("-a-(bc)-|"), upper, NULL, count_drop), "-A-(BC)-|");
	expect(weir_stream_map(cold("-a-#"), upper, NULL, count_drop), "-A-#");
	expect(weir_stream_map(cold("-a-x-b|"), upper, NULL, count_drop), "-A-#");
	expect(weir_stream_map(cold("|"), upper, NULL, count_drop), "|");
	end_arena();
}

static void a_filter_lets_pass_what_passes(void)
{
	char a = 'a';

	new_arena();
	expect(weir_stream_filter(cold("-a-b-a-c|"), is_not, &a), "---b---c|");
	expect(weir_stream_filter(cold("aaa#"), is_not, &a), "---#");
	end_arena();
}

/* What a filter takes out is asked for again: n items come whatever is between them. */
static void what_is_taken_out_does_not_use_up_demand(void)
{
	char a = 'a';

	new_arena();
	assert_string_equal(watched(weir_stream_filter(cold("aabaac(aad)|"), is_not, &a), 2, 50),
			    "--b--c");
	assert_string_equal(watched(weir_stream_skip(cold("abcdefg|"), 3), 2, 50), "---de");
	assert_int_equal(made, freed);
	end_arena();
}

static void a_scan_sends_what_it_has_so_far(void)
{
	new_arena();
	expect(weir_stream_scan(cold("b-a-c-b|"), weir_item_number('a'), latest_max, NULL),
	       "b-b-c-c|");
	expect(weir_stream_scan(cold("b-x-c-b|"), weir_item_number('a'), latest_max, NULL), "b-#");
	end_arena();
}

static void take_ends_with_its_last_item_and_asks_for_no_more(void)
{
	new_arena();
	expect(weir_stream_take(cold("-a-b-c|"), 2), "-a-(b|)");
	assert_int_equal(marble_cancels, 1);
	expect(weir_stream_take(cold("-a|"), 2), "-a|");
	expect(weir_stream_take(cold("-a#"), 2), "-a#");
	expect(weir_stream_take(cold("-a-b|"), 0), "|");
	expect(weir_stream_take(cold("(abcd)|"), 3), "(abc|)");
	expect(weir_stream_take(cold("ab|"), UINT64_MAX), "ab|");
	end_arena();
	assert_int_equal(made, 9);
}

static void take_while_ends_at_the_first_that_fails(void)
{
	char c = 'c';

	new_arena();
	expect(weir_stream_take_while(cold("-a-b-c-a|"), is_not, &c), "-a-b-|");
	expect(weir_stream_take_while(cold("-a|"), is_not, &c), "-a|");
	end_arena();
}

static void take_until_ends_at_the_other_streams_first_item(void)
{
	new_arena();
	expect(weir_stream_take_until(cold("-a-b-c-d|"), cold("----x-y")), "-a-b|");
	expect(weir_stream_take_until(cold("-a-b|"), cold("--|")), "-a-b|");
	expect(weir_stream_take_until(cold("-a-b|"), cold("--#")), "-a#");
	expect(weir_stream_take_until(cold("-a|"), cold("-------x")), "-a|");
	end_arena();
}

static void skip_until_begins_after_the_other_streams_first_item(void)
{
	new_arena();
	expect(weir_stream_skip_until(cold("-a-b-c-d|"), cold("----x-y")), "-----c-d|");
	expect(weir_stream_skip_until(cold("-a-b|"), cold("--|")), "----|");
	expect(weir_stream_skip_until(cold("-a-b|"), cold("--#")), "--#");
	end_arena();
}

static void take_and_skip_by_time(void)
{
	new_arena();
	expect(weir_stream_take_time(cold("a-b-c-d|"), 3 * FRAME + FRAME / 2), "a-b|");
	expect(weir_stream_take_time(cold("a|"), 3 * FRAME), "a|");
	expect(weir_stream_skip_time(cold("a-b-c-d|"), 3 * FRAME + FRAME / 2), "----c-d|");
	end_arena();
}

static void skip_leaves_out_the_first(void)
{
	char c = 'c';

	new_arena();
	expect(weir_stream_skip(cold("a-b-c|"), 2), "----c|");
	expect(weir_stream_skip(cold("a|"), 2), "-|");
	expect(weir_stream_skip(cold("ab|"), 0), "ab|");
	expect(weir_stream_skip_while(cold("abcab|"), is_not, &c), "--cab|");
	end_arena();
}

static int64_t by_case(struct weir_item item, void *arg)
{
	(void)arg;
	return item.number & 31;
}

static void distinct_until_changed_leaves_out_repetitions(void)
{
	new_arena();
	expect(weir_stream_distinct_until_changed(cold("aabba|"), NULL, NULL), "a-b-a|");
	expect(weir_stream_distinct_until_changed(cold("aAbBb|"), by_case, NULL), "a-b--|");
	end_arena();
}

/* A description is subscribed to again once it is over: it begins anew. */
static void a_stage_that_is_over_begins_anew(void)
{
	struct weir_stream *stream;

	new_arena();
	stream = weir_stream_take(weir_stream_skip(cold("abcd|"), 1), 2);
	expect(stream, "-b(c|)");
	expect(stream, "-b(c|)");
	end_arena();
}

static void sources_send_what_they_are_made_of(void)
{
	const struct weir_item items[] = { weir_item_number('x'), weir_item_number('y') };

	new_arena();
	expect(weir_stream_range(arena, 'a', 3), "(abc|)");
	expect(weir_stream_range(arena, 'a', 0), "|");
	expect(weir_stream_array(arena, items, 2), "(xy|)");
	expect(weir_stream_value(arena, items[1]), "(y|)");
	expect(weir_stream_empty(arena), "|");
	expect(weir_stream_never(arena), "");
	expect(weir_stream_error(arena, -EIO), "#");
	expect(weir_stream_future(arena, weir_future_of('f'), NULL), "(f|)");
	expect(weir_stream_future(arena, weir_future_of(-EIO), NULL), "#");
	assert_string_equal(watched(weir_stream_range(arena, 'a', 5), 2, 3), "(ab)");
	end_arena();
}

static int letter(struct weir_item *item, void *arg)
{
	(void)arg;
	item->number += 'a';
	return 0;
}

static void timers_and_intervals_keep_time(void)
{
	struct weir_stream *ticks;

	new_arena();
	expect(weir_stream_map(weir_stream_timer(arena, 3 * FRAME), letter, NULL, NULL), "---(a|)");
	ticks = weir_stream_interval(arena, 2 * FRAME);
	expect(weir_stream_take(weir_stream_map(ticks, letter, NULL, NULL), 3), "--a-b-(c|)");
	end_arena();
}

static void a_tick_that_nobody_asked_for_is_not_sent_later(void)
{
	static struct recorder recorder;
	struct weir_stream *stream;

	new_arena();
	stream = weir_stream_map(weir_stream_interval(arena, 2 * FRAME), letter, NULL, NULL);
	recorder_start(&recorder, stream, 1);
	weir_sleep(7 * FRAME);
	recorder_ask(&recorder, 1);
	weir_sleep(5 * FRAME);
	assert_string_equal(drawn(&recorder), "--a-----d");
	recorder.up->ops->cancel(recorder.up);
	end_arena();
}

static int resolve_later(void *arg)
{
	weir_sleep(2 * FRAME);
	weir_promise_resolve(arg, 'p');
	return 0;
}

static void a_future_is_a_stream_of_one(void)
{
	struct pair p = pair();

	new_arena();
	go(resolve_later, &p.promise);
	expect(weir_stream_future(arena, p.future, NULL), "--(p|)");
	end_arena();
}

static void a_stream_that_is_cancelled_cancels_its_future(void)
{
	struct pair p = pair();

	new_arena();
	assert_string_equal(watched(weir_stream_future(arena, p.future, NULL), 1, 3), "");
	assert_false(weir_promise_is_wanted(&p.promise));
	weir_promise_drop(&p.promise);
	turns(3);
	end_arena();
}

/* Nobody subscribed to it: the arena frees it. */
static void a_future_that_nobody_asked_for_is_dropped_with_the_arena(void)
{
	struct pair p = pair();

	new_arena();
	weir_stream_future(arena, p.future, NULL);
	end_arena();
	assert_false(weir_promise_is_wanted(&p.promise));
	weir_promise_drop(&p.promise);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(a_map_changes_each_item),
		on_worker(a_filter_lets_pass_what_passes),
		on_worker(what_is_taken_out_does_not_use_up_demand),
		on_worker(a_scan_sends_what_it_has_so_far),
		on_worker(take_ends_with_its_last_item_and_asks_for_no_more),
		on_worker(take_while_ends_at_the_first_that_fails),
		on_worker(take_until_ends_at_the_other_streams_first_item),
		on_worker(skip_until_begins_after_the_other_streams_first_item),
		on_worker(take_and_skip_by_time),
		on_worker(skip_leaves_out_the_first),
		on_worker(distinct_until_changed_leaves_out_repetitions),
		on_worker(a_stage_that_is_over_begins_anew),
		on_worker(sources_send_what_they_are_made_of),
		on_worker(timers_and_intervals_keep_time),
		on_worker(a_tick_that_nobody_asked_for_is_not_sent_later),
		on_worker(a_future_is_a_stream_of_one),
		on_worker(a_stream_that_is_cancelled_cancels_its_future),
		on_worker(a_future_that_nobody_asked_for_is_dropped_with_the_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
