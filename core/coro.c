/* SPDX-License-Identifier: MIT */
/*
 * coro.c - the life of a coroutine: spawned on a stack of the pool, run, ended, joined.
 *
 * A coroutine that nobody joins is freed by whoever runs next (weir__coro_bury), since
 * nobody can free the stack he stands on. The free stacks' memory goes back in small
 * batches from a timer, which is armed only while there are more than stacks_warm.
 */
#include "core/coro.h"

#include <assert.h>

#include "core/handover.h"
#include "core/waiting.h"

#define COROS_MAX 65536
#define STACK_SIZE ((size_t)64 << 10)
#define STACKS_WARM 256
#define CACHE_LINE 64
#define COLOURS 16		/* cache lines over which the tops of stacks are spread */
#define TRIM_PERIOD_NS WEIR_S	/* how long a stack is idle before its memory goes back */
#define TRIM_BATCH 64		/* stacks at once, about 3 us each */
#define TRIM_PAUSE_NS WEIR_MS	/* between batches */

/* A sanitizer's frames are two to four times as large. */
#if defined(WEIR__ASAN) || defined(WEIR__TSAN)
#define STACK_SIZE_DEFAULT (4 * STACK_SIZE)
#else
#define STACK_SIZE_DEFAULT STACK_SIZE
#endif

static_assert(offsetof(struct weir_coro, root) == 0, "the stack grows down from the struct");
static_assert(offsetof(struct weir_coro, wait) == 64, "a switch touches one cache line");

static struct weir_coro *running(void)
{
	return weir__self ? weir__self->coros.current : NULL;
}

/* A debug build finds calls on another core's coroutine. */
static void check_home(const struct weir_coro *coro)
{
#ifdef WEIR_DEBUG
	weir_assert(coro->worker == weir__self);
#endif
}

static void note_count(struct weir_worker *worker)
{
	weir__metric_set(&worker->metrics, WEIR__M_COROS, worker->coros.count);
}

/* --- a worker's coroutines --- */

static void trim(struct weir_timer *timer)
{
	struct weir_coros *coros = weir_container_of(timer, struct weir_coros, trim);
	bool is_full_batch = weir__stacks_trim(&coros->stacks, TRIM_BATCH) == TRIM_BATCH;

	coros->trimming = weir__stacks_is_trimmable(&coros->stacks);
	if (coros->trimming)
		weir_timer_arm(timer, weir_in(is_full_batch ? TRIM_PAUSE_NS : TRIM_PERIOD_NS));
}

static __attribute__((noinline)) void start_trimming(struct weir_coros *coros)
{
	coros->trimming = true;
	weir__stacks_mark(&coros->stacks);
	weir_timer_arm(&coros->trim, weir_in(TRIM_PERIOD_NS));
}

int weir__coros_init(struct weir_coros *coros, const struct weir_coros_opts *opts)
{
	struct weir_stacks_opts stacks_opts = {
		.count_max = opts->coros_max ? opts->coros_max : COROS_MAX,
		.stack_size = opts->stack_size ? opts->stack_size : STACK_SIZE_DEFAULT,
		.warm_count = opts->stacks_warm ? opts->stacks_warm : STACKS_WARM,
		.mprotect_guards = opts->mprotect_guards,
		.maps_max = opts->maps_max,
	};

	*coros = (struct weir_coros){ 0 };
	weir__list_init(&coros->all);
	weir_timer_init(&coros->trim, trim);
	return weir__stacks_init(&coros->stacks, &stacks_opts);
}

void weir__coros_fini(struct weir_coros *coros)
{
	weir_assert(!coros->current);
	weir_timer_cancel(&coros->trim);
	weir__stacks_fini(&coros->stacks);
}

void weir__coros_cancel_all(struct weir_coros *coros)
{
	struct weir_node rest;
	struct weir_node *node;

	/* By way of a second list: what a cancelled wait calls may free any other coroutine. */
	weir__list_init(&rest);
	while ((node = weir__list_pop(&coros->all)))
		weir__list_push(&rest, node);
	while ((node = weir__list_pop(&rest))) {
		weir__list_push(&coros->all, node);
		weir_coro_cancel(weir_container_of(node, struct weir_coro, node));
	}
}

const char *weir__coros_current_name(void)
{
	struct weir_coro *coro = running();

	return coro ? coro->name : NULL;
}

/* --- running one --- */

void weir__coro_run(struct weir_task *task)
{
	struct weir_coro *coro = weir_container_of(task, struct weir_coro, task);

	weir__coro_enter(coro->worker, coro);
}

/* drop() may set locals again: a few rounds, then what is left is not dropped. */
static void drop_locals(struct weir_coro *coro)
{
	int rounds;

	for (rounds = 0; coro->locals_set && rounds < WEIR_CORO_LOCALS; rounds++) {
		for (unsigned i = 0; i < WEIR_CORO_LOCALS; i++) {
			struct weir_coro_local *local = &coro->locals[i];

			if (!(coro->locals_set & 1u << i))
				continue;
			coro->locals_set &= (uint8_t) ~(1u << i);
			if (local->drop)
				local->drop(local->value);
		}
	}
}

