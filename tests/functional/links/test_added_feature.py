# SPDX-License-Identifier: Apache-2.0
"""What a feature of another package wants of Linux: made, watched, read back with its numbers, removed."""

from __future__ import annotations

import pytest

from fip64agent import hub
from fip64agent.links import netns as namespaces
from tests.fakes import added
from tests.functional.links.conftest import until


@pytest.fixture
def beacon(bench, tmp_path):
    with added.installed(tmp_path) as module:
        yield module.Beacon("vm-a", 42, bench.full("beacon"))


def test_its_links_are_made_read_back_and_removed(bench, beacon):
    objects = [*bench.site.standard(), beacon]
    bench.converge(objects)
    assert not bench.difference(objects)
    bench.rooms.pop().close()
    room = bench.room()  # as after a restart
    assert not bench.converge(objects, room)
    assert room.allocations().of("channels") == {"vm-a": 42}
    assert room.allocations().vlans == {"t1": 1, "t2": 2}
    bench.converge(bench.site.standard())
    assert not bench.difference(bench.site.standard())
    assert bench.full("beacon") not in namespaces.names(bench.site.prefix)


@pytest.mark.parametrize(("netns", "line"), [
    ("agent", "link set light42 mtu 1400"), ("agent", "link del light42"),
    ("agent", "link set light42 alias 'fip64agent {prefix} beacon vm-a channel 43'"),
    ("beacon", "neigh replace 2001:db8:be::2 lladdr 02:00:00:00:00:99 dev lamp")])
def test_damage_to_them_is_noticed_and_repaired(bench, beacon, netns, line):
    bench.converge([beacon])
    hub.sleep(2.1)  # longer than a link may have an echo
    bench.changes = 0
    bench.ip(netns, line.format(prefix=bench.site.prefix))
    until(lambda: bench.changes)
    assert bench.difference([beacon])
    bench.repair([beacon])


def test_a_name_that_others_have_taken_is_noticed_when_it_is_free(bench, beacon):
    bench.converge([])
    bench.ip("agent", "link add light42 type veth peer name stranger")
    failed = bench.rooms[0].apply([(None, item) for item in bench.items([beacon])])
    assert "does not carry our mark" in failed["veth", "", "light42"]
    hub.sleep(2.1)
    bench.rooms[0].actual()
    bench.changes = 0
    bench.ip("agent", "link add other type veth peer name other2", "link del other")
    hub.sleep(0.5)
    assert bench.changes == 0
    bench.ip("agent", "link del light42")
    until(lambda: bench.changes)
    bench.repair([beacon])
