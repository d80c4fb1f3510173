/* SPDX-License-Identifier: MIT */
/*
 * net.h - the simulated network as its parts see it.
 *
 *	net.c		links between hosts: latency, partitions, clogs; a host's interface
 *	net_addr.c	addresses, ports, who listens where
 *	net_bytes.c	bytes on their way
 *	net_socket.c	a socket's life: made, ready, closed
 *	net_hand.c	how a TCP connection begins
 *	net_stream.c	streams, TCP and AF_UNIX: segments, windows, FIN, RST
 *	net_dgram.c	datagrams, UDP and AF_UNIX
 *	net_unix.c	names of AF_UNIX
 *	net_recv.c, net_send.c, net_issue.c	what a ring asks of a socket
 *	net_opts.c, net_calls.c	the seam's calls
 *
 * A stream is two tubes. A tube holds what one end wrote and the other has not read:
 *
 *	read ......... arrived ......... sent ......... written
 *	  for the reader    on the wire     no window yet
 *
 * Bytes are copied once in and once out; a segment is a mark in the tube, with a time.
 */
#ifndef WEIR_RING_SIM_NET_H
#define WEIR_RING_SIM_NET_H

#include <netinet/in.h>
#include <poll.h>
#include <sys/un.h>

#include "ring/sim/sim.h"

struct weir_sim_net;
struct weir_sim_socket;
struct weir_sim_stream;

/* --- bytes --- */

#define WEIR_SIM_CHUNK 4080

struct weir_sim_chunk {
	struct weir_sim_chunk *next;
	char bytes[WEIR_SIM_CHUNK];
};

/* A queue of bytes. Empty: no chunk. */
struct weir_sim_bytes {
	struct weir_sim_chunk *head, *tail;
	unsigned from;			/* in head */
	unsigned to;			/* in tail */
};

/* Where an operation's bytes are; done of them were moved. */
struct weir_sim_span {
	struct iovec iov[WEIR_SIM_IOVS];
	int count;
	size_t size, done;
};

static inline size_t weir__sim_span_left(const struct weir_sim_span *span)
{
	return span->size - span->done;
}

/* Appends the next size bytes of span. Returns how many: fewer without memory. */
size_t weir__sim_bytes_put(struct weir_sim_net *net, struct weir_sim_bytes *bytes,
			   struct weir_sim_span *span, size_t size);
/* Moves size bytes, which are there, to span; NULL: nowhere. */
void weir__sim_bytes_get(struct weir_sim_net *net, struct weir_sim_bytes *bytes,
			 struct weir_sim_span *span, size_t size);
/* The same, and they stay. */
void weir__sim_bytes_peek(const struct weir_sim_bytes *bytes, struct weir_sim_span *span,
			  size_t size);
void weir__sim_bytes_drop(struct weir_sim_net *net, struct weir_sim_bytes *bytes);

/* --- addresses --- */

enum weir_sim_place_kind {
	PLACE_NONE,	/* not bound */
	PLACE_ANY,	/* 0.0.0.0, :: */
	PLACE_LOOP,	/* 127.0.0.1, ::1 */
	PLACE_HOST,	/* 10.0.0.N, fd00::N */
	PLACE_FAR,	/* nobody's, but of this network */
	PLACE_OUT,	/* there is no route to it */
};

/* An address of the internet, or none. */
struct weir_sim_place {
	uint8_t kind;
	uint8_t host;		/* index, of PLACE_HOST and PLACE_LOOP */
	bool is_v6;		/* and not a v4 address in v6 clothes */
	uint16_t port;
};

static inline bool weir__sim_place_equal(const struct weir_sim_place *a,
					 const struct weir_sim_place *b)
{
	return a->kind == b->kind && a->host == b->host && a->is_v6 == b->is_v6 &&
	       a->port == b->port;
}

/* What sock says, for a socket of family on host. 0, -EINVAL, -EAFNOSUPPORT. */
int weir__sim_place_parse(const struct weir_sim_host *host, int family,
			  const struct sockaddr *sock, socklen_t size,
			  struct weir_sim_place *ret_place);
/* As getsockname(2): cut at *size, which becomes the whole size. */
void weir__sim_place_format(const struct weir_sim_place *place, int family,
			    struct sockaddr *ret_sock, socklen_t *size);
/* The host it leads to, seen from host; NULL: none. */
struct weir_sim_host *weir__sim_place_host(struct weir_sim_host *host,
					   const struct weir_sim_place *place);

