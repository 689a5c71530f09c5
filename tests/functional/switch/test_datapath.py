# SPDX-License-Identifier: Apache-2.0
"""What the datapath can do: Open vSwitch is asked after each connection, and nothing is left behind."""

import pytest

from fip64agent.plan.inputs import Datapath
from tests.functional.switch.conftest import BRIDGE, until

ALL = {"nd_flags": True, "packet_size": True, "conntrack": True, "meters": True}


@pytest.mark.parametrize(("kind", "site"), [("dummy", "bench"), ("netdev", "wired")])
def test_what_userspace_can_do(kind, site, request):
    bench = request.getfixturevalue(site)
    before = bench.flows()
    bench.room()
    until(lambda: bench.datapaths)
    assert bench.datapaths == [Datapath(kind, **ALL)]
    assert bench.flows() == before


@pytest.mark.parametrize(("feature", "lacks"), [("nd_ext", "nd_flags"), ("ct_state", "conntrack"),
                                                ("ct_mark", "conntrack")])
def test_a_datapath_that_cannot_do_all(bench, feature, lacks):
    """Open vSwitch is told to think of its datapath as of one that lacks something, as the kernel's does."""
    bench.room().close()
    bench.ovs.appctl("dpif/set-dp-features", BRIDGE, feature, "false")
    bench.datapaths.clear()
    bench.room()
    until(lambda: bench.datapaths)
    assert bench.datapaths == [Datapath("dummy", **ALL | {lacks: False})]


def test_it_is_asked_again_after_a_restart(bench):
    room = bench.room()
    until(lambda: bench.datapaths)
    before = room._connection.channel
    bench.ovs.restart_vswitchd()
    until(lambda: room.ready() is None and room._connection.channel is not before)
    until(lambda: len(bench.datapaths) == 2)
    assert bench.datapaths[0] == bench.datapaths[1]
