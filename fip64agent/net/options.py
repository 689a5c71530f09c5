# SPDX-License-Identifier: Apache-2.0
"""Options of Neighbor Discovery (RFC 4861, section 4.6).

An option of a known type that is not formed as it must be is an OtherOption: receivers ignore it.
"""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv6Address
from typing import ClassVar, Self

from fip64agent.net.addresses import addresses_of, mac_octets
from fip64agent.net.ipv6 import PacketError
from fip64agent.net.router_options import Dnssl, Pref64, Rdnss, RouteInformation, listed

SOURCE_LINK_LAYER_ADDRESS, TARGET_LINK_LAYER_ADDRESS, PREFIX_INFORMATION, MTU = 1, 2, 3, 5
MOST = 32
"""A message with more options is refused."""
LONGEST = 9216
"""A message with more octets of options is refused. No link is known to take longer packets, and messages of
Neighbor Discovery are not fragmented."""
ON_LINK, AUTONOMOUS = 0x80, 0x40
"""Flags of PrefixInformation: its addresses are on the link; hosts make addresses of it (SLAAC)."""

_PREFIX = struct.Struct("!BBBBII4x16s")
_MTU = struct.Struct("!BBxxI")


@dataclasses.dataclass(frozen=True, slots=True)
class SourceLinkLayerAddress:
    """MAC address of the sender."""

    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class TargetLinkLayerAddress:
    """MAC address of the target."""

    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrefixInformation:
    """A prefix of the link (RFC 4861, section 4.6.2)."""

    prefix: IPv6Address
    length: int
    flags: int
    """ON_LINK | AUTONOMOUS, and bits that are reserved; 8 bits."""
    valid_lifetime: int
    """Seconds; 0xffffffff: for ever."""
    preferred_lifetime: int
    """Seconds, as valid_lifetime."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mtu:
    """MTU of the link, in bytes."""

    mtu: int


@dataclasses.dataclass(frozen=True, slots=True)
class Nonce:
    """By this a node knows the answer to its own solicitation, or its own message that came back (RFC 3971,
    section 5.3.2; RFC 7527)."""

    kind: ClassVar[int] = 14
    data: bytes
    """6 octets, or 8 more, or 16 more ..."""

    @classmethod
    def read(cls, content: bytes) -> Self:
        return cls(content)

    def content(self) -> bytes:
        return self.data


class _AddressList:
    """What SourceAddressList and TargetAddressList have in common."""

    __slots__ = ()
    addresses: tuple[IPv6Address, ...]

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        addresses = addresses_of(content[6:])
        return None if addresses is None else cls(addresses)

    def content(self) -> bytes:
        return bytes(6) + listed(self.addresses)


@dataclasses.dataclass(frozen=True, slots=True)
class SourceAddressList(_AddressList):
    """Addresses that the sender's interface has (RFC 3122, section 3.1)."""

    kind: ClassVar[int] = 9
    addresses: tuple[IPv6Address, ...]
    """1 to router_options.MOST_ADDRESSES."""


@dataclasses.dataclass(frozen=True, slots=True)
class TargetAddressList(_AddressList):
    """Addresses that the interface with the target's MAC has (RFC 3122, section 3.1)."""

    kind: ClassVar[int] = 10
    addresses: tuple[IPv6Address, ...]
    """1 to router_options.MOST_ADDRESSES."""


@dataclasses.dataclass(frozen=True, slots=True)
class OtherOption:
    """An option whose content is not read: of another type, or not formed as its type demands."""

    kind: int
    data: bytes
    """All after type and length: 6 octets, or 8 more, or 16 more ..."""


Option = (SourceLinkLayerAddress | TargetLinkLayerAddress | PrefixInformation | Mtu | Nonce
          | SourceAddressList | TargetAddressList | RouteInformation | Rdnss | Dnssl | Pref64 | OtherOption)

_WITH_CONTENT = {each.kind: each for each in (Nonce, SourceAddressList, TargetAddressList, RouteInformation,
                                              Rdnss, Dnssl, Pref64)}
"""Classes that read and build what follows the type and the length of their options."""


def parse(data: bytes, position: int = 0) -> tuple[Option, ...]:
    """Return the options from `position` of `data` to its end.

    Raises: PacketError, also for an option of length 0 (RFC 4861, section 4.6).
    """
    options: list[Option] = []
    end = len(data)
    if end - position > LONGEST:
        raise PacketError(f"options of {end - position} octets")
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
    content = bytes(data[position + 2:position + size])
    if (known := _WITH_CONTENT.get(kind)) is not None and (option := known.read(content)) is not None:
        return option
    return OtherOption(kind, content)


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
    content = option.data if isinstance(option, OtherOption) else option.content()
    units, rest = divmod(2 + len(content), 8)
    if rest or not 1 <= units <= 255:
        raise PacketError(f"an option of {2 + len(content)} octets")
    return bytes((option.kind, units)) + content
