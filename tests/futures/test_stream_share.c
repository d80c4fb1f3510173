/* SPDX-License-Identifier: MIT */
/*
 * test_stream_share.c - one stream for several, many items as one, and streams of coroutines.
 */
#include "marbles.h"

#include "futures/weir_chan.h"

static struct recorder a, b;

static void keep_item(struct weir_item item)
{
	(void)item;
	made++;
}

static void check_counts(void)
{
	assert_int_equal(made, freed);
}

/* --- share --- */

static void a_shared_stream_is_subscribed_to_once(void)
{
	struct weir_stream *shared;

	new_arena();
	shared = weir_stream_share(cold("a-b-c|"), WEIR_SHARE_REF_COUNT, 2, 0, keep_item);
	recorder_start(&a, shared, WEIR_UNBOUNDED);
	weir_sleep(FRAME);
	recorder_start(&b, shared, WEIR_UNBOUNDED);
	weir_sleep(9 * FRAME);
	assert_string_equal(drawn(&a), "a-b-c|");
	assert_string_equal(drawn(&b), "-b-c|");
	assert_int_equal(marble_subscriptions, 1);
	check_counts();
	end_arena();
}

static void the_slowest_sets_the_pace(void)
{
	struct weir_stream *shared;

	new_arena();
	shared = weir_stream_share(cold("(abcd)|"), WEIR_SHARE_REF_COUNT, 2, 0, keep_item);
	recorder_start(&a, shared, WEIR_UNBOUNDED);
	recorder_start(&b, shared, 0);
	weir_sleep(2 * FRAME);
	assert_int_equal(a.got, 1);	/* asked for before there was another */
	recorder_ask(&b, 2);
	weir_sleep(2 * FRAME);
	assert_int_equal(a.got, 3);
	b.up->ops->cancel(b.up);	/* nobody holds it up any more */
	weir_sleep(2 * FRAME);
	assert_int_equal(a.got, 4);
	assert_true(a.ended);
	check_counts();
	end_arena();
}

static void with_the_last_subscriber_the_source_is_cancelled_and_comes_back(void)
{
	struct weir_stream *shared;

	new_arena();
	shared = weir_stream_share(cold("a-b-c|"), WEIR_SHARE_REF_COUNT, 2, 0, keep_item);
	recorder_start(&a, shared, WEIR_UNBOUNDED);
	weir_sleep(FRAME);
	a.up->ops->cancel(a.up);
	assert_int_equal(marble_cancels, 1);
	recorder_start(&a, shared, WEIR_UNBOUNDED);
	weir_sleep(9 * FRAME);
	assert_string_equal(drawn(&a), "a-b-c|");
	assert_int_equal(marble_subscriptions, 2);
	check_counts();
	end_arena();
}

static void a_published_stream_waits_to_be_connected(void)
{
	struct weir_stream *shared;

	new_arena();
	shared = weir_stream_share(cold("a-b|"), WEIR_SHARE_PUBLISH, 1, 0, keep_item);
	recorder_start(&a, shared, WEIR_UNBOUNDED);
	recorder_start(&b, shared, WEIR_UNBOUNDED);	/* one too many */
	assert_int_equal(b.error, -ENOBUFS);
	weir_sleep(2 * FRAME);
	assert_int_equal(weir_stream_connect(shared), 0);
	assert_int_equal(weir_stream_connect(shared), -EALREADY);
	weir_sleep(9 * FRAME);
	assert_string_equal(drawn(&a), "--a-b|");
	assert_int_equal(weir_stream_connect(shared), -EALREADY);
	assert_int_equal(weir_stream_connect(cold("a|")), -EINVAL);
	check_counts();
	end_arena();
}

static void who_comes_late_is_sent_what_was_kept(void)
{
	struct weir_stream *shared;

	new_arena();
	shared = weir_stream_share(cold("abcd-e|"), WEIR_SHARE_REF_COUNT, 3, 2, keep_item);
	recorder_start(&a, shared, WEIR_UNBOUNDED);
	weir_sleep(4 * FRAME + FRAME / 2);
	recorder_start(&b, shared, WEIR_UNBOUNDED);
	weir_sleep(9 * FRAME);
	assert_string_equal(drawn(&a), "abcd-e|");
	assert_string_equal(drawn(&b), "(cde)|");	/* from the middle of a frame on */
	recorder_start(&b, shared, 1);
	assert_int_equal(b.got, 1);
	assert_false(b.ended);
	recorder_ask(&b, 5);
	assert_string_equal(drawn(&b), "(de|)");
	end_arena();
	check_counts();		/* what was kept went with the arena */
}

