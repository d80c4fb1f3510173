/* SPDX-License-Identifier: MIT */
/*
 * test_poll.c - what is the poll kernel's own: descriptors that are closed under an operation, the
 * threads, wakes, edges, and the choice between it and io_uring. That operations do what io_uring's
 * do is tests/conformance/'s affair.
 *
 * The tests drive the seam by hand: real SQEs, one enter at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ring/choose.h"

#define BUFS 64
#define BUF_SIZE 256
#define FAR (5 * WEIR_S)

static struct weir_kernel *kernel;
static struct io_uring uring;
static struct io_uring_buf_ring *bufs;
static char *memory;

/* --- by hand --- */

static void make_ring(struct io_uring *ret_uring)
{
	struct io_uring_params params;
	struct io_uring_rsrc_register files;

	memset(&params, 0, sizeof(params));
	memset(&files, 0, sizeof(files));
	params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	files.nr = 16;
	files.flags = IORING_RSRC_REGISTER_SPARSE;
	assert_int_equal(kernel->ops->ring_setup(kernel, 64, ret_uring, &params), 0);
	assert_int_equal(kernel->ops->ring_register(kernel, ret_uring, IORING_REGISTER_FILES2,
						    &files, sizeof(files)),
			 0);
}

static int set_up(void **state)
{
	struct io_uring_buf_reg reg;

	(void)state;
	kernel = weir__kernel_poll();
	make_ring(&uring);
	bufs = kernel->ops->map(kernel, 4096);
	memory = kernel->ops->map(kernel, BUFS * BUF_SIZE);
	memset(&reg, 0, sizeof(reg));
	reg.ring_addr = (uintptr_t)bufs;
	reg.ring_entries = BUFS;
	assert_int_equal(
		kernel->ops->ring_register(kernel, &uring, IORING_REGISTER_PBUF_RING, &reg, 1), 0);
	io_uring_buf_ring_init(bufs);
	for (unsigned i = 0; i < BUFS; i++)
		io_uring_buf_ring_add(bufs, memory + i * BUF_SIZE, BUF_SIZE, (uint16_t)i,
				      BUFS - 1, (int)i);
	io_uring_buf_ring_advance(bufs, BUFS);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kernel->ops->ring_teardown(kernel, &uring);
	kernel->ops->unmap(kernel, bufs, 4096);
	kernel->ops->unmap(kernel, memory, BUFS * BUF_SIZE);
	return 0;
}

static int64_t now(void)
{
	return kernel->ops->now(kernel);
}

static struct io_uring_sqe *sqe_of(uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring);

	assert_non_null(sqe);
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = user_data;
	return sqe;
}

/* The preparations of liburing clear user_data. */
static void named(struct io_uring_sqe *sqe, uint64_t user_data)
{
	sqe->user_data = user_data;
}

/* Submits what is queued; waits for one completion, until ns from now. */
static int enter(unsigned wait, int64_t ns)
{
	unsigned submit = uring.sq.sqe_tail - *uring.sq.khead;
	int64_t at = now() + ns;
	struct __kernel_timespec ts = { .tv_sec = at / WEIR_S, .tv_nsec = at % WEIR_S };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };

	io_uring_smp_store_release(uring.sq.ktail, uring.sq.sqe_tail);
	return kernel->ops->ring_enter(kernel, &uring, submit, wait,
				       IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG |
					       IORING_ENTER_ABS_TIMER,
				       &arg, sizeof(arg));
}

static void submit(void)
{
	assert_true(enter(0, 0) >= 0);
}

/* The next completion within ns. */
static bool take(struct io_uring_cqe *ret_cqe, int64_t ns)
{
	int64_t end = now() + ns;

	while (*uring.cq.khead == io_uring_smp_load_acquire(uring.cq.ktail)) {
		if (now() > end)
			return false;
		enter(1, end - now());
	}
	*ret_cqe = uring.cq.cqes[*uring.cq.khead & uring.cq.ring_mask];
	io_uring_smp_store_release(uring.cq.khead, *uring.cq.khead + 1);
	return true;
}

