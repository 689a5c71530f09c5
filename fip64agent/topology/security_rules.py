# SPDX-License-Identifier: Apache-2.0
"""What makes a rule of a security group right by itself: Neutron's conditions. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from fip64agent.topology.model import SecurityGroup, SecurityGroupRule

ICMP = 1
ICMPV6 = 58
PROTOCOLS_WITH_PORTS = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}
_IPV6_ONLY = {41: "ipv6-encap", 43: "ipv6-route", 44: "ipv6-frag", ICMPV6: "ipv6-icmp", 59: "ipv6-nonxt",
              60: "ipv6-opts"}
"""Neutron refuses these in rules for IPv4."""
_REMOTES = ("remote_ip_prefix", "remote_group_id", "remote_address_group_id")


def with_icmpv6(group: SecurityGroup) -> SecurityGroup:
    """Return the group with ICMP in rules for IPv6 as what it means there: ICMPv6, as Neutron has it."""
    if not any(rule.ip_version == 6 and rule.protocol == ICMP for rule in group.rules):
        return group
    return dataclasses.replace(group, rules=tuple(
        dataclasses.replace(rule, protocol=ICMPV6) if rule.ip_version == 6 and rule.protocol == ICMP else rule
        for rule in group.rules))


def rule_findings(rule: SecurityGroupRule) -> Iterator[tuple[str, str]]:
    """Yield (attribute, what is wrong with it) of a rule as with_icmpv6() has it."""
    if rule.ip_version == 4 and rule.protocol in _IPV6_ONLY:
        yield "protocol", f"{_IPV6_ONLY[rule.protocol]} is for rules with ethertype IPv6 only"
    yield from _ports(rule)
    given = [name for name in _REMOTES if getattr(rule, name) is not None]
    for name in given[1:]:
        yield name, f"cannot be given together with {given[0]}"
    prefix = rule.remote_ip_prefix
    if prefix is not None and prefix.version != rule.ip_version:
        yield "remote_ip_prefix", f"must be {rule.ethertype}, like ethertype; {prefix} is IPv{prefix.version}"


def _ports(rule: SecurityGroupRule) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a rule's ports, which are type and code of ICMP and ICMPv6."""
    first, last = rule.port_range_min, rule.port_range_max
    name = "port_range_min" if first is not None else "port_range_max"
    if first is None and last is None:
        return
    if rule.protocol in (ICMP, ICMPV6):
        for attribute, value, what in (("port_range_min", first, "type"), ("port_range_max", last, "code")):
            if value is not None and value > 255:
                yield attribute, f"is an ICMP {what}, 0 to 255; it is {value}"
        if first is None:
            yield name, f"is an ICMP code, {last}, which needs an ICMP type in port_range_min"
    elif rule.protocol not in PROTOCOLS_WITH_PORTS:
        yield name, f"needs a protocol with ports: {', '.join(PROTOCOLS_WITH_PORTS.values())}"
    elif first is None or last is None:
        missing = "port_range_min" if first is None else "port_range_max"
        yield missing, f"is required, as {name} is given"
    elif 0 in (first, last):
        yield "port_range_min" if first == 0 else "port_range_max", "must be between 1 and 65535, is 0"
    elif first > last:
        yield "port_range_min", f"{first} is more than port_range_max, {last}"
