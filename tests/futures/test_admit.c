/* SPDX-License-Identifier: MIT */
/*
 * test_admit.c - who gets a ticket, in which order, and for which reason nobody does. Time is
 * virtual: it moves when everybody waits.
 */
#include "on_worker.h"

#include "core/metrics.h"
#include "futures/weir_admit.h"

#define MANY 64

struct asker {
	struct weir_admit *admit;
	unsigned index;
	int64_t patience_ns;	/* 0: for ever */
	int64_t holds_ns;	/* < 0: until somebody else gives the ticket back */
	struct weir_ticket ticket;
	struct weir_coro *coro;
	int res;
	unsigned place;		/* the how-manieth that got a ticket */
};

static struct asker askers[MANY];
static unsigned asker_count, served;

static int asks(void *arg)
{
	struct asker *a = arg;
	int64_t deadline = a->patience_ns ? weir_in(a->patience_ns) : WEIR_NEVER;

	a->res = weir_admit_enter(a->admit, a->index, deadline, &a->ticket);
	if (a->res)
		return 0;
	a->place = ++served;
	if (a->holds_ns < 0)
		return 0;
	if (a->holds_ns)
		weir_sleep(a->holds_ns);
	assert_int_equal(weir_ticket_done(&a->ticket, WEIR_TICKET_OK), 0);
	return 0;
}

static struct asker *ask(struct weir_admit *admit, struct asker how)
{
	struct asker *a = &askers[asker_count++];

	assert_true(asker_count <= MANY);
	*a = how;
	a->admit = admit;
	a->res = 1;
	a->coro = start(asks, a);
	turns(2);
	return a;
}

/* All have their answer. */
static void join_all(void)
{
	for (unsigned i = 0; i < asker_count; i++)
		assert_int_equal(weir_coro_join(askers[i].coro, WEIR_NEVER, NULL), 0);
	asker_count = 0;
}

static void make(struct weir_admit *admit, struct weir_admit_opts opts)
{
	asker_count = served = 0;
	assert_int_equal(weir_admit_init(admit, &opts), 0);
}

static struct weir_admit_info look(const struct weir_admit *admit)
{
	struct weir_admit_info info;

	assert_int_equal(weir_admit_info(admit, &info), 0);
	return info;
}

static struct weir_ticket take(struct weir_admit *admit)
{
	struct weir_ticket ticket;

	assert_int_equal(weir_admit_try(admit, 0, WEIR_NEVER, &ticket), 0);
	return ticket;
}

static void give(struct weir_ticket *ticket)
{
	assert_int_equal(weir_ticket_done(ticket, WEIR_TICKET_OK), 0);
	turns(5);
}

/* Everything is over and accounted for: all who came were admitted or shed for one reason. */
static void finish(struct weir_admit *admit, uint64_t came)
{
	struct weir_admit_info info = look(admit);
	uint64_t sum = info.admitted;

	for (unsigned i = 0; i < WEIR_SHED_COUNT; i++)
		sum += info.shed[i];
	assert_int_equal(sum, came);
	assert_int_equal(info.inflight, 0);
	assert_int_equal(info.waiting, 0);
	assert_int_equal(info.shed[WEIR_SHED_NONE], 0);
	assert_int_equal(weir_admit_fini(admit), 0);
}

#define LIMIT(n) { .limit_initial = (n) }

