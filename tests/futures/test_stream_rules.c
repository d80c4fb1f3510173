/* SPDX-License-Identifier: MIT */
/*
 * test_stream_rules.c - the rules of Reactive Streams 1.0.4 (reactive-streams.org) for publishers
 * (1) and subscribers (2), one test each, with our wording. What is a publisher here (sources, and
 * every operator over one) goes through the rules in one table; what is a subscriber (operators and
 * terminal operations) is fed by a publisher that says whatever the test wants. The others are in
 * test_stream_subscriptions.c.
 */
#include "stream_rules.h"

/* --- 1: publishers --- */

static void rule_1_1_no_more_items_than_were_asked_for(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		run();
		assert_int_equal(probe.got, 0);
		probe_ask(&probe, 1);
		run();
		assert_int_equal(probe.got, 1);
		probe_ask(&probe, 1);
		run();
		assert_int_equal(probe.got, 2);
		assert_int_equal(probe.too_many, 0);
	}
}

static void rule_1_2_fewer_may_come_and_then_the_end(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe_ask(&probe, 100);
		run();
		assert_int_equal(probe.got, 3);
		assert_int_equal(probe.ended, 1);
	}
}

static void rule_1_3_signals_come_one_after_the_other(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe.asks_inside = true;
		probe_ask(&probe, 1);
		run();
		assert_int_equal(probe.got, 3);
		assert_int_equal(probe.overlaps, 0);
	}
}

static void rule_1_4_a_failure_is_told(void)
{
	for_each_publisher(stream, true) {
		probe_start(&probe, stream);
		probe_ask(&probe, 100);
		run();
		assert_int_equal(probe.ended, 1);
		assert_int_equal(probe.error, -EIO);
	}
}

static void rule_1_5_the_end_is_told(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe_ask(&probe, 3);
		run();
		assert_int_equal(probe.ended, 1);
		assert_int_equal(probe.error, 0);
	}
}

static void rule_1_6_after_the_end_the_subscription_is_void(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe_ask(&probe, 100);
		run();
		probe_ask(&probe, 5);
		probe_ask(&probe, -1);
		probe.up->ops->cancel(probe.up);
		run();
		assert_int_equal(probe.got, 3);
		assert_int_equal(probe.ended, 1);
	}
}

static void rule_1_7_nothing_comes_after_the_end(void)
{
	for_each_publisher(stream, true) {
		probe_start(&probe, stream);
		probe.asks_inside = true;
		probe_ask(&probe, 1);
		run();
		assert_int_equal(probe.after, 0);
		assert_int_equal(probe.ended, 1);
	}
}

static void rule_1_8_after_a_cancel_signals_stop(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe.cancels_inside = true;
		probe_ask(&probe, 100);
		run();
		assert_int_equal(probe.got, 1);
		assert_int_equal(probe.ended, 0);
	}
}

static void rule_1_9_subscribed_comes_first_and_nobody_is_refused_otherwise(void)
{
	for_each_publisher(stream, false) {
		assert_int_equal(weir_stream_subscribe(stream, NULL), -EINVAL);
		probe_start(&probe, stream);
		assert_int_equal(probe.subscribed, 1);
	}
	assert_int_equal(weir_stream_subscribe(NULL, &probe.in), -EINVAL);
	new_arena();
	weir_stream_error(arena, 1);	/* no error: the arena is broken */
	probe_start(&probe, weir_stream_map(weir_stream_error(arena, 1), as_it_is, NULL, NULL));
	assert_int_equal(probe.subscribed, 1);
	assert_int_equal(probe.error, -EINVAL);
	assert_int_equal(weir_arena_destroy(arena), 0);
}

static void rule_1_10_a_second_subscriber_is_refused_by_ended(void)
{
	static struct probe second;

	for_each_publisher(stream, false) {
		if (i_ == 0 || publishers[i_] == a_share)
			continue;	/* the test's own; several are welcome */
		probe_start(&probe, stream);
		probe_start(&second, stream);
		assert_int_equal(second.subscribed, 1);
		assert_int_equal(second.ended, 1);
		assert_int_equal(second.error, -EBUSY);
		probe_ask(&probe, 100);
		run();
		assert_int_equal(probe.got, 3);
	}
}

