# SPDX-License-Identifier: Apache-2.0
"""Conntrack for ports with security groups: which packets go through it, and when a connection is committed.

There is one zone for each network. A packet between two of its ports is looked up once, and is committed when
it leaves the network or goes out of a port: then the rules of both have let it through. If it was committed
before, a port whose own rules let nothing out could answer to what the other must not send.

Neighbor Discovery and the like never go there (RFC 4890, section 4.4.1), nor does multicast, to which
conntrack knows no answers.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net.icmpv6 import ADVERTISEMENT, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION, SOLICITATION
from fip64agent.plan.desired import ObjectKey
from fip64agent.plan.groups.objects import FilteredNetwork, FilteredPort
from fip64agent.switch import stages
from fip64agent.switch.examples import FILTERED_NETWORK, FILTERED_PORT, STATELESS_PORT
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows import l2, routing
from fip64agent.switch.flows.flow import (
    CT_ESTABLISHED,
    CT_NEW,
    CT_RELATED,
    CT_REPLY,
    CT_TRACKED,
    ICMPV6,
    IPV4,
    IPV6,
    NORMAL,
    Action,
    Ct,
    CtClear,
    Flow,
    Match,
    Output,
    OutputField,
    Resubmit,
    SetField,
    Value,
)
from fip64agent.switch.pipeline import Zone
from fip64agent.switch.stages import REG_DESTINATION, REG_NETWORK, REG_PORT, REG_ROUTER, load

NAME = "conntrack"
PAST_GROUPS, UNTRACKED, KNOWN, PORTS = 100, 50, 20, 10
"""Priorities: what no rule concerns; multicast; what is tracked in this zone; what a port sends or gets."""
LEAVING = 10
"""Priority in output: connections that are committed there."""
GROUP_ADDRESS = ("eth_dst", (0x010000000000, 0x010000000000))
"""Ethernet's bit of multicast and broadcast."""
PROTOCOLS = (IPV4, IPV6)
UDP = ("ip_proto", 17)

INVERSE_SOLICITATION, INVERSE_ADVERTISEMENT = 141, 142
CERTIFICATE_SOLICITATION, CERTIFICATE_ADVERTISEMENT = 148, 149
MULTICAST_ROUTER = (151, 152, 153)
LISTENERS = (130, 131, 132, 143)
"""MLD: query, report, done, report of version 2."""
_BOTH = (ROUTER_SOLICITATION, SOLICITATION, ADVERTISEMENT, INVERSE_SOLICITATION, INVERSE_ADVERTISEMENT,
         CERTIFICATE_SOLICITATION, *LISTENERS)
OUT_TYPES = (*_BOTH, MULTICAST_ROUTER[1])
IN_TYPES = (*_BOTH, ROUTER_ADVERTISEMENT, CERTIFICATE_ADVERTISEMENT, *MULTICAST_ROUTER)
"""Types of ICMPv6 that pass from a VM, and to it, whatever the rules: those of RFC 4890, section 4.4.1."""
DHCP_CLIENT, DHCP_SERVER = (IPV4, 68, 67), (IPV4, 67, 68)
DHCPV6_CLIENT, DHCPV6_SERVER = (IPV6, 546, 547), (IPV6, 547, 546)
"""(protocol, source port, destination port) of what a client sends, and what it gets."""


def state(on: int, off: int = 0) -> tuple[str, Value]:
    """Return the match of a state of the connection: bits that are set, and bits that are not."""
    return "ct_state", (on, on | off)


FIRST: Match = (state(CT_TRACKED | CT_NEW, CT_RELATED),)
"""A packet that begins a connection."""
MARKED: Match = (state(CT_TRACKED | CT_ESTABLISHED, CT_REPLY), ("ct_mark", 1))
"""A packet, in the direction of the first one, of a connection that no rule let through lately."""
COMMIT = Ct(zone=REG_NETWORK, commit=True, actions=(SetField("ct_mark", 0),))


def past_groups(types: tuple[int, ...], *services: tuple[tuple[str, Value], int, int]) -> Iterator[Match]:
    """Yield the matches of what passes whatever the rules: types of ICMPv6, and DHCP."""
    for number in types:
        yield IPV6, ICMPV6, ("icmpv6_type", number)
    for protocol, source, destination in services:
        yield protocol, UDP, ("udp_src", source), ("udp_dst", destination)


