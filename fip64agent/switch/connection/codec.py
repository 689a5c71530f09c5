# SPDX-License-Identifier: Apache-2.0
"""Encodes flows as OpenFlow 1.3 bytes and decodes them, fast.

os-ken's message classes build about 7,000 flow mods a second, and parse flow statistics even more slowly.
Here os-ken's tables give the names, numbers and sizes of fields, its classes serialize only the rare actions,
and headers are packed with struct.

A match is kept *normalised*: its TLVs in a fixed order, without padding. Two flows match the same
packets when their normalised matches are equal, whatever order they were written in. The order is
OpenFlow's fields by number, then Nicira's: so each comes after its prerequisites, as OVS requires.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from fip64agent.plan.desired import Host, ObjectKey
from fip64agent.switch import features, pipeline
from fip64agent.switch.connection.actions import PADDING, encode_instructions
from fip64agent.switch.connection.fields import CodecError, tlv
from fip64agent.switch.flows.flow import IN_PORT, NORMAL, Announcement, Flow, Match, Value

# isort: split
from os_ken.ofproto import ofproto_v1_3 as ofp

FLOW_MOD = struct.Struct("!BBHIQQBBHHHIIIH2x")
_MATCH = struct.Struct("!HH")
_FLOW_STATS = struct.Struct("!HBxIIHHHHxxxxQQQ")
_FLOW_REQUEST = struct.Struct("!BBHIHH4xB3xII4xQQ")
_OWNER = 0xFFFFFFFF
"""Bits of a cookie (pipeline.COOKIE_LAYOUT)."""
_HOST = pipeline.encode_cookie(0, Host().key) & _OWNER


@dataclasses.dataclass(frozen=True, slots=True)
class FlowItem:
    """An encoded flow. Two with the same key and equal fields are the same flow."""

    table: int
    priority: int
    match: bytes
    """Normalised."""
    instructions: bytes
    cookie: int
    owner: ObjectKey = dataclasses.field(default=(), compare=False)
    announcements: tuple[Announcement, ...] = dataclasses.field(default=(), compare=False)

    @property
    def shared(self) -> bool:
        """Whether several objects may want it: the flows of the host, which uplinks and networks need."""
        return self.cookie & _OWNER == _HOST

    @property
    def key(self):
        return pipeline.flow_key(self.table, self.priority, self.match)

    def __str__(self) -> str:
        from fip64agent.switch import text

        decoded = pipeline.decode_cookie(self.cookie)
        feature = (features.feature_name(decoded[0]) if decoded else None) or "unknown"
        return (f"{feature} flow, table {features.table_name(self.table)}, priority {self.priority}, "
                f"{text.match_text(self.match) or 'any packet'}")


@dataclasses.dataclass(frozen=True, slots=True)
class FlowStats:
    """A flow of ours as the switch reports it, with its counters."""

    item: FlowItem
    packets: int
    bytes: int


# -- encoding ------------------------------------------------------------------------------------


@functools.lru_cache(4096)
def _common_tlv(name: str, value: Value) -> bytes:
    """Return a field with its value. A register of 128 bits becomes four of 32, as in Open vSwitch."""
    if not name.startswith("xxreg"):
        return tlv(name, value)
    first, whole, parts = 4 * int(name.removeprefix("xxreg")), (1 << 32) - 1, []
    value, mask = value if isinstance(value, tuple) else (value, (1 << 128) - 1)
    if value >> 128 or mask >> 128:
        raise CodecError(f"{name}: {value:#x} with mask {mask:#x} does not fit into 128 bits")
    for number in range(4):
        shift = 32 * (3 - number)
        part, part_mask = value >> shift & whole, mask >> shift & whole
        if part_mask:
            parts.append(tlv(f"reg{first + number}", part if part_mask == whole else (part, part_mask)))
    return b"".join(parts)


def encode_match(match: Match) -> bytes:
    """Return the normalised match. What any value matches is left out, as Open vSwitch does.

    Raises: CodecError when a value does not fit; KeyError when there is no such field.
    """
    tlvs = [tlv(name, value) if isinstance(value, IPv4Address | IPv6Address) else _common_tlv(name, value)
            for name, value in match]
    if any(name.startswith("xxreg") for name, _ in match):
        return normalise(b"".join(tlvs))  # each of them may be several fields
    return _ordered([each for each in tlvs if each])


def _ordered(tlvs: list[bytes]) -> bytes:
    tlvs.sort()
    nicira = 0
    while nicira < len(tlvs) and tlvs[nicira][0] < 0x80:
        nicira += 1
    return b"".join(tlvs[nicira:] + tlvs[:nicira] if nicira else tlvs)


# Flows of one owner are encoded one after the other, so a small cache is enough.
@functools.lru_cache(256)
def _cookie(feature: str, owner: ObjectKey) -> int:
    return pipeline.encode_cookie(features.features()[feature].number, owner)


def encode(flow: Flow) -> FlowItem:
    """Return the encoded flow."""
    return FlowItem(flow.table, flow.priority, encode_match(flow.match), encode_instructions(flow.actions),
                    _cookie(flow.feature, flow.owner), flow.owner, flow.announcements)


def flow_mod(item: FlowItem, xid: int, command: int = ofp.OFPFC_ADD) -> bytes:
    """Return the OFPT_FLOW_MOD that adds `item`, or deletes it if it is ours (OFPFC_DELETE_STRICT)."""
    length = 4 + len(item.match)
    match = _MATCH.pack(ofp.OFPMT_OXM, length) + item.match + PADDING[length % 8]
    deleting = command != ofp.OFPFC_ADD
    instructions = b"" if deleting else item.instructions
    return FLOW_MOD.pack(
        ofp.OFP_VERSION, ofp.OFPT_FLOW_MOD, FLOW_MOD.size + len(match) + len(instructions), xid,
        pipeline.COOKIE_VALUE if deleting else item.cookie, pipeline.COOKIE_MASK if deleting else 0,
        item.table, command, 0, 0, item.priority, ofp.OFP_NO_BUFFER, ofp.OFPP_ANY, ofp.OFPG_ANY, 0,
    ) + match + instructions


def flow_request(xid: int, table: int = ofp.OFPTT_ALL, match: bytes = b"") -> bytes:
    """Return the request for the flows whose match is at least as specific as `match`."""
    length = 4 + len(match)
    encoded = _MATCH.pack(ofp.OFPMT_OXM, length) + match + PADDING[length % 8]
    return _FLOW_REQUEST.pack(ofp.OFP_VERSION, ofp.OFPT_MULTIPART_REQUEST, _FLOW_REQUEST.size + len(encoded),
                              xid, ofp.OFPMP_FLOW, 0, table, ofp.OFPP_ANY, ofp.OFPG_ANY, 0, 0) + encoded


# -- decoding ------------------------------------------------------------------------------------


def normalise(tlvs: bytes) -> bytes:
    """Return the match with its TLVs in our order. Raises: CodecError."""
    parts = []
    position, end = 0, len(tlvs)
    while position < end:
        if position + 4 > end:
            raise CodecError(f"match: {end - position} bytes where a field should begin")
        size = 4 + tlvs[position + 3]
        if position + size > end:
            raise CodecError(f"match: a field of {size} bytes in the last {end - position}")
        parts.append(tlvs[position:position + size])
        position += size
    return _ordered(parts)


def decode_flows(body: bytes) -> Iterator[tuple[int, int, int, bytes, bytes, int, int]]:
    """Yield (table, priority, cookie, match as received, instructions, packets, bytes) of each flow.

    `body` is that of an OFPMP_FLOW reply. Raises: CodecError.
    """
    position, end = 0, len(body)
    size = _FLOW_STATS.size
    while position < end:
        if position + size + 4 > end:
            raise CodecError(f"flow statistics: {end - position} bytes where a flow should begin")
        (length, table, _, _, priority, _, _, _, cookie,
         packets, octets) = _FLOW_STATS.unpack_from(body, position)
        kind, match_length = _MATCH.unpack_from(body, position + size)
        match_at = position + size + 4
        match_end = position + size + match_length
        instructions_at = match_end + -match_length % 8
        following = position + length
        if kind != ofp.OFPMT_OXM or match_length < 4 or instructions_at > following or following > end:
            raise CodecError(f"flow statistics: length {length}, match of type {kind} and length "
                             f"{match_length}, {end - position} bytes left")
        yield (table, priority, cookie, body[match_at:match_end], body[instructions_at:following],
               packets, octets)
        position = following


def decode_items(body: bytes) -> Iterator[FlowStats]:
    """Yield the flows of an OFPMP_FLOW reply that are ours. Raises: CodecError."""
    for table, priority, cookie, match, instructions, packets, octets in decode_flows(body):
        if pipeline.is_ours(cookie):
            item = FlowItem(table, priority, normalise(match), instructions, cookie)
            yield FlowStats(item, packets, octets)


assert (IN_PORT, NORMAL) == (ofp.OFPP_IN_PORT, ofp.OFPP_NORMAL)
