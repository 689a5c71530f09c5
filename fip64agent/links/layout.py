# SPDX-License-Identifier: Apache-2.0
"""From an object of the plan to the links, addresses and routes it needs. Pure.

With tayga, Linux stands in for what VPP does itself: the core namespace is the router between the
uplinks and the tenants, and each tenant's namespace is its VRF. With VPP only the veths
and the Neighbor Discovery links' namespace remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.links import marks
from fip64agent.links.model import BLACKHOLE, Address, LinkItem, Namespace, Neighbour, Route, Rule, Tun, Veth
from fip64agent.net.addresses import link_local
from fip64agent.plan.desired import Host, Mapping64, ObjectKey, PlanObject, Tenant, Uplink

MAIN = 254
FIPS = 100
"""Core: routing table of the floating IPs."""
TRANSLATE = 64
"""Tenant: routing table of what comes from the core: all of it to the translator."""
FIRST, BY_SOURCE, LAST = 100, 200, 300
"""Core: priorities of rules: floating IPs, then by source to the uplink, then any uplink."""
FORGED = 50
"""Core: priority of the rules for what comes from outside with an address of ours."""
NOWHERE = 101
"""Routing table with nothing but a blackhole."""
ABOVE_DEFAULT = 1024
"""Metric of IPv6 routes that are given none: ours are above it, so that none can be mistaken for it."""
CORE = "core"
"""Name, in a tenant's namespace, of the link to the core."""
TUN = "nat64"
DEFAULT4 = IPv4Network("0.0.0.0/0")
DEFAULT6 = IPv6Network("::/0")
IN_CORE = IPv6Interface("fe80::1/64")
IN_TENANT = IPv6Interface("fe80::2/64")
TO_VMS = IPv4Address("169.254.0.1")
"""Tenant: next hop towards the VMs. Nobody has it: the delivery flows put the right MACs in."""
TO_VMS_MAC = "02:f6:40:00:00:01"
MTU = 1500

LARGE_MTU = 9216
"""Of the veth towards the VMs: a VM's jumbo frame must come in, so that its sender is told what fits."""

ROUTER = (("ipv4.conf.all.forwarding", "1"), ("ipv4.conf.all.rp_filter", "0"),
          ("ipv4.conf.default.rp_filter", "0"), ("ipv6.conf.all.disable_ipv6", "0"),
          ("ipv6.conf.default.disable_ipv6", "0"), ("ipv6.conf.all.forwarding", "1"),
          ("ipv6.conf.default.accept_dad", "0"), ("ipv6.conf.default.accept_ra", "0"))
"""Of a namespace that forwards: sysctls below net."""


def expand(prefix: str, obj: PlanObject) -> Iterator[LinkItem]:
    """Yield the items for `obj`; `prefix` is the agent's namespace prefix, for the marks."""
    tayga = getattr(obj, "translator", "") == "tayga"
    match obj:
        case Host():
            yield Namespace(obj.nd_netns, ROUTER, owner=obj.key)
            yield from _core(obj) if tayga else _downlink(prefix, obj)
        case Uplink():
            mark = marks.uplink(prefix, obj.port_id, obj.table)
            if tayga:
                yield Veth("", obj.veth, obj.core_netns, obj.peer, mark, obj.mtu, obj.mac, True,
                           owner=obj.key)
                yield from _routing(obj)
            else:
                yield Veth("", obj.veth, "", obj.peer, mark, obj.mtu, other_mac(obj.mac), True, deaf=True,
                           owner=obj.key)
            yield from _neighbor_discovery(obj, mark)
        case Tenant() if tayga:
            yield from _tenant(prefix, obj)
        case Mapping64():
            if tayga:
                yield Route(obj.core_netns, FIPS, IPv6Network(obj.floating_ip), obj.core_link, IN_TENANT.ip,
                            owner=obj.key)
            if obj.on_link:
                yield _answered_for(obj.nd_netns, obj.nd_peer, obj.floating_ip, obj.key)


def other_mac(mac: str) -> str:
    """Return a MAC for the kernel where VPP has `mac`: so packets to VPP are none of the kernel's."""
    first = "06" if mac[:2] != "06" else "0a"
    return first + mac[2:]


