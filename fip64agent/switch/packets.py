# SPDX-License-Identifier: Apache-2.0
"""Hands packets that come in to the services that answer them, and sends the answers.

Each port has a queue of its own for each service. Services take turns, and so do the ports of each: a port
that sends more than is handled loses packets of its own, and those of other ports are not delayed. The switch
limits the packets of each port before that (connection/meters.py). The time that a service takes above
FREE_CPU_TIME is limited for all ports together, and each of them gets the same part of it.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.net import packet as net
from fip64agent.plan.desired import Desired, ObjectKey
from fip64agent.services.base import Arrival, Service, services
from fip64agent.switch import features, pipeline
from fip64agent.switch.connection import packet_in
from fip64agent.switch.connection.fields import CodecError

LOG = logging.getLogger(__name__)

HANDLED = "handled"
"""The packet was given to its service, which returned in time. This and the following name counters."""
QUEUE_FULL = "queue-full"
"""Dropped: too many packets of its port wait already."""
NO_SERVICE = "no-service"
"""Dropped: no service takes what its flow sends."""
UNKNOWN_PORT = "unknown-port"
"""Dropped: no object of the plan has its port."""
UNPARSABLE = "unparsable"
"""Dropped: it is not a packet that can be read."""
FAILED = "failed"
"""Dropped: its service raised an exception, which is in the log. With port 0: it cannot tell the ports of an
object, which is not served."""
SLOW = "slow"
"""The packet was given to its service, which took too long."""
SUSPENDED = "suspended"
"""Dropped: its service took too long for packets of this port shortly before."""

LAST_PORT = 0xFEFF
"""OpenFlow port number of an interface, at most. Open vSwitch uses the higher ones for the bridge itself."""
MOST_WAITING = 64
"""Packets of one port that may wait for one service, at most."""
TIME_SLICE = 0.002
"""Seconds of work after which other greenthreads of the daemon run."""
FREE_CPU_TIME = 0.0002
"""Seconds of CPU time that a service may take for every packet. 5,000 such packets a second fill the CPU."""
LONGEST_CPU_TIME = 0.005
"""Seconds of CPU time above FREE_CPU_TIME that a service may take for packets of a port at once, and that a
single packet may take. Not by the clock: on a busy machine other programs use the CPU meanwhile, which is not
the service's fault."""
LONGEST_TIME = 0.500
"""Seconds by the clock that a service may take for a packet: if it takes longer it has waited."""
SHARE, SLOW_SHARE = 0.1, 0.01
"""Parts of the time that a service may take above FREE_CPU_TIME, for all ports together. When it has taken
more, it gets no packets of the ports that cost it, until the time has passed of which that is the part.
SLOW_SHARE is for packets that take longer than LONGEST_CPU_TIME, since they delay all others: at most one of
a hundred is delayed so. It counts from a port's second such packet within SLOW_MEMORY on: during the first,
Python's garbage collector may have run."""
SLOW_MEMORY = 10.0
"""Seconds for which it is remembered that a port had such a packet, after its debt was made up for."""
LOG_INTERVAL = 60.0
"""Seconds between two lines in the log about the same service."""


class _Debt:
    """What a service took for packets of a port above FREE_CPU_TIME, and has to make up for."""

    __slots__ = ("slow", "until")

    def __init__(self) -> None:
        self.until = 0.0
        """When it will have been made up for, by the monotonic clock."""
        self.slow = False
        """Whether one of the packets took longer than LONGEST_CPU_TIME."""


