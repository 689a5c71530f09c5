# SPDX-License-Identifier: Apache-2.0
"""The packets of `trace`, read by scapy: addresses, and every checksum."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from fip64agent.admin import packets

A6, B6 = IPv6Address("2001:db8::1"), IPv6Address("2001:db8:f::ab:cdef")
A4, B4 = IPv4Address("100.64.0.7"), IPv4Address("10.0.0.5")
MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def assert_checksums_are_right(data: bytes) -> None:
    """Let scapy compute them anew: the bytes must be the same."""
    again = Ether(data)
    for layer in (IP, UDP, ICMPv6ND_NS):
        if layer in again:
            delattr(again[layer], "cksum" if layer is ICMPv6ND_NS else "chksum")
    assert bytes(again) == data


def test_neighbor_solicitation():
    data = packets.neighbor_solicitation(A6, MAC_A, B6)
    packet = Ether(data)
    assert (packet.src, packet.dst) == (MAC_A, "33:33:ff:ab:cd:ef")
    assert (packet[IPv6].src, packet[IPv6].dst, packet[IPv6].hlim) == (str(A6), "ff02::1:ffab:cdef", 255)
    assert packet[ICMPv6ND_NS].tgt == str(B6)
    assert packet[ICMPv6NDOptSrcLLAddr].lladdr == MAC_A
    assert_checksums_are_right(data)


@pytest.mark.parametrize(("build", "source", "destination", "layer"), [
    (packets.udp6, A6, B6, IPv6), (packets.udp4, A4, B4, IP)])
def test_udp(build, source, destination, layer):
    data = build(MAC_A, MAC_B, source, destination, 1234, 80)
    packet = Ether(data)
    assert (packet.src, packet.dst) == (MAC_A, MAC_B)
    assert (packet[layer].src, packet[layer].dst) == (str(source), str(destination))
    assert (packet[UDP].sport, packet[UDP].dport) == (1234, 80)
    assert_checksums_are_right(data)


def test_arp_request():
    packet = Ether(packets.arp_request(MAC_A, B4, IPv4Address("10.0.0.1")))
    assert (packet.src, packet.dst) == (MAC_A, "ff:ff:ff:ff:ff:ff")
    assert (packet[ARP].op, packet[ARP].hwsrc, packet[ARP].psrc, packet[ARP].pdst) == (
        1, MAC_A, str(B4), "10.0.0.1")
