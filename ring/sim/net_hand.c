/* SPDX-License-Identifier: MIT */
/*
 * net_hand.c - how a TCP connection begins: three packets, of which each may be lost.
 *
 *	HAND_SYN --nobody listens--> HAND_REFUSED --> the client fails
 *	HAND_SYN --backlog full, lost--> HAND_RETRY --1, 2, 4 ... 64 s--> HAND_SYN
 *	HAND_SYN --> HAND_SYNACK --> the client is connected, HAND_ACK --> the listener has it
 */
#include "ring/sim/net.h"

#define RETRY_NS WEIR_S
#define TRIES 6			/* net.ipv4.tcp_syn_retries */
#define NO_ROUTE_NS (3 * WEIR_S)
#define GIVE_UP_NS (127 * WEIR_S)
#define SLOW_NS_MAX (60 * WEIR_S)

static void hand_run(struct weir_sim_event *event);

static int64_t now_of(const struct weir_sim_stream *stream)
{
	return stream->net->sim->now_ns;
}

static void arm_in(struct weir_sim_stream *stream, uint8_t phase, int64_t ns)
{
	stream->phase = phase;
	weir__sim_event_arm(stream->net->sim, &stream->hand, now_of(stream) + ns);
}

/* A packet of side leaves; when it comes, phase is what it means. False: it is lost. */
static bool send_from(struct weir_sim_stream *stream, unsigned side, uint8_t phase)
{
	if (weir__sim_stream_is_cut(stream, side))
		return false;
	arm_in(stream, phase, weir__sim_net_latency(stream->host[side], stream->host[!side]));
	return true;
}

static void release(struct weir_sim_stream *stream)
{
	if (stream->listener)
		stream->listener->backlog_kept--;
	stream->listener = NULL;
}

/* The client is refused, or gives up. */
static void fail(struct weir_sim_stream *stream, int error)
{
	struct weir_sim_socket *client = stream->end[0];

	release(stream);
	stream->phase = HAND_NONE;
	stream->over[0] = stream->over[1] = true;
	if (!client)
		return;
	stream->end[0] = NULL;
	client->stream = NULL;
	client->state = SOCKET_OVER;
	client->error = error;
	weir__sim_socket_wake(client);
}

static void retry_later(struct weir_sim_stream *stream)
{
	bool last = stream->tries > TRIES;

	stream->refusal = ETIMEDOUT;
	arm_in(stream, last ? HAND_REFUSED : HAND_RETRY, RETRY_NS << (stream->tries - 1));
}

static void send_syn(struct weir_sim_stream *stream)
{
	stream->phase = HAND_NONE;
	if (!stream->end[0])
		return;
	stream->tries++;
	if (!send_from(stream, 0, HAND_SYN))
		retry_later(stream);
}

/* --- at the listener --- */

static void syn_comes(struct weir_sim_stream *stream)
{
	struct weir_sim_host *host = stream->host[1];
	struct weir_sim_socket *listener;

	if (weir__sim_nic_is_off(host)) {
		retry_later(stream);
		return;
	}
	listener = weir__sim_port_find(host, SOCK_STREAM, &stream->place[1], &stream->place[0]);
	if (!listener) {
		stream->refusal =
			weir__rule_is_broken(WEIR_RULE_REFUSED) ? ETIMEDOUT : ECONNREFUSED;
		if (!send_from(stream, 1, HAND_REFUSED))
			retry_later(stream);
		return;
	}
	if (weir__sim_backlog_is_full(listener) || !send_from(stream, 1, HAND_SYNACK)) {
		retry_later(stream);
		return;
	}
	listener->backlog_kept++;
	stream->listener = listener;
}

static struct weir_sim_socket *make_child(struct weir_sim_stream *stream)
{
	struct weir_sim_socket *listener = stream->listener;
	struct weir_sim_socket *child = weir__sim_socket_create(listener->file.host,
								listener->family, SOCK_STREAM);

	if (!child)
		return NULL;
	child->local = stream->place[1];
	child->remote = stream->place[0];
	child->no_delay = listener->no_delay;
	child->keep_alive = listener->keep_alive;
	child->linger = listener->linger;
	child->linger_s = listener->linger_s;
	child->send_size = listener->send_size;
	child->recv_size = listener->recv_size;
	child->user_timeout_ms = listener->user_timeout_ms;
	weir__sim_stream_attach(stream, 1, child);
	return child;
}

static void hand_over(struct weir_sim_stream *stream)
{
	struct weir_sim_socket *listener = stream->listener;
	struct weir_sim_socket *child = make_child(stream);

	release(stream);
	stream->phase = HAND_NONE;
	if (!child) {
		weir__sim_stream_reset(stream, 1);
		stream->over[1] = true;
		return;
	}
	weir__sim_backlog_add(listener, child);
	weir__sim_tube_push(&stream->way[1]);
}

static void ack_comes(struct weir_sim_stream *stream)
{
	const struct weir_sim_tube *way = &stream->way[0];

	/* The listener is gone: what it does not know it resets. */
	if (!stream->listener) {
		stream->phase = HAND_NONE;
		weir__sim_stream_reset(stream, 1);
		stream->over[1] = true;
	} else if (stream->listener->defer_s && way->arrived == way->read && !way->fin_arrived) {
		arm_in(stream, HAND_DEFER, stream->listener->defer_s * WEIR_S);
	} else {
		hand_over(stream);
	}
}

