# SPDX-License-Identifier: Apache-2.0
"""IPv6 between an uplink and the translator."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network, collapse_addresses

from fip64agent.net.addresses import LINK_LOCAL
from fip64agent.plan.desired import Mapping64, Uplink
from fip64agent.plan.inputs import REDIRECT_ALL
from fip64agent.switch import pipeline
from fip64agent.switch.examples import MAPPING_ALONE, UPLINK, UPLINK_BOND, UPLINK_EXTERNAL
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import IPV6, UNTAGGED, Action, Flow, Match, Output, StripVlan, to_uplink


def _external(uplink: Uplink) -> Iterator[Match]:
    """Yield what the translator must get, apart from Neighbor Discovery (flows/neighbor.py).

    The prefixes of the uplink's own network are left out: other machines of it may be connected to the
    bridge, so on-link floating IPs are redirected one by one.
    """
    prefixes = [*uplink.routed, *(IPv6Network(address.ip) for address in uplink.addresses)]
    for prefix in collapse_addresses(prefixes):
        yield (("ipv6_dst", prefix if prefix.prefixlen < 128 else prefix.network_address),)
    yield (("eth_dst", uplink.mac), ("ipv6_dst", LINK_LOCAL))


def redirect(uplink: Uplink) -> Iterator[Flow]:
    """Yield flows from uplink to veth, of all IPv6 or of external networks only, and back, of all IPv6."""
    if uplink.veth_ofport is None:
        return

    def flow(match: Match, *actions: Action) -> Flow:
        return Flow(pipeline.CLASSIFIER, pipeline.SERVICE, match, actions, "redirect", uplink.key)

    for ofport in uplink.ofports:
        incoming = (("in_port", ofport), UNTAGGED, IPV6)
        for match in [()] if uplink.redirect == REDIRECT_ALL else _external(uplink):
            yield flow(incoming + match, StripVlan(), Output(uplink.veth_ofport))
    yield flow((("in_port", uplink.veth_ofport), IPV6), to_uplink(uplink))


def redirect_of_mapping(mapping: Mapping64) -> Iterator[Flow]:
    """Yield flows for an on-link floating IP, where only external networks are redirected."""
    if mapping.redirect_ofport is None:
        return
    for ofport in mapping.uplink_ofports:
        yield Flow(pipeline.CLASSIFIER, pipeline.SERVICE,
                   (("in_port", ofport), UNTAGGED, IPV6, ("ipv6_dst", mapping.floating_ip)),
                   (StripVlan(), Output(mapping.redirect_ofport)), "redirect", mapping.key)


FEATURE = FlowFeature(
    "redirect", 2, "IPv6 between an uplink and the translator.",
    {Uplink.kind: redirect, Mapping64.kind: redirect_of_mapping},
    (Example("Per uplink", "Interface ``eth1`` is OpenFlow port 1, the veth to the translator is port 11. "
             "With ``[ovs] redirect = all``:", (UPLINK,)),
     Example("Per uplink, external networks only", "With ``[ovs] redirect = external-networks``. The "
             "translator gets what is sent to the uplink's address and to external networks:",
             (UPLINK_EXTERNAL,)),
     Example("Per uplink that is a bond", "The interfaces are OpenFlow ports 1 and 2, and 2 is the active "
             "member. Packets come in by any; they leave by the first of the bundle that is up.",
             (UPLINK_BOND,)),
     Example("Per on-link floating IP, external networks only", "Redirected by itself: other machines of the "
             "uplink's network may be plugged into the bridge.", (MAPPING_ALONE,))))
