# SPDX-License-Identifier: Apache-2.0
"""What systemd wants to hear (sd_notify(3)); silent when it does not listen."""

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
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._notifier.notify("STOPPING=1")

    def status(self, text: str) -> None:
        self._notifier.notify(f"STATUS={text}")

    def keep_alive(self, alive: Callable[[], bool]) -> None:
        """Feed the watchdog for ever, as long as `alive` says so."""
        interval = int(os.environ.get("WATCHDOG_USEC", 0)) / 1e6 / 3
        while interval:
            if alive():
                self._notifier.notify("WATCHDOG=1")
            hub.sleep(interval)
