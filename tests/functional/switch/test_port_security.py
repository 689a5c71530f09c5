# SPDX-License-Identifier: Apache-2.0
"""What a VM may send, and what is refused for which reason, in a real ovs-vswitchd."""

import dataclasses
import re
from ipaddress import IPv6Address, IPv6Network

import pytest
from scapy.layers.dhcp6 import DHCP6_Reply, DHCP6_Solicit
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLDone,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from fip64agent.net.addresses import link_local
from fip64agent.plan.ports.objects import AllowedPair, Holder, ServedAddress
from fip64agent.switch import stages
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.examples import ALL_PORTS, ROUTER_INTERFACE, SERVED_NETWORK, SERVED_PORT
from fip64agent.switch.refusals import REFUSED, Refusal
from tests.fakes.flows import flows_of
from tests.functional.switch.conftest import BRIDGE, trace

OWN, OTHER, VIRTUAL = "fa:16:3e:00:00:05", "fa:16:3e:00:00:06", "00:00:5e:00:02:01"
FOREIGN = "02:00:00:00:00:66"
PORT = dataclasses.replace(
    SERVED_PORT, filtered=False, gateways=(ROUTER_INTERFACE,),
    pairs=(AllowedPair(IPv6Network("2001:db8:1:0:aaaa::/80"), OWN),
           AllowedPair(IPv6Network("2001:db8:1::66/128"), VIRTUAL)))
"""vm-a, OpenFlow port 21, 2001:db8:1::5, with a prefix, and an address for a MAC of its own."""
NEIGHBOR = dataclasses.replace(PORT, port_id="vm-b", ofport=11, mac=OTHER, pairs=(),
                               addresses=(IPv6Address("2001:db8:1::6"),))
OWN_LL, OTHER_LL, ROUTER_LL = str(link_local(OWN)), str(link_local(OTHER)), str(ROUTER_INTERFACE.link_local)
RANDOM_LL = "fe80::1234:5678:9abc:def0"
ROUTER = "2001:db8:1::1"
ADDRESSES = [ServedAddress("net-a", PORT.network, address, (Holder(port.ofport, port.mac),))
             for port in (PORT, NEIGHBOR) for address in (*port.addresses, link_local(port.mac))]
NETWORK = dataclasses.replace(SERVED_NETWORK, ofports=(11, 21))


@pytest.fixture
def install(bench):
    """Install the flows of these ports, and of all else that there is beside them."""
    def install(*ports):
        room = bench.room()
        items = {item.key: item for obj in (ALL_PORTS, NETWORK, ROUTER_INTERFACE, *ADDRESSES, *ports)
                 for item in room.expand(obj) if isinstance(item, FlowItem | MeterItem)}
        assert room.apply([(None, item) for item in items.values()]) == {}

        def verdict(packet):
            """Return why it is refused; None: it is not."""
            output = bench.ovs.appctl("ofproto/trace", BRIDGE, "in_port=vm", bytes(packet).hex()).stdout
            refused = re.search(rf"^ *{REFUSED}\. reg1=0x15,reg4=0x(\w+)", output, re.M)
            assert bool(refused) != bool(re.search(rf"^ *{stages.TRACK_OUT}\. ", output, re.M)), output
            return Refusal(int(refused[1], 16)) if refused else None
        return verdict
    return install


def frame(src=OWN_LL, dst="ff02::1", mac=OWN, hlim=255, tags=()):
    made = Ether(src=mac, dst="33:33:00:00:00:01")
    for tag in tags:
        made /= tag
    return made / IPv6(src=src, dst=dst, hlim=hlim)


def options():
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])


