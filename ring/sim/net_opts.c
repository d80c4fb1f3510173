/* SPDX-License-Identifier: MIT */
/*
 * net_opts.c - socket options: those that the network here obeys, and those that a service may
 * set and that mean nothing here.
 */
#include <netinet/tcp.h>
#include <string.h>

#include "ring/sim/net.h"

#define SIZE_LEAST 2304
#define SIZE_MOST (4 << 20)

/* What the kernel does with a size: doubled, for its own records. */
static int size_from(int value)
{
	if (value < SIZE_LEAST / 2)
		value = SIZE_LEAST / 2;
	return value > SIZE_MOST ? SIZE_MOST : value;
}

static int set_linger(struct weir_sim_socket *sock, const void *value, socklen_t size)
{
	struct linger linger;

	if (size < sizeof(linger))
		return -EINVAL;
	memcpy(&linger, value, sizeof(linger));
	sock->linger = linger.l_onoff;
	sock->linger_s = linger.l_linger;
	return 0;
}

static int set_common(struct weir_sim_socket *sock, int name, int value)
{
	switch (name) {
	case SO_REUSEADDR:
		sock->reuse_addr = value;
		return 0;
	case SO_REUSEPORT:
		sock->reuse_port = value;
		return 0;
	case SO_KEEPALIVE:
		sock->keep_alive = value;
		return 0;
	case SO_SNDBUF:
		sock->send_size = size_from(value);
		return 0;
	case SO_RCVBUF:
		sock->recv_size = size_from(value);
		return 0;
	case SO_BROADCAST:
	case SO_PRIORITY:
	case SO_MARK:
	case SO_INCOMING_CPU:
	case SO_BUSY_POLL:
	case SO_ZEROCOPY:
	case SO_RCVLOWAT:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int set_tcp(struct weir_sim_socket *sock, int name, int value)
{
	switch (name) {
	case TCP_NODELAY:
		sock->no_delay = value;
		return 0;
	case TCP_DEFER_ACCEPT:
		sock->defer_s = value;
		return 0;
	case TCP_USER_TIMEOUT:
		if (value < 0)
			return -EINVAL;
		sock->user_timeout_ms = value;
		return 0;
	case TCP_KEEPIDLE:
	case TCP_KEEPINTVL:
	case TCP_KEEPCNT:
	case TCP_QUICKACK:
	case TCP_CORK:
	case TCP_FASTOPEN:
	case TCP_NOTSENT_LOWAT:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static bool is_tcp(const struct weir_sim_socket *sock)
{
	return sock->family != AF_UNIX && weir__sim_is_stream(sock);
}

int weir__sim_socket_set(struct weir_sim_socket *sock, int level, int name, const void *value,
			 socklen_t size)
{
	int number;

	if (level == SOL_SOCKET && name == SO_LINGER)
		return set_linger(sock, value, size);
	if (size < sizeof(number))
		return -EINVAL;
	memcpy(&number, value, sizeof(number));
	if (level == SOL_SOCKET)
		return set_common(sock, name, number);
	if (level == IPPROTO_TCP && is_tcp(sock))
		return set_tcp(sock, name, number);
	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && sock->family == AF_INET6) {
		if (sock->local.kind != PLACE_NONE)
			return -EINVAL;
		sock->v6only = number;
		return 0;
	}
	return sock->family == AF_UNIX ? -EOPNOTSUPP : -ENOPROTOOPT;
}

/* --- reading them --- */

static int get_common(struct weir_sim_socket *sock, int name, int *ret)
{
	switch (name) {
	case SO_ERROR:
		*ret = -weir__sim_socket_error(sock);
		return 0;
	case SO_TYPE:
		*ret = sock->type;
		return 0;
	case SO_DOMAIN:
		*ret = sock->family;
		return 0;
	case SO_PROTOCOL:
		*ret = sock->family == AF_UNIX	 ? 0 :
		       weir__sim_is_stream(sock) ? IPPROTO_TCP :
						   IPPROTO_UDP;
		return 0;
	case SO_ACCEPTCONN:
		*ret = sock->state == SOCKET_LISTENS;
		return 0;
	case SO_REUSEADDR:
		*ret = sock->reuse_addr;
		return 0;
	case SO_REUSEPORT:
		*ret = sock->reuse_port;
		return 0;
	case SO_KEEPALIVE:
		*ret = sock->keep_alive;
		return 0;
	case SO_SNDBUF:
		*ret = 2 * sock->send_size;
		return 0;
	case SO_RCVBUF:
		*ret = 2 * sock->recv_size;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int get_tcp(const struct weir_sim_socket *sock, int name, int *ret)
{
	switch (name) {
	case TCP_NODELAY:
		*ret = sock->no_delay;
		return 0;
	case TCP_DEFER_ACCEPT:
		*ret = sock->defer_s;
		return 0;
	case TCP_USER_TIMEOUT:
		*ret = sock->user_timeout_ms;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int get_v6only(const struct weir_sim_socket *sock, int *ret)
{
	*ret = sock->v6only;
	return 0;
}

static int put(const void *from, size_t size, void *value, socklen_t *ret_size)
{
	if (*ret_size > size)
		*ret_size = (socklen_t)size;
	memcpy(value, from, *ret_size);
	return 0;
}

static int get_info(const struct weir_sim_socket *sock, void *value, socklen_t *size)
{
	static const uint8_t states[] = {
		[SOCKET_NEW] = TCP_CLOSE,
		[SOCKET_LISTENS] = TCP_LISTEN,
		[SOCKET_CONNECTING] = TCP_SYN_SENT,
		[SOCKET_CONNECTED] = TCP_ESTABLISHED,
		[SOCKET_OVER] = TCP_CLOSE,
	};
	struct tcp_info info;

	memset(&info, 0, sizeof(info));
	info.tcpi_state = states[sock->state];
	if (sock->state == SOCKET_LISTENS) {
		info.tcpi_unacked = sock->backlog_count;
		info.tcpi_sacked = sock->backlog_max;
	}
	return put(&info, sizeof(info), value, size);
}

int weir__sim_socket_get(struct weir_sim_socket *sock, int level, int name, void *value,
			 socklen_t *size)
{
	struct linger linger = { .l_onoff = sock->linger, .l_linger = sock->linger_s };
	int number = 0;
	int r = -ENOPROTOOPT;

	if (level == SOL_SOCKET && name == SO_LINGER)
		return put(&linger, sizeof(linger), value, size);
	if (level == IPPROTO_TCP && name == TCP_INFO && is_tcp(sock))
		return get_info(sock, value, size);
	if (level == SOL_SOCKET)
		r = get_common(sock, name, &number);
	else if (level == IPPROTO_TCP && is_tcp(sock))
		r = get_tcp(sock, name, &number);
	else if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && sock->family == AF_INET6)
		r = get_v6only(sock, &number);
	else if (sock->family == AF_UNIX)
		r = -EOPNOTSUPP;
	return r < 0 ? r : put(&number, sizeof(number), value, size);
}
