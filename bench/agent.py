# SPDX-License-Identifier: Apache-2.0
"""fip64-agent that writes down when it does what.

Run as a script: python agent.py TRACE STAND_INS ADDITIONS --config-file ... It is the daemon as it is, in a
process of its own. Each event goes to the file TRACE, one JSON object a line, with the time by
CLOCK_MONOTONIC in seconds, which all processes of the machine share.

STAND_INS: names of rooms, with commas between them, that only count what they are asked to do ("-": none).
ADDITIONS: so many floating IPs are added, one after the other, once everything is installed; the plan
is given the new topology itself, as by a source that says what changed.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Hashable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

BEGUN = time.monotonic()
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the repository


class CountingRoom:
    """Stands in for a room: knows what it would install, and takes no time to do so."""

    def __init__(self, room) -> None:
        self.name = room.name
        self.kind = "stand-in that counts"
        self._room = room
        self._items: dict[Hashable, object] = {}

    def start(self) -> None: ...

    def close(self) -> None: ...

    def ready(self) -> None: ...

    def expand(self, obj) -> Iterable:
        return self._room.expand(obj)

    def actual(self) -> dict:
        return dict(self._items)

    def apply(self, items: Sequence[tuple]) -> dict:
        self._items.update((item.key, item) for _, item in items)
        return {}

    def prune(self, items: Sequence) -> dict:
        for item in items:
            self._items.pop(item.key, None)
        return {}

    def allocations(self):
        return self._room.allocations()

    def healthy(self) -> None: ...

    def warnings(self) -> list:
        return []

    def clients(self, _router_id: str) -> list:
        return []

    def counters(self) -> dict:
        return {}


class EventLog:
    """Writes down when the agent gets a topology, has a plan, and has done a pass."""

    def __init__(self, path: str, additions: int) -> None:
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 (open as long as the process lives)
        self._additions = additions
        self._complete = False
        self._passed = None
        self.note("started", begun=BEGUN)

    def note(self, event: str, **values) -> None:
        """Write an event down, with the time of now."""
        self._file.write(json.dumps({"event": event, "time": time.monotonic(), **values}) + "\n")

    def watch(self, cls, hub) -> None:
        """Wrap methods of the class Agent, and of what plans for it."""
        from fip64agent.reconcile.planning import Planning

        on_topology, plan, on_pass = Planning.take_topology, Planning._plan, cls._on_pass
        event_log = self

        def logged_topology(self, topology) -> None:
            event_log.note("topology", fips=len(topology.floatingips),
                           child_peak=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
            on_topology(self, topology)

        def logged_plan(self):
            begun = time.monotonic()
            desired = plan(self)
            event_log.note("plan", seconds=time.monotonic() - begun)
            return desired

        def logged_pass(self) -> None:
            on_pass(self)
            event_log.passed(self, hub)

        Planning.take_topology, Planning._plan, cls._on_pass = logged_topology, logged_plan, logged_pass

    def passed(self, agent, hub) -> None:
        """Write a pass down. After the first one that installed everything, add the floating IPs."""
        loop = agent.loop
        settled = loop.settled and not loop.failures and not agent.planning.due
        if settled and not self._complete:
            desired = loop.desired
            self._complete = bool(desired.mappings) and all(
                mapping.downlink_ofport is not None for mapping in desired.mappings.values())
            if self._complete and self._additions:
                hub.spawn(self._add, agent, hub, self._additions)
        self.note("pass", settled=settled, complete=settled and self._complete,
                  seconds=loop.last_pass_seconds, applied=loop.applied, pruned=loop.pruned,
                  installed=loop.counts(), failures=[str(failure.reason) for failure in loop.failures[:3]],
                  fips=len(loop.desired.mappings))
        if self._passed:
            self._passed.set()

    def _add(self, agent, hub, count: int) -> None:
        from bench import scale
        from fip64agent.topology.model import FloatingIP

        hub.sleep(2)  # what the start left behind (garbage, probes) is not what is measured
        before = len(agent.planning._topology.floatingips)
        for number in range(count):
            values = scale.addition(before, number)
            values["floating_ip_address"] = IPv6Address(values["floating_ip_address"])
            values["fixed_ip_address"] = IPv4Address(values["fixed_ip_address"])
            old = agent.planning._topology
            fip = FloatingIP(**values, router_id=scale.uuid(2, number % scale.TENANTS))
            topology = dataclasses.replace(
                old, floatingips=MappingProxyType({**old.floatingips, fip.id: fip}))
            begun = time.monotonic()
            agent.planning.take_topology(topology)
            while not (fip.id in agent.loop.desired.mappings and agent.loop.settled):
                self._passed = hub.Event()
                self._passed.wait()
            self.note("added", seconds=time.monotonic() - begun, fip=str(fip.floating_ip_address))
            hub.sleep(0.05)
        self.note("additions done", garbage=gc.get_stats()[-1])


def main() -> None:
    path, stand_ins, additions = sys.argv[1:4]
    del sys.argv[1:4]
    event_log = EventLog(path, int(additions))
    from fip64agent import hub
    from fip64agent.cmd import agent as program

    run = program.run

    def wired() -> None:
        import fip64agent.agent as module

        rooms_from = module.rooms_from

        def with_stand_ins(*args, **kwargs):
            rooms = rooms_from(*args, **kwargs)
            return {name: CountingRoom(room) if name in stand_ins.split(",") else room
                    for name, room in rooms.items()}

        module.rooms_from = with_stand_ins
        event_log.watch(module.Agent, hub)
        run()

    program.run = wired
    program.main()


if __name__ == "__main__":
    main()
