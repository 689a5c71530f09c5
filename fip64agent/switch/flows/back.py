# SPDX-License-Identifier: Apache-2.0
"""The VM's packets to pool addresses: answers to clients, and what it initiates itself."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Mapping64
from fip64agent.switch import pipeline, stages
from fip64agent.switch.examples import MAPPING, MAPPING_FILTERED, MAPPING_SHARED
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.conntrack import leaving
from fip64agent.switch.flows.flow import (
    IPV4,
    UNTAGGED,
    Action,
    Flow,
    Output,
    PushVlan,
    SetField,
    StripVlan,
)
from fip64agent.switch.stages import REG_PORT

NAME = "back"
AFTER_GROUPS = 100
"""Priority in l2: before any MAC counts, as in table 0."""


def back(mapping: Mapping64) -> Iterator[Flow]:
    """Yield the flow from the VM's MAC and fixed IP to the tenant's pool: out to the translator.

    The packets of a port with security groups pass these before.
    """
    if mapping.downlink_ofport is None:
        return
    tag: tuple[Action, ...] = ()
    if mapping.downlink_vlan is not None:
        tag = (PushVlan(mapping.downlink_vlan),)
    actions = (SetField("eth_dst", mapping.downlink_mac), *tag, Output(mapping.downlink_ofport))
    packet = (("eth_src", mapping.vm_mac), IPV4, ("ipv4_src", mapping.fixed_ip), ("ipv4_dst", mapping.pool))
    if mapping.filtered_network is None:
        yield Flow(pipeline.CLASSIFIER, pipeline.SERVICE,
                   (("in_port", mapping.vm_ofport), UNTAGGED, *packet), (StripVlan(), *actions), NAME,
                   mapping.key)
        return
    match = ((REG_PORT, mapping.vm_ofport), *packet)
    yield Flow(stages.L2, AFTER_GROUPS, match, actions, NAME, mapping.key)
    yield from leaving(stages.L2, AFTER_GROUPS + 1, mapping.filtered_network, match, actions, NAME,
                       mapping.key)


FEATURE = FlowFeature(
    NAME, 6, "The VM's packets to pool addresses, to the translator.", {Mapping64.kind: back},
    (Example("Per floating IP", "To the tenant's own downlink, here port 12:", (MAPPING,)),
     Example("Per floating IP, with a shared downlink", "The 802.1Q tag tells the tenant:",
             (MAPPING_SHARED,)),
     Example("Per floating IP of a port with security groups", "Behind these, where connections are "
             "committed:", (MAPPING_FILTERED,))))
