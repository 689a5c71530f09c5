# SPDX-License-Identifier: Apache-2.0
"""fip64ctl: shows what a running fip64-agent does. It imports little, as each call starts a new process."""

from __future__ import annotations

import sys

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager

import fip64agent
from fip64agent.admin import listing
from fip64agent.admin.client import DEFAULT_CONFIG, RequestRefused, socket_from
from fip64agent.cmd.asking import Asking
from fip64agent.cmd.commands import ClientList, Diff, FlowList, PlanShow, Status, Trace
from fip64agent.cmd.objects import commands

DESCRIPTION = """Shows what fip64-agent on this host does, what is wrong, and why. It changes nothing: the
topology source decides what there is. Start with "fip64ctl status"; then "fip64ctl trace <floating IP>"."""


class Complete(Command):
    """Print the script that lets bash complete commands and options.

    Install it with: fip64ctl complete > /etc/bash_completion.d/fip64ctl
    """

    def take_action(self, parsed_args) -> int:
        from fip64agent.admin import completion

        commands, values, flags = {"": self._options(self.app.parser, {}, set())}, {}, set()
        questions = {}
        for name, command in sorted(self.app.command_manager.all().items()):
            if issubclass(command, Asking) and command.completed_from:
                questions[name] = command.completed_from
            parser = command(self.app, None).get_parser(f"{self.app.NAME} {name}")
            commands[name] = self._options(parser, values, flags)
        commands["help"] = []
        self._options(self.app.parser, values, flags)
        self.app.stdout.write(completion.script(commands, values, sorted(flags), questions))
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


COMMANDS: dict[str, type[Command]] = {
    "status": Status, **dict(commands(listing.built_in().values())), "client list": ClientList,
    "plan show": PlanShow, "diff": Diff, "flow list": FlowList, "trace": Trace, "complete": Complete,
}
"""Without those that other packages add."""


class Commands(CommandManager):
    """All commands. Those of other packages are found only when they are needed, as that takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self._all: dict[str, type[Command]] | None = None

    def all(self) -> dict[str, type[Command]]:
        """Return all commands of ours and of other packages, by name."""
        if self._all is None:
            added = dict(commands(listing.listed().values()))
            for name in added.keys() - COMMANDS.keys():
                self.add_command(name, added[name])
            self._all = {**added, **COMMANDS}
        return self._all

    def __iter__(self):
        self.all()
        return super().__iter__()

    def find_command(self, argv: list[str]):
        try:
            return super().find_command(argv)
        except ValueError:
            self.all()
            return super().find_command(argv)


class Ctl(App):
    """The program."""

    NAME = "fip64ctl"

    def __init__(self) -> None:
        manager = Commands()
        super().__init__(DESCRIPTION, fip64agent.__version__, manager,
                         deferred_help=True)  # without it, "fip64ctl trace --help" shows the help of fip64ctl
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
        """Return the admin socket's path.

        Raises: RequestRefused when the given configuration cannot be used.
        """
        if self.options.socket:
            return self.options.socket
        try:
            return socket_from(self.options.config_file)
        except (OSError, ValueError) as error:
            raise RequestRefused(0, f"--config-file {self.options.config_file}: "
                             f"{getattr(error, 'strerror', None) or error}") from error

    def interact(self) -> None:
        """Show the help when no command is given, where cliff would start a shell."""
        self.stdout = self.stderr
        self.run_subcommand(["help"])

    def run(self, argv: list[str]) -> int:
        result = super().run(argv)
        return 2 if self.interactive_mode else result


def main(argv: list[str] | None = None) -> int:
    """Run fip64ctl; return its exit status. `argv`: None: the program's own arguments."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")  # a name that this locale cannot show
    return Ctl().run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    from fip64agent.cmd import ctl

    sys.exit(ctl.main())  # not main() of __main__: cliff would take the commands for those of another package
