/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the turn of one core (drawn in worker.h), and what it does when there is
 * nothing to do: submit what is pending, poll for a short time if that has paid lately
 * (spin.h), else announce the sleep to the other cores (mesh.h), look once more, and
 * wait in the driver.
 *
 * The wait is inside the turn and not around it, because one system call submits, waits
 * and reaps. The clock is read once a turn, between the wait and the completions: a
 * deadline that a completion's callback derives from it is not early by the sleep.
 */
#include "core/worker.h"

#include "core/handover.h"
#include "core/runtime.h"

#define BUDGET_TASKS 256
#define BUDGET_NS (100 * WEIR_US)
#define BUDGET_CHECK 16		/* tasks between two looks at the clock */
#define SPIN_NS_MAX (50 * WEIR_US)
#define SPIN_CHECK 16		/* polls between two looks at the clock */
#define OWN_MESH_DEPTH 256

_Thread_local struct weir_worker *weir__self;

/* --- life --- */

static void set_defaults(struct weir_worker_opts *opts)
{
	if (!opts->budget_tasks)
		opts->budget_tasks = BUDGET_TASKS;
	if (!opts->budget_ns)
		opts->budget_ns = BUDGET_NS;
	if (!opts->spin_ns_max)
		opts->spin_ns_max = SPIN_NS_MAX;
}

static int init_port(struct weir_worker *worker)
{
	struct weir_mesh *mesh;
	int r;

	if (worker->runtime)
		return weir__port_init(&worker->port, weir__runtime_mesh(worker->runtime),
				       worker->index, worker);
	r = weir__mesh_create(1, OWN_MESH_DEPTH, &mesh);
	if (r < 0)
		return r;
	r = weir__port_init(&worker->port, mesh, 0, worker);
	if (r < 0)
		weir__mesh_destroy(mesh);
	else
		worker->own_mesh = mesh;
	return r;
}

int weir__worker_init(struct weir_worker *worker, struct weir_driver *driver,
		      const struct weir_worker_opts *opts)
{
	int r;

	*worker = (struct weir_worker){
		.driver = driver,
	};
	if (opts)
		worker->opts = *opts;
	set_defaults(&worker->opts);
	worker->runtime = worker->opts.runtime;
	worker->index = worker->opts.index;
	driver->worker = worker;
	worker->now_ns = driver->ops->now(driver);
	weir__queue_init(&worker->ready);
	weir__queue_init(&worker->last);
	weir__queue_init(&worker->exits);
	weir__list_init(&worker->drain_hooks);
	weir__list_init(&worker->credit_waits);
	weir__spin_init(&worker->spin, worker->opts.spin_ns_max);
	weir__wheel_init(&worker->wheel, worker->now_ns);
	weir__metrics_init(&worker->metrics, (int)worker->index);
	r = init_port(worker);
	if (r < 0)
		return r;
	r = weir__coros_init(&worker->coros, &worker->opts.coros);
	if (r < 0) {
		weir__port_fini(&worker->port);
		weir__mesh_destroy(worker->own_mesh);
		return r;
	}
	weir__self = worker;
	return 0;
}

void weir__worker_fini(struct weir_worker *worker)
{
	struct weir_link *link;

	weir__self = worker;
	while ((link = weir__queue_pop(&worker->exits))) {
		struct weir_worker_exit *hook =
			weir_container_of(link, struct weir_worker_exit, link);

		hook->run(hook);
	}
	weir__coros_fini(&worker->coros);
	weir__port_fini(&worker->port);
	weir__mesh_destroy(worker->own_mesh);
	weir__metrics_fini(&worker->metrics);
	weir__self = NULL;
}

void weir__worker_hold(struct weir_worker *worker)
{
	worker->live++;
}

void weir__worker_release(struct weir_worker *worker)
{
	weir_assert(worker->live);
	worker->live--;
}

/* --- draining and stopping --- */

void weir__worker_on_drain(struct weir_worker *worker, struct weir_drain_hook *hook)
{
	hook->node.next = NULL;
	if (worker->draining)
		hook->run(hook);
	else
		weir__list_push(&worker->drain_hooks, &hook->node);
}

void weir__worker_off_drain(struct weir_worker *worker, struct weir_drain_hook *hook)
{
	if (weir__node_is_linked(&hook->node))
		weir__node_remove(&hook->node);
}

void weir__worker_drain(struct weir_worker *worker)
{
	struct weir_node *node;

	worker->draining = true;
	while ((node = weir__list_pop(&worker->drain_hooks))) {
		struct weir_drain_hook *hook =
			weir_container_of(node, struct weir_drain_hook, node);

		hook->run(hook);
	}
}

void weir__worker_stop(struct weir_worker *worker)
{
	if (worker->stopping)
		return;
	weir__worker_drain(worker);
	worker->stopping = true;
	weir__coros_cancel_all(&worker->coros);
}

/* The work has ended: whatever wants to begin now is refused, what is left is asked to end. */
static void end_work(struct weir_worker *worker)
{
	worker->port.ended = true;
	weir__worker_stop(worker);
	weir__port_close_inbox(&worker->port);
}

