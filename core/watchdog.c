/* SPDX-License-Identifier: MIT */
/*
 * watchdog.c - see watchdog.h.
 *
 * The backtrace is taken by a signal handler in the stalled thread: only there are its
 * registers and its stack known, and no ptrace is needed. The signal interrupts a blocking
 * system call, which restarts (SA_RESTART) where the kernel can restart it. A thread that
 * cannot take signals (asleep in the kernel, uninterruptibly) is reported without frames.
 */
#include "core/watchdog.h"

#include <execinfo.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "core/alloc.h"
#include "core/signals.h"
#include "core/weir_coro.h"
#include "core/weir_metrics.h"

#define LOOKS 4				/* per stall_ns */
#define LOOK_NS_MIN WEIR_MS
#define LOOK_NS_MAX (250 * WEIR_MS)
#define DOZE_AFTER_NS (WEIR_S / 2)
#define ANSWER_NS (50 * WEIR_MS)	/* how long a stalled thread has to answer the signal */
#define NAME_SIZE 64

/* What is known of a core. */
struct watch {
	uint64_t progress;
	int64_t since_ns;	/* when that progress was first seen */
	bool reported;
};

/*
 * The one backtrace that is asked for at a time:
 *
 *	FREE --watchdog--> ASKED --handler--> TAKEN --handler--> ANSWERED --watchdog--> FREE
 *	ASKED --watchdog, no answer--> FREE
 */
enum { FREE, ASKED, TAKEN, ANSWERED };

struct capture {
	unsigned state;
	struct weir_worker *worker;	/* whose thread is asked */
	int frame_count;
	void *frames[WEIR__STALL_FRAMES];
	char name[NAME_SIZE];
	sem_t answered;
};

struct weir_watchdog {
	struct weir_runtime *runtime;
	struct watch *watches;
	struct capture capture;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopping;		/* under the lock */
	int64_t look_ns;
	int64_t quiet_since_ns;
	int64_t window_ns;	/* when the present minute of reports began */
	unsigned reports;
};

/* --- in the stalled thread --- */

static void *interrupted_at(const void *context)
{
	const ucontext_t *uc = context;

#if defined(__x86_64__)
	return (void *)uc->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (void *)uc->uc_mcontext.pc;
#else
	(void)uc;
	return NULL;
#endif
}

/* Without the handler's own frames: from where the thread was interrupted. */
static void take_frames(struct capture *capture, const void *context)
{
	void *pc = interrupted_at(context);
	int count = backtrace(capture->frames, WEIR__STALL_FRAMES);
	int first = 0;

	while (first < count && capture->frames[first] != pc)
		first++;
	if (first == count) {
		capture->frames[0] = pc;
		capture->frame_count = 1;
		return;
	}
	capture->frame_count = count - first;
	memmove(capture->frames, capture->frames + first,
		(size_t)capture->frame_count * sizeof(capture->frames[0]));
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	int error = errno;
	unsigned asked = ASKED;
	struct capture *capture;
	struct weir_coro *coro;

	(void)number;
	(void)info;
	if (!weir__self || !weir__self->runtime || !weir__self->runtime->watchdog)
		return;
	capture = &weir__self->runtime->watchdog->capture;
	if (__atomic_load_n(&capture->state, __ATOMIC_ACQUIRE) != ASKED ||
	    capture->worker != weir__self)
		return;
	if (!__atomic_compare_exchange_n(&capture->state, &asked, TAKEN, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	coro = weir_coro_self();
	strncpy(capture->name, coro ? weir_coro_name(coro) : "task", NAME_SIZE - 1);
	take_frames(capture, context);
	__atomic_store_n(&capture->state, ANSWERED, __ATOMIC_RELEASE);
	sem_post(&capture->answered);
	errno = error;
}

/* The handler is the process's: the first watchdog installs it, the last restores. */
static pthread_mutex_t handler_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned handler_users;
static struct sigaction handler_before;

static void take_handler(void)
{
	struct sigaction action = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK,
	};

	pthread_mutex_lock(&handler_lock);
	if (!handler_users++)
		sigaction(WEIR__SIGNAL_WATCHDOG, &action, &handler_before);
	pthread_mutex_unlock(&handler_lock);
}

static void drop_handler(void)
{
	pthread_mutex_lock(&handler_lock);
	if (!--handler_users)
		sigaction(WEIR__SIGNAL_WATCHDOG, &handler_before, NULL);
	pthread_mutex_unlock(&handler_lock);
}

/* --- in the watchdog's --- */

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * WEIR_S + ts.tv_nsec;
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / WEIR_S, .tv_nsec = ns % WEIR_S };
}

