# SPDX-License-Identifier: Apache-2.0
"""Matches and actions as text for operators. Slow: os-ken's parsers are used."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from fip64agent.switch.connection.actions import (
    CHECK_PKT_LARGER,
    COMMIT,
    CONTROLLER,
    CONTROLLER2,
    FORCE,
    NO_TABLE,
)
from fip64agent.switch.connection.fields import NXM, field

# isort: split
from os_ken.ofproto import ofproto_common
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

_PORTS = {ofp.OFPP_IN_PORT: "in_port", ofp.OFPP_NORMAL: "normal", ofp.OFPP_CONTROLLER: "controller",
          ofp.OFPP_LOCAL: "local", ofp.OFPP_FLOOD: "flood", ofp.OFPP_ALL: "all"}
_HEXADECIMAL = ("eth_type", "vlan_vid", "conj_id", "ct_", "reg", "xxreg", "metadata", "nd_reserved")
"""Beginnings of the names of fields whose values are shown as hexadecimal numbers."""
_OF_NXM = {nxm: name for name, nxm in NXM.items()}


def _prefixlen(mask: str) -> int:
    address = ip_address(mask)
    bits = f"{int(address):0{address.max_prefixlen}b}"
    if "01" in bits:
        raise ValueError(f"{mask} is no prefix")
    return bits.count("1")


def _value_text(name: str, value) -> str:
    if isinstance(value, tuple):
        if name.startswith(("ipv4_", "ipv6_")):
            with contextlib.suppress(ValueError):  # a mask that is no prefix length
                return str(ip_network(f"{value[0]}/{_prefixlen(value[1])}"))
        return "/".join(_value_text(name, part) for part in value)
    if name.startswith(_HEXADECIMAL) and isinstance(value, int):
        return f"0x{value:04x}"
    return str(value)


def match_text(match: bytes) -> str:
    """Return ``field=value,...``; hexadecimal digits when `match` cannot be read."""
    parts = {}
    position = 0
    try:
        while position < len(match):
            number, value, mask, size = ofp.oxm_parse(match, position)
            name, user = ofp.oxm_to_user(number, value, mask)
            parts[name] = _value_text(name, user)
            position += size
    except Exception:  # os-ken raises anything on bytes it does not understand
        return match.hex()
    first = ["in_port", "vlan_vid", "eth_type", "ip_proto"]
    names = [name for name in first if name in parts] + [name for name in parts if name not in first]
    return ",".join(f"{name}={parts[name]}" for name in names)


def _field_text(name: str, first: int = 0, bits: int | None = None) -> str:
    """Return the name a match has for a field (moves use NXM forms), with its bits if those are not all."""
    text = _OF_NXM.get(name) or name.removesuffix("_nxm")
    if bits is None or (first == 0 and bits == 8 * field(name)[1]):
        return text
    return f"{text}[{first}..{first + bits - 1}]"


def _ct_text(action: parser.NXActionCT) -> str:
    parts = ["commit"] if action.flags & COMMIT else []
    parts += ["force"] if action.flags & FORCE else []
    zone = _field_text(action.zone_src) if action.zone_src else action.zone_ofs_nbits
    parts.append(f"zone={zone}")
    if action.recirc_table != NO_TABLE:
        parts.append(f"table={action.recirc_table}")
    parts += ["nat" if isinstance(each, parser.NXActionNAT) else _action_text(each)
              for each in action.actions]
    return f"ct:{'/'.join(parts)}"


def _spec_text(spec) -> str:
    source = spec.src if isinstance(spec.src, int) else _field_text(spec.src[0])
    if isinstance(spec, parser.NXFlowSpecOutput):
        return f"output:{source}"
    destination = _field_text(spec.dst[0])
    if isinstance(spec, parser.NXFlowSpecLoad):
        return f"load:{source}->{destination}"
    return f"{destination}={source}"


def _action_text(action) -> str:
    match action:
        case parser.OFPActionOutput():
            return f"output:{_PORTS.get(action.port, action.port)}"
        case parser.OFPActionSetField():
            return f"set_field:{action.key}={_value_text(action.key, action.value)}"
        case parser.NXActionRegMove():
            return (f"move:{_field_text(action.src_field, action.src_ofs, action.n_bits)}->"
                    f"{_field_text(action.dst_field, action.dst_ofs, action.n_bits)}")
        case parser.NXActionRegLoad():
            bits = (action.ofs_nbits & 0x3F) + 1
            return f"load:{action.value}->{_field_text(action.dst, action.ofs_nbits >> 6, bits)}"
        case parser.NXActionConjunction():
            return f"conjunction:0x{action.id:08x}:{action.clause + 1}/{action.n_clauses}"
        case parser.NXActionBundle():
            return f"bundle:{'/'.join(map(str, action.slaves))}"
        case parser.NXActionOutputReg():
            return f"output:{_field_text(action.src)}"
        case parser.OFPActionDecNwTtl():
            return "dec_ttl"
        case parser.NXActionCTClear():
            return "ct_clear"
        case parser.OFPActionPushVlan():
            return "push_vlan"
        case parser.OFPActionPopVlan():
            return "pop_vlan"
        case parser.NXActionResubmitTable():
            return f"resubmit:{action.table_id}"
        case parser.NXActionCT():
            return _ct_text(action)
        case parser.NXActionLearn():
            return f"learn:table={action.table_id}/{'/'.join(map(_spec_text, action.specs))}"
    return str(action)


def _actions(data: bytes) -> Iterator[str]:
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from("!HH", data, position)
        if size < 8 or position + size > len(data):
            raise ValueError(f"an action of {size} bytes")
        vendor, subtype = struct.unpack_from("!IH", data, position + 4) if size >= 10 else (0, 0)
        nicira = kind == ofp.OFPAT_EXPERIMENTER and vendor == ofproto_common.NX_EXPERIMENTER_ID
        if nicira and subtype in (CONTROLLER, CONTROLLER2):
            yield "controller"
        elif nicira and subtype == CHECK_PKT_LARGER:  # os-ken does not know it
            octets, bit = struct.unpack_from("!HH", data, position + 10)
            number, _ = ofp.oxm_parse_header(data, position + 14)
            yield f"check_pkt_larger:{octets}->{_field_text(ofp.oxm_to_user_header(number), bit, 1)}"
        else:
            yield _action_text(parser.OFPAction.parser(data, position))
        position += size


def instructions_text(instructions: bytes) -> str:
    """Return ``action,...``; ``drop`` for none; hexadecimal digits when `instructions` cannot be read."""
    parts: list[str] = []
    position = 0
    try:
        while position < len(instructions):
            kind, size = struct.unpack_from("!HH", instructions, position)
            if size < 8 or position + size > len(instructions):
                return instructions.hex()
            if kind in (ofp.OFPIT_APPLY_ACTIONS, ofp.OFPIT_WRITE_ACTIONS):
                parts += _actions(instructions[position + 8:position + size])
            else:
                parts.append(str(parser.OFPInstruction.parser(instructions, position)))
            position += size
    except Exception:  # os-ken raises anything on bytes it does not understand
        return instructions.hex()
    return ",".join(parts) or "drop"
