# SPDX-License-Identifier: Apache-2.0
"""The items that VPP needs for each object of the plan. Pure.

Each uplink has an IPv6 table, so that answers leave by the uplink that the floating IP belongs to; each
tenant has an IPv4 table. The plugin translates packets of one table and puts them into the other.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network

from fip64agent.links.model import DOWNLINK_MTU, TO_VMS, TO_VMS_MAC
from fip64agent.plan.desired import Host, Mapping64, PlanObject, Tenant, Uplink
from fip64agent.translator.vpp import tags
from fip64agent.translator.vpp.items import (
    Address,
    Binding,
    Daemon,
    HostInterface,
    Item,
    Mapping,
    Neighbor,
    NeighborAge,
    Route,
    SubInterface,
    Table,
    Tenant64,
)

DEFAULT4 = IPv4Network("0.0.0.0/0")
ADDRESS4 = IPv4Address("192.0.0.8")
"""Source of ICMP errors towards the VMs: the dummy address of RFC 7600, section 4.8, which no host has."""
MAX_NEIGHBORS = 16384
"""Neighbors of one IP version that VPP keeps at most, including the static one of each tenant: more than
there are on the links, and few enough to be solicited all at the same time."""
SMALLEST_MTU6 = 1280
"""RFC 8200, section 5."""


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """What the items depend on in addition to the plan."""

    seed: bytes
    """Secret of this host: without it nobody can predict which pool address a client gets."""
    run_path: str
    """Directory of the managed VPP; "": VPP is external."""
    neighbor_age: int = 0
    """Seconds (items.NeighborAge); 0: VPP's setting is not changed."""


def expand(site: Site, obj: PlanObject) -> Iterator[Item]:
    """Yield the items for `obj`."""
    match obj:
        case Mapping64():
            # The tenant's table has the number of its VLAN.
            yield Mapping(obj.floating_ip, obj.fixed_ip, obj.table, obj.vlan, owner=obj.key)
        case Host():
            if site.run_path:
                yield Daemon(site.run_path, owner=obj.key)
            if site.neighbor_age:
                for version in (4, 6):
                    yield NeighborAge(version, MAX_NEIGHBORS, site.neighbor_age, True, owner=obj.key)
            yield HostInterface(tags.DOWNLINK, obj.downlink_peer, obj.downlink_mac, DOWNLINK_MTU, 0,
                                owner=obj.key)
        case Uplink():
            yield from _uplink(obj)
        case Tenant():
            yield from _tenant(site, obj)


def _uplink(uplink: Uplink) -> Iterator[Item]:
    key, tag, table = uplink.key, tags.uplink(uplink.port_id), uplink.table
    yield Table(6, table, tag, owner=key)
    yield HostInterface(tag, uplink.peer, uplink.mac, uplink.mtu, table, owner=key)
    for address in uplink.addresses:
        yield Address(tag, address, owner=key)
    connected = {network for address in uplink.addresses
                 for network in (address.network, IPv6Network(address.ip))}
    routes = {destination: Route(table, destination, tag, via, owner=key)
              for destination, via in uplink.routes}
    routes |= {prefix: Route(table, prefix, tag, owner=key) for prefix in uplink.onlink}
    # Packets to an address of these that is no floating IP must not loop between the upstream router and VPP.
    # A prefix of only one address is left out: the floating IP has it.
    routes |= {prefix: Route(table, prefix, "", owner=key) for prefix in uplink.routed
               if prefix.num_addresses > 1}
    yield from (route for destination, route in routes.items() if destination not in connected)


def _tenant(site: Site, tenant: Tenant) -> Iterator[Item]:
    key, tag, table = tenant.key, tags.tenant(tenant.router_id), tenant.vlan
    yield Table(4, table, tag, owner=key)
    yield SubInterface(tag, tags.DOWNLINK, tenant.vlan, DOWNLINK_MTU, table, owner=key)
    yield Address(tag, IPv4Interface((ADDRESS4, 32)), owner=key)
    yield Neighbor(tag, TO_VMS, TO_VMS_MAC, owner=key)
    yield Route(table, DEFAULT4, tag, TO_VMS, owner=key)
    first, last = tenant.pool_first or tenant.pool[1], tenant.pool_last or tenant.pool[-2]
    yield Tenant64(table, tag, first, last, ADDRESS4, tenant.address6, tenant.mtu4,
                   max(tenant.mtu, SMALLEST_MTU6), tenant.lowest_ipv6_mtu, tenant.zero_traffic_class,
                   tenant.drop_udp_zero_checksum, hash_seed(site.seed, tenant.router_id),
                   tenant.idle_timeout, tenant.max_per_64, owner=key)
    for client, address in tenant.bindings:
        yield Binding(table, client, address, owner=key)


def hash_seed(seed: bytes, router_id: str) -> int:
    """Return a tenant's seed: the same after each restart of this host, another one on every other."""
    text = seed + b"\0" + router_id.encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
