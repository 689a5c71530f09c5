/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of bindings, case by case. Any sequence of operations: fuzz/fuzz_pool.c. */
#include <fip64/pool_inline.h>
#include "../src/bits.h"
#include "expect.h"
#include <stdlib.h>

#define FIRST 0x64400001u
#define V4(slot) fip64_hton32 (FIRST + (slot))

/* A client of a /64. */
static const uint8_t *
client (uint32_t prefix, uint32_t host)
{
  static uint8_t ring[8][16];
  static unsigned at;
  uint8_t *a = ring[at++ % 8];
  memset (a, 0, 16);
  fip64_put32 (a, 0x20010db8);
  fip64_put32 (a + 4, prefix);
  fip64_put32 (a + 12, host);
  return a;
}

static struct fip64_pool *
make (uint32_t n, uint32_t timeout, uint32_t cap)
{
  struct fip64_pool_conf c = { FIRST, FIRST + n - 1, 0x5eed, timeout, cap };
  const char *why = "";
  struct fip64_pool *p = fip64_pool_new (&c, &why);
  if (!p || why)
    {
      fprintf (stderr, "no pool: %s\n", why);
      exit (1);
    }
  return p;
}

static uint32_t
bind_at (struct fip64_pool *p, const uint8_t *v6, uint32_t now)
{
  struct fip64_pool_change ch;
  return fip64_pool_bind (p, v6, now, &ch) == FIP64_POOL_OK ? ch.slot : FIP64_NO_SLOT;
}

static uint32_t
find (struct fip64_pool *p, const uint8_t *v6, uint32_t now)
{
  struct fip64_endpoint e;
  return fip64_pool_find6 (p, v6, now, &e);
}

/* MidoNet's case: a third client of two addresses evicts the one not used for longest; the other survives. */
static void
test_third_client_evicts_the_oldest (void)
{
  struct fip64_pool *p = make (2, 0, 0);
  struct fip64_pool_change ch;
  uint8_t a[16], b[16], c[16];
  memcpy (a, client (1, 1), 16);
  memcpy (b, client (2, 1), 16);
  memcpy (c, client (3, 1), 16);
  uint32_t sa = bind_at (p, a, 100), sb = bind_at (p, b, 200);
  EXPECT (sa < 2 && sb < 2 && sa != sb);
  EXPECT (find (p, a, 300) == sa); /* now b is the oldest, and the pool was not told */
  EXPECT (fip64_pool_bind (p, c, 400, &ch) == FIP64_POOL_OK && ch.made && ch.slot == sb);
  EXPECT (ch.n_evicted == 1 && ch.evicted[0].slot == sb && memcmp (ch.evicted[0].v6, b, 16) == 0);
  EXPECT (find (p, b, 400) == FIP64_NO_SLOT && find (p, a, 400) == sa && find (p, c, 400) == sb);
  /* Traffic to a client counts as use of its binding, too. */
  struct fip64_endpoint e;
  EXPECT (fip64_pool_find4 (p, V4 (sa), 500, &e) == sa && memcmp (e.v6, a, 16) == 0 && e.v4 == V4 (sa));
  EXPECT (bind_at (p, b, 600) == sb && find (p, c, 600) == FIP64_NO_SLOT && find (p, a, 600) == sa);
  EXPECT (fip64_pool_count (p) == 2 && fip64_pool_count_static (p) == 0);
  fip64_pool_free (p);
}

static void
test_bound_again_is_the_same (void)
{
  struct fip64_pool *p = make (64, 0, 0);
  struct fip64_pool_change ch;
  uint32_t s = bind_at (p, client (1, 1), 1);
  EXPECT (fip64_pool_bind (p, client (1, 1), 2, &ch) == FIP64_POOL_OK && ch.slot == s && !ch.made && !ch.n_evicted);
  EXPECT (fip64_pool_unbind (p, client (1, 1), &ch) == FIP64_POOL_OK && ch.n_evicted == 1 && !ch.was_static);
  EXPECT (fip64_pool_unbind (p, client (1, 1), &ch) == FIP64_POOL_NOT_FOUND && ch.n_evicted == 0);
  EXPECT (bind_at (p, client (1, 1), 3) == s); /* the hash says so */
  EXPECT (fip64_pool_bind (p, client (1, 2), 3, NULL) == FIP64_POOL_OK && fip64_pool_count (p) == 2);
  fip64_pool_free (p);
}

