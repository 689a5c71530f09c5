# SPDX-License-Identifier: Apache-2.0
"""What the loop knows about a room, and when a room that cannot work is asked again."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Hashable

from fip64agent.reconcile.room import Item, Room

LOG = logging.getLogger(__name__)

READY_INTERVAL = 0.5
"""Seconds between two calls of ready() of a room that said that it cannot work."""
LONGEST_WAIT = 60.0
"""Seconds. A room that is ready() but cannot be read back or changed is tried after 0.5, 1, 2, 4 ... seconds,
and at last after so many."""
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
        self.installed: dict[Hashable, Item] | None = None
        """What is installed: as it was read back, with the changes since. None: it has to be read back."""
        self.blocked: str | None = NOT_ASKED
        """Why the room cannot work; None: it can."""
        self.failures: dict[Hashable, Failure] = {}
        """By the key of the item."""
        self.users: Counter[Hashable] = Counter()
        """How often the plan that was last compared wants each shared item, by key."""
        self.retry_at = 0.0
        """While `installed` is None: when the room is asked again, by the loop's clock in seconds."""
        self._tries = 0
        self._found = hash(frozenset())
        """Hash of the keys of what was read back last: the keys themselves are too many to keep."""

    @property
    def name(self) -> str:
        return self.room.name

    def next_time(self) -> list[float]:
        """Return the times, by the loop's clock, at which there is something to do here without a trigger."""
        if self.installed is None:  # its failures have to wait until it can be read back
            return [self.retry_at]
        return [failure.due for failure in self.failures.values()]

    def due(self) -> bool:
        """Return whether a pass has something to do here now. In a room that is not ready it has not."""
        now = self._clock()
        return any(time <= now for time in self.next_time()) and (
            self.installed is not None or self.is_ready())

    def is_ready(self) -> bool:
        """Ask the room whether it can work, note the answer, and return it."""
        reason = self.room.ready()
        if reason is not None:
            self._block(reason, READY_INTERVAL)
        return reason is None

    def note_ready(self) -> None:
        """Log what the room waits for. For the time before the first plan, when nothing is read back yet."""
        if self.is_ready():
            self.blocked, self.retry_at = NOT_ASKED, 0.0

    def note_refusal(self, reason: str) -> None:
        """Note that the room could not be read back or changed, although it was ready()."""
        wait = min(LONGEST_WAIT, READY_INTERVAL * 2 ** min(self._tries, 16))
        self._tries += 1
        self._block(reason, wait)

    def note_read_back(self, actual: dict[Hashable, Item]) -> None:
        """Note what the room has. When that has changed, the next wait after a refusal is short again."""
        if (found := hash(frozenset(actual))) != self._found:
            self._found, self._tries = found, 0
        if self.blocked and self.blocked != NOT_ASKED:
            LOG.info("%s works again", self.name)
        self.blocked = None

    def note_pass(self) -> None:
        """Note that a pass has ended. In a room that worked, the next wait after a refusal is short again."""
        if self.installed is not None:
            self._tries = 0

    def _block(self, reason: str, wait: float) -> None:
        if reason != self.blocked:
            LOG.warning("%s cannot work now: %s", self.name, reason)
        self.blocked, self.installed = reason, None
        self.retry_at = self._clock() + wait
