# SPDX-License-Identifier: Apache-2.0
"""What is in force and what is faulty while resources are decided on, and as a Topology afterwards."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from fip64agent.topology.dependents import places
from fip64agent.topology.model import KINDS, Difference, Fault, Key, Port, Resource, Topology, Unreadable
from fip64agent.topology.multimap import Multimap

_FEW = 1000
"""Up to so many ids a Difference is worth its memory: it keeps them, and the mapping before."""


class Judgement(NamedTuple):
    """Whether a form of a resource can be in force."""

    item: Resource | None
    """The form, completed, if it can."""
    fault: Fault | None
    losers: Collection[Key] = ()
    """Resources in force that have to leave for it."""


class State:
    """The resources in force and the faults. What was handed out as a Topology never changes."""

    def __init__(self, newest: Mapping[str, Mapping[str, Resource | Unreadable]], before: Topology) -> None:
        """newest: all the source has, by kind and id. before: what is in force until the first result."""
        self._newest = newest
        self.in_force: dict[str, dict[str, Resource]] = {kind: {} for kind in KINDS}
        self.faults: dict[Key, Fault] = {}
        self.topology = before
        """As it was when result() was called last."""
        self._router_ports = Multimap()
        """Subnet id -> ids of the router ports in force on it."""
        self._in_need: Counter[Key] = Counter()
        """How many faulty resources need each faulty one."""
        self._changed = {name: set(held) for name in (*KINDS, "faults") if (held := getattr(before, name))}
        """Field of Topology -> keys that changed since; a field is copied before its first change."""
        self._faulty_at: dict[str, dict[str, str]] = {}
        """By kind: place (dependents.places()) -> id of a faulty resource there; empty while not known."""

    def router_ports_on(self, subnet_id: str) -> Iterator[Port]:
        """Yield the router ports in force that have an address in a subnet."""
        return (self.in_force["ports"][port_id] for port_id in self._router_ports.get(subnet_id))

    def is_needed(self, key: Key) -> bool:
        """Return whether a faulty resource needs this one."""
        return key in self._in_need

    def faulty_at(self, kind: str, place: str) -> str | None:
        """Return the id of a faulty subnet of this network, or faulty router interface on this subnet."""
        if not self._faulty_at:
            self._faulty_at = {"subnets": {}, "ports": {}}
            for faulty_kind, faulty_id in sorted(self.faults):
                if faulty_kind in self._faulty_at:
                    for where in places(self._newest[faulty_kind][faulty_id]):
                        self._faulty_at[faulty_kind].setdefault(where, faulty_id)
        return self._faulty_at[kind].get(place)

    def put(self, key: Key, item: Resource | None) -> None:
        """Put a form of a resource in force; None: none of it is any more."""
        kind, item_id = key
        held = self.in_force[kind].get(item_id)
        if item is held:
            return
        if kind not in self._changed:
            self._changed[kind] = set()
            self.in_force[kind] = dict(self.in_force[kind])
        self._changed[kind].add(item_id)
        if kind == "ports":
            for form, change in ((held, self._router_ports.drop), (item, self._router_ports.put)):
                if form is not None and form.is_router_port:
                    for fixed in form.fixed_ips:
                        change(fixed.subnet_id, item_id)
        if item is None:
            del self.in_force[kind][item_id]
        else:
            self.in_force[kind][item_id] = item

    def set_fault(self, key: Key, fault: Fault | None) -> None:
        """Note why the newest form of a resource is not right; None: it is."""
        held = self.faults.get(key)
        if key[0] in ("subnets", "ports"):
            self._faulty_at = {}
        if fault == held and (fault is None or fault.form is held.form):
            return
        if "faults" not in self._changed:
            self._changed["faults"] = set()
            self.faults = dict(self.faults)
        self._changed["faults"].add(key)
        if held is not None and held.needs is not None:
            self._in_need[held.needs] -= 1
            if not self._in_need[held.needs]:
                del self._in_need[held.needs]
        if fault is None:
            del self.faults[key]
        else:
            self.faults[key] = fault
            if fault.needs is not None:
                self._in_need[fault.needs] += 1

    def result(self) -> Topology:
        """Return the topology: the same object when nothing is different, with the same mappings of those
        kinds that are as they were."""
        fields, differences = {}, dict(self.topology.differences)
        for name, keys in self._changed.items():
            held = getattr(self.topology, name)
            now = self.faults if name == "faults" else self.in_force[name]
            if any(_differ(held.get(key), now.get(key)) for key in keys):
                fields[name] = MappingProxyType(now)
                differences.pop(name, None)
                if name != "faults" and len(keys) <= _FEW:
                    differences[name] = Difference(held, fields[name], frozenset(keys))
        self._changed = {}
        if fields:
            self.topology = dataclasses.replace(
                self.topology, differences=MappingProxyType(differences), **fields)
        return self.topology


def _differ(before: Resource | Fault | None, after: Resource | Fault | None) -> bool:
    return before != after or (isinstance(after, Fault) and before.form != after.form)
