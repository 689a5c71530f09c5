/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

VLIB_NODE_FN (ip6_fip64_node) (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  vlib_buffer_free (vm, vlib_frame_vector_args (frame), frame->n_vectors);
  return frame->n_vectors;
}

VLIB_REGISTER_NODE (ip6_fip64_node) = {
  .name = "ip6-fip64",
  .vector_size = sizeof (u32),
  .type = VLIB_NODE_TYPE_INTERNAL,
};
