# SPDX-License-Identifier: Apache-2.0
"""Names and numbers that a host gives to its uplinks and tenants: pure and repeatable.

A name follows from the object's id alone, so that a restart finds what it made before. A number
(VLAN ID, routing table id) is kept while it is in force and hashed from the id otherwise.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Collection, Iterable, Mapping

FIRST_TABLE = 1000
LAST_TABLE = 1999
"""Routing table ids for uplinks, clear of the kernel's own (253 to 255)."""

DOWNLINK = "ovs-dl"
DOWNLINK_PEER = "vpp-dl"
DOWNLINK_MAC = "02:f6:40:ff:ff:ff"
"""MAC of the translator at a shared downlink. Locally administered; no tenant has it (02:f6:40:00:...)."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def checksum(owner: tuple[str, ...]) -> int:
    """Return the CRC-32 of an object's key, which the cookies of its flows have."""
    return zlib.crc32(_octets(":".join(owner)))


def digest(checksum_of_owner: int) -> str:
    """Return what stands for an object in Allocations where its id is not known, but only that checksum."""
    return f"crc32:{checksum_of_owner:08x}"


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _digest(text: str) -> str:
    return hashlib.sha1(_octets(text), usedforsecurity=False).hexdigest()


def allocate(owners: Collection[str], in_force: Mapping[str, int], first: int,
             last: int) -> tuple[dict[str, int], tuple[str, ...]]:
    """Give each owner a number of its own from `first` to `last`, both included.

    An owner keeps the number it has in force, unless that is out of range or a lexicographically
    smaller owner has the same one. Each other owner, in sorted order, gets the first free number
    from where its id hashes to.

    Returns: the numbers by owner, and the owners for whom none was left.
    """
    given: dict[str, int] = {}
    taken: set[int] = set()
    waiting = []
    for owner in sorted(owners):
        number = in_force.get(owner)
        if number is not None and first <= number <= last and number not in taken:
            given[owner] = number
            taken.add(number)
        else:
            waiting.append(owner)
    size = last - first + 1
    for position, owner in enumerate(waiting):
        if len(taken) >= size:
            return given, tuple(waiting[position:])
        offset = zlib.crc32(_octets(owner)) % size
        while first + offset in taken:
            offset = (offset + 1) % size
        given[owner] = first + offset
        taken.add(first + offset)
    return given, ()


def uplink_suffixes(port_ids: Iterable[str]) -> dict[str, str]:
    """Return, by port id, the 8 hex characters that tell its veth from the others'.

    They are the first 8 of a UUID, else of the id's SHA-1. If two ports would get the same, the
    smaller id keeps them and the other one's are hashed with a salt.
    """
    suffixes: dict[str, str] = {}
    taken: set[str] = set()
    for port_id in sorted(port_ids):
        suffix = port_id[:8].lower() if _UUID.fullmatch(port_id) else _digest(port_id)[:8]
        salt = 0
        while suffix in taken:
            salt += 1
            suffix = _digest(f"{port_id}#{salt}")[:8]
        taken.add(suffix)
        suffixes[port_id] = suffix
    return suffixes


def nd_netns(prefix: str) -> str:
    """Return the name of the namespace that holds the far ends of the Neighbor Discovery links."""
    return f"{prefix}nd"


def tenant_mac(vlan: int) -> str:
    """Return the locally administered MAC of the translator towards the tenant with this VLAN ID."""
    return f"02:f6:40:00:{vlan >> 8:02x}:{vlan & 0xff:02x}"
