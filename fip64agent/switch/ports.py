# SPDX-License-Identifier: Apache-2.0
"""Our ports on the bridge: those that the plan's objects need, those that exist, adding and removing."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from fip64agent.plan.desired import ObjectKey
from fip64agent.plan.kinds import kinds
from fip64agent.switch import pipeline
from fip64agent.switch.connection.flooding import Floods
from fip64agent.switch.ovsdb import OvsdbClient
from fip64agent.switch.ovsdb_replica import OwnPort


@dataclasses.dataclass(frozen=True, slots=True)
class PortItem:
    """A port of ours on the bridge."""

    name: str
    mark: str
    error: str | None = None
    """Why OVS cannot use the device; the port must be made anew then."""
    isolated: bool = True
    """NORMAL sends nothing to it."""
    flooded: bool = False
    """FLOOD sends to it."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return pipeline.port_key(self.name)

    def __str__(self) -> str:
        return f"OVS port {self.name}"


def wanted(obj: Any) -> Iterator[PortItem]:
    """Yield the ports that an object of the plan needs, as its kind says."""
    for name in kinds()[obj.kind].ports(obj):
        yield PortItem(name, pipeline.owner_text(obj.key), owner=obj.key)


class Ports:
    """The ports that are ours, in OVSDB and in the switch.

    Only one greenthread at a time may call the methods, except changed().
    """

    def __init__(self, ovsdb: OvsdbClient, floods: Floods) -> None:
        self._ovsdb = ovsdb
        self._floods = floods
        self._known: Mapping[str, OwnPort] | None = None
        """As they were read, and as the agent has changed them since; None: they have not been read yet."""

    def read(self) -> dict[Hashable, PortItem]:
        """Return the ports that carry our mark, by key. Raises: NotReady."""
        flooded = self._floods.flooded()
        own = self._ovsdb.own_ports()
        self._known = dict(own)
        return {pipeline.port_key(port.name): PortItem(port.name, port.mark, port.error, port.isolated,
                                                       port.name in flooded)
                for port in own.values()}

    def add(self, items: Sequence[PortItem]) -> dict[Hashable, str]:
        """Make ports; return the reason for each key that failed. Raises: NotReady."""
        if not items:
            return {}
        failed = self._ovsdb.edit(add=[(item.name, item.mark) for item in items])
        self._note_own_change([item.name for item in items])
        failed |= self._floods.keep_out([item.name for item in items if item.name not in failed])
        return {pipeline.port_key(name): reason for name, reason in failed.items()}

    def remove(self, items: Sequence[PortItem]) -> dict[Hashable, str]:
        """Remove ports; return the reason for each key that failed."""
        names = [item.name for item in items]
        failed = self._ovsdb.edit(delete=names)
        self._note_own_change(names)
        return {pipeline.port_key(name): reason for name, reason in failed.items()}

    def _note_own_change(self, names: Sequence[str]) -> None:
        """Keep these ports as our own change has left them, so that changed() does not report it."""
        if self._known is None:
            return
        own = self._ovsdb.own_ports()
        known = dict(self._known)
        for name in names:
            known.pop(name, None)
            if name in own:
                known[name] = own[name]
        self._known = known

    def changed(self) -> bool:
        """Return whether others have changed our ports since they were read."""
        return self._known is not None and self._known != self._ovsdb.own_ports()