static int result_of(uint64_t user_data)
{
	struct io_uring_cqe cqe;

	assert_true(take(&cqe, FAR));
	assert_int_equal(cqe.user_data, user_data);
	return cqe.res;
}

static bool is_silent(void)
{
	struct io_uring_cqe cqe;

	return !take(&cqe, 20 * WEIR_MS);
}

static int cancel(uint64_t user_data)
{
	struct io_uring_sqe *sqe = sqe_of(0);

	io_uring_prep_cancel64(sqe, user_data, 0);
	named(sqe, 999);
	return result_of(999);
}

static void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void receive(uint64_t user_data, int fd, char *buf, size_t size)
{
	struct io_uring_sqe *sqe = sqe_of(0);

	io_uring_prep_recv(sqe, fd, buf, size, 0);
	named(sqe, user_data);
}

static void receive_many(uint64_t user_data, int fd)
{
	struct io_uring_sqe *sqe = sqe_of(0);

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	named(sqe, user_data);
}

/* --- descriptors --- */

/* A number that is used again must not lead an operation to a stranger's data. */
static void a_descriptor_closed_and_reused_leaves_the_operation_on_its_file(void **state)
{
	int old[2], other[2], fds = count_fds();
	char buf[8];

	(void)state;
	make_pair(old);
	receive(1, old[0], buf, sizeof(buf));
	submit();
	close(old[0]);
	make_pair(other);	/* one of them has its number now */
	assert_true(other[0] == old[0] || other[1] == old[0]);
	assert_int_equal(write(other[0], "xx", 2), 2);
	assert_int_equal(write(other[1], "xx", 2), 2);
	assert_true(is_silent());
	assert_int_equal(write(old[1], "mine", 4), 4);
	assert_int_equal(result_of(1), 4);
	assert_memory_equal(buf, "mine", 4);
	close(old[1]);
	close(other[0]);
	close(other[1]);
	assert_int_equal(count_fds(), fds);
}

static void a_slot_emptied_under_an_operation_keeps_its_file_until_the_end(void **state)
{
	int pair[2], slot, fds = count_fds();
	struct io_uring_sqe *sqe;
	char buf[8], byte;

	(void)state;
	make_pair(pair);
	slot = pair[0];
	sqe = sqe_of(0);
	io_uring_prep_files_update(sqe, &slot, 1, (int)IORING_FILE_INDEX_ALLOC);
	named(sqe, 1);
	assert_int_equal(result_of(1), 1);
	close(pair[0]);
	receive(2, slot, buf, sizeof(buf));
	io_uring_sqe_set_flags(&uring.sq.sqes[(uring.sq.sqe_tail - 1) & uring.sq.ring_mask],
			       IOSQE_FIXED_FILE);
	submit();
	sqe = sqe_of(0);
	io_uring_prep_close_direct(sqe, (unsigned)slot);
	named(sqe, 3);
	assert_int_equal(result_of(3), 0);
	assert_int_equal(write(pair[1], "late", 4), 4);
	assert_int_equal(result_of(2), 4);
	assert_int_equal(read(pair[1], &byte, 1), 0);	/* and now it is closed */
	close(pair[1]);
	assert_int_equal(count_fds(), fds);
}

static void without_a_free_descriptor_waiting_works_all_the_same(void **state)
{
	struct rlimit limit, none;
	int pair[2];
	char in[8], out[8];

	(void)state;
	make_pair(pair);
	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	receive(1, pair[0], in, sizeof(in));
	receive(2, pair[0], out, sizeof(out));	/* the descriptor is watched already */
	submit();
	assert_int_equal(write(pair[1], "a", 1), 1);
	assert_int_equal(result_of(1), 1);
	assert_int_equal(write(pair[1], "b", 1), 1);
	assert_int_equal(result_of(2), 1);
	setrlimit(RLIMIT_NOFILE, &limit);
	close(pair[0]);
	close(pair[1]);
}

/* How many files the ring's epoll watches. */
static unsigned count_watched(void)
{
	char path[64], line[256];
	unsigned count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", uring.ring_fd);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		count += !strncmp(line, "tfd:", 4);
	fclose(file);
	return count;
}

