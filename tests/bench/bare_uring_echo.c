/* SPDX-License-Identifier: MIT */
/*
 * bare_uring_echo.c - the yardstick: an echo server by hand on bare liburing, with what
 * is known to be fast and nothing else. No bound, no timer, no error path worth the name: what
 * weir adds to this is what it costs.
 *
 * Multishot accept into direct descriptors, multishot receive from a buffer ring, each buffer
 * sent from where it lies, one system call a turn. Sends that are ready in one turn for one
 * connection are one sendmsg: with a deep pipeline that is what decides.
 *
 *	bare_uring_echo PORT_FILE
 */
#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFS 2048
#define BUF_SIZE 4096
#define CONNS 8192
#define IOVS 32

enum kind { ACCEPT, RECV, SEND, CLOSE };

struct conn {
	struct msghdr msg;
	struct iovec iov[IOVS];
	unsigned short ids[IOVS];	/* of the buffers in the send that is in flight */
	unsigned sending;
	unsigned short next_ids[IOVS];	/* received meanwhile */
	unsigned next_sizes[IOVS];
	unsigned next;
	bool dirty;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buf_ring;
static char *bufs;
static struct conn *conns;
static unsigned dirty[CONNS], dirty_count;

static struct io_uring_sqe *get_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

static void set_user_data(struct io_uring_sqe *sqe, enum kind kind, unsigned conn)
{
	sqe->user_data = (uint64_t)kind << 32 | conn;
}

static void arm_recv(unsigned index)
{
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_recv_multishot(sqe, (int)index, NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	set_user_data(sqe, RECV, index);
}

static void mark_dirty(unsigned index)
{
	if (conns[index].dirty)
		return;
	conns[index].dirty = true;
	dirty[dirty_count++] = index;
}

static void send_next(unsigned index)
{
	struct conn *conn = &conns[index];
	struct io_uring_sqe *sqe;

	conn->dirty = false;
	if (conn->sending || !conn->next)
		return;
	sqe = get_sqe();
	for (unsigned i = 0; i < conn->next; i++) {
		conn->ids[i] = conn->next_ids[i];
		conn->iov[i].iov_base = bufs + (size_t)conn->next_ids[i] * BUF_SIZE;
		conn->iov[i].iov_len = conn->next_sizes[i];
	}
	conn->sending = conn->next;
	conn->next = 0;
	if (conn->sending == 1) {
		io_uring_prep_send(sqe, (int)index, conn->iov[0].iov_base, conn->iov[0].iov_len,
				   MSG_WAITALL | MSG_NOSIGNAL);
	} else {
		conn->msg.msg_iov = conn->iov;
		conn->msg.msg_iovlen = conn->sending;
		io_uring_prep_sendmsg(sqe, (int)index, &conn->msg, MSG_WAITALL | MSG_NOSIGNAL);
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	set_user_data(sqe, SEND, index);
}

static unsigned given_back;

static void give_back(unsigned short id)
{
	io_uring_buf_ring_add(buf_ring, bufs + (size_t)id * BUF_SIZE, BUF_SIZE, id, BUFS - 1,
			      (int)given_back++);
}

static void recv_done(unsigned index, const struct io_uring_cqe *cqe)
{
	struct conn *conn = &conns[index];
	struct io_uring_sqe *sqe;

	if (cqe->res > 0) {
		unsigned short id = (unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

		if (conn->next == IOVS) {	/* the load never goes that deep */
			give_back(id);
			return;
		}
		conn->next_ids[conn->next] = id;
		conn->next_sizes[conn->next++] = (unsigned)cqe->res;
		mark_dirty(index);
	}
	if (cqe->flags & IORING_CQE_F_MORE)
		return;
	if (cqe->res > 0 || cqe->res == -ENOBUFS) {
		arm_recv(index);
		return;
	}
	sqe = get_sqe();
	io_uring_prep_close_direct(sqe, index);
	set_user_data(sqe, CLOSE, index);
	conn->next = 0;
}

static void send_done(unsigned index)
{
	struct conn *conn = &conns[index];

	for (unsigned i = 0; i < conn->sending; i++)
		give_back(conn->ids[i]);
	conn->sending = 0;
	if (conn->next)
		mark_dirty(index);
}

static void turn(void)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_submit_and_wait(&ring, 1);
	given_back = 0;
	io_uring_for_each_cqe(&ring, head, cqe) {
		unsigned index = (unsigned)cqe->user_data;
		enum kind kind = (enum kind)(cqe->user_data >> 32);

		if (kind == RECV)
			recv_done(index, cqe);
		else if (kind == SEND)
			send_done(index);
		else if (kind == ACCEPT && cqe->res >= 0)
			arm_recv((unsigned)cqe->res);
		count++;
	}
	io_uring_cq_advance(&ring, count);
	for (unsigned i = 0; i < dirty_count; i++)
		send_next(dirty[i]);
	dirty_count = 0;
	if (given_back)
		io_uring_buf_ring_advance(buf_ring, (int)given_back);
}

static int listen_on_loopback(const char *port_file)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	FILE *file;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, size) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&addr, &size))
		return -1;
	file = fopen(port_file, "we");
	if (!file)
		return -1;
	fprintf(file, "tcp://127.0.0.1:%u\n", ntohs(addr.sin_port));
	fclose(file);
	return fd;
}

int main(int argc, char **argv)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = 8192,
	};
	struct io_uring_sqe *sqe;
	int r, fd;

	if (argc != 2) {
		fprintf(stderr, "usage: bare_uring_echo PORT_FILE\n");
		return 2;
	}
	conns = calloc(CONNS, sizeof(*conns));
	bufs = malloc((size_t)BUFS * BUF_SIZE);
	r = io_uring_queue_init_params(1024, &ring, &params);
	if (r < 0 || !conns || !bufs) {
		fprintf(stderr, "bare_uring_echo: %s\n", strerror(r < 0 ? -r : 12));
		return 1;
	}
	io_uring_register_ring_fd(&ring);
	io_uring_register_files_sparse(&ring, CONNS);
	buf_ring = io_uring_setup_buf_ring(&ring, BUFS, 1, 0, &r);
	for (unsigned i = 0; i < BUFS; i++)
		give_back((unsigned short)i);
	io_uring_buf_ring_advance(buf_ring, BUFS);
	fd = listen_on_loopback(argv[1]);
	if (fd < 0) {
		perror("bare_uring_echo");
		return 1;
	}
	sqe = get_sqe();
	io_uring_prep_multishot_accept_direct(sqe, fd, NULL, NULL, 0);
	set_user_data(sqe, ACCEPT, 0);
	for (;;)
		turn();
}
