# SPDX-License-Identifier: Apache-2.0
"""Whole packets, from Ethernet on: bytes in, frozen dataclasses out, and back.

What a VM sends may be an attack: all lengths are checked, all counts are limited, and whatever cannot be read
raises one exception, PacketError. Checksums are verified, and computed.
"""

from __future__ import annotations

import dataclasses
import struct

from fip64agent.net import icmpv6, ipv6
from fip64agent.net.addresses import mac_octets
from fip64agent.net.ipv6 import ICMPV6, UDP, IPv6, PacketError

ETHERTYPE_IPV6, ETHERTYPE_VLAN = 0x86DD, 0x8100

_UDP = struct.Struct("!HHHH")
_TAG = struct.Struct("!HH")


@dataclasses.dataclass(frozen=True, slots=True)
class Ethernet:
    """The Ethernet header."""

    destination: str
    source: str
    """MAC addresses as text: fa:16:3e:00:00:01."""
    ethertype: int = ETHERTYPE_IPV6
    """Type of what follows the header, or the tag if there is one."""
    tag: int | None = None
    """Priority, drop eligibility and VLAN ID of an 802.1Q tag, 16 bits; None: there is none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Udp:
    """A UDP datagram."""

    source_port: int
    destination_port: int
    data: bytes


Payload = icmpv6.Message | Udp | bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Packet:
    """A whole packet."""

    ethernet: Ethernet
    ipv6: IPv6 | None
    """None: it is not an IPv6 packet."""
    payload: Payload
    """An ICMPv6 message, a UDP datagram; bytes when it is another protocol, or a fragment."""


def parse(data: bytes) -> Packet:
    """Return the packet that `data` is, from Ethernet on.

    Raises: PacketError; FragmentedDiscovery, which is one, for Neighbor Discovery with a Fragment header.
    """
    if len(data) < 14:
        raise PacketError(f"an Ethernet frame of {len(data)} octets")
    ethertype, start, tag = data[12] << 8 | data[13], 14, None
    if ethertype == ETHERTYPE_VLAN:
        if len(data) < 18:
            raise PacketError(f"an Ethernet frame with a tag, of {len(data)} octets")
        tag, ethertype = _TAG.unpack_from(data, 14)
        start = 18
    ethernet = Ethernet(data[:6].hex(":"), data[6:12].hex(":"), ethertype, tag)
    if ethertype != ETHERTYPE_IPV6:
        return Packet(ethernet, None, bytes(data[start:]))
    header, carried = ipv6.parse(data, start)
    if header.extensions and _fragmented_discovery(header, carried):
        raise ipv6.FragmentedDiscovery(f"Neighbor Discovery, type {carried[0]}, in a fragment")
    if header.next_header == ICMPV6 and header.whole:
        if len(carried) >= 4 and ipv6.checksum(header, ICMPV6, carried):
            raise PacketError("ICMPv6 with a wrong checksum")
        return Packet(ethernet, header, icmpv6.parse(carried))
    if header.next_header == UDP and header.whole:
        return Packet(ethernet, header, _parse_udp(header, carried))
    return Packet(ethernet, header, bytes(carried))


def _fragmented_discovery(header: IPv6, carried: bytes) -> bool:
    """Whether this is Neighbor Discovery with a Fragment header. A later fragment does not show its type."""
    return (header.next_header == ICMPV6 and header.has_fragment_header and not header.later_fragment
            and bool(carried) and carried[0] in icmpv6.NEIGHBOR_DISCOVERY)


def _parse_udp(header: IPv6, data: bytes) -> Udp:
    if len(data) < _UDP.size:
        raise PacketError(f"a UDP datagram of {len(data)} octets")
    source, destination, length, checksum = _UDP.unpack_from(data)
    if not _UDP.size <= length <= len(data):
        raise PacketError(f"a UDP datagram states {length} octets and has {len(data)}")
    datagram = data[:length]
    if not checksum or ipv6.checksum(header, UDP, datagram):  # 0 is no checksum with IPv6
        raise PacketError("UDP with a wrong checksum")
    return Udp(source, destination, bytes(datagram[_UDP.size:]))


def build(packet: Packet) -> bytes:
    """Return the packet's bytes, from Ethernet on, with lengths and checksums as they must be.

    Raises: PacketError when a value does not fit.
    """
    ethernet, header, payload = packet.ethernet, packet.ipv6, packet.payload
    if header is None:
        if not isinstance(payload, bytes):
            raise PacketError("a message without an IPv6 header")
        carried = payload
    else:
        carried = ipv6.build(header, _with_checksum(header, payload))
    try:
        head = mac_octets(ethernet.destination) + mac_octets(ethernet.source)
        if ethernet.tag is not None:
            head += _TAG.pack(ETHERTYPE_VLAN, ethernet.tag)
        return head + ethernet.ethertype.to_bytes(2) + carried
    except (struct.error, OverflowError, ValueError) as error:
        raise PacketError(f"a value does not fit into an Ethernet header: {error}") from error


def _with_checksum(header: IPv6, payload: Payload) -> bytes:
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, Udp):
        try:
            data = _UDP.pack(payload.source_port, payload.destination_port, _UDP.size + len(payload.data),
                             0) + payload.data
        except struct.error as error:
            raise PacketError(f"a value does not fit into a UDP header: {error}") from error
        checksum = ipv6.checksum(header, UDP, data) or 0xFFFF
        return data[:6] + checksum.to_bytes(2) + data[8:]
    data = icmpv6.build(payload)
    return data[:2] + ipv6.checksum(header, ICMPV6, data).to_bytes(2) + data[4:]
