# SPDX-License-Identifier: Apache-2.0
"""The installed flows with names instead of numbers: tables, features, the objects they serve."""

from __future__ import annotations

from typing import Any

from fip64agent import hub
from fip64agent.plan import allocate
from fip64agent.plan.desired import Desired, Host
from fip64agent.switch import features, pipeline


def rows(agent) -> list[dict[str, Any]]:
    """Return a row for each of our flows as they are installed now, in the order in which packets meet them.

    Raises: NotReady when the switch cannot be asked.
    """
    owners = _owners(agent.loop.desired)
    found = [_row(flow, int(flow["cookie"], 16), owners)
             for flow in hub.yielding(agent.rooms["switch"].dump())]
    return sorted(filter(None, found),
                  key=lambda row: (row["table"], -row["priority"], row["feature"], row["match"]))


def _owners(desired: Desired) -> dict[int, str]:
    """Return the owners of flows by the CRC-32 that the cookies have of them.

    The host's flows may be there without a Host: other objects need them, too.
    """
    keys = (Host().key, *(obj.key for obj in desired.objects()))
    return {allocate.checksum(key): " ".join(key) for key in keys}


def _row(flow: dict[str, Any], cookie: int, owners: dict[int, str]) -> dict[str, Any] | None:
    decoded = pipeline.decode_cookie(cookie)
    if decoded is None:
        return None
    numbers = {table.name: number for number, table in features.tables().items()}
    return {
        "table": numbers[flow["table"]] if flow["table"] in numbers else int(flow["table"]),
        "table_name": flow["table"], "priority": flow["priority"],
        "feature": features.feature_name(decoded[0]) or "unknown",
        "object": owners.get(decoded[1], "(not in the plan)"),
        "packets": flow["packets"], "bytes": flow["bytes"],
        "match": flow["match"], "actions": flow["actions"], "cookie": flow["cookie"],
    }


def select(found: list[dict[str, Any]], feature: str | None, table: str | None) -> list[dict[str, Any]]:
    """Return the rows of a feature (None: of all) and of a table (number or name; None: of all).

    Raises: ValueError naming the features or tables that there are.
    """
    if feature is not None:
        known = list(features.features())
        if feature not in known:
            raise ValueError(f"no feature is called {feature!r}; there is {', '.join(known)}")
        found = [row for row in found if row["feature"] == feature]
    if table is not None:
        numbers = [number for number, each in features.tables().items() if table in (each.name, str(number))]
        if not numbers:
            known = [f"{each.name} ({number})" for number, each in features.tables().items()]
            raise ValueError(f"no table of ours is called {table!r}; there is {', '.join(known)}")
        found = [row for row in found if row["table"] == numbers[0]]
    return found
