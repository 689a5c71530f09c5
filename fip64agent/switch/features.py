# SPDX-License-Identifier: Apache-2.0
"""The description of a flow feature, and all flow features: a new one is a new module."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fip64agent.discovery import found
from fip64agent.switch import pipeline
from fip64agent.switch.flows.flow import Flow
from fip64agent.switch.pipeline import Register, Table, Zone

GROUP = "fip64agent.flows"
"""Entry points of other packages: each names a FlowFeature."""


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """Objects of the plan whose flows the reference shows."""

    title: str
    introduction: str
    """A sentence before the table of flows."""
    objects: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class NumberInFlow:
    """Says where the numbers of a space are found in flows, when the agent has restarted."""

    space: str
    """Name of the number space, as the plan has it."""
    table: int
    register: str
    """Each owner has one flow of the feature in the table; its match is this register with its number."""


@dataclasses.dataclass(frozen=True, slots=True)
class FlowFeature:
    """What one module of `switch/flows/`, or of another package, adds."""

    name: str
    """As operators see it, and as its flows name it (Flow.feature)."""
    number: int
    """In the cookies of its flows, 1 to 255. It must never change, since installed flows have it. Ours are
    below 128; other packages use numbers from 128 on."""
    purpose: str
    flows: Mapping[str, Callable[[Any], Iterable[Flow]]]
    """{name of a kind of the plan's objects: function that yields an object's flows}. Pure. Flows that need
    an OpenFlow port which is not known yet are left out."""
    examples: tuple[Example, ...] = ()
    tables: tuple[Table, ...] = ()
    """Tables that it uses in addition to pipeline.TABLES."""
    registers: tuple[Register, ...] = ()
    zones: tuple[Zone, ...] = ()
    numbers: tuple[NumberInFlow, ...] = ()


@functools.cache
def features() -> Mapping[str, FlowFeature]:
    """Return all flow features by name, in the order of their numbers.

    Raises: ValueError when two claim the same name, number, table, register or conntrack zone.
    """
    result: dict[str, FlowFeature] = {}
    claims: dict[tuple, str] = {}

    def claim(feature: FlowFeature, what: str, value: object) -> None:
        other = claims.setdefault((what, value), feature.name)
        if other != feature.name or feature.name in result:
            raise ValueError(f"flow feature {feature.name}: {what} {value} is that of {other}")

    for table in pipeline.TABLES:
        claims["table", table.number] = claims["table", table.name] = "the pipeline"
    for _, feature in found("fip64agent.switch.flows", "FEATURE", GROUP):
        if not 1 <= feature.number <= 255:
            raise ValueError(f"flow feature {feature.name}: number {feature.number} is not from 1 to 255")
        claim(feature, "name", feature.name)
        claim(feature, "number", feature.number)
        for table in feature.tables:
            claim(feature, "table", table.number)
            claim(feature, "table", table.name)
        for register in feature.registers:
            claim(feature, "register", register.name)
        for zone in feature.zones:
            for number in range(zone.first, zone.last + 1):
                claim(feature, "conntrack zone", number)
        result[feature.name] = feature
    return dict(sorted(result.items(), key=lambda item: item[1].number))


@functools.cache
def _by_kind() -> dict[str, tuple[Callable[[Any], Iterable[Flow]], ...]]:
    result: dict[str, tuple[Callable[[Any], Iterable[Flow]], ...]] = {}
    for feature in features().values():
        for kind, function in feature.flows.items():
            result[kind] = (*result.get(kind, ()), function)
    return result


def flows_of(obj: Any) -> Iterator[Flow]:
    """Yield all flows of an object of the plan. Those that need an unknown OpenFlow port are left out."""
    for function in _by_kind().get(obj.kind, ()):
        yield from function(obj)


@functools.cache
def _names() -> dict[int, str]:
    return {feature.number: feature.name for feature in features().values()}


def feature_name(number: int) -> str | None:
    """Return the name of the feature with that number; None when there is none."""
    return _names().get(number)


@functools.cache
def tables() -> dict[int, Table]:
    """Return all tables that our flows use, by number."""
    every = [*pipeline.TABLES, *(table for feature in features().values() for table in feature.tables)]
    return {table.number: table for table in sorted(every, key=lambda table: table.number)}


def table_name(number: int) -> str:
    """Return a table's name; its number when it is none of ours."""
    table = tables().get(number)
    return table.name if table else str(number)