def fragment(content, offset=0, more=1, src=OWN_LL, dst="ff02::1", hlim=255):
    """The part of `content`, a packet without its IPv6 header, from an offset (octets) on."""
    number, octets = content
    made = frame(src, dst, hlim=hlim)
    made[IPv6].nh = 44
    return made / IPv6ExtHdrFragment(nh=number, offset=offset // 8, m=more, id=7) / Raw(octets)


def ns(target, src=OWN_LL, option=OWN, **fields):
    made = frame(src, **fields) / ICMPv6ND_NS(tgt=target)
    return made / ICMPv6NDOptSrcLLAddr(lladdr=option) if option else made


def na(target, src=OWN_LL, option=OWN, code=0, **fields):
    made = frame(src, **fields) / ICMPv6ND_NA(tgt=target, O=1, code=code)
    return made / ICMPv6NDOptDstLLAddr(lladdr=option) if option else made


RA = ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=OWN)
RA_OCTETS = bytes(IPv6(src=OWN_LL, dst="ff02::1") / RA)[40:]
CHAIN = bytes([58, 0, 1, 4, 0, 0, 0, 0])
"""Destination Options before ICMPv6."""
CHAIN_TO_UDP = bytes([17]) + CHAIN[1:]
LONGER_CHAIN = bytes([60, 0, 1, 4, 0, 0, 0, 0])
TO_CLIENT = UDP(sport=547, dport=546) / DHCP6_Reply(trid=1)
REPLY_BEGINS = bytes(UDP(sport=547, dport=546, len=2000, chksum=1)) + bytes(64)
ECHO = ICMPv6EchoRequest()
REPORT = IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2()

PASSES = {
    "its address": frame("2001:db8:1::5", "2001:db8:2::1", hlim=64) / UDP(),
    "its link-local address": frame() / UDP(),
    "a link-local address of its own making": frame(RANDOM_LL) / UDP(),
    "an address in an allowed prefix": frame("2001:db8:1:0:aaaa::77") / ECHO,
    "an allowed pair of MAC and address": frame("2001:db8:1::66", mac=VIRTUAL) / ECHO,
    "an allowed MAC with a link-local address": frame(RANDOM_LL, mac=VIRTUAL) / ECHO,
    "NS for the gateway": ns(ROUTER),
    "NS for a neighbor": ns("2001:db8:1::6", "2001:db8:1::5"),
    "NS without option": ns("2001:db8:1::6", option=None),
    "NS with the MAC of a pair": ns(ROUTER, "2001:db8:1::66", VIRTUAL, mac=VIRTUAL),
    "NA of its address": na("2001:db8:1::5", "2001:db8:1::5"),
    "NA of its address without option": na("2001:db8:1::5", option=None),
    "NA of its link-local address": na(OWN_LL),
    "NA of a link-local address of its own making": na(RANDOM_LL, RANDOM_LL),
    "NA of an address in an allowed prefix": na("2001:db8:1:0:aaaa::77"),
    "NA of a pair": na("2001:db8:1::66", "2001:db8:1::66", VIRTUAL, mac=VIRTUAL),
    "DAD for its address": ns("2001:db8:1::5", "::", None),
    "DAD for its link-local address": ns(OWN_LL, "::", None),
    "DAD for a link-local address of its own making": ns(RANDOM_LL, "::", None),
    "DAD for an address in an allowed prefix": ns("2001:db8:1:0:aaaa::77", "::", None),
    "RS": frame(dst="ff02::2") / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=OWN),
    "RS from ::": frame("::", "ff02::2") / ICMPv6ND_RS(),
    "MLDv2 report": frame(dst="ff02::16", hlim=1) / REPORT,
    "MLDv2 report from ::": frame("::", "ff02::16", hlim=1) / REPORT,
    "MLDv1 report from ::": frame("::", "ff02::1:ff00:5", hlim=1) / ICMPv6MLReport(),
    "MLDv1 done from ::": frame("::", "ff02::2", hlim=1) / ICMPv6MLDone(),
    "DHCPv6 client": frame(dst="ff02::1:2", hlim=1) / UDP(sport=546, dport=547) / DHCP6_Solicit(trid=1),
    "first fragment of UDP": fragment((17, bytes(UDP(len=2000, chksum=1)) + bytes(64)), src="2001:db8:1::5",
                                      dst="2001:db8:1::6"),
    "first fragment of an echo": fragment((58, bytes(ECHO) + bytes(64)), src="2001:db8:1::5", hlim=64),
    "later fragment": fragment((17, bytes(64)), 1448, 0, src="2001:db8:1::5"),
    "ESP": frame("2001:db8:1::5") / Raw(bytes(40)),
    "priority tag": frame(tags=[Dot1Q(vlan=0, prio=5)]) / UDP(),
}
PASSES["ESP"][IPv6].nh = 50

