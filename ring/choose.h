/* SPDX-License-Identifier: MIT */
/*
 * choose.h - which kernel interface serves, and why io_uring does not where it does not.
 */
#ifndef WEIR_RING_CHOOSE_H
#define WEIR_RING_CHOOSE_H

#include "ring/kernel.h"
#include "ring/weir_run.h"

/*
 * The kernel that name ("uring", "poll", "auto") means on this host. Returns 0, or what io_uring
 * was refused with: -EPERM, -EACCES, -ENOSYS where name is "uring", else only what is no
 * refusal (-ENOMEM, -EMFILE, -ENFILE).
 */
int weir__kernel_choose(const char *name, struct weir_kernel **ret_kernel,
			struct weir_kernel_info *ret_info);

struct weir_refusal {
	const char *what;
	const char *remedy;
};

/* The cause of error, which io_uring_setup(2) gave. */
struct weir_refusal weir__refusal(int error);

/* Whether this process runs behind a seccomp filter. */
bool weir__has_seccomp(void);

/* The first line of a file, "" when it cannot be read. */
void weir__read_line(const char *path, char *line, size_t size);

#endif
