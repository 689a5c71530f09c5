# SPDX-License-Identifier: Apache-2.0
"""Packets that announce on a link where an address is now, as bytes."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from fip64agent.net.addresses import (
    ALL_MLDV2_ROUTERS,
    ALL_NODES,
    link_local,
    multicast_mac,
    solicited_node,
)
from fip64agent.net.icmpv6 import MLDV2_REPORT, OVERRIDE, ROUTER, NeighborAdvertisement, OtherMessage
from fip64agent.net.ipv6 import HOP_BY_HOP, ICMPV6, Extension, IPv6
from fip64agent.net.options import TargetLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet, build

_CHANGE_TO_EXCLUDE_MODE = 4
_ROUTER_ALERT = Extension(HOP_BY_HOP, bytes([5, 2, 0, 0, 1, 0]))
"""Hop-by-Hop Options: Router Alert for MLD (RFC 2711), and two octets of padding."""


def unsolicited_advertisement(mac: str, address: IPv6Address) -> bytes:
    """Return the Neighbor Advertisement that tells all nodes: `address` is at `mac` now.

    The flag Override is set, so that a node which knows another MAC forgets it (RFC 4861, section 7.2.6). The
    flag Router is set as in answers to solicitations: the node that has these addresses forwards packets.
    """
    message = NeighborAdvertisement(address, ROUTER | OVERRIDE, (TargetLinkLayerAddress(mac),))
    return build(Packet(Ethernet(multicast_mac(ALL_NODES), mac), IPv6(address, ALL_NODES, ICMPV6, 255),
                        message))


def membership_report(mac: str, address: IPv6Address) -> bytes:
    """Return the MLDv2 report that joins the solicited-node group of `address`, from the link-local address.

    Switches that snoop MLD bring the group's packets from then on (RFC 3810, section 5.2; RFC 4861, 7.2.1).
    """
    record = struct.pack("!BBH", _CHANGE_TO_EXCLUDE_MODE, 0, 0) + solicited_node(address).packed
    message = OtherMessage(MLDV2_REPORT, 0, struct.pack("!HH", 0, 1) + record)
    return build(Packet(Ethernet(multicast_mac(ALL_MLDV2_ROUTERS), mac),
                        IPv6(link_local(mac), ALL_MLDV2_ROUTERS, ICMPV6, 1, extensions=(_ROUTER_ALERT,)),
                        message))
