/* SPDX-License-Identifier: MIT */
/*
 * test_stream_subscriptions.c - the rules of Reactive Streams 1.0.4 for subscriptions (3) and
 * processors (4), one test each, as test_stream_rules.c has the others.
 */
#include "stream_rules.h"

/* --- 3: subscriptions --- */

static void rule_3_1_a_subscription_belongs_to_its_subscriber(void)
{
	static struct probe second;
	struct weir_stream *shared;

	new_arena();
	shared = a_share(false);
	probe_start(&probe, shared);
	probe_start(&second, shared);
	assert_true(probe.up != second.up);
	probe.up->ops->cancel(probe.up);
	probe_ask(&second, 9);
	run();
	assert_int_equal(probe.got, 0);
	assert_int_equal(second.got, 3);
	end_arena();
}

static void rule_3_2_request_may_be_called_in_next(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe.asks_inside = true;
		probe_ask(&probe, 1);
		run();
		assert_int_equal(probe.got, 3);
		assert_int_equal(probe.ended, 1);
	}
}

/* A hundred thousand items, each asked for in the call that brings the one before. */
static void rule_3_3_the_stack_does_not_grow_with_requests(void)
{
	struct weir_stream *streams[2];

	new_arena();
	streams[0] = weir_stream_range(arena, 0, 50000);
	streams[1] = weir_stream_range(arena, 0, 50000);
	probe_start(&probe,
		    weir_stream_limit_rate(weir_stream_map(weir_stream_merge(streams, 2), as_it_is,
							   NULL, NULL),
					   4, 1));
	probe.asks_inside = true;
	probe_ask(&probe, 1);
	while (!probe.ended)
		weir_yield();
	assert_int_equal(probe.got, 100000);
	run();
	end_arena();
	new_arena();
	probe_start(&probe, weir_stream_range(arena, 0, 1000));
	probe.asks_inside = true;
	probe_ask(&probe, 1);
	while (!probe.ended)
		weir_yield();
	assert_int_equal(probe.overlaps, 0);
	run();
	end_arena();
}

static void rule_3_4_a_request_returns_soon(void)
{
	new_arena();
	probe_start(&probe, weir_stream_range(arena, 0, UINT64_MAX));
	probe_ask(&probe, WEIR_UNBOUNDED);
	assert_int_equal(probe.got, 0);	/* items come in tasks, some hundred at a time */
	weir_yield();
	assert_in_range(probe.got, 1, 100000);
	probe.up->ops->cancel(probe.up);
	turns(2);
	end_arena();
}

static void rule_3_5_a_cancel_returns_soon_and_may_be_repeated(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe_ask(&probe, 1);
		probe.up->ops->cancel(probe.up);
		probe.up->ops->cancel(probe.up);
		run();
		assert_int_equal(probe.ended, 0);
	}
}

static void rule_3_6_after_a_cancel_requests_do_nothing(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe.up->ops->cancel(probe.up);
		probe_ask(&probe, 5);
		probe_ask(&probe, 0);
		run();
		assert_int_equal(probe.got, 0);
		assert_int_equal(probe.ended, 0);
	}
}

static void rule_3_7_after_a_cancel_cancels_do_nothing(void)
{
	probe_start(&probe, weir_stream_map(speak(), as_it_is, NULL, NULL));
	probe.up->ops->cancel(probe.up);
	probe.up->ops->cancel(probe.up);
	assert_int_equal(voice.cancels, 1);
	end_arena();
}

static void rule_3_8_requests_add_up(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe_ask(&probe, 1);
		probe_ask(&probe, 1);
		run();
		assert_int_equal(probe.got, 2);
	}
}

static void rule_3_9_a_request_for_nothing_is_an_error(void)
{
	for (int64_t n = -1; n <= 0; n++) {
		for_each_publisher(stream, false) {
			if (i_ == 0)
				continue;	/* the test's own */
			probe_start(&probe, stream);
			probe_ask(&probe, n);
			assert_int_equal(probe.ended, 1);
			assert_int_equal(probe.error, -EINVAL);
		}
	}
}

static void rule_3_10_items_may_come_in_request(void)
{
	struct weir_stream *stream = speak();

	voice.answers = true;
	probe_start(&probe, weir_stream_filter(stream, anything, NULL));
	probe_ask(&probe, 2);
	assert_int_equal(probe.got, 2);
	probe.up->ops->cancel(probe.up);
	end_arena();
}

static void rule_3_11_the_end_may_come_in_request(void)
{
	struct weir_stream *stream = speak();

	voice.ends_at_once = true;
	probe_start(&probe, weir_stream_filter(stream, anything, NULL));
	probe_ask(&probe, 2);
	assert_int_equal(probe.ended, 1);
	end_arena();
}

