# SPDX-License-Identifier: Apache-2.0
"""What differs between two mappings that mostly hold the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress, filterfalse
from operator import is_not
from types import MappingProxyType
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


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
