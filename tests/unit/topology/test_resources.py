# SPDX-License-Identifier: Apache-2.0
"""Resources change one by one: faults stay where they are, and the order of changes does not matter."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from fip64agent.topology.model import (
    FLOATING_IP_OWNER,
    KINDS,
    ROUTER_INTERFACE,
    AddressGroup,
    Fault,
    Finding,
    FixedIP,
    FloatingIP,
    Nat64Binding,
    Network,
    Port,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Topology,
    Unreadable,
)
from fip64agent.topology.resources import Resources
from tests.fakes import topologies
from tests.fakes.topologies import fixed, mac, routes, subnet, two_tenant_site

POOL = IPv4Network("100.64.0.0/16")


def all_of(topology: Topology) -> dict:
    return {(kind, item_id): item for kind in KINDS for item_id, item in getattr(topology, kind).items()}


def resources_of(topology: Topology) -> Resources:
    resources = Resources(POOL)
    resources.update(all_of(topology))
    return resources


@pytest.fixture
def site():
    return two_tenant_site()


@pytest.fixture
def resources(site):
    resources = resources_of(site.topology)
    assert resources.topology.faults == {}
    return resources


def put(resources: Resources, kind: str, item, **values) -> Topology:
    """Change a resource, or attributes of the one with this id."""
    if isinstance(item, str):
        item = dataclasses.replace(resources.newest[kind][item], **values)
    return resources.update({(kind, item.id): item})


def check_sound(topology: Topology) -> None:
    """Fail unless all references of what is in force lead to what is in force."""
    for item in topology.subnets.values():
        assert item.network_id in topology.networks
    for port in topology.ports.values():
        assert port.network_id in topology.networks
        assert all(address.subnet_id in topology.subnets for address in port.fixed_ips)
        assert not port.is_router_port or port.device_id in topology.routers
        assert all(pair.mac_address for pair in port.allowed_address_pairs)
        if topology.security_groups or any(kind == "security_groups" for kind, _ in topology.faults):
            assert topology.security_groups.keys() >= set(port.security_groups)
    for group in topology.security_groups.values():
        for rule in group.rules:
            assert rule.remote_group_id is None or (
                rule.remote_group_id in topology.security_groups
                or ("security_groups", rule.remote_group_id) in topology.faults)
            assert rule.remote_address_group_id in {None, *topology.address_groups}
    for fip in topology.floatingips.values():
        assert topology.networks[fip.floating_network_id].external
        if fip.port_id is not None:
            assert fip.router_id in topology.routers
            assert fip.fixed_ip_address in {each.ip_address for each in topology.ports[fip.port_id].fixed_ips}
    for key, fault in topology.faults.items():
        assert topology.reason(key)
        if fault.last_good_in_force:
            assert key[1] in getattr(topology, key[0])
        elif key[0] != "routers":
            assert key[1] not in getattr(topology, key[0])
    check_nothing_is_there_twice(topology)


def check_nothing_is_there_twice(topology: Topology) -> None:
    """Fail when two resources in force have what only one can have."""
    ports, subnets = topology.ports.values(), topology.subnets
    macs = [(port.network_id, port.mac_address) for port in ports]
    assert len(macs) == len(set(macs))
    addresses = [address for port in ports for address in port.fixed_ips]
    assert len(addresses) == len(set(addresses))
    floating = [fip.floating_ip_address for fip in topology.floatingips.values()]
    assert len(floating) == len(set(floating))
    behind = [(fip.router_id, fip.fixed_ip_address) for fip in topology.floatingips.values() if fip.port_id]
    assert len(behind) == len(set(behind))
    of_networks = {(port.network_id, address.ip_address) for port in ports for address in port.fixed_ips
                   if port.device_owner != FLOATING_IP_OWNER}
    of_networks |= {(subnet.network_id, subnet.gateway_ip) for subnet in subnets.values()}
    for fip in topology.floatingips.values():
        assert (fip.floating_network_id, fip.floating_ip_address) not in of_networks
    check_no_overlap([(subnet.network_id, subnet.id, subnet.cidr) for subnet in subnets.values()])
    behind = [(port.device_id, subnets[address.subnet_id].network_id, subnets[address.subnet_id].cidr)
              for port in ports if port.is_router_port for address in port.fixed_ips]
    check_no_overlap(behind)
    for router_id in {fip.router_id for fip in topology.floatingips.values() if fip.port_id}:
        pool = topology.routers[router_id].nat64_pool
        if pool is not None:
            check_no_overlap([*behind, (router_id, "pool", pool)])
        else:
            check_no_overlap([(port.device_id, "subnet", subnets[address.subnet_id].cidr) for port in ports
                              if port.device_owner == ROUTER_INTERFACE for address in port.fixed_ips
                              if port.device_id == router_id] + [(router_id, "pool", POOL)])


def check_no_overlap(prefixes: list[tuple]) -> None:
    """Fail when two prefixes (where, whose, prefix) of one place overlap that are not one and the same's."""
    for (where, whose, prefix), (other, whose_other, second) in itertools.combinations(prefixes, 2):
        assert where != other or whose == whose_other or not (
            prefix.version == second.version and prefix.overlaps(second)), (where, prefix, second)


