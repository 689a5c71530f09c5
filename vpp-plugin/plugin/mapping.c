/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings: each is a route to a /128 in an IPv6 table, a slot in the table of fixed addresses, and an entry in the
 * index by floating address.
 */
#include "control.h"

/* The table of fixed addresses (state.h): a hash table of our own, whose slots have all that ip4-fip64 reads. */

static u32
fixed_slot (u32 tenant, u32 v4)
{
  fip64_fixed_table_t *table = &fip64_main.fixed;
  u32 i = fip64_fixed_home (tenant, v4);

  while (table->slots[i].endpoint.v4 && !(table->slots[i].endpoint.v4 == v4 && table->slots[i].tenant == tenant))
    i = (i + 1) & table->mask;
  return i;
}

static void
fixed_resize (u32 length)
{
  fip64_fixed_table_t *table = &fip64_main.fixed;
  fip64_fixed_t *old = table->slots, *f;

  table->slots = NULL;
  vec_validate_aligned (table->slots, length - 1, CLIB_CACHE_LINE_BYTES);
  table->mask = length - 1;
  vec_foreach (f, old)
    if (f->endpoint.v4)
      table->slots[fixed_slot (f->tenant, f->endpoint.v4)] = *f;
  vec_free (old);
}

static void
fixed_set (const fip64_mapping_t *m)
{
  fip64_fixed_table_t *table = &fip64_main.fixed;

  if (2 * (table->count + 1) > vec_len (table->slots))
    fixed_resize (2 * vec_len (table->slots));
  fip64_fixed_t *f = table->slots + fixed_slot (m->tenant, m->endpoint.v4);
  if (!f->endpoint.v4)
    table->count++;
  *f = (fip64_fixed_t){
    .endpoint = m->endpoint,
    .mapping = m - fip64_main.mappings,
    .tenant = m->tenant,
    .ip6_fib_index = m->ip6_fib_index,
  };
}

static void
fixed_unset (u32 tenant, u32 v4)
{
  fip64_fixed_table_t *table = &fip64_main.fixed;
  u32 hole = fixed_slot (tenant, v4);

  if (!table->slots[hole].endpoint.v4)
    return;
  /* Entries behind the hole move into it if they may, since searches stop at the first free slot. */
  for (u32 i = (hole + 1) & table->mask; table->slots[i].endpoint.v4; i = (i + 1) & table->mask)
    {
      u32 home = fip64_fixed_home (table->slots[i].tenant, table->slots[i].endpoint.v4);
      if (((i - home) & table->mask) >= ((i - hole) & table->mask))
	{
	  table->slots[hole] = table->slots[i];
	  hole = i;
	}
    }
  clib_memset (&table->slots[hole], 0, sizeof (table->slots[hole]));
  table->count--;
  if (vec_len (table->slots) > FIP64_FIXED_MIN && 8 * table->count < vec_len (table->slots))
    fixed_resize (vec_len (table->slots) / 2);
}

/* The index by floating address: a hash of vppinfra's. It has the first mapping of an address; fip64_mapping_t.next
   leads to those of the same address in other IPv6 tables. */

#define NONE (~0u)

static u32
floating_first (const u8 *v6)
{
  uword *first = hash_get_mem (fip64_main.by_floating, v6);
  return first ? first[0] : NONE;
}

const fip64_mapping_t *
fip64_mapping_of (const u8 v6[16])
{
  u32 index = floating_first (v6);
  return index == NONE ? NULL : fip64_mapping_get (index);
}

static fip64_mapping_t *
floating_find (const ip6_address_t *floating, u32 ip6_fib_index)
{
  for (u32 index = floating_first (floating->as_u8); index != NONE;)
    {
      fip64_mapping_t *m = fip64_mapping_get (index);
      if (m->ip6_fib_index == ip6_fib_index)
	return m;
      index = m->next;
    }
  return NULL;
}

static void
floating_set (fip64_mapping_t *m)
{
  fip64_main_t *fm = &fip64_main;
  uword *first = hash_get_mem (fm->by_floating, m->endpoint.v6);

  m->next = first ? first[0] : NONE;
  if (first)
    first[0] = m - fm->mappings;
  else
    {
      if (!fm->by_floating)
	fm->by_floating = hash_create_mem (0, sizeof (m->endpoint.v6), sizeof (uword));
      const u8 *key = m->endpoint.v6; /* the hash keeps a copy, since mappings may move in memory */
      hash_set_mem_alloc (&fm->by_floating, key, m - fm->mappings);
    }
}

static void
floating_unset (const fip64_mapping_t *m)
{
  fip64_main_t *fm = &fip64_main;
  uword *first = hash_get_mem (fm->by_floating, m->endpoint.v6);
  u32 index = m - fm->mappings;

  if (first[0] != index)
    {
      fip64_mapping_t *before = fip64_mapping_get (first[0]);
      while (before->next != index)
	before = fip64_mapping_get (before->next);
      before->next = m->next;
      return;
    }
  if (m->next != NONE)
    {
      first[0] = m->next;
      return;
    }
  hash_unset_mem_free (&fm->by_floating, m->endpoint.v6);
  if (hash_elts (fm->by_floating) == 0)
    hash_free (fm->by_floating);
}

