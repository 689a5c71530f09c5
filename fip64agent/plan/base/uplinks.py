# SPDX-License-Identifier: Apache-2.0
"""Uplinks: the router ports with IPv6 addresses that are bound here, and the networks they serve."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from fip64agent.plan import allocate
from fip64agent.plan.base.bindings import (
    BINDINGS,
    BONDS,
    Bindings,
    bound_twice,
    is_open,
    open_ofport,
    waiting_for,
)
from fip64agent.plan.base.objects import Uplink
from fip64agent.plan.base.routers import NETWORKS_OF_ROUTER, PREFIXES
from fip64agent.plan.inputs import (
    INTERFACES,
    NETWORKS,
    PORTS,
    ROUTERS,
    SETTINGS,
    SUBNETS,
    Interface,
    Settings,
)
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.numbers import number_space
from fip64agent.plan.problems import ERROR, Problem
from fip64agent.topology.model import Port, Route, Subnet
from fip64agent.topology.rules import uplink_fault

_DEFAULT = IPv6Network("::/0")


# Which router ports are uplinks here

def _ipv6_router_port(port_id: str, port: Port) -> Iterator[tuple[str, str]]:
    if port.is_router_port and port.has_ipv6:
        yield port_id, port_id


_IPV6_ROUTER_PORTS = Collected("router ports with IPv6", {PORTS: _ipv6_router_port})


def _interface_in_use(ask, bindings: Bindings) -> Interface:
    """Return the interface that carries the uplink; of a bond another one, when OVS cannot open that."""
    first = bindings[0]
    others = ask(BONDS, first.bond) if first.bond else ()
    return others[0] if others and not is_open(first) else first


def _usable(ask, port_id: str, _ids) -> tuple[IPv6Interface, ...] | Problem | None:
    """Return the addresses of a router port that can be an uplink here, or why it cannot.

    A bound router port without an IPv6 address is simply no uplink.
    """
    bindings = ask(BINDINGS, port_id)
    if not bindings:
        return None
    port = ask(PORTS, port_id)
    network = ask(NETWORKS, port.network_id)
    if network is None or ask(ROUTERS, port.device_id) is None:
        return None
    if fault := uplink_fault(port, network):
        return Problem(ERROR, fault)
    if not is_open(_interface_in_use(ask, bindings)):
        return waiting_for(port_id, bindings[0])
    prefixes = {fixed: subnet.cidr.prefixlen for fixed in port.fixed_ips if fixed.ip_address.version == 6
                and (subnet := ask(SUBNETS, fixed.subnet_id)) is not None}
    return tuple(sorted({IPv6Interface((fixed.ip_address, length))
                         for fixed, length in prefixes.items()})) or None


USABLE = Derived("usable uplinks", _usable, (BINDINGS, BONDS, PORTS, NETWORKS, ROUTERS, SUBNETS),
                 each=_IPV6_ROUTER_PORTS)
"""By port id: its addresses with prefix lengths, sorted, or a Problem."""
_USABLE_IDS = Collected("ids of usable uplinks", {
    USABLE: lambda port_id, found: () if isinstance(found, Problem) else (("", port_id),)})
TABLES = number_space("tables", _USABLE_IDS, lambda ask: (allocate.FIRST_TABLE, allocate.LAST_TABLE))
"""Routing tables of the uplinks."""


def _suffixes(ask, key: str) -> Mapping[str, str]:
    return allocate.uplink_suffixes(ask(TABLES.all, "").given)


_SUFFIXES = Derived("ends of the uplinks' interface names", _suffixes, (TABLES.all,))


# Which uplink serves which network

@dataclasses.dataclass(frozen=True, slots=True)
class _Servers:
    own: Mapping[str, str]
    """By id of a network that an uplink is on: the uplink's port id."""
    routed: Mapping[str, str]
    """The same for the external networks that the uplinks' routers lead to."""


def _servers(ask, key: str) -> _Servers:
    """Choose one uplink for each network: one on it, else one whose router leads to it; the lowest id."""
    ports = {port_id: ask(PORTS, port_id) for port_id in sorted(ask(TABLES.all, "").given)}
    own: dict[str, str] = {}
    for port_id, port in ports.items():
        own.setdefault(port.network_id, port_id)
    routed: dict[str, str] = {}
    for port_id, port in ports.items():
        for network_id in ask(NETWORKS_OF_ROUTER, port.device_id):
            network = ask(NETWORKS, network_id)
            if network is not None and network.external and network_id not in own:
                routed.setdefault(network_id, port_id)
    return _Servers(own, routed)


_SERVERS = Derived("servers of the networks", _servers, (TABLES.all, PORTS, NETWORKS_OF_ROUTER, NETWORKS))


def _routed(ask, port_id: str) -> tuple[IPv6Network, ...]:
    """Return the prefixes of the external networks, other than its own, that an uplink serves; sorted."""
    routed = ask(_SERVERS, "").routed
    return tuple(sorted({prefix for network_id, server in routed.items() if server == port_id
                         for prefix in ask(PREFIXES, network_id)}))


_ROUTED = Derived("prefixes routed to an uplink", _routed, (_SERVERS, PREFIXES))


