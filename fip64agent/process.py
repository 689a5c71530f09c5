# SPDX-License-Identifier: Apache-2.0
"""Programs that the agent starts: they outlive it, its next start finds them again, and it ends them.

A process is known by its id and its start time, so an id that the kernel gave to another one meanwhile is
never signalled. Everything blocks and is for native threads, but `Child.wait()`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import IO, ClassVar, TypeVar

from fip64agent import hub

_T = TypeVar("_T")
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PF_EXITING = 0x4
"""Flag of a process in /proc/<pid>/stat, see proc(5)."""
_LONGEST_WAIT = 60.0
"""Seconds that a program which ends again and again waits for its next start, at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Child:
    """A process that the agent started, now or before its own restart."""

    program: ClassVar[str] = "the process"
    """What messages call it."""
    pid: int
    started: str
    """Clock ticks since boot, from /proc/<pid>/stat."""

    @property
    def age(self) -> float:
        """Seconds since its start. Raises: OSError."""
        return float(read("/proc/uptime").split()[0]) - int(self.started) / os.sysconf("SC_CLK_TCK")

    @property
    def exists(self) -> bool:
        """Whether it is still there. A process that ended, but whose status nobody took (a zombie), is."""
        try:
            return status(self.pid)[1] == self.started
        except OSError:
            return False

    @property
    def ending(self) -> bool:
        """Whether it has ended, or can do nothing else any more.

        The end of a process can take the kernel seconds: some 40 ms for each packet socket. Meanwhile it
        looks as if it hung.
        """
        try:
            fields = _stat(self.pid)
        except OSError:
            return True
        return fields[19] != self.started or fields[0] in "ZX" or bool(int(fields[6]) & _PF_EXITING)

    def wait(self) -> None:
        """Return when it has ended. For a greenthread. Raises: OSError when it cannot be watched."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.exists:  # otherwise the pidfd is of another process with the same id
                hub.wait_readable(pidfd)
        finally:
            os.close(pidfd)

    def stop(self, signals: Sequence[int] = (signal.SIGTERM, signal.SIGKILL), seconds: float = 3.0) -> None:
        """End it with these signals, each of which has `seconds` to take effect. It may have ended already.

        Raises: TimeoutError when it survives them all.
        """
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state, started = status(self.pid)
                if started != self.started:
                    return
                if state in "Tt":  # a stopped process acts on other signals only after SIGCONT
                    signals = (signal.SIGKILL,)
                ended = select.poll()  # select() cannot wait for a descriptor above 1023
                ended.register(pidfd, select.POLLIN)
                for number in signals:
                    signal.pidfd_send_signal(pidfd, number)
                    if ended.poll(seconds * 1000):
                        return
                raise TimeoutError(f"{self.program} (pid {self.pid}) does not end, not even by SIGKILL")
        finally:
            os.close(pidfd)


class BackOff:
    """Slows a program down that ends again and again: its starts are 0, 1, 2, 4 ... 60 s after its ends.

    steady: seconds that it must have run for its end to count as the first again. `now`, everywhere: seconds
    of one monotonic clock.
    """

    def __init__(self, steady: float) -> None:
        self._steady = steady
        self._since: float | None = None
        self._not_before = 0.0
        self.ends = 0
        """Ends in a row, without a steady run between them."""

    def runs(self, now: float) -> None:
        """Note that it runs."""
        if self._since is None:
            self._since = now

    def ended(self, now: float) -> None:
        """Note that it has ended, or could not be started."""
        if self._since is not None and now - self._since > self._steady:
            self.ends = 0
        self._since = None
        wait = 0.0 if self.ends == 0 else min(_LONGEST_WAIT, 2.0 ** (self.ends - 1))
        self.ends += 1
        self._not_before = now + wait

    def forget(self) -> None:
        """Note that it is not watched any more, so that nobody knows how long it has run when it ends."""
        self._since = None

    def wait(self, now: float) -> float:
        """Return the seconds until it may be started; 0: now."""
        return max(0.0, self._not_before - now)


def program_path(name: str) -> str | None:
    """Return the path of a program, None when there is none of that name.

    name: its path, or its name, which is looked for in PATH and where the system's programs are: the PATH of
    somebody who is not root may be without those.
    """
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN)))


def find(recognized: Callable[[list[str]], _T | None]) -> Iterator[tuple[int, str, str, _T]]:
    """Yield (pid, start time, state, what it is) of the processes whose command line is recognized.

    recognized: takes the words of a command line, returns what process that is; None: none of ours. The state
    is a letter, see proc(5). Scans all of /proc.
    """
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):  # it ended meanwhile
            if (what := recognized(read(f"{entry.path}/cmdline").split("\0"))) is None:
                continue
            pid = int(entry.name)
            state, started = status(pid)
            yield pid, started, state, what


def status(pid: int) -> tuple[str, str]:
    """Return the state (a letter, see proc(5)) and the start time of a process. Raises: OSError."""
    fields = _stat(pid)
    return fields[0], fields[19]


def _stat(pid: int) -> list[str]:
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def read(path: str) -> str:
    """Return the text of a file in /proc, whatever octets a program has put there. Raises: OSError."""
    with open(path, "rb") as file:
        return file.read().decode(errors="replace")


def start(command: Sequence[str], output: IO[bytes]) -> subprocess.Popen:
    """Start a program in a session of its own, its output appended to a file. Raises: OSError."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                            start_new_session=True, cwd="/")


def disown(child: subprocess.Popen) -> None:
    """Have Popen forget a child, which may outlive the agent. outcome() takes its exit status."""
    child.returncode = 0


def outcome(pid: int) -> str:
    """Return how a process ended, and take its exit status if it was our child."""
    try:
        done, code = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return "ended"  # it was started by an earlier agent, and init has its status
    if not done:
        return "ended"
    if os.WIFSIGNALED(code):
        number = os.WTERMSIG(code)
        names = {known.value: f" ({known.name})" for known in signal.Signals}  # most real-time ones have none
        return f"was killed by signal {number}{names.get(number, '')}"
    return f"ended with status {os.waitstatus_to_exitcode(code)}"
