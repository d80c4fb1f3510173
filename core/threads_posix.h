/* SPDX-License-Identifier: MIT */
/*
 * threads_posix.h - workers as POSIX threads: pinned, named, with the signals blocked; the calling
 * thread waits for the signals meanwhile.
 */
#ifndef WEIR_CORE_THREADS_H
#define WEIR_CORE_THREADS_H

#include "core/runtime.h"

/* What starts and joins the workers by way of threads. */
typedef void (*weir__run_on_fn)(struct weir_runtime *runtime, const struct weir__threads *threads);

/* Returns when every worker thread is gone: 0, -EMFILE, -ENOMEM or -EBUSY before any began. */
int weir__threads_run(struct weir_runtime *runtime, weir__run_on_fn run);

#endif
