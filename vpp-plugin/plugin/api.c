/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of fip64.api. VPP stops the workers while a handler runs, unless the handler is marked as mp-safe:
 * those are the ones that only read, or change bindings only.
 */
#include "control.h"

#include <vlibapi/api.h>
#include <vlibmemory/api.h>
#include <vnet/ip/ip_format_fns.h>

#include "fip64.api_enum.h"
#include "fip64.api_types.h"

#define REPLY_MSG_ID_BASE fip64_main.msg_id_base
#include <vlibapi/api_helper_macros.h>

/* Bindings in one reply of fip64_binding_get. */
#define BINDINGS_AT_A_TIME 1024
/* A client with so many unread bytes gets no more events until it reads. */
#define EVENTS_UNREAD_MAX (1 << 20)

/* Returns the error's code, and writes its text into the log. */
static i32
refused (clib_error_t *error)
{
  if (!error)
    return 0;
  i32 code = vnet_api_error (error);
  fip64_log_warn ("refused: %v", error->what);
  clib_error_free (error);
  return code;
}

static u32
network32 (const u8 *p)
{
  return fip64_load32 (p);
}

static ip6_address_t
address6 (const u8 *p)
{
  ip6_address_t a;
  memcpy (&a, p, sizeof (a));
  return a;
}

static void
vl_api_fip64_plugin_get_version_t_handler (vl_api_fip64_plugin_get_version_t *mp)
{
  vl_api_fip64_plugin_get_version_reply_t *rmp;
  int rv = 0;

  REPLY_MACRO2 (VL_API_FIP64_PLUGIN_GET_VERSION_REPLY, ({
		  clib_memset (rmp->version, 0, sizeof (rmp->version));
		  rmp->major = htonl (FIP64_VERSION_MAJOR);
		  rmp->minor = htonl (FIP64_VERSION_MINOR);
		  snprintf ((char *) rmp->version, sizeof (rmp->version), "%s for VPP %s", FIP64_VERSION,
			    FIP64_VPP_VERSION);
		}));
}

/* Tenants */

static void
vl_api_fip64_tenant_add_del_t_handler (vl_api_fip64_tenant_add_del_t *mp)
{
  vl_api_fip64_tenant_add_del_reply_t *rmp;
  const vl_api_fip64_tenant_t *t = &mp->tenant;
  int rv = 0;

  if (mp->is_add)
    {
      fip64_tenant_wanted_t w = {
	.table_id = ntohl (t->table_id),
	.pool_first = ntohl (network32 (t->pool_first)),
	.pool_last = ntohl (network32 (t->pool_last)),
	.address4 = network32 (t->address4),
	.address6 = address6 (t->address6),
	.mtu4 = ntohs (t->mtu4),
	.mtu6 = ntohs (t->mtu6),
	.lowest_ipv6_mtu = ntohs (t->lowest_ipv6_mtu),
	.zero_traffic_class = t->zero_traffic_class,
	.drop_udp_zero_checksum = t->drop_udp_zero_checksum,
	.idle_timeout = ntohl (t->idle_timeout),
	.max_per_64 = ntohl (t->max_per_64),
	.hash_seed = clib_net_to_host_u64 (t->hash_seed),
      };
      memcpy (w.tag, t->tag, sizeof (w.tag));
      rv = refused (fip64_tenant_set (&w));
    }
  else
    fip64_tenant_remove (ntohl (t->table_id));
  REPLY_MACRO (VL_API_FIP64_TENANT_ADD_DEL_REPLY);
}

static void
send_tenant (vl_api_registration_t *rp, u32 context, const fip64_tenant_t *t)
{
  vl_api_fip64_tenant_details_t *rmp;

  REPLY_MACRO_DETAILS4 (VL_API_FIP64_TENANT_DETAILS, rp, context, ({
			  rmp->tenant_index = htonl (t->index);
			  rmp->tenant.table_id = htonl (t->is.table_id);
			  fip64_put32 (rmp->tenant.pool_first, t->is.pool_first);
			  fip64_put32 (rmp->tenant.pool_last, t->is.pool_last);
			  fip64_store32 (rmp->tenant.address4, t->is.address4);
			  memcpy (rmp->tenant.address6, &t->is.address6, 16);
			  rmp->tenant.mtu4 = htons (t->is.mtu4);
			  rmp->tenant.mtu6 = htons (t->is.mtu6);
			  rmp->tenant.lowest_ipv6_mtu = htons (t->is.lowest_ipv6_mtu);
			  rmp->tenant.zero_traffic_class = t->is.zero_traffic_class;
			  rmp->tenant.drop_udp_zero_checksum = t->is.drop_udp_zero_checksum;
			  rmp->tenant.hash_seed = clib_host_to_net_u64 (t->is.hash_seed);
			  rmp->tenant.idle_timeout = htonl (t->is.idle_timeout);
			  rmp->tenant.max_per_64 = htonl (t->is.max_per_64);
			  memcpy (rmp->tenant.tag, t->is.tag, sizeof (rmp->tenant.tag));
			  rmp->n_mappings = htonl (t->n_mappings);
			  rmp->n_bindings = htonl (fip64_pool_count (t->pool));
			  rmp->n_static_bindings = htonl (fip64_pool_count_static (t->pool));
			}));
}

