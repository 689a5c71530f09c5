# SPDX-License-Identifier: Apache-2.0
"""The topology from a YAML file, followed with inotify."""

from __future__ import annotations

import logging
import os
import time

from fip64agent import hub
from fip64agent.exceptions import TopologyError
from fip64agent.topology.base import OnError, OnTopology
from fip64agent.topology.entries import Index
from fip64agent.topology.model import Topology
from fip64agent.topology.read import read, refused
from fip64agent.topology.reuse import reuse
from fip64agent.topology.watch import PathWatch
from fip64agent.topology.worker import Loaded, Worker, digest_of

LOG = logging.getLogger(__name__)

SETTLE = 0.02
"""Seconds without an event until the file is read: a change often comes as several events."""
SETTLE_LIMIT = 0.2
"""Seconds after which it is read even so."""
GRACE = 0.3
"""Seconds that a file may be missing: editors move it away before they write the new one."""
POLL = 5.0
"""Seconds between looks at the file's status, for what inotify does not see (NFS, bind mounts)."""
IN_PLACE_LIMIT = 512 * 1024
"""Bytes up to which a document is parsed in the daemon (some 70 ms); larger ones in a child,
unless no more than this is new in them (see incremental.py)."""
_SIZE = 0  # in what _status() returns


class FileSource:
    """A Source (see base.py) that reads `path`; `max_size` in MiB.

    A file that cannot be used is reported with all that is wrong in it; what was reported last
    stays in force. A file that is written in place is read when its writer closes it.
    """

    def __init__(self, path: str, max_size: int, on_topology: OnTopology, on_error: OnError) -> None:
        self._path = path
        self._max_size = max_size
        self._on_topology = on_topology
        self._on_error = on_error
        self._thread = None
        self._reloads: list = []
        self._watch: PathWatch | None = None
        self._lock = hub.Semaphore()
        self._worker = Worker()
        self._loader: hub.Worker | None = None
        """One thread for all loads: what malloc keeps of a large one, the next one uses again."""
        self._topology: Topology | None = None
        self._index: Index | None = None
        """Of the topology, when its file is large."""
        self._digest: bytes | None = None
        """Of the content read last, and what was wrong with it:"""
        self._refusal: TopologyError | None = None
        self._reported: TopologyError | None = None
        self._seen: tuple | None = None
        self._last_poll: tuple | None = None

    def start(self) -> None:
        if self._thread is None:
            self._loader = hub.Worker("topology")
            self._thread = hub.spawn(self._run)

    def stop(self) -> None:
        threads, self._thread, self._reloads = [self._thread, *self._reloads], None, []
        for thread in threads:
            if thread is not None:
                thread.kill()
        self._worker.stop()
        if self._loader is not None:
            self._loader.close()
        self._close_watch()

    def reload(self) -> None:
        if self._thread is not None:
            self._reloads = [thread for thread in self._reloads if not thread.dead]
            self._reloads.append(hub.spawn(self._look))

    def _run(self) -> None:
        while True:
            try:
                if self._watch is None:
                    self._watch = hub.offload(PathWatch, self._path)
                self._look()
                self._wait()
                hub.offload(self._watch.follow)
            except Exception as error:
                # Too many inotify instances or watches, most likely: look at times without it.
                LOG.warning("%s: cannot be watched, looking every %s s instead: %s", self._path, POLL, error)
                self._close_watch()
                self._look()
                hub.sleep(POLL)

    def _close_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _wait(self) -> None:
        """Return when the file should be read again."""
        watch, first, last = self._watch, 0.0, 0.0
        while True:
            waiting = not first or watch.writing
            timeout = POLL if waiting else self._due(first, last) - time.monotonic()
            if timeout <= 0:
                return
            if hub.wait_readable(watch.fileno(), timeout):
                if watch.changed():
                    last = time.monotonic()
                    first = first or last
                    hub.offload(watch.follow)
            elif waiting and self._polled():
                return

    def _due(self, first: float, last: float) -> float:
        """Return when to read the file after events at `first` to `last`; monotonic time in seconds."""
        if self._topology is not None and hub.offload(_status, self._path) is None:
            return first + GRACE
        return min(last + SETTLE, first + SETTLE_LIMIT)

    def _polled(self) -> bool:
        """Whether the file is another than the one read last, and not changing any more."""
        now = hub.offload(_status, self._path)
        settled, self._last_poll = now == self._last_poll, now
        return settled and now != self._seen

    def _look(self) -> None:
        """Read the file, and report what is new. Raises nothing."""
        with self._lock:
            topology, error = self._topology, None
            try:
                self._seen = hub.offload(_status, self._path)
                loaded = self._loader.run(self._load)
                if loaded.digest != self._digest:
                    self._digest = loaded.digest
                    self._refusal = TopologyError(loaded.problems) if loaded.problems else None
                    if loaded.topology is not None:
                        topology, self._index = loaded.topology, loaded.index
                error = self._refusal
            except TopologyError as refusal:
                error = refusal
            except Exception:
                LOG.exception("%s: cannot be read", self._path)
                error = refused(self._path, "cannot be read: internal error, see the log")
            self._report(topology, error)

    def _load(self) -> Loaded:
        """Runs in a native thread. Raises: TopologyError when the file cannot be read."""
        if self._seen is not None and self._seen[_SIZE] > IN_PLACE_LIMIT:
            return self._load_again() or self._worker.load(
                self._path, self._max_size, self._digest, self._topology)
        data = read(self._path, self._max_size)
        digest = digest_of(data)
        if digest == self._digest:
            return Loaded(digest, None, ())
        from fip64agent.topology.loader import parse  # brings pydantic, which large files never need here

        try:
            topology = parse(data, self._path)
        except TopologyError as error:
            return Loaded(digest, None, error.problems)
        return Loaded(digest, topology if self._topology is None else reuse(self._topology, topology), ())

    def _load_again(self) -> Loaded | None:
        """Load a large file of which little is new; None when it must be parsed as a whole."""
        if self._index is None:
            return None
        data = read(self._path, self._max_size)
        digest = digest_of(data)
        if digest == self._digest:
            return Loaded(digest, None, ())
        try:
            from fip64agent.topology.incremental import load_again  # brings pydantic, some 10 MB

            index = load_again(data, self._index, IN_PLACE_LIMIT)
        except Exception:
            LOG.exception("%s: parsed as a whole, as what is new in it cannot be told", self._path)
            return None
        return None if index is None else Loaded(digest, index.topology, (), index)

    def _report(self, topology: Topology | None, error: TopologyError | None) -> None:
        try:
            if error is None and topology is not self._topology:
                self._topology = topology
                self._on_topology(topology)
            if str(error) != str(self._reported):
                self._reported = error
                self._on_error(error)
        except Exception:
            LOG.exception("%s: what was read could not be taken over", self._path)


def _status(path: str) -> tuple | None:
    """Return what changes with the file's content; None without a file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
