/* SPDX-License-Identifier: MIT */
/*
 * test_sync.c - mutex, condition, rwlock, semaphore: who waits is served in order, who leaves has
 * taken nothing, and what is free is had at once.
 */
#include "on_worker.h"

#include "futures/weir_sync.h"

static char trail[64];
static unsigned trail_size;

static void mark(char c)
{
	assert_true(trail_size + 1 < sizeof(trail));
	trail[trail_size++] = c;
	trail[trail_size] = '\0';
}

static void begin_trail(void)
{
	trail_size = 0;
	trail[0] = '\0';
}

struct party {
	void *of;
	char name;
	unsigned n;
	int64_t deadline_ns;
	int64_t holds_ns;
	int res;
	struct weir_coro *coro;
};

static void enter(struct party *p, weir_coro_fn fn, void *of, char name)
{
	p->of = of;
	p->name = name;
	if (!p->deadline_ns)
		p->deadline_ns = WEIR_NEVER;
	p->coro = start(fn, p);
}

static void leave(struct party *parties, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(weir_coro_join(parties[i].coro, WEIR_NEVER, NULL), 0);
}

/* --- mutex --- */

static int locks(void *arg)
{
	struct party *p = arg;

	p->res = weir_mutex_lock(p->of, p->deadline_ns);
	if (p->res)
		return 0;
	mark(p->name);
	weir_sleep(p->holds_ns);
	assert_int_equal(weir_mutex_unlock(p->of), 0);
	return 0;
}

static void a_mutex_is_held_by_one_at_a_time_in_the_order_they_came(void)
{
	struct party p[3] = { { .holds_ns = WEIR_MS }, { .holds_ns = WEIR_MS }, { .n = 0 } };
	struct weir_mutex mutex;

	begin_trail();
	assert_int_equal(weir_mutex_init(&mutex), 0);
	assert_int_equal(weir_mutex_lock(&mutex, 0), 0);
	for (int i = 0; i < 3; i++)
		enter(&p[i], locks, &mutex, (char)('a' + i));
	turns(2);
	assert_string_equal(trail, "");
	assert_int_equal(weir_mutex_unlock(&mutex), 0);
	/* Free it is not: a is the holder before it has run. */
	assert_int_equal(weir_mutex_lock(&mutex, 0), -ETIMEDOUT);
	leave(p, 3);
	assert_string_equal(trail, "abc");
	assert_int_equal(weir_mutex_fini(&mutex), 0);
}

static void who_is_cancelled_or_late_leaves_the_line_without_the_mutex(void)
{
	struct party p[3] = { { .n = 0 }, { .deadline_ns = weir_in(WEIR_MS) }, { .n = 0 } };
	struct weir_mutex mutex;

	begin_trail();
	weir_mutex_init(&mutex);
	weir_mutex_lock(&mutex, 0);
	for (int i = 0; i < 3; i++)
		enter(&p[i], locks, &mutex, (char)('a' + i));
	turns(1);
	weir_coro_cancel(p[0].coro);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(p[0].res, -ECANCELED);
	assert_int_equal(p[1].res, -ETIMEDOUT);
	weir_mutex_unlock(&mutex);
	leave(p, 3);
	assert_string_equal(trail, "c");
}

static void a_mutex_that_was_handed_over_is_held_by_a_coroutine_cancelled_then(void)
{
	struct party p = { .n = 0 };
	struct weir_mutex mutex;

	begin_trail();
	weir_mutex_init(&mutex);
	weir_mutex_lock(&mutex, 0);
	enter(&p, locks, &mutex, 'a');
	turns(1);
	weir_mutex_unlock(&mutex);
	weir_coro_cancel(p.coro);
	leave(&p, 1);
	assert_int_equal(p.res, 0);
	assert_int_equal(weir_mutex_fini(&mutex), 0);
}

static int free_things_when_cancelled(void *arg)
{
	struct weir_semaphore semaphore;
	struct weir_rwlock rwlock;
	struct weir_mutex mutex;

	(void)arg;
	weir_coro_cancel(weir_coro_self());
	weir_mutex_init(&mutex);
	weir_rwlock_init(&rwlock);
	weir_semaphore_init(&semaphore, 1, 1);
	assert_int_equal(weir_mutex_lock(&mutex, 0), 0);
	assert_int_equal(weir_rwlock_read(&rwlock, 0), 0);
	assert_int_equal(weir_semaphore_acquire(&semaphore, 1, 0), 0);
	assert_int_equal(weir_semaphore_acquire(&semaphore, 1, WEIR_NEVER), -ECANCELED);
	return 0;
}