# Faults


def test_what_a_floating_ip_leaves_out_is_filled_in(resources):
    fip = resources.topology.floatingips["fip-vm-red"]
    assert (str(fip.fixed_ip_address), fip.router_id) == ("10.0.0.5", "red")


def test_a_fault_costs_the_resource_and_what_needs_it(site):
    site.change("subnets", "red-v4", gateway_ip=ip_address("10.9.9.9"))
    topology = resources_of(site.topology).topology
    assert topology.faults["subnets", "red-v4"] == Fault(
        (Finding(("gateway_ip",), "10.9.9.9 is not in 10.0.0.0/24"),))
    assert {key for key, fault in topology.faults.items() if fault.needs} == {
        ("ports", "red-if"), ("ports", "vm-red"), ("floatingips", "fip-vm-red")}
    assert topology.reason(("floatingips", "fip-vm-red")) == (
        "needs port vm-red, which is faulty: needs subnet red-v4, which is faulty: "
        "gateway_ip: 10.9.9.9 is not in 10.0.0.0/24")
    assert list(topology.floatingips) == ["fip-vm-blue"]
    check_sound(topology)


def test_the_last_good_form_stays_in_force(resources):
    before = resources.topology
    topology = put(resources, "ports", "vm-red", fixed_ips=(fixed("red-v4", "10.7.0.5"),))
    assert topology.faults == {("ports", "vm-red"): Fault(
        (Finding(("fixed_ips", 0, "ip_address"), "10.7.0.5 is not in 10.0.0.0/24 of subnet red-v4"),),
        last_good_in_force=True)}
    assert topology.ports is before.ports and topology.floatingips is before.floatingips
    topology = put(resources, "ports", "vm-red", fixed_ips=(fixed("red-v4", "10.0.0.7"),))
    assert topology.faults == {}
    assert str(topology.floatingips["fip-vm-red"].fixed_ip_address) == "10.0.0.7"


def test_unreadable_keeps_its_last_good_form_until_it_is_gone(resources):
    before = resources.topology
    key = "routers", "red"
    topology = resources.update({key: Unreadable((Finding(("nme",), "is unknown"),))})
    assert topology.faults == {key: Fault((Finding(("nme",), "is unknown"),), last_good_in_force=True)}
    assert topology.floatingips is before.floatingips and topology.routers is before.routers
    topology = resources.update({key: None})
    assert "red" not in topology.routers and "fip-vm-red" not in topology.floatingips
    assert topology.reason(("ports", "red-if")) == "device_id: no router has the id 'red'"
    assert "fip-vm-blue" in topology.floatingips


def test_a_last_good_form_keeps_what_it_has_like_any_other(resources):
    put(resources, "floatingips", "fip-vm-blue", port_id="nowhere")
    assert resources.topology.floatingips["fip-vm-blue"].port_id == "vm-blue"
    address = IPv6Address("2001:db8:f::11")
    for other in ("a", "z"):
        topology = put(resources, "floatingips", FloatingIP(other, "ext", address, None))
        assert topology.floatingips["fip-vm-blue"].port_id == "vm-blue" and other not in topology.floatingips
    topology = resources.update({("floatingips", "fip-vm-blue"): None})
    assert "a" in topology.floatingips and "z" not in topology.floatingips


@pytest.mark.parametrize("other", ["a", "z"])
def test_who_has_it_keeps_it(resources, other):
    """Whatever the ids: what works does not go because of another one's fault."""
    topology = put(resources, "floatingips", FloatingIP(other, "ext", IPv6Address("2001:db8:f::10"), None))
    assert "fip-vm-red" in topology.floatingips and other not in topology.floatingips
    assert topology.reason(("floatingips", other)) == (
        "floating_ip_address: 2001:db8:f::10 is already the address of floating IP fip-vm-red")
    topology = resources.update({("floatingips", "fip-vm-red"): None})
    assert other in topology.floatingips and topology.faults == {}


@pytest.mark.parametrize("other", ["a", "z"])
def test_what_is_given_up_is_free_for_others_in_the_same_update(resources, other):
    red = dataclasses.replace(resources.newest["floatingips"]["fip-vm-red"],
                              floating_ip_address=IPv6Address("2001:db8:f::99"))
    topology = resources.update({("floatingips", "fip-vm-red"): red, ("floatingips", other): FloatingIP(
        other, "ext", IPv6Address("2001:db8:f::10"), None)})
    assert topology.faults == {}
    swapped = {("floatingips", "fip-vm-red"): dataclasses.replace(
        red, floating_ip_address=IPv6Address("2001:db8:f::10")), ("floatingips", other): FloatingIP(
        other, "ext", IPv6Address("2001:db8:f::99"), None)}
    topology = resources.update(swapped)
    assert topology.faults == {}
    assert topology.floatingips[other].floating_ip_address == IPv6Address("2001:db8:f::99")


