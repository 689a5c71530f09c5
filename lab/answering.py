# SPDX-License-Identifier: Apache-2.0
"""A feature with a service as another package would bring it: it answers Neighbor Solicitations of VMs.

install() makes a copy of this file a package of its own, as pip would.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import ClassVar

from fip64agent.net.icmpv6 import OVERRIDE, SOLICITED, NeighborAdvertisement, NeighborSolicitation
from fip64agent.net.ipv6 import ICMPV6 as PROTOCOL
from fip64agent.net.ipv6 import IPv6
from fip64agent.net.options import TargetLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet, build
from fip64agent.plan.base.bindings import BINDINGS, is_open, waiting_for
from fip64agent.plan.inputs import PORTS
from fip64agent.plan.kinds import Feature, Kind
from fip64agent.plan.nodes import Objects
from fip64agent.services.base import Outgoing, Service
from fip64agent.switch.features import FlowFeature
from fip64agent.switch.flows.flow import IPV6, Flow, to_controller
from fip64agent.switch.pipeline import CLASSIFIER, NEIGHBOR

NAME, NUMBER = "outside", 200
ENTRY_POINTS = """
[fip64agent.features]
outside = outside_package:FEATURE
[fip64agent.flows]
outside = outside_package:FLOWS
[fip64agent.services]
outside = outside_package:SERVICE
"""
FAULTY, SLOW = 0xEEEE, 0xAAAA
"""Last 16 bits of targets for which the handler fails, and takes long."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """A VM port whose solicitations are answered; a service needs a kind that has one object for a port."""

    kind: ClassVar[str] = NAME
    port_id: str
    ofport: int
    mac: str = "fa:16:3e:00:77:01"
    """The answers' target link-layer address."""

    @property
    def key(self):
        return (self.kind, self.port_id)


def _answered(ask, port_id, port):
    bindings = ask(BINDINGS, port_id)
    if port.is_router_port or not bindings:
        return None, None
    if not is_open(bindings[0]):
        return None, waiting_for(port_id, bindings[0])
    return Answered(port_id, bindings[0].ofport), None


def flows(vm):
    """All IPv6 of a VM port goes to the service."""
    yield Flow(CLASSIFIER, NEIGHBOR, (("in_port", vm.ofport), IPV6),
               (to_controller(NUMBER, vm.ofport),), NAME, vm.key)


def answer(packet, vm):
    """Answer a solicitation for any target as if somebody had it."""
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
    options = (TargetLinkLayerAddress(vm.mac),)
    message = NeighborAdvertisement(asked.target, SOLICITED | OVERRIDE, options)
    yield Outgoing(build(Packet(Ethernet(packet.ethernet.source, vm.mac),
                                IPv6(asked.target, packet.ipv6.source, PROTOCOL, 255), message)))


FEATURE = Feature(
    NAME, kinds=(Kind(Answered.kind, "answered VM port", "answered VM ports", listed=False),),
    planners=(Objects(Answered.kind, _answered, each=PORTS, reads=(BINDINGS,)),))
FLOWS = FlowFeature(NAME, NUMBER, "Answers Neighbor Solicitations of VMs, in a test.", {Answered.kind: flows})
SERVICE = Service(NAME, Answered.kind, lambda vm: (vm.ofport,), answer)


def install(directory: Path) -> Path:
    """Install the package in `directory`, a part of the module search path; return its entry points."""
    shutil.copy(__file__, directory / "outside_package.py")
    about = directory / "outside_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return about / "entry_points.txt"
