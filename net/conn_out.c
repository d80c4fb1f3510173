/* SPDX-License-Identifier: MIT */
/*
 * conn_out.c - how a connection sends.
 *
 * Output is a list of pieces: chunks that bytes were copied into, and references to
 * memory that is lent. Writing appends and marks the connection dirty; the flush task
 * runs once at the end of the turn and sends all of the list at once. One send is in
 * flight at a time, since sends of one socket that have to wait may pass each other
 * (liburing#1001); what is written meanwhile leaves with the next one.
 *
 *	nothing --write--> DIRTY --end of turn--> SENDING --all taken--> nothing
 *			     ^---------- short, or more came ----'
 */
#include "net/conn_parts.h"

#include <sys/socket.h>
#include <string.h>

#include "core/plant.h"
#include "core/worker.h"

#define CHUNK_BYTES (WEIR_OUT_CHUNK - sizeof(struct weir_piece))

/* From here on a write is not copied but lent, and waits until it was taken. */
#define LEND_MIN 16384

static_assert(CHUNK_BYTES >= WEIR_CONN_RESERVE_MAX, "a reservation fits into a fresh chunk");

/* A coroutine that waits for the output to move. */
struct writer {
	struct weir_node node;
	struct weir_wait wait;
	struct weir_conn *conn;
	size_t level;		/* wakes at out_pending <= level */
};

/* A coroutine that must see the send in flight end: its memory is lent to it. */
struct unsent {
	struct weir_wait wait;
	struct unsent *next;
};

static inline bool is_sending(const struct weir_conn *conn)
{
	return conn->send_op.slot_ != 0;
}

static void out_free(struct weir_net *net, struct weir_piece *out)
{
	if (out->is_ref) {
		if (out->release)
			out->release(out->arg);
		weir__slab_put(&net->refs, out);
	} else {
		weir__slab_put(&net->chunks, out);
	}
}

static void out_push(struct weir_conn *conn, struct weir_piece *out)
{
	out->next = NULL;
	out->sent = 0;
	if (conn->out_tail)
		conn->out_tail->next = out;
	else
		conn->out_head = out;
	conn->out_tail = out;
}

/* Bytes were queued. */
static void grown(struct weir_conn *conn, size_t size)
{
	conn->out_pending += size;
	if (weir_unlikely(conn->out_pending > conn->opts.out_high))
		conn->want_writable = true;
	if (!is_sending(conn))
		weir_task_ready_last(&conn->flush_task);
}

/* --- those who wait --- */

static void wake_unsent(struct weir_conn *conn)
{
	struct unsent *unsent;

	while ((unsent = conn->unsent)) {
		conn->unsent = unsent->next;
		weir__wait_wake(&unsent->wait, 0);
	}
}

static void wake_writers(struct weir_conn *conn)
{
	struct weir_node *node = conn->writers.next;

	while (node != &conn->writers) {
		struct writer *writer = weir_container_of(node, struct writer, node);

		node = node->next;
		if (conn->out_res == 0 && conn->out_pending > writer->level)
			continue;
		weir__node_remove(&writer->node);
		weir__wait_wake(&writer->wait, conn->out_res);
	}
	if (conn->want_writable && conn->out_pending <= conn->opts.out_low && conn->events &&
	    !conn->closing) {
		conn->want_writable = false;
		if (conn->events->on_writable)
			conn->events->on_writable(conn);
	}
}

static void writer_cancel(struct weir_wait *wait, int reason)
{
	struct writer *writer = weir_container_of(wait, struct writer, wait);

	weir__node_remove(&writer->node);
	weir__wait_wake(wait, reason);
}

/* Waits until at most level bytes are pending. */
static int wait_level(struct weir_conn *conn, size_t level)
{
	struct writer writer = { .conn = conn, .level = level };
	int r = weir__wait_check(WEIR_NEVER);

	if (r < 0)
		return r;
	if (conn->out_res || conn->out_pending <= level)
		return conn->out_res;
	weir__wait_init(&writer.wait);
	weir__list_push(&conn->writers, &writer.node);
	return weir__wait_park(&writer.wait, "write", writer_cancel, WEIR_NEVER);
}

/* --- sending --- */

static void pop_head(struct weir_conn *conn)
{
	struct weir_piece *out = conn->out_head;

	conn->out_head = out->next;
	if (!conn->out_head)
		conn->out_tail = NULL;
	out_free(conn->net, out);
}

