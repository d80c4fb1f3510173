/* SPDX-License-Identifier: MIT */
/*
 * guard.c - keeps a simulated process within the simulator. What a run depends on must be its
 * seed; so whatever reads a clock, draws a random number or makes a system call outside of the
 * seam ends the run and is named, with a backtrace:
 *
 *	system calls	a seccomp filter that allows what memory, signals and the trace need
 *	clocks		the vDSO answers them without a system call, from a page of the kernel's
 *			data: that page is made unreadable
 *	rdtsc		prctl(PR_SET_TSC), on x86
 *	addresses	not randomised, so that what is ordered by address is the same each time
 *			(where a container refuses personality(2) they are)
 *
 * Under a sanitizer the filter is the other way round (what reaches outside is refused, all else
 * allowed) and clocks are let through: its runtime reads them, and files when it reports.
 * Not caught: rdrand, and what is read from memory that others write.
 *
 * The same handlers say where a run was when it crashed, or was told that its time is up.
 */
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "ring/sim/cli.h"

#if defined(WEIR__ASAN) || defined(WEIR__TSAN)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define FRAMES 48
#define ALT_STACK_SIZE (128 << 10)
#define OUT_SIZE (64 << 10)
#define MAPS_SIZE (256 << 10)
#define LINE_SIZE (256 << 10)
#define WORDS 4096
#define CALL(name)                                                                                 \
	{                                                                                          \
#name, __NR_##name                                                                 \
	}

struct call {
	const char *name;
	long number;
};

/* What a library does to get memory, to raise a signal, and to end. */
static const struct call allowed[] = {
	CALL(brk),
	CALL(exit),
	CALL(exit_group),
	CALL(futex),
	CALL(getpid),
	CALL(gettid),
	CALL(madvise),
	CALL(mincore),
	CALL(mprotect),
	CALL(mremap),
	CALL(munmap),
	CALL(rt_sigaction),
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(sched_yield),
	CALL(sigaltstack),
	CALL(tgkill),
};

/* What is refused under a sanitizer; elsewhere, the names of what is likely. */
static const struct call outside[] = {
	CALL(accept4),		 CALL(bind),	       CALL(connect),
	CALL(epoll_create1),	 CALL(epoll_ctl),      CALL(epoll_pwait),
	CALL(eventfd2),		 CALL(fsync),	       CALL(getrandom),
	CALL(getsockname),	 CALL(getsockopt),     CALL(io_uring_enter),
	CALL(io_uring_register), CALL(io_uring_setup), CALL(listen),
	CALL(preadv2),		 CALL(pwritev2),       CALL(recvfrom),
	CALL(recvmsg),		 CALL(sendmsg),	       CALL(sendto),
	CALL(setsockopt),	 CALL(shutdown),       CALL(socket),
	CALL(timerfd_create),	 CALL(unlinkat),
};

static const struct call named[] = {
	CALL(clock_gettime),
	CALL(clock_nanosleep),
	CALL(nanosleep),
	CALL(clone),
	CALL(clone3),
	CALL(close),
	CALL(fstat),
	CALL(getcpu),
	CALL(gettimeofday),
	CALL(ioctl),
	CALL(lseek),
	CALL(mmap),
	CALL(newfstatat),
	CALL(openat),
	CALL(ppoll),
	CALL(prlimit64),
	CALL(read),
	CALL(readv),
	CALL(sched_getaffinity),
	CALL(statx),
	CALL(sysinfo),
	CALL(uname),
	CALL(write),
	CALL(writev),
#ifdef __NR_open
	CALL(open),
#endif
#ifdef __NR_time
	CALL(time),
#endif
#ifdef __NR_poll
	CALL(poll),
#endif
};

static struct weir_sim_outcome *out;
static char *alt_stack;
static struct {
	uintptr_t from, to;
} clocks[4]; /* the vDSO's data */
static unsigned clocks_count;

/* --- in handlers --- */