static void
vl_api_fip64_tenant_dump_t_handler (vl_api_fip64_tenant_dump_t *mp)
{
  vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index);
  fip64_tenant_t *t;

  if (!rp)
    return;
  pool_foreach (t, fip64_main.tenants)
    send_tenant (rp, mp->context, t);
}

/* Mappings */

static void
vl_api_fip64_mapping_add_del_t_handler (vl_api_fip64_mapping_add_del_t *mp)
{
  vl_api_fip64_mapping_add_del_reply_t *rmp;
  u32 n = ntohl (mp->count);
  i32 rv = 0, *retvals = NULL;

  vec_validate (retvals, n);
  for (u32 i = 0; i < n; i++)
    {
      const vl_api_fip64_mapping_t *m = mp->mappings + i;
      ip6_address_t floating = address6 (m->floating);
      if (mp->is_add)
	retvals[i] = refused (fip64_mapping_set (&floating, ntohl (m->ip6_table_id), network32 (m->fixed),
						 ntohl (m->table_id)));
      else
	fip64_mapping_remove (&floating, ntohl (m->ip6_table_id));
      rv = rv ? rv : retvals[i];
    }
  REPLY_MACRO3 (VL_API_FIP64_MAPPING_ADD_DEL_REPLY, n * sizeof (i32), ({
		  rmp->count = mp->count;
		  for (u32 i = 0; i < n; i++)
		    rmp->retvals[i] = htonl (retvals[i]);
		}));
  vec_free (retvals);
}

static void
send_mapping (vl_api_registration_t *rp, u32 context, const fip64_mapping_t *m)
{
  vl_api_fip64_mapping_details_t *rmp;

  REPLY_MACRO_DETAILS4 (VL_API_FIP64_MAPPING_DETAILS, rp, context, ({
			  rmp->mapping_index = htonl (m - fip64_main.mappings);
			  memcpy (rmp->mapping.floating, m->endpoint.v6, 16);
			  fip64_store32 (rmp->mapping.fixed, m->endpoint.v4);
			  rmp->mapping.ip6_table_id = htonl (fip64_mapping_ip6_table_id (m));
			  rmp->mapping.table_id = htonl (fip64_tenant_get (m->tenant)->is.table_id);
			}));
}

static void
vl_api_fip64_mapping_dump_t_handler (vl_api_fip64_mapping_dump_t *mp)
{
  vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index);
  u32 table_id = ntohl (mp->table_id);
  fip64_tenant_t *only = table_id == ~0 ? NULL : fip64_tenant_by_table (table_id);
  fip64_mapping_t *m;

  if (!rp || (table_id != ~0 && !only))
    return;
  pool_foreach (m, fip64_main.mappings)
    if (!only || m->tenant == only->index)
      send_mapping (rp, mp->context, m);
}

/* Bindings */

static void
vl_api_fip64_binding_add_del_t_handler (vl_api_fip64_binding_add_del_t *mp)
{
  vl_api_fip64_binding_add_del_reply_t *rmp;
  u32 n = ntohl (mp->count);
  i32 rv = 0, *retvals = NULL;

  vec_validate (retvals, n);
  for (u32 i = 0; i < n; i++)
    {
      const vl_api_fip64_binding_t *b = mp->bindings + i;
      ip6_address_t client = address6 (b->client);
      if (mp->is_add)
	retvals[i] = refused (fip64_binding_set (&client, network32 (b->pool_address), ntohl (b->table_id)));
      else
	fip64_binding_remove (&client, ntohl (b->table_id));
      rv = rv ? rv : retvals[i];
    }
  REPLY_MACRO3 (VL_API_FIP64_BINDING_ADD_DEL_REPLY, n * sizeof (i32), ({
		  rmp->count = mp->count;
		  for (u32 i = 0; i < n; i++)
		    rmp->retvals[i] = htonl (retvals[i]);
		}));
  vec_free (retvals);
}

static void
send_binding (vl_api_registration_t *rp, u32 context, const struct fip64_binding *b, u32 table_id, u32 now)
{
  vl_api_fip64_binding_details_t *rmp;
  u32 idle = now - b->last_used;

  /* A worker may have used it just after `now`. */
  if ((i32) idle < 0)
    idle = 0;
  REPLY_MACRO_DETAILS4 (VL_API_FIP64_BINDING_DETAILS, rp, context, ({
			  rmp->is_static = b->is_static;
			  rmp->idle = b->is_static ? 0 : idle / 1e3;
			  memcpy (rmp->binding.client, b->v6, 16);
			  fip64_store32 (rmp->binding.pool_address, b->v4);
			  rmp->binding.table_id = htonl (table_id);
			}));
}

