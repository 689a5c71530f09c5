# SPDX-License-Identifier: Apache-2.0
"""What a VM may send: with its own MACs, from its own addresses, Neighbor Discovery about these.

Its link-local address may be any, however it was made (RFC 7217), but none that a router or another port is
known to have. From "::" come only the messages of a host that has no address yet: solicitations (RFC 4862,
section 5.4.2; RFC 4861, section 6.1.1) and reports of MLD (RFC 3590). doc/source/reference/port-security.rst
has all of it in one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from fip64agent.net.addresses import LINK_LOCAL, LINK_SCOPE, UNSPECIFIED
from fip64agent.net.icmpv6 import (
    ADVERTISEMENT,
    MLD_DONE,
    MLD_REPORT,
    MLDV2_REPORT,
    ROUTER_SOLICITATION,
    SOLICITATION,
)
from fip64agent.plan.ports.objects import AllServedPorts, RouterInterface6, ServedAddress, ServedPort
from fip64agent.switch import pipeline, refusals, stages
from fip64agent.switch.examples import (
    ALL_PORTS,
    ROUTER_INTERFACE,
    SERVED_ADDRESS_LINK_LOCAL,
    SERVED_PORT,
    SERVED_PORT_UNSECURED,
)
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import ICMPV6, IPV4, IPV6, Action, Flow, Match, Resubmit, Value
from fip64agent.switch.flows.guards import SOURCE_MAC
from fip64agent.switch.pipeline import Table
from fip64agent.switch.refusals import Refusal, refuse
from fip64agent.switch.stages import REG_NETWORK, REG_PORT, load

NAME = "port-security"
SOURCE_ADDRESS, ND_CONTENT, ND_TARGET = 191, 192, 193
ROUTERS, HOLDERS, OTHERS, OWN, ELSE = 50, 40, 30, 20, 1
"""Priorities in source-address and nd-target: a router's addresses, which are nobody else's; who has a
link-local address; it is not the others'; a port's own addresses; what is left."""
NO_TARGET, CHECKED_FOR, WITH_SOURCE, GOOD, BAD = 60, 50, 45, 40, 20
"""Priorities in nd-content: no target; duplicate address detection; what of it is wrong; what is right; the
rest of Neighbor Discovery."""
NO_MAC = "00:00:00:00:00:00"
"""What Open vSwitch has for an option that is absent."""
TAGS = (0x8100, 0x88A8)
"""EtherTypes behind the first tag: there is a second one (vlan-limit), or more than Open vSwitch looks
behind."""
TAGGED = ("vlan_vid", (0x1000, 0x1000))
_OF_VM = "from the VM"
_TABLES = (
    Table(SOURCE_ADDRESS, "source-address", _OF_VM, "Which IPv6 addresses a VM may send from.",
          "The port, the source MAC and the source address.", "nd-content."),
    Table(ND_CONTENT, "nd-content", _OF_VM, "Whether a message of Neighbor Discovery is well formed, and the "
          "MAC in it is the port's.", "Type, code, hop limit, options.", "nd-target; track-out."),
    Table(ND_TARGET, "nd-target", _OF_VM, "Which addresses a VM may advertise, and check for duplicates.",
          "The port and the target.", "track-out."),
)
_REASONS = (Refusal.SOURCE_MAC, Refusal.SOURCE_ADDRESS, Refusal.ND_CONTENT, Refusal.ND_TARGET)
ON: tuple[Action, ...] = (Resubmit(stages.TRACK_OUT),)
TO_CONTENT: tuple[Action, ...] = (Resubmit(ND_CONTENT),)
TO_TARGET: tuple[Action, ...] = (Resubmit(ND_TARGET),)


def _of_type(number: int) -> Match:
    return ICMPV6, ("icmpv6_type", number)


def _discovery(number: int) -> Match:
    """Return the match for a message with a target. Without code 0 Open vSwitch does not read that."""
    return *_of_type(number), ("icmpv6_code", 0)


def _targets(value: Value) -> Iterator[Match]:
    """Yield the matches, in nd-target, for messages about these addresses."""
    for number in (SOLICITATION, ADVERTISEMENT):
        yield *_discovery(number), ("ipv6_nd_target", value)


# What is the same for all ports


def of_all(ports: AllServedPorts) -> Iterator[Flow]:
    """Yield the flows that all served ports share."""
    def flow(table: int, priority: int, match: Match, actions: tuple[Action, ...]) -> Flow:
        return Flow(table, priority, (IPV6, *match), actions, NAME, ports.key)

    yield flow(SOURCE_MAC, ELSE, (), refuse(Refusal.SOURCE_MAC))
    yield flow(SOURCE_ADDRESS, OWN, (("ipv6_src", LINK_LOCAL),), TO_CONTENT)
    for number in (SOLICITATION, ROUTER_SOLICITATION, MLD_REPORT, MLDV2_REPORT, MLD_DONE):
        yield flow(SOURCE_ADDRESS, OWN, (("ipv6_src", UNSPECIFIED), ("ipv6_dst", LINK_SCOPE),
                                         *_of_type(number)), TO_CONTENT)
    yield flow(SOURCE_ADDRESS, ELSE, (), refuse(Refusal.SOURCE_ADDRESS))
    for priority, match, actions in _contents():
        yield flow(ND_CONTENT, priority, match, actions)
    for match in _targets(LINK_LOCAL):
        yield flow(ND_TARGET, OWN, match, ON)
    yield flow(ND_TARGET, ELSE, (), refuse(Refusal.ND_TARGET))


def _contents() -> Iterator[tuple[int, Match, tuple[Action, ...]]]:
    right, wrong = (("nw_ttl", 255),), refuse(Refusal.ND_CONTENT)
    # When an option occurs twice, or its length is 0, Open vSwitch takes "::" for the target.
    for match in _targets(UNSPECIFIED):
        yield NO_TARGET, match, wrong
    absent, unspecified = ("ipv6_nd_sll", NO_MAC), ("ipv6_src", UNSPECIFIED)
    yield CHECKED_FOR, (*_discovery(SOLICITATION), *right, unspecified, absent), TO_TARGET
    yield WITH_SOURCE, (unspecified, *_of_type(SOLICITATION)), wrong
    yield GOOD, (*_discovery(SOLICITATION), *right, absent), ON
    yield GOOD, (*_discovery(ADVERTISEMENT), *right, ("ipv6_nd_tll", NO_MAC)), TO_TARGET
    yield GOOD, (*_discovery(ROUTER_SOLICITATION), *right), ON
    for number in (ROUTER_SOLICITATION, SOLICITATION, ADVERTISEMENT):
        yield BAD, _of_type(number), wrong
    yield ELSE, (), ON


# Per port


def of_port(port: ServedPort) -> Iterator[Flow]:
    """Yield the flows for what a port may send, and those that count what it must not."""
    def flow(table: int, priority: int, match: Match, actions: tuple[Action, ...]) -> Flow:
        return Flow(table, priority, ((REG_PORT, port.ofport), IPV6, *match), actions, NAME, port.key)

    if not port.secured:
        yield flow(SOURCE_MAC, OWN, (), ON)
        return
    for mac in port.macs:
        yield flow(SOURCE_MAC, OWN, (("eth_src", mac),), (Resubmit(SOURCE_ADDRESS),))
        yield flow(ND_CONTENT, GOOD, (*_discovery(SOLICITATION), ("nw_ttl", 255), ("ipv6_nd_sll", mac)), ON)
        yield flow(ND_CONTENT, GOOD, (*_discovery(ADVERTISEMENT), ("nw_ttl", 255), ("ipv6_nd_tll", mac)),
                   TO_TARGET)
    for mac, own in _own(port):
        yield flow(SOURCE_ADDRESS, OWN, (("eth_src", mac), ("ipv6_src", own)), TO_CONTENT)
        for match in _targets(own):
            yield flow(ND_TARGET, OWN, (("eth_src", mac), *match), ON)
    yield from refusals.counted(port, _REASONS, NAME)
    if not port.trunk:
        yield from _tags(port)


def _own(port: ServedPort) -> Iterator[tuple[str, IPv6Address | IPv6Network]]:
    """Yield (MAC, address or prefix) that a port may use, each pair once."""
    pairs = ((pair.mac, _value(pair.prefix)) for pair in port.pairs)
    yield from dict.fromkeys([*((port.mac, address) for address in port.addresses), *pairs])


def _value(prefix: IPv6Network) -> IPv6Address | IPv6Network:
    return prefix if prefix.prefixlen < prefix.max_prefixlen else prefix.network_address


def _tags(port: ServedPort) -> Iterator[Flow]:
    """Yield the flows for IPv6 in 802.1Q tags: it would go around all tables, into any VLAN by NORMAL.

    IPv4 in tags would go around the security groups of a port that has some.
    """
    actions = (load(REG_PORT, port.ofport), *refuse(Refusal.VLAN_TAG))
    protocols = (IPV6, IPV4) if port.filtered else (IPV6,)
    for match in (*((TAGGED, protocol) for protocol in protocols), *((("eth_type", tag),) for tag in TAGS)):
        yield Flow(pipeline.CLASSIFIER, pipeline.TAGGED, (("in_port", port.ofport), *match), actions, NAME,
                   port.key)
    yield from refusals.counted(port, (Refusal.VLAN_TAG,), NAME)


# What belongs to others


def of_router(interface: RouterInterface6) -> Iterator[Flow]:
    """Yield the flows by which nobody uses a router's addresses, though an allowed pair has them in it."""
    on = (REG_NETWORK, interface.network)
    for address in interface.own:
        yield Flow(SOURCE_ADDRESS, ROUTERS, (on, IPV6, ("ipv6_src", address)),
                   refuse(Refusal.SOURCE_ADDRESS), NAME, interface.key)
        for match in _targets(address):
            yield Flow(ND_TARGET, ROUTERS, (on, IPV6, *match), refuse(Refusal.ND_TARGET), NAME, interface.key)


