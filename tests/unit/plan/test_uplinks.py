# SPDX-License-Identifier: Apache-2.0
"""Uplinks. The first tests carry the names of MidoNet's VppUplinkTest and VppExternalNetworkTest."""

import dataclasses
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

import pytest

from fip64agent.plan.desired import ERROR, NOTHING, PENDING, Problem
from fip64agent.plan.inputs import Interface, Settings
from fip64agent.plan.planner import plan
from fip64agent.topology.model import (
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    FloatingIP,
    Network,
    Port,
    Router,
)
from tests.fakes.topologies import (
    add_tenant,
    add_vm,
    edge_site,
    fixed,
    mac,
    own_interfaces,
    routes,
    subnet,
    two_tenant_site,
)
from tests.fakes.translators import CAPABILITIES

UPLINK = ("uplink", "uplink")


def net6(*prefixes):
    return tuple(IPv6Network(prefix) for prefix in prefixes)


def hop(destination, nexthop):
    return IPv6Network(destination), IPv6Address(nexthop)


# VppUplinkTest

def test_port_without_ipv6_address_becomes_active():
    site = edge_site().add(subnet("uplink-v4", "uplink-net", "192.0.2.0/24"))
    site.change("ports", "uplink", fixed_ips=(fixed("uplink-v4", "192.0.2.2"),))
    assert plan(site.inputs) == NOTHING


def test_non_router_ports_are_ignored():
    site = edge_site().change("ports", "uplink", device_owner="compute:nova")
    desired = plan(site.inputs)
    assert not desired.uplinks and desired.host is None


def test_port_with_ipv6_address_becomes_active_and_inactive():
    site = edge_site()
    desired = plan(site.inputs)
    uplink = desired.uplinks["uplink"]
    assert desired.problems == {}
    assert (uplink.interface, uplink.ofport, uplink.mac, uplink.mtu) == ("eth-up", 1, mac(1), 1500)
    assert uplink.addresses == (IPv6Interface("2001:db8:ffff::2/64"),)
    assert (uplink.router_id, uplink.network_id, uplink.redirect) == ("edge", "uplink-net", "all")

    site.interfaces.clear()
    inactive = plan(site.inputs)
    assert inactive == NOTHING
    assert inactive.changes(desired) == [(desired.host, None), (uplink, None)]


def test_port_with_ipv6_addresses_is_deleted():
    site = edge_site()
    del site.ports["uplink"]
    assert plan(site.inputs) == NOTHING


def test_port_adds_an_ipv6_address():
    site = edge_site()
    both = (fixed("uplink-v6", "2001:db8:ffff::2"), fixed("uplink-v6", "2001:db8:ffff::1:2"))
    site.change("ports", "uplink", fixed_ips=())
    assert plan(site.inputs) == NOTHING
    for count in (1, 2):
        site.change("ports", "uplink", fixed_ips=both[:count])
        assert len(plan(site.inputs).uplinks["uplink"].addresses) == count


def test_port_removes_the_ipv6_address():
    site = edge_site().add(subnet("uplink-v4", "uplink-net", "192.0.2.0/24"))
    v4, v6 = fixed("uplink-v4", "192.0.2.2"), fixed("uplink-v6", "2001:db8:ffff::2")
    site.change("ports", "uplink", fixed_ips=(v4, v6))
    assert plan(site.inputs).uplinks["uplink"].addresses == (IPv6Interface("2001:db8:ffff::2/64"),)
    site.change("ports", "uplink", fixed_ips=(v4,))
    assert plan(site.inputs) == NOTHING


def test_port_updates_the_ipv6_address():
    site = edge_site()
    before = plan(site.inputs)
    site.change("ports", "uplink", fixed_ips=(fixed("uplink-v6", "2001:db8:ffff::3"),))
    (was, now), = plan(site.inputs).changes(before)
    assert now == dataclasses.replace(was, addresses=(IPv6Interface("2001:db8:ffff::3/64"),))


