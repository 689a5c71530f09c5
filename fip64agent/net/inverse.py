# SPDX-License-Identifier: Apache-2.0
"""Inverse Neighbor Discovery (RFC 3122): the addresses that a known MAC has.

A receiver ignores messages without the options that they must have (RFC 3122, section 4.3), and those whose
hop limit is not 255: that is for who handles them.
"""

from __future__ import annotations

import dataclasses
import struct

from fip64agent.net import options as nd
from fip64agent.net.ipv6 import PacketError
from fip64agent.net.options import Option

INVERSE_SOLICITATION, INVERSE_ADVERTISEMENT = 141, 142
"""Types of ICMPv6 messages."""

_HEADER = struct.Struct("!BBHI")


@dataclasses.dataclass(frozen=True, slots=True)
class InverseSolicitation:
    """RFC 3122, section 2.1: it must have the MAC addresses of the sender and of the target as options."""

    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class InverseAdvertisement:
    """RFC 3122, section 2.2: it must have both MAC addresses, and a TargetAddressList, as options."""

    options: tuple[Option, ...] = ()


Message = InverseSolicitation | InverseAdvertisement


def parse(data: bytes) -> Message:
    """Return the message of a type of RFC 3122 that `data` is. Raises: PacketError."""
    if len(data) < _HEADER.size:
        raise PacketError(f"a message of type {data[0]} in {len(data)} octets")
    options = nd.parse(data, _HEADER.size)
    return (InverseSolicitation if data[0] == INVERSE_SOLICITATION else InverseAdvertisement)(options)


def build(message: Message) -> bytes:
    """Return the message with a checksum of 0. Raises: PacketError, struct.error, ValueError."""
    kind = INVERSE_SOLICITATION if isinstance(message, InverseSolicitation) else INVERSE_ADVERTISEMENT
    return _HEADER.pack(kind, 0, 0, 0) + nd.build(message.options)
