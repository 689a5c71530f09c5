# SPDX-License-Identifier: Apache-2.0
"""The vpp driver: one VPP with the fip64 plugin for all tenants of the host.

The managed VPP itself is an item: it is started for the first uplink, and ended after the last one was
removed. A VPP that ended and was started again is empty, which the next read-back finds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import logging
import os
import platform
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import PlanObject
from fip64agent.plan.inputs import Allocations
from fip64agent.process import outcome
from fip64agent.reconcile.explain import Explanation, TracedPath
from fip64agent.translator.base import About, ClientBinding, TracedPacket, Traffic
from fip64agent.translator.explain import check_installed
from fip64agent.translator.vpp import layout, process, readback, tags, trace_packets, trace_tables
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError
from fip64agent.translator.vpp.install import VppInstaller
from fip64agent.translator.vpp.items import RANK, Daemon, Item
from fip64agent.translator.vpp.startup import StartupOptions, options_from
from fip64agent.translator.vpp.state import State
from fip64agent.translator.vpp.supervisor import STARTING, Supervisor
from fip64agent.translator.vpp.traffic import TrafficCounters

LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

_MACHINE_ID = Path("/etc/machine-id")
_START_WAIT = 10.0
"""Seconds that a pass waits for a VPP that is starting; after that the reason is that VPP is starting."""
_ALLOCATIONS_WAIT = 3.0
"""Seconds that the agent's start waits for a VPP that runs already."""
_SHORTEST_WAIT = 0.5
"""Seconds after which a pass does not wait any longer for a VPP that is not starting, or failed to start."""
_POLL = 0.02
"""Seconds between two checks whether VPP is up."""
_NEIGHBOR_AGE = 30
"""Seconds, in a managed VPP: as long as a neighbor counts as reachable in Linux, on average."""


