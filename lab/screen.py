# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: boxes, steps with result and time. Colour only on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

WIDTH = 86
_TITLE = 30
_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def box(lines: Iterable[str], width: int, title: str = "") -> list[str]:
    """Return `lines` in a frame that is `width` characters wide outside."""
    head = f"─ {title} " if title else ""
    return [f"┌{head.ljust(width - 2, '─')}┐", *(f"│ {line.ljust(width - 4)} │" for line in lines),
            f"└{'─' * (width - 2)}┘"]


def beside(*blocks: Sequence[str], gap: int, join: str = "") -> list[str]:
    """Return blocks of the same height side by side; `join` fills the gap in their middle line."""
    middle = len(blocks[0]) // 2
    return [(join if number == middle and join else " " * gap).join(row)
            for number, row in enumerate(zip(*blocks, strict=True))]


def tee(line: str, column: int, mark: str) -> str:
    """Return `line` with the character at `column` replaced: where a wire leaves a frame."""
    return line[:column] + mark + line[column + 1:]


class Step:
    """One line of the demo while it is under way; `result` is shown behind its title."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.result = ""
        self.notes: list[str] = []
        """Lines shown beneath."""


class Screen:
    """Writes to a terminal or a file."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
        self.live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self.live and not os.environ.get("NO_COLOR")
        self._done = 0

    def paint(self, text: str, *styles: str) -> str:
        """Return text in these styles; without them when the output is no terminal."""
        if not self._colour or not text:
            return text
        return f"\033[{';'.join(_COLOURS[style] for style in styles)}m{text}\033[0m"

    def print(self, text: str = "", *styles: str) -> None:
        """Write a line."""
        self._stream.write(self.paint(text, *styles) + "\n")
        self._stream.flush()

    def heading(self, text: str) -> None:
        """Write a heading."""
        self.print()
        self.print(text, "bold")

    def block(self, lines: Iterable[str], *styles: str, indent: int = 2) -> None:
        """Write lines, indented."""
        for line in lines:
            self.print(" " * indent + line, *styles)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step: its title at once (on a terminal), then how it went and how long it took."""
        step = Step(title)
        start = time.monotonic()
        if self.live:
            self._stream.write(f"  … {title}")
            self._stream.flush()
        try:
            yield step
        except BaseException:
            self._finish(step, False, time.monotonic() - start)
            raise
        self._finish(step, True, time.monotonic() - start)

    def _finish(self, step: Step, ok: bool, seconds: float) -> None:
        mark, style = ("✓", "green") if ok else ("✗", "red")
        text = f"{step.title.ljust(_TITLE)}  {step.result}"
        spent = f"{seconds:.1f} s"
        room = WIDTH - 5 - len(spent)
        start = "\r\033[K" if self.live else ""
        self._stream.write(f"{start}  {self.paint(mark, style)} {text.ljust(room)} "
                           f"{self.paint(spent, 'dim')}\n")
        self._stream.flush()
        for note in step.notes:
            self.print(f"      {note}", "dim")