static void rule_3_12_a_cancel_reaches_the_source(void)
{
	struct weir_stream *stream =
		weir_stream_skip(weir_stream_take(weir_stream_filter(speak(), anything, NULL), 9),
				 1);

	probe_start(&probe, weir_stream_buffer(stream, 3, WEIR_NEVER, 1));
	probe.up->ops->cancel(probe.up);
	assert_int_equal(voice.cancels, 1);
	end_arena();
}

/* Whoever was cancelled may be freed at once: the sanitizers watch. */
static void rule_3_13_after_a_cancel_the_subscriber_is_forgotten(void)
{
	for_each_publisher(stream, false) {
		struct probe *mine = malloc(sizeof(*mine));

		probe = (struct probe){ 0 };
		probe_start(mine, stream);
		probe_ask(mine, 1);
		mine->up->ops->cancel(mine->up);
		memset(mine, 0xff, sizeof(*mine));
		free(mine);
	}
}

static void rule_3_14_with_the_last_subscriber_a_publisher_may_stop(void)
{
	probe_start(&probe, weir_stream_share(speak(), WEIR_SHARE_REF_COUNT, 2, 0, NULL));
	probe.up->ops->cancel(probe.up);
	assert_int_equal(voice.cancels, 1);
	end_arena();
}

static void rule_3_15_a_cancel_returns_normally_in_any_state(void)
{
	for_each_publisher(stream, true) {
		probe_start(&probe, stream);
		probe_ask(&probe, 9);
		run();
		probe.up->ops->cancel(probe.up);
		assert_int_equal(probe.ended, 1);
	}
}

static void rule_3_16_a_request_returns_normally_in_any_state(void)
{
	for_each_publisher(stream, true) {
		probe_start(&probe, stream);
		probe_ask(&probe, 9);
		run();
		probe.up->ops->request(probe.up, INT64_MIN);
		probe.up->ops->request(probe.up, INT64_MAX);
		assert_int_equal(probe.ended, 1);
	}
}

static void rule_3_17_demand_without_bound_stays_so(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe_ask(&probe, INT64_MAX);
		probe_ask(&probe, INT64_MAX);
		probe_ask(&probe, 1);
		run();
		assert_int_equal(probe.got, 3);
		assert_int_equal(probe.ended, 1);
		assert_int_equal(probe.error, 0);
	}
}

/* --- 4: processors --- */

static void rule_4_1_an_operator_keeps_the_rules_of_both_sides(void)
{
	struct weir_stream *stream = weir_stream_limit_rate(speak(), 2, 1);

	probe_start(&probe, stream);
	assert_int_equal(voice.subscribed, 1);
	assert_int_equal(voice.asked, 2);
	say('a');
	say('b');
	assert_int_equal(probe.got, 0);
	probe_ask(&probe, 1);
	assert_int_equal(probe.got, 1);
	say('c');
	say('d');	/* one more than it asked for */
	assert_int_equal(probe.error, -EPROTO);
	assert_int_equal(voice.cancels, 1);
	assert_int_equal(made, freed);
	end_arena();
}

static void rule_4_2_an_operator_may_recover_else_the_error_goes_on(void)
{
	new_arena();
	expect(weir_stream_on_error_resume(cold("a#"), cold("b|")), "ab|");
	expect(weir_stream_retry(cold("a#"), 1), "aa#");
	expect(weir_stream_map(cold("a#"), as_it_is, NULL, count_drop), "a#");
	end_arena();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(rule_3_1_a_subscription_belongs_to_its_subscriber),
		on_worker(rule_3_2_request_may_be_called_in_next),
		on_worker(rule_3_3_the_stack_does_not_grow_with_requests),
		on_worker(rule_3_4_a_request_returns_soon),
		on_worker(rule_3_5_a_cancel_returns_soon_and_may_be_repeated),
		on_worker(rule_3_6_after_a_cancel_requests_do_nothing),
		on_worker(rule_3_7_after_a_cancel_cancels_do_nothing),
		on_worker(rule_3_8_requests_add_up),
		on_worker(rule_3_9_a_request_for_nothing_is_an_error),
		on_worker(rule_3_10_items_may_come_in_request),
		on_worker(rule_3_11_the_end_may_come_in_request),
		on_worker(rule_3_12_a_cancel_reaches_the_source),
		on_worker(rule_3_13_after_a_cancel_the_subscriber_is_forgotten),
		on_worker(rule_3_14_with_the_last_subscriber_a_publisher_may_stop),
		on_worker(rule_3_15_a_cancel_returns_normally_in_any_state),
		on_worker(rule_3_16_a_request_returns_normally_in_any_state),
		on_worker(rule_3_17_demand_without_bound_stays_so),
		on_worker(rule_4_1_an_operator_keeps_the_rules_of_both_sides),
		on_worker(rule_4_2_an_operator_may_recover_else_the_error_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
