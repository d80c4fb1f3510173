/* SPDX-License-Identifier: MIT */
/*
 * cases_file.c - reads and writes of a file, and what else is done to one that is open.
 */
#include "tests/conformance/conform.h"

#include <linux/falloc.h>

static struct iovec *vec(struct cf *c, char *a, size_t a_size, char *b, size_t b_size)
{
	struct iovec *iov = cf_mem(c, 2 * sizeof(*iov));

	iov[0] = (struct iovec){ a, a_size };
	iov[1] = (struct iovec){ b, b_size };
	return iov;
}

static void what_is_written_is_read(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	char *text = cf_mem(c, 16);

	io_uring_prep_write(cf_sqe(c, "write"), fd, "hello", 5, 0);
	cf_await(c, 1);
	io_uring_prep_write(cf_sqe(c, "write"), fd, "LL", 2, 2);
	cf_await(c, 1);
	io_uring_prep_read(cf_sqe(c, "read"), fd, text, 16, 0);
	cf_await(c, 1);
	cf_note(c, "%s", text);
}

static void reads_end_with_the_file(struct cf *c)
{
	int fd = cf_file(c, "file", "hello");

	io_uring_prep_read(cf_sqe(c, "across"), fd, cf_mem(c, 16), 16, 2);
	io_uring_prep_read(cf_sqe(c, "at"), fd, cf_mem(c, 16), 16, 5);
	io_uring_prep_read(cf_sqe(c, "beyond"), fd, cf_mem(c, 16), 16, 50);
	io_uring_prep_read(cf_sqe(c, "nothing"), fd, cf_mem(c, 16), 0, 0);
	cf_await(c, 4);
}

static void minus_one_is_the_file_s_own_position(struct cf *c)
{
	int fd = cf_file(c, "file", "abcdef");
	char *text = cf_mem(c, 16);

	io_uring_prep_read(cf_sqe(c, "read"), fd, text, 2, (__u64)-1);
	cf_await(c, 1);
	io_uring_prep_read(cf_sqe(c, "other"), fd, cf_mem(c, 8), 3, 1);
	cf_await(c, 1);
	io_uring_prep_read(cf_sqe(c, "read"), fd, text + 2, 2, (__u64)-1);
	cf_await(c, 1);
	io_uring_prep_write(cf_sqe(c, "write"), fd, "X", 1, (__u64)-1);
	cf_await(c, 1);
	cf_note(c, "%s", text);
	cf_note_file(c, fd);
}

static void a_write_beyond_the_end_leaves_zeros(struct cf *c)
{
	int fd = cf_file(c, "file", "ab");

	io_uring_prep_write(cf_sqe(c, "write"), fd, "z", 1, 5);
	cf_await(c, 1);
	cf_note_file(c, fd);
}

static void vectors_are_filled_in_order(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	char *a = cf_mem(c, 8);
	char *b = cf_mem(c, 8);
	char hello[] = "hel", world[] = "lo you";

	io_uring_prep_writev(cf_sqe(c, "writev"), fd, vec(c, hello, 3, world, 6), 2, 0);
	cf_await(c, 1);
	io_uring_prep_readv(cf_sqe(c, "readv"), fd, vec(c, a, 4, b, 8), 2, 0);
	cf_await(c, 1);
	cf_note(c, "%s|%s", a, b);
	io_uring_prep_readv(cf_sqe(c, "none"), fd, vec(c, a, 4, b, 8), 0, 0);
	io_uring_prep_readv(cf_sqe(c, "toomany"), fd, vec(c, a, 4, b, 8), 5000, 0);
	cf_await(c, 2);
}

/* The vector may be gone once it is submitted; what it names may not. */
static void a_vector_is_read_at_submission(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	char *data = cf_mem(c, 8);
	struct iovec *iov = vec(c, data, 2, data, 1);

	memcpy(data, "ab", 3);
	io_uring_prep_writev(cf_sqe(c, "writev"), fd, iov, 2, 0);
	cf_submit(c);
	memset(iov, 0, 2 * sizeof(*iov));
	cf_await(c, 1);
	cf_note_file(c, fd);
}

static void append_writes_go_to_the_end(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");
	int end = cf_open(c, "file", O_WRONLY | O_APPEND);

	io_uring_prep_write(cf_sqe(c, "write"), end, "d", 1, 0);
	cf_await(c, 1);
	io_uring_prep_write(cf_sqe(c, "write"), end, "e", 1, 1);
	cf_await(c, 1);
	cf_note_file(c, fd);
}

