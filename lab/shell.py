# SPDX-License-Identifier: Apache-2.0
"""Run commands, in a network namespace when one is given."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


def inside(netns: str | None, argv: Sequence[str]) -> list[str]:
    """Return `argv` prefixed to run in network namespace `netns`.

    nsenter, not ``ip netns exec``: that one also unshares the mount namespace, and a network
    namespace made in there would be invisible to everybody else.
    """
    return [*(["nsenter", f"--net=/run/netns/{netns}", "--"] if netns else []), *map(str, argv)]


def run(*argv: str, netns: str | None = None, check: bool = True, timeout: float = 60,
        input: str | None = None) -> subprocess.CompletedProcess:
    """Run a command and return it with its output as text.

    Raises: RuntimeError with the command and its stderr when it fails and `check` is set.
    """
    done = subprocess.run(inside(netns, argv), capture_output=True, text=True, timeout=timeout,
                          input=input, stdin=subprocess.DEVNULL if input is None else None)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit status {done.returncode}: "
                           f"{done.stderr.strip() or done.stdout.strip()}")
    return done


def popen(*argv: str, netns: str | None = None, **kwargs) -> subprocess.Popen:
    """Start a command in the background."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(inside(netns, argv), **kwargs)
