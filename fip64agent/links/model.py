# SPDX-License-Identifier: Apache-2.0
"""Items of the links room: what Linux should have, as values.

`netns` is a network namespace's name; "" is the namespace the agent runs in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.plan.desired import ObjectKey

UNICAST = "unicast"
BLACKHOLE = "blackhole"
PROTOCOL = 164
"""Routing protocol number on our routes, rules and neighbours: the mark of what is ours in a namespace."""


@dataclasses.dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with `sysctls` ((name below net., value), ...)."""

    name: str
    sysctls: tuple[tuple[str, str], ...]
    up: bool = True
    """Its loopback is up."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("netns", self.name)

    def __str__(self) -> str:
        return f"network namespace {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Veth:
    """A veth pair. Its mark is `alias`, on the first end."""

    netns: str
    name: str
    peer_netns: str
    peer: str
    alias: str
    mtu: int
    """Of both ends, in bytes."""
    peer_mac: str = ""
    """"": whatever the kernel gave."""
    switched: bool = False
    """The first end is a port of Open vSwitch: no IPv6 of the kernel's on it, no checksum offload on
    either end (the userspace datapath passes unfinished checksums on)."""
    up: bool = True
    """Both ends are."""
    deaf: bool = False
    """The kernel has no IPv6 on the far end either: another program reads the packets there."""
    even: bool = True
    """Both ends have the same MTU."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("veth", self.netns, self.name)

    def __str__(self) -> str:
        where = f" in namespace {self.netns}" if self.netns else ""
        return f"veth pair {self.name}/{self.peer}{where}"


@dataclasses.dataclass(frozen=True, slots=True)
class Tun:
    """A persistent TUN device."""

    netns: str
    name: str
    mtu: int
    up: bool = True
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("tun", self.netns, self.name)

    def __str__(self) -> str:
        return f"TUN device {self.name} in namespace {self.netns}"


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    netns: str
    link: str
    address: IPv4Interface | IPv6Interface
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("address", self.netns, self.link, self.address)

    def __str__(self) -> str:
        return f"address {self.address} on {self.link} in namespace {self.netns}"


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent neighbour."""

    netns: str
    link: str
    address: IPv4Address | IPv6Address
    mac: str
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("neighbour", self.netns, self.link, self.address)

    def __str__(self) -> str:
        return f"neighbour {self.address} on {self.link} in namespace {self.netns}"


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    netns: str
    table: int
    destination: IPv4Network | IPv6Network
    link: str = ""
    via: IPv4Address | IPv6Address | None = None
    kind: str = UNICAST
    metric: int = 0
    """0: the kernel's own choice."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("route", self.netns, self.table, self.destination, self.metric)

    def __str__(self) -> str:
        return f"route to {self.destination} in table {self.table} of namespace {self.netns}"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A routing policy rule: what comes from `source` (or in by link `iif`) looks into `table`."""

    netns: str
    family: int
    """4 or 6."""
    priority: int
    table: int
    source: IPv4Network | IPv6Network | None = None
    iif: str = ""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("rule", self.netns, self.family, self.priority, self.table, self.source, self.iif)

    def __str__(self) -> str:
        what = f" from {self.source}" if self.source else ""
        return f"rule {self.priority}{what} to table {self.table} in namespace {self.netns}"


LinkItem = Namespace | Veth | Tun | Address | Neighbour | Route | Rule
ORDER = (Namespace, Veth, Tun, Address, Neighbour, Route, Rule)
"""What others stand on comes first."""
