# SPDX-License-Identifier: Apache-2.0
"""Announces addresses that are new here: an unsolicited Neighbor Advertisement (RFC 4861, section 7.2.6)
and an MLD report for the solicited-node group (RFC 3810), as the kernel's own report may have come before
the flows that let it out.

Three times each, a second apart; the first ones go before all repetitions, and all are paced, so that
many new floating IPs do not flood the uplink.
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


class Announcer:
    """Sends announcements while it has any. `clock` in seconds."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._wanted: dict[Hashable, tuple[Announcement, ...]] = {}
        self._rounds: list[collections.deque[tuple[float, Hashable, tuple[Announcement, ...], int]]] = [
            collections.deque() for _ in range(ROUNDS)]
        self._due = hub.Event()
        self._thread = None
        self.sent = 0

    def start(self) -> None:
        self._thread = hub.spawn(self._run)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.kill()
            self._thread = None

    def announce(self, key: Hashable, announcements: tuple[Announcement, ...]) -> None:
        """Announce what the flow `key` lets in, from now on."""
        self._wanted[key] = announcements
        now = self._clock()
        self._rounds[0].extend((now, key, announcements, index) for index in range(len(announcements)))
        self._due.set()

    def cancel(self, key: Hashable) -> None:
        """The flow is gone: the address may be somewhere else now, and is not announced any more."""
        self._wanted.pop(key, None)

    def next_due(self, count: int) -> list[Announcement]:
        """Return at most `count` that are due, first ones first, and plan their repetition."""
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
                        self._connection.send(packet_out(announcement.ofport, data))
                    self.sent += 1
            except NotReady:
                pass  # when the connection is back, neighbours learn from the repetition or by asking
            except Exception:
                LOG.exception("an announcement failed")
            hub.sleep(PAUSE)
