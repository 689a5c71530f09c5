# SPDX-License-Identifier: Apache-2.0
"""Tenants and their mappings. The first tests carry the names of MidoNet's VppDownlinkTest."""

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from fip64agent.plan.desired import ERROR, PENDING, Gateway
from fip64agent.plan.inputs import Allocations, Inputs, Interface, Settings
from fip64agent.plan.planner import plan
from fip64agent.topology.model import ROUTER_INTERFACE, FloatingIP, Network, Port, Router
from tests.fakes.topologies import (
    add_tenant,
    add_vm,
    edge_site,
    fixed,
    mac,
    own_interfaces,
    subnet,
    two_tenant_site,
)
from tests.fakes.translators import CAPABILITIES

RED = ("fip", "fip-vm-red")


def red_site():
    return add_vm(add_tenant(edge_site(), "red"), "vm-red", "red", "10.0.0.5", "2001:db8:f::10")


def problem(site, key=RED):
    found = plan(site.inputs).problems[key]
    return found.state, found.reason


def faulty(site, fip_id="fip-vm-red"):
    """Return why a floating IP is not in force; fail if it is planned, or told of in the plan too."""
    inputs = site.inputs
    desired = plan(inputs)
    assert fip_id not in desired.mappings and ("fip", fip_id) not in desired.problems
    return inputs.topology.reason(("floatingips", fip_id))


# VppDownlinkTest

def test_port_with_nat64_create_after_actor_started():
    """The tenant router's interface comes after the floating IP that needs it."""
    site = red_site()
    interface = site.ports.pop("red-if")
    assert faulty(site) == ("router_id: cannot be determined: no router has an interface on subnet red-v4, "
                            "where 10.0.0.5 is")
    site.add(interface)
    desired = plan(site.inputs)
    assert desired.problems == {} and desired.mappings.keys() == {"fip-vm-red"}


def test_port_does_not_exist():
    site = red_site()
    del site.ports["vm-red"]
    desired = plan(site.inputs)
    assert desired.tenants == {} and desired.mappings == {}
    assert faulty(site) == "port_id: no port has the id 'vm-red'"


def test_port_deleted_for_existing_downlink():
    site = two_tenant_site()
    before = plan(site.inputs)
    del site.ports["vm-red"]
    desired = plan(site.inputs)
    gone = {was.key for was, now in desired.changes(before) if now is None}
    assert gone == {("tenant", "red"), RED, ("gateway", "vm-red", "10.0.0.1")}
    assert len(desired.changes(before)) == 3


def test_multiple_downlinks_use_different_vrf_numbers():
    tenants = plan(two_tenant_site().inputs).tenants
    red, blue = tenants["red"], tenants["blue"]
    assert red.maps[0][0] == blue.maps[0][0] == IPv4Address("10.0.0.5")
    for attribute in ("vlan", "mac", "interface"):
        assert getattr(red, attribute) != getattr(blue, attribute)


def test_downlink_deleted_when_last_fip_removed():
    site = add_vm(red_site(), "vm2", "red", "10.0.0.6", "2001:db8:f::11")
    for fip_id, left in (("fip-vm-red", 1), ("fip-vm2", 0)):
        del site.floatingips[fip_id]
        desired = plan(site.inputs)
        assert (len(desired.tenants), len(desired.allocations.vlans)) == (left, left)
    assert desired.uplinks and desired.gateways == {}


def test_deleted_downlink_frees_vrf_numbers():
    site = two_tenant_site()
    site.settings = Settings(vlan_range=(7, 7))
    desired = plan(site.inputs)
    assert {key: tenant.vlan for key, tenant in desired.tenants.items()} == {"blue": 7}
    del site.floatingips["fip-vm-blue"]
    desired = plan(dataclasses.replace(site.inputs, allocations=desired.allocations))
    assert {key: tenant.vlan for key, tenant in desired.tenants.items()} == {"red": 7}


