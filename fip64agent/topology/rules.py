# SPDX-License-Identifier: Apache-2.0
"""What makes a resource right beside the others: one set of rules, whatever the source. Pure.

Each resource comes here valid by itself. `check()` looks at it and at what it refers to; claims.py
compares it with others that want the same; pools.py looks at a router's NAT64 pool beside its subnets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

from fip64agent.net.special import reserved
from fip64agent.topology.ipv6_modes import mode_findings
from fip64agent.topology.model import (
    NOUNS,
    Finding,
    FixedIP,
    FloatingIP,
    Key,
    Network,
    Port,
    Resource,
    Route,
    Router,
    SecurityGroup,
    Subnet,
)
from fip64agent.topology.security_rules import rule_findings, with_icmpv6
from fip64agent.topology.words import Path, shown

SMALLEST_IPV6_MTU = 1280
"""RFC 8200, section 5. Linux takes no IPv6 address on a link with less."""


class InForce(Protocol):
    """What a rule may ask about the other resources: those that are right, in force."""

    def get(self, kind: str, item_id: str) -> Resource | None:
        """Return a resource in force."""

    def knows(self, kind: str, item_id: str) -> bool:
        """Return whether the source has such a resource, right or not."""

    def has_any(self, kind: str) -> bool:
        """Return whether the source has any resource of a kind, right or not."""

    def subnets_of(self, network_id: str) -> Collection[Subnet]:
        """Return a network's subnets in force."""

    def routers_on(self, subnet_id: str) -> Collection[str]:
        """Return the ids of the routers with an interface in force on a subnet."""

    def faulty_at(self, kind: str, item_id: str) -> str | None:
        """Return the id of a faulty subnet of this network, or faulty router interface on this subnet."""

    def pool_usable(self, router_id: str) -> bool:
        """Return whether a router in force has a NAT64 pool that can be used."""


class Verdict(NamedTuple):
    """What check() says of a resource."""

    item: Resource
    """The resource with what it leaves out filled in, if it is right."""
    findings: tuple[Finding, ...]
    """What is wrong with it."""
    needs: Key | None
    """A faulty resource that it needs; told only when nothing is wrong with itself."""

    @property
    def right(self) -> bool:
        return not self.findings and self.needs is None


def check(kind: str, item: Resource, others: InForce) -> Verdict:
    """Check a resource of a kind by itself and against what it refers to."""
    rules = _Rules(others)
    checked = _RULES[kind](rules, item) if kind in _RULES else None
    return Verdict(checked or item, tuple(rules.findings), rules.needs)


