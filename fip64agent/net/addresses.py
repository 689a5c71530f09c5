# SPDX-License-Identifier: Apache-2.0
"""Addresses that follow from others, and the well-known ones (RFC 4291, RFC 2464)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network

UNSPECIFIED = IPv6Address("::")
LINK_LOCAL = IPv6Network("fe80::/10")
LINK_SCOPE = IPv6Network("ff02::/16")
"""Multicast that stays on the link (RFC 4291, section 2.7)."""
ALL_NODES, ALL_ROUTERS = IPv6Address("ff02::1"), IPv6Address("ff02::2")
ALL_MLDV2_ROUTERS = IPv6Address("ff02::16")
"""Destination of MLDv2 reports (RFC 3810, section 5.2.14)."""
ALL_SNOOPERS = IPv6Address("ff02::6a")
"""Destination of what multicast routers announce (RFC 4286, sections 3.2 and 5.2)."""

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


def addresses_of(packed: bytes) -> tuple[IPv6Address, ...] | None:
    """Return IPv6 addresses that stand one after the other; None when there is none, or a part of one."""
    if not packed or len(packed) % 16:
        return None
    return tuple([IPv6Address(packed[start:start + 16]) for start in range(0, len(packed), 16)])


def packed(addresses: Iterable[IPv6Address]) -> bytes:
    """Return addresses as they stand one after the other."""
    return b"".join([address.packed for address in addresses])
