/* SPDX-License-Identifier: MIT */
/*
 * test_mesh.c - core/mesh.c under every execution that C11 allows: lanes, the room in them, the
 * sleep word, the inbox of other threads and its end, kicks.
 *
 * Each core is a thread that turns as core/worker.c does. Its driver's wait and wake are a
 * counter that orders nothing by itself: what the mesh needs to be ordered, it must order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/mesh.h"
#include "core/worker.h"
#include "tests/model/weaken.h"

#define CORES_MAX 3

struct core {
	struct weir_driver driver;
	struct weir_worker worker;
	struct weir_port port;
	uint32_t wakes;			/* by other threads */
	uint32_t wakes_seen;
	bool is_gone;			/* plain: nobody may use the driver any more */
};

static struct core *cores;
static struct weir_mesh *mesh;

/* --- what mesh.c needs --- */

void *weir__calloc(size_t count, size_t size)
{
	return memset(model_alloc(count * size), 0, count * size);
}

void *weir__alloc_aligned(size_t size, size_t align)
{
	(void)align;
	return model_alloc(size);
}

void weir__free(void *ptr, size_t size)
{
	(void)ptr;
	(void)size;
}

static void wake(struct weir_driver *driver, struct weir_driver *from)
{
	struct core *core = weir_container_of(driver, struct core, driver);

	(void)from;
	model_assert(!core->is_gone);
	__atomic_fetch_add(&core->wakes, 1, __ATOMIC_RELAXED);
}

static const struct weir_driver_ops ops = { .wake = wake };

static void name_words(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		model_name(&mesh->berths[i].asleep, "asleep");
		model_name(&mesh->berths[i].inbox, "inbox");
		model_name(&mesh->berths[i].posters, "posters");
		model_name(&mesh->berths[i].kicked, "kicked");
	}
	for (unsigned i = 0; i < count * count; i++) {
		model_name(&mesh->lanes[i].tail, "tail");
		model_name(&mesh->lanes[i].head, "head");
		model_name(&mesh->lanes[i].want_room, "want_room");
	}
}

static void set_up_cores(unsigned count, uint32_t depth)
{
	cores = weir__calloc(CORES_MAX, sizeof(*cores));
	weir__mesh_create(count, depth, &mesh);
	for (unsigned i = 0; i < count; i++) {
		struct core *core = &cores[i];

		core->driver.ops = &ops;
		core->worker.driver = &core->driver;
		weir__port_init(&core->port, mesh, i, &core->worker);
	}
	name_words(count);
}

/* The second half of weir__worker_turn(): sleep when there is nothing to do, drain. */
static void rest(struct core *core)
{
	struct weir_port *port = &core->port;

	if (!weir__port_is_ready(port)) {
		if (weir__port_lie_down(port))
			core->wakes_seen = model_await_not(&core->wakes, core->wakes_seen,
							   __ATOMIC_RELAXED);
		weir__port_rise(port);
	}
	weir__port_drain(port);
}

static void turn(struct core *core)
{
	weir__port_publish(&core->port);
	rest(core);
}

/* --- messages --- */

#define MESSAGES_MAX 4

struct message {
	unsigned from;
	unsigned number;
	struct weir_parcel parcel;
	struct weir_post post;
};

static struct {
	struct message messages[CORES_MAX][MESSAGES_MAX];
	unsigned next[CORES_MAX];	/* number that must come next, by sender */
	unsigned count;
	unsigned refused;
} *mail;

static void set_up(unsigned count, uint32_t depth)
{
	set_up_cores(count, depth);
	mail = weir__calloc(1, sizeof(*mail));
}

static struct message *compose(unsigned number)
{
	struct message *message = &mail->messages[model_thread()][number];

	message->from = model_thread();
	message->number = number;
	return message;
}

static void receive(void *arg)
{
	struct message *message = arg;

	model_assert(message->number == mail->next[message->from]);
	mail->next[message->from]++;
	mail->count++;
}

