# SPDX-License-Identifier: Apache-2.0
"""Asks the kernel, in a network namespace, which way a packet would go. Reads only; blocks briefly:
call it through hub.offload()."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
from ipaddress import IPv6Address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

_REFUSALS = {errno.EINVAL: "a blackhole route", errno.ENETUNREACH: "no route",
             errno.EHOSTUNREACH: "an unreachable route", errno.EACCES: "a prohibit route"}
_NUD = {0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY", 0x10: "PROBE",
        0x20: "FAILED", 0x40: "NOARP", 0x80: "PERMANENT"}


class NoWay(Exception):
    """The packet would go nowhere, or the namespace cannot be asked; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """What the kernel would do with a packet."""

    device: str
    via: str | None
    """Next hop; None when the destination is on the link."""
    table: int

    def __str__(self) -> str:
        return f"dev {self.device}" + (f" via {self.via}" if self.via else "") + f" (table {self.table})"


def _open(netns: str) -> IPRoute:
    try:
        return IPRoute(netns=netns, flags=0)  # by default it would be made
    except FileNotFoundError:
        raise NoWay(f"network namespace {netns} does not exist") from None
    except OSError as error:
        raise NoWay(f"network namespace {netns}: {error.strerror or error}") from error


def route(netns: str, source: IPv6Address, destination: IPv6Address, device: str) -> Way:
    """Return the way of a packet that comes in by `device` (``ip -6 route get ... iif``).

    Raises: NoWay.
    """
    with _open(netns) as handle:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in handle.get_links()}
        index = next((number for number, name in names.items() if name == device), None)
        if index is None:
            raise NoWay(f"interface {device} does not exist in network namespace {netns}")
        try:
            answer = next(iter(handle.route("get", family=socket.AF_INET6, dst=str(destination),
                                            src=str(source), iif=index)))
        except NetlinkError as error:
            reason = _REFUSALS.get(error.code, os.strerror(error.code))
            raise NoWay(f"{reason} for {destination} from {source} in namespace {netns}") from error
        table = answer.get_attr("RTA_TABLE") or 0
        return Way(names.get(answer.get_attr("RTA_OIF"), "?"), answer.get_attr("RTA_GATEWAY"), table)


def neighbour(netns: str, device: str, address: IPv6Address) -> tuple[str, str | None] | None:
    """Return (state, MAC) of a neighbour as the kernel knows it; None when it knows none. Raises: NoWay."""
    with _open(netns) as handle:
        index = next(iter(handle.link_lookup(ifname=device)), None)
        if index is None:
            raise NoWay(f"interface {device} does not exist in network namespace {netns}")
        for entry in handle.get_neighbours(family=socket.AF_INET6, ifindex=index):
            known = entry.get_attr("NDA_DST")
            if known is not None and IPv6Address(known) == address:
                return _NUD.get(entry["state"], f"state {entry['state']:#x}"), entry.get_attr("NDA_LLADDR")
    return None
