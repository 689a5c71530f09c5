# SPDX-License-Identifier: Apache-2.0
"""Announces addresses that are new here: an unsolicited Neighbor Advertisement (RFC 4861, section 7.2.6)
and an MLD report for the solicited-node group (RFC 3810), since the kernel may have sent its own report
before the flows that let it out were there.

Each is sent three times, a second apart. First announcements go before all repetitions, and all are paced, so
that many new floating IPs do not flood the uplink.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable, Hashable

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.net.announcements import membership_report, unsolicited_advertisement
from fip64agent.switch.connection.app import Connection
from fip64agent.switch.connection.packet_in import packet_out
from fip64agent.switch.flows.flow import Announcement

LOG = logging.getLogger(__name__)

ROUNDS = 3
INTERVAL = 1.0
"""Seconds between two for the same address (RetransTimer)."""
RATE = 500
"""Addresses a second, of all uplinks together."""
PAUSE = 0.02
"""Seconds between two groups of announcements."""


class Announcer:
    """Sends announcements, while there are any, in a greenthread. `clock`: returns the time in seconds."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._wanted: dict[Hashable, tuple[Announcement, ...]] = {}
        self._rounds: list[collections.deque[tuple[float, Hashable, tuple[Announcement, ...], int]]] = [
            collections.deque() for _ in range(ROUNDS)]
        self._due = hub.Event()
        self._thread = None
        self.sent = 0
        """How many addresses were announced, repetitions included."""

    def start(self) -> None:
        """Begin to send."""
        self._thread = hub.spawn(self._run)

    def close(self) -> None:
        """Send no more."""
        if self._thread is not None:
            self._thread.kill()
            self._thread = None

    def announce(self, key: Hashable, announcements: tuple[Announcement, ...]) -> None:
        """Announce, now and repeatedly, the addresses that the flow with that key lets in."""
        self._wanted[key] = announcements
        now = self._clock()
        self._rounds[0].extend((now, key, announcements, index) for index in range(len(announcements)))
        self._due.set()

    def cancel(self, key: Hashable) -> None:
        """Announce no more for a flow that was removed: the addresses may be somewhere else now."""
        self._wanted.pop(key, None)

    def next_due(self, count: int) -> list[Announcement]:
        """Return at most `count` announcements that are due, and plan their repetitions.

        First announcements come before repetitions.
        """
        now = self._clock()
        result: list[Announcement] = []
        for number, waiting in enumerate(self._rounds):
            while waiting and len(result) < count and waiting[0][0] <= now:
                _, key, announcements, index = waiting.popleft()
                if self._wanted.get(key) is not announcements:
                    continue
                result.append(announcements[index])
                if number + 1 < ROUNDS:
                    self._rounds[number + 1].append((now + INTERVAL, key, announcements, index))
                elif index + 1 == len(announcements):
                    del self._wanted[key]
        return result

    def _run(self) -> None:
        while True:
            if not any(self._rounds):
                self._due.clear()
                self._due.wait()
            try:
                for announcement in self.next_due(int(RATE * PAUSE)):
                    for build in (membership_report, unsolicited_advertisement):
                        data = build(announcement.mac, announcement.address)
                        self._connection.send(packet_out((announcement.ofport,), data))
                    self.sent += 1
            except NotReady:
                pass  # neighbors learn from a repetition after the reconnect, or solicit
            except Exception:
                LOG.exception("an announcement failed")
            hub.sleep(PAUSE)
