# SPDX-License-Identifier: Apache-2.0
"""The topology as seen from its routers: who is connected to what. References to nothing are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from fip64agent.plan.inputs import NETWORKS, PORTS, ROUTERS, SUBNETS
from fip64agent.plan.nodes import Collected, Derived
from fip64agent.topology.model import ROUTER_GATEWAY, ROUTER_INTERFACE, Port, Subnet


@dataclasses.dataclass(frozen=True, slots=True)
class RouterInterface:
    """A router's IPv4 address on a tenant's subnet: the gateway of the VMs there."""

    router_id: str
    port_id: str
    address: IPv4Address
    text: str
    """The address in the form that keys have: formatting it for each VM port takes time."""
    mac: str


def _router_ports(port_id: str, port: Port) -> Iterator[tuple[str, str]]:
    if port.is_router_port:
        yield port.device_id, port_id


def _ports_on_subnets(port_id: str, port: Port) -> Iterator[tuple[str, str]]:
    if port.device_owner == ROUTER_INTERFACE:
        subnets = {fixed.subnet_id for fixed in port.fixed_ips if fixed.ip_address.version == 4}
        for subnet_id in sorted(subnets):
            yield subnet_id, port_id


def _subnets_of_routers(port_id: str, port: Port) -> Iterator[tuple[str, tuple[str, str]]]:
    for subnet_id, _ in _ports_on_subnets(port_id, port):
        yield port.device_id, (subnet_id, port_id)


def _gateway_ports(port_id: str, port: Port) -> Iterator[tuple[str, str]]:
    if port.device_owner == ROUTER_GATEWAY:
        yield port.device_id, port_id


ROUTER_PORTS = Collected("router ports", {PORTS: _router_ports})
"""By router id, existing or not: ids of its ports."""
GATEWAY_PORTS = Collected("gateway ports", {PORTS: _gateway_ports})
"""By router id: ids of its ports on external networks."""
_PORTS_ON_SUBNET = Collected("router ports on a subnet", {PORTS: _ports_on_subnets})
_SUBNETS_OF_ROUTER = Collected("subnets of a router", {PORTS: _subnets_of_routers})
_IPV6_SUBNETS = Collected("IPv6 subnets", {
    SUBNETS: lambda subnet_id, subnet: ((subnet.network_id, subnet_id),) if subnet.cidr.version == 6 else ()})


def _networks(ask, router_id: str) -> frozenset[str]:
    if ask(ROUTERS, router_id) is None:
        return frozenset()
    return frozenset(ask(PORTS, port_id).network_id for port_id in ask(ROUTER_PORTS, router_id))


NETWORKS_OF_ROUTER = Derived("networks of a router", _networks, (ROUTERS, ROUTER_PORTS, PORTS))
"""By router id: ids of the networks that it has a port on."""


def _prefixes(ask, network_id: str) -> tuple[IPv6Network, ...]:
    return tuple(sorted({ask(SUBNETS, subnet_id).cidr for subnet_id in ask(_IPV6_SUBNETS, network_id)}))


PREFIXES = Derived("prefixes", _prefixes, (SUBNETS, _IPV6_SUBNETS))
"""By network id: prefixes of its IPv6 subnets, sorted."""


def _interfaces(ask, subnet_id: str) -> Mapping[str, RouterInterface]:
    subnet: Subnet | None = ask(SUBNETS, subnet_id)
    found: dict[str, RouterInterface] = {}
    for port_id in ask(_PORTS_ON_SUBNET, subnet_id) if subnet is not None else ():
        port = ask(PORTS, port_id)
        for fixed in port.fixed_ips:
            if fixed.subnet_id == subnet_id and fixed.ip_address.version == 4 and (
                    port.device_id not in found or fixed.ip_address == subnet.gateway_ip):
                found[port.device_id] = RouterInterface(port.device_id, port_id, fixed.ip_address,
                                                        str(fixed.ip_address), port.mac_address)
    return found


INTERFACES_ON_SUBNET = Derived("router interfaces on a subnet", _interfaces,
                               (SUBNETS, _PORTS_ON_SUBNET, PORTS))
"""By subnet id: RouterInterface by router id. With several of one router: the subnet's gateway_ip, else that
of the lowest port id."""


def _subnets(ask, router_id: str) -> tuple[str, ...]:
    """Return the ids of the subnets that a router, which must exist, has an IPv4 address on; sorted."""
    named = dict.fromkeys(subnet_id for subnet_id, _ in ask(_SUBNETS_OF_ROUTER, router_id))
    return tuple(subnet_id for subnet_id in named if ask(SUBNETS, subnet_id) is not None)


SUBNETS_OF_ROUTER = Derived("existing subnets of a router", _subnets, (_SUBNETS_OF_ROUTER, SUBNETS))
"""By router id: ids of the subnets that it has an IPv4 address on, sorted."""


def _mtu(ask, router_id: str) -> int:
    networks = (ask(NETWORKS, ask(SUBNETS, subnet_id).network_id)
                for subnet_id in ask(SUBNETS_OF_ROUTER, router_id))
    return min((network.mtu for network in networks if network is not None), default=1500)


MTU_OF_ROUTER = Derived("MTU towards a router's VMs", _mtu, (SUBNETS_OF_ROUTER, SUBNETS, NETWORKS))
"""By router id: the smallest MTU of the networks with its VMs, in bytes."""


def overlaps(pool: IPv4Network, prefix: IPv4Network | IPv6Network) -> bool:
    """Return whether a pool has addresses of an IPv4 prefix. A default route takes nothing from anybody."""
    return prefix.version == 4 and prefix.prefixlen > 0 and pool.overlaps(prefix)
