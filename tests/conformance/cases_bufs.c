/* SPDX-License-Identifier: MIT */
/*
 * cases_bufs.c - provided buffers: their rings, one a receive, many a receive, parts of one.
 */
#include "tests/conformance/conform.h"

static void recv_into_group(struct cf *c, int fd, unsigned size, unsigned ioprio)
{
	struct io_uring_sqe *sqe = cf_sqe(c, "recv");

	io_uring_prep_recv(sqe, fd, NULL, size, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	sqe->ioprio |= (uint16_t)ioprio;
}

static void wait_for_bytes(struct cf *c, int fd)
{
	io_uring_prep_poll_add(cf_step(c), fd, POLLIN);
	cf_must(c, cf_do(c), "poll");
}

static void a_receive_picks_the_next_buffer(struct cf *c)
{
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 8, 0);
	cf_bufs_add(c, &bufs, 3);
	for (int i = 0; i < 4; i++) {
		cf_send(c, fds[0], "abc");
		wait_for_bytes(c, fds[1]);
		recv_into_group(c, fds[1], 0, 0);
		cf_await(c, 1);
	}
}

static void a_receive_takes_no_more_than_a_buffer(struct cf *c)
{
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 8, 0);
	cf_bufs_add(c, &bufs, 4);
	cf_send(c, fds[0], "abcdefghijklmnop");
	wait_for_bytes(c, fds[1]);
	recv_into_group(c, fds[1], 0, 0);
	cf_await(c, 1);
	recv_into_group(c, fds[1], 3, 0);
	cf_await(c, 1);
	recv_into_group(c, fds[1], 100, 0);
	cf_await(c, 1);
	cf_note(c, "%.8s|%.3s|%.5s", bufs.memory, bufs.memory + 8, bufs.memory + 16);
}

/* What waits holds no buffer: it is picked when there are bytes. */
static void a_receive_that_waits_holds_no_buffer(struct cf *c)
{
	struct cf_bufs bufs;
	int a[2], b[2];

	cf_pair(c, AF_INET, a);
	cf_pair(c, AF_INET, b);
	cf_bufs(c, &bufs, 1, 4, 8, 0);
	cf_bufs_add(c, &bufs, 1);
	recv_into_group(c, a[1], 0, 0);
	cf_submit(c);
	cf_send(c, b[0], "b");
	wait_for_bytes(c, b[1]);
	recv_into_group(c, b[1], 0, 0);
	cf_await(c, 1);
	cf_send(c, a[0], "a");
	cf_await(c, 1);
}

static void the_end_of_a_stream_takes_no_buffer(struct cf *c)
{
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 8, 0);
	cf_bufs_add(c, &bufs, 4);
	cf_close(c, fds[0]);
	recv_into_group(c, fds[1], 0, 0);
	cf_await(c, 1);
}

static void a_file_is_read_into_a_group(struct cf *c)
{
	struct cf_bufs bufs;
	struct io_uring_sqe *sqe;
	int fd = cf_file(c, "file", "abcdefghijkl");

	cf_bufs(c, &bufs, 1, 4, 8, 0);
	cf_bufs_add(c, &bufs, 4);
	sqe = cf_sqe(c, "read");
	io_uring_prep_read(sqe, fd, NULL, 0, 2);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_await(c, 1);
	cf_note(c, "%.8s", bufs.memory);
}

static void rings_of_buffers_that_are_wrong(struct cf *c)
{
	char *memory = (char *)(((uintptr_t)cf_mem(c, 16384) + 4095) & ~(uintptr_t)4095);
	struct io_uring_buf_reg reg = { .ring_addr = (uintptr_t)memory,
					.ring_entries = 4,
					.bgid = 1 };

	cf_note_res(c, "good", cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1));
	cf_note_res(c, "again", cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg.bgid = 2;
	reg.ring_entries = 5;
	cf_note_res(c, "odd", cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg.ring_entries = 0;
	cf_note_res(c, "none", cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg.ring_entries = 65536;
	cf_note_res(c, "many", cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg.ring_entries = 4;
	reg.ring_addr += 8;
	cf_note_res(c, "address", cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1));
	reg.ring_addr = (uintptr_t)memory;
	reg.flags = 1 << 14;
	cf_note_res(c, "flags", cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1));
	memset(&reg, 0, sizeof(reg));
	reg.bgid = 1;
	cf_note_res(c, "unregister", cf_register(c, IORING_UNREGISTER_PBUF_RING, &reg, 1));
	cf_note_res(c, "unregister", cf_register(c, IORING_UNREGISTER_PBUF_RING, &reg, 1));
}

static void a_ring_of_buffers_tells_its_head(struct cf *c)
{
	struct io_uring_buf_status status = { .buf_group = 1 };
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 8, 0);
	cf_bufs_add(c, &bufs, 4);
	cf_note_res(c, "status", cf_register(c, IORING_REGISTER_PBUF_STATUS, &status, 1));
	cf_note(c, "head %u", status.head);
	cf_send(c, fds[0], "abc");
	recv_into_group(c, fds[1], 0, 0);
	cf_await(c, 1);
	cf_register(c, IORING_REGISTER_PBUF_STATUS, &status, 1);
	cf_note(c, "head %u", status.head);
	status.buf_group = 9;
	cf_note_res(c, "unknown", cf_register(c, IORING_REGISTER_PBUF_STATUS, &status, 1));
}

