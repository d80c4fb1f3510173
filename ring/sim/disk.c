/* SPDX-License-Identifier: MIT */
/*
 * disk.c - contents of files, now and after a power cut; the life of a disk.
 */
#include "ring/sim/disk.h"

#include <stdlib.h>
#include <string.h>

#define SECTOR 512
#define BYTES_MAX (UINT64_C(1) << 40)	/* of a file */

/* --- pages --- */

static bool grow(struct weir_sim_content *content, size_t pages)
{
	size_t size = content->pages_size ? content->pages_size : 4;
	char **grown;

	if (pages <= content->pages_size)
		return true;
	while (size < pages)
		size *= 2;
	grown = realloc(content->pages, size * sizeof(*grown));
	if (!grown)
		return false;
	memset(grown + content->pages_size, 0, (size - content->pages_size) * sizeof(*grown));
	content->pages = grown;
	content->pages_size = size;
	return true;
}

static void content_free(struct weir_sim_content *content)
{
	for (size_t i = 0; i < content->pages_size; i++)
		free(content->pages[i]);
	free(content->pages);
	memset(content, 0, sizeof(*content));
}

/* The page that offset is in, made when it is a hole. */
static char *page_at(struct weir_sim_content *content, uint64_t offset, uint64_t *used)
{
	size_t index = offset / WEIR_SIM_PAGE;

	if (!grow(content, index + 1))
		return NULL;
	if (!content->pages[index]) {
		content->pages[index] = calloc(1, WEIR_SIM_PAGE);
		if (content->pages[index] && used)
			*used += WEIR_SIM_PAGE;
	}
	return content->pages[index];
}

static bool put(struct weir_sim_content *content, uint64_t offset, const char *data,
		uint64_t size, uint64_t *used)
{
	while (size) {
		size_t at = offset % WEIR_SIM_PAGE;
		size_t part = WEIR_SIM_PAGE - at < size ? WEIR_SIM_PAGE - at : size;
		char *page = page_at(content, offset, used);

		if (!page)
			return false;
		memcpy(page + at, data, part);
		offset += part;
		data += part;
		size -= part;
	}
	if (offset > content->size)
		content->size = offset;
	return true;
}

static void resize(struct weir_sim_content *content, uint64_t size, uint64_t *used)
{
	size_t keep = (size + WEIR_SIM_PAGE - 1) / WEIR_SIM_PAGE;

	for (size_t i = keep; i < content->pages_size; i++) {
		if (content->pages[i] && used)
			*used -= WEIR_SIM_PAGE;
		free(content->pages[i]);
		content->pages[i] = NULL;
	}
	if (size < content->size && size % WEIR_SIM_PAGE && keep <= content->pages_size &&
	    content->pages[keep - 1])
		memset(content->pages[keep - 1] + size % WEIR_SIM_PAGE, 0,
		       WEIR_SIM_PAGE - size % WEIR_SIM_PAGE);
	content->size = size;
}

/* --- what is not synced --- */

static bool note(struct weir_sim_inode *inode, uint64_t offset, uint64_t size, char *data)
{
	struct weir_sim_change *change = calloc(1, sizeof(*change));

	if (!change)
		return false;
	change->offset = offset;
	change->size = size;
	change->data = data;
	weir__queue_push(&inode->log, &change->link);
	return true;
}

static struct weir_sim_change *next_change(struct weir_sim_inode *inode)
{
	struct weir_link *link = weir__queue_pop(&inode->log);

	return link ? weir_container_of(link, struct weir_sim_change, link) : NULL;
}

static void change_free(struct weir_sim_change *change)
{
	free(change->data);
	free(change);
}

void weir__sim_inode_forget(struct weir_sim_inode *inode)
{
	struct weir_sim_change *change;

	while ((change = next_change(inode)))
		change_free(change);
}

void weir__sim_inode_sync(struct weir_sim_inode *inode)
{
	struct weir_sim_change *change;

	while ((change = next_change(inode))) {
		if (change->data)
			put(&inode->safe, change->offset, change->data, change->size, NULL);
		else
			resize(&inode->safe, change->offset, NULL);
		change_free(change);
	}
}

