# SPDX-License-Identifier: Apache-2.0
"""fip64ctl: look at a running fip64-agent. Reads only; imports little, as every call starts anew."""

from __future__ import annotations

import sys
from typing import Any

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager
from cliff.lister import Lister
from cliff.show import ShowOne

import fip64agent
from fip64agent.admin import render, tables
from fip64agent.admin.client import DEFAULT_CONFIG, Client, Refused, Unreachable, socket_from
from fip64agent.cmd.output import Plain, asked_width, cell, width_of

DESCRIPTION = """Shows what fip64-agent on this host does, what is wrong, and why. It changes nothing: the
topology source decides what there is. Start with "fip64ctl status"; then "fip64ctl trace <floating IP>"."""

EXIT_OK, EXIT_WRONG, EXIT_CHANGES, EXIT_UNREACHABLE = 0, 1, 2, 3
_MACHINE = ("json", "yaml")
FEATURES = ("default", "redirect", "neighbor", "deliver", "back", "arp", "guard", "isolation")
"""As switch.pipeline names them, which takes too long to import here."""


class _Asking(Command):
    """A command that asks the agent; `exit_status` is what the program ends with."""

    exit_status = EXIT_OK

    def ask(self, *parts: str, **query: Any) -> Any:
        return Client(self.app.socket()).get(*parts, **query)

    def run(self, parsed_args) -> int:
        try:
            super().run(parsed_args)
        except (Unreachable, Refused) as error:
            print(tables.folded(f"fip64ctl: {error}", width_of(sys.stderr)), file=sys.stderr)
            return EXIT_UNREACHABLE if isinstance(error, Unreachable) else EXIT_WRONG
        return self.exit_status


class _Table(_Asking, Lister):
    """A list of objects; `short` are the columns without --long, json and yaml have all.

    A table for people has them in the order of `seen`. `below`: columns of long text. `nouns`: of one object
    and of many, where objects have a state and a reason: each reason is told once, below the table.
    """

    columns: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    nouns: tuple[str, str] = ("row", "rows")

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        if self.short:
            parser.add_argument("--long", action="store_true",
                                help="show all columns (json and yaml always have all)")
        return parser

    def rows(self, parsed_args) -> list[dict[str, Any]]:
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
        columns = self.seen or self.columns
        if self.short and parsed_args.long:
            columns += tuple(column for column in self.columns if column not in columns)
        after = [] if rows else [f"no {self.nouns[1]}"]
        if rows and "reason" in self.columns:
            columns = tuple(column for column in columns if column not in ("reason", "cause"))
            after = ["", *render.reasons(rows, self.nouns, asked_width(self.app.stdout, parsed_args))]
        self.formatter = Plain(self.below, after)
        return columns, [[cell(row[column]) for column in columns] for row in rows]


class _Text(_Asking):
    """In place of a table, an answer is shown as text."""

    def text(self, answer: Any, width: int | None) -> str:
        raise NotImplementedError

    def produce_output(self, parsed_args, column_names, data) -> int:
        if parsed_args.formatter == "table" and not parsed_args.columns:
            self.app.stdout.write(self.text(self.answer, asked_width(self.app.stdout, parsed_args)))
            return 0
        return super().produce_output(parsed_args, column_names, data)


class _Record(_Asking, ShowOne):
    def shown(self, answer: dict[str, Any]):
        self.answer = answer
        return tuple(answer), [cell(value) for value in answer.values()]

    def produce_output(self, parsed_args, column_names, data) -> int:
        if parsed_args.formatter == "table":
            self.formatter = Plain()
        return super().produce_output(parsed_args, column_names, data)


class Status(_Text, _Record):
    """Show what is wrong, first, in sentences; then counts, versions.

    Exit status: 0 nothing is in error (something may be pending), 1 something is in error,
    3 the agent cannot be reached.
    """

    def text(self, answer: Any, width: int | None) -> str:
        return render.status(answer, width)

    def take_action(self, parsed_args):
        answer = self.ask("status")
        if answer["state"] == "error":
            self.exit_status = EXIT_WRONG
        return self.shown(answer)