/* Takes place for sock; port 0: any free one. 0, -EADDRINUSE, -EADDRNOTAVAIL. */
int weir__sim_port_bind(struct weir_sim_socket *sock, const struct weir_sim_place *place);
void weir__sim_port_free(struct weir_sim_socket *sock);
/* Whether sock, bound, may begin to listen. */
bool weir__sim_port_may_listen(const struct weir_sim_socket *sock);
/*
 * Who gets what comes to place on host from a peer: a listener (SOCK_STREAM), a bound socket
 * (SOCK_DGRAM), the best match; of a SO_REUSEPORT group one by the peer's address. NULL: nobody.
 */
struct weir_sim_socket *weir__sim_port_find(struct weir_sim_host *host, int type,
					    const struct weir_sim_place *place,
					    const struct weir_sim_place *peer);

/* --- the world's net --- */

#define WEIR_SIM_PORT_BUCKETS 256

/* The way from one host to another. */
struct weir_sim_link {
	int64_t latency_ns, jitter_ns;
	int64_t cut_until_ns;		/* by a fault */
	int64_t clog_until_ns;
	int64_t dgram_ns;		/* when the last datagram arrives */
	bool is_cut;			/* by the scenario */
};

struct weir_sim_net {
	struct weir_sim *sim;
	struct weir_sim_link links[WEIR_SIM_HOSTS][WEIR_SIM_HOSTS];
	struct weir_node streams;
	struct weir_node dgrams;		/* on their way */
	struct weir_sim_chunk *chunks;		/* free */
	struct weir_sim_stream *spare;		/* free, by next */
	struct weir_sim_socket *spare_sockets;	/* free, by spare */
	uint64_t serial;
};

struct weir_sim_nic {
	struct weir_node ports[2][WEIR_SIM_PORT_BUCKETS];	/* streams, datagrams */
	struct weir_node sockets;	/* all of the host */
	struct weir_node names;		/* AF_UNIX: those that have one */
	uint16_t next_port;		/* that port 0 tries */
	unsigned off_life;		/* the process that had the power cut */
	bool is_off;
};

bool weir__sim_nic_is_off(const struct weir_sim_host *host);
/* Whether what from sends to to is lost. */
bool weir__sim_net_is_cut(const struct weir_sim_host *from, const struct weir_sim_host *to);
/* How long a packet takes; also where partitions and clogs begin. */
int64_t weir__sim_net_latency(struct weir_sim_host *from, struct weir_sim_host *to);

/* --- streams --- */

#define WEIR_SIM_SEGMENTS 8
#define WEIR_SIM_BUFFER (128 << 10)	/* what a socket receives before it is read */

enum weir_sim_segment_end { SEGMENT_OPEN, SEGMENT_FIN, SEGMENT_RST };

struct weir_sim_segment {
	uint64_t upto;
	int64_t at_ns;
	uint8_t end;
};

struct weir_sim_tube {
	struct weir_sim_event deliver;	/* of the first segment */
	struct weir_sim_event retry;	/* something was lost */
	struct weir_sim_stream *stream;
	struct weir_sim_bytes bytes;
	uint64_t read, arrived, sent, written;
	uint64_t acked;			/* arrived as the writer knows it */
	struct weir_sim_segment segments[WEIR_SIM_SEGMENTS];
	unsigned first, count;
	int64_t last_ns;		/* when the last segment arrives */
	int64_t held_until_ns;		/* the fault WINDOW */
	int64_t drip_ns;		/* a byte at a time, that long apart */
	int64_t lost_ns;		/* since when nothing is acknowledged; 0: all is well */
	int64_t backoff_ns;
	uint8_t side;			/* the writer's */
	bool fin;			/* nothing more is written */
	bool fin_sent, fin_arrived;
	bool ended;			/* no more bytes will be sent */
	bool severed;			/* the reader was told a FIN that nobody sent */
};

enum weir_sim_hand {
	HAND_NONE,	/* established, or AF_UNIX */
	HAND_SYN,	/* SYN is on its way */
	HAND_RETRY,	/* it was lost */
	HAND_REFUSED,	/* the answer is no, and on its way */
	HAND_SYNACK,	/* SYN ACK is on its way back */
	HAND_ACK,	/* the client is connected, ACK is on its way */
	HAND_DEFER,	/* the listener wants data first */
};

struct weir_sim_stream {
	struct weir_node node;		/* of net->streams */
	struct weir_sim_net *net;
	struct weir_sim_stream *next;	/* when free */
	uint64_t number;
	struct weir_sim_host *host[2];	/* 0: the one who connected */
	struct weir_sim_socket *end[2];	/* NULL: closed, or not there yet */
	struct weir_sim_place place[2];
	struct weir_sim_tube way[2];	/* way[i] is written by end[i] */
	struct weir_sim_event hand;
	struct weir_sim_socket *listener;	/* where room is kept for it */
	uint8_t phase;
	uint8_t tries;
	int refusal;			/* what HAND_REFUSED means to the client */
	bool is_local;			/* AF_UNIX: no packets */
	bool is_silent;			/* the fault HALF_OPEN */
	bool over[2];			/* this side knows nothing of it any more */
};

