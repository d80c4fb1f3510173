/* SPDX-License-Identifier: MIT */
/*
 * signals.c - see signals.h. The counts are the process's, as its signals are.
 */
#include "core/signals.h"

#include <pthread.h>
#include <unistd.h>

static const int numbers[WEIR__SIGNALS] = { SIGTERM, SIGINT, SIGUSR1 };

static bool taken;
static int wake_fd = -1;
static unsigned ends;
static unsigned dumps;

static void on_signal(int number)
{
	static const uint64_t one = 1;
	int error = errno;

	__atomic_add_fetch(number == SIGUSR1 ? &dumps : &ends, 1, __ATOMIC_RELAXED);
	/* It cannot fail but for a counter that is full: then it is read anyway. */
	if (write(__atomic_load_n(&wake_fd, __ATOMIC_RELAXED), &one, sizeof(one)) < 0)
		errno = error;
}

int weir__signals_take(struct weir_signals *signals, int fd)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigset_t mask;
	unsigned i;

	if (__atomic_exchange_n(&taken, true, __ATOMIC_ACQUIRE))
		return -EBUSY;
	__atomic_store_n(&wake_fd, fd, __ATOMIC_RELAXED);
	ends = 0;
	dumps = 0;
	sigemptyset(&mask);
	for (i = 0; i < WEIR__SIGNALS; i++)
		sigaddset(&mask, numbers[i]);
	action.sa_mask = mask;
	for (i = 0; i < WEIR__SIGNALS; i++)
		sigaction(numbers[i], &action, &signals->before[i]);
	pthread_sigmask(SIG_UNBLOCK, &mask, &signals->mask_before);
	return 0;
}

void weir__signals_give_back(struct weir_signals *signals)
{
	unsigned i;

	pthread_sigmask(SIG_SETMASK, &signals->mask_before, NULL);
	for (i = 0; i < WEIR__SIGNALS; i++)
		sigaction(numbers[i], &signals->before[i], NULL);
	__atomic_store_n(&wake_fd, -1, __ATOMIC_RELAXED);
	__atomic_store_n(&taken, false, __ATOMIC_RELEASE);
}

void weir__signals_read(unsigned *ret_ends, unsigned *ret_dumps)
{
	*ret_ends = __atomic_exchange_n(&ends, 0, __ATOMIC_RELAXED);
	*ret_dumps = __atomic_exchange_n(&dumps, 0, __ATOMIC_RELAXED);
}

void weir__signals_worker_mask(sigset_t *mask)
{
	static const int own[] = { SIGSEGV, SIGBUS,  SIGFPE,  SIGILL, SIGTRAP,
				   SIGABRT, SIGSYS, SIGPROF, WEIR__SIGNAL_WATCHDOG };
	unsigned i;

	sigfillset(mask);
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(mask, own[i]);
}
