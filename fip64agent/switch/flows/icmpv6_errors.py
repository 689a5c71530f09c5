# SPDX-License-Identifier: Apache-2.0
"""What a router cannot forward goes to the agent, which tells the sender (services/icmpv6_errors.py)."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net.errors import ADDRESS_UNREACHABLE, HOP_LIMIT_EXCEEDED, NO_ROUTE, PORT_UNREACHABLE
from fip64agent.net.icmpv6 import PACKET_TOO_BIG, TIME_EXCEEDED, UNREACHABLE
from fip64agent.plan.ports.objects import Route6, RouterInterface6, ServedNetwork, ServedPort, ServedRouter
from fip64agent.switch import stages
from fip64agent.switch.examples import (
    ROUTE_NOWHERE,
    ROUTER_INTERFACE,
    SERVED_NETWORK,
    SERVED_PORT_ROUTED,
    SERVED_ROUTER,
)
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import DROP, IPV6, Action, Flow, Match, to_controller
from fip64agent.switch.flows.routing import ROUTES
from fip64agent.switch.pipeline import REG_REASON
from fip64agent.switch.stages import REG_NETWORK, REG_ROUTER, REG_TOO_BIG, load, to_agent

NAME, NUMBER = "icmpv6-errors", 27
UDP = ("ip_proto", 17)
TO_OWN, EXPIRED, ELSEWHERE = 550, 500, 1
"""Priorities in route: to an address of the router; with a hop limit that is used up; without a route."""
TOO_BIG, NOBODY = 1000, 1


def _tell(kind: int, code: int, mtu: int = 0) -> tuple[Action, ...]:
    return load(REG_REASON, kind << 24 | code << 16 | mtu), *to_agent(NUMBER)


def of_router(router: ServedRouter) -> Iterator[Flow]:
    """Yield the flows for what has no hop left, and what has no route."""
    def flow(priority: int, match: Match, kind: int, code: int) -> Flow:
        return Flow(stages.ROUTE, priority, ((REG_ROUTER, router.number), IPV6, *match), _tell(kind, code),
                    NAME, router.key)

    for hop_limit in (0, 1):
        yield flow(EXPIRED, (("nw_ttl", hop_limit),), TIME_EXCEEDED, HOP_LIMIT_EXCEEDED)
    yield flow(ELSEWHERE, (), UNREACHABLE, NO_ROUTE)


def to_own(interface: RouterInterface6) -> Iterator[Flow]:
    """Yield the flows for what is for the router itself and nothing has answered: no port of it is open."""
    for address in interface.addresses:
        match: Match = ((REG_ROUTER, interface.router), IPV6, ("ipv6_dst", address.ip))
        yield Flow(stages.ROUTE, TO_OWN + 1, (*match, UDP), _tell(UNREACHABLE, PORT_UNREACHABLE), NAME,
                   interface.key)
        yield Flow(stages.ROUTE, TO_OWN, match, DROP, NAME, interface.key)


def of_route(route: Route6) -> Iterator[Flow]:
    """Yield the flow of a route to where nobody can be reached."""
    if route.hop is None:
        yield Flow(stages.ROUTE, ROUTES + route.destination.prefixlen,
                   ((REG_ROUTER, route.router), IPV6, ("ipv6_dst", route.destination)),
                   _tell(UNREACHABLE, ADDRESS_UNREACHABLE), NAME, route.key)


def of_network(network: ServedNetwork) -> Iterator[Flow]:
    """Yield the flows for addresses that nobody has, and for packets that are larger than the MTU."""
    on = (REG_NETWORK, network.number)
    yield Flow(stages.NEIGHBOR, NOBODY, (on, IPV6), _tell(UNREACHABLE, ADDRESS_UNREACHABLE), NAME,
               network.key)
    yield Flow(stages.TRACK_IN, TOO_BIG, (on, (REG_TOO_BIG, 1), IPV6),
               _tell(PACKET_TOO_BIG, 0, network.mtu), NAME, network.key)


def of_port(port: ServedPort) -> Iterator[Flow]:
    """Yield the flow that sends a port's packets to the agent."""
    if port.gateways:
        yield Flow(stages.AGENT, 1, stages.of_agent(port.ofport, NUMBER),
                   (to_controller(NUMBER, port.ofport),), NAME, port.key)


FEATURE = FlowFeature(
    NAME, NUMBER, "Tells senders what a router cannot forward.",
    {ServedRouter.kind: of_router, RouterInterface6.kind: to_own, Route6.kind: of_route,
     ServedNetwork.kind: of_network, ServedPort.kind: of_port},
    (Example("Per router", "No hop left, no route:", (SERVED_ROUTER,)),
     Example("Per router interface", "No port of a router is open:", (ROUTER_INTERFACE,)),
     Example("Per route that leads nowhere", "A subnet without served ports on this host:", (ROUTE_NOWHERE,)),
     Example("Per network", "An address that nobody has, a packet above the MTU:", (SERVED_NETWORK,)),
     Example("Per served port", "Through the meter of the port:", (SERVED_PORT_ROUTED,))))
