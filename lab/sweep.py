# SPDX-License-Identifier: Apache-2.0
"""Finds and removes what a lab made, from its marks alone: its directory and its prefix.

So a lab can be removed by another process than the one that built it, and after a crash.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fip64agent.links import marks
from fip64agent.translator.vpp.startup import StartupOptions
from lab import netns as namespaces
from lab.openvswitch import SystemOvs
from lab.shell import run

MARK = "FIP64_LAB"
"""Environment variable of every process of a lab: the lab's directory."""
_STATE = "lab.json"
_SHARED_MEMORY = Path("/dev/shm")
_SEGMENTS = ("global_vm", "vpe-api")
"""What a VPP calls its segments of shared memory, behind the prefix of its startup file."""


@dataclasses.dataclass(frozen=True, slots=True)
class LabIdentity:
    """What is needed to find everything of a lab."""

    directory: Path
    prefix: str
    """Of the names of its namespaces."""
    link_prefix: str
    """Of the names of its links in the namespace we are in; "" when it made none there."""
    system_bridge: str
    """Its bridge on the machine's own OVS; "" when it has an OVS of its own."""
    system_ovs: str
    """Run directory of the machine's own OVS."""
    pid: int
    """Of the process that built it."""
    started: str
    """That process's start time, in clock ticks since boot: pids are used again."""

    def save(self) -> None:
        """Write it into the directory of the lab."""
        values = dataclasses.asdict(self) | {"directory": str(self.directory)}
        (self.directory / _STATE).write_text(json.dumps(values))

    @classmethod
    def load(cls, directory: Path) -> LabIdentity:
        """Raises: OSError, ValueError when there is no lab there."""
        values = json.loads((directory / _STATE).read_text())
        return cls(**values | {"directory": Path(values["directory"])})

    @property
    def builder_lives(self) -> bool:
        """Whether the process that built the lab still runs."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> str:
    """Return a process's start time, "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _read(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def processes(directory: Path) -> Iterator[int]:
    """Yield the pids of a lab's processes: marked by us, or a translator whose configuration is the lab's."""
    marks = {f"{MARK}={directory}", f"OVS_RUNDIR={directory}/ovs"}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        pid = int(entry)
        command = _read(pid, "cmdline")
        if marks & set(_read(pid, "environ")) or (
                os.path.basename(command[0] if command else "") in ("tayga", "vpp")
                and any(argument.startswith(f"{directory}/") for argument in command)):
            yield pid


def _end(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_processes(directory: Path, seconds: float = 3) -> None:
    """SIGTERM all, and SIGKILL those that are left after `seconds`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _end(list(processes(directory)), number)
        deadline = time.monotonic() + seconds
        while any(processes(directory)) and time.monotonic() < deadline:
            time.sleep(0.02)


def netns_prefix(prefix: str) -> str:
    """Return [tayga] netns_prefix of the agent of a lab whose own namespaces begin with `prefix`."""
    return f"{prefix}n-"


def links(prefix: str, mark: str = "") -> list[str]:
    """Return the names of links of the namespace we are in that begin with `prefix`, or whose alias begins
    with `mark`; "" matches none."""
    def ours(link: dict[str, Any]) -> bool:
        return bool((prefix and link["ifname"].startswith(prefix))
                    or (mark and link.get("ifalias", "").startswith(mark)))

    if not prefix and not mark:
        return []
    return [link["ifname"] for link in json.loads(run("ip", "-json", "link").stdout) if ours(link)]


def _links_of(identity: LabIdentity) -> list[str]:
    """Return the names of a lab's links in the namespace we are in: its own, and those of its agent.

    With tayga, a link of the agent goes when the namespace of its far end is deleted. With VPP, both ends
    are in the namespace we are in.
    """
    return links(identity.link_prefix, marks.begin(netns_prefix(identity.prefix)))


def _segments(directory: Path) -> list[Path]:
    """Return the shared memory of a lab's VPP, which a VPP that is killed leaves behind."""
    prefix = StartupOptions(run_path=f"{directory}/run/vpp").segment_prefix
    return [path for name in _SEGMENTS if (path := _SHARED_MEMORY / f"{prefix}-{name}").exists()]


def remove(identity: LabIdentity) -> None:
    """Remove all of a lab. Removing what is gone already is fine."""
    if identity.system_bridge:
        with contextlib.suppress(RuntimeError):
            SystemOvs(identity.system_ovs).vsctl("--if-exists", "del-br", identity.system_bridge)
    end_processes(identity.directory)
    for name in namespaces.names():
        if name.startswith(identity.prefix):
            namespaces.delete(name)
    for name in _links_of(identity):
        run("ip", "link", "delete", name, check=False)
    for path in _segments(identity.directory):
        path.unlink(missing_ok=True)
    shutil.rmtree(identity.directory, ignore_errors=True)


def leftovers(identity: LabIdentity) -> list[str]:
    """Return what a lab left behind, for people to read; empty when nothing."""
    found = [f"process {pid}: {' '.join(_read(pid, 'cmdline')).strip()}"
             for pid in processes(identity.directory)]
    found += [f"network namespace {name}" for name in namespaces.names() if name.startswith(identity.prefix)]
    found += [f"link {name}" for name in _links_of(identity)]
    found += [f"shared memory {path}" for path in _segments(identity.directory)]
    if identity.directory.exists():
        found.append(f"directory {identity.directory}")
    return found


def abandoned() -> Iterator[LabIdentity]:
    """Yield the labs whose builder died before it could remove them."""
    for directory in Path(tempfile.gettempdir()).glob("f64-*"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            identity = LabIdentity.load(directory)
            if not identity.builder_lives:
                yield identity


def abandoned_segments() -> Iterator[Path]:
    """Yield the shared memory of VPPs of `lab.vpp` whose starter died."""
    for name in _SEGMENTS:
        for path in _SHARED_MEMORY.glob(f"f64-*-{name}"):
            pid = path.name.split("-")[1]
            if pid.isdigit() and not start_time(int(pid)):
                yield path


def main() -> int:
    """``python -m lab.sweep``: remove abandoned labs."""
    for identity in list(abandoned()):
        print(f"removing {identity.prefix}* and {identity.directory}")
        remove(identity)
    for path in list(abandoned_segments()):
        print(f"removing {path}")
        path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
