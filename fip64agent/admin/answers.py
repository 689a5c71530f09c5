# SPDX-License-Identifier: Apache-2.0
"""What the answers of the admin API are made with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fip64agent import hub

_BREATH = 500
"""Rows made before other greenthreads get a turn."""


def plain(value: Any) -> Any:
    """Turn dataclasses, mappings, sequences and addresses into what JSON knows."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else " ".join(map(str, name)): plain(item)
                for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def timestamp(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds is not None else None


def breathing(rows: Iterable) -> Iterable:
    """Yield the rows and let other greenthreads work in between."""
    for number, row in enumerate(rows):
        if number % _BREATH == _BREATH - 1:
            hub.sleep(0)
        yield row
