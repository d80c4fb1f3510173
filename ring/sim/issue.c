/* SPDX-License-Identifier: MIT */
/*
 * issue.c - the soft ring's backend: each operation goes to the file or the path it names, now
 * or late; what waits for readiness, and what is being done elsewhere; where the bytes are.
 */
#include <linux/openat2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ring/sim/trace.h"
#include "ring/sim/world.h"

#define LATE_NS_MAX (2 * WEIR_S)

struct weir_sim_host *weir__sim_req_host(const struct weir_sim_req *req)
{
	return weir__sim_ring(req->soft.soft)->host;
}

static struct weir_sim *sim_of(const struct weir_sim_req *req)
{
	return weir__sim_req_host(req)->sim;
}

/* --- waiting --- */

int weir__sim_wait(struct weir_sim_req *req, unsigned mask)
{
	struct weir_sim_file *file = weir__sim_req_file(req);

	if (req->hurried)
		return -ECANCELED;
	req->waits_for = mask;
	weir__list_push(&file->waiters, &req->waiter);
	return WEIR_SOFT_LATER;
}

static void finish_later(struct weir_sim_event *event)
{
	struct weir_sim_req *req = weir_container_of(event, struct weir_sim_req, later);

	weir__soft_finish(&req->soft, req->later_res);
}

int weir__sim_finish_in(struct weir_sim_req *req, int64_t ns, int res)
{
	struct weir_sim *sim = sim_of(req);

	req->later.run = finish_later;
	req->later_res = res;
	req->in_wq = true;
	weir__sim_event_arm(sim, &req->later, sim->now_ns + ns);
	return WEIR_SOFT_LATER;
}

static void issue_late(struct weir_sim_event *event)
{
	weir__soft_ready(&weir_container_of(event, struct weir_sim_req, later)->soft);
}

/* Whether the operation begins only after a while. */
static bool comes_late(struct weir_sim_req *req)
{
	struct weir_sim_host *host = weir__sim_req_host(req);
	int64_t ns;

	if (req->drawn || req->soft.sqe.opcode == IORING_OP_CLOSE)
		return false;
	req->drawn = true;
	if (req->soft.timeout && weir__sim_fault(host->sim, host, WEIR_SIM_LINK, "link-race")) {
		req->later.run = issue_late;
		weir__sim_event_arm(host->sim, &req->later, req->soft.timeout->at_ns);
		return true;
	}
	if (!weir__sim_fault(host->sim, host, WEIR_SIM_LATE, "late"))
		return false;
	ns = weir__sim_delay(host->sim, host, "late-by", LATE_NS_MAX);
	req->later.run = issue_late;
	weir__sim_event_arm(host->sim, &req->later, host->sim->now_ns + 1 + ns);
	return true;
}

static int cancel(struct weir_soft_req *soft)
{
	struct weir_sim_req *req = weir__sim_req(soft);
	struct weir_sim_host *host = weir__sim_req_host(req);

	if (weir__node_is_linked(&req->waiter)) {
		weir__node_remove(&req->waiter);
		weir__sim_send_cancelled(req);
		return weir__sim_fault(host->sim, host, WEIR_SIM_CANCEL, "cancel-first");
	}
	if (!req->later.place)
		return 0;	/* it is on the list of work */
	if (req->in_wq)
		return -EALREADY;
	if (weir__sim_fault(host->sim, host, WEIR_SIM_CANCEL, "cancel-late")) {
		req->hurried = true;
		return -EALREADY;
	}
	weir__sim_event_disarm(host->sim, &req->later);
	return 0;
}

/* --- memory --- */

static bool is_vectored(unsigned opcode)
{
	return opcode == IORING_OP_READV || opcode == IORING_OP_WRITEV;
}

static bool is_message(unsigned opcode)
{
	return opcode == IORING_OP_SENDMSG || opcode == IORING_OP_SENDMSG_ZC ||
	       opcode == IORING_OP_RECVMSG;
}

