# SPDX-License-Identifier: Apache-2.0
"""Small changes are planned incrementally: what they cost, and that they do not start from scratch."""

import dataclasses
import time
from ipaddress import IPv4Network, IPv6Address

import pytest

from fip64agent.plan import planner
from fip64agent.plan.desired import NOTHING
from fip64agent.plan.inputs import Allocations, Inputs, Interface, Settings
from fip64agent.plan.planner import plan, replan
from fip64agent.topology.model import FloatingIP, Network
from tests.fakes import topologies
from tests.fakes.topologies import (
    big_topology,
    mac,
    own_interfaces,
    sound,
    sound_inputs,
    two_tenant_site,
    uuid,
)


def edited(inputs, in_force, *several):
    """Make the edits as a source does: what becomes faulty is not in force."""
    return sound_inputs(topologies.edited(inputs, in_force, *several))


class FromScratch(Exception):
    pass


@pytest.fixture
def only_incremental(monkeypatch):
    def refuse(inputs, previous):
        raise FromScratch

    monkeypatch.setattr(planner, "plan_anew", refuse)


@pytest.fixture
def site():
    return two_tenant_site()


def fip(**values):
    return ("floatingips", FloatingIP("fip-vm-red", "ext", IPv6Address("2001:db8:f::10"), **values))


SMALL = {
    "floating IP removed, and its tenant with it": [("floatingips", "fip-vm-red")],
    "floating IP disassociated": [fip(port_id=None)],
    "floating IP moved to the other tenant": [fip(port_id="vm-blue")],
    "floating IP added": [("floatingips", FloatingIP("new", "ext", IPv6Address("2001:db8:f::20"), "later"))],
    "VM unbound": [("interfaces", "tap-vm-red")],
    "VM rebound": [("interfaces", "tap-vm-red"), ("interfaces", Interface("tap-other", 9, "vm-red"))],
    "VM bound twice": [("interfaces", Interface("tap-other", 9, "vm-red"))],
    "VM port removed": [("ports", "vm-red")],
    "tenants' veths opened": [("opened", 77)],
    "foreign interface": [("interfaces", Interface("eth7", 7))],
    "nothing": [],
}


@pytest.mark.parametrize("several", SMALL.values(), ids=SMALL.keys())
def test_small_changes_do_not_plan_from_scratch(site, several, only_incremental):
    ours = {name: row for name, row in own_interfaces(plan(site.inputs)).items()
            if not name.startswith("ovs-dl-")}
    site.add(*ours.values())
    before = site.inputs
    previous = plan(before)
    after = edited(before, previous, *several)
    if several == SMALL["tenants' veths opened"]:
        after = dataclasses.replace(after, interfaces={**after.interfaces, **ours})
    after = dataclasses.replace(after, allocations=previous.allocations)
    assert replan(previous, before, after) == plan(after)


LARGE = {
    "network": [("networks", Network("uplink-net", mtu=9000))],
    "uplink unbound": [("interfaces", "eth-up")],
    "uplink's veth opened": [("opened", 77)],
    "router port": [("ports", "red-if")],
}


@pytest.mark.parametrize("several", LARGE.values(), ids=LARGE.keys())
def test_what_concerns_many_does_not_plan_from_scratch_either(site, several, only_incremental):
    before = site.inputs
    previous = plan(before)
    after = edited(before, previous, *several)
    again = replan(previous, before, after)
    assert again == plan(after)
    for key, found in again.mappings.items():
        assert (found is previous.mappings[key]) == (found == previous.mappings[key])


def test_a_step_after_new_tenants_got_their_numbers_is_incremental(site, only_incremental):
    """The agent's way: the allocations of the last plan stand in `before` already."""
    first = site.inputs
    previous = plan(first)
    before = dataclasses.replace(first, allocations=previous.allocations)
    after = edited(before, previous, ("floatingips", "fip-vm-red"))
    assert replan(previous, before, after) == plan(after)


