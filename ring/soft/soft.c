/* SPDX-License-Identifier: MIT */
/*
 * soft.c - a soft ring's life, its queues, and the life of each request: chained, issued,
 * armed, ready, finished, posted, gone.
 *
 * Nothing here calls itself deeper: what follows a request in its chain, and whom a cancel ends,
 * comes on the list of work.
 */
#include "ring/soft/soft.h"

#include <string.h>

#include "core/alloc.h"

#define CHUNK_REQS 64
#define SQ_ENTRIES_MAX 32768
#define CQ_ENTRIES_MAX 65536

struct weir_soft_chunk {
	struct weir_soft_chunk *next;
	char reqs[] __attribute__((aligned(16)));
};

enum weir__rule weir__rule_broken;

/* --- memory of requests --- */

static struct weir_soft_req *req_at(const struct weir_soft *soft, struct weir_soft_chunk *chunk,
				    unsigned i)
{
	return (struct weir_soft_req *)(void *)(chunk->reqs + i * soft->ops->req_size);
}

static size_t chunk_size(const struct weir_soft *soft)
{
	return sizeof(struct weir_soft_chunk) + CHUNK_REQS * soft->ops->req_size;
}

static bool grow(struct weir_soft *soft)
{
	struct weir_soft_chunk *chunk = weir__calloc(1, chunk_size(soft));

	if (!chunk)
		return false;
	chunk->next = soft->chunks;
	soft->chunks = chunk;
	for (unsigned i = CHUNK_REQS; i-- > 0;) {
		req_at(soft, chunk, i)->next = soft->free;
		soft->free = req_at(soft, chunk, i);
	}
	return true;
}

/* What ends within its issue, and whose refusal would keep others from their end. */
static bool ends_at_once(unsigned opcode)
{
	return opcode == IORING_OP_ASYNC_CANCEL || opcode == IORING_OP_CLOSE ||
	       opcode == IORING_OP_MSG_RING || opcode == IORING_OP_NOP;
}

static struct weir_soft_req *req_create(struct weir_soft *soft, const struct io_uring_sqe *sqe)
{
	struct weir_soft_req *req = soft->spare;

	if (weir_likely(soft->free || grow(soft))) {
		req = soft->free;
		soft->free = req->next;
	} else if (req && ends_at_once(sqe->opcode)) {
		soft->spare = NULL;
	} else {
		return NULL;
	}
	memset(req, 0, soft->ops->req_size);
	req->soft = soft;
	req->sqe = *sqe;
	req->serial = ++soft->serial;
	weir__list_push(weir__soft_bucket(soft, sqe->user_data), &req->node);
	soft->in_flight_count++;
	if (soft->ops->watch)
		soft->ops->watch(req, WEIR_SOFT_BEGINS, 0, 0);
	return req;
}

static void req_destroy(struct weir_soft_req *req)
{
	struct weir_soft *soft = req->soft;

	if (soft->ops->watch)
		soft->ops->watch(req, WEIR_SOFT_ENDS, 0, 0);
	weir__node_remove(&req->node);
	if (weir__node_is_linked(&req->work)) {
		weir__node_remove(&req->work);
		soft->work_count--;
	}
	if (weir__node_is_linked(&req->timed))
		weir__node_remove(&req->timed);
	if (req->file)
		soft->ops->file_put(req->file);
	soft->in_flight_count--;
	if (weir_unlikely(!soft->spare)) {
		soft->spare = req;
		return;
	}
	req->next = soft->free;
	soft->free = req;
}

/* --- life of the ring --- */

static unsigned power_from(unsigned n)
{
	unsigned power = 1;

	while (power < n)
		power *= 2;
	return power;
}