static void wrong_options_and_calls_are_refused(void)
{
	static const struct weir_admit_class classes[] = {
		{ .share_percent = 60 }, { .share_percent = 41 },
	};
	static const struct weir_admit_opts bad[] = {
		{ .class_count = 1 },
		{ .classes = classes, .class_count = 2 },
		{ .classes = classes, .class_count = WEIR_ADMIT_CLASSES_MAX + 1 },
		{ .limiter = { .limit_min = 2, .limit_initial = 1 } },
		{ .target_ns = -1 },
		{ .order = (enum weir_admit_order)7 },
	};
	struct weir_admit admit;
	struct weir_ticket ticket;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(weir_admit_init(&admit, &bad[i]), -EINVAL);
	make(&admit, (struct weir_admit_opts){ .name = "it" });
	assert_string_equal(look(&admit).name, "it");
	assert_int_equal(weir_admit_enter(&admit, 1, WEIR_NEVER, &ticket), -EINVAL);
	ticket = take(&admit);
	assert_int_equal(weir_admit_fini(&admit), -EBUSY);
	assert_int_equal(weir_ticket_done(&ticket, (enum weir_ticket_outcome)3), -EINVAL);
	give(&ticket);
	assert_int_equal(weir_ticket_done(&ticket, WEIR_TICKET_OK), -EALREADY);
	finish(&admit, 1);
	assert_int_equal(weir_admit_try(&admit, 0, WEIR_NEVER, &ticket), -EPROTO);
}

static struct weir_admit *shared;

static void on_another_worker(void)
{
	struct weir_worker *self = weir__self, other = { .index = 1 };
	struct weir_admit admit;
	struct weir_admit_info info;
	struct weir_ticket ticket, held;

	make(&admit, (struct weir_admit_opts){ .name = "it" });
	held = take(&admit);
	other.driver = self->driver;
	weir__self = &other;
	assert_int_equal(weir_admit_enter(&admit, 0, WEIR_NEVER, &ticket), -EPROTO);
	assert_int_equal(weir_admit_try(&admit, 0, WEIR_NEVER, &ticket), -EPROTO);
	assert_int_equal(weir_ticket_done(&held, WEIR_TICKET_OK), -EPROTO);
	assert_int_equal(weir_admit_stop(&admit), -EPROTO);
	assert_int_equal(weir_admit_info(&admit, &info), -EPROTO);
	assert_int_equal(weir_admit_fini(&admit), -EPROTO);
	weir__self = self;
	give(&held);
	finish(&admit, 1);
}

static void enters_in_task(struct weir_task *task)
{
	struct weir_ticket first, second;

	(void)task;
	assert_int_equal(weir_admit_enter(shared, 0, WEIR_NEVER, &first), 0);
	assert_int_equal(weir_admit_enter(shared, 0, WEIR_NEVER, &second), -EDEADLK);
	assert_int_equal(weir_admit_try(shared, 0, WEIR_NEVER, &second), -EAGAIN);
	assert_int_equal(weir_ticket_done(&first, WEIR_TICKET_OK), 0);
}

static void outside_a_coroutine_there_is_a_ticket_or_none_but_no_waiting(void)
{
	struct weir_admit admit;
	struct weir_task task;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	shared = &admit;
	weir_task_init(&task, enters_in_task);
	weir_task_ready(&task);
	turns(1);
	finish(&admit, 2);
}

static void no_more_than_the_limit_are_in_progress_and_the_others_go_on_in_turn(void)
{
	struct weir_admit admit;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(3) });
	for (int i = 0; i < 10; i++)
		ask(&admit, (struct asker){ .holds_ns = WEIR_MS });
	assert_int_equal(look(&admit).inflight, 3);
	assert_int_equal(look(&admit).waiting, 7);
	assert_int_equal(look(&admit).limit, 3);
	join_all();
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(askers[i].res, 0);
		assert_int_equal(askers[i].place, i + 1);
	}
	assert_int_equal(askers[0].ticket.waited_ns, 0);
	assert_in_range(askers[9].ticket.waited_ns, 3 * WEIR_MS, 4 * WEIR_MS);
	finish(&admit, 10);
}

static void a_ticket_that_comes_back_is_the_first_in_line_s_before_it_runs(void)
{
	struct weir_ticket ticket, other;
	struct weir_admit admit;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	ticket = take(&admit);
	ask(&admit, (struct asker){ .holds_ns = 0 });
	assert_int_equal(weir_ticket_done(&ticket, WEIR_TICKET_OK), 0);
	assert_int_equal(weir_admit_try(&admit, 0, WEIR_NEVER, &other), -EAGAIN);
	join_all();
	assert_int_equal(askers[0].res, 0);
	finish(&admit, 3);
}

