/* SPDX-License-Identifier: MIT */
/*
 * disk.c - contents of files, now and after a power cut; the life of a disk.
 */
#include "ring/sim/disk.h"

#include <stdlib.h>
#include <string.h>

#define SECTOR 512
#define BYTES_MAX (UINT64_C(1) << 34) /* of a file; a hole takes memory as well, a little */

/* --- pages --- */

/* A page that is reserved and was not written yet. */
static char zeros[WEIR_SIM_PAGE];

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

/* used: of the disk; NULL for what takes no space on it. */
static void drop(struct weir_sim_content *content, size_t index, uint64_t *used)
{
	char *page = content->pages[index];

	if (!page)
		return;
	content->pages[index] = NULL;
	content->pages_used--;
	if (used)
		*used -= WEIR_SIM_PAGE;
	if (page != zeros)
		free(page);
}

static bool fill(struct weir_sim_content *content, size_t index, char *page, uint64_t *used)
{
	if (!grow(content, index + 1))
		return false;
	content->pages[index] = page;
	content->pages_used++;
	if (used)
		*used += WEIR_SIM_PAGE;
	return true;
}

static char *look_at(const struct weir_sim_content *content, size_t index)
{
	return index < content->pages_size ? content->pages[index] : NULL;
}

static void content_free(struct weir_sim_content *content)
{
	for (size_t i = 0; i < content->pages_size; i++)
		drop(content, i, NULL);
	free(content->pages);
	memset(content, 0, sizeof(*content));
}

/* The page to write to that offset is in, made when it is a hole. */
static char *page_at(struct weir_sim_content *content, uint64_t offset, uint64_t *used)
{
	size_t index = offset / WEIR_SIM_PAGE;
	char *page = look_at(content, index);

	if (page && page != zeros)
		return page;
	page = calloc(1, WEIR_SIM_PAGE);
	if (!page)
		return NULL;
	if (look_at(content, index)) {
		content->pages[index] = page;
	} else if (!fill(content, index, page, used)) {
		free(page);
		return NULL;
	}
	return page;
}

static bool put(struct weir_sim_content *content, uint64_t offset, const char *data, uint64_t size,
		uint64_t *used)
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

/* The size of the file stays. */
static void punch(struct weir_sim_content *content, uint64_t offset, uint64_t size, uint64_t *used)
{
	while (size) {
		size_t index = offset / WEIR_SIM_PAGE;
		size_t at = offset % WEIR_SIM_PAGE;
		size_t part = WEIR_SIM_PAGE - at < size ? WEIR_SIM_PAGE - at : size;
		char *page = look_at(content, index);

		if (index >= content->pages_size)
			return;
		if (part == WEIR_SIM_PAGE)
			drop(content, index, used);
		else if (page && page != zeros)
			memset(page + at, 0, part);
		offset += part;
		size -= part;
	}
}

