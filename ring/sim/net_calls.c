/* SPDX-License-Identifier: MIT */
/*
 * net_calls.c - the socket calls of the seam, by descriptor.
 */
#include <fcntl.h>
#include <string.h>

#include "ring/sim/net.h"

/* The socket of fd; NULL: *ret_r says why not. */
static struct weir_sim_socket *find(struct weir_kernel *kernel, int fd, int *ret_r)
{
	struct weir_sim_file *file = weir__sim_fd_get(weir__sim_host_of(kernel), fd);

	*ret_r = file ? -ENOTSOCK : -EBADF;
	return file && file->ops == &weir__sim_socket_ops ? weir__sim_socket_of(file) : NULL;
}

static int call_socket(struct weir_kernel *kernel, int domain, int type, int protocol)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);
	struct weir_sim_file *file;
	int r = weir__sim_socket(host, domain, type, protocol, &file);

	if (r < 0)
		return r;
	r = weir__sim_fd_add(host, file);
	if (r < 0)
		weir__sim_file_put(file);
	return r;
}

static int call_bind(struct weir_kernel *kernel, int fd, const struct sockaddr *addr,
		     socklen_t size)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);

	return sock ? weir__sim_socket_bind(sock, addr, size) : r;
}

static int call_listen(struct weir_kernel *kernel, int fd, int backlog)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);

	return sock ? weir__sim_socket_listen(sock, backlog) : r;
}

/* One that blocks: the fiber sleeps until it is known. */
static int wait_connected(struct weir_sim_socket *sock)
{
	struct weir_sim *sim = weir__sim_socket_sim(sock);
	int r;

	weir__sim_file_ref(&sock->file);
	while (sock->state == SOCKET_CONNECTING) {
		sock->sleeper = sim->current;
		weir__sim_sleep(sim, WEIR_NEVER);
		sock->sleeper = NULL;
	}
	r = weir__sim_socket_error(sock);
	weir__sim_file_put(&sock->file);
	return r;
}

static int call_connect(struct weir_kernel *kernel, int fd, const struct sockaddr *addr,
			socklen_t size)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);
	struct weir_sim *sim = weir__sim_host_of(kernel)->sim;

	if (!sock)
		return r;
	r = weir__sim_socket_connect(sock, addr, size);
	if (sock->file.flags & O_NONBLOCK || !sim->current)
		return r;
	while (r == -EAGAIN) {
		sock->sleeper = sim->current;
		weir__sim_sleep(sim, WEIR_NEVER);
		sock->sleeper = NULL;
		r = weir__sim_socket_connect(sock, addr, size);
	}
	return r == -EINPROGRESS ? wait_connected(sock) : r;
}

static int call_setsockopt(struct weir_kernel *kernel, int fd, int level, int name,
			   const void *value, socklen_t size)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);

	return sock ? weir__sim_socket_set(sock, level, name, value, size) : r;
}

static int call_getsockopt(struct weir_kernel *kernel, int fd, int level, int name, void *value,
			   socklen_t *size)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);

	return sock ? weir__sim_socket_get(sock, level, name, value, size) : r;
}

/* --- names --- */

/* A socket without a name is called by its family alone. */
static void format_unix(const struct sockaddr_un *name, socklen_t whole, struct sockaddr *addr,
			socklen_t *size)
{
	static const struct sockaddr_un nobody = { .sun_family = AF_UNIX };

	if (!whole) {
		name = &nobody;
		whole = sizeof(nobody.sun_family);
	}
	memcpy(addr, name, *size < whole ? *size : whole);
	*size = whole;
}

void weir__sim_socket_peer(const struct weir_sim_socket *sock, struct sockaddr *addr,
			   socklen_t *size)
{
	if (sock->family == AF_UNIX)
		format_unix(&sock->peer_name, sock->peer_name_size, addr, size);
	else
		weir__sim_place_format(&sock->remote, sock->family, addr, size);
}

static int call_getsockname(struct weir_kernel *kernel, int fd, struct sockaddr *addr,
			    socklen_t *size)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);

	if (!sock)
		return r;
	if (sock->family == AF_UNIX)
		format_unix(&sock->name, sock->name_size, addr, size);
	else
		weir__sim_place_format(&sock->local, sock->family, addr, size);
	return 0;
}

static int call_getpeername(struct weir_kernel *kernel, int fd, struct sockaddr *addr,
			    socklen_t *size)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);

	if (!sock)
		return r;
	if (sock->state != SOCKET_CONNECTED)
		return -ENOTCONN;
	weir__sim_socket_peer(sock, addr, size);
	return 0;
}

static int call_shutdown(struct weir_kernel *kernel, int fd, int how)
{
	int r;
	struct weir_sim_socket *sock = find(kernel, fd, &r);

	return sock ? weir__sim_socket_shutdown(sock, how) : r;
}

void weir__sim_net_ops(struct weir_kernel_ops *ops)
{
	ops->socket = call_socket;
	ops->bind = call_bind;
	ops->listen = call_listen;
	ops->connect = call_connect;
	ops->setsockopt = call_setsockopt;
	ops->getsockopt = call_getsockopt;
	ops->getsockname = call_getsockname;
	ops->getpeername = call_getpeername;
	ops->shutdown = call_shutdown;
}
