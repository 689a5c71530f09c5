# SPDX-License-Identifier: Apache-2.0
"""Drops what a VM must not send: with addresses of others on an uplink, or in the reserved VLAN.

NORMAL, or another system's flow, could carry frames to an uplink's network that pretend to come from a
floating IP, an uplink or its gateway. They are dropped where they come in (RFC 2827; RFC 4861, section 11).
One flow for each VM port and a few for each prefix, put together by Open vSwitch (conjunctive match): a frame
is dropped when it comes from one of the ports and is one of those frames. Other IPv6 frames, and IPv4, are
left to other flows.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network, collapse_addresses

from fip64agent.net.addresses import UNSPECIFIED, link_local
from fip64agent.net.icmpv6 import ADVERTISEMENT, SOLICITATION
from fip64agent.plan.desired import Gateway, Host, ObjectKey
from fip64agent.switch import pipeline
from fip64agent.switch.examples import GATEWAY, HOST
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import DROP, ICMPV6, IPV6, Action, Conjunction, Flow, Match, Value

RESERVED_VLAN = 0x1FFF
"""VLAN ID 4095, which IEEE 802.1Q reserves (table 9-2), in OpenFlow's form. Our own ports are in it."""
NUMBER = 0xF1640001
"""Number of the conjunction; other systems use numbers from 1 on, or random ones."""
FROM_VM, FORGED = Conjunction(NUMBER, 1, 2), Conjunction(NUMBER, 2, 2)
TAGS = (0x8100, 0x88A8)
"""EtherTypes of 802.1Q and 802.1ad tags. A frame that matches one has more tags than Open vSwitch parses
(other_config:vlan-limit), so it is not known what it carries."""


def _flow(match: Match, actions: tuple[Action, ...], owner: ObjectKey) -> Flow:
    return Flow(pipeline.CLASSIFIER, pipeline.ISOLATION, match, actions, "isolation", owner)


def isolation(host: Host) -> Iterator[Flow]:
    """Drop the reserved VLAN, and what VM ports send in the name of uplinks, gateways, floating IPs."""
    yield _flow((("vlan_vid", RESERVED_VLAN),), DROP, host.key)
    yield _flow((("conj_id", NUMBER),), DROP, host.key)
    for match in _forged(host):
        yield _flow(match, (FORGED,), host.key)


def _forged(host: Host) -> Iterator[Match]:
    for ethertype in TAGS:
        yield (("eth_type", ethertype),)
    # When an option occurs twice Open vSwitch does not read the target and takes "::" for it, which no target
    # may be. A receiver reads the message nevertheless.
    for kind in (SOLICITATION, ADVERTISEMENT):
        yield IPV6, ICMPV6, ("icmpv6_type", kind), ("icmpv6_code", 0), ("ipv6_nd_target", UNSPECIFIED)
    for mac in host.guarded_macs:
        yield (("eth_src", mac),)
    own = [IPv6Network(link_local(mac)) for mac in host.guarded_macs]
    for prefix in collapse_addresses([*host.guarded, *own]):
        value: Value = prefix if prefix.prefixlen < prefix.max_prefixlen else prefix.network_address
        yield IPV6, ("ipv6_src", value)
        # Another link may have a router with the same link-local address, which a VM there may solicit. But
        # it must not check whether the address is free (RFC 4862, section 5.4), with a solicitation from
        # "::".
        asking = (("ipv6_src", UNSPECIFIED),) if prefix.is_link_local else ()
        for kind, match in ((SOLICITATION, asking), (ADVERTISEMENT, ())):
            yield IPV6, *match, ICMPV6, ("icmpv6_type", kind), ("icmpv6_code", 0), ("ipv6_nd_target", value)


def isolation_of_port(gateway: Gateway) -> Iterator[Flow]:
    """Yield the VM port's clause of the conjunction: frames from this port are checked."""
    if gateway.isolates:
        yield _flow((("in_port", gateway.vm_ofport),), (FROM_VM,), gateway.key)


FEATURE = FlowFeature(
    "isolation", 10, "Drops what a VM sends in the name of an uplink, a gateway or a floating IP.",
    {Host.kind: isolation, Gateway.kind: isolation_of_port},
    (Example("Once per host", "The flows with ``conjunction:...:2/2`` are what no VM port with a floating IP "
             "may send: more 802.1Q tags than Open vSwitch looks behind, the MAC of an uplink, IPv6 and "
             "Neighbor Discovery in the name of uplinks, gateways and floating IPs, here with the routed "
             "prefix 2001:db8:f::/64 and the gateway fe80::1. With those per VM port (``1/2``) they make up "
             "``conj_id``.", (HOST,)),
     Example("Per VM port", "Once per port, and not for a port whose network an uplink serves:", (GATEWAY,))))
