# SPDX-License-Identifier: Apache-2.0
"""A mapping to several ids, most often to one, that takes little memory."""

from __future__ import annotations

from collections.abc import Collection, Hashable


class Multimap:
    """Key -> ids. A single id is stored as it is: thousands of sets with one member each would be large."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[Hashable, str | set[str]] = {}

    def get(self, key: Hashable) -> Collection[str]:
        """Return the ids of a key. Not to be changed, nor to be kept over a change."""
        found = self._ids.get(key)
        return () if found is None else (found,) if isinstance(found, str) else found

    def put(self, key: Hashable, item_id: str) -> None:
        """Add an id to a key, once."""
        found = self._ids.setdefault(key, item_id)
        if isinstance(found, set):
            found.add(item_id)
        elif found != item_id:
            self._ids[key] = {found, item_id}

    def drop(self, key: Hashable, item_id: str) -> None:
        """Remove an id from a key, if it is there."""
        found = self._ids.get(key)
        if found == item_id:
            del self._ids[key]
        elif isinstance(found, set):
            found.discard(item_id)
            if len(found) == 1:
                self._ids[key] = found.pop()
