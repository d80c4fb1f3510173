/* SPDX-License-Identifier: MIT */
/*
 * share.h - a share before it has its source, for the memo: readers first, then what they read.
 */
#ifndef WEIR_FUTURES_SHARE_H
#define WEIR_FUTURES_SHARE_H

#include "futures/future.h"
#include "futures/weir_share.h"

struct weir_share {
	struct weir_future trunk;	/* waits for source; READY: the result. Nobody holds it */
	struct weir_future *source;	/* NULL before it begins and after it was taken */
	struct weir_node readers;	/* while it is PENDING, oldest first */
	size_t refs;			/* one is the source's */
	bool is_read;			/* somebody looked, or will */
};

/* One reference; to be begun. Returns 0, -ENOBUFS, -ENOMEM, -EDEADLK. */
int weir__share_create(const char *origin, struct weir_share **ret_share);

/* share gives what source gives, which was checked. */
void weir__share_begin(struct weir_share *share, struct weir_future *source);

/* Whether the last reader or weir_future_cancel(&share->trunk) has asked what is shared to end. */
static inline bool weir__share_is_ending(const struct weir_share *share)
{
	return share->trunk.flags & FUTURE_CANCELLED;
}

#endif
