/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: 8 bytes that make a pool, then operations of 3 bytes each, on the pool and on the simplest model of it: an
 * array of clients. After each operation both agree; aborts otherwise. Which address a client gets is the pool's
 * choice; who is evicted is not, but for those used in the same millisecond.
 */
#include <fip64/pool_inline.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define CHECK(x)                                                                                              \
  do                                                                                                          \
    if (!(x))                                                                                                 \
      {                                                                                                       \
	fprintf (stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                              \
	abort ();                                                                                             \
      }                                                                                                       \
  while (0)

enum
{
  CLIENTS = 96, /* of 8 /64s */
  FIRST = 0x64400001,
};

struct client
{
  uint32_t slot; /* or FIP64_NO_SLOT */
  uint32_t used;
  bool is_static;
};

static struct fip64_pool *pool;
static struct client clients[CLIENTS];
static uint32_t now, n_slots, timeout, cap;

static void
address (uint32_t c, uint8_t v6[16])
{
  memset (v6, 0, 16);
  fip64_put32 (v6, 0x20010db8);
  v6[7] = (uint8_t) (c % 8);
  v6[15] = (uint8_t) (c / 8 + 1);
}

static uint32_t
client_of (const uint8_t v6[16])
{
  uint32_t c = v6[7] + 8u * (v6[15] - 1u);
  uint8_t again[16];
  CHECK (c < CLIENTS);
  address (c, again);
  CHECK (memcmp (v6, again, 16) == 0);
  return c;
}

static bool
dynamic (uint32_t c)
{
  return clients[c].slot != FIP64_NO_SLOT && !clients[c].is_static;
}

static uint32_t
holder (uint32_t slot)
{
  for (uint32_t c = 0; c < CLIENTS; c++)
    if (clients[c].slot == slot)
      return c;
  return CLIENTS;
}

static uint32_t
count (uint32_t prefix, bool of_prefix)
{
  uint32_t n = 0;
  for (uint32_t c = 0; c < CLIENTS; c++)
    n += dynamic (c) && (!of_prefix || c % 8 == prefix);
  return n;
}

/* No binding (of the /64) is older than this one. */
static void
check_oldest (uint32_t oldest, bool of_prefix)
{
  for (uint32_t c = 0; c < CLIENTS; c++)
    if (dynamic (c) && (!of_prefix || c % 8 == oldest % 8))
      CHECK ((int32_t) (clients[c].used - clients[oldest].used) >= 0);
}

static void
gone (void *arg, const uint8_t v6[16], uint32_t slot)
{
  uint32_t c = client_of (v6);
  CHECK (dynamic (c) && clients[c].slot == slot && timeout && now - clients[c].used > timeout);
  clients[c].slot = FIP64_NO_SLOT;
  ++*(uint32_t *) arg;
}

static void
do_bind (uint32_t c)
{
  uint8_t v6[16];
  struct fip64_pool_change ch;
  address (c, v6);
  uint32_t statics = fip64_pool_count_static (pool);
  enum fip64_pool_result r = fip64_pool_bind (pool, v6, now, &ch);
  if (clients[c].slot != FIP64_NO_SLOT)
    {
      CHECK (r == FIP64_POOL_OK && ch.slot == clients[c].slot && !ch.made && !ch.n_evicted);
      clients[c].used = now;
      return;
    }
  if (statics == n_slots)
    {
      CHECK (r == FIP64_POOL_FULL && ch.slot == FIP64_NO_SLOT && !ch.made && !ch.n_evicted);
      return;
    }
  CHECK (r == FIP64_POOL_OK && ch.made && ch.slot < n_slots);
  uint32_t over = cap && count (c % 8, true) >= cap ? count (c % 8, true) - cap + 1 : 0, want = over < 2 ? over : 2;
  bool full = want == 0 && count (0, false) + statics == n_slots;
  CHECK (ch.n_evicted == (full ? 1 : want));
  for (uint32_t k = 0; k < ch.n_evicted; k++)
    {
      uint32_t e = client_of (ch.evicted[k].v6);
      CHECK (dynamic (e) && clients[e].slot == ch.evicted[k].slot && (full || e % 8 == c % 8));
      check_oldest (e, !full);
      clients[e].slot = FIP64_NO_SLOT;
    }
  CHECK (holder (ch.slot) == CLIENTS);
  clients[c] = (struct client){ ch.slot, now, false };
}

static void
do_bind_static (uint32_t c, uint32_t slot)
{
  uint8_t v6[16];
  struct fip64_pool_change ch;
  address (c, v6);
  enum fip64_pool_result r = fip64_pool_bind_static (pool, v6, fip64_hton32 (FIRST + slot), now, &ch);
  uint32_t other = slot < n_slots ? holder (slot) : CLIENTS;
  if (slot >= n_slots)
    CHECK (r == FIP64_POOL_BAD_ADDRESS);
  else if (other == c && clients[c].is_static)
    CHECK (r == FIP64_POOL_OK && !ch.made && !ch.n_evicted && ch.slot == slot);
  else if (other != CLIENTS && clients[other].is_static)
    CHECK (r == FIP64_POOL_ADDRESS_STATIC);
  else if (clients[c].slot != FIP64_NO_SLOT && clients[c].is_static)
    CHECK (r == FIP64_POOL_CLIENT_STATIC);
  else
    {
      uint32_t n = 0;
      CHECK (r == FIP64_POOL_OK && ch.made && ch.slot == slot);
      if (other != c)
	{
	  if (clients[c].slot != FIP64_NO_SLOT)
	    {
	      CHECK (client_of (ch.evicted[n].v6) == c && ch.evicted[n].slot == clients[c].slot);
	      n++;
	    }
	  if (other != CLIENTS)
	    {
	      CHECK (client_of (ch.evicted[n].v6) == other && ch.evicted[n].slot == slot);
	      clients[other].slot = FIP64_NO_SLOT;
	      n++;
	    }
	  clients[c] = (struct client){ slot, now, true };
	}
      clients[c].is_static = true;
      CHECK (ch.n_evicted == n);
      return;
    }
  CHECK (!ch.made && !ch.n_evicted);
}

static void
do_unbind (uint32_t c)
{
  uint8_t v6[16];
  struct fip64_pool_change ch;
  address (c, v6);
  enum fip64_pool_result r = fip64_pool_unbind (pool, v6, &ch);
  if (clients[c].slot == FIP64_NO_SLOT)
    {
      CHECK (r == FIP64_POOL_NOT_FOUND && !ch.n_evicted);
      return;
    }
  CHECK (r == FIP64_POOL_OK && ch.n_evicted == 1 && ch.evicted[0].slot == clients[c].slot
	 && ch.was_static == clients[c].is_static && client_of (ch.evicted[0].v6) == c);
  clients[c].slot = FIP64_NO_SLOT;
}

static void
check_endpoint (uint32_t c, const struct fip64_endpoint *e)
{
  uint8_t v6[16];
  struct fip64_endpoint want;
  address (c, v6);
  fip64_endpoint_init (&want, v6, fip64_hton32 (FIRST + clients[c].slot));
  CHECK (memcmp (e, &want, sizeof want) == 0);
}

static void
do_find (uint32_t c, bool by_v4)
{
  uint8_t v6[16];
  struct fip64_endpoint e;
  address (c, v6);
  uint32_t slot = clients[c].slot;
  if (by_v4 && slot == FIP64_NO_SLOT)
    return;
  uint32_t got = by_v4 ? fip64_pool_find4 (pool, fip64_hton32 (FIRST + slot), now, &e)
		       : fip64_pool_find6 (pool, v6, now, &e);
  CHECK (got == slot);
  if (got == FIP64_NO_SLOT)
    return;
  check_endpoint (c, &e);
  clients[c].used = now;
  uint32_t home = fip64_pool_home6 (pool, v6), seems = fip64_pool_peek6 (pool, home, v6);
  CHECK (fip64_pool_find6_peeked (pool, home, seems, v6, now, &e) == slot);
  check_endpoint (c, &e);
}

static void
do_expire (uint32_t max)
{
  uint32_t due = 0, told = 0;
  for (uint32_t c = 0; c < CLIENTS; c++)
    due += dynamic (c) && timeout && now - clients[c].used > timeout;
  CHECK (fip64_pool_expire (pool, now, max, gone, &told) == told);
  CHECK (told == (due < max ? due : max));
  /* Very old times are moved up, lest they come round. */
  for (uint32_t c = 0; c < CLIENTS; c++)
    if (dynamic (c) && max && !timeout && now - clients[c].used > 3u << 29)
      clients[c].used = now - (1u << 30);
}

/* Everything, with walks in steps. */
static void
check_all (uint32_t step)
{
  struct fip64_binding out[CLIENTS];
  uint32_t n = 0, statics = 0, cursor = 0, seen = 0, seen_static = 0, last = 0;
  for (uint32_t c = 0; c < CLIENTS; c++)
    {
      n += clients[c].slot != FIP64_NO_SLOT;
      statics += clients[c].slot != FIP64_NO_SLOT && clients[c].is_static;
    }
  CHECK (fip64_pool_count (pool) == n && fip64_pool_count_static (pool) == statics);
  for (int only_static = 0; only_static < 2; only_static++, cursor = 0, last = 0)
    while (cursor < n_slots)
      {
	uint32_t got = fip64_pool_walk (pool, &cursor, step, only_static, out);
	CHECK (got <= step && (got == step || cursor == n_slots));
	for (uint32_t k = 0; k < got; k++)
	  {
	    uint32_t c = client_of (out[k].v6), at = fip64_hton32 (out[k].v4) - FIRST;
	    CHECK (clients[c].slot == at && clients[c].is_static == out[k].is_static && at >= last);
	    if (!out[k].is_static)
	      CHECK (clients[c].used == out[k].last_used);
	    last = at + 1;
	    *(only_static ? &seen_static : &seen) += 1;
	  }
      }
  CHECK (seen == n && seen_static == statics);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  if (size < 8 || size > 8 + 3 * 2000)
    return 0;
  static const uint32_t timeouts[] = { 0, 10, 1000, 1u << 30 };
  n_slots = data[0] < 200 ? 1u + data[0] % 40 : 1u + data[0] * 40u;
  timeout = timeouts[data[1] & 3];
  cap = data[2] % 8;
  now = (uint32_t) data[3] << 24 | data[4];
  struct fip64_pool_conf conf = { FIRST, FIRST + n_slots - 1, data[5] * 0x123456789abcdefu, timeout, cap };
  const char *why;
  pool = fip64_pool_new (&conf, &why);
  CHECK (pool && !why);
  for (uint32_t c = 0; c < CLIENTS; c++)
    clients[c] = (struct client){ FIP64_NO_SLOT, 0, false };
  for (size_t at = 8; at + 3 <= size; at += 3)
    {
      uint32_t c = data[at + 1] % CLIENTS, arg = data[at + 2];
      switch (data[at] % 16)
	{
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	  do_bind (c);
	  break;
	case 5:
	case 6:
	  do_find (c, false);
	  break;
	case 7:
	case 8:
	  do_find (c, true);
	  break;
	case 9:
	  do_unbind (c);
	  break;
	case 10:
	  do_bind_static (c, arg % (n_slots + 1));
	  break;
	case 11:
	  do_expire (arg);
	  break;
	case 12:
	  timeout = timeouts[c & 3];
	  cap = arg % 8;
	  fip64_pool_tune (pool, timeout, cap);
	  break;
	case 13:
	  now += arg;
	  break;
	case 14:
	  if (arg & 1)
	    {
	      /* A moment, or weeks. */
	      for (uint32_t steps = arg & 2 ? (arg >> 2) % 16 : 1; steps; steps--)
		{
		  now += arg & 2 ? 1u << 28 : 1u << (arg >> 3) % 29;
		  do_expire (CLIENTS);
		}
	    }
	  else
	    now++;
	  break;
	case 15:
	  check_all (arg % CLIENTS + 1);
	  break;
	}
    }
  check_all (7);
  for (uint32_t c = 0; c < CLIENTS; c++)
    do_find (c, false);
  CHECK (fip64_pool_bytes (pool) > 0);
  fip64_pool_free (pool);
  return 0;
}
