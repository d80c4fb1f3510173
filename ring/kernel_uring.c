/* SPDX-License-Identifier: MIT */
/*
 * kernel_uring.c - the Linux kernel behind the seam: system calls and nothing else.
 *
 * enter is our own and not liburing's: one function can then carry the no-iowait
 * and absolute-timer flags that liburing 2.9 has no call for.
 */
#include "ring/kernel.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring/jump_return.h"

static inline int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static int uring_setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
		       struct io_uring_params *params)
{
	(void)kernel;
	return io_uring_queue_init_params(entries, uring, params);
}

WEIR__JUMP_RETURN static int uring_enter(struct weir_kernel *kernel, struct io_uring *uring,
					 unsigned submit, unsigned wait, unsigned flags,
					 const void *arg, size_t size)
{
	const long args[6] = { uring->enter_ring_fd, submit, wait, flags, (long)arg, (long)size };

	(void)kernel;
	return (int)weir__syscall(__NR_io_uring_enter, args);
}

static int uring_register(struct weir_kernel *kernel, struct io_uring *uring, unsigned opcode,
			  const void *arg, unsigned count)
{
	(void)kernel;
	if (opcode == IORING_REGISTER_RING_FDS)
		return io_uring_register_ring_fd(uring);
	if (opcode == IORING_UNREGISTER_RING_FDS)
		return io_uring_unregister_ring_fd(uring);
	return result(syscall(__NR_io_uring_register, uring->ring_fd, opcode, arg, count));
}

static void uring_teardown(struct weir_kernel *kernel, struct io_uring *uring)
{
	(void)kernel;
	io_uring_queue_exit(uring);
}

/* Since 6.13: a ring message without a source ring. The fields are those of the SQE. */
#define WEIR_REGISTER_SEND_MSG_RING 31

static int uring_notify(struct weir_kernel *kernel, struct io_uring *uring, uint64_t user_data)
{
	struct io_uring_sqe sqe;

	(void)kernel;
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_MSG_RING;
	sqe.fd = uring->ring_fd;
	sqe.addr = IORING_MSG_DATA;
	sqe.off = user_data;
	return result(syscall(__NR_io_uring_register, -1, WEIR_REGISTER_SEND_MSG_RING, &sqe, 1));
}

static int64_t uring_now(struct weir_kernel *kernel)
{
	struct timespec ts;

	(void)kernel;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * WEIR_S + ts.tv_nsec;
}

static int64_t uring_realtime(struct weir_kernel *kernel)
{
	struct timespec ts;

	(void)kernel;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * WEIR_S + ts.tv_nsec;
}

static uint64_t uring_random(struct weir_kernel *kernel)
{
	uint64_t value;

	(void)kernel;
	while (getrandom(&value, sizeof(value), 0) != sizeof(value))
		;
	return value;
}

static void *uring_map(struct weir_kernel *kernel, size_t size)
{
	void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)kernel;
	return ptr == MAP_FAILED ? NULL : ptr;
}

static void uring_unmap(struct weir_kernel *kernel, void *ptr, size_t size)
{
	(void)kernel;
	munmap(ptr, size);
}

static int uring_socket(struct weir_kernel *kernel, int domain, int type, int protocol)
{
	(void)kernel;
	return result(socket(domain, type | SOCK_CLOEXEC, protocol));
}

static int uring_bind(struct weir_kernel *kernel, int fd, const struct sockaddr *addr,
		      socklen_t size)
{
	(void)kernel;
	return result(bind(fd, addr, size));
}

static int uring_listen(struct weir_kernel *kernel, int fd, int backlog)
{
	(void)kernel;
	return result(listen(fd, backlog));
}

static int uring_connect(struct weir_kernel *kernel, int fd, const struct sockaddr *addr,
			 socklen_t size)
{
	(void)kernel;
	return result(connect(fd, addr, size));
}

static int uring_setsockopt(struct weir_kernel *kernel, int fd, int level, int name,
			    const void *value, socklen_t size)
{
	(void)kernel;
	return result(setsockopt(fd, level, name, value, size));
}

static int uring_getsockopt(struct weir_kernel *kernel, int fd, int level, int name, void *value,
			    socklen_t *size)
{
	(void)kernel;
	return result(getsockopt(fd, level, name, value, size));
}

static int uring_getsockname(struct weir_kernel *kernel, int fd, struct sockaddr *addr,
			     socklen_t *size)
{
	(void)kernel;
	return result(getsockname(fd, addr, size));
}

