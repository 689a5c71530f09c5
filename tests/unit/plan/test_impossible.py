# SPDX-License-Identifier: Apache-2.0
"""Addresses that cannot be translated, and pools that clash: each costs what has it, and nothing else."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from fip64agent.plan.desired import ERROR
from fip64agent.plan.inputs import Settings
from fip64agent.plan.planner import plan
from fip64agent.topology.model import ROUTER_GATEWAY, FloatingIP, Nat64Binding, Network, Port
from tests.fakes.topologies import add_tenant, add_vm, edge_site, fixed, mac, routes, subnet
from tests.fakes.translators import CAPABILITIES

TRANSLATORS = pytest.mark.parametrize("kind", ["tayga", "vpp"])
GOOD = ("fip-vm-red", "fip-vm-blue")
CLIENT, POOL_ADDRESS = "2001:db8:c::1", "100.64.0.9"


def site(kind="tayga", cidr="10.0.0.0/24"):
    """Two tenants that work; red's subnet is `cidr`, and may get more VMs."""
    made = edge_site()
    made.settings = Settings(capabilities=CAPABILITIES[kind])
    add_vm(add_tenant(made, "red", cidr=cidr), "vm-red", "red", str(IPv4Network(cidr)[5]), "2001:db8:f::10")
    return add_vm(add_tenant(made, "blue"), "vm-blue", "blue", "10.0.0.5", "2001:db8:f::11")


def only_problem(made):
    """Plan it; the two that work do so. Return what is wrong: one thing."""
    desired = plan(made.inputs)
    assert set(GOOD) <= set(desired.mappings)
    (item, problem), = desired.problems.items()
    assert problem.state == ERROR
    return item, problem.reason, desired


def only_fault(made, kind, item_id):
    """Plan it; the two that work do so, and the plan finds nothing wrong. Return the one fault's reason."""
    inputs = made.inputs
    desired = plan(inputs)
    assert set(GOOD) <= set(desired.mappings) and desired.problems == {}
    assert inputs.topology.faults.keys() == {(kind, item_id)}
    return inputs.topology.reason((kind, item_id)), desired


@TRANSLATORS
@pytest.mark.parametrize("cidr, address, what", [
    ("169.254.7.0/24", "169.254.7.7", "a link-local address (169.254.0.0/16)"),
    ("240.0.0.0/24", "240.0.0.7", "a reserved address (240.0.0.0/4)"),
    ("255.255.255.0/24", "255.255.255.7", "a reserved address (240.0.0.0/4)"),
    ("127.0.0.0/8", "127.0.0.7", "a loopback address (127.0.0.0/8)"),
    ("224.0.0.0/4", "239.255.0.7", "a multicast address (224.0.0.0/4)"),
    ("0.0.0.0/8", "0.1.2.7", "a host of this network (0.0.0.0/8)"),
    ("10.7.0.0/24", "10.7.0.0", "the network address of its subnet odd (10.7.0.0/24)"),
    ("10.7.0.0/24", "10.7.0.255", "the broadcast address of its subnet odd (10.7.0.0/24)"),
    ("10.7.0.0/30", "10.7.0.3", "the broadcast address of its subnet odd (10.7.0.0/30)"),
])
def test_a_fixed_ip_that_no_host_has_costs_its_floating_ip(kind, cidr, address, what):
    made = site(kind)
    made.add(subnet("odd", "red-net", cidr),
             Port("red-odd", "red-net", mac(7), device_owner="network:router_interface", device_id="red",
                  fixed_ips=(fixed("odd", str(IPv4Network(cidr)[1])),)))
    add_vm(made, "vm-odd", "red", address, "2001:db8:f::12")
    made.change("ports", "vm-odd", fixed_ips=(fixed("odd", address),))
    reason, desired = only_fault(made, "floatingips", "fip-vm-odd")
    assert reason == f"port_id: address {address} of port vm-odd is {what}, which is not translated"
    assert set(desired.mappings) == set(GOOD)
    assert desired.tenants["red"].maps == ((IPv4Address("10.0.0.5"), IPv6Address("2001:db8:f::10")),)


@TRANSLATORS
def test_both_addresses_of_a_31_are_hosts(kind):
    """RFC 3021."""
    made = site(kind)
    made.add(subnet("odd", "red-net", "10.7.0.0/31"),
             Port("red-odd", "red-net", mac(7), device_owner="network:router_interface", device_id="red",
                  fixed_ips=(fixed("odd", "10.7.0.0"),)))
    add_vm(made, "vm-odd", "red", "10.7.0.1", "2001:db8:f::12")
    made.change("ports", "vm-odd", fixed_ips=(fixed("odd", "10.7.0.1"),))
    desired = plan(made.inputs)
    assert not desired.problems and "fip-vm-odd" in desired.mappings


