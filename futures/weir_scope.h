/* SPDX-License-Identifier: MIT */
/*
 * weir_scope.h - coroutines that end before their parent goes on (structured concurrency).
 *
 *	struct weir_scope scope;
 *
 *	if ((r = weir_scope_open(&scope, WEIR_FAIL_FAST, weir_in(WEIR_S))))
 *		return r;
 *	weir_scope_go(&scope, fetch, &left);		a coroutine each
 *	weir_scope_go(&scope, fetch, &right);
 *	return weir_scope_join(&scope, NULL);		both have ended
 *
 * A scope is opened by a coroutine, its owner, and closed by joining it. Its children are
 * coroutines of the same worker, started by weir_scope_go() from the owner or from another child.
 * Three things hold:
 *
 * 1. A scope never ends before its children. weir_scope_join() waits for all of them, also when
 *    it was cancelled itself or its deadline passed: then it cancels the children first. A
 *    coroutine that returns with an open scope joins it before it ends (counted:
 *    weir_scopes_abandoned). No child is ever left behind.
 * 2. In a cancelled scope every waiting call of the children, of their own scopes and of the owner
 *    up to its join returns -ECANCELED, each once what it had started has really ended. A scope is
 *    cancelled by weir_scope_cancel(), by the first failure of a child (WEIR_FAIL_FAST), or because
 *    its owner was.
 * 3. Deadlines are inherited: nothing in a scope waits longer than the scope's deadline, which is
 *    at most that of the coroutine that opened it.
 *
 * The idea is Trio's nursery (Smith, "Notes on structured concurrency", 2018) and libdill's bundle.
 */
#ifndef WEIR_SCOPE_H
#define WEIR_SCOPE_H

#include "weir_core.h"
#include "weir_coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's memory: to move it, copy it. One that was joined answers every call with -EBUSY. */
struct weir_scope {
	struct weir_scope_core *core_;		/* NULL: not open */
};

enum weir_scope_policy {
	WEIR_FAIL_FAST,		/* the first child that fails cancels the scope */
	WEIR_COLLECT,		/* all run to their end, whoever fails */
	WEIR_SHIELD = 4		/* or-ed to one of them: what is outside neither cancels the scope
				 * nor limits its deadline */
};

/* What became of the children. */
struct weir_scope_result {
	unsigned started;
	unsigned failed; /* returned less than 0, other than the -ECANCELED they were asked for */
	int error;		/* of the first that failed, else 0 */
	const char *name;	/* its name, else NULL */
};

#define WEIR_SCOPE_STRING_(x) #x
#define WEIR_SCOPE_STRING(x) WEIR_SCOPE_STRING_(x)

/*
 * Opens scope, of the calling coroutine, inside the scopes it has open already. deadline_ns is
 * absolute; until the join it is also the deadline of the owner's own waiting calls. policy is
 * WEIR_FAIL_FAST or WEIR_COLLECT, with WEIR_SHIELD or without. To be joined, once. origin is
 * borrowed for good: a literal.
 * Returns 0, -EINVAL for another policy, -EDEADLK outside a coroutine, -ENOBUFS when futures_max
 * (an option of weir_run()) scopes are open on this worker, -ENOMEM. A cancelled coroutine may
 * open one: its waiting calls in it, and those of the children, say so.
 */
WEIR_API int weir_scope_open_at(struct weir_scope *scope, int policy, int64_t deadline_ns,
				const char *origin);
#define weir_scope_open(scope, policy, deadline_ns)                                               \
	weir_scope_open_at(scope, policy, deadline_ns, __FILE__ ":" WEIR_SCOPE_STRING(__LINE__))

/*
 * Starts fn(arg) as a child of scope: it returns 0 or more, or a negative errno, which is a
 * failure. name is shown in dumps and borrowed for good; weir_scope_go() makes it of the function
 * and the place. A child that is started in a cancelled scope runs: its first waiting call says
 * so. Callable by every coroutine of the worker until the join has returned.
 * Returns 0; -EBUSY when scope is not open; -EPROTO on another worker; -ENOBUFS, -ENOMEM,
 * -ESHUTDOWN as weir_coro_spawn(). On error fn will not be called.
 */
WEIR_API int weir_scope_go_named(const struct weir_scope *scope, const char *name,
				 weir_coro_fn fn, void *arg);
#define weir_scope_go(scope, fn, arg)                                                             \
	weir_scope_go_named(scope, #fn " " __FILE__ ":" WEIR_SCOPE_STRING(__LINE__), fn, arg)

/*
 * Cancels scope: its children, and the owner's waiting calls until the join. Does not wait. Again,
 * it does nothing.
 * Returns 0, -EBUSY when scope is not open, -EPROTO on another worker.
 */
WEIR_API int weir_scope_cancel(const struct weir_scope *scope);

/* Whether scope is open and was cancelled, for whatever reason. */
WEIR_API bool weir_scope_is_cancelled(const struct weir_scope *scope);

/*
 * Waits until every child has ended, and closes scope. Scopes that were opened inside it and are
 * still open are cancelled and joined first. Only the owner joins. *ret_result (may be NULL) is
 * filled when scope was closed: whatever this returns but -EBUSY and -EPROTO.
 *
 * Returns 0, the first failure of a child, -ECANCELED when the scope or its owner was cancelled
 * and nothing failed, -ETIMEDOUT when the deadline passed while it waited. -EBUSY when scope is
 * not open, -EPROTO for another coroutine's: it stays open.
 */
WEIR_API int weir_scope_join(struct weir_scope *scope, struct weir_scope_result *ret_result);

/* --- the tree --- */

/* One coroutine of the tree. Strings live as long as the coroutine. */
struct weir_tree_node {
	unsigned depth;		/* 0: of no scope */
	const char *name;	/* "fetch server.c:42" */
	const char *state;	/* "running", "ready", or what it waits for: "join", "read" */
	int64_t since_ns;	/* when it entered that state, the weir_now() clock */
	int64_t deadline_ns;
	bool cancelled;
	const char *scope;	/* where the scope it is a child of was opened; NULL at depth 0 */
};

/*
 * Calls visit for each coroutine of this worker, parents before their children, siblings by age,
 * until it returns non-zero, and returns that; else 0. visit must not wait, spawn or cancel.
 */
WEIR_API int weir_tree_list(int (*visit)(const struct weir_tree_node *node, void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