static void what_nobody_waits_for_is_watched_no_more(void **state)
{
	unsigned before = count_watched();
	int pair[2];
	char byte;

	(void)state;
	make_pair(pair);
	for (int i = 0; i < 3; i++) {
		receive(1, pair[0], &byte, 1);
		submit();
		assert_int_equal(count_watched(), before + 1);
		assert_int_equal(write(pair[1], "x", 1), 1);
		assert_int_equal(result_of(1), 1);
		assert_int_equal(count_watched(), before);
	}
	close(pair[0]);
	close(pair[1]);
}

/* --- edges --- */

/* The last event announces bytes and end together: who stops at a short receive misses the end. */
static void an_end_that_comes_with_the_last_bytes_is_seen(void **state)
{
	struct io_uring_cqe cqe;
	int pair[2];

	(void)state;
	make_pair(pair);
	receive_many(1, pair[0]);
	submit();
	assert_int_equal(write(pair[1], "bye", 3), 3);
	close(pair[1]);
	assert_true(take(&cqe, FAR));
	assert_int_equal(cqe.res, 3);
	assert_true(cqe.flags & IORING_CQE_F_MORE);
	assert_int_equal(result_of(1), 0);
	close(pair[0]);
}

static void datagrams_behind_a_short_one_are_received(void **state)
{
	struct io_uring_cqe cqe;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	receive_many(1, pair[0]);
	submit();
	for (int i = 0; i < 5; i++)
		assert_int_equal(write(pair[1], "xx", 2), 2);
	for (int i = 0; i < 5; i++) {
		assert_true(take(&cqe, FAR));
		assert_int_equal(cqe.res, 2);
	}
	assert_int_equal(cancel(1), 0);
	assert_int_equal(result_of(1), -ECANCELED);
	close(pair[0]);
	close(pair[1]);
}

/* More than one multishot may take at once, and a neighbour that wants one byte. */
static void a_flood_leaves_nothing_behind_and_lets_others_in(void **state)
{
	static char flood[40 * BUF_SIZE];
	struct io_uring_cqe cqe;
	int loud[2], quiet[2];
	size_t got = 0, before = SIZE_MAX;
	char byte;

	(void)state;
	make_pair(loud);
	make_pair(quiet);
	receive_many(1, loud[0]);
	receive(2, quiet[0], &byte, 1);
	submit();
	assert_int_equal(write(loud[1], flood, sizeof(flood)), sizeof(flood));
	assert_int_equal(write(quiet[1], "q", 1), 1);
	while (got < sizeof(flood) || before == SIZE_MAX) {
		assert_true(take(&cqe, FAR));
		if (cqe.user_data == 1)
			got += (size_t)cqe.res;
		else
			before = got;
	}
	assert_int_equal(got, sizeof(flood));
	assert_true(before < sizeof(flood));
	close(loud[0]);
	close(loud[1]);
	close(quiet[0]);
	close(quiet[1]);
}

static void what_was_sent_before_a_cancel_is_told(void **state)
{
	static char data[1 << 20];
	struct io_uring_sqe *sqe;
	int pair[2], res;

	(void)state;
	make_pair(pair);
	sqe = sqe_of(0);
	io_uring_prep_send(sqe, pair[0], data, sizeof(data), MSG_NOSIGNAL | MSG_WAITALL);
	named(sqe, 1);
	submit();
	assert_int_equal(cancel(1), 0);
	res = result_of(1);
	assert_true(res > 0 && res < (int)sizeof(data));
	while (res > 0)
		res -= (int)read(pair[1], data, sizeof(data));
	assert_int_equal(res, 0);
	close(pair[0]);
	close(pair[1]);
}

