# SPDX-License-Identifier: Apache-2.0
"""What keeps a VPP from answering that is not its own fault: no processor, or the kernel at work for it.

On a busy machine its main thread waits for a processor; and for each packet socket that it opens it waits in
the kernel for all processors to come by (synchronize_net), which takes the longer the busier they are. A VPP
that is killed for that has to do all of it again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from fip64agent import hub
from fip64agent.process import status

_LOOK = 0.1
"""Seconds between two looks at what its main thread does."""


class Hindrance:
    """A context manager. `pid`: of VPP; None: nothing is known, so nothing hinders it."""

    def __init__(self, pid: int | None,
                 state: Callable[[int], str] = lambda pid: status(pid)[0]) -> None:
        self._pid = pid
        self._state = state
        self._thread = None
        self.reset()

    def __enter__(self) -> Hindrance:
        if self._pid is not None:
            self._thread = hub.spawn(self._look)
        return self

    def __exit__(self, *_exc) -> None:
        if self._thread is not None:
            self._thread.kill()

    def reset(self) -> None:
        """Count from now on."""
        self._in_kernel, self._waited = 0.0, waited(self._pid)

    @property
    def seconds(self) -> float:
        """How long it was hindered."""
        return self._in_kernel + max(0.0, waited(self._pid) - self._waited)

    def _look(self) -> None:
        before = time.monotonic()
        with contextlib.suppress(OSError):  # it has ended
            while True:
                hub.sleep(_LOOK)
                now = time.monotonic()
                if self._state(self._pid) == "D":
                    self._in_kernel += now - before
                before = now


def waited(pid: int | None) -> float:
    """Return how long (s) the main thread of a process was ready to run and had no processor."""
    with contextlib.suppress(OSError, IndexError, ValueError):  # it has ended, or the kernel does not count
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
