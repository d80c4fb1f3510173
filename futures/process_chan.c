/* SPDX-License-Identifier: MIT */
/*
 * process_chan.c - channels between processes: the ring of core/shm_ring.h, waited for on worker's
 * rings.
 *
 * Who waits polls the bell of its side by an operation, which stays in flight from one wait to
 * the next, and has another one on the peer's pidfd. A peer that attaches later writes that
 * bell, so whoever waits wakes up and looks who it is. It may be killed before it does: so while
 * there is nobody whose death would be told, a look every LOOK_NS is taken.
 */
#include "futures/process_chan.h"

#include <poll.h>

#include "core/alloc.h"
#include "core/coro.h"
#include "core/waiters.h"
#include "core/worker.h"
#include "core/world.h"
#include "ring/ring.h"

#define CAPACITY 64
#define LOOK_NS (100 * WEIR_MS)

enum { MEMORY, SENDERS_BELL, RECEIVERS_BELL };	/* fds */

struct weir_process_chan {
	struct weir__shm_ring ring;
	struct weir_worker *home;
	int fds[WEIR_PROCESS_CHAN_FDS];
	size_t size;
	struct weir_waiters line;	/* who waits: one at most */
	bool busy;			/* a coroutine is inside */
	struct weir_op event, death;	/* poll our bell, and the peer's pidfd */
	int pidfd;			/* of whom death watches; -1: of nobody */
	uint32_t watched;		/* generation of the peer that pidfd is of */
	bool peer_is_dead;
	bool is_deaf;			/* somebody has shut our bell down */
	uint64_t wakes, sleeps;
};

int weir_process_chan_create(const struct weir_process_chan_opts *opts,
			     int ret_fds[WEIR_PROCESS_CHAN_FDS])
{
	uint64_t capacity = 1, wanted = opts->capacity ? opts->capacity : CAPACITY;
	int fds[WEIR_PROCESS_CHAN_FDS];
	void *memory;
	size_t size;
	int r;

	while (capacity < wanted)
		capacity *= 2;
	if (!opts->item_size ||
	    capacity > (WEIR_PROCESS_CHAN_SIZE_MAX - sizeof(struct weir__shm_header)) /
			       opts->item_size)
		return -EINVAL;
	if (weir__world)
		return -ENOSYS;
	size = weir__shm_size(opts->item_size, (uint32_t)capacity);
	r = weir__process_chan_open(size, fds);
	if (r < 0)
		return r;
	r = weir__process_chan_map(fds[MEMORY], &memory, &size);
	if (r < 0) {
		weir__process_chan_close_fds(fds);
		return r;
	}
	weir__shm_format(memory, opts->item_size, (uint32_t)capacity);
	weir__process_chan_unmap(memory, size);
	memcpy(ret_fds, fds, sizeof(fds));
	return 0;
}

/* --- waking and being woken --- */

static int bell(const struct weir_process_chan *chan)
{
	return chan->fds[chan->ring.side == WEIR__SHM_SENDER ? SENDERS_BELL : RECEIVERS_BELL];
}

/* At once, and by a system call: an operation of the ring would be carried out by a thread. */
static void wake_peer(struct weir_process_chan *chan)
{
	chan->wakes++;
	weir__process_chan_ring(bell(chan));
}

static void told(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_process_chan *chan = weir_container_of(op, struct weir_process_chan, event);

	(void)res;
	(void)flags;
	chan->is_deaf |= !weir__process_chan_quiet(bell(chan));
	weir__waiters_wake_all(&chan->line, 0);
}

static void died(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_process_chan *chan = weir_container_of(op, struct weir_process_chan, death);

	(void)flags;
	weir__process_close(chan->pidfd);
	chan->pidfd = -1;
	if (res > 0)
		chan->peer_is_dead = true;
	weir__waiters_wake_all(&chan->line, 0);
}

/* An operation that stays: from the purse for such. */
static int submit(struct weir_process_chan *chan, struct weir_op *op)
{
	struct weir_ring *ring = chan->home->ring;
	struct io_uring_sqe *sqe = weir__op_sqe(ring, WEIR_ARMED);

	if (!sqe)
		return -ENOBUFS;
	io_uring_prep_poll_add(sqe, op == &chan->event ? bell(chan) : chan->pidfd, POLLIN);
	weir__op_go(ring, op, sqe, WEIR_ARMED);
	return 0;
}