/* What is at two addresses of the SQE. */
static void copy_both(struct weir_sim_req *req, size_t size, size_t size2)
{
	struct io_uring_sqe *sqe = &req->soft.sqe;
	char *to;

	req->vec = calloc(1, sizeof(*req->vec) + size + size2);
	if (!req->vec)
		return;
	to = (char *)req->vec->iov;
	memcpy(to, (const void *)(uintptr_t)sqe->addr, size);
	sqe->addr = (uintptr_t)to;
	if (!size2)
		return;
	memcpy(to + size, (const void *)(uintptr_t)sqe->addr2, size2);
	sqe->addr2 = (uintptr_t)to + size;
}

static size_t text_size(uint64_t addr)
{
	return strlen((const char *)(uintptr_t)addr) + 1;
}

/* Addresses and paths are read at submission; the operation may begin much later. */
static void copy_names(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;

	if (!sqe->addr)
		return;
	switch (sqe->opcode) {
	case IORING_OP_CONNECT:
	case IORING_OP_BIND:
		if (sqe->addr2 && sqe->addr2 <= sizeof(struct sockaddr_storage))
			copy_both(req, sqe->addr2, 0);
		return;
	case IORING_OP_OPENAT:
	case IORING_OP_STATX:
	case IORING_OP_UNLINKAT:
	case IORING_OP_MKDIRAT:
		copy_both(req, text_size(sqe->addr), 0);
		return;
	case IORING_OP_OPENAT2:
		copy_both(req, text_size(sqe->addr),
			  sqe->len < sizeof(struct open_how) ? 0 : sizeof(struct open_how));
		return;
	case IORING_OP_RENAMEAT:
	case IORING_OP_SYMLINKAT:
	case IORING_OP_LINKAT:
		copy_both(req, text_size(sqe->addr), text_size(sqe->addr2));
		return;
	default:
		return;
	}
}

static void copy_vec(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	const struct iovec *iov = (const void *)(uintptr_t)sqe->addr;
	struct msghdr *msg = NULL;
	int count = (int)sqe->len;

	if (is_message(sqe->opcode)) {
		msg = (void *)(uintptr_t)sqe->addr;
		iov = msg->msg_iov;
		count = (int)msg->msg_iovlen;
	} else if (!is_vectored(sqe->opcode)) {
		return;
	}
	if (count < 0 || count > 1024)
		return;
	req->vec = calloc(1, sizeof(*req->vec) + (size_t)count * sizeof(*iov));
	if (!req->vec)
		return;
	if (msg)
		req->vec->msg = *msg;
	req->vec->user = msg;
	req->vec->count = count;
	if (count)
		memcpy(req->vec->iov, iov, (size_t)count * sizeof(*iov));
	req->vec->msg.msg_iov = req->vec->iov;
}

int weir__sim_buffers(struct weir_sim_req *req, struct iovec *iov, int max, size_t want)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	bool is_bundle = sqe->ioprio & IORING_RECVSEND_BUNDLE;

	if (sqe->flags & IOSQE_BUFFER_SELECT) {
		if (sqe->len && sqe->len < want)
			want = sqe->len;
		return weir__soft_bufs_peek(req->soft.soft, sqe->buf_group, iov,
					    is_bundle ? max : 1, want);
	}
	if (is_vectored(sqe->opcode) || is_message(sqe->opcode)) {
		if (!req->vec || req->vec->count > max)
			return -EINVAL;
		memcpy(iov, req->vec->iov, (size_t)req->vec->count * sizeof(*iov));
		return req->vec->count;
	}
	if (sqe->opcode == IORING_OP_READ_FIXED || sqe->opcode == IORING_OP_WRITE_FIXED ||
	    (sqe->opcode == IORING_OP_SEND_ZC && (sqe->ioprio & IORING_RECVSEND_FIXED_BUF))) {
		int r = weir__soft_buffer_check(req->soft.soft, sqe->buf_index, sqe->addr,
						sqe->len);

		if (r < 0)
			return r;
	}
	iov->iov_base = (void *)(uintptr_t)sqe->addr;
	iov->iov_len = sqe->len;
	return 1;
}

size_t weir__sim_iov_size(const struct iovec *iov, int count)
{
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	return size;
}

