# SPDX-License-Identifier: Apache-2.0
"""Every feature through a real ovs-vswitchd: flows in, packets traced, datapath actions out."""

import dataclasses

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLQuery2,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether

from fip64agent.net.addresses import link_local
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.examples import GATEWAY, HOST, MAPPING, TENANT, UPLINK
from fip64agent.switch.features import features
from tests.functional.switch.conftest import BRIDGE, trace, until

CLIENT = "02:00:00:00:00:c1"
SHARED = dataclasses.replace(MAPPING, fip_id="shared", downlink_ofport=13, downlink_vlan=7)


def install(bench, *objects):
    room = bench.room()
    items = [item for obj in objects for item in room.expand(obj) if isinstance(item, FlowItem)]
    assert room.apply([(None, item) for item in items]) == {}
    return room


def ipv6(dst, src="2001:db8:c::1", mac=UPLINK.mac, **fields):
    return Ether(src=CLIENT, dst=mac) / IPv6(src=src, dst=dst, **fields)


def solicitation(target=MAPPING.floating_ip, src="2001:db8:100::99", option=True, hlim=255):
    packet = Ether(src=CLIENT, dst="33:33:ff:00:00:0a") / IPv6(src=src, dst="ff02::1:ff00:a", hlim=hlim)
    packet /= ICMPv6ND_NS(tgt=str(target))
    return packet / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT) if option else packet


EXAMPLES = [(name, example) for name, feature in features().items() for example in feature.examples]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=lambda value: getattr(value, "title", value))
def test_what_is_read_back_equals_what_was_sent(bench, name, example):
    room = bench.room()
    items = {item.key: item for obj in example.objects for item in room.expand(obj)
             if isinstance(item, FlowItem | MeterItem)}
    bench.ovs.ofctl("del-flows", BRIDGE)
    assert room.apply([(None, item) for item in items.values()]) == {}
    actual = {key: item for key, item in room.actual().items() if isinstance(item, FlowItem | MeterItem)}
    assert actual == items


def test_redirect_all(bench):
    install(bench, HOST, UPLINK)
    for packet in (ipv6("2001:db8:f::a"), ipv6("2001:db8:100::1"), ipv6("2001:db8:dead::1"),
                   ipv6("ff02::1", src="fe80::1") / ICMPv6ND_RA()):
        assert trace(bench, "up", packet) == "veth"
    assert trace(bench, "veth", ipv6("2001:db8:c::1")) == "up"
    assert trace(bench, "veth", Ether(src=CLIENT, dst="ff:ff:ff:ff:ff:ff") / ARP()) == "drop"
    ipv4 = Ether(src=CLIENT, dst="ff:ff:ff:ff:ff:ff") / IP(dst="192.0.2.1")
    assert "vm" in trace(bench, "up", ipv4)  # not ours: switched as before
    tagged = Ether(src=CLIENT, dst=UPLINK.mac) / Dot1Q(vlan=9) / IPv6(dst="2001:db8:f::a")
    assert trace(bench, "up", tagged) != "veth"


def test_redirect_external_networks(bench):
    install(bench, HOST, dataclasses.replace(UPLINK, redirect="external-networks"))
    own = link_local(UPLINK.mac)
    for packet in (ipv6("2001:db8:f::a"), ipv6("2001:db8:100::1"), ipv6(str(own), src="fe80::99")):
        assert trace(bench, "up", packet) == "veth"
    for packet in (solicitation("2001:db8:100::1"), solicitation(own)):
        assert trace(bench, "up", packet) == "nd"
    answer = ipv6("2001:db8:100::1", src="fe80::99", hlim=255) / ICMPv6ND_NA(tgt="fe80::99")
    assert trace(bench, "up", answer) == "veth,nd"
    for packet in (ipv6("2001:db8:dead::1"), ipv6("ff02::1", src="fe80::1", hlim=255) / ICMPv6ND_RA(),
                   solicitation("2001:db8:dead::1")):
        ports = trace(bench, "up", packet).split(",")
        assert {"vm", "dl"} <= set(ports)  # NORMAL: flooded, as nobody's MAC is known
    everybody = ipv6("ff02::1", src="fe80::1", hlim=255, mac="33:33:00:00:00:01") / ICMPv6ND_NA(tgt="fe80::1")
    query = ipv6("ff02::1", src="fe80::1", hlim=1, mac="33:33:00:00:00:01") / ICMPv6MLQuery2()
    for packet, wanted in ((everybody, {"veth", "nd", "vm"}), (query, {"nd", "vm"})):
        assert wanted <= set(trace(bench, "up", packet).split(","))


@pytest.mark.parametrize("uplink", [UPLINK, dataclasses.replace(UPLINK, redirect="external-networks")],
                         ids=lambda uplink: uplink.redirect)
