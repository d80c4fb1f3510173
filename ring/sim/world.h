/* SPDX-License-Identifier: MIT */
/*
 * world.h - what the files that make up the world share, and network and disk have no use for.
 */
#ifndef WEIR_RING_SIM_WORLD_H
#define WEIR_RING_SIM_WORLD_H

#include "ring/sim/sim.h"

/* events.c: runs the next event at its time. False: nothing will ever happen. */
bool weir__sim_events_step(struct weir_sim *sim);
void weir__sim_events_fini(struct weir_sim *sim);

/* choices.c: 0, -EINVAL (opts.choices is malformed), -ENOMEM. */
int weir__sim_choices_create(struct weir_sim *sim);
void weir__sim_choices_destroy(struct weir_sim *sim);
/* The choices that were not 0, as opts.choices takes them; malloc'd, NULL without memory. */
char *weir__sim_choices_text(const struct weir_sim *sim);
/* A number from the seed that is no choice: for what the service asks the kernel. */
uint64_t weir__sim_random(struct weir_sim *sim);

/* Called with each choice that is not 0, for who keeps them outside. host: -1, the world's. */
extern void (*weir__sim_choice_made)(const struct weir_sim *sim, const char *site, int host,
				     uint64_t nth, uint32_t value);

/* faults.c: draws what this seed arms. */
void weir__sim_faults_arm(struct weir_sim *sim);

/* invariant.c */
int weir__sim_invariants_create(struct weir_sim *sim);
void weir__sim_invariants_destroy(struct weir_sim *sim);
void weir__sim_invariants_step(struct weir_sim *sim);
/* Whether all that must hold eventually has held. */
bool weir__sim_invariants_settled(struct weir_sim *sim);
/* The end: what has not held by now is broken. */
void weir__sim_invariants_end(struct weir_sim *sim);
/* Marks of weir_sim_sometimes() in this run: NULL beyond the last. */
const char *weir__sim_mark(const struct weir_sim *sim, unsigned number, bool *ret_reached);

/* fibers.c: on host's process. 0, -ENOMEM. */
int weir__sim_fiber_start(struct weir_sim_host *host, const char *name,
			  void (*body)(struct weir_sim_fiber *fiber),
			  struct weir_sim_fiber **ret_fiber);
/* From the scheduler: lets fiber run until it sleeps or ends. */
void weir__sim_fiber_run(struct weir_sim *sim, struct weir_sim_fiber *fiber);
/* It is never run again. */
void weir__sim_fiber_destroy(struct weir_sim_fiber *fiber);

/* host.c */
int weir__sim_host_begin(struct weir_sim_host *host);
void weir__sim_host_destroy(struct weir_sim_host *host);
/* The process is gone: rings, descriptors, fibers. */
void weir__sim_host_bury(struct weir_sim_host *host, bool killed);
/* One of its fibers has ended; one of them had it killed while it ran. */
void weir__sim_fiber_ended(struct weir_sim_fiber *fiber);
void weir__sim_host_reap(struct weir_sim_host *host);

/* sim.c: called before a world is taken apart, for who collects its marks. */
extern void (*weir__sim_at_end)(const struct weir_sim *sim);

/* memory.c */
void weir__sim_memory_took(struct weir_sim_memory *memory, void *ptr, size_t size, bool is_map);
void weir__sim_memory_gave(struct weir_sim_memory *memory, const void *ptr);
void weir__sim_memory_free(struct weir_sim_memory *memory);

/* fds.c */
void weir__sim_fds_close_all(struct weir_sim_host *host, bool dead);

/* kernel_sim.c */
const struct weir_kernel_ops *weir__sim_kernel_ops(void);
void weir__sim_ring_destroy(struct weir_sim_ring *ring);
void weir__sim_ring_kick(struct weir_soft *soft);
/* A CQE that comes from elsewhere. */
void weir__sim_ring_remote(struct weir_sim_ring *ring, uint64_t user_data, int res,
			   uint32_t cflags);
struct weir_sim_ring *weir__sim_ring_of_file(struct weir_sim_file *file);
extern const struct weir_sim_file_ops weir__sim_ring_file_ops;

/* issue.c */
extern const struct weir_soft_ops weir__sim_soft_ops;
int weir__sim_eventfd(struct weir_sim_host *host, struct weir_sim_file **ret_file);
int weir__sim_eventfd_add(struct weir_sim_file *file, uint64_t count);

/* owner.c: the ownership of buffers, from SQE to final CQE. res: with what it ended. */
void weir__sim_owner_begin(struct weir_sim_req *req);
void weir__sim_owner_end(struct weir_sim_req *req, int res);

#endif