static size_t copy(const struct iovec *iov, int count, size_t skip, void *flat, size_t size,
		   bool scatter)
{
	size_t done = 0;

	for (int i = 0; i < count && done < size; i++) {
		size_t part = iov[i].iov_len;
		char *at = (char *)iov[i].iov_base + skip;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part -= skip;
		skip = 0;
		if (part > size - done)
			part = size - done;
		if (scatter) {
			weir__notes_unpoison(at, part);
			memcpy(at, (char *)flat + done, part);
		} else {
			memcpy((char *)flat + done, at, part);
		}
		done += part;
	}
	return done;
}

size_t weir__sim_scatter(const struct iovec *iov, int count, size_t skip, const void *from,
			 size_t size)
{
	return copy(iov, count, skip, (void *)(uintptr_t)from, size, true);
}

size_t weir__sim_gather(const struct iovec *iov, int count, size_t skip, void *to, size_t size)
{
	return copy(iov, count, skip, to, size, false);
}

/* --- eventfds --- */

struct eventfd {
	struct weir_sim_file file;
	uint64_t count;
};

static struct eventfd *eventfd_of(struct weir_sim_file *file)
{
	return weir_container_of(file, struct eventfd, file);
}

int weir__sim_eventfd_add(struct weir_sim_file *file, uint64_t count)
{
	if (count == UINT64_MAX || eventfd_of(file)->count > UINT64_MAX - 1 - count)
		return -EAGAIN;
	eventfd_of(file)->count += count;
	weir__sim_file_wake(file, POLLIN);
	return (int)sizeof(count);
}

static int eventfd_issue(struct weir_sim_req *req)
{
	struct eventfd *event = eventfd_of(weir__sim_req_file(req));
	struct iovec iov[1];
	uint64_t count;

	if (req->soft.sqe.opcode != IORING_OP_READ && req->soft.sqe.opcode != IORING_OP_WRITE)
		return -EINVAL;
	if (weir__sim_buffers(req, iov, 1, SIZE_MAX) < 0 || iov->iov_len < sizeof(count))
		return -EINVAL;
	if (req->soft.sqe.opcode == IORING_OP_WRITE) {
		weir__sim_gather(iov, 1, 0, &count, sizeof(count));
		return weir__sim_eventfd_add(&event->file, count);
	}
	if (!event->count)
		return weir__sim_wait(req, POLLIN);
	weir__sim_scatter(iov, 1, 0, &event->count, sizeof(event->count));
	if (!weir__rule_is_broken(WEIR_RULE_EVENTFD))
		event->count = 0;
	return sizeof(count);
}

static unsigned eventfd_poll(struct weir_sim_file *file)
{
	return eventfd_of(file)->count ? POLLIN | POLLOUT : POLLOUT;
}

static void eventfd_close(struct weir_sim_file *file, bool dead)
{
	(void)dead;
	free(eventfd_of(file));
}

static const struct weir_sim_file_ops eventfd_ops = {
	.kind = "eventfd",
	.issue = eventfd_issue,
	.poll = eventfd_poll,
	.close = eventfd_close,
};

int weir__sim_eventfd(struct weir_sim_host *host, struct weir_sim_file **ret_file)
{
	struct eventfd *event = calloc(1, sizeof(*event));

	if (!event)
		return -ENOMEM;
	weir__sim_file_init(&event->file, &eventfd_ops, host);
	*ret_file = &event->file;
	return 0;
}

/* --- operations --- */

static int issue_poll(struct weir_sim_req *req)
{
	struct weir_sim_file *file = weir__sim_req_file(req);
	unsigned mask = req->soft.sqe.poll32_events;
	unsigned unasked = POLLERR | POLLHUP |
			   (weir__rule_is_broken(WEIR_RULE_POLL_END) ? 0 : POLLRDHUP);
	unsigned ready = file->ops->poll(file) & (mask | unasked);
	bool is_multishot = req->soft.sqe.len & IORING_POLL_ADD_MULTI;

	if (!ready)
		return weir__sim_wait(req, mask);
	if (!is_multishot || !weir__soft_more(&req->soft, (int)ready, 0))
		return (int)ready;
	return weir__sim_wait(req, mask);
}

