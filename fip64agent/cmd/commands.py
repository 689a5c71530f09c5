# SPDX-License-Identifier: Apache-2.0
"""The commands of fip64ctl that show something else than the objects of one kind."""

from __future__ import annotations

from typing import Any

from fip64agent.admin import render
from fip64agent.cmd.asking import EXIT_CHANGES, EXIT_USAGE, EXIT_WRONG, Record, Table, Text


class Status(Text, Record):
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


class ClientList(Table):
    """List IPv6 clients and the pool addresses that stand in for them.

    With VPP the list is of this moment; another translator may write a new binding down only after a minute.
    """

    columns = ("router_id", "router", "client", "pool_address", "static", "last_seen", "idle_seconds")
    short = ("router", "client", "pool_address", "static", "idle_seconds")
    table = ("client", "pool_address", "static", "idle_seconds", "router")
    titles = ("client binding", "client bindings")

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        parser.add_argument("--router", "--tenant", metavar="ROUTER",
                            help="only this tenant: id or name of its router")
        parser.add_argument("--client", metavar="PREFIX",
                            help="only this client, or the clients of this prefix")
        return parser

    def rows(self, parsed_args):
        return self.ask("clients", router=parsed_args.router, client=parsed_args.client)


class PlanShow(Table):
    """Show what should be installed on this host, object by object."""

    columns = ("kind", "id", "attributes")
    below = ("attributes",)
    titles = ("object in the plan", "objects in the plan")

    def rows(self, parsed_args):
        return self.ask("plan")["objects"]


class Diff(Text, Table):
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


class FlowList(Table):
    """List the agent's flows as they are installed now."""

    columns = ("table", "table_name", "priority", "feature", "object", "packets", "bytes", "match", "actions",
               "cookie")
    short = ("table_name", "priority", "feature", "packets", "match", "actions")
    table = short
    below = ("match", "actions")
    titles = ("flow", "flows")
    exit_bad_argument = EXIT_USAGE

    def get_parser(self, prog_name: str):
        parser = super().get_parser(prog_name)
        parser.add_argument("--feature", metavar="FEATURE",
                            help="only flows of this feature, as the column feature names it; one that does "
                                 "not exist is answered with all there are")
        parser.add_argument("--table", help="only flows of this table: its number or name")
        return parser

    def rows(self, parsed_args):
        return self.ask("flows", feature=parsed_args.feature, table=parsed_args.table)


class Trace(Text, Record):
    """Walk a packet to a floating IP and back: where would it stop?

    No packet is sent: Open vSwitch is asked about its flows (ofproto/trace), the kernel or VPP about its
    routes, the translator about its mappings. With --live, waits for real packets of the floating IP too and
    shows what VPP does with them. Exit status: 0 it arrives and the answer gets back, 1 it stops.
    """

    completed_from = "fip list -f value -c floating_ip_address"

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