static __attribute__((noinline)) void end(struct weir_coro *coro)
{
	struct weir_worker *worker = coro->worker;

	if (weir_unlikely(coro->groups != NULL))
		weir__groups_abandon(coro);
	if (coro->locals_set)
		drop_locals(coro);
	coro->ended = true;
	coro->since_ns = worker->now_ns;
	worker->live--;
	if (coro->group)
		coro->group->ended(coro->group, coro);
	if (coro->joiner)
		weir__wait_wake(coro->joiner, 0);
	if (coro->detached)
		worker->coros.dead = coro;
}

/* Where every coroutine begins and ends, on its own stack. */
static WEIR__NEVER_RETURNS void run_fn(void)
{
	struct weir_worker *worker = weir__self;
	struct weir_coro *coro = worker->coros.current;
	struct weir_coro *next;

	weir__notes_arrive(&coro->notes, &worker->coros.loop_notes);
	weir__coro_bury(&worker->coros);
	coro->res = coro->fn(coro->arg);
	end(coro);
	next = weir__coro_pick(worker);
	if (next)
		next->since_ns = worker->now_ns;
	worker->coros.current = next;
	weir__notes_leave(NULL, next ? &next->notes : &worker->coros.loop_notes);
	weir__context_switch(&coro->context, next ? &next->context : &worker->coros.loop);
	__builtin_unreachable();
}

/* --- spawning and freeing --- */

/*
 * The tops of all stacks have the same page offset, so the same few sets of the first-level
 * cache, which eight coroutines fill. Spreading them saves 2 to 3 ns a switch among 32 to
 * 256 coroutines, and takes half a kilobyte of a stack's first page on average.
 */
static struct weir_coro *coro_at(struct weir_stacks *stacks, uint32_t index)
{
	char *top = weir__stack_low(stacks, index) + stacks->stack_size;

	top -= (size_t)(index % COLOURS) * CACHE_LINE;
	return (struct weir_coro *)(void *)(top - sizeof(struct weir_coro));
}

static void coro_init(struct weir_coro *coro, struct weir_worker *worker,
		      const struct weir_coro_opts *opts)
{
	static const struct weir_coro_opts defaults;
	struct weir_coro *parent = worker->coros.current;

	if (!opts)
		opts = &defaults;
	weir__context_make(&coro->context, &coro->root, run_fn);
	weir_task_init(&coro->task, weir__coro_run);
	coro->wait = NULL;
	coro->worker = worker;
	coro->deadline_ns = opts->deadline_ns;
	if (!coro->deadline_ns)
		coro->deadline_ns = parent ? parent->deadline_ns : WEIR_NEVER;
	coro->since_ns = worker->now_ns;
	coro->shields = 0;
	coro->cancelled = false;
	coro->asked = false;
	coro->group = NULL;
	coro->groups = NULL;
	coro->detached = opts->detached;
	coro->ended = false;
	coro->locals_set = 0;
	coro->joiner = NULL;
	coro->name = opts->name ? opts->name : "coroutine";
}

static __attribute__((cold)) int refuse(struct weir_worker *worker, int r)
{
	weir__metric_add(&worker->metrics, WEIR__M_COROS_REFUSED, 1);
	return r;
}

int weir_coro_spawn(const struct weir_coro_opts *opts, weir_coro_fn fn, void *arg,
		    struct weir_coro **ret)
{
	struct weir_worker *worker = weir__self;
	struct weir_coros *coros;
	struct weir_coro *coro;
	uint32_t index;
	int r;

	weir_precond(fn && (ret || (opts && opts->detached)), -EINVAL);
	if (!worker || worker->stopping)
		return -ESHUTDOWN;
	coros = &worker->coros;
	if (weir_unlikely(!coros->spawned) && (r = weir__overflow_watch()) < 0)
		return refuse(worker, r);
	r = weir__stacks_get(&coros->stacks, &index);
	if (weir_unlikely(r < 0))
		return refuse(worker, r);
	coro = coro_at(&coros->stacks, index);
	coro_init(coro, worker, opts);
	coro->fn = fn;
	coro->arg = arg;
	coro->index = index;
	weir__notes_fresh(&coro->notes, weir__stack_low(&coros->stacks, index),
			  coros->stacks.stack_size,
			  coros->stacks.fibers ? coros->stacks.fibers[index] : NULL);
	weir__list_push(&coros->all, &coro->node);
	coro->number = ++coros->spawned;
	worker->live++;
	if (++coros->count > coros->count_high) {
		coros->count_high = coros->count;
		weir__metric_set(&worker->metrics, WEIR__M_COROS_HIGH, coros->count_high);
	}
	note_count(worker);
	weir__ready(worker, &coro->task);
	if (ret)
		*ret = coro;
	return 0;
}

void weir__coro_free(struct weir_coro *coro)
{
	struct weir_worker *worker = coro->worker;
	struct weir_coros *coros = &worker->coros;

	weir_assert(coro->ended && coro != coros->current);
	weir__node_remove(&coro->node);
	coros->count--;
	note_count(worker);
	weir__stacks_put(&coros->stacks, coro->index);
	if (weir_unlikely(weir__stacks_is_trimmable(&coros->stacks)) && !coros->trimming)
		start_trimming(coros);
}