def test_port_updates_are_filtered():
    """What does not matter changes nothing; MidoNet ignored a changed MAC too, here it counts."""
    site = red_site()
    before = plan(site.inputs)
    site.change("ports", "vm-red", name="renamed", device_owner="compute:nova")
    assert plan(site.inputs).changes(before) == []
    site.change("ports", "vm-red", mac_address=mac(0x66)).change("ports", "red-if", mac_address=mac(0x67))
    after = plan(site.inputs)
    assert {now.key for _, now in after.changes(before)} == {RED, ("gateway", "vm-red", "10.0.0.1")}
    found, gateway = after.mappings["fip-vm-red"], after.gateways["gateway", "vm-red", "10.0.0.1"]
    assert found.vm_mac == mac(0x66)
    assert found.gateway_mac == gateway.mac == mac(0x67)


def test_multiple_networks():
    """One tenant with floating IPs from two external networks."""
    site = red_site().add(
        Network("ext2", external=True), subnet("ext2-v6", "ext2", "2001:db8:e::/64"),
        Port("edge-ext2", "ext2", mac(1, 9), device_owner=ROUTER_INTERFACE, device_id="edge"),
        Port("red-gw2", "ext2", mac(2, 9), device_owner="network:router_gateway", device_id="red"))
    add_vm(site, "vm2", "red", "10.0.0.6", "2001:db8:e::10", external="ext2")
    desired = plan(site.inputs)
    assert desired.problems == {}
    assert desired.tenants["red"].maps == (
        (IPv4Address("10.0.0.5"), IPv6Address("2001:db8:f::10")),
        (IPv4Address("10.0.0.6"), IPv6Address("2001:db8:e::10")))


def test_adding_and_removing_fip64_entries():
    site = red_site()
    before = plan(site.inputs)
    add_vm(site, "vm2", "red", "10.0.0.4", "2001:db8:f::9")
    during = plan(site.inputs)
    assert [str(pair[0]) for pair in during.tenants["red"].maps] == ["10.0.0.4", "10.0.0.5"]
    assert {(was or now).key for was, now in during.changes(before)} == {
        ("tenant", "red"), ("fip", "fip-vm2"), ("gateway", "vm2", "10.0.0.1")}
    del site.floatingips["fip-vm2"]
    assert plan(site.inputs) == before


def test_all_fip_entries_cleared_when_port_deleted():
    site = add_vm(red_site(), "vm2", "red", "10.0.0.4", "2001:db8:f::9")
    del site.ports["red-if"]
    desired = plan(site.inputs)
    assert (desired.tenants, desired.mappings, desired.gateways) == ({}, {}, {})
    assert faulty(site) and faulty(site, "fip-vm2")


def test_the_table_is_deleted():
    site = two_tenant_site()
    site.floatingips.clear()
    desired = plan(site.inputs)
    assert desired == plan(add_tenant(add_tenant(edge_site(), "red"), "blue").inputs)
    assert desired.tenants == {} and desired.uplinks


# What is in the objects

def test_the_objects_of_a_floating_ip_with_tayga():
    site = red_site()
    site.settings = Settings(capabilities=CAPABILITIES["tayga"])
    desired = plan(site.inputs)
    tenant = desired.tenants["red"]
    site.add(*own_interfaces(desired, 50).values())
    found = plan(site.inputs).mappings["fip-vm-red"]
    vlan = tenant.vlan
    assert tenant.interface == f"ovs-dl-{vlan}" and tenant.own_interface
    assert tenant.mac == f"02:f6:40:00:{vlan // 256:02x}:{vlan % 256:02x}"
    assert tenant.pool == IPv4Network("100.64.0.0/16")
    assert tenant.address6 == IPv6Address("2001:db8:ffff::2")
    assert found.downlink_ofport in (50, 51) and found.downlink_vlan is None
    assert (found.downlink_mac, found.vlan) == (tenant.mac, tenant.vlan)
    assert found.vm_ofport == site.interfaces["tap-vm-red"].ofport
    assert found.vm_mac == site.ports["vm-red"].mac_address
    assert (found.uplink_id, found.on_link) == ("uplink", False)
    assert (found.uplink_ofport, found.uplink_mac) == (1, mac(1))
    assert desired.gateways == {("gateway", "vm-red", "10.0.0.1"): Gateway(
        "vm-red", IPv4Address("10.0.0.1"), site.ports["red-if"].mac_address, found.vm_ofport, found.vm_mac,
        answers=True, isolates=True)}


