# SPDX-License-Identifier: Apache-2.0
"""What security groups let through at each filtered port of this host, and the networks with such ports."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.groups.objects import (
    NOTHING,
    Allowed,
    FilteredNetwork,
    FilteredPort,
    Part,
    RouterOnNetwork,
)
from fip64agent.plan.groups.rules import (
    GROUPS_OF_PORT,
    MOST_PARTS,
    PORT,
    PRODUCT_NUMBERS,
    RULES,
    Rules,
    unmatched,
)
from fip64agent.plan.inputs import SECURITY_GROUPS, SETTINGS
from fip64agent.plan.nodes import Collected, Objects
from fip64agent.plan.ports.routers import GATEWAYS_ON
from fip64agent.plan.ports.served import SERVED_NETWORKS, SERVED_PORTS
from fip64agent.plan.problems import ERROR, Problem


def _allowed(ask, rules: list[Rules]) -> Allowed:
    if any(each.clauses == PORT for each in rules):
        return Allowed(everything=True)
    numbers = [(ask(PRODUCT_NUMBERS.number, each.name), each.clauses) for each in rules]
    parts = sorted(Part(number, PORT, clauses) for number, clauses in numbers if number is not None)
    return Allowed(products=tuple(parts[:MOST_PARTS])) if parts else NOTHING


def _left_out(ask, groups: tuple[str, ...], rules: list[Rules]) -> Iterator[str]:
    if len(rules) > MOST_PARTS:
        yield f"its security groups have more than {MOST_PARTS} different remotes"
    for group in groups:
        for rule in ask(SECURITY_GROUPS, group).rules:
            protocol = unmatched(rule)
            if protocol is not None:
                yield (f"rule {rule.id} of security group {group} lets nothing through: Open vSwitch knows "
                       f"no ports of {protocol}")


def _filter(ask, port_id: str, groups: tuple[str, ...]) -> tuple[FilteredPort, Problem | None]:
    served = ask(SERVED_PORTS, port_id)
    rules = [each for group in groups for each in ask(RULES, group) or ()]
    problems = list(_left_out(ask, groups, rules))

    def allowed(ingress: bool, version: int) -> Allowed:
        return _allowed(ask, [each for each in rules if (each.ingress, each.version) == (ingress, version)])

    return FilteredPort(
        port_id=port_id, network=served.network, ofport=served.ofport,
        stateful=any(ask(SECURITY_GROUPS, group).stateful for group in groups),
        egress4=allowed(False, 4), egress6=allowed(False, 6), ingress4=allowed(True, 4),
        ingress6=allowed(True, 6)), Problem(ERROR, "; ".join(problems)) if problems else None


FILTERS = Objects(FilteredPort.kind, _filter, each=GROUPS_OF_PORT,
                  reads=(SERVED_PORTS, RULES, SECURITY_GROUPS, PRODUCT_NUMBERS.number))


_NETWORK_IDS = Collected("networks with filtered ports", {
    SERVED_PORTS: lambda port_id, port: ((port.network_id, port_id),) if port.filtered else ()})


def _network(ask, network_id: str, port_ids: tuple[str, ...]) -> tuple[FilteredNetwork | None, None]:
    served = ask(SERVED_NETWORKS, network_id)
    routers = tuple(RouterOnNetwork(gateway.mac, gateway.router) for gateway in ask(GATEWAYS_ON, network_id))
    return FilteredNetwork(network_id, served.number, served.vlan, routers,
                           ask(SETTINGS, "").ports.conntrack_limit), None


FILTERED_NETWORKS = Objects(FilteredNetwork.kind, _network, each=_NETWORK_IDS,
                            reads=(SERVED_NETWORKS, GATEWAYS_ON, SETTINGS))
