/* SPDX-License-Identifier: MIT */
/*
 * test_chan.c - channels of one core: nothing is lost, doubled or reordered, whoever waits, leaves
 * or closes.
 */
#include "on_worker.h"

#include "core/weir_credit.h"
#include "futures/weir_chan.h"

static struct weir_chan *make(struct weir_chan_opts opts)
{
	struct weir_chan *chan;

	if (!opts.item_size)
		opts.item_size = sizeof(int);
	assert_int_equal(weir_chan_create(&opts, &chan), 0);
	return chan;
}

static struct weir_chan *queue(unsigned capacity)
{
	return make((struct weir_chan_opts){ .capacity = capacity });
}

static struct weir_chan_info levels(const struct weir_chan *chan)
{
	struct weir_chan_info levels_now;

	assert_int_equal(weir_chan_info(chan, &levels_now), 0);
	return levels_now;
}

static int send(struct weir_chan *chan, int value)
{
	return weir_chan_send(chan, &value, 0);
}

/* The value that is there; a negative errno when none is. */
static int receive(struct weir_chan *chan)
{
	int value = 0;
	int r = weir_chan_receive(chan, &value, 0);

	return r ? r : value;
}

struct party {
	struct weir_chan *chan;
	int value;
	int64_t deadline_ns;
	unsigned lane;
	int res;
	int order;
	struct weir_coro *coro;
};

static int done;

static int sends(void *arg)
{
	struct party *p = arg;

	p->res = weir_chan_send_lane(p->chan, p->lane, &p->value, p->deadline_ns);
	p->order = ++done;
	return 0;
}

static int receives(void *arg)
{
	struct party *p = arg;

	p->res = weir_chan_receive(p->chan, &p->value, p->deadline_ns);
	p->order = ++done;
	return 0;
}

static void enter(struct party *p, weir_coro_fn fn, struct weir_chan *chan, int value)
{
	p->chan = chan;
	p->value = value;
	p->res = 1;
	if (!p->deadline_ns)
		p->deadline_ns = WEIR_NEVER;
	p->coro = start(fn, p);
}

static void leave(struct party *parties, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(weir_coro_join(parties[i].coro, WEIR_NEVER, NULL), 0);
}

/* --- queues --- */

static void items_come_out_as_they_went_in_and_the_bound_holds(void)
{
	struct weir_chan *chan = queue(3);

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(send(chan, round * 3 + i), 0);
		assert_int_equal(send(chan, 99), -ETIMEDOUT);
		assert_int_equal(levels(chan).count, 3);
		for (int i = 0; i < 3; i++)
			assert_int_equal(receive(chan), round * 3 + i);
		assert_int_equal(receive(chan), -ETIMEDOUT);
	}
	assert_int_equal(levels(chan).sent, 15);
	assert_int_equal(weir_chan_destroy(chan), 0);
}

static void receivers_that_wait_are_served_in_the_order_they_came(void)
{
	struct weir_chan *chan = queue(2);
	struct party p[3] = { { .res = 0 } };

	done = 0;
	for (int i = 0; i < 3; i++)
		enter(&p[i], receives, chan, 0);
	turns(2);
	assert_int_equal(levels(chan).receivers, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(chan, i + 10), 0);
	assert_int_equal(levels(chan).count, 0);
	leave(p, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(p[i].value, i + 10);
		assert_int_equal(p[i].order, i + 1);
	}
	weir_chan_destroy(chan);
}

static void senders_that_wait_keep_their_order_and_nobody_overtakes_them(void)
{
	struct weir_chan *chan = queue(1);
	struct party p[3] = { { .res = 0 } };

	send(chan, 0);
	for (int i = 0; i < 3; i++)
		enter(&p[i], sends, chan, i + 1);
	turns(2);
	assert_int_equal(levels(chan).senders, 3);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(receive(chan), i);
		assert_int_equal(send(chan, 99), -ETIMEDOUT);
		if (i == 2)
			break;
	}
	leave(p, 3);
	assert_int_equal(receive(chan), 3);
	weir_chan_destroy(chan);
}

