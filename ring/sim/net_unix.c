/* SPDX-License-Identifier: MIT */
/*
 * net_unix.c - AF_UNIX: names in the file system or out of it, and connections without
 * packets. They stay within a host.
 */
#include <stddef.h>
#include <string.h>

#include "ring/sim/net.h"

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

/* A path is cut at its NUL; an abstract name is what the size says. */
static int copy_name(const struct sockaddr *addr, socklen_t size, struct sockaddr_un *ret_name,
		     socklen_t *ret_size)
{
	if (size <= PATH_OFFSET || size > sizeof(*ret_name) || addr->sa_family != AF_UNIX)
		return -EINVAL;
	memset(ret_name, 0, sizeof(*ret_name));
	memcpy(ret_name, addr, size);
	if (ret_name->sun_path[0])
		size = (socklen_t)(PATH_OFFSET +
				   strnlen(ret_name->sun_path, sizeof(ret_name->sun_path)) + 1);
	*ret_size = size;
	return 0;
}

static struct weir_sim_socket *named(const struct weir_sim_host *host,
				     const struct sockaddr_un *name, socklen_t size)
{
	struct weir_node *head = &host->nic->names;

	for (struct weir_node *node = head->prev; node != head; node = node->prev) {
		struct weir_sim_socket *sock =
			weir_container_of(node, struct weir_sim_socket, port_node);

		if (sock->name_size == size && !memcmp(&sock->name, name, sizeof(*name)))
			return sock;
	}
	return NULL;
}

int weir__sim_unix_bind(struct weir_sim_socket *sock, const struct sockaddr *addr, socklen_t size)
{
	struct weir_sim_host *host = sock->file.host;
	struct sockaddr_un name;
	socklen_t name_size;
	int r = copy_name(addr, size, &name, &name_size);

	if (r < 0)
		return r;
	if (sock->name_size)
		return -EINVAL;
	if (name.sun_path[0]) {
		char path[sizeof(name.sun_path) + 1] = { 0 };

		memcpy(path, name.sun_path, sizeof(name.sun_path));
		r = weir__sim_disk_bind(host, path, &sock->file);
	} else if (named(host, &name, name_size)) {
		r = -EADDRINUSE;
	}
	if (r < 0)
		return r;
	sock->name = name;
	sock->name_size = name_size;
	weir__list_push(&host->nic->names, &sock->port_node);
	return 0;
}

/* The path may have been given to another, or to nobody, since. */
static int find_path(struct weir_sim_host *host, const struct sockaddr_un *name,
		     struct weir_sim_socket **ret_found)
{
	struct weir_kernel *kernel = &host->seam->kernel;
	char path[sizeof(name->sun_path) + 1] = { 0 };
	struct weir_sim_file *file;
	int r;

	memcpy(path, name->sun_path, sizeof(name->sun_path));
	r = kernel->ops->is_socket(kernel, path);
	if (r < 0)
		return r;
	file = weir__sim_disk_lookup(host, path);
	if (!*ret_found || &(*ret_found)->file != file)
		return -ECONNREFUSED;
	return 0;
}

int weir__sim_unix_find(struct weir_sim_socket *sock, const struct sockaddr *addr, socklen_t size,
			struct weir_sim_socket **ret_found)
{
	struct weir_sim_host *host = sock->file.host;
	struct weir_sim_socket *found;
	struct sockaddr_un name;
	socklen_t name_size;
	int r = copy_name(addr, size, &name, &name_size);

	if (r < 0)
		return r;
	found = named(host, &name, name_size);
	if (name.sun_path[0])
		r = find_path(host, &name, &found);
	else if (!found)
		r = -ECONNREFUSED;
	if (r < 0)
		return r;
	if (found->type != sock->type)
		return -EPROTOTYPE;
	*ret_found = found;
	return 0;
}

static void pair(struct weir_sim_socket *sock, struct weir_sim_socket *listener,
		 struct weir_sim_stream *stream, struct weir_sim_socket *child)
{
	stream->is_local = true;
	sock->state = SOCKET_CONNECTED;
	sock->peer_name = child->name = listener->name;
	sock->peer_name_size = child->name_size = listener->name_size;
	child->peer_name = sock->name;
	child->peer_name_size = sock->name_size;
	child->send_size = listener->send_size;
	weir__sim_stream_attach(stream, 1, child);
	weir__sim_backlog_add(listener, child);
}

int weir__sim_unix_connect(struct weir_sim_socket *sock, const struct sockaddr *addr,
			   socklen_t size)
{
	struct weir_sim_socket *listener, *child;
	struct weir_sim_stream *stream;
	int r = weir__sim_unix_find(sock, addr, size, &listener);

	if (r < 0)
		return r;
	if (listener->state != SOCKET_LISTENS)
		return -ECONNREFUSED;
	if (weir__sim_backlog_is_full(listener)) {
		if (!weir__node_is_linked(&sock->backlog_node))
			weir__list_push(&listener->pending, &sock->backlog_node);
		return -EAGAIN;
	}
	if (weir__node_is_linked(&sock->backlog_node))
		weir__node_remove(&sock->backlog_node);
	child = weir__sim_socket_create(sock->file.host, AF_UNIX, SOCK_STREAM);
	if (!child)
		return -ENOMEM;
	stream = weir__sim_stream_create(sock, sock->file.host);
	if (!stream) {
		weir__sim_file_put(&child->file);
		return -ENOMEM;
	}
	pair(sock, listener, stream, child);
	return 0;
}

void weir__sim_unix_wake_pending(struct weir_sim_socket *listener)
{
	struct weir_node *node;

	while ((node = weir__list_pop(&listener->pending))) {
		struct weir_sim_socket *sock =
			weir_container_of(node, struct weir_sim_socket, backlog_node);

		weir__sim_file_wake(&sock->file, POLLOUT);
		if (sock->sleeper)
			weir__sim_fiber_wake(weir__sim_socket_sim(sock), sock->sleeper);
	}
}
