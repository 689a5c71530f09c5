# SPDX-License-Identifier: Apache-2.0
"""Ports of ours are kept apart from the bridge, and VMs from other's names, in a real ovs-vswitchd."""

import contextlib
import dataclasses

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from fip64agent.exceptions import NotReady
from fip64agent.net.addresses import link_local
from fip64agent.switch import ovsdb_ports, room
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.examples import GATEWAY, HOST, MAPPING, TENANT, UPLINK
from tests.functional.switch.conftest import BRIDGE, trace, until

VM = "02:00:00:00:00:01"
OWN = Ether(src=MAPPING.vm_mac, dst="33:33:00:00:00:01")
SHARED = dataclasses.replace(MAPPING, fip_id="shared", downlink_ofport=13, downlink_vlan=7)
ROUTED, ELSEWHERE = "2001:db8:f::77", "2001:db8:5::77"


def install(bench, *objects):
    made = bench.room()
    items = [item for obj in objects for item in made.expand(obj) if isinstance(item, FlowItem)]
    assert made.apply([(None, item) for item in items]) == {}
    return made


def own_port(name):
    return room.PortItem(name, f"uplink:{name}")


def add_ports(bench, *names):
    """Make ports of ours, of the type that needs no device."""
    made = bench.room()
    assert set(made.apply([(None, own_port(name)) for name in names]))  # no device: OVS cannot open them
    for name in names:
        bench.ovs.vsctl("set", "interface", name, "type=dummy")
    until(lambda: all(port.error is None for port in ports_of(made).values()))
    assert made.apply([(None, own_port(name)) for name in names]) == {}
    return made


def ports_of(made):
    return {item.name: item for item in made.actual().values() if isinstance(item, room.PortItem)}


# Ports of ours

BROADCAST = Ether(src=VM, dst="ff:ff:ff:ff:ff:ff")
FRAMES = {
    "untagged": BROADCAST / ARP(),
    "VLAN 4095": BROADCAST / Dot1Q(vlan=4095) / ARP(),
    "VLAN 9": BROADCAST / Dot1Q(vlan=9) / ARP(),
    "VLAN 0": BROADCAST / Dot1Q(vlan=0, prio=5) / ARP(),
}


@pytest.mark.parametrize("port", ["vm", "set up later"])
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("action", ["NORMAL", "FLOOD", "mod_vlan_vid:4095,NORMAL"])
def test_the_bridge_sends_nothing_to_a_port_of_ours(bench, port, frame, action):
    """Also from ports that Neutron keeps in VLAN 4095 until it has set them up."""
    made = add_ports(bench, "ovs-x")
    bench.ovs.vsctl("set", "port", "up", "tag=4095")
    if port != "vm":
        bench.ovs.vsctl("set", "port", "vm", "tag=4095")
    bench.ovs.ofctl("add-flow", BRIDGE, f"priority=5,in_port=vm,actions={action}")
    assert "ovs-x" not in trace(bench, "vm", frame)
    # It does not go unnoticed in the other direction that flooding is at work here.
    bench.ovs.vsctl("clear", "port", "ovs-x", "vlan_mode", "--", "clear", "port", "ovs-x", "cvlans",
                    "--", "clear", "port", "ovs-x", "tag")
    bench.ovs.ofctl("del-flows", BRIDGE)
    until(lambda: not ports_of(made)["ovs-x"].isolated)


def test_what_comes_from_a_port_of_ours_teaches_the_bridge_nothing_that_leads_there(bench):
    """Were the guard's flow not there, or another system's above it."""
    made = add_ports(bench, "ovs-x")
    asked = Ether(src=VM, dst=UPLINK.mac) / IP() / UDP()
    for port, leads in (("ovs-x", False), ("veth", True)):
        for tag in ("vlan_tci=0", "vlan_tci=0x1000", "vlan_tci=0x1009"):
            bench.ovs.appctl("ofproto/trace", BRIDGE, "-generate",
                             f"in_port={port},dl_src={UPLINK.mac},{tag},dl_type=0x0806")
        assert (trace(bench, "vm", asked) == port) == leads
        tagged = Ether(src=VM, dst=UPLINK.mac) / Dot1Q(vlan=9) / IP() / UDP()
        assert (trace(bench, "vm", tagged) == port) == leads
    assert made.ready() is None


