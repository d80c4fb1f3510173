/* SPDX-License-Identifier: MIT */
/*
 * net_dgram.c - datagrams: each is a thing of its own, and may be lost, come twice, late or
 * cut off; nobody says so. Those of AF_UNIX only wait.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/sim/net.h"

#define SIZE_UDP 65507u
#define SIZE_UNIX (208u << 10)
#define LATE_NS_MAX WEIR_S

static struct weir_sim_dgram *dgram_of(struct weir_link *link)
{
	return weir_container_of(link, struct weir_sim_dgram, link);
}

static struct weir_sim_dgram *create(struct weir_sim_socket *sock, struct weir_sim_span *span)
{
	size_t size = weir__sim_span_left(span);
	struct weir_sim_dgram *dgram = malloc(sizeof(*dgram) + size);

	if (!dgram)
		return NULL;
	memset(dgram, 0, sizeof(*dgram));
	dgram->net = weir__sim_socket_sim(sock)->net;
	dgram->from = sock->file.host;
	dgram->size = size;
	weir__sim_gather(span->iov, span->count, span->done, dgram->data, size);
	return dgram;
}

static void queue(struct weir_sim_socket *sock, struct weir_sim_dgram *dgram)
{
	weir__queue_push(&sock->dgrams, &dgram->link);
	sock->dgrams_size += dgram->size + 1;
	weir__sim_socket_wake(sock);
}

void weir__sim_dgram_drop_all(struct weir_sim_socket *sock)
{
	struct weir_link *link;

	while ((link = weir__queue_pop(&sock->dgrams)))
		free(dgram_of(link));
	if (sock->family == AF_UNIX)
		weir__sim_unix_wake_pending(sock);
}

void weir__sim_dgrams_destroy(struct weir_sim_net *net)
{
	struct weir_node *node;

	while ((node = weir__list_pop(&net->dgrams)))
		free(weir_container_of(node, struct weir_sim_dgram, flight));
}

/* --- UDP --- */

/* Nobody is there: a sender that is connected to him will know. */
static void unreachable(const struct weir_sim_dgram *dgram)
{
	struct weir_sim_socket *sender;

	if (weir__sim_net_is_cut(dgram->to, dgram->from))
		return;
	sender = weir__sim_port_find(dgram->from, SOCK_DGRAM, &dgram->source, &dgram->target);
	if (!sender || sender->state != SOCKET_CONNECTED)
		return;
	sender->error = ECONNREFUSED;
	weir__sim_socket_wake(sender);
}

static void arrive(struct weir_sim_event *event)
{
	struct weir_sim_dgram *dgram = weir_container_of(event, struct weir_sim_dgram, arrive);
	struct weir_sim_socket *sock;

	weir__node_remove(&dgram->flight);
	if (weir__sim_nic_is_off(dgram->to)) {
		free(dgram);
		return;
	}
	sock = weir__sim_port_find(dgram->to, SOCK_DGRAM, &dgram->target, &dgram->source);
	if (!sock)
		unreachable(dgram);
	if (!sock || sock->dgrams_size + dgram->size > (size_t)sock->recv_size)
		free(dgram);
	else
		queue(sock, dgram);
}

static void launch(struct weir_sim_dgram *dgram, int64_t more_ns)
{
	struct weir_sim *sim = dgram->net->sim;
	struct weir_sim_link *link =
		&dgram->net->links[dgram->from->index][dgram->to->index];
	int64_t at_ns = sim->now_ns + weir__sim_net_latency(dgram->from, dgram->to);

	/* In order, but for the fault. */
	if (at_ns < link->dgram_ns)
		at_ns = link->dgram_ns;
	link->dgram_ns = at_ns;
	dgram->arrive.run = arrive;
	dgram->arrive.place = 0;
	weir__list_push(&dgram->net->dgrams, &dgram->flight);
	weir__sim_event_arm(sim, &dgram->arrive, at_ns + more_ns);
}

