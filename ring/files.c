/* SPDX-License-Identifier: MIT */
/*
 * files.c - opening and closing, and what a worker keeps of its files.
 *
 * Every file has an ordinary descriptor, for the attempts before the ring and for
 * what the ring refuses on direct ones (statx). A file for O_DIRECT is also put into the
 * ring's own table, where each operation then finds it 50 ns sooner; when the table is
 * full it works without.
 *
 * What is open when the worker ends is closed then: the list is for that.
 */
#include "ring/files.h"

#include <fcntl.h>
#include <string.h>

#include "core/plant.h"
#include "core/weir_coro.h"

static void files_exit(struct weir_worker_exit *hook)
{
	struct weir_files *files = weir_container_of(hook, struct weir_files, exit);
	struct weir_ring *ring = files->ring;
	struct weir_node *node;

	while ((node = weir__list_pop(&files->open))) {
		struct weir_file *file = weir_container_of(node, struct weir_file, node);

		ring->kernel->ops->close(ring->kernel, file->fd);
		weir__slab_put(&files->slab, file);
	}
	weir__slab_fini(&files->slab);
	weir__pool_fini(ring, &files->pool);
	ring->files = NULL;
	weir__free(files, sizeof(*files));
}

/* Whether the ring knows opcode. */
static bool has_opcode(struct weir_ring *ring, unsigned opcode)
{
	char memory[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)]
		__attribute__((aligned(8))) = "";
	const struct io_uring_probe *probe = (const void *)memory;

	return !ring->kernel->ops->ring_register(ring->kernel, &ring->uring, IORING_REGISTER_PROBE,
						 memory, 256) &&
	       opcode <= probe->last_op && (probe->ops[opcode].flags & IO_URING_OP_SUPPORTED);
}

int weir__files_self(struct weir_files **ret_files)
{
	struct weir_ring *ring = weir__ring_self();
	struct weir_files *files;

	if (weir_unlikely(!ring))
		return -EDEADLK;
	if (weir_likely(ring->files)) {
		*ret_files = ring->files;
		return 0;
	}
	files = weir__calloc(1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	files->ring = ring;
	weir__list_init(&files->open);
	weir__slab_init(&files->slab, sizeof(struct weir_dir), WEIR_FILES_MAX);
	files->has_truncate = has_opcode(ring, IORING_OP_FTRUNCATE);
	files->exit.run = files_exit;
	weir__worker_at_exit(weir__self, &files->exit);
	ring->files = files;
	*ret_files = files;
	return 0;
}

int weir_files_info(struct weir_files_info *ret_info)
{
	struct weir_files *files;
	int r = weir__files_self(&files);

	if (r < 0)
		return r;
	*ret_info = (struct weir_files_info){
		.open = files->open_count,
		.open_direct = files->open_direct,
		.pool_size = files->pool.size,
		.pool_used = files->pool.used,
		.pool_error = files->pool.error,
		.direct_error = files->direct_error,
		.hot = files->hot,
		.cold_reads = files->cold_reads,
	};
	return 0;
}

/* --- opening --- */

/* How often a path is walked again that somebody renamed part of meanwhile (openat2(2), EAGAIN). */
#define WALKS_MAX 16

static int open_below(struct weir_dir *dir, const char *path, struct open_how *how)
{
	int r = -EAGAIN;

	how->flags |= O_CLOEXEC;
	if (dir) {
		how->resolve |= RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
		if (dir->flags & WEIR_DIR_NO_SYMLINKS)
			how->resolve |= RESOLVE_NO_SYMLINKS;
	}
	for (int walks = 0; r == -EAGAIN && walks < WALKS_MAX; walks++) {
		struct weir_op_wait w;
		struct io_uring_sqe *sqe;

		r = weir__op_begin(&w, "open", WEIR_NEVER, &sqe);
		if (r < 0)
			return r;
		io_uring_prep_openat2(sqe, dir ? dir->file.fd : AT_FDCWD, path, how);
		r = weir__op_end(&w, sqe, WEIR_NEVER);
	}
	return r;
}

/* Puts file into the ring's table. When that fails file works through its descriptor. */
static void register_direct(struct weir_files *files, struct weir_file *file)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int fd = file->fd;
	int r = files->ring->has_direct ? weir__op_begin(&w, "open", WEIR_NEVER, &sqe) : -ENOSYS;

	if (!r) {
		io_uring_prep_files_update(sqe, &fd, 1, (int)IORING_FILE_INDEX_ALLOC);
		r = weir__op_end(&w, sqe, WEIR_NEVER);
	}
	if (r == 1) {
		file->slot = fd;
		files->open_direct++;
	} else {
		files->direct_error = r;
	}
}

