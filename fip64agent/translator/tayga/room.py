# SPDX-License-Identifier: Apache-2.0
"""The tayga driver: one tayga process per tenant, in the tenant's network namespace."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import PlanObject, Tenant
from fip64agent.plan.inputs import Allocations
from fip64agent.process import BackOff, outcome, program_path, status
from fip64agent.reconcile.explain import Explanation, TracedPath
from fip64agent.translator.base import About, ClientBinding, TracedPacket
from fip64agent.translator.explain import check_client_binding, check_installed
from fip64agent.translator.tayga import config, process
from fip64agent.translator.tayga.config import Instance
from fip64agent.translator.tayga.names import TUN, tenant_netns

LOG = logging.getLogger(__name__)

STEADY = 10.0
"""Seconds after which the end of a tayga does not count as one more in a row."""
CHECK = 2.0
"""Seconds between checks for stopped processes and full pools."""


@dataclasses.dataclass(slots=True)
class _Ends:
    """What is known of the ends of a tenant's tayga."""

    back_off: BackOff = dataclasses.field(default_factory=lambda: BackOff(STEADY))
    reason: str = ""
    """Why the last one ended; "": not known."""


@dataclasses.dataclass(slots=True)
class _Pool:
    """How full a tenant's NAT64 pool was when tayga last wrote its file of bindings."""

    written: int
    """When the file was written, in ns since the epoch."""
    clients: int
    capacity: int | None
    """Clients that the pool has addresses for; None: not known."""

    @property
    def full(self) -> bool:
        return self.capacity is not None and self.clients >= self.capacity


