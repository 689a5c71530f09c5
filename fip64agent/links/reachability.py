# SPDX-License-Identifier: Apache-2.0
"""When a gateway counts as alive, and how it is to be asked: what the kernel says, judged. Pure.

The kernel does the asking (RFC 4861, section 7.3). A gateway that answered is asked again by unicast, at the
MAC that is known. If no answer comes it is resolved anew by multicast, so that one whose MAC has changed
without a word is found again: its advertisement reaches the translator too.
"""

from __future__ import annotations

import enum

NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE = 0x01, 0x02, 0x04, 0x08, 0x10
NUD_FAILED, NUD_NOARP, NUD_PERMANENT = 0x20, 0x40, 0x80
"""linux/neighbour.h: states of a neighbor; 0 stands for one that the kernel does not know."""
_HAS_MAC = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE
_BY_HAND = NUD_NOARP | NUD_PERMANENT

_UNICAST = 1.0
"""Seconds that an answer to a unicast solicitation may take (RFC 4861: RETRANS_TIMER)."""
_ALL = 8.0
"""Seconds without any answer after which a gateway counts as silent, whatever state the kernel has for it:
one unicast and three multicast solicitations take four."""
_FIRST_LOOK, _LATER_LOOK = 0.1, 0.5
"""Seconds from a question to the first look for its answer, and at most between two."""
_SILENT_LOOK = 2.0
"""The same once it counts as silent: it is asked for ever, and that should cost little."""
_STOOD_STILL = 5.0
"""Seconds between two looks after which nothing is known of the time in between: the answer may have come,
and the kernel forgotten it, while the agent, or the whole machine, stood still."""


class Ask(enum.Enum):
    """How a gateway is asked whether it is there."""

    UNICAST = enum.auto()
    """At the MAC that the kernel knows."""
    MULTICAST = enum.auto()
    """Resolved anew."""


class Judge:
    """What is known of one gateway. `interval`: seconds from an answer to the next question.

    All times are seconds of one monotonic clock.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._asked: Ask | None = None
        self._asked_at = 0.0
        self._silent_from: float | None = None
        """When the first question was asked that has no answer yet."""
        self._due = 0.0
        self._looked_at = 0.0
        self.alive: bool | None = None
        """None: it has not answered yet, and had no time to."""
        self.since = 0.0
        """Since when it is so."""

    def look(self, state: int, now: float) -> Ask | None:
        """Take the state that the kernel has for the gateway; return how to ask it now, None: not at all."""
        looked_before, self._looked_at = self._looked_at, now
        if state & _BY_HAND:  # somebody has set it: nothing to ask, and nothing to find out
            self._answered(now)
            return None
        if self._asked is None:
            if now < self._due:
                return None
            return self._ask(Ask.UNICAST if state & _HAS_MAC else Ask.MULTICAST, now)
        if state & NUD_REACHABLE:
            self._answered(now)
            return None
        if now - looked_before > _STOOD_STILL and not state & NUD_FAILED:
            self._asked_at = self._silent_from = now
        waited = now - self._asked_at
        if now - self._silent_from >= _ALL or (self._asked is Ask.MULTICAST and state & NUD_FAILED):
            self._is_silent()
        if self._asked is Ask.UNICAST:
            return None if state & NUD_PROBE and waited < _UNICAST else self._ask(Ask.MULTICAST, now)
        if state & _HAS_MAC:  # it was heard of in another way
            return self._ask(Ask.UNICAST, now)
        return None if state & NUD_INCOMPLETE else self._ask(Ask.MULTICAST, now)

    def cannot_ask(self, now: float) -> None:
        """The link is not there just now: what was found holds, and no answer is waited for."""
        self._asked = self._silent_from = None
        self._due = now + _LATER_LOOK

    def wait(self, now: float) -> float:
        """Return the seconds until there may be something to see or to do."""
        if self._asked is None:
            return max(_FIRST_LOOK, self._due - now)
        longest = _SILENT_LOOK if self.alive is False else _LATER_LOOK
        return min(longest, max(_FIRST_LOOK, now - self._asked_at))

    def _ask(self, how: Ask, now: float) -> Ask:
        self._asked, self._asked_at = how, now
        if self._silent_from is None:
            self._silent_from = now
        return how

    def _answered(self, now: float) -> None:
        self._asked = self._silent_from = None
        self._due = now + self._interval
        if not self.alive:
            self.alive, self.since = True, now

    def _is_silent(self) -> None:
        if self.alive is not False:
            self.alive, self.since = False, self._silent_from