static void drop_taken(struct weir_conn *conn, size_t size)
{
	conn->out_pending -= size;
	conn->bytes_out += size;
	/* A piece that comes back may have the connection closed, which drops the rest. */
	while (size && conn->out_head) {
		struct weir_piece *out = conn->out_head;
		size_t left = out->size - out->sent;

		if (size < left) {
			out->sent += (uint32_t)size;
			return;
		}
		size -= left;
		pop_head(conn);
	}
}

/* What the send in flight would have sent, had it not been short: the first piece. */
static size_t taken_whole(const struct weir_conn *conn, size_t size)
{
	size_t whole = conn->out_head->size - conn->out_head->sent;

	return size < whole ? whole : size;
}

static void prep_one(struct weir_conn *conn, struct io_uring_sqe *sqe)
{
	const struct weir_piece *out = conn->out_head;
	size_t size = out->size - out->sent;

	if (conn->opts.zc_min && size >= conn->opts.zc_min)
		io_uring_prep_send_zc(sqe, conn->fd, out->data + out->sent, size,
				      MSG_NOSIGNAL | MSG_WAITALL, 0);
	else
		io_uring_prep_send(sqe, conn->fd, out->data + out->sent, size,
				   MSG_NOSIGNAL | MSG_WAITALL);
}

static void prep_many(struct weir_conn *conn, struct io_uring_sqe *sqe, struct weir_piece_msg *msg)
{
	size_t count = 0, total = 0;

	for (struct weir_piece *out = conn->out_head; out && count < WEIR_PIECE_IOVS;
	     out = out->next) {
		msg->iov[count].iov_base = (void *)(uintptr_t)(out->data + out->sent);
		msg->iov[count].iov_len = out->size - out->sent;
		total += msg->iov[count++].iov_len;
	}
	memset(&msg->hdr, 0, sizeof(msg->hdr));
	msg->hdr.msg_iov = msg->iov;
	msg->hdr.msg_iovlen = count;
	if (conn->opts.zc_min && total >= conn->opts.zc_min)
		io_uring_prep_sendmsg_zc(sqe, conn->fd, &msg->hdr, MSG_NOSIGNAL | MSG_WAITALL);
	else
		io_uring_prep_sendmsg(sqe, conn->fd, &msg->hdr, MSG_NOSIGNAL | MSG_WAITALL);
}

/* Out of slots or SQEs: the next turn tries again. */
static void retry_later(struct weir_conn *conn)
{
	weir_slot_wait(&conn->send_slot, weir__conn_slot_run);
	conn->waits_slot = true;
}

static void start_send(struct weir_conn *conn)
{
	struct weir_ring *ring = conn->net->ring;
	enum weir_purse purse = conn->send_purse;
	struct weir_piece_msg *msg = NULL;
	struct io_uring_sqe *sqe;

	/* A reservation of which nothing was used leaves an empty piece behind. */
	while (conn->out_head->size == conn->out_head->sent)
		pop_head(conn);
	/* Without memory for a message the pieces leave one at a time: slower, but they leave. */
	if (conn->out_head->next)
		msg = weir__slab_get(&conn->net->msgs);
	sqe = weir__op_sqe(ring, purse);
	if (weir_unlikely(!sqe && ring->redeeming)) {	/* what we stood in line for is ordinary */
		purse = WEIR_TRANSIENT;
		sqe = weir__op_sqe(ring, purse);
	}
	if (weir_unlikely(!sqe)) {
		if (msg)
			weir__slab_put(&conn->net->msgs, msg);
		retry_later(conn);
		return;
	}
	if (msg)
		prep_many(conn, sqe, msg);
	else
		prep_one(conn, sqe);
	conn->msg = msg;
	sqe->flags |= conn->sqe_flags;
	weir__op_go(ring, &conn->send_op, sqe, purse);
}

static void flush(struct weir_conn *conn)
{
	if (conn->out_pending && !conn->out_res && !is_sending(conn) && !conn->waits_slot)
		start_send(conn);
}

void weir__conn_slot_run(struct weir_slot_wait *wait)
{
	struct weir_conn *conn = weir_container_of(wait, struct weir_conn, send_slot);

	conn->waits_slot = false;
	flush(conn);
	if (conn->closing)
		weir__conn_proceed_close(conn);
}

