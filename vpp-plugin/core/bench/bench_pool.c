/* SPDX-License-Identifier: Apache-2.0 */
/* Time-stamp counter ticks per look-up in a /10 (or --slots N), both ways, in batches with prefetch, clients in random
   order; and per binding made. */
#include <fip64/pool_inline.h>
#include "ticks.h"
#include <stdio.h>
#include <stdlib.h>

enum
{
  BATCH = 256,
  AHEAD = 8,
  ROUNDS = 4000,
};

static uint32_t
rnd (void)
{
  static uint64_t x = 88172645463325252u;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return (uint32_t) (x >> 32);
}

static void
address (uint32_t c, uint8_t v6[16])
{
  memset (v6, 0, 16);
  fip64_put32 (v6, 0x20010db8);
  fip64_put32 (v6 + 4, c / 4);
  fip64_put32 (v6 + 12, c + 1);
}

static void
run (uint32_t n_slots, uint32_t n)
{
  struct fip64_pool_conf conf = { 0x64400000, 0x64400000 + n_slots - 1, 0x5eed, 0, 0 };
  const char *why;
  struct fip64_pool *p = fip64_pool_new (&conf, &why);
  if (!p)
    {
      fprintf (stderr, "%s\n", why);
      exit (1);
    }
  uint32_t *all = malloc (n * sizeof *all);
  if (!all)
    abort ();
  uint64_t made = ticks ();
  for (uint32_t c = 0; c < n; c++)
    {
      uint8_t v6[16];
      address (c, v6);
      struct fip64_pool_change ch;
      if (fip64_pool_bind (p, v6, 1, &ch) != FIP64_POOL_OK || ch.n_evicted)
	abort ();
      all[c] = fip64_hton32 (p->first + ch.slot);
    }
  made = ticks () - made;
  for (int k = 0; k < 100; k++)
    fip64_pool_expire (p, 1, 1, NULL, NULL); /* makes pages huge */

  static uint8_t v6[BATCH][16];
  static uint32_t v4[BATCH], home[BATCH];
  static uint64_t t6[ROUNDS], t4[ROUNDS];
  struct fip64_endpoint e;
  uint64_t sink = 0;
  for (uint32_t round = 0; round < ROUNDS; round++)
    {
      uint32_t now = 1 + round / 100;
      for (uint32_t k = 0; k < BATCH; k++)
	address (rnd () % n, v6[k]);
      uint64_t t0 = ticks ();
      for (uint32_t k = 0; k < BATCH + AHEAD; k++)
	{
	  if (k < BATCH)
	    {
	      home[k] = fip64_pool_home6 (p, v6[k]);
	      fip64_pool_prefetch6 (p, home[k]);
	    }
	  if (k >= AHEAD)
	    {
	      if (fip64_pool_find6_at (p, home[k - AHEAD], v6[k - AHEAD], now, &e) == FIP64_NO_SLOT)
		abort ();
	      sink += e.to4;
	    }
	}
      t6[round] = ticks () - t0;
      /* Others, or their lines would be in the cache. */
      for (uint32_t k = 0; k < BATCH; k++)
	v4[k] = all[rnd () % n];
      t0 = ticks ();
      for (uint32_t k = 0; k < BATCH + AHEAD; k++)
	{
	  if (k < BATCH)
	    fip64_pool_prefetch4 (p, v4[k]);
	  if (k >= AHEAD)
	    sink += fip64_pool_find4 (p, v4[k - AHEAD], now, &e) + e.to6;
	}
      t4[round] = ticks () - t0;
    }
  qsort (t6, ROUNDS, sizeof t6[0], by_value);
  qsort (t4, ROUNDS, sizeof t4[0], by_value);
  printf ("%8u clients of %u: find6 %6.1f (best %.1f), find4 %6.1f (best %.1f), bind %.0f ticks; %zu bytes a client%s\n", n,
	  n_slots, (double) t6[ROUNDS / 2] / BATCH, (double) t6[0] / BATCH, (double) t4[ROUNDS / 2] / BATCH,
	  (double) t4[0] / BATCH, (double) made / n, fip64_pool_bytes (p) / n, sink ? "" : "?");
  free (all);
  fip64_pool_free (p);
}

int
main (int argc, char **argv)
{
  static const uint32_t counts[] = { 1, 1000, 100000, 1000000 };
  uint32_t n_slots = argc > 2 ? (uint32_t) strtoul (argv[2], NULL, 0) : FIP64_POOL_MAX;
  for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++)
    if (counts[k] <= n_slots)
      run (n_slots, counts[k]);
  return 0;
}
