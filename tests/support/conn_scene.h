/* SPDX-License-Identifier: MIT */
/*
 * conn_scene.h - one connection on a scripted kernel: every completion it gets is written by
 * hand, so a test gives exactly the order that it is about. Include cmocka.h before.
 */
#ifndef WEIR_TESTS_CONN_SCENE_H
#define WEIR_TESTS_CONN_SCENE_H

#include <errno.h>

#include "net/conn.h"
#include "tests/support/script_kernel.h"

#define FD 5

struct scene {
	struct script *s;
	struct weir_net *net;
	struct weir_conn *conn;
	bool gone;
	unsigned released;
};

static inline void mark_gone(void *user)
{
	((struct scene *)user)->gone = true;
}

static inline void mark_released(void *arg)
{
	((struct scene *)arg)->released++;
}

static inline void open_scene(struct scene *scene, const struct weir_conn_opts *opts)
{
	*scene = (struct scene){ .s = script_start(16, 8, 8) };
	assert_int_equal(weir__net_self(&scene->net), 0);
	assert_int_equal(weir__conn_create(scene->net, FD, false, opts, &scene->conn), 0);
	weir_conn_set_user(scene->conn, scene);
	weir_conn_set_gone(scene->conn, mark_gone);
	script_turn(scene->s);
}

/* How many SQEs of opcode were taken, and the last of them. */
static inline unsigned taken(const struct script *s, unsigned opcode, unsigned *ret_last)
{
	unsigned count = 0;

	for (unsigned i = 0; i < s->taken_count; i++) {
		if (s->taken[i].opcode != opcode)
			continue;
		count++;
		if (ret_last)
			*ret_last = i;
	}
	return count;
}

/* Answers the last SQE of opcode, and lets a turn pass. */
static inline void answer(struct script *s, unsigned opcode, int res, uint32_t flags)
{
	unsigned last = 0;

	assert_true(taken(s, opcode, &last) > 0);
	script_answer(s, last, res, flags);
	script_turn(s);
}

static inline uint32_t in_buffer(unsigned id)
{
	return IORING_CQE_F_BUFFER | id << IORING_CQE_BUFFER_SHIFT;
}

/* Ends what is open: every op gives what a cancelled one gives. */
static inline void close_scene(struct scene *scene)
{
	struct script *s = scene->s;

	if (scene->conn) {
		weir_conn_abort(scene->conn);
		script_turn(s);
		if (taken(s, IORING_OP_ASYNC_CANCEL, NULL)) {
			answer(s, IORING_OP_RECV, -ECANCELED, 0);
			answer(s, IORING_OP_ASYNC_CANCEL, 0, 0);
		}
		script_turn(s);
		answer(s, IORING_OP_CLOSE, 0, 0);
	}
	assert_true(scene->gone);
	assert_int_equal(s->ring->bufs.lent, 0);
	assert_int_equal(s->ring->stale, 0);
	script_stop(s);
}

#endif
