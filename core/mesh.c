/* SPDX-License-Identifier: MIT */
/*
 * mesh.c - lanes, inboxes and the sleep protocol; mesh.h has the drawing.
 *
 * A post writes a message into the lane and tells nobody: the tail is published once a
 * turn, so a turn that posts a thousand messages pays for one shared store and at most one
 * wake for each core. A store to what another core polls costs its next load a miss (about
 * 50 ns); one for every message would be the price of the message.
 */
#include "core/mesh.h"

#include <sched.h>
#include <string.h>

#include "core/alloc.h"
#include "core/plant.h"
#include "core/worker.h"

#define load_relaxed(ptr) __atomic_load_n(ptr, __ATOMIC_RELAXED)
#define load_acquire(ptr) __atomic_load_n(ptr, __ATOMIC_ACQUIRE)
#define load_ordered(ptr) __atomic_load_n(ptr, __ATOMIC_SEQ_CST)
#define store_ordered(ptr, value) __atomic_store_n(ptr, value, __ATOMIC_SEQ_CST)

/* The inbox of a core that has ended. */
static struct weir_post inbox_closed;

/* --- the mesh --- */

int weir__mesh_create(unsigned count, uint32_t depth, struct weir_mesh **ret_mesh)
{
	size_t lanes = (size_t)count * count;
	struct weir_mesh *mesh;

	if (!count || count > WEIR__CORES_MAX || !depth || (depth & (depth - 1)))
		return -EINVAL;
	mesh = weir__calloc(1, sizeof(*mesh));
	if (!mesh)
		return -ENOMEM;
	mesh->count = count;
	mesh->depth = depth;
	mesh->lanes = weir__alloc_aligned(lanes * sizeof(*mesh->lanes), WEIR__CACHE_LINE);
	/* Not zeroed: a page of it becomes memory when a message is written there. */
	mesh->messages = weir__alloc_aligned(lanes * depth * sizeof(*mesh->messages),
					     WEIR__CACHE_LINE);
	mesh->berths = weir__alloc_aligned(count * sizeof(*mesh->berths), WEIR__CACHE_LINE);
	if (!mesh->lanes || !mesh->messages || !mesh->berths) {
		weir__mesh_destroy(mesh);
		return -ENOMEM;
	}
	memset(mesh->lanes, 0, lanes * sizeof(*mesh->lanes));
	memset(mesh->berths, 0, count * sizeof(*mesh->berths));
	*ret_mesh = mesh;
	return 0;
}

void weir__mesh_destroy(struct weir_mesh *mesh)
{
	size_t lanes;

	if (!mesh)
		return;
	lanes = (size_t)mesh->count * mesh->count;
	weir__free(mesh->berths, mesh->count * sizeof(*mesh->berths));
	weir__free(mesh->messages, lanes * mesh->depth * sizeof(*mesh->messages));
	weir__free(mesh->lanes, lanes * sizeof(*mesh->lanes));
	weir__free(mesh, sizeof(*mesh));
}

int weir__port_init(struct weir_port *port, struct weir_mesh *mesh, unsigned index,
		    struct weir_worker *worker)
{
	unsigned i;

	weir_assert(index < mesh->count);
	*port = (struct weir_port){
		.mesh = mesh,
		.worker = worker,
		.berth = &mesh->berths[index],
		.index = index,
		.count = mesh->count,
		.mask = mesh->depth - 1,
	};
	port->outs = weir__calloc(mesh->count, sizeof(*port->outs));
	port->ins = weir__calloc(mesh->count, sizeof(*port->ins));
	port->dirty = weir__calloc(mesh->count, sizeof(*port->dirty));
	if (!port->outs || !port->ins || !port->dirty) {
		weir__port_fini(port);
		return -ENOMEM;
	}
	for (i = 0; i < mesh->count; i++) {
		size_t out = (size_t)i * mesh->count + index;
		size_t in = (size_t)index * mesh->count + i;

		port->outs[i].lane = &mesh->lanes[out];
		port->outs[i].messages = &mesh->messages[out * mesh->depth];
		weir__list_init(&port->outs[i].parcels);
		port->ins[i].lane = &mesh->lanes[in];
		port->ins[i].messages = &mesh->messages[in * mesh->depth];
	}
	port->berth->driver = worker->driver;
	return 0;
}

void weir__port_fini(struct weir_port *port)
{
	if (!port->mesh)
		return;
	weir__free(port->dirty, port->count * sizeof(*port->dirty));
	weir__free(port->ins, port->count * sizeof(*port->ins));
	weir__free(port->outs, port->count * sizeof(*port->outs));
	port->mesh = NULL;
}

/* --- waking and sleeping --- */