static void receive_post(struct weir_post *post)
{
	receive(weir_container_of(post, struct message, post));
}

static void turn_until(unsigned count)
{
	while (mail->count < count)
		turn(&cores[0]);
	model_assert(mail->count == count);
}

static void expect_2(void)
{
	turn_until(2);
}

static void send(unsigned number)
{
	struct weir_port *port = &cores[model_thread()].port;
	struct message *message = compose(number);

	message->parcel = (struct weir_parcel){ .fn = receive, .arg = message };
	weir__port_send(port, 0, &message->parcel);
}

/* --- lanes --- */

static void set_up_2(void)
{
	set_up(2, 4);
}

static void send_2(void)
{
	for (unsigned i = 0; i < 2; i++) {
		send(i);
		weir__port_publish(&cores[model_thread()].port);
	}
}

static const struct model lane = {
	.name = "lane", .threads = 2, .setup = set_up_2, .run = { expect_2, send_2 },
};

static void set_up_3(void)
{
	set_up(3, 4);
}

static void send_1(void)
{
	send(0);
	weir__port_publish(&cores[model_thread()].port);
}

static const struct model lanes = {
	.name = "two lanes", .threads = 3, .setup = set_up_3, .run = { expect_2, send_1, send_1 },
};

static void set_up_narrow(void)
{
	set_up(2, 1);
}

/* One message fits: the second is a parcel that waits for room. */
static void flush(struct core *core)
{
	for (;;) {
		weir__port_publish(&core->port);
		if (weir__port_is_flushed(&core->port))
			return;
		rest(core);
	}
}

static void send_2_and_flush(void)
{
	send(0);
	send(1);
	flush(&cores[model_thread()]);
}

static const struct model room = {
	.name = "room", .threads = 2, .setup = set_up_narrow, .run = { expect_2, send_2_and_flush },
};

/* The same when the lane is full since an earlier turn. */
static void send_1_then_1(void)
{
	send_1();
	send(1);
	flush(&cores[model_thread()]);
}

static const struct model room_later = {
	.name = "room later", .threads = 2, .setup = set_up_narrow,
	.run = { expect_2, send_1_then_1 },
};

/* --- the inbox --- */

static void set_up_inbox(void)
{
	set_up(1, 1);
}

static int post(unsigned number)
{
	struct message *message = compose(number);

	return weir__mesh_post(mesh, 0, &message->post, receive_post, NULL);
}

static void post_1(void)
{
	model_assert(!post(0));
}

static void post_2(void)
{
	model_assert(!post(0));
	model_assert(!post(1));
}

static const struct model inbox = {
	.name = "inbox", .threads = 2, .setup = set_up_inbox, .run = { expect_2, post_2 },
};

static const struct model inbox_2 = {
	.name = "two posters", .threads = 3, .setup = set_up_inbox,
	.run = { expect_2, post_1, post_1 },
};

/* Turns once, then ends. */
static void turn_and_close(void)
{
	struct core *core = &cores[0];

	weir__port_lie_down(&core->port);
	weir__port_rise(&core->port);
	weir__port_drain(&core->port);
	weir__port_close_inbox(&core->port);
	core->is_gone = true;
}

static uint32_t *refusals;

static void post_to_closing(void)
{
	int r = post(0);

	model_assert(!r || r == -ESHUTDOWN);
	if (r)
		__atomic_fetch_add(refusals, 1, __ATOMIC_RELAXED);
}

static void set_up_closing(void)
{
	set_up_inbox();
	refusals = weir__calloc(1, sizeof(*refusals));
}

static void all_run_or_refused(void)
{
	unsigned posters = 0;

	for (unsigned i = 1; i < CORES_MAX; i++)
		posters += mail->messages[i][0].from == i;
	model_assert(mail->count + __atomic_load_n(refusals, __ATOMIC_RELAXED) == posters);
}

