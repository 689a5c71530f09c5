/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes and removes bindings, with the pool's lock held; fip64/pool_inline.h reads them without the lock.
 *
 * Which binding is evicted: a heap orders the bindings by the time of their last use. Readers write that time into
 * the slot only, so the time in the heap (the key) may be too early, but is never too late. Therefore the binding at
 * the top of the heap is the least recently used one if its key equals the time in its slot; if not, its key is
 * updated, it moves down, and the next one at the top is looked at.
 */
#define _GNU_SOURCE /* mincore */
#include <fip64/pool_inline.h>

#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bits.h"

/* Times of last use, in milliseconds before now: one further back than TOO_OLD is replaced by OLDEST, since times
   that are more than 2^31 apart cannot be compared modulo 2^32. */
#define OLDEST (1u << 30)
#define TOO_OLD (3u << 29)
/* How many bindings fip64_pool_expire() and fip64_pool_walk() look at before they release the lock. */
#define BATCH 64
/* How many bindings an eviction looks at. If all of these have been used since their keys were updated, the one
   among them that was used first is evicted. */
#define MOST_LOOKS 1024

enum
{
  LRU,	  /* all dynamic bindings */
  GROUP,  /* those of one client /64 */
  N_HEAPS
};

struct node
{
  uint32_t key; /* time of last use when it was looked at */
  uint32_t slot;
};

struct heap
{
  struct node *nodes;
  uint32_t n, room;
};

struct group
{
  uint64_t prefix; /* the client /64, as in memory */
  struct heap heap;
  uint32_t next_free; /* the next unused group */
};

/* Of a slot with a dynamic binding: what only functions that hold the lock read. */
struct slot_info
{
  uint32_t at[N_HEAPS]; /* its positions in the heaps */
  uint32_t group;
};

struct fip64_pool_locked
{
  uint32_t lock;
  uint32_t idle_timeout, max_per_64;
  uint32_t n, n_static;
  struct fip64_bits vacant, fixed; /* addresses without binding; with a static one */
  struct heap lru;
  uint32_t n_groups, free_groups; /* groups that were ever used; the first one that is unused now, or ~0 */
  uint32_t index_mask;
  size_t group_bytes; /* memory of the groups' heaps */
  size_t huge;	      /* bytes of the slots in huge pages; only fip64_pool_expire() uses it, without the lock */

  /* Address space for as many as there are pool addresses, as for slots and heads: so no array has to be moved while
     others wait for the lock. */
  uint8_t *memory;
  size_t memory_size;
  struct slot_info *infos;
  struct group *groups;
  uint32_t *index; /* open addressing, at most half full: group + 1 by prefix */
};

/* -- lock ------------------------------------------------------------------------------------------------------- */

static void
relax (void)
{
#if defined(__x86_64__)
  __builtin_ia32_pause ();
#elif defined(__aarch64__)
  __asm__ volatile ("yield");
#endif
}

static void
acquire (struct fip64_pool *p)
{
  uint32_t spins = 0;
  while (__atomic_exchange_n (&p->locked->lock, 1, __ATOMIC_ACQUIRE))
    while (__atomic_load_n (&p->locked->lock, __ATOMIC_RELAXED))
      if (++spins % 1024)
	relax ();
      else
	sched_yield (); /* the thread that holds the lock may need this processor */
}

static void
release (struct fip64_pool *p)
{
  __atomic_store_n (&p->locked->lock, 0, __ATOMIC_RELEASE);
}

/* -- heaps ------------------------------------------------------------------------------------------------------ */

static bool
before (uint32_t a, uint32_t b)
{
  return (int32_t) (a - b) < 0;
}

static uint32_t
last_used (const struct fip64_pool *p, uint32_t slot)
{
  return __atomic_load_n (&p->slots[slot].last_used, __ATOMIC_RELAXED);
}

static void
heap_put (struct fip64_pool_locked *k, int which, struct heap *h, uint32_t i, struct node x)
{
  h->nodes[i] = x;
  k->infos[x.slot].at[which] = i;
}