static void a_full_line_refuses_who_comes_or_drops_the_oldest_when_newest_first(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	for (int order = WEIR_ADMIT_FIFO; order <= WEIR_ADMIT_LIFO; order++) {
		make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .queue_max = 2,
						       .order = (enum weir_admit_order)order });
		ticket = take(&admit);
		for (int i = 0; i < 3; i++)
			ask(&admit, (struct asker){ .holds_ns = 0 });
		assert_int_equal(look(&admit).waiting, 2);
		give(&ticket);
		join_all();
		assert_int_equal(askers[0].res, order == WEIR_ADMIT_LIFO ? -EAGAIN : 0);
		assert_int_equal(askers[1].res, 0);
		assert_int_equal(askers[2].res, order == WEIR_ADMIT_LIFO ? 0 : -EAGAIN);
		assert_int_equal(look(&admit).shed[WEIR_SHED_FULL], 1);
		finish(&admit, 4);
	}
}

static void the_newest_goes_first_once_the_oldest_is_late(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	for (int order = WEIR_ADMIT_FIFO; order <= WEIR_ADMIT_LIFO; order++) {
		bool is_lifo = order == WEIR_ADMIT_LIFO;

		make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1),
						       .target_ns = 5 * WEIR_MS,
						       .order = (enum weir_admit_order)order });
		ticket = take(&admit);
		ask(&admit, (struct asker){ .holds_ns = 0 });
		weir_sleep(4 * WEIR_MS);
		ask(&admit, (struct asker){ .holds_ns = -1 });
		give(&ticket);
		/* Not late: in turn. Then late. */
		assert_int_equal(askers[0].place, 1);
		assert_int_equal(askers[1].place, 2);
		ask(&admit, (struct asker){ .holds_ns = 0 });
		weir_sleep(6 * WEIR_MS);
		ask(&admit, (struct asker){ .holds_ns = 0 });
		give(&askers[1].ticket);
		join_all();
		assert_int_equal(askers[2].place, is_lifo ? 4 : 3);
		assert_int_equal(askers[3].place, is_lifo ? 3 : 4);
		finish(&admit, 5);
	}
}

/* Without waiting in between, so that each would be done before the next one asks. */
static void requests_that_only_compute_are_in_line_and_not_in_the_run_queue(void)
{
	struct weir_admit admit;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(2), .queue_max = 3 });
	for (asker_count = 0; asker_count < 10; asker_count++) {
		askers[asker_count] = (struct asker){ .admit = &admit };
		askers[asker_count].coro = start(asks, &askers[asker_count]);
	}
	join_all();
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(askers[i].res, i < 5 ? 0 : -EAGAIN);
	finish(&admit, 10);
}

/* --- too long --- */

static void a_burst_that_is_late_once_is_not_overload(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .target_ns = 5 * WEIR_MS,
					       .interval_ns = 100 * WEIR_MS });
	for (int burst = 0; burst < 8; burst++) {
		asker_count = 0;
		ticket = take(&admit);
		for (int i = 0; i < 5; i++)
			ask(&admit, (struct asker){ .holds_ns = 0 });
		weir_sleep(50 * WEIR_MS);
		give(&ticket);
		join_all();
	}
	assert_false(look(&admit).is_overloaded);
	assert_int_equal(look(&admit).admitted, 48);
	finish(&admit, 48);
}

