# SPDX-License-Identifier: Apache-2.0
"""Errors of ICMPv6 that answer a packet, and when none may be sent (RFC 4443, section 2.4)."""

from __future__ import annotations

from ipaddress import IPv6Address

from fip64agent.net import ipv6
from fip64agent.net.icmpv6 import PACKET_TOO_BIG, PARAMETER_PROBLEM, REDIRECT, Error, OtherMessage
from fip64agent.net.ipv6 import ICMPV6, MINIMUM_MTU, IPv6
from fip64agent.net.packet import Ethernet, Packet, build

NO_ROUTE, ADDRESS_UNREACHABLE, PORT_UNREACHABLE = 0, 3, 4
"""Codes of UNREACHABLE (RFC 4443, section 3.1)."""
HOP_LIMIT_EXCEEDED = 0
"""Code of TIME_EXCEEDED (RFC 4443, section 3.3)."""
UNRECOGNIZED_OPTION = 2
"""Code of PARAMETER_PROBLEM (RFC 4443, section 3.4)."""

_HOP_LIMIT = 64
_QUOTED = MINIMUM_MTU - ipv6.HEADER.size - 8
"""Octets of the packet that an error can quote."""
_INFORMATIONAL = 128
"""The types of errors are those below this."""
_SEND_ERROR = 2
"""The highest two bits of the type of an option for which an error is sent even if it came by multicast."""


def error_for(packet: Packet, kind: int, code: int, value: int, source: IPv6Address,
              mac: str) -> Packet | None:
    """Return the error that answers `packet`, with as much of it as there may be; None: none may be sent.

    `kind`, `code`: icmpv6.UNREACHABLE ... and a code of it. `value`: of PACKET_TOO_BIG the MTU, of
    PARAMETER_PROBLEM the octet at fault, from the IPv6 header on; else 0. `source`, `mac`: addresses of the
    sender of the error. The error goes to the MAC, with the tag, by which `packet` came.

    No error is sent for what is no IPv6 packet; for an error, a Redirect, and a fragment that may be one; for
    what came by multicast or broadcast, but that a packet was too big, or had an option that demands it; for
    a source that is not one node (rules e.1 to e.6). That a source is an anycast address, the caller must
    know; and it limits how many errors there are (rule f).
    Raises: PacketError when a value does not fit.
    """
    ethernet, header = packet.ethernet, packet.ipv6
    if header is None or _may_be_error(packet, header) or _is_group(ethernet.source):
        return None
    if header.source.is_unspecified or header.source.is_multicast:
        return None
    quoted = build(packet)[14 if ethernet.tag is None else 18:]
    if header.destination.is_multicast or _is_group(ethernet.destination):
        demanded = (kind == PARAMETER_PROBLEM and code == UNRECOGNIZED_OPTION and 0 <= value < len(quoted)
                    and quoted[value] >> 6 == _SEND_ERROR)
        if kind != PACKET_TOO_BIG and not demanded:
            return None
    return Packet(Ethernet(ethernet.source, mac, tag=ethernet.tag),
                  IPv6(source, header.source, ICMPV6, _HOP_LIMIT), Error(kind, code, value, quoted[:_QUOTED]))


def _is_group(mac: str) -> bool:
    """Whether this is a multicast MAC address, or that of broadcast."""
    return bool(int(mac[:2], 16) & 1)


def _may_be_error(packet: Packet, header: IPv6) -> bool:
    """Whether the packet is an error or a Redirect, or a fragment that may be a part of one."""
    match packet.payload:
        case Error():
            return True
        case OtherMessage(kind=kind):
            return kind < _INFORMATIONAL or kind == REDIRECT
        case bytes(data) if header.later_fragment:
            # What it carries says no type; behind other extension headers not even that it is ICMPv6.
            return header.next_header == ICMPV6 or header.next_header in ipv6.EXTENSIONS
        case bytes(data) if header.next_header == ICMPV6:
            return not data or data[0] < _INFORMATIONAL or data[0] == REDIRECT
    return False