/* Puts x at position i, or above or below it where the order demands. */
static void
heap_place (struct fip64_pool_locked *k, int which, struct heap *h, uint32_t i, struct node x)
{
  while (i && before (x.key, h->nodes[(i - 1) / 2].key))
    {
      heap_put (k, which, h, i, h->nodes[(i - 1) / 2]);
      i = (i - 1) / 2;
    }
  for (uint32_t child; (child = 2 * i + 1) < h->n; i = child)
    {
      if (child + 1 < h->n && before (h->nodes[child + 1].key, h->nodes[child].key))
	child++;
      if (!before (h->nodes[child].key, x.key))
	break;
      heap_put (k, which, h, i, h->nodes[child]);
    }
  heap_put (k, which, h, i, x);
}

static void
heap_add (struct fip64_pool_locked *k, int which, struct heap *h, uint32_t slot, uint32_t key)
{
  h->n++;
  heap_place (k, which, h, h->n - 1, (struct node){ key, slot });
}

static void
heap_remove (struct fip64_pool_locked *k, int which, struct heap *h, uint32_t slot)
{
  uint32_t i = k->infos[slot].at[which];
  h->n--;
  if (i != h->n)
    heap_place (k, which, h, i, h->nodes[h->n]);
}

/* Updates a slot's key in both its heaps: left alone in one of them it would become too old to be compared. */
static void
set_key (struct fip64_pool *p, uint32_t slot, uint32_t used)
{
  struct fip64_pool_locked *k = p->locked;
  const struct slot_info *info = k->infos + slot;
  heap_place (k, LRU, &k->lru, info->at[LRU], (struct node){ used, slot });
  heap_place (k, GROUP, &k->groups[info->group].heap, info->at[GROUP], (struct node){ used, slot });
}

/* The least recently used slot of a heap: see the beginning of this file. */
static uint32_t
heap_oldest (struct fip64_pool *p, const struct heap *h)
{
  struct node oldest = { 0, FIP64_NO_SLOT };
  for (int looks = 0; looks < MOST_LOOKS; looks++)
    {
      uint32_t slot = h->nodes[0].slot, used = last_used (p, slot);
      if (!before (h->nodes[0].key, used))
	return slot;
      if (oldest.slot == FIP64_NO_SLOT || before (used, oldest.key))
	oldest = (struct node){ used, slot };
      set_key (p, slot, used);
    }
  return oldest.slot;
}

/* -- client /64s ------------------------------------------------------------------------------------------------ */

static uint32_t
prefix_home (const struct fip64_pool *p, uint64_t prefix)
{
  return (uint32_t) fip64_mulfold (prefix ^ p->hash_seed, 0x9e3779b97f4a7c15u) & p->locked->index_mask;
}

/* The position of a prefix in the index, or the free one where it would be put. */
static uint32_t
index_find (const struct fip64_pool *p, uint64_t prefix)
{
  const struct fip64_pool_locked *k = p->locked;
  uint32_t i = prefix_home (p, prefix);
  while (k->index[i] && k->groups[k->index[i] - 1].prefix != prefix)
    i = (i + 1) & k->index_mask;
  return i;
}

static struct group *
group_find (struct fip64_pool *p, uint64_t prefix)
{
  struct fip64_pool_locked *k = p->locked;
  uint32_t at = k->index[index_find (p, prefix)];
  return at ? k->groups + at - 1 : NULL;
}

/* Finds or makes the group of a prefix, with room for one more binding in its heap. NULL: out of memory. */
static struct group *
group_get (struct fip64_pool *p, uint64_t prefix)
{
  struct fip64_pool_locked *k = p->locked;
  struct group *g = group_find (p, prefix);
  struct heap *h = g ? &g->heap : NULL;
  if (h && h->n < h->room)
    return g;
  uint32_t room = h ? h->room * 2 : 1;
  struct node *nodes = realloc (h ? h->nodes : NULL, room * sizeof *nodes);
  if (!nodes)
    return NULL;
  if (!g)
    {
      uint32_t i = k->free_groups;
      if (i == ~0u)
	i = k->n_groups++;
      else
	k->free_groups = k->groups[i].next_free;
      g = k->groups + i;
      *g = (struct group){ .prefix = prefix };
      k->index[index_find (p, prefix)] = i + 1;
      h = &g->heap;
    }
  k->group_bytes += (room - h->room) * sizeof *nodes;
  h->nodes = nodes;
  h->room = room;
  return g;
}

