# SPDX-License-Identifier: Apache-2.0
"""Which floating IPs this host serves.

The topology holds only sound ones (fip64agent.topology.rules), so all that is left to decide is what this
host alone can know. A topology made by hand that refers to nothing costs what refers to it: that is not in
the plan, without a reason.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, insort
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from fip64agent.plan.base.bindings import BINDINGS, bound_twice, is_open, waiting_for
from fip64agent.plan.base.objects import Uplink
from fip64agent.plan.base.routers import INTERFACES_ON_SUBNET, NETWORKS_OF_ROUTER, PREFIXES, RouterInterface
from fip64agent.plan.base.uplinks import ALL_UPLINKS, SERVING, UPLINKS
from fip64agent.plan.fip64.pools import POOLS
from fip64agent.plan.inputs import FLOATINGIPS, PORTS, Interface
from fip64agent.plan.nodes import Collected, Derived
from fip64agent.plan.ports.served import SERVED_PORTS
from fip64agent.plan.problems import ERROR, PENDING, Problem
from fip64agent.topology.model import FloatingIP

Map = tuple[IPv4Address, IPv6Address]
"""(fixed IPv4, floating IPv6)"""


# What floating IPs have in common

@dataclasses.dataclass(frozen=True, slots=True)
class VmPort:
    """What the floating IPs of a VM port need to know of it."""

    mac: str
    network_id: str
    gateways: Mapping[int, Mapping[str, RouterInterface]]
    """By fixed IPv4 address, as a number: the routers' interfaces on its subnet, by router id."""
    interface: Interface | None
    """What carries it here; None when nothing does, or OVS has not opened that."""
    problem: Problem | None
    """Why there is no interface, or what somebody should look at although there is one."""
    filtered_network: int | None
    """Number of its network, if it has security groups."""


def _vm_port(ask, port_id: str) -> VmPort | None:
    port = ask(PORTS, port_id)
    if port is None:
        return None
    numbers: dict[str, list[int]] = {}
    for fixed in port.fixed_ips:
        if fixed.ip_address.version == 4:
            numbers.setdefault(fixed.subnet_id, []).append(int(fixed.ip_address))
    gateways: dict[int, Mapping[str, RouterInterface]] = {}
    for subnet_id in sorted(numbers, reverse=True):  # of two with the same address the lowest id counts
        gateways.update(dict.fromkeys(numbers[subnet_id], ask(INTERFACES_ON_SUBNET, subnet_id)))
    bindings = ask(BINDINGS, port_id)
    if not bindings:
        interface, problem = None, Problem(PENDING, f"port {port_id} is not bound on this host")
    elif not is_open(bindings[0]):
        interface, problem = None, waiting_for(port_id, bindings[0])
    else:
        interface, problem = bindings[0], bound_twice(port_id, bindings)
    served = ask(SERVED_PORTS, port_id) if port.security_groups else None
    return VmPort(port.mac_address, port.network_id, gateways, interface, problem,
                  served.network if served is not None and served.filtered else None)


_VM_PORTS = Derived("VM ports", _vm_port, (PORTS, INTERFACES_ON_SUBNET, BINDINGS, SERVED_PORTS))


def _uplink_addresses(ask, network_id: str) -> Mapping[int, str]:
    prefixes = ask(PREFIXES, network_id)
    return {int(address.ip): port_id for port_id in ask(ALL_UPLINKS, "")
            for address in ask(UPLINKS, port_id).addresses
            if any(address.ip in prefix for prefix in prefixes)}


_UPLINK_ADDRESSES = Derived("uplinks' addresses within a network", _uplink_addresses,
                            (PREFIXES, ALL_UPLINKS, UPLINKS))
"""By network id: port ids of the uplinks here, by those of their addresses, as numbers, that are in one of
the network's prefixes. Networks may have addresses in common."""


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """What a router's floating IPs of one network have in common."""

    uplink: Uplink | None
    """What serves the network here."""
    fault: Problem | None
    """What somebody must repair."""
    taken: Mapping[int, str]
    """See _UPLINK_ADDRESSES."""


def _connection(ask, key: tuple[str | None, str]) -> Connection | None:
    router_id, network_id = key
    pool = ask(POOLS, router_id)
    if pool is None:
        return None
    uplink, fault = ask(SERVING, network_id), None
    if pool.fault:
        fault = Problem(ERROR, pool.fault)
    elif (uplink is not None and uplink.router_id != router_id
            and network_id not in ask(NETWORKS_OF_ROUTER, router_id)):
        fault = Problem(ERROR, f"router {router_id} is not connected to the floating network {network_id}")
    return Connection(uplink, fault, ask(_UPLINK_ADDRESSES, network_id))


