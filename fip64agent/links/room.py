# SPDX-License-Identifier: Apache-2.0
"""The room of Linux's links: namespaces, veths, TUN devices, addresses, routes and rules."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent import hub
from fip64agent.links import layout, marks, readback
from fip64agent.links.install import Installer, Refused
from fip64agent.links.kernel import Doors
from fip64agent.links.model import ORDER, LinkItem
from fip64agent.links.monitor import Monitor
from fip64agent.plan.desired import PlanObject
from fip64agent.plan.inputs import Allocations

LOG = logging.getLogger(__name__)

_RANK = {kind: rank for rank, kind in enumerate(ORDER)}


class LinksRoom:
    """`netns_prefix`: what the names of our network namespaces begin with, and part of every mark."""

    name = "links"

    def __init__(self, netns_prefix: str, on_change: Callable[[], None] = lambda: None) -> None:
        self._prefix = netns_prefix
        self._doors = Doors()
        self._installer = Installer(netns_prefix, self._doors)
        self._worker = hub.Worker("links")
        self._lock = hub.Semaphore()
        self._monitor = Monitor(netns_prefix, on_change)

    def start(self) -> None:
        self._monitor.start()

    def close(self) -> None:
        self._monitor.stop()
        self._worker.run(self._doors.close)
        self._worker.close()

    def ready(self) -> str | None:
        return None

    def expand(self, obj: PlanObject) -> Iterable[LinkItem]:
        return layout.expand(self._prefix, obj)

    def allocations(self) -> Allocations:
        """Return the numbers in force, read off the marks of what is installed."""
        def read() -> Allocations:
            return marks.allocations(self._prefix, [link.alias for link in readback.links(self._doors[""])])

        return self._work(read)

    def actual(self) -> dict[Hashable, LinkItem]:
        return self._work(readback.read, self._prefix, self._doors)

    def apply(self, items: Sequence[tuple[LinkItem | None, LinkItem]]) -> dict[Hashable, str]:
        ordered = sorted(items, key=lambda pair: _RANK[type(pair[1])])
        calls = ((item.key, self._installer.install, was, item) for was, item in ordered)
        return self._work(self._each, calls)

    def prune(self, items: Sequence[LinkItem]) -> dict[Hashable, str]:
        ordered = sorted(items, key=lambda item: -_RANK[type(item)])
        dying = {item.name for item in ordered if type(item) is ORDER[0]}
        # What is inside a namespace goes with it; its veths first, or their far ends linger.
        ordered = [item for item in ordered
                   if getattr(item, "netns", "") not in dying or type(item) in ORDER[:2]]
        return self._work(self._each, ((item.key, self._installer.remove, item) for item in ordered))

    def _work(self, function: Callable, *args):
        """Run in the room's thread; what it does itself is no news for the monitor."""
        with self._lock, self._monitor.deaf(self._doors):
            return self._worker.run(function, *args)

    @staticmethod
    def _each(calls: Iterable[tuple]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        for key, call, *args in calls:
            try:
                call(*args)
            except Refused as error:
                failed[key] = str(error)
            except NetlinkError as error:
                failed[key] = f"the kernel refuses it: {error.args[-1] if error.args else error}"
            except OSError as error:
                failed[key] = str(error)
            except Exception as error:  # one item that no code foresaw must not stop the others
                LOG.exception("links: %s", args[-1])
                failed[key] = f"{type(error).__name__}: {error}"
        return failed
