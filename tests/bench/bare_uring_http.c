/* SPDX-License-Identifier: MIT */
/*
 * bare_uring_http.c - the ceiling of HTTP: looks for the end of each request head, nothing
 * else, and answers from memory, all that a turn found on a connection in one send. No parser
 * can be faster; how far a server is from it is what parsing and routing cost.
 *
 *	bare_uring_http --port-file FILE [--bufs COUNT] [--buf-size BYTES] [--spin-us US]
 */
#include "tests/bench/bare_uring.h"

#define ANSWERS_MAX 64 /* in one send */

static const char answer[] = "HTTP/1.1 200 OK\r\n"
			     "Content-Type: text/plain\r\n"
			     "Content-Length: 13\r\n\r\n"
			     "Hello, World!";

#define ANSWER_SIZE (sizeof(answer) - 1)

/* All zero while its descriptor is free. */
struct conn {
	uint32_t owed;	  /* bytes of answers that were not handed to a send */
	uint32_t sending; /* bytes of the send in flight */
	uint8_t matched;  /* bytes of CRLFCRLF seen at the end of what was received */
	bool dirty, ended, broken;
};

static char answers[ANSWERS_MAX * ANSWER_SIZE];
static struct conn *conns;
static unsigned dirty[BARE_CONNS_MAX], dirty_count;

static void mark_dirty(unsigned index)
{
	if (conns[index].dirty)
		return;
	conns[index].dirty = true;
	dirty[dirty_count++] = index;
}

/* Byte by byte only where a head may end: at a CR, or when one was begun before. */
static unsigned count_heads(struct conn *conn, const char *data, size_t size)
{
	static const char end[4] = { '\r', '\n', '\r', '\n' };
	const char *stop = data + size;
	unsigned heads = 0;

	while (data < stop) {
		if (!conn->matched) {
			data = memchr(data, '\r', (size_t)(stop - data));
			if (!data)
				break;
		}
		if (*data == end[conn->matched])
			conn->matched++;
		else
			conn->matched = *data == '\r';
		data++;
		if (conn->matched == 4) {
			conn->matched = 0;
			heads++;
		}
	}
	return heads;
}

static void flush(unsigned index)
{
	struct conn *conn = &conns[index];
	uint32_t size = conn->owed, begin;

	conn->dirty = false;
	if (conn->sending)
		return;
	if (size) {
		/* After a short send the rest of an answer comes first. */
		begin = (uint32_t)(ANSWER_SIZE - size % ANSWER_SIZE) % ANSWER_SIZE;
		if (size > sizeof(answers) - begin)
			size = (uint32_t)sizeof(answers) - begin;
		conn->owed -= size;
		conn->sending = size;
		bare_send(index, answers + begin, size);
	} else if (conn->ended) {
		*conn = (struct conn){ 0 };
		bare_close(index);
	}
}

static void recv_done(unsigned index, const struct io_uring_cqe *cqe)
{
	struct conn *conn = &conns[index];

	if (cqe->res > 0) {
		unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		unsigned heads = count_heads(conn, bare_buf(id), (size_t)cqe->res);

		if (!conn->broken)
			conn->owed += heads * (uint32_t)ANSWER_SIZE;
		bare_give_back(id);
		if (heads)
			mark_dirty(index);
	}
	if (cqe->flags & IORING_CQE_F_MORE || bare_recv_goes_on(index, cqe->res))
		return;
	conn->ended = true;
	mark_dirty(index);
}

static void send_done(unsigned index, int res)
{
	struct conn *conn = &conns[index];

	if (res <= 0) {
		conn->broken = true;
		conn->owed = 0;
	} else {
		conn->owed += conn->sending - (uint32_t)res;
	}
	conn->sending = 0;
	if (conn->owed || conn->ended)
		mark_dirty(index);
}

static void turn(unsigned spin_us)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	bare_submit_and_wait(spin_us);
	io_uring_for_each_cqe(&ring, head, cqe)
	{
		unsigned index = (unsigned)cqe->user_data;
		enum bare_kind kind = (enum bare_kind)(cqe->user_data >> 32);

		if (kind == BARE_RECV)
			recv_done(index, cqe);
		else if (kind == BARE_SEND)
			send_done(index, cqe->res);
		else if (kind == BARE_ACCEPT)
			bare_accepted(cqe);
		else
			bare_closed();
		count++;
	}
	io_uring_cq_advance(&ring, count);
	bare_return_bufs();
	for (unsigned i = 0; i < dirty_count; i++)
		flush(dirty[i]);
	dirty_count = 0;
}

int main(int argc, char **argv)
{
	struct bare_opts opts = { .buf_count = 1024, .buf_size = 2048 };

	bare_options(argc, argv, &opts);
	conns = calloc(BARE_CONNS_MAX, sizeof(*conns));
	if (!conns)
		bare_die("connections", ENOMEM);
	for (unsigned i = 0; i < ANSWERS_MAX; i++)
		memcpy(answers + i * ANSWER_SIZE, answer, ANSWER_SIZE);
	bare_make_ring(&opts);
	for (;;)
		turn(opts.spin_us);
}
