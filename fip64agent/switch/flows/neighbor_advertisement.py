# SPDX-License-Identifier: Apache-2.0
"""Answers to Neighbor Solicitations for routers' addresses (RFC 4861, section 7.2.4).

Where the datapath can, flows make the advertisement of the solicitation: this works while the agent does not
run. A flow cannot add an option, so a solicitation without a source link-layer address goes to the agent; and
so do all, where the datapath cannot set the flags (services/neighbor_advertisement.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from fip64agent.net.addresses import UNSPECIFIED
from fip64agent.net.icmpv6 import ADVERTISEMENT, OVERRIDE, ROUTER, SOLICITATION, SOLICITED
from fip64agent.net.options import TARGET_LINK_LAYER_ADDRESS
from fip64agent.plan.ports.objects import RouterInterface6, ServedPort
from fip64agent.switch import stages
from fip64agent.switch.examples import ROUTER_INTERFACE, ROUTER_INTERFACE_USERSPACE, SERVED_PORT
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import (
    IN_PORT,
    Flow,
    Match,
    Move,
    Output,
    Resubmit,
    SetField,
    icmpv6_message,
    to_controller,
)
from fip64agent.switch.pipeline import Table
from fip64agent.switch.stages import REG_NETWORK, to_agent

NAME, NUMBER = "neighbor-advertisement", 24
TO_AGENT, BY_FLOW = 70, 80
NO_OPTION = 90
"""Priorities in services: what the agent answers; what flows answer; and above that what they cannot."""
ADVERTISE = 182
_TABLE = Table(ADVERTISE, "advertise", "services",
               "The second half of an advertisement that flows make: the option can be set only in a message "
               "that has the new type.", "The target.", "Back to the port.")


def _solicitation(network: int, target: IPv6Address) -> Match:
    return (REG_NETWORK, network), *icmpv6_message(SOLICITATION), ("ipv6_nd_target", target)


def for_router(interface: RouterInterface6) -> Iterator[Flow]:
    """Yield the flows for solicitations of a router's addresses."""
    for address in interface.own:
        match = _solicitation(interface.network, address)
        yield Flow(stages.SERVICES, TO_AGENT, match, to_agent(NUMBER), NAME, interface.key)
        if interface.nd_flags:
            yield from _by_flow(interface, address, match)


def _by_flow(interface: RouterInterface6, address: IPv6Address, match: Match) -> Iterator[Flow]:
    for missing in (("ipv6_nd_sll", "00:00:00:00:00:00"), ("ipv6_src", UNSPECIFIED)):
        yield Flow(stages.SERVICES, NO_OPTION, (*match, missing), to_agent(NUMBER), NAME, interface.key)
    yield Flow(stages.SERVICES, BY_FLOW, (*match, ("nw_ttl", 255)), (
        Move("eth_src", "eth_dst", 48), SetField("eth_src", interface.mac),
        Move("ipv6_src", "ipv6_dst", 128), SetField("ipv6_src", address),
        SetField("nd_options_type", TARGET_LINK_LAYER_ADDRESS),
        SetField("nd_reserved", ROUTER | SOLICITED | OVERRIDE), SetField("icmpv6_type", ADVERTISEMENT),
        Resubmit(ADVERTISE)), NAME, interface.key)
    yield Flow(ADVERTISE, 1, ((REG_NETWORK, interface.network), *icmpv6_message(ADVERTISEMENT),
                              ("ipv6_nd_target", address)),
               (SetField("ipv6_nd_tll", interface.mac), Output(IN_PORT)), NAME, interface.key)


def of_port(port: ServedPort) -> Iterator[Flow]:
    """Yield the flow that sends a port's solicitations to the agent."""
    yield Flow(stages.AGENT, 1, stages.of_agent(port.ofport, NUMBER), (to_controller(NUMBER, port.ofport),),
               NAME, port.key)


FEATURE = FlowFeature(
    NAME, NUMBER, "Answers Neighbor Solicitations for routers' addresses.",
    {RouterInterface6.kind: for_router, ServedPort.kind: of_port},
    (Example("Per router interface", "For each of its addresses:", (ROUTER_INTERFACE,)),
     Example("Per router interface, by flows", "Where the datapath can make the advertisement:",
             (ROUTER_INTERFACE_USERSPACE,)),
     Example("Per served port", "Through the meter of the port:", (SERVED_PORT,))),
    tables=(_TABLE,))