def test_the_objects_of_a_floating_ip_with_vpp():
    site = two_tenant_site().add(Interface("ovs-dl", 40))
    site.settings = Settings(capabilities=CAPABILITIES["vpp"])
    desired = plan(site.inputs)
    for tenant in desired.tenants.values():
        assert tenant.interface == "ovs-dl" and not tenant.own_interface
    for found in desired.mappings.values():
        assert found.downlink_ofport == 40
        assert found.downlink_vlan == found.vlan == desired.tenants[found.router_id].vlan
        assert found.downlink_mac == desired.tenants[found.router_id].mac == desired.host.downlink_mac


def test_gateways_answer_only_when_arp_is_answered():
    site = red_site()
    site.settings = Settings(answer_arp=False)
    gateway, = plan(site.inputs).gateways.values()
    assert not gateway.answers and gateway.isolates


def test_the_gateway_is_the_subnets_gateway_if_the_router_has_several_addresses():
    site = red_site().add(
        Port("a-red-if", "red-net", mac(8), device_owner=ROUTER_INTERFACE, device_id="red",
             fixed_ips=(fixed("red-v4", "10.0.0.2"),)))
    assert plan(site.inputs).gateways.keys() == {("gateway", "vm-red", "10.0.0.1")}
    site.change("subnets", "red-v4", gateway_ip=None)
    assert plan(site.inputs).gateways.keys() == {("gateway", "vm-red", "10.0.0.2")}


def by_hand(site):
    """Return inputs with the topology as it stands, sound or not."""
    return Inputs(site.topology, dict(site.interfaces), site.settings)


def test_two_routers_with_the_same_address_towards_one_vm():
    """A VM port in two tenants whose subnets are the same: the lowest floating IP's gateway answers.

    No source has such a topology, as a port is on one network.
    """
    site = add_tenant(red_site(), "blue")
    both = (fixed("red-v4", "10.0.0.5"), fixed("blue-v4", "10.0.0.5"))
    site.change("ports", "vm-red", fixed_ips=both).change(
        "floatingips", "fip-vm-red", fixed_ip_address=IPv4Address("10.0.0.5"), router_id="blue")
    assert plan(by_hand(site)).mappings["fip-vm-red"].gateway_mac == site.ports["blue-if"].mac_address, (
        "the lowest subnet id")
    site.change("floatingips", "fip-vm-red", router_id="red")
    site.change("ports", "vm-red", fixed_ips=(both[0], fixed("blue-v4", "10.0.0.6")))
    site.add(FloatingIP("a-fip", "ext", IPv6Address("2001:db8:f::9"), "vm-red", IPv4Address("10.0.0.6"),
                        "blue"))
    desired = plan(by_hand(site))
    assert desired.mappings.keys() == {"a-fip", "fip-vm-red"}
    gateway, = desired.gateways.values()
    assert gateway.mac == site.ports["blue-if"].mac_address != site.ports["red-if"].mac_address


def test_pool_of_the_router_over_the_default():
    site = red_site().change("routers", "red", nat64_pool=IPv4Network("192.0.2.0/24"))
    desired = plan(site.inputs)
    assert desired.tenants["red"].pool == desired.mappings["fip-vm-red"].pool == IPv4Network("192.0.2.0/24")


# VLAN IDs

def test_a_vlan_in_force_is_kept():
    site = two_tenant_site()
    in_force = Allocations({"vlans": {"red": 42, "gone": 43}})
    desired = plan(dataclasses.replace(site.inputs, allocations=in_force))
    assert desired.allocations.vlans["red"] == desired.tenants["red"].vlan == 42
    assert desired.allocations.vlans.keys() == {"red", "blue"}


def test_two_tenants_with_the_same_vlan_in_force():
    in_force = Allocations({"vlans": {"red": 42, "blue": 42}})
    desired = plan(dataclasses.replace(two_tenant_site().inputs, allocations=in_force))
    assert desired.tenants["blue"].vlan == 42 != desired.tenants["red"].vlan


def test_a_vlan_out_of_range_is_not_kept():
    site = red_site()
    site.settings = Settings(vlan_range=(10, 12))
    desired = plan(dataclasses.replace(site.inputs, allocations=Allocations({"vlans": {"red": 42}})))
    assert 10 <= desired.tenants["red"].vlan <= 12


