/* SPDX-License-Identifier: MIT */
/*
 * host.c - a simulated machine: what runs on it, begins, ends, dies, and comes back. A
 * process is its fibers, its rings and its descriptors; the disk and the network
 * interface are the machine's and outlive it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/worker.h"
#include "ring/sim/world.h"
#include "ring/weir_run.h"

#define RESTART_NS (100 * WEIR_MS)
#define CHAOS_NS (5 * WEIR_S)
#define WALL_NS_MAX (INT64_C(230) * 365 * 86400 * WEIR_S)

/* --- the seam of a process --- */

static struct weir_sim_seam *seam_of(const struct weir__world *world)
{
	return weir_container_of(world, struct weir_sim_seam, world);
}

static int64_t world_now(const struct weir__world *world)
{
	return seam_of(world)->host->sim->now_ns;
}

static uint64_t world_random(const struct weir__world *world)
{
	struct weir_kernel *kernel = &seam_of(world)->kernel;

	return kernel->ops->random(kernel);
}

static bool world_refuses_memory(const struct weir__world *world)
{
	struct weir_sim_host *host = seam_of(world)->host;

	if (weir_likely(!(host->sim->armed & WEIR_SIM_MEMORY)) || host->sim->inside)
		return false;
	return weir__sim_fault(host->sim, host, WEIR_SIM_MEMORY, "memory");
}

static void world_took(const struct weir__world *world, void *ptr, size_t size)
{
	struct weir_sim_host *host = seam_of(world)->host;

	if (!host->sim->inside)
		weir__sim_memory_took(&host->memory, ptr, size, false);
}

static void world_gave(const struct weir__world *world, void *ptr)
{
	weir__sim_memory_gave(&seam_of(world)->host->memory, ptr);
}

static bool world_buggify(const struct weir__world *world, const char *site)
{
	struct weir_sim_host *host = seam_of(world)->host;

	return weir__sim_fault(host->sim, host, WEIR_SIM_BUGGIFY, site);
}

/* --- threads --- */

static void worker_body(struct weir_sim_fiber *fiber)
{
	fiber->core_body(fiber->core_ctx, fiber->core);
}

static void wake_main(struct weir_sim_host *host)
{
	for (struct weir_node *node = host->fibers.next; node != &host->fibers; node = node->next) {
		struct weir_sim_fiber *fiber =
			weir_container_of(node, struct weir_sim_fiber, node);

		if (!fiber->core_body)
			weir__sim_fiber_wake(host->sim, fiber);
	}
}

static int threads_start(void *arg, unsigned index, void (*body)(void *ctx, unsigned index),
			 void *ctx)
{
	struct weir_sim_host *host = arg;
	struct weir_sim_fiber *fiber;
	int r = weir__sim_fiber_start(host, "worker", worker_body, &fiber);

	if (r < 0)
		return -EAGAIN;
	fiber->core = index;
	fiber->core_body = body;
	fiber->core_ctx = ctx;
	host->runtime = ctx;
	return 0;
}

/* Only main waits, and only for workers. */
static void threads_join(void *arg)
{
	struct weir_sim_host *host = arg;

	while (host->fibers_count > 1)
		weir__sim_sleep(host->sim, WEIR_NEVER);
	host->runtime = NULL;
}

static void threads_pause(void *arg)
{
	struct weir_sim_host *host = arg;

	weir__sim_sleep(host->sim, host->sim->now_ns + WEIR_US);
}

