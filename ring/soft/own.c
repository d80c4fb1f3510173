/* SPDX-License-Identifier: MIT */
/*
 * own.c - the operations that are the ring's own affair and no backend's: nothing, timeouts,
 * cancels, descriptors in slots.
 */
#include <string.h>
#include <time.h>

#include "ring/soft/soft.h"

/* --- timeouts --- */

static int clock_of(unsigned flags)
{
	if (flags & IORING_TIMEOUT_BOOTTIME)
		return CLOCK_BOOTTIME;
	return flags & IORING_TIMEOUT_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

/* What at_ns, relative or of another clock, is on the monotonic clock. */
static int64_t monotonic(struct weir_soft *soft, int64_t at_ns, unsigned flags)
{
	int clock = clock_of(flags);
	int64_t now_ns = soft->ops->now(soft, CLOCK_MONOTONIC);

	if (!(flags & IORING_TIMEOUT_ABS))
		return at_ns > WEIR_NEVER - now_ns ? WEIR_NEVER : now_ns + at_ns;
	return clock == CLOCK_MONOTONIC ? at_ns :
					  at_ns - soft->ops->now(soft, clock) + now_ns;
}

void weir__soft_time(struct weir_soft_req *req, int64_t at_ns)
{
	struct weir_soft *soft = req->soft;
	struct weir_node *node = &soft->timers;

	if (weir__node_is_linked(&req->timed))
		weir__node_remove(&req->timed);
	req->at_ns = monotonic(soft, at_ns, req->sqe.timeout_flags);
	req->state = WEIR_SOFT_TIMED;
	while (node->prev != &soft->timers &&
	       weir_container_of(node->prev, struct weir_soft_req, timed)->at_ns > req->at_ns)
		node = node->prev;
	weir__list_push(node, &req->timed);
	if (soft->ops->kick)
		soft->ops->kick(soft);
}

static int issue_timeout(struct weir_soft_req *req)
{
	if (req->sqe.off && (req->sqe.timeout_flags & IORING_TIMEOUT_MULTISHOT) == 0)
		req->want = (int64_t)(req->soft->posted + req->sqe.off);
	weir__soft_time(req, req->span_ns);
	return WEIR_SOFT_LATER;
}

static struct weir_soft_req *find_timer(struct weir_soft *soft, uint64_t user_data)
{
	for (struct weir_node *node = soft->timers.next; node != &soft->timers; node = node->next) {
		struct weir_soft_req *req = weir_container_of(node, struct weir_soft_req, timed);

		if (req->sqe.user_data == user_data)
			return req;
	}
	return NULL;
}

static int issue_timeout_remove(struct weir_soft_req *req)
{
	struct weir_soft_req *target = find_timer(req->soft, req->sqe.addr);
	unsigned flags = req->sqe.timeout_flags;
	bool is_link;

	if (!target)
		return weir__rule_is_broken(WEIR_RULE_TIMEOUT_GONE) ? 0 : -ENOENT;
	is_link = target->sqe.opcode == IORING_OP_LINK_TIMEOUT;
	if (!(flags & (IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE)))
		return is_link ? -ENOENT : weir__soft_cancel(target);
	if (is_link != !!(flags & IORING_LINK_TIMEOUT_UPDATE))
		return -ENOENT;
	if (weir__soft_span(req->sqe.addr2) < 0)
		return -EINVAL;
	target->sqe.timeout_flags &= ~IORING_TIMEOUT_ABS;
	target->sqe.timeout_flags |= flags & IORING_TIMEOUT_ABS;
	weir__soft_time(target, weir__soft_span(req->sqe.addr2));
	return 0;
}

static void fire_link(struct weir_soft_req *req)
{
	struct weir_soft_req *peer = req->peer;
	int r = -ENOENT;

	req->peer = NULL;
	if (peer) {
		peer->timeout = NULL;
		r = weir__soft_cancel(peer);
	}
	weir__soft_finish(req,
			  r == 0 && !weir__rule_is_broken(WEIR_RULE_LINK_TIMEOUT) ? -ETIME : r);
}

static void fire(struct weir_soft_req *req)
{
	weir__node_remove(&req->timed);
	req->timed.next = NULL;
	if (req->sqe.opcode == IORING_OP_LINK_TIMEOUT) {
		fire_link(req);
		return;
	}
	/* off: how often; 0: for ever. */
	if ((req->sqe.timeout_flags & IORING_TIMEOUT_MULTISHOT) &&
	    (++req->done != (int64_t)req->sqe.off ||
	     weir__rule_is_broken(WEIR_RULE_MULTISHOT_TIMEOUT)) &&
	    weir__soft_more(req, -ETIME, 0)) {
		weir__soft_time(req, req->span_ns);
		return;
	}
	req->want = 0;
	weir__soft_finish(req, -ETIME);
}

static void fire_counted(struct weir_soft *soft)
{
	struct weir_node *next;

	for (struct weir_node *node = soft->timers.next; node != &soft->timers; node = next) {
		struct weir_soft_req *req = weir_container_of(node, struct weir_soft_req, timed);

		next = node->next;
		if (!req->want || (uint64_t)req->want > soft->posted)
			continue;
		weir__node_remove(&req->timed);
		req->timed.next = NULL;
		req->want = 0;
		weir__soft_finish(req, 0);
	}
}

void weir__soft_expire(struct weir_soft *soft)
{
	int64_t now_ns;

	if (weir__list_is_empty(&soft->timers))
		return;
	fire_counted(soft);
	now_ns = soft->ops->now(soft, CLOCK_MONOTONIC);
	while (weir__soft_next_timeout(soft) <= now_ns)
		fire(weir_container_of(soft->timers.next, struct weir_soft_req, timed));
}

int64_t weir__soft_next_timeout(const struct weir_soft *soft)
{
	if (weir__list_is_empty(&soft->timers))
		return WEIR_NEVER;
	return weir_container_of(soft->timers.next, struct weir_soft_req, timed)->at_ns;
}

/* --- cancels --- */

int weir__soft_cancel(struct weir_soft_req *target)
{
	int r = 0;
	int res;

	if (target->state == WEIR_SOFT_CHAINED || target->state == WEIR_SOFT_NOTIFYING)
		return weir__rule_is_broken(WEIR_RULE_CANCEL_CHAINED) ? -EALREADY : -ENOENT;
	/* As the kernel, which finds a request by its poll until its end is posted. */
	if (target->cancelled && target->state == WEIR_SOFT_ARMED)
		return 0;
	if (target->cancelled || target->finished)
		return -EALREADY;
	if (target->state == WEIR_SOFT_ARMED)
		r = target->soft->ops->cancel(target);
	if (r < 0)
		return r;
	if (target->state == WEIR_SOFT_TIMED) {
		weir__node_remove(&target->timed);
		target->timed.next = NULL;
		target->want = 0;
	}
	target->cancelled = true;
	/* Bytes that have left are told, as the kernel does. */
	res = target->state == WEIR_SOFT_ARMED && target->done ? (int)target->done : -ECANCELED;
	if (r)
		weir__soft_complete(target, res);
	else
		weir__soft_finish(target, res);
	return 0;
}

static bool file_matches(const struct weir_soft_req *req, const struct weir_soft_req *target)
{
	const struct weir_soft_ops *ops = req->soft->ops;

	if (!target->file)
		return false;
	if (weir__rule_is_broken(WEIR_RULE_CANCEL_FILE))
		return req->sqe.fd == target->sqe.fd;
	return ops->file_same ? ops->file_same(req->file, target->file) :
				req->file == target->file;
}

static bool matches(const struct weir_soft_req *req, const struct weir_soft_req *target)
{
	unsigned flags = req->sqe.cancel_flags;

	if (target == req || target->sqe.opcode == IORING_OP_LINK_TIMEOUT)
		return false;
	if (flags & IORING_ASYNC_CANCEL_ANY)
		return true;
	if ((flags & IORING_ASYNC_CANCEL_FD) && !file_matches(req, target))
		return false;
	if ((flags & IORING_ASYNC_CANCEL_OP) && target->sqe.opcode != req->sqe.len)
		return false;
	if (flags & (IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP))
		return !(flags & IORING_ASYNC_CANCEL_USERDATA) ||
		       target->sqe.user_data == req->sqe.addr;
	return target->sqe.user_data == req->sqe.addr;
}

/* Of one bucket. Stops at the first that was found unless all are meant. */
static void cancel_in(struct weir_soft_req *req, struct weir_node *bucket, int *found, int *last)
{
	bool all = req->sqe.cancel_flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);

	struct weir_node *next;

	for (struct weir_node *node = bucket->next; node != bucket; node = next) {
		struct weir_soft_req *target = weir_container_of(node, struct weir_soft_req, node);
		int r;

		next = node->next;
		if ((*found && !all) || !matches(req, target))
			continue;
		r = weir__soft_cancel(target);
		if (r == -ENOENT)
			continue;
		/* A cancelled wait for a word answers with how many, always. */
		*last = !r && target->sqe.opcode == IORING_OP_FUTEX_WAIT ? 1 : r;
		if (!r || !all)
			++*found;
	}
}

