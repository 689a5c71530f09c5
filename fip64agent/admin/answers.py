# SPDX-License-Identifier: Apache-2.0
"""Functions for the answers of the admin API. Imports little, as the listings use it in fip64ctl too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def json_value(value: Any) -> Any:
    """Return dataclasses (as repr() shows them), mappings, sequences, addresses as values that JSON has."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value):
        return {field.name: json_value(getattr(value, field.name))
                for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else " ".join(map(str, name)): json_value(item)
                for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(item) for item in value]
    return str(value)


def timestamp(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC; None for None."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds is not None else None


def name_of(resource: Any, resource_id: str | None) -> str:
    """Return the name of a resource of the topology; its id when it has no name or is None."""
    return (resource.name if resource else "") or resource_id or ""