def test_vlans_exhausted():
    site = two_tenant_site()
    site.settings = Settings(vlan_range=(7, 7))
    desired = plan(site.inputs)
    reason = "no VLAN ID is free for router red: 1 tenants have all from 7 to 7 on this host"
    assert desired.problems.keys() == {("tenant", "red"), RED}
    assert problem(site, ("tenant", "red")) == problem(site, RED) == (ERROR, reason)
    assert desired.mappings.keys() == {"fip-vm-blue"}
    assert desired.gateways.keys() == {("gateway", "vm-blue", "10.0.0.1")}


# Why a floating IP is not planned

def test_not_associated_is_no_problem():
    site = red_site().add(FloatingIP("free", "ext", IPv6Address("2001:db8:f::99")))
    assert plan(site.inputs) == plan(red_site().inputs)


def test_vm_not_bound_here():
    site = red_site()
    del site.interfaces["tap-vm-red"]
    assert problem(site) == (PENDING, "port vm-red is not bound on this host")


def test_interface_of_the_vm_is_not_open():
    site = red_site().change("interfaces", "tap-vm-red", ofport=-1)
    assert problem(site) == (PENDING, "interface tap-vm-red of port vm-red has no OpenFlow port: "
                                      "OVS has not opened it yet")


def test_two_interfaces_claim_the_vm():
    site = red_site().add(Interface("tap-a", 9, "vm-red"))
    assert plan(site.inputs).mappings["fip-vm-red"].vm_ofport == 9
    state, reason = problem(site)
    assert state == ERROR and "using tap-a, not tap-vm-red" in reason


@pytest.mark.parametrize(("kind", "item_id", "values", "reason"), [
    ("floatingips", "fip-vm-red", {"port_id": "red-if"},
     "port_id: port red-if is a router's; a floating IP leads to a VM's port"),
    ("floatingips", "fip-vm-red", {"fixed_ip_address": IPv4Address("10.0.0.77")},
     "fixed_ip_address: 10.0.0.77 is not an address of port vm-red; it has 10.0.0.5"),
    ("floatingips", "fip-vm-red", {"router_id": "gone"}, "router_id: no router has the id 'gone'"),
    ("floatingips", "fip-vm-red", {"router_id": "edge"},
     "router_id: router edge has no interface on subnet red-v4, where 10.0.0.5 is"),
    ("floatingips", "fip-vm-red", {"floating_network_id": "gone"},
     "floating_network_id: no network has the id 'gone'"),
    ("floatingips", "fip-vm-red", {"floating_ip_address": IPv6Address("2001:db8:bad::1")},
     "floating_ip_address: 2001:db8:bad::1 is not in 2001:db8:f::/64 of network ext"),
    ("floatingips", "fip-vm-red", {"floating_ip_address": IPv6Address("2001:db8:f::1")},
     "floating_ip_address: 2001:db8:f::1 is the gateway_ip of subnet ext-v6; "
     "floating_ip_address: 2001:db8:f::1 is already an address of port edge-ext"),
    ("floatingips", "fip-vm-red",
     {"floating_network_id": "uplink-net", "floating_ip_address": IPv6Address("2001:db8:ffff::1")},
     "floating_network_id: network uplink-net is not external (router:external is not true)"),
    ("floatingips", "fip-vm-red", {"floating_ip_address": IPv4Address("203.0.113.9")},
     "floating_ip_address: 203.0.113.9 is not in 2001:db8:f::/64 of network ext"),
    ("ports", "vm-red", {"fixed_ips": ()}, "port_id: port vm-red has no IPv4 address"),
    ("ports", "vm-red", {"fixed_ips": (fixed("red-v4", "10.0.0.6"), fixed("red-v4", "10.0.0.5"))},
     "fixed_ip_address: is required: port vm-red has several IPv4 addresses, 10.0.0.5, 10.0.0.6"),
    ("ports", "vm-red", {"fixed_ips": (fixed("gone", "10.0.0.5"),)},
     "needs port vm-red, which is faulty: fixed_ips[0].subnet_id: no subnet has the id 'gone'"),
    ("ports", "vm-red", {"fixed_ips": (fixed("red-v4", "10.9.0.5"),)},
     "needs port vm-red, which is faulty: fixed_ips[0].ip_address: 10.9.0.5 is not in 10.0.0.0/24 of subnet "
     "red-v4"),
    ("ports", "red-if", {"device_id": "gone"},
     "needs port red-if, which is faulty: device_id: no router has the id 'gone'"),
])
def test_somebody_must_repair_the_topology(kind, item_id, values, reason):
    site = add_vm(add_tenant(red_site(), "blue"), "vm-blue", "blue", "10.0.0.5", "2001:db8:f::11")
    desired = plan(site.change(kind, item_id, **values).inputs)
    assert faulty(site) == reason
    assert desired.mappings.keys() == {"fip-vm-blue"}, "others work"


