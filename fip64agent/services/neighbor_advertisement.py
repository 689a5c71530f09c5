# SPDX-License-Identifier: Apache-2.0
"""Answers Neighbor Solicitations for routers' addresses (RFC 4861, sections 7.1.1 and 7.2.4)."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net import packet as net
from fip64agent.net.addresses import ALL_NODES, multicast_mac, solicited_node
from fip64agent.net.icmpv6 import OVERRIDE, ROUTER, SOLICITED, NeighborAdvertisement, NeighborSolicitation
from fip64agent.net.ipv6 import ICMPV6, IPv6
from fip64agent.net.options import SourceLinkLayerAddress, TargetLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet
from fip64agent.plan.ports.objects import ServedPort
from fip64agent.services.base import Outgoing, Service

HOP_LIMIT = 255


def advertise(packet: Packet, port: ServedPort) -> Iterator[Outgoing]:
    """Answer a solicitation for an address of a router on the port's network.

    A VM that checks whether it may have the router's address is told that it may not (RFC 4862, section
    5.4.3): by multicast, which no other port gets.
    """
    header, message = packet.ipv6, packet.payload
    if not isinstance(message, NeighborSolicitation) or header.hop_limit != HOP_LIMIT:
        return
    gateway = next((each for each in port.gateways if message.target in each.own), None)
    if gateway is None:
        return
    probing = header.source.is_unspecified
    has_option = any(isinstance(option, SourceLinkLayerAddress) for option in message.options)
    if probing and (has_option or header.destination != solicited_node(message.target)):
        return
    destination = ALL_NODES if probing else header.source
    flags = ROUTER | OVERRIDE | (0 if probing else SOLICITED)
    yield Outgoing(net.build(Packet(
        Ethernet(multicast_mac(ALL_NODES) if probing else packet.ethernet.source, gateway.mac,
                 tag=packet.ethernet.tag),
        IPv6(message.target, destination, ICMPV6, HOP_LIMIT),
        NeighborAdvertisement(message.target, flags, (TargetLinkLayerAddress(gateway.mac),)))))


SERVICE = Service("neighbor-advertisement", ServedPort.kind, lambda port: (port.ofport,), advertise)
