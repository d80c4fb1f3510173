/* SPDX-License-Identifier: MIT */
/*
 * bound.h - the listening sockets of this process: cores that serve the same address find
 * each other here, so that port 0 is the same port on all of them.
 */
#ifndef WEIR_NET_BOUND_H
#define WEIR_NET_BOUND_H

#include "net/weir_addr.h"
#include "net/weir_listener.h"
#include "ring/kernel.h"

/* Cores that can share one address. */
#define WEIR_BOUND_CORES 1024

struct weir_bound;

/* What this core asks for. Cores with the same addr, tag and runtime meet. */
struct weir_bound_ask {
	struct weir_kernel *kernel;
	const struct weir_addr *addr;
	const struct weir_serve_opts *opts;
	const void *runtime;
	const void *tag;	/* who serves: two services on port 0 must not meet */
	unsigned core;
};

/*
 * A listening socket for this core: of its own with SO_REUSEPORT, or the one that all
 * share (opts->shared, Unix). Any thread. Returns 0, or the kernel's error.
 */
int weir__bound_get(const struct weir_bound_ask *ask, struct weir_bound **ret_bound, int *ret_fd);

/* This core listens no more. fd is what it was given. Any thread. */
void weir__bound_put(struct weir_bound *bound, unsigned core, int fd);

/* The address with its real port. Does not change. */
const struct weir_addr *weir__bound_addr(const struct weir_bound *bound);

#endif
