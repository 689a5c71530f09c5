/* SPDX-License-Identifier: Apache-2.0 */
#include <vnet/plugin/plugin.h>

#include "state.h"

fip64_main_t fip64_main;

VLIB_PLUGIN_REGISTER () = {
  .version = FIP64_VERSION,
  .description = "Floating IPv6 addresses for hosts that have only IPv4 (FIP64)",
};

u32
fip64_client_bind (vlib_main_t *vm, fip64_tenant_t *t, const u8 v6[16], u32 now, struct fip64_endpoint *e)
{
  return FIP64_NO_SLOT;
}
