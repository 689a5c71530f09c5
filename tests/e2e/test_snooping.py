# SPDX-License-Identifier: Apache-2.0
"""On-link floating IPs behind a switch that snoops MLD (RFC 4541)."""

import time

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS

from lab.host import FIP_A
from tests.e2e.link import FIP, LINK, Wire, add_on_link


@pytest.mark.parametrize("redirect", ["all", "external-networks"])
def test_behind_a_switch_that_snoops(make_lab, redirect):
    """The switch prunes the solicited-node groups that nobody reported, once it knows a querier."""
    lab = make_lab(agent=True, config={"ovs": {"redirect": redirect}})
    add_on_link(lab)
    uplink = lab.uplinks["uplink"]
    lab.upstream.ip(
        "link add sw type bridge mcast_snooping 1 mcast_querier 1 mcast_query_interval 200 "
        "mcast_query_response_interval 100 mcast_membership_interval 600 mcast_startup_query_interval 100",
        "link add router type veth peer name port", "link set port master sw",
        f"addr del {uplink['upstream']}/64 dev {LINK}", f"link set {LINK} master sw",
        "link set sw up", "link set port up", "link set router up",
        f"addr add {uplink['upstream']}/64 dev router nodad",
        f"route replace 2001:db8:f::/64 via {uplink['address']}")
    lab.wait_reachable(FIP, seconds=60)  # the gateway has another MAC now
    time.sleep(12)  # what was flooded while the switch learned is over
    lab.upstream.ip("neigh flush all")
    lab.agent.kill()
    for address in (FIP, uplink["address"], FIP_A):
        assert lab.client.reaches(address, 20), address
    # It does prune: a group that nobody reported is not brought.
    wire = Wire(lab)
    try:
        lab.upstream.run("ping", "-c", "1", "-W", "1", "2001:db8:100::3:c3", check=False)
        asked = [packet for packet in wire.received(2) if ICMPv6ND_NS in packet]
        assert not any(packet[ICMPv6ND_NS].tgt == "2001:db8:100::3:c3" for packet in asked)
    finally:
        wire.close()
