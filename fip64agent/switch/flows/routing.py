# SPDX-License-Identifier: Apache-2.0
"""Routing between the networks of served ports, on the host where the VMs are.

What a VM sends to its router's MAC goes by the longest prefix of the router's routes to another network, and
there to who has the destination. A router forwards nothing from or to link-local addresses (RFC 4291,
section 2.5.6), and no multicast.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net.addresses import LINK_LOCAL
from fip64agent.plan.ports.objects import Hop, Route6, RouterInterface6, ServedAddress, ServedRouter
from fip64agent.switch import stages
from fip64agent.switch.examples import ROUTE, ROUTER_INTERFACE, SERVED_ADDRESS, SERVED_ROUTER
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import (
    DROP,
    IPV6,
    Action,
    CheckPktLarger,
    DecTtl,
    Flow,
    Resubmit,
    SetField,
)
from fip64agent.switch.stages import REG_NETWORK, REG_ROUTER, load, to_port

NAME = "routing"
TO_ROUTER = 100
OWN_SCOPE, ROUTES = 400, 200
"""Priorities in route: link-local addresses; a route's is its prefix length more."""
HOLDER = 100
ETHERNET = 14
"""Octets of an Ethernet header."""


def to_router(interface: RouterInterface6) -> Iterator[Flow]:
    """Yield the flow for what is sent to a router's MAC."""
    yield Flow(stages.ROUTER, TO_ROUTER,
               ((REG_NETWORK, interface.network), IPV6, ("eth_dst", interface.mac)),
               (load(REG_ROUTER, interface.router), Resubmit(stages.ROUTE)), NAME, interface.key)


def of_router(router: ServedRouter) -> Iterator[Flow]:
    """Yield the flows that forward no link-local address."""
    for field in ("ipv6_src", "ipv6_dst"):
        yield Flow(stages.ROUTE, OWN_SCOPE, ((REG_ROUTER, router.number), IPV6, (field, LINK_LOCAL)), DROP,
                   NAME, router.key)


def of_route(route: Route6) -> Iterator[Flow]:
    """Yield the flow of a route that leads to somebody."""
    if route.hop is not None:
        yield Flow(stages.ROUTE, ROUTES + route.destination.prefixlen,
                   ((REG_ROUTER, route.router), IPV6, ("ipv6_dst", route.destination)), _forward(route.hop),
                   NAME, route.key)


def _forward(hop: Hop) -> tuple[Action, ...]:
    check = (CheckPktLarger(hop.largest + ETHERNET, stages.REG_TOO_BIG),) if hop.largest is not None else ()
    common = (*check, load(REG_NETWORK, hop.network), SetField("eth_src", hop.mac), DecTtl())
    if hop.holder is None:
        return (*common, Resubmit(stages.NEIGHBOR))
    return (*common, SetField("eth_dst", hop.holder.mac), *to_port(hop.holder.ofport, stages.TRACK_IN))


def to_holder(address: ServedAddress) -> Iterator[Flow]:
    """Yield the flow for what was routed to an address: to the first who has it."""
    holder = address.holders[0]
    yield Flow(stages.NEIGHBOR, HOLDER,
               ((REG_NETWORK, address.network), IPV6, ("ipv6_dst", address.address)),
               (SetField("eth_dst", holder.mac), *to_port(holder.ofport, stages.TRACK_IN)), NAME, address.key)


FEATURE = FlowFeature(
    NAME, 23, "Routing between the networks of served ports.",
    {RouterInterface6.kind: to_router, ServedRouter.kind: of_router, Route6.kind: of_route,
     ServedAddress.kind: to_holder},
    (Example("Per router interface", "Router 3 has this MAC on the network 0x8001:", (ROUTER_INTERFACE,)),
     Example("Per router", "Nothing from or to link-local addresses:", (SERVED_ROUTER,)),
     Example("Per route", "It leads to a network whose MTU is smaller than another one of the router:",
             (ROUTE,)),
     Example("Per address", "It is the address of port 21:", (SERVED_ADDRESS,))))