def _core(host: Host) -> Iterator[LinkItem]:
    yield Namespace(host.core_netns, ROUTER, owner=host.key)
    yield Rule(host.core_netns, 6, FIRST, FIPS, owner=host.key)
    yield Route(host.core_netns, NOWHERE, DEFAULT6, kind=BLACKHOLE, owner=host.key)


def _neighbor_discovery(uplink: Uplink, mark: str) -> Iterator[LinkItem]:
    """The link whose far end answers for the uplink: the kernel there has its MAC and its addresses.

    Neighbor Discovery and MLD are all that the flows bring there. So the kernel's own implementation
    serves both translators and every datapath, and goes on when the agent and the translator do not.
    """
    yield Veth("", uplink.nd_veth, uplink.nd_netns, uplink.nd_peer, mark, uplink.mtu, uplink.mac, True,
               owner=uplink.key)
    for address in uplink.addresses:
        if address.ip != link_local(uplink.mac):  # the kernel has that one by itself
            yield _answered_for(uplink.nd_netns, uplink.nd_peer, address.ip, uplink.key)


def _answered_for(netns: str, link: str, address: IPv6Address, owner: ObjectKey) -> Address:
    return Address(netns, link, IPv6Interface((address, 128)), owner)


def _downlink(prefix: str, host: Host) -> Iterator[LinkItem]:
    yield Veth("", host.downlink, "", host.downlink_peer, marks.host(prefix), LARGE_MTU,
               other_mac(host.downlink_mac), True, deaf=True, owner=host.key)


def _routing(uplink: Uplink) -> Iterator[LinkItem]:
    core, link, key = uplink.core_netns, uplink.peer, uplink.key
    for address in uplink.addresses:
        yield Address(core, link, address, key)
        yield Rule(core, 6, FORGED, NOWHERE, IPv6Network(address.ip), iif=link, owner=key)
    for prefix in uplink.onlink:
        yield Route(core, uplink.table, prefix, link, owner=key)
    for destination, via in uplink.routes:
        if destination not in uplink.onlink:  # what is on the link is reached there, whatever a route says
            yield Route(core, uplink.table, destination, link, via, owner=key)
    for prefix in uplink.routed:
        # An address of these that nobody has must not bounce between upstream and us. The metric keeps
        # it apart from that of another uplink which serves the same prefix.
        yield Route(core, FIPS, prefix, kind=BLACKHOLE, metric=ABOVE_DEFAULT + uplink.table, owner=key)
    for prefix in (*uplink.onlink, *uplink.routed):
        if prefix.prefixlen:  # "from all" is what the last rule is
            yield Rule(core, 6, BY_SOURCE, uplink.table, prefix, owner=key)
    yield Rule(core, 6, LAST, uplink.table, owner=key)


def _tenant(prefix: str, tenant: Tenant) -> Iterator[LinkItem]:
    netns, key = tenant.netns, tenant.key
    mark = marks.tenant(prefix, tenant.router_id, tenant.vlan)
    yield Namespace(netns, ROUTER, owner=key)
    yield Veth("", tenant.interface, netns, tenant.peer, mark, LARGE_MTU, tenant.mac, True, owner=key)
    yield Veth(tenant.core_netns, tenant.core_link, netns, CORE, mark, MTU, owner=key)
    yield Tun(netns, TUN, MTU, owner=key)
    yield Address(tenant.core_netns, tenant.core_link, IN_CORE, key)
    yield Address(netns, CORE, IN_TENANT, key)
    yield Neighbour(netns, tenant.peer, TO_VMS, TO_VMS_MAC, key)
    yield Route(netns, MAIN, DEFAULT4, tenant.peer, TO_VMS, owner=key)
    yield Route(netns, MAIN, tenant.pool, TUN, owner=key)
    yield Route(netns, MAIN, DEFAULT6, CORE, IPv6Address(IN_CORE.ip), owner=key)
    yield Route(netns, TRANSLATE, DEFAULT6, TUN, owner=key)
    yield Rule(netns, 6, FIRST, TRANSLATE, iif=CORE, owner=key)
    # tayga knows floating IPs of the tenant as sources, too: nobody outside has one, only clients do.
    yield Route(netns, NOWHERE, DEFAULT4, kind=BLACKHOLE, owner=key)
    yield Rule(netns, 4, FIRST, MAIN, tenant.pool, TUN, owner=key)
    yield Rule(netns, 4, BY_SOURCE, NOWHERE, iif=TUN, owner=key)
