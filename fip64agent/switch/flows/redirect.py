# SPDX-License-Identifier: Apache-2.0
"""IPv6 between an uplink and the translator."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network, collapse_addresses

from fip64agent.plan.desired import Mapping64, Uplink
from fip64agent.plan.inputs import REDIRECT_ALL
from fip64agent.switch import pipeline
from fip64agent.switch.flows.flow import ICMPV6, IPV6, NORMAL, UNTAGGED, Action, Flow, Match, Output

LINK_LOCAL = IPv6Network("fe80::/10")
ALL_NODES = IPv6Address("ff02::1")
MLD_QUERY, SOLICITATION, ADVERTISEMENT = 130, 135, 136


def link_local(mac: str) -> IPv6Address:
    """Return the link-local address that a MAC leads to (modified EUI-64, RFC 4291 appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def _external(uplink: Uplink) -> Iterator[tuple[Match, bool]]:
    """Yield what the translator must see, and whether others on the bridge want it too.

    Not the prefixes of its own network: other machines of that network may be plugged in here, so
    on-link floating IPs are redirected one by one.

    Its Neighbor Discovery needs: solicitations for its own addresses, advertisements to its
    link-local address (Linux solicits from there), and those sent to all nodes. MLD queries keep
    its groups alive on switches that snoop. Router Advertisements it ignores.
    """
    own = [address.ip for address in uplink.addresses]
    prefixes = [*uplink.routed, *map(IPv6Network, own)]
    for prefix in collapse_addresses(prefixes):
        yield (("ipv6_dst", prefix if prefix.prefixlen < 128 else prefix.network_address),), False
    yield (("eth_dst", uplink.mac), ("ipv6_dst", LINK_LOCAL)), False
    for address in sorted({*own, link_local(uplink.mac)}):
        yield (ICMPV6, ("icmpv6_type", SOLICITATION), ("icmpv6_code", 0), ("ipv6_nd_target", address)), False
    for kind in (ADVERTISEMENT, MLD_QUERY):
        yield (ICMPV6, ("icmpv6_type", kind), ("ipv6_dst", ALL_NODES)), True


def redirect(uplink: Uplink) -> Iterator[Flow]:
    """Uplink to veth: all IPv6, or external networks only; veth to uplink: all IPv6."""
    if uplink.veth_ofport is None:
        return

    def flow(match: Match, *actions: Action) -> Flow:
        return Flow(pipeline.CLASSIFIER, pipeline.SERVICE, match, actions, pipeline.Kind.REDIRECT, uplink.key)

    incoming = (("in_port", uplink.ofport), UNTAGGED, IPV6)
    to_veth = Output(uplink.veth_ofport)
    if uplink.redirect == REDIRECT_ALL:
        yield flow(incoming, to_veth)
    else:
        for match, shared in _external(uplink):
            yield flow(incoming + match, to_veth, *([Output(NORMAL)] if shared else []))
    yield flow((("in_port", uplink.veth_ofport), IPV6), Output(uplink.ofport))


def redirect_one(mapping: Mapping64) -> Iterator[Flow]:
    """An on-link floating IP, where only external networks are redirected."""
    if mapping.redirect_ofport is not None:
        yield Flow(pipeline.CLASSIFIER, pipeline.SERVICE,
                   (("in_port", mapping.uplink_ofport), UNTAGGED, IPV6, ("ipv6_dst", mapping.floating_ip)),
                   (Output(mapping.redirect_ofport),), pipeline.Kind.REDIRECT, mapping.key)
