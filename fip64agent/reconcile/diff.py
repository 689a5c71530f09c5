# SPDX-License-Identifier: Apache-2.0
"""Desired items against actual items: what to apply, what to prune. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping

from fip64agent.plan.desired import PlanObject
from fip64agent.reconcile.room import Item

Expand = Callable[[PlanObject], Iterable[Item]]


@dataclasses.dataclass(slots=True)
class Difference:
    """Work for one room."""

    apply: list[tuple[Item | None, Item]] = dataclasses.field(default_factory=list)
    """(what is installed or None, what should be)."""
    prune: list[Item] = dataclasses.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.apply or self.prune)


def is_shared(item: Item) -> bool:
    """Return whether several objects of the plan may want the item (room.Item)."""
    return getattr(item, "shared", False)


def whole(wanted: Iterable[Item], actual: Mapping[Hashable, Item],
          users: Counter[Hashable] | None = None) -> Difference:
    """Compare all that should be installed with all that is.

    `users` becomes how often the shared items are wanted, by key.
    """
    result = Difference()
    seen = set()
    if users is not None:
        users.clear()
    for item in wanted:
        key = item.key
        seen.add(key)
        if users is not None and is_shared(item):
            users[key] += 1
        was = actual.get(key)
        if was is None or was != item:
            result.apply.append((was, item))
    result.prune = [item for key, item in actual.items() if key not in seen]
    return result


def partial(changes: Iterable[tuple[PlanObject | None, PlanObject | None]], expand: Expand,
            actual: Mapping[Hashable, Item], users: Counter[Hashable]) -> Difference:
    """Compare only what the changed objects lead to: (old object, new object) pairs.

    An item that one object gives up and another takes over is updated, not pruned. `users`: how often the
    shared items were wanted, by key, as the last comparison left it. One that is still wanted stays.
    """
    result = Difference()
    released: list[Hashable] = []
    taken = set()
    for old, new in changes:
        if new is not None:
            for item in expand(new):
                key = item.key
                taken.add(key)
                if is_shared(item):
                    users[key] += 1
                was = actual.get(key)
                if was is None or was != item:
                    result.apply.append((was, item))
        if old is not None:
            for item in expand(old):
                released.append(item.key)
                if is_shared(item):
                    users[item.key] -= 1
    for key in dict.fromkeys(released):
        if key in users:
            if users[key] > 0:
                continue
            del users[key]
        if key not in taken and (item := actual.get(key)) is not None:
            result.prune.append(item)
    return result