/* The peer is another one than before: watches it. */
static int watch_peer(struct weir_process_chan *chan)
{
	uint32_t generation = __atomic_load_n(&chan->ring.peer->generation, __ATOMIC_SEQ_CST);
	uint32_t pid = __atomic_load_n(&chan->ring.peer->pid, __ATOMIC_SEQ_CST);
	int r;

	if (!pid || generation == chan->watched)
		return 0;
	if (weir_op_is_inflight(&chan->death)) {
		weir_op_cancel(&chan->death);	/* died() wakes us: then again */
		return 0;
	}
	chan->watched = generation;
	chan->peer_is_dead = false;
	r = weir__process_open(pid);
	if (r < 0) {
		chan->peer_is_dead = r == -ESRCH || r == -EINVAL;
		return chan->peer_is_dead ? 0 : r;
	}
	chan->pidfd = r;
	r = submit(chan, &chan->death);
	if (r < 0) {
		weir__process_close(chan->pidfd);
		chan->pidfd = -1;
		chan->watched = 0;
	}
	return r;
}

static bool peer_is_gone(const struct weir_process_chan *chan)
{
	return __atomic_load_n(&chan->ring.peer->closed, __ATOMIC_SEQ_CST) || chan->peer_is_dead;
}

/* Until the peer has moved something, or is gone; perhaps earlier. */
static int sleep_until(struct weir_process_chan *chan, int64_t deadline_ns)
{
	struct weir_waiter waiter = { 0 };
	int r = chan->is_deaf ? -EPROTO : watch_peer(chan);
	bool looks;

	if (!r && !weir_op_is_inflight(&chan->event))
		r = submit(chan, &chan->event);
	if (r < 0)
		return r;
	weir__shm_lie_down(&chan->ring);
	if (weir__shm_ready(&chan->ring, 1) || peer_is_gone(chan)) {
		weir__shm_rise(&chan->ring);
		return 0;
	}
	chan->sleeps++;
	looks = chan->pidfd < 0 && weir_in(LOOK_NS) < deadline_ns;
	r = weir__waiters_wait(&chan->line, &waiter, "process channel",
			       looks ? weir_in(LOOK_NS) : deadline_ns);
	weir__shm_rise(&chan->ring);
	return looks && r == -ETIMEDOUT && weir_coro_deadline() > weir_now() ? 0 : r;
}

/* --- items --- */

static int check(const struct weir_process_chan *chan, enum weir__shm_side side)
{
	if (chan->home != weir__self)
		return -EPROTO;
	if (chan->ring.side != side)
		return -EINVAL;
	if (chan->busy)
		return -EBUSY;
	if (weir__shm_is_replaced(&chan->ring) || chan->ring.own->closed)
		return -EPIPE;
	return 0;
}

/* How many of count can be moved now; waits until it is one. */
static int64_t await_ready(struct weir_process_chan *chan, unsigned count, int64_t deadline_ns)
{
	for (;;) {
		/* First whether it is gone: what it had sent before is seen then. */
		bool is_gone = peer_is_gone(chan);
		int64_t n = weir__shm_ready(&chan->ring, count);
		int r;

		if (weir__shm_is_replaced(&chan->ring))
			return -EPIPE;
		if (n < 0)
			return n;
		if (is_gone && (chan->ring.side == WEIR__SHM_SENDER || !n))
			return -EPIPE;
		if (n)
			return n < count ? n : count;
		r = sleep_until(chan, deadline_ns);
		if (r < 0)
			return r;
	}
}

static void move(struct weir_process_chan *chan, char *buf, uint32_t count)
{
	weir__shm_move(&chan->ring, buf, count);
	if (weir__shm_publish(&chan->ring))
		wake_peer(chan);
}

ssize_t weir_process_chan_send_n(struct weir_process_chan *chan, const void *items, unsigned count,
				 int64_t deadline_ns)
{
	char *from = (char *)(uintptr_t)items;
	int64_t n = check(chan, WEIR__SHM_SENDER);
	unsigned done = 0;

	if (n < 0)
		return n;
	chan->busy = true;
	while (done < count) {
		n = await_ready(chan, count - done, deadline_ns);
		if (n < 0)
			break;
		move(chan, from + (size_t)done * chan->ring.item_size, (uint32_t)n);
		done += (unsigned)n;
	}
	chan->busy = false;
	return done ? (ssize_t)done : (ssize_t)n;
}

int weir_process_chan_send(struct weir_process_chan *chan, const void *item, int64_t deadline_ns)
{
	ssize_t n = weir_process_chan_send_n(chan, item, 1, deadline_ns);

	return n < 0 ? (int)n : 0;
}

ssize_t weir_process_chan_receive_n(struct weir_process_chan *chan, void *items, unsigned count,
				    int64_t deadline_ns)
{
	int64_t n = check(chan, WEIR__SHM_RECEIVER);

	if (n < 0 || !count)
		return n;
	chan->busy = true;
	n = await_ready(chan, count, deadline_ns);
	if (n > 0)
		move(chan, items, (uint32_t)n);
	chan->busy = false;
	return n;
}