static void a_rendezvous_ends_when_the_item_is_taken(void)
{
	struct weir_chan *chan = queue(0);
	struct party p[2] = { { .res = 0 } };

	assert_int_equal(send(chan, 1), -ETIMEDOUT);
	enter(&p[0], sends, chan, 7);
	enter(&p[1], sends, chan, 8);
	turns(2);
	assert_int_equal(p[0].res, 1);
	assert_int_equal(receive(chan), 7);
	assert_int_equal(receive(chan), 8);
	leave(p, 2);
	enter(&p[0], receives, chan, 0);
	turns(2);
	assert_int_equal(send(chan, 9), 0);
	leave(p, 1);
	assert_int_equal(p[0].value, 9);
	weir_chan_destroy(chan);
}

static void who_leaves_early_has_moved_nothing(void)
{
	struct weir_chan *chan = queue(1);
	struct party p[3] = { { .deadline_ns = weir_in(WEIR_MS) }, { .res = 0 }, { .res = 0 } };

	send(chan, 0);
	for (int i = 0; i < 3; i++)
		enter(&p[i], sends, chan, i + 1);
	turns(2);
	weir_coro_cancel(p[1].coro);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(p[0].res, -ETIMEDOUT);
	assert_int_equal(p[1].res, -ECANCELED);
	assert_int_equal(receive(chan), 0);
	assert_int_equal(receive(chan), 3);
	assert_int_equal(receive(chan), -ETIMEDOUT);
	leave(p, 3);
	enter(&p[0], receives, chan, 55);
	turns(2);
	weir_coro_cancel(p[0].coro);
	leave(p, 1);
	assert_int_equal(p[0].value, 55);
	assert_int_equal(send(chan, 4), 0);
	assert_int_equal(receive(chan), 4);
	weir_chan_destroy(chan);
}

static void what_was_handed_over_is_had_though_a_cancel_came_then(void)
{
	struct weir_chan *chan = queue(1);
	struct party p = { .res = 0 };

	enter(&p, receives, chan, 0);
	turns(2);
	send(chan, 5);
	weir_coro_cancel(p.coro);
	leave(&p, 1);
	assert_int_equal(p.res, 0);
	assert_int_equal(p.value, 5);
	weir_chan_destroy(chan);
}

static void batches_wrap_around_and_keep_order(void)
{
	struct weir_chan *chan = queue(5);
	int in[5], out[8], next = 0, expected = 0;

	for (int round = 0; round < 50; round++) {
		unsigned n = 1 + (unsigned)round % 5;

		for (unsigned i = 0; i < n; i++)
			in[i] = next++;
		assert_int_equal(weir_chan_send_n(chan, in, n, 0), n);
		assert_int_equal(weir_chan_receive_n(chan, out, 8, 0), n);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(out[i], expected++);
	}
	assert_int_equal(weir_chan_send_n(chan, in, 5, 0), 5);
	assert_int_equal(weir_chan_send_n(chan, in, 5, 0), -ETIMEDOUT);
	assert_int_equal(weir_chan_receive_n(chan, out, 3, 0), 3);
	assert_int_equal(weir_chan_send_n(chan, in, 5, 0), 3);
	assert_int_equal(weir_chan_receive_n(chan, out, 0, 0), -EINVAL);
	weir_chan_destroy(chan);
}

static int sends_many(void *arg)
{
	struct party *p = arg;
	int values[100];

	for (int i = 0; i < 100; i++)
		values[i] = i;
	p->res = (int)weir_chan_send_n(p->chan, values, 100, p->deadline_ns);
	return 0;
}

static void a_batch_larger_than_the_channel_waits_for_room_bit_by_bit(void)
{
	struct weir_chan *chan = queue(7);
	struct party p = { .res = 0 };
	int values[16], expected = 0;

	enter(&p, sends_many, chan, 0);
	while (expected < 100) {
		ssize_t n = weir_chan_receive_n(chan, values, 16, WEIR_NEVER);

		assert_true(n > 0 && n <= 16);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(values[i], expected++);
	}
	leave(&p, 1);
	assert_int_equal(p.res, 100);
	weir_chan_destroy(chan);
}

/* --- the end --- */

static int drops, dropped_sum;

static void count_drop(void *item, void *arg)
{
	assert_ptr_equal(arg, &drops);
	drops++;
	dropped_sum += *(int *)item;
}

