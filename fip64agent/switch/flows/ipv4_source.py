# SPDX-License-Identifier: Apache-2.0
"""IPv4 of ports with security groups must come from addresses of the port.

Remotes of rules are addresses. A VM that sent from those of another one would have what that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from fip64agent.plan.groups.objects import FilteredPort
from fip64agent.switch import stages
from fip64agent.switch.examples import FILTERED_PORT
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.conntrack import UDP
from fip64agent.switch.flows.flow import IPV4, Action, Flow, Match, Resubmit
from fip64agent.switch.stages import REG_PORT

NAME = "ipv4-source"
NO_ADDRESS = IPv4Address(0)
"""The source of a DHCP client that has no address yet (RFC 2131, section 4.1)."""
OWN, OTHERS = 30, 20
"""Priorities in port-security."""


def of_port(port: FilteredPort) -> Iterator[Flow]:
    """Yield the flows for a port's addresses, for a DHCP client that has none yet, and for all others."""
    def flow(priority: int, match: Match, *actions: Action) -> Flow:
        return Flow(stages.PORT_SECURITY, priority, ((REG_PORT, port.ofport), IPV4, *match), actions, NAME,
                    port.key)

    if port.sources4 is None:
        return
    onward = Resubmit(stages.TRACK_OUT)
    for mac, prefix in port.sources4:
        source = prefix if prefix.prefixlen < prefix.max_prefixlen else prefix.network_address
        yield flow(OWN, (("eth_src", mac), ("ipv4_src", source)), onward)
    for mac in dict.fromkeys(mac for mac, _ in port.sources4):
        yield flow(OWN, (("eth_src", mac), ("ipv4_src", NO_ADDRESS), UDP, ("udp_src", 68),
                         ("udp_dst", 67)), onward)
    yield flow(OTHERS, ())


FEATURE = FlowFeature(
    NAME, 43, "Drops IPv4 of ports with security groups that does not come from addresses of the port.",
    {FilteredPort.kind: of_port},
    (Example("Per port", "Port 21 has 10.0.0.5:", (FILTERED_PORT,)),))
