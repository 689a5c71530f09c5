# SPDX-License-Identifier: Apache-2.0
"""The translator as a room: one driver translates; what others left on this host is found and removed.

So a restart with another [fip64] translator needs no code of its own: the loop makes what the new driver
needs, then prunes what it did not ask for.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence

from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import PlanObject
from fip64agent.plan.inputs import Allocations
from fip64agent.reconcile.room import Item
from fip64agent.translator.base import ClientBinding, Translator

LOG = logging.getLogger(__name__)


class TranslatorRoom:
    """Made of the `active` driver and of `retired` ones, whose items are only removed."""

    name = "translator"

    def __init__(self, active: Translator, retired: Iterable[Translator]) -> None:
        self.active = active
        self._retired = list(retired)
        self._left_by: dict[Hashable, Translator] = {}
        """By key of an item that a retired driver has left: that driver."""

    @property
    def kind(self) -> str:
        return self.active.kind

    def start(self) -> None:
        self.active.start()

    def close(self) -> None:
        for driver in (self.active, *self._retired):
            driver.close()

    def ready(self) -> str | None:
        return self.active.ready()

    def expand(self, obj: PlanObject) -> Iterable[Item]:
        return self.active.expand(obj)

    def allocations(self) -> Allocations:
        return self.active.allocations()

    def actual(self) -> dict[Hashable, Item]:
        return self.active.actual() | self._left_items()

    def remains(self) -> dict[Hashable, Item]:
        return self.active.remains() | self._left_items()

    def _left_items(self) -> dict[Hashable, Item]:
        """Return what retired drivers have left. One that left nothing is not asked again."""
        result: dict[Hashable, Item] = {}
        for driver in list(self._retired):
            found: dict[Hashable, Item] = {}
            with contextlib.suppress(NotReady):  # it does not run: then it has nothing either
                found = driver.remains()
            if found:
                LOG.info("%d items of the translator %s are left on this host: they are removed", len(found),
                         driver.kind)
                self._left_by.update(dict.fromkeys(found, driver))
                result |= found
            else:
                self._retired.remove(driver)
                driver.close()
        return result

    def apply(self, items: Sequence[tuple[Item | None, Item]]) -> dict[Hashable, str]:
        return self.active.apply(items)

    def prune(self, items: Sequence[Item]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        for driver in (self.active, *self._retired):
            own = [item for item in items if self._left_by.get(item.key, self.active) is driver]
            if own:
                failed |= driver.prune(own)
        for item in items:
            if item.key not in failed:
                self._left_by.pop(item.key, None)
        return failed

    def clients(self, router_id: str) -> list[ClientBinding]:
        return self.active.clients(router_id)

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        return self.active.counters()

    def healthy(self) -> str | None:
        return self.active.healthy()

    def __getattr__(self, name: str):
        """Whatever else the active driver offers."""
        return getattr(self.active, name)
