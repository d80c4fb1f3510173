/* SPDX-License-Identifier: MIT */
/*
 * admit.c - tickets, and the line for them.
 *
 * Each class has a line, oldest first; who stands in it does so on his coroutine's stack. All that
 * is decided is decided when a ticket comes back: no timer, so what waits costs nothing, and a wait
 * without any ticket coming back ends by its deadline. A ticket goes to the one in line whose turn
 * it is before he runs: who comes meanwhile does not overtake him.
 */
#include "futures/weir_admit.h"

#include "core/metrics.h"
#include "core/waiters.h"
#include "core/weir_coro.h"

#define QUEUE_MAX 1024
#define TARGET_NS (5 * WEIR_MS)
#define INTERVAL_NS (100 * WEIR_MS)

/* Steps of the median: a 32nd, and a 256th. */
#define STEP_SHIFT 5
#define FORGET_SHIFT 8

enum { ADMITTED, INFLIGHT, WAITING, LIMIT, SHED };	/* metrics_ */

struct standing {
	struct weir_waiter waiter;
	struct weir_admit *admit;
	struct weir_admit_line *line;
	struct weir_ticket *ticket;
	int64_t since_ns, deadline_ns;
};

static const char *const names[WEIR_SHED_COUNT] = {
	[WEIR_SHED_NONE] = "none",	     [WEIR_SHED_FULL] = "full",
	[WEIR_SHED_CODEL] = "codel",	     [WEIR_SHED_CLASS] = "class",
	[WEIR_SHED_DEADLINE] = "deadline",   [WEIR_SHED_CANCELLED] = "cancelled",
	[WEIR_SHED_STOPPING] = "stopping",
};

const char *weir_shed_name(enum weir_shed shed)
{
	return shed < WEIR_SHED_COUNT ? names[shed] : "unknown";
}

static int error_of(enum weir_shed shed)
{
	static const int errors[WEIR_SHED_COUNT] = {
		[WEIR_SHED_FULL] = -EAGAIN,
		[WEIR_SHED_CODEL] = -EAGAIN,
		[WEIR_SHED_CLASS] = -EAGAIN,
		[WEIR_SHED_DEADLINE] = -ETIMEDOUT,
		[WEIR_SHED_CANCELLED] = -ECANCELED,
		[WEIR_SHED_STOPPING] = -ESHUTDOWN,
	};

	return errors[shed];
}

static void count(const struct weir_admit *admit, unsigned metric, int64_t n)
{
	weir_metric_add(admit->metrics_[metric], n);
}

static void show_limit(struct weir_admit *admit, unsigned limit)
{
	if (limit == admit->limit_shown_)
		return;
	count(admit, LIMIT, (int64_t)limit - admit->limit_shown_);
	admit->limit_shown_ = limit;
}

/* --- the line --- */

static struct standing *standing_of(struct weir_node *node)
{
	return weir_container_of(node, struct standing, waiter.node);
}

static struct standing *oldest(struct weir_admit_line *line)
{
	return standing_of(weir__waiters_head(&line->waiters_)->next);
}

static struct standing *newest(struct weir_admit_line *line)
{
	return standing_of(weir__waiters_head(&line->waiters_)->prev);
}

static void note_left(struct standing *standing)
{
	struct weir_admit *admit = standing->admit;

	admit->waiting_--;
	count(admit, WAITING, -1);
	if (!--standing->line->waiting_)
		standing->line->owed_ = 0;
}

static int note_shed(struct weir_admit *admit, struct weir_admit_line *line,
		     struct weir_ticket *ticket, enum weir_shed shed)
{
	ticket->shed = shed;
	admit->shed_[shed]++;
	line->shed_++;
	count(admit, SHED + shed, 1);
	return error_of(shed);
}

static int note_end_of_wait(struct weir_admit *admit, struct weir_admit_line *line,
			    struct weir_ticket *ticket, int reason)
{
	return note_shed(admit, line, ticket,
			 reason == -ECANCELED ? WEIR_SHED_CANCELLED : WEIR_SHED_DEADLINE);
}

static void left(struct weir_waiter *waiter)
{
	struct standing *standing = weir_container_of(waiter, struct standing, waiter);

	note_left(standing);
	note_end_of_wait(standing->admit, standing->line, standing->ticket, waiter->wait.reason);
}

