/* SPDX-License-Identifier: MIT */
/*
 * test_worker.c - the turn of one worker on virtual time: what runs when, how much of it,
 * and when the loop ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/worker.h"
#include "core/weir_mesh.h"
#include "core/weir_runtime.h"
#include "tests/support/fake_driver.h"

static struct fake_driver fake;
static struct weir_worker worker;

static int begin(const struct weir_worker_opts *opts)
{
	fake_driver_init(&fake);
	return weir__worker_init(&worker, &fake.driver, opts);
}

static int set_up(void **state)
{
	return begin(NULL);
}

static int tear_down(void **state)
{
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
	return 0;
}

/* A task that notes when it ran, and may become ready again. */
struct note {
	struct weir_task task;
	unsigned ran;		/* how often */
	unsigned order;		/* of its last run */
	unsigned again;		/* times it makes itself ready */
	bool again_last;
	int64_t takes_ns;
};

static unsigned order;

static void run(struct weir_task *task)
{
	struct note *note = weir_container_of(task, struct note, task);

	note->ran++;
	note->order = ++order;
	fake.now_ns += note->takes_ns;
	if (!note->again)
		return;
	note->again--;
	if (note->again_last)
		weir_task_ready_last(task);
	else
		weir_task_ready(task);
}

static void note_init(struct note *note)
{
	*note = (struct note){ 0 };
	weir_task_init(&note->task, run);
	order = 0;
}

static void turn(void)
{
	assert_int_equal(weir__worker_turn(&worker, 0), 0);
}

static void tasks_run_in_the_order_in_which_they_became_ready(void **state)
{
	struct note notes[3];
	unsigned i;

	for (i = 0; i < 3; i++)
		note_init(&notes[i]);
	for (i = 0; i < 3; i++)
		weir_task_ready(&notes[i].task);
	turn();
	for (i = 0; i < 3; i++)
		assert_int_equal(notes[i].order, i + 1);
}

static void a_task_that_is_queued_twice_runs_once(void **state)
{
	struct note note;

	note_init(&note);
	weir_task_ready(&note.task);
	weir_task_ready(&note.task);
	weir_task_ready_last(&note.task);
	turn();
	assert_int_equal(note.ran, 1);
	turn();
	assert_int_equal(note.ran, 1);
}

static void tasks_for_the_end_of_the_turn_run_after_all_others_of_it(void **state)
{
	struct note last, first;

	note_init(&last);
	note_init(&first);
	first.again = 3;
	weir_task_ready_last(&last.task);
	weir_task_ready(&first.task);
	turn();
	assert_int_equal(first.ran, 4);
	assert_int_equal(last.order, 5);
}

static void a_last_task_that_asks_again_gets_the_next_turns_end(void **state)
{
	struct note note;

	note_init(&note);
	note.again = 1;
	note.again_last = true;
	weir_task_ready_last(&note.task);
	turn();
	assert_int_equal(note.ran, 1);
	turn();
	assert_int_equal(note.ran, 2);
}

static void a_turn_runs_no_more_tasks_than_its_budget(void **state)
{
	const struct weir_worker_opts opts = { .budget_tasks = 40 };
	struct note note;

	tear_down(NULL);
	assert_int_equal(begin(&opts), 0);
	note_init(&note);
	note.again = 1000;
	weir_task_ready(&note.task);
	turn();
	assert_int_equal(note.ran, 40);
	assert_int_equal(fake.turns, 1);
	turn();
	assert_int_equal(note.ran, 80);
}

static void a_turn_ends_after_its_budget_of_time(void **state)
{
	struct note note;

	note_init(&note);
	note.again = 1000;
	note.takes_ns = 10 * WEIR_US;
	weir_task_ready(&note.task);
	turn();
	/* 100 us are over after ten; the clock is looked at after sixteen. */
	assert_int_equal(note.ran, 16);
}

static void the_last_tasks_run_although_the_budget_is_spent(void **state)
{
	struct note note, last;

	note_init(&note);
	note_init(&last);
	note.again = 1000;
	weir_task_ready(&note.task);
	weir_task_ready_last(&last.task);
	turn();
	assert_int_equal(last.ran, 1);
}

static void the_clock_stands_still_within_a_turn(void **state)
{
	struct note note;
	int64_t before = weir_now();

	note_init(&note);
	note.takes_ns = WEIR_MS;
	weir_task_ready(&note.task);
	turn();
	assert_int_equal(weir_now(), before + WEIR_MS);
	fake.now_ns += 5;
	assert_int_equal(weir_now(), before + WEIR_MS);
	assert_int_equal(weir_clock(), before + WEIR_MS + 5);
}