@TRANSLATORS
@pytest.mark.parametrize("prefix, address, what", [
    ("64:ff9b::/96", "64:ff9b::7", "a reserved address (::/8)"),
    ("fe80::/64", "fe80::7", "a link-local address (fe80::/10)"),
    ("ff0e::/64", "ff0e::7", "a multicast address (ff00::/8)"),
])
def test_a_floating_address_that_cannot_be_one_costs_itself(kind, prefix, address, what):
    made = add_vm(site(kind), "vm-odd", "red", "10.0.0.6", "2001:db8:f::12")
    made.add(subnet("odd", "ext", prefix))
    made.add(FloatingIP("fip-vm-odd", "ext", IPv6Address(address), "vm-odd"))
    reason, desired = only_fault(made, "floatingips", "fip-vm-odd")
    assert reason == f"floating_ip_address: {address} is {what}, which is not translated"
    assert set(desired.mappings) == set(GOOD)


@TRANSLATORS
def test_a_floating_address_that_an_uplink_here_has_on_another_network_costs_itself(kind):
    made = add_vm(site(kind), "vm-odd", "red", "10.0.0.6", "2001:db8:f::12")
    made.add(Network("wide", external=True), subnet("wide-v6", "wide", "2001:db8::/32"),
             Port("edge-wide", "wide", mac(7), device_owner=ROUTER_GATEWAY, device_id="edge"),
             Port("red-wide", "wide", mac(8), device_owner=ROUTER_GATEWAY, device_id="red"),
             FloatingIP("fip-vm-odd", "wide", IPv6Address("2001:db8:ffff::2"), "vm-odd"))
    item, reason, _ = only_problem(made)
    assert item == ("fip", "fip-vm-odd")
    assert reason == "floating address 2001:db8:ffff::2 is the address of uplink uplink"
    made.change("ports", "uplink", fixed_ips=(fixed("uplink-v6", "2001:db8:ffff::3"),))
    assert "fip-vm-odd" in plan(made.inputs).mappings


def test_an_uplink_with_an_address_that_no_host_has_is_none():
    made = site()
    made.add(subnet("odd", "uplink-net", "fe80::/64"))
    made.change("ports", "uplink", fixed_ips=(fixed("odd", "fe80::7"),))
    desired = plan(made.inputs)
    assert desired.problems["uplink", "uplink"].reason == (
        "address fe80::7 of router port uplink is a link-local address (fe80::/10), which no uplink can have")
    assert not desired.uplinks and not desired.tenants


def bind(made, *pairs):
    made.change("routers", "red", nat64_bindings=tuple(
        Nat64Binding(IPv6Address(client), IPv4Address(address)) for client, address in pairs))


@TRANSLATORS
@pytest.mark.parametrize("client, address, why", [
    ("2001:db8:f::10", "100.64.0.8", "it is a floating address of this router"),
    ("2001:db8:ffff::2", "100.64.0.8", "it is the address of uplink uplink"),
])
def test_a_static_binding_that_cannot_be_on_this_host_costs_itself(kind, client, address, why):
    made = site(kind)
    bind(made, (CLIENT, POOL_ADDRESS), (client, address), ("2001:db8:c::3", "100.64.0.10"))
    item, reason, desired = only_problem(made)
    assert item == ("tenant", "red")
    assert reason == f"router red: the static binding of client {client} is left out: {why}"
    assert desired.tenants["red"].bindings == (
        (IPv6Address(CLIENT), IPv4Address(POOL_ADDRESS)),
        (IPv6Address("2001:db8:c::3"), IPv4Address("100.64.0.10")))