static int sizes(struct weir_soft *soft, unsigned entries, const struct io_uring_params *params)
{
	bool clamp = params->flags & IORING_SETUP_CLAMP;
	unsigned cq;

	if (!entries || (entries > SQ_ENTRIES_MAX && !clamp))
		return -EINVAL;
	soft->sq_entries = power_from(entries > SQ_ENTRIES_MAX ? SQ_ENTRIES_MAX : entries);
	cq = params->flags & IORING_SETUP_CQSIZE ? params->cq_entries : 2 * soft->sq_entries;
	if (!cq || (cq > CQ_ENTRIES_MAX && !clamp))
		return -EINVAL;
	soft->cq_entries = power_from(cq > CQ_ENTRIES_MAX ? CQ_ENTRIES_MAX : cq);
	return soft->cq_entries < soft->sq_entries ? -EINVAL : 0;
}

static int check_flags(uint32_t flags, const struct weir_soft_profile *profile)
{
	if (flags & ~profile->setup_flags)
		return -EINVAL;
	if ((flags & IORING_SETUP_DEFER_TASKRUN) && !(flags & IORING_SETUP_SINGLE_ISSUER))
		return -EINVAL;
	if ((flags & IORING_SETUP_TASKRUN_FLAG) &&
	    !(flags & (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN)))
		return -EINVAL;
	return 0;
}

static void fill(struct weir_soft *soft, struct io_uring *uring, struct io_uring_params *params)
{
	memset(uring, 0, sizeof(*uring));
	uring->flags = params->flags;
	uring->features = soft->profile->features;
	uring->sq.khead = &soft->sq_head;
	uring->sq.ktail = &soft->sq_tail;
	uring->sq.kflags = &soft->sq_flags;
	uring->sq.kdropped = &soft->sq_dropped;
	uring->sq.sqes = soft->sqes;
	uring->sq.ring_entries = soft->sq_entries;
	uring->sq.ring_mask = soft->sq_entries - 1;
	uring->cq.khead = &soft->cq_head;
	uring->cq.ktail = &soft->cq_tail;
	uring->cq.kflags = &soft->cq_flags;
	uring->cq.koverflow = &soft->cq_overflow;
	uring->cq.cqes = soft->cqes;
	uring->cq.ring_entries = soft->cq_entries;
	uring->cq.ring_mask = soft->cq_entries - 1;
	uring->ring_fd = uring->enter_ring_fd = -1;
	params->sq_entries = soft->sq_entries;
	params->cq_entries = soft->cq_entries;
	params->features = soft->profile->features;
}

int weir__soft_setup(struct weir_soft *soft, unsigned entries, struct io_uring *uring,
		     struct io_uring_params *params)
{
	int r = check_flags(params->flags, soft->profile);

	if (!r)
		r = sizes(soft, entries, params);
	if (r < 0)
		return r;
	soft->flags = params->flags;
	soft->disabled = params->flags & IORING_SETUP_R_DISABLED;
	soft->uring = uring;
	soft->sqes = weir__calloc(soft->sq_entries, sizeof(*soft->sqes));
	soft->cqes = weir__calloc(soft->cq_entries, sizeof(*soft->cqes));
	for (unsigned i = 0; i < WEIR_SOFT_BUCKETS; i++)
		weir__list_init(&soft->in_flight[i]);
	weir__list_init(&soft->work);
	weir__list_init(&soft->timers);
	weir__queue_init(&soft->overflow);
	if (!soft->sqes || !soft->cqes || !grow(soft)) {
		weir__soft_teardown(soft);
		return -ENOMEM;
	}
	soft->spare = soft->free;
	soft->free = soft->free->next;
	fill(soft, uring, params);
	return 0;
}

/* The backend forgets each: a cancel that comes too late for it is its own affair. */
static void end_all(struct weir_soft *soft)
{
	for (unsigned i = 0; i < WEIR_SOFT_BUCKETS; i++) {
		while (!weir__list_is_empty(&soft->in_flight[i])) {
			struct weir_soft_req *req = weir_container_of(soft->in_flight[i].next,
								      struct weir_soft_req, node);

			if (req->state == WEIR_SOFT_ARMED && !req->finished)
				soft->ops->cancel(req);
			req_destroy(req);
		}
	}
}

