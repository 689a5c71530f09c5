# SPDX-License-Identifier: Apache-2.0
"""Whether a gateway counts as alive, and how it is to be asked, from what the kernel says of it. Pure.

The kernel does the asking (RFC 4861, section 7.3). A gateway that answered is asked again by unicast, at the
MAC that is known. If no answer comes it is resolved anew by multicast, so that a gateway is found again whose
MAC has changed without an announcement: its advertisement reaches the translator too.
"""

from __future__ import annotations

import enum

NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE = 0x01, 0x02, 0x04, 0x08, 0x10
NUD_FAILED, NUD_NOARP, NUD_PERMANENT = 0x20, 0x40, 0x80
"""linux/neighbour.h: states of a neighbor; 0 stands for one that the kernel does not know."""
_HAS_MAC = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE
_STATIC = NUD_NOARP | NUD_PERMANENT

_UNICAST_TIMEOUT = 1.0
"""Seconds that an answer to a unicast solicitation may take (RFC 4861: RETRANS_TIMER)."""
_ANSWER_TIMEOUT = 8.0
"""Seconds without any answer after which a gateway counts as dead, whatever state the kernel has for it: one
unicast and three multicast solicitations take four."""
_SHORTEST_INTERVAL, _LONGEST_INTERVAL = 0.1, 0.5
"""Seconds from a question to the first update(), and between two of them at most while an answer is due."""
_DEAD_INTERVAL = 2.0
"""Seconds between two updates of a gateway that counts as dead: it is asked for ever, at little cost."""
_LONGEST_GAP = 5.0
"""Seconds between two updates after which nothing is known of the time in between: while the agent, or the
whole machine, stood still, an answer may have come and the kernel may have forgotten it since."""


class Ask(enum.Enum):
    """How a gateway is asked."""

    UNICAST = enum.auto()
    """At the MAC that the kernel knows."""
    MULTICAST = enum.auto()
    """Its MAC is resolved anew."""


class GatewayState:
    """What is known of one gateway, and when it is to be asked.

    `interval`: seconds from an answer to the next question.

    All times are seconds of one monotonic clock.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._asked: Ask | None = None
        self._asked_at = 0.0
        self._unanswered_since: float | None = None
        """When the first question was asked that has no answer yet."""
        self._due = 0.0
        self._updated_at = 0.0
        self.alive: bool | None = None
        """None: it has not answered yet, and may still do."""
        self.since = 0.0
        """Since when `alive` has its value."""

    def update(self, state: int, now: float) -> Ask | None:
        """Take the state (NUD_...) that the kernel has for the gateway; return how to ask it now.

        None: it is not to be asked now.
        """
        updated_before, self._updated_at = self._updated_at, now
        if state & _STATIC:  # somebody has set it: nothing to ask, and nothing to find out
            self._answered(now)
            return None
        if self._asked is None:
            if now < self._due:
                return None
            return self._ask(Ask.UNICAST if state & _HAS_MAC else Ask.MULTICAST, now)
        if state & NUD_REACHABLE:
            self._answered(now)
            return None
        if now - updated_before > _LONGEST_GAP and not state & NUD_FAILED:
            self._asked_at = self._unanswered_since = now
        waited = now - self._asked_at
        failed = self._asked is Ask.MULTICAST and state & NUD_FAILED
        if failed or now - self._unanswered_since >= _ANSWER_TIMEOUT:
            self._gave_no_answer()
        if self._asked is Ask.UNICAST:
            return None if state & NUD_PROBE and waited < _UNICAST_TIMEOUT else self._ask(Ask.MULTICAST, now)
        if state & _HAS_MAC:  # the kernel has learnt its MAC from another packet than an answer
            return self._ask(Ask.UNICAST, now)
        return None if state & NUD_INCOMPLETE else self._ask(Ask.MULTICAST, now)

    def cannot_ask(self, now: float) -> None:
        """Note that the link does not exist now: `alive` stays as it is, and no answer is waited for."""
        self._asked = self._unanswered_since = None
        self._due = now + _LONGEST_INTERVAL

    def wait(self, now: float) -> float:
        """Return the seconds until the next update()."""
        if self._asked is None:
            return max(_SHORTEST_INTERVAL, self._due - now)
        longest = _DEAD_INTERVAL if self.alive is False else _LONGEST_INTERVAL
        return min(longest, max(_SHORTEST_INTERVAL, now - self._asked_at))

    def _ask(self, how: Ask, now: float) -> Ask:
        self._asked, self._asked_at = how, now
        if self._unanswered_since is None:
            self._unanswered_since = now
        return how

    def _answered(self, now: float) -> None:
        self._asked = self._unanswered_since = None
        self._due = now + self._interval
        if not self.alive:
            self.alive, self.since = True, now

    def _gave_no_answer(self) -> None:
        if self.alive is not False:
            self.alive, self.since = False, self._unanswered_since
