/* SPDX-License-Identifier: MIT */
/*
 * net_socket.c - the life of a socket: made, bound, listening or connected, ready, closed.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "ring/sim/net.h"

#define SEND_SIZE (256 << 10)
#define BACKLOG_MAX 4096	/* net.core.somaxconn */

/* --- made --- */

struct weir_sim_socket *weir__sim_socket_create(struct weir_sim_host *host, int family, int type)
{
	struct weir_sim_net *net = host->sim->net;
	struct weir_sim_socket *sock = net->spare_sockets;

	if (sock)
		net->spare_sockets = sock->spare;
	else
		sock = malloc(sizeof(*sock));
	if (!sock)
		return NULL;
	memset(sock, 0, sizeof(*sock));
	weir__sim_file_init(&sock->file, &weir__sim_socket_ops, host);
	sock->family = family;
	sock->type = type;
	sock->send_size = SEND_SIZE;
	sock->recv_size = WEIR_SIM_BUFFER;
	weir__list_init(&sock->backlog);
	weir__list_init(&sock->pending);
	weir__queue_init(&sock->dgrams);
	weir__list_push(&host->nic->sockets, &sock->nic_node);
	return sock;
}

static int check_kind(int family, int type, int protocol)
{
	if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
		return -EAFNOSUPPORT;
	if (type != SOCK_STREAM && type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (!protocol)
		return 0;
	if (family == AF_UNIX)
		return protocol == AF_UNIX ? 0 : -EPROTONOSUPPORT;
	return protocol == (type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP) ? 0 :
									       -EPROTONOSUPPORT;
}

int weir__sim_socket(struct weir_sim_host *host, int domain, int type, int protocol,
		     struct weir_sim_file **ret_file)
{
	int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct weir_sim_socket *sock;
	int r = check_kind(domain, type & ~flags, protocol);

	if (r < 0)
		return r;
	if (weir__sim_fault(host->sim, host, WEIR_SIM_FDS, "socket-fails")) {
		static const int errors[] = { -EMFILE, -ENFILE, -ENOBUFS };

		return errors[weir__sim_choose(host->sim, host, "socket-how", 3)];
	}
	sock = weir__sim_socket_create(host, domain, type & ~flags);
	if (!sock)
		return -ENOMEM;
	sock->file.flags = flags & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	*ret_file = &sock->file;
	return 0;
}

int weir__sim_socket_bind(struct weir_sim_socket *sock, const struct sockaddr *addr,
			  socklen_t size)
{
	struct weir_sim_place place;
	int r;

	if (sock->family == AF_UNIX)
		return weir__sim_unix_bind(sock, addr, size);
	r = weir__sim_place_parse(sock->file.host, sock->family, addr, size, &place);
	if (r < 0)
		return r;
	if (sock->local.kind != PLACE_NONE || sock->state != SOCKET_NEW)
		return -EINVAL;
	return weir__sim_port_bind(sock, &place);
}

/* --- listening --- */

bool weir__sim_backlog_is_full(const struct weir_sim_socket *listener)
{
	return listener->backlog_count + listener->backlog_kept > listener->backlog_max;
}

void weir__sim_backlog_add(struct weir_sim_socket *listener, struct weir_sim_socket *child)
{
	weir__list_push(&listener->backlog, &child->backlog_node);
	listener->backlog_count++;
	child->listener = listener;
	weir__sim_socket_wake(listener);
}

struct weir_sim_socket *weir__sim_backlog_pop(struct weir_sim_socket *listener)
{
	struct weir_node *node = weir__list_pop(&listener->backlog);
	struct weir_sim_socket *child;

	if (!node)
		return NULL;
	child = weir_container_of(node, struct weir_sim_socket, backlog_node);
	child->listener = NULL;
	listener->backlog_count--;
	weir__sim_unix_wake_pending(listener);
	return child;
}

int weir__sim_socket_listen(struct weir_sim_socket *sock, int backlog)
{
	const struct weir_sim_place any = { .kind = PLACE_ANY,
					    .is_v6 = sock->family == AF_INET6,
					    .host = (uint8_t)sock->file.host->index };
	int r = 0;

	if (!weir__sim_is_stream(sock))
		return -EOPNOTSUPP;
	if (sock->state != SOCKET_NEW && sock->state != SOCKET_LISTENS)
		return -EINVAL;
	if (sock->family == AF_UNIX && !sock->name_size)
		return -EINVAL;
	if (sock->family != AF_UNIX && sock->local.kind == PLACE_NONE)
		r = weir__sim_port_bind(sock, &any);
	else if (sock->family != AF_UNIX && sock->state == SOCKET_NEW &&
		 !weir__sim_port_may_listen(sock))
		r = -EADDRINUSE;
	if (r < 0)
		return r;
	sock->backlog_max = backlog < 0 || backlog > BACKLOG_MAX ? BACKLOG_MAX : (unsigned)backlog;
	sock->state = SOCKET_LISTENS;
	return 0;
}

/* Those who nobody will accept. */
static void stop_listening(struct weir_sim_socket *sock)
{
	struct weir_node *streams = &weir__sim_socket_sim(sock)->net->streams;
	struct weir_sim_socket *child;
	struct weir_node *next;

	sock->state = SOCKET_NEW;
	while ((child = weir__sim_backlog_pop(sock))) {
		child->linger = true;
		child->linger_s = 0;
		weir__sim_file_put(&child->file);
	}
	weir__sim_unix_wake_pending(sock);
	for (struct weir_node *node = streams->next; sock->backlog_kept && node != streams;
	     node = next) {
		struct weir_sim_stream *stream =
			weir_container_of(node, struct weir_sim_stream, node);

		next = node->next;
		if (stream->listener == sock)
			weir__sim_hand_forget(stream);
	}
}

/* --- connecting --- */

int weir__sim_socket_connect(struct weir_sim_socket *sock, const struct sockaddr *addr,
			     socklen_t size)
{
	struct weir_sim_place place;
	int r;

	if (!weir__sim_is_stream(sock))
		return weir__sim_dgram_connect(sock, addr, size);
	switch (sock->state) {
	case SOCKET_CONNECTING:
		return -EALREADY;
	case SOCKET_CONNECTED:
		return -EISCONN;
	case SOCKET_LISTENS:
		return sock->family == AF_UNIX ? -EINVAL : -EISCONN;
	case SOCKET_OVER:
		if (sock->stream)
			return -EISCONN;
		break;
	default:
		break;
	}
	if (sock->family == AF_UNIX)
		return weir__sim_unix_connect(sock, addr, size);
	r = weir__sim_place_parse(sock->file.host, sock->family, addr, size, &place);
	if (!r)
		r = weir__sim_hand_begin(sock, &place);
	return r < 0 ? r : -EINPROGRESS;
}

/* --- ready --- */

static unsigned poll_stream(const struct weir_sim_socket *sock)
{
	const struct weir_sim_stream *stream = sock->stream;
	bool is_end = sock->shut_read || stream->way[!sock->side].fin_arrived;
	size_t room = weir__sim_stream_room(sock);
	unsigned mask = 0;

	if (is_end || weir__sim_stream_unread(sock))
		mask |= POLLIN | POLLRDNORM;
	if (is_end)
		mask |= POLLRDHUP;
	if (is_end && sock->shut_write)
		mask |= POLLHUP;
	if (sock->shut_write || room >= (size_t)sock->send_size / 3)
		mask |= POLLOUT | POLLWRNORM;
	return mask;
}

static unsigned poll_dgram(const struct weir_sim_socket *sock)
{
	unsigned mask = POLLOUT | POLLWRNORM;

	if (sock->shut_read || !weir__queue_is_empty(&sock->dgrams))
		mask |= POLLIN | POLLRDNORM;
	return mask;
}

unsigned weir__sim_socket_poll(struct weir_sim_file *file)
{
	const struct weir_sim_socket *sock = weir__sim_socket_of(file);
	unsigned error = sock->error ? POLLERR : 0;

	if (!weir__sim_is_stream(sock))
		return poll_dgram(sock) | error;
	switch (sock->state) {
	case SOCKET_LISTENS:
		return weir__list_is_empty(&sock->backlog) ? 0 : POLLIN | POLLRDNORM;
	case SOCKET_CONNECTING:
		return error;
	case SOCKET_CONNECTED:
		return poll_stream(sock) | error;
	case SOCKET_OVER:
		return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLRDHUP | POLLHUP | error;
	default:
		return POLLOUT | POLLWRNORM | POLLHUP | error;
	}
}

void weir__sim_socket_wake(struct weir_sim_socket *sock)
{
	if (!weir__list_is_empty(&sock->file.waiters))
		weir__sim_file_wake(&sock->file, weir__sim_socket_poll(&sock->file));
	if (weir_unlikely(sock->sleeper))
		weir__sim_fiber_wake(weir__sim_socket_sim(sock), sock->sleeper);
}

int weir__sim_socket_wait(struct weir_sim_socket *sock, struct weir_sim_req *req, unsigned mask)
{
	if (!weir__sim_is_stream(sock) || !(weir__sim_socket_poll(&sock->file) & mask))
		return weir__sim_wait(req, mask);
	weir__soft_ready(&req->soft);
	return WEIR_SOFT_LATER;
}

int weir__sim_socket_error(struct weir_sim_socket *sock)
{
	int error = sock->error;

	sock->error = 0;
	return -error;
}

/* --- the end --- */

/* A Unix socket's other end sees at once what is shut here. */
static void shut_local(struct weir_sim_socket *sock, int how)
{
	struct weir_sim_socket *peer = sock->stream->end[!sock->side];

	if (!peer || how == SHUT_WR)
		return;
	peer->shut_write = true;
	weir__sim_socket_wake(peer);
}

int weir__sim_socket_shutdown(struct weir_sim_socket *sock, int how)
{
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (sock->state == SOCKET_LISTENS) {
		if (how == SHUT_WR)
			return 0;
		stop_listening(sock);
		weir__sim_socket_wake(sock);
		return 0;
	}
	if (sock->state != SOCKET_CONNECTED && sock->family != AF_UNIX)
		return -ENOTCONN;
	sock->shut_read |= how != SHUT_WR || weir__rule_is_broken(WEIR_RULE_HALF_CLOSE);
	if (how != SHUT_RD && !sock->shut_write) {
		sock->shut_write = true;
		if (sock->stream)
			weir__sim_stream_finish(sock);
	}
	if (sock->stream && sock->stream->is_local)
		shut_local(sock, how);
	weir__sim_socket_wake(sock);
	return 0;
}

static void leave(struct weir_sim_socket *sock)
{
	bool reset = (weir__sim_stream_unread(sock) &&
		      !weir__rule_is_broken(WEIR_RULE_RESET_UNREAD)) ||
		     (sock->linger && !sock->linger_s);

	weir__sim_stream_leave(sock, reset, weir__sim_nic_is_off(sock->file.host));
}

static void close_socket(struct weir_sim_file *file, bool dead)
{
	struct weir_sim_socket *sock = weir__sim_socket_of(file);
	struct weir_sim_net *net = weir__sim_socket_sim(sock)->net;

	(void)dead;
	if (weir__node_is_linked(&sock->backlog_node))
		weir__node_remove(&sock->backlog_node);
	if (sock->state == SOCKET_LISTENS)
		stop_listening(sock);
	if (sock->stream)
		leave(sock);
	weir__sim_dgram_drop_all(sock);
	weir__sim_port_free(sock);
	weir__node_remove(&sock->nic_node);
	sock->spare = net->spare_sockets;
	net->spare_sockets = sock;
}

static int issue(struct weir_sim_req *req)
{
	return weir__sim_socket_issue(weir__sim_socket_of(weir__sim_req_file(req)), req);
}

const struct weir_sim_file_ops weir__sim_socket_ops = {
	.kind = "socket",
	.issue = issue,
	.poll = weir__sim_socket_poll,
	.close = close_socket,
};