void weir__conn_flush_run(struct weir_task *task)
{
	struct weir_conn *conn = weir_container_of(task, struct weir_conn, flush_task);

	flush(conn);
	if (weir_unlikely(conn->closing))
		weir__conn_proceed_close(conn);
}

/*
 * Bytes were lost, and who waits for the answer to them would wait for ever. A peer that is gone
 * ends the input itself, after what it had sent.
 */
static void end_input_too(struct weir_conn *conn)
{
	if (conn->out_res != -EPIPE && conn->out_res != -ECONNRESET)
		weir__conn_end_input(conn, conn->out_res);
}

void weir__conn_send_done(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_conn *conn = weir_container_of(op, struct weir_conn, send_op);

	(void)flags;
	if (conn->msg) {
		weir__slab_put(&conn->net->msgs, conn->msg);
		conn->msg = NULL;
	}
	if (weir_likely(res > 0)) {
		if (WEIR__PLANT(SEND_SHORT))
			res = (int)taken_whole(conn, (size_t)res);
		conn->active_ns = weir__self->now_ns;
		drop_taken(conn, (size_t)res);
	} else if (res != -EINTR && res != -EAGAIN) {
		weir__conn_fail_output(conn, res ? res : -EPIPE);
	}
	if (weir_unlikely(conn->out_res))
		weir__conn_drop_output(conn);
	else if (conn->out_pending)
		weir_task_ready_last(&conn->flush_task);
	if (weir_unlikely(conn->unsent))
		wake_unsent(conn);
	if (!weir__list_is_empty(&conn->writers) || conn->want_writable)
		wake_writers(conn);
	if (weir_unlikely(conn->closing))
		weir__conn_proceed_close(conn);
	else if (weir_unlikely(conn->out_res))
		end_input_too(conn);
}

void weir__conn_drop_output(struct weir_conn *conn)
{
	struct weir_piece *out;

	weir_assert(!is_sending(conn));
	if (conn->out_head && !conn->out_res)
		conn->out_res = -EPIPE;		/* what was lent learns that it was not sent */
	while ((out = conn->out_head)) {
		conn->out_head = out->next;
		out_free(conn->net, out);
	}
	conn->out_tail = NULL;
	conn->out_pending = 0;
}

void weir__conn_fail_output(struct weir_conn *conn, int res)
{
	if (!conn->out_res)
		conn->out_res = res;
	if (!is_sending(conn))
		weir__conn_drop_output(conn);
	wake_writers(conn);
}

/* --- writing --- */

/* Whether writing is still allowed at all. */
static inline int write_check(const struct weir_conn *conn)
{
	if (weir_unlikely(conn->out_res))
		return conn->out_res;
	if (weir_unlikely(conn->shutdown_sent))
		return -ESHUTDOWN;
	return conn->closing ? -EBUSY : 0;
}

/* The last chunk if it has room for size bytes, or a fresh one. */
static struct weir_piece *chunk_for(struct weir_conn *conn, size_t size)
{
	struct weir_piece *out = conn->out_tail;

	/* A chunk that is being sent may grow behind what the send covers. */
	if (out && !out->is_ref && CHUNK_BYTES - out->size >= size)
		return out;
	out = weir__slab_get(&conn->net->chunks);
	if (!out)
		return NULL;
	out->data = (char *)(out + 1);
	out->size = 0;
	out->is_ref = false;
	out_push(conn, out);
	return out;
}

/* Frees what follows tail (all of it when tail is NULL). */
static void cut(struct weir_conn *conn, struct weir_piece *tail)
{
	struct weir_piece *out = tail ? tail->next : conn->out_head;

	if (tail)
		tail->next = NULL;
	else
		conn->out_head = NULL;
	conn->out_tail = tail;
	while (out) {
		struct weir_piece *next = out->next;

		out_free(conn->net, out);
		out = next;
	}
}

/* Copies all of buf to the end of the output, or nothing: -ENOBUFS. */
static int append(struct weir_conn *conn, const char *buf, size_t size)
{
	struct weir_piece *tail = conn->out_tail;
	uint32_t tail_size = tail ? tail->size : 0;

	for (size_t done = 0; done < size;) {
		struct weir_piece *out = chunk_for(conn, 1);
		size_t n;

		if (weir_unlikely(!out)) {
			cut(conn, tail);
			if (tail)
				tail->size = tail_size;
			return -ENOBUFS;
		}
		n = CHUNK_BYTES - out->size;
		if (n > size - done)
			n = size - done;
		memcpy((char *)(out + 1) + out->size, buf + done, n);
		out->size += (uint32_t)n;
		done += n;
	}
	grown(conn, size);
	return 0;
}

