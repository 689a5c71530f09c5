# SPDX-License-Identifier: Apache-2.0
"""What only one resource of a kind can have: addresses, MACs, prefixes. Pure.

Of two resources that want the same, the one that has it keeps it. When neither has it yet, the one with
the lexicographically lower id gets it, so that hosts that start with the same topology agree.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from fip64agent.topology.model import Finding, FloatingIP, Port, Resource, Subnet, Unreadable
from fip64agent.topology.rules import InForce, address_taken, check

if TYPE_CHECKING:
    from fip64agent.topology.resources import Resources


def address_claim(subnet_id: str, address: IPv4Address | IPv6Address) -> Hashable:
    """Return what stands for an address in a subnet. An integer, as that takes little memory."""
    return hash((subnet_id, int(address)))


def claims(kind: str, item: Resource) -> Iterator[Hashable]:
    """Yield what stands for that which only one resource of the kind can have.

    Resources that conflict have a claim in common; those that have one need not conflict.
    """
    if kind == "subnets":
        yield item.network_id
    elif kind == "ports":
        yield item.mac_address
        for fixed in item.fixed_ips:
            yield address_claim(fixed.subnet_id, fixed.ip_address)
        if item.is_router_port:
            yield "router", item.device_id
    elif kind == "floatingips":
        yield item.floating_ip_address
        if item.port_id is not None:
            yield hash((item.router_id, int(item.fixed_ip_address)))


def conflicts(kind: str, item: Resource, other: Resource, others: InForce) -> Iterator[Finding]:
    """Yield what a resource cannot have, as another one of its kind has it already."""
    if kind == "subnets":
        yield from _subnet_conflict(item, other)
    elif kind == "ports":
        yield from _port_conflict(item, other, others)
    elif kind == "floatingips":
        yield from _floating_ip_conflict(item, other)


def goes_first(resources: Resources, kind: str, other: Resource, item: Resource) -> bool:
    """Return whether `other` is the one of two resources that can have what both claim.

    That is the one that had it before the update at hand and does not give it up, else the lower id.
    """
    other_has_it = _had_it(resources, kind, other, item) and not _gives_up(resources, kind, other.id, item)
    item_has_it = _had_it(resources, kind, item, other)
    return other.id < item.id if other_has_it == item_has_it else other_has_it


def _had_it(resources: Resources, kind: str, item: Resource, rival: Resource) -> bool:
    """Return whether a resource had, before the update at hand, what `rival` claims."""
    before = resources.in_force_before(kind, item.id)
    return before is not None and any(conflicts(kind, before, rival, resources))


def _gives_up(resources: Resources, kind: str, item_id: str, rival: Resource) -> bool:
    """Return whether a resource is gone, or its newest form is right without what `rival` claims."""
    newest = resources.newest[kind].get(item_id)
    if newest is None or isinstance(newest, Unreadable):
        return newest is None
    verdict = check(kind, newest, resources)
    return verdict.right and not any(conflicts(kind, verdict.item, rival, resources))


def _subnet_conflict(subnet: Subnet, other: Subnet) -> Iterator[Finding]:
    if subnet.network_id == other.network_id and _overlap(subnet, other):
        yield Finding(("cidr",), f"{subnet.cidr} overlaps {other.cidr} of subnet {other.id} in the same "
                                 "network")


def _port_conflict(port: Port, other: Port, others: InForce) -> Iterator[Finding]:
    if port.network_id == other.network_id and port.mac_address == other.mac_address:
        yield Finding(("mac_address",), f"{port.mac_address} is already the MAC address of port {other.id} "
                                        "in the same network")
    for index, fixed in enumerate(port.fixed_ips):
        if fixed in other.fixed_ips:
            yield Finding(("fixed_ips", index, "ip_address"), address_taken(fixed, other))
    if not (port.is_router_port and other.is_router_port and port.device_id == other.device_id):
        return
    for subnet in subnets_of_port(port, others):
        for second in subnets_of_port(other, others):
            if subnet.network_id != second.network_id and _overlap(subnet, second):
                yield Finding(("fixed_ips",), f"router {port.device_id} has a port on subnet {subnet.id} "
                                              f"({subnet.cidr}) and on subnet {second.id} ({second.cidr}), "
                                              "which overlap")


def _floating_ip_conflict(fip: FloatingIP, other: FloatingIP) -> Iterator[Finding]:
    if fip.floating_ip_address == other.floating_ip_address:
        yield Finding(("floating_ip_address",), f"{fip.floating_ip_address} is already the address of "
                                                f"floating IP {other.id}")
    if fip.port_id is not None and other.port_id is not None and (
            fip.router_id == other.router_id and fip.fixed_ip_address == other.fixed_ip_address):
        yield Finding(("fixed_ip_address",), f"{fip.fixed_ip_address} behind router {fip.router_id} already "
                                             f"has floating IP {other.id}")


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.ip_version == other.ip_version and one.cidr.overlaps(other.cidr)


def subnets_of_port(port: Port, others: InForce) -> Iterator[Subnet]:
    """Yield the subnets in force that a port has addresses in."""
    for subnet_id in dict.fromkeys(fixed.subnet_id for fixed in port.fixed_ips):
        subnet = others.get("subnets", subnet_id)
        if subnet is not None:
            yield subnet
