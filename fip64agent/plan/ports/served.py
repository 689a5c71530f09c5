# SPDX-License-Identifier: Apache-2.0
"""Which ports the agent serves on this host, and the networks that they are on."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network

from fip64agent.plan.base.bindings import BINDINGS, Bindings, bound_twice, is_open, waiting_for
from fip64agent.plan.base.routers import PREFIXES
from fip64agent.plan.inputs import NETWORKS, PORTS, SECURITY_GROUPS, SETTINGS
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.numbers import number_space
from fip64agent.plan.ports.objects import AllowedPair, ServedNetwork, ServedPort
from fip64agent.plan.problems import ERROR, Problem
from fip64agent.topology.model import Port

OF_NEUTRON = "network:"
"""What device_owner begins with when a port is not a VM's, but a router's, a DHCP server's and so on."""
FIRST_NETWORK, LAST_NETWORK = 0x8000, 0xBFFF
"""Numbers of networks. They are conntrack zones, of which other systems use low ones: Neutron the VLAN IDs."""


def _has_ipv6(port: Port) -> bool:
    return any(fixed.ip_address.version == 6 for fixed in port.fixed_ips)


def _pairs(port: Port) -> Iterator[AllowedPair]:
    for pair in port.allowed_address_pairs:
        if pair.ip_address.version == 6:
            yield AllowedPair(pair.ip_address, pair.mac_address or port.mac_address)


def _is_served(ask, port: Port) -> bool:
    if port.device_owner.startswith(OF_NEUTRON):
        return False
    return _has_ipv6(port) or _is_filtered(ask, port)


def _is_filtered(ask, port: Port) -> bool:
    return (ask(SETTINGS, "").ports.security_groups and port.port_security_enabled
            and any(ask(SECURITY_GROUPS, group) is not None for group in port.security_groups))


def _bound(ask, port_id: str, bindings: Bindings) -> Port | Problem | None:
    """Return the port if it is one to serve, or why its interface cannot be used yet."""
    port = ask(PORTS, port_id)
    if port is None or not ask(SETTINGS, "").ports.enabled or not _is_served(ask, port):
        return None
    return port if is_open(bindings[0]) else waiting_for(port_id, bindings[0])


_BOUND = Derived("bound ports to serve", _bound, (PORTS, SETTINGS, SECURITY_GROUPS), each=BINDINGS)
_NETWORK_IDS = Collected("ids of served networks", {
    _BOUND: lambda port_id, port: ((("", port.network_id)),) if isinstance(port, Port) else ()})
NETWORK_NUMBERS = number_space("networks", _NETWORK_IDS, lambda ask: (FIRST_NETWORK, LAST_NETWORK))


# The ports

def _port(ask, port_id: str, port: Port | Problem) -> tuple[ServedPort | None, Problem | None]:
    if isinstance(port, Problem):
        return None, port
    network = ask(NETWORK_NUMBERS.number, port.network_id)
    if network is None:
        return None, Problem(ERROR, f"no number is free for network {port.network_id}: this host has ports of "
                                    f"{LAST_NETWORK - FIRST_NETWORK + 1} others")
    bindings = ask(BINDINGS, port_id)
    addresses = {fixed.ip_address for fixed in port.fixed_ips if fixed.ip_address.version == 6}
    return ServedPort(
        port_id=port_id, network_id=port.network_id, network=network, ofport=bindings[0].ofport,
        mac=port.mac_address, addresses=tuple(sorted(addresses)),
        pairs=tuple(sorted(_pairs(port), key=lambda pair: (pair.prefix, pair.mac))),
        secured=port.port_security_enabled, filtered=_is_filtered(ask, port),
        vlan=bindings[0].tag), bound_twice(port_id, bindings)


SERVED_PORTS = Objects(ServedPort.kind, _port, each=_BOUND,
                       reads=(NETWORK_NUMBERS.number, BINDINGS, SETTINGS, SECURITY_GROUPS))
SERVED_ON = Collected("served ports of a network", {
    SERVED_PORTS: lambda port_id, port: ((port.network_id, (port.ofport, port.vlan or 0)),)})
"""By network id: (OpenFlow port, access VLAN) of each, sorted; 0: it has none."""


# The networks

def _network(ask, network_id: str, ports: tuple[tuple[int, int], ...]
             ) -> tuple[ServedNetwork | None, None]:
    network = ask(NETWORKS, network_id)
    prefixes: tuple[IPv6Network, ...] = ask(PREFIXES, network_id)
    vlans = {vlan for _, vlan in ports}
    return ServedNetwork(network_id, ask(NETWORK_NUMBERS.number, network_id),
                         tuple(ofport for ofport, _ in ports), prefixes,
                         network.mtu if network is not None else 1500,
                         (vlans.pop() or None) if len(vlans) == 1 else None), None


SERVED_NETWORKS = Objects(ServedNetwork.kind, _network, each=SERVED_ON,
                          reads=(NETWORKS, PREFIXES, NETWORK_NUMBERS.number))