static struct weir_chan *dropping(struct weir_chan_opts opts)
{
	drops = 0;
	dropped_sum = 0;
	opts.drop = count_drop;
	opts.drop_arg = &drops;
	return make(opts);
}

static void a_closed_channel_is_drained_and_then_it_is_over(void)
{
	struct weir_chan *chan = dropping((struct weir_chan_opts){ .capacity = 2 });
	struct party p[2] = { { .res = 0 } };

	send(chan, 1);
	send(chan, 2);
	enter(&p[0], sends, chan, 3);
	turns(2);
	assert_int_equal(weir_chan_close(chan), 0);
	assert_int_equal(weir_chan_close(chan), 0);
	leave(p, 1);
	assert_int_equal(p[0].res, -EPIPE);
	assert_int_equal(send(chan, 4), -EPIPE);
	assert_int_equal(receive(chan), 1);
	assert_int_equal(receive(chan), 2);
	assert_int_equal(receive(chan), -EPIPE);
	assert_int_equal(drops, 0);
	assert_int_equal(weir_chan_destroy(chan), 0);
	chan = queue(1);
	enter(&p[0], receives, chan, 0);
	enter(&p[1], receives, chan, 0);
	turns(2);
	weir_chan_close(chan);
	leave(p, 2);
	assert_int_equal(p[0].res, -EPIPE);
	assert_int_equal(p[1].res, -EPIPE);
	weir_chan_destroy(chan);
}

static void hanging_up_drops_what_is_inside_and_ends_both_sides(void)
{
	struct weir_chan *chan = dropping((struct weir_chan_opts){ .capacity = 2 });
	struct party p = { .res = 0 };

	send(chan, 1);
	send(chan, 2);
	enter(&p, sends, chan, 4);
	turns(2);
	assert_int_equal(weir_chan_hang_up(chan), 0);
	assert_int_equal(weir_chan_hang_up(chan), 0);
	leave(&p, 1);
	assert_int_equal(p.res, -EPIPE);
	assert_int_equal(drops, 2);
	assert_int_equal(dropped_sum, 3);
	assert_int_equal(receive(chan), -EPIPE);
	assert_int_equal(levels(chan).dropped, 2);
	weir_chan_destroy(chan);
	assert_int_equal(drops, 2);
}

static void destroying_drops_what_is_inside_and_is_refused_while_somebody_waits(void)
{
	struct weir_chan *chan = dropping((struct weir_chan_opts){ .capacity = 1, .lanes = 2 });
	struct party p = { .res = 0, .lane = 1 };
	int value = 6;

	assert_int_equal(weir_chan_send_lane(chan, 1, &value, 0), 0);
	enter(&p, sends, chan, 7);
	turns(2);
	assert_int_equal(weir_chan_destroy(chan), -EBUSY);
	weir_chan_close(chan);
	leave(&p, 1);
	assert_int_equal(weir_chan_destroy(chan), 0);
	assert_int_equal(dropped_sum, 6);
	assert_int_equal(weir_chan_destroy(NULL), 0);
}

/* --- kinds --- */

static void a_oneshot_takes_one_item_ever(void)
{
	struct weir_chan *chan = make((struct weir_chan_opts){ .kind = WEIR_ONESHOT });
	struct weir_chan_room room = { .count_ = 0 };
	struct party p = { .res = 0 };

	assert_int_equal(send(chan, 3), 0);
	assert_int_equal(send(chan, 4), -EPIPE);
	assert_int_equal(receive(chan), 3);
	assert_int_equal(receive(chan), -EPIPE);
	weir_chan_destroy(chan);
	chan = make((struct weir_chan_opts){ .kind = WEIR_ONESHOT });
	assert_int_equal(weir_chan_reserve(chan, 1, 0, &room), 0);
	enter(&p, sends, chan, 5);
	turns(2);
	weir_chan_abort(&room);
	leave(&p, 1);
	assert_int_equal(p.res, 0);
	assert_int_equal(send(chan, 4), -EPIPE);
	assert_int_equal(receive(chan), 5);
	weir_chan_destroy(chan);
}

