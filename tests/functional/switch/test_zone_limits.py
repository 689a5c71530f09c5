# SPDX-License-Identifier: Apache-2.0
"""Limits of conntrack zones, set in and read from a real ovs-vswitchd."""

import dataclasses

import pytest

from fip64agent.switch import zone_limits
from fip64agent.switch.examples import FILTERED_NETWORK
from fip64agent.switch.zone_limits import ZoneLimitItem

OTHER = dataclasses.replace(FILTERED_NETWORK, network_id="net-b", number=0x8002, limit=7)


@pytest.fixture
def room(bench):
    return bench.room()


def limits_of(room):
    return {item.zone: item.limit for item in room.actual().values() if isinstance(item, ZoneLimitItem)}


def items_of(room, *networks):
    return [item for network in networks for item in room.expand(network) if isinstance(item, ZoneLimitItem)]


def test_limits_are_set_changed_read_back_and_removed(bench, room):
    bench.ovs.appctl("dpctl/ct-set-limits", "zone=5,limit=50")
    assert room.apply([(None, item) for item in items_of(room, FILTERED_NETWORK, OTHER)]) == {}
    assert limits_of(room) == {0x8001: 50000, 0x8002: 7}
    more = items_of(room, dataclasses.replace(OTHER, limit=8))
    assert room.apply([(None, item) for item in more]) == {}
    assert limits_of(room) == {0x8001: 50000, 0x8002: 8}
    assert room.prune(items_of(room, FILTERED_NETWORK, OTHER)) == {}
    assert limits_of(room) == {}
    assert "zone=5,limit=50," in bench.ovs.appctl("dpctl/ct-get-limits").stdout, "another system's"


def test_no_limit_is_wanted_of_any_number_of_connections(room):
    assert items_of(room, dataclasses.replace(FILTERED_NETWORK, limit=0)) == []


@pytest.mark.parametrize("where", ["another datapath", "no ovs-vswitchd"])
def test_a_limit_that_cannot_be_set_is_a_failure_of_its_own(bench, short_tmp, where):
    run_path = str(short_tmp / "nothing" if where == "no ovs-vswitchd" else bench.ovs.directory)
    item = ZoneLimitItem(0x8001, 5)
    for apply, prune in (([item], []), ([], [item])):
        failed = zone_limits.change(run_path, "system", apply, prune)
        assert list(failed) == [item.key] and failed[item.key]
    assert zone_limits.read(run_path, "system") == {}, "what cannot be read is not there"
