# SPDX-License-Identifier: Apache-2.0
"""What the loop knows about a room, and when a room that cannot work is asked again."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Hashable

from fip64agent.reconcile.room import Item, Room

LOG = logging.getLogger(__name__)

BLOCKED_LOOK = 0.5
"""Seconds between two calls of ready() of a room that said that it cannot work. Such a call is no pass."""
LONGEST_WAIT = 60.0
"""A room that is ready() and yet cannot be read back or changed is tried after 0.5, 1, 2, 4 ... so many s."""
NOT_ASKED = "not asked yet"


@dataclasses.dataclass(slots=True)
class Failure:
    """An item that could not be installed or removed."""

    room: str
    item: Item
    removing: bool
    reason: str
    tries: int
    due: float
    """When it is tried again, by the loop's clock in seconds."""


class RoomState:
    """A room, what is installed in it, and what could not be."""

    def __init__(self, room: Room, clock: Callable[[], float]) -> None:
        """`clock`: the loop's, in seconds."""
        self.room = room
        self._clock = clock
        self.known: dict[Hashable, Item] | None = None
        """What is installed, as read back and as changed since; None: has to be read back."""
        self.blocked: str | None = NOT_ASKED
        self.failures: dict[Hashable, Failure] = {}
        self.retry_at = 0.0
        """While nothing is known: when the room is asked again."""
        self._tries = 0
        self._found = hash(frozenset())
        """Hash of the keys of what was read back last: the keys themselves are too many to keep."""

    @property
    def name(self) -> str:
        return self.room.name

    def next_time(self) -> list[float]:
        """Return the times at which there is something to do, although nothing happens until then."""
        if self.known is None:  # its failures have to wait until it can be read back
            return [self.retry_at]
        return [failure.due for failure in self.failures.values()]

    def due(self) -> bool:
        """Whether a pass has something to do here now. A room that says that it cannot work has nothing."""
        now = self._clock()
        return any(time <= now for time in self.next_time()) and (self.known is not None or self.look())

    def look(self) -> bool:
        """Ask the room whether it can work; return whether it can."""
        reason = self.room.ready()
        if reason is not None:
            self._block(reason, BLOCKED_LOOK)
        return reason is None

    def ask(self) -> None:
        """Tell once what the room waits for, before the first plan, which may wait for that itself."""
        if self.look():
            self.blocked, self.retry_at = NOT_ASKED, 0.0

    def refused(self, reason: str) -> None:
        """Note that the room could not be read back or changed, although it was ready()."""
        wait = min(LONGEST_WAIT, BLOCKED_LOOK * 2 ** min(self._tries, 16))
        self._tries += 1
        self._block(reason, wait)

    def read_back(self, actual: dict[Hashable, Item]) -> None:
        """Note what the room has. When that is more or less than before, it is not made to wait longer."""
        if (found := hash(frozenset(actual))) != self._found:
            self._found, self._tries = found, 0
        if self.blocked and self.blocked != NOT_ASKED:
            LOG.info("%s works again", self.name)
        self.blocked = None

    def worked(self) -> None:
        """Note that a pass has ended: a room that it could use starts anew with short waits."""
        if self.known is not None:
            self._tries = 0

    def _block(self, reason: str, wait: float) -> None:
        if reason != self.blocked:
            LOG.warning("%s cannot work now: %s", self.name, reason)
        self.blocked, self.known = reason, None
        self.retry_at = self._clock() + wait
