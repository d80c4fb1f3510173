/* SPDX-License-Identifier: MIT */
/*
 * memo.c - results by key: kept for a time, and asked for once by all who ask at once.
 *
 * An entry holds a reference to a share. Where it stands:
 *
 *	flight		start's future is PENDING; in memo->flights, and in the table unless it
 *			was forgotten or is being cancelled
 *	kept		its result is there and not too old; in the table and in memo->kept
 *
 * A tap on what is shared ends the flight: it runs before any reader sees the result, so who asks
 * from then on finds the entry kept, or none.
 */
#include "core/waiting.h"
#include "futures/share.h"
#include "futures/siphash.h"

#define ENTRIES_MAX 1024
#define ENTRIES_LIMIT (1u << 24)
#define KEY_SIZE_MAX 64
#define KEY_SIZE_LIMIT 65536u

struct entry {
	struct entry *next;		/* of its bucket */
	struct weir_node node;		/* memo->flights or memo->kept */
	struct weir_share *share;
	struct weir_memo *memo;
	uint64_t hash;
	int64_t expires_ns;		/* kept */
	struct weir_tap tap;		/* flight */
	uint32_t key_size;
	bool is_flight;
	bool is_listed;			/* in the table */
	unsigned char key[];
};

struct weir_memo {
	struct weir_memo_opts opts;	/* without zeros, but the times */
	struct weir_worker *home;
	struct entry **buckets;
	uint64_t bucket_count;		/* a power of two */
	struct weir_slab entries;
	struct weir_node flights;	/* oldest first */
	struct weir_node kept;		/* the one not asked for the longest first */
	uint64_t hash_key[2];
	struct weir_memo_info info;
	struct weir_wait *closer;
	bool is_closing;
};

/* --- the table --- */

static struct entry **bucket_of(struct weir_memo *memo, uint64_t hash)
{
	return &memo->buckets[hash & (memo->bucket_count - 1)];
}

static struct entry *find(struct weir_memo *memo, uint64_t hash, const void *key, size_t size)
{
	struct entry *entry = *bucket_of(memo, hash);

	while (entry && (entry->hash != hash || entry->key_size != size ||
			 (size && memcmp(entry->key, key, size) != 0)))
		entry = entry->next;
	return entry;
}

static void list(struct entry *entry)
{
	struct entry **bucket = bucket_of(entry->memo, entry->hash);

	entry->next = *bucket;
	*bucket = entry;
	entry->is_listed = true;
}

static void unlist(struct entry *entry)
{
	struct entry **link = bucket_of(entry->memo, entry->hash);

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	entry->is_listed = false;
}

static void entry_free(struct entry *entry)
{
	struct weir_share *share = entry->share;

	weir__slab_put(&entry->memo->entries, entry);
	weir_share_release(share);
}

/* Who asks from now on does not find it. A flight ends by itself. */
static void forget(struct entry *entry)
{
	unlist(entry);
	if (entry->is_flight)
		return;
	weir__node_remove(&entry->node);
	entry->memo->info.entries--;
	entry_free(entry);
}

/* --- flights --- */

static int64_t ttl_of(const struct weir_memo *memo, ssize_t res)
{
	if (res >= 0)
		return memo->opts.ttl_ns;
	return res == -ECANCELED ? 0 : memo->opts.error_ttl_ns;
}

static void land(struct weir_tap *tap, ssize_t res, void *value)
{
	struct entry *entry = weir_container_of(tap, struct entry, tap);
	struct weir_memo *memo = entry->memo;
	int64_t ttl_ns = ttl_of(memo, res);

	(void)value;
	entry->is_flight = false;
	weir__node_remove(&entry->node);
	memo->info.flights--;
	if (entry->is_listed && ttl_ns) {
		entry->expires_ns = weir_in(ttl_ns);
		weir__list_push(&memo->kept, &entry->node);
		memo->info.entries++;
	} else {
		if (entry->is_listed)
			unlist(entry);
		entry_free(entry);
	}
	if (memo->closer && weir__list_is_empty(&memo->flights))
		weir__wait_wake(memo->closer, 0);
}

