# SPDX-License-Identifier: Apache-2.0
"""From the text of a topology document to its resources, each by itself.

A large file takes seconds to parse, and mostly one floating IP in it is new. read_again() takes over
the entries that were read before (see entries.py); the text without them is a small document, read
in the ordinary way.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping

from fip64agent.topology import schema
from fip64agent.topology.attributes import OTHER_NAMES, SECTIONS
from fip64agent.topology.file import entries
from fip64agent.topology.file.document import Document, Unreadable, locate
from fip64agent.topology.file.entries import Contents, Form, Section
from fip64agent.topology.file.problems import GIVE_UP_AFTER, Found, Refused
from fip64agent.topology.model import Finding, Key
from fip64agent.topology.model import Unreadable as UnreadableResource
from fip64agent.topology.words import Path, shown


class Reader:
    """Takes the items of one document."""

    def __init__(self) -> None:
        self.forms: dict[Key, Form] = {}
        self.ids: dict[str, list[str | None]] = {}
        self.found: list[Found] = []
        self._places: dict[Key, int] = {}
        self._faults = 0

    def read(self, data: bytes) -> Document:
        """Read a text. Raises: Refused."""
        document = Document(data, tuple(SECTIONS))
        try:
            for item in document.items():
                self._take(item)
                if self._faults + len(document.found) >= GIVE_UP_AFTER:
                    raise Refused(())
        except Refused as refusal:
            raise Refused((*document.found, *self.all_found(), *refusal.found)) from None
        if document.incomplete:
            raise Refused((*document.found, *self.all_found()))
        self.found += document.found
        return document

    def _take(self, item) -> None:
        section, index = item.section, item.index
        known = tuple(Finding(fault.path[2:], fault.reason) for fault in item.found)
        form = schema.build(section, item.value, known)
        findings = form.findings if isinstance(form, UnreadableResource) else ()
        self._faults += len(findings)
        item_id = schema.id_of(item.value)
        ids = self.ids.setdefault(section, [])
        key = section, item_id
        if item_id is None:
            self.found += [Found((section, index, *path), reason) for path, reason in _pairs(findings)]
        elif (first := self._places.setdefault(key, index)) != index:
            self._faults += 1
            self.found.append(Found((section, index, "id"), f"{shown(item_id)} is already the id of "
                                                            f"{section}[{first}]"))
            item_id = None
        else:
            self.forms[key] = form
        ids.append(item_id)

    def all_found(self) -> list[Found]:
        """Return all that was found so far, of the resources too."""
        return [*self.found, *(Found((kind, self._places[kind, item_id], *path), reason)
                               for (kind, item_id), form in self.forms.items()
                               if isinstance(form, UnreadableResource)
                               for path, reason in _pairs(form.findings))]


def _pairs(findings: Iterable[Finding]) -> Iterator[tuple[Path, str]]:
    return ((finding.path, finding.reason) for finding in findings)


def read_whole(data: bytes) -> tuple[Contents, dict[Key, Form]]:
    """Read a document. Raises: Refused with all that was found in it until it was given up."""
    _check_utf8(data)
    reader = Reader()
    document = reader.read(data)
    digests = None
    sections = entries.split(data) if not reader.found else None
    if sections is not None and entries.agrees({each.name: each.count for each in sections}, document):
        digests = {each.name: b"".join(map(entries.digest, each.entries(data))) for each in sections}
    ids = {section: reader.ids.get(section, []) for section in document.counts}
    return Contents(ids, tuple(reader.found), digests), reader.forms


def read_again(data: bytes, known: Contents, limit: int) -> tuple[Contents, dict[Key, Form]] | None:
    """Return what read_whole() does, but of the resources only those whose text is new.

    known: of the document before; its digests are needed. limit: so many bytes of new entries are read.
    Returns: None when only read_whole() can tell.
    """
    with _without_gc():
        sections = entries.split(data)
        if sections is None or not all(section.name in SECTIONS for section in sections):
            return None
        places: dict[str, list[int | None]] = {}
        digests: dict[str, bytes] = {}
        for section in sections:
            found = list(map(entries.digest, section.entries(data)))
            places[section.name] = _places(found, known.digests.get(section.name, b""))
            digests[section.name] = b"".join(found)
        rest = _without_known(data, sections, places)
        if len(rest) > limit:
            return None
        reader = Reader()
        try:
            document = reader.read(rest)
        except Refused:
            return None
        unknown = {name: where.count(None) for name, where in places.items()}
        if reader.found or not entries.agrees(unknown, document):
            return None
        ids: dict[str, list[str | None]] = {}
        for name, where in places.items():
            new, before = iter(reader.ids.get(name, ())), known.ids.get(name, [])
            ids[name] = [next(new) if place is None else before[place] for place in where]
            if len(set(ids[name])) != len(ids[name]):  # an id is there twice
                return None
        return Contents(ids, (), digests), reader.forms


def lines_of(data: bytes, found: Iterable[Found], ids: Mapping[str, list] | None = None) -> dict[Path, int]:
    """Return the lines (from 1) of faults in a document that have none yet, and of all that is around them.

    ids: as Contents has them, if the document could be read. Then only the entries that are meant are
    parsed, where the text can be split.
    """
    paths = {fault.path for fault in found if fault.line is None}
    others = {(*path[:2], OTHER_NAMES[path[0], path[2]], *path[3:]): path for path in paths
              if len(path) > 2 and (path[0], path[2]) in OTHER_NAMES}
    lines = _lines_of(data, paths | others.keys(), ids) if paths else {}
    for other, path in others.items():
        for length in range(3, len(path) + 1):
            if other[:length] in lines:
                lines.setdefault(path[:length], lines[other[:length]])
    return lines


def _lines_of(data: bytes, paths: set[Path], ids: Mapping[str, list] | None) -> dict[Path, int]:
    sections = entries.split(data) if ids is not None else None
    if sections is None or any(each.count != len(ids.get(each.name, ())) for each in sections):
        return locate(data, paths)
    lines: dict[Path, int] = {}
    bounds = {section.name: section.bounds for section in sections}
    by_entry: dict[tuple, set[Path]] = {}
    for path in paths:
        by_entry.setdefault(path[:2], set()).add(("", 0, *path[2:]))
    for (name, index), inside in by_entry.items():
        start, end = bounds[name][index:index + 2]
        before = data.count(b"\n", 0, start)
        for path, line in locate(b"'':\n" + data[start:end], inside).items():
            lines[(name, index, *path[2:])] = before + line - 1
    return lines


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}",
                         data.count(b"\n", 0, error.start) + 1) from None


def _places(found: list[bytes], known: bytes) -> list[int | None]:
    """Return which known entry each one found is."""
    size = entries.DIGEST_SIZE
    if b"".join(found) == known:
        return list(range(len(found)))
    by_digest = {known[start:start + size]: start // size for start in range(0, len(known), size)}
    return [by_digest.get(one) for one in found]


def _without_known(data: bytes, sections: list[Section], places: dict[str, list[int | None]]) -> bytes:
    pieces = [data[:sections[0].start]] if sections else [data]
    for section in sections:
        bounds = section.bounds
        pieces.append(data[section.start:bounds[0]])
        pieces += [data[bounds[number]:bounds[number + 1]]
                   for number, place in enumerate(places[section.name]) if place is None]
    return b"".join(pieces)


@contextlib.contextmanager
def _without_gc() -> Iterator[None]:
    """Keep the collector from running, which would stop all threads until it has seen each object.

    The many objects made meanwhile would call for it, but nearly all are gone again by the end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
