# SPDX-License-Identifier: Apache-2.0
"""[ports]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("ports", title="IPv6 of VM ports")
_GUARD = [("all", "No VM that is served."),
          ("secured", "VMs whose port has port_security_enabled; others may, as in Neutron."),
          ("none", "All may.")]
OPTS = [
    cfg.BoolOpt("enabled", mutable=True, default=True,
                help="Serve the ports of VMs that have an IPv6 address, or security groups: switch and route "
                     "their IPv6, and answer for their routers. Switch it off where another system does "
                     "that. Floating IPs do not need it."),
    cfg.BoolOpt("security_groups", mutable=True, default=True,
                help="Let pass only what the security groups of a port allow, IPv6 and IPv4. A topology "
                     "without any security group filters nothing."),
    cfg.BoolOpt("port_security", mutable=True, default=True,
                help="Let VMs send only IPv6 with the MAC and the addresses of their port, and Neighbor "
                     "Discovery only about these. Ports whose port_security_enabled is false may send what "
                     "they like, but for what the guards are for."),
    cfg.StrOpt("ra_guard", mutable=True, default="all", choices=_GUARD,
               help="Which VMs must not send what routers send: Router Advertisements and Redirects (RFC "
                    "6105). A VM that is a router for others needs secured, and port_security_enabled "
                    "false."),
    cfg.StrOpt("dhcpv6_guard", mutable=True, default="all", choices=_GUARD,
               help="Which VMs must not send what DHCPv6 servers send to clients (RFC 7610)."),
    cfg.IntOpt("conntrack_limit", mutable=True, default=50000, min=0, max=0xFFFFFFFF,
               help="Connections that the conntrack zone of a network with security groups has at a time, at "
                    "most, so that a VM that opens many does not take those of other networks; 0: any "
                    "number."),
    cfg.BoolOpt("router_advertisements", mutable=True, default=True,
                help="Advertise routers to the ports on their networks, as ipv6_ra_mode of a subnet says."),
    cfg.IntOpt("max_advertisement_interval", mutable=True, default=600, min=4, max=1800,
               help="Seconds between two Router Advertisements to a port that nobody asked for, at most "
                    "(MaxRtrAdvInterval of RFC 4861); at least a third of it."),
    cfg.IntOpt("router_lifetime", mutable=True, default=1800, min=0, max=9000,
               help="Seconds for which a router that is advertised is a default router (AdvDefaultLifetime "
                    "of RFC 4861); 0: it is none. If not 0, it must not be below "
                    "max_advertisement_interval."),
    cfg.StrOpt("router_preference", mutable=True, default="medium",
               choices=[("high", "VMs prefer it to other routers."), ("medium", "The default of RFC 4191."),
                        ("low", "VMs prefer other routers.")],
               help="How the routers are preferred that are advertised (RFC 4191)."),
    cfg.IntOpt("prefix_valid_lifetime", mutable=True, default=2592000, min=0, max=0xFFFFFFFF,
               help="Seconds for which the addresses of a prefix that is advertised are valid (RFC 4861)."),
    cfg.IntOpt("prefix_preferred_lifetime", mutable=True, default=604800, min=0, max=0xFFFFFFFF,
               help="Seconds for which they are used for new connections; not above prefix_valid_lifetime."),
    cfg.IntOpt("reachable_time", mutable=True, default=0, min=0, max=3600000,
               help="Milliseconds for which VMs take a neighbor to be reachable after it has answered (RFC "
                    "4861); 0: they decide."),
    cfg.IntOpt("retransmit_timer", mutable=True, default=0, min=0, max=0xFFFFFFFF,
               help="Milliseconds between two Neighbor Solicitations of VMs (RFC 4861); 0: they decide."),
    cfg.StrOpt("nat64_prefix", mutable=True, default="",
               help="Prefix by which VMs reach IPv4 hosts through a NAT64, advertised as PREF64 (RFC 8781): "
                    "64:ff9b::/96. Empty: none is."),
]