def test_our_own_flows_output_to_it_all_the_same(bench):
    add_ports(bench, "ovs-x")
    ofport = bench.ovs.vsctl("get", "interface", "ovs-x", "ofport").stdout.strip()
    bench.ovs.ofctl("add-flow", BRIDGE, f"priority=5,in_port=vm,actions=output:{ofport}")
    assert trace(bench, "vm", BROADCAST / ARP()) == "ovs-x"


def test_what_an_older_agent_or_somebody_made_of_it_is_mended_in_place(bench):
    made = add_ports(bench, "ovs-x")
    same = ["get", "port", "ovs-x", "_uuid", "--", "get", "interface", "ovs-x", "_uuid", "ofport"]
    before = bench.ovs.vsctl(*same).stdout
    right = own_port("ovs-x")
    assert ports_of(made)["ovs-x"] == right
    for change in (["clear", "port", "ovs-x", "tag"], ["set", "port", "ovs-x", "tag=7"],
                   ["clear", "port", "ovs-x", "vlan_mode"], ["clear", "port", "ovs-x", "cvlans"]):
        bench.changes = 0
        bench.ovs.vsctl(*change)
        until(lambda: bench.changes, what="it is noticed")
        wrong = ports_of(made)["ovs-x"]
        assert wrong != right and not wrong.isolated
        assert made.apply([(wrong, right)]) == {}
        assert ports_of(made)["ovs-x"] == right
    assert bench.ovs.vsctl(*same).stdout == before


def test_it_is_kept_out_of_floods_again_after_a_restart(bench):
    made = add_ports(bench, "ovs-x")
    bench.ovs.ofctl("add-flow", BRIDGE, "priority=5,in_port=vm,actions=FLOOD")
    flooded = trace(bench, "vm", BROADCAST / ARP()).split(",")
    assert "up" in flooded and "ovs-x" not in flooded
    before = bench.changes
    bench.ovs.restart_vswitchd()
    until(lambda: bench.changes > before and made.ready() is None, what="connected again")
    bench.ovs.ofctl("add-flow", BRIDGE, "priority=5,in_port=vm,actions=FLOOD")
    assert "ovs-x" in trace(bench, "vm", BROADCAST / ARP())
    wrong = ports_of(made)["ovs-x"]
    assert wrong.flooded and wrong.isolated  # OVSDB keeps the one, nobody the other
    assert made.apply([(wrong, own_port("ovs-x"))]) == {}
    assert "ovs-x" not in trace(bench, "vm", BROADCAST / ARP())


def test_a_bridge_without_openflow_1_0(bench, caplog):
    bench.ovs.vsctl("set", "bridge", BRIDGE, "protocols=OpenFlow13")
    made = add_ports(bench, "ovs-x")
    assert ports_of(made)["ovs-x"] == own_port("ovs-x")
    warnings = [record.getMessage() for record in caplog.records if "OpenFlow10" in record.getMessage()]
    assert len(warnings) == 1 and f"ovs-vsctl add bridge {BRIDGE} protocols OpenFlow10" in warnings[0]
    assert made.warnings() == warnings
    bench.ovs.vsctl("add", "bridge", BRIDGE, "protocols", "OpenFlow10")

    def able():
        with contextlib.suppress(NotReady):  # Open vSwitch ends its connections for that
            return ports_of(made) and not made.warnings()

    until(able)


def test_isolation_is_a_mode_that_open_vswitch_has(bench):
    columns = bench.ovs.vsctl("--columns=tag,vlan_mode,cvlans", "list", "port", "vm").stdout
    assert all(column in columns for column in ovsdb_ports.ISOLATION)


# What a VM must not send


def advertisement(target, src="fe80::bad", **fields):
    return IPv6(src=src, dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=target, **fields) / ICMPv6NDOptDstLLAddr(
        lladdr=MAPPING.vm_mac)