/* Newest first, so the line is empty now and then, but who stays in it does so for long. */
static void overload_lasts_while_somebody_is_late(void)
{
	struct weir_admit admit;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .target_ns = 5 * WEIR_MS,
					       .interval_ns = 20 * WEIR_MS });
	for (int i = 0; i < 40; i++) {
		ask(&admit, (struct asker){ .holds_ns = 2 * WEIR_MS });
		weir_sleep(WEIR_MS);
	}
	join_all();
	assert_true(look(&admit).is_overloaded);
	for (int round = 0; round < 8; round++) {	/* an empty line, then 12 ms in it */
		ask(&admit, (struct asker){ .holds_ns = 12 * WEIR_MS });
		ask(&admit, (struct asker){ .holds_ns = 0 });
		join_all();
		assert_int_equal(askers[1].ticket.shed, WEIR_SHED_CODEL);
	}
	finish(&admit, 56);
}

static void overload_sheds_the_late_and_ends_with_the_queue(void)
{
	struct weir_admit admit;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .target_ns = 5 * WEIR_MS,
					       .interval_ns = 20 * WEIR_MS });
	for (int i = 0; i < 50; i++) {	/* one each ms, but they take two */
		ask(&admit, (struct asker){ .holds_ns = 2 * WEIR_MS });
		weir_sleep(WEIR_MS);
	}
	assert_true(look(&admit).is_overloaded);
	join_all();
	assert_true(look(&admit).shed[WEIR_SHED_CODEL] > 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(askers[i].res, askers[i].res ? -EAGAIN : 0);
		if (askers[i].res)
			assert_int_equal(askers[i].ticket.shed, WEIR_SHED_CODEL);
		/* Once it knows, nobody waits longer than twice the target and one service. */
		if (i >= 30)
			assert_true(askers[i].ticket.waited_ns < 13 * WEIR_MS);
	}
	weir_sleep(50 * WEIR_MS);	/* two intervals, and more */
	ask(&admit, (struct asker){ .holds_ns = 0 });
	assert_false(look(&admit).is_overloaded);
	join_all();
	finish(&admit, 51);
}

/* --- too late --- */

static void who_would_get_his_answer_after_his_deadline_is_shed_when_it_is_his_turn(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	ask(&admit, (struct asker){ .holds_ns = 2 * WEIR_MS });
	join_all();
	assert_in_range(look(&admit).service_ns, 2 * WEIR_MS, 2 * WEIR_MS + 50 * WEIR_US);
	ticket = take(&admit);
	ask(&admit, (struct asker){ .patience_ns = 4 * WEIR_MS });
	ask(&admit, (struct asker){ .patience_ns = 6 * WEIR_MS });
	weir_sleep(3 * WEIR_MS);
	assert_int_equal(askers[0].res, 1);
	give(&ticket);
	join_all();
	assert_int_equal(askers[0].res, -ETIMEDOUT);
	assert_int_equal(askers[0].ticket.shed, WEIR_SHED_DEADLINE);
	assert_int_equal(askers[1].res, 0);
	finish(&admit, 4);
}

static void a_deadline_that_cannot_be_met_is_told_at_once(void)
{
	struct weir_ticket ticket, other;
	struct weir_admit admit;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	ask(&admit, (struct asker){ .holds_ns = 2 * WEIR_MS });
	join_all();
	assert_int_equal(weir_admit_try(&admit, 0, weir_in(WEIR_MS), &other), -ETIMEDOUT);
	assert_int_equal(weir_admit_enter(&admit, 0, weir_in(WEIR_MS), &other), -ETIMEDOUT);
	weir_coro_set_deadline(weir_in(WEIR_MS));
	assert_int_equal(weir_admit_enter(&admit, 0, WEIR_NEVER, &other), -ETIMEDOUT);
	weir_coro_set_deadline(WEIR_NEVER);
	ticket = take(&admit);
	ask(&admit, (struct asker){ .patience_ns = 3 * WEIR_MS });
	join_all();
	assert_int_equal(askers[0].res, -ETIMEDOUT);
	assert_in_range(askers[0].ticket.waited_ns, 3 * WEIR_MS, 4 * WEIR_MS);
	assert_int_equal(look(&admit).shed[WEIR_SHED_DEADLINE], 4);
	give(&ticket);
	finish(&admit, 6);
}