static const struct model closing = {
	.name = "closing", .threads = 2, .setup = set_up_closing,
	.run = { turn_and_close, post_to_closing }, .check = all_run_or_refused,
};

static const struct model closing_2 = {
	.name = "closing on two", .threads = 3, .setup = set_up_closing,
	.run = { turn_and_close, post_to_closing, post_to_closing }, .check = all_run_or_refused,
};

/* --- kicks --- */

static uint32_t *reasons;

static void set_up_kick(void)
{
	set_up_inbox();
	reasons = weir__calloc(CORES_MAX, sizeof(*reasons));
}

/* As runtime.c does when the state moves. */
static void kick(void)
{
	__atomic_store_n(&reasons[model_thread()], 1, __ATOMIC_SEQ_CST);
	weir__mesh_kick(mesh, 0, NULL);
}

static void turn_until_reason(void)
{
	while (!__atomic_load_n(&reasons[1], __ATOMIC_ACQUIRE))
		turn(&cores[0]);
}

static const struct model kicks = {
	.name = "kick", .threads = 2, .setup = set_up_kick, .run = { turn_until_reason, kick },
};

static void turn_until_both_reasons(void)
{
	while (!__atomic_load_n(&reasons[1], __ATOMIC_ACQUIRE) ||
	       !__atomic_load_n(&reasons[2], __ATOMIC_ACQUIRE))
		turn(&cores[0]);
}

static const struct model kicks_2 = {
	.name = "two kicks", .threads = 3, .setup = set_up_kick,
	.run = { turn_until_both_reasons, kick, kick },
};

/* --- the tests --- */

static const struct model *const lane_models[] = { &lane, &lanes, NULL };
static const struct model *const room_models[] = { &room, &room_later, NULL };
static const struct model *const inbox_models[] = { &inbox, &inbox_2, NULL };
static const struct model *const closing_models[] = { &closing, &closing_2, NULL };
static const struct model *const kick_models[] = { &kicks, &kicks_2, NULL };

static void assert_all_hold(const struct model *const *models)
{
	for (; *models; models++)
		assert_true(model_holds(*models));
}

/* weakenings end with one that has no name. */
static void assert_all_caught(const struct model *const *models,
			      const struct model_weakening *weakenings)
{
	for (; weakenings->site.name; weakenings++)
		if (!model_is_caught(models, weakenings))
			fail_msg("nothing depends on %s", weakenings->site.name);
}

enum { RELAXED = __ATOMIC_RELAXED, ACQUIRE = __ATOMIC_ACQUIRE, RELEASE = __ATOMIC_RELEASE,
       ACQ_REL = __ATOMIC_ACQ_REL, SEQ_CST = __ATOMIC_SEQ_CST };

static void messages_arrive_whole_in_order_and_nobody_sleeps_on_them(void **state)
{
	assert_all_hold(lane_models);
}

static void a_lane_needs_each_of_its_orders(void **state)
{
	static const struct model_weakening weakenings[] = {
		{ { "tail", MODEL_STORE, SEQ_CST }, RELAXED },
		{ { "tail", MODEL_LOAD, ACQUIRE }, RELAXED },
		MODEL_END,
	};

	assert_all_caught(lane_models, weakenings);
}

static void the_sleep_word_needs_a_single_order(void **state)
{
	static const struct model_weakening weakenings[] = {
		{ { "asleep", MODEL_STORE, SEQ_CST }, RELEASE },
		{ { "asleep", MODEL_LOAD, SEQ_CST }, ACQUIRE },
		{ { "tail", MODEL_STORE, SEQ_CST }, RELEASE },
		{ { "tail", MODEL_LOAD, SEQ_CST }, ACQUIRE },
		MODEL_END,
	};

	assert_all_caught(lane_models, weakenings);
}

static void a_sender_that_waits_for_room_is_told_of_it(void **state)
{
	assert_all_hold(room_models);
}

