/* SPDX-License-Identifier: MIT */
/*
 * test_select.c - weir_select(): exactly one case is carried out, whoever comes first, and the
 * others have done nothing.
 */
#include "on_worker.h"

#include "core/weir_credit.h"
#include "futures/weir_chan.h"

static struct weir_chan *queue(unsigned capacity)
{
	struct weir_chan *chan;

	assert_int_equal(weir_chan_create(&(struct weir_chan_opts){ .item_size = sizeof(int),
								    .capacity = capacity },
					  &chan),
			 0);
	return chan;
}

static int send(struct weir_chan *chan, int value)
{
	return weir_chan_send(chan, &value, 0);
}

static int receive(struct weir_chan *chan)
{
	int value = 0;
	int r = weir_chan_receive(chan, &value, 0);

	return r ? r : value;
}

static struct weir_case on_receive(struct weir_chan *chan, int *value)
{
	return (struct weir_case){ .kind = WEIR_CASE_RECEIVE, .chan = chan, .item = value };
}

static struct weir_case on_send(struct weir_chan *chan, int *value)
{
	return (struct weir_case){ .kind = WEIR_CASE_SEND, .chan = chan, .item = value };
}

static struct weir_case on_future(struct weir_future *future)
{
	return (struct weir_case){ .kind = WEIR_CASE_FUTURE, .future = future };
}

static struct weir_case at(int64_t at_ns)
{
	return (struct weir_case){ .kind = WEIR_CASE_TIME, .at_ns = at_ns };
}

struct choice {
	struct weir_case *cases;
	unsigned count;
	int64_t deadline_ns;
	int chosen;
	struct weir_coro *coro;
};

static int chooses(void *arg)
{
	struct choice *c = arg;

	c->chosen = weir_select(c->cases, c->count, WEIR_SELECT_ORDERED, c->deadline_ns);
	return 0;
}

static void enter(struct choice *c, struct weir_case *cases, unsigned count)
{
	c->cases = cases;
	c->count = count;
	c->chosen = -1;
	if (!c->deadline_ns)
		c->deadline_ns = WEIR_NEVER;
	c->coro = start(chooses, c);
	turns(2);
}

static int leave(struct choice *c)
{
	assert_int_equal(weir_coro_join(c->coro, WEIR_NEVER, NULL), 0);
	return c->chosen;
}

static void what_is_ready_is_done_at_once_in_the_order_asked_for(void)
{
	struct weir_chan *a = queue(1), *b = queue(1);
	int x = 0, y = 7;
	struct weir_case cases[] = { on_receive(a, &x), on_send(b, &y), at(0) };

	assert_int_equal(weir_select(cases, 3, WEIR_SELECT_ORDERED, 0), 1);
	assert_int_equal(cases[1].res, 0);
	assert_int_equal(weir_select(cases, 3, WEIR_SELECT_ORDERED, 0), 2);
	send(a, 4);
	assert_int_equal(weir_select(cases, 3, WEIR_SELECT_ORDERED, 0), 0);
	assert_int_equal(x, 4);
	assert_int_equal(receive(b), 7);
	assert_int_equal(receive(b), -ETIMEDOUT);
	assert_int_equal(weir_select(cases, 1, WEIR_SELECT_ORDERED, 0), -ETIMEDOUT);
	assert_int_equal(weir_select(NULL, 0, WEIR_SELECT_FAIR, 0), -ETIMEDOUT);
	weir_chan_destroy(a);
	weir_chan_destroy(b);
}

static void who_comes_first_decides_and_the_other_lines_are_left(void)
{
	struct weir_chan *a = queue(0), *b = queue(0), *c = queue(0);
	int x = 0, y = 0, z = 9;
	struct weir_case cases[] = { on_receive(a, &x), on_receive(b, &y), on_send(c, &z) };
	struct weir_chan_info info_c;
	struct choice choice = { .chosen = 0 };

	enter(&choice, cases, 3);
	assert_int_equal(send(b, 5), 0);
	assert_int_equal(send(a, 6), -ETIMEDOUT);
	assert_int_equal(receive(c), -ETIMEDOUT);
	assert_int_equal(leave(&choice), 1);
	assert_int_equal(y, 5);
	assert_int_equal(x, 0);
	enter(&choice, cases, 3);
	assert_int_equal(receive(c), 9);
	assert_int_equal(send(a, 6), -ETIMEDOUT);
	assert_int_equal(leave(&choice), 2);
	weir_chan_info(c, &info_c);
	assert_int_equal(info_c.senders, 0);
	assert_int_equal(weir_chan_destroy(a), 0);
	assert_int_equal(weir_chan_destroy(b), 0);
	assert_int_equal(weir_chan_destroy(c), 0);
}

