# SPDX-License-Identifier: Apache-2.0
"""Notices when others change links, addresses, routes, rules or namespaces of ours.

What happens in our namespaces, or to a link of ours outside of them, leads to a read-back, which finds
what is wrong. What we did ourselves does not: the kernel names the sender of most changes, and for
the other changes we know which links we were working on.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import inotify_simple

from fip64agent import hub
from fip64agent.links import events
from fip64agent.links import netns as namespaces
from fip64agent.links.events import Event
from fip64agent.links.kernel import Handle, Handles

LOG = logging.getLogger(__name__)

_SETTLE = 0.2
"""Seconds in which changes are gathered before they are reported together."""
_FOLLOW_UP = 2.0
"""Seconds in which a link that we made or set up may change by itself: carrier, link-local address."""
_MOST_MESSAGES = 256
"""Messages taken at once before other greenthreads get a turn."""


class Monitor:
    """Watches all namespaces that are open.

    `prefix`: what the names of our namespaces begin with.
    `own_links`: the names of our links in the agent's own namespace.
    `on_change`: called in a greenthread when others have changed something, at most once in _SETTLE seconds.
    """

    def __init__(self, prefix: str, own_links: Container[str], on_change: Callable[[], None]) -> None:
        self._prefix = prefix
        self._own_links = own_links
        self._on_change = on_change
        self._handles: Handles | None = None
        self._threads: dict[int, tuple[Handle, object]] = {}
        self._working = 0
        self._work_begun = 0.0
        self._undecided: list[tuple[Handle, Event]] = []
        self._changed = hub.Event()
        self._check_pending = False
        self._running: list = []
        self._inotify: inotify_simple.INotify | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._running = [hub.spawn(self._report), hub.spawn(self._watch_names)]

    def stop(self) -> None:
        """Watch no more."""
        for thread in (*self._running, *(thread for _, thread in self._threads.values())):
            thread.kill()
        self._running, self._threads = [], {}
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    # -- our own work -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def own_work(self, handles: Handles) -> Iterator[None]:
        """Do not report, in this context, what these sockets change, nor changes of links that they touch."""
        if not self._working:
            self._work_begun = time.monotonic()
            for handle in handles.all():
                self._read_events(handle)  # what happened before is not our work
        self._working += 1
        try:
            yield
        finally:
            for handle in handles.all():
                self._read_events(handle)
            self._working -= 1
            if not self._working:
                undecided, self._undecided = self._undecided, []
                # Decided only now: a link may have been noted as touched after its event came.
                by_others = any(handle.touched.get(event.index, 0) < self._work_begun
                                for handle, event in undecided)
                if by_others or handles.side_effects:
                    handles.side_effects = False
                    self._changed.set()
                for handle in handles.all():
                    if len(handle.touched) > 2:
                        old = time.monotonic() - _FOLLOW_UP
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

    # -- the kernel's events ----------------------------------------------------------------------

    def _listen(self, handle: Handle) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed
            while True:
                hub.wait_readable(handle.events.fileno())
                self._read_events(handle)
                hub.sleep(0)

    def _read_events(self, handle: Handle) -> None:
        """Handle the events that wait in the socket of a namespace."""
        for _ in range(_MOST_MESSAGES if not self._working else 1 << 20):
            try:
                data = handle.events.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some were lost
                    self._changed.set()
                    continue
                return
            for event in events.parse(data, None if handle.name else self._own_links):
                self._handle_event(handle, event)

    def _handle_event(self, handle: Handle, event: Event) -> None:
        if event.port in handle.own_ports:
            return
        if self._working:
            self._undecided.append((handle, event))
        elif not (event.follow_up and handle.touched.get(event.index, 0) > time.monotonic() - _FOLLOW_UP):
            self._changed.set()
        elif not self._check_pending:
            # Most likely it follows from our own change, but others may have changed that link just after us.
            self._check_pending = True
            self._running.append(hub.spawn(self._report_later))

    def _report_later(self) -> None:
        hub.sleep(_FOLLOW_UP)
        self._check_pending = False
        self._running = [thread for thread in self._running if not thread.dead]
        self._changed.set()

    # -- namespaces -------------------------------------------------------------------------------

    def _watch_names(self) -> None:
        while True:
            directory = namespaces.DIRECTORY if namespaces.DIRECTORY.is_dir() else namespaces.DIRECTORY.parent
            try:
                with inotify_simple.INotify() as watch:
                    self._inotify = watch
                    flags = inotify_simple.flags
                    watch.add_watch(directory, flags.CREATE | flags.DELETE | flags.DELETE_SELF)
                    self._report_name_changes(watch, directory)
            except OSError as error:
                LOG.warning("network namespaces are not watched, only looked at every audit: %s: %s",
                            directory, error)
                hub.sleep(10)

    def _report_name_changes(self, watch: inotify_simple.INotify, directory: Path) -> None:
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
                    self._changed.set()
                    return
                dropped = event.mask & inotify_simple.flags.Q_OVERFLOW
                if dropped or (event.name.startswith(self._prefix) and not self._is_our_change(event)):
                    self._changed.set()

    def _is_our_change(self, event) -> bool:
        """Whether an inotify event is about a name that we made or removed; each is counted once."""
        made = bool(event.mask & inotify_simple.flags.CREATE)
        names = self._handles.own_name_changes if self._handles is not None else {}
        if names.get((event.name, made), 0) <= 0:
            return False
        names[event.name, made] -= 1
        if not names[event.name, made]:
            del names[event.name, made]
        return True

    def _report(self) -> None:
        while True:
            self._changed.wait()
            hub.sleep(_SETTLE)
            self._changed.clear()
            self._on_change()
