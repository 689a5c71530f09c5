# SPDX-License-Identifier: Apache-2.0
"""Loads a large topology document in a process of its own.

So the daemon's event loop never waits for the interpreter lock for long, and what parsing needs
(memory, pydantic) is gone when it is done. The child writes pickles to its stdout, in chunks: the
daemon takes them one after the other, and keeps of each only what changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

import fip64agent
from fip64agent.exceptions import TopologyError
from fip64agent.topology import entries
from fip64agent.topology.model import Topology
from fip64agent.topology.problems import Problem
from fip64agent.topology.read import read, refused
from fip64agent.topology.reuse import reuse

TIMEOUT = 120
"""Seconds after which a child gives up (SIGALRM ends it)."""
_CHUNK = 250
_MEMORY_BASE, _MEMORY_PER_BYTE = 1 << 30, 96


class Loaded(NamedTuple):
    """What a file had: a topology, or problems, or neither when it is what was known already."""

    digest: bytes
    topology: Topology | None
    problems: tuple[Problem, ...]
    index: entries.Index | None = None
    """Of the topology, where the next change can be read without parsing all again."""


def digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class Worker:
    """Runs one child at a time; `stop()` may be called from another thread."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None

    def load(self, path: str, max_size: int, known: bytes | None, old: Topology | None) -> Loaded:
        """Load the file `path`, of at most `max_size` MiB. Blocks.

        `known`: the digest of a content that need not be parsed again. Objects of `old` are
        reused where they are equal. Raises: TopologyError when the file cannot be read.
        """
        root = os.path.dirname(os.path.dirname(os.path.abspath(fip64agent.__file__)))
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
            filter(None, (root, os.environ.get("PYTHONPATH")))))
        environment.pop("NOTIFY_SOCKET", None)  # systemd's channel is the daemon's alone
        command = [sys.executable, "-P", "-m", "fip64agent.topology.worker", path, str(max_size),
                   (known or b"").hex()]
        try:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  env=environment) as self._child:
                try:
                    return _receive(self._child.stdout, old)
                except (EOFError, pickle.UnpicklingError):
                    self._child.kill()
                    status = self._child.wait()
        except OSError as error:
            raise refused(path, f"cannot be parsed: {sys.executable}: {error.strerror}") from None
        finally:
            self._child = None
        why = {-signal.SIGALRM: f"took more than {TIMEOUT} s", -signal.SIGKILL: "was killed"}.get(
            status, f"ended with status {status}, see the log")
        raise refused(path, f"cannot be parsed: the parsing process {why}")

    def stop(self) -> None:
        """End the child, if one runs; its load() raises TopologyError."""
        if (child := self._child) is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()


def _receive(stream, old: Topology | None) -> Loaded:
    """Read what _send() wrote. Raises: EOFError, UnpicklingError, TopologyError."""
    digest, problems, has_topology, known_by = pickle.load(stream)
    if digest is None:
        raise TopologyError(problems)
    if not has_topology:
        return Loaded(digest, None, problems)
    kinds: dict[str, dict] = {field.name: {} for field in dataclasses.fields(Topology)}
    while (chunk := pickle.load(stream)) is not None:
        kind, items = chunk
        before = getattr(old, kind) if old is not None else {}
        for item in items:
            known = before.get(item.id)
            kinds[kind][item.id] = known if known == item else item
        time.sleep(0)  # lets go of the interpreter lock
    topology = Topology(*map(MappingProxyType, kinds.values()))
    if old is not None:
        topology = reuse(old, topology)
    return Loaded(digest, topology, (), entries.Index(topology, *known_by) if known_by is not None else None)


def _send(stream, digest: bytes | None, problems: tuple[Problem, ...], topology: Topology | None,
          known_by: tuple | None) -> None:
    pickle.dump((digest, problems, topology is not None, known_by), stream, 5)
    if topology is not None:
        for field in dataclasses.fields(Topology):
            remaining = iter(getattr(topology, field.name).values())
            while items := tuple(islice(remaining, _CHUNK)):
                pickle.dump((field.name, items), stream, 5)
        pickle.dump(None, stream, 5)
    stream.flush()


def _load(path: str, max_size: int, known: bytes) -> tuple[
        bytes | None, tuple[Problem, ...], Topology | None, tuple | None]:
    """Return digest, problems, topology, and what an Index of it has besides."""
    digest = None
    try:
        data = read(path, max_size)
        limit = _MEMORY_BASE + _MEMORY_PER_BYTE * len(data)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        digest = digest_of(data)
        if digest == known:
            return digest, (), None, None
        # The daemon imports this module, but not pydantic.
        from fip64agent.topology.loader import parse_indexed

        return digest, (), *parse_indexed(data, path, entries.index_of)
    except TopologyError as error:
        return digest, error.problems, None, None
    except MemoryError:
        return digest, (Problem(path, None, "", f"needs more than {limit >> 20} MiB of memory"),), None, None


def main() -> int:
    """The child. Its exit status is 0 for a faulty document as well."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(TIMEOUT)
    gc.disable()
    path, max_size, known = sys.argv[1:]
    with contextlib.suppress(BrokenPipeError):  # the daemon has gone
        _send(sys.stdout.buffer, *_load(path, int(max_size), bytes.fromhex(known)))
    return 0


if __name__ == "__main__":
    status = main()
    # Nothing to clean up; taking 100,000 objects apart one by one costs time.
    os._exit(status)
