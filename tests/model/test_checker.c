/* SPDX-License-Identifier: MIT */
/*
 * test_checker.c - the checker itself: what it allows and forbids is what RC11 does, it visits
 * each execution once and misses none, and it finds what it says it finds.
 *
 * A program here is a table of steps, so that litmus tests are data and others can be drawn at
 * random. An outcome is what the reads gave, thread by thread, then the words' last values.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/model/explore.h"

#define STEPS_MAX 5
#define WORDS 3
#define OUTCOMES_MAX 512
#define OUTCOME_SIZE 32

enum op { END, R, W, ADD, CAS };		/* CAS: from value to value + 1 */
enum word { X, Y, Z };
enum { RLX = __ATOMIC_RELAXED, ACQ = __ATOMIC_ACQUIRE, REL = __ATOMIC_RELEASE,
       AR = __ATOMIC_ACQ_REL, SC = __ATOMIC_SEQ_CST };

struct step {
	enum op op;
	enum word word;
	int order;
	uint32_t value;
};

struct program {
	unsigned threads;
	struct step steps[MODEL_THREADS_MAX][STEPS_MAX + 1];
};

static const struct program *program;
static uint32_t *words;
static char gave[MODEL_THREADS_MAX][STEPS_MAX + 1];
static char outcomes[OUTCOMES_MAX][OUTCOME_SIZE];
static unsigned outcome_count;

static void program_setup(void)
{
	words = model_alloc(WORDS * sizeof(*words));
	memset(words, 0, WORDS * sizeof(*words));
	memset(gave, 0, sizeof(gave));
}

static uint32_t compare_and_add(const struct step *step)
{
	static const int failure_orders[] = {
		[RLX] = RLX, [ACQ] = ACQ, [REL] = RLX, [AR] = ACQ, [SC] = SC,
	};

	return model_compare(&words[step->word], step->value, step->value + 1, step->order,
			     failure_orders[step->order]);
}

static void run_steps(void)
{
	const struct step *step = program->steps[model_thread()];
	char *reads = gave[model_thread()];

	for (; step->op; step++) {
		uint32_t *word = &words[step->word];

		if (step->op == R)
			*reads++ = '0' + (char)model_load(word, step->order);
		else if (step->op == W)
			model_store(word, step->value, step->order);
		else if (step->op == ADD)
			*reads++ = '0' + (char)model_add(word, step->value,
									  step->order);
		else
			*reads++ = '0' + (char)compare_and_add(step);
	}
}

static void collect(void)
{
	char outcome[OUTCOME_SIZE] = "";
	unsigned i;

	for (i = 0; i < program->threads; i++)
		strcat(outcome, gave[i]);
	strcat(outcome, " ");
	for (i = 0; i < WORDS; i++) {
		char digit[2] = { '0' + (char)__atomic_load_n(&words[i], __ATOMIC_RELAXED) };

		strcat(outcome, digit);
	}
	for (i = 0; i < outcome_count; i++)
		if (!strcmp(outcomes[i], outcome))
			return;
	model_assert(outcome_count < OUTCOMES_MAX);
	strcpy(outcomes[outcome_count++], outcome);
}

static struct model as_model(const struct program *of)
{
	program = of;
	outcome_count = 0;
	return (struct model){
		.threads = of->threads,
		.setup = program_setup,
		.run = { run_steps, run_steps, run_steps, run_steps },
		.check = collect,
	};
}

static struct model_result explore_program(const struct program *of)
{
	struct model model = as_model(of);
	struct model_result result;

	model_explore(&model, NULL, &result);
	assert_null(result.error);
	return result;
}

/* Whether an outcome begins so. */
static bool is_possible(const struct program *of, const char *outcome)
{
	unsigned i;

	explore_program(of);
	for (i = 0; i < outcome_count; i++)
		if (!strncmp(outcomes[i], outcome, strlen(outcome)))
			return true;
	return false;
}

/* --- litmus tests --- */

#define TWO(...) { 2, { __VA_ARGS__ } }
#define THREE(...) { 3, { __VA_ARGS__ } }
#define FOUR(...) { 4, { __VA_ARGS__ } }

static void store_buffering_needs_seq_cst(void **state)
{
	const struct program relaxed = TWO({ { W, X, REL, 1 }, { R, Y, ACQ, 0 } },
					   { { W, Y, REL, 1 }, { R, X, ACQ, 0 } });
	const struct program ordered = TWO({ { W, X, SC, 1 }, { R, Y, SC, 0 } },
					   { { W, Y, SC, 1 }, { R, X, SC, 0 } });
	const struct program half = TWO({ { W, X, SC, 1 }, { R, Y, SC, 0 } },
					{ { W, Y, SC, 1 }, { R, X, ACQ, 0 } });

	assert_true(is_possible(&relaxed, "00"));
	assert_int_equal(explore_program(&relaxed).executions, 4);
	assert_false(is_possible(&ordered, "00"));
	assert_int_equal(explore_program(&ordered).executions, 3);
	assert_true(is_possible(&half, "00"));
}

