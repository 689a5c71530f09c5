# SPDX-License-Identifier: Apache-2.0
"""Translated packets from the translator to the VM."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Mapping64
from fip64agent.switch import pipeline
from fip64agent.switch.examples import MAPPING, MAPPING_FILTERED, MAPPING_SHARED
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import IPV4, Action, Announcement, Flow, Output, PopVlan, SetField
from fip64agent.switch.stages import REG_NETWORK, TRACK_IN, load, to_port

PRESENT = 0x1000
"""OFPVID_PRESENT: there is an 802.1Q tag."""


def deliver(mapping: Mapping64) -> Iterator[Flow]:
    """Yield the flow from the tenant's downlink to the VM with the fixed IP, with the MAC of its gateway.

    It is the last flow that a client's packet needs, so an on-link floating IP is announced when it is new.
    """
    if mapping.downlink_ofport is None:
        return
    tag: tuple = ()
    untag: tuple[Action, ...] = ()
    if mapping.downlink_vlan is not None:
        tag, untag = (("vlan_vid", PRESENT | mapping.downlink_vlan),), (PopVlan(),)
    yield Flow(pipeline.CLASSIFIER, pipeline.SERVICE,
               (("in_port", mapping.downlink_ofport), *tag, IPV4, ("ipv4_dst", mapping.fixed_ip)),
               (*untag, SetField("eth_src", mapping.gateway_mac), SetField("eth_dst", mapping.vm_mac),
                *_to_vm(mapping)),
               "deliver", mapping.key,
               (Announcement(mapping.uplink_ofport, mapping.uplink_mac, mapping.floating_ip),)
               if mapping.on_link else ())


def _to_vm(mapping: Mapping64) -> tuple[Action, ...]:
    if mapping.filtered_network is None:
        return (Output(mapping.vm_ofport),)
    return load(REG_NETWORK, mapping.filtered_network), *to_port(mapping.vm_ofport, TRACK_IN)


FEATURE = FlowFeature(
    "deliver", 5, "Translated packets to the VM.", {Mapping64.kind: deliver},
    (Example("Per floating IP", "Floating IP 2001:db8:100::a for the VM with 10.0.0.5 at port 21; each "
             "tenant has a downlink of its own, here port 12.", (MAPPING,)),
     Example("Per floating IP, with a shared downlink", "All tenants share one veth, here port 13; the "
             "802.1Q tag tells the tenant.", (MAPPING_SHARED,)),
     Example("Per floating IP of a port with security groups", "They see the translated packet:",
             (MAPPING_FILTERED,))))
