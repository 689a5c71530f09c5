# SPDX-License-Identifier: Apache-2.0
"""Security groups: what rules let through, in the tables groups-out (from VMs) and groups-in (to them).

Every packet in the direction of a connection's first one is held against the rules, as OVN does it. Answers
pass, and so do ICMP errors about it. If no rule lets the former through any more, the connection is marked in
conntrack (ct_mark is 1), and its answers need rules of their own, until a rule lets it through again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fip64agent.plan.desired import ObjectKey
from fip64agent.plan.groups.objects import (
    Allowed,
    FilteredNetwork,
    FilteredPort,
    Part,
    Product,
    RemoteAddress,
    RuleService,
    Service,
)
from fip64agent.switch import stages
from fip64agent.switch.examples import (
    FILTERED_NETWORK,
    FILTERED_PORT,
    PRODUCT,
    REMOTE_ADDRESS,
    RULE_SERVICE,
)
from fip64agent.switch.features import Example, FlowFeature, NumberInFlow
from fip64agent.switch.flows.conntrack import (
    DHCP_SERVER,
    DHCPV6_SERVER,
    IN_TYPES,
    PROTOCOLS,
    past_groups,
    state,
)
from fip64agent.switch.flows.flow import (
    CT_ESTABLISHED,
    CT_INVALID,
    CT_RELATED,
    CT_REPLY,
    CT_TRACKED,
    DROP,
    ICMPV6,
    IPV4,
    IPV6,
    LATER_FRAGMENT,
    Action,
    Conjunction,
    Ct,
    Flow,
    Match,
    Resubmit,
    SetField,
)
from fip64agent.switch.stages import REG_DESTINATION, REG_NETWORK, REG_PORT

NAME = "security-groups"
PAST_GROUPS, INVALID, ANSWERS, FRAGMENTS, RULES, MARK, DENY = 900, 890, 880, 870, 500, 410, 400
"""Priorities: what no rule concerns; what conntrack calls invalid; answers; fragments; the rules; and what
none lets through."""
VALID = state(CT_TRACKED, CT_INVALID)
UNMARKED = ("ct_mark", 0)
PACKET_TOO_BIG = (ICMPV6, ("icmpv6_type", 2), ("icmpv6_code", 0))
MARKING = Ct(zone=REG_NETWORK, commit=True, actions=(SetField("ct_mark", 1),))


class _Way(NamedTuple):
    """One of the two directions."""

    ingress: bool
    table: int
    onward: int
    """The table after it."""
    port: str
    """Register of the port whose rules count."""
    remotes: tuple[str, str]
    """Fields of the other side's address: IPv4, IPv6."""


OUT = _Way(False, stages.GROUPS_OUT, stages.SERVICES, REG_PORT, ("ipv4_dst", "ipv6_dst"))
IN = _Way(True, stages.GROUPS_IN, stages.OUTPUT, REG_DESTINATION, ("ipv4_src", "ipv6_src"))
WAYS = (OUT, IN)


def of_network(network: FilteredNetwork) -> Iterator[Flow]:
    """Yield the flows for packets whose connection says enough.

    What conntrack knows of a packet reaches these tables only if the port whose rules count has stateful
    groups.
    """
    for way in WAYS:
        def flow(priority: int, match: Match, actions: tuple[Action, ...], table: int = way.table) -> Flow:
            return Flow(table, priority, ((REG_NETWORK, network.number), *match), actions, NAME, network.key)

        onward = (Resubmit(way.onward),)
        yield flow(INVALID, (state(CT_TRACKED | CT_INVALID),), DROP)
        # The userspace datapath cannot tell which connection it is about if it quotes less than a whole TCP
        # header. Without it a connection hangs for ever (RFC 4890, section 4.3.1); a VM ignores one about no
        # connection of its own.
        yield flow(INVALID + 1, (IPV6, *PACKET_TOO_BIG, state(CT_TRACKED | CT_INVALID)), onward)
        for answer in (CT_RELATED, CT_ESTABLISHED | CT_REPLY):
            yield flow(ANSWERS, (state(CT_TRACKED | answer), UNMARKED), onward)
        for protocol in PROTOCOLS:
            # The userspace datapath hands fragments on one by one, but only when all have come: without the
            # first, which is held against the rules, the others are of no use.
            yield flow(FRAGMENTS, (protocol, LATER_FRAGMENT, VALID), onward)
            yield flow(MARK, (protocol, state(CT_TRACKED | CT_ESTABLISHED), UNMARKED), (MARKING,))
    # What is flooded comes here without having been in track-in.
    for match in past_groups(IN_TYPES, DHCP_SERVER, DHCPV6_SERVER):
        yield Flow(IN.table, PAST_GROUPS, ((REG_NETWORK, network.number), *match), (Resubmit(IN.onward),),
                   NAME, network.key)


