# SPDX-License-Identifier: Apache-2.0
"""The commands that README.rst gives for the installation, so that what is tried is what is written."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

README = Path(__file__).resolve().parent.parent.parent / "README.rst"
SECTION = "Install it"
_BLOCK = "With TAYGA::"


def commands(text: str | None = None) -> list[str]:
    """Return the lines of the block. Raises: ValueError when README no longer has it."""
    text = README.read_text() if text is None else text
    _, found, section = text.partition(f"{SECTION}\n{'-' * len(SECTION)}\n")
    _, begun, rest = section.partition(f"{_BLOCK}\n")
    if not (found and begun):
        raise ValueError(f"README.rst has no section {SECTION!r} with the words {_BLOCK!r}")
    block = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        block.append(line)
    return [line for line in textwrap.dedent("\n".join(block)).splitlines() if line]


def packages(text: str | None = None) -> list[str]:
    """Return the Debian packages that the commands install."""
    found = []
    for line in commands(text):
        words = shlex.split(line, comments=True)
        if words[:2] == ["apt-get", "install"]:
            found += [word for word in words[2:] if not word.startswith("-")]
    return found