static const char *call_name(long number)
{
	static const struct {
		const struct call *calls;
		size_t count;
	} lists[] = {
		{ outside, sizeof(outside) / sizeof(outside[0]) },
		{ named, sizeof(named) / sizeof(named[0]) },
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (size_t k = 0; k < lists[i].count; k++)
			if (lists[i].calls[k].number == number)
				return lists[i].calls[k].name;
	return "?";
}

static void say_where(void)
{
	void *frames[FRAMES];
	int count = backtrace(frames, FRAMES);

	backtrace_symbols_fd(frames, count, STDERR_FILENO);
}

/* Ends the run, which has left the seam. */
static void left(void)
{
	say_where();
	_exit(1);
}

static void on_call(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	snprintf(out->left, sizeof(out->left), "system call %d (%s)", info->si_syscall,
		 call_name(info->si_syscall));
	left();
}

static bool is_clock(const siginfo_t *info)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	for (unsigned i = 0; i < clocks_count; i++)
		if (info->si_code > 0 && at >= clocks[i].from && at < clocks[i].to)
			return true;
	return false;
}

/* The instruction that the processor refused is rdtsc or rdtscp. */
static bool is_rdtsc(const siginfo_t *info, const ucontext_t *context)
{
#if defined(__x86_64__)
	const unsigned char *code = (const void *)context->uc_mcontext.gregs[REG_RIP];

	return info->si_code == SI_KERNEL && !info->si_addr && code[0] == 0x0f &&
	       (code[1] == 0x31 || (code[1] == 0x01 && code[2] == 0xf9));
#else
	(void)info;
	(void)context;
	return false;
#endif
}

static void on_crash(int signal, siginfo_t *info, void *context)
{
	if (signal == SIGSEGV && (is_clock(info) || is_rdtsc(info, context))) {
		snprintf(out->left, sizeof(out->left), "the clock was read%s",
			 is_clock(info) ? "" : " (rdtsc)");
		left();
	}
	say_where();
	/* It faults again, or is sent again, and the process ends as it would have. */
	sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	if (info->si_code <= 0)
		raise(signal);
}

static void on_alarm(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
	say_where();
	_exit(1);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = {
		.sa_sigaction = handler,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};

	sigaction(signal, &action, NULL);
}

static void install_handlers(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!SANITIZED) {
		sigaltstack(&(stack_t){ .ss_sp = alt_stack, .ss_size = ALT_STACK_SIZE }, NULL);
		for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
			handle(crashes[i], on_crash);
	}
	handle(SIGSYS, on_call);
	handle(SIGALRM, on_alarm);
}

/* --- the filter --- */

#ifdef ARCH
#define FIELD(name) ((uint32_t)offsetof(struct seccomp_data, name))
/* The low half of an argument: both machines are little endian. */
#define ARGUMENT(n) (FIELD(args) + 8 * (n))
#define FILTER_MAX 128

struct program {
	struct sock_filter code[FILTER_MAX];
	unsigned short size;
};

static void add(struct program *program, struct sock_filter instruction)
{
	weir_assert(program->size < FILTER_MAX);
	program->code[program->size++] = instruction;
}

static void load(struct program *program, uint32_t offset)
{
	add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

static void end(struct program *program, uint32_t action)
{
	add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* When what was loaded is value, the filter ends with action. */
static void end_if(struct program *program, long value, uint32_t action)
{
	add(program,
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)value, 0, 1));
	end(program, action);
}

/* Of call number: only with one of three values in an argument. */
static void allow_with(struct program *program, long number, int argument, const int values[3])
{
	add(program,
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 8));
	load(program, ARGUMENT((unsigned)argument));
	for (int i = 0; i < 3; i++)
		end_if(program, values[i], SECCOMP_RET_ALLOW);
	end(program, SECCOMP_RET_TRAP);
}

