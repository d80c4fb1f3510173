/* SPDX-License-Identifier: MIT */
/*
 * weir_admit.h - who may go on: admission of requests to a service that can be asked for more than
 * it can do.
 *
 *	enter --a ticket is free--> in progress --weir_ticket_done()--> the first in line goes on
 *	enter --none is--> in line --a ticket--> in progress
 *	                           --too long, too late, cancelled--> shed, counted by reason
 *
 * A limiter (weir_limit.h) says how many requests may be in progress. The others stand in a line
 * that is bounded in length and, by CoDel, in time; what cannot be answered in time is shed as
 * early as that is known, so that the core works for requests that somebody still waits for. A
 * service without this answers, under overload, each request too late: no goodput at all.
 *
 *	struct weir_ticket ticket;
 *
 *	if ((r = weir_admit_enter(&admit, READS, deadline, &ticket)))
 *		return r;			shed: say so to who asked, and to come back later
 *	r = do_it();
 *	weir_ticket_done(&ticket, r ? WEIR_TICKET_IGNORE : WEIR_TICKET_OK);
 *
 * Which one of those in line goes on:
 *
 * - classes: the one of the least priority number; but of the grants while it has somebody in
 *   line each class gets at least its share_percent.
 * - order: WEIR_ADMIT_FIFO, or WEIR_ADMIT_LIFO: the newest first while the oldest has waited
 *   longer than target_ns, for he who came last is the one most likely to be still there (adaptive
 *   LIFO; Maurer: Fail at Scale, ACM Queue 2015).
 * - CoDel: once the oldest has been older than target_ns for all of interval_ns, who has waited for
 *   longer than twice target_ns is shed, until an interval in which nobody has (after folly's
 *   Codel, and Nichols, Jacobson, 2012).
 * - deadlines: who would get his answer, by the median of what requests take, after his deadline is
 *   shed when he comes or when it is his turn.
 *
 * An admit belongs to the worker that made it; every call elsewhere returns -EPROTO. Nothing here
 * allocates or locks.
 */
#ifndef WEIR_ADMIT_H
#define WEIR_ADMIT_H

#include "weir_core.h"
#include "weir_limit.h"
#include "weir_waiters.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_ADMIT_CLASSES_MAX 8

enum weir_admit_order { WEIR_ADMIT_FIFO, WEIR_ADMIT_LIFO };

/* Why a request was shed. */
enum weir_shed {
	WEIR_SHED_NONE,
	WEIR_SHED_FULL,		/* the line is full, or it was to be had at once (try): -EAGAIN */
	WEIR_SHED_CODEL,	/* waited too long while overloaded: -EAGAIN */
	WEIR_SHED_CLASS,	/* made room for one of a higher class: -EAGAIN */
	WEIR_SHED_DEADLINE,	/* its deadline passed, or would before the answer: -ETIMEDOUT */
	WEIR_SHED_CANCELLED,	/* the coroutine was cancelled in line: -ECANCELED */
	WEIR_SHED_STOPPING,	/* weir_admit_stop(): -ESHUTDOWN */
	WEIR_SHED_COUNT
};

/* What became of an admitted request, for the limiter. */
enum weir_ticket_outcome {
	WEIR_TICKET_OK,		/* how long it took is learned from */
	WEIR_TICKET_DROP,	/* it failed for overload further down: the limit goes back */
	WEIR_TICKET_IGNORE	/* it says nothing: a wrong request, an answer from a cache */
};

/* Zero means the default for every member. */
struct weir_admit_class {
	const char *name;	/* for dumps; borrowed. Default "class" */
	unsigned priority;	/* 0 goes first; those of equal priority by age */
	unsigned share_percent;	/* of the grants and of the places in line, at least. Default 0 */
	unsigned queue_max;	/* in line; default: queue_max of all */
};

/* Zero means the default for every member. */
struct weir_admit_opts {
	const char *name;	/* for dumps; borrowed. Default "admit" */
	struct weir_limiter_opts limiter;
	enum weir_admit_order order;
	unsigned queue_max;	/* in line, of all classes; default 1024 */
	int64_t target_ns;	/* default 5 ms */
	int64_t interval_ns;	/* default 100 ms */
	const struct weir_admit_class *classes;	/* copied. Default: one */
	unsigned class_count;	/* at most WEIR_ADMIT_CLASSES_MAX */
};

