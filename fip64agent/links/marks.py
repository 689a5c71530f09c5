# SPDX-License-Identifier: Apache-2.0
"""Marks on links (their ifalias): whose they are, and the numbers in force.

A mark begins with the agent's namespace prefix, so that two agents on one machine (a lab beside the
real one) never take each other's links for their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType

from fip64agent.plan.desired import Host, PlanObject, Tenant, Uplink
from fip64agent.plan.inputs import Allocations

_PROGRAM = "fip64agent"
_NUMBERED = re.compile(
    r"((?P<uplink>uplink)|tenant) (?P<name>.*) (?(uplink)table|vlan) (?P<number>[0-9]{1,9})", re.DOTALL)


def begin(prefix: str) -> str:
    """Return what every mark of this agent begins with."""
    return f"{_PROGRAM} {prefix} "


def namespace(prefix: str, name: str) -> str:
    """Return the mark on the loopback of a namespace of ours."""
    return f"{begin(prefix)}netns {name}"


def host(prefix: str) -> str:
    """Return the mark of the host's links."""
    return f"{begin(prefix)}host"


def uplink(prefix: str, port_id: str, table: int) -> str:
    """Return the mark of an uplink's links; `table`: its number in force."""
    return f"{begin(prefix)}uplink {port_id} table {table}"


def tenant(prefix: str, router_id: str, vlan: int) -> str:
    """Return the mark of a tenant's links; `vlan`: its number in force."""
    return f"{begin(prefix)}tenant {router_id} vlan {vlan}"


def of(prefix: str, obj: PlanObject) -> str:
    """Return the mark of the links that an object of the plan needs; "": it needs none."""
    match obj:
        case Host():
            return host(prefix)
        case Uplink():
            return uplink(prefix, obj.port_id, obj.table)
        case Tenant():
            return tenant(prefix, obj.router_id, obj.vlan)
    return ""


def allocations(prefix: str, aliases: Iterable[str]) -> Allocations:
    """Read the numbers in force off the marks; what is no mark of ours is passed over."""
    found: dict[str, dict[str, int]] = {"uplink": {}, "tenant": {}}
    for alias in aliases:
        if not alias.startswith(begin(prefix)):
            continue
        if match := _NUMBERED.fullmatch(alias.removeprefix(begin(prefix))):
            kind = "uplink" if match["uplink"] else "tenant"
            found[kind][match["name"]] = int(match["number"])
    return Allocations({"vlans": MappingProxyType(found["tenant"]),
                        "tables": MappingProxyType(found["uplink"])})