REFUSALS = {
    Refusal.SOURCE_MAC: {
        "a foreign MAC": frame("2001:db8:1::5", mac=FOREIGN) / UDP(),
        "the neighbor's MAC": frame(mac=OTHER) / UDP(),
        "the gateway's MAC": frame(mac=ROUTER_INTERFACE.mac) / UDP(),
        "DAD with a foreign MAC": ns("2001:db8:1::5", "::", None, mac=FOREIGN),
    },
    Refusal.SOURCE_ADDRESS: {
        "the neighbor's address": frame("2001:db8:1::6") / UDP(),
        "the neighbor's link-local address": frame(OTHER_LL) / UDP(),
        "the gateway's address": frame(ROUTER) / UDP(),
        "the gateway's link-local address": frame(ROUTER_LL) / UDP(),
        "another address of its prefix": frame("2001:db8:1::7") / UDP(),
        "an address of elsewhere": frame("2001:db8:bad::1") / UDP(),
        "a pair's address with its own MAC": frame("2001:db8:1::66") / ECHO,
        "its address with a pair's MAC": frame("2001:db8:1::5", mac=VIRTUAL) / ECHO,
        "multicast": frame("ff02::5") / UDP(),
        "loopback": frame("::1") / UDP(),
        "echo from ::": frame("::") / ECHO,
        "UDP from ::": frame("::") / UDP(),
        "MLD report from :: to elsewhere": frame("::", "2001:db8:2::1", hlim=64) / ICMPv6MLReport(),
        "NA from ::": na("2001:db8:1::5", "::"),
        "NS in the neighbor's name": ns(ROUTER, "2001:db8:1::6"),
        "NA in the gateway's name": na(ROUTER, ROUTER_LL),
    },
    Refusal.ND_CONTENT: {
        "NS, hop limit 254": ns(ROUTER, hlim=254),
        "NA, hop limit 64": na("2001:db8:1::5", hlim=64),
        "RS, hop limit 1": frame(dst="ff02::2", hlim=1) / ICMPv6ND_RS(),
        "NA, code 1": na("2001:db8:1::5", code=1),
        "NS with a foreign MAC": ns(ROUTER, option=FOREIGN),
        "NS with the gateway's MAC": ns(ROUTER, option=ROUTER_INTERFACE.mac),
        "NA with the neighbor's MAC": na("2001:db8:1::5", option=OTHER),
        "DAD with an option": ns("2001:db8:1::5", "::", OWN),
        "NA with the option twice": na("2001:db8:1::5") / ICMPv6NDOptDstLLAddr(lladdr=FOREIGN),
        "NS with the option twice": ns("2001:db8:1::5") / ICMPv6NDOptSrcLLAddr(lladdr=FOREIGN),
        "NA without a target": frame() / Raw(bytes(na("2001:db8:1::5", option=None))[54:70]),
        "NA of ::": na("::"),
    },
    Refusal.ND_TARGET: {
        "NA of the gateway": na(ROUTER),
        "NA of the gateway without option": na(ROUTER, option=None),
        "NA of the gateway's link-local address": na(ROUTER_LL),
        "NA of the neighbor": na("2001:db8:1::6"),
        "NA of the neighbor's link-local address": na(OTHER_LL),
        "NA of an address that nobody has": na("2001:db8:1::99"),
        "NA of a pair with the wrong MAC": na("2001:db8:1::66"),
        "NA behind options": frame() / options() / (na(ROUTER)[ICMPv6ND_NA]),
        "NA in an atomic fragment": frame() / IPv6ExtHdrFragment() / (na(ROUTER)[ICMPv6ND_NA]),
        "DAD for the neighbor": ns("2001:db8:1::6", "::", None),
        "DAD for the neighbor's link-local address": ns(OTHER_LL, "::", None),
        "DAD for the gateway": ns(ROUTER_LL, "::", None),
    },
    Refusal.RA_GUARD: {
        "RA": frame() / RA,
        "RA, hop limit 254": frame(hlim=254) / RA,
        "RA from the gateway's address": frame(ROUTER_LL) / RA,
        "RA from ::": frame("::") / RA,
        "RA, code 1": frame() / ICMPv6ND_RA(code=1),
        "RA behind hop-by-hop options": frame() / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / RA,
        "RA behind 3 x options": frame() / options() / options() / options() / RA,
        "RA behind a routing header": frame() / IPv6ExtHdrRouting(addresses=["fe80::2"], segleft=0) / RA,
        "RA in an atomic fragment": frame() / IPv6ExtHdrFragment() / RA,
        "RA behind options in an atomic fragment": frame() / IPv6ExtHdrFragment() / options() / RA,
        "RA with a priority tag": frame(tags=[Dot1Q(vlan=0)]) / RA,
        "redirect": frame() / ICMPv6ND_Redirect(tgt="fe80::5", dst="2001:db8:9::1"),
    },
    Refusal.DHCPV6_GUARD: {
        "reply": frame() / TO_CLIENT,
        "reply from another port": frame() / UDP(sport=4711, dport=546) / DHCP6_Reply(trid=1),
        "reply behind options": frame() / options() / TO_CLIENT,
        "first fragment of a reply": fragment((17, REPLY_BEGINS), dst=OTHER_LL),
        "first fragment of a reply behind options": fragment((60, CHAIN_TO_UDP + REPLY_BEGINS), dst=OTHER_LL),
        "first fragment of a reply to all": fragment((17, REPLY_BEGINS)),
        "first fragment with options before UDP": fragment((60, CHAIN_TO_UDP)),
        "reply in an atomic fragment": frame() / IPv6ExtHdrFragment() / TO_CLIENT,
    },
    Refusal.HEADER_CHAIN: {
        "RA in a first fragment": fragment((58, RA_OCTETS)),
        "NS in a first fragment": fragment((58, bytes(ns(ROUTER))[54:])),
        "NA in a first fragment": fragment((58, bytes(na("2001:db8:1::5"))[54:])),
        "first fragment with options alone": fragment((60, CHAIN)),
        "first fragment with a part of the options": fragment((60, LONGER_CHAIN)),
        "first fragment with nothing": fragment((58, b"")),
        "fragments in fragments": fragment((44, bytes([60, 0, 0, 1, 0, 0, 0, 8]))),
        "options that end too early": frame() / Raw(LONGER_CHAIN),
        "a payload length that is too long": frame() / UDP() / Raw(b"x"),
    },
}
REFUSALS[Refusal.ND_CONTENT]["NA without a target"][IPv6].nh = 58
REFUSALS[Refusal.HEADER_CHAIN]["options that end too early"][IPv6].nh = 60
REFUSALS[Refusal.HEADER_CHAIN]["a payload length that is too long"][IPv6].plen = 900
TAGGED = {
    "RA in a VLAN": frame(tags=[Dot1Q(vlan=9)]) / RA,
    "its address in a VLAN": frame("2001:db8:1::5", tags=[Dot1Q(vlan=9)]) / UDP(),
    "in an S-VLAN": frame(tags=[Dot1AD(vlan=9)]) / UDP(),
    "two tags": frame(tags=[Dot1Q(vlan=0), Dot1Q(vlan=0)]) / RA,
    "two tags of different kinds": frame(tags=[Dot1Q(vlan=0), Dot1AD(vlan=9)]) / RA,
    "three tags": frame(tags=[Dot1Q(vlan=0), Dot1Q(vlan=0), Dot1Q(vlan=0)]) / RA,
}
OF_GUARDS = (Refusal.RA_GUARD, Refusal.DHCPV6_GUARD, Refusal.HEADER_CHAIN)