_CONNECTIONS = Derived("connections of routers to networks", _connection,
                       (POOLS, SERVING, NETWORKS_OF_ROUTER, _UPLINK_ADDRESSES))


# The floating IPs

class Hosted(NamedTuple):
    """A floating IP that this host can serve: all that may be missing is a number for the tenant."""

    fip: FloatingIP
    vm: VmPort
    gateway: RouterInterface
    """The tenant router's interface on the subnet of the fixed IP."""
    connection: Connection
    """It has an uplink."""


def _hosted(ask, fip_id: str, fip: FloatingIP) -> Hosted | Problem | None:
    """Decide whether this host can serve a floating IP.

    Faults that somebody must repair are told before what is being waited for. One that is not
    associated with a port is nobody's fault and waits for nothing on this host, so it is no problem
    either: its state is Neutron's "down".
    """
    if fip.port_id is None or fip.fixed_ip_address is None:
        return None
    connection = ask(_CONNECTIONS, (fip.router_id, fip.floating_network_id))
    vm = ask(_VM_PORTS, fip.port_id)
    if connection is None or vm is None:
        return None
    gateway = vm.gateways.get(int(fip.fixed_ip_address), _NO_GATEWAYS).get(fip.router_id)
    if gateway is None:
        return None
    if connection.taken and (holder := connection.taken.get(int(fip.floating_ip_address))) is not None:
        return Problem(ERROR, f"floating address {fip.floating_ip_address} is the address of uplink {holder}")
    if connection.fault is not None:
        return connection.fault
    if vm.interface is None:
        return vm.problem
    if connection.uplink is None:
        return Problem(PENDING, "no uplink on this host serves the floating network "
                                f"{fip.floating_network_id}")
    return Hosted(fip, vm, gateway, connection)


_NO_GATEWAYS: Mapping[str, RouterInterface] = {}
HOSTED = Derived("floating IPs of this host", _hosted, each=FLOATINGIPS, reads=(_CONNECTIONS, _VM_PORTS))
"""By floating IP id: Hosted, or why it is not."""


# What a tenant collects of its floating IPs

@dataclasses.dataclass(frozen=True, slots=True)
class Members:
    """The floating IPs of a tenant on this host."""

    maps: tuple[Map, ...]
    """Sorted."""
    uplinks: Mapping[str, int]
    """By port id of the uplinks that they use: how many do."""


def _member(fip_id: str, hosted: Hosted | Problem) -> tuple[tuple[str, tuple[Map, str]], ...]:
    if type(hosted) is not Hosted:
        return ()
    fip = hosted.fip
    return (fip.router_id, ((fip.fixed_ip_address, fip.floating_ip_address),
                            hosted.connection.uplink.port_id)),


def _order(pair: Map) -> tuple[int, int]:
    return int(pair[0]), int(pair[1])  # comparing integers is much faster than comparing addresses


def _members(members: Members | None, gone: list[tuple[Map, str]],
             come: list[tuple[Map, str]]) -> Members | None:
    maps = list(members.maps) if members else []
    uplinks = dict(members.uplinks) if members else {}
    for _, uplink_id in gone:
        uplinks[uplink_id] -= 1
    for _, uplink_id in come:
        uplinks[uplink_id] = uplinks.get(uplink_id, 0) + 1
    for pair, _ in gone:
        del maps[bisect_left(maps, _order(pair), key=_order)]
    if len(come) > 8:
        maps = sorted([*maps, *(pair for pair, _ in come)], key=_order)
    else:
        for pair, _ in come:
            insort(maps, pair, key=_order)
    if not maps:
        return None
    return Members(tuple(maps), {name: number for name, number in uplinks.items() if number})


MEMBERS = Collected("members of a tenant", {HOSTED: _member}, _members, empty=None)
"""By router id: Members."""


def _claimed_router(fip_id: str, fip: FloatingIP) -> tuple[tuple[str | None, None], ...]:
    return ((fip.router_id, None),) if fip.port_id is not None else ()


def _count(number: int | None, gone: list, come: list) -> int | None:
    return (number or 0) + len(come) - len(gone) or None


CLAIMED_ROUTERS = Collected("routers with floating IPs", {FLOATINGIPS: _claimed_router}, _count, empty=0)
"""By router id: how many floating IPs lead to a fixed IP of it, here or elsewhere."""
