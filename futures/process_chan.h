/* SPDX-License-Identifier: MIT */
/*
 * process_chan.h - what a channel between processes needs from the system: memory, descriptors and
 * processes (process_chan_posix.c). Each returns a value or -errno.
 */
#ifndef WEIR_FUTURES_PROCESS_CHAN_H
#define WEIR_FUTURES_PROCESS_CHAN_H

#include "core/shm_ring.h"
#include "futures/weir_process_chan.h"

/* Sealed memory of size bytes, and the bells: the sender's, the receiver's. */
int weir__process_chan_open(size_t size, int ret_fds[WEIR_PROCESS_CHAN_FDS]);
void weir__process_chan_close_fds(const int fds[WEIR_PROCESS_CHAN_FDS]);

/* Makes the other bell readable; makes this one quiet again: false when it will never be. Neither
 * waits. */
void weir__process_chan_ring(int bell);
bool weir__process_chan_quiet(int bell);

/* Maps memory that is sealed against getting smaller: else -EPROTO. */
int weir__process_chan_map(int fd, void **ret_memory, size_t *ret_size);
void weir__process_chan_unmap(void *memory, size_t size);

uint32_t weir__process_self(void);

/* A descriptor that is readable once the process has ended; -ESRCH when it has already. */
int weir__process_open(uint32_t pid);
bool weir__process_is_alive(uint32_t pid);
void weir__process_close(int pidfd);

#endif
