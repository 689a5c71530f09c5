# SPDX-License-Identifier: Apache-2.0
"""Splits the text of a topology document into its entries by their first lines, without parsing it.

Only the plain block style that yaml.dump() and people write is split: each section begins with
``name:`` in column 0, each of its entries with ``- `` in one column, and what belongs to an entry
is indented more than that. Whatever looks different makes split() return None.

Why lines are enough. Where a block sequence has its entries in column c, each of them begins with
a dash there (YAML 1.2, section 8.2.1), so split() finds at least every real entry. It may find
more: what looks like an entry can be the inside of a quoted string that goes on over several
lines. So a split is believed only when the parser found the same sections with as many entries
(agrees()): then each entry of the split is one, and no string or bracket is open between two of
them. Nothing else leads from one entry into another, but aliases: a document with any is not
split. So the text of an entry alone decides what it is.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from fip64agent.topology.file.problems import Found
from fip64agent.topology.model import Key, Resource, Unreadable

DIGEST_SIZE = 16
_OTHER_BREAKS = (b"\r", "\x85".encode(), "\u2028".encode(), "\u2029".encode())
"""What ends a line in YAML 1.1 as well."""
_NO_ENTRIES = (b"[]", b"null", b"~")


Form = Resource | Unreadable


class Contents(NamedTuple):
    """What a document has, but for the resources themselves."""

    ids: Mapping[str, list[str | None]]
    """By section: the id of each entry; None of those that are no resource."""
    found: tuple[Found, ...] = ()
    """What is wrong beside the resources that have an id."""
    digests: Mapping[str, bytes] | None = None
    """By section: the digests of its entries' texts, one after the other. None where entries cannot be told
    by their text alone."""

    def resources(self) -> Iterator[Key]:
        """Yield the key of each resource."""
        for section, ids in self.ids.items():
            yield from ((section, item_id) for item_id in ids if item_id is not None)


class Section(NamedTuple):
    """A section of a split text; offsets in bytes."""

    name: str
    start: int
    bounds: list[int]
    """Where each entry starts, and where the last one ends: one more than there are entries."""

    @property
    def count(self) -> int:
        return len(self.bounds) - 1

    def entries(self, data: bytes) -> Iterator[bytes]:
        """Yield the text of each."""
        for start, end in pairwise(self.bounds):
            yield data[start:end]


def split(data: bytes) -> list[Section] | None:
    """Return the sections of a text in the plain style; None for any other text."""
    if (data and not data.endswith(b"\n")) or any(other in data for other in _OTHER_BREAKS):
        return None
    sections: list[Section] = []
    dash = inside = None
    """How an entry of the section begins, and a further line of it; None before the first one."""
    open_to_entries = False
    started = False
    """Whether the document has begun: there was a "---", or a section."""
    end = 0
    for line in io.BytesIO(data):
        start, end = end, end + len(line)
        if inside is not None and line.startswith(inside):
            continue
        if dash is not None and line.startswith(dash):
            sections[-1].bounds.append(start)
            continue
        bare = line.lstrip(b" ")
        if bare[:1] in (b"\n", b"#"):
            continue
        if open_to_entries and dash is None and bare.startswith(b"- "):
            column = len(line) - len(bare)
            dash, inside = b" " * column + b"- ", b" " * (column + 1)
            sections[-1].bounds.append(start)
        elif not started and line.startswith(b"---") and _is_comment(line[3:]):
            started = True
        elif (found := _section(line)) is not None:
            if sections:
                sections[-1].bounds.append(start)
            name, open_to_entries = found
            sections.append(Section(name, start, []))
            dash = inside = None
            started = True
        else:
            return None
    if sections:
        sections[-1].bounds.append(end)
    names = {section.name for section in sections}
    return sections if len(names) == len(sections) else None


def _section(line: bytes) -> tuple[str, bool] | None:
    """Return the name of the section that a line begins, and whether entries may follow."""
    name, colon, rest = line.partition(b":")
    if not (colon and name.replace(b"_", b"a").isalpha() and name.islower() and name.isascii()):
        return None
    if _is_comment(rest):
        return name.decode(), True
    value, _, comment = rest.strip().partition(b" ")
    if rest[:1] == b" " and value in _NO_ENTRIES and _is_comment(b" " + comment):
        return name.decode(), False
    return None


def _is_comment(rest: bytes) -> bool:
    """Whether the rest of a line is empty, but for spaces and a comment."""
    bare = rest.strip(b" \n")
    return not bare or (rest[:1] == b" " and bare[:1] == b"#")


def digest(entry: bytes) -> bytes:
    return hashlib.blake2b(entry, digest_size=DIGEST_SIZE).digest()


def agrees(counts: Mapping[str, int], document) -> bool:
    """Whether the text that `document` has read is what its split says: so many entries by section."""
    return list(counts.items()) == list(document.counts.items()) and not document.has_aliases
