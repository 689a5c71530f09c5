/* SPDX-License-Identifier: Apache-2.0 */
/* Readers, binders and removers on one small pool at once, best under ThreadSanitizer: whatever a reader finds belongs
   together, and at the end the pool agrees with itself. Argument: rounds of each thread. */
#include <fip64/pool_inline.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum
{
  CLIENTS = 600,
  SLOTS = 400, /* too few: evictions all the time */
  THREADS = 6,
};

#define FIRST 0x64400001u

static struct fip64_pool *pool;
static unsigned long rounds = 200000;
static uint32_t clock_ms, wrong, found;

static void
address (uint32_t c, uint8_t v6[16])
{
  memset (v6, 0, 16);
  fip64_put32 (v6, 0x20010db8);
  fip64_put32 (v6 + 4, c % 50);
  fip64_put32 (v6 + 12, c + 1);
}

static void
check (const struct fip64_endpoint *e, uint32_t slot)
{
  struct fip64_endpoint want;
  fip64_endpoint_init (&want, e->v6, fip64_hton32 (FIRST + slot));
  uint8_t v6[16];
  address (fip64_be32 (e->v6 + 12) - 1, v6);
  if (memcmp (e, &want, sizeof want) || memcmp (v6, e->v6, 16))
    __atomic_add_fetch (&wrong, 1, __ATOMIC_RELAXED);
}

static void *
work (void *arg)
{
  uint64_t x = 88172645463325252u * (1 + 2 * (uint64_t) (uintptr_t) arg);
  struct fip64_endpoint e;
  struct fip64_binding out[64];
  uint8_t v6[16];
  int role = (int) (uintptr_t) arg;
  uint32_t cursor = 0, hits = 0;
  for (unsigned long n = 0; n < rounds; n++)
    {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      uint32_t r = (uint32_t) (x >> 32), c = r % CLIENTS, slot;
      uint32_t now = __atomic_add_fetch (&clock_ms, n % 64 == 0, __ATOMIC_RELAXED);
      address (c, v6);
      /* What workers do. */
      uint32_t home = fip64_pool_home6 (pool, v6);
      if (role < 3)
	slot = fip64_pool_find6_at (pool, home, v6, now, &e);
      else
	slot = fip64_pool_find6_peeked (pool, home, fip64_pool_peek6 (pool, home, v6), v6, now, &e);
      if (slot != FIP64_NO_SLOT)
	{
	  if (memcmp (e.v6, v6, 16))
	    __atomic_add_fetch (&wrong, 1, __ATOMIC_RELAXED);
	  check (&e, slot);
	  hits++;
	}
      else if (role % 2)
	fip64_pool_bind (pool, v6, now, NULL);
      slot = fip64_pool_find4 (pool, fip64_hton32 (FIRST + (r >> 12) % SLOTS), now, &e);
      if (slot != FIP64_NO_SLOT)
	check (&e, slot);
      /* And the main thread. */
      if (role == 1 && r % 7 == 0)
	fip64_pool_unbind (pool, v6, NULL);
      if (role == 3 && r % 31 == 0)
	fip64_pool_bind_static (pool, v6, fip64_hton32 (FIRST + (r >> 8) % 40), now, NULL);
      if (role == 5 && r % 64 == 0)
	fip64_pool_expire (pool, now, 10, NULL, NULL);
      if (role == 5 && r % 5000 == 1)
	{
	  fip64_pool_tune (pool, 100 + r % 100, r % 20);
	  fip64_pool_bytes (pool);
	}
      if (role == 4 && r % 64 == 0 && fip64_pool_walk (pool, &cursor, 64, r & 64, out) == 0)
	cursor = 0;
    }
  __atomic_add_fetch (&found, hits, __ATOMIC_RELAXED);
  return NULL;
}

int
main (int argc, char **argv)
{
  struct fip64_pool_conf conf = { FIRST, FIRST + SLOTS - 1, 42, 150, 20 };
  const char *why;
  pthread_t t[THREADS];
  if (argc > 1)
    rounds = strtoul (argv[1], NULL, 0);
  pool = fip64_pool_new (&conf, &why);
  if (!pool)
    return 2;
  for (uintptr_t k = 0; k < THREADS; k++)
    if (pthread_create (&t[k], NULL, work, (void *) k))
      return 2;
  for (int k = 0; k < THREADS; k++)
    pthread_join (t[k], NULL);

  static struct fip64_binding out[SLOTS + 1];
  uint32_t cursor = 0, n = fip64_pool_walk (pool, &cursor, SLOTS + 1, 0, out), by_client = 0;
  uint8_t v6[16];
  struct fip64_endpoint e;
  for (uint32_t c = 0; c < CLIENTS; c++)
    {
      address (c, v6);
      by_client += fip64_pool_find6 (pool, v6, 0, &e) != FIP64_NO_SLOT;
    }
  printf ("%u found, %u bound, %u wrong\n", found, n, wrong);
  int bad = wrong || n != by_client || n != fip64_pool_count (pool) || !found;
  fip64_pool_free (pool);
  return bad;
}