struct weir_admit_line {
	struct weir_admit_class opts_;
	struct weir_waiters waiters_;	/* oldest first */
	unsigned waiting_, kept_;
	unsigned owed_;			/* percent of a grant */
	uint64_t admitted_, shed_;
};

/* The caller's memory. */
struct weir_admit {
	struct weir_limiter limiter_;
	void *home_;
	unsigned inflight_, waiting_, limit_shown_;
	bool stopping_, overloaded_;
	bool was_late_;			/* somebody, in this interval */
	int64_t service_ns_;		/* median, by steps */
	int64_t age_min_ns_;		/* of the oldest, in this interval */
	int64_t interval_end_ns_;
	int64_t target_ns_, interval_ns_;
	enum weir_admit_order order_;
	unsigned queue_max_, count_;
	struct weir_admit_line lines_[WEIR_ADMIT_CLASSES_MAX];
	const char *name_;
	uint64_t admitted_, shed_[WEIR_SHED_COUNT];
	int metrics_[4 + WEIR_SHED_COUNT];
};

/* The caller's memory; needs no init. */
struct weir_ticket {
	struct weir_admit *admit_;	/* NULL: holds nothing */
	int64_t begun_ns_;
	unsigned inflight_;
	int64_t waited_ns;		/* in line; of one that was shed, too. Read only */
	enum weir_shed shed;		/* why enter or try refused. Read only */
};

/*
 * Returns 0, -EINVAL (a limiter or number out of range, more than WEIR_ADMIT_CLASSES_MAX classes,
 * shares of more than 100 together), -EDEADLK outside a worker.
 */
WEIR_API int weir_admit_init(struct weir_admit *admit, const struct weir_admit_opts *opts);

/* Returns 0, -EBUSY while a request is in progress or in line. */
WEIR_API int weir_admit_fini(struct weir_admit *admit);

/*
 * Asks for a ticket for a request of class index, whose answer is needed by deadline_ns (or the
 * coroutine's own deadline, when that is earlier); waits in line when it must, and lets all that is
 * ready run before it returns with a ticket: requests that only compute would else never meet in
 * line. On success ticket is to be given back by weir_ticket_done(), on this worker, by whoever.
 * Returns 0; -EAGAIN, -ETIMEDOUT, -ECANCELED, -ESHUTDOWN: shed, for the reason in ticket->shed,
 * tell who asked; -EINVAL: no such class; -EDEADLK where it would wait outside a coroutine.
 */
WEIR_API int weir_admit_enter(struct weir_admit *admit, unsigned index, int64_t deadline_ns,
			      struct weir_ticket *ticket);

/* The same without waiting: shed as FULL when there is no ticket now or others wait. */
WEIR_API int weir_admit_try(struct weir_admit *admit, unsigned index, int64_t deadline_ns,
			    struct weir_ticket *ticket);

/* Ends the request; whose turn it is goes on. Returns 0, -EALREADY when ticket holds nothing,
 * -EINVAL for no such outcome. */
WEIR_API int weir_ticket_done(struct weir_ticket *ticket, enum weir_ticket_outcome outcome);

/* Sheds all in line and all who come from now on; what is in progress goes on. Returns 0. */
WEIR_API int weir_admit_stop(struct weir_admit *admit);

/* Levels and counts. */
struct weir_admit_info {
	const char *name;
	unsigned limit, inflight, waiting;
	bool is_overloaded;		/* in CoDel's sense */
	int64_t base_ns;		/* weir_limiter_base_ns() */
	int64_t service_ns;		/* the median of what requests take; 0: not known */
	int64_t delay_ns;		/* until who comes now would get a ticket, about */
	uint64_t admitted;
	uint64_t shed[WEIR_SHED_COUNT];
};

/* Returns 0. */
WEIR_API int weir_admit_info(const struct weir_admit *admit, struct weir_admit_info *ret_info);

struct weir_admit_class_info {
	const char *name;
	unsigned waiting;
	uint64_t admitted, shed;
};

/* Returns 0, -EINVAL when there is no such class. */
WEIR_API int weir_admit_class_info(const struct weir_admit *admit, unsigned index,
				   struct weir_admit_class_info *ret_info);

/* "full", "codel", ...: the name of a reason. Any thread. */
WEIR_API const char *weir_shed_name(enum weir_shed shed);

#ifdef __cplusplus
}
#endif

#endif
