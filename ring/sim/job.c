/* SPDX-License-Identifier: MIT */
/*
 * job.c - one run in a process of its own: started, watched, judged.
 *
 * A job's process holds one end of a pipe and never writes to it: the other end hangs up when
 * it has ended, however. What it prints goes to a file in memory, of which a failing seed's
 * beginning is shown.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/sim/cli.h"
#include "ring/sim/world.h"

/* How long a run that was asked where it hangs may take to answer. */
#define ANSWER_NS (2 * WEIR_S)
#define TICK_MS 100

/* Where the memory of weir__sim_far_alloc() begins. A sanitizer has its own ideas of that. */
#if defined(WEIR__ASAN) || defined(WEIR__TSAN)
#define FAR 0
#else
#define FAR UINT64_C(0x200000000000)
#endif

/* --- in the process --- */

static struct weir_sim_outcome *ours;

static void learn_hosts(const struct weir_sim *sim)
{
	for (; ours->hosts_count < sim->hosts_count; ours->hosts_count++)
		snprintf(ours->hosts[ours->hosts_count], sizeof(ours->hosts[0]), "%s",
			 sim->hosts[ours->hosts_count]->name);
}

static void note_choice(const struct weir_sim *sim, const char *site, int host, uint64_t nth,
			uint32_t value)
{
	uint64_t count = ours->made_count++;
	struct weir_sim_made *made = &ours->made[count];

	if (count >= WEIR_SIM_RECORDED_MAX)
		return;
	learn_hosts(sim);
	strncpy(made->site, site, sizeof(made->site) - 1);
	made->host = host;
	made->nth = nth;
	made->value = value;
	made->number = sim->report->choices_made;
	made->at_ns = weir_sim_now(sim);
}

static void collect_marks(const struct weir_sim *sim)
{
	const char *name;
	bool reached;

	learn_hosts(sim);
	while (ours->marks_count < WEIR_SIM_MARKS &&
	       (name = weir__sim_mark(sim, ours->marks_count, &reached))) {
		struct weir_sim_mark *mark = &ours->marks[ours->marks_count++];

		snprintf(mark->name, sizeof(mark->name), "%s", name);
		mark->reached = reached;
	}
}

__attribute__((noreturn)) static void run(struct weir_sim_job *job, const struct weir_sim_cli *cli,
					  const struct weir_sim_opts *opts,
					  struct weir_sim_wish wish)
{
	struct weir_sim_sink *sink = wish.trace ? cli->sink : NULL;

	ours = job->outcome;
	__fpurge(stdout);
	dup2(job->said_fd, STDOUT_FILENO);
	dup2(job->said_fd, STDERR_FILENO);
	weir__sim_at_end = collect_marks;
	if (wish.record)
		weir__sim_choice_made = note_choice;
	weir__sim_tracer_give(sink, wish.log ? &ours->log : NULL);
	weir__sim_guard_raise(ours, sink ? sink->fd : -1);
	weir_sim_run(cli->scenario, opts, &ours->report);
	fflush(stdout);
	ours->finished = true;
	_exit(0);
}

/* --- in the parent --- */

