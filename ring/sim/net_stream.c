/* SPDX-License-Identifier: MIT */
/*
 * net_stream.c - streams: what happens between two ends once they know of each other.
 *
 * Congestion and acknowledgements are not packets here. A segment that is lost is sent again
 * after a time that doubles; who gets no answer for long enough gives up, and only he: the
 * other end learns nothing, as on a real network.
 */
#include "ring/sim/net.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_NS (200 * WEIR_MS)
#define RETRY_NS_MAX (120 * WEIR_S)
#define GIVE_UP_NS (924 * WEIR_S)	/* net.ipv4.tcp_retries2 = 15 */
#define WINDOW_NS_MAX (300 * WEIR_S)

static void deliver(struct weir_sim_event *event);
static void deliver_first(struct weir_sim_tube *tube);
static void retry(struct weir_sim_event *event);

static int64_t now_of(const struct weir_sim_stream *stream)
{
	return stream->net->sim->now_ns;
}

/* --- life --- */

static void tube_init(struct weir_sim_stream *stream, unsigned side)
{
	struct weir_sim_tube *tube = &stream->way[side];

	tube->stream = stream;
	tube->side = (uint8_t)side;
	tube->deliver.run = deliver;
	tube->retry.run = retry;
}

struct weir_sim_stream *weir__sim_stream_create(struct weir_sim_socket *client,
						struct weir_sim_host *to)
{
	struct weir_sim_net *net = weir__sim_socket_sim(client)->net;
	struct weir_sim_stream *stream = net->spare;

	if (stream)
		net->spare = stream->next;
	else
		stream = malloc(sizeof(*stream));
	if (!stream)
		return NULL;
	memset(stream, 0, sizeof(*stream));
	stream->net = net;
	stream->number = ++net->serial;
	stream->host[0] = client->file.host;
	stream->host[1] = to;
	tube_init(stream, 0);
	tube_init(stream, 1);
	weir__list_push(&net->streams, &stream->node);
	stream->end[0] = client;
	client->stream = stream;
	client->side = 0;
	return stream;
}

void weir__sim_stream_attach(struct weir_sim_stream *stream, unsigned side,
			     struct weir_sim_socket *sock)
{
	stream->end[side] = sock;
	sock->stream = stream;
	sock->side = side;
	sock->state = SOCKET_CONNECTED;
}

static bool is_idle(const struct weir_sim_tube *tube)
{
	return !tube->deliver.place && !tube->retry.place;
}

void weir__sim_stream_settle(struct weir_sim_stream *stream)
{
	struct weir_sim_net *net = stream->net;

	if (stream->end[0] || stream->end[1] || stream->hand.place ||
	    !is_idle(&stream->way[0]) || !is_idle(&stream->way[1]))
		return;
	weir__sim_bytes_drop(net, &stream->way[0].bytes);
	weir__sim_bytes_drop(net, &stream->way[1].bytes);
	weir__node_remove(&stream->node);
	stream->next = net->spare;
	net->spare = stream;
}

bool weir__sim_stream_is_cut(const struct weir_sim_stream *stream, unsigned from)
{
	return stream->is_silent || weir__sim_net_is_cut(stream->host[from], stream->host[!from]);
}

/* --- ends --- */

static void tube_stop(struct weir_sim_tube *tube)
{
	tube->written = tube->sent;
	tube->fin = false;
	tube->ended = true;
	tube->lost_ns = 0;
	weir__sim_event_disarm(tube->stream->net->sim, &tube->retry);
}

static void side_over(struct weir_sim_stream *stream, unsigned side, int error)
{
	struct weir_sim_socket *sock = stream->end[side];

	if (stream->over[side])
		return;
	stream->over[side] = true;
	tube_stop(&stream->way[side]);
	if (!sock)
		return;
	sock->state = SOCKET_OVER;
	sock->error = error;
	weir__sim_socket_wake(sock);
}

void weir__sim_stream_fail(struct weir_sim_socket *sock, int error)
{
	side_over(sock->stream, sock->side, error);
}

