# SPDX-License-Identifier: Apache-2.0
"""What the commands of fip64ctl have in common: they ask the agent and show its answer in cliff's formats."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

from fip64agent.admin import render, tables
from fip64agent.admin.client import Client, RequestRefused, Unreachable
from fip64agent.cmd.output import Plain, asked_width, cell, width_of

EXIT_OK, EXIT_WRONG, EXIT_CHANGES, EXIT_UNREACHABLE = 0, 1, 2, 3
EXIT_USAGE = 2
"""Wrong usage, as argparse has it."""
_BAD_ARGUMENT = 400
"""HTTP status with which the agent refuses an argument that cannot be."""
_MACHINE = ("json", "yaml")


class Asking(Command):
    """A command that asks the agent; `exit_status` is what the program ends with."""

    exit_status = EXIT_OK
    exit_bad_argument = EXIT_WRONG
    """What the program ends with when the agent refuses an argument."""
    completed_from = ""
    """The command of fip64ctl that prints what its argument may be, for bash; "": nothing does."""

    def ask(self, *parts: str, **query: Any) -> Any:
        """Return the answer to GET /parts?query. Raises: Unreachable, RequestRefused."""
        return Client(self.app.socket()).get(*parts, **query)

    def run(self, parsed_args) -> int:
        try:
            super().run(parsed_args)
        except (Unreachable, RequestRefused) as error:
            print(tables.folded(f"fip64ctl: {error}", width_of(sys.stderr)), file=sys.stderr)
            if isinstance(error, Unreachable):
                return EXIT_UNREACHABLE
            return self.exit_bad_argument if error.status == _BAD_ARGUMENT else EXIT_WRONG
        return self.exit_status


class Table(Asking, Lister):
    """A list of objects. Where they have a state and a reason, each reason is shown once, below the table."""

    columns: Sequence[str] = ()
    """All; JSON and YAML always have all."""
    short: Sequence[str] = ()
    """Those without --long; (): all, and there is no --long."""
    table: Sequence[str] = ()
    """Those of a table for people without --long, in this order; (): all."""
    below: Sequence[str] = ()
    """Columns of long text."""
    titles: tuple[str, str] = ("row", "rows")
    """What one of them is called, and many."""

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        if self.short:
            parser.add_argument("--long", action="store_true",
                                help="show all columns (json and yaml always have all)")
        return parser

    def rows(self, parsed_args) -> list[dict[str, Any]]:
        """Return the agent's rows. Raises: Unreachable, RequestRefused."""
        raise NotImplementedError

    def take_action(self, parsed_args):
        rows = self.rows(parsed_args)
        if parsed_args.formatter == "table" and not parsed_args.columns:
            return self._for_people(parsed_args, rows)
        if parsed_args.formatter == "table":
            self.formatter = Plain(self.below)
        all_of_them = not self.short or parsed_args.long or parsed_args.formatter in _MACHINE \
            or parsed_args.columns
        columns = self.columns if all_of_them else self.short
        return columns, [[cell(row[column]) for column in columns] for row in rows]

    def _for_people(self, parsed_args, rows: list[dict[str, Any]]):
        columns = tuple(self.table or self.columns)
        if self.short and parsed_args.long:
            columns += tuple(column for column in self.columns if column not in columns)
        after = [] if rows else [f"no {self.titles[1]}"]
        if rows and "reason" in self.columns:
            columns = tuple(column for column in columns if column not in ("reason", "cause"))
            after = ["", *render.reasons(rows, self.titles, asked_width(self.app.stdout, parsed_args))]
        self.formatter = Plain(self.below, after)
        return columns, [[cell(row[column]) for column in columns] for row in rows]


class Text(Asking):
    """In place of a table, an answer is shown as text."""

    def text(self, answer: Any, width: int | None) -> str:
        """Return the answer as text; width: see admin.tables."""
        raise NotImplementedError

    def produce_output(self, parsed_args, column_names, data) -> int:
        if parsed_args.formatter == "table" and not parsed_args.columns:
            self.app.stdout.write(self.text(self.answer, asked_width(self.app.stdout, parsed_args)))
            return 0
        return super().produce_output(parsed_args, column_names, data)


class Record(Asking, ShowOne):
    """One object, a line for each field."""

    def shown(self, answer: dict[str, Any]):
        """Keep the answer and return it as cliff wants it."""
        self.answer = answer
        return tuple(answer), [cell(value) for value in answer.values()]

    def produce_output(self, parsed_args, column_names, data) -> int:
        if parsed_args.formatter == "table":
            self.formatter = Plain()
        return super().produce_output(parsed_args, column_names, data)


