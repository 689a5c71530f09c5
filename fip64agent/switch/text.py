# SPDX-License-Identifier: Apache-2.0
"""Matches and actions as an operator reads them. Slow: os-ken's parsers do the work."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address, ip_network

from fip64agent import hub  # noqa: F401 (before os-ken: it picks os-ken's hub)

# isort: split
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

_PORTS = {ofp.OFPP_IN_PORT: "in_port", ofp.OFPP_NORMAL: "normal", ofp.OFPP_CONTROLLER: "controller",
          ofp.OFPP_LOCAL: "local", ofp.OFPP_FLOOD: "flood", ofp.OFPP_ALL: "all"}
_HEXADECIMAL = {"eth_type", "vlan_vid", "conj_id"}


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
    if name in _HEXADECIMAL and isinstance(value, int):
        return f"0x{value:04x}"
    return str(value)


def match_text(match: bytes) -> str:
    """Return ``field=value,...``; hexadecimal for bytes that make no sense."""
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


def _field_text(name: str) -> str:
    """Return the name a match has for it: moves use the NXM forms of fields."""
    return name.removesuffix("_nxm")


def _action_text(action) -> str:
    if isinstance(action, parser.OFPActionOutput):
        return f"output:{_PORTS.get(action.port, action.port)}"
    if isinstance(action, parser.OFPActionSetField):
        return f"set_field:{action.key}={_value_text(action.key, action.value)}"
    if isinstance(action, parser.NXActionRegMove):
        return f"move:{_field_text(action.src_field)}->{_field_text(action.dst_field)}"
    if isinstance(action, parser.NXActionRegLoad):
        return f"load:{action.value}->{_field_text(action.dst)}"
    if isinstance(action, parser.NXActionConjunction):
        return f"conjunction:0x{action.id:08x}:{action.clause + 1}/{action.n_clauses}"
    if isinstance(action, parser.NXActionBundle):
        return f"bundle:{'/'.join(map(str, action.slaves))}"
    if isinstance(action, parser.OFPActionPushVlan):
        return "push_vlan"
    if isinstance(action, parser.OFPActionPopVlan):
        return "pop_vlan"
    return str(action)


def instructions_text(instructions: bytes) -> str:
    """Return ``action,...``; ``drop`` for none; hexadecimal for bytes that make no sense."""
    parts = []
    position = 0
    try:
        while position < len(instructions):
            instruction = parser.OFPInstruction.parser(instructions, position)
            if instruction.len < 8:
                return instructions.hex()
            if isinstance(instruction, parser.OFPInstructionActions):
                parts += map(_action_text, instruction.actions)
            else:
                parts.append(str(instruction))
            position += instruction.len
    except Exception:
        return instructions.hex()
    return ",".join(parts) or "drop"