static void a_message_needs_release_and_acquire(void **state)
{
	const struct program right = TWO({ { W, X, RLX, 1 }, { W, Y, REL, 1 } },
					 { { R, Y, ACQ, 0 }, { R, X, RLX, 0 } });
	const struct program no_release = TWO({ { W, X, RLX, 1 }, { W, Y, RLX, 1 } },
					      { { R, Y, ACQ, 0 }, { R, X, RLX, 0 } });
	const struct program no_acquire = TWO({ { W, X, RLX, 1 }, { W, Y, REL, 1 } },
					      { { R, Y, RLX, 0 }, { R, X, RLX, 0 } });

	assert_false(is_possible(&right, "10"));
	assert_int_equal(explore_program(&right).executions, 3);
	assert_true(is_possible(&no_release, "10"));
	assert_true(is_possible(&no_acquire, "10"));
	assert_int_equal(explore_program(&no_acquire).executions, 4);
}

static void messages_are_passed_on(void **state)
{
	const struct program isa2 = THREE({ { W, X, RLX, 1 }, { W, Y, REL, 1 } },
					  { { R, Y, ACQ, 0 }, { W, Z, REL, 1 } },
					  { { R, Z, ACQ, 0 }, { R, X, RLX, 0 } });
	const struct program wrc = THREE({ { W, X, RLX, 1 } },
					 { { R, X, RLX, 0 }, { W, Y, REL, 1 } },
					 { { R, Y, ACQ, 0 }, { R, X, RLX, 0 } });
	const struct program wrc_relaxed = THREE({ { W, X, RLX, 1 } },
						 { { R, X, RLX, 0 }, { W, Y, RLX, 1 } },
						 { { R, Y, ACQ, 0 }, { R, X, RLX, 0 } });

	assert_false(is_possible(&isa2, "110"));
	assert_true(is_possible(&isa2, "111"));
	assert_false(is_possible(&wrc, "110"));
	assert_true(is_possible(&wrc_relaxed, "110"));
}

static void a_release_sequence_goes_through_changes_only(void **state)
{
	const struct program change = THREE({ { W, X, RLX, 1 }, { W, Y, REL, 1 } },
					    { { ADD, Y, RLX, 1 } },
					    { { R, Y, ACQ, 0 }, { R, X, RLX, 0 } });
	const struct program store = THREE({ { W, X, RLX, 1 }, { W, Y, REL, 1 } },
					   { { W, Y, RLX, 2 } },
					   { { R, Y, ACQ, 0 }, { R, X, RLX, 0 } });
	const struct program own = TWO({ { W, X, RLX, 1 }, { W, Y, REL, 1 }, { W, Y, RLX, 2 } },
				       { { R, Y, ACQ, 0 }, { R, X, RLX, 0 } });

	assert_false(is_possible(&change, "120"));
	assert_true(is_possible(&change, "121"));
	assert_true(is_possible(&store, "20"));
	assert_true(is_possible(&own, "20"));
}

static void independent_readers_agree_under_seq_cst_only(void **state)
{
	const struct program acquire =
		FOUR({ { W, X, REL, 1 } }, { { R, X, ACQ, 0 }, { R, Y, ACQ, 0 } },
		     { { R, Y, ACQ, 0 }, { R, X, ACQ, 0 } }, { { W, Y, REL, 1 } });
	const struct program ordered =
		FOUR({ { W, X, SC, 1 } }, { { R, X, SC, 0 }, { R, Y, SC, 0 } },
		     { { R, Y, SC, 0 }, { R, X, SC, 0 } }, { { W, Y, SC, 1 } });
	/* IRIW-acq-sc of the RC11 paper: C11 forbade it, what compilers made for POWER did not. */
	const struct program mixed =
		FOUR({ { W, X, SC, 1 } }, { { R, X, ACQ, 0 }, { R, Y, SC, 0 } },
		     { { R, Y, ACQ, 0 }, { R, X, SC, 0 } }, { { W, Y, SC, 1 } });

	assert_true(is_possible(&acquire, "1010"));
	assert_false(is_possible(&ordered, "1010"));
	assert_true(is_possible(&mixed, "1010"));
}

