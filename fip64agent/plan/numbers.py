# SPDX-License-Identifier: Apache-2.0
"""Numbers that objects get on this host, each one of its own, and keep while they are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from fip64agent.plan.allocate import allocate, checksum, digest
from fip64agent.plan.inputs import IN_FORCE
from fip64agent.plan.nodes import Collected, Derived, Node


@dataclasses.dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a space, as they are given now."""

    first: int
    last: int
    given: Mapping[str, int]
    """By owner."""
    without: tuple[str, ...]
    """Owners for whom none was left."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NumberSpace:
    """A kind of numbers: VLAN IDs of tenants, for example."""

    name: str
    """As in Allocations: "vlans"."""
    all: Derived
    """Under the key "": Numbers."""
    number: Derived
    """By owner: its number, None when it has none."""


def number_space(name: str, owners: Collected, limits: Callable[..., tuple[int, int]],
                 reads: tuple[Node, ...] = (), kind: str = "") -> NumberSpace:
    """Return a new space of numbers.

    owners: collects, under the key "", the ids of those that need a number.
    limits: takes ask(node, key); returns the first and the last number, both included.
    reads: the nodes that `limits` asks.
    kind: of the objects that have the numbers, if these are read back from flows, which do not have the ids
    of the objects but their digests (allocate.digest()).
    """
    def give(ask, key: str) -> Numbers:
        first, last = limits(ask)
        ids, in_force = ask(owners, ""), ask(IN_FORCE, name) or {}
        if kind and in_force:
            in_force = {owner: number for owner in ids if (number := in_force.get(
                owner, in_force.get(digest(checksum((kind, owner)))))) is not None}
        given, without = allocate(ids, in_force, first, last)
        return Numbers(first, last, given, without)

    def number(ask, owner: str) -> int | None:
        return ask(every, "").given.get(owner)

    every = Derived(f"all {name}", give, (owners, IN_FORCE, *reads))
    return NumberSpace(name, every, Derived(f"number out of {name}", number, (every,)))