class TaygaRoom:
    """Starts, watches and ends the tayga processes.

    `run_path`: directory for configurations. `state_path`: directory for client bindings, kept over a reboot.
    `binary`: name or path of tayga. `netns_prefix`: what the names of our network namespaces begin with.
    `on_change`: called when a read-back is worth while. `clock`: returns seconds.
    """

    name = "translator"
    kind = "tayga"

    def __init__(self, run_path: str, state_path: str, binary: str, netns_prefix: str,
                 on_change: Callable[[], None] = lambda: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._run_path = os.path.abspath(run_path)
        self._state_path = os.path.abspath(state_path)
        self._binary = binary
        self._prefix = netns_prefix
        self._on_change = on_change
        self._clock = clock
        self._lock = hub.Semaphore()
        self._ends: dict[str, _Ends] = {}
        """By name of the tenant."""
        self._known: dict[tuple[int, str], process.Process] = {}
        """The processes that were found last, by process id and start time."""
        self._scanned = False
        self._watchers: dict[tuple[int, str], object] = {}
        self._pools: dict[str, _Pool] = {}
        self._checker = None
        self._ending: set[int] = set()

    def start(self) -> None:
        self._checker = hub.spawn(self._check_forever)

    def close(self) -> None:
        for thread in (self._checker, *self._watchers.values()):
            if thread is not None:
                thread.kill()
        self._checker, self._watchers = None, {}

    def ready(self) -> str | None:
        if program_path(self._binary) is None:
            return (f"the program {self._binary!r} is not found: install the package tayga, "
                    "or set [tayga] binary")
        return None

    def expand(self, obj: PlanObject) -> Iterator[Instance]:
        if isinstance(obj, Tenant):
            yield config.instance(obj, self._prefix, self._state_path)

    # -- reading back -----------------------------------------------------------------------------

    def actual(self) -> dict[Hashable, Instance]:
        """Return what runs. A process that is stopped, or in a removed namespace, counts as broken."""
        result: dict[Hashable, Instance] = {}
        with self._lock:
            for found in self._scan():
                netns = self._prefix + found.name
                broken = not found.works or found.netns_inode != self._inode(netns)
                item = Instance(found.name, found.name, netns, "broken" if broken else found.digest)
                if item.key in result:  # two processes of one tenant: both must be replaced
                    item = dataclasses.replace(item, digest="several")
                result[item.key] = item
        return result

    def _scan(self) -> list[process.Process]:
        """Return all processes of ours, and watch them."""
        found = hub.offload(lambda: list(process.running(self._run_path)))
        self._scanned = True
        self._known = {(each.pid, each.started): each for each in found}
        for each in found:
            self._watch(each)
        return found

    @staticmethod
    def _inode(netns: str) -> int | None:
        try:
            return os.stat(process.NETNS / netns).st_ino
        except OSError:
            return None

    def allocations(self) -> Allocations:
        """Return no numbers: the links of this driver carry them."""
        return Allocations()

    def remains(self) -> dict[Hashable, Instance]:
        return self.actual()

    # -- changing ---------------------------------------------------------------------------------

    def apply(self, items: Sequence[tuple[Instance | None, Instance]]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        due = []
        for was, item in items:
            ends = self._ends.setdefault(item.name, _Ends())
            if was is None and (wait := ends.back_off.wait(self._clock())) > 0:
                failed[item.key] = (f"tayga died {ends.back_off.ends} times; started again in {wait:.0f} s"
                                    f"{ends.reason and ': '}{ends.reason}")
            else:
                due.append(item)
        if due:
            with self._ending_processes({item.name for item in due}) as processes:
                failed |= hub.offload(self._replace_all, due, processes)
        return failed

    @contextlib.contextmanager
    def _ending_processes(self, names: set[str]) -> Iterator[dict[str, list[process.Process]]]:
        """Return the processes of these tenants, by name; in this context their ends are not reported."""
        with self._lock:
            if not self._scanned:
                self._scan()
            processes: dict[str, list[process.Process]] = {}
            for found in self._known.values():
                if found.name in names:
                    processes.setdefault(found.name, []).append(found)
            self._ending = {found.pid for group in processes.values() for found in group}
            try:
                yield processes
            finally:
                for key in [key for key, found in self._known.items() if found.pid in self._ending]:
                    del self._known[key]
                    if (watcher := self._watchers.pop(key, None)) is not None:
                        watcher.kill()
                self._ending = set()
                for found in self._known.values():
                    self._watch(found)

    def _replace_all(self, items: Sequence[Instance],
                     processes: Mapping[str, Sequence[process.Process]]) -> dict[Hashable, str]:
        program = program_path(self._binary) or self._binary
        failed: dict[str, str] = {}
        launches = []
        for item in items:
            try:
                for found in processes.get(item.name, ()):
                    process.stop(found)
                back_off = self._ends[item.name].back_off
                back_off.forget()  # what ran so far was another process
                launches.append(process.start(program, self._run_path, self._state_path, item))
                back_off.runs(self._clock())
            except (OSError, ValueError) as error:
                failed[item.name] = str(error)
        for name, reason in process.wait_until_attached(launches).items():
            self._note_end(name, reason)
            failed[name] = reason
        by_name = {item.name: item for item in items}
        for launch in launches:
            if launch.name not in failed and launch.started:
                self._known[launch.child.pid, launch.started] = process.Process(
                    launch.child.pid, launch.started, launch.name, by_name[launch.name].digest, "S",
                    self._inode(by_name[launch.name].netns) or 0, True)
        return {by_name[name].key: reason for name, reason in failed.items()}

    def prune(self, items: Sequence[Instance]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}

        def end() -> None:
            for item in items:
                try:
                    for found in processes.get(item.name, ()):
                        process.stop(found)
                    process.remove_files(self._run_path, self._state_path, item.name)
                except OSError as error:
                    failed[item.key] = str(error)

        with self._ending_processes({item.name for item in items}) as processes:
            hub.offload(end)
        for item in items:
            self._ends.pop(item.name, None)
            self._pools.pop(item.name, None)
        return failed

    # -- watching ---------------------------------------------------------------------------------

    def _watch(self, found: process.Process) -> None:
        key = (found.pid, found.started)
        if self._checker is not None and key not in self._watchers:
            self._watchers[key] = hub.spawn(self._wait_for_end, found)

    def _wait_for_end(self, found: process.Process) -> None:
        key = (found.pid, found.started)
        try:
            found.wait()
        except OSError as error:
            LOG.warning("tayga of router %s (pid %d) is not watched: %s", found.name, found.pid, error)
            self._watchers.pop(key, None)  # the next scan tries again
            return
        outcome(found.pid)
        if found.pid in self._ending:
            return
        self._watchers.pop(key, None)
        self._known.pop(key, None)
        LOG.warning("tayga of router %s died (pid %d)", found.name, found.pid)
        self._note_end(found.name, "")
        self._on_change()

    def _note_end(self, name: str, reason: str) -> None:
        ends = self._ends.setdefault(name, _Ends())
        ends.reason = reason
        ends.back_off.ended(self._clock())

    def _check_forever(self) -> None:
        known: list[str] = []
        while True:
            hub.sleep(CHECK)
            hung, full = self._stopped(), self._full()
            for trouble in hung + full:
                if trouble not in known:
                    LOG.warning("%s", trouble)
            if any(trouble not in known for trouble in hung):
                self._on_change()
            known = hung + full

    def _stopped(self) -> list[str]:
        """Return sentences about processes that are stopped; to check a known process takes 20 us."""
        result = []
        for (pid, started), found in list(self._known.items()):
            with contextlib.suppress(OSError):
                state, now_started = status(pid)
                if now_started == started and state in "Tt" and pid not in self._ending:
                    result.append(f"tayga of router {found.name} (pid {pid}) is stopped (state {state})")
        return result

    def _full(self) -> list[str]:
        """Return sentences about pools without a free address when tayga last wrote its bindings."""
        result = []
        for found in list(self._known.values()):
            pool = self._pool(found)
            if pool is not None and pool.full:
                result.append(f"the NAT64 pool of router {found.name} is full: all {pool.capacity} addresses "
                              "have clients; a new one is refused until another was silent for 2 h 4 min")
        return result

    def _pool(self, found: process.Process) -> _Pool | None:
        """Return how full a pool is, None without clients. The file is read only when it has changed."""
        path = self._bindings_file(found.name)
        known = self._pools.get(found.name)
        try:
            written = os.stat(path).st_mtime_ns
            if known is None or known.written != written:
                configuration = process.configuration_file(self._run_path, found.name, found.digest)
                known = _Pool(written, sum(1 for _ in config.bindings("", path.read_text(errors="replace"))),
                              config.capacity(configuration.read_text()))
                self._pools[found.name] = known
        except OSError:  # no client yet
            return None
        return known

    def _bindings_file(self, name: str) -> Path:
        return Path(config.data_directory(self._state_path, name), "dynamic.map")

    # -- for the operator -------------------------------------------------------------------------

    def about(self) -> About:
        return About(launch="managed")

    def traffic(self) -> None:
        """Return None: tayga does not count."""

    def explain(self, traced: TracedPath) -> Explanation:
        return Explanation(there=(check_installed(self, traced), check_client_binding(self, traced)))

    def watch(self, traced: TracedPath, seconds: float) -> list[TracedPacket]:
        raise NotReady("tayga shows no packets; look at its TUN device: "
                       f"ip netns exec {self.netns(traced.tenant.router_id)} tcpdump -ni {TUN}")

    def healthy(self) -> str | None:
        with self._lock:
            lost = [found for found in self._scan() if not found.attached]
        troubles = [f"tayga of router {each.name} (pid {each.pid}) has lost its TUN device" for each in lost]
        troubles += self._stopped() + self._full()
        if len(troubles) > 1:
            return f"{troubles[0]}; and {len(troubles) - 1} more like it"
        return troubles[0] if troubles else None

    def warnings(self) -> list[str]:
        return []

    def netns(self, router_id: str) -> str:
        return tenant_netns(self._prefix, router_id)

    def clients(self, router_id: str) -> list[ClientBinding]:
        """Return the bindings as last saved: tayga saves new ones within a minute, and all when it ends."""
        try:
            path = self._bindings_file(config.instance_name(router_id))
            return list(config.bindings(router_id, path.read_text(errors="replace")))
        except OSError:
            return []

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return the number of clients by tenant; packets are counted by the kernel, at each TUN device."""
        result = {}
        for found in sorted(self._known.values(), key=lambda found: found.name):
            pool = self._pool(found)
            result[found.name] = {"clients": pool.clients if pool is not None else 0}
        return result
