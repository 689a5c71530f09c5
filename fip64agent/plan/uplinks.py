# SPDX-License-Identifier: Apache-2.0
"""Uplinks: the router ports with IPv6 addresses that are bound here, and the networks they serve."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, IPv6Interface, IPv6Network, collapse_addresses

from fip64agent.net.special import reserved
from fip64agent.plan import allocate
from fip64agent.plan.bindings import Bindings, bound_twice, is_open, open_ofport, waiting_for
from fip64agent.plan.desired import ERROR, Problem, Uplink
from fip64agent.plan.inputs import Inputs, Interface
from fip64agent.plan.routers import Routers
from fip64agent.topology.model import Port, Route, Subnet, Topology

SMALLEST_MTU = 1280
"""RFC 8200, section 5. Linux takes no IPv6 address on a link with less."""

_DEFAULT = IPv6Network("::/0")


@dataclasses.dataclass(frozen=True, slots=True)
class Uplinks:
    uplinks: Mapping[str, Uplink]
    """By port id."""
    serving: Mapping[str, str]
    """By network id: the port id of the uplink that its floating IPs use."""
    addresses: Mapping[int, str]
    """By address of an uplink, as a number: its port id."""
    problems: Mapping[tuple[str, str], Problem]
    """An uplink can be in the plan and have a problem too: it works, but somebody should act."""

    def guarded(self) -> tuple[tuple[IPv6Network, ...], tuple[str, ...]]:
        """Return the addresses, as prefixes, and the MACs that belong to uplinks, gateways, floating IPs.

        A prefix that is everything belongs to nobody: it would take all IPv6 from the VMs.
        """
        prefixes: set[IPv6Network] = set()
        for uplink in self.uplinks.values():
            prefixes.update(uplink.onlink, uplink.routed,
                            (IPv6Network(nexthop) for _, nexthop in uplink.routes))
        return (tuple(prefix for prefix in collapse_addresses(prefixes) if prefix.prefixlen),
                tuple(sorted({uplink.mac for uplink in self.uplinks.values()})))


Bonds = Mapping[str, tuple[Interface, ...]]
"""By name: members that OVS has opened, the active one first, then by OpenFlow port."""


def _bonds(interfaces: Iterable[Interface]) -> Bonds:
    bonds: dict[str, list[Interface]] = {}
    for interface in interfaces:
        if interface.bond and is_open(interface):
            bonds.setdefault(interface.bond, []).append(interface)
    return {name: tuple(sorted(members, key=lambda member: (not member.active, member.ofport)))
            for name, members in bonds.items()}


def _in_use(bindings: Bindings, bonds: Bonds) -> Interface:
    """Return the interface that carries the uplink; of a bond another one, when OVS cannot open that."""
    first = bindings[0]
    others = bonds.get(first.bond, ())
    return others[0] if others and not is_open(first) else first


def find_uplinks(inputs: Inputs, bound: Mapping[str, Bindings], routers: Routers) -> Uplinks:
    """Plan the uplinks of this host.

    A bound router port without an IPv6 address is simply no uplink. One whose interface is not
    open, or whose references lead nowhere, is left out with the reason.
    """
    topology = inputs.topology
    bonds = _bonds(inputs.interfaces.values())
    problems: dict[tuple[str, str], Problem] = {}
    usable: dict[str, tuple[IPv6Interface, ...]] = {}
    for port_id in sorted(port_id for port_id in bound if port_id in topology.ports):
        port = topology.ports[port_id]
        if not port.is_router_port or all(fixed.ip_address.version != 6 for fixed in port.fixed_ips):
            continue
        found = _addresses(port_id, port, topology)
        if not isinstance(found, Problem) and not is_open(_in_use(bound[port_id], bonds)):
            found = waiting_for(port_id, bound[port_id][0])
        if isinstance(found, Problem):
            problems["uplink", port_id] = found
        else:
            usable[port_id] = found

    tables, without_table = allocate.allocate(usable, inputs.allocations.tables,
                                              allocate.FIRST_TABLE, allocate.LAST_TABLE)
    for port_id in without_table:
        del usable[port_id]
        problems["uplink", port_id] = Problem(
            ERROR, f"no routing table id between {allocate.FIRST_TABLE} and {allocate.LAST_TABLE} is "
                   f"free for uplink {port_id}")

    own, routed = _serving({port_id: topology.ports[port_id] for port_id in usable}, topology, routers)
    suffixes = allocate.uplink_suffixes(usable)
    uplinks = {}
    for port_id, addresses in usable.items():
        remote = {prefix for network_id, server in routed.items() if server == port_id
                  for prefix in routers.prefixes.get(network_id, ())}
        uplink, fault = _uplink(port_id, bound[port_id], addresses, tables[port_id], suffixes[port_id],
                                tuple(sorted(remote)), bonds, inputs, routers)
        uplinks[port_id] = uplink
        problem = bound_twice(port_id, bound[port_id]) or fault
        if problem is not None:
            problems["uplink", port_id] = problem
    holders = {int(address.ip): port_id for port_id, uplink in uplinks.items()
               for address in uplink.addresses}
    return Uplinks(uplinks, routed | own, holders, problems)


def _addresses(port_id: str, port: Port, topology: Topology) -> tuple[IPv6Interface, ...] | Problem:
    if port.network_id not in topology.networks:
        return Problem(ERROR, f"network {port.network_id} of router port {port_id} does not exist")
    if port.device_id not in topology.routers:
        return Problem(ERROR, f"router {port.device_id or '(no device_id)'} of router port {port_id} "
                              "does not exist")
    mtu = topology.networks[port.network_id].mtu
    if mtu < SMALLEST_MTU:
        return Problem(ERROR, f"network {port.network_id} of router port {port_id} has an MTU of {mtu}: IPv6 "
                              f"needs {SMALLEST_MTU} at least")
    addresses = set()
    for fixed in port.fixed_ips:
        if fixed.ip_address.version != 6:
            continue
        if kind := reserved(fixed.ip_address):
            return Problem(ERROR, f"address {fixed.ip_address} of router port {port_id} is {kind}, which no "
                                  "uplink can have")
        subnet = topology.subnets.get(fixed.subnet_id)
        if subnet is None:
            return Problem(ERROR, f"subnet {fixed.subnet_id} of router port {port_id}'s address "
                                  f"{fixed.ip_address} does not exist")
        if subnet.network_id != port.network_id:
            return Problem(ERROR, f"subnet {fixed.subnet_id} of router port {port_id}'s address "
                                  f"{fixed.ip_address} is not on the port's network {port.network_id}")
        if fixed.ip_address not in subnet.cidr:
            return Problem(ERROR, f"address {fixed.ip_address} of router port {port_id} is not in its "
                                  f"subnet {fixed.subnet_id} ({subnet.cidr})")
        addresses.add(IPv6Interface((fixed.ip_address, subnet.cidr.prefixlen)))
    return tuple(sorted(addresses))


def _serving(ports: Mapping[str, Port], topology: Topology,
             routers: Routers) -> tuple[dict[str, str], dict[str, str]]:
    """Choose one uplink for each network: one on it before one whose router leads to it, then the lowest id.

    Returns: (network id -> port id) for the uplinks' own networks, and for routed external ones.
    """
    own: dict[str, str] = {}
    for port_id, port in sorted(ports.items()):
        own.setdefault(port.network_id, port_id)
    routed: dict[str, str] = {}
    for port_id, port in sorted(ports.items()):
        for network_id in routers.networks.get(port.device_id, ()):
            network = topology.networks.get(network_id)
            if network is not None and network.external and network_id not in own:
                routed.setdefault(network_id, port_id)
    return own, routed


def _uplink(port_id: str, bindings: Bindings, addresses: tuple[IPv6Interface, ...], table: int,
            suffix: str, routed: tuple[IPv6Network, ...], bonds: Bonds, inputs: Inputs,
            routers: Routers) -> tuple[Uplink, Problem | None]:
    topology, settings = inputs.topology, inputs.settings
    interface = _in_use(bindings, bonds)
    port = topology.ports[port_id]
    # All IPv6 subnets of the network, not only those the port has an address in: they share one
    # link, and a floating IP from any of them is answered for here and must leave by this uplink.
    onlink = routers.prefixes[port.network_id]
    routes, problem = _routes(port_id, port, {address.ip for address in addresses}, onlink, topology)
    veth, nd_veth = f"ovs-{suffix}", f"ovs-nd-{suffix}"
    return Uplink(
        port_id=port_id, router_id=port.device_id, network_id=port.network_id,
        interface=interface.name, ofport=interface.ofport,
        veth=veth, veth_ofport=open_ofport(inputs.interfaces.get(veth)), peer=f"vpp-{suffix}",
        mac=port.mac_address, mtu=topology.networks[port.network_id].mtu,
        addresses=addresses, routes=routes, table=table, onlink=onlink, routed=routed,
        redirect=settings.redirect, nd_netns=allocate.nd_netns(settings.netns_prefix), nd_veth=nd_veth,
        nd_veth_ofport=open_ofport(inputs.interfaces.get(nd_veth)), nd_peer=f"nd-{suffix}",
        members=tuple(member.ofport for member in bonds.get(interface.bond, ()))), problem


def _routes(port_id: str, port: Port, own: set[IPv6Address], onlink: tuple[IPv6Network, ...],
            topology: Topology) -> tuple[tuple[tuple[IPv6Network, IPv6Address], ...], Problem | None]:
    """Collect the routes that leave by an uplink, one next hop for each destination.

    The more deliberate statement wins: the router's extra routes over a subnet's host_routes over
    its gateway_ip; among equals the lowest next hop. A next hop that is the uplink itself (a
    gateway_ip usually is, when the port is the subnet's gateway) makes no route, nor does a
    prefix that is on the link: it is reached there.
    """
    subnets = _own_subnets(port, topology)
    problem = None
    gateways = []
    for subnet in subnets:
        gateway = subnet.gateway_ip
        if gateway is None or gateway.version != 6 or gateway in own:
            continue
        if gateway.is_link_local or _within(gateway, onlink):
            gateways.append((_DEFAULT, gateway))
        else:
            problem = Problem(ERROR, f"gateway_ip {gateway} of subnet {subnet.id} is not on the network of "
                                     f"uplink {port_id}: no default route through it")
    host_routes = [route for subnet in subnets for route in _ipv6(subnet.host_routes, own)
                   if route[1].is_link_local or _within(route[1], onlink)]
    # A link-local next hop does not say which uplink it is on, so extra routes need a global one.
    extra = [route for route in _ipv6(topology.routers[port.device_id].routes, own)
             if _within(route[1], onlink)]
    routes: dict[IPv6Network, IPv6Address] = {}
    for group in (extra, host_routes, gateways):
        for destination, nexthop in sorted(group):
            if destination not in onlink:
                routes.setdefault(destination, nexthop)
    return tuple(sorted(routes.items())), problem


def _own_subnets(port: Port, topology: Topology) -> list[Subnet]:
    ids = {fixed.subnet_id for fixed in port.fixed_ips if fixed.ip_address.version == 6}
    return [topology.subnets[subnet_id] for subnet_id in sorted(ids)]


def _ipv6(routes: Iterable[Route], own: set[IPv6Address]) -> list[tuple[IPv6Network, IPv6Address]]:
    return [(route.destination, route.nexthop) for route in routes
            if route.destination.version == 6 and route.nexthop.version == 6 and route.nexthop not in own]


def _within(address: IPv6Address, prefixes: Iterable[IPv6Network]) -> bool:
    return any(address in prefix for prefix in prefixes)
