/* SPDX-License-Identifier: MIT */
/*
 * http_files_cache.c - what a core knows of the files it serves: a hash table of entries with
 * their header fields made ready and, for the smaller files, their content.
 *
 *	none --first request--> LOADING --read--> READY --changed, evicted--> GONE
 *	LOADING --error--> GONE (who waited gets the error)
 *
 * One request loads, the others for the same file wait for it: a cold file is read once however
 * many ask. An entry is freed with its last reference; output that is being sent holds one. So
 * what is sent never changes, and "used" counts it until then: the bound holds for memory, not
 * for the table.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "net/http_files.h"

/* How often a file is read anew that changes while it is read. */
#define READS_MAX 3

struct waiter {
	struct weir_node node;
	struct weir_wait wait;
};

/* FNV-1a (Fowler, Noll, Vo), seeded. */
static uint32_t hash_of(const struct weir_http_files *files, const char *key, size_t size)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ files->seed;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)key[i]) * UINT64_C(1099511628211);
	return (uint32_t)(hash >> 32) ^ (uint32_t)hash;
}

bool weir__stat_is_same(const struct weir_stat *one, const struct weir_stat *two)
{
	return one->size == two->size && one->mtime_ns == two->mtime_ns &&
	       one->ctime_ns == two->ctime_ns && one->inode == two->inode &&
	       one->device == two->device && (one->mode & S_IFMT) == (two->mode & S_IFMT);
}

/* --- the table --- */

static struct weir_file_entry **bucket_of(struct weir_http_files *files, uint32_t hash)
{
	return &files->buckets[hash & (files->buckets_count - 1)];
}

static void table_remove(struct weir_file_entry *entry)
{
	struct weir_http_files *files = entry->files;
	struct weir_file_entry **at = bucket_of(files, entry->hash);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	weir__node_remove(&entry->lru);
	files->entries--;
	entry->state = ENTRY_GONE;
	weir__entry_put(entry);
}

void weir__entry_forget(struct weir_file_entry *entry)
{
	if (entry->state == ENTRY_READY)
		table_remove(entry);
}

static void data_free(struct weir_file_entry *entry)
{
	if (!entry->data)
		return;
	weir__free(entry->data, entry->stat.size);
	entry->files->used -= entry->stat.size;
	entry->data = NULL;
}

void weir__entry_put(struct weir_file_entry *entry)
{
	weir_assert(entry->refs);
	if (--entry->refs)
		return;
	data_free(entry);
	weir__free(entry, sizeof(*entry) + entry->key_size + 1);
}

/* Makes room for size bytes of content and one more entry. Returns whether there is. */
static bool make_room(struct weir_http_files *files, size_t size, unsigned entries)
{
	struct weir_node *node = files->lru.next;

	while ((files->used + size > files->opts.cache_size ||
		files->entries + entries > files->opts.entries_max) &&
	       node != &files->lru) {
		struct weir_file_entry *entry =
			weir_container_of(node, struct weir_file_entry, lru);

		node = node->next;
		if (entry->state == ENTRY_READY)
			table_remove(entry);
	}
	return files->used + size <= files->opts.cache_size &&
	       files->entries + entries <= files->opts.entries_max;
}

static struct weir_file_entry *table_find(struct weir_http_files *files, const char *key,
					  size_t key_size, uint32_t hash)
{
	struct weir_file_entry *entry = *bucket_of(files, hash);

	while (entry && (entry->hash != hash || entry->key_size != key_size ||
			 memcmp(entry->key, key, key_size)))
		entry = entry->next;
	return entry;
}

/* A new entry, LOADING, in the table; the caller's reference beside the table's. */
static struct weir_file_entry *table_add(struct weir_http_files *files, const char *key,
					 size_t key_size, uint32_t hash)
{
	struct weir_file_entry **bucket = bucket_of(files, hash);
	struct weir_file_entry *entry;

	if (!make_room(files, 0, 1))
		return NULL;
	entry = weir__alloc(sizeof(*entry) + key_size + 1);
	if (!entry)
		return NULL;
	*entry = (struct weir_file_entry){
		.next = *bucket,
		.files = files,
		.state = ENTRY_LOADING,
		.refs = 2,
		.hash = hash,
		.key_size = (uint32_t)key_size,
	};
	memcpy(entry->key, key, key_size);
	entry->key[key_size] = '\0';
	weir__list_init(&entry->waiters);
	*bucket = entry;
	weir__list_push(&files->lru, &entry->lru);
	files->entries++;
	return entry;
}

