# SPDX-License-Identifier: Apache-2.0
"""Rules for IPv6 at ports with floating IPs: what they mean for packets that are translated to IPv4.

A VM with IPv4 only is reached by IPv6 clients, so somebody who lets IPv6 in means them. Security groups see
the translated packet, with an address of the tenant's pool for the client. So a rule for IPv6 that is for
anybody lets through what comes from the pool, and one with a prefix what comes from the pool addresses that
clients in it are bound to. Which other clients are in the prefix cannot be told any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from fip64agent.plan.fip64.hosted import Hosted
from fip64agent.plan.fip64.mappings import HOSTED_BY_PORT
from fip64agent.plan.fip64.tenants import TENANTS
from fip64agent.plan.groups.objects import Service
from fip64agent.plan.groups.rules import (
    GROUPS_OF_PORT,
    ICMP,
    ICMPV6,
    OWN_RULES,
    Remote,
    Rules,
)
from fip64agent.plan.nodes import Collected, Derived

TRANSLATED = "translated"
"""Kind of a Remote: "<router id> <prefix>", clients of a tenant, in a prefix."""
_ANYBODY = "::/0"
_ICMP_TYPES = {128: 8, 129: 0}
"""Echo request and reply (RFC 7915, section 4.2). Errors pass with the connection that they are about."""
_NOT_TRANSLATED = {43, 44, 59, 60}
"""IPv6's own headers."""

GroupOfRouter = tuple[str, str]
"""(security group's id, id of a router by which a port with it has a floating IP)"""


def _groups(ask, port_id: str, groups: tuple[str, ...]) -> tuple[GroupOfRouter, ...] | None:
    found: tuple[Hosted, ...] = ask(HOSTED_BY_PORT, port_id)
    routers = sorted({hosted.fip.router_id for hosted in found})
    return tuple((group, router) for group in groups for router in routers) or None


TRANSLATED_GROUPS = Derived("security groups of translated packets", _groups, (HOSTED_BY_PORT,),
                            each=GROUPS_OF_PORT)
"""By id of a filtered port with floating IPs: GroupOfRouter of each of its groups."""
_GROUPS = Collected("security groups of routers", {
    TRANSLATED_GROUPS: lambda port_id, found: ((each, port_id) for each in found)})


def _services(services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Return what services of IPv6 are in IPv4, without those that are not translated."""
    found = set()
    for service in services:
        if service.protocol == ICMPV6:
            kind = _ICMP_TYPES.get(service.icmp_type) if service.icmp_type is not None else None
            if service.icmp_type is None or kind is not None:
                found.add(Service(4, ICMP, None, kind, service.icmp_code))
        elif service.protocol not in _NOT_TRANSLATED:
            found.add(service._replace(version=4))
    return tuple(sorted(found, key=str))


def _rules(ask, key: GroupOfRouter, port_ids: tuple[str, ...]) -> tuple[Rules, ...] | None:
    group, router = key
    found = []
    for rules in ask(OWN_RULES, group) or ():
        if rules.version == 6 and (rules.remote is None or rules.remote[0] == "prefix"):
            services = _services(rules.services)
            if services or not rules.services:
                prefix = _ANYBODY if rules.remote is None else rules.remote[1]
                found.append(Rules(rules.ingress, 4, group, (TRANSLATED, f"{router} {prefix}"), services))
    return tuple(found) or None


TRANSLATED_RULES = Derived("products of translated packets", _rules, (OWN_RULES,), each=_GROUPS)
"""By GroupOfRouter: Rules for IPv4 that its rules for IPv6 mean."""


def _remotes(key: GroupOfRouter, found: tuple[Rules, ...]) -> Iterator[tuple[str, Remote]]:
    for rules in found:
        yield rules.remote[1], (*key, rules.name)


_REMOTES = Collected("clients in rules", {TRANSLATED_RULES: _remotes})


def _addresses(ask, text: str, _users: tuple) -> tuple[str, ...] | None:
    router_id, _, prefix = text.rpartition(" ")
    tenant = ask(TENANTS, router_id)
    if tenant is None:
        return None
    if prefix == _ANYBODY:
        return (str(tenant.pool),)
    clients = ip_network(prefix)
    return tuple(str(address) for client, address in tenant.bindings if client in clients) or None


TRANSLATED_ADDRESSES = Derived("pool addresses of clients in rules", _addresses, (TENANTS,), each=_REMOTES)
"""By the second part of a Remote of the kind TRANSLATED: prefixes of the pool, as text."""
