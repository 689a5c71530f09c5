# SPDX-License-Identifier: Apache-2.0
"""A flow as a value: what the features produce and the codec encodes."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fip64agent.plan.desired import ObjectKey, Uplink
from fip64agent.switch import pipeline

IN_PORT = 0xFFFFFFF8
"""OpenFlow's reserved port: the one by which the packet came in."""
IN_PORT_16 = IN_PORT & 0xFFFF
"""The same as a number in a register, for OutputField."""
NORMAL = 0xFFFFFFFA
"""OpenFlow's reserved port: the packet is switched as without flows."""

ETH_ARP, ETH_IPV4, ETH_IPV6 = 0x0806, 0x0800, 0x86DD
UNTAGGED = ("vlan_vid", (0, 0x0FFF))
"""No 802.1Q tag, or one with VLAN ID 0, which only carries a priority (IEEE 802.1Q section 6.9)."""
IPV4 = ("eth_type", ETH_IPV4)
IPV6 = ("eth_type", ETH_IPV6)
ARP = ("eth_type", ETH_ARP)
ICMPV6 = ("ip_proto", 58)
MULTICAST = ("eth_dst", (0x333300000000, 0xFFFF00000000))
"""The Ethernet addresses of IPv6 multicast (RFC 2464, section 7)."""
ANY_FRAGMENT = ("ip_frag", (1, 1))
"""A fragment, also the first. OVS's fields of the upper protocol are 0 in all fragments, the first one, too,
unless the bridge is in another mode for them than "normal" (ovs-ofctl(8), set-frags)."""
LATER_FRAGMENT = ("ip_frag", 3)
"""A fragment that is not the first."""
NO_LATER_FRAGMENT = ("ip_frag", (0, 2))
"""A whole packet, or the first fragment of one."""

CT_NEW, CT_ESTABLISHED, CT_RELATED, CT_REPLY, CT_INVALID, CT_TRACKED = 1, 2, 4, 8, 16, 32
"""Bits of ct_state (ovs-fields(7)). All are 0 before the packet went through conntrack."""

Value = int | str | IPv4Address | IPv6Address | IPv4Network | IPv6Network | tuple[int, int]
"""An integer, a MAC address as text, an address, a prefix, or (integer, mask)."""
Match = tuple[tuple[str, Value], ...]
"""(field, value): os-ken's names of fields, with their prerequisites; and those of connection/fields.py."""

CONTROLLER_ID = 0xF164
"""Of our connection: packets that our flows send to the controller come to the agent only, and those that
other systems' flows send do not."""
WHOLE_PACKET = 0xFFFF
REASON_ACTION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """Output to an OpenFlow port."""

    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class OutputField:
    """Output to the OpenFlow port whose number is in a register, in its lowest 16 bits; the others must be 0.

    As with Output, nothing goes to the port by which the packet came in, unless the number is IN_PORT_16 or
    the flow has loaded another number into "in_port" before.
    """

    field: str
    """"reg2"."""


@dataclasses.dataclass(frozen=True, slots=True)
class DecTtl:
    """Decrement the hop limit, or the TTL, of an IP packet.

    The flow must not match packets in which it is 0 or 1, which other flows take (a field "nw_ttl" has no
    mask: one flow for each): Open vSwitch sends those to the controllers of other systems, and carries out
    none of the actions that follow.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class CheckPktLarger:
    """Set a bit of a register to whether the frame is larger than `octets`, its Ethernet header included."""

    octets: int
    """Without a tag 14 more than the MTU that is meant."""
    field: str
    bit: int = 0
    """0: the lowest."""


@dataclasses.dataclass(frozen=True, slots=True)
class SetField:
    """Set a whole field."""

    field: str
    value: Value


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """Set `bits` bits of a field, from bit `first` on (0: the lowest)."""

    field: str
    value: int
    bits: int
    first: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """Copy `bits` bits of a field to another, from the bits given (0: the lowest)."""

    source: str
    destination: str
    bits: int
    source_first: int = 0
    destination_first: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class PushVlan:
    """Add an 802.1Q tag."""

    vlan: int


@dataclasses.dataclass(frozen=True, slots=True)
class PopVlan:
    """Remove the tag that the flow matches."""


@dataclasses.dataclass(frozen=True, slots=True)
class StripVlan:
    """Remove the tag of a packet that is UNTAGGED, if it has one (with VLAN ID 0).

    OVS refuses PopVlan in a flow that also matches packets without a tag.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """Output to the first of `members` (OpenFlow ports) that is up; Open vSwitch decides for each packet."""

    members: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Conjunction:
    """Clause `clause` of `clauses`: a packet that matches one flow of each matches ("conj_id", number).

    A flow may have several of these actions, and then no others. Open vSwitch reports them in the order in
    which they were given, so a feature must always give them in the same order.
    """

    number: int
    clause: int
    clauses: int


