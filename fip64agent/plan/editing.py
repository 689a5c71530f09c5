# SPDX-License-Identifier: Apache-2.0
"""Mappings that are compared and edited without disturbing who holds the old ones."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress, filterfalse
from operator import is_not
from types import MappingProxyType
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Editing(Generic[K, V]):
    """A mapping under edit: copied at the first real change, so that no change keeps the object."""

    __slots__ = ("_now", "_owned")

    def __init__(self, base: Mapping[K, V]):
        self._now = base
        self._owned = False

    def _own(self) -> dict[K, V]:
        if not self._owned:
            self._now = self._now.copy()  # dict and MappingProxyType alike, at C speed
            self._owned = True
        return self._now

    def get(self, key: K) -> V | None:
        return self._now.get(key)

    def values(self):
        return self._now.values()

    def __iter__(self):
        return iter(self._now)

    def put(self, key: K, value: V | None) -> None:
        """Set `key`, or remove it if `value` is None. An equal value leaves the old object in place."""
        was = self._now.get(key)
        if was is value or was == value:
            return
        if value is None:
            del self._own()[key]
        else:
            self._own()[key] = value

    def result(self) -> dict[K, V]:
        """Return the mapping: the very same as given if nothing changed."""
        return self._now

    def frozen(self) -> Mapping[K, V]:
        """Return the mapping read-only: the very same as given if nothing changed."""
        return MappingProxyType(self._now) if self._owned else self._now


def changed_keys(before: Mapping[K, V], after: Mapping[K, V]) -> list[K]:
    """Return the keys that were added or lead to another value, then those that were removed.

    Written for large mappings of mostly the same objects: no Python code runs for those.
    """
    if before is after:
        return []
    # A plain dict's get() is much quicker than its read-only view's, even with the copy.
    old = before.copy() if isinstance(before, MappingProxyType) else before
    others = compress(after, map(is_not, map(old.get, after), after.values()))
    changed = [key for key in others if key not in old or old[key] != after[key]]
    added = sum(key not in old for key in changed)
    if len(old) + added != len(after):
        new = after.copy() if isinstance(after, MappingProxyType) else after
        changed.extend(filterfalse(new.__contains__, old))
    return changed


def shared(before: Mapping[K, V], after: Mapping[K, V]) -> Mapping[K, V]:
    """Return `after` with the objects of `before` wherever they are equal; `before` if all are."""
    if before is after:
        return before
    get = before.get
    same = len(before) == len(after)
    result: dict[K, V] = {}
    for key, new in after.items():
        was = get(key)
        if was is not new and was == new:
            new = was
        if was is not new:
            same = False
        result[key] = new
    return before if same else MappingProxyType(result)
