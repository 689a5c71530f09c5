/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client bindings: the workers' slow path, static ones, expiry, and the events about them.
 *
 * A worker puts events into its own queue, which a process of the main thread empties. When the queue is full, the
 * event is dropped and counted; packets never wait.
 */
#include "control.h"
#include "notice.h"
#include "fip64.api_enum.h"
#include "fip64.api_types.h"

/* Seconds between two checks for expired bindings, and of the queues while somebody wants events. */
#define EXPIRE_INTERVAL 1.
#define EVENT_INTERVAL 20e-3
/* How many bindings expire in one round, and seconds until the next round when there are more. */
#define EXPIRE_MAX 4096
#define EXPIRE_AGAIN 1e-3

static vlib_node_registration_t fip64_process_node;

static void
count (fip64_tenant_counter_t counter, u32 tenant, u64 n)
{
  vlib_increment_simple_counter (&fip64_main.tenant_counters[counter], vlib_get_thread_index (), tenant, n);
}

/* Events */

static void
tell (const fip64_tenant_t *t, vl_api_fip64_binding_what_t what, const u8 *v6, u32 v4)
{
  fip64_main_t *fm = &fip64_main;

  if (PREDICT_TRUE (fm->n_event_clients == 0))
    return;
  u32 thread = vlib_get_thread_index ();
  fip64_event_queue_t *q = fm->queues + thread;
  u32 head = q->head;
  if (head - __atomic_load_n (&q->tail, __ATOMIC_ACQUIRE) == FIP64_EVENTS)
    {
      vlib_increment_simple_counter (&fm->count_events, thread, FIP64_EVENTS_DROPPED, 1);
      return;
    }
  fip64_event_t *event = q->events + head % FIP64_EVENTS;
  clib_memcpy_fast (event->v6, v6, 16);
  event->v4 = v4;
  event->table_id = t->is.table_id;
  event->what = what;
  __atomic_store_n (&q->head, head + 1, __ATOMIC_RELEASE);
}

/* For the main thread. */
static void
send_events (void)
{
  fip64_main_t *fm = &fip64_main;
  fip64_event_queue_t *q;
  /* A client that has disconnected is removed from the vector while events are sent. */
  fip64_event_client_t *clients = vec_dup (fm->event_clients), *client;

  vec_foreach (q, fm->queues)
    {
      u32 head = __atomic_load_n (&q->head, __ATOMIC_ACQUIRE), tail = q->tail;
      for (; tail != head; tail++)
	vec_foreach (client, clients)
	  {
	    bool sent = fip64_event_send (client, q->events + tail % FIP64_EVENTS);
	    vlib_increment_simple_counter (&fm->count_events, 0, sent ? FIP64_EVENTS_SENT : FIP64_EVENTS_DROPPED, 1);
	  }
      __atomic_store_n (&q->tail, tail, __ATOMIC_RELEASE);
    }
  vec_free (clients);
}

void
fip64_events_want (u32 client_index, u32 pid)
{
  fip64_main_t *fm = &fip64_main;
  fip64_event_client_t *client;
  fip64_event_queue_t *q;

  vec_foreach (client, fm->event_clients)
    if (client->index == client_index)
      {
	client->pid = pid;
	return;
      }
  vec_foreach (q, fm->queues)
    {
      vec_validate (q->events, FIP64_EVENTS - 1);
      /* Events that were left when the last client ended. */
      if (fm->n_event_clients == 0)
	q->tail = q->head;
    }
  vec_add1 (fm->event_clients, ((fip64_event_client_t){ .index = client_index, .pid = pid }));
  fm->n_event_clients = vec_len (fm->event_clients);
  vlib_process_signal_event (vlib_get_main (), fip64_process_node.index, 0, 0);
}

