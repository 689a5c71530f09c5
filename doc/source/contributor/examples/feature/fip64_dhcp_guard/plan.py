# SPDX-License-Identifier: Apache-2.0
"""A guard for each VM port that is bound here."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from fip64agent.plan.base.bindings import BINDINGS, is_open, waiting_for
from fip64agent.plan.inputs import PORTS
from fip64agent.plan.kinds import Feature, Kind
from fip64agent.plan.nodes import Objects
from fip64agent.plan.problems import ObjectKey, Problem
from fip64agent.topology.model import Port


@dataclasses.dataclass(frozen=True, slots=True)
class DhcpGuard:
    """Keeps a VM from answering as a DHCPv4 server."""

    kind: ClassVar[str] = "dhcpguard"
    port_id: str
    ofport: int

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.port_id)


def _guard(ask, port_id: str, port: Port) -> tuple[DhcpGuard | None, Problem | None]:
    bindings = ask(BINDINGS, port_id)
    if port.is_router_port or not bindings:
        return None, None
    if not is_open(bindings[0]):
        return None, waiting_for(port_id, bindings[0])
    return DhcpGuard(port_id, bindings[0].ofport), None


FEATURE = Feature(
    "dhcpguard",
    kinds=(Kind(DhcpGuard.kind, "DHCP guard", "DHCP guards",
                describe=lambda guard: f"VM port {guard.port_id}"),),
    planners=(Objects(DhcpGuard.kind, _guard, each=PORTS, reads=(BINDINGS,)),))
