# SPDX-License-Identifier: Apache-2.0
"""What is wrong, in sentences. Each fault is named once, with the number of objects that suffer from it."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from fip64agent import hub
from fip64agent.admin.answers import timestamp
from fip64agent.admin.listing import ExternalFault, listed, listing_of
from fip64agent.admin.state import DOWN, ROOM, STATES, States, describe_failure
from fip64agent.plan.desired import ACTIVE, ERROR, PENDING
from fip64agent.plan.kinds import kinds
from fip64agent.reconcile.room_state import NOT_ASKED
from fip64agent.topology.model import NOUNS

WARNING = "warning"
"""Severity of what somebody should look at, but no object suffers from."""
_NAMED = 100
"""Objects that a problem names for programs, of those that share it."""
_SHOWN = 5
"""Objects that its sentence names."""


@dataclasses.dataclass(slots=True)
class SharedFault:
    """The objects of one kind that are at fault for one reason, and those that stand on them."""

    objects: list[str] = dataclasses.field(default_factory=list)
    sufferers: dict[str, list[str]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    """Ids by kind."""
    reasons: set[str] = dataclasses.field(default_factory=set)
    common: str = ""
    """The reason in words that fit all of them, see State."""

    @property
    def reason(self) -> str:
        """The reason that all objects have, or words that fit all of their reasons."""
        return next(iter(self.reasons)) if len(self.reasons) == 1 else self.common


def count_and_explain(agent, states: States) -> tuple[dict[str, dict[str, int]], list[dict[str, Any]]]:
    """Return how many objects of each kind are in which state, and the problems, the worst first."""
    counts = {kind: dict.fromkeys(STATES, 0) for kind in listed()}
    faults: dict[tuple[str, str, str], SharedFault] = defaultdict(SharedFault)
    """By kind of what is at fault, state, and what is common to the reasons."""
    for kind in listed():
        for name, state in hub.yielding(states.all(kind)):
            counts[kind][state.state] += 1
            if state.state not in (ACTIVE, DOWN):
                cause = state.cause or (kind, name)
                common = state.common or state.reason
                fault = faults[cause[0], state.state, common]
                fault.common = common
                fault.reasons.add(state.reason)
                (fault.objects if cause == (kind, name) else fault.sufferers[kind]).append(name)
    external = {kind: listing.external(states) for kind, listing in listed().items()}
    problems = [*_agent_problems(agent, states, faults), *_external_problems(states, external),
                *_object_problems(states, faults)]

    def order(problem: dict[str, Any]) -> tuple[int, bool]:
        # What is wrong outside comes first: nothing on this host can be its cause.
        first = not external.get(problem["kind"], {}).keys().isdisjoint(problem["objects"])
        return (ERROR, WARNING, PENDING).index(problem["severity"]), not first

    return counts, sorted(problems, key=order)


def _problem(severity: str, kind: str, text: str, reason: str, objects: Iterable[str] = (),
             details: Iterable[str] = (), suffering: Iterable[str] = (),
             sufferers: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    names = list(objects)
    return {"severity": severity, "kind": kind, "text": text, "details": list(details), "reason": reason,
            "objects": names[:_NAMED], "count": len(names), "suffering": list(suffering),
            "sufferers": {each: {"objects": ids[:_NAMED], "count": len(ids)}
                          for each, ids in (sufferers or {}).items()}}


def _suffering(states: States, fault: SharedFault, verb: tuple[str, str]) -> Iterable[str]:
    """Say for each kind how many suffer from a fault, and name some. `verb`: of one and of many."""
    for kind, names in fault.sufferers.items():
        yield f"{_counted(kind, names)} {verb[len(names) != 1]}: {_names(states, kind, names)}"


def _counted(kind: str, names: list[str]) -> str:
    return kinds()[kind].title if len(names) == 1 else f"{len(names)} {kinds()[kind].titles}"


def _names(states: States, kind: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(listing_of(kind).label(states, name) for name in names[:_SHOWN]) + more


def _agent_problems(agent, states: States,
                    faults: Mapping[tuple[str, str, str], SharedFault]) -> Iterable[dict[str, Any]]:
    """What is wrong with the agent as a whole."""
    if error := agent.topology_error:
        loaded = timestamp(agent.topology_loaded_at)
        kept = f"the last good one, of {loaded}, stays in force" if loaded else "none is in force"
        said = [str(fault) for fault in error.problems]
        if error.refused:
            yield _problem(ERROR, "topology", f"the topology in {agent.topology_path} is refused; {kept}",
                           "refused", details=said)
        else:
            yield _problem(ERROR, "topology", f"the topology in {agent.topology_path} has faults; all else "
                           "in it is in force", "has faults", details=said)
    elif agent.topology_loaded_at is None:
        yield _problem(PENDING, "topology", f"no topology was read yet from {agent.topology_path}",
                       "not read yet")
    if kept := sorted(key for key, fault in states.topology.faults.items() if fault.last_good_in_force):
        names = [f"{NOUNS[kind]} {name}" for kind, name in kept]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield _problem(WARNING, "topology", "in force as last good, not as the topology has it now, and only "
                       f"until the agent restarts: {', '.join(names[:_SHOWN])}{more}",
                       "last good form in force",
                       details=[f"{name}: {states.topology.reason(key)}"
                                for name, key in zip(names[:_NAMED], kept, strict=False)])
    for room, reason in states.blocked.items():
        first = reason == NOT_ASKED
        fault = faults.get((ROOM, PENDING, f"{room}: {reason}"), SharedFault())
        yield _problem(PENDING if first else ERROR, ROOM,
                       f"{room} cannot work now: {reason}; nothing is changed there until it can"
                       if not first else f"{room} waits for the first pass", reason, [room],
                       suffering=_suffering(states, fault, ("waits for it", "wait for it")),
                       sufferers=fault.sufferers)
    if "translator" not in states.blocked and (trouble := agent.rooms["translator"].healthy()):
        yield _problem(ERROR, "translator", f"translator: {trouble}", trouble)
    for name, room in agent.rooms.items():
        for remark in room.warnings():
            yield _problem(WARNING, name, f"{name}: {remark}", remark)
    if not agent.loop.alive:
        yield _problem(ERROR, "loop", "the reconcile loop shows no sign of life: restart the agent, "
                       "traffic is not touched by that", "no sign of life")
    for failure in states.failures:
        if failure.removing and states.desired.find(tuple(failure.item.owner)) is None:
            yield _problem(ERROR, "leftover", f"left behind: {describe_failure(failure)}", failure.reason)
    if agent.metrics is not None and agent.metrics.problem:
        yield _problem(WARNING, "metrics", agent.metrics.problem, agent.metrics.problem)


def _external_problems(states: States,
                       external: Mapping[str, Mapping[str, ExternalFault]]) -> Iterable[dict[str, Any]]:
    """What is wrong outside of this host, but does no harm to the object now."""
    for kind, faults in external.items():
        for name, fault in faults.items():
            if states.state(kind, name).state == ACTIVE:
                yield _problem(WARNING, kind, fault.while_active, fault.reason, [name])


def _object_problems(states: States,
                     faults: Mapping[tuple[str, str, str], SharedFault]) -> Iterable[dict[str, Any]]:
    """One problem for all objects of a kind that share state and reason, and for what suffers from them."""
    for (kind, state, _common), fault in faults.items():
        if kind == ROOM:
            continue
        names, reason = fault.objects, fault.reason
        verb = "in error" if state == ERROR else "pending"
        if names:
            text = f"{_counted(kind, names)} {verb}: {_names(states, kind, names)}: {reason}"
        else:  # the object at fault is of a kind that is not listed
            text = f"{kinds()[kind].title} {verb}: {reason}"
        yield _problem(state, kind, text, reason, names,
                       suffering=_suffering(states, fault, ("suffers from it", "suffer from it")),
                       sufferers=fault.sufferers)
