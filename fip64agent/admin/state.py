# SPDX-License-Identifier: Apache-2.0
"""The state of every object - active, pending, error or down - and the reason. Changes nothing.

An object is as good as the worst of its own and what it stands on (plan.kinds): a floating IP stands on its
tenant, its uplink and the host, an uplink on the host, and on one of its gateways at least. The reason says
what is wrong with the one that is at fault, and `cause` which one that is: what many stand on is told once,
with the number of those that suffer. What a kind's listing adds to this: see admin.listing.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from fip64agent.admin.listing import listed
from fip64agent.plan.desired import ACTIVE, ERROR, PENDING, ObjectKey, PlanObject
from fip64agent.plan.kinds import kinds
from fip64agent.reconcile.room_state import Failure
from fip64agent.topology.model import NOUNS, Topology

DOWN = "down"
"""Neutron's state of a floating IP that is not associated with a port: nothing is missing."""
STATES = (ACTIVE, PENDING, ERROR, DOWN)
ROOM = "room"


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    state: str
    """One of STATES."""
    reason: str = ""
    cause: ObjectKey | None = dataclasses.field(default=None, compare=False)
    """What is at fault: an object's key, (ROOM, name) when a room cannot work; None: the object itself."""
    common: str = dataclasses.field(default="", compare=False)
    """The reason without what is this object's own, when others may have the like; "": the reason."""


_ACTIVE = State(ACTIVE)


def describe(failure: Failure) -> str:
    """Say in one sentence what failed."""
    verb = "remove" if failure.removing else "install"
    tries = f" ({failure.tries} tries)" if failure.tries > 1 else ""
    return f"{failure.room} cannot {verb} {failure.item}: {failure.reason}{tries}"