static void shed(struct standing *standing, enum weir_shed reason)
{
	note_left(standing);
	weir__waiter_wake(&standing->waiter,
			  note_shed(standing->admit, standing->line, standing->ticket, reason));
}

/* When the oldest of all came; INT64_MAX: nobody is in line. */
static int64_t oldest_since(struct weir_admit *admit)
{
	int64_t since_ns = INT64_MAX;

	for (unsigned i = 0; i < admit->count_; i++) {
		struct weir_admit_line *line = &admit->lines_[i];

		if (line->waiting_ && oldest(line)->since_ns < since_ns)
			since_ns = oldest(line)->since_ns;
	}
	return since_ns;
}

/* --- too long: CoDel --- */

/*
 * Overload begins as in folly's: the oldest was older than the target all the time. But with the
 * newest first and the late shed the line is short or empty now and then even under overload, so it
 * ends with an interval in which nobody was late.
 */
static void codel_note(struct weir_admit *admit, int64_t now_ns)
{
	int64_t age_ns = admit->waiting_ ? now_ns - oldest_since(admit) : 0;

	if (age_ns < admit->age_min_ns_)
		admit->age_min_ns_ = age_ns;
	if (now_ns < admit->interval_end_ns_)
		return;
	if (now_ns >= admit->interval_end_ns_ + admit->interval_ns_)
		admit->was_late_ = false;	/* long ago */
	admit->overloaded_ = admit->age_min_ns_ > admit->target_ns_ || admit->was_late_;
	admit->was_late_ = false;
	admit->interval_end_ns_ = now_ns + admit->interval_ns_;
	admit->age_min_ns_ = age_ns;
}

static void codel_shed(struct weir_admit *admit, int64_t now_ns)
{
	for (unsigned i = 0; i < admit->count_; i++) {
		struct weir_admit_line *line = &admit->lines_[i];

		while (line->waiting_ && now_ns - oldest(line)->since_ns > 2 * admit->target_ns_) {
			shed(oldest(line), WEIR_SHED_CODEL);
			admit->was_late_ = true;
		}
	}
}

/* --- too late: deadlines --- */

/* The median goes by steps towards each value. */
static void learn_service(struct weir_admit *admit, int64_t took_ns)
{
	int64_t step_ns = (admit->service_ns_ >> STEP_SHIFT) + 1;

	if (!admit->service_ns_)
		admit->service_ns_ = took_ns;
	else if (took_ns > admit->service_ns_)
		admit->service_ns_ += step_ns;
	else if (took_ns < admit->service_ns_)
		admit->service_ns_ -= step_ns;
}

/*
 * With each request that the median sheds it goes down a little: else one that is too high would
 * let nobody in who could show that.
 */
static bool is_hopeless(struct weir_admit *admit, int64_t now_ns, int64_t deadline_ns)
{
	if (deadline_ns - now_ns > admit->service_ns_)
		return false;
	if (deadline_ns > now_ns)
		admit->service_ns_ -= (admit->service_ns_ >> FORGET_SHIFT) + 1;
	return true;
}

/* --- whose turn it is --- */

static bool goes_before(struct weir_admit_line *line, struct weir_admit_line *other)
{
	if (line->owed_ >= 100 || other->owed_ >= 100)
		return line->owed_ > other->owed_;
	if (line->opts_.priority != other->opts_.priority)
		return line->opts_.priority < other->opts_.priority;
	return oldest(line)->since_ns < oldest(other)->since_ns;
}

/* The class of the next grant. Who is in line is owed its share of it. */
static struct weir_admit_line *next_line(struct weir_admit *admit)
{
	struct weir_admit_line *next = NULL;

	for (unsigned i = 0; i < admit->count_; i++) {
		struct weir_admit_line *line = &admit->lines_[i];

		if (!line->waiting_)
			continue;
		line->owed_ += line->opts_.share_percent;
		if (!next || goes_before(line, next))
			next = line;
	}
	next->owed_ -= next->owed_ < 100 ? next->owed_ : 100;
	return next;
}

static bool is_newest_first(struct weir_admit *admit, struct weir_admit_line *line, int64_t now_ns)
{
	return admit->order_ == WEIR_ADMIT_LIFO &&
	       now_ns - oldest(line)->since_ns > admit->target_ns_;
}

