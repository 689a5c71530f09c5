/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin's state, and the functions with which the nodes read it.
 *
 * Tenants, mappings, the table of fixed addresses and the index by floating address change only while the workers are
 * stopped (the API handlers and CLI commands are not mp-safe), so nodes read them without locks. Client bindings change
 * at any time, in struct fip64_pool.
 */
#ifndef FIP64_STATE_H
#define FIP64_STATE_H

#include <vlib/vlib.h>
#include <vnet/vnet.h>
#include <vnet/dpo/dpo.h>
#include <vnet/fib/fib_source.h>
#include <vnet/fib/fib_types.h>

#include <fip64/fip64.h>
#include <fip64/pool.h>

#define FIP64_TAG_LENGTH 64 /* bytes, with the final zero; as in fip64.api */
#define FIP64_MAX_TENANTS 65535
#define FIP64_MAX_FIB_INDEX 65535

/* Index of a simple counter: how often it happened, by tenant. X(symbol, name in /fip64/tenant/, text). */
#define FIP64_TENANT_COUNTERS                                                                                          \
  X (MADE, "bindings-made", "dynamic bindings made")                                                                   \
  X (EVICTED, "bindings-evicted", "dynamic bindings that had to go for another")                                      \
  X (EXPIRED, "bindings-expired", "dynamic bindings that were idle for too long")                                     \
  X (REMOVED, "bindings-removed", "dynamic bindings removed by an operator, or with their pool")                      \
  X (REFUSED, "bindings-refused", "packets of clients for whom no address was left")                                  \
  X (BINDINGS, "bindings", "bindings now, static ones too (refreshed every second)")                                  \
  X (STATIC, "bindings-static", "static bindings now (refreshed every second)")

typedef enum
{
#define X(symbol, name, text) FIP64_COUNT_##symbol,
  FIP64_TENANT_COUNTERS
#undef X
    FIP64_N_TENANT_COUNTERS,
} fip64_tenant_counter_t;

/* A tenant as its API message says. */
typedef struct
{
  u32 table_id;
  u32 pool_first, pool_last; /* host order, both included */
  u32 address4;		     /* network order */
  ip6_address_t address6;
  u16 mtu4, mtu6;
  u16 lowest_ipv6_mtu; /* IPv4 packets without DF are fragmented to it */
  bool zero_traffic_class, drop_udp_zero_checksum;
  u32 idle_timeout; /* seconds; 0: never */
  u32 max_per_64;   /* 0: no cap */
  u64 hash_seed;
  char tag[FIP64_TAG_LENGTH];
} fip64_tenant_wanted_t;

/* A tenant: one IPv4 table. Its index is that of its DPO, and of its counters. */
typedef struct
{
  CLIB_CACHE_LINE_ALIGN_MARK (hot);
  struct fip64_pool *pool;
  struct fip64_conf conf;
  u16 index;	     /* its own, in fip64_main.tenants */
  u32 ip4_fib_index; /* ip6-fip64 sends to ip4-lookup with it */
  u32 address4;	     /* network order: source of our ICMP errors and those of IPv6 routers without binding */
  ip6_address_t address6;
  u32 unused[4];

  CLIB_CACHE_LINE_ALIGN_MARK (cold);
  fip64_tenant_wanted_t is;
  u32 n_mappings;
  u32 dpo_locks;
  fib_prefix_t *prefixes; /* of our entries in the IPv4 table, which together are the pool */
} fip64_tenant_t;

STATIC_ASSERT (STRUCT_OFFSET_OF (fip64_tenant_t, cold) == CLIB_CACHE_LINE_BYTES, "a look-up costs one cache line");

/* Index into /fip64/events. */
typedef enum
{
  FIP64_EVENTS_SENT, /* to all clients together */
  FIP64_EVENTS_DROPPED,
  FIP64_N_EVENT_COUNTERS,
} fip64_event_counter_t;

/* A mapping, with what ip6-fip64 needs of it. Its index is that of its DPO, and of its counters. */
typedef struct
{
  struct fip64_endpoint endpoint; /* floating and fixed address */
  u16 tenant;			  /* index */
  u16 ip6_fib_index;
  u32 next; /* index of another mapping of the floating address, in another IPv6 table; ~0: none */
} fip64_mapping_t;

STATIC_ASSERT_SIZEOF (fip64_mapping_t, 32);

/* A mapping, with what ip4-fip64 needs of it: found by tenant and fixed address. */
typedef struct
{
  struct fip64_endpoint endpoint; /* endpoint.v4 == 0: free */
  u32 mapping;			  /* index */
  u16 tenant;			  /* index */
  u16 ip6_fib_index;		  /* ip4-fip64 sends to ip6-lookup with it */
} fip64_fixed_t;

STATIC_ASSERT_SIZEOF (fip64_fixed_t, 32);

