# SPDX-License-Identifier: Apache-2.0
"""Slices of NAT64 pools, with MidoNet's cases of its pool splitting; static bindings."""

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.plan.desired import ERROR
from fip64agent.plan.fip64 import pools
from fip64agent.plan.inputs import Settings
from fip64agent.plan.planner import plan
from fip64agent.topology.model import Nat64Binding
from tests.fakes.topologies import add_tenant, add_vm, edge_site
from tests.fakes.translators import CAPABILITIES

CLIENT, OTHER = IPv6Address("2001:db8:9::1"), IPv6Address("2001:db8:9::2")


def slices(pool: str, count: int) -> list[tuple[str, str] | None]:
    found = [pools.slice_of(IPv4Network(pool), number, count) for number in range(1, count + 1)]
    return [tuple(map(str, each)) if each else None for each in found]


def between(*ends: tuple[int, int]) -> list[tuple[str, str]]:
    return [(f"10.0.0.{first}", f"10.0.0.{last}") for first, last in ends]


def test_a_single_slice_is_all_but_network_and_broadcast_address():
    assert slices("10.0.0.0/24", 1) == between((1, 254))


def test_three_of_a_25():
    assert slices("10.0.0.0/25", 3) == between((1, 42), (43, 84), (85, 126))


def test_four_of_a_25():
    assert slices("10.0.0.0/25", 4) == between((1, 31), (32, 63), (64, 94), (95, 126))


def test_of_a_30_cut_into_four_some_get_nothing():
    assert slices("10.0.0.0/30", 4) == [None, ("10.0.0.1", "10.0.0.1"), None, ("10.0.0.2", "10.0.0.2")]


def test_a_10_cut_into_600_has_no_overflow():
    found = slices("100.64.0.0/10", 600)
    assert found[0][0] == "100.64.0.1" and found[-1] == ("100.127.228.176", "100.127.255.254")


@given(st.integers(8, 30), st.integers(1, 700))
def test_slices_are_disjoint_and_complete(length, count):
    pool = IPv4Network((int(IPv4Address("100.0.0.0")), length))
    expected = int(pool[1])
    sizes = set()
    for number in range(1, count + 1):
        found = pools.slice_of(pool, number, count)
        sizes.add(int(found[1]) - int(found[0]) + 1 if found else 0)
        if found:
            assert int(found[0]) == expected
            expected = int(found[1]) + 1
    assert expected == int(pool[-1])
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("number", "count", "prefix"), [
    (1, 1, "100.64.0.0/16"), (1, 2, "100.64.0.0/17"), (2, 2, "100.64.128.0/17"), (3, 4, "100.64.128.0/18"),
    (2, 1 << 14, "100.64.0.4/30"), (2, 1 << 15, None)])
def test_taygas_slices_are_prefixes(number, count, prefix):
    found = pools.prefix_of(IPv4Network("100.64.0.0/16"), number, count)
    assert (str(found) if found else None) == prefix


# In the plan

def site(driver: str, part=(1, 1), bindings=(), pool=None):
    made = add_vm(add_tenant(edge_site(), "red"), "vm-red", "red", "10.0.0.5", "2001:db8:f::10")
    made.settings = Settings(capabilities=CAPABILITIES[driver], pool_slice=part)
    return made.change("routers", "red", nat64_bindings=tuple(bindings),
                       nat64_pool=IPv4Network(pool) if pool else None)


@pytest.mark.parametrize(("driver", "part", "ends"), [
    ("vpp", (1, 1), ("100.64.0.1", "100.64.255.254")), ("vpp", (2, 2), ("100.64.128.0", "100.64.255.254")),
    ("tayga", (1, 1), ("100.64.0.0", "100.64.255.255")),
    ("tayga", (2, 2), ("100.64.128.0", "100.64.255.255"))])
def test_a_tenant_has_this_hosts_part_of_its_pool(driver, part, ends):
    tenant = plan(site(driver, part).inputs).tenants["red"]
    assert (str(tenant.pool_first), str(tenant.pool_last)) == ends
    assert str(tenant.pool) == "100.64.0.0/16", "the VMs' answers to any of it go to the translator"


@pytest.mark.parametrize(("driver", "part"), [("vpp", (1, 4)), ("tayga", (1, 2))])
def test_an_empty_slice_is_that_tenants_error(driver, part):
    desired = plan(site(driver, part, pool="192.0.2.0/30").inputs)
    assert desired.tenants == desired.mappings == {}
    problem = desired.problems["tenant", "red"]
    assert problem == desired.problems["fip", "fip-vm-red"]
    assert problem.state == ERROR
    assert problem.reason == (f"NAT64 pool 192.0.2.0/30 of router red is too small to be cut into {part[1]}: "
                              "slice 1 of it is empty")


