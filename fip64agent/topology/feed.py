# SPDX-License-Identifier: Apache-2.0
"""The sink of the source in use: from its reports to topologies and to an error that lists all faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network

from fip64agent import hub
from fip64agent.exceptions import TopologyError
from fip64agent.topology.model import Key, Resource, Topology, Unreadable
from fip64agent.topology.resources import Changes, Resources

OnTopology = Callable[[Topology], None]
OnError = Callable[[TopologyError | None], None]


class Feed:
    """A Sink (see base.py).

    on_topology(topology): the first one, and each that differs from the one before.
    on_error(error): what is wrong, when that is something else than before; None: nothing any more.
    Both are called in the greenthread that reports.
    """

    def __init__(self, default_pool: IPv4Network, on_topology: OnTopology, on_error: OnError) -> None:
        """default_pool: of routers without a nat64_pool of their own."""
        self._resources = Resources(default_pool)
        self._on_topology = on_topology
        self._on_error = on_error
        self._lock = hub.Semaphore()
        self._topology: Topology | None = None
        self._said: tuple[bool, str] | None = None

    def known(self, key: Key) -> Resource | Unreadable | None:
        kind, item_id = key
        return self._resources.newest[kind].get(item_id)

    def update(self, changes: Changes) -> Topology:
        try:
            topology = hub.offload(self._resources.update, changes, lock=self._lock)
            self._publish(topology)
        except Exception:
            # Nobody knows which of the changes are settled: the source reports all once more.
            self._resources = Resources(self._resources.default_pool, self._topology or Topology())
            raise
        return topology

    def set_default_pool(self, pool: IPv4Network) -> None:
        """Take over another default pool (the configuration was reloaded)."""
        topology = hub.offload(self._resources.update, {}, pool, lock=self._lock)
        if self._topology is not None:
            self._publish(topology)

    def report(self, problems: Iterable[object], refused: bool) -> None:
        error = TopologyError(problems, refused)
        said = (refused, str(error)) if error.problems else None
        if said != self._said:
            self._said = said
            self._on_error(error if said is not None else None)

    def _publish(self, topology: Topology) -> None:
        if topology is not self._topology:
            self._on_topology(topology)
            self._topology = topology