static void launch_copy(const struct weir_sim_dgram *dgram)
{
	struct weir_sim_dgram *copy = malloc(sizeof(*copy) + dgram->size);

	if (!copy)
		return;
	memcpy(copy, dgram, sizeof(*copy) + dgram->size);
	launch(copy, 0);
}

/* True: it is lost. */
static bool strike(struct weir_sim_dgram *dgram, int64_t *ret_more_ns)
{
	struct weir_sim_host *from = dgram->from;
	struct weir_sim *sim = from->sim;

	*ret_more_ns = 0;
	if (from == dgram->to || !weir__sim_fault(sim, NULL, WEIR_SIM_DATAGRAM, "datagram"))
		return false;
	switch (weir__sim_choose(sim, from, "datagram-how", 4)) {
	case 0:
		return true;
	case 1:
		launch_copy(dgram);
		break;
	case 2:
		*ret_more_ns = weir__sim_delay(sim, from, "datagram-late", LATE_NS_MAX);
		break;
	default:
		dgram->size = weir__sim_choose(sim, from, "datagram-cut", (uint32_t)dgram->size);
		break;
	}
	return false;
}

/* The local address, for a way to place, when it has none. */
static int bind_any(struct weir_sim_socket *sock)
{
	struct weir_sim_place any = { .kind = PLACE_ANY, .is_v6 = sock->family == AF_INET6 };

	any.host = (uint8_t)sock->file.host->index;
	return sock->local.kind == PLACE_NONE ? weir__sim_port_bind(sock, &any) : 0;
}

static int send_udp(struct weir_sim_socket *sock, struct weir_sim_span *span,
		    const struct weir_sim_place *target)
{
	struct weir_sim_dgram *dgram;
	struct weir_sim_host *to;
	int64_t more_ns;
	int size;

	if (weir__sim_span_left(span) > SIZE_UDP)
		return -EMSGSIZE;
	if (target->kind == PLACE_OUT)
		return -ENETUNREACH;
	to = weir__sim_place_host(sock->file.host, target);
	dgram = create(sock, span);
	if (!dgram)
		return -ENOBUFS;
	size = (int)dgram->size;
	dgram->to = to;
	dgram->target = *target;
	if (target->kind == PLACE_ANY)
		dgram->target.kind = PLACE_LOOP;
	dgram->source = sock->local;
	dgram->source.kind = dgram->target.kind;
	dgram->source.is_v6 = target->is_v6;
	dgram->source.host = (uint8_t)sock->file.host->index;
	if (!to || weir__sim_net_is_cut(dgram->from, to) || strike(dgram, &more_ns))
		free(dgram);
	else
		launch(dgram, more_ns);
	return size;
}

/* --- AF_UNIX --- */

static int send_local(struct weir_sim_socket *sock, struct weir_sim_span *span,
		      const struct sockaddr *addr, socklen_t addr_size)
{
	struct weir_sim_socket *to;
	struct weir_sim_dgram *dgram;
	int r = weir__sim_unix_find(sock, addr, addr_size, &to);

	if (r < 0)
		return r;
	if (weir__sim_span_left(span) > SIZE_UNIX)
		return -EMSGSIZE;
	if (to->shut_read)
		return -EPIPE;
	if (to->dgrams_size && to->dgrams_size + weir__sim_span_left(span) > SIZE_UNIX) {
		if (!weir__node_is_linked(&sock->backlog_node))
			weir__list_push(&to->pending, &sock->backlog_node);
		return -EAGAIN;
	}
	dgram = create(sock, span);
	if (!dgram)
		return -ENOBUFS;
	dgram->path = sock->name;
	dgram->path_size = sock->name_size;
	queue(to, dgram);
	return (int)dgram->size;
}

/* --- for operations --- */