class _Rules:
    """The rules of each kind, and what they found about one resource."""

    def __init__(self, others: InForce) -> None:
        self._others = others
        self.findings: list[Finding] = []
        self.needs: Key | None = None

    def _add(self, path: Path, reason: str) -> None:
        self.findings.append(Finding(path, reason))

    def _refer(self, kind: str, item_id: str, path: Path):
        """Return the resource in force that `path` refers to; None, with the reason found, without one."""
        found = self._others.get(kind, item_id)
        if found is None:
            if self._others.knows(kind, item_id):
                self._need(kind, item_id)
            else:
                self._missing(kind, item_id, path)
        return found

    def _missing(self, kind: str, item_id: str, path: Path) -> None:
        self._add(path, f"no {NOUNS[kind]} has the id {shown(item_id)}")

    def _need(self, kind: str, item_id: str) -> None:
        if self.needs is None:
            self.needs = kind, item_id

    def _routes(self, routes: tuple[Route, ...], version: int | None, name: str) -> None:
        for index, route in enumerate(routes):
            if version is not None and route.destination.version != version:
                self._add((name, index, "destination"), f"must be IPv{version}, {route.destination} "
                                                        f"is IPv{route.destination.version}")
            elif route.nexthop.version != route.destination.version:
                self._add((name, index, "nexthop"), f"must be IPv{route.destination.version}, like the "
                          f"destination; {route.nexthop} is IPv{route.nexthop.version}")

    def subnet(self, subnet: Subnet) -> None:
        self._refer("networks", subnet.network_id, ("network_id",))
        gateway = subnet.gateway_ip
        if gateway is not None and gateway not in subnet.cidr:
            if gateway.version != subnet.cidr.version:
                self._add(("gateway_ip",), f"must be IPv{subnet.cidr.version}, like cidr; {gateway} "
                                           f"is IPv{gateway.version}")
            elif gateway.version == 4 or not gateway.is_link_local:
                self._add(("gateway_ip",), f"{gateway} is not in {subnet.cidr}")
        self._routes(subnet.host_routes, subnet.cidr.version, "host_routes")
        for index, server in enumerate(subnet.dns_nameservers):
            if server.version != subnet.cidr.version:
                self._add(("dns_nameservers", index), f"must be IPv{subnet.cidr.version}, like cidr; "
                                                      f"{server} is IPv{server.version}")
        self.findings.extend(mode_findings(subnet))

    def router(self, router: Router) -> None:
        self._routes(router.routes, None, "routes")

    def security_group(self, group: SecurityGroup) -> SecurityGroup:
        group = with_icmpv6(group)
        places: dict[str, int] = {}
        for index, rule in enumerate(group.rules):
            path = "rules", index
            if (first := places.setdefault(rule.id, index)) != index:
                self._add((*path, "id"), f"{shown(rule.id)} is already the id of rules[{first}]")
            self.findings.extend(Finding((*path, name), reason) for name, reason in rule_findings(rule))
            other = rule.remote_group_id
            # Groups may refer to each other in a circle: it is enough that the source has the other one.
            if other is not None and not self._others.knows("security_groups", other):
                self._missing("security_groups", other, (*path, "remote_group_id"))
            if rule.remote_address_group_id is not None:
                self._refer("address_groups", rule.remote_address_group_id,
                            (*path, "remote_address_group_id"))
        return group

    def port(self, port: Port) -> Port:
        self._refer("networks", port.network_id, ("network_id",))
        if port.is_router_port and not port.device_id:
            self._add(("device_id",), "is required: the id of the router whose port it is")
        elif port.is_router_port:
            self._refer("routers", port.device_id, ("device_id",))
        for index, fixed in enumerate(port.fixed_ips):
            self._fixed_ip(port, fixed, ("fixed_ips", index))
            if fixed in port.fixed_ips[:index]:
                self._add(("fixed_ips", index, "ip_address"), address_taken(fixed, port))
        if port.security_groups and self._others.has_any("security_groups"):
            for index, group_id in enumerate(port.security_groups):
                self._refer("security_groups", group_id, ("security_groups", index))
        return _with_macs(port)

    def _fixed_ip(self, port: Port, fixed: FixedIP, path: Path) -> None:
        subnet = self._refer("subnets", fixed.subnet_id, (*path, "subnet_id"))
        if subnet is None:
            return
        address = fixed.ip_address
        if subnet.network_id != port.network_id:
            self._add((*path, "subnet_id"), f"subnet {subnet.id} is of network {subnet.network_id}, the port "
                                            f"is on network {port.network_id}")
        elif address.version != subnet.cidr.version:
            self._add((*path, "ip_address"), f"must be IPv{subnet.cidr.version}, like subnet {subnet.id}; "
                                             f"{address} is IPv{address.version}")
        elif address not in subnet.cidr:
            self._add((*path, "ip_address"), f"{address} is not in {subnet.cidr} of subnet {subnet.id}")

    def floating_ip(self, fip: FloatingIP) -> FloatingIP | None:
        self._floating_address(fip)
        if fip.router_id is not None:
            self._refer("routers", fip.router_id, ("router_id",))
        if fip.port_id is None:
            for name, value in (("fixed_ip_address", fip.fixed_ip_address), ("router_id", fip.router_id)):
                if value is not None:
                    self._add((name,), "needs a port_id")
            return None
        port = self._refer("ports", fip.port_id, ("port_id",))
        if port is None:
            return None
        if port.is_router_port:
            self._add(("port_id",), f"port {port.id} is a router's; a floating IP leads to a VM's port")
            return None
        fixed = self._fixed_address(fip, port)
        router_id = self._tenant(fip, fixed) if fixed is not None else None
        if router_id is None:
            return None
        if not self._others.pool_usable(router_id):
            self._need("routers", router_id)
        return dataclasses.replace(fip, fixed_ip_address=fixed.ip_address, router_id=router_id)

    def _floating_address(self, fip: FloatingIP) -> None:
        """Check that the address is one of its network. claims.py looks whether somebody else has it."""
        path, address = ("floating_ip_address",), fip.floating_ip_address
        if kind := reserved(address):
            self._add(path, f"{address} is {kind}, which is not translated")
        network = self._refer("networks", fip.floating_network_id, ("floating_network_id",))
        if network is None:
            return
        if not network.external:
            self._add(("floating_network_id",), f"network {network.id} is not external "
                                                "(router:external is not true)")
        subnets = [subnet for subnet in self._others.subnets_of(network.id) if subnet.ip_version == 6]
        if not any(address in subnet.cidr for subnet in subnets):
            faulty = self._others.faulty_at("subnets", network.id)
            if faulty is not None:
                self._need("subnets", faulty)
            else:
                prefixes = sorted(subnet.cidr for subnet in subnets)
                has = (f"not in {', '.join(map(str, prefixes))} of" if prefixes
                       else "not usable: there is no IPv6 subnet in")
                self._add(path, f"{address} is {has} network {network.id}")

    def _fixed_address(self, fip: FloatingIP, port: Port) -> FixedIP | None:
        candidates = [fixed for fixed in port.fixed_ips if fixed.ip_address.version == 4]
        if not candidates:
            self._add(("port_id",), f"port {port.id} has no IPv4 address")
            return None
        if fip.fixed_ip_address is not None:
            chosen = min((fixed for fixed in candidates if fixed.ip_address == fip.fixed_ip_address),
                         key=lambda fixed: fixed.subnet_id, default=None)
            if chosen is None:
                self._add(("fixed_ip_address",), f"{fip.fixed_ip_address} is not an address of port "
                                                 f"{port.id}; it has {_listed(candidates)}")
                return None
        elif len(candidates) > 1:
            self._add(("fixed_ip_address",), f"is required: port {port.id} has several IPv4 addresses, "
                                             f"{_listed(candidates)}")
            return None
        else:
            chosen = candidates[0]
        if kind := _no_host(chosen.ip_address, self._others.get("subnets", chosen.subnet_id)):
            self._add(("port_id",), f"address {chosen.ip_address} of port {port.id} is {kind}, which is not "
                                    "translated")
            return None
        return chosen

    def _tenant(self, fip: FloatingIP, fixed: FixedIP) -> str | None:
        """Return the id of the router whose IPv4 address space the fixed address is in."""
        routers = self._others.routers_on(fixed.subnet_id)
        if fip.router_id is not None:
            if fip.router_id in routers:
                return fip.router_id
            if self._others.get("routers", fip.router_id) is not None:
                self._without_interface(fixed, f"router {fip.router_id} has no interface on subnet "
                                               f"{fixed.subnet_id}, where {fixed.ip_address} is")
        elif len(routers) == 1:
            return next(iter(routers))
        elif routers:
            self._add(("router_id",), f"is required: several routers have an interface on subnet "
                                      f"{fixed.subnet_id}: {', '.join(sorted(routers))}")
        else:
            self._without_interface(fixed, "cannot be determined: no router has an interface on subnet "
                                           f"{fixed.subnet_id}, where {fixed.ip_address} is")
        return None

    def _without_interface(self, fixed: FixedIP, reason: str) -> None:
        faulty = self._others.faulty_at("ports", fixed.subnet_id)
        if faulty is not None:
            self._need("ports", faulty)
        else:
            self._add(("router_id",), reason)


