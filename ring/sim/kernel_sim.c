/* SPDX-License-Identifier: MIT */
/*
 * kernel_sim.c - the simulated kernel behind the seam: rings that are soft rings, an enter
 * that sleeps in virtual time, clocks; sockets are the network's and files the disk's.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ring/sim/world.h"

#define ENTER_NS 500		/* what a turn takes at least: time never stands still */
#define WORK_LEAST 20		/* items of work in an enter, as the kernel has it */
#define RUN_ALL 1000000
#define PAUSE_NS_MAX (30 * WEIR_S)
#define TIMER_NS_MAX (100 * WEIR_MS)
#define TINY_CQ 16
#define YEAR_NS (365 * 86400 * WEIR_S)

static const int64_t clock_jumps[] = {
	WEIR_S, -WEIR_S, 86400 * WEIR_S, -86400 * WEIR_S, 10 * YEAR_NS, -10 * YEAR_NS,
};
#define TINY_SQ 4

struct weir_sim_remote {
	struct weir_link link;
	uint64_t user_data;
	int res;
	uint32_t cflags;
};

struct ring_file {
	struct weir_sim_file file;
	struct weir_sim_ring *ring;
};

static struct weir_sim_ring *ring_of(struct io_uring *uring)
{
	struct weir_soft *soft = weir_container_of(uring->sq.khead, struct weir_soft, sq_head);

	return weir__sim_ring(soft);
}

/* --- a ring as a file --- */

static int ring_file_issue(struct weir_sim_req *req)
{
	(void)req;
	return -EOPNOTSUPP;
}

static unsigned ring_file_poll(struct weir_sim_file *file)
{
	(void)file;
	return 0;
}

static void ring_file_close(struct weir_sim_file *file, bool dead)
{
	(void)dead;
	free(weir_container_of(file, struct ring_file, file));
}

const struct weir_sim_file_ops weir__sim_ring_file_ops = {
	.kind = "ring",
	.issue = ring_file_issue,
	.poll = ring_file_poll,
	.close = ring_file_close,
};

struct weir_sim_ring *weir__sim_ring_of_file(struct weir_sim_file *file)
{
	return weir_container_of(file, struct ring_file, file)->ring;
}

/* --- work that is done while nobody is in enter --- */

/* A worker that sleeps in enter looks again. */
void weir__sim_ring_kick(struct weir_soft *soft)
{
	struct weir_sim_ring *ring = weir__sim_ring(soft);
	struct weir_sim *sim = ring->host->sim;

	if (ring->waiter)
		weir__sim_fiber_wake(sim, ring->waiter);
	if (!(soft->flags & IORING_SETUP_DEFER_TASKRUN) && !ring->run.place)
		weir__sim_event_arm(sim, &ring->run, sim->now_ns);
}

static void take_remote(struct weir_sim_ring *ring)
{
	struct weir_link *link;

	while ((link = weir__queue_pop(&ring->remote))) {
		struct weir_sim_remote *remote =
			weir_container_of(link, struct weir_sim_remote, link);

		weir__soft_deliver(&ring->soft, remote->user_data, remote->res, remote->cflags);
		free(remote);
	}
	if (!ring->soft.work_count)
		ring->soft.sq_flags &= ~IORING_SQ_TASKRUN;
}

void weir__sim_ring_remote(struct weir_sim_ring *ring, uint64_t user_data, int res,
			   uint32_t cflags)
{
	struct weir_sim_remote *remote = calloc(1, sizeof(*remote));

	if (!remote) {
		weir__sim_fail(ring->host->sim, "the simulator has memory", "for a ring message");
		return;
	}
	remote->user_data = user_data;
	remote->res = res;
	remote->cflags = cflags;
	weir__queue_push(&ring->remote, &remote->link);
	if (ring->soft.flags & IORING_SETUP_TASKRUN_FLAG)
		ring->soft.sq_flags |= IORING_SQ_TASKRUN;
	weir__sim_ring_kick(&ring->soft);
}

