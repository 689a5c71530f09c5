# SPDX-License-Identifier: Apache-2.0
"""Frames that come to filtered ports from elsewhere: from interfaces other than those of filtered ports.

NORMAL carries them from any interface that is in the port's VLAN. So those are found, and the MACs.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.base.bindings import is_open
from fip64agent.plan.groups.objects import Arrival, Entry
from fip64agent.plan.inputs import INTERFACES, Interface
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.ports.objects import ServedPort
from fip64agent.plan.ports.served import SERVED_PORTS


def _macs(port_id: str, port: ServedPort) -> Iterator[tuple[str, tuple[int, int, int, str]]]:
    if port.filtered:
        vlan = port.vlan or 0
        for mac in port.macs:
            yield f"{vlan} {mac}", (mac != port.mac, port.network, port.ofport, vlan, mac)


_MACS = Collected("MACs of filtered ports", {SERVED_PORTS: _macs})


def _arrival(ask, name: str, places: tuple[tuple[bool, int, int, int, str], ...]) -> tuple[Arrival, None]:
    """Return where frames to a MAC go: of several ports with it, to one whose own it is."""
    _, network, ofport, vlan, mac = places[0]
    return Arrival(vlan, mac, network, ofport), None


ARRIVALS = Objects(Arrival.kind, _arrival, each=_MACS)

_VLANS = Collected("VLANs with filtered ports", {
    SERVED_PORTS: lambda port_id, port: (("", (port.vlan or 0, port_id)),) if port.filtered else ()})


def _distinct(ask, key: str) -> tuple[int, ...]:
    return tuple(sorted({vlan for vlan, _ in ask(_VLANS, "")}))


_VLANS_IN_USE = Derived("distinct VLANs with filtered ports", _distinct, (_VLANS,))


def _entry(ask, name: str, interface: Interface) -> tuple[Entry | None, None]:
    vlans: tuple[int, ...] = ask(_VLANS_IN_USE, "")
    if not vlans or not is_open(interface):
        return None, None
    if interface.iface_id is not None:
        port = ask(SERVED_PORTS, interface.iface_id)
        if port is not None and port.filtered and port.ofport == interface.ofport:
            return None, None
    untagged = interface.tag or 0
    tagged = () if interface.tag is not None else tuple(vlan for vlan in vlans if vlan)
    if interface.trunk or untagged not in vlans:
        untagged = None
    if untagged is None and not tagged:
        return None, None
    return Entry(name, interface.ofport, untagged, tagged), None


ENTRIES = Objects(Entry.kind, _entry, each=INTERFACES, reads=(_VLANS_IN_USE, SERVED_PORTS))