/* --- reading and writing --- */

int64_t weir__sim_inode_read(const struct weir_sim_content *content, uint64_t offset,
			     const struct iovec *iov, int count, size_t size)
{
	static const char zeros[WEIR_SIM_PAGE];
	size_t done = 0;

	if (offset >= content->size)
		return 0;
	if (size > content->size - offset)
		size = content->size - offset;
	while (done < size) {
		size_t index = (offset + done) / WEIR_SIM_PAGE;
		size_t at = (offset + done) % WEIR_SIM_PAGE;
		size_t part = WEIR_SIM_PAGE - at < size - done ? WEIR_SIM_PAGE - at : size - done;
		const char *page = index < content->pages_size ? content->pages[index] : NULL;

		weir__sim_scatter(iov, count, done, (page ? page : zeros) + at, part);
		done += part;
	}
	return (int64_t)done;
}

int64_t weir__sim_inode_write(struct weir_sim_inode *inode, uint64_t offset,
			      const struct iovec *iov, int count, size_t size)
{
	struct weir_sim_disk *disk = inode->disk;
	char *data;

	if (offset > BYTES_MAX || size > BYTES_MAX - offset)
		return -EFBIG;
	if (!size)
		return 0;
	if (disk->used + size > disk->host->opts.disk_size) {
		if (disk->used >= disk->host->opts.disk_size)
			return -ENOSPC;
		size = disk->host->opts.disk_size - disk->used;
	}
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	weir__sim_gather(iov, count, 0, data, size);
	if (!put(&inode->now, offset, data, size, &disk->used) ||
	    !note(inode, offset, size, data)) {
		free(data);
		return -ENOSPC;
	}
	inode->changed_ns = disk->host->sim->now_ns;
	return (int64_t)size;
}

int weir__sim_inode_resize(struct weir_sim_inode *inode, uint64_t size)
{
	if (size > BYTES_MAX)
		return -EFBIG;
	if (!note(inode, size, 0, NULL))
		return -ENOSPC;
	resize(&inode->now, size, &inode->disk->used);
	inode->changed_ns = inode->disk->host->sim->now_ns;
	return 0;
}

/* --- inodes --- */

struct weir_sim_inode *weir__sim_inode_create(struct weir_sim_disk *disk, unsigned mode)
{
	struct weir_sim_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->disk = disk;
	inode->mode = mode;
	inode->number = ++disk->serial;
	inode->changed_ns = disk->host->sim->now_ns;
	weir__queue_init(&inode->log);
	weir__queue_init(&inode->names_log);
	inode->next = disk->inodes;
	disk->inodes = inode;
	return inode;
}

/*
 * A file without a name and a descriptor gives its space back. Its safe version stays: a power
 * cut may bring the name back.
 */
void weir__sim_inode_settle(struct weir_sim_inode *inode)
{
	if (inode->links || !S_ISREG(inode->mode))
		return;
	if (inode->opens && !weir__rule_is_broken(WEIR_RULE_OPEN_REMOVED))
		return;
	resize(&inode->now, 0, &inode->disk->used);
}

static void inode_free(struct weir_sim_inode *inode)
{
	weir__sim_inode_forget(inode);
	weir__sim_names_free(inode);
	content_free(&inode->now);
	content_free(&inode->safe);
	free(inode->target);
	free(inode);
}

/* --- the disk --- */

int weir__sim_disk_create(struct weir_sim_host *host)
{
	struct weir_sim_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return -ENOMEM;
	disk->host = host;
	disk->root = weir__sim_inode_create(disk, S_IFDIR | 0755);
	if (!disk->root) {
		free(disk);
		return -ENOMEM;
	}
	disk->root->links = 2;
	disk->root->parent = disk->root;
	host->disk = disk;
	return 0;
}

