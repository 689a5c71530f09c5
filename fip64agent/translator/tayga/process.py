# SPDX-License-Identifier: Apache-2.0
"""tayga processes: found by their command line, started so that they outlive us, ended by pidfd.

Blocking: called in native threads. A process is known by (pid, start time), so a pid that the kernel
gave to somebody else meanwhile is never signalled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

NETNS = Path("/run/netns")
_YOUNG = 1.0
"""Seconds that a process gets to open its TUN device."""
LOG_SIZE = 256 * 1024
"""Bytes after which a log file is moved aside at the next start."""


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    pid: int
    started: str
    """Clock ticks since boot, from /proc/<pid>/stat."""
    router_id: str
    digest: str
    state: str
    """Letter of proc(5): S sleeping, R running, T stopped, Z zombie."""
    netns_inode: int
    attached: bool
    """It holds its TUN device; False when that was deleted under it."""

    @property
    def works(self) -> bool:
        return self.state not in "TtZX" and self.attached


def configuration_file(run_path: str, router_id: str, digest: str) -> Path:
    return Path(run_path, "tayga", router_id, f"{digest}.conf")


def running(run_path: str) -> Iterator[Process]:
    """Yield the tayga processes that read a configuration below `run_path`: those are ours."""
    ours = os.path.join(run_path, "tayga") + "/"
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            words = Path(entry.path, "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "--config" not in words:
                continue
            path = words[words.index("--config") + 1]
            if not path.startswith(ours) or not path.endswith(".conf"):
                continue
            router_id, name = path.removeprefix(ours).split("/")
            state, started = _status(int(entry.name))
            yield Process(int(entry.name), started, router_id, name.removesuffix(".conf"), state,
                          os.stat(f"{entry.path}/ns/net").st_ino, _attached(Path(entry.path), started))


def _status(pid: int) -> tuple[str, str]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[19]


def _attached(proc: Path, started: str) -> bool:
    age = float(Path("/proc/uptime").read_text().split()[0]) - int(started) / os.sysconf("SC_CLK_TCK")
    if age < _YOUNG:
        return True
    return any(line.startswith("iff:") and line.split()[1:] for info in os.scandir(proc / "fdinfo")
               for line in Path(info.path).read_text().splitlines())


def start(binary: str, run_path: str, state_path: str, router_id: str, netns: str, digest: str,
          text: str) -> None:
    """Start tayga for a tenant, in its namespace and in a session of its own.

    Raises: OSError; ChildProcessError with its last words when it ends at once.
    """
    path = configuration_file(run_path, router_id, digest)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    Path(state_path, "tayga", router_id).mkdir(mode=0o750, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.rename(path)
    log = path.parent / "tayga.log"
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_SIZE:
            log.rename(log.with_suffix(".log.1"))
    with open(log, "ab") as output:
        before = output.tell()
        process = subprocess.Popen(
            ["nsenter", f"--net={NETNS / netns}", "--", binary, "--nodetach", "--config", str(path)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/")
    with contextlib.suppress(subprocess.TimeoutExpired):
        status = process.wait(0.03)  # what is wrong with a configuration shows at once
        with open(log, "rb") as written:
            written.seek(before)
            words = written.read(2000).decode(errors="replace").strip().splitlines()
        raise ChildProcessError(f"tayga ended with status {status}: {'; '.join(words[-3:]) or 'no word'}")
    for old in path.parent.glob("*.conf"):
        if old != path:
            old.unlink(missing_ok=True)


def stop(process: Process, seconds: float = 2) -> None:
    """End it: SIGTERM, so that it saves its client bindings, then SIGKILL. Gone already is success."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if _status(process.pid)[1] != process.started:
                return
            numbers = (signal.SIGTERM, signal.SIGKILL) if process.works else (signal.SIGKILL,)
            for number in numbers:
                signal.pidfd_send_signal(pidfd, number)
                if select.select([pidfd], [], [], seconds)[0]:
                    break
    finally:
        os.close(pidfd)
        reap(process.pid)


def reap(pid: int) -> None:
    """Take the exit status of a child that ended; one that is not our child is init's business."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def forget(run_path: str, state_path: str, router_id: str) -> None:
    """Remove the files of a tenant that is gone."""
    for root in (run_path, state_path):
        shutil.rmtree(Path(root, "tayga", router_id), ignore_errors=True)
