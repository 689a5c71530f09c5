# SPDX-License-Identifier: Apache-2.0
"""Items of the vpp driver: what VPP should have, as values. Interfaces are known by their tags."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.plan.desired import ObjectKey


@dataclasses.dataclass(frozen=True, slots=True)
class Daemon:
    """The managed VPP itself."""

    run_path: str
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("vpp", self.run_path)

    def __str__(self) -> str:
        return f"VPP in {self.run_path}"


@dataclasses.dataclass(frozen=True, slots=True)
class NeighbourAge:
    """How VPP keeps the neighbours of all its interfaces."""

    version: int
    """4 or 6."""
    limit: int
    """How many at most."""
    age: int
    """Seconds after which one that was not heard of is solicited, each second; after three it is forgotten.
    0: never."""
    recycle: bool
    """One more than the limit takes the place of the one that was not heard of for longest."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("neighbour age", self.version)

    def __str__(self) -> str:
        return f"age of IPv{self.version} neighbours"


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """An IP table (VRF)."""

    version: int
    """4 or 6."""
    number: int
    name: str
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("table", self.version, self.number)

    def __str__(self) -> str:
        return f"IPv{self.version} table {self.number} ({self.name})"


@dataclasses.dataclass(frozen=True, slots=True)
class HostInterface:
    """VPP's end of a veth, with a MAC of its own: the kernel, which has another, leaves the packets alone."""

    tag: str
    link: str
    """Name in Linux."""
    mac: str
    mtu: int
    """Of IP packets, in bytes."""
    table: int
    """IPv6 table of its packets; 0: it has no IPv6 (the downlink)."""
    up: bool = True
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("interface", self.tag)

    def __str__(self) -> str:
        return f"host-interface {self.link} ({self.tag})"


@dataclasses.dataclass(frozen=True, slots=True)
class SubInterface:
    """The packets with one 802.1Q VLAN ID on the downlink."""

    tag: str
    parent: str
    """Tag of the interface it is on."""
    vlan: int
    mtu: int
    table: int
    """IPv4 table of its packets."""
    up: bool = True
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("interface", self.tag)

    def __str__(self) -> str:
        return f"sub-interface of VLAN {self.vlan} ({self.tag})"


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    interface: str
    """Tag."""
    address: IPv4Interface | IPv6Interface
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("address", self.interface, self.address)

    def __str__(self) -> str:
        return f"address {self.address} of {self.interface}"


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbour:
    """A static one."""

    interface: str
    address: IPv4Address
    mac: str
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("neighbour", self.interface, self.address)

    def __str__(self) -> str:
        return f"neighbour {self.address} of {self.interface}"


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    table: int
    destination: IPv4Network | IPv6Network
    interface: str
    """Tag; "" drops what goes there."""
    via: IPv4Address | IPv6Address | None = None
    """None: the destination is on the interface's link."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("route", self.table, self.destination)

    def __str__(self) -> str:
        return f"route to {self.destination} in table {self.table}"


@dataclasses.dataclass(frozen=True, slots=True)
class Tenant64:
    """What the fip64 plugin knows of a tenant."""

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
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("tenant", self.table)

    def __str__(self) -> str:
        return f"NAT64 pool {self.pool_first}-{self.pool_last} of {self.tag}"


@dataclasses.dataclass(frozen=True, slots=True)
class Mapping:
    """One of the fip64 plugin."""

    floating: IPv6Address
    fixed: IPv4Address
    ip6_table: int
    table: int
    """Of the tenant."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("mapping", self.ip6_table, self.floating)

    def __str__(self) -> str:
        return f"mapping {self.floating} to {self.fixed} in table {self.table}"


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """A static client binding of the fip64 plugin."""

    table: int
    client: IPv6Address
    address: IPv4Address
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("binding", self.table, self.client)

    def __str__(self) -> str:
        return f"binding of client {self.client} to {self.address} in table {self.table}"


Item = (Daemon | NeighbourAge | Table | HostInterface | SubInterface | Address | Neighbour | Route | Tenant64
        | Mapping | Binding)

ORDER = (Daemon, NeighbourAge, Table, HostInterface, SubInterface, Address, Neighbour, Route, Tenant64,
         Mapping, Binding)
"""What is made later may stand on what was made before."""
RANK = {kind: rank for rank, kind in enumerate(ORDER)}