/* The same seed gives the same addresses in a new process, mostly even if clients come in another order; another seed
   gives others. */
static void
test_addresses_after_a_restart (void)
{
  enum { N = 10000 };
  static const struct { uint64_t seed; uint32_t step; } runs[] = { { 1, 1 }, { 1, 1 }, { 1, 7919 }, { 99, 1 } };
  uint32_t same[4] = { 0 };
  struct fip64_pool *p[4];
  const char *why;
  for (int k = 0; k < 4; k++)
    {
      struct fip64_pool_conf c = { FIRST, FIRST + 65535, runs[k].seed, 0, 0 };
      p[k] = fip64_pool_new (&c, &why);
      for (uint32_t n = 0; n < N; n++)
	bind_at (p[k], client (n * runs[k].step % N, 1), n);
      for (uint32_t n = 0; n < N; n++)
	same[k] += find (p[k], client (n, 1), 0) == find (p[0], client (n, 1), 0);
    }
  EXPECT (same[1] == N && same[2] > N * 8 / 10 && same[3] < 100);
  for (int k = 0; k < 4; k++)
    fip64_pool_free (p[k]);
}

static void
test_every_address_is_used (void)
{
  static const uint32_t sizes[] = { 1, 2, 3, 4, 5, 63, 64, 65, 1000, 4097 };
  for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
    {
      uint32_t n = sizes[k];
      struct fip64_pool *p = make (n, 0, 0);
      struct fip64_pool_change ch;
      uint8_t *used = calloc (n, 1);
      for (uint32_t c = 0; c < n; c++)
	{
	  EXPECT (fip64_pool_bind (p, client (c, 7), c, &ch) == FIP64_POOL_OK && ch.made && !ch.n_evicted);
	  EXPECT (ch.slot < n && !used[ch.slot]);
	  used[ch.slot < n ? ch.slot : 0] = 1;
	}
      for (uint32_t c = 0; c < n; c++)
	EXPECT (find (p, client (c, 7), c) != FIP64_NO_SLOT);
      /* Full: each new one takes the place of the oldest. */
      for (uint32_t c = 0; c < n; c++)
	{
	  EXPECT (fip64_pool_bind (p, client (n + c, 7), n + c, &ch) == FIP64_POOL_OK && ch.n_evicted == 1);
	  EXPECT (memcmp (ch.evicted[0].v6, client (c, 7), 16) == 0);
	}
      EXPECT (fip64_pool_count (p) == n);
      free (used);
      fip64_pool_free (p);
    }
}

