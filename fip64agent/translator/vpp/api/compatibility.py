# SPDX-License-Identifier: Apache-2.0
"""Whether a VPP has the messages that this agent was written for.

Of VPP's own messages the fields that the agent uses must exist, with the types that they had. Other fields
may come and go, since the definitions come from VPP itself. The messages of the fip64 plugin belong to this
project, so their CRCs must be equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fip64agent.translator.vpp.api import messages
from fip64agent.translator.vpp.api.definitions import Definitions
from fip64agent.translator.vpp.api.messages import PLUGIN

_HEADER = ("_vl_msg_id", "client_index", "context")
_SHOWN = 6
"""Differences that are named; a VPP of another release may have many."""
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_LOG_STAMP = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d:\d+ +\w+ +[\w/-]+ +")


def faults(definitions: Definitions, table: Mapping[str, int]) -> list[str]:
    """Return what differs, as phrases that continue "VPP at <socket> ..."; an empty list when nothing does.

    table: {name_crc: number} of the messages that VPP answers.
    """
    names = {entry.rpartition("_")[0]: entry.rpartition("_")[2] for entry in table}
    found = _plugin_faults(names) + _vpp_faults(definitions, names)
    return found if len(found) <= _SHOWN else [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"]


def without_plugin(table: Iterable[str]) -> bool:
    """Return whether VPP has no message of the fip64 plugin at all."""
    return not any(entry.rpartition("_")[0] in messages.FIP64 for entry in table)


def _plugin_faults(names: Mapping[str, str]) -> list[str]:
    if not names.keys() & messages.FIP64.keys():
        return ["runs without the fip64 plugin"]
    found = []
    for name, crc in messages.FIP64.items():
        if name not in names:
            found.append(f"does not know {name}, install the plugin of the same version as this agent")
        elif names[name] != crc:
            found.append(f"speaks {name} 0x{names[name]}, this agent expects 0x{crc}: "
                         "install the plugin of the same version")
    return found


def _vpp_faults(definitions: Definitions, names: Mapping[str, str]) -> list[str]:
    found = []
    sent = _sent_types()
    for name, fields in messages.VPP.items():
        if name not in names or name not in definitions.raw_messages:
            found.append(f"does not know {name}")
            continue
        found += [f"speaks another {name}: {fault}" for fault in
                  _field_faults(fields, definitions.raw_messages[name], is_request=_is_request(name))]
    for name, members in messages.TYPES.items():
        kind, raw = definitions.types.get(name, ("", None))
        if raw is None:
            found.append(f"does not know the type {name}")
        elif kind == "aliases":
            if (actual := _alias(raw)) != members:
                found.append(f"has another {name}: {actual} instead of {members}")
        else:
            found += [f"has another {name}: {fault}"
                      for fault in _field_faults(members, raw, is_request=name in sent)]
    return found


def _is_request(name: str) -> bool:
    return not name.endswith(("_reply", "_details", "_event"))


def _sent_types() -> set[str]:
    """Return the names of the types that requests contain: the agent must fill in each of their fields."""
    found: set[str] = set()
    due = [fields for name, fields in messages.VPP.items() if _is_request(name)]
    while due:
        new = set(re.findall(r"vl_api_\w+_t", due.pop())) - found
        found |= new
        due += [messages.TYPES[name] for name in new if name in messages.TYPES]
    return found


def _field_faults(expected: str, raw: Sequence[Any], is_request: bool) -> list[str]:
    """Compare the fields that are used, "type name, type name" or "NAME=1", with VPP's definition."""
    actual = {entry.rpartition(" ")[2] if " " in entry else entry.partition("=")[0]: entry
              for entry in entries(raw)}
    found = []
    wanted = set()
    for entry in filter(None, expected.split(", ")):
        name = entry.rpartition(" ")[2] if " " in entry else entry.partition("=")[0]
        wanted.add(name)
        if name not in actual:
            found.append(f"{entry} is missing")
        elif actual[name] != entry:
            found.append(f"{actual[name]} instead of {entry}")
    if is_request:
        optional = {field[1] for field in raw if isinstance(field, list) and _is_optional(field)}
        found += [f"{entry} is new and has no default" for name, entry in actual.items()
                  if " " in entry and name not in wanted and name not in optional]
    return found


def _is_optional(field: Sequence[Any]) -> bool:
    return (isinstance(field[-1], dict) and "default" in field[-1]) or len(field) > 2


def entries(raw: Sequence[Any]) -> list[str]:
    """Return a message's or type's fields: "u32 table_id", "u8[6] octets", "type[count] items", "NAME=1"."""
    found = []
    for field in raw:
        if not isinstance(field, list) or field[1] in _HEADER:
            continue
        if isinstance(field[1], int):
            found.append(f"{field[0]}={field[1]}")
            continue
        size = ""
        if len(field) > 3 and isinstance(field[3], str):
            size = f"[{field[3]}]"
        elif len(field) > 2 and isinstance(field[2], int):
            size = f"[{field[2]}]"
        found.append(f"{field[0]}{size} {field[1]}")
    return found


def _alias(raw: Mapping[str, Any]) -> str:
    return f"{raw['type']}[{raw['length']}]" if "length" in raw else raw["type"]


def describe(definitions: Definitions, names: Iterable[str]) -> str:
    """Return the text of messages.VPP and messages.TYPES for these messages, as a VPP defines them.

    For developers: it makes the tables in messages.py for another VPP.
    """
    lines, types = [], []

    def collect(raw: Sequence[Any]) -> None:
        for field in raw:
            if isinstance(field, list) and str(field[0]).startswith("vl_api_") and field[0] not in types:
                kind, inner = definitions.types[field[0]]
                if kind != "aliases":
                    collect(inner)
                types.append(field[0])

    for name in names:
        raw = definitions.raw_messages[name]
        collect(raw)
        lines.append(f"{name}: {', '.join(entries(raw))}")
    lines.append("")
    for name in types:
        kind, inner = definitions.types[name]
        lines.append(f"{name}: {_alias(inner) if kind == 'aliases' else ', '.join(entries(inner))}")
    return "\n".join(lines)


def why_no_plugin(plugins: str, log: str) -> str:
    """Return where VPP looks for the plugin and why it did not load it.

    plugins, log: what VPP's commands `show plugins` and `show log` print.
    """
    words = []
    if (found := re.search(r"Plugin path is: (\S+?),? ", plugins)) is not None:
        words.append(f"VPP looks for plugins in {found[1].rstrip(',')}")
    said = [_LOG_STAMP.sub("", _COLOR.sub("", line)).strip() for line in log.splitlines() if PLUGIN in line]
    said = [line for line in dict.fromkeys(said) if "Loaded plugin" not in line]
    words += said or [f"{PLUGIN} is not there"]
    return "; ".join(words)
