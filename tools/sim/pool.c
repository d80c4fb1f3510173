/* SPDX-License-Identifier: MIT */
/*
 * pool.c - several cores give work to one thread pool: each work ends once and with the truth, no
 * class is above its bounds, expired and cancelled work is not run, a strand keeps its order, and
 * the pool's end leaves nobody waiting.
 */
#include <string.h>

#include "tools/sim/scenario.h"

#define CLIENTS_MAX 6
#define ROUNDS_MAX 12
#define BATCH_MAX 6
#define CLASSES 4

struct item {
	struct weir_work work;
	unsigned class_index;
	int64_t deadline_ns;
	unsigned runs, ends;
	int give;
	int res;
	bool counted;		/* the pool took it */
};

static struct {
	struct weir_opts opts;
	struct weir_pool_class classes[CLASSES];
	struct weir_pool *pool;
	unsigned cores, clients, rounds;
	unsigned ready;			/* cores whose clients may begin */
	unsigned busy;			/* cores whose clients have not ended */
} world;

/* --- work, on what would be a thread --- */

static int item_run(struct weir_work *work)
{
	struct item *item = weir_container_of(work, struct item, work);

	item->runs++;
	weir_sim_checkf(weir_core() < 0, "pool: work sees no worker", "core %d", weir_core());
	weir_sim_checkf(item->runs == 1, "pool: work runs once", "%u times", item->runs);
	weir_sim_checkf(item->deadline_ns > weir_now(), "pool: expired work is not run",
			"%lld ns late", (long long)(weir_now() - item->deadline_ns));
	return item->give;
}

static void item_done(struct weir_work *work, int res)
{
	struct item *item = weir_container_of(work, struct item, work);

	item->res = res;
	item->ends++;
	weir_sim_checkf(item->ends == 1, "pool: work ends once", "%u times", item->ends);
	weir_sim_checkf(weir_core() >= 0, "pool: it ends on a worker", "%d", weir_core());
}

static void item_init(struct item *item)
{
	memset(item, 0, sizeof(*item));
	weir_work_init(&item->work, item_run, item_done);
	item->class_index = weir_sim_choose("pool-class", CLASSES);
	item->give = scenario_once_in("pool-fails", 5) ? -EBADMSG
						       : (int)scenario_draw("pool-gives", 0, 9);
	item->deadline_ns = scenario_once_in("pool-hurries", 3) ?
				    weir_in(scenario_draw_size("pool-deadline", 24)) :
				    WEIR_NEVER;
}

static void judge(const struct item *item)
{
	bool ran = item->res == item->give;

	weir_sim_checkf(ran == (item->runs == 1), "pool: the result says whether it ran",
			"%d after %u runs", item->res, item->runs);
	weir_sim_checkf(ran || item->res == -ECANCELED || item->res == -ETIMEDOUT ||
				item->res == -ENOBUFS || item->res == -ESHUTDOWN,
			"pool: what was not run says why", "%d", item->res);
	weir_sim_sometimes(item->res == -ETIMEDOUT, "pool: work expires");
	weir_sim_sometimes(item->res == -ECANCELED, "pool: work is cancelled");
	weir_sim_sometimes(item->res == -ENOBUFS, "pool: work is dropped");
}

static void look(void)
{
	struct weir_pool_class_info info;

	for (unsigned i = 0; i < CLASSES; i++) {
		weir_pool_class_info(world.pool, i, &info);
		weir_sim_checkf(info.queued <= info.depth_max, "pool: no class is above its depth",
				"%u of %u", info.queued, info.depth_max);
		weir_sim_checkf(info.running <= info.threads_max,
				"pool: no class is above its threads", "%u of %u", info.running,
				info.threads_max);
		weir_sim_checkf(!info.parked || info.queued == info.depth_max,
				"pool: nobody waits where there is room", "%u of %u, %u wait",
				info.queued, info.depth_max, info.parked);
		weir_sim_sometimes(info.parked, "pool: somebody waits for room");
	}
}

/* --- clients --- */

/* Items are the caller's: stays until each has ended, whatever happens. */
static int await(struct item *items, unsigned count)
{
	weir_coro_shield();
	for (unsigned i = 0; i < count; i++) {
		while (items[i].counted && !items[i].ends)
			weir_sleep(WEIR_US * 100);
		if (items[i].counted)
			judge(&items[i]);
	}
	weir_coro_unshield();
	return 0;
}

static int submit_some(void)
{
	struct item items[BATCH_MAX];
	unsigned count = 1 + weir_sim_choose("pool-items", BATCH_MAX);

	for (unsigned i = 0; i < count; i++) {
		int r;

		item_init(&items[i]);
		r = weir_pool_submit(world.pool, items[i].class_index, &items[i].work,
				     items[i].deadline_ns);
		items[i].counted = !r;
		weir_sim_checkf(!r || r == -EAGAIN || r == -ECANCELED || r == -ETIMEDOUT,
				"pool: a submission is taken or refused", "%d", r);
		weir_sim_sometimes(r == -EAGAIN, "pool: a submission is refused");
		look();
	}
	for (unsigned i = 0; i < count; i++)
		if (scenario_once_in("pool-cancels", 3) && !items[i].ends && items[i].counted)
			weir_pool_cancel(&items[i].work);
	return await(items, count);
}

static int submit_batch(void)
{
	struct item items[BATCH_MAX];
	struct weir_work *works[BATCH_MAX];
	unsigned count = 1 + weir_sim_choose("pool-batch", BATCH_MAX);
	int n;

	for (unsigned i = 0; i < count; i++) {
		item_init(&items[i]);
		items[i].deadline_ns = WEIR_NEVER;
		works[i] = &items[i].work;
	}
	n = weir_pool_submit_many(world.pool, items[0].class_index, works, count, WEIR_NEVER);
	for (unsigned i = 0; n > 0 && i < (unsigned)n; i++)
		items[i].counted = true;
	look();
	return await(items, count);
}

