# SPDX-License-Identifier: Apache-2.0
"""A flow feature and a service as another package would bring them: it answers Neighbor Solicitations of VMs.

install() makes a copy of this file a package of its own, as pip would.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

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
ENTRY_POINTS = """
[fip64agent.flows]
outside = outside_package:FLOWS
[fip64agent.services]
outside = outside_package:SERVICE
"""
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


FLOWS = FlowFeature(NAME, NUMBER, "Answers Neighbor Solicitations of VMs, in a test.", {"gateway": flows})
SERVICE = Service(NAME, "gateway", lambda gateway: (gateway.vm_ofport,), answer)


def install(directory: Path) -> Path:
    """Install the package in `directory`, a part of the module search path; return its entry points."""
    shutil.copy(__file__, directory / "outside_package.py")
    about = directory / "outside_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return about / "entry_points.txt"
