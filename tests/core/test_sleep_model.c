/* SPDX-License-Identifier: MIT */
/*
 * test_sleep_model.c - every interleaving of the sleep protocol of mesh.h.
 *
 * The consumer and each producer are small programs whose steps are the protocol's shared
 * accesses, all sequentially consistent, so an execution is an interleaving of steps. The
 * explorer visits every state that can be reached and looks for one where nobody can
 * move: there, every message must have been consumed. Mutants leave out one step each and
 * must be caught, else the explorer would prove nothing.
 *
 * The public bugs: a wake lost between check and sleep stalls for as long as the longest
 * timeout (glommio#261, Photon#261 and #520, dragonfly#2641).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PRODUCERS 2
#define MESSAGES 2	/* each producer sends; with depth 1 the second waits for room */

enum mutant {
	CORRECT,
	NO_LOOK_AGAIN,		/* the consumer sleeps without a second look */
	LOOK_BEFORE_ASLEEP,	/* it looks, then announces */
	NO_WAKE,		/* the producer trusts that somebody else wakes */
	WAKE_BEFORE_PUBLISH,	/* the producer looks at the sleep word first */
	NO_ROOM_TOLD,		/* the consumer never wakes a producer */
	WANT_AFTER_LOOK,	/* the producer asks for room after its last look */
};

/* Where a program stands: the step it does next. */
enum { C_LOAD_TAIL, C_STORE_HEAD, C_LOAD_WANT, C_LOAD_ASLEEP, C_EXCHANGE, C_LIE_DOWN, C_LOOK,
       C_SLEEP, C_DONE };
enum { P_SEND, P_LOAD_ASLEEP, P_EXCHANGE, P_PUBLISH, P_WANT, P_LIE_DOWN, P_LOOK, P_SLEEP,
       P_DONE };

/* All of a state: bytes, so that it is its own key. */
struct state {
	uint8_t c, c_asleep, c_woken;		/* woken: the driver's wait ends */
	uint8_t c_lane, c_tail;			/* what it drains or looks at now */
	uint8_t p[PRODUCERS], p_asleep[PRODUCERS], p_woken[PRODUCERS];
	uint8_t tail[PRODUCERS], head[PRODUCERS], want_room[PRODUCERS];
};

#define STATES_MAX (1u << 20)

static struct state *queue;
static struct state *table;
static bool *used;
static uint32_t queued;

static uint32_t hash(const struct state *state)
{
	const uint8_t *bytes = (const uint8_t *)state;
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < sizeof(*state); i++)
		h = (h ^ bytes[i]) * 16777619u;
	return h;
}

static void visit(const struct state *state)
{
	uint32_t i = hash(state) % (2 * STATES_MAX);

	while (used[i]) {
		if (!memcmp(&table[i], state, sizeof(*state)))
			return;
		i = (i + 1) % (2 * STATES_MAX);
	}
	assert_true(queued < STATES_MAX);
	used[i] = true;
	table[i] = *state;
	queue[queued++] = *state;
}

static bool is_all_consumed(const struct state *s)
{
	int i;

	for (i = 0; i < PRODUCERS; i++)
		if (s->head[i] != MESSAGES)
			return false;
	return true;
}

/* The consumer's next step at each lane in turn, then then. */
static void next_lane(struct state *s, uint8_t again, uint8_t then)
{
	s->c = again;
	if (++s->c_lane == PRODUCERS) {
		s->c_lane = 0;
		s->c = then;
	}
}

static void wake_producer(struct state *s, int i)
{
	if (s->p_asleep[i])
		s->p_woken[i] = 1;
	s->p_asleep[i] = 0;
}

static void look(struct state *s, enum mutant mutant)
{
	if (s->tail[s->c_lane] != s->head[s->c_lane]) {
		s->c_asleep = 0;
		s->c_lane = 0;
		s->c = C_LOAD_TAIL;
		return;
	}
	next_lane(s, C_LOOK, mutant == LOOK_BEFORE_ASLEEP ? C_LIE_DOWN : C_SLEEP);
	if (s->c != C_LOOK && is_all_consumed(s))
		s->c = C_DONE;
}

/* One step of the consumer. Returns whether it could move. */
static bool step_consumer(struct state *s, enum mutant mutant)
{
	uint8_t rest = mutant == LOOK_BEFORE_ASLEEP ? C_LOOK : C_LIE_DOWN;
	int i = s->c_lane;

	switch (s->c) {
	case C_LOAD_TAIL:
		s->c_tail = s->tail[i];
		s->c = C_STORE_HEAD;
		if (s->c_tail == s->head[i])
			next_lane(s, C_LOAD_TAIL, rest);
		return true;
	case C_STORE_HEAD:
		s->head[i] = s->c_tail;
		s->c = C_LOAD_WANT;
		return true;
	case C_LOAD_WANT:
		s->c = C_LOAD_ASLEEP;
		if (!s->want_room[i] || mutant == NO_ROOM_TOLD)
			next_lane(s, C_LOAD_TAIL, rest);
		return true;
	case C_LOAD_ASLEEP:
		s->c = C_EXCHANGE;
		if (!s->p_asleep[i])
			next_lane(s, C_LOAD_TAIL, rest);
		return true;
	case C_EXCHANGE:
		wake_producer(s, i);
		next_lane(s, C_LOAD_TAIL, rest);
		return true;
	case C_LIE_DOWN:
		s->c_asleep = 1;
		s->c = mutant == NO_LOOK_AGAIN || mutant == LOOK_BEFORE_ASLEEP ? C_SLEEP : C_LOOK;
		return true;
	case C_LOOK:
		look(s, mutant);
		return true;
	case C_SLEEP:
		if (!s->c_woken)
			return false;
		s->c_woken = 0;
		s->c_asleep = 0;
		s->c = C_LOAD_TAIL;
		return true;
	default:
		return false;
	}
}

