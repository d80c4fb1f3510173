/* SPDX-License-Identifier: MIT */
/*
 * bare_host.h - a program on a simulated host that talks to its kernel itself: a ring of its
 * own, one operation after the other, in the host's main. For tests of what the kernel says,
 * below what the library asks.
 *
 *	static int server(void *arg)
 *	{
 *		int fd = bare_listen(80);
 *		struct bare_cqe cqe = bare_do(bare_accept(fd));
 */
#ifndef WEIR_TESTS_BARE_HOST_H
#define WEIR_TESTS_BARE_HOST_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "ring/sim/sim.h"

#define BARE_KEPT 64

struct bare_cqe {
	uint64_t data;
	int res;
	unsigned flags;
};

/* Of the host that runs. */
struct bare {
	struct io_uring uring;
	struct bare_cqe kept[BARE_KEPT];	/* seen while another was waited for */
	unsigned kept_count;
	uint64_t serial;
};

static struct bare bare_hosts[WEIR_SIM_HOSTS];

static inline struct bare *bare(void)
{
	return &bare_hosts[weir_sim_self()->index];
}

static inline struct weir_kernel *bare_kernel(void)
{
	return &weir_sim_self()->seam->kernel;
}

static inline void bare_begin_with(unsigned sq, unsigned cq)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
						   IORING_SETUP_DEFER_TASKRUN |
						   IORING_SETUP_CQSIZE };

	params.cq_entries = cq;
	memset(bare(), 0, sizeof(*bare()));
	weir_sim_check(bare_kernel()->ops->ring_setup(bare_kernel(), sq, &bare()->uring,
						      &params) == 0,
		       "a ring is set up");
}

static inline void bare_begin(void)
{
	bare_begin_with(32, 128);
}

/* Also closes what is left open. */
static inline void bare_end(void)
{
	bare_kernel()->ops->ring_teardown(bare_kernel(), &bare()->uring);
	for (int fd = 0; fd < 64; fd++)
		bare_kernel()->ops->close(bare_kernel(), fd);
}

/* The SQE that the next bare_go() or bare_do() submits, user_data set. */
static inline struct io_uring_sqe *bare_sqe(void)
{
	struct io_uring_sq *sq = &bare()->uring.sq;
	struct io_uring_sqe *sqe = &sq->sqes[sq->sqe_tail++ & sq->ring_mask];

	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

/* ns < 0: without waiting. */
static inline int bare_enter(unsigned wait, int64_t ns)
{
	struct bare *b = bare();
	struct __kernel_timespec ts = { .tv_sec = ns / WEIR_S, .tv_nsec = ns % WEIR_S };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	unsigned submit = b->uring.sq.sqe_tail - *b->uring.sq.khead;

	io_uring_smp_store_release(b->uring.sq.ktail, b->uring.sq.sqe_tail);
	return bare_kernel()->ops->ring_enter(bare_kernel(), &b->uring, submit, wait,
					      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
					      sizeof(arg));
}

/* Submits sqe. Returns its user_data. */
static inline uint64_t bare_go(struct io_uring_sqe *sqe)
{
	uint64_t data = ++bare()->serial;

	sqe->user_data = data;
	bare_enter(0, 0);
	return data;
}

static inline bool bare_take(uint64_t data, struct bare_cqe *ret)
{
	struct bare *b = bare();

	for (unsigned i = 0; i < b->kept_count; i++) {
		if (b->kept[i].data != data)
			continue;
		*ret = b->kept[i];
		memmove(&b->kept[i], &b->kept[i + 1],
			(--b->kept_count - i) * sizeof(b->kept[0]));
		return true;
	}
	return false;
}

static inline void bare_reap(void)
{
	struct bare *b = bare();
	struct io_uring_cq *cq = &b->uring.cq;
	unsigned head = *cq->khead;

	while (head != io_uring_smp_load_acquire(cq->ktail) && b->kept_count < BARE_KEPT) {
		struct io_uring_cqe *cqe = &cq->cqes[head++ & cq->ring_mask];

		b->kept[b->kept_count++] =
			(struct bare_cqe){ cqe->user_data, cqe->res, cqe->flags };
	}
	io_uring_smp_store_release(cq->khead, head);
}

#define BARE_NOTHING (-99999)

/* The next CQE of data, within ns; else its res is BARE_NOTHING. */
static inline struct bare_cqe bare_wait_for(uint64_t data, int64_t ns)
{
	struct weir_sim *sim = weir_sim_world();
	int64_t until_ns = sim->now_ns + ns;
	struct bare_cqe cqe = { .data = data, .res = BARE_NOTHING };

	while (bare_reap(), !bare_take(data, &cqe) && sim->now_ns < until_ns)
		bare_enter(1, until_ns - sim->now_ns);
	return cqe;
}

static inline struct bare_cqe bare_wait(uint64_t data)
{
	return bare_wait_for(data, 3600 * WEIR_S);
}

static inline struct bare_cqe bare_do(struct io_uring_sqe *sqe)
{
	return bare_wait(bare_go(sqe));
}

static inline void bare_sleep(int64_t ns)
{
	weir__sim_sleep(weir_sim_world(), weir_sim_world()->now_ns + ns);
}

/* --- sockets --- */

static inline struct sockaddr_in bare_v4(const char *ip, uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, ip, &addr.sin_addr);
	return addr;
}

