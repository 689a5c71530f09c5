# SPDX-License-Identifier: Apache-2.0
"""The health probe: it finds out whether VPP hangs, or waits for a processor or the kernel."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from fip64agent import hub
from fip64agent.process import status
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError, VppGone, VppTimeout

LOG = logging.getLogger(__name__)

_LONGEST_WITHOUT_ANSWER = 60.0
"""Seconds without any message after which VPP counts as hung, even if it could not run."""
_STATE_INTERVAL = 0.1
"""Seconds between two looks at the state of VPP's main thread."""


class Probe:
    """Probes a VPP, also after VPP has restarted. `timeout`: seconds for an answer while VPP can run."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.seconds: float | None = None
        """How long the last answer took; None: there was none yet."""
        self.slow: str | None = None
        """Why the agent still waits for a VPP that has not answered, for operators; None when it answers."""

    def answered(self, client: VppClient, pid: int | None) -> bool:
        """Send a request, wait for its answer, and return False when VPP hangs.

        A VPP that answers other requests meanwhile is busy, and does not hang. When the connection ends this
        returns True: the client reports it.

        pid: VPP's process id, to see whether it can run; None: that is not known.
        """
        unanswered_since = asked = time.monotonic()
        with BlockedTime(pid) as blocked:
            while True:
                try:
                    client.call("control_ping", _timeout=self._timeout)
                    self.seconds, self.slow = time.monotonic() - unanswered_since, None
                    return True
                except VppTimeout:
                    now = time.monotonic()
                    if client.last_received >= asked:
                        unanswered_since, self.slow = now, None
                        blocked.reset()
                    elif not self.is_blocked(now - unanswered_since, blocked.seconds):
                        return False
                    asked = now
                except (VppGone, VppError):
                    return True

    def is_blocked(self, unanswered: float, blocked: float) -> bool:
        """Return whether VPP need not have answered for `unanswered` seconds: it could not run for `blocked`.

        When VPP could not run for most of the time, it needs the rest to catch up.
        """
        could_answer = unanswered - blocked >= self._timeout and blocked < unanswered / 2
        if could_answer or unanswered > _LONGEST_WITHOUT_ANSWER:
            self.slow = None
            return False
        if self.slow is None:
            LOG.warning("VPP does not answer for %.0f s: it waits for a processor or for the kernel",
                        unanswered)
        self.slow = f"VPP does not answer for {unanswered:.0f} s: it waits for a processor or for the kernel"
        return True


class BlockedTime:
    """A context manager that measures how long VPP's main thread could not run through no fault of its own.

    On a busy machine it waits for a processor. And for each packet socket that it opens it waits in the
    kernel for all processors (synchronize_net), the longer the busier they are. A VPP that is killed and
    started again has to do all of that again.
    """

    def __init__(self, pid: int | None,
                 state: Callable[[int], str] = lambda pid: status(pid)[0]) -> None:
        """pid: VPP's process id; None: nothing can be measured. state: returns a process's state (ps(1))."""
        self._pid = pid
        self._state = state
        self._thread = None
        self.reset()

    def __enter__(self) -> BlockedTime:
        if self._pid is not None:
            self._thread = hub.spawn(self._measure)
        return self

    def __exit__(self, *_exc) -> None:
        if self._thread is not None:
            self._thread.kill()

    def reset(self) -> None:
        """Count from now on."""
        self._in_kernel, self._waited_before = 0.0, waited_for_processor(self._pid)

    @property
    def seconds(self) -> float:
        return self._in_kernel + max(0.0, waited_for_processor(self._pid) - self._waited_before)

    def _measure(self) -> None:
        before = time.monotonic()
        with contextlib.suppress(OSError):  # it has ended
            while True:
                hub.sleep(_STATE_INTERVAL)
                now = time.monotonic()
                if self._state(self._pid) == "D":
                    self._in_kernel += now - before
                before = now


def waited_for_processor(pid: int | None) -> float:
    """Return for how many seconds a process's main thread waited for a processor; 0 when it is not known."""
    with contextlib.suppress(OSError, IndexError, ValueError):  # it has ended, or the kernel does not count
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