ssize_t weir__sim_dgram_send(struct weir_sim_socket *sock, struct weir_sim_span *span,
			     const struct sockaddr *addr, socklen_t size)
{
	struct weir_sim_place target = sock->remote;
	int r = weir__sim_socket_error(sock);

	if (r < 0)
		return r;
	if (sock->shut_write)
		return -EPIPE;
	if (!addr && sock->state != SOCKET_CONNECTED)
		return sock->family == AF_UNIX ? -ENOTCONN : -EDESTADDRREQ;
	if (sock->family == AF_UNIX)
		return addr ? send_local(sock, span, addr, size) :
			      send_local(sock, span, (const void *)&sock->peer_name,
					 sock->peer_name_size);
	if (addr)
		r = weir__sim_place_parse(sock->file.host, sock->family, addr, size, &target);
	if (!r && !target.port)
		r = -EINVAL;
	if (!r)
		r = bind_any(sock);
	return r < 0 ? r : send_udp(sock, span, &target);
}

static void tell_source(const struct weir_sim_socket *sock, const struct weir_sim_dgram *dgram,
			struct msghdr *msg)
{
	socklen_t size = msg->msg_namelen;

	if (!msg->msg_name)
		return;
	if (sock->family != AF_UNIX) {
		weir__sim_place_format(&dgram->source, sock->family, msg->msg_name, &size);
	} else {
		size = size < dgram->path_size ? size : dgram->path_size;
		memcpy(msg->msg_name, &dgram->path, size);
		size = dgram->path_size;
	}
	msg->msg_namelen = size;
}

ssize_t weir__sim_dgram_recv(struct weir_sim_socket *sock, struct weir_sim_span *span, int flags,
			     struct msghdr *msg)
{
	int r = weir__sim_socket_error(sock);
	size_t size = weir__sim_span_left(span);
	struct weir_sim_dgram *dgram;
	size_t whole;

	if (r < 0)
		return r;
	if (weir__queue_is_empty(&sock->dgrams))
		return sock->shut_read ? 0 : -EAGAIN;
	dgram = dgram_of(sock->dgrams.head);
	whole = dgram->size;
	if (size > whole)
		size = whole;
	weir__sim_scatter(span->iov, span->count, span->done, dgram->data, size);
	span->done += size;
	if (msg) {
		tell_source(sock, dgram, msg);
		if (size < whole && !weir__rule_is_broken(WEIR_RULE_DATAGRAM_CUT))
			msg->msg_flags = MSG_TRUNC;
		else
			msg->msg_flags = 0;
	}
	if (!(flags & MSG_PEEK) && !weir__rule_is_broken(WEIR_RULE_DATAGRAM)) {
		weir__queue_pop(&sock->dgrams);
		sock->dgrams_size -= whole + 1;
		free(dgram);
		weir__sim_unix_wake_pending(sock);
	}
	return (ssize_t)(flags & MSG_TRUNC ? whole : size);
}

static int disconnect(struct weir_sim_socket *sock)
{
	sock->state = SOCKET_NEW;
	memset(&sock->remote, 0, sizeof(sock->remote));
	sock->peer_name_size = 0;
	return 0;
}

int weir__sim_dgram_connect(struct weir_sim_socket *sock, const struct sockaddr *addr,
			    socklen_t size)
{
	struct weir_sim_socket *peer;
	struct weir_sim_place remote;
	int r;

	if (size >= sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC)
		return disconnect(sock);
	if (sock->family == AF_UNIX) {
		r = weir__sim_unix_find(sock, addr, size, &peer);
		if (r < 0)
			return r;
		sock->peer_name = peer->name;
		sock->peer_name_size = peer->name_size;
	} else {
		r = weir__sim_place_parse(sock->file.host, sock->family, addr, size, &remote);
		if (!r && remote.kind == PLACE_OUT)
			r = -ENETUNREACH;
		if (!r)
			r = bind_any(sock);
		if (r < 0)
			return r;
		if (remote.kind == PLACE_ANY)
			remote.kind = PLACE_LOOP;
		sock->remote = remote;
	}
	sock->state = SOCKET_CONNECTED;
	return 0;
}
