# SPDX-License-Identifier: Apache-2.0
"""Fields of matches and actions: their names, numbers and sizes.

The import of this module adds to os-ken those of Open vSwitch that it does not have.
"""

from __future__ import annotations

import functools
import struct
from ipaddress import IPv4Network, IPv6Network

from fip64agent import hub  # noqa: F401 (before os-ken: it picks os-ken's hub)
from fip64agent.exceptions import Fip64Error
from fip64agent.switch.flows.flow import Value

# isort: split
from os_ken.lib import type_desc
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import oxm_fields


class CodecError(Fip64Error):
    """Bytes that do not follow OpenFlow's definition of a message."""


class _Ericsson(oxm_fields._OxmClass):
    _class = 0x1000


def _extend() -> None:
    """Add the fields of a Neighbor Discovery message's reserved word and of its option's type.

    And those of a connection's first packet: the protocol, and ports, or type and code of ICMP.
    """
    missing = [_Ericsson("nd_reserved", 1, type_desc.Int4), _Ericsson("nd_options_type", 2, type_desc.Int1),
               oxm_fields.NiciraExtended1("ct_nw_proto", 119, type_desc.Int1),
               oxm_fields.NiciraExtended1("ct_tp_src", 124, type_desc.Int2),
               oxm_fields.NiciraExtended1("ct_tp_dst", 125, type_desc.Int2)]
    known = {field.name for field in ofp.oxm_types}
    ofp.oxm_types = [*ofp.oxm_types, *(field for field in missing if field.name not in known)]
    oxm_fields.generate(ofp.__name__)


_extend()

NXM = {"ipv6_nd_target": "nd_target", "ipv6_nd_sll": "nd_sll", "ipv6_nd_tll": "nd_tll",
       "ipv6_flabel": "ipv6_label"}
"""os-ken's names of NXM forms that are not the field's name and "_nxm"."""

_BITS = {"vlan_vid": 13, "ipv6_flabel": 20, "ip_frag": 2, "ct_state": 8}
"""Bits of fields that have fewer than their bytes: Open vSwitch ignores the others in masks."""


@functools.cache
def field(name: str) -> tuple[int, int]:
    """Return (class and number shifted into their place in the header, bytes of the value).

    Raises: KeyError when there is no field of that name.
    """
    number, kind = ofp.oxm_get_field_info_by_name(name)
    return number << 9, kind.size


def header(name: str) -> bytes:
    """Return the header of a field without mask, as actions name it."""
    number, size = field(name)
    return struct.pack("!I", number | size)


def nicira(name: str, bits: int = 0) -> str:
    """Return os-ken's name of a field as OVS reports it in moves and loads: the NXM form, if it has one.

    `bits`: how many of its bits are used, from the lowest on. There are two fields for the port by which a
    packet came in: NXM's has 16 bits, OpenFlow's has 32.
    """
    if name == "in_port" and bits > 16:
        return name
    alias = NXM.get(name, f"{name}_nxm")
    return alias if alias in _names() else name


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(each.name for each in ofp.oxm_types)


def _packed(value: Value, size: int) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(size, "big")
    if isinstance(value, str):
        return bytes.fromhex(value.replace(":", ""))
    return value.packed


def _mask(name: str, mask: int | None, size: int) -> int | None:
    """Return a mask as Open vSwitch reports it; None: all bits of the field."""
    bits = _BITS.get(name)
    whole = (1 << (bits or 8 * size)) - 1
    if name == "ct_state":  # Open vSwitch always reports its mask
        return whole if mask is None else mask & whole
    if mask is not None and bits:
        mask &= whole
    return None if mask == whole else mask


def tlv(name: str, value: Value) -> bytes:
    """Return a field with its value, and its mask if there is one, as Open vSwitch reports them.

    Nothing when the mask is 0, which any value matches.
    Raises: CodecError when a value does not fit; KeyError when there is no such field.
    """
    number, size = field(name)
    mask = None
    if isinstance(value, tuple):
        value, mask = value
    elif isinstance(value, IPv4Network | IPv6Network):
        value, mask = value.network_address, int(value.netmask)
    mask = _mask(name, mask, size)
    if mask == 0:
        return b""
    try:
        packed = _packed(value, size)
        if len(packed) != size:
            raise CodecError(f"{name}: {value} has {len(packed)} bytes, not {size}")
        if mask is None:
            return struct.pack("!I", number | size) + packed
        return struct.pack("!I", number | 0x100 | size * 2) + packed + mask.to_bytes(size, "big")
    except (OverflowError, ValueError) as error:
        raise CodecError(f"{name}: {value} does not fit into {size} bytes: {error}") from error
