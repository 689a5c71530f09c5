# SPDX-License-Identifier: Apache-2.0
"""Packets that announce on a link where an address is now, as bytes."""

from __future__ import annotations

from ipaddress import IPv6Address

from fip64agent.net import router_alert
from fip64agent.net.addresses import (
    ALL_MLDV2_ROUTERS,
    ALL_NODES,
    link_local,
    multicast_mac,
    solicited_node,
)
from fip64agent.net.icmpv6 import OVERRIDE, ROUTER, NeighborAdvertisement
from fip64agent.net.ipv6 import ICMPV6, IPv6
from fip64agent.net.mld import CHANGE_TO_EXCLUDE_MODE, Record, ReportV2
from fip64agent.net.options import TargetLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet, build


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
    message = ReportV2((Record(CHANGE_TO_EXCLUDE_MODE, solicited_node(address)),))
    return build(Packet(Ethernet(multicast_mac(ALL_MLDV2_ROUTERS), mac),
                        IPv6(link_local(mac), ALL_MLDV2_ROUTERS, ICMPV6, 1,
                             extensions=(router_alert.extension(),)), message))