static void grant(struct weir_admit *admit, struct weir_admit_line *line,
		  struct weir_ticket *ticket, int64_t now_ns)
{
	ticket->admit_ = admit;
	ticket->begun_ns_ = now_ns;
	ticket->inflight_ = ++admit->inflight_;
	admit->admitted_++;
	line->admitted_++;
	count(admit, ADMITTED, 1);
	count(admit, INFLIGHT, 1);
}

/* Gives out what tickets there are. */
static void serve(struct weir_admit *admit, int64_t now_ns)
{
	unsigned limit = weir_limiter_limit(&admit->limiter_);

	show_limit(admit, limit);
	codel_note(admit, now_ns);
	if (admit->overloaded_)
		codel_shed(admit, now_ns);
	while (admit->waiting_ && admit->inflight_ < limit) {
		struct weir_admit_line *line = next_line(admit);
		struct standing *standing = is_newest_first(admit, line, now_ns) ? newest(line) :
										   oldest(line);

		if (is_hopeless(admit, now_ns, standing->deadline_ns)) {
			shed(standing, WEIR_SHED_DEADLINE);
			continue;
		}
		note_left(standing);
		standing->ticket->waited_ns = now_ns - standing->since_ns;
		grant(admit, line, standing->ticket, now_ns);
		weir__waiter_wake(&standing->waiter, 0);
	}
}

/* --- full --- */

static struct standing *expendable(struct weir_admit *admit, struct weir_admit_line *line)
{
	return admit->order_ == WEIR_ADMIT_LIFO ? oldest(line) : newest(line);
}

/* Of the classes below line the lowest that has more in line than is kept for it, or NULL. */
static struct weir_admit_line *lower_line(struct weir_admit *admit, struct weir_admit_line *line)
{
	struct weir_admit_line *lowest = NULL;
	unsigned priority = line->opts_.priority;

	for (unsigned i = 0; i < admit->count_; i++) {
		struct weir_admit_line *other = &admit->lines_[i];

		if (other->opts_.priority <= priority || other->waiting_ <= other->kept_)
			continue;
		lowest = other;
		priority = other->opts_.priority;
	}
	return lowest;
}

/* Whether one more may stand in line. */
static bool make_place(struct weir_admit *admit, struct weir_admit_line *line)
{
	struct weir_admit_line *lower;

	if (line->waiting_ < line->opts_.queue_max) {
		if (admit->waiting_ < admit->queue_max_)
			return true;
		lower = lower_line(admit, line);
		if (lower) {
			shed(expendable(admit, lower), WEIR_SHED_CLASS);
			return true;
		}
	}
	if (admit->order_ != WEIR_ADMIT_LIFO || !line->waiting_)
		return false;
	shed(oldest(line), WEIR_SHED_FULL);
	return true;
}

/* --- the calls --- */

/* Returns 1 with a ticket, 0 when it has to wait, or why not. */
static int enter_now(struct weir_admit *admit, struct weir_admit_line *line, int64_t deadline_ns,
		     struct weir_ticket *ticket)
{
	int64_t now_ns = weir_clock();
	unsigned limit = weir_limiter_limit(&admit->limiter_);

	*ticket = (struct weir_ticket){ .begun_ns_ = now_ns };
	if (admit->stopping_)
		return note_shed(admit, line, ticket, WEIR_SHED_STOPPING);
	codel_note(admit, now_ns);
	if (is_hopeless(admit, now_ns, deadline_ns))
		return note_shed(admit, line, ticket, WEIR_SHED_DEADLINE);
	if (admit->waiting_ || admit->inflight_ >= limit)
		return 0;
	grant(admit, line, ticket, now_ns);
	return 1;
}

/*
 * Requests that compute without ever waiting would have their tickets one after the other: nobody
 * would be in line, but all in the run queue, where nobody is shed. So who has a ticket lets all
 * that is ready run first: they find the ticket taken.
 */
static void let_others_enter(void)
{
	if (weir__self->coros.current && !weir__queue_is_empty(&weir__self->ready))
		weir_yield();
}

