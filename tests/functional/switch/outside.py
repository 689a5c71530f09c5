# SPDX-License-Identifier: Apache-2.0
"""A flow feature and a service as another package would bring them: Neighbor Solicitations are answered by
packet-in. Tests copy this file to a directory of its own, and install it there.
"""

from __future__ import annotations

import time

from fip64agent.net.icmpv6 import OVERRIDE, SOLICITED, NeighborAdvertisement, NeighborSolicitation
from fip64agent.net.ipv6 import ICMPV6 as PROTOCOL
from fip64agent.net.ipv6 import IPv6
from fip64agent.net.options import TargetLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet, build
from fip64agent.services.base import Outgoing, Service
from fip64agent.switch.features import FlowFeature
from fip64agent.switch.flows.flow import IPV6, Flow, to_controller
from fip64agent.switch.pipeline import CLASSIFIER, NEIGHBOR

NAME, NUMBER = "outside", 200
FAULTY, SLOW = 0xEEEE, 0xAAAA
"""Last 16 bits of targets for which the handler fails, and takes long."""


def flows(gateway):
    """All IPv6 of a VM port goes to the service."""
    yield Flow(CLASSIFIER, NEIGHBOR, (("in_port", gateway.vm_ofport), IPV6),
               (to_controller(NUMBER, gateway.vm_ofport),), NAME, gateway.key)


def answer(packet, gateway):
    """Answer a solicitation for any target as if the gateway had it."""
    asked = packet.payload
    if not isinstance(asked, NeighborSolicitation):
        return
    number = int(asked.target) & 0xFFFF
    if number == FAULTY:
        raise RuntimeError("a fault of the service")
    if number == SLOW:
        until = time.monotonic() + 0.03
        while time.monotonic() < until:
            pass
    options = (TargetLinkLayerAddress(gateway.mac),)
    message = NeighborAdvertisement(asked.target, SOLICITED | OVERRIDE, options)
    yield Outgoing(build(Packet(Ethernet(packet.ethernet.source, gateway.mac),
                                IPv6(asked.target, packet.ipv6.source, PROTOCOL, 255), message)))


FLOWS = FlowFeature(NAME, NUMBER, "Answers Neighbor Solicitations of VMs, in a test.", {"port": flows})
SERVICE = Service(NAME, "port", lambda gateway: (gateway.vm_ofport,), answer)
