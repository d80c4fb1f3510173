/* SPDX-License-Identifier: MIT */
/*
 * test_poll_faults.c - the poll kernel, with the Nth of the system calls that it is made of
 * failing: epoll's, its eventfd, its duplicates, its threads. The seam of fault_kernel.h
 * lies above them, so here they are replaced by name in this program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "core/weir_mesh.h"
#include "net/weir_listener.h"
#include "ring/ring.h"
#include "ring/weir_file.h"
#include "ring/weir_run.h"
#include "tests/support/nth.h"

/* --- the calls --- */

enum call {
	CALL_NONE,
	EPOLL_CREATE,
	EVENTFD,
	EPOLL_CTL,
	EPOLL_WAIT,
	EPOLL_PWAIT2,
	DUPLICATE,
	FILE_FLAGS,
	THREAD,
};

static struct {
	enum call call;
	unsigned at;		/* the Nth of call fails; 0: none */
	bool sticky;		/* and all after it */
	int error;
	unsigned count, hits;	/* atomic */
} fail;

static bool fails(enum call call)
{
	unsigned n;

	if (fail.call != call || !fail.at)
		return false;
	n = __atomic_add_fetch(&fail.count, 1, __ATOMIC_RELAXED);
	if (n != fail.at && !(fail.sticky && n > fail.at))
		return false;
	__atomic_add_fetch(&fail.hits, 1, __ATOMIC_RELAXED);
	errno = fail.error;
	return true;
}

/* The one that this program's hides. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int epoll_create1(int flags)
{
	return fails(EPOLL_CREATE) ? -1 : REAL(epoll_create1)(flags);
}

int eventfd(unsigned count, int flags)
{
	return fails(EVENTFD) ? -1 : REAL(eventfd)(count, flags);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return fails(EPOLL_CTL) ? -1 : REAL(epoll_ctl)(epfd, op, fd, event);
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int ms)
{
	return fails(EPOLL_WAIT) ? -1 : REAL(epoll_wait)(epfd, events, max, ms);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return fails(THREAD) ? fail.error : REAL(pthread_create)(thread, attr, fn, arg);
}

int fcntl(int fd, int cmd, ...)
{
	va_list args;
	long arg;

	va_start(args, cmd);
	arg = va_arg(args, long);
	va_end(args);
	if (fails(cmd == F_DUPFD_CLOEXEC ? DUPLICATE : FILE_FLAGS))
		return -1;
	return REAL(fcntl)(fd, cmd, arg);
}

long syscall(long number, ...)
{
	va_list args;
	long arg[6];

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (number == __NR_epoll_pwait2 && fails(EPOLL_PWAIT2))
		return -1;
	return REAL(syscall)(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* --- what is done with them --- */

static int receive(int fd, int64_t deadline_ns)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	char text[8];
	int r = weir__op_begin(&w, "recv", deadline_ns, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_recv(sqe, fd, text, sizeof(text), 0);
	return weir__op_end(&w, sqe, deadline_ns);
}

static int receive_later(int fd, int from)
{
	int r = receive(fd, weir_in(WEIR_MS));

	if (r != -ETIMEDOUT)
		return r < 0 ? r : -EPROTO;
	if (send(from, "later", 5, MSG_NOSIGNAL) != 5)
		return -errno;
	r = receive(fd, nth_in());
	return r < 0 || r == 5 ? r : -EPROTO;
}

/* Plain descriptors, which wait as duplicates. */
static int plain(void *arg)
{
	int fds[2];
	int r;

	(void)arg;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	r = receive_later(fds[0], fds[1]);
	close(fds[0]);
	close(fds[1]);
	return r < 0 ? r : 0;
}

static char path[] = "/tmp/weir-test-poll-faults-XXXXXX";

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

/* What a thread does. */
static int file(void)
{
	const struct weir_open_opts opts = { .flags = O_RDWR };
	struct weir_file *file;
	char back[4];
	int closed, r = weir_file_open(NULL, path, &opts, &file);

	if (r < 0)
		return r;
	r = weir_file_write_all(file, "data", 4, 0);
	if (!r)
		r = weir_file_sync(file);
	if (!r)
		r = weir_file_read_exact(file, back, 4, 0);
	if (!r && memcmp(back, "data", 4))
		r = -EPROTO;
	closed = weir_file_close(file);
	return r ? r : closed;
}

static void echo(struct weir_conn *conn, void *arg)
{
	char buf[64];
	ssize_t n;

	(void)arg;
	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0)
		if (weir_conn_write_all(conn, buf, (size_t)n) < 0)
			break;
}

static int ask(const char *address)
{
	struct weir_conn *conn;
	char back[5];
	int r = weir_connect(address, NULL, &conn);

	if (r < 0)
		return r;
	r = weir_conn_write_all(conn, "hello", 5);
	if (!r)
		r = (int)weir_conn_read_exact(conn, back, sizeof(back));
	if (r >= 0)
		r = memcmp(back, "hello", 5) ? -EPROTO : 0;
	weir_conn_close(conn);
	return r;
}

static void listening(struct weir_listener *listener, void *arg)
{
	strcpy(arg, weir_listener_address(listener));
}