_RULES = {"subnets": _Rules.subnet, "routers": _Rules.router, "security_groups": _Rules.security_group,
          "ports": _Rules.port, "floatingips": _Rules.floating_ip}
"""A resource of another kind is right when it is valid by itself."""


def _with_macs(port: Port) -> Port:
    """Return the port with its MAC address in the address pairs that have none."""
    if all(pair.mac_address is not None for pair in port.allowed_address_pairs):
        return port
    return dataclasses.replace(port, allowed_address_pairs=tuple(
        pair if pair.mac_address is not None else dataclasses.replace(pair, mac_address=port.mac_address)
        for pair in port.allowed_address_pairs))


def _listed(fixed_ips: Iterable[FixedIP]) -> str:
    return ", ".join(map(str, sorted(fixed.ip_address for fixed in fixed_ips)))


def _no_host(address: IPv4Address, subnet: Subnet) -> str:
    """Return what a fixed address is instead of a host's; in a /31 both are hosts (RFC 3021)."""
    if subnet.cidr.prefixlen < 31:
        if address == subnet.cidr.network_address:
            return f"the network address of its subnet {subnet.id} ({subnet.cidr})"
        if address == subnet.cidr.broadcast_address:
            return f"the broadcast address of its subnet {subnet.id} ({subnet.cidr})"
    return reserved(address)


def address_taken(fixed: FixedIP, holder: Port) -> str:
    """Say that another port has an address already."""
    return f"{fixed.ip_address} is already an address of port {holder.id} in the same subnet"


def uplink_fault(port: Port, network: Network) -> str:
    """Say why a router port in force that has IPv6 addresses can be no uplink; "": it can."""
    if network.mtu < SMALLEST_IPV6_MTU:
        return (f"network {network.id} of router port {port.id} has an MTU of {network.mtu}: IPv6 needs "
                f"{SMALLEST_IPV6_MTU} at least")
    for fixed in port.fixed_ips:
        if fixed.ip_address.version == 6 and (kind := reserved(fixed.ip_address)):
            return f"address {fixed.ip_address} of router port {port.id} is {kind}, which no uplink can have"
    return ""
