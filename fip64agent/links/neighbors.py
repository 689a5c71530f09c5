# SPDX-License-Identifier: Apache-2.0
"""The kernel's IPv6 neighbors in a network namespace: reads their states, and lets the kernel solicit them.

Blocks briefly: call it through hub.offload(). Nothing stays open, so a namespace can go at any time.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

from fip64agent.links import netns as namespaces
from fip64agent.links import rtnetlink
from fip64agent.links.reachability import NUD_PROBE, Ask

_NEW, _DELETE, _GET = 28, 29, 30
"""RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH"""
_BODY = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, index of the link, state, flags, type."""
_NTF_USE = 0x01
"""The kernel resolves the neighbor as if a packet were to be sent to it."""
_NDA_DST = 1
_TRIES = 5
"""Dumps until one was not interrupted by a change."""

Neighbor = tuple[str, IPv6Address]
"""(link, address)"""


def states(netns: str, links: Iterable[str]) -> tuple[set[str], dict[Neighbor, int]]:
    """Return which of the links are there, and the states of the neighbors on them.

    Raises: OSError when there is no such namespace, or it cannot be asked.
    """
    return namespaces.inside(netns, _with_socket, _states, list(links))


def ask(netns: str, questions: Sequence[tuple[Neighbor, Ask]]) -> None:
    """Let the kernel solicit neighbors; states() returns later what came of it.

    A link or a neighbor that does not exist any more is passed over. Raises: OSError.
    """
    namespaces.inside(netns, _with_socket, _ask, questions)


def _with_socket(function, *args):
    with contextlib.closing(rtnetlink.Socket()) as kernel:
        return function(kernel, *args)


def _states(kernel: rtnetlink.Socket, links: list[str]) -> tuple[set[str], dict[Neighbor, int]]:
    names = {index: name for name in links if (index := _index(name))}
    for _ in range(_TRIES):
        found: dict[Neighbor, int] = {}
        try:
            for body in kernel.dump(_GET, _BODY.pack(socket.AF_INET6, 0, 0, 0, 0)):
                family, index, state, _flags, _kind = _BODY.unpack_from(body)
                address = dict(rtnetlink.attributes(body, _BODY.size)).get(_NDA_DST)
                if family == socket.AF_INET6 and index in names and address is not None:
                    found[names[index], IPv6Address(address)] = state
        except rtnetlink.Interrupted:
            continue
        except rtnetlink.Refusal as error:
            raise OSError(error.code, str(error)) from error
        return set(names.values()), found
    raise OSError(errno.EAGAIN, "the neighbors change too quickly to be read")


def _ask(kernel: rtnetlink.Socket, questions: Sequence[tuple[Neighbor, Ask]]) -> None:
    requests = []
    for (link, address), how in questions:
        index = _index(link)
        if not index:
            continue
        target = rtnetlink.attribute(_NDA_DST, address.packed)
        if how is Ask.UNICAST:
            requests.append((_NEW, 0, _BODY.pack(socket.AF_INET6, index, NUD_PROBE, 0, 0) + target))
        else:  # the MAC is removed first: otherwise the kernel would ask by unicast
            requests.append((_DELETE, 0, _BODY.pack(socket.AF_INET6, index, 0, 0, 0) + target))
            requests.append((_NEW, rtnetlink.CREATE | rtnetlink.REPLACE,
                             _BODY.pack(socket.AF_INET6, index, 0, _NTF_USE, 0) + target))
    kernel.change(requests)


def _index(link: str) -> int:
    """Return the index of a link, 0 when there is none of that name."""
    try:
        return socket.if_nametoindex(link)
    except OSError:
        return 0
