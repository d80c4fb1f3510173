/* SPDX-License-Identifier: MIT */
/*
 * profiles.c - what kernels of five versions have: set-up flags, features, operations. From
 * include/uapi/linux/io_uring.h of each version; weir asks for nothing else.
 */
#include <string.h>

#include "ring/sim/sim.h"
#include "ring/uapi.h"

#define SETUP_5_15                                                                                \
	(IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED |                     \
	 IORING_SETUP_ATTACH_WQ)
#define SETUP_6_1                                                                                 \
	(SETUP_5_15 | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |                       \
	 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define SETUP_6_6 (SETUP_6_1 | IORING_SETUP_NO_MMAP | IORING_SETUP_NO_SQARRAY)

#define FEAT_5_15                                                                                 \
	(IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |               \
	 IORING_FEAT_RW_CUR_POS | IORING_FEAT_CUR_PERSONALITY | IORING_FEAT_FAST_POLL |           \
	 IORING_FEAT_POLL_32BITS | IORING_FEAT_SQPOLL_NONFIXED | IORING_FEAT_EXT_ARG |            \
	 IORING_FEAT_NATIVE_WORKERS | IORING_FEAT_RSRC_TAGS)
#define FEAT_6_1 (FEAT_5_15 | IORING_FEAT_CQE_SKIP | IORING_FEAT_LINKED_FILE)
#define FEAT_6_6 (FEAT_6_1 | IORING_FEAT_REG_REG_RING)
#define FEAT_6_12 (FEAT_6_6 | IORING_FEAT_RECVSEND_BUNDLE | IORING_FEAT_MIN_TIMEOUT)
#define FEAT_6_18 (FEAT_6_12 | IORING_FEAT_NO_IOWAIT)

#define ENTER_5_15 (IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP | IORING_ENTER_EXT_ARG)
#define ENTER_6_1 (ENTER_5_15 | IORING_ENTER_REGISTERED_RING)
#define ENTER_6_12 (ENTER_6_1 | IORING_ENTER_ABS_TIMER)
#define ENTER_6_18 (ENTER_6_12 | IORING_ENTER_EXT_ARG_REG | IORING_ENTER_NO_IOWAIT)

/* IORING_REGISTER_* of 6.13, which liburing 2.9 does not name. */
#define REGISTER_SEND_MSG_RING 31

static const struct weir_soft_profile profiles[] = {
	{
		.name = "5.15",
		.setup_flags = SETUP_5_15,
		.features = FEAT_5_15,
		.enter_flags = ENTER_5_15,
		.ops_end = IORING_OP_LINKAT + 1,
		.registers_end = IORING_REGISTER_IOWQ_MAX_WORKERS + 1,
	},
	{
		.name = "6.1",
		.setup_flags = SETUP_6_1,
		.features = FEAT_6_1,
		.enter_flags = ENTER_6_1,
		.ops_end = IORING_OP_SENDMSG_ZC + 1,
		.registers_end = IORING_REGISTER_FILE_ALLOC_RANGE + 1,
	},
	{
		.name = "6.6",
		.setup_flags = SETUP_6_6,
		.features = FEAT_6_6,
		.enter_flags = ENTER_6_1,
		.ops_end = IORING_OP_SENDMSG_ZC + 1,
		.registers_end = IORING_REGISTER_FILE_ALLOC_RANGE + 1,
	},
	{
		.name = "6.12",
		.setup_flags = SETUP_6_6,
		.features = FEAT_6_12,
		.enter_flags = ENTER_6_12,
		.ops_end = IORING_OP_LISTEN + 1,
		.registers_end = IORING_REGISTER_CLONE_BUFFERS + 1,
	},
	{
		.name = "6.18",
		.setup_flags = SETUP_6_6,
		.features = FEAT_6_18,
		.enter_flags = ENTER_6_18,
		.ops_end = IORING_OP_LISTEN + 6,	/* RECV_ZC .. PIPE, without names in 2.9 */
		.registers_end = REGISTER_SEND_MSG_RING + 4,
	},
};

const struct weir_soft_profile *weir__sim_profile(const char *name)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (!strcmp(profiles[i].name, name))
			return &profiles[i];
	return NULL;
}