static void resize(struct weir_sim_content *content, uint64_t size, uint64_t *used)
{
	if (size < content->size || !size)
		punch(content, size, content->pages_size * (uint64_t)WEIR_SIM_PAGE, used);
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

static void make_safe(struct weir_sim_inode *inode, const struct weir_sim_change *change)
{
	if (change->data)
		put(&inode->safe, change->offset, change->data, change->size, NULL);
	else if (change->size)
		punch(&inode->safe, change->offset, change->size, NULL);
	else
		resize(&inode->safe, change->offset, NULL);
}

void weir__sim_inode_sync(struct weir_sim_inode *inode)
{
	struct weir_sim_change *change;

	while ((change = next_change(inode))) {
		make_safe(inode, change);
		change_free(change);
	}
}

/*
 * What was written before it stays in the log, and so it does as well, to come after them: but
 * when there is nothing before it.
 */
void weir__sim_inode_sync_last(struct weir_sim_inode *inode)
{
	bool is_first = true;

	for (struct weir_link *link = inode->log.head, *next; link; link = next) {
		struct weir_sim_change *change = weir_container_of(link, struct weir_sim_change,
								   link);

		next = link->next;
		change->is_safe |= !next || !change->size;
		if (change->is_safe)
			make_safe(inode, change);
		is_first &= change->is_safe;
		if (is_first)
			change_free(next_change(inode));
	}
}

/* --- reading and writing --- */

int64_t weir__sim_inode_read(const struct weir_sim_content *content, uint64_t offset,
			     const struct iovec *iov, int count, size_t size)
{
	size_t done = 0;

	if (offset >= content->size)
		return 0;
	if (size > content->size - offset)
		size = content->size - offset;
	while (done < size) {
		size_t at = (offset + done) % WEIR_SIM_PAGE;
		size_t part = WEIR_SIM_PAGE - at < size - done ? WEIR_SIM_PAGE - at : size - done;
		const char *page = look_at(content, (offset + done) / WEIR_SIM_PAGE);

		weir__sim_scatter(iov, count, done, (page ? page : zeros) + at, part);
		done += part;
	}
	return (int64_t)done;
}

/* How much of size has a page or finds one. */
static uint64_t room(const struct weir_sim_inode *inode, uint64_t offset, uint64_t size)
{
	const struct weir_sim_disk *disk = inode->disk;
	uint64_t all = disk->host->opts.disk_size;
	uint64_t left = disk->used < all ? (all - disk->used) / WEIR_SIM_PAGE : 0;
	uint64_t at = offset;

	while (at < offset + size) {
		size_t index = at / WEIR_SIM_PAGE;

		if (!look_at(&inode->now, index) && !left--)
			return at - offset;
		at = (index + 1) * (uint64_t)WEIR_SIM_PAGE;
	}
	return size;
}

int64_t weir__sim_inode_write(struct weir_sim_inode *inode, uint64_t offset,
			      const struct iovec *iov, int count, size_t size)
{
	struct weir_sim_disk *disk = inode->disk;
	char *data;

	if (!size)
		return 0;
	if (offset >= BYTES_MAX)
		return -EFBIG;
	if (size > BYTES_MAX - offset)
		size = BYTES_MAX - offset;
	size = room(inode, offset, size);
	if (!size)
		return -ENOSPC;
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

int weir__sim_inode_punch(struct weir_sim_inode *inode, uint64_t offset, uint64_t size)
{
	if (!note(inode, offset, size, NULL))
		return -ENOSPC;
	punch(&inode->now, offset, size, &inode->disk->used);
	inode->changed_ns = inode->disk->host->sim->now_ns;
	return 0;
}

int weir__sim_inode_reserve(struct weir_sim_inode *inode, uint64_t offset, uint64_t size)
{
	if (offset > BYTES_MAX || size > BYTES_MAX - offset)
		return -EFBIG;
	if (room(inode, offset, size) < size)
		return -ENOSPC;
	for (size_t i = offset / WEIR_SIM_PAGE; i * (uint64_t)WEIR_SIM_PAGE < offset + size; i++)
		if (!look_at(&inode->now, i) && !fill(&inode->now, i, zeros, &inode->disk->used))
			return -ENOSPC;
	return 0;
}

/* --- inodes --- */

struct weir_sim_inode *weir__sim_inode_create(struct weir_sim_disk *disk, unsigned mode)
{
	struct weir_sim_inode *inode;

	if (disk->files >= disk->host->opts.files_max)
		return NULL;
	inode = calloc(1, sizeof(*inode));
	if (!inode)
		return NULL;
	inode->disk = disk;
	inode->mode = mode;
	inode->number = ++disk->serial;
	inode->changed_ns = disk->host->sim->now_ns;
	weir__queue_init(&inode->log);
	weir__queue_init(&inode->names_log);
	inode->prev = &disk->inodes;
	inode->next = disk->inodes;
	if (inode->next)
		inode->next->prev = &inode->next;
	disk->inodes = inode;
	disk->files++;
	return inode;
}

/*
 * A file without a name and a descriptor gives its space back. Its safe version stays: a power
 * cut may bring the name back.
 */
void weir__sim_inode_settle(struct weir_sim_inode *inode)
{
	if (inode->links || inode->is_gone)
		return;
	if (inode->opens && !weir__rule_is_broken(WEIR_RULE_OPEN_REMOVED))
		return;
	inode->is_gone = true;
	inode->disk->files--;
	if (S_ISREG(inode->mode))
		resize(&inode->now, 0, &inode->disk->used);
}

void weir__sim_inode_get(struct weir_sim_inode *inode)
{
	inode->refs++;
}

void weir__sim_inode_put(struct weir_sim_inode *inode)
{
	if (--inode->refs || inode->is_dead)
		return;
	inode->is_dead = true;
	inode->next_dead = inode->disk->dead;
	inode->disk->dead = inode;
}

static void inode_free(struct weir_sim_inode *inode)
{
	struct weir_sim_disk *disk = inode->disk;

	*inode->prev = inode->next;
	if (inode->next)
		inode->next->prev = inode->prev;
	if (disk->swapped == inode)
		weir__sim_event_disarm(disk->host->sim, &disk->swap);
	weir__sim_inode_forget(inode);
	resize(&inode->now, 0, &disk->used);
	content_free(&inode->now);
	content_free(&inode->safe);
	free(inode->target);
	free(inode);
}

void weir__sim_disk_bury(struct weir_sim_disk *disk)
{
	struct weir_sim_inode *inode;

	while ((inode = disk->dead)) {
		disk->dead = inode->next_dead;
		inode->is_dead = false;
		if (inode->refs)
			continue;
		weir__sim_names_free(inode);
		if (inode->parent)
			weir__sim_inode_put(inode->parent);
		inode_free(inode);
	}
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
	disk->root->refs = 1;
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
	for (inode = disk->inodes; inode; inode = inode->next)
		weir__sim_names_free(inode);
	while (disk->inodes)
		inode_free(disk->inodes);
	free(disk);
	host->disk = NULL;
}

void weir__sim_disk_heal(struct weir_sim_host *host)
{
	host->disk->broken = 0;
}

/* --- power cuts --- */

enum fate { KEPT, LOST, TORN, GARBAGE };

/* Of the sectors or pages of a write the first or the last ones were written. */
static void tear(struct weir_sim_inode *inode, const struct weir_sim_change *change)
{
	struct weir_sim_host *host = inode->disk->host;
	uint64_t unit = weir__sim_choose(host->sim, host, "torn-unit", 2) ? SECTOR : WEIR_SIM_PAGE;
	uint64_t first = unit - change->offset % unit;
	uint64_t units = change->size > first ? (change->size - first + unit - 1) / unit : 0;
	uint64_t at = weir__sim_choose(host->sim, host, "torn-at", (uint32_t)units + 1);
	uint64_t split = at ? first + (at - 1) * unit : 0;

	if (weir__sim_choose(host->sim, host, "torn-end", 2))
		put(&inode->safe, change->offset + split, change->data + split,
		    change->size - split, NULL);
	else if (split)
		put(&inode->safe, change->offset, change->data, split, NULL);
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

	if (change->is_safe) {
		make_safe(inode, change);
		return;
	}
	switch (weir__sim_choose(host->sim, host, "unsynced", change->data ? 4 : 2)) {
	case KEPT:
		make_safe(inode, change);
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

static void cut_names(struct weir_sim_disk *disk)
{
	struct weir_sim_host *host = disk->host;
	struct weir_sim_inode *inode;
	bool again = true;

	for (inode = disk->inodes; inode; inode = inode->next) {
		unsigned count = weir__sim_names_unsynced(inode);

		weir__sim_names_lose(inode,
				     weir__sim_choose(host->sim, host, "names-lost", count + 1));
	}
	while (again) {
		again = false;
		for (inode = disk->inodes; inode; inode = inode->next)
			again |= weir__sim_names_agree(inode);
	}
	for (inode = disk->inodes; inode; inode = inode->next)
		weir__sim_names_cut(inode);
}

/* From the root, by names. */
static void reach(struct weir_sim_disk *disk)
{
	bool again = true;

	for (struct weir_sim_inode *i = disk->inodes; i; i = i->next)
		i->is_reached = i == disk->root;
	while (again) {
		again = false;
		for (struct weir_sim_inode *i = disk->inodes; i; i = i->next)
			for (unsigned j = 0; i->is_reached && j < i->names.count; j++) {
				again |= !i->names.list[j].inode->is_reached;
				i->names.list[j].inode->is_reached = true;
			}
	}
}

static void forget_lost(struct weir_sim_disk *disk)
{
	for (struct weir_sim_inode *i = disk->inodes; i; i = i->next) {
		if (i->is_reached)
			continue;
		weir__sim_names_free(i);
		if (i->parent)
			weir__sim_inode_put(i->parent);
		i->parent = NULL;
	}
	weir__sim_disk_bury(disk);
}

static void count_links(struct weir_sim_disk *disk)
{
	disk->files = 0;
	for (struct weir_sim_inode *i = disk->inodes; i; i = i->next) {
		i->links = S_ISDIR(i->mode) ? 1 + (i == disk->root) : 0;
		i->is_gone = false;
		disk->files++;
	}
	for (struct weir_sim_inode *i = disk->inodes; i; i = i->next)
		for (unsigned j = 0; j < i->names.count; j++)
			i->names.list[j].inode->links++;
}

void weir__sim_disk_power_cut(struct weir_sim_host *host)
{
	struct weir_sim_disk *disk = host->disk;
	struct weir_sim_inode *inode;

	weir__sim_event_disarm(host->sim, &disk->swap);
	for (inode = disk->inodes; inode; inode = inode->next) {
		inode->errors = 0;
		inode->errors_told = false;
		inode->socket = NULL;
	}
	cut_names(disk);
	reach(disk);
	forget_lost(disk);
	count_links(disk);
	for (inode = disk->inodes; inode; inode = inode->next)
		if (S_ISREG(inode->mode))
			cut_file(inode);
}