static int issue_socket(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = weir__sim_req_host(req);
	struct weir_sim_file *file;
	int r;

	if (sqe->file_index && (sqe->off & SOCK_CLOEXEC))
		return -EINVAL;
	r = weir__sim_socket(host, sqe->fd, (int)sqe->off, (int)sqe->len, &file);
	if (r < 0)
		return r;
	r = sqe->file_index ? weir__soft_install(&req->soft, file) : weir__sim_fd_add(host, file);
	if (r < 0)
		weir__sim_file_put(file);
	return r;
}

/* --- futexes: words of the process's memory --- */

static struct weir_node *futex_waiters(struct weir_sim_host *host)
{
	if (!host->futexes.next)
		weir__list_init(&host->futexes);
	return &host->futexes;
}

static int issue_futex_wait(struct weir_sim_req *req)
{
	const uint32_t *word = (const void *)(uintptr_t)req->soft.sqe.addr;

	if (req->waits_for)	/* woken */
		return 0;
	if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != (uint32_t)req->soft.sqe.addr2)
		return -EAGAIN;
	if (req->hurried)
		return -ECANCELED;
	weir__list_push(futex_waiters(weir__sim_req_host(req)), &req->waiter);
	return WEIR_SOFT_LATER;
}

static int issue_futex_wake(struct weir_sim_req *req)
{
	struct weir_node *list = futex_waiters(weir__sim_req_host(req));
	int count = (int)req->soft.sqe.addr2;
	struct weir_node *next;
	int woken = 0;

	for (struct weir_node *node = list->next; node != list; node = next) {
		struct weir_sim_req *waiter = weir_container_of(node, struct weir_sim_req, waiter);

		next = node->next;
		if (woken >= count && !weir__rule_is_broken(WEIR_RULE_FUTEX_COUNT))
			break;
		if (waiter->soft.sqe.addr != req->soft.sqe.addr)
			continue;
		weir__node_remove(node);
		waiter->waits_for = 1;
		weir__soft_ready(&waiter->soft);
		woken++;
	}
	return woken;
}

static int issue(struct weir_soft_req *soft)
{
	struct weir_sim_req *req = weir__sim_req(soft);

	if (weir_unlikely(comes_late(req)))
		return WEIR_SOFT_LATER;
	switch (soft->sqe.opcode) {
	case IORING_OP_OPENAT:
	case IORING_OP_OPENAT2:
	case IORING_OP_STATX:
	case IORING_OP_RENAMEAT:
	case IORING_OP_UNLINKAT:
	case IORING_OP_MKDIRAT:
	case IORING_OP_SYMLINKAT:
	case IORING_OP_LINKAT:
		return weir__sim_path_issue(req);
	case IORING_OP_SOCKET:
		return issue_socket(req);
	case IORING_OP_CLOSE:
		return weir__sim_fd_close(weir__sim_req_host(req), soft->sqe.fd);
	case IORING_OP_POLL_ADD:
		return issue_poll(req);
	case IORING_OP_FUTEX_WAIT:
		return issue_futex_wait(req);
	case IORING_OP_FUTEX_WAKE:
		return issue_futex_wake(req);
	default:
		return soft->file ? weir__sim_req_file(req)->ops->issue(req) : -EINVAL;
	}
}

/* --- files --- */

static int file_get(struct weir_soft *soft, int fd, void **ret_file)
{
	struct weir_sim_file *file = weir__sim_fd_get(weir__sim_ring(soft)->host, fd);

	if (!file)
		return -EBADF;
	*ret_file = weir__sim_file_ref(file);
	return 0;
}

static void file_ref(void *file)
{
	weir__sim_file_ref(file);
}

static void file_put(void *file)
{
	weir__sim_file_put(file);
}

static int fd_install(struct weir_soft *soft, void *file)
{
	int fd = weir__sim_fd_add(weir__sim_ring(soft)->host, file);

	if (fd >= 0)
		weir__sim_file_ref(file);
	return fd;
}

/* --- messages between rings --- */

