/* SPDX-License-Identifier: MIT */
/*
 * commit.c - group commit.
 *
 * Two groups take turns: one collects while the other is in flight. What is appended is
 * copied into the group's memory at once, because one write of one piece is what the kernel
 * does best, because O_DIRECT wants aligned memory, and because the group is then nobody's
 * stack. The copy runs while the disk works on the group before.
 *
 * A group leaves at the end of the turn (weir_task_ready_last): those whom the last group
 * has just answered run first, and their next appends share the next write.
 *
 * One op, driven by its completions and not by a coroutine: nobody's cancellation can end
 * a write that others wait for.
 *
 * Invariant (log_check): the groups and the line hold every append that waits; bytes
 * [durable, end) are those of the group in flight followed by those of the one that collects.
 */
#include <string.h>

#include "core/plant.h"
#include "core/weir_coro.h"
#include "core/worker.h"
#include "ring/files.h"
#include "ring/slots.h"
#include "ring/weir_commit.h"

#define GROUP_SIZE (256u << 10)
#define GROUP_COUNT 1024

/* An append that waits, on its coroutine's stack. */
struct append {
	struct weir_node node;	/* of a group or of the line */
	struct weir_wait wait;
	struct weir_commit *log;
	const void *data;
	size_t size;
	int64_t offset;
	bool placed;		/* in a group: will be answered by its write */
};

struct group {
	struct weir_node appends;
	unsigned count;
	size_t size;		/* bytes of them in data */
	char *data;
};

struct weir_commit {
	struct weir_file *file;
	struct weir_ring *ring;
	size_t group_size;
	unsigned group_count;
	uint32_t align;		/* of sizes; 1 for a buffered file */
	struct group groups[2];
	struct group *collecting;
	struct group *flying;	/* NULL: no write is in flight */
	size_t written;		/* of flying */
	struct weir_node line;	/* appends that found the group full, FIFO */
	unsigned parked;
	struct weir_task leave;	/* at the end of the turn: take off */
	bool leaving;		/* it is queued */
	struct weir_slot_wait slot;
	struct weir_op op;
	int64_t end, durable;
	uint64_t appends, group_total;
	int error;
	struct weir_wait *closer;
	bool closing;
};

static void log_check(const struct weir_commit *log)
{
	const struct group *flying = log->flying;

	weir_assert(log->error || log->end == log->durable + (int64_t)log->collecting->size +
						      (int64_t)(flying ? flying->size : 0));
	weir_assert(log->collecting->size <= log->group_size &&
		    log->collecting->count <= log->group_count);
	weir_assert(!flying || log->written <= flying->size);
}

/* --- collecting --- */

static bool has_room(const struct weir_commit *log, size_t size)
{
	const struct group *group = log->collecting;

	return group->count < log->group_count && size <= log->group_size - group->size;
}

static void place(struct weir_commit *log, struct append *append)
{
	struct group *group = log->collecting;

	if (append->size)
		memcpy(group->data + group->size, append->data, append->size);
	append->placed = true;
	append->offset = log->end;
	weir__list_push(&group->appends, &append->node);
	group->count++;
	group->size += append->size;
	log->end += (int64_t)append->size;
}

/* Those in line who fit now, in order. */
static void place_line(struct weir_commit *log)
{
	while (!weir__list_is_empty(&log->line)) {
		struct append *append = weir_container_of(log->line.next, struct append, node);

		if (!has_room(log, append->size))
			return;
		weir__node_remove(&append->node);
		log->parked--;
		place(log, append);
	}
}

/* --- answering --- */

static void answer(struct weir_node *appends, int res)
{
	struct weir_node *node;

	while ((node = weir__list_pop(appends)))
		weir__wait_wake(&weir_container_of(node, struct append, node)->wait, res);
}

static void group_clear(struct group *group)
{
	group->count = 0;
	group->size = 0;
}

/* Nobody waits, and nothing of log is queued anywhere. */
static bool is_idle(const struct weir_commit *log)
{
	return !log->flying && !log->collecting->count && !log->leaving;
}