static void a_median_that_was_too_high_does_not_shed_for_ever(void)
{
	struct weir_ticket ticket;
	struct weir_admit admit;
	uint64_t came = 1;
	int r;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	ask(&admit, (struct asker){ .holds_ns = WEIR_S });	/* a bad moment */
	join_all();
	do {
		r = weir_admit_try(&admit, 0, weir_in(100 * WEIR_MS), &ticket);
		came++;
		assert_true(came < 1000);
	} while (r);
	assert_int_equal(weir_ticket_done(&ticket, WEIR_TICKET_IGNORE), 0);
	finish(&admit, came);
}

/* --- leaving early --- */

static void who_is_cancelled_in_line_holds_nothing_and_is_counted(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	ticket = take(&admit);
	ask(&admit, (struct asker){ .holds_ns = 0 });
	ask(&admit, (struct asker){ .holds_ns = 0 });
	weir_coro_cancel(askers[0].coro);
	turns(2);
	assert_int_equal(askers[0].res, -ECANCELED);
	assert_int_equal(askers[0].ticket.shed, WEIR_SHED_CANCELLED);
	assert_int_equal(weir_ticket_done(&askers[0].ticket, WEIR_TICKET_OK), -EALREADY);
	assert_int_equal(look(&admit).waiting, 1);
	give(&ticket);
	join_all();
	assert_int_equal(askers[1].place, 1);
	assert_int_equal(look(&admit).shed[WEIR_SHED_CANCELLED], 1);
	finish(&admit, 3);
}

static void stopping_sheds_the_line_and_who_comes_but_not_what_is_in_progress(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket, other;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	ticket = take(&admit);
	ask(&admit, (struct asker){ .holds_ns = 0 });
	assert_int_equal(weir_admit_stop(&admit), 0);
	join_all();
	assert_int_equal(askers[0].res, -ESHUTDOWN);
	assert_int_equal(weir_admit_try(&admit, 0, WEIR_NEVER, &other), -ESHUTDOWN);
	assert_int_equal(look(&admit).inflight, 1);
	assert_int_equal(look(&admit).shed[WEIR_SHED_STOPPING], 2);
	give(&ticket);
	finish(&admit, 3);
}

/* --- classes --- */

static const struct weir_admit_class two[] = {
	{ .name = "users", .priority = 0 },
	{ .name = "batch", .priority = 1, .share_percent = 25, .queue_max = 60 },
};

static void a_higher_class_goes_first_but_a_lower_one_gets_its_share(void)
{
	struct weir_admit admit;
	struct weir_admit_class_info batch;
	struct weir_ticket ticket;
	unsigned early = 0;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .classes = two,
					       .class_count = 2, .target_ns = WEIR_S });
	ticket = take(&admit);
	for (unsigned i = 0; i < 48; i++)
		ask(&admit, (struct asker){ .index = i < 24, .holds_ns = 0 });
	give(&ticket);
	join_all();
	for (unsigned i = 0; i < 24; i++)
		early += askers[i].place <= 24;
	assert_int_equal(early, 6);
	for (unsigned i = 24; i < 47; i++)	/* in turn among themselves */
		assert_true(askers[i].place < askers[i + 1].place);
	assert_int_equal(weir_admit_class_info(&admit, 1, &batch), 0);
	assert_string_equal(batch.name, "batch");
	assert_int_equal(batch.admitted, 24);
	assert_int_equal(weir_admit_class_info(&admit, 2, &batch), -EINVAL);
	finish(&admit, 49);
}

static void equal_classes_go_by_age(void)
{
	static const struct weir_admit_class equal[2];
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .classes = equal,
					       .class_count = 2 });
	ticket = take(&admit);
	for (unsigned i = 0; i < 6; i++) {
		ask(&admit, (struct asker){ .index = i / 2 % 2, .holds_ns = 0 });
		weir_sleep(WEIR_US);
	}
	give(&ticket);
	join_all();
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(askers[i].place, i + 1);
	finish(&admit, 7);
}

