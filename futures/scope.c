/* SPDX-License-Identifier: MIT */
/*
 * scope.c - a scope is a group of coroutines (core/group.c) with a policy, a deadline and a result.
 *
 * Scopes are the library's memory, not the caller's, so that a coroutine that returns with an open
 * one cannot take it along: abandoned() joins it from the end of the coroutine, where the frame
 * that opened it is gone.
 */
#include "futures/weir_scope.h"

#include "core/coro.h"
#include "futures/future.h"

struct weir_scope_core {
	struct weir_group group;
	struct weir_futures *futures;
	struct weir_wait *joiner;
	const char *origin;
	int64_t deadline_ns;
	int64_t outer_deadline_ns;	/* owner's, when it was opened */
	bool collects;
	struct weir_scope_result result;
};

static_assert(sizeof(struct weir_scope_core) <= SCOPE_SIZE, "an object of the slab");

static struct weir_scope_core *scope_of(struct weir_group *group)
{
	return weir_container_of(group, struct weir_scope_core, group);
}

static void note(struct weir_worker *worker)
{
	const struct weir_futures *futures = worker->futures;

	weir__metric_set(&worker->metrics, WEIR__M_SCOPES, futures->scopes.in_use);
}

static void child_ended(struct weir_group *group, struct weir_coro *child)
{
	struct weir_scope_core *scope = scope_of(group);
	bool is_asked = child->res == -ECANCELED && child->cancelled;

	weir__node_remove(&child->sibling);
	if (child->res < 0 && !is_asked && !scope->result.failed++) {
		scope->result.error = child->res;
		scope->result.name = child->name;
		if (!scope->collects)
			weir__group_cancel(group);
	}
	if (scope->joiner && weir__list_is_empty(&group->children)) {
		weir__wait_wake(scope->joiner, 0);
		scope->joiner = NULL;
	}
}

/* --- joining --- */

struct join {
	struct weir_wait wait;
	struct weir_scope_core *scope;
};

/* The children are cancelled by the joiner itself, once it runs: no recursion down the tree. */
static void stop_waiting(struct weir_wait *wait, int reason)
{
	weir_container_of(wait, struct join, wait)->scope->joiner = NULL;
	weir__wait_wake(wait, reason);
}

/* Until no child is left, or, where it may be interrupted, for the reason it returns. */
static int wait_for_children(struct weir_scope_core *scope, bool interruptible)
{
	struct join join = { .scope = scope };

	if (weir__list_is_empty(&scope->group.children))
		return 0;
	weir__wait_init(&join.wait);
	scope->joiner = &join.wait;
	return weir__wait_park(&join.wait, "join", interruptible ? stop_waiting : NULL, WEIR_NEVER);
}

/* Returns why the scope did not run to its end by itself, or 0. */
static int finish(struct weir_scope_core *scope)
{
	struct weir_coro *owner = scope->group.owner;
	int r = 0;

	if (!weir__list_is_empty(&scope->group.children)) {
		r = weir__wait_check(WEIR_NEVER);
		if (!r)
			r = wait_for_children(scope, true);
	}
	if (r) {
		weir__group_cancel(&scope->group);
		wait_for_children(scope, false);
	}
	if (!r && owner->cancelled)
		r = -ECANCELED;
	return r;
}

static int close_scope(struct weir_scope_core *scope, struct weir_scope_result *ret_result)
{
	struct weir_coro *owner = scope->group.owner;
	int r = finish(scope);

	if (scope->result.failed)
		r = scope->result.error;
	if (ret_result)
		*ret_result = scope->result;
	owner->deadline_ns = scope->outer_deadline_ns;
	weir__group_close(&scope->group);
	weir__slab_put_hot(&scope->futures->scopes, scope);
	note(owner->worker);
	return r;
}

static void abandoned(struct weir_group *group)
{
	struct weir_scope_core *scope = scope_of(group);

	weir__metric_add(&group->owner->worker->metrics, WEIR__M_SCOPES_ABANDONED, 1);
	weir__group_cancel(group);
	close_scope(scope, NULL);
}

int weir_scope_join(struct weir_scope *scope, struct weir_scope_result *ret_result)
{
	struct weir_scope_core *core = scope->core_;
	struct weir_coro *owner;

	if (!core)
		return -EBUSY;
	owner = core->group.owner;
	if (!weir__self || weir__self->coros.current != owner)
		return -EPROTO;
	while (owner->groups != &core->group)
		abandoned(owner->groups);
	scope->core_ = NULL;
	return close_scope(core, ret_result);
}

/* --- opening, children, cancelling --- */

static int refuse(struct weir_futures *futures)
{
	weir__metric_add(&weir__self->metrics, WEIR__M_FUTURES_REFUSED, 1);
	return weir__slab_error(&futures->scopes);
}

