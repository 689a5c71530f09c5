# SPDX-License-Identifier: Apache-2.0
"""Named network namespaces: makes them where all processes see them, and runs functions in them.

Everything here blocks: call it in a native thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

DIRECTORY = Path("/run/netns")
HOST_MOUNTS = "/proc/1/ns/mnt"
_T = TypeVar("_T")


def _ip_netns(*words: str) -> None:
    """Run ``ip netns`` in the host's mount namespace. Raises: OSError with its message.

    A systemd service with ProtectSystem= has a mount namespace of its own: a namespace made in there
    would be invisible to all others, and would end with the agent.
    """
    command = ["ip", "netns", *words]
    if _mounts_are_private():
        command = ["nsenter", f"--mount={HOST_MOUNTS}", "--", *command]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"{' '.join(command)}: exit status {done.returncode}")


def _mounts_are_private() -> bool:
    try:
        return os.readlink("/proc/self/ns/mnt") != os.readlink(HOST_MOUNTS)
    except PermissionError:  # then we could not enter it either
        return False


def create(name: str) -> None:
    """Make a namespace. Raises: OSError with the message of ``ip netns``."""
    _ip_netns("add", name)


def delete(name: str) -> None:
    """Remove a namespace; that it does not exist any more is success. Raises: OSError."""
    try:
        _ip_netns("delete", name)
    except OSError:
        if (DIRECTORY / name).exists():
            raise


def names(prefix: str) -> list[str]:
    """Return the names of all namespaces that begin with `prefix`."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(entry.name for entry in DIRECTORY.iterdir() if entry.name.startswith(prefix))
    return []


def inode(name: str) -> int | None:
    """Return what identifies the namespace behind a name; None when there is none."""
    with contextlib.suppress(OSError):
        return os.stat(DIRECTORY / name).st_ino
    return None


def is_dead(name: str) -> bool:
    """Return whether a name is an empty file, which leads to no namespace.

    It is so when ``ip netns add`` was killed half-way, or a container with the mounts was restarted.
    """
    try:
        found, directory = os.stat(DIRECTORY / name), os.stat(DIRECTORY)
    except OSError:
        return False
    # A namespace is on a file system of its own.
    return found.st_dev == directory.st_dev and stat.S_ISREG(found.st_mode) and not found.st_size


def exists(name: str) -> bool:
    """Return whether there is such a namespace ("": the one we are in)."""
    return not name or inode(name) is not None


def inside(name: str, function: Callable[..., _T], *args: Any) -> _T:
    """Run `function` with this thread in namespace `name` ("": where it is), then come back.

    Sockets that it opens stay in that namespace. Raises: OSError when it cannot be entered, and what
    `function` raises.
    """
    if not name:
        return function(*args)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(DIRECTORY / name, os.O_RDONLY)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            return function(*args)
        finally:
            _setns(home)
    finally:
        os.close(home)


def _setns(fd: int) -> None:
    """setns(2); in the standard library only from Python 3.12 on."""
    if hasattr(os, "setns"):
        os.setns(fd, 0x40000000)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