/* What is collected leaves at the end of the turn. */
static void go_on(struct weir_commit *log)
{
	log_check(log);
	if (log->flying || !log->collecting->count || log->leaving)
		return;
	log->leaving = true;
	weir_task_ready_last(&log->leave);
}

/* A closer learns that nothing is left. log may be gone after the turn's next task. */
static void tell_closer(struct weir_commit *log)
{
	if (log->closer && is_idle(log))
		weir__wait_wake(log->closer, 0);
}

/* Everybody who waits, now and later. */
static void fail(struct weir_commit *log, int error)
{
	log->error = error;
	log->file->failed = true;
	if (log->flying)
		group_clear(log->flying);
	for (int i = 0; i < 2; i++) {
		answer(&log->groups[i].appends, error);
		group_clear(&log->groups[i]);
	}
	log->flying = NULL;
	log->parked = 0;
	answer(&log->line, error);
}

static void succeed(struct weir_commit *log)
{
	struct group *group = log->flying;
	struct weir_metrics *metrics = &weir__self->metrics;

	log->durable += (int64_t)group->size;
	log->appends += group->count;
	log->group_total++;
	weir__metric_add(metrics, WEIR__M_COMMIT_APPENDS, group->count);
	weir__metric_add(metrics, WEIR__M_COMMIT_GROUPS, 1);
	log->flying = NULL;
	group_clear(group);
	answer(&group->appends, 0);
	go_on(log);
}

/* --- writing --- */

static void submit(struct weir_commit *log);

static void submit_with_slot(struct weir_slot_wait *slot)
{
	submit(weir_container_of(slot, struct weir_commit, slot));
}

/* Writes what is left of flying. */
static void submit(struct weir_commit *log)
{
	struct weir_ring *ring = log->ring;
	struct group *group = log->flying;
	struct io_uring_sqe *sqe = NULL;

	if (ring->redeeming || weir__list_is_empty(&ring->waiters))
		sqe = weir__op_sqe(ring, WEIR_TRANSIENT);
	if (!sqe) {
		weir_slot_wait(&log->slot, submit_with_slot);
		return;
	}
	weir__file_prep_write(log->file, sqe, group->data + log->written,
			      group->size - log->written, log->durable + (int64_t)log->written);
	sqe->rw_flags = WEIR__PLANT(COMMIT_EARLY) ? 0 : RWF_DSYNC;
	weir__op_go(ring, &log->op, sqe, WEIR_TRANSIENT);
}

static void op_done(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_commit *log = weir_container_of(op, struct weir_commit, op);
	struct weir_file *file = log->file;

	(void)flags;
	weir__file_completed();
	if (res > 0) {
		log->written += (size_t)res;
		if (log->written < log->flying->size) {
			submit(log);
			return;
		}
		succeed(log);
	} else if (WEIR__PLANT(COMMIT_RETRIED) && res == -EIO) {
		submit(log);
		return;
	} else {
		fail(log, res ? res : -EIO);
	}
	weir__file_leave(file);
	tell_closer(log);
}

/* The groups take turns. */
static void take_off(struct weir_commit *log)
{
	int r;

	log->flying = log->collecting;
	log->collecting = &log->groups[log->flying == &log->groups[0]];
	log->written = 0;
	place_line(log);
	if (!log->flying->size) {	/* nobody but those who only wait for what was before */
		succeed(log);
		return;
	}
	r = log->file->failed ? -EIO : weir__file_enter(log->file);
	if (r < 0)
		fail(log, r);
	else
		submit(log);
}

static void leave(struct weir_task *task)
{
	struct weir_commit *log = weir_container_of(task, struct weir_commit, leave);

	log->leaving = false;
	if (log->collecting->count)
		take_off(log);
	tell_closer(log);
}

/* --- public --- */

/* In line: it leaves. In a group: it stays, its outcome will be known. */
static void append_cancel(struct weir_wait *wait, int reason)
{
	struct append *append = weir_container_of(wait, struct append, wait);

	if (append->placed || wait->woken)
		return;
	weir__node_remove(&append->node);
	append->log->parked--;
	weir__wait_wake(wait, reason);
}

