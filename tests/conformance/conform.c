/* SPDX-License-Identifier: MIT */
/*
 * conform.c - a body's ring: SQEs in, CQEs out and noted, and everything closed in the end.
 */
#include "tests/conformance/arm.h"

#include <stdarg.h>
#include <stdio.h>

#define MOMENT_NS (4 * WEIR_MS)
#define STEP "~"

/* --- the outcome --- */

static void __attribute__((format(printf, 2, 0)))
add(struct cf *c, const char *format, va_list args)
{
	if (c->size && c->size + 3 < sizeof(c->text))
		c->size += (size_t)snprintf(c->text + c->size, sizeof(c->text) - c->size, "; ");
	c->size += (size_t)vsnprintf(c->text + c->size, sizeof(c->text) - c->size, format, args);
	if (c->size >= sizeof(c->text))
		c->size = sizeof(c->text) - 1;
}

void cf_note(struct cf *c, const char *format, ...)
{
	va_list args;

	if (c->broken)
		return;
	va_start(args, format);
	add(c, format, args);
	va_end(args);
}

void cf_break(struct cf *c, const char *format, ...)
{
	va_list args;

	if (c->broken)
		return;
	va_start(args, format);
	add(c, format, args);
	va_end(args);
	c->broken = true;
}

const char *cf_res(int64_t res)
{
	static char text[4][32];
	static unsigned turn;
	char *to = text[turn++ % 4];
	const char *name = res < 0 && res > -4096 ? strerrorname_np((int)-res) : NULL;

	if (res == -EAGAIN)
		name = "EAGAIN";
	if (res == -EOPNOTSUPP)
		name = "EOPNOTSUPP";
	if (name)
		snprintf(to, sizeof(text[0]), "-%s", name);
	else
		snprintf(to, sizeof(text[0]), "%lld", (long long)res);
	return to;
}

void cf_note_res(struct cf *c, const char *what, int64_t res)
{
	cf_note(c, "%s %s", what, cf_res(res));
}

int cf_must(struct cf *c, int r, const char *what)
{
	if (r < 0)
		cf_break(c, "BROKEN: %s: %s", what, cf_res(r));
	return r;
}

void cf_skip(struct cf *c, const char *reason)
{
	if (!c->broken)
		c->skipped = reason;
	c->broken = true;
}

/* --- names --- */

static unsigned name_number(struct cf *c, const char *name)
{
	for (unsigned i = 0; i < c->names_count; i++)
		if (!strcmp(c->names[i], name))
			return i;
	if (c->names_count == CF_NAMES) {
		cf_break(c, "BROKEN: too many names");
		return 0;
	}
	c->names[c->names_count] = name;
	return c->names_count++;
}

uint64_t cf_data(struct cf *c, const char *name)
{
	return name_number(c, name) + 1;
}

/* --- rings --- */

void cf_ring_make(struct cf *c, struct cf_ring *ring, unsigned sq, unsigned cq, unsigned flags)
{
	struct io_uring_params params;

	if (c->broken)
		return;
	memset(&params, 0, sizeof(params));
	params.flags = c->setup_flags | IORING_SETUP_CQSIZE | flags;
	params.cq_entries = cq;
	if (cf_must(c, c->kernel->ops->ring_setup(c->kernel, sq, &ring->uring, &params), "ring") >=
	    0)
		ring->made = true;
}

void cf_ring_end(struct cf *c, struct cf_ring *ring)
{
	if (ring->made)
		c->kernel->ops->ring_teardown(c->kernel, &ring->uring);
	ring->made = false;
}

void cf_use(struct cf *c, struct cf_ring *ring)
{
	c->at = ring;
}

int cf_register(struct cf *c, unsigned opcode, const void *arg, unsigned count)
{
	if (c->broken)
		return -ECANCELED;
	return c->kernel->ops->ring_register(c->kernel, &c->at->uring, opcode, arg, count);
}

static unsigned sq_pending(const struct cf_ring *ring)
{
	return ring->uring.sq.sqe_tail - *ring->uring.sq.khead;
}

static bool seen[256];

bool cf_has_seen(unsigned opcode)
{
	return seen[opcode];
}