/* What a descriptor means now: whose number it was before does not matter. */
static int take_wanted_file(struct weir_soft_req *req)
{
	struct weir_soft *soft = req->soft;
	unsigned slot = (unsigned)req->sqe.fd;

	if (!(req->sqe.cancel_flags & IORING_ASYNC_CANCEL_FD))
		return 0;
	if (!(req->sqe.cancel_flags & IORING_ASYNC_CANCEL_FD_FIXED)) {
		if (soft->ops->file_get(soft, req->sqe.fd, &req->file) < 0)
			return -EBADF;
	} else if (slot < soft->files_size && soft->files[slot]) {
		req->file = soft->files[slot];
		soft->ops->file_ref(req->file);
	}
	return req->file ? 0 : -EBADF;
}

static int issue_cancel(struct weir_soft_req *req)
{
	const unsigned known = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD |
			       IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_FD_FIXED |
			       IORING_ASYNC_CANCEL_USERDATA | IORING_ASYNC_CANCEL_OP;
	unsigned flags = req->sqe.cancel_flags;
	bool all = flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);
	bool by_data = !(flags & (IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_FD |
				  IORING_ASYNC_CANCEL_OP));
	int found = 0;
	int last = -ENOENT;

	if (flags & ~known)
		return -EINVAL;
	if (take_wanted_file(req) < 0)
		return -EBADF;
	if (by_data)
		cancel_in(req, weir__soft_bucket(req->soft, req->sqe.addr), &found, &last);
	for (unsigned i = 0; i < WEIR_SOFT_BUCKETS && !by_data; i++)
		cancel_in(req, &req->soft->in_flight[i], &found, &last);
	if (all)
		return last == -ENOENT || weir__rule_is_broken(WEIR_RULE_CANCEL_COUNT) ? 0 : found;
	return last;
}

