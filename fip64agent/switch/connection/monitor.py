# SPDX-License-Identifier: Apache-2.0
"""Changes of flows by others, as the switch reports them: the flow monitor extension (ONF EXT-187).

Open vSwitch has it over OpenFlow 1.3 since 2.16. A report has the flow's match and cookie, but not its
actions: those are read back. Changes over this connection come as abbreviated reports, without the flows.
When too many reports wait, the switch pauses them, and sends a summary of the changes afterwards.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from fip64agent.switch.connection.codec import CodecError

# isort: split
from os_ken.ofproto import ofproto_common
from os_ken.ofproto import ofproto_v1_3 as ofp

_HEADER = struct.Struct("!BBHIHH4xII")
_REQUEST = struct.Struct(ofp.ONF_FLOW_MONITOR_REQUEST_PACK_STR)
_ANY_MATCH = struct.pack("!HH4x", ofp.OFPMT_OXM, 4)
_REPORT = struct.Struct("!H6xII")
_UPDATE = struct.Struct("!HH")
_FULL = struct.Struct("!HHHHHHHBxQ")
_FLAGS = ofp.ONFFMF_ADD | ofp.ONFFMF_DELETE | ofp.ONFFMF_MODIFY


def request(xid: int, tables: Iterable[int]) -> bytes:
    """Return the request for reports of what others change in `tables` until the connection ends."""
    body = b"".join(_REQUEST.pack(number, _FLAGS, len(_ANY_MATCH), ofp.OFPP_ANY, table) + _ANY_MATCH
                    for number, table in enumerate(tables))
    return _HEADER.pack(ofp.OFP_VERSION, ofp.OFPT_MULTIPART_REQUEST, _HEADER.size + len(body), xid,
                        ofp.OFPMP_EXPERIMENTER, 0, ofproto_common.ONF_EXPERIMENTER_ID,
                        ofp.ONFMP_FLOW_MONITOR) + body


def is_report(message: bytes) -> bool:
    """Return whether a multipart reply, without its OpenFlow header, reports changes of flows."""
    return len(message) >= _REPORT.size and _REPORT.unpack_from(message) == (
        ofp.OFPMP_EXPERIMENTER, ofproto_common.ONF_EXPERIMENTER_ID, ofp.ONFMP_FLOW_MONITOR)


def decode(message: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (table, priority, cookie, match as received) of each flow that was added, changed or removed.

    `message` is a report without its header. Raises: CodecError.
    """
    position, end = _REPORT.size, len(message)
    while position < end:
        left = end - position
        length, event = _UPDATE.unpack_from(message, position) if left >= _UPDATE.size else (0, 0)
        if length < 8 or length > left:
            raise CodecError(f"flow monitor: a report of {length} bytes in the last {left}")
        if event != ofp.ONFFME_ABBREV:
            yield _flow(message[position:position + length])
        position += length


def _flow(update: bytes) -> tuple[int, int, int, bytes]:
    if len(update) < _FULL.size + _UPDATE.size:
        raise CodecError(f"flow monitor: a report of a flow in {len(update)} bytes")
    _, _, _, priority, _, _, _, table, cookie = _FULL.unpack_from(update)
    kind, size = _UPDATE.unpack_from(update, _FULL.size)  # the match has its type and length first
    if kind != ofp.OFPMT_OXM or not 4 <= size <= len(update) - _FULL.size:
        raise CodecError(f"flow monitor: match of type {kind} and length {size} in {len(update)} bytes")
    return table, priority, cookie, update[_FULL.size + 4:_FULL.size + size]
