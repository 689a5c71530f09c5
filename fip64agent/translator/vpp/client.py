# SPDX-License-Identifier: Apache-2.0
"""A client of VPP's binary API for greenthreads: calls, pipelines, dumps, cursor streams, events.

vpp_papi packs and unpacks; the socket is ours, answers find their callers by context. Everything here is for
the hub's thread. A VPP that dies wakes all who wait, at once.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import os
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from fip64agent import hub
from fip64agent.translator.vpp import compatibility
from fip64agent.translator.vpp.definitions import Definitions
from fip64agent.translator.vpp.errors import (
    EAGAIN,
    VppError,
    VppGone,
    VppIncompatible,
    VppTimeout,
    VppUnavailable,
    about,
)
from fip64agent.translator.vpp.transport import Transport
from fip64agent.translator.vpp.validate import Request
from fip64agent.translator.vpp.waiting import Pipeline, Progress, Requests

LOG = logging.getLogger(__name__)

_CREATE, _CREATE_REPLY = 15, 16
"""Numbers of sockclnt_create and its reply: the only ones that are the same in every VPP."""
_GOOD_BYE = 0.2
"""Seconds that taking leave of VPP may take."""
_NOWHERE = "exec /proc/fip64agent/nothing"
"""A CLI command that fails in open(2)."""
_MAX_EVENTS = 100_000
"""Events that wait for their subscriber; more are dropped and counted."""


class VppClient:
    """One connection to VPP's API socket."""

    def __init__(self, socket_path: str, *, name: str = "fip64agent", timeout: float = 5.0,
                 on_lost: Callable[[str], None] | None = None, check: bool = True) -> None:
        """timeout: seconds that VPP may take for an answer. on_lost: called in a greenthread, with the
        reason, when the connection ends otherwise than by close(). check: refuse a VPP that speaks other
        messages than this agent (compatibility.py)."""
        self.socket_path = os.fspath(socket_path)
        self.timeout = timeout
        self.on_lost = on_lost
        self.pid: int | None = None
        """VPP's process id, as it says itself."""
        self.local_pid: int | None = None
        """VPP's process id as the agent sees it: another one when VPP runs in a container. None: not seen."""
        self.version = ""
        """VPP's version, as it says itself."""
        self.dropped_events = 0
        self.last_heard = 0.0
        """When VPP's last message came, of the monotonic clock."""
        self._name = name
        self._check = check
        self._definitions = Definitions([])
        self._numbers: dict[str, int] = {}
        self._subscribers: dict[str, list[Callable[[Any], None]]] = {}
        self._reset("not connected yet")

    def _reset(self, reason: str) -> None:
        self._events: collections.deque = collections.deque()
        self._event_due = hub.Event()
        self._lost: str | None = reason
        self._transport: Transport | None = None
        self._index = 0
        self.contexts = itertools.count(1)
        self.waiting: dict[int, Callable[[Any], None]] = {}
        self._requests: dict[str, Request] = {}
        self._decoders: dict[int, tuple[str, Any, struct.Struct | None]] = {}
        self._names: dict[int, str] = {}

    # -- connection -------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._lost is None

    def connect(self) -> None:
        """Connect, learn VPP's messages, and compare them with those this agent was written for.

        Raises: VppUnavailable naming the socket and the reason; VppIncompatible naming the messages.
        """
        self.close()
        self._reset("connecting")
        transport = Transport(self.socket_path, self._received, self._closed)
        transport.connect(self.timeout)
        self._transport = transport
        self.local_pid = transport.peer
        try:
            self._introduce()
        except VppIncompatible:
            self.close()
            raise
        except (VppGone, VppTimeout, VppError, ValueError, KeyError) as error:
            self.close()
            raise VppUnavailable(f"VPP's API socket {self.socket_path}: no handshake: {error}") from error
        hub.spawn(self._dispatch, self._event_due, self._events)

    def close(self) -> None:
        """Leave VPP in good order; whoever waits gets VppGone. on_lost is not called."""
        if (transport := self._transport) is None:
            return
        if self._lost is None:
            with contextlib.suppress(VppGone, VppTimeout, ValueError):
                # Else VPP may keep the client: it does not always see an end of file.
                self.transmit([self.pack("sockclnt_delete", {"index": self._index}, 0)], _GOOD_BYE)
        self._transport = None
        transport.close()
        self._fail("closed by the agent")

    def _introduce(self) -> None:
        """The handshake: sockclnt_create by its fixed number, then VPP's own definitions."""
        self._definitions = Definitions.bootstrap()
        self._lost = None
        self._numbers = {"sockclnt_create": _CREATE}
        self._names = {_CREATE_REPLY: "sockclnt_create_reply"}
        reply = self._call("sockclnt_create", {"name": self._name}, self.timeout)
        if reply.response < 0:
            raise VppGone(f"VPP refuses more clients ({reply.response})")
        self._index = reply.index
        table = {entry.name: entry.index for entry in reply.message_table}
        self._learn(table)
        answer = self._call("get_api_json", {}, self.timeout)
        self._definitions = self._definitions.extended(answer.json)
        self._requests.clear()
        self._decoders.clear()
        self._learn(table)
        self.pid = self.call("control_ping").vpe_pid
        self.version = self.call("show_version").version if "show_version" in self._numbers else ""
        self._bury_the_dead()
        if self._check and (faults := compatibility.faults(self._definitions, table)):
            if compatibility.without_plugin(table):
                faults = [f"{faults[0]}: {self._why_no_plugin()}", *faults[1:]]
            raise VppIncompatible(f"VPP {self.version} at {self.socket_path} {'; '.join(faults)}")

    def _bury_the_dead(self) -> None:
        """Let VPP see the end of clients that were killed, an agent before this one for instance.

        At an end of file VPP 26.06 and 26.10 look at errno, which read(2) has not set. If that still is
        EAGAIN from before, they keep the client and look at its socket again and again, which takes a CPU.
        After another error they let the client go.
        """
        if "cli_inband" in self._numbers:
            self._call("cli_inband", {"cmd": _NOWHERE}, self.timeout)

    def _why_no_plugin(self) -> str:
        said = self.pipeline([("cli_inband", {"cmd": "show plugins"}), ("cli_inband", {"cmd": "show log"})])
        return compatibility.why_no_plugin(*(getattr(answer, "reply", "") for answer in said))

    def _learn(self, table: Mapping[str, int]) -> None:
        """table: {name_crc: number}, from VPP. Only messages whose definition has the same CRC count."""
        self._numbers = {}
        for name in self._definitions.raw_messages:
            if (number := table.get(f"{name}_{self._definitions.crc(name)}")) is not None:
                self._numbers[name] = number
        self._names = {number: name for name, number in self._numbers.items()}

    @property
    def lost(self) -> str | None:
        """Why there is no connection; None while there is one."""
        return self._lost

    def has(self, message: str) -> bool:
        """Whether the connected VPP has a message of this name."""
        return message in self._numbers

    # -- requests ---------------------------------------------------------------------------------

    def call(self, message: str, /, *, _timeout: float | None = None, **fields: Any) -> Any:
        """Send a request and return its reply.

        Raises: ValueError when the request is malformed (it is not sent), VppError when VPP refuses it,
        VppGone, VppTimeout.
        """
        reply = self._call(message, fields, _timeout or self.timeout)
        retval = getattr(reply, "retval", 0)
        if retval:
            raise VppError(message, retval, about(fields), reply)
        return reply

    def pipeline(self, requests: Requests, *, window: int = 512,
                 timeout: float | None = None) -> list[Any]:
        """Send many requests, up to `window` ahead of VPP's answers; return each one's reply or exception.

        In the order of the requests. An exception of one (ValueError, VppError, VppGone, VppTimeout) does not
        stop the others. timeout: seconds that may pass without any answer.
        """
        return Pipeline(self, requests, window, timeout or self.timeout).run()

    def dump(self, message: str, /, *, _timeout: float | None = None, **fields: Any) -> list[Any]:
        """Send a dump request and return all its details.

        A control_ping behind the request marks the end. Raises: as call().
        """
        details: list[Any] = []
        context, pong = next(self.contexts), next(self.contexts)
        progress = Progress()

        def more(detail: Any) -> None:
            details.append(detail)
            progress.made()

        self.waiting[context] = more
        self.waiting[pong] = progress.finish
        try:
            self.transmit([self.pack(message, fields, context), self.pack("control_ping", {}, pong)],
                          _timeout or self.timeout)
            progress.wait(_timeout or self.timeout, message)
        finally:
            self.waiting.pop(context, None)
            self.waiting.pop(pong, None)
        for detail in details:
            if isinstance(detail, Exception):
                raise detail
            if getattr(detail, "retval", 0):  # some dumps answer with a reply when they are refused
                raise VppError(message, detail.retval, about(fields), detail)
        return details

    def get(self, message: str, /, *, _timeout: float | None = None, **fields: Any) -> list[Any]:
        """Read a cursor stream to its end and return all its details. Raises: as call().

        The fields of the reply that the request has too (cursor, ...) go into the next request.
        """
        details: list[Any] = []
        fields.setdefault("cursor", 0)
        while True:
            reply = self._stream(message, fields, details, _timeout or self.timeout)
            if reply.retval == 0:
                return details
            if reply.retval != EAGAIN:
                raise VppError(message, reply.retval, about(fields), reply)
            cursor = {name: value for name, value in reply._asdict().items() if name.startswith("cursor")}
            if all(fields.get(name) == value for name, value in cursor.items()):
                raise VppError(message, EAGAIN, "(its cursor does not move)", reply)
            fields.update(cursor)

    def _stream(self, message: str, fields: Mapping[str, Any], details: list[Any], timeout: float) -> Any:
        """Return the reply that ends one piece of a cursor stream; the details before it go to `details`."""
        reply_name = self._definitions.services.get(message, {}).get("reply")
        context = next(self.contexts)
        progress = Progress()

        def more(answer: Any) -> None:
            if isinstance(answer, Exception) or type(answer).__name__ == reply_name:
                progress.finish(answer)
            else:
                details.append(answer)
                progress.made()

        self.waiting[context] = more
        try:
            self.transmit([self.pack(message, fields, context)], timeout)
            return progress.wait(timeout, message)
        finally:
            self.waiting.pop(context, None)

    def subscribe(self, event: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call `callback` with each event of this name, in a greenthread of its own, in order of arrival.

        Subscriptions outlive a reconnect; the request that asks VPP for the events (want_...) is the
        caller's, each time. Returns a function that ends the subscription.
        """
        callbacks = self._subscribers.setdefault(event, [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback) if callback in callbacks else None

    def _call(self, message: str, fields: Mapping[str, Any], timeout: float) -> Any:
        context = next(self.contexts)
        progress = Progress()
        self.waiting[context] = progress.finish
        try:
            self.transmit([self.pack(message, fields, context)], timeout)
            return progress.wait(timeout, message)
        finally:
            self.waiting.pop(context, None)

    # -- out (for waiting.py too) -----------------------------------------------------------------

    def pack(self, message: str, fields: Mapping[str, Any], context: int) -> bytes:
        """Return a checked request. Raises: VppGone, ValueError."""
        if self._lost is not None:
            raise VppGone(f"no connection to VPP at {self.socket_path}: {self._lost}")
        if (request := self._requests.get(message)) is None:
            if message not in self._numbers:
                raise ValueError(f"{message}: VPP at {self.socket_path} has no such message")
            request = self._requests[message] = Request(self._definitions, message)
        return request.pack(fields, self._numbers[message], self._index, context & 0xffffffff)

    def transmit(self, messages: list[bytes], timeout: float) -> None:
        """Raises: VppGone, VppTimeout."""
        if self._transport is None:
            raise VppGone(f"no connection to VPP at {self.socket_path}: {self._lost}")
        self._transport.send(messages, timeout)

    # -- in ---------------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        self.last_heard = time.monotonic()
        number = data[0] << 8 | data[1]
        decoder = self._decoders.get(number) or self._decoder(number)
        name, message, context_at = decoder
        if message is None:
            return  # not in VPP's own definitions, or an event that nobody wants
        context = context_at.unpack_from(data)[0] if context_at is not None and len(data) >= context_at.size \
            else None
        waiter = self.waiting.get(context) if context is not None else None
        if waiter is None and name not in self._subscribers:
            if name == "memclnt_keepalive":
                hub.spawn(self._keepalive, context)
            return  # too late, or nobody's
        try:
            value = message.unpack(data)[0]
        except Exception as error:  # of any kind: vpp_papi lets everything through
            value = VppGone(f"VPP at {self.socket_path} sent a {name} that cannot be read: {error}")
        if waiter is not None:
            waiter(value)
        elif not isinstance(value, Exception):
            self._enqueue(name, value)

    def _decoder(self, number: int) -> tuple[str, Any, struct.Struct | None]:
        """Return a message's name, its packer, and how to find its context, if it has one."""
        name = self._names.get(number, "")
        message = self._definitions.message(name) if name else None
        fields = list(message.fields[1:3]) if message is not None else []
        where = None
        if "context" in fields:
            where = struct.Struct(">2xI" if fields[0] == "context" else ">6xI")
        self._decoders[number] = decoder = (name, message, where)
        return decoder

    def _keepalive(self, context: int) -> None:
        with contextlib.suppress(VppGone, VppTimeout, KeyError):
            number = self._numbers["memclnt_keepalive_reply"]
            self.transmit([struct.pack(">HIi", number, context, 0)], self.timeout)

    def _enqueue(self, name: str, event: Any) -> None:
        if len(self._events) >= _MAX_EVENTS:
            self.dropped_events += 1
            return
        self._events.append((name, event))
        self._event_due.set()

    def _dispatch(self, due: hub.Event, events: collections.deque) -> None:
        """Hand out events until the connection they came over is gone."""
        while True:
            due.wait()
            due.clear()
            while events:
                name, event = events.popleft()
                for callback in tuple(self._subscribers.get(name, ())):
                    try:
                        callback(event)
                    except Exception:
                        LOG.exception("the subscriber of VPP's %s failed", name)
            if self._lost is not None or due is not self._event_due:
                return

    # -- the end ----------------------------------------------------------------------------------

    def _closed(self, reason: str) -> None:
        """The transport: the connection has ended."""
        self._transport = None
        was_connected = self._lost is None
        self._fail(reason)
        if was_connected and self.on_lost is not None:
            hub.spawn(self.on_lost, reason)

    def _fail(self, reason: str) -> None:
        self._lost = reason
        waiting, self.waiting = self.waiting, {}
        gone = VppGone(f"VPP at {self.socket_path} is gone: {reason}")
        for waiter in waiting.values():
            waiter(gone)
        self._event_due.set()
