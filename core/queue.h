/* SPDX-License-Identifier: MIT */
/*
 * queue.h - the two intrusive containers that everything here is linked with: a
 * singly linked FIFO (run queue, waiters that never leave early) and a doubly
 * linked ring (waiters that may). Neither allocates, neither locks.
 */
#ifndef WEIR_CORE_QUEUE_H
#define WEIR_CORE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/ensure.h"

struct weir_link {
	struct weir_link *next;
};

/* Empty: head is NULL and tail points to head. */
struct weir_queue {
	struct weir_link *head;
	struct weir_link **tail;
};

static inline void weir__queue_init(struct weir_queue *queue)
{
	queue->head = NULL;
	queue->tail = &queue->head;
}

static inline bool weir__queue_is_empty(const struct weir_queue *queue)
{
	return !queue->head;
}

static inline void weir__queue_push(struct weir_queue *queue, struct weir_link *link)
{
	link->next = NULL;
	*queue->tail = link;
	queue->tail = &link->next;
}

static inline struct weir_link *weir__queue_pop(struct weir_queue *queue)
{
	struct weir_link *link = queue->head;

	if (!link)
		return NULL;
	queue->head = link->next;
	if (!queue->head)
		queue->tail = &queue->head;
	return link;
}

/* Moves everything of from to the end of to. */
static inline void weir__queue_splice(struct weir_queue *to, struct weir_queue *from)
{
	if (!from->head)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	weir__queue_init(from);
}

/* A node of a ring, and the ring's own head. Not in a ring: next is NULL. */
struct weir_node {
	struct weir_node *next;
	struct weir_node *prev;
};

static inline void weir__list_init(struct weir_node *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool weir__list_is_empty(const struct weir_node *head)
{
	return head->next == head;
}

static inline void weir__list_push(struct weir_node *head, struct weir_node *node)
{
	node->next = head;
	node->prev = head->prev;
	head->prev->next = node;
	head->prev = node;
}

static inline bool weir__node_is_linked(const struct weir_node *node)
{
	return node->next != NULL;
}

static inline void weir__node_remove(struct weir_node *node)
{
	weir_assert(node->next);
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->next = NULL;
}

static inline struct weir_node *weir__list_pop(struct weir_node *head)
{
	struct weir_node *node = head->next;

	if (node == head)
		return NULL;
	weir__node_remove(node);
	return node;
}

#endif
