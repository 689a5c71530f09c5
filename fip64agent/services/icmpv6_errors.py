# SPDX-License-Identifier: Apache-2.0
"""Tells senders what a router cannot forward (RFC 4443). How often, the meter of the port limits (2.4 f)."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator

from fip64agent.net import packet as net
from fip64agent.net.errors import (
    ADDRESS_UNREACHABLE,
    HOP_LIMIT_EXCEEDED,
    NO_ROUTE,
    PORT_UNREACHABLE,
    error_for,
)
from fip64agent.net.icmpv6 import PACKET_TOO_BIG, TIME_EXCEEDED, UNREACHABLE
from fip64agent.net.packet import Packet
from fip64agent.plan.ports.objects import RouterInterface6, ServedPort
from fip64agent.services.base import Arrival, Outgoing, Service

VALUE_SHIFT = 8
"""Above so many bits of the register that has the reason there is the MTU, if that is the reason."""


class Reason(enum.IntEnum):
    """Why an error answers a packet, as the flows say it (switch/flows/icmpv6_errors.py)."""

    NO_ROUTE = 1
    NOBODY = 2
    """Nobody has the address."""
    NO_PORT = 3
    """It is for the router itself, of which no port is open."""
    EXPIRED = 4
    """Its hop limit is used up."""
    TOO_BIG = 5


_ERRORS = {Reason.NO_ROUTE: (UNREACHABLE, NO_ROUTE), Reason.NOBODY: (UNREACHABLE, ADDRESS_UNREACHABLE),
           Reason.NO_PORT: (UNREACHABLE, PORT_UNREACHABLE),
           Reason.EXPIRED: (TIME_EXCEEDED, HOP_LIMIT_EXCEEDED), Reason.TOO_BIG: (PACKET_TOO_BIG, 0)}
"""Type and code."""


def tell(packet: Packet, port: ServedPort, arrival: Arrival) -> Iterator[Outgoing]:
    """Answer a packet of a VM with the error that the flow has given the reason for."""
    kind, code = _ERRORS[Reason(arrival.reason & (1 << VALUE_SHIFT) - 1)]
    gateway = _gateway(packet, port)
    if gateway is None or packet.ipv6 is None:
        return
    # A packet that was routed before it turned out to be too large has the router's MACs by now.
    mac = packet.ethernet.source if packet.ethernet.source in port.macs else port.mac
    sent = dataclasses.replace(packet, ethernet=dataclasses.replace(packet.ethernet, source=mac,
                                                                    destination=gateway.mac))
    own = gateway.addresses[0].ip if gateway.addresses else gateway.link_local
    error = error_for(sent, kind, code, arrival.reason >> VALUE_SHIFT, own, gateway.mac)
    if error is not None:
        yield Outgoing(net.build(error))


def _gateway(packet: Packet, port: ServedPort) -> RouterInterface6 | None:
    """Return the router that the VM has sent the packet to; the first, if that cannot be seen any more."""
    found = [gateway for gateway in port.gateways if gateway.mac == packet.ethernet.destination]
    return next(iter(found or port.gateways), None)


SERVICE = Service("icmpv6-errors", ServedPort.kind, lambda port: (port.ofport,), tell, takes_arrival=True)
