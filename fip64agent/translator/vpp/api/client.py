# SPDX-License-Identifier: Apache-2.0
"""A client of VPP's binary API for greenthreads: calls, pipelines, dumps, cursor streams, events.

vpp_papi packs and unpacks the messages; the socket is not vpp_papi's. A request carries a number, its
context, which VPP repeats in the reply: so each reply finds its request. Only the hub's thread may use a
client. When the connection ends, all requests without a reply raise VppGone at once.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fip64agent import hub
from fip64agent.translator.vpp.api import compatibility
from fip64agent.translator.vpp.api.definitions import Definitions
from fip64agent.translator.vpp.api.errors import (
    EAGAIN,
    VppError,
    VppGone,
    VppIncompatible,
    VppTimeout,
    VppUnavailable,
    about,
)
from fip64agent.translator.vpp.api.pipeline import Pipeline, Request, Wait
from fip64agent.translator.vpp.api.transport import Transport
from fip64agent.translator.vpp.api.validation import RequestPacker

LOG = logging.getLogger(__name__)

_CREATE, _CREATE_REPLY = 15, 16
"""Numbers of sockclnt_create and its reply: the only messages whose numbers are the same in every VPP."""
_CLOSE_TIMEOUT = 0.2
"""Seconds that VPP may take to read sockclnt_delete."""
_FAILING_COMMAND = "exec /proc/fip64agent/nothing"
"""A CLI command for which VPP calls open(2), which fails."""
_MAX_EVENTS = 100_000
"""Events that wait for their subscribers; more are dropped."""


class VppClient:
    """One connection to VPP's API socket."""

    def __init__(self, socket_path: str, *, name: str = "fip64agent", timeout: float = 5.0,
                 on_lost: Callable[[str], None] | None = None, check: bool = True) -> None:
        """timeout: seconds that VPP may take for an answer. on_lost: called in a greenthread, with the
        reason, when the connection ends other than by close(). check: connect() refuses a VPP whose messages
        differ from those that this agent was written for."""
        self.socket_path = os.fspath(socket_path)
        self.timeout = timeout
        self.on_lost = on_lost
        self.pid: int | None = None
        """VPP's process id, as VPP reports it."""
        self.local_pid: int | None = None
        """VPP's process id in the agent's own PID namespace: it differs from `pid` when VPP runs in a
        container. None: the agent cannot see the process."""
        self.version = ""
        """VPP's version, as VPP reports it."""
        self.last_received = 0.0
        """When VPP's last message came, by the monotonic clock."""
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
        self._packers: dict[str, RequestPacker] = {}
        self._decoders: dict[int, tuple[str, Any, struct.Struct | None]] = {}
        self._names: dict[int, str] = {}

    # -- connection -------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._lost is None

    def connect(self) -> None:
        """Connect, get the definitions of VPP's messages, and compare them with those that the agent uses.

        Raises: VppUnavailable naming the socket and the reason; VppIncompatible naming the messages.
        """
        self.close()
        self._reset("connecting")
        transport = Transport(self.socket_path, self._received, self._closed)
        transport.connect(self.timeout)
        self._transport = transport
        self.local_pid = transport.peer
        try:
            self._handshake()
        except VppIncompatible:
            self.close()
            raise
        except (VppGone, VppTimeout, VppError, ValueError, KeyError) as error:
            self.close()
            raise VppUnavailable(f"VPP's API socket {self.socket_path}: no handshake: {error}") from error
        hub.spawn(self._dispatch, self._event_due, self._events)

    def close(self) -> None:
        """Deregister from VPP and disconnect; unanswered requests raise VppGone. on_lost is not called."""
        if (transport := self._transport) is None:
            return
        if self._lost is None:
            with contextlib.suppress(VppGone, VppTimeout, ValueError):
                # Without it VPP may keep the client: it does not always notice an end of file.
                self.transmit([self.pack("sockclnt_delete", {"index": self._index}, 0)], _CLOSE_TIMEOUT)
        self._transport = None
        transport.close()
        self._fail("closed by the agent")

    def _handshake(self) -> None:
        """Send sockclnt_create by its fixed number, then ask for VPP's own definitions."""
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
        self._packers.clear()
        self._decoders.clear()
        self._learn(table)
        self.pid = self.call("control_ping").vpe_pid
        self.version = self.call("show_version").version if "show_version" in self._numbers else ""
        self._release_dead_clients()
        if self._check and (faults := compatibility.faults(self._definitions, table)):
            if compatibility.without_plugin(table):
                faults = [f"{faults[0]}: {self._why_no_plugin()}", *faults[1:]]
            raise VppIncompatible(f"VPP {self.version} at {self.socket_path} {'; '.join(faults)}")

    def _release_dead_clients(self) -> None:
        """Make VPP notice that clients were killed, for example an earlier agent.

        At an end of file VPP 26.06 and 26.10 look at errno, which read(2) does not set then. While errno is
        still EAGAIN from an earlier call, they keep the client and poll its socket, which takes a whole CPU.
        A command that makes another system call fail changes errno, and VPP releases the client.
        """
        if "cli_inband" in self._numbers:
            self._call("cli_inband", {"cmd": _FAILING_COMMAND}, self.timeout)

    def _why_no_plugin(self) -> str:
        answers = self.pipeline([("cli_inband", {"cmd": f"show {what}"}) for what in ("plugins", "log")])
        return compatibility.why_no_plugin(*(getattr(answer, "reply", "") for answer in answers))

    def _learn(self, table: Mapping[str, int]) -> None:
        """Keep the numbers of the messages. table: {name_crc: number}, from VPP.

        A message whose definition has another CRC is left out.
        """
        self._numbers = {}
        for name in self._definitions.raw_messages:
            if (number := table.get(f"{name}_{self._definitions.crc(name)}")) is not None:
                self._numbers[name] = number
        self._names = {number: name for name, number in self._numbers.items()}

    @property
    def lost(self) -> str | None:
        """Why there is no connection; None while there is one."""
        return self._lost

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

    def pipeline(self, requests: Sequence[Request], *, window: int = 512,
                 timeout: float | None = None) -> list[Any]:
        """Send many requests, up to `window` of them without an answer yet; return replies or exceptions.

        The result has one entry for each request, in their order. An exception (ValueError, VppError,
        VppGone, VppTimeout) does not stop the other requests. timeout: seconds that may pass without any
        answer.
        """
        return Pipeline(self, requests, window, timeout or self.timeout).run()

    def dump(self, message: str, /, *, _timeout: float | None = None, **fields: Any) -> list[Any]:
        """Send a dump request and return all its details.

        A control_ping behind the request marks the end. Raises: as call().
        """
        details: list[Any] = []
        context, pong = next(self.contexts), next(self.contexts)
        wait = Wait()

        def more(detail: Any) -> None:
            details.append(detail)
            wait.extend()

        self.waiting[context] = more
        self.waiting[pong] = wait.finish
        try:
            self.transmit([self.pack(message, fields, context), self.pack("control_ping", {}, pong)],
                          _timeout or self.timeout)
            wait.result(_timeout or self.timeout, message)
        finally:
            self.waiting.pop(context, None)
            self.waiting.pop(pong, None)
        for detail in details:
            if isinstance(detail, Exception):
                raise detail
            if getattr(detail, "retval", 0):  # VPP answers some dumps that it refuses with a reply
                raise VppError(message, detail.retval, about(fields), detail)
        return details

    def get(self, message: str, /, *, _timeout: float | None = None, **fields: Any) -> list[Any]:
        """Read a cursor stream to its end and return all its details. Raises: as call().

        VPP sends it in pieces; the cursor fields of a piece's reply go into the request for the next piece.
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
        """Read one piece of a cursor stream: append its details to `details`, return the reply at its end."""
        reply_name = self._definitions.services.get(message, {}).get("reply")
        context = next(self.contexts)
        wait = Wait()

        def more(answer: Any) -> None:
            if isinstance(answer, Exception) or type(answer).__name__ == reply_name:
                wait.finish(answer)
            else:
                details.append(answer)
                wait.extend()

        self.waiting[context] = more
        try:
            self.transmit([self.pack(message, fields, context)], timeout)
            return wait.result(timeout, message)
        finally:
            self.waiting.pop(context, None)

    def subscribe(self, event: str, callback: Callable[[Any], None]) -> None:
        """Call `callback` with each event of this name, in a greenthread of its own, in order of arrival.

        A subscription stays over a reconnect, but the caller must ask VPP for the events (want_...) after
        each.
        """
        self._subscribers.setdefault(event, []).append(callback)

    def _call(self, message: str, fields: Mapping[str, Any], timeout: float) -> Any:
        context = next(self.contexts)
        wait = Wait()
        self.waiting[context] = wait.finish
        try:
            self.transmit([self.pack(message, fields, context)], timeout)
            return wait.result(timeout, message)
        finally:
            self.waiting.pop(context, None)

    # -- sending (for pipeline.py too) ------------------------------------------------------------

    def pack(self, message: str, fields: Mapping[str, Any], context: int) -> bytes:
        """Check a request and return it as bytes. Raises: VppGone, ValueError."""
        if self._lost is not None:
            raise VppGone(f"no connection to VPP at {self.socket_path}: {self._lost}")
        if (packer := self._packers.get(message)) is None:
            if message not in self._numbers:
                raise ValueError(f"{message}: VPP at {self.socket_path} has no such message")
            packer = self._packers[message] = RequestPacker(self._definitions, message)
        return packer.pack(fields, self._numbers[message], self._index, context & 0xffffffff)

    def transmit(self, messages: list[bytes], timeout: float) -> None:
        """Send packed requests; VPP may take `timeout` seconds to read. Raises: VppGone, VppTimeout."""
        if self._transport is None:
            raise VppGone(f"no connection to VPP at {self.socket_path}: {self._lost}")
        self._transport.send(messages, timeout)

    # -- receiving --------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        self.last_received = time.monotonic()
        number = data[0] << 8 | data[1]
        decoder = self._decoders.get(number) or self._decoder(number)
        name, message, context_at = decoder
        if message is None:
            return  # it is not in VPP's own definitions
        context = context_at.unpack_from(data)[0] if context_at is not None and len(data) >= context_at.size \
            else None
        waiter = self.waiting.get(context) if context is not None else None
        if waiter is None and name not in self._subscribers:
            if name == "memclnt_keepalive":
                hub.spawn(self._keepalive, context)
            return  # its request was given up, or there is no subscription
        try:
            value = message.unpack(data)[0]
        except Exception as error:  # vpp_papi raises exceptions of any kind
            value = VppGone(f"VPP at {self.socket_path} sent a {name} that cannot be read: {error}")
        if waiter is not None:
            waiter(value)
        elif not isinstance(value, Exception):
            self._enqueue(name, value)

    def _decoder(self, number: int) -> tuple[str, Any, struct.Struct | None]:
        """Return a message's name, its packer, and the place of its context, if it has one."""
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
            return
        self._events.append((name, event))
        self._event_due.set()

    def _dispatch(self, due: hub.Event, events: collections.deque) -> None:
        """Call the subscribers with the events of one connection until it ends."""
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

    # -- end of the connection --------------------------------------------------------------------

    def _closed(self, reason: str) -> None:
        """Called by the transport: the connection has ended."""
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
