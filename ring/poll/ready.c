/* SPDX-License-Identifier: MIT */
/*
 * ready.c - files, and waiting until something can be done with them.
 *
 * A file is added to epoll once, edge-triggered, when the first operation on it would have
 * to wait; output is watched from the first send that found no room. From then on no system call
 * is spent on arming. That is safe because an operation waits only after it was tried and
 * refused: whatever changes afterwards is an edge, and epoll_ctl looks once more itself.
 */
#include "ring/poll/parts.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/alloc.h"

#define CHUNK_FILES 64
#define RETRY_NS (2 * WEIR_MS)

struct weir_poll_chunk {
	struct weir_poll_chunk *next;
	struct weir_poll_file files[CHUNK_FILES];
};

/* --- files --- */

/* Never given back before the ring ends: an event for a file that is gone finds memory. */
static bool grow(struct weir_poll_ring *ring)
{
	struct weir_poll_chunk *chunk = weir__calloc(1, sizeof(*chunk));

	if (!chunk)
		return false;
	chunk->next = ring->chunks;
	ring->chunks = chunk;
	for (unsigned i = CHUNK_FILES; i-- > 0;) {
		chunk->files[i].next = ring->free_files;
		ring->free_files = &chunk->files[i];
	}
	return true;
}

struct weir_poll_file *weir__poll_file_create(struct weir_poll_ring *ring, int fd, bool owned)
{
	struct weir_poll_file *file;

	if (weir_unlikely(!ring->free_files) && !grow(ring))
		return NULL;
	file = ring->free_files;
	ring->free_files = file->next;
	*file = (struct weir_poll_file){ .ring = ring, .fd = fd, .refs = 1, .owned = owned };
	weir__list_init(&file->waiting);
	return file;
}

void weir__poll_file_ref(void *arg)
{
	struct weir_poll_file *file = arg;

	file->refs++;
}

/*
 * Closing the last descriptor of an open file ends its watch. Where another descriptor may
 * live on it has to be ended by hand. Should one live on that we do not know of (a child without
 * exec has it), an event will find this memory: it is ignored, or makes its next owner try in vain.
 */
void weir__poll_file_put(void *arg)
{
	struct weir_poll_file *file = arg;
	struct weir_poll_ring *ring = file->ring;

	if (--file->refs)
		return;
	weir_assert(weir__list_is_empty(&file->waiting));
	if (file->watched && file->shared)
		epoll_ctl(ring->epoll, EPOLL_CTL_DEL, file->fd, NULL);
	if (file->owned)
		close(file->fd);
	file->next = ring->free_files;
	ring->free_files = file;
}

int weir__poll_file_own(struct weir_poll_file *file)
{
	int fd;

	if (file->owned)
		return 0;
	fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	file->fd = fd;
	file->owned = true;
	file->shared = true;
	return 0;
}

void weir__poll_files_fini(struct weir_poll_ring *ring)
{
	struct weir_poll_chunk *chunk;

	while ((chunk = ring->chunks)) {
		ring->chunks = chunk->next;
		weir__free(chunk, sizeof(*chunk));
	}
	ring->free_files = NULL;
}

/* --- waiting for a better time --- */

int weir__poll_retry(struct weir_poll_req *p)
{
	struct weir_poll_ring *ring = weir__poll_ring(&p->req);

	if (weir__list_is_empty(&ring->retries))
		ring->retry_ns = ring->soft.ops->now(&ring->soft, CLOCK_MONOTONIC) + RETRY_NS;
	weir__list_push(&ring->retries, &p->wait);
	return WEIR_SOFT_LATER;
}

static void retry_all(struct weir_poll_ring *ring)
{
	struct weir_node *node;

	while ((node = weir__list_pop(&ring->retries)))
		weir__soft_ready(&weir_container_of(node, struct weir_poll_req, wait)->req);
}

/* --- waiting for an event --- */

static int watch(struct weir_poll_file *file, uint32_t events)
{
	int how = file->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	struct epoll_event event = { .data.ptr = file };
	int r;

	events |= file->watched | EPOLLRDHUP;
	if (events == file->watched)
		return 0;
	r = weir__poll_file_own(file);
	if (r == -EMFILE || r == -ENFILE)
		file->shared = true;	/* no descriptor is left: the caller's, then */
	else if (r < 0)
		return r;
	event.events = events | EPOLLET;
	if (epoll_ctl(file->ring->epoll, how, file->fd, &event))
		return -errno;
	file->watched = events;
	return 0;
}