def test_of_two_that_come_together_the_lower_id_gets_it(resources):
    topology = resources.update({("floatingips", name): FloatingIP(
        name, "ext", IPv6Address("2001:db8:f::77"), None) for name in ("z", "a", "m")})
    assert "a" in topology.floatingips and {"m", "z"}.isdisjoint(topology.floatingips)
    topology = resources.update({("floatingips", "a"): None})
    assert "m" in topology.floatingips and "z" not in topology.floatingips


def addresses_of(topology: Topology, *fip_ids: str) -> list[str]:
    """Return the last part of the floating IPs' addresses, "-" of those that are not in force."""
    found = [topology.floatingips.get(fip_id) for fip_id in fip_ids]
    return [str(fip.floating_ip_address).rpartition("::")[2] if fip else "-" for fip in found]


def floating(fip_id: str, last: str) -> FloatingIP:
    return FloatingIP(fip_id, "ext", IPv6Address(f"2001:db8:f::{last}"))


def give(*items: FloatingIP) -> dict:
    return {("floatingips", item.id): item for item in items}


@pytest.mark.parametrize("names", ["abc", "cba", "bca"])
def test_who_cannot_have_what_it_wants_keeps_what_another_one_wants(resources, names):
    """The first one wants what the second one has, which wants what the third one has and keeps."""
    first, second, third = names
    resources.update(give(floating(first, "1a"), floating(second, "2a"), floating(third, "3a")))
    topology = resources.update(give(floating(first, "2a"), floating(second, "3a")))
    assert addresses_of(topology, first, second, third) == ["1a", "2a", "3a"]
    assert {key[1] for key, fault in topology.faults.items() if fault.last_good_in_force} == {first, second}
    topology = resources.update(give(floating(third, "4a")))
    assert addresses_of(topology, first, second, third) == ["2a", "3a", "4a"] and not topology.faults


@pytest.mark.parametrize("names", list(itertools.permutations("abcd")))
def test_several_change_places_in_one_update(resources, names):
    resources.update(give(*(floating(name, f"{number}a") for number, name in enumerate(names, 1))))
    around = give(*(floating(name, f"{number % 4 + 1}a") for number, name in enumerate(names, 1)))
    topology = resources.update(around)
    assert addresses_of(topology, *names) == ["2a", "3a", "4a", "1a"] and not topology.faults
    # The last one does not make room: none of the others can move.
    back = {key: dataclasses.replace(fip, floating_ip_address=before) for (key, fip), before in zip(
        around.items(), [IPv6Address(f"2001:db8:f::{number}a") for number in range(1, 5)], strict=True)}
    back["floatingips", names[3]] = Unreadable((Finding(("x",), "is unknown"),))
    topology = resources.update(back)
    assert addresses_of(topology, *names) == ["2a", "3a", "4a", "1a"] and len(topology.faults) == 4


def test_a_mac_that_its_owner_cannot_give_up(site):
    topologies.add_vm(site, "vm-a", "red", "10.0.0.6")
    topologies.add_vm(site, "vm-b", "red", "10.0.0.7")
    resources = resources_of(site.topology)
    before = resources.topology
    macs = {name: before.ports[name].mac_address for name in ("vm-a", "vm-b", "vm-red")}
    topology = resources.update({
        ("ports", "vm-a"): dataclasses.replace(before.ports["vm-a"], mac_address=macs["vm-b"]),
        ("ports", "vm-b"): dataclasses.replace(before.ports["vm-b"], mac_address=macs["vm-red"])})
    assert topology.ports is before.ports
    assert set(topology.faults) == {("ports", "vm-a"), ("ports", "vm-b")}


def test_a_last_good_prefix_is_not_free_for_others(resources):
    resources.update({("networks", "n"): Network("n"), **{
        ("subnets", f"s{number}"): subnet(f"s{number}", "n", f"10.{number}.0.0/24") for number in range(3)}})
    topology = put(resources, "subnets", "s2", cidr=IPv4Network("10.0.0.0/16"))
    assert str(topology.subnets["s2"].cidr) == "10.2.0.0/24"
    topology = put(resources, "subnets", "s1", cidr=IPv4Network("10.2.0.0/24"))
    assert str(topology.subnets["s1"].cidr) == "10.1.0.0/24"
    assert set(topology.faults) == {("subnets", "s1"), ("subnets", "s2")}


# What resources of different kinds want


EXT = IPv6Address("2001:db8:f::10")
"""The address of fip-vm-red."""


def keeps_all_but(resources: Resources, changes: dict, key: tuple, reason: str) -> None:
    """Check that a resource is faulty for this reason and takes nothing from others."""
    before = resources.topology
    topology = resources.update(changes)
    assert topology.reason(key) == reason
    assert set(topology.faults) == {key}
    for other, item in all_of(before).items():
        assert getattr(topology, other[0])[other[1]] == item


