# SPDX-License-Identifier: Apache-2.0
"""The shape that links, switch and translator share.

A room turns each object of the plan into *items* (a link, a flow, a translator instance),
reads back the items that are installed and are ours, and installs or removes single items.
It never decides what should be there: `reconcile.loop` compares and calls.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from fip64agent.plan.desired import ObjectKey, PlanObject


class Item(Protocol):
    """A frozen dataclass; two with the same `key` are equal when nothing is left to do.

    One that several objects of the plan may want has `shared`, which is True: it stays until the last of them
    is gone.
    """

    @property
    def key(self) -> Hashable: ...

    @property
    def owner(self) -> ObjectKey:
        """The plan's object it serves (not part of equality; () when unknown, as read back)."""
        ...


class Room(Protocol):
    """What the loop calls. All of it runs in greenthreads."""

    name: str

    def start(self) -> None:
        """Connect and begin to watch; what is not there is waited for, and ready() tells of it."""
        ...

    def close(self) -> None:
        """Stop watching and disconnect; what is installed stays."""
        ...

    def ready(self) -> str | None:
        """Return None when the room can work, else the reason why it cannot now."""
        ...

    def warnings(self) -> list[str]:
        """Return what somebody should look at although all works, in sentences."""
        ...

    def expand(self, obj: PlanObject) -> Iterable[Item]:
        """Return the items this room installs for `obj`. Pure."""
        ...

    def actual(self) -> dict[Hashable, Item]:
        """Read back all installed items that carry our marks. Foreign objects never appear.

        Raises: NotReady when the component cannot be asked now.
        """
        ...

    def apply(self, items: Sequence[tuple[Item | None, Item]]) -> dict[Hashable, str]:
        """Create or update: (what is installed or None, what should be). Idempotent.

        Sorts by its own dependencies. Returns the reason for each key that failed; an item
        that fails does not stop the others. Raises: NotReady when nothing can be done now.
        """
        ...

    def prune(self, items: Sequence[Item]) -> dict[Hashable, str]:
        """Remove items, dependents first. Removing what is gone already is success."""
        ...