static int add(void *arg)
{
	return *(int *)arg + 1;
}

static int run_one(void)
{
	int n = (int)scenario_draw("pool-number", 0, 1000), res = 0;
	int r = weir_pool_run(world.pool, weir_sim_choose("pool-run-class", CLASSES), add, &n,
			      weir_in(scenario_draw_size("pool-patience", 30)), &res);

	weir_sim_checkf(r < 0 || res == n + 1, "pool: a run gives the result", "%d", res);
	return 0;
}

static int mark(size_t first, size_t end, void *arg)
{
	unsigned char *marks = arg;

	while (first < end)
		marks[first++]++;
	return 0;
}

static int run_range(void)
{
	unsigned char marks[100] = { 0 };
	unsigned count = scenario_draw("pool-range", 1, sizeof(marks));
	int r = weir_pool_for(world.pool, weir_sim_choose("pool-for-class", CLASSES), count,
			      scenario_draw("pool-grain", 0, 10), mark, marks);

	for (unsigned i = 0; i < count; i++)
		weir_sim_checkf(marks[i] == 1 || (r < 0 && !marks[i]),
				"pool: each piece of a range runs once", "%u", marks[i]);
	return 0;
}

struct link {
	struct item item;
	unsigned *next;
	unsigned number;
};

static int link_run(struct weir_work *work)
{
	struct link *link = weir_container_of(work, struct link, item.work);

	weir_sim_checkf(*link->next <= link->number, "pool: a strand keeps its order",
			"%u after %u", link->number, *link->next);
	*link->next = link->number + 1;
	link->item.runs++;
	return link->item.give;
}

static int run_strand(void)
{
	struct link links[BATCH_MAX];
	struct weir_strand strand;
	unsigned next = 0;

	weir_strand_init(&strand, world.pool, 0);
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		item_init(&links[i].item);
		weir_work_init(&links[i].item.work, link_run, item_done);
		links[i].next = &next;
		links[i].number = i;
		links[i].item.counted = !weir_strand_submit(&strand, &links[i].item.work,
							    links[i].item.deadline_ns);
	}
	if (weir_sim_choose("pool-breaks", 2) && links[2].item.counted && !links[2].item.ends)
		weir_pool_cancel(&links[2].item.work);
	for (unsigned i = 0; i < BATCH_MAX; i++)
		await(&links[i].item, 1);
	weir_sim_checkf(!weir_strand_fini(&strand), "pool: a strand ends with its work", "%u",
			strand.count_);
	return 0;
}

static int client(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < world.rounds; i++) {
		switch (weir_sim_choose("pool-does", 5)) {
		case 0:
			submit_some();
			break;
		case 1:
			submit_batch();
			break;
		case 2:
			run_one();
			break;
		case 3:
			run_range();
			break;
		default:
			run_strand();
		}
		scenario_pause("pool-pause", 3);
	}
	return 0;
}

/* --- the world --- */

static int clients(void)
{
	struct weir_coro *coros[CLIENTS_MAX];
	unsigned count = 0;

	while (count < world.clients && !weir_coro_spawn(NULL, client, NULL, &coros[count]))
		count++;
	for (unsigned i = 0; i < count; i++) {
		if (scenario_once_in("pool-stops", 8))
			weir_coro_cancel(coros[i]);
		scenario_join(coros[i]);
	}
	return 0;
}

static int make_pool(void)
{
	struct weir_pool_opts opts = {
		.threads_max = scenario_draw("pool-threads", 1, 4),
		.classes = world.classes,
		.class_count = CLASSES,
	};

	for (unsigned i = 0; i < CLASSES; i++)
		world.classes[i] = (struct weir_pool_class){
			.threads_max = scenario_draw("pool-quota", 1, 3),
			.depth_max = scenario_draw("pool-depth", 1, 8),
			.priority = (int)scenario_draw("pool-priority", 0, 2),
			.full = (enum weir_pool_full)i,
		};
	return weir_pool_create(&opts, &world.pool);
}

static int service(void *arg)
{
	int r = 0;

	(void)arg;
	if (!weir_core())
		r = make_pool();
	world.ready++;
	while (world.ready < weir_core_count())
		weir_sleep(WEIR_MS);
	if (world.pool)
		clients();
	world.busy--;
	while (!weir_core() && world.busy)
		weir_sleep(WEIR_MS);
	if (!weir_core()) {
		r = weir_pool_destroy(world.pool);
		weir_sim_checkf(!r, "pool: it ends", "%d", r);
		world.pool = NULL;
	}
	return 0;
}

static int subject_main(void *arg)
{
	int r = weir_run(&world.opts, service, arg);

	weir_sim_checkf(!r, "pool: the runtime ends well", "%d", r);
	return 0;
}

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts subject = { .cores = 4 };
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	world.cores = scenario_draw("pool-cores", 1, 3);
	world.busy = world.cores;
	world.opts = scenario_opts(world.cores);
	world.clients = scenario_draw("pool-clients", 1, CLIENTS_MAX);
	world.rounds = scenario_draw("pool-rounds", 1, ROUNDS_MAX);
	if (!weir_sim_host(sim, "subject", &subject, subject_main, NULL) ||
	    !weir_sim_workload(sim, "judge", &reliable, scenario_wait_end, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_pool = {
	.name = "pool",
	.about = "a thread pool: each work ends once, with the truth, within its bounds",
	.build = build,
	.faults = WEIR_SIM_DEFAULT,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