static void
test_refusals (void)
{
  struct fip64_pool_conf c = { 10, 9, 0, 0, 0 };
  struct fip64_pool_change ch;
  struct fip64_endpoint e;
  const char *why = NULL;
  EXPECT (!fip64_pool_new (&c, &why) && why && strstr (why, "before its first"));
  c = (struct fip64_pool_conf){ 0, FIP64_POOL_MAX, 0, 0, 0 };
  EXPECT (!fip64_pool_new (&c, &why) && why && strstr (why, "4194304"));
  c = (struct fip64_pool_conf){ 0, ~0u, 0, 0, 0 };
  EXPECT (!fip64_pool_new (&c, &why) && why);
  c = (struct fip64_pool_conf){ ~0u, ~0u, 0, ~0u, 0 };
  struct fip64_pool *p = fip64_pool_new (&c, &why);
  EXPECT (p && !why);
  fip64_pool_free (p);
  fip64_pool_free (NULL);

  p = make (4, 0, 0);
  static const uint8_t nobody[16], loopback[16] = { [15] = 1 }, multicast[16] = { 0xff, 2, [15] = 1 };
  const uint8_t *bad[] = { nobody, loopback, multicast };
  for (int k = 0; k < 3; k++)
    {
      EXPECT (fip64_pool_bind (p, bad[k], 0, &ch) == FIP64_POOL_BAD_ADDRESS && ch.slot == FIP64_NO_SLOT);
      EXPECT (fip64_pool_bind_static (p, bad[k], V4 (0), 0, &ch) == FIP64_POOL_BAD_ADDRESS);
      EXPECT (fip64_pool_unbind (p, bad[k], &ch) == FIP64_POOL_NOT_FOUND);
      EXPECT (find (p, bad[k], 0) == FIP64_NO_SLOT);
    }
  EXPECT (fip64_pool_bind_static (p, client (1, 1), V4 (4), 0, &ch) == FIP64_POOL_BAD_ADDRESS);
  EXPECT (fip64_pool_bind_static (p, client (1, 1), fip64_hton32 (FIRST - 1), 0, &ch) == FIP64_POOL_BAD_ADDRESS);
  EXPECT (fip64_pool_find4 (p, V4 (4), 0, &e) == FIP64_NO_SLOT);
  EXPECT (fip64_pool_find4 (p, fip64_hton32 (FIRST - 1), 0, &e) == FIP64_NO_SLOT);
  EXPECT (fip64_pool_find4 (p, V4 (0), 0, &e) == FIP64_NO_SLOT); /* free */
  for (unsigned r = 0; r <= FIP64_POOL_NO_MEMORY + 1u; r++)
    EXPECT (fip64_pool_result_text ((enum fip64_pool_result) r)[0]);
  fip64_pool_free (p);
}

static void
test_cap_of_a_64 (void)
{
  struct fip64_pool *p = make (100, 0, 3);
  struct fip64_pool_change ch;
  EXPECT (bind_at (p, client (9, 1), 0) != FIP64_NO_SLOT); /* older than all, of another /64 */
  for (uint32_t n = 1; n <= 3; n++)
    bind_at (p, client (1, n), 10 * n);
  find (p, client (1, 1), 100);
  EXPECT (fip64_pool_bind (p, client (1, 4), 110, &ch) == FIP64_POOL_OK && ch.n_evicted == 1);
  EXPECT (memcmp (ch.evicted[0].v6, client (1, 2), 16) == 0);
  EXPECT (fip64_pool_count (p) == 4 && find (p, client (9, 1), 0) != FIP64_NO_SLOT);
  /* Static ones do not count. */
  EXPECT (fip64_pool_bind_static (p, client (1, 50), V4 (99), 110, &ch) == FIP64_POOL_OK && ch.made);
  EXPECT (fip64_pool_bind (p, client (1, 5), 120, &ch) == FIP64_POOL_OK && ch.n_evicted == 1);
  EXPECT (memcmp (ch.evicted[0].v6, client (1, 3), 16) == 0);
  /* A lower cap: two go for each that comes. */
  fip64_pool_tune (p, 0, 1);
  EXPECT (fip64_pool_bind (p, client (1, 6), 130, &ch) == FIP64_POOL_OK && ch.n_evicted == 2);
  EXPECT (fip64_pool_bind (p, client (1, 7), 140, &ch) == FIP64_POOL_OK && ch.n_evicted == 2);
  EXPECT (fip64_pool_bind (p, client (1, 8), 150, &ch) == FIP64_POOL_OK && ch.n_evicted == 1);
  fip64_pool_free (p);
}

struct gone
{
  uint32_t n;
  uint8_t last[16];
};

static void
on_gone (void *arg, const uint8_t v6[16], uint32_t slot)
{
  struct gone *g = arg;
  (void) slot;
  g->n++;
  memcpy (g->last, v6, 16);
}

