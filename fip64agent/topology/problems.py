# SPDX-License-Identifier: Apache-2.0
"""One fault of a topology document, and the place where all of them are gathered."""

from __future__ import annotations

import dataclasses
import re

MAX_PROBLEMS = 1000
"""So many are kept; the rest is counted."""
GIVE_UP_AFTER = 10_000
"""A document with more faults than this is none: reading stops."""

Path = tuple[str | int, ...]
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_:.-]{1,64}")


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


class GiveUp(Exception):
    """Enough faults were found: stop looking. Never leaves this package."""


class Collector:
    """Gathers faults as (path, reason), with the line where the finder knows it already."""

    def __init__(self) -> None:
        self.found: list[tuple[Path, str, int | None]] = []
        self.paths: set[Path] = set()
        self.count = 0

    def add(self, path: Path, reason: str, line: int | None = None) -> None:
        """Take note of a fault. Raises: GiveUp after GIVE_UP_AFTER of them."""
        self.count += 1
        if self.count <= MAX_PROBLEMS:
            self.found.append((path, reason, line))
            self.paths.add(path)
        elif self.count >= GIVE_UP_AFTER:
            raise GiveUp

    def problems(self, file: str, lines: dict[Path, int]) -> tuple[Problem, ...]:
        """Return them in the document's order, and a last one that says how many more there are.

        `lines`: the line of every path, or of the nearest thing around it.
        """
        placed = []
        for path, reason, line in self.found:
            around = path
            while line is None and around:
                line = lines.get(around)
                around = around[:-1]
            placed.append(Problem(file, line or 1, path_text(path), reason))
        placed.sort(key=lambda problem: problem.line)
        if more := self.count - len(placed):
            least = "at least " if self.count >= GIVE_UP_AFTER else ""
            placed.append(Problem(file, None, "", f"and {least}{more} more problems"))
        return tuple(placed)


def path_text(path: Path) -> str:
    """Return ``("ports", 3, "name")`` as ``ports[3].name``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _PLAIN_KEY.fullmatch(part) else shown(part)
            text += f".{key}" if text else key
    return text


def shown(value: object) -> str:
    """Return a value of the document as an error message prints it: quoted, short, one line."""
    if isinstance(value, str):
        return repr(value if len(value) <= 64 else value[:61] + "...")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else str(value)
