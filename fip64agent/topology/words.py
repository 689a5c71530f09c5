# SPDX-License-Identifier: Apache-2.0
"""How values and attributes are written in messages about a topology."""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""The way to a value, from a resource or from a document: ("fixed_ips", 0, "ip_address")."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_:.-]{1,64}")


def path_text(path: Path) -> str:
    """Return ``("ports", 3, "name")`` as ``ports[3].name``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _PLAIN_KEY.fullmatch(part) else shown(part)
            text += f".{key}" if text else key
    return text


def shown(value: object) -> str:
    """Return a value of the source as an error message prints it: quoted, short, one line."""
    if isinstance(value, str):
        return repr(value if len(value) <= 64 else value[:61] + "...")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else str(value)


def unknown_key(key: str, known) -> str:
    """Return the reason for an unknown key, with the known one that was probably meant."""
    import difflib  # only a faulty document needs it

    simple = key[:64].lower().replace(" ", "_").replace("-", "_")
    near = difflib.get_close_matches(simple, known, n=1, cutoff=0.6)
    return "is unknown" + (f"; did you mean {near[0]}?" if near else "")


class _Unknown:
    """Stands for a value that was refused already (a tag, an alias of nothing)."""


UNKNOWN = _Unknown()
"""A value that the reader of a source refused, and told of."""