int weir_process_chan_receive(struct weir_process_chan *chan, void *item, int64_t deadline_ns)
{
	ssize_t n = weir_process_chan_receive_n(chan, item, 1, deadline_ns);

	return n < 0 ? (int)n : 0;
}

/* --- life --- */

/* Whoever had the seat has left it, or is no more. */
static bool is_free(const struct weir__shm_seat *seat)
{
	return !seat->pid || seat->closed || !weir__process_is_alive(seat->pid);
}

static int take_seat(struct weir_process_chan *chan, const int *fds, enum weir__shm_side side)
{
	void *memory;
	int r = weir__process_chan_map(fds[MEMORY], &memory, &chan->size);

	if (r < 0)
		return r;
	if (chan->size < sizeof(struct weir__shm_header))
		r = -EPROTO;
	else if (!is_free(&((struct weir__shm_header *)memory)->seats[side]))
		r = -EBUSY;
	else
		r = weir__shm_attach(&chan->ring, memory, chan->size, side, weir__process_self());
	if (r < 0)
		weir__process_chan_unmap(memory, chan->size);
	return r;
}

int weir_process_chan_attach(const int fds[WEIR_PROCESS_CHAN_FDS],
			     enum weir_process_chan_side side, struct weir_process_chan **ret_chan)
{
	struct weir_process_chan *chan;
	int r;

	if (side != WEIR_SENDS && side != WEIR_RECEIVES)
		return -EINVAL;
	if (!weir__self || !weir__self->ring)
		return -EDEADLK;
	if (weir__world)
		return -ENOSYS;
	chan = weir__calloc(1, sizeof(*chan));
	if (!chan)
		return -ENOMEM;
	r = take_seat(chan, fds,
		      side == WEIR_SENDS ? WEIR__SHM_SENDER : WEIR__SHM_RECEIVER);
	if (r < 0) {
		weir__free(chan, sizeof(*chan));
		return r;
	}
	memcpy(chan->fds, fds, sizeof(chan->fds));
	chan->home = weir__self;
	chan->pidfd = -1;
	weir__waiters_init(&chan->line);
	weir_op_init(&chan->event, told, "process channel");
	weir_op_init(&chan->death, died, "process channel peer");
	wake_peer(chan);	/* it may wait for us */
	*ret_chan = chan;
	return 0;
}

int weir_process_chan_close(struct weir_process_chan *chan)
{
	if (chan->home != weir__self)
		return -EPROTO;
	if (weir__shm_is_replaced(&chan->ring) ||
	    __atomic_exchange_n(&chan->ring.own->closed, 1, __ATOMIC_SEQ_CST))
		return 0;
	wake_peer(chan);
	return 0;
}

/* Waits for the operations: the kernel writes into chan. */
static void retire(struct weir_process_chan *chan)
{
	struct weir_op *const ops[] = { &chan->event, &chan->death };
	unsigned i;

	weir_coro_shield();
	for (i = 0; i < 2; i++)
		if (weir_op_is_inflight(ops[i]))
			weir_op_cancel(ops[i]);
	while (weir_op_is_inflight(&chan->event) || weir_op_is_inflight(&chan->death)) {
		struct weir_waiter waiter = { 0 };

		weir__waiters_wait(&chan->line, &waiter, "process channel", WEIR_NEVER);
	}
	weir_coro_unshield();
}

int weir_process_chan_destroy(struct weir_process_chan *chan)
{
	if (!chan)
		return 0;
	if (chan->home != weir__self)
		return -EPROTO;
	if (!weir_coro_self())
		return -EDEADLK;
	if (chan->busy)
		return -EBUSY;
	weir_process_chan_close(chan);
	retire(chan);
	weir__process_chan_unmap(chan->ring.header, chan->size);
	weir__process_chan_close_fds(chan->fds);
	weir__free(chan, sizeof(*chan));
	return 0;
}

int weir_process_chan_info(const struct weir_process_chan *chan,
			   struct weir_process_chan_info *ret_info)
{
	const struct weir__shm_ring *ring = &chan->ring;
	uint32_t other = __atomic_load_n(&ring->peer->index, __ATOMIC_RELAXED);

	if (chan->home != weir__self)
		return -EPROTO;
	*ret_info = (struct weir_process_chan_info){
		.item_size = ring->item_size,
		.capacity = ring->capacity,
		.count = ring->side == WEIR__SHM_SENDER ? ring->index - other : other - ring->index,
		.generation = ring->generation,
		.peer_pid = __atomic_load_n(&ring->peer->pid, __ATOMIC_RELAXED),
		.peer_is_gone = peer_is_gone(chan),
		.wakes = chan->wakes,
		.sleeps = chan->sleeps,
	};
	return 0;
}
