# SPDX-License-Identifier: Apache-2.0
"""plan(): what should be installed on this host. Pure: no I/O, no clock, no randomness.

The topology is sound: what is faulty in it is not in force, and told by the topology itself. What is in
force but cannot be made on this host, or has to wait, is in `Desired.problems` with the reason; it costs
nothing else. A floating IP that is not associated with a port is neither planned nor a problem: it is
"down", as Neutron calls it.

The way of a change: replan() -> Engine.update() -> the features' functions, in the order in which they
build on each other -> a new Desired.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Mapping
from types import MappingProxyType

from fip64agent.plan.desired import NOTHING, Desired
from fip64agent.plan.engine import Engine
from fip64agent.plan.inputs import Allocations, Inputs
from fip64agent.plan.kinds import features, kinds
from fip64agent.plan.nodes import Node, Objects, in_order


@functools.cache
def _planners() -> Mapping[str, Objects]:
    """Return what computes the objects of each kind, by kind.

    Raises: ValueError when a kind has two planners, or none, or does not exist.
    """
    found: dict[str, Objects] = {}
    for feature in features():
        for planner in feature.planners:
            if planner.kind not in kinds():
                raise ValueError(f"feature {feature.name}: it plans {planner.kind}, which is no kind")
            if planner.kind in found:
                raise ValueError(f"feature {feature.name}: kind {planner.kind} has another planner")
            found[planner.kind] = planner
    for feature in features():
        for kind in feature.kinds:
            if kind.name not in found:
                raise ValueError(f"feature {feature.name}: kind {kind.name} has no planner")
    return {kind: found[kind] for kind in kinds()}


@functools.cache
def _nodes() -> tuple[Node, ...]:
    numbers: dict[str, Node] = {}
    for feature in features():
        for space in feature.numbers:
            if space.name in numbers:
                raise ValueError(f"feature {feature.name}: there are other numbers {space.name}")
            numbers[space.name] = space.all
    return tuple(in_order([*_planners().values(), *numbers.values()]))


def check_features() -> None:
    """Look at all features, before the first plan.

    Raises: ImportError when one cannot be loaded, ValueError when they cannot be planned beside each other.
    """
    _nodes()


def plan(inputs: Inputs) -> Desired:
    """Plan this host from scratch. Never raises, whatever the topology says."""
    return _desired(_computed(inputs), NOTHING)


def replan(previous: Desired, before: Inputs, after: Inputs) -> Desired:
    """Return what plan(after) does, sharing with `previous` all that did not change.

    It costs work for what depends on what changed, provided that `previous` is the newest plan of its
    engine: an engine goes on and cannot go back. An older plan is planned anew from scratch. `previous` is
    the plan of `before`, and remembers that itself: a `before` that is not quite it (other allocations,
    say) can neither slow this down nor make it wrong. `previous` is never changed.
    """
    if previous.made_by is not None:
        engine, version = previous.made_by
        if engine.version == version:
            engine.update(after)
            return _desired(engine, previous)
    return plan_anew(after, previous)


def plan_anew(inputs: Inputs, previous: Desired) -> Desired:
    """Plan from scratch, but keep the objects of `previous` wherever they are equal."""
    engine = _computed(inputs)
    engine.keep(previous.by_kind, previous.problems)
    return _desired(engine, previous)


def _computed(inputs: Inputs) -> Engine:
    # Values come by the ten thousand, none in a cycle: to look for cycles among them takes as long again.
    collecting = gc.isenabled()
    gc.disable()
    try:
        engine = Engine(_nodes())
        engine.update(inputs)
    finally:
        if collecting:
            gc.enable()
    return engine


def _desired(engine: Engine, previous: Desired) -> Desired:
    """Return the plan that an engine has come to."""
    by_kind = {kind: objects for kind, planner in _planners().items() if (objects := engine.objects(planner))}
    numbers = {space.name: given for feature in features() for space in feature.numbers
               if (given := engine.value(space.all, "").given)}
    allocations = previous.allocations
    if allocations.numbers != numbers:
        allocations = Allocations(MappingProxyType(numbers))
    return Desired(MappingProxyType(by_kind), engine.problems(), allocations, (engine, engine.version))
