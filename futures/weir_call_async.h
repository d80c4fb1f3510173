/* SPDX-License-Identifier: MIT */
/*
 * weir_call_async.h - a function that runs on another core, as a future: weir_call() for who does
 * not want to wait here, or wants several at once.
 *
 *	for (i = 0; i < weir_core_count(); i++)
 *		parts[i] = weir_call_async(i, count_there, &counts[i], deadline_ns);
 *	n = weir_await(weir_all(parts, i), WEIR_NEVER, NULL);
 */
#ifndef WEIR_CALL_ASYNC_H
#define WEIR_CALL_ASYNC_H

#include "weir_core.h"
#include "weir_future.h"
#include "weir_mesh.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The future of fn(arg), which runs in a coroutine on core (may be one's own: then it runs once the
 * calling task has ended): fulfilled with what it returns, rejected when that is negative. arg is
 * lent until the future is settled, also when it was dropped.
 *
 * deadline_ns travels with the call: it is the deadline of the coroutine that runs fn, and a call
 * whose deadline passed before it began is not run (-ETIMEDOUT). Unlike weir_call(), the deadline
 * of the calling coroutine does not count: the future may outlive it.
 *
 * A cancel travels too: the coroutine is cancelled there, and the future is settled when fn has
 * returned, with what it returned; -ECANCELED without running it when it had not begun.
 *
 * Takes one future of the worker's bound; where the ring to core is full the call waits its turn
 * behind others that do. The worker does not end before the future is settled. Rejected with
 * -EINVAL (no such core, no fn), -ETIMEDOUT, -ESHUTDOWN when the runtime has ended its work or
 * that core is stopping, -ENOBUFS at futures_max or when core has no coroutine left for it,
 * -ENOMEM here or there, -EDEADLK outside a worker: in all these fn was not called.
 */
WEIR_API struct weir_future *weir_call_async_at(unsigned core, weir_call_fn fn, void *arg,
						int64_t deadline_ns, const char *origin);
#define weir_call_async(core, fn, arg, deadline_ns)                                               \
	weir_call_async_at(core, fn, arg, deadline_ns, WEIR_HERE)

#ifdef __cplusplus
}
#endif

#endif
