/* SPDX-License-Identifier: MIT */
/*
 * rules.h - rules that the soft ring and the simulator keep, and that a test can have broken, one
 * at a time: a suite that does not notice it would not notice a mistake either
 * (tests/conformance/mutate.c). Each is broken in one place, by weir__rule_is_broken(); in what the
 * poll kernel runs, that place is one which only failures and endings come to.
 */
#ifndef WEIR_RING_SOFT_RULES_H
#define WEIR_RING_SOFT_RULES_H

#include <stdbool.h>

#include "core/ensure.h"

#define WEIR_RULES(X)                                                                             \
	/* ring/soft/ */                                                                          \
	X(SHORT_SEVERS, "less than was asked for ends a chain")                                   \
	X(HARD_LINK, "a hard link survives a failure")                                            \
	X(BAD_CHAIN, "a chain with a bad SQE does not begin")                                     \
	X(LINK_TIMEOUT, "a link timeout that ended its operation says -ETIME")                    \
	X(SKIP_FAILURE, "a failure is told though success is skipped")                            \
	X(OVERFLOW, "no completion is lost when the queue is full")                               \
	X(MULTISHOT_FULL, "a multishot ends when the queue is full")                              \
	X(CANCEL_COUNT, "a cancel of all says how many")                                          \
	X(CANCEL_CHAINED, "what has not begun is not found by a cancel")                          \
	X(CANCEL_FILE, "a cancel by descriptor goes by the file")                                 \
	X(MULTISHOT_TIMEOUT, "a multishot timeout fires as often as it says")                     \
	X(TIMEOUT_SUCCESS, "a timeout in a chain may count as a success")                         \
	X(TIMEOUT_GONE, "a timeout that is gone cannot be removed")                               \
	X(NOTIFY_FAILURE, "a zero-copy send that fails is notified as well")                      \
	X(PREP, "an SQE with what the kernel does not know is refused")                           \
	X(BUFS_EMPTY, "without a buffer a receive fails")                                         \
	X(SLOT_REPLACED, "a bad update empties its slot")                                         \
	/* ring/sim/: kernel and network */                                                       \
	X(MESSAGE_DISABLED, "a disabled ring takes no message")                                   \
	X(WAITALL, "a receive of all waits for all")                                              \
	X(PEEK, "what was only looked at is received again")                                      \
	X(RESET_UNREAD, "a close with bytes unread is a reset")                                   \
	X(SHUT_SEND, "nothing is sent after a shutdown")                                          \
	X(HALF_CLOSE, "a half-closed stream goes on the other way")                               \
	X(ACCEPT_LIMIT, "the limit of descriptors is that of the accept's submission")            \
	X(REFUSED, "a connect to nobody is refused")                                              \
	X(POLL_END, "a poll is told of the end without asking")                                   \
	X(DATAGRAM, "a datagram is received once, however much of it fitted")                     \
	X(DATAGRAM_CUT, "a datagram that did not fit is marked")                                  \
	X(FUTEX_COUNT, "a wake ends as many waits as it says")                                    \
	X(EVENTFD, "an eventfd that was read is empty")                                           \
	/* ring/sim/: files */                                                                    \
	X(FD_LOWEST, "a descriptor is the lowest free number")                                    \
	X(APPEND, "an appending write goes to the end")                                           \
	X(OWN_POSITION, "a read at an offset leaves the file's position")                         \
	X(EXCLUSIVE, "an exclusive open makes a new file")                                        \
	X(BENEATH, "nothing beneath leads out")                                                   \
	X(NOREPLACE, "a rename may be told not to replace")                                       \
	X(FULL_DIRECTORY, "a directory with names in it is not removed")                          \
	X(OPEN_REMOVED, "a removed file is there while it is open")

#define WEIR_RULE_NUMBER(name_, text_) WEIR_RULE_##name_,
enum weir__rule { WEIR_RULE_NONE, WEIR_RULES(WEIR_RULE_NUMBER) WEIR_RULES_END };
#undef WEIR_RULE_NUMBER

/* The one that is broken; WEIR_RULE_NONE outside of that test. */
extern enum weir__rule weir__rule_broken;

static inline bool weir__rule_is_broken(enum weir__rule rule)
{
	return weir_unlikely(weir__rule_broken == rule);
}

#endif
