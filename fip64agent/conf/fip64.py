# SPDX-License-Identifier: Apache-2.0
"""[fip64]"""

from oslo_config import cfg

from fip64agent.conf.modules import modules_with

GROUP = cfg.OptGroup("fip64", title="Translation")
_TRANSLATORS = [module.TRANSLATOR for module in modules_with("TRANSLATOR")]
"""(name, help). Options here speak of what a translator can do: which one can, each says in its help."""
OPTS = [
    cfg.StrOpt("translator", default="auto",
               choices=[("auto", "The fastest one that has on this machine what it needs."),
                        *_TRANSLATORS],
               help="What executes the translation. Decided when the agent starts, which then logs why. A "
                    "restart with another one removes what the one before has installed."),
    cfg.StrOpt("nat64_pool", mutable=True, default="100.64.0.0/16",
               help="IPv4 range, per tenant, that stands in for IPv6 clients: one address per client. "
                    "A router's nat64_pool overrides it. It must not overlap the tenant's IPv4 subnets (its "
                    "floating IPs do not work then), nor its routes and host routes (told in status)."),
    cfg.StrOpt("nat64_pool_slice", mutable=True, default="1/1", regex=r"^[0-9]{1,5}/[0-9]{1,5}$",
               help="The part of each NAT64 pool that this host gives to clients: 2/3 is the second of "
                    "three. Hosts that translate for the same tenants get different parts, and the same "
                    "number of parts, a power of two unless the translator takes any number."),
    cfg.IntOpt("client_idle_timeout", mutable=True, default=7440, min=0, max=2000000,
               help="Seconds after which a silent client loses its pool address; 0: only when another client "
                    "needs it. Below 7440 (2 h 4 min: RFC 5382, REQ-5) idle TCP connections are lost "
                    "that other NATs keep. A translator that cannot be tuned has a fixed value (see "
                    "translator)."),
    cfg.IntOpt("clients_per_prefix", mutable=True, default=256, min=0, max=4194304,
               help="Clients of one IPv6 /64 that a tenant serves at a time, so that no single network can "
                    "use up a pool; of more, the one silent for longest loses its pool address. 0: any "
                    "number. A translator that cannot be tuned has no such limit."),
    cfg.IntOpt("lowest_ipv6_mtu", mutable=True, default=1280, min=1280, max=65535,
               help="Threshold of the minimum IPv6 MTU (RFC 7915, section 4), in bytes: what a VM sends "
                    "without the Don't Fragment flag becomes IPv6 packets no longer than this, in fragments "
                    "if need be. Many networks drop IPv6 fragments: where all paths to the clients are known "
                    "to take more than 1280, 1500 for instance, say so. The uplink's MTU is never exceeded. "
                    "A translator that cannot be tuned has a fixed value (see translator)."),
    cfg.StrOpt("traffic_class", mutable=True, default="copy",
               choices=[("copy", "Traffic class and TOS are copied from one to the other."),
                        ("zero", "They are set to zero, in both directions.")],
               help="What becomes of the IPv6 traffic class and the IPv4 TOS (RFC 7915, sections 4.1 and "
                    "5.1). A translator that cannot be tuned always does the same (see translator)."),
    cfg.StrOpt("udp_zero_checksum", mutable=True, default="compute",
               choices=[("compute", "They get a checksum."),
                        ("drop", "They are dropped, counted, and told in the translator's log.")],
               help="What becomes of UDP packets of the VMs that have no checksum, which IPv6 does not allow "
                    "(RFC 7915, section 4.5). Fragments of them are dropped in any case. A translator "
                    "that cannot be tuned always does the same (see translator)."),
    cfg.IntOpt("vlan_min", mutable=True, default=1, min=1, max=4094,
               help="First 802.1Q VLAN ID for tenants, on the veth between OVS and the translator."),
    cfg.IntOpt("vlan_max", mutable=True, default=4094, min=1, max=4094,
               help="Last 802.1Q VLAN ID for tenants."),
]
