# SPDX-License-Identifier: Apache-2.0
"""Marks and their numbers; the kernel's events; what the room needs of the kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.links import events, marks, rtnetlink
from fip64agent.links.room import LinksRoom
from fip64agent.translator.vpp.links import VppLayout


@pytest.mark.parametrize("name", ["red", "two words", "vlan 5", "x" * 128, "ü", "tenant a vlan 1"])
def test_numbers_are_read_off_the_marks(name):
    found = marks.allocations("fip64-", [marks.uplink("fip64-", name, 1003), marks.tenant("fip64-", name,
                                                                                          4094),
                                         marks.host("fip64-"), marks.namespace("fip64-", "fip64-core"),
                                         marks.tenant("other-", "blue", 3), "", "fip64agent"])
    assert dict(found.tables) == {name: 1003} and dict(found.vlans) == {name: 4094}


@given(st.lists(st.text() | st.text().map(lambda text: "fip64agent fip64- " + text)))
def test_no_alias_breaks_the_marks(aliases):
    marks.allocations("fip64-", aliases)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_the_events(data, is_agents_own):
    list(events.parse(data, is_agents_own))
    list(rtnetlink.attributes(data, 0))


@given(st.sampled_from([16, 17, 20, 21, 24, 25, 28, 29, 32, 33, 80, 81]), st.binary(max_size=64))
def test_no_short_message_breaks_the_events(kind, body):
    data = rtnetlink._HEADER.pack(16 + len(body), kind, 0, 1, 42) + body
    assert all(event.port == 42 for event in events.parse(data, is_agents_own=False))


def test_a_kernel_without_ipv6_is_reported(monkeypatch, tmp_path):
    room = LinksRoom("fip64-", VppLayout())
    assert room.ready() is None
    monkeypatch.setattr("fip64agent.links.room._IPV6", tmp_path / "none")
    assert "without IPv6" in room.ready()
