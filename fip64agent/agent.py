# SPDX-License-Identifier: Apache-2.0
"""Wires the rooms together and starts and stops them. No logic of its own."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping

from fip64agent import hub
from fip64agent.admin.api import AdminServer
from fip64agent.admin.metrics import MetricsServer
from fip64agent.conf import reading, settings_from
from fip64agent.conf.unknown import unknown_names
from fip64agent.exceptions import ConfigError, NotReady, TopologyError
from fip64agent.links.gateways import Gateways
from fip64agent.links.room import LinksRoom
from fip64agent.plan.desired import Desired, Uplink
from fip64agent.plan.inputs import Allocations, Inputs, Interface
from fip64agent.plan.journal import journal
from fip64agent.plan.planner import plan, replan
from fip64agent.reconcile.loop import Loop
from fip64agent.switch.room import SwitchRoom
from fip64agent.systemd import Systemd
from fip64agent.topology.feed import Feed
from fip64agent.topology.model import Topology
from fip64agent.topology.sources import source_from
from fip64agent.translator import VPP, choose, translator_from
from fip64agent.translator.vpp import startup

LOG = logging.getLogger(__name__)

FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds until planning is tried again after a failure; doubled each time."""


def rooms_from(conf, on_change=lambda name: None, on_interfaces=lambda interfaces: None,
               translator: str | None = None) -> dict:
    """Build the rooms by name, in the order in which things are made. `translator`: as choose() says."""
    return {
        "links": LinksRoom(netns_prefix=conf.tayga.netns_prefix, on_change=lambda: on_change("links")),
        "translator": translator_from(conf, translator or choose(conf).name,
                                      on_change=lambda: on_change("translator")),
        "switch": SwitchRoom.from_conf(conf, on_change=lambda: on_change("switch"),
                                       on_interfaces=on_interfaces),
    }