static void rst_comes(struct weir_sim_stream *stream, unsigned side)
{
	weir__sim_trace(stream->net->sim, stream->host[side], "net-rst", (int64_t)stream->number,
			side);
	side_over(stream, side, stream->way[!side].fin_arrived ? EPIPE : ECONNRESET);
}

/* --- segments --- */

static void add_segment(struct weir_sim_tube *tube, int64_t at_ns, uint8_t end)
{
	struct weir_sim_stream *stream = tube->stream;
	struct weir_sim_segment *segment;

	if (at_ns < tube->last_ns)
		at_ns = tube->last_ns;
	tube->last_ns = at_ns;
	/* What leaves when the wire is full travels with the last. */
	if (tube->count < WEIR_SIM_SEGMENTS)
		tube->count++;
	segment = &tube->segments[(tube->first + tube->count - 1) % WEIR_SIM_SEGMENTS];
	segment->upto = tube->sent;
	segment->at_ns = at_ns;
	segment->end = end;
	/* The loopback is no wire: who sends also receives, in the same breath. */
	if (stream->host[0] == stream->host[1])
		deliver_first(tube);
	else if (!tube->deliver.place)
		weir__sim_event_arm(stream->net->sim, &tube->deliver, at_ns);
}

void weir__sim_stream_reset(struct weir_sim_stream *stream, unsigned side)
{
	struct weir_sim_tube *tube = &stream->way[side];
	struct weir_sim_host *from = stream->host[side];

	tube_stop(tube);
	if (!weir__sim_stream_is_cut(stream, side))
		add_segment(tube,
			    now_of(stream) + weir__sim_net_latency(from, stream->host[!side]),
			    SEGMENT_RST);
}

/* Something of tube was lost, or its acknowledgement. */
static void lose(struct weir_sim_tube *tube)
{
	int64_t now_ns = now_of(tube->stream);

	if (!tube->lost_ns)
		tube->lost_ns = now_ns;
	if (tube->retry.place)
		return;
	tube->backoff_ns = RETRY_NS;
	weir__sim_event_arm(tube->stream->net->sim, &tube->retry, now_ns + tube->backoff_ns);
}

/* What is sent to one who knows nothing of the connection is sent again, and answered by RST. */
static void learn_later(struct weir_sim_tube *tube)
{
	tube->severed = true;
	if (!tube->retry.place)
		weir__sim_event_arm(tube->stream->net->sim, &tube->retry,
				    now_of(tube->stream) + RETRY_NS);
}

/* --- faults --- */

static void reset_fault(struct weir_sim_tube *tube)
{
	struct weir_sim_stream *stream = tube->stream;
	struct weir_sim_host *from = stream->host[tube->side];

	switch (weir__sim_choose(from->sim, from, "reset-how", 3)) {
	case 0:
		weir__sim_stream_reset(stream, tube->side);
		weir__sim_stream_reset(stream, !tube->side);
		break;
	case 1:
		weir__sim_stream_reset(stream, tube->side);
		learn_later(tube);
		break;
	default:
		/* FIN in the middle: the sender learns by RST when it goes on. */
		tube_stop(tube);
		tube->severed = true;
		add_segment(tube,
			    from->sim->now_ns +
				    weir__sim_net_latency(from, stream->host[!tube->side]),
			    SEGMENT_FIN);
		break;
	}
}

static void window_fault(struct weir_sim_tube *tube)
{
	struct weir_sim_host *to = tube->stream->host[!tube->side];

	tube->drip_ns = weir__sim_choose(to->sim, to, "window-how", 2) ? WEIR_S : 0;
	tube->held_until_ns = to->sim->now_ns + WEIR_MS +
			      weir__sim_delay(to->sim, to, "window-for", WINDOW_NS_MAX);
}

