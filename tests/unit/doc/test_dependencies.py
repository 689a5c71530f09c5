# SPDX-License-Identifier: Apache-2.0
"""Each runtime dependency is explained, used, and named in pyproject.toml; no other is."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.unit.doc import pages

PAGE = (pages.SOURCE / "contributor" / "dependencies.rst").read_text()
EXPLAINED = set(re.findall(r"^``([\w.-]+)``$", PAGE, re.MULTILINE))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> set[str]:
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())["project"]
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in project["dependencies"]}


def imported() -> set[str]:
    """Top-level modules that the package imports, the standard library's and its own left out."""
    found = set()
    for path in (pages.ROOT / "fip64agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"fip64agent"}


def test_the_explained_ones_are_those_of_pyproject():
    assert required() == EXPLAINED


def test_in_alphabetical_order():
    names = re.findall(r"^``([\w.-]+)``$", PAGE, re.MULTILINE)
    assert names == sorted(names, key=str.lower)


def test_what_is_imported_is_named():
    distributions = packages_distributions()
    named = {canonical(name) for name in re.findall(r"``([\w.-]+)``", PAGE)}
    for module in imported():
        assert any(canonical(name) in named for name in distributions[module]), f"{module} is not explained"


def test_what_is_required_is_imported():
    distributions = packages_distributions()
    used = {canonical(name) for module in imported() for name in distributions[module]}
    assert not {name for name in required() if canonical(name) not in used}