static void a_closed_channel_is_ready_and_says_so(void)
{
	struct weir_chan *a = queue(1), *b = queue(0);
	int x = 0, y = 1;
	struct weir_case cases[] = { on_receive(a, &x), on_send(b, &y) };
	struct choice choice = { .chosen = 0 };

	enter(&choice, cases, 2);
	weir_chan_close(a);
	assert_int_equal(leave(&choice), 0);
	assert_int_equal(cases[0].res, -EPIPE);
	assert_int_equal(weir_select(cases, 2, WEIR_SELECT_ORDERED, 0), 0);
	assert_int_equal(cases[0].res, -EPIPE);
	cases[0].kind = WEIR_CASE_NONE;
	enter(&choice, cases, 2);
	weir_chan_hang_up(b);
	assert_int_equal(leave(&choice), 1);
	assert_int_equal(cases[1].res, -EPIPE);
	weir_chan_destroy(a);
	weir_chan_destroy(b);
}

static void a_deadline_or_a_cancel_leaves_every_line(void)
{
	struct weir_chan *a = queue(0), *b = queue(0);
	int x = 0, y = 1;
	struct weir_case cases[] = { on_receive(a, &x), on_send(b, &y), at(weir_in(WEIR_S)) };
	struct choice choice = { .deadline_ns = weir_in(WEIR_MS) };

	enter(&choice, cases, 3);
	assert_int_equal(leave(&choice), -ETIMEDOUT);
	choice.deadline_ns = WEIR_NEVER;
	enter(&choice, cases, 3);
	weir_coro_cancel(choice.coro);
	assert_int_equal(leave(&choice), -ECANCELED);
	assert_int_equal(weir_chan_destroy(a), 0);
	assert_int_equal(weir_chan_destroy(b), 0);
}

static void a_time_is_a_case_and_the_earliest_counts(void)
{
	struct weir_chan *a = queue(0);
	int64_t begin = weir_now();
	int x = 0;
	struct weir_case cases[] = { on_receive(a, &x), at(begin + WEIR_S), at(begin + WEIR_MS) };

	assert_int_equal(weir_select(cases, 3, WEIR_SELECT_FAIR, WEIR_NEVER), 2);
	assert_true(weir_now() >= begin + WEIR_MS && weir_now() < begin + WEIR_S);
	assert_int_equal(cases[2].res, 0);
	assert_int_equal(weir_chan_destroy(a), 0);
}

static void a_future_is_a_case_and_stays_the_callers(void)
{
	struct weir_chan *a = queue(0);
	struct pair p = pair(), q = pair();
	int x = 0;
	struct weir_case cases[] = { on_receive(a, &x), on_future(p.future), on_future(q.future) };
	struct choice choice = { .chosen = 0 };

	enter(&choice, cases, 3);
	weir_promise_resolve(&q.promise, 42);
	assert_int_equal(leave(&choice), 2);
	assert_int_equal(weir_await(q.future, 0, NULL), 42);
	cases[2] = on_future(weir_future_of(1));
	assert_int_equal(weir_select(cases, 3, WEIR_SELECT_ORDERED, 0), 2);
	cases[2].kind = WEIR_CASE_NONE;
	enter(&choice, cases, 3);
	send(a, 3);
	assert_int_equal(leave(&choice), 0);
	assert_int_equal(x, 3);
	weir_promise_resolve(&p.promise, 7);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 7);
	weir_chan_destroy(a);
}

