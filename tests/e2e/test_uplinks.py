# SPDX-License-Identifier: Apache-2.0
"""Uplinks come and go with their router ports: MidoNet's VppUplinkTest on a real host."""

import pytest

from lab.host import EXTERNAL, FIP_A, FIP_B
from tests.e2e import steps

SECOND_UPLINK = "2001:db8:200::/64"


@pytest.fixture
def lab(make_lab):
    return make_lab(agent=True, bind=False)


def uplinks(lab) -> list[dict]:
    return lab.agent.get("/uplinks")


def wait_uplinks(lab, count, seconds=5):
    return lab.wait_for(lambda: len([u for u in uplinks(lab) if u["state"] == "active"]) == count
                        and len(uplinks(lab)) == count, seconds, f"{count} uplinks")


def test_becomes_active_and_inactive(lab):
    assert uplinks(lab) == [] and steps.links(lab) == []
    lab.bind("uplink")
    wait_uplinks(lab, 1)
    assert lab.client.reaches(lab.uplinks["uplink"]["address"], 5)
    assert any("ipv6" in flow for flow in steps.owned_flows(lab))
    lab.bind("vm-a", "vm-b")
    lab.wait_reachable(FIP_A, FIP_B, seconds=5)
    lab.unbind("uplink")
    lab.wait_for(lambda: uplinks(lab) == [] and steps.links(lab) == [], 5, "the uplink goes")
    lab.wait_for(lambda: not steps.namespaces(lab) and not steps.translators(lab), 5, "nothing is left")
    assert steps.fip(lab, FIP_A)["state"] == "pending"
    lab.bind("uplink")
    lab.wait_reachable(FIP_A, FIP_B, seconds=5)


def test_port_without_ipv6_address_is_no_uplink_until_it_adds_one(lab):
    name = "uplink"
    addresses = {f"{name}-subnet": lab.uplinks[name]["address"]}
    lab.topology.set_port_addresses(name, {})
    lab.bind(name)
    lab.wait_for(lambda: lab.agent.get("/status")["settled"], 5, "settled")
    assert uplinks(lab) == [] and steps.links(lab) == []
    lab.topology.set_port_addresses(name, addresses)
    wait_uplinks(lab, 1)
    lab.topology.set_port_addresses(name, {})
    lab.wait_for(lambda: uplinks(lab) == [] and steps.links(lab) == [], 5, "the uplink goes")


def test_port_changes_its_ipv6_address(lab):
    lab.bind("uplink")
    old = lab.uplinks["uplink"]["address"]
    assert lab.client.reaches(old, 5)
    new = "2001:db8:100::22"
    lab.topology.set_port_addresses("uplink", {"uplink-subnet": new})
    assert lab.client.reaches(new, 5)
    assert not lab.client.reaches(old)
    wait_uplinks(lab, 1)


def test_port_deleted(lab):
    lab.bind("uplink")
    wait_uplinks(lab, 1)
    lab.topology.remove("ports", "uplink")
    lab.wait_for(lambda: uplinks(lab) == [] and steps.links(lab) == [], 5, "the uplink goes")


def test_ports_that_are_no_router_ports_are_ignored(lab):
    lab.topology.update("ports", "uplink", device_owner="compute:nova", device_id=None)
    lab.bind("uplink")
    lab.wait_for(lambda: lab.agent.get("/status")["settled"], 5, "settled")
    assert uplinks(lab) == [] and steps.links(lab) == []


def test_updates_that_do_not_matter_change_nothing(lab):
    lab.bind("uplink")
    wait_uplinks(lab, 1)
    steps.wait_settled(lab)
    before = steps.dump(lab)
    lab.topology.update("ports", "uplink", description="renamed by the operator")
    lab.topology.update("networks", EXTERNAL, description="more of the same")
    lab.topology.add_network("unrelated")
    steps.wait_settled(lab)
    assert steps.dump(lab) == before


