# SPDX-License-Identifier: Apache-2.0
"""The objects that security groups need: each stands for one match, and for all rules that it has part in.

The rules of a group that have direction, IP version and remote in common are a *product*: of the ports that
have the group, the remote's addresses and the services that the rules name. Open vSwitch puts a packet
together from these (conjunctive match, ovs-fields(7)): so there is a flow for each port, each address and
each service, and not one for each combination.
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Network, IPv6Network
from typing import ClassVar, NamedTuple

from fip64agent.net.ranges import Masked
from fip64agent.plan.ports.objects import FILTER, ZONE
from fip64agent.plan.problems import ObjectKey


class Part(NamedTuple):
    """What a match has to do with a product: it is one of its clauses."""

    number: int
    """Of the product: its conjunction ID."""
    clause: int
    """From 1 on."""
    clauses: int


@dataclasses.dataclass(frozen=True, slots=True)
class Allowed:
    """What the rules let through in one direction, of one IP version."""

    everything: bool = False
    products: tuple[Part, ...] = ()
    """By number; () if everything is let through."""


NOTHING = Allowed()


@dataclasses.dataclass(frozen=True, slots=True)
class FilteredPort:
    """A served port with security groups."""

    kind: ClassVar[str] = FILTER
    port_id: str
    network: int
    """Number of its network."""
    ofport: int
    stateful: bool
    """Its packets go through conntrack: answers need no rule. Not, if all its groups are stateless."""
    egress4: Allowed
    egress6: Allowed
    ingress4: Allowed
    ingress6: Allowed
    sources4: tuple[tuple[str, IPv4Network], ...] | None = None
    """(MAC, IPv4 address or prefix) that it may send from, sorted; None: any. Remotes of rules are addresses,
    so they mean something only if nobody sends from those of others."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.port_id)


@dataclasses.dataclass(frozen=True, slots=True)
class Product:
    """Ports of this host with a group, addresses of a remote, services: what its rules let through."""

    kind: ClassVar[str] = "product"
    name: str
    """What it stands for: direction, IP version, security group and remote, in words."""
    number: int
    ingress: bool

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteAddress:
    """An address or prefix that is, or belongs to, the remote of a rule."""

    kind: ClassVar[str] = "remote"
    prefix: IPv4Network | IPv6Network
    egress: tuple[Part, ...]
    """By number, as in the next."""
    ingress: tuple[Part, ...]

    @property
    def key(self) -> ObjectKey:
        return (self.kind, str(self.prefix))


class Service(NamedTuple):
    """A protocol, and ports, or type and code of ICMP or ICMPv6, as one flow matches them."""

    version: int
    """Of IP."""
    protocol: int
    port: Masked | None = None
    """Destination port; None: any."""
    icmp_type: int | None = None
    icmp_code: int | None = None

    def __str__(self) -> str:
        words = [f"IPv{self.version} {self.protocol}"]
        if self.port is not None:
            words.append("port {:d}/{:#x}".format(*self.port) if isinstance(self.port, tuple)
                         else f"port {self.port}")
        if self.icmp_type is not None:
            words.append(f"type {self.icmp_type}")
        if self.icmp_code is not None:
            words.append(f"code {self.icmp_code}")
        return " ".join(words)


@dataclasses.dataclass(frozen=True, slots=True)
class RuleService:
    """A service that rules name."""

    kind: ClassVar[str] = "service"
    service: Service
    egress: tuple[Part, ...]
    """By number, as in the next."""
    ingress: tuple[Part, ...]

    @property
    def key(self) -> ObjectKey:
        return (self.kind, str(self.service))


class RouterOnNetwork(NamedTuple):
    mac: str
    number: int
    """Of the router."""


@dataclasses.dataclass(frozen=True, slots=True)
class FilteredNetwork:
    """A network with filtered ports on this host: a conntrack zone."""

    kind: ClassVar[str] = ZONE
    network_id: str
    number: int
    """Of the network, and of the zone."""
    vlan: int | None
    """The access VLAN of its served ports; None: they have none."""
    routers: tuple[RouterOnNetwork, ...]
    """The routers on it, by port id."""
    limit: int
    """Connections in the zone, at most; 0: any number."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.network_id)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """An interface of the bridge by which frames come in that no security group of theirs has seen.

    They may be for filtered ports, to which NORMAL would carry them.
    """

    kind: ClassVar[str] = "entry"
    interface: str
    ofport: int
    untagged: int | None
    """The VLAN of frames without a tag; 0: none; None: the interface takes none."""
    tagged: tuple[int, ...]
    """The VLANs with filtered ports whose tags it takes; sorted."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.interface)


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """A MAC of a filtered port in a VLAN: where those frames are taken to its security groups."""

    kind: ClassVar[str] = "arrival"
    vlan: int
    """0: none."""
    mac: str
    network: int
    """Number of its network."""
    ofport: int

    @property
    def key(self) -> ObjectKey:
        return (self.kind, f"{self.vlan} {self.mac}")