class PacketIns:
    """The packets that came in and wait for their services.

    `send`: sends OpenFlow messages; it may wait, and raises NotReady.
    """

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
        self._others: dict[tuple[int, int], dict[ObjectKey, Any]] = {}
        """By the same, and by their keys: objects whose port is another one's too. There should be none."""
        self._queues: dict[int, dict[int, collections.deque[packet_in.PacketIn]]] = {}
        """By number of the flow feature, then by OpenFlow port; only those in which packets wait, both in the
        order of their next turns."""
        self._debts: dict[int, dict[int, _Debt]] = {}
        """By the same; those that were made up for SLOW_MEMORY ago may be left out."""
        self._ports: Mapping[int, str] = {}
        """Names of the interfaces on the bridge by OpenFlow port."""
        self._logged: dict[tuple[int, str], float] = {}
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
        """Return how many packets there were, by (OpenFlow port, HANDLED, QUEUE_FULL ...).

        Of the ports that are on the bridge. Port 0: it is not known which port.
        """
        return dict(self._counters)

    def warnings(self) -> list[str]:
        """Return which objects get no packets because another one has their port, as sentences."""
        return [self._gets_nothing(key, owner) for key, others in self._others.items() for owner in others]

    def ports_changed(self, names: Mapping[int, str]) -> None:
        """Forget what belongs to ports that are not on the bridge any more: their numbers are used again.

        `names`: those of all interfaces on the bridge, by OpenFlow port.
        """
        before, self._ports = self._ports, names
        known = {port for port, _ in self._counters}.union(*self._debts.values())
        gone = {port for port in known if 0 < port <= LAST_PORT
                and (port not in names or before.get(port, names[port]) != names[port])}
        if not gone:
            return
        for key in [key for key in self._counters if key[0] in gone]:
            del self._counters[key]
        for debts in self._debts.values():
            for port in gone & debts.keys():
                del debts[port]

    def plan_changed(self, before: Desired, after: Desired) -> None:
        """Give the services the objects of the plan `after` from now on, instead of those of `before`."""
        if not self._by_kind:
            return
        changes = after.changes(before)
        for old, _ in changes:
            for key in self._keys(old):
                self._release(key, old)
        for _, new in changes:
            for key in self._keys(new):
                self._claim(key, new)

    def _claim(self, key: tuple[int, int], obj: Any) -> None:
        has = self._objects.setdefault(key, obj)
        if has.key == obj.key:
            self._objects[key] = obj
        else:
            self._others.setdefault(key, {})[obj.key] = obj
            LOG.error("%s", self._gets_nothing(key, obj.key))

    def _release(self, key: tuple[int, int], obj: Any) -> None:
        has, others = self._objects.get(key), self._others.get(key, {})
        others.pop(obj.key, None)
        if has is not None and has.key == obj.key:
            del self._objects[key]
            if others:
                self._objects[key] = others.pop(next(iter(others)))
        if not others:
            self._others.pop(key, None)

    def _gets_nothing(self, key: tuple[int, int], owner: ObjectKey) -> str:
        number, ofport = key
        return (f"flow feature {features.feature_name(number)}: {pipeline.owner_text(owner)} gets no "
                f"packets: OpenFlow port {ofport} is that of {pipeline.owner_text(self._objects[key].key)}")

    def _keys(self, obj: Any) -> list[tuple[int, int]]:
        if obj is None:
            return []
        keys = []
        for number in self._by_kind.get(obj.kind, ()):
            try:
                keys += [(number, ofport) for ofport in self._services[number].in_ports(obj)]
            except Exception as error:  # its fault costs no other service or object anything
                self._counters[0, FAILED] += 1
                self._log_fault(number, "cannot tell the ports of an object",
                                f"{type(error).__name__} for {pipeline.owner_text(obj.key)}", True)
        return keys

    def take(self, message: bytes) -> None:
        """Put the packet of an OFPT_PACKET_IN message into its port's queue. Neither waits nor raises."""
        try:
            packet = packet_in.decode(message)
        except CodecError:
            self._counters[0, UNPARSABLE] += 1
            return
        decoded = pipeline.decode_cookie(packet.cookie)
        queues = self._queues.setdefault(decoded[0] if decoded else 0, {})
        queue = queues.get(packet.in_port)
        if queue is None:
            queues[packet.in_port] = collections.deque((packet,))
            self._due.set()
        elif len(queue) < MOST_WAITING:
            queue.append(packet)
        else:
            self._counters[packet.in_port, QUEUE_FULL] += 1

    def _run(self) -> None:
        while True:
            if not self._queues:
                self._due.clear()
                self._due.wait()
            out: list[bytes] = []
            until = time.monotonic() + TIME_SLICE
            while self._queues and time.monotonic() < until:
                out += self._handle(self._next())
            if out:
                try:
                    self._send(b"".join(out))
                except NotReady:
                    pass  # the sender asks again when it gets no answer
                except Exception:
                    LOG.exception("answers to packets were not sent")
            hub.sleep(0)

    def _next(self) -> packet_in.PacketIn:
        """Return the next packet. Its service, and its port, have the next turn after all others."""
        number = next(iter(self._queues))
        queues = self._queues.pop(number)
        ofport = next(iter(queues))
        queue = queues.pop(ofport)
        packet = queue.popleft()
        if queue:
            queues[ofport] = queue
        if queues:
            self._queues[number] = queues
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
        debt = self._debts.get(number, {}).get(ofport)
        if debt is not None and debt.until - begun > LONGEST_CPU_TIME / SHARE:
            self._counters[ofport, SUSPENDED] += 1
            return []
        try:
            parsed = net.parse(packet.data)
        except net.PacketError:
            self._counters[ofport, UNPARSABLE] += 1
            return []
        result, out = HANDLED, []
        try:
            more = (Arrival(ofport, packet.reason, packet.data),) if service.takes_arrival else ()
            out = [packet_in.packet_out((ofport,) if answer.ofports is None else answer.ofports, answer.data)
                   for answer in service.handle(parsed, obj, *more)]
        except Exception as error:
            result = FAILED
            self._log_fault(number, "failed", f"{type(error).__name__} for {packet.data.hex()}", True)
        took, now = time.thread_time() - used, time.monotonic()
        if now - begun > LONGEST_TIME:
            took = now - begun
        if took > FREE_CPU_TIME:
            self._charge(number, ofport, took, now)
        if took > LONGEST_CPU_TIME:
            result = SLOW if result == HANDLED else result
            self._log_fault(number, "took too long", f"{took * 1000:.0f} ms for {packet.data.hex()}", False)
        self._counters[ofport, result] += 1
        return out

    def _charge(self, number: int, ofport: int, took: float, now: float) -> None:
        """Note what a service took for a packet, in seconds, as a debt of the packet's port.

        The more ports are in debt, the longer it takes each: together they get what the service may take.
        """
        debts = self._debts.setdefault(number, {})
        for port in [port for port, each in debts.items() if each.until < now - SLOW_MEMORY]:
            del debts[port]
        debt = debts.setdefault(ofport, _Debt())
        slow = took > LONGEST_CPU_TIME
        share = SLOW_SHARE if slow and debt.slow else SHARE
        debt.until, debt.slow = max(now, debt.until), debt.slow or slow
        sharing = sum(each is debt or each.until > now for each in debts.values())
        debt.until += (took - FREE_CPU_TIME) * sharing / share

    def _log_fault(self, number: int, what: str, details: str, trace: bool) -> None:
        """Log that a service is at fault, at most once in LOG_INTERVAL for each service and fault.

        `trace`: with the exception that is being handled.
        """
        now = time.monotonic()
        if now - self._logged.get((number, what), float("-inf")) >= LOG_INTERVAL:
            self._logged[number, what] = now
            LOG.error("the service of flow feature %s %s: %s; further cases are counted, and told in %g s at "
                      "the earliest", features.feature_name(number), what, details, LOG_INTERVAL,
                      exc_info=trace)
