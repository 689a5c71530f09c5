# SPDX-License-Identifier: Apache-2.0
"""Neighbor Discovery between served ports (RFC 4861, RFC 4862).

A solicitation that is multicast goes to the port that has the address, and to no other: the VM itself
answers. So flags, duplicate address detection and reachability are those of the VM, on every datapath, while
the agent runs or not. A solicitation for an address of the network's prefixes that nobody has goes nowhere;
one for an address of a prefix that ports may use (an allowed pair) goes to all ports.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net.icmpv6 import ADVERTISEMENT, ROUTER_ADVERTISEMENT, SOLICITATION
from fip64agent.plan.ports.objects import ServedAddress, ServedNetwork
from fip64agent.switch import stages
from fip64agent.switch.examples import SERVED_ADDRESS, SERVED_NETWORK
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import DROP, MULTICAST, Flow, Resubmit, icmpv6_message
from fip64agent.switch.stages import REG_NETWORK, to_port

NAME = "discovery"
HELD, SHARED, NOBODYS = 60, 55, 50
"""Priorities: of addresses that a port has; of prefixes that ports may use; of those of the network."""
PAST_GROUPS = 1000
"""Priority in groups-in: Neighbor Discovery passes whatever the rules (RFC 4890, section 4.4.1)."""


def to_holders(address: ServedAddress) -> Iterator[Flow]:
    """Yield the flow for multicast solicitations of an address: to those who have it."""
    actions = tuple(action for holder in address.holders for action in to_port(holder.ofport, stages.OUTPUT))
    yield Flow(stages.SERVICES, HELD,
               ((REG_NETWORK, address.network), MULTICAST, *icmpv6_message(SOLICITATION),
                ("ipv6_nd_target", address.address)), actions, NAME, address.key)


def of_network(network: ServedNetwork) -> Iterator[Flow]:
    """Yield the flows for solicitations of addresses that nobody has, and for the way past groups-in."""
    on = (REG_NETWORK, network.number)
    if network.vlan is None:
        for priority, prefixes, actions in ((SHARED, network.shared, (Resubmit(stages.ROUTER),)),
                                            (NOBODYS, network.prefixes, DROP)):
            for prefix in prefixes:
                match = (on, MULTICAST, *icmpv6_message(SOLICITATION), ("ipv6_nd_target", prefix))
                yield Flow(stages.SERVICES, priority, match, actions, NAME, network.key)
    for number in (SOLICITATION, ADVERTISEMENT, ROUTER_ADVERTISEMENT):
        yield Flow(stages.GROUPS_IN, PAST_GROUPS, (on, *icmpv6_message(number)), (Resubmit(stages.OUTPUT),),
                   NAME, network.key)


FEATURE = FlowFeature(
    NAME, 22, "Neighbor Solicitations for served ports, to those alone.",
    {ServedAddress.kind: to_holders, ServedNetwork.kind: of_network},
    (Example("Per address", "It is the address of port 21:", (SERVED_ADDRESS,)),
     Example("Per network", "Not where NORMAL carries the rest to others in the VLAN:", (SERVED_NETWORK,))))
