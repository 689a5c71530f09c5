# SPDX-License-Identifier: Apache-2.0
"""Reads the documentation as text, for the tests that compare it with the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "doc" / "source"
EXAMPLE_TOPOLOGY = ROOT / "etc" / "topology.yaml"
HOLE = "\0"
"""Stands for what is filled in: {name} and %s in the code, <name> in the documentation."""

_DIRECTIVE = re.compile(r"^( *)\.\. ([a-z-]+):: ?(.*)$")
_FORMAT = re.compile(r"%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[sdrgfxi]")
_PLACEHOLDER = re.compile(r"<[^<>]+>")


def all_pages() -> list[Path]:
    """The README and every page, those that others write too."""
    return [ROOT / "README.rst", *sorted(SOURCE.rglob("*.rst")), *sorted(SOURCE.rglob("*.inc"))]


_PREPARED = re.compile(r"^( +)# (port_id: \S+)$", re.MULTILINE)


def prepared(text: str) -> list[str]:
    """Return the example topology once for each line that it says can be uncommented, with that line."""
    return [text[:found.start()] + found.expand(r"\1\2") + text[found.end():]
            for found in _PREPARED.finditer(text)]


def all_prepared(text: str) -> str:
    """Return the example topology with all those lines."""
    return _PREPARED.sub(r"\1\2", text)


def directives(text: str, name: str) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Yield (argument, options, content) of each directive `name`; the content is dedented."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        found = _DIRECTIVE.match(line)
        if not found or found[2] != name:
            continue
        body = []
        for below in lines[number + 1:]:
            if below.strip() and len(below) - len(below.lstrip()) <= len(found[1]):
                break
            body.append(below)
        options = {}
        while body and (option := re.match(r"^\s+:([a-z-]+): ?(.*)$", body[0])):
            options[option[1]] = option[2]
            del body[0]
        indent = min((len(below) - len(below.lstrip()) for below in body if below.strip()), default=0)
        yield found[3], options, "\n".join(below[indent:] for below in body).strip("\n").splitlines()


def messages(text: str) -> list[str]:
    """The quoted messages of a page: lines of code blocks with ``:class: message``."""
    return [line for _, options, body in directives(text, "code-block") if options.get("class") == "message"
            for line in body if line]


def quoted(message: str) -> str:
    """Return a message of the documentation with its placeholders as holes."""
    return _PLACEHOLDER.sub(HOLE, message)


def templates() -> set[str]:
    """Every string of the package but docstrings, with holes where something is filled in."""
    found = set()
    for path in (ROOT / "fip64agent").rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            match node:
                case _ if id(node) in docstrings:
                    continue
                case ast.Constant(value=str(text)):
                    found.add(_FORMAT.sub(HOLE, text))
                case ast.JoinedStr(values=parts):
                    found.add("".join(part.value if isinstance(part, ast.Constant) else HOLE
                                      for part in parts))
    return found


def commands(text: str, program: str) -> Iterator[str]:
    """Yield each command line of `program` that a page shows: in ``...``, or a line of a literal block."""
    for found in re.finditer(r"``(" + program + r"\b[^`]*)``", text):
        yield " ".join(found[1].split()).partition(" |")[0]
    shown = re.compile(r" {3,}(?:until )?(" + program + r"(?: (?! ).*?)?)(?:  +\S.*|;.*| [|>].*)?")
    for line in text.splitlines():
        if found := shown.fullmatch(line):
            yield found[1]