class UplinkList(_Table):
    """List the uplinks: router ports with IPv6, bound on this host."""

    columns = ("port_id", "port", "network_id", "network", "router_id", "interface", "ofport", "addresses",
               "veth", "veth_ofport", "gateways", "state", "reason", "cause")
    short = ("port_id", "network", "interface", "addresses", "veth", "state", "reason")
    seen = ("port_id", "state", "addresses", "interface", "veth", "network")
    below = ("reason",)
    nouns = ("uplink", "uplinks")

    def rows(self, parsed_args):
        return self.ask("uplinks")


class FipList(_Table):
    """List the floating IPs, with their state on this host and why.

    States: active (installed), pending (waits for something that is expected to come), error (somebody
    must act), down (not associated with a port).
    """

    columns = ("id", "floating_ip_address", "fixed_ip_address", "router_id", "router", "port_id", "port",
               "uplink_id", "state", "reason", "cause")
    short = ("id", "floating_ip_address", "fixed_ip_address", "router", "port", "state", "reason")
    seen = ("floating_ip_address", "state", "fixed_ip_address", "router", "port", "id")
    below = ("reason",)
    nouns = ("floating IP", "floating IPs")

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        parser.add_argument("--state", choices=("active", "pending", "error", "down"),
                            help="only floating IPs in this state")
        return parser

    def rows(self, parsed_args):
        return [row for row in self.ask("fips") if parsed_args.state in (None, row["state"])]


class FipShow(_Record):
    """Show all about one floating IP: its state and why, VM, uplink."""

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        parser.add_argument("fip", metavar="FIP", help="id or address of the floating IP")
        return parser

    def take_action(self, parsed_args):
        return self.shown(self.ask("fips", parsed_args.fip))


class ClientList(_Table):
    """List IPv6 clients and the pool addresses that stand in for them.

    With VPP the list is of this moment; another translator may write a new binding down only after a minute.
    """

    columns = ("router_id", "router", "client", "pool_address", "static", "last_seen", "idle_seconds")
    short = ("router", "client", "pool_address", "static", "idle_seconds")
    seen = ("client", "pool_address", "static", "idle_seconds", "router")
    nouns = ("client binding", "client bindings")

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        parser.add_argument("--router", "--tenant", metavar="ROUTER",
                            help="only this tenant: id or name of its router")
        parser.add_argument("--client", metavar="PREFIX",
                            help="only this client, or the clients of this prefix")
        return parser

    def rows(self, parsed_args):
        return self.ask("clients", router=parsed_args.router, client=parsed_args.client)


class PlanShow(_Table):
    """Show what should be installed on this host, object by object."""

    columns = ("kind", "id", "attributes")
    below = ("attributes",)
    nouns = ("object in the plan", "objects in the plan")

    def rows(self, parsed_args):
        return self.ask("plan")["objects"]


class Diff(_Text, _Table):
    """Read everything back and show what would be changed.

    Exit status: 0 nothing to change, 2 there are changes, 1 a component cannot be asked now, 3 the
    agent cannot be reached.
    """

    columns = ("room", "action", "object", "what")

    def text(self, answer: Any, width: int | None) -> str:
        return render.diff(answer, width)

    def rows(self, parsed_args):
        self.answer = self.ask("diff")["changes"]
        if self.answer:
            self.exit_status = EXIT_CHANGES
        return self.answer


class FlowList(_Table):
    """List the agent's flows as they are installed now."""

    columns = ("table", "table_name", "priority", "feature", "object", "packets", "bytes", "match", "actions",
               "cookie")
    short = ("table_name", "priority", "feature", "packets", "match", "actions")
    seen = short
    below = ("match", "actions")
    nouns = ("flow", "flows")

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        parser.add_argument("--feature", choices=FEATURES, metavar="FEATURE",
                            help=f"only flows of this feature: {', '.join(FEATURES)}")
        parser.add_argument("--table", help="only flows of this table: its number or name")
        return parser

    def rows(self, parsed_args):
        return self.ask("flows", feature=parsed_args.feature, table=parsed_args.table)


