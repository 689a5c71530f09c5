# SPDX-License-Identifier: Apache-2.0
"""The example of contributor/new-source: the topology file as JSON, read at the start and at each reload."""

from __future__ import annotations

import json

from fip64agent import hub
from fip64agent.topology.base import Sink
from fip64agent.topology.model import KINDS, Key, Unreadable
from fip64agent.topology.schema import build


class JsonSource:
    """A Source, see fip64agent.topology.base."""

    def __init__(self, conf, sink: Sink) -> None:
        self.name = conf.topology.path
        self._sink = sink
        self._reported: set[Key] = set()
        self._due = hub.Event()
        self._thread = None

    def start(self) -> None:
        self._thread = hub.spawn(self._run)

    def stop(self) -> None:
        if self._thread is not None:
            self._thread.kill()

    def reload(self) -> None:
        self._due.set()

    def _run(self) -> None:
        while True:
            self._look()
            self._due.wait()
            self._due.clear()

    def _look(self) -> None:
        try:
            found = hub.offload(self._read)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._sink.report([f"{self.name}: cannot be read: {error!r}"], refused=True)
            return
        gone = self._reported - found.keys()
        try:
            topology = self._sink.update({**found, **dict.fromkeys(gone)})
        except Exception as error:  # the sink has forgotten all; the next update has all anyway
            self._sink.report([f"{self.name}: cannot be taken over: {error!r}"], refused=True)
            return
        self._reported = set(found)
        self._sink.report([f"{self.name}: {kind} {name}: {topology.reason((kind, name))}"
                           for kind, name in topology.faults], refused=False)

    def _read(self) -> dict[Key, object | Unreadable]:
        """Runs in a native thread, as files may be slow."""
        with open(self.name, "rb") as file:
            document = json.load(file)
        return {(kind, item["id"]): build(kind, item) for kind in KINDS for item in document.get(kind, ())}
