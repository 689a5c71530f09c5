# SPDX-License-Identifier: Apache-2.0
"""What security groups let through at each filtered port of this host, and the networks with such ports."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import NamedTuple

from fip64agent.plan.groups.objects import (
    NOTHING,
    Allowed,
    FilteredNetwork,
    FilteredPort,
    Part,
    RouterOnNetwork,
)
from fip64agent.plan.groups.products import MOST_PARTS, PRODUCT_NUMBERS
from fip64agent.plan.groups.rules import GROUPS_OF_PORT, OWN_RULES, PORT, Rules, unmatched
from fip64agent.plan.groups.translated import TRANSLATED_GROUPS, TRANSLATED_RULES, GroupOfRouter
from fip64agent.plan.inputs import DATAPATH, PORTS, SECURITY_GROUPS, SETTINGS
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.ports.routers import GATEWAYS_ON
from fip64agent.plan.ports.served import SERVED_NETWORKS, SERVED_PORTS
from fip64agent.plan.problems import ERROR, Problem
from fip64agent.topology.model import Port

Parts = tuple[tuple[Part, ...], tuple[Part, ...], tuple[Part, ...], tuple[Part, ...]]
"""Of egress IPv4, egress IPv6, ingress IPv4, ingress IPv6. A product with one clause lets everything
through."""


class GroupAtPorts(NamedTuple):
    """What a security group means to each port that has it. A rule more or less seldom changes that."""

    stateful: bool
    parts: Parts
    problems: tuple[str, ...]


def _parts(ask, products: tuple[Rules, ...] | None) -> Parts:
    parts: tuple[list[Part], ...] = ([], [], [], [])
    for rules in products or ():
        number = ask(PRODUCT_NUMBERS.number, rules.name)
        if number is not None:
            parts[2 * rules.ingress + (rules.version == 6)].append(Part(number, PORT, rules.clauses))
    return tuple(map(tuple, parts))


def _translated(ask, key: GroupOfRouter) -> Parts:
    return _parts(ask, ask(TRANSLATED_RULES, key))


_TRANSLATED_AT_PORTS = Derived("security group at a port with floating IPs", _translated,
                               (TRANSLATED_RULES, PRODUCT_NUMBERS.number))


def _at_ports(ask, group_id: str) -> GroupAtPorts | None:
    group = ask(SECURITY_GROUPS, group_id)
    if group is None:
        return None
    return GroupAtPorts(group.stateful, _parts(ask, ask(OWN_RULES, group_id)), tuple(
        f"rule {rule.id} of security group {group_id} lets nothing through: Open vSwitch knows no ports of "
        f"{protocol}" for rule in group.rules if (protocol := unmatched(rule)) is not None))


GROUPS_AT_PORTS = Derived("security group at a port", _at_ports,
                          (SECURITY_GROUPS, OWN_RULES, PRODUCT_NUMBERS.number))
"""By id of a group."""


def _allowed(parts: list[Part]) -> Allowed:
    if any(part.clauses == PORT for part in parts):
        return Allowed(everything=True)
    return Allowed(products=tuple(sorted(parts)[:MOST_PARTS])) if parts else NOTHING


def _sources4(port: Port) -> tuple[tuple[str, IPv4Network], ...]:
    found = {(port.mac_address, IPv4Network(fixed.ip_address)) for fixed in port.fixed_ips
             if fixed.ip_address.version == 4}
    found |= {(pair.mac_address or port.mac_address, pair.ip_address) for pair in port.allowed_address_pairs
              if pair.ip_address.version == 4}
    return tuple(sorted(found))


def _filter(ask, port_id: str, groups: tuple[str, ...]) -> tuple[FilteredPort, Problem | None]:
    served = ask(SERVED_PORTS, port_id)
    found: list[GroupAtPorts] = [ask(GROUPS_AT_PORTS, group) for group in groups]
    each = [group.parts for group in found]
    each += [ask(_TRANSLATED_AT_PORTS, key) for key in ask(TRANSLATED_GROUPS, port_id) or ()]
    parts = [[part for parts in each for part in parts[way]] for way in range(4)]
    problems = [problem for group in found for problem in group.problems]
    stateful, datapath = any(group.stateful for group in found), ask(DATAPATH, "")
    if stateful and datapath is not None and not datapath.conntrack:
        problems.append("nothing passes its security groups: the bridge's datapath has no conntrack")
    if max(map(len, parts)) > MOST_PARTS:
        problems.append(f"its security groups have more than {MOST_PARTS} different remotes")
    return (FilteredPort(port_id, served.network, served.ofport, stateful, *map(_allowed, parts),
                         _sources4(ask(PORTS, port_id)) if served.secured else None),
            Problem(ERROR, "; ".join(problems)) if problems else None)


FILTERS = Objects(FilteredPort.kind, _filter, each=GROUPS_OF_PORT, reads=(
    SERVED_PORTS, GROUPS_AT_PORTS, TRANSLATED_GROUPS, _TRANSLATED_AT_PORTS, DATAPATH, PORTS))


_NETWORK_IDS = Collected("networks with filtered ports", {
    SERVED_PORTS: lambda port_id, port: ((port.network_id, port_id),) if port.filtered else ()})


def _network(ask, network_id: str, port_ids: tuple[str, ...]) -> tuple[FilteredNetwork | None, None]:
    served = ask(SERVED_NETWORKS, network_id)
    routers = tuple(RouterOnNetwork(gateway.mac, gateway.router) for gateway in ask(GATEWAYS_ON, network_id))
    return FilteredNetwork(network_id, served.number, served.vlan, routers,
                           ask(SETTINGS, "").ports.conntrack_limit), None


FILTERED_NETWORKS = Objects(FilteredNetwork.kind, _network, each=_NETWORK_IDS,
                            reads=(SERVED_NETWORKS, GATEWAYS_ON, SETTINGS))
