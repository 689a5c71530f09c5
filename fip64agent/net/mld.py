# SPDX-License-Identifier: Apache-2.0
"""Multicast Listener Discovery, versions 1 (RFC 2710) and 2 (RFC 3810).

A receiver ignores messages that do not come from a link-local address, with hop limit 1 and a Router Alert
(RFC 3810, sections 5.1.14, 5.2.13 and 6.2): that is for who handles them.
"""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv6Address

from fip64agent.net.addresses import addresses_of, packed
from fip64agent.net.ipv6 import PacketError

MLD_QUERY, MLD_REPORT, MLD_DONE, MLDV2_REPORT = 130, 131, 132, 143
"""Types of ICMPv6 messages."""
MODE_IS_INCLUDE, MODE_IS_EXCLUDE, CHANGE_TO_INCLUDE_MODE, CHANGE_TO_EXCLUDE_MODE = 1, 2, 3, 4
ALLOW_NEW_SOURCES, BLOCK_OLD_SOURCES = 5, 6
"""Types of a Record (RFC 3810, section 5.2.12)."""
MOST = 450
"""A message with more records, or with more sources in all, is refused: it would take long to read. In 9,000
octets there is room for 447 records."""

_MESSAGE = struct.Struct("!BBHHH16s")
"""All of a message of version 1, and the beginning of a query of version 2."""
_QUERY = struct.Struct("!BBHHH16sBBH")
_REPORT = struct.Struct("!BBHHH")
_RECORD = struct.Struct("!BBH16s")
_SUPPRESS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """A query of version 1."""

    maximum_response_delay: int
    """Milliseconds in which a listener reports, 16 bits."""
    group: IPv6Address
    """The unspecified address: a general query, for all groups."""


@dataclasses.dataclass(frozen=True, slots=True)
class QueryV2:
    """A query of version 2 (RFC 3810, section 5.1)."""

    maximum_response_delay: int
    """Milliseconds in which a listener reports, up to 8,387,584. From 32,768 on not every number can be sent:
    the next lower one is."""
    group: IPv6Address
    """The unspecified address: a general query, for all groups."""
    suppress: bool = False
    """Whether routers are not to update their timers (the S flag)."""
    robustness: int = 2
    """The querier's Robustness Variable, 1 to 7; 0: more than 7."""
    interval: int = 125
    """Seconds between the querier's queries, up to 31,744. From 128 on not every number can be sent: the next
    lower one is."""
    sources: tuple[IPv6Address, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """A report of version 1: its sender listens to the group."""

    group: IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """Of version 1: its sender does not listen to the group any more."""

    group: IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What a listener states about one group; auxiliary data are not kept (RFC 3810, section 5.2.11)."""

    kind: int
    """MODE_IS_INCLUDE ...; a receiver ignores a record of a kind that it does not know."""
    group: IPv6Address
    sources: tuple[IPv6Address, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ReportV2:
    """A report of version 2 (RFC 3810, section 5.2)."""

    records: tuple[Record, ...]


Message = Query | QueryV2 | Report | Done | ReportV2


def parse(data: bytes) -> Message:
    """Return the message of a type of MLD that `data` is. Its code is ignored, and what follows its end.

    Raises: PacketError.
    """
    kind, size = data[0], len(data)
    if kind == MLDV2_REPORT:
        return _parse_report(data)
    if size < _MESSAGE.size or (kind == MLD_QUERY and _MESSAGE.size < size < _QUERY.size):
        # What is neither a query of version 1 nor of version 2: RFC 3810, section 8.1.
        raise PacketError(f"a message of type {kind} in {size} octets")
    _, _, _, delay, _, group = _MESSAGE.unpack_from(data)
    if kind == MLD_REPORT:
        return Report(IPv6Address(group))
    if kind == MLD_DONE:
        return Done(IPv6Address(group))
    if size == _MESSAGE.size:
        return Query(delay, IPv6Address(group))
    *_, flags, interval, count = _QUERY.unpack_from(data)
    return QueryV2(_decoded(delay, 12), IPv6Address(group), bool(flags & _SUPPRESS), flags & 7,
                   _decoded(interval, 4), _sources(data, _QUERY.size, count, 0))


def _parse_report(data: bytes) -> ReportV2:
    if len(data) < _REPORT.size:
        raise PacketError(f"a message of type {MLDV2_REPORT} in {len(data)} octets")
    many = _REPORT.unpack_from(data)[4]
    if many > MOST:
        raise PacketError(f"a report of {many} records")
    records, position, total = [], _REPORT.size, 0
    for _ in range(many):
        if position + _RECORD.size > len(data):
            raise PacketError(f"a record in {len(data) - position} octets")
        kind, auxiliary, count, group = _RECORD.unpack_from(data, position)
        position += _RECORD.size
        records.append(Record(kind, IPv6Address(group), _sources(data, position, count, total)))
        total += count
        position += 16 * count + 4 * auxiliary
    if position > len(data):
        raise PacketError(f"a report ends {position - len(data)} octets after the message")
    return ReportV2(tuple(records))


def _sources(data: bytes, position: int, count: int, before: int) -> tuple[IPv6Address, ...]:
    """Return `count` sources at `position`; there were some `before`, which count too."""
    if before + count > MOST or position + 16 * count > len(data):
        raise PacketError(f"{count} sources in {len(data) - position} octets")
    return addresses_of(data[position:position + 16 * count]) or ()


def build(message: Message) -> bytes:
    """Return the message with a checksum of 0.

    Raises: PacketError or struct.error when a value does not fit.
    """
    if isinstance(message, ReportV2):
        return _REPORT.pack(MLDV2_REPORT, 0, 0, 0, len(message.records)) + b"".join(
            [_RECORD.pack(record.kind, 0, len(record.sources), record.group.packed) + packed(record.sources)
             for record in message.records])
    group = message.group.packed
    if isinstance(message, QueryV2):
        if not 0 <= message.robustness <= 7:
            raise PacketError(f"a query with a Robustness Variable of {message.robustness}")
        return _QUERY.pack(MLD_QUERY, 0, 0, _encoded(message.maximum_response_delay, 12), 0, group,
                           _SUPPRESS * message.suppress | message.robustness, _encoded(message.interval, 4),
                           len(message.sources)) + packed(message.sources)
    if isinstance(message, Query):
        return _MESSAGE.pack(MLD_QUERY, 0, 0, message.maximum_response_delay, 0, group)
    return _MESSAGE.pack(MLD_REPORT if isinstance(message, Report) else MLD_DONE, 0, 0, 0, 0, group)


def _decoded(code: int, bits: int) -> int:
    """Return the number that `code` stands for (RFC 3810, sections 5.1.3 and 5.1.9).

    `bits`: of the mantissa; with the 3 bits of the exponent and the highest one, these are all.
    """
    if not code >> bits + 3:
        return code
    mantissa, exponent = code & (1 << bits) - 1, code >> bits & 7
    return (mantissa | 1 << bits) << exponent + 3


def _encoded(number: int, bits: int) -> int:
    """Return the code of the highest number that is not above `number`. Raises: PacketError."""
    exponent = number.bit_length() - bits - 4
    if number < 0 or exponent > 7:
        raise PacketError(f"{number} is too much for a field of {bits + 4} bits")
    if exponent < 0:
        return number
    return 1 << bits + 3 | exponent << bits | number >> exponent + 3 & (1 << bits) - 1
