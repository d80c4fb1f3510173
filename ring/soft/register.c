/* SPDX-License-Identifier: MIT */
/*
 * register.c - what a ring keeps at hand for its operations: buffer rings, direct
 * descriptors, registered buffers; and the questions a program asks about a ring.
 */
#include <string.h>

#include "core/alloc.h"
#include "ring/soft/soft.h"

/* --- buffer rings --- */

static struct weir_soft_group *find_group(struct weir_soft *soft, uint16_t bgid)
{
	for (unsigned i = 0; i < WEIR_SOFT_GROUPS; i++)
		if (soft->groups[i].ring && soft->groups[i].bgid == bgid)
			return &soft->groups[i];
	return NULL;
}

static uint16_t group_level(const struct weir_soft_group *group)
{
	uint16_t tail = __atomic_load_n(&group->ring->tail, __ATOMIC_ACQUIRE);

	return (uint16_t)(tail - group->head);
}

static struct io_uring_buf *group_buf(const struct weir_soft_group *group, unsigned nth)
{
	return &group->ring->bufs[(uint16_t)(group->head + nth) & group->mask];
}

int weir__soft_bufs_peek(struct weir_soft *soft, uint16_t bgid, struct iovec *iov, int max,
			 size_t want)
{
	struct weir_soft_group *group = find_group(soft, bgid);
	unsigned level;
	int count = 0;

	if (!group)
		return -ENOBUFS;
	level = group_level(group);
	while (count < max && (unsigned)count < level && want) {
		const struct io_uring_buf *buf = group_buf(group, (unsigned)count);
		unsigned used = group->incremental && !count ? group->used : 0;
		size_t size = buf->len - used;

		if (size > want)
			size = want;
		iov[count].iov_base = (char *)(uintptr_t)buf->addr + used;
		iov[count++].iov_len = size;
		want -= size;
	}
	if (count)
		return count;
	return weir__rule_is_broken(WEIR_RULE_BUFS_EMPTY) ? -EINVAL : -ENOBUFS;
}

static void take_part(struct weir_soft_req *req, struct weir_soft_group *group, size_t size)
{
	const struct io_uring_buf *buf = group_buf(group, 0);

	group->used += (unsigned)size;
	if (group->used < buf->len) {
		req->cflags |= IORING_CQE_F_BUF_MORE;
		return;
	}
	group->used = 0;
	group->head++;
}

void weir__soft_bufs_take(struct weir_soft_req *req, size_t size)
{
	struct weir_soft_group *group = find_group(req->soft, req->sqe.buf_group);
	const struct io_uring_buf *buf = group_buf(group, 0);
	size_t held = 0;

	req->cflags |= IORING_CQE_F_BUFFER | (uint32_t)buf->bid << IORING_CQE_BUFFER_SHIFT;
	if (group->incremental) {
		take_part(req, group, size);
		return;
	}
	do {
		held += group_buf(group, 0)->len;
		group->head++;
	} while (held < size);
}

static int register_group(struct weir_soft *soft, const struct io_uring_buf_reg *reg)
{
	struct weir_soft_group *group = soft->groups;

	if (reg->flags & ~IOU_PBUF_RING_INC)
		return -EINVAL;
	if (!reg->ring_entries || (reg->ring_entries & (reg->ring_entries - 1)) ||
	    reg->ring_entries >= 65536)
		return -EINVAL;
	if (!reg->ring_addr || reg->ring_addr % 4096)
		return reg->ring_addr ? -EINVAL : -EFAULT;
	if (find_group(soft, reg->bgid))
		return -EEXIST;
	while (group < soft->groups + WEIR_SOFT_GROUPS && group->ring)
		group++;
	if (group == soft->groups + WEIR_SOFT_GROUPS)
		return -ENOMEM;
	memset(group, 0, sizeof(*group));
	group->ring = (void *)(uintptr_t)reg->ring_addr;
	group->bgid = reg->bgid;
	group->mask = (uint16_t)(reg->ring_entries - 1);
	group->incremental = reg->flags & IOU_PBUF_RING_INC;
	return 0;
}

static int unregister_group(struct weir_soft *soft, uint16_t bgid)
{
	struct weir_soft_group *group = find_group(soft, bgid);

	if (!group)
		return -ENOENT;
	group->ring = NULL;
	return 0;
}