static int make_seam(struct weir_sim_host *host)
{
	struct weir_sim_seam *seam = calloc(1, sizeof(*seam));

	if (!seam)
		return -ENOMEM;
	seam->kernel.ops = weir__sim_kernel_ops();
	seam->host = host;
	seam->threads = (struct weir__threads){
		.start = threads_start,
		.join = threads_join,
		.pause = threads_pause,
		.arg = host,
	};
	seam->world = (struct weir__world){
		.now = world_now,
		.random = world_random,
		.refuses_memory = world_refuses_memory,
		.took = world_took,
		.gave = world_gave,
		.buggify = world_buggify,
		.cpus = host->opts.cores,
		.fds_max = host->opts.fds_max,
		.kernel = &seam->kernel,
		.threads = &seam->threads,
	};
	seam->next = host->sim->seams;
	host->sim->seams = seam;
	host->seam = seam;
	return 0;
}

/* --- the process --- */

static int workload_service(void *arg)
{
	struct weir_sim_host *host = arg;

	return host->main(host->arg);
}

static int run_main(struct weir_sim_host *host)
{
	struct weir_opts opts = { .cores = 1 };

	if (!host->is_workload)
		return host->main(host->arg);
	return weir_run(&opts, workload_service, host);
}

static void check_leaks(struct weir_sim_host *host)
{
	if (!weir__list_is_empty(&host->rings))
		weir__sim_fail(host->sim, "a process that ends leaves no ring",
			       "%s returned and has rings", host->name);
	else if (host->fds_open)
		weir__sim_fail(host->sim, "a process that ends leaves no descriptor",
			       "%s returned and has %u", host->name, host->fds_open);
	else if (host->memory.live)
		weir__sim_fail(host->sim, "a process that ends leaves no memory",
			       "%s returned and has %zu blocks of the library's", host->name,
			       host->memory.live);
}

static void main_body(struct weir_sim_fiber *fiber)
{
	struct weir_sim_host *host = fiber->host;

	host->exit_code = run_main(host);
	weir__sim_trace(host->sim, host, "exit", host->exit_code, 0);
	if (host->is_workload && host->exit_code)
		weir__sim_fail(host->sim, "workloads succeed", "%s returned %d (%s)", host->name,
			       host->exit_code,
			       host->exit_code < 0 ? strerror(-host->exit_code) : "its own code");
	check_leaks(host);
	if (host->is_workload)
		host->finished = true;
}

static int start_process(struct weir_sim_host *host)
{
	struct weir_sim_fiber *fiber;
	int r = make_seam(host);

	if (!r)
		r = weir__sim_fiber_start(host, "main", main_body, &fiber);
	if (r < 0)
		return r;
	host->running = true;
	host->terminated = false;
	host->life++;
	host->rings_made = 0;
	weir__sim_trace(host->sim, host, "start", host->life, 0);
	return 0;
}

static void chaos_later(struct weir_sim_host *host)
{
	int64_t ns = weir__sim_delay(host->sim, host, "chaos-in", CHAOS_NS);

	weir__sim_event_arm(host->sim, &host->chaos, host->sim->now_ns + 50 * WEIR_MS + ns);
}

static void chaos(struct weir_sim_event *event)
{
	struct weir_sim_host *host = weir_container_of(event, struct weir_sim_host, chaos);
	struct weir_sim *sim = host->sim;

	if (sim->healed || sim->over)
		return;
	if (!host->opts.reliable && host->running && !host->is_workload) {
		if (weir__sim_fault(sim, host, WEIR_SIM_POWER, "power"))
			weir_sim_power_cut(host);
		else if (weir__sim_fault(sim, host, WEIR_SIM_KILL, "kill"))
			weir_sim_kill(host);
		else if (weir__sim_fault(sim, host, WEIR_SIM_KILL, "terminate"))
			weir_sim_terminate(host);
	}
	chaos_later(host);
}

static void restart(struct weir_sim_event *event)
{
	struct weir_sim_host *host = weir_container_of(event, struct weir_sim_host, restart);

	if (!host->running && !host->sim->over && start_process(host) < 0)
		weir__sim_fail(host->sim, "the simulator has memory", "for a process");
}

