/* SPDX-License-Identifier: MIT */
/*
 * commit.c - a log with group commit under power cuts: what was acknowledged is durable, a torn
 * tail is noticed, and what a failed write or sync lost was never acknowledged.
 *
 * Writers append records to "log". After each start the log is read, its valid records are copied
 * to "new", which replaces it: written, synced, renamed, and the directory synced. (Going on
 * in the old file would build on pages that a failed fsync may have left in the cache but not on
 * the disk.) A record carries its size, its number and a hash, so that nothing torn passes for one.
 *
 * The oracle outlives the process: it knows of each record whether it was acknowledged. After
 * each recovery every acknowledged one must be there, in the order of the calls, and nothing that
 * nobody appended, or that an append gave up.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tools/sim/scenario.h"

#define WRITERS_MAX 6
#define RECORDS_MAX 4096
#define BODY_MAX 600
#define LOG_MAX (4u << 20)

struct header {
	uint32_t hash;		/* of all that follows */
	uint32_t size;		/* of the body */
	uint32_t number;	/* which record: the oracle's */
};

enum fate { UNUSED, MAYBE, ACKNOWLEDGED };

static struct {
	struct weir_opts opts;
	struct weir_commit_opts commit;
	unsigned writers;
	/* The oracle. */
	enum fate fates[RECORDS_MAX];
	uint32_t records;
	uint32_t verified;	/* acknowledged records at the last recovery */
	uint64_t recoveries;
	/* The process. */
	struct weir_dir *root;
	struct weir_file *file;
	struct weir_commit *log;
	int error;
} world;

/* --- records --- */

static void record_make(char *to, uint32_t number, uint32_t size)
{
	struct header header = { .size = size, .number = number };

	scenario_fill(to + sizeof(header), size, number, 0);
	memcpy(to, &header, sizeof(header));
	size += sizeof(header);
	header.hash = scenario_hash(0, to + sizeof(header.hash), size - sizeof(header.hash));
	memcpy(to, &header, sizeof(header));
}

/* Its size, or 0: what is there is no record. */
static size_t record_read(const char *from, size_t size, struct header *ret)
{
	if (size < sizeof(*ret))
		return 0;
	memcpy(ret, from, sizeof(*ret));
	if (ret->size > BODY_MAX || ret->size > size - sizeof(*ret) ||
	    ret->number >= RECORDS_MAX)
		return 0;
	size = sizeof(*ret) + ret->size;
	if (scenario_hash(0, from + sizeof(ret->hash), size - sizeof(ret->hash)) != ret->hash)
		return 0;
	return size;
}

/* --- recovery --- */

/* What is in data against what the oracle knows. Returns the valid size. */
static size_t verify(const char *data, size_t size)
{
	bool *seen = calloc(RECORDS_MAX, sizeof(*seen));
	uint32_t acknowledged = 0;
	struct header header;
	uint32_t next = 0;
	size_t at = 0, n;

	if (!seen)
		return 0;
	while ((n = record_read(data + at, size - at, &header))) {
		weir_sim_checkf(header.number >= next && world.fates[header.number] != UNUSED &&
					scenario_matches(data + at + sizeof(header), header.size,
							 header.number, 0),
				"commit: the log holds what was appended, in order",
				"record %u after %u", header.number, next);
		seen[header.number] = true;
		next = header.number + 1;
		at += n;
	}
	for (uint32_t i = 0; i < world.records; i++) {
		weir_sim_checkf(world.fates[i] != ACKNOWLEDGED || seen[i],
				"commit: what was acknowledged is durable",
				"record %u of %u, the log ends at %zu of %zu", i, world.records, at,
				size);
		acknowledged += world.fates[i] == ACKNOWLEDGED;
	}
	weir_sim_sometimes(at < size, "commit: a torn tail");
	weir_sim_sometimes(acknowledged > world.verified, "commit: more was acknowledged");
	world.verified = acknowledged;
	free(seen);
	return at;
}

static int read_log(char *data, size_t *ret_size)
{
	struct weir_file *file;
	size_t size = 0;
	ssize_t n = 0;
	int r = weir_file_open(world.root, "log", NULL, &file);

	*ret_size = 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	while (size < LOG_MAX &&
	       (n = weir_file_read(file, data + size, LOG_MAX - size, (int64_t)size)) > 0)
		size += (size_t)n;
	weir_file_close(file);
	*ret_size = size;
	return n < 0 ? (int)n : 0;
}

static int sync_file(void)
{
	int r = weir_file_sync(world.file);

	if (r == 0 || !scenario_once_in("commit-insists", 2))
		return r;
	weir_sim_sometimes(true, "commit: a sync is asked for again");
	return weir_file_sync(world.file);	/* must not pretend */
}

/* The valid records become the log: all of them, or the old one stays. */
static int replace_log(const char *data, size_t size)
{
	static const struct weir_open_opts create = { .flags = O_RDWR | O_CREAT | O_TRUNC };
	int r = weir_file_open(world.root, "new", &create, &world.file);

	if (r < 0)
		return r;
	r = size ? weir_file_write_all(world.file, data, size, 0) : 0;
	if (!r)
		r = sync_file();
	if (!r)
		r = weir_path_rename(world.root, "new", "log");
	if (!r)
		r = weir_dir_sync(world.root);
	if (!r)
		r = weir_commit_create(world.file, (int64_t)size, &world.commit, &world.log);
	if (r < 0)
		weir_file_close(world.file);
	return r;
}