def test_several_uplinks_on_one_host(lab):
    lab.bind("uplink", "vm-a", "vm-b")
    lab.wait_reachable(FIP_A, FIP_B, seconds=10)
    lab.add_uplink("uplink2", SECOND_UPLINK, router="edge2")
    lab.add_tenant("c", "10.3.0.0/24", external="uplink2-net")
    lab.add_vm("vm-c", "c", "10.3.0.9", serve=True)
    lab.topology.add_fip("2001:db8:200::9", "vm-c")
    wait_uplinks(lab, 2)
    assert lab.client.reaches("2001:db8:200::9", 5)
    assert lab.client.http_get("2001:db8:200::9")["answer"]["vm"] == "vm-c"
    running = lab.client.start_ping(FIP_A)
    lab.unbind("uplink2")
    wait_uplinks(lab, 1)
    answer = running.stop()
    assert answer.ok, f"the other uplink's traffic lost {answer.lost}"


def test_on_link_floating_ip_is_answered_for(lab):
    """The upstream router resolves the FIP by Neighbor Discovery."""
    address = "2001:db8:100::a1"
    lab.bind("uplink", "vm-a", "vm-b")
    lab.wait_reachable(FIP_A, seconds=10)
    lab.add_tenant("d", "10.4.0.0/24", external="uplink-net")
    lab.add_vm("vm-d", "d", "10.4.0.9")
    assert not lab.client.reaches(address)
    lab.topology.add_fip(address, "vm-d")
    assert lab.client.reaches(address, 5)
    neighbor = lab.upstream.run("ip", "-6", "neigh", "show", address).stdout
    assert lab.uplinks["uplink"]["mac"] in neighbor
    assert "REACHABLE" in neighbor or "DELAY" in neighbor or "STALE" in neighbor
    lab.topology.remove_fip(address)
    steps.wait_settled(lab)
    lab.upstream.ip(f"neigh flush to {address}")
    assert not lab.client.reaches(address)


@pytest.mark.parametrize("redirect", ["all", "external-networks"])
def test_machine_on_the_uplinks_bridge_is_not_served(make_lab, redirect):
    """The limit that doc/source/operator/guide.rst states: "Other machines on the uplink's bridge".

    A machine that is plugged into the bridge itself reaches neither an on-link floating IP nor the uplink's
    address; the upstream router, which comes in by the uplink's interface, reaches both.
    """
    lab = make_lab(agent=True, config={"ovs": {"redirect": redirect}})
    lab.wait_reachable(FIP_A, FIP_B, seconds=10)
    floating, uplink = "2001:db8:100::a1", lab.uplinks["uplink"]["address"]
    lab.add_tenant("d", "10.4.0.0/24", external="uplink-net")
    lab.add_vm("vm-d", "d", "10.4.0.9")
    lab.topology.add_fip(floating, "vm-d")
    assert lab.upstream.reaches(floating, 5)
    peer = lab.add_bridge_host("peer", "192.0.2.77/24", "2001:db8:100::77/64")
    lab.upstream.ip("addr add 192.0.2.1/24 dev uplink")
    assert peer.reaches("192.0.2.1", 5), "it is plugged into the uplink's network"
    assert not peer.reaches(floating, 1)
    assert not peer.reaches(uplink, 1)
    assert lab.upstream.reaches(floating, 5) and lab.upstream.reaches(uplink, 5)


@pytest.mark.parametrize("redirect", ["all", "external-networks"])
def test_dual_stack_external_network(make_lab, redirect):
    """IPv4 of a dual-stack uplink network passes as NORMAL; so does other IPv6 unless all is redirected."""
    lab = make_lab(agent=True, config={"ovs": {"redirect": redirect}})
    with lab.topology.batch():
        lab.topology.add_subnet("uplink-v4", "uplink-net", "192.0.2.0/24", gateway_ip="192.0.2.1")
        port = lab.topology.find("ports", "uplink")
        port["fixed_ips"].append({"subnet_id": lab.topology.id("subnets", "uplink-v4"),
                                  "ip_address": "192.0.2.2"})
    lab.wait_reachable(FIP_A, FIP_B, seconds=10)
    lab.upstream.ip("addr add 192.0.2.1/24 dev uplink")
    neighbor = lab.add_bridge_host("legacy", "192.0.2.77/24", "2001:db8:100::77/64")
    assert lab.upstream.reaches("192.0.2.77", 5)
    assert lab.upstream.reaches("2001:db8:100::77", 5) == (redirect == "external-networks")
    assert neighbor.reaches("192.0.2.1")
    assert lab.client.ping(FIP_A, count=5).ok
