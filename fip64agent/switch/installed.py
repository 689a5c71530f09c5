# SPDX-License-Identifier: Apache-2.0
"""Which flows are installed: ours, and those of other systems that have a key which one of ours needs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable, Iterable, Sequence

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan import allocate
from fip64agent.plan.inputs import Allocations
from fip64agent.switch import features, pipeline
from fip64agent.switch.connection import codec, monitor
from fip64agent.switch.connection.app import Connection, Reply
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.fields import header

ALL_TABLES = 0xFF
MOST_SINGLE_QUESTIONS = 64
"""New flows up to which the switch is asked about each key; for more, all flows are read."""
LONGEST_AGE = 2.0
"""Seconds for which the keys of foreign flows may be used after they were read."""


class Installed:
    """The keys of installed flows, as they were read and as the agent has changed them since."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ours: dict[int, None] = {}
        """Hashes of the keys of our flows: for 10,000 floating IPs the keys would take 3 MiB more, and a set
        instead of a dict 1 MiB. If two keys have one hash, flows are read back once more than necessary."""
        self._foreign: set[Hashable] = set()
        self._foreign_read_at = float("-inf")
        self._taken: set[Hashable] = set()
        """Keys of flows that were not added because flows of others have them."""

    def read(self) -> dict[Hashable, FlowItem]:
        """Read all flows; return ours by key. Raises: NotReady."""
        flows = self._read()
        self._ours = dict.fromkeys(map(hash, flows))
        self._taken &= self._foreign
        return flows

    def _read(self) -> dict[Hashable, FlowItem]:
        """Return our flows by key, and keep the keys of other systems' flows in the tables that we use."""
        flows: dict[Hashable, FlowItem] = {}
        foreign: set[Hashable] = set()
        tables = features.tables()
        for body in self.dump():
            for table, priority, cookie, match, instructions, _, _ in codec.decode_flows(body):
                if pipeline.is_ours(cookie):
                    item = FlowItem(table, priority, codec.normalise(match), instructions, cookie)
                    flows[item.key] = item
                elif table in tables:
                    foreign.add(pipeline.flow_key(table, priority, codec.normalise(match)))
            hub.sleep(0)
        self._foreign, self._foreign_read_at = foreign, time.monotonic()
        return flows

    def allocations(self) -> Allocations:
        """Return the numbers that are found in flows of ours, by the digests of their owners' keys.

        Raises: NotReady.
        """
        found: dict[str, dict[str, int]] = {}
        for feature in features.features().values():
            for place in feature.numbers:
                match = re.compile(re.escape(header(place.register)) + b"(.{4})", re.DOTALL)
                numbers = found.setdefault(place.space, {})
                reply = self._request(lambda xid, table=place.table: [codec.flow_request(xid, table)])
                for body in next(iter(reply.bodies.values()), []):
                    for _, _, cookie, tlvs, *_ in codec.decode_flows(body):
                        decoded, value = pipeline.decode_cookie(cookie), match.fullmatch(tlvs)
                        if decoded and decoded[0] == feature.number and value:
                            numbers[allocate.digest(decoded[1])] = int.from_bytes(value[1])
        return Allocations(found)

    def dump(self, table: int = ALL_TABLES) -> list[bytes]:
        """Return the bodies of the reply that has all flows of a table. Raises: NotReady."""
        reply = self._request(lambda xid: [codec.flow_request(xid, table)])
        return next(iter(reply.bodies.values()), [])

    def _request(self, build: Callable[[int], list[bytes]]) -> Reply:
        reply = self._connection.request(build)
        if reply.errors:
            raise NotReady(f"Open vSwitch refused a question: {next(iter(reply.errors.values()))}")
        return reply

    def foreign(self, key: Hashable) -> bool:
        """Return whether others had a flow with that key when all flows were last read."""
        return key in self._foreign

    def taken_by_others(self, items: Sequence[FlowItem]) -> set[Hashable]:
        """Return the keys that flows of others have now. Raises: NotReady."""
        if len(items) > MOST_SINGLE_QUESTIONS:
            if time.monotonic() - self._foreign_read_at > LONGEST_AGE:
                self._read()
            return self._foreign
        narrow = [item for item in items if item.match]
        taken: set[Hashable] = set()
        if narrow:
            # A match that the switch refuses here it also refuses to add, and then gives the reason.
            reply = self._connection.request(
                lambda first: [codec.flow_request(xid, item.table, match=item.match)
                               for xid, item in enumerate(narrow, first)], len(narrow))
            taken = {pipeline.flow_key(table, priority, codec.normalise(match))
                     for bodies in reply.bodies.values() for body in bodies
                     for table, priority, cookie, match, *_ in codec.decode_flows(body)
                     if not pipeline.is_ours(cookie)}
        if len(narrow) < len(items):  # the question about a flow without a match returns all flows
            self._read()
            taken |= self._foreign
        return taken

    # -- changes by the agent, and by others ------------------------------------------------------------

    def add(self, items: Iterable[FlowItem]) -> None:
        """Note that these flows are going to be added."""
        self._ours.update(dict.fromkeys(hash(item.key) for item in items))

    def discard(self, keys: Iterable[Hashable]) -> None:
        """Note that flows with these keys were removed, or refused by the switch."""
        for key in keys:
            self._ours.pop(hash(key), None)

    def note_taken(self, key: Hashable) -> None:
        """Note that a flow with that key is not added, since a flow of another system has the key."""
        self._taken.add(key)

    def concerns_us(self, report: bytes) -> bool:
        """Return whether a report of the flow monitor is about a flow of ours, or one with a key of ours.

        Raises: CodecError.
        """
        for table, priority, cookie, match in monitor.decode(report):
            if pipeline.is_ours(cookie):
                return True
            key = pipeline.flow_key(table, priority, codec.normalise(match))
            if hash(key) in self._ours or key in self._taken:
                return True
        return False
