# SPDX-License-Identifier: Apache-2.0
"""Actions to bytes, in the very form in which Open vSwitch reports them over OpenFlow 1.3.

So what is read back can be compared byte for byte with what was sent; a functional test holds each action
to that. os-ken's classes serialize what is rare; what they lack is packed here (Nicira's extensions are
described in Open vSwitch's ovs-actions(7) and ofp-actions.c).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Collection

from fip64agent.switch import pipeline
from fip64agent.switch.connection.fields import CodecError, field, header, nicira, tlv
from fip64agent.switch.flows.flow import (
    CONTROLLER_ID,
    REASON_ACTION,
    WHOLE_PACKET,
    Action,
    Bundle,
    CheckPktLarger,
    Conjunction,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    Learn,
    LearnLoad,
    LearnMatch,
    LearnOutput,
    Load,
    Move,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    StripVlan,
)

# isort: split
from os_ken.ofproto import nicira_ext, ofproto_common
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

PADDING = tuple(bytes(-length % 8) for length in range(8))

_INSTRUCTION = struct.Struct("!HH4x")
_NICIRA = struct.Struct("!HHIH")
_LEARN = struct.Struct("!HHHQHBxHH")
_CT = struct.Struct("!H4sHB3xH")
_CHECK_PKT_LARGER = struct.Struct("!HH4s6x")
_OUTPUT_REG = struct.Struct("!H4sH6x")
_RESUBMIT_TABLE, _OUTPUT_REG_SUBTYPE, _LEARN_SUBTYPE, CONTROLLER, _CT_SUBTYPE = 14, 15, 16, 20, 35
_NAT, CONTROLLER2, _CT_CLEAR, CHECK_PKT_LARGER = 36, 37, 43, 49
"""Subtypes of Nicira's actions. Two send the packet to the agent; os-ken knows only a part of the second, and
nothing of the last."""
_IN_PORT = 0xFFF8
NO_TABLE = 0xFF
COMMIT, FORCE = 1, 2
_MAX_LENGTH, _CONTROLLER_ID, _REASON, _USERDATA, _METER_ID = 0, 1, 2, 3, 5
"""Properties of a controller action (enum nx_action_controller2_prop_type)."""
_IMMEDIATE, _LOAD, _OUTPUT = 1 << 13, 1 << 11, 2 << 11
"""Bits of a learned flow's specification; without them: matches a field with a field."""
_CONTROLLER2_SIZE = 16
_NICIRA_CONTROLLER2 = struct.pack("!IH", ofproto_common.NX_EXPERIMENTER_ID, CONTROLLER2)
_METER_PROPERTY = struct.Struct("!HHI")


def _os_ken(*actions: parser.OFPAction) -> bytes:
    result = bytearray()
    for action in actions:
        action.serialize(result, len(result))
    return bytes(result)


def _padded(data: bytes) -> bytes:
    return data + PADDING[len(data) % 8]


def _extension(subtype: int, body: bytes) -> bytes:
    """Return the Nicira action of that subtype, padded as all actions are."""
    size = _NICIRA.size + len(body)
    return _padded(_NICIRA.pack(ofp.OFPAT_EXPERIMENTER, size + -size % 8, ofproto_common.NX_EXPERIMENTER_ID,
                                subtype) + body)


def _property(kind: int, value: bytes) -> bytes:
    return _padded(struct.pack("!HH", kind, 4 + len(value)) + value)


def _short(kind: int, value: int) -> bytes:
    """Return a property of 16 bits: Open vSwitch counts its padding."""
    return struct.pack("!HHHxx", kind, 8, value)


def _controller(action: Controller) -> bytes:
    if not action.userdata and action.meter is None:
        return _extension(CONTROLLER, struct.pack("!HHBx", action.max_length, CONTROLLER_ID, action.reason))
    properties = b""
    if action.max_length != WHOLE_PACKET:
        properties += _short(_MAX_LENGTH, action.max_length)
    properties += _short(_CONTROLLER_ID, CONTROLLER_ID)
    if action.reason != REASON_ACTION:
        properties += _property(_REASON, bytes([action.reason]))
    if action.userdata:
        properties += _property(_USERDATA, action.userdata)
    if action.meter is not None:
        properties += _property(_METER_ID, struct.pack("!I", action.meter))
    return _extension(CONTROLLER2, bytes(6) + properties)


def _ct(action: Ct) -> bytes:
    if isinstance(action.zone, str):
        source, zone = header(action.zone), nicira_ext.ofs_nbits(0, 15)
    else:
        source, zone = bytes(4), action.zone
    flags = (COMMIT if action.commit else 0) | (FORCE if action.force else 0)
    inner = _extension(_NAT, bytes(6)) if action.nat else b""
    inner += b"".join(encode_action(each) for each in action.actions)
    table = NO_TABLE if action.table is None else action.table
    return _extension(_CT_SUBTYPE, _CT.pack(flags, source, zone, table, 0) + inner)


