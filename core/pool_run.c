/* SPDX-License-Identifier: MIT */
/*
 * pool_run.c - how work comes to a pool: lent, run and waited for, split into pieces, or one after
 * the other.
 */
#include "core/alloc.h"
#include "core/coro.h"
#include "core/pool.h"
#include "core/worker.h"

/* --- lent --- */

struct submission {
	struct weir__pool_parked parked;
	struct weir_work *work;
};

static void stop_waiting(struct weir_wait *wait, int reason)
{
	struct weir__pool_parked *parked = weir_container_of(wait, struct weir__pool_parked, wait);
	struct submission *submission = weir_container_of(parked, struct submission, parked);

	if (weir__pool_unpark(submission->work))
		weir__wait_wake(wait, reason);
	/* Else it was admitted, or the pool ends: we are about to be told. */
}

static int submit(struct weir_work *work)
{
	struct weir_coro *self = weir_coro_self();
	struct submission submission = { .work = work };
	int r;

	if (self) {
		submission.parked.mesh = weir__self->port.mesh;
		submission.parked.core = weir__self->index;
		weir__wait_init(&submission.parked.wait);
		work->parked_ = &submission.parked;
	}
	r = weir__pool_put(work->pool_, &work, 1, self != NULL);
	if (r)
		return r < 0 ? r : 0;
	r = weir__wait_park(&submission.parked.wait, "pool_submit", stop_waiting,
			    work->deadline_ns_);
	if (r < 0)
		weir__worker_release(weir__self);
	return r;
}

int weir_pool_submit(struct weir_pool *pool, unsigned class_index, struct weir_work *work,
		     int64_t deadline_ns)
{
	int r = weir__pool_prepare(pool, class_index, work, deadline_ns);

	return r < 0 ? r : submit(work);
}

int weir_pool_submit_many(struct weir_pool *pool, unsigned class_index,
			  struct weir_work *const *works, unsigned count, int64_t deadline_ns)
{
	unsigned i;
	int r = 0;

	for (i = 0; i < count && !r; i++)
		r = weir__pool_prepare(pool, class_index, works[i], deadline_ns);
	if (r < 0 && !--i)
		return r;
	return weir__pool_put(pool, works, i, false);
}

/* --- run and waited for --- */

struct pool_run {
	struct weir_work work;
	struct weir_wait wait;
	weir_pool_fn fn;
	void *arg;
	int res;
	bool ran;
};

static int run_fn(struct weir_work *work)
{
	struct pool_run *run = weir_container_of(work, struct pool_run, work);

	run->res = run->fn(run->arg);
	run->ran = true;
	return run->res;
}

static void run_done(struct weir_work *work, int res)
{
	struct pool_run *run = weir_container_of(work, struct pool_run, work);

	weir__wait_wake(&run->wait, run->ran ? 0 : res);
}

static void run_cancel(struct weir_wait *wait, int reason)
{
	weir__pool_take_back(&weir_container_of(wait, struct pool_run, wait)->work, reason);
}

int weir_pool_run(struct weir_pool *pool, unsigned class_index, weir_pool_fn fn, void *arg,
		  int64_t deadline_ns, int *ret_res)
{
	struct pool_run run = { .fn = fn, .arg = arg };
	struct weir_work *work = &run.work;
	int r = weir__wait_check(deadline_ns);

	if (r < 0)
		return r;
	weir_work_init(work, run_fn, run_done);
	r = weir__pool_prepare(pool, class_index, work, deadline_ns);
	if (r < 0)
		return r;
	weir__wait_init(&run.wait);
	r = weir__pool_put(pool, &work, 1, true);
	if (r < 0)
		return r;
	r = weir__wait_park(&run.wait, "pool", run_cancel, deadline_ns);
	if (!r && ret_res)
		*ret_res = run.res;
	return r;
}

/* --- in pieces --- */

#define PIECES_PER_THREAD 16
#define HELPERS_MAX 64

struct helper {
	struct weir_work work;
	struct pool_for *of;
	bool ran;
};

struct pool_for {
	weir_pool_for_fn fn;
	void *arg;
	size_t count;
	size_t grain;
	size_t next;		/* the first index that nobody has taken; by all threads */
	int error;		/* the first; by all threads */
	int refused;		/* why a helper was not run */
	bool has_run;		/* one was */
	unsigned count_lent;	/* helpers that are not done */
	struct weir_wait wait;
	unsigned helper_count;
	struct helper helpers[];
};

