# SPDX-License-Identifier: Apache-2.0
"""The topology from a YAML file, followed with inotify."""

from __future__ import annotations

import logging
import os
import time

from fip64agent import hub
from fip64agent.exceptions import TopologyError
from fip64agent.topology.base import Sink, Source
from fip64agent.topology.file.entries import Contents
from fip64agent.topology.file.problems import Problem, Refused, problems, refused
from fip64agent.topology.file.read import read
from fip64agent.topology.file.watch import PathWatch
from fip64agent.topology.file.worker import Loaded, Worker, digest_of
from fip64agent.topology.model import Topology

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
unless no more than this is new in them (reader.read_again())."""
_SIZE = 0  # in what _status() returns


def source_from(conf, sink: Sink) -> Source:
    """Return the source for ``[topology] path``: an entry point, see base.Source."""
    return FileSource(conf.topology.path, conf.topology.max_size, sink)


class FileSource:
    """A Source (see base.py) that reads `path`; `max_size` in MiB.

    A file that cannot be read is reported with all that is wrong in it. A file that is written in place
    is read when its writer closes it.
    """

    def __init__(self, path: str, max_size: int, sink: Sink) -> None:
        self.name = path
        self._path = path
        self._max_size = max_size
        self._sink = sink
        self._thread = None
        self._reloads: list = []
        self._watch: PathWatch | None = None
        self._lock = hub.Semaphore()
        self._worker = Worker()
        self._loader: hub.NativeThread | None = None
        """One thread for all loads: what malloc keeps of a large one, the next one uses again."""
        self._digest: bytes | None = None
        """Of the content read last; None when it has to be read once more."""
        self._contents: Contents | None = None
        """Of the content in use, which may be an older one."""
        self._found: tuple[tuple[Problem, ...], bool] = (), False
        """What is wrong in the content read last, and whether it could not be used at all."""
        self._seen: tuple | None = None
        self._last_poll: tuple | None = None

    def start(self) -> None:
        if self._thread is None:
            self._loader = hub.NativeThread("topology")
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
            self._reloads.append(hub.spawn(self._look, True))

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
        if self._contents is not None and hub.offload(_status, self._path) is None:
            return first + GRACE
        return min(last + SETTLE, first + SETTLE_LIMIT)

    def _polled(self) -> bool:
        """Whether the file is another than the one read last, and not changing any more."""
        now = hub.offload(_status, self._path)
        settled, self._last_poll = now == self._last_poll, now
        return settled and now != self._seen

    def _look(self, in_any_case: bool = False) -> None:
        """Read the file, and report what is new. Raises nothing.

        in_any_case: even if its content is the same: what is wrong in it may depend on the configuration.
        """
        with self._lock:
            if in_any_case:
                self._digest = None
            try:
                found, unusable = self._read()
            except TopologyError as error:
                found, unusable = error.problems, True
            except Exception:
                LOG.exception("%s: cannot be read", self._path)
                error = refused(self._path, "cannot be read: internal error, see the log")
                found, unusable = error.problems, True
            try:
                self._sink.report(found, unusable)
            except Exception:
                LOG.exception("%s: what is wrong could not be reported", self._path)

    def _read(self) -> tuple[tuple[Problem, ...], bool]:
        """Read the file and report what changed; return what is wrong, and whether it cannot be used at all.

        Raises: TopologyError when it cannot be read.
        """
        self._seen = hub.offload(_status, self._path)
        loaded = self._loader.run(self._load)
        if loaded.digest == self._digest:
            return self._found
        self._digest = None  # until it is known what is wrong in this content
        if loaded.contents is None:
            self._found = loaded.refusal, True
        elif (topology := self._take_over(loaded)) is not None:
            self._found = self._loader.run(self._problems, topology, loaded.contents), False
        else:
            error = refused(self._path, "cannot be taken over: internal error, see the log")
            self._found = error.problems, True
        self._digest = loaded.digest
        return self._found

    def _load(self) -> Loaded:
        """Runs in a native thread. Raises: TopologyError when the file cannot be read."""
        large = self._seen is not None and self._seen[_SIZE] > IN_PLACE_LIMIT
        known = self._contents if self._contents is not None and self._contents.digests else None
        if large and known is None:
            return self._worker.load(self._path, self._max_size, self._digest, self._sink.known)
        data = read(self._path, self._max_size)
        digest = digest_of(data)
        if digest == self._digest:
            return Loaded(digest)
        from fip64agent.topology.file import reader  # brings pydantic, some 10 MB

        try:
            again = reader.read_again(data, known, IN_PLACE_LIMIT) if known is not None else None
        except Exception:
            LOG.exception("%s: parsed as a whole, as what is new in it cannot be told", self._path)
            again = None
        if again is not None:
            return Loaded(digest, *again)
        if large:
            return self._worker.load(self._path, self._max_size, self._digest, self._sink.known)
        try:
            return Loaded(digest, *reader.read_whole(data))
        except Refused as error:
            return Loaded(digest, refusal=problems(self._path, error.found,
                                                   reader.lines_of(data, error.found)))

    def _take_over(self, loaded: Loaded) -> Topology | None:
        """Report what changed; return the topology that is in force then, None when that failed."""
        before, self._contents = self._contents, loaded.contents
        changes: dict = dict(loaded.forms)
        if before is not None and before.ids != loaded.contents.ids:
            changes.update(dict.fromkeys(set(before.resources()).difference(loaded.contents.resources())))
        try:
            return self._sink.update(changes)
        except Exception:
            LOG.exception("%s: what was read could not be taken over", self._path)
            self._contents = None  # the sink has forgotten all: it gets all of the next content
            return None

    def _problems(self, topology: Topology, contents: Contents) -> tuple[Problem, ...]:
        """Return all that is wrong in the file, with lines. Runs in a native thread."""
        if not contents.found and not topology.faults:
            return ()
        from fip64agent.topology.file import loader, reader

        found = loader.all_found(contents, topology)
        lines = reader.lines_of(read(self._path, self._max_size), found, contents.ids) if found else {}
        return problems(self._path, found, lines)


def _status(path: str) -> tuple | None:
    """Return what changes with the file's content; None without a file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