static void urgent_lanes_are_received_first_and_bounded_each(void)
{
	struct weir_chan *chan = make((struct weir_chan_opts){ .capacity = 2, .lanes = 3 });
	struct party p = { .res = 0, .lane = 2 };
	int value;

	for (value = 20; value < 22; value++)
		assert_int_equal(weir_chan_send_lane(chan, 2, &value, 0), 0);
	assert_int_equal(weir_chan_send_lane(chan, 2, &value, 0), -ETIMEDOUT);
	enter(&p, sends, chan, 22);
	turns(2);
	value = 0;
	assert_int_equal(weir_chan_send(chan, &value, 0), 0);
	value = 10;
	assert_int_equal(weir_chan_send_lane(chan, 1, &value, 0), 0);
	assert_int_equal(weir_chan_send_lane(chan, 3, &value, 0), -EINVAL);
	assert_int_equal(levels(chan).count, 4);
	assert_int_equal(receive(chan), 0);
	assert_int_equal(receive(chan), 10);
	assert_int_equal(receive(chan), 20);
	assert_int_equal(receive(chan), 21);
	leave(&p, 1);
	assert_int_equal(receive(chan), 22);
	weir_chan_destroy(chan);
}

static void room_that_was_reserved_is_sent_to_without_fail(void)
{
	struct weir_chan *chan = dropping((struct weir_chan_opts){ .capacity = 3 });
	struct weir_chan_room room = { .count_ = 0 }, more;
	struct party p[2] = { { .res = 0 } };
	int value = 1;

	assert_int_equal(weir_chan_reserve(chan, 4, 0, &room), -EINVAL);
	assert_int_equal(weir_chan_reserve(chan, 0, 0, &room), -EINVAL);
	assert_int_equal(weir_chan_reserve(chan, 2, 0, &room), 0);
	assert_int_equal(weir_chan_reserve(chan, 2, 0, &more), -ETIMEDOUT);
	assert_int_equal(send(chan, 9), 0);
	assert_int_equal(send(chan, 9), -ETIMEDOUT);
	enter(&p[0], sends, chan, 10);
	turns(2);
	assert_int_equal(weir_chan_commit(&room, &value), 0);
	assert_int_equal(receive(chan), 9);
	assert_int_equal(receive(chan), 1);
	leave(p, 1);
	/* Closed: what was reserved is still received, and waited for. */
	weir_chan_close(chan);
	assert_int_equal(receive(chan), 10);
	assert_int_equal(receive(chan), -ETIMEDOUT);
	assert_int_equal(weir_chan_destroy(chan), -EBUSY);
	enter(&p[0], receives, chan, 0);
	enter(&p[1], receives, chan, 0);
	turns(2);
	value = 2;
	assert_int_equal(weir_chan_commit(&room, &value), 0);
	assert_int_equal(weir_chan_commit(&room, &value), -EINVAL);
	leave(p, 2);
	assert_int_equal(p[0].value, 2);
	assert_int_equal(p[1].res, -EPIPE);
	weir_chan_abort(&room);
	weir_chan_abort(&room);
	assert_int_equal(weir_chan_reserve(chan, 1, 0, &room), -EPIPE);
	weir_chan_destroy(chan);
	/* Hung up: it is dropped. */
	chan = dropping((struct weir_chan_opts){ .capacity = 3 });
	assert_int_equal(weir_chan_reserve(chan, 2, 0, &room), 0);
	weir_chan_hang_up(chan);
	assert_int_equal(weir_chan_commit(&room, &value), 0);
	assert_int_equal(drops, 1);
	weir_chan_abort(&room);
	assert_int_equal(weir_chan_destroy(chan), 0);
}

struct reserver {
	struct weir_chan *chan;
	struct weir_chan_room room;
	int64_t deadline_ns;
	unsigned n;
	int res;
};

static int reserves(void *arg)
{
	struct reserver *r = arg;

	r->res = weir_chan_reserve(r->chan, r->n, r->deadline_ns, &r->room);
	return 0;
}

