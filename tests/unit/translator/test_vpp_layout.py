# SPDX-License-Identifier: Apache-2.0
"""From objects of the plan to VPP's objects."""

import dataclasses
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest

from fip64agent.translator.vpp import layout, requests, tags
from fip64agent.translator.vpp.items import (
    RANK,
    Address,
    Binding,
    Daemon,
    HostInterface,
    Mapping,
    Neighbor,
    NeighborAge,
    Route,
    SubInterface,
    Table,
    Tenant64,
)
from tests.fakes import planned

SITE = layout.Site(b"seed", "/run/x/vpp")
PORT = "11111111-0000-4000-8000-000000000001"
UP, RED = f"fip64:uplink:{PORT}", "fip64:tenant:red"


def tenant(**changes):
    return planned.tenant("red", 7, {"10.0.0.5": "2001:db8:f::a"}, own_interface=False, **changes)


def expand(obj, site=SITE):
    items = list(layout.expand(site, obj))
    assert all(item.owner == obj.key for item in items)
    assert len({item.key for item in items}) == len(items)
    return items


def test_host_is_the_daemon_and_the_downlink():
    host = planned.host("p-", "vpp")
    downlink = HostInterface("fip64:downlink:", "vpp-dl", "02:f6:40:ff:ff:ff", 9216, 0)
    assert expand(host) == [Daemon("/run/x/vpp"), downlink]
    assert expand(host, layout.Site(b"", "")) == [downlink], "an external VPP is somebody else's"


def test_neighbors_age_where_a_time_is_given():
    host = planned.host("p-", "vpp")
    ages = [item for item in expand(host, layout.Site(b"", "", 30)) if isinstance(item, NeighborAge)]
    assert ages == [NeighborAge(version, 16384, 30, True) for version in (4, 6)]
    assert requests.set_neighbor_age(ages[1]) == (
        "ip_neighbor_config", {"af": 1, "max_number": 16384, "max_age": 30, "recycle": True})
    assert requests.reset_neighbor_age(4) == (
        "ip_neighbor_config", {"af": 0, "max_number": 50000, "max_age": 0, "recycle": False})


def test_uplink():
    obj = planned.uplink("p-", onlink=(planned.EXTERNAL, IPv6Network("2001:db8:a::/64")))
    table = obj.table
    assert expand(obj) == [
        Table(6, table, UP), HostInterface(UP, obj.peer, obj.mac, 1500, table),
        Address(UP, IPv6Interface("2001:db8:f::1/64")),
        Route(table, IPv6Network("::/0"), UP, IPv6Address("2001:db8:f::ffff")),
        # Connected prefixes come with the address.
        Route(table, IPv6Network("2001:db8:a::/64"), UP), Route(table, IPv6Network("2001:db8:e::/64"), "")]


def test_a_prefix_that_is_served_is_not_routed_elsewhere():
    served = IPv6Network("2001:db8:e::/64")
    obj = planned.uplink("p-", routed=(served,),
                         routes=((served, IPv6Address("2001:db8:f::2")),))
    assert [item for item in expand(obj) if isinstance(item, Route)] == [Route(obj.table, served, "")]


def test_tenant():
    obj = tenant(bindings=((IPv6Address("2001:db8:9::1"), IPv4Address("100.64.0.9")),), mtu=1000, mtu4=1400,
                 lowest_ipv6_mtu=1300, zero_traffic_class=True)
    items = expand(obj)
    pool = Tenant64(7, RED, IPv4Address("100.64.0.1"), IPv4Address("100.64.255.254"),
                    IPv4Address("192.0.0.8"), planned.UPLINK_ADDRESS.ip, 1400, 1280, 1300, True, False,
                    layout.hash_seed(b"seed", "red"), 7440, 256)
    assert items == [
        Table(4, 7, RED), SubInterface(RED, "fip64:downlink:", 7, 9216, 7),
        Address(RED, IPv4Interface("192.0.0.8/32")),
        Neighbor(RED, IPv4Address("169.254.0.1"), "02:f6:40:00:00:01"),
        Route(7, IPv4Network("0.0.0.0/0"), RED, IPv4Address("169.254.0.1")), pool,
        Binding(7, IPv6Address("2001:db8:9::1"), IPv4Address("100.64.0.9"))]


def test_a_tenants_work_does_not_depend_on_its_number_of_mappings():
    several = dataclasses.replace(tenant(), maps=())
    assert expand(several) == expand(tenant())


def test_mapping():
    obj = planned.mapping(tenant(), "2001:db8:f::a", table=1003)
    assert expand(obj) == [Mapping(IPv6Address("2001:db8:f::a"), IPv4Address("10.0.0.5"), 1003, 7)]


def test_seeds_differ_by_host_and_tenant_and_stay():
    seeds = {layout.hash_seed(seed, router) for seed in (b"a", b"b") for router in ("red", "blue")}
    assert len(seeds) == 4 and all(0 <= seed < 1 << 64 for seed in seeds)


def test_every_kind_is_made_after_what_it_stands_on():
    objects = (planned.host("p-", "vpp"), planned.uplink("p-"), tenant())
    assert {type(item) for obj in objects for item in expand(obj)} <= set(RANK)
    assert RANK[Table] < RANK[HostInterface] < RANK[SubInterface] < RANK[Address] < RANK[Route]
    assert RANK[Table] < RANK[Tenant64] < RANK[Mapping] and RANK[Tenant64] < RANK[Binding]


@pytest.mark.parametrize("name", ["x" * 48, "a b", "\u00e4", "x" * 200, ""])
def test_marks_fit_into_vpps_fields(name):
    for mark in (tags.uplink(name), tags.tenant(name)):
        assert tags.is_ours(mark) and len(mark) <= 63 and mark.isascii() and " " not in mark
    if name == "x" * 48:
        assert tags.tenant_of(tags.tenant(name)) == tags.object_of(tags.uplink(name))[1] == name
        assert tags.tenant_of(tags.uplink(name)) is None


@pytest.mark.parametrize(("mtu", "frame"), [
    (1280, 2048), (1500, 2048), (1920, 2048), (1921, 4096), (9216, 10240)])
def test_a_frame_of_the_ring_holds_a_packet(mtu, frame):
    item = HostInterface("fip64:downlink:", "vpp-dl", "02:f6:40:ff:ff:ff", mtu, 0)
    assert requests.add_host_interface(item)[1]["tx_frame_size"] == frame


def test_many_mappings_go_into_few_messages():
    items = [Mapping(IPv6Address(number), IPv4Address(number), 1000, 7) for number in range(300)]
    assert [len(part) for part in requests.batches(items)] == [128, 128, 44]
