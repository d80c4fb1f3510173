/* SPDX-License-Identifier: MIT */
/*
 * weir_waiters.h - a line of coroutines, as a member of what they wait for. Nothing here is called
 * by users: it makes the size of other structs known.
 */
#ifndef WEIR_WAITERS_H
#define WEIR_WAITERS_H

/* Who waits, the first in line first. */
struct weir_waiters {
	void *next_;
	void *prev_;
};

#endif
