# SPDX-License-Identifier: Apache-2.0
"""What is told of a packet trace of VPP's."""

from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace

from fip64agent.translator.vpp import trace_packets

TRACE = """\
------------------- Start of thread 0 vpp_main -------------------
Packet 1

00:00:02:392776: af-packet-input
  af_packet: hw_if_index 1 rx-queue 0 next-index 4
    block 10:
      address 0x7fe5a0aa0000 version 2 seq_num 11 pkt_num 0
00:00:02:392975: ip6-input
  ICMP6: 2001:db8:ffff::1 -> 2001:db8:f::10
00:00:02:392983: ip6-fip64
  tenant table 7, translated
    before: 2001:db8:ffff::1 -> 2001:db8:f::10
    after: 100.64.0.9 -> 10.0.0.5
00:00:02:392991: ip4-lookup
  fib 1 dpo-idx 0 flow hash: 0x00000000

Packet 2

00:00:02:492776: af-packet-input
  af_packet: hw_if_index 2 rx-queue 0 next-index 4
00:00:02:492985: ip4-drop
    fib:1 adj:0 flow:0x00000000
00:00:02:492989: error-drop
  rx:host-vpp-up

------------------- Start of thread 1 vpp_wk_0 -------------------
Packet 1

00:00:02:392000: af-packet-input
  af_packet: hw_if_index 1 rx-queue 0 next-index 4
"""


def test_the_way_in_one_line_and_what_the_plugin_says():
    first, second, third = trace_packets.parse_trace(TRACE)
    assert first.lines == ("af-packet-input",) and first.at == 0  # of another thread
    assert second.at == 0.000776 and second.lines == (
        "af-packet-input > ip6-input > ip6-fip64 > ip4-lookup", "ip6-fip64:", "  tenant table 7, translated",
        "    before: 2001:db8:ffff::1 -> 2001:db8:f::10", "    after: 100.64.0.9 -> 10.0.0.5")
    assert third.lines == ("af-packet-input > ip4-drop > error-drop", "ip4-drop:",
                           "    fib:1 adj:0 flow:0x00000000", "error-drop:", "  rx:host-vpp-up")


def test_nothing_was_seen():
    text = "--- Start of thread 0 vpp_main ---\nNo packets in trace buffer\n\n"
    assert trace_packets.parse_trace(text) == []


def test_only_packets_of_the_floating_ip_are_traced():
    traced = SimpleNamespace(mapping=SimpleNamespace(floating_ip=IPv6Address("2001:db8:f::10"),
                                                      fixed_ip=IPv4Address("10.0.0.5")),
                              tenant=SimpleNamespace(vlan=7))
    assert trace_packets.filters(traced) == (
        "mask l3 ip6 dst match l3 ip6 dst 2001:db8:f::10",
        "mask l2 tag1 l3 ip4 src match l2 tag1 7 l3 ip4 src 10.0.0.5")