def test_a_pool_of_more_than_a_10_is_too_much_for_vpp_on_one_host():
    desired = plan(site("vpp", pool="64.0.0.0/9").inputs)
    assert "is too large: this host would have 8388606 addresses" in desired.problems["tenant", "red"].reason
    assert plan(site("vpp", (1, 2), pool="64.0.0.0/9").inputs).problems == {}
    assert plan(site("tayga", pool="64.0.0.0/9").inputs).problems == {}


@pytest.mark.parametrize("driver", ["vpp", "tayga"])
def test_static_bindings_of_this_hosts_part(driver):
    bindings = [Nat64Binding(OTHER, IPv4Address("100.64.200.1")),
                Nat64Binding(CLIENT, IPv4Address("100.64.1.9"))]
    planned = [plan(site(driver, part, bindings).inputs) for part in ((1, 1), (1, 2), (2, 2))]
    assert [desired.tenants["red"].bindings for desired in planned] == [
        ((CLIENT, IPv4Address("100.64.1.9")), (OTHER, IPv4Address("100.64.200.1"))),
        ((CLIENT, IPv4Address("100.64.1.9")),), ((OTHER, IPv4Address("100.64.200.1")),)]
    assert all(desired.problems == {} for desired in planned)


@pytest.mark.parametrize(("driver", "address", "words"), [
    ("vpp", "10.9.9.9", "10.9.9.9 is not in nat64_pool 100.64.0.0/16"),
    ("vpp", "100.64.0.0", "100.64.0.0 is the first or last address of nat64_pool 100.64.0.0/16, which no "
                          "client gets"),
    ("vpp", "100.64.255.255", "100.64.255.255 is the first or last address of nat64_pool 100.64.0.0/16, "
                              "which no client gets")])
def test_a_binding_that_cannot_be_anywhere_costs_only_itself(driver, address, words):
    bindings = [Nat64Binding(CLIENT, IPv4Address(address)), Nat64Binding(OTHER, IPv4Address("100.64.0.9"))]
    inputs = site(driver, bindings=bindings).inputs
    desired = plan(inputs)
    assert desired.tenants["red"].bindings == ((OTHER, IPv4Address("100.64.0.9")),)
    assert desired.problems == {}
    assert inputs.topology.reason(("routers", "red")) == f"nat64_bindings[0].pool_address: {words}"


@pytest.mark.parametrize(("driver", "address", "words"), [
    ("tayga", "100.64.0.1", "is one that the translator keeps for itself on this host")])
def test_a_binding_that_cannot_be_on_this_host_costs_only_itself(driver, address, words):
    bindings = [Nat64Binding(CLIENT, IPv4Address(address)), Nat64Binding(OTHER, IPv4Address("100.64.0.9"))]
    desired = plan(site(driver, bindings=bindings).inputs)
    assert desired.tenants["red"].bindings == ((OTHER, IPv4Address("100.64.0.9")),)
    assert desired.problems.keys() == {("tenant", "red")}
    reason = desired.problems["tenant", "red"].reason
    assert reason.startswith(f"router red: the static binding of client {CLIENT} is left out: ")
    assert words in reason


def test_mtus_of_a_tenant_are_the_smallest_on_its_way():
    made = site("vpp").change("networks", "uplink-net", mtu=9000).change("networks", "red-net", mtu=1400)
    tenant = plan(made.inputs).tenants["red"]
    assert (tenant.mtu, tenant.mtu4) == (9000, 1400)


def test_a_mapping_has_the_uplinks_table_and_the_tenants_vlan():
    desired = plan(site("vpp").inputs)
    found = desired.mappings["fip-vm-red"]
    assert found.table == desired.uplinks["uplink"].table
    assert found.downlink_vlan == desired.tenants["red"].vlan


def test_options_reach_the_tenant():
    made = site("vpp")
    made.settings = dataclasses.replace(made.settings, client_idle_timeout=60, clients_per_prefix=3,
                                        lowest_ipv6_mtu=1500, zero_traffic_class=True,
                                        drop_udp_zero_checksum=True)
    tenant = plan(made.inputs).tenants["red"]
    assert (tenant.idle_timeout, tenant.max_per_64) == (60, 3)
    assert (tenant.lowest_ipv6_mtu, tenant.zero_traffic_class, tenant.drop_udp_zero_checksum) == (
        1500, True, True)
