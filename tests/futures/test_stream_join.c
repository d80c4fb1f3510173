/* SPDX-License-Identifier: MIT */
/*
 * test_stream_join.c - operators on several streams, and on streams of streams, drawn as marbles.
 */
#include "marbles.h"

#define MERGE(...)                                                                                \
	(struct weir_stream *[]){ __VA_ARGS__ },                                                  \
		sizeof((struct weir_stream *[]){ __VA_ARGS__ }) / sizeof(struct weir_stream *)

static void merge_sends_as_they_come(void)
{
	new_arena();
	expect(weir_stream_merge(MERGE(cold("a--c--|"), cold("-b--d|"))), "ab-cd-|");
	expect(weir_stream_merge(MERGE(cold("a-#"), cold("-b--d|"))), "ab#");
	expect(weir_stream_merge(MERGE(cold("(abc)|"), cold("(xyz)|"))), "(abcxyz)|");
	expect(weir_stream_merge(MERGE(cold("|"), cold("|"))), "|");
	expect(weir_stream_merge(MERGE(cold("ab|"))), "ab|");
	end_arena();
}

/* Two are waiting, each gets its turn. */
static void merge_serves_its_streams_in_turn_when_little_is_asked_for(void)
{
	static struct recorder recorder;

	new_arena();
	recorder_start(&recorder, weir_stream_merge(MERGE(cold("(abc)|"), cold("(xyz)|"))), 1);
	weir_sleep(2 * FRAME);
	recorder_ask(&recorder, 3);
	weir_sleep(2 * FRAME);
	recorder_ask(&recorder, 9);
	assert_string_equal(drawn(&recorder), "a-(xby)-(cz|)");
	assert_true(recorder.ended);
	assert_int_equal(made, freed);
	end_arena();
}

static void concat_sends_one_after_the_other(void)
{
	new_arena();
	expect(weir_stream_concat(MERGE(cold("a-b|"), cold("c-d|"))), "a-bc-d|");
	expect(weir_stream_concat(MERGE(cold("a-#"), cold("c-d|"))), "a-#");
	expect(weir_stream_concat(MERGE(cold("|"), cold("|"), cold("x|"))), "x|");
	assert_string_equal(watched(weir_stream_concat(MERGE(cold("ab|"), cold("cd|"))), 3, 20),
			    "abc");
	end_arena();
}

static void start_with_comes_first(void)
{
	const struct weir_item items[] = { weir_item_number('x'), weir_item_number('y') };

	new_arena();
	made += 2;	/* freed as the stream's are */
	expect(weir_stream_start_with(cold("a-b|"), items, 2), "(xya)-b|");
	end_arena();
}

static void whoever_is_first_wins(void)
{
	new_arena();
	expect(weir_stream_amb(MERGE(cold("--a-b|"), cold("-x--y|"))), "-x--y|");
	assert_int_equal(marble_cancels, 1);
	expect(weir_stream_amb(MERGE(cold("--a-b|"), cold("-#"))), "-#");
	expect(weir_stream_amb(MERGE(cold("--a-b|"), cold("-|"))), "-|");
	expect(weir_stream_amb(MERGE(cold("a|"), cold("b|"))), "a|");
	end_arena();
}

/* 'a' and '1' become 'b': letters are moved by the digit. */
static int sum(const struct weir_item *items, unsigned count, struct weir_item *ret, void *arg)
{
	(void)arg;
	ret->number = items[0].number;
	for (unsigned i = 1; i < count; i++) {
		if (items[i].number == 'x')
			return -EIO;
		ret->number += items[i].number - '0';
	}
	return 0;
}

static void zip_pairs_in_order(void)
{
	new_arena();
	expect(weir_stream_zip(MERGE(cold("a-c-e|"), cold("--1--1|")), sum, NULL, NULL), "--b--d|");
	expect(weir_stream_zip(MERGE(cold("a|"), cold("--1-1|")), sum, NULL, NULL), "--(b|)");
	expect(weir_stream_zip(MERGE(cold("a-c#"), cold("1--1|")), sum, NULL, NULL), "b--#");
	expect(weir_stream_zip(MERGE(cold("a-c|"), cold("x--1|")), sum, NULL, NULL), "#");
	expect(weir_stream_zip(MERGE(cold("|"), cold("1-")), sum, NULL, NULL), "|");
	end_arena();
}

static void combine_latest_sends_at_each_item_what_all_have(void)
{
	new_arena();
	expect(weir_stream_combine_latest(MERGE(cold("a---c-|"), cold("--1-2-|")), sum, NULL, NULL),
	       "--b-(de)-|");
	expect(weir_stream_combine_latest(MERGE(cold("a-|"), cold("--1-2|")), sum, NULL, NULL),
	       "--b-c|");
	expect(weir_stream_combine_latest(MERGE(cold("a--"), cold("-|")), sum, NULL, NULL), "-|");
	expect(weir_stream_combine_latest(MERGE(cold("a-#"), cold("-1-2|")), sum, NULL, NULL),
	       "-b#");
	end_arena();
}

static void with_latest_from_follows_one_of_two(void)
{
	new_arena();
	expect(weir_stream_with_latest_from(cold("a-c-d-|"), cold("-1--2-"), sum, NULL, NULL),
	       "--d-f-|");
	expect(weir_stream_with_latest_from(cold("a-c|"), cold("-|"), sum, NULL, NULL), "---|");
	expect(weir_stream_with_latest_from(cold("a-c|"), cold("-#"), sum, NULL, NULL), "-#");
	end_arena();
}