/* --- loading --- */

int weir__files_open(struct weir_http_files *files, const char *key, int flags,
		     struct weir_file **ret_file)
{
	const struct weir_open_opts opts = { .flags = flags,
					     .no_symlinks = !files->opts.symlinks };

	int r = weir_file_open(files->dir, *key ? key : ".", &opts, ret_file);

	return r == -EAGAIN ? -EBUSY : r;	/* renamed all the time */
}

/* Looks at the file without opening it: what is no regular file may do anything when opened. */
static int look(struct weir_http_files *files, const char *key, struct weir_stat *ret_stat)
{
	struct weir_file *file;
	int r = weir__files_open(files, key, O_PATH, &file);

	if (r < 0)
		return r;
	r = weir_file_stat(file, ret_stat);
	weir_file_close(file);
	if (r < 0)
		return r;
	if (S_ISDIR(ret_stat->mode))
		return -EISDIR;
	return S_ISREG(ret_stat->mode) ? 0 : -EACCES;
}

/* Reads all of file, stat->size bytes. Returns 0, -EAGAIN: it changed meanwhile. */
static int read_whole(struct weir_file *file, char *data, struct weir_stat *stat)
{
	struct weir_stat after;
	int r = stat->size ? weir_file_read_exact(file, data, stat->size, 0) : 0;

	if (r == -ENODATA)
		return -EAGAIN;
	if (!r)
		r = weir_file_stat(file, &after);
	if (!r && !weir__stat_is_same(stat, &after))
		r = -EAGAIN;
	return r;
}

/* Reads the content into memory. Returns 0; also when it is not kept. */
static int load_data(struct weir_file_entry *entry)
{
	struct weir_http_files *files = entry->files;
	struct weir_file *file;
	int r = weir__files_open(files, entry->key, O_RDONLY, &file);

	if (r < 0)
		return r;
	for (int reads = 0; reads < READS_MAX; reads++) {
		r = weir_file_stat(file, &entry->stat);
		if (r < 0 || entry->stat.size > files->opts.file_max || !entry->stat.size ||
		    !make_room(files, entry->stat.size, 0))
			break;
		entry->data = weir__alloc(entry->stat.size);
		if (!entry->data)
			break;		/* without memory it is served from disk */
		files->used += entry->stat.size;
		r = read_whole(file, entry->data, &entry->stat);
		if (!r)
			files->loads++;
		if (r != -EAGAIN)
			break;
		data_free(entry);
	}
	if (r < 0)
		data_free(entry);
	weir_file_close(file);
	return r == -EAGAIN ? 0 : r;	/* one that changes all the time is served from disk */
}

static void make_fields(struct weir_file_entry *entry)
{
	const struct weir_http_files_opts *opts = &entry->files->opts;
	struct weir_http_fields *fields = &entry->fields;
	char text[64];
	int n;

	weir_http_fields_init(fields, entry->fields_text, sizeof(entry->fields_text));
	weir_http_fields_add(fields, "Content-Type", weir_http_type(entry->key, entry->key_size));
	weir_http_date_format(entry->stat.mtime_ns / WEIR_S, text);
	text[WEIR_HTTP_DATE_SIZE] = '\0';
	weir_http_fields_add(fields, "Last-Modified", text);
	entry->modified.data = fields->text_ + fields->size_ - 2 - WEIR_HTTP_DATE_SIZE;
	entry->modified.size = WEIR_HTTP_DATE_SIZE;
	n = snprintf(text, sizeof(text), "\"%llx-%llx-%llx\"", (long long)entry->stat.mtime_ns,
		     (long long)entry->stat.size, (long long)entry->stat.inode);
	weir_http_fields_add(fields, "ETag", text);
	entry->etag.data = fields->text_ + fields->size_ - 2 - n;
	entry->etag.size = (size_t)n;
	weir_http_fields_add(fields, "Accept-Ranges", "bytes");
	if (opts->cache_control)
		weir_http_fields_add(fields, "Cache-Control", opts->cache_control);
}

static int load(struct weir_file_entry *entry)
{
	int r = look(entry->files, entry->key, &entry->stat);

	if (r < 0)
		return r;
	if (entry->stat.size && entry->stat.size <= entry->files->opts.file_max)
		r = load_data(entry);
	if (r < 0)
		return r;
	make_fields(entry);
	return entry->fields.error_;
}