static void
test_idle_timeout (void)
{
  /* Also around the clock's turn, and from the middle. */
  static const uint32_t starts[] = { 0, 0u - 1500, 0x80000000u - 1500 };
  for (int k = 0; k < 3; k++)
    {
      uint32_t t = starts[k];
      struct fip64_pool *p = make (8, 1000, 0);
      struct gone g = { 0 };
      fip64_pool_bind_static (p, client (3, 1), V4 (7), t, NULL);
      bind_at (p, client (1, 1), t);
      bind_at (p, client (2, 1), t + 500);
      EXPECT (fip64_pool_expire (p, t + 1000, 100, on_gone, &g) == 0);
      EXPECT (fip64_pool_expire (p, t + 1001, 100, on_gone, &g) == 1 && g.n == 1);
      EXPECT (memcmp (g.last, client (1, 1), 16) == 0);
      find (p, client (2, 1), t + 1400); /* used, so it does not expire */
      EXPECT (fip64_pool_expire (p, t + 2400, 100, on_gone, &g) == 0);
      EXPECT (fip64_pool_expire (p, t + 2401, 0, on_gone, &g) == 0);
      EXPECT (fip64_pool_expire (p, t + 2401, 1, NULL, NULL) == 1);
      EXPECT (fip64_pool_expire (p, t + 90000, 100, on_gone, &g) == 0 && fip64_pool_count (p) == 1);
      fip64_pool_free (p);
    }
}

/* Without a timeout last-use times get as old as can be. After 140 days one that nobody moved up would look as if it were
   nine days ahead. */
static void
test_old_times_do_not_come_back (void)
{
  struct fip64_pool *p = make (2, 0, 0);
  struct fip64_pool_change ch;
  uint32_t now = 77;
  bind_at (p, client (1, 1), now);
  bind_at (p, client (2, 1), now);
  for (int day = 0; day < 140; day += 2)
    {
      now += 2 * 86400 * 1000u;
      EXPECT (fip64_pool_expire (p, now, 100, NULL, NULL) == 0);
      find (p, client (1, 1), now);
    }
  struct fip64_binding out[2];
  uint32_t cursor = 0;
  EXPECT (fip64_pool_walk (p, &cursor, 2, 0, out) == 2);
  for (int k = 0; k < 2; k++)
    EXPECT (now - out[k].last_used < 1u << 31);
  EXPECT (fip64_pool_bind (p, client (3, 1), now + 1, &ch) == FIP64_POOL_OK && ch.n_evicted == 1);
  EXPECT (memcmp (ch.evicted[0].v6, client (2, 1), 16) == 0);
  fip64_pool_free (p);
}

/* A client that is used all the time is never the oldest of its /64, though evictions elsewhere move it on in the order of
   all clients for longer than last-use times can be compared. */
static void
test_the_order_within_a_64_gets_old_too (void)
{
  for (uint32_t days = 0; days <= 7; days += 7)
    {
      struct fip64_pool *p = make (48, days * 86400 * 1000, 2);
      struct fip64_pool_change ch;
      uint32_t now = 77, others = 2;
      bind_at (p, client (1, 1), now);
      for (int hour = 0; hour < 25 * 24; hour++)
	{
	  now += 3600 * 1000u;
	  find (p, client (1, 1), now);
	  EXPECT (fip64_pool_expire (p, now, 100, NULL, NULL) == 0);
	  bind_at (p, hour == 590 ? client (1, 2) : client (others++, 1), now);
	}
      EXPECT (fip64_pool_bind (p, client (1, 3), now + 1, &ch) == FIP64_POOL_OK && ch.n_evicted == 1);
      EXPECT (memcmp (ch.evicted[0].v6, client (1, 2), 16) == 0);
      EXPECT (find (p, client (1, 1), now + 4) != FIP64_NO_SLOT);
      fip64_pool_free (p);
    }
}

static void
test_clock_goes_back_a_little (void)
{
  struct fip64_pool *p = make (4, 1000, 0);
  bind_at (p, client (1, 1), 5000);
  find (p, client (1, 1), 4990);
  EXPECT (fip64_pool_expire (p, 4985, 10, NULL, NULL) == 0);
  EXPECT (fip64_pool_expire (p, 7000, 10, NULL, NULL) == 1);
  fip64_pool_free (p);
}