static int group_status(struct weir_soft *soft, struct io_uring_buf_status *status)
{
	struct weir_soft_group *group = find_group(soft, (uint16_t)status->buf_group);

	if (!group)
		return -ENOENT;
	status->head = group->head;
	return 0;
}

/* --- direct descriptors --- */

/* One that outlives fd. */
static int get_file(struct weir_soft *soft, int fd, void **ret_file)
{
	void *file = NULL;
	int r = soft->ops->file_get(soft, fd, &file);

	if (!r && soft->ops->file_keep)
		r = soft->ops->file_keep(file);
	if (!r)
		*ret_file = file;
	else if (file)
		soft->ops->file_put(file);
	return r;
}

static int register_files(struct weir_soft *soft, unsigned nr, const int *fds)
{
	int r;

	if (soft->files)
		return -EBUSY;
	if (!nr || nr > 1 << 20)
		return nr ? -EMFILE : -EINVAL;
	soft->files = weir__calloc(nr, sizeof(*soft->files));
	if (!soft->files)
		return -ENOMEM;
	soft->files_size = nr;
	soft->files_from = 0;
	soft->files_to = nr;
	for (unsigned i = 0; fds && i < nr; i++) {
		if (fds[i] == -1)
			continue;
		r = get_file(soft, fds[i], &soft->files[i]);
		if (!r)
			continue;
		weir__soft_register(soft, IORING_UNREGISTER_FILES, NULL, 0);
		return r;
	}
	return 0;
}

static int unregister_files(struct weir_soft *soft)
{
	if (!soft->files)
		return -ENXIO;
	for (unsigned i = 0; i < soft->files_size; i++)
		weir__soft_file_set(soft, i, NULL);
	weir__free(soft->files, soft->files_size * sizeof(*soft->files));
	soft->files = NULL;
	soft->files_size = 0;
	return 0;
}

/* How many were done, or what stopped the first. ALLOC: picks the slots and says which. */
static int update_files(struct weir_soft *soft, unsigned offset, int *fds, unsigned nr)
{
	unsigned done;
	int r;

	if (!soft->files)
		return -ENXIO;
	if (offset != IORING_FILE_INDEX_ALLOC && (uint64_t)offset + nr > soft->files_size)
		return -EINVAL;
	for (done = 0; done < nr; done++) {
		unsigned slot = offset + done;
		void *file = NULL;

		if (offset == IORING_FILE_INDEX_ALLOC) {
			r = weir__soft_file_slot(soft);
			if (r < 0)
				return done ? (int)done : r;
			slot = (unsigned)r;
		}
		if (fds[done] == -2)	/* IORING_REGISTER_FILES_SKIP */
			continue;
		/* What was there goes, whether something comes or not. */
		if (!weir__rule_is_broken(WEIR_RULE_SLOT_REPLACED))
			weir__soft_file_set(soft, slot, NULL);
		r = fds[done] != -1 ? get_file(soft, fds[done], &file) : 0;
		if (r < 0)
			return done ? (int)done : r;
		if (file)
			weir__soft_file_set(soft, slot, file);
		if (offset == IORING_FILE_INDEX_ALLOC)
			fds[done] = (int)slot;
	}
	return (int)done;
}

static int register_files2(struct weir_soft *soft, const struct io_uring_rsrc_register *reg)
{
	bool sparse = reg->flags & IORING_RSRC_REGISTER_SPARSE;

	if (reg->flags & ~IORING_RSRC_REGISTER_SPARSE)
		return -EINVAL;
	return register_files(soft, reg->nr, sparse ? NULL : (void *)(uintptr_t)reg->data);
}

static int alloc_range(struct weir_soft *soft, const struct io_uring_file_index_range *range)
{
	if ((uint64_t)range->off + range->len > soft->files_size)
		return -EINVAL;
	soft->files_from = soft->files_hint = range->off;
	soft->files_to = range->off + range->len;
	return 0;
}

/* --- registered buffers --- */

