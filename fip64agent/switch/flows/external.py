# SPDX-License-Identifier: Apache-2.0
"""IPv6 between the networks of served ports and the outside, without translation.

What no other route takes goes to the far end of the uplink's veth, which has the uplink's routes and resolves
its next hops. What comes in by the uplink for a prefix of the router is routed to the VMs.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.ports.objects import ExternalRoute6
from fip64agent.switch import pipeline, stages
from fip64agent.switch.examples import EXTERNAL_ROUTE
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import (
    IPV6,
    UNTAGGED,
    DecTtl,
    Flow,
    Move,
    Output,
    Resubmit,
    SetField,
    StripVlan,
)
from fip64agent.switch.flows.routing import ROUTES
from fip64agent.switch.stages import REG_ROUTER, load

NAME = "external"


def external(route: ExternalRoute6) -> Iterator[Flow]:
    """Yield the default route of a router, and the flows for its prefixes at the uplink."""
    if route.veth_ofport is None:
        return
    yield Flow(stages.ROUTE, ROUTES, ((REG_ROUTER, route.router), IPV6), (
        Move("eth_dst", "eth_src", 48), SetField("eth_dst", route.mac), DecTtl(),
        Output(route.veth_ofport)), NAME, route.key)
    for ofport in route.uplink_ofports:
        for prefix in route.prefixes:
            yield Flow(pipeline.CLASSIFIER, pipeline.CLASSIFY,
                       (("in_port", ofport), UNTAGGED, IPV6, ("ipv6_dst", prefix)),
                       (StripVlan(), load(REG_ROUTER, route.router), Resubmit(stages.ROUTE)), NAME, route.key)


FEATURE = FlowFeature(
    NAME, 28, "IPv6 between served ports and the outside.", {ExternalRoute6.kind: external},
    (Example("Per router", "Its networks have the prefix 2001:db8:1::/64; the uplink is port 1, the veth to "
             "the translator port 11:", (EXTERNAL_ROUTE,)),))
