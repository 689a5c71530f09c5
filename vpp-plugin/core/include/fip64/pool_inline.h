/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups in a pool without lock, inlined into the caller's packet loop.
 *
 * In a batch: home = fip64_pool_home6 () and fip64_pool_prefetch6 () some packets ahead, then fip64_pool_find6_at ();
 * better, where there are many clients, with fip64_pool_peek6 () in between and fip64_pool_find6_peeked ().
 * A client that find6 does not know goes to fip64_pool_bind, which looks again under the lock.
 */
#ifndef FIP64_POOL_INLINE_H
#define FIP64_POOL_INLINE_H

#include <fip64/pool.h>

/* Steps along a chain after which a reader gives up. Chains are shorter, but while one changes a reader may get into
   another. */
#define FIP64_POOL_MAX_CHAIN 32
/* Attempts to read a slot while it is written. That takes some nanoseconds, unless the writer loses its processor. */
#define FIP64_POOL_MAX_TRIES 64

FIP64_INLINE uint64_t
fip64_load64 (const uint8_t *p)
{
  uint64_t v;
  memcpy (&v, p, sizeof v);
  return v;
}

/* The product of two numbers of 64 bits, its upper half XORed into its lower one. */
FIP64_INLINE uint64_t
fip64_mulfold (uint64_t a, uint64_t b)
{
  __extension__ typedef unsigned __int128 u128;
  u128 m = (u128) a * b;
  return (uint64_t) m ^ (uint64_t) (m >> 64);
}

/* Depends on a secret seed, so that nobody can choose addresses that collide. The constants are arbitrary odd
   numbers. */
FIP64_INLINE uint64_t
fip64_pool_hash (uint64_t seed, const uint8_t v6[16])
{
  uint64_t other = seed * 0xd6e8feb86659fd93u + 0x5851f42d4c957f2du;
  uint64_t h = fip64_mulfold (fip64_load64 (v6) ^ seed, fip64_load64 (v6 + 8) ^ other);
  return fip64_mulfold (h ^ seed, 0x9e3779b97f4a7c15u);
}

/* The preferred slot of a hash: some bits choose the bucket, others the slot in it. It may be behind the last
   address if the last bucket is not complete; such slots exist, but always stay empty. */
FIP64_INLINE uint32_t
fip64_pool_home (const struct fip64_pool *p, uint64_t hash)
{
  return (uint32_t) ((hash >> 32) * p->n_buckets >> 32) * 4 + (uint32_t) (hash & 3);
}

FIP64_INLINE uint32_t
fip64_pool_home6 (const struct fip64_pool *p, const uint8_t v6[16])
{
  return fip64_pool_home (p, fip64_pool_hash (p->hash_seed, v6));
}

FIP64_INLINE void
fip64_pool_prefetch6 (const struct fip64_pool *p, uint32_t home)
{
  __builtin_prefetch (p->slots + home);
}

/* v4 in network order; it need not be in the pool. */
FIP64_INLINE void
fip64_pool_prefetch4 (const struct fip64_pool *p, uint32_t v4)
{
  uint32_t slot = fip64_hton32 (v4) - p->first;
  __builtin_prefetch (p->slots + (slot < p->n_slots ? slot : 0));
}

/* 1: the slot is the client's (*e filled), 0: it is not, -1: it was being written. */
FIP64_INLINE int
fip64_slot_read6 (const struct fip64_pool *p, uint32_t slot, uint64_t hi, uint64_t lo, struct fip64_endpoint *e)
{
  const struct fip64_slot *s = p->slots + slot;
  uint32_t seq = __atomic_load_n (&s->seq, __ATOMIC_ACQUIRE);
  uint64_t a = __atomic_load_n (&s->v6[0], __ATOMIC_RELAXED);
  uint64_t b = __atomic_load_n (&s->v6[1], __ATOMIC_RELAXED);
  uint32_t sums = __atomic_load_n (&s->sums, __ATOMIC_RELAXED);
  if (a != hi || b != lo)
    return 0;
  __atomic_thread_fence (__ATOMIC_ACQUIRE);
  if (fip64_unlikely ((seq & 1) || __atomic_load_n (&s->seq, __ATOMIC_RELAXED) != seq))
    return -1;
  memcpy (e->v6, &a, 8);
  memcpy (e->v6 + 8, &b, 8);
  e->v4 = fip64_hton32 (p->first + slot);
  e->to4 = (uint16_t) sums;
  e->to6 = (uint16_t) (sums >> 16);
  return 1;
}