static void rule_1_11_several_subscribers_where_that_is_promised(void)
{
	static struct probe second;
	struct weir_stream *shared;

	new_arena();
	shared = a_share(false);
	probe_start(&probe, shared);
	probe_start(&second, shared);
	probe_ask(&probe, 9);
	probe_ask(&second, 9);
	run();
	assert_int_equal(probe.got, 3);
	assert_int_equal(second.got, 3);
	end_arena();
}

/* --- 2: subscribers --- */

static void rule_2_1_a_subscriber_asks(void)
{
	struct weir_item item;
	struct weir_future *future = weir_stream_first(speak(), &item);

	assert_int_equal(voice.asked, 1);
	say_end(0);
	assert_int_equal(result(future), 0);
	future = weir_stream_for_each(speak(), nothing, NULL);
	assert_int_equal(voice.asked, WEIR_UNBOUNDED);
	say_end(0);
	assert_int_equal(result(future), 0);
	future = weir_stream_each(speak(), 3, nothing, NULL);
	assert_int_equal(voice.asked, 3);
	say_end(0);
	assert_int_equal(result(future), 0);
}

static int takes_long(struct weir_item item, void *arg)
{
	return weir_sleep(WEIR_S);
}

/* What takes long does so in a coroutine of its own. */
static void rule_2_2_a_subscriber_does_not_hold_up_the_publisher(void)
{
	struct weir_future *future = weir_stream_each(speak(), 3, takes_long, NULL);
	int64_t begin_ns = weir_now();

	say('a');
	say('b');
	assert_true(weir_now() == begin_ns);
	say_end(0);
	assert_int_equal(result(future), 2);
	assert_true(weir_now() - begin_ns >= 2 * WEIR_S);
}

static void rule_2_3_the_subscription_is_not_called_in_ended(void)
{
	struct weir_future *future = weir_stream_count(
		weir_stream_map(weir_stream_filter(speak(), anything, NULL), as_it_is, NULL, NULL));

	say('a');
	say_end(0);
	assert_int_equal(voice.calls_inside, 0);
	assert_int_equal(result(future), 1);
	future = weir_stream_count(weir_stream_buffer(speak(), 2, WEIR_NEVER, 1));
	say('a');
	say_end(-EIO);
	assert_int_equal(voice.calls_inside, 0);
	assert_int_equal(result(future), -EIO);
}

static void rule_2_4_after_the_end_the_subscription_counts_as_cancelled(void)
{
	struct weir_future *future = weir_stream_count(weir_stream_take(speak(), 9));

	say_end(0);
	assert_int_equal(result(future), 0);
	assert_int_equal(voice.cancels, 0);
}

static unsigned other_cancels;

static void other_cancel(struct weir_subscription *out)
{
	other_cancels++;
}

static void rule_2_5_a_second_subscription_is_cancelled(void)
{
	static const struct weir_subscription_ops ops = { voice_request, other_cancel };
	struct weir_subscription other = { &ops };
	struct weir_future *future = weir_stream_count(speak());

	other_cancels = 0;
	voice.down->ops->subscribed(voice.down, &other);
	assert_int_equal(other_cancels, 1);
	say('a');	/* the first one goes on */
	say_end(0);
	assert_int_equal(result(future), 1);
	future = weir_stream_count(weir_stream_map(speak(), as_it_is, NULL, NULL));
	voice.down->ops->subscribed(voice.down, &other);
	assert_int_equal(other_cancels, 2);
	say_end(0);
	assert_int_equal(result(future), 0);
}

static void rule_2_6_what_is_not_needed_any_more_is_cancelled(void)
{
	struct weir_item item;
	struct weir_future *future = weir_stream_first(speak(), &item);

	say('a');
	assert_int_equal(voice.cancels, 1);
	assert_int_equal(result(future), 1);
}

/* Everything of a pipeline is on one worker; who is elsewhere is refused. */
static void rule_2_7_request_and_cancel_are_called_by_one_thread(void)
{
	struct weir_stream *stream = weir_stream_map(speak(), as_it_is, NULL, NULL);
	struct weir_worker *home = arena->home;

	arena->home = NULL;
	probe_start(&probe, stream);
	arena->home = home;
	assert_int_equal(probe.error, -EPROTO);
	assert_int_equal(voice.subscribed, 0);
	assert_int_equal(weir_arena_destroy(arena), 0);
}