/* Fills the capture. Without an answer it has no frames. */
static void ask(struct capture *capture, const struct weir_seat *seat)
{
	struct timespec until = to_timespec(now() + ANSWER_NS);
	unsigned asked = ASKED;
	int r;

	capture->worker = seat->worker;
	capture->frame_count = 0;
	memset(capture->name, 0, NAME_SIZE);
	__atomic_store_n(&capture->state, ASKED, __ATOMIC_RELEASE);
	pthread_kill(seat->thread, WEIR__SIGNAL_WATCHDOG);
	do
		r = sem_clockwait(&capture->answered, CLOCK_MONOTONIC, &until);
	while (r < 0 && errno == EINTR);
	if (r < 0 && __atomic_compare_exchange_n(&capture->state, &asked, FREE, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		strcpy(capture->name, "task");
		return;
	}
	/* It is being written: the handler runs to its end. */
	while (r < 0)
		r = sem_wait(&capture->answered);
	__atomic_exchange_n(&capture->state, FREE, __ATOMIC_ACQ_REL);
}

static bool may_report(struct weir_watchdog *watchdog, int64_t now_ns)
{
	if (now_ns - watchdog->window_ns >= WEIR__STALL_WINDOW_NS) {
		watchdog->window_ns = now_ns;
		watchdog->reports = 0;
	}
	return watchdog->reports++ < WEIR__STALL_REPORTS;
}

static void report(struct weir_watchdog *watchdog, unsigned core, int64_t since_ns)
{
	const struct weir__runtime_plan *plan = &watchdog->runtime->plan;
	struct capture *capture = &watchdog->capture;
	struct weir_stall stall = { .core = core, .name = capture->name,
				    .frames = capture->frames };

	weir_metric_add(WEIR__M_STALLS, 1);
	if (!plan->on_stall || !may_report(watchdog, now()))
		return;
	ask(capture, &watchdog->runtime->seats[core]);
	stall.frame_count = capture->frame_count;
	stall.held_ns = now() - since_ns;
	plan->on_stall(&stall, plan->hook_arg);
}

/* Returns whether the core does, or has done, anything since the last look. */
static bool look_at(struct weir_watchdog *watchdog, unsigned core, int64_t now_ns)
{
	struct weir_seat *seat = &watchdog->runtime->seats[core];
	struct watch *watch = &watchdog->watches[core];
	uint64_t progress;
	bool waiting;

	if (!__atomic_load_n(&seat->watched, __ATOMIC_SEQ_CST))
		return false;
	waiting = __atomic_load_n(&seat->worker->waiting, __ATOMIC_SEQ_CST);
	progress = __atomic_load_n(&seat->worker->progress, __ATOMIC_RELAXED);
	if (!watch->since_ns)
		watch->since_ns = now_ns;
	if (progress != watch->progress) {
		*watch = (struct watch){ .progress = progress, .since_ns = now_ns };
		return true;
	}
	if (waiting) {
		watch->since_ns = now_ns;
		return false;
	}
	if (!watch->reported && now_ns - watch->since_ns >= watchdog->runtime->plan.stall_ns) {
		watch->reported = true;
		report(watchdog, core, watch->since_ns);
	}
	return true;
}

static bool look(struct weir_watchdog *watchdog)
{
	int64_t now_ns = now();
	bool busy = false;
	unsigned i;

	for (i = 0; i < watchdog->runtime->plan.core_count; i++)
		busy |= look_at(watchdog, i, now_ns);
	if (busy)
		watchdog->quiet_since_ns = now_ns;
	return busy;
}

/*
 * Under the lock. The same protocol as a core's sleep: announce, look again, sleep; the core
 * that wakes clears its own flag first and looks at the announcement then.
 */
static void doze(struct weir_watchdog *watchdog)
{
	struct weir_runtime *runtime = watchdog->runtime;

	__atomic_store_n(&runtime->watchdog_dozes, true, __ATOMIC_SEQ_CST);
	if (look(watchdog))
		__atomic_store_n(&runtime->watchdog_dozes, false, __ATOMIC_SEQ_CST);
	while (!watchdog->stopping &&
	       __atomic_load_n(&runtime->watchdog_dozes, __ATOMIC_SEQ_CST))
		pthread_cond_wait(&watchdog->changed, &watchdog->lock);
	watchdog->quiet_since_ns = now();
	/* What a core did when it was last looked at says nothing about now. */
	for (unsigned i = 0; i < runtime->plan.core_count; i++)
		watchdog->watches[i].since_ns = 0;
}

void weir__watchdog_wake(struct weir_watchdog *watchdog)
{
	if (!__atomic_exchange_n(&watchdog->runtime->watchdog_dozes, false, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&watchdog->lock);
	pthread_cond_signal(&watchdog->changed);
	pthread_mutex_unlock(&watchdog->lock);
}

static void *watch_cores(void *arg)
{
	struct weir_watchdog *watchdog = arg;

	pthread_mutex_lock(&watchdog->lock);
	while (!watchdog->stopping) {
		struct timespec next = to_timespec(now() + watchdog->look_ns);

		pthread_cond_timedwait(&watchdog->changed, &watchdog->lock, &next);
		if (watchdog->stopping)
			break;
		if (!look(watchdog) && now() - watchdog->quiet_since_ns >= DOZE_AFTER_NS)
			doze(watchdog);
	}
	pthread_mutex_unlock(&watchdog->lock);
	return NULL;
}

/* --- life --- */

static int64_t look_every(int64_t stall_ns)
{
	int64_t ns = stall_ns / LOOKS;

	if (ns < LOOK_NS_MIN)
		return LOOK_NS_MIN;
	return ns > LOOK_NS_MAX ? LOOK_NS_MAX : ns;
}

static void init(struct weir_watchdog *watchdog)
{
	pthread_condattr_t attr;
	void *frame;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&watchdog->changed, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&watchdog->lock, NULL);
	sem_init(&watchdog->capture.answered, 0, 0);
	/* The first call loads the unwinder, which no signal handler may do. */
	backtrace(&frame, 1);
	take_handler();
}

static void fini(struct weir_watchdog *watchdog)
{
	drop_handler();
	sem_destroy(&watchdog->capture.answered);
	pthread_cond_destroy(&watchdog->changed);
	pthread_mutex_destroy(&watchdog->lock);
	weir__free(watchdog->watches,
		   watchdog->runtime->plan.core_count * sizeof(*watchdog->watches));
	weir__free(watchdog, sizeof(*watchdog));
}

static int start_thread(struct weir_watchdog *watchdog)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&watchdog->thread, NULL, watch_cores, watchdog);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r)
		pthread_setname_np(watchdog->thread, "weir/watchdog");
	return r;
}