def test_a_port_cannot_take_the_address_of_a_floating_ip(resources):
    port = Port("a", "ext", mac(9), fixed_ips=(fixed("ext-v6", str(EXT)),))
    keeps_all_but(resources, {("ports", "a"): port}, ("ports", "a"),
                  f"fixed_ips[0].ip_address: {EXT} is already the address of floating IP fip-vm-red")
    topology = resources.update({("floatingips", "fip-vm-red"): None})
    assert "a" in topology.ports and not topology.faults
    topology = put(resources, "floatingips", FloatingIP("fip-vm-red", "ext", EXT, "vm-red"))
    assert topology.reason(("floatingips", "fip-vm-red")) == (
        f"floating_ip_address: {EXT} is already an address of port a")
    assert not resources.update({("ports", "a"): None}).faults


def test_the_port_that_neutron_makes_for_a_floating_ip_has_its_address(resources):
    port = Port("a", "ext", mac(9), device_owner=FLOATING_IP_OWNER, fixed_ips=(fixed("ext-v6", str(EXT)),))
    assert not put(resources, "ports", port).faults


def test_a_floating_ip_and_a_port_change_places(resources):
    port = Port("a", "ext", mac(9), fixed_ips=(fixed("ext-v6", "2001:db8:f::99"),))
    put(resources, "ports", port)
    fip = resources.newest["floatingips"]["fip-vm-red"]
    other = dataclasses.replace(fip, floating_ip_address=IPv6Address("2001:db8:f::99"))
    changes = {("ports", "a"): dataclasses.replace(port, fixed_ips=(fixed("ext-v6", str(EXT)),)),
               ("floatingips", "fip-vm-red"): other}
    topology = resources.update(changes)
    assert not topology.faults
    assert topology.floatingips["fip-vm-red"].floating_ip_address == IPv6Address("2001:db8:f::99")
    # Back again, but the floating IP cannot: it stays what it is, and so does the port.
    before = topology
    topology = resources.update({("ports", "a"): port, ("floatingips", "fip-vm-red"): dataclasses.replace(
        fip, port_id="nowhere")})
    assert set(topology.faults) == {("ports", "a"), ("floatingips", "fip-vm-red")}
    assert topology.ports is before.ports and topology.floatingips is before.floatingips


def test_a_gateway_cannot_take_the_address_of_a_floating_ip(resources):
    changed = dataclasses.replace(resources.newest["subnets"]["ext-v6"], gateway_ip=EXT)
    keeps_all_but(resources, {("subnets", "ext-v6"): changed}, ("subnets", "ext-v6"),
                  f"gateway_ip: {EXT} is already the address of floating IP fip-vm-red")
    topology = resources.update({("floatingips", "fip-vm-red"): None})
    assert topology.subnets["ext-v6"].gateway_ip == EXT and not topology.faults


@pytest.mark.parametrize("pool", ["192.0.2.0/24", None])
def test_a_new_interface_cannot_take_from_the_pool(site, pool):
    site.change("routers", "red", nat64_pool=pool and IPv4Network(pool))
    site.add(Network("n"), subnet("s", "n", pool or "100.64.1.0/24"))
    resources = resources_of(site.topology)
    address = str(resources.topology.subnets["s"].cidr[1])
    port = Port("a", "n", mac(9), device_owner=ROUTER_INTERFACE, device_id="red",
                fixed_ips=(fixed("s", address),))
    whose = (f"nat64_pool {pool} of router red" if pool else
             f"[fip64] nat64_pool {POOL}, which floating IPs of router red need")
    keeps_all_but(resources, {("ports", "a"): port}, ("ports", "a"),
                  f"fixed_ips: subnet s ({resources.topology.subnets['s'].cidr}) overlaps {whose}")
    topology = put(resources, "routers", "red", nat64_pool=IPv4Network("198.51.100.0/24"))
    assert "a" in topology.ports and not topology.faults


def test_the_default_pool_is_free_while_no_floating_ip_needs_it(resources):
    resources.update({("networks", "n"): Network("n"), ("subnets", "s"): subnet("s", "n", "100.64.1.0/24")})
    port = Port("a", "n", mac(9), device_owner=ROUTER_INTERFACE, device_id="red",
                fixed_ips=(fixed("s", "100.64.1.1"),))
    assert "a" not in put(resources, "ports", port).ports
    topology = resources.update({("floatingips", "fip-vm-red"): None})
    assert "a" in topology.ports and not topology.faults
    topology = put(resources, "floatingips", FloatingIP("fip-vm-red", "ext", EXT, "vm-red"))
    assert set(topology.faults) == {("routers", "red"), ("floatingips", "fip-vm-red")}


