/* SPDX-License-Identifier: MIT */
/*
 * disk_names.c - directories: names, what is not synced of them, and the walk along a path.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>

#include "ring/sim/disk.h"

#define NAME_MAX_ 255
#define PATH_MAX_ 4096
#define LINKS_MAX 40

/* --- lists of names --- */

static int index_of(const struct weir_sim_names *names, const char *name, size_t size)
{
	for (unsigned i = 0; i < names->count; i++)
		if (!strncmp(names->list[i].name, name, size) && !names->list[i].name[size])
			return (int)i;
	return -1;
}

static void unset(struct weir_sim_names *names, int at)
{
	struct weir_sim_inode *inode = names->list[at].inode;

	free(names->list[at].name);
	memmove(&names->list[at], &names->list[at + 1],
		(names->count - (unsigned)at - 1) * sizeof(names->list[0]));
	names->count--;
	weir__sim_inode_put(inode);
}

static bool append(struct weir_sim_names *names, const char *name, struct weir_sim_inode *inode)
{
	struct weir_sim_name *to;

	if (names->count == names->size) {
		unsigned size = names->size ? names->size * 2 : 8;
		void *list = realloc(names->list, size * sizeof(names->list[0]));

		if (!list)
			return false;
		names->list = list;
		names->size = size;
	}
	to = &names->list[names->count];
	to->name = strdup(name);
	if (!to->name)
		return false;
	to->inode = inode;
	names->count++;
	weir__sim_inode_get(inode);
	return true;
}

/* inode NULL: takes the name away. */
static bool set(struct weir_sim_names *names, const char *name, struct weir_sim_inode *inode)
{
	int at = index_of(names, name, strlen(name));

	if (at < 0)
		return !inode || append(names, name, inode);
	if (!inode) {
		unset(names, at);
		return true;
	}
	weir__sim_inode_get(inode);
	weir__sim_inode_put(names->list[at].inode);
	names->list[at].inode = inode;
	return true;
}

static void names_free(struct weir_sim_names *names)
{
	while (names->count)
		unset(names, (int)names->count - 1);
	free(names->list);
	memset(names, 0, sizeof(*names));
}

/* --- changes --- */

/* inode NULL: the name is gone. mate NULL: this is all that changes. */
static bool note(struct weir_sim_inode *dir, const char *name, struct weir_sim_inode *inode,
		 struct weir_sim_inode *mate)
{
	struct weir_sim_rename *rename = calloc(1, sizeof(*rename));

	if (!rename)
		return false;
	rename->serial = dir->disk->changes;
	rename->mate = mate;
	rename->name = strdup(name);
	rename->inode = inode;
	if (inode)
		weir__sim_inode_get(inode);
	weir__queue_push(&dir->names_log, &rename->link);
	dir->changed_ns = dir->disk->host->sim->now_ns;
	return rename->name;
}

static struct weir_sim_rename *next_rename(struct weir_sim_inode *dir)
{
	struct weir_link *link = weir__queue_pop(&dir->names_log);

	return link ? weir_container_of(link, struct weir_sim_rename, link) : NULL;
}

struct weir_sim_inode *weir__sim_name_find(const struct weir_sim_inode *dir, const char *name,
					   size_t size)
{
	int at = index_of(&dir->names, name, size);

	return at < 0 ? NULL : dir->names.list[at].inode;
}

static void set_parent(struct weir_sim_inode *inode, struct weir_sim_inode *dir)
{
	struct weir_sim_inode *before = inode->parent;

	inode->parent = dir;
	weir__sim_inode_get(dir);
	if (before)
		weir__sim_inode_put(before);
}

/* What had a name until now. */
static void forsake(struct weir_sim_inode *inode)
{
	inode->links = S_ISDIR(inode->mode) ? 0 : inode->links - 1;
	weir__sim_inode_settle(inode);
}

static int add(struct weir_sim_inode *dir, const char *name, struct weir_sim_inode *inode,
	       struct weir_sim_inode *mate)
{
	struct weir_sim_inode *before = weir__sim_name_find(dir, name, strlen(name));

	if (!set(&dir->names, name, inode) || !note(dir, name, inode, mate))
		return -ENOSPC;
	inode->links++;
	if (S_ISDIR(inode->mode))
		set_parent(inode, dir);
	if (before)
		forsake(before);
	return 0;
}

static int take(struct weir_sim_inode *dir, const char *name, struct weir_sim_inode *mate)
{
	return set(&dir->names, name, NULL) && note(dir, name, NULL, mate) ? 0 : -ENOSPC;
}

int weir__sim_name_add(struct weir_sim_inode *dir, const char *name, struct weir_sim_inode *inode)
{
	dir->disk->changes++;
	return add(dir, name, inode, NULL);
}

