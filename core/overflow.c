/* SPDX-License-Identifier: MIT */
/*
 * overflow.c - a coroutine that overflows its stack dies with its name:
 *
 *	weir: stack overflow in coroutine 'handler' (64 KiB): raise stack_size
 *
 * and with the SIGSEGV that it would have died of anyway, so that core dumps and exit codes
 * are as ever. The handler runs on a signal stack of its own, there being no room on the
 * other. Faults that are no overflow go to the handler that was there before.
 *
 * A signal stack belongs to a thread, not to a worker: several simulated workers share one.
 * One that the thread has already (AddressSanitizer gives one) is used.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/worker.h"

#define SIGNAL_STACK_SIZE ((size_t)64 << 10)

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction previous;
static pthread_key_t signal_stacks;	/* each thread's, unmapped at its end */
static int once_error;

/* --- in the handler: async-signal-safe only --- */

struct line {
	char text[256];
	size_t size;
};

static void put(struct line *line, const char *text)
{
	while (*text && line->size < sizeof(line->text))
		line->text[line->size++] = *text++;
}

static void put_number(struct line *line, size_t number)
{
	char digits[24];
	size_t i = sizeof(digits);

	digits[--i] = '\0';
	do
		digits[--i] = (char)('0' + number % 10);
	while (number /= 10);
	put(line, digits + i);
}

static const struct weir_coro *find_overflowed(const void *addr)
{
	const struct weir_worker *worker = weir__self;
	uint32_t index;

	if (!worker || !worker->coros.current ||
	    !weir__stacks_find_guard(&worker->coros.stacks, addr, &index) ||
	    index != worker->coros.current->index)
		return NULL;
	return worker->coros.current;
}

static void report(const struct weir_coro *coro)
{
	struct line line = { .size = 0 };

	put(&line, "weir: stack overflow in coroutine '");
	put(&line, coro->name);
	put(&line, "' (");
	put_number(&line, coro->worker->coros.stacks.stack_size >> 10);
	put(&line, " KiB): raise stack_size\n");
	if (write(STDERR_FILENO, line.text, line.size) < 0)
		return;
}

static void on_fault(int signal, siginfo_t *info, void *ucontext)
{
	const struct weir_coro *coro = find_overflowed(info->si_addr);

	if (coro)
		report(coro);
	else if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(signal, info, ucontext);
		return;
	} else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(signal);
		return;
	}
	/* The instruction faults again and the process ends as if nobody had looked. */
	sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	if (info->si_code <= 0)
		raise(signal); /* sent by kill(): nothing faults again */
}

/* --- installing it --- */

static size_t signal_stack_size(void)
{
	return SIGNAL_STACK_SIZE + getauxval(AT_MINSIGSTKSZ);
}

static void drop_signal_stack(void *stack)
{
	sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
	munmap(stack, signal_stack_size());
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_fault,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK };

	once_error = -pthread_key_create(&signal_stacks, drop_signal_stack);
	if (!once_error && sigaction(SIGSEGV, &action, &previous))
		once_error = -errno;
}

int weir__overflow_watch(void)
{
	stack_t stack;

	pthread_once(&once, install);
	if (once_error)
		return -ENOMEM;
	if (!sigaltstack(NULL, &stack) && !(stack.ss_flags & SS_DISABLE))
		return 0;
	stack = (stack_t){ .ss_size = signal_stack_size() };
	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stack.ss_sp == MAP_FAILED)
		return -ENOMEM;
	if (sigaltstack(&stack, NULL) || pthread_setspecific(signal_stacks, stack.ss_sp)) {
		sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
		munmap(stack.ss_sp, stack.ss_size);
		return -ENOMEM;
	}
	return 0;
}
