# SPDX-License-Identifier: Apache-2.0
"""A flow as a value: what the features produce and the codec encodes."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fip64agent.plan.desired import ObjectKey, Uplink
from fip64agent.switch.pipeline import Kind

IN_PORT = 0xFFFFFFF8
"""OpenFlow's reserved port: out by the port the packet came in by."""
NORMAL = 0xFFFFFFFA

ETH_ARP, ETH_IPV4, ETH_IPV6 = 0x0806, 0x0800, 0x86DD
UNTAGGED = ("vlan_vid", (0, 0x0FFF))
"""No 802.1Q tag, or one with VLAN ID 0, which only carries a priority (IEEE 802.1Q section 6.9)."""
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
    """Take off the tag that the flow matches."""


@dataclasses.dataclass(frozen=True, slots=True)
class StripVlan:
    """Take off the tag of a packet that is UNTAGGED, if it has one.

    OVS refuses PopVlan in a flow that also matches packets without a tag.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """Output to the first of `members` (OpenFlow ports) that is up: Open vSwitch looks at each packet."""

    members: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Conjunction:
    """Clause `clause` of `clauses`: what matches one flow of each clause matches ("conj_id", number)."""

    number: int
    clause: int
    clauses: int


Action = Output | SetField | Move | PushVlan | PopVlan | StripVlan | Bundle | Conjunction

def to_uplink(uplink: Uplink) -> Action:
    """Return the action that sends a packet out of an uplink: of a bond, by the active member.

    Open vSwitch takes the next member by itself when that one is down, with the agent dead too.
    """
    return Bundle(uplink.members) if uplink.members else Output(uplink.ofport)


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