/* --- streams of streams --- */

/* 'a' is "1", after a frame 'b' is "-2-", ...; 'z' is none, 'y' an error. */
static struct weir_stream *inner(struct weir_arena *in, struct weir_item item, void *arg)
{
	int64_t *count = arg;
	struct weir_arena *outer = arena;
	struct weir_stream *stream;

	(*count)++;
	if (item.number == 'z')
		return NULL;
	arena = in;
	stream = item.number == 'a' ? cold("1-2-3|") :
		 item.number == 'b' ? cold("4-5-6|") :
		 item.number == 'c' ? cold("(78)|") :
		 item.number == 'r' ? weir_stream_range(in, '0', 3) :
				      cold("-#");
	arena = outer;
	if (item.number == 'r')
		made += 3;	/* they are freed as the others */
	return stream;
}

static const struct weir_inner_opts two = { .streams = 2, .drop = count_drop };

static void flat_map_sends_what_the_inner_streams_send(void)
{
	int64_t count = 0;

	new_arena();
	expect(weir_stream_flat_map(cold("ab----|"), inner, &count, &two), "142536|");
	expect(weir_stream_flat_map(cold("a-y----|"), inner, &count, &two), "1-2#");
	expect(weir_stream_flat_map(cold("a--#"), inner, &count, &two), "1-2#");
	expect(weir_stream_flat_map(cold("zz|"), inner, &count, &two), "--|");
	expect(weir_stream_flat_map(cold("|"), inner, &count, &two), "|");
	expect(weir_stream_flat_map(cold("(rr)|"), inner, &count, &two), "(012012)|");
	end_arena();
}

/* The third has to wait until one of two has ended. */
static void no_more_inner_streams_run_than_were_allowed(void)
{
	int64_t count = 0;

	new_arena();
	expect(weir_stream_flat_map(cold("(aab)|"), inner, &count, &two), "(11)-(22)-(33)4-5-6|");
	end_arena();
}

static void concat_map_keeps_the_order(void)
{
	int64_t count = 0;

	new_arena();
	expect(weir_stream_concat_map(cold("ab|"), inner, &count, &two), "1-2-34-5-6|");
	expect(weir_stream_concat_map(cold("(zazc)|"), inner, &count, &two), "1-2-3(78)|");
	end_arena();
}

static void switch_map_follows_the_latest_only(void)
{
	int64_t count = 0;

	new_arena();
	expect(weir_stream_switch_map(cold("a-b-----|"), inner, &count, &two), "1-4-5-6-|");
	expect(weir_stream_switch_map(cold("a-z-----|"), inner, &count, &two), "1-------|");
	expect(weir_stream_switch_map(cold("rrr|"), inner, &count, &two), "(012)(012)(012)|");
	end_arena();
}

/* --- errors --- */

static void on_error_resume_goes_on_with_another(void)
{
	new_arena();
	expect(weir_stream_on_error_resume(cold("a-#"), cold("b-c|")), "a-b-c|");
	expect(weir_stream_on_error_resume(cold("a-|"), cold("b-c|")), "a-|");
	expect(weir_stream_on_error_resume(cold("a#"), cold("b#")), "ab#");
	end_arena();
}

static void retry_subscribes_anew(void)
{
	new_arena();
	expect(weir_stream_retry(cold("a-#"), 2), "a-a-a-#");
	assert_int_equal(marble_subscriptions, 3);
	expect(weir_stream_retry(cold("a-|"), 2), "a-|");
	expect(weir_stream_retry(cold("#"), 0), "#");
	end_arena();
}

static int64_t twice_later(int error, unsigned attempt, void *arg)
{
	(void)arg;
	return error == -EIO && attempt <= 2 ? (int64_t)attempt * 2 * FRAME : -1;
}

/* It is the errors in a row that count: each item begins anew. */
static void retry_when_asks_whether_and_when(void)
{
	new_arena();
	expect(weir_stream_take(weir_stream_retry_when(cold("#"), twice_later, NULL), 9),
	       "------#");
	expect(weir_stream_take(weir_stream_retry_when(cold("a#"), twice_later, NULL), 3),
	       "a--a--(a|)");
	end_arena();
}

static void streams_that_are_none_end_with_an_error(void)
{
	struct weir_item item;

	new_arena();
	assert_int_equal(weir_await(weir_stream_first(weir_stream_merge(NULL, 0), &item), 0, NULL),
			 -EINVAL);
	assert_int_equal(weir_await(weir_stream_first(weir_stream_zip(MERGE(cold("a|")), NULL, NULL,
								      NULL),
						      &item),
				    WEIR_NEVER, NULL),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(merge_sends_as_they_come),
		on_worker(merge_serves_its_streams_in_turn_when_little_is_asked_for),
		on_worker(concat_sends_one_after_the_other),
		on_worker(start_with_comes_first),
		on_worker(whoever_is_first_wins),
		on_worker(zip_pairs_in_order),
		on_worker(combine_latest_sends_at_each_item_what_all_have),
		on_worker(with_latest_from_follows_one_of_two),
		on_worker(flat_map_sends_what_the_inner_streams_send),
		on_worker(no_more_inner_streams_run_than_were_allowed),
		on_worker(concat_map_keeps_the_order),
		on_worker(switch_map_follows_the_latest_only),
		on_worker(on_error_resume_goes_on_with_another),
		on_worker(retry_subscribes_anew),
		on_worker(retry_when_asks_whether_and_when),
		on_worker(streams_that_are_none_end_with_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