static void who_waits_for_much_room_is_not_overtaken_and_lets_others_go_when_it_leaves(void)
{
	struct weir_chan *chan = queue(3);
	struct reserver r = { .chan = chan, .n = 3, .deadline_ns = weir_in(WEIR_MS), .res = 1 };
	struct party p = { .res = 0 };

	send(chan, 1);
	go(reserves, &r);
	turns(2);
	enter(&p, sends, chan, 2);
	turns(2);
	assert_int_equal(p.res, 1);
	leave(&p, 1);
	assert_int_equal(r.res, -ETIMEDOUT);
	assert_int_equal(levels(chan).count, 2);
	r.deadline_ns = WEIR_NEVER;
	go(reserves, &r);
	turns(2);
	assert_int_equal(receive(chan), 1);
	assert_int_equal(receive(chan), 2);
	turns(2);
	assert_int_equal(r.res, 0);
	weir_chan_abort(&r.room);
	weir_chan_destroy(chan);
}

static void an_item_takes_credit_while_it_is_inside(void)
{
	struct weir_credit credit;
	struct weir_chan_room room;
	struct weir_chan *chan;
	struct party p = { .res = 0 };

	weir_credit_init(&credit, &(struct weir_credit_opts){ .bytes_max = 3 * sizeof(int) });
	chan = make((struct weir_chan_opts){ .capacity = 2, .credit = &credit });
	assert_int_equal(send(chan, 1), 0);
	assert_int_equal(weir_chan_reserve(chan, 1, 0, &room), 0);
	assert_int_equal(credit.items_, 2);
	enter(&p, sends, chan, 2);
	turns(2);
	assert_int_equal(credit.bytes_, 3 * sizeof(int));
	assert_int_equal(send(chan, 3), -ETIMEDOUT);
	assert_int_equal(receive(chan), 1);
	leave(&p, 1);
	assert_int_equal(credit.items_, 2);
	weir_chan_abort(&room);
	assert_int_equal(credit.items_, 1);
	enter(&p, receives, chan, 0);
	leave(&p, 1);
	assert_int_equal(credit.items_, 0);
	send(chan, 4);
	weir_chan_hang_up(chan);
	assert_int_equal(credit.items_, 0);
	assert_int_equal(send(chan, 4), -EPIPE);
	assert_int_equal(credit.items_, 0);
	weir_chan_destroy(chan);
	assert_int_equal(weir_credit_fini(&credit), 0);
}

/* --- readers --- */

static int read_value(struct weir_chan_reader *reader)
{
	int value = 0;
	int r = weir_chan_read(reader, &value, 0);

	return r ? r : value;
}

struct stage {
	struct weir_chan *from, *to;
	struct weir_coro *coro;
};

/* Makes two of one. */
static int doubles(void *arg)
{
	struct stage *stage = arg;
	int item, r;

	do {
		r = weir_chan_receive(stage->from, &item, WEIR_NEVER);
		for (int i = 0; i < 2 && !r; i++)
			r = weir_chan_send(stage->to, &item, WEIR_NEVER);
	} while (!r);
	return r;
}

/* Each waits with an item for room that only the other one makes. */
static void full_channels_in_a_ring_are_found_by_their_credits(void)
{
	struct weir_credit credits[2];
	struct weir_chan *chans[2];
	struct stage stages[2];
	struct weir_credit_ring ring;

	for (int i = 0; i < 2; i++) {
		weir_credit_init(&credits[i], &(struct weir_credit_opts){
			.name = i ? "answers" : "requests", .items_max = 3 });
		chans[i] = make((struct weir_chan_opts){ .capacity = 8, .credit = &credits[i] });
	}
	for (int i = 0; i < 2; i++) {
		stages[i] = (struct stage){ .from = chans[i], .to = chans[!i] };
		stages[i].coro = start(doubles, &stages[i]);
	}
	turns(2);
	assert_int_equal(weir_chan_send(chans[0], &(int){ 1 }, WEIR_NEVER), 0);
	weir_sleep(2 * WEIR_S);
	assert_int_equal(weir_credit_ring_find(WEIR_S, &ring), 0);
	assert_int_equal(ring.count, 2);
	assert_string_not_equal(ring.links[0].credit, ring.links[1].credit);
	for (int i = 0; i < 2; i++)
		weir_coro_cancel(stages[i].coro);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(weir_coro_join(stages[i].coro, WEIR_NEVER, NULL), 0);
		assert_int_equal(weir_chan_destroy(chans[i]), 0);
		assert_int_equal(weir_credit_fini(&credits[i]), 0);
	}
}

