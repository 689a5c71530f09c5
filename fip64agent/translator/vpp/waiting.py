# SPDX-License-Identifier: Apache-2.0
"""How callers of the VPP client wait: for one end, or with many requests under way at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fip64agent import hub
from fip64agent.translator.vpp.errors import VppError, VppGone, VppTimeout, about

if TYPE_CHECKING:
    from fip64agent.translator.vpp.client import VppClient

_CHUNK = 64 << 10
"""Bytes of a pipeline that are handed to the socket in one go."""

_TURN = 0.01
"""Seconds for what has arrived and was not read yet: an agent that was held up itself, by other work or since
its machine stood still, finds VPP late by the clock before it has looked at the socket."""

Requests = Sequence[tuple[str, Mapping[str, Any]]]


class Progress:
    """What one caller waits for: the end, and signs of life until then."""

    def __init__(self) -> None:
        self._event = hub.Event()
        self._value: Any = None
        self._last = 0.0

    def made(self) -> None:
        self._last = time.monotonic()

    def finish(self, value: Any) -> None:
        self._value = value
        self._event.set()

    def wait(self, timeout: float, message: str) -> Any:
        """Return what finish() got; raise it if it is an exception.

        Raises: VppTimeout `timeout` seconds after the last sign of life.
        """
        self._last = time.monotonic()
        while not self._event.is_set():
            last = self._last
            left = last + timeout - time.monotonic()
            if left <= 0 and not self._event.wait(_TURN) and self._last == last:
                raise VppTimeout(f"VPP did not answer {message} within {timeout:g} s")
            self._event.wait(max(left, 0))
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class Pipeline:
    """Many requests under way at once."""

    def __init__(self, client: VppClient, requests: Requests, window: int, timeout: float) -> None:
        self._client = client
        self._requests = requests
        self._window = max(window, 1)
        self._timeout = timeout
        self._results: list[Any] = [None] * len(requests)
        self._under_way: dict[int, int] = {}
        """{context: place in results}"""
        self._drained = hub.Event()
        self._low = 0
        self._last = 0.0

    def run(self) -> list[Any]:
        """Return each request's reply or exception."""
        client, pending, size = self._client, [], 0
        try:
            for place, (message, fields) in enumerate(self._requests):
                context = next(client.contexts)
                try:
                    packed = client.pack(message, fields, context)
                except (ValueError, VppGone) as error:
                    self._results[place] = error
                    continue
                pending.append(packed)
                size += len(packed)
                self._under_way[context] = place
                client.waiting[context] = self._answer(context, place)
                if size >= _CHUNK or len(self._under_way) >= self._window:
                    self._flush(pending)
                    pending, size = [], 0
                    if len(self._under_way) >= self._window:
                        self._wait(self._window // 2)
            if pending:
                self._flush(pending)
            self._wait(0)
        finally:
            for context in self._under_way:
                client.waiting.pop(context, None)
        return self._results

    def _flush(self, pending: list[bytes]) -> None:
        try:
            self._client.transmit(pending, self._timeout)
        except (VppGone, VppTimeout) as error:
            for place in self._under_way.values():
                self._results[place] = error
            self._under_way.clear()

    def _answer(self, context: int, place: int) -> Callable[[Any], None]:
        def answer(value: Any) -> None:
            self._client.waiting.pop(context, None)
            self._under_way.pop(context, None)
            if getattr(value, "retval", 0):
                message, fields = self._requests[place]
                value = VppError(message, value.retval, about(fields), value)
            self._results[place] = value
            self._last = time.monotonic()
            if len(self._under_way) <= self._low:
                self._drained.set()

        return answer

    def _wait(self, low: int) -> None:
        """Wait until at most `low` are under way; those that VPP does not answer in time get a VppTimeout."""
        self._low = low
        self._last = time.monotonic()
        while len(self._under_way) > low:
            self._drained.clear()
            last = self._last
            left = last + self._timeout - time.monotonic()
            if left <= 0 and not self._drained.wait(_TURN) and self._last == last:
                for context, place in self._under_way.items():
                    self._client.waiting.pop(context, None)
                    message = self._requests[place][0]
                    self._results[place] = VppTimeout(
                        f"VPP did not answer {message} within {self._timeout:g} s")
                self._under_way.clear()
                return
            self._drained.wait(max(left, 0))