bool weir__worker_is_quiet(const struct weir_worker *worker)
{
	return !worker->live && weir__queue_is_empty(&worker->ready) &&
	       weir__queue_is_empty(&worker->last) && weir__port_is_flushed(&worker->port);
}

/* Quiet, and after the end of the work nothing in flight in the driver either. */
static bool is_at_rest(struct weir_worker *worker)
{
	return weir__worker_is_quiet(worker) &&
	       (!worker->port.ended || worker->driver->ops->is_drained(worker->driver));
}

/* Looked at before each turn; does what the end of the work asks for. */
static bool is_over(struct weir_worker *worker)
{
	enum weir_runtime_state state = WEIR_RUNNING;

	if (worker->runtime)
		state = weir__runtime_state(worker->runtime);
	else if (is_at_rest(worker))
		state = worker->port.ended ? WEIR_OVER : WEIR_ENDED;
	if (weir_likely(state == WEIR_RUNNING))
		return false;
	if (!worker->port.ended)
		end_work(worker);
	return state == WEIR_OVER;
}

/* --- tasks --- */

void weir_task_init(struct weir_task *task, weir_task_fn run)
{
	*task = (struct weir_task){ .run_ = run };
}

void weir_task_ready(struct weir_task *task)
{
	weir_assert(weir__self && task->run_);
	weir__ready(weir__self, task);
}

void weir_task_ready_last(struct weir_task *task)
{
	weir_assert(weir__self && task->run_);
	weir__ready_last(weir__self, task);
}

static inline void run_task(struct weir_worker *worker, struct weir_link *link)
{
	struct weir_task *task = weir_container_of((void *)link, struct weir_task, next_);

	task->queued_ = false;
	weir__worker_progress(worker);
	if (task->run_ == weir__coro_run)
		weir__coro_enter(worker, weir_container_of(task, struct weir_coro, task));
	else
		task->run_(task);
}

/*
 * tasks_left counts down to the next look at the clock: coroutines that hand over to each
 * other directly (handover.h) count their tasks there too.
 */
static unsigned run_some(struct weir_worker *worker, unsigned max)
{
	struct weir_link *link;
	unsigned left;

	worker->tasks_left = max;
	while (worker->tasks_left && (link = weir__queue_pop(&worker->ready))) {
		worker->tasks_left--;
		run_task(worker, link);
	}
	left = worker->tasks_left;
	worker->tasks_left = 0;
	return max - left;
}

static unsigned run_ready(struct weir_worker *worker)
{
	struct weir_driver *driver = worker->driver;
	int64_t until_ns = worker->now_ns + worker->opts.budget_ns;
	unsigned left = worker->opts.budget_tasks;

	while (left && !weir__queue_is_empty(&worker->ready)) {
		left -= run_some(worker, left < BUDGET_CHECK ? left : BUDGET_CHECK);
		if (left && !weir__queue_is_empty(&worker->ready) &&
		    driver->ops->now(driver) >= until_ns)
			break;
	}
	return worker->opts.budget_tasks - left;
}

/* Each task once: one that asks for the end of the turn again gets that of the next. */
static unsigned run_last(struct weir_worker *worker)
{
	struct weir_queue last;
	unsigned count = 0;
	struct weir_link *link;

	if (weir__queue_is_empty(&worker->last))
		return 0;
	weir__queue_init(&last);
	weir__queue_splice(&last, &worker->last);
	while ((link = weir__queue_pop(&last))) {
		run_task(worker, link);
		count++;
	}
	return count;
}

/* --- waiting --- */

void weir__worker_awake(struct weir_worker *worker)
{
	worker->now_ns = worker->driver->ops->now(worker->driver);
	worker->awake = true;
	weir__worker_progress(worker);
	if (!worker->waiting)
		return;
	__atomic_store_n(&worker->waiting, false, __ATOMIC_SEQ_CST);
	weir__port_rise(&worker->port);
	if (worker->runtime)
		weir__runtime_note_awake(worker->runtime);
}

static int drive(struct weir_worker *worker, int64_t wait_until_ns)
{
	int r;

	worker->awake = false;
	r = worker->driver->ops->turn(worker->driver, wait_until_ns);
	weir__self = worker;
	if (!worker->awake)
		weir__worker_awake(worker);
	return r;
}

static inline bool has_work(const struct weir_worker *worker)
{
	return !weir__queue_is_empty(&worker->ready) || !weir__queue_is_empty(&worker->last) ||
	       weir__port_is_ready(&worker->port);
}

/* Until when there is nothing to do, as far as this core knows; 0: there is something. */
static int64_t idle_until(struct weir_worker *worker, int64_t limit_ns)
{
	int64_t next_ns;

	if (!limit_ns || has_work(worker))
		return 0;
	next_ns = weir__wheel_next(&worker->wheel);
	if (next_ns > limit_ns)
		next_ns = limit_ns;
	return next_ns > worker->now_ns ? next_ns : 0;
}

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#endif
}

enum found { NOTHING, MESSAGE, COMPLETION, TIME };

