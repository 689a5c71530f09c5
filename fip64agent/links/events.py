# SPDX-License-Identifier: Apache-2.0
"""The kernel's notifications of changes in one namespace, and which of them may concern us. Pure."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Container, Iterator
from socket import AF_INET

from fip64agent.links import rtnetlink
from fip64agent.links.model import INNER_MTU, PROTOCOL
from fip64agent.links.reachability import NUD_PERMANENT


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


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A change that the kernel reports."""

    port: int
    """Netlink port id of the sender of the change; 0: the kernel does not say."""
    index: int
    """Index of the link that was changed, or to which it belongs; 0: of none. -1 and -2: sysctls."""
    follow_up: bool
    """Such a change also happens by itself some time after a link was made or set up."""


def parse(data: bytes, own_links: Container[str] | None) -> Iterator[Event]:
    """Yield the changes in `data`, one or more netlink messages, that may concern us.

    `own_links`: they come from the agent's own namespace, where only the links of these names are ours.
    None: they come from a namespace of ours.
    """
    for kind, _flags, _sequence, port, body in rtnetlink.messages(data):
        try:
            event = _event(kind, port, body, own_links)
        except (struct.error, IndexError):  # of a form that is not known: a read-back finds out
            event = Event(port, 0, False)
        if event is not None:
            yield event


def _event(kind: int, port: int, body: bytes, own_links: Container[str] | None) -> Event | None:
    if kind in (_NEW_LINK, _DELETED_LINK):
        return _link_event(kind, port, body, own_links)
    if own_links is not None:
        return None
    if kind in _ADDRESSES:
        if dict(rtnetlink.attributes(body, 8)).get(_ADDRESS_ORIGIN) == _KERNEL_LINK_LOCAL:
            return None  # the kernel derives it from the link's MAC; it comes and goes with the link
        return Event(port, struct.unpack_from("=I", body, 4)[0], False)
    if kind in _ROUTES and body[5] == PROTOCOL:
        oif = dict(rtnetlink.attributes(body, 12)).get(_OIF, bytes(4))
        return Event(port, struct.unpack("=I", oif)[0], False)
    if kind in _NEIGHBORS:
        index, state = struct.unpack_from("=iH", body, 4)
        # Other neighbors of IPv6 come and go by themselves. The end of a permanent one looks like theirs.
        return Event(port, index, False) if body[0] == AF_INET or state & NUD_PERMANENT else None
    if kind in _RULES:
        return Event(port, 0, False)
    if kind in _NETCONF:
        index = struct.unpack("=i", dict(rtnetlink.attributes(body, 4)).get(_NETCONF_INDEX, bytes(4)))[0]
        return Event(port, index, False) if index < 0 else None  # "all" and "default" are what we set
    return None


def _link_event(kind: int, port: int, body: bytes, own_links: Container[str] | None) -> Event | None:
    index, flags, change = struct.unpack_from("=iII", body, 4)
    up = kind == _NEW_LINK and bool(flags & _IFF_UP)
    if up and change == _IFF_PROMISC:  # a switch or a packet capture has begun or ended
        return None
    values = dict(rtnetlink.attributes(body, 16))
    name = values.get(_NAME, b"").rstrip(b"\0").decode("utf-8", "surrogateescape")
    if own_links is not None and name not in own_links:
        return None
    info = dict(rtnetlink.attributes(values.get(_LINK_INFO, b""), 0))
    kind_of_link = info.get(_LINK_KIND, b"").rstrip(b"\0")
    if up and kind_of_link == _TUN and values.get(_MTU) == struct.pack("=I", INNER_MTU):
        return None  # the carrier follows whether the translator has it open
    return Event(port, index, up)
