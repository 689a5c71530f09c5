/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the FIB entries of a tenant's pool to the look-up in the IPv6 table of the sender's mapping.
 *
 * Four steps, each some packets ahead of the next, so that memory is there when it is read: buffer and headers; the
 * sender's entry among the fixed addresses, and the client's place in the pool; the sender, and its mapping's counter;
 * the translation.
 */
#include "node.h"

enum
{
  AHEAD_HEADERS = 16,
  AHEAD_HOSTS = 12,
  AHEAD_SENDER = 5,
};

static_always_inline void
prefetch_headers (vlib_buffer_t *b)
{
  vlib_prefetch_buffer_header (b, STORE);
  clib_prefetch_store (b->data);
  clib_prefetch_store (b->data - CLIB_CACHE_LINE_BYTES); /* the IPv6 header begins there */
}

static_always_inline void
prefetch_hosts (vlib_buffer_t *b)
{
  u32 tenant = vnet_buffer (b)->ip.adj_index[VLIB_TX];
  const u8 *p = vlib_buffer_get_current (b);
  fip64_fixed_prefetch (tenant, fip64_load32 (p + 12));
  fip64_pool_prefetch4 (fip64_main.tenants[tenant].pool, fip64_load32 (p + 16));
}

static_always_inline const fip64_fixed_t *
find_sender (vlib_main_t *vm, vlib_buffer_t *b)
{
  const u8 *p = vlib_buffer_get_current (b);
  const fip64_fixed_t *f = fip64_fixed_find (vnet_buffer (b)->ip.adj_index[VLIB_TX], fip64_load32 (p + 12));
  if (PREDICT_TRUE (f != NULL))
    vlib_prefetch_combined_counter (&fip64_main.count_4to6, vm->thread_index, f->mapping);
  return f;
}

/* A short packet may have been padded to the shortest Ethernet frame: cut to the length in its header. */
static_always_inline struct fip64_buf
trimmed (struct fip64_buf buf)
{
  u32 len = fip64_be16 (buf.data + 2);
  buf.contig = buf.total = clib_min (buf.contig, len);
  return buf;
}

VLIB_NODE_FN (ip4_fip64_node) (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  u32 *from = vlib_frame_vector_args (frame);
  u32 n = frame->n_vectors;
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE + AHEAD_HEADERS];
  const fip64_fixed_t *senders[VLIB_FRAME_SIZE + AHEAD_SENDER];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 sent = 0, n_translated = 0;
  u32 now = fip64_now (vm);

  vlib_get_buffers (vm, from, bufs, n);
  /* The last buffer repeated, so that prefetches need no check for the end. */
  for (u32 i = 0; i < AHEAD_HEADERS; i++)
    bufs[n + i] = bufs[n - 1];
  for (u32 i = 0; i < AHEAD_HOSTS && i < n; i++)
    prefetch_hosts (bufs[i]);
  for (u32 i = 0; i < AHEAD_SENDER && i < n; i++)
    senders[i] = find_sender (vm, bufs[i]);

  for (u32 i = 0; i < n; i++)
    {
      vlib_buffer_t *b = bufs[i];
      prefetch_headers (bufs[i + AHEAD_HEADERS]);
      prefetch_hosts (bufs[i + AHEAD_HOSTS]);
      senders[i + AHEAD_SENDER] = find_sender (vm, bufs[i + AHEAD_SENDER]);

      const fip64_tenant_t *t = fip64_main.tenants + vnet_buffer (b)->ip.adj_index[VLIB_TX];
      struct fip64_buf buf = trimmed (fip64_buf_of (b));
      struct fip64_info info;
      struct fip64_endpoint client;
      const fip64_fixed_t *f = senders[i];

      if (PREDICT_TRUE (!(b->flags & FIP64_SLOW_FLAGS) && fip64_is_plain4 (&buf, &t->conf, &info) &&
			f != NULL &&
			fip64_pool_find4 (t->pool, fip64_load32 (buf.data + 16), now, &client) != FIP64_NO_SLOT))
	{
	  struct fip64_addrs addrs = { .src = &f->endpoint, .dst = &client };
	  u32 bytes = buf.total;
	  fip64_4to6 (&buf, &t->conf, &info, &addrs);
	  fip64_buf_back (b, &buf, f->ip6_fib_index);
	  vlib_increment_combined_counter (&fip64_main.count_4to6, vm->thread_index, f->mapping, 1, bytes);
	  nexts[i] = FIP64_NEXT_IP6_LOOKUP;
	  n_translated++;
	  continue;
	}

      nexts[i] = fip64_node4_slow (vm, node, b, now);
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

VLIB_REGISTER_NODE (ip4_fip64_node) = {
  .name = "ip4-fip64",
  .vector_size = sizeof (u32),
  .type = VLIB_NODE_TYPE_INTERNAL,
  .format_trace = format_fip64_trace,
  .n_errors = FIP64_N_ERRORS,
  .error_counters = fip64_node_errors,
  .n_next_nodes = FIP64_N_NEXT,
  .next_nodes = FIP64_NEXT_NODES,
};