/* The last one who received was in line, and was given the item: it is the one to wait for. */
static void who_waited_for_an_item_is_the_one_who_makes_room(void)
{
	struct weir_credit credit;
	struct weir_chan *chan;
	struct stage stage;

	weir_credit_init(&credit, &(struct weir_credit_opts){ .items_max = 1 });
	chan = make((struct weir_chan_opts){ .capacity = 2, .credit = &credit });
	stage = (struct stage){ .from = chan, .to = chan };
	stage.coro = start(doubles, &stage);
	turns(2);
	assert_int_equal(weir_chan_send(chan, &(int){ 1 }, WEIR_NEVER), 0);
	assert_int_equal(credit.giver_, stage.coro->number);
	weir_coro_cancel(stage.coro);
	assert_int_equal(weir_coro_join(stage.coro, WEIR_NEVER, NULL), 0);
	assert_int_equal(weir_chan_destroy(chan), 0);
	assert_int_equal(weir_credit_fini(&credit), 0);
}

static void every_reader_has_every_item_since_it_came_and_the_slowest_holds_up(void)
{
	struct weir_chan *chan =
		dropping((struct weir_chan_opts){ .kind = WEIR_BROADCAST, .capacity = 2 });
	struct weir_chan_reader a, b;
	struct party p = { .res = 0 };

	assert_int_equal(send(chan, 1), 0);
	assert_int_equal(drops, 1);
	assert_int_equal(weir_chan_read_from(chan, &a), 0);
	assert_int_equal(read_value(&a), -ETIMEDOUT);
	send(chan, 2);
	assert_int_equal(weir_chan_read_from(chan, &b), 0);
	send(chan, 3);
	assert_int_equal(send(chan, 4), -ETIMEDOUT);
	assert_int_equal(read_value(&b), 3);
	enter(&p, sends, chan, 4);
	turns(2);
	assert_int_equal(p.res, 1);
	assert_int_equal(read_value(&a), 2);
	assert_int_equal(drops, 2);
	leave(&p, 1);
	assert_int_equal(read_value(&b), 4);
	assert_int_equal(weir_chan_destroy(chan), -EBUSY);
	assert_int_equal(weir_chan_unread(&a), 0);
	assert_int_equal(drops, 4);
	assert_int_equal(weir_chan_unread(&a), 0);
	send(chan, 5);
	weir_chan_close(chan);
	assert_int_equal(read_value(&b), 5);
	assert_int_equal(read_value(&b), -EPIPE);
	weir_chan_unread(&b);
	assert_int_equal(weir_chan_destroy(chan), 0);
	assert_int_equal(drops, 5);
}

struct reading {
	struct weir_chan_reader reader;
	int value;
	int res;
	int64_t deadline_ns;
};

static int reads(void *arg)
{
	struct reading *r = arg;

	r->res = weir_chan_read(&r->reader, &r->value, r->deadline_ns);
	return 0;
}

