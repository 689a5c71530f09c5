# SPDX-License-Identifier: Apache-2.0
"""Calls over a virtio serial port: one line of JSON for a request, one for its answer. Both ends are here.

Request: {"id", "method", "args", "kwargs"}. Answer: {"id", "result"} or {"id", "error"}.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class GuestError(RuntimeError):
    """Something failed in the guest, or the guest did not answer; the message says what."""


class NoAnswer(GuestError):
    """No answer within the time."""


class Channel:
    """The host's end: a unix socket of qemu. One call at a time."""

    def __init__(self, path: Path, alive: Callable[[], None]) -> None:
        """`alive` is called while waiting; it raises GuestError when there is no use in it."""
        self._alive = alive
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.connect(str(path))
        self._sock.settimeout(0.5)

    def call(self, method: str, *args: Any, timeout: float, **kwargs: Any) -> Any:
        """Raises: GuestError with the guest's traceback, or when no answer comes within `timeout` s."""
        number = next(self._numbers)
        deadline = time.monotonic() + timeout
        request = {"id": number, "method": method, "args": args, "kwargs": kwargs}
        self._send(json.dumps(request).encode() + b"\n", deadline)
        while True:
            answer = self._line(deadline, method)
            # An answer to a call that was given up on, or half a line from before a reboot, is not for us.
            if answer.get("id") != number:
                continue
            if "error" in answer:
                raise GuestError(answer["error"])
            return answer["result"]

    def _send(self, data: bytes, deadline: float) -> None:
        while data:
            try:
                data = data[self._sock.send(data):]
            except TimeoutError:
                self._alive()
                if time.monotonic() > deadline:
                    raise NoAnswer("the guest does not read what it is sent") from None

    def _line(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            if time.monotonic() > deadline:
                raise NoAnswer(f"no answer from the guest to {method}")
            try:
                data = self._sock.recv(1 << 16)
            except TimeoutError:
                self._alive()
                continue
            if not data:
                self._alive()
                raise GuestError("qemu closed the guest's port")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def serve(port: str, handle: Callable[..., Any]) -> None:
    """The guest's end, for ever: ``handle(method, *args, **kwargs)`` for each request, in a thread each."""
    descriptor = os.open(port, os.O_RDWR)
    lock = threading.Lock()
    buffer = b""

    def answer(request: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"id": request["id"]}
        try:
            reply["result"] = handle(request["method"], *request["args"], **request["kwargs"])
            text = json.dumps(reply)
        except BaseException as error:
            trace = "".join(traceback.format_tb(error.__traceback__)[1:])
            text = json.dumps({"id": request["id"], "error": f"{type(error).__name__}: {error}\n{trace}"})
        data = text.encode() + b"\n"
        with lock:
            while data:
                data = data[os.write(descriptor, data):]

    while True:
        data = os.read(descriptor, 1 << 16)
        if not data:  # nobody is connected at the host's end
            time.sleep(0.1)
            continue
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
