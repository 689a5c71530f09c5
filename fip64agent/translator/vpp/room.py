# SPDX-License-Identifier: Apache-2.0
"""The vpp driver: one VPP with the fip64 plugin for all tenants of the host.

VPP is an item like others: the first uplink brings it up, the last one takes it away. A VPP that died and
came back is empty, which the next read-back finds.
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
from fip64agent.translator.base import About, ClientBinding, Sighting, Traffic
from fip64agent.translator.explain import installed
from fip64agent.translator.vpp import layout, process, readback, tags, trace_packets, trace_tables
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError
from fip64agent.translator.vpp.install import Installer
from fip64agent.translator.vpp.items import RANK, Daemon, Item
from fip64agent.translator.vpp.startup import StartupOptions, options_from
from fip64agent.translator.vpp.state import State
from fip64agent.translator.vpp.supervisor import STARTING, Supervisor
from fip64agent.translator.vpp.traffic import TrafficCounters

LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

_MACHINE_ID = Path("/etc/machine-id")
_COMING_UP = 10.0
"""Seconds that a pass waits for a VPP that is starting; after that it is told as the reason."""
_READ_ALLOCATIONS = 3.0
"""Seconds that the agent's start waits for a VPP that runs already."""
_FIRST_REASON = 0.5
"""Seconds after which a VPP that is not starting, or could not be started before, will not be there soon."""
_LOOK = 0.02
_NEIGHBOUR_AGE = 30
"""Seconds, in a managed VPP: as long as Linux takes a neighbour for reachable, on average."""


