/* SPDX-License-Identifier: MIT */
/*
 * net_addr.c - addresses and ports. Hosts are 10.0.0.N and fd00::N, N from 1; each has a
 * loopback of its own. What may be bound at the same time is what Linux allows.
 */
#include <string.h>

#include "ring/sim/net.h"

#define FIRST_PORT 32768u
#define PORTS 28232u

/* --- text of the kernel: sockaddrs --- */

static uint8_t kind_of_number(const struct weir_sim *sim, unsigned number, uint8_t *ret_host)
{
	if (!number || number > sim->hosts_count)
		return PLACE_FAR;
	*ret_host = (uint8_t)(number - 1);
	return PLACE_HOST;
}

static void parse_v4(const struct weir_sim_host *host, uint32_t ip, struct weir_sim_place *place)
{
	place->host = (uint8_t)host->index;
	if (!ip)
		place->kind = PLACE_ANY;
	else if (ip >> 24 == 127)
		place->kind = PLACE_LOOP;
	else if (ip >> 8 == 0x0a0000)
		place->kind = kind_of_number(host->sim, ip & 255, &place->host);
	else
		place->kind = PLACE_OUT;
}

static void parse_v6(const struct weir_sim_host *host, const struct in6_addr *ip,
		     struct weir_sim_place *place)
{
	static const uint8_t net[15] = { 0xfd };
	uint32_t v4;

	place->host = (uint8_t)host->index;
	place->is_v6 = true;
	if (IN6_IS_ADDR_V4MAPPED(ip)) {
		memcpy(&v4, ip->s6_addr + 12, 4);
		place->is_v6 = false;
		parse_v4(host, ntohl(v4), place);
	} else if (IN6_IS_ADDR_UNSPECIFIED(ip)) {
		place->kind = PLACE_ANY;
	} else if (IN6_IS_ADDR_LOOPBACK(ip)) {
		place->kind = PLACE_LOOP;
	} else if (!memcmp(ip->s6_addr, net, sizeof(net))) {
		place->kind = kind_of_number(host->sim, ip->s6_addr[15], &place->host);
	} else {
		place->kind = PLACE_OUT;
	}
}

int weir__sim_place_parse(const struct weir_sim_host *host, int family,
			  const struct sockaddr *sock, socklen_t size,
			  struct weir_sim_place *ret_place)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	memset(ret_place, 0, sizeof(*ret_place));
	if (size < (family == AF_INET ? sizeof(v4) : 24))
		return -EINVAL;
	if (sock->sa_family != family)
		return -EAFNOSUPPORT;
	if (family == AF_INET) {
		memcpy(&v4, sock, sizeof(v4));
		parse_v4(host, ntohl(v4.sin_addr.s_addr), ret_place);
		ret_place->port = ntohs(v4.sin_port);
		return 0;
	}
	memset(&v6, 0, sizeof(v6));
	memcpy(&v6, sock, size < sizeof(v6) ? size : sizeof(v6));
	parse_v6(host, &v6.sin6_addr, ret_place);
	ret_place->port = ntohs(v6.sin6_port);
	return 0;
}

static uint32_t v4_of(const struct weir_sim_place *place)
{
	switch (place->kind) {
	case PLACE_LOOP:
		return INADDR_LOOPBACK;
	case PLACE_HOST:
		return 0x0a000001u + place->host;
	default:
		return 0;
	}
}

static void format_v6(const struct weir_sim_place *place, struct in6_addr *ip)
{
	uint32_t v4 = htonl(v4_of(place));

	if (place->kind == PLACE_NONE || place->kind == PLACE_ANY)
		return;
	if (!place->is_v6) {
		memset(ip->s6_addr + 10, 0xff, 2);
		memcpy(ip->s6_addr + 12, &v4, 4);
	} else if (place->kind == PLACE_LOOP) {
		ip->s6_addr[15] = 1;
	} else {
		ip->s6_addr[0] = 0xfd;
		ip->s6_addr[15] = (uint8_t)(place->host + 1);
	}
}

void weir__sim_place_format(const struct weir_sim_place *place, int family,
			    struct sockaddr *ret_sock, socklen_t *size)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	socklen_t whole = family == AF_INET ? sizeof(v4) : sizeof(v6);
	const void *from = &v6;

	if (family == AF_INET) {
		v4.sin_port = htons(place->port);
		v4.sin_addr.s_addr = htonl(v4_of(place));
		from = &v4;
	} else {
		v6.sin6_port = htons(place->port);
		format_v6(place, &v6.sin6_addr);
	}
	memcpy(ret_sock, from, *size < whole ? *size : whole);
	*size = whole;
}

struct weir_sim_host *weir__sim_place_host(struct weir_sim_host *host,
					   const struct weir_sim_place *place)
{
	switch (place->kind) {
	case PLACE_ANY:
	case PLACE_LOOP:
		return host;
	case PLACE_HOST:
		return host->sim->hosts[place->host];
	default:
		return NULL;
	}
}

/* --- ports --- */

static struct weir_node *bucket_of(const struct weir_sim_host *host, int type, uint16_t port)
{
	return &host->nic->ports[type != SOCK_STREAM][port % WEIR_SIM_PORT_BUCKETS];
}

static bool takes_v4(const struct weir_sim_socket *sock, const struct weir_sim_place *place)
{
	return !place->is_v6 || (place->kind == PLACE_ANY && !sock->v6only);
}