class VppRoom:
    """`options`: see StartupOptions; `supervision`: Supervisor's keyword arguments, but on_up and on_down.

    `on_change`: called when a read-back is worth while.
    `seed`: layout.Site.seed; None: derived from the machine.
    `neighbor_age`: [vpp] neighbor_max_age; None: the default.
    """

    name = "translator"
    kind = "vpp"

    def __init__(self, options: StartupOptions, on_change: Callable[[], None] = lambda: None,
                 seed: bytes | None = None, neighbor_age: int | None = None, **supervision) -> None:
        self._on_change = on_change
        self._run_path = os.path.abspath(options.run_path)
        options = dataclasses.replace(options, run_path=self._run_path)
        self.supervisor = Supervisor(options, on_up=self._is_up, on_down=self._is_down, **supervision)
        managed = self.supervisor.managed
        if neighbor_age is None:  # it holds for all interfaces of a VPP, and an external one has others
            neighbor_age = _NEIGHBOR_AGE if managed else 0
        self._site = layout.Site(machine_seed() if seed is None else seed, self._run_path if managed else "",
                                 neighbor_age)
        self._started = False
        """Whether VPP is wanted, so that the supervisor runs."""
        self._state = State()
        self._state_client: VppClient | None = None
        """The connection over which `_state` was read."""
        self._lock = hub.Semaphore()
        self._working = False
        self._traffic = TrafficCounters(self.supervisor.stats_socket)
        self._watching = hub.Semaphore()

    @classmethod
    def from_conf(cls, conf, on_change: Callable[[], None] = lambda: None) -> VppRoom:
        """Return the room that [vpp] of the configuration describes."""
        vpp = conf.vpp
        return cls(options_from(conf), on_change, launch=vpp.launch, binary=vpp.binary,
                   plugin_path=vpp.plugin_path, api_socket=vpp.api_socket, stats_socket=vpp.stats_socket,
                   start_timeout=vpp.start_timeout, probe_interval=vpp.probe_interval,
                   probe_timeout=vpp.probe_timeout, neighbor_age=vpp.neighbor_max_age)

    # -- start and end of VPP ---------------------------------------------------------------------

    def start(self) -> None:
        if not self.supervisor.managed:
            self._bring_up()

    def close(self) -> None:
        self._started = False
        self.supervisor.close()
        self._traffic.close()

    def ready(self) -> str | None:
        return self.supervisor.ready() if self._started and self.supervisor.client is None else None

    def _bring_up(self) -> None:
        self._started = True
        self.supervisor.start()

    def _is_up(self, client: VppClient) -> None:
        client.subscribe("sw_interface_event", self._interface_changed)
        hub.spawn(self._want_events, client)
        self._on_change()

    def _is_down(self, reason: str) -> None:
        self._traffic.close()
        self._on_change()

    @staticmethod
    def _want_events(client: VppClient) -> None:
        try:
            client.call("want_interface_events", enable_disable=1, pid=os.getpid())
        except (NotReady, VppError) as error:
            LOG.warning("VPP does not tell of changed interfaces, they are only looked at every audit: %s",
                        error)

    def _interface_changed(self, event) -> None:
        if not self._working:
            self._on_change()

    def _running(self) -> bool:
        """Return whether a managed VPP runs, also when another agent has started it."""
        return bool(hub.offload(process.running, self._run_path))

    def _client(self, seconds: float) -> VppClient:
        """Return the connection, waiting for it up to `seconds`. Raises: NotReady with the reason."""
        begun = time.monotonic()
        while (client := self.supervisor.client) is None:
            waited = time.monotonic() - begun
            # ready() has an old reason at first; and the first attempt may take as long as it needs.
            not_soon = (waited > _SHORTEST_WAIT and self.supervisor.ready() != STARTING
                        and (self.supervisor.process is None or self.supervisor.failing))
            if not_soon or waited > seconds or not self._started:
                raise NotReady(self.supervisor.ready() or "VPP is not started")
            hub.sleep(_POLL)
        return client

    # -- expansion and reading back ---------------------------------------------------------------

    def expand(self, obj: PlanObject) -> Iterable[Item]:
        return layout.expand(self._site, obj)

    def actual(self) -> dict[Hashable, Item]:
        with self._lock:
            if not self._started:
                if not self._running():
                    return {}
                self._bring_up()  # adopts it
            client = self._client(_START_WAIT if self.supervisor.managed else 0)
            self._traffic.sample()
            return self._daemon() | self._read(client)

    def _daemon(self) -> dict[Hashable, Item]:
        """Return the item of the managed VPP, if one runs, also when [vpp] launch is external now."""
        if self.supervisor.managed or self._running():
            daemon = Daemon(self._run_path)
            return {daemon.key: daemon}
        return {}

    def _read(self, client: VppClient) -> dict[Hashable, Item]:
        try:
            items, self._state = readback.read(client, bool(self._site.neighbor_age))
        except VppError as error:
            raise NotReady(f"VPP cannot be read back: {error}") from error
        self._state_client = client
        return items

    def remains(self) -> dict[Hashable, Item]:
        """Return the managed VPP, which includes all; or what carries our marks in an external one."""
        found: dict[Hashable, Item] = {}
        if self._running():
            daemon = Daemon(self._run_path)
            found[daemon.key] = daemon
        if not self.supervisor.managed:
            with self._lock:
                self._bring_up()
                found |= self._read(self._client(_ALLOCATIONS_WAIT))
        return found

    def allocations(self) -> Allocations:
        """Return the numbers in a VPP that runs already; none when it does not answer in time."""
        try:
            with self._lock:
                if not self._started:
                    if not self._running():
                        return Allocations()
                    self._bring_up()
                return readback.tables(self._client(_ALLOCATIONS_WAIT)).allocations()
        except (NotReady, VppError) as error:
            LOG.warning("the numbers of tenants and uplinks in force cannot be read back: %s", error)
            return Allocations()

    # -- changing ---------------------------------------------------------------------------------

    def apply(self, items: Sequence[tuple[Item | None, Item]]) -> dict[Hashable, str]:
        if not self._started:
            self._bring_up()
        ordered = sorted((pair for pair in items if not isinstance(pair[1], Daemon)),
                         key=lambda pair: RANK[type(pair[1])])
        return self._change(ordered, lambda pair: type(pair[1]), VppInstaller.install)

    def prune(self, items: Sequence[Item]) -> dict[Hashable, str]:
        if daemons := [item for item in items if isinstance(item, Daemon)]:
            with self._lock:
                reason = self._stop_managed()
            if reason or self.supervisor.managed:
                return dict.fromkeys([item.key for item in daemons], reason) if reason else {}
            items = [item for item in items if not isinstance(item, Daemon)]
        ordered = sorted(items, key=lambda item: -RANK[type(item)])
        return self._change(ordered, type, VppInstaller.remove) if ordered else {}

    def _stop_managed(self) -> str:
        """Stop the managed VPP, and one that was left. Returns why that failed; "" when it did not."""
        managed = self.supervisor.managed
        if managed:
            self._started = False
            self._state_client = None
            self.supervisor.close()
        try:
            for found in hub.offload(process.running, self._run_path):
                hub.offload(found.stop)
                outcome(found.pid)
                LOG.info("VPP (pid %d) is stopped: nothing on this host needs it", found.pid)
            hub.offload(process.clean, StartupOptions(self._run_path))
        except (OSError, TimeoutError) as error:
            return str(error)
        return ""

    def _change(self, ordered: Sequence, kind: Callable, work: Callable) -> dict[Hashable, str]:
        """Call `work` (an VppInstaller's method) for each group of one `kind`; return the failures."""
        with self._lock:
            client = self._client(_START_WAIT)
            if self._state_client is not client:  # VPP has restarted since it was read back
                self._read(client)
            installer = VppInstaller(client, self._state)
            failed: dict[Hashable, str] = {}
            self._working = True
            try:
                for each, group in itertools.groupby(ordered, kind):
                    failed |= work(installer, each, list(group))
            except VppError as error:
                raise NotReady(str(error)) from error
            finally:
                self._working = False
                self._state = installer.state
        if installer.needs_readback:
            self._on_change()
        return failed

    # -- for the operator -------------------------------------------------------------------------

    def healthy(self) -> str | None:
        if not self._started:
            return None
        return self.supervisor.ready() or self.supervisor.problem

    def warnings(self) -> list[str]:
        return self._traffic.warnings() if self._started and self.supervisor.client is not None else []

    def about(self) -> About:
        supervisor = self.supervisor
        client, found = supervisor.client, supervisor.process
        uptime, pid = None, found.pid if found is not None else None
        if found is not None:
            with contextlib.suppress(OSError):
                uptime = found.age
        if client is not None:
            pid = client.local_pid or client.pid
        return About("managed" if supervisor.managed else "external", client.version if client else None,
                     pid, uptime, supervisor.restarts, supervisor.probe.seconds, supervisor.next_start)

    def netns(self, router_id: str) -> str:
        return ""  # VPP separates tenants by tables of its own

    def clients(self, router_id: str) -> list[ClientBinding]:
        tag = tags.tenant(router_id)
        table = next((number for number, name in self._state.tenants.items() if name == tag), None)
        if table is None or not self._started:
            return []
        now = time.time()
        try:
            found = self._client(0).get("fip64_binding_get", cursor_table_id=0, table_id=table,
                                        only_static=False)
        except VppError as error:
            raise NotReady(str(error)) from error
        return [ClientBinding(router_id, each.binding.client, each.binding.pool_address,
                              None if each.is_static else now - each.idle, each.is_static)
                for each in found]

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        return self._ask(self._traffic.tenants) if self._started else {}

    def traffic(self) -> Traffic:
        return self._ask(self._traffic.traffic) if self._started else Traffic()

    def explain(self, traced: TracedPath) -> Explanation:
        if (client := self.supervisor.client) is None:
            return Explanation(there=(check_installed(self, traced),))  # it stops there, with the reason
        return trace_tables.checks(self, client, self._state.interfaces, traced)

    def watch(self, traced: TracedPath, seconds: float) -> list[TracedPacket]:
        if not self._watching.acquire(blocking=False):
            raise NotReady("somebody else watches packets just now: try again when that has ended")
        try:
            return trace_packets.watch(self._client(0), traced, seconds)
        finally:
            self._watching.release()

    def _ask(self, question: Callable[[VppClient], _T]) -> _T:
        """Return what `question` returns, called with the connection. Raises: NotReady."""
        try:
            return question(self._client(0))
        except VppError as error:
            raise NotReady(str(error)) from error


def machine_seed() -> bytes:
    """Return bytes that are different on each host, and the same after a restart."""
    try:
        text = _MACHINE_ID.read_text().strip()
    except OSError:
        text = ""
    return hashlib.sha256(b"fip64" + (text or platform.node()).encode()).digest()
