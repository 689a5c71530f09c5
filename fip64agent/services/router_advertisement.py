# SPDX-License-Identifier: Apache-2.0
"""Router Advertisements to each served port: on request, at intervals, and when something has changed.

A port gets advertisements of its own, so that a VM that has just come hears one at once (RFC 4861, sections
6.1.1, 6.2.4 to 6.2.6), and no flood of one port's delays those of another.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address

from fip64agent.net import packet as net
from fip64agent.net.addresses import ALL_NODES, multicast_mac
from fip64agent.net.advertising import Advertising, leaving, messages
from fip64agent.net.icmpv6 import RouterAdvertisement, RouterSolicitation
from fip64agent.net.ipv6 import ICMPV6, MINIMUM_MTU, IPv6
from fip64agent.net.options import SourceLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet
from fip64agent.plan.ports.objects import RouterInterface6, ServedPort
from fip64agent.services.base import Event, Occasion, Outgoing, Service, Turn

HOP_LIMIT = 255
INITIAL_NUMBER, INITIAL_INTERVAL = 3, 16.0
"""MAX_INITIAL_RTR_ADVERTISEMENTS, and MAX_INITIAL_RTR_ADVERT_INTERVAL in seconds (RFC 4861, section 10)."""
SHORTEST_PAUSE = 3.0
"""MIN_DELAY_BETWEEN_RAS in seconds."""
SHARE = 1 / 3
"""Of the longest interval, that the shortest one is (RFC 4861, section 6.2.1, is 0.33)."""
SOON = 7200
"""Seconds that an address stays valid, at most, whose prefix is not advertised any more (RFC 4862, section
5.5.3: a host does not go below)."""

_EVERYBODY = multicast_mac(ALL_NODES)
_messages = functools.lru_cache(maxsize=1024)(messages)


def answer(packet: Packet, port: ServedPort) -> Iterator[Outgoing]:
    """Answer a Router Solicitation: to the sender, or to all nodes when it has no address yet."""
    header, message = packet.ipv6, packet.payload
    if not isinstance(message, RouterSolicitation) or header.hop_limit != HOP_LIMIT:
        return
    unspecified = header.source.is_unspecified
    if unspecified and any(isinstance(option, SourceLinkLayerAddress) for option in message.options):
        return
    destination = ALL_NODES if unspecified else header.source
    mac = _EVERYBODY if unspecified else packet.ethernet.source
    for gateway in port.gateways:
        if gateway.advertising is not None:
            for data in _packets(gateway, gateway.advertising, destination, mac):
                yield Outgoing(data)


def advertise(port: ServedPort, occasion: Occasion) -> Turn | None:
    """Return what a port hears without asking.

    When a router leaves its network the port hears that it is no default router any more; of a prefix that is
    not advertised any more, that its addresses are not to be used for new connections (RFC 9096, section
    3.5).
    """
    if occasion.event is Event.GONE:
        return Turn()
    old = occasion.old.gateways if occasion.old is not None else ()
    if occasion.event is Event.CHANGED and _advertised(old) == _advertised(port.gateways):
        return None
    packets = [*_last(old, port.gateways)]
    before = {gateway.port_id: gateway.advertising for gateway in old}
    intervals = []
    for gateway in port.gateways:
        if gateway.advertising is not None:
            told = _with_former_prefixes(gateway.advertising, before.get(gateway.port_id))
            packets += _packets(gateway, told, ALL_NODES, _EVERYBODY)
            intervals.append(float(gateway.interval))
    if not intervals:
        return Turn(_outgoing(packets, port))
    longest = min(intervals)
    shortest = max(SHARE * longest, SHORTEST_PAUSE)
    if occasion.number < INITIAL_NUMBER:
        longest, shortest = min(longest, INITIAL_INTERVAL), min(shortest, INITIAL_INTERVAL)
    return Turn(_outgoing(packets, port), (shortest, longest))


def _advertised(gateways: Iterable[RouterInterface6]) -> list[tuple[str, IPv6Address, Advertising, int]]:
    return [(gateway.port_id, gateway.link_local, gateway.advertising, gateway.interval)
            for gateway in gateways if gateway.advertising is not None]


def _last(old: Iterable[RouterInterface6], new: Iterable[RouterInterface6]) -> Iterator[bytes]:
    left = {(gateway.port_id, gateway.link_local) for gateway in new if gateway.advertising is not None}
    for gateway in old:
        if gateway.advertising is not None and (gateway.port_id, gateway.link_local) not in left:
            yield from _packets(gateway, leaving(gateway.advertising), ALL_NODES, _EVERYBODY)


def _with_former_prefixes(now: Advertising, before: Advertising | None) -> Advertising:
    known = {(prefix.prefix, prefix.length) for prefix in now.prefixes}
    former = tuple(dataclasses.replace(prefix, preferred_lifetime=0,
                                       valid_lifetime=min(SOON, prefix.valid_lifetime))
                   for prefix in (before.prefixes if before is not None else ())
                   if (prefix.prefix, prefix.length) not in known)
    return dataclasses.replace(now, prefixes=(*now.prefixes, *former)) if former else now


def _packets(gateway: RouterInterface6, advertising: Advertising, destination: IPv6Address,
             mac: str) -> Iterator[bytes]:
    for message in _messages(advertising, max(gateway.mtu, MINIMUM_MTU)):
        yield _packet(gateway, message, destination, mac)


def _packet(gateway: RouterInterface6, message: RouterAdvertisement, destination: IPv6Address,
            mac: str) -> bytes:
    return net.build(Packet(Ethernet(mac, gateway.mac),
                            IPv6(gateway.link_local, destination, ICMPV6, HOP_LIMIT), message))


def _outgoing(packets: Iterable[bytes], port: ServedPort) -> tuple[Outgoing, ...]:
    return tuple(Outgoing(data, (port.ofport,)) for data in packets)


SERVICE = Service("router-advertisement", ServedPort.kind, lambda port: (port.ofport,), answer,
                  unsolicited=advertise, shortest_pause=SHORTEST_PAUSE)
