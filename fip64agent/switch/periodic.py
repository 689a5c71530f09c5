# SPDX-License-Identifier: Apache-2.0
"""Sends what services send without being asked: Router Advertisements, at random intervals.

An object of the plan has a turn when it appears, when it has changed, when its time has come, and a last one
when it goes. Its service says what is sent then, and how long it is until the next turn (services/base.py).
Between turns nothing runs, however many objects there are.
"""

from __future__ import annotations

import heapq
import logging
import random
import time
from collections.abc import Callable

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import Desired, ObjectKey
from fip64agent.plan.difference import changed_keys
from fip64agent.services.base import Event, Occasion, Service, Turn, services
from fip64agent.switch.connection.packet_in import packet_out

LOG = logging.getLogger(__name__)

MOST_AT_ONCE = 10
"""Turns after which there is a pause of PAUSE seconds: when an agent starts, all objects appear at once."""
PAUSE = 0.02
RETRY = 1.0
"""Seconds until turns are taken again when the switch was not connected."""
LATEST_GONE = 10.0
"""Seconds after which the last turn of an object is left out: its ports may be somebody else's by then."""
FAULT_PAUSE = 60.0
"""Seconds until the next turn of an object after its service raised an exception, and between two lines in
the log about the same service."""

Key = tuple[str, ObjectKey]
"""Name of a service's flow feature, and an object's key."""


class _Sending:
    """What is known of an object that sends."""

    __slots__ = ("at", "due", "last", "new", "number", "old", "service")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.old = None
        """The object as it was at its last turn; None: it has had none."""
        self.new = None
        """The object as it is now; None: it is gone."""
        self.at: float | None = None
        """When its next turn is, by the clock; None: when it changes or goes."""
        self.due: float | None = None
        """When its next turn is if it does not change before."""
        self.last = float("-inf")
        """When it sent last."""
        self.number = 0
        """Turns since it appeared, or since it changed."""

    @property
    def event(self) -> Event:
        if self.new is None:
            return Event.GONE
        if self.old is None:
            return Event.APPEARED
        return Event.DUE if self.new is self.old else Event.CHANGED


class Sender:
    """Keeps the times of turns, and takes them in a greenthread.

    `send`: sends OpenFlow messages; it may wait, and raises NotReady. `clock`: returns the time in seconds.
    `between`: returns a random number between two, which are equally distributed.
    """

    def __init__(self, send: Callable[[bytes], None], clock: Callable[[], float] = time.monotonic,
                 between: Callable[[float, float], float] = random.uniform) -> None:
        self._send, self._clock, self._between = send, clock, between
        self._services: dict[str, list[Service]] = {}
        """By the kind of their objects; those that send without being asked."""
        for service in services().values():
            if service.unsolicited is not None:
                self._services.setdefault(service.kind, []).append(service)
        self._sending: dict[Key, _Sending] = {}
        self._turns: list[tuple[float, Key]] = []
        """A heap. Those that are not at the time that the object has now are passed over."""
        self._logged: dict[str, float] = {}
        self._due = hub.Event()
        self._thread = None

    def start(self) -> None:
        """Begin to send."""
        self._thread = hub.spawn(self._run)

    def close(self) -> None:
        """Send no more. Objects have no last turn: what they announced stays true."""
        if self._thread is not None:
            self._thread.kill()
            self._thread = None

    def plan_changed(self, before: Desired, after: Desired) -> None:
        """Plan turns of the objects that differ between the two plans, or are in one of them only."""
        now = self._clock()
        for kind, found in self._services.items():
            old, new = before.of(kind), after.of(kind)
            for name in changed_keys(old, new):
                obj = new.get(name)
                key = (obj or old[name]).key
                for service in found:
                    self._change((service.feature, key), service, obj, now)
                self._due.set()

    def _change(self, key: Key, service: Service, obj, now: float) -> None:
        state = self._sending.setdefault(key, _Sending(service))
        state.new = obj
        if state.old is None and obj is None:  # it is gone before its first turn
            del self._sending[key]
        else:
            self._plan(key, state, max(now, state.last + service.shortest_pause))

    def _plan(self, key: Key, state: _Sending, at: float | None) -> None:
        state.at = at
        if at is not None:
            heapq.heappush(self._turns, (at, key))
        if len(self._turns) > 2 * len(self._sending) + 100:  # most are passed over
            self._turns = [(each.at, key) for key, each in self._sending.items() if each.at is not None]
            heapq.heapify(self._turns)

    def take_turns(self, most: int = MOST_AT_ONCE) -> float | None:
        """Let at most `most` objects send whose time has come.

        Returns: seconds until the next turn; None when there is none. Raises: NotReady; the turn that was not
        taken then, and those after it, come when it is called again.
        """
        now = self._clock()
        while self._turns:
            at, key = self._turns[0]
            state = self._sending.get(key)
            if state is None or state.at != at:
                heapq.heappop(self._turns)
            elif at > now or not most:
                return max(at - now, 0.0)
            else:
                most -= 1
                heapq.heappop(self._turns)
                self._take_turn(key, state, now)
        return None

    def _take_turn(self, key: Key, state: _Sending, now: float) -> None:
        event, old, new, planned = state.event, state.old, state.new, state.at
        if event is Event.GONE and now - planned > LATEST_GONE:
            del self._sending[key]
            return
        state.old, state.at = new, None
        occasion = Occasion(event, state.number if event is Event.DUE else 0,
                            old if event is Event.CHANGED else None)
        try:
            turn, delay = self._ask(state, old if new is None else new, occasion, now)
        except Exception:
            state.old = old
            if old is None and state.new is None:  # it went before it has sent anything
                del self._sending[key]
            elif state.at is None:
                self._plan(key, state, planned)
            raise
        # While it was sent the plan may have changed: then there is a next turn already.
        if event is Event.GONE and state.new is None:
            del self._sending[key]
            return
        if turn is not None or event is not Event.CHANGED:
            state.number = occasion.number + 1
            state.due = None if delay is None else now + max(delay, state.service.shortest_pause)
        if state.at is None:
            self._plan(key, state, state.due)
        else:
            self._plan(key, state, max(state.at, state.last + state.service.shortest_pause))

    def _ask(self, state: _Sending, obj, occasion: Occasion, now: float) -> tuple[Turn | None, float | None]:
        """Send what the service says; return that, and the seconds until the next turn. Raises: NotReady."""
        service, delay = state.service, None
        try:
            turn = service.unsolicited(obj, occasion)
            if turn is not None and turn.interval is not None:
                delay = self._between(*turn.interval)
            messages = b"".join([packet_out(packet.ofports, packet.data)
                                 for packet in (turn.packets if turn is not None else ())])
        except Exception:
            if now - self._logged.get(service.feature, float("-inf")) >= FAULT_PAUSE:
                self._logged[service.feature] = now
                LOG.exception("the service of flow feature %s failed when object %s had a turn (%s)",
                              service.feature, " ".join(obj.key), occasion.event.value)
            return Turn(), FAULT_PAUSE
        if messages:
            self._send(messages)
            state.last = now
        return turn, delay

    def _run(self) -> None:
        while True:
            self._due.clear()
            try:
                wait = self.take_turns()
            except NotReady:
                wait = RETRY
            except Exception:
                LOG.exception("what services send without being asked was not sent")
                wait = RETRY
            hub.sleep(PAUSE)
            if wait is None or wait > PAUSE:
                self._due.wait(wait if wait is None else wait - PAUSE)
