# SPDX-License-Identifier: Apache-2.0
"""Who depends on what, as the engine (fip64agent.plan.engine) notes it."""

from __future__ import annotations

from typing import Any

from fip64agent.plan.nodes import Key


class Record:
    """What some keys of a node depend on. Many depend on the same, and share one record of it."""

    __slots__ = ("keys", "reads")

    def __init__(self, reads: tuple, key: Key) -> None:
        self.reads = reads
        """The links and keys that were asked, in turn: (link, key, link, key ...)."""
        self.keys: Any = key
        """One key is held as it is, several as the keys of a dict, which is smaller than a set."""

    def add(self, key: Key) -> None:
        if type(self.keys) is dict:
            self.keys[key] = None
        elif self.keys != key:
            self.keys = {self.keys: None, key: None}

    def remove(self, key: Key) -> bool:
        """Forget a key that is in the record; return whether others are left."""
        if type(self.keys) is dict:
            del self.keys[key]
            return bool(self.keys)
        return False


class Link:
    """Which keys of one node, the reader, depend on which keys of another, the source."""

    __slots__ = ("asked_by", "reader", "source")

    def __init__(self, reader: Any, source: Any) -> None:
        self.reader = reader
        self.source = source
        self.asked_by: dict[Key, Any] = {}
        """The records of the reader, by key of the source. Held like the keys of a record."""
        source.links.append(self)

    def add(self, asked: Key, record: Record) -> None:
        found = self.asked_by.get(asked)
        if found is None:
            self.asked_by[asked] = record
        elif type(found) is dict:
            found[record] = None
        elif found is not record:
            self.asked_by[asked] = {found: None, record: None}

    def remove(self, asked: Key, record: Record) -> None:
        found = self.asked_by.get(asked)
        if type(found) is dict:
            found.pop(record, None)
            if found:
                return
        elif found is not record:
            return
        del self.asked_by[asked]
        self.source.not_asked(asked)
