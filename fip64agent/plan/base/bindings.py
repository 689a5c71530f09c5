# SPDX-License-Identifier: Apache-2.0
"""Which interface of the bridge carries which port: ``external_ids:iface-id``."""

from __future__ import annotations

from fip64agent.plan.inputs import INTERFACES, Interface
from fip64agent.plan.nodes import Collected
from fip64agent.plan.problems import ERROR, PENDING, Problem

Bindings = tuple[Interface, ...]
"""All interfaces with one iface-id, the one in use first. Hardly ever more than one."""


def is_open(interface: Interface | None) -> bool:
    """Return whether OVS has opened the device (ofport -1 and 0 are no OpenFlow ports)."""
    return interface is not None and interface.ofport is not None and interface.ofport > 0


def open_ofport(interface: Interface | None) -> int | None:
    """Return the OpenFlow port number, or None while there is none."""
    return interface.ofport if is_open(interface) else None


def _edited(rows: Bindings | None, gone: list[Interface], come: list[Interface], order) -> Bindings | None:
    left = [row for row in rows or () if row not in gone]
    return tuple(sorted([*left, *come], key=order)) or None


def _opened_first(rows: Bindings | None, gone: list[Interface], come: list[Interface]) -> Bindings | None:
    return _edited(rows, gone, come, lambda row: (not is_open(row), row.name))


def _active_first(rows: Bindings | None, gone: list[Interface], come: list[Interface]) -> Bindings | None:
    return _edited(rows, gone, come, lambda row: (not row.active, row.ofport, row.name))


BINDINGS = Collected("bindings", {
    INTERFACES: lambda name, row: ((row.iface_id, row),) if row.iface_id else ()}, _opened_first)
"""By port id: the interfaces that carry it. Those that OVS has opened come first, then they go by name."""

BONDS = Collected("bonds", {
    INTERFACES: lambda name, row: ((row.bond, row),) if row.bond and is_open(row) else ()}, _active_first)
"""By name of a bond: its members that OVS has opened, the active one first, then by OpenFlow port."""


def waiting_for(port_id: str, interface: Interface) -> Problem:
    """Say why the port is not usable although it is bound: OVS has not opened its interface."""
    return Problem(PENDING, f"interface {interface.name} of port {port_id} has no OpenFlow port: "
                            f"{interface.error or 'OVS has not opened it yet'}")


def bound_twice(port_id: str, bindings: Bindings) -> Problem | None:
    """Say that several interfaces claim the port, if so, other than of one bond. The first one is in use."""
    if len(bindings) == 1:
        return None
    used = bindings[0]
    others = [interface.name for interface in bindings[1:]
              if not interface.bond or interface.bond != used.bond]
    if not others:
        return None
    return Problem(ERROR, f"port {port_id} is bound to several interfaces: using {used.name}, "
                          f"not {', '.join(others)}; remove external_ids:iface-id from the wrong one")
