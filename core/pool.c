/* SPDX-License-Identifier: MIT */
/*
 * pool.c - what waits for a thread of the pool, and who is next; pool.h says who wakes whom.
 *
 * One lock, and not a queue for each thread: what is given to a pool takes microseconds at least,
 * and one queue has one order, one bound and one place to look when nothing happens. What took
 * other pools down was never the queue but the wakes (github.com/tokio-rs/tokio/pull/7757 and its
 * reverts), and they happen outside the lock here.
 *
 * Invariants, whenever the lock is free: a class's line is empty unless queued is depth_max;
 * queued is the works in ready and in the class's strands; and there is no work that a thread
 * could take while nobody looks (searcher, or a thread between two works) unless every thread
 * that may be is running.
 */
#include "core/pool.h"

#include "core/alloc.h"
#include "core/coro.h"
#include "core/worker.h"
#include "core/world.h"

static_assert(offsetof(struct weir_work, prev_) ==
		      offsetof(struct weir_work, next_) + offsetof(struct weir_node, prev),
	      "next_ and prev_ are a node");
static_assert(offsetof(struct weir_strand, prev_) ==
		      offsetof(struct weir_strand, next_) + offsetof(struct weir_node, prev),
	      "next_ and prev_ are a node");

static struct weir_node *node_of(struct weir_work *work)
{
	return (struct weir_node *)(void *)&work->next_;
}

static struct weir_work *work_of(struct weir_node *node)
{
	return weir_container_of(node, struct weir_work, next_);
}

static struct weir_node *waiting_of(struct weir_strand *strand)
{
	return (struct weir_node *)(void *)&strand->next_;
}

static struct weir__pool_class *class_of(const struct weir_work *work)
{
	return &work->pool_->classes[work->class_];
}

static enum weir__work_state state_of(const struct weir_work *work)
{
	return (enum weir__work_state)__atomic_load_n(&work->state_, __ATOMIC_RELAXED);
}

static void set_state(struct weir_work *work, enum weir__work_state state)
{
	__atomic_store_n(&work->state_, state, __ATOMIC_RELAXED);
}

void weir_work_init(struct weir_work *work, weir_work_fn fn, weir_work_done_fn done)
{
	*work = (struct weir_work){ .fn_ = fn, .done_ = done };
}

bool weir_work_is_cancelled(const struct weir_work *work)
{
	return __atomic_load_n(&work->cancelled_, __ATOMIC_RELAXED);
}

/* --- without the lock --- */

/* The driver that may carry a wake to mesh, if this is a worker of it. */
static struct weir_driver *carrier(const struct weir_mesh *mesh)
{
	return weir__self && weir__self->port.mesh == mesh ? weir__self->driver : NULL;
}

static void delivered(struct weir_post *post)
{
	struct weir_work *work = weir_container_of(post, struct weir_work, post_);

	weir__worker_release(weir__self);
	set_state(work, WEIR__WORK_IDLE);
	work->done_(work, work->res_);
}

static void deliver(struct weir_work *work)
{
	int r;

	if (work->mesh_) {
		r = weir__mesh_post(work->mesh_, work->core_, &work->post_, delivered,
				    carrier(work->mesh_));
		weir_assert(!r);	/* the worker is held */
		return;
	}
	set_state(work, WEIR__WORK_IDLE);
	work->done_(work, work->res_);
}

static void told(struct weir_post *post)
{
	struct weir__pool_parked *parked = weir_container_of(post, struct weir__pool_parked, post);

	weir__wait_wake(&parked->wait, parked->res);
}

void weir__pool_tell(struct weir__pool_parked *parked, int res)
{
	int r;

	parked->res = res;
	r = weir__mesh_post(parked->mesh, parked->core, &parked->post, told, carrier(parked->mesh));
	weir_assert(!r);	/* a coroutine lives there */
}

static void not_started(struct weir__pool_thread *thread, int error,
			struct weir__pool_after *after);

static int start(struct weir__pool_thread *thread)
{
	return weir__world ? weir__pool_thread_start_virtual(thread)
			   : weir__pool_thread_start(thread);
}

