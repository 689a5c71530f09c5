# SPDX-License-Identifier: Apache-2.0
"""The way of a served port's packets through the tables, where no other feature takes them."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.ports.objects import ServedNetwork, ServedPort
from fip64agent.switch import pipeline, stages
from fip64agent.switch.examples import SERVED_NETWORK, SERVED_PORT
from fip64agent.switch.features import Example, FlowFeature, NumberInFlow
from fip64agent.switch.flows.flow import (
    IPV4,
    IPV6,
    UNTAGGED,
    Action,
    Flow,
    Match,
    OutputField,
    Resubmit,
    StripVlan,
)
from fip64agent.switch.stages import REG_DESTINATION, REG_NETWORK, REG_PORT, load

NAME = "stages"
ON = 1
"""Priority of the flows that go on to the next table."""


def into(port: ServedPort) -> Iterator[Flow]:
    """Yield the flows by which packets of a served port enter. ARP and other protocols are left alone."""
    actions = (StripVlan(), load(REG_NETWORK, port.network), load(REG_PORT, port.ofport),
               Resubmit(stages.PORT_SECURITY))
    for protocol in (IPV6, IPV4) if port.filtered else (IPV6,):
        yield Flow(pipeline.CLASSIFIER, pipeline.CLASSIFY, (("in_port", port.ofport), UNTAGGED, protocol),
                   actions, NAME, port.key)


def through(network: ServedNetwork) -> Iterator[Flow]:
    """Yield, for each table, the flow that goes on to the next, and the one that leaves the last."""
    def flow(table: int, actions: tuple[Action, ...]) -> Flow:
        match: Match = ((REG_NETWORK, network.number),)
        return Flow(table, ON, match, actions, NAME, network.key)

    for table, following in stages.NEXT.items():
        yield flow(table, (Resubmit(following),))
    yield flow(stages.OUTPUT, (OutputField(REG_DESTINATION),))


FEATURE = FlowFeature(
    NAME, 20, "Takes the packets of served ports through the tables.",
    {ServedPort.kind: into, ServedNetwork.kind: through},
    (Example("Per served port", "IPv4 only if the port has security groups:", (SERVED_PORT,)),
     Example("Per network with served ports", "What no other flow takes goes on:", (SERVED_NETWORK,))),
    tables=stages.TABLES, registers=stages.REGISTERS,
    numbers=(NumberInFlow("networks", stages.OUTPUT, REG_NETWORK),))