int weir__sim_name_remove(struct weir_sim_inode *dir, const char *name)
{
	struct weir_sim_inode *inode = weir__sim_name_find(dir, name, strlen(name));
	int r;

	dir->disk->changes++;
	r = take(dir, name, NULL);
	forsake(inode);
	weir__sim_disk_bury(dir->disk);
	return r;
}

int weir__sim_name_move(const struct weir_sim_walk *from, const struct weir_sim_walk *to)
{
	struct weir_sim_disk *disk = from->dir->disk;
	int r;

	disk->changes++;
	r = add(to->dir, to->name, from->inode, from->dir);
	if (r < 0)
		return r;
	from->inode->links--;
	r = take(from->dir, from->name, to->dir);
	weir__sim_disk_bury(disk);
	return r;
}

/* --- what becomes durable --- */

static struct weir_sim_rename *first_rename(const struct weir_sim_inode *dir)
{
	struct weir_link *link = dir->names_log.head;

	return link ? weir_container_of(link, struct weir_sim_rename, link) : NULL;
}

/* The changes before the one with this serial; the others are dropped. */
static void apply(struct weir_sim_inode *dir, uint64_t end)
{
	struct weir_sim_rename *rename = next_rename(dir);

	if (rename->serial < end)
		set(&dir->safe_names, rename->name, rename->inode);
	if (rename->inode)
		weir__sim_inode_put(rename->inode);
	free(rename->name);
	free(rename);
}

/*
 * Half a rename is never durable. So when one leads to another directory, all that came before
 * is made durable everywhere, as it is when a journal is committed.
 */
void weir__sim_names_sync(struct weir_sim_inode *dir)
{
	struct weir_sim_rename *rename;
	uint64_t shared = 0;

	for (struct weir_link *link = dir->names_log.head; link; link = link->next) {
		rename = weir_container_of(link, struct weir_sim_rename, link);
		if (rename->mate && rename->mate != dir)
			shared = rename->serial;
	}
	for (struct weir_sim_inode *i = dir->disk->inodes; shared && i; i = i->next)
		while ((rename = first_rename(i)) && rename->serial <= shared)
			apply(i, UINT64_MAX);
	while (first_rename(dir))
		apply(dir, UINT64_MAX);
	weir__sim_disk_bury(dir->disk);
}

unsigned weir__sim_names_unsynced(const struct weir_sim_inode *dir)
{
	unsigned count = 0;

	for (const struct weir_link *link = dir->names_log.head; link; link = link->next)
		count++;
	return count;
}

void weir__sim_names_lose(struct weir_sim_inode *dir, unsigned lost)
{
	unsigned kept = weir__sim_names_unsynced(dir) - lost;
	struct weir_link *link = dir->names_log.head;

	while (kept--)
		link = link->next;
	dir->lost_from = UINT64_MAX;
	if (link)
		dir->lost_from = weir_container_of(link, struct weir_sim_rename, link)->serial;
}

bool weir__sim_names_agree(struct weir_sim_inode *dir)
{
	for (struct weir_link *link = dir->names_log.head; link; link = link->next) {
		struct weir_sim_rename *rename = weir_container_of(link, struct weir_sim_rename,
								   link);

		if (rename->serial >= dir->lost_from)
			return false;
		if (!rename->mate || rename->serial < rename->mate->lost_from)
			continue;
		dir->lost_from = rename->serial;
		return true;
	}
	return false;
}

void weir__sim_names_cut(struct weir_sim_inode *dir)
{
	while (first_rename(dir))
		apply(dir, dir->lost_from);
	names_free(&dir->names);
	for (unsigned i = 0; i < dir->safe_names.count; i++) {
		struct weir_sim_name *name = &dir->safe_names.list[i];

		set(&dir->names, name->name, name->inode);
		if (S_ISDIR(name->inode->mode))
			set_parent(name->inode, dir);
	}
}

/* The other half of a rename stands alone from now on. */
static void leave_mate(const struct weir_sim_rename *rename)
{
	struct weir_link *link = rename->mate ? rename->mate->names_log.head : NULL;

	for (; link; link = link->next) {
		struct weir_sim_rename *half =
			weir_container_of(link, struct weir_sim_rename, link);

		if (half->serial == rename->serial)
			half->mate = NULL;
	}
}

void weir__sim_names_free(struct weir_sim_inode *dir)
{
	while (first_rename(dir)) {
		leave_mate(first_rename(dir));
		apply(dir, 0);
	}
	names_free(&dir->names);
	names_free(&dir->safe_names);
}

/* --- paths --- */

int weir__sim_base(struct weir_sim_host *host, int dirfd, const char *path,
		   struct weir_sim_inode **ret)
{
	struct weir_sim_file *file;

	*ret = host->disk->root;
	if (dirfd == AT_FDCWD || *path == '/')
		return 0;
	file = weir__sim_fd_get(host, dirfd);
	if (!file)
		return -EBADF;
	if (file->ops != &weir__sim_disk_file_ops)
		return -ENOTDIR;
	*ret = weir__sim_open_of(file)->inode;
	return 0;
}