/* --- subjects --- */

static void a_subject_sends_to_all_who_are_there_and_want(void)
{
	const struct weir_subject_opts opts = { .drop = count_drop, .keep = keep_item,
						.subscribers_max = 2 };
	struct weir_subject *subject;

	new_arena();
	subject = weir_subject_create(arena, &opts);
	made++;
	assert_int_equal(weir_subject_push(subject, weir_item_number('x')), 0);
	recorder_start(&a, weir_subject_stream(subject), WEIR_UNBOUNDED);
	recorder_start(&b, weir_subject_stream(subject), 1);
	assert_int_equal(weir_subject_count(subject), 2);
	made += 2;
	assert_int_equal(weir_subject_push(subject, weir_item_number('a')), 2);
	assert_int_equal(weir_subject_push(subject, weir_item_number('b')), 1);
	weir_subject_end(subject, -EIO);
	assert_int_equal(weir_subject_push(subject, weir_item_number('c')), -EPIPE);
	assert_string_equal(drawn(&a), "(ab#)");
	assert_string_equal(drawn(&b), "(a#)");
	recorder_start(&b, weir_subject_stream(subject), 1);
	assert_string_equal(drawn(&b), "#");
	check_counts();
	end_arena();
}

/* --- buffer --- */

static const char *batches_of(struct weir_stream *stream)
{
	static char text[200];
	static struct weir_item items[20];
	ssize_t n = weir_await(weir_stream_collect(stream, items, 20), WEIR_NEVER, NULL);
	char *to = text;

	assert_true(n >= 0);
	for (ssize_t i = 0; i < n; i++) {
		const struct weir_batch *batch = items[i].ptr;

		for (unsigned k = 0; k < batch->count; k++)
			*to++ = (char)batch->items[k].number;
		*to++ = '.';
	}
	*to = '\0';
	for (ssize_t i = 0; i < n; i++)
		stream->drop(items[i]);
	return text;
}

static void a_buffer_is_sent_when_full_in_time_or_at_the_end(void)
{
	new_arena();
	assert_string_equal(batches_of(weir_stream_buffer(cold("abcde|"), 2, WEIR_NEVER, 4)),
			    "ab.cd.e.");
	check_counts();
	turns(2);
	new_arena();
	assert_string_equal(batches_of(weir_stream_buffer(cold("ab---cde--|"), 9,
							  3 * FRAME + FRAME / 2, 4)),
			    "ab.cde.");
	turns(2);
	new_arena();
	assert_string_equal(batches_of(weir_stream_buffer(cold("|"), 2, WEIR_NEVER, 4)), "");
	turns(2);
}

/* All batches are out: nothing is asked for until one is back. */
static void no_more_batches_are_filled_than_there_are(void)
{
	struct weir_stream *buffer;

	new_arena();
	buffer = weir_stream_buffer(cold("(abcdefgh)|"), 2, WEIR_NEVER, 2);
	recorder_start(&a, buffer, 0);
	a.up->ops->request(a.up, 1);
	a.demand = 1;
	weir_sleep(2 * FRAME);
	assert_int_equal(a.got, 1);	/* the recorder drops it: that batch is filled again */
	assert_true(made <= 6);
	a.up->ops->cancel(a.up);
	check_counts();
	end_arena();
}

/* --- lines --- */

static char line_text[200];
static unsigned bytes_freed;

static int gather_line(struct weir_item item, void *arg)
{
	(void)arg;
	assert_int_equal(strlen(item.text), item.size);
	strcat(strcat(line_text, item.text), ".");
	return 0;
}

static void count_bytes(struct weir_item item)
{
	bytes_freed += (unsigned)item.size;
}

/* text in pieces of size bytes each. */
static struct weir_stream *bytes(const char *text, size_t size)
{
	size_t left = strlen(text), count = 0;
	struct weir_item *items = weir_arena_alloc(arena, (left + 1) * sizeof(*items));
	struct weir_stream *stream;

