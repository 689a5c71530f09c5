# SPDX-License-Identifier: Apache-2.0
"""The addresses that remotes of rules stand for, and the services of rules.

A remote group stands for the addresses of all ports that have it, here or on other hosts: their fixed IPs
and allowed address pairs. An address is a node of its own, so a port that comes or goes costs no look at the
other members of its groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from fip64agent.plan.groups.objects import RemoteAddress, RuleService, Service
from fip64agent.plan.groups.products import (
    PRODUCT_NUMBERS,
    USES_OF_REMOTE,
    USES_OF_SERVICE,
    Use,
    parts,
)
from fip64agent.plan.groups.rules import OWN_RULES, Remote, Rules
from fip64agent.plan.groups.translated import TRANSLATED, TRANSLATED_ADDRESSES
from fip64agent.plan.inputs import ADDRESS_GROUPS, PORTS
from fip64agent.plan.nodes import Collected, Objects
from fip64agent.plan.problems import Problem
from fip64agent.topology.model import AddressGroup, Port


def _members(port_id: str, port: Port) -> Iterator[tuple[str, Remote]]:
    if port.security_groups:
        addresses = [str(fixed.ip_address) for fixed in port.fixed_ips]
        addresses += [_text(pair.ip_address) for pair in port.allowed_address_pairs]
        for group in dict.fromkeys(port.security_groups):
            for address in dict.fromkeys(addresses):
                yield address, ("group", group)


def _text(prefix) -> str:
    """Return a prefix as text; a single address without its length, as fixed IPs are."""
    return str(prefix.network_address if prefix.prefixlen == prefix.max_prefixlen else prefix)


def _addresses(group_id: str, group: AddressGroup) -> Iterator[tuple[str, Remote]]:
    for address in dict.fromkeys(map(_text, group.addresses)):
        yield address, ("addresses", group_id)


def _prefixes(group_id: str, products: tuple[Rules, ...]) -> Iterator[tuple[str, Remote]]:
    for rules in products:
        if rules.remote is not None and rules.remote[0] == "prefix":
            yield _text(ip_network(rules.remote[1])), rules.remote


def _translated(clients: str, addresses: tuple[str, ...]) -> Iterator[tuple[str, Remote]]:
    for address in addresses:
        yield address, (TRANSLATED, clients)


def _edited(found: tuple[Remote, ...] | None, gone: list[Remote], come: list[Remote]
            ) -> tuple[Remote, ...] | None:
    """Return the remotes that an address belongs to: as often as it does, by several ports of a group."""
    left = [*(found or ()), *come]
    for remote in gone:
        left.remove(remote)
    return tuple(sorted(left)) or None


_REMOTES = Collected("remotes with an address",
                     {PORTS: _members, ADDRESS_GROUPS: _addresses, OWN_RULES: _prefixes,
                      TRANSLATED_ADDRESSES: _translated}, _edited)
"""By address or prefix, as text: Remotes."""


def _remote_address(ask, text: str, remotes: tuple[Remote, ...]
                    ) -> tuple[tuple[RemoteAddress, ...], Problem | None]:
    uses = [use for remote in dict.fromkeys(remotes) for use in ask(USES_OF_REMOTE, remote)]
    if not uses:
        return (), None
    prefix = ip_network(text)
    egress, ingress, problem = parts(ask, (use for use in uses if use.version == prefix.version))
    return (RemoteAddress(prefix, egress, ingress),) if egress or ingress else (), problem


REMOTE_ADDRESSES = Objects(RemoteAddress.kind, _remote_address, each=_REMOTES,
                           reads=(USES_OF_REMOTE, PRODUCT_NUMBERS.number))


def _service(ask, service: Service, uses: tuple[Use, ...]) -> tuple[tuple[RuleService, ...], Problem | None]:
    egress, ingress, problem = parts(ask, iter(uses))
    return (RuleService(service, egress, ingress),), problem


SERVICES = Objects(RuleService.kind, _service, each=USES_OF_SERVICE, reads=(PRODUCT_NUMBERS.number,))
