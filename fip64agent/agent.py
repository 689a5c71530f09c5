# SPDX-License-Identifier: Apache-2.0
"""Wires the rooms together and starts and stops them. No logic of its own."""

from __future__ import annotations

import logging
import time

from fip64agent import extensions, hub
from fip64agent.admin.api import AdminServer
from fip64agent.admin.metrics import MetricsServer
from fip64agent.conf import reading, settings_from
from fip64agent.conf.unknown import unknown_names
from fip64agent.exceptions import ConfigError, TopologyError
from fip64agent.links.gateways import Gateways
from fip64agent.links.room import LinksRoom
from fip64agent.plan.changes import count_objects
from fip64agent.plan.inputs import Inputs
from fip64agent.reconcile.loop import Loop
from fip64agent.reconcile.planning import Planning
from fip64agent.reconcile.removal import remove_all
from fip64agent.switch.room import SwitchRoom
from fip64agent.systemd import Systemd
from fip64agent.topology.feed import Feed
from fip64agent.topology.sources import source_from
from fip64agent.translator import choose, driver, fixed_settings, netns_prefix, translator_from

LOG = logging.getLogger(__name__)


def rooms_from(conf, on_change=lambda name: None, on_interfaces=lambda interfaces: None,
               on_datapath=lambda datapath: None, translator: str | None = None) -> dict:
    """Return the rooms by name, in the order in which things are made.

    `conf`: an oslo_config.cfg.ConfigOpts with all our options. `on_change`: called with a room's name when it
    should be read back. `on_interfaces`: called with the bridge's interfaces by name. `on_datapath`:
    called with what its datapath can do. `translator`: the name of the driver; None: as choose() says.
    Raises: ConfigError.
    """
    name, prefix = translator or choose(conf).name, netns_prefix(conf)
    return {
        "links": LinksRoom(prefix, driver(name).layout(prefix), on_change=lambda: on_change("links")),
        "translator": translator_from(conf, name, on_change=lambda: on_change("translator")),
        "switch": SwitchRoom.from_conf(conf, on_change=lambda: on_change("switch"),
                                       on_interfaces=on_interfaces, on_datapath=on_datapath),
    }


class Agent:
    """The daemon: topology and bound ports in, installed state out."""

    def __init__(self, conf) -> None:
        """Take the configuration, an oslo_config.cfg.ConfigOpts. Raises: ConfigError."""
        extensions.check()
        self.conf = conf
        self.started_at = time.time()
        self.choice = choose(conf)
        driver(self.choice.name).check(conf)
        self._stopping = hub.Event()
        self._started = False
        self._reload_due = False
        """A reload was asked for while the agent was starting."""
        self._systemd = Systemd()
        self.rooms = rooms_from(
            conf, on_change=lambda name: self.loop.invalidate(name),
            on_interfaces=lambda interfaces: self.planning.take_interfaces(interfaces),
            on_datapath=lambda datapath: self.planning.take_datapath(datapath),
            translator=self.choice.name)
        self.loop = Loop(list(self.rooms.values()), on_pass=self._on_pass)
        self.loop.configure(conf)
        settings = settings_from(conf, fixed_settings(conf, self.choice.name))
        self.planning = Planning(self.loop, self.rooms.values(), settings, self.rooms["switch"].plan_changed)
        self.gateways = Gateways(self.planning.uplinks, conf.reconcile.gateway_interval,
                                 lambda: not self.loop.settled)
        self._feed = Feed(settings.nat64_pool, self.planning.take_topology, self.planning.take_topology_error)
        self._source = source_from(conf, self._feed)
        self.topology_path = self._source.name
        self._admin = AdminServer(self, conf.admin.socket)
        self.metrics = MetricsServer(self, conf.metrics.host, conf.metrics.port)

    # What the admin room asks for

    @property
    def inputs(self) -> Inputs | None:
        """What the plan in force was made from; None before the first."""
        return self.planning.inputs

    @property
    def topology_error(self) -> TopologyError | None:
        """What is wrong with the topology as the source has it now (see TopologyError); None: nothing."""
        return self.planning.topology_error

    @property
    def topology_loaded_at(self) -> float | None:
        """Seconds since the epoch; None before the first good topology."""
        return self.planning.topology_loaded_at

    # Start and stop

    def run(self) -> None:
        """Start everything and serve until stop(). Raises: Fip64Error when it cannot start."""
        self._admin.start()  # first: it finds another agent before anything is touched
        try:
            self.metrics.start()
            for room in self.rooms.values():
                room.start()
            self.gateways.start()
            self._source.start()
            threads = [hub.spawn(self.planning.run), hub.spawn(self.loop.run),
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
            settings = reading.reload(self.conf, fixed_settings(self.conf, self.choice.name))
            # Nothing is planned between these two: the topology is right for the pool of the settings only.
            self._feed.set_default_pool(settings.nat64_pool)
            self.planning.take_settings(settings)
            self.loop.configure(self.conf)
            for sentence in unknown_names(self.conf):
                LOG.warning("%s", sentence)
        except ConfigError as error:
            LOG.error("the configuration is not reloaded, the old one stays in force: %s", error)
        self._source.reload()
        self.loop.invalidate_all()
        self._systemd.ready("reloaded")

    def _alive(self) -> bool:
        return self.loop.alive

    def _on_pass(self) -> None:
        self.gateways.check_soon()
        self._systemd.status(count_objects(self.loop.desired, len(self.loop.failures)))
