/* SPDX-License-Identifier: MIT */
/*
 * threads_posix.h - workers as POSIX threads: pinned, named, with the signals blocked; the calling
 * thread waits for the signals meanwhile.
 */
#ifndef WEIR_CORE_THREADS_H
#define WEIR_CORE_THREADS_H

#include "core/runtime.h"

/* Returns when every worker thread is gone: 0, -EMFILE, -ENOMEM or -EBUSY before any began. */
int weir__threads_run(struct weir_runtime *runtime,
		      void (*run)(struct weir_runtime *runtime, const struct weir__threads *threads));

#endif