/* --- incremental --- */

static void a_buffer_is_filled_bit_by_bit(struct cf *c)
{
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 8, IOU_PBUF_RING_INC);
	cf_bufs_add(c, &bufs, 2);
	for (int i = 0; i < 3; i++) {
		cf_send(c, fds[0], "abc");
		wait_for_bytes(c, fds[1]);
		recv_into_group(c, fds[1], 0, 0);
		cf_await(c, 1);
	}
	recv_into_group(c, fds[1], 0, 0);
	cf_await(c, 1);
	cf_note(c, "%.8s|%.1s", bufs.memory, bufs.memory + 8);
}

static void a_multishot_fills_a_buffer_bit_by_bit(struct cf *c)
{
	struct cf_bufs bufs;
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 8, IOU_PBUF_RING_INC);
	cf_bufs_add(c, &bufs, 1);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv_multishot(sqe, fds[1], NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_submit(c);
	cf_send(c, fds[0], "abc");
	cf_await(c, 1);
	cf_send(c, fds[0], "de");
	cf_await(c, 1);
	cf_send(c, fds[0], "fghij");
	cf_await_end(c, "recv");
	cf_note(c, "%.8s", bufs.memory);
}

/* --- bundles --- */

/* uring.md: 300 bytes over buffers of 64 are one CQE of 256, then one of 44. */
static void a_bundle_takes_many_buffers(struct cf *c)
{
	struct cf_bufs bufs;
	char text[301];
	int fds[2];

	memset(text, 'x', 300);
	text[300] = 0;
	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 8, 64, 0);
	cf_bufs_add(c, &bufs, 4);
	cf_send(c, fds[0], text);
	wait_for_bytes(c, fds[1]);
	recv_into_group(c, fds[1], 0, IORING_RECVSEND_BUNDLE);
	cf_await(c, 1);
	cf_bufs_add(c, &bufs, 2);
	recv_into_group(c, fds[1], 0, IORING_RECVSEND_BUNDLE);
	cf_await(c, 1);
}

static void a_bundle_is_sent_from_many_buffers(struct cf *c)
{
	struct cf_bufs bufs;
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 4, 0);
	if (!c->broken)
		memcpy(bufs.memory, "aaaabbbbcccc", 12);
	cf_bufs_add(c, &bufs, 3);
	sqe = cf_sqe(c, "send");
	io_uring_prep_send_bundle(sqe, fds[0], 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_await(c, 1);
	cf_recv(c, fds[1], "there", 64);
}

const struct cf_case cf_cases_bufs[] = {
	CF_CASE(a_receive_picks_the_next_buffer,
		CF_LEGAL(WILL("recv 3 buf 0; recv 3 buf 1; recv 3 buf 2; recv -ENOBUFS"))),
	CF_CASE(a_receive_takes_no_more_than_a_buffer,
		CF_LEGAL(WILL("recv 8 buf 0; recv 3 buf 1; recv 5 buf 2; abcdefgh|ijk|lmnop"))),
	CF_CASE(a_receive_that_waits_holds_no_buffer, .prompt = true,
		CF_LEGAL(WILL("recv 1 buf 0; recv -ENOBUFS"))),
	CF_CASE(the_end_of_a_stream_takes_no_buffer, CF_LEGAL(WILL("recv 0"))),
	CF_CASE(a_file_is_read_into_a_group, CF_LEGAL(WILL("read 8 buf 0; cdefghij"))),
	CF_CASE(rings_of_buffers_that_are_wrong,
		CF_LEGAL(WILL("good 0; again -EEXIST; odd -EINVAL; none -EINVAL; many -EINVAL; "
			      "address -EINVAL; flags -EINVAL; unregister 0; unregister -ENOENT"))),
	CF_CASE(a_ring_of_buffers_tells_its_head, .since = 608,
		CF_LEGAL(WILL("status 0; head 0; recv 3 buf 0; head 1; unknown -ENOENT"))),
	CF_CASE(a_buffer_is_filled_bit_by_bit, .since = 612,
		CF_LEGAL(WILL("recv 3 buf 0 part; recv 3 buf 0 part; recv 2 buf 0; "
			      "recv 1 buf 1 part; abcabcab|c"))),
	CF_CASE(a_multishot_fills_a_buffer_bit_by_bit, .since = 612,
		CF_LEGAL(WILL("recv 3+ buf 0 part; recv 2+ buf 0 part; recv 3+ buf 0; "
			      "recv -ENOBUFS; abcdefgh"))),
	CF_CASE(a_bundle_takes_many_buffers, NOT_POLL, .since = 610,
		CF_LEGAL(WILL("recv 256 buf 0; recv 44 buf 4"))),
	CF_CASE(a_bundle_is_sent_from_many_buffers, NOT_POLL, .since = 610,
		CF_LEGAL(WILL("send 12 buf 0; there \"aaaabbbbcccc\""))),
	{ .name = NULL }
};