int weir_commit_append(struct weir_commit *log, const void *data, size_t size,
		       int64_t *ret_offset)
{
	struct append append = { .log = log, .data = data, .size = size };
	int r = weir__wait_check(WEIR_NEVER);

	log->ring->verdict = WEIR_NOT_STARTED;
	if (r < 0)
		return r;
	if (log->closing)
		return -EBADF;
	if (log->error)
		return log->error;
	if (size > log->group_size)
		return -EMSGSIZE;
	weir_precond(size % log->align == 0, -EINVAL);
	weir__wait_init(&append.wait);
	if (weir__list_is_empty(&log->line) && has_room(log, size)) {
		place(log, &append);
	} else {
		weir__list_push(&log->line, &append.node);
		log->parked++;
		weir__metric_add(&weir__self->metrics, WEIR__M_COMMIT_PARKED, 1);
	}
	go_on(log);
	r = weir__wait_park(&append.wait, "commit", append_cancel, WEIR_NEVER);
	log->ring->verdict = append.placed ? WEIR_COMPLETED : WEIR_NOT_STARTED;
	if (!r && ret_offset)
		*ret_offset = append.offset;
	return r;
}

static int find_start(struct weir_commit *log, int64_t offset)
{
	struct weir_stat stat;
	int r = weir_file_stat(log->file, &stat);

	if (r < 0)
		return r;
	log->align = 1;
	if (log->file->direct)
		log->align = stat.offset_align ? stat.offset_align : 4096;
	log->end = log->durable = offset == -1 ? (int64_t)stat.size : offset;
	if (offset < -1 || log->end % log->align || log->group_size % log->align)
		return -EINVAL;
	return 0;
}

/* Registered memory for a direct file; it is of no use to a buffered one. */
static char *group_alloc(const struct weir_commit *log)
{
	return log->file->direct ? weir_aligned_alloc(log->group_size) :
				   weir__alloc(log->group_size);
}

static void log_free(struct weir_commit *log)
{
	for (int i = 0; i < 2; i++) {
		if (log->file->direct)
			weir_aligned_free(log->groups[i].data, log->group_size);
		else
			weir__free(log->groups[i].data, log->group_size);
	}
	weir__free(log, sizeof(*log));
}

int weir_commit_create(struct weir_file *file, int64_t offset, const struct weir_commit_opts *opts,
		       struct weir_commit **ret_log)
{
	struct weir_commit *log;
	int r;

	if (!weir_coro_self())
		return -EDEADLK;
	log = weir__calloc(1, sizeof(*log));
	if (!log)
		return -ENOMEM;
	log->file = file;
	log->ring = file->ring;
	log->group_size = opts && opts->group_size ? opts->group_size : GROUP_SIZE;
	log->group_count = opts && opts->group_count ? opts->group_count : GROUP_COUNT;
	log->collecting = &log->groups[0];
	weir__list_init(&log->line);
	weir_task_init(&log->leave, leave);
	weir_op_init(&log->op, op_done, "commit");
	r = find_start(log, offset);
	for (int i = 0; i < 2; i++) {
		weir__list_init(&log->groups[i].appends);
		log->groups[i].data = r ? NULL : group_alloc(log);
		if (!r && !log->groups[i].data)
			r = -ENOMEM;
	}
	if (r < 0) {
		log_free(log);
		return r;
	}
	*ret_log = log;
	return 0;
}

int weir_commit_destroy(struct weir_commit *log)
{
	struct weir_wait wait;
	int error;

	if (!log)
		return 0;
	if (!weir_coro_self())
		return -EDEADLK;
	if (log->closing)
		return -EBUSY;
	log->closing = true;
	if (!is_idle(log)) {
		weir__wait_init(&wait);
		log->closer = &wait;
		weir__wait_park(&wait, "commit", NULL, WEIR_NEVER);
	}
	error = log->error;
	log_free(log);
	return error;
}

void weir_commit_info(const struct weir_commit *log, struct weir_commit_info *ret_info)
{
	*ret_info = (struct weir_commit_info){
		.end = log->end,
		.durable = log->durable,
		.waiting = log->groups[0].count + log->groups[1].count,
		.parked = log->parked,
		.appends = log->appends,
		.groups = log->group_total,
		.error = log->error,
	};
}