/* --- joining and cancelling --- */

struct join {
	struct weir_wait wait;
	struct weir_coro *coro;
};

static void end_join(struct weir_wait *wait, int reason)
{
	weir_container_of(wait, struct join, wait)->coro->joiner = NULL;
	weir__wait_wake(wait, reason);
}

int weir_coro_join(struct weir_coro *coro, int64_t deadline_ns, int *ret_res)
{
	struct join join;
	int r;

	check_home(coro);
	weir_precond(!coro->detached && !coro->joiner, -EBUSY);
	if (!coro->ended) {
		if (coro == running())
			return -EDEADLK;
		r = weir__wait_check(deadline_ns);
		if (r)
			return r;
		weir__wait_init(&join.wait);
		join.coro = coro;
		coro->joiner = &join.wait;
		r = weir__wait_park(&join.wait, "join", end_join, deadline_ns);
		if (r)
			return r;
	}
	if (ret_res)
		*ret_res = coro->res;
	weir__coro_free(coro);
	return 0;
}

void weir_coro_detach(struct weir_coro *coro)
{
	check_home(coro);
	weir_assert(!coro->detached && !coro->joiner);
	if (coro->ended)
		weir__coro_free(coro);
	else
		coro->detached = true;
}

void weir_coro_cancel(struct weir_coro *coro)
{
	check_home(coro);
	if (coro->asked || coro->ended)
		return;
	coro->asked = true;
	weir__coro_ask(coro);
}

bool weir_coro_is_cancelled(void)
{
	struct weir_coro *coro = running();

	return coro && coro->cancelled;
}

/* --- what belongs to the running coroutine --- */

void weir_coro_shield(void)
{
	struct weir_coro *coro = running();

	if (coro)
		coro->shields++;
}

void weir_coro_unshield(void)
{
	struct weir_coro *coro = running();

	if (!coro)
		return;
	weir_assert(coro->shields);
	coro->shields--;
}

int64_t weir_coro_set_deadline(int64_t deadline_ns)
{
	struct weir_coro *coro = running();
	int64_t old_ns = WEIR_NEVER;

	if (coro) {
		old_ns = coro->deadline_ns;
		coro->deadline_ns = deadline_ns;
	}
	return old_ns;
}

int64_t weir_coro_deadline(void)
{
	struct weir_coro *coro = running();

	return coro ? coro->deadline_ns : WEIR_NEVER;
}

struct weir_coro *weir_coro_self(void)
{
	return running();
}

const char *weir_coro_name(const struct weir_coro *coro)
{
	return coro->name;
}

void weir_coro_set_name(struct weir_coro *coro, const char *name)
{
	coro->name = name;
}

int weir_coro_local_set(unsigned index, void *value, void (*drop)(void *value))
{
	struct weir_coro *coro = running();

	if (index >= WEIR_CORO_LOCALS)
		return -EINVAL;
	if (!coro)
		return -EDEADLK;
	coro->locals[index] = (struct weir_coro_local){ .value = value, .drop = drop };
	if (value)
		coro->locals_set |= (uint8_t)(1u << index);
	else
		coro->locals_set &= (uint8_t) ~(1u << index);
	return 0;
}

void *weir_coro_local_get(unsigned index)
{
	struct weir_coro *coro = running();

	if (!coro || index >= WEIR_CORO_LOCALS || !(coro->locals_set & 1u << index))
		return NULL;
	return coro->locals[index].value;
}

/* --- listing --- */

const char *weir__coro_state(const struct weir_coro *coro)
{
	if (coro->ended)
		return "ended";
	if (coro->worker->coros.current == coro)
		return "running";
	return coro->wait ? coro->wait->what : "ready";
}

static void describe(const struct weir_coro *coro, struct weir_coro_info *info)
{
	const struct weir_stacks *stacks = &coro->worker->coros.stacks;
	const char *top = weir__stack_low(stacks, coro->index) + stacks->stack_size;
	const char *sp = coro->context.sp;

	if (coro->worker->coros.current == coro)
		sp = __builtin_frame_address(0);
	*info = (struct weir_coro_info){
		.name = coro->name,
		.state = weir__coro_state(coro),
		.since_ns = coro->since_ns,
		.deadline_ns = coro->deadline_ns,
		.stack_used = (size_t)(top - sp),
		.stack_high = weir__stack_high(stacks, coro->index),
		.cancelled = coro->cancelled,
	};
}

int weir_coro_list(int (*visit)(const struct weir_coro_info *info, void *arg), void *arg)
{
	struct weir_node *all;
	struct weir_node *node;
	struct weir_node *next;
	int r = 0;

	if (!weir__self)
		return 0;
	all = &weir__self->coros.all;
	for (node = all->next; node != all && !r; node = next) {
		struct weir_coro_info info;

		next = node->next;
		describe(weir_container_of(node, struct weir_coro, node), &info);
		r = visit(&info, arg);
	}
	return r;
}
