# SPDX-License-Identifier: Apache-2.0
"""fip64ctl's help: the program's own, and each command's."""

import pytest

from fip64agent.cmd import ctl


@pytest.mark.parametrize("command", sorted(ctl.COMMANDS))
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_after_a_command_is_that_commands(command, option, capsys):
    status = _status([*command.split(), option])

    assert capsys.readouterr().out.startswith(f"usage: fip64ctl {command} ")
    assert status == 0


def test_help_alone_lists_the_commands(capsys):
    status = _status(["--help"])

    out = capsys.readouterr().out
    assert all(command in out for command in ctl.COMMANDS)
    assert status == 0


def test_no_command_lists_the_commands_too(capsys):
    assert _status([]) == 2
    said = capsys.readouterr()
    assert not said.out and all(command in said.err for command in ctl.COMMANDS)


@pytest.mark.parametrize("argv", [["--help"], *([*command.split(), "--help"] for command in ctl.COMMANDS)],
                         ids=" ".join)
def test_help_fits_80_columns(argv, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _status(argv)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def _status(argv: list[str]) -> int:
    try:
        return ctl.main(argv)
    except SystemExit as ended:
        return ended.code or 0