/* Whether the connection is struck so that the segment never leaves. */
static bool strikes(struct weir_sim_tube *tube)
{
	struct weir_sim_host *from = tube->stream->host[tube->side];
	struct weir_sim_host *to = tube->stream->host[!tube->side];
	struct weir_sim *sim = from->sim;

	if (weir_likely(!(sim->armed & (WEIR_SIM_RESET | WEIR_SIM_HALF_OPEN | WEIR_SIM_WINDOW))) ||
	    from == to)
		return false;
	if (weir__sim_fault(sim, NULL, WEIR_SIM_RESET, "reset")) {
		reset_fault(tube);
		return true;
	}
	if (weir__sim_fault(sim, NULL, WEIR_SIM_HALF_OPEN, "half-open"))
		tube->stream->is_silent = true;
	if (weir__sim_fault(sim, NULL, WEIR_SIM_WINDOW, "window"))
		window_fault(tube);
	return false;
}

/* --- sending --- */

static uint64_t window_end(const struct weir_sim_tube *tube)
{
	const struct weir_sim_socket *reader = tube->stream->end[!tube->side];

	if (!reader)
		return tube->stream->over[!tube->side] ? UINT64_MAX :
							 tube->read + WEIR_SIM_BUFFER;
	return tube->read + (uint64_t)reader->recv_size;
}

static void local_arrives(struct weir_sim_tube *tube)
{
	struct weir_sim_socket *reader = tube->stream->end[!tube->side];

	tube->sent = tube->arrived = tube->acked = tube->written;
	tube->fin_arrived = tube->fin;
	if (reader && !weir__list_is_empty(&reader->file.waiters))
		weir__sim_socket_wake(reader);
}

static void emit(struct weir_sim_tube *tube)
{
	struct weir_sim_stream *stream = tube->stream;
	uint64_t upto = window_end(tube);
	bool fin;
	int64_t at_ns;

	if (tube->ended) {
		if (tube->severed)
			learn_later(tube);
		return;
	}
	if (upto > tube->written)
		upto = tube->written;
	fin = tube->fin && !tube->fin_sent && upto == tube->written;
	if ((upto <= tube->sent && !fin) || strikes(tube))
		return;
	if (weir__sim_stream_is_cut(stream, tube->side)) {
		lose(tube);
		return;
	}
	at_ns = now_of(stream) +
		weir__sim_net_latency(stream->host[tube->side], stream->host[!tube->side]);
	if (upto > tube->sent)
		tube->sent = upto;
	tube->fin_sent |= fin;
	add_segment(tube, at_ns, fin ? SEGMENT_FIN : SEGMENT_OPEN);
}

void weir__sim_tube_push(struct weir_sim_tube *tube)
{
	const struct weir_sim_stream *stream = tube->stream;

	if (stream->is_local) {
		local_arrives(tube);
		return;
	}
	/* The server's words wait for the socket that says them; and all waits for what was lost.
	 */
	if (tube->retry.place || (stream->phase != HAND_NONE && stream->phase < HAND_ACK))
		return;
	emit(tube);
}

static void give_up(struct weir_sim_tube *tube)
{
	struct weir_sim_stream *stream = tube->stream;

	weir__sim_trace(stream->net->sim, stream->host[tube->side], "net-timeout",
			(int64_t)stream->number, tube->side);
	tube_stop(tube);
	side_over(stream, tube->side, ETIMEDOUT);
}

static int64_t patience_of(const struct weir_sim_tube *tube)
{
	const struct weir_sim_socket *sock = tube->stream->end[tube->side];

	return sock && sock->user_timeout_ms ? sock->user_timeout_ms * WEIR_MS : GIVE_UP_NS;
}

