# SPDX-License-Identifier: Apache-2.0
"""Which interface of the bridge carries which port: ``external_ids:iface-id``."""

from __future__ import annotations

from collections.abc import Iterable

from fip64agent.plan.desired import ERROR, PENDING, Problem
from fip64agent.plan.inputs import Interface

Bindings = tuple[Interface, ...]
"""All interfaces with one iface-id, the one in use first. Hardly ever more than one."""


def is_open(interface: Interface | None) -> bool:
    """Return whether OVS has opened the device (ofport -1 and 0 are no OpenFlow ports)."""
    return interface is not None and interface.ofport is not None and interface.ofport > 0


def open_ofport(interface: Interface | None) -> int | None:
    """Return the OpenFlow port number, or None while there is none."""
    return interface.ofport if is_open(interface) else None


def in_order(interfaces: Iterable[Interface]) -> Bindings:
    """Sort interfaces of one port: those that OVS has opened first, then by name."""
    return tuple(sorted(interfaces, key=lambda interface: (not is_open(interface), interface.name)))


def bindings_by_port(interfaces: Iterable[Interface]) -> dict[str, Bindings]:
    """Return the interfaces that carry each port, by port id."""
    bound: dict[str, Bindings] = {}
    for interface in interfaces:
        port_id = interface.iface_id
        if port_id:
            others = bound.get(port_id)
            bound[port_id] = in_order((*others, interface)) if others else (interface,)
    return bound


def waiting_for(port_id: str, interface: Interface) -> Problem:
    """Say why the port is not usable although it is bound: OVS has not opened its interface."""
    return Problem(PENDING, f"interface {interface.name} of port {port_id} has no OpenFlow port: "
                            f"{interface.error or 'OVS has not opened it yet'}")


def bound_twice(port_id: str, bindings: Bindings) -> Problem | None:
    """Say that several interfaces claim the port, if so, other than of one bond. The first one is in use."""
    used = bindings[0]
    others = [interface.name for interface in bindings[1:]
              if not interface.bond or interface.bond != used.bond]
    if not others:
        return None
    return Problem(ERROR, f"port {port_id} is bound to several interfaces: using {used.name}, "
                          f"not {', '.join(others)}; remove external_ids:iface-id from the wrong one")