def of_address(address: ServedAddress) -> Iterator[Flow]:
    """Yield the flows for a link-local address that a port is known to have: it is for that port alone."""
    if not address.address.is_link_local:
        return
    holders = [((REG_PORT, holder.ofport), IPV6, ("eth_src", holder.mac)) for holder in address.holders]
    others = ((REG_NETWORK, address.network), IPV6)
    sources, targets = (("ipv6_src", address.address),), tuple(_targets(address.address))
    for table, matches, actions, reason in (
            (SOURCE_ADDRESS, (sources,), TO_CONTENT, Refusal.SOURCE_ADDRESS),
            (ND_TARGET, targets, ON, Refusal.ND_TARGET)):
        for match in matches:
            for holder in holders:
                yield Flow(table, HOLDERS, (*holder, *match), actions, NAME, address.key)
            yield Flow(table, OTHERS, (*others, *match), refuse(reason), NAME, address.key)


FEATURE = FlowFeature(
    NAME, 30, "Refuses what a VM sends with a MAC, or an IPv6 address, that is not its own.",
    {AllServedPorts.kind: of_all, ServedPort.kind: of_port, RouterInterface6.kind: of_router,
     ServedAddress.kind: of_address},
    (Example("Once per host with served ports", "What may come from any port:", (ALL_PORTS,)),
     Example("Per served port", "Its own MACs, addresses and allowed pairs; what is refused is counted:",
             (SERVED_PORT,)),
     Example("Per served port that is not secured", "All may pass:", (SERVED_PORT_UNSECURED,)),
     Example("Per router interface", "Nobody may use its addresses:", (ROUTER_INTERFACE,)),
     Example("Per known link-local address", "It is for port 21:", (SERVED_ADDRESS_LINK_LOCAL,))),
    tables=_TABLES)