@dataclasses.dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in `table`, then continue with the actions that follow."""

    table: int


@dataclasses.dataclass(frozen=True, slots=True)
class Controller:
    """Send the packet to the agent, to the service of the flow's feature (fip64agent/services)."""

    meter: int | None = None
    """Number of the meter that it must pass: pipeline.meter_number(). None: no limit."""
    max_length: int = WHOLE_PACKET
    """Bytes of the packet that are sent."""
    reason: int = REASON_ACTION
    userdata: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Ct:
    """Send the packet through conntrack; with `table` a copy continues there, with ct_state and so on set."""

    zone: int | str = 0
    """A number, or a field whose lowest 16 bits are the zone: "reg1"."""
    table: int | None = None
    commit: bool = False
    force: bool = False
    """Commit, and delete a connection that was committed in the opposite direction."""
    nat: bool = False
    """Translate addresses as for the connection's first packet (the action "nat" without arguments)."""
    actions: tuple[SetField | Load, ...] = ()
    """What is set in the committed connection: ct_mark, ct_label, or some of their bits."""


@dataclasses.dataclass(frozen=True, slots=True)
class CtClear:
    """Forget what conntrack has told of the packet: ct_state becomes 0, as before the first Ct."""


@dataclasses.dataclass(frozen=True, slots=True)
class LearnMatch:
    """A learned flow matches `field` with what the packet has in `source`, a field or a number."""

    field: str
    source: str | int
    bits: int


@dataclasses.dataclass(frozen=True, slots=True)
class LearnLoad:
    """A learned flow loads what the packet has in `source`, a field or a number, into `field`."""

    field: str
    source: str | int
    bits: int


@dataclasses.dataclass(frozen=True, slots=True)
class LearnOutput:
    """A learned flow outputs to the port whose number the packet has in `source`."""

    source: str
    bits: int


@dataclasses.dataclass(frozen=True, slots=True)
class Learn:
    """Add a flow made from the packet. It is not in the plan, so its cookie must not be one of ours."""

    table: int
    priority: int
    specs: tuple[LearnMatch | LearnLoad | LearnOutput, ...]
    idle_timeout: int = 0
    """Seconds; 0: it stays."""
    hard_timeout: int = 0
    cookie: int = 0


Action = (Output | OutputField | SetField | Load | Move | DecTtl | CheckPktLarger | PushVlan | PopVlan
          | StripVlan | Bundle | Conjunction | Resubmit | Controller | Ct | CtClear | Learn)


def to_controller(feature: int, ofport: int) -> Controller:
    """Return the action that sends packets of a port to the service of the feature with that number.

    Their rate is limited for each port and feature ([ovs] packet_in_rate).
    """
    return Controller(pipeline.meter_number(feature, ofport))


def to_uplink(uplink: Uplink) -> Action:
    """Return the action that sends a packet out of an uplink: of a bond, by the active member.

    Open vSwitch uses the next member by itself when that one is down, even while the agent does not run.
    """
    return Bundle(uplink.members) if uplink.members else Output(uplink.ofport)


DROP: tuple[Action, ...] = ()


def icmpv6_message(kind: int) -> Match:
    """Return the match for ICMPv6 messages of a type, with the code 0."""
    return IPV6, ICMPV6, ("icmpv6_type", kind), ("icmpv6_code", 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Announcement:
    """What to announce when the flow is new: `address` is at `mac` now.

    `ofport`: OpenFlow port to send the announcement to.
    """

    ofport: int
    mac: str
    address: IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """An OpenFlow flow that serves an object of the plan (`owner`)."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    feature: str
    """Name of the FlowFeature that it belongs to."""
    owner: ObjectKey
    announcements: tuple[Announcement, ...] = ()