def test_a_subnet_cannot_grow_into_its_router_s_pool(site):
    site.change("routers", "red", nat64_pool=IPv4Network("10.0.1.0/24"))
    resources = resources_of(site.topology)
    changed = dataclasses.replace(resources.newest["subnets"]["red-v4"], cidr=IPv4Network("10.0.0.0/16"))
    keeps_all_but(resources, {("subnets", "red-v4"): changed}, ("subnets", "red-v4"),
                  "cidr: 10.0.0.0/16 overlaps nat64_pool 10.0.1.0/24 of router red; it has a port on the "
                  "subnet")
    topology = put(resources, "routers", "red", nat64_pool=None)
    assert str(topology.subnets["red-v4"].cidr) == "10.0.0.0/16" and not topology.faults


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_subnet_cannot_grow_into_another_one_behind_its_router(site, name):
    site.add(Network("n"), subnet(f"{name}-v4", "n", "10.1.0.0/24"), Port(
        name, "n", mac(9), device_owner=ROUTER_INTERFACE, device_id="red",
        fixed_ips=(fixed(f"{name}-v4", "10.1.0.1"),)))
    resources = resources_of(site.topology)
    changed = dataclasses.replace(resources.newest["subnets"][f"{name}-v4"], cidr=ip_network("10.0.0.0/15"))
    keeps_all_but(resources, {("subnets", f"{name}-v4"): changed}, ("subnets", f"{name}-v4"),
                  "cidr: 10.0.0.0/15 overlaps 10.0.0.0/24 of subnet red-v4, and router red has a port on "
                  "both")
    topology = resources.update({("ports", name): None})
    assert topology.subnets[f"{name}-v4"].cidr == changed.cidr and not topology.faults


def test_who_is_faulty_takes_nothing_from_others(site):
    site.add(FloatingIP("a", "nowhere", IPv6Address("2001:db8:f::10"), "vm-red"))
    topology = resources_of(site.topology).topology
    assert set(topology.floatingips) == {"fip-vm-red", "fip-vm-blue"}
    assert set(topology.faults) == {("floatingips", "a")}


def test_the_gateway_of_vms_is_faulty(resources, site):
    """Nobody says that there is no router: it is not known."""
    changes = all_of(site.topology)
    changes["ports", "red-if"] = Unreadable((Finding(("mac_address",), "is required"),),
                                            frozenset({"red-v4"}))
    resources = Resources(POOL)
    topology = resources.update(changes)
    assert topology.faults["floatingips", "fip-vm-red"] == Fault(needs=("ports", "red-if"))
    topology = resources.update({("ports", "red-if"): None})
    assert "no router has an interface on subnet red-v4" in topology.reason(("floatingips", "fip-vm-red"))


# What was right before


def test_another_router_on_the_subnet_leaves_floating_ips_where_they_are(resources):
    topology = resources.update({("routers", "third"): Router("third"), ("ports", "other-if"): Port(
        "other-if", "red-net", mac(9), device_owner=ROUTER_INTERFACE, device_id="third",
        fixed_ips=(fixed("red-v4", "10.0.0.2"),))})
    fip = topology.floatingips["fip-vm-red"]
    assert (fip.router_id, topology.faults["floatingips", "fip-vm-red"].last_good_in_force) == ("red", True)
    assert topology.reason(("floatingips", "fip-vm-red")) == (
        "router_id: is required: several routers have an interface on subnet red-v4: red, third")
    topology = put(resources, "floatingips", "fip-vm-red", router_id="third")
    assert topology.floatingips["fip-vm-red"].router_id == "third"


def test_another_address_of_the_port_leaves_the_floating_ip_where_it_is(resources):
    port = resources.newest["ports"]["vm-red"]
    topology = put(resources, "ports", "vm-red", fixed_ips=(*port.fixed_ips, fixed("red-v4", "10.0.0.4")))
    assert str(topology.floatingips["fip-vm-red"].fixed_ip_address) == "10.0.0.5"
    assert topology.faults["floatingips", "fip-vm-red"].last_good_in_force


def test_a_router_that_was_never_wholly_right_keeps_what_is_in_force(site):
    good = Nat64Binding(IPv6Address("2001:db8::2"), ip_address("100.64.0.9"))
    bad = Nat64Binding(IPv6Address("2001:db8::1"), ip_address("192.0.2.9"))
    site.change("routers", "red", nat64_bindings=(bad, good))
    resources = resources_of(site.topology)
    before = resources.topology
    topology = resources.update({("routers", "red"): Unreadable((Finding(("nme",), "is unknown"),))})
    assert topology.faults == {
        ("routers", "red"): Fault((Finding(("nme",), "is unknown"),), last_good_in_force=True)}
    for kind in KINDS:
        assert getattr(topology, kind) is getattr(before, kind)
    topology = put(resources, "routers", Router("red", nat64_bindings=(good,)))
    assert not topology.faults and topology.routers["red"].nat64_bindings == (good,)


def test_a_last_good_form_comes_back_with_the_pool(resources):
    resources.update({}, IPv4Network("10.0.0.0/16"))
    broken = Unreadable((Finding(("x",), "is unknown"),))
    topology = resources.update({("floatingips", "fip-vm-red"): broken})
    assert not topology.floatingips
    topology = resources.update({}, POOL)
    assert set(topology.floatingips) == {"fip-vm-red", "fip-vm-blue"}
    assert topology.faults["floatingips", "fip-vm-red"].last_good_in_force


