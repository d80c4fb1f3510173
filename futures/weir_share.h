/* SPDX-License-Identifier: MIT */
/*
 * weir_share.h - one result for many: shared futures, and a memo of them by key.
 *
 * A future has one holder. A share lets many read what one future gives, without a copy: the value
 * stays where it is, and is dropped after the last who has it gave it back.
 *
 *	struct weir_share *table, *mine;
 *
 *	if ((r = weir_share_create(load_table_async(), &table)))
 *		return r;
 *	...					each reader, before or after the table is there:
 *	n = weir_await(weir_share_read(table), deadline_ns, (void **)&mine);
 *	if (n >= 0) {
 *		use(weir_share_value(mine));
 *		weir_share_release(mine);	its own reference
 *	}
 *	...
 *	weir_share_release(table);		the creator's
 *
 * A memo keeps shares by key, for a time, and starts what is not there: of a hundred who ask for
 * the same thing at once, one asks for all (Go's singleflight; Varnish's request coalescing).
 *
 * Everything belongs to the worker that made it, and ends with it.
 */
#ifndef WEIR_SHARE_H
#define WEIR_SHARE_H

#include "weir_core.h"
#include "weir_future.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- shared futures --- */

/* Counted references to one result. */
struct weir_share;

/*
 * Consumes future; *ret_share is a reference to what it gives, to be released. What future was lent
 * stays lent until future is settled, whatever becomes of the readers: its lender keeps a reader
 * to know when.
 * Returns 0; -EINVAL for NULL, -EBUSY when future was consumed before, -EPROTO on another core,
 * -EDEADLK outside a worker, -ENOBUFS at futures_max, -ENOMEM: then future is still the caller's.
 */
WEIR_API int weir_share_create_at(struct weir_future *future, struct weir_share **ret_share,
				  const char *origin);
#define weir_share_create(future, ret_share) weir_share_create_at(future, ret_share, WEIR_HERE)

/*
 * A future of the shared result, as often as one likes, as long as one has a reference. Its value
 * is not the shared value but one more reference (a struct weir_share *, to be released by who
 * takes it), or NULL when there is no value or it is NULL.
 *
 * Cancelling it gives up this one: it is rejected with -ECANCELED at once, and the others wait on.
 * When it is the last that waits, what is shared is asked to end, and the verdict is its own: then
 * it ends with it. Whoever begins to read after that reads what comes of it. Dropping it does not
 * cancel: it still counts as one that waits.
 *
 * A step that share waits for cannot follow it: the step's future is rejected with -EDEADLK. (A
 * cycle that also passes through a join is not found.)
 *
 * Takes one future of the worker's bound, none when the result is there and has no value. Adds
 * -EINVAL for NULL, -EPROTO on another core, -EDEADLK outside a worker, -ENOBUFS at futures_max,
 * -ENOMEM: the others' result stays what it is.
 */
WEIR_API struct weir_future *weir_share_read_at(struct weir_share *share, const char *origin);
#define weir_share_read(share) weir_share_read_at(share, WEIR_HERE)

/*
 * The shared value, lent as long as one has the reference; NULL while the result is not there, and
 * when it has none. All who read have the same one: change it only if they can bear it.
 */
WEIR_API void *weir_share_value(const struct weir_share *share);

/* One more reference, for somebody else. Returns share, or NULL for NULL and on another core. */
WEIR_API struct weir_share *weir_share_hold(struct weir_share *share);

/*
 * Gives a reference back: share is not to be used with it any more. The last one drops the value,
 * here and now. Releasing while the result is not there does not cancel: who waits has it later.
 * NULL does nothing. Returns 0, -EPROTO on another core or outside a worker: it is still held.
 */
WEIR_API int weir_share_release(struct weir_share *share);

/* --- memo --- */

struct weir_memo;

/*
 * Starts what gives the result for key, and returns its future, which the memo consumes; an error
 * is weir_future_of(-errno). Runs as a task: must not wait. key is lent until that future is
 * settled.
 */
typedef struct weir_future *(*weir_memo_fn)(const void *key, size_t key_size, void *arg);

/* Zero means the default for every member but start. */
struct weir_memo_opts {
	weir_memo_fn start;
	void *arg;		/* start's: lives until weir_memo_destroy() has returned */
	unsigned entries_max;	/* results kept and under way together; default 1024 */
	unsigned key_size_max;	/* bytes, up to 65536; default 64 */
	int64_t ttl_ns;		/* how long a fulfilment is kept, from when it came; WEIR_NEVER: for
				 * good. Default: not at all, only who asks meanwhile shares it */
	int64_t error_ttl_ns;	/* the same for a rejection other than -ECANCELED. Default: not at
				 * all, the next who asks tries again */
};

/*
 * *ret_memo is the caller's, to be destroyed before its worker ends. opts is copied. Memory for
 * entries comes when they are used: key_size_max and about 200 bytes each, beside their values.
 * Returns 0, -EINVAL (no start, a negative time, entries_max above 16,777,216, key_size_max above
 * 65536), -ENOMEM, -EDEADLK outside a worker.
 */
WEIR_API int weir_memo_create(const struct weir_memo_opts *opts, struct weir_memo **ret_memo);

/*
 * The future of the result for key, as of weir_share_read(): its value is a reference, to be
 * released. When the result is kept, it is that one. When it is under way, one waits with the
 * others: a cancel of one does not end it, the last one's does. Else start is called, and what it
 * was kept for before is forgotten when its time is over. key is copied. A key whose flight was
 * cancelled and has not ended yet is started anew, beside it.
 *
 * At entries_max the result that was not asked for the longest is forgotten. When all entries are
 * under way it is rejected with -ENOBUFS: ask again later, or ask without the memo. Rejected with
 * -EMSGSIZE when key_size is above key_size_max, -ESHUTDOWN while the memo is being destroyed,
 * -EINVAL for NULL, -EPROTO on another core, -EDEADLK outside a worker, -ENOMEM.
 */
WEIR_API struct weir_future *weir_memo_get_at(struct weir_memo *memo, const void *key,
					      size_t key_size, const char *origin);
#define weir_memo_get(memo, key, key_size) weir_memo_get_at(memo, key, key_size, WEIR_HERE)

/*
 * Forgets the result for key, since it is known to be old. Who has it keeps it, who waits for it
 * gets it; who asks from now on starts anew. Returns 0, -ENOENT, -EINVAL for NULL, -EPROTO on
 * another core.
 */
WEIR_API int weir_memo_forget(struct weir_memo *memo, const void *key, size_t key_size);

/* Since the memo was created, but for the first two. */
struct weir_memo_info {
	unsigned entries;	/* kept now */
	unsigned flights;	/* under way now */
	uint64_t hits;		/* gets that found a kept result */
	uint64_t joins;		/* gets that found one under way */
	uint64_t misses;	/* gets that called start */
	uint64_t evicted;	/* kept results that made room for others */
	uint64_t refused;	/* gets that found no room */
};

/* Returns 0, -EINVAL for NULL, -EPROTO on another core. */
WEIR_API int weir_memo_info(const struct weir_memo *memo, struct weir_memo_info *ret_info);

/*
 * Asks what is under way to end, waits until it has, and frees the memo; who waited for it has what
 * came of it. It cannot be interrupted: start's futures must end when they are cancelled. NULL does
 * nothing.
 * Returns 0, -EPROTO on another core, -EBUSY when it is being destroyed already, -EDEADLK when it
 * would have to wait outside a coroutine: then nothing has changed.
 */
WEIR_API int weir_memo_destroy(struct weir_memo *memo);

#ifdef __cplusplus
}
#endif

#endif
