# SPDX-License-Identifier: Apache-2.0
"""The rules of the security groups that ports of this host have, put together as products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fip64agent.net.ranges import masked
from fip64agent.plan.groups.objects import Service
from fip64agent.plan.inputs import PORTS, SECURITY_GROUPS
from fip64agent.plan.nodes import Collected, Derived
from fip64agent.plan.ports.objects import ServedPort
from fip64agent.plan.ports.served import SERVED_PORTS
from fip64agent.topology.model import INGRESS, SecurityGroup, SecurityGroupRule

ICMP, ICMPV6 = 1, 58
_WITHOUT_PORTS = {33: "dccp", 136: "udplite"}
"""Protocols whose ports Open vSwitch does not know."""

Remote = tuple[str, str]
"""("prefix", prefix), ("group", security group's id), ("addresses", address group's id), or clients of a
tenant (translated.py)."""


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


OWN_RULES = Derived("products of a security group", _products, (SECURITY_GROUPS,), each=_GROUP_IDS)
"""By id of a group that ports of this host have: Rules, by name."""
