/* SPDX-License-Identifier: MIT */
/*
 * scope.c - trees of scopes whose members fail, are cancelled, run out of time or forget to join:
 * no child outlives its scope, no wait returns while its operation goes on, and what a join
 * returns is what happened.
 *
 * A member either works (a sleep, a read, a write, another core) or opens a scope of its own and
 * starts more. Buffers of reads are on the stacks of those who may be cancelled: the world sees a
 * kernel that still writes there, and one whose write buffer changes.
 */
#include <fcntl.h>
#include <string.h>

#include "tools/sim/scenario.h"

#define DEPTH_MAX 4
#define WIDTH_MAX 4
#define ROUNDS_MAX 8
#define BLOCK 4096

static struct {
	struct weir_opts opts;
	unsigned depth, width, rounds;
	unsigned alive;			/* members of all scopes */
	unsigned turn;			/* where nothing is chosen, kinds of work take turns */
} world;

/* What a scope's owner sees of its children. */
struct family {
	unsigned alive;
	unsigned started;
	int failure;			/* of the first that failed */
};

struct member {
	struct family *family;
	unsigned depth;
};

/* --- work --- */

static int work_sleep(void)
{
	return weir_sleep(weir_sim_choose("scope-sleep", 3000) * WEIR_MS);
}

static int work_file(bool writes)
{
	static const struct weir_open_opts create = { .flags = O_RDWR | O_CREAT };
	struct weir_file *file;
	char block[BLOCK];
	ssize_t n = weir_file_open(NULL, "/work", &create, &file);

	if (n < 0)
		return (int)n;
	memset(block, 'a', sizeof(block));
	n = writes ? weir_file_write(file, block, sizeof(block), 0) :
		     weir_file_read(file, block, sizeof(block), 0);
	memset(block, 'x', sizeof(block));
	weir_file_close(file);
	return n < 0 ? (int)n : 0;
}

static int sleep_there(void *arg)
{
	(void)arg;
	return work_sleep();
}

static int work_call(void)
{
	int res = 0;
	int r = weir_call(weir_sim_choose("scope-core", weir_core_count()), sleep_there, NULL,
			  WEIR_NEVER, &res);

	return r ? r : res;
}

static int work(void)
{
	switch ((world.turn++ + weir_sim_choose("scope-work", 4)) % 4) {
	case 0:
		return work_sleep();
	case 1:
		return work_file(true);
	case 2:
		return work_file(false);
	default:
		return work_call();
	}
}

/* --- members --- */

static int grow(unsigned depth);

static int member_run(void *arg)
{
	struct member member = *(struct member *)arg;
	int r = member.depth && weir_sim_choose("scope-grows", 2) ? grow(member.depth - 1) : work();

	if (!r && scenario_once_in("scope-fails", 6))
		r = -EBADMSG;
	weir_sim_sometimes(r == -ECANCELED, "scope: a member is cancelled");
	weir_sim_sometimes(r == -ETIMEDOUT, "scope: a member runs out of time");
	if (r < 0 && r != -ECANCELED && !member.family->failure)
		member.family->failure = r;
	member.family->alive--;
	world.alive--;
	return r;
}

static int64_t some_deadline(void)
{
	if (!weir_sim_choose("scope-hurries", 3))
		return weir_in(scenario_draw_size("scope-deadline", 32));
	return WEIR_NEVER;
}

static int start(const struct weir_scope *scope, struct member *member)
{
	int r = weir_scope_go(scope, member_run, member);

	if (r)
		return r;
	member->family->alive++;
	member->family->started++;
	world.alive++;
	return 0;
}

static void judge(const struct family *family, const struct weir_scope_result *result, int r)
{
	weir_sim_checkf(!family->alive, "scope: no child outlives its scope", "%u of %u do",
			family->alive, family->started);
	weir_sim_checkf(result->started == family->started, "scope: all children are counted",
			"%u of %u", result->started, family->started);
	weir_sim_checkf(!result->failed || r == result->error,
			"scope: the first failure is the result", "%d instead of %d", r,
			result->error);
	weir_sim_checkf(r == 0 || r == -ECANCELED || r == -ETIMEDOUT || result->failed,
			"scope: a join says what happened", "%d", r);
}

/* A scope with some members; joined, cancelled and joined, or left to whoever ends the coroutine.
 */
static int grow(unsigned depth)
{
	int policy = weir_sim_choose("scope-policy", 2) ? WEIR_COLLECT : WEIR_FAIL_FAST;
	struct weir_scope_result result = { 0 };
	struct family family = { 0 };
	struct member members[WIDTH_MAX];
	struct weir_scope scope;
	unsigned width = 1 + weir_sim_choose("scope-width", world.width);
	int r;

	if (scenario_once_in("scope-shields", 6))
		policy |= WEIR_SHIELD;
	r = weir_scope_open(&scope, policy, some_deadline());
	if (r)
		return r;
	for (unsigned i = 0; !r && i < width; i++) {
		members[i] = (struct member){ .family = &family, .depth = depth };
		r = start(&scope, &members[i]);
	}
	if (weir_sim_choose("scope-body-waits", 2))
		weir_sleep(scenario_draw_size("scope-body", 30));
	if (scenario_once_in("scope-cancels", 4))
		weir_scope_cancel(&scope);
	r = weir_scope_join(&scope, &result);
	judge(&family, &result, r);
	weir_sim_sometimes(result.failed > 1, "scope: several members fail");
	return r;
}

/* --- the world --- */

/* Its family is not on the stack of who forgets. */
static struct family orphans;

static int forget(void *arg)
{
	static struct member member;
	struct weir_scope scope;

	(void)arg;
	member = (struct member){ .family = &orphans };
	if (weir_scope_open(&scope, WEIR_COLLECT, WEIR_NEVER) == 0)
		start(&scope, &member);
	return 0;
}

static int round_of(void)
{
	struct weir_coro *coro;
	int r = grow(world.depth);

	weir_sim_checkf(!world.alive, "scope: after the outermost join nobody lives", "%u do",
			world.alive);
	if (!scenario_once_in("scope-forgets", 3))
		return r;
	r = weir_coro_spawn(NULL, forget, NULL, &coro);
	if (!r)
		scenario_join(coro);
	weir_sim_checkf(!orphans.alive, "scope: who forgets to join ends after his children",
			"%u live", orphans.alive);
	return r;
}

static int service(void *arg)
{
	(void)arg;
	if (weir_core())
		return 0;
	for (unsigned i = 0; i < world.rounds; i++)
		round_of();
	return 0;
}

static int subject_main(void *arg)
{
	int r = weir_run(&world.opts, service, arg);

	weir_sim_checkf(!r, "scope: the runtime ends well", "%d", r);
	return 0;
}

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts subject = { .cores = 2 };
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	memset(&orphans, 0, sizeof(orphans));
	world.opts = scenario_opts(scenario_draw("scope-cores", 1, 2));
	world.depth = scenario_draw("scope-depth", 0, DEPTH_MAX);
	world.width = scenario_draw("scope-widths", 1, WIDTH_MAX);
	world.rounds = scenario_draw("scope-rounds", 1, ROUNDS_MAX);
	if (!weir_sim_host(sim, "subject", &subject, subject_main, NULL) ||
	    !weir_sim_workload(sim, "judge", &reliable, scenario_wait_end, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_scope = {
	.name = "scope",
	.about = "trees of scopes: no child outlives its scope, no wait its operation",
	.build = build,
	.faults = WEIR_SIM_DEFAULT | WEIR_SIM_FILE_ERROR,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
