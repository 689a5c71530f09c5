# SPDX-License-Identifier: Apache-2.0
"""What a feature says about the objects that it plans: all that others know of them.

The engine, the reconcile loop, the log, the listings and the metrics go through `kinds()`; none of
them knows a kind by its name.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

from fip64agent.discovery import found
from fip64agent.plan.nodes import Objects
from fip64agent.plan.numbers import NumberSpace

GROUP = "fip64agent.features"
"""Entry points of other packages: each names a Feature."""


def _nothing(obj: Any) -> tuple:
    return ()


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects in the plan.

    Its objects are frozen dataclasses with a `key`: (name of the kind, id).
    """

    name: str
    """First part of the objects' keys; what `fip64ctl` and the metrics call it: "fip"."""
    title: str
    """For sentences: "floating IP"."""
    titles: str
    """The same of many: "floating IPs"."""
    after: tuple[str, ...] = ()
    """Names of the kinds that must come before it when things are made: its objects build on theirs."""
    resource: str = ""
    """Attribute of Topology with the resources that are objects of this kind when all is well:
    "floatingips". Each of them is listed with its state, planned here or not. "": only what is
    planned, or has a problem, is listed."""
    numbers: tuple[tuple[NumberSpace, str], ...] = ()
    """The spaces out of which an object gets a number under its id, each with the attribute that has the
    number: ((VLANS, "vlan"),). The links that are made for an object, and VPP's table, have its numbers in
    their marks, so that they are found again when the agent restarts."""
    listed: bool = True
    """Whether operators see its objects one by one, with their states; else they are parts of others."""
    describe: Callable[[Any], str] | None = None
    """Says for the log what an object is; None: its comings and goings are not told."""
    tell_changes: bool = True
    """Whether the log tells when an object changes, beside that it comes and goes."""
    ports: Callable[[Any], Iterable[str]] = _nothing
    """Names of the ports on the bridge that an object wants."""
    waits: Callable[[Any], Iterable[str]] = _nothing
    """Names of the interfaces that an object needs and Open vSwitch has not opened yet."""
    stands_on: Callable[[Any], Iterable[tuple[str, ...]]] = _nothing
    """Keys of the objects without which an object does not work: their state is its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Feature:
    """What one package of `plan/`, or of somebody else, adds."""

    name: str
    kinds: tuple[Kind, ...]
    planners: tuple[Objects, ...] = ()
    """What computes the objects of its kinds, one for each kind. The rest of the engine's nodes are found
    from these by what they read."""
    numbers: tuple[NumberSpace, ...] = ()
    """The numbers that its objects get on this host."""


@functools.cache
def features() -> tuple[Feature, ...]:
    """Return all features there are: those of the packages in `plan/`, then others'.

    Raises: ImportError when one cannot be loaded, ValueError when it is no Feature.
    """
    result = []
    for name, feature in found("fip64agent.plan", "FEATURE", GROUP):
        if not isinstance(feature, Feature):
            raise ValueError(f"feature {name} is a {type(feature).__name__}, not a plan.kinds.Feature")
        result.append(feature)
    return tuple(result)


@functools.cache
def kinds() -> dict[str, Kind]:
    """Return all kinds by name, each after those that it builds on.

    Raises: ValueError when two have one name, one builds on a kind that does not exist, or kinds
    build on each other.
    """
    known: dict[str, Kind] = {}
    for feature in features():
        for kind in feature.kinds:
            if kind.name in known:
                raise ValueError(f"feature {feature.name}: there is another kind {kind.name}")
            known[kind.name] = kind
    ordered: dict[str, Kind] = {}

    def put(kind: Kind, above: tuple[str, ...]) -> None:
        if kind.name in above:
            raise ValueError(f"kinds build on each other: {' -> '.join((*above, kind.name))}")
        for name in kind.after:
            if name not in known:
                raise ValueError(f"kind {kind.name} builds on {name}, which does not exist")
            put(known[name], (*above, kind.name))
        ordered[kind.name] = kind

    for kind in known.values():
        put(kind, ())
    return ordered