static void rule_2_8_items_that_come_after_a_cancel_are_taken_and_dropped(void)
{
	struct weir_item item;
	struct weir_future *future =
		weir_stream_first(weir_stream_map(speak(), as_it_is, NULL, drop_nothing), &item);

	say('a');
	freed++;	/* ours */
	say('b');
	say('c');
	assert_int_equal(made, freed);
	assert_int_equal(result(future), 1);
	assert_int_equal(item.number, 'a');
}

static void rule_2_9_the_end_may_come_without_demand(void)
{
	probe_start(&probe, weir_stream_map(speak(), as_it_is, NULL, NULL));
	say_end(0);
	assert_int_equal(probe.ended, 1);
	assert_int_equal(probe.error, 0);
	end_arena();
}

static void rule_2_10_an_error_may_come_without_demand(void)
{
	probe_start(&probe, weir_stream_take(speak(), 5));
	say_end(-EIO);
	assert_int_equal(probe.error, -EIO);
	end_arena();
}

/* Signals that come within subscribe() and request() find a subscriber that is ready. */
static void rule_2_11_a_subscriber_is_ready_for_signals_when_it_has_asked(void)
{
	struct weir_stream *stream = speak();
	struct weir_item items[3];

	voice.answers = voice.ends_at_once = true;
	assert_int_equal(result(weir_stream_collect(weir_stream_map(stream, as_it_is, NULL, NULL),
						    items, 3)),
			 3);
	assert_int_equal(items[2].number, 'c');
}

static void rule_2_12_subscribed_is_called_once(void)
{
	for_each_publisher(stream, false) {
		probe_start(&probe, stream);
		probe_ask(&probe, 100);
		run();
		assert_int_equal(probe.subscribed, 1);
	}
}

static void rule_2_13_signals_return_normally_whatever_they_bring(void)
{
	struct weir_future *future = weir_stream_count(weir_stream_scan(
		weir_stream_distinct_until_changed(speak(), NULL, NULL), weir_item_number(0), fold,
		NULL));

	say(INT64_MIN);
	say(0);
	say(INT64_MAX);
	say_end(-EPERM);
	assert_int_equal(result(future), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(rule_1_1_no_more_items_than_were_asked_for),
		on_worker(rule_1_2_fewer_may_come_and_then_the_end),
		on_worker(rule_1_3_signals_come_one_after_the_other),
		on_worker(rule_1_4_a_failure_is_told),
		on_worker(rule_1_5_the_end_is_told),
		on_worker(rule_1_6_after_the_end_the_subscription_is_void),
		on_worker(rule_1_7_nothing_comes_after_the_end),
		on_worker(rule_1_8_after_a_cancel_signals_stop),
		on_worker(rule_1_9_subscribed_comes_first_and_nobody_is_refused_otherwise),
		on_worker(rule_1_10_a_second_subscriber_is_refused_by_ended),
		on_worker(rule_1_11_several_subscribers_where_that_is_promised),
		on_worker(rule_2_1_a_subscriber_asks),
		on_worker(rule_2_2_a_subscriber_does_not_hold_up_the_publisher),
		on_worker(rule_2_3_the_subscription_is_not_called_in_ended),
		on_worker(rule_2_4_after_the_end_the_subscription_counts_as_cancelled),
		on_worker(rule_2_5_a_second_subscription_is_cancelled),
		on_worker(rule_2_6_what_is_not_needed_any_more_is_cancelled),
		on_worker(rule_2_7_request_and_cancel_are_called_by_one_thread),
		on_worker(rule_2_8_items_that_come_after_a_cancel_are_taken_and_dropped),
		on_worker(rule_2_9_the_end_may_come_without_demand),
		on_worker(rule_2_10_an_error_may_come_without_demand),
		on_worker(rule_2_11_a_subscriber_is_ready_for_signals_when_it_has_asked),
		on_worker(rule_2_12_subscribed_is_called_once),
		on_worker(rule_2_13_signals_return_normally_whatever_they_bring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
