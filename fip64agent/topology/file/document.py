# SPDX-License-Identifier: Apache-2.0
"""Reads the YAML of a topology, item by item, from parser events.

Events, not yaml.load(): what aliases expand to is counted before it can multiply (billion
laughs), nothing recurses however deep the document, two equal keys are noticed, and lines are at
hand. Only what a topology needs is supported: null, true and false, decimal integers; everything
else is a string. So a MAC or an IPv6 address of digits only is never taken for YAML 1.1's base 60
number. Neither tags nor merge keys (<<) are supported.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import yaml

from fip64agent.topology.file.problems import GIVE_UP_AFTER, Found, Refused
from fip64agent.topology.words import UNKNOWN, Path, shown, unknown_key

MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Values in one resource."""
MAX_ALIASED = 2_000_000
"""Values that all aliases of a document stand for."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "NULL": None,
              "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMERIC_START = frozenset("+-0123456789")
_STRING_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})

_Scalar, _Alias = yaml.ScalarEvent, yaml.AliasEvent
_SequenceStart, _MappingStart = yaml.SequenceStartEvent, yaml.MappingStartEvent
_CollectionEnd = (yaml.SequenceEndEvent, yaml.MappingEndEvent)


class Unreadable(Refused):
    """What follows this line cannot be read."""

    def __init__(self, reason: str, line: int, path: Path = ()) -> None:
        super().__init__([Found(path, reason, line)])


class Item(NamedTuple):
    section: str
    index: int
    value: Any
    found: tuple[Found, ...]
    """Faults of its text."""


_TOO_MANY = f"has more than {MAX_VALUES} values in one resource"


def _events(data: bytes) -> Iterator:
    """Yield the parser's events. Raises: Unreadable at the first syntax error."""
    try:
        yield from yaml.parse(data, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(filter(None, (error.context, error.problem)))
        last = data.count(b"\n") + (not data.endswith(b"\n"))  # the mark of an early end is behind it
        raise Unreadable(f"is not valid YAML: {reason}", min(mark.line + 1, last) if mark else 1) from None
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        raise Unreadable(f"is not valid YAML: {error.reason}", data.count(b"\n", 0, position) + 1) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"is not valid YAML: {error}", 1) from None


def _line(event) -> int:
    return event.start_mark.line + 1


def _scalar(event) -> Any:
    """Return the value of a scalar event."""
    text = event.value
    if not event.implicit[0] or event.tag is not None:
        return text if event.tag is None or event.tag in _STRING_TAGS else UNKNOWN
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in _NUMERIC_START and _INTEGER.fullmatch(text):
        return int(text)
    return text


