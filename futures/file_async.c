/* SPDX-License-Identifier: MIT */
/*
 * file_async.c - files, composed style: the same operations as ring/file.c, lifted.
 */
#include "futures/op_async.h"
#include "futures/weir_file_async.h"
#include "ring/files.h"

static void ended(const struct weir_op_args *args)
{
	weir__file_leave(args->object);
}

static int start_read(struct weir_op *op, const struct weir_op_args *args)
{
	const struct weir_file *file = args->object;
	struct io_uring_sqe *sqe = weir__op_sqe(file->ring, WEIR_TRANSIENT);

	if (!sqe)
		return -EAGAIN;
	weir__file_prep_read(file, sqe, args->buf, args->size, args->offset);
	weir__op_go(file->ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

static int start_write(struct weir_op *op, const struct weir_op_args *args)
{
	const struct weir_file *file = args->object;
	struct io_uring_sqe *sqe;

	if (file->failed)
		return -EIO;
	sqe = weir__op_sqe(file->ring, WEIR_TRANSIENT);
	if (!sqe)
		return -EAGAIN;
	weir__file_prep_write(file, sqe, args->buf, args->size, args->offset);
	weir__op_go(file->ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

static struct weir_future *file_async(weir_op_start_fn start, struct weir_file *file,
				      const struct weir_op_args *args, const char *name)
{
	int r = weir__file_enter(file);

	return r ? weir_future_of(r) : weir__op_async(start, ended, args, name);
}

struct weir_future *weir_file_read_async(struct weir_file *file, void *buf, size_t size,
					 int64_t offset)
{
	const struct weir_op_args args = {
		.object = file, .buf = buf, .size = size, .offset = offset,
	};

	return file_async(start_read, file, &args, "weir_file_read_async");
}

struct weir_future *weir_file_write_async(struct weir_file *file, const void *buf, size_t size,
					  int64_t offset)
{
	const struct weir_op_args args = {
		.object = file, .buf = (void *)(uintptr_t)buf, .size = size, .offset = offset,
	};

	return file_async(start_write, file, &args, "weir_file_write_async");
}