static ssize_t take_off(struct weir_result *result, void *arg)
{
	struct entry *entry = arg;
	const struct weir_memo_opts *opts = &entry->memo->opts;

	if (weir__share_is_ending(entry->share))
		return -ECANCELED;
	return weir_follow(result, opts->start(entry->key, entry->key_size, opts->arg));
}

static struct entry *oldest_kept(struct weir_memo *memo)
{
	if (weir__list_is_empty(&memo->kept))
		return NULL;
	return weir_container_of(memo->kept.next, struct entry, node);
}

/* Returns 0, -ENOBUFS when everything is under way, -ENOMEM. */
static int entry_create(struct weir_memo *memo, struct entry **ret_entry)
{
	struct entry *entry = weir__slab_get(&memo->entries), *oldest;

	if (!entry && weir__slab_error(&memo->entries) == -ENOBUFS &&
	    (oldest = oldest_kept(memo))) {
		forget(oldest);
		memo->info.evicted++;
		weir__metric_add(&memo->home->metrics, WEIR__M_MEMO_EVICTED, 1);
		entry = weir__slab_get(&memo->entries);
	}
	if (!entry) {
		memo->info.refused++;
		return weir__slab_error(&memo->entries);
	}
	*ret_entry = entry;
	return 0;
}

/* The reader comes first: no flight begins that nobody waits for. */
static struct weir_future *begin(struct entry *entry, const char *origin)
{
	struct weir_future *reader = weir_share_read_at(entry->share, origin), *source;
	struct weir_memo *memo = entry->memo;

	if (weir__future_is_number(reader)) {
		weir__share_begin(entry->share, reader);
		entry_free(entry);
		return reader;
	}
	source = weir_then_at(weir_future_of(0), take_off, entry, origin);
	if (weir__future_is_number(source)) {
		weir__share_begin(entry->share, source);
		entry_free(entry);
		return reader;
	}
	weir_future_tap(source, &entry->tap, land);
	weir__share_begin(entry->share, source);
	entry->is_flight = true;
	weir__list_push(&memo->flights, &entry->node);
	memo->info.flights++;
	memo->info.misses++;
	weir__metric_add(&memo->home->metrics, WEIR__M_MEMO_MISSES, 1);
	list(entry);
	return reader;
}

static struct weir_future *miss(struct weir_memo *memo, uint64_t hash, const void *key, size_t size,
				const char *origin)
{
	struct entry *entry;
	int r = entry_create(memo, &entry);

	if (r)
		return weir_future_of(r);
	r = weir__share_create(origin, &entry->share);
	if (r) {
		weir__slab_put(&memo->entries, entry);
		return weir_future_of(r);
	}
	entry->memo = memo;
	entry->hash = hash;
	entry->key_size = (uint32_t)size;
	entry->is_flight = false;
	entry->is_listed = false;
	if (size)
		memcpy(entry->key, key, size);
	return begin(entry, origin);
}

/* --- the calls --- */

static bool is_stale(const struct entry *entry)
{
	if (entry->is_flight)
		return weir__share_is_ending(entry->share);
	return weir_now() >= entry->expires_ns;
}

static void hit(struct entry *entry)
{
	struct weir_memo *memo = entry->memo;

	weir__metric_add(&memo->home->metrics, WEIR__M_MEMO_HITS, 1);
	if (entry->is_flight) {
		memo->info.joins++;
		return;
	}
	memo->info.hits++;
	weir__node_remove(&entry->node);
	weir__list_push(&memo->kept, &entry->node);
}

static int check(const struct weir_memo *memo)
{
	if (!memo)
		return -EINVAL;
	if (weir_unlikely(memo->home != weir__self))
		return weir__self ? -EPROTO : -EDEADLK;
	return 0;
}

static uint64_t hash_of(const struct weir_memo *memo, const void *key, size_t size)
{
	return weir__siphash(memo->hash_key, key, size, 1, 3);
}

