# SPDX-License-Identifier: Apache-2.0
"""The state of every object - active, pending, error or down - and the reason. Changes nothing.

An object has the worst of its own state and the states of the objects that it stands on (plan.kinds): a
floating IP stands on its tenant, its uplink and the host; an uplink stands on the host and on at least one of
its gateways. The reason says what is wrong with the object that is at fault, and `cause` says which object
that is: so a fault of an object that many others stand on is shown once. admin.listing says what the listing
of a kind adds to this.
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
    """The state of one object."""

    state: str
    """One of STATES."""
    reason: str = ""
    cause: ObjectKey | None = dataclasses.field(default=None, compare=False)
    """What is at fault: an object's key, (ROOM, name) when a room cannot work; None: the object itself."""
    common: str = dataclasses.field(default="", compare=False)
    """The reason in words that fit all objects with the same fault; "": the reason itself."""


_ACTIVE = State(ACTIVE)


def describe_failure(failure: Failure) -> str:
    """Return one sentence that says what failed."""
    verb = "remove" if failure.removing else "install"
    tries = f" ({failure.tries} tries)" if failure.tries > 1 else ""
    return f"{failure.room} cannot {verb} {failure.item}: {failure.reason}{tries}"


class States:
    """The states of all objects at one moment. Each question of an operator needs a new one."""

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
            self._failed[_owner_of(failure)].append(failure)
        self._states_below: dict[ObjectKey, State] = {}
        """States of objects that others stand on. Each is found once."""
        self._parts: dict[str, dict[ObjectKey, list[PlanObject]]] = {}
        """Objects of the plan by kind, then by the first two parts of their keys."""

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
        return obj is not None and self._state_here(obj, self._problem_state(kind, name)).state == ACTIVE

    def parts_of(self, key: ObjectKey) -> list[PlanObject]:
        """Return the objects whose keys begin with these two parts."""
        if (found := self._parts.get(key[0])) is None:
            found = self._parts[key[0]] = defaultdict(list)
            for obj in self.desired.of(key[0]).values():
                found[obj.key[:2]].append(obj)
        return found.get(key, [])

    def failures_of(self, *keys: ObjectKey) -> list[str]:
        """Return a sentence for each failure of objects whose keys begin with these two parts."""
        return [describe_failure(failure) for failure in self.failures if _owner_of(failure) in keys]

    def interface_of(self, ofport: int | None) -> str | None:
        """Return the name of the OVS interface with that OpenFlow port number."""
        return next((interface.name for interface in self.interfaces.values()
                     if ofport is not None and interface.ofport == ofport), None)

    # -- all of a kind ----------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """Return the sorted ids of all objects of a kind, including those that are not in the plan."""
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
        """Return the state of an object that somebody must act for. common: see State."""
        return State(ERROR, reason, common=common)

    @staticmethod
    def pending(reason: str, common: str = "") -> State:
        """Return the state of an object that waits for something expected. common: see State."""
        return State(PENDING, reason, common=common)

    @staticmethod
    def down(reason: str) -> State:
        """Return the state of an object that is switched off on purpose."""
        return State(DOWN, reason)

    # -- what a state is made of ------------------------------------------------------------

    def _state(self, kind: str, name: str, obj: PlanObject | None) -> State:
        if obj is None:
            return self._absent_state(kind, name)
        return self._planned_state(obj, self._problem_state(kind, name))

    def _planned_state(self, obj: PlanObject, problem: State | None) -> State:
        state = self._state_here(obj, problem)
        if state.state == ACTIVE and (check := self._listings[obj.kind].check) is not None:
            return check(self, " ".join(obj.key[1:])) or state
        return state

    def _state_here(self, obj: PlanObject, problem: State | None) -> State:
        """Return how far this host has installed an object of the plan, and what that stands on."""
        kind, listing = self._kinds[obj.kind], self._listings[obj.kind]
        found, parts = [problem, self._failure_state(obj.key[:2])], []
        for key in listing.parts(self, obj):
            found.append(self._failure_state(key))
            parts += self.parts_of(key)
        for key in kind.stands_on(obj):
            if key[0] in self._listings:
                found.append(self._states_below.get(key) or self._state_below(key))
            else:
                found.append(_with_cause(key, self._failure_state(key[:2])))
                parts.append(self.desired.find(key))
        found.append(self._waiting_state(obj, parts))
        return _worst(*found)

    def _state_below(self, key: ObjectKey) -> State:
        """Return the state of an object, for the objects that stand on it."""
        kind, name = key[0], " ".join(key[1:])
        if self._listings[kind].shares_problems or (obj := self.object(kind, name)) is None:
            state = self.state(kind, name)
        else:
            state = self._planned_state(obj, None)
        self._states_below[key] = state = _with_cause(key, state)
        return state

    def _absent_state(self, kind: str, name: str) -> State:
        """Return the state of an object that is not in the plan."""
        resource, problem = self._kinds[kind].resource, self._problem_state(kind, name)
        if resource and (resource, name) in self.topology.faults:
            return self._fault_state((resource, name))
        if resource:
            return (problem or self._listings[kind].absent(self, name)
                    or State(PENDING, "not in the plan of this host yet"))
        return _worst(problem or State(PENDING, f"{kind} {name} is not in the plan"),
                      self._failure_state((kind, name)))

    def _fault_state(self, key: tuple[str, str]) -> State:
        """Return the state of a resource that is not in force, as it, or what it needs, is faulty."""
        at_fault = self.topology.at_fault(key)
        common = "" if at_fault == key else (f"need {NOUNS[at_fault[0]]} {at_fault[1]}, which is faulty: "
                                             f"{self.topology.reason(at_fault)}")
        return State(ERROR, self.topology.reason(key), common=common)

    def _problem_state(self, kind: str, name: str) -> State | None:
        problem = self.desired.problems.get((kind, name))
        if problem is None:
            return None
        common = self._listings[kind].common(self, name, problem.reason) if problem.state == PENDING else ""
        return State(problem.state, problem.reason, common=common)

    def _failure_state(self, key: ObjectKey) -> State | None:
        failures = self._failed.get(key)
        if not failures:
            return None
        more = f" (and {len(failures) - 1} more failures)" if len(failures) > 1 else ""
        first = failures[0]
        verb = "remove" if first.removing else "install"
        return State(ERROR, describe_failure(first) + more,
                     common=f"{first.room} cannot {verb} what is theirs: {first.reason}")

    def _waiting_state(self, obj: PlanObject, parts: Iterable[PlanObject | None]) -> State | None:
        """Return what an object of the plan, or one of its parts, still waits for; None: nothing."""
        waits = self._listings[obj.kind].waits
        for name in waits(self, obj) if waits else self._kinds[obj.kind].waits(obj):
            interface = self.interfaces.get(name)
            if interface and interface.error:
                return State(ERROR, f"Open vSwitch cannot open interface {name}: {interface.error}")
            return self._blocked_state() or State(PENDING, f"waits for Open vSwitch to open interface {name}")
        if (state := self._blocked_state()) is not None:
            return state
        carried_out = self.agent.loop.carried_out
        if not carried_out(obj) or any(part is not None and not carried_out(part) for part in parts):
            return State(PENDING, "is being installed")
        return None

    def _blocked_state(self) -> State | None:
        """Return the state that all objects have while a room cannot work; None: all rooms can."""
        for room, reason in self.blocked.items():
            return State(PENDING, f"{room}: {reason}", (ROOM, room))
        return None


def _owner_of(failure: Failure) -> ObjectKey:
    """Return the first two parts of the key of the object that a failure belongs to."""
    return tuple(failure.item.owner)[:2]


def _with_cause(key: ObjectKey, state: State | None) -> State | None:
    """Return the state with `key` as its cause, unless it has one or needs none."""
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
