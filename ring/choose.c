/* SPDX-License-Identifier: MIT */
/*
 * choose.c - io_uring, or the poll kernel where it is refused.
 *
 * Nothing is concluded from a version number: a small ring is made, asked for what weir needs,
 * and entered. Only an answer that means "not on this host" chooses the poll kernel; a lack of
 * memory or descriptors is an error like any other, since it may have passed by the next start.
 */
#include "ring/choose.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"

/* --- why --- */

void weir__read_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, line, size - 1);

	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

bool weir__has_seccomp(void)
{
	char line[128] = "";
	FILE *file = fopen("/proc/self/status", "re");
	bool found = false;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "Seccomp:", 8))
			found = atoi(line + 8) == 2;
	if (file)
		fclose(file);
	return found;
}

static struct weir_refusal not_permitted(void)
{
	char sysctl[32];

	weir__read_line("/proc/sys/kernel/io_uring_disabled", sysctl, sizeof(sysctl));
	if (sysctl[0] == '2')
		return (struct weir_refusal){ "kernel.io_uring_disabled is 2",
					      "sysctl kernel.io_uring_disabled=0" };
	if (sysctl[0] == '1')
		return (struct weir_refusal){
			"kernel.io_uring_disabled is 1",
			"sysctl kernel.io_uring_disabled=0, or add the user to the group "
			"of kernel.io_uring_group"
		};
	if (weir__has_seccomp())
		return (struct weir_refusal){
			"a seccomp filter refuses io_uring_setup",
			"docker run --security-opt seccomp=unconfined, or a profile that "
			"allows io_uring_setup, io_uring_enter, io_uring_register"
		};
	return (struct weir_refusal){ "a security module refuses io_uring",
				      "allow io_uring for this process in SELinux or AppArmor" };
}

struct weir_refusal weir__refusal(int error)
{
	switch (error) {
	case -ENOSYS:
		return (struct weir_refusal){
			"this kernel has no io_uring",
			"run Linux 6.1 or newer with CONFIG_IO_URING, or use a host "
			"whose seccomp profile does not hide it"
		};
	case -EPERM:
	case -EACCES:
		return not_permitted();
	case -ENOMEM:
		return (struct weir_refusal){ "no memory for a ring",
					      "raise RLIMIT_MEMLOCK (ulimit -l), or free memory" };
	case -EMFILE:
	case -ENFILE:
		return (struct weir_refusal){ "no file descriptor for a ring",
					      "raise RLIMIT_NOFILE (ulimit -n)" };
	default:
		return (struct weir_refusal){ "io_uring_setup failed",
					      "see the errno in io_uring_setup(2)" };
	}
}

/* --- the trial --- */

#define FEATURES_NEEDED (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG)

static int try_buffer_ring(struct weir_kernel *kernel, struct io_uring *uring)
{
	struct io_uring_buf_reg reg;
	void *memory = weir__uring_ops.map(kernel, 4096);
	int r = -ENOMEM;

	memset(&reg, 0, sizeof(reg));
	reg.ring_addr = (uintptr_t)memory;
	reg.ring_entries = 8;
	if (memory)
		r = weir__uring_ops.ring_register(kernel, uring, IORING_REGISTER_PBUF_RING, &reg,
						  1);
	if (memory)
		weir__uring_ops.unmap(kernel, memory, 4096);
	return r == -EINVAL ? -ENOSYS : r;	/* before 5.19 */
}

/* 0 where io_uring serves. The true system calls, also when a test has bent the kernel. */
static int try_uring(void)
{
	struct weir_kernel *kernel = weir__kernel_uring();
	struct io_uring_params params;
	struct io_uring uring;
	int r;

	memset(&params, 0, sizeof(params));
	memset(&uring, 0, sizeof(uring));
	r = weir__uring_ops.ring_setup(kernel, 8, &uring, &params);
	if (r < 0)
		return r;
	if ((params.features & FEATURES_NEEDED) != FEATURES_NEEDED)
		r = -ENOSYS;
	if (!r)
		r = weir__uring_ops.ring_enter(kernel, &uring, 0, 0, IORING_ENTER_GETEVENTS, NULL,
					       0);
	if (r >= 0)
		r = try_buffer_ring(kernel, &uring);
	weir__uring_ops.ring_teardown(kernel, &uring);
	return r < 0 ? r : 0;
}

static bool is_refusal(int r)
{
	return r == -ENOSYS || r == -EPERM || r == -EACCES;
}

int weir__kernel_choose(const char *name, struct weir_kernel **ret_kernel,
			struct weir_kernel_info *ret_info)
{
	struct weir_kernel_info info = { .name = "uring", .reason = "asked for", .remedy = "" };
	struct weir_kernel *kernel = weir__kernel_uring();
	bool is_auto = !strcmp(name, "auto");
	int r = 0;

	if (!strcmp(name, "poll")) {
		kernel = weir__kernel_poll();
		info.name = "poll";
	} else {
		r = try_uring();
	}
	if (is_auto && !r)
		snprintf(info.reason, sizeof(info.reason), "io_uring serves");
	if (r < 0) {
		struct weir_refusal refusal = weir__refusal(r);

		snprintf(info.reason, sizeof(info.reason), "%s: %s", refusal.what, strerror(-r));
		info.remedy = refusal.remedy;
	}
	if (is_auto && is_refusal(r)) {
		kernel = weir__kernel_poll();
		info.name = "poll";
		r = 0;
	}
	if (ret_info)
		*ret_info = info;
	if (!r && ret_kernel)
		*ret_kernel = kernel;
	return r;
}

int weir_kernel_info(const char *kernel, struct weir_kernel_info *ret_info)
{
	struct weir_opts opts = { .kernel = kernel };
	int r = weir_opts_resolve(&opts, NULL);

	return r < 0 ? r : weir__kernel_choose(opts.kernel, NULL, ret_info);
}
