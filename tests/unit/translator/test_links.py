# SPDX-License-Identifier: Apache-2.0
"""The links that each driver wants for objects of the plan, with what every driver has."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network

import pytest

from fip64agent.links import features
from fip64agent.links.model import (
    ORDER,
    ROUTER,
    Address,
    Hop,
    KernelPath,
    Namespace,
    Neighbor,
    Route,
    Rule,
    Tun,
    Veth,
)
from fip64agent.links.own_links import OwnLinks
from fip64agent.plan.desired import Gateway, Host, Mapping64, Tenant, Uplink
from fip64agent.reconcile.explain import TracedPath
from fip64agent.translator.tayga.links import TaygaLayout
from fip64agent.translator.vpp.links import VppLayout, kernel_mac

CORE, RED, ND = "fip64-core", "fip64-red", "fip64-nd"
HOST = Host(nd_netns="fip64-nd")
SHARED = dataclasses.replace(HOST, downlink="ovs-dl", downlink_peer="vpp-dl",
                             downlink_mac="02:f6:40:ff:ff:ff")
UPLINK = Uplink(
    port_id="up", router_id="edge", network_id="net", interface="eth", ofport=1,
    veth="ovs-12345678", veth_ofport=None, peer="vpp-12345678", mac="fa:16:00:00:00:01", mtu=9000,
    addresses=(IPv6Interface("2001:db8:ffff::2/64"),),
    routes=((IPv6Network("::/0"), IPv6Address("2001:db8:ffff::1")),), table=1007,
    onlink=(IPv6Network("2001:db8:ffff::/64"),), routed=(IPv6Network("2001:db8:f::/64"),), redirect="all",
    nd_netns="fip64-nd", nd_veth="ovs-nd-12345678", nd_veth_ofport=None, nd_peer="nd-12345678")
TENANT = Tenant(
    router_id="red", vlan=7, interface="ovs-dl-7", own_interface=True, mac="02:f6:40:00:00:07",
    pool=IPv4Network("100.64.0.0/16"),
    address6=IPv6Address("2001:db8:ffff::2"), maps=())
FIP = Mapping64(
    fip_id="f", floating_ip=IPv6Address("2001:db8:f::5"), fixed_ip=IPv4Address("10.0.0.5"), router_id="red",
    port_id="vm", uplink_id="up", on_link=False, nd_netns="fip64-nd", nd_peer="nd-12345678", uplink_ofport=1,
    uplink_mac="", vlan=7, downlink_ofport=None, downlink_vlan=None, downlink_mac="", pool=TENANT.pool,
    vm_ofport=5,
    vm_mac="", gateway_mac="")
GATEWAY = Gateway("vm", IPv4Address("10.0.0.1"), "fa:16:00:00:00:02", 5, "fa:16:00:00:00:03", True, True)


TAYGA, VPP = TaygaLayout("fip64-"), VppLayout()


def items(obj, of=TAYGA) -> list:
    return list(features.expand("fip64-", of, obj))


def test_host_with_tayga_is_a_router():
    assert items(HOST) == [Namespace(ND, ROUTER), Namespace(CORE, ROUTER),
                           Rule(CORE, 6, 100, 100), Route(CORE, 101, ip_network("::/0"), kind="blackhole")]


def test_host_with_vpp_is_one_veth_and_the_neighbor_discovery_namespace():
    assert items(SHARED, VPP) == [Namespace(ND, ROUTER),
                           Veth("", "ovs-dl", "", "vpp-dl", "fip64agent fip64- host", 9216,
                                "06:f6:40:ff:ff:ff", True, peer_without_ipv6=True)]


ANSWERING = [
    Veth("", "ovs-nd-12345678", ND, "nd-12345678", "fip64agent fip64- uplink up table 1007", 9000,
         "fa:16:00:00:00:01", True),
    Address(ND, "nd-12345678", IPv6Interface("2001:db8:ffff::2/128"))]
"""Comes first, with each translator. The link whose far end answers Neighbor Solicitations for the uplink."""


def test_uplink_with_tayga():
    prefix, routed = UPLINK.onlink[0], UPLINK.routed[0]
    assert items(UPLINK) == [
        *ANSWERING,
        Veth("", "ovs-12345678", CORE, "vpp-12345678", "fip64agent fip64- uplink up table 1007", 9000,
             "fa:16:00:00:00:01", True),
        Address(CORE, "vpp-12345678", IPv6Interface("2001:db8:ffff::2/64")),
        Rule(CORE, 6, 50, 101, ip_network("2001:db8:ffff::2/128"), "vpp-12345678"),
        Route(CORE, 1007, prefix, "vpp-12345678"),
        Route(CORE, 1007, ip_network("::/0"), "vpp-12345678", IPv6Address("2001:db8:ffff::1")),
        Route(CORE, 100, routed, kind="blackhole", metric=2031),
        Rule(CORE, 6, 200, 1007, prefix), Rule(CORE, 6, 200, 1007, routed), Rule(CORE, 6, 300, 1007)]


def test_a_route_to_what_is_on_the_link_is_the_links():
    onlink = UPLINK.onlink[0]
    routed = dataclasses.replace(UPLINK, routes=((onlink, IPv6Address("2001:db8:ffff::1")),))
    assert [item for item in items(routed) if isinstance(item, Route) and item.destination == onlink] == [
        Route(CORE, 1007, onlink, "vpp-12345678")]


def test_what_comes_from_anywhere_needs_no_rule_by_source():
    found = items(dataclasses.replace(UPLINK, onlink=(ip_network("::/0"),), routed=(ip_network("::/0"),)))
    assert [item for item in found if isinstance(item, Rule) and not item.iif] == [Rule(CORE, 6, 300, 1007)]


def test_uplink_with_vpp_is_a_veth_in_the_agents_namespace():
    assert items(UPLINK, VPP) == [
        *ANSWERING, Veth("", "ovs-12345678", "", "vpp-12345678", "fip64agent fip64- uplink up table 1007",
                         9000, "06:16:00:00:00:01", True, peer_without_ipv6=True)]


def test_the_kernel_has_its_own_link_local_address_by_itself():
    own, other = IPv6Interface("fe80::f816:ff:fe00:1/64"), IPv6Interface("fe80::1/64")
    found = items(dataclasses.replace(UPLINK, addresses=(own, other)))
    assert [item.address for item in found if isinstance(item, Address) and item.netns == ND] == [
        IPv6Interface("fe80::1/128")]


@pytest.mark.parametrize("of", [TAYGA, VPP], ids=["tayga", "vpp"])
def test_an_on_link_fip_is_an_address_that_the_kernel_answers_for(of):
    fip = dataclasses.replace(FIP, on_link=True)
    assert Address(ND, "nd-12345678", IPv6Interface("2001:db8:f::5/128")) in items(fip, of)


def test_the_kernel_never_has_vpps_mac():
    assert [kernel_mac(mac) for mac in ("fa:16:3e:00:00:01", "06:00:00:00:00:01")] == [
        "06:16:3e:00:00:01", "0a:00:00:00:00:01"]


def test_tenant_with_tayga():
    mark = "fip64agent fip64- tenant red vlan 7"
    assert items(TENANT) == [
        Namespace(RED, ROUTER),
        Veth("", "ovs-dl-7", RED, "vpp-dl-7", mark, 9216, "02:f6:40:00:00:07", True),
        Veth(CORE, "tenant-7", RED, "core", mark, 1500),
        Tun(RED, "nat64", 1500),
        Address(CORE, "tenant-7", IPv6Interface("fe80::1/64")), Address(RED, "core",
                                                                        IPv6Interface("fe80::2/64")),
        Neighbor(RED, "vpp-dl-7", IPv4Address("169.254.0.1"), "02:f6:40:00:00:01"),
        Route(RED, 254, ip_network("0.0.0.0/0"), "vpp-dl-7", IPv4Address("169.254.0.1")),
        Route(RED, 254, TENANT.pool, "nat64"), Route(RED, 254, ip_network("::/0"), "core",
                                                     IPv6Address("fe80::1")),
        Route(RED, 64, ip_network("::/0"), "nat64"), Rule(RED, 6, 100, 64, iif="core"),
        Route(RED, 101, ip_network("0.0.0.0/0"), kind="blackhole"),
        Rule(RED, 4, 100, 254, TENANT.pool, "nat64"), Rule(RED, 4, 200, 101, iif="nat64")]


def test_fip_with_tayga_is_one_route():
    assert items(FIP) == [Route(CORE, 100, ip_network("2001:db8:f::5/128"), "tenant-7",
                                IPv6Address("fe80::2"))]


@pytest.mark.parametrize(("obj", "of"), [(TENANT, VPP), (FIP, VPP), (GATEWAY, VPP), (GATEWAY, TAYGA)])
def test_no_links_for(obj, of):
    assert items(obj, of) == []


@pytest.mark.parametrize(("obj", "of"), [(HOST, TAYGA), (UPLINK, TAYGA), (TENANT, TAYGA), (FIP, TAYGA),
                                         (SHARED, VPP), (UPLINK, VPP)])
def test_items_know_their_owner_have_keys_of_their_own_and_a_text(obj, of):
    found = items(obj, of)
    assert {item.owner for item in found} == {obj.key}
    assert len({item.key for item in found}) == len(found)
    assert all(type(item) in ORDER and str(item) for item in found)


def test_uplinks_that_serve_the_same_prefixes_share_no_item():
    second = dataclasses.replace(UPLINK, port_id="up2", veth="ovs-2", peer="vpp-2", table=1008,
                                 nd_veth="ovs-nd-2", nd_peer="nd-2")
    assert not {item.key for item in items(UPLINK)} & {item.key for item in items(second)}


@pytest.mark.parametrize(("obj", "of", "names"), [
    (UPLINK, TAYGA, {"ovs-12345678", "ovs-nd-12345678"}),
    (UPLINK, VPP, {"ovs-12345678", "ovs-nd-12345678", "vpp-12345678"}),
    (TENANT, TAYGA, {"ovs-dl-7"}), (SHARED, VPP, {"ovs-dl", "vpp-dl"})],
    ids=["uplink", "uplink with vpp", "tenant", "downlink"])
def test_our_links_in_the_agents_namespace_are_known_by_their_names(obj, of, names):
    every = {"ovs-12345678", "ovs-nd-12345678", "vpp-12345678", "nd-12345678", "ovs-dl-7", "vpp-dl-7",
             "tenant-7", "core", "nat64", "ovs-dl", "vpp-dl", "eth0"}
    own = OwnLinks()
    own.add(items(obj, of))
    assert every <= {name for name in every if name in own}, "nothing was read back yet: each may be ours"
    own.note_read_back([])
    assert {name for name in every if name in own} == names
    own.remove(items(obj, of))
    own.note_read_back([item for item in items(TENANT) if isinstance(item, Veth)])
    assert {name for name in every if name in own} == {"ovs-dl-7"}


def test_the_path_of_a_packet_through_the_kernel():
    traced = TracedPath(IPv6Address("2001:db8:9::1"), UPLINK, TENANT, FIP, IPv4Address("100.64.0.9"))
    assert VPP.path(traced) == KernelPath()
    path = TAYGA.path(traced)
    hops = [(hop.netns, hop.link_in, hop.link_out) for hop in (*path.there, *path.back)]
    assert hops == [(CORE, "vpp-12345678", "tenant-7"), (RED, "core", "nat64"),
                    (CORE, "tenant-7", "vpp-12345678")]
    assert all(isinstance(hop, Hop) and hop.name and hop.title for hop in (*path.there, *path.back))
