/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands for operators. The agent uses the API; both call the same functions of control.h.
 */
#include <vnet/ip/ip.h>

#include "control.h"
#include "node.h"

/* Bindings that are shown by default. */
#define SHOWN 100

/* The arguments of all commands; each command reads its own. */
typedef struct
{
  fip64_tenant_wanted_t tenant;
  ip6_address_t address6; /* floating or client */
  u32 address4;		  /* fixed or pool address, network order */
  u32 ip6_table_id;
  u32 max;
  bool add, del, is_static, verbose;
  bool has_table, has_pool, has_address4, has_address6, has_own4, has_own6;
} command_t;

static uword
unformat_word (unformat_input_t *input, command_t *c)
{
  fip64_tenant_wanted_t *t = &c->tenant;
  ip4_address_t first, last, own4;
  u32 mtu;
  u8 *tag = NULL;

  if (unformat (input, "table %u", &t->table_id))
    c->has_table = true;
  else if (unformat (input, "ip6-table %u", &c->ip6_table_id))
    ;
  else if (unformat (input, "pool %U - %U", unformat_ip4_address, &first, unformat_ip4_address, &last))
    {
      t->pool_first = clib_net_to_host_u32 (first.as_u32);
      t->pool_last = clib_net_to_host_u32 (last.as_u32);
      c->has_pool = true;
    }
  else if (unformat (input, "address4 %U", unformat_ip4_address, &own4))
    {
      t->address4 = own4.as_u32;
      c->has_own4 = true;
    }
  else if (unformat (input, "address6 %U", unformat_ip6_address, &t->address6))
    c->has_own6 = true;
  /* unformat() also accepts the beginning of a word, so address4 must come before add. */
  else if (unformat (input, "add"))
    c->add = true;
  else if (unformat (input, "del"))
    c->del = true;
  else if (unformat (input, "mtu4 %u", &mtu))
    t->mtu4 = clib_min (mtu, 65535);
  else if (unformat (input, "mtu6 %u", &mtu))
    t->mtu6 = clib_min (mtu, 65535);
  else if (unformat (input, "lowest-ipv6-mtu %u", &mtu))
    t->lowest_ipv6_mtu = clib_min (mtu, 65535);
  else if (unformat (input, "zero-traffic-class"))
    t->zero_traffic_class = true;
  else if (unformat (input, "drop-udp-zero-checksum"))
    t->drop_udp_zero_checksum = true;
  else if (unformat (input, "seed %lu", &t->hash_seed))
    ;
  else if (unformat (input, "timeout %u", &t->idle_timeout))
    ;
  else if (unformat (input, "max-per-64 %u", &t->max_per_64))
    ;
  else if (unformat (input, "tag %s", &tag))
    {
      /* One byte more than allowed is kept, so that the check refuses the tag. */
      memcpy (t->tag, tag, clib_min (vec_len (tag), sizeof (t->tag)));
      vec_free (tag);
    }
  else if (unformat (input, "max %u", &c->max))
    ;
  else if (unformat (input, "all"))
    c->max = ~0;
  else if (unformat (input, "static"))
    c->is_static = true;
  else if (unformat (input, "verbose"))
    c->verbose = true;
  else if (unformat (input, "client %U", unformat_ip6_address, &c->address6) ||
	   unformat (input, "%U", unformat_ip6_address, &c->address6))
    c->has_address6 = true;
  else if (unformat (input, "to %U", unformat_ip4_address, &c->address4) ||
	   unformat (input, "%U", unformat_ip4_address, &c->address4))
    c->has_address4 = true;
  else
    return 0;
  return 1;
}

static clib_error_t *
parse (unformat_input_t *input, command_t *c)
{
  unformat_input_t line_storage, *line = &line_storage;
  clib_error_t *error = NULL;

  clib_memset (c, 0, sizeof (*c));
  c->tenant.mtu4 = c->tenant.mtu6 = 1500;
  c->tenant.lowest_ipv6_mtu = 1280;
  c->max = SHOWN;
  if (!unformat_user (input, unformat_line_input, line))
    return NULL;
  while (!error && unformat_check_input (line) != UNFORMAT_END_OF_INPUT)
    if (!unformat_word (line, c))
      error = fip64_error (VNET_API_ERROR_INVALID_VALUE, "do not understand `%U'", format_unformat_error, line);
  unformat_free (line);
  return error;
}

static clib_error_t *
usage (vlib_cli_command_t *cmd, char *missing)
{
  return fip64_error (VNET_API_ERROR_INVALID_VALUE, "%s\nusage: %s", missing, cmd->short_help);
}

/* The arguments of a command that adds or deletes something. */
static clib_error_t *
parse_change (vlib_cli_command_t *cmd, unformat_input_t *input, command_t *c)
{
  clib_error_t *error = parse (input, c);

  if (!error && c->add == c->del)
    error = usage (cmd, "either add or del is needed");
  return error;
}

