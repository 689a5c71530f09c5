# SPDX-License-Identifier: Apache-2.0
"""What only one resource can have: addresses, MACs, prefixes. Pure.

- A MAC address of a network: one port.
- An address of a network: one port, or one floating IP; a floating IP cannot have a subnet's gateway_ip.
- A fixed address behind a router: one floating IP.
- A prefix of a network: one subnet. A prefix behind a router: one network that the router has a port on, or
  the router's NAT64 pool; the default pool counts while floating IPs of the router are in force.

Of two resources that want the same, of whatever kinds, the one that has it keeps it. When neither has it
yet, ports get it before subnets, these before routers' pools, floating IPs last; of two of a kind, the one
with the lexicographically lower id: hosts that start with the same topology agree.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from fip64agent.topology.model import (
    FLOATING_IP_OWNER,
    ROUTER_INTERFACE,
    Finding,
    FloatingIP,
    Port,
    Resource,
    Router,
    Subnet,
    Topology,
    Unreadable,
)
from fip64agent.topology.rules import InForce, address_taken, check

if TYPE_CHECKING:
    from fip64agent.topology.resources import Resources

Claimant = tuple[str, Resource]
"""(kind, item)"""
_FIRST = ("ports", "subnets", "routers", "floatingips")
"""Which kind gets what two resources want, when neither has it yet."""


def _address_claim(subnet_id: str, address: IPv4Address | IPv6Address) -> Hashable:
    """Return what stands for an address of a port. An integer for IPv4, as that takes little memory."""
    return address if address.version == 6 else hash((subnet_id, int(address)))


def behind(router_id: str) -> Hashable:
    """Return what stands for the prefixes behind a router."""
    return "router", router_id


def claims(kind: str, item: Resource) -> Iterator[Hashable]:
    """Yield what stands for that which only one resource can have, as far as the item alone tells.

    Resources that conflict have a claim in common; those that have one need not conflict.
    """
    if kind == "subnets":
        yield item.network_id
        if item.gateway_ip is not None and item.gateway_ip.version == 6 and not item.gateway_ip.is_link_local:
            yield item.gateway_ip
    elif kind == "routers":
        yield behind(item.id)
    elif kind == "ports":
        yield item.mac_address
        for fixed in item.fixed_ips:
            yield _address_claim(fixed.subnet_id, fixed.ip_address)
        if item.is_router_port:
            yield behind(item.device_id)
    elif kind == "floatingips":
        yield item.floating_ip_address
        if item.port_id is not None:
            yield hash((item.router_id, int(item.fixed_ip_address)))


def wanted(kind: str, item: Resource, resources: Resources) -> Iterator[Hashable]:
    """Yield the claims of an item, and for a subnet those of the routers that have a port on it now."""
    yield from claims(kind, item)
    if kind == "subnets":
        for port in resources.router_ports_on(item.id):
            yield behind(port.device_id)


def released(kind: str, item: Resource, resources: Resources) -> Iterator[Hashable]:
    """Yield the claims of those that may get what they want when an item is in force no longer."""
    yield from wanted(kind, item, resources)
    if kind == "floatingips" and item.router_id is not None:
        yield behind(item.router_id)  # if it was the last one that needed the default pool


def goes_first(resources: Resources, other: Claimant, one: Claimant) -> bool:
    """Return whether `other` is the one of two resources that can have what both want.

    That is the one that had it before the update at hand and does not give it up, else the first by kind
    and id.
    """
    other_has_it = _had_it(resources, other, one) and not _gives_up(resources, other, one)
    one_has_it = _had_it(resources, one, other)
    if other_has_it != one_has_it:
        return other_has_it
    return (_FIRST.index(other[0]), other[1].id) < (_FIRST.index(one[0]), one[1].id)


def _had_it(resources: Resources, one: Claimant, rival: Claimant) -> bool:
    """Return whether a resource had, before the update at hand, what `rival` wants."""
    kind, item = one
    before = resources.topology.get(kind, item.id)
    if before is None or (kind == "routers" and not resources.pool_was_usable(item.id)):
        return False
    return any(conflicts((kind, before), rival, resources, resources.topology))


def _gives_up(resources: Resources, one: Claimant, rival: Claimant) -> bool:
    """Return whether a resource is gone, or its newest form can be right without what `rival` wants."""
    kind, item = one
    newest = resources.newest[kind].get(item.id)
    if newest is None or isinstance(newest, Unreadable) or resources.refused((kind, item.id)):
        return newest is None
    verdict = check(kind, newest, resources)
    return verdict.right and not any(conflicts((kind, verdict.item), rival, resources, resources))


def conflicts(one: Claimant, other: Claimant, resources: Resources,
              own: InForce | Topology) -> Iterator[Finding]:
    """Yield what a resource cannot have if `other` has what it wants.

    own: has the subnets of the first one; those of the other one are those in force now.
    """
    (kind, item), (other_kind, second) = one, other
    find = _CONFLICTS.get((kind, other_kind))
    return find(item, second, resources, own) if find is not None else iter(())


def subnets_of_port(port: Port, others: InForce | Topology) -> Iterator[Subnet]:
    """Yield the subnets in force that a port has addresses in."""
    for subnet_id in dict.fromkeys(fixed.subnet_id for fixed in port.fixed_ips):
        subnet = others.get("subnets", subnet_id)
        if subnet is not None:
            yield subnet


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)


# Addresses and MACs


def _floating_ips(fip: FloatingIP, other: FloatingIP, resources, own) -> Iterator[Finding]:
    if fip.floating_ip_address == other.floating_ip_address:
        yield Finding(("floating_ip_address",), f"{fip.floating_ip_address} is already the address of "
                                                f"floating IP {other.id}")
    if fip.port_id is not None and other.port_id is not None and (
            fip.router_id == other.router_id and fip.fixed_ip_address == other.fixed_ip_address):
        yield Finding(("fixed_ip_address",), f"{fip.fixed_ip_address} behind router {fip.router_id} already "
                                             f"has floating IP {other.id}")


def _port_and_floating_ip(port: Port, fip: FloatingIP, resources, own) -> Iterator[Finding]:
    if port.network_id == fip.floating_network_id and port.device_owner != FLOATING_IP_OWNER:
        for index, fixed in enumerate(port.fixed_ips):
            if fixed.ip_address == fip.floating_ip_address:
                yield Finding(("fixed_ips", index, "ip_address"),
                              f"{fixed.ip_address} is already the address of floating IP {fip.id}")


def _floating_ip_and_port(fip: FloatingIP, port: Port, resources, own) -> Iterator[Finding]:
    if any(_port_and_floating_ip(port, fip, resources, own)):
        yield Finding(("floating_ip_address",), f"{fip.floating_ip_address} is already an address of port "
                                                f"{port.id}")


def _subnet_and_floating_ip(subnet: Subnet, fip: FloatingIP, resources, own) -> Iterator[Finding]:
    if subnet.network_id == fip.floating_network_id and subnet.gateway_ip == fip.floating_ip_address:
        yield Finding(("gateway_ip",), f"{subnet.gateway_ip} is already the address of floating IP {fip.id}")


def _floating_ip_and_subnet(fip: FloatingIP, subnet: Subnet, resources, own) -> Iterator[Finding]:
    if any(_subnet_and_floating_ip(subnet, fip, resources, own)):
        yield Finding(("floating_ip_address",), f"{fip.floating_ip_address} is the gateway_ip of subnet "
                                                f"{subnet.id}")


def _ports(port: Port, other: Port, resources, own) -> Iterator[Finding]:
    if port.network_id == other.network_id and port.mac_address == other.mac_address:
        yield Finding(("mac_address",), f"{port.mac_address} is already the MAC address of port {other.id} "
                                        "in the same network")
    for index, fixed in enumerate(port.fixed_ips):
        if fixed in other.fixed_ips:
            yield Finding(("fixed_ips", index, "ip_address"), address_taken(fixed, other))
    if not (port.is_router_port and other.is_router_port and port.device_id == other.device_id):
        return
    for subnet in subnets_of_port(port, own):
        for second in subnets_of_port(other, resources):
            if subnet.network_id != second.network_id and _overlap(subnet.cidr, second.cidr):
                yield Finding(("fixed_ips",), f"router {port.device_id} has a port on subnet {subnet.id} "
                                              f"({subnet.cidr}) and on subnet {second.id} ({second.cidr}), "
                                              "which overlap")


# Prefixes


def _subnets(subnet: Subnet, other: Subnet, resources, own) -> Iterator[Finding]:
    if subnet.network_id == other.network_id and _overlap(subnet.cidr, other.cidr):
        yield Finding(("cidr",), f"{subnet.cidr} overlaps {other.cidr} of subnet {other.id} in the same "
                                 "network")


def _subnet_and_port(subnet: Subnet, port: Port, resources, own) -> Iterator[Finding]:
    """A subnet that a router has a port on, and another port of that router."""
    for second in subnets_of_port(port, resources) if port.is_router_port else ():
        if (subnet.network_id != second.network_id and _overlap(subnet.cidr, second.cidr)
                and _is_behind(port.device_id, subnet, resources)):
            yield Finding(("cidr",), f"{subnet.cidr} overlaps {second.cidr} of subnet {second.id}, and "
                                     f"router {port.device_id} has a port on both")


def _port_and_subnet(port: Port, subnet: Subnet, resources, own) -> Iterator[Finding]:
    for first in subnets_of_port(port, own) if port.is_router_port else ():
        if (subnet.network_id != first.network_id and _overlap(subnet.cidr, first.cidr)
                and _is_behind(port.device_id, subnet, resources)):
            yield Finding(("fixed_ips",), f"subnet {first.id} ({first.cidr}) overlaps {subnet.cidr} of "
                                          f"subnet {subnet.id}, which the router has a port on")


def _is_behind(router_id: str, subnet: Subnet, resources: Resources) -> bool:
    return any(port.device_id == router_id for port in resources.router_ports_on(subnet.id))


def pool_overlaps(router: Router, port: Port, subnet: Subnet, default_pool: IPv4Network) -> bool:
    """Return whether a router's NAT64 pool overlaps a subnet that its port is on.

    A pool of the router's own must overlap none of its subnets, the default pool none that VMs may be on.
    """
    if router.nat64_pool is None and port.device_owner != ROUTER_INTERFACE:
        return False
    return _overlap(router.nat64_pool or default_pool, subnet.cidr)


def _port_and_pool(port: Port, router: Router, resources: Resources, own) -> Iterator[Finding]:
    if port.is_router_port and port.device_id == router.id:
        for subnet in subnets_of_port(port, own):
            if resources.takes_from_pool(router, port, subnet):
                yield Finding(("fixed_ips",), f"subnet {subnet.id} ({subnet.cidr}) overlaps "
                                              f"{_pool_text(router, resources.default_pool)}")


def _pool_and_port(router: Router, port: Port, resources: Resources, own) -> Iterator[Finding]:
    return _port_and_pool(port, router, resources, resources)


def _subnet_and_pool(subnet: Subnet, router: Router, resources: Resources, own) -> Iterator[Finding]:
    if _overlap(router.nat64_pool or resources.default_pool, subnet.cidr) and any(
            port.device_id == router.id and resources.takes_from_pool(router, port, subnet)
            for port in resources.router_ports_on(subnet.id)):
        yield Finding(("cidr",), f"{subnet.cidr} overlaps {_pool_text(router, resources.default_pool)}; "
                                 "it has a port on the subnet")


def _pool_and_subnet(router: Router, subnet: Subnet, resources: Resources, own) -> Iterator[Finding]:
    return _subnet_and_pool(subnet, router, resources, resources)


def _pool_text(router: Router, default_pool: IPv4Network) -> str:
    if router.nat64_pool is not None:
        return f"nat64_pool {router.nat64_pool} of router {router.id}"
    return f"[fip64] nat64_pool {default_pool}, which floating IPs of router {router.id} need"


_CONFLICTS: dict[tuple[str, str], Callable[..., Iterator[Finding]]] = {
    ("subnets", "subnets"): _subnets,
    ("subnets", "ports"): _subnet_and_port,
    ("subnets", "routers"): _subnet_and_pool,
    ("subnets", "floatingips"): _subnet_and_floating_ip,
    ("routers", "subnets"): _pool_and_subnet,
    ("routers", "ports"): _pool_and_port,
    ("ports", "subnets"): _port_and_subnet,
    ("ports", "ports"): _ports,
    ("ports", "routers"): _port_and_pool,
    ("ports", "floatingips"): _port_and_floating_ip,
    ("floatingips", "subnets"): _floating_ip_and_subnet,
    ("floatingips", "ports"): _floating_ip_and_port,
    ("floatingips", "floatingips"): _floating_ips,
}
