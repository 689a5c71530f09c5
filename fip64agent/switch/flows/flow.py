# SPDX-License-Identifier: Apache-2.0
"""A flow as a value: what the features produce and the codec encodes."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fip64agent.plan.desired import ObjectKey
from fip64agent.switch.pipeline import Kind

IN_PORT = 0xFFFFFFF8
"""OpenFlow's reserved port: out by the port the packet came in by."""
NORMAL = 0xFFFFFFFA

ETH_ARP, ETH_IPV4, ETH_IPV6 = 0x0806, 0x0800, 0x86DD
UNTAGGED = ("vlan_vid", 0)
IPV4 = ("eth_type", ETH_IPV4)
IPV6 = ("eth_type", ETH_IPV6)
ARP = ("eth_type", ETH_ARP)
ICMPV6 = ("ip_proto", 58)

Value = int | str | IPv4Address | IPv6Address | IPv4Network | IPv6Network | tuple[int, int]
"""An integer, a MAC address as text, an address, a prefix, or (integer, mask)."""
Match = tuple[tuple[str, Value], ...]
"""(field, value): os-ken's names of fields, with their prerequisites."""


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class SetField:
    field: str
    value: Value


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """Copy a whole field to another of `bits` bits."""

    source: str
    destination: str
    bits: int


@dataclasses.dataclass(frozen=True, slots=True)
class PushVlan:
    vlan: int


@dataclasses.dataclass(frozen=True, slots=True)
class PopVlan:
    pass


Action = Output | SetField | Move | PushVlan | PopVlan

DROP: tuple[Action, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Announcement:
    """What to tell the link when the flow is new: `address` is at `mac` now. `ofport`: where to send it."""

    ofport: int
    mac: str
    address: IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    kind: Kind
    owner: ObjectKey
    announcements: tuple[Announcement, ...] = ()