static void the_mode_of_a_descriptor_is_kept(struct cf *c)
{
	int to, from;

	cf_file(c, "file", "abc");
	to = cf_open(c, "file", O_WRONLY);
	from = cf_open(c, "file", O_RDONLY);
	io_uring_prep_read(cf_sqe(c, "read"), to, cf_mem(c, 8), 8, 0);
	io_uring_prep_write(cf_sqe(c, "write"), from, "x", 1, 0);
	io_uring_prep_fsync(cf_sqe(c, "fsync"), from, 0);
	io_uring_prep_ftruncate(cf_sqe(c, "truncate"), from, 1);
	cf_await(c, 4);
}

static void a_directory_is_not_read(struct cf *c)
{
	int fd = cf_dir(c);

	io_uring_prep_read(cf_sqe(c, "read"), fd, cf_mem(c, 8), 8, 0);
	io_uring_prep_write(cf_sqe(c, "write"), fd, "x", 1, 0);
	io_uring_prep_fsync(cf_sqe(c, "fsync"), fd, 0);
	cf_await(c, 3);
}

static void syncs_of_a_file(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");
	int sock = cf_socket(c, AF_INET, SOCK_STREAM);

	io_uring_prep_fsync(cf_sqe(c, "all"), fd, 0);
	io_uring_prep_fsync(cf_sqe(c, "data"), fd, IORING_FSYNC_DATASYNC);
	io_uring_prep_fsync(cf_sqe(c, "socket"), sock, 0);
	io_uring_prep_fsync(cf_sqe(c, "nothing"), 999, 0);
	cf_await(c, 4);
}

static void a_durable_write(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	struct io_uring_sqe *sqe = cf_sqe(c, "write");

	io_uring_prep_write(sqe, fd, "abc", 3, 0);
	sqe->rw_flags = RWF_DSYNC;
	cf_await(c, 1);
	cf_note_file(c, fd);
}

static void an_appending_write_by_its_flag(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");
	struct io_uring_sqe *sqe = cf_sqe(c, "write");

	io_uring_prep_write(sqe, fd, "d", 1, 0);
	sqe->rw_flags = RWF_APPEND;
	cf_await(c, 1);
	cf_note_file(c, fd);
	sqe = cf_sqe(c, "unknown");
	io_uring_prep_write(sqe, fd, "d", 1, 0);
	sqe->rw_flags = 1 << 30;
	cf_await(c, 1);
}

static void registered_memory(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	char *memory = cf_mem(c, 8192);
	struct iovec iov = { memory, 4096 };

	cf_note_res(c, "register", cf_register(c, IORING_REGISTER_BUFFERS, &iov, 1));
	memcpy(memory + 100, "abc", 3);
	io_uring_prep_write_fixed(cf_sqe(c, "write"), fd, memory + 100, 3, 0, 0);
	cf_await(c, 1);
	io_uring_prep_read_fixed(cf_sqe(c, "read"), fd, memory, 16, 0, 0);
	cf_await(c, 1);
	cf_note(c, "%s", memory);
	io_uring_prep_read_fixed(cf_sqe(c, "outside"), fd, memory + 4090, 16, 0, 0);
	io_uring_prep_read_fixed(cf_sqe(c, "index"), fd, memory, 16, 0, 1);
	cf_await(c, 2);
	cf_note_res(c, "again", cf_register(c, IORING_REGISTER_BUFFERS, &iov, 1));
	cf_note_res(c, "unregister", cf_register(c, IORING_UNREGISTER_BUFFERS, NULL, 0));
	cf_note_res(c, "unregister", cf_register(c, IORING_UNREGISTER_BUFFERS, NULL, 0));
	io_uring_prep_read_fixed(cf_sqe(c, "none"), fd, memory, 16, 0, 0);
	cf_await(c, 1);
}

static void a_file_is_truncated(struct cf *c)
{
	int fd = cf_file(c, "file", "abcdef");

	io_uring_prep_ftruncate(cf_sqe(c, "shorter"), fd, 3);
	cf_await(c, 1);
	cf_note_file(c, fd);
	io_uring_prep_ftruncate(cf_sqe(c, "longer"), fd, 5);
	cf_await(c, 1);
	cf_note_file(c, fd);
	io_uring_prep_ftruncate(cf_sqe(c, "negative"), fd, -1);
	cf_await(c, 1);
}

