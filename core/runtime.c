/* SPDX-License-Identifier: MIT */
/*
 * runtime.c - the life of a runtime: one worker per core begins, all meet, each runs the
 * service, all rest, all leave. Two meetings keep it safe: no service runs before every
 * driver can be woken, and no driver stops before every worker has sent its last wake.
 */
#include "core/runtime.h"

#include "core/alloc.h"
#include "core/coro.h"
#include "core/threads_posix.h"
#include "core/watchdog.h"
#include "core/weir_coro.h"

/* --- resting --- */

/* Under the lock. Everybody rests anew in the next state. */
static void move_state(struct weir_runtime *runtime)
{
	unsigned i;

	runtime->resting = 0;
	runtime->sent = 0;
	runtime->received = 0;
	for (i = 0; i < runtime->plan.core_count; i++)
		runtime->seats[i].rests = false;
	__atomic_store_n(&runtime->state, runtime->state + 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < runtime->plan.core_count; i++)
		weir__mesh_kick(runtime->mesh, i, NULL);
}

bool weir__runtime_rest(struct weir_worker *worker)
{
	struct weir_runtime *runtime = worker->runtime;
	struct weir_seat *seat = &runtime->seats[worker->index];
	bool moves;

	pthread_mutex_lock(&runtime->lock);
	weir_assert(!seat->rests);
	seat->rests = true;
	seat->sent = worker->port.sent;
	seat->received = worker->port.received;
	runtime->resting++;
	runtime->sent += seat->sent;
	runtime->received += seat->received;
	moves = runtime->resting == runtime->plan.core_count && runtime->sent == runtime->received;
	if (moves)
		move_state(runtime);
	pthread_mutex_unlock(&runtime->lock);
	return moves;
}

void weir__runtime_rise(struct weir_worker *worker)
{
	struct weir_runtime *runtime = worker->runtime;
	struct weir_seat *seat = &runtime->seats[worker->index];

	pthread_mutex_lock(&runtime->lock);
	if (seat->rests) {
		seat->rests = false;
		runtime->resting--;
		runtime->sent -= seat->sent;
		runtime->received -= seat->received;
	}
	pthread_mutex_unlock(&runtime->lock);
}

/* --- draining, stopping, dumping --- */

static void drain_here(struct weir_post *post)
{
	struct weir_seat *seat = weir_container_of(post, struct weir_seat, drain);

	weir_timer_arm(&seat->grace, weir_in(seat->runtime->plan.drain_ns));
	weir__worker_drain(seat->worker);
}

static void stop_here(struct weir_post *post)
{
	struct weir_seat *seat = weir_container_of(post, struct weir_seat, stop);

	weir__worker_stop(seat->worker);
}

static void grace_passed(struct weir_timer *timer)
{
	struct weir_seat *seat = weir_container_of(timer, struct weir_seat, grace);

	weir__worker_stop(seat->worker);
}

/* A core that refuses has ended its work. */
void weir__runtime_drain(struct weir_runtime *runtime)
{
	unsigned i;

	if (__atomic_exchange_n(&runtime->draining, true, __ATOMIC_RELAXED))
		return;
	for (i = 0; i < runtime->plan.core_count; i++)
		weir_post_any(runtime, i, &runtime->seats[i].drain, drain_here);
}

void weir__runtime_stop(struct weir_runtime *runtime)
{
	unsigned i;

	__atomic_store_n(&runtime->draining, true, __ATOMIC_RELAXED);
	if (__atomic_exchange_n(&runtime->stopping, true, __ATOMIC_RELAXED))
		return;
	for (i = 0; i < runtime->plan.core_count; i++)
		weir_post_any(runtime, i, &runtime->seats[i].stop, stop_here);
}

static void dump_here(struct weir_post *post)
{
	struct weir_runtime *runtime = weir_container_of(post, struct weir_runtime, dump);

	runtime->plan.on_dump(runtime->plan.hook_arg);
	if (++runtime->dump_core == runtime->plan.core_count ||
	    weir_post_any(runtime, runtime->dump_core, &runtime->dump, dump_here) < 0)
		__atomic_store_n(&runtime->dumping, false, __ATOMIC_RELEASE);
}

void weir__runtime_dump(struct weir_runtime *runtime)
{
	if (!runtime->plan.on_dump)
		return;
	if (__atomic_exchange_n(&runtime->dumping, true, __ATOMIC_ACQUIRE))
		return;
	runtime->dump_core = 0;
	if (weir_post_any(runtime, 0, &runtime->dump, dump_here) < 0)
		__atomic_store_n(&runtime->dumping, false, __ATOMIC_RELEASE);
}

