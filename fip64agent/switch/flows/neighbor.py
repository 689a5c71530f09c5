# SPDX-License-Identifier: Apache-2.0
"""Neighbor Advertisements for on-link floating IPs, by flows alone (RFC 4861 section 7.2).

One flow per floating IP finds its solicitations and puts in the uplink's MAC. What follows is the
same for all, so it is there once per host.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from fip64agent.plan.desired import Host, Mapping64
from fip64agent.switch import pipeline
from fip64agent.switch.flows.flow import (
    ICMPV6,
    IN_PORT,
    IPV6,
    UNTAGGED,
    Announcement,
    Flow,
    Move,
    Output,
    Resubmit,
    SetField,
)

SOLICITED, OVERRIDE = 0x40000000, 0x20000000
TARGET_LINK_LAYER_ADDRESS, NONCE = 2, 14
ALL_NODES, ALL_NODES_MAC = IPv6Address("ff02::1"), "33:33:00:00:00:01"
_SOLICITATION = (IPV6, ICMPV6, ("icmpv6_type", 135), ("icmpv6_code", 0))
_FROM_TARGET = Move("ipv6_nd_target", "ipv6_src", 128)
_TO_SENDER = Move("ipv6_src", "ipv6_dst", 128)
_IS_ADVERTISEMENT = SetField("icmpv6_type", 136)


def neighbor(mapping: Mapping64) -> Iterator[Flow]:
    """Send solicitations for this floating IP to the host's shared flows, from the uplink's MAC."""
    if not mapping.on_link:
        return
    yield Flow(
        pipeline.CLASSIFIER, pipeline.NEIGHBOR,
        (("in_port", mapping.uplink_ofport), UNTAGGED, *_SOLICITATION, ("nw_ttl", 255),
         ("ipv6_nd_target", mapping.floating_ip)),
        (Move("eth_src", "eth_dst", 48), SetField("eth_src", mapping.uplink_mac),
         Resubmit(pipeline.NEIGHBOR_SOLICITATION)),
        pipeline.Kind.NEIGHBOR, mapping.key,
        Announcement(mapping.uplink_ofport, mapping.uplink_mac, mapping.floating_ip))


def advertise(host: Host) -> Iterator[Flow]:
    """The shared flows that turn a solicitation round.

    A flow can change an option but not add one. So whoever solicits without a source link-layer
    address gets an advertisement without option: a unicast solicitation may be answered so, as
    the sender knows the address (RFC 4861 section 4.4), and a DAD probe asks only whether there
    is an answer (RFC 4862 section 5.4.4). The option such a probe does have is its nonce (RFC
    7527), which is sent back: OVS writes flags and option type together.
    """
    def flow(table, priority, match, *actions) -> Flow:
        return Flow(table, priority, match, actions, pipeline.Kind.ADVERTISE, host.key)

    table = pipeline.NEIGHBOR_SOLICITATION
    yield flow(table, pipeline.DAD, (*_SOLICITATION, ("ipv6_src", IPv6Address("::"))),
               SetField("eth_dst", ALL_NODES_MAC), SetField("ipv6_dst", ALL_NODES), _FROM_TARGET,
               SetField("nd_reserved", OVERRIDE), SetField("nd_options_type", NONCE), _IS_ADVERTISEMENT,
               Output(IN_PORT))
    yield flow(table, pipeline.BARE_SOLICITATION, (*_SOLICITATION, ("ipv6_nd_sll", "00:00:00:00:00:00")),
               _TO_SENDER, _FROM_TARGET, SetField("nd_reserved", SOLICITED | OVERRIDE),
               SetField("nd_options_type", NONCE), _IS_ADVERTISEMENT, Output(IN_PORT))
    yield flow(table, pipeline.SOLICITATION, _SOLICITATION,
               _TO_SENDER, _FROM_TARGET, SetField("nd_reserved", SOLICITED | OVERRIDE),
               SetField("nd_options_type", TARGET_LINK_LAYER_ADDRESS), _IS_ADVERTISEMENT,
               Resubmit(pipeline.NEIGHBOR_ADVERTISEMENT))
    yield flow(pipeline.NEIGHBOR_ADVERTISEMENT, pipeline.ADVERTISEMENT,
               (IPV6, ICMPV6, ("icmpv6_type", 136), ("icmpv6_code", 0)),
               Move("eth_src", "ipv6_nd_tll", 48), Output(IN_PORT))