void weir__soft_teardown(struct weir_soft *soft)
{
	struct weir_soft_chunk *chunk;
	struct weir_link *link;

	end_all(soft);
	for (unsigned i = 0; i < soft->files_size; i++)
		if (soft->files[i])
			soft->ops->file_put(soft->files[i]);
	while ((link = weir__queue_pop(&soft->overflow)))
		weir__free(weir_container_of(link, struct weir_soft_overflow, link),
			   sizeof(struct weir_soft_overflow));
	while ((chunk = soft->chunks)) {
		soft->chunks = chunk->next;
		weir__free(chunk, chunk_size(soft));
	}
	soft->free = NULL;
	weir__free(soft->files, soft->files_size * sizeof(*soft->files));
	weir__free(soft->buffers, soft->buffers_count * sizeof(*soft->buffers));
	weir__free(soft->sqes, soft->sq_entries * sizeof(*soft->sqes));
	weir__free(soft->cqes, soft->cq_entries * sizeof(*soft->cqes));
	soft->files = NULL;
	soft->files_size = 0;
	soft->buffers = NULL;
	soft->buffers_count = 0;
	soft->sqes = NULL;
	soft->cqes = NULL;
}

/* --- the completion queue --- */

static bool cq_is_full(const struct weir_soft *soft)
{
	return soft->cq_tail - io_uring_smp_load_acquire(&soft->cq_head) == soft->cq_entries;
}

static void put_cqe(struct weir_soft *soft, const struct io_uring_cqe *from)
{
	struct io_uring_cqe *cqe = &soft->cqes[soft->cq_tail & (soft->cq_entries - 1)];

	cqe->user_data = from->user_data;
	cqe->res = from->res;
	cqe->flags = from->flags;
	io_uring_smp_store_release(&soft->cq_tail, soft->cq_tail + 1);
}

static void overflow_cqe(struct weir_soft *soft, const struct io_uring_cqe *cqe)
{
	struct weir_soft_overflow *entry = NULL;

	if (!weir__rule_is_broken(WEIR_RULE_OVERFLOW))
		entry = weir__alloc(sizeof(*entry));
	if (!entry) {
		soft->cq_overflow++;
		return;
	}
	memset(entry, 0, sizeof(*entry));
	entry->cqe.user_data = cqe->user_data;
	entry->cqe.res = cqe->res;
	entry->cqe.flags = cqe->flags;
	weir__queue_push(&soft->overflow, &entry->link);
	soft->overflow_count++;
	soft->sq_flags |= IORING_SQ_CQ_OVERFLOW;
}

void weir__soft_post(struct weir_soft *soft, uint64_t user_data, int res, uint32_t cflags)
{
	struct io_uring_cqe cqe = { .user_data = user_data, .res = res, .flags = cflags };

	soft->posted++;
	if (soft->overflow_count || cq_is_full(soft))
		overflow_cqe(soft, &cqe);
	else
		put_cqe(soft, &cqe);
}

void weir__soft_flush(struct weir_soft *soft)
{
	while (soft->overflow_count && !cq_is_full(soft)) {
		struct weir_link *link = weir__queue_pop(&soft->overflow);
		struct weir_soft_overflow *entry =
			weir_container_of(link, struct weir_soft_overflow, link);

		put_cqe(soft, &entry->cqe);
		weir__free(entry, sizeof(*entry));
		soft->overflow_count--;
	}
	if (!soft->overflow_count)
		soft->sq_flags &= ~IORING_SQ_CQ_OVERFLOW;
}

void weir__soft_deliver(struct weir_soft *soft, uint64_t user_data, int res, uint32_t cflags)
{
	weir__soft_post(soft, user_data, res, cflags);
}

static void post_of(struct weir_soft_req *req, int res, uint32_t cflags)
{
	if (req->soft->ops->watch)
		req->soft->ops->watch(req, WEIR_SOFT_POSTS, res, cflags);
	weir__soft_post(req->soft, req->sqe.user_data, res, cflags);
}

