# SPDX-License-Identifier: Apache-2.0
"""A mapping to several ids, most often to one, that takes little memory."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable


class Multimap:
    """Key -> ids. A single id is stored as it is, several as a tuple: thousands of sets would be large."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[Hashable, str | tuple[str, ...]] = {}

    def get(self, key: Hashable) -> Collection[str]:
        """Return the ids of a key."""
        found = self._ids.get(key, ())
        return (found,) if isinstance(found, str) else found

    def union(self, keys: Iterable[Hashable]) -> set[str]:
        """Return the ids of any of these keys."""
        held = self._ids
        return {item_id for key in keys if key in held for item_id in self.get(key)}

    def put(self, key: Hashable, item_id: str) -> None:
        """Add an id to a key, once."""
        found = self._ids.setdefault(key, item_id)
        if found != item_id and item_id not in (ids := self.get(key)):
            self._ids[key] = (*ids, item_id)

    def drop(self, key: Hashable, item_id: str) -> None:
        """Remove an id from a key, if it is there."""
        ids = tuple(other for other in self.get(key) if other != item_id)
        if len(ids) > 1:
            self._ids[key] = ids
        elif ids:
            self._ids[key] = ids[0]
        else:
            self._ids.pop(key, None)