static int uring_getpeername(struct weir_kernel *kernel, int fd, struct sockaddr *addr,
			     socklen_t *size)
{
	(void)kernel;
	return result(getpeername(fd, addr, size));
}

static int uring_shutdown(struct weir_kernel *kernel, int fd, int how)
{
	(void)kernel;
	return result(shutdown(fd, how));
}

static int uring_close(struct weir_kernel *kernel, int fd)
{
	(void)kernel;
	return result(close(fd));
}

static int uring_unlink(struct weir_kernel *kernel, const char *path)
{
	(void)kernel;
	return result(unlink(path));
}

static int uring_is_socket(struct weir_kernel *kernel, const char *path)
{
	struct stat st;

	(void)kernel;
	return lstat(path, &st) ? -errno : S_ISSOCK(st.st_mode);
}

static int uring_eventfd(struct weir_kernel *kernel)
{
	(void)kernel;
	return result(eventfd(0, EFD_CLOEXEC));
}

static ssize_t uring_write(struct weir_kernel *kernel, int fd, const void *data, size_t size)
{
	ssize_t n = write(fd, data, size);

	(void)kernel;
	return n < 0 ? -errno : n;
}

/*
 * One buffer and nothing special: the older call does the same 80 ns sooner, since the kernel
 * has no iovec to fetch.
 */
static inline bool is_plain(int count, int64_t offset, int flags)
{
	return count == 1 && offset >= 0 && !flags;
}

WEIR__JUMP_RETURN static ssize_t uring_preadv2(struct weir_kernel *kernel, int fd,
					       const struct iovec *iov, int count, int64_t offset,
					       int flags)
{
	const long vector[6] = { fd, (long)iov, count, offset, 0, flags };
	const long plain[6] = { fd, (long)iov->iov_base, (long)iov->iov_len, offset };

	(void)kernel;
	if (is_plain(count, offset, flags))
		return weir__syscall(__NR_pread64, plain);
	return weir__syscall(__NR_preadv2, vector);
}

static ssize_t uring_pwritev2(struct weir_kernel *kernel, int fd, const struct iovec *iov,
			      int count, int64_t offset, int flags)
{
	const long vector[6] = { fd, (long)iov, count, offset, 0, flags };
	const long plain[6] = { fd, (long)iov->iov_base, (long)iov->iov_len, offset };

	(void)kernel;
	if (is_plain(count, offset, flags))
		return weir__syscall(__NR_pwrite64, plain);
	return weir__syscall(__NR_pwritev2, vector);
}

static int uring_statx(struct weir_kernel *kernel, int fd, unsigned mask, struct statx *ret_stat)
{
	(void)kernel;
	return result(statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, ret_stat));
}

static int uring_fstatfs(struct weir_kernel *kernel, int fd, struct statfs *ret_fs)
{
	(void)kernel;
	return result(fstatfs(fd, ret_fs));
}

static int uring_ftruncate(struct weir_kernel *kernel, int fd, int64_t size)
{
	(void)kernel;
	return result(ftruncate(fd, size));
}

const struct weir_kernel_ops weir__uring_ops = {
	.name = "uring",
	.ring_setup = uring_setup,
	.ring_enter = uring_enter,
	.ring_register = uring_register,
	.ring_teardown = uring_teardown,
	.notify = uring_notify,
	.now = uring_now,
	.realtime = uring_realtime,
	.random = uring_random,
	.map = uring_map,
	.unmap = uring_unmap,
	.socket = uring_socket,
	.bind = uring_bind,
	.listen = uring_listen,
	.connect = uring_connect,
	.setsockopt = uring_setsockopt,
	.getsockopt = uring_getsockopt,
	.getsockname = uring_getsockname,
	.getpeername = uring_getpeername,
	.shutdown = uring_shutdown,
	.close = uring_close,
	.unlink = uring_unlink,
	.is_socket = uring_is_socket,
	.eventfd = uring_eventfd,
	.write = uring_write,
	.preadv2 = uring_preadv2,
	.pwritev2 = uring_pwritev2,
	.statx = uring_statx,
	.fstatfs = uring_fstatfs,
	.ftruncate = uring_ftruncate,
};

struct weir_kernel *weir__kernel_uring(void)
{
	static struct weir_kernel kernel = { .ops = &weir__uring_ops };

	return &kernel;
}