static int recover(void)
{
	char *data = malloc(LOG_MAX);
	size_t size;
	int r = data ? weir_dir_open(NULL, "/db", 0, &world.root) : -ENOMEM;

	if (r < 0) {
		free(data);
		return r;
	}
	r = read_log(data, &size);
	if (!r) {
		size = verify(data, size);
		r = replace_log(data, size);
	}
	if (r < 0)
		weir_dir_close(world.root);
	free(data);
	world.recoveries += !r;
	world.error = 0;
	return r;
}

static void close_log(void)
{
	weir_commit_destroy(world.log);
	weir_file_close(world.file);
	weir_dir_close(world.root);
}

/* --- writing --- */

static int append_one(void)
{
	char record[sizeof(struct header) + BODY_MAX];
	uint32_t size = scenario_draw("commit-size", 0, BODY_MAX);
	uint32_t number = world.records++;
	bool hurries = scenario_once_in("commit-hurries", 8);
	int64_t own_ns = weir_coro_deadline();
	int r;

	world.fates[number] = MAYBE;
	if (hurries)
		weir_coro_set_deadline(weir_in(WEIR_MS));
	record_make(record, number, size);
	r = weir_commit_append(world.log, record, sizeof(struct header) + size, NULL);
	weir_coro_set_deadline(own_ns);
	if (!r)
		world.fates[number] = ACKNOWLEDGED;
	else if (r == -ETIMEDOUT || r == -ECANCELED)
		world.fates[number] = UNUSED;	/* nothing was appended, it says */
	weir_sim_sometimes(r == -EIO, "commit: an append fails");
	weir_sim_sometimes(r == -ETIMEDOUT, "commit: an append gives up");
	return r == -ETIMEDOUT ? 0 : r;
}

static bool goes_on(void)
{
	return !world.error && !weir_is_draining() && world.records < RECORDS_MAX;
}

static int writer(void *arg)
{
	int r = 0;

	(void)arg;
	while (!r && goes_on()) {
		r = append_one();
		if (!r)
			r = scenario_pause("commit-pause", 50);
	}
	if (r < 0)
		world.error = r;	/* the log has failed: all stop, and recover */
	return 0;
}

static int service(void *arg)
{
	char none[WRITERS_MAX];

	(void)arg;
	while (!weir_is_draining()) {
		int r = recover();

		if (r < 0) {
			weir_sim_sometimes(true, "commit: recovery itself fails");
			weir_sleep(200 * WEIR_MS);
			continue;
		}
		scenario_crowd(world.writers, writer, none, 1);
		close_log();
		while (world.records == RECORDS_MAX && !weir_is_draining())
			weir_sleep(100 * WEIR_MS);
	}
	return 0;
}

static int database_main(void *arg)
{
	return weir_run(&world.opts, service, arg);
}

/* --- the operator --- */

static void strike(struct weir_sim_host *host)
{
	switch (weir_sim_choose("commit-strike", 3)) {
	case 0:
		weir_sim_power_cut(host);
		weir_sim_sometimes(true, "commit: a power cut");
		break;
	case 1:
		weir_sim_kill(host);
		break;
	default:
		weir_sim_terminate(host);
	}
}

static int wait_running(struct weir_sim_host *host)
{
	uint64_t before = world.recoveries;
	int r = 0;

	if (!weir_sim_is_running(host))
		weir_sim_restart(host, 100 * WEIR_MS);
	while (!r && world.recoveries == before)
		r = weir_sleep(50 * WEIR_MS);
	return r;
}

/* Ends the process one way or another, some times, and looks at what was left when all is well. */
static int operate(void *arg)
{
	struct weir_sim_host *host = weir_sim_find("database");
	unsigned strikes = scenario_draw("commit-strikes", 0, 5);
	int r = 0;

	(void)arg;
	for (unsigned i = 0; !r && i < strikes; i++) {
		r = scenario_pause("commit-runs", 3000);
		if (r || !weir_sim_is_running(host))
			break;
		strike(host);
		while (!r && weir_sim_is_running(host))
			r = weir_sleep(50 * WEIR_MS);
		if (!r)
			weir_sim_restart(host, 100 * WEIR_MS);
	}
	if (!r)
		r = scenario_wait_healed();
	if (!r)
		r = scenario_pause("commit-healed", 2000);
	if (!r && weir_sim_is_running(host))
		weir_sim_power_cut(host);
	return r ? r : wait_running(host);
}

/* --- the world --- */

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts one_core = { .cores = 1 };
	struct weir_sim_host_opts judge = { .cores = 1, .reliable = true };
	struct weir_sim_host *host;

	(void)arg;
	memset(&world, 0, sizeof(world));
	world.opts = scenario_opts(1);
	world.opts.drain_ns = 2 * WEIR_S;
	world.writers = scenario_draw("commit-writers", 1, WRITERS_MAX);
	world.commit = (struct weir_commit_opts){
		.group_size = scenario_once_in("commit-small-groups", 2) ? 1024 : 0,
		.group_count = scenario_once_in("commit-few", 4) ? 2 : 0,
	};
	host = weir_sim_host(sim, "database", &one_core, database_main, NULL);
	if (!host || !weir_sim_workload(sim, "operator", &judge, operate, NULL))
		return -ENOMEM;
	return weir_sim_put_dir(host, "/db");
}

const struct weir_sim_scenario scenario_commit = {
	.name = "commit",
	.about = "group commit with power cuts: what was acknowledged is durable",
	.build = build,
	.faults = (WEIR_SIM_DEFAULT | WEIR_SIM_POWER | WEIR_SIM_FSYNC | WEIR_SIM_FILE_ERROR) &
		  ~(WEIR_SIM_CONNECT | WEIR_SIM_RESET | WEIR_SIM_PARTITION | WEIR_SIM_WINDOW |
		    WEIR_SIM_HALF_OPEN | WEIR_SIM_DATAGRAM),
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
