# SPDX-License-Identifier: Apache-2.0
"""What the guest runs from its start on: carries out the host's commands. The standard library only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from lab.guest.channel import serve

PORT = "/dev/virtio-ports/fip64.run"


def run(argv: list[str], timeout: float, input: str | None = None,
        cwd: str | None = None) -> dict[str, Any]:
    """Run a command; {"returncode", "stdout", "stderr"}. Raises: subprocess.TimeoutExpired, OSError."""
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=timeout,
                          input=input, stdin=subprocess.DEVNULL if input is None else None, cwd=cwd,
                          env={**os.environ, "HOME": "/root", "LC_ALL": "C.UTF-8"})
    return {"returncode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def boot() -> str:
    """Return the id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


if __name__ == "__main__":
    serve(PORT, lambda method, *args, **kwargs: {"run": run, "boot": boot}[method](*args, **kwargs))
