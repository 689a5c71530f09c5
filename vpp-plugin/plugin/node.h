/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Common definitions of ip6-fip64 and ip4-fip64. Their loops translate plain TCP and UDP of known hosts. Every other
 * packet (ICMP, fragments, extension headers, chained or traced buffers, new clients, packets that are refused) is
 * handled, one at a time, by fip64_node6_slow or fip64_node4_slow, which can translate all kinds.
 */
#ifndef FIP64_NODE_H
#define FIP64_NODE_H

#include "state.h"

#include <fip64/fast.h>
#include <fip64/pool_inline.h>

/* Counters of both nodes: first the core's reasons (enum fip64_reason), then these.
   X(symbol, stable name, severity, text). */
#define FIP64_NODE_COUNTERS                                                                                            \
  X (UNMAPPED_SOURCE, "source-without-floating-ip", ERROR, "IPv4 source has no floating IP")                           \
  X (UNBOUND_POOL_ADDRESS, "pool-address-without-client", ERROR, "no IPv6 client has this pool address (any more)")   \
  X (INNER_UNKNOWN, "inner-unknown-address", ERROR, "ICMP error quotes a packet of unknown hosts")                    \
  X (OFFLOAD, "unsupported-offload", ERROR, "segmentation or tunnel offload was left to do on the packet")            \
  X (OWN_SOURCE, "own-source", ERROR, "source is a floating IP or VPP's own address, but the packet comes from outside")  \
  X (NO_BUFFERS, "no-buffers", ERROR, "out of buffers for fragments")                                                  \
  X (ERRORS_SENT, "icmp-errors-sent", INFO, "ICMP errors sent to the senders of refused packets")                     \
  X (ERRORS_HELD_BACK, "icmp-errors-held-back", WARN, "ICMP errors not sent because of the rate limit")               \
  X (FRAGMENTED, "fragmented", INFO, "translated packets sent as fragments")                                           \
  X (FRAGMENTS, "fragments-made", INFO, "fragments that they were sent as")                                            \
  X (LINEARIZED, "linearized", INFO, "chained buffers copied together first")                                         \
  X (CHECKSUMS, "checksums-computed", INFO, "checksums computed that were left to offload")

typedef enum
{
  FIP64_ERROR_LAST_REASON = FIP64_N_REASONS - 1,
#define X(symbol, name, severity, text) FIP64_ERROR_##symbol,
  FIP64_NODE_COUNTERS
#undef X
    FIP64_N_ERRORS,
} fip64_node_error_t;

extern vlib_error_desc_t fip64_node_errors[FIP64_N_ERRORS];

typedef enum
{
  FIP64_NEXT_DROP,
  FIP64_NEXT_IP4_LOOKUP,
  FIP64_NEXT_IP6_LOOKUP,
  FIP64_N_NEXT,
  FIP64_NEXT_FRAGMENTS, /* no node: the packet was freed, its fragments are in the worker's list */
} fip64_next_t;

#define FIP64_NEXT_NODES                                                                                               \
  {                                                                                                                    \
    [FIP64_NEXT_DROP] = "error-drop", [FIP64_NEXT_IP4_LOOKUP] = "ip4-lookup", [FIP64_NEXT_IP6_LOOKUP] = "ip6-lookup",  \
  }

/* Bytes in front of a translated packet that are left for the headers of the link layer. */
#define FIP64_REWRITE_ROOM 32

/* The most buffers that one fragment needs; VPP's have 2048 bytes. */
#define FIP64_FRAGMENT_BUFFERS 33

/* ICMP errors that one worker sends in a second, and at once. */
#define FIP64_ERRORS_PER_SECOND 1000

typedef struct
{
  CLIB_CACHE_LINE_ALIGN_MARK (line);
  u16 ident; /* identification of the next IPv4 packet that needs one */
  f64 tokens;
  f64 refilled;	  /* time of the last refill, as vlib_time_now() */
  u32 *fragments; /* vector of buffers: see FIP64_NEXT_FRAGMENTS */
  fip64_next_t fragments_next;
} fip64_worker_t;

typedef struct
{
  fip64_worker_t *workers; /* by thread */
  u32 errors_per_second;
} fip64_nodes_t;

extern fip64_nodes_t fip64_nodes;

u16 fip64_node6_slow (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u32 now);
u16 fip64_node4_slow (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u32 now);
format_function_t format_fip64_trace;

/* A buffer with one of these flags does not take the fast path. */
#define FIP64_SLOW_FLAGS                                                                                               \
  (VLIB_BUFFER_NEXT_PRESENT | VLIB_BUFFER_IS_TRACED | VNET_BUFFER_F_OFFLOAD | VNET_BUFFER_F_GSO)

/* Flags about the headers that are replaced. */
#define FIP64_STALE_FLAGS (VNET_BUFFER_F_IS_IP4 | VNET_BUFFER_F_IS_IP6)

/* A buffer that is not chained, for the core. */
always_inline struct fip64_buf
fip64_buf_of (vlib_buffer_t *b)
{
  return (struct fip64_buf){
    .head = b->pre_data + FIP64_REWRITE_ROOM,
    .data = vlib_buffer_get_current (b),
    .contig = b->current_length,
    .total = b->current_length,
  };
}

/* Sets the buffer to the packet that the core has translated. */
always_inline void
fip64_buf_back (vlib_buffer_t *b, const struct fip64_buf *buf, u32 fib_index)
{
  b->current_data = buf->data - b->data;
  b->current_length = buf->contig;
  b->flags &= ~FIP64_STALE_FLAGS;
  vnet_buffer (b)->l3_hdr_offset = b->current_data;
  vnet_buffer (b)->sw_if_index[VLIB_TX] = fib_index;
}

/* Sends `n` packets from `from` on to the nodes in `nexts`. */
always_inline void
fip64_enqueue (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *from, u16 *nexts, u32 n)
{
  if (n)
    vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
}

always_inline void
fip64_enqueue_fragments (vlib_main_t *vm, vlib_node_runtime_t *node)
{
  fip64_worker_t *w = fip64_nodes.workers + vm->thread_index;
  vlib_buffer_enqueue_to_single_next (vm, node, w->fragments, w->fragments_next, vec_len (w->fragments));
  vec_reset_length (w->fragments);
}

#endif
