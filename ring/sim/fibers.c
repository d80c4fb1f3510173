/* SPDX-License-Identifier: MIT */
/*
 * fibers.c - the threads of simulated processes: one stack each, one of them runs at a time
 * until it sleeps in the kernel. What a thread has of its own, the library's
 * thread-local variables, goes with it.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "core/worker.h"
#include "ring/sim/world.h"

#define STACK_SIZE ((size_t)256 << 10)
#define GUARD_SIZE ((size_t)16 << 10)

static void leave(struct weir_sim *sim, struct weir_sim_fiber *fiber)
{
	bool is_end = fiber->state == FIBER_ENDED;

	fiber->self = weir__self;
	weir__notes_leave(is_end ? NULL : &fiber->notes, &sim->scheduler_notes);
	weir__context_switch(&fiber->context, &sim->scheduler);
	weir__notes_arrive(&fiber->notes, &sim->scheduler_notes);
}

WEIR__NEVER_RETURNS static void entry(void)
{
	struct weir_sim *sim = weir__sim;
	struct weir_sim_fiber *fiber = sim->current;

	weir__notes_arrive(&fiber->notes, &sim->scheduler_notes);
	fiber->body(fiber);
	fiber->state = FIBER_ENDED;
	leave(sim, fiber);
	__builtin_unreachable();
}

static void wakeup(struct weir_sim_event *event)
{
	struct weir_sim_fiber *fiber = weir_container_of(event, struct weir_sim_fiber, wakeup);

	weir__sim_fiber_wake(fiber->host->sim, fiber);
}

int weir__sim_fiber_start(struct weir_sim_host *host, const char *name,
			  void (*body)(struct weir_sim_fiber *fiber),
			  struct weir_sim_fiber **ret_fiber)
{
	struct weir_sim_fiber *fiber = calloc(1, sizeof(*fiber));
	struct weir_context_root *root;

	if (!fiber)
		return -ENOMEM;
	fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (fiber->stack == MAP_FAILED) {
		free(fiber);
		return -ENOMEM;
	}
	mprotect(fiber->stack, GUARD_SIZE, PROT_NONE);
	fiber->stack_size = STACK_SIZE;
	fiber->host = host;
	fiber->name = name;
	fiber->body = body;
	fiber->number = ++host->sim->fiber_serial;
	fiber->wakeup.run = wakeup;
	fiber->state = FIBER_WAITS;
	root = (void *)((char *)fiber->stack + STACK_SIZE - sizeof(*root));
	weir__context_make(&fiber->context, root, entry);
#ifdef WEIR__TSAN
	weir__notes_fresh(&fiber->notes, fiber->stack, STACK_SIZE, __tsan_create_fiber(0));
#else
	weir__notes_fresh(&fiber->notes, fiber->stack, STACK_SIZE, NULL);
#endif
	weir__list_push(&host->fibers, &fiber->node);
	host->fibers_count++;
	weir__sim_fiber_wake(host->sim, fiber);
	*ret_fiber = fiber;
	return 0;
}

void weir__sim_fiber_wake(struct weir_sim *sim, struct weir_sim_fiber *fiber)
{
	if (fiber->state != FIBER_WAITS)
		return;
	fiber->state = FIBER_READY;
	weir__sim_event_disarm(sim, &fiber->wakeup);
	weir__list_push(&sim->ready, &fiber->ready);
	sim->ready_count++;
}

void weir__sim_fiber_run(struct weir_sim *sim, struct weir_sim_fiber *fiber)
{
	if (fiber->host->paused_until_ns > sim->now_ns) {
		fiber->state = FIBER_WAITS;
		weir__sim_event_arm(sim, &fiber->wakeup, fiber->host->paused_until_ns);
		return;
	}
	fiber->state = FIBER_RUNS;
	sim->current = fiber;
	weir__self = fiber->self;
	weir__world = &fiber->host->seam->world;
	weir__notes_thread(&sim->scheduler_notes);
	weir__notes_leave(&sim->scheduler_notes, &fiber->notes);
	weir__context_switch(&sim->scheduler, &fiber->context);
	weir__notes_arrive(&sim->scheduler_notes, &sim->scheduler_notes);
	sim->current = NULL;
	weir__self = NULL;
	weir__world = NULL;
}

void weir__sim_sleep(struct weir_sim *sim, int64_t at_ns)
{
	struct weir_sim_fiber *fiber = sim->current;

	weir_assert(fiber);
	fiber->state = FIBER_WAITS;
	if (at_ns != WEIR_NEVER)
		weir__sim_event_arm(sim, &fiber->wakeup, at_ns);
	leave(sim, fiber);
}

void weir__sim_fiber_destroy(struct weir_sim_fiber *fiber)
{
	struct weir_sim *sim = fiber->host->sim;

	weir_assert(fiber != sim->current);
	weir__sim_event_disarm(sim, &fiber->wakeup);
	if (fiber->state == FIBER_READY) {
		weir__node_remove(&fiber->ready);
		sim->ready_count--;
	}
	weir__node_remove(&fiber->node);
	fiber->host->fibers_count--;
#ifdef WEIR__TSAN
	__tsan_destroy_fiber(fiber->notes.fiber);
#endif
	weir__notes_unpoison(fiber->stack, fiber->stack_size);
	munmap(fiber->stack, fiber->stack_size);
	free(fiber);
}
