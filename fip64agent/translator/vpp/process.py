# SPDX-License-Identifier: Apache-2.0
"""The managed VPP as a process: found by its command line, started so that it outlives us, ended by pidfd.

Blocking: called in native threads. A process is known by (pid, start time), so a pid that the kernel gave to
somebody else meanwhile is never signalled. Nothing but the command line in /proc tells which VPP is ours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import select
import signal
import subprocess
from pathlib import Path

from fip64agent.translator.vpp import startup
from fip64agent.translator.vpp.startup import StartupOptions

LOG = logging.getLogger(__name__)

_LARGEST_LOG = 4 << 20
"""Bytes of vpp.log; then its end is kept in vpp.log.1 and it begins anew."""
_KEPT = 1 << 20
_WORDS = 400
"""Characters of VPP's last words in an error."""
_NOISE = re.compile(r"^\s*$|vat-plug/load|vnet_feature_arc_init|\[notice\]|^Code: |^ +from /")
_FRAME = re.compile(r"^#\d+ +0x[0-9a-f]+(?: (\w+))?")
_FRAMES = 4
"""Functions of a backtrace that are told."""
_MARK = b"fip64-agent starts VPP: "
_PF_EXITING = 0x4
"""Flag of a process in /proc/<pid>/stat, see proc(5)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """A VPP of ours."""

    pid: int
    started: str
    """Clock ticks since boot, from /proc/<pid>/stat."""
    startup_file: str
    """Name of its startup file, which holds the hash of the options it runs with."""

    @property
    def age(self) -> float:
        """Seconds since its start."""
        up = float(Path("/proc/uptime").read_text().split()[0])
        return up - int(self.started) / os.sysconf("SC_CLK_TCK")


# -- looking --------------------------------------------------------------------------------------


def running(run_path: str) -> list[Process]:
    """Return the VPPs whose startup file is one of ours in `run_path`, oldest first. Scans all of /proc."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):  # it ended while we looked
            words = Path(entry.path, "cmdline").read_bytes().decode(errors="replace").split("\0")
            if (name := startup.parse_command(words, run_path)) is None:
                continue
            state, started = status(int(entry.name))
            if state not in "ZX":
                found.append(Process(int(entry.name), started, name))
    return sorted(found, key=lambda each: (int(each.started), each.pid))


def status(pid: int) -> tuple[str, str]:
    """Return the state (a letter, see proc(5)) and the start time of a process. Raises: OSError."""
    fields = _stat(pid)
    return fields[0], fields[19]


def ending(found: Process) -> bool:
    """Whether a process has ended, or can do nothing else any more.

    The end takes the kernel some 40 ms for each packet socket, and all others are closed with the last one: a
    VPP with a hundred uplinks that was killed looks for seconds as if it hung.
    """
    try:
        fields = _stat(found.pid)
    except OSError:
        return True
    return fields[19] != found.started or fields[0] in "ZX" or bool(int(fields[6]) & _PF_EXITING)


def _stat(pid: int) -> list[str]:
    return Path("/proc", str(pid), "stat").read_bytes().decode(errors="replace").rpartition(")")[2].split()


# -- starting -------------------------------------------------------------------------------------


def start(binary: str, options: StartupOptions) -> Process:
    """Write the startup file, remove what an earlier VPP left behind, start VPP in a session of its own.

    Raises: OSError when the program or the files cannot be used.
    """
    directory = Path(options.run_path)
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    path = Path(startup.path(options))
    temporary = path.with_suffix(".new")
    temporary.write_text(startup.text(options))
    temporary.rename(path)
    for old in directory.glob("startup-*.conf"):
        if old != path:
            old.unlink(missing_ok=True)
    clean(options)
    bound_log(options, _KEPT)
    with open(options.log_file, "ab", buffering=0) as output:
        output.write(_MARK + f"{binary} -c {path}\n".encode())
        child = subprocess.Popen([binary, "-c", str(path)], stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=output, start_new_session=True, cwd="/")
    child.returncode = 0  # it outlives us: the supervisor reaps it, not Popen
    return Process(child.pid, status(child.pid)[1], path.name)


def clean(options: StartupOptions) -> None:
    """Remove the sockets and shared memory of a VPP that does not run any more."""
    for name in (options.api_socket, options.stats_socket, options.cli_socket,
                 *(f"/dev/shm/{options.segment_prefix}-{end}" for end in ("global_vm", "vpe-api"))):
        Path(name).unlink(missing_ok=True)


# -- its log --------------------------------------------------------------------------------------


def bound_log(options: StartupOptions, largest: int = _LARGEST_LOG) -> None:
    """Keep vpp.log small: VPP has it open for appending, so its end is copied and it is emptied."""
    with contextlib.suppress(FileNotFoundError), open(options.log_file, "r+b") as log:
        size = log.seek(0, os.SEEK_END)
        if size > largest:
            log.seek(max(0, size - _KEPT))
            Path(options.log_file + ".1").write_bytes(log.read())
            log.truncate(0)


def last_words(options: StartupOptions) -> str:
    """Return what the VPP that was started last said at its end, as one line; "" when it said nothing."""
    said, frames = [], []
    for line in _own_lines(options):
        if (frame := _FRAME.match(line)) is not None:
            frames.append(frame[1] or "?")
        elif not _NOISE.search(line):
            said.append(" ".join(line.split()))
    if frames:
        said.append("in " + ", called by ".join(frames[:_FRAMES]))
    words = "; ".join(said[-4:])
    return words if len(words) <= _WORDS else "… " + words[-_WORDS:]


def _own_lines(options: StartupOptions) -> list[str]:
    try:
        with open(options.log_file, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _KEPT))
            text = log.read()
    except OSError:
        return []
    _, marked, own = text.rpartition(_MARK)
    return own.decode(errors="replace").splitlines()[1 if marked else 0:]


# -- ending ---------------------------------------------------------------------------------------


def stop(process: Process, numbers: tuple[int, ...] = (signal.SIGTERM, signal.SIGKILL),
         seconds: float = 3.0) -> None:
    """End it with these signals, each with `seconds` to take effect. Gone already is success.

    Raises: TimeoutError when it survives them all.
    """
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, started = status(process.pid)
            if started != process.started:
                return
            if state in "Tt":  # it would take anything else only when it goes on
                numbers = (signal.SIGKILL,)
            ended = select.poll()  # select() cannot wait for a descriptor above 1023
            ended.register(pidfd, select.POLLIN)
            for number in numbers:
                signal.pidfd_send_signal(pidfd, number)
                if ended.poll(seconds * 1000):
                    return
            raise TimeoutError(f"VPP (pid {process.pid}) does not end, not even by SIGKILL")
    finally:
        os.close(pidfd)


def outcome(pid: int) -> str:
    """Return how a process ended, and take its exit status if it was our child."""
    try:
        done, code = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return "ended"  # it was adopted: init knows more
    if not done:
        return "ended"
    if os.WIFSIGNALED(code):
        number = os.WTERMSIG(code)
        return f"was killed by signal {number} ({signal.Signals(number).name})"
    return f"ended with status {os.waitstatus_to_exitcode(code)}"
