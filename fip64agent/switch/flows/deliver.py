# SPDX-License-Identifier: Apache-2.0
"""Translated packets from the translator to the VM."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Mapping64
from fip64agent.switch import pipeline
from fip64agent.switch.flows.flow import IPV4, Action, Announcement, Flow, Output, PopVlan, SetField

PRESENT = 0x1000
"""OFPVID_PRESENT: there is an 802.1Q tag."""


def deliver(mapping: Mapping64) -> Iterator[Flow]:
    """To the fixed IP, from the tenant's downlink: out to the VM as from its gateway.

    It is the last part of the way in, so with it an on-link floating IP is announced.
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
                Output(mapping.vm_ofport)),
               pipeline.Kind.DELIVER, mapping.key,
               (Announcement(mapping.uplink_ofport, mapping.uplink_mac, mapping.floating_ip),)
               if mapping.on_link else ())
