# SPDX-License-Identifier: Apache-2.0
"""ICMPv6 messages (RFC 4443) and those of Neighbor Discovery (RFC 4861)."""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv6Address

from fip64agent.net import options as nd
from fip64agent.net.ipv6 import PacketError
from fip64agent.net.options import Option

UNREACHABLE, PARAMETER_PROBLEM = 1, 4
"""The first and the last type of an ICMPv6 error that is read here."""
ECHO_REQUEST, ECHO_REPLY = 128, 129
MLD_QUERY, ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 130, 133, 134
SOLICITATION, ADVERTISEMENT, MLDV2_REPORT = 135, 136, 143

ROUTER, SOLICITED, OVERRIDE = 0x80000000, 0x40000000, 0x20000000
"""Flags of a Neighbor Advertisement (RFC 4861, section 4.4)."""

_HEADER = struct.Struct("!BBHI")
"""Type, code, checksum, and the first word of the body, which all messages have that are read here."""
_NEIGHBOR = struct.Struct("!BBHI16s")
_ROUTER = struct.Struct("!BBHBBHII")


@dataclasses.dataclass(frozen=True, slots=True)
class Echo:
    reply: bool
    identifier: int
    sequence: int
    data: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class NeighborSolicitation:
    target: IPv6Address
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class NeighborAdvertisement:
    target: IPv6Address
    flags: int
    """ROUTER | SOLICITED | OVERRIDE, and bits that are reserved."""
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RouterSolicitation:
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    hop_limit: int
    flags: int
    """0x80: managed; 0x40: other configuration (RFC 4861, section 4.2); the router's preference (RFC 4191)
    and bits that are reserved."""
    lifetime: int
    """Seconds; 0: not a default router."""
    reachable_time: int
    """Milliseconds; 0: nothing is said."""
    retransmit_timer: int
    """Milliseconds; 0: nothing is said."""
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Error:
    """Destination Unreachable, Packet Too Big, Time Exceeded or Parameter Problem."""

    kind: int
    code: int
    value: int
    """Packet Too Big: the MTU; Parameter Problem: the pointer; else unused."""
    packet: bytes
    """As much of the packet that it is about as there is, from its IPv6 header on."""


@dataclasses.dataclass(frozen=True, slots=True)
class OtherMessage:
    """A message that is kept as it is: MLD, and whatever else there may be."""

    kind: int
    code: int
    body: bytes
    """All after the checksum."""


Message = (Echo | NeighborSolicitation | NeighborAdvertisement | RouterSolicitation | RouterAdvertisement
           | Error | OtherMessage)


def parse(data: bytes) -> Message:
    """Return the message; its checksum is the caller's business. Raises: PacketError."""
    if len(data) < 4:
        raise PacketError(f"an ICMPv6 message of {len(data)} octets")
    kind, code = data[0], data[1]
    if code == 0 and kind in (SOLICITATION, ADVERTISEMENT):
        if len(data) < _NEIGHBOR.size:
            raise PacketError(f"a message of type {kind} in {len(data)} octets")
        _, _, _, flags, target = _NEIGHBOR.unpack_from(data)
        options = nd.parse(data, _NEIGHBOR.size)
        # The word before the target is reserved in a solicitation, and ignored (RFC 4861, section 4.3).
        return (NeighborSolicitation(IPv6Address(target), options) if kind == SOLICITATION
                else NeighborAdvertisement(IPv6Address(target), flags, options))
    known = kind in (ECHO_REQUEST, ECHO_REPLY, ROUTER_SOLICITATION) and code == 0
    if known or UNREACHABLE <= kind <= PARAMETER_PROBLEM:
        if len(data) < _HEADER.size:
            raise PacketError(f"a message of type {kind} in {len(data)} octets")
        word = _HEADER.unpack_from(data)[3]
        if kind == ROUTER_SOLICITATION:
            return RouterSolicitation(nd.parse(data, _HEADER.size))
        rest = bytes(data[_HEADER.size:])
        return Error(kind, code, word, rest) if not known else Echo(kind == ECHO_REPLY, word >> 16,
                                                                    word & 0xFFFF, rest)
    if kind == ROUTER_ADVERTISEMENT and code == 0:
        if len(data) < _ROUTER.size:
            raise PacketError(f"a message of type {kind} in {len(data)} octets")
        return RouterAdvertisement(*_ROUTER.unpack_from(data)[3:], nd.parse(data, _ROUTER.size))
    return OtherMessage(kind, code, bytes(data[4:]))


def build(message: Message) -> bytes:
    """Return the message with a checksum of 0. Raises: PacketError when a value does not fit."""
    try:
        return _built(message)
    except (struct.error, ValueError) as error:
        raise PacketError(f"a value does not fit into an ICMPv6 message: {error}") from error


def _built(message: Message) -> bytes:
    if isinstance(message, NeighborAdvertisement):
        return _NEIGHBOR.pack(ADVERTISEMENT, 0, 0, message.flags,
                              message.target.packed) + nd.build(message.options)
    if isinstance(message, NeighborSolicitation):
        return _NEIGHBOR.pack(SOLICITATION, 0, 0, 0, message.target.packed) + nd.build(message.options)
    if isinstance(message, RouterAdvertisement):
        return _ROUTER.pack(ROUTER_ADVERTISEMENT, 0, 0, message.hop_limit, message.flags, message.lifetime,
                            message.reachable_time, message.retransmit_timer) + nd.build(message.options)
    if isinstance(message, RouterSolicitation):
        return _HEADER.pack(ROUTER_SOLICITATION, 0, 0, 0) + nd.build(message.options)
    if isinstance(message, Echo):
        if not 0 <= message.sequence <= 0xFFFF:
            raise PacketError(f"echo with sequence number {message.sequence}")
        return _HEADER.pack(ECHO_REPLY if message.reply else ECHO_REQUEST, 0, 0,
                            message.identifier << 16 | message.sequence) + message.data
    if isinstance(message, Error):
        return _HEADER.pack(message.kind, message.code, 0, message.value) + message.packet
    return bytes((message.kind, message.code, 0, 0)) + message.body
