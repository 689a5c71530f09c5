# SPDX-License-Identifier: Apache-2.0
"""What differs between two plans, in words for the log. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fip64agent.plan.desired import Desired, Mapping64, PlanObject, Tenant, Uplink

MOST = 20
"""Lines of one change of plan; beyond, the kinds are only counted."""
_KINDS = {"uplink": "uplink", "tenant": "tenant", "fip": "floating IP"}


def journal(old: Desired, new: Desired) -> list[str]:
    """Return a line for each uplink, tenant and floating IP that comes, goes, changes or waits."""
    lines = [*_changes(old, new), *_problems(old, new)]
    if len(lines) <= MOST:
        return [text for _, text in lines]
    counts = Counter(what for what, _ in lines)
    return [f"{number} times: {what}" if number > 1 else what for what, number in counts.items()]


def _changes(old: Desired, new: Desired) -> Iterator[tuple[str, str]]:
    """Yield (what happened to which kind, the same with the object named)."""
    for before, after in new.changes(old):
        obj = after if after is not None else before
        name = _name(obj)
        if not name:
            continue
        if after is None:
            verb = "removed"
        elif before is None:
            verb = "added"
        elif isinstance(after, Tenant):  # changes with each of its floating IPs, which are told
            continue
        else:
            verb = "changed"
        yield f"{_KINDS[obj.kind]} {verb}", f"{_KINDS[obj.kind]} {verb}: {name}"


def _name(obj: PlanObject) -> str:
    match obj:
        case Uplink():
            addresses = ", ".join(map(str, obj.addresses))
            return f"port {obj.port_id} on interface {obj.interface} with {addresses}"
        case Tenant():
            return f"router {obj.router_id}, VLAN {obj.vlan}, pool {obj.pool}"
        case Mapping64():
            return f"{obj.floating_ip} -> {obj.fixed_ip} of router {obj.router_id} (VM port {obj.port_id})"
    return ""


def _problems(old: Desired, new: Desired) -> Iterator[tuple[str, str]]:
    if new.problems is old.problems:
        return
    for key, problem in new.problems.items():
        if old.problems.get(key) != problem:
            kind, name = key
            what = f"{_KINDS[kind]} {problem.state}"
            yield what, f"{what}: {name}: {problem.reason}"
