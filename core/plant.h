/* SPDX-License-Identifier: MIT */
/*
 * plant.h - bugs planted on purpose, to see whether the simulated kernel finds them.
 *
 * Each is one that somebody shipped, or nearly so (tests/sim/README.md has the table). They are
 * in the code only where it was configured with -Dplants=true; everywhere else WEIR__PLANT() is
 * false, and so is what the compiler makes of the branch: nothing. At most one is active, the
 * one that the environment's WEIR_PLANT names. Tested: tests/sim/plants.py.
 */
#ifndef WEIR_CORE_PLANT_H
#define WEIR_CORE_PLANT_H

#include <stdbool.h>

#define WEIR__PLANTS(X)                                                                           \
	X(CANCEL_RETIRES)	/* an op retires on its cancel's completion */                    \
	X(CANCEL_RETURNS)	/* a cancelled call returns while its op is in flight */          \
	X(CANCEL_DROPPED)	/* a cancel that finds the queue full is forgotten */             \
	X(CANCEL_HIDES)		/* what succeeded although cancelled is reported as cancelled */  \
	X(NOTIF_IGNORED)	/* zero-copy memory is given back before its notification */      \
	X(SHORT_SUBMIT)		/* what the kernel did not take is taken for submitted */         \
	X(ENTER_EINTR)		/* an enter that was interrupted loses the queue */               \
	X(WAKE_FAILED)		/* nobody looks whether a ring message arrived */                 \
	X(RECV_ENDED)		/* a multishot receive that ended with data is not armed again */ \
	X(RECV_ENOBUFS)		/* a receive that found no buffer is not armed again */           \
	X(BUF_LEAKED)		/* data that comes while closing keeps its buffer */              \
	X(ACCEPT_ENDED)		/* a multishot accept that ended is not armed again */            \
	X(ACCEPT_EMFILE)	/* accepting ends for good without descriptors */                 \
	X(ACCEPT_SPINS)		/* accepting is tried again at once without descriptors */        \
	X(SEND_SHORT)		/* a short send is taken for a whole one */                       \
	X(WRITE_SHORT)		/* a short write to a file is taken for a whole one */            \
	X(CALL_LATE)		/* deadlines do not count in the queue between cores */           \
	X(MESH_ROOM)		/* nobody is told that a full lane has room again */              \
	X(COMMIT_EARLY)		/* an append is acknowledged before it is durable */              \
	X(COMMIT_RETRIED)	/* a write that failed is tried again */                          \
	X(FSYNC_RETRIED)	/* a file goes on after an fsync that failed */                   \
	X(DIR_SYNC)		/* a directory is not synced */                                   \
	X(DRAIN_FORGETS)	/* connections without a coroutine are not told of a drain */     \
	X(TIMER_OUTLIVES)	/* a wait's timer stays when the wait is over */

#ifdef WEIR_PLANTS

enum weir__plants {
	WEIR__PLANT_NONE,
#define WEIR__PLANT_ENUM(name) WEIR__PLANT_##name,
	WEIR__PLANTS(WEIR__PLANT_ENUM)
#undef WEIR__PLANT_ENUM
};

extern unsigned weir__plant;

#define WEIR__PLANT(name) (weir__plant == WEIR__PLANT_##name)

#else
#define WEIR__PLANT(name) false
#endif

#endif