/* After something was published for berth. Returns whether it had to be woken. */
static inline bool wake(struct weir_berth *berth, struct weir_driver *from)
{
	if (!load_ordered(&berth->asleep))
		return false;
	if (!__atomic_exchange_n(&berth->asleep, 0, __ATOMIC_SEQ_CST))
		return false;
	berth->driver->ops->wake(berth->driver, from);
	return true;
}

void weir__mesh_kick(struct weir_mesh *mesh, unsigned core, struct weir_driver *from)
{
	struct weir_berth *berth = &mesh->berths[core];

	/* An exchange, as taking it is: what others changed before their kicks is passed on. */
	__atomic_exchange_n(&berth->kicked, 1, __ATOMIC_SEQ_CST);
	wake(berth, from);
}

bool weir__port_lie_down(struct weir_port *port)
{
	store_ordered(&port->berth->asleep, 1);
	return !weir__port_is_ready(port);
}

void weir__port_rise(struct weir_port *port)
{
	if (load_relaxed(&port->berth->asleep))
		store_ordered(&port->berth->asleep, 0);
}

static bool has_room(const struct weir_port *port)
{
	unsigned i;

	for (i = 0; i < port->count; i++) {
		const struct weir_out *out = &port->outs[i];

		if (!weir__list_is_empty(&out->parcels) &&
		    out->filled - load_ordered(&out->lane->head) <= port->mask)
			return true;
	}
	return false;
}

bool weir__port_is_ready(const struct weir_port *port)
{
	const struct weir_berth *berth = port->berth;
	struct weir_post *inbox;
	unsigned i;

	for (i = 0; i < port->count; i++)
		if (load_ordered(&port->ins[i].lane->tail) != port->ins[i].head)
			return true;
	inbox = load_ordered(&berth->inbox);
	if ((inbox && inbox != &inbox_closed) || load_ordered(&berth->kicked))
		return true;
	return port->parcel_count && has_room(port);
}

/* --- sending --- */

static inline bool lane_is_full(const struct weir_port *port, struct weir_out *out)
{
	if (weir_likely(out->filled - out->head_seen <= port->mask))
		return false;
	out->head_seen = load_ordered(&out->lane->head);
	return out->filled - out->head_seen > port->mask;
}

/*
 * The consumer polls the tail: getting its cache line back overlaps with the rest of the
 * turn (a call and its answer: 1,160 -> 970 ns where a line takes 250 ns to move). What
 * the compiler's own prefetch for writing becomes on x86-64 gets a shared copy only.
 */
static inline void prefetch_to_write(const void *line)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" ::"m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/* out is not full. */
static inline void push(struct weir_port *port, struct weir_out *out, weir_post_fn fn, void *arg)
{
	if (out->filled == out->published) {
		port->dirty[port->dirty_count++] = (unsigned)(out - port->outs);
		prefetch_to_write(&out->lane->tail);
	}
	out->messages[out->filled & port->mask] = (struct weir_message){ fn, arg };
	out->filled++;
	port->sent++;
}

bool weir__port_try(struct weir_port *port, unsigned to, weir_post_fn fn, void *arg)
{
	struct weir_out *out = &port->outs[to];

	/* Who waits already is first. */
	if (weir_unlikely(!weir__list_is_empty(&out->parcels) || lane_is_full(port, out))) {
		port->full++;
		return false;
	}
	push(port, out, fn, arg);
	return true;
}

void weir__port_send(struct weir_port *port, unsigned to, struct weir_parcel *parcel)
{
	struct weir_out *out = &port->outs[to];

	if (weir__port_try(port, to, parcel->fn, parcel->arg)) {
		if (parcel->sent)
			parcel->sent(parcel);
		return;
	}
	weir__list_push(&out->parcels, &parcel->node);
	port->parcel_count++;
	store_ordered(&out->lane->want_room, 1);
}

void weir__port_recall(struct weir_port *port, unsigned to, struct weir_parcel *parcel)
{
	struct weir_out *out = &port->outs[to];

	weir__node_remove(&parcel->node);
	port->parcel_count--;
	if (weir__list_is_empty(&out->parcels))
		store_ordered(&out->lane->want_room, 0);
}

static void feed(struct weir_port *port, struct weir_out *out)
{
	struct weir_node *node;

	while (!lane_is_full(port, out) && (node = weir__list_pop(&out->parcels))) {
		struct weir_parcel *parcel = weir_container_of(node, struct weir_parcel, node);

		port->parcel_count--;
		push(port, out, parcel->fn, parcel->arg);
		if (parcel->sent)
			parcel->sent(parcel);
	}
	if (weir__list_is_empty(&out->parcels))
		store_ordered(&out->lane->want_room, 0);
}

static void feed_all(struct weir_port *port)
{
	unsigned i;

	for (i = 0; i < port->count; i++)
		if (!weir__list_is_empty(&port->outs[i].parcels))
			feed(port, &port->outs[i]);
}

