# SPDX-License-Identifier: Apache-2.0
"""ICMPv6 messages: those of RFC 4443 and of Neighbor Discovery (RFC 4861), and how all others are found: MLD,
Inverse Neighbor Discovery and Multicast Router Discovery have modules of their own."""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv6Address

from fip64agent.net import inverse, mld, multicast_router
from fip64agent.net import options as nd
from fip64agent.net.inverse import INVERSE_ADVERTISEMENT, INVERSE_SOLICITATION
from fip64agent.net.ipv6 import PacketError
from fip64agent.net.mld import MLD_DONE, MLD_QUERY, MLD_REPORT, MLDV2_REPORT
from fip64agent.net.multicast_router import MRD_ADVERTISEMENT, MRD_SOLICITATION, MRD_TERMINATION
from fip64agent.net.options import Option

UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM = 1, 2, 3, 4
"""All types of errors that there are; those up to 127 are for more of them (RFC 4443, section 2.1)."""
ECHO_REQUEST, ECHO_REPLY = 128, 129
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT, REDIRECT = 133, 134, 135, 136, 137
CERTIFICATION_PATH_SOLICITATION = 148
NEIGHBOR_DISCOVERY = frozenset((ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT,
                                REDIRECT, CERTIFICATION_PATH_SOLICITATION, INVERSE_SOLICITATION,
                                INVERSE_ADVERTISEMENT))
"""Types that receivers ignore in a packet with a Fragment header: those of RFC 6980, section 5, and of
RFC 3122, whose messages are validated as those of RFC 4861 are."""

ROUTER, SOLICITED, OVERRIDE = 0x80000000, 0x40000000, 0x20000000
"""Flags of a Neighbor Advertisement (RFC 4861, section 4.4)."""
MANAGED, OTHER_CONFIGURATION = 0x80, 0x40
"""Flags of a Router Advertisement: addresses are to be had by DHCPv6; other configuration is, such as DNS
servers (M and O, RFC 4861, section 4.2)."""
PREFERENCE_HIGH, PREFERENCE_MEDIUM, PREFERENCE_LOW = 0x08, 0x00, 0x18
"""Flags of a Router Advertisement, and of a RouteInformation option (RFC 4191, section 2.1)."""

_HEADER = struct.Struct("!BBHI")
"""Type, code, checksum, and the first word of the body, which all messages that are read here have."""
_NEIGHBOR = struct.Struct("!BBHI16s")
_ROUTER = struct.Struct("!BBHBBHII")


@dataclasses.dataclass(frozen=True, slots=True)
class Echo:
    """An Echo Request, or an Echo Reply."""

    reply: bool
    identifier: int
    sequence: int
    data: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class NeighborSolicitation:
    """RFC 4861, section 4.3."""

    target: IPv6Address
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class NeighborAdvertisement:
    """RFC 4861, section 4.4."""

    target: IPv6Address
    flags: int
    """ROUTER | SOLICITED | OVERRIDE, and bits that are reserved."""
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RouterSolicitation:
    """RFC 4861, section 4.1."""

    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    """RFC 4861, section 4.2."""

    hop_limit: int
    flags: int
    """MANAGED | OTHER_CONFIGURATION | PREFERENCE_HIGH ..., and bits that are reserved; 8 bits."""
    lifetime: int
    """Seconds; 0: not a default router."""
    reachable_time: int
    """Milliseconds; 0: not specified."""
    retransmit_timer: int
    """Milliseconds; 0: not specified."""
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Error:
    """Destination Unreachable, Packet Too Big, Time Exceeded or Parameter Problem."""

    kind: int
    code: int
    value: int
    """Packet Too Big: the MTU; Parameter Problem: the pointer; else unused."""
    packet: bytes
    """The packet that caused the error, from its IPv6 header on, as far as it is quoted."""


@dataclasses.dataclass(frozen=True, slots=True)
class OtherMessage:
    """A message whose body is not read: of a type, or with a code, that is not known here."""

    kind: int
    code: int
    body: bytes
    """All after the checksum."""


Message = (Echo | NeighborSolicitation | NeighborAdvertisement | RouterSolicitation | RouterAdvertisement
           | Error | mld.Message | inverse.Message | multicast_router.Message | OtherMessage)

_PARSERS = {**dict.fromkeys((MLD_QUERY, MLD_REPORT, MLD_DONE, MLDV2_REPORT), mld.parse),
            **dict.fromkeys((MRD_ADVERTISEMENT, MRD_SOLICITATION, MRD_TERMINATION), multicast_router.parse)}
"""By type, for messages whose code is ignored, or has another meaning."""


def parse(data: bytes) -> Message:
    """Return the message that `data` is; the caller checks its checksum. Raises: PacketError."""
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
    if kind in (INVERSE_SOLICITATION, INVERSE_ADVERTISEMENT) and code == 0:
        return inverse.parse(data)
    parser = _PARSERS.get(kind)
    return OtherMessage(kind, code, bytes(data[4:])) if parser is None else parser(data)


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
    if isinstance(message, OtherMessage):
        return bytes((message.kind, message.code, 0, 0)) + message.body
    if isinstance(message, mld.Message):
        return mld.build(message)
    return inverse.build(message) if isinstance(message, inverse.Message) else multicast_router.build(message)