static int issue_poll_remove(struct weir_soft_req *req)
{
	struct weir_soft *soft = req->soft;

	for (unsigned i = 0; i < WEIR_SOFT_BUCKETS; i++) {
		struct weir_node *bucket = &soft->in_flight[i];

		for (struct weir_node *node = bucket->next; node != bucket; node = node->next) {
			struct weir_soft_req *target =
				weir_container_of(node, struct weir_soft_req, node);

			if (target->sqe.opcode == IORING_OP_POLL_ADD &&
			    target->sqe.user_data == req->sqe.addr)
				return weir__soft_cancel(target);
		}
	}
	return -ENOENT;
}

/* --- descriptors --- */

/* As the kernel looks: from where a slot was freed or taken last, then from the beginning. */
int weir__soft_file_slot(struct weir_soft *soft)
{
	unsigned hint = soft->files_hint;

	if (hint < soft->files_from || hint > soft->files_to)
		hint = soft->files_from;
	for (unsigned i = hint; i < soft->files_to; i++)
		if (!soft->files[i])
			return (int)i;
	for (unsigned i = soft->files_from; i < hint; i++)
		if (!soft->files[i])
			return (int)i;
	return -ENFILE;
}

int weir__soft_file_set(struct weir_soft *soft, unsigned slot, void *file)
{
	if (slot >= soft->files_size)
		return -EINVAL;
	if (soft->files[slot])
		soft->ops->file_put(soft->files[slot]);
	soft->files[slot] = file;
	soft->files_hint = file ? slot + 1 : slot;
	return 0;
}