int weir__poll_arm_on(struct weir_poll_req *p, struct weir_poll_file *file, uint32_t events)
{
	int r = watch(file, events);

	/* Two wait for a descriptor that could not be duplicated: the second goes by time. */
	if (weir_unlikely(r == -EEXIST))
		return weir__poll_retry(p);
	if (weir_unlikely(r < 0))
		return r;
	p->events = events | EPOLLERR | EPOLLHUP;
	if (events & EPOLLIN)
		p->events |= EPOLLRDHUP;
	weir__list_push(&file->waiting, &p->wait);
	return WEIR_SOFT_LATER;
}

static void mark(struct weir_poll_file *file, uint32_t events)
{
	struct weir_node *next;

	if (weir_unlikely(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		file->ended = true;
	for (struct weir_node *node = file->waiting.next; node != &file->waiting; node = next) {
		struct weir_poll_req *p = weir_container_of(node, struct weir_poll_req, wait);

		next = node->next;
		if (!(p->events & events))
			continue;
		weir__node_remove(&p->wait);
		weir__soft_ready(&p->req);
	}
}

/* --- epoll --- */

/* No later than a retry, or a timeout of the soft ring. */
static int64_t bounded(const struct weir_poll_ring *ring, int64_t until_ns)
{
	int64_t next_ns = weir__soft_next_timeout(&ring->soft);

	if (!weir__list_is_empty(&ring->retries) && ring->retry_ns < next_ns)
		next_ns = ring->retry_ns;
	return until_ns < next_ns ? until_ns : next_ns;
}

static int wait_events(struct weir_poll_ring *ring, int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / WEIR_S, .tv_nsec = ns % WEIR_S };

	if (ns <= 0)
		return weir__poll_result(
			epoll_wait(ring->epoll, ring->events, WEIR_POLL_EVENTS, 0));
	if (!ring->no_pwait2) {
		long r = syscall(__NR_epoll_pwait2, ring->epoll, ring->events, WEIR_POLL_EVENTS,
				 &ts, NULL, 0);

		if (r >= 0 || errno == EINTR)
			return weir__poll_result(r);
		ring->no_pwait2 = true;		/* before 5.11, or a filter does not know it */
	}
	ns = ns > 1000 * WEIR_S ? 1000 * WEIR_S : ns + WEIR_MS - 1;
	return weir__poll_result(
		epoll_wait(ring->epoll, ring->events, WEIR_POLL_EVENTS, (int)(ns / WEIR_MS)));
}

/* Announces the sleep; whoever leaves mail after it sees the announcement (mail.c). */
static int sleep_until(struct weir_poll_ring *ring, int64_t until_ns)
{
	int64_t now_ns = 0;
	int r;

	__atomic_store_n(&ring->sleeping, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ring->has_mail, __ATOMIC_SEQ_CST))
		until_ns = 0;
	if (until_ns && until_ns != WEIR_NEVER)
		now_ns = ring->soft.ops->now(&ring->soft, CLOCK_MONOTONIC);
	if (until_ns == WEIR_NEVER)
		r = weir__poll_result(
			epoll_wait(ring->epoll, ring->events, WEIR_POLL_EVENTS, -1));
	else
		r = wait_events(ring, until_ns - now_ns);
	__atomic_store_n(&ring->sleeping, false, __ATOMIC_RELAXED);
	return r;
}

int weir__poll_look(struct weir_poll_ring *ring, int64_t until_ns)
{
	int count;

	if (until_ns)
		count = sleep_until(ring, bounded(ring, until_ns));
	else
		count = wait_events(ring, 0);
	for (int i = 0; i < count; i++) {
		struct weir_poll_file *file = ring->events[i].data.ptr;

		if (weir_likely(file && file->refs))	/* NULL: the eventfd */
			mark(file, ring->events[i].events);
	}
	if (weir_unlikely(!weir__list_is_empty(&ring->retries)) &&
	    ring->soft.ops->now(&ring->soft, CLOCK_MONOTONIC) >= ring->retry_ns)
		retry_all(ring);
	return count < 0 ? count : 0;
}