void weir__pool_carry_out(struct weir__pool_after *after)
{
	struct weir_link *link;
	int r;

	if (after->wake)
		pthread_cond_signal(&after->wake->wake);
	if (after->start) {
		r = start(after->start);
		if (r < 0)
			not_started(after->start, r, after);
	}
	while ((link = weir__queue_pop(&after->ended)))
		deliver(weir_container_of((void *)link, struct weir_work, next_));
	while ((link = weir__queue_pop(&after->admitted))) {
		struct weir_post *post = (void *)link;
		struct weir__pool_parked *parked =
			weir_container_of(post, struct weir__pool_parked, post);

		weir__pool_tell(parked, parked->res);
	}
	weir__pool_after_init(after);
}

/* --- under the lock --- */

static void end(struct weir_work *work, int res, struct weir__pool_after *after)
{
	set_state(work, WEIR__WORK_ENDED);
	work->res_ = res;
	if (work->strand_)
		work->strand_->count_--;
	weir__queue_push(&after->ended, (struct weir_link *)(void *)&work->next_);
}

static void make_ready(struct weir_work *work)
{
	if (work->strand_)
		work->strand_->busy_ = true;
	set_state(work, WEIR__WORK_QUEUED);
	weir__list_push(&class_of(work)->ready, node_of(work));
}

/* There is room for work. */
static void queue(struct weir_work *work)
{
	class_of(work)->queued++;
	work->since_ns_ = weir_clock();
	if (work->strand_ && work->strand_->busy_) {
		set_state(work, WEIR__WORK_STRANDED);
		weir__list_push(waiting_of(work->strand_), node_of(work));
	} else {
		make_ready(work);
	}
}

/* The one of strand that was queued or ran is no more. */
static void strand_next(struct weir_strand *strand)
{
	struct weir_node *node;

	if (!strand)
		return;
	strand->busy_ = false;
	node = weir__list_pop(waiting_of(strand));
	if (node)
		make_ready(work_of(node));
}

static void tell_later(struct weir_work *work, int res, struct weir__pool_after *after)
{
	struct weir__pool_parked *parked = work->parked_;

	work->parked_ = NULL;
	if (!parked)
		return;
	parked->res = res;
	weir__queue_push(&after->admitted, (struct weir_link *)(void *)&parked->post.next_);
}

static void admit(struct weir__pool_class *class, struct weir__pool_after *after)
{
	while (class->queued < class->opts.depth_max && !weir__list_is_empty(&class->line)) {
		struct weir_work *work = work_of(weir__list_pop(&class->line));

		class->parked--;
		queue(work);
		tell_later(work, 0, after);
	}
}

/* The first of class's ready leaves it. */
static struct weir_work *pop(struct weir__pool_class *class, struct weir__pool_after *after)
{
	struct weir_work *work = work_of(weir__list_pop(&class->ready));

	class->queued--;
	admit(class, after);
	return work;
}

static bool is_takeable(const struct weir_pool *pool, const struct weir__pool_class *class)
{
	return !weir__list_is_empty(&class->ready) &&
	       (class->running < class->opts.threads_max || pool->closing);
}

static bool is_before(const struct weir__pool_class *a, const struct weir__pool_class *b)
{
	if (a->opts.priority != b->opts.priority)
		return a->opts.priority > b->opts.priority;
	return work_of(a->ready.next)->since_ns_ < work_of(b->ready.next)->since_ns_;
}

static struct weir__pool_class *best(const struct weir_pool *pool)
{
	struct weir__pool_class *found = NULL;
	unsigned i;

	for (i = 0; i < pool->opts.class_count; i++)
		if (is_takeable(pool, &pool->classes[i]) &&
		    (!found || is_before(&pool->classes[i], found)))
			found = &pool->classes[i];
	return found;
}

struct weir_work *weir__pool_take(struct weir_pool *pool, struct weir__pool_after *after)
{
	struct weir__pool_class *class;
	int64_t now_ns = weir_clock();