bool weir__soft_more(struct weir_soft_req *req, int res, uint32_t cflags)
{
	if ((req->soft->overflow_count || cq_is_full(req->soft)) &&
	    !weir__rule_is_broken(WEIR_RULE_MULTISHOT_FULL)) {
		req->cflags = cflags;
		return false;
	}
	post_of(req, res, cflags | IORING_CQE_F_MORE);
	req->cflags = 0;
	return true;
}

/* --- the list of work --- */

static void add_work(struct weir_soft_req *req)
{
	struct weir_soft *soft = req->soft;

	if (weir__node_is_linked(&req->work))
		return;
	weir__list_push(&soft->work, &req->work);
	soft->work_count++;
	if (soft->flags & IORING_SETUP_TASKRUN_FLAG)
		soft->sq_flags |= IORING_SQ_TASKRUN;
	if (soft->ops->kick)
		soft->ops->kick(soft);
}

void weir__soft_ready(struct weir_soft_req *req)
{
	add_work(req);
}

void weir__soft_finish(struct weir_soft_req *req, int res)
{
	req->finished = true;
	req->res = res;
	add_work(req);
}

void weir__soft_notified(struct weir_soft_req *req, int res)
{
	req->notified = true;
	req->notify_res = res;
	if (req->state == WEIR_SOFT_NOTIFYING)
		add_work(req);
}

/* --- the end of a request --- */

static bool has_failed(const struct weir_soft_req *req, int res)
{
	if (res == -ETIME && req->sqe.opcode == IORING_OP_TIMEOUT &&
	    (req->sqe.timeout_flags & IORING_TIMEOUT_ETIME_SUCCESS) &&
	    !weir__rule_is_broken(WEIR_RULE_TIMEOUT_SUCCESS))
		return false;
	if (res < 0 || req->failed)
		return true;
	return req->want && res != req->want && !weir__rule_is_broken(WEIR_RULE_SHORT_SEVERS);
}

static void end_timeout_of(struct weir_soft_req *req)
{
	struct weir_soft_req *timeout = req->timeout;

	if (!timeout)
		return;
	req->timeout = NULL;
	timeout->peer = NULL;
	if (timeout->finished)
		return;
	weir__node_remove(&timeout->timed);
	weir__soft_finish(timeout, -ECANCELED);
}

/* Those after req: the next begins, or all have failed. */
static void end_chain(struct weir_soft_req *req, bool failed)
{
	struct weir_soft_req *next = req->next;

	req->next = NULL;
	if (!next)
		return;
	if (!failed || ((req->sqe.flags & IOSQE_IO_HARDLINK) &&
			!weir__rule_is_broken(WEIR_RULE_HARD_LINK))) {
		add_work(next);
		return;
	}
	while (next) {
		struct weir_soft_req *after = next->next;

		next->next = NULL;
		weir__soft_finish(next, -ECANCELED);
		next = after;
	}
}

static bool is_zero_copy(const struct weir_soft_req *req)
{
	return req->sqe.opcode == IORING_OP_SEND_ZC || req->sqe.opcode == IORING_OP_SENDMSG_ZC;
}

void weir__soft_complete(struct weir_soft_req *req, int res)
{
	bool failed = has_failed(req, res);
	bool skip = (req->sqe.flags & IOSQE_CQE_SKIP_SUCCESS) &&
		    (!failed || weir__rule_is_broken(WEIR_RULE_SKIP_FAILURE));
	uint32_t cflags = req->cflags;

	end_timeout_of(req);
	end_chain(req, failed);
	/* One that was ended announces a notification, too, and is notified at once. */
	if (is_zero_copy(req) && req->state != WEIR_SOFT_CHAINED && !req->notify &&
	    !weir__rule_is_broken(WEIR_RULE_NOTIFY_FAILURE))
		req->notify = req->notified = true;
	if (req->notify) {
		req->state = WEIR_SOFT_NOTIFYING;
		req->notify = false;
		req->cflags = 0;
		post_of(req, res, cflags | IORING_CQE_F_MORE);
		if (req->notified)
			add_work(req);
		return;
	}
	if (!skip)
		post_of(req, res, cflags);
	req_destroy(req);
}

