# SPDX-License-Identifier: Apache-2.0
"""A network namespace for the agent under test, so that what it makes "here" is beside nobody else's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
import uuid
from collections.abc import Callable, Iterator

import eventlet.tpool

from fip64agent import hub
from fip64agent.reconcile import diff
from lab import netns as namespaces

_libc = ctypes.CDLL(None, use_errno=True)


def unique_prefix() -> str:
    return f"f64t{uuid.uuid4().hex[:8]}-"


def _enter(handle: int) -> None:
    # Native threads are in the namespace of the thread that started them.
    eventlet.tpool.killall()
    if _libc.setns(handle, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def agents_namespace() -> Iterator[str]:
    """Put this process's main thread, and all that it starts, into a new namespace; yield a prefix of names.

    Afterwards every namespace with that prefix is removed.
    """
    prefix = unique_prefix()
    name = prefix.rstrip("-")
    namespaces.add(name)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(namespaces.DIRECTORY / name, os.O_RDONLY)
    try:
        _enter(there)
        try:
            yield prefix
        finally:
            _enter(home)
    finally:
        os.close(home)
        os.close(there)
        for left in namespaces.names():
            if left.startswith(name):
                namespaces.delete(left)


def converge(room, *objects) -> tuple[dict, int]:
    """Bring a room to `objects` as the loop does; return what failed and how many items were touched."""
    work = diff.whole((item for obj in objects for item in room.expand(obj)), room.actual())
    failed = room.apply(work.apply) if work.apply else {}
    failed |= room.prune(work.prune) if work.prune else {}
    return failed, len(work.apply) + len(work.prune)


def until(condition: Callable[[], object], seconds: float = 15, what: str = "") -> float:
    """Let the hub run until `condition`; return the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what or condition}"
        hub.sleep(0.02)
    return time.monotonic() - begun