static clib_error_t *
tenant_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  command_t c;
  clib_error_t *error = parse_change (cmd, input, &c);

  if (error)
    return error;
  if (!c.has_table)
    return usage (cmd, "the tenant's IPv4 table is needed");
  if (c.del)
    {
      if (!fip64_tenant_by_table (c.tenant.table_id))
	vlib_cli_output (vm, "there is no tenant of table %u", c.tenant.table_id);
      fip64_tenant_remove (c.tenant.table_id);
      return NULL;
    }
  if (!c.has_pool || !c.has_own4 || !c.has_own6)
    return usage (cmd, "pool, address4 and address6 are needed");
  return fip64_tenant_set (&c.tenant);
}

VLIB_CLI_COMMAND (fip64_tenant_command, static) = {
  .path = "fip64 tenant",
  .short_help = "fip64 tenant add table <id> pool <ip4> - <ip4> address4 <ip4> address6 <ip6> [mtu4 <n>] [mtu6 <n>] "
		"[lowest-ipv6-mtu <n>] [zero-traffic-class] [drop-udp-zero-checksum] [seed <n>] [timeout <seconds>] [max-per-64 <n>] [tag <word>] | fip64 tenant del table <id>",
  .function = tenant_command,
};

static clib_error_t *
mapping_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  command_t c;
  clib_error_t *error = parse_change (cmd, input, &c);

  if (error)
    return error;
  if (!c.has_address6)
    return usage (cmd, "the floating address is needed");
  if (c.del)
    {
      fip64_mapping_remove (&c.address6, c.ip6_table_id);
      return NULL;
    }
  if (!c.has_address4 || !c.has_table)
    return usage (cmd, "the fixed address and the tenant's table are needed");
  return fip64_mapping_set (&c.address6, c.ip6_table_id, c.address4, c.tenant.table_id);
}

VLIB_CLI_COMMAND (fip64_mapping_command, static) = {
  .path = "fip64 mapping",
  .short_help = "fip64 mapping add <floating ip6> to <fixed ip4> table <id> [ip6-table <id>] | "
		"fip64 mapping del <floating ip6> [ip6-table <id>]",
  .function = mapping_command,
};

static clib_error_t *
binding_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  command_t c;
  clib_error_t *error = parse_change (cmd, input, &c);

  if (error)
    return error;
  if (!c.has_address6 || !c.has_table)
    return usage (cmd, "the client's address and the tenant's table are needed");
  if (c.del)
    {
      fip64_binding_remove (&c.address6, c.tenant.table_id);
      return NULL;
    }
  if (!c.has_address4)
    return usage (cmd, "the pool address is needed");
  return fip64_binding_set (&c.address6, c.address4, c.tenant.table_id);
}

VLIB_CLI_COMMAND (fip64_binding_command, static) = {
  .path = "fip64 binding",
  .short_help = "fip64 binding add <client ip6> to <pool ip4> table <id> | fip64 binding del <client ip6> table <id>",
  .function = binding_command,
};

static clib_error_t *
clear_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  fip64_counters_clear ();
  return NULL;
}

VLIB_CLI_COMMAND (clear_fip64_counters_command, static) = {
  .path = "clear fip64 counters",
  .short_help = "clear fip64 counters",
  .function = clear_command,
};

/* The operator decides whether ICMP errors are sent, and how many (RFC 7915 sections 4.4 and 5.4). */
static clib_error_t *
parse_error_rate (unformat_input_t *input)
{
  u32 rate;

  if (!unformat (input, "icmp-errors-per-second %u", &rate))
    return clib_error_return (0, "fip64: expected icmp-errors-per-second <n>, found `%U'", format_unformat_error, input);
  fip64_nodes.errors_per_second = rate;
  return NULL;
}

