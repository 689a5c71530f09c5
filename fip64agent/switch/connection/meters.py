# SPDX-License-Identifier: Apache-2.0
"""Meters, which limit how many packets of a port come to the agent: as values and as OpenFlow 1.3 bytes."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import ClassVar

from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import ObjectKey
from fip64agent.switch import pipeline
from fip64agent.switch.connection.actions import meters_of
from fip64agent.switch.connection.app import Connection
from fip64agent.switch.connection.fields import CodecError

# isort: split
from os_ken.ofproto import ofproto_v1_3 as ofp

ADD, MODIFY, DELETE = ofp.OFPMC_ADD, ofp.OFPMC_MODIFY, ofp.OFPMC_DELETE

_MOD = struct.Struct("!BBHIHHI")
_BAND = struct.Struct("!HHII4x")
_CONFIG = struct.Struct("!HHI")
_REQUEST = struct.Struct("!BBHIHH4xI4x")
_FLAGS = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST


@dataclasses.dataclass(frozen=True, slots=True)
class MeterItem:
    """A meter that drops the packets above its rate."""

    shared: ClassVar[bool] = True
    """All flows that send packets of one port to one service use the same meter."""
    number: int
    rate: int
    """Packets a second."""
    burst: int
    """Packets that may come at once."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return pipeline.meter_key(self.number)

    def __str__(self) -> str:
        return f"meter {self.number:#x}"


def meter_mod(item: MeterItem, xid: int, command: int) -> bytes:
    """Return the OFPT_METER_MOD that adds, modifies or deletes a meter."""
    bands = b"" if command == DELETE else _BAND.pack(ofp.OFPMBT_DROP, _BAND.size, item.rate, item.burst)
    flags = 0 if command == DELETE else _FLAGS
    return _MOD.pack(ofp.OFP_VERSION, ofp.OFPT_METER_MOD, _MOD.size + len(bands), xid, command, flags,
                     item.number) + bands


def request(xid: int) -> bytes:
    """Return the request for all meters."""
    return _REQUEST.pack(ofp.OFP_VERSION, ofp.OFPT_MULTIPART_REQUEST, _REQUEST.size, xid,
                         ofp.OFPMP_METER_CONFIG, 0, ofp.OFPM_ALL)


def decode(body: bytes) -> Iterator[MeterItem]:
    """Yield the meters of an OFPMP_METER_CONFIG reply that are ours. Raises: CodecError.

    A meter that has another form than ours gets a rate of 0, so that it is made anew.
    """
    position, end = 0, len(body)
    while position < end:
        if position + _CONFIG.size > end:
            raise CodecError(f"meters: {end - position} bytes where one should begin")
        length, flags, number = _CONFIG.unpack_from(body, position)
        if length < _CONFIG.size or position + length > end:
            raise CodecError(f"meters: length {length}, {end - position} bytes left")
        if pipeline.is_our_meter(number):
            rate = burst = 0
            if length == _CONFIG.size + _BAND.size and flags & _FLAGS == _FLAGS:
                kind, _, rate, burst = _BAND.unpack_from(body, position + _CONFIG.size)
                rate = rate if kind == ofp.OFPMBT_DROP else 0
            yield MeterItem(number, rate, burst)
        position += length


class Meters:
    """Our meters in the switch."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers: set[int] = set()
        """Of those that exist: as they were read, and as the agent has changed them since."""

    def read(self) -> dict[Hashable, MeterItem]:
        """Return our meters by key; none where the datapath has no meters. Raises: NotReady, CodecError."""
        reply = self._connection.request(lambda xid: [request(xid)])
        if reply.errors:
            raise NotReady(f"Open vSwitch refused to list its meters: {next(iter(reply.errors.values()))}")
        found = [item for bodies in reply.bodies.values() for body in bodies for item in decode(body)]
        self._numbers = {item.number for item in found}
        return {item.key: item for item in found}

    def missing(self, instructions: bytes) -> bool:
        """Return whether a flow with these instructions uses a meter that does not exist.

        Open vSwitch looks the meter up when the flow is added, and not again. A flow that is added without
        its meter has no limit, and when the meter is made later, none or that of another flow: so a flow is
        added after its meter, and again when that had gone.
        """
        numbers = meters_of(instructions)
        return bool(numbers) and not self._numbers.issuperset(numbers)

    def change(self, commands: Sequence[tuple[int, MeterItem]]) -> dict[Hashable, str]:
        """Carry out (ADD, MODIFY or DELETE, meter); return the reason for each key that failed.

        Raises: NotReady.
        """
        if not commands:
            return {}

        def messages(first: int) -> Iterable[bytes]:
            for xid, (command, item) in enumerate(commands, first):
                yield meter_mod(item, xid, command)
            yield struct.pack("!BBHI", ofp.OFP_VERSION, ofp.OFPT_BARRIER_REQUEST, 8, first + len(commands))

        reply = self._connection.request(lambda first: list(messages(first)), len(commands) + 1)
        failed = {}
        for xid, (command, item) in enumerate(commands, reply.first):
            if xid in reply.errors:
                failed[item.key] = f"refused by Open vSwitch: {reply.errors[xid]}"
            elif command == DELETE:
                self._numbers.discard(item.number)
            else:
                self._numbers.add(item.number)
        return failed
