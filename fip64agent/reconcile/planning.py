# SPDX-License-Identifier: Apache-2.0
"""Makes a plan when the topology, an interface or a setting has changed, and gives it to the loop."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from fip64agent import hub
from fip64agent.exceptions import TopologyError
from fip64agent.plan.changes import describe_changes
from fip64agent.plan.desired import Desired, Uplink
from fip64agent.plan.inputs import Allocations, Datapath, Inputs, Interface, Settings
from fip64agent.plan.planner import plan, replan
from fip64agent.reconcile.loop import Loop
from fip64agent.reconcile.room import Room
from fip64agent.topology.model import Topology

LOG = logging.getLogger(__name__)

FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds until planning is tried again after a failure; doubled each time."""
DATAPATH_WAIT = 3.0
"""Seconds that the first plan waits, at most, until it is known what the bridge's datapath can do."""


class Planning:
    """Keeps what plans are made from, and makes a new plan when something of it has changed."""

    def __init__(self, loop: Loop, rooms: Iterable[Room], settings: Settings,
                 on_plan: Callable[[Desired, Desired], None] = lambda before, after: None) -> None:
        """`on_plan` is called with the plan before and the new one, after the loop has got it."""
        self._loop = loop
        self._rooms = list(rooms)
        self._settings = settings
        self._on_plan = on_plan
        self._topology: Topology | None = None
        self._interfaces: Mapping[str, Interface] | None = None
        self._datapath: Datapath | None = None
        self._datapath_known = hub.Event()
        self._due = hub.Event()
        self.inputs: Inputs | None = None
        """What the plan in force was made from; None before the first."""
        self.topology_error: TopologyError | None = None
        """Why the topology that the source has now is not the one in force."""
        self.topology_loaded_at: float | None = None
        """Seconds since the epoch; None before the first good topology."""

    def take_topology(self, topology: Topology) -> None:
        """Plan with this topology from now on."""
        self._topology = topology
        self.topology_loaded_at = time.time()
        self._due.set()

    def take_topology_error(self, error: TopologyError | None) -> None:
        """Note why there is no newer topology; None: the one in force is the newest."""
        self.topology_error = error

    def take_interfaces(self, interfaces: Mapping[str, Interface]) -> None:
        """Plan with these interfaces of the bridge, by name, from now on."""
        self._interfaces = interfaces
        self._due.set()

    def take_datapath(self, datapath: Datapath) -> None:
        """Plan with this datapath of the bridge from now on."""
        if datapath != self._datapath:
            self._datapath = datapath
            self._datapath_known.set()
            self._due.set()

    def take_settings(self, settings: Settings) -> None:
        """Plan with these settings from now on."""
        self._settings = settings
        self._due.set()

    @property
    def due(self) -> bool:
        """Whether something has changed that is not in the plan in force yet."""
        return self._due.is_set()

    def run(self) -> None:
        """Plan for ever. A plan that cannot be made leaves the last one in force and is tried again."""
        # Without the datapath the first plan would lack what was installed before the agent was restarted:
        # that would be removed, and installed again.
        self._datapath_known.wait(DATAPATH_WAIT)
        retry: float | None = None
        while True:
            self._due.wait(retry)
            self._due.clear()
            if self._topology is None or self._interfaces is None:
                continue
            try:
                self._plan_once()  # a function, so that no variable here keeps the plan before alive
                retry = None
            except Exception:
                # The numbers in force, which the first plan needs, may be impossible to read just now.
                retry = min(2 * retry, LONGEST_RETRY) if retry else FIRST_RETRY
                LOG.exception("no plan could be made of this topology; the last plan stays in force; it is "
                              "tried again in %g s", retry)

    def _plan_once(self) -> None:
        before, desired = self._loop.desired, self._plan()
        for line in describe_changes(before, desired):
            LOG.info("%s", line)
        self._loop.submit(desired)
        self._on_plan(before, desired)

    def _plan(self) -> Desired:
        before, previous = self.inputs, self._loop.desired
        allocations = allocations_in_force(self._rooms) if before is None else previous.allocations
        inputs = Inputs(self._topology, self._interfaces, self._settings, allocations, self._datapath)
        desired = plan(inputs) if before is None else replan(previous, before, inputs)
        self.inputs = dataclasses.replace(inputs, allocations=desired.allocations)
        return desired

    def uplinks(self) -> list[tuple[Uplink, bool]]:
        """Return the plan's uplinks, each with whether it is installed: only then can its gateways answer."""
        return [(uplink, uplink.nd_veth_ofport is not None and self._loop.carried_out(uplink))
                for uplink in self._loop.desired.uplinks.values()]


def allocations_in_force(rooms: Iterable[Room]) -> Allocations:
    """Return the numbers that objects have now, as the rooms read them back. Raises: what the rooms raise."""
    found = Allocations()
    for room in rooms:
        if (read := getattr(room, "allocations", None)) is not None:
            found |= read()
    return found