static void what_is_free_is_had_by_a_cancelled_coroutine_too(void)
{
	struct weir_coro *coro = start(free_things_when_cancelled, NULL);

	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, NULL), 0);
}

static void a_mutex_in_the_wrong_state_has_a_defined_answer(void)
{
	struct party p = { .holds_ns = WEIR_MS };
	struct weir_mutex mutex;

	weir_mutex_init(&mutex);
	assert_int_equal(weir_mutex_unlock(&mutex), -EPERM);
	assert_int_equal(weir_mutex_lock(&mutex, WEIR_NEVER), 0);
	assert_int_equal(weir_mutex_lock(&mutex, WEIR_NEVER), -EDEADLK);
	assert_int_equal(weir_mutex_fini(&mutex), -EBUSY);
	assert_int_equal(weir_mutex_unlock(&mutex), 0);
	assert_int_equal(weir_mutex_unlock(&mutex), -EPERM);
	enter(&p, locks, &mutex, 'a');
	turns(1);
	assert_int_equal(weir_mutex_unlock(&mutex), -EPERM);
	leave(&p, 1);
	assert_int_equal(weir_mutex_fini(&mutex), 0);
	mutex.home_ = &p;
	assert_int_equal(weir_mutex_lock(&mutex, 0), -EPROTO);
	assert_int_equal(weir_mutex_unlock(&mutex), -EPROTO);
	assert_int_equal(weir_mutex_fini(&mutex), -EPROTO);
}

/* --- condition --- */

static struct weir_mutex cond_mutex;

static int awaits(void *arg)
{
	struct party *p = arg;

	assert_int_equal(weir_mutex_lock(&cond_mutex, WEIR_NEVER), 0);
	p->res = weir_cond_wait(p->of, &cond_mutex, p->deadline_ns);
	mark(p->name);
	assert_int_equal(weir_mutex_unlock(&cond_mutex), 0);
	return 0;
}

static void a_signal_lets_the_first_go_on_and_a_broadcast_all(void)
{
	struct party p[4] = { { .n = 0 } };
	struct weir_cond cond;

	begin_trail();
	weir_mutex_init(&cond_mutex);
	weir_cond_init(&cond);
	for (int i = 0; i < 4; i++)
		enter(&p[i], awaits, &cond, (char)('a' + i));
	turns(3);
	assert_int_equal(weir_cond_fini(&cond), -EBUSY);
	weir_cond_signal(&cond);
	turns(3);
	assert_string_equal(trail, "a");
	weir_cond_broadcast(&cond);
	leave(p, 4);
	assert_string_equal(trail, "abcd");
	assert_int_equal(weir_cond_fini(&cond), 0);
	assert_int_equal(weir_cond_signal(&cond), 0);
	assert_int_equal(weir_cond_broadcast(&cond), 0);
}

static void a_wait_that_is_cancelled_has_the_mutex_again_before_it_returns(void)
{
	struct party p[2] = { { .n = 0 }, { .deadline_ns = weir_in(WEIR_MS) } };
	struct weir_cond cond;

	begin_trail();
	weir_mutex_init(&cond_mutex);
	weir_cond_init(&cond);
	enter(&p[0], awaits, &cond, 'a');
	enter(&p[1], awaits, &cond, 'b');
	turns(2);
	assert_int_equal(weir_mutex_lock(&cond_mutex, 0), 0);
	weir_coro_cancel(p[0].coro);
	weir_sleep(5 * WEIR_MS);
	assert_string_equal(trail, "");
	weir_mutex_unlock(&cond_mutex);
	leave(p, 2);
	assert_string_equal(trail, "ab");
	assert_int_equal(p[0].res, -ECANCELED);
	assert_int_equal(p[1].res, -ETIMEDOUT);
}