static void readers_that_wait_have_the_item_at_once(void)
{
	struct weir_chan *chan =
		make((struct weir_chan_opts){ .kind = WEIR_BROADCAST, .capacity = 1 });
	struct reading r[3];
	struct weir_coro *coros[3];
	int value;

	for (int i = 0; i < 3; i++) {
		weir_chan_read_from(chan, &r[i].reader);
		r[i].deadline_ns = i == 2 ? weir_in(WEIR_MS) : WEIR_NEVER;
		coros[i] = start(reads, &r[i]);
	}
	turns(2);
	assert_int_equal(weir_chan_unread(&r[0].reader), -EBUSY);
	assert_int_equal(weir_chan_read(&r[0].reader, &value, 0), -EBUSY);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(r[2].res, -ETIMEDOUT);
	weir_chan_unread(&r[2].reader);
	assert_int_equal(send(chan, 8), 0);
	assert_int_equal(levels(chan).count, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(weir_coro_join(coros[i], WEIR_NEVER, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(r[i].res, 0);
		assert_int_equal(r[i].value, 8);
	}
	go(reads, &r[0]);
	turns(2);
	weir_chan_hang_up(chan);
	turns(2);
	assert_int_equal(r[0].res, -EPIPE);
	weir_chan_unread(&r[0].reader);
	weir_chan_unread(&r[1].reader);
	weir_chan_destroy(chan);
}

static void a_watch_gives_the_latest_and_never_holds_up(void)
{
	struct weir_chan *chan = dropping((struct weir_chan_opts){ .kind = WEIR_WATCH });
	struct weir_chan_reader a, b;

	weir_chan_read_from(chan, &a);
	assert_int_equal(read_value(&a), -ETIMEDOUT);
	for (int i = 1; i <= 5; i++)
		assert_int_equal(send(chan, i), 0);
	assert_int_equal(drops, 4);
	assert_int_equal(read_value(&a), 5);
	assert_int_equal(read_value(&a), -ETIMEDOUT);
	weir_chan_read_from(chan, &b);
	assert_int_equal(read_value(&b), 5);
	send(chan, 6);
	assert_int_equal(read_value(&b), 6);
	weir_chan_close(chan);
	assert_int_equal(read_value(&a), 6);
	assert_int_equal(read_value(&a), -EPIPE);
	weir_chan_unread(&a);
	weir_chan_unread(&b);
	weir_chan_destroy(chan);
	assert_int_equal(drops, 6);
}

/* --- wrong calls --- */

static void senseless_options_and_calls_have_a_defined_answer(void)
{
	static const struct weir_chan_opts wrong[] = {
		{ .item_size = 0 },
		{ .item_size = WEIR_CHAN_ITEM_SIZE_MAX + 1 },
		{ .item_size = 1, .lanes = WEIR_CHAN_LANES_MAX + 1 },
		{ .item_size = 1, .kind = WEIR_WATCH, .lanes = 2 },
		{ .item_size = 1, .kind = WEIR_BROADCAST },
		{ .item_size = 1, .kind = (enum weir_chan_kind)7 },
	};
	struct weir_chan_reader reader = { .next_number_ = 0 };
	struct weir_chan_room room = { .count_ = 0 };
	struct weir_chan *chan;
	int value = 0;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(weir_chan_create(&wrong[i], &chan), -EINVAL);
	chan = queue(1);
	assert_int_equal(weir_chan_read_from(chan, &reader), -EINVAL);
	assert_int_equal(weir_chan_read(&reader, &value, 0), -EINVAL);
	assert_int_equal(weir_chan_commit(&room, &value), -EINVAL);
	weir_chan_destroy(chan);
	chan = make((struct weir_chan_opts){ .kind = WEIR_WATCH });
	assert_int_equal(receive(chan), -EINVAL);
	assert_int_equal(weir_chan_reserve(chan, 1, 0, &room), -EINVAL);
	weir_chan_destroy(chan);
	chan = make((struct weir_chan_opts){ .item_size = WEIR_CHAN_ITEM_SIZE_MAX, .capacity = 1 });
	weir_chan_destroy(chan);
}

static void on_another_worker_every_call_is_refused(void)
{
	struct weir_worker *self = weir__self;
	struct weir_chan_info levels_now;
	struct weir_chan_room room;
	struct weir_chan *chan = queue(2);
	int value = 0;

	weir__self = NULL;
	assert_int_equal(send(chan, 1), -EPROTO);
	assert_int_equal(receive(chan), -EPROTO);
	assert_int_equal(weir_chan_send_n(chan, &value, 1, 0), -EPROTO);
	assert_int_equal(weir_chan_receive_n(chan, &value, 1, 0), -EPROTO);
	assert_int_equal(weir_chan_close(chan), -EPROTO);
	assert_int_equal(weir_chan_hang_up(chan), -EPROTO);
	assert_int_equal(weir_chan_reserve(chan, 1, 0, &room), -EPROTO);
	assert_int_equal(weir_chan_destroy(chan), -EPROTO);
	assert_int_equal(weir_chan_info(chan, &levels_now), -EPROTO);
	weir__self = self;
	weir_chan_destroy(chan);
}

/* --- all of it at random, against a model --- */

#define SENDERS 5
#define RECEIVERS 3
#define EACH 2000

static uint64_t random_state;

static unsigned pick(unsigned n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

struct storm {
	struct weir_chan *chan;
	int sent[SENDERS];
	int seen[SENDERS];
	int got;
	unsigned senders_left;
	unsigned receivers;
	char had[SENDERS * EACH];
};

static struct storm storm;

static int storm_sends(void *arg)
{
	int me = (int)(uintptr_t)arg;

	while (storm.sent[me] < EACH) {
		int value = me * EACH + storm.sent[me];
		int64_t deadline = pick(4) ? weir_in(pick(50) * WEIR_US) : WEIR_NEVER;
		int r = weir_chan_send(storm.chan, &value, deadline);

		assert_true(r == 0 || r == -ETIMEDOUT);
		storm.sent[me] += r == 0;
		if (!pick(8))
			weir_sleep(pick(20) * WEIR_US);
	}
	if (--storm.senders_left == 0)
		weir_chan_close(storm.chan);
	return 0;
}

static int storm_receives(void *arg)
{
	int values[4];
	ssize_t n;

	(void)arg;
	for (;;) {
		n = weir_chan_receive_n(storm.chan, values, 1 + pick(4),
					pick(4) ? weir_in(pick(50) * WEIR_US) : WEIR_NEVER);
		if (n == -EPIPE)
			return 0;
		assert_true(n > 0 || n == -ETIMEDOUT);
		for (ssize_t i = 0; i < n; i++) {
			int from = values[i] / EACH;

			/* Of several receivers, one may look later at what it has had before. */
			assert_true(storm.receivers > 1 || values[i] % EACH == storm.seen[from]);
			storm.seen[from]++;
			assert_false(storm.had[values[i]]);
			storm.had[values[i]] = true;
			storm.got++;
		}
	}
}

static void in_a_storm_of_deadlines_nothing_is_lost_or_doubled(void)
{
	static const unsigned capacities[] = { 0, 1, 3, 64 };
	struct weir_coro *coros[SENDERS + RECEIVERS];

	for (unsigned c = 0; c < 8; c++) {
		memset(&storm, 0, sizeof(storm));
		random_state = c + 1;
		storm.chan = queue(capacities[c / 2]);
		storm.receivers = c % 2 ? RECEIVERS : 1;
		storm.senders_left = SENDERS;
		for (unsigned i = 0; i < SENDERS; i++)
			coros[i] = start(storm_sends, (void *)(uintptr_t)i);
		for (unsigned i = 0; i < storm.receivers; i++)
			coros[SENDERS + i] = start(storm_receives, NULL);
		for (unsigned i = 0; i < SENDERS + storm.receivers; i++)
			weir_coro_join(coros[i], WEIR_NEVER, NULL);
		assert_int_equal(storm.got, SENDERS * EACH);
		assert_int_equal(weir_chan_destroy(storm.chan), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(items_come_out_as_they_went_in_and_the_bound_holds),
		on_worker(receivers_that_wait_are_served_in_the_order_they_came),
		on_worker(senders_that_wait_keep_their_order_and_nobody_overtakes_them),
		on_worker(a_rendezvous_ends_when_the_item_is_taken),
		on_worker(who_leaves_early_has_moved_nothing),
		on_worker(what_was_handed_over_is_had_though_a_cancel_came_then),
		on_worker(batches_wrap_around_and_keep_order),
		on_worker(a_batch_larger_than_the_channel_waits_for_room_bit_by_bit),
		on_worker(a_closed_channel_is_drained_and_then_it_is_over),
		on_worker(hanging_up_drops_what_is_inside_and_ends_both_sides),
		on_worker(destroying_drops_what_is_inside_and_is_refused_while_somebody_waits),
		on_worker(a_oneshot_takes_one_item_ever),
		on_worker(urgent_lanes_are_received_first_and_bounded_each),
		on_worker(room_that_was_reserved_is_sent_to_without_fail),
		on_worker(
			who_waits_for_much_room_is_not_overtaken_and_lets_others_go_when_it_leaves),
		on_worker(an_item_takes_credit_while_it_is_inside),
		on_worker(full_channels_in_a_ring_are_found_by_their_credits),
		on_worker(who_waited_for_an_item_is_the_one_who_makes_room),
		on_worker(every_reader_has_every_item_since_it_came_and_the_slowest_holds_up),
		on_worker(readers_that_wait_have_the_item_at_once),
		on_worker(a_watch_gives_the_latest_and_never_holds_up),
		on_worker(senseless_options_and_calls_have_a_defined_answer),
		on_worker(on_another_worker_every_call_is_refused),
		on_worker(in_a_storm_of_deadlines_nothing_is_lost_or_doubled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