	for (; left; count++) {
		size_t part = left < size ? left : size;

		items[count] = weir_item_ptr((void *)(uintptr_t)text, part);
		text += part;
		left -= part;
	}
	stream = weir_stream_array(arena, items, count);
	stream->drop = count_bytes;
	bytes_freed = 0;
	return stream;
}

static ssize_t lines_in(const char *text, size_t size, size_t size_max)
{
	ssize_t n;

	new_arena();
	line_text[0] = '\0';
	n = weir_await(weir_stream_for_each(weir_stream_lines(bytes(text, size), size_max, 1),
					    gather_line, NULL),
		       WEIR_NEVER, NULL);
	turns(2);
	return n;
}

static void bytes_cut_anywhere_become_lines(void)
{
	const char *text = "one\n\nthree\nfour";

	for (size_t size = 1; size <= strlen(text); size++) {
		assert_int_equal(lines_in(text, size, 5), 4);
		assert_string_equal(line_text, "one..three.four.");
		assert_int_equal(bytes_freed, strlen(text));
	}
	assert_int_equal(lines_in("a\nb\n", 3, 5), 2);
	assert_int_equal(lines_in("", 3, 5), 0);
	for (size_t size = 1; size <= 9; size++) {
		assert_int_equal(lines_in("ab\nabcdef", size, 5), -EMSGSIZE);
		assert_string_equal(line_text, "ab.");
	}
}

static void lines_are_made_when_they_are_asked_for(void)
{
	struct weir_stream *stream;

	new_arena();
	stream = weir_stream_lines(bytes("a\nb\nc\nd\n", 4), 5, 4);
	recorder_start(&a, stream, 0);
	turns(3);
	assert_int_equal(bytes_freed, 0);
	recorder_ask(&a, 1);
	turns(3);
	assert_int_equal(a.got, 1);
	recorder_ask(&a, 1);
	turns(3);
	assert_int_equal(a.got, 2);
	assert_int_equal(bytes_freed, 4);
	recorder_ask(&a, 1);
	turns(3);
	a.up->ops->cancel(a.up);
	assert_int_equal(bytes_freed, 8);	/* the one that was being looked at too */
	turns(2);
	end_arena();
}

/* --- coroutines --- */

static int emits(struct weir_emitter *emitter, void *arg)
{
	int r = 0;

	for (int i = 0; i < 3 && !r; i++) {
		made++;
		r = weir_emit(emitter, weir_item_number('a' + i));
		if (r < 0)
			freed++;
		else
			r = weir_sleep(2 * FRAME);
	}
	if (r < 0 && arg)
		*(int *)arg = r;
	return r;
}

static void a_coroutine_emits_when_it_is_asked(void)
{
	int ended = 0;

	new_arena();
	expect(weir_stream_generate(arena, emits, NULL, count_drop), "a-b-c-|");
	expect(weir_stream_take(weir_stream_generate(arena, emits, &ended, count_drop), 2),
	       "a-(b|)");
	assert_int_equal(ended, -ECANCELED);
	assert_string_equal(watched(weir_stream_generate(arena, emits, NULL, count_drop), 1, 9),
			    "a");
	check_counts();
	end_arena();
}

static int slowly(struct weir_item item, void *arg)
{
	char **to = arg;

	*(*to)++ = (char)item.number;
	return item.number == 'x' ? -EIO : weir_sleep(2 * FRAME);
}

static void each_takes_items_in_a_coroutine(void)
{
	char text[20] = "", *to = text;

	new_arena();
	assert_int_equal(weir_await(weir_stream_each(cold("(abcde)|"), 2, slowly, &to), WEIR_NEVER,
				    NULL),
			 5);
	assert_string_equal(text, "abcde");
	check_counts();
	turns(2);
	new_arena();
	assert_int_equal(weir_await(weir_stream_each(cold("(abxde)|"), 2, slowly, &to), WEIR_NEVER,
				    NULL),
			 -EIO);
	check_counts();
	turns(2);
	new_arena();
	assert_int_equal(weir_await(weir_stream_each(cold("(abcd)|"), 2, slowly, &to),
				    weir_in(3 * FRAME), NULL),
			 -ETIMEDOUT);
	check_counts();
	turns(2);
}