void weir__sim_host_bury(struct weir_sim_host *host, bool killed)
{
	struct weir_sim *sim = host->sim;

	if (!host->running)
		return;
	host->running = false;
	host->runtime = NULL;
	while (!weir__list_is_empty(&host->rings))
		weir__sim_ring_destroy(
			weir_container_of(host->rings.next, struct weir_sim_ring, node));
	weir__sim_fds_close_all(host, killed);
	while (!weir__list_is_empty(&host->fibers))
		weir__sim_fiber_destroy(
			weir_container_of(host->fibers.next, struct weir_sim_fiber, node));
	if (killed)
		weir__sim_memory_free(&host->memory);
	if (host->opts.restarts && (killed || host->terminated) && !host->is_workload &&
	    !sim->over && !sim->ending)
		weir_sim_restart(host, RESTART_NS);
}

void weir__sim_fiber_ended(struct weir_sim_fiber *fiber)
{
	struct weir_sim_host *host = fiber->host;
	bool is_main = !fiber->core_body;

	weir__sim_fiber_destroy(fiber);
	if (is_main)
		weir__sim_host_bury(host, false);
	else
		wake_main(host);
}

/* --- making one --- */

static void host_defaults(struct weir_sim_host_opts *opts)
{
	if (!opts->cores)
		opts->cores = 2;
	if (!opts->fds_max)
		opts->fds_max = 1024;
	if (!opts->disk_size)
		opts->disk_size = UINT64_C(256) << 20;
	if (!opts->files_max)
		opts->files_max = 65536;
}

static const struct weir_soft_profile *draw_profile(struct weir_sim *sim)
{
	/* 5.15 is below what weir needs: only who asks for it gets it. */
	static const char *const names[] = { "6.18", "6.12", "6.6", "6.1" };
	unsigned n = 0;

	if (sim->opts.profile)
		return weir__sim_profile(sim->opts.profile);
	if (sim->armed & WEIR_SIM_OLD) {
		n = weir__sim_choose(sim, NULL, "profile", 4);
		sim->report->hits[__builtin_ctzll(WEIR_SIM_OLD)] += n != 0;
	}
	return weir__sim_profile(names[n]);
}

static int make_machine(struct weir_sim_host *host)
{
	int r = weir__sim_disk_create(host);

	if (r < 0)
		return r;
	r = weir__sim_nic_create(host);
	if (r < 0) {
		weir__sim_disk_destroy(host);
		return r;
	}
	host->profile = draw_profile(host->sim);
	host->wall_offset_ns = INT64_C(1700000000) * WEIR_S;
	host->restart.run = restart;
	host->chaos.run = chaos;
	weir__list_init(&host->fibers);
	weir__list_init(&host->rings);
	return 0;
}

static struct weir_sim_host *host_create(struct weir_sim *sim, const char *name,
					 const struct weir_sim_host_opts *opts,
					 int (*main)(void *arg), void *arg)
{
	struct weir_sim_host *host = NULL;

	if (sim->hosts_count < WEIR_SIM_HOSTS)
		host = calloc(1, sizeof(*host));
	if (!host)
		return NULL;
	host->sim = sim;
	host->index = sim->hosts_count;
	snprintf(host->name, sizeof(host->name), "%s", name);
	snprintf(host->address, sizeof(host->address), "10.0.0.%u", host->index + 1);
	if (opts)
		host->opts = *opts;
	host_defaults(&host->opts);
	host->main = main;
	host->arg = arg;
	sim->hosts[host->index] = host;
	sim->hosts_count++;
	if (make_machine(host) < 0) {
		sim->hosts[--sim->hosts_count] = NULL;
		free(host);
		return NULL;
	}
	return host;
}

int weir__sim_host_begin(struct weir_sim_host *host)
{
	if (host->sim->armed & (WEIR_SIM_KILL | WEIR_SIM_POWER))
		chaos_later(host);
	return start_process(host);
}

