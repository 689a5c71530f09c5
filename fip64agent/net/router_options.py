# SPDX-License-Identifier: Apache-2.0
"""Options that only Router Advertisements have: routes, DNS servers, DNS search domains, NAT64 prefixes.

Each class has `read`, which takes what follows the option's type and length and returns the option, or None
when it is not formed as it must be; and `content`, the reverse.
"""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv6Address
from typing import ClassVar, Self

from fip64agent.net import names
from fip64agent.net.addresses import addresses_of, packed
from fip64agent.net.ipv6 import PacketError

MOST_ADDRESSES = 127
"""Addresses that one option can have at most: its length is 8 bits, in units of 8 octets."""
MOST_NAME_OCTETS = 255 * 8 - 8
"""Octets that the names of one DNS search list can have at most."""
LONGEST_PREF64_LIFETIME = 8191 * 8
"""Seconds: the longest lifetime of a NAT64 prefix (RFC 8781, section 4.1)."""

_ROUTE = struct.Struct("!BBI")
_LIFETIME = struct.Struct("!xxI")
_PREF64 = struct.Struct("!H12s")
_PREF64_LENGTHS = (96, 64, 56, 48, 40, 32)
"""Prefix lengths by the prefix length code (RFC 8781, section 4)."""


def _prefix(octets: bytes, length: int) -> IPv6Address:
    """Return the address that begins with `octets`, with only its first `length` bits."""
    number = int.from_bytes(octets.ljust(16, b"\0"))
    return IPv6Address(number >> 128 - length << 128 - length)


def listed(addresses: tuple[IPv6Address, ...]) -> bytes:
    """Return the addresses as an option has them. Raises: PacketError when there are none or too many."""
    if not 1 <= len(addresses) <= MOST_ADDRESSES:
        raise PacketError(f"an option of {len(addresses)} addresses")
    return packed(addresses)


@dataclasses.dataclass(frozen=True, slots=True)
class RouteInformation:
    """A route that leads to the router (RFC 4191, section 2.3)."""

    kind: ClassVar[int] = 24
    prefix: IPv6Address
    """Its bits after `length` are not sent."""
    length: int
    flags: int
    """8 bits: the route's preference, as in a Router Advertisement, and reserved ones."""
    lifetime: int
    """Seconds; 0xffffffff: for ever."""

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        length, flags, lifetime = _ROUTE.unpack_from(content)
        octets = content[_ROUTE.size:]
        if length > 128 or len(octets) > 16 or length > 8 * len(octets):
            return None
        return cls(_prefix(octets, length), length, flags, lifetime)

    def content(self) -> bytes:
        if not 0 <= self.length <= 128:
            raise PacketError(f"a prefix of {self.length} bits")
        octets = _prefix(self.prefix.packed, self.length).packed[:(self.length + 63) // 64 * 8]
        return _ROUTE.pack(self.length, self.flags, self.lifetime) + octets


@dataclasses.dataclass(frozen=True, slots=True)
class Rdnss:
    """Recursive DNS servers (RFC 8106, section 5.1)."""

    kind: ClassVar[int] = 25
    lifetime: int
    """Seconds in which they may be used; 0xffffffff: for ever; 0: no more."""
    addresses: tuple[IPv6Address, ...]
    """1 to MOST_ADDRESSES."""

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        addresses = addresses_of(content[_LIFETIME.size:])
        return None if addresses is None else cls(_LIFETIME.unpack_from(content)[0], addresses)

    def content(self) -> bytes:
        return _LIFETIME.pack(self.lifetime) + listed(self.addresses)


@dataclasses.dataclass(frozen=True, slots=True)
class Dnssl:
    """A DNS search list (RFC 8106, section 5.2)."""

    kind: ClassVar[int] = 31
    lifetime: int
    """Seconds, as that of Rdnss."""
    names: tuple[str, ...]
    """1 to names.MOST, as names.encode() takes them; those that are read have no dot at their ends."""

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        try:
            found = names.decode(content[_LIFETIME.size:])
        except PacketError:
            return None
        return cls(_LIFETIME.unpack_from(content)[0], found)

    def content(self) -> bytes:
        if not 1 <= len(self.names) <= names.MOST:
            raise PacketError(f"a search list of {len(self.names)} names")
        encoded = b"".join([names.encode(name) for name in self.names])
        return _LIFETIME.pack(self.lifetime) + encoded + bytes(-len(encoded) % 8)


@dataclasses.dataclass(frozen=True, slots=True)
class Pref64:
    """A prefix by which IPv6 hosts reach IPv4 hosts, through NAT64 (RFC 8781)."""

    kind: ClassVar[int] = 38
    prefix: IPv6Address
    """Its bits after `length` are not sent."""
    length: int
    """96, 64, 56, 48, 40 or 32."""
    lifetime: int
    """Seconds, at most LONGEST_PREF64_LIFETIME. It is sent in units of 8 seconds, rounded up."""

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        if len(content) != _PREF64.size:
            return None
        scaled, octets = _PREF64.unpack(content)
        if (code := scaled & 7) >= len(_PREF64_LENGTHS):
            return None
        length = _PREF64_LENGTHS[code]
        return cls(_prefix(octets, length), length, scaled & ~7)

    def content(self) -> bytes:
        if self.length not in _PREF64_LENGTHS:
            raise PacketError(f"a NAT64 prefix of {self.length} bits")
        if not 0 <= self.lifetime <= LONGEST_PREF64_LIFETIME:
            raise PacketError(f"a NAT64 prefix with a lifetime of {self.lifetime} s")
        scaled = self.lifetime + 7 & ~7
        return _PREF64.pack(scaled | _PREF64_LENGTHS.index(self.length),
                            _prefix(self.prefix.packed, self.length).packed[:12])