/* The tap of a settled future runs a turn later: the frame it lies in must still be there. */
static void a_future_that_is_settled_while_another_case_fires_is_waited_for(void)
{
	struct weir_chan *a = queue(0);
	struct pair p = pair();
	int x = 0;
	struct weir_case cases[] = { on_receive(a, &x), on_future(p.future) };
	struct choice choice = { .chosen = 0 };

	enter(&choice, cases, 2);
	weir_promise_resolve(&p.promise, 7);
	send(a, 3);
	assert_int_equal(leave(&choice), 0);
	assert_int_equal(x, 3);
	memset(cases, 0x5a, sizeof(cases));
	turns(3);
	assert_int_equal(weir_await(p.future, 0, NULL), 7);
	/* And when it was cancelled then. */
	p = pair();
	cases[0] = on_receive(a, &x);
	cases[1] = on_future(p.future);
	enter(&choice, cases, 2);
	weir_promise_resolve(&p.promise, 8);
	weir_coro_cancel(choice.coro);
	assert_int_equal(leave(&choice), -ECANCELED);
	memset(cases, 0x5a, sizeof(cases));
	turns(3);
	assert_int_equal(weir_await(p.future, 0, NULL), 8);
	weir_chan_destroy(a);
}

static void a_reader_is_a_case(void)
{
	struct weir_chan *watch, *a = queue(0);
	struct weir_chan_reader reader;
	int x = 0, y = 0;
	struct weir_case cases[2];
	struct choice choice = { .chosen = 0 };

	assert_int_equal(weir_chan_create(&(struct weir_chan_opts){ .item_size = sizeof(int),
								    .kind = WEIR_WATCH },
					  &watch),
			 0);
	weir_chan_read_from(watch, &reader);
	cases[0] = on_receive(a, &x);
	cases[1] = (struct weir_case){ .kind = WEIR_CASE_READ, .reader = &reader, .item = &y };
	enter(&choice, cases, 2);
	assert_int_equal(weir_chan_unread(&reader), -EBUSY);
	send(watch, 5);
	assert_int_equal(leave(&choice), 1);
	assert_int_equal(y, 5);
	enter(&choice, cases, 2);
	send(a, 6);
	assert_int_equal(leave(&choice), 0);
	send(watch, 7);
	assert_int_equal(weir_select(cases, 2, WEIR_SELECT_ORDERED, 0), 1);
	assert_int_equal(y, 7);
	assert_int_equal(weir_chan_unread(&reader), 0);
	weir_chan_destroy(watch);
	weir_chan_destroy(a);
}

static void two_that_select_meet_each_other(void)
{
	struct weir_chan *a = queue(0), *b = queue(0);
	int x = 0, y = 3, z = 0, w = 4;
	struct weir_case mine[] = { on_receive(a, &x), on_send(b, &y) };
	struct weir_case theirs[] = { on_receive(b, &z), on_send(a, &w) };
	struct choice choice = { .chosen = 0 };
	int chosen;

	enter(&choice, mine, 2);
	chosen = weir_select(theirs, 2, WEIR_SELECT_ORDERED, 0);
	assert_int_equal(chosen, 0);
	assert_int_equal(leave(&choice), 1);
	assert_int_equal(z, 3);
	assert_int_equal(x, 0);
	weir_chan_destroy(a);
	weir_chan_destroy(b);
}

static void fair_choice_gives_each_its_share(void)
{
	struct weir_chan *chans[4];
	struct weir_case cases[4];
	unsigned counts[4] = { 0 };
	int x;

	for (int i = 0; i < 4; i++) {
		chans[i] = queue(1);
		cases[i] = on_receive(chans[i], &x);
		send(chans[i], i);
	}
	for (int round = 0; round < 4000; round++) {
		int i = weir_select(cases, 4, WEIR_SELECT_FAIR, 0);

		counts[i]++;
		send(chans[i], i);
	}
	for (int i = 0; i < 4; i++) {
		assert_in_range(counts[i], 700, 1300);
		weir_chan_destroy(chans[i]);
	}
}

