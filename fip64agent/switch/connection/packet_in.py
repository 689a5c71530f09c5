# SPDX-License-Identifier: Apache-2.0
"""Packets that the switch sends to the agent, and those that the agent sends, as OpenFlow 1.3 messages.

os-ken takes 60 microseconds to parse a PACKET_IN. Here its fields are read without parsing the rest.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence

from fip64agent.switch import pipeline
from fip64agent.switch.connection.fields import CodecError, header
from fip64agent.switch.flows.flow import CONTROLLER_ID, WHOLE_PACKET

# isort: split
from os_ken.ofproto import ofproto_common
from os_ken.ofproto import ofproto_v1_3 as ofp

_HEADER = struct.Struct("!BBHI")
_PACKET_IN = struct.Struct("!8xIHBBQHH")
_PACKET_OUT = struct.Struct("!BBHIIIH6x")
_OUTPUT = struct.Struct("!HHIH6x")
_LONGEST = 0xFFFF
"""Bytes of an OpenFlow message, at most."""
_CONFIG = struct.Struct("!BBHIHH")
_ASYNC = struct.Struct("!BBHI6I")
_CONTROLLER = struct.Struct("!BBHIII6xH")
_SET_CONTROLLER_ID = 20
_IN_PORT = 0x80000004
"""Header of the field in_port in a match."""
_REASON = int.from_bytes(header(pipeline.REG_REASON))
_MOST_FIELDS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet as the switch sent it."""

    cookie: int
    """Of the flow that sent it."""
    in_port: int
    data: bytes
    """From Ethernet on."""
    reason: int = 0
    """Value of REG_REASON (switch/pipeline.py) when the flow sent it."""


def decode(message: bytes) -> PacketIn:
    """Return the packet in an OFPT_PACKET_IN message with its OpenFlow header. Raises: CodecError."""
    if len(message) < _PACKET_IN.size:
        raise CodecError(f"packet-in of {len(message)} bytes")
    _, _, _, _, cookie, kind, length = _PACKET_IN.unpack_from(message)
    position = _PACKET_IN.size
    end = position - 4 + length
    data = end + -length % 8 + 2
    if kind != ofp.OFPMT_OXM or length < 4 or data > len(message):
        raise CodecError(f"packet-in: match of type {kind} and length {length} in {len(message)} bytes")
    in_port, reason = None, 0
    for _ in range(_MOST_FIELDS):
        if position + 8 > end:
            break
        field = int.from_bytes(message[position:position + 4])
        if field == _IN_PORT:
            in_port = int.from_bytes(message[position + 4:position + 8])
        elif field == _REASON:
            reason = int.from_bytes(message[position + 4:position + 8])
        position += 4 + (field & 0xFF)
    if in_port is None:
        raise CodecError("packet-in without in_port")
    return PacketIn(cookie, in_port, bytes(message[data:]), reason)


def packet_out(ofports: Sequence[int], data: bytes) -> bytes:
    """Return the OFPT_PACKET_OUT that sends `data` (from Ethernet on) out of OpenFlow ports.

    Several messages when there are more ports than fit into one (4,000 beside a packet of 1,500 bytes); none
    for no port. Raises: ValueError when the packet does not fit into a message.
    """
    room = (_LONGEST - _PACKET_OUT.size - len(data)) // _OUTPUT.size
    if room < 1:
        raise ValueError(f"a packet of {len(data)} bytes does not fit into an OpenFlow message")
    messages = []
    for start in range(0, len(ofports), room):
        actions = b"".join([_OUTPUT.pack(ofp.OFPAT_OUTPUT, _OUTPUT.size, ofport, 0)
                            for ofport in ofports[start:start + room]])
        messages.append(_PACKET_OUT.pack(
            ofp.OFP_VERSION, ofp.OFPT_PACKET_OUT, _PACKET_OUT.size + len(actions) + len(data), 0,
            ofp.OFP_NO_BUFFER, ofp.OFPP_CONTROLLER, len(actions)) + actions + data)
    return b"".join(messages)


def config_request(xid: int) -> bytes:
    """Return the request for the switch's configuration."""
    return _HEADER.pack(ofp.OFP_VERSION, ofp.OFPT_GET_CONFIG_REQUEST, _HEADER.size, xid)


def config_flags(body: bytes) -> int:
    """Return the flags in an OFPT_GET_CONFIG_REPLY without its header: how the switch handles fragments."""
    return int.from_bytes(body[:2])


def setup_messages(first: int, flags: int) -> list[bytes]:
    """Return the messages, with transaction ids from `first` on, after which the switch sends packets to us.

    `flags`: those of the switch's configuration, which stay as they are: they concern all flows.

    Open vSwitch sends packets to a connection of this kind only when that has set a miss_send_len. It would
    then also report ports, and flows that expire, which the agent does not need. The controller id keeps
    other systems' packets away from us, and ours from them.
    """
    return [
        _CONTROLLER.pack(ofp.OFP_VERSION, ofp.OFPT_EXPERIMENTER, _CONTROLLER.size, first,
                         ofproto_common.NX_EXPERIMENTER_ID, _SET_CONTROLLER_ID, CONTROLLER_ID),
        _ASYNC.pack(ofp.OFP_VERSION, ofp.OFPT_SET_ASYNC, _ASYNC.size, first + 1, 0xFFFFFFFF, 0, 0, 0, 0, 0),
        _CONFIG.pack(ofp.OFP_VERSION, ofp.OFPT_SET_CONFIG, _CONFIG.size, first + 2, flags, WHOLE_PACKET),
    ]


SETUP_MESSAGES = 3
"""How many messages setup_messages() returns."""