/* --- issuing --- */

static bool takes_file(unsigned opcode)
{
	switch (opcode) {
	case IORING_OP_NOP:
	case IORING_OP_TIMEOUT:
	case IORING_OP_TIMEOUT_REMOVE:
	case IORING_OP_LINK_TIMEOUT:
	case IORING_OP_ASYNC_CANCEL:
	case IORING_OP_POLL_REMOVE:
	case IORING_OP_MSG_RING:
	case IORING_OP_FILES_UPDATE:
	case IORING_OP_OPENAT:
	case IORING_OP_OPENAT2:
	case IORING_OP_CLOSE:
	case IORING_OP_STATX:
	case IORING_OP_RENAMEAT:
	case IORING_OP_UNLINKAT:
	case IORING_OP_MKDIRAT:
	case IORING_OP_SYMLINKAT:
	case IORING_OP_LINKAT:
	case IORING_OP_SOCKET:
	case IORING_OP_FUTEX_WAIT:
	case IORING_OP_FUTEX_WAKE:
	case IORING_OP_FUTEX_WAITV:
	case IORING_OP_WAITID:
		return false;
	default:
		return true;
	}
}

static int take_file(struct weir_soft_req *req)
{
	struct weir_soft *soft = req->soft;
	unsigned slot = (unsigned)req->sqe.fd;

	if (req->file || !takes_file(req->sqe.opcode))
		return 0;
	if (!(req->sqe.flags & IOSQE_FIXED_FILE)) {
		return soft->ops->file_get(soft, req->sqe.fd, &req->file);
	} else if (slot < soft->files_size && soft->files[slot]) {
		req->file = soft->files[slot];
		soft->ops->file_ref(req->file);
	}
	return req->file ? 0 : -EBADF;
}

/* The link timeout behind req begins with it. */
static void arm_link_timeout(struct weir_soft_req *req)
{
	struct weir_soft_req *timeout = req->next;

	if (!timeout || timeout->sqe.opcode != IORING_OP_LINK_TIMEOUT)
		return;
	req->next = timeout->next;
	timeout->next = NULL;
	req->timeout = timeout;
	timeout->peer = req;
	weir__soft_time(timeout, timeout->span_ns);
}

static void issue(struct weir_soft_req *req)
{
	int r = take_file(req);

	if (req->state == WEIR_SOFT_CHAINED) {
		req->state = WEIR_SOFT_ARMED;
		if (!r)
			arm_link_timeout(req);
	}
	if (!r)
		r = weir__soft_issue_own(req);
	if (r == WEIR_SOFT_OTHER)
		r = req->soft->ops->issue(req);
	if (r != WEIR_SOFT_LATER)
		weir__soft_complete(req, r);
}

static struct weir_soft_req *pick_work(struct weir_soft *soft)
{
	struct weir_node *node = soft->work.next;

	if (soft->ops->pick && soft->work_count > 1)
		for (unsigned i = soft->ops->pick(soft, soft->work_count); i; i--)
			node = node->next;
	weir__node_remove(node);
	soft->work_count--;
	return weir_container_of(node, struct weir_soft_req, work);
}

unsigned weir__soft_run(struct weir_soft *soft, unsigned max)
{
	unsigned count = 0;

	while (soft->work_count && count < max) {
		struct weir_soft_req *req = pick_work(soft);

		count++;
		if (req->state == WEIR_SOFT_NOTIFYING) {
			post_of(req, req->notify_res, IORING_CQE_F_NOTIF);
			req_destroy(req);
		} else if (req->finished) {
			weir__soft_complete(req, req->res);
		} else {
			issue(req);
		}
	}
	if (!soft->work_count)
		soft->sq_flags &= ~IORING_SQ_TASKRUN;
	return count;
}

/* --- the submission queue --- */