static void run_work(struct weir_sim_ring *ring, unsigned max)
{
	struct weir_sim *sim = ring->host->sim;
	bool inside = sim->inside;

	sim->inside = true;
	take_remote(ring);
	weir__soft_flush(&ring->soft);
	weir__soft_expire(&ring->soft);
	weir__soft_run(&ring->soft, max);
	sim->inside = inside;
}

/* Without DEFER_TASKRUN the kernel runs work when there is some. */
static void run_by_itself(struct weir_sim_event *event)
{
	struct weir_sim_ring *ring = weir_container_of(event, struct weir_sim_ring, run);

	run_work(ring, RUN_ALL);
	if (ring->waiter)
		weir__sim_fiber_wake(ring->host->sim, ring->waiter);
}

/* --- rings --- */

static bool is_tiny(struct weir_sim_host *host, uint64_t one_class)
{
	if (!(host->sim->armed & one_class) || host->opts.reliable)
		return false;
	host->sim->report->hits[__builtin_ctzll(one_class)]++;
	return true;
}

static int setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
		 struct io_uring_params *params)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);
	struct weir_sim_ring *ring = calloc(1, sizeof(*ring));
	struct ring_file *file = calloc(1, sizeof(*file));
	int r = ring && file ? 0 : -ENOMEM;

	if (!r) {
		ring->soft.ops = &weir__sim_soft_ops;
		ring->soft.profile = host->profile;
		if (is_tiny(host, WEIR_SIM_OVERFLOW) && params->cq_entries > TINY_CQ)
			params->cq_entries = TINY_CQ;
		if (is_tiny(host, WEIR_SIM_SQ_FULL) && entries > TINY_SQ)
			entries = TINY_SQ;
		host->sim->inside = true;
		r = weir__soft_setup(&ring->soft, entries, uring, params);
		host->sim->inside = false;
	}
	if (!r) {
		weir__sim_file_init(&file->file, &weir__sim_ring_file_ops, host);
		file->ring = ring;
		ring->fd = weir__sim_fd_add(host, &file->file);
		if (ring->fd < 0) {
			r = ring->fd;
			weir__soft_teardown(&ring->soft);
		}
	}
	if (r < 0) {
		free(ring);
		free(file);
		return r;
	}
	uring->ring_fd = uring->enter_ring_fd = ring->fd;
	ring->host = host;
	ring->number = host->rings_made++;
	ring->run.run = run_by_itself;
	weir__queue_init(&ring->remote);
	weir__list_push(&host->rings, &ring->node);
	return 0;
}

void weir__sim_ring_destroy(struct weir_sim_ring *ring)
{
	struct weir_link *link;

	weir__sim_event_disarm(ring->host->sim, &ring->run);
	weir__node_remove(&ring->node);
	weir__soft_teardown(&ring->soft);
	while ((link = weir__queue_pop(&ring->remote)))
		free(weir_container_of(link, struct weir_sim_remote, link));
	free(ring);
}

static void teardown(struct weir_kernel *kernel, struct io_uring *uring)
{
	struct weir_sim_ring *ring = ring_of(uring);
	int fd = ring->fd;

	weir__sim_ring_destroy(ring);
	weir__sim_fd_close(weir__sim_host_of(kernel), fd);
}

/* Direct descriptors that a registration asks for: RLIMIT_NOFILE bounds them (io_uring/rsrc.c). */
static unsigned files_of(unsigned opcode, const void *arg, unsigned count)
{
	const struct io_uring_rsrc_register *reg = arg;

	if (opcode == IORING_REGISTER_FILES2)
		return reg->nr;
	return opcode == IORING_REGISTER_FILES ? count : 0;
}

static int do_register(struct weir_kernel *kernel, struct io_uring *uring, unsigned opcode,
		       const void *arg, unsigned count)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);
	bool inside = host->sim->inside;
	int r;

	if (files_of(opcode, arg, count) > host->opts.fds_max)
		return -EMFILE;
	host->sim->inside = true;
	r = weir__soft_register(&ring_of(uring)->soft, opcode, arg, count);
	host->sim->inside = inside;
	return r;
}

/* Of 6.13; the register opcode's number decides. */
#define REGISTER_SEND_MSG_RING 31

