/* SPDX-License-Identifier: MIT */
/*
 * sync.c - mutex, condition, rwlock and semaphore: what is held.
 *
 * What becomes free is handed to the first in line before that one runs, so nobody who comes
 * meanwhile overtakes it, and a wait that was granted cannot be cancelled any more.
 */
#include "futures/weir_sync.h"

#include "core/waiters.h"

static inline struct weir_coro *self(void)
{
	return weir__self ? weir__self->coros.current : NULL;
}

/* --- mutex --- */

int weir_mutex_init(struct weir_mutex *mutex)
{
	if (!weir__self)
		return -EDEADLK;
	*mutex = (struct weir_mutex){ .home_ = weir__self };
	weir__waiters_init(&mutex->waiters_);
	return 0;
}

int weir_mutex_fini(struct weir_mutex *mutex)
{
	if (mutex->home_ != weir__self)
		return -EPROTO;
	return mutex->holder_ ? -EBUSY : 0;
}

static int lock_slow(struct weir_mutex *mutex, struct weir_coro *coro, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = mutex };

	if (mutex->home_ != weir__self)
		return -EPROTO;
	if (!coro || mutex->holder_ == coro)
		return -EDEADLK;
	return weir__waiters_wait(&mutex->waiters_, &waiter, "mutex", deadline_ns);
}

int weir_mutex_lock(struct weir_mutex *mutex, int64_t deadline_ns)
{
	struct weir_coro *coro = self();

	if (weir_unlikely(mutex->home_ != weir__self || !coro || mutex->holder_))
		return lock_slow(mutex, coro, deadline_ns);
	mutex->holder_ = coro;
	return 0;
}

static void hand_over(struct weir_mutex *mutex)
{
	struct weir_waiter *waiter = weir__waiters_first(&mutex->waiters_);

	mutex->holder_ = waiter ? waiter->wait.coro : NULL;
	if (waiter)
		weir__waiter_wake(waiter, 0);
}

int weir_mutex_unlock(struct weir_mutex *mutex)
{
	if (weir_unlikely(mutex->home_ != weir__self))
		return -EPROTO;
	if (weir_unlikely(!mutex->holder_ || mutex->holder_ != self()))
		return -EPERM;
	if (weir_unlikely(!weir__waiters_is_empty(&mutex->waiters_)))
		hand_over(mutex);
	else
		mutex->holder_ = NULL;
	return 0;
}

/* --- condition --- */

int weir_cond_init(struct weir_cond *cond)
{
	if (!weir__self)
		return -EDEADLK;
	cond->home_ = weir__self;
	weir__waiters_init(&cond->waiters_);
	return 0;
}

int weir_cond_fini(struct weir_cond *cond)
{
	if (cond->home_ != weir__self)
		return -EPROTO;
	return weir__waiters_is_empty(&cond->waiters_) ? 0 : -EBUSY;
}

/* For a coroutine that must have it whatever happens. */
static void lock_again(struct weir_mutex *mutex)
{
	weir_coro_shield();
	weir_assert(weir_mutex_lock(mutex, WEIR_NEVER) == 0);
	weir_coro_unshield();
}

int weir_cond_wait(struct weir_cond *cond, struct weir_mutex *mutex, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = cond };
	int r;

	if (cond->home_ != weir__self || mutex->home_ != weir__self)
		return -EPROTO;
	if (!self())
		return -EDEADLK;
	r = weir__wait_check(deadline_ns);
	if (r)
		return mutex->holder_ == self() ? r : -EPERM;
	r = weir_mutex_unlock(mutex);
	if (r)
		return r;
	r = weir__waiters_wait(&cond->waiters_, &waiter, "cond", deadline_ns);
	lock_again(mutex);
	return r;
}

int weir_cond_signal(struct weir_cond *cond)
{
	struct weir_waiter *waiter;

	if (cond->home_ != weir__self)
		return -EPROTO;
	waiter = weir__waiters_first(&cond->waiters_);
	if (waiter)
		weir__waiter_wake(waiter, 0);
	return 0;
}

int weir_cond_broadcast(struct weir_cond *cond)
{
	if (cond->home_ != weir__self)
		return -EPROTO;
	weir__waiters_wake_all(&cond->waiters_, 0);
	return 0;
}

/* --- rwlock --- */

enum { READS, WRITES };		/* weir_waiter.n */

int weir_rwlock_init(struct weir_rwlock *rwlock)
{
	if (!weir__self)
		return -EDEADLK;
	*rwlock = (struct weir_rwlock){ .home_ = weir__self };
	weir__waiters_init(&rwlock->waiters_);
	return 0;
}

int weir_rwlock_fini(struct weir_rwlock *rwlock)
{
	if (rwlock->home_ != weir__self)
		return -EPROTO;
	return rwlock->writer_ || rwlock->readers_ ? -EBUSY : 0;
}