static struct weir_chan *make_chan(unsigned capacity)
{
	const struct weir_chan_opts opts = { .item_size = sizeof(struct weir_item),
					     .capacity = capacity };
	struct weir_chan *chan;

	assert_int_equal(weir_chan_create(&opts, &chan), 0);
	return chan;
}

/* Through a channel of one place, and back into a stream. */
static void a_channel_is_a_stream_and_a_stream_fills_a_channel(void)
{
	struct weir_chan *chan = make_chan(1);
	struct weir_future *sent;

	new_arena();
	sent = weir_stream_to_chan(cold("(abcdef)|"), chan, true);
	assert_int_equal(weir_arena_create(NULL, &arena), 0);
	assert_string_equal(watched(weir_stream_chan(arena, chan, count_drop), 4, 5), "(abcd)");
	expect(weir_stream_chan(arena, chan, count_drop), "(ef|)");
	assert_int_equal(weir_await(sent, WEIR_NEVER, NULL), 6);
	end_arena();
	assert_int_equal(weir_chan_destroy(chan), 0);
}

static void the_end_of_a_channel_is_an_error_to_who_fills_it(void)
{
	struct weir_chan *chan = make_chan(1);
	struct weir_future *sent;

	new_arena();
	sent = weir_stream_to_chan(cold("a-b-c|"), chan, false);
	weir_sleep(FRAME);
	weir_chan_hang_up(chan);
	assert_int_equal(weir_await(sent, WEIR_NEVER, NULL), -EPIPE);
	assert_int_equal(weir_chan_destroy(chan), 0);
	turns(2);
}

/* --- terminal operations --- */

static bool is_b(struct weir_item item, void *arg)
{
	(void)arg;
	return item.number == 'b';
}

static ssize_t of(struct weir_future *future)
{
	ssize_t res = weir_await(future, WEIR_NEVER, NULL);

	check_counts();
	turns(2);
	return res;
}

static int longest(struct weir_item *acc, struct weir_item item, void *arg)
{
	(void)arg;
	if (item.number > acc->number)
		*acc = item;
	return item.number == 'x' ? -EIO : 0;
}

static int look(struct weir_item item, void *arg)
{
	(void)arg;
	return item.number == 'x' ? -EIO : 0;
}

static void terminal_operations_say_how_it_went(void)
{
	struct weir_item item = weir_item_number(0), items[3];

	new_arena();
	assert_int_equal(of(weir_stream_count(cold("a-b-c|"))), 3);
	new_arena();
	assert_int_equal(of(weir_stream_count(cold("a-#"))), -EIO);
	new_arena();
	assert_int_equal(of(weir_stream_for_each(cold("a-b|"), look, NULL)), 2);
	new_arena();
	assert_int_equal(of(weir_stream_for_each(cold("a-x-b|"), look, NULL)), -EIO);
	new_arena();
	assert_int_equal(of(weir_stream_reduce(cold("acb|"), &item, longest, NULL)), 3);
	assert_int_equal(item.number, 'c');
	new_arena();
	assert_int_equal(of(weir_stream_reduce(cold("axb|"), &item, longest, NULL)), -EIO);
	new_arena();
	assert_int_equal(of(weir_stream_all(cold("bbab|"), is_b, NULL)), 0);
	new_arena();
	assert_int_equal(of(weir_stream_all(cold("bb|"), is_b, NULL)), 1);
	new_arena();
	assert_int_equal(of(weir_stream_any(cold("aaba|"), is_b, NULL)), 1);
	new_arena();
	assert_int_equal(of(weir_stream_any(cold("|"), is_b, NULL)), 0);
	new_arena();
	assert_int_equal(weir_await(weir_stream_first(cold("ab|"), &item), WEIR_NEVER, NULL), 1);
	assert_int_equal(item.number, 'a');
	freed++;	/* ours */
	turns(2);
	new_arena();
	assert_int_equal(of(weir_stream_first(cold("|"), &item)), 0);
	new_arena();
	assert_int_equal(weir_await(weir_stream_last(cold("abc|"), &item), WEIR_NEVER, NULL), 1);
	assert_int_equal(item.number, 'c');
	freed++;
	turns(2);
	new_arena();
	assert_int_equal(of(weir_stream_last(cold("abc#"), &item)), -EIO);
	new_arena();
	assert_int_equal(weir_await(weir_stream_collect(cold("abc|"), items, 3), WEIR_NEVER, NULL),
			 3);
	assert_int_equal(items[2].number, 'c');
	turns(2);
	new_arena();
	assert_int_equal(weir_await(weir_stream_collect(cold("abcd|"), items, 3), WEIR_NEVER, NULL),
			 -ENOBUFS);
	turns(2);
}

