# SPDX-License-Identifier: Apache-2.0
"""Options of Neighbor Discovery (RFC 4861, section 4.6)."""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv6Address

from fip64agent.net.addresses import mac_octets
from fip64agent.net.ipv6 import PacketError

SOURCE_LINK_LAYER_ADDRESS, TARGET_LINK_LAYER_ADDRESS, PREFIX_INFORMATION, MTU = 1, 2, 3, 5
MOST = 32
"""A message with more options is refused."""

_PREFIX = struct.Struct("!BBBBII4x16s")
_MTU = struct.Struct("!BBxxI")


@dataclasses.dataclass(frozen=True, slots=True)
class SourceLinkLayerAddress:
    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class TargetLinkLayerAddress:
    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrefixInformation:
    prefix: IPv6Address
    length: int
    flags: int
    """0x80: on-link; 0x40: autonomous (RFC 4861, section 4.6.2); and bits that are reserved."""
    valid_lifetime: int
    """Seconds; 0xffffffff: for ever."""
    preferred_lifetime: int


@dataclasses.dataclass(frozen=True, slots=True)
class Mtu:
    mtu: int


@dataclasses.dataclass(frozen=True, slots=True)
class OtherOption:
    """An option that is kept as it is: RDNSS (RFC 8106) and whatever else there may be."""

    kind: int
    data: bytes
    """All after type and length: 6 octets, or 8 more, or 16 more ..."""


Option = SourceLinkLayerAddress | TargetLinkLayerAddress | PrefixInformation | Mtu | OtherOption


def parse(data: bytes, position: int = 0) -> tuple[Option, ...]:
    """Return the options from `position` of `data` to its end.

    Raises: PacketError, for one of length 0 too (RFC 4861, section 4.6).
    """
    options: list[Option] = []
    end = len(data)
    while position < end:
        if len(options) == MOST:
            raise PacketError(f"more than {MOST} options")
        size = 8 * data[position + 1] if position + 2 <= end else 0
        if not size or position + size > end:
            raise PacketError(f"an option of {size} octets in {end - position}")
        options.append(_option(data, position, size))
        position += size
    return tuple(options)


def _option(data: bytes, position: int, size: int) -> Option:
    kind = data[position]
    if size == 8:
        if kind == SOURCE_LINK_LAYER_ADDRESS:
            return SourceLinkLayerAddress(data[position + 2:position + 8].hex(":"))
        if kind == TARGET_LINK_LAYER_ADDRESS:
            return TargetLinkLayerAddress(data[position + 2:position + 8].hex(":"))
        if kind == MTU:
            return Mtu(_MTU.unpack_from(data, position)[2])
    elif kind == PREFIX_INFORMATION and size == _PREFIX.size:
        _, _, length, flags, valid, preferred, prefix = _PREFIX.unpack_from(data, position)
        return PrefixInformation(IPv6Address(prefix), length, flags, valid, preferred)
    return OtherOption(kind, bytes(data[position + 2:position + size]))


def build(options: tuple[Option, ...]) -> bytes:
    """Return the options as they stand in a message. Raises: PacketError, struct.error, ValueError."""
    return b"".join([_built(option) for option in options])


def _built(option: Option) -> bytes:
    if isinstance(option, SourceLinkLayerAddress):
        return b"\x01\x01" + mac_octets(option.mac)
    if isinstance(option, TargetLinkLayerAddress):
        return b"\x02\x01" + mac_octets(option.mac)
    if isinstance(option, PrefixInformation):
        return _PREFIX.pack(PREFIX_INFORMATION, _PREFIX.size // 8, option.length, option.flags,
                            option.valid_lifetime, option.preferred_lifetime, option.prefix.packed)
    if isinstance(option, Mtu):
        return _MTU.pack(MTU, 1, option.mtu)
    units, rest = divmod(2 + len(option.data), 8)
    if rest or not 1 <= units <= 255:
        raise PacketError(f"an option of {2 + len(option.data)} octets")
    return bytes((option.kind, units)) + option.data