int weir__watchdog_start(struct weir_runtime *runtime)
{
	const struct weir__runtime_plan *plan = &runtime->plan;
	struct weir_watchdog *watchdog;
	int r;

	if (plan->stall_ns <= 0 || plan->stall_ns == WEIR_NEVER)
		return 0;
	watchdog = weir__calloc(1, sizeof(*watchdog));
	if (!watchdog)
		return -ENOMEM;
	watchdog->runtime = runtime;
	watchdog->look_ns = look_every(plan->stall_ns);
	watchdog->quiet_since_ns = now();
	watchdog->window_ns = watchdog->quiet_since_ns;
	watchdog->watches = weir__calloc(plan->core_count, sizeof(*watchdog->watches));
	init(watchdog);
	r = watchdog->watches ? start_thread(watchdog) : -ENOMEM;
	if (r < 0) {
		fini(watchdog);
		return r;
	}
	runtime->watchdog = watchdog;
	return 0;
}

void weir__watchdog_stop(struct weir_runtime *runtime)
{
	struct weir_watchdog *watchdog = runtime->watchdog;

	if (!watchdog)
		return;
	pthread_mutex_lock(&watchdog->lock);
	watchdog->stopping = true;
	pthread_cond_signal(&watchdog->changed);
	pthread_mutex_unlock(&watchdog->lock);
	pthread_join(watchdog->thread, NULL);
	runtime->watchdog = NULL;
	fini(watchdog);
}
