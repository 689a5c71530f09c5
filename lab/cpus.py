# SPDX-License-Identifier: Apache-2.0
"""Two workers on a machine with two processors.

VPP wants a third one for its main thread, which mostly sleeps. So it runs in a mount namespace where it sees
three, with a library that does not pin its threads; afterwards they are spread over those that there are.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.vpp import Installed

_ONLINE = "/sys/devices/system/cpu/online"
_NO_PINNING = "int pthread_setaffinity_np(void) { return 0; }\n"


def missing() -> str | None:
    """Return why two workers cannot run here; None: they can."""
    if len(os.sched_getaffinity(0)) > 2:
        return None
    missing = [program for program in ("cc", "unshare") if not shutil.which(program)]
    return f"two workers on two processors need {', '.join(missing)}" if missing else None


def with_three_cpus(installed: Installed, directory: Path) -> Installed:
    """`installed`, started by a wrapper in `directory` where there are fewer than three processors."""
    if len(os.sched_getaffinity(0)) > 2:
        return installed
    online, wrapper = directory / "online", directory / "vpp"
    source, library = directory / "pinning.c", directory / "pinning.so"
    online.write_text("0-2\n")
    source.write_text(_NO_PINNING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    wrapper.write_text(f"#!/bin/sh\nexec unshare -m sh -c 'mount --bind {online} {_ONLINE} && "
                       f"LD_PRELOAD={library}:$LD_PRELOAD exec {installed.binary} \"$@\"' vpp \"$@\"\n")
    wrapper.chmod(0o755)
    return dataclasses.replace(installed, binary=wrapper)


def spread_workers(pid: int, cpus: Sequence[int] = ()) -> None:
    """Let worker n run on the n-th of `cpus` (all that there are); the main thread where there is room."""
    cpus = cpus or sorted(os.sched_getaffinity(0))
    workers = 0
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        is_worker = (task / "comm").read_text().startswith("vpp_wk")
        os.sched_setaffinity(int(task.name), {cpus[workers % len(cpus)]} if is_worker else set(cpus))
        workers += is_worker
