# SPDX-License-Identifier: Apache-2.0
"""Hears when links, addresses, routes, rules or namespaces change behind our back.

It looks at no detail: anything that happens in our namespaces, or to a link of ours beside them,
leads to a read-back, which finds what is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import inotify_simple

from fip64agent import hub
from fip64agent.links import layout, rtnetlink
from fip64agent.links import netns as namespaces
from fip64agent.links.kernel import Door, Doors

LOG = logging.getLogger(__name__)

_SETTLE = 0.2
"""Seconds to gather what belongs together before it is reported."""
_OUR_LINKS = (b"ovs-", b"vpp-")
"""In the agent's own namespace only links with such names concern us."""


class Monitor:
    """`on_change` is called in a greenthread, not more often than each _SETTLE seconds."""

    def __init__(self, prefix: str, on_change: Callable[[], None]) -> None:
        self._prefix = prefix
        self._on_change = on_change
        self._threads: dict[int, object] = {}
        self._doors: dict[int, Door] = {}
        self._deaf = 0
        self._news = hub.Event()
        self._running: list = []
        self._inotify: inotify_simple.INotify | None = None

    def start(self) -> None:
        self._running = [hub.spawn(self._report), hub.spawn(self._watch_names)]

    def stop(self) -> None:
        for thread in (*self._running, *self._threads.values()):
            thread.kill()
        self._running, self._threads, self._doors = [], {}, {}
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    @contextlib.contextmanager
    def deaf(self, doors: Doors) -> Iterator[None]:
        """What happens inside is our own doing. Follows the doors that it opens and closes."""
        self._deaf += 1
        try:
            yield
        finally:
            for door in doors.all():
                door.drain()
                if door.name and namespaces.inode(door.name) != door.inode:
                    self._news.set()  # not our doing: we would have closed it
            self._deaf -= 1
            if doors.changed and self._running:
                doors.changed = False
                self._follow(doors)

    def _follow(self, doors: Doors) -> None:
        wanted = {id(door): door for door in doors.all()}
        for key in [key for key in self._threads if key not in wanted]:
            self._threads.pop(key).kill()
            self._doors.pop(key)
        for key, door in wanted.items():
            if key not in self._threads:
                self._doors[key] = door
                self._threads[key] = hub.spawn(self._listen, door)

    def _listen(self, door: Door) -> None:
        while True:
            try:
                hub.wait_readable(door.events.fileno())
                if self._deaf:  # it is drained when our own work is done
                    hub.sleep(0.01)
                    continue
                if self._concerns_us(door):
                    self._news.set()
            except (OSError, ValueError):  # closed
                return

    def _concerns_us(self, door: Door) -> bool:
        try:
            data = door.events.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True  # some were lost
        if door.name:
            return not rtnetlink.tells_only_carrier(data, layout.TUN, layout.MTU)
        return any(name in data for name in _OUR_LINKS)

    def _watch_names(self) -> None:
        while True:
            try:
                with inotify_simple.INotify() as watch:
                    self._inotify = watch
                    mask = inotify_simple.flags.CREATE | inotify_simple.flags.DELETE
                    directory = namespaces.DIRECTORY if namespaces.DIRECTORY.is_dir() else Path("/run")
                    watch.add_watch(directory, mask)
                    self._names_changed(watch, directory)
            except OSError as error:
                LOG.warning("network namespaces are not watched: %s", error)
                hub.sleep(10)

    def _names_changed(self, watch: inotify_simple.INotify, directory: Path) -> None:
        while directory == namespaces.DIRECTORY or not namespaces.DIRECTORY.is_dir():
            hub.wait_readable(watch.fileno())
            events = watch.read(timeout=0)
            if not self._deaf and any(event.name.startswith(self._prefix) for event in events):
                self._news.set()

    def _report(self) -> None:
        while True:
            self._news.wait()
            hub.sleep(_SETTLE)
            self._news.clear()
            self._on_change()