static int notify(struct weir_kernel *kernel, struct io_uring *uring, uint64_t user_data)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);
	struct weir_sim_ring *ring = ring_of(uring);

	if (host->profile->registers_end <= REGISTER_SEND_MSG_RING)
		return -EINVAL;
	if (ring->soft.disabled)
		return -EBADFD;
	weir__sim_ring_remote(ring, user_data, 0, 0);
	return 0;
}

/* --- enter --- */

static int64_t deadline_of(struct weir_sim *sim, unsigned flags, const void *ptr, size_t size)
{
	const struct io_uring_getevents_arg *arg = ptr;
	const struct __kernel_timespec *ts;
	int64_t ns;

	if (!(flags & IORING_ENTER_EXT_ARG) || size != sizeof(*arg) || !arg->ts)
		return WEIR_NEVER;
	ts = (const void *)(uintptr_t)arg->ts;
	ns = ts->tv_sec * WEIR_S + ts->tv_nsec;
	return flags & IORING_ENTER_ABS_TIMER ? ns : sim->now_ns + ns;
}

/* What an enter may refuse before it did anything; 0: it does not. submit may shrink. */
static int refuse(struct weir_sim_host *host, unsigned *submit)
{
	static const int errors[] = { -EINTR, -EAGAIN, -EBUSY };

	if (!weir__sim_fault(host->sim, host, WEIR_SIM_ENTER, "enter"))
		return 0;
	switch (weir__sim_choose(host->sim, host, "enter-how", 4)) {
	case 0:
		*submit /= 2;
		return 0;
	case 1:
		return errors[0];
	case 2:
		return errors[1];
	default:
		return errors[2];
	}
}

static unsigned submit(struct weir_sim_ring *ring, unsigned count)
{
	struct weir_sim *sim = ring->host->sim;
	unsigned from = ring->soft.sq_head;
	unsigned taken;

	sim->inside = true;
	taken = weir__soft_submit(&ring->soft, count);
	sim->inside = false;
	if ((sim->armed & WEIR_SIM_SCRIBBLE) && !sim->healed)
		for (unsigned i = 0; i < taken; i++)
			memset(&ring->soft.sqes[(from + i) & (ring->soft.sq_entries - 1)], 0xdb,
			       sizeof(struct io_uring_sqe));
	return taken;
}

/* What the turn took, and what else kept the core from going on. */
static void pass_time(struct weir_sim_ring *ring)
{
	struct weir_sim_host *host = ring->host;
	struct weir_sim *sim = host->sim;
	int64_t ns = ENTER_NS;

	if (weir__sim_fault(sim, host, WEIR_SIM_PAUSE, "pause"))
		ns += weir__sim_delay(sim, host, "pause-by", PAUSE_NS_MAX);
	if (weir__sim_fault(sim, host, WEIR_SIM_CLOCK, "clock"))
		weir_sim_jump_clock(host, clock_jumps[weir__sim_choose(sim, host, "clock-by", 6)]);
	weir__sim_sleep(sim, sim->now_ns + ns);
}

static bool is_spurious(struct weir_sim_ring *ring)
{
	return weir__sim_fault(ring->host->sim, ring->host, WEIR_SIM_ENTER, "spurious");
}

static int get_events(struct weir_sim_ring *ring, unsigned wait, int64_t deadline_ns)
{
	struct weir_sim *sim = ring->host->sim;
	int r = 0;

	for (;;) {
		int64_t until_ns = deadline_ns;

		run_work(ring, wait > WORK_LEAST ? wait : WORK_LEAST);
		if (!wait || weir__soft_cq_ready(&ring->soft) >= wait || is_spurious(ring))
			break;
		if (sim->now_ns >= deadline_ns) {
			r = weir__soft_cq_ready(&ring->soft) ? 0 : -ETIME;
			break;
		}
		if (ring->soft.work_count)
			continue;
		if (weir__soft_next_timeout(&ring->soft) < until_ns)
			until_ns = weir__soft_next_timeout(&ring->soft);
		if (until_ns != WEIR_NEVER &&
		    weir__sim_fault(sim, ring->host, WEIR_SIM_CLOCK, "timer-late"))
			until_ns += weir__sim_delay(sim, ring->host, "timer-late-by", TIMER_NS_MAX);
		ring->waiter = sim->current;
		weir__sim_sleep(sim, until_ns);
		ring->waiter = NULL;
	}
	pass_time(ring);
	return r;
}

