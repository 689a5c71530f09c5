# SPDX-License-Identifier: Apache-2.0
"""Nobody but the choice of the driver knows which drivers there are: doc/source/contributor/design.rst."""

import ast
import re
from pathlib import Path

import pytest

from fip64agent.conf import fip64, list_opts
from fip64agent.translator import driver
from tests.unit.test_imports import PACKAGE, imports, modules, name_of, within

NAMES = ("vpp", "tayga")
CHOICE = "translator"
"""The module that knows the drivers by name."""
HIDDEN = {"tayga": ("translator.tayga", "conf.tayga", CHOICE)}
"""Driver -> the only places in which its name stands. VPP's is a word of the host's links, too: vpp-dl."""


def others(name: str) -> bool:
    return name != CHOICE and not within(name, [f"{CHOICE}.{driver}" for driver in NAMES])


def compared(path: Path) -> set[str]:
    """Return the strings that a module compares something with, and the attributes that it compares."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        sides += [node.value] if isinstance(node, ast.MatchValue) else []
        for side in sides:
            for part in ast.walk(side):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.add(part.value.lower())
                elif isinstance(part, ast.Attribute):
                    found.add(f".{part.attr}")
    return found


def test_the_names_are_those_of_the_drivers():
    for name in NAMES:
        found = driver(name)
        assert found.name == name and found.layout("p-") is not None


@pytest.mark.parametrize("name", HIDDEN)
def test_the_name_stands_nowhere_else(name):
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) > 100
    found = [str(path.relative_to(PACKAGE)) for path in files
             if name in str(path.relative_to(PACKAGE)).lower() or name in path.read_text().lower()]
    strangers = [path for path in found if not within(name_of(PACKAGE / path), HIDDEN[name])]
    assert found and not strangers


@pytest.mark.parametrize("path", [path for path in modules() if others(name_of(path))], ids=name_of)
def test_no_other_room_compares_or_imports_a_driver(path):
    assert not compared(path) & {*NAMES, ".translator"}
    for target in imports(path):
        assert not within(target, [f"fip64agent.{CHOICE}.{name}" for name in NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_knows_no_other(name):
    for path in (PACKAGE / "translator" / name).rglob("*.py"):
        for target in imports(path):
            assert not within(target, [f"fip64agent.{CHOICE}.{other}" for other in NAMES if other != name])


def test_a_comparison_is_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('def f(x):\n    if x.translator in ("TAYGA", 1):\n        return\n'
                    '    match x:\n        case "vpp":\n            return\n')
    assert compared(path) == {".translator", "tayga", "vpp"}


def test_no_option_of_others_speaks_of_a_driver_or_of_another_one():
    """What a third driver would make false. The help of [fip64] translator is the drivers' own."""
    for group, options in list_opts():
        if getattr(group, "name", group) in NAMES:
            continue
        for option in options:
            choices = dict(getattr(option.type, "choices", None) or {})
            if option.name == "translator":
                choices = {"auto": choices["auto"]}
            for text in (option.help, *choices.values()):
                assert not {*NAMES} & set(re.findall(r"\w+", text.lower())), option.name
                assert "the other one" not in text and "another translator" not in text, option.name


def test_what_cannot_be_tuned_has_values_that_its_help_states():
    fixed = [name for name in NAMES if not driver(name).capabilities.configurable]
    texts = dict(next(option for option in fip64.OPTS if option.name == "translator").type.choices)
    assert fixed
    for name in fixed:
        for option in ("client_idle_timeout", "lowest_ipv6_mtu", "traffic_class", "udp_zero_checksum"):
            assert option in texts[name], (name, option)