def test_uplinks_deleted_on_stop():
    """Only on demand ([DEFAULT] teardown_on_stop): the plan to get to is NOTHING, and withdraws all."""
    desired = plan(two_tenant_site().inputs)
    assert [was for was, _ in NOTHING.changes(desired)] == list(desired.objects())
    assert all(now is None for _, now in NOTHING.changes(desired))


@pytest.mark.parametrize(("kind", "item_id", "values", "reason"), [
    ("ports", "uplink", {"network_id": "gone"},
     "network_id: no network has the id 'gone'; fixed_ips[0].subnet_id: subnet uplink-v6 is of network "
     "uplink-net, the port is on network gone"),
    ("ports", "uplink", {"device_id": "gone"}, "device_id: no router has the id 'gone'"),
    ("ports", "uplink", {"device_id": ""},
     "device_id: is required: the id of the router whose port it is"),
    ("ports", "uplink", {"fixed_ips": (fixed("gone", "2001:db8:ffff::2"),)},
     "fixed_ips[0].subnet_id: no subnet has the id 'gone'"),
    ("ports", "uplink", {"fixed_ips": (fixed("uplink-v6", "2001:db8:bad::2"),)},
     "fixed_ips[0].ip_address: 2001:db8:bad::2 is not in 2001:db8:ffff::/64 of subnet uplink-v6"),
    ("subnets", "uplink-v6", {"network_id": "ext"},
     "fixed_ips[0].subnet_id: subnet uplink-v6 is of network ext, the port is on network uplink-net"),
])
def test_corrupted_ports_are_deleted(kind, item_id, values, reason):
    inputs = edge_site().change(kind, item_id, **values).inputs
    assert inputs.topology.reason(("ports", "uplink")) == reason
    assert plan(inputs) == NOTHING


def test_a_port_on_a_network_with_too_small_an_mtu_is_no_uplink():
    inputs = edge_site().change("networks", "uplink-net", mtu=1279).inputs
    assert inputs.topology.faults == {}
    desired = plan(inputs)
    assert desired.uplinks == {} and desired.host is None
    assert desired.problems[UPLINK] == Problem(
        ERROR, "network uplink-net of router port uplink has an MTU of 1279: IPv6 needs 1280 at least")


def test_non_relevant_port_updates_are_ignored():
    site = two_tenant_site()
    before = plan(site.inputs)
    site.change("ports", "uplink", name="renamed").change("ports", "red-gw", mac_address=mac(0x77))
    assert plan(site.inputs).changes(before) == []


# VppExternalNetworkTest

def test_already_connected_to_external_network():
    uplink = plan(edge_site().inputs).uplinks["uplink"]
    assert uplink.onlink == net6("2001:db8:ffff::/64")
    assert uplink.routed == net6("2001:db8:f::/64")


def test_network_is_marked_as_external():
    site = edge_site().change("networks", "ext", external=False)
    assert plan(site.inputs).uplinks["uplink"].routed == ()
    site.change("networks", "ext", external=True)
    assert plan(site.inputs).uplinks["uplink"].routed == net6("2001:db8:f::/64")


def test_multiple_ports_to_an_external_network():
    site = edge_site().add(
        Port("edge-ext-2", "ext", mac(1, 9), device_owner=ROUTER_INTERFACE, device_id="edge",
             fixed_ips=(fixed("ext-v6", "2001:db8:f::9"),)))
    assert plan(site.inputs).uplinks["uplink"].routed == net6("2001:db8:f::/64")
    del site.ports["edge-ext"]
    assert plan(site.inputs).uplinks["uplink"].routed == net6("2001:db8:f::/64")
    del site.ports["edge-ext-2"]
    assert plan(site.inputs).uplinks["uplink"].routed == ()


