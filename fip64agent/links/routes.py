# SPDX-License-Identifier: Apache-2.0
"""Routes as rtnetlink messages, for thousands of them at once."""

from __future__ import annotations

import dataclasses
import errno
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6

from fip64agent.links import rtnetlink
from fip64agent.links.model import BLACKHOLE, DEFAULT_METRIC6, PROTOCOL, UNICAST, Route

_NEW, _DELETE, _GET = 24, 25, 26
_MESSAGE = struct.Struct("=BBBBBBBBI")
"""rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""
_NUMBER = struct.Struct("=I")
_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_ONLINK, _CLONED = 0x4, 0x200
_SCOPE_LINK, _NOWHERE = 253, 255
_TYPES = {UNICAST: 1, BLACKHOLE: 6}
_KINDS = {number: kind for kind, number in _TYPES.items()}
_OTHER = "type "
_GONE = {errno.ESRCH, errno.ENODEV, errno.ENOENT}
_FORMS = {AF_INET: (IPv4Address, IPv4Network, 4), AF_INET6: (IPv6Address, IPv6Network, 16)}

Link = Callable[[str], int]
"""Returns a link's index by its name; may raise an exception when there is no such link."""
Request = tuple[int, int, bytes]
"""(message type, flags, body)"""


def _family(route: Route) -> int:
    return AF_INET if route.destination.version == 4 else AF_INET6


def _type(kind: str) -> int:
    """Return the kernel's number of a kind, also of one that we never make but may have to remove."""
    return _TYPES[kind] if kind in _TYPES else int(kind.removeprefix(_OTHER))


def _request(route: Route, kind: str, scope: int, flags: int, attributes: bytes) -> bytes:
    # A table above 255 goes into the attribute only; 0 stands for it in the header.
    header = _MESSAGE.pack(_family(route), route.prefixlen, 0, 0,
                           route.table if route.table < 256 else 0, PROTOCOL, scope, _type(kind), flags)
    body = header + rtnetlink.attribute(_TABLE, _NUMBER.pack(route.table))
    if route.prefixlen:
        body += rtnetlink.attribute(_DST, route.address.packed)
    if route.metric:
        body += rtnetlink.attribute(_PRIORITY, _NUMBER.pack(route.metric))
    return body + attributes


def addition(route: Route, link: Link) -> Request:
    """Return the request that makes a route, or replaces the one to the same destination.

    Raises: what `link` raises.
    """
    extra, flags, scope = b"", 0, 0
    if route.kind == UNICAST:
        extra = rtnetlink.attribute(_OIF, _NUMBER.pack(link(route.link)))
        if route.via is not None:
            flags = _ONLINK
            extra += rtnetlink.attribute(_GATEWAY, route.via.packed)
        elif route.destination.version == 4:
            scope = _SCOPE_LINK
    return _NEW, rtnetlink.CREATE | rtnetlink.REPLACE, _request(route, route.kind, scope, flags, extra)


def removal(route: Route) -> Request:
    """Return the request that removes a route."""
    # Without a metric the kernel would remove the one with the lowest metric.
    if route.destination.version == 6 and not route.metric:
        route = dataclasses.replace(route, metric=DEFAULT_METRIC6)
    return _DELETE, 0, _request(route, route.kind, _NOWHERE if route.destination.version == 4 else 0, 0, b"")


def change(socket: rtnetlink.Socket, requests: Sequence[Sequence[Request]]) -> list[rtnetlink.Refusal | None]:
    """Send groups of requests; return for each group the first refusal, None when there was none.

    That a route to remove does not exist any more is success. Raises: OSError.
    """
    answers = iter(socket.change([request for group in requests for request in group]))
    results = []
    for group in requests:
        found = [refusal for (kind, _, _), refusal in zip(group, answers, strict=False)
                 if refusal is not None and not (kind == _DELETE and refusal.code in _GONE)]
        results.append(found[0] if found else None)
    return results


def read(socket: rtnetlink.Socket, netns: str, links: Mapping[int, str]) -> Iterator[Route]:
    """Yield our routes in all tables; `links`: names by index. Raises: OSError, Refusal, Interrupted."""
    for family in (AF_INET, AF_INET6):
        # The kernel sends only our routes if it can filter; _route() leaves out all others anyway.
        for body in socket.dump(_GET, _MESSAGE.pack(family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0)):
            route = _route(netns, body, links)
            if route is not None:
                yield route


def _route(netns: str, body: bytes, links: Mapping[int, str]) -> Route | None:
    family, length, _, _, table, protocol, _, kind, flags = _MESSAGE.unpack_from(body)
    if protocol != PROTOCOL or flags & _CLONED or family not in _FORMS:
        return None
    address, network, size = _FORMS[family]
    destination, link, via, metric = bytes(size), "", None, 0
    for name, value in rtnetlink.attributes(body, 12):
        if name == _DST:
            destination = value
        elif name == _OIF:
            link = links.get(_NUMBER.unpack(value)[0], "")
        elif name == _GATEWAY:
            via = address(value)
        elif name == _PRIORITY:
            metric = _NUMBER.unpack(value)[0]
        elif name == _TABLE:
            table = _NUMBER.unpack(value)[0]
    kind = _KINDS.get(kind, f"{_OTHER}{kind}")
    return Route(netns, table, network((destination, length)), "" if kind == BLACKHOLE else link, via, kind,
                 0 if family == AF_INET6 and metric == DEFAULT_METRIC6 else metric)
