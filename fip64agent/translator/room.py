# SPDX-License-Identifier: Apache-2.0
"""The translator as a room: one driver translates; what other drivers left on this host is found and removed.

So a restart with another [fip64] translator needs no code of its own: the loop makes what the new driver
needs, then prunes what it does not need.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence

from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import PlanObject
from fip64agent.plan.inputs import Allocations
from fip64agent.reconcile.explain import Explanation, TracedPath
from fip64agent.reconcile.room import Item
from fip64agent.translator.base import About, ClientBinding, TracedPacket, Traffic, Translator

LOG = logging.getLogger(__name__)


class TranslatorRoom:
    """A Translator (base.py): passes calls on to the `active` driver, and removes items of `retired` ones.

    `retired`: drivers that are not started.
    """

    name = "translator"

    def __init__(self, active: Translator, retired: Iterable[Translator]) -> None:
        self._active = active
        self._retired = list(retired)
        self._left_by: dict[Hashable, Translator] = {}
        """By key of an item that a retired driver has left: that driver."""

    @property
    def kind(self) -> str:
        return self._active.kind

    def start(self) -> None:
        self._active.start()

    def close(self) -> None:
        for driver in (self._active, *self._retired):
            driver.close()

    def ready(self) -> str | None:
        return self._active.ready()

    def warnings(self) -> list[str]:
        return self._active.warnings()

    def expand(self, obj: PlanObject) -> Iterable[Item]:
        return self._active.expand(obj)

    def allocations(self) -> Allocations:
        return self._active.allocations()

    def actual(self) -> dict[Hashable, Item]:
        return self._active.actual() | self._left_items()

    def remains(self) -> dict[Hashable, Item]:
        return self._active.remains() | self._left_items()

    def _left_items(self) -> dict[Hashable, Item]:
        """Return the items that retired drivers have left. One that left nothing is not asked again."""
        result: dict[Hashable, Item] = {}
        for driver in list(self._retired):
            found: dict[Hashable, Item] = {}
            with contextlib.suppress(NotReady):  # its program does not run, so nothing is installed
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
        return self._active.apply(items)

    def prune(self, items: Sequence[Item]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        for driver in (self._active, *self._retired):
            own = [item for item in items if self._left_by.get(item.key, self._active) is driver]
            if own:
                failed |= driver.prune(own)
        for item in items:
            if item.key not in failed:
                self._left_by.pop(item.key, None)
        return failed

    def netns(self, router_id: str) -> str:
        return self._active.netns(router_id)

    def clients(self, router_id: str) -> list[ClientBinding]:
        return self._active.clients(router_id)

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        return self._active.counters()

    def healthy(self) -> str | None:
        return self._active.healthy()

    def about(self) -> About:
        return self._active.about()

    def traffic(self) -> Traffic | None:
        return self._active.traffic()

    def explain(self, traced: TracedPath) -> Explanation:
        return self._active.explain(traced)

    def watch(self, traced: TracedPath, seconds: float) -> list[TracedPacket]:
        return self._active.watch(traced, seconds)