int weir_scope_open_at(struct weir_scope *scope, int policy, int64_t deadline_ns,
		       const char *origin)
{
	struct weir_worker *worker = weir__self;
	struct weir_scope_core *core;
	struct weir_futures *futures;
	struct weir_coro *owner;
	int r;

	if (policy < 0 || (policy & ~WEIR_SHIELD) > WEIR_COLLECT)
		return -EINVAL;
	if (!worker || !worker->coros.current)
		return -EDEADLK;
	if ((r = weir__futures_self(&futures)))
		return r;
	core = weir__slab_get_hot(&futures->scopes);
	if (weir_unlikely(!core))
		return refuse(futures);
	owner = worker->coros.current;
	*core = (struct weir_scope_core){
		.group = { .shielded = policy & WEIR_SHIELD, .ended = child_ended,
			   .abandoned = abandoned },
		.futures = futures,
		.origin = origin,
		.deadline_ns = owner->deadline_ns,
		.outer_deadline_ns = owner->deadline_ns,
		.collects = policy & WEIR_COLLECT,
	};
	if ((policy & WEIR_SHIELD) || deadline_ns < owner->deadline_ns)
		core->deadline_ns = deadline_ns;
	owner->deadline_ns = core->deadline_ns;
	weir__group_open(&core->group);
	note(worker);
	scope->core_ = core;
	return 0;
}

/* Why scope cannot be used here, or 0. */
static int check(const struct weir_scope *scope)
{
	if (!scope->core_)
		return -EBUSY;
	return scope->core_->group.owner->worker == weir__self ? 0 : -EPROTO;
}

int weir_scope_go_named(const struct weir_scope *scope, const char *name, weir_coro_fn fn,
			void *arg)
{
	struct weir_scope_core *core = scope->core_;
	struct weir_coro *child;
	int r = check(scope);

	if (!r)
		r = weir_coro_spawn(NULL, fn, arg, &child);
	if (r)
		return r;
	child->detached = true;
	child->name = name;
	child->deadline_ns = core->deadline_ns;
	core->result.started++;
	weir__group_add(&core->group, child);
	return 0;
}

int weir_scope_cancel(const struct weir_scope *scope)
{
	int r = check(scope);

	if (!r)
		weir__group_cancel(&scope->core_->group);
	return r;
}

bool weir_scope_is_cancelled(const struct weir_scope *scope)
{
	return scope->core_ && scope->core_->group.cancelled;
}

/* --- the tree --- */

static struct weir_coro *first_of(const struct weir_group *group)
{
	return weir_container_of(group->children.next, struct weir_coro, sibling);
}

/* From group inwards, the first child there is. */
static struct weir_coro *first_child_from(const struct weir_group *group)
{
	for (; group; group = group->inner)
		if (!weir__list_is_empty(&group->children))
			return first_of(group);
	return NULL;
}

static struct weir_coro *first_child(const struct weir_coro *coro)
{
	const struct weir_group *group = coro->groups;

	while (group && group->outer)
		group = group->outer;
	return first_child_from(group);
}

/* The next of the same parent, or NULL. */
static struct weir_coro *next_child(const struct weir_coro *coro)
{
	if (coro->sibling.next != &coro->group->children)
		return weir_container_of(coro->sibling.next, struct weir_coro, sibling);
	return first_child_from(coro->group->inner);
}

static struct weir_coro *next_root(const struct weir_coros *coros, const struct weir_node *node)
{
	for (node = node->next; node != &coros->all; node = node->next) {
		struct weir_coro *coro = weir_container_of(node, struct weir_coro, node);

		if (!coro->group && !coro->ended)
			return coro;
	}
	return NULL;
}

/* The next in the order of the list; depth is kept. */
static struct weir_coro *next_in_tree(const struct weir_coros *coros, struct weir_coro *coro,
				      unsigned *depth)
{
	struct weir_coro *next = first_child(coro);

	if (next) {
		++*depth;
		return next;
	}
	while (coro->group) {
		next = next_child(coro);
		if (next)
			return next;
		coro = coro->group->owner;
		--*depth;
	}
	return next_root(coros, &coro->node);
}

int weir_tree_list(int (*visit)(const struct weir_tree_node *node, void *arg), void *arg)
{
	const struct weir_coros *coros = weir__self ? &weir__self->coros : NULL;
	struct weir_coro *coro;
	unsigned depth = 0;
	int r = 0;

	if (!coros)
		return 0;
	for (coro = next_root(coros, &coros->all); coro && !r;
	     coro = next_in_tree(coros, coro, &depth)) {
		struct weir_tree_node node = {
			.depth = depth,
			.name = coro->name,
			.state = weir__coro_state(coro),
			.since_ns = coro->since_ns,
			.deadline_ns = coro->deadline_ns,
			.cancelled = coro->cancelled,
			.scope = coro->group ? scope_of(coro->group)->origin : NULL,
		};

		r = visit(&node, arg);
	}
	return r;
}
