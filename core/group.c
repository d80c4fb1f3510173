/* SPDX-License-Identifier: MIT */
/*
 * group.c - who is cancelled when coroutines belong together.
 *
 * A coroutine is cancelled when it was asked to end itself, or when a group is that it has open:
 * until it closes that group. A shielded group hides what is outside of it. So the answer is found
 * by walking from the innermost group outwards, and only when something has changed: waiting calls
 * look at one flag.
 *
 * Cancelling does not go down the tree by itself. A child that has groups of its own finds out in
 * the waiting call that it is in, and cancels its children before it waits for them
 * (futures/scope.c): a tree of any depth is cancelled without recursion.
 */
#include "core/coro.h"

#include "core/waiting.h"
#include "core/worker.h"

/* From group outwards; NULL is outside of all groups of coro. */
static bool is_cancelled(const struct weir_coro *coro, const struct weir_group *group)
{
	for (; group; group = group->outer) {
		if (group->cancelled)
			return true;
		if (group->shielded)
			return false;
	}
	return coro->asked;
}

void weir__coro_ask(struct weir_coro *coro)
{
	bool was_cancelled = coro->cancelled;

	coro->cancelled = is_cancelled(coro, coro->groups);
	if (coro->cancelled && !was_cancelled && coro->wait && !coro->shields)
		weir__wait_end(coro->wait, -ECANCELED);
}

void weir__group_open(struct weir_group *group)
{
	struct weir_coro *owner = weir__self->coros.current;

	weir__list_init(&group->children);
	group->owner = owner;
	group->inner = NULL;
	group->outer = owner->groups;
	if (group->outer)
		group->outer->inner = group;
	owner->groups = group;
	if (group->shielded)
		weir__coro_ask(owner);
}

void weir__group_close(struct weir_group *group)
{
	struct weir_coro *owner = group->owner;

	weir_assert(owner->groups == group && weir__list_is_empty(&group->children));
	owner->groups = group->outer;
	if (group->outer)
		group->outer->inner = NULL;
	weir__coro_ask(owner);
}

void weir__group_add(struct weir_group *group, struct weir_coro *coro)
{
	coro->group = group;
	weir__list_push(&group->children, &coro->sibling);
	if (is_cancelled(group->owner, group))
		weir_coro_cancel(coro);
}

void weir__group_cancel(struct weir_group *group)
{
	struct weir_node *node;

	if (group->cancelled)
		return;
	group->cancelled = true;
	/* What cancelling calls wakes others and runs none of them: the list stays. */
	for (node = group->children.next; node != &group->children; node = node->next)
		weir_coro_cancel(weir_container_of(node, struct weir_coro, sibling));
	weir__coro_ask(group->owner);
}

void weir__groups_abandon(struct weir_coro *coro)
{
	while (coro->groups)
		coro->groups->abandoned(coro->groups);
}