def two_external_networks():
    return edge_site().add(
        Network("ext2", external=True), subnet("ext2-v6", "ext2", "2001:db8:e::/64", "2001:db8:e::1"),
        Port("edge-ext2", "ext2", mac(1, 9), device_owner=ROUTER_INTERFACE, device_id="edge",
             fixed_ips=(fixed("ext2-v6", "2001:db8:e::1"),)))


def test_multiple_ports_to_multiple_networks():
    site = two_external_networks()
    assert plan(site.inputs).uplinks["uplink"].routed == net6("2001:db8:e::/64", "2001:db8:f::/64")
    del site.ports["edge-ext"]
    assert plan(site.inputs).uplinks["uplink"].routed == net6("2001:db8:e::/64")


def test_connected_to_non_neutron_network():
    site = edge_site()
    del site.networks["ext"]
    desired = plan(site.inputs)
    assert desired.uplinks["uplink"].routed == ()
    assert desired.problems == {}


def test_additional_network_updates_are_ignored():
    site = edge_site()
    before = plan(site.inputs)
    site.change("networks", "ext", name="renamed", mtu=9000).change("subnets", "ext-v6", name="renamed")
    assert plan(site.inputs).changes(before) == []


def test_already_connected_subnets():
    """MidoNet ignored subnets that came later; here they count at once."""
    site = edge_site().add(subnet("ext-more", "ext", "2001:db8:f:1::/64"))
    assert plan(site.inputs).uplinks["uplink"].routed == net6("2001:db8:f::/64", "2001:db8:f:1::/64")


# What MidoNet does not have

def test_dual_stack_external_network():
    site = two_tenant_site().add(subnet("ext-v4", "ext", "203.0.113.0/24", "203.0.113.1"))
    ext = site.ports["edge-ext"]
    site.change("ports", "edge-ext", fixed_ips=(*ext.fixed_ips, fixed("ext-v4", "203.0.113.1")))
    desired = plan(site.inputs)
    assert desired.uplinks["uplink"].routed == net6("2001:db8:f::/64")
    assert desired.mappings.keys() == {"fip-vm-red", "fip-vm-blue"}
    assert desired.problems == {}


def test_dual_stack_uplink():
    site = edge_site().add(subnet("uplink-v4", "uplink-net", "192.0.2.0/24", "192.0.2.1"))
    uplink = site.ports["uplink"]
    site.change("ports", "uplink", fixed_ips=(fixed("uplink-v4", "192.0.2.2"), *uplink.fixed_ips))
    assert plan(site.inputs) == plan(edge_site().inputs)


def test_the_interface_is_not_open_yet():
    site = edge_site().change("interfaces", "eth-up", ofport=None,
                              error="could not open network device eth-up")
    desired = plan(site.inputs)
    assert desired.uplinks == {}
    assert desired.problems[UPLINK].state == PENDING
    assert desired.problems[UPLINK].reason == (
        "interface eth-up of port uplink has no OpenFlow port: could not open network device eth-up")


def test_two_interfaces_claim_the_uplink():
    site = edge_site().add(Interface("eth-a", None, "uplink"), Interface("eth-z", 9, "uplink"))
    desired = plan(site.inputs)
    assert desired.uplinks["uplink"].interface == "eth-up"
    assert desired.problems[UPLINK].state == ERROR
    assert "using eth-up, not eth-z, eth-a" in desired.problems[UPLINK].reason


def second_uplink(site, port_id="uplink2", network_id="uplink-net", router_id="edge", low=0x22):
    prefix = {"uplink-net": "2001:db8:ffff", "ext": "2001:db8:f"}[network_id]
    return site.add(
        Router(router_id), Interface("eth-up2", 2, port_id),
        Port(port_id, network_id, mac(1, low), device_owner=ROUTER_GATEWAY, device_id=router_id,
             fixed_ips=(fixed(network_id.removesuffix("-net") + "-v6", f"{prefix}::{low:x}"),)))


