/* SPDX-License-Identifier: MIT */
/*
 * probe.c - trying out what the host offers.
 *
 * Set-up flags are tried one at a time on small rings, operations are asked for with the
 * kernel's own probe, and a refusal of the ring itself is traced to its cause: no such
 * system call, the sysctl, a seccomp filter, locked memory.
 */
#include "ring/weir_probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/weir_runtime.h"
#include "ring/choose.h"
#include "ring/uapi.h"

struct probe {
	int (*visit)(const struct weir_probe_item *item, void *arg);
	void *arg;
	int stop;		/* what visit returned */
	bool refused;
	char value[160];
};

static void say(struct probe *probe, struct weir_probe_item item, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct probe *probe, struct weir_probe_item item, const char *format, ...)
{
	va_list args;

	if (probe->stop)
		return;
	va_start(args, format);
	vsnprintf(probe->value, sizeof(probe->value), format, args);
	va_end(args);
	item.value = probe->value;
	if (!item.since)
		item.since = "";
	if (item.state == WEIR_PROBE_OK || !item.remedy)
		item.remedy = "";
	if (item.state == WEIR_PROBE_REFUSED)
		probe->refused = true;
	probe->stop = probe->visit(&item, probe->arg);
}

/* --- the ring itself --- */

static int make_ring(struct io_uring *uring, unsigned flags, unsigned *ret_features)
{
	struct weir_kernel *kernel = weir__kernel_uring();
	struct io_uring_params params;
	int r;

	memset(&params, 0, sizeof(params));
	memset(uring, 0, sizeof(*uring));
	params.flags = flags;
	if (flags & IORING_SETUP_CQSIZE)
		params.cq_entries = 64;
	r = kernel->ops->ring_setup(kernel, 8, uring, &params);
	if (!r && ret_features)
		*ret_features = params.features;
	return r;
}

static void free_ring(struct io_uring *uring)
{
	weir__kernel_uring()->ops->ring_teardown(weir__kernel_uring(), uring);
}

static bool probe_ring(struct probe *probe)
{
	struct io_uring uring;
	int r = make_ring(&uring, 0, NULL);
	struct weir_probe_item item = { .kind = WEIR_PROBE_HOST,
					.name = "io_uring",
					.since = "5.1" };

	if (r < 0) {
		struct weir_refusal refusal = weir__refusal(r);

		item.state = WEIR_PROBE_REFUSED;
		item.remedy = refusal.remedy;
		say(probe, item, "no: %s: %s", strerror(-r), refusal.what);
		return false;
	}
	free_ring(&uring);
	say(probe, item, "yes");
	return true;
}

/* --- set-up flags --- */

static const struct setup_flag {
	const char *name;
	uint32_t flags;		/* the flag with what it needs beside it */
	const char *since;
} setup_flags[] = {
	{ "CQSIZE", IORING_SETUP_CQSIZE, "5.5" },
	{ "CLAMP", IORING_SETUP_CLAMP, "5.6" },
	{ "R_DISABLED", IORING_SETUP_R_DISABLED, "5.10" },
	{ "SUBMIT_ALL", IORING_SETUP_SUBMIT_ALL, "5.18" },
	{ "COOP_TASKRUN", IORING_SETUP_COOP_TASKRUN, "5.19" },
	{ "TASKRUN_FLAG", IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN, "5.19" },
	{ "SINGLE_ISSUER", IORING_SETUP_SINGLE_ISSUER, "6.0" },
	{ "DEFER_TASKRUN", IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER, "6.1" },
};

static void probe_setup(struct probe *probe)
{
	for (size_t i = 0; i < sizeof(setup_flags) / sizeof(setup_flags[0]); i++) {
		const struct setup_flag *flag = &setup_flags[i];
		struct io_uring uring;
		int r = make_ring(&uring, flag->flags, NULL);
		struct weir_probe_item item = {
			.kind = WEIR_PROBE_SETUP,
			.state = r < 0 ? WEIR_PROBE_MISSING : WEIR_PROBE_OK,
			.name = flag->name,
			.since = flag->since,
			.remedy = "a newer kernel; weir works without it, slower"
		};

		if (!r)
			free_ring(&uring);
		if (r < 0)
			say(probe, item, "no: %s", strerror(-r));
		else
			say(probe, item, "yes");
	}
}

/* --- operations --- */

