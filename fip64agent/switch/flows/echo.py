# SPDX-License-Identifier: Apache-2.0
"""Answers to pings of routers' addresses (RFC 4443, section 4.2), by flows on every datapath."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from fip64agent.net.icmpv6 import ECHO_REPLY, ECHO_REQUEST
from fip64agent.plan.ports.objects import RouterInterface6
from fip64agent.switch import stages
from fip64agent.switch.examples import ROUTER_INTERFACE
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import (
    IN_PORT,
    Action,
    Flow,
    Move,
    Output,
    SetField,
    icmpv6_message,
)
from fip64agent.switch.stages import REG_NETWORK, REG_ROUTER

NAME = "echo"
REQUESTS = 600
"""Priority: before a hop limit of 1 counts, since the packet has arrived."""
SCRATCH = "xxreg3"
"""reg12 to reg15, in which the two MACs are exchanged."""


def echo(interface: RouterInterface6) -> Iterator[Flow]:
    """Yield the flows that answer for a router's interface.

    Its global addresses answer on all networks of the router; its link-local address on its own.
    """
    request = icmpv6_message(ECHO_REQUEST)
    for address in interface.addresses:
        yield Flow(stages.ROUTE, REQUESTS,
                   ((REG_ROUTER, interface.router), *request, ("ipv6_dst", address.ip)), _reply(address.ip),
                   NAME, interface.key)
    yield Flow(stages.ROUTER, REQUESTS, ((REG_NETWORK, interface.network), ("eth_dst", interface.mac),
                                         *request, ("ipv6_dst", interface.link_local)),
               _reply(interface.link_local), NAME, interface.key)


def _reply(address: IPv6Address) -> tuple[Action, ...]:
    return (Move("eth_src", SCRATCH, 48), Move("eth_dst", "eth_src", 48), Move(SCRATCH, "eth_dst", 48),
            Move("ipv6_src", "ipv6_dst", 128), SetField("ipv6_src", address),
            SetField("icmpv6_type", ECHO_REPLY), Output(IN_PORT))


FEATURE = FlowFeature(
    NAME, 26, "Answers pings of routers' addresses.", {RouterInterface6.kind: echo},
    (Example("Per router interface", "Its global addresses answer on all networks of the router:",
             (ROUTER_INTERFACE,)),),
    registers=tuple(stages.Register(f"reg{number}", "Scratch, while a packet's addresses are exchanged.")
                    for number in range(12, 16)))