int weir__soft_file_install(struct weir_soft *soft, unsigned slot, void *file)
{
	int free_slot;

	if (slot != IORING_FILE_INDEX_ALLOC) {
		if (!soft->files_size)
			return -ENXIO;
		return weir__soft_file_set(soft, slot - 1, file);
	}
	free_slot = weir__soft_file_slot(soft);
	if (free_slot >= 0)
		weir__soft_file_set(soft, (unsigned)free_slot, file);
	return free_slot;
}

int weir__soft_install(struct weir_soft_req *req, void *file)
{
	return weir__soft_file_install(req->soft, req->sqe.file_index, file);
}

static int issue_close_slot(struct weir_soft_req *req)
{
	struct weir_soft *soft = req->soft;
	unsigned slot = req->sqe.file_index - 1;

	if (req->sqe.fd)
		return -EINVAL;
	if (!soft->files_size)
		return -ENXIO;
	if (slot >= soft->files_size)
		return -EINVAL;
	return soft->files[slot] ? weir__soft_file_set(soft, slot, NULL) : -EBADF;
}

static int issue_install(struct weir_soft_req *req)
{
	if (!(req->sqe.flags & IOSQE_FIXED_FILE))
		return -EBADF;
	return req->soft->ops->fd_install(req->soft, req->file);
}

static int issue_files_update(struct weir_soft_req *req)
{
	struct io_uring_rsrc_update2 update;

	memset(&update, 0, sizeof(update));
	update.offset = (uint32_t)req->sqe.off;
	update.data = req->sqe.addr;
	update.nr = req->sqe.len;
	return weir__soft_register(req->soft, IORING_REGISTER_FILES_UPDATE2, &update,
				   sizeof(update));
}

static int issue_nop(struct weir_soft_req *req)
{
	if (req->sqe.nop_flags & ~1u)
		return -EINVAL;
	return req->sqe.nop_flags ? (int)req->sqe.len : 0;
}

int weir__soft_issue_own(struct weir_soft_req *req)
{
	switch (req->sqe.opcode) {
	case IORING_OP_NOP:
		return issue_nop(req);
	case IORING_OP_TIMEOUT:
		return issue_timeout(req);
	case IORING_OP_TIMEOUT_REMOVE:
		return issue_timeout_remove(req);
	case IORING_OP_ASYNC_CANCEL:
		return issue_cancel(req);
	case IORING_OP_POLL_REMOVE:
		/* Flags mean an update, which weir has no use for: the target is ended instead. */
		return req->sqe.len ? -EINVAL : issue_poll_remove(req);
	case IORING_OP_CLOSE:
		return req->sqe.file_index ? issue_close_slot(req) : WEIR_SOFT_OTHER;
	case IORING_OP_FIXED_FD_INSTALL:
		return issue_install(req);
	case IORING_OP_FILES_UPDATE:
		return issue_files_update(req);
	case IORING_OP_MSG_RING:
		return req->soft->ops->message(req);
	default:
		return WEIR_SOFT_OTHER;
	}
}