def test_several_uplinks_serve_a_network_once():
    """The lowest id serves; the other one stands by, with its own network on link."""
    site = second_uplink(two_tenant_site())
    desired = plan(site.inputs)
    assert desired.uplinks["uplink"].routed == net6("2001:db8:f::/64")
    assert desired.uplinks["uplink2"].routed == ()
    assert desired.uplinks["uplink2"].onlink == net6("2001:db8:ffff::/64")
    assert {found.uplink_id for found in desired.mappings.values()} == {"uplink"}
    del site.interfaces["eth-up"]
    desired = plan(site.inputs)
    assert desired.uplinks["uplink2"].routed == net6("2001:db8:f::/64")
    assert {found.uplink_id for found in desired.mappings.values()} == {"uplink2"}


def test_an_uplink_on_the_external_network_comes_before_one_that_leads_to_it():
    site = second_uplink(two_tenant_site(), "zz-uplink", "ext", "other-edge")
    desired = plan(site.inputs)
    assert desired.uplinks["uplink"].routed == ()
    assert {(found.uplink_id, found.on_link) for found in desired.mappings.values()} == {("zz-uplink", True)}
    assert desired.tenants["red"].address6 == IPv6Address("2001:db8:f::22")


def test_the_source_of_errors_is_the_lowest_uplink_of_the_tenant():
    site = two_external_networks()
    site.add(Port("a-uplink", "ext2", mac(1, 0x33), device_owner=ROUTER_GATEWAY, device_id="edge2",
                  fixed_ips=(fixed("ext2-v6", "2001:db8:e::33"),)), Router("edge2"),
             Interface("eth-a", 3, "a-uplink"))
    add_vm(add_tenant(site, "red"), "vm", "red", "10.0.0.5", "2001:db8:f::10")
    site.add(Port("red-gw2", "ext2", mac(2, 9), device_owner=ROUTER_GATEWAY, device_id="red"))
    assert plan(site.inputs).tenants["red"].address6 == IPv6Address("2001:db8:ffff::2")
    add_vm(site, "vm2", "red", "10.0.0.6", "2001:db8:e::10", external="ext2")
    desired = plan(site.inputs)
    assert desired.mappings["fip-vm2"].uplink_id == "a-uplink"
    assert desired.tenants["red"].address6 == IPv6Address("2001:db8:e::33")


def test_on_link_floating_ip():
    """An uplink serves its own network; floating IPs come from an external one only."""
    site = add_vm(add_tenant(edge_site(), "red", "uplink-net"), "vm", "red", "10.0.0.5", "2001:db8:ffff::10",
                  external="uplink-net")
    assert site.inputs.topology.reason(("floatingips", "fip-vm")) == (
        "floating_network_id: network uplink-net is not external (router:external is not true)")
    assert plan(site.inputs).mappings == {}
    site.change("networks", "uplink-net", external=True)
    found = plan(site.inputs).mappings["fip-vm"]
    assert found.on_link and found.uplink_id == "uplink"


def test_routes_of_the_uplink():
    site = edge_site()
    site.change("subnets", "uplink-v6", host_routes=routes(
        ("2001:db8:a::/48", "2001:db8:ffff::a"), ("2001:db8:b::/48", "2001:db8:ffff::b"),
        ("2001:db8:c::/48", "2001:db8:ffff::2")))
    site.change("routers", "edge", routes=routes(
        ("2001:db8:a::/48", "2001:db8:ffff::aa"), ("2001:db8:d::/48", "2001:db8:f::7"),
        ("2001:db8:e::/48", "2001:db8:ffff::e"), ("2001:db8:e::/48", "2001:db8:ffff::d"),
        ("10.9.0.0/16", "10.0.0.9")))
    assert plan(site.inputs).uplinks["uplink"].routes == (
        hop("::/0", "2001:db8:ffff::1"),
        hop("2001:db8:a::/48", "2001:db8:ffff::aa"),  # the router's extra route over the host route
        hop("2001:db8:b::/48", "2001:db8:ffff::b"),
        hop("2001:db8:e::/48", "2001:db8:ffff::d"))  # not through itself, not through another network