/* Between client, whose end 0 becomes, and a host. NULL: no memory. */
struct weir_sim_stream *weir__sim_stream_create(struct weir_sim_socket *client,
						struct weir_sim_host *to);
/* Frees it when nobody and nothing on its way needs it. It may be gone. */
void weir__sim_stream_settle(struct weir_sim_stream *stream);
/* sock is side of stream. */
void weir__sim_stream_attach(struct weir_sim_stream *stream, unsigned side,
			     struct weir_sim_socket *sock);
/* sock leaves: FIN, or RST when reset; nothing when silent. stream may be gone. */
void weir__sim_stream_leave(struct weir_sim_socket *sock, bool reset, bool silent);
/* Sends what the window lets through. */
void weir__sim_tube_push(struct weir_sim_tube *tube);
/* Sends RST from side, behind what is on its way. */
void weir__sim_stream_reset(struct weir_sim_stream *stream, unsigned side);
/* The stream's end at sock is over with error. */
void weir__sim_stream_fail(struct weir_sim_socket *sock, int error);
/* At the end of the faults. stream may be gone. */
void weir__sim_stream_heal(struct weir_sim_stream *stream);
bool weir__sim_stream_is_cut(const struct weir_sim_stream *stream, unsigned from);

/* Bytes, 0 at the end, -EAGAIN, -errno. flags: MSG_PEEK, MSG_TRUNC. */
ssize_t weir__sim_stream_recv(struct weir_sim_socket *sock, struct weir_sim_span *span, int flags);
ssize_t weir__sim_stream_send(struct weir_sim_socket *sock, struct weir_sim_span *span);
/* Nothing more will be written. */
void weir__sim_stream_finish(struct weir_sim_socket *sock);
/* What may be written now. */
size_t weir__sim_stream_room(const struct weir_sim_socket *sock);
size_t weir__sim_stream_unread(const struct weir_sim_socket *sock);

/* net_hand.c: SYN. 0 or -EADDRNOTAVAIL ...; connected or failed later. */
int weir__sim_hand_begin(struct weir_sim_socket *sock, const struct weir_sim_place *to);
/* Data has come to a connection that waits for it. */
void weir__sim_hand_data(struct weir_sim_stream *stream);
/* The listener, or the client, is gone. */
void weir__sim_hand_forget(struct weir_sim_stream *stream);

/* --- datagrams --- */

struct weir_sim_dgram {
	struct weir_link link;
	struct weir_sim_event arrive;
	struct weir_sim_net *net;
	struct weir_sim_host *from, *to;
	struct weir_sim_place source, target;
	struct weir_node flight;	/* in net->dgrams */
	struct sockaddr_un path;	/* AF_UNIX: the sender's name */
	socklen_t path_size;
	size_t size;
	char data[];
};

/* --- sockets --- */

enum weir_sim_socket_state {
	SOCKET_NEW,		/* bound or not */
	SOCKET_LISTENS,
	SOCKET_CONNECTING,
	SOCKET_CONNECTED,	/* also a datagram socket with a peer */
	SOCKET_OVER,		/* it was connected */
};

struct weir_sim_socket {
	struct weir_sim_file file;	/* first */
	struct weir_node nic_node;
	struct weir_node port_node;	/* in nic->ports, or nic->names, when bound */
	struct weir_sim_socket *spare;
	int family, type;
	uint8_t state;
	bool shut_read, shut_write;
	bool reuse_addr, reuse_port, v6only, no_delay, keep_alive, linger;
	int linger_s, defer_s, user_timeout_ms, keep_idle_s;
	int error;			/* pending, positive */
	int send_size, recv_size;
	struct weir_sim_place local, remote;
	struct weir_sim_fiber *sleeper;	/* in the seam's connect */

	/* Listening. */
	struct weir_node backlog;	/* of sockets that nobody has accepted */
	unsigned backlog_count, backlog_kept, backlog_max;
	struct weir_node backlog_node;	/* in a backlog, or in pending */
	struct weir_sim_socket *listener;
	struct weir_node pending;	/* AF_UNIX: those who wait for room here */

	/* A stream. */
	struct weir_sim_stream *stream;
	unsigned side;

	/* Datagrams. */
	struct weir_queue dgrams;
	size_t dgrams_size;