static void allow_only(struct program *program, int trace_fd)
{
	const int fds[3] = { STDOUT_FILENO, STDERR_FILENO,
			     trace_fd >= 0 ? trace_fd : STDERR_FILENO };
	const int none[3] = { -1, -1, -1 };

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		end_if(program, allowed[i].number, SECCOMP_RET_ALLOW);
	allow_with(program, __NR_write, 0, fds);
	allow_with(program, __NR_writev, 0, fds);
	allow_with(program, __NR_mmap, 4, none);
	end(program, SECCOMP_RET_TRAP);
}

static void refuse_only(struct program *program)
{
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		end_if(program, outside[i].number, SECCOMP_RET_TRAP);
	end(program, SECCOMP_RET_ALLOW);
}

static void install_filter(int trace_fd)
{
	struct program program = { .size = 0 };
	struct sock_fprog code = { .filter = program.code };

	load(&program, FIELD(arch));
	add(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	end(&program, SECCOMP_RET_TRAP);
	load(&program, FIELD(nr));
	if (SANITIZED)
		refuse_only(&program);
	else
		allow_only(&program, trace_fd);
	code.len = program.size;
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &code, 0, 0);
}
#else
static void install_filter(int trace_fd)
{
	(void)trace_fd;
}
#endif

/* --- clocks --- */

/* Where the kernel's data for the vDSO are: "[vvar]", since 6.13 also "[vvar_vclock]". */
static void find_clocks(void)
{
	char *maps = weir__sim_far_alloc(MAPS_SIZE);
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t n = 1;

	while (maps && fd >= 0 && n > 0 && size < MAPS_SIZE - 1) {
		n = read(fd, maps + size, MAPS_SIZE - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	for (char *line = maps; line && *line; line = strchr(line, '\n')) {
		char *end;

		line += *line == '\n';
		end = line + strcspn(line, "\n");
		if (clocks_count == sizeof(clocks) / sizeof(clocks[0]) ||
		    !memmem(line, (size_t)(end - line), "[vvar", 5))
			continue;
		clocks[clocks_count].from = strtoul(line, &line, 16);
		clocks[clocks_count++].to = strtoul(line + 1, NULL, 16);
	}
}

static void hide_clocks(void)
{
	for (unsigned i = 0; i < clocks_count; i++)
		mprotect((void *)clocks[i].from, clocks[i].to - clocks[i].from, PROT_NONE);
#if defined(__x86_64__)
	prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
#endif
}

/* --- what the others call --- */

static int compare_bytes(const void *a, const void *b)
{
	return *(const char *)a - *(const char *)b;
}

/* What libraries do on first use, and with system calls, is done here. */
void weir__sim_guard_prepare(void)
{
	static char large[4096];
	void *frame;

	setvbuf(stdout, weir__sim_far_alloc_own(OUT_SIZE), _IOFBF, OUT_SIZE);
	alt_stack = weir__sim_far_alloc_own(ALT_STACK_SIZE);
	backtrace(&frame, 1);
	qsort(large, sizeof(large), 1, compare_bytes);
	free(malloc(1));
	find_clocks();
}

void weir__sim_guard_raise(struct weir_sim_outcome *outcome, int trace_fd)
{
	out = outcome;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	install_handlers();
	if (!SANITIZED)
		hide_clocks();
	install_filter(trace_fd);
}

void weir__sim_guard_fix_addresses(void)
{
	char *line = weir__sim_far_alloc(LINE_SIZE);
	char **words = weir__sim_far_alloc(WORDS * sizeof(*words));
	int now = personality(0xffffffff);
	ssize_t size = -1;
	size_t count = 0;
	int fd;

	if (!line || !words || now < 0 || (now & ADDR_NO_RANDOMIZE) ||
	    personality((unsigned long)now | ADDR_NO_RANDOMIZE) < 0)
		return;
	fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = read(fd, line, LINE_SIZE - 1);
		close(fd);
	}
	if (size <= 0 || size == LINE_SIZE - 1)
		return;
	for (char *word = line; word < line + size && count < WORDS - 1; word += strlen(word) + 1)
		words[count++] = word;
	execv("/proc/self/exe", words);
}
