# SPDX-License-Identifier: Apache-2.0
"""How fip64ctl shows what is in an answer: values in each of cliff's formats, and tables for people."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

from cliff.columns import FormattableColumn

from fip64agent.admin import tables


class _List(FormattableColumn):
    def human_readable(self) -> str:
        return ", ".join(map(str, self._value))


class _Attributes(FormattableColumn):
    def human_readable(self) -> str:
        return "\n".join(f"{name}={value}" for name, value in self._value.items() if name != "maps")


class _Escaped(FormattableColumn):
    def human_readable(self) -> str:
        return "\n".join(map(tables.printable, self._value.split("\n")))


class _Nothing(FormattableColumn):
    def human_readable(self) -> str:
        return ""


def cell(value: Any) -> Any:
    """Return the value as cliff's formats show it: whole in JSON, as text for people."""
    if value is None:
        return _Nothing(value)
    if isinstance(value, dict):
        return _Attributes(value)
    if isinstance(value, str) and not value.isprintable():
        return _Escaped(value)
    return _List(value) if isinstance(value, list) else value


def _text(value: Any) -> str:
    """Return a cell as text for people."""
    if isinstance(value, FormattableColumn):
        value = value.human_readable()
    return str(value)


class Plain:
    """A cliff formatter for tables without boxes and without columns that wrap.

    below: columns of long text, see admin.tables. after: lines behind the table.
    """

    def __init__(self, below: Sequence[str] = (), after: Iterable[str] = ()) -> None:
        self._below, self._after = below, after

    def emit_list(self, column_names, data, stdout, parsed_args) -> None:
        """Write a table."""
        rows = [[_text(value) for value in row] for row in data]
        width = asked_width(stdout, parsed_args)
        shown = rows or parsed_args.print_empty
        lines = tables.table(column_names, rows, width, self._below) if shown else []
        stdout.writelines(f"{line}\n" for line in [*lines, *self._after])

    def emit_one(self, column_names, data, stdout, parsed_args) -> None:
        """Write one object, a line for each field."""
        shown = [(name, _text(value)) for name, value in zip(column_names, data, strict=True)]
        if not parsed_args.print_empty:
            shown = [(name, value) for name, value in shown if value]
        width = asked_width(stdout, parsed_args)
        lines = tables.fields([name for name, _ in shown], [value for _, value in shown], width)
        stdout.writelines(f"{line}\n" for line in lines)


def asked_width(stream, parsed_args) -> int | None:
    """Return how long lines may be, as cliff's options for tables say, else as width_of()."""
    if parsed_args.max_width > 0:
        return parsed_args.max_width
    return shutil.get_terminal_size().columns if parsed_args.fit_width else width_of(stream)


def width_of(stream) -> int | None:
    """Return how wide the terminal is; None where there is none."""
    if stream.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None
