# SPDX-License-Identifier: Apache-2.0
"""Multicast Router Discovery (RFC 4286): how switches that snoop MLD learn where the multicast routers are.

A receiver ignores messages that do not come from a link-local address, with hop limit 1 and a Router Alert:
that is for who handles them.
"""

from __future__ import annotations

import dataclasses
import struct

from fip64agent.net.ipv6 import PacketError

MRD_ADVERTISEMENT, MRD_SOLICITATION, MRD_TERMINATION = 151, 152, 153
"""Types of ICMPv6 messages."""

_ADVERTISEMENT = struct.Struct("!BBHHH")


@dataclasses.dataclass(frozen=True, slots=True)
class MulticastRouterAdvertisement:
    """RFC 4286, section 3.1."""

    interval: int
    """Seconds between advertisements, 8 bits."""
    query_interval: int
    """Seconds between queries of MLD, 16 bits; 0: the sender is not a querier."""
    robustness: int
    """The Robustness Variable of MLD, 16 bits."""


@dataclasses.dataclass(frozen=True, slots=True)
class MulticastRouterSolicitation:
    """RFC 4286, section 4.1."""


@dataclasses.dataclass(frozen=True, slots=True)
class MulticastRouterTermination:
    """RFC 4286, section 5.1: the sender does not forward multicast packets any more."""


Message = MulticastRouterAdvertisement | MulticastRouterSolicitation | MulticastRouterTermination


def parse(data: bytes) -> Message:
    """Return the message of a type of RFC 4286 that `data`, 4 octets or more, is. What follows its end is
    ignored.

    Raises: PacketError.
    """
    if data[0] == MRD_SOLICITATION:
        return MulticastRouterSolicitation()
    if data[0] == MRD_TERMINATION:
        return MulticastRouterTermination()
    if len(data) < _ADVERTISEMENT.size:
        raise PacketError(f"a message of type {MRD_ADVERTISEMENT} in {len(data)} octets")
    _, interval, _, query_interval, robustness = _ADVERTISEMENT.unpack_from(data)
    return MulticastRouterAdvertisement(interval, query_interval, robustness)


def build(message: Message) -> bytes:
    """Return the message with a checksum of 0. Raises: struct.error when a value does not fit."""
    if isinstance(message, MulticastRouterAdvertisement):
        return _ADVERTISEMENT.pack(MRD_ADVERTISEMENT, message.interval, 0, message.query_interval,
                                   message.robustness)
    return bytes((MRD_SOLICITATION if isinstance(message, MulticastRouterSolicitation) else MRD_TERMINATION,
                  0, 0, 0))
