# SPDX-License-Identifier: Apache-2.0
"""What a router advertises on a link, as Router Advertisements (RFC 4861, 4191, 8106, 8781)."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address

from fip64agent.net import ipv6, names, options
from fip64agent.net.icmpv6 import MANAGED, OTHER_CONFIGURATION, PREFERENCE_MEDIUM, RouterAdvertisement
from fip64agent.net.ipv6 import MINIMUM_MTU, PacketError
from fip64agent.net.options import Mtu, Option, PrefixInformation, SourceLinkLayerAddress
from fip64agent.net.router_options import (
    MOST_ADDRESSES,
    MOST_NAME_OCTETS,
    Dnssl,
    Pref64,
    Rdnss,
    RouteInformation,
)

_FIXED = ipv6.HEADER.size + 16
"""Octets of a Router Advertisement without options, with its IPv6 header."""


@dataclasses.dataclass(frozen=True, slots=True)
class Advertising:
    """What a router advertises on a link; ports of the same link share one. Lifetimes are in seconds."""

    mac: str
    """MAC address of the router, for the Source Link-Layer Address option."""
    router_lifetime: int = 1800
    """0: not a default router."""
    managed: bool = False
    """M: addresses are to be had by DHCPv6."""
    other: bool = False
    """O: other configuration, such as DNS servers, is to be had by DHCPv6."""
    preference: int = PREFERENCE_MEDIUM
    """icmpv6.PREFERENCE_HIGH ...; a router that is not a default router has none (RFC 4191, section 2.2)."""
    hop_limit: int = 64
    """Of packets that hosts send; 0: not specified."""
    reachable_time: int = 0
    """Milliseconds; 0: not specified."""
    retransmit_timer: int = 0
    """Milliseconds; 0: not specified."""
    prefixes: tuple[PrefixInformation, ...] = ()
    mtu: int | None = None
    """For the MTU option; None: without it."""
    routes: tuple[RouteInformation, ...] = ()
    dns_servers: tuple[IPv6Address, ...] = ()
    """Any number."""
    dns_servers_lifetime: int = 5400
    """The default here and below: three times the longest interval of unsolicited advertisements that there
    may be (RFC 8106, section 5.1; RFC 4861, section 6.2.1)."""
    search_domains: tuple[str, ...] = ()
    """Names of DNS, any number."""
    search_domains_lifetime: int = 5400
    nat64_prefixes: tuple[Pref64, ...] = ()


def leaving(advertising: Advertising) -> Advertising:
    """Return what a router advertises at last: that it is no default router any more (RFC 4861, section
    6.2.5), and that what it offered is not to be used by way of it: routes, DNS, NAT64.

    The prefixes stay as they are: they are the link's, not the router's.
    """
    return dataclasses.replace(
        advertising, router_lifetime=0, dns_servers_lifetime=0, search_domains_lifetime=0,
        routes=tuple([dataclasses.replace(route, lifetime=0) for route in advertising.routes]),
        nat64_prefixes=tuple([dataclasses.replace(prefix, lifetime=0)
                              for prefix in advertising.nat64_prefixes]))


def messages(advertising: Advertising, link_mtu: int) -> tuple[RouterAdvertisement, ...]:
    """Return the messages that advertise it: one, or more if the options do not all fit into one packet of
    `link_mtu` bytes (RFC 4861, section 6.2.3), or are more than our own codec reads (options.MOST, LONGEST).

    Each message has the router's MAC and the MTU. Hosts take the options of all of them together.
    Raises: PacketError when a value does not fit, or `link_mtu` is below 1,280.
    """
    if link_mtu < MINIMUM_MTU:
        raise PacketError(f"a link with an MTU of {link_mtu}")
    always: tuple[Option, ...] = (SourceLinkLayerAddress(advertising.mac),)
    if advertising.mtu is not None:
        always += (Mtu(advertising.mtu),)
    room = min(link_mtu - _FIXED, options.LONGEST) - 8 * len(always)
    parts: list[list[Option]] = [[]]
    left = room
    for option in _options(advertising, room):
        size = _size(option)
        if size > left or len(always) + len(parts[-1]) == options.MOST:
            parts.append([])
            left = room
        parts[-1].append(option)
        left -= size
    flags = (MANAGED if advertising.managed else 0) | (OTHER_CONFIGURATION if advertising.other else 0)
    if advertising.router_lifetime:
        flags |= advertising.preference
    return tuple([RouterAdvertisement(advertising.hop_limit, flags, advertising.router_lifetime,
                                      advertising.reachable_time, advertising.retransmit_timer,
                                      (*always, *part)) for part in parts])


def _options(advertising: Advertising, room: int) -> Iterator[Option]:
    """Yield the options; those that have lists are split so that each fits into `room` octets."""
    yield from advertising.prefixes
    yield from advertising.routes
    servers, most = advertising.dns_servers, min(MOST_ADDRESSES, (room - 8) // 16)
    for start in range(0, len(servers), most):
        yield Rdnss(advertising.dns_servers_lifetime, servers[start:start + most])
    yield from _search_lists(advertising, min(MOST_NAME_OCTETS, (room - 8) // 8 * 8))
    yield from advertising.nat64_prefixes


def _search_lists(advertising: Advertising, most: int) -> Iterator[Dnssl]:
    """Yield options of `most` octets of names each, at most."""
    together: list[str] = []
    octets = 0
    for name in advertising.search_domains:
        size = len(names.encode(name))
        if octets + size > most or len(together) == names.MOST:
            yield Dnssl(advertising.search_domains_lifetime, tuple(together))
            together, octets = [], 0
        together.append(name)
        octets += size
    if together:
        yield Dnssl(advertising.search_domains_lifetime, tuple(together))


def _size(option: Option) -> int:
    try:
        return len(options.build((option,)))
    except (struct.error, ValueError) as error:
        raise PacketError(f"a value does not fit into an option: {error}") from error
