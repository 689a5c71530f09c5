# SPDX-License-Identifier: Apache-2.0
"""Neighbor Discovery and MLD between an uplink and its Neighbor Discovery link.

The kernel at the far end of that link answers solicitations for the uplink and its on-link floating IPs. So
they are answered on every datapath, and while the agent does not run. Flows cannot do that: the kernel's
datapath refuses to set the flags of an advertisement. Advertisements go to the translator too, which solicits
its next hops itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.net.addresses import ALL_NODES, link_local
from fip64agent.net.icmpv6 import ADVERTISEMENT, MLD_QUERY, SOLICITATION
from fip64agent.plan.desired import Mapping64, Uplink
from fip64agent.plan.inputs import REDIRECT_ALL
from fip64agent.switch import pipeline
from fip64agent.switch.examples import MAPPING_ALONE, UPLINK, UPLINK_BOND, UPLINK_EXTERNAL
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import (
    ICMPV6,
    IPV6,
    NORMAL,
    UNTAGGED,
    Action,
    Announcement,
    Flow,
    Match,
    Output,
    StripVlan,
    to_uplink,
)


def _type(number: int) -> Match:
    return (ICMPV6, ("icmpv6_type", number))


def _incoming(uplink: Uplink, link: int, veth: int) -> Iterator[tuple[Match, tuple[Action, ...]]]:
    """Yield what comes in by the uplink and where it goes: `link` and `veth` are OpenFlow ports.

    Where only external networks are redirected, other machines of the network may be connected to the
    bridge: what is for all of them goes to NORMAL as well.
    """
    if uplink.redirect == REDIRECT_ALL:
        yield _type(SOLICITATION), (Output(link),)
        yield _type(ADVERTISEMENT), (Output(veth), Output(link))
        yield _type(MLD_QUERY), (Output(link),)
        return
    own = {address.ip for address in uplink.addresses} | {link_local(uplink.mac)}
    for address in sorted(own):
        yield (*_type(SOLICITATION), ("ipv6_nd_target", address)), (Output(link),)
    yield (("eth_dst", uplink.mac), *_type(ADVERTISEMENT)), (Output(veth), Output(link))
    yield (*_type(ADVERTISEMENT), ("ipv6_dst", ALL_NODES)), (Output(veth), Output(link), Output(NORMAL))
    yield _type(MLD_QUERY), (Output(link), Output(NORMAL))


def neighbor(uplink: Uplink) -> Iterator[Flow]:
    """Yield flows for solicitations, advertisements and MLD queries that come in, and for ICMPv6 going out.

    When the flow for ICMPv6 going out is new, the uplink's addresses are announced.
    """
    link, veth = uplink.nd_veth_ofport, uplink.veth_ofport
    if link is None or veth is None:
        return

    def flow(priority: int, match: Match, actions: tuple[Action, ...], announcements=()) -> Flow:
        return Flow(pipeline.CLASSIFIER, priority, match, actions, "neighbor", uplink.key,
                    announcements)

    for ofport in uplink.ofports:
        for match, actions in _incoming(uplink, link, veth):
            yield flow(pipeline.NEIGHBOR, (("in_port", ofport), UNTAGGED, IPV6, *match),
                       (StripVlan(), *actions))
    yield flow(pipeline.SERVICE, (("in_port", link), IPV6, ICMPV6), (to_uplink(uplink),),
               tuple(Announcement(uplink.active_ofport, uplink.mac, address.ip)
                     for address in uplink.addresses))


def neighbor_of_mapping(mapping: Mapping64) -> Iterator[Flow]:
    """Yield flows for solicitations of an on-link floating IP, if only external networks are redirected."""
    if mapping.nd_ofport is None:
        return
    for ofport in mapping.uplink_ofports:
        yield Flow(pipeline.CLASSIFIER, pipeline.NEIGHBOR,
                   (("in_port", ofport), UNTAGGED, IPV6, *_type(SOLICITATION),
                    ("ipv6_nd_target", mapping.floating_ip)),
                   (StripVlan(), Output(mapping.nd_ofport)), "neighbor", mapping.key)


FEATURE = FlowFeature(
    "neighbor", 3, "Neighbor Discovery and MLD between an uplink and the link whose far end answers.",
    {Uplink.kind: neighbor, Mapping64.kind: neighbor_of_mapping},
    (Example("Per uplink", "The Neighbor Discovery link is port 14. With ``[ovs] redirect = all``:",
             (UPLINK,)),
     Example("Per uplink, external networks only", "With ``[ovs] redirect = external-networks``:",
             (UPLINK_EXTERNAL,)),
     Example("Per uplink that is a bond", "Interfaces 1 and 2:", (UPLINK_BOND,)),
     Example("Per on-link floating IP, external networks only", "Solicitations for it alone: another "
             "machine's are its own business.", (MAPPING_ALONE,))))
