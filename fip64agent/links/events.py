# SPDX-License-Identifier: Apache-2.0
"""The kernel's news of one namespace, and which of it may concern us. Pure."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Iterator
from socket import AF_INET

from fip64agent.links import rtnetlink
from fip64agent.links.model import INNER_MTU, PROTOCOL


def _groups(*numbers: int) -> int:
    return sum(1 << number - 1 for number in numbers)


LINKS = _groups(1)
ALL = _groups(1, 3, 5, 7, 8, 9, 11, 19, 24, 25)
"""RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE,
IPV4_NETCONF (forwarding, rp_filter), IPV6_NETCONF."""

_NEW_LINK, _DELETED_LINK = 16, 17
_ADDRESSES, _ROUTES, _NEIGHBORS, _RULES, _NETCONF = {20, 21}, {24, 25}, {28, 29}, {32, 33}, {80, 81}
_IFF_UP, _IFF_PROMISC = 0x1, 0x100
_NAME, _MTU, _OIF, _NETCONF_INDEX, _ADDRESS_ORIGIN, _LINK_INFO, _LINK_KIND = 3, 4, 4, 1, 11, 18, 1
_TUN = b"tun"
_KERNEL_LINK_LOCAL = b"\x03"
_OUR_NAMES = re.compile(rb"(ovs|vpp)-((nd-)?[0-9a-f]{8}|dl(-\d+)?)")


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the link with that index (0: to none)."""

    port: int
    """Netlink port id of who did it; 0: the kernel does not say."""
    index: int
    echo: bool
    """It may follow later, by itself, from making or setting up a link."""


def parse(data: bytes, is_agents_own: bool) -> Iterator[Event]:
    """Yield what may concern us. `is_agents_own`: the agent's own namespace, where we have but links."""
    for kind, _flags, _sequence, port, body in rtnetlink.messages(data):
        try:
            event = _event(kind, port, body, is_agents_own)
        except (struct.error, IndexError):  # nothing we know; then better look
            event = Event(port, 0, False)
        if event is not None:
            yield event


def _event(kind: int, port: int, body: bytes, is_agents_own: bool) -> Event | None:
    if kind in (_NEW_LINK, _DELETED_LINK):
        return _link_event(kind, port, body, is_agents_own)
    if is_agents_own:
        return None
    if kind in _ADDRESSES:
        if dict(rtnetlink.attributes(body, 8)).get(_ADDRESS_ORIGIN) == _KERNEL_LINK_LOCAL:
            return None  # made of the link's MAC; it comes and goes with the link
        return Event(port, struct.unpack_from("=I", body, 4)[0], False)
    if kind in _ROUTES and body[5] == PROTOCOL:
        oif = dict(rtnetlink.attributes(body, 12)).get(_OIF, bytes(4))
        return Event(port, struct.unpack("=I", oif)[0], False)
    if kind in _NEIGHBORS and body[0] == AF_INET:  # with IPv6 they come and go by themselves
        return Event(port, struct.unpack_from("=i", body, 4)[0], False)
    if kind in _RULES:
        return Event(port, 0, False)
    if kind in _NETCONF:
        index = struct.unpack("=i", dict(rtnetlink.attributes(body, 4)).get(_NETCONF_INDEX, bytes(4)))[0]
        return Event(port, index, False) if index < 0 else None  # all, default: what we set
    return None


def _link_event(kind: int, port: int, body: bytes, is_agents_own: bool) -> Event | None:
    index, flags, change = struct.unpack_from("=iII", body, 4)
    up = kind == _NEW_LINK and bool(flags & _IFF_UP)
    if up and change == _IFF_PROMISC:  # a switch or a sniffer looks at it
        return None
    told = dict(rtnetlink.attributes(body, 16))
    name = told.get(_NAME, b"").rstrip(b"\0")
    if is_agents_own and not _OUR_NAMES.fullmatch(name):
        return None
    kind_of_link = dict(rtnetlink.attributes(told.get(_LINK_INFO, b""), 0)).get(_LINK_KIND, b"").rstrip(b"\0")
    if up and kind_of_link == _TUN and told.get(_MTU) == struct.pack("=I", INNER_MTU):
        return None  # the translator opens or closes it: that takes its carrier up and down
    return Event(port, index, up)
