/* SPDX-License-Identifier: MIT */
/*
 * test_stream_time.c - operators that depend on time and on demand, drawn as marbles.
 */
#include "marbles.h"

static void sample_sends_the_latest_at_each_tick(void)
{
	new_arena();
	expect(weir_stream_sample(cold("ab-c---d|"), cold("--x--x----x")), "--b--c--|");
	expect(weir_stream_sample(cold("ab-c"), cold("--x--|")), "--b--|");
	expect(weir_stream_sample(cold("a-#"), cold("-x-")), "-a#");
	end_arena();
}

static void debounce_waits_for_silence(void)
{
	new_arena();
	expect(weir_stream_debounce(cold("abc-----d--|"), 2 * FRAME + FRAME / 2), "----c-----d|");
	expect(weir_stream_debounce(cold("ab|"), 5 * FRAME), "--(b|)");
	expect(weir_stream_debounce(cold("ab#"), 5 * FRAME), "--#");
	end_arena();
}

static void throttle_is_silent_after_each(void)
{
	new_arena();
	expect(weir_stream_throttle(cold("abcdefg|"), 2 * FRAME + FRAME / 2), "a--d--g|");
	end_arena();
}

/* What was not asked for when it was due waits, and gives way to a newer one. */
static void what_is_due_waits_to_be_asked_for(void)
{
	static struct recorder recorder;
	struct weir_stream *stream;

	new_arena();
	stream = weir_stream_throttle(cold("abcdef|"), FRAME / 2);
	recorder_start(&recorder, stream, 1);
	weir_sleep(3 * FRAME + FRAME / 2);
	recorder_ask(&recorder, 1);
	assert_string_equal(drawn(&recorder), "a--d");
	weir_sleep(9 * FRAME);
	assert_false(recorder.ended);
	recorder_ask(&recorder, 1);
	assert_true(recorder.ended);
	assert_int_equal(recorder.got, 3);
	assert_int_equal(made, freed);
	end_arena();
}

static void delay_moves_all_but_errors(void)
{
	new_arena();
	expect(weir_stream_delay(cold("a-b|"), 3 * FRAME, 4), "---a-b|");
	expect(weir_stream_delay(cold("a---#"), 2 * FRAME, 4), "--a-#");
	expect(weir_stream_delay(cold("a-b#"), 5 * FRAME, 4), "---#");
	expect(weir_stream_delay(cold("|"), 2 * FRAME, 4), "--|");
	/* No more than room are under way: the third is asked for when the first has gone. */
	expect(weir_stream_delay(cold("abc|"), 5 * FRAME, 2), "-----ab---(c|)");
	end_arena();
}

static void timeout_ends_a_stream_that_is_silent(void)
{
	new_arena();
	expect(weir_stream_timeout(cold("a-b-----c|"), 3 * FRAME), "a-b--T");
	expect(weir_stream_timeout(cold("a-b|"), 3 * FRAME), "a-b|");
	expect(weir_stream_timeout(cold("-----"), 3 * FRAME), "---T");
	end_arena();
}

static void rate_limit_asks_for_no_more_than_it_may(void)
{
	new_arena();
	expect(weir_stream_rate_limit(cold("(abcdef)|"), 2, 4 * FRAME), "(ab)-c-d-e-(f|)");
	expect(weir_stream_rate_limit(cold("a-----b|"), 2, 4 * FRAME), "a-----b|");
	end_arena();
}

static void overflow_does_what_it_was_told(void)
{
	static const struct {
		enum weir_overflow overflow;
		const char *drawn;
		unsigned dropped;
	} cases[] = {
		{ WEIR_OVERFLOW_DROP_NEW, "a------(bc|)", 2 },
		{ WEIR_OVERFLOW_DROP_OLD, "a------(de|)", 2 },
		{ WEIR_OVERFLOW_ERROR, "a------(bc!)", 1 },
	};

	for (unsigned i = 0; i < 3; i++) {
		static struct recorder recorder;
		struct weir_stream *stream;

		new_arena();
		stream = weir_stream_on_overflow(cold("abcde|"), cases[i].overflow, 2);
		recorder_start(&recorder, stream, 1);
		weir_sleep(7 * FRAME);
		recorder_ask(&recorder, 9);
		assert_string_equal(drawn(&recorder), cases[i].drawn);
		assert_int_equal(made, freed);
		end_arena();
	}
}

static void limit_rate_asks_ahead_and_again_when_little_is_left(void)
{
	static struct recorder recorder;
	struct weir_stream *stream;

	new_arena();
	stream = weir_stream_limit_rate(cold("(abcdefgh)|"), 4, 1);
	recorder_start(&recorder, stream, 1);
	weir_sleep(FRAME);
	assert_int_equal(made, 4);	/* three wait inside */
	recorder_ask(&recorder, 1);
	assert_int_equal(made, 4);
	recorder_ask(&recorder, 1);
	assert_int_equal(made, 7);	/* one was left: three more */
	recorder_ask(&recorder, 9);
	weir_sleep(2 * FRAME);
	assert_string_equal(drawn(&recorder), "a(bcdefgh|)");
	assert_int_equal(made, freed);
	end_arena();
}

static void bounds_of_nothing_are_refused(void)
{
	new_arena();
	weir_stream_limit_rate(cold("a|"), 4, 4);
	assert_int_equal(weir_arena_error(arena), -EINVAL);
	assert_int_equal(weir_arena_destroy(arena), 0);
	new_arena();
	weir_stream_on_overflow(cold("a|"), WEIR_OVERFLOW_ERROR, 0);
	assert_int_equal(weir_arena_error(arena), -EINVAL);
	assert_int_equal(weir_arena_destroy(arena), 0);
	new_arena();
	expect(weir_stream_rate_limit(cold("a|"), 0, FRAME), "!");
	assert_int_equal(weir_arena_destroy(arena), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(sample_sends_the_latest_at_each_tick),
		on_worker(debounce_waits_for_silence),
		on_worker(throttle_is_silent_after_each),
		on_worker(what_is_due_waits_to_be_asked_for),
		on_worker(delay_moves_all_but_errors),
		on_worker(timeout_ends_a_stream_that_is_silent),
		on_worker(rate_limit_asks_for_no_more_than_it_may),
		on_worker(overflow_does_what_it_was_told),
		on_worker(limit_rate_asks_ahead_and_again_when_little_is_left),
		on_worker(bounds_of_nothing_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
