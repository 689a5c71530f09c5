# SPDX-License-Identifier: Apache-2.0
"""Items of the links room: what Linux should have, as values. Drivers and features state what they want.

`netns` is a network namespace's name, which begins with the agent's prefix; "" is the namespace that the
agent runs in, where only veth pairs can be wanted. All that is wanted is read back, and when it comes out the
same there is nothing to do. So a value that is not read back cannot be wanted: `links.readable` says which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Protocol

from fip64agent.plan.desired import ObjectKey, PlanObject
from fip64agent.reconcile.explain import TracedPath

INNER_MTU = 1500
"""Bytes: of links between namespaces of ours, and of TUN devices."""
DOWNLINK_MTU = 9216
"""Bytes: of a link towards the VMs. A VM's jumbo frame must come in, so that its sender is told what fits."""
TO_VMS = IPv4Address("169.254.0.1")
TO_VMS_MAC = "02:f6:40:00:00:01"
"""Next hop of a translator towards the VMs, and its MAC. No VM has them: the flows that deliver packets set
the right MACs."""
ROUTER = (("ipv4.conf.all.forwarding", "1"), ("ipv4.conf.all.rp_filter", "0"),
          ("ipv4.conf.default.rp_filter", "0"), ("ipv6.conf.all.disable_ipv6", "0"),
          ("ipv6.conf.default.disable_ipv6", "0"), ("ipv6.conf.all.forwarding", "1"),
          ("ipv6.conf.default.accept_dad", "0"), ("ipv6.conf.default.accept_ra", "0"))
"""Sysctls (below net.) of a namespace that forwards. These are read back from each namespace."""
DEFAULT_METRIC6 = 1024
"""The metric that the kernel gives to an IPv6 route without one."""
UNICAST = "unicast"
BLACKHOLE = "blackhole"
PROTOCOL = 164
"""Routing protocol number on our routes and rules: the mark of what is ours in a namespace of ours. Links,
addresses and permanent neighbors there are ours without a mark."""


@dataclasses.dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with `sysctls` ((name below net., value), ...): those of ROUTER, in its order."""

    name: str
    sysctls: tuple[tuple[str, str], ...]
    up: bool = True
    """Its loopback is up. As with links, False is only read back, and never wanted."""
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
    """In small letters. "": whatever the kernel gave. Is given when `netns` is "", and only then: between
    namespaces of ours it is not read back, nor are `switched` and `peer_without_ipv6`."""
    switched: bool = False
    """The first end is a port of Open vSwitch: no IPv6 of the kernel's on it, no checksum offload on
    either end (the userspace datapath passes unfinished checksums on)."""
    up: bool = True
    """Both ends are."""
    peer_without_ipv6: bool = False
    """The kernel has no IPv6 on the far end either: another program reads the packets there. For a far end in
    the agent's own namespace."""
    same_mtu: bool = True
    """Both ends have the same MTU. False is only read back."""
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
    """An address of a link. It is not the link-local one that follows from the link's MAC address, which the
    kernel gives it by itself."""

    netns: str
    link: str
    """Not the loopback."""
    address: IPv4Interface | IPv6Interface
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("address", self.netns, self.link, self.address)

    def __str__(self) -> str:
        return f"address {self.address} on {self.link} in namespace {self.netns}"


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbor:
    """A permanent neighbor. That one of IPv6 was removed by others is not noticed at once, only found by the
    next read-back."""

    netns: str
    link: str
    address: IPv4Address | IPv6Address
    mac: str
    """In small letters."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("neighbor", self.netns, self.link, self.address)

    def __str__(self) -> str:
        return f"neighbor {self.address} on {self.link} in namespace {self.netns}"


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """A route of ours; without `via` the destination is on the link."""

    netns: str
    table: int
    destination: IPv4Network | IPv6Network | IPv4Address | IPv6Address
    """A prefix; a single address is always held as an address. Most routes are to one, and prefixes for ten
    thousand would take 3 MiB."""
    link: str = ""
    via: IPv4Address | IPv6Address | None = None
    kind: str = UNICAST
    metric: int = 0
    """0: the kernel's own choice, which is DEFAULT_METRIC6 for IPv6."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.prefixlen == self.destination.max_prefixlen:
            object.__setattr__(self, "destination", self.address)

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The first address of the destination."""
        return getattr(self.destination, "network_address", self.destination)

    @property
    def prefixlen(self) -> int:
        """Bits of the destination's prefix."""
        return getattr(self.destination, "prefixlen", self.destination.max_prefixlen)

    @property
    def key(self) -> Hashable:
        return ("route", self.netns, self.table, self.destination, self.metric)

    def __str__(self) -> str:
        return f"route to {self.address}/{self.prefixlen} in table {self.table} of namespace {self.netns}"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A routing policy rule: what comes from `source` (or in by link `iif`) looks into `table`.

    `source` None: from anywhere.
    """

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


LinkItem = Namespace | Veth | Tun | Address | Neighbor | Route | Rule
ORDER = (Namespace, Veth, Tun, Address, Neighbor, Route, Rule)
"""The order in which items are made: each may need items of the kinds before its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Hop:
    """A namespace of ours in which the kernel must forward a packet from one link to another."""

    name: str
    """Of the check of `fip64ctl trace`."""
    title: str
    """What holds there, as a sentence without its full stop."""
    netns: str
    link_in: str
    link_out: str


@dataclasses.dataclass(frozen=True, slots=True)
class KernelPath:
    """The hops of a client's packet to a floating IP, and of the answer, if the kernel routes them."""

    there: tuple[Hop, ...] = ()
    back: tuple[Hop, ...] = ()
    """The last one leads to the uplink."""


@dataclasses.dataclass(frozen=True, slots=True)
class LinkFeature:
    """What a feature needs of Linux for the objects that it plans, whichever translator there is.

    A module of the package `links` has one as FEATURE; another package names one in its entry points of the
    group fip64agent.links.
    """

    links: Mapping[str, Callable[[Any, str], Iterable[LinkItem]]]
    """Kind -> a pure function of an object and of its mark, which is the alias of each veth pair that it
    wants. The items that it returns have the object's key as their `owner`. The object's numbers are found
    again when it has a pair whose first end is in the agent's own namespace."""


class Layout(Protocol):
    """What a translator's driver wants of Linux. Pure."""

    def links(self, obj: PlanObject, mark: str) -> Iterable[LinkItem]:
        """Return what `obj` needs beside what features want whichever translator there is (LinkFeature).

        `mark` is the alias of each veth pair in it.
        """
        ...

    def path(self, traced: TracedPath) -> KernelPath:
        """Return the hops at which the kernel must forward a packet through those links."""
        ...
