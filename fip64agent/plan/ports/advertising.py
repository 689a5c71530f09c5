# SPDX-License-Identifier: Apache-2.0
"""What a router's interface says in its Router Advertisements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fip64agent.net.advertising import Advertising
from fip64agent.net.icmpv6 import PREFERENCE_HIGH, PREFERENCE_LOW, PREFERENCE_MEDIUM
from fip64agent.net.options import AUTONOMOUS, ON_LINK, PrefixInformation
from fip64agent.net.router_options import Pref64, RouteInformation
from fip64agent.plan.inputs import PortServices
from fip64agent.topology.model import DHCPV6_STATEFUL, DHCPV6_STATELESS, Network, Port, Subnet

PREFERENCES = {"high": PREFERENCE_HIGH, "medium": PREFERENCE_MEDIUM, "low": PREFERENCE_LOW}
_LIFETIMES = 3
"""Lifetimes of what is advertised, in longest intervals: RFC 8106, section 5.1; RFC 8781, section 4.1."""


def advertised(port: Port, subnets: Iterable[Subnet], network: Network,
               options: PortServices) -> Advertising | None:
    """Return what a router's port advertises; None when no subnet of it wants that (ipv6_ra_mode).

    subnets: the IPv6 subnets that it has an address in.
    """
    told = [subnet for subnet in subnets if subnet.ipv6_ra_mode is not None]
    if not told or not options.router_advertisements:
        return None
    modes = {subnet.ipv6_ra_mode for subnet in told}
    lifetime = _LIFETIMES * options.max_advertisement_interval
    nat64 = options.nat64_prefix
    return Advertising(
        mac=port.mac_address, router_lifetime=options.router_lifetime,
        managed=DHCPV6_STATEFUL in modes, other=bool(modes & {DHCPV6_STATEFUL, DHCPV6_STATELESS}),
        preference=PREFERENCES[options.router_preference],
        reachable_time=options.reachable_time, retransmit_timer=options.retransmit_timer,
        prefixes=tuple(_prefix(subnet, options) for subnet in told), mtu=network.mtu,
        routes=tuple(_routes(port, told, options)),
        dns_servers=tuple(dict.fromkeys(server for subnet in told for server in subnet.dns_nameservers)),
        dns_servers_lifetime=lifetime,
        search_domains=(network.dns_domain,) if network.dns_domain else (), search_domains_lifetime=lifetime,
        nat64_prefixes=(Pref64(nat64.network_address, nat64.prefixlen, lifetime),) if nat64 else ())


def _prefix(subnet: Subnet, options: PortServices) -> PrefixInformation:
    autonomous = 0 if subnet.ipv6_ra_mode == DHCPV6_STATEFUL else AUTONOMOUS
    return PrefixInformation(subnet.cidr.network_address, subnet.cidr.prefixlen, ON_LINK | autonomous,
                             options.prefix_valid_lifetime, options.prefix_preferred_lifetime)


def _routes(port: Port, subnets: list[Subnet], options: PortServices) -> Iterator[RouteInformation]:
    """Yield the host routes that lead to this router: a Router Advertisement can say nothing of others."""
    own = {fixed.ip_address for fixed in port.fixed_ips}
    preference = PREFERENCES[options.router_preference]
    for destination in sorted({route.destination for subnet in subnets for route in subnet.host_routes
                               if route.nexthop in own}):
        yield RouteInformation(destination.network_address, destination.prefixlen, preference,
                               options.router_lifetime)