class Agent:
    """The daemon: topology and bound ports in, installed state out."""

    def __init__(self, conf) -> None:
        """Raises: ConfigError."""
        self.conf = conf
        self.started_at = time.time()
        self.inputs: Inputs | None = None
        self.topology_error: TopologyError | None = None
        self.topology_loaded_at: float | None = None
        self._topology: Topology | None = None
        self._interfaces: Mapping[str, Interface] | None = None
        self.choice = choose(conf)
        self._settings = settings_from(conf, self.choice.name)
        if self.choice.name == VPP:
            startup.check(conf)
        self._plan_due = hub.Event()
        self._stopping = hub.Event()
        self._started = False
        self._reload_due = False
        """A reload was asked for while the agent was starting."""
        self._systemd = Systemd()
        self.rooms = rooms_from(conf, lambda name: self.loop.invalidate(name), self._on_interfaces,
                                self.choice.name)
        self.loop = Loop(list(self.rooms.values()), on_pass=self._on_pass)
        self.loop.configure(conf)
        self.gateways = Gateways(self._uplinks, conf.reconcile.gateway_interval,
                                 lambda: not self.loop.settled)
        self._feed = Feed(self._settings.nat64_pool, self._on_topology, self._on_topology_error)
        self._source = source_from(conf, self._feed)
        self.topology_path = self._source.name
        self._admin = AdminServer(self, conf.admin.socket)
        self.metrics = MetricsServer(self, conf.metrics.host, conf.metrics.port)

    # -- start and stop ---------------------------------------------------------------------

    def run(self) -> None:
        """Start everything and serve until stop(). Raises: Fip64Error when it cannot start."""
        self._admin.start()  # first: it finds another agent before anything is touched
        try:
            self.metrics.start()
            for room in self.rooms.values():
                room.start()
            self.gateways.start()
            self._source.start()
            threads = [hub.spawn(self._plan_forever), hub.spawn(self.loop.run),
                       hub.spawn(self._systemd.keep_alive, self._alive)]
            self._systemd.ready("waiting for the topology and for Open vSwitch")
            LOG.info("started: bridge %s, topology %s, translator %s (%s), admin socket %s",
                     self.conf.ovs.bridge, self.topology_path, self.choice.name, self.choice.reason,
                     self.conf.admin.socket)
            self._started = True
            if self._reload_due:
                self.reload()
            self._stopping.wait()
            LOG.info("stopping; what is installed %s",
                     "is removed" if self.conf.teardown_on_stop else "stays, and traffic with it")
            self._systemd.stopping()
            for thread in threads:
                thread.kill()
            if self.conf.teardown_on_stop:
                remove_all(self.rooms)
        finally:
            self._source.stop()
            self.gateways.stop()
            for room in reversed(self.rooms.values()):
                room.close()
            self.metrics.stop()
            self._admin.stop()

    def stop(self) -> None:
        """Leave run(). What is installed stays, unless [DEFAULT] teardown_on_stop is set."""
        self._stopping.set()

    def reload(self) -> None:
        """Take over what can change at run time: mutable options and the topology."""
        if not self._started:
            self._reload_due = True
            return
        LOG.info("reloading the configuration and the topology")
        self._systemd.reloading()
        try:
            self._settings = reading.reload(self.conf, self.choice.name)
            self.loop.configure(self.conf)
            for sentence in unknown_names(self.conf):
                LOG.warning("%s", sentence)
        except ConfigError as error:
            LOG.error("the configuration is not reloaded, the old one stays in force: %s", error)
        self._feed.set_default_pool(self._settings.nat64_pool)
        self._source.reload()
        self._plan_due.set()
        self.loop.invalidate_all()
        self._systemd.ready("reloaded")

    def _alive(self) -> bool:
        return self.loop.alive

    # -- from triggers to a plan ------------------------------------------------------------

    def _on_topology(self, topology: Topology) -> None:
        self._topology = topology
        self.topology_loaded_at = time.time()
        self._plan_due.set()

    def _on_topology_error(self, error: TopologyError | None) -> None:
        self.topology_error = error

    def _on_interfaces(self, interfaces: Mapping[str, Interface]) -> None:
        self._interfaces = interfaces
        self._plan_due.set()

    def _plan_forever(self) -> None:
        retry: float | None = None
        while True:
            self._plan_due.wait(retry)
            self._plan_due.clear()
            if self._topology is None or self._interfaces is None:
                continue
            try:
                self._plan_once()  # its variables go with it: a plan that is not in force any more is large
                retry = None
            except Exception:
                # What a plan needs may be hard to read just now, the numbers in force at the start above all.
                retry = min(2 * retry, LONGEST_RETRY) if retry else FIRST_RETRY
                LOG.exception("no plan could be made of this topology; the last plan stays in force; it is "
                              "tried again in %g s", retry)

    def _plan_once(self) -> None:
        before, desired = self.loop.desired, self._plan()
        for line in journal(before, desired):
            LOG.info("%s", line)
        self.loop.submit(desired)
        self.rooms["switch"].announce_failovers(before, desired)

    def _plan(self) -> Desired:
        before, previous = self.inputs, self.loop.desired
        allocations = in_force(self.rooms) if before is None else previous.allocations
        inputs = Inputs(self._topology, self._interfaces, self._settings, allocations)
        desired = plan(inputs) if before is None else replan(previous, before, inputs)
        self.inputs = dataclasses.replace(inputs, allocations=desired.allocations)
        return desired

    def _uplinks(self) -> list[tuple[Uplink, bool]]:
        """The uplinks of the plan, each with whether it is installed, so that its gateways can answer."""
        return [(uplink, uplink.nd_veth_ofport is not None and self.loop.carried_out(uplink))
                for uplink in self.loop.desired.uplinks.values()]

    def _on_pass(self) -> None:
        self.gateways.look_soon()
        desired = self.loop.desired
        self._systemd.status(f"{len(desired.mappings)} FIPs, {len(desired.uplinks)} uplinks, "
                             f"{len(self.loop.failures)} failures")


def in_force(rooms: Mapping) -> Allocations:
    """Return the numbers that tenants and uplinks have, as the rooms read them back."""
    found = Allocations()
    for room in rooms.values():
        if (read := getattr(room, "allocations", None)) is not None:
            found |= read()
    return found


def left(room) -> dict:
    """Return what fip64-cleanup has to remove. What goes with another thing need not be listed.

    Raises: NotReady.
    """
    return getattr(room, "remains", room.actual)()


def remove_all(rooms: Mapping) -> list[str]:
    """Remove all that carries our marks, flows first; return what could not be removed, in words."""
    problems = []
    for name, room in reversed(rooms.items()):
        try:
            if not hasattr(room, "remains") and (reason := room.ready()):
                raise NotReady(reason)
            items = left(room)
        except NotReady as error:
            problems.append(f"{name}: {error}")
            continue
        failed = room.prune(list(items.values()))
        problems += [f"{name}: {items[key]}: {reason}" for key, reason in failed.items()]
        LOG.info("%s: %d removed", name, len(items) - len(failed))
    return problems