FIP64_INLINE uint32_t
fip64_slot_used (const struct fip64_pool *p, uint32_t slot, uint32_t now)
{
  uint32_t *t = &p->slots[slot].last_used;
  /* Mostly it was used in this millisecond already: then the cache line is not written. */
  if (__atomic_load_n (t, __ATOMIC_RELAXED) != now)
    __atomic_store_n (t, now, __ATOMIC_RELAXED);
  return slot;
}

/* Searches the chain of the client's home bucket, when it is not in the bucket itself. */
uint32_t fip64_pool_find6_chain (const struct fip64_pool *p, uint32_t home, const uint8_t v6[16], uint32_t now,
				 struct fip64_endpoint *e);

FIP64_INLINE uint32_t
fip64_pool_find6_at (const struct fip64_pool *p, uint32_t home, const uint8_t v6[16], uint32_t now,
		     struct fip64_endpoint *e)
{
  uint64_t hi = fip64_load64 (v6), lo = fip64_load64 (v6 + 8);
  if (fip64_unlikely ((hi | lo) == 0))
    return FIP64_NO_SLOT;
  /* With k == 1 second: it is in the same cache line as k == 0. */
  for (uint32_t k = 0; k < 4; k++)
    if (fip64_likely (fip64_slot_read6 (p, home ^ k, hi, lo, e) > 0))
      return fip64_slot_used (p, home ^ k, now);
  return fip64_pool_find6_chain (p, home, v6, now, e);
}

/* Between prefetch and find: returns in which of the two prefetched slots the client seems to be. If in none,
   prefetches what the find reads next and returns FIP64_NO_SLOT. */
FIP64_INLINE uint32_t
fip64_pool_peek6 (const struct fip64_pool *p, uint32_t home, const uint8_t v6[16])
{
  uint64_t lo = fip64_load64 (v6 + 8);
  if (fip64_likely (__atomic_load_n (&p->slots[home].v6[1], __ATOMIC_RELAXED) == lo))
    return home;
  if (__atomic_load_n (&p->slots[home ^ 1].v6[1], __ATOMIC_RELAXED) == lo)
    return home ^ 1;
  __builtin_prefetch (p->slots + (home ^ 2));
  __builtin_prefetch (p->heads + (home >> 2));
  return FIP64_NO_SLOT;
}

/* As fip64_pool_find6_at, after fip64_pool_peek6 returned `slot`. */
FIP64_INLINE uint32_t
fip64_pool_find6_peeked (const struct fip64_pool *p, uint32_t home, uint32_t slot, const uint8_t v6[16], uint32_t now,
			 struct fip64_endpoint *e)
{
  uint64_t hi = fip64_load64 (v6), lo = fip64_load64 (v6 + 8);
  if (fip64_likely (slot != FIP64_NO_SLOT && (hi | lo) != 0 && fip64_slot_read6 (p, slot, hi, lo, e) > 0))
    return fip64_slot_used (p, slot, now);
  return fip64_pool_find6_at (p, home, v6, now, e);
}

FIP64_INLINE uint32_t
fip64_pool_find6 (const struct fip64_pool *p, const uint8_t v6[16], uint32_t now, struct fip64_endpoint *e)
{
  return fip64_pool_find6_at (p, fip64_pool_home6 (p, v6), v6, now, e);
}

/* v4 in network order; it need not be in the pool. */
FIP64_INLINE uint32_t
fip64_pool_find4 (const struct fip64_pool *p, uint32_t v4, uint32_t now, struct fip64_endpoint *e)
{
  uint32_t slot = fip64_hton32 (v4) - p->first;
  if (fip64_unlikely (slot >= p->n_slots))
    return FIP64_NO_SLOT;
  const struct fip64_slot *s = p->slots + slot;
  for (uint32_t tries = 0; tries < FIP64_POOL_MAX_TRIES; tries++)
    {
      uint32_t seq = __atomic_load_n (&s->seq, __ATOMIC_ACQUIRE);
      uint64_t a = __atomic_load_n (&s->v6[0], __ATOMIC_RELAXED);
      uint64_t b = __atomic_load_n (&s->v6[1], __ATOMIC_RELAXED);
      uint32_t sums = __atomic_load_n (&s->sums, __ATOMIC_RELAXED);
      __atomic_thread_fence (__ATOMIC_ACQUIRE);
      if (fip64_unlikely ((seq & 1) || __atomic_load_n (&s->seq, __ATOMIC_RELAXED) != seq))
	continue;
      if (fip64_unlikely ((a | b) == 0))
	return FIP64_NO_SLOT;
      memcpy (e->v6, &a, 8);
      memcpy (e->v6 + 8, &b, 8);
      e->v4 = v4;
      e->to4 = (uint16_t) sums;
      e->to6 = (uint16_t) (sums >> 16);
      return fip64_slot_used (p, slot, now);
    }
  return FIP64_NO_SLOT;
}

#endif