void weir__sim_host_destroy(struct weir_sim_host *host)
{
	weir__sim_host_bury(host, true);
	weir__sim_event_disarm(host->sim, &host->restart);
	weir__sim_event_disarm(host->sim, &host->chaos);
	weir__sim_memory_free(&host->memory);
	weir__sim_nic_destroy(host);
	weir__sim_disk_destroy(host);
	free(host);
}

struct weir_sim_host *weir_sim_host(struct weir_sim *sim, const char *name,
				    const struct weir_sim_host_opts *opts, int (*main)(void *arg),
				    void *arg)
{
	return host_create(sim, name, opts, main, arg);
}

struct weir_sim_host *weir_sim_workload(struct weir_sim *sim, const char *name,
					const struct weir_sim_host_opts *opts,
					int (*body)(void *arg), void *arg)
{
	struct weir_sim_host *host = host_create(sim, name, opts, body, arg);

	if (host)
		host->is_workload = true;
	return host;
}

/* --- what is done to it --- */

/* Who runs on the host cannot be taken apart while it runs: it ends when it next sleeps. */
static bool is_running_now(const struct weir_sim_host *host)
{
	return host->sim->current && host->sim->current->host == host;
}

static void die(struct weir_sim_host *host, bool power)
{
	if (is_running_now(host)) {
		host->dies = power ? 2 : 1;
		return;
	}
	host->dies = 0;
	weir__sim_trace(host->sim, host, power ? "power cut" : "killed", host->life, 0);
	/* First: what is closed now says nothing to its peers. */
	if (power)
		weir__sim_nic_power_cut(host);
	weir__sim_host_bury(host, true);
	if (power)
		weir__sim_disk_power_cut(host);
}

void weir__sim_host_reap(struct weir_sim_host *host)
{
	if (host->dies)
		die(host, host->dies == 2);
}

void weir_sim_kill(struct weir_sim_host *host)
{
	die(host, false);
}

void weir_sim_power_cut(struct weir_sim_host *host)
{
	die(host, true);
}

void weir_sim_terminate(struct weir_sim_host *host)
{
	const struct weir__world *world = weir__world;
	struct weir_worker *self = weir__self;

	if (!host->runtime)
		return;
	weir__sim_trace(host->sim, host, "terminate", host->life, 0);
	host->terminated = true;
	weir__self = NULL;
	weir__world = &host->seam->world;
	weir__runtime_drain(host->runtime);
	weir__world = world;
	weir__self = self;
}

void weir_sim_restart(struct weir_sim_host *host, int64_t delay_ns)
{
	weir__sim_event_arm(host->sim, &host->restart, host->sim->now_ns + delay_ns);
}

bool weir_sim_is_running(const struct weir_sim_host *host)
{
	return host->running;
}

void weir_sim_pause(struct weir_sim_host *host, int64_t ns)
{
	host->paused_until_ns = host->sim->now_ns + ns;
}

void weir_sim_jump_clock(struct weir_sim_host *host, int64_t ns)
{
	int64_t to_ns;

	/* Between 1970 and 2200: what struct timespec and 64 bits of nanoseconds can both say. */
	if (__builtin_add_overflow(host->wall_offset_ns, ns, &to_ns) || to_ns < 0 ||
	    to_ns > WALL_NS_MAX)
		return;
	host->wall_offset_ns = to_ns;
}

/* --- who is who --- */

struct weir_sim_host *weir_sim_self(void)
{
	return weir__sim && weir__sim->current ? weir__sim->current->host : NULL;
}

const char *weir_sim_host_name(const struct weir_sim_host *host)
{
	return host->name;
}

const char *weir_sim_host_address(const struct weir_sim_host *host)
{
	return host->address;
}

struct weir_sim_host *weir_sim_find(const char *name)
{
	for (unsigned i = 0; weir__sim && i < weir__sim->hosts_count; i++)
		if (!strcmp(weir__sim->hosts[i]->name, name))
			return weir__sim->hosts[i];
	return NULL;
}
