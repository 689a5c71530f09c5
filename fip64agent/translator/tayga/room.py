# SPDX-License-Identifier: Apache-2.0
"""The tayga driver: one tayga process per tenant, in the tenant's network namespace."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from fip64agent import hub
from fip64agent.plan.desired import PlanObject, Tenant
from fip64agent.translator.base import ClientBinding
from fip64agent.translator.tayga import config, process
from fip64agent.translator.tayga.config import Instance

LOG = logging.getLogger(__name__)

STEADY = 10.0
"""Seconds that a tayga must have run for its death to count as the first again."""
LONGEST_WAIT = 60.0
CHECK = 2.0
"""Seconds between looks for a stopped (hung) process."""


@dataclasses.dataclass(slots=True)
class _Life:
    """What is known of a tenant's deaths: a crash loop is slowed down, 1, 2, 4 ... 60 s."""

    started: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


class TaygaRoom:
    """`restart_delay`: seconds to gather changes of a tenant before its tayga is restarted with them."""

    name = "translator"
    kind = "tayga"

    def __init__(self, run_path: str, state_path: str, binary: str, netns_prefix: str,
                 restart_delay: float = 0.05, on_change: Callable[[], None] = lambda: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._run_path = os.path.abspath(run_path)
        self._state_path = os.path.abspath(state_path)
        self._binary = binary
        self._prefix = netns_prefix
        self._restart_delay = restart_delay
        self._on_change = on_change
        self._clock = clock
        self._lock = hub.Semaphore()
        self._lives: dict[str, _Life] = {}
        self._watched: dict[tuple[int, str], object] = {}
        self._checker = None
        self._ending: set[int] = set()

    def start(self) -> None:
        self._checker = hub.spawn(self._check_forever)

    def close(self) -> None:
        for thread in (self._checker, *self._watched.values()):
            if thread is not None:
                thread.kill()
        self._checker, self._watched = None, {}

    def ready(self) -> str | None:
        if self._program() is None:
            return (f"the program {self._binary!r} is not found: install the package tayga, "
                    "or set [tayga] binary")
        return None

    def _program(self) -> str | None:
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
        return shutil.which(self._binary, path=path)

    def expand(self, obj: PlanObject) -> Iterator[Instance]:
        if isinstance(obj, Tenant) and obj.translator == self.kind:
            yield config.instance(obj, self._state_path)

    # -- reading back -----------------------------------------------------------------------------

    def actual(self) -> dict[Hashable, Instance]:
        """Return what runs and works; a process in a dead namespace, or stopped, does not count."""
        result: dict[Hashable, Instance] = {}
        for found in hub.offload(self._running, lock=self._lock):
            netns = self._prefix + found.router_id
            self._watch(found)
            broken = not found.works or found.netns_inode != self._inode(netns)
            item = Instance(found.router_id, netns, "broken" if broken else found.digest)
            if item.key in result:  # two of one tenant: neither is right
                item = dataclasses.replace(item, digest="several")
            result[item.key] = item
        return result

    def _running(self) -> list[process.Process]:
        return list(process.running(self._run_path))

    @staticmethod
    def _inode(netns: str) -> int | None:
        try:
            return os.stat(process.NETNS / netns).st_ino
        except OSError:
            return None

    # -- changing ---------------------------------------------------------------------------------

    def apply(self, items: Sequence[tuple[Instance | None, Instance]]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        due = []
        for was, item in items:
            life = self._lives.setdefault(item.router_id, _Life())
            if was is None and (wait := life.not_before - self._clock()) > 0:
                failed[item.key] = f"tayga died {life.deaths} times; started again in {wait:.0f} s"
            else:
                due.append(item)
        if not due:
            return failed
        with self._lock:
            ours = hub.offload(self._running)
            self._ending = {found.pid for found in ours}
            try:
                failed.update(hub.offload(self._replace_all, due, ours))
            finally:
                self._ending = set()
            for found in hub.offload(self._running):
                self._watch(found)
        return failed

    def _replace_all(self, items: Sequence[Instance], ours: Sequence[process.Process]) -> dict[Hashable, str]:
        program = self._program() or self._binary
        failed = {}
        for item in items:
            try:
                for found in ours:
                    if found.router_id == item.router_id:
                        process.stop(found)
                process.start(program, self._run_path, self._state_path, item.router_id, item.netns,
                              item.digest, item.text)
                self._lives[item.router_id].started = self._clock()
            except (OSError, ValueError) as error:
                self._died(item.router_id)
                failed[item.key] = str(error)
        return failed

    def prune(self, items: Sequence[Instance]) -> dict[Hashable, str]:
        gone = {item.router_id for item in items}

        def end() -> None:
            for found in ours:
                if found.router_id in gone:
                    process.stop(found)
            for router_id in gone:
                process.forget(self._run_path, self._state_path, router_id)

        with self._lock:
            ours = hub.offload(self._running)
            self._ending = {found.pid for found in ours if found.router_id in gone}
            try:
                hub.offload(end)
            finally:
                self._ending = set()
        for router_id in gone:
            self._lives.pop(router_id, None)
        return {}

    # -- deaths -----------------------------------------------------------------------------------

    def _watch(self, found: process.Process) -> None:
        key = (found.pid, found.started)
        if self._checker is not None and key not in self._watched:
            self._watched[key] = hub.spawn(self._wait_for_death, found)

    def _wait_for_death(self, found: process.Process) -> None:
        try:
            pidfd = os.pidfd_open(found.pid)
        except OSError:
            self._watched.pop((found.pid, found.started), None)
            self._on_change()
            return
        try:
            hub.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        self._watched.pop((found.pid, found.started), None)
        process.reap(found.pid)
        if found.pid in self._ending:
            return
        LOG.warning("tayga of router %s died (pid %d)", found.router_id, found.pid)
        self._died(found.router_id)
        self._on_change()

    def _died(self, router_id: str) -> None:
        life = self._lives.setdefault(router_id, _Life())
        now = self._clock()
        life.deaths = 1 if now - life.started > STEADY else life.deaths + 1
        # The first death is repaired at once.
        life.not_before = now + (0 if life.deaths < 2 else min(LONGEST_WAIT, 2 ** (life.deaths - 2)))

    def _check_forever(self) -> None:
        known: str | None = None
        while True:
            hub.sleep(CHECK)
            trouble = self.healthy()
            if trouble and trouble != known:
                LOG.warning("%s", trouble)
                self._on_change()
            known = trouble

    # -- for the operator -------------------------------------------------------------------------

    def healthy(self) -> str | None:
        for found in hub.offload(self._running):
            if found.pid in self._ending or found.state == "Z":
                continue
            what = f"tayga of router {found.router_id} (pid {found.pid})"
            if not found.attached:
                return f"{what} has lost its TUN device"
            if not found.works:
                return f"{what} is stopped (state {found.state})"
        return None

    def clients(self, router_id: str) -> list[ClientBinding]:
        """As last saved: tayga writes its file when a client is new and when it ends."""
        path = Path(config.data_directory(self._state_path, router_id), "dynamic.map")
        try:
            return list(config.bindings(router_id, path.read_text(errors="replace")))
        except OSError:
            return []

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Packets and bytes through each tenant's TUN device are counted by the kernel, not by tayga."""
        tenants = {found.router_id for found in hub.offload(self._running)}
        return {router_id: {"clients": len(self.clients(router_id))} for router_id in sorted(tenants)}
