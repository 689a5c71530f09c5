# SPDX-License-Identifier: Apache-2.0
"""The IPv6 header, its extension headers (RFC 8200) and the checksum of what it carries."""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv6Address

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
"""Numbers of the extension headers that are read; all other numbers belong to the payload."""
ICMPV6, UDP = 58, 17
MOST_EXTENSIONS = 8
"""A packet with more extension headers is refused: RFC 8200, section 4.1, lists six."""

HEADER = struct.Struct("!IHBB16s16s")
EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION))
MINIMUM_MTU = 1280
"""Bytes: every link takes packets of this length (RFC 8200, section 5)."""
_OFFSET, _MORE = 0xFFF8, 1
"""Bits of a Fragment header: where the fragment is in the packet, and whether fragments follow it."""


class PacketError(ValueError):
    """Bytes that are not the packet that they claim to be, or one that has more parts than we read."""


class FragmentedDiscovery(PacketError):
    """Neighbor Discovery in a packet with a Fragment header: a receiver ignores it (RFC 6980, section 5)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Extension:
    """An extension header: Hop-by-Hop Options, Routing, Fragment or Destination Options."""

    kind: int
    """Its number, as the header before it names it."""
    data: bytes
    """All of it after its first two octets, which are Next Header and its length; 6 octets, or 8 more,
    or 16 more ..."""


@dataclasses.dataclass(frozen=True, slots=True)
class IPv6:
    """The header and the extension headers; the lengths follow from what is there."""

    source: IPv6Address
    destination: IPv6Address
    next_header: int
    """Number of what the packet carries after all extension headers."""
    hop_limit: int = 64
    traffic_class: int = 0
    flow_label: int = 0
    extensions: tuple[Extension, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether this is a whole packet, and not a fragment of one."""
        return all(not _fragment(extension) & (_OFFSET | _MORE) for extension in self.extensions)

    @property
    def later_fragment(self) -> bool:
        """Whether this is a fragment of a packet whose other headers are in an earlier one."""
        return any(_fragment(extension) & _OFFSET for extension in self.extensions)

    @property
    def has_fragment_header(self) -> bool:
        """Whether there is a Fragment header, also that of a whole packet ("atomic fragment", RFC 6946)."""
        return any(extension.kind == FRAGMENT for extension in self.extensions)


def _fragment(extension: Extension) -> int:
    """Return offset and flags of a Fragment header, 0 for another extension header."""
    return int.from_bytes(extension.data[:2]) if extension.kind == FRAGMENT else 0


def parse(data: bytes, start: int = 0) -> tuple[IPv6, bytes]:
    """Return the headers at `start` of `data`, and what follows them. What comes after the packet's end,
    as stated by its length, is padding of the link and left out.

    Raises: PacketError.
    """
    if len(data) < start + HEADER.size:
        raise PacketError(f"an IPv6 header of {len(data) - start} octets")
    word, length, number, hop_limit, source, destination = HEADER.unpack_from(data, start)
    if word >> 28 != 6:
        raise PacketError(f"IP version {word >> 28} where IPv6 should be")
    position = start + HEADER.size
    end = position + length
    if end > len(data):
        raise PacketError(f"an IPv6 packet states {length} octets and has {len(data) - position}")
    extensions: tuple[Extension, ...] = ()
    while number in EXTENSIONS:
        if len(extensions) == MOST_EXTENSIONS:
            raise PacketError(f"more than {MOST_EXTENSIONS} extension headers")
        if position + 8 > end:
            raise PacketError(f"an extension header in {end - position} octets")
        size = 8 if number == FRAGMENT else 8 * (1 + data[position + 1])
        if position + size > end:
            raise PacketError(f"an extension header of {size} octets in {end - position}")
        extensions += (Extension(number, bytes(data[position + 2:position + size])),)
        number = data[position]
        position += size
        if _fragment(extensions[-1]) & _OFFSET:
            break  # The other headers are in an earlier fragment: none follows, whatever `number` is.
    header = IPv6(IPv6Address(source), IPv6Address(destination), number, hop_limit, word >> 20 & 0xFF,
                  word & 0xFFFFF, extensions)
    return header, data[position:end]


def build(header: IPv6, payload: bytes) -> bytes:
    """Return the packet that carries `payload`. Raises: PacketError when a value does not fit."""
    numbers = (*(extension.kind for extension in header.extensions), header.next_header)
    if not all(0 <= number <= 255 for number in numbers):
        raise PacketError(f"numbers of headers: {numbers}")
    between, number = b"", header.next_header
    for extension in reversed(header.extensions):
        size = 2 + len(extension.data)
        if size % 8 or not 8 <= size <= 2048 or (extension.kind == FRAGMENT and size != 8):
            raise PacketError(f"an extension header of {size} octets")
        length = 0 if extension.kind == FRAGMENT else size // 8 - 1
        between, number = bytes((number, length)) + extension.data + between, extension.kind
    if header.traffic_class >> 8 or header.flow_label >> 20:
        raise PacketError(f"traffic class {header.traffic_class} or flow label {header.flow_label}")
    try:
        return HEADER.pack(6 << 28 | header.traffic_class << 20 | header.flow_label,
                           len(between) + len(payload), number, header.hop_limit,
                           header.source.packed, header.destination.packed) + between + payload
    except struct.error as error:
        raise PacketError(f"a value does not fit into an IPv6 header: {error}") from error


def checksum(header: IPv6, protocol: int, message: bytes) -> int:
    """Return the checksum of an upper-layer `message` whose checksum field is 0 (RFC 8200, section 8.1).

    Of a message with its checksum in place the result is 0 when that is right.
    """
    # The ones' complement sum of 16-bit words is the number that they make up, modulo 0xFFFF.
    total = int(header.source) + int(header.destination) + len(message) + protocol
    total += int.from_bytes(message + b"\0" if len(message) & 1 else message)
    return -total % 0xFFFF
