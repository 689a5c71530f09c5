# SPDX-License-Identifier: Apache-2.0
"""Columns and lines of text that fit a terminal. Imports little, as fip64ctl uses it, and lab and bench.

A column is as wide as its longest cell; no cell is cut or wrapped. Columns that do not fit beside the others
follow on further lines of the same row. Columns of long text have lines of their own. `width`, everywhere:
the terminal's, in characters; None: there is no terminal, and lines may have any length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

NARROWEST = 60
"""Fewer characters are never assumed: a narrower terminal breaks the lines itself."""
_GAP, _INDENT = "  ", "    "
_LABEL = re.compile(r" *(?:- |(?:\S+(?: \S+)? {2,})+|\(\d+\) )?")
"""What a line begins with that is followed by text: a list's mark, words in columns."""


def cells(text: str) -> int:
    """Return how many characters of a terminal's line `text` takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
               for char in text)


def printable(text: str) -> str:
    """Return `text` with control characters escaped: tenants choose names, and could control the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def wrapped(text: str, width: int | None) -> list[str]:
    """Return `text` as lines, broken between words; a word longer than a line behind a comma, or anywhere."""
    if width is None or cells(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split():
        if line and cells(line) + 1 + cells(word) <= width:
            line += " " + word
            continue
        if line:
            lines.append(line)
        while cells(word) > width:
            head = _head(word, width)
            lines.append(head)
            word = word[len(head):]
        line = word
    return [*lines, line] if line or not lines else lines


def _head(word: str, width: int) -> str:
    """Return as much of the word as fits, and one character at least."""
    end = 1
    while end < len(word) and cells(word[:end + 1]) <= width:
        end += 1
    return word[:word.rfind(",", 0, end) + 1] or word[:end]


def folded(text: str, width: int | None) -> str:
    """Return the text with long lines broken. Further lines are indented behind a list mark or a label."""
    if width is None:
        return text
    width = max(width, NARROWEST)
    lines: list[str] = []
    for line in text.split("\n"):
        if cells(line) <= width:
            lines.append(line)
            continue
        label = _LABEL.match(line)[0]
        if cells(label) > width // 2:
            label = re.match(" *", line)[0][:width // 2]
        first, *others = wrapped(line[len(label):], width - cells(label))
        lines += [label + first, *(" " * cells(label) + other for other in others)]
    return "\n".join(lines)


def fields(names: Sequence[str], values: Sequence[str], width: int | None) -> Iterator[str]:
    """Return a line for each field, more when its value has more lines or is long."""
    return _fields(names, values, None if width is None else max(width, NARROWEST))


def _fields(names: Sequence[str], values: Sequence[str], width: int | None) -> Iterator[str]:
    indent = max(map(cells, names), default=0) + len(_GAP)
    for name, value in zip(names, values, strict=True):
        label = name
        for part in value.split("\n"):
            for line in wrapped(part, None if width is None else width - indent):
                yield f"{label:{indent}}{line}".rstrip()
                label = ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None,
          below: Sequence[str] = (), right: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a table.

    below: columns of long text, which has lines of its own under its row. right: columns whose text ends at
    the right.
    """
    width = None if width is None else max(width, NARROWEST)
    beside = [number for number, name in enumerate(columns) if name not in below]
    widths = {number: max([cells(columns[number]), *(cells(row[number]) for row in rows)])
              for number in beside}
    lines = _placed(beside, widths, width)
    at_right = {number for number in beside if columns[number] in right}

    def padded(row: Sequence[str], numbers: Sequence[int]) -> list[str]:
        return [_padded(row[number], widths[number], number in at_right) for number in numbers]

    for number, line in enumerate(lines):
        yield from _line(padded(columns, line), number, width)
    if lines:
        yield from _line(["-" * widths[each] for each in lines[0]], 0, width)
    for row in rows:
        for number, line in enumerate(lines):
            yield from _line(padded(row, line), number, width)
        under = [(name, value) for name, value in zip(columns, row, strict=True) if name in below and value]
        for line in _fields([name for name, _ in under], [value for _, value in under],
                            None if width is None else width - len(_INDENT)):
            yield _INDENT + line if lines else line


def _placed(numbers: Sequence[int], widths: dict[int, int], width: int | None) -> list[list[int]]:
    """Divide columns into lines; those after the first are indented."""
    lines: list[list[int]] = []
    left = 0
    for number in numbers:
        if lines and (width is None or widths[number] + len(_GAP) <= left):
            lines[-1].append(number)
            left -= widths[number] + len(_GAP)
        else:
            lines.append([number])
            left = (width or 0) - widths[number] - (len(_INDENT) if len(lines) > 1 else 0)
    return lines


def _padded(text: str, size: int, right: bool) -> str:
    blanks = " " * (size - cells(text))
    return blanks + text if right else text + blanks


def _line(values: Sequence[str], number: int, width: int | None) -> Iterator[str]:
    """Yield the line `number` of a row, of values that are as wide as their columns."""
    indent = _INDENT if number else ""
    if len(values) == 1:  # a name may be longer than the terminal is wide
        yield from (indent + line for line in wrapped(values[0].rstrip(), width and width - len(indent))
                    if line)
        return
    line = _GAP.join(values)
    if line.strip():
        yield (indent + line).rstrip()