static void *far_map(size_t size, int flags)
{
	static uintptr_t place = FAR;
	void *memory = mmap((void *)place, size, PROT_READ | PROT_WRITE,
			    flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (FAR)
		place += (size + 4095) & ~(size_t)4095;
	return memory == MAP_FAILED ? NULL : memory;
}

void *weir__sim_far_alloc(size_t size)
{
	return far_map(size, MAP_SHARED);
}

void *weir__sim_far_alloc_own(size_t size)
{
	return far_map(size, MAP_PRIVATE);
}

int weir__sim_jobs_create(struct weir_sim_job *jobs, unsigned count)
{
	memset(jobs, 0, count * sizeof(*jobs));
	for (unsigned i = 0; i < count; i++) {
		jobs[i].alive_fd = -1;
		jobs[i].outcome = weir__sim_far_alloc(sizeof(*jobs[i].outcome));
		if (!jobs[i].outcome)
			return -ENOMEM;
		jobs[i].said_fd = memfd_create("weir-sim", MFD_CLOEXEC);
		if (jobs[i].said_fd < 0)
			return -errno;
	}
	return 0;
}

/* The log is kept for the second run of a pair; the choices are not worth zeroing. */
static void outcome_reset(struct weir_sim_outcome *outcome, struct weir_sim_wish wish)
{
	struct weir_sim_log *log = &outcome->log;
	uint64_t first_count = log->count;

	if (wish.log)
		memset(log, 0, offsetof(struct weir_sim_log, records));
	log->compares = wish.compare;
	log->first_count = wish.compare ? first_count : 0;
	memset(outcome, 0, offsetof(struct weir_sim_outcome, made));
}

int weir__sim_job_start(struct weir_sim_job *job, const struct weir_sim_cli *cli,
			const struct weir_sim_opts *opts, struct weir_sim_wish wish)
{
	int ends[2];

	outcome_reset(job->outcome, wish);
	if (ftruncate(job->said_fd, 0) < 0 || lseek(job->said_fd, 0, SEEK_SET) < 0 ||
	    pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	job->pid = fork();
	if (job->pid < 0) {
		int r = -errno;

		job->pid = 0;
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	if (!job->pid)
		run(job, cli, opts, wish);
	close(ends[1]);
	job->alive_fd = ends[0];
	job->seed = opts->seed;
	job->asked = job->late = false;
	job->began_ns = weir_clock();
	job->kill_ns = job->began_ns + cli->timeout_ns;
	return 0;
}

/* Its time is up: first it is asked where it hangs, then it is killed. */
static void hurry(struct weir_sim_job *job, int64_t now_ns)
{
	if (now_ns < job->kill_ns)
		return;
	kill(job->pid, job->asked ? SIGKILL : SIGALRM);
	job->asked = job->late = true;
	job->kill_ns = now_ns + ANSWER_NS;
}

static int64_t ns_of(struct timeval time)
{
	return time.tv_sec * WEIR_S + time.tv_usec * WEIR_US;
}

static void reap(struct weir_sim_job *job)
{
	struct rusage usage = { 0 };

	while (wait4(job->pid, &job->status, 0, &usage) < 0 && errno == EINTR)
		;
	job->cpu_ns = ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
	close(job->alive_fd);
	job->alive_fd = -1;
	job->pid = 0;
	job->ended_ns = weir_clock();
}

int weir__sim_jobs_wait(struct weir_sim_job *jobs, unsigned count)
{
	struct pollfd fds[WEIR_SIM_JOBS_MAX];
	int64_t now_ns;

	for (unsigned i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = jobs[i].alive_fd, .events = POLLIN };
	poll(fds, count, TICK_MS);
	for (unsigned i = 0; i < count; i++) {
		if (!jobs[i].pid || !fds[i].revents)
			continue;
		reap(&jobs[i]);
		return (int)i;
	}
	now_ns = weir_clock();
	for (unsigned i = 0; i < count; i++)
		if (jobs[i].pid)
			hurry(&jobs[i], now_ns);
	return -1;
}

/* --- what became of it --- */

__attribute__((format(printf, 3, 4))) static void fail(struct weir_sim_verdict *verdict,
						       const char *name, const char *format, ...)
{
	va_list args;

	verdict->failed = true;
	snprintf(verdict->name, sizeof(verdict->name), "%s", name);
	va_start(args, format);
	vsnprintf(verdict->seen, sizeof(verdict->seen), format, args);
	va_end(args);
}

/* A run that has returned. */
static void judge_report(const struct weir_sim_report *report, struct weir_sim_verdict *verdict)
{
	if (report->failed[0])
		fail(verdict, report->failed, "%s", report->message);
	else if (report->result && report->result != -EINTR)
		fail(verdict, "the world is built", "%s", strerror(-report->result));
}

void weir__sim_job_judge(const struct weir_sim_job *job, struct weir_sim_verdict *ret_verdict)
{
	const struct weir_sim_outcome *outcome = job->outcome;

	*ret_verdict = (struct weir_sim_verdict){
		.at_ns = outcome->report.virtual_ns,
		.choice = outcome->report.choices_made,
	};
	if (outcome->left[0])
		fail(ret_verdict, "nothing leaves the seam", "%s", outcome->left);
	else if (outcome->finished)
		judge_report(&outcome->report, ret_verdict);
	else if (job->late)
		fail(ret_verdict, "the run ends", "it still ran when its time was up");
	else if (WIFSIGNALED(job->status))
		fail(ret_verdict, "the process survives", "signal %d, %s", WTERMSIG(job->status),
		     strsignal(WTERMSIG(job->status)));
	else
		fail(ret_verdict, "the process survives", "it exited with %d",
		     WEXITSTATUS(job->status));
}

size_t weir__sim_job_said(const struct weir_sim_job *job, char *text, size_t size)
{
	ssize_t n = pread(job->said_fd, text, size, 0);

	return n > 0 ? (size_t)n : 0;
}