static void
group_drop_if_empty (struct fip64_pool *p, struct group *g)
{
  struct fip64_pool_locked *k = p->locked;
  if (g->heap.n)
    return;
  /* Entries behind the gap move into it if they may, since searches stop at the first free position. */
  uint32_t gap = index_find (p, g->prefix);
  for (uint32_t i = (gap + 1) & k->index_mask; k->index[i]; i = (i + 1) & k->index_mask)
    {
      uint32_t home = prefix_home (p, k->groups[k->index[i] - 1].prefix);
      if (((i - home) & k->index_mask) >= ((i - gap) & k->index_mask))
	{
	  k->index[gap] = k->index[i];
	  gap = i;
	}
    }
  k->index[gap] = 0;
  k->group_bytes -= g->heap.room * sizeof (struct node);
  free (g->heap.nodes);
  g->heap = (struct heap){ 0 };
  g->next_free = k->free_groups;
  k->free_groups = (uint32_t) (g - k->groups);
}

/* -- slots ------------------------------------------------------------------------------------------------------ */

static void
slot_address (const struct fip64_pool *p, uint32_t slot, uint8_t v6[16])
{
  memcpy (v6, p->slots[slot].v6, 16); /* only the thread with the lock writes slots */
}

static void
slot_write (struct fip64_pool *p, uint32_t slot, const uint8_t v6[16], uint32_t now)
{
  static const uint8_t nobody[16];
  struct fip64_slot *s = p->slots + slot;
  struct fip64_endpoint e = { 0 };
  if (v6)
    fip64_endpoint_init (&e, v6, fip64_hton32 (p->first + slot));
  else
    v6 = nobody;
  uint32_t seq = __atomic_load_n (&s->seq, __ATOMIC_RELAXED);
  __atomic_store_n (&s->seq, seq + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence (__ATOMIC_RELEASE);
  __atomic_store_n (&s->v6[0], fip64_load64 (v6), __ATOMIC_RELAXED);
  __atomic_store_n (&s->v6[1], fip64_load64 (v6 + 8), __ATOMIC_RELAXED);
  __atomic_store_n (&s->sums, e.to4 | (uint32_t) e.to6 << 16, __ATOMIC_RELAXED);
  __atomic_store_n (&s->last_used, now, __ATOMIC_RELAXED);
  __atomic_store_n (&s->seq, seq + 2, __ATOMIC_RELEASE);
}

/* The slot of a client, or FIP64_NO_SLOT. The lock is held. */
static uint32_t
slot_of (const struct fip64_pool *p, uint32_t home, const uint8_t v6[16])
{
  for (uint32_t k = 0; k < 4; k++)
    if (memcmp (p->slots[home ^ k].v6, v6, 16) == 0)
      return home ^ k;
  for (uint32_t next = p->heads[home / 4]; next; next = p->slots[next - 1].next)
    if (memcmp (p->slots[next - 1].v6, v6, 16) == 0)
      return next - 1;
  return FIP64_NO_SLOT;
}

uint32_t
fip64_pool_find6_chain (const struct fip64_pool *p, uint32_t home, const uint8_t v6[16], uint32_t now,
			struct fip64_endpoint *e)
{
  uint64_t hi = fip64_load64 (v6), lo = fip64_load64 (v6 + 8);
  uint32_t next = __atomic_load_n (p->heads + home / 4, __ATOMIC_ACQUIRE);
  for (int steps = 0; next && steps < FIP64_POOL_MAX_CHAIN; steps++)
    {
      if (fip64_slot_read6 (p, next - 1, hi, lo, e) > 0)
	return fip64_slot_used (p, next - 1, now);
      next = __atomic_load_n (&p->slots[next - 1].next, __ATOMIC_ACQUIRE);
    }
  return FIP64_NO_SLOT;
}

/* An address without binding: in the client's home bucket, else the next one behind it, else FIP64_NO_SLOT. */
static uint32_t
vacant_slot (const struct fip64_pool *p, uint32_t home)
{
  const struct fip64_bits *vacant = &p->locked->vacant;
  for (uint32_t k = 0; k < 4; k++)
    if ((home ^ k) < p->n_slots && fip64_bits_get (vacant, home ^ k))
      return home ^ k;
  uint32_t slot = fip64_bits_next (vacant, home);
  return slot != FIP64_BITS_NONE ? slot : fip64_bits_next (vacant, 0);
}

/* -- bindings --------------------------------------------------------------------------------------------------- */

static void
count (uint32_t *counter, int by)
{
  __atomic_store_n (counter, *counter + (uint32_t) by, __ATOMIC_RELAXED);
}

/* Adds a slot to the heaps; the group g has room for it. */
static void
heaps_add (struct fip64_pool *p, uint32_t slot, struct group *g)
{
  struct fip64_pool_locked *k = p->locked;
  uint32_t key = last_used (p, slot);
  k->infos[slot].group = (uint32_t) (g - k->groups);
  heap_add (k, LRU, &k->lru, slot, key);
  heap_add (k, GROUP, &g->heap, slot, key);
}

static void
heaps_remove (struct fip64_pool *p, uint32_t slot)
{
  struct fip64_pool_locked *k = p->locked;
  struct group *g = k->groups + k->infos[slot].group;
  heap_remove (k, LRU, &k->lru, slot);
  heap_remove (k, GROUP, &g->heap, slot);
  group_drop_if_empty (p, g);
}

/* Gives a vacant slot to a client. */
static void
occupy (struct fip64_pool *p, uint32_t slot, uint32_t home, const uint8_t v6[16], uint32_t now)
{
  fip64_bits_clear (&p->locked->vacant, slot);
  count (&p->locked->n, 1);
  slot_write (p, slot, v6, now);
  if (slot / 4 != home / 4)
    {
      __atomic_store_n (&p->slots[slot].next, p->heads[home / 4], __ATOMIC_RELAXED);
      __atomic_store_n (p->heads + home / 4, slot + 1, __ATOMIC_RELEASE);
    }
}

/* Removes a binding, static or not, and records it in *change. */
static void
vacate (struct fip64_pool *p, uint32_t slot, struct fip64_pool_change *change)
{
  struct fip64_pool_locked *k = p->locked;
  uint8_t v6[16];
  slot_address (p, slot, v6);
  uint32_t home = fip64_pool_home6 (p, v6);
  if (slot / 4 != home / 4)
    {
      uint32_t *link = p->heads + home / 4;
      while (*link != slot + 1)
	link = &p->slots[*link - 1].next;
      __atomic_store_n (link, p->slots[slot].next, __ATOMIC_RELEASE);
      __atomic_store_n (&p->slots[slot].next, 0, __ATOMIC_RELAXED);
    }
  if (fip64_bits_get (&k->fixed, slot))
    {
      fip64_bits_clear (&k->fixed, slot);
      count (&k->n_static, -1);
    }
  else
    heaps_remove (p, slot);
  slot_write (p, slot, NULL, 0);
  fip64_bits_set (&k->vacant, slot);
  count (&k->n, -1);
  memcpy (change->evicted[change->n_evicted].v6, v6, 16);
  change->evicted[change->n_evicted++].slot = slot;
}

static bool
possible_client (const uint8_t v6[16])
{
  uint64_t hi = fip64_load64 (v6);
  bool none_or_loopback = hi == 0 && fip64_be32 (v6 + 8) == 0 && fip64_be32 (v6 + 12) <= 1;
  return v6[0] != 0xff && !none_or_loopback;
}

static enum fip64_pool_result
bind_dynamic (struct fip64_pool *p, const uint8_t v6[16], uint32_t now, struct fip64_pool_change *change)
{
  struct fip64_pool_locked *k = p->locked;
  uint32_t home = fip64_pool_home6 (p, v6);
  uint32_t slot = slot_of (p, home, v6);
  if (slot != FIP64_NO_SLOT)
    {
      change->slot = fip64_slot_used (p, slot, now);
      return FIP64_POOL_OK;
    }
  uint64_t prefix = fip64_load64 (v6);
  for (struct group *g; k->max_per_64 && change->n_evicted < 2 && (g = group_find (p, prefix))
			&& g->heap.n >= k->max_per_64;)
    vacate (p, heap_oldest (p, &g->heap), change);
  slot = vacant_slot (p, home);
  if (slot == FIP64_NO_SLOT)
    {
      if (k->lru.n == 0)
	return FIP64_POOL_FULL;
      slot = heap_oldest (p, &k->lru);
      vacate (p, slot, change);
    }
  struct group *g = group_get (p, prefix);
  if (!g)
    return FIP64_POOL_NO_MEMORY;
  occupy (p, slot, home, v6, now);
  heaps_add (p, slot, g);
  change->slot = slot;
  change->made = 1;
  return FIP64_POOL_OK;
}

static enum fip64_pool_result
bind_static (struct fip64_pool *p, const uint8_t v6[16], uint32_t slot, uint32_t now, struct fip64_pool_change *change)
{
  struct fip64_pool_locked *k = p->locked;
  uint32_t home = fip64_pool_home6 (p, v6);
  uint32_t own = slot_of (p, home, v6);
  if (own == slot && fip64_bits_get (&k->fixed, slot))
    {
      change->slot = slot;
      return FIP64_POOL_OK;
    }
  if (own != slot && fip64_bits_get (&k->fixed, slot))
    return FIP64_POOL_ADDRESS_STATIC;
  if (own != FIP64_NO_SLOT && fip64_bits_get (&k->fixed, own))
    return FIP64_POOL_CLIENT_STATIC;
  if (own == slot)
    heaps_remove (p, slot);
  else
    {
      if (own != FIP64_NO_SLOT)
	vacate (p, own, change);
      if (!fip64_bits_get (&k->vacant, slot))
	vacate (p, slot, change);
      occupy (p, slot, home, v6, now);
    }
  fip64_bits_set (&k->fixed, slot);
  count (&k->n_static, 1);
  change->slot = slot;
  change->made = 1;
  return FIP64_POOL_OK;
}

static void
no_change (struct fip64_pool_change *change)
{
  memset (change, 0, sizeof *change);
  change->slot = FIP64_NO_SLOT;
}

enum fip64_pool_result
fip64_pool_bind (struct fip64_pool *p, const uint8_t v6[16], uint32_t now, struct fip64_pool_change *change)
{
  struct fip64_pool_change unwanted;
  change = change ? change : &unwanted;
  no_change (change);
  if (!possible_client (v6))
    return FIP64_POOL_BAD_ADDRESS;
  acquire (p);
  enum fip64_pool_result result = bind_dynamic (p, v6, now, change);
  release (p);
  return result;
}

enum fip64_pool_result
fip64_pool_bind_static (struct fip64_pool *p, const uint8_t v6[16], uint32_t v4, uint32_t now,
			struct fip64_pool_change *change)
{
  struct fip64_pool_change unwanted;
  change = change ? change : &unwanted;
  no_change (change);
  uint32_t slot = fip64_hton32 (v4) - p->first;
  if (slot >= p->n_slots || !possible_client (v6))
    return FIP64_POOL_BAD_ADDRESS;
  acquire (p);
  enum fip64_pool_result result = bind_static (p, v6, slot, now, change);
  release (p);
  return result;
}

enum fip64_pool_result
fip64_pool_unbind (struct fip64_pool *p, const uint8_t v6[16], struct fip64_pool_change *change)
{
  struct fip64_pool_change unwanted;
  change = change ? change : &unwanted;
  no_change (change);
  if (!possible_client (v6))
    return FIP64_POOL_NOT_FOUND;
  acquire (p);
  uint32_t slot = slot_of (p, fip64_pool_home6 (p, v6), v6);
  if (slot != FIP64_NO_SLOT)
    {
      change->was_static = fip64_bits_get (&p->locked->fixed, slot);
      vacate (p, slot, change);
    }
  release (p);
  return slot != FIP64_NO_SLOT ? FIP64_POOL_OK : FIP64_POOL_NOT_FOUND;
}

/* -- huge pages -------------------------------------------------------------------------------------------------- */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#define HUGE_PAGE (2u << 20)

/* Look-ups read random slots, and a large pool has more pages of 4 KB than a TLB has entries. Once most of these
   pages are used (two clients in each on average), they are made huge pages, some in each call; so a pool with few
   clients stays small. Where the kernel refuses huge pages, nothing changes. */
static void
use_huge_pages (struct fip64_pool *p)
{
  struct fip64_pool_locked *k = p->locked;
  size_t size = p->n_slots * sizeof *p->slots, page = (size_t) sysconf (_SC_PAGESIZE);
  if (size < 4 * HUGE_PAGE || k->huge >= size || fip64_pool_count (p) < p->n_slots / 64)
    return;
  uint8_t *start = (uint8_t *) p->slots + k->huge;
  if (k->huge == 0)
    start -= (uintptr_t) start % page;
  size_t piece = 16 * HUGE_PAGE - (uintptr_t) start % HUGE_PAGE, left = (size_t) ((uint8_t *) p->slots + size - start);
  piece = piece < left ? piece : left;
  if (madvise (start, piece, MADV_HUGEPAGE) == 0)
    (void) madvise (start, piece, MADV_COLLAPSE);
  k->huge = (size_t) (start + piece - (uint8_t *) p->slots);
}

/* -- time ------------------------------------------------------------------------------------------------------- */

struct expiry
{
  struct fip64_binding out[BATCH];
  uint32_t n;
  bool done; /* no other binding can have been idle for too long */
};

/* Looks at up to `looks` bindings, those with the earliest keys first. */
static void
expire_some (struct fip64_pool *p, uint32_t now, uint32_t looks, struct expiry *x)
{
  struct fip64_pool_locked *k = p->locked;
  uint32_t limit = k->idle_timeout ? k->idle_timeout : TOO_OLD;
  for (x->n = 0; looks--;)
    {
      struct node first = k->lru.n ? k->lru.nodes[0] : (struct node){ now, 0 };
      x->done = before (now, first.key) || now - first.key <= limit;
      if (x->done)
	return;
      uint32_t used = last_used (p, first.slot);
      if (before (now, used) || now - used <= limit)
	;
      else if (k->idle_timeout)
	{
	  struct fip64_pool_change change = { 0 };
	  vacate (p, first.slot, &change);
	  memcpy (x->out[x->n].v6, change.evicted[0].v6, 16);
	  x->out[x->n++].v4 = first.slot;
	  continue;
	}
      else
	{
	  /* If a reader uses it at this moment, that use is lost; the binding was not used for more than twelve
	     days. */
	  used = now - OLDEST;
	  __atomic_store_n (&p->slots[first.slot].last_used, used, __ATOMIC_RELAXED);
	}
      set_key (p, first.slot, used);
    }
}

uint32_t
fip64_pool_expire (struct fip64_pool *p, uint32_t now, uint32_t max, fip64_pool_gone *gone, void *arg)
{
  struct expiry x = { .done = false };
  uint32_t gone_n = 0;
  use_huge_pages (p);
  uint64_t looks = (uint64_t) max + 65536;
  while (!x.done && gone_n < max && looks)
    {
      uint32_t some = max - gone_n < BATCH ? max - gone_n : BATCH;
      some = looks < some ? (uint32_t) looks : some;
      looks -= some;
      acquire (p);
      expire_some (p, now, some, &x);
      release (p);
      for (uint32_t i = 0; gone && i < x.n; i++)
	gone (arg, x.out[i].v6, x.out[i].v4);
      gone_n += x.n;
    }
  return gone_n;
}

static uint32_t
allowed_timeout (uint32_t timeout)
{
  return timeout < OLDEST ? timeout : OLDEST;
}

void
fip64_pool_tune (struct fip64_pool *p, uint32_t idle_timeout, uint32_t max_per_64)
{
  acquire (p);
  p->locked->idle_timeout = allowed_timeout (idle_timeout);
  p->locked->max_per_64 = max_per_64;
  release (p);
}

/* -- information ------------------------------------------------------------------------------------------------ */

/* The first bound slot from `slot` on. Looks at most at `words` words of the set of vacant slots; when none of them
   has a bound slot, the slot behind them, which may be a vacant one. */
static uint32_t
next_bound (const struct fip64_pool *p, uint32_t slot, uint32_t words)
{
  while (words-- && slot < p->n_slots)
    {
      uint64_t bound = ~p->locked->vacant.words[0][slot / 64] >> (slot % 64);
      if (bound)
	return slot + (uint32_t) __builtin_ctzll (bound);
      slot = (slot | 63) + 1;
    }
  return slot;
}

uint32_t
fip64_pool_walk (struct fip64_pool *p, uint32_t *cursor, uint32_t max, int only_static, struct fip64_binding *out)
{
  struct fip64_pool_locked *k = p->locked;
  uint32_t n = 0, slot = *cursor;
  while (n < max && slot < p->n_slots)
    {
      acquire (p);
      for (uint32_t looks = 0; looks < BATCH && n < max; looks++)
	{
	  slot = only_static ? fip64_bits_next (&k->fixed, slot) : next_bound (p, slot, BATCH);
	  if (slot >= p->n_slots)
	    break;
	  if (!fip64_bits_get (&k->vacant, slot))
	    {
	      slot_address (p, slot, out[n].v6);
	      out[n].v4 = fip64_hton32 (p->first + slot);
	      out[n].last_used = last_used (p, slot);
	      out[n++].is_static = fip64_bits_get (&k->fixed, slot);
	      slot++;
	    }
	}
      release (p);
    }
  *cursor = slot < p->n_slots ? slot : p->n_slots;
  return n;
}

uint32_t
fip64_pool_count (const struct fip64_pool *p)
{
  return __atomic_load_n (&p->locked->n, __ATOMIC_RELAXED);
}

uint32_t
fip64_pool_count_static (const struct fip64_pool *p)
{
  return __atomic_load_n (&p->locked->n_static, __ATOMIC_RELAXED);
}

const char *
fip64_pool_result_text (enum fip64_pool_result r)
{
  switch (r)
    {
    case FIP64_POOL_OK:
      return "done";
    case FIP64_POOL_FULL:
      return "all addresses of the pool are bound statically";
    case FIP64_POOL_BAD_ADDRESS:
      return "the pool address is not in the pool, or the client's is no unicast address";
    case FIP64_POOL_ADDRESS_STATIC:
      return "the pool address is another client's, statically";
    case FIP64_POOL_CLIENT_STATIC:
      return "the client has another pool address, statically";
    case FIP64_POOL_NOT_FOUND:
      return "the client has no binding";
    case FIP64_POOL_NO_MEMORY:
      return "out of memory";
    }
  return "unknown";
}

/* -- memory ----------------------------------------------------------------------------------------------------- */

static uint8_t *
reserve (size_t size)
{
  void *p = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static size_t
touched (uint8_t *start, size_t size)
{
  unsigned char pages[256];
  size_t page = (size_t) sysconf (_SC_PAGESIZE), bytes = 0;
  for (size_t at = 0; at < size; at += sizeof pages * page)
    {
      size_t rest = size - at, n = (rest + page - 1) / page;
      n = n < sizeof pages ? n : sizeof pages;
      if (mincore (start + at, n * page < rest ? n * page : rest, pages) == 0)
	for (size_t i = 0; i < n; i++)
	  bytes += pages[i] & 1 ? page : 0;
    }
  return bytes;
}

/* The next part of the reserved memory, at the beginning of a cache line; NULL before memory is reserved. */
static void *
part (uint8_t *memory, size_t *used, size_t n, size_t size)
{
  void *at = memory ? memory + *used : NULL;
  *used += (n * size + 63) / 64 * 64;
  return at;
}

/* Sets the arrays within k->memory, and returns how many bytes they need. */
static size_t
lay_out (struct fip64_pool *p)
{
  struct fip64_pool_locked *k = p->locked;
  size_t used = 0, n = p->n_slots;
  p->slots = part (k->memory, &used, (size_t) p->n_buckets * 4, sizeof *p->slots);
  p->heads = part (k->memory, &used, p->n_buckets, sizeof *p->heads);
  k->infos = part (k->memory, &used, n, sizeof *k->infos);
  k->groups = part (k->memory, &used, n, sizeof *k->groups);
  k->index = part (k->memory, &used, (size_t) k->index_mask + 1, sizeof *k->index);
  k->lru.nodes = part (k->memory, &used, n, sizeof *k->lru.nodes);
  return used;
}

size_t
fip64_pool_bytes (const struct fip64_pool *pool)
{
  struct fip64_pool *p = (struct fip64_pool *) pool;
  struct fip64_pool_locked *k = p->locked;
  acquire (p);
  size_t bytes = sizeof *p + sizeof *k + k->group_bytes;
  release (p);
  for (int l = 0; l < FIP64_BITS_LEVELS; l++)
    bytes += (k->vacant.n_words[l] + (size_t) k->fixed.n_words[l]) * sizeof (uint64_t);
  return bytes + touched (k->memory, k->memory_size);
}

void
fip64_pool_free (struct fip64_pool *p)
{
  if (!p)
    return;
  struct fip64_pool_locked *k = p->locked;
  for (uint32_t i = 0; i < k->n_groups; i++)
    free (k->groups[i].heap.nodes);
  if (k->memory)
    munmap (k->memory, k->memory_size);
  fip64_bits_free (&k->vacant);
  fip64_bits_free (&k->fixed);
  free (k);
  free (p);
}

static const char *
refusal (const struct fip64_pool_conf *c)
{
  if (c->last < c->first)
    return "the pool's last address is before its first";
  if (c->last - c->first >= FIP64_POOL_MAX)
    return "the pool has more than 4194304 addresses";
  return NULL;
}

struct fip64_pool *
fip64_pool_new (const struct fip64_pool_conf *c, const char **why)
{
  *why = refusal (c);
  if (*why)
    return NULL;
  *why = "out of memory";
  struct fip64_pool *p = aligned_alloc (64, (sizeof *p + 63) / 64 * 64);
  struct fip64_pool_locked *k = calloc (1, sizeof *k);
  if (!p || !k)
    {
      free (p);
      free (k);
      return NULL;
    }
  memset (p, 0, sizeof *p);
  p->first = c->first;
  p->n_slots = c->last - c->first + 1;
  p->n_buckets = (p->n_slots + 3) / 4;
  p->hash_seed = c->hash_seed;
  p->locked = k;
  k->idle_timeout = allowed_timeout (c->idle_timeout);
  k->max_per_64 = c->max_per_64;
  k->free_groups = ~0u;
  for (k->index_mask = 1; k->index_mask < 2 * p->n_slots;)
    k->index_mask = k->index_mask << 1 | 1;

  k->memory_size = lay_out (p);
  k->memory = reserve (k->memory_size);
  lay_out (p);
  if (!k->memory || !fip64_bits_init (&k->vacant, p->n_slots, true)
      || !fip64_bits_init (&k->fixed, p->n_slots, false))
    {
      fip64_pool_free (p);
      return NULL;
    }
  *why = NULL;
  return p;
}
