/* SPDX-License-Identifier: MIT */
/*
 * kernel_poll.c - the poll kernel behind the seam: the life of its rings, and their enter.
 *
 * An enter submits (what does not wait is done at once), and looks at epoll once: without waiting
 * when there are completions already, until the deadline when not. The look is left out
 * when something was completed without it and the enter before had one: what a loop by hand does
 * in two steps (wait, then receive and send) are two enters here.
 *
 * The control plane is that of the Linux kernel (kernel_uring.c).
 */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "ring/poll/parts.h"

/*
 * What one enter may post besides the results of what it submits, as the kernel bounds it (20 items
 * of deferred work): ring.c counts on it, and so do those who lend buffers.
 */
#define RESULTS_MAX 33		/* of one item: a multishot's */
#define BURST (20 * RESULTS_MAX)

static inline struct weir_poll_ring *ring_of(const struct io_uring *uring)
{
	return uring->sq.ring_ptr;
}

/* --- what the soft ring asks for --- */

static int op_cancel(struct weir_soft_req *req)
{
	struct weir_poll_req *p = weir__poll_req(req);

	if (p->handed_over && weir__poll_take_back(p) < 0)
		return -EALREADY;
	if (weir__node_is_linked(&p->wait))
		weir__node_remove(&p->wait);
	weir__poll_connect_end(p);
	if (p->other)
		weir__poll_file_put(p->other);
	p->other = NULL;
	return 0;
}

static int op_file_get(struct weir_soft *soft, int fd, void **ret_file)
{
	*ret_file = fd < 0 ? NULL : weir__poll_file_create((void *)soft, fd, false);
	if (*ret_file)
		return 0;
	return fd < 0 ? -EBADF : -ENOMEM;
}

static int op_file_keep(void *file)
{
	return weir__poll_file_own(file);
}

/*
 * Each plain descriptor has a file of its own here, waiting ones a duplicate: the kernel tells
 * whether both are one open file. Where it may not be asked, one device and one inode are.
 */
static bool op_file_same(const void *a, const void *b)
{
	const struct weir_poll_file *one = a, *other = b;
	struct stat st, other_st;
	long r;

	if (one == other)
		return true;
	r = syscall(__NR_kcmp, getpid(), getpid(), KCMP_FILE, one->fd, other->fd);
	if (r >= 0)
		return !r;
	return !fstat(one->fd, &st) && !fstat(other->fd, &other_st) &&
	       st.st_dev == other_st.st_dev && st.st_ino == other_st.st_ino;
}

static int op_fd_install(struct weir_soft *soft, void *arg)
{
	struct weir_poll_file *file = arg;

	(void)soft;
	file->shared = true;
	return weir__poll_result(fcntl(file->fd, F_DUPFD_CLOEXEC, 0));
}

static int64_t op_now(struct weir_soft *soft, int clock)
{
	struct timespec ts;

	(void)soft;
	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * WEIR_S + ts.tv_nsec;
}

static const struct weir_soft_ops soft_ops = {
	.req_size = sizeof(struct weir_poll_req),
	.issue = weir__poll_issue,
	.cancel = op_cancel,
	.file_get = op_file_get,
	.file_keep = op_file_keep,
	.file_ref = weir__poll_file_ref,
	.file_put = weir__poll_file_put,
	.file_same = op_file_same,
	.fd_install = op_fd_install,
	.message = weir__poll_message,
	.now = op_now,
};

static struct weir_soft_profile profile = {
	.name = "poll",
	.setup_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN |
		       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
		       IORING_SETUP_R_DISABLED | IORING_SETUP_NO_SQARRAY,
	.features = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RW_CUR_POS |
		    IORING_FEAT_FAST_POLL | IORING_FEAT_POLL_32BITS | IORING_FEAT_EXT_ARG |
		    IORING_FEAT_CQE_SKIP | IORING_FEAT_LINKED_FILE | IORING_FEAT_MIN_TIMEOUT,
	.enter_flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG |
		       IORING_ENTER_REGISTERED_RING | IORING_ENTER_ABS_TIMER,
	.ops_end = IORING_OP_LAST,
	.registers_end = 64,
};

/* --- life --- */

static int open_ring(struct weir_poll_ring *ring)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	ring->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (ring->epoll < 0)
		return -errno;
	ring->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->event < 0)
		return -errno;
	if (epoll_ctl(ring->epoll, EPOLL_CTL_ADD, ring->event, &event))
		return -errno;
	return weir__poll_address_add(ring);
}

static void close_ring(struct weir_poll_ring *ring)
{
	if (ring->event >= 0)
		close(ring->event);
	if (ring->epoll >= 0)
		close(ring->epoll);
}

static int poll_setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
		      struct io_uring_params *params)
{
	struct weir_poll_ring *ring = weir__calloc(1, sizeof(*ring));
	int r;

	(void)kernel;
	if (!ring)
		return -ENOMEM;
	ring->epoll = ring->event = -1;
	ring->soft.ops = &soft_ops;
	ring->soft.profile = &profile;
	weir__list_init(&ring->retries);
	weir__list_init(&ring->done);
	r = weir__soft_setup(&ring->soft, entries, uring, params);
	if (r < 0) {
		weir__free(ring, sizeof(*ring));
		return r;
	}
	r = open_ring(ring);
	if (r < 0) {
		weir__soft_teardown(&ring->soft);
		close_ring(ring);
		weir__free(ring, sizeof(*ring));
		return r;
	}
	pthread_mutex_init(&ring->lock, NULL);
	weir__poll_pool_init(&ring->pool);
	uring->ring_fd = uring->enter_ring_fd = ring->epoll;
	uring->sq.ring_ptr = ring;
	return 0;
}