def solicitation(target, src="fe80::5"):
    return IPv6(src=src, dst="ff02::1", hlim=255) / ICMPv6ND_NS(tgt=target)


FORGED = {
    "source: floating IP": IPv6(src=ROUTED, dst="2001:db8:c::1") / UDP(),
    "source: gateway": IPv6(src="fe80::1", dst="ff02::1"),
    "source: uplink": IPv6(src=str(link_local(UPLINK.mac)), dst="ff02::1"),
    "advertisement: floating IP": advertisement(ROUTED),
    "advertisement: gateway": advertisement("fe80::1"),
    "advertisement: router alert first": IPv6(src="fe80::bad", dst="ff02::1", hlim=255)
    / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6ND_NA(tgt=ROUTED),
    # Open vSwitch reads no target of these two, and receivers do.
    "advertisement: option twice": advertisement("fe80::1") / ICMPv6NDOptDstLLAddr(lladdr=MAPPING.vm_mac),
    "solicitation: option twice": solicitation(ROUTED, "::") / ICMPv6NDOptSrcLLAddr(lladdr=VM)
    / ICMPv6NDOptSrcLLAddr(lladdr=VM),
    "solicitation: floating IP": solicitation(ROUTED),
    "DAD: gateway": solicitation("fe80::1", "::"),
}
TAGS = {
    "untagged": OWN, "VLAN 0": OWN / Dot1Q(vlan=0, prio=3), "VLAN 9": OWN / Dot1Q(vlan=9),
    "S-VLAN 9": OWN / Dot1AD(vlan=9), "9/0": OWN / Dot1Q(vlan=9) / Dot1Q(vlan=0),
    "0/0": OWN / Dot1Q(vlan=0) / Dot1Q(vlan=0), "S 0/C 9": OWN / Dot1AD(vlan=0) / Dot1Q(vlan=9),
    "0/0/0": OWN / Dot1Q(vlan=0) / Dot1Q(vlan=0) / Dot1Q(vlan=0),
}


@pytest.fixture(params=["1", "2", "0"])
def tags_parsed(bench, request):
    """other_config:vlan-limit: how many tags Open vSwitch looks behind; 0: as many as it can, that is two."""
    bench.ovs.vsctl("set", "Open_vSwitch", ".", f"other_config:vlan-limit={request.param}")
    return bench


