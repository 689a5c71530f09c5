# SPDX-License-Identifier: Apache-2.0
"""What a topology source is, and whom it reports to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from fip64agent.topology.model import Key, Resource, Topology, Unreadable
from fip64agent.topology.resources import Changes


class Sink(Protocol):
    """Takes what a source reports. To be called in greenthreads of the source, but for known()."""

    def known(self, key: Key) -> Resource | Unreadable | None:
        """Return the form of a resource that was reported last. Safe in any thread."""

    def update(self, changes: Changes) -> Topology:
        """Take over changed resources, and return the topology that is in force then, with its faults.

        changes: by (kind, id); None for what is gone. The first call has all resources there are; one without
        any change says that the source was read and is as it was. A resource that the source has but that
        cannot be read is reported as Unreadable.

        Raises: what went wrong in the agent. What was in force stays, and what was reported is forgotten: the
        next call has all resources there are.
        """

    def report(self, problems: Iterable[object], refused: bool) -> None:
        """Take all that is wrong now, each as a sentence (str()) that says where; none: all is right.

        refused: the source as a whole cannot be used now; what was reported last stays in force. Else
        the faults of single resources, told with their places in the source.
        """


class Source(Protocol):
    """Reports the resources of a topology to a Sink, and what is wrong with them.

    Entry points of the group ``fip64agent.topology.sources`` name callables that make one of (conf: an
    oslo.config ConfigOpts, sink: Sink). Raises: ConfigError.
    """

    name: str
    """What people know it by: a file's path, for example."""

    def start(self) -> None:
        """Begin to report; returns at once. Raises nothing: what is wrong is reported."""

    def stop(self) -> None:
        """Report nothing any more. May be called twice, and before start()."""

    def reload(self) -> None:
        """Look at once (SIGHUP). Safe in a greenthread; reports come as usual."""
