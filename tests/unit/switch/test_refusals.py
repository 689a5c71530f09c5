# SPDX-License-Identifier: Apache-2.0
"""Counters of refused packets, as they are read from the switch's reply."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from fip64agent.switch import refusals
from fip64agent.switch.connection import codec
from fip64agent.switch.connection.codec import CodecError
from fip64agent.switch.examples import SERVED_PORT
from fip64agent.switch.refusals import Refusal

_STATS = struct.Struct("!HBxIIHHHHxxxxQQQ")


def reported(item, packets, cookie=None):
    """Return a flow as the switch reports it."""
    length = 4 + len(item.match)
    match = struct.pack("!HH", 1, length) + item.match + bytes(-length % 8)
    return _STATS.pack(_STATS.size + len(match), item.table, 0, 0, item.priority, 0, 0, 0,
                       item.cookie if cookie is None else cookie, packets, 0) + match


def flows():
    return [codec.encode(flow) for flow in refusals.counted(SERVED_PORT, Refusal, "port-security")]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=len(Refusal), max_size=len(Refusal)))
def test_each_port_and_reason_that_was_refused(packets):
    body = b"".join(map(reported, flows(), packets))
    assert refusals.counters([body]) == {
        (21, reason.text): count for reason, count in zip(Refusal, packets, strict=True) if count}


def test_flows_of_others_and_unknown_reasons_are_left_out():
    item, *_ = flows()
    unknown = codec.FlowItem(item.table, 1, item.match[:-4] + b"\0\0\0\xff", b"", item.cookie)
    longer = codec.FlowItem(item.table, 1, item.match + item.match[:8], b"", item.cookie)
    body = reported(item, 7, cookie=0x77) + reported(unknown, 7) + reported(longer, 7) + reported(item, 3)
    assert refusals.counters([body, b""]) == {(21, "source-mac"): 3}


@given(st.data())
def test_a_damaged_reply_is_an_error_or_gives_counters(data):
    body = bytearray(b"".join(reported(item, 1) for item in flows()))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = refusals.counters([bytes(body[:data.draw(st.integers(0, len(body)))])])
    except CodecError:
        return
    assert all(reason in {each.text for each in Refusal} for _, reason in found)
