# SPDX-License-Identifier: Apache-2.0
"""The IPv6 routes of routers between the networks of served ports.

A router forwards between the subnets that it has addresses on, and by its extra routes to what is behind a
served port. A subnet without served ports here has a route that leads nowhere: its addresses are the
router's business, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from fip64agent.plan.inputs import DATAPATH, ROUTERS
from fip64agent.plan.nodes import Collected, Objects
from fip64agent.plan.ports.addresses import ADDRESS_HOLDERS
from fip64agent.plan.ports.objects import Hop, Route6, RouterInterface6, ServedRouter
from fip64agent.plan.ports.routers import INTERFACES6, ROUTER_NUMBERS, SUBNETS_BY_ROUTER

_INTERFACES_OF = Collected("interfaces of a served router", {
    INTERFACES6: lambda port_id, interface: ((interface.router_id, port_id),)})
"""By router id: the ids of its ports on networks with served ports."""


def _router(ask, router_id: str, port_ids: tuple[str, ...]) -> tuple[ServedRouter | None, None]:
    number = ask(ROUTER_NUMBERS.number, router_id)
    return (ServedRouter(router_id, number) if number is not None else None), None


SERVED_ROUTERS = Objects(ServedRouter.kind, _router, each=_INTERFACES_OF, reads=(ROUTER_NUMBERS.number,))


def _connected(ask, router_id: str) -> dict[IPv6Network, RouterInterface6 | None]:
    """Return the interface to each IPv6 subnet of a router; None: it has no served ports here."""
    found: dict[IPv6Network, RouterInterface6 | None] = {
        prefix: None for prefix in ask(SUBNETS_BY_ROUTER, router_id)}
    for port_id in ask(_INTERFACES_OF, router_id):
        interface = ask(INTERFACES6, port_id)
        found.update((address.network, interface) for address in interface.addresses)
    return found


def _hop(interface: RouterInterface6, most: int, holder=None) -> Hop:
    return Hop(interface.network, interface.mac, interface.mtu if interface.mtu < most else None, holder)


def _extra(ask, router_id: str, connected: dict[IPv6Network, RouterInterface6 | None], most: int
           ) -> Iterator[tuple[IPv6Network, Hop | None]]:
    """Yield the extra routes; of several with one destination the lowest next hop that is here counts."""
    router = ask(ROUTERS, router_id)
    routes = sorted((route for route in router.routes if route.destination.version == 6),
                    key=lambda route: (route.destination, route.nexthop)) if router is not None else ()
    chosen: dict[IPv6Network, Hop | None] = {}
    for route in routes:
        if route.destination not in connected and chosen.get(route.destination) is None:
            chosen[route.destination] = _towards(ask, route.nexthop, connected, most)
    yield from chosen.items()


def _towards(ask, nexthop: IPv6Address, connected: dict[IPv6Network, RouterInterface6 | None],
             most: int) -> Hop | None:
    for prefix, interface in connected.items():
        if nexthop in prefix and interface is not None:
            holders = ask(ADDRESS_HOLDERS, (interface.network_id, nexthop))
            return _hop(interface, most, holders[0]) if holders else None
    return None


def _routes(ask, router_id: str, router: ServedRouter) -> tuple[tuple[Route6, ...], None]:
    connected = _connected(ask, router_id)
    datapath = ask(DATAPATH, "")
    compared = datapath is None or datapath.packet_size
    most = max((interface.mtu for interface in connected.values() if interface is not None and compared),
               default=0)
    routes: list[tuple[IPv6Network, Hop | None]] = [
        (prefix, _hop(interface, most) if interface is not None else None)
        for prefix, interface in sorted(connected.items())]
    routes += _extra(ask, router_id, connected, most)
    return tuple(Route6(router_id, router.number, destination, hop) for destination, hop in routes), None


ROUTES6 = Objects(Route6.kind, _routes, each=SERVED_ROUTERS, reads=(
    _INTERFACES_OF, INTERFACES6, SUBNETS_BY_ROUTER, ROUTERS, ADDRESS_HOLDERS, DATAPATH))
