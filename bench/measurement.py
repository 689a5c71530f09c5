# SPDX-License-Identifier: Apache-2.0
"""Measurements: what was measured, what is wanted, what a peer does; as a table and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fip64agent.admin import tables


class WrongState(Exception):
    """What is installed is not what should be: measurements mean nothing then."""


@dataclasses.dataclass(frozen=True, slots=True)
class Measurement:
    """One number that a benchmark yields."""

    name: str
    value: float
    """In `unit`; of several samples the one that `name` says: the median, a percentile."""
    unit: str
    wanted: float | None = None
    """The limit, in the same unit; None when nothing is promised."""
    at_most: bool = True
    """Whether the limit is the largest or the smallest value that will do."""
    peer: str = ""
    """What it is compared with, and that one's value."""
    samples: Sequence[float] = ()
    """All single values, in the same unit, in the order in which they were taken."""

    @property
    def met(self) -> bool | None:
        """Whether the value keeps the limit; None when there is no limit."""
        if self.wanted is None:
            return None
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted

    def row(self, at_most: str = "<=", at_least: str = ">=", missed: str = "MISSED") -> Sequence[str]:
        """Return the cells of a table with the columns of HEAD."""
        sign = at_most if self.at_most else at_least
        wanted = "" if self.wanted is None else f"{sign} {shown(self.wanted)}"
        verdict = {None: "", True: "met", False: missed}[self.met]
        return self.name, f"{shown(self.value)} {self.unit}", wanted, verdict, self.peer

    def as_json(self) -> dict[str, Any]:
        """Return what from_json() takes, with `met` beside."""
        return dataclasses.asdict(self) | {"met": self.met, "samples": list(self.samples)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Measurement:
        """Return the measurement of what as_json() returned."""
        return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})


def shown(value: float) -> str:
    """Return a number with three significant digits, whole numbers above 1000."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """Return percentile() for a share of one half."""
    return percentile(values, 0.5)


HEAD = ("measurement", "value", "wanted", "", "beside")


def table(rows: Sequence[Measurement]) -> str:
    """Return the measurements as one table for people."""
    return "\n".join(tables.table(HEAD, [row.row() for row in rows], None, right=("value", "wanted")))
