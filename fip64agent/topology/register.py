# SPDX-License-Identifier: Apache-2.0
"""Who has, or wants, what only one resource can have: claims (claims.py) and the resources that made them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

from fip64agent.topology.model import Key
from fip64agent.topology.multimap import Multimap

_KINDS = ("subnets", "routers", "ports", "floatingips")
"""Those whose resources can want the same, in the order of model.KINDS."""


class Register:
    """Claims by resource, and resources by claim."""

    def __init__(self) -> None:
        self.claimants: dict[str, Multimap] = {kind: Multimap() for kind in _KINDS}
        """By kind: claim -> ids of the resources that have or want it."""
        self._wanted: dict[Key, tuple[Hashable, ...]] = {}

    def put(self, key: Key, claims: Iterable[Hashable]) -> None:
        """Note what a resource in force has. Those of other kinds than _KINDS have nothing of that."""
        kind, item_id = key
        for claim in claims:
            self.claimants[kind].put(claim, item_id)

    def want(self, key: Key, claims: tuple[Hashable, ...]) -> None:
        """Note what a form of a resource would need that is right but for others who have it."""
        self.put(key, claims)
        self._wanted[key] = (*self._wanted.get(key, ()), *claims)

    def drop(self, key: Key, claims: Iterable[Hashable]) -> None:
        """Forget what a resource has, these claims, and all that it wants."""
        kind, item_id = key
        for claim in (*claims, *self._wanted.pop(key, ())):
            self.claimants[kind].drop(claim, item_id)

    def get(self, kind: str, claim: Hashable) -> Collection[str]:
        """Return the ids of a kind's resources that have or want something."""
        return self.claimants[kind].get(claim)

    def find(self, claims: Collection[Hashable]) -> list[Key]:
        """Return all that have or want any of these, in the order of KINDS and of their ids."""
        return [(kind, item_id) for kind, claimants in self.claimants.items()
                for item_id in sorted(claimants.union(claims))]

    def wanting(self, claims: Collection[Hashable]) -> list[Key]:
        """Return those that have or want any of these, and want something that they cannot have."""
        return [key for key in self.find(claims) if key in self._wanted]