/* Whether a packet could be for both. */
static bool overlap(const struct weir_sim_socket *a, const struct weir_sim_place *place,
		    const struct weir_sim_socket *b)
{
	if (place->kind == PLACE_ANY || b->local.kind == PLACE_ANY)
		return (place->is_v6 && b->local.is_v6) ||
		       (takes_v4(a, place) && takes_v4(b, &b->local));
	return place->kind == b->local.kind && place->is_v6 == b->local.is_v6;
}

static bool may_share(const struct weir_sim_socket *a, const struct weir_sim_socket *b,
		      bool will_listen)
{
	if (a->reuse_port && b->reuse_port)
		return true;
	return a->reuse_addr && b->reuse_addr && !will_listen && b->state != SOCKET_LISTENS;
}

static bool conflicts(const struct weir_sim_socket *sock, const struct weir_sim_place *place,
		      bool will_listen)
{
	struct weir_node *head = bucket_of(sock->file.host, sock->type, place->port);

	for (struct weir_node *node = head->next; node != head; node = node->next) {
		struct weir_sim_socket *other =
			weir_container_of(node, struct weir_sim_socket, port_node);

		if (other == sock || other->local.port != place->port)
			continue;
		if (will_listen && other->state != SOCKET_LISTENS)
			continue;
		if (overlap(sock, place, other) && !may_share(sock, other, will_listen))
			return true;
	}
	return false;
}

static bool is_used(const struct weir_sim_host *host, int type, uint16_t port)
{
	struct weir_node *head = bucket_of(host, type, port);

	for (struct weir_node *node = head->next; node != head; node = node->next)
		if (weir_container_of(node, struct weir_sim_socket, port_node)->local.port == port)
			return true;
	return false;
}

static uint16_t free_port(const struct weir_sim_host *host, int type)
{
	for (unsigned i = 0; i < PORTS; i++) {
		uint16_t port = host->nic->next_port;

		host->nic->next_port = (uint16_t)(port + 1 == FIRST_PORT + PORTS ? FIRST_PORT :
										   port + 1u);
		if (!is_used(host, type, port))
			return port;
	}
	return 0;
}

int weir__sim_port_bind(struct weir_sim_socket *sock, const struct weir_sim_place *place)
{
	struct weir_sim_host *host = sock->file.host;
	struct weir_sim_place wanted = *place;

	if (place->kind == PLACE_FAR || place->kind == PLACE_OUT ||
	    (place->kind == PLACE_HOST && place->host != host->index))
		return -EADDRNOTAVAIL;
	if (!wanted.port)
		wanted.port = free_port(host, sock->type);
	else if (conflicts(sock, &wanted, false))
		return -EADDRINUSE;
	if (!wanted.port)
		return -EADDRINUSE;
	sock->local = wanted;
	weir__list_push(bucket_of(host, sock->type, wanted.port), &sock->port_node);
	return 0;
}

void weir__sim_port_free(struct weir_sim_socket *sock)
{
	if (weir__node_is_linked(&sock->port_node))
		weir__node_remove(&sock->port_node);
}

bool weir__sim_port_may_listen(const struct weir_sim_socket *sock)
{
	return !conflicts(sock, &sock->local, true);
}

/* --- who gets it --- */

/* How well sock fits a packet to place from peer; 0: not at all. */
static unsigned fit(const struct weir_sim_socket *sock, const struct weir_sim_place *place,
		    const struct weir_sim_place *peer)
{
	const struct weir_sim_place *local = &sock->local;
	unsigned fits = 1;

	if (local->port != place->port)
		return 0;
	if (sock->type == SOCK_STREAM && sock->state != SOCKET_LISTENS)
		return 0;
	if (local->kind == PLACE_ANY ? !place->is_v6 && !takes_v4(sock, local) :
				       local->kind != place->kind)
		return 0;
	if (place->is_v6 && !local->is_v6)
		return 0;
	if (local->kind != PLACE_ANY) {
		if (local->is_v6 != place->is_v6)
			return 0;
		fits += 2;
	}
	if (sock->type != SOCK_STREAM && sock->state == SOCKET_CONNECTED) {
		if (!weir__sim_place_equal(&sock->remote, peer))
			return 0;
		fits += 4;
	}
	return fits + (local->is_v6 == place->is_v6);
}

static unsigned hash_of(const struct weir_sim_place *peer)
{
	uint32_t hash = (peer->port * 33u + peer->host) * 0x9e3779b1u;

	return hash ^ hash >> 15;
}

struct weir_sim_socket *weir__sim_port_find(struct weir_sim_host *host, int type,
					    const struct weir_sim_place *place,
					    const struct weir_sim_place *peer)
{
	struct weir_node *head = bucket_of(host, type, place->port);
	struct weir_sim_socket *best = NULL;
	unsigned best_fit = 0;
	unsigned count = 0;
	unsigned nth;

	for (struct weir_node *node = head->next; node != head; node = node->next) {
		struct weir_sim_socket *sock =
			weir_container_of(node, struct weir_sim_socket, port_node);
		unsigned fits = fit(sock, place, peer);

		if (fits > best_fit) {
			best = sock;
			best_fit = fits;
			count = 0;
		}
		count += fits && fits == best_fit;
	}
	if (!best || !best->reuse_port || count < 2)
		return best;
	nth = hash_of(peer) % count;
	for (struct weir_node *node = &best->port_node; node != head; node = node->next) {
		struct weir_sim_socket *sock =
			weir_container_of(node, struct weir_sim_socket, port_node);

		if (fit(sock, place, peer) == best_fit && !nth--)
			return sock;
	}
	return best;
}
