# SPDX-License-Identifier: Apache-2.0
"""Straight netlink for what is done by the ten thousand: IPv6 routes set, all routes read. Link events too.

pyroute2 needs 0.3 ms and two round trips for a route, and 8 kB of memory for each route that it reads
(measured); there is one route for each floating IP. Numbers are those of linux/rtnetlink.h.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
_ROUTE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, length of destination, of source, TOS, table, protocol, scope, type, flags."""
_ATTRIBUTE = struct.Struct("=HH")
_LINK_INFO = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, change mask."""
_NEW_LINK, _NEW_ROUTE, _GET_ROUTE = 16, 24, 26
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP_INTERRUPTED, _REPLACE, _DUMP, _CREATE = 0x1, 0x4, 0x10, 0x100, 0x300, 0x400
_DESTINATION, _LINK, _GATEWAY, _TABLE = 1, 4, 5, 15
_LINK_NAME, _LINK_MTU = 3, 4
_ONLINK, _UP = 4, 1
_sequence = itertools.count(1)
_SIZE = 1 << 18
"""Bytes read at once; the kernel fills up to 32 kB."""


class RouteRow(NamedTuple):
    """One route as dumped."""

    table: int
    destination: bytes | None
    length: int
    """Of the destination's prefix, in bits."""
    kind: int
    """rtm_type: 1 unicast, 6 blackhole."""
    link: int
    """Index of the link; 0 when there is none."""
    gateway: bytes | None


def open_socket() -> socket.socket:
    """Return a netlink socket of the namespace that the thread is in."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.bind((0, 0))
    return sock


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value  # all of ours are multiples of 4 bytes


def _number(value: int) -> bytes:
    return struct.pack("=I", value)


def _split(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield type, flags, sequence number and body of each message."""
    view = memoryview(data)
    offset = 0
    while offset + _HEADER.size <= len(view):
        length, kind, flags, number, _ = _HEADER.unpack_from(view, offset)
        yield kind, flags, number, view[offset + _HEADER.size:offset + length]
        offset += max(_HEADER.size, (length + 3) & ~3)


def _attributes(body: memoryview, offset: int) -> Iterator[tuple[int, memoryview]]:
    while offset + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, offset)
        yield kind, body[offset + _ATTRIBUTE.size:offset + size]
        offset += max(_ATTRIBUTE.size, (size + 3) & ~3)


def _ask(sock: socket.socket, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """Send a request and yield type, flags and body of each answer to it."""
    number = next(_sequence) & 0xFFFFFFFF
    sock.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, number, 0) + body)
    while True:
        for answer, answer_flags, answered, content in _split(sock.recv(_SIZE)):
            if answered == number:  # else left over from a request that broke off
                yield answer, answer_flags, content


def _raise_for(body: memoryview) -> None:
    """Raises: NetlinkError unless the error is 0, an acknowledgement."""
    if code := -struct.unpack_from("=i", body)[0]:
        raise NetlinkError(code, os.strerror(code))


def replace_route(sock: socket.socket, table: int, destination: IPv6Network, protocol: int, kind: int,
                  link: int = 0, gateway: IPv6Address | None = None) -> None:
    """Set an IPv6 route, by link `link` (an index) and over `gateway` where given. Raises: NetlinkError."""
    attributes = [_attribute(_TABLE, _number(table)), _attribute(_DESTINATION,
                                                                 destination.network_address.packed)]
    if link:
        attributes.append(_attribute(_LINK, _number(link)))
    if gateway is not None:
        attributes.append(_attribute(_GATEWAY, gateway.packed))
    body = _ROUTE.pack(socket.AF_INET6, destination.prefixlen, 0, 0, table if table < 256 else 0, protocol, 0,
                       kind, _ONLINK if gateway is not None else 0) + b"".join(attributes)
    for answer, _, content in _ask(sock, _NEW_ROUTE, _ACK | _CREATE | _REPLACE, body):
        if answer == _ERROR:
            _raise_for(content)
            return


def routes(sock: socket.socket, family: int, protocol: int) -> list[RouteRow]:
    """Return all routes of a protocol. Raises: NetlinkDumpInterrupted when they changed meanwhile."""
    body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    result = []
    interrupted = False
    for answer, flags, content in _ask(sock, _GET_ROUTE, _DUMP, body):
        interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
        if answer == _ERROR:
            _raise_for(content)
        elif answer == _NEW_ROUTE:
            if content[5] == protocol:
                result.append(_row(content))
        elif answer == _DONE:
            if interrupted:  # only now: the rest of the dump must not stay in the socket
                raise NetlinkDumpInterrupted()
            return result
    return result


def _row(body: memoryview) -> RouteRow:
    _, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
    destination = gateway = None
    link = 0
    for attribute, value in _attributes(body, _ROUTE.size):
        if attribute == _DESTINATION:
            destination = bytes(value)
        elif attribute == _TABLE:
            table = struct.unpack("=I", value)[0]
        elif attribute == _LINK:
            link = struct.unpack("=I", value)[0]
        elif attribute == _GATEWAY:
            gateway = bytes(value)
    return RouteRow(table, destination, length, kind, link, gateway)


def tells_only_carrier(event: bytes, link: str, mtu: int) -> bool:
    """Whether all that an event says is that `link` is there, is up and has that MTU.

    A program that opens or closes a TUN device takes its carrier up and down: that is no change.
    """
    for kind, _, _, body in _split(event):
        if kind != _NEW_LINK:
            return False
        _, _, _, flags, _ = _LINK_INFO.unpack_from(body)
        attributes = dict(_attributes(body, _LINK_INFO.size))
        if not flags & _UP or bytes(attributes.get(_LINK_NAME, b"")).rstrip(b"\0") != link.encode() \
                or bytes(attributes.get(_LINK_MTU, b"")) != _number(mtu):
            return False
    return True
