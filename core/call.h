/* SPDX-License-Identifier: MIT */
/*
 * call.h - a call on another core, for who waits for it in his own way: weir_call() in a coroutine,
 * weir_call_async() with a future.
 *
 * The call is memory of the caller and all that its messages need, so neither an answer nor a
 * cancellation can be refused for want of room:
 *
 *	caller				callee
 *	there  -----begin()----->	a coroutine runs fn
 *	there  -----stop()------>	cancels it		(when the caller is cancelled)
 *	       <----ended()------	back
 *	       <----ended()------	back			(what stopped it has arrived)
 *
 * done() comes when every answer that is owed has come (owed counts them): the callee has then
 * seen each message, and nobody knows the caller's memory any more.
 *
 * Each side has one parcel, for a message that finds its lane full. It is enough: stop is sent
 * after the first message has left, and when both answers are due while the first one waits, or
 * before it was given, one message says both (ended_twice()).
 */
#ifndef WEIR_CORE_CALL_H
#define WEIR_CORE_CALL_H

#include "core/mesh.h"
#include "core/weir_mesh.h"

struct weir_coro;

/* The first line is the only one that both cores touch, unless a lane is full. */
struct weir__call {
	/* The caller's, written before the call is sent. */
	weir_call_fn fn;
	void *arg;
	int64_t deadline_ns;
	unsigned from;
	bool cancelled;		/* later: the callee looks at it before it starts fn */
	/* The callee's. */
	bool answered;
	bool stopped;		/* stop() came */
	int error;		/* why fn was not run, or 0 */
	int res;
	struct weir_coro *coro; /* runs fn */
	/* The caller's. */
	void (*done)(struct weir__call *call);	/* error and res are there */
	unsigned to;
	unsigned owed;		/* answers still to come */

	struct weir_parcel there; /* the caller's: begin, then stop */
	struct weir_parcel back;  /* the callee's */
};

/*
 * fn, arg, deadline_ns and done are set; with is_quick fn runs without a coroutine. core is one
 * that is there. done() comes once, on this worker, unless the call is recalled.
 */
void weir__call_start(struct weir__call *call, unsigned core, bool is_quick);

/* Takes back a call that has not left for want of room: done() will not come. */
bool weir__call_recall(struct weir__call *call);

/* Asks one that has left to end. Once. */
void weir__call_stop(struct weir__call *call);

#endif