	while ((class = best(pool))) {
		struct weir_work *work = pop(class, after);

		if (!pool->closing && work->deadline_ns_ > now_ns) {
			set_state(work, WEIR__WORK_RUNNING);
			class->running++;
			weir_histogram_observe(class->delay, (uint64_t)(now_ns - work->since_ns_));
			return work;
		}
		if (!pool->closing)
			class->expired++;
		end(work, pool->closing ? -ESHUTDOWN : -ETIMEDOUT, after);
		strand_next(work->strand_);
	}
	return NULL;
}

void weir__pool_finish(struct weir_work *work, int64_t run_ns, int res,
		       struct weir__pool_after *after)
{
	struct weir__pool_class *class = class_of(work);

	class->running--;
	if (res < 0)
		class->failed++;
	else
		class->done++;
	weir_histogram_observe(class->run, (uint64_t)run_ns);
	end(work, res, after);
	strand_next(work->strand_);
}

void weir__pool_seek(struct weir_pool *pool, struct weir__pool_after *after)
{
	struct weir_node *last = pool->resting.prev;

	if (pool->searcher || !best(pool))
		return;
	if (last != &pool->resting) {
		weir__node_remove(last);
		pool->resting_count--;
		after->wake = weir_container_of(last, struct weir__pool_thread, node);
		after->wake->woken = true;
		pool->searcher = true;
	} else if (pool->thread_count < pool->opts.threads_max) {
		after->start = weir_container_of(weir__list_pop(&pool->vacant),
						 struct weir__pool_thread, node);
		pool->thread_count++;
		pool->started++;
		pool->searcher = true;
	}
}

void weir__pool_vacate(struct weir__pool_thread *thread)
{
	struct weir_pool *pool = thread->pool;

	pool->thread_count--;
	weir__list_push(&pool->vacant, &thread->node);
}

/* There is no thread and none can be had: what waits ends, and who comes next tries again. */
static void not_started(struct weir__pool_thread *thread, int error, struct weir__pool_after *after)
{
	struct weir_pool *pool = thread->pool;
	struct weir_work *work;

	pthread_mutex_lock(&pool->lock);
	pool->searcher = false;
	pool->started--;
	weir__pool_vacate(thread);
	while (!pool->thread_count && (work = weir__pool_take(pool, after)))
		weir__pool_finish(work, 0, error, after);
	pthread_mutex_unlock(&pool->lock);
}

void weir__pool_clear(struct weir_pool *pool, struct weir__pool_after *after)
{
	unsigned i;

	for (i = 0; i < pool->opts.class_count; i++) {
		struct weir__pool_class *class = &pool->classes[i];
		struct weir_node *node;

		while ((node = weir__list_pop(&class->line))) {
			struct weir_work *work = work_of(node);

			class->parked--;
			if (work->parked_) {
				if (work->strand_)
					work->strand_->count_--;
				set_state(work, WEIR__WORK_IDLE);
				tell_later(work, -ESHUTDOWN, after);
			} else {
				end(work, -ESHUTDOWN, after);
			}
		}
	}
	weir_assert(!weir__pool_take(pool, after));
}

/* No room. Returns as put, 1: parked. */
static int enter_full(struct weir_work *work, bool may_park, struct weir__pool_after *after)
{
	struct weir__pool_class *class = class_of(work);

	switch (class->opts.full) {
	case WEIR_POOL_PARK:
		if (!may_park)
			break;
		set_state(work, WEIR__WORK_PARKED);
		weir__list_push(&class->line, node_of(work));
		class->parked++;
		return 1;
	case WEIR_POOL_REJECT:
		break;
	case WEIR_POOL_DROP_OLD:
		class->dropped++;
		if (!weir__list_is_empty(&class->ready)) {
			struct weir_work *oldest = pop(class, after);

			end(oldest, -ENOBUFS, after);
			strand_next(oldest->strand_);
			queue(work);
			return 0;
		}
		end(work, -ENOBUFS, after);
		return 0;
	case WEIR_POOL_DROP_NEW:
		class->dropped++;
		end(work, -ENOBUFS, after);
		return 0;
	}
	class->refused++;
	return -EAGAIN;
}