static void a_higher_class_takes_places_of_a_lower_but_not_those_of_its_share(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .queue_max = 8,
					       .classes = two, .class_count = 2 });
	ticket = take(&admit);
	for (unsigned i = 0; i < 9; i++)
		ask(&admit, (struct asker){ .index = 1, .holds_ns = 0 });
	assert_int_equal(askers[8].ticket.shed, WEIR_SHED_FULL);
	for (unsigned i = 0; i < 8; i++)
		ask(&admit, (struct asker){ .index = 0, .holds_ns = 0 });
	assert_int_equal(look(&admit).waiting, 8);
	give(&ticket);
	join_all();
	/* Six of the lower class had to go, the newest, and two of the higher found no place. */
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(askers[i].ticket.shed, i < 2 ? WEIR_SHED_NONE : WEIR_SHED_CLASS);
	for (unsigned i = 9; i < 15; i++)
		assert_int_equal(askers[i].res, 0);
	assert_int_equal(askers[15].ticket.shed, WEIR_SHED_FULL);
	assert_int_equal(look(&admit).shed[WEIR_SHED_CLASS], 6);
	finish(&admit, 18);
}

static void a_class_has_a_bound_of_its_own(void)
{
	static const struct weir_admit_class classes[] = { { .queue_max = 1 }, { .queue_max = 3 } };
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1), .classes = classes,
					       .class_count = 2 });
	ticket = take(&admit);
	for (unsigned i = 0; i < 8; i++)
		ask(&admit, (struct asker){ .index = i / 4, .holds_ns = 0 });
	assert_int_equal(look(&admit).waiting, 4);
	give(&ticket);
	join_all();
	finish(&admit, 9);
}

/* --- outcomes --- */

static void outcomes_teach_the_limiter_what_they_are(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){
		.limiter = { .kind = WEIR_LIMITER_AIMD, .limit_initial = 10 } });
	for (int i = 0; i < 20; i++) {
		ticket = take(&admit);
		weir_sleep(WEIR_MS);
		assert_int_equal(weir_ticket_done(&ticket, WEIR_TICKET_IGNORE), 0);
	}
	assert_int_equal(look(&admit).limit, 10);
	assert_int_equal(look(&admit).service_ns, 0);
	for (int i = 0; i < 20; i++) {
		ticket = take(&admit);
		weir_sleep(WEIR_MS);
		assert_int_equal(weir_ticket_done(&ticket, WEIR_TICKET_DROP), 0);
	}
	assert_int_equal(look(&admit).limit, 8);	/* two windows of 10: 9, 8.1 */
	assert_int_equal(look(&admit).service_ns, 0);
	for (int i = 0; i < 10; i++)
		ask(&admit, (struct asker){ .holds_ns = WEIR_MS });
	join_all();
	assert_in_range(look(&admit).service_ns, WEIR_MS, 2 * WEIR_MS);
	for (int i = 0; i < 30; i++)
		ask(&admit, (struct asker){ .holds_ns = WEIR_MS });
	join_all();
	assert_true(look(&admit).limit > 8);
	finish(&admit, 80);
}

static void what_is_ignored_says_nothing_about_the_service(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket;

	make(&admit, (struct weir_admit_opts){
		.limiter = { .kind = WEIR_LIMITER_AIMD, .limit_initial = 2 } });
	for (int i = 0; i < 40; i++) {
		ticket = take(&admit);
		weir_sleep(WEIR_MS);
		assert_int_equal(look(&admit).limit, i < 30 ? 2 : 3);
		assert_int_equal(weir_ticket_done(&ticket, i < 20 ? WEIR_TICKET_IGNORE :
								    WEIR_TICKET_OK), 0);
	}
	finish(&admit, 40);
}

