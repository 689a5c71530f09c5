/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the FIB entry of a floating IP to the look-up in its tenant's IPv4 table.
 *
 * Five steps, each some packets ahead of the next, so that memory is there when it is read: buffer and headers; the
 * mapping; the pool's line in which the client is looked for first; a look into it, and where to look next if the client
 * is not there; the translation. A step takes about 40 clocks, a line from memory 300 and more.
 */
#include "node.h"

enum
{
  AHEAD_HEADERS = 28,
  AHEAD_MAPPING = 22,
  AHEAD_CLIENT = 14,
  AHEAD_PEEK = 6,
};

static_always_inline void
prefetch_headers (vlib_buffer_t *b)
{
  vlib_prefetch_buffer_header (b, STORE);
  clib_prefetch_store (b->data);
}

static_always_inline void
prefetch_mapping (vlib_main_t *vm, vlib_buffer_t *b)
{
  u32 mapping = vnet_buffer (b)->ip.adj_index[VLIB_TX];
  clib_prefetch_load (fip64_main.mappings + mapping);
  vlib_prefetch_combined_counter (&fip64_main.count_6to4, vm->thread_index, mapping);
}

/* Prefetches the slot in which the client is searched first. */
static_always_inline u32
prefetch_client (vlib_buffer_t *b)
{
  const fip64_mapping_t *m = fip64_main.mappings + vnet_buffer (b)->ip.adj_index[VLIB_TX];
  const struct fip64_pool *pool = fip64_main.tenants[m->tenant].pool;
  const u8 *p = vlib_buffer_get_current (b);
  u32 home = fip64_pool_home6 (pool, p + 8);
  fip64_pool_prefetch6 (pool, home);
  return home;
}

/* Finds the slot in which the client seems to be. */
static_always_inline u32
peek_client (vlib_buffer_t *b, u32 home)
{
  const fip64_mapping_t *m = fip64_main.mappings + vnet_buffer (b)->ip.adj_index[VLIB_TX];
  const u8 *p = vlib_buffer_get_current (b);
  return fip64_pool_peek6 (fip64_main.tenants[m->tenant].pool, home, p + 8);
}

VLIB_NODE_FN (ip6_fip64_node) (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  u32 *from = vlib_frame_vector_args (frame);
  u32 n = frame->n_vectors;
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE + AHEAD_HEADERS];
  u32 homes[VLIB_FRAME_SIZE + AHEAD_CLIENT];
  u32 slots[VLIB_FRAME_SIZE + AHEAD_PEEK];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 sent = 0, n_translated = 0;
  u32 now = fip64_now (vm);
  fip64_worker_t *w = fip64_nodes.workers + vm->thread_index;

  vlib_get_buffers (vm, from, bufs, n);
  /* The last buffer repeated, so that prefetches need no check for the end. */
  for (u32 i = 0; i < AHEAD_HEADERS; i++)
    bufs[n + i] = bufs[n - 1];
  for (u32 i = 0; i < AHEAD_MAPPING && i < n; i++)
    prefetch_mapping (vm, bufs[i]);
  for (u32 i = 0; i < AHEAD_CLIENT && i < n; i++)
    homes[i] = prefetch_client (bufs[i]);
  for (u32 i = n; i < AHEAD_CLIENT; i++)
    homes[i] = homes[n - 1];
  for (u32 i = 0; i < AHEAD_PEEK && i < n; i++)
    slots[i] = peek_client (bufs[i], homes[i]);

  for (u32 i = 0; i < n; i++)
    {
      vlib_buffer_t *b = bufs[i];
      prefetch_headers (bufs[i + AHEAD_HEADERS]);
      prefetch_mapping (vm, bufs[i + AHEAD_MAPPING]);
      homes[i + AHEAD_CLIENT] = prefetch_client (bufs[i + AHEAD_CLIENT]);
      slots[i + AHEAD_PEEK] = peek_client (bufs[i + AHEAD_PEEK], homes[i + AHEAD_PEEK]);

      u32 mapping = vnet_buffer (b)->ip.adj_index[VLIB_TX];
      const fip64_mapping_t *m = fip64_main.mappings + mapping;
      const fip64_tenant_t *t = fip64_main.tenants + m->tenant;
      struct fip64_buf buf = fip64_buf_of (b);
      struct fip64_info info;
      struct fip64_endpoint client;
      const u8 *src = buf.data + 8;

      if (PREDICT_TRUE (!(b->flags & FIP64_SLOW_FLAGS) && fip64_is_plain6 (&buf, &t->conf, &info) &&
			fip64_pool_find6_peeked (t->pool, homes[i], slots[i], src, now, &client) != FIP64_NO_SLOT))
	{
	  struct fip64_addrs addrs = { .src = &client, .dst = &m->endpoint };
	  u32 bytes = buf.total;
	  fip64_6to4 (&buf, &t->conf, &info, &addrs, w->ident++);
	  fip64_buf_back (b, &buf, t->ip4_fib_index);
	  vlib_increment_combined_counter (&fip64_main.count_6to4, vm->thread_index, mapping, 1, bytes);
	  nexts[i] = FIP64_NEXT_IP4_LOOKUP;
	  n_translated++;
	  continue;
	}

      nexts[i] = fip64_node6_slow (vm, node, b, now);
      if (PREDICT_FALSE (nexts[i] == FIP64_NEXT_FRAGMENTS))
	{
	  fip64_enqueue (vm, node, from + sent, nexts + sent, i - sent);
	  fip64_enqueue_fragments (vm, node);
	  sent = i + 1;
	}
    }

  fip64_enqueue (vm, node, from + sent, nexts + sent, n - sent);
  vlib_node_increment_counter (vm, node->node_index, FIP64_R_OK, n_translated);
  return n;
}

VLIB_REGISTER_NODE (ip6_fip64_node) = {
  .name = "ip6-fip64",
  .vector_size = sizeof (u32),
  .type = VLIB_NODE_TYPE_INTERNAL,
  .format_trace = format_fip64_trace,
  .n_errors = FIP64_N_ERRORS,
  .error_counters = fip64_node_errors,
  .n_next_nodes = FIP64_N_NEXT,
  .next_nodes = FIP64_NEXT_NODES,
};