def leaving(table: int, priority: int, network: int, match: Match, actions: tuple[Action, ...], feature: str,
            owner: ObjectKey) -> Iterator[Flow]:
    """Yield the flows that commit a connection where its packets leave a network, then do as told.

    All rules that concern the packet have let it through there. `match`: with IPV4 or IPV6, as conntrack
    needs it.
    """
    for found in (FIRST, MARKED):
        yield Flow(table, priority, ((REG_NETWORK, network), ("ct_zone", network), *match, *found),
                   (COMMIT, *actions), feature, owner)


def of_network(network: FilteredNetwork) -> Iterator[Flow]:
    """Yield the flows for what is not tracked, and for connections where they leave the network."""
    on = (REG_NETWORK, network.number)

    def flow(table: int, priority: int, match: Match, *actions: Action) -> Flow:
        return Flow(table, priority, (on, *match), actions, NAME, network.key)

    for match in past_groups(OUT_TYPES, DHCP_CLIENT, DHCPV6_CLIENT):
        yield flow(stages.TRACK_OUT, PAST_GROUPS, match, Resubmit(stages.SERVICES))
    yield flow(stages.TRACK_OUT, UNTRACKED, (GROUP_ADDRESS,), Resubmit(stages.GROUPS_OUT))
    for match in past_groups(IN_TYPES, DHCP_SERVER, DHCPV6_SERVER):
        yield flow(stages.TRACK_IN, PAST_GROUPS, match, Resubmit(stages.OUTPUT))
    for protocol in PROTOCOLS:
        yield from leaving(stages.OUTPUT, LEAVING, network.number, (protocol,),
                           (OutputField(REG_DESTINATION),), NAME, network.key)
        if protocol == IPV4 or network.vlan is not None:
            yield from leaving(stages.L2, l2.ELSEWHERE + 1, network.number, (protocol,), (Output(NORMAL),),
                               NAME, network.key)
    for router in network.routers:
        yield from leaving(stages.ROUTER, routing.TO_ROUTER + 1, network.number,
                           (IPV6, ("eth_dst", router.mac)),
                           (load(REG_ROUTER, router.number), Resubmit(stages.ROUTE)), NAME, network.key)


def of_port(port: FilteredPort) -> Iterator[Flow]:
    """Yield the flows that send a port's packets through conntrack, unless it has stateless groups only."""
    def flow(table: int, priority: int, match: Match, *actions: Action) -> Flow:
        return Flow(table, priority, match, actions, NAME, port.key)

    sender, receiver = (REG_PORT, port.ofport), (REG_DESTINATION, port.ofport)
    tracked = state(CT_TRACKED)
    if port.stateful:
        yield flow(stages.TRACK_IN, KNOWN, (receiver, ("ct_zone", port.network), tracked),
                   Resubmit(stages.GROUPS_IN))
        for protocol in PROTOCOLS:
            yield flow(stages.TRACK_OUT, PORTS, (sender, protocol),
                       Ct(zone=REG_NETWORK, table=stages.GROUPS_OUT))
            yield flow(stages.TRACK_IN, PORTS, (receiver, protocol),
                       Ct(zone=REG_NETWORK, table=stages.GROUPS_IN))
        return
    # Only the sender's rules know of connections. The receiver's see the packet as if nobody did.
    for protocol in PROTOCOLS:
        yield from leaving(stages.TRACK_IN, KNOWN + 1, port.network, (receiver, protocol),
                           (Resubmit(stages.GROUPS_IN),), NAME, port.key)
    yield flow(stages.TRACK_IN, KNOWN, (receiver, tracked), CtClear(), Resubmit(stages.GROUPS_IN))
    yield flow(stages.TRACK_IN, PORTS, (receiver,), Resubmit(stages.GROUPS_IN))


FEATURE = FlowFeature(
    NAME, 40, "Sends the packets of ports with security groups through conntrack.",
    {FilteredNetwork.kind: of_network, FilteredPort.kind: of_port},
    (Example("Per network with such ports", "What passes whatever the rules, multicast, and where "
             "connections are committed:", (FILTERED_NETWORK,)),
     Example("Per port", "Port 21:", (FILTERED_PORT,)),
     Example("Per port with stateless groups only", "Port 22. If the sender's groups are stateful, the "
             "packet leaves what they know here:", (STATELESS_PORT,))),
    zones=(Zone(stages.FIRST_ZONE, stages.LAST_ZONE, "The number of a network with security groups."),))
