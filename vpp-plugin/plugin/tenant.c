/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tenants: add, change, remove. A tenant keeps its index, and with it its DPO and counters, until it is removed.
 */
#include "control.h"

/* Seconds. A longer timeout than a pool supports, 12 days, counts as that. */
#define MAX_IDLE_TIMEOUT 2000000
#define MAX_IDLE_TIMEOUT_OF_POOL (1u << 30) /* milliseconds */

/* 169.254/16 */
#define LINK_LOCAL_FIRST 0xa9fe0000u
#define LINK_LOCAL_LAST 0xa9feffffu

fip64_tenant_t *
fip64_tenant_by_table (u32 table_id)
{
  uword *p = hash_get (fip64_main.tenant_by_table, table_id);
  return p ? fip64_tenant_get (p[0]) : NULL;
}

static int
compare_table_ids (void *a, void *b)
{
  u32 x = fip64_tenant_get (*(u32 *) a)->is.table_id, y = fip64_tenant_get (*(u32 *) b)->is.table_id;
  return x < y ? -1 : x > y;
}

u32 *
fip64_tenants_sorted (void)
{
  u32 *indices = NULL;
  fip64_tenant_t *t;

  pool_foreach (t, fip64_main.tenants)
    vec_add1 (indices, t->index);
  vec_sort_with_function (indices, compare_table_ids);
  return indices;
}

static clib_error_t *
check (const fip64_tenant_wanted_t *w)
{
  u32 first = clib_host_to_net_u32 (w->pool_first), last = clib_host_to_net_u32 (w->pool_last);

  if (!memchr (w->tag, 0, sizeof (w->tag)))
    return fip64_error (VNET_API_ERROR_ILLEGAL_NAME, "tenant of table %u: the tag is longer than %u bytes", w->table_id,
			FIP64_TAG_LENGTH - 1);
  if (w->pool_first > w->pool_last)
    return fip64_error (VNET_API_ERROR_INVALID_VALUE, "tenant of table %u: the pool %U - %U ends before it begins",
			w->table_id, format_ip4_address, &first, format_ip4_address, &last);
  if (w->pool_last - w->pool_first >= FIP64_POOL_MAX)
    return fip64_error (VNET_API_ERROR_TABLE_TOO_BIG,
			"tenant of table %u: the pool %U - %U has more than %u addresses, a /10", w->table_id,
			format_ip4_address, &first, format_ip4_address, &last, FIP64_POOL_MAX);
  /* As the range is less than a /8, one of its ends is illegal if any address is, except for 169.254/16. */
  if (!fip64_unicast4 (first) || !fip64_unicast4 (last) ||
      (w->pool_first < LINK_LOCAL_FIRST && w->pool_last > LINK_LOCAL_LAST))
    return fip64_error (VNET_API_ERROR_INVALID_VALUE_2,
			"tenant of table %u: the pool %U - %U has addresses that are no unicast addresses", w->table_id,
			format_ip4_address, &first, format_ip4_address, &last);
  if (!fip64_unicast4 (w->address4))
    return fip64_error (VNET_API_ERROR_INVALID_SRC_ADDRESS, "tenant of table %u: address4 %U is no unicast address",
			w->table_id, format_ip4_address, &w->address4);
  if (!fip64_unicast6 (&w->address6))
    return fip64_error (VNET_API_ERROR_INVALID_VALUE_3, "tenant of table %u: address6 %U is no unicast address",
			w->table_id, format_ip6_address, &w->address6);
  if (w->mtu4 < 68)
    return fip64_error (VNET_API_ERROR_INVALID_VALUE_4, "tenant of table %u: mtu4 %u is less than 68", w->table_id,
			w->mtu4);
  if (w->mtu6 < 1280)
    return fip64_error (VNET_API_ERROR_INVALID_ARGUMENT, "tenant of table %u: mtu6 %u is less than 1280", w->table_id,
			w->mtu6);
  if (w->lowest_ipv6_mtu < 1280)
    return fip64_error (VNET_API_ERROR_UNSUPPORTED, "tenant of table %u: lowest_ipv6_mtu %u is less than 1280",
			w->table_id, w->lowest_ipv6_mtu);
  if (w->idle_timeout > MAX_IDLE_TIMEOUT)
    return fip64_error (VNET_API_ERROR_LIMIT_EXCEEDED, "tenant of table %u: idle_timeout %u is more than %u seconds",
			w->table_id, w->idle_timeout, MAX_IDLE_TIMEOUT);
  return NULL;
}

static u32
pool_timeout (const fip64_tenant_wanted_t *w)
{
  return clib_min (w->idle_timeout * 1000, MAX_IDLE_TIMEOUT_OF_POOL);
}

