# SPDX-License-Identifier: Apache-2.0
"""VPP's stats segment: counters of the fip64 plugin, summed over VPP's threads.

The segment is shared memory that VPP may change while it is read. vpp_papi's reader waits without a limit,
and without sleeping, until VPP has finished a change. This one gives up, since a VPP that was stopped or
killed during a change never finishes it. The memory of a dead VPP stays readable, so the driver calls close()
when VPP has died.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from fip64agent import hub
from fip64agent.translator.base import TO_CLIENT, TO_VM, Count
from fip64agent.translator.vpp.api.errors import VppUnavailable

_MAPPINGS = {f"/fip64/mapping/{direction}": direction for direction in (TO_VM, TO_CLIENT)}
"""{name of a combined counter by mapping_index: direction}"""
TENANT = "/fip64/tenant/"
_ERROR = re.compile(r"/err/(ip[46]-fip64[\w-]*)/(.+)")
_LONGEST_CHANGE = 1.0
"""Seconds that VPP may take to change the segment."""
_SIMPLE, _COMBINED, _SYMLINK = 2, 3, 6


@dataclasses.dataclass(frozen=True, slots=True)
class Counters:
    """All counters of the plugin at one time, since VPP's start. Only a tenant's "bindings" can decrease."""

    mappings: Mapping[str, tuple[array.array, array.array]]
    """{TO_VM or TO_CLIENT: (packets, octets)}, each by mapping_index."""
    tenants: Mapping[str, array.array]
    """{name, "bindings-made" for instance: counts by tenant_index}."""
    errors: Mapping[str, Mapping[str, int]]
    """{node: {reason: packets}}; reasons with 0 packets are left out."""

    def mapping(self, index: int) -> dict[str, Count]:
        """Return the traffic of one mapping, {TO_VM: ..., TO_CLIENT: ...}; zeros when it had none."""
        return {name: Count(_at(packets, index), _at(octets, index))
                for name, (packets, octets) in self.mappings.items()}

    def tenant(self, index: int) -> dict[str, int]:
        """Return the counters of one tenant by name."""
        return {name: _at(counts, index) for name, counts in self.tenants.items()}


def _at(column: array.array, index: int) -> int:
    return column[index] if 0 <= index < len(column) else 0


class StatsReader:
    """Reads the counters; connects when needed, and again after close()."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self._lock = hub.Semaphore(1)
        self._stats: Any = None
        self._socket_seen: tuple[int, int] | None = None

    def read(self) -> Counters:
        """Return the counters as they are now. Reads in a native thread; the calling greenthread waits.

        Raises: VppUnavailable naming the socket and the reason.
        """
        return hub.offload(self._read, lock=self._lock)

    def close(self) -> None:
        """Disconnect: VPP has died, or the agent ends."""
        stats, self._stats = self._stats, None
        if stats is not None:
            with contextlib.suppress(Exception):  # the native thread may be reading
                stats.disconnect()

    # -- in a native thread -----------------------------------------------------------------------

    def _read(self) -> Counters:
        deadline = time.monotonic() + 3 * _LONGEST_CHANGE
        while True:
            try:
                return _counters(self._connected())
            except (OSError, IndexError, ValueError, KeyError) as error:
                # The segment changed while it was read, or VPP has ended or started again.
                self.close()
                if time.monotonic() > deadline or isinstance(error, (ConnectionError, FileNotFoundError)):
                    raise VppUnavailable(f"VPP's stats socket {self.socket_path}: "
                                         f"{getattr(error, 'strerror', None) or error}") from error
                time.sleep(0.01)
            except Exception as error:  # vpp_papi raises exceptions of any kind
                self.close()
                raise VppUnavailable(f"VPP's stats socket {self.socket_path}: {error}") from error

    def _connected(self) -> Any:
        there = os.stat(self.socket_path)
        seen = (there.st_ino, there.st_ctime_ns)
        if self._stats is not None and seen != self._socket_seen:
            self.close()  # the segment is another VPP's
        if self._stats is None:
            stats = _reader(self.socket_path)
            stats.connect()
            self._stats, self._socket_seen = stats, seen
        return self._stats


def _reader(path: str) -> Any:
    """Return a reader of vpp_papi's that gives up when VPP does not finish a change."""
    from vpp_papi import vpp_stats  # imported only when needed, as it imports a lot

    class Lock(vpp_stats.StatsLock):
        def acquire(self, blocking=True, timeout=-1):
            self.epoch = self.stats.epoch
            deadline = time.monotonic() + _LONGEST_CHANGE
            while self.stats.in_progress:
                if time.monotonic() > deadline:
                    raise BlockingIOError("VPP does not finish a change of its counters")
                time.sleep(0.0005)
            return True

    class Reader(vpp_stats.VPPStats):
        def __init__(self, socketname):
            super().__init__(socketname)
            self.lock = Lock(self)

        def refresh(self, blocking=True):
            super().refresh(blocking=False)

    return Reader(path)


def _counters(stats: Any) -> Counters:
    """Read all counters. Raises: OSError, IndexError, ValueError when the segment changed meanwhile."""
    if stats.last_epoch != stats.epoch:
        stats.refresh()
    mappings, tenants, errors = {}, {}, {}
    sums: dict[int, array.array] = {}
    with stats.lock:
        for name, entry in stats.directory.items():
            if name in _MAPPINGS and entry.type == _COMBINED:
                pairs = _sum(stats, entry, "QQ")
                mappings[_MAPPINGS[name]] = (pairs[::2], pairs[1::2])
            elif name.startswith(TENANT) and entry.type == _SIMPLE:
                tenants[name.removeprefix(TENANT)] = _sum(stats, entry, "Q")
            elif (error := _ERROR.fullmatch(name)) is not None and (count := _error(stats, entry, sums)):
                errors.setdefault(error[1], {})[error[2]] = count
    return Counters(mappings, tenants, errors)


def _error(stats: Any, entry: Any, sums: dict[int, array.array]) -> int:
    """Return how often an error happened.

    Errors are links to elements of one vector; `sums` keeps the sum of that vector over VPP's threads.
    """
    if entry.type == _SIMPLE:
        return sum(_sum(stats, entry, "Q"))
    if entry.type != _SYMLINK:
        return 0
    target, place = entry.value & 0xffffffff, entry.value >> 32
    if target not in sums:
        sums[target] = _sum(stats, stats.directory[stats.directory_by_idx[target]], "Q")
    return _at(sums[target], place)


def _sum(stats: Any, entry: Any, fmt: str) -> array.array:
    """Return a counter's vector, summed over VPP's threads.

    fmt: "Q"; "QQ" for a combined counter, whose result has packets and bytes alternately.
    """
    from vpp_papi.vpp_stats import StatsVector

    total = array.array("Q")
    for (pointer,) in StatsVector(stats, entry.value, "P"):
        if not pointer:
            continue
        vector = StatsVector(stats, pointer, fmt)
        column = array.array("Q")
        end = vector.vec_start + vector.vec_len * vector.elementsize
        column.frombytes(stats.statseg[vector.vec_start:end])
        if not total:
            total = column
        elif any(column):
            longest, other = (total, column) if len(total) >= len(column) else (column, total)
            for place, count in enumerate(other):
                if count:
                    longest[place] += count
            total = longest
    return total
