# SPDX-License-Identifier: Apache-2.0
"""The only place that names tables, registers, priorities and the cookie's layout.

Other systems' flows live in the same bridge. So ours in table 0 match narrowly, and the tables
of our own are numbered where nobody else's are known to be.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Hashable

from fip64agent.plan.desired import ObjectKey

# -- tables ------------------------------------------------------------------------------------

CLASSIFIER = 0

TABLES = {CLASSIFIER: "classifier"}
TABLE_PURPOSES = {
    CLASSIFIER: "Every packet enters here. Ours are narrow matches; all else is left to other flows.",
}

# -- registers: none is used. Flows of ours never write a register, so they disturb nobody's -----

REGISTERS: dict[str, str] = {}

# -- priorities ----------------------------------------------------------------------------------

ISOLATION = 42000
NEIGHBOR = 41000
SERVICE = 40000
GUARD = 39000
DEFAULT = 0

PRIORITIES = {
    ISOLATION: "drops what VMs must not send, before anything takes it",
    NEIGHBOR: "Neighbor Discovery and MLD queries from the uplink: before the redirect of all IPv6",
    SERVICE: "redirect, neighbor (the answers), deliver, back, arp",
    GUARD: "drops what comes out of our own veths and nothing above has taken",
    DEFAULT: "NORMAL, unless another system has a flow of its own there",
}

# -- features and cookies ------------------------------------------------------------------------


class Kind(enum.IntEnum):
    """The feature a flow belongs to; its number is in the cookie."""

    DEFAULT = 1
    REDIRECT = 2
    NEIGHBOR = 3
    DELIVER = 5
    BACK = 6
    ARP = 7
    GUARD = 8
    ISOLATION = 10

    @property
    def feature(self) -> str:
        return self.name.lower()


FEATURES = {
    Kind.DEFAULT: "What no flow takes is switched as before.",
    Kind.REDIRECT: "IPv6 between an uplink and the translator.",
    Kind.NEIGHBOR: "Neighbor Discovery and MLD between an uplink and the link whose far end answers.",
    Kind.DELIVER: "Translated packets to the VM.",
    Kind.BACK: "The VM's packets to pool addresses, to the translator.",
    Kind.ARP: "Answers the VM's ARP requests for its tenant router's address.",
    Kind.GUARD: "Drops whatever else our own veths send.",
    Kind.ISOLATION: "Drops what a VM sends in the name of an uplink, a gateway or a floating IP.",
}

COOKIE_PREFIX = 0xF164
COOKIE_SHIFT = 48
COOKIE_VALUE = COOKIE_PREFIX << COOKIE_SHIFT
COOKIE_MASK = 0xFFFF << COOKIE_SHIFT
COOKIE_LAYOUT = (
    ("63-48", "owner prefix", f"0x{COOKIE_PREFIX:04x}: the flow is ours"),
    ("47-40", "feature", "number of the feature"),
    ("39-32", "reserved", "0"),
    ("31-0", "owner", "CRC-32 of the owner's kind and id, \"<kind>:<id>\""),
)


def owner_text(owner: ObjectKey) -> str:
    """Return ``<kind>:<id>``, the mark on OVSDB objects and the input of the cookie's CRC."""
    return ":".join(owner)


def encode_cookie(kind: Kind, owner: ObjectKey) -> int:
    """Return the cookie of a flow of `kind` that serves `owner`."""
    return COOKIE_VALUE | kind << 40 | zlib.crc32(owner_text(owner).encode())


def is_ours(cookie: int) -> bool:
    return cookie >> COOKIE_SHIFT == COOKIE_PREFIX


def decode_cookie(cookie: int) -> tuple[Kind | None, int] | None:
    """Return (kind, CRC-32 of the owner); kind None when unknown; None for a foreign cookie."""
    if not is_ours(cookie):
        return None
    number = cookie >> 40 & 0xFF
    return (Kind(number) if number in Kind._value2member_map_ else None), cookie & 0xFFFFFFFF


def table_name(table: int) -> str:
    return TABLES.get(table, str(table))


# -- keys of items -------------------------------------------------------------------------------


def flow_key(table: int, priority: int, match: bytes) -> Hashable:
    return ("flow", table, priority, match)


def port_key(name: str) -> Hashable:
    return ("port", name)