static void waiting_for_a_condition_needs_its_mutex(void)
{
	struct weir_cond cond;

	weir_mutex_init(&cond_mutex);
	weir_cond_init(&cond);
	assert_int_equal(weir_cond_wait(&cond, &cond_mutex, WEIR_NEVER), -EPERM);
	assert_int_equal(weir_cond_wait(&cond, &cond_mutex, 0), -EPERM);
	weir_mutex_lock(&cond_mutex, 0);
	assert_int_equal(weir_cond_wait(&cond, &cond_mutex, 0), -ETIMEDOUT);
	assert_int_equal(weir_mutex_unlock(&cond_mutex), 0);
	cond.home_ = NULL;
	assert_int_equal(weir_cond_signal(&cond), -EPROTO);
	assert_int_equal(weir_cond_broadcast(&cond), -EPROTO);
	assert_int_equal(weir_cond_wait(&cond, &cond_mutex, 0), -EPROTO);
}

/* --- rwlock --- */

static int reads(void *arg)
{
	struct party *p = arg;

	p->res = weir_rwlock_read(p->of, p->deadline_ns);
	if (p->res)
		return 0;
	mark(p->name);
	weir_sleep(p->holds_ns);
	mark((char)(p->name - 'a' + 'A'));
	assert_int_equal(weir_rwlock_unlock(p->of), 0);
	return 0;
}

static int writes(void *arg)
{
	struct party *p = arg;

	p->res = weir_rwlock_write(p->of, p->deadline_ns);
	if (p->res)
		return 0;
	mark(p->name);
	weir_sleep(p->holds_ns);
	mark((char)(p->name - 'a' + 'A'));
	assert_int_equal(weir_rwlock_unlock(p->of), 0);
	return 0;
}

static void many_read_together_and_neither_side_starves(void)
{
	struct party p[5];
	struct weir_rwlock rwlock;

	begin_trail();
	weir_rwlock_init(&rwlock);
	for (int i = 0; i < 5; i++) {
		p[i] = (struct party){ .holds_ns = WEIR_MS };
		enter(&p[i], i == 2 ? writes : reads, &rwlock, (char)('a' + i));
	}
	leave(p, 5);
	assert_string_equal(trail, "abABcCdeDE");
	assert_int_equal(weir_rwlock_fini(&rwlock), 0);
}

static void readers_behind_a_writer_that_gives_up_read_at_once(void)
{
	struct party p[3] = { { .holds_ns = WEIR_S }, { .deadline_ns = weir_in(WEIR_MS) },
			      { .holds_ns = WEIR_MS } };
	struct weir_rwlock rwlock;

	begin_trail();
	weir_rwlock_init(&rwlock);
	enter(&p[0], reads, &rwlock, 'a');
	enter(&p[1], writes, &rwlock, 'b');
	enter(&p[2], reads, &rwlock, 'c');
	weir_sleep(10 * WEIR_MS);
	assert_int_equal(p[1].res, -ETIMEDOUT);
	assert_string_equal(trail, "acC");
	leave(p, 3);
}

static void a_rwlock_in_the_wrong_state_has_a_defined_answer(void)
{
	struct weir_rwlock rwlock;

	weir_rwlock_init(&rwlock);
	assert_int_equal(weir_rwlock_unlock(&rwlock), -EPERM);
	assert_int_equal(weir_rwlock_write(&rwlock, WEIR_NEVER), 0);
	assert_int_equal(weir_rwlock_write(&rwlock, WEIR_NEVER), -EDEADLK);
	assert_int_equal(weir_rwlock_read(&rwlock, WEIR_NEVER), -EDEADLK);
	assert_int_equal(weir_rwlock_fini(&rwlock), -EBUSY);
	assert_int_equal(weir_rwlock_unlock(&rwlock), 0);
	assert_int_equal(weir_rwlock_read(&rwlock, 0), 0);
	assert_int_equal(weir_rwlock_write(&rwlock, 0), -ETIMEDOUT);
	assert_int_equal(weir_rwlock_fini(&rwlock), -EBUSY);
	assert_int_equal(weir_rwlock_unlock(&rwlock), 0);
	rwlock.home_ = NULL;
	assert_int_equal(weir_rwlock_read(&rwlock, 0), -EPROTO);
	assert_int_equal(weir_rwlock_write(&rwlock, 0), -EPROTO);
	assert_int_equal(weir_rwlock_unlock(&rwlock), -EPROTO);
}

/* --- semaphore --- */

static int acquires(void *arg)
{
	struct party *p = arg;

	p->res = weir_semaphore_acquire(p->of, p->n, p->deadline_ns);
	if (!p->res)
		mark(p->name);
	return 0;
}

