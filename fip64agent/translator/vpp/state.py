# SPDX-License-Identifier: Apache-2.0
"""What the installer must know of a VPP: its tables, interfaces and tenants, and which are ours. Pure."""

from __future__ import annotations

import dataclasses

from fip64agent.plan.inputs import Allocations
from fip64agent.plan.kinds import kinds
from fip64agent.translator.vpp import tags
from fip64agent.translator.vpp.items import (
    Address,
    Binding,
    HostInterface,
    Item,
    Mapping,
    Neighbor,
    Route,
    SubInterface,
    Tenant64,
)

UNKNOWN = "?"
"""Stands for an interface that is not this agent's, or does not exist any more. No item that is wanted has
it, so one that was read back with it is made again."""


@dataclasses.dataclass(slots=True)
class State:
    """Filled by readback.read(), and kept up to date by install.VppInstaller."""

    tables: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)
    """{(4 or 6, number): name}, with tables of others."""
    interfaces: dict[str, int] = dataclasses.field(default_factory=dict)
    """{tag: sw_if_index} of this agent's interfaces that work."""
    links: dict[str, str] = dataclasses.field(default_factory=dict)
    """{tag: name in Linux} of this agent's host-interfaces, with those whose link was deleted."""
    tenants: dict[int, str] = dataclasses.field(default_factory=dict)
    """{number of the IPv4 table: tag}, with tenants of others."""

    def owns_table(self, version: int, number: int) -> bool:
        """Return whether a table exists and is ours. version: 4 or 6."""
        return tags.is_ours(self.tables.get((version, number), ""))

    def owns_tenant(self, number: int) -> bool:
        """Return whether the tenant with that IPv4 table exists and is ours."""
        return tags.is_ours(self.tenants.get(number, ""))

    def allocations(self) -> Allocations:
        """Return the numbers in force: the number of a table is the first that its object's kind declares."""
        found: dict[str, dict[str, int]] = {}
        for (_version, number), name in self.tables.items():
            kind, owner = tags.object_of(name)
            if kind in kinds() and (numbers := kinds()[kind].numbers):
                found.setdefault(numbers[0][0].name, {})[owner] = number
        return Allocations(found)

    def missing_for(self, item: Item) -> str:
        """Return which object that an item needs is missing in VPP, or is not ours; "" when none is."""
        match item:
            case Mapping():
                return self._missing_tenant(item.table) or self.missing_table(6, item.ip6_table)
            case Binding():
                return self._missing_tenant(item.table)
            case Route():
                return (self._missing_interface(item.interface) if item.interface else "") or \
                    self.missing_table(item.destination.version, item.table)
            case Address() | Neighbor():
                return self._missing_interface(item.interface)
            case HostInterface():
                return self.missing_table(6, item.table) if item.table else ""
            case SubInterface():
                return self._missing_interface(item.parent) or self.missing_table(4, item.table)
            case Tenant64():
                tag = self.tenants.get(item.table)
                if tag is not None and not tags.is_ours(tag):
                    return f"tenant {item.table} of VPP is not this agent's: its tag is {tag!r}"
                return self.missing_table(4, item.table)
        return ""

    def missing_table(self, version: int, number: int) -> str:
        """Return why a table cannot be used; "" when it can."""
        if self.owns_table(version, number):
            return ""
        name = self.tables.get((version, number))
        if name is None:
            return f"VPP has no IPv{version} table {number}"
        return f"IPv{version} table {number} of VPP is not this agent's: its name is {name!r}"

    def _missing_interface(self, tag: str) -> str:
        return "" if tag in self.interfaces else f"VPP has no interface {tag}"

    def _missing_tenant(self, number: int) -> str:
        return "" if self.owns_tenant(number) else f"VPP has no tenant with table {number}"