/* Z6.U of the RC11 paper. */
static void happening_before_is_not_always_seq_cst_order(void **state)
{
	const struct program z6 = THREE({ { W, X, SC, 1 }, { W, Y, REL, 1 } },
					{ { ADD, Y, SC, 1 }, { R, Y, RLX, 0 } },
					{ { W, Y, SC, 3 }, { R, X, SC, 0 } });
	const struct program all = THREE({ { W, X, SC, 1 }, { W, Y, SC, 1 } },
					 { { ADD, Y, SC, 1 }, { R, Y, SC, 0 } },
					 { { W, Y, SC, 3 }, { R, X, SC, 0 } });

	assert_true(is_possible(&z6, "130"));
	assert_false(is_possible(&all, "130"));
}

static void nothing_is_read_out_of_thin_air(void **state)
{
	const struct program lb = TWO({ { R, X, RLX, 0 }, { W, Y, RLX, 1 } },
				      { { R, Y, RLX, 0 }, { W, X, RLX, 1 } });

	assert_false(is_possible(&lb, "11"));
	assert_int_equal(explore_program(&lb).executions, 3);
}

static void writes_of_one_word_have_one_order(void **state)
{
	const struct program two = TWO({ { W, X, RLX, 1 }, { W, Y, RLX, 2 } },
				       { { W, Y, RLX, 1 }, { W, X, RLX, 2 } });
	const struct program ordered = TWO({ { W, X, SC, 1 }, { W, Y, SC, 2 } },
					   { { W, Y, SC, 1 }, { W, X, SC, 2 } });
	const struct program rr = TWO({ { W, X, RLX, 1 } }, { { R, X, RLX, 0 }, { R, X, RLX, 0 } });
	const struct program three = THREE({ { W, X, RLX, 1 } }, { { W, X, RLX, 2 } },
					   { { W, X, RLX, 3 } });

	assert_true(is_possible(&two, " 11"));
	assert_false(is_possible(&ordered, " 11"));
	assert_false(is_possible(&rr, "10"));
	assert_int_equal(explore_program(&three).executions, 6);
}

static void nothing_comes_between_a_read_and_its_write(void **state)
{
	const struct program adds = FOUR({ { ADD, X, RLX, 1 } }, { { ADD, X, RLX, 1 } },
					 { { ADD, X, RLX, 1 } }, { { ADD, X, RLX, 1 } });
	const struct program once = THREE({ { CAS, X, RLX, 0 } }, { { CAS, X, RLX, 0 } },
					  { { CAS, X, RLX, 0 } });

	assert_int_equal(explore_program(&adds).executions, 24);
	assert_true(is_possible(&adds, "0123 4"));
	assert_true(is_possible(&adds, "3210 4"));
	assert_false(is_possible(&adds, "00"));
	assert_true(is_possible(&once, "011 1"));
	assert_false(is_possible(&once, "00"));
	assert_false(is_possible(&once, "111"));
}

/* --- every execution, and each once --- */

static uint32_t random_state;

static unsigned draw(unsigned count)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % count;
}

static struct step random_step(void)
{
	static const int load[] = { RLX, ACQ, SC, SC };
	static const int store[] = { RLX, REL, SC, SC };
	static const int change[] = { RLX, ACQ, REL, AR, SC };
	struct step step = { .op = R + draw(4), .word = draw(2) };

	if (step.op == R)
		step.order = load[draw(4)];
	else if (step.op == W)
		step.order = store[draw(4)];
	else
		step.order = change[draw(5)];
	step.value = step.op == CAS ? draw(3) : 1 + draw(2);
	return step;
}

