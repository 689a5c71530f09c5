/* SPDX-License-Identifier: Apache-2.0 */
#include <vnet/plugin/plugin.h>

#include "control.h"

fip64_main_t fip64_main;

/* VPP does not load a plugin that was built for another version, as VPP's structures differ. */
VLIB_PLUGIN_REGISTER () = {
  .version = FIP64_VERSION,
  .version_required = FIP64_VPP_VERSION,
  .description = "Floating IPv6 addresses for hosts that have only IPv4 (FIP64)",
};

/* Data-path objects: what a FIB entry leads to. */

static void
mapping_dpo_lock (dpo_id_t *dpo)
{
  fip64_main.mapping_locks[dpo->dpoi_index]++;
}

static void
mapping_dpo_unlock (dpo_id_t *dpo)
{
  fip64_main.mapping_locks[dpo->dpoi_index]--;
}

static u8 *
format_mapping_dpo (u8 *s, va_list *args)
{
  u32 index = va_arg (*args, u32);
  CLIB_UNUSED (u32 indent) = va_arg (*args, u32);

  if (pool_is_free_index (fip64_main.mappings, index))
    return format (s, "fip64 mapping [%u] deleted", index);
  fip64_mapping_t *m = fip64_mapping_get (index);
  return format (s, "fip64 mapping [%u] %U -> %U of tenant table %u", index, format_ip6_address, m->endpoint.v6,
		 format_ip4_address, &m->endpoint.v4, fip64_tenant_get (m->tenant)->is.table_id);
}

static void
pool_dpo_lock (dpo_id_t *dpo)
{
  fip64_tenant_get (dpo->dpoi_index)->dpo_locks++;
}

static void
pool_dpo_unlock (dpo_id_t *dpo)
{
  fip64_tenant_get (dpo->dpoi_index)->dpo_locks--;
}

static u8 *
format_pool_dpo (u8 *s, va_list *args)
{
  u32 index = va_arg (*args, u32);
  CLIB_UNUSED (u32 indent) = va_arg (*args, u32);

  if (pool_is_free_index (fip64_main.tenants, index))
    return format (s, "fip64 pool [%u] deleted", index);
  return format (s, "fip64 pool [%u] of tenant table %u", index, fip64_tenant_get (index)->is.table_id);
}

static const dpo_vft_t mapping_vft = {
  .dv_lock = mapping_dpo_lock,
  .dv_unlock = mapping_dpo_unlock,
  .dv_format = format_mapping_dpo,
};
static const dpo_vft_t pool_vft = {
  .dv_lock = pool_dpo_lock,
  .dv_unlock = pool_dpo_unlock,
  .dv_format = format_pool_dpo,
};
static const char *const ip6_nodes[] = { "ip6-fip64", NULL };
static const char *const ip4_nodes[] = { "ip4-fip64", NULL };
static const char *const *const mapping_nodes[DPO_PROTO_NUM] = { [DPO_PROTO_IP6] = ip6_nodes };
static const char *const *const pool_nodes[DPO_PROTO_NUM] = { [DPO_PROTO_IP4] = ip4_nodes };

/* Functions that all parts need. */

clib_error_t *
fip64_error (int code, char *fmt, ...)
{
  clib_error_t *e, *errors = NULL;
  va_list va;

  vec_add2 (errors, e, 1);
  clib_memset (e, 0, sizeof (*e));
  va_start (va, fmt);
  e->what = va_format (NULL, fmt, &va);
  va_end (va);
  e->code = code;
  return errors;
}

bool
fip64_unicast4 (u32 address)
{
  return !fip64_martian4 (address);
}

bool
fip64_unicast6 (const ip6_address_t *a)
{
  return !ip6_address_is_zero (a) && !ip6_address_is_loopback (a) && !ip6_address_is_multicast (a) &&
	 !ip6_address_is_link_local_unicast (a);
}

/* The counters exist before the first mapping or tenant does, so that readers always find their names. */
static void
make_counters (fip64_main_t *fm)
{
  static char *names[FIP64_N_TENANT_COUNTERS] = {
#define X(symbol, name, text) "/fip64/tenant/" name,
    FIP64_TENANT_COUNTERS
#undef X
  };

  fm->count_6to4.name = fm->count_6to4.stat_segment_name = "/fip64/mapping/6to4";
  fm->count_4to6.name = fm->count_4to6.stat_segment_name = "/fip64/mapping/4to6";
  vlib_validate_combined_counter (&fm->count_6to4, 0);
  vlib_validate_combined_counter (&fm->count_4to6, 0);
  for (u32 i = 0; i < FIP64_N_TENANT_COUNTERS; i++)
    {
      fm->tenant_counters[i].name = fm->tenant_counters[i].stat_segment_name = names[i];
      vlib_validate_simple_counter (&fm->tenant_counters[i], 0);
    }
  fm->count_events.name = fm->count_events.stat_segment_name = "/fip64/events";
  vlib_validate_simple_counter (&fm->count_events, FIP64_N_EVENT_COUNTERS - 1);
}

void
fip64_counters_clear (void)
{
  fip64_main_t *fm = &fip64_main;

  vlib_clear_combined_counters (&fm->count_6to4);
  vlib_clear_combined_counters (&fm->count_4to6);
  for (u32 i = 0; i < FIP64_N_TENANT_COUNTERS; i++)
    vlib_clear_simple_counters (&fm->tenant_counters[i]);
  vlib_clear_simple_counters (&fm->count_events);
}

static clib_error_t *
fip64_init (vlib_main_t *vm)
{
  fip64_main_t *fm = &fip64_main;

  fm->log_class = vlib_log_register_class ("fip64", 0);
  fm->mapping_dpo_type = dpo_register_new_type (&mapping_vft, mapping_nodes);
  fm->pool_dpo_type = dpo_register_new_type (&pool_vft, pool_nodes);
  /* Higher than routes of API and CLI, lower than addresses of interfaces. */
  fm->fib_source = fib_source_allocate ("fip64", FIB_SOURCE_PRIORITY_HI, FIB_SOURCE_BH_SIMPLE);
  fm->tenant_by_table = hash_create (0, sizeof (uword));
  return NULL;
}

VLIB_INIT_FUNCTION (fip64_init);

/* Called when the number of threads is known. */
static clib_error_t *
fip64_main_loop_enter (vlib_main_t *vm)
{
  fip64_main_t *fm = &fip64_main;

  vec_validate_aligned (fm->queues, vlib_get_n_threads () - 1, CLIB_CACHE_LINE_BYTES);
  vec_validate_aligned (fm->fixed.slots, FIP64_FIXED_MIN - 1, CLIB_CACHE_LINE_BYTES);
  fm->fixed.mask = FIP64_FIXED_MIN - 1;
  make_counters (fm);
  return NULL;
}

VLIB_MAIN_LOOP_ENTER_FUNCTION (fip64_main_loop_enter);
