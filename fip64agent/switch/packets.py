# SPDX-License-Identifier: Apache-2.0
"""Hands packets that come in to the services that answer them, and sends the answers.

Each port has a queue of its own, and they take turns: a port that sends more than is handled loses packets of
its own and delays nobody else. The switch itself lets only so many of a port through (connection/meters.py).
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable
from typing import Any

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.net import packet as net
from fip64agent.plan.desired import Desired
from fip64agent.services.base import Service, services
from fip64agent.switch import features, pipeline
from fip64agent.switch.connection import packet_in
from fip64agent.switch.connection.fields import CodecError

LOG = logging.getLogger(__name__)

HANDLED, FULL, NO_SERVICE, UNKNOWN_PORT = "handled", "queue-full", "no-service", "unknown-port"
UNPARSABLE, FAILED, SLOW, SUSPENDED = "unparsable", "failed", "slow", "suspended"
"""What can become of a packet.

HANDLED: it was given to its service, which returned in time. SLOW: it was given to its service, which took
too long. All others are dropped. FULL: too many packets of this port wait already. NO_SERVICE: no service
takes what this flow sends. UNKNOWN_PORT: no object of the plan has this port. UNPARSABLE: it cannot be read.
FAILED: its service raised an exception, which is in the log. SUSPENDED: its service took too long for this
port a moment ago.
"""

WAITING = 64
"""Packets of one port that may wait."""
TURN = 0.002
"""Seconds of work after which other greenthreads of the daemon get their turn."""
LONG = 0.010
"""Seconds of CPU time after which a service took too long for a packet. Not by the clock: on a busy machine
others have the CPU meanwhile, which is not the service's fault."""
WAITED = 0.500
"""Seconds by the clock after which it did all the same: it must have waited for something."""
REST = 9
"""A service that took too long gets no packets of that port for so many times as long: so it takes no more
than a tenth of the time."""
TELL_AGAIN = 60.0
"""Seconds between two lines in the log about the same service."""


class PacketIns:
    """`send` sends OpenFlow messages; it may wait, and raises NotReady."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._services: dict[int, Service] = {}
        """By the number of the flow feature, as cookies have it."""
        self._by_kind: dict[str, list[int]] = {}
        for name, service in services().items():
            if name not in features.features():
                raise ValueError(f"a service is for flow feature {name}, which does not exist")
            number = features.features()[name].number
            self._services[number] = service
            self._by_kind.setdefault(service.kind, []).append(number)
        self._objects: dict[tuple[int, int], Any] = {}
        """By number of the flow feature and OpenFlow port."""
        self._queues: dict[int, collections.deque[packet_in.PacketIn]] = {}
        """By OpenFlow port; only those in which packets wait, in the order of their next turns."""
        self._suspended: dict[tuple[int, int], float] = {}
        """Until when a service gets no packets of a port."""
        self._told: dict[tuple[int, str], float] = {}
        self._due = hub.Event()
        self._thread = None
        self._counters: collections.Counter[tuple[int, str]] = collections.Counter()

    def start(self) -> None:
        """Begin to handle packets."""
        self._thread = hub.spawn(self._run)

    def close(self) -> None:
        """Handle no more."""
        if self._thread is not None:
            self._thread.kill()
            self._thread = None

    def counters(self) -> dict[tuple[int, str], int]:
        """Return how many packets there were, by (OpenFlow port, what became of them, HANDLED for instance).

        Port 0: the message did not say which.
        """
        return dict(self._counters)

    def follow(self, before: Desired, after: Desired) -> None:
        """The plan has changed: handlers get its new objects."""
        if not self._by_kind:
            return
        changes = after.changes(before)
        for old, _ in changes:
            for key in self._keys(old):
                self._objects.pop(key, None)
        for _, new in changes:
            self._objects.update(dict.fromkeys(self._keys(new), new))

    def _keys(self, obj: Any) -> list[tuple[int, int]]:
        if obj is None:
            return []
        return [(number, ofport) for number in self._by_kind.get(obj.kind, ())
                for ofport in self._services[number].in_ports(obj)]

    def take(self, message: bytes) -> None:
        """Take an OFPT_PACKET_IN message. Neither waits nor raises."""
        try:
            packet = packet_in.decode(message)
        except CodecError:
            self._counters[0, UNPARSABLE] += 1
            return
        queue = self._queues.get(packet.in_port)
        if queue is None:
            self._queues[packet.in_port] = collections.deque((packet,))
            self._due.set()
        elif len(queue) < WAITING:
            queue.append(packet)
        else:
            self._counters[packet.in_port, FULL] += 1

    def _run(self) -> None:
        while True:
            if not self._queues:
                self._due.clear()
                self._due.wait()
            out: list[bytes] = []
            until = time.monotonic() + TURN
            while self._queues and time.monotonic() < until:
                out += self._handle(self._next())
            if out:
                try:
                    self._send(b"".join(out))
                except NotReady:
                    pass  # who asked asks again
                except Exception:
                    LOG.exception("answers to packets were not sent")
            hub.sleep(0)

    def _next(self) -> packet_in.PacketIn:
        """Return the next packet; its port's next turn comes after those of all others."""
        ofport = next(iter(self._queues))
        queue = self._queues.pop(ofport)
        packet = queue.popleft()
        if queue:
            self._queues[ofport] = queue
        return packet

    def _handle(self, packet: packet_in.PacketIn) -> list[bytes]:
        """Return the PACKET_OUTs that answer a packet."""
        decoded = pipeline.decode_cookie(packet.cookie)
        number, ofport = decoded[0] if decoded else 0, packet.in_port
        service = self._services.get(number)
        if service is None:
            self._counters[ofport, NO_SERVICE] += 1
            return []
        obj = self._objects.get((number, ofport))
        if obj is None:
            self._counters[ofport, UNKNOWN_PORT] += 1
            return []
        begun, used = time.monotonic(), time.thread_time()
        if self._suspended and self._suspended.get((number, ofport), 0.0) > begun:
            self._counters[ofport, SUSPENDED] += 1
            return []
        try:
            parsed = net.parse(packet.data)
        except net.PacketError:
            self._counters[ofport, UNPARSABLE] += 1
            return []
        result, out = HANDLED, []
        try:
            out = [packet_in.packet_out(ofport if answer.ofport is None else answer.ofport, answer.data)
                   for answer in service.handle(parsed, obj)]
        except Exception as error:
            result = FAILED
            self._tell(number, "failed", f"{type(error).__name__} for {packet.data.hex()}", True)
        took, now = time.thread_time() - used, time.monotonic()
        if now - begun > WAITED:
            took = now - begun
        if took > LONG:
            result = SLOW if result == HANDLED else result
            self._suspended = {key: until for key, until in self._suspended.items() if until > now}
            self._suspended[number, ofport] = now + REST * took
            self._tell(number, "took too long", f"{took * 1000:.0f} ms for {packet.data.hex()}", False)
        self._counters[ofport, result] += 1
        return out

    def _tell(self, number: int, what: str, details: str, trace: bool) -> None:
        """Say in the log that a service is at fault, at most once in TELL_AGAIN."""
        now = time.monotonic()
        if now - self._told.get((number, what), float("-inf")) >= TELL_AGAIN:
            self._told[number, what] = now
            LOG.error("the service of flow feature %s %s: %s; further cases are counted, and told in %g s at "
                      "the earliest", features.feature_name(number), what, details, TELL_AGAIN,
                      exc_info=trace)
