/* SPDX-License-Identifier: MIT */
/*
 * op_async.h - the lift of weir_op_async.h for objects that count who uses them.
 */
#ifndef WEIR_FUTURES_OP_ASYNC_H
#define WEIR_FUTURES_OP_ASYNC_H

#include "futures/weir_op_async.h"

/* The op has retired, or was not started at all: args are the library's no more. */
typedef void (*weir__op_ended_fn)(const struct weir_op_args *args);

/* As weir_op_async(). ended (may be NULL) is called once, before the future is settled. */
struct weir_future *weir__op_async(weir_op_start_fn start, weir__op_ended_fn ended,
				   const struct weir_op_args *args, const char *name);

#endif