/*
 * Polls until until_ns, when something is due, but no longer than spin_ns; where the clock
 * stands still (it is virtual) it ends at once. What it finds is at most SPIN_CHECK polls
 * (below 1 us) later than the worker's clock says.
 */
static enum found look_around(struct weir_worker *worker, int64_t until_ns, int64_t spin_ns)
{
	struct weir_driver *driver = worker->driver;
	int64_t give_up_ns = worker->now_ns + spin_ns;
	unsigned polls = 0;

	for (;;) {
		int64_t before_ns = worker->now_ns;

		if (weir__port_is_ready(&worker->port))
			return MESSAGE;
		if (driver->ops->is_ready(driver))
			return COMPLETION;
		relax();
		if (++polls % SPIN_CHECK)
			continue;
		worker->now_ns = driver->ops->now(driver);
		if (worker->now_ns >= until_ns)
			return TIME;
		if (worker->now_ns >= give_up_ns || worker->now_ns == before_ns)
			return NOTHING;
	}
}

/*
 * Announces the sleep, and sleeps. A worker in a runtime that rests tells it: the last one
 * to do so ends the work of all, and must not sleep.
 */
static int sleep_until(struct weir_worker *worker, int64_t until_ns)
{
	bool resting = worker->looping && is_at_rest(worker);
	int r;

	if (resting && (!worker->runtime || weir__runtime_rest(worker)))
		return drive(worker, 0);
	__atomic_store_n(&worker->waiting, true, __ATOMIC_SEQ_CST);
	if (!weir__port_lie_down(&worker->port))
		until_ns = 0;
	else
		weir__metric_add(&worker->metrics, WEIR__M_SLEEPS, 1);
	r = drive(worker, until_ns);
	if (resting)
		weir__runtime_rise(worker);
	return r;
}

static int spin_then_sleep(struct weir_worker *worker, int64_t until_ns, int64_t spin_ns)
{
	enum found found;
	int64_t since_ns;
	int r = drive(worker, 0);

	if (r || has_work(worker) || worker->now_ns >= until_ns)
		return r;
	since_ns = worker->now_ns;
	found = look_around(worker, until_ns, spin_ns);
	if (!found)
		r = sleep_until(worker, until_ns);
	else if (found == COMPLETION)
		r = drive(worker, 0);
	if (found)
		weir__metric_add(&worker->metrics, WEIR__M_SPINS_HIT, 1);
	weir__spin_learn(&worker->spin, worker->now_ns - since_ns,
			 found ? WEIR_SPIN_HIT : WEIR_SPIN_MISS);
	return r;
}

static int wait_and_reap(struct weir_worker *worker, int64_t limit_ns)
{
	int64_t until_ns = idle_until(worker, limit_ns);
	int64_t since_ns = worker->now_ns;
	int64_t spin_ns;
	int r;

	weir__spin_observe(&worker->spin, worker->completions, &worker->active_bits);
	if (!until_ns)
		return drive(worker, 0);
	spin_ns = weir__spin_plan(&worker->spin);
	if (spin_ns)
		return spin_then_sleep(worker, until_ns, spin_ns);
	r = sleep_until(worker, until_ns);
	weir__spin_learn(&worker->spin, worker->now_ns - since_ns, WEIR_SPIN_NONE);
	return r;
}

/* --- the turn --- */

static void publish_metrics(struct weir_worker *worker, unsigned tasks, unsigned timers)
{
	struct weir_metrics *metrics = &worker->metrics;
	const struct weir_port *port = &worker->port;

	weir__metric_set(metrics, WEIR__M_TURNS, worker->turns);
	weir__metric_add(metrics, WEIR__M_TASKS_RUN, tasks);
	weir__metric_add(metrics, WEIR__M_TIMERS_FIRED, timers);
	weir__metric_set(metrics, WEIR__M_TIMERS_ARMED, worker->wheel.count);
	weir__metric_set(metrics, WEIR__M_POSTS, port->sent);
	weir__metric_set(metrics, WEIR__M_POSTS_FULL, port->full);
	weir__metric_set(metrics, WEIR__M_WAKES_SENT, port->wakes_sent);
	weir__metric_set(metrics, WEIR__M_WAKES_SKIPPED, port->wakes_skipped);
}

int weir__worker_turn(struct weir_worker *worker, int64_t wait_until_ns)
{
	unsigned tasks;
	unsigned timers;
	int r;

	weir__self = worker;
	__atomic_store_n(&worker->turns, worker->turns + 1, __ATOMIC_RELAXED);
	tasks = run_ready(worker);
	tasks += run_last(worker);
	weir__port_publish(&worker->port);
	r = wait_and_reap(worker, wait_until_ns);
	if (weir_unlikely(r < 0))
		return r;
	weir__port_drain(&worker->port);
	timers = weir__wheel_advance(&worker->wheel, worker->now_ns);
	publish_metrics(worker, tasks, timers);
	return 0;
}

int weir__worker_loop(struct weir_worker *worker)
{
	int r = 0;

	worker->looping = true;
	while (r >= 0 && !is_over(worker))
		r = weir__worker_turn(worker, WEIR_NEVER);
	worker->looping = false;
	return r;
}
