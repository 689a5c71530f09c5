# SPDX-License-Identifier: Apache-2.0
"""Splits the text of a topology document into its entries, without parsing it, to tell known ones.

Only the plain block style that yaml.dump() and people write is split: each section begins with
``name:`` in column 0, each of its entries with ``- `` in one column, and what belongs to an entry
is indented more than that. Whatever looks different makes split() return None.

Why lines are enough. Where a block sequence has its entries in column c, each of them begins with
a dash there (YAML 1.2, section 8.2.1), so split() finds at least every real entry. It may find
more: what looks like an entry can be the inside of a quoted string that goes on over several
lines. So a split is believed only when the parser found the same sections with as many entries
(agrees()): then each entry of the split is one, and no
string or bracket is open between two of them. Nothing else leads from one entry into another,
but aliases: a document with any is not split. So the text of an entry alone decides what it is.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from fip64agent.topology.model import FloatingIP, Topology

DIGEST_SIZE = 16
FIXED_IP_GIVEN, ROUTER_GIVEN = 1, 2

_BLANK = rb"(?: *+(?:#[^\n]*+)?\n)*+"
"""Empty lines and lines with a comment only."""
_HEADER = re.compile(_BLANK + rb"(?:--- *+(?: #[^\n]*+)?\n" + _BLANK + rb")?")
_SECTION = re.compile(rb"([a-z]++):( ++(?:\[\]|null|~))?(?: ++#[^\n]*+| *+)\n" + _BLANK)
_DASH = re.compile(rb"( *+)- ")
_OTHER_BREAKS = (b"\r", "\x85".encode(), "\u2028".encode(), "\u2029".encode())
"""What ends a line in YAML 1.1 as well."""


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


class Index(NamedTuple):
    """The entries of a document that was loaded, by section and in its order."""

    topology: Topology
    digests: dict[str, bytes]
    """Section -> the digests of its entries' texts, one after the other."""
    given: bytes
    """Of each floating IP, FIXED_IP_GIVEN and ROUTER_GIVEN: what else it has was filled in."""


@functools.lru_cache(maxsize=16)
def _entry(column: int) -> re.Pattern[bytes]:
    return re.compile(rb" {%d}- [^\n]*+\n(?: {%d}[^\n]*+\n| *+(?:#[^\n]*+)?\n)*+" % (column, column + 1))


def split(data: bytes) -> list[Section] | None:
    """Return the sections of a text in the plain style; None for any other text."""
    if any(other in data for other in _OTHER_BREAKS):
        return None
    position = _HEADER.match(data).end()  # type: ignore[union-attr]
    sections: list[Section] = []
    while position < len(data):
        found = _SECTION.match(data, position)
        if found is None:
            return None
        start, position = position, found.end()
        bounds = [position]
        dash = _DASH.match(data, position)
        if dash is not None:
            if found[2] is not None:  # a value, and entries nevertheless
                return None
            entry = _entry(len(dash[1]))
            while (one := entry.match(data, position)) is not None:
                position = one.end()
                bounds.append(position)
        sections.append(Section(found[1].decode(), start, bounds))
    names = {section.name for section in sections}
    return sections if len(names) == len(sections) else None


def digest(entry: bytes) -> bytes:
    return hashlib.blake2b(entry, digest_size=DIGEST_SIZE).digest()


def given(fip: FloatingIP) -> int:
    """Return what a floating IP says of its target, as it was written."""
    return ((FIXED_IP_GIVEN if fip.fixed_ip_address is not None else 0)
            | (ROUTER_GIVEN if fip.router_id is not None else 0))


def agrees(counts: dict[str, int], document) -> bool:
    """Whether the text that `document` has read is what its split says: so many entries by section."""
    return list(counts.items()) == list(document.counts.items()) and not document.has_aliases


def index_of(data: bytes, document, draft) -> tuple[dict[str, bytes], bytes] | None:
    """Return Index's digests and given of a text, from which `document` and `draft` were made.

    None when its entries cannot be told by their text.
    """
    sections = split(data)
    if sections is None or not agrees({section.name: section.count for section in sections}, document):
        return None
    digests = {section.name: b"".join(map(digest, section.entries(data))) for section in sections}
    return digests, bytes(map(given, draft.objects["floatingips"].values()))