static int enter(struct weir_work *work, bool may_park, struct weir__pool_after *after)
{
	struct weir__pool_class *class = class_of(work);
	int r = 0;

	if (work->pool_->closing)
		return -ESHUTDOWN;
	if (work->strand_)
		work->strand_->count_++;
	if (class->queued < class->opts.depth_max)
		queue(work);
	else
		r = enter_full(work, may_park, after);
	if (r < 0 && work->strand_)
		work->strand_->count_--;
	return r;
}

/* --- lending and taking back --- */

int weir__pool_prepare(struct weir_pool *pool, unsigned class_index, struct weir_work *work,
		       int64_t deadline_ns)
{
	if (class_index >= pool->opts.class_count || !work->fn_ || !work->done_)
		return -EINVAL;
	if (state_of(work) != WEIR__WORK_IDLE)
		return -EBUSY;
	if (weir__self && weir__self->port.ended)
		return -ESHUTDOWN;
	work->pool_ = pool;
	work->class_ = class_index;
	work->deadline_ns_ = deadline_ns;
	work->mesh_ = weir__self ? weir__self->port.mesh : NULL;
	work->core_ = weir__self ? weir__self->index : 0;
	work->strand_ = NULL;
	work->parked_ = NULL;
	work->cancelled_ = false;
	return 0;
}

int weir__pool_put(struct weir_pool *pool, struct weir_work *const *works, unsigned count,
		   bool may_park)
{
	struct weir__pool_after after;
	unsigned i;
	int r = 0;

	weir__pool_after_init(&after);
	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < count && !r; i++)
		r = enter(works[i], may_park, &after);
	if (r)
		i--;
	weir__pool_seek(pool, &after);
	pthread_mutex_unlock(&pool->lock);
	if (weir__self)
		weir__self->live += r > 0 ? 1 : i;	/* each holds it until delivered() */
	weir__pool_carry_out(&after);
	if (r > 0)
		return 0;
	return i ? (int)i : r;
}

int weir__pool_take_back(struct weir_work *work, int res)
{
	struct weir_pool *pool = work->pool_;
	struct weir__pool_after after;
	enum weir__work_state state = state_of(work);
	struct weir__pool_class *class;

	if (state == WEIR__WORK_IDLE)
		return -ENOENT;
	weir__pool_after_init(&after);
	pthread_mutex_lock(&pool->lock);
	class = class_of(work);
	state = state_of(work);
	if (state == WEIR__WORK_PARKED || state == WEIR__WORK_STRANDED ||
	    state == WEIR__WORK_QUEUED) {
		weir__node_remove(node_of(work));
		class->cancelled++;
		end(work, res, &after);
		if (state == WEIR__WORK_PARKED)
			class->parked--;
		else
			class->queued--;
		if (state == WEIR__WORK_QUEUED)
			strand_next(work->strand_);
		admit(class, &after);
		weir__pool_seek(pool, &after);
	} else {
		__atomic_store_n(&work->cancelled_, true, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&pool->lock);
	if (state == WEIR__WORK_RUNNING || state == WEIR__WORK_ENDED)
		return -EALREADY;
	weir__pool_carry_out(&after);
	return 0;
}

bool weir__pool_unpark(struct weir_work *work)
{
	struct weir_pool *pool = work->pool_;
	bool is_parked;

	pthread_mutex_lock(&pool->lock);
	is_parked = state_of(work) == WEIR__WORK_PARKED && work->parked_;
	if (is_parked) {
		weir__node_remove(node_of(work));
		class_of(work)->parked--;
		work->parked_ = NULL;
		if (work->strand_)
			work->strand_->count_--;
		set_state(work, WEIR__WORK_IDLE);
	}
	pthread_mutex_unlock(&pool->lock);
	return is_parked;
}

int weir_pool_cancel(struct weir_work *work)
{
	return weir__pool_take_back(work, -ECANCELED);
}
