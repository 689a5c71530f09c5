# SPDX-License-Identifier: Apache-2.0
"""The topology as seen from its routers: who is connected to what."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fip64agent.plan.inputs import Settings
from fip64agent.plan.pools import Share, share
from fip64agent.topology.model import ROUTER_GATEWAY, ROUTER_INTERFACE, Port, Topology


@dataclasses.dataclass(frozen=True, slots=True)
class RouterInterface:
    """A router's IPv4 address on a tenant's subnet: the gateway of the VMs there."""

    router_id: str
    port_id: str
    address: IPv4Address
    text: str
    """The address in the form that keys have: formatting it for each VM port takes time."""
    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class Routers:
    """What router ports, networks and subnets say together. References that lead nowhere are left out."""

    interfaces: Mapping[str, Mapping[str, RouterInterface]]
    """By subnet id, then router id. With several on one subnet: the subnet's gateway_ip, else the
    lowest port id."""
    networks: Mapping[str, frozenset[str]]
    """By router id: ids of the networks that it has a port on."""
    prefixes: Mapping[str, tuple[IPv6Network, ...]]
    """By network id: prefixes of its IPv6 subnets, sorted."""
    in_use: Mapping[tuple[str, IPv6Address], str]
    """By (network id, address): what else than a floating IP has the address."""
    pools: Mapping[str, IPv4Network]
    """By router id."""
    pool_faults: Mapping[str, str]
    """By router id: why its NAT64 pool cannot be used."""
    notices: Mapping[str, tuple[str, ...]]
    """By router id: what its NAT64 pool takes from others although it can be used."""
    shares: Mapping[str, Share]
    """By router id: this host's part of its pool."""
    mtus: Mapping[str, int]
    """By router id: the smallest MTU of the networks with its VMs."""

    @classmethod
    def of(cls, topology: Topology, settings: Settings) -> Routers:
        router_ports = sorted((port_id, port) for port_id, port in topology.ports.items()
                              if port.is_router_port and port.device_id in topology.routers)
        networks = defaultdict(set)
        for _, port in router_ports:
            networks[port.device_id].add(port.network_id)
        interfaces = _interfaces(topology, router_ports)
        pools = {router_id: router.nat64_pool or settings.nat64_pool
                 for router_id, router in topology.routers.items()}
        shares, faults = _shares(topology, pools, settings)
        return cls(interfaces,
                   {router_id: frozenset(ids) for router_id, ids in networks.items()},
                   _prefixes(topology), _in_use(topology, router_ports),
                   pools, faults | _pool_faults(topology, interfaces, pools),
                   _notices(topology, interfaces, router_ports, pools), shares,
                   _mtus(topology, interfaces))

    def faults(self, router_id: str) -> tuple[str, ...]:
        """Return what somebody should mend about a router's NAT64 pool."""
        if router_id in self.pool_faults:
            return (self.pool_faults[router_id],)
        return self.notices.get(router_id, ()) + self.shares[router_id].faults


def _interfaces(topology: Topology, router_ports: list[tuple[str, Port]]):
    interfaces: dict[str, dict[str, RouterInterface]] = defaultdict(dict)
    for port_id, port in router_ports:
        if port.device_owner != ROUTER_INTERFACE:
            continue
        for fixed in port.fixed_ips:
            subnet = topology.subnets.get(fixed.subnet_id)
            if fixed.ip_address.version != 4 or subnet is None:
                continue
            on_subnet = interfaces[fixed.subnet_id]
            if port.device_id not in on_subnet or fixed.ip_address == subnet.gateway_ip:
                on_subnet[port.device_id] = RouterInterface(port.device_id, port_id, fixed.ip_address,
                                                            str(fixed.ip_address), port.mac_address)
    return dict(interfaces)


def _prefixes(topology: Topology):
    prefixes = defaultdict(set)
    for subnet in topology.subnets.values():
        if subnet.cidr.version == 6:
            prefixes[subnet.network_id].add(subnet.cidr)
    return {network_id: tuple(sorted(cidrs)) for network_id, cidrs in prefixes.items()}


