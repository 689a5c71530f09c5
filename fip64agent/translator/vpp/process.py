# SPDX-License-Identifier: Apache-2.0
"""The managed VPP as a process: its command line, its files, and its log.

Blocking: called in native threads. A VPP is recognized as ours by its command line in /proc only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path
from typing import ClassVar

from fip64agent.process import Child, disown, find, status
from fip64agent.process import start as start_child
from fip64agent.translator.vpp import startup
from fip64agent.translator.vpp.startup import StartupOptions

_LARGEST_LOG = 4 << 20
"""Bytes of vpp.log; when it is larger its end is moved to vpp.log.1."""
_KEPT = 1 << 20
_LONGEST_OUTPUT = 400
"""Characters of VPP's last output that an error message has, at most."""
_NOISE = re.compile(r"^\s*$|vat-plug/load|vnet_feature_arc_init|\[notice\]|^Code: |^ +from /")
_FRAME = re.compile(r"^#\d+ +0x[0-9a-f]+(?: (\w+))?")
_FRAMES = 4
"""Functions of a backtrace that an error message has, at most."""
_MARK = b"fip64-agent starts VPP: "


@dataclasses.dataclass(frozen=True, slots=True)
class Process(Child):
    """A VPP of ours."""

    program: ClassVar[str] = "VPP"
    startup_file: str
    """Name of its startup file, which holds the hash of the options it runs with."""


def running(run_path: str) -> list[Process]:
    """Return the VPPs whose startup file is one of ours in `run_path`, oldest first. Scans all of /proc."""
    found = [Process(pid, started, name)
             for pid, started, state, name in find(lambda words: startup.parse_command(words, run_path))
             if state not in "ZX"]
    return sorted(found, key=lambda each: (int(each.started), each.pid))


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
        child = start_child([binary, "-c", str(path)], output)
    disown(child)
    return Process(child.pid, status(child.pid)[1], path.name)


def clean(options: StartupOptions) -> None:
    """Remove the sockets and shared memory of a VPP that does not run any more."""
    for name in (options.api_socket, options.stats_socket, options.cli_socket,
                 *(f"/dev/shm/{options.segment_prefix}-{end}" for end in ("global_vm", "vpe-api"))):
        Path(name).unlink(missing_ok=True)


# -- its log --------------------------------------------------------------------------------------


def bound_log(options: StartupOptions, largest: int = _LARGEST_LOG) -> None:
    """Limit the size of vpp.log. VPP has it open for appending, so its end is copied and the file emptied."""
    with contextlib.suppress(FileNotFoundError), open(options.log_file, "r+b") as log:
        size = log.seek(0, os.SEEK_END)
        if size > largest:
            log.seek(max(0, size - _KEPT))
            Path(options.log_file + ".1").write_bytes(log.read())
            log.truncate(0)


def last_output(options: StartupOptions) -> str:
    """Return what the VPP that was started last wrote at its end, as one line; "" when it wrote nothing."""
    said, frames = [], []
    for line in _own_lines(options):
        if (frame := _FRAME.match(line)) is not None:
            frames.append(frame[1] or "?")
        elif not _NOISE.search(line):
            said.append(" ".join(line.split()))
    if frames:
        said.append("in " + ", called by ".join(frames[:_FRAMES]))
    words = "; ".join(said[-4:])
    return words if len(words) <= _LONGEST_OUTPUT else "… " + words[-_LONGEST_OUTPUT:]


def _own_lines(options: StartupOptions) -> list[str]:
    try:
        with open(options.log_file, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _KEPT))
            text = log.read()
    except OSError:
        return []
    _, marked, own = text.rpartition(_MARK)
    return own.decode(errors="replace").splitlines()[1 if marked else 0:]