void weir__port_publish(struct weir_port *port)
{
	unsigned i;

	if (weir_unlikely(port->parcel_count))
		feed_all(port);
	for (i = 0; i < port->dirty_count; i++) {
		unsigned to = port->dirty[i];
		struct weir_out *out = &port->outs[to];

		out->published = out->filled;
		store_ordered(&out->lane->tail, out->filled);
		if (to == port->index)
			continue;
		if (wake(&port->mesh->berths[to], port->worker->driver))
			port->wakes_sent++;
		else
			port->wakes_skipped++;
	}
	port->dirty_count = 0;
}

bool weir__port_is_flushed(const struct weir_port *port)
{
	return !port->dirty_count && !port->parcel_count;
}

/* --- receiving --- */

/* Room has come in in's lane: tells the producer, if it waits for it. */
static void tell_room(struct weir_port *port, struct weir_in *in)
{
	store_ordered(&in->lane->head, in->head);
	if (weir_unlikely(load_ordered(&in->lane->want_room)) && !WEIR__PLANT(MESH_ROOM))
		wake(&port->mesh->berths[in - port->ins], port->worker->driver);
}

static unsigned drain_lane(struct weir_port *port, struct weir_in *in)
{
	unsigned count = load_acquire(&in->lane->tail) - in->head;
	unsigned i;

	if (!count)
		return 0;
	weir_assert(count <= port->mask + 1);
	if (count > WEIR__DRAIN_MAX)
		count = WEIR__DRAIN_MAX;
	for (i = 0; i < count; i++) {
		const struct weir_message *message = &in->messages[in->head++ & port->mask];

		weir__worker_progress(port->worker);
		message->fn(message->arg);
	}
	port->received += count;
	tell_room(port, in);
	weir__worker_completed(port->worker, (unsigned)(in - port->ins));
	return count;
}

/* Takes the stack over, oldest first. */
static struct weir_post *take(struct weir_post **inbox, struct weir_post *instead)
{
	struct weir_post *newest = __atomic_exchange_n(inbox, instead, __ATOMIC_SEQ_CST);
	struct weir_post *oldest = NULL;

	while (newest && newest != &inbox_closed) {
		struct weir_post *next = newest->next_;

		newest->next_ = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

/* Not bounded by a count but by what had been pushed when it was taken. */
static unsigned run_posts(struct weir_port *port, struct weir_post *post)
{
	unsigned count = 0;

	while (post) {
		struct weir_post *next = post->next_;

		weir__worker_progress(port->worker);
		post->fn_(post);
		post = next;
		count++;
	}
	if (count)
		weir__worker_completed(port->worker, port->count);
	return count;
}

unsigned weir__port_drain(struct weir_port *port)
{
	struct weir_berth *berth = port->berth;
	struct weir_post *inbox = load_relaxed(&berth->inbox);
	unsigned count = 0;
	unsigned i;

	/* Whoever kicked has changed something before: it is seen from here on. */
	if (weir_unlikely(load_relaxed(&berth->kicked)))
		__atomic_exchange_n(&berth->kicked, 0, __ATOMIC_SEQ_CST);
	for (i = 0; i < port->count; i++)
		count += drain_lane(port, &port->ins[i]);
	if (weir_unlikely(inbox && inbox != &inbox_closed))
		count += run_posts(port, take(&berth->inbox, NULL));
	return count;
}

/* --- other threads --- */

int weir__mesh_post(struct weir_mesh *mesh, unsigned core, struct weir_post *post,
		    void (*fn)(struct weir_post *post), struct weir_driver *from)
{
	struct weir_berth *berth;
	struct weir_post *head;
	int r = 0;

	if (core >= mesh->count)
		return -EINVAL;
	berth = &mesh->berths[core];
	__atomic_add_fetch(&berth->posters, 1, __ATOMIC_SEQ_CST);
	post->fn_ = fn;
	head = load_ordered(&berth->inbox);
	do {
		if (head == &inbox_closed) {
			r = -ESHUTDOWN;
			break;
		}
		post->next_ = head;
	} while (!__atomic_compare_exchange_n(&berth->inbox, &head, post, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	/* post is the other core's from here on. */
	if (!r)
		wake(berth, from);
	__atomic_sub_fetch(&berth->posters, 1, __ATOMIC_SEQ_CST);
	return r;
}

void weir__port_close_inbox(struct weir_port *port)
{
	struct weir_post *posts = take(&port->berth->inbox, &inbox_closed);

	/* Whoever still pushes is refused; whoever is about to wake us needs our driver. */
	while (load_ordered(&port->berth->posters))
		sched_yield();
	run_posts(port, posts);
}