struct alarm {
	struct weir_timer timer;
	int64_t fired_ns;
};

static void ring(struct weir_timer *timer)
{
	weir_container_of(timer, struct alarm, timer)->fired_ns = weir_now();
}

static void a_worker_sleeps_until_the_next_timer(void **state)
{
	struct alarm alarm = { .fired_ns = 0 };
	int64_t due = weir_in(WEIR_S);

	weir_timer_init(&alarm.timer, ring);
	weir_timer_arm(&alarm.timer, due);
	while (!alarm.fired_ns)
		assert_int_equal(weir__worker_turn(&worker, WEIR_NEVER), 0);
	assert_true(alarm.fired_ns >= due && alarm.fired_ns <= due + WEIR__TICK_NS);
	assert_true(fake.turns <= 3);
}

/* What completes in the driver derives its deadlines from a clock that was read after the sleep. */
static int64_t deadline_ns;

static int reap_after_an_hour(struct fake_driver *self)
{
	self->now_ns += 3600 * WEIR_S;
	weir__worker_awake(self->driver.worker);
	deadline_ns = weir_in(WEIR_S);
	return 1;
}

static void a_completion_sees_the_time_after_the_sleep(void **state)
{
	fake.reap = reap_after_an_hour;
	assert_int_equal(weir__worker_turn(&worker, WEIR_NEVER), 0);
	assert_int_equal(deadline_ns, fake.now_ns + WEIR_S);
}

static uint32_t asleep_in_the_wait;

static int look_at_sleep_word(struct fake_driver *self)
{
	asleep_in_the_wait = worker.port.berth->asleep;
	return 0;
}

static void the_sleep_word_says_whether_the_worker_waits(void **state)
{
	fake.reap = look_at_sleep_word;
	assert_int_equal(weir__worker_turn(&worker, weir_in(WEIR_S)), 0);
	assert_int_equal(asleep_in_the_wait, 1);
	assert_int_equal(worker.port.berth->asleep, 0);
	assert_false(worker.waiting);
	assert_int_equal(weir__worker_turn(&worker, 0), 0);
	assert_int_equal(asleep_in_the_wait, 0);
}

static void a_ready_task_is_not_made_to_wait(void **state)
{
	struct note note;

	note_init(&note);
	note.again = 1000;
	weir_task_ready(&note.task);
	assert_int_equal(weir__worker_turn(&worker, WEIR_NEVER), 0);
	assert_int_equal(fake.sleeps, 0);
}

static void what_the_driver_fails_with_comes_out_of_the_loop(void **state)
{
	/* Nothing can ever happen: the fake driver refuses to wait for ever. */
	weir__worker_hold(&worker);
	assert_int_equal(weir__worker_loop(&worker), -EDEADLK);
	weir__worker_release(&worker);
}

static int reap_one(struct fake_driver *self)
{
	return 1;
}

static void the_loop_ends_when_nothing_lives_and_the_driver_is_drained(void **state)
{
	struct note note;

	note_init(&note);
	note.again = 5;
	note.again_last = true;
	fake.pending_turns = 3;
	fake.reap = reap_one;
	weir_task_ready_last(&note.task);
	assert_int_equal(weir__worker_loop(&worker), 0);
	assert_int_equal(note.ran, 6);
	assert_true(fake.pending_turns < 0);
}

static void release_hold(struct weir_timer *timer)
{
	weir__worker_release(&worker);
}

static void a_hold_keeps_the_loop_running(void **state)
{
	struct weir_timer timer;
	int64_t before = fake.now_ns;

	weir__worker_hold(&worker);
	weir_timer_init(&timer, release_hold);
	weir_timer_arm(&timer, weir_in(10 * WEIR_S));
	assert_int_equal(weir__worker_loop(&worker), 0);
	assert_true(fake.now_ns - before >= 10 * WEIR_S);
}

static void a_timer_alone_does_not_keep_the_loop_running(void **state)
{
	struct alarm alarm = { .fired_ns = 0 };

	weir_timer_init(&alarm.timer, ring);
	weir_timer_arm(&alarm.timer, weir_in(WEIR_S));
	assert_int_equal(weir__worker_loop(&worker), 0);
	assert_int_equal(alarm.fired_ns, 0);
	weir_timer_cancel(&alarm.timer);
}

struct hook {
	struct weir_drain_hook hook;
	unsigned ran;
};

