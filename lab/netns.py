# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: make, end, and do things in them without starting a program each time."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.shell import run

DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM = 0x16
_ETHTOOL_STXCSUM = 0x17
_ETHTOOL_STSO = 0x1F
_ETHTOOL_SGSO = 0x24
_libc = ctypes.CDLL(None, use_errno=True)


def call_in(netns: str | None, function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call `function` in a thread of its own that is in namespace `netns`; sockets made there stay there.

    Raises: what `function` raises; OSError when there is no such namespace.
    """
    if netns is None:
        return function(*args, **kwargs)
    result: list[Any] = []
    error: list[BaseException] = []

    def work() -> None:
        try:
            with open(DIRECTORY / netns, "rb") as handle:
                if _libc.setns(handle.fileno(), _CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, f"setns {netns}: {os.strerror(number)}")
            result.append(function(*args, **kwargs))
        except BaseException as failure:
            error.append(failure)

    thread = threading.Thread(target=work, name=f"netns {netns}")
    thread.start()
    thread.join()
    if error:
        raise error[0]
    return result[0]


def sysctl(netns: str | None, **values: str | int) -> None:
    """Set /proc/sys/net values: ``sysctl(ns, ipv6__conf__all__forwarding=1)``; `__` stands for `/`."""

    def write() -> None:
        for name, value in values.items():
            (Path("/proc/sys/net") / name.replace("__", "/")).write_text(f"{value}\n")

    call_in(netns, write)


def _ethtool(interface: str, command: int, value: int = 0) -> int:
    """Get or set one of ethtool's single values. Raises: OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        argument = ctypes.create_string_buffer(struct.pack("=II", command, value), 8)
        request = struct.pack("16sP", interface.encode(), ctypes.addressof(argument))
        fcntl.ioctl(sock, _SIOCETHTOOL, request.ljust(40, b"\0"))
        return struct.unpack("=II", argument.raw)[1]


def offloads_off(netns: str | None, interface: str) -> None:
    """Switch off TX checksum offload, TSO and GSO: userspace OVS hands on frames as they are."""

    def work() -> None:
        for command in (_ETHTOOL_STSO, _ETHTOOL_SGSO, _ETHTOOL_STXCSUM):
            # A device without such an offload refuses to have it switched.
            with contextlib.suppress(OSError):
                _ethtool(interface, command)

    call_in(netns, work)


def tx_checksum_offload(netns: str | None, interface: str) -> bool:
    """Say whether the kernel leaves checksums to `interface`. Raises: OSError."""
    return bool(call_in(netns, _ethtool, interface, _ETHTOOL_GTXCSUM))


def names() -> list[str]:
    """Return the names of all network namespaces."""
    try:
        return sorted(entry.name for entry in DIRECTORY.iterdir())
    except FileNotFoundError:
        return []


def add(name: str) -> None:
    """Make a namespace with its loopback up."""
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def delete(name: str) -> None:
    """Delete a namespace; one that is gone already is fine."""
    if (DIRECTORY / name).exists():
        run("ip", "netns", "delete", name, check=False)


def ip(netns: str | None, *lines: str) -> None:
    """Run lines of ``ip -batch`` in a namespace; the first that fails ends it. Raises: RuntimeError."""
    where = ["-n", netns] if netns else []
    run("ip", *where, "-batch", "-", input="".join(f"{line}\n" for line in lines))