	/* AF_UNIX. */
	struct sockaddr_un name;
	socklen_t name_size;		/* 0: it has none */
	struct sockaddr_un peer_name;	/* of a connected datagram socket */
	socklen_t peer_name_size;
};

extern const struct weir_sim_file_ops weir__sim_socket_ops;

static inline struct weir_sim_socket *weir__sim_socket_of(struct weir_sim_file *file)
{
	return weir_container_of(file, struct weir_sim_socket, file);
}

static inline struct weir_sim *weir__sim_socket_sim(const struct weir_sim_socket *sock)
{
	return sock->file.host->sim;
}

static inline bool weir__sim_is_stream(const struct weir_sim_socket *sock)
{
	return sock->type == SOCK_STREAM;
}

/* One reference: the caller's. NULL: no memory. */
struct weir_sim_socket *weir__sim_socket_create(struct weir_sim_host *host, int family, int type);
unsigned weir__sim_socket_poll(struct weir_sim_file *file);
/* Those who wait are told what poll() says now. */
void weir__sim_socket_wake(struct weir_sim_socket *sock);
/* weir__sim_wait(); what a stream is ready for by now is tried again at once. */
int weir__sim_socket_wait(struct weir_sim_socket *sock, struct weir_sim_req *req, unsigned mask);
/* The pending error, negative, which is then none any more; 0. */
int weir__sim_socket_error(struct weir_sim_socket *sock);
/* An accepted-to-be socket comes into listener's backlog. */
void weir__sim_backlog_add(struct weir_sim_socket *listener, struct weir_sim_socket *child);
bool weir__sim_backlog_is_full(const struct weir_sim_socket *listener);
struct weir_sim_socket *weir__sim_backlog_pop(struct weir_sim_socket *listener);
int weir__sim_socket_listen(struct weir_sim_socket *sock, int backlog);
int weir__sim_socket_bind(struct weir_sim_socket *sock, const struct sockaddr *addr,
			  socklen_t size);
/* 0, -EINPROGRESS: its poll() tells; AF_UNIX: -EAGAIN, the backlog is full. */
int weir__sim_socket_connect(struct weir_sim_socket *sock, const struct sockaddr *addr,
			     socklen_t size);
int weir__sim_socket_shutdown(struct weir_sim_socket *sock, int how);

/* As getpeername(2) of one that is connected. */
void weir__sim_socket_peer(const struct weir_sim_socket *sock, struct sockaddr *addr,
			   socklen_t *size);

/* net_unix.c */
int weir__sim_unix_bind(struct weir_sim_socket *sock, const struct sockaddr *addr, socklen_t size);
int weir__sim_unix_connect(struct weir_sim_socket *sock, const struct sockaddr *addr,
			   socklen_t size);
/* Who has that name on host. 0, -ECONNREFUSED, -ENOENT, -EINVAL, -EPROTOTYPE. */
int weir__sim_unix_find(struct weir_sim_socket *sock, const struct sockaddr *addr, socklen_t size,
			struct weir_sim_socket **ret_found);
/* listener has room again, or is gone. */
void weir__sim_unix_wake_pending(struct weir_sim_socket *listener);

/* net_dgram.c: to addr, or to the peer when NULL. */
ssize_t weir__sim_dgram_send(struct weir_sim_socket *sock, struct weir_sim_span *span,
			     const struct sockaddr *addr, socklen_t size);
/* msg: where the sender's name goes and MSG_TRUNC is told; may be NULL. */
ssize_t weir__sim_dgram_recv(struct weir_sim_socket *sock, struct weir_sim_span *span, int flags,
			     struct msghdr *msg);
int weir__sim_dgram_connect(struct weir_sim_socket *sock, const struct sockaddr *addr,
			    socklen_t size);
void weir__sim_dgram_drop_all(struct weir_sim_socket *sock);
/* Those on their way, when the world ends. */
void weir__sim_dgrams_destroy(struct weir_sim_net *net);

/* net_recv.c, net_send.c, net_issue.c: operations */
int weir__sim_issue_recv(struct weir_sim_socket *sock, struct weir_sim_req *req);
int weir__sim_issue_send(struct weir_sim_socket *sock, struct weir_sim_req *req);
int weir__sim_socket_issue(struct weir_sim_socket *sock, struct weir_sim_req *req);

/* net_opts.c: as setsockopt(2) and getsockopt(2). */
int weir__sim_socket_set(struct weir_sim_socket *sock, int level, int name, const void *value,
			 socklen_t size);
int weir__sim_socket_get(struct weir_sim_socket *sock, int level, int name, void *value,
			 socklen_t *size);

#endif