static const struct opcode {
	const char *name;
	uint8_t opcode;
	const char *since;
	bool needed;
} opcodes[] = {
	{ "READ", IORING_OP_READ, "5.6", true },
	{ "WRITE", IORING_OP_WRITE, "5.6", true },
	{ "READV", IORING_OP_READV, "5.1", true },
	{ "WRITEV", IORING_OP_WRITEV, "5.1", true },
	{ "READ_FIXED", IORING_OP_READ_FIXED, "5.1", true },
	{ "WRITE_FIXED", IORING_OP_WRITE_FIXED, "5.1", true },
	{ "FSYNC", IORING_OP_FSYNC, "5.1", true },
	{ "POLL_ADD", IORING_OP_POLL_ADD, "5.1", true },
	{ "SENDMSG", IORING_OP_SENDMSG, "5.3", true },
	{ "ACCEPT", IORING_OP_ACCEPT, "5.5 (multishot 5.19)", true },
	{ "ASYNC_CANCEL", IORING_OP_ASYNC_CANCEL, "5.5", true },
	{ "CONNECT", IORING_OP_CONNECT, "5.5", true },
	{ "FALLOCATE", IORING_OP_FALLOCATE, "5.6", true },
	{ "CLOSE", IORING_OP_CLOSE, "5.6", true },
	{ "STATX", IORING_OP_STATX, "5.6", true },
	{ "SEND", IORING_OP_SEND, "5.6", true },
	{ "RECV", IORING_OP_RECV, "5.6 (multishot 6.0)", true },
	{ "OPENAT2", IORING_OP_OPENAT2, "5.6", true },
	{ "SPLICE", IORING_OP_SPLICE, "5.7", true },
	{ "SHUTDOWN", IORING_OP_SHUTDOWN, "5.11", true },
	{ "RENAMEAT", IORING_OP_RENAMEAT, "5.11", true },
	{ "UNLINKAT", IORING_OP_UNLINKAT, "5.11", true },
	{ "MKDIRAT", IORING_OP_MKDIRAT, "5.15", true },
	{ "MSG_RING", IORING_OP_MSG_RING, "5.18", true },
	{ "SOCKET", IORING_OP_SOCKET, "5.19", true },
	{ "SEND_ZC", IORING_OP_SEND_ZC, "6.0", false },
	{ "SENDMSG_ZC", IORING_OP_SENDMSG_ZC, "6.1", false },
};

static void probe_opcodes(struct probe *probe, struct io_uring *uring)
{
	static const size_t size = sizeof(struct io_uring_probe) +
				   256 * sizeof(struct io_uring_probe_op);
	struct weir_kernel *kernel = weir__kernel_uring();
	struct io_uring_probe *known = weir__calloc(1, size);

	if (!known)
		return;
	kernel->ops->ring_register(kernel, uring, IORING_REGISTER_PROBE, known, 256);
	for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		const struct opcode *op = &opcodes[i];
		bool ok = op->opcode <= known->last_op &&
			  (known->ops[op->opcode].flags & IO_URING_OP_SUPPORTED);
		struct weir_probe_item item = { .kind = WEIR_PROBE_OPCODE,
						.name = op->name,
						.since = op->since };

		item.state = ok ? WEIR_PROBE_OK :
				  op->needed ? WEIR_PROBE_REFUSED : WEIR_PROBE_MISSING;
		item.remedy = op->needed ? "a newer kernel: 6.1 or later" :
					   "a newer kernel; weir works without it";
		say(probe, item, ok ? "yes" : "no");
	}
	weir__free(known, size);
}

/* --- what else the ring can do --- */

static bool has_buffer_ring(struct io_uring *uring)
{
	struct weir_kernel *kernel = weir__kernel_uring();
	struct io_uring_buf_reg reg;
	void *memory = kernel->ops->map(kernel, 4096);
	int r;

	memset(&reg, 0, sizeof(reg));
	reg.ring_addr = (uintptr_t)memory;
	reg.ring_entries = 8;
	reg.bgid = 1;
	r = memory ? kernel->ops->ring_register(kernel, uring, IORING_REGISTER_PBUF_RING, &reg, 1) :
		     -ENOMEM;
	if (!r)
		kernel->ops->ring_register(kernel, uring, IORING_UNREGISTER_PBUF_RING, &reg, 1);
	if (memory)
		kernel->ops->unmap(kernel, memory, 4096);
	return !r;
}

static bool has_direct(struct io_uring *uring)
{
	struct weir_kernel *kernel = weir__kernel_uring();
	struct io_uring_rsrc_register reg;

	memset(&reg, 0, sizeof(reg));
	reg.nr = 16;
	reg.flags = IORING_RSRC_REGISTER_SPARSE;
	return !kernel->ops->ring_register(kernel, uring, IORING_REGISTER_FILES2, &reg,
					   sizeof(reg));
}

static void say_feature(struct probe *probe, const char *name, const char *since, bool ok,
			const char *remedy)
{
	bool refused = !strncmp(remedy, "needed", 6);
	struct weir_probe_item item = {
		.kind = WEIR_PROBE_FEATURE,
		.state = ok ? WEIR_PROBE_OK : refused ? WEIR_PROBE_REFUSED : WEIR_PROBE_MISSING,
		.name = name,
		.since = since,
		.remedy = remedy,
	};

	say(probe, item, ok ? "yes" : "no");
}