static void a_file_is_truncated_by_the_call(struct cf *c)
{
	int fd = cf_file(c, "file", "abcdef");

	if (c->broken)
		return;
	cf_note_res(c, "truncate", c->kernel->ops->ftruncate(c->kernel, fd, 3));
	cf_note_file(c, fd);
	cf_note_res(c, "negative", c->kernel->ops->ftruncate(c->kernel, fd, -1));
	cf_note_res(c, "nothing", c->kernel->ops->ftruncate(c->kernel, 999, 1));
}

static void room_is_made_in_a_file(struct cf *c)
{
	int fd = cf_file(c, "file", "ab");

	io_uring_prep_fallocate(cf_sqe(c, "keep"), fd, FALLOC_FL_KEEP_SIZE, 0, 100);
	cf_await(c, 1);
	cf_note_file(c, fd);
	io_uring_prep_fallocate(cf_sqe(c, "grow"), fd, 0, 0, 4);
	cf_await(c, 1);
	cf_note_file(c, fd);
	io_uring_prep_fallocate(cf_sqe(c, "nothing"), fd, 0, 0, 0);
	cf_await(c, 1);
}

static void a_hole_is_punched(struct cf *c)
{
	int fd = cf_file(c, "file", "abcdef");

	io_uring_prep_fallocate(cf_sqe(c, "punch"), fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 3);
	cf_await(c, 1);
	cf_note_file(c, fd);
}

static void a_file_is_looked_at(struct cf *c)
{
	int fd = cf_file(c, "file", "abcdef");
	struct statx st;

	memset(&st, 0, sizeof(st));
	if (c->broken)
		return;
	cf_note_res(c, "statx",
		    c->kernel->ops->statx(c->kernel, fd, STATX_BASIC_STATS, &st));
	cf_note(c, "size %llu mode %o links %u", (unsigned long long)st.stx_size,
		st.stx_mode & (S_IFMT | 0700), st.stx_nlink);
	cf_note_res(c, "nothing", c->kernel->ops->statx(c->kernel, 999, STATX_SIZE, &st));
}

/* The attempt before the ring: all, or -EAGAIN, or a file system that does not know it. */
static void a_read_that_does_not_wait(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");
	char *text = cf_mem(c, 16);
	struct iovec iov = { text, 16 };

	if (!c->broken)
		cf_note_res(c, "read",
			    c->kernel->ops->preadv2(c->kernel, fd, &iov, 1, 0, RWF_NOWAIT));
}

static void reads_and_writes_by_the_call(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");
	char *text = cf_mem(c, 16);
	struct iovec *iov = vec(c, text, 2, text + 4, 8);

	if (c->broken)
		return;
	cf_note_res(c, "read", c->kernel->ops->preadv2(c->kernel, fd, iov, 2, 0, 0));
	cf_note_res(c, "end", c->kernel->ops->preadv2(c->kernel, fd, iov, 2, 3, 0));
	memcpy(text, "XY", 2);
	cf_note_res(c, "write", c->kernel->ops->pwritev2(c->kernel, fd, iov, 1, 2, 0));
	cf_note_file(c, fd);
	cf_note_res(c, "nothing", c->kernel->ops->preadv2(c->kernel, 999, iov, 1, 0, 0));
}

static void a_closed_descriptor_is_bad(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");

	io_uring_prep_close(cf_sqe(c, "close"), fd);
	cf_await(c, 1);
	io_uring_prep_read(cf_sqe(c, "read"), fd, cf_mem(c, 8), 8, 0);
	cf_await(c, 1);
	io_uring_prep_close(cf_sqe(c, "close"), fd);
	cf_await(c, 1);
	io_uring_prep_close(cf_sqe(c, "never"), -1);
	cf_await(c, 1);
}

static void the_lowest_free_number_is_the_next_descriptor(struct cf *c)
{
	int a = cf_file(c, "a", "");
	int b = cf_file(c, "b", "");
	int again;

	cf_close(c, a);
	again = cf_open(c, "b", O_RDONLY);
	cf_note(c, "%s", again == a && b > a ? "the same" : "another");
}

/* Bytes that are in a file go to a socket by way of a pipe; a socket alone is refused. */
static void a_splice_needs_a_pipe(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");
	int fds[2];

	cf_pair(c, AF_INET, fds);
	io_uring_prep_splice(cf_sqe(c, "splice"), fd, 0, fds[0], -1, 3, 0);
	cf_await(c, 1);
}

