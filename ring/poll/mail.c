/* SPDX-License-Identifier: MIT */
/*
 * mail.c - what other threads have for a ring: ring messages from other workers, notes
 * from threads without a ring, jobs that the pool's threads have finished.
 *
 *	sender					owner
 *	puts it into the mail			says that it sleeps
 *	has_mail = true				looks at has_mail
 *	was it asleep? then writes to event	epoll_wait
 *
 * Each stores before it looks, sequentially consistent, so at least one sees the other. The owner's
 * "asleep" is taken away by the first sender: a sleep costs one write, however much mail comes.
 * The eventfd is watched edge-triggered and never read.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ring/poll/parts.h"

/* --- delivering --- */

/* After the mail was put there; the lock is not held. */
static void wake(struct weir_poll_ring *ring)
{
	static const uint64_t one = 1;

	__atomic_store_n(&ring->has_mail, true, __ATOMIC_SEQ_CST);
	if (!__atomic_exchange_n(&ring->sleeping, false, __ATOMIC_SEQ_CST))
		return;
	if (write(ring->event, &one, sizeof(one)) < 0)
		weir_assert(errno == EAGAIN);	/* 2^64 wakes, none of them taken */
}

/* Of many that say the same, and that nobody has read, one is enough when all they do is wake. */
static bool is_repeated(const struct weir_poll_ring *ring, const struct weir_poll_letter *letter)
{
	const struct weir_poll_letter *last;

	if (letter->user_data || !ring->letter_count)
		return false;
	last = &ring->letters[ring->letter_count - 1];
	return !last->user_data && letter->res == last->res && letter->cflags == last->cflags;
}

int weir__poll_write(struct weir_poll_ring *ring, struct weir_poll_letter letter)
{
	int r = 0;

	if (weir__soft_is_disabled(&ring->soft))
		return -EBADFD;
	pthread_mutex_lock(&ring->lock);
	if (ring->letter_count == WEIR_POLL_LETTERS)
		r = -EOVERFLOW;
	else if (!is_repeated(ring, &letter))
		ring->letters[ring->letter_count++] = letter;
	pthread_mutex_unlock(&ring->lock);
	if (!r)
		wake(ring);
	return r;
}

void weir__poll_return(struct weir_poll_req *p)
{
	struct weir_poll_ring *ring = weir__poll_ring(&p->req);

	pthread_mutex_lock(&ring->lock);
	weir__list_push(&ring->done, &p->job);
	pthread_mutex_unlock(&ring->lock);
	wake(ring);
}

/* --- the owner --- */

/* The letters first: a thread never waits for the lock while completions are posted. */
static void deliver_letters(struct weir_poll_ring *ring)
{
	struct weir_poll_letter letters[WEIR_POLL_LETTERS];
	unsigned count;

	pthread_mutex_lock(&ring->lock);
	count = ring->letter_count;
	memcpy(letters, ring->letters, count * sizeof(letters[0]));
	ring->letter_count = 0;
	pthread_mutex_unlock(&ring->lock);
	for (unsigned i = 0; i < count; i++)
		weir__soft_deliver(&ring->soft, letters[i].user_data, letters[i].res,
				   letters[i].cflags);
}

static struct weir_poll_req *pop_done(struct weir_poll_ring *ring)
{
	struct weir_node *node;

	pthread_mutex_lock(&ring->lock);
	node = weir__list_pop(&ring->done);
	pthread_mutex_unlock(&ring->lock);
	return node ? weir_container_of(node, struct weir_poll_req, job) : NULL;
}

void weir__poll_collect(struct weir_poll_ring *ring)
{
	struct weir_poll_req *p;

	if (weir_likely(!__atomic_load_n(&ring->has_mail, __ATOMIC_RELAXED)))
		return;
	__atomic_store_n(&ring->has_mail, false, __ATOMIC_SEQ_CST);
	deliver_letters(ring);
	while ((p = pop_done(ring))) {
		int res = weir__poll_carried_out(p);

		if (res != WEIR_SOFT_LATER)
			weir__soft_finish(&p->req, res);
	}
}

/* --- addresses --- */

#define ADDRESSES 1024		/* rings of a process: one a core */

/* An fd is written last and taken away first: who finds it finds its ring. */
static struct {
	int fd;			/* atomic; 0: free */
	struct weir_poll_ring *ring;
} addresses[ADDRESSES];

static pthread_mutex_t addresses_lock = PTHREAD_MUTEX_INITIALIZER;

int weir__poll_address_add(struct weir_poll_ring *ring)
{
	int r = -ENOMEM;

	pthread_mutex_lock(&addresses_lock);
	for (unsigned i = 0; i < ADDRESSES && r < 0; i++) {
		if (addresses[i].fd)
			continue;
		__atomic_store_n(&addresses[i].ring, ring, __ATOMIC_RELAXED);
		__atomic_store_n(&addresses[i].fd, ring->epoll, __ATOMIC_RELEASE);
		r = 0;
	}
	pthread_mutex_unlock(&addresses_lock);
	return r;
}

void weir__poll_address_remove(struct weir_poll_ring *ring)
{
	pthread_mutex_lock(&addresses_lock);
	for (unsigned i = 0; i < ADDRESSES; i++)
		if (addresses[i].fd == ring->epoll)
			__atomic_store_n(&addresses[i].fd, 0, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&addresses_lock);
}

/* Its owner must be kept from ending it meanwhile, as weir_run() does. */
static struct weir_poll_ring *find(int fd)
{
	for (unsigned i = 0; fd > 0 && i < ADDRESSES; i++)
		if (__atomic_load_n(&addresses[i].fd, __ATOMIC_ACQUIRE) == fd)
			return __atomic_load_n(&addresses[i].ring, __ATOMIC_RELAXED);
	return NULL;
}

/* Data only, as weir sends it: descriptors are not passed on. */
int weir__poll_message(struct weir_soft_req *req)
{
	const struct io_uring_sqe *sqe = &req->sqe;
	struct weir_poll_ring *target = find(sqe->fd);
	struct weir_poll_letter letter = { .user_data = sqe->off, .res = (int)sqe->len };

	if (sqe->addr != IORING_MSG_DATA || (sqe->msg_ring_flags & ~IORING_MSG_RING_FLAGS_PASS))
		return -EINVAL;
	if (sqe->msg_ring_flags & IORING_MSG_RING_FLAGS_PASS)
		letter.cflags = (uint32_t)sqe->file_index;
	if (!target)
		return fcntl(sqe->fd, F_GETFD) < 0 ? -EBADF : -EBADFD;
	if (target != weir__poll_ring(req))
		return weir__poll_write(target, letter);
	weir__soft_deliver(req->soft, letter.user_data, letter.res, letter.cflags);
	return 0;
}