# NAT64 pools


def test_a_pool_of_its_own_that_overlaps_costs_the_floating_ips_only(site):
    site.change("routers", "red", nat64_pool=IPv4Network("10.0.0.0/25"))
    topology = resources_of(site.topology).topology
    assert topology.reason(("routers", "red")) == (
        "nat64_pool: 10.0.0.0/25 overlaps 10.0.0.0/24 of subnet red-v4, which the router has a port on")
    assert topology.faults["floatingips", "fip-vm-red"] == Fault(needs=("routers", "red"))
    assert "red" in topology.routers and "red-if" in topology.ports
    assert set(topology.floatingips) == {"fip-vm-blue"}


def test_the_router_keeps_its_last_good_pool(resources):
    before = resources.topology
    topology = put(resources, "routers", "red", nat64_pool=IPv4Network("10.0.0.0/25"))
    assert topology.faults["routers", "red"].last_good_in_force
    assert topology.routers is before.routers and topology.floatingips is before.floatingips
    assert put(resources, "routers", "red", nat64_pool=None).faults == {}


def test_the_default_pool_is_told_of_routers_whose_floating_ips_suffer(resources, site):
    topology = resources.update({}, IPv4Network("10.0.0.0/16"))
    assert topology.reason(("routers", "red")) == (
        "nat64_pool: [fip64] nat64_pool 10.0.0.0/16 overlaps 10.0.0.0/24 of subnet red-v4, which the router "
        "has a port on")
    assert topology.floatingips == {}
    topology = resources.update({("floatingips", "fip-vm-red"): None})
    assert set(topology.faults) == {("routers", "blue"), ("floatingips", "fip-vm-blue")}
    assert resources.update({}, POOL).faults == {}
    assert set(resources.topology.floatingips) == {"fip-vm-blue"}


def test_a_binding_outside_of_the_default_pool_is_left_out(site):
    good = Nat64Binding(IPv6Address("2001:db8::2"), ip_address("100.64.0.9"))
    site.change("routers", "red", nat64_bindings=(
        Nat64Binding(IPv6Address("2001:db8::1"), ip_address("192.0.2.9")), good))
    topology = resources_of(site.topology).topology
    assert topology.reason(("routers", "red")) == (
        "nat64_bindings[0].pool_address: 192.0.2.9 is not in nat64_pool 100.64.0.0/16")
    assert topology.routers["red"].nat64_bindings == (good,)
    assert set(topology.floatingips) == {"fip-vm-red", "fip-vm-blue"}


# Any changes in any order


FORMS = st.one_of(*(st.tuples(st.just(kind), items) for kind, items in topologies.RESOURCES.items()),
                  st.tuples(st.just("floatingips"), topologies.RESOURCES["floatingips"]))


def taking(item, other):
    """Return a resource that wants what another one has, or refers to it."""
    match item, other:
        case FloatingIP(), FloatingIP():
            return dataclasses.replace(item, floating_ip_address=other.floating_ip_address)
        case FloatingIP(), Port(fixed_ips=(FixedIP(ip_address=IPv6Address() as address), *_)):
            return dataclasses.replace(item, floating_ip_address=address)
        case FloatingIP(), Port():
            return dataclasses.replace(item, port_id=other.id, fixed_ip_address=None, router_id=None)
        case Port(), Port():
            return dataclasses.replace(item, network_id=other.network_id, mac_address=other.mac_address,
                                       fixed_ips=item.fixed_ips or other.fixed_ips)
        case Port(), FloatingIP():
            return dataclasses.replace(item, network_id=other.floating_network_id, fixed_ips=(
                FixedIP(f"{other.floating_network_id}-v6", other.floating_ip_address),))
        case Port(), Subnet(cidr=IPv4Network() as cidr):
            return dataclasses.replace(item, network_id=other.network_id, fixed_ips=(
                FixedIP(other.id, cidr[min(3, cidr.num_addresses - 1)]),))
        case Subnet(), Subnet():
            return dataclasses.replace(item, cidr=other.cidr, gateway_ip=None)
        case Subnet(), FloatingIP():
            return dataclasses.replace(item, gateway_ip=other.floating_ip_address)
        case Subnet(), Router(nat64_pool=IPv4Network() as pool):
            return dataclasses.replace(item, cidr=pool, gateway_ip=None)
        case Port(), SecurityGroup():
            return dataclasses.replace(item, security_groups=(*item.security_groups[:1], other.id))
        case SecurityGroup(), SecurityGroup():
            return dataclasses.replace(item, rules=(
                SecurityGroupRule("1", "ingress", "IPv6", remote_group_id=other.id), *other.rules[1:]))
        case SecurityGroup(), AddressGroup():
            return dataclasses.replace(item, rules=(
                SecurityGroupRule("1", "egress", "IPv4", remote_address_group_id=other.id),))
        case Router(), Subnet(cidr=IPv4Network() as cidr):
            return dataclasses.replace(item, nat64_pool=cidr if cidr.prefixlen <= 30 else None)
    return item