struct walker {
	struct weir_sim_inode *root; /* no step leads above it */
	struct weir_sim_inode *base;
	uint64_t resolve;
	enum weir_sim_end end;
	unsigned links;
	char rest[PATH_MAX_ * 2];
};

/* "/": 0, or why an absolute path is refused. */
static int to_root(struct walker *walker, struct weir_sim_walk *walk)
{
	if (walker->resolve & RESOLVE_BENEATH)
		return -EXDEV;
	walk->dir = walker->root;
	walk->last = WEIR_SIM_ROOT;
	return 0;
}

static int to_parent(struct walker *walker, struct weir_sim_walk *walk)
{
	walk->last = WEIR_SIM_DOTDOT;
	if (walk->dir == walker->base && (walker->resolve & RESOLVE_BENEATH) &&
	    !weir__rule_is_broken(WEIR_RULE_BENEATH))
		return -EXDEV;
	if (walk->dir != walker->root)
		walk->dir = walk->dir->parent;
	return 0;
}

/* The target of a link takes the place of its name. */
static int follow_link(struct walker *walker, struct weir_sim_walk *walk, const char *target,
		       const char *after)
{
	char path[PATH_MAX_ * 2];
	size_t size = strlen(target);

	if (walker->resolve & RESOLVE_NO_SYMLINKS)
		return -ELOOP;
	if (++walker->links > LINKS_MAX)
		return -ELOOP;
	if (size + strlen(after) + 2 > sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, target, size);
	strcpy(path + size, after);
	strcpy(walker->rest, path);
	return *target == '/' ? to_root(walker, walk) : 0;
}

static bool is_followed(enum weir_sim_end end, bool slash)
{
	return end == WEIR_SIM_FOLLOW || (end == WEIR_SIM_NOFOLLOW && slash);
}

/* One name, which is not ".", ".." or empty. 1: the path goes on. */
static int step(struct walker *walker, struct weir_sim_walk *walk, size_t size)
{
	const char *after = walker->rest + size;
	bool is_last = !after[strspn(after, "/")];
	struct weir_sim_inode *inode;

	if (size > NAME_MAX_)
		return -ENAMETOOLONG;
	inode = weir__sim_name_find(walk->dir, walker->rest, size);
	if (inode && S_ISLNK(inode->mode) && (!is_last || is_followed(walker->end, *after))) {
		int r = follow_link(walker, walk, inode->target, after);

		return r < 0 ? r : 1;
	}
	if (is_last) {
		memcpy(walk->name, walker->rest, size);
		walk->name[size] = '\0';
		walk->inode = inode;
		walk->last = WEIR_SIM_NORMAL;
		walk->slash = *after;
		if (inode && *after && !S_ISDIR(inode->mode) && walker->end != WEIR_SIM_NAME)
			return -ENOTDIR;
		return 0;
	}
	if (!inode)
		return -ENOENT;
	if (!S_ISDIR(inode->mode))
		return -ENOTDIR;
	walk->dir = inode;
	memmove(walker->rest, after, strlen(after) + 1);
	return 1;
}

static int walk_on(struct walker *walker, struct weir_sim_walk *walk)
{
	for (;;) {
		size_t size;
		int r = 0;

		if (*walker->rest == '/') {
			size_t slashes = strspn(walker->rest, "/");

			memmove(walker->rest, walker->rest + slashes,
				strlen(walker->rest + slashes) + 1);
		}
		size = strcspn(walker->rest, "/");
		walk->name[0] = '\0';
		walk->inode = walk->dir;
		if (!size)
			return 0;
		if (size <= 2 && !strncmp(walker->rest, "..", size)) {
			walk->last = WEIR_SIM_DOT;
			if (size == 2)
				r = to_parent(walker, walk);
			memmove(walker->rest, walker->rest + size, strlen(walker->rest + size) + 1);
			if (r < 0)
				return r;
			continue;
		}
		r = step(walker, walk, size);
		if (r <= 0)
			return r;
	}
}

int weir__sim_walk(struct weir_sim_inode *base, const char *path, enum weir_sim_end end,
		   uint64_t resolve, struct weir_sim_walk *ret)
{
	struct walker walker = {
		.root = base->disk->root, .base = base, .resolve = resolve, .end = end
	};
	int r = 0;

	if (!*path)
		return -ENOENT;
	if (strlen(path) >= PATH_MAX_)
		return -ENAMETOOLONG;
	if (resolve & RESOLVE_IN_ROOT)
		walker.root = base;
	memset(ret, 0, sizeof(*ret));
	ret->dir = base;
	strcpy(walker.rest, path);
	if (*path == '/')
		r = to_root(&walker, ret);
	if (!r && !S_ISDIR(ret->dir->mode))
		r = -ENOTDIR;
	return r < 0 ? r : walk_on(&walker, ret);
}