static void fail(struct pool_for *of, int error)
{
	int none = 0;

	__atomic_compare_exchange_n(&of->error, &none, error, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

/* The next piece into [*ret_first, *ret_end). */
static bool take_piece(struct pool_for *of, size_t *ret_first, size_t *ret_end)
{
	size_t first = __atomic_load_n(&of->next, __ATOMIC_RELAXED);
	size_t end;

	do {
		if (first == of->count)
			return false;
		end = of->count - first > of->grain ? first + of->grain : of->count;
	} while (!__atomic_compare_exchange_n(&of->next, &first, end, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	*ret_first = first;
	*ret_end = end;
	return true;
}

static int help(struct weir_work *work)
{
	struct helper *helper = weir_container_of(work, struct helper, work);
	struct pool_for *of = helper->of;
	size_t first, end;

	helper->ran = true;
	while (!__atomic_load_n(&of->error, __ATOMIC_RELAXED) && take_piece(of, &first, &end)) {
		int r = of->fn(first, end, of->arg);

		if (r < 0)
			fail(of, r);
	}
	return 0;
}

static void helped(struct weir_work *work, int res)
{
	struct helper *helper = weir_container_of(work, struct helper, work);
	struct pool_for *of = helper->of;

	if (res == -EOWNERDEAD)
		fail(of, res);
	else if (helper->ran)
		of->has_run = true;
	else
		of->refused = res;
	if (!--of->count_lent)
		weir__wait_wake(&of->wait, 0);
}

/* Pieces that run are waited for. */
static void for_cancel(struct weir_wait *wait, int reason)
{
	struct pool_for *of = weir_container_of(wait, struct pool_for, wait);
	unsigned i;

	fail(of, reason);
	for (i = 0; i < of->helper_count; i++)
		weir__pool_take_back(&of->helpers[i].work, reason);
}

/* The first helper waits for room as the class says; the others come if there is some. */
static int lend_helpers(struct pool_for *of, struct weir_pool *pool, unsigned class_index)
{
	struct weir_work *works[HELPERS_MAX];
	unsigned i;
	int r = 0;

	for (i = 0; i < of->helper_count && !r; i++) {
		struct helper *helper = &of->helpers[i];

		helper->of = of;
		weir_work_init(&helper->work, help, helped);
		works[i] = &helper->work;
		r = weir__pool_prepare(pool, class_index, works[i], WEIR_NEVER);
	}
	if (!r)
		r = weir__pool_put(pool, works, 1, true);
	if (r < 0)
		return r;
	of->count_lent = 1;
	r = weir__pool_put(pool, works + 1, of->helper_count - 1, false);
	if (r > 0)
		of->count_lent += (unsigned)r;
	return 0;
}

static int run_for(struct pool_for *of, struct weir_pool *pool, unsigned class_index)
{
	int r;

	weir__wait_init(&of->wait);
	r = lend_helpers(of, pool, class_index);
	if (r < 0)
		return r;
	weir__wait_park(&of->wait, "pool_for", for_cancel, WEIR_NEVER);
	if (of->error)
		return of->error;
	return of->has_run ? 0 : of->refused;
}

static unsigned helpers_of(const struct weir_pool *pool, unsigned class_index, size_t pieces)
{
	unsigned count = pool->classes[class_index].opts.threads_max;

	if (count > HELPERS_MAX)
		count = HELPERS_MAX;
	return pieces < count ? (unsigned)pieces : count;
}

int weir_pool_for(struct weir_pool *pool, unsigned class_index, size_t count, size_t grain,
		  weir_pool_for_fn fn, void *arg)
{
	struct pool_for *of;
	unsigned helpers;
	size_t size;
	int r = weir__wait_check(WEIR_NEVER);

	if (r < 0)
		return r;
	if (class_index >= pool->opts.class_count)
		return -EINVAL;
	if (!count)
		return 0;
	if (!grain)
		grain = 1 + (count - 1) / PIECES_PER_THREAD / helpers_of(pool, class_index, count);
	helpers = helpers_of(pool, class_index, 1 + (count - 1) / grain);
	size = sizeof(*of) + helpers * sizeof(of->helpers[0]);
	of = weir__calloc(1, size);
	if (!of)
		return -ENOMEM;
	of->fn = fn;
	of->arg = arg;
	of->count = count;
	of->grain = grain;
	of->helper_count = helpers;
	r = run_for(of, pool, class_index);
	weir__free(of, size);
	return r;
}

/* --- one after the other --- */

int weir_strand_init(struct weir_strand *strand, struct weir_pool *pool, unsigned class_index)
{
	if (class_index >= pool->opts.class_count)
		return -EINVAL;
	*strand = (struct weir_strand){ .pool_ = pool, .class_ = class_index };
	weir__list_init((struct weir_node *)(void *)&strand->next_);
	return 0;
}

int weir_strand_fini(struct weir_strand *strand)
{
	struct weir_pool *pool = strand->pool_;
	bool is_busy;

	pthread_mutex_lock(&pool->lock);
	is_busy = strand->count_ || strand->busy_;
	pthread_mutex_unlock(&pool->lock);
	return is_busy ? -EBUSY : 0;
}

int weir_strand_submit(struct weir_strand *strand, struct weir_work *work, int64_t deadline_ns)
{
	int r = weir__pool_prepare(strand->pool_, strand->class_, work, deadline_ns);

	if (r < 0)
		return r;
	work->strand_ = strand;
	return submit(work);
}