def of_port(port: FilteredPort) -> Iterator[Flow]:
    """Yield, for each direction and IP version, a port's part in the rules; and that the rest is dropped."""
    for way, allowed in ((OUT, (port.egress4, port.egress6)), (IN, (port.ingress4, port.ingress6))):
        match = (way.port, port.ofport)
        for protocol, let_through in zip(PROTOCOLS, allowed, strict=True):
            actions = _of_port(way, let_through)
            if actions:
                yield Flow(way.table, RULES, (match, protocol), actions, NAME, port.key)
        yield Flow(way.table, DENY, (match,), DROP, NAME, port.key)


def _of_port(way: _Way, allowed: Allowed) -> tuple[Action, ...]:
    return (Resubmit(way.onward),) if allowed.everything else _conjunctions(allowed.products)


def _conjunctions(parts: Iterable[Part]) -> tuple[Action, ...]:
    return tuple(Conjunction(*part) for part in parts)


def of_product(product: Product) -> Iterator[Flow]:
    """Yield the flow of a packet that matches all clauses."""
    way = WAYS[product.ingress]
    yield Flow(way.table, RULES, (("conj_id", product.number),), (Resubmit(way.onward),), NAME, product.key)


def _clauses(match: tuple[Match, Match], egress: tuple[Part, ...], ingress: tuple[Part, ...],
             owner: ObjectKey) -> Iterator[Flow]:
    for way, matched, parts in zip(WAYS, match, (egress, ingress), strict=True):
        if parts:
            yield Flow(way.table, RULES, matched, _conjunctions(parts), NAME, owner)


def of_remote(remote: RemoteAddress) -> Iterator[Flow]:
    """Yield the flows for packets to and from an address."""
    six = remote.prefix.version == 6
    protocol = IPV6 if six else IPV4
    to, from_ = ((protocol, (way.remotes[six], remote.prefix)) for way in WAYS)
    yield from _clauses((to, from_), remote.egress, remote.ingress, remote.key)


def _services(service: Service) -> Iterator[Match]:
    """Yield the match of a service, and of first fragments.

    Open vSwitch does not look at ports, or type and code, of fragments. Conntrack does, when all have come.
    The kernel's datapath goes on with the whole packet then, that in userspace with the fragments, and with
    what conntrack knows of the first one.
    """
    protocol = IPV6 if service.version == 6 else IPV4
    icmp = "icmpv6" if service.version == 6 else "icmpv4"
    fields = [(service.port, _PORTS.get(service.protocol), "ct_tp_dst"),
              (service.icmp_type, f"{icmp}_type", "ct_tp_src"),
              (service.icmp_code, f"{icmp}_code", "ct_tp_dst")]
    given = [each for each in fields if each[0] is not None]
    yield protocol, ("ip_proto", service.protocol), *((field, value) for value, field, _ in given)
    if given:
        yield (protocol, FIRST_FRAGMENT, VALID, ("ct_nw_proto", service.protocol),
               *((field, value) for value, _, field in given))


FIRST_FRAGMENT = ("ip_frag", 1)
_PORTS = {6: "tcp_dst", 17: "udp_dst", 132: "sctp_dst"}


def of_service(rule_service: RuleService) -> Iterator[Flow]:
    """Yield the flows for packets of a service."""
    for match in _services(rule_service.service):
        yield from _clauses((match, match), rule_service.egress, rule_service.ingress, rule_service.key)


FEATURE = FlowFeature(
    NAME, 41, "Lets through what security groups allow.",
    {FilteredNetwork.kind: of_network, FilteredPort.kind: of_port, Product.kind: of_product,
     RemoteAddress.kind: of_remote, RuleService.kind: of_service},
    (Example("Per network with such ports", "Answers, and connections that are not let through any more:",
             (FILTERED_NETWORK,)),
     Example("Per port", "Port 21 may send anything of IPv6. What comes is put together from the port, the "
             "remote, and the service:", (FILTERED_PORT,)),
     Example("Per address of a remote", "A prefix, or an address of a port that has the group, here or on "
             "another host:", (REMOTE_ADDRESS,)),
     Example("Per service", "A range of ports is one or several of these:", (RULE_SERVICE,)),
     Example("Per group, direction, IP version and remote", "What matches all clauses:", (PRODUCT,))),
    numbers=tuple(NumberInFlow("products", way.table, "conj_id") for way in WAYS))