@TRANSLATORS
@pytest.mark.parametrize("client, address, why", [
    ("fe80::7", "100.64.0.8", "ipv6_address: fe80::7 is a link-local address (fe80::/10), which no client "
                              "elsewhere has"),
    ("ff02::7", "100.64.0.8", "ipv6_address: ff02::7 is a multicast address (ff00::/8), which no client "
                              "elsewhere has"),
    ("64:ff9b::7", "100.64.0.8", "ipv6_address: 64:ff9b::7 is a reserved address (::/8), which no client "
                                 "elsewhere has"),
    ("::1", "100.64.0.8", "ipv6_address: ::1 is a reserved address (::/8), which no client elsewhere has"),
    (CLIENT, "100.64.0.8", f"ipv6_address: {CLIENT} already has a pool address by nat64_bindings[0]"),
    ("2001:db8:c::2", POOL_ADDRESS,
     f"pool_address: {POOL_ADDRESS} is already the pool address of client {CLIENT}"),
])
def test_a_static_binding_that_cannot_be_anywhere_costs_itself(kind, client, address, why):
    made = site(kind)
    bind(made, (CLIENT, POOL_ADDRESS), (client, address), ("2001:db8:c::3", "100.64.0.10"))
    reason, desired = only_fault(made, "routers", "red")
    assert reason == f"nat64_bindings[1].{why}"
    assert desired.tenants["red"].bindings == (
        (IPv6Address(CLIENT), IPv4Address(POOL_ADDRESS)),
        (IPv6Address("2001:db8:c::3"), IPv4Address("100.64.0.10")))


def test_all_static_bindings_that_cannot_be_are_told():
    made = site()
    bind(made, ("2001:db8:f::10", "100.64.0.8"), ("2001:db8:ffff::2", "100.64.0.9"))
    item, reason, _ = only_problem(made)
    assert item == ("tenant", "red") and reason.count("is left out: ") == 2
    bind(made, ("fe80::7", "100.64.0.9"), (CLIENT, "192.0.2.1"))
    reason, _ = only_fault(made, "routers", "red")
    assert "fe80::7 is a link-local address" in reason and "192.0.2.1 is not in nat64_pool" in reason


def test_a_floating_address_of_another_tenant_may_be_a_client():
    made = site()
    bind(made, ("2001:db8:f::11", "100.64.0.8"))
    desired = plan(made.inputs)
    assert not desired.problems and len(desired.tenants["red"].bindings) == 1


# Pools


def told(made, *words):
    item, reason, _ = only_problem(made)
    assert item == ("tenant", "red")
    assert reason.startswith("NAT64 pool 100.64.0.0/16 of router red overlaps ")
    assert all(word in reason for word in words) and "give the router another nat64_pool" in reason


@TRANSLATORS
@pytest.mark.parametrize("destination", ["100.64.5.0/24", "100.64.0.0/16", "100.64.0.0/10", "64.0.0.0/2"])
def test_a_route_of_the_router_into_its_pool_is_told(kind, destination):
    made = site(kind)
    made.change("routers", "red", routes=routes((destination, "10.0.0.9")))
    told(made, f"its route to {destination} (next hop 10.0.0.9)")


@TRANSLATORS
@pytest.mark.parametrize("destination", ["100.64.5.0/24", "100.64.0.0/10"])
def test_a_host_route_of_the_vms_into_the_pool_is_told(kind, destination):
    made = site(kind)
    made.change("subnets", "red-v4", host_routes=routes((destination, "10.0.0.9")))
    told(made, f"host route {destination} (next hop 10.0.0.9) of its subnet red-v4",
         "VMs there send their answers to clients to 10.0.0.9")


def test_an_ipv4_subnet_of_the_routers_gateway_that_is_in_the_pool_is_told():
    made = site()
    made.add(Network("carrier", external=True), subnet("carrier-v4", "carrier", "100.64.3.0/24"),
             Port("red-carrier", "carrier", mac(7), device_owner=ROUTER_GATEWAY, device_id="red",
                  fixed_ips=(fixed("carrier-v4", "100.64.3.2"),)))
    told(made, "subnet carrier-v4 (100.64.3.0/24) of its gateway port red-carrier")


def test_routes_that_do_not_compete_with_the_pool_are_fine():
    made = site()
    made.change("routers", "red", routes=routes(("0.0.0.0/0", "10.0.0.9"), ("100.65.0.0/16", "10.0.0.9"),
                                                ("2001:db8:7::/64", "2001:db8:f::7")))
    made.change("subnets", "red-v4", host_routes=routes(
        ("0.0.0.0/0", "10.0.0.9"), ("100.64.0.0/16", "10.0.0.1"), ("192.0.2.0/24", "10.0.0.9")))
    assert not plan(made.inputs).problems


def test_another_pool_is_the_cure():
    made = site()
    made.change("subnets", "red-v4", host_routes=routes(("100.64.0.0/10", "10.0.0.9")))
    made.change("routers", "red", nat64_pool=IPv4Network("198.18.0.0/16"))
    assert not plan(made.inputs).problems
