# SPDX-License-Identifier: Apache-2.0
"""The health probe: does VPP answer, or was it not let?"""

from __future__ import annotations

import logging
import time

from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError, VppGone, VppTimeout
from fip64agent.translator.vpp.hindrance import Hindrance

LOG = logging.getLogger(__name__)

_LONGEST_SILENCE = 60.0
"""Seconds after which a VPP that does not answer has hung, whatever hinders it."""


class Probe:
    """`timeout`: seconds that VPP has for its answer, while nothing hinders it."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.seconds: float | None = None
        """How long the last answer took."""
        self.slow: str | None = None
        """What an operator should know of a VPP that is waited for; or None."""

    def answered(self, client: VppClient, pid: int | None) -> bool:
        """Ask; False: VPP has hung. One that is busy with others' requests answers something, so it has not.

        pid: of VPP, to see what hinders it; None: that is not known.
        """
        silent_since = asked = time.monotonic()
        with Hindrance(pid) as hindrance:
            while True:
                try:
                    client.call("control_ping", _timeout=self._timeout)
                    self.seconds, self.slow = time.monotonic() - silent_since, None
                    return True
                except VppTimeout:
                    now = time.monotonic()
                    if client.last_heard >= asked:
                        silent_since, self.slow = now, None
                        hindrance.reset()
                    elif not self.excused(now - silent_since, hindrance.seconds):
                        return False
                    asked = now
                except (VppGone, VppError):
                    return True  # the connection tells

    def excused(self, silent: float, hindered: float) -> bool:
        """Whether VPP could not answer, for so many seconds, as it was not let: then it has not hung.

        Hindered for most of the time, it is slow in what it does between, too.
        """
        let = silent - hindered >= self._timeout and hindered < silent / 2
        if let or silent > _LONGEST_SILENCE:
            self.slow = None
            return False
        if self.slow is None:
            LOG.warning("VPP does not answer for %.0f s: it waits for a processor or for the kernel", silent)
        self.slow = f"VPP does not answer for {silent:.0f} s: it waits for a processor or for the kernel"
        return True