static int serve(void *arg)
{
	const struct weir_serve_opts opts = { .on_listen = listening, .backlog = 4 };

	return weir_serve("tcp://127.0.0.1:0", &opts, echo, arg);
}

/* Direct descriptors, which wait as themselves. */
static int connection(void)
{
	char address[WEIR_ADDR_TEXT] = "";
	struct weir_coro *coro;
	int res = 0, r = weir_coro_spawn(NULL, serve, address, &coro);

	if (r < 0)
		return r;
	weir_yield();
	if (address[0])
		r = ask(address);
	weir_coro_cancel(coro);
	weir_coro_shield();
	weir_coro_join(coro, WEIR_NEVER, &res);
	weir_coro_unshield();
	return r || res == -ECANCELED ? r : res;
}

static int service(void *arg)
{
	int res = 0, r = 0;

	weir_coro_set_deadline(nth_in());
	if (!weir_core()) {
		r = connection();
		r = r ? r : file();
	}
	r = r ? r : plain(arg);
	if (!r && !weir_core())
		r = weir_call(weir_core_count() - 1, plain, NULL, nth_in(), &res);
	return r ? r : res;
}

static int run(void *arg)
{
	const struct weir_opts opts = {
		.kernel = "poll",
		.cores = weir_cpus() < 2 ? 1 : 2,
		.depth = 16,
		.conns_max = 16,
		.bufs = 8,
		.buf_size = 256,
		.coros_max = 64,
		.mesh_depth = 16,
		.spin_ns = -1,
		.no_pin = true,
	};

	return weir_run(&opts, service, arg);
}

/* --- the series --- */

static void fail_each(const char *name, enum call call, int error, bool sticky)
{
	struct nth_state state;
	unsigned n = 0;
	int r;

	memset(&fail, 0, sizeof(fail));
	state = nth_begin(name, run, NULL);
	do {
		assert_true(++n < NTH_RUNS_MAX);
		fail = (__typeof__(fail)){
			.call = call, .at = n, .sticky = sticky, .error = error
		};
		snprintf(nth.run, sizeof(nth.run), "%s %u%s fails: %s", name, n,
			 sticky ? " and every later one" : "", strerror(error));
		r = nth_run(run, NULL);
		nth_check(&state, fail.hits, r);
		/* What only means "again", or has another way. */
		if (call == EPOLL_WAIT || call == EPOLL_PWAIT2 || call == DUPLICATE)
			assert_int_equal(r, 0);
	} while (fail.hits);
	assert_true(n > 1);
	memset(&fail, 0, sizeof(fail));
	nth_end();
}

static void each_epoll_and_eventfd_that_is_made_may_fail(void **state)
{
	(void)state;
	fail_each("epoll_create1", EPOLL_CREATE, EMFILE, false);
	fail_each("epoll_create1", EPOLL_CREATE, ENOMEM, true);
	fail_each("eventfd", EVENTFD, ENFILE, false);
	fail_each("eventfd", EVENTFD, ENOMEM, true);
}

static void each_file_that_is_watched_may_be_refused(void **state)
{
	(void)state;
	fail_each("epoll_ctl", EPOLL_CTL, ENOMEM, false);
	fail_each("epoll_ctl", EPOLL_CTL, ENOSPC, true);
}

static void each_wait_may_be_interrupted(void **state)
{
	(void)state;
	fail_each("epoll_wait", EPOLL_WAIT, EINTR, false);
	fail_each("epoll_pwait2", EPOLL_PWAIT2, EINTR, false);
}

static void where_a_filter_does_not_know_epoll_pwait2_waiting_is_coarser(void **state)
{
	(void)state;
	fail_each("epoll_pwait2", EPOLL_PWAIT2, ENOSYS, true);
	fail_each("epoll_pwait2", EPOLL_PWAIT2, EPERM, false);
}

static void each_duplicate_may_lack_a_descriptor(void **state)
{
	(void)state;
	fail_each("fcntl(F_DUPFD)", DUPLICATE, EMFILE, false);
	fail_each("fcntl(F_DUPFD)", DUPLICATE, ENFILE, true);
}

static void each_change_of_a_files_flags_may_fail(void **state)
{
	(void)state;
	fail_each("fcntl", FILE_FLAGS, EBADF, false);
	fail_each("fcntl", FILE_FLAGS, EBADF, true);
}

static void each_thread_may_be_refused(void **state)
{
	(void)state;
	fail_each("pthread_create", THREAD, EAGAIN, false);
	fail_each("pthread_create", THREAD, EAGAIN, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_epoll_and_eventfd_that_is_made_may_fail),
		cmocka_unit_test(each_file_that_is_watched_may_be_refused),
		cmocka_unit_test(each_wait_may_be_interrupted),
		cmocka_unit_test(where_a_filter_does_not_know_epoll_pwait2_waiting_is_coarser),
		cmocka_unit_test(each_duplicate_may_lack_a_descriptor),
		cmocka_unit_test(each_change_of_a_files_flags_may_fail),
		cmocka_unit_test(each_thread_may_be_refused),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