static void wrong_cases_are_refused(void)
{
	struct weir_chan *a = queue(1), *watch, *paid;
	struct weir_chan_reader reader = { .next_number_ = 0 };
	struct weir_case many[WEIR_SELECT_MAX + 1];
	struct weir_worker *self = weir__self;
	struct weir_credit credit;
	struct weir_case c;
	int x = 0;

	memset(many, 0, sizeof(many));
	assert_int_equal(weir_select(many, WEIR_SELECT_MAX, WEIR_SELECT_FAIR, 0), -ETIMEDOUT);
	assert_int_equal(weir_select(many, WEIR_SELECT_MAX + 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	assert_int_equal(weir_select(many, 1, 2, 0), -EINVAL);
	c = on_receive(a, NULL);
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	c = on_receive(NULL, &x);
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	c = on_future(NULL);
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	c = (struct weir_case){ .kind = WEIR_CASE_READ, .reader = &reader, .item = &x };
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	c.kind = (enum weir_case_kind)77;
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	weir_chan_create(&(struct weir_chan_opts){ .item_size = sizeof(int), .kind = WEIR_WATCH },
			 &watch);
	c = on_receive(watch, &x);
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	weir_credit_init(&credit, NULL);
	weir_chan_create(&(struct weir_chan_opts){ .item_size = sizeof(int), .credit = &credit },
			 &paid);
	c = on_send(paid, &x);
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EINVAL);
	weir__self = NULL;
	c = on_receive(a, &x);
	assert_int_equal(weir_select(&c, 1, WEIR_SELECT_FAIR, 0), -EDEADLK);
	weir__self = self;
	weir_chan_destroy(a);
	weir_chan_destroy(watch);
	weir_chan_destroy(paid);
	weir_credit_fini(&credit);
}

/* --- at random --- */

#define CHANS 4
#define EACH 3000

static struct weir_chan *web[CHANS];
static char had[CHANS * EACH];
static unsigned sent[CHANS], got, left;
static uint64_t random_state;

static unsigned pick(unsigned n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

/* Sends on any, by select, the next number of that channel. */
static int weaves(void *arg)
{
	(void)arg;
	for (;;) {
		struct weir_case cases[CHANS];
		int values[CHANS];
		int i;

		for (i = 0; i < CHANS; i++) {
			values[i] = i * EACH + (int)sent[i];
			cases[i] = on_send(web[i], &values[i]);
			if (sent[i] == EACH)
				cases[i].kind = WEIR_CASE_NONE;
		}
		i = weir_select(cases, CHANS, WEIR_SELECT_FAIR, weir_in(pick(60) * WEIR_US));
		assert_true(i >= 0 || i == -ETIMEDOUT);
		if (i >= 0)
			sent[i]++;
		for (i = 0; i < CHANS && sent[i] == EACH; i++)
			;
		if (i == CHANS)
			return 0;
	}
}

static int gathers(void *arg)
{
	(void)arg;
	while (left) {
		struct weir_case cases[CHANS];
		int values[CHANS];
		int i;

		for (i = 0; i < CHANS; i++)
			cases[i] = on_receive(web[i], &values[i]);
		i = weir_select(cases, CHANS, WEIR_SELECT_FAIR, weir_in(pick(60) * WEIR_US));
		assert_true(i >= 0 || i == -ETIMEDOUT);
		if (i < 0)
			continue;
		assert_false(had[values[i]]);
		had[values[i]] = 1;
		got++;
		left--;
		if (!pick(16))
			weir_sleep(pick(30) * WEIR_US);
	}
	return 0;
}

static void selecting_on_both_sides_loses_and_doubles_nothing(void)
{
	struct weir_coro *coros[3];

	random_state = 1;
	left = CHANS * EACH;
	for (unsigned i = 0; i < CHANS; i++)
		web[i] = queue(i);
	coros[0] = start(weaves, NULL);
	coros[1] = start(gathers, NULL);
	coros[2] = start(gathers, NULL);
	for (int i = 0; i < 3; i++)
		weir_coro_join(coros[i], WEIR_NEVER, NULL);
	assert_int_equal(got, CHANS * EACH);
	for (unsigned i = 0; i < CHANS; i++)
		assert_int_equal(weir_chan_destroy(web[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(what_is_ready_is_done_at_once_in_the_order_asked_for),
		on_worker(who_comes_first_decides_and_the_other_lines_are_left),
		on_worker(a_closed_channel_is_ready_and_says_so),
		on_worker(a_deadline_or_a_cancel_leaves_every_line),
		on_worker(a_time_is_a_case_and_the_earliest_counts),
		on_worker(a_future_is_a_case_and_stays_the_callers),
		on_worker(a_future_that_is_settled_while_another_case_fires_is_waited_for),
		on_worker(a_reader_is_a_case),
		on_worker(two_that_select_meet_each_other),
		on_worker(fair_choice_gives_each_its_share),
		on_worker(wrong_cases_are_refused),
		on_worker(selecting_on_both_sides_loses_and_doubles_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