int weir_conn_write_ref(struct weir_conn *conn, const void *data, size_t size,
			void (*release)(void *arg), void *arg)
{
	struct weir_piece *out;
	int r = write_check(conn);

	if (r < 0)
		return r;
	weir_precond(size && size <= INT32_MAX, -EINVAL);
	if (conn->out_pending > conn->opts.out_high) {
		conn->want_writable = true;
		return -EAGAIN;
	}
	out = weir__slab_get(&conn->net->refs);
	if (!out)
		return -ENOBUFS;
	out->data = data;
	out->size = (uint32_t)size;
	out->release = release;
	out->arg = arg;
	out->is_ref = true;
	out_push(conn, out);
	grown(conn, size);
	return 0;
}

/* Waits, whatever happens, until no send is in flight. */
static void wait_unsent(struct weir_conn *conn)
{
	struct unsent unsent = { .next = conn->unsent };

	if (!is_sending(conn))
		return;
	weir__wait_init(&unsent.wait);
	conn->unsent = &unsent;
	weir__wait_park(&unsent.wait, "write", NULL, WEIR_NEVER);
}

/* Lends the caller's memory and waits until all of it was taken. */
static int write_lent(struct weir_conn *conn, const char *buf, size_t size)
{
	int r = weir__wait_check(WEIR_NEVER);

	if (r < 0)
		return r;
	r = weir_conn_write_ref(conn, buf, size, NULL, NULL);
	if (r < 0)
		return r;
	r = wait_level(conn, 0);
	if (weir_unlikely(r < 0 && conn->out_head)) {
		/* The kernel may still read buf: the stream ends here, and we stay until it does
		 * not. */
		weir__op_cancel(conn->net->ring, &conn->send_op);
		weir__conn_fail_output(conn, r);
		wait_unsent(conn);
	}
	return r;
}

int weir_conn_write_all(struct weir_conn *conn, const void *buf, size_t size)
{
	const char *from = buf;

	while (size) {
		size_t n = size;
		int r = write_check(conn);

		if (weir_likely(!r)) {
			if (weir_unlikely(conn->out_pending > conn->opts.out_high)) {
				r = wait_level(conn, conn->opts.out_low);
				n = 0;
			} else if (size >= LEND_MIN) {
				n = size < INT32_MAX ? size : (size_t)1 << 30;
				r = write_lent(conn, from, n);
			} else {
				r = append(conn, from, n);
			}
		}
		if (weir_unlikely(r < 0))
			return r;
		from += n;
		size -= n;
	}
	return 0;
}

int weir_conn_write_try(struct weir_conn *conn, const void *buf, size_t size)
{
	int r = write_check(conn);

	if (weir_unlikely(r < 0))
		return r;
	if (weir_unlikely(conn->out_pending > conn->opts.out_high)) {
		conn->want_writable = true;
		return -EAGAIN;
	}
	return append(conn, buf, size);
}

char *weir_conn_reserve(struct weir_conn *conn, size_t size)
{
	struct weir_piece *out;

	if (write_check(conn) < 0 || size > WEIR_CONN_RESERVE_MAX)
		return NULL;
	if (conn->out_pending > conn->opts.out_high) {
		conn->want_writable = true;
		return NULL;
	}
	out = chunk_for(conn, size);
	return out ? (char *)(out + 1) + out->size : NULL;
}

void weir_conn_commit(struct weir_conn *conn, size_t used)
{
	struct weir_piece *out = conn->out_tail;

	weir_assert(out && !out->is_ref && used <= CHUNK_BYTES - out->size);
	out->size += (uint32_t)used;
	grown(conn, used);
}

int weir_conn_flush(struct weir_conn *conn)
{
	return wait_level(conn, 0);
}

int weir_conn_wait_writable(struct weir_conn *conn)
{
	return wait_level(conn, conn->opts.out_low);
}

size_t weir_conn_pending(const struct weir_conn *conn)
{
	return conn->out_pending;
}