static void random_program(struct program *ret_program)
{
	unsigned steps_max;

	*ret_program = (struct program){ .threads = 2 + draw(2) };
	steps_max = ret_program->threads == 2 ? 5 : 3;
	for (unsigned i = 0; i < ret_program->threads; i++)
		for (unsigned j = 1 + draw(steps_max); j--;)
			ret_program->steps[i][j] = random_step();
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void log_of(struct explore_log *log, const struct program *of, bool is_naive)
{
	struct model model = as_model(of);
	struct model_result result;

	*log = (struct explore_log){ 0 };
	explore_log(log);
	if (is_naive)
		explore_naively(&model, &result);
	else
		model_explore(&model, NULL, &result);
	explore_log(NULL);
	assert_null(result.error);
	qsort(log->hashes, log->count, sizeof(log->hashes[0]), by_value);
}

static void random_programs_have_each_execution_once(void **state)
{
	random_state = 2463534242u;
	for (unsigned i = 0; i < 1500; i++) {
		struct program random;
		struct explore_log fast;
		struct explore_log slow;

		random_program(&random);
		log_of(&fast, &random, false);
		log_of(&slow, &random, true);
		assert_int_equal(fast.count, slow.count);
		assert_memory_equal(fast.hashes, slow.hashes, fast.count * sizeof(uint64_t));
		for (size_t j = 1; j < fast.count; j++)
			assert_true(fast.hashes[j - 1] != fast.hashes[j]);
		free(fast.hashes);
		free(slow.hashes);
	}
}

/* --- what it finds --- */

static struct {
	uint32_t flag;
	uint32_t plain;
} *shared;

static void shared_setup(void)
{
	shared = model_alloc(sizeof(*shared));
	memset(shared, 0, sizeof(*shared));
	model_name(&shared->flag, "flag");
}

static void send_plain(void)
{
	shared->plain = 7;
	__atomic_store_n(&shared->flag, 1, __ATOMIC_RELEASE);
}

static void receive_plain(void)
{
	if (__atomic_load_n(&shared->flag, __ATOMIC_ACQUIRE))
		model_assert(shared->plain == 7);
}

static const struct model sending = {
	.threads = 2, .setup = shared_setup, .run = { send_plain, receive_plain },
};

static void assert_found(const struct model *model, const struct model_weakening *weakening,
			 const char *error)
{
	struct model_result result;

	model_explore(model, weakening, &result);
	assert_non_null(result.error);
	if (!strstr(result.error, error))
		fail_msg("%s is not in: %s", error, result.error);
}

static void a_data_race_is_found(void **state)
{
	static const struct model_weakening store = { { "flag", MODEL_STORE, REL }, RLX };
	static const struct model_weakening load = { { "flag", MODEL_LOAD, ACQ }, RLX };
	struct model_result result;

	model_explore(&sending, NULL, &result);
	assert_null(result.error);
	assert_int_equal(result.executions, 2);
	assert_int_equal(result.site_count, 2);
	assert_found(&sending, &store, "data race");
	assert_found(&sending, &load, "data race");
}

static void write_plain(void)
{
	shared->flag = 1;
}

static void a_plain_access_to_an_atomic_word_is_a_race(void **state)
{
	const struct model model = { .threads = 2, .setup = shared_setup,
				     .run = { write_plain, receive_plain } };
	const struct model turned = { .threads = 2, .setup = shared_setup,
				      .run = { receive_plain, write_plain } };

	assert_found(&model, NULL, "data race");
	assert_found(&turned, NULL, "data race");
}

static void await_flag(void)
{
	model_await_not(&shared->flag, 0, __ATOMIC_ACQUIRE);
	model_assert(shared->plain == 7);
}

static void spin_on_flag(void)
{
	while (!__atomic_load_n(&shared->flag, __ATOMIC_ACQUIRE))
		sched_yield();
	model_assert(shared->plain == 7);
}

static void do_nothing(void)
{
}

static void waiting_for_nobody_is_found(void **state)
{
	const struct model waits = { .threads = 2, .setup = shared_setup,
				     .run = { await_flag, send_plain } };
	const struct model spins = { .threads = 2, .setup = shared_setup,
				     .run = { spin_on_flag, send_plain } };
	const struct model stuck = { .threads = 2, .setup = shared_setup,
				     .run = { await_flag, do_nothing } };
	const struct model spins_on = { .threads = 2, .setup = shared_setup,
					.run = { do_nothing, spin_on_flag } };
	struct model_result result;

	model_explore(&waits, NULL, &result);
	assert_null(result.error);
	assert_int_equal(result.executions, 1);
	model_explore(&spins, NULL, &result);
	assert_null(result.error);
	assert_int_equal(result.executions, 1);
	assert_found(&stuck, NULL, "stuck");
	assert_found(&spins_on, NULL, "stuck");
}

static void hope(void)
{
	__atomic_store_n(&shared->flag, 2, __ATOMIC_RELAXED);
	model_assert(__atomic_load_n(&shared->flag, __ATOMIC_RELAXED) == 2);
}

static void an_assertion_that_some_execution_fails_is_found_and_told(void **state)
{
	const struct model model = { .threads = 2, .setup = shared_setup,
				     .run = { hope, send_plain } };

	assert_found(&model, NULL, "== 2");
	assert_found(&model, NULL, "thread 1  writes  flag to 0x1 (release)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_buffering_needs_seq_cst),
		cmocka_unit_test(a_message_needs_release_and_acquire),
		cmocka_unit_test(messages_are_passed_on),
		cmocka_unit_test(a_release_sequence_goes_through_changes_only),
		cmocka_unit_test(independent_readers_agree_under_seq_cst_only),
		cmocka_unit_test(happening_before_is_not_always_seq_cst_order),
		cmocka_unit_test(nothing_is_read_out_of_thin_air),
		cmocka_unit_test(writes_of_one_word_have_one_order),
		cmocka_unit_test(nothing_comes_between_a_read_and_its_write),
		cmocka_unit_test(random_programs_have_each_execution_once),
		cmocka_unit_test(a_data_race_is_found),
		cmocka_unit_test(a_plain_access_to_an_atomic_word_is_a_race),
		cmocka_unit_test(waiting_for_nobody_is_found),
		cmocka_unit_test(an_assertion_that_some_execution_fails_is_found_and_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
