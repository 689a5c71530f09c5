# SPDX-License-Identifier: Apache-2.0
"""[fip64]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("fip64", title="Translation")
OPTS = [
    cfg.StrOpt("translator", default="tayga",
               choices=[("tayga", "One tayga process per tenant, in the tenant's network namespace.")],
               help="What executes the translation."),
    cfg.StrOpt("nat64_pool", mutable=True, default="100.64.0.0/16",
               help="IPv4 range, per tenant, that stands in for IPv6 clients: one address per client. "
                    "A router's nat64_pool overrides it. It must not overlap the tenant's subnets."),
    cfg.IntOpt("vlan_min", mutable=True, default=1, min=1, max=4094,
               help="First 802.1Q VLAN ID for tenants, on the veth between OVS and the translator."),
    cfg.IntOpt("vlan_max", mutable=True, default=4094, min=1, max=4094,
               help="Last 802.1Q VLAN ID for tenants."),
]
