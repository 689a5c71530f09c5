# SPDX-License-Identifier: Apache-2.0
"""Which items the links room takes: those that it can read back as they are."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from fip64agent.links import features
from fip64agent.links.model import BLACKHOLE, ROUTER, Address, Namespace, Neighbor, Route, Rule, Tun, Veth
from fip64agent.links.readable import why_unreadable
from fip64agent.translator.tayga.links import TaygaLayout
from fip64agent.translator.vpp.links import VppLayout
from tests.fakes import planned

PREFIX = "fip64-"
RED = "fip64-red"
MARK = "fip64agent fip64- tenant red vlan 7"
OUTSIDE = Veth("", "ovs-dl-7", RED, "vpp-dl-7", MARK, 1500, "02:00:00:00:00:01", True)
INSIDE = Veth("fip64-core", "tenant-7", RED, "core", MARK, 1500)
EVERYTHING = ip_network("::/0")


@pytest.mark.parametrize(("layout", "of"), [(TaygaLayout(PREFIX), "tayga"), (VppLayout(), "vpp")])
def test_all_that_features_and_drivers_want_is_read_back(layout, of):
    tenant = planned.tenant("red", 7)
    on_link = dataclasses.replace(planned.mapping(tenant, "2001:db8:f::10"), on_link=True,
                                  nd_netns=f"{PREFIX}nd", nd_peer="nd-1")
    objects = (planned.host(PREFIX, of), planned.uplink(PREFIX), tenant, on_link)
    items = [item for obj in objects for item in features.expand(PREFIX, layout, obj)]
    assert len(items) > 4
    assert {str(item): why for item in items if (why := why_unreadable(PREFIX, item))} == {}


@pytest.mark.parametrize(("item", "why"), [
    (Namespace(RED, ROUTER[:3]), "sysctls"),
    (Namespace(RED, (*ROUTER, ("ipv4.conf.all.arp_ignore", "1"))), "sysctls"),
    (Namespace("other-red", ROUTER), "namespace other-red is not looked at"),
    (Namespace(RED, ROUTER, up=False), "set up"),
    (dataclasses.replace(OUTSIDE, peer_netns="red"), "namespace red is not looked at"),
    (dataclasses.replace(OUTSIDE, alias=""), "mark '' is not"),
    (dataclasses.replace(OUTSIDE, alias="fip64agent other- host"), "mark 'fip64agent other- host' is not"),
    (dataclasses.replace(OUTSIDE, peer_mac=""), "needs a MAC"),
    (dataclasses.replace(OUTSIDE, peer_without_ipv6=True), "IPv6 cannot be off"),
    (dataclasses.replace(OUTSIDE, up=False), "set up"),
    (dataclasses.replace(OUTSIDE, same_mtu=False), "same MTU"),
    (dataclasses.replace(INSIDE, peer_mac="02:00:00:00:00:01"), "read back"),
    (dataclasses.replace(INSIDE, switched=True), "read back"),
    (dataclasses.replace(INSIDE, peer_without_ipv6=True), "read back"),
    (Tun("", "nat64", 1500), "agent's own namespace"),
    (Tun(RED, "nat64", 1500, up=False), "set up"),
    (Address("", "eth0", ip_interface("2001:db8::1/64")), "agent's own namespace"),
    (Address(RED, "lo", ip_interface("2001:db8::1/128")), "loopback"),
    (Neighbor("", "eth0", ip_address("2001:db8::1"), "02:00:00:00:00:01"), "agent's own namespace"),
    (Route("", 254, EVERYTHING, "eth0"), "agent's own namespace"),
    (Route("other", 254, EVERYTHING, "eth0"), "namespace other is not looked at"),
    (Route(RED, 254, EVERYTHING, kind="prohibit"), "prohibit"),
    (Route(RED, 254, EVERYTHING, "core", kind=BLACKHOLE), "no link"),
    (Route(RED, 254, EVERYTHING, "core", metric=1024), "metric 1024"),
    (Rule("", 6, 100, 100), "agent's own namespace"),
    (Rule(RED, 6, 100, 100, EVERYTHING), "source that is everything")], ids=str)
def test_what_is_not_read_back_is_refused_with_the_reason(item, why):
    assert why in why_unreadable(PREFIX, item)


@pytest.mark.parametrize("item", [
    OUTSIDE, INSIDE, Namespace(RED, tuple((name, "0") for name, _ in ROUTER)),
    Neighbor(RED, "core", ip_address("2001:db8::1"), "02:00:00:00:00:01"),
    Route(RED, 254, ip_network("0.0.0.0/0"), "core", metric=1024)], ids=str)
def test_what_is_read_back_is_taken(item):
    assert why_unreadable(PREFIX, item) == ""