/* No event tells when a Unix listener has room again. */
static void a_connect_to_a_full_unix_backlog_waits_for_room(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "" };
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 +
			 (socklen_t)snprintf(addr.sun_path + 1, 64, "weir-poll-%d", getpid());
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[3];

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, size), 0);
	assert_int_equal(listen(listener, 0), 0);
	for (int i = 0; i < 3; i++) {
		struct io_uring_sqe *sqe = sqe_of(0);

		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		io_uring_prep_connect(sqe, fds[i], (struct sockaddr *)&addr, size);
		named(sqe, (uint64_t)i);
	}
	assert_int_equal(result_of(0), 0);
	assert_true(is_silent());
	close(accept(listener, NULL, NULL));
	assert_int_equal(result_of(1), 0);
	assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);	/* as it was */
	assert_int_equal(cancel(2), 0);
	assert_int_equal(result_of(2), -ECANCELED);
	assert_int_equal(fcntl(fds[2], F_GETFL) & O_NONBLOCK, 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(listener);
}

/* --- threads --- */

static char fifo[64];

static void make_fifo(void)
{
	snprintf(fifo, sizeof(fifo), "/tmp/weir-poll-%d", getpid());
	unlink(fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
}

static void open_fifo(uint64_t user_data)
{
	struct io_uring_sqe *sqe = sqe_of(0);

	io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY | O_CLOEXEC, 0);
	named(sqe, user_data);
}

/* Opening a FIFO waits for who writes it: the only thing that surely keeps a thread. */
static void what_a_thread_has_begun_ends_by_itself_and_what_waits_is_cancelled(void **state)
{
	struct io_uring_cqe cqe;
	int writer;

	(void)state;
	make_fifo();
	for (uint64_t i = 1; i <= 5; i++)
		open_fifo(i);
	submit();
	assert_true(is_silent());
	assert_int_equal(cancel(5), 0);
	assert_int_equal(result_of(5), -ECANCELED);
	assert_int_equal(cancel(1), -EALREADY);
	writer = open(fifo, O_WRONLY | O_CLOEXEC);
	for (int i = 0; i < 4; i++) {
		assert_true(take(&cqe, FAR));
		assert_true(cqe.user_data >= 1 && cqe.user_data <= 4 && cqe.res >= 0);
		close(cqe.res);
	}
	close(writer);
	unlink(fifo);
}

/* A file's operation that a thread does has it open, whatever becomes of the descriptor. */
static void a_file_closed_under_a_queued_write_is_written(void **state)
{
	struct io_uring_sqe *sqe;
	char path[] = "/tmp/weir-poll-XXXXXX", back[5] = "";
	int fd = mkstemp(path), writer, other;

	(void)state;
	assert_true(fd >= 0);
	make_fifo();
	for (uint64_t i = 1; i <= 4; i++)
		open_fifo(i);
	sqe = sqe_of(0);
	io_uring_prep_write(sqe, fd, "data", 4, 0);
	named(sqe, 5);
	submit();
	/* Closed and reused at once: a thread that opens its FIFO late would take the number. */
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(dup3(other, fd, O_CLOEXEC), fd);
	writer = open(fifo, O_WRONLY | O_CLOEXEC);
	for (int i = 0; i < 5; i++) {
		struct io_uring_cqe cqe;

		assert_true(take(&cqe, FAR));
		assert_true(cqe.res >= 0);
		if (cqe.user_data == 5)
			assert_int_equal(cqe.res, 4);
		else
			close(cqe.res);
	}
	close(other);
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, back, 4), 4);
	assert_string_equal(back, "data");
	close(fd);
	close(writer);
	unlink(path);
	unlink(fifo);
}

#define PIPE_SIZE 65536		/* pipe(7) */