static void probe_features(struct probe *probe, struct io_uring *uring, unsigned features)
{
	struct weir_kernel *kernel = weir__kernel_uring();

	say_feature(probe, "NODROP", "5.5", features & IORING_FEAT_NODROP,
		    "needed: completions must not be lost: kernel 6.1 or later");
	say_feature(probe, "EXT_ARG", "5.11", features & IORING_FEAT_EXT_ARG,
		    "needed: waiting with a deadline: kernel 6.1 or later");
	say_feature(probe, "buffer ring", "5.19", has_buffer_ring(uring),
		    "needed: receive buffers: kernel 6.1 or later");
	say_feature(probe, "direct descriptors", "5.19", has_direct(uring),
		    "raise RLIMIT_NOFILE; weir uses plain descriptors");
	say_feature(probe, "absolute timers", "6.12", features & IORING_FEAT_MIN_TIMEOUT,
		    "a newer kernel; weir computes relative ones");
	say_feature(probe, "no iowait", "6.15", features & IORING_FEAT_NO_IOWAIT,
		    "a newer kernel; idle workers are shown as iowait");
	say_feature(probe, "message without a ring", "6.13", !kernel->ops->notify(kernel, uring, 0),
		    "a newer kernel; other threads wake a worker through an eventfd");
}

/* --- the host --- */

static void probe_kernel(struct probe *probe)
{
	struct utsname name;
	char sysctl[32];

	uname(&name);
	say(probe, (struct weir_probe_item){ .kind = WEIR_PROBE_HOST, .name = "kernel" },
	    "%s %s %s", name.sysname, name.release, name.machine);
	weir__read_line("/proc/sys/kernel/io_uring_disabled", sysctl, sizeof(sysctl));
	say(probe,
	    (struct weir_probe_item){ .kind = WEIR_PROBE_HOST,
				      .state = sysctl[0] && sysctl[0] != '0' ? WEIR_PROBE_MISSING :
									       WEIR_PROBE_OK,
				      .name = "kernel.io_uring_disabled",
				      .since = "6.6",
				      .remedy = "sysctl kernel.io_uring_disabled=0" },
	    "%s", sysctl[0] ? sysctl : "not there");
	say(probe, (struct weir_probe_item){ .kind = WEIR_PROBE_HOST, .name = "seccomp filter" },
	    weir__has_seccomp() ? "yes" : "none");
	say(probe, (struct weir_probe_item){ .kind = WEIR_PROBE_HOST, .name = "CPUs" },
	    "%u usable of %ld online", weir_cpus(), sysconf(_SC_NPROCESSORS_ONLN));
	weir__read_line("/sys/fs/cgroup/cpu.max", sysctl, sizeof(sysctl));
	say(probe, (struct weir_probe_item){ .kind = WEIR_PROBE_HOST, .name = "cgroup cpu.max" },
	    "%s", sysctl[0] ? sysctl : "none");
}

static void say_limit(struct probe *probe, const char *name, int resource, rlim_t wanted,
		      const char *remedy)
{
	struct weir_probe_item item = { .kind = WEIR_PROBE_LIMIT, .name = name, .remedy = remedy };
	struct rlimit limit = { 0, 0 };

	getrlimit(resource, &limit);
	if (limit.rlim_cur == RLIM_INFINITY) {
		say(probe, item, "unlimited");
		return;
	}
	item.state = limit.rlim_cur < wanted ? WEIR_PROBE_MISSING : WEIR_PROBE_OK;
	say(probe, item, "%llu (hard %llu)", (unsigned long long)limit.rlim_cur,
	    (unsigned long long)limit.rlim_max);
}

static void probe_limits(struct probe *probe)
{
	struct weir_probe_item item = {
		.kind = WEIR_PROBE_LIMIT,
		.name = "vm.max_map_count",
		.remedy = "sysctl vm.max_map_count=262144, for more coroutines "
			  "with guards before kernel 6.13"
	};
	char text[32];

	say_limit(probe, "RLIMIT_NOFILE", RLIMIT_NOFILE, 4096,
		  "ulimit -n 65536: it bounds the connections of a core");
	say_limit(probe, "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK, 8 << 20,
		  "ulimit -l 65536: it bounds registered buffers (root is exempt)");
	weir__read_line("/proc/sys/vm/max_map_count", text, sizeof(text));
	item.state = atol(text) < 65530 ? WEIR_PROBE_MISSING : WEIR_PROBE_OK;
	say(probe, item, "%s", text);
}

int weir_probe(int (*visit)(const struct weir_probe_item *item, void *arg), void *arg)
{
	struct probe probe = { .visit = visit, .arg = arg };
	struct io_uring uring;
	unsigned features = 0;

	probe_kernel(&probe);
	probe_limits(&probe);
	if (probe_ring(&probe) && !make_ring(&uring, 0, &features)) {
		probe_setup(&probe);
		probe_features(&probe, &uring, features);
		probe_opcodes(&probe, &uring);
		free_ring(&uring);
	}
	if (probe.stop)
		return probe.stop;
	return probe.refused ? -ENOSYS : 0;
}
