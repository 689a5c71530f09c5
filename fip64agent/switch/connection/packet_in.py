# SPDX-License-Identifier: Apache-2.0
"""Packets that the switch sends to the agent, and those that the agent sends, as OpenFlow 1.3 messages.

os-ken takes 60 microseconds to parse a PACKET_IN. Here its fields are read without parsing the rest.
"""

from __future__ import annotations

import dataclasses
import struct

from fip64agent.switch.connection.fields import CodecError
from fip64agent.switch.flows.flow import CONTROLLER_ID, WHOLE_PACKET

# isort: split
from os_ken.ofproto import ofproto_common
from os_ken.ofproto import ofproto_v1_3 as ofp

_HEADER = struct.Struct("!BBHI")
_PACKET_IN = struct.Struct("!8xIHBBQHH")
_PACKET_OUT = struct.Struct("!BBHIIIH6xHHIH6x")
_CONFIG = struct.Struct("!BBHIHH")
_ASYNC = struct.Struct("!BBHI6I")
_CONTROLLER = struct.Struct("!BBHIII6xH")
_SET_CONTROLLER_ID = 20
_IN_PORT = 0x80000004
"""Header of the field in_port in a match."""
_MOST_FIELDS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet as the switch sent it."""

    cookie: int
    """Of the flow that sent it."""
    in_port: int
    data: bytes
    """From Ethernet on."""


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
    for _ in range(_MOST_FIELDS):
        if position + 8 > end:
            break
        field = int.from_bytes(message[position:position + 4])
        if field == _IN_PORT:
            return PacketIn(cookie, int.from_bytes(message[position + 4:position + 8]), bytes(message[data:]))
        position += 4 + (field & 0xFF)
    raise CodecError("packet-in without in_port")


def packet_out(ofport: int, data: bytes) -> bytes:
    """Return the OFPT_PACKET_OUT that sends `data` (from Ethernet on) out of an OpenFlow port."""
    return _PACKET_OUT.pack(ofp.OFP_VERSION, ofp.OFPT_PACKET_OUT, _PACKET_OUT.size + len(data), 0,
                            ofp.OFP_NO_BUFFER, ofp.OFPP_CONTROLLER, 16,
                            ofp.OFPAT_OUTPUT, 16, ofport, 0) + data


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
