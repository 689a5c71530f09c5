# SPDX-License-Identifier: Apache-2.0
"""The ports that the agent serves on this host, and the networks that they are on."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network

from fip64agent.plan.base.bindings import BINDINGS, bound_twice
from fip64agent.plan.base.host import HOST
from fip64agent.plan.base.routers import PREFIXES
from fip64agent.plan.inputs import GUARD_ALL, GUARD_SECURED, NETWORKS, SECURITY_GROUPS, SETTINGS
from fip64agent.plan.nodes import Collected, Objects
from fip64agent.plan.ports.bound import BOUND, FIRST_NETWORK, LAST_NETWORK, NETWORK_NUMBERS, is_filtered
from fip64agent.plan.ports.objects import AllowedPair, AllServedPorts, ServedNetwork, ServedPort
from fip64agent.plan.ports.routers import GATEWAYS_ON
from fip64agent.plan.problems import ERROR, Problem
from fip64agent.topology.model import Port


def _pairs(port: Port) -> Iterator[AllowedPair]:
    for pair in port.allowed_address_pairs:
        if pair.ip_address.version == 6:
            yield AllowedPair(pair.ip_address, pair.mac_address or port.mac_address)


def _is_guarded(guard: str, port: Port) -> bool:
    return guard == GUARD_ALL or (guard == GUARD_SECURED and port.port_security_enabled)


# The ports

def _port(ask, port_id: str, port: Port | Problem) -> tuple[ServedPort | None, Problem | None]:
    if isinstance(port, Problem):
        return None, port
    network = ask(NETWORK_NUMBERS.number, port.network_id)
    if network is None:
        return None, Problem(ERROR, f"no number is free for network {port.network_id}: this host has ports "
                                    f"of {LAST_NETWORK - FIRST_NETWORK + 1} others")
    bindings, options = ask(BINDINGS, port_id), ask(SETTINGS, "").ports
    addresses = {fixed.ip_address for fixed in port.fixed_ips if fixed.ip_address.version == 6}
    return ServedPort(
        port_id=port_id, network_id=port.network_id, network=network, ofport=bindings[0].ofport,
        mac=port.mac_address, addresses=tuple(sorted(addresses)),
        pairs=tuple(sorted(_pairs(port), key=lambda pair: (pair.prefix, pair.mac))),
        secured=options.port_security and port.port_security_enabled, filtered=is_filtered(ask, port),
        gateways=ask(GATEWAYS_ON, port.network_id), vlan=bindings[0].tag, trunk=bindings[0].trunk,
        ra_guard=_is_guarded(options.ra_guard, port),
        dhcpv6_guard=_is_guarded(options.dhcpv6_guard, port)), bound_twice(port_id, bindings)


SERVED_PORTS = Objects(ServedPort.kind, _port, each=BOUND,
                       reads=(NETWORK_NUMBERS.number, BINDINGS, SETTINGS, SECURITY_GROUPS, GATEWAYS_ON))
SERVED_ON = Collected("served ports of a network", {
    SERVED_PORTS: lambda port_id, port: ((port.network_id, (port.ofport, port.vlan or 0)),)})
"""By network id: (OpenFlow port, access VLAN) of each, sorted; 0: it has none."""


def _shared(port_id: str, port: ServedPort) -> Iterator[tuple[str, tuple[IPv6Network, str]]]:
    for prefix in dict.fromkeys(pair.prefix for pair in port.pairs):
        if prefix.prefixlen < prefix.max_prefixlen:
            yield port.network_id, (prefix, port_id)


_SHARED = Collected("allowed prefixes of a network", {SERVED_PORTS: _shared})
"""By network id: (prefix, id of a port that may use its addresses), sorted."""


# The networks

def _network(ask, network_id: str, ports: tuple[tuple[int, int], ...]
             ) -> tuple[ServedNetwork | None, None]:
    network = ask(NETWORKS, network_id)
    prefixes: tuple[IPv6Network, ...] = ask(PREFIXES, network_id)
    vlans = {vlan for _, vlan in ports}
    return ServedNetwork(network_id, ask(NETWORK_NUMBERS.number, network_id),
                         tuple(ofport for ofport, _ in ports), prefixes,
                         network.mtu if network is not None else 1500,
                         (vlans.pop() or None) if len(vlans) == 1 else None,
                         tuple(dict.fromkeys(prefix for prefix, _ in ask(_SHARED, network_id)))), None


SERVED_NETWORKS = Objects(ServedNetwork.kind, _network, each=SERVED_ON,
                          reads=(NETWORKS, PREFIXES, NETWORK_NUMBERS.number, _SHARED))
_NETWORK_IDS = Collected("ids of networks with served ports", {
    SERVED_NETWORKS: lambda network_id, network: (("", network_id),)})


def _all_ports(ask, key: str, _ids) -> tuple[AllServedPorts, None]:
    return AllServedPorts(alone=ask(HOST, key) is None), None


ALL_PORTS = Objects(AllServedPorts.kind, _all_ports, each=_NETWORK_IDS, reads=(HOST,))
"""Under the key "", as long as there is a served port."""