/* A hash table with open addressing and linear probing, at most half full, never shorter than FIP64_FIXED_MIN. A
   look-up reads one cache line, with all that the data path needs; a hash of vppinfra's would lead to that by one or
   two more. */
#define FIP64_FIXED_MIN 64
typedef struct
{
  fip64_fixed_t *slots; /* vector */
  u32 mask;
  u32 count;
} fip64_fixed_table_t;

/* An event that a worker reports to the main thread: a queue has one producer and one consumer. */
typedef struct
{
  u8 v6[16];
  u32 v4; /* network order */
  u32 table_id;
  u8 what; /* vl_api_fip64_binding_what_t */
} fip64_event_t;

#define FIP64_EVENTS 4096 /* a power of 2 */
typedef struct
{
  CLIB_CACHE_LINE_ALIGN_MARK (producer);
  fip64_event_t *events; /* vector, NULL until somebody wants events */
  u32 head;
  CLIB_CACHE_LINE_ALIGN_MARK (consumer);
  u32 tail;
} fip64_event_queue_t;

typedef struct
{
  u32 index, pid; /* as the API names clients */
} fip64_event_client_t;

typedef struct
{
  fip64_mapping_t *mappings; /* pool */
  fip64_tenant_t *tenants;   /* pool */
  fip64_fixed_table_t fixed;

  vlib_combined_counter_main_t count_6to4; /* /fip64/mapping/6to4, by mapping */
  vlib_combined_counter_main_t count_4to6; /* /fip64/mapping/4to6 */
  vlib_simple_counter_main_t tenant_counters[FIP64_N_TENANT_COUNTERS]; /* /fip64/tenant/..., by tenant */
  vlib_simple_counter_main_t count_events;			       /* /fip64/events, fip64_event_counter_t */

  uword *by_floating; /* hash: floating address -> index of its first mapping; NULL while there is none */

  fip64_event_queue_t *queues; /* by thread */
  u32 n_event_clients;	       /* without any, no events are queued */

  /* All below is for the main thread only. */
  u32 *mapping_locks;	 /* of DPOs, by mapping */
  uword *tenant_by_table; /* table id -> index of a tenant */
  dpo_type_t mapping_dpo_type, pool_dpo_type;
  fib_source_t fib_source;
  u16 msg_id_base;
  vlib_log_class_t log_class;
  fip64_event_client_t *event_clients; /* vector */
} fip64_main_t;

extern fip64_main_t fip64_main;

extern vlib_node_registration_t ip6_fip64_node, ip4_fip64_node;

/* Milliseconds, as struct fip64_pool counts them. */
always_inline u32
fip64_now (vlib_main_t *vm)
{
  return (u32) (u64) (vlib_time_now (vm) * 1e3);
}

always_inline fip64_tenant_t *
fip64_tenant_get (u32 index)
{
  return pool_elt_at_index (fip64_main.tenants, index);
}

always_inline fip64_mapping_t *
fip64_mapping_get (u32 index)
{
  return pool_elt_at_index (fip64_main.mappings, index);
}

/* Where the search for a fixed address (network order) begins. */
always_inline u32
fip64_fixed_home (u32 tenant, u32 v4)
{
  u64 h = ((u64) tenant << 32 | v4) * 0x9e3779b97f4a7c15ull;
  return (u32) (h >> 32) & fip64_main.fixed.mask;
}

always_inline void
fip64_fixed_prefetch (u32 tenant, u32 v4)
{
  clib_prefetch_load (fip64_main.fixed.slots + fip64_fixed_home (tenant, v4));
}

/* The mapping of a fixed address (network order) of a tenant, or NULL. */
always_inline const fip64_fixed_t *
fip64_fixed_find (u32 tenant, u32 v4)
{
  const fip64_fixed_table_t *t = &fip64_main.fixed;
  if (PREDICT_FALSE (v4 == 0))
    return NULL;
  for (u32 i = fip64_fixed_home (tenant, v4);; i = (i + 1) & t->mask)
    {
      const fip64_fixed_t *f = t->slots + i;
      if (PREDICT_TRUE (f->endpoint.v4 == v4 && f->tenant == tenant))
	return f;
      if (f->endpoint.v4 == 0)
	return NULL;
    }
}

/* A mapping of a floating address, in any IPv6 table, or NULL. For any thread, but not for the fast path. */
const fip64_mapping_t *fip64_mapping_of (const u8 v6[16]);

/* For the slow path of ip6-fip64, when a client has no binding yet: makes one, counts it, and queues an event for
   those who want events. Returns the slot and fills *e, or returns FIP64_NO_SLOT. For any thread. */
u32 fip64_client_bind (vlib_main_t *vm, fip64_tenant_t *t, const u8 v6[16], u32 now, struct fip64_endpoint *e);

#endif