static void room_in_a_lane_needs_each_of_its_orders(void **state)
{
	static const struct model_weakening weakenings[] = {
		{ { "head", MODEL_STORE, SEQ_CST }, RELAXED },
		{ { "head", MODEL_STORE, SEQ_CST }, RELEASE },
		{ { "head", MODEL_LOAD, SEQ_CST }, RELAXED },
		{ { "head", MODEL_LOAD, SEQ_CST }, ACQUIRE },
		{ { "want_room", MODEL_STORE, SEQ_CST }, RELEASE },
		{ { "want_room", MODEL_LOAD, SEQ_CST }, ACQUIRE },
		MODEL_END,
	};

	assert_all_caught(room_models, weakenings);
}

static void posts_of_other_threads_run_once_and_in_order(void **state)
{
	assert_all_hold(inbox_models);
}

static void the_inbox_needs_each_of_its_orders(void **state)
{
	static const struct model_weakening weakenings[] = {
		{ { "inbox", MODEL_RMW, SEQ_CST }, ACQUIRE },
		{ { "inbox", MODEL_RMW, SEQ_CST }, RELEASE },
		{ { "inbox", MODEL_RMW, SEQ_CST }, ACQ_REL },
		{ { "inbox", MODEL_LOAD, SEQ_CST }, ACQUIRE },
		MODEL_END,
	};

	assert_all_caught(inbox_models, weakenings);
}

static void a_closing_inbox_runs_or_refuses_and_nobody_wakes_what_is_gone(void **state)
{
	assert_all_hold(closing_models);
}

static void closing_needs_each_of_its_orders(void **state)
{
	static const struct model_weakening weakenings[] = {
		{ { "posters", MODEL_RMW, SEQ_CST }, ACQUIRE },
		{ { "posters", MODEL_LOAD, SEQ_CST }, RELAXED },
		{ { "inbox", MODEL_RMW, SEQ_CST }, RELAXED },
		MODEL_END,
	};

	assert_all_caught(closing_models, weakenings);
}

/* The flag was written by stores once: what another kick was about could be lost. */
static void whoever_is_kicked_sees_why(void **state)
{
	assert_all_hold(kick_models);
}

static void a_kick_needs_each_of_its_orders(void **state)
{
	static const struct model_weakening weakenings[] = {
		{ { "kicked", MODEL_LOAD, SEQ_CST }, ACQUIRE },
		{ { "kicked", MODEL_RMW, SEQ_CST }, ACQ_REL },
		{ { "kicked", MODEL_RMW, SEQ_CST }, RELEASE },
		{ { "kicked", MODEL_RMW, SEQ_CST }, ACQUIRE },
		MODEL_END,
	};

	assert_all_caught(kick_models, weakenings);
}

static void sweep(void)
{
	static const struct model *const all[] = { &lane,    &lanes,   &room,	   &room_later,
						   &kicks,   &kicks_2, &closing, &inbox,
						   &inbox_2, &closing_2, NULL };

	model_sweep(all);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_arrive_whole_in_order_and_nobody_sleeps_on_them),
		cmocka_unit_test(a_lane_needs_each_of_its_orders),
		cmocka_unit_test(the_sleep_word_needs_a_single_order),
		cmocka_unit_test(a_sender_that_waits_for_room_is_told_of_it),
		cmocka_unit_test(room_in_a_lane_needs_each_of_its_orders),
		cmocka_unit_test(posts_of_other_threads_run_once_and_in_order),
		cmocka_unit_test(the_inbox_needs_each_of_its_orders),
		cmocka_unit_test(a_closing_inbox_runs_or_refuses_and_nobody_wakes_what_is_gone),
		cmocka_unit_test(closing_needs_each_of_its_orders),
		cmocka_unit_test(whoever_is_kicked_sees_why),
		cmocka_unit_test(a_kick_needs_each_of_its_orders),
	};

	if (argc > 1 && !strcmp(argv[1], "--sweep")) {
		sweep();
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