static void retry(struct weir_sim_event *event)
{
	struct weir_sim_tube *tube = weir_container_of(event, struct weir_sim_tube, retry);
	struct weir_sim_stream *stream = tube->stream;
	struct weir_sim_socket *writer = stream->end[tube->side];
	bool answers = !weir__sim_stream_is_cut(stream, !tube->side);
	int64_t now_ns = now_of(stream);

	if (tube->severed) {
		if (answers && !weir__sim_stream_is_cut(stream, tube->side))
			rst_comes(stream, tube->side);
		else
			learn_later(tube);
		weir__sim_stream_settle(stream);
		return;
	}
	if (now_ns - tube->lost_ns >= patience_of(tube)) {
		give_up(tube);
		weir__sim_stream_settle(stream);
		return;
	}
	if (!answers || weir__sim_stream_is_cut(stream, tube->side)) {
		tube->backoff_ns = tube->backoff_ns * 2 < RETRY_NS_MAX ? tube->backoff_ns * 2 :
									 RETRY_NS_MAX;
		weir__sim_event_arm(stream->net->sim, &tube->retry, now_ns + tube->backoff_ns);
	} else {
		tube->lost_ns = 0;
		tube->acked = tube->arrived;
		if (writer)
			weir__sim_socket_wake(writer);
	}
	if (!weir__sim_stream_is_cut(stream, tube->side))
		emit(tube);
	weir__sim_stream_settle(stream);
}

/* --- arriving --- */

/* Side knows nothing of the connection. */
static void unknown(struct weir_sim_tube *tube, const struct weir_sim_segment *segment)
{
	struct weir_sim_stream *stream = tube->stream;
	bool had_data = segment->upto > tube->arrived;

	weir__sim_bytes_get(stream->net, &tube->bytes, NULL, segment->upto - tube->read);
	tube->read = tube->arrived = tube->acked = segment->upto;
	tube->fin_arrived |= segment->end == SEGMENT_FIN;
	if (had_data)
		weir__sim_stream_reset(stream, !tube->side);
}

static void acknowledge(struct weir_sim_tube *tube)
{
	struct weir_sim_socket *writer = tube->stream->end[tube->side];

	if (weir_unlikely(weir__sim_stream_is_cut(tube->stream, !tube->side))) {
		lose(tube);
		return;
	}
	tube->acked = tube->arrived;
	if (writer && !weir__list_is_empty(&writer->file.waiters))
		weir__sim_socket_wake(writer);
}

static void arrive(struct weir_sim_tube *tube, const struct weir_sim_segment *segment)
{
	struct weir_sim_stream *stream = tube->stream;
	unsigned to = !tube->side;

	if (segment->end == SEGMENT_RST && segment->upto == tube->arrived) {
		rst_comes(stream, to);
		return;
	}
	if (stream->over[to]) {
		unknown(tube, segment);
		return;
	}
	tube->arrived = segment->upto;
	tube->fin_arrived |= segment->end == SEGMENT_FIN;
	if (stream->phase == HAND_DEFER)
		weir__sim_hand_data(stream);
	if (!tube->ended)
		acknowledge(tube);
	if (stream->end[to])
		weir__sim_socket_wake(stream->end[to]);
	if (segment->end == SEGMENT_RST)
		rst_comes(stream, to);
}

/* The receiver has no power: all on the wire is lost. */
static void lose_all(struct weir_sim_tube *tube)
{
	tube->count = 0;
	if (tube->ended)
		return;
	tube->sent = tube->arrived;
	tube->fin_sent = false;
	lose(tube);
}

/* With the fault WINDOW nothing arrives, or a byte now and then. */
static int64_t hold(struct weir_sim_tube *tube, const struct weir_sim_segment *segment)
{
	struct weir_sim_segment byte = { .upto = tube->arrived + 1 };

	if (!tube->drip_ns || segment->upto <= tube->arrived)
		return tube->held_until_ns;
	arrive(tube, &byte);
	return now_of(tube->stream) + tube->drip_ns;
}

static void deliver_first(struct weir_sim_tube *tube)
{
	struct weir_sim_segment segment = tube->segments[tube->first];

	tube->first = (tube->first + 1) % WEIR_SIM_SEGMENTS;
	tube->count--;
	arrive(tube, &segment);
}