static int find_target(struct weir_soft_req *req, struct weir_sim_ring **ret_ring)
{
	struct weir_sim_host *host = weir__sim_ring(req->soft)->host;
	struct weir_sim_file *file = weir__sim_fd_get(host, req->sqe.fd);

	if (!file)
		return -EBADF;
	if (file->ops != &weir__sim_ring_file_ops)
		return -EBADFD;
	*ret_ring = weir__sim_ring_of_file(file);
	return (*ret_ring)->soft.disabled && !weir__rule_is_broken(WEIR_RULE_MESSAGE_DISABLED)
		       ? -EBADFD
		       : 0;
}

static int message_fd(struct weir_soft_req *req, struct weir_sim_ring *target)
{
	unsigned from = (unsigned)req->sqe.addr3;
	unsigned to = req->sqe.file_index;
	struct weir_sim_file *file;
	int r;

	if (from >= req->soft->files_size || !req->soft->files[from])
		return -EBADF;
	file = weir__sim_file_ref(req->soft->files[from]);
	r = weir__soft_file_install(&target->soft, to, file);
	if (r < 0) {
		weir__sim_file_put(file);
		return r;
	}
	if (!(req->sqe.msg_ring_flags & IORING_MSG_RING_CQE_SKIP))
		weir__sim_ring_remote(target, req->sqe.off, (int)req->sqe.len, 0);
	return r;
}

static int message(struct weir_soft_req *req)
{
	struct weir_sim_host *host = weir__sim_ring(req->soft)->host;
	struct weir_sim_ring *target;
	uint32_t cflags = req->sqe.msg_ring_flags & IORING_MSG_RING_FLAGS_PASS ?
				  req->sqe.file_index :
				  0;
	int r = find_target(req, &target);

	if (r < 0)
		return r;
	if (weir__sim_fault(host->sim, host, WEIR_SIM_WAKE, "message-fails"))
		return -ENOMEM;
	if (req->sqe.addr == IORING_MSG_SEND_FD)
		return message_fd(req, target);
	if (req->sqe.addr != IORING_MSG_DATA)
		return -EINVAL;
	weir__sim_ring_remote(target, req->sqe.off, (int)req->sqe.len, cflags);
	return 0;
}

/* --- clocks, order, records --- */

static int64_t now(struct weir_soft *soft, int clock)
{
	struct weir_sim_host *host = weir__sim_ring(soft)->host;

	return host->sim->now_ns + (clock == CLOCK_REALTIME ? host->wall_offset_ns : 0);
}

static unsigned pick(struct weir_soft *soft, unsigned count)
{
	struct weir_sim_host *host = weir__sim_ring(soft)->host;

	if (!weir__sim_fault(host->sim, host, WEIR_SIM_ORDER, "shuffle"))
		return 0;
	return weir__sim_choose(host->sim, host, "which-first", count);
}

static void end(struct weir_sim_req *req)
{
	weir__sim_event_disarm(sim_of(req), &req->later);
	weir__sim_owner_end(req, req->last_res);
	if (req->part_free)
		req->part_free(req->part);
	free(req->vec);
}

static void watch(struct weir_soft_req *soft, enum weir_soft_event event, int res,
		  uint32_t cflags)
{
	struct weir_sim_req *req = weir__sim_req(soft);

	weir__sim_trace_op(soft, event, res, cflags);
	if (event == WEIR_SOFT_BEGINS) {
		copy_names(req);
		copy_vec(req);
		weir__sim_owner_begin(req);
	} else if (event == WEIR_SOFT_ENDS) {
		end(req);
	} else {
		sim_of(req)->report->cqes++;
		if (!(cflags & IORING_CQE_F_NOTIF))
			req->last_res = res;
	}
}

const struct weir_soft_ops weir__sim_soft_ops = {
	.req_size = sizeof(struct weir_sim_req),
	.issue = issue,
	.cancel = cancel,
	.file_get = file_get,
	.file_ref = file_ref,
	.file_put = file_put,
	.fd_install = fd_install,
	.message = message,
	.now = now,
	.kick = weir__sim_ring_kick,
	.pick = pick,
	.watch = watch,
};
