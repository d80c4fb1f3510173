/* SPDX-License-Identifier: MIT */
/*
 * siphash.h - a hash that who chooses the keys cannot make collide, since it is keyed: SipHash-c-d,
 * Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012. Tables use 1-3;
 * 2-4 is the one with published vectors.
 */
#ifndef WEIR_FUTURES_SIPHASH_H
#define WEIR_FUTURES_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct weir_siphash {
	uint64_t v[4];
};

static inline uint64_t weir__siphash_rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void weir__siphash_rounds(struct weir_siphash *state, int count)
{
	uint64_t *v = state->v;

	while (count--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = weir__siphash_rotate(v[1], 13) ^ v[0];
		v[3] = weir__siphash_rotate(v[3], 16) ^ v[2];
		v[0] = weir__siphash_rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = weir__siphash_rotate(v[1], 17) ^ v[2];
		v[3] = weir__siphash_rotate(v[3], 21) ^ v[0];
		v[2] = weir__siphash_rotate(v[2], 32);
	}
}

static inline void weir__siphash_word(struct weir_siphash *state, uint64_t word, int c)
{
	state->v[3] ^= word;
	weir__siphash_rounds(state, c);
	state->v[0] ^= word;
}

/* On a little-endian machine the published value; on another one a hash as good. */
static inline uint64_t weir__siphash(const uint64_t key[2], const void *data, size_t size, int c,
				     int d)
{
	struct weir_siphash state = { {
		key[0] ^ UINT64_C(0x736f6d6570736575),
		key[1] ^ UINT64_C(0x646f72616e646f6d),
		key[0] ^ UINT64_C(0x6c7967656e657261),
		key[1] ^ UINT64_C(0x7465646279746573),
	} };
	const unsigned char *at = data;
	size_t left = size;
	uint64_t word;

	for (; left >= 8; left -= 8, at += 8) {
		memcpy(&word, at, 8);
		weir__siphash_word(&state, word, c);
	}
	word = (uint64_t)size << 56;
	while (left--)
		word |= (uint64_t)at[left] << 8 * left;
	weir__siphash_word(&state, word, c);
	state.v[2] ^= 0xff;
	weir__siphash_rounds(&state, d);
	return state.v[0] ^ state.v[1] ^ state.v[2] ^ state.v[3];
}

#endif
