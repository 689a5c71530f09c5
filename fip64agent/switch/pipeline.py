# SPDX-License-Identifier: Apache-2.0
"""How the bridge's tables, registers, conntrack zones, priorities and cookies are used.

Other systems have flows in the same bridge. So our flows in table 0 match few packets, and tables of our
own have numbers that no other system is known to use. A feature declares what else it uses
(switch/features.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

from fip64agent.plan import allocate
from fip64agent.plan.desired import ObjectKey

# -- tables ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """An OpenFlow table that flows of ours are in."""

    number: int
    name: str
    stage: str
    """The part of a packet's processing that it belongs to, in a word or two: "entry"."""
    purpose: str
    matches: str
    """What its flows match."""
    leads_to: str
    """Where packets go from it."""


CLASSIFIER = 0

TABLES = (
    Table(CLASSIFIER, "classifier", "entry",
          "Every packet enters here. Ours are narrow matches; all else is left to other flows.",
          "The port that a packet comes in by, and what it is: EtherType, addresses, ICMPv6 type.",
          "Out of a port, to NORMAL, or nowhere: dropped."),
)

# -- registers and conntrack zones -----------------------------------------------------------------

REG_REASON = "reg4"
"""Why an ICMPv6 error answers it; services get this number (services/base.py, Arrival)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Register:
    """A register that flows of ours write."""

    name: str
    """As matches have it: "reg0"."""
    meaning: str


@dataclasses.dataclass(frozen=True, slots=True)
class Zone:
    """A conntrack zone, or a range of them, that flows of ours use."""

    first: int
    last: int
    meaning: str


# -- priorities ----------------------------------------------------------------------------------

ISOLATION = 42000
NEIGHBOR = 41000
CLASSIFY = 40500
TAGGED = 40400
SERVICE = 40000
GUARD = 39000
ARRIVAL = 38000
DEFAULT = 0

PRIORITIES = {
    ISOLATION: "drops what VMs must not send, before anything takes it",
    NEIGHBOR: "Neighbor Discovery and MLD queries from the uplink: before the redirect of all IPv6",
    CLASSIFY: "IPv6 and IPv4 of served ports: to the tables for them",
    TAGGED: "IPv6 in 802.1Q tags from secured ports: refused",
    SERVICE: "what a feature takes from its port",
    GUARD: "drops what comes out of our own veths and nothing above has taken",
    ARRIVAL: "frames for ports with security groups that nothing above has taken",
    DEFAULT: "NORMAL, unless another system has a flow of its own there",
}

# -- cookies -------------------------------------------------------------------------------------

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


def encode_cookie(feature: int, owner: ObjectKey) -> int:
    """Return the cookie of a flow that serves `owner`. `feature`: the feature's number, 1 to 255."""
    return COOKIE_VALUE | feature << 40 | allocate.checksum(owner)


def is_ours(cookie: int) -> bool:
    """Return whether the flow with that cookie is one of ours."""
    return cookie >> COOKIE_SHIFT == COOKIE_PREFIX


def decode_cookie(cookie: int) -> tuple[int, int] | None:
    """Return (number of the feature, CRC-32 of the owner); None for a foreign cookie."""
    return (cookie >> 40 & 0xFF, cookie & 0xFFFFFFFF) if is_ours(cookie) else None


# -- meters --------------------------------------------------------------------------------------

METER_PREFIX = 0x64
"""Highest octet of the numbers of our meters: meters have no cookie that could mark them as ours."""


def meter_number(feature: int, ofport: int) -> int:
    """Return the number of the meter for what a feature sends to the controller from an OpenFlow port."""
    return METER_PREFIX << 24 | feature << 16 | ofport


def is_our_meter(number: int) -> bool:
    """Return whether the meter with that number is one of ours."""
    return number >> 24 == METER_PREFIX


# -- keys of items -------------------------------------------------------------------------------


def flow_key(table: int, priority: int, match: bytes) -> Hashable:
    """Return the key of a flow; `match`: normalised (connection/codec.py)."""
    return ("flow", table, priority, match)


def port_key(name: str) -> Hashable:
    """Return the key of a port of ours."""
    return ("port", name)


def zone_key(zone: int) -> Hashable:
    """Return the key of a limit of ours on a conntrack zone."""
    return ("zone", zone)


def meter_key(number: int) -> Hashable:
    """Return the key of a meter of ours."""
    return ("meter", number)