def _source(source: str | int, bits: int) -> tuple[int, bytes]:
    if isinstance(source, str):
        return 0, header(nicira(source, bits)) + bytes(2)
    return _IMMEDIATE, source.to_bytes((bits + 15) // 16 * 2, "big")


def _spec(spec: LearnMatch | LearnLoad | LearnOutput) -> bytes:
    immediate, source = _source(spec.source, spec.bits)
    if isinstance(spec, LearnOutput):
        return struct.pack("!H", _OUTPUT | spec.bits) + source
    kind = _LOAD if isinstance(spec, LearnLoad) else 0
    return struct.pack("!H", immediate | kind | spec.bits) + source + header(
        nicira(spec.field, spec.bits)) + bytes(2)


def _learn(action: Learn) -> bytes:
    if pipeline.is_ours(action.cookie):
        raise CodecError("a flow that Open vSwitch learns must not have a cookie of ours")
    return _extension(_LEARN_SUBTYPE, _LEARN.pack(
        action.idle_timeout, action.hard_timeout, action.priority, action.cookie, 0, action.table, 0,
        0) + b"".join(map(_spec, action.specs)))


def meters_of(instructions: bytes) -> Collection[int]:
    """Return the numbers of the meters that limit what a flow with these instructions sends to the agent."""
    if _NICIRA_CONTROLLER2 not in instructions:  # nearly all flows
        return ()
    result = []
    position = _INSTRUCTION.size
    while position + _CONTROLLER2_SIZE <= len(instructions):
        _, size, vendor, subtype = _NICIRA.unpack_from(instructions, position)
        end = min(position + size, len(instructions))
        at = position + _CONTROLLER2_SIZE
        if (vendor, subtype) == (ofproto_common.NX_EXPERIMENTER_ID, CONTROLLER2):
            while at + 8 <= end:
                kind, length, value = _METER_PROPERTY.unpack_from(instructions, at)
                if kind == _METER_ID:
                    result.append(value)
                at += max(8, length + -length % 8)
        position += max(8, size)
    return result


@functools.lru_cache(8192)
def encode_action(action: Action) -> bytes:
    """Return the bytes of one action. Raises: CodecError, TypeError."""
    match action:
        case Output():
            return struct.pack("!HHIH6x", ofp.OFPAT_OUTPUT, 16, action.port, 0)
        case OutputField():
            _, size = field(action.field)
            return _extension(_OUTPUT_REG_SUBTYPE, _OUTPUT_REG.pack(
                nicira_ext.ofs_nbits(0, 8 * size - 1), header(action.field), WHOLE_PACKET))
        case DecTtl():
            return struct.pack("!HH4x", ofp.OFPAT_DEC_NW_TTL, 8)
        case CheckPktLarger():
            return _extension(CHECK_PKT_LARGER,
                              _CHECK_PKT_LARGER.pack(action.octets, action.bit, header(action.field)))
        case SetField():
            value = tlv(action.field, action.value)
            length = 4 + len(value)
            padding = PADDING[length % 8]
            return struct.pack("!HH", ofp.OFPAT_SET_FIELD, length + len(padding)) + value + padding
        case Load():
            end = action.first + action.bits
            return _os_ken(parser.NXActionRegLoad(nicira_ext.ofs_nbits(action.first, end - 1),
                                                  nicira(action.field, end), action.value))
        case Move():
            return _os_ken(parser.NXActionRegMove(
                nicira(action.source, action.source_first + action.bits),
                nicira(action.destination, action.destination_first + action.bits),
                action.bits, action.source_first, action.destination_first))
        case PushVlan():
            return (_os_ken(parser.OFPActionPushVlan())
                    + encode_action(SetField("vlan_vid", 0x1000 | action.vlan)))
        case PopVlan():
            return _os_ken(parser.OFPActionPopVlan())
        case StripVlan():
            return encode_action(Load("vlan_tci", 0, 16))
        case Conjunction():
            return _os_ken(parser.NXActionConjunction(action.clause - 1, action.clauses, action.number))
        case Bundle():
            return _os_ken(parser.NXActionBundle(
                nicira_ext.NX_BD_ALG_ACTIVE_BACKUP, nicira_ext.NX_HASH_FIELDS_ETH_SRC, 0,
                nicira_ext.NXM_OF_IN_PORT, len(action.members), 0, 0, list(action.members)))
        case Resubmit():
            return _extension(_RESUBMIT_TABLE, struct.pack("!HB3x", _IN_PORT, action.table))
        case Controller():
            return _controller(action)
        case Ct():
            return _ct(action)
        case CtClear():
            return _extension(_CT_CLEAR, bytes(6))
        case Learn():
            return _learn(action)
    raise TypeError(f"unknown action {action!r}")


@functools.lru_cache(2048)
def encode_instructions(actions: tuple[Action, ...]) -> bytes:
    """Return one Apply-Actions instruction, nothing for a drop (so OVS reports it).

    Raises: CodecError, TypeError.
    """
    if not actions:
        return b""
    encoded = b"".join([encode_action(action) for action in actions])
    return _INSTRUCTION.pack(ofp.OFPIT_APPLY_ACTIONS, 8 + len(encoded)) + encoded