static void a_splice_into_a_full_pipe_keeps_no_thread(void **state)
{
	char path[] = "/tmp/weir-poll-XXXXXX";
	static char data[PIPE_SIZE];
	int fd = mkstemp(path), pipe_fds[5][2];
	struct io_uring_sqe *sqe;

	(void)state;
	assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	for (int i = 0; i < 5; i++) {
		assert_int_equal(pipe2(pipe_fds[i], O_CLOEXEC), 0);
		assert_int_equal(write(pipe_fds[i][1], data, PIPE_SIZE), PIPE_SIZE);
		sqe = sqe_of(0);
		io_uring_prep_splice(sqe, fd, 0, pipe_fds[i][1], -1, 4096, 0);
		named(sqe, (uint64_t)i);
	}
	submit();
	assert_true(is_silent());
	sqe = sqe_of(0);
	io_uring_prep_fsync(sqe, fd, 0);
	named(sqe, 7);
	assert_int_equal(result_of(7), 0);
	assert_true(read(pipe_fds[4][0], data, sizeof(data)) > 0);
	assert_int_equal(result_of(4), 4096);
	for (int i = 0; i < 5; i++) {
		if (i < 4) {
			assert_int_equal(cancel((uint64_t)i), 0);
			assert_int_equal(result_of((uint64_t)i), -ECANCELED);
		}
		close(pipe_fds[i][0]);
		close(pipe_fds[i][1]);
	}
	close(fd);
	unlink(path);
}

static void a_ring_that_ends_waits_for_its_threads_and_leaks_nothing(void **state)
{
	int fds = count_fds(), pair[2];
	char path[] = "/tmp/weir-poll-XXXXXX";
	static char data[1 << 20], buf[8];
	struct io_uring_sqe *sqe;
	int fd = mkstemp(path);

	make_pair(pair);
	for (uint64_t i = 0; i < 16; i++) {
		sqe = sqe_of(0);
		io_uring_prep_write(sqe, fd, data, sizeof(data), i << 20);
	}
	receive(1, pair[0], buf, sizeof(buf));
	submit();
	close(fd);
	close(pair[0]);
	unlink(path);
	tear_down(state);
	assert_int_equal(recv(pair[1], buf, 1, 0), 0);	/* nobody holds the other end */
	close(pair[1]);
	assert_true(count_fds() < fds);		/* the ring's own are gone as well */
	set_up(state);
}

/* --- wakes --- */

#define NOTES 2000

static unsigned asked;		/* atomic: notes wanted so far */

static void *notify_when_asked(void *arg)
{
	for (unsigned i = 0; i < NOTES; i++) {
		while (__atomic_load_n(&asked, __ATOMIC_ACQUIRE) == i)
			sched_yield();
		assert_int_equal(kernel->ops->notify(kernel, arg, 1 + i), 0);
	}
	return NULL;
}

/* Now the ring sleeps already, now it is about to: a note between looking and sleeping counts. */
static void no_note_of_another_thread_is_slept_through(void **state)
{
	pthread_t thread;

	(void)state;
	asked = 0;
	assert_int_equal(pthread_create(&thread, NULL, notify_when_asked, &uring), 0);
	for (unsigned i = 0; i < NOTES; i++) {
		__atomic_add_fetch(&asked, 1, __ATOMIC_RELEASE);
		assert_int_equal(result_of(1 + i), 0);
	}
	pthread_join(thread, NULL);
}

static void many_notes_that_nobody_reads_are_one(void **state)
{
	struct io_uring_cqe cqe;

	(void)state;
	for (int i = 0; i < 10000; i++)
		assert_int_equal(kernel->ops->notify(kernel, &uring, 0), 0);
	assert_true(take(&cqe, FAR));
	assert_true(is_silent());
}

static void messages_arrive_once_and_in_order(void **state)
{
	struct io_uring other;
	struct io_uring_sqe *sqe;

	(void)state;
	make_ring(&other);
	for (unsigned i = 0; i < 5; i++) {
		sqe = sqe_of(0);
		io_uring_prep_msg_ring(sqe, other.ring_fd, 100 + i, 200 + i, 0);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	}
	submit();
	assert_int_equal(kernel->ops->ring_enter(kernel, &other, 0, 5, IORING_ENTER_GETEVENTS,
						 NULL, 0),
			 0);
	assert_int_equal(*other.cq.ktail, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(other.cq.cqes[i].user_data, 200 + i);
		assert_int_equal(other.cq.cqes[i].res, 100 + i);
	}
	sqe = sqe_of(0);
	io_uring_prep_msg_ring(sqe, 0, 0, 0, 0);
	named(sqe, 1);
	assert_int_equal(result_of(1), -EBADFD);
	kernel->ops->ring_teardown(kernel, &other);
}