def test_what_the_kernel_answers_leaves_by_the_uplink_and_nothing_else_does(bench, uplink):
    install(bench, HOST, uplink)
    report = ipv6("ff02::16", hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2()
    for packet in (ipv6("2001:db8:100::99", hlim=255) / ICMPv6ND_NA(tgt=str(MAPPING.floating_ip)), report):
        assert trace(bench, "nd", packet) == "up"
    for packet in (ipv6("2001:db8:c::1") / UDP(), Ether(src=CLIENT, dst="ff:ff:ff:ff:ff:ff") / ARP()):
        assert trace(bench, "nd", packet) == "drop"


def test_solicitations_go_to_the_link_that_answers(bench):
    install(bench, HOST, UPLINK, MAPPING)
    for packet in (solicitation(), solicitation(src="::", option=False), solicitation("2001:db8:100::1")):
        assert trace(bench, "up", packet) == "nd"


def test_solicitations_for_a_floating_ip_alone(bench):
    """Where only external networks are redirected, another machine's are its own business."""
    alone = dataclasses.replace(MAPPING, redirect_ofport=11, nd_ofport=14)
    install(bench, HOST, dataclasses.replace(UPLINK, redirect="external-networks"), alone)
    assert trace(bench, "up", solicitation()) == "nd"
    assert trace(bench, "up", solicitation("2001:db8:100::99")) != "nd"


def test_deliver_untagged(bench):
    install(bench, HOST, TENANT, MAPPING)
    packet = Ether(src=TENANT.mac, dst="02:00:00:00:00:99") / IP(src="100.64.0.7", dst="10.0.0.5") / ICMP()
    assert trace(bench, "dl", packet) == f"set(eth(src={MAPPING.gateway_mac},dst={MAPPING.vm_mac})),vm"
    packet[IP].dst = "10.0.0.6"
    assert trace(bench, "dl", packet) == "drop"
    assert trace(bench, "dl", ipv6("ff02::2", src="fe80::1")) == "drop"


def test_deliver_tagged(bench):
    install(bench, HOST, SHARED)
    packet = Ether(src=TENANT.mac, dst="02:00:00:00:00:99") / Dot1Q(vlan=7) / IP(dst="10.0.0.5") / ICMP()
    actions = trace(bench, "shared", packet)
    assert "pop_vlan" in actions
    assert f"set(eth(src={MAPPING.gateway_mac},dst={MAPPING.vm_mac}))" in actions
    assert actions.endswith(",vm")
    packet[Dot1Q].vlan = 8
    assert not trace(bench, "shared", packet).endswith("pop_vlan,vm")


def test_back(bench):
    install(bench, HOST, MAPPING)
    packet = Ether(src=MAPPING.vm_mac, dst=MAPPING.gateway_mac)
    packet /= IP(src="10.0.0.5", dst="100.64.1.2") / ICMP()
    assert trace(bench, "vm", packet) == f"set(eth(dst={MAPPING.downlink_mac})),dl"
    packet[IP].src = "10.0.0.66"  # somebody else's address
    assert not trace(bench, "vm", packet).endswith("))),dl")


def test_back_tagged(bench):
    install(bench, HOST, SHARED)
    packet = Ether(src=MAPPING.vm_mac, dst=MAPPING.gateway_mac)
    packet /= IP(src="10.0.0.5", dst="100.64.1.2") / ICMP()
    actions = trace(bench, "vm", packet)
    assert f"set(eth(dst={MAPPING.downlink_mac}))" in actions
    assert "push_vlan(vid=7,pcp=0)" in actions
    assert actions.endswith(",shared")


def test_arp(bench):
    install(bench, HOST, GATEWAY)
    request = Ether(src=MAPPING.vm_mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=MAPPING.vm_mac, psrc="10.0.0.5", pdst="10.0.0.1")
    actions = trace(bench, "vm", request)
    assert f"set(eth(src={GATEWAY.mac},dst={MAPPING.vm_mac}))" in actions
    assert (f"set(arp(sip=10.0.0.1,tip=10.0.0.5,op=2/0xff,sha={GATEWAY.mac},tha={MAPPING.vm_mac}))"
            .replace("/0xff", "") in actions)
    assert actions.endswith(",vm")
    request[ARP].pdst = "10.0.0.2"
    assert "up" in trace(bench, "vm", request).split(",")


def test_the_operators_view(bench):
    room = install(bench, HOST, UPLINK, MAPPING)
    rows = room.dump([HOST.key, UPLINK.key, MAPPING.key])
    deliver = next(row for row in rows if row["feature"] == "deliver")
    assert deliver["table"] == "classifier"
    assert deliver["owner"] == f"fip:{MAPPING.fip_id}"
    assert "ipv4_dst=10.0.0.5" in deliver["match"]
    assert f"set_field:eth_dst={MAPPING.vm_mac}" in deliver["actions"]
    assert len(rows) == bench.count()
    text = room.trace(1, bytes(ipv6("2001:db8:f::a") / ICMPv6EchoRequest()))
    assert "Datapath actions:" in text
    until(lambda: room.ready() is None)