def _in_use(topology: Topology, router_ports: list[tuple[str, Port]]):
    in_use = {}
    for subnet_id, subnet in sorted(topology.subnets.items()):
        if subnet.gateway_ip is not None and subnet.gateway_ip.version == 6:
            in_use.setdefault((subnet.network_id, subnet.gateway_ip), f"the gateway of subnet {subnet_id}")
    for port_id, port in router_ports:
        for fixed in port.fixed_ips:
            if fixed.ip_address.version == 6:
                in_use[port.network_id, fixed.ip_address] = f"router port {port_id}"
    return in_use


def _shares(topology: Topology, pools: Mapping[str, IPv4Network],
            settings: Settings) -> tuple[dict[str, Share], dict[str, str]]:
    """Return this host's shares of the pools, and why some routers have none, by router id."""
    shares: dict[str, Share] = {}
    faults: dict[str, str] = {}
    for router_id, router in topology.routers.items():
        found = share(router_id, pools[router_id], router.nat64_bindings, settings)
        if isinstance(found, Share):
            shares[router_id] = found
        else:
            faults[router_id] = found
    return shares, faults


def _mtus(topology: Topology, interfaces: Mapping[str, Mapping[str, RouterInterface]]) -> dict[str, int]:
    mtus: dict[str, int] = {}
    for subnet_id, on_subnet in interfaces.items():
        network = topology.networks.get(topology.subnets[subnet_id].network_id)
        for router_id in on_subnet if network is not None else ():
            mtus[router_id] = min(mtus.get(router_id, network.mtu), network.mtu)
    return mtus


def _pool_faults(topology: Topology, interfaces, pools: Mapping[str, IPv4Network]) -> dict[str, str]:
    """Find the pools that overlap an IPv4 subnet of their tenant: its VMs could not tell them apart."""
    faults: dict[str, str] = {}
    for subnet_id, on_subnet in sorted(interfaces.items()):
        cidr = topology.subnets[subnet_id].cidr
        for router_id in on_subnet:
            if cidr.version == 4 and router_id not in faults and pools[router_id].overlaps(cidr):
                faults[router_id] = (f"NAT64 pool {pools[router_id]} of router {router_id} overlaps "
                                     f"its subnet {subnet_id} ({cidr})")
    return faults


def _notices(topology: Topology, interfaces, router_ports: list[tuple[str, Port]],
             pools: Mapping[str, IPv4Network]) -> dict[str, tuple[str, ...]]:
    """Find what else leads to addresses of the pools: the default one is shared address space (RFC 6598).

    VMs with floating IPs do not reach it any more, as what they send to the pool is translated. A default
    route leads elsewhere only where nothing more specific does.
    """
    notices: dict[str, list[str]] = defaultdict(list)

    def note(router_id: str, what: str, suffers: str) -> None:
        notices[router_id].append(f"NAT64 pool {pools[router_id]} of router {router_id} overlaps {what}: "
                                  f"{suffers}; give the router another nat64_pool")

    def overlaps(router_id: str, prefix: IPv4Network | IPv6Network) -> bool:
        return prefix.version == 4 and prefix.prefixlen > 0 and pools[router_id].overlaps(prefix)

    for router_id, router in sorted(topology.routers.items()):
        for route in sorted(router.routes, key=str):
            if overlaps(router_id, route.destination):
                note(router_id, f"its route to {route.destination} (next hop {route.nexthop})",
                     "VMs with floating IPs do not reach what is there")
    for port_id, port in router_ports:
        for fixed in port.fixed_ips if port.device_owner == ROUTER_GATEWAY else ():
            subnet = topology.subnets.get(fixed.subnet_id)
            if subnet is not None and overlaps(port.device_id, subnet.cidr):
                note(port.device_id, f"subnet {subnet.id} ({subnet.cidr}) of its gateway port {port_id}",
                     "VMs with floating IPs do not reach what is there")
    for subnet_id, on_subnet in sorted(interfaces.items()):
        own = {str(interface.address) for interface in on_subnet.values()}
        for route in sorted(topology.subnets[subnet_id].host_routes, key=str):
            for router_id in sorted(on_subnet) if str(route.nexthop) not in own else ():
                if overlaps(router_id, route.destination):
                    note(router_id, f"host route {route.destination} (next hop {route.nexthop}) of its "
                                    f"subnet {subnet_id}",
                         f"VMs there send their answers to clients to {route.nexthop}")
    return {router_id: tuple(found) for router_id, found in notices.items()}
