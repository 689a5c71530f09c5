# SPDX-License-Identifier: Apache-2.0
"""Packets that we build ourselves, as another implementation reads them."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether

from fip64agent.net.addresses import link_local, multicast_mac, solicited_node
from fip64agent.net.announcements import membership_report, unsolicited_advertisement

MAC = "fa:16:3e:00:00:01"
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
ADDRESSES = st.integers(0, 2 ** 128 - 1).map(IPv6Address)


def test_link_local_is_that_of_rfc_4291():
    assert link_local("34:56:78:9a:bc:de") == IPv6Address("fe80::3656:78ff:fe9a:bcde")


@pytest.mark.parametrize("text", ["", "fa:16:3e", "fa:16:3e:00:00:01:02", "no:tm:ac:ad:dr:es"])
def test_what_is_no_mac_is_refused(text):
    with pytest.raises(ValueError):
        link_local(text)


def test_solicited_node_group_and_its_mac():
    group = solicited_node(IPv6Address("2001:db8::ab12:3456"))
    assert (group, multicast_mac(group)) == (IPv6Address("ff02::1:ff12:3456"), "33:33:ff:12:34:56")


def test_unsolicited_advertisement():
    packet = Ether(unsolicited_advertisement(MAC, IPv6Address("2001:db8::5")))
    assert (packet.src, packet.dst) == (MAC, "33:33:00:00:00:01")
    assert (packet[IPv6].src, packet[IPv6].dst, packet[IPv6].hlim) == ("2001:db8::5", "ff02::1", 255)
    assert (packet[ICMPv6ND_NA].R, packet[ICMPv6ND_NA].S, packet[ICMPv6ND_NA].O) == (1, 0, 1)
    assert packet[ICMPv6ND_NA].tgt == "2001:db8::5"
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == MAC


def test_membership_report():
    packet = Ether(membership_report(MAC, IPv6Address("2001:db8::ab12:3456")))
    assert (packet.src, packet.dst) == (MAC, "33:33:00:00:00:16")
    assert (packet[IPv6].src, packet[IPv6].dst, packet[IPv6].hlim) == (
        "fe80::f816:3eff:fe00:1", "ff02::16", 1)
    assert RouterAlert in packet[IPv6ExtHdrHopByHop].options[0]
    assert packet[ICMPv6MLReport2].records_number == 1
    record = packet[ICMPv6MLDMultAddrRec]
    assert (record.rtype, record.dst, record.sources) == (4, "ff02::1:ff12:3456", [])


@given(st.sampled_from([unsolicited_advertisement, membership_report]), MACS, ADDRESSES)
def test_lengths_and_checksums_are_right(build, mac, address):
    data = build(mac, address)
    packet = Ether(data)
    assert packet[IPv6].plen == len(data) - 14 - 40
    layer = ICMPv6ND_NA if ICMPv6ND_NA in packet else ICMPv6MLReport2
    stated = packet[layer].cksum
    del packet[layer].cksum
    assert Ether(bytes(packet))[layer].cksum == stated