void weir__sim_disk_destroy(struct weir_sim_host *host)
{
	struct weir_sim_disk *disk = host->disk;
	struct weir_sim_inode *inode;

	if (!disk)
		return;
	weir__sim_event_disarm(host->sim, &disk->swap);
	while ((inode = disk->inodes)) {
		disk->inodes = inode->next;
		inode_free(inode);
	}
	free(disk);
	host->disk = NULL;
}

void weir__sim_disk_heal(struct weir_sim_host *host)
{
	host->disk->broken = 0;
}

/* --- power cuts --- */

enum fate { KEPT, LOST, TORN, GARBAGE };

/* Up to a sector or a page the write was done. */
static void tear(struct weir_sim_inode *inode, const struct weir_sim_change *change)
{
	struct weir_sim_host *host = inode->disk->host;
	uint64_t unit = weir__sim_choose(host->sim, host, "torn-unit", 2) ? SECTOR : WEIR_SIM_PAGE;
	uint64_t first = unit - change->offset % unit;
	uint64_t units = change->size > first ? (change->size - first + unit - 1) / unit : 0;
	uint64_t kept = weir__sim_choose(host->sim, host, "torn-at", (uint32_t)units + 1);

	if (kept)
		put(&inode->safe, change->offset, change->data, first + (kept - 1) * unit, NULL);
}

static void spoil(struct weir_sim_inode *inode, const struct weir_sim_change *change)
{
	char *garbage = malloc(change->size);

	if (!garbage)
		return;
	for (uint64_t i = 0; i < change->size; i++)
		garbage[i] = (char)(0xa5 ^ i * 31);
	put(&inode->safe, change->offset, garbage, change->size, NULL);
	free(garbage);
}

static void cut_change(struct weir_sim_inode *inode, const struct weir_sim_change *change)
{
	struct weir_sim_host *host = inode->disk->host;

	switch (weir__sim_choose(host->sim, host, "unsynced", change->data ? 4 : 2)) {
	case KEPT:
		if (change->data)
			put(&inode->safe, change->offset, change->data, change->size, NULL);
		else
			resize(&inode->safe, change->offset, NULL);
		break;
	case TORN:
		tear(inode, change);
		break;
	case GARBAGE:
		spoil(inode, change);
		break;
	default:
		break;
	}
}

static bool copy(struct weir_sim_content *to, const struct weir_sim_content *from, uint64_t *used)
{
	content_free(to);
	if (!grow(to, from->pages_size))
		return false;
	for (size_t i = 0; i < from->pages_size; i++)
		if (from->pages[i] &&
		    !put(to, i * (uint64_t)WEIR_SIM_PAGE, from->pages[i], WEIR_SIM_PAGE, used))
			return false;
	to->size = from->size;
	return true;
}

static void cut_file(struct weir_sim_inode *inode)
{
	struct weir_sim_change *change;

	while ((change = next_change(inode))) {
		cut_change(inode, change);
		change_free(change);
	}
	resize(&inode->now, 0, &inode->disk->used);
	if (!copy(&inode->now, &inode->safe, &inode->disk->used))
		weir__sim_fail(inode->disk->host->sim, "the simulator has memory", "for a disk");
}

static void cut_directory(struct weir_sim_inode *dir)
{
	struct weir_sim_host *host = dir->disk->host;
	unsigned count = weir__sim_names_unsynced(dir);

	weir__sim_names_cut(dir, weir__sim_choose(host->sim, host, "names-lost", count + 1));
}

void weir__sim_disk_power_cut(struct weir_sim_host *host)
{
	struct weir_sim_inode *inode;

	for (inode = host->disk->inodes; inode; inode = inode->next) {
		inode->links = S_ISDIR(inode->mode) ? 2 : 0;
		inode->sync_fails = false;
		inode->socket = NULL;
	}
	for (inode = host->disk->inodes; inode; inode = inode->next) {
		if (S_ISDIR(inode->mode))
			cut_directory(inode);
		else if (S_ISREG(inode->mode))
			cut_file(inode);
	}
}
