# SPDX-License-Identifier: Apache-2.0
"""What differs between two mappings that mostly hold the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress, filterfalse
from operator import is_not
from types import MappingProxyType
from typing import TypeVar

from fip64agent.topology.model import Difference

K = TypeVar("K")
V = TypeVar("V")


def changed_keys(before: Mapping[K, V], after: Mapping[K, V], known: Difference | None = None) -> list[K]:
    """Return the keys that were added or lead to another value, then those that were removed.

    known: if it is about these two mappings, only its keys are compared. Else all are: that is written for
    large mappings of mostly the same objects, and no Python code runs for those.
    """
    if before is after:
        return []
    if known is not None and known.before is before and known.after is after:
        changed = [key for key in known.keys if before.get(key) != after.get(key)]
        return sorted(changed, key=lambda key: (key not in after, key))
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