def test_forged_frames_of_a_vm_go_nowhere(tags_parsed):
    bench = tags_parsed
    install(bench, HOST, UPLINK, TENANT, MAPPING, GATEWAY)
    for tag, head in TAGS.items():
        for name, packet in FORGED.items():
            assert trace(bench, "vm", head / packet) == "drop", (tag, name)
            assert trace(bench, "dl" if tag == "untagged" else "shared", head / packet) != "", name
    for packet in (Ether(src=UPLINK.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(),
                   Ether(src=UPLINK.mac, dst="ff:ff:ff:ff:ff:ff") / IP() / UDP()):
        assert trace(bench, "vm", packet) == "drop"


def test_other_frames_of_a_vm_and_frames_of_others_are_switched_as_before(bench):
    install(bench, HOST, UPLINK, TENANT, MAPPING, GATEWAY)
    for packet in (IPv6(src=ELSEWHERE, dst="2001:db8:c::1") / UDP(), advertisement(ELSEWHERE),
                   solicitation("fe80::1"), IPv6(src="fe80::5", dst="ff02::2")):
        assert "up" in trace(bench, "vm", OWN / packet).split(",")
    for packet in FORGED.values():
        assert "up" in trace(bench, "shared", OWN / packet).split(","), "a port that is no VM's of ours"


def test_vlan_4095_is_nobodys(bench):
    install(bench, HOST)
    for port in ("vm", "up"):
        for frame in (OWN / Dot1Q(vlan=4095) / IP(), OWN / Dot1Q(vlan=4095) / Dot1Q(vlan=4095) / IP(),
                      OWN / Dot1AD(vlan=4095) / IPv6()):
            assert trace(bench, port, frame) == "drop"


def test_a_port_of_an_uplinks_own_network_may_speak_for_itself(bench):
    install(bench, HOST, UPLINK, TENANT, MAPPING, dataclasses.replace(GATEWAY, isolates=False))
    assert "up" in trace(bench, "vm", OWN / advertisement(ROUTED)).split(",")


# To the translator: from the VM itself only, and without a tag


def ipv4(src="10.0.0.5", mac=MAPPING.vm_mac, tags=()):
    frame = Ether(src=mac, dst=MAPPING.gateway_mac)
    for tag in tags:
        frame /= tag
    return frame / IP(src=src, dst="100.64.1.2") / ICMP()


def test_back_from_the_vms_own_addresses_only(bench):
    install(bench, HOST, UPLINK, TENANT, MAPPING, GATEWAY)
    right = f"set(eth(dst={MAPPING.downlink_mac})),dl"
    assert trace(bench, "vm", ipv4()) == right
    assert trace(bench, "vm", ipv4(tags=[Dot1Q(vlan=0, prio=6)])) == right.replace(",dl", ",pop_vlan,dl")
    for frame in (ipv4(src="10.0.0.66"), ipv4(mac=VM), ipv4(tags=[Dot1Q(vlan=7)]),
                  ipv4(tags=[Dot1Q(vlan=0), Dot1Q(vlan=7)])):
        assert MAPPING.downlink_mac not in trace(bench, "vm", frame)


def test_back_with_a_shared_downlink_has_the_tenants_tag_and_no_other(tags_parsed):
    bench = tags_parsed
    limit = bench.ovs.vsctl("get", "Open_vSwitch", ".", "other_config:vlan-limit").stdout.strip().strip('"')
    install(bench, HOST, SHARED)
    assert trace(bench, "vm", ipv4()).endswith("push_vlan(vid=7,pcp=0),shared")
    assert trace(bench, "vm", ipv4(tags=[Dot1Q(vlan=0, prio=6)])).endswith(
        "pop_vlan,push_vlan(vid=7,pcp=0),shared")
    for tags in ([Dot1Q(vlan=0), Dot1Q(vlan=8)], [Dot1AD(vlan=0), Dot1Q(vlan=8)], [Dot1Q(vlan=0)] * 2):
        actions = trace(bench, "vm", ipv4(tags=tags))
        if limit == "1":  # the second tag is not looked behind: no IPv4 is seen
            assert MAPPING.downlink_mac not in actions
        else:
            assert MAPPING.downlink_mac in actions
            assert actions.endswith("pop_vlan,pop_vlan,push_vlan(vid=7,pcp=0),shared")


def test_arp_is_answered_with_and_without_priority_tag_but_only_to_the_vms_own_mac(bench):
    install(bench, HOST, GATEWAY)

    def request(mac=MAPPING.vm_mac, tag=None):
        frame = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
        return (frame / tag if tag else frame) / ARP(op=1, hwsrc=mac, psrc="10.0.0.5", pdst="10.0.0.1")

    assert trace(bench, "vm", request()).endswith("tha=fa:16:3e:00:00:05)),vm")
    assert trace(bench, "vm", request(tag=Dot1Q(vlan=0, prio=1))).endswith(
        "tha=fa:16:3e:00:00:05)),pop_vlan,vm")
    assert "arp" not in trace(bench, "vm", request(VM))


def test_the_uplinks_frames_with_and_without_priority_tag(bench):
    install(bench, HOST, UPLINK)
    for tag in (Dot1Q(vlan=0, prio=6), Dot1AD(vlan=0)):
        frame = Ether(src=VM, dst=UPLINK.mac) / tag / IPv6(src="2001:db8:c::1", dst=ROUTED) / UDP()
        assert trace(bench, "up", frame) == "pop_vlan,veth"
        asked = Ether(src=VM, dst="33:33:ff:00:00:0a") / tag / solicitation("2001:db8:100::a")
        assert trace(bench, "up", asked) == "pop_vlan,nd"
