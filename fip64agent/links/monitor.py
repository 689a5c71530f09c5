# SPDX-License-Identifier: Apache-2.0
"""Hears when links, addresses, routes, rules or namespaces change behind our back.

What happens in our namespaces, or to a link of ours beside them, leads to a read-back, which finds
what is wrong. What we did ourselves does not: the kernel names the sender of most changes, and of
the others we know which links we were at work on.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import inotify_simple

from fip64agent import hub
from fip64agent.links import events
from fip64agent.links import netns as namespaces
from fip64agent.links.events import Event
from fip64agent.links.kernel import Handle, Handles

LOG = logging.getLogger(__name__)

_SETTLE = 0.2
"""Seconds to gather what belongs together before it is reported."""
_ECHO = 2.0
"""Seconds in which a link that we made or set up may have news by itself: carrier, link-local address."""
_BURST = 256
"""Messages taken at once before other greenthreads get a turn."""


class Monitor:
    """`on_change` is called in a greenthread, not more often than each _SETTLE seconds."""

    def __init__(self, prefix: str, on_change: Callable[[], None]) -> None:
        self._prefix = prefix
        self._on_change = on_change
        self._handles: Handles | None = None
        self._threads: dict[int, tuple[Handle, object]] = {}
        self._working = 0
        self._begun = 0.0
        self._undecided: list[tuple[Handle, Event]] = []
        self._news = hub.Event()
        self._second_look = False
        self._running: list = []
        self._inotify: inotify_simple.INotify | None = None

    def start(self) -> None:
        self._running = [hub.spawn(self._report), hub.spawn(self._watch_names)]

    def stop(self) -> None:
        for thread in (*self._running, *(thread for _, thread in self._threads.values())):
            thread.kill()
        self._running, self._threads = [], {}
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    # -- our own work -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def own_work(self, handles: Handles) -> Iterator[None]:
        """What is done inside, by these sockets or to links that they touched, is our own doing."""
        if not self._working:
            self._begun = time.monotonic()
            for handle in handles.all():
                self._take(handle)  # what came before is judged as such
        self._working += 1
        try:
            yield
        finally:
            for handle in handles.all():
                self._take(handle)
            self._working -= 1
            if not self._working:
                undecided, self._undecided = self._undecided, []
                # Touched only after the news came, maybe: hence the look back.
                strange = any(handle.touched.get(event.index, 0) < self._begun for handle, event in undecided)
                if strange or handles.collateral:
                    handles.collateral = False
                    self._news.set()
                for handle in handles.all():
                    if len(handle.touched) > 2:
                        old = time.monotonic() - _ECHO
                        handle.touched = {key: when for key, when in handle.touched.items() if when > old}

    def follow(self, handles: Handles) -> None:
        """Listen in the namespaces that are open now."""
        self._handles = handles
        if not (handles.changed and self._running):
            return
        handles.changed = False
        wanted = {id(handle): handle for handle in handles.all()}
        for key in [key for key in self._threads if key not in wanted]:
            self._threads.pop(key)[1].kill()
        for key, handle in wanted.items():
            if key not in self._threads:
                self._threads[key] = (handle, hub.spawn(self._listen, handle))

    # -- the kernel's news ------------------------------------------------------------------------

    def _listen(self, handle: Handle) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed
            while True:
                hub.wait_readable(handle.events.fileno())
                self._take(handle)
                hub.sleep(0)

    def _take(self, handle: Handle) -> None:
        """Judge the news that wait in a namespace."""
        for _ in range(_BURST if not self._working else 1 << 20):
            try:
                data = handle.events.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some were lost
                    self._news.set()
                    continue
                return
            for event in events.parse(data, is_agents_own=not handle.name):
                self._judge(handle, event)

    def _judge(self, handle: Handle, event: Event) -> None:
        if event.port in handle.own_ports:
            return
        if self._working:
            self._undecided.append((handle, event))
        elif not (event.echo and handle.touched.get(event.index, 0) > time.monotonic() - _ECHO):
            self._news.set()
        elif not self._second_look:
            # Most likely our own doing, yet somebody may have changed that link just after us.
            self._second_look = True
            self._running.append(hub.spawn(self._look_later))

    def _look_later(self) -> None:
        hub.sleep(_ECHO)
        self._second_look = False
        self._running = [thread for thread in self._running if not thread.dead]
        self._news.set()

    # -- namespaces -------------------------------------------------------------------------------

    def _watch_names(self) -> None:
        while True:
            directory = namespaces.DIRECTORY if namespaces.DIRECTORY.is_dir() else namespaces.DIRECTORY.parent
            try:
                with inotify_simple.INotify() as watch:
                    self._inotify = watch
                    flags = inotify_simple.flags
                    watch.add_watch(directory, flags.CREATE | flags.DELETE | flags.DELETE_SELF)
                    self._names_changed(watch, directory)
            except OSError as error:
                LOG.warning("network namespaces are not watched, only looked at every audit: %s: %s",
                            directory, error)
                hub.sleep(10)

    def _names_changed(self, watch: inotify_simple.INotify, directory: Path) -> None:
        """Report changes, until another directory has to be watched."""
        if directory != namespaces.DIRECTORY:
            while not namespaces.DIRECTORY.is_dir():
                hub.wait_readable(watch.fileno())
                watch.read(timeout=0)
            return
        while True:
            hub.wait_readable(watch.fileno())
            for event in watch.read(timeout=0):
                if event.mask & inotify_simple.flags.IGNORED:  # the directory is gone
                    self._news.set()
                    return
                dropped = event.mask & inotify_simple.flags.Q_OVERFLOW
                if dropped or (event.name.startswith(self._prefix) and not self._our_doing(event)):
                    self._news.set()

    def _our_doing(self, event) -> bool:
        made = bool(event.mask & inotify_simple.flags.CREATE)
        names = self._handles.own_names if self._handles is not None else {}
        if names.get((event.name, made), 0) <= 0:
            return False
        names[event.name, made] -= 1
        if not names[event.name, made]:
            del names[event.name, made]
        return True

    def _report(self) -> None:
        while True:
            self._news.wait()
            hub.sleep(_SETTLE)
            self._news.clear()
            self._on_change()
