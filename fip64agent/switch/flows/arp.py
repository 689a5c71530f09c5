# SPDX-License-Identifier: Apache-2.0
"""ARP for the tenant router's IPv4 address, answered at the VM's port (RFC 826)."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Gateway
from fip64agent.switch import pipeline
from fip64agent.switch.examples import GATEWAY
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import ARP, IN_PORT, UNTAGGED, Flow, Move, Output, SetField, StripVlan


def arp(gateway: Gateway) -> Iterator[Flow]:
    """Yield the flow that turns the VM's request for its gateway into the reply."""
    if not gateway.answers:
        return
    yield Flow(pipeline.CLASSIFIER, pipeline.SERVICE,
               (("in_port", gateway.vm_ofport), UNTAGGED, ("eth_src", gateway.vm_mac), ARP, ("arp_op", 1),
                ("arp_tpa", gateway.address)),
               (StripVlan(), Move("eth_src", "eth_dst", 48), SetField("eth_src", gateway.mac),
                SetField("arp_op", 2), Move("arp_sha", "arp_tha", 48), Move("arp_spa", "arp_tpa", 32),
                SetField("arp_sha", gateway.mac), SetField("arp_spa", gateway.address), Output(IN_PORT)),
               "arp", gateway.key)


FEATURE = FlowFeature(
    "arp", 7, "Answers the VM's ARP requests for its tenant router's address.", {Gateway.kind: arp},
    (Example("Per gateway of a VM port", "Unless ``[ovs] answer_arp`` is off:", (GATEWAY,)),))
