/* SPDX-License-Identifier: MIT */
/*
 * threads.c - see threads_posix.h. The eventfd that ends the calling thread's wait is written by
 * each signal and by each worker thread as it ends.
 */
#include "core/threads_posix.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/signals.h"
#include "core/watchdog.h"

struct posix_threads {
	struct weir_runtime *runtime;
	int fd;			/* eventfd of the signals and of the end; -1 without signals */
	unsigned started;
	unsigned alive;
	unsigned ends;		/* signals that asked to end so far */
};

/* What a thread is started with. */
struct birth {
	struct posix_threads *threads;
	unsigned index;
	void (*body)(void *ctx, unsigned index);
	void *ctx;
};

/* Refused pinning is no reason not to serve. */
static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void tell(const struct posix_threads *threads)
{
	static const uint64_t one = 1;

	if (threads->fd >= 0 && write(threads->fd, &one, sizeof(one)) < 0)
		weir_assert(errno == EAGAIN);
}

static void *thread_main(void *arg)
{
	struct birth birth = *(struct birth *)arg;
	struct posix_threads *threads = birth.threads;
	const int *cpus = threads->runtime->plan.cpus;
	char name[16];

	weir__free(arg, sizeof(birth));
	snprintf(name, sizeof(name), "weir/%u", birth.index);
	pthread_setname_np(pthread_self(), name);
	if (cpus)
		pin(cpus[birth.index]);
	birth.body(birth.ctx, birth.index);
	__atomic_sub_fetch(&threads->alive, 1, __ATOMIC_RELEASE);
	tell(threads);
	return NULL;
}

static int start(void *arg, unsigned index, void (*body)(void *ctx, unsigned index), void *ctx)
{
	struct posix_threads *threads = arg;
	struct birth *birth = weir__alloc(sizeof(*birth));
	sigset_t mask, before;
	int r;

	if (!birth)
		return -ENOMEM;
	*birth = (struct birth){ threads, index, body, ctx };
	weir__signals_worker_mask(&mask);
	__atomic_add_fetch(&threads->alive, 1, __ATOMIC_RELAXED);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	r = -pthread_create(&threads->runtime->seats[index].thread, NULL, thread_main, birth);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		__atomic_sub_fetch(&threads->alive, 1, __ATOMIC_RELAXED);
		weir__free(birth, sizeof(*birth));
		return r;
	}
	threads->started++;
	return 0;
}

static void handle_signals(struct posix_threads *threads)
{
	unsigned ends, dumps;

	weir__signals_read(&ends, &dumps);
	if (dumps)
		weir__runtime_dump(threads->runtime);
	threads->ends += ends;
	if (ends)
		weir__runtime_drain(threads->runtime);
	if (threads->ends > 1)
		weir__runtime_stop(threads->runtime);
}

static void join(void *arg)
{
	struct posix_threads *threads = arg;
	struct pollfd pollfd = { .fd = threads->fd, .events = POLLIN };
	uint64_t count;
	unsigned i;

	while (threads->fd >= 0 && __atomic_load_n(&threads->alive, __ATOMIC_ACQUIRE)) {
		/* poll(2) and not read(2): a handler always ends it. */
		poll(&pollfd, 1, -1);
		if (read(threads->fd, &count, sizeof(count)) > 0)
			handle_signals(threads);
	}
	for (i = 0; i < threads->started; i++)
		pthread_join(threads->runtime->seats[i].thread, NULL);
}

static int run_with_signals(struct posix_threads *threads, weir__run_on_fn run,
			    const struct weir__threads *ops)
{
	struct weir_signals signals;
	int r;

	threads->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (threads->fd < 0)
		return -errno;
	r = weir__signals_take(&signals, threads->fd);
	if (!r) {
		run(threads->runtime, ops);
		weir__signals_give_back(&signals);
	}
	close(threads->fd);
	return r;
}

int weir__threads_run(struct weir_runtime *runtime, weir__run_on_fn run)
{
	struct posix_threads threads = { .runtime = runtime, .fd = -1 };
	struct weir__threads ops = { .start = start, .join = join, .arg = &threads };
	int r = weir__watchdog_start(runtime);

	if (r < 0)
		return r;
	if (runtime->plan.no_signals)
		run(runtime, &ops);
	else
		r = run_with_signals(&threads, run, &ops);
	weir__watchdog_stop(runtime);
	return r;
}