static void
test_static (void)
{
  struct fip64_pool *p = make (4, 1000, 1);
  struct fip64_pool_change ch;
  uint32_t s = bind_at (p, client (1, 1), 1);
  /* The address that it has already; again; another. */
  EXPECT (fip64_pool_bind_static (p, client (1, 1), V4 (s), 2, &ch) == FIP64_POOL_OK && ch.made && !ch.n_evicted);
  EXPECT (fip64_pool_bind_static (p, client (1, 1), V4 (s), 2, &ch) == FIP64_POOL_OK && !ch.made && ch.slot == s);
  EXPECT (fip64_pool_bind_static (p, client (1, 1), V4 ((s + 1) % 4), 2, &ch) == FIP64_POOL_CLIENT_STATIC);
  EXPECT (fip64_pool_bind_static (p, client (2, 1), V4 (s), 2, &ch) == FIP64_POOL_ADDRESS_STATIC);
  EXPECT (fip64_pool_bind (p, client (1, 1), 3, &ch) == FIP64_POOL_OK && !ch.made && ch.slot == s);
  /* A dynamic client moves, and another is evicted. */
  uint32_t a = bind_at (p, client (3, 1), 4), b = bind_at (p, client (4, 1), 4);
  EXPECT (fip64_pool_bind_static (p, client (3, 1), V4 (b), 5, &ch) == FIP64_POOL_OK && ch.n_evicted == 2);
  EXPECT (memcmp (ch.evicted[0].v6, client (3, 1), 16) == 0 && ch.evicted[0].slot == a);
  EXPECT (memcmp (ch.evicted[1].v6, client (4, 1), 16) == 0 && ch.evicted[1].slot == b);
  EXPECT (find (p, client (3, 1), 5) == b && find (p, client (4, 1), 5) == FIP64_NO_SLOT);
  /* They neither expire nor are evicted; when all are static the pool is full. */
  EXPECT (fip64_pool_expire (p, 1u << 20, 100, NULL, NULL) == 0);
  for (uint32_t n = 0, host = 10; n < 4; n++)
    fip64_pool_bind_static (p, client (5, host++), V4 (n), 6, NULL);
  EXPECT (fip64_pool_count_static (p) == 4 && fip64_pool_count (p) == 4);
  EXPECT (fip64_pool_bind (p, client (6, 1), 7, &ch) == FIP64_POOL_FULL && ch.slot == FIP64_NO_SLOT);
  EXPECT (fip64_pool_unbind (p, client (3, 1), &ch) == FIP64_POOL_OK && ch.was_static && ch.n_evicted == 1);
  EXPECT (bind_at (p, client (6, 1), 7) == b);
  fip64_pool_free (p);
}

static void
test_walk (void)
{
  struct fip64_pool *p = make (FIP64_POOL_MAX, 0, 0);
  static struct fip64_binding out[2000];
  uint32_t cursor = 0, n = 0, calls = 0, last = 0;
  for (uint32_t c = 0; c < 1000; c++)
    bind_at (p, client (c, 1), c);
  for (uint32_t c = 0; c < 10; c++)
    fip64_pool_bind_static (p, client (c, 2), V4 (c * 400000), 0, NULL);
  for (uint32_t got; (got = fip64_pool_walk (p, &cursor, 7, 0, out)) != 0; n += got, calls++)
    for (uint32_t k = 0; k < got; k++)
      {
	uint32_t at = fip64_hton32 (out[k].v4) - FIRST;
	EXPECT (at >= last && find (p, out[k].v6, out[k].last_used) == at);
	last = at + 1;
      }
  EXPECT (n == 1010 && calls == 145 && cursor == p->n_slots);
  EXPECT (fip64_pool_walk (p, &cursor, 7, 0, out) == 0);
  cursor = 0;
  EXPECT (fip64_pool_walk (p, &cursor, 2000, 1, out) == 10 && cursor == p->n_slots && out[9].is_static);
  EXPECT (out[9].v4 == V4 (9 * 400000));
  /* 32 bytes a binding, and the pages they are scattered over; not the 350 MB that are reserved. */
  EXPECT (fip64_pool_bytes (p) > 1000 * 32 && fip64_pool_bytes (p) < 24u << 20);
  fip64_pool_free (p);
}

