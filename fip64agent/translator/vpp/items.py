# SPDX-License-Identifier: Apache-2.0
"""Items of the driver vpp: the objects that VPP should have. They name interfaces by their tags. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.plan.desired import ObjectKey


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """What all items have in common. Two items of one key are the same object of VPP, perhaps changed."""

    owner: ObjectKey = dataclasses.field(default=(), compare=False, kw_only=True)
    """Key of the plan's object that the item is for; () when it was read back from VPP."""

    @property
    def key(self) -> Hashable:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, slots=True)
class Daemon(Item):
    """The managed VPP itself."""

    run_path: str

    @property
    def key(self) -> Hashable:
        return ("vpp", self.run_path)

    def __str__(self) -> str:
        return f"VPP in {self.run_path}"


@dataclasses.dataclass(frozen=True, slots=True)
class NeighborAge(Item):
    """How long VPP keeps the neighbors of one IP version, on all its interfaces."""

    version: int
    """4 or 6."""
    limit: int
    """How many neighbors VPP keeps at most."""
    age: int
    """Seconds without a packet from a neighbor after which VPP solicits it, once a second; after three
    attempts VPP removes it. 0: never."""
    recycle: bool
    """Whether a neighbor beyond the limit replaces the one that has sent nothing for the longest time."""

    @property
    def key(self) -> Hashable:
        return ("neighbor age", self.version)

    def __str__(self) -> str:
        return f"age of IPv{self.version} neighbors"


@dataclasses.dataclass(frozen=True, slots=True)
class Table(Item):
    """An IP table (VRF)."""

    version: int
    """4 or 6."""
    number: int
    name: str

    @property
    def key(self) -> Hashable:
        return ("table", self.version, self.number)

    def __str__(self) -> str:
        return f"IPv{self.version} table {self.number} ({self.name})"


@dataclasses.dataclass(frozen=True, slots=True)
class HostInterface(Item):
    """VPP's end of a veth pair.

    Its MAC is not that of the kernel's interface, so the kernel ignores the packets for it.
    """

    tag: str
    link: str
    """Name of the interface in Linux."""
    mac: str
    mtu: int
    """Bytes of the longest IP packet."""
    table: int
    """Number of the IPv6 table for its packets; 0: it has no IPv6 (the downlink)."""
    up: bool = True

    @property
    def key(self) -> Hashable:
        return ("interface", self.tag)

    def __str__(self) -> str:
        return f"host-interface {self.link} ({self.tag})"


@dataclasses.dataclass(frozen=True, slots=True)
class SubInterface(Item):
    """The interface for the packets of one 802.1Q VLAN on the downlink."""

    tag: str
    parent: str
    """Tag of the interface that it belongs to."""
    vlan: int
    mtu: int
    table: int
    """Number of the IPv4 table for its packets."""
    up: bool = True

    @property
    def key(self) -> Hashable:
        return ("interface", self.tag)

    def __str__(self) -> str:
        return f"sub-interface of VLAN {self.vlan} ({self.tag})"


@dataclasses.dataclass(frozen=True, slots=True)
class Address(Item):
    """An address of an interface."""

    interface: str
    """Tag."""
    address: IPv4Interface | IPv6Interface

    @property
    def key(self) -> Hashable:
        return ("address", self.interface, self.address)

    def __str__(self) -> str:
        return f"address {self.address} of {self.interface}"


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbor(Item):
    """A static neighbor."""

    interface: str
    """Tag."""
    address: IPv4Address
    mac: str

    @property
    def key(self) -> Hashable:
        return ("neighbor", self.interface, self.address)

    def __str__(self) -> str:
        return f"neighbor {self.address} of {self.interface}"


@dataclasses.dataclass(frozen=True, slots=True)
class Route(Item):
    """A route to one next hop."""

    table: int
    destination: IPv4Network | IPv6Network
    interface: str
    """Tag; "": packets to the destination are dropped."""
    via: IPv4Address | IPv6Address | None = None
    """Address of the next hop; None: the destination is on the interface's link."""

    @property
    def key(self) -> Hashable:
        return ("route", self.table, self.destination)

    def __str__(self) -> str:
        return f"route to {self.destination} in table {self.table}"


@dataclasses.dataclass(frozen=True, slots=True)
class Tenant64(Item):
    """A tenant of the fip64 plugin: its NAT64 pool and how its packets are translated (fip64.api)."""

    table: int
    tag: str
    pool_first: IPv4Address
    pool_last: IPv4Address
    address4: IPv4Address
    address6: IPv6Address
    mtu4: int
    mtu6: int
    lowest_ipv6_mtu: int
    zero_traffic_class: bool
    drop_udp_zero_checksum: bool
    hash_seed: int
    idle_timeout: int
    max_per_64: int

    @property
    def key(self) -> Hashable:
        return ("tenant", self.table)

    def __str__(self) -> str:
        return f"NAT64 pool {self.pool_first}-{self.pool_last} of {self.tag}"


@dataclasses.dataclass(frozen=True, slots=True)
class Mapping(Item):
    """A mapping of the fip64 plugin: a floating IP and the fixed address of its VM."""

    floating: IPv6Address
    fixed: IPv4Address
    ip6_table: int
    table: int
    """Number of the tenant's IPv4 table."""

    @property
    def key(self) -> Hashable:
        return ("mapping", self.ip6_table, self.floating)

    def __str__(self) -> str:
        return f"mapping {self.floating} to {self.fixed} in table {self.table}"


@dataclasses.dataclass(frozen=True, slots=True)
class Binding(Item):
    """A static client binding of the fip64 plugin."""

    table: int
    client: IPv6Address
    address: IPv4Address

    @property
    def key(self) -> Hashable:
        return ("binding", self.table, self.client)

    def __str__(self) -> str:
        return f"binding of client {self.client} to {self.address} in table {self.table}"


ORDER = (Daemon, NeighborAge, Table, HostInterface, SubInterface, Address, Neighbor, Route, Tenant64,
         Mapping, Binding)
"""The order in which items are made: each may need items of the kinds before its own."""
RANK = {kind: rank for rank, kind in enumerate(ORDER)}
