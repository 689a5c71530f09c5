/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client bindings of one tenant: which pool address (IPv4) stands for which client (IPv6).
 *
 * The array of pool addresses is itself the hash table. A client's hash names a home bucket of four addresses, two
 * cache lines, and the preferred one among them, so that a look-up mostly costs one cache miss; a client that found
 * its home full is in another bucket and is reached by a chain from its home bucket. Vice versa, the address is the
 * array's index. So the same client gets the same address after a restart, as long as its home had room.
 *
 * Readers take no lock: a slot's sequence number is odd while it is written, and a reader that saw it change looks
 * again. Whatever changes bindings takes the pool's lock, a spin lock that is held for microseconds. Time is in
 * milliseconds, counted from anything, modulo 2^32, and given by the caller. Between two calls of fip64_pool_expire
 * it must not advance by more than 2^28 (three days). It may go back a little, as the clocks of several threads do.
 *
 * When no address is free, the least recently used dynamic binding is evicted. (One of the least recently used ones,
 * if more than 1,024 bindings were used since the pool last looked at them.) When a client /64 has reached its cap,
 * its own least recently used binding is evicted. Static bindings are never evicted.
 */
#ifndef FIP64_POOL_H
#define FIP64_POOL_H

#include <fip64/fip64.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FIP64_POOL_MAX (1u << 22) /* addresses in one pool: a /10 */
#define FIP64_NO_SLOT (~0u)

/* Read and written with atomic operations only. */
struct fip64_slot
{
  uint64_t v6[2];     /* the client's address as in memory; all zero: free */
  uint32_t sums;      /* to4 of struct fip64_endpoint, and to6 << 16 */
  uint32_t seq;	      /* odd while being written */
  uint32_t last_used; /* ms; written by readers without lock */
  uint32_t next;      /* slot + 1 of the next displaced client of the same home bucket; 0: none */
};

struct fip64_pool_conf
{
  uint32_t first, last;	  /* IPv4, host byte order, both included */
  uint64_t hash_seed;
  uint32_t idle_timeout;  /* ms without use after which a dynamic binding expires; 0: never; at most 2^30 */
  uint32_t max_per_64;	  /* dynamic bindings of one client /64; 0: no cap */
};

/* What fast look-ups read comes first, one cache line. */
struct fip64_pool
{
  struct fip64_slot *slots;
  uint32_t *heads; /* by home bucket: slot + 1 of the chain's first client; 0: none */
  uint64_t hash_seed;
  uint32_t n_slots, n_buckets;
  uint32_t first; /* IPv4, host byte order */
  uint32_t spare[7];

  /* All that is read and written with the lock held; see pool.c. */
  struct fip64_pool_locked *locked;
};

enum fip64_pool_result
{
  FIP64_POOL_OK = 0,	     /* done, or there was nothing to do */
  FIP64_POOL_FULL,	     /* all addresses are bound statically */
  FIP64_POOL_BAD_ADDRESS,    /* the pool address is not in the pool, or the client's is multicast, :: or ::1 */
  FIP64_POOL_ADDRESS_STATIC, /* that pool address is another client's, statically */
  FIP64_POOL_CLIENT_STATIC,  /* that client has another pool address, statically */
  FIP64_POOL_NOT_FOUND,
  FIP64_POOL_NO_MEMORY,
};

/* What a change did, for counters and events. */
struct fip64_pool_change
{
  uint32_t slot;      /* bound now, or FIP64_NO_SLOT */
  uint8_t made;	      /* 1: this call made the binding, or made a dynamic one static; 0: it was there */
  uint8_t was_static; /* fip64_pool_unbind: the removed binding was static */
  uint8_t n_evicted;  /* removed bindings: dynamic ones that were evicted, or that of fip64_pool_unbind; at most 2 */
  struct
  {
    uint8_t v6[16];
    uint32_t slot;
  } evicted[2];
};

/*
 * The fast path, without lock, is in fip64/pool_inline.h (home as fip64_pool_home6 gives it):
 *   fip64_pool_find6 (pool, v6, now, &endpoint), fip64_pool_find6_at (pool, home, v6, now, &endpoint)
 *   fip64_pool_find4 (pool, v4 in network order, now, &endpoint)
 *     -> slot, with *endpoint filled and the binding used at `now`; or FIP64_NO_SLOT.
 *   fip64_pool_prefetch6 (pool, home), fip64_pool_prefetch4 (pool, v4): the line that the find reads first.
 */

/* NULL and *why set (a static string) when the configuration is impossible or memory is short. Memory is reserved for
   the whole range but costs only what is touched. */
struct fip64_pool *fip64_pool_new (const struct fip64_pool_conf *c, const char **why);
void fip64_pool_free (struct fip64_pool *p);

/* Changes timeout and cap. Another range or seed needs a new pool. A client /64 with more bindings than a new cap
   allows gets down to it as its clients make new bindings: each of these evicts two. */
void fip64_pool_tune (struct fip64_pool *p, uint32_t idle_timeout, uint32_t max_per_64);

/* Finds or makes the client's binding. `change` may be NULL, here and below; it is filled whatever the result is. */
enum fip64_pool_result fip64_pool_bind (struct fip64_pool *p, const uint8_t v6[16], uint32_t now,
					struct fip64_pool_change *change);
/* Makes a static binding; v4 in network order. Idempotent. A dynamic binding of the client, and a dynamic binding of
   the address, are removed: change->evicted has them. */
enum fip64_pool_result fip64_pool_bind_static (struct fip64_pool *p, const uint8_t v6[16], uint32_t v4, uint32_t now,
					       struct fip64_pool_change *change);
/* Removes a binding, static or dynamic. */
enum fip64_pool_result fip64_pool_unbind (struct fip64_pool *p, const uint8_t v6[16], struct fip64_pool_change *change);

/* Removes up to `max` dynamic bindings that were idle for longer than the timeout, in any order, and returns how
   many. `gone` (may be NULL) is called with each, without the lock. Looks at no more than max + 65536 bindings. Call
   it about every second from one thread, also when there is no timeout: it also keeps very old times of last use
   comparable, and puts a pool with many clients into huge pages. */
typedef void fip64_pool_gone (void *arg, const uint8_t v6[16], uint32_t slot);
uint32_t fip64_pool_expire (struct fip64_pool *p, uint32_t now, uint32_t max, fip64_pool_gone *gone, void *arg);

struct fip64_binding
{
  uint8_t v6[16];
  uint32_t v4; /* network byte order */
  uint32_t last_used;
  uint8_t is_static;
};
/* Copies at most `max` bindings from slot *cursor on, in the order of addresses, and returns how many. *cursor
   becomes the slot to continue with, n_slots at the end. Bindings that are made or removed during a walk may be
   missing; all others are copied exactly once. `only_static` is fast, however many dynamic bindings there are. */
uint32_t fip64_pool_walk (struct fip64_pool *p, uint32_t *cursor, uint32_t max, int only_static,
			  struct fip64_binding *out);

uint32_t fip64_pool_count (const struct fip64_pool *p);	       /* bindings, static ones too */
uint32_t fip64_pool_count_static (const struct fip64_pool *p);
size_t fip64_pool_bytes (const struct fip64_pool *p);	       /* memory that was allocated or touched */

/* What a result means, for an operator. */
const char *fip64_pool_result_text (enum fip64_pool_result r);

#ifdef __cplusplus
}
#endif
#endif