static void poll_teardown(struct weir_kernel *kernel, struct io_uring *uring)
{
	struct weir_poll_ring *ring = ring_of(uring);

	(void)kernel;
	weir__poll_address_remove(ring);
	weir__poll_pool_fini(&ring->pool);
	weir__poll_collect(ring);
	weir__soft_teardown(&ring->soft);
	weir__poll_files_fini(ring);
	close_ring(ring);
	pthread_mutex_destroy(&ring->lock);
	weir__free(ring, sizeof(*ring));
}

/* --- enter --- */

/* Until end CQEs were ever posted. At least one item, if there is one and end is BURST away. */
static void run(struct weir_poll_ring *ring, uint64_t end)
{
	struct weir_soft *soft = &ring->soft;

	weir__poll_collect(ring);
	weir__soft_expire(soft);
	while (soft->work_count && soft->posted < end) {
		uint64_t room = soft->cq_entries - weir__soft_cq_ready(soft);

		if (room > end - soft->posted)
			room = end - soft->posted;
		if (room < RESULTS_MAX && end - soft->posted != BURST)
			return;
		weir__soft_run(soft, room < RESULTS_MAX ? 1 : (unsigned)(room / RESULTS_MAX));
	}
}

static int64_t deadline(struct weir_poll_ring *ring, unsigned flags, const void *arg)
{
	const struct io_uring_getevents_arg *events = arg;
	const struct __kernel_timespec *ts;
	int64_t ns;

	if (!(flags & IORING_ENTER_EXT_ARG) || !events->ts)
		return WEIR_NEVER;
	ts = (const void *)(uintptr_t)events->ts;
	ns = ts->tv_sec * WEIR_S + ts->tv_nsec;
	return flags & IORING_ENTER_ABS_TIMER ? ns
					      : ns + soft_ops.now(&ring->soft, CLOCK_MONOTONIC);
}

static int wait_for(struct weir_poll_ring *ring, unsigned wait, int64_t until_ns, uint64_t end)
{
	struct weir_soft *soft = &ring->soft;
	int r;

	for (;; end = soft->posted + BURST) {
		bool enough = weir__soft_cq_ready(soft) >= wait;

		if (enough || soft->work_count)
			r = weir__poll_look(ring, 0);
		else
			r = weir__poll_look(ring, until_ns);
		run(ring, end);
		if (enough || weir__soft_cq_ready(soft) >= wait)
			return 0;
		if (r < 0)
			return r;
		if (until_ns != WEIR_NEVER && !soft->work_count &&
		    soft_ops.now(soft, CLOCK_MONOTONIC) >= until_ns)
			return weir__soft_cq_ready(soft) ? 0 : -ETIME;
	}
}

static int poll_enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
		      unsigned wait, unsigned flags, const void *arg, size_t size)
{
	struct weir_poll_ring *ring = ring_of(uring);
	struct weir_soft *soft = &ring->soft;
	int r = weir__soft_check_enter(soft, flags);
	unsigned taken;
	uint64_t end;

	(void)kernel;
	if (r < 0)
		return r;
	if ((flags & IORING_ENTER_EXT_ARG) && size != sizeof(struct io_uring_getevents_arg))
		return -EINVAL;
	taken = weir__soft_submit(soft, submit);
	if (submit && !taken)
		return weir__soft_sq_is_empty(soft) ? 0 : -EAGAIN;
	if (!(flags & IORING_ENTER_GETEVENTS) || taken < submit)
		return (int)taken;
	weir__soft_flush(soft);
	end = soft->posted + BURST;
	run(ring, end);
	if (ring->fresh && weir__soft_cq_ready(soft) >= wait) {
		ring->fresh = false;
		return (int)taken;
	}
	r = wait_for(ring, wait, wait ? deadline(ring, flags, arg) : 0, end);
	ring->fresh = true;
	return taken ? (int)taken : r;
}

/* --- the rest --- */

static bool poll_look(struct weir_kernel *kernel, struct io_uring *uring)
{
	struct weir_poll_ring *ring = ring_of(uring);

	(void)kernel;
	if (weir__soft_is_disabled(&ring->soft))
		return false;
	weir__poll_look(ring, 0);
	ring->fresh = true;
	return ring->soft.work_count || __atomic_load_n(&ring->has_mail, __ATOMIC_RELAXED);
}

static int poll_register(struct weir_kernel *kernel, struct io_uring *uring, unsigned opcode,
			 const void *arg, unsigned count)
{
	(void)kernel;
	return weir__soft_register(&ring_of(uring)->soft, opcode, arg, count);
}

static int poll_notify(struct weir_kernel *kernel, struct io_uring *uring, uint64_t user_data)
{
	struct weir_poll_letter letter = { .user_data = user_data };

	(void)kernel;
	return weir__poll_write(ring_of(uring), letter);
}

static struct weir_kernel_ops poll_ops;
static pthread_once_t poll_once = PTHREAD_ONCE_INIT;

static void init(void)
{
	poll_ops = weir__uring_ops;
	poll_ops.name = "poll";
	poll_ops.ring_setup = poll_setup;
	poll_ops.ring_enter = poll_enter;
	poll_ops.ring_look = poll_look;
	poll_ops.ring_register = poll_register;
	poll_ops.ring_teardown = poll_teardown;
	poll_ops.notify = poll_notify;
	for (unsigned opcode = 0; opcode < IORING_OP_LAST; opcode++)
		if (!weir__poll_knows(opcode))
			profile.ops_refused[opcode / 64] |= 1ULL << opcode % 64;
}

struct weir_kernel *weir__kernel_poll(void)
{
	static struct weir_kernel kernel = { .ops = &poll_ops };

	pthread_once(&poll_once, init);
	return &kernel;
}
