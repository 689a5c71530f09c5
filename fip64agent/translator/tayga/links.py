# SPDX-License-Identifier: Apache-2.0
"""The links, namespaces, routes and rules that tayga needs. Pure.

Linux is the router around tayga: the core namespace routes between the uplinks and the tenants, and each
tenant has a namespace with a TUN device, where its tayga translates.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.links.model import (
    BLACKHOLE,
    DOWNLINK_MTU,
    INNER_MTU,
    ROUTER,
    TO_VMS,
    TO_VMS_MAC,
    Address,
    Hop,
    KernelPath,
    LinkItem,
    Namespace,
    Neighbor,
    Route,
    Rule,
    Tun,
    Veth,
)
from fip64agent.plan.desired import Host, Mapping64, PlanObject, Tenant, Uplink
from fip64agent.reconcile.explain import TracedPath
from fip64agent.translator.tayga.names import (
    CORE,
    TUN,
    core_netns,
    downlink_peer,
    tenant_link,
    tenant_netns,
)

MAIN = 254
FIPS = 100
"""Core: routing table of the floating IPs."""
TRANSLATE = 64
"""Tenant: routing table of what comes from the core: all of it to the translator."""
FIRST, BY_SOURCE, LAST = 100, 200, 300
"""Core: priorities of rules: floating IPs, then by source to the uplink, then any uplink."""
FORGED = 50
"""Core: priority of the rules for packets from outside whose source is an address of ours."""
NOWHERE = 101
"""Routing table with nothing but a blackhole."""
ABOVE_DEFAULT = 1024
"""Metric that the kernel gives to IPv6 routes without one. Ours are larger, so none equals it."""
DEFAULT4 = IPv4Network("0.0.0.0/0")
DEFAULT6 = IPv6Network("::/0")
IN_CORE = IPv6Interface("fe80::1/64")
IN_TENANT = IPv6Interface("fe80::2/64")


class TaygaLayout:
    """`prefix`: what the names of the namespaces begin with."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._core = core_netns(prefix)

    def links(self, obj: PlanObject, mark: str) -> Iterator[LinkItem]:
        """Yield the namespaces, links, routes and rules that `obj` needs. See model.Layout."""
        match obj:
            case Host():
                yield Namespace(self._core, ROUTER, owner=obj.key)
                yield Rule(self._core, 6, FIRST, FIPS, owner=obj.key)
                yield Route(self._core, NOWHERE, DEFAULT6, kind=BLACKHOLE, owner=obj.key)
            case Uplink():
                yield Veth("", obj.veth, self._core, obj.peer, mark, obj.mtu, obj.mac, True, owner=obj.key)
                yield from self._routing(obj)
            case Tenant():
                yield from self._tenant(obj, mark)
            case Mapping64():
                yield Route(self._core, FIPS, obj.floating_ip, tenant_link(obj.vlan),
                            IN_TENANT.ip, owner=obj.key)

    def _routing(self, uplink: Uplink) -> Iterator[LinkItem]:
        core, link, key = self._core, uplink.peer, uplink.key
        for address in uplink.addresses:
            yield Address(core, link, address, key)
            yield Rule(core, 6, FORGED, NOWHERE, IPv6Network(address.ip), iif=link, owner=key)
        for prefix in uplink.onlink:
            yield Route(core, uplink.table, prefix, link, owner=key)
        for destination, via in uplink.routes:
            if destination not in uplink.onlink:  # what is on the link is reached there, by no route
                yield Route(core, uplink.table, destination, link, via, owner=key)
        for prefix in uplink.routed:
            # Packets to an address of these that is no floating IP must not loop between the upstream router
            # and us. The metric differs from that of another uplink which has the same prefix.
            yield Route(core, FIPS, prefix, kind=BLACKHOLE, metric=ABOVE_DEFAULT + uplink.table, owner=key)
        for prefix in (*uplink.onlink, *uplink.routed):
            if prefix.prefixlen:  # "from all" is what the last rule is
                yield Rule(core, 6, BY_SOURCE, uplink.table, prefix, owner=key)
        yield Rule(core, 6, LAST, uplink.table, owner=key)

    def _tenant(self, tenant: Tenant, mark: str) -> Iterator[LinkItem]:
        netns, key = tenant_netns(self._prefix, tenant.router_id), tenant.key
        core_link, to_vms = tenant_link(tenant.vlan), downlink_peer(tenant.vlan)
        yield Namespace(netns, ROUTER, owner=key)
        yield Veth("", tenant.interface, netns, to_vms, mark, DOWNLINK_MTU, tenant.mac, True, owner=key)
        yield Veth(self._core, core_link, netns, CORE, mark, INNER_MTU, owner=key)
        yield Tun(netns, TUN, INNER_MTU, owner=key)
        yield Address(self._core, core_link, IN_CORE, key)
        yield Address(netns, CORE, IN_TENANT, key)
        yield Neighbor(netns, to_vms, TO_VMS, TO_VMS_MAC, key)
        yield Route(netns, MAIN, DEFAULT4, to_vms, TO_VMS, owner=key)
        yield Route(netns, MAIN, tenant.pool, TUN, owner=key)
        yield Route(netns, MAIN, DEFAULT6, CORE, IPv6Address(IN_CORE.ip), owner=key)
        yield Route(netns, TRANSLATE, DEFAULT6, TUN, owner=key)
        yield Rule(netns, 6, FIRST, TRANSLATE, iif=CORE, owner=key)
        # tayga also translates the tenant's floating IPs as sources. Only VMs have them, no client from
        # outside.
        yield Route(netns, NOWHERE, DEFAULT4, kind=BLACKHOLE, owner=key)
        yield Rule(netns, 4, FIRST, MAIN, tenant.pool, TUN, owner=key)
        yield Rule(netns, 4, BY_SOURCE, NOWHERE, iif=TUN, owner=key)

    def path(self, traced: TracedPath) -> KernelPath:
        """Return where the kernel routes a client's packet between the uplink and tayga, and its answer."""
        uplink, core_link = traced.uplink.peer, tenant_link(traced.tenant.vlan)
        return KernelPath(
            there=(Hop("route", "the core namespace routes it to the tenant", self._core, uplink, core_link),
                   Hop("tenant-route", "the tenant's namespace hands it to the translator",
                       tenant_netns(self._prefix, traced.tenant.router_id), CORE, TUN)),
            back=(Hop("route-back", "the core namespace routes the answer to the uplink", self._core,
                      core_link, uplink),))
