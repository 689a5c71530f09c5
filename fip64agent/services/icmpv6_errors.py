# SPDX-License-Identifier: Apache-2.0
"""Tells senders what a router cannot forward (RFC 4443). How often, the meter of the port limits (2.4 f)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from fip64agent.net import packet as net
from fip64agent.net.errors import error_for
from fip64agent.net.packet import Packet
from fip64agent.plan.ports.objects import RouterInterface6, ServedPort
from fip64agent.services.base import Arrival, Outgoing, Service


def tell(packet: Packet, port: ServedPort, arrival: Arrival) -> Iterator[Outgoing]:
    """Answer a packet of a VM with the error that the flow says: type (8 bits), code (8 bits), MTU (16)."""
    kind, code, mtu = arrival.reason >> 24, arrival.reason >> 16 & 0xFF, arrival.reason & 0xFFFF
    gateway = _gateway(packet, port)
    if gateway is None or packet.ipv6 is None:
        return
    # A packet that was routed before it turned out to be too large has the router's MACs by now.
    mac = packet.ethernet.source if packet.ethernet.source in port.macs else port.mac
    sent = dataclasses.replace(packet, ethernet=dataclasses.replace(packet.ethernet, source=mac,
                                                                    destination=gateway.mac))
    own = gateway.addresses[0].ip if gateway.addresses else gateway.link_local
    error = error_for(sent, kind, code, mtu, own, gateway.mac)
    if error is not None:
        yield Outgoing(net.build(error))


def _gateway(packet: Packet, port: ServedPort) -> RouterInterface6 | None:
    """Return the router that the VM has sent the packet to; the first, if that cannot be seen any more."""
    found = [gateway for gateway in port.gateways if gateway.mac == packet.ethernet.destination]
    return next(iter(found or port.gateways), None)


SERVICE = Service("icmpv6-errors", ServedPort.kind, lambda port: (port.ofport,), tell, takes_arrival=True)
