# SPDX-License-Identifier: Apache-2.0
"""Every fip64ctl command line of the documentation parses; every command is documented."""

import re

import pytest

from fip64agent.cmd.ctl import COMMANDS, Ctl
from fip64agent.switch import features
from tests.unit.doc import pages

REFERENCE = pages.SOURCE / "reference" / "fip64ctl.rst"


def shown() -> list[tuple[str, str]]:
    """(page, command line without the program's name) of all pages."""
    found = {(str(page.relative_to(pages.ROOT)), line.removeprefix("fip64ctl").strip())
             for page in pages.all_pages() for line in pages.commands(page.read_text(), "fip64ctl")}
    return sorted((page, line) for page, line in found if line and not line.startswith("complete"))


def parse(line: str) -> None:
    """Parse as fip64ctl would; a bare command name is only looked up. Raises: ValueError."""
    words = ["X" if re.fullmatch(r"\0|[A-Z]+", word) else word for word in pages.quoted(line).split()]
    while words[0] in ("--socket", "--config-file"):
        del words[:2]
    if words[0] == "help":
        return
    name = next((name for name in COMMANDS if words[:len(name.split())] == name.split()), None)
    if name is None:
        raise ValueError(f"no command {' '.join(words)!r}")
    arguments = words[len(name.split()):]
    if not arguments or arguments == ["--help"]:
        return
    parser = COMMANDS[name](Ctl(), None).get_parser(f"fip64ctl {name}")

    def refuse(message):
        raise ValueError(message)

    parser.error = refuse
    feature = getattr(parser.parse_args(arguments), "feature", None)
    if feature not in (None, "X", *features.features()):
        refuse(f"no feature {feature!r}")


def test_there_are_command_lines():
    assert len(shown()) > 30


@pytest.mark.parametrize(("page", "line"), shown())
def test_documented_command_line_is_accepted(page, line):
    parse(line)


@pytest.mark.parametrize("line", ["fip shw 2001:db8::1", "status --colour", "flow list --feature nonsense"])
def test_this_test_would_notice(line):
    with pytest.raises(ValueError):
        parse(line)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_in_the_reference(name):
    assert re.search(rf"^{name}\n-+$", REFERENCE.read_text(), re.MULTILINE)