class States:
    """Answers for one moment: take a new one for each question from outside."""

    def __init__(self, agent) -> None:
        """Take the agent's state of this moment. agent: see admin/__init__.py."""
        inputs = agent.inputs
        self.agent = agent
        self._kinds, self._listings = kinds(), listed()
        self.desired = agent.loop.desired
        self.topology = inputs.topology if inputs else Topology()
        self.rooms = agent.rooms
        """By name: "links", "switch" and "translator"."""
        self.interfaces = inputs.interfaces if inputs else {}
        """By name."""
        self.failures: list[Failure] = agent.loop.failures
        self.blocked: dict[str, str] = dict(agent.loop.blocked)
        """Rooms that cannot work now, with the reason."""
        # The loop asks a room when there is work to do; the operator wants to know at once.
        self.blocked.update((name, reason) for name, room in agent.rooms.items() if (reason := room.ready()))
        self._failed: dict[ObjectKey, list[Failure]] = defaultdict(list)
        """By the first two parts of the keys of the objects that they belong to."""
        for failure in self.failures:
            self._failed[_first_two(failure)].append(failure)
        self._below: dict[ObjectKey, State] = {}
        """States of what others stand on: each is made once."""
        self._under: dict[str, dict[ObjectKey, list[PlanObject]]] = {}

    # -- single objects ---------------------------------------------------------------------

    def object(self, kind: str, name: str | None) -> Any:
        """Return the object of the plan of that kind and id, if there is one."""
        return self.desired.of(kind).get(name)

    def state(self, kind: str, name: str) -> State:
        """Return the state of the object of that kind and id, in the plan or not."""
        return self._state(kind, name, self.object(kind, name))

    def installed(self, kind: str, name: str) -> bool:
        """Return whether an object is in the plan, and all is done that this host has to do for it."""
        obj = self.object(kind, name)
        return obj is not None and self._ours(obj, self._problem(kind, name)).state == ACTIVE

    def under(self, key: ObjectKey) -> list[PlanObject]:
        """Return the objects whose keys begin with these two parts."""
        if (found := self._under.get(key[0])) is None:
            found = self._under[key[0]] = defaultdict(list)
            for obj in self.desired.of(key[0]).values():
                found[obj.key[:2]].append(obj)
        return found.get(key, [])

    def failures_of(self, *keys: ObjectKey) -> list[str]:
        """Say what failed of objects whose keys begin with these two parts."""
        return [describe(failure) for failure in self.failures if _first_two(failure) in keys]

    def interface_of(self, ofport: int | None) -> str | None:
        """Return the name of the OVS interface with that OpenFlow port number."""
        return next((interface.name for interface in self.interfaces.values()
                     if ofport is not None and interface.ofport == ofport), None)

    # -- all of a kind ----------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """Return the ids of all objects of a kind, those that are nothing but a problem too; sorted."""
        resource = self._kinds[kind].resource
        known = getattr(self.topology, resource) if resource else self.desired.of(kind)
        return sorted({*known, *(name for what, name in self.desired.problems if what == kind),
                       *(name for what, name in self.topology.faults if what == resource)})

    def all(self, kind: str) -> Iterator[tuple[str, State]]:
        """Yield (id, state) of all objects of a kind."""
        objects = self.desired.of(kind)
        for name in self.names(kind):
            yield name, self._state(kind, name, objects.get(name))

    # -- states for listings to return ------------------------------------------------------

    @staticmethod
    def error(reason: str, common: str = "") -> State:
        """Somebody must act. common: see State."""
        return State(ERROR, reason, common=common)

    @staticmethod
    def pending(reason: str, common: str = "") -> State:
        """Something is expected to come. common: see State."""
        return State(PENDING, reason, common=common)

    @staticmethod
    def down(reason: str) -> State:
        """Nothing is missing."""
        return State(DOWN, reason)

    # -- what a state is made of ------------------------------------------------------------

    def _state(self, kind: str, name: str, obj: PlanObject | None) -> State:
        return self._absent(kind, name) if obj is None else self._planned(obj, self._problem(kind, name))

    def _planned(self, obj: PlanObject, problem: State | None) -> State:
        state = self._ours(obj, problem)
        if state.state == ACTIVE and (check := self._listings[obj.kind].check) is not None:
            return check(self, " ".join(obj.key[1:])) or state
        return state

    def _ours(self, obj: PlanObject, problem: State | None) -> State:
        """Return what this host does for an object of the plan."""
        kind, listing = self._kinds[obj.kind], self._listings[obj.kind]
        found, parts = [problem, self._failure(obj.key[:2])], []
        for key in listing.parts(self, obj):
            found.append(self._failure(key))
            parts += self.under(key)
        for key in kind.stands_on(obj):
            if key[0] in self._listings:
                found.append(self._below.get(key) or self._standing_on(key))
            else:
                found.append(_because_of(key, self._failure(key[:2])))
                parts.append(self.desired.find(key))
        found.append(self._waiting(obj, parts))
        return _worst(*found)

    def _standing_on(self, key: ObjectKey) -> State:
        """Return the state of an object as it is that of what stands on it."""
        kind, name = key[0], " ".join(key[1:])
        if self._listings[kind].shares_problems or (obj := self.object(kind, name)) is None:
            state = self.state(kind, name)
        else:
            state = self._planned(obj, None)
        self._below[key] = state = _because_of(key, state)
        return state

    def _absent(self, kind: str, name: str) -> State:
        """Return the state of what is not in the plan."""
        resource, problem = self._kinds[kind].resource, self._problem(kind, name)
        if resource and (resource, name) in self.topology.faults:
            return self._faulty((resource, name))
        if resource:
            return (problem or self._listings[kind].absent(self, name)
                    or State(PENDING, "not in the plan of this host yet"))
        return _worst(problem or State(PENDING, f"{kind} {name} is not in the plan"),
                      self._failure((kind, name)))

    def _faulty(self, key: tuple[str, str]) -> State:
        """Return the state of a resource that is not in force, as it, or what it needs, is faulty."""
        at_fault = self.topology.at_fault(key)
        common = "" if at_fault == key else (f"need {NOUNS[at_fault[0]]} {at_fault[1]}, which is faulty: "
                                             f"{self.topology.reason(at_fault)}")
        return State(ERROR, self.topology.reason(key), common=common)

    def _problem(self, kind: str, name: str) -> State | None:
        problem = self.desired.problems.get((kind, name))
        if problem is None:
            return None
        common = self._listings[kind].common(self, name, problem.reason) if problem.state == PENDING else ""
        return State(problem.state, problem.reason, common=common)

    def _failure(self, key: ObjectKey) -> State | None:
        failures = self._failed.get(key)
        if not failures:
            return None
        more = f" (and {len(failures) - 1} more failures)" if len(failures) > 1 else ""
        first = failures[0]
        verb = "remove" if first.removing else "install"
        return State(ERROR, describe(first) + more,
                     common=f"{first.room} cannot {verb} what is theirs: {first.reason}")

    def _waiting(self, obj: PlanObject, parts: Iterable[PlanObject | None]) -> State | None:
        """Return what an object of the plan that did not fail still waits for, it or its parts."""
        waits = self._listings[obj.kind].waits
        for name in waits(self, obj) if waits else self._kinds[obj.kind].waits(obj):
            interface = self.interfaces.get(name)
            if interface and interface.error:
                return State(ERROR, f"Open vSwitch cannot open interface {name}: {interface.error}")
            return self._held_up() or State(PENDING, f"waits for Open vSwitch to open interface {name}")
        if (state := self._held_up()) is not None:
            return state
        carried_out = self.agent.loop.carried_out
        if not carried_out(obj) or any(part is not None and not carried_out(part) for part in parts):
            return State(PENDING, "is being installed")
        return None

    def _held_up(self) -> State | None:
        """Return what all have to wait for while a room cannot work."""
        for room, reason in self.blocked.items():
            return State(PENDING, f"{room}: {reason}", (ROOM, room))
        return None


def _first_two(failure: Failure) -> ObjectKey:
    """Return what the key of the object begins with that a failure belongs to."""
    return tuple(failure.item.owner)[:2]


def _because_of(key: ObjectKey, state: State | None) -> State | None:
    """Return the state with what is at fault, unless that was known before."""
    if state is None or state.state == ACTIVE or state.cause is not None:
        return state
    return dataclasses.replace(state, cause=key)


def _worst(*found: State | None) -> State:
    """Return the first error, else the first pending, else active."""
    pending = None
    for state in found:
        if state is None or state.state == ACTIVE:
            continue
        if state.state == ERROR:
            return state
        pending = pending or state
    return pending or _ACTIVE