static int register_buffers(struct weir_soft *soft, const struct iovec *iov, unsigned count)
{
	if (soft->buffers)
		return -EBUSY;
	if (!count || count > 16384)
		return -EINVAL;
	soft->buffers = weir__calloc(count, sizeof(*iov));
	if (!soft->buffers)
		return -ENOMEM;
	memcpy(soft->buffers, iov, count * sizeof(*iov));
	soft->buffers_count = count;
	return 0;
}

static int unregister_buffers(struct weir_soft *soft)
{
	if (!soft->buffers)
		return -ENXIO;
	weir__free(soft->buffers, soft->buffers_count * sizeof(*soft->buffers));
	soft->buffers = NULL;
	soft->buffers_count = 0;
	return 0;
}

int weir__soft_buffer_check(const struct weir_soft *soft, unsigned index, uint64_t addr,
			    uint64_t len)
{
	uint64_t base;

	if (index >= soft->buffers_count)
		return -EFAULT;
	base = (uintptr_t)soft->buffers[index].iov_base;
	if (addr < base || len > soft->buffers[index].iov_len ||
	    addr - base > soft->buffers[index].iov_len - len)
		return -EFAULT;
	return 0;
}

/* --- questions --- */

static int probe(const struct weir_soft *soft, struct io_uring_probe *probe, unsigned count)
{
	const struct weir_soft_profile *profile = soft->profile;

	if (count > 256)
		return -EINVAL;
	probe->last_op = (uint8_t)(profile->ops_end - 1);
	probe->ops_len = (uint8_t)(count < profile->ops_end ? count : profile->ops_end);
	for (unsigned i = 0; i < probe->ops_len; i++) {
		bool refused = i < 128 && (profile->ops_refused[i / 64] >> (i % 64) & 1);

		probe->ops[i].op = (uint8_t)i;
		probe->ops[i].flags = refused ? 0 : IO_URING_OP_SUPPORTED;
	}
	return 0;
}

static int enable(struct weir_soft *soft)
{
	if (!weir__soft_is_disabled(soft))
		return -EBADFD;
	__atomic_store_n(&soft->disabled, false, __ATOMIC_RELAXED);
	return 0;
}

static int register_sets(struct weir_soft *soft, unsigned opcode, void *arg, unsigned count)
{
	const struct io_uring_files_update *files = arg;
	const struct io_uring_rsrc_update2 *update = arg;
	const struct io_uring_buf_reg *reg = arg;

	switch (opcode) {
	case IORING_REGISTER_BUFFERS:
		return register_buffers(soft, arg, count);
	case IORING_UNREGISTER_BUFFERS:
		return unregister_buffers(soft);
	case IORING_REGISTER_FILES:
		return register_files(soft, count, arg);
	case IORING_REGISTER_FILES2:
		return register_files2(soft, arg);
	case IORING_UNREGISTER_FILES:
		return unregister_files(soft);
	case IORING_REGISTER_FILES_UPDATE:
		return update_files(soft, files->offset, (void *)(uintptr_t)files->fds, count);
	case IORING_REGISTER_FILES_UPDATE2:
		return update_files(soft, update->offset, (void *)(uintptr_t)update->data,
				    update->nr);
	case IORING_REGISTER_FILE_ALLOC_RANGE:
		return alloc_range(soft, arg);
	case IORING_REGISTER_PBUF_RING:
		return register_group(soft, arg);
	case IORING_UNREGISTER_PBUF_RING:
		return unregister_group(soft, reg->bgid);
	case IORING_REGISTER_PBUF_STATUS:
		return group_status(soft, arg);
	default:
		return -EINVAL;
	}
}

int weir__soft_register(struct weir_soft *soft, unsigned opcode, const void *arg, unsigned count)
{
	if (opcode >= soft->profile->registers_end)
		return -EINVAL;
	switch (opcode) {
	case IORING_REGISTER_ENABLE_RINGS:
		return enable(soft);
	case IORING_REGISTER_PROBE:
		return probe(soft, (void *)(uintptr_t)arg, count);
	case IORING_REGISTER_RING_FDS:
	case IORING_UNREGISTER_RING_FDS:
		return 1;
	case IORING_REGISTER_IOWQ_AFF:
	case IORING_UNREGISTER_IOWQ_AFF:
	case IORING_REGISTER_IOWQ_MAX_WORKERS:
		return 0;
	default:
		return register_sets(soft, opcode, (void *)(uintptr_t)arg, count);
	}
}