static struct fip64_pool *
make_pool (const fip64_tenant_wanted_t *w, clib_error_t **error)
{
  struct fip64_pool_conf conf = {
    .first = w->pool_first,
    .last = w->pool_last,
    .hash_seed = w->hash_seed,
    .idle_timeout = pool_timeout (w),
    .max_per_64 = w->max_per_64,
  };
  const char *why = NULL;
  struct fip64_pool *pool = fip64_pool_new (&conf, &why);

  if (!pool)
    *error = fip64_error (VNET_API_ERROR_INVALID_MEMORY_SIZE, "tenant of table %u: cannot make the pool: %s",
			  w->table_id, why ? why : "no reason given");
  return pool;
}

/* The smallest number of prefixes that together are the range. */
static fib_prefix_t *
cut (u32 first, u32 last)
{
  fib_prefix_t *prefixes = NULL, *p;

  for (u64 at = first; at <= last;)
    {
      u32 bits = at ? count_trailing_zeros (at) : 32;
      while (at + (1ull << bits) - 1 > last)
	bits--;
      vec_add2 (prefixes, p, 1);
      clib_memset (p, 0, sizeof (*p));
      p->fp_proto = FIB_PROTOCOL_IP4;
      p->fp_len = 32 - bits;
      p->fp_addr.ip4.as_u32 = clib_host_to_net_u32 (at);
      at += 1ull << bits;
    }
  return prefixes;
}

static bool
has_prefix (const fib_prefix_t *prefixes, const fib_prefix_t *wanted)
{
  const fib_prefix_t *p;

  vec_foreach (p, prefixes)
    if (fib_prefix_cmp (p, wanted) == 0)
      return true;
  return false;
}

/* Makes `wanted` (a vector that the tenant keeps) the tenant's entries in its IPv4 table. */
static void
install_prefixes (fip64_tenant_t *t, fib_prefix_t *wanted)
{
  fip64_main_t *fm = &fip64_main;
  dpo_id_t dpo = DPO_INVALID;
  fib_prefix_t *p;

  dpo_set (&dpo, fm->pool_dpo_type, DPO_PROTO_IP4, t->index);
  vec_foreach (p, wanted)
    if (!has_prefix (t->prefixes, p))
      fib_table_entry_special_dpo_add (t->ip4_fib_index, p, fm->fib_source, FIB_ENTRY_FLAG_EXCLUSIVE, &dpo);
  vec_foreach (p, t->prefixes)
    if (!has_prefix (wanted, p))
      fib_table_entry_special_remove (t->ip4_fib_index, p, fm->fib_source);
  dpo_reset (&dpo);
  vec_free (t->prefixes);
  t->prefixes = wanted;
}

/* Copies static bindings to a new pool, those whose address it has. */
static void
move_static_bindings (const fip64_tenant_t *t, struct fip64_pool *from, struct fip64_pool *to, u32 now)
{
  struct fip64_binding chunk[64];
  struct fip64_pool_change change;
  u32 cursor = 0, n, lost = 0;

  while ((n = fip64_pool_walk (from, &cursor, ARRAY_LEN (chunk), 1, chunk)) || cursor < from->n_slots)
    for (u32 i = 0; i < n; i++)
      if (fip64_pool_bind_static (to, chunk[i].v6, chunk[i].v4, now, &change) != FIP64_POOL_OK)
	lost++;
  if (lost)
    fip64_log_warn ("tenant of table %u: %u static bindings went, their addresses are not in the new pool",
		    t->is.table_id, lost);
}

static void
apply (fip64_tenant_t *t, const fip64_tenant_wanted_t *w)
{
  fip64_conf_default (&t->conf);
  t->conf.mtu4 = w->mtu4;
  t->conf.mtu6 = w->mtu6;
  t->conf.lowest_ipv6_mtu = w->lowest_ipv6_mtu;
  t->conf.ttl_dec = 0; /* VPP's rewrite nodes decrement it */
  t->conf.tos_mask_4to6 = t->conf.tos_mask_6to4 = w->zero_traffic_class ? 0 : 0xff;
  t->conf.udp_zero_drop = w->drop_udp_zero_checksum;
  t->address4 = w->address4;
  t->address6 = w->address6;
  t->is = *w;
}

static void
make_tenant_counters (u32 index)
{
  for (u32 i = 0; i < FIP64_N_TENANT_COUNTERS; i++)
    {
      vlib_validate_simple_counter (&fip64_main.tenant_counters[i], index);
      vlib_zero_simple_counter (&fip64_main.tenant_counters[i], index);
    }
}

