# SPDX-License-Identifier: Apache-2.0
"""What a topology source is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fip64agent.exceptions import TopologyError
from fip64agent.topology.model import Topology

OnTopology = Callable[[Topology], None]
OnError = Callable[[TopologyError | None], None]


class Source(Protocol):
    """Reports each topology in whole. Both callbacks run in a greenthread of the source.

    `on_topology(topology)`: the first one, and each that differs from the one before; objects
    that did not change are the same objects. `on_error(error)`: the source cannot be used now,
    and the topology reported last stays in force; `on_error(None)`: it can be used again.
    """

    def start(self) -> None:
        """Begin to report; returns at once. Raises nothing: what is wrong goes to on_error."""

    def stop(self) -> None:
        """Report nothing any more. May be called twice, and before start()."""

    def reload(self) -> None:
        """Look at once (SIGHUP). Safe in a greenthread; reports come as usual."""
