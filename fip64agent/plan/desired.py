# SPDX-License-Identifier: Apache-2.0
"""What should be installed on this host: the immutable result of plan().

Every object is self-contained: a room derives its items (links, flows, translator
configuration) from one object alone, so an object that did not change needs no work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol

from fip64agent.plan.base.objects import Host, Uplink
from fip64agent.plan.difference import changed_keys
from fip64agent.plan.engine import Engine
from fip64agent.plan.fip64.objects import Gateway, Mapping64, Tenant
from fip64agent.plan.inputs import Allocations
from fip64agent.plan.kinds import kinds
from fip64agent.plan.problems import ACTIVE, ERROR, PENDING, ObjectKey, Problem, object_id

__all__ = ["ACTIVE", "ERROR", "NOTHING", "PENDING", "Desired", "Gateway", "Host", "Mapping64", "ObjectKey",
           "PlanObject", "Problem", "Tenant", "Uplink"]

_EMPTY: Mapping = MappingProxyType({})


class PlanObject(Protocol):
    """What all objects of the plan have in common. They are frozen dataclasses."""

    kind: ClassVar[str]

    @property
    def key(self) -> ObjectKey: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Desired:
    """All that should be installed, and why the rest is not. `objects()` is what the rooms work from."""

    by_kind: Mapping[str, Mapping[str, PlanObject]]
    """By name of a kind, then id: what follows the kind in an object's key. Those kinds that have objects,
    in the order of kinds()."""
    problems: Mapping[tuple[str, str], Problem]
    """By (kind, id): ("fip", id), ("uplink", port id), ("tenant", router id)."""
    allocations: Allocations
    """Numbers given; feed them into the next plan()."""
    made_by: tuple[Engine, int] | None = dataclasses.field(default=None, compare=False, repr=False)
    """The engine, and its version that this plan is. For replan() only."""

    @classmethod
    def of_objects(cls, objects: Iterable[PlanObject], problems: Mapping[tuple[str, str], Problem] = _EMPTY,
                   allocations: Allocations = Allocations()) -> Desired:  # noqa: B008 (immutable)
        """Return a plan of these objects, without planning."""
        found: dict[str, dict[str, PlanObject]] = {name: {} for name in kinds()}
        for obj in objects:
            found[obj.kind][object_id(obj)] = obj
        return cls({kind: MappingProxyType(items) for kind, items in found.items() if items}, problems,
                   allocations)

    def of(self, kind: str) -> Mapping[str, PlanObject]:
        """Return the objects of a kind, by id (the rest of their keys; "" where there is but one)."""
        return self.by_kind.get(kind, _EMPTY)

    def objects(self) -> Iterator[PlanObject]:
        """All objects; what others build on comes first."""
        for objects in self.by_kind.values():
            yield from objects.values()

    def find(self, key: ObjectKey) -> PlanObject | None:
        """Return the object with that key, if it is in the plan."""
        return self.of(key[0]).get(" ".join(key[1:])) if key else None

    def changes(self, old: Desired | None) -> list[tuple[PlanObject | None, PlanObject | None]]:
        """Return (old object, new object) for each that differs; None where there is none."""
        if old is None:
            return [(None, new) for new in self.objects()]
        result: list[tuple[PlanObject | None, PlanObject | None]] = []
        for kind in kinds():
            before, after = old.of(kind), self.of(kind)
            result.extend((before.get(name), after.get(name)) for name in changed_keys(before, after))
        return result

    # What other modules of ours look for by name

    @property
    def host(self) -> Host | None:
        return self.of(Host.kind).get("")

    @property
    def uplinks(self) -> Mapping[str, Uplink]:
        """By port id."""
        return self.of(Uplink.kind)

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """By router id."""
        return self.of(Tenant.kind)

    @property
    def mappings(self) -> Mapping[str, Mapping64]:
        """By floating IP id."""
        return self.of(Mapping64.kind)

    @property
    def gateways(self) -> Mapping[ObjectKey, Gateway]:
        """By key."""
        return {gateway.key: gateway for gateway in self.of(Gateway.kind).values()}


NOTHING = Desired(_EMPTY, _EMPTY, Allocations())