static clib_error_t *
add (const fip64_tenant_wanted_t *w)
{
  fip64_main_t *fm = &fip64_main;
  clib_error_t *error = NULL;
  fip64_tenant_t *t;
  u32 fib_index = fib_table_find (FIB_PROTOCOL_IP4, w->table_id);

  if (fib_index == ~0)
    return fip64_error (VNET_API_ERROR_NO_SUCH_FIB, "tenant of table %u: there is no such IPv4 table", w->table_id);
  if (pool_elts (fm->tenants) >= FIP64_MAX_TENANTS)
    return fip64_error (VNET_API_ERROR_EXCEEDED_NUMBER_OF_RANGES_CAPACITY,
			"tenant of table %u: there are %u tenants already", w->table_id, FIP64_MAX_TENANTS);
  struct fip64_pool *pool = make_pool (w, &error);
  if (!pool)
    return error;

  pool_get_aligned_zero (fm->tenants, t, CLIB_CACHE_LINE_BYTES);
  t->index = t - fm->tenants;
  t->ip4_fib_index = fib_index;
  t->pool = pool;
  apply (t, w);
  make_tenant_counters (t->index);
  hash_set (fm->tenant_by_table, w->table_id, t->index);
  fib_table_lock (fib_index, FIB_PROTOCOL_IP4, fm->fib_source);
  install_prefixes (t, cut (w->pool_first, w->pool_last));
  return NULL;
}

static clib_error_t *
change (fip64_tenant_t *t, const fip64_tenant_wanted_t *w, u32 now)
{
  bool moved = w->pool_first != t->is.pool_first || w->pool_last != t->is.pool_last;
  clib_error_t *error = NULL;

  if (!moved && w->hash_seed == t->is.hash_seed)
    {
      fip64_pool_tune (t->pool, pool_timeout (w), w->max_per_64);
      apply (t, w);
      return NULL;
    }
  struct fip64_pool *new = make_pool (w, &error), *old = t->pool;
  if (!new)
    return error;
  move_static_bindings (t, old, new, now);
  fip64_bindings_forget (t, old);
  t->pool = new;
  apply (t, w);
  if (moved)
    install_prefixes (t, cut (w->pool_first, w->pool_last));
  fip64_pool_free (old);
  fip64_log_info ("tenant of table %u: the pool was replaced, dynamic bindings are gone", w->table_id);
  return NULL;
}

clib_error_t *
fip64_tenant_set (const fip64_tenant_wanted_t *wanted)
{
  fip64_tenant_wanted_t w = *wanted;
  clib_error_t *error = check (&w);
  fip64_tenant_t *t;
  u32 fixed;

  if (error)
    return error;
  /* Bytes behind the end of the tag have no meaning, and must not count as a change. */
  u32 length = strlen (w.tag);
  clib_memset (w.tag + length, 0, sizeof (w.tag) - length);

  t = fip64_tenant_by_table (w.table_id);
  if (!t)
    return add (&w);
  if ((w.pool_first != t->is.pool_first || w.pool_last != t->is.pool_last) &&
      fip64_mapping_within (t->index, w.pool_first, w.pool_last, &fixed))
    {
      u32 first = clib_host_to_net_u32 (w.pool_first), last = clib_host_to_net_u32 (w.pool_last);
      return fip64_error (VNET_API_ERROR_ADDRESS_IN_USE,
			  "tenant of table %u: the fixed address %U of a mapping lies in the pool %U - %U", w.table_id,
			  format_ip4_address, &fixed, format_ip4_address, &first, format_ip4_address, &last);
    }
  return change (t, &w, fip64_now (vlib_get_main ()));
}

void
fip64_tenant_remove (u32 table_id)
{
  fip64_main_t *fm = &fip64_main;
  fip64_tenant_t *t = fip64_tenant_by_table (table_id);

  if (!t)
    return;
  fip64_mappings_remove_of_tenant (t->index);
  fip64_bindings_forget (t, t->pool);
  install_prefixes (t, NULL);
  hash_unset (fm->tenant_by_table, table_id);
  fib_table_unlock (t->ip4_fib_index, FIB_PROTOCOL_IP4, fm->fib_source);
  if (t->dpo_locks)
    {
      /* Never observed. Packets may still reach the tenant, so it is kept as it is. */
      fip64_log_warn ("tenant of table %u: %u references to it are left, its memory is kept", table_id, t->dpo_locks);
      return;
    }
  fip64_pool_free (t->pool);
  t->pool = NULL;
  pool_put (fm->tenants, t);
  if (pool_elts (fm->tenants) == 0)
    pool_free (fm->tenants);
}
