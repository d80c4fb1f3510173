/* SPDX-License-Identifier: MIT */
/*
 * spin.c - the decision of spin.h. The averages start at "long", so that a worker that
 * has just started, or was idle, sleeps until it has seen a reason not to.
 */
#include "core/spin.h"

#include "core/ensure.h"

void weir__spin_init(struct weir_spin *spin, int64_t max_ns)
{
	*spin = (struct weir_spin){
		.max_ns = max_ns < 0 ? 0 : max_ns,
		.gap_ns = WEIR__SPIN_GAP_MAX_NS,
		.backoff = 1,
	};
}

int64_t weir__spin_plan(const struct weir_spin *spin)
{
	if (!spin->max_ns || spin->gap_ns >= WEIR__SPIN_GAP_NS)
		return 0;
	if (spin->sources > WEIR__SPIN_SOURCES_MAX || spin->gaps_needed)
		return 0;
	return spin->max_ns;
}

void weir__spin_learn(struct weir_spin *spin, int64_t gap_ns, enum weir_spin_end end)
{
	if (gap_ns > WEIR__SPIN_GAP_MAX_NS)
		gap_ns = WEIR__SPIN_GAP_MAX_NS;
	spin->gap_ns += (gap_ns - spin->gap_ns) / 4;
	switch (end) {
	case WEIR_SPIN_HIT:
		spin->backoff = 1;
		break;
	case WEIR_SPIN_MISS:
		spin->gaps_needed = spin->backoff;
		if (spin->backoff < WEIR__SPIN_BACKOFF_MAX)
			spin->backoff *= 2;
		break;
	case WEIR_SPIN_NONE:
		if (gap_ns < WEIR__SPIN_GAP_NS && spin->gaps_needed)
			spin->gaps_needed--;
		break;
	}
}

void weir__spin_observe(struct weir_spin *spin, uint64_t completions, uint64_t *active)
{
	unsigned sources = (unsigned)__builtin_popcountll(*active);

	if (completions - spin->window_start >= WEIR__SPIN_WINDOW) {
		spin->sources = sources;
		spin->window_start = completions;
		*active = 0;
	} else if (sources > spin->sources) {
		spin->sources = sources;
	}
}
