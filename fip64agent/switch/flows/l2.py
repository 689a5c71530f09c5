# SPDX-License-Identifier: Apache-2.0
"""Switching between the served ports of a network.

A network without a VLAN on this bridge is known to its served ports only: NORMAL would carry its IPv6 to all
other ports without a VLAN, whatever network they are on. With an access VLAN NORMAL keeps to it, and others
may be in it: machines behind a physical port, another system's router.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.ports.objects import ServedNetwork, ServedPort
from fip64agent.switch import stages
from fip64agent.switch.examples import SERVED_NETWORK, SERVED_NETWORK_VLAN, SERVED_PORT
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import IPV4, IPV6, MULTICAST, NORMAL, Action, Flow, Match, Output
from fip64agent.switch.stages import REG_NETWORK, to_port

NAME = "l2"
KNOWN, FLOOD, ELSEWHERE = 40, 20, 10
"""Priorities: to a MAC that is known; multicast; what is left."""


def known(port: ServedPort) -> Iterator[Flow]:
    """Yield the flows to the MACs of a served port."""
    for mac in port.macs:
        yield Flow(stages.L2, KNOWN, ((REG_NETWORK, port.network), ("eth_dst", mac)),
                   to_port(port.ofport, stages.TRACK_IN), NAME, port.key)


def others(network: ServedNetwork) -> Iterator[Flow]:
    """Yield the flows for multicast, and for MACs that no served port has.

    Multicast goes through each port's security groups, but not through conntrack, which knows no answers to
    it.
    """
    def flow(priority: int, match: Match, actions: tuple[Action, ...]) -> Flow:
        return Flow(stages.L2, priority, ((REG_NETWORK, network.number), *match), actions, NAME, network.key)

    if network.vlan is None:
        yield flow(FLOOD, (MULTICAST,), tuple(action for ofport in network.ofports
                                              for action in to_port(ofport, stages.GROUPS_IN)))
    else:
        yield flow(ELSEWHERE, (IPV6,), (Output(NORMAL),))
    yield flow(ELSEWHERE, (IPV4,), (Output(NORMAL),))


FEATURE = FlowFeature(
    NAME, 21, "Switching between the served ports of a network.",
    {ServedPort.kind: known, ServedNetwork.kind: others},
    (Example("Per served port", "For each MAC that it may have:", (SERVED_PORT,)),
     Example("Per network", "Here with the ports 21 and 22:", (SERVED_NETWORK,)),
     Example("Per network with an access VLAN", "NORMAL carries to the others in the VLAN what is for no "
             "served port:", (SERVED_NETWORK_VLAN,))))