def test_what_is_on_the_link_is_reached_there_whatever_a_route_says():
    site = edge_site().add(subnet("second", "uplink-net", "2001:db8:fffe::/64"))
    site.change("subnets", "uplink-v6", host_routes=routes(
        ("2001:db8:ffff::/64", "fe80::9"), ("2001:db8:ffff:0:8000::/65", "2001:db8:ffff::9")))
    site.change("routers", "edge", routes=routes(("2001:db8:fffe::/64", "2001:db8:ffff::9")))
    assert plan(site.inputs).uplinks["uplink"].routes == (
        hop("::/0", "2001:db8:ffff::1"), hop("2001:db8:ffff:0:8000::/65", "2001:db8:ffff::9"))


@pytest.mark.parametrize("mtu", [1280, 9000])
def test_an_mtu_that_ipv6_can_do_with(mtu):
    assert plan(edge_site().change("networks", "uplink-net", mtu=mtu).inputs).uplinks["uplink"].mtu == mtu


def test_no_default_route_through_itself():
    site = edge_site().change("subnets", "uplink-v6", gateway_ip=IPv6Address("2001:db8:ffff::2"))
    assert plan(site.inputs).uplinks["uplink"].routes == ()


def test_link_local_gateway():
    site = edge_site().change("subnets", "uplink-v6", gateway_ip=IPv6Address("fe80::1"))
    assert plan(site.inputs).uplinks["uplink"].routes == (hop("::/0", "fe80::1"),)


def test_gateway_that_is_not_on_the_network():
    site = edge_site().change("subnets", "uplink-v6", gateway_ip=IPv6Address("2001:db8:77::1"))
    assert site.inputs.topology.reason(("ports", "uplink")) == (
        "needs subnet uplink-v6, which is faulty: gateway_ip: 2001:db8:77::1 is not in 2001:db8:ffff::/64")
    assert plan(site.inputs) == NOTHING


def test_own_veths_are_found_open():
    site = edge_site()
    desired = plan(site.inputs)
    assert desired.uplinks["uplink"].veth_ofport is None
    site.add(*own_interfaces(desired, 77).values())
    assert plan(site.inputs).uplinks["uplink"].veth_ofport == 77


def test_names_of_uplinks_with_the_same_first_characters():
    first, second = "0A1B2C3D-0000-4000-8000-000000000001", "0A1B2C3D-0000-4000-8000-000000000002"
    site = second_uplink(second_uplink(edge_site(), first), second, low=0x23)
    site.add(Interface("eth-1", 5, first))
    uplinks = plan(site.inputs).uplinks
    assert (uplinks[first].veth, uplinks[first].peer) == ("ovs-0a1b2c3d", "vpp-0a1b2c3d")
    assert uplinks[second].veth[4:] == uplinks[second].peer[4:] != "0a1b2c3d"
    assert len({uplink.veth for uplink in uplinks.values()}) == 3


def test_a_shared_downlink_is_the_hosts():
    site = edge_site()
    site.settings = Settings(capabilities=CAPABILITIES["vpp"])
    desired = plan(site.inputs)
    assert desired.host.nd_netns == desired.uplinks["uplink"].nd_netns == "fip64-nd"
    assert (desired.host.downlink, desired.host.downlink_peer) == ("ovs-dl", "vpp-dl")


def test_floating_ip_is_pending_without_uplink():
    site = two_tenant_site()
    del site.interfaces["eth-up"]
    problem = plan(site.inputs).problems["fip", "fip-vm-red"]
    assert (problem.state, problem.reason) == (
        PENDING, "no uplink on this host serves the floating network ext")
    site.add(FloatingIP("more", "ext", IPv6Address("2001:db8:f::77"), None))
    assert ("fip", "more") not in plan(site.inputs).problems
