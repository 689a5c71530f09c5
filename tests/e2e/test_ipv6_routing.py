# SPDX-License-Identifier: Apache-2.0
"""VMs that get their addresses and their gateway from the agent, and reach each other through it."""

import json
import re
import time

import pytest

from lab import ipv6
from lab.daemon import wait_for
from tests.e2e import steps


@pytest.fixture(scope="module")
def routed(make_module_lab):
    """A VM on each of two networks of one router, with addresses by SLAAC."""
    lab = make_module_lab(standard=False)
    ipv6.add_router(lab, "router")
    for name, prefix in (("one", "2001:db8:1::/64"), ("two", "2001:db8:2::/64")):
        ipv6.add_network(lab, name, prefix, router="router", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    lab.agent.start()
    for name, where in (("vm-a", "one"), ("vm-b", "two")):
        ipv6.add_vm(lab, name, where, configured=False)
    return lab


def addresses(node) -> set[str]:
    found = json.loads(node.run("ip", "-6", "-j", "addr", "show", "dev", "eth0", "scope", "global").stdout)
    return {entry["local"] for interface in found for entry in interface.get("addr_info", ())
            if entry and not entry.get("tentative")}


def test_a_vm_has_its_address_and_its_default_route_by_router_advertisements(routed):
    for name in ("vm-a", "vm-b"):
        node = routed[name]
        wait_for(lambda node=node: node.address6 in addresses(node), 20, "its address")
        assert "proto ra" in node.run("ip", "-6", "route", "show", "default").stdout


def test_the_gateway_answers_pings(routed):
    a = routed["vm-a"]
    assert a.ping("2001:db8:1::1", count=20).ok
    assert a.ping("2001:db8:2::1", count=20).ok, "its address on the other network"


def test_vms_of_two_networks_reach_each_other(routed):
    a, b = routed["vm-a"], routed["vm-b"]
    assert a.reaches(b.address6, 10)
    assert a.ping(b.address6, count=50).ok and b.ping(a.address6, count=50).ok


def test_an_address_that_nobody_has_is_unreachable(routed):
    answer = routed["vm-a"].run("ping", "-6", "-c1", "-W5", "2001:db8:2::dead", check=False).stdout
    assert "From 2001:db8:1::1" in answer and "Address unreachable" in answer


def test_where_no_route_leads_is_told(routed):
    answer = routed["vm-a"].run("ping", "-6", "-c1", "-W5", "2001:db8:9::1", check=False).stdout
    assert "From 2001:db8:1::1" in answer and "No route" in answer


def test_a_hop_limit_that_is_used_up_is_told(routed):
    far = routed["vm-b"].address6
    answer = routed["vm-a"].run("ping", "-6", "-t1", "-c1", "-W5", far, check=False).stdout
    assert "From 2001:db8:1::1" in answer and "Time exceeded: Hop limit" in answer


def flows(lab) -> dict[str, float]:
    """Return the agent's flows, without their counters, and for how many seconds each was there."""
    found = {}
    for line in lab.ovs.ofctl("dump-flows", lab.bridge).stdout.splitlines():
        if "cookie=0xf164" in line:
            seconds = float(re.search(r"duration=([0-9.]+)s", line)[1])
            text = re.sub(r"(duration|n_packets|n_bytes|idle_age|hard_age)=[^, ]*,? ?", "", line)
            found[text] = seconds
    return found


def test_a_restart_of_the_agent_leaves_flows_and_pings_alone(routed):
    a, b = routed["vm-a"], routed["vm-b"]
    assert a.reaches(b.address6, 10)
    before, begun = flows(routed), time.monotonic()
    ping = a.start_ping(b.address6)
    routed.agent.restart()
    steps.wait_settled(routed)
    passed = time.monotonic() - begun
    result, after = ping.stop(), flows(routed)
    assert result.ok and result.sent > 100
    assert after.keys() == before.keys()
    assert min(after.values()) > passed, "none was installed again"


def test_while_the_agent_is_dead_flows_go_on(routed):
    a, b = routed["vm-a"], routed["vm-b"]
    by_flows = routed.agent.get("/status")["datapath"]["nd_flags"]
    routed.agent.kill()
    try:
        if by_flows:
            a.ip("neigh flush dev eth0")
        assert a.ping(b.address6, count=50).ok
        assert a.ping("2001:db8:1::1", count=20).ok
    finally:
        routed.agent.start()
