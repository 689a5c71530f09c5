# SPDX-License-Identifier: Apache-2.0
"""The faults of a topology file, each with its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fip64agent.exceptions import TopologyError
from fip64agent.topology.words import Path, path_text

MAX_PROBLEMS = 1000
"""So many are told; the rest is counted."""
GIVE_UP_AFTER = 10_000
"""A document with more faults than this is none: reading stops."""


class Found(NamedTuple):
    """A fault while nobody has looked for its line."""

    path: Path
    """In the document."""
    reason: str
    line: int | None = None
    """Where whoever found it knows it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: ``topology.yaml:12: ports[3].mac_address: ...``."""

    file: str
    line: int | None
    """Counted from 1; None where there is no text to point into (the file is missing)."""
    path: str
    """Path in the document, like ``ports[3].fixed_ips[0].ip_address``; may be empty."""
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.path, self.reason) if part)


class Refused(Exception):
    """The document as a whole cannot be used, for all that was found. Never leaves this package."""

    def __init__(self, found: Iterable[Found]) -> None:
        super().__init__()
        self.found = tuple(found)


def refused(path: str, reason: str) -> TopologyError:
    """Return the error of a file that there is no text of to point into."""
    return TopologyError([Problem(path, None, "", reason)])


def problems(file: str, found: Iterable[Found], lines: Mapping[Path, int]) -> tuple[Problem, ...]:
    """Return faults in the document's order, and a last one that says how many more there are.

    lines: the line of every path without one, or of the nearest thing around it.
    """
    found = list(found)
    placed = []
    for path, reason, line in found[:MAX_PROBLEMS]:
        around = path
        while line is None and around:
            line = lines.get(around)
            around = around[:-1]
        placed.append(Problem(file, line or 1, path_text(path), reason))
    placed.sort(key=lambda problem: problem.line)
    if more := len(found) - len(placed):
        least = "at least " if len(found) >= GIVE_UP_AFTER else ""
        placed.append(Problem(file, None, "", f"and {least}{more} more problems"))
    return tuple(placed)