def test_the_previous_plan_remembers_what_it_was_made_from(site):
    before = site.inputs
    del site.floatingips["fip-vm-red"]
    after = site.inputs
    assert replan(NOTHING, before, after) == plan(after)
    assert replan(plan(after), before, after) == plan(after)
    assert replan(plan(before), after, after) == plan(after)
    rebound = dataclasses.replace(after, interfaces={"eth-up": after.interfaces["eth-up"]})
    assert replan(plan(rebound), after, after) == plan(after)


def changed(previous, before, *several, **allocations):
    """Make the edits, feed back the allocations with those given on top; return (after, the new plan)."""
    after = edited(before, previous, *several)
    after = dataclasses.replace(after, allocations=Allocations({
        space: {**previous.allocations.of(space), **allocations.get(space, {})}
        for space in ("vlans", "tables")}))
    desired = replan(previous, before, after)
    assert desired == plan(after)
    return after, desired


def test_another_vlan_or_table_is_found_in_force(site):
    before = site.inputs
    previous = plan(before)
    before, previous = changed(previous, before, vlans={"red": 99})
    assert previous.tenants["red"].vlan == 99
    before, previous = changed(previous, before, tables={"uplink": 1555})
    assert previous.uplinks["uplink"].table == 1555


def test_a_vlan_becomes_free_for_another_tenant_and_is_taken_again(site):
    site.settings = Settings(vlan_range=(7, 7))
    blue = site.floatingips["fip-vm-blue"]
    before = site.inputs
    previous = plan(before)
    assert previous.tenants.keys() == {"blue"}
    before, previous = changed(previous, before, ("floatingips", blue.id))
    assert previous.tenants.keys() == {"red"} and previous.problems == {}
    before, previous = changed(previous, before, ("floatingips", blue))
    assert previous.tenants.keys() == {"red"} and ("tenant", "blue") in previous.problems
    before, previous = changed(previous, before, ("floatingips", "fip-vm-red"))
    assert previous.tenants.keys() == {"blue"} and previous.problems == {}


def test_a_tenants_fault_comes_and_goes_with_its_floating_ips(site):
    site.settings = Settings(pool_slice=(1, 4))
    site.change("routers", "red", nat64_pool=IPv4Network("192.0.2.0/30"))
    red = site.floatingips["fip-vm-red"]
    before = site.inputs
    previous = plan(before)
    assert ("tenant", "red") in previous.problems
    before, previous = changed(previous, before, ("floatingips", red.id))
    assert previous.problems == {}
    before, previous = changed(previous, before, ("floatingips", red))
    assert previous.problems.keys() == {("tenant", "red"), ("fip", red.id)}


def best(function, *arguments, times=5):
    """Return the shortest time in milliseconds: what others do on this machine only adds to it."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        function(*arguments)
        spent.append(time.perf_counter() - start)
    return min(spent) * 1000


def test_10_000_floating_ips():
    """Prints times, for a first look (pytest -s); bench/ measures them."""
    topology, interfaces = big_topology(100, 10_000)
    topology = sound(topology)
    previous = plan(Inputs(topology, interfaces))
    before = Inputs(topology, interfaces | own_interfaces(previous), allocations=previous.allocations)
    previous = plan(before)
    assert len(previous.mappings) == len(previous.gateways) == 10_000 and previous.problems == {}
    print(f"plan: {best(plan, before):.1f} ms")
    port = topology.ports[uuid(7, 77)]
    for edit in (("floatingips", uuid(8, 77)), ("interfaces", "tap4d"),
                 ("ports", dataclasses.replace(port, mac_address=mac(0x99)))):
        after = topologies.edited(before, previous, edit)
        print(f"replan, {edit[0]}: {best(replan, previous, before, after):.2f} ms")
        assert len(replan(previous, before, after).changes(previous)) in (1, 2, 3)
        assert replan(previous, before, after) == plan(after)