/* Sends some bindings from (table id, cursor) on and moves both forward. Returns whether there are more. */
static bool
send_bindings (vl_api_registration_t *rp, const vl_api_fip64_binding_get_t *mp, u32 *cursor_table_id, u32 *cursor)
{
  static struct fip64_binding chunk[BINDINGS_AT_A_TIME];
  u32 only = ntohl (mp->table_id), left = BINDINGS_AT_A_TIME, now = fip64_now (vlib_get_main ());
  u32 *tenants = fip64_tenants_sorted (), *index;
  bool more = false;

  vec_foreach (index, tenants)
    {
      fip64_tenant_t *t = fip64_tenant_get (*index);
      if (t->is.table_id < *cursor_table_id || (only != ~0 && t->is.table_id != only))
	continue;
      if (left == 0)
	{
	  more = true;
	  *cursor_table_id = t->is.table_id;
	  *cursor = 0;
	  break;
	}
      /* A cursor is valid for its tenant only, which may have been removed since. */
      u32 slot = t->is.table_id == *cursor_table_id ? *cursor : 0;
      u32 n = fip64_pool_walk (t->pool, &slot, left, mp->only_static, chunk);
      for (u32 i = 0; i < n; i++)
	send_binding (rp, mp->context, chunk + i, t->is.table_id, now);
      left -= n;
      if (slot < t->pool->n_slots)
	{
	  more = true;
	  *cursor_table_id = t->is.table_id;
	  *cursor = slot;
	  break;
	}
    }
  vec_free (tenants);
  return more;
}

static void
vl_api_fip64_binding_get_t_handler (vl_api_fip64_binding_get_t *mp)
{
  vl_api_fip64_binding_get_reply_t *rmp;
  vl_api_registration_t *client = vl_api_client_index_to_registration (mp->client_index);
  u32 cursor_table_id = ntohl (mp->cursor_table_id), cursor = ntohl (mp->cursor);
  i32 rv = 0;

  if (!client)
    return;
  if (send_bindings (client, mp, &cursor_table_id, &cursor))
    rv = VNET_API_ERROR_EAGAIN;
  else
    cursor = cursor_table_id = ~0;
  REPLY_MACRO2 (VL_API_FIP64_BINDING_GET_REPLY, ({
		  rmp->cursor = htonl (cursor);
		  rmp->cursor_table_id = htonl (cursor_table_id);
		}));
}

/* Events */

static void
vl_api_want_fip64_binding_events_t_handler (vl_api_want_fip64_binding_events_t *mp)
{
  vl_api_want_fip64_binding_events_reply_t *rmp;
  int rv = 0;

  if (mp->enable)
    fip64_events_want (mp->client_index, mp->pid);
  else
    fip64_events_want_no_more (mp->client_index);
  REPLY_MACRO (VL_API_WANT_FIP64_BINDING_EVENTS_REPLY);
}

bool
fip64_event_send (const fip64_event_client_t *client, const fip64_event_t *event)
{
  vl_api_registration_t *rp = vl_api_client_index_to_registration (client->index);
  vl_api_fip64_binding_event_t *mp;

  if (!rp || !vl_api_can_send_msg (rp))
    return false;
  if (rp->registration_type > REGISTRATION_TYPE_SHMEM && vec_len (rp->output_vector) > EVENTS_UNREAD_MAX)
    return false;
  mp = vl_msg_api_alloc_zero (sizeof (*mp));
  mp->_vl_msg_id = htons (VL_API_FIP64_BINDING_EVENT + REPLY_MSG_ID_BASE);
  mp->client_index = client->index;
  mp->pid = client->pid;
  mp->what = event->what;
  memcpy (mp->binding.client, event->v6, 16);
  fip64_store32 (mp->binding.pool_address, event->v4);
  mp->binding.table_id = htonl (event->table_id);
  vl_api_send_msg (rp, (u8 *) mp);
  return true;
}

static clib_error_t *
client_gone (u32 client_index)
{
  fip64_events_want_no_more (client_index);
  return NULL;
}

VL_MSG_API_REAPER_FUNCTION (client_gone);

#include "fip64.api.c"

static clib_error_t *
fip64_api_init (vlib_main_t *vm)
{
  api_main_t *am = vlibapi_get_main ();
  /* These do not change anything that the nodes read without a lock. */
  static const u16 need_no_barrier[] = {
    VL_API_FIP64_PLUGIN_GET_VERSION, VL_API_FIP64_TENANT_DUMP, VL_API_FIP64_MAPPING_DUMP,
    VL_API_FIP64_BINDING_ADD_DEL,    VL_API_FIP64_BINDING_GET,
  };

  fip64_main.msg_id_base = setup_message_id_table ();
  for (u32 i = 0; i < ARRAY_LEN (need_no_barrier); i++)
    vl_api_set_msg_thread_safe (am, fip64_main.msg_id_base + need_no_barrier[i], 1);
  return NULL;
}

VLIB_API_INIT_FUNCTION (fip64_api_init);