static void count_drain(struct weir_drain_hook *hook)
{
	weir_container_of(hook, struct hook, hook)->ran++;
}

static void drain_hooks_run_once_and_late_ones_at_once(void **state)
{
	struct hook early = { .hook.run = count_drain };
	struct hook gone = { .hook.run = count_drain };
	struct hook late = { .hook.run = count_drain };

	weir__worker_on_drain(&worker, &early.hook);
	weir__worker_on_drain(&worker, &gone.hook);
	weir__worker_off_drain(&worker, &gone.hook);
	assert_false(weir_is_draining());
	weir_drain();
	weir_drain();
	assert_true(weir_is_draining());
	weir__worker_on_drain(&worker, &late.hook);
	assert_int_equal(early.ran, 1);
	assert_int_equal(gone.ran, 0);
	assert_int_equal(late.ran, 1);
	weir__worker_off_drain(&worker, &early.hook);
}

static void bump(void *arg)
{
	++*(unsigned *)arg;
}

static void a_worker_on_its_own_posts_to_itself(void **state)
{
	unsigned count = 0;

	assert_int_equal(weir_core(), 0);
	assert_int_equal(weir_core_count(), 1);
	assert_int_equal(weir_post_try(0, bump, &count), 0);
	assert_int_equal(weir_post_try(1, bump, &count), -EINVAL);
	assert_int_equal(count, 0);
	assert_int_equal(weir__worker_turn(&worker, WEIR_NEVER), 0);
	assert_int_equal(count, 1);
}

static void run_exit(struct weir_worker_exit *hook)
{
	assert_ptr_equal(weir__self, &worker);
	order++;
}

static void exit_hooks_run_before_the_worker_is_gone(void **state)
{
	struct weir_worker_exit hook = { .run = run_exit };

	order = 0;
	weir__worker_at_exit(&worker, &hook);
	weir__worker_fini(&worker);
	assert_int_equal(order, 1);
	assert_null(weir__self);
	assert_int_equal(weir__worker_init(&worker, &fake.driver, NULL), 0);
}

static void outside_a_worker_time_and_randomness_are_the_systems(void **state)
{
	struct weir_worker *self = weir__self;
	int64_t before;

	weir__self = NULL;
	before = weir_now();
	assert_true(weir_clock() >= before);
	assert_true(weir_random() != weir_random());
	assert_int_equal(weir_core(), -1);
	assert_int_equal(weir_core_count(), 0);
	assert_int_equal(weir_post_try(0, bump, NULL), -EINVAL);
	assert_null(weir_runtime_self());
	assert_false(weir_is_draining());
	weir__self = self;
}

static void a_deadline_that_overflows_is_never(void **state)
{
	assert_int_equal(weir_in(WEIR_NEVER), WEIR_NEVER);
	assert_int_equal(weir_in(WEIR_NEVER - 1), WEIR_NEVER);
	assert_int_equal(weir_in(0), fake.now_ns);
	assert_true(weir_in(-5) < fake.now_ns);
	assert_true(weir_in(INT64_MIN) < fake.now_ns);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tasks_run_in_the_order_in_which_they_became_ready),
		TEST(a_task_that_is_queued_twice_runs_once),
		TEST(tasks_for_the_end_of_the_turn_run_after_all_others_of_it),
		TEST(a_last_task_that_asks_again_gets_the_next_turns_end),
		TEST(a_turn_runs_no_more_tasks_than_its_budget),
		TEST(a_turn_ends_after_its_budget_of_time),
		TEST(the_last_tasks_run_although_the_budget_is_spent),
		TEST(the_clock_stands_still_within_a_turn),
		TEST(a_worker_sleeps_until_the_next_timer),
		TEST(a_completion_sees_the_time_after_the_sleep),
		TEST(the_sleep_word_says_whether_the_worker_waits),
		TEST(a_ready_task_is_not_made_to_wait),
		TEST(what_the_driver_fails_with_comes_out_of_the_loop),
		TEST(the_loop_ends_when_nothing_lives_and_the_driver_is_drained),
		TEST(a_hold_keeps_the_loop_running),
		TEST(a_timer_alone_does_not_keep_the_loop_running),
		TEST(drain_hooks_run_once_and_late_ones_at_once),
		TEST(a_worker_on_its_own_posts_to_itself),
		TEST(exit_hooks_run_before_the_worker_is_gone),
		TEST(outside_a_worker_time_and_randomness_are_the_systems),
		TEST(a_deadline_that_overflows_is_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