/* Nearly full: long chains, far addresses, and everybody is found. */
static void
test_displaced_clients (void)
{
  enum { N = 20000 };
  struct fip64_pool *p = make (N, 0, 0);
  for (uint32_t c = 0; c < N; c++)
    bind_at (p, client (c, 1), 0);
  uint32_t found = 0, home = 0;
  for (uint32_t c = 0; c < N; c++)
    {
      uint32_t s = find (p, client (c, 1), 0);
      found += s != FIP64_NO_SLOT;
      home += s / 4 == fip64_pool_home6 (p, client (c, 1)) / 4;
    }
  EXPECT (found == N && home > N / 2);
  for (uint32_t c = 0; c < N; c += 2)
    EXPECT (fip64_pool_unbind (p, client (c, 1), NULL) == FIP64_POOL_OK);
  for (uint32_t c = 0; c < N; c++)
    EXPECT ((find (p, client (c, 1), 0) != FIP64_NO_SLOT) == (c % 2 == 1));
  EXPECT (fip64_pool_count (p) == N / 2);
  fip64_pool_free (p);
}

/* Addresses as they occur in one network do not crowd together. */
static void
test_hash_spreads (void)
{
  enum { BUCKETS = 4096 };
  static uint32_t at[BUCKETS];
  struct fip64_pool *p = make (4 * BUCKETS, 0, 0);
  for (int kind = 0; kind < 3; kind++)
    {
      uint32_t most = 0, pref[4] = { 0 };
      memset (at, 0, sizeof at);
      for (uint32_t n = 0; n < BUCKETS; n++)
	{
	  const uint8_t *a = kind == 0 ? client (1, n) : kind == 1 ? client (n, 1) : client (n << 16, n << 20);
	  uint32_t home = fip64_pool_home6 (p, a);
	  most = ++at[home / 4] > most ? at[home / 4] : most;
	  pref[home % 4]++;
	}
      EXPECT (most < 10); /* one a bucket on the average */
      for (int k = 0; k < 4; k++)
	EXPECT (pref[k] > BUCKETS / 4 - 200 && pref[k] < BUCKETS / 4 + 200);
    }
  fip64_pool_free (p);
}

static void
test_bits (void)
{
  static const uint32_t sizes[] = { 1, 63, 64, 65, 4096, 4097, 1u << 18, (1u << 18) + 1, 1u << 22 };
  for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
    {
      uint32_t n = sizes[k];
      struct fip64_bits b;
      EXPECT (fip64_bits_init (&b, n, true));
      EXPECT (fip64_bits_next (&b, 0) == 0 && fip64_bits_next (&b, n - 1) == n - 1
	      && fip64_bits_next (&b, n) == FIP64_BITS_NONE);
      for (uint32_t i = 0; i < n; i++)
	fip64_bits_clear (&b, i);
      EXPECT (fip64_bits_next (&b, 0) == FIP64_BITS_NONE);
      fip64_bits_set (&b, n - 1);
      EXPECT (fip64_bits_next (&b, 0) == n - 1 && fip64_bits_get (&b, n - 1));
      fip64_bits_set (&b, n / 2);
      EXPECT (fip64_bits_next (&b, 0) == n / 2 && fip64_bits_next (&b, n / 2 + 1) == (n > 2 ? n - 1 : FIP64_BITS_NONE));
      fip64_bits_free (&b);
    }
}

int
main (void)
{
  test_bits ();
  test_hash_spreads ();
  test_third_client_evicts_the_oldest ();
  test_bound_again_is_the_same ();
  test_addresses_after_a_restart ();
  test_every_address_is_used ();
  test_refusals ();
  test_cap_of_a_64 ();
  test_idle_timeout ();
  test_old_times_do_not_come_back ();
  test_the_order_within_a_64_gets_old_too ();
  test_clock_goes_back_a_little ();
  test_static ();
  test_walk ();
  test_displaced_clients ();
  if (failures)
    fprintf (stderr, "%d failures\n", failures);
  return failures != 0;
}