/* Without links no order is promised, but each byte is of one of the two. */
static void two_writes_at_once(struct cf *c)
{
	int fd = cf_file(c, "file", "");

	io_uring_prep_write(cf_sqe(c, "a"), fd, "aaaa", 4, 0);
	io_uring_prep_write(cf_sqe(c, "b"), fd, "bbbb", 4, 0);
	cf_await(c, 2);
	cf_note_file(c, fd);
}

const struct cf_case cf_cases_file[] = {
	CF_CASE(what_is_written_is_read, CF_LEGAL(WILL("write 5; write 2; read 5; heLLo"))),
	CF_CASE(reads_end_with_the_file, CF_LEGAL(WILL("across 3; at 0; beyond 0; nothing 0"))),
	CF_CASE(minus_one_is_the_file_s_own_position,
		CF_LEGAL(WILL("read 2; other 3; read 2; write 1; abcd; \"abcdXf\""))),
	CF_CASE(a_write_beyond_the_end_leaves_zeros, CF_LEGAL(WILL("write 1; \"ab...z\""))),
	CF_CASE(vectors_are_filled_in_order,
		CF_LEGAL(WILL("writev 9; readv 9; hell|o you; none 0; toomany -EINVAL"))),
	CF_CASE(a_vector_is_read_at_submission, NOT_POLL, CF_LEGAL(WILL("writev 3; \"aba\""))),
	CF_CASE(append_writes_go_to_the_end, CF_LEGAL(WILL("write 1; write 1; \"abcde\""))),
	CF_CASE(the_mode_of_a_descriptor_is_kept, .ops = { IORING_OP_FTRUNCATE },
		CF_LEGAL(WILL("fsync 0; read -EBADF; truncate -EINVAL; write -EBADF"))),
	CF_CASE(a_directory_is_not_read, CF_LEGAL(WILL("fsync 0; read -EISDIR; write -EBADF"))),
	CF_CASE(syncs_of_a_file, CF_LEGAL(WILL("all 0; data 0; nothing -EBADF; socket -EINVAL"))),
	CF_CASE(a_durable_write, CF_LEGAL(WILL("write 3; \"abc\""))),
	CF_CASE(an_appending_write_by_its_flag,
		CF_LEGAL(WILL("write 1; \"abcd\"; unknown -EOPNOTSUPP"))),
	CF_CASE(registered_memory,
		CF_LEGAL(WILL("register 0; write 3; read 3; abc; index -EFAULT; outside -EFAULT; "
			      "again -EBUSY; unregister 0; unregister -ENXIO; none -EFAULT"))),
	CF_CASE(a_file_is_truncated, .ops = { IORING_OP_FTRUNCATE },
		CF_LEGAL(WILL("shorter 0; \"abc\"; longer 0; \"abc..\"; negative -EINVAL"))),
	CF_CASE(a_file_is_truncated_by_the_call,
		CF_LEGAL(WILL("truncate 0; \"abc\"; negative -EINVAL; nothing -EBADF"))),
	CF_CASE(room_is_made_in_a_file,
		CF_LEGAL(WILL("keep 0; \"ab\"; grow 0; \"ab..\"; nothing -EINVAL"))),
	CF_CASE(a_hole_is_punched, CF_LEGAL(WILL("punch 0; \"a...ef\""))),
	CF_CASE(a_file_is_looked_at,
		CF_LEGAL(WILL("statx 0; size 6 mode 100600 links 1; nothing -EBADF"))),
	CF_CASE(a_read_that_does_not_wait,
		CF_LEGAL(WILL("read 3"), MAY("read -EAGAIN"), MAY("read -EOPNOTSUPP"))),
	CF_CASE(reads_and_writes_by_the_call,
		CF_LEGAL(WILL("read 3; end 0; write 2; \"abXY\"; nothing -EBADF"))),
	CF_CASE(a_closed_descriptor_is_bad,
		CF_LEGAL(WILL("close 0; read -EBADF; close -EBADF; never -EBADF"))),
	CF_CASE(the_lowest_free_number_is_the_next_descriptor,
		CF_LEGAL(WILL("the same"))),
	CF_CASE(a_splice_needs_a_pipe, CF_LEGAL(WILL("splice -EINVAL"))),
	CF_CASE(two_writes_at_once,
		CF_LEGAL(WILL("a 4; b 4; \"aaaa\""), WILL("a 4; b 4; \"bbbb\""))),
	{ .name = NULL }
};
