# SPDX-License-Identifier: Apache-2.0
"""ICMPv6 packets of Neighbor Discovery (RFC 4861) and MLDv2 (RFC 3810), from Ethernet on, as bytes."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from fip64agent.net.addresses import (
    ALL_MLDV2_ROUTERS,
    ALL_NODES,
    link_local,
    mac_octets,
    multicast_mac,
    solicited_node,
)

PROTOCOL = 58
MLD_QUERY, SOLICITATION, ADVERTISEMENT, MLDV2_REPORT = 130, 135, 136, 143

ROUTER, OVERRIDE = 0x80000000, 0x20000000
"""Flags of a Neighbor Advertisement (RFC 4861, section 4.4)."""
_TARGET_LINK_LAYER_ADDRESS = 2
_CHANGE_TO_EXCLUDE_MODE = 4
_HOP_BY_HOP = 0
_ROUTER_ALERT = bytes([PROTOCOL, 0, 5, 2, 0, 0, 1, 0])
"""A Hop-by-Hop Options header: Router Alert for MLD (RFC 2711), and two octets of padding."""
_ETHERTYPE = b"\x86\xdd"


def checksum(source: IPv6Address, destination: IPv6Address, message: bytes) -> int:
    """Return the ICMPv6 checksum of `message`, whose checksum field is 0 (RFC 4443, section 2.3)."""
    data = source.packed + destination.packed + struct.pack("!II", len(message), PROTOCOL) + message
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _frame(mac: str, source: IPv6Address, group: IPv6Address, hop_limit: int, message: bytes,
           options: bytes = b"") -> bytes:
    """Return the frame from `mac` that carries an ICMPv6 message to a multicast group."""
    summed = message[:2] + struct.pack("!H", checksum(source, group, message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(options) + len(summed), _HOP_BY_HOP if options else PROTOCOL,
                         hop_limit)
    return (mac_octets(multicast_mac(group)) + mac_octets(mac) + _ETHERTYPE + header + source.packed
            + group.packed + options + summed)


def unsolicited_advertisement(mac: str, address: IPv6Address) -> bytes:
    """Return the Neighbor Advertisement that tells all nodes: `address` is at `mac` now.

    Override is set: who knows another MAC forgets it (RFC 4861, section 7.2.6). So is Router, as the
    solicited ones have it: whoever answers here forwards packets.
    """
    option = bytes([_TARGET_LINK_LAYER_ADDRESS, 1]) + mac_octets(mac)
    message = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, ROUTER | OVERRIDE) + address.packed + option
    return _frame(mac, address, ALL_NODES, 255, message)


def membership_report(mac: str, address: IPv6Address) -> bytes:
    """Return the MLDv2 report that joins the solicited-node group of `address`, from the link-local address.

    Switches that snoop MLD bring the group's packets from then on (RFC 3810, section 5.2; RFC 4861, 7.2.1).
    """
    record = struct.pack("!BBH", _CHANGE_TO_EXCLUDE_MODE, 0, 0) + solicited_node(address).packed
    message = struct.pack("!BBHHH", MLDV2_REPORT, 0, 0, 0, 1) + record
    return _frame(mac, link_local(mac), ALL_MLDV2_ROUTERS, 1, message, _ROUTER_ALERT)