@st.composite
def steps(draw) -> list[dict]:
    """A site, then changes of some resources at a time."""
    topology = draw(topologies.valid_sites().map(lambda site: site.topology) | topologies.any_topologies)
    present = all_of(topology)
    result = [dict(present)]
    for _ in range(draw(st.integers(1, 8))):
        step = {}
        for _ in range(draw(st.integers(1, 3))):
            what = draw(st.sampled_from(("put", "put", "take", "take", "remove", "unreadable", "back")))
            if what == "put":
                kind, item = draw(FORMS)
                step[kind, item.id] = item
            elif present:
                key = draw(st.sampled_from(sorted(present)))
                if what == "take":
                    step[key] = taking(present[key], present[draw(st.sampled_from(sorted(present)))])
                elif what == "remove":
                    step[key] = None
                elif what == "unreadable":
                    mentions = draw(st.frozensets(
                        st.sampled_from(("r0-v4", "r1-v4", "ext", "ext2")), max_size=2))
                    step[key] = Unreadable((Finding(("x",), "is unknown"),), mentions)
                else:
                    step[key] = all_of(topology).get(key)
        present.update((key, form) for key, form in step.items() if form is not None)
        result.append(step)
    return result


@settings(deadline=None, max_examples=100)
@given(steps())
def test_step_by_step_is_all_at_once(changes):
    """The result follows from the newest and the last good forms: not from how they came to be.

    But of two that want the same, the one that had it first keeps it: then only soundness is checked.
    """
    resources = Resources(POOL)
    for step in changes:
        resources.update(step)
        check_sound(resources.topology)
    event(f"two want the same: {bool(resources.register._wanted)}")
    if resources.register._wanted:
        return
    fresh = Resources(POOL)
    fresh.last_good = dict(resources.last_good)
    at_once = fresh.update({(kind, item_id): form for kind, forms in resources.newest.items()
                            for item_id, form in forms.items()})
    assert resources.topology == at_once
    kept = any(fault.last_good_in_force for fault in at_once.faults.values())
    event(f"last good forms: {kept}")
    if not kept:
        without = Resources(POOL)
        assert without.update({(kind, item_id): form for kind, forms in resources.newest.items()
                               for item_id, form in forms.items()}) == at_once


@settings(deadline=None, max_examples=50)
@given(steps())
def test_what_is_right_stays_right_whatever_becomes_unreadable(changes):
    resources = Resources(POOL)
    for step in changes:
        resources.update(step)
    before = resources.topology
    assume(before.networks)
    for key in sorted(all_of(before)):
        if key in before.faults:
            continue
        topology = resources.update({key: Unreadable((Finding((), "is broken"),))})
        for other, item in all_of(before).items():
            assert getattr(topology, other[0])[other[1]] == item
        before = topology


@settings(deadline=None, max_examples=150)
@given(steps(), st.lists(FORMS, min_size=1, max_size=3))
def test_what_is_right_stays_right_whatever_comes(changes, forms):
    """Whatever other resources of whatever kind want, and whatever the ids are."""
    resources = Resources(POOL)
    for step in changes:
        resources.update(step)
    before = resources.topology
    new = {(kind, item.id): item for kind, item in forms if item.id not in resources.newest[kind]}
    assume(new)
    # The first group gives a meaning to what ports say of groups.
    assume(resources.newest["security_groups"] or not any(kind == "security_groups" for kind, _ in new)
           or not any(port.security_groups for port in before.ports.values()))
    topology = resources.update(new)
    check_sound(topology)
    in_force = all_of(topology)
    assert {key: in_force.get(key) for key in all_of(before)} == all_of(before)


def built_on(topology: Topology, key: tuple) -> set[tuple]:
    """Return the keys of a resource in force and of all that it refers to, by its ids or by its addresses.

    ("known", kind, id) is for that such a resource is there, ("any", kind) for that there is none.
    """
    kind, item_id = key
    item = getattr(topology, kind)[item_id]
    found = {key}
    if kind == "subnets":
        found.add(("networks", item.network_id))
    elif kind == "ports":
        found.add(("networks", item.network_id))
        for address in item.fixed_ips:
            found |= built_on(topology, ("subnets", address.subnet_id))
        if item.is_router_port:
            found.add(("routers", item.device_id))
        for group_id in item.security_groups:
            found |= (built_on(topology, ("security_groups", group_id))
                      if group_id in topology.security_groups else {("any", "security_groups")})
    elif kind == "security_groups":
        found |= {("known", kind, rule.remote_group_id) for rule in item.rules if rule.remote_group_id}
        found |= {("address_groups", rule.remote_address_group_id) for rule in item.rules
                  if rule.remote_address_group_id}
    elif kind == "floatingips":
        found.add(("networks", item.floating_network_id))
        found |= {("subnets", subnet.id) for subnet in topology.subnets.values()
                  if subnet.network_id == item.floating_network_id}
        if item.port_id is not None:
            found |= built_on(topology, ("ports", item.port_id)) | {("routers", item.router_id)}
            subnets = {address.subnet_id for address in topology.ports[item.port_id].fixed_ips}
            for port in topology.ports.values():
                if port.is_router_port and any(address.subnet_id in subnets for address in port.fixed_ips):
                    found |= built_on(topology, ("ports", port.id))
    return found