static void deliver(struct weir_sim_event *event)
{
	struct weir_sim_tube *tube = weir_container_of(event, struct weir_sim_tube, deliver);
	struct weir_sim_stream *stream = tube->stream;
	int64_t at_ns;

	if (weir_unlikely(weir__sim_nic_is_off(stream->host[!tube->side]))) {
		lose_all(tube);
	} else if (weir_unlikely(tube->held_until_ns > now_of(stream))) {
		at_ns = hold(tube, &tube->segments[tube->first]);
		weir__sim_event_arm(stream->net->sim, event, at_ns);
		return;
	} else {
		deliver_first(tube);
	}
	if (tube->count) {
		at_ns = tube->segments[tube->first].at_ns;
		weir__sim_event_arm(stream->net->sim, event, at_ns);
	}
	weir__sim_stream_settle(stream);
}

/* --- leaving --- */

static void local_leaves(struct weir_sim_stream *stream, unsigned side, bool reset)
{
	struct weir_sim_socket *peer = stream->end[!side];

	stream->way[side].fin = true;
	stream->way[side].fin_arrived = true;
	tube_stop(&stream->way[!side]);
	if (!peer)
		return;
	if (reset)
		peer->error = ECONNRESET;
	peer->shut_write = true;
	weir__sim_socket_wake(peer);
}

void weir__sim_stream_leave(struct weir_sim_socket *sock, bool reset, bool silent)
{
	struct weir_sim_stream *stream = sock->stream;
	unsigned side = sock->side;
	struct weir_sim_tube *in = &stream->way[!side];
	bool was_over = stream->over[side];

	sock->stream = NULL;
	sock->state = SOCKET_OVER;
	stream->end[side] = NULL;
	stream->over[side] = true;
	weir__sim_bytes_get(stream->net, &in->bytes, NULL, in->arrived - in->read);
	in->read = in->arrived;
	if (stream->is_local) {
		local_leaves(stream, side, reset);
	} else if (silent) {
		tube_stop(&stream->way[side]);
	} else if (!was_over && reset) {
		weir__sim_stream_reset(stream, side);
	} else if (!was_over) {
		stream->way[side].fin = true;
		weir__sim_tube_push(&stream->way[side]);
	}
	weir__sim_stream_settle(stream);
}

void weir__sim_stream_finish(struct weir_sim_socket *sock)
{
	struct weir_sim_tube *tube = &sock->stream->way[sock->side];

	tube->fin = true;
	weir__sim_tube_push(tube);
}

/* Whether the writer of tube is gone and his last word was lost. */
static bool is_dead(const struct weir_sim_tube *tube)
{
	return tube->ended && !tube->fin_arrived && !tube->count;
}

void weir__sim_stream_heal(struct weir_sim_stream *stream)
{
	struct weir_sim *sim = stream->net->sim;

	if (stream->is_silent) {
		stream->is_silent = false;
		weir__sim_stream_reset(stream, 0);
		weir__sim_stream_reset(stream, 1);
	}
	/* What a keep-alive would find out in two hours. */
	for (unsigned i = 0; i < 2; i++)
		if (is_dead(&stream->way[i]))
			rst_comes(stream, !i);
	if (stream->phase == HAND_RETRY && stream->hand.at_ns > sim->now_ns + WEIR_S)
		weir__sim_event_arm(sim, &stream->hand, sim->now_ns + WEIR_S);
	for (unsigned i = 0; i < 2; i++) {
		struct weir_sim_tube *tube = &stream->way[i];

		tube->drip_ns = 0;
		if (tube->held_until_ns > sim->now_ns && tube->count)
			weir__sim_event_arm(sim, &tube->deliver, tube->segments[tube->first].at_ns);
		tube->held_until_ns = 0;
		tube->backoff_ns = RETRY_NS;
		if (tube->retry.place)
			weir__sim_event_arm(sim, &tube->retry, sim->now_ns + RETRY_NS);
	}
	weir__sim_stream_settle(stream);
}

/* --- reading and writing --- */

