# SPDX-License-Identifier: Apache-2.0
"""Router Solicitations to the agent, which answers them (services/router_advertisement.py)."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net.icmpv6 import ROUTER_SOLICITATION
from fip64agent.plan.ports.objects import ServedPort
from fip64agent.switch import stages
from fip64agent.switch.examples import SERVED_PORT_ROUTED
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import Flow, icmpv6_message, to_controller
from fip64agent.switch.stages import REG_PORT, to_agent

NAME, NUMBER = "router-advertisement", 25
SOLICITATIONS = 70


def of_port(port: ServedPort) -> Iterator[Flow]:
    """Yield the flows for a port's Router Solicitations, if a router on its network advertises itself."""
    if any(gateway.advertising is not None for gateway in port.gateways):
        yield Flow(stages.SERVICES, SOLICITATIONS, (
            (REG_PORT, port.ofport), *icmpv6_message(ROUTER_SOLICITATION)), to_agent(NUMBER), NAME, port.key)
        yield Flow(stages.AGENT, 1, stages.of_agent(port.ofport, NUMBER),
                   (to_controller(NUMBER, port.ofport),), NAME, port.key)


FEATURE = FlowFeature(
    NAME, NUMBER, "Answers Router Solicitations, and advertises routers.", {ServedPort.kind: of_port},
    (Example("Per served port", "If a router on its network advertises itself:", (SERVED_PORT_ROUTED,)),))