static void wake_waiters(struct weir_file_entry *entry)
{
	struct weir_node *node;

	while ((node = weir__list_pop(&entry->waiters))) {
		struct waiter *waiter = weir_container_of(node, struct waiter, node);

		weir__wait_wake(&waiter->wait, 0);
	}
}

/* Loads entry, which is LOADING. Returns its error. */
static int load_first(struct weir_file_entry *entry)
{
	int r = load(entry);

	entry->checked_ns = weir_now();
	entry->state = ENTRY_READY;
	if (r < 0) {
		entry->error = r;
		table_remove(entry);
	}
	wake_waiters(entry);
	return r;
}

static void waiter_cancel(struct weir_wait *wait, int reason)
{
	struct waiter *waiter = weir_container_of(wait, struct waiter, wait);

	weir__node_remove(&waiter->node);
	weir__wait_wake(wait, reason);
}

/* Waits until who loads entry is done. Returns its error, or why the wait ended. */
static int wait_loaded(struct weir_file_entry *entry)
{
	struct waiter waiter;
	int r = weir__wait_check(WEIR_NEVER);

	if (r < 0)
		return r;
	weir__wait_init(&waiter.wait);
	weir__list_push(&entry->waiters, &waiter.node);
	r = weir__wait_park(&waiter.wait, "load", waiter_cancel, WEIR_NEVER);
	/* Cancelled was the one who loaded, not we: then we have to. */
	return r < 0 ? r : entry->error == -ECANCELED || entry->error == -ETIMEDOUT ? -EAGAIN :
										      entry->error;
}

/* Looks whether the file is still the one that entry knows. Others use it meanwhile. */
static int check(struct weir_file_entry *entry)
{
	struct weir_stat stat;
	int64_t before = entry->checked_ns;
	int r;

	entry->checked_ns = weir_now();
	entry->files->checks++;
	r = look(entry->files, entry->key, &stat);
	if (r == -ECANCELED || r == -ETIMEDOUT) {
		entry->checked_ns = before;
		return r;
	}
	if (!r && weir__stat_is_same(&stat, &entry->stat))
		return 0;
	weir__entry_forget(entry);
	return -EAGAIN;
}

/* One attempt. -EAGAIN: what was there is gone, look again. */
static int get_once(struct weir_http_files *files, const char *key, size_t key_size,
		    struct weir_file_entry **ret_entry)
{
	uint32_t hash = hash_of(files, key, key_size);
	struct weir_file_entry *entry = table_find(files, key, key_size, hash);
	int r = 0;

	if (!entry) {
		entry = table_add(files, key, key_size, hash);
		if (!entry)
			return -ENOMEM;
		r = load_first(entry);
	} else {
		entry->refs++;
		if (weir_unlikely(entry->state == ENTRY_LOADING))
			r = wait_loaded(entry);
		else if (weir_likely(weir_now() - entry->checked_ns < files->opts.fresh_ns))
			files->hits++;
		else
			r = check(entry);
	}
	if (r < 0)
		weir__entry_put(entry);
	else
		*ret_entry = entry;
	return r;
}

int weir__entry_get(struct weir_http_files *files, const char *key, size_t key_size,
		    struct weir_file_entry **ret_entry)
{
	struct weir_file_entry *entry;
	int r;

	do {
		r = get_once(files, key, key_size, &entry);
	} while (weir_unlikely(r == -EAGAIN));
	if (weir_unlikely(r < 0))
		return r;
	if (entry->state == ENTRY_READY && files->lru.prev != &entry->lru) {
		weir__node_remove(&entry->lru);
		weir__list_push(&files->lru, &entry->lru);
	}
	*ret_entry = entry;
	return 0;
}

/* --- life --- */

int weir__cache_init(struct weir_http_files *files)
{
	files->buckets_count = 16;
	while (files->buckets_count < files->opts.entries_max)
		files->buckets_count *= 2;
	files->seed = weir_random();
	weir__list_init(&files->lru);
	files->buckets = weir__calloc(files->buckets_count, sizeof(struct weir_file_entry *));
	return files->buckets ? 0 : -ENOMEM;
}

void weir__cache_fini(struct weir_http_files *files)
{
	while (!weir__list_is_empty(&files->lru))
		table_remove(weir_container_of(files->lru.next, struct weir_file_entry, lru));
	weir_assert(!files->used);
	weir__free(files->buckets, files->buckets_count * sizeof(struct weir_file_entry *));
}