void weir__sim_hand_data(struct weir_sim_stream *stream)
{
	if (stream->phase != HAND_DEFER || !stream->listener)
		return;
	weir__sim_event_disarm(stream->net->sim, &stream->hand);
	hand_over(stream);
}

/* --- at the client --- */

static void synack_comes(struct weir_sim_stream *stream)
{
	struct weir_sim_socket *client = stream->end[0];

	if (!client) {
		release(stream);
		stream->phase = HAND_NONE;
		return;
	}
	client->state = SOCKET_CONNECTED;
	/* Data waits for the ACK: it is the first segment. */
	if (stream->host[0] == stream->host[1])
		ack_comes(stream);
	else if (!send_from(stream, 0, HAND_ACK))
		arm_in(stream, HAND_ACK, RETRY_NS);
	if (stream->phase == HAND_ACK)
		stream->way[0].last_ns = stream->hand.at_ns;
	weir__sim_trace(stream->net->sim, stream->host[0], "net-connected",
			(int64_t)stream->number, stream->place[1].port);
	weir__sim_socket_wake(client);
}

static void hand_run(struct weir_sim_event *event)
{
	struct weir_sim_stream *stream = weir_container_of(event, struct weir_sim_stream, hand);

	switch (stream->phase) {
	case HAND_SYN:
		syn_comes(stream);
		break;
	case HAND_RETRY:
		send_syn(stream);
		break;
	case HAND_REFUSED:
		fail(stream, stream->refusal);
		break;
	case HAND_SYNACK:
		synack_comes(stream);
		break;
	case HAND_ACK:
		ack_comes(stream);
		break;
	case HAND_DEFER:
		if (stream->listener)
			hand_over(stream);
		break;
	default:
		break;
	}
	weir__sim_stream_settle(stream);
}

void weir__sim_hand_forget(struct weir_sim_stream *stream)
{
	release(stream);
	if (stream->phase == HAND_DEFER) {
		weir__sim_event_disarm(stream->net->sim, &stream->hand);
		stream->phase = HAND_NONE;
		weir__sim_stream_reset(stream, 1);
		stream->over[1] = true;
	}
}

/* --- connect(2) --- */

/* The local address for a way to place. */
static int bind_for(struct weir_sim_socket *sock, const struct weir_sim_place *to)
{
	struct weir_sim_place local = {
		.kind = to->kind == PLACE_LOOP ? PLACE_LOOP : PLACE_HOST,
		.host = (uint8_t)sock->file.host->index,
		.is_v6 = to->is_v6,
	};

	if (sock->local.kind == PLACE_NONE)
		return weir__sim_port_bind(sock, &local) < 0 ? -EADDRNOTAVAIL : 0;
	local.port = sock->local.port;
	if (sock->local.kind == PLACE_ANY)
		sock->local = local;
	return 0;
}

static bool strikes(struct weir_sim_host *from, const struct weir_sim_host *to)
{
	return from != to &&
	       weir__sim_fault(from->sim, NULL, WEIR_SIM_CONNECT, "connect-fails");
}

static int start(struct weir_sim_stream *stream, bool has_route)
{
	struct weir_sim_host *from = stream->host[0];

	stream->hand.run = hand_run;
	if (!has_route) {
		stream->refusal = EHOSTUNREACH;
		arm_in(stream, HAND_REFUSED, NO_ROUTE_NS);
		return 0;
	}
	if (!strikes(from, stream->host[1])) {
		send_syn(stream);
		return 0;
	}
	switch (weir__sim_choose(from->sim, from, "connect-how", 3)) {
	case 0:
		stream->refusal = ECONNREFUSED;
		arm_in(stream, HAND_REFUSED, weir__sim_net_latency(from, stream->host[1]) * 2);
		break;
	case 1:
		stream->refusal = ETIMEDOUT;
		arm_in(stream, HAND_REFUSED, GIVE_UP_NS);
		break;
	default:
		arm_in(stream, HAND_RETRY,
		       weir__sim_delay(from->sim, from, "connect-slow", SLOW_NS_MAX));
		break;
	}
	return 0;
}

int weir__sim_hand_begin(struct weir_sim_socket *sock, const struct weir_sim_place *to)
{
	struct weir_sim_host *from = sock->file.host;
	struct weir_sim_place remote = *to;
	struct weir_sim_host *host;
	struct weir_sim_stream *stream;
	int r;

	if (remote.kind == PLACE_OUT)
		return -ENETUNREACH;
	if (remote.kind == PLACE_ANY)
		remote.kind = PLACE_LOOP;
	host = weir__sim_place_host(from, &remote);
	r = bind_for(sock, &remote);
	if (r < 0)
		return r;
	stream = weir__sim_stream_create(sock, host ? host : from);
	if (!stream)
		return -ENOBUFS;
	stream->place[0] = sock->local;
	stream->place[1] = remote;
	sock->remote = remote;
	sock->state = SOCKET_CONNECTING;
	return start(stream, host);
}