/* The workers may be running, so their queues are not freed. */
void
fip64_events_want_no_more (u32 client_index)
{
  fip64_main_t *fm = &fip64_main;

  for (u32 i = 0; i < vec_len (fm->event_clients); i++)
    if (fm->event_clients[i].index == client_index)
      {
	vec_del1 (fm->event_clients, i);
	break;
      }
  fm->n_event_clients = vec_len (fm->event_clients);
}

/* Bindings */

u32
fip64_slot_address (const struct fip64_pool *pool, u32 slot)
{
  return clib_host_to_net_u32 (pool->first + slot);
}

static void
tell_change (const fip64_tenant_t *t, const struct fip64_pool *pool, const struct fip64_pool_change *change)
{
  for (u32 i = 0; i < change->n_evicted; i++)
    tell (t, FIP64_BINDING_EVICTED, change->evicted[i].v6, fip64_slot_address (pool, change->evicted[i].slot));
  if (change->n_evicted)
    count (FIP64_COUNT_EVICTED, t->index, change->n_evicted);
}

u32
fip64_client_bind (vlib_main_t *vm, fip64_tenant_t *t, const u8 v6[16], u32 now, struct fip64_endpoint *e)
{
  struct fip64_pool *pool = t->pool;
  struct fip64_pool_change change;

  if (fip64_pool_bind (pool, v6, now, &change) != FIP64_POOL_OK)
    {
      count (FIP64_COUNT_REFUSED, t->index, 1);
      return FIP64_NO_SLOT;
    }
  u32 address = fip64_slot_address (pool, change.slot);
  tell_change (t, pool, &change);
  if (change.made)
    {
      tell (t, FIP64_BINDING_MADE, v6, address);
      count (FIP64_COUNT_MADE, t->index, 1);
    }
  fip64_endpoint_init (e, v6, address);
  return change.slot;
}

clib_error_t *
fip64_binding_set (const ip6_address_t *client, u32 pool_address, u32 table_id)
{
  fip64_tenant_t *t = fip64_tenant_by_table (table_id);
  u32 address = clib_net_to_host_u32 (pool_address), now = fip64_now (vlib_get_main ());
  struct fip64_pool_change change;

  if (!t)
    return fip64_error (VNET_API_ERROR_NO_SUCH_ENTRY, "binding of %U: there is no tenant of table %u",
			format_ip6_address, client, table_id);
  if (!fip64_unicast6 (client))
    return fip64_error (VNET_API_ERROR_INVALID_SRC_ADDRESS, "binding of %U: this is no unicast address",
			format_ip6_address, client);
  if (address < t->is.pool_first || address > t->is.pool_last)
    return fip64_error (VNET_API_ERROR_INVALID_DST_ADDRESS,
			"binding of %U: %U is not in the pool of the tenant of table %u", format_ip6_address, client,
			format_ip4_address, &pool_address, table_id);
  switch (fip64_pool_bind_static (t->pool, client->as_u8, pool_address, now, &change))
    {
    case FIP64_POOL_OK:
      tell_change (t, t->pool, &change);
      return NULL;
    case FIP64_POOL_ADDRESS_STATIC:
      return fip64_error (VNET_API_ERROR_ADDRESS_IN_USE,
			  "binding of %U: %U of the tenant of table %u is another's, statically",
			  format_ip6_address, client, format_ip4_address, &pool_address, table_id);
    case FIP64_POOL_CLIENT_STATIC:
      return fip64_error (VNET_API_ERROR_ENTRY_ALREADY_EXISTS,
			  "binding of %U: it has another address of the tenant of table %u, statically",
			  format_ip6_address, client, table_id);
    case FIP64_POOL_BAD_ADDRESS:
      return fip64_error (VNET_API_ERROR_INVALID_SRC_ADDRESS, "binding of %U: this is no client's address",
			  format_ip6_address, client);
    default:
      return fip64_error (VNET_API_ERROR_INVALID_MEMORY_SIZE, "binding of %U: no memory", format_ip6_address, client);
    }
}