/* The message has been told of. */
static void told(struct state *s, int i, enum mutant mutant)
{
	if (mutant == WAKE_BEFORE_PUBLISH && s->tail[i] == s->head[i])
		s->p[i] = P_PUBLISH;
	else
		s->p[i] = s->tail[i] == MESSAGES ? P_DONE : P_SEND;
}

static void publish(struct state *s, int i)
{
	s->tail[i]++;
	s->want_room[i] = 0;
}

static bool step_producer(struct state *s, int i, enum mutant mutant)
{
	switch (s->p[i]) {
	case P_SEND:
		if (s->tail[i] != s->head[i]) {		/* depth 1: the lane is full */
			s->p[i] = mutant == WANT_AFTER_LOOK ? P_LIE_DOWN : P_WANT;
			return true;
		}
		if (mutant != WAKE_BEFORE_PUBLISH)
			publish(s, i);
		s->p[i] = P_LOAD_ASLEEP;
		return true;
	case P_LOAD_ASLEEP:
		if (s->c_asleep && mutant != NO_WAKE)
			s->p[i] = P_EXCHANGE;
		else
			told(s, i, mutant);
		return true;
	case P_EXCHANGE:
		if (s->c_asleep)
			s->c_woken = 1;
		s->c_asleep = 0;
		told(s, i, mutant);
		return true;
	case P_PUBLISH:
		publish(s, i);
		s->p[i] = s->tail[i] == MESSAGES ? P_DONE : P_SEND;
		return true;
	case P_WANT:
		s->want_room[i] = 1;
		s->p[i] = mutant == WANT_AFTER_LOOK ? P_SLEEP : P_LIE_DOWN;
		return true;
	case P_LIE_DOWN:
		s->p_asleep[i] = 1;
		s->p[i] = P_LOOK;
		return true;
	case P_LOOK:
		if (s->tail[i] == s->head[i]) {
			s->p_asleep[i] = 0;
			s->p[i] = P_SEND;
		} else {
			s->p[i] = mutant == WANT_AFTER_LOOK ? P_WANT : P_SLEEP;
		}
		return true;
	case P_SLEEP:
		if (!s->p_woken[i])
			return false;
		s->p_woken[i] = 0;
		s->p_asleep[i] = 0;
		s->p[i] = P_SEND;
		return true;
	default:
		return false;
	}
}

/* Returns how many states there are where nobody can move and a message is left. */
static unsigned count_stuck(enum mutant mutant, uint32_t *ret_states)
{
	static const struct state start;
	unsigned stuck = 0;
	uint32_t done;
	int i;

	queued = 0;
	memset(used, 0, 2 * STATES_MAX * sizeof(*used));
	visit(&start);
	for (done = 0; done < queued; done++) {
		struct state next = queue[done];
		bool moved = step_consumer(&next, mutant);

		if (moved)
			visit(&next);
		for (i = 0; i < PRODUCERS; i++) {
			next = queue[done];
			if (!step_producer(&next, i, mutant))
				continue;
			moved = true;
			visit(&next);
		}
		if (!moved && !is_all_consumed(&queue[done]))
			stuck++;
	}
	*ret_states = queued;
	return stuck;
}

static void no_interleaving_of_the_protocol_loses_a_wake(void **state)
{
	uint32_t states;

	assert_int_equal(count_stuck(CORRECT, &states), 0);
	/* It did explore: a handful of states would mean that a program ends at once. */
	assert_true(states > 1000);
}

static void assert_caught(enum mutant mutant)
{
	uint32_t states;

	assert_true(count_stuck(mutant, &states) > 0);
}

static void sleeping_without_a_second_look_is_caught(void **state)
{
	assert_caught(NO_LOOK_AGAIN);
}

static void looking_before_announcing_is_caught(void **state)
{
	assert_caught(LOOK_BEFORE_ASLEEP);
}

static void a_producer_that_does_not_wake_is_caught(void **state)
{
	assert_caught(NO_WAKE);
}

static void waking_before_publishing_is_caught(void **state)
{
	assert_caught(WAKE_BEFORE_PUBLISH);
}

static void a_consumer_that_does_not_tell_of_room_is_caught(void **state)
{
	assert_caught(NO_ROOM_TOLD);
}

static void asking_for_room_after_the_last_look_is_caught(void **state)
{
	assert_caught(WANT_AFTER_LOOK);
}

static int set_up(void **state)
{
	queue = test_malloc(STATES_MAX * sizeof(*queue));
	table = test_malloc(2 * STATES_MAX * sizeof(*table));
	used = test_malloc(2 * STATES_MAX * sizeof(*used));
	return !queue || !table || !used;
}

static int tear_down(void **state)
{
	test_free(queue);
	test_free(table);
	test_free(used);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_interleaving_of_the_protocol_loses_a_wake),
		cmocka_unit_test(sleeping_without_a_second_look_is_caught),
		cmocka_unit_test(looking_before_announcing_is_caught),
		cmocka_unit_test(a_producer_that_does_not_wake_is_caught),
		cmocka_unit_test(waking_before_publishing_is_caught),
		cmocka_unit_test(a_consumer_that_does_not_tell_of_room_is_caught),
		cmocka_unit_test(asking_for_room_after_the_last_look_is_caught),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