/* In the startup file: fip64 { icmp-errors-per-second <n> } */
static clib_error_t *
fip64_config (vlib_main_t *vm, unformat_input_t *input)
{
  clib_error_t *error = NULL;

  while (!error && unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    error = parse_error_rate (input);
  return error;
}

VLIB_CONFIG_FUNCTION (fip64_config, "fip64");

static clib_error_t *
error_rate_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 rate;

  if (!unformat (input, "%u", &rate) || unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    return usage (cmd, "one number is needed");
  fip64_nodes.errors_per_second = rate;
  return NULL;
}

VLIB_CLI_COMMAND (fip64_error_rate_command, static) = {
  .path = "fip64 icmp-errors-per-second",
  .short_help = "fip64 icmp-errors-per-second <n>",
  .function = error_rate_command,
};

/* Show */

static u64
tenant_counter (u32 index, fip64_tenant_counter_t counter)
{
  return vlib_get_simple_counter (&fip64_main.tenant_counters[counter], index);
}

static void
show_tenant (vlib_main_t *vm, const fip64_tenant_t *t, bool verbose)
{
  u32 first = clib_host_to_net_u32 (t->is.pool_first), last = clib_host_to_net_u32 (t->is.pool_last);
  u32 bindings = fip64_pool_count (t->pool), statics = fip64_pool_count_static (t->pool);
  fib_prefix_t *p;

  vlib_cli_output (vm, "[%u] table %u, pool %U - %U, %s%s", t->index, t->is.table_id, format_ip4_address, &first,
		   format_ip4_address, &last, t->is.tag[0] ? "tag " : "no tag", t->is.tag);
  vlib_cli_output (vm, "    mappings %u, bindings %u of %u (%u static)", t->n_mappings, bindings,
		   t->is.pool_last - t->is.pool_first + 1, statics);
  if (!verbose)
    return;
  vlib_cli_output (vm, "    errors from %U and %U, mtu4 %u, mtu6 %u", format_ip4_address, &t->is.address4,
		   format_ip6_address, &t->is.address6, t->is.mtu4, t->is.mtu6);
  vlib_cli_output (vm, "    lowest IPv6 MTU %u, traffic class %s, UDP without checksum %s", t->is.lowest_ipv6_mtu,
		   t->is.zero_traffic_class ? "zero" : "copied",
		   t->is.drop_udp_zero_checksum ? "dropped" : "gets one (fragments: dropped)");
  vlib_cli_output (vm, "    idle timeout %u s, bindings of one /64 at most %u (0: no limit), seed 0x%lx, memory %U",
		   t->is.idle_timeout, t->is.max_per_64, t->is.hash_seed, format_memory_size,
		   fip64_pool_bytes (t->pool));
  vlib_cli_output (vm, "    bindings made %lu, evicted %lu, expired %lu, removed %lu, refused %lu",
		   tenant_counter (t->index, FIP64_COUNT_MADE), tenant_counter (t->index, FIP64_COUNT_EVICTED),
		   tenant_counter (t->index, FIP64_COUNT_EXPIRED), tenant_counter (t->index, FIP64_COUNT_REMOVED),
		   tenant_counter (t->index, FIP64_COUNT_REFUSED));
  vec_foreach (p, t->prefixes)
    vlib_cli_output (vm, "    %U", format_fib_prefix, p);
}

static clib_error_t *
show_tenants (vlib_main_t *vm, const command_t *c)
{
  u32 *indices = fip64_tenants_sorted (), *index;

  vec_foreach (index, indices)
    {
      fip64_tenant_t *t = fip64_tenant_get (*index);
      if (!c->has_table || t->is.table_id == c->tenant.table_id)
	show_tenant (vm, t, c->verbose || c->has_table);
    }
  vec_free (indices);
  return NULL;
}

static clib_error_t *
show_mappings (vlib_main_t *vm, const command_t *c)
{
  fip64_main_t *fm = &fip64_main;
  vlib_counter_t in, out;
  fip64_mapping_t *m;

  vlib_cli_output (vm, "%-40s %10s %-16s %10s %12s %12s", "floating", "ip6 table", "fixed", "table", "packets 6to4",
		   "packets 4to6");
  pool_foreach (m, fm->mappings)
    {
      u32 index = m - fm->mappings, table_id = fip64_tenant_get (m->tenant)->is.table_id;
      if ((c->has_table && table_id != c->tenant.table_id) ||
	  (c->has_address6 && memcmp (m->endpoint.v6, &c->address6, 16)) ||
	  (c->has_address4 && m->endpoint.v4 != c->address4))
	continue;
      vlib_get_combined_counter (&fm->count_6to4, index, &in);
      vlib_get_combined_counter (&fm->count_4to6, index, &out);
      vlib_cli_output (vm, "%-40U %10u %-16U %10u %12lu %12lu", format_ip6_address, m->endpoint.v6,
		       fip64_mapping_ip6_table_id (m), format_ip4_address, &m->endpoint.v4, table_id, in.packets,
		       out.packets);
      if (c->verbose)
	vlib_cli_output (vm, "    [%u] bytes 6to4 %lu, 4to6 %lu, references %u", index, in.bytes, out.bytes,
			 fm->mapping_locks[index]);
    }
  return NULL;
}

static bool
binding_fits (const command_t *c, const struct fip64_binding *b)
{
  return (!c->has_address6 || memcmp (b->v6, &c->address6, 16) == 0) &&
	 (!c->has_address4 || b->v4 == c->address4);
}

/* Returns how many bindings were not shown because of the limit. */
static u32
show_tenants_bindings (vlib_main_t *vm, const command_t *c, const fip64_tenant_t *t, u32 *shown, u32 now)
{
  struct fip64_binding chunk[64];
  u32 cursor = 0, left_out = 0;

  while (cursor < t->pool->n_slots)
    {
      u32 n = fip64_pool_walk (t->pool, &cursor, ARRAY_LEN (chunk), c->is_static, chunk);
      for (u32 i = 0; i < n; i++)
	{
	  if (!binding_fits (c, chunk + i))
	    continue;
	  if (*shown == c->max)
	    {
	      left_out++;
	      continue;
	    }
	  (*shown)++;
	  i32 idle = now - chunk[i].last_used;
	  if (chunk[i].is_static)
	    vlib_cli_output (vm, "%-40U %-16U %10u %10s", format_ip6_address, chunk[i].v6, format_ip4_address,
			     &chunk[i].v4, t->is.table_id, "static");
	  else
	    vlib_cli_output (vm, "%-40U %-16U %10u %9.1fs", format_ip6_address, chunk[i].v6, format_ip4_address,
			     &chunk[i].v4, t->is.table_id, clib_max (idle, 0) / 1e3);
	}
    }
  return left_out;
}

static clib_error_t *
show_bindings (vlib_main_t *vm, const command_t *c)
{
  u32 *indices = fip64_tenants_sorted (), *index, shown = 0, left_out = 0, now = fip64_now (vm);

  vlib_cli_output (vm, "%-40s %-16s %10s %10s", "client", "pool address", "table", "idle");
  vec_foreach (index, indices)
    {
      fip64_tenant_t *t = fip64_tenant_get (*index);
      if (!c->has_table || t->is.table_id == c->tenant.table_id)
	left_out += show_tenants_bindings (vm, c, t, &shown, now);
    }
  vec_free (indices);
  if (left_out)
    vlib_cli_output (vm, "and %u more: `max <n>' or `all' shows them", left_out);
  return NULL;
}

static clib_error_t *
show_summary (vlib_main_t *vm)
{
  fip64_main_t *fm = &fip64_main;
  u64 bindings = 0, statics = 0, bytes = 0;
  fip64_tenant_t *t;

  pool_foreach (t, fm->tenants)
    {
      bindings += fip64_pool_count (t->pool);
      statics += fip64_pool_count_static (t->pool);
      bytes += fip64_pool_bytes (t->pool);
    }
  vlib_cli_output (vm, "fip64 %s for VPP %s", FIP64_VERSION, FIP64_VPP_VERSION);
  vlib_cli_output (vm, "tenants %u, mappings %u, bindings %lu (%lu static)", pool_elts (fm->tenants),
		   pool_elts (fm->mappings), bindings, statics);
  vlib_cli_output (vm, "memory of bindings %U, of the table of fixed addresses %U", format_memory_size, bytes,
		   format_memory_size, (uword) vec_len (fm->fixed.slots) * sizeof (fip64_fixed_t));
  vlib_cli_output (vm, "ICMP errors of our own: at most %u a second from each worker", fip64_nodes.errors_per_second);
  vlib_cli_output (vm, "clients of events %u, events sent %lu, dropped %lu", fm->n_event_clients,
		   vlib_get_simple_counter (&fm->count_events, FIP64_EVENTS_SENT),
		   vlib_get_simple_counter (&fm->count_events, FIP64_EVENTS_DROPPED));
  return NULL;
}

static clib_error_t *
show_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  command_t c;
  clib_error_t *error;
  /* The kind of objects is accepted as the first word only, since `table' is an argument too. */
  enum { SUMMARY, TENANTS, MAPPINGS, BINDINGS } what = SUMMARY;

  if (unformat (input, "tenants"))
    what = TENANTS;
  else if (unformat (input, "mappings"))
    what = MAPPINGS;
  else if (unformat (input, "bindings"))
    what = BINDINGS;
  else
    (void) unformat (input, "summary");
  if ((error = parse (input, &c)))
    return error;
  if (c.add || c.del)
    return usage (cmd, "nothing can be added or deleted here");
  if (c.has_table && !fip64_tenant_by_table (c.tenant.table_id))
    return fip64_error (VNET_API_ERROR_NO_SUCH_ENTRY, "there is no tenant of table %u", c.tenant.table_id);
  return what == TENANTS    ? show_tenants (vm, &c)
	 : what == MAPPINGS ? show_mappings (vm, &c)
	 : what == BINDINGS ? show_bindings (vm, &c)
			    : show_summary (vm);
}

VLIB_CLI_COMMAND (show_fip64_command, static) = {
  .path = "show fip64",
  .short_help = "show fip64 [summary] | tenants [table <id>] [verbose] | mappings [table <id>] [<floating ip6>] "
		"[<fixed ip4>] [verbose] | bindings [table <id>] [client <ip6>] [<pool ip4>] [static] [max <n> | all]",
  .function = show_command,
  .is_mp_safe = 1,
};
