# SPDX-License-Identifier: Apache-2.0
"""tayga processes: their command lines, namespaces, TUN devices and files.

Blocking: called in native threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from fip64agent.process import Child, disown, find, outcome, read, status
from fip64agent.process import start as start_child
from fip64agent.translator.tayga.config import Instance, data_directory

LOG = logging.getLogger(__name__)

NETNS = Path("/run/netns")
_TUN_TIME = 1.0
"""Seconds after its start in which a process need not have opened its TUN device."""
_ATTACH_TIMEOUT = 5.0
"""Seconds in which a group of new processes should have opened their TUN devices."""
_DEBUG_TIMEOUT = 0.5
"""Seconds that tayga may run with debug output, to find out why it ended at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Process(Child):
    """A tayga of ours, as it was found in /proc."""

    program: ClassVar[str] = "tayga"
    name: str
    """Name of its tenant, and of the directory of its configuration."""
    digest: str
    state: str
    """Letter of proc(5): S sleeping, R running, T stopped, Z zombie."""
    netns_inode: int
    attached: bool
    """It has its TUN device open; False when that was deleted."""

    @property
    def works(self) -> bool:
        """Whether it runs and has its TUN device."""
        return self.state not in "TtZX" and self.attached


@dataclasses.dataclass(slots=True)
class Launch:
    """A process that was just started."""

    name: str
    child: subprocess.Popen
    command: list[str]
    log: Path
    started: str = ""
    """As in Process; "" when it ended before that was read."""


def configuration_file(run_path: str, name: str, digest: str) -> Path:
    """Return the path of a tenant's configuration."""
    return Path(run_path, "tayga", name, f"{digest}.conf")


# -- finding --------------------------------------------------------------------------------------


def parse_command(words: Sequence[str], run_path: str) -> tuple[str, str] | None:
    """Return (name, digest) if a command line is that of a tayga of ours, else None."""
    ours = os.path.join(run_path, "tayga") + "/"
    if "--config" not in words[:-1]:
        return None
    path = words[words.index("--config") + 1]
    name, slash, file = path.removeprefix(ours).partition("/")
    if not path.startswith(ours) or not (name and slash) or "/" in file or not file.endswith(".conf"):
        return None
    return name, file.removesuffix(".conf")


def running(run_path: str) -> Iterator[Process]:
    """Yield the processes that read a configuration below `run_path`: those are ours. Scans all of /proc."""
    for pid, started, state, (name, digest) in find(lambda words: parse_command(words, run_path)):
        with contextlib.suppress(OSError):  # it ended meanwhile
            young = Child(pid, started).age < _TUN_TIME
            yield Process(pid, started, name, digest, state, os.stat(f"/proc/{pid}/ns/net").st_ino,
                          young or attached(pid))


def attached(pid: int) -> bool:
    """Return whether a process has a TUN device open that still exists. Raises: OSError."""
    for info in os.scandir(f"/proc/{pid}/fdinfo"):
        # A process opens and closes a socket for each line that it logs: files may disappear meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if any(line.startswith("iff:") and line.split()[1:] for line in read(info.path).splitlines()):
                return True
    return False


# -- starting -------------------------------------------------------------------------------------


def start(binary: str, run_path: str, state_path: str, item: Instance) -> Launch:
    """Start tayga for a tenant, in its namespace and in a session of its own. Raises: OSError."""
    if not (NETNS / item.netns).exists():  # nsenter would say so too, but later
        raise FileNotFoundError(f"there is no network namespace {item.netns} for it yet")
    path = configuration_file(run_path, item.name, item.digest)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    Path(data_directory(state_path, item.name)).mkdir(mode=0o750, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(item.text)
    temporary.rename(path)
    for old in path.parent.glob("*.conf"):
        if old != path:
            old.unlink(missing_ok=True)
    command = ["nsenter", f"--net={NETNS / item.netns}", "--", binary, "--nodetach", "--config", str(path)]
    log = path.parent / "tayga.log"
    with open(log, "wb") as output:
        child = start_child(command, output)
    launch = Launch(item.name, child, command, log)
    with contextlib.suppress(OSError):
        launch.started = status(child.pid)[1]
    return launch


def wait_until_attached(launches: Sequence[Launch]) -> dict[str, str]:
    """Wait until all have opened their TUN devices or ended; return why those that ended did, by name."""
    failed: dict[str, str] = {}
    waiting = list(launches)
    deadline = time.monotonic() + _ATTACH_TIMEOUT
    while waiting:
        for launch in list(waiting):
            if (code := launch.child.poll()) is not None:
                failed[launch.name] = _why_ended(launch, code)
            else:
                try:
                    if not attached(launch.child.pid):
                        continue
                except OSError:  # it closed files, or ended, meanwhile
                    continue
            waiting.remove(launch)
        if time.monotonic() > deadline:
            LOG.warning("tayga of %s has not opened its TUN device in %g s",
                        ", ".join(launch.name for launch in waiting), _ATTACH_TIMEOUT)
            break
        if waiting:
            time.sleep(0.002)
    for launch in launches:
        if launch.name not in failed:
            disown(launch.child)
    return failed


def _why_ended(launch: Launch, code: int) -> str:
    """Return why a process ended at once. tayga writes it to the system log, unless it runs with -d."""
    words = []
    with contextlib.suppress(OSError):
        words = [line.strip() for line in launch.log.read_text(errors="replace").splitlines() if line.strip()]
        if not words and code > 0:
            words = _debug_output(launch.command)
    why = "; ".join(words[-3:]) or "it did not say why"
    if code < 0:
        return f"tayga was killed by signal {-code}: {why}"
    return f"tayga ended with status {code}: {why}"


def _debug_output(command: list[str]) -> list[str]:
    """Run tayga once more, with debug output, for a short time; return its last line."""
    child = subprocess.Popen([*command, "-d"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, cwd="/")
    try:
        output, _ = child.communicate(timeout=_DEBUG_TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return []
    said = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return said[-1:]


# -- ending ---------------------------------------------------------------------------------------


def stop(process: Process, seconds: float = 2) -> None:
    """End a process: SIGTERM, so that it saves its client bindings, then, after `seconds`, SIGKILL.

    That it has ended already is success. Raises: TimeoutError when it does not end.
    """
    try:
        process.stop(seconds=seconds)
    finally:
        outcome(process.pid)


def remove_files(run_path: str, state_path: str, name: str) -> None:
    """Remove the files of a tenant that was removed."""
    for root in (run_path, state_path):
        shutil.rmtree(Path(root, "tayga", name), ignore_errors=True)
