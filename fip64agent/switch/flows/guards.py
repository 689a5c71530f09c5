# SPDX-License-Identifier: Apache-2.0
"""What no VM may send in the role of a router or a DHCPv6 server: RA guard, DHCPv6-Shield.

Open vSwitch looks through Hop-by-Hop Options, Routing, Destination Options, Authentication and Fragment
headers, so a message behind them is matched like any other. What could hide one is refused (RFC 7113,
section 3; RFC 7610, section 5; RFC 6980, section 5): headers that end before the one of the upper layer, and
fragments. A bridge handles these in the mode "normal" (ovs-ofctl(8), set-frags), unless somebody has changed
it: ports, ICMPv6 type and code are 0 then, in the first one, too. So it is not known what is in fragments,
but whether a receiver would take it for one of these messages: Neighbor Discovery must have the hop limit 255
(RFC 4861, section 6.1.2), and DHCPv6 clients ask with their link-local address (RFC 8415, section 5). A
later fragment is of no use without the first. For an atomic fragment (RFC 6946) Open vSwitch says "no
fragment" in userspace, and "first" in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net.addresses import LINK_LOCAL, LINK_SCOPE
from fip64agent.net.icmpv6 import REDIRECT, ROUTER_ADVERTISEMENT
from fip64agent.plan.ports.objects import AllServedPorts, ServedPort
from fip64agent.switch import refusals, stages
from fip64agent.switch.examples import ALL_PORTS, SERVED_PORT, SERVED_PORT_ROUTER
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import ANY_FRAGMENT, ICMPV6, IPV6, Action, Flow, Match, Resubmit
from fip64agent.switch.pipeline import Table
from fip64agent.switch.refusals import Refusal, refuse
from fip64agent.switch.stages import REG_PORT

NAME = "guards"
SOURCE_MAC = 190
"""Where what the guards let pass goes: port-security has the flows there."""
_TABLE = Table(SOURCE_MAC, "source-mac", "from the VM", "Which MACs a VM may send with.",
               "The port and the source MAC.", "source-address; track-out, if the port is not secured.")
HIDDEN, EXEMPT, GUARDED, ON = 400, 300, 200, 10
"""Priorities in port-security: what hides its upper-layer header; ports that a guard is not for; what is
guarded against; all else."""
UDP, NO_NEXT_HEADER = ("ip_proto", 17), ("ip_proto", 59)
NOT_FOUND = ("ip_proto", 0)
"""What Open vSwitch says, in userspace, when the packet ends before its upper-layer header."""
HIDING: tuple[Match, ...] = (
    (NOT_FOUND,),
    # The same in the kernel, if it is a first fragment. The kernel says so, too, of a later one that belongs
    # to a first one with more extension headers, which no packet has that is meant well.
    (ANY_FRAGMENT, NO_NEXT_HEADER),
    (ANY_FRAGMENT, ICMPV6, ("nw_ttl", 255)))
FROM_ROUTERS: tuple[Match, ...] = ((ICMPV6, ("icmpv6_type", ROUTER_ADVERTISEMENT)),
                                   (ICMPV6, ("icmpv6_type", REDIRECT)))
TO_DHCPV6_CLIENTS: tuple[Match, ...] = (
    (UDP, ("udp_dst", 546)),  # whatever port it comes from: clients do not look at that
    (ANY_FRAGMENT, UDP, ("ipv6_dst", LINK_LOCAL)), (ANY_FRAGMENT, UDP, ("ipv6_dst", LINK_SCOPE)))


def of_all(ports: AllServedPorts) -> Iterator[Flow]:
    """Yield the flows that all served ports share."""
    def flow(priority: int, match: Match, actions: tuple[Action, ...]) -> Flow:
        return Flow(stages.PORT_SECURITY, priority, (IPV6, *match), actions, NAME, ports.key)

    for match in HIDING:
        yield flow(HIDDEN, match, refuse(Refusal.HEADER_CHAIN))
    for match in FROM_ROUTERS:
        yield flow(GUARDED, match, refuse(Refusal.RA_GUARD))
    for match in TO_DHCPV6_CLIENTS:
        yield flow(GUARDED, match, refuse(Refusal.DHCPV6_GUARD))
    yield flow(ON, (), (Resubmit(SOURCE_MAC),))


def of_port(port: ServedPort) -> Iterator[Flow]:
    """Yield the flows by which a port is exempt from a guard, and those that count."""
    reasons = [Refusal.HEADER_CHAIN]
    for guarded, matches, reason in ((port.ra_guard, FROM_ROUTERS, Refusal.RA_GUARD),
                                     (port.dhcpv6_guard, TO_DHCPV6_CLIENTS, Refusal.DHCPV6_GUARD)):
        if guarded:
            reasons.append(reason)
            continue
        for match in matches:
            yield Flow(stages.PORT_SECURITY, EXEMPT, ((REG_PORT, port.ofport), IPV6, *match),
                       (Resubmit(SOURCE_MAC),), NAME, port.key)
    yield from refusals.counted(port, reasons, NAME)


FEATURE = FlowFeature(
    NAME, 31, "Refuses what only routers and DHCPv6 servers send, and headers that could hide it.",
    {AllServedPorts.kind: of_all, ServedPort.kind: of_port},
    (Example("Once per host with served ports", "Higher priorities are for what could hide a message:",
             (ALL_PORTS,)),
     Example("Per served port", "What is refused is counted:", (SERVED_PORT,)),
     Example("Per served port without guards", "With ``[ports] ra_guard`` and ``dhcpv6_guard`` set to "
             "``none``, or to ``secured`` for a port that is not:", (SERVED_PORT_ROUTER,))),
    tables=(_TABLE, refusals.TABLE))