/* --- waiting --- */

static void a_wait_ends_at_its_deadline(void **state)
{
	int64_t begin = now();

	(void)state;
	assert_int_equal(enter(1, 3 * WEIR_MS), -ETIME);
	assert_true(now() - begin >= 3 * WEIR_MS);
	assert_true(now() - begin < FAR);
}

static void a_wait_without_an_end_costs_no_cpu(void **state)
{
	struct timespec before, after;

	(void)state;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	assert_int_equal(enter(1, 100 * WEIR_MS), -ETIME);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true((after.tv_sec - before.tv_sec) * WEIR_S + after.tv_nsec - before.tv_nsec <
		    10 * WEIR_MS);
}

/* --- the choice --- */

static int unreachable_service(void *arg)
{
	(void)arg;
	return 77;
}

/* The next start may find descriptors again, and would not want to be on epoll for ever. */
static void a_lack_of_descriptors_is_an_error_and_no_reason_for_the_poll_kernel(void **state)
{
	const struct weir_opts opts = { .cores = 1, .no_signals = true, .kernel = "auto" };
	struct weir_kernel_info info;
	struct rlimit limit, none;
	int r, chosen;

	(void)state;
	if (weir_kernel_info("uring", &info) < 0) {
		print_message("skipped: io_uring is refused here: %s\n", info.reason);
		skip();
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	r = weir_run(&opts, unreachable_service, NULL);
	chosen = weir_kernel_info("auto", &info);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(chosen, -EMFILE);
}

static void the_environment_chooses_where_options_do_not(void **state)
{
	const char *was = getenv("WEIR_KERNEL");
	struct weir_kernel_info info;

	(void)state;
	was = was ? strdup(was) : NULL;
	setenv("WEIR_KERNEL", "poll", 1);
	assert_int_equal(weir_kernel_info(NULL, &info), 0);
	assert_string_equal(info.name, "poll");
	assert_string_equal(info.reason, "asked for");
	setenv("WEIR_KERNEL", "nonsense", 1);
	assert_int_equal(weir_kernel_info(NULL, &info), -EINVAL);
	assert_int_equal(weir_run(NULL, unreachable_service, NULL), -EINVAL);
	assert_int_equal(weir_kernel_info("poll", &info), 0);
	if (was)
		setenv("WEIR_KERNEL", was, 1);
	else
		unsetenv("WEIR_KERNEL");
	free((void *)(uintptr_t)was);
}

#define on_ring(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_ring(a_descriptor_closed_and_reused_leaves_the_operation_on_its_file),
		on_ring(a_slot_emptied_under_an_operation_keeps_its_file_until_the_end),
		on_ring(without_a_free_descriptor_waiting_works_all_the_same),
		on_ring(what_nobody_waits_for_is_watched_no_more),
		on_ring(an_end_that_comes_with_the_last_bytes_is_seen),
		on_ring(datagrams_behind_a_short_one_are_received),
		on_ring(a_flood_leaves_nothing_behind_and_lets_others_in),
		on_ring(what_was_sent_before_a_cancel_is_told),
		on_ring(a_connect_to_a_full_unix_backlog_waits_for_room),
		on_ring(what_a_thread_has_begun_ends_by_itself_and_what_waits_is_cancelled),
		on_ring(a_file_closed_under_a_queued_write_is_written),
		on_ring(a_splice_into_a_full_pipe_keeps_no_thread),
		on_ring(a_ring_that_ends_waits_for_its_threads_and_leaks_nothing),
		on_ring(no_note_of_another_thread_is_slept_through),
		on_ring(many_notes_that_nobody_reads_are_one),
		on_ring(messages_arrive_once_and_in_order),
		on_ring(a_wait_ends_at_its_deadline),
		on_ring(a_wait_without_an_end_costs_no_cpu),
		cmocka_unit_test(
			a_lack_of_descriptors_is_an_error_and_no_reason_for_the_poll_kernel),
		cmocka_unit_test(the_environment_chooses_where_options_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