static inline int bare_socket(int family, int type)
{
	return bare_kernel()->ops->socket(bare_kernel(), family, type, 0);
}

static inline int bare_bind(int fd, const char *ip, uint16_t port)
{
	struct sockaddr_in addr = bare_v4(ip, port);

	return bare_kernel()->ops->bind(bare_kernel(), fd, (void *)&addr, sizeof(addr));
}

static inline int bare_set(int fd, int level, int name, int value)
{
	return bare_kernel()->ops->setsockopt(bare_kernel(), fd, level, name, &value,
					      sizeof(value));
}

static inline int bare_get(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);
	int r = bare_kernel()->ops->getsockopt(bare_kernel(), fd, level, name, &value, &size);

	return r < 0 ? r : value;
}

static inline int bare_close(int fd)
{
	return bare_kernel()->ops->close(bare_kernel(), fd);
}

static inline int bare_listen_with(uint16_t port, int backlog)
{
	int fd = bare_socket(AF_INET, SOCK_STREAM);

	weir_sim_check(bare_bind(fd, "0.0.0.0", port) == 0, "a port is free");
	weir_sim_check(bare_kernel()->ops->listen(bare_kernel(), fd, backlog) == 0,
		       "a socket listens");
	return fd;
}

static inline int bare_listen(uint16_t port)
{
	return bare_listen_with(port, 64);
}

static inline int bare_connect(int fd, const char *ip, uint16_t port)
{
	struct sockaddr_in addr = bare_v4(ip, port);
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_connect(sqe, fd, (void *)&addr, sizeof(addr));
	return bare_do(sqe).res;
}

/* A connection to ip, whose server may not listen yet. */
static inline int bare_connected(const char *ip, uint16_t port)
{
	for (int i = 0; i < 100; i++) {
		int fd = bare_socket(AF_INET, SOCK_STREAM);

		if (!bare_connect(fd, ip, port))
			return fd;
		bare_close(fd);
		bare_sleep(WEIR_MS);
	}
	weir_sim_check(false, "a connection");
	return -1;
}

static inline int bare_accept(int fd)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_accept(sqe, fd, NULL, NULL, 0);
	return bare_do(sqe).res;
}

static inline struct io_uring_sqe *bare_recv(int fd, void *buf, size_t size, int flags)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_recv(sqe, fd, buf, size, flags);
	return sqe;
}

static inline struct io_uring_sqe *bare_send(int fd, const void *buf, size_t size, int flags)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_send(sqe, fd, buf, size, flags);
	return sqe;
}

static inline int bare_shutdown(int fd, int how)
{
	return bare_kernel()->ops->shutdown(bare_kernel(), fd, how);
}

static inline int bare_poll(int fd, unsigned mask)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_poll_add(sqe, fd, mask);
	return bare_wait_for(bare_go(sqe), WEIR_MS).res;
}

/* --- provided buffers: group 1, count of size bytes --- */

struct bare_group {
	struct io_uring_buf_ring *ring;
	char *memory;
	unsigned size, count;
};

static inline struct bare_group bare_provide(unsigned count, unsigned size, unsigned flags)
{
	struct weir_kernel *kernel = bare_kernel();
	struct bare_group group = { .size = size, .count = count };
	struct io_uring_buf_reg reg = { .ring_entries = 64, .bgid = 1, .flags = (uint16_t)flags };

	group.ring = kernel->ops->map(kernel, 64 * sizeof(struct io_uring_buf));
	group.memory = kernel->ops->map(kernel, (size_t)count * size);
	reg.ring_addr = (uintptr_t)group.ring;
	weir_sim_check(kernel->ops->ring_register(kernel, &bare()->uring,
						  IORING_REGISTER_PBUF_RING, &reg, 1) == 0,
		       "a buffer ring");
	for (unsigned i = 0; i < count; i++)
		io_uring_buf_ring_add(group.ring, group.memory + i * size, size,
				      (unsigned short)i, 63, (int)i);
	io_uring_buf_ring_advance(group.ring, (int)count);
	return group;
}

static inline void bare_give(struct bare_group *group, unsigned id)
{
	io_uring_buf_ring_add(group->ring, group->memory + id * group->size, group->size,
			      (unsigned short)id, 63, 0);
	io_uring_buf_ring_advance(group->ring, 1);
}

static inline void bare_take_back(struct bare_group *group)
{
	struct weir_kernel *kernel = bare_kernel();
	struct io_uring_buf_reg reg = { .bgid = 1 };

	kernel->ops->ring_register(kernel, &bare()->uring, IORING_UNREGISTER_PBUF_RING, &reg, 1);
	kernel->ops->unmap(kernel, group->memory, (size_t)group->count * group->size);
	kernel->ops->unmap(kernel, group->ring, 64 * sizeof(struct io_uring_buf));
}

static inline struct io_uring_sqe *bare_recv_many(int fd)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	return sqe;
}

#endif