static uint64_t metric(const char *name)
{
	for (unsigned i = 0; i < weir__metric_count(); i++)
		if (!strcmp(weir__metric_entry(i)->name, name))
			return weir__metric_get(&weir__self->metrics, i);
	fail_msg("no metric %s", name);
	return 0;
}

static void everything_is_counted_in_metrics_too(void)
{
	struct weir_admit admit;
	struct weir_ticket ticket, other;

	make(&admit, (struct weir_admit_opts){ .limiter = LIMIT(1) });
	assert_int_equal(metric("weir_admit_limit"), 1);
	ticket = take(&admit);
	assert_int_equal(metric("weir_admit_inflight"), 1);
	assert_int_equal(weir_admit_try(&admit, 0, WEIR_NEVER, &other), -EAGAIN);
	assert_int_equal(weir_admit_try(&admit, 0, 0, &other), -ETIMEDOUT);
	ask(&admit, (struct asker){ .holds_ns = 0 });
	assert_int_equal(metric("weir_admit_waiting"), 1);
	weir_coro_cancel(askers[0].coro);
	join_all();
	weir_admit_stop(&admit);
	assert_int_equal(weir_admit_try(&admit, 0, WEIR_NEVER, &other), -ESHUTDOWN);
	give(&ticket);
	assert_int_equal(metric("weir_admit_admitted"), 1);
	assert_int_equal(metric("weir_admit_shed_full"), 1);
	assert_int_equal(metric("weir_admit_shed_deadline"), 1);
	assert_int_equal(metric("weir_admit_shed_cancelled"), 1);
	assert_int_equal(metric("weir_admit_shed_stopping"), 1);
	assert_int_equal(metric("weir_admit_shed_codel"), 0);
	assert_int_equal(metric("weir_admit_shed_class"), 0);
	assert_int_equal(metric("weir_admit_inflight"), 0);
	assert_int_equal(metric("weir_admit_waiting"), 0);
	finish(&admit, 5);
	assert_int_equal(metric("weir_admit_limit"), 0);
	assert_string_equal(weir_shed_name(WEIR_SHED_CODEL), "codel");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(wrong_options_and_calls_are_refused),
		on_worker(on_another_worker),
		on_worker(outside_a_coroutine_there_is_a_ticket_or_none_but_no_waiting),
		on_worker(no_more_than_the_limit_are_in_progress_and_the_others_go_on_in_turn),
		on_worker(a_ticket_that_comes_back_is_the_first_in_line_s_before_it_runs),
		on_worker(a_full_line_refuses_who_comes_or_drops_the_oldest_when_newest_first),
		on_worker(the_newest_goes_first_once_the_oldest_is_late),
		on_worker(requests_that_only_compute_are_in_line_and_not_in_the_run_queue),
		on_worker(overload_lasts_while_somebody_is_late),
		on_worker(a_burst_that_is_late_once_is_not_overload),
		on_worker(overload_sheds_the_late_and_ends_with_the_queue),
		on_worker(who_would_get_his_answer_after_his_deadline_is_shed_when_it_is_his_turn),
		on_worker(a_deadline_that_cannot_be_met_is_told_at_once),
		on_worker(a_median_that_was_too_high_does_not_shed_for_ever),
		on_worker(who_is_cancelled_in_line_holds_nothing_and_is_counted),
		on_worker(stopping_sheds_the_line_and_who_comes_but_not_what_is_in_progress),
		on_worker(a_higher_class_goes_first_but_a_lower_one_gets_its_share),
		on_worker(equal_classes_go_by_age),
		on_worker(a_higher_class_takes_places_of_a_lower_but_not_those_of_its_share),
		on_worker(a_class_has_a_bound_of_its_own),
		on_worker(outcomes_teach_the_limiter_what_they_are),
		on_worker(what_is_ignored_says_nothing_about_the_service),
		on_worker(everything_is_counted_in_metrics_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