size_t weir__sim_stream_unread(const struct weir_sim_socket *sock)
{
	const struct weir_sim_tube *in;

	if (!sock->stream)
		return 0;
	in = &sock->stream->way[!sock->side];
	return in->arrived - in->read;
}

/* There is room: the writer goes on, once it is worth it. */
static void was_read(struct weir_sim_tube *tube, const struct weir_sim_socket *reader)
{
	struct weir_sim_stream *stream = tube->stream;
	struct weir_sim_socket *writer = stream->end[tube->side];
	uint64_t open;

	if (stream->is_local) {
		if (writer && !weir__list_is_empty(&writer->file.waiters))
			weir__sim_socket_wake(writer);
		return;
	}
	if (tube->sent == tube->written && (!tube->fin || tube->fin_sent))
		return;
	open = tube->read + (uint64_t)reader->recv_size - tube->sent;
	if (open < (uint64_t)reader->recv_size / 4 && open < tube->written - tube->sent)
		return;
	if (weir__sim_stream_is_cut(stream, !tube->side))
		lose(tube);
	else
		weir__sim_tube_push(tube);
}

static ssize_t take(struct weir_sim_socket *sock, struct weir_sim_span *span, size_t size,
		    int flags)
{
	struct weir_sim_tube *in = &sock->stream->way[!sock->side];

	if ((flags & MSG_PEEK) && !weir__rule_is_broken(WEIR_RULE_PEEK)) {
		weir__sim_bytes_peek(&in->bytes, span, size);
		return (ssize_t)size;
	}
	weir__sim_bytes_get(sock->stream->net, &in->bytes,
			    flags & MSG_TRUNC && sock->family != AF_UNIX ? NULL : span, size);
	in->read += size;
	was_read(in, sock);
	return (ssize_t)size;
}

ssize_t weir__sim_stream_recv(struct weir_sim_socket *sock, struct weir_sim_span *span, int flags)
{
	size_t left = weir__sim_span_left(span);
	size_t size = weir__sim_stream_unread(sock);
	int r;

	if (sock->state == SOCKET_NEW || sock->state == SOCKET_LISTENS)
		return sock->family == AF_UNIX ? -EINVAL : -ENOTCONN;
	if (size && left)
		return take(sock, span, size < left ? size : left, flags);
	if (!left)
		return 0;
	r = weir__sim_socket_error(sock);
	if (r < 0)
		return r;
	if (sock->state == SOCKET_OVER || sock->shut_read ||
	    (sock->stream && sock->stream->way[!sock->side].fin_arrived))
		return 0;
	return -EAGAIN;
}

size_t weir__sim_stream_room(const struct weir_sim_socket *sock)
{
	const struct weir_sim_tube *out = &sock->stream->way[sock->side];
	uint64_t used = out->written - (sock->stream->is_local ? out->read : out->acked);

	return used < (uint64_t)sock->send_size ? (size_t)sock->send_size - used : 0;
}

ssize_t weir__sim_stream_send(struct weir_sim_socket *sock, struct weir_sim_span *span)
{
	struct weir_sim_tube *out;
	size_t left = weir__sim_span_left(span);
	size_t room;
	int r = weir__sim_socket_error(sock);

	if (r < 0)
		return r;
	if (sock->state == SOCKET_NEW || sock->state == SOCKET_LISTENS)
		return sock->family == AF_UNIX ? -ENOTCONN : -EPIPE;
	if (sock->state == SOCKET_OVER ||
	    (sock->shut_write && !weir__rule_is_broken(WEIR_RULE_SHUT_SEND)))
		return -EPIPE;
	if (sock->state == SOCKET_CONNECTING)
		return -EAGAIN;
	if (!left)
		return 0;
	room = weir__sim_stream_room(sock);
	if (!room)
		return -EAGAIN;
	out = &sock->stream->way[sock->side];
	left = weir__sim_bytes_put(sock->stream->net, &out->bytes, span,
				   left < room ? left : room);
	if (!left)
		return -ENOBUFS;
	out->written += left;
	weir__sim_tube_push(out);
	return (ssize_t)left;
}