/* On a worker of its own there is nobody to tell but it. */
void weir_drain(void)
{
	if (weir__self && weir__self->runtime)
		weir__runtime_drain(weir__self->runtime);
	else if (weir__self)
		weir__worker_drain(weir__self);
}

void weir_stop(void)
{
	if (weir__self && weir__self->runtime)
		weir__runtime_stop(weir__self->runtime);
	else if (weir__self)
		weir__worker_stop(weir__self);
}

bool weir_is_draining(void)
{
	const struct weir_worker *worker = weir__self;

	if (!worker)
		return false;
	return worker->draining ||
	       (worker->runtime && __atomic_load_n(&worker->runtime->draining, __ATOMIC_RELAXED));
}

/* --- one core --- */

static void fail(struct weir_runtime *runtime, int error)
{
	int none = 0;

	__atomic_compare_exchange_n(&runtime->result, &none, error, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

static int service_body(void *arg)
{
	struct weir_runtime *runtime = arg;
	int r = runtime->plan.service(runtime->plan.service_arg);

	if (r) {
		fail(runtime, r);
		weir__runtime_stop(runtime);
	}
	return r;
}

static int begin(struct weir_seat *seat, unsigned index)
{
	struct weir_runtime *runtime = seat->runtime;
	struct weir_driver *driver = runtime->plan.drivers[index];
	struct weir_worker_opts opts = runtime->plan.worker;
	struct weir_worker *worker;
	int r;

	worker = weir__alloc_aligned(sizeof(*worker), WEIR__CACHE_LINE);
	if (!worker)
		return -ENOMEM;
	opts.index = index;
	opts.runtime = runtime;
	r = weir__worker_init(worker, driver, &opts);
	if (r < 0)
		goto free_worker;
	r = driver->ops->start(driver);
	if (r < 0)
		goto fini_worker;
	seat->worker = worker;
	weir_timer_init(&seat->grace, grace_passed);
	return 0;

fini_worker:
	weir__worker_fini(worker);
free_worker:
	weir__free(worker, sizeof(*worker));
	return r;
}

/* Under the lock: until *count has come to all. */
static void meet(struct weir_runtime *runtime, unsigned *count)
{
	const struct weir__threads *threads = runtime->plan.threads;

	++*count;
	pthread_cond_broadcast(&runtime->moved);
	while (*count < runtime->plan.core_count) {
		if (!threads) {
			pthread_cond_wait(&runtime->moved, &runtime->lock);
			continue;
		}
		pthread_mutex_unlock(&runtime->lock);
		threads->pause(threads->arg);
		pthread_mutex_lock(&runtime->lock);
	}
}

/* Whether every core has begun. r: how this one did. */
static bool meet_begun(struct weir_runtime *runtime, int r)
{
	bool all;

	pthread_mutex_lock(&runtime->lock);
	if (r < 0 && !runtime->begin_error)
		runtime->begin_error = r;
	meet(runtime, &runtime->begun);
	all = !runtime->begin_error;
	pthread_mutex_unlock(&runtime->lock);
	return all;
}

static void meet_left(struct weir_runtime *runtime)
{
	pthread_mutex_lock(&runtime->lock);
	meet(runtime, &runtime->left);
	pthread_mutex_unlock(&runtime->lock);
}

/*
 * A driver that cannot go on cannot drain either: nobody waits for it. What is in flight may use
 * our memory for as long as the process lives, so no core gives any back.
 */
static void give_up(struct weir_runtime *runtime, int error)
{
	unsigned i;

	fail(runtime, error);
	__atomic_store_n(&runtime->is_wreck, true, __ATOMIC_RELAXED);
	__atomic_store_n(&runtime->state, WEIR_OVER, __ATOMIC_SEQ_CST);
	for (i = 0; i < runtime->plan.core_count; i++) {
		struct weir_driver *driver = runtime->plan.drivers[i];

		weir__mesh_kick(runtime->mesh, i, NULL);
		/* The wake of a core that seems awake may be one that our driver did not send any
		 * more. */
		driver->ops->wake(driver, NULL);
	}
}

static void run_seat(struct weir_seat *seat)
{
	struct weir_runtime *runtime = seat->runtime;
	struct weir_coro_opts opts = { .name = "service", .detached = true };
	int r;

	__atomic_store_n(&seat->watched, true, __ATOMIC_SEQ_CST);
	weir__runtime_note_awake(runtime);
	r = weir_coro_spawn(&opts, service_body, runtime, NULL);
	if (r < 0) {
		fail(runtime, r);
		weir__runtime_stop(runtime);
	}
	r = weir__worker_loop(seat->worker);
	if (r < 0) {
		give_up(runtime, r);
		weir__port_close_inbox(&seat->worker->port);
	}
	__atomic_store_n(&seat->watched, false, __ATOMIC_SEQ_CST);
}

static void core_body(void *ctx, unsigned index)
{
	struct weir_runtime *runtime = ctx;
	struct weir_seat *seat = &runtime->seats[index];
	int r = begin(seat, index);

	if (meet_begun(runtime, r))
		run_seat(seat);
	meet_left(runtime);
	if (seat->worker && !__atomic_load_n(&runtime->is_wreck, __ATOMIC_RELAXED)) {
		struct weir_driver *driver = seat->worker->driver;

		weir__self = seat->worker;
		driver->ops->stop(driver);
		weir__worker_fini(seat->worker);
	}
	weir__self = NULL;
}

/* --- the whole --- */

/* Kept where a debugger finds them. */
static struct weir_runtime *wrecks;
static pthread_mutex_t wrecks_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_wreck(struct weir_runtime *runtime)
{
	pthread_mutex_lock(&wrecks_lock);
	runtime->next_wreck = wrecks;
	wrecks = runtime;
	pthread_mutex_unlock(&wrecks_lock);
}

static void destroy(struct weir_runtime *runtime)
{
	unsigned i;

	if (runtime->is_wreck) {
		keep_wreck(runtime);
		return;
	}
	if (runtime->seats)
		for (i = 0; i < runtime->plan.core_count; i++)
			weir__free(runtime->seats[i].worker, sizeof(struct weir_worker));
	weir__free(runtime->seats, runtime->plan.core_count * sizeof(*runtime->seats));
	runtime->seats = NULL;
	weir_runtime_drop(runtime);
}

static int create(const struct weir__runtime_plan *plan, struct weir_runtime **ret_runtime)
{
	struct weir_runtime *runtime;
	unsigned i;
	int r;

	if (!plan->core_count || plan->core_count > WEIR__CORES_MAX)
		return -EINVAL;
	runtime = weir__alloc_aligned(sizeof(*runtime), WEIR__CACHE_LINE);
	if (!runtime)
		return -ENOMEM;
	*runtime = (struct weir_runtime){ .plan = *plan, .keepers = 1 };
	pthread_mutex_init(&runtime->lock, NULL);
	pthread_cond_init(&runtime->moved, NULL);
	r = weir__mesh_create(plan->core_count, plan->mesh_depth, &runtime->mesh);
	if (!r) {
		runtime->seats = weir__calloc(plan->core_count, sizeof(*runtime->seats));
		r = runtime->seats ? 0 : -ENOMEM;
	}
	if (r < 0) {
		destroy(runtime);
		return r;
	}
	for (i = 0; i < plan->core_count; i++)
		runtime->seats[i].runtime = runtime;
	*ret_runtime = runtime;
	return 0;
}

void weir_runtime_keep(struct weir_runtime *runtime)
{
	__atomic_add_fetch(&runtime->keepers, 1, __ATOMIC_RELAXED);
}

void weir_runtime_drop(struct weir_runtime *runtime)
{
	if (!runtime || __atomic_sub_fetch(&runtime->keepers, 1, __ATOMIC_ACQ_REL))
		return;
	weir__mesh_destroy(runtime->mesh);
	pthread_cond_destroy(&runtime->moved);
	pthread_mutex_destroy(&runtime->lock);
	weir__free(runtime, sizeof(*runtime));
}

/* A core that could not be started at all takes part in the meetings from here. */
static void miss(struct weir_runtime *runtime, unsigned count, int error)
{
	pthread_mutex_lock(&runtime->lock);
	if (!runtime->begin_error)
		runtime->begin_error = error;
	runtime->begun += count;
	runtime->left += count;
	pthread_cond_broadcast(&runtime->moved);
	pthread_mutex_unlock(&runtime->lock);
}

static void run_on(struct weir_runtime *runtime, const struct weir__threads *threads)
{
	unsigned i;
	int r = 0;

	for (i = 0; i < runtime->plan.core_count && !r; i++)
		r = threads->start(threads->arg, i, core_body, runtime);
	if (r < 0)
		miss(runtime, runtime->plan.core_count - i + 1, r);
	threads->join(threads->arg);
}

int weir__runtime_run(const struct weir__runtime_plan *plan)
{
	struct weir_runtime *runtime;
	int r = create(plan, &runtime);

	if (r < 0)
		return r;
	if (plan->threads)
		run_on(runtime, plan->threads);
	else
		r = weir__threads_run(runtime, run_on);
	if (!r)
		r = runtime->begin_error ? runtime->begin_error : runtime->result;
	destroy(runtime);
	return r;
}