class Trace(_Text, _Record):
    """Walk a packet to a floating IP and back: where would it stop?

    No packet is sent: Open vSwitch is asked about its flows (ofproto/trace), the kernel or VPP about its
    routes, the translator about its mappings. With --live, waits for real packets of the floating IP too and
    shows what VPP does with them. Exit status: 0 it arrives and the answer gets back, 1 it stops.
    """

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        parser.add_argument("fip", metavar="FIP", help="id or address of the floating IP")
        parser.add_argument("client", metavar="CLIENT", nargs="?",
                            help="IPv6 address of the client (default: one on the uplink's link)")
        parser.add_argument("--live", metavar="SECONDS", type=int,
                            help="wait for real packets of the floating IP, 30 s at most (translator vpp)")
        return parser

    def text(self, answer: Any, width: int | None) -> str:
        return render.trace(answer, width)

    def take_action(self, parsed_args):
        answer = self.ask("trace", fip=parsed_args.fip, client=parsed_args.client, live=parsed_args.live)
        if not answer["reachable"]:
            self.exit_status = EXIT_WRONG
        return self.shown(answer)


class Complete(Command):
    """Print the script that lets bash complete commands and options.

    Install it with: fip64ctl complete > /etc/bash_completion.d/fip64ctl
    """

    def take_action(self, parsed_args) -> int:
        from fip64agent.admin import completion

        commands, values, flags = {"": self._options(self.app.parser, {}, set())}, {}, set()
        for name, command in sorted(COMMANDS.items()):
            parser = command(self.app, None).get_parser(f"{self.app.NAME} {name}")
            commands[name] = self._options(parser, values, flags)
        commands["help"] = []
        self._options(self.app.parser, values, flags)
        self.app.stdout.write(completion.script(commands, values, sorted(flags)))
        return 0

    @staticmethod
    def _options(parser, values: dict[str, list[str]], flags: set[str]) -> list[str]:
        """Return the parser's options; add what may follow them, and those that nothing follows."""
        names = []
        for action in parser._actions:
            names += action.option_strings
            for name in action.option_strings:
                if action.choices:
                    values[name] = sorted({*values.get(name, ()), *map(str, action.choices)})
                elif action.nargs == 0:
                    flags.add(name)
        return names


COMMANDS = {
    "status": Status, "uplink list": UplinkList, "fip list": FipList, "fip show": FipShow,
    "client list": ClientList, "plan show": PlanShow, "diff": Diff, "flow list": FlowList, "trace": Trace,
    "complete": Complete,
}


class Ctl(App):
    NAME = "fip64ctl"

    def __init__(self) -> None:
        manager = CommandManager()
        super().__init__(DESCRIPTION, fip64agent.__version__, manager,
                         deferred_help=True)  # else "fip64ctl trace --help" shows what "fip64ctl --help" does
        for name, command in COMMANDS.items():  # after cliff's own: "complete" is ours
            manager.add_command(name, command)

    def build_option_parser(self, description, version, argparse_kwargs=None):
        parser = super().build_option_parser(description, version, {"prog": self.NAME,
                                                                    **(argparse_kwargs or {})})
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--socket", metavar="PATH", help="the agent's admin socket")
        where.add_argument("--config-file", metavar="FILE",
                           help="the agent's configuration, which names the socket (default: "
                                f"{DEFAULT_CONFIG} if it can be read)")
        return parser

    def socket(self) -> str:
        """Return the admin socket's path. Raises: Refused when the given configuration cannot be used."""
        if self.options.socket:
            return self.options.socket
        try:
            return socket_from(self.options.config_file)
        except (OSError, ValueError) as error:
            raise Refused(0, f"--config-file {self.options.config_file}: "
                             f"{getattr(error, 'strerror', None) or error}") from error

    def interact(self) -> None:
        """No command: cliff would start a shell."""
        self.stdout = self.stderr
        self.run_subcommand(["help"])

    def run(self, argv: list[str]) -> int:
        result = super().run(argv)
        return 2 if self.interactive_mode else result


def main(argv: list[str] | None = None) -> int:
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")  # a name that this locale cannot show
    return Ctl().run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