def test_the_router_is_not_connected_to_the_floating_network():
    """Only this host knows: its uplink is another router's."""
    site = add_vm(add_tenant(red_site(), "blue"), "vm-blue", "blue", "10.0.0.5", "2001:db8:f::11")
    desired = plan(site.change("ports", "red-gw", network_id="uplink-net").inputs)
    assert problem(site) == (ERROR, "router red is not connected to the floating network ext")
    assert desired.mappings.keys() == {"fip-vm-blue"}, "others work"


def test_several_routers_on_the_subnet():
    site = red_site().add(Router("extra"), Port(
        "extra-if", "red-net", mac(8), device_owner=ROUTER_INTERFACE, device_id="extra",
        fixed_ips=(fixed("red-v4", "10.0.0.2"),)))
    assert faulty(site) == ("router_id: is required: several routers have an interface on subnet red-v4: "
                            "extra, red")
    site.change("floatingips", "fip-vm-red", router_id="red")
    desired = plan(site.inputs)
    assert desired.problems == {} and desired.mappings.keys() == {"fip-vm-red"}


def test_tenant_router_that_is_the_uplinks_router_needs_no_port_on_the_floating_network():
    site = add_vm(add_tenant(edge_site(), "edge"), "vm", "edge", "10.0.0.5", "2001:db8:ffff::10",
                  external="uplink-net")
    desired = plan(site.change("networks", "uplink-net", external=True).inputs)
    assert desired.problems == {} and desired.mappings.keys() == {"fip-vm"}


def test_duplicate_floating_address():
    site = two_tenant_site().change("floatingips", "fip-vm-red",
                                    floating_ip_address=IPv6Address("2001:db8:f::11"))
    assert faulty(site) == (
        "floating_ip_address: 2001:db8:f::11 is already the address of floating IP fip-vm-blue")
    assert plan(site.inputs).mappings.keys() == {"fip-vm-blue"}
    del site.interfaces["tap-vm-blue"]
    assert plan(site.inputs).mappings.keys() == set(), "all hosts must agree on who has the address"


def test_duplicate_fixed_ip():
    site = red_site().add(FloatingIP("again", "ext", IPv6Address("2001:db8:f::12"), "vm-red"))
    assert faulty(site) == "fixed_ip_address: 10.0.0.5 behind router red already has floating IP again"
    assert plan(site.inputs).mappings.keys() == {"again"}


def test_floating_ip_re_used_for_another_vm():
    site = add_vm(red_site(), "vm2", "red", "10.0.0.6")
    before = plan(site.inputs)
    site.change("floatingips", "fip-vm-red", port_id="vm2")
    after = plan(site.inputs)
    assert after.tenants["red"].maps == ((IPv4Address("10.0.0.6"), IPv6Address("2001:db8:f::10")),)
    assert after.gateways.keys() == {("gateway", "vm2", "10.0.0.1")} != before.gateways.keys()


def test_pool_that_overlaps_the_tenants_subnet():
    site = two_tenant_site().change("routers", "red", nat64_pool=IPv4Network("10.0.0.0/16"))
    assert faulty(site) == (
        "needs router red, which is faulty: nat64_pool: 10.0.0.0/16 overlaps 10.0.0.0/24 of subnet red-v4, "
        "which the router has a port on")
    assert plan(site.inputs).tenants.keys() == {"blue"}


def test_a_tenants_fault_is_told_only_when_somebody_suffers_from_it():
    site = two_tenant_site().change("routers", "red", nat64_pool=IPv4Network("192.0.2.0/30"))
    site.settings = Settings(pool_slice=(1, 4))
    assert problem(site) == problem(site, ("tenant", "red"))
    assert plan(site.inputs).tenants.keys() == {"blue"}
    site.floatingips.clear()
    assert plan(site.inputs).problems == {}
