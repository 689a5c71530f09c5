/* SPDX-License-Identifier: Apache-2.0 */
/* A set of small numbers that finds its next member quickly, however sparse: each level tells which words of the level
   below are not empty. */
#ifndef FIP64_BITS_H
#define FIP64_BITS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define FIP64_BITS_LEVELS 4 /* 64^4 numbers */
#define FIP64_BITS_NONE (~0u)

struct fip64_bits
{
  uint64_t *words[FIP64_BITS_LEVELS];
  uint32_t n_words[FIP64_BITS_LEVELS];
};

static inline bool
fip64_bits_get (const struct fip64_bits *b, uint32_t i)
{
  return b->words[0][i / 64] >> (i % 64) & 1;
}

static inline void
fip64_bits_set (struct fip64_bits *b, uint32_t i)
{
  for (int l = 0; l < FIP64_BITS_LEVELS; l++, i /= 64)
    {
      uint64_t *w = b->words[l] + i / 64, was = *w;
      *w |= (uint64_t) 1 << (i % 64);
      if (was)
	return;
    }
}

static inline void
fip64_bits_clear (struct fip64_bits *b, uint32_t i)
{
  for (int l = 0; l < FIP64_BITS_LEVELS; l++, i /= 64)
    {
      uint64_t *w = b->words[l] + i / 64;
      *w &= ~((uint64_t) 1 << (i % 64));
      if (*w)
	return;
    }
}

/* The smallest member that is at least `from`, or FIP64_BITS_NONE. */
static inline uint32_t
fip64_bits_next (const struct fip64_bits *b, uint32_t from)
{
  for (uint32_t l = 0; l < FIP64_BITS_LEVELS; l++)
    {
      uint32_t w = from / 64;
      if (w >= b->n_words[l])
	return FIP64_BITS_NONE;
      uint64_t rest = b->words[l][w] >> (from % 64);
      if (!rest)
	{
	  from = w + 1; /* of the level above */
	  continue;
	}
      uint32_t i = from + (uint32_t) __builtin_ctzll (rest);
      while (l--)
	i = i * 64 + (uint32_t) __builtin_ctzll (b->words[l][i]);
      return i;
    }
  return FIP64_BITS_NONE;
}

static inline void
fip64_bits_free (struct fip64_bits *b)
{
  for (int l = 0; l < FIP64_BITS_LEVELS; l++)
    free (b->words[l]);
}

/* For numbers below n: none of them, or all. False: no memory; fip64_bits_free() is still due. */
static inline bool
fip64_bits_init (struct fip64_bits *b, uint32_t n, bool full)
{
  for (int l = 0; l < FIP64_BITS_LEVELS; l++)
    {
      uint32_t words = n / 64 + (n % 64 != 0);
      b->n_words[l] = words;
      b->words[l] = calloc (words, sizeof (uint64_t));
      if (!b->words[l])
	return false;
      if (full)
	for (uint32_t w = 0; w < words; w++)
	  b->words[l][w] = w < n / 64 ? ~(uint64_t) 0 : ((uint64_t) 1 << n % 64) - 1;
      n = words;
    }
  return true;
}

#endif
