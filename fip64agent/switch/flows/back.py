# SPDX-License-Identifier: Apache-2.0
"""The VM's packets to pool addresses: answers to clients, and what it initiates itself."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Mapping64
from fip64agent.switch import pipeline
from fip64agent.switch.examples import MAPPING, MAPPING_SHARED
from fip64agent.switch.features import Example, FlowFeature
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


def back(mapping: Mapping64) -> Iterator[Flow]:
    """Yield the flow from the VM's MAC and fixed IP to the tenant's pool: out to the translator."""
    if mapping.downlink_ofport is None:
        return
    tag: tuple[Action, ...] = ()
    if mapping.downlink_vlan is not None:
        tag = (PushVlan(mapping.downlink_vlan),)
    yield Flow(pipeline.CLASSIFIER, pipeline.SERVICE,
               (("in_port", mapping.vm_ofport), UNTAGGED, ("eth_src", mapping.vm_mac), IPV4,
                ("ipv4_src", mapping.fixed_ip), ("ipv4_dst", mapping.pool)),
               (StripVlan(), SetField("eth_dst", mapping.downlink_mac), *tag,
                Output(mapping.downlink_ofport)),
               "back", mapping.key)


FEATURE = FlowFeature(
    "back", 6, "The VM's packets to pool addresses, to the translator.", {Mapping64.kind: back},
    (Example("Per floating IP", "To the tenant's own downlink, here port 12:", (MAPPING,)),
     Example("Per floating IP, with a shared downlink", "The 802.1Q tag tells the tenant:",
             (MAPPING_SHARED,))))
