/* SPDX-License-Identifier: MIT */
/*
 * connect.c - connections that we open.
 */
#include <netinet/tcp.h>

#include "core/worker.h"
#include "net/listener.h"

static int connect_socket(struct weir_ring *ring, int fd, const struct weir_addr *addr)
{
	static const int on = 1;
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r = 0;

	if (addr->sock.any.sa_family != AF_UNIX)
		r = ring->kernel->ops->setsockopt(ring->kernel, fd, IPPROTO_TCP, TCP_NODELAY, &on,
						  sizeof(on));
	if (!r)
		r = weir__op_begin(&w, "connect", WEIR_NEVER, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_connect(sqe, fd, &addr->sock.any, addr->size);
	return weir__op_end(&w, sqe, WEIR_NEVER);
}

/*
 * Moves fd to the ring's own table, where each operation costs less, and closes it. Returns the
 * slot, or -errno: fd is still what it was.
 */
static int make_direct(struct weir_ring *ring, int fd)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int slot = fd;
	int r = ring->has_direct ? weir__op_begin(&w, "connect", WEIR_NEVER, &sqe) : -ENOSYS;

	if (r < 0)
		return r;
	io_uring_prep_files_update(sqe, &slot, 1, (int)IORING_FILE_INDEX_ALLOC);
	r = weir__op_end(&w, sqe, WEIR_NEVER);
	if (r < 0)
		return r;
	ring->kernel->ops->close(ring->kernel, fd);
	return slot;
}

int weir_connect(const char *address, const struct weir_conn_opts *opts,
		 struct weir_conn **ret_conn)
{
	struct weir_kernel *kernel;
	struct weir_addr addr;
	struct weir_net *net;
	int fd, slot, r;

	weir_precond(weir__self && weir__self->ring, -EDEADLK);
	r = weir_addr_parse(address, &addr, NULL);
	if (!r)
		r = weir__net_self(&net);
	if (r < 0)
		return r;
	if (net->conns.in_use >= weir__net_conns_max(net))
		return -ENOBUFS;
	kernel = net->ring->kernel;
	fd = kernel->ops->socket(kernel, addr.sock.any.sa_family, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	r = connect_socket(net->ring, fd, &addr);
	if (r < 0) {
		kernel->ops->close(kernel, fd);
		return r;
	}
	slot = make_direct(net->ring, fd);
	r = weir__conn_create(net, slot < 0 ? fd : slot, slot >= 0, opts, ret_conn);
	if (r < 0)
		weir__fd_drop(net->ring, slot < 0 ? fd : slot, slot >= 0);
	return r;
}