/* FIB entries. */

static fib_prefix_t
prefix_of (const ip6_address_t *floating)
{
  return (fib_prefix_t){ .fp_proto = FIB_PROTOCOL_IP6, .fp_len = 128, .fp_addr.ip6 = *floating };
}

/* Returns false when the address is one of VPP's own, so that packets to it would not reach the mapping. */
static bool
install (const fip64_mapping_t *m, const ip6_address_t *floating)
{
  fip64_main_t *fm = &fip64_main;
  fib_prefix_t prefix = prefix_of (floating);
  dpo_id_t dpo = DPO_INVALID;

  dpo_set (&dpo, fm->mapping_dpo_type, DPO_PROTO_IP6, m - fm->mappings);
  fib_node_index_t entry = fib_table_entry_special_dpo_add (m->ip6_fib_index, &prefix, fm->fib_source,
							    FIB_ENTRY_FLAG_EXCLUSIVE, &dpo);
  dpo_reset (&dpo);
  return fib_entry_get_best_source (entry) == fm->fib_source;
}

static void
uninstall (const fip64_mapping_t *m)
{
  fib_prefix_t prefix = prefix_of ((ip6_address_t *) m->endpoint.v6);
  fib_table_entry_special_remove (m->ip6_fib_index, &prefix, fip64_main.fib_source);
}

/* Functions for the API and the CLI. */

u32
fip64_mapping_ip6_table_id (const fip64_mapping_t *m)
{
  return fib_table_get_table_id (m->ip6_fib_index, FIB_PROTOCOL_IP6);
}

bool
fip64_mapping_within (u32 tenant, u32 first, u32 last, u32 *which)
{
  fip64_mapping_t *m;

  if (fip64_tenant_get (tenant)->n_mappings == 0)
    return false;
  pool_foreach (m, fip64_main.mappings)
    {
      u32 fixed = clib_net_to_host_u32 (m->endpoint.v4);
      if (m->tenant == tenant && fixed >= first && fixed <= last)
	{
	  *which = m->endpoint.v4;
	  return true;
	}
    }
  return false;
}

static void
make_counters (u32 index)
{
  fip64_main_t *fm = &fip64_main;
  u32 have = vlib_combined_counter_n_counters (&fm->count_6to4);

  if (index >= have)
    {
      /* Whenever they grow, readers of the stats segment must read it all again: so they grow in large steps. */
      vlib_validate_combined_counter (&fm->count_6to4, clib_max (index, 2 * have - 1));
      vlib_validate_combined_counter (&fm->count_4to6, clib_max (index, 2 * have - 1));
    }
  vlib_zero_combined_counter (&fm->count_6to4, index);
  vlib_zero_combined_counter (&fm->count_4to6, index);
}

static void
release (fip64_mapping_t *m)
{
  fip64_main_t *fm = &fip64_main;

  if (fm->mapping_locks[m - fm->mappings])
    {
      /* Never observed. Packets may still reach it, so neither the mapping nor its tenant can be freed. */
      fip64_log_warn ("mapping %U: %u references to it are left, its memory is kept", format_ip6_address,
		      m->endpoint.v6, fm->mapping_locks[m - fm->mappings]);
      fip64_tenant_get (m->tenant)->dpo_locks++;
      return;
    }
  pool_put (fm->mappings, m);
  if (pool_elts (fm->mappings) == 0)
    {
      pool_free (fm->mappings);
      vec_free (fm->mapping_locks);
    }
}

static clib_error_t *
add (const ip6_address_t *floating, u32 ip6_fib_index, u32 fixed, fip64_tenant_t *t)
{
  fip64_main_t *fm = &fip64_main;
  fip64_mapping_t *m;

  pool_get_aligned (fm->mappings, m, CLIB_CACHE_LINE_BYTES);
  u32 index = m - fm->mappings;
  fip64_endpoint_init (&m->endpoint, floating->as_u8, fixed);
  m->tenant = t->index;
  m->ip6_fib_index = ip6_fib_index;
  vec_validate (fm->mapping_locks, index);
  fm->mapping_locks[index] = 0;
  make_counters (index);

  if (!install (m, floating))
    {
      uninstall (m);
      release (m);
      return fip64_error (VNET_API_ERROR_ADDRESS_FOUND_FOR_INTERFACE,
			  "mapping %U: the address is one of VPP's own in IPv6 table %u", format_ip6_address, floating,
			  fib_table_get_table_id (ip6_fib_index, FIB_PROTOCOL_IP6));
    }
  fib_table_lock (ip6_fib_index, FIB_PROTOCOL_IP6, fm->fib_source);
  fixed_set (m);
  floating_set (m);
  t->n_mappings++;
  return NULL;
}