class Document:
    """The items of a topology document. Raises while it is read: Refused."""

    def __init__(self, data: bytes, sections: tuple[str, ...]) -> None:
        self._events = _events(data)
        self._sections = sections
        self.found: list[Found] = []
        """Faults of the text, but for those that items have taken with them."""
        self._values = 0
        """Values read in the current resource."""
        self._aliased = 0
        self._anchors: dict[str, tuple[Any, int]] = {}
        """What each anchor stands for, and how many values that has. Shared, never copied."""
        self.counts: dict[str, int] = {}
        """Sections in the document's order -> how many entries were read."""
        self.has_aliases = False
        self.incomplete = False
        """Whether a section is no list, is unknown or is there twice: nobody knows what is missing."""

    def items(self) -> Iterator[Item]:
        """Yield each entry of each section's list, in the document's order."""
        event = self._next()  # stream start
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            raise Unreadable("is empty; a topology with nothing in it is written as {}", 1)
        event = self._next()  # the document has started
        if not isinstance(event, _MappingStart):
            if isinstance(event, _Scalar) and _scalar(event) is None:
                raise Unreadable("is empty; a topology with nothing in it is written as {}", 1)
            raise Unreadable("must be a mapping with the keys " + ", ".join(self._sections), _line(event))
        lines: dict[str | None, int] = {}
        while not isinstance(event := self._next(), _CollectionEnd):
            key, line = self._key(event, (), ()), _line(event)
            is_there, first = key in lines, lines.setdefault(key, line)
            if key in self._sections and not is_there:
                yield from self._section(key)
                continue
            self._value(self._next(), ())
            if isinstance(key, str):
                self._add((key,), f"is there twice, first in line {first}" if is_there
                          else unknown_key(key, self._sections), line)
            self.incomplete = True  # the resources of a section, whichever it should be, are not known
        self._next()  # document end
        if not isinstance(event := self._next(), yaml.StreamEndEvent):
            raise Unreadable("has a second YAML document; only one is allowed", _line(event))

    def _next(self):
        return next(self._events)

    def _add(self, path: Path, reason: str, line: int) -> None:
        self.found.append(Found(path, reason, line))
        if len(self.found) >= GIVE_UP_AFTER:
            raise Refused(())

    def _section(self, section: str) -> Iterator[Item]:
        event = self._next()
        self.counts[section] = 0
        if isinstance(event, _Alias):
            self._add((section,), f"is the alias *{event.anchor}; the list must be written out", _line(event))
            self.incomplete = True
            return
        if not isinstance(event, _SequenceStart):
            value = self._value(event, (section,))
            if value is not None and value is not UNKNOWN:
                self._add((section,), f"must be a list, is {shown(value)}", _line(event))
            self.incomplete |= value is not None
            return
        self._refuse_tag(event, (section,))
        index = 0
        while not isinstance(event := self._next(), _CollectionEnd):
            self._values = 0
            before = len(self.found)
            value = self._value(event, (section, index))
            found = tuple(self.found[before:])
            del self.found[before:]
            yield Item(section, index, value, found)
            index += 1
        self.counts[section] = index

    def _key(self, event, path: Path, seen: Container[str]) -> str | None:
        """Return a mapping's key; None when it was refused. seen: the keys before it."""
        if not isinstance(event, _Scalar):
            raise Unreadable("a key must be a string" if not isinstance(event, _Alias)
                             else f"alias *{event.anchor} is not supported", _line(event), path)
        key = _scalar(event)
        if not isinstance(key, str):
            self._add(path, f"key {shown(event.value)} must be a string", _line(event))
            return None
        if key in seen:
            self._add((*path, key), "is there twice in this mapping", _line(event))
        return key

    def _refuse_tag(self, event, path: Path) -> None:
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            self._add(path, f"has the YAML tag {shown(event.tag)}; tags are not supported", _line(event))

    def _leaf(self, event, path: Path) -> Any:
        if isinstance(event, _Alias):
            return self._alias(event, path)
        value = _scalar(event)
        if value is UNKNOWN:
            self._add(path, f"has the YAML tag {shown(event.tag)}; tags are not supported", _line(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 1
        return value

    def _alias(self, event, path: Path) -> Any:
        self.has_aliases = True
        if event.anchor not in self._anchors:  # nor is it while the value of the anchor is being read
            self._add(path, f"is the alias *{event.anchor}, but no value before it has the anchor "
                            f"&{event.anchor}", _line(event))
            return UNKNOWN
        value, count = self._anchors[event.anchor]
        self._values += count
        self._aliased += count
        if self._values > MAX_VALUES:
            raise Unreadable(_TOO_MANY, _line(event), path[:2])
        if self._aliased > MAX_ALIASED:
            raise Unreadable(f"aliases stand for more than {MAX_ALIASED} values", _line(event), path[:2])
        return value

    def _value(self, event, path: Path) -> Any:
        """Read the value that starts with `event`, without recursion."""
        if not isinstance(event, _SequenceStart | _MappingStart):
            return self._leaf(event, path)
        root: dict | list = {} if isinstance(event, _MappingStart) else []
        self._refuse_tag(event, path)
        stack: list[tuple[dict | list, Path, str | None, int]] = [(root, path, event.anchor, self._values)]
        while stack:
            container, path, anchor, before = stack[-1]
            event = self._next()
            if isinstance(event, _CollectionEnd):
                stack.pop()
                if anchor is not None:
                    self._anchors[anchor] = container, self._values - before + 1
                continue
            self._values += 1
            if self._values > MAX_VALUES:
                raise Unreadable(_TOO_MANY, _line(event), path[:2])
            if isinstance(container, dict):
                key = self._key(event, path, container)
                event = self._next()
            else:
                key = len(container)
            inner = path if key is None else (*path, key)
            if isinstance(event, _SequenceStart | _MappingStart):
                if len(stack) >= MAX_DEPTH:
                    raise Unreadable(f"is nested more than {MAX_DEPTH} levels deep", _line(event), path[:3])
                self._refuse_tag(event, inner)
                value: Any = {} if isinstance(event, _MappingStart) else []
                stack.append((value, inner, event.anchor, self._values))
            else:
                value = self._leaf(event, inner)
            if isinstance(container, list):
                container.append(value)
            elif key is not None:
                container[key] = value
        return root


def locate(data: bytes, paths: set[Path]) -> dict[Path, int]:
    """Return the line (from 1) of each of `paths` and of all that is around them.

    A second pass over the text, which only a faulty document costs.
    """
    wanted = {path[:length] for path in paths for length in range(1, len(path) + 1)}
    lines: dict[Path, int] = {}
    ahead = {path[:2] for path in paths}
    """Items that were not reached yet; after the last one, nothing is left to be found."""
    sections: set[str] = set()
    stack: list[list] = []  # [path, is a mapping, next key or index, a key comes next]
    try:
        for event in _events(data):
            if isinstance(event, _CollectionEnd):
                stack.pop()
                continue
            if not isinstance(event, _Scalar | _Alias | _SequenceStart | _MappingStart):
                continue
            path: Path = ()
            if stack:
                frame = stack[-1]
                if frame[1] and frame[3]:
                    # A key: its value comes next. One that cannot be is passed over as None.
                    frame[2], frame[3] = getattr(event, "value", None), False
                    if not isinstance(event, _Scalar):
                        return lines
                    if len(stack) == 1:
                        if frame[2] in sections:
                            frame[2] = None  # a section that is there twice: the first one is meant
                        sections.add(frame[2])
                    key_path = (*frame[0], frame[2])
                    ahead.discard(key_path)
                    if key_path in wanted:
                        lines[key_path] = _line(event)  # of a key that is there twice, the second is told
                    continue
                path = (*frame[0], frame[2])
                if frame[1]:
                    frame[3] = True
                else:
                    frame[2] += 1
                    if path in wanted:
                        lines.setdefault(path, _line(event))
                    elif len(path) == 2 and not ahead:
                        return lines
                    ahead.discard(path)
            if isinstance(event, _SequenceStart | _MappingStart):
                mapping = isinstance(event, _MappingStart)
                stack.append([path, mapping, None if mapping else 0, True])
                if len(stack) > MAX_DEPTH + 4:
                    return lines
    except Unreadable:
        pass  # reported already; what was found before it stands
    return lines
