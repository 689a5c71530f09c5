# SPDX-License-Identifier: Apache-2.0
"""Addresses that follow from others, and the well-known ones (RFC 4291, RFC 2464)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

UNSPECIFIED = IPv6Address("::")
LINK_LOCAL = IPv6Network("fe80::/10")
ALL_NODES = IPv6Address("ff02::1")
ALL_MLDV2_ROUTERS = IPv6Address("ff02::16")
"""Destination of MLDv2 reports (RFC 3810, section 5.2.14)."""

_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))


def mac_octets(mac: str) -> bytes:
    """Return the six octets of a MAC address written with colons. Raises: ValueError."""
    octets = bytes.fromhex(mac.replace(":", ""))
    if len(octets) != 6:
        raise ValueError(f"{mac!r} is no MAC address")
    return octets


def link_local(mac: str) -> IPv6Address:
    """Return the link-local address of a MAC address (modified EUI-64, RFC 4291, appendix A).

    Raises: ValueError when `mac` is no MAC address.
    """
    octets = mac_octets(mac)
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def solicited_node(address: IPv6Address) -> IPv6Address:
    """Return the solicited-node multicast address (RFC 4291, section 2.7.1)."""
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFFFFFF)


def multicast_mac(group: IPv6Address) -> str:
    """Return the MAC address of an IPv6 multicast group (RFC 2464, section 7)."""
    return "33:33:" + ":".join(f"{octet:02x}" for octet in group.packed[12:])