struct weir_future *weir_memo_get_at(struct weir_memo *memo, const void *key, size_t key_size,
				     const char *origin)
{
	struct entry *entry;
	uint64_t hash;
	int r = check(memo);

	if (!r && memo->is_closing)
		r = -ESHUTDOWN;
	if (!r && !key && key_size)
		r = -EINVAL;
	if (!r && key_size > memo->opts.key_size_max)
		r = -EMSGSIZE;
	if (r)
		return weir_future_of(r);
	hash = hash_of(memo, key, key_size);
	entry = find(memo, hash, key, key_size);
	if (entry && is_stale(entry)) {
		forget(entry);
		entry = NULL;
	}
	if (!entry)
		return miss(memo, hash, key, key_size, origin);
	hit(entry);
	return weir_share_read_at(entry->share, origin);
}

int weir_memo_forget(struct weir_memo *memo, const void *key, size_t key_size)
{
	struct entry *entry;
	int r = check(memo);

	if (r)
		return r;
	entry = find(memo, hash_of(memo, key, key_size), key, key_size);
	if (!entry)
		return -ENOENT;
	forget(entry);
	return 0;
}

int weir_memo_info(const struct weir_memo *memo, struct weir_memo_info *ret_info)
{
	int r = check(memo);

	if (!r)
		*ret_info = memo->info;
	return r;
}

/* --- the memo --- */

static bool are_sound(const struct weir_memo_opts *opts)
{
	return opts->start && opts->ttl_ns >= 0 && opts->error_ttl_ns >= 0 &&
	       opts->entries_max <= ENTRIES_LIMIT && opts->key_size_max <= KEY_SIZE_LIMIT;
}

static void memo_free(struct weir_memo *memo)
{
	weir__slab_fini(&memo->entries);
	weir__free(memo->buckets, memo->bucket_count * sizeof(*memo->buckets));
	weir__free(memo, sizeof(*memo));
}

int weir_memo_create(const struct weir_memo_opts *opts, struct weir_memo **ret_memo)
{
	struct weir_memo *memo;

	if (!weir__self)
		return -EDEADLK;
	if (!opts || !are_sound(opts))
		return -EINVAL;
	memo = weir__calloc(1, sizeof(*memo));
	if (!memo)
		return -ENOMEM;
	memo->opts = *opts;
	if (!memo->opts.entries_max)
		memo->opts.entries_max = ENTRIES_MAX;
	if (!memo->opts.key_size_max)
		memo->opts.key_size_max = KEY_SIZE_MAX;
	memo->home = weir__self;
	weir__list_init(&memo->flights);
	weir__list_init(&memo->kept);
	memo->hash_key[0] = weir_random();
	memo->hash_key[1] = weir_random();
	weir_assert(weir__slab_init(&memo->entries, sizeof(struct entry) + memo->opts.key_size_max,
				    memo->opts.entries_max) == 0);
	memo->bucket_count = 1;
	while (memo->bucket_count < memo->opts.entries_max)
		memo->bucket_count *= 2;
	memo->buckets = weir__calloc(memo->bucket_count, sizeof(*memo->buckets));
	if (!memo->buckets) {
		memo_free(memo);
		return -ENOMEM;
	}
	*ret_memo = memo;
	return 0;
}

/* What a cancel settles lands in a task of its own: the list stays as it is. */
static void wait_for_flights(struct weir_memo *memo)
{
	struct weir_wait wait;
	struct weir_node *node;

	weir__wait_init(&wait);
	memo->closer = &wait;
	for (node = memo->flights.next; node != &memo->flights; node = node->next)
		weir_future_cancel(&weir_container_of(node, struct entry, node)->share->trunk);
	weir__wait_park(&wait, "memo", NULL, WEIR_NEVER);
}

int weir_memo_destroy(struct weir_memo *memo)
{
	struct entry *entry;

	if (!memo)
		return 0;
	if (memo->home != weir__self)
		return -EPROTO;
	if (memo->is_closing)
		return -EBUSY;
	if (!weir__list_is_empty(&memo->flights) && !weir__self->coros.current)
		return -EDEADLK;
	memo->is_closing = true;
	if (!weir__list_is_empty(&memo->flights))
		wait_for_flights(memo);
	while ((entry = oldest_kept(memo)))
		forget(entry);
	memo_free(memo);
	return 0;
}