static int stand_in_line(struct weir_admit *admit, struct weir_admit_line *line,
			 int64_t deadline_ns, struct weir_ticket *ticket)
{
	struct standing standing = {
		.waiter = { .of = admit, .left = left },
		.admit = admit,
		.line = line,
		.ticket = ticket,
		.since_ns = ticket->begun_ns_,
		.deadline_ns = deadline_ns,
	};
	int r = weir__wait_check(deadline_ns);

	if (r == -EDEADLK)
		return r;
	if (!r) {
		if (!make_place(admit, line))
			return note_shed(admit, line, ticket, WEIR_SHED_FULL);
		admit->waiting_++;
		line->waiting_++;
		count(admit, WAITING, 1);
		r = weir__waiters_wait(&line->waiters_, &standing.waiter, admit->name_,
				       deadline_ns);
	}
	if (r == 0)
		return 0;
	ticket->waited_ns = weir_clock() - standing.since_ns;
	return ticket->shed ? r : note_end_of_wait(admit, line, ticket, r);
}

int weir_admit_enter(struct weir_admit *admit, unsigned index, int64_t deadline_ns,
		     struct weir_ticket *ticket)
{
	int64_t own_ns = weir_coro_deadline();
	int r;

	if (admit->home_ != weir__self)
		return -EPROTO;
	if (index >= admit->count_)
		return -EINVAL;
	if (own_ns < deadline_ns)
		deadline_ns = own_ns;
	r = enter_now(admit, &admit->lines_[index], deadline_ns, ticket);
	if (r < 0)
		return r;
	if (r == 0) {
		r = stand_in_line(admit, &admit->lines_[index], deadline_ns, ticket);
		if (r)
			return r;
	}
	let_others_enter();
	return 0;
}

int weir_admit_try(struct weir_admit *admit, unsigned index, int64_t deadline_ns,
		   struct weir_ticket *ticket)
{
	int r;

	if (admit->home_ != weir__self)
		return -EPROTO;
	if (index >= admit->count_)
		return -EINVAL;
	r = enter_now(admit, &admit->lines_[index], deadline_ns, ticket);
	if (r)
		return r < 0 ? r : 0;
	return note_shed(admit, &admit->lines_[index], ticket, WEIR_SHED_FULL);
}

int weir_ticket_done(struct weir_ticket *ticket, enum weir_ticket_outcome outcome)
{
	struct weir_admit *admit = ticket->admit_;
	int64_t now_ns, took_ns;

	if (!admit)
		return -EALREADY;
	if (admit->home_ != weir__self)
		return -EPROTO;
	if (outcome > WEIR_TICKET_IGNORE)
		return -EINVAL;
	ticket->admit_ = NULL;
	now_ns = weir_clock();
	took_ns = now_ns - ticket->begun_ns_;
	if (took_ns < 1)
		took_ns = 1;
	if (outcome == WEIR_TICKET_OK)
		learn_service(admit, took_ns);
	weir_limiter_sample(&admit->limiter_, now_ns, outcome == WEIR_TICKET_IGNORE ? 0 : took_ns,
			    ticket->inflight_, outcome == WEIR_TICKET_DROP);
	admit->inflight_--;
	count(admit, INFLIGHT, -1);
	serve(admit, now_ns);
	return 0;
}

int weir_admit_stop(struct weir_admit *admit)
{
	if (admit->home_ != weir__self)
		return -EPROTO;
	admit->stopping_ = true;
	for (unsigned i = 0; i < admit->count_; i++)
		while (admit->lines_[i].waiting_)
			shed(oldest(&admit->lines_[i]), WEIR_SHED_STOPPING);
	return 0;
}

int weir_admit_info(const struct weir_admit *admit, struct weir_admit_info *ret_info)
{
	unsigned limit = weir_limiter_limit(&admit->limiter_);

	if (admit->home_ != weir__self)
		return -EPROTO;
	*ret_info = (struct weir_admit_info){
		.name = admit->name_,
		.limit = limit,
		.inflight = admit->inflight_,
		.waiting = admit->waiting_,
		.is_overloaded = admit->overloaded_,
		.base_ns = weir_limiter_base_ns(&admit->limiter_),
		.service_ns = admit->service_ns_,
		.delay_ns = admit->service_ns_ * admit->waiting_ / limit,
		.admitted = admit->admitted_,
	};
	for (unsigned i = 0; i < WEIR_SHED_COUNT; i++)
		ret_info->shed[i] = admit->shed_[i];
	return 0;
}

int weir_admit_class_info(const struct weir_admit *admit, unsigned index,
			  struct weir_admit_class_info *ret_info)
{
	const struct weir_admit_line *line = &admit->lines_[index];