static void a_cancelled_future_ends_its_pipeline(void)
{
	struct weir_future *future;

	new_arena();
	future = weir_stream_count(weir_stream_map(cold("a-b-"), NULL, NULL, NULL));
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EINVAL);
	turns(2);
	new_arena();
	future = weir_stream_count(weir_stream_filter(cold("a-b-"), is_b, NULL));
	weir_sleep(FRAME);
	weir_future_cancel(future);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(marble_cancels, 1);
	check_counts();
	turns(2);
}

static void an_arena_that_is_too_small_is_the_pipelines_result(void)
{
	const struct weir_arena_opts opts = { .size = 300 };
	struct weir_arena_info levels;
	struct weir_stream *stream;

	assert_int_equal(weir_arena_create(&opts, &arena), 0);
	stream = weir_stream_range(arena, 0, 10);
	for (int i = 0; i < 4; i++)
		stream = weir_stream_take(stream, 5);
	assert_int_equal(weir_arena_error(arena), -ENOBUFS);
	weir_arena_info(arena, &levels);
	assert_true(levels.needed > levels.size);
	assert_int_equal(weir_await(weir_stream_count(stream), WEIR_NEVER, NULL), -ENOBUFS);
	turns(2);
}

static int count_stage(const struct weir_stage_info *stage, void *arg)
{
	unsigned *seen = arg;

	if (!strcmp(stage->name, "range")) {
		assert_int_equal(stage->demand, 0);
		assert_int_equal(stage->items, 3);
		assert_string_equal(stage->state, "active");
	} else if (!strcmp(stage->name, "limit_rate")) {
		assert_int_equal(stage->buffered, 2);
		assert_int_equal(stage->items, 1);
	} else {
		assert_string_equal(stage->name, "map");
		assert_int_equal(stage->demand, -1);
	}
	(*seen)++;
	return 0;
}

static int same(struct weir_item *item, void *arg)
{
	(void)item;
	(void)arg;
	return 0;
}

static void a_listing_shows_each_stage(void)
{
	struct weir_stream *stream;
	unsigned seen = 0;

	new_arena();
	stream = weir_stream_limit_rate(weir_stream_range(arena, 0, 10), 3, 1);
	recorder_start(&a, weir_stream_map(stream, same, NULL, NULL), 1);
	turns(3);
	assert_int_equal(weir_arena_list(arena, count_stage, &seen), 0);
	assert_int_equal(seen, 3);
	a.up->ops->cancel(a.up);
	end_arena();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(a_shared_stream_is_subscribed_to_once),
		on_worker(the_slowest_sets_the_pace),
		on_worker(with_the_last_subscriber_the_source_is_cancelled_and_comes_back),
		on_worker(a_published_stream_waits_to_be_connected),
		on_worker(who_comes_late_is_sent_what_was_kept),
		on_worker(a_subject_sends_to_all_who_are_there_and_want),
		on_worker(a_buffer_is_sent_when_full_in_time_or_at_the_end),
		on_worker(no_more_batches_are_filled_than_there_are),
		on_worker(bytes_cut_anywhere_become_lines),
		on_worker(lines_are_made_when_they_are_asked_for),
		on_worker(a_coroutine_emits_when_it_is_asked),
		on_worker(each_takes_items_in_a_coroutine),
		on_worker(a_channel_is_a_stream_and_a_stream_fills_a_channel),
		on_worker(the_end_of_a_channel_is_an_error_to_who_fills_it),
		on_worker(terminal_operations_say_how_it_went),
		on_worker(a_cancelled_future_ends_its_pipeline),
		on_worker(an_arena_that_is_too_small_is_the_pipelines_result),
		on_worker(a_listing_shows_each_stage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
