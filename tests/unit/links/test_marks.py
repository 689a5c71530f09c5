# SPDX-License-Identifier: Apache-2.0
"""Marks and their numbers; the kernel's events; what the room needs of the kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.links import events, marks, rtnetlink
from fip64agent.links.own_links import OwnLinks
from fip64agent.links.room import LinksRoom
from fip64agent.plan.inputs import Allocations
from fip64agent.plan.kinds import kinds
from fip64agent.switch.examples import SERVED_NETWORK
from fip64agent.translator.vpp import tags
from fip64agent.translator.vpp.links import VppLayout
from fip64agent.translator.vpp.state import State
from tests.fakes import added, planned


@pytest.fixture
def beacons(tmp_path):
    with added.installed(tmp_path) as module:
        yield module


@pytest.mark.parametrize("name", ["red", "two words", "vlan 5", "x" * 128, "ü", "tenant a vlan 1"])
def test_numbers_are_read_off_the_marks(name):
    found = marks.allocations("fip64-", [
        marks.of("fip64-", planned.uplink("fip64-", name, 3)), marks.of("fip64-", planned.tenant(name, 4094)),
        marks.of("fip64-", planned.host("fip64-")), marks.namespace("fip64-", "fip64-core"),
        marks.of("other-", planned.tenant("blue", 3)), "", "fip64agent"])
    assert dict(found.tables) == {name: 1003} and dict(found.vlans) == {name: 4094}


def test_a_mark_names_the_object_and_its_numbers():
    assert [marks.of("fip64-", obj) for obj in (
        planned.host("fip64-"), planned.uplink("fip64-", "up", 3), planned.tenant("red", 7),
        planned.mapping(planned.tenant("red", 7), "2001:db8:f::10"))] == [
            "fip64agent fip64- host", "fip64agent fip64- uplink up table 1003",
            "fip64agent fip64- tenant red vlan 7", "fip64agent fip64- fip fip-2001:db8:f::10"]


def test_kinds_with_numbers_that_no_link_carries_take_none_from_others():
    """Their names are like a namespace's and an uplink's words."""
    carried = {space.name for kind in kinds().values() for space, _ in kind.numbers}
    assert carried == {"vlans", "tables", "networks", "routers"}
    aliases = [marks.of("fip64-", planned.tenant("network a number 5", 7)),
               marks.of("fip64-", planned.uplink("fip64-", "router", 3)),
               marks.namespace("fip64-", "router r number 3")]
    assert marks.allocations("fip64-", aliases) == Allocations({
        "vlans": {"network a number 5": 7}, "tables": {"router": 1003}})
    assert marks.allocations("fip64-", [marks.of("fip64-", SERVED_NETWORK)]) == Allocations({
        "networks": {SERVED_NETWORK.network_id: SERVED_NETWORK.number}})


def test_the_mark_and_the_numbers_of_a_kind_of_another_package(beacons):
    mark = marks.of("fip64-", beacons.Beacon("vm 1", 42))
    assert mark == "fip64agent fip64- beacon vm 1 channel 42"
    assert marks.allocations("fip64-", [mark]) == Allocations({"channels": {"vm 1": 42}})


def test_the_number_of_a_table_of_vpp_is_its_objects(beacons):
    """Whichever kind it is of. VPP's own tables, and those of others, are passed over."""
    state = State(tables={
        (6, 1003): tags.uplink("up"), (4, 7): tags.tenant("red"), (6, 42): f"{tags.OURS}beacon:vm:1",
        (4, 0): "ipv4-VRF:0", (4, 8): f"{tags.OURS}stranger:x", (4, 9): tags.DOWNLINK})
    assert state.allocations() == Allocations({
        "tables": {"up": 1003}, "vlans": {"red": 7}, "channels": {"vm:1": 42}})


@given(st.lists(st.text() | st.text().map(lambda text: "fip64agent fip64- " + text)))
def test_no_alias_breaks_the_marks(aliases):
    marks.allocations("fip64-", aliases)


@given(st.binary(max_size=200), st.sampled_from([None, OwnLinks(), ()]))
def test_no_bytes_break_the_events(data, own_links):
    list(events.parse(data, own_links))
    list(rtnetlink.attributes(data, 0))


@given(st.sampled_from([16, 17, 20, 21, 24, 25, 28, 29, 32, 33, 80, 81]), st.binary(max_size=64))
def test_no_short_message_breaks_the_events(kind, body):
    data = rtnetlink._HEADER.pack(16 + len(body), kind, 0, 1, 42) + body
    assert all(event.port == 42 for event in events.parse(data, own_links=None))


def test_a_kernel_without_ipv6_is_reported(monkeypatch, tmp_path):
    room = LinksRoom("fip64-", VppLayout())
    assert room.ready() is None
    monkeypatch.setattr("fip64agent.links.room._IPV6", tmp_path / "none")
    assert "without IPv6" in room.ready()