int weir__soft_check_enter(const struct weir_soft *soft, unsigned flags)
{
	if (weir__soft_is_disabled(soft))
		return -EBADFD;
	if (flags & ~soft->profile->enter_flags)
		return -EINVAL;
	return 0;
}

static bool refuses(const struct weir_soft *soft, unsigned opcode)
{
	return opcode >= soft->profile->ops_end ||
	       (soft->profile->ops_refused[opcode / 64] >> (opcode % 64) & 1);
}

static int check_sqe(const struct weir_soft *soft, const struct io_uring_sqe *sqe,
		     const struct weir_soft_req *tail)
{
	const unsigned known = IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC |
			       IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_DRAIN;

	if (sqe->opcode >= 128 || refuses(soft, sqe->opcode) || (sqe->flags & ~known))
		return -EINVAL;
	if ((sqe->flags & IOSQE_CQE_SKIP_SUCCESS) &&
	    !(soft->profile->features & IORING_FEAT_CQE_SKIP))
		return -EINVAL;
	/* Never used by weir, and refused by kernels once a CQE was skipped. */
	if (sqe->flags & IOSQE_IO_DRAIN)
		return -EOPNOTSUPP;
	if (sqe->opcode == IORING_OP_LINK_TIMEOUT &&
	    (!tail || tail->sqe.opcode == IORING_OP_LINK_TIMEOUT))
		return -EINVAL;
	return weir__soft_prep(sqe);
}

/* A chain with an SQE that is wrong fails as a whole, before anything of it is done. */
static void start_chain(struct weir_soft_req *head)
{
	bool failed = false;
	struct weir_soft_req *req;

	for (req = head; req; req = req->next)
		failed |= req->failed;
	if (!failed || weir__rule_is_broken(WEIR_RULE_BAD_CHAIN)) {
		issue(head);
		return;
	}
	for (req = head; req;) {
		struct weir_soft_req *next = req->next;

		req->next = NULL;
		if (req->failed)
			weir__soft_complete(req, req->res);
		else
			weir__soft_complete(req, -ECANCELED);
		req = next;
	}
}

static bool is_linked(const struct weir_soft_req *req)
{
	return req->sqe.flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK);
}

unsigned weir__soft_submit(struct weir_soft *soft, unsigned count)
{
	unsigned tail = io_uring_smp_load_acquire(&soft->sq_tail);
	struct weir_soft_req *first = NULL;
	struct weir_soft_req *last = NULL;
	unsigned taken = 0;
	bool wrong = false;

	if (count > tail - soft->sq_head)
		count = tail - soft->sq_head;
	while (taken < count && !wrong) {
		const struct io_uring_sqe *sqe =
			&soft->sqes[soft->sq_head & (soft->sq_entries - 1)];
		int r = check_sqe(soft, sqe, last);
		struct weir_soft_req *req = req_create(soft, sqe);

		/* What is in a chain is taken when there is memory again. */
		if (weir_unlikely(!req) && (first || (sqe->flags & (IOSQE_IO_LINK |
								    IOSQE_IO_HARDLINK))))
			break;
		if (weir_unlikely(!req))
			weir__soft_post(soft, sqe->user_data, r ? r : -ENOMEM, 0);
		io_uring_smp_store_release(&soft->sq_head, soft->sq_head + 1);
		taken++;
		if (weir_unlikely(!req))
			continue;
		req->failed = r < 0;
		req->res = r;
		if (!r && (sqe->opcode == IORING_OP_TIMEOUT ||
			   sqe->opcode == IORING_OP_LINK_TIMEOUT))
			req->span_ns = weir__soft_span(sqe->addr);
		wrong = r < 0 && !(soft->flags & IORING_SETUP_SUBMIT_ALL);
		if (last)
			last->next = req;
		else
			first = req;
		last = req;
		if (is_linked(req) && !wrong)
			continue;
		start_chain(first);
		first = last = NULL;
	}
	if (first)
		start_chain(first);
	return taken;
}
