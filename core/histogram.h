/* SPDX-License-Identifier: MIT */
/*
 * histogram.h - the inside of struct weir_histogram, for those who read its buckets.
 */
#ifndef WEIR_CORE_HISTOGRAM_H
#define WEIR_CORE_HISTOGRAM_H

#include "core/weir_histogram.h"

#define WEIR__HISTOGRAM_BITS 5 /* 32 buckets per power of two */
#define WEIR__HISTOGRAM_BUCKETS ((64 - WEIR__HISTOGRAM_BITS + 1) << WEIR__HISTOGRAM_BITS)

/* One thread writes, by relaxed stores; any thread reads. */
struct weir_histogram {
	uint64_t sum;
	uint64_t min; /* UINT64_MAX: none yet */
	uint64_t max;
	uint64_t counts[WEIR__HISTOGRAM_BUCKETS];
};

/* The bucket of value. Values below 64 have a bucket each. */
static inline unsigned weir__histogram_index(uint64_t value)
{
	unsigned shift;

	if (value < 1u << WEIR__HISTOGRAM_BITS)
		return (unsigned)value;
	shift = 63 - WEIR__HISTOGRAM_BITS - (unsigned)__builtin_clzll(value);
	return (shift << WEIR__HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

/* The greatest value of a bucket. */
static inline uint64_t weir__histogram_top(unsigned index)
{
	unsigned shift = index >> WEIR__HISTOGRAM_BITS;
	uint64_t digits = index & ((1u << WEIR__HISTOGRAM_BITS) - 1);

	if (shift == 0)
		return digits;
	digits |= 1u << WEIR__HISTOGRAM_BITS;
	return (digits << (shift - 1)) + ((UINT64_C(1) << (shift - 1)) - 1);
}

#endif
