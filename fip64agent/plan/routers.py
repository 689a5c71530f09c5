# SPDX-License-Identifier: Apache-2.0
"""The topology as seen from its routers: who is connected to what."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fip64agent.plan.inputs import Settings
from fip64agent.plan.pools import Share, share
from fip64agent.topology.model import ROUTER_INTERFACE, Port, Topology


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
                   pools, faults | _pool_faults(topology, interfaces, pools), shares,
                   _mtus(topology, interfaces))

    def fault(self, router_id: str) -> str:
        """Return what somebody should mend about a router's NAT64 pool: "" when nothing."""
        return self.pool_faults.get(router_id, "") or self.shares[router_id].fault


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