def test_what_a_vm_needs_passes(install):
    verdict = install(PORT, NEIGHBOR)
    assert {name: verdict(packet) for name, packet in PASSES.items()} == dict.fromkeys(PASSES)


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.text)
def test_what_is_refused_has_its_reason(install, reason):
    verdict = install(PORT, NEIGHBOR)
    packets = REFUSALS[reason]
    assert {name: verdict(packet) for name, packet in packets.items()} == dict.fromkeys(packets, reason)


def test_a_port_that_is_not_secured_may_all_but_what_the_guards_are_for(install):
    verdict = install(dataclasses.replace(PORT, secured=False), NEIGHBOR)
    for reason, packets in REFUSALS.items():
        expected = reason if reason in OF_GUARDS else None
        assert {name: verdict(packet) for name, packet in packets.items()} == dict.fromkeys(packets, expected)


def test_a_vm_that_is_a_router_and_a_dhcpv6_server(install):
    verdict = install(dataclasses.replace(PORT, secured=False, ra_guard=False, dhcpv6_guard=False), NEIGHBOR)
    for reason, packets in REFUSALS.items():
        expected = reason if reason is Refusal.HEADER_CHAIN else None
        assert {name: verdict(packet) for name, packet in packets.items()} == dict.fromkeys(packets, expected)