static int enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned count, unsigned wait,
		 unsigned flags, const void *arg, size_t size)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);
	struct weir_sim_ring *ring = ring_of(uring);
	int64_t deadline_ns = deadline_of(host->sim, flags, arg, size);
	unsigned asked = count;
	unsigned taken;
	int r = weir__soft_check_enter(&ring->soft, flags);

	if (!r)
		r = refuse(host, &count);
	if (r < 0) {
		/* A worker that only tries again must not stop the clock. */
		if (flags & IORING_ENTER_GETEVENTS)
			pass_time(ring);
		return r;
	}
	taken = submit(ring, count);
	if (taken < asked) {	/* a short submit does not wait, as in io_uring/io_uring.c */
		if (flags & IORING_ENTER_GETEVENTS)
			pass_time(ring);
		return taken || weir__soft_sq_is_empty(&ring->soft) ? (int)taken : -EAGAIN;
	}
	if (flags & IORING_ENTER_GETEVENTS)
		r = get_events(ring, wait, deadline_ns);
	return taken ? (int)taken : r;
}

/* --- the rest --- */

static int64_t now(struct weir_kernel *kernel)
{
	return weir__sim_host_of(kernel)->sim->now_ns;
}

static int64_t realtime(struct weir_kernel *kernel)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);

	return host->sim->now_ns + host->wall_offset_ns;
}

static uint64_t random_number(struct weir_kernel *kernel)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);

	if (weir__sim_fault(host->sim, host, WEIR_SIM_RANDOM, "random"))
		return weir__sim_choose(host->sim, host, "random-value", 4);
	return weir__sim_random(host->sim);
}

static void *map(struct weir_kernel *kernel, size_t size)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);
	void *memory;

	if (weir__sim_fault(host->sim, host, WEIR_SIM_MEMORY, "map"))
		return NULL;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	weir__sim_memory_took(&host->memory, memory, size, true);
	return memory;
}

static void unmap(struct weir_kernel *kernel, void *ptr, size_t size)
{
	weir__sim_memory_gave(&weir__sim_host_of(kernel)->memory, ptr);
	weir__notes_unpoison(ptr, size);
	munmap(ptr, size);
}

static int close_fd(struct weir_kernel *kernel, int fd)
{
	return weir__sim_fd_close(weir__sim_host_of(kernel), fd);
}

static int make_eventfd(struct weir_kernel *kernel)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);
	struct weir_sim_file *file;
	int r = weir__sim_eventfd(host, &file);

	if (r < 0)
		return r;
	r = weir__sim_fd_add(host, file);
	if (r < 0)
		weir__sim_file_put(file);
	return r;
}

static ssize_t write_fd(struct weir_kernel *kernel, int fd, const void *data, size_t size)
{
	struct weir_sim_file *file = weir__sim_fd_get(weir__sim_host_of(kernel), fd);
	uint64_t count;

	if (!file)
		return -EBADF;
	if (strcmp(file->ops->kind, "eventfd") || size != sizeof(count))
		return -EINVAL;
	memcpy(&count, data, sizeof(count));
	return weir__sim_eventfd_add(file, count);
}

const struct weir_kernel_ops *weir__sim_kernel_ops(void)
{
	static struct weir_kernel_ops ops = {
		.name = "sim",
		.ring_setup = setup,
		.ring_enter = enter,
		.ring_register = do_register,
		.ring_teardown = teardown,
		.notify = notify,
		.now = now,
		.realtime = realtime,
		.random = random_number,
		.map = map,
		.unmap = unmap,
		.close = close_fd,
		.eventfd = make_eventfd,
		.write = write_fd,
	};

	weir__sim_net_ops(&ops);
	weir__sim_disk_ops(&ops);
	return &ops;
}