class VppRoom:
    """`options`: see StartupOptions; `supervision`: Supervisor's keyword arguments, but on_up and on_down.

    `seed`: what makes this host's choice of pool addresses its own. `neighbour_age`: [vpp] neighbor_max_age.
    """

    name = "translator"
    kind = "vpp"

    def __init__(self, options: StartupOptions, on_change: Callable[[], None] = lambda: None,
                 seed: bytes | None = None, neighbour_age: int | None = None, **supervision) -> None:
        self._on_change = on_change
        self._run_path = os.path.abspath(options.run_path)
        options = dataclasses.replace(options, run_path=self._run_path)
        self.supervisor = Supervisor(options, on_up=self._is_up, on_down=self._is_down, **supervision)
        managed = self.supervisor.managed
        if neighbour_age is None:  # it holds for all interfaces of a VPP, and an external one has others
            neighbour_age = _NEIGHBOUR_AGE if managed else 0
        self._site = layout.Site(machine_seed() if seed is None else seed, self._run_path if managed else "",
                                 neighbour_age)
        self._started = False
        """VPP is wanted: the supervisor works."""
        self._state = State()
        self._state_of: VppClient | None = None
        """Whose state it is."""
        self._lock = hub.Semaphore()
        self._working = False
        self._traffic = TrafficCounters(self.supervisor.stats_socket)
        self._watching = hub.Semaphore()

    @classmethod
    def from_conf(cls, conf, on_change: Callable[[], None] = lambda: None) -> VppRoom:
        """Build one from [vpp] of the configuration."""
        vpp = conf.vpp
        return cls(options_from(conf), on_change, launch=vpp.launch, binary=vpp.binary,
                   plugin_path=vpp.plugin_path, api_socket=vpp.api_socket, stats_socket=vpp.stats_socket,
                   start_timeout=vpp.start_timeout, probe_interval=vpp.probe_interval,
                   probe_timeout=vpp.probe_timeout, neighbour_age=vpp.neighbor_max_age)

    # -- VPP comes and goes -----------------------------------------------------------------------

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
        hub.spawn(self._ask_for_events, client)
        self._on_change()

    def _is_down(self, reason: str) -> None:
        self._traffic.close()
        self._on_change()

    @staticmethod
    def _ask_for_events(client: VppClient) -> None:
        try:
            client.call("want_interface_events", enable_disable=1, pid=os.getpid())
        except (NotReady, VppError) as error:
            LOG.warning("VPP does not tell of changed interfaces, they are only looked at every audit: %s",
                        error)

    def _interface_changed(self, event) -> None:
        if not self._working:
            self._on_change()

    def _running(self) -> bool:
        """Whether a managed VPP of ours runs, whoever started it."""
        return bool(hub.offload(process.running, self._run_path))

    def _client(self, seconds: float) -> VppClient:
        """Return the connection, waiting for it up to `seconds`. Raises: NotReady with the reason."""
        begun = time.monotonic()
        while (client := self.supervisor.client) is None:
            waited = time.monotonic() - begun
            # The first reason is that of the time before; and a first attempt may take as long as it needs.
            not_soon = (waited > _FIRST_REASON and self.supervisor.ready() != STARTING
                        and (self.supervisor.process is None or self.supervisor.failing))
            if not_soon or waited > seconds or not self._started:
                raise NotReady(self.supervisor.ready() or "VPP is not started")
            hub.sleep(_LOOK)
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
            client = self._client(_COMING_UP if self.supervisor.managed else 0)
            self._traffic.look()
            return self._daemon() | self._read(client)

    def _daemon(self) -> dict[Hashable, Item]:
        """The managed VPP, if there is one; a left one too when [vpp] launch is external now."""
        if self.supervisor.managed or self._running():
            daemon = Daemon(self._run_path)
            return {daemon.key: daemon}
        return {}

    def _read(self, client: VppClient) -> dict[Hashable, Item]:
        try:
            items, self._state = readback.read(client, bool(self._site.neighbour_age))
        except VppError as error:
            raise NotReady(f"VPP cannot be read back: {error}") from error
        self._state_of = client
        return items

    def remains(self) -> dict[Hashable, Item]:
        """A managed VPP takes all with it; in an external one, what carries our marks."""
        found: dict[Hashable, Item] = {}
        if self._running():
            daemon = Daemon(self._run_path)
            found[daemon.key] = daemon
        if not self.supervisor.managed:
            with self._lock:
                self._bring_up()
                found |= self._read(self._client(_READ_ALLOCATIONS))
        return found

    def allocations(self) -> Allocations:
        """Return the numbers in a VPP that runs already; none when it does not answer soon."""
        try:
            with self._lock:
                if not self._started:
                    if not self._running():
                        return Allocations()
                    self._bring_up()
                return readback.tables(self._client(_READ_ALLOCATIONS)).allocations()
        except (NotReady, VppError) as error:
            LOG.warning("the numbers of tenants and uplinks in force cannot be read back: %s", error)
            return Allocations()

    # -- changing ---------------------------------------------------------------------------------

    def apply(self, items: Sequence[tuple[Item | None, Item]]) -> dict[Hashable, str]:
        if not self._started:
            self._bring_up()
        ordered = sorted((pair for pair in items if not isinstance(pair[1], Daemon)),
                         key=lambda pair: RANK[type(pair[1])])
        return self._change(ordered, lambda pair: type(pair[1]), Installer.install)

    def prune(self, items: Sequence[Item]) -> dict[Hashable, str]:
        if daemons := [item for item in items if isinstance(item, Daemon)]:
            with self._lock:
                reason = self._end()
            if reason or self.supervisor.managed:
                return dict.fromkeys([item.key for item in daemons], reason) if reason else {}
            items = [item for item in items if not isinstance(item, Daemon)]
        ordered = sorted(items, key=lambda item: -RANK[type(item)])
        return self._change(ordered, type, Installer.remove) if ordered else {}

    def _end(self) -> str:
        """Stop the managed VPP. Returns why it cannot be."""
        managed = self.supervisor.managed
        if managed:
            self._started = False
            self._state_of = None
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
        """Let an installer do its `work` on what is in order, one kind after the other."""
        with self._lock:
            client = self._client(_COMING_UP)
            if self._state_of is not client:  # another VPP than was read back: it is empty
                self._read(client)
            installer = Installer(client, self._state)
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
        return self._asked(self._traffic.tenants) if self._started else {}

    def traffic(self) -> Traffic:
        return self._asked(self._traffic.traffic) if self._started else Traffic()

    def explain(self, traced: TracedPath) -> Explanation:
        if (client := self.supervisor.client) is None:
            return Explanation(there=(installed(self, traced),))  # which says why
        return trace_tables.checks(self, client, self._state.interfaces, traced)

    def watch(self, traced: TracedPath, seconds: float) -> list[Sighting]:
        if not self._watching.acquire(blocking=False):
            raise NotReady("somebody else watches packets just now: try again when that has ended")
        try:
            return trace_packets.watch(self._client(0), traced, seconds)
        finally:
            self._watching.release()

    def _asked(self, question: Callable[[VppClient], _T]) -> _T:
        """Return what VPP answers. Raises: NotReady."""
        try:
            return question(self._client(0))
        except VppError as error:
            raise NotReady(str(error)) from error


def machine_seed() -> bytes:
    """Return what tells this host from others, and is the same after a restart."""
    try:
        text = _MACHINE_ID.read_text().strip()
    except OSError:
        text = ""
    return hashlib.sha256(b"fip64" + (text or platform.node()).encode()).digest()
