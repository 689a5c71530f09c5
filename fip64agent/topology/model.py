# SPDX-License-Identifier: Apache-2.0
"""What the topology source says: Neutron's resources, under Neutron's attribute names.

All objects are frozen; addresses are `ipaddress` objects; MACs are lower-case
``aa:bb:cc:dd:ee:ff``. A `Topology` is a consistent whole: its references resolve. What was left out
of it, and what is in it in an older form, is in its faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import NamedTuple

from fip64agent.topology.words import Path, path_text

ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"
ROUTER_OWNERS = frozenset({ROUTER_INTERFACE, ROUTER_GATEWAY})
FLOATING_IP_OWNER = "network:floatingip"
"""device_owner of the port that Neutron makes for each floating IP, with the floating address."""


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    id: str
    name: str = ""
    external: bool = False
    """Neutron's ``router:external``: floating IPs come from here."""
    mtu: int = 1500


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    destination: IPv4Network | IPv6Network
    nexthop: IPv4Address | IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    network_id: str
    cidr: IPv4Network | IPv6Network
    name: str = ""
    gateway_ip: IPv4Address | IPv6Address | None = None
    host_routes: tuple[Route, ...] = ()

    @property
    def ip_version(self) -> int:
        return self.cidr.version


@dataclasses.dataclass(frozen=True, slots=True)
class Nat64Binding:
    """An IPv6 client that always has the same address of the NAT64 pool, so that VMs can call it."""

    ipv6_address: IPv6Address
    pool_address: IPv4Address


@dataclasses.dataclass(frozen=True, slots=True)
class Router:
    id: str
    name: str = ""
    nat64_pool: IPv4Network | None = None
    """IPv4 range that stands in for IPv6 clients in this tenant; None takes [fip64] nat64_pool."""
    routes: tuple[Route, ...] = ()
    """Neutron's extra routes."""
    nat64_bindings: tuple[Nat64Binding, ...] = ()
    """Not one of Neutron's attributes."""


@dataclasses.dataclass(frozen=True, slots=True)
class FixedIP:
    subnet_id: str
    ip_address: IPv4Address | IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Port:
    id: str
    network_id: str
    mac_address: str
    name: str = ""
    device_owner: str = ""
    device_id: str = ""
    """For a router port: the router's id."""
    fixed_ips: tuple[FixedIP, ...] = ()

    @property
    def is_router_port(self) -> bool:
        return self.device_owner in ROUTER_OWNERS


@dataclasses.dataclass(frozen=True, slots=True)
class FloatingIP:
    id: str
    floating_network_id: str
    floating_ip_address: IPv6Address
    port_id: str | None = None
    """The VM port; None while the floating IP is not associated."""
    fixed_ip_address: IPv4Address | None = None
    """None with a port: the port's only IPv4 address."""
    router_id: str | None = None
    """The tenant; None with a port: the only router with an interface on the fixed IP's subnet."""


Resource = Network | Subnet | Router | Port | FloatingIP
KINDS = ("networks", "subnets", "routers", "ports", "floatingips")
"""The kinds of resources, as sections of the topology file and fields of Topology are called. Each refers
to kinds before it only, but for what floating IPs and routers need of ports."""
NOUNS = {"networks": "network", "subnets": "subnet", "routers": "router", "ports": "port",
         "floatingips": "floating IP"}
"""What one resource of a kind is called in a sentence."""
Key = tuple[str, str]
"""(kind, id)"""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a resource."""

    path: Path
    """Of the attribute; () for the resource as a whole."""
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Why a resource, as the source has it, is not in force."""

    findings: tuple[Finding, ...] = ()
    """What is wrong with the resource itself; empty when only something that it needs is faulty."""
    needs: Key | None = None
    """The faulty resource that it needs."""
    last_good_in_force: bool = False
    """Whether the form that it had when it was right last is in the topology."""
    form: Resource | None = dataclasses.field(default=None, compare=False)
    """What the source says; None when that cannot be read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a resource of which the source has no valid form."""

    findings: tuple[Finding, ...]
    mentions: frozenset[str] = frozenset()
    """The ids that it has in it: of what it may belong to."""


class Difference(NamedTuple):
    """In what resources of a kind differ from those of an earlier topology."""

    before: Mapping[str, Resource]
    after: Mapping[str, Resource]
    keys: Collection[str]
    """Ids of all that are different, and maybe others."""


def _frozen(mapping):
    return MappingProxyType(dict(mapping))


@dataclasses.dataclass(frozen=True, slots=True)
class Topology:
    """One consistent view of all resources, each kind by id."""

    networks: Mapping[str, Network] = dataclasses.field(default_factory=lambda: _frozen({}))
    subnets: Mapping[str, Subnet] = dataclasses.field(default_factory=lambda: _frozen({}))
    routers: Mapping[str, Router] = dataclasses.field(default_factory=lambda: _frozen({}))
    ports: Mapping[str, Port] = dataclasses.field(default_factory=lambda: _frozen({}))
    floatingips: Mapping[str, FloatingIP] = dataclasses.field(default_factory=lambda: _frozen({}))
    """A floating IP with a port has fixed_ip_address and router_id, given or as they follow."""
    faults: Mapping[Key, Fault] = dataclasses.field(default_factory=lambda: _frozen({}))
    """Of the resources that are not, or not in their newest form, in the topology."""
    differences: Mapping[str, Difference] = dataclasses.field(
        default_factory=lambda: _frozen({}), compare=False, repr=False)
    """By kind: what is known of how it differs from what it was before its last change, to spare comparing
    thousands of resources."""

    def get(self, kind: str, item_id: str) -> Resource | None:
        """Return a resource in force."""
        return getattr(self, kind).get(item_id)

    def known(self, kind: str, item_id: str) -> Resource | None:
        """Return a resource in force, or else as the source has it."""
        found = self.get(kind, item_id)
        fault = self.faults.get((kind, item_id)) if found is None else None
        return fault.form if fault is not None else found

    def at_fault(self, key: Key) -> Key:
        """Return the resource that a faulty one is faulty because of: itself, or one that it needs."""
        while (fault := self.faults.get(key)) is not None and not fault.findings and fault.needs is not None:
            key = fault.needs
        return key

    def reason(self, key: Key) -> str:
        """Say why a resource is faulty, down to the one that is at fault itself; "" when it is not."""
        text = ""
        while (fault := self.faults.get(key)) is not None:
            if fault.findings:
                return text + "; ".join(f"{path_text(finding.path)}: {finding.reason}" if finding.path
                                        else finding.reason for finding in fault.findings)
            if fault.needs is None:
                break
            kind, item_id = key = fault.needs
            text += f"needs {NOUNS[kind]} {item_id}, which is faulty: "
        return text.removesuffix(": ")

    @classmethod
    def of(cls, networks=(), subnets=(), routers=(), ports=(), floatingips=()) -> Topology:
        """Build one from plain iterables of resources."""
        return cls(*(_frozen({item.id: item for item in kind})
                     for kind in (networks, subnets, routers, ports, floatingips)))
