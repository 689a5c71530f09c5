# SPDX-License-Identifier: Apache-2.0
"""Routers' interfaces on the networks of served ports: the gateways of the VMs."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from fip64agent.net.addresses import link_local
from fip64agent.plan.inputs import DATAPATH, NETWORKS, PORTS, ROUTERS, SETTINGS, SUBNETS
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.numbers import number_space
from fip64agent.plan.ports.advertising import advertised
from fip64agent.plan.ports.bound import NETWORK_NUMBERS
from fip64agent.plan.ports.objects import RouterInterface6
from fip64agent.plan.problems import ERROR, Problem
from fip64agent.topology.model import ROUTER_INTERFACE, Port, Subnet

LAST_ROUTER = 0xFFFFFFFF


def _ipv6_interface(port_id: str, port: Port) -> Iterator[tuple[str, str]]:
    if port.device_owner == ROUTER_INTERFACE and port.has_ipv6:
        yield port_id, port_id


_IPV6_INTERFACES = Collected("router interfaces with IPv6", {PORTS: _ipv6_interface})


def _on_served_network(ask, port_id: str, _ids) -> Port | None:
    port = ask(PORTS, port_id)
    known = ask(ROUTERS, port.device_id) is not None and ask(NETWORKS, port.network_id) is not None
    return port if known and ask(NETWORK_NUMBERS.number, port.network_id) is not None else None


_ON_SERVED_NETWORKS = Derived("router interfaces on served networks", _on_served_network,
                              (PORTS, ROUTERS, NETWORKS, NETWORK_NUMBERS.number), each=_IPV6_INTERFACES)
_INTERFACES_OF = Collected("interfaces of a router on served networks", {
    _ON_SERVED_NETWORKS: lambda port_id, port: ((port.device_id, port_id),)})
_ROUTER_IDS = Collected("ids of routers of served networks", {
    _INTERFACES_OF: lambda router_id, port_ids: (("", router_id),)})
ROUTER_NUMBERS = number_space("routers", _ROUTER_IDS, lambda ask: (1, LAST_ROUTER))


def _subnets(ask, port: Port) -> dict[IPv6Address, Subnet]:
    """Return the IPv6 subnets of a router interface, by the address that it has there."""
    found = {fixed.ip_address: ask(SUBNETS, fixed.subnet_id) for fixed in port.fixed_ips
             if fixed.ip_address.version == 6}
    return {address: found[address] for address in sorted(found) if found[address] is not None}


def _link_local(port: Port, subnets: dict[IPv6Address, Subnet]) -> IPv6Address:
    for subnet in subnets.values():
        if subnet.gateway_ip is not None and subnet.gateway_ip.is_link_local:
            return subnet.gateway_ip
    return link_local(port.mac_address)


def _interface(ask, port_id: str, port: Port) -> tuple[RouterInterface6 | None, Problem | None]:
    router = ask(ROUTER_NUMBERS.number, port.device_id)
    if router is None:
        return None, Problem(ERROR, f"no number is free for router {port.device_id}")
    subnets, network = _subnets(ask, port), ask(NETWORKS, port.network_id)
    options, datapath = ask(SETTINGS, "").ports, ask(DATAPATH, "")
    return RouterInterface6(
        port_id=port_id, router_id=port.device_id, router=router, network_id=port.network_id,
        network=ask(NETWORK_NUMBERS.number, port.network_id), mac=port.mac_address,
        link_local=_link_local(port, subnets),
        addresses=tuple(IPv6Interface((address, subnet.cidr.prefixlen))
                        for address, subnet in subnets.items() if not address.is_link_local),
        mtu=network.mtu, advertising=advertised(port, subnets.values(), network, options),
        interval=options.max_advertisement_interval,
        nd_flags=datapath is not None and datapath.nd_flags), None


INTERFACES6 = Objects(RouterInterface6.kind, _interface, each=_ON_SERVED_NETWORKS,
                      reads=(ROUTER_NUMBERS.number, SUBNETS, NETWORK_NUMBERS.number, NETWORKS, SETTINGS,
                             DATAPATH))
INTERFACES_ON = Collected("router interfaces on a network", {
    INTERFACES6: lambda port_id, interface: ((interface.network_id, port_id),)})
"""By network id: the ids of the routers' ports on it."""


def _gateways(ask, network_id: str) -> tuple[RouterInterface6, ...]:
    return tuple(ask(INTERFACES6, port_id) for port_id in ask(INTERFACES_ON, network_id))


GATEWAYS_ON = Derived("gateways on a network", _gateways, (INTERFACES6, INTERFACES_ON))
"""By network id: RouterInterface6 of each, in the order of their ids."""


def _ipv6_subnets(port_id: str, port: Port) -> Iterator[tuple[str, tuple[str, str]]]:
    if port.device_owner == ROUTER_INTERFACE:
        found = {fixed.subnet_id for fixed in port.fixed_ips if fixed.ip_address.version == 6}
        for subnet_id in sorted(found):
            yield port.device_id, (subnet_id, port_id)


_IPV6_SUBNETS = Collected("IPv6 subnets of a router", {PORTS: _ipv6_subnets})


def _prefixes(ask, router_id: str) -> tuple[IPv6Network, ...]:
    found = (ask(SUBNETS, subnet_id) for subnet_id, _ in ask(_IPV6_SUBNETS, router_id))
    return tuple(sorted({subnet.cidr for subnet in found if subnet is not None}))


SUBNETS_BY_ROUTER = Derived("prefixes that a router has addresses in", _prefixes, (_IPV6_SUBNETS, SUBNETS))
"""By router id: the IPv6 prefixes that it has an interface on, with served ports or without; sorted."""
