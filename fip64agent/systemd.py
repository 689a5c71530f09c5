# SPDX-License-Identifier: Apache-2.0
"""Messages to systemd (sd_notify(3)). Without systemd, nothing is sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import sdnotify

from fip64agent import hub


class Systemd:
    """Readiness, status line and watchdog of a Type=notify service."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        if self._notifier.socket is not None:
            # A systemd that is busy takes no more than ten messages: the agent must not wait for it.
            self._notifier.socket.setblocking(False)

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, has ended. `status`: a line for ``systemctl status``."""
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that a reload has begun; ready() ends it."""
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the agent is about to end."""
        self._notifier.notify("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._notifier.notify(f"STATUS={text}")

    def keep_alive(self, alive: Callable[[], bool]) -> None:
        """Send the watchdog's message three times in its interval, each time that `alive` returns True.

        Returns only when systemd has set no watchdog.
        """
        interval = int(os.environ.get("WATCHDOG_USEC", 0)) / 1e6 / 3
        while interval:
            if alive():
                self._notifier.notify("WATCHDOG=1")
            hub.sleep(interval)