/* The first in line go on, as many as may together. */
static void rwlock_feed(struct weir_rwlock *rwlock)
{
	struct weir_waiter *waiter;

	while (!rwlock->writer_ && (waiter = weir__waiters_first(&rwlock->waiters_))) {
		if (waiter->n == WRITES) {
			if (rwlock->readers_)
				return;
			rwlock->writer_ = waiter->wait.coro;
		} else {
			rwlock->readers_++;
		}
		weir__waiter_wake(waiter, 0);
	}
}

static void rwlock_left(struct weir_waiter *waiter)
{
	rwlock_feed(waiter->of);
}

static int rwlock_wait(struct weir_rwlock *rwlock, unsigned how, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = rwlock, .n = how, .left = rwlock_left };

	if (rwlock->home_ != weir__self)
		return -EPROTO;
	if (!self() || rwlock->writer_ == self())
		return -EDEADLK;
	return weir__waiters_wait(&rwlock->waiters_, &waiter,
				  how == READS ? "read lock" : "write lock", deadline_ns);
}

int weir_rwlock_read(struct weir_rwlock *rwlock, int64_t deadline_ns)
{
	if (weir_unlikely(rwlock->home_ != weir__self || !self() || rwlock->writer_ ||
			  !weir__waiters_is_empty(&rwlock->waiters_)))
		return rwlock_wait(rwlock, READS, deadline_ns);
	rwlock->readers_++;
	return 0;
}

int weir_rwlock_write(struct weir_rwlock *rwlock, int64_t deadline_ns)
{
	if (weir_unlikely(rwlock->home_ != weir__self || !self() || rwlock->writer_ ||
			  rwlock->readers_))
		return rwlock_wait(rwlock, WRITES, deadline_ns);
	rwlock->writer_ = self();
	return 0;
}

int weir_rwlock_unlock(struct weir_rwlock *rwlock)
{
	if (weir_unlikely(rwlock->home_ != weir__self))
		return -EPROTO;
	if (rwlock->writer_ && rwlock->writer_ == self())
		rwlock->writer_ = NULL;
	else if (rwlock->readers_)
		rwlock->readers_--;
	else
		return -EPERM;
	rwlock_feed(rwlock);
	return 0;
}

/* --- semaphore --- */

int weir_semaphore_init(struct weir_semaphore *semaphore, unsigned count, unsigned count_max)
{
	if (!count_max || count > count_max)
		return -EINVAL;
	if (!weir__self)
		return -EDEADLK;
	*semaphore = (struct weir_semaphore){
		.count_ = count, .count_max_ = count_max, .home_ = weir__self,
	};
	weir__waiters_init(&semaphore->waiters_);
	return 0;
}

int weir_semaphore_fini(struct weir_semaphore *semaphore)
{
	if (semaphore->home_ != weir__self)
		return -EPROTO;
	return weir__waiters_is_empty(&semaphore->waiters_) ? 0 : -EBUSY;
}

static void semaphore_feed(struct weir_semaphore *semaphore)
{
	struct weir_waiter *waiter;

	while ((waiter = weir__waiters_first(&semaphore->waiters_)) &&
	       waiter->n <= semaphore->count_) {
		semaphore->count_ -= waiter->n;
		weir__waiter_wake(waiter, 0);
	}
}

static void semaphore_left(struct weir_waiter *waiter)
{
	semaphore_feed(waiter->of);
}

static int semaphore_wait(struct weir_semaphore *semaphore, unsigned n, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = semaphore, .n = n, .left = semaphore_left };

	if (semaphore->home_ != weir__self)
		return -EPROTO;
	if (!n || n > semaphore->count_max_)
		return -EINVAL;
	return weir__waiters_wait(&semaphore->waiters_, &waiter, "semaphore", deadline_ns);
}

int weir_semaphore_acquire(struct weir_semaphore *semaphore, unsigned n, int64_t deadline_ns)
{
	if (weir_unlikely(semaphore->home_ != weir__self || !n || n > semaphore->count_ ||
			  !weir__waiters_is_empty(&semaphore->waiters_)))
		return semaphore_wait(semaphore, n, deadline_ns);
	semaphore->count_ -= n;
	return 0;
}

int weir_semaphore_release(struct weir_semaphore *semaphore, unsigned n)
{
	if (weir_unlikely(semaphore->home_ != weir__self))
		return -EPROTO;
	if (weir_unlikely(n > semaphore->count_max_ - semaphore->count_))
		return -EINVAL;
	semaphore->count_ += n;
	if (weir_unlikely(!weir__waiters_is_empty(&semaphore->waiters_)))
		semaphore_feed(semaphore);
	return 0;
}

unsigned weir_semaphore_count(const struct weir_semaphore *semaphore)
{
	return semaphore->count_;
}