# The uplinks themselves

def _uplink(ask, port_id: str, addresses: tuple[IPv6Interface, ...] | Problem
            ) -> tuple[Uplink | None, Problem | None]:
    if isinstance(addresses, Problem):
        return None, addresses
    table = ask(TABLES.number, port_id)
    if table is None:
        return None, Problem(ERROR, f"no routing table id between {allocate.FIRST_TABLE} and "
                                    f"{allocate.LAST_TABLE} is free for uplink {port_id}")
    settings: Settings = ask(SETTINGS, "")
    bindings = ask(BINDINGS, port_id)
    interface = _interface_in_use(ask, bindings)
    port = ask(PORTS, port_id)
    # All IPv6 subnets of the network, not only those the port has an address in: they share one
    # link, and a floating IP from any of them is answered for here and must leave by this uplink.
    onlink = ask(PREFIXES, port.network_id)
    routes = _routes(ask, port, {address.ip for address in addresses}, onlink)
    suffix = ask(_SUFFIXES, "")[port_id]
    veth, nd_veth = f"ovs-{suffix}", f"ovs-nd-{suffix}"
    members = ask(BONDS, interface.bond) if interface.bond else ()
    return Uplink(
        port_id=port_id, router_id=port.device_id, network_id=port.network_id,
        interface=interface.name, ofport=interface.ofport,
        veth=veth, veth_ofport=open_ofport(ask(INTERFACES, veth)), peer=f"vpp-{suffix}",
        mac=port.mac_address, mtu=ask(NETWORKS, port.network_id).mtu,
        addresses=addresses, routes=routes, table=table, onlink=onlink, routed=ask(_ROUTED, port_id),
        redirect=settings.redirect, nd_netns=allocate.nd_netns(settings.netns_prefix), nd_veth=nd_veth,
        nd_veth_ofport=open_ofport(ask(INTERFACES, nd_veth)), nd_peer=f"nd-{suffix}",
        members=tuple(member.ofport for member in members)), bound_twice(port_id, bindings)


def _routes(ask, port: Port, own: set[IPv6Address], onlink: tuple[IPv6Network, ...]
            ) -> tuple[tuple[IPv6Network, IPv6Address], ...]:
    """Collect the routes that leave by an uplink, one next hop for each destination.

    The more deliberate statement wins: the router's extra routes over a subnet's host_routes over
    its gateway_ip; among equals the lowest next hop. A next hop that is the uplink itself (a
    gateway_ip usually is, when the port is the subnet's gateway) makes no route, nor does a
    prefix that is on the link: it is reached there.
    """
    subnets = _own_subnets(ask, port)
    gateways = [(_DEFAULT, subnet.gateway_ip) for subnet in subnets
                if subnet.gateway_ip is not None and subnet.gateway_ip.version == 6
                and subnet.gateway_ip not in own]
    host_routes = [route for subnet in subnets for route in _ipv6(subnet.host_routes, own)
                   if route[1].is_link_local or _within(route[1], onlink)]
    # A link-local next hop does not say which uplink it is on, so extra routes need a global one.
    extra = [route for route in _ipv6(ask(ROUTERS, port.device_id).routes, own)
             if _within(route[1], onlink)]
    routes: dict[IPv6Network, IPv6Address] = {}
    for group in (extra, host_routes, gateways):
        for destination, nexthop in sorted(group):
            if destination not in onlink:
                routes.setdefault(destination, nexthop)
    return tuple(sorted(routes.items()))


def _own_subnets(ask, port: Port) -> list[Subnet]:
    ids = {fixed.subnet_id for fixed in port.fixed_ips if fixed.ip_address.version == 6}
    return [subnet for subnet_id in sorted(ids) if (subnet := ask(SUBNETS, subnet_id)) is not None]


def _ipv6(routes: Iterable[Route], own: set[IPv6Address]) -> list[tuple[IPv6Network, IPv6Address]]:
    return [(route.destination, route.nexthop) for route in routes
            if route.destination.version == 6 and route.nexthop.version == 6 and route.nexthop not in own]


def _within(address: IPv6Address, prefixes: Iterable[IPv6Network]) -> bool:
    return any(address in prefix for prefix in prefixes)


UPLINKS = Objects(Uplink.kind, _uplink, each=USABLE, reads=(
    TABLES.number, SETTINGS, BINDINGS, BONDS, PORTS, PREFIXES, ROUTERS, SUBNETS, _SUFFIXES, INTERFACES,
    NETWORKS, _ROUTED))
ALL_UPLINKS = Collected("all uplinks", {UPLINKS: lambda port_id, uplink: (("", port_id),)})
"""Under the key "": the port ids of all uplinks of this host, sorted."""


def _serving(ask, network_id: str) -> Uplink | None:
    servers = ask(_SERVERS, "")
    port_id = servers.own.get(network_id) or servers.routed.get(network_id)
    return ask(UPLINKS, port_id) if port_id is not None else None


SERVING = Derived("uplink that serves a network", _serving, (_SERVERS, UPLINKS))
"""By network id: the Uplink that its floating IPs use, None when there is none on this host."""