void
fip64_binding_remove (const ip6_address_t *client, u32 table_id)
{
  fip64_tenant_t *t = fip64_tenant_by_table (table_id);
  struct fip64_pool_change change;

  if (!t)
    return;
  if (fip64_pool_unbind (t->pool, client->as_u8, &change) != FIP64_POOL_OK || change.was_static)
    return;
  count (FIP64_COUNT_REMOVED, t->index, 1);
  tell (t, FIP64_BINDING_REMOVED, client->as_u8, fip64_slot_address (t->pool, change.evicted[0].slot));
}

void
fip64_bindings_forget (fip64_tenant_t *t, struct fip64_pool *pool)
{
  u32 n = fip64_pool_count (pool) - fip64_pool_count_static (pool), told = 0, cursor = 0;
  struct fip64_binding chunk[64];

  count (FIP64_COUNT_REMOVED, t->index, n);
  if (!fip64_main.n_event_clients)
    return;
  while (told < n && told < FIP64_EVENTS && cursor < pool->n_slots)
    {
      u32 got = fip64_pool_walk (pool, &cursor, ARRAY_LEN (chunk), 0, chunk);
      for (u32 i = 0; i < got; i++)
	if (!chunk[i].is_static)
	  {
	    tell (t, FIP64_BINDING_REMOVED, chunk[i].v6, chunk[i].v4);
	    told++;
	  }
    }
  if (told < n)
    vlib_increment_simple_counter (&fip64_main.count_events, vlib_get_thread_index (), FIP64_EVENTS_DROPPED, n - told);
}

/* Expiry */

static void
expired (void *arg, const u8 v6[16], u32 slot)
{
  fip64_tenant_t *t = arg;
  tell (t, FIP64_BINDING_EXPIRED, v6, fip64_slot_address (t->pool, slot));
}

/* Returns whether there is more to do. */
static bool
expire (u32 now)
{
  fip64_main_t *fm = &fip64_main;
  u32 budget = EXPIRE_MAX;
  fip64_tenant_t *t;

  pool_foreach (t, fm->tenants)
    {
      u32 n = fip64_pool_expire (t->pool, now, budget, expired, t);
      if (n)
	count (FIP64_COUNT_EXPIRED, t->index, n);
      budget -= n;
      if (budget == 0)
	return true;
    }
  return false;
}

static void
refresh_gauges (void)
{
  fip64_main_t *fm = &fip64_main;
  fip64_tenant_t *t;

  pool_foreach (t, fm->tenants)
    {
      vlib_set_simple_counter (&fm->tenant_counters[FIP64_COUNT_BINDINGS], 0, t->index, fip64_pool_count (t->pool));
      vlib_set_simple_counter (&fm->tenant_counters[FIP64_COUNT_STATIC], 0, t->index,
			       fip64_pool_count_static (t->pool));
    }
}

static uword
fip64_process (vlib_main_t *vm, vlib_node_runtime_t *rt, vlib_frame_t *f)
{
  fip64_main_t *fm = &fip64_main;
  f64 next_expiry = 0;

  while (1)
    {
      f64 wait = clib_max (next_expiry - vlib_time_now (vm), EXPIRE_AGAIN);
      if (fm->n_event_clients)
	wait = clib_min (wait, EVENT_INTERVAL);
      vlib_process_wait_for_event_or_clock (vm, wait);
      vlib_process_get_events (vm, NULL);
      if (vlib_time_now (vm) >= next_expiry)
	{
	  next_expiry = vlib_time_now (vm) + (expire (fip64_now (vm)) ? EXPIRE_AGAIN : EXPIRE_INTERVAL);
	  refresh_gauges ();
	  fip64_notices_log (vlib_time_now (vm));
	}
      if (fm->n_event_clients)
	send_events ();
    }
  return 0;
}

VLIB_REGISTER_NODE (fip64_process_node, static) = {
  .function = fip64_process,
  .type = VLIB_NODE_TYPE_PROCESS,
  .name = "fip64-process",
};
