# SPDX-License-Identifier: Apache-2.0
"""Looks up routes, neighbors and addresses in a network namespace: the kernel's answer for one packet.

Reads only. Blocks briefly: call it through hub.offload().
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import netns

_T = TypeVar("_T")
_REFUSALS = {errno.EINVAL: "a blackhole route", errno.ENETUNREACH: "no route",
             errno.EHOSTUNREACH: "an unreachable route", errno.EACCES: "a prohibit route"}
_NUD = {0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY", 0x10: "PROBE",
        0x20: "FAILED", 0x40: "NOARP", 0x80: "PERMANENT"}


class LookupFailed(Exception):
    """The packet would go nowhere, or the namespace cannot be asked; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class NextHop:
    """Where the kernel would send a packet."""

    device: str
    via: str | None
    """Next hop; None when the destination is on the link."""
    table: int

    def __str__(self) -> str:
        return f"dev {self.device}" + (f" via {self.via}" if self.via else "") + f" (table {self.table})"


def _ask(name: str, question: Callable[..., _T], *args: Any) -> _T:
    """Call `question` with a socket in network namespace `name`. Raises: LookupFailed."""
    def ask() -> _T:
        with IPRoute() as handle:
            return question(handle, *args)

    try:
        return netns.inside(name, ask)
    except FileNotFoundError:
        raise LookupFailed(f"network namespace {name} does not exist") from None
    except OSError as error:
        raise LookupFailed(f"network namespace {name}: {error.strerror or error}") from error


def _index(handle: IPRoute, device: str) -> int:
    for index in handle.link_lookup(ifname=device):
        return index
    raise LookupFailed(f"interface {device} does not exist")


def route(name: str, source: IPv6Address, destination: IPv6Address, device: str) -> NextHop:
    """Return the next hop of a packet that comes in by `device` (``ip -6 route get ... iif``).

    `name`: the network namespace. Raises: LookupFailed.
    """
    return _ask(name, _route, source, destination, device)


def _route(handle: IPRoute, source: IPv6Address, destination: IPv6Address, device: str) -> NextHop:
    try:
        answer = next(iter(handle.route("get", family=socket.AF_INET6, dst=str(destination), src=str(source),
                                        iif=_index(handle, device))))
    except NetlinkError as error:
        reason = _REFUSALS.get(error.code) or os.strerror(error.code)
        raise LookupFailed(f"{reason} for {destination} from {source}") from error
    out = next(iter(handle.get_links(answer.get_attr("RTA_OIF"))))
    return NextHop(out.get_attr("IFLA_IFNAME"), answer.get_attr("RTA_GATEWAY"),
                   answer.get_attr("RTA_TABLE") or 0)


def has_address(name: str, device: str, address: IPv6Address) -> bool:
    """Return whether an interface has an address, so that the kernel answers for it. Raises: LookupFailed."""
    return _ask(name, _has_address, device, address)


def _has_address(handle: IPRoute, device: str, address: IPv6Address) -> bool:
    return bool(list(handle.get_addr(index=_index(handle, device), address=str(address))))


def neighbor(name: str, device: str, address: IPv6Address) -> tuple[str, str | None] | None:
    """Return (state, MAC) of a neighbor as the kernel knows it; None when it knows none.

    Raises: LookupFailed.
    """
    return _ask(name, _neighbor, device, address)


def _neighbor(handle: IPRoute, device: str, address: IPv6Address) -> tuple[str, str | None] | None:
    for entry in handle.get_neighbours(family=socket.AF_INET6, ifindex=_index(handle, device)):
        known = entry.get_attr("NDA_DST")
        if known is not None and IPv6Address(known) == address:
            return _NUD.get(entry["state"], f"state {entry['state']:#x}"), entry.get_attr("NDA_LLADDR")
    return None