	if (admit->home_ != weir__self)
		return -EPROTO;
	if (index >= admit->count_)
		return -EINVAL;
	*ret_info = (struct weir_admit_class_info){
		.name = line->opts_.name,
		.waiting = line->waiting_,
		.admitted = line->admitted_,
		.shed = line->shed_,
	};
	return 0;
}

/* --- life --- */

static void register_metrics(int metrics[4 + WEIR_SHED_COUNT])
{
	static const char *const shed_names[WEIR_SHED_COUNT] = {
		[WEIR_SHED_FULL] = "weir_admit_shed_full",
		[WEIR_SHED_CODEL] = "weir_admit_shed_codel",
		[WEIR_SHED_CLASS] = "weir_admit_shed_class",
		[WEIR_SHED_DEADLINE] = "weir_admit_shed_deadline",
		[WEIR_SHED_CANCELLED] = "weir_admit_shed_cancelled",
		[WEIR_SHED_STOPPING] = "weir_admit_shed_stopping",
	};

	metrics[ADMITTED] = weir_metric_counter("weir_admit_admitted", "Requests admitted.");
	metrics[INFLIGHT] =
		weir_metric_gauge("weir_admit_inflight", "Admitted requests in progress.");
	metrics[WAITING] = weir_metric_gauge("weir_admit_waiting", "Requests in line.");
	metrics[LIMIT] =
		weir_metric_gauge("weir_admit_limit", "Requests that may be in progress.");
	metrics[SHED] = -EINVAL;
	for (unsigned i = 1; i < WEIR_SHED_COUNT; i++)
		metrics[SHED + i] =
			weir_metric_counter(shed_names[i], "Requests shed for this reason.");
}

static void line_init(struct weir_admit_line *line, const struct weir_admit_class *opts,
		      unsigned queue_max)
{
	*line = (struct weir_admit_line){ .opts_ = *opts };
	if (!line->opts_.name)
		line->opts_.name = "class";
	if (!line->opts_.queue_max)
		line->opts_.queue_max = queue_max;
	line->kept_ = (unsigned)((uint64_t)queue_max * opts->share_percent / 100);
	weir__waiters_init(&line->waiters_);
}

static bool is_sound(const struct weir_admit_opts *opts)
{
	uint64_t shares = 0;

	if (opts->class_count > WEIR_ADMIT_CLASSES_MAX || (opts->class_count && !opts->classes))
		return false;
	for (unsigned i = 0; i < opts->class_count; i++)
		shares += opts->classes[i].share_percent;
	return shares <= 100 && opts->order <= WEIR_ADMIT_LIFO && opts->target_ns >= 0 &&
	       opts->interval_ns >= 0;
}

int weir_admit_init(struct weir_admit *admit, const struct weir_admit_opts *opts)
{
	static const struct weir_admit_opts defaults;
	static const struct weir_admit_class whole;
	struct weir_limiter limiter;
	int r;

	if (!opts)
		opts = &defaults;
	if (!is_sound(opts))
		return -EINVAL;
	if (!weir__self)
		return -EDEADLK;
	r = weir_limiter_init(&limiter, &opts->limiter);
	if (r)
		return r;
	*admit = (struct weir_admit){
		.limiter_ = limiter,
		.home_ = weir__self,
		.order_ = opts->order,
		.target_ns_ = opts->target_ns ? opts->target_ns : TARGET_NS,
		.interval_ns_ = opts->interval_ns ? opts->interval_ns : INTERVAL_NS,
		.queue_max_ = opts->queue_max ? opts->queue_max : QUEUE_MAX,
		.count_ = opts->class_count ? opts->class_count : 1,
		.name_ = opts->name ? opts->name : "admit",
	};
	for (unsigned i = 0; i < admit->count_; i++)
		line_init(&admit->lines_[i], opts->class_count ? &opts->classes[i] : &whole,
			  admit->queue_max_);
	register_metrics(admit->metrics_);
	show_limit(admit, weir_limiter_limit(&admit->limiter_));
	return 0;
}

int weir_admit_fini(struct weir_admit *admit)
{
	if (admit->home_ != weir__self)
		return -EPROTO;
	if (admit->inflight_ || admit->waiting_)
		return -EBUSY;
	show_limit(admit, 0);
	admit->home_ = NULL;
	return 0;
}
