# SPDX-License-Identifier: Apache-2.0
"""The room of Linux's links: namespaces, veths, TUN devices, addresses, routes and rules."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent import hub
from fip64agent.links import marks, readback
from fip64agent.links import netns as namespaces
from fip64agent.links.access import NotInstallable, reason
from fip64agent.links.explain import explain
from fip64agent.links.features import expand
from fip64agent.links.install import LinkInstaller
from fip64agent.links.kernel import Handles, free_messages
from fip64agent.links.model import ORDER, Layout, LinkItem, Route
from fip64agent.links.monitor import Monitor
from fip64agent.links.own_links import OwnLinks
from fip64agent.links.readable import why_unreadable
from fip64agent.plan.desired import PlanObject
from fip64agent.plan.inputs import Allocations
from fip64agent.reconcile.explain import Explanation, TracedPath

LOG = logging.getLogger(__name__)

_IPV6 = Path("/proc/sys/net/ipv6")
_RANK = {kind: rank for rank, kind in enumerate(ORDER)}


class LinksRoom:
    """Installs and reads back links and what is on them, in a native thread of its own.

    `netns_prefix`: what the names of our network namespaces begin with, and part of every mark.
    `layout`: what the translator's driver wants.
    `on_change`: called when others have changed something.
    """

    name = "links"

    def __init__(self, netns_prefix: str, layout: Layout,
                 on_change: Callable[[], None] = lambda: None) -> None:
        self._prefix = netns_prefix
        self._layout = layout
        self._handles = Handles()
        self._installer = LinkInstaller(netns_prefix, self._handles)
        self._thread = hub.NativeThread("links")
        self._lock = hub.Semaphore()
        self._own_links = OwnLinks()
        self._monitor = Monitor(netns_prefix, self._own_links, on_change)

    def start(self) -> None:
        self._monitor.start()

    def close(self) -> None:
        self._monitor.stop()
        self._thread.run(self._handles.close)
        self._thread.close()

    def ready(self) -> str | None:
        if not _IPV6.is_dir():
            return ("this kernel runs without IPv6: take ipv6.disable=1 off its command line, "
                    "or load the module ipv6")
        return None

    def warnings(self) -> list[str]:
        return []

    def expand(self, obj: PlanObject) -> Iterable[LinkItem]:
        return expand(self._prefix, self._layout, obj)

    def allocations(self) -> Allocations:
        """Return the numbers in force, read off the marks of what is installed."""
        def read() -> Allocations:
            return marks.allocations(self._prefix, [link.alias for link in readback.links(self._handles[""])])

        return self._work(read)

    def explain(self, traced: TracedPath) -> Explanation:
        """Return the checks of how the kernel forwards a packet, and its answer."""
        return explain(self._layout, traced)

    def actual(self) -> dict[Hashable, LinkItem]:
        found = self._work(readback.read, self._prefix, self._handles)
        self._own_links.note_read_back(found.values())
        return found

    def apply(self, items: Sequence[tuple[LinkItem | None, LinkItem]]) -> dict[Hashable, str]:
        failed = {item.key: why for _, item in items if (why := why_unreadable(self._prefix, item))}
        if failed:
            items = [pair for pair in items if pair[1].key not in failed]
        self._own_links.add(item for _, item in items)
        ordered = sorted(items, key=lambda pair: _RANK[type(pair[1])])
        return failed | self._change(self._install, ordered)

    def prune(self, items: Sequence[LinkItem]) -> dict[Hashable, str]:
        ordered = sorted(items, key=lambda item: -_RANK[type(item)])
        dying = {item.name for item in ordered if type(item) is ORDER[0]}
        # What is inside a namespace goes with it. Its veths go first: their far ends would stay a while.
        ordered = [item for item in ordered
                   if getattr(item, "netns", "") not in dying or type(item) in ORDER[:2]]
        failed = self._change(self._remove, ordered)
        self._own_links.remove(item for item in items if item.key not in failed)
        return failed

    def _work(self, function: Callable, *args):
        """Run a function in the room's thread, the only one that uses the sockets."""
        with self._lock:
            try:
                return self._thread.run(function, *args)
            finally:
                self._monitor.follow(self._handles)

    def _change(self, function: Callable, *args):
        """As _work(), for a function that changes something: the monitor does not report that."""
        with self._monitor.own_work(self._handles):
            return self._work(function, *args)

    def _install(self, pairs: Sequence[tuple[LinkItem | None, LinkItem]]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        for kind, group in itertools.groupby(pairs, lambda pair: type(pair[1])):
            if kind is Route:
                failed |= self._installer.routes.install(list(group))
            else:
                failed |= _each((item, lambda was=was, item=item: self._installer.install(was, item))
                                for was, item in group)
        return failed

    def _remove(self, items: Sequence[LinkItem]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        # What was in a namespace that does not exist any more is removed already.
        items = [item for item in items if namespaces.exists(getattr(item, "netns", ""))]
        for kind, group in itertools.groupby(items, type):
            if kind is Route:
                failed |= self._installer.routes.remove(list(group))
            else:
                failed |= _each((item, lambda item=item: self._installer.remove(item)) for item in group)
        return failed


def _each(calls: Iterable[tuple[LinkItem, Callable[[], None]]]) -> dict[Hashable, str]:
    """Make all calls; return the reasons of those that failed, by their items' keys."""
    failed: dict[Hashable, str] = {}
    for item, call in calls:
        free_messages()
        try:
            call()
        except (NotInstallable, NetlinkError, OSError) as error:
            failed[item.key] = reason(error)
        except Exception as error:  # an unforeseen error of one item must not stop the others
            LOG.exception("links: %s", item)
            failed[item.key] = reason(error)
    return failed
