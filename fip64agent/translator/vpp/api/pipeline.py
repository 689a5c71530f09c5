# SPDX-License-Identifier: Apache-2.0
"""Waiting for VPP's answers: for one (Wait), or for those to many requests at once (Pipeline)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fip64agent import hub
from fip64agent.translator.vpp.api.errors import VppError, VppGone, VppTimeout, about

if TYPE_CHECKING:
    from fip64agent.translator.vpp.api.client import VppClient

_CHUNK = 64 << 10
"""Bytes of a pipeline that are written to the socket at a time."""

_GRACE = 0.01
"""Seconds after a timeout in which answers that have arrived already are read. An agent that was busy, or
whose machine was suspended, finds that the time is over before it has looked at the socket."""

Request = tuple[str, Mapping[str, Any]]
"""Name of a message, and its fields."""


class Wait:
    """One caller's wait for VPP's answer. Its timeout counts from VPP's last message to this caller."""

    def __init__(self) -> None:
        self._event = hub.Event()
        self._value: Any = None
        self._last = 0.0

    def extend(self) -> None:
        """Restart the timeout: VPP has sent a part of the answer."""
        self._last = time.monotonic()

    def finish(self, value: Any) -> None:
        """End the wait with VPP's answer, or with an exception."""
        self._value = value
        self._event.set()

    def result(self, timeout: float, message: str) -> Any:
        """Wait for finish() and return its value, or raise it if it is an exception.

        message: name of the request. Raises: VppTimeout when VPP has sent nothing for `timeout` seconds.
        """
        self._last = time.monotonic()
        while not self._event.is_set():
            last = self._last
            left = last + timeout - time.monotonic()
            if left <= 0 and not self._event.wait(_GRACE) and self._last == last:
                raise VppTimeout(f"VPP did not answer {message} within {timeout:g} s")
            self._event.wait(max(left, 0))
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class Pipeline:
    """Sends many requests, up to `window` of them without an answer yet."""

    def __init__(self, client: VppClient, requests: Sequence[Request], window: int, timeout: float) -> None:
        self._client = client
        self._requests = requests
        self._window = max(window, 1)
        self._timeout = timeout
        self._results: list[Any] = [None] * len(requests)
        self._unanswered: dict[int, int] = {}
        """{context: position in the results}"""
        self._few_enough = hub.Event()
        self._limit = 0
        """With at most so many requests unanswered, _few_enough is set."""
        self._last = 0.0

    def run(self) -> list[Any]:
        """Return each request's reply or exception."""
        client, pending, size = self._client, [], 0
        try:
            for position, (message, fields) in enumerate(self._requests):
                context = next(client.contexts)
                try:
                    packed = client.pack(message, fields, context)
                except (ValueError, VppGone) as error:
                    self._results[position] = error
                    continue
                pending.append(packed)
                size += len(packed)
                self._unanswered[context] = position
                client.waiting[context] = self._answer(context, position)
                if size >= _CHUNK or len(self._unanswered) >= self._window:
                    self._flush(pending)
                    pending, size = [], 0
                    if len(self._unanswered) >= self._window:
                        self._wait(self._window // 2)
            if pending:
                self._flush(pending)
            self._wait(0)
        finally:
            for context in self._unanswered:
                client.waiting.pop(context, None)
        return self._results

    def _flush(self, pending: list[bytes]) -> None:
        try:
            self._client.transmit(pending, self._timeout)
        except (VppGone, VppTimeout) as error:
            for position in self._unanswered.values():
                self._results[position] = error
            self._unanswered.clear()

    def _answer(self, context: int, position: int) -> Callable[[Any], None]:
        def answer(value: Any) -> None:
            self._client.waiting.pop(context, None)
            self._unanswered.pop(context, None)
            if getattr(value, "retval", 0):
                message, fields = self._requests[position]
                value = VppError(message, value.retval, about(fields), value)
            self._results[position] = value
            self._last = time.monotonic()
            if len(self._unanswered) <= self._limit:
                self._few_enough.set()

        return answer

    def _wait(self, limit: int) -> None:
        """Wait until at most `limit` requests are unanswered.

        When VPP has sent nothing for the timeout, all that are unanswered get a VppTimeout.
        """
        self._limit = limit
        self._last = time.monotonic()
        while len(self._unanswered) > limit:
            self._few_enough.clear()
            last = self._last
            left = last + self._timeout - time.monotonic()
            if left <= 0 and not self._few_enough.wait(_GRACE) and self._last == last:
                for context, position in self._unanswered.items():
                    self._client.waiting.pop(context, None)
                    message = self._requests[position][0]
                    self._results[position] = VppTimeout(
                        f"VPP did not answer {message} within {self._timeout:g} s")
                self._unanswered.clear()
                return
            self._few_enough.wait(max(left, 0))
