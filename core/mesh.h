/* SPDX-License-Identifier: MIT */
/*
 * mesh.h - what connects the workers of a runtime: a lane for each ordered pair of cores,
 * an inbox for threads that are no worker, and a sleep word per core.
 *
 * A lane is a ring with one producer and one consumer (Lamport 1983; the two cached
 * indices as in FastForward, PPoPP 2008). Each side keeps its own index and a copy of the
 * other's in memory of its own (struct weir_out, struct weir_in) and shares only what it
 * publishes: the producer its tail, once a turn; the consumer its head, once a drain.
 *
 * Sleeping. What can be waited for is published with a sequentially consistent store, and
 * so is the sleep word; each side stores its own, then loads the other's:
 *
 *	consumer			producer
 *	asleep = 1			tail = n
 *	look at every inbox		if (asleep && exchange(asleep, 0))
 *	empty: sleep				wake the consumer
 *
 * In the single order of these four, either the consumer's look sees the message or the
 * producer's load sees the sleeper: no wake is lost, and of many producers one wakes.
 * tests/core/test_sleep_model.c walks every interleaving. Room in a full lane is told
 * the other way round by the same protocol: want_room is the producer's inbox.
 *
 * Inbox of other threads: a stack of lent messages (Treiber 1986) that the consumer takes
 * whole and reverses, so messages run in the order in which they were pushed. Unlike a
 * linked FIFO it has no window in which a pushed message cannot be seen, and closing it is
 * one exchange: every message was taken or is refused.
 */
#ifndef WEIR_CORE_MESH_H
#define WEIR_CORE_MESH_H

#include "core/driver.h"
#include "core/queue.h"
#include "core/weir_mesh.h"

#define WEIR__CACHE_LINE 64
#define WEIR__CACHE_ALIGNED __attribute__((aligned(WEIR__CACHE_LINE)))

/* Messages taken from one lane in a turn: no peer can hold the core for longer. */
#define WEIR__DRAIN_MAX 256

#define WEIR__CORES_MAX 1024

struct weir_message {
	weir_post_fn fn;
	void *arg;
};

/* What both ends of a lane see. */
struct weir_lane {
	/* Written by the producer. */
	uint32_t tail WEIR__CACHE_ALIGNED;
	uint32_t want_room;		/* somebody waits for the head to move */
	/* Written by the consumer. */
	uint32_t head WEIR__CACHE_ALIGNED;
};

/* What every thread sees of a core. */
struct weir_berth {
	uint32_t asleep WEIR__CACHE_ALIGNED;	/* 1: in front of, or in, the driver's wait */
	struct weir_post *inbox WEIR__CACHE_ALIGNED;
	uint32_t posters;		/* threads between their look at the inbox and their wake */
	uint32_t kicked;		/* a reason to look around that is no message */
	struct weir_driver *driver;
};

struct weir_mesh {
	unsigned count;
	uint32_t depth;			/* messages in a lane, a power of two */
	struct weir_lane *lanes;	/* [to * count + from]: a consumer's are neighbours */
	struct weir_message *messages;	/* depth for each lane, in the same order */
	struct weir_berth *berths;
};

/* A message that waits for room in its lane: memory of whoever waits. */
struct weir_parcel {
	struct weir_node node;
	weir_post_fn fn;
	void *arg;
	void (*sent)(struct weir_parcel *parcel);	/* it is in the lane; NULL: nobody asks */
};

/* The producer's own. */
struct weir_out {
	uint32_t filled;		/* next index; ahead of the lane's tail until published */
	uint32_t head_seen;
	uint32_t published;
	struct weir_message *messages;
	struct weir_lane *lane;
	struct weir_node parcels;	/* FIFO; not empty only when the lane was seen full */
};

/* The consumer's own. */
struct weir_in {
	uint32_t head;
	struct weir_message *messages;
	struct weir_lane *lane;
};

/* A worker's end of the mesh. */
struct weir_port {
	struct weir_mesh *mesh;
	struct weir_worker *worker;
	struct weir_berth *berth;
	unsigned index;
	unsigned count;			/* cores */
	uint32_t mask;
	bool ended;			/* posts are refused; replies still go */
	unsigned dirty_count;
	unsigned parcel_count;
	unsigned *dirty;		/* outs with something to publish */
	struct weir_out *outs;
	struct weir_in *ins;
	uint64_t sent;			/* messages put into lanes */
	uint64_t received;		/* messages run */
	uint64_t wakes_sent, wakes_skipped, full;
};

/* depth is a power of two, count in 1..WEIR__CORES_MAX. Returns 0, -EINVAL or -ENOMEM. */
int weir__mesh_create(unsigned count, uint32_t depth, struct weir_mesh **ret_mesh);

/* No worker and no other thread uses it any more. NULL is fine. */
void weir__mesh_destroy(struct weir_mesh *mesh);

/* Returns 0 or -ENOMEM. mesh is borrowed. */
int weir__port_init(struct weir_port *port, struct weir_mesh *mesh, unsigned index,
		    struct weir_worker *worker);
void weir__port_fini(struct weir_port *port);

/*
 * Makes what was posted visible to the other cores, and wakes those that sleep. Moves
 * parcels where room has come.
 */
void weir__port_publish(struct weir_port *port);

/* Runs what others sent, at most WEIR__DRAIN_MAX of each. Returns how many. */
unsigned weir__port_drain(struct weir_port *port);

/* Whether drain or publish would find something to do. A load for each core. */
bool weir__port_is_ready(const struct weir_port *port);

/* Whether everything posted was published. */
bool weir__port_is_flushed(const struct weir_port *port);

/*
 * Announces that this core goes to sleep. False when there is something to do first: then
 * it does not sleep. weir__port_rise() follows in both cases.
 */
bool weir__port_lie_down(struct weir_port *port);
void weir__port_rise(struct weir_port *port);

/* Puts a message into the lane to core to; false when it is full or others wait for room. */
bool weir__port_try(struct weir_port *port, unsigned to, weir_post_fn fn, void *arg);

/*
 * Sends now or when room comes, whether or not the work has ended. parcel's node is zero.
 * It is lent until sent() or, when nobody asks, until it is run.
 */
void weir__port_send(struct weir_port *port, unsigned to, struct weir_parcel *parcel);

static inline bool weir__parcel_is_waiting(const struct weir_parcel *parcel)
{
	return weir__node_is_linked(&parcel->node);
}

/* Takes back a parcel that waits. */
void weir__port_recall(struct weir_port *port, unsigned to, struct weir_parcel *parcel);

/* From now on other threads' posts are refused; what came before is run. */
void weir__port_close_inbox(struct weir_port *port);

/* Makes core look around. Any thread; from is the calling worker's driver or NULL. */
void weir__mesh_kick(struct weir_mesh *mesh, unsigned core, struct weir_driver *from);

/* weir_post_any() without a runtime. Any thread. */
int weir__mesh_post(struct weir_mesh *mesh, unsigned core, struct weir_post *post,
		    void (*fn)(struct weir_post *post), struct weir_driver *from);

#endif
