/* SPDX-License-Identifier: MIT */
/*
 * kernel.h - the seam: everything that reaches outside the process goes through
 * one of these.
 *
 * The layers above fill real SQEs in real ring memory and read real CQEs; what
 * differs between kernels is who consumes the queue. One indirect call per batch
 * (ring_enter), none per operation. The rest is the control plane: set-up, sockets
 * that are made before they are in a ring, the clock, randomness, threads.
 *
 * Every function returns 0 or a count, or -errno; none sets errno. now(),
 * realtime() and random() cannot fail. Calls on one ring come from its worker only, except
 * ring_setup and ring_teardown (the thread that runs weir_run()) and notify (any thread).
 */
#ifndef WEIR_RING_KERNEL_H
#define WEIR_RING_KERNEL_H

#include <liburing.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include "core/weir_core.h"

struct weir_kernel;
struct weir_bound;

struct weir_kernel_ops {
	const char *name;

	/* Fills uring (mapped, R_DISABLED when params says so). entries: SQ size. */
	int (*ring_setup)(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
			  struct io_uring_params *params);
	/* io_uring_enter(2). fd is uring->enter_ring_fd, with IORING_ENTER_REGISTERED_RING in
	 * flags. */
	int (*ring_enter)(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
			  unsigned wait, unsigned flags, const void *arg, size_t size);
	/* Whether an enter would find completions, where the ring's memory alone does not tell:
	 * looks without waiting. NULL: it tells. */
	bool (*ring_look)(struct weir_kernel *kernel, struct io_uring *uring);
	/* io_uring_register(2). */
	int (*ring_register)(struct weir_kernel *kernel, struct io_uring *uring, unsigned opcode,
			     const void *arg, unsigned count);
	void (*ring_teardown)(struct weir_kernel *kernel, struct io_uring *uring);
	/* Ends a wait of uring from a thread without a ring: posts a CQE with user_data. */
	int (*notify)(struct weir_kernel *kernel, struct io_uring *uring, uint64_t user_data);

	int64_t (*now)(struct weir_kernel *kernel);
	/* Nanoseconds since 1970, which may jump: for what is shown to people. */
	int64_t (*realtime)(struct weir_kernel *kernel);
	uint64_t (*random)(struct weir_kernel *kernel);

	/* Zeroed memory the kernel will write to (buffer rings): page aligned. NULL: none left. */
	void *(*map)(struct weir_kernel *kernel, size_t size);
	void (*unmap)(struct weir_kernel *kernel, void *ptr, size_t size);

	int (*socket)(struct weir_kernel *kernel, int domain, int type, int protocol);
	int (*bind)(struct weir_kernel *kernel, int fd, const struct sockaddr *addr,
		    socklen_t size);
	int (*listen)(struct weir_kernel *kernel, int fd, int backlog);
	int (*connect)(struct weir_kernel *kernel, int fd, const struct sockaddr *addr,
		       socklen_t size);
	int (*setsockopt)(struct weir_kernel *kernel, int fd, int level, int name,
			  const void *value, socklen_t size);
	int (*getsockopt)(struct weir_kernel *kernel, int fd, int level, int name, void *value,
			  socklen_t *size);
	int (*getsockname)(struct weir_kernel *kernel, int fd, struct sockaddr *addr,
			   socklen_t *size);
	int (*getpeername)(struct weir_kernel *kernel, int fd, struct sockaddr *addr,
			   socklen_t *size);
	int (*shutdown)(struct weir_kernel *kernel, int fd, int how);
	int (*close)(struct weir_kernel *kernel, int fd);
	int (*unlink)(struct weir_kernel *kernel, const char *path);
	/* 1 when path is a socket, 0 when it is something else. */
	int (*is_socket)(struct weir_kernel *kernel, const char *path);
	int (*eventfd)(struct weir_kernel *kernel);
	ssize_t (*write)(struct weir_kernel *kernel, int fd, const void *data, size_t size);

	/* The attempt before the ring: with RWF_NOWAIT it never blocks, -EAGAIN sends the caller
	 * on. */
	ssize_t (*preadv2)(struct weir_kernel *kernel, int fd, const struct iovec *iov, int count,
			   int64_t offset, int flags);
	ssize_t (*pwritev2)(struct weir_kernel *kernel, int fd, const struct iovec *iov, int count,
			    int64_t offset, int flags);

	/* About an open file, from what is known without asking a disk or a server. */
	int (*statx)(struct weir_kernel *kernel, int fd, unsigned mask, struct statx *ret_stat);
	int (*fstatfs)(struct weir_kernel *kernel, int fd, struct statfs *ret_fs);
	int (*ftruncate)(struct weir_kernel *kernel, int fd, int64_t size);
};

struct weir_kernel {
	const struct weir_kernel_ops *ops;
	/* net/bound.c's: what the process listens on. Simulated processes have one each. */
	struct weir_bound *bound;
};

/* The Linux kernel. One per process, stateless. */
struct weir_kernel *weir__kernel_uring(void);
extern const struct weir_kernel_ops weir__uring_ops;

/* The same without io_uring: epoll and threads (poll/). One per process, stateless. */
struct weir_kernel *weir__kernel_poll(void);

#endif
