# SPDX-License-Identifier: Apache-2.0
"""Loads a large topology document in a process of its own.

So the daemon's event loop never waits for the interpreter lock for long, and what parsing needs
(memory, pydantic) is gone when it is done. The child writes pickles to its stdout, in chunks: the
daemon takes them one after the other, and keeps of each only what changed.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import fip64agent
from fip64agent.exceptions import TopologyError
from fip64agent.topology.file.entries import Contents, Form
from fip64agent.topology.file.problems import Problem, Refused, problems, refused
from fip64agent.topology.file.read import read
from fip64agent.topology.model import Key

TIMEOUT = 120
"""Seconds after which a child gives up (SIGALRM ends it)."""
_CHUNK = 250
_MEMORY_BASE, _MEMORY_PER_BYTE = 1 << 30, 96


class Loaded(NamedTuple):
    """What a file had: nothing but the digest when that is known already."""

    digest: bytes
    contents: Contents | None = None
    forms: dict[Key, Form] | None = None
    """The resources that may have changed."""
    refusal: tuple[Problem, ...] = ()
    """Why the file as a whole cannot be used."""


def digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class Worker:
    """Runs one child at a time; `stop()` may be called from another thread."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None

    def load(self, path: str, max_size: int, digest: bytes | None,
             known: Callable[[Key], Form | None] = lambda key: None) -> Loaded:
        """Load the file `path`, of at most `max_size` MiB. Blocks.

        digest: of a content that need not be parsed again. known: returns a resource as it was read before;
        what is equal is not kept. Raises: TopologyError when the file cannot be read.
        """
        root = os.path.dirname(os.path.dirname(os.path.abspath(fip64agent.__file__)))
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
            filter(None, (root, os.environ.get("PYTHONPATH")))))
        environment.pop("NOTIFY_SOCKET", None)  # systemd's channel is the daemon's alone
        command = [sys.executable, "-P", "-m", "fip64agent.topology.file.worker", path, str(max_size),
                   (digest or b"").hex()]
        try:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  env=environment) as self._child:
                try:
                    return _receive(self._child.stdout, known)
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


def _receive(stream, known: Callable[[Key], Form | None]) -> Loaded:
    """Read what _send() wrote. Raises: EOFError, UnpicklingError, TopologyError."""
    digest, refusal, contents = pickle.load(stream)
    if digest is None:
        raise TopologyError(refusal)
    if contents is None:
        return Loaded(digest, refusal=refusal)
    ids = [item_id for _, item_id in contents.resources()]
    forms: dict[Key, Form] = {}
    while (chunk := _receive_chunk(stream, ids)) is not None:
        forms.update((key, form) for key, form in chunk if known(key) != form)
        time.sleep(0)  # lets go of the interpreter lock
    return Loaded(digest, contents, forms)


def _receive_chunk(stream, ids: list[str]) -> tuple[tuple[Key, Form], ...] | None:
    """Read some resources; None: there are no more. ids: of all, by the numbers that stand for them."""
    unpickler = pickle.Unpickler(stream)
    unpickler.persistent_load = ids.__getitem__
    return unpickler.load()


def _send(stream, digest: bytes | None, refusal: tuple[Problem, ...] = (), contents: Contents | None = None,
          forms: dict[Key, Form] | None = None) -> None:
    pickle.dump((digest, refusal, contents), stream, 5)
    if contents is not None:
        # An id is sent once, with the contents, and is one string in the daemon, however often it is
        # referred to.
        numbers = {item_id: number for number, (_, item_id) in enumerate(contents.resources())}
        remaining = iter((forms or {}).items())
        while items := tuple(islice(remaining, _CHUNK)):
            pickler = pickle.Pickler(stream, 5)
            pickler.persistent_id = lambda value: numbers.get(value) if type(value) is str else None
            pickler.dump(items)
        pickle.dump(None, stream, 5)
    stream.flush()


def _load(path: str, max_size: int, known: bytes) -> tuple:
    """Return what _send() sends. known: the digest of a content that is not wanted."""
    digest = None
    try:
        data = read(path, max_size)
        limit = _MEMORY_BASE + _MEMORY_PER_BYTE * len(data)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        digest = digest_of(data)
        if digest == known:
            return (digest,)
        # The daemon imports this module, but not pydantic.
        from fip64agent.topology.file import reader

        try:
            return digest, (), *reader.read_whole(data)
        except Refused as error:
            return digest, problems(path, error.found, reader.lines_of(data, error.found))
    except TopologyError as error:
        return digest, error.problems
    except MemoryError:
        return digest, (Problem(path, None, "", f"needs more than {limit >> 20} MiB of memory"),)


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