@settings(deadline=None, max_examples=150)
@given(steps())
def test_what_is_right_stays_right_whatever_happens_elsewhere(changes):
    """What is right, and all that it is built on, stays what it is while none of these changes."""
    resources = Resources(POOL)
    stayed = 0
    for step in changes:
        before = resources.topology
        changed = {key for key, form in step.items() if form != resources.newest[key[0]].get(key[1])}
        came_or_went = {key for key, form in step.items()
                        if (form is None) == (key[1] in resources.newest[key[0]])}
        changed |= {("known", *key) for key in came_or_went} | {("any", kind) for kind, _ in came_or_went}
        topology = resources.update(step)
        check_sound(topology)
        for key, item in all_of(before).items():
            if not built_on(before, key) & (changed | before.faults.keys()):
                assert getattr(topology, key[0]).get(key[1]) == item, key
                stayed += 1
    event(f"more than 50 stay: {stayed > 50}")


@given(topologies.valid_sites().map(lambda site: site.topology), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_a_valid_site_is_taken_over_in_any_order(topology, random):
    changes = list(all_of(topology).items())
    random.shuffle(changes)
    resources = Resources(POOL)
    for key, item in changes:
        resources.update({key: item})
    assert resources.topology.faults == {}
    assert resources.topology == resources_of(topology).topology


def test_equal_forms_change_nothing(resources, site):
    before = resources.topology
    assert resources.update({(kind, key): dataclasses.replace(item) for (kind, key), item
                             in all_of(site.topology).items()}) is before
    topology = put(resources, "networks", Network("new"))
    assert topology.ports is before.ports and topology.networks is not before.networks
    assert "new" not in before.networks
    topology = put(resources, "routers", Router("red", routes=routes(("10.9.0.0/16", "10.0.0.9"))))
    assert topology.floatingips is before.floatingips


def test_one_among_ten_thousand_costs_little_work_and_memory():
    topology, _ = topologies.big_topology(100, 10_000)
    changes = all_of(topology)
    resources = Resources(POOL)
    assert not resources.update(changes).faults
    checked = []
    judge = resources._judge
    resources._judge = lambda key, form: checked.append(key) or judge(key, form)
    new = FloatingIP("new", "ext", IPv6Address("2001:db8:f::f:1"))
    assert len(put(resources, "floatingips", new).floatingips) == 10_001
    assert checked == [("floatingips", "new")]
    del checked[:]
    port = topologies.uuid(7, 5)
    put(resources, "ports", port, name="other")
    assert checked == [("ports", port), ("floatingips", topologies.uuid(8, 5))]
    print(f"records: {size_of(resources) / (1 << 20):.1f} MiB")
    assert size_of(resources) < 8 << 20


def size_of(resources: Resources) -> int:
    """Return the bytes of what Resources has beside the topology and the source's resources themselves."""
    seen: set[int] = set()
    for held in (resources.newest, *(getattr(resources.topology, kind) for kind in KINDS[:-1])):
        seen.update(id(form) for forms in (held.values() if held is resources.newest else (held,))
                    for form in forms.values())
    seen.update(id(fip) for fip in resources.topology.floatingips.values())
    total = sum(map(sys.getsizeof, (*resources.newest["floatingips"].values(), *resources.newest.values())))
    ids = {id(item_id) for forms in resources.newest.values() for item_id in forms}
    for multimap in (*resources.register.claimants.values(), resources._state._router_ports,
                     resources.floatingips_of_port):
        total += sys.getsizeof(multimap._ids)
        for key, value in multimap._ids.items():
            total += sys.getsizeof(key) if isinstance(key, int | tuple) else 0
            total += sys.getsizeof(value) if id(value) not in ids and not isinstance(value, str) else 0
    return total


def test_a_subnet_of_the_network_makes_addresses_usable(resources):
    put(resources, "floatingips", FloatingIP("n", "ext", IPv6Address("2001:db8:e::9")))
    assert "n" not in resources.topology.floatingips
    topology = put(resources, "subnets", subnet("ext-more", "ext", "2001:db8:e::/64"))
    assert "n" in topology.floatingips
    topology = resources.update({("subnets", "ext-more"): None})
    assert topology.reason(("floatingips", "n")) == (
        "floating_ip_address: 2001:db8:e::9 is not in 2001:db8:f::/64 of network ext")