def test_a_secured_port_without_guards_is_still_secured(install):
    verdict = install(dataclasses.replace(PORT, ra_guard=False, dhcpv6_guard=False), NEIGHBOR)
    assert verdict(frame() / RA) is None and verdict(frame() / TO_CLIENT) is None
    assert verdict(frame(ROUTER_LL) / RA) is Refusal.SOURCE_ADDRESS
    assert verdict(frame(mac=FOREIGN) / TO_CLIENT) is Refusal.SOURCE_MAC


@pytest.mark.parametrize("tags_parsed", ["1", "2"])
def test_ipv6_in_tags_goes_around_nothing(bench, install, tags_parsed):
    bench.ovs.vsctl("set", "Open_vSwitch", ".", f"other_config:vlan-limit={tags_parsed}")
    install(PORT, NEIGHBOR)
    for name, packet in TAGGED.items():
        output = bench.ovs.appctl("ofproto/trace", BRIDGE, "in_port=vm", bytes(packet).hex()).stdout
        assert f"{REFUSED}. reg1=0x15,reg4=" in output, name
        assert "Datapath actions: drop" in output, name


@pytest.mark.parametrize("port", [dataclasses.replace(PORT, trunk=True),
                                  dataclasses.replace(PORT, secured=False)], ids=["trunk", "not secured"])
def test_ports_that_may_send_tags_send_them_as_before(bench, install, port):
    install(port, NEIGHBOR)
    bench.ovs.ofctl("add-flow", BRIDGE, "priority=0,actions=output:up")
    for packet in TAGGED.values():
        assert trace(bench, "vm", packet) == "up"


def test_arp_and_ipv4_are_left_alone(bench, install):
    install(PORT, NEIGHBOR)
    bench.ovs.ofctl("add-flow", BRIDGE, "priority=0,actions=output:up")
    for packet in (Ether(src=FOREIGN, dst="ff:ff:ff:ff:ff:ff") / ARP(),
                   Ether(src=OWN, dst=OTHER) / Dot1Q(vlan=0, prio=5) / ARP(),
                   Ether(src=OWN, dst=OTHER) / Dot1Q(vlan=9) / IP() / ICMP(),
                   Ether(src=FOREIGN, dst=OTHER) / IP() / ICMP()):
        assert trace(bench, "vm", packet) == "up"


def test_a_port_costs_few_flows():
    """1,000 ports must stay cheap: with one address, and the link-local one of its MAC."""
    found = [flow for obj in (SERVED_PORT, *ADDRESSES[:2]) for flow in flows_of(obj)
             if flow.feature in ("port-security", "guards")]
    assert len(found) == 24, "one of them because the port has security groups"
