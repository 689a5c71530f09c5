/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VPP punts IPv4 packets with options; RFC 7915 section 5.1 demands that they are translated without the options.
 * This node takes those to a tenant's pool from the punt path, so that they are looked up like any other packet.
 */
#include "node.h"

#include <vnet/feature/feature.h>
#include <vnet/fib/fib_table.h>
#include <vnet/ip/ip.h>

enum
{
  NEXT_LOOKUP,
  N_NEXT,
};

typedef struct
{
  ip4_address_t src, dst;
  bool ours;
} trace_t;

static u8 *
format_trace (u8 *s, va_list *args)
{
  CLIB_UNUSED (vlib_main_t * vm) = va_arg (*args, vlib_main_t *);
  CLIB_UNUSED (vlib_node_t * node) = va_arg (*args, vlib_node_t *);
  trace_t *t = va_arg (*args, trace_t *);
  return format (s, "%U -> %U with options: %s", format_ip4_address, &t->src, format_ip4_address, &t->dst,
		 t->ours ? "to a pool of ours" : "not to a pool of ours, left alone");
}

static bool
to_a_pool (vlib_buffer_t *b)
{
  const ip4_header_t *ip = vlib_buffer_get_current (b);
  u32 rx = vnet_buffer (b)->sw_if_index[VLIB_RX];

  if (ip4_header_bytes (ip) <= sizeof (*ip) || rx >= vec_len (ip4_main.fib_index_by_sw_if_index) ||
      !fip64_ip4_header_ok ((const u8 *) ip, b->current_length))
    return false;
  u32 fib_index = ip4_main.fib_index_by_sw_if_index[rx];
  uword *tenant =
    hash_get (fip64_main.tenant_by_table, fib_table_get_table_id (fib_index, FIB_PROTOCOL_IP4));
  if (!tenant)
    return false;
  const fip64_tenant_wanted_t *is = &fip64_tenant_get (tenant[0])->is;
  u32 dst = clib_net_to_host_u32 (ip->dst_address.as_u32);
  return is->pool_first <= dst && dst <= is->pool_last;
}

VLIB_NODE_FN (ip4_fip64_options_node) (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  u32 *from = vlib_frame_vector_args (frame);
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];

  vlib_get_buffers (vm, from, bufs, frame->n_vectors);
  for (u32 i = 0; i < frame->n_vectors; i++)
    {
      vlib_buffer_t *b = bufs[i];
      const ip4_header_t *ip = vlib_buffer_get_current (b);
      bool ours = to_a_pool (b);

      if (PREDICT_FALSE ((node->flags & VLIB_NODE_FLAG_TRACE) && (b->flags & VLIB_BUFFER_IS_TRACED)))
	{
	  trace_t *t = vlib_add_trace (vm, node, b, sizeof (*t));
	  *t = (trace_t){ .src = ip->src_address, .dst = ip->dst_address, .ours = ours };
	}
      if (ours)
	{
	  vnet_buffer (b)->sw_if_index[VLIB_TX] = ~0;
	  nexts[i] = NEXT_LOOKUP;
	}
      else
	vnet_feature_next_u16 (&nexts[i], b);
    }
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, frame->n_vectors);
  return frame->n_vectors;
}

VLIB_REGISTER_NODE (ip4_fip64_options_node) = {
  .name = "ip4-fip64-options",
  .vector_size = sizeof (u32),
  .type = VLIB_NODE_TYPE_INTERNAL,
  .format_trace = format_trace,
  .n_next_nodes = N_NEXT,
  .next_nodes = { [NEXT_LOOKUP] = "ip4-lookup" },
};

VNET_FEATURE_INIT (ip4_fip64_options_feature, static) = {
  .arc_name = "ip4-punt",
  .node_name = "ip4-fip64-options",
  .runs_before = VNET_FEATURES ("ip4-punt-redirect", "error-punt"),
};

static clib_error_t *
fip64_options_main_loop_enter (vlib_main_t *vm)
{
  /* The punt arc does not depend on interfaces: its features are those of interface 0. */
  if (vnet_feature_enable_disable ("ip4-punt", "ip4-fip64-options", 0, 1, NULL, 0))
    return clib_error_return (0, "fip64: cannot fetch back IPv4 packets with options");
  return NULL;
}

VLIB_MAIN_LOOP_ENTER_FUNCTION (fip64_options_main_loop_enter);