static void units_go_to_the_first_in_line_and_nobody_overtakes(void)
{
	struct party p[3] = { { .n = 3 }, { .n = 1 }, { .n = 2 } };
	struct weir_semaphore semaphore;

	begin_trail();
	assert_int_equal(weir_semaphore_init(&semaphore, 2, 4), 0);
	for (int i = 0; i < 3; i++)
		enter(&p[i], acquires, &semaphore, (char)('a' + i));
	turns(2);
	assert_string_equal(trail, "");
	assert_int_equal(weir_semaphore_acquire(&semaphore, 1, 0), -ETIMEDOUT);
	weir_semaphore_release(&semaphore, 2);
	turns(2);
	assert_string_equal(trail, "ab");
	assert_int_equal(weir_semaphore_count(&semaphore), 0);
	assert_int_equal(weir_semaphore_fini(&semaphore), -EBUSY);
	weir_semaphore_release(&semaphore, 3);
	leave(p, 3);
	assert_string_equal(trail, "abc");
	assert_int_equal(weir_semaphore_count(&semaphore), 1);
	assert_int_equal(weir_semaphore_fini(&semaphore), 0);
}

static void those_behind_one_who_gives_up_get_what_is_there(void)
{
	struct party p[2] = { { .n = 4, .deadline_ns = weir_in(WEIR_MS) }, { .n = 1 } };
	struct weir_semaphore semaphore;

	begin_trail();
	weir_semaphore_init(&semaphore, 2, 4);
	enter(&p[0], acquires, &semaphore, 'a');
	enter(&p[1], acquires, &semaphore, 'b');
	leave(p, 2);
	assert_int_equal(p[0].res, -ETIMEDOUT);
	assert_string_equal(trail, "b");
	assert_int_equal(weir_semaphore_count(&semaphore), 1);
}

static void the_bound_of_a_semaphore_is_held_on_both_sides(void)
{
	struct weir_semaphore semaphore;

	assert_int_equal(weir_semaphore_init(&semaphore, 5, 4), -EINVAL);
	assert_int_equal(weir_semaphore_init(&semaphore, 0, 0), -EINVAL);
	assert_int_equal(weir_semaphore_init(&semaphore, 4, 4), 0);
	assert_int_equal(weir_semaphore_release(&semaphore, 1), -EINVAL);
	assert_int_equal(weir_semaphore_acquire(&semaphore, 0, 0), -EINVAL);
	assert_int_equal(weir_semaphore_acquire(&semaphore, 5, 0), -EINVAL);
	assert_int_equal(weir_semaphore_acquire(&semaphore, 4, 0), 0);
	assert_int_equal(weir_semaphore_acquire(&semaphore, 1, 0), -ETIMEDOUT);
	assert_int_equal(weir_semaphore_release(&semaphore, 5), -EINVAL);
	assert_int_equal(weir_semaphore_release(&semaphore, 4), 0);
	semaphore.home_ = NULL;
	assert_int_equal(weir_semaphore_acquire(&semaphore, 1, 0), -EPROTO);
	assert_int_equal(weir_semaphore_release(&semaphore, 1), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(a_mutex_is_held_by_one_at_a_time_in_the_order_they_came),
		on_worker(who_is_cancelled_or_late_leaves_the_line_without_the_mutex),
		on_worker(
			a_mutex_that_was_handed_over_is_held_by_a_coroutine_cancelled_then),
		on_worker(what_is_free_is_had_by_a_cancelled_coroutine_too),
		on_worker(a_mutex_in_the_wrong_state_has_a_defined_answer),
		on_worker(a_signal_lets_the_first_go_on_and_a_broadcast_all),
		on_worker(a_wait_that_is_cancelled_has_the_mutex_again_before_it_returns),
		on_worker(waiting_for_a_condition_needs_its_mutex),
		on_worker(many_read_together_and_neither_side_starves),
		on_worker(readers_behind_a_writer_that_gives_up_read_at_once),
		on_worker(a_rwlock_in_the_wrong_state_has_a_defined_answer),
		on_worker(units_go_to_the_first_in_line_and_nobody_overtakes),
		on_worker(those_behind_one_who_gives_up_get_what_is_there),
		on_worker(the_bound_of_a_semaphore_is_held_on_both_sides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
