# SPDX-License-Identifier: Apache-2.0
"""The rules of the security groups that ports of this host have, put together as products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fip64agent.net.ranges import masked
from fip64agent.plan.groups.objects import Part, Product, Service
from fip64agent.plan.inputs import PORTS, SECURITY_GROUPS
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.numbers import number_space
from fip64agent.plan.ports.objects import ServedPort
from fip64agent.plan.ports.served import SERVED_PORTS
from fip64agent.plan.problems import ERROR, Problem
from fip64agent.topology.model import INGRESS, SecurityGroup, SecurityGroupRule

FIRST_PRODUCT, LAST_PRODUCT = 0x01000000, 0xF1640000
"""Conjunction IDs: clear of low ones, which other systems use, and of our others (switch/flows)."""
ICMP, ICMPV6 = 1, 58
_WITHOUT_PORTS = {33: "dccp", 136: "udplite"}
"""Protocols whose ports Open vSwitch does not know."""

Remote = tuple[str, str]
"""("prefix", prefix), ("group", security group's id) or ("addresses", address group's id)."""


# Groups of this host

def _groups_of_port(ask, port_id: str, port: ServedPort) -> tuple[str, ...] | None:
    if not port.filtered:
        return None
    found = ask(PORTS, port_id).security_groups
    return tuple(group for group in sorted(set(found)) if ask(SECURITY_GROUPS, group) is not None)


GROUPS_OF_PORT = Derived("security groups of a filtered port", _groups_of_port, (PORTS, SECURITY_GROUPS),
                         each=SERVED_PORTS)
"""By id of a filtered port of this host: ids of its groups, sorted."""
_GROUP_IDS = Collected("security groups of this host", {
    GROUPS_OF_PORT: lambda port_id, groups: ((group, port_id) for group in groups)})


class Rules(NamedTuple):
    """A product before it has a number."""

    ingress: bool
    version: int
    group: str
    remote: Remote | None
    """None: anybody."""
    services: tuple[Service, ...]
    """Sorted; (): all."""

    @property
    def name(self) -> str:
        """What it stands for. With other clauses it is another product, so the number of clauses is in it."""
        where = "from" if self.ingress else "to"
        remote = "anybody" if self.remote is None else " ".join(self.remote)
        what = "services" if self.services else "everything"
        return f"IPv{self.version} {what} of {self.group} {where} {remote}"

    @property
    def clauses(self) -> int:
        """The ports, the remote if there is one, the services if not all."""
        return 1 + (self.remote is not None) + bool(self.services)


PORT, REMOTE = 1, 2
"""Clauses of ports and remotes; that of services is the last."""


def _remote(rule: SecurityGroupRule) -> Remote | None:
    if rule.remote_group_id is not None:
        return "group", rule.remote_group_id
    if rule.remote_address_group_id is not None:
        return "addresses", rule.remote_address_group_id
    if rule.remote_ip_prefix is not None and rule.remote_ip_prefix.prefixlen:
        return "prefix", str(rule.remote_ip_prefix)
    return None


def unmatched(rule: SecurityGroupRule) -> str | None:
    """Return the name of a rule's protocol if Open vSwitch cannot match the ports that the rule names."""
    return _WITHOUT_PORTS.get(rule.protocol) if rule.port_range_min is not None else None


def _services(rule: SecurityGroupRule) -> Iterator[Service]:
    """Yield the services of a rule that names a protocol."""
    version, protocol, first, last = (rule.ip_version, rule.protocol, rule.port_range_min,
                                      rule.port_range_max)
    if protocol in (ICMP, ICMPV6):
        yield Service(version, protocol, None, first, last)
    elif first is None:
        yield Service(version, protocol)
    else:
        for port in masked(first, last):
            yield Service(version, protocol, port if port != (0, 0) else None)


def _products(ask, group_id: str, ports: tuple[str, ...]) -> tuple[Rules, ...] | None:
    group: SecurityGroup | None = ask(SECURITY_GROUPS, group_id)
    found: dict[tuple[bool, int, Remote | None], set[Service] | None] = {}
    for rule in group.rules if group is not None else ():
        place = rule.direction == INGRESS, rule.ip_version, _remote(rule)
        if rule.protocol is None:
            found[place] = None
        elif found.get(place, ()) is not None and unmatched(rule) is None:
            found.setdefault(place, set()).update(_services(rule))
    return tuple(sorted((
        Rules(ingress, version, group_id, remote, tuple(sorted(services or (), key=str)))
        for (ingress, version, remote), services in found.items()), key=lambda rules: rules.name)) or None


RULES = Derived("products of a security group", _products, (SECURITY_GROUPS,), each=_GROUP_IDS)
"""By id of a group that ports of this host have: Rules, by name."""
_NAMES = Collected("names of products", {
    RULES: lambda group_id, products: (("", rules.name) for rules in products)})
PRODUCT_NUMBERS = number_space("products", _NAMES, lambda ask: (FIRST_PRODUCT, LAST_PRODUCT),
                               kind=Product.kind)


def _numbered(ask, group_id: str, products: tuple[Rules, ...]) -> tuple[tuple[Product, ...], None]:
    return tuple(Product(rules.name, number, rules.ingress) for rules in products
                 if (number := ask(PRODUCT_NUMBERS.number, rules.name)) is not None), None


PRODUCTS = Objects(Product.kind, _numbered, each=RULES, reads=(PRODUCT_NUMBERS.number,))


# What a remote, or a service, has part in

class Use(NamedTuple):
    """A product that a remote or a service is in."""

    ingress: bool
    version: int
    name: str
    clause: int
    clauses: int


def _use(rules: Rules, clause: int) -> Use:
    return Use(rules.ingress, rules.version, rules.name, clause, rules.clauses)


def _by_remote(group_id: str, products: tuple[Rules, ...]) -> Iterator[tuple[Remote, Use]]:
    for rules in products:
        if rules.remote is not None:
            yield rules.remote, _use(rules, REMOTE)


def _by_service(group_id: str, products: tuple[Rules, ...]) -> Iterator[tuple[Service, Use]]:
    for rules in products:
        for service in rules.services:
            yield service, _use(rules, rules.clauses)


USES_OF_REMOTE = Collected("products with a remote", {RULES: _by_remote})
"""By Remote: Uses, sorted."""
USES_OF_SERVICE = Collected("products with a service", {RULES: _by_service})
"""By Service: Uses, sorted."""

MOST_PARTS = 4000
"""Products that one flow can have part in: OpenFlow's messages end at 65535 bytes."""


def parts(ask, uses: Iterator[Use]) -> tuple[tuple[Part, ...], tuple[Part, ...], Problem | None]:
    """Return the parts of a match in products, egress and ingress, and what is wrong with them, if anything.

    Asks PRODUCT_NUMBERS.number.
    """
    found: tuple[list[Part], list[Part]] = ([], [])
    for use in uses:
        number = ask(PRODUCT_NUMBERS.number, use.name)
        if number is not None:
            found[use.ingress].append(Part(number, use.clause, use.clauses))
    egress, ingress = (tuple(sorted(each))[:MOST_PARTS] for each in found)
    problem = None
    if max(map(len, found)) > MOST_PARTS:
        problem = Problem(ERROR, f"it is in rules of more than {MOST_PARTS} security groups that ports of "
                                 "this host have; the others let nothing through")
    return egress, ingress, problem