static void note_opcodes(struct cf *c)
{
	const struct io_uring_sq *sq = &c->at->uring.sq;

	for (unsigned i = *sq->khead; i != sq->sqe_tail; i++) {
		const struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];

		if (sqe->user_data != cf_data(c, STEP))
			seen[sqe->opcode] = true;
	}
}

/* Submits; asks for completions when flags say so, and waits for wait of them at most ns. */
static int enter(struct cf *c, unsigned wait, unsigned flags, int64_t ns)
{
	struct __kernel_timespec ts = { .tv_sec = ns / WEIR_S, .tv_nsec = ns % WEIR_S };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	struct io_uring *uring = &c->at->uring;
	const struct weir_kernel_ops *ops = c->kernel->ops;

	note_opcodes(c);
	io_uring_smp_store_release(uring->sq.ktail, uring->sq.sqe_tail);
	if (!wait)
		return ops->ring_enter(c->kernel, uring, sq_pending(c->at), 0, flags, NULL, 0);
	return ops->ring_enter(c->kernel, uring, sq_pending(c->at), wait,
			       flags | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

/* What only means: look again. */
static bool is_transient(int r)
{
	return r == -EINTR || r == -EAGAIN || r == -EBUSY || r == -ETIME;
}

int cf_submit(struct cf *c)
{
	int taken = 0;

	for (unsigned tries = 0; !c->broken && sq_pending(c->at); tries++) {
		int r = enter(c, 0, 0, 0);

		if (r > 0)
			taken += r;
		else if (tries > 1000 || !is_transient(r))
			cf_break(c, "BROKEN: submit: %s", cf_res(r));
	}
	return taken;
}

struct io_uring_sqe *cf_sqe(struct cf *c, const char *name)
{
	struct io_uring_sqe *sqe = NULL;

	if (!c->broken)
		sqe = io_uring_get_sqe(&c->at->uring);
	if (!c->broken && !sqe) {
		cf_submit(c);
		sqe = io_uring_get_sqe(&c->at->uring);
	}
	if (!sqe)
		sqe = &c->scratch;
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = cf_data(c, name);	/* liburing's prep functions leave it alone */
	return sqe;
}

struct io_uring_sqe *cf_sqe_fd(struct cf *c, const char *name)
{
	c->gives_fd[name_number(c, name)] = true;
	return cf_sqe(c, name);
}

struct io_uring_sqe *cf_step(struct cf *c)
{
	return cf_sqe(c, STEP);
}

/* --- completions --- */

unsigned cf_ready(struct cf *c)
{
	struct io_uring_cq *cq = &c->at->uring.cq;

	if (c->broken)
		return 0;
	return io_uring_smp_load_acquire(cq->ktail) - *cq->khead;
}

static bool take_cqe(struct cf *c, struct cf_cqe *ret_cqe)
{
	struct io_uring_cq *cq = &c->at->uring.cq;
	unsigned head = *cq->khead;
	const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
	unsigned name;

	if (head == io_uring_smp_load_acquire(cq->ktail))
		return false;
	name = (unsigned)cqe->user_data - 1;
	*ret_cqe = (struct cf_cqe){ name, cqe->res, cqe->flags };
	io_uring_smp_store_release(cq->khead, head + 1);
	if (name >= c->names_count)
		cf_break(c, "BROKEN: a completion of nobody: %s", cf_res(ret_cqe->res));
	else if (c->gives_fd[name] && ret_cqe->res >= 0)
		cf_keep(c, ret_cqe->res);
	return true;
}

/* The next CQE, within ns. */
static bool next_cqe(struct cf *c, struct cf_cqe *ret_cqe, int64_t ns)
{
	int64_t until_ns = c->kernel->ops->now(c->kernel) + ns;

	for (;;) {
		int r;

		if (c->broken)
			return false;
		if (!sq_pending(c->at) && take_cqe(c, ret_cqe))
			return true;
		r = enter(c, 1, IORING_ENTER_GETEVENTS, ns);
		if (take_cqe(c, ret_cqe))
			return true;
		if (r < 0 && !is_transient(r))
			cf_break(c, "BROKEN: enter: %s", cf_res(r));
		if (c->kernel->ops->now(c->kernel) >= until_ns)
			return false;
	}
}

static bool next(struct cf *c, struct cf_cqe *ret_cqe, int64_t ns)
{
	struct cf_ring *ring = c->at;

	if (!ring->stashed)
		return next_cqe(c, ret_cqe, ns);
	*ret_cqe = ring->stash[0];
	memmove(ring->stash, ring->stash + 1, --ring->stashed * sizeof(*ring->stash));
	return true;
}

static void stash(struct cf *c, const struct cf_cqe *cqe)
{
	if (c->at->stashed == CF_STASH)
		cf_break(c, "BROKEN: too many completions");
	else
		c->at->stash[c->at->stashed++] = *cqe;
}

static void note_cqe(struct cf *c, const struct cf_cqe *cqe)
{
	bool is_fd = c->gives_fd[cqe->name] && cqe->res >= 0;
	char buf[24] = "";

	c->last_res = cqe->res;
	if (cqe->flags & IORING_CQE_F_BUFFER)
		snprintf(buf, sizeof(buf), " buf %u", cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	cf_note(c, "%s %s%s%s%s%s%s", c->names[cqe->name], is_fd ? "fd" : cf_res(cqe->res),
		cqe->flags & IORING_CQE_F_MORE ? "+" : "",
		cqe->flags & IORING_CQE_F_NOTIF ? " notif" : "", buf,
		cqe->flags & IORING_CQE_F_BUF_MORE ? " part" : "",
		cqe->flags & c->show & IORING_CQE_F_SOCK_NONEMPTY ? " nonempty" : "");
}

/* Stable: CQEs of one name stay in their order. */
static void sort(const struct cf *c, struct cf_cqe *cqes, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		for (unsigned j = i; j && strcmp(c->names[cqes[j - 1].name],
						 c->names[cqes[j].name]) > 0; j--) {
			struct cf_cqe cqe = cqes[j];

			cqes[j] = cqes[j - 1];
			cqes[j - 1] = cqe;
		}
}

static unsigned collect(struct cf *c, struct cf_cqe *cqes, unsigned n)
{
	unsigned count = 0;

	cf_submit(c);
	while (count < n && next(c, &cqes[count], c->wait_ns))
		count++;
	return count;
}

static void await(struct cf *c, unsigned n, bool in_order)
{
	struct cf_cqe cqes[CF_STASH];
	unsigned count;

	if (c->broken)
		return;
	count = collect(c, cqes, n);
	if (!in_order)
		sort(c, cqes, count);
	for (unsigned i = 0; i < count; i++)
		note_cqe(c, &cqes[i]);
	if (count < n)
		cf_break(c, "BROKEN: %u completions are missing", n - count);
}

void cf_await(struct cf *c, unsigned n)
{
	await(c, n, false);
}

void cf_await_in_order(struct cf *c, unsigned n)
{
	await(c, n, true);
}

void cf_drop(struct cf *c, unsigned n)
{
	struct cf_cqe cqes[CF_STASH];

	if (!c->broken && collect(c, cqes, n) < n)
		cf_break(c, "BROKEN: completions are missing");
}

/* The first CQE of name; the others are stashed. */
static bool next_of(struct cf *c, unsigned name, struct cf_cqe *ret_cqe)
{
	struct cf_ring *ring = c->at;

	for (unsigned i = 0; i < ring->stashed; i++) {
		if (ring->stash[i].name != name)
			continue;
		*ret_cqe = ring->stash[i];
		memmove(ring->stash + i, ring->stash + i + 1,
			(--ring->stashed - i) * sizeof(*ring->stash));
		return true;
	}
	while (next_cqe(c, ret_cqe, c->wait_ns)) {
		if (ret_cqe->name == name)
			return true;
		stash(c, ret_cqe);
	}
	return false;
}

void cf_await_end(struct cf *c, const char *name)
{
	struct cf_cqe cqe = { .flags = IORING_CQE_F_MORE };
	unsigned number = name_number(c, name);

	cf_submit(c);
	while (!c->broken && (cqe.flags & IORING_CQE_F_MORE)) {
		if (next_of(c, number, &cqe))
			note_cqe(c, &cqe);
		else
			cf_break(c, "BROKEN: %s goes on", name);
	}
}

void cf_quiet(struct cf *c)
{
	struct cf_cqe cqe;
	unsigned count = 0;

	cf_submit(c);
	while (!c->broken && next(c, &cqe, MOMENT_NS)) {
		note_cqe(c, &cqe);
		count++;
	}
	if (!count)
		cf_note(c, "quiet");
}

int cf_do(struct cf *c)
{
	struct cf_cqe cqe;
	unsigned number = name_number(c, STEP);

	cf_submit(c);
	while (!c->broken) {
		if (!next_of(c, number, &cqe))
			cf_break(c, "BROKEN: a step does not end");
		else if (!(cqe.flags & IORING_CQE_F_MORE))
			return cqe.res;
	}
	return -ECANCELED;
}

/* --- what is closed in the end --- */

void *cf_mem(struct cf *c, size_t size)
{
	char *at = c->memory + c->memory_used;

	c->memory_used += (size + 63) / 64 * 64;
	if (c->memory_used <= CF_MEMORY)
		return at;
	cf_break(c, "BROKEN: a body uses too much memory");
	c->memory_used = 0;
	return c->memory;
}

int cf_keep(struct cf *c, int fd)
{
	if (fd < 0)
		return fd;
	if (c->fds_count == CF_FDS)
		cf_break(c, "BROKEN: too many descriptors");
	else
		c->fds[c->fds_count++] = fd;
	return fd;
}

void cf_close(struct cf *c, int fd)
{
	if (c->broken)
		return;
	for (unsigned i = 0; i < c->fds_count; i++)
		if (c->fds[i] == fd) {
			c->fds[i] = c->fds[--c->fds_count];
			break;
		}
	cf_must(c, c->kernel->ops->close(c->kernel, fd), "close");
}

/* Asks everything in flight to end, so that no memory is written to any more. */
static void end_ops(struct cf *c, struct cf_ring *ring)
{
	struct cf_cqe cqe;
	bool ended = false;

	if (!ring->made)
		return;
	c->at = ring;
	c->broken = false;
	for (unsigned i = 0; i < 16 && !ended; i++) {
		io_uring_prep_cancel64(cf_step(c), 0,
				       IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
		ended = cf_do(c) <= 0;
		while (ring->stashed || cf_ready(c))
			next(c, &cqe, 0);
	}
	cf_ring_end(c, ring);
}

static void clean_up(struct cf *c)
{
	char text[CF_TEXT];
	size_t size = c->size;

	memcpy(text, c->text, sizeof(text));
	end_ops(c, &c->other);
	end_ops(c, &c->ring);
	memcpy(c->text, text, sizeof(text));
	c->size = size;
	for (unsigned i = 0; i < c->fds_count; i++)
		c->kernel->ops->close(c->kernel, c->fds[i]);
	c->kernel->ops->unmap(c->kernel, c->memory, CF_MEMORY);
}

/* --- a run --- */

static void check_ops(struct cf *c)
{
	struct io_uring_probe *probe =
		cf_mem(c, sizeof(*probe) + 256 * sizeof(struct io_uring_probe_op));

	cf_must(c, cf_register(c, IORING_REGISTER_PROBE, probe, 256), "probe");
	for (unsigned i = 0; i < sizeof(c->test->ops) && c->test->ops[i]; i++)
		if (!(probe->ops[c->test->ops[i]].flags & IO_URING_OP_SUPPORTED))
			cf_skip(c, "the kernel lacks an operation");
}

void cf_run(struct cf *c)
{
	const struct cf_case *test = c->test;

	c->memory = c->kernel->ops->map(c->kernel, CF_MEMORY);
	if (!c->memory) {
		cf_break(c, "BROKEN: no memory");
		return;
	}
	c->at = &c->ring;
	cf_ring_make(c, &c->ring, test->sq ? test->sq : 64, test->cq ? test->cq : 256, 0);
	check_ops(c);
	if (!c->broken)
		test->body(c);
	clean_up(c);
}