/* Gives a mapping another fixed address. Index, DPO and FIB entry stay, so no packet to the floating address is
   lost. */
static void
move (fip64_mapping_t *m, u32 fixed, fip64_tenant_t *t)
{
  u8 floating[16];

  memcpy (floating, m->endpoint.v6, 16);
  fixed_unset (m->tenant, m->endpoint.v4);
  fip64_tenant_get (m->tenant)->n_mappings--;
  fip64_endpoint_init (&m->endpoint, floating, fixed);
  m->tenant = t->index;
  t->n_mappings++;
  fixed_set (m);
}

static void
remove_mapping (fip64_mapping_t *m)
{
  u32 ip6_fib_index = m->ip6_fib_index;

  uninstall (m);
  fixed_unset (m->tenant, m->endpoint.v4);
  floating_unset (m);
  fip64_tenant_get (m->tenant)->n_mappings--;
  release (m);
  fib_table_unlock (ip6_fib_index, FIB_PROTOCOL_IP6, fip64_main.fib_source);
}

clib_error_t *
fip64_mapping_set (const ip6_address_t *floating, u32 ip6_table_id, u32 fixed, u32 table_id)
{
  fip64_tenant_t *t = fip64_tenant_by_table (table_id);
  u32 ip6_fib_index = fib_table_find (FIB_PROTOCOL_IP6, ip6_table_id), host_fixed = clib_net_to_host_u32 (fixed);

  if (!fip64_unicast6 (floating))
    return fip64_error (VNET_API_ERROR_INVALID_DST_ADDRESS, "mapping %U: this is no unicast address",
			format_ip6_address, floating);
  if (!fip64_unicast4 (fixed))
    return fip64_error (VNET_API_ERROR_INVALID_SRC_ADDRESS, "mapping %U: the fixed address %U is no unicast address",
			format_ip6_address, floating, format_ip4_address, &fixed);
  if (!t)
    return fip64_error (VNET_API_ERROR_NO_SUCH_ENTRY, "mapping %U: there is no tenant of table %u", format_ip6_address,
			floating, table_id);
  if (ip6_fib_index == ~0)
    return fip64_error (VNET_API_ERROR_NO_SUCH_TABLE, "mapping %U: there is no IPv6 table %u", format_ip6_address,
			floating, ip6_table_id);
  if (ip6_fib_index > FIP64_MAX_FIB_INDEX)
    return fip64_error (VNET_API_ERROR_TABLE_TOO_BIG, "mapping %U: IPv6 table %u is beyond the %u that can have mappings",
			format_ip6_address, floating, ip6_table_id, FIP64_MAX_FIB_INDEX + 1);
  if (host_fixed >= t->is.pool_first && host_fixed <= t->is.pool_last)
    return fip64_error (VNET_API_ERROR_ADDRESS_IN_USE,
			"mapping %U: the fixed address %U lies in the pool of the tenant of table %u",
			format_ip6_address, floating, format_ip4_address, &fixed, table_id);

  fip64_mapping_t *m = floating_find (floating, ip6_fib_index);
  const fip64_fixed_t *taken = fip64_fixed_find (t->index, fixed);
  if (taken && m && taken->mapping == m - fip64_main.mappings)
    return NULL;
  if (taken)
    return fip64_error (VNET_API_ERROR_ENTRY_ALREADY_EXISTS,
			"mapping %U: the fixed address %U of the tenant of table %u is mapped to %U already",
			format_ip6_address, floating, format_ip4_address, &fixed, table_id, format_ip6_address,
			taken->endpoint.v6);
  if (!m)
    return add (floating, ip6_fib_index, fixed, t);
  move (m, fixed, t);
  return NULL;
}

void
fip64_mapping_remove (const ip6_address_t *floating, u32 ip6_table_id)
{
  u32 ip6_fib_index = fib_table_find (FIB_PROTOCOL_IP6, ip6_table_id);
  fip64_mapping_t *m = ip6_fib_index == ~0 ? NULL : floating_find (floating, ip6_fib_index);

  if (m)
    remove_mapping (m);
}

void
fip64_mappings_remove_of_tenant (u32 tenant)
{
  fip64_main_t *fm = &fip64_main;
  u32 *indices = NULL, *index;
  fip64_mapping_t *m;

  if (fip64_tenant_get (tenant)->n_mappings)
    pool_foreach (m, fm->mappings)
      /* Not one that was removed and whose memory release() had to keep. */
      if (m->tenant == tenant && floating_find ((ip6_address_t *) m->endpoint.v6, m->ip6_fib_index) == m)
	vec_add1 (indices, m - fm->mappings);
  vec_foreach (index, indices)
    remove_mapping (fip64_mapping_get (*index));
  vec_free (indices);
}
