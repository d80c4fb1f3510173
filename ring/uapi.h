/* SPDX-License-Identifier: MIT */
/*
 * uapi.h - constants of the kernel's io_uring interface that liburing 2.9's header
 * may lack. Used only after a probe said that the kernel knows them.
 */
#ifndef WEIR_RING_UAPI_H
#define WEIR_RING_UAPI_H

#include <liburing.h>

#ifndef IORING_ENTER_ABS_TIMER
#define IORING_ENTER_ABS_TIMER (1U << 5)
#endif
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#endif
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

#endif