/* Opens into a new object, a struct weir_dir as far as the memory is concerned. */
static int create(struct weir_dir *dir, const char *path, struct open_how *how,
		  struct weir_dir **ret)
{
	struct weir_files *files;
	struct weir_dir *object;
	int r = weir__files_self(&files);

	if (r < 0)
		return r;
	object = weir__slab_get(&files->slab);
	if (!object)
		return weir__slab_error(&files->slab);
	r = open_below(dir, path, how);
	if (r < 0) {
		weir__slab_put(&files->slab, object);
		return r;
	}
	*object = (struct weir_dir){
		.file = { .ring = files->ring, .files = files, .fd = r, .slot = -1 },
	};
	weir__list_push(&files->open, &object->file.node);
	files->open_count++;
	weir__metric_set(&weir__self->metrics, WEIR__M_FILES_OPEN, files->open_count);
	*ret = object;
	return 0;
}

int weir_file_open(struct weir_dir *dir, const char *path, const struct weir_open_opts *opts,
		   struct weir_file **ret_file)
{
	static const struct weir_open_opts defaults;
	struct open_how how = { 0 };
	struct weir_dir *object;
	int r;

	if (!opts)
		opts = &defaults;
	how.flags = (unsigned)opts->flags | (opts->direct ? O_DIRECT : 0);
	if (how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		how.mode = opts->mode ? opts->mode : 0644;
	if (opts->no_symlinks)
		how.resolve = RESOLVE_NO_SYMLINKS;
	r = create(dir, path, &how, &object);
	if (r < 0)
		return r;
	if (how.flags & O_DIRECT) {
		object->file.direct = true;
		object->file.media = WEIR_MEDIA_NONE;
		register_direct(object->file.files, &object->file);
	}
	*ret_file = &object->file;
	return 0;
}

int weir_dir_open(struct weir_dir *dir, const char *path, unsigned flags,
		  struct weir_dir **ret_dir)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY };
	struct weir_dir *object;
	int r;

	weir_precond(!(flags & ~WEIR_DIR_NO_SYMLINKS), -EINVAL);
	r = create(dir, path, &how, &object);
	if (r < 0)
		return r;
	object->flags = flags | (dir ? dir->flags : 0);
	*ret_dir = object;
	return 0;
}

/* --- closing --- */

static void wait_for_users(struct weir_file *file)
{
	struct weir_wait wait;

	if (!file->users)
		return;
	weir__wait_init(&wait);
	file->closer = &wait;
	weir__wait_park(&wait, "close", NULL, WEIR_NEVER);
}

/* Closes fd, or when it is -1 slot of the ring's table. It is gone, whatever this returns. */
static int close_one(struct weir_ring *ring, int fd, int slot)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r = weir__op_begin(&w, "close", WEIR_NEVER, &sqe);

	if (!r) {
		if (fd >= 0)
			io_uring_prep_close(sqe, fd);
		else
			io_uring_prep_close_direct(sqe, (unsigned)slot);
		r = weir__op_end(&w, sqe, WEIR_NEVER);
		if (r != -ECANCELED)
			return r;
	}
	/* The worker is ending and takes no more ops; the table ends with its ring. */
	return fd >= 0 ? ring->kernel->ops->close(ring->kernel, fd) : 0;
}

static int destroy(struct weir_file *file)
{
	struct weir_files *files = file->files;
	int r;

	if (file->slot >= 0) {
		close_one(file->ring, -1, file->slot);
		files->open_direct--;
	}
	weir__node_remove(&file->node);
	r = close_one(file->ring, file->fd, -1);
	files->open_count--;
	weir__metric_set(&weir__self->metrics, WEIR__M_FILES_OPEN, files->open_count);
	weir__slab_put(&files->slab, file);
	return r;
}

int weir_file_close(struct weir_file *file)
{
	int r;

	if (!file)
		return 0;
	if (!weir_coro_self())
		return -EDEADLK;
	if (file->closing)
		return -EBUSY;
	file->closing = true;
	file->media = WEIR_MEDIA_NONE;	/* attempts before the ring do not look at closing */
	weir_coro_shield();
	wait_for_users(file);
	r = destroy(file);
	weir_coro_unshield();
	return r;
}

int weir_dir_close(struct weir_dir *dir)
{
	return dir ? weir_file_close(&dir->file) : 0;
}

int weir_dir_sync(struct weir_dir *dir)
{
	return WEIR__PLANT(DIR_SYNC) ? 0 : weir_file_sync(&dir->file);
}
