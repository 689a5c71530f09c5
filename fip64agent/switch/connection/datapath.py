# SPDX-License-Identifier: Apache-2.0
"""What the bridge's datapath can do: Open vSwitch is asked, since neither its version nor the kernel's tells.

Each question is a flow in a bundle that is discarded, so nothing is ever installed: Open vSwitch checks the
actions of a flow against its datapath when the flow is put into the bundle.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from fip64agent.plan.inputs import Datapath
from fip64agent.switch.connection import bundle
from fip64agent.switch.connection.actions import encode_instructions
from fip64agent.switch.connection.app import Connection
from fip64agent.switch.connection.codec import FlowItem, encode_match, flow_mod
from fip64agent.switch.flows.flow import (
    CT_NEW,
    CT_TRACKED,
    ICMPV6,
    IN_PORT,
    IPV6,
    Action,
    CheckPktLarger,
    Ct,
    Match,
    Output,
    SetField,
)

# isort: split
from os_ken.ofproto import ofproto_v1_3 as ofp

_TABLE = 253
"""The last that flows of users may be in: Open vSwitch keeps 254 for its own."""
_ADVERTISEMENT = (IPV6, ICMPV6, ("icmpv6_type", 136), ("icmpv6_code", 0))
_QUESTIONS: tuple[tuple[str, Match, tuple[Action, ...]], ...] = (
    ("nd_flags", _ADVERTISEMENT, (SetField("nd_reserved", 0x60000000), Output(IN_PORT))),
    ("nd_flags", _ADVERTISEMENT, (SetField("nd_options_type", 2), Output(IN_PORT))),
    ("packet_size", (IPV6,), (CheckPktLarger(1514, "reg0"), Output(IN_PORT))),
    ("conntrack", (IPV6,), (Ct(zone="reg0", table=_TABLE),)),
    ("conntrack", (IPV6, ("ct_state", (CT_TRACKED | CT_NEW,) * 2), ("ct_mark", (0, 1))),
     (Ct(zone="reg0", commit=True, actions=(SetField("ct_mark", 1),)),)),
)
"""(what it asks for, match, actions): the datapath can do it if Open vSwitch takes all flows about it."""
_REQUEST = struct.Struct("!BBHIHH4x")
_METER_FEATURES = struct.Struct("!III")


def _messages(first: int) -> list[bytes]:
    """Return a bundle with the questions that is discarded, then a question about meters."""
    messages = [bundle.control(first, first, ofp.ONF_BCT_OPEN_REQUEST)]
    for xid, (_, match, actions) in enumerate(_QUESTIONS, first + 1):
        item = FlowItem(_TABLE, 0, encode_match(match), encode_instructions(actions), 0)
        messages.append(bundle.add_message(xid, first, flow_mod(item, xid)))
    xid = first + len(messages)
    messages.append(bundle.control(xid, first, ofp.ONF_BCT_DISCARD_REQUEST))
    messages.append(_REQUEST.pack(ofp.OFP_VERSION, ofp.OFPT_MULTIPART_REQUEST, _REQUEST.size, xid + 1,
                                  ofp.OFPMP_METER_FEATURES, 0))
    return messages


def has_meters(bodies: Sequence[bytes]) -> bool:
    """Return whether an OFPMP_METER_FEATURES reply says that meters can count and drop packets."""
    body = b"".join(bodies)
    if len(body) < _METER_FEATURES.size:
        return False
    most, bands, able = _METER_FEATURES.unpack_from(body)
    return most > 0 and bool(bands & 1 << ofp.OFPMBT_DROP) and bool(able & ofp.OFPMF_PKTPS)


def ask(connection: Connection, kind: str) -> Datapath:
    """Return what the bridge's datapath can do. `kind`: its type as OVSDB has it.

    Raises: NotReady when the connection is lost.
    """
    count = len(_QUESTIONS) + 3
    reply = connection.request(_messages, count)
    opened = reply.first not in reply.errors
    refused = {what for xid, (what, _, _) in enumerate(_QUESTIONS, reply.first + 1) if xid in reply.errors}
    able = {what: opened and what not in refused for what, _, _ in _QUESTIONS}
    meters = reply.last not in reply.errors and has_meters(reply.bodies.get(reply.last, ()))
    return Datapath(kind, meters=meters, **able)
